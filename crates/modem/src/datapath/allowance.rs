//! The number of transfers of one direction where the kernel's memory for them is scarce.
//!
//! The memory is shared by both directions and by other devices, so a refusal may hold for a moment
//! only. Therefore:
//!
//! * A refusal lowers the number by a quarter at most, and never below the number in flight.
//! * Further refusals count only once all transfers that were in flight at the last one have ended. A
//!   backend may refuse everything meanwhile, as nusb's queue does behind a transfer that the kernel has
//!   refused.
//! * Transfers that were given up are tried again after [`Allowance::RETRY`], a quarter at a time, and
//!   after twice that time when they were refused again, up to [`Allowance::LONGEST_RETRY`].

use std::time::{Duration, Instant};

/// Number of transfers that one direction may have.
#[derive(Debug)]
pub(super) struct Allowance {
    /// Number of transfers that are wanted.
    wanted: usize,
    /// Number of transfers that are allowed, at least 1 and at most `wanted`.
    limit: usize,
    /// Number of transfers that have to end before a refusal counts again.
    turnover: usize,
    /// Time at which more transfers are tried; `None` when all that are wanted are allowed.
    retry_at: Option<Instant>,
    /// Time between the next refusal and the next try.
    patience: Duration,
}

impl Allowance {
    /// Time after which transfers that were given up are tried again.
    const RETRY: Duration = Duration::from_secs(1);
    /// Longest time after which transfers that were given up are tried again.
    const LONGEST_RETRY: Duration = Duration::from_secs(64);

    /// Allows `wanted` transfers, at least one.
    pub(super) fn new(wanted: usize) -> Self {
        let wanted = wanted.max(1);
        Self {
            wanted,
            limit: wanted,
            turnover: 0,
            retry_at: None,
            patience: Self::RETRY,
        }
    }

    /// Returns the number of transfers that are allowed.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Records that a transfer has ended.
    pub(super) fn ended(&mut self) {
        self.turnover = self.turnover.saturating_sub(1);
    }

    /// Records that the kernel has refused a transfer while `in_flight` others were in flight. This
    /// may lower the limit.
    pub(super) fn refused(&mut self, now: Instant, in_flight: usize) {
        if self.turnover > 0 {
            return;
        }
        self.turnover = in_flight;
        let less = self.limit - self.limit.div_ceil(4);
        self.lower(now, less.max(in_flight).min(self.limit - 1));
    }

    /// Lowers the limit to `limit`, or to 1. Does nothing where it is as low already.
    pub(super) fn lower(&mut self, now: Instant, limit: usize) {
        self.limit = limit.clamp(1, self.limit);
        if self.limit < self.wanted {
            self.retry_at = Some(now + self.patience);
            self.patience = (self.patience * 2).min(Self::LONGEST_RETRY);
        }
    }

