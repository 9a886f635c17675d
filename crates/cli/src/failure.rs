//! The form in which the program reports a failure, and the exit status with which it ends.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use log::Level;
use schemars::JsonSchema;
use serde::Serialize;

use crate::json::JSON_VERSION;
use crate::output;
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

/// Returns the first paragraph of an error of the command line's parser on one line, for options
/// that come from another source.
pub fn of_options(error: &clap::Error) -> String {
    let told = error.to_string();
    let lines = told.strip_prefix("error: ").unwrap_or(&told).lines();
    let first = lines.take_while(|line| !line.is_empty()).map(str::trim);
    first.collect::<Vec<_>>().join(" ")
}

/// Returns the failure for an error of the command line's parser.
pub fn of_command_line(error: &clap::Error) -> Failure {
    Failure::new(FailureKind::Usage, "the command line makes no sense")
        .because(of_options(error))
        .next("see --help of the command")
}

/// Whether failures are written as JSON.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// Makes failures be written as JSON from here on, one line each.
pub fn report_as_json() {
    AS_JSON.store(true, Ordering::Relaxed);
}

/// The line that a command with `--json` writes to standard error when it fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ErrorReport {
    /// Version of the form.
    pub version: u32,
    /// Exit status of the program.
    pub exit: u8,
    /// The failure.
    #[serde(flatten)]
    pub failure: Failure,
}

impl ErrorReport {
    /// Returns the report of a failure.
    pub fn of(failure: &Failure) -> Self {
        Self {
            version: JSON_VERSION,
            exit: Exit::from(failure.kind) as u8,
            failure: failure.clone(),
        }
    }
}

/// Writes the failure to standard error and returns the exit status for it: as text, or on one line of
/// JSON ([`report_as_json`]). A failure of the kind `Closed` is not written.
pub fn report(failure: &Failure) -> ExitCode {
    let exit = Exit::from(failure.kind);
    // The reader of standard output is gone, so no message is expected.
    if exit != Exit::Closed {
        // Standard error may be closed too; the exit status still reports the failure.
        let _ = Errors(Level::Error).write_all(told(failure).as_bytes());
    }
    ExitCode::from(exit as u8)
}

/// Returns the text in which a failure is written.
fn told(failure: &Failure) -> String {
    let as_json = AS_JSON.load(Ordering::Relaxed);
    let json = serde_json::to_string(&ErrorReport::of(failure)).ok();
    match json.filter(|_| as_json) {
        Some(json) => output::harmless(json) + "\n",
        None => format!("error: {failure}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_modem::Rung;

    #[test]
    fn a_report_holds_all_of_a_failure() {
        let failure = Failure::new(FailureKind::Refused, "no")
            .at(Rung::Sim)
            .because("one")
            .because("two")
            .next("wait");
        let report = serde_json::to_value(ErrorReport::of(&failure)).unwrap();
        assert_eq!(
            (&report["exit"], &report["why"]),
            (&7.into(), &"one\ntwo".into())
        );
        let whole = serde_json::to_value(&failure).unwrap();
        for (name, value) in whole.as_object().unwrap() {
            assert_eq!(&report[name], value, "{name}");
        }
    }
}
