//! The failures between a client's command and the modem.

use std::io;

use uwwan_mbim::session::CommandError;
use uwwan_mbim::status::Status;

use crate::failure::{Code, Failure, FailureKind};

/// Returns the failure for a status other than success that answers `what`.
pub(super) fn status(what: impl Into<String>, place: &str, status: Status) -> Failure {
    let next = match status {
        Status::OPERATION_NOT_ALLOWED => {
            "if `uwwan up` holds what this would end: `uwwan down` first, or run `up` with --proxy-guard off"
        }
        Status::BUSY | Status::NOT_INITIALIZED => "try again in a few seconds",
        Status::NO_DEVICE_SUPPORT => "`uwwan services` lists what this modem offers",
        _ => "",
    };
    Failure::new(FailureKind::Refused, what)
        .with(Code::Status(status))
        .at(place)
        .because(format!("{} ({})", status.name(), status.explanation()))
        .next(next)
}

/// Returns the failure for a command that was not answered; `id` is its service and name.
pub(super) fn command(id: &str, place: &str, error: CommandError) -> Failure {
    let why = error.to_string();
    let new = |kind, what: String, next: &str| Failure::new(kind, what).next(next);
    let failure = match error {
        CommandError::NotOpen => new(FailureKind::NotOpen, id.into(), "look at `uwwan status`"),
        CommandError::QueueFull(_) => {
            new(FailureKind::Refused, id.into(), "try again").with(Code::Status(Status::BUSY))
        }
        CommandError::Timeout(_) => new(
            FailureKind::Timeout,
            format!("no answer to {id}"),
            "try again; if it stays, unplug the modem and plug it in again",
        ),
        CommandError::Cancelled => new(FailureKind::Cancelled, id.into(), ""),
        CommandError::Closed | CommandError::Lost(_) | CommandError::Transfer(_) => new(
            FailureKind::Gone,
            lost(id),
            "look at `uwwan list`, and try again",
        ),
        CommandError::Function(code) => {
            new(FailureKind::Refused, id.into(), "try again").with(Code::Protocol(code))
        }
        CommandError::Fragments(_) => new(FailureKind::Unreadable, unreadable(id), "try again"),
    };
    failure.at(place).because(why)
}

/// Returns what failed when the modem went away before it answered this command.
pub(super) fn lost(id: &str) -> String {
    format!("{id}: no modem")
}

/// Returns what failed when the answer to this command cannot be decoded.
pub(super) fn unreadable(id: &str) -> String {
    format!("the answer to {id} cannot be read")
}

/// Returns the failure for a socket of a running `up` that cannot be connected to.
pub(super) fn refused(place: &str, error: &io::Error) -> Failure {
    let (kind, why, next) = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => (
            FailureKind::NotRunning,
            "nobody listens there".to_owned(),
            "`uwwan up` brings the modem online",
        ),
        io::ErrorKind::PermissionDenied => (
            FailureKind::Permission,
            "only root and the user who started it may use it".to_owned(),
            "run the same command with sudo",
        ),
        _ => (FailureKind::Host, error.to_string(), ""),
    };
    Failure::new(kind, "reach the running uwwan")
        .at(place)
        .because(why)
        .next(next)
}
