//! The reports of the control thread: events to the observer, and the status.

use std::time::{Duration, Instant};

use super::{Climbing, Control, device};
use crate::diagnosis::{Diagnosis, DiagnosisKind};
use crate::event::{Event, SessionChange, SessionEvent};
use crate::failure::Rung;
use crate::heal::HealStep;
use crate::ladder::Input;
use crate::status::{ConfigurationChange, RungTime, State};

impl Control {
    /// Tells that the rung waits for something, for `patience` at most from now on. Nothing is told
    /// when no rung is climbed, or when the rung tells itself what it waits for.
    pub(super) fn expect(&mut self, text: &str, patience: Duration) {
        let Some(climbing) = self.climbing.as_ref().filter(|climbing| !climbing.waits) else {
            return;
        };
        let seconds = climbing.begun.elapsed().as_secs_f64();
        let rung = climbing.rung;
        self.tell(Event::Waiting {
            rung,
            text: text.to_owned(),
            seconds,
            limit_seconds: seconds + patience.as_secs_f64(),
        });
        if let Some(climbing) = &mut self.climbing {
            climbing.waits = false;
        }
    }

    /// Records the rung that an event is about.
    fn follow(&mut self, event: &Event) {
        match event {
            Event::RungStarted { rung } => {
                self.climbing = Some(Climbing {
                    rung: *rung,
                    begun: Instant::now(),
                    waits: false,
                });
            }
            Event::Waiting { .. } => {
                if let Some(climbing) = &mut self.climbing {
                    climbing.waits = true;
                }
            }
            Event::RungDone { .. }
            | Event::RungFailed { .. }
            | Event::Lost { .. }
            | Event::Stopped { .. } => self.climbing = None,
            _ => {}
        }
    }

    /// Passes an event to the observer, and records it in the status.
    pub(super) fn tell(&mut self, event: Event) {
        // The search for an absent device is reported once.
        if self.absent
            && let Event::RungStarted { rung: Rung::Found } = event
        {
            return;
        }
        match &event {
            Event::Diagnosis(diagnosis) => tracing::warn!("{}", diagnosis.text),
            Event::RungFailed { failure, .. } => {
                tracing::warn!("{}", failure.headline())
            }
            Event::Lost { rung, why } => tracing::warn!("lost: {why}; starting again from {rung}"),
            other => tracing::debug!("{}", kind_of(other)),
        }
        self.follow(&event);
        let online = event.is_online();
        if matches!(event, Event::Session(_)) {
            // The status is published first, so that an observer of the event finds addresses and
            // interface in it.
            self.publish();
        }
        self.shared.change(|status| match &event {
            Event::RungStarted { rung } => {
                status.trying = Some(*rung);
                status.state = State::Trying;
                status.why = format!("trying {rung}");
            }
            Event::RungDone { rung, seconds, .. } => {
                status.rung = Some(*rung);
                status.rungs.retain(|time| time.rung != *rung);
                status.rungs.push(RungTime {
                    rung: *rung,
                    seconds: *seconds,
                });
            }
            Event::RungFailed { failure, .. } => {
                status.state = State::Failed;
                status.why = failure.headline();
                status.failure = Some(failure.clone());
                status.online = false;
            }
            Event::Waiting { text, .. } => {
                status.state = State::Waiting;
                status.why = format!("waiting for {text}");
            }
            Event::Configuration { before, after } => {
                status.configuration = Some(ConfigurationChange {
                    before: *before,
                    after: *after,
                });
            }
            Event::Session(_) if online => {
                status.online = true;
                status.trying = None;
                status.failure = None;
                status.state = State::Online;
                status.why = "online".into();
            }
            Event::Notice { .. } | Event::GivenBack { .. } | Event::Session(_) => {}
            Event::Diagnosis(diagnosis) => status.add_diagnosis(diagnosis.clone()),
            Event::Heal(event) => {
                if event.step == HealStep::PutBack {
                    let text = event.text.clone();
                    status.add_diagnosis(Diagnosis::new(DiagnosisKind::NotHealed, text));
                }
                status.heal = Some(event.clone());
            }
            Event::Lost { rung, why } => {
                status.online = false;
                status.trying = Some(*rung);
                status.rung = Rung::ALL.iter().copied().rev().find(|below| below < rung);
                status.state = State::Lost;
                status.why = why.clone();
            }
            Event::Stopped { failure } => {
                status.online = false;
                status.trying = None;
                status.rung = None;
                status.state = State::Stopped;
                status.why = match failure {
                    Some(failure) => failure.headline(),
                    None => "stopped".into(),
                };
            }
        });
        if online {
            self.supervisor.online();
            self.online_by = None;
            self.healing.machine.online(Instant::now());
            self.input(Input::Online);
            self.start_sessions(false, Rung::Connect);
        }
        if let Event::Session(event) = &event {
            self.tell_guest(event);
        }
        (self.observer)(event);
    }

    /// Copies the findings of the ladder and the sessions into the status.
    pub(super) fn publish(&mut self) {
        let facts = self.ladder.facts();
        let framing = self.device.as_ref().and_then(device::Held::framing);
        let name = self.device.as_ref().map(|held| held.name.clone());
        let ethernet = self.ethernet_status();
        let quirk = self.quirk;
        let port = self.port.clone();
        let sessions = self
            .sessions
            .iter()
            .map(|session| session.machine.status())
            .collect();
        self.shared.update(|status| {
            if let Some(name) = name {
                status.device = name;
                quirk.name.clone_into(&mut status.model);
                status.fcc_unlock = quirk.fcc_unlock;
                status.port = port.unwrap_or_default();
            }
            status.framing = framing;
            status.ethernet = ethernet;
            status.identity.clone_from(&facts.identity);
            status.network.clone_from(&facts.network);
            status.signal = facts.signal;
            status.sessions = sessions;
        });
    }
}

/// Returns the kind of an event for the log, without contents that may be personal.
fn kind_of(event: &Event) -> String {
    match event {
        Event::RungStarted { rung } => format!("{rung}: started"),
        Event::RungDone { rung, seconds, .. } => format!("{rung}: done in {seconds:.3} s"),
        Event::Configuration { before, after } => format!("configuration {before} to {after}"),
        Event::Session(SessionEvent { session, change }) => {
            let change = match change {
                SessionChange::Addresses(_) => "addresses",
                SessionChange::Online { .. } => "online",
                SessionChange::Offline { .. } => "not online",
            };
            format!("session {session}: {change}")
        }
        Event::Notice { text } => text.clone(),
        Event::Heal(event) => event.text.clone(),
        Event::GivenBack { configuration, .. } => {
            format!("given back in configuration {configuration}")
        }
        Event::Waiting { rung, text, .. } => format!("{rung}: waiting for {text}"),
        Event::Stopped { .. } => "stopped".into(),
        Event::RungFailed { .. } | Event::Diagnosis(_) | Event::Lost { .. } => String::new(),
    }
}
