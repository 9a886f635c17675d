//! Where virtual machines come for the modem.
//!
//! Makes the system calls of a server: `socket`, `bind`, `listen`, `accept4`, `unlink`.

use std::fmt;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::connection::Connection;
use crate::Emulator;
use crate::descriptors;
use crate::engine::{Order, Reins};
use crate::knobs::Brand;
use crate::report::Recorder;
use crate::upstream::Upstream;

/// Where to listen: a path (anything with a slash) is a Unix socket, everything else an address
/// with a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A Unix socket.
    Path(PathBuf),
    /// TCP.
    Address(String),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
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

/// A running server. Dropping it stops listening; a guest that has the device keeps it.
#[derive(Debug)]
pub struct Server {
    door: Door,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The way in from outside.
#[derive(Debug)]
enum Door {
    Path(PathBuf),
    Address(SocketAddr),
}

impl Server {
    /// Where it listens, with the port that was found free for port 0.
    #[must_use]
    pub fn place(&self) -> Place {
        match &self.door {
            Door::Path(path) => Place::Path(path.clone()),
            Door::Address(address) => Place::Address(address.to_string()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread from its accept.
        match &self.door {
            Door::Path(path) => {
                let _ = UnixStream::connect(path);
                let _ = std::fs::remove_file(path);
            }
            Door::Address(address) => {
                let _ = TcpStream::connect_timeout(address, Duration::from_millis(200));
            }
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    fn accept(&self) -> std::io::Result<OwnedFd> {
        Ok(match self {
            Self::Unix(listener) => listener.accept()?.0.into(),
            Self::Tcp(listener) => {
                let stream = listener.accept()?.0;
                stream.set_nodelay(true)?;
                stream.into()
            }
        })
    }
}

/// Binds a Unix socket, in the place of one that nobody listens at any more.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            match UnixStream::connect(path) {
                Err(refused) if refused.kind() == std::io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path)?;
                    UnixListener::bind(path)
                }
                _ => Err(error),
            }
        }
        result => result,
    }
}

/// Offers the emulated modem to virtual machines, one at a time. A machine that comes while another
/// has it, or while the modem is off the bus, is sent away; QEMU's `reconnect` lets it try again.
///
/// # Errors
/// When the place cannot be listened at.
pub fn listen(emulator: &Emulator, place: &Place) -> std::io::Result<Server> {
    let (listener, door) = match place {
        Place::Path(path) => (Listener::Unix(bind(path)?), Door::Path(path.clone())),
        Place::Address(address) => {
            let listener = TcpListener::bind(address.as_str())?;
            let address = listener.local_addr()?;
            (Listener::Tcp(listener), Door::Address(address))
        }
    };
    let stop = Arc::new(AtomicBool::new(false));
    let hall = Hall {
        reins: emulator.reins().clone(),
        recorder: emulator.recorder().clone(),
        brand: emulator.knobs().brand,
        stop: Arc::clone(&stop),
    };
    let thread = std::thread::Builder::new()
        .name("usbredir-server".into())
        .spawn(move || hall.run(&listener))?;
    Ok(Server {
        door,
        stop,
        thread: Some(thread),
    })
}

/// Where guests are received.
struct Hall {
    reins: Reins,
    recorder: Recorder,
    brand: Brand,
    stop: Arc<AtomicBool>,
}

impl Hall {
    fn run(&self, listener: &Listener) {
        loop {
            let accepted = listener.accept();
            let state = self.reins.presence.get();
            if self.stop.load(Ordering::SeqCst) || state.stopped {
                return;
            }
            let Ok(socket) = accepted else {
                // Out of descriptors, say: not a reason to spin.
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            if !state.present || state.exported {
                continue;
            }
            let descriptor = descriptors::device(self.brand);
            match Connection::new(socket, self.recorder.clone(), descriptor) {
                Ok(connection) => {
                    let upstream = Upstream::Redir(Box::new(connection));
                    self.reins.order(Order::Connect(upstream));
                }
                Err(error) => tracing::debug!(%error, "usbredir guest"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        assert_eq!("./modem".parse(), Ok(Place::Path("./modem".into())));
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
        let error = bind(&place).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        drop(listener);
        std::fs::remove_file(place).unwrap();
    }
}
