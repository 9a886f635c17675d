//! What holds for every framing and every list of datagrams: what is built reads back, is accepted
//! by the strictest and the laxest receiver known, and keeps each rule of the layout.

mod support;

use proptest::prelude::*;
use support::gadget::Gadget;
use support::linux_tx::Sender;
use support::{Delivered, linux_host};
use uwwan_ncm::strict::{Rules, check};
use uwwan_ncm::{
    Builder, Choices, DropCounters, Finished, Format, Framing, Function, Limits, NdpSize, Ntb,
    NtbParameters, Padding, Placement, Receiver, Stream,
};

/// Packets with the stream they belong to.
type Packets = Vec<(Stream, Vec<u8>)>;

#[derive(Debug, Clone)]
struct Case {
    parameters: NtbParameters,
    framing: Framing,
    crc: bool,
    function: Function,
    /// Stream and length in bytes of each datagram.
    datagrams: Vec<(Stream, usize)>,
    /// Number of datagrams after which a further NDP begins, in every NTB.
    chain: Option<usize>,
}

fn parameters() -> impl Strategy<Value = NtbParameters> {
    (
        prop_oneof![Just(2048_u32), 2048..65537_u32, Just(16384), Just(65536)],
        2..10_u32,
        any::<u16>(),
        2..10_u32,
        prop_oneof![Just(0_u16), 1..65_u16],
    )
        .prop_map(|(out_max, divisor, remainder, alignment, datagrams)| {
            let divisor = 1_u16 << divisor;
            NtbParameters {
                formats: 3,
                out_max,
                out_divisor: divisor,
                out_remainder: remainder % divisor,
                out_alignment: 1 << alignment,
                out_max_datagrams: datagrams,
                ..NtbParameters::FALLBACK
            }
        })
}

fn choices() -> impl Strategy<Value = Choices> {
    (
        prop_oneof![Just(Format::Ntb16), Just(Format::Ntb32)],
        prop_oneof![Just(Placement::End), Just(Placement::Front)],
        prop_oneof![Just(NdpSize::Minimal), Just(NdpSize::Full)],
        prop_oneof![
            Just(Padding::Never),
            Just(Padding::ShortPacket),
            (0..20000_usize).prop_map(|min_tx_pkt| Padding::Full { min_tx_pkt })
        ],
        prop_oneof![Just(Function::Mbim), Just(Function::Ncm)],
        2048..70000_usize,
        1..100_usize,
        prop_oneof![Just(64_usize), Just(512), Just(1024)],
    )
        .prop_map(
            |(
                format,
                placement,
                ndp_size,
                padding,
                function,
                block_size,
                max_datagrams,
                max_packet_size,
            )| Choices {
                format,
                placement,
                ndp_size,
                padding,
                function,
                block_size,
                max_datagrams,
                max_datagram_size: 2048,
                max_packet_size,
            },
        )
}

fn cases() -> impl Strategy<Value = Case> {
    (
        parameters(),
        choices(),
        any::<bool>(),
        any::<bool>(),
        prop::collection::vec((0..6_u8, 40..1600_usize), 1..60),
        prop_oneof![2 => Just(None), 1 => (1..8_usize).prop_map(Some)],
    )
        .prop_map(|(parameters, choices, linux, crc, lengths, chain)| {
            let framing = if linux {
                linux_form(&parameters, &choices)
            } else {
                Framing::negotiate(&parameters, &choices)
            };
            let crc = crc && choices.function == Function::Ncm;
            let stream = |pick| match (choices.function, pick) {
                (Function::Ncm, _) => Stream::Ethernet { crc },
                (_, 0) => Stream::Ips(1),
                (_, 1) => Stream::Dss(255),
                _ => Stream::Ips(0),
            };
            Case {
                parameters,
                framing,
                crc,
                function: choices.function,
                datagrams: lengths
                    .into_iter()
                    .map(|(pick, length)| (stream(pick), length))
                    .collect(),
                chain,
            }
        })
}

