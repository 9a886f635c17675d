//! The error of this crate, which says what was tried, why it failed, and what to do next.

use std::io;

/// Kind of an error, by which a caller can choose another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The process may not do this (`EPERM`, `EACCES`).
    NoPermission,
    /// Another process or configuration uses it already (`EBUSY`, `EEXIST`).
    Busy,
    /// The kernel has no TUN driver, or the process cannot see it.
    NoDriver,
    /// The kernel's TUN driver has no virtio headers, and so no offload.
    NoOffload,
    /// The interface does not exist, or was deleted.
    Gone,
    /// The request is invalid, such as an interface name that is too long.
    Invalid,
    /// Private namespaces are forbidden or used up.
    NoNamespaces,
    /// Any other failure.
    Other,
}

/// Error of an operation on the host's interfaces or their configuration.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}; {next}")]
pub struct Error {
    /// Kind of the error, for a program to act on.
    pub kind: ErrorKind,
    /// Operation that failed, for people.
    pub what: String,
    /// Reason of the failure, for people.
    pub why: String,
    /// Next step that the user can take.
    pub next: String,
    /// Error of the operating system, if a system call failed.
    #[source]
    pub source: Option<io::Error>,
}

impl Error {
    /// Returns an error that no system call has caused.
    pub(crate) fn new(
        kind: ErrorKind,
        what: impl Into<String>,
        why: impl Into<String>,
        next: impl Into<String>,
    ) -> Error {
        Error {
            kind,
            what: what.into(),
            why: why.into(),
            next: next.into(),
            source: None,
        }
    }

    /// Returns the error with the system call's error that caused it.
    pub(crate) fn because(mut self, source: io::Error) -> Error {
        self.source = Some(source);
        self
    }

    /// Returns the error of a failed system call. The kind follows from the system's error, whose
    /// text is the reason.
    pub(crate) fn system(what: impl Into<String>, source: io::Error) -> Error {
        let (kind, next) = match source.kind() {
            io::ErrorKind::PermissionDenied => (
                ErrorKind::NoPermission,
                "run as root or give the program CAP_NET_ADMIN (setcap cap_net_admin+ep PROGRAM)",
            ),
            io::ErrorKind::AlreadyExists | io::ErrorKind::ResourceBusy => {
                (ErrorKind::Busy, "see who else configures the interface")
            }
            _ => (ErrorKind::Other, "the kernel's log may tell more"),
        };
        Error::new(kind, what, source.to_string(), next).because(source)
    }
}
