//! State notification to a service manager (`sd_notify(3)`): `NOTIFY_SOCKET` names a Unix datagram
//! socket, in the file system or, with a leading `@`, in the abstract namespace.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A service manager that wants to know, if there is one.
#[derive(Debug)]
pub struct Notifier(Option<(UnixDatagram, SocketAddr)>);

impl Notifier {
    /// The one named by the environment. A name that makes no sense counts as none.
    pub fn from_environment() -> Self {
        Self(std::env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let address = match name.as_bytes() {
                [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
                [b'/', ..] => SocketAddr::from_pathname(&name),
                _ => return None,
            };
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            Some((socket, address.ok()?))
        }))
    }

    /// Online.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", crate::output::plain(status)));
    }

    /// What is going on, in one line.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", crate::output::plain(status)));
    }

    /// On the way down.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.0
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            tracing::debug!(%error, "the service manager did not take a notification");
        }
    }
}
