//! Bounds the bytes in flight to the device by the time the device takes for them.
//!
//! A packet waits for everything that is in flight when it is read. The kernel's byte queue limits
//! (lib/dynamic_queue_limits.c) look for the least number of bytes with which a device does not run
//! dry; here it is [`Backlog::TIME`] at the rate at which the device takes NTBs, or one NTB if that
//! takes longer, besides the one on the bus. NTBs of a large packet, which is read as a whole, wait for
//! room like any other:
//!
//! * The rate is measured over spans in which something was in flight all the time. When nothing is in
//!   flight at the end of a span, the time at which the last transfer ended is not known, so such a span
//!   measures nothing.
//! * Where the device ran dry while packets waited, the rate was too low or this thread was late. Then
//!   the rate is taken for a quarter higher, until a span measures it again.
//! * Before a rate is known, the number of buffers is the only bound.

use std::time::{Duration, Instant};

/// Bytes in flight to the device, and the rate at which it takes them.
#[derive(Debug)]
pub(super) struct Backlog {
    /// Length in bytes of the longest NTB.
    ntb: usize,
    /// Bytes in flight.
    in_flight: usize,
    /// Bytes that have arrived in the present span.
    arrived: usize,
    /// Begin of the span; `None` while nothing is in flight.
    since: Option<Instant>,
    /// Bytes that the device takes in [`Self::TIME`]; `None` as long as the rate is not known.
    limit: Option<usize>,
}

impl Backlog {
    /// Longest time that the device may take for the bytes in flight.
    pub(super) const TIME: Duration = Duration::from_millis(1);
    /// Shortest span that measures the rate.
    const SPAN: Duration = Duration::from_millis(2);

    /// Makes a backlog of NTBs of up to `ntb` bytes.
    pub(super) fn new(ntb: usize) -> Self {
        Self {
            ntb,
            in_flight: 0,
            arrived: 0,
            since: None,
            limit: None,
        }
    }

    /// Records that `length` bytes have been submitted.
    pub(super) fn submitted(&mut self, now: Instant, length: usize) {
        if self.since.is_none() {
            self.since = Some(now);
            self.arrived = 0;
        }
        self.in_flight += length;
    }

    /// Records that the transfer of `length` bytes has ended.
    pub(super) fn ended(&mut self, length: usize) {
        self.in_flight = self.in_flight.saturating_sub(length);
        self.arrived += length;
    }

    /// Records that all ended transfers have been collected, and that `transfers` are left.
    /// `waiting` says whether the host was left with packets for want of room.
    pub(super) fn reaped(&mut self, now: Instant, transfers: usize, waiting: bool) {
        let Some(since) = self.since else {
            return;
        };
        if transfers == 0 {
            self.in_flight = 0;
            self.since = None;
            if waiting && let Some(limit) = &mut self.limit {
                *limit = limit.saturating_add(*limit / 4);
            }
            return;
        }
        let span = now.saturating_duration_since(since);
        if span < Self::SPAN || self.arrived == 0 {
            return;
        }
        let rate = self.arrived as u128 * Self::TIME.as_nanos() / span.as_nanos().max(1);
        let rate = usize::try_from(rate).unwrap_or(usize::MAX);
        // The mean of the old and the measured rate is taken, because a span has few NTBs.
        self.limit = Some(self.limit.map_or(rate, |limit| limit / 2 + rate / 2));
        self.since = Some(now);
        self.arrived = 0;
    }

