//! The NTBs being filled.
//!
//! A scattered read brings up to 64 KiB, more than an NTB holds, and only afterwards it is known
//! how far each NTB is filled. So there are builders for as many NTBs as one read can fill; the
//! NTBs lie in the buffers that are sent next. Those that a read has completed wait there until
//! each is closed in turn; the open NTB is the one behind them.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};

use heapless::Vec as FixedVec;
use uwwan_ncm::{Builder, Finished, Framing, Full, LinkHeader, Mark, Slot, Stream};
use uwwan_tun::scatter::{Layout, MAX_AREAS, Place, Scatter};
use uwwan_usb::buffer::Buffer;

/// Most bytes of one read: a packet of 64 KiB, cut into datagrams of a usual length that each have
/// headers of their own.
const LARGEST_READ: usize = 68 * 1024;

/// The NTBs being filled, and the buffers that are not in a transfer.
pub(super) struct Open {
    /// Buffers that are not in a transfer; the first holds the open NTB.
    ready: VecDeque<Buffer>,
    /// Ring of builders, of which [`Open::first`] fills the first buffer and the next ones fill the
    /// buffers behind it. Outside of [`Open::receive`] only those of complete NTBs and the one
    /// behind them have datagrams.
    builders: Box<[Builder]>,
    /// Index of the first buffer's builder.
    first: usize,
    /// Number of complete NTBs, in the first buffers.
    complete: usize,
    /// Mark of a builder without datagrams.
    empty: Mark,
    /// Number of NTBs a read may fill.
    span: usize,
}

/// Datagrams that a read brought.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Placed {
    /// Number of datagrams placed.
    pub(super) datagrams: usize,
    /// Bytes in these datagrams.
    pub(super) bytes: usize,
    /// Number of datagrams of the packet that still wait for room.
    pub(super) waiting: usize,
    /// Length in bytes of the longest datagram, those that wait included.
    pub(super) longest: usize,
    /// Number of NTBs that the read has completed.
    pub(super) complete: usize,
    /// Place and length in bytes of the first datagram, if it is the only one.
    only: Option<(Place, usize)>,
    /// State of the first builder before the read.
    before: Option<Mark>,
}

impl Open {
    /// Makes `depth` buffers with `allocate`, which is given the size in bytes of the longest NTB.
    /// Without any, the buffers come by [`Open::give_back`], and a read fills one.
    pub(super) fn new(
        framing: Framing,
        depth: usize,
        mut allocate: impl FnMut(usize) -> Buffer,
    ) -> Self {
        let first = Builder::new(framing);
        // The builder has brought the framing into range.
        let size = first.framing().max_ntb;
        let per_ntb = size.saturating_sub(size / 8).max(1);
        // One NTB more than the division gives may be needed, because the first may be filled in
        // part.
        let span = (LARGEST_READ.div_ceil(per_ntb) + 1).clamp(1, depth.clamp(1, MAX_AREAS));
        let empty = first.mark();
        // The open NTB behind as many complete ones as a read fills has a builder, too.
        let more = (0..span).map(|_| Builder::new(framing));
        let builders: Box<[Builder]> = std::iter::once(first).chain(more).collect();
        // A buffer that comes later finds its place.
        let mut ready = VecDeque::with_capacity(depth.max(1));
        ready.extend((0..depth).map(|_| allocate(size)));
        Self {
            ready,
            builders,
            first: 0,
            complete: 0,
            empty,
            span,
        }
    }

    /// Returns the index of the open NTB's builder.
    #[inline]
    fn open(&self) -> usize {
        (self.first + self.complete) % self.builders.len()
    }

    /// Changes the layout of NTBs from here on. Their longest length must be the same, and no
    /// datagram may be placed.
    pub(super) fn reframe(&mut self, framing: Framing) {
        for builder in &mut self.builders {
            *builder = Builder::new(framing);
        }
        self.empty = self.builders[self.first].mark();
    }

    /// Writes other Ethernet headers, from the open NTB on.
    pub(super) fn set_link(&mut self, link: LinkHeader) {
        for builder in &mut self.builders {
            builder.set_link(link);
        }
    }

