//! Reports of the reactor to the control thread.

use super::fault::Fault;
use crate::watch::Verdict;

/// A report of the reactor to the control thread.
#[derive(Debug)]
pub(crate) enum Report {
    /// A notification has come from the interrupt endpoint; these are its bytes.
    Notification(Vec<u8>),
    /// This endpoint is halted and drained: the control thread clears the halt and answers with
    /// [`Reactor::halt_cleared`](super::reactor::Reactor::halt_cleared).
    Halted(u8),
    /// The data path has ended.
    DataLost(Fault),
    /// The device can be used no more.
    Ended(Fault),
    /// The host's end of this session, another one than 0, failed; the session is off the data
    /// path.
    SessionLost(u8, Fault),
    /// A black hole was found on this session, or is gone.
    Verdict(u8, Verdict),
    /// A probe of this identity was answered.
    Probed(u16),
    /// A datagram came from somebody who was asked something on this session since the NTBs have had
    /// their layout.
    HostAnswered(u8),
    /// A datagram of this session about the configuration of its link.
    Link(u8, Vec<u8>),
    /// There is no memory for all transfers from the device at the size agreed on: the control
    /// thread agrees on a smaller one and answers with
    /// [`Reactor::resize`](super::reactor::Reactor::resize).
    ShortOfMemory,
    /// Other resources are in use than before.
    Running(Running),
    /// NTBs come with empty headers: the device needs the other format.
    EmptyHeaders,
}

/// Resources in use by a running data path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Running {
    /// Number of receive transfers in flight.
    pub(crate) receive_transfers: usize,
    /// Number of send buffers.
    pub(crate) send_transfers: usize,
    /// Whether buffers are mapped from the kernel.
    pub(crate) mapped: bool,
}
