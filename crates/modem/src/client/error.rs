//! The failures that keep a client's command from its answer.

use std::io;

use uwwan_mbim::session::CommandError;
use uwwan_mbim::status::{NwError, Status};

use crate::failure::{Code, Failure, FailureKind};

/// Returns the failure for a wait that the caller ended; `doing` says what the caller waited for.
#[must_use]
pub fn interrupted(doing: &str) -> Failure {
    Failure::new(FailureKind::Cancelled, format!("interrupted: {doing}"))
        .because("Ctrl-C, SIGTERM or the like came; the request was cancelled")
}

/// Returns the failure for a status that refuses `what`, with the network's cause if it gave one.
/// `owner` is the user id of the running `up` that passed the command on, if one did.
pub(super) fn refusal(
    what: impl Into<String>,
    status: Status,
    cause: Option<NwError>,
    owner: Option<u32>,
) -> Failure {
    let mut failure = Failure::new(FailureKind::Refused, what)
        .with(Code::Status(status))
        .because(format!("{status}: {}", status.explanation()));
    if let Some(cause) = cause.filter(|cause| *cause != NwError::NONE) {
        failure = failure.because(format!("the network says {cause}: {}", cause.explanation()));
    }
    let next = match status {
        Status::OPERATION_NOT_ALLOWED => {
            let own = rustix::process::geteuid().as_raw();
            return match owner {
                Some(owner) => not_allowed(failure, other_owners(owner, own)),
                None => failure,
            };
        }
        Status::BUSY | Status::NOT_INITIALIZED => "try again in a few seconds",
        Status::NO_DEVICE_SUPPORT => "`uwwan services` lists what this modem offers",
        Status::PIN_REQUIRED => "`uwwan pin status`, then `uwwan pin enter`",
        Status::RADIO_POWER_OFF => "`uwwan radio on`",
        Status::NOT_REGISTERED => "`uwwan operator register`",
        Status::PACKET_SERVICE_DETACHED => "`uwwan attach`",
        _ => "",
    };
    failure.next(next)
}

/// Returns the failure for a command that a running `up` does not allow. `owners` names the users
/// who may do everything, unless this process's user is one of them.
fn not_allowed(failure: Failure, owners: Option<String>) -> Failure {
    match owners {
        None => failure
            .because("it would end what the running `uwwan up` holds, or is not possible now")
            .next("the same with --force, where the command has it; or `uwwan down` first"),
        Some(owners) => {
            let mut failure = failure
                .because(
                    "the running `uwwan up` does not let this user do it, or it is not possible now",
                )
                .next(format!(
                    "those who may do it are {owners}; `uwwan up --operator` lets others use the modem"
                ));
            failure.kind = FailureKind::Permission;
            failure
        }
    }
}

/// Returns the failure for a user who may only read the status of a running `up`. `operators` names the
/// users who may use the modem.
pub(super) fn not_operator(mut failure: Failure, operators: &str) -> Failure {
    failure.kind = FailureKind::Permission;
    failure.next = vec![
        format!("those who may use the modem are {operators}"),
        "usermod --append --groups GROUP USER (as root), and a new login, makes one a member"
            .to_owned(),
    ];
    failure
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
    fn who_may_only_look_is_told_the_group() {
        let refused = refusal("it", Status::OPERATION_NOT_ALLOWED, None, Some(990));
        let failure = not_operator(refused, "root, group uwwan (--operator)");
        assert_eq!(failure.kind, FailureKind::Permission);
        let next = failure.next.join("; ");
        assert!(next.contains("group uwwan"), "{next}");
        assert!(!next.contains("--force"), "{next}");
    }

    #[test]
    fn a_refusal_says_who_may() {
        let told = |owner, own| {
            let failure = Failure::new(FailureKind::Refused, "it");
            let failure = not_allowed(failure, other_owners(owner, own));
            (failure.kind, failure.next.join("; "))
        };
        for (owner, own) in [(0, 0), (990, 0), (990, 990)] {
            let (kind, next) = told(owner, own);
            assert_eq!(kind, FailureKind::Refused);
            assert!(next.contains("uwwan down"), "{own}");
        }
        let (kind, next) = told(0, 1000);
        assert_eq!(kind, FailureKind::Permission);
        assert!(next.contains("are root; "));
        let (_, told) = told(990, 1000);
        assert!(told.contains("root, user 990 (who started it)"), "{told}");
        assert!(
            told.contains("--operator") && !told.contains("uwwan down"),
            "{told}"
        );
    }

    #[test]
    fn a_refusal_carries_code_cause_and_advice() {
        let advice = |status, owner| refusal("it", status, None, owner).next;
        assert!(advice(Status::OPERATION_NOT_ALLOWED, None).is_empty());
        assert!(!advice(Status::OPERATION_NOT_ALLOWED, Some(0)).is_empty());
        assert_eq!(
            advice(Status::RADIO_POWER_OFF, Some(0)),
            ["`uwwan radio on`"]
        );
        assert!(advice(Status::FAILURE, None).is_empty());
        let cause = Some(NwError::MISSING_OR_UNKNOWN_APN);
        let failure = refusal("it", Status::FAILURE, cause, None);
        assert_eq!(failure.status(), Some(Status::FAILURE));
        assert!(failure.why[1].starts_with("the network says"), "{failure}");
        let none = refusal("it", Status::FAILURE, Some(NwError::NONE), None);
        assert_eq!(none.why.len(), 1);
    }
}
