//! The errors of a stack and its sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Reason why a stack or one of its sockets refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configured address cannot be an interface's.
    #[error(
        "{0}/{1} cannot be an interface address: it must be unicast with a prefix of its family"
    )]
    BadAddress(IpAddr, u8),
    /// More addresses than the stack holds.
    #[error("{0} interface addresses are too many: the userspace stack holds {1}")]
    TooManyAddresses(usize, usize),
    /// An MTU outside what the stack can handle.
    #[error("MTU {0} is out of range: 576 to 65535, and at least 1280 with IPv6")]
    BadMtu(usize),
    /// The stack has no source address of the destination's family.
    #[error(
        "no address of {0}'s family on the userspace stack: connect with an IP type that has one"
    )]
    Unreachable(IpAddr),
    /// All sockets the stack may hold are in use.
    #[error("all {0} sockets of the userspace stack are in use: close some first")]
    TooManySockets(usize),
    /// The peer did not answer in time.
    #[error("no answer from {peer} within {waited:?}")]
    Timeout {
        /// The peer that was asked.
        peer: String,
        /// The time that was waited.
        waited: Duration,
    },
    /// The peer refused or reset the connection.
    #[error("{0} refused the connection")]
    Refused(SocketAddr),
    /// The payload does not fit one packet of the link.
    #[error("{0} bytes do not fit one packet of this link (at most {1})")]
    TooLarge(usize, usize),
    /// The name does not exist (NXDOMAIN, RFC 1035 section 4.1.1).
    #[error("the name {0} does not exist, says its name server")]
    NoSuchName(String),
    /// The name exists, and has no address of the families that were asked for.
    #[error("the name {0} has no address of the requested family, says its name server")]
    NoAddress(String),
    /// The name servers cannot answer, by the code of one of them.
    #[error("the name servers cannot tell the addresses of {0}: {1}")]
    NameServerFailed(String, String),
    /// No name server is configured.
    #[error("no name server is configured: give one, or use an address instead of a name")]
    NoNameServer,
    /// The text is no host name that can be asked for.
    #[error("{0:?} is not a host name")]
    BadName(String),
    /// The stack was stopped or its link closed.
    #[error("the userspace stack has stopped: its link is closed")]
    Stopped,
    /// The operating system refused a descriptor, a thread or a socket option.
    #[error("cannot {doing}: {source}")]
    System {
        /// The operation that was refused.
        doing: &'static str,
        /// The refusal of the system.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn system(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::System { doing, source }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match &error {
            Error::Timeout { .. } => io::ErrorKind::TimedOut,
            Error::Refused(_) => io::ErrorKind::ConnectionRefused,
            Error::Stopped => io::ErrorKind::NotConnected,
            Error::Unreachable(_) => io::ErrorKind::NetworkUnreachable,
            Error::NoSuchName(_) | Error::NoAddress(_) => io::ErrorKind::NotFound,
            Error::System { source, .. } => source.kind(),
            _ => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}
