//! Scattered reading from an offload TUN, so that every payload lands where it is to stay.
//!
//! # Theory of operation
//!
//! A large packet has its headers once; the datagrams it stands for need them in front of every
//! payload. So the read is scattered, with gaps:
//!
//! ```text
//! the packet   [ headers | payload 1 | payload 2 | payload 3 ]
//! in memory    [ headers | payload 1 ] [  gap  | payload 2 ] [  gap  | payload 3 ]
//! ```
//!
//! [`Plan::write`] then fills the gaps. Where the gaps lie depends on the lengths of headers and
//! segments, which are known only after the read. They are predicted to be those of the last large
//! packet: within a connection neither changes, and with the full segments that TCP usually sends
//! their sum, and so the place of every datagram, is the same for all connections. Bytes that do
//! not fit the places reserved go to a spill buffer behind them, so that nothing is ever cut off.
//!
//! When the prediction was wrong, payload is moved once and counted ([`Counters::moved`]). The
//! offset at which a byte was put and the one at which it belongs both rise along the packet, so
//! pieces that move down overwrite nothing when moved first to last, nor do pieces that move up
//! when moved last to first.
//!
//! While no large packet comes, one place of the longest packet's length is reserved.
//!
//! While only short packets come (a download's acknowledgements, voice), a packet is read into the
//! spill buffer and copied to its place. With the copy, a read into one buffer takes 370 instructions
//! less than a scattered one (of 2300, 92 bytes, Linux 6.1), and no place is reserved for a packet
//! whose length is not known yet.
//!
//! Datagrams that the caller's areas have no room for wait in the spill buffer for
//! [`Scatter::drain`].

use std::io::{self, IoSliceMut};

use heapless::Vec as FixedVec;

use crate::headers::{Refused, VNET_HEADER, VnetHeader};
use crate::segment::{Checksum, Plan};

/// Length in bytes of the longest packet that the TUN driver sends (`GSO_LEGACY_MAX_SIZE`), and
/// some more, so that a packet that was cut off is noticed.
const MAX_PACKET: usize = (64 << 10) + 256;
/// Largest number of datagrams placed by one read; further ones follow from the spill buffer.
const MAX_PLACES: usize = 64;
/// Largest number of areas that one read fills.
pub const MAX_AREAS: usize = 16;
/// Length in bytes of the longest packet that is short.
const SHORT: usize = 256;
/// Number of packets after a large one during which another is expected, and after one that is not
/// short during which another such is expected.
const MEMORY: u32 = 32;

/// Place of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index of the area among those given to [`Scatter::receive`].
    pub area: usize,
    /// Offset in that area, in bytes.
    pub offset: usize,
}

/// Layout of datagrams, in their order, in areas of memory.
///
/// With NTBs, an area is a USB buffer, and an NTB builder chooses the places. Where one NTB is full
/// the next one continues, so that a packet of 64 KiB finds its places in several NTBs of 16 KiB.
/// Each NTB needs a builder of its own until it is known, after the read, how far it is filled.
/// With a single NTB the rest of a packet goes through the spill buffer, which is correct and costs
/// a copy.
pub trait Layout {
    /// Returns the place of the next datagram, of `length` bytes: behind the one before, in the
    /// same area or a later one. Returns `None` when there is no room for it.
    fn place(&mut self, length: usize) -> Option<Place>;

    /// Takes back every place given since this layout was passed to [`Scatter::receive`], except
    /// the first `count`, as if it had never been asked for.
    fn keep(&mut self, count: usize);
}

/// Datagrams that one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Number of datagrams in place and complete; 0 also when the packet was refused.
    pub datagrams: usize,
    /// Number of bytes in these datagrams.
    pub bytes: usize,
    /// Number of datagrams that wait for [`Scatter::drain`].
    pub waiting: usize,
}

/// Counts since the scatter was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Number of packets read.
    pub packets: u64,
    /// Number of packets that were cut.
    pub cut: u64,
    /// Number of datagrams put in place.
    pub datagrams: u64,
    /// Number of payload bytes put in place.
    pub payload: u64,
    /// Number of payload bytes that had to be moved to their place after the read, because the
    /// prediction was wrong or their place had no room. Short packets that were expected are not
    /// counted.
    pub moved: u64,
    /// Number of packets dropped because they cannot be taken apart ([`Refused`]).
    pub refused: u64,
    /// Number of datagrams dropped by [`Scatter::skip`].
    pub skipped: u64,
}

