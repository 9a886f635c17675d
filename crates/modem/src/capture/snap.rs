//! The choice of the bytes of a transfer that a capture keeps.
//!
//! Of an NTB, the header, the NDPs wherever they are, and the first bytes of each datagram are kept; of an
//! Ethernet frame that is a transfer of its own (CDC ECM), its first bytes. Any other transfer is kept
//! whole: an NTB that cannot be parsed is the one that somebody will want to see.

use std::borrow::Cow;
use std::ops::Range;

use uwwan_capture::write::Part;
use uwwan_ncm::{DropCounters, Format, Limits, Ntb};

/// Lengths of the headers of an NTB16 and of an NTB32 in bytes (NCM 1.0, 3.2.1 and 3.2.2).
const HEADER_16: usize = 12;
const HEADER_32: usize = 16;
/// Length of an Ethernet header in bytes.
const ETHERNET_HEADER: usize = 14;
/// Length of the shortest Ethernet frame in bytes, without its CRC (IEEE 802.3, 3.2.8).
const LEAST_FRAME: usize = 60;
/// Length of an IPv6 header in bytes (RFC 8200, 3).
const IPV6_HEADER: usize = 40;
/// Length of a cache line in bytes.
const CACHE_LINE: usize = 64;
/// Number of bytes between two pieces, such as an alignment, that cost less to keep than to leave out.
const SMALL_GAP: usize = 16;

/// The kept bytes of several events, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Store {
    bytes: Vec<u8>,
    /// Offset in its data and length in bytes of each piece, in ascending order and apart from each
    /// other.
    pieces: Vec<(u32, u32)>,
}

/// Data of an event in a [`Store`].
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// Length of the data in bytes.
    pub length: usize,
    bytes: Range<usize>,
    /// Range of the kept pieces in the store; empty where all of the data is kept.
    pieces: Range<usize>,
}

impl Store {
    /// Returns the number of bytes of memory that the store uses.
    pub fn size(&self) -> usize {
        self.bytes.len() + size_of_val(self.pieces.as_slice())
    }

    /// Removes the data, and keeps the memory for other data, up to `most` bytes of it.
    pub fn clear(&mut self, most: usize) {
        self.bytes.clear();
        self.pieces.clear();
        self.bytes.shrink_to(most);
        self.pieces.shrink_to(most / size_of::<(u32, u32)>());
    }

    /// Keeps all of `data`.
    pub fn keep(&mut self, data: &[u8]) -> Kept {
        self.keep_pieces(data, self.pieces.len())
    }

    /// Keeps all of `data` except payload, and of each datagram the first `snap` bytes.
    pub fn keep_snapped(&mut self, data: &[u8], snap: usize) -> Kept {
        let first = self.pieces.len();
        if find_pieces(data, snap, &mut self.pieces).is_none() {
            self.pieces.truncate(first);
            if snap < data.len() && frame(data, data.len()).is_some() {
                // Where nothing of the data is kept, the gap in front of an empty piece stands for
                // all of it.
                let start = if snap == 0 { data.len() } else { 0 };
                self.pieces.push((start as u32, snap as u32));
            }
        }
        self.keep_pieces(data, first)
    }

    /// Keeps the pieces from `first` on, or all of `data` where there are none.
    fn keep_pieces(&mut self, data: &[u8], first: usize) -> Kept {
        let start = self.bytes.len();
        let pieces = self.pieces.get(first..).unwrap_or_default();
        touch(data, pieces);
        for (at, length) in pieces {
            let piece = data.get(*at as usize..).unwrap_or_default();
            let piece = piece.get(..*length as usize).unwrap_or(piece);
            self.bytes.extend_from_slice(piece);
        }
        if pieces.is_empty() {
            self.bytes.extend_from_slice(data);
        }
        Kept {
            length: data.len(),
            bytes: start..self.bytes.len(),
            pieces: first..self.pieces.len(),
        }
    }

    /// Returns the bytes that were kept, without those between them.
    pub fn bytes(&self, kept: &Kept) -> &[u8] {
        self.bytes.get(kept.bytes.clone()).unwrap_or_default()
    }

    /// Returns the bytes that were kept, to be changed in place.
    pub fn bytes_mut(&mut self, kept: &Kept) -> &mut [u8] {
        self.bytes.get_mut(kept.bytes.clone()).unwrap_or_default()
    }

