//! ACK filter: among the pure acknowledgements of one TCP connection that arrive together, it
//! leaves out those that a later one supersedes.
//!
//! An acknowledgement of TCP is cumulative, so a later one says everything that an earlier one
//! says. The filter is named after that of the queueing discipline CAKE (`ack-filter` in
//! tc-cake(8); "CAKE: A Comprehensive Queue Management Solution for Home Internet Gateways", 2018,
//! section III.D), and like it leaves an acknowledgement out only if nothing is lost with it. The
//! earlier acknowledgement and the one that supersedes it are both [`Ack`]s:
//!
//! - The flag ACK is set and no other, those of congestion notification (ECE, CWR, AE) included,
//!   and there is no payload.
//! - The TCP options are no-operation and timestamps only; above all there are no SACK blocks.
//! - The IP header has no options and no extensions, and is not marked "congestion experienced".
//!
//! The later one
//!
//! - acknowledges more, and has the same sequence number and type of service,
//! - has timestamps if the earlier one has, none of which is older (RFC 7323),
//! - is intact by its checksums, and
//! - follows the earlier one without another segment of the connection in between.
//!
//! The earlier one must also acknowledge more than the one before it. So a duplicate
//! acknowledgement, which reports a loss (RFC 5681) or brings a new window, is never left out, nor
//! is the one that it duplicates. An acknowledgement is not left out either when it is not known
//! what came before, because it is the first of its connection or follows another kind of segment.

use heapless::Vec as FixedVec;

use crate::headers::{Network, TCP, TCP_HEADER, flags};

/// Number of connections that are remembered, and of acknowledgements that are held.
const FLOWS: usize = 8;
/// Bits of the type of service that say "congestion experienced" (RFC 3168).
const CE: u8 = 3;
/// TCP options (RFC 9293 section 3.2, RFC 7323 section 3.2).
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const TIMESTAMPS: u8 = 8;
const TIMESTAMPS_LENGTH: u8 = 10;

/// A segment that does nothing but acknowledge, as the [module](self) says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    sequence: u32,
    acknowledgement: u32,
    /// Value and echo of the timestamps, if the segment has them.
    timestamps: Option<(u32, u32)>,
    /// Type of service of IPv4, or traffic class of IPv6.
    service: u8,
}

impl Ack {
    /// Reads a datagram that is such a segment, with its network header. Returns `None` for any
    /// other datagram.
    pub fn of(datagram: &[u8]) -> Option<(Network, Ack)> {
        let network = Network::parse(datagram).ok()?;
        let at = network.transport;
        let field = |at: usize| datagram.get(at..at + 2).and_then(<[u8]>::first_chunk);
        let length = usize::from(u16::from_be_bytes(*field(if network.v6 { 4 } else { 2 })?));
        let (plain, service) = if network.v6 {
            let class = datagram[0] << 4 | datagram[1] >> 4;
            (at == 40 && length + 40 == datagram.len(), class)
        } else {
            (at == 20 && length == datagram.len(), datagram[1])
        };
        if !plain || network.fragment || network.protocol != TCP || service & CE == CE {
            return None;
        }
        let segment = &datagram[at..];
        let fixed: &[u8; TCP_HEADER] = segment.first_chunk()?;
        // The segment is nothing but its header, and the reserved bits, AE among them, are not set.
        let bare = usize::from(fixed[12] >> 4) * 4 == segment.len() && fixed[12] & 0x0f == 0;
        if !bare || fixed[13] != flags::ACK {
            return None;
        }
        let number = |at: usize| {
            u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]])
        };
        let ack = Ack {
            sequence: number(4),
            acknowledgement: number(8),
            timestamps: timestamps(&segment[TCP_HEADER..])?,
            service,
        };
        Some((network, ack))
    }

    /// Returns whether an earlier acknowledgement of the same connection says nothing that this one
    /// does not say.
    fn says_all_of(&self, earlier: &Ack) -> bool {
        let timestamps = match (earlier.timestamps, self.timestamps) {
            (None, None) => true,
            (Some(earlier), Some(later)) => {
                !is_after(earlier.0, later.0) && !is_after(earlier.1, later.1)
            }
            _ => false,
        };
        timestamps
            && is_after(self.acknowledgement, earlier.acknowledgement)
            && self.sequence == earlier.sequence
            && self.service == earlier.service
    }
}

/// Returns the timestamps in the options of a TCP header, if there are any. Returns `None` for
/// options of another kind or broken ones.
fn timestamps(mut options: &[u8]) -> Option<Option<(u32, u32)>> {
    let mut found = None;
    loop {
        options = match options {
            [] | [END, ..] => return Some(found),
            [NO_OPERATION, rest @ ..] => rest,
            [TIMESTAMPS, TIMESTAMPS_LENGTH, rest @ ..] if found.is_none() => {
                let (value, rest) = rest.split_first_chunk()?;
                let (echo, rest) = rest.split_first_chunk()?;
                found = Some((u32::from_be_bytes(*value), u32::from_be_bytes(*echo)));
                rest
            }
            _ => return None,
        };
    }
}

