//! What a client sends before its flow begins: read within a time, and no further than it goes.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Time in which a client is to say what it wants.
const TIME: Duration = Duration::from_secs(20);

/// A client that has not said everything yet.
pub struct Client<'s> {
    stream: &'s TcpStream,
    until: Instant,
}

impl<'s> Client<'s> {
    /// Gives a client its time from here on.
    pub fn new(stream: &'s TcpStream) -> Self {
        Self {
            stream,
            until: Instant::now() + TIME,
        }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(left),
        }
    }

    /// Reads what there is.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the client has closed,
    /// [`io::ErrorKind::TimedOut`] or [`io::ErrorKind::WouldBlock`] when its time is over.
    pub fn some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        match self.stream.read(buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => Ok(length),
        }
    }

    /// Reads that many bytes.
    ///
    /// # Errors
    /// Those of [`Client::some`].
    pub fn exactly<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Fills a buffer.
    ///
    /// # Errors
    /// Those of [`Client::some`].
    pub fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            done += self.some(rest)?;
        }
        Ok(())
    }

    /// Sends an answer.
    ///
    /// # Errors
    /// Those of [`Client::some`].
    pub fn answer(&mut self, bytes: &[u8]) -> io::Result<()> {
        // A connection may have taken longer than the client's time.
        self.stream.set_write_timeout(Some(TIME))?;
        self.stream.write_all(bytes)
    }
}
