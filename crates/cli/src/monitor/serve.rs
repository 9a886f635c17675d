//! The monitor's end: requests are checked and carried out until the driver has ended.

use std::collections::BTreeMap;
use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use uwwan_modem::host::{
    HostConfig, HostControl, HostInterface, HostNews, InterfaceKind, TunProvider,
};
use uwwan_modem::status::Interface;

use super::channel::Channel;
use super::check::{self, refused};
use super::devices::{DeviceReply, Devices};
use super::files::Files;
use super::request::{Network, Request};
use crate::failure::{Failure, FailureKind};
use crate::notify::Notifier;
use crate::sandbox::State;

/// What the monitor says to a request.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Reply {
    /// Why it was not done.
    pub(super) failure: Option<Failure>,
    /// The interface that was opened. Its descriptors come beside the reply, and behind them the pipe
    /// that has a byte whenever the interface is to be looked after ([`Request::Attend`]).
    pub(super) opened: Option<Opened>,
    /// State of the interface that was opened or changed.
    pub(super) interface: Option<Interface>,
    /// What has happened to what was set up for the interface.
    pub(super) news: Vec<HostNews>,
    /// What became of a request over a USB device.
    pub(super) device: Option<DeviceReply>,
    /// What the monitor may still do.
    pub(super) state: Option<State>,
}

/// An interface that was opened.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Opened {
    /// Number by which later requests name it.
    pub(super) number: u8,
    /// What the driver has to know to use the descriptors.
    pub(super) kind: InterfaceKind,
}

/// An interface, in the order of undoing.
struct End {
    control: Box<dyn HostControl>,
    interface: HostInterface,
    /// The pipe that tells the driver of changes. It is kept open here, so that writing to it never
    /// fails because of the driver.
    changes: PipeReader,
    /// Which of the sessions it is for.
    session: u8,
}

/// What the monitor keeps for the driver.
pub(super) struct Server {
    /// What was asked for at the start, a data session each.
    sessions: Vec<HostConfig>,
    ends: BTreeMap<u8, End>,
    devices: Devices,
    files: Files,
    notifier: Notifier,
    /// What the monitor may still do.
    state: State,
}

impl Server {
    pub(super) fn new(
        sessions: Vec<HostConfig>,
        devices: Devices,
        files: Files,
        notifier: Notifier,
        state: State,
    ) -> Self {
        Self {
            sessions,
            ends: BTreeMap::new(),
            devices,
            files,
            notifier,
            state,
        }
    }

