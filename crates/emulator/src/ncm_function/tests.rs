use uwwan_ncm::{Builder, Choices, Framing, Limits, Receiver, Stream};

use super::*;
use crate::far_side::Network;
use crate::report::Counters;
use std::time::Duration;

fn set(request: u8, value: u16) -> SetupPacket {
    SetupPacket {
        request_type: 0x21,
        request,
        value,
        ..SetupPacket::default()
    }
}

fn get(request: u8, length: u16) -> SetupPacket {
    SetupPacket {
        request_type: 0xa1,
        request,
        length,
        ..SetupPacket::default()
    }
}

#[test]
fn the_default_ntb_parameters() {
    let knobs = Knobs::default();
    let mut function = NcmFunction::new(DataFunction::default(), &knobs);
    let mut room = [0; 64];
    let length = function
        .control_in(get(cdc::GET_NTB_PARAMETERS, 28), &mut room, &knobs)
        .unwrap();
    assert_eq!(
        room[..length],
        [
            0x1c, 0, 3, 0, 0, 0, 2, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0, 0x40, 0, 0, 4, 0, 0, 0, 4, 0, 0,
            0
        ]
    );
    let knobs: Knobs = "ntb_parameters_length=12".parse().unwrap();
    assert_eq!(
        function.control_in(get(cdc::GET_NTB_PARAMETERS, 28), &mut room, &knobs),
        Some(12)
    );
}

#[test]
fn the_format_is_set_in_alternate_0_only() {
    let knobs = Knobs::default();
    let recorder = Recorder::default();
    let mut function = NcmFunction::new(DataFunction::default(), &knobs);
    let mut room = [0; 2];
    assert!(function.control_out(set(cdc::SET_NTB_FORMAT, 1), &[], &knobs, &recorder));
    function.control_in(get(cdc::GET_NTB_FORMAT, 2), &mut room, &knobs);
    assert_eq!(room, [1, 0]);
    function.select(1, &knobs);
    assert!(!function.control_out(set(cdc::SET_NTB_FORMAT, 0), &[], &knobs, &recorder));
    assert_eq!(recorder.report().total_violations(), 1);
    function.select(0, &knobs);
    function.control_in(get(cdc::GET_NTB_FORMAT, 2), &mut room, &knobs);
    assert_eq!(room, [0, 0]);
    assert!(!function.control_out(set(cdc::SET_NTB_FORMAT, 2), &[], &knobs, &recorder));
    let old: Knobs = "ntb_formats=1".parse().unwrap();
    let mut function = NcmFunction::new(DataFunction::default(), &old);
    assert!(!function.control_out(set(cdc::SET_NTB_FORMAT, 0), &[], &old, &recorder));
    assert_eq!(
        function.control_in(get(cdc::GET_NTB_FORMAT, 2), &mut room, &old),
        None
    );
}

#[test]
fn input_sizes_come_in_two_forms() {
    let knobs = Knobs::default();
    let recorder = Recorder::default();
    let mut function = NcmFunction::new(DataFunction::default(), &knobs);
    let request = set(cdc::SET_NTB_INPUT_SIZE, 0);
    let mut room = [0; 8];
    assert!(function.control_out(request, &[0, 0x40, 0, 0], &knobs, &recorder));
    assert_eq!(
        function.control_in(get(cdc::GET_NTB_INPUT_SIZE, 4), &mut room, &knobs),
        Some(4)
    );
    assert_eq!(room[..4], [0, 0x40, 0, 0]);
    assert!(function.control_out(request, &[0, 0x80, 0, 0, 9, 0, 0, 0], &knobs, &recorder));
    assert_eq!(
        function.control_in(get(cdc::GET_NTB_INPUT_SIZE, 8), &mut room, &knobs),
        Some(8)
    );
    assert_eq!(room, [0, 0x80, 0, 0, 9, 0, 0, 0]);
    assert_eq!(recorder.report().total_violations(), 0);
    for wrong in [&[0, 4, 0, 0][..], &[0, 0, 3, 0], &[1, 2, 3], &[0; 9]] {
        assert!(!function.control_out(request, wrong, &knobs, &recorder));
    }
    assert_eq!(recorder.report().total_violations(), 4);
    assert!(!function.control_out(set(0x8a, 0), &[], &knobs, &recorder));
}

/// A network whose packets are in a list.
#[derive(Default)]
struct Packets {
    towards_host: std::collections::VecDeque<Vec<u8>>,
    from_host: Vec<Vec<u8>>,
    room: usize,
}