    /// Returns the data, piece by piece, with gaps for the bytes that were not kept.
    pub fn parts(&self, kept: &Kept) -> Parts<'_> {
        Parts {
            pieces: self
                .pieces
                .get(kept.pieces.clone())
                .unwrap_or_default()
                .iter(),
            rest: self.bytes(kept),
            behind: None,
            at: 0,
            length: kept.length,
        }
    }

    /// Returns the data with zeros for the bytes that were not kept.
    pub fn whole(&self, kept: &Kept) -> Cow<'_, [u8]> {
        if kept.pieces.is_empty() {
            return Cow::Borrowed(self.bytes(kept));
        }
        let mut whole = Vec::with_capacity(kept.length);
        for part in self.parts(kept) {
            match part {
                Part::Bytes(bytes) => whole.extend_from_slice(bytes),
                Part::Zeros(length) => whole.resize(whole.len() + length, 0),
            }
        }
        Cow::Owned(whole)
    }
}

/// Reads a byte of each cache line of the pieces. Bytes that a device has written are not in this
/// processor's cache. These reads do not wait for each other, so together they take the time of a few;
/// the copies that follow would wait for each cache line in turn.
fn touch(data: &[u8], pieces: &[(u32, u32)]) {
    let mut sum = 0;
    for (at, length) in pieces {
        for line in (*at..*at + *length).step_by(CACHE_LINE) {
            sum ^= data.get(line as usize).copied().unwrap_or_default();
        }
    }
    std::hint::black_box(sum);
}

/// Iterator over the parts of data, from [`Store::parts`].
#[derive(Debug, Clone)]
pub(super) struct Parts<'a> {
    pieces: std::slice::Iter<'a, (u32, u32)>,
    /// Kept bytes that are still to come.
    rest: &'a [u8],
    /// Piece behind the gap that the iterator returned last.
    behind: Option<&'a [u8]>,
    /// Offset in the data that the iterator has reached.
    at: usize,
    length: usize,
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        if let Some(piece) = self.behind.take() {
            return Some(Part::Bytes(piece));
        }
        let (start, length) = match self.pieces.next() {
            Some((start, length)) => (*start as usize, *length as usize),
            // All of the data, or the gap behind the last piece.
            None => (
                if self.rest.is_empty() {
                    self.length
                } else {
                    self.at
                },
                self.rest.len(),
            ),
        };
        let (piece, rest) = self.rest.split_at_checked(length)?;
        let gap = start.saturating_sub(self.at);
        self.rest = rest;
        self.at = start + length;
        match (gap, piece.is_empty()) {
            (0, true) => None,
            (0, false) => Some(Part::Bytes(piece)),
            (_, empty) => {
                self.behind = (!empty).then_some(piece);
                Some(Part::Zeros(gap))
            }
        }
    }
}

/// Returns the first bytes and the length of the IP packet in an Ethernet frame of `length` bytes that is a
/// transfer of its own and begins with `head`. Only such a frame has an EtherType of IP at its place and,
/// behind it, an IP header whose length is exactly that of the rest, or that of a packet padded to the
/// shortest frame; other transfers of a bulk endpoint do not.
pub(super) fn frame(head: &[u8], length: usize) -> Option<(&[u8], usize)> {
    let (header, packet) = head.split_first_chunk::<ETHERNET_HEADER>()?;
    let word = |at: usize| {
        let word = packet.get(at..)?.first_chunk()?;
        Some(usize::from(u16::from_be_bytes(*word)))
    };
    let told = match (header, packet.first()? >> 4) {
        ([.., 0x08, 0x00], 4) => word(2)?,
        ([.., 0x86, 0xdd], 6) => word(4)? + IPV6_HEADER,
        _ => return None,
    };
    let end = ETHERNET_HEADER + told;
    let whole = end == length || (end < length && length == LEAST_FRAME);
    whole.then(|| (packet.get(..told).unwrap_or(packet), told))
}

