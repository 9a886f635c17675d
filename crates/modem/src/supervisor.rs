//! Decides after a failure or a loss whether, when and from which rung to try again.
//!
//! Before the modem has been online once, a user waits for a first success: failures that
//! repetition will not cure end it at once, others after a few tries. After that other programs
//! rely on it: it is tried for ever, ever more slowly. Either way a PIN that was refused is not
//! entered again; [`PinMemory`](crate::pin_memory::PinMemory) ensures that.

use std::time::Duration;

use crate::failure::{Failure, Rung};
use crate::options::Options;

/// The verdict on a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The modem is started again from this rung after a pause.
    Retry {
        /// Length of the pause.
        after: Duration,
        /// Rung to start from.
        from: Rung,
    },
    /// No further try is made.
    GiveUp,
}

/// Counts failures and decides whether, when and from where to try again.
#[derive(Debug, Clone, Default)]
pub struct Supervisor {
    persist: bool,
    wait_for_device: bool,
    ever_online: bool,
    /// Number of failures since the last success, those of an absent device not counted.
    failures: u32,
    /// Whether the device was present and has left since the start.
    left: bool,
    /// Number of searches that found no device, since it was last present.
    looks: u32,
    /// Number of times the device has left before the first success.
    departures: u32,
}

impl Supervisor {
    /// Number of tries before the first success.
    pub const FIRST_TRIES: u32 = 3;
    const FIRST_PAUSE: Duration = Duration::from_secs(1);
    const LONGEST_PAUSE: Duration = Duration::from_secs(60);
    /// Pause between searches for an absent device.
    pub const LOOK: Duration = Duration::from_millis(500);
    /// Time for which a device that left before the first success is looked for: firmware that
    /// resets itself is back after 20 s, and slower firmware after a minute.
    pub const RETURN: Duration = Duration::from_secs(90);

