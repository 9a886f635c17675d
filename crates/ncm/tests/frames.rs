//! Frames that the builder makes of IP datagrams, in NTBs and without.

use uwwan_ncm::{
    Builder, Choices, Format, Framing, Full, Function, Limits, LinkHeader, NtbParameters,
    Placement, Receiver, Stream,
};

const FRAMES: Stream = Stream::Ethernet { crc: false };
const LINK: LinkHeader = LinkHeader {
    to: [2, 0, 0, 0, 0, 2],
    from: [2, 0, 0, 0, 0, 1],
};

/// Returns an IPv4 datagram of a length, to 10.0.0.1.
fn datagram(length: usize) -> Vec<u8> {
    let mut datagram = vec![0x5a; length];
    datagram[0] = 0x45;
    datagram[16..20].copy_from_slice(&[10, 0, 0, 1]);
    datagram
}

/// Returns the frame of a datagram, padded to the least length of one.
fn frame(datagram: &[u8]) -> Vec<u8> {
    let mut frame = [LINK.to, LINK.from].concat();
    frame.extend([0x08, 0x00]);
    frame.extend(datagram);
    frame.resize(frame.len().max(60), 0);
    frame
}

fn received(ntb: &[u8], bare: bool) -> Vec<Vec<u8>> {
    let mut receiver = Receiver::new(Limits::default());
    let mut frames = Vec::new();
    if bare {
        receiver.receive_frame(ntb, |datagram| frames.push(ntb[datagram.range].to_vec()));
    } else {
        receiver.receive(ntb, |datagram| {
            assert_eq!(datagram.stream, FRAMES);
            frames.push(ntb[datagram.range].to_vec());
        });
    }
    assert_eq!(receiver.drops, uwwan_ncm::DropCounters::default());
    frames
}

#[test]
fn ntbs_of_ip_datagrams_are_ntbs_of_their_frames() {
    for (format, placement) in [
        (Format::Ntb16, Placement::End),
        (Format::Ntb32, Placement::End),
        (Format::Ntb16, Placement::Front),
        (Format::Ntb32, Placement::Front),
    ] {
        let parameters = NtbParameters {
            formats: 3,
            ..NtbParameters::FALLBACK
        };
        let choices = Choices {
            format,
            placement,
            function: Function::Ncm,
            max_datagram_size: 1514,
            ..Choices::default()
        };
        let plain = Framing::negotiate(&parameters, &choices);
        let with_link = Framing {
            link: Some(LINK),
            ..plain
        };
        let (mut frames, mut datagrams) = (Builder::new(plain), Builder::new(with_link));
        let (mut expected, mut ntb) = (vec![0xee; plain.max_ntb], vec![0xee; plain.max_ntb]);
        for length in [20, 45, 46, 47, 1500, 333, 20] {
            let datagram = datagram(length);
            let slot = datagrams.place(Stream::Ips(0), 1500).unwrap();
            assert!(slot.room >= 1500 && slot.offset.is_multiple_of(4));
            ntb[slot.offset..][..length].copy_from_slice(&datagram);
            datagrams.commit(slot, length);
            let frame = frame(&datagram);
            let slot = frames.place(FRAMES, 1514).unwrap();
            expected[slot.offset..][..frame.len()].copy_from_slice(&frame);
            frames.commit(slot, frame.len());
        }
        // The same datagrams, each placed in one call, make the same NTB.
        let last = datagram(700);
        let at = datagrams.put(Stream::Ips(0), 1500, 700).unwrap();
        ntb[at..][..700].copy_from_slice(&last);
        let at = frames.put(FRAMES, 1514, 714).unwrap();
        expected[at..][..714].copy_from_slice(&frame(&last));
        assert_eq!(datagrams.place(FRAMES, 1501).unwrap_err(), Full::TooLong);

        let (whole, own) = (frames.finish(&mut expected), datagrams.finish(&mut ntb));
        assert_eq!(own.length, whole.length);
        assert_eq!(own.payload, whole.payload - 8 * 14);
        assert_eq!(
            ntb[..own.length],
            expected[..whole.length],
            "{format:?} {placement:?}"
        );
        assert_eq!(received(&ntb[..own.length], false).len(), 8);
    }
}

#[test]
fn without_ntbs_each_frame_is_a_transfer() {
    let framing = Framing {
        link: Some(LINK),
        ..Framing::bare(1514, 512)
    };
    let mut builder = Builder::new(framing);
    let other = LinkHeader { to: [4; 6], ..LINK };
    for length in [20, 46, 498, 1010, 1500] {
        let datagram = datagram(length);
        let mut transfer = vec![0xee; framing.max_ntb];
        let slot = builder.place(FRAMES, 1500).unwrap();
        assert_eq!((slot.offset, slot.room), (14, 1500));
        transfer[14..][..length].copy_from_slice(&datagram);
        builder.commit(slot, length);
        assert_eq!(builder.place(FRAMES, 20).unwrap_err(), Full::Datagrams);
        builder.set_link(LINK);
        let finished = builder.finish(&mut transfer);
        let frame = frame(&datagram);
        assert_eq!(transfer[..finished.length], frame);
        assert_eq!(
            finished.zero_packet,
            frame.len().is_multiple_of(512),
            "{length}"
        );
        assert_eq!(received(&transfer[..finished.length], true), [frame]);
        assert!(builder.is_empty());
        builder.set_link(other);
    }
    assert_eq!(builder.place(FRAMES, 1501).unwrap_err(), Full::TooLong);
    assert_eq!(builder.finish(&mut [0; 1514]).length, 0);
}

#[test]
fn what_is_no_frame_is_counted() {
    let limits = Limits {
        max_datagram_size: 1514,
        ..Limits::default()
    };
    let mut receiver = Receiver::new(limits);
    for (length, good) in [
        (0, false),
        (13, false),
        (14, true),
        (1514, true),
        (1515, false),
    ] {
        let mut came = false;
        receiver.receive_frame(&vec![0; length], |_| came = true);
        assert_eq!(came, good, "{length}");
    }
    assert_eq!(receiver.empty_transfers, 1);
    assert_eq!(receiver.drops.datagram_runt, 1);
    assert_eq!(receiver.drops.datagram_long, 1);
}
