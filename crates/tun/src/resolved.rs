//! Name servers of an interface for systemd-resolved, by its D-Bus interface
//! (org.freedesktop.resolve1(5)).
//!
//! Dropping the link removes the name servers. resolved forgets them itself when the interface
//! goes.
//!
//! The system calls are socket, connect, sendmsg, recvmsg and epoll of zbus, which starts a thread
//! for each connection.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use zbus::blocking::Connection;
use zbus::blocking::connection::Builder;

use crate::error::{Error, ErrorKind};

const SERVICE: &str = "org.freedesktop.resolve1";
const PATH: &str = "/org/freedesktop/resolve1";
const MANAGER: &str = "org.freedesktop.resolve1.Manager";
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Families of addresses on Linux, as the interface numbers them (`AF_INET`, `AF_INET6`).
const FAMILIES: [i32; 2] = [2, 10];
/// Names of the D-Bus errors that say that resolved does not run and cannot be started.
const NOT_RUNNING: [&str; 3] = [
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
    "org.freedesktop.systemd1.NoSuchUnit",
];

/// An interface whose name servers were given to resolved.
pub(crate) struct Link {
    connection: Connection,
    /// Index of the interface.
    index: i32,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("index", &self.index).finish()
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "systemd-resolved (link {})", self.index)
    }
}

/// Connects to the system bus.
///
/// # Errors
/// [`ErrorKind::Invalid`] when there is no system bus.
pub(crate) fn connect() -> Result<Connection, Error> {
    let connected = Builder::system().and_then(|builder| builder.method_timeout(ANSWER).build());
    connected.map_err(|error| {
        Error::new(
            ErrorKind::Invalid,
            WHAT,
            format!("the system bus cannot be reached: {error}"),
            ELSE,
        )
    })
}

const WHAT: &str = "hand the name servers to systemd-resolved";
const ELSE: &str = "use --dns resolvconf, or --dns none and set them yourself";

impl Link {
    /// Hands the name servers of the interface with this index to resolved. With `everything` they
    /// are asked for all names.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when resolved does not run, [`ErrorKind::NoPermission`] when it refuses
    /// this user, [`ErrorKind::Other`] otherwise. Nothing has changed then.
    pub(crate) fn set(
        connection: Connection,
        index: u32,
        servers: &[IpAddr],
        everything: bool,
    ) -> Result<Self, Error> {
        // From here on, the changes are undone when a later step fails.
        let link = Self::left(connection, index)?;
        let index = link.index;
        let servers: Vec<(i32, Vec<u8>)> = servers
            .iter()
            .map(|server| match server {
                IpAddr::V4(address) => (FAMILIES[0], address.octets().to_vec()),
                IpAddr::V6(address) => (FAMILIES[1], address.octets().to_vec()),
            })
            .collect();
        link.call("SetLinkDNS", &(index, servers))?;
        if everything {
            link.call("SetLinkDomains", &(index, vec![(".", true)]))?;
            link.call("SetLinkDefaultRoute", &(index, true))?;
        }
        Ok(link)
    }

    /// Returns the interface with this index, whose name servers were given to resolved before.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an index that no interface has.
    pub(crate) fn left(connection: Connection, index: u32) -> Result<Self, Error> {
        let index = i32::try_from(index).map_err(|_| {
            let why = "the interface has no such index";
            Error::new(ErrorKind::Invalid, WHAT, why, ELSE)
        })?;
        Ok(Self { connection, index })
    }

    fn call<B>(&self, method: &str, body: &B) -> Result<(), Error>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        let answer = self
            .connection
            .call_method(Some(SERVICE), PATH, Some(MANAGER), method, body);
        answer.map(drop).map_err(|error| explained(method, &error))
    }
}

