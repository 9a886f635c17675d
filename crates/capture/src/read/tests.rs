use std::ops::Range;

use super::*;
use crate::exchange::Pairing;
use crate::transfer::{Kind, Phase};
use crate::write::{Form, Section, Writer};

const KERNEL: &[u8] = include_bytes!("../../tests/vectors/kernel-mbimcli-usbmon.pcap");

fn all(bytes: &[u8]) -> Result<Vec<Packet>, ReadError> {
    let mut reader = Reader::new(bytes)?;
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet()? {
        packets.push(packet);
    }
    Ok(packets)
}

fn written(packets: &[(u64, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, "uwwan test").unwrap();
    let usb = writer
        .interface(LinkType::USBMON_MMAPPED, "usb1", 0)
        .unwrap();
    let ip = writer.interface(LinkType::RAW_IP, "ip", 20).unwrap();
    for (time, data) in packets {
        let comment = (*time == 7).then_some("made up");
        writer
            .packet(usb, *time, &[data], data.len() as u32, comment)
            .unwrap();
    }
    writer.packet(ip, 1, &[&[0x45; 20]], 1500, None).unwrap();
    writer.statistics(usb, 9, 3, 1).unwrap();
    assert_eq!(writer.written(), out.len() as u64);
    out
}

#[test]
fn what_tcpdump_wrote_is_read() {
    let packets = all(KERNEL).unwrap();
    assert!(
        packets
            .iter()
            .all(|packet| packet.link == LinkType::USBMON_MMAPPED)
    );
    let mut pairing = Pairing::default();
    let mut opens = 0;
    for packet in &packets {
        let event = packet.transfer().unwrap();
        for exchange in pairing.push(packet.number, packet.time, &event) {
            let sent = exchange.kind == Kind::Control
                && exchange.setup.is_some_and(|setup| setup[..2] == [0x21, 0]);
            opens += usize::from(sent && exchange.data.starts_with(&[1, 0, 0, 0, 16, 0, 0, 0]));
        }
    }
    assert!(opens > 0, "an MBIM_OPEN_MSG was sent");
    let begun = packets[0].time / 1_000_000_000;
    assert!((1_600_000_000..2_000_000_000).contains(&begun), "{begun}");
}

#[test]
fn what_is_written_is_read() {
    let bytes = written(&[(7, b"first"), (1_700_000_000_123_456_789, b"second!")]);
    let packets = all(&bytes).unwrap();
    assert_eq!(packets.len(), 3);
    assert_eq!((packets[0].time, &packets[0].data[..]), (7, &b"first"[..]));
    assert_eq!(packets[1].time, 1_700_000_000_123_456_789);
    assert_eq!(packets[1].data, b"second!");
    assert_eq!(
        (packets[2].link, packets[2].original),
        (LinkType::RAW_IP, 1500)
    );
    assert_eq!(packets[2].transfer(), None);
}

#[test]
fn long_packets_and_small_reads_are_no_obstacle() {
    struct Dribble<'a>(&'a [u8]);
    impl Read for Dribble<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let length = into.len().min(self.0.len()).min(1_000);
            into[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }
    let long = vec![0xab; 1 << 20];
    let bytes = written(&[(1, &long), (2, b"x"), (3, &long)]);
    let mut reader = Reader::new(Dribble(&bytes)).unwrap();
    let mut lengths = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        lengths.push(packet.data.len());
    }
    assert_eq!(lengths, [1 << 20, 1, 1 << 20, 20]);
}

#[test]
fn broken_files_are_told_with_their_place() {
    let bytes = written(&[(1, b"one"), (2, b"two")]);
    let cut = all(&bytes[..bytes.len() - 90]).unwrap_err();
    assert!(cut.offset > 0 && cut.what.contains("ends inside"), "{cut}");
    let mut huge = bytes.clone();
    let second = bytes.len() - 200;
    huge[second..].fill(0xff);
    assert!(all(&huge).is_err());
    assert!(all(b"").is_err());
    assert!(all(b"GIF89a, which is long enough for a header").is_err());
    // The packet is of an interface that was not described.
    let mut lonely = Vec::new();
    let header = bytes[4] as usize;
    lonely.extend(&bytes[..header]);
    let mut other = Vec::new();
    let mut writer = Writer::new(&mut other, "uwwan test").unwrap();
    let usb = writer.interface(LinkType::USBMON, "usb", 0).unwrap();
    let before = writer.written() as usize;
    writer.packet(usb, 0, &[b"da", b"ta"], 4, None).unwrap();
    lonely.extend(&other[before..]);
    let error = all(&lonely).unwrap_err();
    assert!(error.what.contains("not described"), "{error}");
    // The block claims a length that no block has.
    let mut claim = bytes[..header].to_vec();
    claim.extend([6, 0, 0, 0, 0xfc, 0xff, 0xff, 0x7f]);
    claim.resize(claim.len() + (20 << 20), 0);
    let error = all(&claim).unwrap_err();
    assert!(error.what.contains("longer"), "{error}");
}

#[test]
fn an_endless_file_of_nothing_ends() {
    struct Endless;
    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            into.fill(0);
            Ok(into.len())
        }
    }
    let head = written(&[]);
    let mut reader = Reader::new(head.as_slice().chain(Endless)).unwrap();
    let end = loop {
        match reader.next_packet() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it has no end"),
            Err(error) => break error,
        }
    };
    assert!(end.offset >= head.len() as u64, "{end}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]
    #[test]
    fn damage_never_panics(
        at in 0usize..2_000, with: Vec<u8>, cut in 0usize..50_000
    ) {
        let mut bytes = KERNEL[..cut.min(KERNEL.len())].to_vec();
        for (offset, byte) in with.iter().enumerate() {
            if let Some(there) = bytes.get_mut(at + offset) {
                *there = *byte;
            }
        }
        if let Ok(packets) = all(&bytes) {
            for packet in &packets {
                let _ = packet.transfer().map(|event| event.phase == Phase::Submit);
            }
        }
    }
}

