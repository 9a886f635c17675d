//! The choice of the bytes of a transfer that a capture keeps.
//!
//! Of an NTB, the header, the NDPs wherever they are, and the first bytes of each datagram are kept; of an
//! Ethernet frame that is a transfer of its own (CDC ECM), its first bytes. Any other transfer is kept
//! whole: an NTB that cannot be parsed is the one that somebody will want to see.

use std::ops::Range;

use uwwan_capture::write::Piece;
use uwwan_ncm::{DropCounters, Format, Limits, Ntb, Stream};

/// Lengths of the headers of an NTB16 and of an NTB32 in bytes (NCM 1.0, 3.2.1 and 3.2.2).
const HEADER_16: usize = 12;
const HEADER_32: usize = 16;
/// Lengths of the headers of an NDP16 and of an NDP32 in bytes (NCM 1.0, 3.3.1 and 3.3.2).
const NDP_HEADER_16: usize = 8;
const NDP_HEADER_32: usize = 16;
/// Length in bytes of the longest datagram that a receiver accepts ([`Limits`]).
const LONGEST_DATAGRAM: usize = 0xffff;
/// Length of an Ethernet header in bytes.
const ETHERNET_HEADER: usize = 14;
/// Length of the shortest Ethernet frame in bytes, without its CRC (IEEE 802.3, 3.2.8).
const LEAST_FRAME: usize = 60;
/// Length of the shortest IPv4 header in bytes (RFC 791, 3.1).
const IPV4_HEADER: usize = 20;
/// Length of an IPv6 header in bytes (RFC 8200, 3).
const IPV6_HEADER: usize = 40;
/// Number of bytes between two pieces, such as an alignment, that cost less to keep than to leave out.
const SMALL_GAP: usize = 16;