/// Adds the pieces to keep to `pieces`. Returns `None` unless the data is a sound NTB.
fn find_pieces(data: &[u8], snap: usize, pieces: &mut Vec<(u32, u32)>) -> Option<()> {
    let limits = Limits {
        max_ntb: data.len(),
        max_datagrams: usize::from(u16::MAX),
        ..Limits::default()
    };
    let ntb = Ntb::parse(data, &limits).ok()?;
    // The length fits 32 bits, so every offset in the data does too.
    u32::try_from(data.len()).ok()?;
    let first = pieces.len();
    let mut ascending = true;
    // End of the last range, whether it is kept or not.
    let mut end = 0;
    // Adds the first `keep` bytes of a range; they join the last piece where only a small gap is
    // between.
    let mut want = |range: Range<usize>, keep: usize| {
        ascending &= end <= range.start;
        let kept = range.len().min(keep);
        let last = pieces.get_mut(first..).and_then(|found| found.last_mut());
        match last {
            Some((at, length))
                if ascending
                    && (*at + *length) as usize == end
                    && range.start - end <= SMALL_GAP =>
            {
                *length = (range.start + kept) as u32 - *at;
            }
            _ => pieces.push((range.start as u32, kept as u32)),
        }
        end = range.end;
    };
    let header = match ntb.format() {
        Format::Ntb16 => HEADER_16,
        Format::Ntb32 => HEADER_32,
    };
    want(0..header.min(data.len()), usize::MAX);
    let mut drops = DropCounters::default();
    // The pieces are added in the order in which they lie, so that they need no sorting.
    let in_front = ntb.ndp_index() <= header + SMALL_GAP;
    if in_front {
        ntb.ndps(&mut drops)
            .for_each(|ndp| want(ndp.range, usize::MAX));
    }
    for datagram in ntb.datagrams(&mut drops) {
        want(datagram.range, snap);
    }
    if !in_front {
        ntb.ndps(&mut drops)
            .for_each(|ndp| want(ndp.range, usize::MAX));
    }
    if drops != DropCounters::default() {
        return None;
    }
    // The bytes behind the NTB are another NTB, or padding.
    let behind = data.get(ntb.length()..).unwrap_or_default();
    if behind.iter().any(|byte| *byte != 0) {
        want(ntb.length()..data.len(), usize::MAX);
    }
    if ascending {
        return Some(());
    }
    let found = pieces.get_mut(first..)?;
    found.sort_unstable();
    // Pieces that touch become one.
    let mut into = first;
    for from in first + 1..pieces.len() {
        let (start, length) = *pieces.get(from)?;
        let (before, kept) = pieces.get_mut(into)?;
        if *before + *kept >= start {
            *kept = (*kept).max(start + length - *before);
        } else {
            into += 1;
            *pieces.get_mut(into)? = (start, length);
        }
    }
    pieces.truncate(into + 1);
    Some(())
}

#[cfg(test)]
mod tests {
    use uwwan_ncm::{Builder, Choices, Framing, NtbParameters, Placement, Stream};

    use super::*;

    fn ntb() -> Vec<u8> {
        ntb_of(&[1_000; 3], &Choices::default())
    }

    fn ntb_of(lengths: &[usize], choices: &Choices) -> Vec<u8> {
        let mut builder = Builder::new(Framing::negotiate(&NtbParameters::FALLBACK, choices));
        let mut ntb = vec![0; 16_384];
        for (length, fill) in lengths.iter().zip(1u8..) {
            let at = builder.put(Stream::Ips(0), *length, *length).unwrap();
            ntb[at..at + length].fill(fill);
            ntb[at..at + 4].copy_from_slice(&[0x45, 0, 0x03, 0xe8]);
        }
        let length = builder.finish(&mut ntb).length;
        ntb.truncate(length);
        ntb
    }

    fn snapped(data: &[u8], snap: usize) -> Vec<u8> {
        let mut store = Store::default();
        let kept = store.keep_snapped(data, snap);
        store.whole(&kept).into_owned()
    }

    #[test]
    fn framing_stays_and_payload_becomes_zeros() {
        let ntb = ntb();
        let mut store = Store::default();
        store.keep(b"before");
        let kept = store.keep_snapped(&ntb, 100);
        let bytes = store.bytes(&kept).len();
        assert!(bytes < 500, "{bytes}");
        let snapped = store.whole(&kept);
        assert_eq!(snapped.len(), ntb.len());
        let limits = Limits::default();
        let read = |bytes: &[u8]| -> Vec<std::ops::Range<usize>> {
            let mut drops = DropCounters::default();
            let ntb = Ntb::parse(bytes, &limits).unwrap();
            let datagrams = ntb.datagrams(&mut drops);
            datagrams.map(|datagram| datagram.range).collect()
        };
        let ranges = read(&ntb);
        assert_eq!(ranges.len(), 3);
        assert_eq!(read(&snapped), ranges);
        for range in ranges {
            assert_eq!(snapped[range.start..][..100], ntb[range.start..][..100]);
            assert!(
                snapped[range.start + 100..range.end]
                    .iter()
                    .all(|b| *b == 0)
            );
        }
    }

