//! The replies to a driver's requests, and the loop that sends them.

use std::io;
use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};
use uwwan_modem::host::{HostNews, InterfaceKind};
use uwwan_modem::status::Interface;

use super::channel::Channel;
use super::check::refused;
use super::devices::DeviceReply;
use super::request::Request;
use crate::failure::{Failure, FailureKind};
use crate::sandbox::State;
use crate::usage::Entry;

/// The monitor's reply to a request.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Reply {
    /// The reason why the request was not carried out.
    pub(super) failure: Option<Failure>,
    /// The interface that was opened. Its descriptors come beside the reply, and behind them the pipe
    /// that has a byte whenever the interface has to be checked ([`Request::Attend`]).
    pub(super) opened: Option<Opened>,
    /// State of the interface that was opened or changed.
    pub(super) interface: Option<Interface>,
    /// Changes to the configuration of the interface.
    pub(super) news: Vec<HostNews>,
    /// The outcome of a request about a USB device.
    pub(super) device: Option<DeviceReply>,
    /// The rights that the monitor still has.
    pub(super) state: Option<State>,
    /// Data use of the device in this month.
    pub(super) usage: Option<Entry>,
}

/// An interface that was opened.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Opened {
    /// Number by which later requests name it.
    pub(super) number: u8,
    /// The kind of the interface, which the driver needs to use the descriptors.
    pub(super) kind: InterfaceKind,
}

/// Process that carries out requests of a driver.
pub(super) trait Answer {
    /// Carries out a request.
    ///
    /// # Errors
    /// [`Failure`] for the driver, with the reason why it was not done.
    fn answer(&mut self, request: Request) -> Result<Reply, Failure>;

    /// Calls `send` with the descriptors that go with a reply, and returns its result.
    fn with_descriptors(
        &mut self,
        reply: &Reply,
        send: &mut dyn FnMut(&[BorrowedFd<'_>]) -> io::Result<()>,
    ) -> io::Result<()>;

    /// Undoes a request whose reply did not reach the driver.
    fn undo(&mut self, reply: &Reply);
}

/// Answers requests until the driver has ended.
///
/// # Errors
/// Those of the channel, after which the driver has to end.
pub(super) fn until_ended(channel: &Channel, answerer: &mut dyn Answer) -> io::Result<()> {
    loop {
        let Some((bytes, _)) = channel.receive()? else {
            return Ok(());
        };
        let reply = match Request::decode(&bytes) {
            Some(request) => answerer.answer(request),
            None => Err(refused("the request makes no sense")),
        };
        let reply = reply.unwrap_or_else(|failure| Reply {
            failure: Some(failure),
            ..Reply::default()
        });
        let sent = answerer.with_descriptors(&reply, &mut |descriptors| {
            send(channel, &reply, descriptors)
        });
        match sent {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => {
                // The driver waits for a reply, and does not know what was opened.
                answerer.undo(&reply);
                let failure = Failure::new(FailureKind::Host, "the monitor cannot reply");
                let reply = Reply {
                    failure: Some(failure.because(error)),
                    ..Reply::default()
                };
                send(channel, &reply, &[])?;
            }
        }
    }
}

fn send(channel: &Channel, reply: &Reply, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    channel.send(&serde_json::to_vec(reply)?, descriptors)
}
