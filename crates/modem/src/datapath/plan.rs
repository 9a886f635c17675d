//! What the data path is told: the device's queues, the framing, and the data sessions.

use std::net::Ipv6Addr;
use std::sync::Arc;

use uwwan_ncm::{Framing, Limits, Stream};
use uwwan_usb::device::Queue;

use crate::counters::SessionCounters;
use crate::host::DataSlot;
use crate::watch::Probe;

/// What the data path is started with.
pub(crate) struct DataPlan {
    /// Blocks from the device.
    pub(crate) bulk_in: Box<dyn Queue>,
    /// Blocks to the device.
    pub(crate) bulk_out: Box<dyn Queue>,
    /// Layout of blocks to the device.
    pub(crate) framing: Framing,
    /// What to accept from the device.
    pub(crate) limits: Limits,
    /// Block size agreed on from the device, in bytes.
    pub(crate) receive_size: usize,
    /// The largest block the device can send at all, in bytes.
    pub(crate) receive_max: usize,
    pub(crate) depth: Depth,
    /// The data sessions, session 0 among them.
    pub(crate) sessions: Vec<SessionPlan>,
}

/// Transfers in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Depth {
    /// From the device.
    pub(crate) receive: usize,
    /// To the device.
    pub(crate) send: usize,
}

/// What a session is put on the data path with.
pub(crate) struct SessionPlan {
    /// Its number.
    pub(crate) id: u8,
    /// What its datagrams are.
    pub(crate) stream: Stream,
    /// Where its datagrams come from and go to.
    pub(crate) host: Arc<DataSlot>,
    /// What depends on its addresses.
    pub(crate) addressing: SessionAddressing,
    /// Its counters.
    pub(crate) counters: Arc<SessionCounters>,
}

/// What depends on a data session's addresses.
#[derive(Debug, Clone, Default)]
pub(crate) struct SessionAddressing {
    /// Longest datagram in bytes: the MTU, and with it the header of Ethernet frames.
    pub(crate) mtu: u16,
    /// Our IPv6 addresses, for neighbour solicitations.
    pub(crate) ours: Vec<Ipv6Addr>,
    /// The probe to send.
    pub(crate) probe: Option<Probe>,
}
