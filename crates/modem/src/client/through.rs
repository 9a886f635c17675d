//! Channel of a client to a running `up`: MBIM control messages over its socket, as a client of
//! mbim-proxy sends them.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use uwwan_mbim::fragment::{Limits, Reassembler};
use uwwan_mbim::message::{Body, Message};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::session::{Command, CommandError, Response};
use uwwan_mbim::status::ProtocolError;

use super::channel::{Channel, ChannelEvent, Indication};
use super::socket;
use super::{STATUS_SOCKET, StatusClient};
use crate::failure::{Failure, FailureKind};
use crate::poll::PollSet;
use crate::proxy;
use crate::stream::Stream;

/// Time within which a running `up` has to report whether the modem is reachable. It waits for a
/// modem that is just starting.
const OPEN_PATIENCE: Duration = Duration::from_secs(40);
/// Time for which the socket may stay full.
const SEND_PATIENCE: Duration = Duration::from_secs(10);
/// Time for which CLOSE may stay unanswered.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
/// Size of the fragments of messages in bytes, as libmbim uses it.
const FRAGMENT: usize = 4096;

pub(super) struct Through {
    socket: UnixStream,
    stream: Stream,
    reassembler: Reassembler,
    /// Ticket and CID of each unanswered command, by its transaction id.
    asked: HashMap<u32, (u64, CidId)>,
    next: u32,
    place: String,
    /// User id of the process at the other end.
    owner: u32,
}

impl Through {
    pub(super) fn connect(path: &Path) -> Result<Self, Failure> {
        let place = path.display().to_string();
        let (socket, owner) = socket::connect(path)?;
        let system = |error: io::Error| {
            Failure::new(FailureKind::Host, "reach the running uwwan")
                .at(&place)
                .because(error.to_string())
        };
        socket.set_nonblocking(true).map_err(system)?;
        let limits = Limits {
            // The sender is trusted to finish what it begins, and a busy machine may be slow.
            timeout: Duration::from_secs(30),
            ..Limits::default()
        };
        let mut through = Self {
            socket,
            stream: Stream::default(),
            reassembler: Reassembler::new(limits),
            asked: HashMap::new(),
            next: 1,
            place,
            owner,
        };
        through.open()?;
        Ok(through)
    }