    #[test]
    fn the_ndp_is_kept_wherever_it_is() {
        for placement in [Placement::End, Placement::Front] {
            let choices = Choices {
                placement,
                ..Choices::default()
            };
            let ntb = ntb_of(&[1_000, 40, 41, 1_000], &choices);
            let mut drops = DropCounters::default();
            let read = Ntb::parse(&ntb, &Limits::default()).unwrap();
            let ndp = read.ndps(&mut drops).next().unwrap().range;
            assert_eq!(ndp.start < 100, placement == Placement::Front);
            let snapped = snapped(&ntb, 100);
            assert_eq!(snapped[ndp.clone()], ntb[ndp]);
            for datagram in read.datagrams(&mut drops) {
                let range = datagram.range;
                let kept = range.len().min(100);
                let (first, rest) = snapped[range.clone()].split_at(kept);
                assert_eq!(first, &ntb[range][..kept]);
                assert!(rest.iter().all(|byte| *byte == 0));
            }
        }
    }

    #[test]
    fn what_is_kept_and_lies_together_is_one_piece() {
        let pieces = |lengths: &[usize]| {
            let ntb = ntb_of(lengths, &Choices::default());
            let mut store = Store::default();
            store.keep_snapped(&ntb, 100);
            store.pieces.len()
        };
        assert_eq!(pieces(&[40, 41, 99, 100]), 1);
        // The pieces are the header with the first datagram, the second datagram, and the NDP.
        assert_eq!(pieces(&[1_000, 1_000]), 3);
        // The second piece is the datagram behind a long one, with everything after it.
        assert_eq!(pieces(&[40, 1_000, 40, 41]), 2);
    }

    #[test]
    fn anything_else_is_kept_whole() {
        let mut broken = ntb();
        let length = broken.len();
        broken[length - 6] = 0xff;
        for data in [&b"AT+CGMI\r"[..], &[], &broken] {
            assert_eq!(snapped(data, 10), data);
        }
    }

    #[test]
    fn of_a_lone_frame_the_first_bytes_are_kept() {
        let packet = |first: u8, at: usize, told: u16| {
            let mut packet = vec![7; 1_000];
            packet[0] = first;
            packet[at..at + 2].copy_from_slice(&told.to_be_bytes());
            packet
        };
        let head = |ethertype: [u8; 2]| [&[2; 12][..], &ethertype].concat();
        for (ethertype, packet, cut) in [
            ([0x08, 0x00], packet(0x45, 2, 1_000), true),
            ([0x86, 0xdd], packet(0x60, 4, 960), true),
            ([0x08, 0x00], packet(0x45, 2, 999), false),
            ([0x08, 0x00], packet(0x60, 4, 960), false),
            ([0x86, 0xde], packet(0x60, 4, 960), false),
        ] {
            let frame = [head(ethertype), packet].concat();
            let snapped = snapped(&frame, 100);
            assert_eq!(snapped.len(), frame.len());
            assert_eq!(snapped[..100], frame[..100]);
            assert_eq!(snapped != frame, cut, "{ethertype:?}");
            assert_eq!(snapped[100..].iter().all(|byte| *byte == 0), cut);
        }
        let frame = [head([0x08, 0x00]), packet(0x45, 2, 1_000)].concat();
        assert_eq!(snapped(&frame, 0), vec![0; frame.len()]);
    }

    #[test]
    fn what_follows_an_ntb_is_kept_and_its_padding_is_not() {
        let two = ntb().repeat(2);
        let mut store = Store::default();
        let kept = store.keep_snapped(&two, 100);
        assert!(store.whole(&kept).ends_with(&ntb()));
        let mut padded = ntb();
        padded.resize(8_000, 0);
        let kept = store.keep_snapped(&padded, 100);
        assert!(store.bytes(&kept).len() < 500);
        assert_eq!(store.whole(&kept).len(), 8_000);
    }

    proptest::proptest! {
        #[test]
        fn no_block_is_lengthened(at in 0usize..3_200, with: u32, snap in 0usize..200) {
            let mut data = ntb();
            let at = at.min(data.len() - 4);
            data[at..at + 4].copy_from_slice(&with.to_le_bytes());
            let snapped = snapped(&data, snap);
            proptest::prop_assert_eq!(snapped.len(), data.len());
            for (kept, byte) in snapped.iter().zip(&data) {
                proptest::prop_assert!(kept == byte || *kept == 0);
            }
        }
    }
}
