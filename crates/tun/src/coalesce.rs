//! Coalescing: one large packet is made of a run of datagrams, as the kernel's receive offload
//! would make it.
//!
//! # Theory of operation
//!
//! Datagrams are pushed in the order of their arrival. Each lies in a receive buffer and stays
//! there. Datagrams of one flow that follow on each other are held as a run, and the run leaves as
//! one gathered write: a virtio header and the first datagram's headers with new lengths, then
//! every payload from its place. Runs of a few flows grow side by side. All leave at the end of the
//! batch, so nothing waits for datagrams that may never come.
//!
//! A datagram joins a run where the kernel would merge it (`tcp_gro_receive` in
//! net/ipv4/tcp_offload.c, `udp_gro_receive_segment` in net/ipv4/udp_offload.c,
//! `gro_receive_network_flush` in include/net/gro.h), so that cutting the large packet gives the
//! datagrams back:
//!
//! * Its headers are those of the run but for lengths, checksums and the fields below. IPv4
//!   options, fragments and padding keep it out.
//! * Its IPv4 identification counts up, or is that of all others with "don't fragment". In the
//!   second case, and only then, cutting gives other identifications; such ones mean nothing (RFC
//!   6864).
//! * A TCP segment has the next sequence number and the run's acknowledgement, window, options
//!   (timestamps among them) and flags. Of the flags only ACK and ECE may be set, and PSH and FIN,
//!   which end the run.
//! * Its payload is as long as the first's, or shorter, which ends the run.
//! * The large packet does not become longer than 65535 bytes.
//! * Its checksums are intact, which is verified only where two datagrams would join.
//!
//! The kernel also merges behind a segment with CWR. Here such a segment goes alone, as everything
//! unusual does.
//!
//! Order within a flow never changes: a datagram that cannot join its flow's run sends the run
//! ahead of itself, and one whose flow cannot be told sends all runs between its addresses.
//!
//! With [`Coalescer::filter_acks`], acknowledgements that a later one of the batch supersedes are left
//! out (`ack_filter`). They are looked for only among the datagrams that go alone, so that runs cost
//! the same.

use std::io::IoSlice;

use heapless::Vec as FixedVec;

use crate::ack_filter::{Ack, Held, Memory};
use crate::checksum::Sum;
use crate::headers::{
    Cut, Kind, Network, TCP, TCP_CHECKSUM, TCP_HEADER, UDP, UDP_CHECKSUM, UDP_HEADER, VNET_HEADER,
    VnetHeader, flags, set_network_length,
};
use crate::offload::Offloads;

/// Number of flows whose runs grow side by side. The kernel keeps eight in each of eight buckets.
const FLOWS: usize = 8;
/// Largest number of datagrams in a run, which one packet can hold of more than half a kilobyte
/// each.
const MOST: usize = 128;
/// Largest number of datagrams in a run of UDP (`UDP_GRO_CNT_MAX` in net/ipv4/udp_offload.c).
const MOST_UDP: usize = 64;
/// Length in bytes of the longest headers of a datagram that is merged.
const MAX_HEADER: usize = 160;
/// TCP flags that end a run.
const LAST: u8 = flags::PSH | flags::FIN;
/// Virtio header of a packet that is complete as it is.
const PLAIN: [u8; VNET_HEADER] = [0; VNET_HEADER];

/// Kinds of datagrams that may be merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merge {
    /// Whether TCP segments are merged.
    pub tcp: bool,
    /// Whether UDP datagrams of equal size are merged.
    pub udp: bool,
}

impl Merge {
    /// Returns the kinds that the kernel takes merged from the writer of an interface with these
    /// offloads. Every kernel takes TCP, whatever it sends itself.
    #[must_use]
    pub fn accepted_with(offloads: Offloads) -> Merge {
        Merge {
            tcp: true,
            udp: offloads.contains(Offloads::UDP),
        }
    }
}

