//! The failures between a client's command and the modem.

use std::io;

use uwwan_mbim::session::CommandError;
use uwwan_mbim::status::Status;

use crate::failure::{Code, Failure, FailureKind};

/// Returns the failure for a status other than success that answers `what`. `owners` are those who
/// may do everything, if this process's user is none of them.
pub(super) fn status(
    what: impl Into<String>,
    place: &str,
    status: Status,
    owners: Option<String>,
) -> Failure {
    let next = match (status, owners) {
        (Status::OPERATION_NOT_ALLOWED, Some(owners)) => format!(
            "those who may do it are {owners}; `up --operator` lets others use the modem"
        ),
        (Status::OPERATION_NOT_ALLOWED, None) => {
            "if `uwwan up` holds what this would end: `uwwan down` first, or run `up` with --proxy-guard off".to_owned()
        }
        (Status::BUSY | Status::NOT_INITIALIZED, _) => "try again in a few seconds".to_owned(),
        (Status::NO_DEVICE_SUPPORT, _) => "`uwwan services` lists what this modem offers".to_owned(),
        _ => String::new(),
    };
    Failure::new(FailureKind::Refused, what)
        .with(Code::Status(status))
        .at(place)
        .because(format!("{} ({})", status.name(), status.explanation()))
        .next(next)
}

/// Returns in words who may do everything with an `up` of the user `owner`, unless `own` is one of
/// them.
pub(super) fn other_owners(owner: u32, own: u32) -> Option<String> {
    match owner {
        _ if own == 0 || own == owner => None,
        0 => Some("root".to_owned()),
        owner => Some(format!("root, user {owner} (who started it)")),
    }
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
            "it serves only root and the user who started it".to_owned(),
            "run the same command as one of them, or let `up --operator` name this user",
        ),
        io::ErrorKind::WouldBlock => (
            FailureKind::Timeout,
            "it takes no connection".to_owned(),
            "if it hangs, send its process SIGTERM twice",
        ),
        _ => (FailureKind::Host, error.to_string(), ""),
    };
    Failure::new(kind, "reach the running uwwan")
        .at(place)
        .because(why)
        .next(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_who_may() {
        let next = |status, owner, own| {
            let failure = super::status("it", "there", status, other_owners(owner, own));
            failure.next.join("; ")
        };
        let refused = Status::OPERATION_NOT_ALLOWED;
        for (owner, own) in [(0, 0), (990, 0), (990, 990)] {
            assert!(next(refused, owner, own).contains("uwwan down"), "{own}");
        }
        assert!(next(refused, 0, 1000).contains("are root; "));
        let told = next(refused, 990, 1000);
        assert!(told.contains("root, user 990 (who started it)"), "{told}");
        assert!(
            told.contains("--operator") && !told.contains("uwwan down"),
            "{told}"
        );
        assert_eq!(next(Status::BUSY, 0, 1000), next(Status::BUSY, 0, 0));
    }
}
