//! Client of the control socket of a running `up`, which tells the status and takes orders;
//! [`share`](crate::share) defines the messages.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::socket::{self, JsonLines, Stranger};
use crate::asking::{Answer, Question};
use crate::failure::{Failure, FailureKind};
use crate::join::{JoinNews, JoinOptions};
use crate::raw::{self, RawEvent, To};
use crate::share::{Reply, Request, Sending, descriptors};

/// Length of the longest reply line that is read, in bytes.
const LONGEST_REPLY: usize = 1 << 20;
/// Time within which the reply to a request for the status has to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest time until a running `up` knows that a program has left.
const LEAVING: Duration = Duration::from_secs(1);
/// Most characters that are shown of the reason with which an ordinary user's `up` refuses root.
const LONGEST_REASON: usize = 400;

/// Client of the control socket of a running `up` (`control` in its runtime directory).
#[derive(Debug)]
pub struct StatusClient {
    lines: JsonLines,
    place: String,
    /// The user at the other end, if that is an ordinary user and this process is root's.
    stranger: Option<Stranger>,
}

impl StatusClient {
    /// Connects to a control socket.
    ///
    /// # Errors
    /// [`Failure`] of the kind `NotRunning` when nobody answers there, or `Permission`.
    pub fn connect(path: &Path) -> Result<Self, Failure> {
        let (stream, _) = socket::connect(path)?;
        Self::over(path, stream, None)
    }

    /// Does as [`StatusClient::connect`], and lets root reach an ordinary user's `up` as well, which is
    /// then asked with that user's rights. Its answers are that user's word: [`StatusClient::stranger`]
    /// returns the user.
    ///
    /// # Errors
    /// Those of [`StatusClient::connect`].
    pub fn connect_to_any_user(path: &Path) -> Result<Self, Failure> {
        let (stream, stranger) = socket::connect_to_any_user(path)?;
        Self::over(path, stream, stranger)
    }

    fn over(path: &Path, stream: UnixStream, stranger: Option<Stranger>) -> Result<Self, Failure> {
        let place = path.display().to_string();
        let lines = JsonLines::over(stream, LONGEST_REPLY);
        Ok(Self {
            lines: lines.map_err(|error| broken(&place, &error))?,
            place,
            stranger,
        })
    }

    /// Returns the user id of the process at the other end, if that is an ordinary user's and this
    /// process is root's.
    #[must_use]
    pub fn stranger(&self) -> Option<u32> {
        self.stranger.map(|stranger| stranger.user)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`Failure`] of the kind `Unreadable` when the other end takes nothing. A connection that the
    /// other end has closed is reported by [`StatusClient::reply`], after the replies that it has
    /// sent.
    pub fn ask(&mut self, request: Request) -> Result<(), Failure> {
        let sent = self.lines.send(&request);
        sent.map_err(|error| broken(&self.place, &error))
    }

    /// Waits at most `patience` for the next reply and returns it, or `None` when the other end has
    /// closed the connection.
    ///
    /// # Errors
    /// [`Failure`] of the kind `Unreadable` on silence or an answer that cannot be parsed, and the
    /// failure that a refusal carries.
    pub fn reply(&mut self, patience: Duration) -> Result<Option<Reply>, Failure> {
        let line = match self.lines.line(Instant::now() + patience) {
            Ok(Some(line)) if line.is_empty() => return Ok(None),
            Ok(Some(line)) => line,
            Ok(None) => {
                let silence = io::Error::from(io::ErrorKind::TimedOut);
                return Err(broken(&self.place, &silence));
            }
            Err(error) => return Err(broken(&self.place, &error)),
        };
        let mut reply: Reply =
            serde_json::from_slice(&line).map_err(|error| broken(&self.place, &error))?;
        if let Some(stranger) = self.stranger {
            reply.pid = stranger.process;
        }
        if reply.ok {
            return Ok(Some(reply));
        }
        // Version 0.1 of the program sends the reason alone.
        let failure = reply.failure.unwrap_or_else(|| {
            Failure::new(FailureKind::Other, "the running uwwan refused")
                .because(reply.error.unwrap_or_default())
        });
        Err(match self.stranger {
            Some(stranger) => quoted(stranger, &failure),
            None => failure,
        }
        .at(&self.place))
    }

