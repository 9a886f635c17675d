//! The choice of the bytes of a transfer that a capture keeps.
//!
//! Of an NTB, the header, the NDPs wherever they are, and the first bytes of each datagram are kept; of an
//! Ethernet frame that is a transfer of its own (CDC ECM), its first bytes. Any other transfer is kept
//! whole: an NTB that cannot be parsed is the one that somebody will want to see.

use std::ops::Range;

use uwwan_capture::write::Kept;
use uwwan_ncm::{Datagram, DropCounters, Format, Ndp, Ntb, Stream};

use super::content::{Content, ETHERNET_HEADER, IPV6_HEADER};

/// Lengths of the headers of an NTB16 and of an NTB32 in bytes (NCM 1.0, 3.2.1 and 3.2.2).
const HEADER_16: usize = 12;
const HEADER_32: usize = 16;
/// Lengths of the headers of an NDP16 and of an NDP32 in bytes (NCM 1.0, 3.3.1 and 3.3.2).
const NDP_HEADER_16: usize = 8;
const NDP_HEADER_32: usize = 16;
/// Length in bytes of the longest datagram that a receiver accepts ([`uwwan_ncm::Limits`]).
const LONGEST_DATAGRAM: usize = 0xffff;
/// Length of the shortest IPv4 header in bytes (RFC 791, 3.1).
const IPV4_HEADER: usize = 20;
/// Number of bytes between two pieces, such as an alignment, that cost less to keep than to leave out.
const SMALL_GAP: usize = 16;

/// The datagrams of an NTB.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    list: Vec<Datagram>,
    /// Whether nothing in the NTB is refused.
    sound: bool,
}

impl Datagrams {
    /// Reads those of another NTB.
    pub fn read(&mut self, ntb: &Ntb<'_>) {
        let mut drops = DropCounters::default();
        self.list.clear();
        self.list.extend(ntb.datagrams(&mut drops));
        self.sound = drops == DropCounters::default();
    }

    /// Returns the datagrams that are not refused.
    pub fn list(&self) -> &[Datagram] {
        &self.list
    }
}

/// Receiver of the pieces that are kept.
pub(super) trait Keeper {
    /// Keeps a piece of the data, which lies behind those before it.
    fn keep(&mut self, piece: Range<usize>);

    /// Forgets the pieces so far.
    fn restart(&mut self);
}

impl Keeper for Kept<'_> {
    #[inline(always)]
    fn keep(&mut self, piece: Range<usize>) {
        Kept::keep(self, piece);
    }

    fn restart(&mut self) {
        Kept::restart(self);
    }
}

/// Finds the pieces of a transfer's data that are kept: all of it except payload, and of each datagram
/// the first `keep` bytes. `datagrams` are those of the NTB where they were read.
pub(super) fn snap(
    content: &Content<'_>,
    data: &[u8],
    keep: usize,
    datagrams: Option<&Datagrams>,
    keeper: &mut impl Keeper,
) {
    let length = match content {
        Content::Ntb(Some(ntb)) if find_pieces(ntb, data, keep, datagrams, keeper).is_some() => {
            return;
        }
        Content::Frame(_) => keep.min(data.len()),
        Content::Ntb(_) | Content::Other => data.len(),
    };
    keeper.restart();
    keeper.keep(0..length);
}

/// Finds the pieces to keep. Returns `None`, and some pieces may have been found, unless the NTB is sound.
fn find_pieces(
    ntb: &Ntb<'_>,
    data: &[u8],
    keep: usize,
    datagrams: Option<&Datagrams>,
    keeper: &mut impl Keeper,
) -> Option<()> {
    let quick = match datagrams {
        None => in_order(ntb, data, keep, Pieces::of(keeper)),
        Some(_) => None,
    };
    if quick.is_none() {
        keeper.restart();
        in_any_order(ntb, keep, datagrams, Pieces::of(keeper))?;
    }
    // The bytes behind the NTB are another NTB, or padding.
    let behind = data.get(ntb.length()..).unwrap_or_default();
    if behind.iter().any(|byte| *byte != 0) {
        keeper.keep(ntb.length()..data.len());
    }
    Some(())
}

/// Pieces in ascending order, of which the last is not told yet, because it may grow.
struct Pieces<'a, K> {
    keeper: &'a mut K,
    last: Range<usize>,
}

