//! NTBs for any device in any framing are never built outside the buffer and can always be parsed;
//! where the framing follows from the device's parameters, the strict check finds no fault in them.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use uwwan_ncm::strict::{Rules, check};
use uwwan_ncm::{
    Builder, Choices, DropCounters, Format, Framing, Full, Function, Limits, NdpSize,
    NtbParameters, Padding, Placement, Receiver, Stream,
};

#[derive(Debug, Arbitrary)]
struct Input {
    /// NTB parameters in the form in which the device sends them.
    parameters: [u8; 28],
    wide: bool,
    front: bool,
    full_ndp: bool,
    ncm: bool,
    crc: bool,
    padding: Option<Option<u16>>,
    block_size: u32,
    max_datagrams: u16,
    max_packet_size: u16,
    /// Alignment of an experiment, in place of the device's.
    by_hand: Option<(u32, u32, u32)>,
    steps: Vec<Step>,
}

#[derive(Debug, Arbitrary)]
enum Step {
    Datagram { stream: u8, want: u16, length: u16 },
    PlaceOnly { stream: u8, want: u16 },
    Mark,
    Rewind { keep: u8 },
    Finish,
}

fuzz_target!(|input: Input| {
    let parameters = NtbParameters::parse(&input.parameters);
    let choices = Choices {
        format: if input.wide {
            Format::Ntb32
        } else {
            Format::Ntb16
        },
        placement: if input.front {
            Placement::Front
        } else {
            Placement::End
        },
        ndp_size: if input.full_ndp {
            NdpSize::Full
        } else {
            NdpSize::Minimal
        },
        padding: match input.padding {
            None => Padding::Never,
            Some(None) => Padding::ShortPacket,
            Some(Some(min_tx_pkt)) => Padding::Full {
                min_tx_pkt: min_tx_pkt.into(),
            },
        },
        function: if input.ncm {
            Function::Ncm
        } else {
            Function::Mbim
        },
        block_size: input.block_size as usize,
        max_datagrams: input.max_datagrams.into(),
        max_datagram_size: 4096,
        max_packet_size: input.max_packet_size.into(),
    };
    let mut framing = Framing::negotiate(&parameters, &choices);
    if let Some((divisor, remainder, alignment)) = input.by_hand {
        framing.divisor = divisor as usize;
        framing.remainder = remainder as usize;
        framing.ndp_alignment = alignment as usize;
    }
    let rules = Rules {
        format: Some(framing.format),
        placement: Some(framing.placement),
        function: choices.function,
        crc: input.crc,
        max_datagram_size: 4096,
        max_packet_size: Some(framing.max_packet_size),
        zero_padding: true,
    };

    let mut run = Run {
        builder: Builder::new(framing),
        ntb: vec![0xee; 70_000],
        parameters: input.by_hand.is_none().then_some(parameters),
        rules,
        placed: Vec::new(),
    };
    let stream = |pick: u8| match (choices.function, pick % 4) {
        (Function::Ncm, _) => Stream::Ethernet { crc: input.crc },
        (_, 3) => Stream::Dss(pick),
        _ => Stream::Ips(pick % 40),
    };
    let mut mark = run.builder.mark();
    let mut marked = 0;
    for step in input.steps {
        match step {
            Step::Datagram {
                stream: pick,
                want,
                length,
            } => {
                run.datagram(stream(pick), want.into(), length.into());
            }
            Step::PlaceOnly { stream: pick, want } => {
                let _ = run.builder.place(stream(pick), want.into());
            }
            Step::Mark => {
                mark = run.builder.mark();
                marked = run.placed.len();
            }
            Step::Rewind { keep } => {
                if marked <= run.placed.len() {
                    run.builder.keep(mark, keep.into());
                    run.placed.truncate(marked + usize::from(keep));
                }
            }
            Step::Finish => {
                run.finish();
                mark = run.builder.mark();
                marked = 0;
            }
        }
    }
    run.finish();
});

struct Run {
    builder: Builder,
    ntb: Vec<u8>,
    /// Parameters against which the strict check holds the NTB; `None` for experiments.
    parameters: Option<NtbParameters>,
    rules: Rules,
    placed: Vec<(Stream, Vec<u8>)>,
}

impl Run {
    fn datagram(&mut self, stream: Stream, want: usize, length: usize) {
        match self.builder.place(stream, want) {
            Ok(slot) => {
                assert!(slot.room >= want);
                // The datagram has at least the length of an IPv6 header, because every receiver
                // drops shorter ones.
                let length = length.min(slot.room);
                if length < 40 {
                    return;
                }
                let mut bytes: Vec<u8> = (0..length)
                    .map(|at| if at == 0 { 0x60 } else { at as u8 })
                    .collect();
                self.ntb[slot.offset..][..length].copy_from_slice(&bytes);
                self.builder.commit(slot, length);
                if matches!(stream, Stream::Ethernet { .. }) && length < 60 {
                    bytes.resize(60, 0);
                }
                self.placed.push((stream, bytes));
            }
            Err(Full::TooLong) => {}
            Err(_) => assert!(
                !self.builder.is_empty(),
                "an empty NTB refuses nothing that fits"
            ),
        }
    }

    fn finish(&mut self) {
        let count = self.builder.datagrams();
        assert_eq!(count, self.placed.len());
        let framing = *self.builder.framing();
        let finished = self.builder.finish(&mut self.ntb);
        assert_eq!(finished.datagrams, count);
        assert!(finished.length <= framing.max_ntb);
        assert_eq!(finished.length == 0, count == 0);
        let ntb = &self.ntb[..finished.length];

        let mut receiver = Receiver::new(Limits::default());
        let mut received = Vec::new();
        receiver.receive(ntb, |datagram| {
            received.push((datagram.stream, ntb[datagram.range].to_vec()));
        });
        assert_eq!(receiver.drops, DropCounters::default());
        // An NTB may change the order of datagrams of different streams only.
        let key = |(stream, _): &(Stream, Vec<u8>)| stream.signature(Format::Ntb16);
        received.sort_by_key(key);
        self.placed.sort_by_key(key);
        assert_eq!(received, self.placed);
        self.placed.clear();

        if let Some(parameters) = self.parameters
            && finished.length > 0
        {
            let checked = check(ntb, finished.zero_packet, &parameters, &self.rules);
            assert!(checked.is_ok(), "{:?} in {framing:?}", checked.unwrap_err());
        }
    }
}
