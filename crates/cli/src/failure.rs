//! How the program says that something went wrong, and the exit status it leaves with.

use std::io::Write;
use std::process::ExitCode;

use crate::output_queue::Errors;

pub use uwwan_modem::{Failure, FailureKind};

/// The exit status of the program. The numbers are part of its interface (`uwwan --help`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Anything without a number of its own.
    Failed = 1,
    /// The command line, the configuration file or a file it names is wrong.
    Usage = 2,
    /// No modem, no such modem, or no running `uwwan up`.
    Missing = 3,
    /// More than one modem or more than one running `uwwan up`: one must be chosen.
    Several = 4,
    /// This user may not do that.
    Permission = 5,
    /// Another process or a kernel driver holds the modem.
    Busy = 6,
    /// The modem, the SIM or the network refused a step of the bring-up.
    Refused = 7,
    /// Online, but the link does not carry traffic.
    Dead = 8,
    /// Ctrl-C or SIGTERM, and nothing else went wrong.
    Interrupted = 130,
    /// Standard output was closed by its reader.
    Closed = 141,
}

impl From<FailureKind> for Exit {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Usage => Self::Usage,
            FailureKind::Missing | FailureKind::NotRunning | FailureKind::Gone => Self::Missing,
            FailureKind::Several => Self::Several,
            FailureKind::Permission => Self::Permission,
            FailureKind::Busy => Self::Busy,
            FailureKind::Refused | FailureKind::NotOpen => Self::Refused,
            FailureKind::NoTraffic => Self::Dead,
            FailureKind::Cancelled => Self::Interrupted,
            FailureKind::Closed => Self::Closed,
            FailureKind::Timeout
            | FailureKind::Unreadable
            | FailureKind::Host
            | FailureKind::Other => Self::Failed,
        }
    }
}

/// Writes the failure to standard error and returns the exit status it leads to.
pub fn report(failure: &Failure) -> ExitCode {
    let exit = Exit::from(failure.kind);
    // Whoever read standard output is gone, and there is nobody to tell.
    if exit != Exit::Closed {
        // Standard error may be closed too; the exit status still tells.
        let _ = Errors.write_all(format!("error: {failure}\n").as_bytes());
    }
    ExitCode::from(exit as u8)
}
