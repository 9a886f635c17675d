//! Client of the control socket of a running `up`, which tells the status and takes orders;
//! [`share`](crate::share) defines the messages.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::socket;
use crate::failure::{Failure, FailureKind};
use crate::share::{Reply, Request};

/// Length of the longest reply line that is read, in bytes.
const LONGEST_REPLY: u64 = 1 << 20;
/// Time a request may take to be sent, and time for the reply to a request for the status.
const PATIENCE: Duration = Duration::from_secs(10);

/// Client of the control socket of a running `up` (`control` in its runtime directory).
#[derive(Debug)]
pub struct StatusClient {
    stream: BufReader<UnixStream>,
    place: String,
}

impl StatusClient {
    /// Connects to a control socket.
    ///
    /// # Errors
    /// [`Failure`] of the kind `NotRunning` when nobody answers there, or `Permission`.
    pub fn connect(path: &Path) -> Result<Self, Failure> {
        let place = path.display().to_string();
        let (stream, _) = socket::connect(path)?;
        stream
            .set_write_timeout(Some(PATIENCE))
            .map_err(|error| broken(&place, &error))?;
        Ok(Self {
            stream: BufReader::new(stream),
            place,
        })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`Failure`] of the kind `Unreadable` when the other end takes nothing. That it has closed the
    /// connection is told by [`StatusClient::reply`], after what it has said.
    pub fn ask(&mut self, request: Request) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(&request).unwrap_or_default();
        line.push(b'\n');
        socket::send(self.stream.get_mut(), &line).map_err(|error| broken(&self.place, &error))
    }

    /// Waits at most `patience` for the next reply and returns it, or `None` when the other end has
    /// closed the connection.
    ///
    /// # Errors
    /// [`Failure`] of the kind `Unreadable` on silence or an answer that cannot be parsed, and the
    /// failure that a refusal carries.
    pub fn reply(&mut self, patience: Duration) -> Result<Option<Reply>, Failure> {
        self.stream
            .get_ref()
            .set_read_timeout(Some(patience))
            .map_err(|error| broken(&self.place, &error))?;
        let mut line = String::new();
        match (&mut self.stream).take(LONGEST_REPLY).read_line(&mut line) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(broken(&self.place, &error)),
        }
        let reply: Reply =
            serde_json::from_str(&line).map_err(|error| broken(&self.place, &error))?;
        if reply.ok {
            return Ok(Some(reply));
        }
        // Version 0.1 sends the reason alone.
        let failure = reply.failure.unwrap_or_else(|| {
            Failure::new(FailureKind::Other, "the running uwwan refused")
                .because(reply.error.unwrap_or_default())
        });
        Err(failure.at(&self.place))
    }

    /// Asks for a capture and returns the stream that carries the bytes of its file, and the same stream
    /// for another thread, which ends the capture by shutting its writing half down. The rest of the file
    /// comes then, and the other end closes.
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
        let stream = self.stream.get_ref();
        let ended = stream
            .set_read_timeout(None)
            .and_then(|()| stream.try_clone());
        let ended = ended.map_err(|error| broken(&self.place, &error))?;
        Ok((self.stream, ended))
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

fn broken(place: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        FailureKind::Unreadable,
        "the running uwwan does not answer properly",
    )
    .at(place)
    .because(error)
    .next("if it hangs, send its process SIGTERM twice")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    /// Returns the path of a socket whose end says `message` to one client and closes the connection, and
    /// the thread that ends with it.
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
}