/// Returns whether a number modulo 2^32 is behind another (RFC 9293 section 3.4, RFC 7323 section
/// 5.2).
fn is_after(number: u32, other: u32) -> bool {
    (number.wrapping_sub(other) as i32) > 0
}

/// The state that is kept of connections from one batch of datagrams to the next.
#[derive(Debug)]
pub(crate) struct Memory<K> {
    /// Connections whose last segment was an [`Ack`], the one seen last at the end.
    flows: FixedVec<Seen<K>, FLOWS>,
    /// Number of acknowledgements left out.
    pub superseded: u64,
}

/// Last acknowledgement of a connection.
#[derive(Debug, Clone, Copy)]
struct Seen<K> {
    key: K,
    sequence: u32,
    /// Greatest number that was acknowledged.
    acknowledgement: u32,
}

impl<K: Copy + PartialEq> Memory<K> {
    /// Makes a memory without connections.
    pub fn new() -> Self {
        Self {
            flows: FixedVec::new(),
            superseded: 0,
        }
    }

    /// Forgets the connections whose keys `fits` accepts.
    fn forget(&mut self, fits: impl Fn(&K) -> bool) {
        self.flows.retain(|seen| !fits(&seen.key));
    }

    /// Notes an acknowledgement. Returns whether it is known to acknowledge more than all before it.
    fn note(&mut self, key: K, ack: &Ack) -> bool {
        let index = self.flows.iter().position(|seen| seen.key == key);
        let before = index.map(|index| self.flows.remove(index));
        let moves = before.is_some_and(|seen| is_after(ack.acknowledgement, seen.acknowledgement));
        // Another sequence number shows that data was sent in between, whose acknowledgement is not
        // known.
        let advances = moves && before.is_some_and(|seen| seen.sequence == ack.sequence);
        let acknowledgement = match before {
            Some(seen) if !moves => seen.acknowledgement,
            _ => ack.acknowledgement,
        };
        if self.flows.is_full() {
            self.flows.remove(0);
        }
        let _ = self.flows.push(Seen {
            key,
            sequence: ack.sequence,
            acknowledgement,
        });
        advances
    }
}

/// Acknowledgements of a batch that may still be superseded, at most one of each connection.
pub(crate) struct Held<'d, K> {
    acks: FixedVec<Waiting<'d, K>, FLOWS>,
}

/// Acknowledgement that may still be superseded.
struct Waiting<'d, K> {
    key: K,
    ack: Ack,
    /// Whether it acknowledges more than all before it.
    advances: bool,
    datagram: &'d [u8],
}

impl<'d, K: Copy + PartialEq> Held<'d, K> {
    /// Makes an empty hold.
    pub fn new() -> Self {
        Self {
            acks: FixedVec::new(),
        }
    }

    /// Takes an acknowledgement and holds it until a later one supersedes it or it is
    /// [released](Self::release). Returns the acknowledgement that is to be sent at once, if any.
    /// `intact` tells whether the checksums are right.
    pub fn take(
        &mut self,
        memory: &mut Memory<K>,
        key: K,
        ack: Ack,
        datagram: &'d [u8],
        intact: impl FnOnce() -> bool,
    ) -> Option<&'d [u8]> {
        let advances = memory.note(key, &ack);
        let earlier = self.acks.iter().position(|held| held.key == key);
        let earlier = earlier.map(|index| self.acks.remove(index));
        let superseded = earlier
            .as_ref()
            .is_some_and(|held| held.advances && ack.says_all_of(&held.ack) && intact());
        memory.superseded += u64::from(superseded);
        let mut due = earlier.filter(|_| !superseded).map(|held| held.datagram);
        if self.acks.is_full() {
            // No acknowledgement of this connection is held then.
            due = Some(self.acks.remove(0).datagram);
        }
        let _ = self.acks.push(Waiting {
            key,
            ack,
            advances,
            datagram,
        });
        due
    }

    /// Releases one held acknowledgement of the connections whose keys `fits` accepts, the oldest
    /// first, because another segment of theirs has come. The connections are forgotten.
    pub fn release(
        &mut self,
        memory: &mut Memory<K>,
        fits: impl Fn(&K) -> bool,
    ) -> Option<&'d [u8]> {
        memory.forget(&fits);
        let index = self.acks.iter().position(|held| fits(&held.key))?;
        Some(self.acks.remove(index).datagram)
    }

    /// Releases one acknowledgement at the end of a batch, the oldest first.
    pub fn next(&mut self) -> Option<&'d [u8]> {
        (!self.acks.is_empty()).then(|| self.acks.remove(0).datagram)
    }
}
