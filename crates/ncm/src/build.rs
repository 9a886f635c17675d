//! Building an NTB around datagrams that are already in place.
//!
//! [`Builder::place`] tells where the next datagram goes and how much room there is;
//! [`Builder::commit`] says how long it became; [`Builder::finish`] writes the header, the NDP
//! and the padding. Until then the NTB's memory is not touched, so many datagrams can be placed
//! before the bytes of the first arrive: a scattered read fills them all at once. If what arrived
//! is not what was expected, [`Builder::keep`] and [`Builder::rewind`] take the placing back.
//!
//! The bookkeeping lives in two fixed tables allocated once, one entry per datagram and one per
//! stream; the NTB's memory belongs to the caller.

use thiserror::Error;

use crate::framing::{Framing, NdpSize, Padding, Placement};
use crate::layout::{Layout, Stream};
use crate::link::{self, LinkHeader};

mod finish;

/// Largest number of datagrams that one builder keeps account of, whatever the framing asks for.
pub const MOST_DATAGRAMS: usize = 4096;
/// Largest number of NDPs, and so of streams, in one NTB.
pub const MOST_NDPS: usize = 32;

/// Reason why no further datagram goes into an NTB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Full {
    /// The NTB has too little room left. It is to be sent, and the datagram goes into the next one.
    #[error("the NTB has no room left for this datagram")]
    Room,
    /// The NTB has as many datagrams as the device takes. It is to be sent.
    #[error("the NTB has as many datagrams as the device takes")]
    Datagrams,
    /// The NTB has another stream's NDP, and there can be no further one. It is to be sent.
    #[error("the NTB belongs to another stream")]
    Stream,
    /// The datagram fits in no NTB. It is to be dropped.
    #[error("the datagram is too long for any NTB")]
    TooLong,
}

/// Place of a datagram in an NTB, from [`Builder::place`] to [`Builder::commit`].
#[derive(Debug)]
#[must_use]
pub struct Slot {
    /// Offset in the NTB at which the datagram starts, in bytes.
    pub offset: usize,
    /// Number of bytes the datagram can have at most.
    pub room: usize,
    /// Tail of the builder when the slot was made, in bytes. A slot is good until the next commit.
    tail: usize,
    stream: Stream,
    /// Number of bytes that the framing adds behind the datagram.
    trailer: usize,
    ndp: usize,
    /// Offset in bytes of the NDP that the datagram's stream still needs; `None` when the NTB has
    /// one already. With [`Placement::End`] it is 0, because the offset is not known before the
    /// NTB is finished.
    ndp_at: Option<usize>,
}

/// A state of an NTB to which [`Builder::rewind`] goes back.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    count: usize,
    ndp_count: usize,
    tail: usize,
    payload: usize,
    full: Option<Full>,
}

impl Mark {
    /// Returns the number of datagrams that were in the NTB.
    #[inline]
    #[must_use]
    pub fn datagrams(&self) -> usize {
        self.count
    }
}

/// A finished NTB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Number of bytes to send; 0 when nothing was placed.
    pub length: usize,
    /// Number of datagrams in the NTB.
    pub datagrams: usize,
    /// Number of bytes of datagrams in the NTB, padding to the least length included; the rest of
    /// [`Finished::length`] is framing, Ethernet headers that the builder wrote included.
    pub payload: usize,
    /// Whether the transfer must end with a zero-length packet for the device to see its end.
    pub zero_packet: bool,
    /// Reason why the last datagram was refused; `None` when none was, so that the NTB leaves
    /// because there is nothing more to send.
    pub reason: Option<Full>,
    /// `wSequence` of the NTB.
    pub sequence: u16,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    offset: u32,
    /// Length that the NDP states, in bytes: padding and CRC are included.
    length: u32,
    /// Number of padding bytes in front of the datagram, less than a divisor.
    gap: u16,
    /// Number of padding bytes at the datagram's end, in front of the CRC.
    filler: u16,
    ndp: u32,
}

#[derive(Debug, Clone, Copy)]
struct Ndp {
    stream: Stream,
    /// Offset of the NDP in the NTB, in bytes. With [`Placement::End`] it is not known before the
    /// NTB is finished.
    at: usize,
    /// Number of padding bytes in front of the NDP.
    gap: usize,
    /// Offset at which the NDP ends, in bytes. It is known when `at` is.
    end: usize,
}

