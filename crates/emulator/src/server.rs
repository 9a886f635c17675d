//! Server for remote hosts that want the modem: a listening socket with a thread that accepts.
//!
//! The server makes the system calls `socket`, `bind`, `listen`, `accept4` and `unlink`.

use std::fmt;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::presence::Presence;

/// Pause after a connection could not be accepted, for instance for want of descriptors.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest time for waking the thread from its accept.
const WAKE: Duration = Duration::from_millis(200);

/// Place at which a server listens: a path with a slash in it, such as `./modem.sock`, is a Unix
/// socket, everything else an address with a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A Unix socket.
    Path(PathBuf),
    /// A TCP address with its port.
    Address(String),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let directory = Path::new(text).parent();
        if directory.is_some_and(|directory| !directory.as_os_str().is_empty()) {
            return Ok(Self::Path(text.into()));
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::Address(text.to_owned()))
            }
            _ => Err("expected ADDRESS:PORT, or a path with a slash in it".to_owned()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// A listening socket.
pub(crate) enum Listener {
    /// A Unix socket, with its path.
    Unix(UnixListener, PathBuf),
    /// A TCP socket, with the address that it is bound to.
    Tcp(TcpListener, SocketAddr),
}

impl Listener {
    /// Listens at a place. A Unix socket replaces one at which no server listens any more.
    ///
    /// # Errors
    /// Fails when the place cannot be listened at.
    pub fn at(place: &Place) -> std::io::Result<Self> {
        match place {
            Place::Path(path) => Ok(Self::Unix(bind(path)?, path.clone())),
            Place::Address(address) => Self::tcp(address.as_str()),
        }
    }

    /// Listens at a TCP address.
    ///
    /// # Errors
    /// Fails when the address cannot be listened at.
    pub fn tcp(address: impl ToSocketAddrs) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        Ok(Self::Tcp(listener, address))
    }

    fn accept(&self) -> std::io::Result<OwnedFd> {
        Ok(match self {
            Self::Unix(listener, _) => listener.accept()?.0.into(),
            Self::Tcp(listener, _) => {
                let stream = listener.accept()?.0;
                stream.set_nodelay(true)?;
                stream.into()
            }
        })
    }
}

fn bind(path: &Path) -> std::io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => match listens(path) {
            Ok(false) => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            _ => Err(error),
        },
        result => result,
    }
}

/// Returns whether a server listens at a socket.
fn listens(path: &Path) -> std::io::Result<bool> {
    // A server that accepts no connection would block a connect that may wait.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match net::connect(&socket, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => Ok(false),
        Ok(()) | Err(Errno::AGAIN) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// A running server. Dropping it stops listening; a host that has the device keeps it.
#[derive(Debug)]
pub struct Server {
    place: Place,
    address: Option<SocketAddr>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a thread called `name` that calls `serve` with each connection, until the server is
    /// dropped or the device's thread has ended.
    ///
    /// Fails when the thread cannot be started.
    /// When the thread cannot be started.
    pub(crate) fn start(
        name: &str,
        listener: Listener,
        presence: Arc<Presence>,
        mut serve: impl FnMut(OwnedFd) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (place, address) = match &listener {
            Listener::Unix(_, path) => (Place::Path(path.clone()), None),
            Listener::Tcp(_, address) => (Place::Address(address.to_string()), Some(*address)),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                loop {
                    let accepted = listener.accept();
                    if stopped.load(Ordering::SeqCst) || presence.get().stopped {
                        return;
                    }
                    match accepted {
                        Ok(socket) => serve(socket),
                        Err(_) => std::thread::sleep(PAUSE),
                    }
                }
            })?;
        Ok(Self {
            place,
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// Returns the place at which the server listens, with the port that was found free for port 0.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Returns the TCP address at which the server listens; `None` for a Unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // This wakes the thread from its accept.
        if let Some(address) = &self.address {
            let _ = TcpStream::connect_timeout(address, WAKE);
        }
        if let Place::Path(path) = &self.place {
            let _ = UnixStream::connect(path);
            let _ = std::fs::remove_file(path);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for path in ["./modem", "/run/modem", "a/b:1"] {
            assert_eq!(path.parse(), Ok(Place::Path(path.into())));
        }
        assert_eq!(
            "[::1]:4000".parse(),
            Ok(Place::Address("[::1]:4000".into()))
        );
        for wrong in ["", "modem", "localhost", ":4000", "a:port", "a:70000"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
        let place = std::env::temp_dir().join(format!("uwwan-redir-{}", std::process::id()));
        drop(bind(&place).unwrap());
        assert!(place.exists());
        let listener = bind(&place).unwrap();
        // The server accepts none of the connections.
        net::listen(&listener, 0).unwrap();
        for _ in 0..3 {
            let error = bind(&place).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        }
        drop(listener);
        std::fs::remove_file(place).unwrap();
    }
}
