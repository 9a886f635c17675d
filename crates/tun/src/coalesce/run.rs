//! A run: the headers of its first datagram, the test whether a datagram is the next one, and the
//! headers of the large packet that the run becomes.

use heapless::Vec as FixedVec;

use super::part::{Addresses, Datagram, Key, LAST, MAX_HEADER};
use crate::checksum::Sum;
use crate::headers::{
    Cut, Kind, Network, TCP, TCP_CHECKSUM, UDP_CHECKSUM, VNET_HEADER, VnetHeader,
    set_network_length,
};

/// A run of datagrams without their payloads, which the batch holds.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) key: Key,
    pub(super) network: Network,
    /// Length of all headers of a datagram in bytes.
    pub(super) header: usize,
    /// Room for the virtio header, followed by the first datagram's headers.
    head: [u8; VNET_HEADER + MAX_HEADER],
    /// Length in bytes of the payload of every datagram but the last.
    pub(super) size: usize,
    /// Length in bytes of all payloads together.
    pub(super) payload: usize,
    /// Sequence number of the TCP segment that would follow.
    next_sequence: u32,
    /// Step by which the IPv4 identification rises; `None` before the second datagram.
    step: Option<u16>,
    /// The first datagram's headers in words of eight bytes, each with the bits that are the same in
    /// every datagram of the run; empty before the second datagram.
    like: FixedVec<(u64, u64), { MAX_HEADER / 8 }>,
    /// The last eight bytes of the headers, in the form of `like`.
    like_end: (u64, u64),
    /// The flags PSH and FIN of the last datagram.
    flags: u8,
    /// Whether the first datagram was found intact.
    pub(super) intact: bool,
    /// Number of the run in the order of their beginnings; 0 while the place is free.
    pub(super) since: u64,
}

/// Returns the sequence number of a TCP segment.
#[inline]
fn sequence(segment: &[u8]) -> u32 {
    u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]])
}

impl Run {
    /// Makes a place that is free.
    pub(super) fn free() -> Run {
        Run {
            key: Key {
                ports: [0; 4],
                protocol: 0,
                addresses: Addresses::V4([0; 8]),
            },
            network: Network {
                v6: false,
                transport: 0,
                protocol: 0,
                fragment: false,
            },
            header: 0,
            head: [0; VNET_HEADER + MAX_HEADER],
            size: 0,
            payload: 0,
            next_sequence: 0,
            step: None,
            like: FixedVec::new(),
            like_end: (0, 0),
            flags: 0,
            intact: false,
            since: 0,
        }
    }

    /// Begins the run with a datagram. `age` is the run's number.
    #[inline]
    pub(super) fn begin(&mut self, part: &Datagram, datagram: &[u8], age: u64) {
        self.key = part.key;
        self.network = part.network;
        self.header = part.header;
        self.head[VNET_HEADER..][..part.header].copy_from_slice(&datagram[..part.header]);
        self.size = datagram.len() - part.header;
        self.payload = self.size;
        self.next_sequence = 0;
        if part.network.protocol == TCP {
            let first = sequence(&datagram[part.network.transport..]);
            self.next_sequence = first.wrapping_add(self.size as u32);
        }
        self.step = None;
        self.like.clear();
        self.flags = 0;
        self.intact = false;
        self.since = age;
    }

    /// Returns the first datagram's headers.
    #[inline]
    fn first(&self) -> &[u8] {
        &self.head[VNET_HEADER..][..self.header]
    }

    /// Notes which bits of the headers are the same in every datagram of the run.
    fn set_like(&mut self) {
        let (at, header) = (self.network.transport, self.header);
        let mut same = [0xff_u8; MAX_HEADER];
        let mut vary = |from: usize, to: usize| same[from..to].fill(0);
        if self.network.v6 {
            vary(4, 6);
        } else {
            // These are length and identification, and the checksum.
            vary(2, 6);
            vary(10, 12);
        }
        if self.network.protocol == TCP {
            vary(at + 4, at + 8);
            vary(at + TCP_CHECKSUM, at + TCP_CHECKSUM + 2);
            same[at + 13] &= !LAST;
        } else {
            vary(at + 4, at + 8);
        }
        let first = &self.head[VNET_HEADER..];
        let word = |bytes: &[u8], at: usize| {
            let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
            word.map_or(0, |word| u64::from_ne_bytes(*word))
        };
        let pair = |at| (word(first, at), word(&same, at));
        self.like.clear();
        self.like.extend((0..header / 8).map(|at| pair(at * 8)));
        // The last word overlaps the one before.
        self.like_end = pair(header - 8);
    }

    /// Returns whether a datagram is the next of the run, unless its checksums are wrong, and if so
    /// whether it ends the run. Returns `None` also for a datagram that may be the next of a run
    /// whose first is not known to be intact. `count` is the number of datagrams in the run.
    #[inline]
    pub(super) fn next_is(&self, datagram: &[u8], count: usize) -> Option<bool> {
        if self.since == 0 || !self.intact {
            return None;
        }
        let (at, length) = (self.network.transport, datagram.len());
        let other = datagram.get(..self.header)?;
        let mut differ = 0;
        for (word, (first, same)) in other.as_chunks::<8>().0.iter().zip(&self.like) {
            differ |= (u64::from_ne_bytes(*word) ^ first) & same;
        }
        let end = u64::from_ne_bytes(*other.last_chunk()?);
        differ |= (end ^ self.like_end.0) & self.like_end.1;
        let payload = length - self.header;
        if differ != 0
            || payload == 0
            || payload > self.size
            || self.header + self.payload + payload > usize::from(u16::MAX)
        {
            return None;
        }
        let field = |at: usize| usize::from(u16::from_be_bytes([other[at], other[at + 1]]));
        let follows = if self.network.v6 {
            field(4) + 40 == length
        } else {
            field(2) == length && self.identification_follows(other, count)
        };
        if !follows {
            return None;
        }
        if self.network.protocol == TCP {
            let segment = other.get(at..)?;
            (sequence(segment) == self.next_sequence).then_some(segment[13] & LAST != 0)
        } else {
            // Damage to a datagram without a checksum would not be noticed.
            (field(at + 4) + at == length && field(at + UDP_CHECKSUM) != 0).then_some(false)
        }
    }