    /// Returns the number of buffers that are not in a transfer and hold no complete NTB.
    pub(super) fn ready(&self) -> usize {
        self.ready.len() - self.complete
    }

    /// Returns the number of complete NTBs.
    pub(super) fn complete(&self) -> usize {
        self.complete
    }

    /// Returns the number of NTBs with datagrams.
    fn with_datagrams(&self) -> usize {
        self.complete + usize::from(!self.is_empty())
    }

    /// Gives a buffer away, if there is one besides those of the complete NTBs and the open one.
    pub(super) fn spare(&mut self) -> Option<Buffer> {
        let spare = self.ready.len() > self.with_datagrams();
        if spare { self.ready.pop_back() } else { None }
    }

    /// Returns the number of NTBs that one read of a large packet may fill.
    pub(super) fn span(&self) -> usize {
        self.span
    }

    /// Returns whether the buffers are memory that the kernel shares with the program.
    pub(super) fn is_mapped(&self) -> bool {
        self.ready.front().is_some_and(Buffer::is_mapped)
    }

    /// Takes back the buffer of a completed transfer.
    pub(super) fn give_back(&mut self, buffer: Buffer) {
        self.ready.push_back(buffer);
    }

    /// Makes `count` more buffers with `allocate`, as in [`Open::new`].
    pub(super) fn grow(&mut self, count: usize, mut allocate: impl FnMut(usize) -> Buffer) {
        let size = self.builders[self.first].framing().max_ntb;
        self.ready.extend((0..count).map(|_| allocate(size)));
    }

    /// Frees half of the buffers, but keeps two and those of NTBs with datagrams, and returns the
    /// number freed.
    pub(super) fn halve(&mut self) -> usize {
        let before = self.ready.len();
        let least = self.with_datagrams().max(2);
        self.ready.truncate((before / 2).max(least));
        before - self.ready.len()
    }

    /// Frees all buffers but those of NTBs with datagrams, and returns the number freed.
    pub(super) fn shrink(&mut self) -> usize {
        let before = self.ready.len();
        self.ready.truncate(self.with_datagrams());
        before - self.ready.len()
    }

    /// Returns whether the open NTB has no datagram.
    pub(super) fn is_empty(&self) -> bool {
        self.builders[self.open()].is_empty()
    }

    /// Returns whether the open NTB has half of what it can take, in bytes of payload or in
    /// datagrams.
    pub(super) fn is_half_full(&self) -> bool {
        let builder = &self.builders[self.open()];
        let framing = builder.framing();
        builder.payload() >= framing.max_ntb / 2 || builder.datagrams() >= framing.max_datagrams / 2
    }

    /// Returns the number of datagrams in the open NTB.
    pub(super) fn datagrams(&self) -> usize {
        self.builders[self.open()].datagrams()
    }

    /// Returns a place in the open NTB for a datagram of up to `want` bytes. [`Open::room`] returns
    /// the place's memory, and [`Open::commit`] adds the datagram.
    ///
    /// # Errors
    /// Those of [`Builder::place`].
    #[inline]
    pub(super) fn place(&mut self, stream: Stream, want: usize) -> Result<Slot, Full> {
        let open = self.open();
        self.builders[open].place(stream, want)
    }

    /// Returns the memory of a place, which is empty without a buffer.
    #[inline]
    pub(super) fn room(&mut self, slot: &Slot) -> &mut [u8] {
        match self.ready.get_mut(self.complete) {
            Some(buffer) => &mut buffer.bytes_mut()[slot.offset..slot.offset + slot.room],
            None => &mut [],
        }
    }

    /// Adds the datagram of `length` bytes at `slot` to the open NTB.
    #[inline]
    pub(super) fn commit(&mut self, slot: Slot, length: usize) {
        let open = self.open();
        self.builders[open].commit(slot, length);
    }

