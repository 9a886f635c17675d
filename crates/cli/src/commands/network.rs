//! The network stack over which `demo` and `bench` send. The kernel's own is one of them.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, sendto,
    socket_with,
};
use uwwan_netstack::{Error, client};

use uwwan_modem::host::Userspace;

/// Time after which a transfer without any progress has failed.
pub const STALL: Duration = Duration::from_secs(10);

/// Number of payload bytes in an echo request, as many as `ping` sends.
const PAYLOAD: usize = 56;
/// Length of the ICMP header before the payload in bytes.
const HEADER: usize = 8;

/// A network stack that sends echo requests and opens TCP connections.
pub trait Network {
    /// Sends an echo request and waits for its reply. Returns the time between them, or `None` when
    /// no reply came in time.
    ///
    /// # Errors
    /// Fails when the request cannot be sent, or the reply not received.
    fn ping(
        &mut self,
        target: IpAddr,
        sequence: u16,
        timeout: Duration,
    ) -> io::Result<Option<Duration>>;

    /// Opens a TCP connection whose reads and writes fail after [`STALL`] without progress.
    ///
    /// # Errors
    /// Fails when the connection is refused, or when nothing answers.
    fn connect(&mut self, target: SocketAddr) -> io::Result<Box<dyn Stream>>;
}

/// A TCP connection.
pub trait Stream: Read + Write {
    /// Closes the sending half, so that the other end sees that nothing more comes.
    ///
    /// # Errors
    /// Fails when the connection is gone.
    fn end(&mut self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn end(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Stream for client::TcpStream {
    fn end(&mut self) -> io::Result<()> {
        self.shutdown_write();
        Ok(())
    }
}

/// The kernel's stack: its TCP, and raw sockets for ICMP, opened at the first request.
#[derive(Debug, Default)]
pub struct Kernel {
    four: Option<OwnedFd>,
    six: Option<OwnedFd>,
}

impl Kernel {
    fn socket(&mut self, target: IpAddr) -> io::Result<&OwnedFd> {
        let (slot, family, protocol) = match target {
            IpAddr::V4(_) => (&mut self.four, AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (&mut self.six, AddressFamily::INET6, ipproto::ICMPV6),
        };
        if slot.is_none() {
            *slot = Some(socket_with(
                family,
                SocketType::RAW,
                SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
                Some(protocol),
            )?);
        }
        slot.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Network for Kernel {
    fn ping(
        &mut self,
        target: IpAddr,
        sequence: u16,
        timeout: Duration,
    ) -> io::Result<Option<Duration>> {
        let identifier = std::process::id() as u16;
        let socket = self.socket(target)?;
        let request = request(target, identifier, sequence);
        let begun = Instant::now();
        sendto(
            socket,
            &request,
            SendFlags::empty(),
            &SocketAddr::new(target, 0),
        )?;
        let mut buffer = [0; 2048];
        loop {
            let left = timeout.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            let wait = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&wait)) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            match recv(socket, &mut buffer, RecvFlags::empty()) {
                Ok((count, _)) if is_reply(target, &buffer[..count], identifier, sequence) => {
                    return Ok(Some(begun.elapsed()));
                }
                Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn connect(&mut self, target: SocketAddr) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect_timeout(&target, STALL)?;
        stream.set_read_timeout(Some(STALL))?;
        stream.set_write_timeout(Some(STALL))?;
        Ok(Box::new(stream))
    }
}

/// Returns an echo request in network byte order (RFC 792, RFC 4443). The checksum of ICMPv6 is
/// left to the kernel, which does not fill in that of ICMPv4.
fn request(target: IpAddr, identifier: u16, sequence: u16) -> Vec<u8> {
    let mut message = vec![0; HEADER + PAYLOAD];
    message[0] = if target.is_ipv4() { 8 } else { 128 };
    message[4..6].copy_from_slice(&identifier.to_be_bytes());
    message[6..8].copy_from_slice(&sequence.to_be_bytes());
    for (value, byte) in (0u8..).zip(&mut message[HEADER..]) {
        *byte = value;
    }
    if target.is_ipv4() {
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// Returns the Internet checksum of big-endian words (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Returns whether `packet` is the echo reply with the payload of the request. A raw IPv4 socket
/// delivers the IP header too, a raw IPv6 socket does not.
fn is_reply(target: IpAddr, packet: &[u8], identifier: u16, sequence: u16) -> bool {
    let (message, kind) = match target {
        IpAddr::V4(_) => {
            let Some(first) = packet.first() else {
                return false;
            };
            let Some(message) = packet.get(usize::from(first & 15) * 4..) else {
                return false;
            };
            (message, 0)
        }
        IpAddr::V6(_) => (packet, 129),
    };
    let sent = request(target, identifier, sequence);
    message.len() == sent.len()
        && message[0] == kind
        && message[1] == 0
        && message[4..] == sent[4..]
}

impl Network for Userspace {
    fn ping(
        &mut self,
        target: IpAddr,
        _sequence: u16,
        timeout: Duration,
    ) -> io::Result<Option<Duration>> {
        match self.client()?.ping(target, PAYLOAD, timeout) {
            Ok(time) => Ok(Some(time)),
            Err(Error::Timeout { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn connect(&mut self, target: SocketAddr) -> io::Result<Box<dyn Stream>> {
        let mut stream = self.client()?.connect(target, STALL)?;
        stream.set_read_timeout(Some(STALL));
        stream.set_write_timeout(Some(STALL));
        Ok(Box::new(stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_carry_their_checksum() {
        let four = request(IpAddr::from([192, 0, 2, 1]), 0x1234, 7);
        assert_eq!((four[0], four[1], four.len()), (8, 0, 64));
        assert_eq!(checksum(&four), 0);
        let six = request("2001:db8::1".parse().unwrap(), 1, 2);
        assert_eq!((six[0], six[2], six[3]), (128, 0, 0));
    }

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(!checksum(&bytes), 0xddf2);
    }

    #[test]
    fn only_our_reply_counts() {
        let target = IpAddr::from([192, 0, 2, 1]);
        let mut reply = vec![0x45; 20];
        reply.extend(request(target, 9, 5));
        reply[20] = 0;
        assert!(is_reply(target, &reply, 9, 5));
        assert!(!is_reply(target, &reply, 9, 6));
        assert!(!is_reply(target, &reply, 8, 5));
        reply[30] ^= 1;
        assert!(!is_reply(target, &reply, 9, 5));
        for short in 0..reply.len() {
            assert!(!is_reply(target, &reply[..short], 9, 5));
        }
    }
}
