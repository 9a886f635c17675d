//! A link over a socket descriptor, with one packet in each message (`AF_UNIX` with
//! `SOCK_SEQPACKET`).
//!
//! The other end is a descriptor too ([`PacketSocket`]), which code can use like a TUN descriptor:
//! poll it, read one packet, write one packet.
//!
//! The system calls are socketpair, setsockopt, recvfrom, sendto, poll, eventfd, read and write.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

use crate::error::Error;
use crate::link::{PacketLink, Wait};

/// Size in bytes of the socket buffer that is requested; the kernel may grant less
/// (`net.core.wmem_max`).
const BUFFER: usize = 4 << 20;

/// End of a socket link for a stack.
#[derive(Debug)]
pub struct SocketLink {
    shared: Arc<Descriptors>,
    /// A packet that the full socket did not take. While it is held the link is not ready, so that
    /// the kernel need not be asked for room before every packet.
    held: Vec<u8>,
    closed: bool,
}

impl SocketLink {
    /// Makes a connected pair: the end for the stack, and the other end as a plain packet
    /// descriptor.
    ///
    /// # Errors
    /// [`Error::System`] when the kernel refuses the sockets.
    pub fn pair() -> Result<(SocketLink, PacketSocket), Error> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .map_err(|errno| Error::system("create a packet socket pair")(errno.into()))?;
        for end in [&ours, &theirs] {
            // A smaller buffer costs throughput, not function.
            if set_socket_send_buffer_size(end, BUFFER)
                .and_then(|()| set_socket_recv_buffer_size(end, BUFFER))
                .is_err()
            {
                tracing::debug!("the kernel keeps its default socket buffer sizes");
            }
        }
        Ok((SocketLink::new(PacketSocket(ours))?, PacketSocket(theirs)))
    }

    /// Makes a link over a descriptor that the caller has, which is connected and non-blocking and
    /// carries one packet in each message.
    ///
    /// # Errors
    /// [`Error::System`] when the system gives no event descriptor.
    pub fn new(socket: PacketSocket) -> Result<SocketLink, Error> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::system("create an event descriptor")(errno.into()))?;
        let shared = Descriptors {
            socket,
            wake,
            starved: AtomicBool::new(false),
        };
        Ok(SocketLink {
            shared: Arc::new(shared),
            held: Vec::new(),
            closed: false,
        })
    }

    /// Returns whether the other end has closed the socket.
    fn hung_up(&self) -> bool {
        let mut entry = [PollFd::new(&self.shared.socket.0, PollFlags::IN)];
        let done = poll(
            &mut entry,
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
        );
        done.is_ok() && entry[0].revents().contains(PollFlags::HUP)
    }

    /// Sends the held packet. Returns whether no packet is held any more.
    fn flush(&mut self) -> bool {
        if self.held.is_empty() {
            return true;
        }
        match send(&self.shared.socket.0, &self.held, SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => return false,
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => self.closed = true,
            _ => {}
        }
        self.held.clear();
        self.shared.starved.store(false, Ordering::Relaxed);
        true
    }
}

impl PacketLink for SocketLink {
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        self.flush();
        match recv(&self.shared.socket.0, &mut *buffer, RecvFlags::TRUNC) {
            // An empty message and the end of the stream look the same, but only the end hangs up.
            Ok((_, 0)) => {
                if self.hung_up() {
                    self.closed = true;
                    return None;
                }
                Some(0)
            }
            Ok((_, length)) if length > buffer.len() => Some(0),
            Ok((_, length)) => Some(length),
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(_) => {
                self.closed = true;
                None
            }
        }
    }

    fn ready(&mut self) -> bool {
        self.flush() && !self.closed
    }

    fn send(&mut self, packet: &[u8]) -> bool {
        if !self.flush() || self.closed {
            return false;
        }
        match send(&self.shared.socket.0, packet, SendFlags::NOSIGNAL) {
            Ok(_) => true,
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => {
                self.held.extend_from_slice(packet);
                self.shared.starved.store(true, Ordering::Relaxed);
                true
            }
            Err(Errno::MSGSIZE) => false,
            Err(_) => {
                self.closed = true;
                false
            }
        }
    }

    fn closed(&self) -> bool {
        self.closed
    }

    fn waiter(&self) -> Arc<dyn Wait> {
        Arc::clone(&self.shared) as Arc<dyn Wait>
    }
}

