//! Client side of the AT socket of a running `up`, which carries JSON lines.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use uwwan_at::dialogue::Command;

use super::socket;
use crate::at_port::owner::PATIENCE;
use crate::at_port::protocol::{Message, Request, final_result};
use crate::at_port::{self, Answer, Line};
use crate::failure::Failure;

/// Length of the longest message that is read, in bytes: the longest answer with room for escapes.
const LONGEST_MESSAGE: u64 = 4 << 20;
/// Time that an answer may take beyond the command's own, because other clients are served first.
const SLACK: Duration = Duration::from_secs(180);

/// Connection to the AT socket of a running `uwwan up`.
#[derive(Debug)]
pub(super) struct AtSocket {
    stream: BufReader<UnixStream>,
    socket: PathBuf,
    partial: Vec<u8>,
    lines: VecDeque<Line>,
    /// Whether commands are sent even where they end data sessions of the running `up`.
    pub(super) insists: bool,
}

impl AtSocket {
    /// Connects to a socket.
    ///
    /// # Errors
    /// [`Failure`] with the socket and the reason.
    pub(super) fn connect(path: &Path) -> Result<Self, Failure> {
        let (stream, _) = socket::connect(path)?;
        Ok(Self {
            stream: BufReader::new(stream),
            socket: path.to_owned(),
            partial: Vec::new(),
            lines: VecDeque::new(),
            insists: false,
        })
    }

    /// Returns a second connection to the same socket.
    ///
    /// # Errors
    /// Those of [`AtSocket::connect`].
    pub(super) fn again(&self) -> Result<Self, Failure> {
        Self::connect(&self.socket)
    }

    /// Sends a command, with text for its prompt if it has one, and returns its answer.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer at all.
    pub(super) fn ask(
        &mut self,
        command: &Command,
        text: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<Answer, Failure> {
        self.send(&Request::Command {
            line: command.line().to_owned(),
            text: text.map(str::to_owned),
            force: self.insists,
            timeout_ms: timeout.map(|time| time.as_millis().try_into().unwrap_or(u64::MAX)),
        })?;
        let patience = command.timeout() + PATIENCE + SLACK;
        match self.answer(patience)? {
            Message::Answer {
                command,
                lines,
                truncated,
                result,
            } => Ok(Answer {
                command,
                lines,
                truncated,
                result: final_result(&result),
            }),
            _ => Err(self.broken(&"the answer is to another request")),
        }
    }

    /// Subscribes to unsolicited result codes and NMEA sentences; [`AtSocket::line`] returns them
    /// from here on.
    ///
    /// # Errors
    /// [`Failure`] when the other end is gone.
    pub(super) fn listen(&mut self) -> Result<(), Failure> {
        self.send(&Request::Listen {})?;
        self.answer(Duration::from_secs(10)).map(|_| ())
    }

    /// Returns a description of the interface that answers; `None` when none does at present.
    ///
    /// # Errors
    /// [`Failure`] when the other end is gone.
    pub(super) fn port(&mut self) -> Result<Option<String>, Failure> {
        self.send(&Request::State {})?;
        match self.answer(Duration::from_secs(10))? {
            Message::State { port } => Ok(port),
            _ => Err(self.broken(&"the answer is to another request")),
        }
    }

    /// Returns the next unsolicited result code or NMEA sentence, if one comes within `patience`.
    ///
    /// # Errors
    /// [`Failure`] when the other end is gone.
    pub(super) fn line(&mut self, patience: Duration) -> Result<Option<Line>, Failure> {
        if let Some(line) = self.lines.pop_front() {
            return Ok(Some(line));
        }
        match self.message(Instant::now() + patience)? {
            None => Ok(None),
            Some(Message::Unsolicited(text)) => Ok(Some(Line::Unsolicited(text))),
            Some(Message::Nmea(text)) => Ok(Some(Line::Nmea(text))),
            Some(_) => Err(self.broken(&"an answer came without a request")),
        }
    }

    fn send(&mut self, request: &Request) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(request).unwrap_or_default();
        line.push(b'\n');
        let sent = self
            .stream
            .get_ref()
            .set_write_timeout(Some(Duration::from_secs(10)))
            .and_then(|()| socket::send(self.stream.get_mut(), &line));
        sent.map_err(|error| self.broken(&error))
    }

    /// Returns the next message that answers a request; unsolicited ones are kept for
    /// [`AtSocket::line`].
    fn answer(&mut self, patience: Duration) -> Result<Message, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            match self.message(deadline)? {
                None => {
                    return Err(self.broken(&format_args!("silent for {} s", patience.as_secs())));
                }
                Some(Message::Unsolicited(text)) => self.keep(Line::Unsolicited(text)),
                Some(Message::Nmea(text)) => self.keep(Line::Nmea(text)),
                Some(Message::Error(failure)) => return Err(failure),
                Some(other) => return Ok(other),
            }
        }
    }

    fn keep(&mut self, line: Line) {
        if self.lines.len() < 1024 {
            self.lines.push_back(line);
        }
    }

    fn message(&mut self, deadline: Instant) -> Result<Option<Message>, Failure> {
        loop {
            let left = deadline
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1));
            let room = LONGEST_MESSAGE.saturating_sub(self.partial.len() as u64);
            let read = self
                .stream
                .get_ref()
                .set_read_timeout(Some(left))
                .and_then(|()| {
                    (&mut self.stream)
                        .take(room)
                        .read_until(b'\n', &mut self.partial)
                });
            match read {
                Ok(_) if self.partial.last() == Some(&b'\n') => {
                    let message = serde_json::from_slice(&self.partial);
                    self.partial.clear();
                    return message.map(Some).map_err(|error| self.broken(&error));
                }
                Ok(_) => return Err(at_port::away("the running uwwan has ended")),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset => {
                        return Err(at_port::away("the running uwwan has ended"));
                    }
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        if Instant::now() >= deadline {
                            return Ok(None);
                        }
                    }
                    _ => return Err(self.broken(&error)),
                },
            }
        }
    }

    fn broken(&self, why: &dyn std::fmt::Display) -> Failure {
        at_port::system(format!("{}: {why}", self.socket.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::status::tests::refusing;
    use crate::failure::FailureKind;

    #[test]
    fn a_refusal_is_heard_though_the_connection_is_closed_before_the_command() {
        let refusal = Failure::new(FailureKind::Permission, "you may not");
        let (_folder, path, thread) = refusing(&Message::Error(refusal));
        let mut socket = AtSocket::connect(&path).unwrap();
        thread.join().unwrap();
        let failure = socket.port().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Permission);
        let failure = socket.port().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Missing);
    }
}