/// Finds the pieces of a transfer's data that are kept: all of it except payload, and of each datagram
/// the first `snap` bytes. `pieces` is emptied first.
pub(super) fn snap(data: &[u8], snap: usize, pieces: &mut Vec<Piece>) {
    pieces.clear();
    if find_pieces(data, snap, pieces).is_none() {
        pieces.clear();
        let is_frame = snap < data.len() && frame(data, data.len()).is_some();
        pieces.push(Piece {
            offset: 0,
            length: if is_frame { snap } else { data.len() } as u32,
        });
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
fn find_pieces(data: &[u8], snap: usize, pieces: &mut Vec<Piece>) -> Option<()> {
    // The length fits 32 bits, so every offset in the data does too.
    u32::try_from(data.len()).ok()?;
    let limits = Limits {
        max_ntb: data.len(),
        max_datagrams: usize::from(u16::MAX),
        ..Limits::default()
    };
    let ntb = Ntb::parse(data, &limits).ok()?;
    if in_order(&ntb, data, snap, pieces).is_none() {
        pieces.clear();
        in_any_order(&ntb, snap, pieces)?;
    }
    // The bytes behind the NTB are another NTB, or padding.
    let behind = data.get(ntb.length()..).unwrap_or_default();
    if behind.iter().any(|byte| *byte != 0) {
        want(pieces, ntb.length(), ntb.length()..data.len(), usize::MAX);
    }
    Some(())
}

/// Adds the first `keep` bytes of a range that lies behind all pieces so far. They join the last piece
/// where that reaches to `end` and only a small gap is between.
#[inline]
fn want(pieces: &mut Vec<Piece>, end: usize, range: Range<usize>, keep: usize) {
    let kept = range.len().min(keep);
    if let Some(last) = pieces.last_mut()
        && (last.offset + last.length) as usize == end
        && range.start - end <= SMALL_GAP
    {
        last.length = (range.start + kept) as u32 - last.offset;
        return;
    }
    pieces.push(Piece {
        offset: range.start as u32,
        length: kept as u32,
    });
}

/// Adds the pieces of an NTB as nearly every one is: with one NDP, in front of all datagrams or behind
/// them, and sound datagrams in the order of its entries. Returns `None` for any other NTB.
///
/// Looking at an entry takes a third of the instructions that [`Ntb::datagrams`] takes, which on the
/// data thread is a difference of several hundredths.
fn in_order(ntb: &Ntb<'_>, data: &[u8], snap: usize, pieces: &mut Vec<Piece>) -> Option<()> {
    let mut drops = DropCounters::default();
    let (ndp, another) = {
        let mut ndps = ntb.ndps(&mut drops);
        (ndps.next()?, ndps.next())
    };
    if another.is_some() || drops != DropCounters::default() {
        return None;
    }
    // Length in bytes of the shortest datagram that is sound, by the upper half of its first byte.
    let mut least = [usize::MAX; 16];
    match ndp.stream {
        Stream::Ips(_) => (least[4], least[6]) = (IPV4_HEADER, IPV6_HEADER),
        Stream::Ethernet { crc: false } => least = [ETHERNET_HEADER; 16],
        Stream::Ethernet { crc: true } | Stream::Dss(_) => return None,
    }
    let (header, ndp_header, word) = match ntb.format() {
        Format::Ntb16 => (HEADER_16, NDP_HEADER_16, 2),
        Format::Ntb32 => (HEADER_32, NDP_HEADER_32, 4),
    };
    want(pieces, 0, 0..header, usize::MAX);
    let (mut end, limit) = if ndp.range.start <= header + SMALL_GAP {
        want(pieces, header, ndp.range.clone(), usize::MAX);
        (ndp.range.end, ntb.length())
    } else {
        (header, ndp.range.start)
    };
    let entries = data.get(ndp.range.start + ndp_header..ndp.range.end)?;
    for entry in entries.chunks_exact(2 * word) {
        let (index, length) = if word == 2 {
            let [a, b, c, d] = *entry.first_chunk()?;
            (
                usize::from(u16::from_le_bytes([a, b])),
                usize::from(u16::from_le_bytes([c, d])),
            )
        } else {
            let [a, b, c, d, e, f, g, h] = *entry.first_chunk()?;
            (
                u32::from_le_bytes([a, b, c, d]) as usize,
                u32::from_le_bytes([e, f, g, h]) as usize,
            )
        };
        if index == 0 || length == 0 {
            break;
        }
        let first = data.get(index)?;
        let behind = index.checked_add(length)?;
        let long_enough = length >= least[usize::from(first >> 4)];
        if index < end || behind > limit || !long_enough || length > LONGEST_DATAGRAM {
            return None;
        }
        want(pieces, end, index..behind, snap);
        end = behind;
    }
    if limit == ndp.range.start {
        want(pieces, end, ndp.range, usize::MAX);
    }
    Some(())
}

/// Adds the pieces of any NTB. Returns `None` where something in it is refused.
fn in_any_order(ntb: &Ntb<'_>, snap: usize, pieces: &mut Vec<Piece>) -> Option<()> {
    let header = match ntb.format() {
        Format::Ntb16 => HEADER_16,
        Format::Ntb32 => HEADER_32,
    };
    let mut drops = DropCounters::default();
    let ndps = ntb.ndps(&mut drops).map(|ndp| ndp.range);
    let mut found: Vec<Range<usize>> = std::iter::once(0..header).chain(ndps).collect();
    let datagrams = ntb.datagrams(&mut drops).map(|datagram| datagram.range);
    found.extend(datagrams.map(|range| range.start..range.start + range.len().min(snap)));
    if drops != DropCounters::default() {
        return None;
    }
    found.sort_unstable_by_key(|range| (range.start, range.end));
    let mut end = 0;
    for range in found {
        // Datagrams may share bytes.
        let rest = range.start.max(end)..range.end.max(end);
        if !rest.is_empty() {
            want(pieces, rest.start, rest.clone(), usize::MAX);
        }
        end = rest.end;
    }
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

    fn pieces(data: &[u8], keep: usize) -> Vec<Piece> {
        let mut pieces = Vec::new();
        snap(data, keep, &mut pieces);
        pieces
    }

    fn kept(data: &[u8], keep: usize) -> usize {
        let lengths = pieces(data, keep).into_iter().map(|piece| piece.length);
        lengths.sum::<u32>() as usize
    }

    fn snapped(data: &[u8], keep: usize) -> Vec<u8> {
        let mut snapped = vec![0; data.len()];
        let mut end = 0;
        for piece in pieces(data, keep) {
            let at = piece.offset as usize..(piece.offset + piece.length) as usize;
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
            in_order(&read, &ntb, 100, &mut quick).unwrap();
            in_any_order(&read, 100, &mut thorough).unwrap();
            let within = |pieces: &[Piece], at: usize| {
                let holds = |piece: &Piece| {
                    (piece.offset..piece.offset + piece.length).contains(&(at as u32))
                };
                pieces.iter().any(holds)
            };
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
