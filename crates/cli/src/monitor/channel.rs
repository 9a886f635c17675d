//! The socket between driver and monitor: one message for each request and reply, with descriptors
//! beside it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// Most descriptors in one message: the queues of an interface and the one to write through.
const MOST_DESCRIPTORS: usize = 64;
/// Length of the longest message, in bytes.
const LONGEST: usize = 64 * 1024;

/// One end of the socket.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

impl Channel {
    /// Makes a pair of ends.
    ///
    /// # Errors
    /// Those of socketpair(2).
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(one), Self(other)))
    }

    /// Sends a message with descriptors.
    ///
    /// # Errors
    /// Those of sendmsg(2); `EPIPE` when the other process has ended.
    pub(super) fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let parts = [IoSlice::new(message)];
        retry(|| rustix::net::sendmsg(&self.0, &parts, &mut beside, SendFlags::NOSIGNAL).map(drop))
    }

    /// Waits for a message. Returns `None` when the other process has ended.
    ///
    /// # Errors
    /// Those of recvmsg(2).
    pub(super) fn receive(&self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let mut message = vec![0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let length = loop {
            let mut parts = [IoSliceMut::new(&mut message)];
            match rustix::net::recvmsg(&self.0, &mut parts, &mut beside, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Ok(None),
                result => break result?.bytes,
            }
        };
        let descriptors = beside
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten()
            .collect();
        message.truncate(length);
        // No message is empty, so an empty read is the end.
        Ok((length > 0).then_some((message, descriptors)))
    }
}

impl Channel {
    /// Closes the connection for both processes. After an error it is not known which reply belongs
    /// to which request.
    pub(super) fn break_off(&self) {
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn messages_stay_apart_and_descriptors_arrive() {
        let (one, other) = Channel::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        one.send(b"first", &[]).unwrap();
        one.send(b"second", &[writer.as_fd(), writer.as_fd()])
            .unwrap();
        drop(writer);
        let (message, descriptors) = other.receive().unwrap().unwrap();
        assert_eq!((&message[..], descriptors.len()), (&b"first"[..], 0));
        let (message, descriptors) = other.receive().unwrap().unwrap();
        assert_eq!((&message[..], descriptors.len()), (&b"second"[..], 2));
        for descriptor in descriptors {
            io::PipeWriter::from(descriptor).write_all(b"x").unwrap();
        }
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "xx");
        one.break_off();
        assert!(other.receive().unwrap().is_none());
        assert_eq!(
            other.send(b"late", &[]).unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }
}