    /// Returns whether the bound leaves room for another NTB.
    pub(super) fn has_room(&self) -> bool {
        let most = |limit: usize| limit.saturating_sub(self.ntb).max(self.ntb);
        self.limit.is_none_or(|limit| self.in_flight <= most(limit))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const NTB: usize = 16_384;

    /// A device that takes one NTB after the other, and a thread that wakes some time after each.
    struct Bus {
        /// Time that an NTB takes, in nanoseconds.
        each: u64,
        /// Time from the end of a transfer to the round that sees it, in nanoseconds.
        late: u64,
        /// The present time, and the time at which the last transfer in flight ends, in
        /// nanoseconds.
        now: u64,
        busy: u64,
        /// Ends of the transfers in flight.
        flying: VecDeque<u64>,
        /// Number of transfers, and the most that were in flight at once.
        sent: u64,
        deepest: usize,
    }

    impl Bus {
        fn new(rate: u64, late: u64) -> Self {
            Self {
                each: NTB as u64 * 1_000_000_000 / rate,
                late,
                now: 0,
                busy: 0,
                flying: VecDeque::new(),
                sent: 0,
                deepest: 0,
            }
        }

        /// Sends for `time` nanoseconds, from a host that always has more and is read `read` NTBs
        /// at once.
        fn run(&mut self, backlog: &mut Backlog, start: Instant, time: u64, read: usize) {
            let (until, depth, mut built) = (self.now + time, 8, 0);
            (self.sent, self.deepest) = (0, 0);
            while self.now < until {
                let now = start + Duration::from_nanos(self.now);
                while self.flying.front().is_some_and(|end| *end <= self.now) {
                    self.flying.pop_front();
                    backlog.ended(NTB);
                }
                backlog.reaped(now, self.flying.len(), true);
                while backlog.has_room() && (built > 0 || self.flying.len() + read <= depth) {
                    if built == 0 {
                        built = read;
                    }
                    built -= 1;
                    self.busy = self.busy.max(self.now) + self.each;
                    self.flying.push_back(self.busy);
                    backlog.submitted(now, NTB);
                    self.sent += 1;
                }
                self.deepest = self.deepest.max(self.flying.len());
                let next = self.flying.front().expect("something is always sent");
                self.now = (*next).max(self.now) + self.late;
            }
        }
    }

    proptest! {
        #[test]
        fn no_more_than_a_millisecond_or_an_ntb_waits_and_the_bus_is_kept_busy(
            rate in 500_000_u64..400_000_000,
            late in 0_u64..100_000,
            read in prop::sample::select(vec![1, 4]),
        ) {
            let start = Instant::now();
            let mut bus = Bus::new(rate, late);
            let mut backlog = Backlog::new(NTB);
            bus.run(&mut backlog, start, 40 * bus.each + 200_000_000, read);
            let time = 40 * bus.each + 200_000_000;
            bus.run(&mut backlog, start, time, read);
            let waiting = (bus.deepest - 1) as f64 * bus.each as f64;
            // Spans include the wake-ups, so the rate may be some percent off.
            let most = (1.15e6 + late as f64).max(bus.each as f64);
            prop_assert!(waiting <= most, "{} in flight of {} ns", bus.deepest, bus.each);
            if late < bus.each {
                let share = (bus.sent * bus.each) as f64 / time as f64;
                prop_assert!(share > 0.9, "{share}, {} in flight", bus.deepest);
            }
        }

        #[test]
        fn a_rate_that_falls_is_followed(first in 20_000_000_u64..200_000_000) {
            let start = Instant::now();
            let mut bus = Bus::new(first, 20_000);
            let mut backlog = Backlog::new(NTB);
            bus.run(&mut backlog, start, 100_000_000, 1);
            // The modem's buffer is full, and the radio takes 50 Mbit/s.
            bus.each = NTB as u64 * 1_000_000_000 / 6_250_000;
            bus.run(&mut backlog, start, 60_000_000, 1);
            bus.run(&mut backlog, start, 100_000_000, 1);
            prop_assert!(bus.deepest <= 2, "{}", bus.deepest);
        }

        #[test]
        fn whatever_happens_there_is_room_when_nothing_is_in_flight(
            events in prop::collection::vec((0_u8..3, 0_usize..200_000, 0_u64..10_000_000), 0..300),
        ) {
            let mut now = Instant::now();
            let mut backlog = Backlog::new(NTB);
            let mut flying = VecDeque::new();
            for (event, length, nanoseconds) in events {
                now += Duration::from_nanos(nanoseconds);
                match event {
                    0 => {
                        backlog.submitted(now, length);
                        flying.push_back(length);
                    }
                    1 => flying.pop_front().into_iter().for_each(|length| backlog.ended(length)),
                    _ => backlog.reaped(now, flying.len(), length % 2 == 0),
                }
                if flying.is_empty() {
                    prop_assert!(backlog.has_room());
                }
            }
        }
    }
}