#[test]
fn a_packed_file_reads_as_the_plain_one() {
    let write = |packed| {
        let mut section = Section::new("uwwan test");
        let usb = section.interface(LinkType::USBMON_MMAPPED, "usb1", 0);
        let mut data = vec![7; 16_003];
        data[16_000..].copy_from_slice(b"NDP");
        for time in 0..300 {
            section
                .packet(usb, time, b"front", &data, 16_008, |kept| {
                    kept.keep(16_000..16_003);
                })
                .unwrap();
        }
        let mut taken = Vec::new();
        let written = section.written(packed);
        section.swap(&mut taken);
        assert_eq!(section.written(packed), written);
        let mut out = Vec::new();
        Form::new(packed).write(&taken, &mut out).unwrap();
        assert_eq!(written, out.len() as u64);
        out
    };
    let (plain, packed) = (write(false), write(true));
    assert!(packed.len() < plain.len() / 100, "{}", packed.len());
    assert!(is_capture(&plain) && is_capture(&packed));
    let packets = all(&packed).unwrap();
    assert_eq!(packets, all(&plain).unwrap());
    assert_eq!(packets.len(), 300);
    // The writer looks for the zeros itself here.
    let mut writer = Writer::packed(Vec::new(), "uwwan test").unwrap();
    let usb = writer
        .interface(LinkType::USBMON_MMAPPED, "usb1", 0)
        .unwrap();
    for packet in &packets {
        let length = packet.data.len() as u32;
        writer
            .packet(usb, packet.time, &[&packet.data], length, None)
            .unwrap();
    }
    writer.flush().unwrap();
    let searched = writer.into_inner();
    assert!(searched.len() <= packed.len(), "{}", searched.len());
    assert!(all(&searched).unwrap() == packets);
    assert!(packets[0].data.starts_with(b"front\0\0") && packets[0].data.ends_with(b"\0NDP"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    /// Whatever is left out, and wherever the bytes are cut between two writes and two files, both
    /// forms hold the same packets.
    #[test]
    fn both_forms_hold_what_was_kept(
        packets in proptest::collection::vec(
            (0usize..5_000, proptest::collection::vec((0usize..5_000, 0usize..300), 0..6), 0u8..4),
            1..20,
        )
    ) {
        let mut section = Section::new("uwwan test");
        let mut usb = section.interface(LinkType::USBMON_MMAPPED, "usb1", 0);
        let mut forms = [Form::new(true), Form::new(false)];
        let mut files = [vec![Vec::new()], vec![Vec::new()]];
        let mut expected = vec![Vec::new()];
        let (mut taken, mut ends) = (Vec::new(), Vec::new());
        let mut take = |section: &mut Section, ends: &mut Vec<usize>| {
            section.swap(&mut taken);
            let mut from = 0;
            for end in ends.drain(..).chain([taken.len()]) {
                for (packed, (form, files)) in [true, false].into_iter().zip(forms.iter_mut().zip(&mut files)) {
                    form.write(&taken[from..end], files.last_mut().unwrap()).unwrap();
                    if end < taken.len() {
                        files.push(Vec::new());
                        *form = Form::new(packed);
                    }
                }
                from = end;
            }
        };
        for (length, mut spans, then) in packets {
            let data: Vec<u8> = (0..length).map(|at| (at % 255) as u8 + 1).collect();
            spans.sort_unstable();
            let mut pieces: Vec<Range<usize>> = Vec::new();
            let mut whole = vec![0; 3 + length];
            whole[..3].copy_from_slice(b"sub");
            for (offset, length) in spans {
                let end = pieces.last().map_or(0, |piece| piece.end);
                let start = end.max(offset);
                pieces.push(start..start + length);
                let (from, to) = (start.min(data.len()), (start + length).min(data.len()));
                whole[3 + from..3 + to].copy_from_slice(&data[from..to]);
            }
            section.packet(usb, 5, b"sub", &data, 9_000, |kept| {
                if then == 2 {
                    pieces.iter().cloned().for_each(|piece| kept.keep(piece));
                    kept.restart();
                }
                pieces.into_iter().for_each(|piece| kept.keep(piece));
            }).unwrap();
            expected.last_mut().unwrap().push(whole);
            if then == 0 {
                section.end();
                ends.push(section.begin_next("uwwan test"));
                usb = section.interface(LinkType::USBMON_MMAPPED, "usb1", 0);
                expected.push(Vec::new());
            }
            if then == 1 {
                take(&mut section, &mut ends);
            }
        }
        section.end();
        take(&mut section, &mut ends);
        for files in &files {
            let read: Vec<Vec<Vec<u8>>> = files
                .iter()
                .map(|file| all(file).unwrap().into_iter().map(|it| it.data.to_vec()).collect())
                .collect();
            proptest::prop_assert!(read == expected);
        }
    }
}

#[test]
fn what_another_program_has_packed_is_told() {
    // The file is an empty frame as zstd writes it, with a checksum.
    let other = [
        0x28, 0xb5, 0x2f, 0xfd, 0x24, 0, 1, 0, 0, 0x99, 0xe9, 0xd8, 0x51,
    ];
    let error = all(&other).unwrap_err();
    assert!(error.to_string().contains("zstd -d"), "{error}");
    let mut writer = Writer::packed(Vec::new(), "uwwan test").unwrap();
    writer.flush().unwrap();
    let mut cut = writer.into_inner();
    cut.pop();
    let error = all(&cut).unwrap_err();
    assert!(error.to_string().contains("inside a frame"), "{error}");
}