fn explained(method: &str, error: &zbus::Error) -> Error {
    let zbus::Error::MethodError(name, why, _) = error else {
        let why = format!("{method}: {error}");
        return Error::new(ErrorKind::Other, WHAT, why, ELSE);
    };
    let said = why.clone().unwrap_or_else(|| name.to_string());
    let said: String = said.chars().take(500).collect();
    let why = format!("{method}: {said}");
    match name.as_str() {
        name if NOT_RUNNING.contains(&name) => Error::new(
            ErrorKind::Invalid,
            WHAT,
            "systemd-resolved does not run on this machine",
            ELSE,
        ),
        "org.freedesktop.DBus.Error.AccessDenied"
        | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => Error::new(
            ErrorKind::NoPermission,
            WHAT,
            why,
            "run it as root, or allow this user org.freedesktop.resolve1.set-dns-servers, \
             set-domains, set-default-route and revert by a rule of polkit",
        ),
        _ => Error::new(ErrorKind::Other, WHAT, why, ELSE),
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The interface may be gone already, and its name servers with it.
        if let Err(error) = self.call("RevertLink", &(self.index,)) {
            tracing::debug!(%error, "name servers not taken back");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Calls that resolved received, in their order.
    type Asked = Arc<Mutex<Vec<String>>>;

    struct Resolved {
        asked: Asked,
        /// Name of the method that is refused.
        refuses: &'static str,
    }

    impl Resolved {
        fn take(&self, method: &str, call: String) -> zbus::fdo::Result<()> {
            self.asked.lock().unwrap().push(format!("{method} {call}"));
            match method == self.refuses {
                true => Err(zbus::fdo::Error::AccessDenied("not you".into())),
                false => Ok(()),
            }
        }
    }

    #[zbus::interface(name = "org.freedesktop.resolve1.Manager")]
    impl Resolved {
        #[zbus(name = "SetLinkDNS")]
        fn set_link_dns(&self, index: i32, servers: Vec<(i32, Vec<u8>)>) -> zbus::fdo::Result<()> {
            self.take("SetLinkDNS", format!("{index} {servers:?}"))
        }

        fn set_link_domains(
            &self,
            index: i32,
            domains: Vec<(String, bool)>,
        ) -> zbus::fdo::Result<()> {
            self.take("SetLinkDomains", format!("{index} {domains:?}"))
        }

        fn set_link_default_route(&self, index: i32, enable: bool) -> zbus::fdo::Result<()> {
            self.take("SetLinkDefaultRoute", format!("{index} {enable}"))
        }

        fn revert_link(&self, index: i32) -> zbus::fdo::Result<()> {
            self.take("RevertLink", index.to_string())
        }
    }

    /// Returns a connection to a resolved that refuses a method, the calls that it receives, and
    /// its own end of the connection.
    fn resolved(refuses: &'static str) -> (Connection, Asked, Connection) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let asked = Asked::default();
        let served = Resolved {
            asked: Arc::clone(&asked),
            refuses,
        };
        let server = std::thread::spawn(move || {
            Builder::async_io_unix_stream(theirs)
                .server(zbus::Guid::generate())
                .unwrap()
                .p2p()
                .serve_at(PATH, served)
                .unwrap()
                .build()
                .unwrap()
        });
        let client = Builder::async_io_unix_stream(ours).p2p().build().unwrap();
        (client, asked, server.join().unwrap())
    }

    fn servers() -> Vec<IpAddr> {
        vec![
            "193.213.112.4".parse().unwrap(),
            "2001:db8::1".parse().unwrap(),
        ]
    }

    #[test]
    fn servers_of_both_families_are_set_and_taken_back() {
        let (connection, asked, _server) = resolved("");
        let link = Link::set(connection, 7, &servers(), true).unwrap();
        let v6 = "[32, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]";
        assert_eq!(
            *asked.lock().unwrap(),
            [
                format!("SetLinkDNS 7 [(2, [193, 213, 112, 4]), (10, {v6})]"),
                "SetLinkDomains 7 [(\".\", true)]".into(),
                "SetLinkDefaultRoute 7 true".into(),
            ]
        );
        drop(link);
        assert_eq!(asked.lock().unwrap().last().unwrap(), "RevertLink 7");
    }

    #[test]
    fn without_everything_no_other_names_are_asked_for() {
        let (connection, asked, _server) = resolved("");
        drop(Link::set(connection, 7, &servers(), false).unwrap());
        let methods: Vec<String> = asked
            .lock()
            .unwrap()
            .iter()
            .map(|call| call.split(' ').next().unwrap().to_owned())
            .collect();
        assert_eq!(methods, ["SetLinkDNS", "RevertLink"]);
    }

    #[test]
    fn a_refusal_is_told_and_leaves_nothing() {
        let (connection, asked, _server) = resolved("SetLinkDomains");
        let error = Link::set(connection, 7, &servers(), true).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NoPermission);
        let told = error.to_string();
        assert!(
            told.contains("not you") && told.contains("polkit"),
            "{told}"
        );
        assert_eq!(asked.lock().unwrap().last().unwrap(), "RevertLink 7");
    }

    /// zbus runs some calls in a pool of threads, and `blocking` 1.7.0, which makes it, has a thread of it wake
    /// up twice a second for ever.
    #[test]
    fn no_thread_of_a_pool_stays() {
        // Whether there is a bus makes no difference.
        let _ = connect();
        let pool = || {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
            let names =
                tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
            names.filter(|name| name.starts_with("blocking-")).count()
        };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while pool() > 0 {
            assert!(std::time::Instant::now() < deadline, "a thread stays");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_bus_without_resolved_is_told() {
        let name = "org.freedesktop.DBus.Error.ServiceUnknown"
            .try_into()
            .unwrap();
        let reply = zbus::message::Message::method_call("/", "X")
            .unwrap()
            .build(&())
            .unwrap();
        let error = zbus::Error::MethodError(name, None, reply);
        let error = explained("SetLinkDNS", &error);
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.to_string().contains("does not run"), "{error}");
    }
}
