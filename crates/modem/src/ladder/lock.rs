//! The FCC lock during the bring-up: it keeps the radio off, and with some firmware the SIM is
//! missing meanwhile.
//!
//! Quectel's service reports the lock itself, and its report counts. Other modems may be locked when
//! the quirk table knows of their lock and the radio does not come on; the radio is waited for all
//! the same. The lock is lifted once in a bring-up, and only where the user has asked for it.

use std::time::{Duration, Instant};

use uwwan_mbim::services::basic_connect::{RadioState, RadioSwitchState};

use super::{Ask, Ladder, Lock, Outcome};
use crate::explain;
use crate::failure::{Failure, Rung};
use crate::fcc::{self, Unlocking};
use crate::options::FccUnlock;

/// Number of times that a modem may report a missing SIM, one [`MISSING_PAUSE`] apart, before the SIM
/// counts as missing: some firmware reports that until it has looked (MC7710; ModemManager asks as often).
const MOST_MISSING: u32 = 7;
/// Like [`MOST_MISSING`], where a SIM was seen before, or where an FCC lock may hide it (as in
/// ModemManager).
const MOST_MISSING_KNOWN: u32 = 30;

/// Pause before the SIM is queried again after it was reported missing.
const MISSING_PAUSE: Duration = Duration::from_secs(2);
/// Time for which the ladder waits for the radio after it was switched on.
const RADIO_PATIENCE: Duration = Duration::from_secs(30);

impl Ladder {
    /// Handles the report that the SIM is missing.
    pub(super) fn sim_missing(&mut self, now: Instant) {
        self.missing += 1;
        if self.lock == Lock::Unknown && self.rung == Rung::Sim {
            // With the radio on there is no FCC lock.
            return self.ask(Ask::RadioState);
        }
        let hidden = matches!(self.lock, Lock::Locked { .. } | Lock::Possible { .. });
        let most = if hidden || !self.sim_id.is_empty() {
            MOST_MISSING_KNOWN
        } else {
            MOST_MISSING
        };
        if self.missing >= most {
            let mut failure = match self.lock {
                Lock::Locked { .. } => self.locked_failure("no SIM, and the radio is off"),
                Lock::Possible { .. } => self.maybe_locked(explain::sim_missing(self.rung)),
                Lock::Unknown | Lock::None => explain::sim_missing(self.rung),
            };
            let waited = now.duration_since(self.entered).as_secs();
            failure.what.push_str(&format!("; waited {waited} s"));
            return self.fail(now, failure, Rung::Sim);
        }
        let text = match self.lock {
            Lock::Locked { .. } => "the SIM, which the FCC lock hides",
            Lock::Possible { .. } => {
                "the SIM, which the modem does not see; the radio is off, and an FCC lock may hide it"
            }
            Lock::Unknown | Lock::None => "the SIM, which the modem does not see yet",
        };
        self.tell_waiting(now, MISSING_PAUSE * (most - 1), text.into());
        self.poll_at = Some(now + MISSING_PAUSE);
    }

    /// Handles the radio's state while the SIM is missing.
    pub(super) fn radio_without_sim(&mut self, now: Instant, outcome: &Outcome) {
        let off = matches!(outcome, Outcome::Done { status, info } if status.is_success()
            && RadioState::decode(info)
                .is_ok_and(|radio| radio.sw_radio_state == RadioSwitchState::OFF));
        if off {
            return self.ask(Ask::LockState);
        }
        self.lock = Lock::None;
        self.wait_for_sim(now);
    }

    fn wait_for_sim(&mut self, now: Instant) {
        self.missing = self.missing.saturating_sub(1);
        self.sim_missing(now);
    }

    /// Asks whether an FCC lock keeps the radio off, unless that is known on this rung.
    pub(super) fn suspect_lock(&mut self, now: Instant) {
        match self.lock {
            Lock::Unknown => self.ask(Ask::LockState),
            _ => self.radio_refused(now),
        }
    }