/// A packet for the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'p> {
    /// The virtio header and the packet, one after the other.
    pub slices: &'p [IoSlice<'p>],
    /// Length of the packet in bytes, without the virtio header.
    pub length: usize,
    /// Number of datagrams merged in the packet.
    pub datagrams: usize,
}

/// Counts since the coalescer was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Number of datagrams pushed.
    pub datagrams: u64,
    /// Number of packets sent.
    pub packets: u64,
    /// Number of datagrams that were sent in a packet with others.
    pub merged: u64,
    /// Number of datagrams that were sent alone because a checksum is wrong.
    pub damaged: u64,
    /// Number of acknowledgements that were left out because a later one supersedes them.
    pub superseded: u64,
}

/// Flow and headers of a datagram that can be part of a run.
#[derive(Debug, Clone, Copy)]
struct Datagram {
    key: Key,
    /// Outermost headers.
    network: Network,
    /// Length of all headers in bytes.
    header: usize,
    /// Whether it has PSH or FIN, so that it may end a run and cannot begin one.
    last: bool,
}

/// Fields that make a flow, in the order that tells flows apart soonest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    /// Source and destination port, as in the header.
    ports: [u8; 4],
    /// Number of the transport protocol.
    protocol: u8,
    addresses: Addresses,
}

/// Source and destination address, as in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addresses {
    V4([u8; 8]),
    V6([u8; 32]),
}

/// A run of datagrams without their payloads, which the batch has.
#[derive(Debug)]
struct Run {
    key: Key,
    network: Network,
    /// Length of all headers of a datagram in bytes.
    header: usize,
    /// Room for the virtio header, followed by the first datagram's headers.
    head: [u8; VNET_HEADER + MAX_HEADER],
    /// Length in bytes of the payload of every datagram but the last.
    size: usize,
    /// Length in bytes of all payloads together.
    payload: usize,
    /// Sequence number of the TCP segment that would follow.
    next_sequence: u32,
    /// Step by which the IPv4 identification rises; `None` before the second datagram.
    step: Option<u16>,
    /// The first datagram's headers in words of eight bytes, each with the bits that are the same in
    /// every datagram of the run; empty before the second datagram.
    like: FixedVec<(u64, u64), { MAX_HEADER / 8 }>,
    /// The last eight bytes of the headers, as those in `like`.
    like_end: (u64, u64),
    /// PSH and FIN of the last datagram.
    flags: u8,
    /// Whether the first datagram was found intact.
    intact: bool,
    /// Number of the run in the order of their beginnings; 0 while the place is free.
    since: u64,
}

/// Merges datagrams into large packets. It allocates only when it is made.
#[derive(Debug)]
pub struct Coalescer {
    merge: Merge,
    runs: Box<[Run; FLOWS]>,
    /// Number of the youngest run.
    age: u64,
    counters: Counters,
    /// Memory of the ACK filter; `None` without one.
    acks: Option<Box<Memory<Key>>>,
}

/// Part that a datagram can play in runs.
enum Part {
    /// The datagram may join a run or begin one.
    Mergeable(Datagram),
    /// The datagram goes alone, behind its flow's run.
    Alone(Key),
    /// The datagram goes alone, behind all runs between its addresses.
    Unclear(Addresses),
    /// The bytes are no IP packet.
    Garbage,
}

impl Coalescer {
    /// Makes a coalescer that merges the kinds of datagrams in `merge` and no others.
    #[must_use]
    pub fn new(merge: Merge) -> Coalescer {
        let free = || Run {
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
        };
        Coalescer {
            merge,
            runs: Box::new(std::array::from_fn(|_| free())),
            age: 0,
            counters: Counters::default(),
            acks: None,
        }
    }

    /// Makes it leave out acknowledgements that a later one of the batch supersedes, as the ACK filter
    /// of CAKE does (tc-cake(8)), or not.
    pub fn filter_acks(&mut self, filter: bool) {
        self.acks = filter.then(|| Box::new(Memory::new()));
    }

