//! Faults that end the data path, and the number of transfer errors it bears without ending.

use std::time::{Duration, Instant};

use uwwan_usb::error::TransferError;

/// Fault that ended the data path.
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
    /// The host interface failed.
    #[error("the host interface failed: {0}")]
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
    /// Number of errors.
    count: u32,
    /// Time of the first error.
    first: Option<Instant>,
}

impl Faults {
    /// Number of errors that end the data path at once.
    const MOST: u32 = 100;
    /// Number of errors that end the data path when they are spread over [`Self::TIME`] or longer.
    const MOST_OVER_TIME: u32 = 20;
    /// Time without a success after which fewer errors are borne.
    const TIME: Duration = Duration::from_secs(5);

    /// Resets the count of errors, after a success.
    pub(super) fn clear(&mut self) {
        if self.count != 0 {
            *self = Self::default();
        }
    }

    /// Counts an error.
    ///
    /// # Errors
    /// There were too many: [`Faults::MOST`], or [`Faults::MOST_OVER_TIME`] within [`Faults::TIME`]
    /// or longer.
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