    /// Answers requests until the driver has ended. Dropping the server afterwards puts the host
    /// back.
    ///
    /// # Errors
    /// Those of the channel, after which the driver is to end.
    pub(super) fn run(&mut self, channel: &Channel) -> io::Result<()> {
        loop {
            let Some((bytes, _)) = channel.receive()? else {
                return Ok(());
            };
            let reply = match Request::decode(&bytes) {
                Some(request) => self.answer(request),
                None => Err(refused("the request makes no sense")),
            };
            let reply = reply.unwrap_or_else(|failure| Reply {
                failure: Some(failure),
                ..Reply::default()
            });
            let opened = reply.opened.as_ref();
            let end = opened.and_then(|opened| self.ends.get(&opened.number));
            let opened = self.devices.take_opened().map(OwnedFd::from);
            let opened = opened.or_else(|| self.files.take_opened());
            let descriptors = match (end, &opened) {
                (Some(end), _) => {
                    let mut descriptors = end.interface.descriptors();
                    descriptors.push(end.changes.as_fd());
                    descriptors
                }
                (None, Some(opened)) => vec![opened.as_fd()],
                (None, None) => Vec::new(),
            };
            match send(channel, &reply, &descriptors) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => {
                    // The driver waits for a reply, and knows nothing of what was opened.
                    if let Some(opened) = &reply.opened {
                        self.ends.remove(&opened.number);
                    }
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

    /// Puts the host back, and returns what it has of devices.
    pub(super) fn into_devices(self) -> Devices {
        self.devices
    }

    fn answer(&mut self, request: Request) -> Result<Reply, Failure> {
        match request {
            Request::Open { session, network } => self.open(session, network),
            Request::Change { interface, network } => {
                let session = self.end(interface)?.session;
                let config = self.config(session, network)?;
                let end = self.end(interface)?;
                end.control.reconfigure(&config)?;
                Ok(Reply {
                    interface: Some(end.control.interface()),
                    ..Reply::default()
                })
            }
            Request::Attend { interface } => {
                let end = self.end(interface)?;
                let news = end.control.attend();
                Ok(Reply {
                    interface: Some(end.control.interface()),
                    news,
                    ..Reply::default()
                })
            }
            Request::Carrier { interface, up } => {
                self.end(interface)?.control.set_carrier(up);
                Ok(Reply::default())
            }
            Request::Close { interface } => {
                self.ends.remove(&interface);
                Ok(Reply::default())
            }
            Request::OpenDevice { .. }
            | Request::Guard { .. }
            | Request::Unguard { .. }
            | Request::Configure { .. }
            | Request::Manager
            | Request::Holder { .. } => Ok(Reply {
                device: Some(self.devices.answer(&request)),
                ..Reply::default()
            }),
            Request::Secret(_)
            | Request::Remember { .. }
            | Request::Learn { .. }
            | Request::Directory { .. }
            | Request::Link { .. }
            | Request::File { .. } => self.files.answer(&request).map(|()| Reply::default()),
            Request::State => Ok(Reply {
                state: Some(self.state.clone()),
                ..Reply::default()
            }),
            Request::Notify { text } => {
                let text = check::notification(&text);
                self.notifier
                    .send(text.ok_or_else(|| refused("the driver may not say this"))?);
                Ok(Reply::default())
            }
        }
    }

    fn open(&mut self, session: u8, network: Network) -> Result<Reply, Failure> {
        let config = self.config(session, network)?;
        // Each session has one at a time.
        if self.ends.values().any(|end| end.session == session) && !self.twins(session) {
            return Err(refused("the data session has an interface"));
        }
        let number = (0..=u8::MAX).find(|number| !self.ends.contains_key(number));
        let number = number.ok_or_else(|| refused("there are too many interfaces"))?;
        let (changes, changed) = changes().map_err(|error| {
            Failure::new(FailureKind::Host, "cannot watch the interface").because(error)
        })?;
        let (mut control, interface) = TunProvider::open(&config)?;
        control.watch(Box::new(move || {
            // A pipe that is full tells as much.
            let _ = (&changed).write(&[1]);
        }));
        let reply = Reply {
            opened: Some(Opened {
                number,
                kind: interface.kind(),
            }),
            interface: Some(control.interface()),
            ..Reply::default()
        };
        let end = End {
            control,
            interface,
            changes,
            session,
        };
        self.ends.insert(number, end);
        Ok(reply)
    }

    /// Returns whether another session was asked for in the same words, and has no interface yet.
    fn twins(&self, session: u8) -> bool {
        let config = self.sessions.get(usize::from(session));
        let same = self.sessions.iter().filter(|other| Some(*other) == config);
        let open = self.ends.values().filter(|end| end.session == session);
        open.count() < same.count()
    }

    fn end(&mut self, interface: u8) -> Result<&mut End, Failure> {
        let end = self.ends.get_mut(&interface);
        end.ok_or_else(|| refused("there is no such interface"))
    }

    /// Returns what a session's interface is to be configured with: what the network has given, and
    /// beside it nothing but what was asked for at the start.
    fn config(&self, session: u8, network: Network) -> Result<HostConfig, Failure> {
        check::network(&network).map_err(|why| refused(&why))?;
        let asked = self.sessions.get(usize::from(session));
        let asked = asked.ok_or_else(|| refused("no such data session was asked for"))?;
        Ok(HostConfig {
            addresses: network.addresses,
            ethernet: network.ethernet,
            ..asked.clone()
        })
    }
}

fn send(channel: &Channel, reply: &Reply, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    channel.send(&serde_json::to_vec(reply)?, descriptors)
}

/// Makes a pipe whose writer never waits.
fn changes() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK)?;
    Ok((reader, writer))
}
