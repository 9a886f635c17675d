//! UDP sockets.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, RecvError, SendError, Socket};
use smoltcp::wire::IpEndpoint;

use super::{Client, FIRST_DYNAMIC_PORT, Shared, Wanted};
use crate::error::Error;

/// Largest number of datagrams and of bytes that are queued in each direction.
const QUEUE: (usize, usize) = (256, 512 << 10);
/// Longest time that a datagram waits for room in the queue.
const FULL: Duration = Duration::from_secs(2);
/// The limits of [`QUEUE`] for sockets of which a few small datagrams are expected.
const SMALL_QUEUE: (usize, usize) = (16, 16 << 10);

impl Client {
    /// Makes a UDP socket at a free port.
    ///
    /// # Errors
    /// [`Error::TooManySockets`], [`Error::Stopped`].
    pub fn udp(&self) -> Result<UdpSocket, Error> {
        self.udp_from(None, QUEUE)
    }

    /// Makes a UDP socket at a port that `random` chooses, with small queues.
    ///
    /// # Errors
    /// As [`Client::udp`].
    pub(super) fn udp_at(&self, random: u64) -> Result<UdpSocket, Error> {
        let port = FIRST_DYNAMIC_PORT + (random % 16_384) as u16;
        self.udp_from(Some(port), SMALL_QUEUE)
    }

    fn udp_from(&self, first: Option<u16>, queue: (usize, usize)) -> Result<UdpSocket, Error> {
        let mut state = self.shared.lock();
        state.check_running()?;
        state.check_room(false)?;
        let port = match first {
            Some(first) => state.free_port_from(first),
            None => state.free_port(),
        };
        let port = port.ok_or(Error::TooManySockets(super::MAX_OTHER_SOCKETS))?;
        let queue = || PacketBuffer::new(vec![PacketMetadata::EMPTY; queue.0], vec![0; queue.1]);
        let mut socket = Socket::new(queue(), queue());
        // smoltcp refuses only a port of 0 or a second bind.
        if socket.bind(port).is_err() {
            return Err(Error::TooManySockets(super::MAX_OTHER_SOCKETS));
        }
        let handle = state.core.sockets.add(socket);
        drop(state);
        Ok(UdpSocket {
            shared: Arc::clone(&self.shared),
            handle,
            port,
        })
    }
}

/// A UDP socket. Dropping it closes the socket.
pub struct UdpSocket {
    shared: Arc<Shared>,
    handle: SocketHandle,
    port: u16,
}

impl UdpSocket {
    /// Returns the local port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends one datagram, and waits up to two seconds while the queue is full.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than one IPv6 packet of the link (or one IPv4 datagram) holds,
    /// [`Error::Unreachable`], [`Error::Timeout`], [`Error::Stopped`].
    pub fn send_to(&self, data: &[u8], to: SocketAddr) -> Result<(), Error> {
        let sent = self
            .shared
            .wait_for(Wanted::Send(self.handle), Some(FULL), |state| {
                if let Err(error) = state.check_source(to.ip()) {
                    return Some(Err(error));
                }
                let most = match to {
                    SocketAddr::V4(_) => 65_535 - 28,
                    SocketAddr::V6(_) => state.core.config.mtu - 48,
                };
                if data.len() > most {
                    return Some(Err(Error::TooLarge(data.len(), most)));
                }
                let socket = state.core.sockets.get_mut::<Socket<'_>>(self.handle);
                match socket.send_slice(data, IpEndpoint::from(to)) {
                    Ok(()) => Some(Ok(())),
                    Err(SendError::BufferFull) => None,
                    Err(SendError::Unaddressable) => Some(Err(Error::Unreachable(to.ip()))),
                }
            })?;
        sent.unwrap_or_else(|| {
            Err(Error::Timeout {
                peer: to.to_string(),
                waited: FULL,
            })
        })
    }

    /// Takes one datagram into `buffer`, cut if the buffer is shorter. Returns its length in bytes
    /// and its source.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Stopped`].
    pub fn receive_from(
        &self,
        buffer: &mut [u8],
        timeout: Duration,
    ) -> Result<(usize, SocketAddr), Error> {
        let received =
            self.shared
                .wait_for(Wanted::Receive(self.handle), Some(timeout), |state| {
                    let socket = state.core.sockets.get_mut::<Socket<'_>>(self.handle);
                    match socket.recv() {
                        Ok((data, from)) => {
                            let length = data.len().min(buffer.len());
                            buffer[..length].copy_from_slice(&data[..length]);
                            let IpEndpoint { addr, port } = from.endpoint;
                            Some((length, SocketAddr::new(IpAddr::from(addr), port)))
                        }
                        Err(RecvError::Exhausted | RecvError::Truncated) => None,
                    }
                })?;
        received.ok_or_else(|| Error::Timeout {
            peer: format!("the peers of UDP port {}", self.port),
            waited: timeout,
        })
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        // Queued datagrams are sent at once as far as the link has room.
        state.core.send(std::time::Instant::now());
        state.core.sockets.remove(self.handle);
    }
}

impl std::fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UdpSocket")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}
