//! The packets of an interface with one queue, sorted by flow.
//!
//! # Theory of operation
//!
//! The queue of a TUN interface takes packets until it is full and has nobody wait, so what a large
//! upload keeps in flight lies there ahead of everybody else (see `queues.rs`). Where the interface
//! has one queue alone, [`Flows`] takes the packets out of it whenever some are read, and returns
//! them as fq_codel does (RFC 8290 section 4): each flow has a queue of its own, flows that have just
//! begun to send come first, and the others have turns of 16 KiB. There is no CoDel, because the
//! senders' windows, which bound the queue here, do not delay others.
//!
//! Packets lie in chunks, a MiB together, which are made at once when the first packet is sorted. When
//! all are in use, the longest queue loses its first packets, which is how its sender learns of it
//! soonest.
//!
//! While little is sent, nothing is sorted, and packets go straight to the caller's buffers.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSliceMut};

use heapless::Vec as FixedVec;

use crate::headers::{Network, TCP, UDP};

/// Length of a chunk in bytes: a packet of the usual MTU fits into one.
const CHUNK: usize = 2048;
/// Largest number of chunks: a MiB, 20 ms of a high-speed bus.
const MOST: usize = 512;
/// Largest number of chunks of a packet: 64 KiB and a header in front.
const LONGEST: usize = 33;
/// Number of queues, as in fq_codel.
const QUEUES: usize = 1024;
/// Bytes that a flow sends in a turn, and after which the interface is read again: the payload of an
/// NTB of 16 KiB.
const QUANTUM: usize = 16 * 1024;
/// Bytes that are read without sorting after the interface was empty.
const STRAIGHT: usize = QUANTUM;
/// Largest number of packets that are taken out of the interface at once: more than its queue holds
/// unless it was made longer (`TUN_READQ_SIZE` in drivers/net/tun.c).
const AT_ONCE: usize = 512;
/// Length in bytes above which a packet is large.
const LARGE: usize = 2048;

/// Packets that were taken out of an interface.
#[derive(Debug)]
pub struct Flows {
    /// Offset of the IP header in what is read, in bytes.
    offset: usize,
    /// All chunks; none before the first packet is sorted.
    pieces: Box<[Piece]>,
    /// Indices of the unused chunks.
    free: Vec<u16>,
    /// Number of chunks in queues.
    used: usize,
    queues: Box<[Flow]>,
    /// Queues of flows that have just begun to send, and of the others, in the order of their turns.
    new: VecDeque<u16>,
    old: VecDeque<u16>,
    /// Queue from which a packet was returned in turn last; `None` if that was not sorted.
    last: Option<u16>,
    /// Bytes that were returned since the interface was read.
    since: usize,
    /// Start value of the hash, so that nobody can choose flows that share a queue.
    seed: u64,
}

/// Multiplier of the hash: 2⁶⁴ divided by the golden ratio (D. Knuth, The Art of Computer Programming,
/// volume 3, section 6.4).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Queue of the flows with one hash.
#[derive(Debug, Default)]
struct Flow {
    /// Indices of the first and the last chunk, where there are any.
    ends: (u16, u16),
    /// Number of chunks.
    count: usize,
    /// Rest of the turn, in bytes.
    left: isize,
    /// Whether the queue is in one of the lists.
    listed: bool,
}

/// Chunk, and the part of a packet in it.
#[derive(Debug, Default)]
struct Piece {
    chunk: Box<[u8]>,
    /// Index of the next chunk in the queue.
    next: u16,
    /// Length in bytes.
    length: usize,
    /// Length in bytes of the packet from here on.
    rest: usize,
}

impl Flows {
    /// Makes the queues for packets of which the IP header stands behind `offset` bytes.
    #[must_use]
    pub fn new(offset: usize) -> Self {
        Self {
            offset,
            pieces: Box::default(),
            free: Vec::new(),
            used: 0,
            queues: (0..QUEUES).map(|_| Flow::default()).collect(),
            new: VecDeque::with_capacity(QUEUES),
            old: VecDeque::with_capacity(QUEUES),
            last: None,
            since: 0,
            seed: RandomState::new().hash_one(0),
        }
    }

