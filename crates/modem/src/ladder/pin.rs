//! The rung of the PIN. A PIN is entered at most once per SIM and PIN, and never on the SIM's last
//! attempt unless forced. [`PinMemory`](crate::pin_memory::PinMemory) records which PINs were
//! entered.

use std::time::{Duration, Instant};

use uwwan_mbim::services::basic_connect::{PinInfo, PinState, PinType};
use uwwan_mbim::status::Status;

use super::{Action, Ask, Ladder, Outcome, PATIENCE, STARTING, ask, passes};
use crate::explain;
use crate::failure::{FailureKind, Rung};
use crate::pin_memory::{self, PinHistory, UNKNOWN_ATTEMPTS, not_tried};

impl Ladder {
    fn sim_name(&self) -> String {
        if self.sim_id.is_empty() {
            self.slot.clone()
        } else {
            self.sim_id.clone()
        }
    }

    pub(super) fn pin_state(&mut self, now: Instant, outcome: Outcome) {
        let Outcome::Done { status, info } = outcome else {
            return self.unanswered_ask(now, Ask::PinState, outcome);
        };
        let pin = match pin_memory::pin_state(status, &info) {
            Some(Ok(pin)) => pin,
            None if passes(status) => {
                let failure = explain::status(Rung::Pin, Ask::PinState.name(), status, None);
                return self.wait(now, PATIENCE, STARTING, failure, Rung::Sim);
            }
            None => {
                let failure = explain::status(Rung::Pin, Ask::PinState.name(), status, None);
                return self.fail(now, failure, Rung::Sim);
            }
            Some(Err(error)) => {
                let failure = explain::bad_answer(Rung::Pin, Ask::PinState.name(), &error);
                return self.fail(now, failure, Rung::Sim);
            }
        };
        if pin.pin_state == PinState::UNLOCKED {
            return self.unlocked(now);
        }
        if pin.pin_type != PinType::PIN1 {
            return self.other_lock(now, pin.pin_type);
        }
        let remaining = pin.remaining_attempts;
        let remaining_text = attempts_remaining(remaining);
        let told = (remaining != UNKNOWN_ATTEMPTS).then_some(remaining);
        let refusal = |what: String, cause: &str, next: &str| {
            explain::failure(Rung::Pin, true, what, cause, next)
        };
        if let Some(sent) = self.pin_sent.clone() {
            self.pins.refused(&sent);
            self.remember();
            let failure = refusal(
                format!("the SIM is still locked after its PIN was entered{remaining_text}"),
                "the PIN is likely wrong",
                "correct the PIN file; this PIN is not entered again",
            );
            return self.fail(now, failure, Rung::Sim);
        }
        let given = match self.options.pin.reveal() {
            Ok(given) => given,
            Err(failure) => {
                return self.fail(now, explain::secret(Rung::Pin, failure), Rung::Sim);
            }
        };
        let mark = self.pins.mark(&self.sim_name(), &given);
        let past = self.pins.past(&mark, told);
        let failure = if given.is_empty() {
            refusal(
                format!("the SIM waits for its PIN{remaining_text}"),
                "no PIN was given",
                "write it to a file only you can read and give that with --pin-file, or turn the PIN off \
                 in a phone",
            )
        } else if past == PinHistory::RefusedHere {
            refusal(
                format!(
                    "the SIM waits for its PIN{remaining_text}; the one given was refused before"
                ),
                "the PIN in the file is wrong",
                "correct the PIN file; this PIN is not entered again",
            )
        } else if past == PinHistory::RefusedBefore && !self.options.force_pin {
            refusal(
                format!(
                    "the SIM waits for its PIN{remaining_text}; the one given was refused on an earlier run"
                ),
                "the PIN in the file is wrong, unless the SIM's has been changed since",
                "correct the PIN file; to enter this PIN once more give --force-pin",
            )
        } else if remaining <= 1 && !self.options.force_pin {
            refusal(
                format!("the SIM waits for its PIN and has {remaining} attempt(s) remaining"),
                "wrong PINs were entered before; one more wrong one and the SIM asks for its PUK",
                "enter the PIN in a phone, or make sure it is right and give --force-pin",
            )
        } else {
            self.pins.sending(&mark, told);
            self.pin_sent = Some(mark);
            self.remember();
            let command = ask::enter_pin(&given, PinType::PIN1);
            return self.send(Ask::PinEnter, command);
        };
        self.fail(now, failure, Rung::Sim);
    }

    /// Handles a memory of PINs that could not be read or stored, for the reason `why`. Unless
    /// forced, a PIN that was about to be sent is not sent: a refusal by the SIM would be
    /// forgotten, and each run would cost an attempt.
    pub fn not_remembered(&mut self, now: Instant, why: &str) {
        let about_to_send = self.actions.iter().any(is_pin_entry);
        if self.options.force_pin || !about_to_send {
            return;
        }
        self.actions.retain(|action| !is_pin_entry(action));
        if let Some(sent) = self.pin_sent.take() {
            self.pins.forget(&sent);
        }
        let failure = explain::failure(
            Rung::Pin,
            true,
            "the SIM waits for its PIN, which was not sent".into(),
            &format!("whether the SIM refuses it cannot be remembered: {why}"),
            "mend that, or name another directory with UWWAN_STATE_DIR; \
             to enter the PIN all the same give --force-pin",
        )
        .of(FailureKind::Host);
        self.fail(now, failure, Rung::Sim);
    }

