//! A transfer from the device: no delivered datagram lies outside it, no more bytes come out than
//! went in, and delivered datagrams survive being built into an NTB of the driver.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uwwan_ncm::strict::{Rules, check};
use uwwan_ncm::{
    Builder, DropCounters, Format, Framing, Limits, NdpSize, NtbParameters, Padding, Placement,
    Receiver, Sequence, Stream,
};

fuzz_target!(|transfer: &[u8]| {
    let limits = Limits {
        max_datagrams: 512,
        ..Limits::default()
    };
    let mut receiver = Receiver::new(limits);
    let mut delivered: Vec<(Stream, &[u8])> = Vec::new();
    let received = receiver.receive(transfer, |datagram| {
        assert!(!datagram.range.is_empty());
        delivered.push((datagram.stream, &transfer[datagram.range]));
    });
    let payload: usize = delivered.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(payload <= transfer.len());
    assert_eq!(received.payload, payload);
    assert_eq!(received.datagrams, delivered.len());
    assert!(delivered.len() <= limits.max_datagrams * received.ntbs as usize);
    for (stream, bytes) in &delivered {
        match stream {
            Stream::Ips(_) => assert!(matches!(
                (bytes[0] >> 4, bytes.len()),
                (4, 20..) | (6, 40..)
            )),
            Stream::Dss(_) => {}
            Stream::Ethernet { .. } => assert!(bytes.len() >= 14),
        }
    }

    // The strict check accepts nothing that the receiver would drop.
    let rules = Rules {
        max_datagram_size: 0xffff,
        zero_padding: false,
        ..Rules::default()
    };
    let parameters = NtbParameters {
        formats: 3,
        out_max: 65536,
        ..NtbParameters::FALLBACK
    };
    if let Ok(checked) = check(transfer, false, &parameters, &rules)
        && checked.datagrams <= limits.max_datagrams
    {
        assert_eq!(receiver.drops, DropCounters::default());
        assert_eq!(checked.payload, payload);
        assert_eq!(checked.datagrams, delivered.len());
    }

    for (stream, bytes) in delivered {
        let mut builder = Builder::new(FRAMING);
        let mut ntb = vec![0; FRAMING.max_ntb];
        let slot = builder.place(stream, bytes.len()).expect("one fits");
        ntb[slot.offset..][..bytes.len()].copy_from_slice(bytes);
        builder.commit(slot, bytes.len());
        let length = builder.finish(&mut ntb).length;
        let mut again = 0;
        let mut receiver = Receiver::new(Limits::default());
        receiver.receive(&ntb[..length], |datagram| {
            assert_eq!(datagram.stream, stream);
            assert_eq!(&ntb[datagram.range], bytes);
            again += 1;
        });
        assert_eq!((again, receiver.drops), (1, DropCounters::default()));
    }
});

/// Framing with room for the longest datagram that the receiver delivers.
const FRAMING: Framing = Framing {
    format: Format::Ntb32,
    placement: Placement::End,
    ndp_size: NdpSize::Minimal,
    padding: Padding::ShortPacket,
    divisor: 4,
    remainder: 2,
    ndp_alignment: 4,
    max_ntb: 0xffff + 128,
    device_max_ntb: 0,
    max_datagrams: 1,
    min_datagram_size: 0,
    max_datagram_size: 0xffff,
    max_packet_size: 512,
    sequence: Sequence::Rising,
    empty_before: 0,
    link: None,
    bare: false,
};
