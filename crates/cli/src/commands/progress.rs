//! Tells people what happens to a modem, one line a rung.

use uwwan_modem::event::{BoundDriver, SessionChange, SessionEvent};
use uwwan_modem::{Event, Rung};

use super::status::describe_addresses;
use crate::output::{plain, seconds};

/// Returns the lines for one event, none for one that would only repeat another.
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
            let place = failure.rung().map_or("", Rung::name);
            let mut lines = vec![row(place, *seconds, &failure.what)];
            if let Some(wait) = retry_seconds {
                lines.push(note("cause", &failure.why.join("; ")));
                lines.push(note(
                    "retry",
                    &format!("in {}", crate::output::seconds(*wait)),
                ));
            }
            lines
        }
        // The rung `configuration` tells the same.
        Event::Configuration { .. } => Vec::new(),
        Event::Session(event) => session_lines(event),
        Event::Notice { text } => vec![note("note", text)],
        Event::GivenBack {
            configuration,
            drivers,
        } => vec![note("given back", &given_back(*configuration, drivers))],
        Event::Diagnosis { text } => vec![note("diagnosis", text)],
        Event::Heal(event) => vec![note("healing", &event.text)],
        Event::Waiting {
            rung,
            text,
            seconds,
            limit_seconds,
        } => vec![row(
            rung.name(),
            *seconds,
            &format!(
                "waiting for {text}, {:.0} s at most",
                limit_seconds.max(*seconds)
            ),
        )],
        Event::Lost { rung, why } => vec![format!("lost: {}; back to {rung}", plain(why))],
        Event::Stopped { .. } => Vec::new(),
    }
}

/// What was told last of what a modem waits for, so that a file does not fill with it.
#[derive(Default)]
pub struct Waiting {
    last: Option<(String, f64)>,
}

impl Waiting {
    /// Pause after which the same is told again where each line stays, in seconds.
    const PAUSE: f64 = 10.0;

    /// Returns whether an event is to be told where each line stays: not when it only counts on.
    pub fn is_news(&mut self, event: &Event) -> bool {
        let Event::Waiting { text, seconds, .. } = event else {
            self.last = None;
            return true;
        };
        let counts_on = self
            .last
            .as_ref()
            .is_some_and(|(said, at)| said == text && (*at..at + Self::PAUSE).contains(seconds));
        if !counts_on {
            self.last = Some((text.clone(), *seconds));
        }
        !counts_on
    }
}

fn session_lines(event: &SessionEvent) -> Vec<String> {
    let name = format!("session {}", event.session);
    match &event.change {
        SessionChange::Addresses(addresses) => describe_addresses(addresses)
            .iter()
            .map(|line| note("address", line))
            .collect(),
        SessionChange::Online {
            interface, seconds, ..
        } if event.session == 0 => {
            vec![format!(
                "online through {} after {}",
                plain(interface),
                crate::output::seconds(*seconds)
            )]
        }
        SessionChange::Online {
            interface, text, ..
        } => vec![format!(
            "{name:<17}online through {}, {}",
            plain(interface),
            plain(text)
        )],
        SessionChange::Offline { why, retry_seconds } => {
            let mut lines = vec![format!("{name:<17}not online: {}", plain(why))];
            if let Some(wait) = retry_seconds {
                let wait = format!("in {}", crate::output::seconds(*wait));
                lines.push(note("retry", &wait));
            }
            lines
        }
    }
}

/// Describes what the kernel has again: `configuration 2: cdc_ether at 0 1, option at 2`.
fn given_back(configuration: u8, drivers: &[BoundDriver]) -> String {
    let mut names: Vec<&str> = drivers.iter().map(|bound| bound.driver.as_str()).collect();
    names.dedup();
    let each = names.iter().map(|name| {
        let bound = drivers.iter().filter(|bound| bound.driver == *name);
        let interfaces: Vec<String> = bound.map(|bound| bound.interface.to_string()).collect();
        format!("{name} at {}", interfaces.join(" "))
    });
    let each: Vec<String> = each.collect();
    match each.is_empty() {
        true => format!("configuration {configuration}; no kernel driver wants it"),
        false => format!("configuration {configuration}: {}", each.join(", ")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_modem::{Failure, FailureKind};

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
    fn drivers_that_are_back_are_named_once() {
        let bound = |(interface, driver): (u8, &str)| BoundDriver {
            interface,
            driver: driver.into(),
        };
        let event = |drivers: &[(u8, &str)]| Event::GivenBack {
            configuration: 2,
            drivers: drivers.iter().copied().map(bound).collect(),
        };
        assert_eq!(
            lines(&event(&[(0, "cdc_ether"), (1, "cdc_ether"), (2, "option")])),
            ["  given back     configuration 2: cdc_ether at 0 1, option at 2"]
        );
        assert_eq!(
            lines(&event(&[])),
            ["  given back     configuration 2; no kernel driver wants it"]
        );
    }

    #[test]
    fn a_line_that_counts_is_told_now_and_then() {
        let event = |text: &str, seconds| Event::Waiting {
            rung: Rung::Sim,
            text: text.into(),
            seconds,
            limit_seconds: 60.0,
        };
        assert_eq!(
            lines(&event("the SIM", 2.0)),
            ["sim                 2.00 s  waiting for the SIM, 60 s at most"]
        );
        let mut waiting = Waiting::default();
        let told: Vec<bool> = [0.0, 2.0, 9.0, 11.0, 12.0]
            .map(|seconds| waiting.is_news(&event("the SIM", seconds)))
            .into();
        assert_eq!(told, [true, false, false, true, false]);
        assert!(waiting.is_news(&event("a network", 12.5)));
        assert!(waiting.is_news(&event("a network", 0.0)), "it began anew");
    }

    #[test]
    fn a_failure_that_is_retried_tells_its_cause() {
        let failure = Failure::new(FailureKind::Refused, "CONNECT refused")
            .at(Rung::Connect)
            .because("because")
            .next("do that");
        let event = Event::RungFailed {
            failure,
            seconds: 0.012,
            retry_seconds: Some(2.0),
        };
        assert_eq!(
            lines(&event),
            [
                "connect            12.0 ms  CONNECT refused",
                "  cause          because",
                "  retry          in 2.00 s"
            ]
        );
    }
}