    /// Raises the limit if it is time to try more. Returns whether it was raised.
    pub(super) fn raise(&mut self, now: Instant) -> bool {
        if self.turnover > 0 || self.retry_at.take_if(|at| now >= *at).is_none() {
            return false;
        }
        if self.limit >= self.wanted {
            self.patience = Self::RETRY;
            return false;
        }
        self.limit = self.wanted.min(self.limit + self.limit.div_ceil(4));
        // The next try is set although all are allowed: by then it shows whether they were
        // accepted.
        self.retry_at = Some(now + Self::RETRY);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// A kernel with memory for so many transfers, and a queue that refuses everything behind a
    /// transfer that was refused, until that one is the only one.
    struct Queue {
        memory: usize,
        /// Whether each transfer in the queue was accepted, the oldest at the front.
        slots: VecDeque<bool>,
        sticky: bool,
    }

    impl Queue {
        fn accepted(&self) -> usize {
            self.slots.iter().filter(|accepted| **accepted).count()
        }

        fn submit(&mut self) -> bool {
            if self.slots.back() == Some(&false) {
                return false;
            }
            let fits = self.accepted() < self.memory;
            if fits || self.sticky {
                self.slots.push_back(fits);
            }
            fits || self.sticky
        }

        fn complete(&mut self) {
            self.slots.pop_front();
            if self.slots.front() == Some(&false) {
                self.slots[0] = true;
            }
        }
    }

    /// Submits the allowed transfers, lets one end, and so on for some rounds of `step` each.
    /// Returns the lowest limit, and how often more transfers were tried.
    fn run(
        allowance: &mut Allowance,
        queue: &mut Queue,
        now: &mut Instant,
        step: Duration,
        rounds: usize,
    ) -> (usize, usize) {
        let (mut least, mut raises) = (usize::MAX, 0);
        for _ in 0..rounds {
            raises += usize::from(allowance.raise(*now));
            while queue.slots.len() < allowance.limit() {
                if !queue.submit() {
                    allowance.refused(*now, queue.slots.len());
                    break;
                }
            }
            least = least.min(allowance.limit());
            queue.complete();
            allowance.ended();
            *now += step;
        }
        (least, raises)
    }

    proptest! {
        // Each case runs thousands of rounds.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_finds_what_fits_and_takes_back_what_was_given_up(
            wanted in 1_usize..100,
            memory in 1_usize..100,
            sticky: bool,
        ) {
            let mut now = Instant::now();
            let mut allowance = Allowance::new(wanted);
            let mut queue = Queue { memory, slots: VecDeque::new(), sticky };
            let step = Duration::from_micros(100);
            let fits = memory.min(wanted);
            let (least, _) = run(&mut allowance, &mut queue, &mut now, step, 2000);
            // The transfers that fit are in flight, and a refused one with them.
            prop_assert!(least >= fits, "{least} of {fits}");
            prop_assert!(allowance.limit() <= fits + 1, "{} of {fits}", allowance.limit());
            queue.memory = wanted;
            run(&mut allowance, &mut queue, &mut now, Duration::from_millis(100), 4000);
            prop_assert_eq!(allowance.limit(), wanted);
        }

        #[test]
        fn a_moment_without_memory_costs_a_quarter(wanted in 2_usize..100, sticky: bool) {
            let mut now = Instant::now();
            let mut allowance = Allowance::new(wanted);
            let mut queue = Queue { memory: wanted, slots: VecDeque::new(), sticky };
            let step = Duration::from_micros(100);
            run(&mut allowance, &mut queue, &mut now, step, 10);
            queue.memory = 1;
            run(&mut allowance, &mut queue, &mut now, step, 1);
            queue.memory = wanted;
            run(&mut allowance, &mut queue, &mut now, step, 3 * wanted);
            prop_assert!(allowance.limit() >= wanted - wanted.div_ceil(4), "{}", allowance.limit());
        }

        #[test]
        fn the_limit_stays_in_its_range_and_refusals_are_asked_for_ever_more_rarely(
            wanted in 0_usize..40,
            events in prop::collection::vec((0_u8..4, 0_usize..80, 0_u64..200_000), 0..200),
        ) {
            let mut now = Instant::now();
            let mut allowance = Allowance::new(wanted);
            for (event, count, milliseconds) in events {
                now += Duration::from_millis(milliseconds);
                match event {
                    0 => allowance.ended(),
                    1 => allowance.refused(now, count),
                    2 => allowance.lower(now, count),
                    _ => {
                        let before = allowance.limit();
                        let raised = allowance.raise(now);
                        prop_assert_eq!(raised, allowance.limit() > before);
                    }
                }
                prop_assert!((1..=wanted.max(1)).contains(&allowance.limit()));
            }
        }

        #[test]
        fn memory_that_stays_scarce_is_seldom_asked_for(memory in 1_usize..20, sticky: bool) {
            let mut now = Instant::now();
            let mut allowance = Allowance::new(64);
            let mut queue = Queue { memory, slots: VecDeque::new(), sticky };
            run(&mut allowance, &mut queue, &mut now, Duration::from_micros(100), 4000);
            let step = Duration::from_millis(100);
            let (_, raises) = run(&mut allowance, &mut queue, &mut now, step, 6000);
            // The rounds span ten minutes.
            prop_assert!((1..30).contains(&raises), "{raises}");
        }
    }
}