    /// Returns the counts since the coalescer was made.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            superseded: self.acks.as_ref().map_or(0, |acks| acks.superseded),
            ..self.counters
        }
    }

    /// Begins a batch, whose packets are given to `send` in the order in which they are to be
    /// written.
    #[inline]
    pub fn batch<'c, 'd, F: FnMut(Packet<'_>)>(&'c mut self, send: F) -> Batch<'c, 'd, F> {
        // A batch that was dropped has left its runs behind without their datagrams.
        for run in self.runs.iter_mut() {
            run.since = 0;
        }
        Batch {
            coalescer: self,
            payloads: std::array::from_fn(|_| FixedVec::new()),
            firsts: [&[]; FLOWS],
            live: 0,
            recent: 0,
            held: Held::new(),
            send,
        }
    }
}

/// A batch of datagrams, to be ended by [`Batch::finish`]. A batch that is dropped loses the
/// datagrams it holds.
#[must_use]
pub struct Batch<'c, 'd, F> {
    coalescer: &'c mut Coalescer,
    /// Payloads of each run.
    payloads: [FixedVec<IoSlice<'d>, MOST>; FLOWS],
    /// First datagram of each run, which is sent as it is when no other joins.
    firsts: [&'d [u8]; FLOWS],
    /// Number of runs held.
    live: usize,
    /// Index of the run begun or joined last.
    recent: usize,
    /// Acknowledgements that may still be superseded.
    held: Held<'d, Key>,
    /// Callback that writes a packet.
    send: F,
}

impl<'d, F: FnMut(Packet<'_>)> Batch<'_, 'd, F> {
    /// Takes the next datagram.
    #[inline]
    pub fn push(&mut self, datagram: &'d [u8]) {
        self.coalescer.counters.datagrams += 1;
        // Mostly a datagram follows on the one before, which one pass over its headers tells.
        let index = self.recent;
        let count = self.payloads[index].len();
        if let Some(last) = self.coalescer.runs[index].next_is(datagram, count) {
            return self.join(index, datagram, last);
        }
        match Part::of(datagram, self.coalescer.merge) {
            Part::Mergeable(part) => match self.find(&part.key) {
                Some(run) => self.join_or_begin(run, part, datagram),
                None => self.begin(part, datagram),
            },
            Part::Alone(key) => {
                if let Some(run) = self.find(&key) {
                    self.flush(run);
                }
                if self.coalescer.acks.is_none() || !self.hold(key, datagram) {
                    self.alone(datagram);
                }
            }
            Part::Unclear(addresses) => {
                self.flush_where(|run| run.key.addresses == addresses);
                self.release_where(|key| key.addresses == addresses);
                self.alone(datagram);
            }
            Part::Garbage => self.alone(datagram),
        }
    }

    /// Sends all runs. Further datagrams may be pushed afterwards.
    #[inline]
    pub fn finish(&mut self) {
        self.flush_where(|_| true);
        while let Some(held) = self.held.next() {
            self.alone(held);
        }
    }

    /// Holds a datagram that may be superseded. Returns `false` for any other, ahead of which what is
    /// held of its flow is sent.
    fn hold(&mut self, key: Key, datagram: &'d [u8]) -> bool {
        let Some((network, ack)) = Ack::of(datagram) else {
            self.release_where(|held| *held == key);
            return false;
        };
        if let Some(memory) = &mut self.coalescer.acks {
            let whole = || intact(&network, datagram);
            if let Some(due) = self.held.take(memory, key, ack, datagram, whole) {
                self.alone(due);
            }
        }
        true
    }

    /// Sends what is held of the flows that `fits` accepts.
    #[inline]
    fn release_where(&mut self, fits: impl Fn(&Key) -> bool) {
        while let Some(memory) = &mut self.coalescer.acks
            && let Some(due) = self.held.release(memory, &fits)
        {
            self.alone(due);
        }
    }

    /// Returns the index of a flow's run, if there is one.
    #[inline]
    fn find(&self, key: &Key) -> Option<usize> {
        if self.live == 0 {
            return None;
        }
        self.coalescer
            .runs
            .iter()
            .position(|run| run.since > 0 && run.key == *key)
    }