impl<'a, K: Keeper> Pieces<'a, K> {
    /// Begins with an empty piece at the start of the data.
    fn of(keeper: &'a mut K) -> Self {
        Self { keeper, last: 0..0 }
    }

    /// Adds the first `keep` bytes of a range that lies behind all pieces so far. They join the last
    /// piece where that reaches to `end` and only a small gap is between.
    #[inline(always)]
    fn add(&mut self, end: usize, range: Range<usize>, keep: usize) {
        if self.last.end != end || range.start - end > SMALL_GAP {
            self.keeper.keep(self.last.clone());
            self.last.start = range.start;
        }
        self.last.end = range.start + range.len().min(keep);
    }

    fn end(self) {
        self.keeper.keep(self.last);
    }
}

/// Adds the pieces of an NTB as nearly every one is: with one NDP, in front of all datagrams or behind
/// them, and sound datagrams in the order of its entries. Returns `None` for any other NTB.
///
/// Looking at an entry takes a fifth of the instructions that [`Ntb::datagrams`] takes, which on the
/// data thread is a difference of several hundredths.
fn in_order(
    ntb: &Ntb<'_>,
    data: &[u8],
    keep: usize,
    mut pieces: Pieces<'_, impl Keeper>,
) -> Option<()> {
    let mut drops = DropCounters::default();
    let (ndp, another) = {
        let mut ndps = ntb.ndps(&mut drops);
        (ndps.next()?, ndps.next())
    };
    if another.is_some() || drops != DropCounters::default() {
        return None;
    }
    let (header, ndp_header) = match ntb.format() {
        Format::Ntb16 => (HEADER_16, NDP_HEADER_16),
        Format::Ntb32 => (HEADER_32, NDP_HEADER_32),
    };
    pieces.add(0, 0..header, usize::MAX);
    let in_front = ndp.range.start <= header + SMALL_GAP;
    let space = if in_front {
        pieces.add(header, ndp.range.clone(), usize::MAX);
        ndp.range.end..ntb.length()
    } else {
        header..ndp.range.start
    };
    let entries = data.get(ndp.range.start + ndp_header..ndp.range.end)?;
    let end = match ntb.format() {
        Format::Ntb16 => {
            let entries = entries.as_chunks().0.iter().map(|[a, b, c, d]| {
                let index = u16::from_le_bytes([*a, *b]);
                (index.into(), u16::from_le_bytes([*c, *d]).into())
            });
            add_datagrams(entries, &ndp, data, space, keep, &mut pieces)?
        }
        Format::Ntb32 => {
            let entries = entries
                .as_chunks()
                .0
                .iter()
                .map(|[a, b, c, d, e, f, g, h]| {
                    let index = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
                    (index, u32::from_le_bytes([*e, *f, *g, *h]) as usize)
                });
            add_datagrams(entries, &ndp, data, space, keep, &mut pieces)?
        }
    };
    if !in_front {
        pieces.add(end, ndp.range, usize::MAX);
    }
    pieces.end();
    Some(())
}

/// Adds the first bytes of the datagrams of an NDP, given as index and length of each, and returns the
/// end of the last one. Returns `None` unless all are sound and, in this order, within `space`.
#[inline(always)]
fn add_datagrams(
    entries: impl Iterator<Item = (usize, usize)>,
    ndp: &Ndp,
    data: &[u8],
    space: Range<usize>,
    keep: usize,
    pieces: &mut Pieces<'_, impl Keeper>,
) -> Option<usize> {
    // Length in bytes of the shortest datagram that is sound, by the upper half of its first byte.
    let mut least = [usize::MAX; 16];
    match ndp.stream {
        Stream::Ips(_) => (least[4], least[6]) = (IPV4_HEADER, IPV6_HEADER),
        Stream::Ethernet { crc: false } => least = [ETHERNET_HEADER; 16],
        Stream::Ethernet { crc: true } | Stream::Dss(_) => return None,
    }
    let mut end = space.start;
    for (index, length) in entries {
        if index == 0 || length == 0 {
            break;
        }
        let first = data.get(index)?;
        let behind = index.checked_add(length)?;
        let long_enough = length >= least[usize::from(first >> 4)];
        if index < end || behind > space.end || !long_enough || length > LONGEST_DATAGRAM {
            return None;
        }
        pieces.add(end, index..behind, keep);
        end = behind;
    }
    Some(end)
}