    /// Returns whether no packet waits here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Returns the next packet in `buffers`, one after the other, and its length in bytes. Bytes that
    /// the buffers have no room for are lost. `read` reads a packet from the interface.
    ///
    /// # Errors
    /// Those of `read`, and [`io::ErrorKind::WouldBlock`] when there is no packet.
    #[inline]
    pub fn read(
        &mut self,
        buffers: &mut [IoSliceMut<'_>],
        mut read: impl FnMut(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.is_empty() && self.since < STRAIGHT {
            self.last = None;
            let result = read(buffers);
            match &result {
                Ok(length) => self.since += length,
                Err(_) => self.since = 0,
            }
            return result;
        }
        if self.is_empty() || self.since >= QUANTUM {
            self.take(room(buffers), &mut read)?;
        }
        let Some(queue) = self.next() else {
            self.since = 0;
            return Err(io::ErrorKind::WouldBlock.into());
        };
        self.last = Some(queue);
        let length = self.give(queue, buffers);
        self.since += length;
        Ok(length)
    }

    /// Returns, as [`Flows::read`] does, a packet that is not large, of another flow than the packet
    /// before that was returned by that method. None is returned if that was not sorted.
    ///
    /// # Errors
    /// Those of [`Flows::read`].
    pub fn read_other(
        &mut self,
        buffers: &mut [IoSliceMut<'_>],
        mut read: impl FnMut(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let nothing = || io::Error::from(io::ErrorKind::WouldBlock);
        let last = self.last.ok_or_else(nothing)?;
        self.take(LONGEST * CHUNK, &mut read)?;
        let other = |queue: &&u16| {
            let flow = &self.queues[usize::from(**queue)];
            let small = || self.pieces[usize::from(flow.ends.0)].rest <= LARGE;
            **queue != last && flow.count > 0 && small()
        };
        let queue = *self
            .new
            .iter()
            .chain(&self.old)
            .find(other)
            .ok_or_else(nothing)?;
        Ok(self.give(queue, buffers))
    }

    /// Takes packets of up to `longest` bytes out of the interface.
    ///
    /// # Errors
    /// Those of `read` when no packet waits here, except that there may be none.
    fn take(
        &mut self,
        longest: usize,
        read: &mut impl FnMut(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.since = 0;
        if self.pieces.is_empty() {
            let piece = || Piece {
                chunk: vec![0; CHUNK].into_boxed_slice(),
                ..Piece::default()
            };
            self.pieces = (0..MOST + LONGEST).map(|_| piece()).collect();
            self.free.extend(0..(MOST + LONGEST) as u16);
        }
        let count = longest.div_ceil(CHUNK).clamp(1, LONGEST);
        let mut taken = 0;
        for _ in 0..AT_ONCE {
            if taken > MOST {
                break;
            }
            while self.used + count > MOST {
                self.drop_one();
            }
            // The chunks are taken out, so that they can be lent one beside the other.
            let unused = self.free[self.free.len() - count..].iter().rev();
            let mut lent = FixedVec::<Box<[u8]>, LONGEST>::new();
            for index in unused {
                let _ = lent.push(std::mem::take(&mut self.pieces[usize::from(*index)].chunk));
            }
            let mut chunks = FixedVec::<IoSliceMut<'_>, LONGEST>::new();
            for chunk in &mut lent {
                let _ = chunks.push(IoSliceMut::new(chunk));
            }
            let result = read(&mut chunks);
            drop(chunks);
            for (index, chunk) in self.free.iter().rev().zip(lent) {
                self.pieces[usize::from(*index)].chunk = chunk;
            }
            match result {
                // An empty packet, returned again and again, means that the other side is closed.
                Ok(0) => break,
                Ok(length) => {
                    taken += length.div_ceil(CHUNK);
                    self.sort(length.min(count * CHUNK));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if self.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Puts the packet of `length` bytes in the last free chunks into the queue of its flow.
    fn sort(&mut self, length: usize) {
        let first = self
            .free
            .last()
            .map(|index| &*self.pieces[usize::from(*index)].chunk);
        let head = first.map_or(&[][..], |chunk| &chunk[..length.min(CHUNK)]);
        let queue = self.queue_of(head.get(self.offset..).unwrap_or_default());
        let flow = &mut self.queues[usize::from(queue)];
        let mut rest = length;
        while rest > 0
            && let Some(index) = self.free.pop()
        {
            let length = rest.min(CHUNK);
            let piece = &mut self.pieces[usize::from(index)];
            (piece.length, piece.rest) = (length, rest);
            if flow.count == 0 {
                flow.ends.0 = index;
            } else {
                self.pieces[usize::from(flow.ends.1)].next = index;
            }
            flow.ends.1 = index;
            flow.count += 1;
            self.used += 1;
            rest -= length;
        }
        if !std::mem::replace(&mut flow.listed, true) {
            flow.left = QUANTUM as isize;
            self.new.push_back(queue);
        }
    }

    /// Returns the queue of a packet: that of its addresses, its protocol and its ports. Fragments
    /// have none; the kernel sorts them by their addresses, too.
    fn queue_of(&self, packet: &[u8]) -> u16 {
        let Ok(network) = Network::parse(packet) else {
            return 0;
        };
        let addresses = if network.v6 { 8..40 } else { 12..20 };
        let ported = matches!(network.protocol, TCP | UDP) && !network.fragment;
        let ports = network.transport..network.transport + if ported { 4 } else { 0 };
        let words = [addresses, ports].map(|range| packet.get(range).unwrap_or_default());
        let mut hash = self.seed ^ u64::from(network.protocol);
        for word in words.iter().flat_map(|bytes| bytes.as_chunks::<4>().0) {
            hash = (hash ^ u64::from(u32::from_ne_bytes(*word))).wrapping_mul(FACTOR);
            hash ^= hash >> 32;
        }
        (hash % QUEUES as u64) as u16
    }

    /// Returns the queue whose turn it is.
    fn next(&mut self) -> Option<u16> {
        loop {
            let new = !self.new.is_empty();
            let list = if new { &mut self.new } else { &mut self.old };
            let queue = *list.front()?;
            let flow = &mut self.queues[usize::from(queue)];
            if flow.left > 0 && flow.count > 0 {
                return Some(queue);
            }
            list.pop_front();
            // A new flow becomes an old one first, so that one that sends a packet now and then is
            // not always ahead of the others (RFC 8290 section 4.2).
            if flow.count == 0 && !new {
                flow.listed = false;
                continue;
            }
            if flow.left <= 0 {
                flow.left += QUANTUM as isize;
            }
            self.old.push_back(queue);
        }
    }

    /// Moves the first packet of a queue to `buffers`, and returns its length in bytes.
    fn give(&mut self, queue: u16, buffers: &mut [IoSliceMut<'_>]) -> usize {
        let flow = &mut self.queues[usize::from(queue)];
        let mut buffers = buffers.iter_mut();
        let mut room: &mut [u8] = &mut [];
        let mut total = 0;
        while flow.count > 0 {
            let index = flow.ends.0;
            let piece = &self.pieces[usize::from(index)];
            let mut bytes = &piece.chunk[..piece.length];
            while !bytes.is_empty() {
                if room.is_empty() {
                    let Some(buffer) = buffers.next() else {
                        break;
                    };
                    room = buffer;
                    continue;
                }
                let some = bytes.len().min(room.len());
                let (now, behind) = std::mem::take(&mut room).split_at_mut(some);
                now.copy_from_slice(&bytes[..some]);
                (bytes, room) = (&bytes[some..], behind);
                total += some;
            }
            let last = piece.rest == piece.length;
            flow.ends.0 = piece.next;
            flow.count -= 1;
            self.free.push(index);
            self.used -= 1;
            if last {
                break;
            }
        }
        flow.left -= total as isize;
        total
    }

    /// Drops the first packet of the longest queue.
    fn drop_one(&mut self) {
        let longest = self.new.iter().chain(&self.old);
        let longest = longest.max_by_key(|queue| self.queues[usize::from(**queue)].count);
        if let Some(queue) = longest.copied() {
            self.give(queue, &mut []);
        }
    }
}

/// Returns the number of bytes that buffers have room for.
fn room(buffers: &[IoSliceMut<'_>]) -> usize {
    buffers.iter().map(|buffer| buffer.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use proptest::prelude::*;

    use super::*;

    /// An interface with one queue, and the packets that were taken out of it.
    struct Fake {
        flows: Flows,
        queue: RefCell<VecDeque<Vec<u8>>>,
        offset: usize,
        calls: usize,
    }

    impl Fake {
        fn new(offset: usize) -> Self {
            Self {
                flows: Flows::new(offset),
                queue: RefCell::default(),
                offset,
                calls: 0,
            }
        }

        /// Puts a UDP packet of `length` bytes into the queue, with the number of its flow as its
        /// source port, and a number.
        fn put(&self, flow: u16, number: u32, length: usize) {
            let mut packet = vec![0; self.offset + length.max(32)];
            packet[self.offset] = 0x45;
            packet[self.offset + 9] = UDP;
            packet[self.offset + 20..][..2].copy_from_slice(&flow.to_be_bytes());
            packet[self.offset + 28..][..4].copy_from_slice(&number.to_be_bytes());
            // Bytes from anywhere else would show.
            for (index, byte) in packet[self.offset + 32..].iter_mut().enumerate() {
                *byte = (index as u32 ^ number) as u8;
            }
            self.queue.borrow_mut().push_back(packet);
        }

        /// Returns flow, number and length of the next packet; `None` for WouldBlock.
        fn next(&mut self, other: bool) -> Option<(u16, u32, usize)> {
            let (mut head, mut body) = ([0; 7], vec![0; 70_000]);
            let buffers = &mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut body)];
            let (queue, calls) = (&self.queue, &mut self.calls);
            let read = |buffers: &mut [IoSliceMut<'_>]| {
                *calls += 1;
                let next = queue.borrow_mut().pop_front();
                let packet = next.ok_or(io::ErrorKind::WouldBlock)?;
                let mut rest = &packet[..];
                for buffer in buffers {
                    let (now, behind) = rest.split_at(rest.len().min(buffer.len()));
                    buffer[..now.len()].copy_from_slice(now);
                    rest = behind;
                }
                Ok(packet.len() - rest.len())
            };
            let result = match other {
                true => self.flows.read_other(buffers, read),
                false => self.flows.read(buffers, read),
            };
            let length = match result {
                Ok(length) => length,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    return None;
                }
            };
            let packet = [&head[..], &body].concat();
            let packet = &packet[self.offset..length];
            let number = u32::from_be_bytes(packet[28..32].try_into().unwrap());
            for (index, byte) in packet[32..].iter().enumerate() {
                assert_eq!(*byte, (index as u32 ^ number) as u8);
            }
            let flow = u16::from_be_bytes([packet[20], packet[21]]);
            Some((flow, number, packet.len()))
        }
    }

    #[test]
    fn a_lone_packet_takes_one_read_and_no_memory() {
        let mut fake = Fake::new(0);
        for number in 0..100 {
            fake.put(1, number, 1500);
            assert_eq!(fake.next(false), Some((1, number, 1500)));
            assert_eq!(fake.next(false), None);
        }
        assert_eq!(fake.calls, 200);
        assert!(fake.flows.pieces.is_empty());
    }

    #[test]
    fn a_packet_of_another_flow_does_not_wait_behind_an_upload() {
        let mut fake = Fake::new(0);
        (0..300).for_each(|number| fake.put(1, number, 1500));
        let mut sent = 0;
        for _ in 0..15 {
            sent += fake.next(false).unwrap().2;
        }
        fake.put(2, 1000, 84);
        while fake.next(false).unwrap().0 == 1 {
            sent += 1500;
        }
        // The straight bytes, and a turn.
        assert!(sent <= STRAIGHT + 2 * QUANTUM, "{sent}");
    }

    #[test]
    fn what_passes_is_small_and_of_another_flow_than_the_packet_before() {
        let mut fake = Fake::new(10);
        (0..9).for_each(|number| fake.put(1, number, 64_000));
        assert_eq!(fake.next(false), Some((1, 0, 64_000)), "not sorted");
        fake.put(2, 9, 84);
        assert_eq!(fake.next(true), None);
        assert_eq!(fake.next(false), Some((1, 1, 64_000)));
        fake.put(3, 10, 3000);
        fake.put(2, 11, 84);
        assert_eq!(fake.next(true), Some((2, 9, 84)));
        assert_eq!(fake.next(true), Some((2, 11, 84)));
        assert_eq!(fake.next(true), None);
        let rest: Vec<_> = std::iter::from_fn(|| fake.next(false)).collect();
        assert_eq!(rest.len(), 8, "{rest:?}");
    }

    #[test]
    fn the_longest_queue_loses_its_first_packets() {
        let mut fake = Fake::new(0);
        (0..2000).for_each(|number| fake.put(1, number, 1500));
        (0..20).for_each(|number| fake.put(2, number, 1500));
        let mut come = [Vec::new(), Vec::new()];
        while let Some((flow, number, _)) = fake.next(false) {
            come[usize::from(flow) - 1].push(number);
        }
        assert_eq!(come[1], (0..20).collect::<Vec<_>>());
        assert!(come[0].len() < 2000 && come[0].is_sorted());
        assert_eq!(come[0].last(), Some(&1999));
        assert_eq!(fake.flows.free.len(), MOST + LONGEST);
    }

    #[test]
    fn other_packets_than_udp_and_tcp_have_queues_too() {
        let flows = Flows::new(0);
        for packet in [&[][..], &[0x45; 12], &[0x60; 40], &[0; 60], &[0x4f; 20]] {
            assert!(usize::from(flows.queue_of(packet)) < QUEUES);
        }
        let mut fragment = [0; 60];
        (fragment[0], fragment[6], fragment[9]) = (0x45, 0x20, UDP);
        let first = flows.queue_of(&fragment);
        (fragment[7], fragment[20]) = (185, 77);
        assert_eq!(flows.queue_of(&fragment), first);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_changed_and_flows_keep_their_order(
            packets in prop::collection::vec((0_u16..6, 32_usize..64_000, any::<bool>()), 1..60),
            turns in prop::collection::vec((0_u8..3, 1_usize..4), 1..60),
        ) {
            let mut fake = Fake::new(10);
            let mut packets = packets.into_iter().enumerate();
            let mut seen = vec![Vec::new(); 6];
            let (mut put, mut come) = (0, 0);
            for (what, count) in turns.into_iter().cycle().take(500) {
                for _ in 0..count {
                    match what {
                        0 if fake.flows.used + fake.queue.borrow().len() * LONGEST < MOST - 2 * LONGEST => {
                            let Some((number, (flow, length, small))) = packets.next() else {
                                continue;
                            };
                            let length = if small { length % 1468 + 32 } else { length };
                            fake.put(flow, number as u32, length);
                            put += 1;
                        }
                        1 | 0 => if let Some((flow, number, _)) = fake.next(false) {
                            seen[usize::from(flow)].push(number);
                            come += 1;
                        },
                        _ => {
                            let last = fake.flows.last;
                            if let Some((flow, number, length)) = fake.next(true) {
                                prop_assert!(length + 10 <= LARGE && last.is_some());
                                seen[usize::from(flow)].push(number);
                                come += 1;
                            }
                        }
                    }
                }
            }
            while let Some((flow, number, _)) = fake.next(false) {
                seen[usize::from(flow)].push(number);
                come += 1;
            }
            prop_assert_eq!(put, come);
            prop_assert!(fake.flows.is_empty());
            for numbers in seen {
                prop_assert!(numbers.is_sorted(), "{numbers:?}");
            }
        }
    }
}
