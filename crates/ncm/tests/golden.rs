//! The layouts that Linux `cdc_ncm` makes (6.12, `cdc_ncm_fill_tx_frame` with and without
//! NDP-to-end), number by number, with the builder's beside them: packet size 512, NDP alignment 4,
//! divisor 4, at most 40 datagrams. The builder's default form with a minimal NDP follows.

#[path = "support/linux_tx.rs"]
mod linux_tx;

use linux_tx::Sender;
use uwwan_ncm::{
    Builder, Choices, DropCounters, Format, Framing, Full, Function, Limits, NdpSize, Ntb,
    NtbParameters, Padding, Placement, Stream,
};

struct Built {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
    reason: Option<Full>,
    zero_packet: bool,
}

impl Built {
    fn u16(&self, at: usize) -> usize {
        usize::from(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]))
    }

    /// Returns the NTB length and the NDP index that the header states, in the width of the format.
    fn header(&self) -> (usize, usize) {
        if self.bytes.starts_with(b"ncmh") {
            (
                self.u16(8) | self.u16(10) << 16,
                self.u16(12) | self.u16(14) << 16,
            )
        } else {
            (self.u16(8), self.u16(10))
        }
    }

    /// `wLength` of the first NDP.
    fn ndp_length(&self) -> usize {
        self.u16(self.header().1 + 4)
    }
}

fn parameters(remainder: u16, out_max: u32, out_max_datagrams: u16) -> NtbParameters {
    NtbParameters {
        formats: 3,
        out_max,
        out_remainder: remainder,
        out_max_datagrams,
        ..NtbParameters::FALLBACK
    }
}

/// Returns a framing with which the builder follows Linux: its sizes, its full-size NDP, its
/// padding.
fn linux_form(parameters: &NtbParameters, format: Format, placement: Placement) -> Framing {
    let sender = Sender::new(parameters, format, placement, false, 512);
    let choices = Choices {
        format,
        placement,
        ndp_size: NdpSize::Full,
        padding: Padding::Full {
            min_tx_pkt: sender.min_tx_pkt,
        },
        ..Choices::default()
    };
    Framing {
        max_ntb: sender.tx_max,
        ..Framing::negotiate(parameters, &choices)
    }
}

/// Offers datagrams of `sizes` until one is refused, on memory that is not zero.
fn build(framing: Framing, sizes: impl IntoIterator<Item = usize>) -> Built {
    let mut builder = Builder::new(framing);
    let mut bytes = vec![0xee; framing.max_ntb];
    let mut offsets = Vec::new();
    for size in sizes {
        let Ok(slot) = builder.place(Stream::Ips(0), size) else {
            break;
        };
        bytes[slot.offset..slot.offset + size].fill(0x45);
        offsets.push(slot.offset);
        builder.commit(slot, size);
    }
    let finished = builder.finish(&mut bytes);
    assert_eq!(finished.datagrams, offsets.len());
    bytes.truncate(finished.length);
    Built {
        bytes,
        offsets,
        reason: finished.reason,
        zero_packet: finished.zero_packet,
    }
}

/// Returns the offset of the first datagram, the offset of the NDP, its `wLength` and the NTB
/// length.
fn numbers(built: &Built) -> (usize, usize, usize, usize) {
    let (length, ndp) = built.header();
    assert_eq!(length, built.bytes.len(), "NTB length is what is sent");
    (built.offsets[0], ndp, built.ndp_length(), length)
}

/// Datagrams taken, offsets of the first and the last, offset and `wLength` of the NDP, NTB
/// length.
type Numbers = (usize, usize, usize, usize, usize, usize);

/// One case of the golden table.
struct Row {
    format: Format,
    placement: Placement,
    remainder: u16,
    out_max: u32,
    /// `wNtbOutMaxDatagrams`.
    limit: u16,
    /// The number of datagrams that are offered, and their length in bytes.
    offered: (usize, usize),
    linux: Numbers,
    /// The builder's numbers, where rounding up to the next offset with the right remainder makes a
    /// difference.
    ours: Option<Numbers>,
    reason: Option<Full>,
}

const ROW: Row = Row {
    format: Format::Ntb16,
    placement: Placement::End,
    remainder: 2,
    out_max: 16384,
    limit: 0,
    offered: (1, 60),
    linux: (1, 14, 14, 76, 16, 248),
    ours: None,
    reason: None,
};

