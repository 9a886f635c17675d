//! The monitor's side: requests are checked and carried out until the driver has ended.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use super::channel::Channel;
use super::check::{self, refused};
use super::devices::Devices;
use super::ends::Ends;
use super::files::Files;
use super::reply::{self, Answer, Reply};
use super::request::Request;
use crate::allocator;
use crate::failure::Failure;
use crate::notify::Notifier;
use crate::resident;
use crate::sandbox::State;

/// The state that the monitor keeps for the driver.
pub(super) struct Server {
    ends: Ends,
    devices: Devices,
    files: Files,
    notifier: Notifier,
    /// The rights that the monitor still has.
    state: State,
    /// The end of a pipe that goes with the next reply, which reports how the hook after up ended.
    hooked: Option<PipeReader>,
}

impl Server {
    pub(super) fn new(
        ends: Ends,
        devices: Devices,
        files: Files,
        notifier: Notifier,
        state: State,
    ) -> Self {
        Self {
            ends,
            devices,
            files,
            notifier,
            state,
            hooked: None,
        }
    }

    /// Answers requests until the driver has ended. Dropping the server afterwards undoes the
    /// changes of the host.
    ///
    /// # Errors
    /// Those of the channel, after which the driver has to end.
    pub(super) fn run(&mut self, channel: &Channel) -> io::Result<()> {
        reply::until_ended(channel, self)
    }

    /// Undoes the changes of the host, and returns the devices.
    pub(super) fn into_devices(self) -> Devices {
        self.devices
    }
}

impl Answer for Server {
    fn answer(&mut self, request: Request) -> Result<Reply, Failure> {
        self.ends.device = self.devices.named();
        if let Some(result) = self.ends.answer(&request) {
            if matches!(request, Request::Open { .. }) {
                // The remaining work is rare and small.
                allocator::give_back();
                resident::let_go_of_the_program();
            }
            return result;
        }
        match request {
            Request::OpenDevice { .. }
            | Request::Guard { .. }
            | Request::Unguard { .. }
            | Request::Configure { .. }
            | Request::Manager
            | Request::Holder { .. } => Ok(Reply {
                device: Some(self.devices.answer(&request)),
                ..Reply::default()
            }),
            Request::State => Ok(Reply {
                state: Some(self.state.clone()),
                ..Reply::default()
            }),
            Request::Use { uplink, downlink } => {
                let device = self.devices.described();
                let entry = self.files.keep_usage(&device, (uplink, downlink))?;
                // This is the only request that comes regularly.
                resident::let_go_of_the_program();
                Ok(Reply {
                    usage: Some(entry),
                    ..Reply::default()
                })
            }
            Request::Online => {
                self.hooked = Some(self.ends.online()?);
                Ok(Reply::default())
            }
            Request::Notify { text } => {
                let text = check::notification(&text);
                self.notifier
                    .send(text.ok_or_else(|| refused("the driver may not say this"))?);
                Ok(Reply::default())
            }
            _ => self.files.answer(&request).map(|()| Reply::default()),
        }
    }

    fn with_descriptors(
        &mut self,
        reply: &Reply,
        send: &mut dyn FnMut(&[BorrowedFd<'_>]) -> io::Result<()>,
    ) -> io::Result<()> {
        let opened = self.devices.take_opened().map(OwnedFd::from);
        let opened = opened.or_else(|| self.files.take_opened());
        let opened = opened.or_else(|| self.hooked.take().map(OwnedFd::from));
        match (self.ends.with_descriptors(reply, send), &opened) {
            (Some(sent), _) => sent,
            (None, Some(opened)) => send(&[opened.as_fd()]),
            (None, None) => send(&[]),
        }
    }

    fn undo(&mut self, reply: &Reply) {
        self.ends.undo(reply);
    }
}
