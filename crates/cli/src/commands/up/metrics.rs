//! `up --metrics`: counters and gauges for Prometheus over HTTP, on a TCP port or a Unix socket.
//!
//! One connection is served after the other, each for a few seconds at most.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::failure::{Failure, FailureKind};
use crate::runtime;

/// Longest head of a request that is read, in bytes.
const LONGEST_HEAD: usize = 8 * 1024;
/// Largest number of header fields in it.
const MOST_FIELDS: usize = 64;
/// Time that a client gets for its request and for taking the answer, at each of its steps.
const PATIENCE: Duration = Duration::from_secs(2);
/// Largest number of pieces in which a request may come.
const MOST_PIECES: usize = 64;
/// Pause when a connection cannot be taken, as when descriptors are scarce.
const SHORTAGE: Duration = Duration::from_millis(100);

/// Where metrics are served.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Target {
    /// Address and port.
    Tcp(SocketAddr),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            format!("{text:?} is neither ADDRESS:PORT (127.0.0.1:9100) nor the absolute path of a socket")
        })
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A place where metrics are served.
#[derive(Debug)]
pub(super) enum Metrics {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Metrics {
    /// Opens the port or the socket. A socket is this user's alone unless it is for `everyone`; one that
    /// a run before has left is replaced.
    ///
    /// # Errors
    /// [`FailureKind::Busy`] when it is in use, [`FailureKind::Usage`] and [`FailureKind::Host`]
    /// otherwise.
    pub(super) fn open(target: &Target, everyone: bool) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            let kind = match error.kind() {
                io::ErrorKind::AddrInUse => FailureKind::Busy,
                io::ErrorKind::PermissionDenied => FailureKind::Permission,
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => FailureKind::Usage,
                _ => FailureKind::Host,
            };
            Failure::new(kind, "cannot serve metrics").because(error)
        };
        match target {
            Target::Tcp(address) => TcpListener::bind(address)
                .map(Self::Tcp)
                .map_err(|error| failed(error).at(format!("{address} (--metrics)"))),
            Target::Unix(path) => socket(path, everyone)
                .map(Self::Unix)
                .map_err(|error| failed(error).at(format!("{} (--metrics)", path.display()))),
        }
    }

    /// Starts the thread that serves what `exposition` returns, until the process ends.
    ///
    /// # Errors
    /// That of the system when there is no thread.
    pub(super) fn serve(self, exposition: impl Fn() -> String + Send + 'static) -> io::Result<()> {
        std::thread::Builder::new()
            .name("metrics".into())
            .stack_size(256 * 1024)
            .spawn(move || {
                loop {
                    // What becomes of one client is its own affair.
                    if self.serve_one(&exposition).is_err() {
                        std::thread::sleep(SHORTAGE);
                    }
                }
            })?;
        Ok(())
    }

    /// Serves one client.
    ///
    /// # Errors
    /// When no connection can be taken.
    fn serve_one(&self, exposition: &dyn Fn() -> String) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => {
                let (client, _) = listener.accept()?;
                client.set_read_timeout(Some(PATIENCE))?;
                client.set_write_timeout(Some(PATIENCE))?;
                let _ = answer(client, exposition);
            }
            Self::Unix(listener) => {
                let (client, _) = listener.accept()?;
                client.set_read_timeout(Some(PATIENCE))?;
                client.set_write_timeout(Some(PATIENCE))?;
                let _ = answer(client, exposition);
            }
        }
        Ok(())
    }
}

impl Target {
    /// Returns the path of the socket, if it is one.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }
}

fn socket(path: &Path, everyone: bool) -> io::Result<UnixListener> {
    runtime::remove_unanswered(path)?;
    let listener = UnixListener::bind(path)?;
    let mode = if everyone { 0o666 } else { 0o600 };
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode))?;
    Ok(listener)
}

