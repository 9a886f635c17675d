//! The interfaces that are opened and configured for a driver in another process.

use std::collections::BTreeMap;
use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::OFlags;
use uwwan_modem::host::{HostConfig, HostControl, HostInterface, TunProvider};

use super::check::{self, refused};
use super::left::Notes;
use super::reply::{Opened, Reply};
use super::request::{Network, Request};
use crate::failure::{Failure, FailureKind};
use crate::hooks::{BeforeDown, Facts, Hook, Hooks};

/// An interface, in the order of undoing.
struct End {
    /// The hook that runs first, if the interface is that of session 0.
    before_down: Option<BeforeDown>,
    control: Box<dyn HostControl>,
    interface: HostInterface,
    /// The pipe that reports changes to the driver. It is kept open here, so that writing to it
    /// never fails because of the driver.
    changes: PipeReader,
    /// Index of the interface's session among those planned at the start.
    session: u8,
    /// Name servers that the network has given.
    servers: Vec<IpAddr>,
}

/// The interfaces of the data sessions.
pub(super) struct Ends {
    /// The configurations of the host interfaces that were planned at the start, one for each data
    /// session.
    sessions: Vec<HostConfig>,
    ends: BTreeMap<u8, End>,
    /// Notes of what would be left on the host, if it can outlive this process. They go after the
    /// interfaces.
    notes: Option<Notes>,
    hooks: Arc<Hooks>,
    /// The name of the device in the facts for hooks.
    pub(super) device: String,
}

impl Ends {
    pub(super) fn new(sessions: Vec<HostConfig>, hooks: Arc<Hooks>, notes: Option<Notes>) -> Self {
        Self {
            sessions,
            ends: BTreeMap::new(),
            notes,
            hooks,
            device: String::new(),
        }
    }

    /// Starts the hook after up.
    ///
    /// # Errors
    /// Those of [`Hooks::start`], and one while session 0 has no interface.
    pub(super) fn online(&self) -> Result<PipeReader, Failure> {
        let first = self.ends.values().find(|end| end.session == 0);
        let before = first.and_then(|end| end.before_down.as_ref());
        let before = before.ok_or_else(|| refused("session 0 has no interface"))?;
        let started = self.hooks.start(Hook::AfterUp, before.facts.clone());
        started.map_err(|error| {
            Failure::new(FailureKind::Host, "the hook after-up did not run").because(error)
        })
    }

    /// Carries out a request about an interface; returns `None` for any other.
    ///
    /// # Errors
    /// [`Failure`] for the driver, with the reason why it was not done.
    pub(super) fn answer(&mut self, request: &Request) -> Option<Result<Reply, Failure>> {
        let result = match request {
            Request::Open { session, network } => self.open(*session, network.clone()),
            Request::Change { interface, network } => self.change(*interface, network.clone()),
            Request::Attend { interface } => self.end(*interface).map(|end| {
                let news = end.control.attend();
                Reply {
                    interface: Some(end.control.interface()),
                    news,
                    ..Reply::default()
                }
            }),
            Request::Carrier { interface, up } => self.end(*interface).map(|end| {
                end.control.set_carrier(*up);
                Reply::default()
            }),
            Request::Close { interface } => {
                self.close(*interface);
                Ok(Reply::default())
            }
            _ => return None,
        };
        Some(result)
    }

    /// Calls `send` with the descriptors of the interface that a reply is about; returns `None` for
    /// any other reply.
    pub(super) fn with_descriptors(
        &self,
        reply: &Reply,
        send: &mut dyn FnMut(&[BorrowedFd<'_>]) -> io::Result<()>,
    ) -> Option<io::Result<()>> {
        let end = self.ends.get(&reply.opened.as_ref()?.number)?;
        let mut descriptors = end.interface.descriptors();
        descriptors.push(end.changes.as_fd());
        Some(send(&descriptors))
    }

    /// Closes the interface that a reply is about.
    pub(super) fn undo(&mut self, reply: &Reply) {
        if let Some(opened) = &reply.opened {
            self.close(opened.number);
        }
    }

    /// Forgets what would be left on the interface with this number.
    fn forget(&self, number: u8) {
        if let Some(notes) = &self.notes {
            notes.forget(number);
        }
    }

    fn close(&mut self, number: u8) {
        self.ends.remove(&number);
        self.forget(number);
    }

    /// Returns the name servers that the network has given, those of the first data session first, each
    /// once.
    pub(super) fn name_servers(&self) -> Vec<IpAddr> {
        let mut ends: Vec<&End> = self.ends.values().collect();
        ends.sort_by_key(|end| end.session);
        let mut servers: Vec<IpAddr> = Vec::new();
        for server in ends.into_iter().flat_map(|end| &end.servers) {
            if !servers.contains(server) {
                servers.push(*server);
            }
        }
        servers
    }

    fn change(&mut self, interface: u8, network: Network) -> Result<Reply, Failure> {
        let session = self.end(interface)?.session;
        let config = self.config(session, network)?;
        let end = self.end(interface)?;
        end.control.reconfigure(&config)?;
        end.servers = servers(&config);
        if let Some(before) = &mut end.before_down {
            before.facts.addresses = Some(config.addresses);
        }
        Ok(Reply {
            interface: Some(end.control.interface()),
            ..Reply::default()
        })
    }

    fn open(&mut self, session: u8, network: Network) -> Result<Reply, Failure> {
        let config = self.config(session, network)?;
        // Each session has one interface at a time.
        if self.ends.values().any(|end| end.session == session) && !self.twins(session) {
            return Err(refused("the data session has an interface"));
        }
        let number = (0..=u8::MAX).find(|number| !self.ends.contains_key(number));
        let number = number.ok_or_else(|| refused("there are too many interfaces"))?;
        let (changes, changed) = changes().map_err(|error| {
            Failure::new(FailureKind::Host, "cannot watch the interface").because(error)
        })?;
        let note = self.notes.as_ref().map(|notes| notes.of(number));
        let opened = TunProvider::open(&config, note.unwrap_or_default());
        let (mut control, interface) = opened.inspect_err(|_| self.forget(number))?;
        control.watch(Box::new(move || {
            // A full pipe reports the change as well.
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
        // The first session is session 0.
        let before_down = (session == 0).then(|| {
            let facts = Facts {
                device: self.device.clone(),
                interface: Some(control.interface().name),
                addresses: Some(config.addresses.clone()),
            };
            BeforeDown::new(&self.hooks, facts)
        });
        let end = End {
            before_down,
            control,
            interface,
            changes,
            session,
            servers: servers(&config),
        };
        self.ends.insert(number, end);
        Ok(reply)
    }

    /// Returns whether another session was planned with the same configuration, and has no
    /// interface yet.
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

    /// Returns the configuration of a session's interface: the network's addresses, and beside them
    /// only the settings that were planned at the start.
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

fn servers(config: &HostConfig) -> Vec<IpAddr> {
    let addresses = &config.addresses;
    let four = addresses.dns4.iter().copied().map(IpAddr::from);
    four.chain(addresses.dns6.iter().copied().map(IpAddr::from))
        .collect()
}

/// Makes a pipe whose writer never waits.
fn changes() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK)?;
    Ok((reader, writer))
}
