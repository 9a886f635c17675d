//! Programs that have sent control messages as they are, and are told of the answers.

use std::time::Instant;

use crate::raw::RawEventSender;

/// Largest number of such programs at a time.
const MOST_RAW_SENDERS: usize = 8;
/// Programs that are told of messages of the modem.
#[derive(Default)]
pub(super) struct RawSenders(pub(super) Vec<RawSender>);

/// Program that is told of messages of the modem.
pub(super) struct RawSender {
    /// Channel on which the program is told.
    pub(super) teller: RawEventSender,
    /// Transaction ids of the messages that were sent, or 0 where they have none.
    pub(super) ids: Vec<u32>,
}

impl RawSenders {
    /// Returns whether no further program can be added.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST_RAW_SENDERS
    }

    /// Returns the time at which the first program has waited long enough.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.iter().map(|sender| sender.teller.until()).min()
    }
}
