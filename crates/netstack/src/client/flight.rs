//! Bounds the bytes that a stream has in flight by the time for which they wait, so that an upload
//! leaves the link usable for other flows.
//!
//! A modem accepts what it is given long before the radio link can send it (a megabyte, which is
//! 170 ms at 50 Mbit/s), and loses nothing, so congestion control by loss fills all of its queue.
//! Every other flow on the link then waits behind it. Here the time from the write of a byte to its
//! acknowledgement is compared with the least such time, the base, as LEDBAT (RFC 6817) and HyStart
//! (RFC 9406) do:
//!
//! - Only the least time of each round counts, so that late threads and jitter are not taken for a
//!   queue.
//! - As long as that time is not more than the base and [`target`], the bound rises: up to twice
//!   its value until half of the target is seen for the first time, and by up to a quarter from
//!   then on.
//! - A round whose least time is longer lowers the bound in proportion, to half at most.
//! - Every ten seconds all streams of a stack halve their bounds for a round ([`Drains`]), so that
//!   their queue drains and the base is measured anew. A stream whose bound is at its least asks
//!   for that at once, because the path may have become longer, or another stream may have taken a
//!   queue for its base.
//!
//! Losses are handled by the congestion control of the stack.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Number of bytes that may be in flight before any time was measured.
const FIRST: usize = 128 << 10;
/// Least number of bytes that may be in flight.
const LEAST: usize = 32 << 10;
/// Largest number of free bytes for which a writer waits.
const PIECE: usize = 64 << 10;
/// Number of pieces into which the bound is divided, and so of samples in one round trip.
const PIECES: usize = 8;
/// Least number of samples in a round, and the least duration of a round.
const ROUND: (usize, Duration) = (4, Duration::from_millis(20));
/// Largest number of writes whose acknowledgement is awaited.
const MARKS: usize = 64;
/// Time between two drains, and the least time between them when a stream asks for one.
const BETWEEN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(2));

/// Returns the time for which packets may wait in queues, where the round trip without queues takes
/// `base`.
fn target(base: Duration) -> Duration {
    base.clamp(Duration::from_millis(2), Duration::from_millis(30))
}

/// Rounds in which all streams of a stack let their queue drain.
#[derive(Debug)]
pub(super) struct Drains {
    number: u64,
    last: Instant,
    /// Whether a stream has asked for a drain.
    asked: bool,
}

impl Drains {
    /// Makes the drains of a stack that starts at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            number: 0,
            last: now,
            asked: false,
        }
    }

    /// Returns the number of drains until `now`.
    fn number(&mut self, now: Instant) -> u64 {
        let (most, least) = BETWEEN;
        let since = now.saturating_duration_since(self.last);
        if since >= most || (self.asked && since >= least) {
            self.number += 1;
            self.last = now;
            self.asked = false;
        }
        self.number
    }
}

/// State of the bytes that a stream has written and its peer has not acknowledged, and the bound on
/// them.
#[derive(Debug)]
pub(super) struct Flight {
    /// Size of the send buffer in bytes.
    most: usize,
    limit: usize,
    /// Number of bytes written so far.
    written: u64,
    /// Position of the first byte of each write that is not acknowledged, and the time of the
    /// write.
    marks: VecDeque<(u64, Instant)>,
    /// Least time from a write to its acknowledgement since the last drain.
    base: Duration,
    round: Round,
    /// Number of the last drain.
    drain: u64,
    /// Whether no queue has been seen yet.
    starting: bool,
    /// Whether the current round is one that drains the queue.
    draining: bool,
}

/// Measurements since the bound was set.
#[derive(Debug)]
struct Round {
    begun: Instant,
    /// Position from which on acknowledgements of writes count for this round.
    from: u64,
    samples: usize,
    least: Duration,
    /// Whether the bound has held a write back.
    limited: bool,
}

impl Round {
    fn new(begun: Instant, from: u64) -> Self {
        Self {
            begun,
            from,
            samples: 0,
            least: Duration::MAX,
            limited: false,
        }
    }
}

