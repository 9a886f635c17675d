//! Coalescing: one large packet is made of a run of datagrams, as the kernel's receive offload
//! would make it.
//!
//! # Theory of operation
//!
//! Datagrams are pushed in the order of their arrival. Each lies in a receive buffer and stays
//! there. Consecutive datagrams of one flow are held as a run, and the run is written with one
//! gathered write: a virtio header and the headers of the first datagram with new lengths, then
//! every payload from its place. Runs of a few flows grow side by side. All of them are written at
//! the end of the batch, so no datagram waits for others that may never come.
//!
//! A datagram joins a run where the kernel would merge it (`tcp_gro_receive` in
//! net/ipv4/tcp_offload.c, `udp_gro_receive_segment` in net/ipv4/udp_offload.c,
//! `gro_receive_network_flush` in include/net/gro.h), so that cutting the large packet gives the
//! datagrams back:
//!
//! - Its headers are those of the run except for lengths, checksums and the fields below. IPv4
//!   options, fragments and padding keep it out.
//! - Its IPv4 identification counts up, or is that of all others with "don't fragment". In the
//!   second case, and only then, cutting gives other identifications, which mean nothing (RFC
//!   6864).
//! - A TCP segment has the next sequence number and the run's acknowledgement, window, options
//!   (timestamps among them) and flags. Of the flags only ACK and ECE may be set, and PSH and FIN,
//!   which end the run.
//! - Its payload is as long as that of the first, or shorter, which ends the run.
//! - The large packet does not become longer than 65535 bytes.
//! - Its checksums are intact, which is verified only where two datagrams would join.
//!
//! The kernel also merges behind a segment with CWR. Here such a segment is written alone, as every
//! unusual one is.
//!
//! The order within a flow never changes. A datagram that cannot join its flow's run is written
//! behind the run, and one whose flow cannot be told is written behind all runs between its
//! addresses.
//!
//! With [`Coalescer::filter_acks`], acknowledgements that a later one of the batch supersedes are
//! left out (`ack_filter`). Only datagrams that are written alone are looked at for that, so runs
//! cost the same.

use std::io::IoSlice;

use heapless::Vec as FixedVec;

use crate::ack_filter::{Ack, Held, Memory};
use crate::headers::{TCP, VNET_HEADER};

use part::{Datagram, Key, Part, intact};
use run::Run;

pub use part::Merge;

mod part;
mod run;

/// Number of flows whose runs grow side by side. The kernel keeps eight in each of eight buckets.
const FLOWS: usize = 8;
/// Largest number of datagrams in a run. A packet cannot hold more of those that are longer than
/// half a kilobyte.
const MOST: usize = 128;
/// Largest number of datagrams in a run of UDP (`UDP_GRO_CNT_MAX` in net/ipv4/udp_offload.c).
const MOST_UDP: usize = 64;
/// Virtio header of a packet that is complete as it is.
const PLAIN: [u8; VNET_HEADER] = [0; VNET_HEADER];

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

/// Merges datagrams into large packets. It allocates only when it is made.
#[derive(Debug)]
pub struct Coalescer {
    merge: Merge,
    runs: Box<[Run; FLOWS]>,
    /// Number of the youngest run.
    age: u64,
    counters: Counters,
    /// Memory of the ACK filter; `None` when the filter is off.
    acks: Option<Box<Memory<Key>>>,
}

impl Coalescer {
    /// Makes a coalescer that merges the kinds of datagrams in `merge` and no others.
    #[must_use]
    pub fn new(merge: Merge) -> Coalescer {
        Coalescer {
            merge,
            runs: Box::new(std::array::from_fn(|_| Run::free())),
            age: 0,
            counters: Counters::default(),
            acks: None,
        }
    }

    /// Switches the ACK filter on or off, which leaves out acknowledgements that a later one of the
    /// batch supersedes, as that of CAKE does (tc-cake(8)).
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

    /// Begins a batch. Its packets are given to `send` in the order in which they are to be
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
    /// First datagram of each run, which is sent unchanged when no other joins.
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
        // Most datagrams follow the one before, and one pass over the headers shows that.
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

    /// Sends all runs and acknowledgements held. Further datagrams may be pushed afterwards.
    #[inline]
    pub fn finish(&mut self) {
        self.flush_where(|_| true);
        while let Some(held) = self.held.next() {
            self.alone(held);
        }
    }

    /// Holds a datagram that may be superseded. Returns `false` for any other, before which the
    /// datagrams held of its flow are sent.
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

    /// Sends the acknowledgements that are held of the flows that `fits` accepts.
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

    /// Adds the next datagram of a run whose first is intact, or sends both when it is damaged.
    /// `last` says that it ends the run.
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
        // The run has room, because a full run has been sent.
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
