//! The pace of NTBs to the device: which NTBs wait a little so that they are fuller.
//!
//! There are two rules, and a lone packet meets neither:
//!
//! * Behind one NTB in flight the next leaves once it is half full; a smaller one leaves when the
//!   one ahead has arrived. The bus carries one NTB after the other, so leaving earlier would not let
//!   it arrive earlier.
//! * Packets that reach the host interface within [`REST`] of the NTB that left last stay in its queue
//!   until that time is over, and are then read together. Otherwise a sender of small packets that finds
//!   the bus idle each time, because the device is quick or shares the processor with it, would get an
//!   NTB for every packet. Behind a crowd of small datagrams the rest is [`CROWD_REST`], and the host
//!   is not asked whether there are more: they are on their way, and an NTB costs the same for few as
//!   for many. Behind an NTB without room for
//!   more bytes there is no rest: the next packets fill another one, and a rest would only lower the
//!   rate.

use std::time::{Duration, Instant};

/// Time after an NTB has left in which the host is not read for the next: two microframes of a
/// high-speed bus (USB 2.0 section 4.4), in which it carries most of an NTB of 16 KiB. The kernel's
/// `cdc_ncm` waits longer (0.4 ms), with a lone packet, too.
pub(super) const REST: Duration = Duration::from_micros(250);

/// Like [`REST`], behind a crowd. At 50 000 packets a second an NTB of the lt4132 still holds all
/// that arrive in it. A packet waits half of it on average, which is no more than each waits in
/// `cdc_ncm`.
pub(super) const CROWD_REST: Duration = Duration::from_micros(750);

/// Number of datagrams in an NTB that, small on average, are a crowd: more than the two directions
/// of a telephone call, or the acknowledgements of a merged download, bring in [`REST`].
const CROWD: usize = 8;
/// Mean length in bytes up to which datagrams are small.
pub(super) const SMALL: usize = 256;

/// The times that pace the NTBs.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Time until which packets are left in the host's queue.
    over: Option<Instant>,
    /// Time until which the host is not read although it is known to have packets; `None` when it
    /// is not known to have any.
    until: Option<Instant>,
}

impl Pace {
    /// Records that an NTB has left, with `datagrams` datagrams of `bytes` bytes together. `full`
    /// says whether it had no room for the next datagram.
    pub(super) fn ntb_left(&mut self, now: Instant, datagrams: usize, bytes: usize, full: bool) {
        if full {
            (self.over, self.until) = (None, None);
            return;
        }
        let crowd = datagrams >= CROWD && bytes <= datagrams * SMALL;
        self.over = Some(now + if crowd { CROWD_REST } else { REST });
        // To ask the host whether it has packets takes a wake-up, and behind a crowd it does have some.
        self.until = self.over.filter(|_| crowd);
    }

    /// Returns whether the host is to be read at once. Otherwise, if it is known to have packets,
    /// it is to be read at [`Pace::resting`].
    pub(super) fn read_now(&mut self, now: Instant, has_something: bool) -> bool {
        let Some(over) = self.over.filter(|over| now < *over) else {
            return true;
        };
        if has_something {
            self.until = Some(over);
        }
        false
    }

    /// Returns the time until which the host is not polled for packets.
    pub(super) fn resting(&self) -> Option<Instant> {
        self.until
    }

    /// Returns, once for each rest, whether it has ended, so that the host is to be read.
    pub(super) fn rested(&mut self, now: Instant) -> bool {
        self.until.take_if(|until| now >= *until).is_some()
    }

    /// Returns whether an NTB leaves that cannot be filled further right away and has `ahead`
    /// transfers ahead of it.
    pub(super) fn leaves(&self, ahead: usize, half_full: bool) -> bool {
        self.until.is_none() && (ahead == 0 || (ahead == 1 && half_full))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_packet_is_read_and_leaves_at_once() {
        let mut pace = Pace::default();
        let start = Instant::now();
        assert!(pace.read_now(start, true) && pace.leaves(0, false));
        pace.ntb_left(start, 1, 1500, false);
        assert_eq!(pace.resting(), None, "nothing came, nothing is waited for");
        let later = start + REST;
        assert!(pace.read_now(later, true) && pace.leaves(0, false));
        assert!(!pace.rested(later));
    }

    #[test]
    fn what_comes_right_behind_waits_for_more() {
        let mut pace = Pace::default();
        let start = Instant::now();
        pace.ntb_left(start, 12, 16_000, false);
        let soon = start + REST / 3;
        assert!(!pace.read_now(soon, false));
        assert_eq!(pace.resting(), None, "there may be nothing to wait for");
        assert!(!pace.read_now(soon, true));
        assert_eq!(pace.resting(), Some(start + REST));
        assert!(!pace.leaves(0, true), "what waits goes into the same NTB");
        assert!(!pace.rested(soon));
        let later = start + REST;
        assert!(pace.rested(later) && !pace.rested(later));
        assert!(pace.read_now(later, true) && pace.leaves(0, false));
    }

    #[test]
    fn behind_a_full_ntb_there_is_no_rest() {
        let mut pace = Pace::default();
        let start = Instant::now();
        pace.ntb_left(start, 11, 16_000, false);
        pace.ntb_left(start, 11, 16_000, true);
        assert!(pace.read_now(start, true));
        assert_eq!(pace.resting(), None);
        pace.ntb_left(start, 40, 40 * 92, false);
        pace.ntb_left(start, 11, 16_000, true);
        assert_eq!(pace.resting(), None, "nor one that a crowd ahead began");
        pace.ntb_left(start, 3, 4000, false);
        assert!(!pace.read_now(start, true), "behind the last, partial one");
    }

    #[test]
    fn a_crowd_of_small_datagrams_draws_more() {
        let rest = |datagrams, bytes| {
            let mut pace = Pace::default();
            let start = Instant::now();
            pace.ntb_left(start, datagrams, bytes, false);
            let unasked = pace.resting().is_some();
            assert!(!pace.read_now(start, true));
            let rest = pace.resting().unwrap() - start;
            assert_eq!(
                unasked,
                rest == CROWD_REST,
                "the host is asked behind others"
            );
            rest
        };
        assert_eq!(rest(8, 8 * 92), CROWD_REST);
        assert_eq!(rest(40, 40 * 52), CROWD_REST);
        assert_eq!(rest(7, 7 * 92), REST, "a few");
        assert_eq!(rest(11, 11 * 1500), REST, "large ones");
    }

    #[test]
    fn a_bus_that_is_busy_gets_fuller_ntbs() {
        let pace = Pace::default();
        assert!(pace.leaves(0, false) && pace.leaves(1, true));
        assert!(!pace.leaves(1, false) && !pace.leaves(2, true));
    }
}