#[derive(Debug)]
struct Descriptors {
    socket: PacketSocket,
    wake: OwnedFd,
    /// Whether a packet is held until the socket has room.
    starved: AtomicBool,
}

impl Wait for Descriptors {
    fn wait(&self, timeout: Option<Duration>) {
        let mut events = PollFlags::IN;
        if self.starved.load(Ordering::Relaxed) {
            events |= PollFlags::OUT;
        }
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut entries = [
            PollFd::new(&self.socket.0, events),
            PollFd::new(&self.wake, PollFlags::IN),
        ];
        // With EINTR the wait ends early, which its contract allows.
        let _ = poll(&mut entries, timeout.as_ref());
        if entries[1].revents().contains(PollFlags::IN) {
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
    }

    fn wake(&self) {
        // A full counter (EAGAIN) is readable already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// A non-blocking descriptor that carries one packet in each message, used like a TUN descriptor.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Takes one packet into `buffer`, directly from the socket, and returns its length in bytes. A
    /// longer packet is cut.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when no packet waits, [`io::ErrorKind::UnexpectedEof`] when
    /// the other end is gone.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match recv(&self.0, buffer, RecvFlags::empty()) {
            Ok((0, _)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((length, _)) => Ok(length),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends one packet, directly from `packet`. Returns its length in bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the other end has not read enough,
    /// [`io::ErrorKind::BrokenPipe`] when it is gone.
    pub fn send(&self, packet: &[u8]) -> io::Result<usize> {
        Ok(send(&self.0, packet, SendFlags::NOSIGNAL)?)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for PacketSocket {
    fn from(descriptor: OwnedFd) -> PacketSocket {
        PacketSocket(descriptor)
    }
}

impl From<PacketSocket> for OwnedFd {
    fn from(socket: PacketSocket) -> OwnedFd {
        socket.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_packet_a_message_both_ways() {
        let (mut link, far) = SocketLink::pair().expect("a socket pair");
        let mut buffer = [0; 2000];
        assert_eq!(link.receive(&mut buffer), None);
        assert_eq!(
            far.receive(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        assert!(link.send(&[1; 1500]) && link.send(&[2; 20]));
        assert_eq!(far.receive(&mut buffer).expect("a packet"), 1500);
        assert_eq!(far.receive(&mut buffer).expect("a packet"), 20);
        far.send(&[3; 100]).expect("room");
        assert_eq!(link.receive(&mut buffer), Some(100));
        far.send(&[3; 100]).expect("room");
        assert_eq!(
            link.receive(&mut buffer[..50]),
            Some(0),
            "too long a packet is no packet"
        );
    }

    #[test]
    fn a_full_socket_is_not_ready_until_it_is_read() {
        let (mut link, far) = SocketLink::pair().expect("a socket pair");
        let mut sent = 0;
        while link.ready() && link.send(&[0; 1500]) {
            sent += 1;
            assert!(sent < 1_000_000, "a socket has an end");
        }
        assert!(sent > 10);
        assert!(!link.ready());
        let mut buffer = [0; 1500];
        let mut received = 0;
        while received < sent {
            match far.receive(&mut buffer) {
                Ok(_) => received += 1,
                Err(_) => link.wait(Some(Duration::from_secs(10))),
            }
            link.ready();
        }
        assert!(link.ready(), "the held packet was the last of {sent}");
        assert!(far.receive(&mut buffer).is_err());
    }

    #[test]
    fn the_end_shows_as_closed() {
        let (mut link, far) = SocketLink::pair().expect("a socket pair");
        far.send(&[3; 10]).expect("room");
        drop(far);
        let mut buffer = [0; 100];
        assert_eq!(link.receive(&mut buffer), Some(10));
        link.wait(None);
        assert_eq!(link.receive(&mut buffer), None);
        assert!(link.closed());
        assert!(!link.send(&[0; 1]));

        let (link, far) = SocketLink::pair().expect("a socket pair");
        drop(link);
        assert_eq!(
            far.receive(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn a_wake_ends_a_wait() {
        let (link, _far) = SocketLink::pair().expect("a socket pair");
        link.waiter().wake();
        link.wait(None);
    }
}