impl Network for Packets {
    fn send(&mut self, packet: &[u8]) -> bool {
        let taken = self.from_host.len() < self.room;
        if taken {
            self.from_host.push(packet.to_vec());
        }
        taken
    }

    fn receive(&mut self, room: &mut [u8]) -> Option<usize> {
        let packet = self.towards_host.pop_front()?;
        room[..packet.len()].copy_from_slice(&packet);
        Some(packet.len())
    }
}

/// A function in alternate setting 1, with session 0 up.
struct Bench {
    function: NcmFunction,
    network: Packets,
    routes: Routes,
    knobs: Knobs,
    counters: Counters,
    recorder: Recorder,
}

impl Bench {
    fn new(knobs: &str) -> Self {
        let knobs: Knobs = knobs.parse().unwrap();
        let mut function = NcmFunction::new(DataFunction::default(), &knobs);
        function.select(1, &knobs);
        let mut routes = Routes::default();
        routes.set(0, true, true);
        Self {
            function,
            network: Packets {
                room: usize::MAX,
                ..Packets::default()
            },
            routes,
            knobs,
            counters: Counters::default(),
            recorder: Recorder::default(),
        }
    }

    fn input_size(&mut self, size: u32) {
        let request = set(cdc::SET_NTB_INPUT_SIZE, 0);
        assert!(self.function.control_out(
            request,
            &size.to_le_bytes(),
            &self.knobs,
            &self.recorder
        ));
    }

    fn transmit(&mut self, data: &[u8], ended: bool) -> (bool, Option<TransferFault>) {
        let mut air = DataContext {
            network: &mut self.network,
            routes: &self.routes,
            knobs: &self.knobs,
            counters: &mut self.counters,
            recorder: &self.recorder,
            now: Instant::now(),
        };
        self.function.transmit(data, ended, &mut air)
    }

    fn receive(&mut self, room: usize) -> (Vec<u8>, InVerdict) {
        let mut bytes = vec![0xee; room];
        let mut air = DataContext {
            network: &mut self.network,
            routes: &self.routes,
            knobs: &self.knobs,
            counters: &mut self.counters,
            recorder: &self.recorder,
            now: Instant::now(),
        };
        let verdict = self.function.receive(&mut bytes, &mut air);
        if let InVerdict::Data { length, .. } = verdict {
            bytes.truncate(length);
        } else {
            bytes.clear();
        }
        (bytes, verdict)
    }

    fn violations(&self) -> Vec<String> {
        let report = self.recorder.report();
        report.violations.iter().map(ToString::to_string).collect()
    }
}

/// Returns an IPv4 packet of that length to session 0.
fn packet(length: usize) -> Vec<u8> {
    let mut packet = vec![0; length];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    packet[16..20].copy_from_slice(&[10, 169, 198, 77]);
    packet
}

/// Returns an NTB of packets as a host with these choices makes it.
fn ntb(choices: &Choices, sequence: u16, packets: &[Vec<u8>]) -> Vec<u8> {
    let parameters = parameters(&Knobs::default());
    let mut builder = Builder::new(Framing::negotiate(&parameters, choices));
    builder.set_sequence(sequence);
    let mut bytes = vec![0; 16384];
    for packet in packets {
        let slot = builder.place(Stream::Ips(0), packet.len()).unwrap();
        bytes[slot.offset..slot.offset + packet.len()].copy_from_slice(packet);
        builder.commit(slot, packet.len());
    }
    let length = builder.finish(&mut bytes).length;
    bytes.truncate(length);
    bytes
}

/// The expected bytes were written by hand: the NTH, a packet of 60 bytes, and the NDP behind it.
#[test]
fn an_ntb_for_the_host_byte_for_byte() {
    let mut bench = Bench::new("");
    bench.network.towards_host.push_back(packet(60));
    let (bytes, verdict) = bench.receive(131_072);
    assert_eq!(
        verdict,
        InVerdict::Data {
            length: 88,
            short: true
        }
    );
    let header = [b'N', b'C', b'M', b'H', 12, 0, 0, 0, 88, 0, 72, 0];
    assert_eq!(bytes[..12], header);
    assert_eq!(bytes[12..72], packet(60)[..]);
    let ndp = [b'I', b'P', b'S', 0, 16, 0, 0, 0, 12, 0, 60, 0, 0, 0, 0, 0];
    assert_eq!(bytes[72..], ndp);
    assert_eq!(bench.receive(131_072).1, InVerdict::Nak);
}