    /// Adds a datagram to its flow's run, or sends the run and begins another with the datagram.
    fn join_or_begin(&mut self, index: usize, part: Datagram, datagram: &'d [u8]) {
        self.recent = index;
        let run = &mut self.coalescer.runs[index];
        let count = self.payloads[index].len();
        if !run.is_like(&part, datagram) || !run.is_followed_by(&part, datagram, count) {
            self.flush(index);
            self.begin(part, datagram);
            return;
        }
        if !run.intact && !intact(&run.network, self.firsts[index]) {
            self.coalescer.counters.damaged += 1;
            self.flush(index);
            self.begin(part, datagram);
            return;
        }
        run.intact = true;
        self.join(index, datagram, part.last);
    }

    /// Adds the datagram that is the next of a run whose first is intact, or sends both when it is
    /// damaged. `last` says that it ends the run.
    #[inline]
    fn join(&mut self, index: usize, datagram: &'d [u8], last: bool) {
        let run = &mut self.coalescer.runs[index];
        if !intact(&run.network, datagram) {
            self.coalescer.counters.damaged += 1;
            self.flush(index);
            self.alone(datagram);
            return;
        }
        let payload = &datagram[run.header..];
        run.join(datagram);
        // There is room, because a full run has been sent.
        let _ = self.payloads[index].push(IoSlice::new(payload));
        let most = if run.network.protocol == TCP {
            MOST
        } else {
            MOST_UDP
        };
        if last || payload.len() < run.size || self.payloads[index].len() >= most {
            self.flush(index);
        }
    }

    /// Begins a run with a datagram whose flow has none.
    fn begin(&mut self, part: Datagram, datagram: &'d [u8]) {
        self.release_where(|key| *key == part.key);
        if part.last {
            self.alone(datagram);
            return;
        }
        let index = self.free_place();
        self.recent = index;
        self.live += 1;
        self.coalescer.age += 1;
        let age = self.coalescer.age;
        let run = &mut self.coalescer.runs[index];
        run.begin(&part, datagram, age);
        self.firsts[index] = datagram;
        self.payloads[index].clear();
        let _ = self.payloads[index].push(IoSlice::new(&datagram[part.header..]));
    }

    /// Returns the index of a free place for a run. The oldest run is sent if there is none.
    fn free_place(&mut self) -> usize {
        let oldest = |(_, run): &(usize, &Run)| run.since;
        let runs = self.coalescer.runs.iter().enumerate();
        let index = runs.min_by_key(oldest).map_or(0, |(index, _)| index);
        if self.coalescer.runs[index].since > 0 {
            self.flush(index);
        }
        index
    }

    /// Sends the runs that `wanted` accepts, oldest first.
    fn flush_where(&mut self, wanted: impl Fn(&Run) -> bool) {
        while self.live > 0 {
            let next = self
                .coalescer
                .runs
                .iter()
                .enumerate()
                .filter(|(_, run)| run.since > 0 && wanted(run))
                .min_by_key(|(_, run)| run.since);
            match next {
                Some((index, _)) => self.flush(index),
                None => break,
            }
        }
    }

    /// Sends the run of this index and frees its place.
    fn flush(&mut self, index: usize) {
        self.live -= 1;
        let payloads = &self.payloads[index];
        let run = &mut self.coalescer.runs[index];
        run.since = 0;
        if payloads.len() < 2 {
            let first = self.firsts[index];
            self.alone(first);
            return;
        }
        let datagrams = payloads.len();
        let length = run.header + run.payload;
        let mut slices = FixedVec::<IoSlice<'_>, { MOST + 1 }>::new();
        let _ = slices.push(IoSlice::new(run.finish()));
        let _ = slices.extend_from_slice(payloads);
        self.coalescer.counters.packets += 1;
        self.coalescer.counters.merged += datagrams as u64;
        (self.send)(Packet {
            slices: &slices,
            length,
            datagrams,
        });
    }