const GOLDEN: [Row; 12] = [
    ROW,
    Row {
        remainder: 0,
        linux: (1, 12, 12, 72, 16, 244),
        ..ROW
    },
    Row {
        placement: Placement::Front,
        linux: (1, 186, 186, 12, 16, 246),
        ..ROW
    },
    Row {
        format: Format::Ntb32,
        linux: (1, 18, 18, 80, 32, 424),
        ..ROW
    },
    Row {
        format: Format::Ntb32,
        placement: Placement::Front,
        linux: (1, 362, 362, 16, 32, 422),
        ..ROW
    },
    Row {
        offered: (3, 1500),
        linux: (3, 14, 3022, 4524, 24, 4696),
        ours: Some((3, 14, 3014, 4516, 24, 4688)),
        ..ROW
    },
    // The NTB has 15228 bytes without padding, which is more than `min_tx_pkt`.
    Row {
        offered: (20, 1500),
        linux: (10, 14, 13550, 15056, 52, 16384),
        ours: Some((10, 14, 13514, 15016, 52, 16384)),
        reason: Some(Full::Room),
        ..ROW
    },
    Row {
        format: Format::Ntb32,
        offered: (20, 1500),
        linux: (10, 18, 13554, 15060, 104, 16384),
        ours: Some((10, 18, 13518, 15020, 104, 16384)),
        reason: Some(Full::Room),
        ..ROW
    },
    Row {
        remainder: 0,
        offered: (50, 40),
        linux: (40, 12, 1572, 1612, 172, 1784),
        reason: Some(Full::Datagrams),
        ..ROW
    },
    // The NTB has 512 bytes, and one more to end in a short packet.
    Row {
        remainder: 0,
        offered: (1, 328),
        linux: (1, 12, 12, 340, 16, 513),
        ..ROW
    },
    Row {
        remainder: 0,
        limit: 16,
        offered: (20, 100),
        linux: (16, 12, 1512, 1612, 76, 1688),
        reason: Some(Full::Datagrams),
        ..ROW
    },
    Row {
        out_max: 65536,
        offered: (20, 1500),
        linux: (10, 14, 13550, 15056, 52, 16385),
        ours: Some((10, 14, 13514, 15016, 52, 16385)),
        reason: Some(Full::Room),
        ..ROW
    },
];

#[test]
fn the_golden_table() {
    for (index, row) in GOLDEN.iter().enumerate() {
        let parameters = parameters(row.remainder, row.out_max, row.limit);
        let (count, length) = row.offered;
        let sender = Sender::new(&parameters, row.format, row.placement, false, 512);
        let layout = sender.fill(&vec![(0, length); count]).unwrap();
        let (ndp, ndp_length) = layout.ndps[0];
        let linux = (
            layout.offsets.len(),
            layout.offsets[0],
            layout.offsets[layout.offsets.len() - 1],
            ndp,
            ndp_length,
            layout.length,
        );
        assert_eq!(linux, row.linux, "Linux, row {index}");

        let framing = linux_form(&parameters, row.format, row.placement);
        let built = build(framing, vec![length; count]);
        let (first, ndp, ndp_length, block_length) = numbers(&built);
        let ours = (
            built.offsets.len(),
            first,
            built.offsets[built.offsets.len() - 1],
            ndp,
            ndp_length,
            block_length,
        );
        assert_eq!(ours, row.ours.unwrap_or(row.linux), "row {index}");
        assert_eq!(built.reason, row.reason, "row {index}");
        assert!(!built.zero_packet, "row {index}");
    }
}

/// Returns `tx_max` and `min_tx_pkt` by the rules of `cdc_ncm_check_tx_max` and
/// `cdc_ncm_update_rxtx_max` at a packet size of 512; each row begins with `dwNtbOutMaxSize`.
#[test]
fn the_maximum_of_linux() {
    for (out_max, tx_max, min_tx_pkt) in [
        (16384, 16384, 14848),
        (16385, 16385, 14849),
        (65536, 16385, 14849),
        (0, 16385, 14849),
        (1, 2049, 513),
        (2047, 2049, 513),
        (2048, 2048, 512),
    ] {
        let parameters = parameters(0, out_max, 0);
        let sender = Sender::new(&parameters, Format::Ntb16, Placement::End, false, 512);
        assert_eq!(
            (sender.tx_max, sender.min_tx_pkt),
            (tx_max, min_tx_pkt),
            "dwNtbOutMaxSize {out_max}"
        );
    }
}

