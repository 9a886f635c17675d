//! Errors that say what was tried, why it failed, and what to do next.

use std::io;

/// What kind of obstacle it was, for callers that go another way then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The process may not do this (`EPERM`, `EACCES`).
    NoPermission,
    /// Somebody else has it (`EBUSY`, `EEXIST`).
    Busy,
    /// The kernel has no TUN driver, or the process cannot see it.
    NoDriver,
    /// The kernel's TUN driver has no virtio headers, and so no offload.
    NoOffload,
    /// There is no such interface, or it was deleted.
    Gone,
    /// What was asked for makes no sense.
    Invalid,
    /// Private namespaces are forbidden or used up.
    NoNamespaces,
    /// Anything else.
    Other,
}

/// What was tried, why it failed, and what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}; {next}")]
pub struct Error {
    /// The kind of obstacle.
    pub kind: ErrorKind,
    /// Operation that failed, in words.
    pub what: String,
    /// Reason of the failure, in words.
    pub why: String,
    /// Next step for the user, in words.
    pub next: String,
    /// What the operating system said, if it was asked.
    #[source]
    pub source: Option<io::Error>,
}

impl Error {
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

    pub(crate) fn because(mut self, source: io::Error) -> Error {
        self.source = Some(source);
        self
    }

    /// Makes the error of a failure nobody foresaw, with the system's own words.
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