    /// Returns the first complete NTB, or else completes the open one and returns it, with the sequence
    /// number `sequence`, which is counted on; `None` when there is no datagram.
    pub(super) fn close(&mut self, sequence: &mut u16) -> Option<(Buffer, Finished)> {
        if self.builders[self.first].is_empty() {
            return None;
        }
        let mut buffer = self.ready.pop_front()?;
        let builder = &mut self.builders[self.first];
        builder.set_sequence(*sequence);
        let finished = builder.finish(buffer.bytes_mut());
        *sequence = builder.sequence();
        self.first = (self.first + 1) % self.builders.len();
        self.complete = self.complete.saturating_sub(1);
        buffer.set_len(finished.length);
        Some((buffer, finished))
    }

    /// Returns an NTB without datagrams, to be sent ahead of the next one; `None` when that one
    /// has no datagram itself, or when there is no buffer to spare.
    pub(super) fn empty_ntb(&mut self, sequence: &mut u16) -> Option<Buffer> {
        if self.builders[self.first].is_empty() {
            return None;
        }
        let mut buffer = self.spare()?;
        let builder = &mut self.builders[self.first];
        builder.set_sequence(*sequence);
        let length = builder.finish_empty(Stream::Ips(0), buffer.bytes_mut());
        *sequence = builder.sequence();
        buffer.set_len(length);
        Some(buffer)
    }

    /// Reads one packet with `read` and places its datagrams. While datagrams of the packet before
    /// wait, it reads nothing and places these. The NTBs that this completes become
    /// [complete](Open::complete) ones by [`Open::accept`]; there may be none before.
    ///
    /// # Errors
    /// Those of [`Scatter::receive`].
    pub(super) fn receive(
        &mut self,
        scatter: &mut Scatter,
        stream: Stream,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> io::Result<Placed> {
        // A packet that is not expected to be large needs one place, in the first NTB or the next.
        let wide = scatter.expects_large() || scatter.waiting().is_some();
        let most = if wide { self.span } else { 2 };
        let mut areas = FixedVec::<&mut [u8], MAX_AREAS>::new();
        for buffer in self.ready.iter_mut().take(most.min(self.span)) {
            let _ = areas.push(buffer.bytes_mut());
        }
        let mut ntbs = Ntbs {
            count: areas.len(),
            before: self.builders[self.first].mark(),
            builders: &mut self.builders,
            first: self.first,
            empty: self.empty,
            stream,
            at: 0,
            full: false,
            longest: 0,
            expected: 0,
            place: Place { area: 0, offset: 0 },
        };
        let received = match scatter.waiting() {
            Some(_) => scatter.drain(&mut areas, &mut ntbs)?,
            None => scatter.receive(read, &mut areas, &mut ntbs)?,
        };
        Ok(Placed {
            datagrams: received.datagrams,
            bytes: received.bytes,
            waiting: received.waiting,
            longest: ntbs.longest,
            complete: ntbs.at + usize::from(ntbs.full),
            only: (received.datagrams == 1 && received.waiting == 0)
                .then_some((ntbs.place, received.bytes)),
            before: Some(ntbs.before),
        })
    }

    /// Keeps the datagrams of the last read.
    pub(super) fn accept(&mut self, placed: &Placed) {
        self.complete = placed.complete;
    }

    /// Returns the datagram of a read that brought exactly one; `None` after any other read.
    pub(super) fn only(&self, placed: &Placed) -> Option<&[u8]> {
        let (place, length) = placed.only?;
        let buffer = self.ready.get(place.area)?;
        buffer.bytes().get(place.offset..place.offset + length)
    }

    /// Removes the datagrams of the last read, which was not accepted, from the open NTBs.
    pub(super) fn take_back(&mut self, placed: &Placed) {
        let count = self.builders.len();
        for step in 0..count {
            let mark = match placed.before {
                Some(before) if step == 0 => before,
                _ => self.empty,
            };
            self.builders[(self.first + step) % count].rewind(mark);
        }
    }
}

/// Layout that places the datagrams of a read in one NTB after the other.
struct Ntbs<'a> {
    builders: &'a mut [Builder],
    /// Index of the first NTB's builder.
    first: usize,
    /// Number of NTBs that have buffers.
    count: usize,
    /// State of the first builder before the read.
    before: Mark,
    /// State of a builder without datagrams.
    empty: Mark,
    stream: Stream,
    /// Index of the NTB being filled, counted from the first.
    at: usize,
    /// Whether the last NTB has no room left.
    full: bool,
    /// Length in bytes of the longest datagram, placed or not.
    longest: usize,
    /// Length in bytes of the longest datagram for which a place was reserved.
    expected: usize,
    /// Place that was returned last.
    place: Place,
}