/// Builds one NTB after another. See the [crate] for an example.
#[derive(Debug)]
pub struct Builder {
    framing: Framing,
    layout: &'static Layout,
    divisor: Modulus,
    ndp_alignment: Modulus,
    /// Whether the framing is the usual one, for which [`Builder::fit_simply`] suffices.
    usual: bool,
    /// Whether [`Builder::fit_simply`] suffices for this NTB.
    simple: bool,
    /// Number of bytes in front of each datagram for its Ethernet header.
    headroom: usize,
    /// Length of a full-size NDP in bytes.
    full_ndp: usize,
    /// Length in bytes to which an NTB may grow before padding.
    limit: usize,
    /// Offset at which the shortest NDP starts at the latest, not aligned.
    last_ndp: usize,
    entries: Box<[Entry]>,
    count: usize,
    ndps: [Ndp; MOST_NDPS],
    ndp_count: usize,
    /// Index of the first NDP that takes datagrams; those before it were closed by
    /// [`Builder::begin_next_ndp`].
    open_ndp: usize,
    /// Offset in bytes of the first byte of the NTB that is not used.
    tail: usize,
    payload: usize,
    full: Option<Full>,
    sequence: u16,
}

/// Divisor that costs no division where it is a power of two, as every sane device asks for.
#[derive(Debug, Clone, Copy)]
struct Modulus {
    value: usize,
    power: bool,
}

impl Modulus {
    fn new(value: usize) -> Self {
        let value = value.max(1);
        Self {
            value,
            power: value.is_power_of_two(),
        }
    }

    #[inline]
    fn remainder(self, value: usize) -> usize {
        if self.power {
            value & (self.value - 1)
        } else {
            value % self.value
        }
    }

    /// Returns `value` rounded up to the next multiple of the divisor.
    #[inline]
    fn up(self, value: usize) -> usize {
        match self.remainder(value) {
            0 => value,
            over => value + self.value - over,
        }
    }
}

impl Builder {
    /// Makes a builder for NTBs laid out as `framing` says. Values that cannot work are brought
    /// into range: divisors of 0 become 1, remainders are taken modulo their divisor, the NTB is
    /// kept within the format's length field and above its shortest form.
    ///
    /// Allocates once, 16 bytes for each datagram an NTB can have.
    #[must_use]
    pub fn new(mut framing: Framing) -> Self {
        let layout = framing.format.layout();
        framing.divisor = framing.divisor.clamp(1, 1 << 16);
        framing.remainder %= framing.divisor;
        framing.ndp_alignment = framing.ndp_alignment.clamp(1, 1 << 16);
        framing.max_packet_size = framing.max_packet_size.max(1);
        framing.min_datagram_size = framing
            .min_datagram_size
            .min(framing.max_datagram_size)
            .min(1 << 15);
        framing.max_ntb = framing
            .max_ntb
            .clamp(
                layout.header + layout.shortest_ndp(),
                layout.format.max_ntb(),
            )
            // Offsets are kept as 32 bits.
            .min(1 << 30);
        if framing.bare {
            framing.placement = Placement::End;
            framing.max_datagrams = 1;
        }
        // wLength has 16 bits in both formats.
        let most = (usize::from(u16::MAX) - layout.ndp) / layout.entry - 1;
        framing.max_datagrams = framing.max_datagrams.clamp(1, most.min(MOST_DATAGRAMS));
        if framing.placement == Placement::Front || framing.ndp_size == NdpSize::Full {
            // NDPs that take their full size leave half the NTB for datagrams.
            let most = (framing.max_ntb / 2).saturating_sub(layout.ndp) / layout.entry;
            framing.max_datagrams = framing.max_datagrams.min(most.saturating_sub(1)).max(1);
        }
        // A full NTB must end short too, unless it is as long as the device takes.
        let needs_byte = framing.max_ntb.is_multiple_of(framing.max_packet_size)
            && framing.max_ntb != framing.device_max_ntb;
        let limit = match framing.padding {
            Padding::ShortPacket | Padding::Full { .. } if needs_byte => framing.max_ntb - 1,
            _ => framing.max_ntb,
        };
        let usual = !framing.bare
            && framing.link.is_none()
            && framing.placement == Placement::End
            && framing.ndp_size == NdpSize::Minimal
            && framing.divisor.is_power_of_two()
            && framing.ndp_alignment.is_power_of_two();
        Self {
            layout,
            divisor: Modulus::new(framing.divisor),
            ndp_alignment: Modulus::new(framing.ndp_alignment),
            usual,
            simple: usual,
            headroom: framing.link.map_or(0, |_| link::HEADER),
            full_ndp: layout.ndp_with(framing.max_datagrams),
            limit,
            last_ndp: limit - layout.shortest_ndp(),
            entries: vec![Entry::default(); framing.max_datagrams].into_boxed_slice(),
            count: 0,
            ndps: [Ndp {
                stream: Stream::Ips(0),
                at: 0,
                gap: 0,
                end: 0,
            }; MOST_NDPS],
            ndp_count: 0,
            open_ndp: 0,
            tail: if framing.bare { 0 } else { layout.header },
            payload: 0,
            full: None,
            sequence: 0,
            framing,
        }
    }

