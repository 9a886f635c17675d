//! `up` reports events on standard output or in the journal.

use std::io::IsTerminal;
use std::time::Instant;

use uwwan_modem::Event;

use crate::commands::progress::{self, Waiting};
use crate::failure::Failure;
use crate::journal::About;
use crate::output::{count, say_about, say_json_about};
use crate::output_queue;

/// Reporter of events.
pub(super) struct Telling {
    /// Whether each event is one line of JSON.
    pub(super) json: bool,
    /// Whether standard output is a terminal, on which a line can count.
    terminal: bool,
    waiting: Waiting,
}

impl Telling {
    /// Returns a reporter.
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            terminal: !json && std::io::stdout().is_terminal(),
            waiting: Waiting::default(),
        }
    }

    /// Returns the time at which [`Telling::wait`] has something to report.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.next()
    }

    /// Reports an event, unless it is one that [`Telling::wait`] reports.
    ///
    /// # Errors
    /// Those of [`say_about`].
    pub(super) fn hear(&mut self, event: &Event) -> Result<(), Failure> {
        let dropped = output_queue::take_dropped();
        if dropped > 0 {
            let text = format!("{dropped} lines before this one were dropped: nobody took them");
            self.tell(&Event::Notice { text })?;
        }
        match self.waiting.hear(event, Instant::now()) {
            true => self.tell(event),
            false => Ok(()),
        }
    }

    /// Reports what the modem has waited for longer than a second, and returns it.
    ///
    /// # Errors
    /// Those of [`say_about`].
    pub(super) fn wait(&mut self) -> Result<Option<String>, Failure> {
        let due = self.waiting.due(Instant::now(), self.terminal);
        if let Some(event) = &due {
            match self.terminal {
                true => progress::lines(event).iter().try_for_each(count)?,
                false => self.tell(event)?,
            }
        }
        Ok(due.and_then(|event| match event {
            Event::Waiting { text, .. } => Some(text),
            _ => None,
        }))
    }

    /// Reports an event.
    ///
    /// # Errors
    /// Those of [`say_about`].
    pub(super) fn tell(&self, event: &Event) -> Result<(), Failure> {
        let about = About::event(event);
        if self.json {
            return say_json_about(event, about);
        }
        let lines = progress::lines(event);
        lines.iter().try_for_each(|line| say_about(line, about))
    }
}