    /// Asks for a capture and returns the stream that carries the bytes of its file, and the same stream
    /// for another thread, which ends the capture by shutting down its writing half. The rest of the file
    /// follows, and the other end closes the connection.
    ///
    /// # Errors
    /// Those of [`StatusClient::reply`].
    pub fn capture(
        mut self,
        options: crate::capture::Options,
    ) -> Result<(impl Read + Send, UnixStream), Failure> {
        self.ask(Request::Capture(options))?;
        if self.reply(PATIENCE)?.is_none() {
            return Err(broken(&self.place, &"it has ended"));
        }
        let stream = self.lines.stream.get_ref();
        let ended = stream
            .set_read_timeout(None)
            .and_then(|()| stream.try_clone());
        let ended = ended.map_err(|error| broken(&self.place, &error))?;
        Ok((self.lines.stream, ended))
    }

    /// Sends bytes as they are, and returns what follows until the time to wait is over.
    ///
    /// # Errors
    /// Those of [`StatusClient::reply`], also from the iterator, which ends then.
    pub fn send_raw(
        mut self,
        to: To,
        transfers: &[Vec<u8>],
        wait: Duration,
    ) -> Result<impl Iterator<Item = Result<RawEvent, Failure>>, Failure> {
        raw::check(transfers.iter().map(Vec::len), wait)?;
        self.ask(Request::Send(Sending {
            to,
            lengths: transfers.iter().map(|bytes| bytes.len() as u32).collect(),
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        }))?;
        let stream = self.lines.stream.get_mut();
        let sent = transfers
            .iter()
            .try_for_each(|bytes| socket::send(stream, bytes));
        sent.map_err(|error| broken(&self.place, &error))?;
        if self.reply(PATIENCE)?.is_none() {
            return Err(broken(&self.place, &"it has ended"));
        }
        Ok(RawEvents {
            client: self,
            wait,
            ended: false,
        })
    }

    /// Asks the network behind the modem, and waits for the answer.
    ///
    /// # Errors
    /// Those of [`StatusClient::reply`], and those of [`Question::ask`].
    pub fn ask_network(&mut self, question: Question) -> Result<Answer, Failure> {
        let wait = Duration::from_millis(question.wait_ms);
        self.ask(Request::Ask(question))?;
        let reply = self.reply(wait.saturating_add(PATIENCE))?;
        reply
            .and_then(|reply| reply.answer)
            .ok_or_else(|| broken(&self.place, &"it has ended"))
    }

    /// Asks for a data session for the TUN interface with these descriptors, and returns a connection
    /// that reports its progress. The session ends when the connection is dropped.
    ///
    /// # Errors
    /// Those of [`StatusClient::reply`].
    pub fn join(
        mut self,
        options: JoinOptions,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<JoinedThrough, Failure> {
        let mut line = serde_json::to_vec(&Request::Join(options)).unwrap_or_default();
        line.push(b'\n');
        // The descriptors travel beside the first byte. A closed connection is reported by the
        // reply.
        let stream = self.lines.stream.get_mut();
        let sent = match descriptors::send(stream, &line, descriptors) {
            Ok(sent) => socket::send(stream, line.get(sent..).unwrap_or_default()),
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(error) => Err(error.into()),
        };
        sent.map_err(|error| broken(&self.place, &error))?;
        match self.reply(PATIENCE)? {
            Some(_) => Ok(JoinedThrough(self)),
            None => Err(broken(&self.place, &"it has ended")),
        }
    }

    /// Asks for the status and returns the reply that holds it.
    ///
    /// # Errors
    /// Those of [`StatusClient::reply`], and [`Failure`] of the kind `Missing` when the running
    /// `up` ends meanwhile.
    pub fn status(&mut self) -> Result<Reply, Failure> {
        self.ask(Request::Status {})?;
        self.reply(PATIENCE)?.ok_or_else(|| {
            Failure::new(FailureKind::Missing, "uwwan is not running")
                .because("it ended while it was asked")
                .next("uwwan up brings the modem online again")
        })
    }
}

/// Returns the refusal of an ordinary user's `up`, marked as that user's words. Its advice is not
/// passed on to root.
fn quoted(stranger: Stranger, failure: &Failure) -> Failure {
    let said: String = failure.one_line().chars().take(LONGEST_REASON).collect();
    Failure::new(failure.kind, "the running uwwan of another user refused")
        .because(format!("user {} says: {said}", stranger.user))
}

fn broken(place: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        FailureKind::Unreadable,
        "the running uwwan does not answer properly",
    )
    .at(place)
    .because(error)
    .next("if it hangs, send its process SIGTERM twice")
}