    /// Returns whether the headers of a datagram of the same flow are like the run's in every field
    /// that does not change from one datagram to the next.
    pub(super) fn is_like(&self, part: &Datagram, datagram: &[u8]) -> bool {
        let at = self.network.transport;
        if part.header != self.header || part.network.transport != at {
            return false;
        }
        let (first, other) = (self.first(), &datagram[..part.header]);
        let same_network = if self.network.v6 {
            // Everything but the length of the payload is compared; the addresses are those of the
            // flow.
            first[..4] == other[..4] && first[6..8] == other[6..8] && first[40..at] == other[40..at]
        } else {
            first[..2] == other[..2] && first[6..10] == other[6..10]
        };
        same_network
            && (self.network.protocol != TCP
                || (first[at + 12] == other[at + 12]
                    && (first[at + 13] ^ other[at + 13]) & !LAST == 0))
    }

    /// Returns whether a datagram with headers like the run's is the next of the run, unless its
    /// checksums are wrong. `count` is the number of datagrams in the run.
    #[inline]
    pub(super) fn is_followed_by(&self, part: &Datagram, datagram: &[u8], count: usize) -> bool {
        let payload = datagram.len() - part.header;
        if payload > self.size
            || self.header + self.payload + payload > usize::from(u16::MAX)
            || !(self.network.v6 || self.identification_follows(datagram, count))
        {
            return false;
        }
        if self.network.protocol != TCP {
            return true;
        }
        let at = self.network.transport;
        let (first, other) = (&self.first()[at..], &datagram[at..part.header]);
        sequence(other) == self.next_sequence
            && first[8..12] == other[8..12]
            && first[14..TCP_CHECKSUM] == other[14..TCP_CHECKSUM]
            && first[18..] == other[18..]
    }

    /// Returns whether the IPv4 identification counts up as in the run, or stays where it may.
    #[inline]
    fn identification_follows(&self, other: &[u8], count: usize) -> bool {
        let distance = self.identification_distance(other);
        match self.step {
            Some(step) => distance == step.wrapping_mul(count as u16),
            None => distance == 1 || (distance == 0 && other[6] & 0x40 != 0),
        }
    }

    /// Returns the difference of the IPv4 identification from the first datagram's.
    #[inline]
    fn identification_distance(&self, other: &[u8]) -> u16 {
        let first = self.first();
        u16::from_be_bytes([other[4], other[5]])
            .wrapping_sub(u16::from_be_bytes([first[4], first[5]]))
    }

    /// Takes the next datagram into the run.
    #[inline]
    pub(super) fn join(&mut self, datagram: &[u8]) {
        if !self.network.v6 && self.step.is_none() {
            self.step = Some(self.identification_distance(datagram));
        }
        if self.like.is_empty() {
            self.set_like();
        }
        let payload = datagram.len() - self.header;
        self.payload += payload;
        if self.network.protocol == TCP {
            self.next_sequence = self.next_sequence.wrapping_add(payload as u32);
            self.flags = datagram[self.network.transport + 13] & LAST;
        }
    }

    /// Returns the virtio header and the headers of the large packet.
    #[inline]
    pub(super) fn finish(&mut self) -> &[u8] {
        let at = self.network.transport;
        let tcp = self.network.protocol == TCP;
        let (kind, offset) = match (tcp, self.network.v6) {
            (true, false) => (Kind::Tcp4, TCP_CHECKSUM),
            (true, true) => (Kind::Tcp6, TCP_CHECKSUM),
            (false, _) => (Kind::Udp, UDP_CHECKSUM),
        };
        // All numbers are bounded by the length of an IP packet.
        let vnet = VnetHeader {
            checksum: Some((at as u16, offset as u16)),
            cut: Some(Cut {
                kind,
                ecn: false,
                size: self.size as u16,
            }),
            header: self.header as u16,
        };
        let head = &mut self.head[..VNET_HEADER + self.header];
        head[..VNET_HEADER].copy_from_slice(&vnet.encode());
        let packet = &mut head[VNET_HEADER..];
        let total = self.header + self.payload;
        let length = (total - at) as u16;
        // The field holds the sum of the pseudo-header, not complemented, which the kernel
        // continues.
        let partial = (self.network.pseudo(packet) + Sum::of_u16(length)).fold();
        let (network, transport) = packet.split_at_mut(at);
        set_network_length(self.network.v6, network, total as u16);
        transport[offset..offset + 2].copy_from_slice(&partial);
        if tcp {
            transport[13] |= self.flags;
        } else {
            transport[4..6].copy_from_slice(&length.to_be_bytes());
        }
        head
    }
}