    /// Sets the addresses of the Ethernet headers, from the NTB that is finished next on. Without
    /// [`Framing::link`] nothing is set.
    pub fn set_link(&mut self, link: LinkHeader) {
        if let Some(own) = &mut self.framing.link {
            *own = link;
        }
    }

    /// Returns the framing in force, after what [`Builder::new`] brought into range.
    #[must_use]
    pub fn framing(&self) -> &Framing {
        &self.framing
    }

    /// Returns whether nothing is in the NTB yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the number of datagrams in the NTB.
    #[must_use]
    pub fn datagrams(&self) -> usize {
        self.count
    }

    /// Returns the number of bytes of datagrams in the NTB.
    #[must_use]
    pub fn payload(&self) -> usize {
        self.payload
    }

    /// Returns the sequence number the next finished NTB gets.
    #[must_use]
    pub fn sequence(&self) -> u16 {
        self.sequence
    }

    /// Sets the sequence number the next finished NTB gets: 0 after the data interface was reset.
    pub fn set_sequence(&mut self, sequence: u16) {
        self.sequence = sequence;
    }

    /// Returns the first of these lengths, in bytes, at which a datagram alone makes an NTB fill its last
    /// packet, before padding. There may be none.
    #[must_use]
    pub fn filling_length(
        framing: &Framing,
        stream: Stream,
        mut lengths: impl Iterator<Item = usize>,
    ) -> Option<usize> {
        let framing = Framing {
            padding: Padding::Never,
            ..*framing
        };
        let mut ntb = vec![0; framing.max_ntb];
        lengths.find(|length| {
            let mut builder = Self::new(framing);
            let Ok(slot) = builder.place(stream, *length) else {
                return false;
            };
            builder.commit(slot, *length);
            let finished = builder.finish(&mut ntb);
            finished.length.is_multiple_of(framing.max_packet_size)
        })
    }

    /// Closes the NDPs of the NTB: the next datagram begins one of its own, chained behind them, even
    /// where its stream has one, and at the NTB's end too. Nothing is closed in an NTB that has no
    /// NDP, or as many as it can have.
    ///
    /// The order of the NDPs is that of their first datagrams. [`Builder::rewind`] and
    /// [`Builder::keep`] do not reopen an NDP that was closed.
    pub fn begin_next_ndp(&mut self) {
        if self.ndp_count > 0 && self.ndp_count < MOST_NDPS {
            self.open_ndp = self.ndp_count;
            self.simple = false;
        }
    }

    /// Returns the stream that an NDP names for datagrams of `stream`: with [`Framing::link`] they are
    /// frames.
    #[inline]
    fn on_wire(&self, stream: Stream) -> Stream {
        match self.headroom {
            0 => stream,
            _ => Stream::Ethernet { crc: false },
        }
    }

    /// Returns where a datagram of up to `want` bytes goes. Nothing is in the NTB before
    /// [`Builder::commit`]; a slot not committed may be dropped.
    ///
    /// # Errors
    /// [`Full::TooLong`] when it fits in no NTB; otherwise send this NTB and place it in the
    /// next.
    #[inline]
    pub fn place(&mut self, stream: Stream, want: usize) -> Result<Slot, Full> {
        let least = want.max(self.framing.min_datagram_size);
        if let Some((offset, room)) = self.fit_simply(stream, least) {
            return Ok(Slot {
                offset,
                room,
                tail: self.tail,
                stream,
                trailer: stream.trailer(),
                ndp: 0,
                ndp_at: None,
            });
        }
        // The slot is unwrapped and wrapped again, because the slot of the usual case stays in
        // registers only where it shares no memory with this one.
        let slot = self.place_slowly(stream, want)?;
        Ok(slot)
    }

    /// Places a datagram of `length` bytes where one of `want` bytes would go, which is at least as
    /// many, and commits it. Returns its offset in the NTB.
    ///
    /// # Errors
    /// As [`Builder::place`].
    #[inline]
    pub fn put(&mut self, stream: Stream, want: usize, length: usize) -> Result<usize, Full> {
        let want = want.max(length);
        let least = want.max(self.framing.min_datagram_size);
        if length > 0
            && let Some((offset, _)) = self.fit_simply(stream, least)
        {
            self.append(self.tail, offset, length, stream.trailer(), 0);
            return Ok(offset);
        }
        self.put_slowly(stream, want, length)
    }

