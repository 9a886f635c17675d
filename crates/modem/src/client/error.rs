//! What can go wrong between a command of the program and the modem.

use uwwan_mbim::session::CommandError;
use uwwan_mbim::status::{ProtocolError, Status};

use crate::failure::Failure;
use crate::modem::StartError;

/// What kind of failure it is, for a program to act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// No `up` answers at this socket.
    NotRunning,
    /// This user may not use the socket, or the socket is another user's.
    Denied,
    /// The device is not there, or not to be had.
    Start,
    /// A rung up to the control session was not reached.
    BringUp(Box<Failure>),
    /// The running `up` has no open control session with the modem.
    NotOpen,
    /// The modem answered with a status other than success.
    Status(Status),
    /// The modem, or the running `up` on its behalf, answered with a protocol error.
    Protocol(ProtocolError),
    /// No answer in time; the command was withdrawn.
    Timeout,
    /// The command was cancelled.
    Cancelled,
    /// The modem, or the running `up`, went away.
    Lost,
    /// The answer cannot be read.
    Answer,
    /// The system refused something.
    System,
}

/// A failure: what, where, why, what next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct ClientError {
    /// For a program to act on.
    pub kind: ErrorKind,
    /// What was tried.
    pub what: String,
    /// Where: a device or a socket; may be empty.
    pub place: String,
    /// Why it failed.
    pub why: String,
    /// What the user can do; may be empty.
    pub next: String,
}

impl ClientError {
    pub(crate) fn new(
        kind: ErrorKind,
        what: impl Into<String>,
        place: impl Into<String>,
        why: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            what: what.into(),
            place: place.into(),
            why: why.into(),
            next: next.into(),
        }
    }

    /// The status the modem answered with, if it did.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self.kind {
            ErrorKind::Status(status) => Some(status),
            _ => None,
        }
    }

    /// A status other than success as an error.
    #[must_use]
    pub fn of_status(what: impl Into<String>, place: &str, status: Status) -> Self {
        let next = match status {
            Status::OPERATION_NOT_ALLOWED => {
                "if `uwwan up` holds what this would end: `uwwan down` first, or run `up` with --proxy-guard off"
            }
            Status::BUSY | Status::NOT_INITIALIZED => "try again in a few seconds",
            Status::NO_DEVICE_SUPPORT => "`uwwan services` lists what this modem offers",
            _ => "",
        };
        Self::new(
            ErrorKind::Status(status),
            what,
            place,
            format!("{} ({})", status.name(), status.explanation()),
            next,
        )
    }

    /// A rung that was not reached.
    #[must_use]
    pub fn of_failure(place: &str, failure: &Failure) -> Self {
        Self::new(
            ErrorKind::BringUp(Box::new(failure.clone())),
            failure.what.clone(),
            place,
            failure.cause.clone(),
            failure.next.clone(),
        )
    }

    pub(crate) fn of_start(place: &str, error: StartError) -> Self {
        match error {
            StartError::Failure(failure) => Self::of_failure(place, &failure),
            other => Self::new(
                ErrorKind::Start,
                "cannot open the modem",
                place,
                other.to_string(),
                "",
            ),
        }
    }

    pub(crate) fn of_command(what: &str, place: &str, error: CommandError) -> Self {
        let why = error.to_string();
        let (kind, next) = match error {
            CommandError::NotOpen => (ErrorKind::NotOpen, "look at `uwwan status`"),
            CommandError::QueueFull(_) => (ErrorKind::Status(Status::BUSY), "try again"),
            CommandError::Timeout(_) => (
                ErrorKind::Timeout,
                "try again; if it stays, unplug the modem and plug it in again",
            ),
            CommandError::Cancelled => (ErrorKind::Cancelled, ""),
            CommandError::Closed | CommandError::Lost(_) | CommandError::Transfer(_) => {
                (ErrorKind::Lost, "look at `uwwan list`, and try again")
            }
            CommandError::Function(code) => (ErrorKind::Protocol(code), "try again"),
            CommandError::Fragments(_) => (ErrorKind::Answer, "try again"),
        };
        Self::new(kind, what, place, why, next)
    }
}
