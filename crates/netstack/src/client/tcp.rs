//! TCP streams with blocking reads and writes.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{RecvError, Socket, State as TcpState};
use smoltcp::wire::IpEndpoint;

use super::{Client, Flight, LINGER, Shared, State, Wanted, is_opening, wake};
use crate::error::Error;

/// Number of spans of silence after which a peer that does not answer probes has vanished.
const VANISHED: u32 = 5;

impl Client {
    /// Opens a TCP connection.
    ///
    /// # Errors
    /// [`Error::Unreachable`] without an address of that family, [`Error::Refused`],
    /// [`Error::Timeout`], [`Error::TooManySockets`], [`Error::Stopped`].
    pub fn connect(&self, to: SocketAddr, timeout: Duration) -> Result<TcpStream, Error> {
        let mut state = self.shared.lock();
        state.check_running()?;
        state.check_source(to.ip())?;
        state.check_room(true)?;
        let limit = state.core.config.max_tcp_sockets;
        let port = state.free_port().ok_or(Error::TooManySockets(limit))?;
        let mut socket = state.core.tcp_socket();
        // A peer that has vanished is not waited for without end, even if nothing is sent to it.
        let silence = state.core.config.silence;
        socket.set_keep_alive(Some(silence.into()));
        socket.set_timeout(Some((silence * VANISHED).into()));
        let remote = IpEndpoint::from(to);
        // A port of 0 is the only case left in which smoltcp refuses.
        if socket
            .connect(state.core.interface.context(), remote, port)
            .is_err()
        {
            return Err(Error::Unreachable(to.ip()));
        }
        let handle = state.core.sockets.add(socket);
        let begun = Instant::now();
        state.act(&self.shared);
        drop(state);
        let stream = TcpStream {
            shared: Arc::clone(&self.shared),
            handle,
            peer: to,
            read_timeout: None,
            write_timeout: None,
        };
        let wanted = Wanted::Open(handle);
        let outcome = self.shared.wait_for(wanted, Some(timeout), |state| {
            let socket = state.core.sockets.get_mut::<Socket<'_>>(handle);
            if is_opening(socket) {
                return None;
            }
            if socket.state() == TcpState::Closed {
                return Some(Err(Error::Refused(to)));
            }
            let (most, now) = (socket.send_capacity(), Instant::now());
            let trip = now.saturating_duration_since(begun);
            let flight = Flight::new(most, trip, now, &mut state.drains);
            state.flights.insert(handle, flight);
            Some(Ok(()))
        });
        match outcome {
            Ok(Some(Ok(()))) => Ok(stream),
            Ok(Some(Err(error))) | Err(error) => Err(error),
            Ok(None) => {
                self.shared
                    .lock()
                    .core
                    .sockets
                    .get_mut::<Socket<'_>>(handle)
                    .abort();
                Err(Error::Timeout {
                    peer: to.to_string(),
                    waited: timeout,
                })
            }
        }
    }
}

/// A TCP connection. Reads and writes block. They work on shared references too, so that one thread
/// can read while another writes. Dropping it closes the connection after the data written was
/// sent.
pub struct TcpStream {
    shared: Arc<Shared>,
    handle: SocketHandle,
    peer: SocketAddr,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl TcpStream {
    /// Sets the time after which a read fails with [`io::ErrorKind::TimedOut`]. With `None`, the
    /// default, a read blocks for ever.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.read_timeout = timeout;
    }

    /// Sets the time after which a write fails with [`io::ErrorKind::TimedOut`]. With `None`, the
    /// default, a write blocks for ever.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout;
    }

    /// Closes this end of the stream after the data written so far. Reading goes on.
    pub fn shutdown_write(&self) {
        let mut state = self.shared.lock();
        self.socket(&mut state).close();
        state.act(&self.shared);
        wake(state);
    }

    /// Resets the connection. Data that was written and not sent is lost, and reads and writes
    /// fail.
    pub fn reset(&self) {
        let mut state = self.shared.lock();
        self.socket(&mut state).abort();
        state.act(&self.shared);
        wake(state);
    }

    fn socket<'s>(&self, state: &'s mut State) -> &'s mut Socket<'static> {
        state.core.sockets.get_mut::<Socket<'static>>(self.handle)
    }

    fn timed<R>(
        &self,
        wanted: Wanted,
        timeout: Option<Duration>,
        attempt: impl FnMut(&mut State) -> Option<io::Result<R>>,
    ) -> io::Result<R> {
        match self.shared.wait_for(wanted, timeout, attempt)? {
            Some(result) => result,
            None => {
                let waited = timeout.unwrap_or_default();
                Err(Error::Timeout {
                    peer: self.peer.to_string(),
                    waited,
                }
                .into())
            }
        }
    }
}

impl Read for &TcpStream {
    /// Reads the data that has arrived. Returns 0 only at the end of the stream or for an empty
    /// buffer.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.timed(Wanted::Read(self.handle), self.read_timeout, |state| {
            let socket = self.socket(state);
            match socket.recv_slice(buffer) {
                Ok(0) => None,
                Ok(length) => Some(Ok(length)),
                Err(RecvError::Finished) => Some(Ok(0)),
                Err(RecvError::InvalidState) => Some(Err(io::ErrorKind::ConnectionReset.into())),
            }
        })
    }
}

impl Write for &TcpStream {
    /// Writes as much as there is room for, at least one byte of a buffer that is not empty.
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.timed(Wanted::Write(self.handle), self.write_timeout, |state| {
            let room = state.room(self.handle);
            let socket = self.socket(state);
            if !socket.may_send() {
                return Some(Err(match socket.is_active() {
                    true => io::ErrorKind::BrokenPipe.into(),
                    false => io::ErrorKind::ConnectionReset.into(),
                }));
            }
            let piece = &buffer[..buffer.len().min(room)];
            // A socket that may send takes as much as it has room for.
            let length = socket.send_slice(piece).unwrap_or(0);
            if length == 0 {
                return None;
            }
            if let Some(flight) = state.flights.get_mut(&self.handle) {
                flight.wrote(length, Instant::now());
            }
            Some(Ok(length))
        })
    }

    /// Does nothing, because written data is sent at once.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for TcpStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self).write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let socket = self.socket(&mut state);
        // Data that no reader will take is answered with a reset (RFC 2525 section 2.17).
        if socket.can_recv() {
            socket.abort()
        } else {
            socket.close()
        }
        socket.set_timeout(Some(LINGER.into()));
        let until = Instant::now() + LINGER;
        state.orphans.push((self.handle, until));
        state.flights.remove(&self.handle);
        // The packet thread must learn the deadline of the orphan.
        state.asleep = None;
        state.core.send(Instant::now());
        drop(state);
        self.shared.waiter.wake();
    }
}

impl std::fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpStream")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