/// Answers one request (RFC 9112), and closes the connection.
fn answer(mut client: impl Read + Write, exposition: &dyn Fn() -> String) -> io::Result<()> {
    let mut head = Vec::new();
    let (status, content) = match request(&mut client, &mut head)? {
        None => ("400 Bad Request", "this is no request\n".to_owned()),
        Some((method, path)) => match (method.as_str(), path.as_str()) {
            ("GET" | "HEAD", "/metrics" | "/") => ("200 OK", exposition()),
            ("GET" | "HEAD", _) => ("404 Not Found", "there is /metrics\n".to_owned()),
            _ => (
                "405 Method Not Allowed",
                "there is GET /metrics\n".to_owned(),
            ),
        },
    };
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    )?;
    if !head.starts_with(b"HEAD ") {
        client.write_all(content.as_bytes())?;
    }
    client.flush()
}

/// Reads the head of a request into `head`, and returns its method and path; `None` is for what is none.
fn request(client: &mut impl Read, head: &mut Vec<u8>) -> io::Result<Option<(String, String)>> {
    let mut piece = [0; 1024];
    for _ in 0..MOST_PIECES {
        let count = client.read(&mut piece)?;
        head.extend_from_slice(&piece[..count]);
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(head) {
            Ok(httparse::Status::Complete(_)) => {
                let words = request.method.zip(request.path);
                return Ok(words.map(|(method, path)| (method.to_owned(), path.to_owned())));
            }
            Ok(httparse::Status::Partial) if count > 0 && head.len() <= LONGEST_HEAD => {}
            _ => break,
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn ask(mut stream: impl Read + Write, request: &str) -> String {
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn metrics_are_served_over_tcp_and_over_a_socket() {
        let target = "127.0.0.1:0".parse().unwrap();
        let metrics = Metrics::open(&target, false).unwrap();
        let Metrics::Tcp(listener) = &metrics else {
            panic!("{metrics:?}");
        };
        let address = listener.local_addr().unwrap();
        metrics.serve(|| "uwwan_online 1\n".into()).unwrap();
        let connect = || std::net::TcpStream::connect(address).unwrap();
        let said = ask(connect(), "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
        assert!(said.ends_with("\r\n\r\nuwwan_online 1\n"), "{said}");
        for (request, status) in [
            ("GET /other HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("\u{1}\u{2}\r\n\r\n", "400"),
        ] {
            let said = ask(connect(), request);
            assert_eq!(said.split(' ').nth(1), Some(status), "{said}");
        }
        let said = ask(connect(), "HEAD /metrics HTTP/1.1\r\n\r\n");
        assert!(said.ends_with("\r\n\r\n"), "{said}");

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics");
        let target: Target = path.to_str().unwrap().parse().unwrap();
        drop(Metrics::open(&target, true).unwrap());
        // What a run before has left is replaced, and what another run serves is not.
        let metrics = Metrics::open(&target, false).unwrap();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        metrics.serve(|| "x 1\n".into()).unwrap();
        let said = ask(
            UnixStream::connect(&path).unwrap(),
            "GET / HTTP/1.1\r\n\r\n",
        );
        assert!(said.ends_with("x 1\n"), "{said}");
        let busy = Metrics::open(&target, false).unwrap_err();
        assert_eq!(busy.kind, FailureKind::Busy);
        std::fs::write(folder.path().join("file"), "kept").unwrap();
        let file = folder.path().join("file");
        assert!(Metrics::open(&Target::Unix(file.clone()), false).is_err());
        assert_eq!(std::fs::read_to_string(file).unwrap(), "kept");
    }

    #[test]
    fn a_client_that_says_too_much_or_nothing_holds_nobody_up() {
        let endless = |text: &'static [u8]| {
            struct Endless(&'static [u8]);
            impl Read for Endless {
                fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
                    let count = self.0.len().min(bytes.len());
                    bytes[..count].copy_from_slice(&self.0[..count]);
                    Ok(count)
                }
            }
            Endless(text)
        };
        let mut head = Vec::new();
        let long = endless(b"GET /metrics HTTP/1.1\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        assert_eq!(request(&mut { long }, &mut head).unwrap(), None);
        assert!(head.len() <= LONGEST_HEAD + 1024);
        assert_eq!(request(&mut io::empty(), &mut Vec::new()).unwrap(), None);
    }

    #[test]
    fn targets_are_addresses_or_absolute_paths() {
        assert!("[::1]:9100".parse::<Target>().is_ok());
        assert!("/run/uwwan/metrics".parse::<Target>().is_ok());
        for wrong in ["", "9100", "localhost:9100", "metrics", "127.0.0.1"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