    fn other_lock(&mut self, now: Instant, kind: PinType) {
        let (cause, next) = match kind {
            PinType::PUK1 | PinType::PUK2 => (
                "too many wrong PINs were entered",
                "enter the PUK that came with the SIM in a phone",
            ),
            PinType::NETWORK_PIN
            | PinType::NETWORK_SUBSET_PIN
            | PinType::SERVICE_PROVIDER_PIN
            | PinType::CORPORATE_PIN
            | PinType::SUBSIDY_PIN => (
                "the modem is locked to another operator's SIMs",
                "use that operator's SIM, or ask who sold the modem for the unlock code",
            ),
            _ => (
                "the device asks for a code of its own",
                "ask who sold the device for it",
            ),
        };
        let failure = explain::failure(
            Rung::Pin,
            true,
            format!("the device is locked: {kind}"),
            cause,
            next,
        );
        self.fail(now, failure, Rung::Sim);
    }

    pub(super) fn pin_entered(&mut self, now: Instant, outcome: Outcome) {
        match outcome {
            Outcome::Done { status, info } if status.is_success() => {
                let locked =
                    PinInfo::decode(&info).is_ok_and(|pin| pin.pin_state == PinState::LOCKED);
                if locked {
                    self.ask(Ask::PinState);
                } else {
                    self.unlocked(now);
                }
            }
            // The SIM has not counted an attempt.
            Outcome::Done { status, .. } if not_tried(status) => {
                self.forget_pin();
                let mut failure = explain::status(Rung::Pin, "PIN enter", status, None);
                if passes(status) {
                    self.pin_sent = None;
                    return self.wait(now, PATIENCE, STARTING, failure, Rung::Sim);
                }
                if status == Status::PIN_DISABLED {
                    failure.why = vec!["the SIM does not use a PIN".to_owned()];
                    failure.next = vec!["leave out --pin-file".to_owned()];
                    failure.fatal = true;
                }
                self.fail(now, failure, Rung::Sim);
            }
            Outcome::Done { status, info } => {
                if let Some(sent) = &self.pin_sent {
                    self.pins.refused(sent);
                }
                self.remember();
                let remaining =
                    PinInfo::decode(&info).map_or(UNKNOWN_ATTEMPTS, |pin| pin.remaining_attempts);
                let failure = explain::failure(
                    Rung::Pin,
                    true,
                    format!("wrong PIN{}", attempts_remaining(remaining)),
                    &format!("the SIM refused it: {}", status.name()),
                    "correct the PIN file; this PIN is not entered again",
                );
                self.fail(now, failure, Rung::Sim);
            }
            // Whether the SIM has counted an attempt is not known, so its state is queried in place
            // of another PIN.
            Outcome::Refused(_) | Outcome::NoAnswer => self.ask(Ask::PinState),
        }
    }

    /// Removes the PIN from the memory, because the SIM has accepted it or has not counted an
    /// attempt.
    fn forget_pin(&mut self) {
        if let Some(sent) = &self.pin_sent {
            self.pins.forget(sent);
        }
        self.remember();
    }

    /// Asks for the memory to be stored before any later action.
    fn remember(&mut self) {
        self.actions.push_back(Action::Remember(self.pins.clone()));
    }

    /// Waits for the unlocked SIM to become ready if a PIN was entered; otherwise the rung is
    /// reached.
    fn unlocked(&mut self, now: Instant) {
        self.sim_locked = false;
        if self.pin_sent.is_some() {
            self.forget_pin();
            self.expects = None;
            self.poll_at = Some(now + Duration::from_millis(500));
            self.deadline = Some(now + Duration::from_secs(30));
        } else {
            self.done(now, "unlocked".into());
        }
    }

    /// Reaches the rung when the SIM has become ready after its PIN.
    pub(super) fn ready_after_pin(&mut self, now: Instant) {
        self.actions.retain(|action| {
            !matches!(
                action,
                Action::Command {
                    ask: Ask::Subscriber,
                    ..
                }
            )
        });
        if self.pin_sent.is_some() {
            self.forget_pin();
        }
        self.done(now, "entered".into());
    }
}

fn is_pin_entry(action: &Action) -> bool {
    matches!(
        action,
        Action::Command {
            ask: Ask::PinEnter,
            ..
        }
    )
}

fn attempts_remaining(remaining: u32) -> String {
    match remaining {
        UNKNOWN_ATTEMPTS => String::new(),
        1 => ", 1 attempt remaining".into(),
        many => format!(", {many} attempts remaining"),
    }
}
