//! The bench of the laboratory: it keeps the modem online between trials as far as their settings
//! permit.

use std::time::Instant;

use uwwan_modem::Options;
use uwwan_modem::status::FramingStatus;

use super::cell::{Cell, Dimension, Setting};
use super::failures::Failures;
use super::link::{self, Link, NotUp, Subject};
use super::outcome::{Outcome, Result as Trial};
use super::trial::{Prober, Shape};
use crate::failure::{Failure, FailureKind};

/// A modem with its session, if it is online.
pub struct Bench {
    subject: Subject,
    prober: Prober,
    /// Options beside those of the cells.
    base: Options,
    /// The directory for the captures of trials that failed.
    failures: Option<Failures>,
    link: Option<Held>,
}

struct Held {
    link: Link,
    /// Part of the cell with which the session was begun.
    session: Vec<(Dimension, String)>,
}

impl Bench {
    /// Makes a bench on which no modem is online.
    pub fn new(
        subject: Subject,
        prober: Prober,
        base: Options,
        failures: Option<Failures>,
    ) -> Self {
        Self {
            subject,
            prober,
            base,
            failures,
            link: None,
        }
    }

    /// Returns the settings of a cell.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] for a value that makes no sense.
    pub fn setting(&self, cell: &Cell) -> Result<Setting, Failure> {
        Setting::of(cell, &self.base)
    }

    /// Makes one trial of a cell. A new session is begun where the cell needs another one, or where
    /// there is none.
    ///
    /// # Errors
    /// [`FailureKind::Cancelled`] after a signal, [`FailureKind::Usage`] when a setting makes no sense.
    pub fn trial(&mut self, cell: &Cell) -> Result<Trial, Failure> {
        self.make(cell, Shape::Whole)
    }

    /// Makes one trial of a cell that sends a part of the datagrams of [`Bench::trial`], and keeps its
    /// capture if it is not delivered.
    ///
    /// # Errors
    /// Those of [`Bench::trial`].
    pub fn make(&mut self, cell: &Cell, shape: Shape) -> Result<Trial, Failure> {
        let recording = match &self.failures {
            Some(failures) => failures.begin()?,
            None => None,
        };
        let result = self.make_uncaptured(cell, shape);
        let Some(recording) = recording else {
            return result;
        };
        match (result, &mut self.failures) {
            (Ok(mut result), Some(failures)) if result.outcome != Outcome::Delivered => {
                let path = failures.keep(recording, cell)?;
                result.capture = path.display().to_string();
                Ok(result)
            }
            (result, _) => {
                recording.drop_it();
                result
            }
        }
    }

    fn make_uncaptured(&mut self, cell: &Cell, shape: Shape) -> Result<Trial, Failure> {
        let setting = self.setting(cell)?;
        let session: Vec<_> = cell.session().into_iter().cloned().collect();
        let begun = Instant::now();
        let same = self.link.as_ref().is_some_and(|held| {
            held.session == session && held.link.choose(&setting.options).is_ok()
        });
        if !same {
            self.stop();
            match self.subject.start(&setting.options) {
                Ok(link) => self.link = Some(Held { link, session }),
                Err(NotUp::Interrupted) => return Err(link::interrupted()),
                Err(NotUp::Failed(failure)) if failure.kind == FailureKind::Usage => {
                    return Err(failure);
                }
                Err(NotUp::Failed(failure)) => {
                    let time = begun.elapsed().as_secs_f64();
                    return Ok(Trial::not_online(failure.one_line(), time));
                }
                Err(NotUp::Rung(rung, why)) => {
                    let time = begun.elapsed().as_secs_f64();
                    return Ok(Trial::not_online(format!("{rung}: {why}"), time));
                }
            }
        }
        let Some(held) = &self.link else {
            return Ok(Trial::not_online(String::new(), 0.0));
        };
        let result = self.prober.run(&held.link, &setting, shape)?;
        if result.outcome >= Outcome::Gone {
            self.stop();
        }
        Ok(result)
    }

    /// Returns the layout of NTBs in use, while the modem is online.
    pub fn framing(&self) -> Option<FramingStatus> {
        Some(self.link.as_ref()?.link.framing())
    }

    /// Returns the version of the firmware, while the modem is online.
    pub fn firmware(&self) -> Option<String> {
        Some(self.link.as_ref()?.link.firmware())
    }

    /// Stops the modem, which is left in the state in which it was found.
    pub fn stop(&mut self) {
        if let Some(held) = self.link.take() {
            held.link.stop();
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop();
    }
}
