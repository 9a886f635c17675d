//! What the reactor tells the control thread.

use super::fault::Fault;
use crate::watch::Verdict;

/// What the reactor tells the control thread.
#[derive(Debug)]
pub(crate) enum Report {
    /// A notification from the interrupt endpoint.
    Notification(Vec<u8>),
    /// This endpoint is halted and drained: the control thread clears the halt and answers with
    /// [`Reactor::halt_cleared`](super::reactor::Reactor::halt_cleared).
    Halted(u8),
    /// The data path has ended.
    DataLost(Fault),
    /// The device can be used no more.
    Ended(Fault),
    /// A further session's host's end failed; it is off the data path.
    SessionLost(u8, Fault),
    /// Black hole found or gone, on this session.
    Verdict(u8, Verdict),
    /// Blocks come with empty headers: the device needs the other format.
    EmptyHeaders,
}

/// What is in use once the data path runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Running {
    /// Receive transfers in flight.
    pub(crate) receive_transfers: usize,
    /// Send buffers.
    pub(crate) send_transfers: usize,
    /// Buffers are mapped from the kernel.
    pub(crate) mapped: bool,
}
