//! The pace of the way to the device: which blocks wait a little so that more goes into them.
//!
//! Two rules, neither of which a lone packet meets:
//!
//! * Behind one block in flight the next leaves once it is half full; a smaller one leaves when
//!   the one ahead has arrived. The bus carries one block after the other, so it would not arrive
//!   earlier for leaving earlier.
//! * What comes within [`REST`] of the block that left last is left in the host's queue until that
//!   time is over, and then read together. Otherwise a sender of small packets that finds the bus
//!   idle each time, because the device is quick or shares the processor with it, would get a block
//!   for every packet.

use std::time::{Duration, Instant};

/// How long after a block has left the host is not read for the next: two microframes of a
/// high-speed bus (USB 2.0 section 4.4), in which it carries most of a block of 16 KiB. The kernel's
/// cdc_ncm waits longer for more (0.4 ms), with a lone packet, too.
pub(super) const REST: Duration = Duration::from_micros(250);

/// When blocks have left.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last block left.
    left: Option<Instant>,
    /// Until when the host is not read, because it had something within [`REST`].
    until: Option<Instant>,
}

impl Pace {
    /// A block has left.
    pub(super) fn block_left(&mut self, now: Instant) {
        self.left = Some(now);
    }

    /// Whether the host is read now. If not, but it is known to have something, then it is at
    /// [`Pace::resting`].
    pub(super) fn read_now(&mut self, now: Instant, has_something: bool) -> bool {
        let over = self.left.map(|left| left + REST);
        let Some(over) = over.filter(|over| now < *over) else {
            return true;
        };
        if has_something {
            self.until = Some(over);
        }
        false
    }

    /// Until when the host is not to be asked whether it has something.
    pub(super) fn resting(&self) -> Option<Instant> {
        self.until
    }

    /// Whether a rest has ended, so that the host is to be read. Once for each.
    pub(super) fn rested(&mut self, now: Instant) -> bool {
        self.until.take_if(|until| now >= *until).is_some()
    }

    /// Whether a block that cannot be filled further right away leaves, with so many transfers
    /// ahead of it.
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
        pace.block_left(start);
        assert_eq!(pace.resting(), None, "nothing came, nothing is waited for");
        let later = start + REST;
        assert!(pace.read_now(later, true) && pace.leaves(0, false));
        assert!(!pace.rested(later));
    }

    #[test]
    fn what_comes_right_behind_waits_for_more() {
        let mut pace = Pace::default();
        let start = Instant::now();
        pace.block_left(start);
        let soon = start + REST / 3;
        assert!(!pace.read_now(soon, false));
        assert_eq!(pace.resting(), None, "there may be nothing to wait for");
        assert!(!pace.read_now(soon, true));
        assert_eq!(pace.resting(), Some(start + REST));
        assert!(!pace.leaves(0, true), "what waits goes into the same block");
        assert!(!pace.rested(soon));
        let later = start + REST;
        assert!(pace.rested(later) && !pace.rested(later));
        assert!(pace.read_now(later, true) && pace.leaves(0, false));
    }

    #[test]
    fn a_bus_that_is_busy_gets_fuller_blocks() {
        let pace = Pace::default();
        assert!(pace.leaves(0, false) && pace.leaves(1, true));
        assert!(!pace.leaves(1, false) && !pace.leaves(2, true));
    }
}