/// Piece of a packet and its place in memory. The index of the spill buffer is the one behind the
/// last area.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Offset in the packet, in bytes.
    stream: usize,
    /// Index of the area.
    area: usize,
    /// Offset in the area, in bytes.
    offset: usize,
    /// Length in bytes.
    length: usize,
}

/// A copy of `length` bytes between two places, each the index of an area and an offset in bytes.
#[derive(Debug, Clone, Copy)]
struct Move {
    from: (usize, usize),
    to: (usize, usize),
    length: usize,
}

/// Pieces of one packet in their order: the reserved places, then the spill buffer.
type Pieces = FixedVec<Piece, { MAX_PLACES + 1 }>;

/// Reads packets and puts the datagrams they stand for in place.
#[derive(Debug)]
pub struct Scatter {
    /// Length in bytes of the longest packet that is not large.
    mtu: usize,
    /// Length in bytes of the headers in the last large packet.
    header: usize,
    /// Length in bytes of the headers and one full segment in the last large packet.
    datagram: usize,
    /// Number of packets since the last large one.
    since_large: u32,
    /// Number of packets since the last that was not short.
    since_long: u32,
    /// Spill buffer, which takes the bytes that no place was reserved for, behind a virtio header where
    /// a short packet is expected.
    spill: Box<[u8]>,
    /// Plan of the packet whose datagrams wait; `None` when none wait.
    plan: Option<Plan>,
    /// Index of the first datagram that waits.
    next: usize,
    /// Offset in the packet of the byte that lies first in the spill buffer.
    spilled_from: usize,
    counters: Counters,
}

impl Scatter {
    /// Makes a scatter for an interface with an MTU of `mtu` bytes.
    #[must_use]
    pub fn new(mtu: usize) -> Scatter {
        Scatter {
            mtu: mtu.clamp(68, usize::from(u16::MAX)),
            header: 0,
            datagram: 0,
            since_large: MEMORY,
            since_long: 0,
            spill: vec![0; MAX_PACKET].into_boxed_slice(),
            plan: None,
            next: 0,
            spilled_from: 0,
            counters: Counters::default(),
        }
    }

    /// Takes a new MTU of the interface, in bytes.
    pub fn set_mtu(&mut self, mtu: usize) {
        self.mtu = mtu.clamp(68, usize::from(u16::MAX));
    }

    /// Returns the counts since the scatter was made.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns the length in bytes of the next datagram that waits; `None` if none waits.
    #[must_use]
    pub fn waiting(&self) -> Option<usize> {
        self.plan.as_ref().map(|plan| plan.length(self.next))
    }

    /// Returns whether the next packet may need places in several areas. A large packet that comes
    /// unexpectedly and finds less room goes through the spill buffer.
    #[inline]
    #[must_use]
    pub fn expects_large(&self) -> bool {
        self.plan.is_none() && self.since_large < MEMORY
    }

    /// Reads one packet by calling `read` once, and puts the datagrams that it stands for,
    /// complete, where `layout` says. In `areas` only the places that `layout` gave are
    /// overwritten.
    ///
    /// # Errors
    /// Returns the error of `read`, and then the layout is rewound; [`io::ErrorKind::InvalidInput`]
    /// while datagrams wait for [`Scatter::drain`], or if the layout places a datagram outside its
    /// area or not in order; [`io::ErrorKind::InvalidData`] for a read without a whole virtio
    /// header.
    #[inline]
    pub fn receive(
        &mut self,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
        areas: &mut [&mut [u8]],
        layout: &mut impl Layout,
    ) -> io::Result<Received> {
        if self.plan.is_some() {
            return Err(invalid("datagrams of the packet before still wait"));
        }
        if areas.len() > MAX_AREAS {
            return Err(invalid("too many areas"));
        }
        if self.since_large < MEMORY {
            self.receive_large(read, areas, layout)
        } else if self.since_long < MEMORY {
            self.receive_small(read, areas, layout)
        } else {
            self.receive_short(read, areas, layout)
        }
    }