#[test]
fn all_that_waits_goes_into_one_ntb() {
    let mut bench = Bench::new("ndp_place=front");
    bench.input_size(16384);
    for _ in 0..25 {
        bench.network.towards_host.push_back(packet(1500));
    }
    let mut datagrams = Vec::new();
    loop {
        let (bytes, verdict) = bench.receive(16384);
        if verdict == InVerdict::Nak {
            break;
        }
        let mut receiver = Receiver::new(Limits::default());
        let mut count = 0;
        receiver.receive(&bytes, |_| count += 1);
        datagrams.push(count);
    }
    assert_eq!(datagrams.iter().sum::<usize>(), 25);
    assert!(datagrams.len() <= 3, "{datagrams:?}");
}

#[test]
fn an_ntb_longer_than_the_transfer_is_continued_in_the_next() {
    let mut bench = Bench::new("");
    for _ in 0..2 {
        bench.network.towards_host.push_back(packet(1500));
    }
    let mut whole = Vec::new();
    let (first, verdict) = bench.receive(1024);
    assert_eq!(
        verdict,
        InVerdict::Data {
            length: 1024,
            short: false
        }
    );
    whole.extend(first);
    loop {
        let (part, verdict) = bench.receive(1024);
        whole.extend(part);
        match verdict {
            InVerdict::Data { short: true, .. } => break,
            InVerdict::Data { short: false, .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        usize::from(u16::from_le_bytes([whole[8], whole[9]])),
        whole.len()
    );
    // With room that is no whole number of packets, the transfer ends as babble.
    bench.network.towards_host.push_back(packet(1500));
    assert_eq!(bench.receive(1000).1, InVerdict::Overflow);
}

#[test]
fn an_ntb_of_whole_packets_ends_with_an_empty_one() {
    // The NTB has 12 + 484 + 16 = 512 bytes.
    let mut bench = Bench::new("");
    bench.input_size(2048);
    bench.network.towards_host.push_back(packet(484));
    let (bytes, verdict) = bench.receive(2048);
    assert_eq!(bytes.len(), 512);
    assert!(matches!(verdict, InVerdict::Data { short: true, .. }));
    // The NTB fills the host's transfer, so the empty packet ends the next transfer.
    let mut bench = Bench::new("");
    bench.network.towards_host.push_back(packet(484));
    let (bytes, verdict) = bench.receive(512);
    assert_eq!(bytes.len(), 512);
    assert!(matches!(verdict, InVerdict::Data { .. }));
    assert_eq!(
        bench.receive(512).1,
        InVerdict::Data {
            length: 0,
            short: true
        }
    );
    assert_eq!(bench.receive(512).1, InVerdict::Nak);
}

#[test]
fn transfers_without_an_end_wait_for_it() {
    let mut bench = Bench::new("");
    let whole = ntb(&Choices::default(), 0, &[packet(484)]);
    assert_eq!(whole.len(), 513, "one byte makes it short");
    // The same NTB is cut at a packet, so that its end has not been seen.
    assert_eq!(bench.transmit(&whole[..512], false), (true, None));
    assert!(bench.network.from_host.is_empty());
    assert_eq!(bench.transmit(&whole[512..], true), (true, None));
    assert_eq!(bench.network.from_host.len(), 1);
    assert!(bench.violations().is_empty());
    // A transfer that never ends is a violation, and takes bounded memory.
    for _ in 0..100 {
        bench.transmit(&[0; 512], false);
    }
    assert!(!bench.violations().is_empty());
}

#[test]
fn a_full_network_is_waited_for_and_nothing_is_lost_or_doubled() {
    let mut bench = Bench::new("");
    let packets: Vec<Vec<u8>> = (60..70).map(packet).collect();
    let bytes = ntb(&Choices::default(), 0, &packets);
    bench.network.room = 3;
    assert_eq!(bench.transmit(&bytes, true), (false, None));
    assert!(bench.function.is_blocked());
    bench.network.room = 7;
    assert_eq!(bench.transmit(&bytes, true), (false, None));
    bench.network.room = 99;
    assert_eq!(bench.transmit(&bytes, true), (true, None));
    assert_eq!(bench.network.from_host, packets);
    assert_eq!(bench.counters.blocks_out, 1);
    // The host takes the blocked transfer back, and the next NTB starts at its own first datagram.
    bench.network.from_host.clear();
    bench.network.room = 1;
    assert_eq!(
        bench.transmit(&ntb(&Choices::default(), 1, &packets), true),
        (false, None)
    );
    bench.network.room = 99;
    bench.network.from_host.clear();
    assert_eq!(
        bench.transmit(&ntb(&Choices::default(), 2, &packets), true),
        (true, None)
    );
    assert_eq!(bench.network.from_host, packets);
}

#[test]
fn wrong_ntbs_are_named() {
    let good = ntb(&Choices::default(), 0, &[packet(60)]);
    let spoilt = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        let mut bench = Bench::new("");
        bench.transmit(&bytes, true);
        bench.violations()
    };
    for (at, value, why) in [
        (0, b'X', "signature"),
        (4, 13, "wHeaderLength"),
        (8, 255, "NTB length"),
        (10, 70, "NDP at 70"),
        (76, 12, "wLength"),
        (80, 11, "datagram at 11"),
        (84, 1, "terminator"),
        (12, 0x15, "no IP packet"),
        (14, 1, "IP packet of"),
    ] {
        let violations = spoilt(at, value);
        assert!(
            violations.iter().any(|text| text.contains(why)),
            "{at}: {violations:?}"
        );
    }
    let mut bench = Bench::new("");
    let wide = Choices {
        format: Format::Ntb32,
        ..Choices::default()
    };
    bench.transmit(&ntb(&wide, 0, &[packet(60)]), true);
    assert!(bench.violations()[0].contains("signature"), "NTB16 was set");
    assert_eq!(
        bench.network.from_host.len(),
        1,
        "and it is read all the same"
    );
}

#[test]
fn sequence_gaps_are_counted_and_steps_back_are_violations() {
    let mut bench = Bench::new("");
    for sequence in [0, 1, 5, 0xffff, 0] {
        bench.transmit(&ntb(&Choices::default(), sequence, &[packet(60)]), true);
    }
    assert_eq!(bench.counters.blocks_missing, 3);
    assert_eq!(bench.violations().len(), 1);
}

#[test]
fn packets_of_sessions_that_are_down_are_dropped() {
    let mut bench = Bench::new("");
    bench.routes.clear();
    bench.transmit(&ntb(&Choices::default(), 0, &[packet(60)]), true);
    bench.network.towards_host.push_back(packet(60));
    assert_eq!(bench.receive(16384).1, InVerdict::Nak);
    assert!(bench.network.from_host.is_empty());
    assert!(bench.network.towards_host.is_empty());
    assert_eq!(bench.counters.dropped_out, 1);
}

#[test]
fn what_other_firmware_does_on_request() {
    let mut bench = Bench::new("zero_ntb16_headers=on");
    bench.network.towards_host.push_back(packet(60));
    assert_eq!(bench.receive(131_072).0[..12], [0; 12]);

    let mut bench = Bench::new("ntb32_after_alternate=on");
    bench.network.towards_host.push_back(packet(60));
    assert_eq!(bench.receive(131_072).0[..4], *b"ncmh");

    let mut bench = Bench::new("ignore_input_size=on");
    bench.input_size(2048);
    for _ in 0..4 {
        bench.network.towards_host.push_back(packet(1500));
    }
    assert!(bench.receive(131_072).0.len() > 6000);

    let mut bench = Bench::new("connect_banner=on,arp_datagram=on,neighbour_solicitation=on");
    bench.function.session_up(0, true, &bench.knobs.clone());
    let (bytes, _) = bench.receive(131_072);
    assert!(bytes.windows(16).any(|text| text == b"CONNECT 21600000"));
    let mut datagrams = Vec::new();
    Receiver::new(Limits::default()).receive(&bytes, |datagram| datagrams.push(datagram.range));
    // The neighbour solicitation is the only datagram that came.
    assert_eq!(datagrams.len(), 1);
    let solicitation = &bytes[datagrams[0].clone()];
    assert_eq!(
        (solicitation[6], solicitation[7], solicitation[40]),
        (58, 255, 135)
    );

    let mut bench = Bench::new("ip_configuration=refused");
    let mut solicitation = vec![0x60, 0, 0, 0, 0, 8, 58, 255];
    solicitation.extend([0; 32]);
    solicitation.extend([133, 0, 0, 0, 0, 0, 0, 0]);
    bench.transmit(&ntb(&Choices::default(), 0, &[solicitation]), true);
    let (bytes, _) = bench.receive(131_072);
    assert!(bytes.windows(6).any(|head| head == [0x60, 0, 0, 0, 0, 88]));

    let mut bench = Bench::new("stall_out_after=2,stall_in_after=1");
    let bytes = ntb(&Choices::default(), 0, &[packet(60)]);
    assert_eq!(bench.transmit(&bytes, true).1, None);
    assert_eq!(bench.transmit(&bytes, true).1, Some(TransferFault::Stall));
    assert_eq!(bench.transmit(&bytes, true).1, None);
    for expected in [false, true, false] {
        bench.network.towards_host.push_back(packet(60));
        assert_eq!(bench.receive(131_072).1 == InVerdict::Stall, expected);
    }

    let mut bench = Bench::new("drop_in_ppm=1000000,drop_out_ppm=1000000");
    bench.network.towards_host.push_back(packet(60));
    assert_eq!(bench.receive(131_072).1, InVerdict::Nak);
    bench.transmit(&bytes, true);
    assert!(bench.network.from_host.is_empty());

    let mut bench = Bench::new("garbage_in_ppm=1000000");
    bench.network.towards_host.push_back(packet(60));
    let (spoilt, _) = bench.receive(131_072);
    let mut clean = Bench::new("");
    clean.network.towards_host.push_back(packet(60));
    assert_ne!(spoilt, clean.receive(131_072).0);
}

/// Returns a DHCPDISCOVER in its packet, of the least size that a server takes (RFC 2131, 2).
fn discover() -> Vec<u8> {
    let mut packet = packet(28 + 240 + 4);
    packet[9] = 17;
    packet[20..24].copy_from_slice(&[0, 68, 0, 67]);
    packet[28] = 1;
    packet[264..268].copy_from_slice(&[99, 130, 83, 99]);
    packet[268..].copy_from_slice(&[53, 1, 1, 255]);
    packet
}

#[test]
fn a_slow_server_answers_when_its_time_has_come() {
    let mut bench = Bench::new("dhcp_ms=400,ip_configuration=empty");
    let choices = Choices::default();
    let asked = Instant::now();
    bench.transmit(&ntb(&choices, 0, &[discover()]), true);
    assert_eq!(bench.receive(131_072).1, InVerdict::Nak);
    let due = bench.function.deadline().unwrap();
    assert!(due >= asked + Duration::from_millis(400));
    bench.function.advance(due - Duration::from_millis(1));
    assert_eq!(bench.receive(131_072).1, InVerdict::Nak);
    bench.function.advance(due);
    assert!(matches!(bench.receive(131_072).1, InVerdict::Data { .. }));
    assert_eq!(bench.function.deadline(), None);
}

/// Returns a function with the frames of ECM.
fn ecm() -> DataFunction {
    DataFunction {
        kind: NetworkKind::Ecm,
        alternate: 0,
        segment: 1514,
        ..DataFunction::default()
    }
}

#[test]
fn frames_that_are_no_frames_are_told() {
    let mut bench = Bench::new("");
    bench.function = NcmFunction::new(ecm(), &bench.knobs);
    assert_eq!(bench.transmit(&[0; 1515], true), (true, None));
    assert_eq!(bench.violations(), [] as [String; 0]);
    bench.transmit(&[0; 1516], true);
    bench.transmit(&[0; 13], true);
    assert!(!bench.function.control_out(
        set(cdc::SET_NTB_FORMAT, 0),
        &[],
        &bench.knobs,
        &bench.recorder
    ));
    let told = bench.violations();
    assert!(told[0].contains("at most wMaxSegmentSize 1514"), "{told:?}");
    assert!(told[1].contains("shorter than its header"), "{told:?}");
    assert!(told[2].contains("to an ECM function"), "{told:?}");
}

#[test]
fn a_frame_fits_a_short_transfer_in_parts() {
    let mut bench = Bench::new("");
    bench.function = NcmFunction::new(ecm(), &bench.knobs);
    bench.network.towards_host.push_back(packet(1010));
    let (first, verdict) = bench.receive(512);
    let more = InVerdict::Data {
        length: 512,
        short: false,
    };
    assert_eq!(verdict, more);
    // The frame has 1024 bytes: the second transfer is full too, and an empty packet ends the
    // frame.
    let (second, _) = bench.receive(512);
    let (empty, verdict) = bench.receive(512);
    assert_eq!((empty.len(), first.len() + second.len()), (0, 1024));
    let end = InVerdict::Data {
        length: 0,
        short: true,
    };
    assert_eq!(verdict, end);
    assert_eq!(bench.receive(512).1, InVerdict::Nak);
}
