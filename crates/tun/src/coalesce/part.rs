//! Datagrams as parts of runs: which of them may be merged, by which headers, and to which flow
//! they belong.

use crate::checksum::Sum;
use crate::headers::{Network, TCP, TCP_HEADER, UDP, UDP_HEADER, flags};
use crate::offload::Offloads;

/// Length in bytes of the longest headers of a datagram that is merged.
pub(super) const MAX_HEADER: usize = 160;
/// TCP flags that end a run.
pub(super) const LAST: u8 = flags::PSH | flags::FIN;

/// Kinds of datagrams that may be merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merge {
    /// Whether TCP segments are merged.
    pub tcp: bool,
    /// Whether UDP datagrams of equal size are merged.
    pub udp: bool,
}

impl Merge {
    /// Returns the kinds that the kernel accepts merged from the writer of an interface with these
    /// offloads. Every kernel accepts TCP, whatever it sends itself.
    #[must_use]
    pub fn accepted_with(offloads: Offloads) -> Merge {
        Merge {
            tcp: true,
            udp: offloads.contains(Offloads::UDP),
        }
    }
}

/// Flow and headers of a datagram that can be part of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Datagram {
    pub(super) key: Key,
    /// Outermost headers.
    pub(super) network: Network,
    /// Length of all headers in bytes.
    pub(super) header: usize,
    /// Whether the datagram has PSH or FIN, so that it may end a run and cannot begin one.
    pub(super) last: bool,
}

/// Fields that identify a flow, in the order that tells flows apart soonest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// Source and destination port, as in the header.
    pub(super) ports: [u8; 4],
    /// Number of the transport protocol.
    pub(super) protocol: u8,
    pub(super) addresses: Addresses,
}

/// Source and destination address, as in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addresses {
    V4([u8; 8]),
    V6([u8; 32]),
}

/// Part that a datagram can play in runs.
pub(super) enum Part {
    /// The datagram may join a run or begin one.
    Mergeable(Datagram),
    /// The datagram goes alone, behind its flow's run.
    Alone(Key),
    /// The datagram goes alone, behind all runs between its addresses.
    Unclear(Addresses),
    /// The bytes are no IP packet.
    Garbage,
}

impl Part {
    /// Returns the part a datagram can play, where `merge` says what may be merged.
    #[inline]
    pub(super) fn of(datagram: &[u8], merge: Merge) -> Part {
        let Some(addresses) = Addresses::of(datagram) else {
            return Part::Garbage;
        };
        let Ok(network) = Network::parse(datagram) else {
            return Part::Unclear(addresses);
        };
        let at = network.transport;
        let tcp = network.protocol == TCP;
        if network.fragment || !(tcp || network.protocol == UDP) {
            return Part::Unclear(addresses);
        }
        let Some(ports) = datagram.get(at..at + 4) else {
            return Part::Unclear(addresses);
        };
        let key = Key {
            ports: [ports[0], ports[1], ports[2], ports[3]],
            protocol: network.protocol,
            addresses,
        };
        let plain_network = if network.v6 {
            let payload = u16::from_be_bytes([datagram[4], datagram[5]]);
            usize::from(payload) + 40 == datagram.len()
        } else {
            let total = u16::from_be_bytes([datagram[2], datagram[3]]);
            // Of the flags, only "don't fragment" may be set.
            at == 20 && usize::from(total) == datagram.len() && datagram[6] & !0x40 == 0
        };
        if !plain_network {
            return Part::Alone(key);
        }
        let transport = &datagram[at..];
        let part = if tcp && merge.tcp {
            tcp_header(transport)
        } else if !tcp && merge.udp {
            udp_header(transport)
        } else {
            None
        };
        match part {
            Some((header, last)) if at + header <= MAX_HEADER => Part::Mergeable(Datagram {
                key,
                network,
                header: at + header,
                last,
            }),
            _ => Part::Alone(key),
        }
    }
}

/// Returns the length of a TCP header in bytes, and whether the segment can only end a run. Returns
/// `None` if the segment cannot be in a run.
#[inline]
fn tcp_header(segment: &[u8]) -> Option<(usize, bool)> {
    const NEVER: u8 = flags::SYN | flags::RST | flags::URG | flags::CWR;
    let fixed = segment.get(..TCP_HEADER)?;
    let header = usize::from(fixed[12] >> 4) * 4;
    let good = header >= TCP_HEADER && header < segment.len() && fixed[13] & NEVER == 0;
    good.then_some((header, fixed[13] & LAST != 0))
}

/// Returns for a UDP datagram what [`tcp_header`] returns for a segment. A datagram without a
/// checksum cannot be in a run, because damage to it would not be noticed.
#[inline]
fn udp_header(datagram: &[u8]) -> Option<(usize, bool)> {
    let fixed = datagram.get(..UDP_HEADER)?;
    let length = u16::from_be_bytes([fixed[4], fixed[5]]);
    let good = usize::from(length) == datagram.len()
        && datagram.len() > UDP_HEADER
        && fixed[6..8] != [0, 0];
    good.then_some((UDP_HEADER, false))
}

impl Addresses {
    /// Returns the addresses of an IP packet, or `None` for bytes that are no IP packet.
    #[inline]
    fn of(datagram: &[u8]) -> Option<Addresses> {
        match datagram.first()? >> 4 {
            4 => Some(Addresses::V4(*datagram.get(12..20)?.first_chunk()?)),
            6 => Some(Addresses::V6(*datagram.get(8..40)?.first_chunk()?)),
            _ => None,
        }
    }
}

/// Returns whether the checksums of a mergeable datagram are right.
#[inline]
pub(super) fn intact(network: &Network, datagram: &[u8]) -> bool {
    let transport = &datagram[network.transport..];
    let sum = network.pseudo(datagram) + Sum::of_u16(transport.len() as u16) + Sum::of(transport);
    let header = || datagram.first_chunk::<20>().map(Sum::of_array);
    // The IPv4 header has no options, because the datagram would not be mergeable otherwise.
    (network.v6 || header().is_some_and(Sum::is_intact)) && sum.is_intact()
}
