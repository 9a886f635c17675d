//! What happens to a modem, told for people: one line a rung.

use uwwan_modem::{Event, Failure as RungFailure, FailureKind, StartError};

use super::status::describe_addresses;
use crate::failure::{Exit, Failure};
use crate::output::{plain, seconds};

/// The lines for one event; none for what would only repeat another.
pub fn lines(event: &Event) -> Vec<String> {
    let row = |name: &str, time: f64, text: &str| {
        format!("{name:<17}{:>9}  {}", seconds(time), plain(text))
            .trim_end()
            .to_owned()
    };
    match event {
        Event::RungStarted { .. } => Vec::new(),
        Event::RungDone {
            rung,
            seconds,
            detail,
        } => vec![row(rung.name(), *seconds, detail)],
        Event::RungFailed {
            failure,
            seconds,
            retry_seconds,
        } => {
            let mut lines = vec![row(failure.rung.name(), *seconds, &failure.what)];
            if let Some(wait) = retry_seconds {
                lines.push(note("cause", &failure.cause));
                lines.push(note(
                    "retry",
                    &format!("in {}", crate::output::seconds(*wait)),
                ));
            }
            lines
        }
        // Told by the rung `configuration`.
        Event::Configuration { .. } => Vec::new(),
        Event::Addresses(addresses) => describe_addresses(addresses)
            .iter()
            .map(|line| note("address", line))
            .collect(),
        Event::Online { interface, seconds } => {
            vec![format!(
                "online through {} after {}",
                plain(interface),
                crate::output::seconds(*seconds)
            )]
        }
        Event::Session {
            session,
            online,
            interface,
            text,
            retry_seconds,
        } => {
            let name = format!("session {session}");
            let mut lines = vec![match online {
                true => format!(
                    "{name:<17}online through {}, {}",
                    plain(interface),
                    plain(text)
                ),
                false => format!("{name:<17}not online: {}", plain(text)),
            }];
            if let Some(wait) = retry_seconds {
                let wait = format!("in {}", crate::output::seconds(*wait));
                lines.push(note("retry", &wait));
            }
            lines
        }
        Event::Notice { text } => vec![note("note", text)],
        Event::Diagnosis { text } => vec![note("diagnosis", text)],
        Event::Lost { rung, why } => vec![format!("lost: {}; back to {rung}", plain(why))],
        Event::Stopped { .. } => Vec::new(),
    }
}

fn note(label: &str, text: &str) -> String {
    let mut lines = text.lines();
    let mut note = format!("  {label:<15}{}", plain(lines.next().unwrap_or_default()));
    for line in lines {
        note.push_str(&format!("\n{:<17}{}", "", plain(line)));
    }
    note
}

/// A rung's failure as the program's.
pub fn failure(failure: &RungFailure) -> Failure {
    let mut told = Failure::new(exit(failure.kind), failure.what.clone())
        .at(format!("rung \"{}\" of the bring-up", failure.rung));
    if !failure.cause.is_empty() {
        told = told.because(&failure.cause);
    }
    if !failure.next.is_empty() {
        told = told.next(failure.next.clone());
    }
    told
}

/// What the library refused before it started.
pub fn start_failure(error: &StartError) -> Failure {
    match error {
        StartError::Failure(inner) => failure(inner),
        StartError::Option { option, why } => Failure::new(Exit::Usage, "an option makes no sense")
            .at(format!("--{option}"))
            .because(why),
        StartError::System(why) => Failure::new(Exit::Failed, "cannot start").because(why),
    }
}

const fn exit(kind: FailureKind) -> Exit {
    match kind {
        FailureKind::Missing => Exit::Missing,
        FailureKind::Several => Exit::Several,
        FailureKind::Permission => Exit::Permission,
        FailureKind::Busy => Exit::Busy,
        FailureKind::Refused => Exit::Refused,
        FailureKind::Host => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_modem::Rung;

    fn fails(rung: Rung, what: &str) -> RungFailure {
        RungFailure {
            rung,
            kind: FailureKind::usual(rung),
            what: what.into(),
            cause: "because".into(),
            next: "do that".into(),
            fatal: true,
        }
    }

    #[test]
    fn a_rung_is_one_line() {
        let event = Event::RungDone {
            rung: Rung::Connect,
            seconds: 0.012,
            detail: "IPv4v6\u{7}".into(),
        };
        assert_eq!(
            lines(&event),
            ["connect            12.0 ms  IPv4v6\u{fffd}".to_owned()]
        );
    }

    #[test]
    fn exit_statuses_follow_the_kind_and_not_the_words() {
        for (kind, expected) in [
            (FailureKind::Missing, Exit::Missing),
            (FailureKind::Several, Exit::Several),
            (FailureKind::Permission, Exit::Permission),
            (FailureKind::Busy, Exit::Busy),
            (FailureKind::Refused, Exit::Refused),
            (FailureKind::Host, Exit::Failed),
        ] {
            let words = "several busy modems: permission denied";
            let told = failure(&fails(Rung::Connect, words).of(kind));
            assert_eq!(told.exit, expected, "{kind:?}");
        }
        let usual = failure(&fails(Rung::Connect, "Operation not permitted here"));
        assert_eq!(usual.exit, Exit::Refused);
    }

    #[test]
    fn the_failure_tells_all_four_parts() {
        let text = failure(&fails(Rung::Connect, "CONNECT refused")).to_string();
        for part in ["CONNECT refused", "\"connect\"", "because", "do that"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