    /// Reads a packet that is expected to be short, and copies it to its place.
    #[inline]
    fn receive_short(
        &mut self,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
        areas: &mut [&mut [u8]],
        layout: &mut impl Layout,
    ) -> io::Result<Received> {
        let total = packet_length(read(&mut [IoSliceMut::new(&mut self.spill)]))?;
        let vnet = match self.spill.first_chunk() {
            Some(header) => VnetHeader::parse(header),
            None => Err(Refused::Short),
        };
        if (1..=SHORT).contains(&total)
            && let Ok(vnet @ VnetHeader { cut: None, .. }) = vnet
            && let Ok(checksum) = Checksum::of(&vnet, total)
            && let Some(place) = layout.place(total)
        {
            if !fits(place, total, areas, (0, 0)) {
                return Err(invalid("the layout has a place outside its area"));
            }
            let datagram = &mut areas[place.area][place.offset..place.offset + total];
            datagram.copy_from_slice(&self.spill[VNET_HEADER..VNET_HEADER + total]);
            checksum.complete(datagram);
            return Ok(self.one(total));
        }
        layout.keep(0);
        // A packet that fills the buffer was cut off.
        let vnet = if total + VNET_HEADER < self.spill.len() {
            vnet
        } else {
            Err(Refused::Short)
        };
        self.spill.copy_within(VNET_HEADER..VNET_HEADER + total, 0);
        self.complete(vnet, total, areas, layout, &mut Pieces::new())
    }

    /// Counts a packet of `total` bytes that was read as the one datagram it is.
    #[inline]
    fn one(&mut self, total: usize) -> Received {
        self.since_large = self.since_large.saturating_add(1);
        self.since_long = match total {
            ..=SHORT => self.since_long.saturating_add(1),
            _ => 0,
        };
        self.counters.packets += 1;
        self.counters.datagrams += 1;
        self.counters.payload += total as u64;
        Received {
            datagrams: 1,
            bytes: total,
            waiting: 0,
        }
    }

    /// Reads a packet that is expected to be one datagram.
    #[inline]
    fn receive_small(
        &mut self,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
        areas: &mut [&mut [u8]],
        layout: &mut impl Layout,
    ) -> io::Result<Received> {
        let room = self.mtu;
        let Some(place) = layout
            .place(room)
            .filter(|place| fits(*place, room, areas, (0, 0)))
        else {
            layout.keep(0);
            return self.receive_pieces(read, areas, layout, Pieces::new());
        };
        let slot = place.offset..place.offset + room;
        let mut header = [0; VNET_HEADER];
        let result = read(&mut [
            IoSliceMut::new(&mut header),
            IoSliceMut::new(&mut areas[place.area][slot]),
            IoSliceMut::new(&mut self.spill),
        ]);
        layout.keep(0);
        let total = packet_length(result)?;
        let vnet = VnetHeader::parse(&header);
        if (1..=room).contains(&total)
            && let Ok(vnet @ VnetHeader { cut: None, .. }) = vnet
            && let Ok(checksum) = Checksum::of(&vnet, total)
            && layout.place(total) == Some(place)
        {
            checksum.complete(&mut areas[place.area][place.offset..][..total]);
            return Ok(self.one(total));
        }
        layout.keep(0);
        let mut pieces = Pieces::new();
        let _ = pieces.push(Piece {
            stream: 0,
            area: place.area,
            offset: place.offset,
            length: room,
        });
        self.complete(vnet, total, areas, layout, &mut pieces)
    }

    /// Reads a packet that may need many places.
    fn receive_large(
        &mut self,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
        areas: &mut [&mut [u8]],
        layout: &mut impl Layout,
    ) -> io::Result<Received> {
        let mut pieces = Pieces::new();
        self.reserve(areas, layout, &mut pieces);
        self.receive_pieces(read, areas, layout, pieces)
    }