    /// Sends a datagram as it is.
    fn alone(&mut self, datagram: &[u8]) {
        self.coalescer.counters.packets += 1;
        (self.send)(Packet {
            slices: &[IoSlice::new(&PLAIN), IoSlice::new(datagram)],
            length: datagram.len(),
            datagrams: 1,
        });
    }
}

impl Part {
    /// Returns the part a datagram can play, where `merge` says what may be merged.
    #[inline]
    fn of(datagram: &[u8], merge: Merge) -> Part {
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
            // Of the flags only "don't fragment" may be set.
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

/// Returns the length of a TCP header in bytes, and whether the segment can only end a run; `None`
/// if the segment cannot be in a run.
#[inline]
fn tcp_header(segment: &[u8]) -> Option<(usize, bool)> {
    const NEVER: u8 = flags::SYN | flags::RST | flags::URG | flags::CWR;
    let fixed = segment.get(..TCP_HEADER)?;
    let header = usize::from(fixed[12] >> 4) * 4;
    let good = header >= TCP_HEADER && header < segment.len() && fixed[13] & NEVER == 0;
    good.then_some((header, fixed[13] & LAST != 0))
}

/// Returns for a UDP datagram what [`tcp_header`] does for a segment. A datagram without a checksum
/// cannot be in a run, because damage to it would not show.
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
    /// Returns the addresses of an IP packet; `None` when the bytes are none.
    #[inline]
    fn of(datagram: &[u8]) -> Option<Addresses> {
        match datagram.first()? >> 4 {
            4 => Some(Addresses::V4(*datagram.get(12..20)?.first_chunk()?)),
            6 => Some(Addresses::V6(*datagram.get(8..40)?.first_chunk()?)),
            _ => None,
        }
    }
}

/// Returns whether a mergeable datagram's checksums are right.
#[inline]
fn intact(network: &Network, datagram: &[u8]) -> bool {
    let transport = &datagram[network.transport..];
    let sum = network.pseudo(datagram) + Sum::of_u16(transport.len() as u16) + Sum::of(transport);
    let header = || datagram.first_chunk::<20>().map(Sum::of_array);
    // The IPv4 header has no options, or the datagram would not be mergeable.
    (network.v6 || header().is_some_and(Sum::is_intact)) && sum.is_intact()
}

/// Returns the sequence number of a TCP segment.
#[inline]
fn sequence(segment: &[u8]) -> u32 {
    u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]])
}

impl Run {
    /// Begins the run with a datagram. `age` is the run's number.
    #[inline]
    fn begin(&mut self, part: &Datagram, datagram: &[u8], age: u64) {
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
            // Length and identification, and the checksum.
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
    /// whether it ends the run. Says `None` also of a datagram that may be the next of a run whose
    /// first is not known to be intact. `count` is the number of datagrams in the run.
    #[inline]
    fn next_is(&self, datagram: &[u8], count: usize) -> Option<bool> {
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
            // A datagram without a checksum would not show damage.
            (field(at + 4) + at == length && field(at + UDP_CHECKSUM) != 0).then_some(false)
        }
    }

    /// Returns whether the headers of a datagram of the same flow are like the run's in every field
    /// that does not change from one datagram to the next.
    fn is_like(&self, part: &Datagram, datagram: &[u8]) -> bool {
        let at = self.network.transport;
        if part.header != self.header || part.network.transport != at {
            return false;
        }
        let (first, other) = (self.first(), &datagram[..part.header]);
        let same_network = if self.network.v6 {
            // Everything but the payload's length is compared; the addresses are the flow's.
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
    fn is_followed_by(&self, part: &Datagram, datagram: &[u8], count: usize) -> bool {
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
    fn join(&mut self, datagram: &[u8]) {
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
    fn finish(&mut self) -> &[u8] {
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
        // The field holds the pseudo-header's sum, not complemented, from which the kernel goes on.
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
