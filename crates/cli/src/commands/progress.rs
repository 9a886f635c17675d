//! Prints what happens to a modem, one line for each rung.

use std::time::{Duration, Instant};

use uwwan_modem::event::{BoundDriver, SessionChange, SessionEvent};
use uwwan_modem::{Event, Rung};

use super::status::describe_addresses;
use crate::output::{plain, seconds};

/// Returns the lines for one event, or none for an event that would only repeat another.
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
        // The line of the rung `configuration` holds the same.
        Event::Configuration { .. } => Vec::new(),
        Event::Session(event) => session_lines(event),
        Event::Notice { text } => vec![note("note", text)],
        Event::GivenBack {
            configuration,
            drivers,
        } => vec![note("given back", &given_back(*configuration, drivers))],
        Event::Diagnosis(diagnosis) => vec![note("diagnosis", &diagnosis.text)],
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

/// The condition that a modem waits for. It is kept so that a wait of more than a second is shown,
/// and a file does not fill with it.
#[derive(Default)]
pub struct Waiting {
    current: Option<Wait>,
}

struct Wait {
    rung: Rung,
    text: String,
    /// Time at which the rung was begun.
    begun: Instant,
    /// Time at which the rung gives up, in seconds since it was begun.
    limit: f64,
    /// Time at which the wait is shown next.
    due: Instant,
}

impl Waiting {
    /// Time after which a wait is shown, and after which a line that counts is shown again.
    const SECOND: Duration = Duration::from_secs(1);
    /// Pause after which the same line is shown again where each line stays.
    const PAUSE: Duration = Duration::from_secs(10);

    /// Records an event. Returns whether it is shown at once, which a wait is not.
    pub fn hear(&mut self, event: &Event, now: Instant) -> bool {
        match event {
            Event::Waiting {
                rung,
                text,
                seconds,
                limit_seconds,
            } => {
                let same = self.current.as_ref().filter(|wait| wait.text == *text);
                let due = same.map_or(now + Self::SECOND, |wait| wait.due);
                let seconds = Duration::try_from_secs_f64(*seconds).unwrap_or_default();
                self.current = Some(Wait {
                    rung: *rung,
                    text: text.clone(),
                    begun: now.checked_sub(seconds).unwrap_or(now),
                    limit: *limit_seconds,
                    due,
                });
                return false;
            }
            Event::RungStarted { .. }
            | Event::RungDone { .. }
            | Event::RungFailed { .. }
            | Event::Lost { .. }
            | Event::Stopped { .. } => self.current = None,
            _ => {}
        }
        true
    }

    /// Returns the wait that is due to be shown, with the time waited so far; `counts` is whether
    /// the line replaces the last one.
    pub fn due(&mut self, now: Instant, counts: bool) -> Option<Event> {
        let wait = self.current.as_mut().filter(|wait| wait.due <= now)?;
        wait.due = now + if counts { Self::SECOND } else { Self::PAUSE };
        Some(Event::Waiting {
            rung: wait.rung,
            text: wait.text.clone(),
            seconds: now.duration_since(wait.begun).as_secs_f64(),
            limit_seconds: wait.limit,
        })
    }

    /// Returns the time at which a wait is due to be shown.
    pub fn next(&self) -> Option<Instant> {
        self.current.as_ref().map(|wait| wait.due)
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

/// Returns a description of the drivers that have the device again: `configuration 2: cdc_ether at
/// 0 1, option at 2`.
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
    fn a_wait_is_told_after_a_second_and_then_now_and_then() {
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
        let begun = Instant::now();
        let at = |seconds: f64| begun + Duration::from_secs_f64(seconds);
        for (counts, told) in [
            (false, [0.0, 1.0, 0.0, 0.0, 11.0]),
            (true, [0.0, 1.0, 0.0, 2.5, 11.0]),
        ] {
            let mut waiting = Waiting::default();
            assert!(!waiting.hear(&event("the SIM", 0.0), begun));
            let heard = [0.9, 1.0, 1.5, 2.5, 11.0].map(|seconds| {
                waiting.hear(&event("the SIM", seconds), at(seconds));
                match waiting.due(at(seconds), counts) {
                    Some(Event::Waiting { seconds, .. }) => seconds,
                    _ => 0.0,
                }
            });
            assert_eq!(heard, told, "{counts}");
            // The wait is now for another condition.
            waiting.hear(&event("a network", 11.0), at(11.0));
            assert_eq!(waiting.due(at(11.5), counts), None);
            assert_eq!(waiting.next(), Some(at(12.0)));
            assert!(waiting.hear(&Event::RungStarted { rung: Rung::Radio }, at(11.6)));
            assert_eq!(waiting.due(at(20.0), counts), None);
        }
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
