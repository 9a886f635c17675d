//! The bus as a wire that carries one transfer after the other, each for the time that it takes.
//!
//! A high-speed bus carries at most 13 packets of 512 bytes in a microframe (USB 2.0 section
//! 5.8.4), which is 426 Mbit/s for both directions together.

use std::time::{Duration, Instant};

use crate::urb::{Completed, Token, UrbStatus};

/// State of the wire, and the transfer on it.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// Transfer on the wire, whose data has been moved already.
    carried: Option<Completed>,
    /// Time at which the wire is free.
    until: Option<Instant>,
}

impl Wire {
    /// Longest time by which the device's thread may be late while the wire still counts as busy.
    /// Without it, the delays of the thread would lower the rate.
    const LATE: Duration = Duration::from_micros(300);

    /// Returns whether nothing is on the wire.
    pub fn is_free(&self) -> bool {
        self.carried.is_none()
    }

    /// Puts a transfer on the free wire, for the time that `bytes` bytes take at `rate` bytes a
    /// second.
    pub fn carry(&mut self, transfer: Completed, bytes: usize, rate: u64, now: Instant) {
        let begin = match self.until {
            Some(until) if now.saturating_duration_since(until) < Self::LATE => until,
            _ => now,
        };
        let nanoseconds = bytes as u128 * 1_000_000_000 / u128::from(rate.max(1));
        let time = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        self.until = Some(begin + time.min(Duration::from_secs(60)));
        self.carried = Some(transfer);
    }

    /// Returns the time at which the transfer on the wire arrives.
    pub fn deadline(&self) -> Option<Instant> {
        self.until.filter(|_| self.carried.is_some())
    }

    /// Returns the transfer on the wire once it has arrived.
    pub fn arrived(&mut self, now: Instant) -> Option<Completed> {
        self.carried
            .take_if(|_| self.until.is_none_or(|until| now >= until))
    }

    /// Returns the transfer on the wire, ended with `status`.
    pub fn abort(&mut self, status: UrbStatus) -> Option<Completed> {
        let carried = self.carried.take()?;
        self.until = None;
        Some(Completed { status, ..carried })
    }

    /// Returns whether this transfer is on the wire.
    pub fn has(&self, token: Token) -> bool {
        self.carried
            .as_ref()
            .is_some_and(|carried| carried.token == token)
    }
}
