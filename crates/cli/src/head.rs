//! The first bytes of a client, before it is served: they are read within a time that is bounded as a whole,
//! and not beyond their end.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A connection whose reads and writes may have a time limit.
pub trait Timed {
    /// Limits the time of each read.
    ///
    /// # Errors
    /// Those of setsockopt(2), and [`io::ErrorKind::InvalidInput`] for a time of zero.
    fn limit_reads(&self, time: Duration) -> io::Result<()>;
    /// Limits the time of each write.
    ///
    /// # Errors
    /// Those of [`Timed::limit_reads`].
    fn limit_writes(&self, time: Duration) -> io::Result<()>;
}

impl Timed for TcpStream {
    fn limit_reads(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))
    }
    fn limit_writes(&self, time: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(time))
    }
}

impl Timed for UnixStream {
    fn limit_reads(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))
    }
    fn limit_writes(&self, time: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(time))
    }
}

/// A client whose head has not been read to its end.
pub struct Client<'s, S> {
    stream: &'s S,
    time: Duration,
    until: Instant,
}

impl<'s, S: Timed> Client<'s, S>
where
    &'s S: Read + Write,
{
    /// Gives a client `time` for the whole head, and as long again for each answer.
    pub fn new(stream: &'s S, time: Duration) -> Self {
        Self {
            stream,
            time,
            until: Instant::now() + time,
        }
    }

    /// Reads the bytes that have come.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the client has closed,
    /// [`io::ErrorKind::TimedOut`] or [`io::ErrorKind::WouldBlock`] when its time is over.
    pub fn some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.limit_reads(left)?;
        let mut stream = self.stream;
        match stream.read(buffer)? {
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

    /// Reads a head of unknown length, until `read` returns a result for the bytes so far. Returns that
    /// result with all bytes that have come, or `None` when these are more than `longest` and `read` has
    /// no result.
    ///
    /// # Errors
    /// Those of [`Client::some`].
    pub fn head<T>(
        &mut self,
        longest: usize,
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> io::Result<Option<(T, Vec<u8>)>> {
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        while bytes.len() <= longest {
            let length = self.some(&mut piece)?;
            bytes.extend(piece.get(..length).unwrap_or_default());
            if let Some(found) = read(&bytes) {
                return Ok(Some((found, bytes)));
            }
        }
        Ok(None)
    }

    /// Sends an answer.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn answer(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Carrying out the request may have taken longer than the client's time.
        self.stream.limit_writes(self.time)?;
        let mut stream = self.stream;
        stream.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_trickles_has_no_more_time_than_one_that_is_silent() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let trickle = std::thread::spawn(move || {
            while (&theirs).write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let mut client = Client::new(&ours, Duration::from_millis(50));
        let error = client.head(1 << 20, |_| None::<()>).unwrap_err();
        let over = [io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock];
        assert!(over.contains(&error.kind()), "{error}");
        drop(ours);
        trickle.join().unwrap();
    }

    #[test]
    fn a_head_has_an_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&[b'x'; 10_000]).unwrap();
        let time = Duration::from_secs(60);
        let mut client = Client::new(&ours, time);
        assert_eq!(client.head(8192, |_| None::<()>).unwrap(), None);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"head.rest").unwrap();
        let mut client = Client::new(&ours, time);
        let dot = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'.');
        let found = client.head(8192, dot).unwrap();
        assert_eq!(found, Some((4, b"head.rest".to_vec())));
    }
}