/// Kernel bug 209407: 0x3f52 bytes filled, divisor 4, remainder 2, and one more datagram waiting.
/// The padding left for it pushed the NDP past the buffer's end.
#[test]
fn a_datagram_that_waits_does_not_push_the_ndp_out() {
    let framing = Framing {
        max_datagram_size: 0x4000,
        ..linux_form(&parameters(2, 0x4000, 0), Format::Ntb16, Placement::End)
    };
    for end in 0x3f00..=0x3f60 {
        let built = build(framing, [end - 14, 1500]);
        // 172 bytes of NDP at a multiple of 4 must stay free.
        let fits = end.next_multiple_of(4) + 172 <= 0x4000;
        assert_eq!(built.offsets.len(), usize::from(fits), "{end:#x}");
        if fits {
            let (length, ndp) = built.header();
            assert!(length <= 0x4000, "{end:#x}");
            assert_eq!(ndp % 4, 0, "{end:#x}");
            assert!(ndp >= end && ndp + 172 <= 0x4000, "{end:#x}");
        }
    }
}

/// Commit 49c2c3f246e2: NDP alignments of 64 and 512 with an NTB that is nearly full.
#[test]
fn wide_ndp_alignment_stays_inside() {
    for alignment in [64, 512] {
        let parameters = NtbParameters {
            out_alignment: alignment,
            ..parameters(2, 16384, 0)
        };
        for framing in [
            linux_form(&parameters, Format::Ntb16, Placement::End),
            Framing::negotiate(&parameters, &Choices::default()),
        ] {
            for last in 1..1500 {
                let sizes = [1500; 10].into_iter().chain([last, 1500, 1500]);
                let built = build(framing, sizes);
                let (length, ndp) = built.header();
                assert!(length <= 16384);
                assert_eq!(ndp % usize::from(alignment), 0, "last {last}");
                assert!(ndp >= built.offsets[built.offsets.len() - 1]);
            }
        }
    }
}

/// The default form is that of OpenBSD `if_umb`: the NDP starts at a multiple of its own alignment.
#[test]
fn the_minimal_form() {
    for (remainder, format, expected) in [
        (0, Format::Ntb16, (12, 72, 16, 88)),
        (2, Format::Ntb16, (14, 76, 16, 92)),
        (2, Format::Ntb32, (18, 80, 32, 112)),
    ] {
        let choices = Choices {
            format,
            ..Choices::default()
        };
        let framing = Framing::negotiate(&parameters(remainder, 16384, 0), &choices);
        assert_eq!(numbers(&build(framing, [60])), expected);
    }
    // Behind byte 37 the next offset that is 2 modulo 4 is 38, where Linux goes on to 42.
    let minimal = Framing::negotiate(&parameters(2, 16384, 0), &Choices::default());
    assert_eq!(build(minimal, [21, 20]).offsets, [14, 38]);
    let linux = Sender::new(
        &parameters(2, 16384, 0),
        Format::Ntb16,
        Placement::End,
        false,
        512,
    );
    let offsets = |second| linux.fill(&[(0, second), (0, 20)]).unwrap().offsets;
    assert_eq!(build(minimal, [21, 20]).offsets, [14, 38]);
    assert_eq!(offsets(21), [14, 38]);
    assert_eq!(build(minimal, [23, 20]).offsets, [14, 38]);
    assert_eq!(offsets(23), [14, 42]);
}

/// An NTB of 512 bytes ends differently under each padding.
#[test]
fn how_an_ntb_gets_a_short_packet() {
    // 12 + 484 + 16 = 512
    let length = |padding, out_max, block_size, size| {
        let choices = Choices {
            padding,
            block_size,
            ..Choices::default()
        };
        let framing = Framing::negotiate(&parameters(0, out_max, 0), &choices);
        let built = build(framing, [size]);
        (built.bytes.len(), built.zero_packet)
    };
    assert_eq!(length(Padding::Never, 16384, 16384, 484), (512, true));
    assert_eq!(
        length(Padding::ShortPacket, 16384, 16384, 484),
        (513, false)
    );
    let full = Padding::Full { min_tx_pkt: 511 };
    assert_eq!(length(full, 16384, 16384, 484), (16384, false));
    let full = Padding::Full { min_tx_pkt: 512 };
    assert_eq!(length(full, 16384, 16384, 484), (513, false));
    // An NTB of exactly `dwNtbOutMaxSize` needs no short packet.
    assert_eq!(length(Padding::Never, 2048, 2048, 2020), (2048, false));
    assert_eq!(
        length(Padding::ShortPacket, 2048, 2048, 2020),
        (2048, false)
    );
    // An NTB of exactly the builder's own maximum needs one, and room is kept for it.
    assert_eq!(length(Padding::Never, 4096, 2048, 2020), (2048, true));
    assert_eq!(
        length(Padding::ShortPacket, 4096, 2048, 2016),
        (2044, false)
    );
    assert_eq!(length(Padding::ShortPacket, 4096, 2048, 2020), (0, false));
}