/// Adds the pieces of any NTB. Returns `None` where something in it is refused.
fn in_any_order(
    ntb: &Ntb<'_>,
    keep: usize,
    datagrams: Option<&Datagrams>,
    mut pieces: Pieces<'_, impl Keeper>,
) -> Option<()> {
    let header = match ntb.format() {
        Format::Ntb16 => HEADER_16,
        Format::Ntb32 => HEADER_32,
    };
    let mut read = Datagrams::default();
    let datagrams = datagrams.unwrap_or_else(|| {
        read.read(ntb);
        &read
    });
    if !datagrams.sound {
        return None;
    }
    let mut drops = DropCounters::default();
    let ndps = ntb.ndps(&mut drops).map(|ndp| ndp.range);
    let mut found: Vec<Range<usize>> = std::iter::once(0..header).chain(ndps).collect();
    let ranges = datagrams.list.iter().map(|datagram| &datagram.range);
    found.extend(ranges.map(|range| range.start..range.start + range.len().min(keep)));
    found.sort_unstable_by_key(|range| (range.start, range.end));
    let mut end = 0;
    for range in found {
        // Datagrams may share bytes.
        let rest = range.start.max(end)..range.end.max(end);
        if !rest.is_empty() {
            pieces.add(rest.start, rest.clone(), usize::MAX);
        }
        end = rest.end;
    }
    pieces.end();
    Some(())
}

#[cfg(test)]
mod tests {
    use uwwan_ncm::{Builder, Choices, Framing, Limits, NtbParameters, Placement, Stream};
    use uwwan_usb::descriptors::TransferKind;

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

    impl Keeper for Vec<Range<usize>> {
        fn keep(&mut self, piece: Range<usize>) {
            self.push(piece);
        }

        fn restart(&mut self) {
            self.clear();
        }
    }

    fn pieces(data: &[u8], keep: usize) -> Vec<Range<usize>> {
        let content = Content::of(TransferKind::Bulk, data);
        let mut pieces = Vec::new();
        snap(&content, data, keep, None, &mut pieces);
        pieces
    }

    fn kept(data: &[u8], keep: usize) -> usize {
        pieces(data, keep).iter().map(Range::len).sum()
    }

    fn snapped(data: &[u8], keep: usize) -> Vec<u8> {
        let mut snapped = vec![0; data.len()];
        let mut end = 0;
        for at in pieces(data, keep) {
            assert!(end <= at.start, "the pieces are apart and in order");
            end = at.end;
            snapped[at.clone()].copy_from_slice(&data[at]);
        }
        snapped
    }

    #[test]
    fn framing_stays_and_payload_becomes_zeros() {
        let ntb = ntb();
        let bytes = kept(&ntb, 100);
        assert!(bytes < 500, "{bytes}");
        let snapped = snapped(&ntb, 100);
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
            pieces(&ntb, 100).len()
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
        assert!(snapped(&two, 100).ends_with(&ntb()));
        let mut padded = ntb();
        padded.resize(8_000, 0);
        assert!(kept(&padded, 100) < 500);
    }

    /// The quick way keeps what the thorough one keeps, or leaves the NTB to it.
    #[test]
    fn both_ways_keep_the_same_bytes() {
        let formats = [Format::Ntb16, Format::Ntb32];
        for (format, placement) in formats
            .into_iter()
            .flat_map(|format| [Placement::End, Placement::Front].map(|place| (format, place)))
        {
            let choices = Choices {
                format,
                placement,
                ..Choices::default()
            };
            let ntb = ntb_of(&[1_000, 40, 41, 110, 1_000], &choices);
            let read = Ntb::parse(&ntb, &Limits::default()).unwrap();
            let (mut quick, mut thorough) = (Vec::new(), Vec::new());
            in_order(&read, &ntb, 100, Pieces::of(&mut quick)).unwrap();
            in_any_order(&read, 100, None, Pieces::of(&mut thorough)).unwrap();
            let within =
                |pieces: &[Range<usize>], at: usize| pieces.iter().any(|piece| piece.contains(&at));
            for (at, byte) in ntb.iter().enumerate() {
                // The quick way keeps alignments between pieces, which hold zeros.
                let same = within(&quick, at) == within(&thorough, at);
                assert!(*byte == 0 || same, "{at}");
            }
        }
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
