//! Reports of the reactor to the control thread.

use super::fault::Fault;
use crate::watch::Verdict;

/// A report of the reactor to the control thread.
#[derive(Debug)]
pub(crate) enum Report {
    /// The interrupt endpoint has brought a notification, which has these bytes.
    Notification(Vec<u8>),
    /// This endpoint is halted and drained: the control thread clears the halt and answers with
    /// [`Reactor::halt_cleared`](super::reactor::Reactor::halt_cleared).
    Halted(u8),
    /// The data path has ended.
    DataLost(Fault),
    /// The device can be used no more.
    Ended(Fault),
    /// The host interface of this session, which is not session 0, failed; the session is off the
    /// data path.
    SessionLost(u8, Fault),
    /// The watch has found a black hole on this session, or its end.
    Verdict(u8, Verdict),
    /// A probe of this identity was answered.
    Probed(u16),
    /// A datagram came from a host that was asked something on this session since the NTBs have had
    /// their layout.
    HostAnswered(u8),
    /// A datagram of this session about the configuration of its link.
    Link(u8, Vec<u8>),
    /// Memory is too scarce for all transfers from the device at the agreed size: the control
    /// thread agrees on a smaller one and answers with
    /// [`Reactor::resize`](super::reactor::Reactor::resize).
    ShortOfMemory,
    /// The resources in use have changed.
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