#[test]
fn the_sequence_wraps() {
    let framing = Framing::negotiate(&parameters(0, 16384, 0), &Choices::default());
    let mut builder = Builder::new(framing);
    builder.set_sequence(65535);
    let mut ntb = vec![0; framing.max_ntb];
    for expected in [65535, 0, 1] {
        let slot = builder.place(Stream::Ips(0), 20).unwrap();
        ntb[slot.offset] = 0x45;
        builder.commit(slot, 20);
        let finished = builder.finish(&mut ntb);
        assert_eq!(finished.sequence, expected);
        let parsed = Ntb::parse(&ntb[..finished.length], &Limits::default()).unwrap();
        assert_eq!(parsed.sequence(), expected);
    }
    // An NTB that is not sent takes no number.
    assert_eq!(builder.finish(&mut ntb).length, 0);
    assert_eq!(builder.sequence(), 2);
}

#[test]
fn another_session_closes_the_ntb_at_the_end_and_chains_in_front() {
    let mut builder = Builder::new(Framing::negotiate(
        &parameters(0, 16384, 0),
        &Choices::default(),
    ));
    let slot = builder.place(Stream::Ips(0), 100).unwrap();
    builder.commit(slot, 100);
    assert_eq!(
        builder.place(Stream::Ips(1), 100).unwrap_err(),
        Full::Stream
    );
    // The first stream's NDP takes further datagrams.
    let slot = builder.place(Stream::Ips(0), 100).unwrap();
    builder.commit(slot, 100);
    let finished = builder.finish(&mut vec![0; 16384]);
    assert_eq!((finished.datagrams, finished.reason), (2, None));

    let choices = Choices {
        placement: Placement::Front,
        ..Choices::default()
    };
    let mut builder = Builder::new(Framing::negotiate(&parameters(0, 16384, 0), &choices));
    let mut ntb = vec![0; 16384];
    let streams = [
        Stream::Ips(0),
        Stream::Ips(1),
        Stream::Ips(0),
        Stream::Dss(1),
    ];
    for stream in streams {
        let slot = builder.place(stream, 100).unwrap();
        ntb[slot.offset..][..100].fill(0x45);
        builder.commit(slot, 100);
    }
    let finished = builder.finish(&mut ntb);
    let parsed = Ntb::parse(&ntb[..finished.length], &Limits::default()).unwrap();
    let mut drops = Default::default();
    let found: Vec<_> = parsed.datagrams(&mut drops).map(|d| d.stream).collect();
    assert_eq!(drops, Default::default());
    // Datagrams are delivered in the order of the NDPs.
    assert_eq!(
        found,
        [
            Stream::Ips(0),
            Stream::Ips(0),
            Stream::Ips(1),
            Stream::Dss(1)
        ]
    );
}

/// Many datagrams are placed before the bytes of the first are there, and then half of them are
/// taken back.
#[test]
fn placing_ahead_and_rewinding() {
    let framing = Framing::negotiate(&parameters(2, 16384, 0), &Choices::default());
    let mut builder = Builder::new(framing);
    let mut placed = Vec::new();
    let mut mark = builder.mark();
    for index in 0..8 {
        if index == 4 {
            mark = builder.mark();
        }
        let slot = builder.place(Stream::Ips(3), 1000 + index).unwrap();
        placed.push((slot.offset, 1000 + index));
        builder.commit(slot, 1000 + index);
    }
    builder.rewind(mark);
    let slot = builder.place(Stream::Ips(3), 50).unwrap();
    assert_eq!(slot.offset, placed[4].0);
    let offset = slot.offset;
    builder.commit(slot, 50);

    let mut ntb = vec![0xee; framing.max_ntb];
    for (offset, length) in placed[..4].iter().copied().chain([(offset, 50)]) {
        ntb[offset..offset + length].fill(0x45);
    }
    let finished = builder.finish(&mut ntb);
    assert_eq!(finished.payload, 1000 + 1001 + 1002 + 1003 + 50);
    let parsed = Ntb::parse(&ntb[..finished.length], &Limits::default()).unwrap();
    let mut drops = Default::default();
    let lengths: Vec<_> = parsed
        .datagrams(&mut drops)
        .map(|datagram| datagram.range.len())
        .collect();
    assert_eq!(lengths, [1000, 1001, 1002, 1003, 50]);
}

