//! What the reactor tells the control thread.

use super::fault::Fault;
use crate::watch::Verdict;

/// What the reactor tells the control thread.
#[derive(Debug)]
pub(crate) enum Report {
    /// A notification from the interrupt endpoint, as it came.
    Notification(Vec<u8>),
    /// This endpoint is halted and drained: the control thread clears the halt and answers with
    /// [`Reactor::halt_cleared`](super::reactor::Reactor::halt_cleared).
    Halted(u8),
    /// The data path has ended.
    DataLost(Fault),
    /// The device can be used no more.
    Ended(Fault),
    /// The host's end of this session, another one than 0, failed; the session is off the data path.
    SessionLost(u8, Fault),
    /// A black hole was found or is gone, on this session.
    Verdict(u8, Verdict),
    /// NTBs come with empty headers: the device needs the other format.
    EmptyHeaders,
}

/// What is in use once the data path runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Running {
    /// Number of receive transfers in flight.
    pub(crate) receive_transfers: usize,
    /// Number of send buffers.
    pub(crate) send_transfers: usize,
    /// Whether buffers are mapped from the kernel.
    pub(crate) mapped: bool,
}