impl Flight {
    /// Makes the bound for a send buffer of `most` bytes, where opening the connection has taken
    /// the time `trip`.
    pub(super) fn new(most: usize, trip: Duration, now: Instant, drains: &mut Drains) -> Self {
        Self {
            most,
            limit: FIRST.min(most),
            written: 0,
            marks: VecDeque::new(),
            base: trip,
            round: Round::new(now, 0),
            drain: drains.number(now),
            starting: true,
            draining: false,
        }
    }

    /// Returns the number of bytes that may be in flight.
    fn bound(&self) -> usize {
        if self.draining {
            (self.limit / 2).max(LEAST).min(self.most)
        } else {
            self.limit
        }
    }

    /// Returns how many bytes may be written while `queued` bytes are not acknowledged. It is 0
    /// until there is room for a piece that is worth a write.
    pub(super) fn room(&mut self, queued: usize, now: Instant, drains: &mut Drains) -> usize {
        self.acknowledged(queued, now, drains);
        let drain = drains.number(now);
        if self.drain != drain {
            self.drain = drain;
            self.draining = true;
            self.round = Round::new(now, self.written);
        }
        let bound = self.bound();
        let room = bound.saturating_sub(queued);
        if queued > 0 && room < (bound / PIECES).min(PIECE) {
            self.round.limited = true;
            return 0;
        }
        room
    }

    /// Notes that `length` bytes have been written.
    pub(super) fn wrote(&mut self, length: usize, now: Instant) {
        if self.marks.len() < MARKS {
            self.marks.push_back((self.written, now));
        }
        self.written += length as u64;
    }

    /// Takes note of acknowledgements, after which `queued` bytes are not acknowledged.
    fn acknowledged(&mut self, queued: usize, now: Instant, drains: &mut Drains) {
        let reached = self.written.saturating_sub(queued as u64);
        while let Some(&(position, at)) = self.marks.front() {
            if position >= reached {
                break;
            }
            self.marks.pop_front();
            if position < self.round.from {
                continue;
            }
            let time = now.saturating_duration_since(at);
            self.round.samples += 1;
            self.round.least = self.round.least.min(time);
        }
        let long = now.saturating_duration_since(self.round.begun) >= ROUND.1;
        if self.round.samples >= ROUND.0 && long {
            self.end_round(now, drains);
        }
    }

    fn end_round(&mut self, now: Instant, drains: &mut Drains) {
        let next = Round::new(now, self.written);
        let round = std::mem::replace(&mut self.round, next);
        if std::mem::take(&mut self.draining) {
            self.base = round.least;
            return;
        }
        self.base = self.base.min(round.least);
        self.adapt(&round);
        let waits = round.least.saturating_sub(self.base);
        if self.limit == LEAST && waits > target(self.base) {
            drains.asked = true;
        }
    }