    #[inline(never)]
    fn put_slowly(&mut self, stream: Stream, want: usize, length: usize) -> Result<usize, Full> {
        let slot = self.place_slowly(stream, want)?;
        let offset = slot.offset;
        self.commit(slot, length);
        Ok(offset)
    }

    /// Places a datagram of up to `want` bytes in any case, behind its Ethernet header where there is one.
    /// Out of line, because a loop over [`Builder::place`] would otherwise prepare for all cases with each
    /// datagram.
    #[inline(never)]
    fn place_slowly(&mut self, stream: Stream, want: usize) -> Result<Slot, Full> {
        let stream = self.on_wire(stream);
        let want = (want + self.headroom).max(self.framing.min_datagram_size);
        let result = self.find(stream, want);
        if let Err(reason) = result
            && reason != Full::TooLong
        {
            self.full = Some(reason);
        }
        let slot = result?;
        Ok(Slot {
            offset: slot.offset + self.headroom,
            room: slot.room - self.headroom,
            ..slot
        })
    }

    /// Finds where a datagram of up to `want` bytes goes, header and padding included, in any case. The
    /// slot is that of the header and the datagram.
    fn find(&self, stream: Stream, want: usize) -> Result<Slot, Full> {
        if want > self.framing.max_datagram_size {
            return Err(Full::TooLong);
        }
        if self.count == self.entries.len() {
            return Err(Full::Datagrams);
        }
        if self.framing.bare {
            let room = self.framing.max_ntb.min(self.framing.max_datagram_size);
            return (want <= room)
                .then_some(Slot {
                    offset: 0,
                    room,
                    tail: self.tail,
                    stream,
                    trailer: 0,
                    ndp: 0,
                    ndp_at: Some(0),
                })
                .ok_or(Full::TooLong);
        }
        let open = self.open_ndp.min(self.ndp_count);
        let known = self.ndps[open..self.ndp_count]
            .iter()
            .position(|ndp| ndp.stream == stream)
            .map(|index| open + index);
        let may_add = match self.framing.placement {
            Placement::End => open == self.ndp_count,
            Placement::Front => self.ndp_count < MOST_NDPS,
        };
        if known.is_none() && !may_add {
            return Err(Full::Stream);
        }

        let mut start = self.tail;
        let mut ndp_at = None;
        if known.is_none() {
            match self.framing.placement {
                Placement::End => ndp_at = Some(0),
                Placement::Front => {
                    let at = self.ndp_alignment.up(start);
                    ndp_at = Some(at);
                    start = at + self.full_ndp;
                }
            }
        }
        let offset = self.align(start);
        let ndps = self.ndp_count + usize::from(known.is_none());
        let room = self
            .end_limit(ndps)
            .saturating_sub(offset + stream.trailer())
            .min(self.framing.max_datagram_size);
        if want > room {
            return Err(if self.count == 0 {
                Full::TooLong
            } else {
                Full::Room
            });
        }
        Ok(Slot {
            offset,
            room,
            tail: self.tail,
            stream,
            trailer: stream.trailer(),
            ndp: known.unwrap_or(self.ndp_count),
            ndp_at,
        })
    }

    /// Returns offset and room as [`Builder::find`] finds them in the usual case: the NDP at the
    /// end and no longer than needed, alignments that are powers of two, and neither the first
    /// datagram nor the last.
    #[inline]
    fn fit_simply(&self, stream: Stream, want: usize) -> Option<(usize, usize)> {
        if !self.simple || self.ndp_count != 1 || self.ndps[0].stream != stream {
            return None;
        }
        let Framing { remainder, .. } = self.framing;
        let padding = remainder.wrapping_sub(self.tail) & (self.divisor.value - 1);
        let offset = self.tail + padding;
        let ndp = self.last_ndp.checked_sub(self.count * self.layout.entry)?;
        let end = ndp & !(self.ndp_alignment.value - 1);
        let room = end.checked_sub(offset + stream.trailer())?;
        let room = room.min(self.framing.max_datagram_size);
        (want <= room && self.count < self.entries.len()).then_some((offset, room))
    }

    /// Returns the first offset at or behind `tail` at which a datagram may start.
    #[inline]
    fn align(&self, tail: usize) -> usize {
        let Framing { remainder, .. } = self.framing;
        let over = self.divisor.remainder(tail);
        if over <= remainder {
            tail + remainder - over
        } else {
            tail + self.divisor.value + remainder - over
        }
    }

