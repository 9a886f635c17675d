//! The addresses at which this process listens for other programs over TCP, UDP or a Unix socket.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use crate::failure::{Failure, FailureKind};

/// Address at which metrics are served.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum MetricsAt {
    /// Address and port.
    Tcp(SocketAddr),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

impl MetricsAt {
    /// Returns the path of the socket, if it is one.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }
}

impl FromStr for MetricsAt {
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

impl TryFrom<String> for MetricsAt {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Opens a socket at the address that an option names.
///
/// # Errors
/// [`FailureKind::Busy`] for an address that is in use, [`FailureKind::Permission`] for one that this
/// user may not have, otherwise [`FailureKind::Host`].
pub fn open<A: Display, S>(
    option: &str,
    at: A,
    how: impl FnOnce(A) -> io::Result<S>,
) -> Result<S, Failure> {
    let place = format!("{at} ({option})");
    how(at).map_err(|error| {
        let (kind, next) = match error.kind() {
            io::ErrorKind::AddrInUse => (
                FailureKind::Busy,
                "name another place: another port, or 0 for any that is free, or another path",
            ),
            io::ErrorKind::PermissionDenied => (
                FailureKind::Permission,
                "take a port from 1024 on, or a path where you may write",
            ),
            _ => (
                FailureKind::Host,
                "name an address of this machine, or a path that exists",
            ),
        };
        Failure::new(kind, "cannot listen")
            .at(place)
            .because(error)
            .next(next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_at_addresses_or_absolute_paths() {
        assert!("[::1]:9100".parse::<MetricsAt>().is_ok());
        assert!("/run/uwwan/metrics".parse::<MetricsAt>().is_ok());
        for wrong in ["", "9100", "localhost:9100", "metrics", "127.0.0.1"] {
            assert!(wrong.parse::<MetricsAt>().is_err(), "{wrong}");
        }
    }
}
