//! Synchronous route netlink, in which each request is followed by its acknowledgement or its dump.
//!
//! The system calls are socket, bind, connect, setsockopt, sendto and recvfrom.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind};

/// Size of the receive buffer in bytes. The kernel's messages are at most 32 KiB long.
const BUFFER: usize = 64 << 10;
/// Largest number of times that a dump is read again because it changed while it was read.
const DUMP_TRIES: usize = 5;

/// Kind of a request: it concerns an existing object or makes a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The request changes or deletes an existing object.
    Plain,
    /// The request makes a new object, and fails with `EEXIST` if there is one.
    Create,
}

pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    pub(crate) fn open() -> Result<Netlink, Error> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket = open().map_err(|source| Error::system("open a netlink socket", source))?;
        Ok(Netlink {
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(BUFFER),
        })
    }

    /// Sends a request and waits for its acknowledgement.
    pub(crate) fn request(&mut self, message: RouteNetlinkMessage, mode: Mode) -> io::Result<()> {
        let flags = match mode {
            Mode::Plain => 0,
            Mode::Create => NLM_F_CREATE | NLM_F_EXCL,
        };
        self.exchange(message, NLM_F_REQUEST | NLM_F_ACK | flags)
            .map(|_| ())
    }

    /// Returns all objects of the kind that the request asks for.
    pub(crate) fn dump(
        &mut self,
        message: &RouteNetlinkMessage,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..DUMP_TRIES {
            match self.exchange(message.clone(), NLM_F_REQUEST | NLM_F_DUMP) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
        Err(io::Error::new(
            io::ErrorKind::Interrupted,
            "the network configuration keeps changing while it is read",
        ))
    }

    /// Returns the interface with this name, or with this index if the name is empty.
    pub(crate) fn link(&mut self, name: &str, index: u32) -> Result<LinkMessage, Error> {
        let mut query = LinkMessage::default();
        query.header.index = index;
        if !name.is_empty() {
            query
                .attributes
                .push(LinkAttribute::IfName(name.to_owned()));
        }
        let what = || match name {
            "" => format!("look up interface {index}"),
            name => format!("look up interface {name}"),
        };
        let answer = self
            .exchange(
                RouteNetlinkMessage::GetLink(query),
                NLM_F_REQUEST | NLM_F_ACK,
            )
            .map_err(|source| match Errno::from_io_error(&source) {
                Some(Errno::NODEV) => Error::new(
                    ErrorKind::Gone,
                    what(),
                    "there is no such interface",
                    "it may have been deleted",
                )
                .because(source),
                _ => Error::system(what(), source),
            })?;
        answer
            .into_iter()
            .find_map(|message| match message {
                RouteNetlinkMessage::NewLink(link) => Some(link),
                _ => None,
            })
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Gone,
                    what(),
                    "the kernel said nothing of it",
                    "try again",
                )
            })
    }

    /// Returns the name of the interface with this index, or a text with the index when it has
    /// none.
    pub(crate) fn name(&mut self, index: u32) -> String {
        let link = self.link("", index).ok();
        let name = link.and_then(|link| {
            link.attributes
                .into_iter()
                .find_map(|attribute| match attribute {
                    LinkAttribute::IfName(name) => Some(name),
                    _ => None,
                })
        });
        name.unwrap_or_else(|| format!("interface {index}"))
    }

    /// Returns the index of the interface with this name.
    pub(crate) fn index(&mut self, name: &str) -> Result<u32, Error> {
        Ok(self.link(name, 0)?.header.index)
    }

    fn exchange(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;

        let mut answers = Vec::new();
        let mut interrupted = false;
        loop {
            self.buffer.clear();
            let length = self.socket.recv(&mut self.buffer, 0)?;
            let mut rest = &self.buffer[..length.min(self.buffer.len())];
            while rest.len() >= 16 {
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                // The step is at least a header, rounded up to four bytes. It passes the end of the
                // buffer only with the last answer.
                let step = (answer.header.length as usize).max(16).next_multiple_of(4);
                rest = rest.get(step..).unwrap_or(&[]);
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(error.to_io());
                    }
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => {
                        return if interrupted {
                            Err(io::ErrorKind::Interrupted.into())
                        } else {
                            Ok(answers)
                        };
                    }
                    _ => {}
                }
            }
        }
    }
}
