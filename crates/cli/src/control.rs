//! Client side of the control socket, over which `status` and `down` reach a running `up`;
//! `uwwan_modem::share` defines the messages.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uwwan_modem::share::{Reply, Request};

use crate::failure::{Failure, FailureKind};
use crate::runtime::{self, Entry};

/// Length of the longest reply line that is read, in bytes.
const LONGEST_REPLY: u64 = 1 << 20;

/// Connection to the control socket of a running `up`.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    socket: PathBuf,
}

impl Client {
    /// Connects to the only running `up`, or to the one that runs `device` (a port or `emulator`).
    ///
    /// # Errors
    /// [`FailureKind::Missing`] when none runs, [`FailureKind::Several`] when several run and none
    /// was named, [`FailureKind::Permission`] when only another user's may be running.
    pub fn find(chosen_base: Option<&Path>, device: Option<&str>) -> Result<Self, Failure> {
        let (entries, denied) = runtime::entries(&runtime::search_bases(chosen_base));
        let wanted = device.map(runtime::file_name);
        let mut alive = Vec::new();
        let mut refused = None;
        for entry in entries {
            if wanted
                .as_ref()
                .is_some_and(|wanted| *wanted != entry.device)
            {
                continue;
            }
            match UnixStream::connect(&entry.socket) {
                Ok(stream) => alive.push((entry, stream)),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    refused = Some(entry.socket);
                }
                // The owner died without removing its socket.
                Err(_) => {}
            }
        }
        if alive.len() > 1 {
            let names: Vec<&str> = alive
                .iter()
                .map(|(entry, _)| entry.device.as_str())
                .collect();
            return Err(
                Failure::new(FailureKind::Several, "several modems are running")
                    .because(names.join(", "))
                    .next(format!("choose one: --device {}", names[0])),
            );
        }
        if let Some((Entry { socket, .. }, stream)) = alive.pop() {
            return Self::over(stream, socket);
        }
        if let Some(path) = refused.or_else(|| denied.into_iter().next()) {
            return Err(Failure::new(
                FailureKind::Permission,
                "a modem may be running, but not for this user",
            )
            .at(path.display().to_string())
            .because("only root and the user who started it may look")
            .next("run the same command with sudo"));
        }
        let what = match device {
            Some(device) => format!("uwwan is not running a modem at {device}"),
            None => "uwwan is not running".to_owned(),
        };
        Err(Failure::new(FailureKind::Missing, what)
            .because("no control socket answers")
            .next("uwwan list   shows the modems present")
            .next("uwwan up     brings one online"))
    }

    /// Connects to the running `up` of a runtime directory.
    ///
    /// # Errors
    /// [`FailureKind::Unreadable`] when nobody answers there.
    pub fn at(entry: &Entry) -> Result<Self, Failure> {
        let stream =
            UnixStream::connect(&entry.socket).map_err(|error| broken(&entry.socket, &error))?;
        Self::over(stream, entry.socket.clone())
    }

    fn over(stream: UnixStream, socket: PathBuf) -> Result<Self, Failure> {
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .and_then(|()| stream.set_write_timeout(Some(Duration::from_secs(10))))
            .map_err(|error| broken(&socket, &error))?;
        Ok(Self {
            stream: BufReader::new(stream),
            socket,
        })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`FailureKind::Unreadable`] when the other end is gone.
    pub fn ask(&mut self, request: Request) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(&request).unwrap_or_default();
        line.push(b'\n');
        self.stream
            .get_mut()
            .write_all(&line)
            .map_err(|error| broken(&self.socket, &error))
    }

    /// Waits at most `patience` for the next reply and returns it, or `None` when the other end has
    /// closed the connection.
    ///
    /// # Errors
    /// [`FailureKind::Unreadable`] on silence or an answer that cannot be parsed, and the failure
    /// that a refusal carries.
    pub fn reply(&mut self, patience: Duration) -> Result<Option<Reply>, Failure> {
        self.stream
            .get_ref()
            .set_read_timeout(Some(patience))
            .map_err(|error| broken(&self.socket, &error))?;
        let mut line = String::new();
        match (&mut self.stream).take(LONGEST_REPLY).read_line(&mut line) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(broken(&self.socket, &error)),
        }
        let reply: Reply =
            serde_json::from_str(&line).map_err(|error| broken(&self.socket, &error))?;
        if reply.ok {
            return Ok(Some(reply));
        }
        // Version 0.1 sends the reason alone.
        let failure = reply.failure.unwrap_or_else(|| {
            Failure::new(FailureKind::Other, "the running uwwan refused")
                .because(reply.error.unwrap_or_default())
        });
        Err(failure.at(self.socket.display().to_string()))
    }
}

fn broken(socket: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        FailureKind::Unreadable,
        "the running uwwan does not answer properly",
    )
    .at(socket.display().to_string())
    .because(error)
    .next("if it hangs, send its process SIGTERM twice")
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_modem::share::{Builder, Responder, Server};

    struct Online;

    impl Responder for Online {
        fn status(&self) -> serde_json::Value {
            serde_json::json!({"online": true})
        }
        fn stop(&self) {}
    }

    fn serve(base: &Path, device: &str) -> Server {
        let folder = base.join(device);
        std::fs::create_dir_all(&folder).unwrap();
        let mut builder = Builder::new().unwrap();
        let socket = folder.join("control");
        builder.status(&socket, device, Box::new(Online)).unwrap();
        builder.serve().unwrap()
    }

    #[test]
    fn nobody_there_and_several_there_are_told_apart() {
        let base = tempfile::tempdir().unwrap();
        let failure = Client::find(Some(base.path()), None).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Missing);

        let _one = serve(base.path(), "1-4");
        let second = base.path().join("2-1");
        std::fs::create_dir(&second).unwrap();
        drop(std::os::unix::net::UnixListener::bind(second.join("control")).unwrap());
        // A dead owner's socket does not count.
        let mut client = Client::find(Some(base.path()), None).unwrap();
        client.ask(Request::Status {}).unwrap();
        let reply = client.reply(Duration::from_secs(5)).unwrap().unwrap();
        assert_eq!(reply.status.unwrap()["online"], true);
        let _other = serve(base.path(), "2-1");
        let failure = Client::find(Some(base.path()), None).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Several);
        assert!(failure.to_string().contains("1-4, 2-1"), "{failure}");
        let mut client = Client::find(Some(base.path()), Some("2-1")).unwrap();
        client.ask(Request::Stop {}).unwrap();
        assert_eq!(
            client
                .reply(Duration::from_secs(5))
                .unwrap()
                .unwrap()
                .device,
            "2-1"
        );
    }
}
