//! The form in which the program reports a failure, and the exit status it ends with.

use std::io::Write;
use std::process::ExitCode;

use log::Level;

use crate::output_queue::Errors;

pub use uwwan_modem::{Failure, FailureKind};

/// Exit status of the program. The numbers are part of its interface (`uwwan --help`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// A failure that has no number of its own.
    Failed = 1,
    /// The command line, the configuration file or a file named there is wrong.
    Usage = 2,
    /// There is no modem, no such modem, or no running `uwwan up`.
    Missing = 3,
    /// There is more than one modem or more than one running `uwwan up`, and none was chosen.
    Several = 4,
    /// This user lacks the permission.
    Permission = 5,
    /// Another process or a kernel driver holds the modem.
    Busy = 6,
    /// The modem, the SIM or the network refused a step of the bring-up.
    Refused = 7,
    /// The modem is online, but the data session carries no traffic.
    Dead = 8,
    /// The program was interrupted by Ctrl-C or SIGTERM, and nothing else went wrong.
    Interrupted = 130,
    /// The reader of standard output closed it.
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

/// Returns the first paragraph of what the parser of the command line says of options that come
/// from somewhere else, on one line.
pub fn of_options(error: &clap::Error) -> String {
    let told = error.to_string();
    let lines = told.strip_prefix("error: ").unwrap_or(&told).lines();
    let first = lines.take_while(|line| !line.is_empty()).map(str::trim);
    first.collect::<Vec<_>>().join(" ")
}

/// Writes the failure to standard error and returns the exit status for it. A failure of the kind
/// `Closed` is not written.
pub fn report(failure: &Failure) -> ExitCode {
    let exit = Exit::from(failure.kind);
    // Whoever read standard output is gone, and there is nobody to tell.
    if exit != Exit::Closed {
        // Standard error may be closed too; the exit status still tells.
        let _ = Errors(Level::Error).write_all(format!("error: {failure}\n").as_bytes());
    }
    ExitCode::from(exit as u8)
}