fn linux_sender(parameters: &NtbParameters, choices: &Choices) -> Sender {
    Sender::new(
        parameters,
        choices.format,
        choices.placement,
        choices.function == Function::Ncm,
        choices.max_packet_size,
    )
}

/// Returns a framing with which the builder follows Linux: its sizes, its full-size NDP, its
/// padding.
fn linux_form(parameters: &NtbParameters, choices: &Choices) -> Framing {
    let sender = linux_sender(parameters, choices);
    let choices = Choices {
        ndp_size: NdpSize::Full,
        padding: Padding::Full {
            min_tx_pkt: sender.min_tx_pkt,
        },
        max_datagrams: sender.max_datagrams,
        ..*choices
    };
    Framing {
        max_ntb: sender.tx_max,
        ..Framing::negotiate(parameters, &choices)
    }
}

/// Returns the bytes of the datagram with the number `index`: an IP version, then bytes that tell
/// it from others.
fn content(index: usize, length: usize) -> Vec<u8> {
    let first = if index.is_multiple_of(2) { 0x45 } else { 0x60 };
    (0..length)
        .map(|at| {
            if at == 0 {
                first
            } else {
                (index * 7 + at) as u8
            }
        })
        .collect()
}

/// Returns all NTBs that the case's datagrams make, built in memory full of old bytes, and the
/// datagrams that went in.
fn build(case: &Case) -> (Vec<(Vec<u8>, Finished)>, Packets) {
    let mut builder = Builder::new(case.framing);
    let mut ntb = vec![0xee; case.framing.max_ntb];
    let mut ntbs = Vec::new();
    let mut sent = Vec::new();
    for (index, (stream, length)) in case.datagrams.iter().copied().enumerate() {
        if case.chain.is_some_and(|every| index.is_multiple_of(every)) {
            builder.begin_next_ndp();
        }
        let slot = match builder.place(stream, length) {
            Ok(slot) => slot,
            Err(_) => {
                let finished = builder.finish(&mut ntb);
                if finished.length > 0 {
                    ntbs.push((ntb[..finished.length].to_vec(), finished));
                }
                ntb.fill(0xee);
                // What does not fit an empty NTB is dropped.
                let Ok(slot) = builder.place(stream, length) else {
                    continue;
                };
                slot
            }
        };
        let bytes = content(index, length);
        ntb[slot.offset..slot.offset + length].copy_from_slice(&bytes);
        builder.commit(slot, length);
        sent.push((stream, padded(stream, bytes)));
    }
    let finished = builder.finish(&mut ntb);
    if finished.length > 0 {
        ntbs.push((ntb[..finished.length].to_vec(), finished));
    }
    (ntbs, sent)
}

/// Returns the datagram as it is sent: Ethernet frames have at least 60 bytes.
fn padded(stream: Stream, mut bytes: Vec<u8>) -> Vec<u8> {
    if matches!(stream, Stream::Ethernet { .. }) && bytes.len() < 60 {
        bytes.resize(60, 0);
    }
    bytes
}