    /// Reads a packet into `pieces`, and the bytes that they have no room for into the spill
    /// buffer.
    fn receive_pieces(
        &mut self,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
        areas: &mut [&mut [u8]],
        layout: &mut impl Layout,
        mut pieces: Pieces,
    ) -> io::Result<Received> {
        let mut header = [0; VNET_HEADER];
        let result = {
            let mut slices = FixedVec::<IoSliceMut<'_>, { MAX_PLACES + 2 }>::new();
            let _ = slices.push(IoSliceMut::new(&mut header));
            split(areas, &pieces, &mut slices);
            let _ = slices.push(IoSliceMut::new(&mut self.spill));
            read(&mut slices)
        };
        let total = match packet_length(result) {
            Ok(total) => total,
            Err(error) => {
                layout.keep(0);
                return Err(error);
            }
        };
        self.complete(
            VnetHeader::parse(&header),
            total,
            areas,
            layout,
            &mut pieces,
        )
    }

    /// Moves a packet of `total` bytes, which was read into `pieces` and the spill buffer behind
    /// them, to its places.
    fn complete(
        &mut self,
        vnet: Result<VnetHeader, Refused>,
        total: usize,
        areas: &mut [&mut [u8]],
        layout: &mut impl Layout,
        pieces: &mut Pieces,
    ) -> io::Result<Received> {
        self.counters.packets += 1;
        self.since_long = 0;
        let reserved = pieces.last().map_or(0, |last| last.stream + last.length);
        let capacity = reserved + self.spill.len();
        let places = pieces.len();
        // The spill buffer is the last piece. The list has one entry more than there may be places,
        // so this cannot fail.
        let _ = pieces.push(Piece {
            stream: reserved,
            area: areas.len(),
            offset: 0,
            length: self.spill.len(),
        });
        let plan = if total >= capacity {
            Err(Refused::Short)
        } else {
            vnet.and_then(|vnet| self.plan(&vnet, areas, pieces, total))
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(refused) => {
                layout.keep(0);
                self.counters.refused += 1;
                tracing::debug!(%refused, total, "a packet from the host was dropped");
                return Ok(Received::default());
            }
        };
        let mut right = 0;
        if plan.is_cut() {
            // Where the prediction was right, the datagrams stay in the places reserved for them.
            if self.since_large < MEMORY
                && plan.header() == self.header
                && plan.length(0) == self.datagram
            {
                right = plan.full_datagrams().min(places);
            }
            self.counters.cut += 1;
            self.header = plan.header();
            self.datagram = plan.length(0);
            self.since_large = 0;
        } else {
            self.since_large = self.since_large.saturating_add(1);
        }
        layout.keep(right);
        self.settle(plan, areas, layout, pieces, right)
    }

    /// Reserves places for the large packet that is expected.
    fn reserve(&self, areas: &[&mut [u8]], layout: &mut impl Layout, pieces: &mut Pieces) {
        let (datagram, header) = (self.datagram, self.header);
        let segment = (datagram - header).max(1);
        let most = MAX_PACKET.div_ceil(segment).min(MAX_PLACES);
        let (mut stream, mut end) = (0, (0, 0));
        for index in 0..most {
            let Some(place) = layout.place(datagram) else {
                break;
            };
            if !fits(place, datagram, areas, end) {
                break;
            }
            end = (place.area, place.offset + datagram);
            let gap = if index == 0 { 0 } else { header };
            let length = datagram - gap;
            let _ = pieces.push(Piece {
                stream,
                area: place.area,
                offset: place.offset + gap,
                length,
            });
            stream += length;
        }
    }

