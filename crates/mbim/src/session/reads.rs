//! Times of reads: notifications, polls, and pauses that limit both.
//!
//! The function owes one RESPONSE_AVAILABLE per answer, so each notification earns one read. A read
//! that brings nothing says that the function's queue was empty, so it settles everything owed when
//! it began. While empty reads follow one another, a growing pause goes between them, so that a
//! storm of notifications, at whatever rate, costs a bounded number of reads. Where notifications
//! get lost, a slow poll finds the answer, and a poll that found one is followed by another read at
//! once.
//!
//! A storm of messages brings more notifications than are kept. With one read for each notification
//! the function's queue would stay as full as it is, with every answer at its end. So once a
//! notification was not kept, reads follow one another until the queue is empty.

use std::time::{Duration, Instant};

/// Largest number of reads owed; no function queues more answers than this.
const MOST_OWED: u32 = 64;
/// First pause after an empty read.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Longest pause between empty reads.
const LONGEST_PAUSE: Duration = Duration::from_millis(128);

#[derive(Debug)]
pub(super) struct Reads {
    owed: u32,
    /// Number of notifications since the read under way began.
    arrived: u32,
    reading: Option<ReadReason>,
    not_before: Option<Instant>,
    pause: Duration,
    quiet_since: Option<Instant>,
    /// Whether notifications were not kept, so that reads go on until one brings nothing.
    draining: bool,
}

/// Reason why a read begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadReason {
    Notified,
    Polled,
}

impl Reads {
    pub(super) const fn new() -> Self {
        Self {
            owed: 0,
            arrived: 0,
            reading: None,
            not_before: None,
            pause: FIRST_PAUSE,
            quiet_since: None,
            draining: false,
        }
    }

    /// Forgets everything except a read under way, whose result is still to come.
    pub(super) fn reset(&mut self) {
        let reading = self.reading;
        *self = Self::new();
        self.reading = reading;
    }

    /// Takes note of a notification. Returns whether it was counted.
    pub(super) fn notified(&mut self) -> bool {
        let counted = self.owed < MOST_OWED;
        self.draining |= !counted;
        self.owed = (self.owed + 1).min(MOST_OWED);
        self.arrived = (self.arrived + 1).min(MOST_OWED);
        counted
    }

    /// Takes note that notifications came and were not kept.
    pub(super) fn missed(&mut self) {
        self.draining = true;
        self.owed = self.owed.max(1);
    }

    /// Returns why to read at this time, if a read is due. `awaiting` says that an answer is
    /// outstanding, and `poll` is the time of silence after which a poll is due.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        awaiting: bool,
        poll: Duration,
    ) -> Option<ReadReason> {
        if self.reading.is_some() {
            return None;
        }
        if self.owed > 0 {
            if self.not_before.is_some_and(|at| now < at) {
                return None;
            }
            self.owed -= 1;
            self.arrived = 0;
            self.reading = Some(ReadReason::Notified);
            return Some(ReadReason::Notified);
        }
        if !awaiting {
            self.quiet_since = None;
            return None;
        }
        let since = *self.quiet_since.get_or_insert(now);
        if now.saturating_duration_since(since) < poll {
            return None;
        }
        self.quiet_since = Some(now);
        self.arrived = 0;
        self.reading = Some(ReadReason::Polled);
        Some(ReadReason::Polled)
    }

    /// Takes note that the read brought a message or fragment.
    pub(super) fn filled(&mut self, now: Instant) {
        let polled = self.reading.take() == Some(ReadReason::Polled);
        if polled || self.draining {
            // The notification of this answer got lost, and maybe those of more answers.
            self.owed = self.owed.max(1);
        }
        self.pause = FIRST_PAUSE;
        self.not_before = None;
        self.quiet_since = Some(now);
    }

    /// Takes note that the read brought nothing, was stalled, or failed.
    pub(super) fn empty(&mut self, now: Instant) {
        self.owed = self.owed.min(self.arrived);
        self.draining = false;
        // Polls are rare, and must not delay the read for a notification that follows.
        if self.reading.take() != Some(ReadReason::Polled) {
            self.not_before = Some(now + self.pause);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Returns the time from which [`Reads::begin`] may start a read, if it does not at once.
    pub(super) fn deadline(&self, awaiting: bool, poll: Duration) -> Option<Instant> {
        if self.reading.is_some() {
            return None;
        }
        if self.owed > 0 {
            return self.not_before;
        }
        if !awaiting {
            return None;
        }
        self.quiet_since.map(|since| since + poll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(1);

    #[test]
    fn each_notification_earns_a_read() {
        let now = Instant::now();
        let mut reads = Reads::new();
        reads.notified();
        reads.notified();
        for _ in 0..2 {
            assert_eq!(reads.begin(now, true, POLL), Some(ReadReason::Notified));
            assert_eq!(reads.begin(now, true, POLL), None, "one read at a time");
            reads.filled(now);
        }
        assert_eq!(reads.begin(now, true, POLL), None);
    }

    #[test]
    fn a_storm_costs_few_reads() {
        let start = Instant::now();
        let mut reads = Reads::new();
        let mut made = 0;
        for step in 0..100_000 {
            let now = start + Duration::from_micros(step * 100);
            reads.notified();
            if reads.begin(now, true, POLL).is_some() {
                made += 1;
                reads.empty(now);
            }
        }
        assert!(made < 100, "{made} reads in ten seconds");
    }

    #[test]
    fn a_queue_with_more_than_was_counted_is_read_to_its_end() {
        let now = Instant::now();
        for told in [false, true] {
            let mut reads = Reads::new();
            let mut queue = 1024;
            for _ in 0..=MOST_OWED {
                reads.notified();
            }
            if told {
                // The notifications were lost before they came here.
                reads.reset();
                reads.missed();
            }
            while reads.begin(now, true, POLL).is_some() {
                if queue == 0 {
                    reads.empty(now);
                } else {
                    queue -= 1;
                    reads.filled(now);
                }
            }
            assert_eq!(queue, 0);
            assert!(!reads.draining);
        }
    }

    #[test]
    fn lost_notifications_are_made_up_for() {
        let start = Instant::now();
        let mut reads = Reads::new();
        assert_eq!(reads.begin(start, true, POLL), None);
        let due = reads.deadline(true, POLL).unwrap();
        assert_eq!(reads.begin(due, true, POLL), Some(ReadReason::Polled));
        reads.filled(due);
        assert_eq!(
            reads.begin(due, true, POLL),
            Some(ReadReason::Notified),
            "there may be more"
        );
        reads.empty(due);
        assert_eq!(reads.begin(due, true, POLL), None);
        assert_eq!(
            reads.begin(due + POLL * 2, false, POLL),
            None,
            "nothing awaited, nothing polled"
        );
    }
}
