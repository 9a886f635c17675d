//! Plan of the data path: the device's queues, the framing, and the data sessions.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use uwwan_ncm::{Framing, Limits, Stream};
use uwwan_usb::device::Queue;

use crate::counters::SessionCounters;
use crate::host::DataSlot;
use crate::probe::Probe;
use crate::session::LinkFamilies;

/// Plan that the data path is started with.
pub(crate) struct DataPlan {
    /// Queue of the bulk IN endpoint, which brings NTBs from the device.
    pub(crate) bulk_in: Box<dyn Queue>,
    /// Queue of the bulk OUT endpoint, which takes NTBs to the device.
    pub(crate) bulk_out: Box<dyn Queue>,
    /// Layout of NTBs to the device.
    pub(crate) framing: Framing,
    /// Limits of the NTBs that are accepted from the device.
    pub(crate) limits: Limits,
    /// Sizes of NTBs from the device.
    pub(crate) receive: ReceiveSizes,
    /// Numbers of transfers to keep in flight.
    pub(crate) depth: Depth,
    /// The data sessions, session 0 among them.
    pub(crate) sessions: Vec<SessionPlan>,
}

/// Sizes of NTBs from the device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReceiveSizes {
    /// Size that was agreed with the device.
    pub(crate) agreed: usize,
    /// Size down to which a smaller one is agreed where memory is scarce, before the number of
    /// transfers is lowered.
    pub(crate) least: usize,
    /// Size of the largest NTB the device can send at all.
    pub(crate) most: usize,
}

/// Numbers of transfers in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Depth {
    /// Number of transfers from the device.
    pub(crate) receive: usize,
    /// Number of transfers to the device.
    pub(crate) send: usize,
}

/// Plan of a data session on the data path.
pub(crate) struct SessionPlan {
    /// MBIM session id; 0 with a plain network device.
    pub(crate) id: u8,
    /// Kind of the session's datagrams, which determines the signature of its NDPs.
    pub(crate) stream: Stream,
    /// Place of the host interface that the datagrams come from and go to.
    pub(crate) host: Arc<DataSlot>,
    /// Part of the plan that depends on the session's addresses.
    pub(crate) addressing: SessionAddressing,
    /// Whether superseded acknowledgements to the host are left out.
    pub(crate) ack_filter: bool,
    /// Published counters of the session.
    pub(crate) counters: Arc<SessionCounters>,
}

/// Part of a data session's plan that depends on its addresses.
#[derive(Debug, Clone, Default)]
pub(crate) struct SessionAddressing {
    /// Length of the longest datagram in bytes: the MTU, plus the header where the session carries
    /// Ethernet frames.
    pub(crate) mtu: u16,
    /// The host's IPv6 addresses, for which neighbour solicitations are answered.
    pub(crate) ours: Vec<Ipv6Addr>,
    /// The host's IPv4 address and the gateway's, on a link that carries Ethernet frames while the host
    /// interface carries IP.
    pub(crate) ipv4: Option<(Ipv4Addr, Option<Ipv4Addr>)>,
    /// Link-layer address of the host that neighbours on the link are told.
    pub(crate) link_layer: [u8; 6],
    /// Address families whose DHCP answers and router advertisements go to the driver instead of
    /// the host.
    pub(crate) listen: LinkFamilies,
    /// Probe to send; `None` when the session is not to be probed.
    pub(crate) probe: Option<Probe>,
    /// Whether silence is reported early, because the healing acts on it.
    pub(crate) eager: bool,
}
