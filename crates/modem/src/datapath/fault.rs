//! Why the data path ends, and how many transfer errors it bears.

use std::time::{Duration, Instant};

use uwwan_usb::error::TransferError;

/// Why the data path ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The device was unplugged or has re-enumerated.
    #[error("the device is gone")]
    Gone,
    /// More transfer errors towards the host than a healthy link has.
    #[error("receiving keeps failing: {0}")]
    Receive(TransferError),
    /// More transfer errors towards the device than a healthy link has.
    #[error("sending keeps failing: {0}")]
    Send(TransferError),
    /// More errors on the notification endpoint than a healthy link has.
    #[error("notifications keep failing: {0}")]
    Notify(TransferError),
    /// A datagram of the size of the MTU does not fit into an NTB.
    #[error("a datagram of the size of the MTU does not fit into an NTB")]
    Framing,
    /// The host's end failed.
    #[error("the host's end failed: {0}")]
    Host(String),
    /// The kernel has no memory for a single transfer.
    #[error("{0}")]
    Memory(String),
    /// The USB backend failed.
    #[error("{0}")]
    Backend(String),
}

/// Transfer errors of one endpoint since its last success.
#[derive(Debug, Default)]
pub(super) struct Faults {
    count: u32,
    first: Option<Instant>,
}

impl Faults {
    const MOST: u32 = 100;
    const MOST_OVER_TIME: u32 = 20;
    const TIME: Duration = Duration::from_secs(5);

    pub(super) fn clear(&mut self) {
        if self.count != 0 {
            *self = Self::default();
        }
    }

    /// Counts an error.
    ///
    /// # Errors
    /// When there were too many: [`Faults::MOST`], or [`Faults::MOST_OVER_TIME`] within
    /// [`Faults::TIME`] or longer.
    pub(super) fn add(&mut self, now: Instant) -> Result<(), ()> {
        self.count += 1;
        let first = *self.first.get_or_insert(now);
        let long = now.duration_since(first) >= Self::TIME;
        if self.count >= Self::MOST || (long && self.count >= Self::MOST_OVER_TIME) {
            Err(())
        } else {
            Ok(())
        }
    }
}