/// A data session of a running `up` for an interface of this program. Dropping it ends the session.
#[derive(Debug)]
pub struct JoinedThrough(StatusClient);

impl JoinedThrough {
    /// Waits at most `patience` for the next event. Returns `None` when the running `up` has ended.
    ///
    /// # Errors
    /// Those of [`StatusClient::reply`].
    pub fn next(&mut self, patience: Duration) -> Result<Option<JoinNews>, Failure> {
        let reply = self.0.reply(patience)?;
        Ok(reply.and_then(|reply| reply.joined))
    }
}

/// The transfers that a running `up` reports after it has sent bytes as they are.
struct RawEvents {
    client: StatusClient,
    /// Time for which transfers are reported.
    wait: Duration,
    ended: bool,
}

impl Iterator for RawEvents {
    type Item = Result<RawEvent, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.client.reply(self.wait + PATIENCE) {
                Ok(Some(Reply { heard: None, .. })) => {}
                Ok(Some(Reply { heard, .. })) => return heard.map(Ok),
                Ok(None) => self.ended = true,
                Err(failure) => {
                    self.ended = true;
                    return Some(Err(failure));
                }
            }
        }
        None
    }
}

impl Drop for RawEvents {
    /// Leaves, and waits until the running `up` has noticed: it sends bytes for one program at a
    /// time.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let stream = self.client.lines.stream.get_mut();
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.set_read_timeout(Some(LEAVING));
        let deadline = Instant::now() + LEAVING;
        let mut told = [0; 4096];
        while Instant::now() < deadline && matches!(stream.read(&mut told), Ok(1..)) {}
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    /// Returns the path of a socket whose end sends `message` to one client and closes the connection,
    /// and the thread that ends with it.
    pub(in crate::client) fn refusing(
        message: &impl serde::Serialize,
    ) -> (
        tempfile::TempDir,
        std::path::PathBuf,
        std::thread::JoinHandle<()>,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut line = serde_json::to_vec(message).unwrap();
        line.push(b'\n');
        let thread = std::thread::spawn(move || {
            listener.accept().unwrap().0.write_all(&line).unwrap();
        });
        (folder, path, thread)
    }

    #[test]
    fn a_refusal_is_heard_though_the_connection_is_closed_before_the_request() {
        let failure = Failure::new(FailureKind::Permission, "you may not");
        let refusal =
            serde_json::json!({"ok": false, "pid": 1, "device": "1-1", "failure": failure});
        let (_folder, path, thread) = refusing(&refusal);
        let mut client = StatusClient::connect(&path).unwrap();
        thread.join().unwrap();
        client.ask(Request::Status {}).unwrap();
        let failure = client.reply(PATIENCE).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Permission);
        assert!(client.reply(PATIENCE).unwrap().is_none());
    }

    #[test]
    fn an_answer_that_trickles_in_without_end_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let trickle = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            // The loop ends when the client closes the connection.
            while client.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let mut client = StatusClient::connect(&path).unwrap();
        let failure = client.reply(Duration::from_millis(50)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unreadable, "{failure}");
        drop(client);
        trickle.join().unwrap();
    }

    #[test]
    fn a_strangers_advice_is_not_passed_on() {
        let stranger = Stranger {
            user: 4711,
            process: 42,
        };
        let failure = Failure::new(
            FailureKind::Busy,
            format!("\u{1b}[2J{}", "x".repeat(10_000)),
        )
        .next("sudo rm -rf /");
        let text = quoted(stranger, &failure).to_string();
        assert!(text.contains("user 4711 says"), "{text}");
        assert!(!text.contains("sudo") && !text.contains('\u{1b}'), "{text}");
        assert!(text.len() < 1000);
    }
}