#[test]
fn an_uncommitted_or_empty_datagram_leaves_no_trace() {
    let framing = Framing::negotiate(&parameters(0, 16384, 0), &Choices::default());
    let mut builder = Builder::new(framing);
    let slot = builder.place(Stream::Ips(0), 1500).unwrap();
    assert!(slot.room > 1500);
    drop(slot);
    let slot = builder.place(Stream::Ips(0), 1500).unwrap();
    builder.commit(slot, 0);
    assert!(builder.is_empty());
    // The stream of the empty datagram does not stay either.
    let slot = builder.place(Stream::Ips(9), 1500).unwrap();
    assert_eq!(slot.offset, 12);
    builder.commit(slot, 20);
    assert_eq!(builder.datagrams(), 1);
}

/// A frame of 42 bytes, as an ARP request has, becomes one of 60, whether the NTB's memory was
/// clean or not; IP packets stay as short as they are.
#[test]
fn ethernet_frames_are_padded_to_60_bytes() {
    for (stream, length, sent) in [
        (Stream::Ethernet { crc: false }, 42, 60),
        (Stream::Ethernet { crc: false }, 60, 60),
        (Stream::Ethernet { crc: false }, 61, 61),
        (Stream::Ethernet { crc: true }, 42, 60),
        (Stream::Ips(0), 42, 42),
    ] {
        let choices = Choices {
            function: match stream {
                Stream::Ethernet { .. } => Function::Ncm,
                Stream::Ips(_) | Stream::Dss(_) => Function::Mbim,
            },
            ..Choices::default()
        };
        let framing = Framing::negotiate(&parameters(0, 16384, 0), &choices);
        let mut builder = Builder::new(framing);
        let mut ntb = vec![0xee; framing.max_ntb];
        for _ in 0..3 {
            let offset = builder.put(stream, 0, length).unwrap();
            ntb[offset..][..length].fill(0x45);
        }
        let slot = builder.place(stream, 20).unwrap();
        assert!(slot.room >= sent);
        let finished = builder.finish(&mut ntb);
        assert_eq!(finished.payload, 3 * sent);
        let parsed = Ntb::parse(&ntb[..finished.length], &Limits::default()).unwrap();
        let mut drops = Default::default();
        let datagrams: Vec<&[u8]> = parsed
            .datagrams(&mut drops)
            .map(|datagram| &ntb[datagram.range])
            .collect();
        assert_eq!(drops, Default::default());
        assert_eq!(datagrams.len(), 3);
        for datagram in datagrams {
            assert_eq!(datagram.len(), sent);
            assert!(datagram[..length].iter().all(|byte| *byte == 0x45));
            assert!(datagram[length..].iter().all(|byte| *byte == 0));
        }
    }
}

#[test]
fn what_fits_no_ntb_is_told_apart() {
    let parameters = parameters(0, 2048, 0);
    let mut builder = Builder::new(Framing::negotiate(&parameters, &Choices::default()));
    assert_eq!(
        builder.place(Stream::Ips(0), 2021).unwrap_err(),
        Full::TooLong
    );
    assert_eq!(
        builder.place(Stream::Ips(0), 9000).unwrap_err(),
        Full::TooLong
    );
    let slot = builder.place(Stream::Ips(0), 2020).unwrap();
    assert_eq!(slot.room, 2020);
    builder.commit(slot, 1000);
    assert_eq!(builder.place(Stream::Ips(0), 1500).unwrap_err(), Full::Room);
    // A smaller one still fits.
    assert!(builder.place(Stream::Ips(0), 900).is_ok());
}

#[test]
fn an_ntb_without_datagrams_is_whole() {
    for format in [Format::Ntb16, Format::Ntb32] {
        for ndp_alignment in [1, 4, 64, 65_536] {
            let framing = Framing {
                format,
                ndp_alignment,
                ..Framing::negotiate(&NtbParameters::FALLBACK, &Choices::default())
            };
            let mut builder = Builder::new(framing);
            let mut bytes = vec![0xee; framing.max_ntb];
            let length = builder.finish_empty(Stream::Ips(3), &mut bytes);
            let ntb = Ntb::parse(&bytes[..length], &Limits::default()).unwrap();
            assert_eq!((ntb.length(), ntb.sequence()), (length, 0));
            let mut drops = DropCounters::default();
            assert_eq!(ntb.datagrams(&mut drops).count(), 0);
            assert_eq!(drops.iter().map(|(_, count)| count).sum::<u64>(), 0);
            assert_eq!(builder.sequence(), 1);
        }
    }
}
