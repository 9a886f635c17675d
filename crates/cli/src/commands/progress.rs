//! What happens to a modem, told for people: one line a rung.

use uwwan_modem::{Event, Failure as RungFailure, Rung, StartError};

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
    let mut told = Failure::new(exit(failure), failure.what.clone())
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

fn exit(failure: &RungFailure) -> Exit {
    let text = format!("{} {}", failure.what, failure.cause).to_lowercase();
    let denied = ["permission denied", "not permitted", "cap_net_admin"]
        .iter()
        .any(|words| text.contains(words));
    match failure.rung {
        _ if denied => Exit::Permission,
        Rung::Found if text.contains("several") => Exit::Several,
        Rung::Found => Exit::Missing,
        Rung::Configuration | Rung::Claim if text.contains("busy") => Exit::Busy,
        Rung::Configuration | Rung::Claim | Rung::DataFunction | Rung::Host => Exit::Failed,
        _ => Exit::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(rung: Rung, what: &str) -> RungFailure {
        RungFailure {
            rung,
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
    fn exit_statuses_follow_the_rung() {
        for (rung, what, expected) in [
            (Rung::Found, "no modem", Exit::Missing),
            (Rung::Found, "several modems", Exit::Several),
            (Rung::Found, "open: permission denied", Exit::Permission),
            (Rung::Claim, "claim interface 1: busy", Exit::Busy),
            (Rung::Connect, "NoDeviceSupport", Exit::Refused),
            (Rung::Host, "Operation not permitted", Exit::Permission),
        ] {
            assert_eq!(failure(&fails(rung, what)).exit, expected, "{what}");
        }
    }

    #[test]
    fn the_failure_tells_all_four_parts() {
        let text = failure(&fails(Rung::Connect, "CONNECT refused")).to_string();
        for part in ["CONNECT refused", "\"connect\"", "because", "do that"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