    /// Makes a supervisor for these options.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self {
            persist: options.persist,
            wait_for_device: options.wait_for_device,
            ..Self::default()
        }
    }

    /// Records that the modem is online: failures count from zero again.
    pub fn online(&mut self) {
        self.ever_online = true;
        self.failures = 0;
        self.looks = 0;
    }

    /// Decides after a rung failed; `from` is the rung from which the ladder would start.
    pub fn failed(&mut self, failure: &Failure, from: Rung, absent: bool) -> Verdict {
        let patient = self.ever_online || self.persist;
        if absent {
            // A device that resets itself is absent for a while, which is no failure of its own.
            self.looks = self.looks.saturating_add(1);
            let returns = self.is_away() && Self::LOOK * self.looks < Self::RETURN;
            return if patient || self.wait_for_device || returns {
                Verdict::Retry {
                    after: Self::LOOK,
                    from: Rung::Found,
                }
            } else {
                Verdict::GiveUp
            };
        }
        self.failures += 1;
        self.looks = 0;
        if !patient && (failure.fatal || self.failures >= Self::FIRST_TRIES) {
            return Verdict::GiveUp;
        }
        // The same rung has failed again and again, so the bring-up starts over from the bus.
        let from = if self.failures.is_multiple_of(3) {
            Rung::Found
        } else {
            from
        };
        Verdict::Retry {
            after: self.pause(),
            from,
        }
    }

    /// Returns whether an absent device has been present since the start.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.left || self.failures > 0
    }

    /// Decides after the modem was lost, during the bring-up or while online.
    #[must_use]
    pub fn lost(&mut self, from: Rung) -> Verdict {
        let leaves = from == Rung::Found;
        self.left |= leaves;
        self.looks = 0;
        if leaves && !self.ever_online && !self.persist {
            self.departures += 1;
            if self.departures >= Self::FIRST_TRIES {
                return Verdict::GiveUp;
            }
        }
        let after = if from <= Rung::Open {
            Self::LOOK
        } else {
            Duration::ZERO
        };
        Verdict::Retry { after, from }
    }

    /// Returns the pause before the next try, which doubles with each failure: 1 s, 2 s, 4 s … 60
    /// s.
    fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(6);
        (Self::FIRST_PAUSE * 2u32.pow(doublings)).min(Self::LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;

    fn failure(fatal: bool) -> Failure {
        Failure {
            fatal,
            ..Failure::new(FailureKind::Refused, "").at(Rung::Connect)
        }
    }

    fn retry(seconds: u64, from: Rung) -> Verdict {
        Verdict::Retry {
            after: Duration::from_secs(seconds),
            from,
        }
    }

    #[test]
    fn before_the_first_success_it_gives_up_soon() {
        let mut supervisor = Supervisor::default();
        assert_eq!(
            supervisor.failed(&failure(true), Rung::Connect, false),
            Verdict::GiveUp
        );
        let mut supervisor = Supervisor::default();
        assert_eq!(
            supervisor.failed(&failure(false), Rung::Connect, false),
            retry(1, Rung::Connect)
        );
        assert_eq!(
            supervisor.failed(&failure(false), Rung::Connect, false),
            retry(2, Rung::Connect)
        );
        assert_eq!(
            supervisor.failed(&failure(false), Rung::Connect, false),
            Verdict::GiveUp
        );
        assert_eq!(
            Supervisor::default().failed(&failure(false), Rung::Found, true),
            Verdict::GiveUp
        );
    }

    #[test]
    fn afterwards_it_goes_on_ever_more_slowly() {
        let mut supervisor = Supervisor::default();
        supervisor.online();
        let mut pauses = Vec::new();
        let mut from_the_bus = 0;
        for _ in 0..12 {
            let Verdict::Retry { after, from } =
                supervisor.failed(&failure(true), Rung::Connect, false)
            else {
                panic!("gave up");
            };
            pauses.push(after.as_secs());
            from_the_bus += u32::from(from == Rung::Found);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]);
        assert_eq!(from_the_bus, 4);
        supervisor.online();
        assert_eq!(
            supervisor.failed(&failure(false), Rung::Open, false),
            retry(1, Rung::Open)
        );
        let absent = supervisor.failed(&failure(false), Rung::Found, true);
        assert_eq!(
            absent,
            Verdict::Retry {
                after: Supervisor::LOOK,
                from: Rung::Found
            }
        );
        assert_eq!(
            supervisor.lost(Rung::Registration),
            retry(0, Rung::Registration)
        );
    }

    #[test]
    fn a_device_that_resets_during_the_first_try_is_waited_for() {
        let mut supervisor = Supervisor::default();
        supervisor.failed(&failure(false), Rung::Found, false);
        let absent = supervisor.failed(&failure(false), Rung::Found, true);
        assert_eq!(
            absent,
            Verdict::Retry {
                after: Supervisor::LOOK,
                from: Rung::Found
            }
        );
    }

    #[test]
    fn a_device_that_leaves_in_every_first_try_is_given_up() {
        let patient = Supervisor {
            persist: true,
            ..Supervisor::default()
        };
        for (mut supervisor, ends) in [(Supervisor::default(), true), (patient, false)] {
            for _ in 1..Supervisor::FIRST_TRIES {
                assert_ne!(supervisor.lost(Rung::Found), Verdict::GiveUp);
            }
            // Losses at other rungs do not show that the device keeps leaving.
            assert_ne!(supervisor.clone().lost(Rung::Open), Verdict::GiveUp);
            assert_eq!(supervisor.lost(Rung::Found) == Verdict::GiveUp, ends);
        }
    }

    #[test]
    fn a_device_that_leaves_during_the_first_try_is_waited_for_and_not_for_ever() {
        let mut supervisor = Supervisor::default();
        let absent =
            |supervisor: &mut Supervisor| supervisor.failed(&failure(false), Rung::Found, true);
        assert_eq!(absent(&mut supervisor.clone()), Verdict::GiveUp);
        for _ in 0..2 {
            let _ = supervisor.lost(Rung::Found);
            assert!(supervisor.is_away());
            let mut waited = Duration::ZERO;
            while let Verdict::Retry { after, from } = absent(&mut supervisor) {
                assert_eq!(from, Rung::Found);
                waited += after;
                assert!(waited < Supervisor::RETURN);
            }
            assert_eq!(waited + Supervisor::LOOK, Supervisor::RETURN);
        }
        // A modem that was online once is tried for ever.
        supervisor.online();
        let _ = supervisor.lost(Rung::Found);
        for _ in 0..1000 {
            assert_ne!(absent(&mut supervisor), Verdict::GiveUp);
        }
    }
}