    /// Handles the answer of Quectel's service.
    pub(super) fn lock_state(&mut self, now: Instant, outcome: &Outcome) {
        let told = match outcome {
            Outcome::Done { status, info } if status.is_success() => fcc::is_locked(info),
            _ => None,
        };
        self.lock = match (told, self.quirk.fcc_unlock) {
            (Some(true), way) => Lock::Locked {
                way: way.unwrap_or(FccUnlock::Quectel),
            },
            (None, Some(way)) => Lock::Possible { way },
            (Some(false), _) | (None, None) => Lock::None,
        };
        if let Lock::Locked { way } | Lock::Possible { way } = self.lock
            && self.options.fcc_unlock
            && !self.unlock_tried
        {
            self.unlock_tried = true;
            self.tell_notice(format!(
                "lifting the FCC lock, as --fcc-unlock asks; {}",
                fcc::RESPONSIBILITY
            ));
            self.unlocking = Some(Unlocking::new(way));
            return self.unlock(now);
        }
        match self.rung {
            Rung::Sim => self.wait_for_sim(now),
            _ => self.radio_refused(now),
        }
    }

    /// Sends the next command that lifts the lock, or goes on when it was the last one.
    fn unlock(&mut self, now: Instant) {
        let Some(mut unlocking) = self.unlocking.take() else {
            return;
        };
        if let Some(command) = unlocking.next_command() {
            self.unlocking = Some(unlocking);
            return self.send(Ask::Unlock, command);
        }
        match unlocking.outcome() {
            Ok(()) => {
                self.tell_notice("the FCC lock is lifted, until the modem starts anew".into());
                self.lock = Lock::None;
            }
            Err(why) => self.tell_notice(format!("the FCC lock is not lifted: {why}")),
        }
        // The rung is tried anew, and the lock is not asked about again.
        self.missing = 0;
        self.tries = 0;
        self.entered = now;
        self.poll_at = Some(now + Duration::from_millis(500));
    }

    pub(super) fn unlock_answered(&mut self, now: Instant, outcome: &Outcome) {
        if let Some(unlocking) = &mut self.unlocking {
            unlocking.answered(match outcome {
                Outcome::Done { status, info } => Some((*status, info)),
                Outcome::Refused(_) | Outcome::NoAnswer => None,
            });
        }
        self.unlock(now);
    }

    /// Fails the rung of the radio, or keeps waiting where the lock is unknown to the modem and the
    /// radio may still follow.
    fn radio_refused(&mut self, now: Instant) {
        if matches!(self.lock, Lock::Locked { .. }) {
            let failure = self.locked_failure("the radio stays off");
            return self.fail(now, failure, Rung::Radio);
        }
        let possible = matches!(self.lock, Lock::Possible { .. });
        if let Some(refusal) = self.radio_refusal.take() {
            let failure = if possible {
                self.maybe_locked(refusal)
            } else {
                refusal
            };
            return self.fail(now, failure, Rung::Radio);
        }
        let waited = now.duration_since(self.entered).as_secs();
        let failure = if possible {
            self.maybe_locked(explain::radio_does_not_follow(waited))
        } else {
            explain::radio_off(waited, self.quirk, self.unlock_tried)
        };
        let text = "the radio, which was switched on";
        self.wait(now, RADIO_PATIENCE, text, failure, Rung::Radio);
    }

    /// Returns the failure of a bring-up that ends on this rung, with the steps against an FCC lock
    /// where a lock may keep it there.
    pub(crate) fn explained_by_lock(&self, failure: Failure) -> Failure {
        match self.lock {
            _ if self.rung > Rung::Radio => failure,
            Lock::Locked { .. } => {
                let locked = self.locked_failure(&failure.what);
                failure.why.into_iter().fold(locked, Failure::because)
            }
            Lock::Possible { .. } => self.maybe_locked(failure),
            Lock::Unknown | Lock::None => failure,
        }
    }

    fn locked_failure(&self, what: &str) -> Failure {
        explain::fcc_locked(self.rung, what, self.quirk, self.unlock_tried)
    }

    fn maybe_locked(&self, failure: Failure) -> Failure {
        explain::maybe_fcc_locked(failure, self.quirk, self.unlock_tried)
    }
}
