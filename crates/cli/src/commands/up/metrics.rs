//! `up --metrics`: counters and gauges for Prometheus over HTTP, on a TCP port or a Unix socket.
//!
//! A few clients are served at a time, and when one more comes the one that has taken longest gives way:
//! whoever may connect cannot keep others out by saying nothing.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Weak};
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
/// Largest number of clients that are served at a time.
const MOST_CLIENTS: usize = 16;
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
    pub(super) fn serve(
        self,
        exposition: impl Fn() -> String + Send + Sync + 'static,
    ) -> io::Result<()> {
        let exposition = Arc::new(exposition);
        thread(move || {
            let mut serving = VecDeque::new();
            loop {
                // What becomes of one client is its own affair.
                let served = self.accept().and_then(|client| {
                    let exposition = Arc::clone(&exposition);
                    make_room(&mut serving, &client);
                    // Those that have given way may not have ended.
                    if Arc::strong_count(&exposition) > 2 * MOST_CLIENTS {
                        return Ok(());
                    }
                    thread(move || {
                        let _ = answer(&*client, &*exposition);
                    })
                });
                if served.is_err() {
                    std::thread::sleep(SHORTAGE);
                }
            }
        })
    }

    /// Takes the next client.
    fn accept(&self) -> io::Result<Arc<Client>> {
        let client = match self {
            Self::Tcp(listener) => {
                let (client, _) = listener.accept()?;
                client.set_read_timeout(Some(PATIENCE))?;
                client.set_write_timeout(Some(PATIENCE))?;
                Client::Tcp(client)
            }
            Self::Unix(listener) => {
                let (client, _) = listener.accept()?;
                client.set_read_timeout(Some(PATIENCE))?;
                client.set_write_timeout(Some(PATIENCE))?;
                Client::Unix(client)
            }
        };
        Ok(Arc::new(client))
    }
}

fn thread(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let named = std::thread::Builder::new().name("metrics".into());
    named.stack_size(256 * 1024).spawn(work).map(drop)
}

/// Adds a client to those that are served. The oldest is ended when there are too many.
fn make_room(serving: &mut VecDeque<Weak<Client>>, client: &Arc<Client>) {
    serving.retain(|one| one.strong_count() > 0);
    if serving.len() >= MOST_CLIENTS
        && let Some(oldest) = serving.pop_front()
        && let Some(oldest) = oldest.upgrade()
    {
        oldest.end();
    }
    serving.push_back(Arc::downgrade(client));
}

/// A connection.
#[derive(Debug)]
enum Client {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Client {
    /// Ends the connection, whoever reads or writes it.
    fn end(&self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Read for &Client {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Client::Tcp(stream) => (&mut &*stream).read(bytes),
            Client::Unix(stream) => (&mut &*stream).read(bytes),
        }
    }
}

impl Write for &Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Client::Tcp(stream) => (&mut &*stream).write(bytes),
            Client::Unix(stream) => (&mut &*stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
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
        let connect = || TcpStream::connect(address).unwrap();
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
    fn clients_that_say_nothing_keep_nobody_out() {
        let target = "127.0.0.1:0".parse().unwrap();
        let metrics = Metrics::open(&target, false).unwrap();
        let Metrics::Tcp(listener) = &metrics else {
            panic!("{metrics:?}");
        };
        let address = listener.local_addr().unwrap();
        // One after the other they would take PATIENCE each.
        metrics.serve(|| "x 1\n".into()).unwrap();
        let idle: Vec<_> = (0..3 * MOST_CLIENTS)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let start = std::time::Instant::now();
        let said = ask(
            TcpStream::connect(address).unwrap(),
            "GET / HTTP/1.1\r\n\r\n",
        );
        assert!(said.ends_with("x 1\n"), "{said}");
        assert!(start.elapsed() < PATIENCE * 3 * MOST_CLIENTS as u32 / 2);
        // The oldest have given way.
        let mut oldest = idle.first().unwrap();
        assert!(matches!(oldest.read(&mut [0]), Ok(0) | Err(_)));
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