impl Layout for Ntbs<'_> {
    #[inline]
    fn place(&mut self, length: usize) -> Option<Place> {
        self.longest = self.longest.max(length);
        // A datagram shorter than expected goes to the place of the expected one, because its bytes
        // have been read to that place.
        let want = length.max(self.expected);
        while !self.full && self.at < self.count {
            let index = (self.first + self.at) % self.builders.len();
            match self.builders[index].put(self.stream, want, length) {
                Ok(offset) => {
                    let area = self.at;
                    self.place = Place { area, offset };
                    return Some(self.place);
                }
                Err(Full::TooLong) => return None,
                Err(_) if self.at + 1 < self.count => self.at += 1,
                Err(_) => self.full = true,
            }
        }
        None
    }

    fn keep(&mut self, count: usize) {
        // Full NTBs ahead of the last one that keeps datagrams stay as they are.
        let (mut left, mut at) = (count, 0);
        loop {
            let mark = if at == 0 { self.before } else { self.empty };
            let builder = &mut self.builders[(self.first + at) % self.builders.len()];
            let placed = builder.datagrams() - mark.datagrams();
            if left <= placed || at == self.at {
                builder.keep(mark, left);
                break;
            }
            left -= placed;
            at += 1;
        }
        for step in at + 1..=self.at {
            self.builders[(self.first + step) % self.builders.len()].rewind(self.empty);
        }
        self.at = at;
        self.full = false;
        self.expected = self.expected.max(self.longest);
        if count == 0 {
            self.longest = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use uwwan_ncm::{Choices, NtbParameters};

    use super::*;

    /// Returns the places that `ahead` and further datagrams get, and the finished NTBs.
    fn ntbs_of(ahead: usize, kept: usize, last: usize) -> (Vec<Option<Place>>, Vec<Finished>) {
        const LENGTH: usize = 1500;
        let choices = Choices {
            block_size: 8192,
            ..Choices::default()
        };
        let framing = Framing::negotiate(&NtbParameters::FALLBACK, &choices);
        let mut open = Open::new(framing, 6, Buffer::heap);
        let stream = Stream::Ips(0);
        let slot = open.place(stream, 700).expect("an empty NTB");
        open.commit(slot, 700);
        let mut ntbs = Ntbs {
            count: 6,
            before: open.builders[0].mark(),
            builders: &mut open.builders,
            first: 0,
            empty: open.empty,
            stream,
            at: 0,
            full: false,
            longest: 0,
            expected: 0,
            place: Place { area: 0, offset: 0 },
        };
        let mut places: Vec<_> = (0..ahead.max(kept)).map(|_| ntbs.place(LENGTH)).collect();
        if ahead > 0 {
            ntbs.keep(kept);
        }
        places.truncate(kept);
        ntbs.expected = LENGTH;
        places.push(ntbs.place(last));
        let complete = ntbs.at + usize::from(ntbs.full);
        let mut sequence = 0;
        let finished = (0..complete + 1)
            .filter_map(|_| open.close(&mut sequence))
            .map(|(_, finished)| finished)
            .collect();
        (places, finished)
    }

    #[test]
    fn places_that_are_kept_are_as_if_asked_for_alone() {
        for ahead in 1..40 {
            for kept in 0..=ahead.min(24) {
                for last in [60, 1499] {
                    let expected = ntbs_of(0, kept, last);
                    assert_eq!(
                        ntbs_of(ahead, kept, last),
                        expected,
                        "{ahead} {kept} {last}"
                    );
                }
            }
        }
    }
}