    fn adapt(&mut self, round: &Round) {
        let base = self.base;
        let target = target(base);
        let waits = round.least.saturating_sub(base);
        let share = |of: usize, part: Duration, whole: Duration| {
            let share = of as u128 * part.as_nanos() / whole.as_nanos().max(1);
            usize::try_from(share).unwrap_or(of)
        };
        if waits > target {
            self.starting = false;
            let fitting = share(self.limit, base + target, round.least);
            self.limit = fitting.max(self.limit / 2);
        } else if round.limited && self.starting && waits < target / 2 {
            self.limit = self.limit.saturating_mul(2);
        } else if round.limited {
            self.starting = false;
            self.limit += share(self.limit / 4, target - waits, target);
        }
        self.limit = self.limit.max(LEAST).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A link that sends at a rate, behind a queue without bound, with a delay in each direction.
    struct Path {
        /// Rate in bytes a second.
        rate: f64,
        trip: Duration,
        /// Time by which an acknowledgement is delayed further at most.
        jitter: Duration,
        free: f64,
        now: f64,
        /// Time at which each write is acknowledged, and its length in bytes.
        flying: VecDeque<(f64, usize)>,
        queued: usize,
        /// Number of bytes acknowledged.
        done: usize,
        random: u64,
    }

    impl Path {
        fn new(rate: f64, trip: Duration, jitter: Duration) -> Self {
            Self {
                rate,
                trip,
                jitter,
                free: 0.0,
                now: 0.0,
                flying: VecDeque::new(),
                queued: 0,
                done: 0,
                random: 1,
            }
        }

        fn late(&mut self) -> f64 {
            self.random = self
                .random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (self.random >> 33) as f64 / (1u64 << 31) as f64 * self.jitter.as_secs_f64()
        }

        /// Writes as much as there is room for, for a number of seconds. Returns the share of the
        /// link that was used, and the longest time that a packet waits in the queue in the second
        /// half.
        fn run(
            &mut self,
            flight: &mut Flight,
            drains: &mut Drains,
            start: Instant,
            seconds: f64,
        ) -> (f64, f64) {
            let (until, before) = (self.now + seconds, self.done);
            let mut waits: f64 = 0.0;
            while self.now < until {
                while self.flying.front().is_some_and(|(at, _)| *at <= self.now) {
                    let (_, length) = self.flying.pop_front().unwrap();
                    self.queued -= length;
                    self.done += length;
                }
                let now = start + Duration::from_secs_f64(self.now);
                let room = flight.room(self.queued, now, drains);
                if room > 0 {
                    flight.wrote(room, now);
                    self.queued += room;
                    let mut left = room;
                    while left > 0 {
                        let length = left.min(1460);
                        left -= length;
                        self.free = self.free.max(self.now) + length as f64 / self.rate;
                        let at = self.free + self.trip.as_secs_f64() + self.late();
                        let at = self.flying.back().map_or(at, |(last, _)| at.max(*last));
                        self.flying.push_back((at, length));
                    }
                }
                if self.now > until - seconds / 2.0 {
                    waits = waits.max(self.free - self.now);
                }
                self.now = self
                    .flying
                    .front()
                    .map_or(until, |(at, _)| at.max(self.now + 1e-5));
            }
            let used = (self.done - before) as f64 / (self.rate * seconds);
            (used, waits)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_link_is_used_and_its_queue_is_short(
            megabits in 2_u32..100,
            trip in 10_u64..80,
            jitter in 0_u64..4,
        ) {
            let start = Instant::now();
            let rate = f64::from(megabits) * 1e6 / 8.0;
            let trip = Duration::from_millis(trip);
            let mut path = Path::new(rate, trip, Duration::from_millis(jitter));
            let mut drains = Drains::new(start);
            let opened = trip + Duration::from_millis(jitter);
            let mut flight = Flight::new(4 << 20, opened, start, &mut drains);
            path.run(&mut flight, &mut drains, start, 3.0);
            let (used, waits) = path.run(&mut flight, &mut drains, start, 30.0);
            prop_assert!(used > 0.9, "{used} of {megabits} Mbit/s, {trip:?}");
            // The bound is the queue that is aimed at, what a round adds before it is seen, and the
            // least number of bytes in flight.
            let most = target(trip).as_secs_f64() * 2.0 + (LEAST as f64 / rate) + 0.01;
            prop_assert!(waits < most, "{waits} s wait, not {most}: {megabits} Mbit/s, {trip:?}");
        }
    }

    #[test]
    fn a_way_that_has_become_longer_is_used_again() {
        let start = Instant::now();
        let mut drains = Drains::new(start);
        let mut path = Path::new(6e6, Duration::from_millis(20), Duration::ZERO);
        let mut flight = Flight::new(2 << 20, Duration::from_millis(20), start, &mut drains);
        let (used, _) = path.run(&mut flight, &mut drains, start, 5.0);
        assert!(used > 0.9, "{used}");
        path.trip = Duration::from_millis(100);
        path.run(&mut flight, &mut drains, start, 5.0);
        let (used, _) = path.run(&mut flight, &mut drains, start, 20.0);
        assert!(used > 0.85, "{used}");
    }

    #[test]
    fn a_program_that_writes_little_is_not_held_back() {
        let start = Instant::now();
        let mut drains = Drains::new(start);
        let mut flight = Flight::new(1 << 20, Duration::from_millis(30), start, &mut drains);
        for number in 0..10_000 {
            let now = start + Duration::from_millis(number * 40);
            assert!(flight.room(0, now, &mut drains) >= LEAST);
            flight.wrote(1000, now);
        }
        assert!(flight.marks.len() <= MARKS);
    }
}
