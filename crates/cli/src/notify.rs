//! Notifications of state to a service manager (`sd_notify(3)`). `NOTIFY_SOCKET` names a Unix
//! datagram socket, in the file system or, with a leading `@`, in the abstract namespace.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Connection to the service manager, if there is one.
pub struct Notifier(Option<Channel>);

/// The channel by which notifications reach the service manager.
enum Channel {
    /// This process sends them itself.
    Direct(UnixDatagram, SocketAddr),
    /// Another process, to which the service manager listens, passes them on.
    Through(Box<dyn Fn(&str) + Send + Sync>),
}

impl Notifier {
    /// Returns the connection that the environment names. A name that is neither an absolute path
    /// nor abstract counts as none.
    pub fn from_environment() -> Self {
        Self::at(std::env::var_os("NOTIFY_SOCKET"))
    }

    /// Returns the connection to a socket of this name, as `NOTIFY_SOCKET` gives it.
    pub fn at(name: Option<OsString>) -> Self {
        Self(name.and_then(|name| {
            let address = match name.as_bytes() {
                [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
                [b'/', ..] => SocketAddr::from_pathname(&name),
                _ => return None,
            };
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            Some(Channel::Direct(socket, address.ok()?))
        }))
    }

    /// Returns a connection through another process; `pass` is called with each notification.
    pub fn through(pass: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Channel::Through(Box::new(pass))))
    }

    /// Returns a connection to no service manager.
    pub fn none() -> Self {
        Self(None)
    }

    /// Returns whether there is a service manager.
    pub fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// Tells the service manager that the modem is online, with a status line.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", crate::output::plain(status)));
    }

    /// Tells the service manager a status line.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", crate::output::plain(status)));
    }

    /// Tells the service manager that the program is stopping.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Tells the service manager that the program does not hang.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    /// Sends a notification as it is.
    pub fn send(&self, message: &str) {
        match &self.0 {
            None => {}
            Some(Channel::Through(pass)) => pass(message),
            Some(Channel::Direct(socket, address)) => {
                if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
                    tracing::debug!(%error, "the service manager did not take a notification");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    #[test]
    fn a_service_manager_hears_everything() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::at(Some(path.into_os_string()));
        notifier.status("trying open\nREADY=1");
        assert_eq!(heard(&manager), "STATUS=trying open\u{fffd}READY=1");
        notifier.ready("online through uwwan0");
        assert_eq!(heard(&manager), "READY=1\nSTATUS=online through uwwan0");
        notifier.stopping();
        assert_eq!(heard(&manager), "STOPPING=1");
    }

    #[test]
    fn abstract_names_work_and_nonsense_is_nobody() {
        let name = format!("uwwan-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        Notifier::at(Some(format!("@{name}").into())).stopping();
        assert_eq!(heard(&manager), "STOPPING=1");
        for nobody in [None, Some("".into()), Some("relative".into())] {
            Notifier::at(nobody).stopping();
        }
        Notifier::at(Some("/nonexistent/notify".into())).stopping();
    }
}