/// Sorts datagrams by stream: those of different streams may change places within an NTB, those of
/// one stream may not.
fn by_stream(mut datagrams: Packets) -> Packets {
    datagrams.sort_by_key(|(stream, _)| stream.signature(Format::Ntb16));
    datagrams
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_built_reads_back(case in cases()) {
        let (ntbs, sent) = build(&case);
        let mut receiver = Receiver::new(Limits::default());
        let mut received = Vec::new();
        for (ntb, finished) in &ntbs {
            let got = receiver.receive(ntb, |datagram| {
                received.push((datagram.stream, ntb[datagram.range].to_vec()));
            });
            prop_assert_eq!(got.ntbs, 1);
            prop_assert_eq!(got.datagrams, finished.datagrams);
            prop_assert_eq!(got.payload, finished.payload);
        }
        prop_assert_eq!(receiver.drops, DropCounters::default());
        prop_assert_eq!(receiver.sequence_gaps, 0);
        prop_assert_eq!(by_stream(received), by_stream(sent));
    }

    /// In the form of Linux, the builder takes at least the datagrams Linux takes, puts none
    /// further back than Linux does, and needs no more bytes; where the remainder is 0, the two are
    /// equal.
    #[test]
    fn the_builder_keeps_up_with_linux(
        parameters in parameters(),
        choices in choices(),
        datagrams in prop::collection::vec((0..4_u8, 60..1600_usize), 1..60),
    ) {
        let sender = linux_sender(&parameters, &choices);
        let framing = linux_form(&parameters, &choices);
        let stream = |session| match choices.function {
            Function::Ncm => Stream::Ethernet { crc: false },
            Function::Mbim => Stream::Ips(session),
        };
        let datagrams: Vec<(u8, usize)> = datagrams
            .into_iter()
            .map(|(session, length)| match choices.function {
                Function::Ncm => (0, length),
                Function::Mbim => (session, length),
            })
            .collect();
        let Some(taken) = sender.fill(&datagrams) else { return Ok(()); };
        let datagrams = &datagrams[..taken.offsets.len()];
        // Offered no more than it takes, Linux leaves no padding for a datagram that it refused.
        let linux = sender.fill(datagrams).unwrap();
        prop_assert_eq!(&linux.offsets, &taken.offsets);

        let mut builder = Builder::new(framing);
        let mut ntb = vec![0; framing.max_ntb];
        let mut offsets = Vec::new();
        for (index, (session, length)) in datagrams.iter().copied().enumerate() {
            let offset = builder.put(stream(session), 0, length);
            prop_assert!(offset.is_ok(), "{:?} where Linux has room", offset);
            let offset = offset.unwrap();
            ntb[offset..offset + length].copy_from_slice(&content(index, length));
            offsets.push(offset);
        }
        let finished = builder.finish(&mut ntb);
        let word = |at: usize| match choices.format {
            Format::Ntb16 => usize::from(u16::from_le_bytes([ntb[at], ntb[at + 1]])),
            Format::Ntb32 => u32::from_le_bytes(ntb[at..at + 4].try_into().unwrap()) as usize,
        };
        let (index, next) = if choices.format == Format::Ntb16 { (10, 6) } else { (12, 8) };
        let mut ndps = Vec::new();
        let mut at = word(index);
        while at != 0 {
            ndps.push((at, usize::from(u16::from_le_bytes([ntb[at + 4], ntb[at + 5]]))));
            at = word(at + next);
        }
        if sender.remainder == 0 {
            prop_assert_eq!(&offsets, &linux.offsets);
            prop_assert_eq!(&ndps, &linux.ndps);
            prop_assert_eq!(finished.length, linux.length);
        }
        let divisor = usize::from(parameters.out_divisor);
        for (ours, theirs) in offsets.iter().zip(&linux.offsets) {
            prop_assert!(ours <= theirs && ours % divisor == theirs % divisor);
        }
        prop_assert_eq!(ndps.len(), linux.ndps.len());
        for (ours, theirs) in ndps.iter().zip(&linux.ndps) {
            prop_assert!(ours.0 <= theirs.0 && ours.1 == theirs.1);
        }
        prop_assert!(finished.length <= linux.length);
    }

    /// An NTB in which placing went too far is the one in which it never did.
    #[test]
    fn what_was_taken_back_leaves_no_trace(
        case in cases(),
        marked in 0..8_usize,
        kept in 0..12_usize,
    ) {
        let build = |ahead: bool| {
            let mut builder = Builder::new(case.framing);
            let mut ntb = vec![0; case.framing.max_ntb];
            let mut mark = builder.mark();
            let wanted = if ahead { usize::MAX } else { marked + kept };
            for (index, (stream, length)) in case.datagrams.iter().copied().enumerate() {
                if index == marked {
                    mark = builder.mark();
                }
                if index >= wanted {
                    break;
                }
                let placed = if ahead {
                    builder.put(stream, 0, length)
                } else {
                    builder.place(stream, length).map(|slot| {
                        let offset = slot.offset;
                        builder.commit(slot, length);
                        offset
                    })
                };
                let Ok(offset) = placed else {
                    // Only a refusal among the datagrams that stay is remembered.
                    if index < marked + kept {
                        return None;
                    }
                    break;
                };
                ntb[offset..offset + length].copy_from_slice(&content(index, length));
            }
            if ahead {
                builder.keep(mark, kept);
            }
            let counts = (builder.datagrams(), builder.payload());
            let places: Vec<_> = [1, 700, 1500]
                .map(|want| builder.place(Stream::Ips(0), want).map(|slot| (slot.offset, slot.room)))
                .into();
            let finished = builder.finish(&mut ntb);
            // The bytes behind belong to datagrams that were taken back.
            Some((counts, places, finished, ntb[..finished.length].to_vec()))
        };
        if case.datagrams.len() > marked && let (Some(ahead), Some(exact)) = (build(true), build(false)) {
            prop_assert_eq!(ahead, exact);
        }
    }

    #[test]
    fn what_is_built_keeps_every_rule(case in cases()) {
        let (ntbs, sent) = build(&case);
        let rules = Rules {
            format: Some(case.framing.format),
            // The strictest device takes one NDP at the end.
            placement: (case.framing.placement == Placement::Front || case.chain.is_none())
                .then_some(case.framing.placement),
            function: case.function,
            crc: case.crc,
            max_datagram_size: 2048,
            max_packet_size: Some(case.framing.max_packet_size),
            zero_padding: true,
        };
        let mut datagrams = 0;
        for (ntb, finished) in &ntbs {
            prop_assert!(ntb.len() <= case.framing.max_ntb);
            let checked = check(ntb, finished.zero_packet, &case.parameters, &rules)
                .map_err(|violation| TestCaseError::fail(violation.to_string()))?;
            datagrams += checked.datagrams;
            if case.framing.padding != Padding::Never {
                prop_assert!(!finished.zero_packet);
            }
        }
        prop_assert_eq!(datagrams, sent.len());
    }

    #[test]
    fn the_strictest_and_the_laxest_receiver_take_what_is_built(case in cases()) {
        let gadget = Gadget {
            wide: case.framing.format == Format::Ntb32,
            kinds: &[b"NCM", b"ncm", b"IPS", b"ips", b"DSS", b"dss"],
            ntb_max: case.parameters.out_max as usize,
            datagram: 14..=2052,
        };
        let (ntbs, _) = build(&case);
        for (ntb, _) in &ntbs {
            let ours = delivered(ntb);
            prop_assert_eq!(gadget.receive(ntb), Ok(with_crc(ours.clone(), case.crc)));
            // The host side of Linux has no CRC: it skips such NDPs.
            let laxest = if case.crc { Vec::new() } else { ours };
            prop_assert_eq!(linux_host::receive(ntb, 1 << 20), Ok(laxest));
        }
    }

    /// Where nothing was counted as dropped, Linux delivers exactly the same; what Linux delivers
    /// and we do not has a reason with a name.
    #[test]
    fn every_disagreement_has_a_reason(
        case in cases(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        in_framing in any::<bool>(),
    ) {
        if case.crc {
            // The host side of Linux has no CRC.
            return Ok(());
        }
        let (ntbs, _) = build(&case);
        let Some((ntb, _)) = ntbs.first() else { return Ok(()); };
        let mut ntb = ntb.clone();
        let ndp = Ntb::parse(&ntb, &Limits::default()).unwrap().ndp_index();
        for (index, value) in changes {
            let at = if in_framing {
                // The changed byte lies in the header or the first bytes of the NDP, where a change
                // matters most.
                let at = index.index(56);
                if at < 16 { at } else { (ndp + at - 16).min(ntb.len() - 1) }
            } else {
                index.index(ntb.len())
            };
            ntb[at] = value;
        }
        let mut receiver = Receiver::new(Limits::default());
        let mut ours = Vec::new();
        receiver.receive(&ntb, |datagram| {
            ours.push((
                datagram.stream.signature(case.framing.format),
                datagram.range.start,
                datagram.range.len(),
            ));
        });
        if receiver.drops == DropCounters::default() && receiver.ntbs == 1 {
            match linux_host::receive(&ntb, 1 << 20) {
                // Linux reads no Ethernet NDP with CRC, and follows 51 NDPs.
                Ok(theirs) => prop_assert!(theirs == ours || crc_ndp(&ntb)),
                Err(_) => prop_assert!(false, "Linux refuses what we deliver without a word"),
            }
        }
    }

    /// Whatever arrives, the receiver does not panic, delivers nothing from outside the transfer
    /// and not more bytes than arrived, and each datagram is what its stream says.
    #[test]
    fn nothing_from_the_wire_breaks_the_receiver(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        wide in any::<bool>(),
        with_header in any::<bool>(),
        ndp in 0..64_u16,
    ) {
        let mut bytes = bytes;
        if with_header && bytes.len() > 64 {
            let header: &[u8] = if wide { b"ncmh\x10\0" } else { b"NCMH\x0c\0" };
            bytes[..6].copy_from_slice(header);
            bytes[8..12].fill(0);
            let field = if wide { 12 } else { 10 };
            bytes[field..field + 2].copy_from_slice(&ndp.to_le_bytes());
            let ndp = usize::from(ndp);
            let length = (bytes.len() as u16 / 2) & 0x1f8;
            let kind: &[u8] = if wide { b"ips\0" } else { b"IPS\0" };
            if ndp > 0 && ndp + 16 < bytes.len() {
                bytes[ndp..ndp + 4].copy_from_slice(kind);
                bytes[ndp + 4..ndp + 6].copy_from_slice(&length.to_le_bytes());
                bytes[ndp + 6..ndp + 8].fill(0);
            }
        }
        let mut receiver = Receiver::new(Limits { max_datagrams: 8, ..Limits::default() });
        let mut total = 0;
        let received = receiver.receive(&bytes, |datagram| {
            let payload = &bytes[datagram.range];
            total += payload.len();
            if matches!(datagram.stream, Stream::Ips(_)) {
                assert!(payload.len() >= 20);
                assert!(matches!(payload[0] >> 4, 4 | 6));
            }
        });
        prop_assert!(total <= bytes.len());
        prop_assert_eq!(received.payload, total);
        prop_assert!(received.datagrams <= 8 * received.ntbs as usize);
        let _ = check(&bytes, false, &NtbParameters::FALLBACK, &Rules::default());
    }
}

/// Returns the datagrams that this crate delivers, in the form of the models.
fn delivered(ntb: &[u8]) -> Vec<Delivered> {
    let mut drops = DropCounters::default();
    let parsed = Ntb::parse(ntb, &Limits::default()).unwrap();
    parsed
        .datagrams(&mut drops)
        .map(|datagram| {
            (
                datagram.stream.signature(parsed.format()),
                datagram.range.start,
                datagram.range.len(),
            )
        })
        .collect()
}

/// Adds the CRC to each length, as the gadget model counts it.
fn with_crc(delivered: Vec<Delivered>, crc: bool) -> Vec<Delivered> {
    let extra = if crc { 4 } else { 0 };
    delivered
        .into_iter()
        .map(|(signature, offset, length)| (signature, offset, length + extra))
        .collect()
}

/// Returns whether any bytes look like an NDP with CRC.
fn crc_ndp(ntb: &[u8]) -> bool {
    ntb.windows(4)
        .any(|four| four.eq_ignore_ascii_case(b"NCM1"))
}