    fn open(&mut self) -> Result<(), Failure> {
        let transaction = self.id();
        let body = Body::Open {
            max_control_transfer: FRAGMENT as u32,
        };
        self.write(&Message { transaction, body })?;
        let deadline = Instant::now() + OPEN_PATIENCE;
        let not_open = |why: String, place: &str| {
            Failure::new(
                FailureKind::NotOpen,
                "reach the modem through the running uwwan",
            )
            .at(place)
            .because(why)
            .next("`uwwan status` tells what it waits for")
        };
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.message(left)? {
                Some(Message {
                    transaction: id,
                    body: Body::OpenDone(status),
                }) if id == transaction => {
                    return if status.is_success() {
                        Ok(())
                    } else {
                        let why = "it has no open control session with the modem at present";
                        Err(not_open(why.into(), &self.place))
                    };
                }
                _ => continue,
            }
        }
        let why = format!("no answer in {} s", OPEN_PATIENCE.as_secs());
        Err(not_open(why, &self.place))
    }

    fn id(&mut self) -> u32 {
        loop {
            let id = self.next;
            self.next = self.next.checked_add(1).unwrap_or(1);
            if !self.asked.contains_key(&id) {
                return id;
            }
        }
    }

    fn write(&mut self, message: &Message) -> Result<(), Failure> {
        let deadline = Instant::now() + SEND_PATIENCE;
        for part in message.encode(FRAGMENT) {
            let mut rest = &part[..];
            while !rest.is_empty() {
                match self.socket.write(rest) {
                    Ok(count) => rest = &rest[count..],
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                            return Err(self.lost("it takes no more commands"));
                        };
                        let mut set = PollSet::default();
                        set.add(&self.socket, false, true);
                        set.wait(Some(left))
                            .map_err(|error| self.lost(&error.to_string()))?;
                    }
                    Err(error) => return Err(self.lost(&error.to_string())),
                }
            }
        }
        Ok(())
    }

    /// Returns the next message, if one comes within `patience`.
    fn message(&mut self, patience: Duration) -> Result<Option<Message>, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            let part = self
                .stream
                .next()
                .map_err(|error| self.lost(&error.to_string()))?;
            if let Some(part) = part {
                match self.reassembler.push(Instant::now(), &part) {
                    Ok(Some(message)) => return Ok(Some(message)),
                    Ok(None) => continue,
                    Err(error) => {
                        tracing::debug!("a message from the running uwwan: {error}");
                        continue;
                    }
                }
            }
            let mut chunk = [0; 4096];
            let room = chunk.len().min(self.stream.room());
            match self.socket.read(&mut chunk[..room]) {
                Ok(0) => return Err(self.lost("it has closed the connection")),
                Ok(count) => self.stream.push(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let now = Instant::now();
                    if now >= deadline {
                        return Ok(None);
                    }
                    let mut set = PollSet::default();
                    set.add(&self.socket, true, false);
                    set.wait(Some(deadline - now))
                        .map_err(|error| self.lost(&error.to_string()))?;
                }
                Err(error) => return Err(self.lost(&error.to_string())),
            }
        }
    }

    fn lost(&self, why: &str) -> Failure {
        Failure::new(FailureKind::Gone, "speak with the running uwwan")
            .at(&self.place)
            .because(why)
            .next("look at `uwwan status`, and try again")
    }

    fn news(&mut self, message: Message) -> Option<ChannelEvent> {
        let Message { transaction, body } = message;
        match body {
            Body::CommandDone {
                service,
                cid,
                status,
                info,
            } => {
                let id = CidId { service, cid };
                let (ticket, asked) = *self.asked.get(&transaction)?;
                if asked != id {
                    return None;
                }
                self.asked.remove(&transaction);
                let result = Ok(Response { id, status, info });
                Some(ChannelEvent::Answer { ticket, result })
            }
            Body::FunctionError(error) => {
                let (ticket, _) = self.asked.remove(&transaction)?;
                let error = if error == ProtocolError::NOT_OPENED {
                    CommandError::Lost("the modem went away".into())
                } else {
                    CommandError::Function(error)
                };
                Some(ChannelEvent::Answer {
                    ticket,
                    result: Err(error),
                })
            }
            Body::Indication { service, cid, info } => {
                let id = CidId { service, cid };
                Some(ChannelEvent::Indication(Indication { id, info }))
            }
            _ => None,
        }
    }
}

impl Channel for Through {
    fn send(&mut self, ticket: u64, command: Command, _: Duration) -> Result<(), Failure> {
        let transaction = self.id();
        let id = command.id;
        let body = Body::Command {
            service: id.service,
            cid: id.cid,
            kind: command.kind,
            info: command.info,
        };
        self.write(&Message { transaction, body })?;
        self.asked.insert(transaction, (ticket, id));
        Ok(())
    }

    fn cancel(&mut self, ticket: u64) {
        let found = self.asked.iter().find(|(_, (of, _))| *of == ticket);
        let Some(transaction) = found.map(|(transaction, _)| *transaction) else {
            return;
        };
        self.asked.remove(&transaction);
        let body = Body::HostError(ProtocolError::CANCEL);
        if let Err(error) = self.write(&Message { transaction, body }) {
            tracing::debug!("{}", error.one_line());
        }
    }

    fn wait(&mut self, patience: Duration) -> Option<ChannelEvent> {
        match self.message(patience) {
            Ok(message) => message.and_then(|message| self.news(message)),
            Err(error) => Some(ChannelEvent::Lost(error)),
        }
    }

    fn insist(&mut self) -> Option<Command> {
        Some(Command {
            id: proxy::INSIST,
            kind: uwwan_mbim::CommandKind::SET,
            info: Vec::new(),
        })
    }

    fn close(&mut self) -> Result<(), Failure> {
        let transaction = self.id();
        let body = Body::Close;
        self.write(&Message { transaction, body })?;
        let deadline = Instant::now() + CLOSE_PATIENCE;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.message(left) {
                Ok(Some(Message {
                    transaction: id,
                    body: Body::CloseDone(_),
                })) if id == transaction => break,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn owner(&self) -> Option<u32> {
        Some(self.owner)
    }

    fn operators(&self) -> Option<String> {
        let control = Path::new(&self.place).with_file_name(STATUS_SOCKET);
        let mut client = StatusClient::connect(&control).ok()?;
        client.status().ok()?.operators
    }
}
