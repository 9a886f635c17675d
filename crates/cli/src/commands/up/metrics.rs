//! `up --metrics`: counters and gauges for Prometheus over HTTP, on a TCP port or a Unix socket.
//!
//! A few clients are served at a time, and when one more comes the oldest connection is closed: a client
//! cannot keep others out by sending nothing.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::failure::Failure;
use crate::head::{Client, Timed};
use crate::listening::{self, MetricsAt};
use crate::runtime;

/// Longest head of a request that is read, in bytes.
const LONGEST_HEAD: usize = 8 * 1024;
/// Largest number of header fields in a request.
const MOST_FIELDS: usize = 64;
/// Time within which a client has to send its request, and again to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Largest number of clients that are served at a time.
const MOST_CLIENTS: usize = 16;
/// Pause when a connection cannot be accepted, as when descriptors are scarce.
const SHORTAGE: Duration = Duration::from_millis(100);

/// An address at which metrics are served.
#[derive(Debug)]
pub(super) enum Metrics {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Metrics {
    /// Opens the port or the socket. A socket is this user's alone unless it is for `everyone`; one that
    /// an earlier run has left is replaced.
    ///
    /// # Errors
    /// Those of [`listening::open`].
    pub(super) fn open(target: &MetricsAt, everyone: bool) -> Result<Self, Failure> {
        const OPTION: &str = "--metrics";
        match target {
            MetricsAt::Tcp(address) => {
                listening::open(OPTION, address, TcpListener::bind).map(Self::Tcp)
            }
            MetricsAt::Unix(path) => {
                let bind = |_| socket(path, everyone);
                listening::open(OPTION, path.display(), bind).map(Self::Unix)
            }
        }
    }

    /// Starts the thread that serves what `exposition` returns, until the process ends.
    ///
    /// # Errors
    /// The system's error when it refuses a thread.
    pub(super) fn serve(
        self,
        exposition: impl Fn() -> String + Send + Sync + 'static,
    ) -> io::Result<()> {
        let exposition = Arc::new(exposition);
        thread(move || {
            let mut serving = VecDeque::new();
            loop {
                // A failure concerns one client alone.
                let served = self.accept().and_then(|connection| {
                    let exposition = Arc::clone(&exposition);
                    make_room(&mut serving, &connection);
                    // Connections that were closed end as soon as their threads notice.
                    while Arc::strong_count(&exposition) > 2 * MOST_CLIENTS {
                        std::thread::sleep(SHORTAGE / 10);
                    }
                    thread(move || {
                        let _ = answer(Client::new(&*connection, PATIENCE), &*exposition);
                    })
                });
                if served.is_err() {
                    std::thread::sleep(SHORTAGE);
                }
            }
        })
    }

    /// Accepts the next client.
    fn accept(&self) -> io::Result<Arc<Connection>> {
        let connection = match self {
            Self::Tcp(listener) => Connection::Tcp(listener.accept()?.0),
            Self::Unix(listener) => Connection::Unix(listener.accept()?.0),
        };
        Ok(Arc::new(connection))
    }
}

fn thread(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let named = std::thread::Builder::new().name("metrics".into());
    named.stack_size(256 * 1024).spawn(work).map(drop)
}

/// Adds a client to those that are served. The oldest is closed when there are too many.
fn make_room(serving: &mut VecDeque<Weak<Connection>>, connection: &Arc<Connection>) {
    serving.retain(|one| one.strong_count() > 0);
    if serving.len() >= MOST_CLIENTS
        && let Some(oldest) = serving.pop_front()
        && let Some(oldest) = oldest.upgrade()
    {
        oldest.end();
    }
    serving.push_back(Arc::downgrade(connection));
}

/// A connection of a client.
#[derive(Debug)]
enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    /// Closes the connection, whichever thread reads or writes it.
    fn end(&self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Timed for Connection {
    fn limit_reads(&self, time: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.limit_reads(time),
            Self::Unix(stream) => stream.limit_reads(time),
        }
    }

    fn limit_writes(&self, time: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.limit_writes(time),
            Self::Unix(stream) => stream.limit_writes(time),
        }
    }
}

impl Read for &Connection {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Connection::Tcp(stream) => (&mut &*stream).read(bytes),
            Connection::Unix(stream) => (&mut &*stream).read(bytes),
        }
    }
}

impl Write for &Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Connection::Tcp(stream) => (&mut &*stream).write(bytes),
            Connection::Unix(stream) => (&mut &*stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
fn answer<'s, S: Timed>(
    mut client: Client<'s, S>,
    exposition: &dyn Fn() -> String,
) -> io::Result<()>
where
    &'s S: Read + Write,
{
    let found = client.head(LONGEST_HEAD, request)?;
    let request = found.and_then(|(request, _)| request);
    let headless = matches!(&request, Some((method, _)) if method == "HEAD");
    let (status, content) = match &request {
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
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    );
    let body = if headless { "" } else { &content };
    client.answer([head.as_bytes(), body.as_bytes()].concat().as_slice())
}

/// Reads the head of a request. Returns `None` while it is incomplete, otherwise its method and path,
/// or `None` in their place for anything but a request.
fn request(head: &[u8]) -> Option<Option<(String, String)>> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Partial) => None,
        Ok(httparse::Status::Complete(_)) => {
            let words = request.method.zip(request.path);
            Some(words.map(|(method, path)| (method.to_owned(), path.to_owned())))
        }
        Err(_) => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;

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
        let target: MetricsAt = path.to_str().unwrap().parse().unwrap();
        drop(Metrics::open(&target, true).unwrap());
        // A socket that an earlier run has left is replaced, and one that another run serves is
        // not.
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
        assert!(Metrics::open(&MetricsAt::Unix(file.clone()), false).is_err());
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
        // One after the other the clients would take PATIENCE each.
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
        // The oldest connections have been closed.
        let mut oldest = idle.first().unwrap();
        assert!(matches!(oldest.read(&mut [0]), Ok(0) | Err(_)));
    }
}