    /// Returns the plan of the packet that was read into `pieces`.
    fn plan(
        &self,
        vnet: &VnetHeader,
        areas: &[&mut [u8]],
        pieces: &Pieces,
        total: usize,
    ) -> Result<Plan, Refused> {
        let bytes = |piece: &Piece| -> &[u8] {
            let area: &[u8] = match areas.get(piece.area) {
                Some(area) => area,
                None => &self.spill,
            };
            &area[piece.offset..piece.offset + piece.length]
        };
        let first = pieces.first().map_or(&[][..], bytes);
        match Plan::new(vnet, first, total) {
            Err(Refused::Short) if first.len() < total => {
                // The headers are longer than the first place. That is rare enough for a copy.
                let mut head = FixedVec::<u8, { 2 * crate::headers::MAX_HEADER }>::new();
                for piece in pieces {
                    let room = head.capacity() - head.len();
                    let bytes = bytes(piece);
                    let _ = head.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
                Plan::new(vnet, &head, total)
            }
            result => result,
        }
    }

    /// Moves the payloads that were read to their places and completes the datagrams. The first
    /// `right` of them lie in place already, and the layout has kept them.
    fn settle(
        &mut self,
        plan: Plan,
        areas: &mut [&mut [u8]],
        layout: &mut impl Layout,
        pieces: &Pieces,
        right: usize,
    ) -> io::Result<Received> {
        let header = plan.header();
        let length = plan.length(0);
        let mut end = (0, 0);
        for (index, piece) in pieces[..right].iter().enumerate() {
            let start = if index == 0 {
                piece.offset
            } else {
                piece.offset - header
            };
            end = (piece.area, start + length);
            plan.write(index, &mut areas[piece.area][start..start + length]);
        }
        let mut targets = Pieces::new();
        let mut received = Received {
            datagrams: right,
            bytes: right * length,
            waiting: 0,
        };
        while received.datagrams < plan.datagrams().min(MAX_PLACES) {
            let length = plan.length(received.datagrams);
            let Some(place) = layout.place(length) else {
                break;
            };
            if !fits(place, length, areas, end) {
                return Err(invalid(
                    "the layout has a place outside its area, or not in order",
                ));
            }
            end = (place.area, place.offset + length);
            let payload = plan.payload(received.datagrams);
            let _ = targets.push(Piece {
                stream: payload.start,
                area: place.area,
                offset: place.offset + header,
                length: payload.len(),
            });
            received.datagrams += 1;
            received.bytes += length;
        }
        received.waiting = plan.datagrams() - received.datagrams;
        let placed = received.bytes - received.datagrams * header;
        if received.waiting > 0 {
            let start = plan.payload(received.datagrams).start;
            let end = plan.payload(plan.datagrams() - 1).end;
            let _ = targets.push(Piece {
                stream: start,
                area: areas.len(),
                offset: 0,
                length: end - start,
            });
            self.spilled_from = start;
        }
        self.counters.moved += relocate(areas, &mut self.spill, &pieces[right..], &targets);
        for (index, piece) in (right..received.datagrams).zip(&targets) {
            let start = piece.offset - header;
            plan.write(
                index,
                &mut areas[piece.area][start..piece.offset + piece.length],
            );
        }
        self.counters.datagrams += received.datagrams as u64;
        self.counters.payload += placed as u64;
        if received.waiting > 0 {
            self.next = received.datagrams;
            self.plan = Some(plan);
            // The list of places may have been full although the areas have room.
            if received.datagrams == MAX_PLACES {
                let more = self.drain(areas, layout)?;
                received.datagrams += more.datagrams;
                received.bytes += more.bytes;
                received.waiting = more.waiting;
            }
        }
        Ok(received)
    }

    /// Puts datagrams that wait where `layout` says, as far as it has room.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if the layout places a datagram outside its area.
    pub fn drain(
        &mut self,
        areas: &mut [&mut [u8]],
        layout: &mut impl Layout,
    ) -> io::Result<Received> {
        let mut received = Received::default();
        while let Some(plan) = &self.plan {
            let length = plan.length(self.next);
            let Some(place) = layout.place(length) else {
                received.waiting = plan.datagrams() - self.next;
                break;
            };
            if !fits(place, length, areas, (0, 0)) {
                return Err(invalid("the layout has a place outside its area"));
            }
            let datagram = &mut areas[place.area][place.offset..place.offset + length];
            let payload = plan.payload(self.next);
            let spilled = payload.start - self.spilled_from..payload.end - self.spilled_from;
            datagram[plan.header()..].copy_from_slice(&self.spill[spilled]);
            plan.write(self.next, datagram);
            received.datagrams += 1;
            received.bytes += length;
            self.counters.datagrams += 1;
            self.counters.payload += payload.len() as u64;
            self.counters.moved += payload.len() as u64;
            self.advance();
        }
        Ok(received)
    }

    /// Drops the next datagram that waits, because it fits into no NTB, and counts it.
    pub fn skip(&mut self) {
        if self.plan.is_some() {
            self.counters.skipped += 1;
            self.advance();
        }
    }

    /// Goes on to the next datagram that waits, and forgets the plan behind the last.
    fn advance(&mut self) {
        self.next += 1;
        if self
            .plan
            .as_ref()
            .is_none_or(|plan| self.next >= plan.datagrams())
        {
            self.plan = None;
        }
    }
}

/// Returns the length in bytes of a packet that was read behind its virtio header.
#[inline]
fn packet_length(read: io::Result<usize>) -> io::Result<usize> {
    let short = || io::Error::new(io::ErrorKind::InvalidData, "no virtio header was read");
    read?.checked_sub(VNET_HEADER).ok_or_else(short)
}

/// Returns an error of the kind [`io::ErrorKind::InvalidInput`].
fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Returns whether a place for `length` bytes lies in its area and not before `end`, which is the
/// index of an area and an offset in it.
#[inline]
fn fits(place: Place, length: usize, areas: &[&mut [u8]], end: (usize, usize)) -> bool {
    (place.area, place.offset) >= end
        && areas
            .get(place.area)
            .is_some_and(|area| place.offset <= area.len() && length <= area.len() - place.offset)
}

/// Pushes to `slices` the memory of pieces, which lie in order and inside their areas.
#[inline]
fn split<'a, const N: usize>(
    areas: &'a mut [&mut [u8]],
    pieces: &[Piece],
    slices: &mut FixedVec<IoSliceMut<'a>, N>,
) {
    let mut areas = areas.iter_mut().enumerate();
    let (mut area, mut rest, mut at): (usize, &'a mut [u8], usize) = (usize::MAX, &mut [], 0);
    for piece in pieces {
        while area != piece.area {
            match areas.next() {
                Some((index, bytes)) => (area, rest, at) = (index, bytes, 0),
                None => return,
            }
        }
        let (_, from) = std::mem::take(&mut rest).split_at_mut(piece.offset - at);
        let (mine, behind) = from.split_at_mut(piece.length);
        rest = behind;
        at = piece.offset + piece.length;
        let _ = slices.push(IoSliceMut::new(mine));
    }
}

/// Moves the bytes from the pieces of `from` to those of `to`, and returns the number of bytes
/// moved. Both lists are in order along the packet and in memory. Bytes that `to` leaves out are
/// not needed.
fn relocate(areas: &mut [&mut [u8]], spill: &mut [u8], from: &[Piece], to: &[Piece]) -> u64 {
    let mut moves = FixedVec::<Move, { 2 * (MAX_PLACES + 1) }>::new();
    let mut total = 0;
    let mut sources = from.iter().peekable();
    for target in to {
        let (mut stream, end) = (target.stream, target.stream + target.length);
        while stream < end {
            let Some(source) = sources.peek() else {
                return total;
            };
            let source_end = source.stream + source.length;
            if source_end <= stream {
                sources.next();
                continue;
            }
            let length = end.min(source_end) - stream;
            let step = Move {
                from: (source.area, source.offset + stream - source.stream),
                to: (target.area, target.offset + stream - target.stream),
                length,
            };
            if step.from != step.to {
                let _ = moves.push(step);
                total += length as u64;
            }
            stream += length;
        }
    }
    for step in moves.iter().filter(|step| step.to < step.from) {
        copy(areas, spill, step);
    }
    for step in moves.iter().rev().filter(|step| step.to > step.from) {
        copy(areas, spill, step);
    }
    total
}

/// Makes one move.
fn copy(areas: &mut [&mut [u8]], spill: &mut [u8], step: &Move) {
    let ((from, start), (to, at), length) = (step.from, step.to, step.length);
    let end = start + length;
    let behind = areas.len();
    if from == to {
        let area: &mut [u8] = if from == behind { spill } else { areas[from] };
        area.copy_within(start..end, at);
    } else if from == behind {
        areas[to][at..at + length].copy_from_slice(&spill[start..end]);
    } else if to == behind {
        spill[at..at + length].copy_from_slice(&areas[from][start..end]);
    } else if from < to {
        let (low, high) = areas.split_at_mut(to);
        high[0][at..at + length].copy_from_slice(&low[from][start..end]);
    } else {
        let (low, high) = areas.split_at_mut(from);
        low[to][at..at + length].copy_from_slice(&high[0][start..end]);
    }
}
