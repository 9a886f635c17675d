//! Programs that have sent control messages as they are, and hear what the modem says.

use std::time::Instant;

use crate::raw::Teller;

/// Largest number of programs that hear at a time.
const MOST_HEARING: usize = 8;
/// Programs that hear what the modem says.
#[derive(Default)]
pub(super) struct Overhearing(pub(super) Vec<Hearing>);

/// Program that hears what the modem says.
pub(super) struct Hearing {
    /// End at which it is told.
    pub(super) teller: Teller,
    /// Transaction ids of the messages that were sent, or 0 where they have none.
    pub(super) ids: Vec<u32>,
}

impl Overhearing {
    /// Returns whether no further program may hear.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST_HEARING
    }

    /// Returns the time at which the first of them has heard enough.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.iter().map(|hearing| hearing.teller.until()).min()
    }
}
