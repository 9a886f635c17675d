//! Times of a request that is repeated with growing pauses.

use std::time::{Duration, Instant};

/// Pause before an unanswered request is repeated for the first time; each repetition doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between repetitions while the session waits for an address.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// Longest pause between repetitions once the session has one (RFC 7559, section 2).
const LONGEST_IDLE_PAUSE: Duration = Duration::from_secs(3600);

/// Time of the next request, and the pause after it.
#[derive(Debug)]
pub(super) struct Repeat {
    /// Time of the next request; `None` when no more is to be sent.
    pub(super) next: Option<Instant>,
    pause: Duration,
}

impl Repeat {
    /// Begins with a request at `first`.
    pub(super) fn from(first: Instant) -> Self {
        Self {
            next: Some(first),
            pause: FIRST_PAUSE,
        }
    }

    /// Returns whether a request is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|at| now >= at)
    }

    /// Records that a request was sent. While the session is `settled`, the pauses grow further.
    pub(super) fn sent(&mut self, now: Instant, settled: bool) {
        self.next = Some(now + self.pause);
        let longest = if settled {
            LONGEST_IDLE_PAUSE
        } else {
            LONGEST_PAUSE
        };
        self.pause = longest.min(self.pause * 2);
    }
}