    /// Returns the offset at which the next datagram must end at the latest in an NTB of `ndps` NDPs.
    #[inline]
    fn end_limit(&self, ndps: usize) -> usize {
        match self.framing.placement {
            Placement::Front => self.limit,
            Placement::End => {
                let (least, all) = match self.framing.ndp_size {
                    NdpSize::Minimal => (
                        self.layout.ndp_with(0),
                        self.layout.ndp_with(self.count + 1),
                    ),
                    NdpSize::Full => (self.full_ndp, self.full_ndp),
                };
                // Each further NDP may have padding in front of it.
                let further = ndps.saturating_sub(1) * (least + self.ndp_alignment.value - 1);
                let at = self.limit.saturating_sub(all + further);
                at - self.ndp_alignment.remainder(at)
            }
        }
    }

    /// Takes the datagram of `slot` into the NTB with `length` bytes. A length of 0 leaves the NTB
    /// as it was: an empty entry would end the NDP.
    ///
    /// # Panics
    /// When `length` is more than the slot's room, or something was committed since the slot was
    /// placed.
    #[inline]
    pub fn commit(&mut self, slot: Slot, length: usize) {
        assert!(length <= slot.room, "datagram longer than its slot");
        assert!(
            slot.tail == self.tail && self.count < self.entries.len(),
            "slot is not of the last place"
        );
        if length == 0 {
            return;
        }
        let start = match slot.ndp_at {
            Some(at) => self.begin_ndp(slot.stream, at),
            None => slot.tail,
        };
        let headroom = self.headroom;
        self.append(
            start,
            slot.offset - headroom,
            length + headroom,
            slot.trailer,
            slot.ndp,
        );
    }

    /// Notes an NDP at offset `at`. Returns the offset at which what lies before its first datagram
    /// ends.
    #[cold]
    fn begin_ndp(&mut self, stream: Stream, at: usize) -> usize {
        self.ndps[self.ndp_count] = Ndp {
            stream,
            at,
            gap: at.saturating_sub(self.tail),
            end: at + self.full_ndp,
        };
        self.ndp_count += 1;
        match self.framing.placement {
            Placement::Front => at + self.full_ndp,
            Placement::End => self.tail,
        }
    }

    /// Notes a datagram in the NDP with the index `ndp`; `start` is the offset at which what lies
    /// before the datagram ends.
    #[inline]
    fn append(&mut self, start: usize, offset: usize, length: usize, trailer: usize, ndp: usize) {
        let padded = length.max(self.framing.min_datagram_size);
        let stored = padded + trailer;
        self.entries[self.count] = Entry {
            offset: offset as u32,
            length: stored as u32,
            gap: (offset - start) as u16,
            filler: (padded - length) as u16,
            ndp: ndp as u32,
        };
        self.count += 1;
        self.tail = offset + stored;
        self.payload += padded;
        self.full = None;
    }

    /// Remembers what is in the NTB.
    #[inline]
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            count: self.count,
            ndp_count: self.ndp_count,
            tail: self.tail,
            payload: self.payload,
            full: self.full,
        }
    }

    /// Takes back what was committed since `mark`, which must be of the same NTB; a mark that
    /// lies ahead changes nothing.
    #[inline]
    pub fn rewind(&mut self, mark: Mark) {
        if mark.count <= self.count && mark.ndp_count <= self.ndp_count {
            self.count = mark.count;
            self.ndp_count = mark.ndp_count;
            self.tail = mark.tail;
            self.payload = mark.payload;
            self.full = mark.full;
        }
    }

    /// Takes back what was committed since `mark`, except for the first `datagrams` datagrams, and
    /// forgets why any datagram since was refused. The mark must be of the same NTB.
    #[inline]
    pub fn keep(&mut self, mark: Mark, datagrams: usize) {
        let count = mark.count.saturating_add(datagrams).min(self.count);
        if count <= mark.count {
            return self.rewind(mark);
        }
        let ndps = self.entries[mark.count..count].iter();
        let ndps = ndps.map(|entry| entry.ndp as usize + 1).max();
        self.ndp_count = ndps.unwrap_or(0).max(mark.ndp_count);
        for entry in &self.entries[count..self.count] {
            let trailer = self.ndps[entry.ndp as usize].stream.trailer();
            self.payload -= entry.length as usize - trailer;
        }
        self.count = count;
        let last = self.entries[count - 1];
        self.tail = (last.offset + last.length) as usize;
        self.full = None;
    }
}
