//! The modem's configurations 1 and 2, with Huawei's own NCM and ECM, as a driver uses them.

mod common;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{echo_request, emulator};
use uwwan_emulator::{Emulator, FarSide, Knobs};
use uwwan_ncm::{Builder, Choices, Framing, Function, Limits, NtbParameters, Receiver, Stream};
use uwwan_usb::buffer::Buffer;
use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::device::{Device, Queue, Setup};

const SECOND: Duration = Duration::from_secs(1);
/// Time that is longer than anything takes that is expected to happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ethernet address of the host.
const HOST: [u8; 6] = [0x02, 0x1e, 0x10, 0x1f, 0, 0];
/// Ethernet address of the modem.
const ROUTER: [u8; 6] = [0x02, 0x50, 0xf3, 0, 0, 0];

/// Interfaces and endpoints of the functions of a configuration.
struct Places {
    configuration: u8,
    /// Whether frames come in NTBs.
    ncm: bool,
    control: u8,
    data: u8,
    interrupt: u8,
    bulk_in: u8,
    bulk_out: u8,
    /// Interface and endpoints of the PCUI port.
    pcui: (u8, u8, u8),
}

const NCM: Places = Places {
    configuration: 1,
    ncm: true,
    control: 3,
    data: 3,
    interrupt: 0x86,
    bulk_in: 0x85,
    bulk_out: 0x04,
    pcui: (2, 0x84, 0x03),
};
const ECM: Places = Places {
    configuration: 2,
    ncm: false,
    control: 0,
    data: 1,
    interrupt: 0x82,
    bulk_in: 0x81,
    bulk_out: 0x01,
    pcui: (4, 0x86, 0x04),
};

/// The E3372, whose NCM is in one interface like the lt4132's.
const STICK: Places = Places {
    configuration: 1,
    ncm: true,
    control: 2,
    data: 2,
    interrupt: 0x85,
    bulk_in: 0x84,
    bulk_out: 0x03,
    pcui: (0, 0x81, 0x01),
};
/// The 12d1:155e, with NCM of the standard class.
const STICK_OF_THE_CLASS: Places = Places {
    configuration: 1,
    ncm: true,
    control: 3,
    data: 4,
    interrupt: 0x87,
    bulk_in: 0x86,
    bulk_out: 0x05,
    pcui: (0, 0x82, 0x02),
};
/// The ME936 in configuration 2, with NCM of the standard class.
const ME936: Places = Places {
    configuration: 2,
    ncm: true,
    control: 0,
    data: 1,
    interrupt: 0x82,
    bulk_in: 0x81,
    bulk_out: 0x01,
    pcui: (4, 0x86, 0x04),
};

/// Returns a modem with the descriptors of another one.
fn presenting(name: &str, knobs: &str) -> Emulator {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../usb/tests/vectors/descriptors"
    );
    let bytes = std::fs::read(format!("{folder}/{name}.bin")).unwrap();
    let descriptors = Descriptors::from_sysfs(&bytes);
    let mut like = Knobs::like(&descriptors);
    for knob in knobs.split(',') {
        like.assign(knob).unwrap();
    }
    Emulator::presenting(descriptors, like, FarSide::BuiltIn).unwrap()
}

/// A host that has claimed the interfaces of one function.
struct Host {
    places: &'static Places,
    device: Arc<dyn Device>,
    interrupt: Box<dyn Queue>,
    input: Box<dyn Queue>,
    output: Box<dyn Queue>,
    builder: Option<Builder>,
    receiver: Receiver,
    frames: VecDeque<Vec<u8>>,
}

impl Host {
    fn new(emulator: &Emulator, places: &'static Places) -> Self {
        let backend = emulator.backend();
        let found = backend.devices().unwrap();
        let device = backend.open(&found[0]).unwrap();
        for interface in 0..8 {
            device.detach_kernel_driver(interface).unwrap();
        }
        device.set_configuration(places.configuration).unwrap();
        for interface in 0..8 {
            device.detach_kernel_driver(interface).unwrap();
        }
        for interface in [places.control, places.data, places.pcui.0] {
            device.claim(interface).unwrap();
        }
        Self::ready(device, places)
    }

    fn ready(device: Arc<dyn Device>, places: &'static Places) -> Self {
        let ncm = places.ncm;
        device.set_alternate_setting(places.data, 0).unwrap();
        let mut builder = None;
        if ncm {
            let mut bytes = [0; 28];
            request_in(&*device, places, 0x80, &mut bytes);
            let parameters = NtbParameters::parse(&bytes);
            let choices = Choices {
                function: Function::Ncm,
                ..Choices::default()
            };
            let mut framing = Framing::negotiate(&parameters, &choices);
            framing.placement = uwwan_ncm::Placement::End;
            builder = Some(Builder::new(framing));
            device.set_alternate_setting(places.data, 1).unwrap();
        }
        // The packet filter passes directed, multicast and broadcast frames.
        request_out(&*device, places, 0x43, 0x0e, &[]);
        let mut input = device.queue(places.bulk_in).unwrap();
        for _ in 0..4 {
            let buffer = input.allocate(if ncm { 131_072 } else { 2048 });
            input.submit(buffer).map_err(|_| "submit").unwrap();
        }
        let mut interrupt = device.queue(places.interrupt).unwrap();
        let buffer = interrupt.allocate(16);
        interrupt.submit(buffer).map_err(|_| "submit").unwrap();
        Self {
            interrupt,
            input,
            output: device.queue(places.bulk_out).unwrap(),
            builder,
            receiver: Receiver::new(Limits::default()),
            frames: VecDeque::new(),
            device,
            places,
        }
    }

    /// Sends a command line on the PCUI port, and returns the answer up to the final result.
    fn at(&self, line: &str) -> String {
        let (_, input, output) = self.places.pcui;
        let mut output = self.device.queue(output).unwrap();
        let mut input = self.device.queue(input).unwrap();
        send(&mut *output, format!("{line}\r").as_bytes());
        let mut answer = String::new();
        while !ends(&answer) {
            let buffer = input.allocate(512);
            input.submit(buffer).map_err(|_| "submit").unwrap();
            let done = input.next(PATIENCE).expect("an answer");
            answer += std::str::from_utf8(done.buffer.filled()).unwrap();
        }
        answer
    }

    /// Returns the next notification within that time.
    fn notification(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let done = self.interrupt.next(patience)?;
        let told = done.buffer.filled().to_vec();
        let submitted = self.interrupt.submit(done.buffer);
        submitted.map_err(|_| "submit").unwrap();
        Some(told)
    }

    /// Returns the state in the next NETWORK_CONNECTION.
    fn carrier(&mut self) -> bool {
        loop {
            let told = self.notification(PATIENCE).expect("a notification");
            assert_eq!(told[4], self.places.control);
            if told[..2] == [0xa1, 0x00] {
                return told[2] == 1;
            }
        }
    }

    fn send_frame(&mut self, frame: &[u8]) {
        let Some(builder) = &mut self.builder else {
            send(&mut *self.output, frame);
            return;
        };
        let mut buffer = Buffer::heap(16384);
        let stream = Stream::Ethernet { crc: false };
        let slot = builder.place(stream, frame.len()).unwrap();
        buffer.bytes_mut()[slot.offset..slot.offset + frame.len()].copy_from_slice(frame);
        builder.commit(slot, frame.len());
        let finished = builder.finish(buffer.bytes_mut());
        buffer.set_len(finished.length);
        self.output.submit(buffer).map_err(|_| "submit").unwrap();
        self.output.next(PATIENCE).unwrap().result.unwrap();
    }

    fn frame(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + patience;
        while self.frames.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let done = self.input.next(left)?;
            let bytes = done.buffer.filled();
            if self.builder.is_some() {
                let frames = &mut self.frames;
                self.receiver.receive(bytes, |datagram| {
                    frames.push_back(bytes[datagram.range].to_vec());
                });
            } else {
                self.frames.push_back(bytes.to_vec());
            }
            let submitted = self.input.submit(done.buffer);
            submitted.map_err(|_| "submit").unwrap();
        }
        self.frames.pop_front()
    }

    fn ping(&mut self, sequence: u16) {
        let packet = echo_request(0, sequence);
        self.send_frame(&framed(0x0800, &packet));
    }

    /// Sends an echo request, and returns the sender of the frame with the reply, if there is one.
    fn answered(&mut self, sequence: u16, patience: Duration) -> Option<[u8; 6]> {
        self.ping(sequence);
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let frame = self.frame(left)?;
            // The frame has an echo reply behind a header of 20 bytes, to the host.
            if frame[12..15] == [8, 0, 0x45]
                && frame[34] == 0
                && frame[40..42] == sequence.to_be_bytes()
            {
                assert_eq!(frame[..6], HOST);
                return Some(frame[6..12].try_into().unwrap());
            }
        }
    }

    fn arp_request(&mut self) {
        let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1];
        packet.extend(HOST);
        packet.extend([10, 169, 198, 77, 0, 0, 0, 0, 0, 0, 10, 169, 198, 78]);
        self.send_frame(&framed(0x0806, &packet));
    }

    /// Sends a command as an encapsulated command, and returns the response up to the final result.
    fn pipe(&mut self, line: &str) -> String {
        let text = format!("{line}\r");
        request_out(&*self.device, self.places, 0, 0, text.as_bytes());
        let mut answer = String::new();
        while !ends(&answer) {
            let told = self.notification(PATIENCE).expect("a notification");
            if told[..2] == [0xa1, 0x01] {
                let mut room = [0; 16];
                let length = request_in(&*self.device, self.places, 1, &mut room);
                answer += std::str::from_utf8(&room[..length]).unwrap();
            }
        }
        answer
    }
}

/// Returns whether the final result is there; unsolicited result codes may follow it.
fn ends(answer: &str) -> bool {
    answer.contains("\r\nOK\r\n") || answer.contains("\r\nERROR\r\n")
}

fn framed(kind: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = ROUTER.to_vec();
    frame.extend(HOST);
    frame.extend(kind.to_be_bytes());
    frame.extend(packet);
    frame
}

fn send(output: &mut dyn Queue, bytes: &[u8]) {
    let mut buffer = output.allocate(bytes.len().max(1));
    buffer.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
    buffer.set_len(bytes.len());
    output.submit(buffer).map_err(|_| "submit").unwrap();
    output.next(PATIENCE).unwrap().result.unwrap();
}

fn request_in(device: &dyn Device, places: &Places, request: u8, data: &mut [u8]) -> usize {
    let setup = Setup {
        request_type: 0xa1,
        request,
        value: 0,
        index: places.control.into(),
    };
    device.control_in(setup, data, PATIENCE).unwrap()
}

fn request_out(device: &dyn Device, places: &Places, request: u8, value: u16, data: &[u8]) {
    let setup = Setup {
        request_type: 0x21,
        request,
        value,
        index: places.control.into(),
    };
    device.control_out(setup, data, PATIENCE).unwrap();
}

/// The call is dialled, the link comes up with it, packets flow, and the link goes down when the
/// call ends.
fn carries_what_is_dialled(emulator: &Emulator, places: &'static Places) {
    let mut host = Host::new(emulator, places);
    if !places.ncm {
        assert!(!host.carrier());
    }
    // A frame that is sent before is lost, and breaks no rule.
    host.arp_request();
    host.ping(1);
    assert!(
        host.at("AT^NDISSTATQRY?")
            .contains("^NDISSTATQRY: 0,,,\"IPV4\",0,,,\"IPV6\"")
    );
    assert!(
        host.at("AT^NDISDUP=1,1,\"telenor.smart\"")
            .contains("\r\nOK\r\n")
    );
    assert!(host.carrier());
    assert!(
        host.at("AT^NDISSTATQRY?")
            .contains("^NDISSTATQRY: 1,,,\"IPV4\",0,,,\"IPV6\"")
    );
    assert!(
        host.at("AT^DHCP?")
            .contains("^DHCP: 4DC6A90A,FCFFFFFF,4EC6A90A,")
    );
    host.arp_request();
    let reply = host.frame(PATIENCE).unwrap();
    assert_eq!(reply[..14], [&HOST[..], &ROUTER, &[8, 6]].concat());
    assert_eq!(
        reply[20..32],
        [&[0, 2][..], &ROUTER, &[10, 169, 198, 78]].concat()
    );
    assert_eq!(host.answered(2, PATIENCE), Some(ROUTER));
    assert!(host.at("AT^NDISDUP=1,0").contains("\r\nOK\r\n"));
    assert!(!host.carrier());
    assert!(host.at("AT^NDISDUP=1,0").contains("\r\nERROR\r\n"));
    let report = emulator.report();
    assert_eq!(report.violations, []);
    assert!(report.counters.blocks_out >= 4 && report.counters.blocks_in >= 2);
}

#[test]
fn configuration_1_carries_what_is_dialled() {
    carries_what_is_dialled(&emulator(""), &NCM);
}

#[test]
fn configuration_2_carries_what_is_dialled() {
    carries_what_is_dialled(&emulator(""), &ECM);
}

#[test]
fn other_modems_of_huawei_carry_what_is_dialled() {
    for (name, knobs, places) in [
        ("huawei_e3372_12d1_15b6", "dialling=usual", &STICK),
        (
            "huawei_stick_ncm_12d1_155e",
            "dialling=wanted",
            &STICK_OF_THE_CLASS,
        ),
        ("huawei_me936_12d1_15bb_cfg2", "dialling=wanted", &ME936),
    ] {
        carries_what_is_dialled(&presenting(name, knobs), places);
    }
}

#[test]
fn encapsulated_commands_carry_at() {
    encapsulated(&emulator(""), &NCM);
    let stick = presenting("huawei_e3372_12d1_15b6", "dialling=usual");
    encapsulated(&stick, &STICK);
}

fn encapsulated(emulator: &Emulator, places: &'static Places) {
    let mut host = Host::new(emulator, places);
    assert_eq!(host.pipe("ATE0"), "ATE0\r\r\nOK\r\n");
    assert_eq!(host.pipe("AT+CPIN?"), "\r\n+CPIN: READY\r\n\r\nOK\r\n");
    assert!(
        host.pipe("AT^NDISDUP=1,1,\"telenor.smart\"")
            .contains("OK\r\n")
    );
    assert_eq!(host.answered(1, PATIENCE), Some(ROUTER));
    assert_eq!(emulator.report().violations, []);
}

#[test]
fn the_host_has_the_address_of_the_string_until_it_says_another() {
    let emulator = emulator("");
    let host = Host::new(&emulator, &NCM);
    let mut address = [0; 6];
    request_in(&*host.device, &NCM, 0x81, &mut address);
    assert_eq!(address, HOST);
    let own = [2, 0, 0, 0, 0, 9];
    request_out(&*host.device, &NCM, 0x82, 0, &own);
    request_in(&*host.device, &NCM, 0x81, &mut address);
    assert_eq!(address, own);
    assert_eq!(emulator.report().violations, []);
}

#[test]
fn an_ecm_function_takes_no_encapsulated_commands() {
    let emulator = emulator("");
    let host = Host::new(&emulator, &ECM);
    let setup = Setup {
        request_type: 0x21,
        request: 0,
        value: 0,
        index: 0,
    };
    assert!(host.device.control_out(setup, b"AT\r", SECOND).is_err());
}

#[test]
fn a_silent_pipe_leaves_the_port() {
    let emulator = emulator("at_pipe_silent=on");
    let mut host = Host::new(&emulator, &NCM);
    request_out(&*host.device, &NCM, 0, 0, b"AT\r");
    assert!(host.at("AT").contains("OK"));
    // An encapsulated response would have been announced before.
    assert_eq!(host.notification(Duration::ZERO), None);
    assert_eq!(request_in(&*host.device, &NCM, 1, &mut [0; 16]), 0);
}

#[test]
fn a_frame_that_fills_its_packets_ends_with_an_empty_one() {
    let emulator = emulator("");
    let mut host = Host::new(&emulator, &ECM);
    host.at("AT^NDISDUP=1,1");
    // The frame has 512 bytes: an echo request of 498 bytes behind a header.
    let mut packet = echo_request(0, 7);
    packet.resize(498, 0);
    packet[2..4].copy_from_slice(&498u16.to_be_bytes());
    packet[10..12].fill(0);
    let sum = internet_sum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet[22..24].fill(0);
    let sum = internet_sum(&packet[20..]);
    packet[22..24].copy_from_slice(&sum.to_be_bytes());
    let frame = framed(0x0800, &packet);
    assert_eq!(frame.len(), 512);
    send(&mut *host.output, &frame);
    send(&mut *host.output, &[]);
    let reply = host.frame(PATIENCE).unwrap();
    assert_eq!((reply.len(), reply[34]), (512, 0));
    assert_eq!(emulator.report().violations, []);
    // Without the empty packet the next frame is joined to it.
    for _ in 0..4 {
        send(&mut *host.output, &frame);
    }
    assert_eq!(emulator.report().violations.len(), 1);
}

fn internet_sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2);
    let mut sum: u32 = words
        .map(|pair| {
            u32::from(u16::from_be_bytes([
                pair[0],
                pair.get(1).copied().unwrap_or(0),
            ]))
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[test]
fn a_call_without_carrier_says_that_it_is_up() {
    let emulator = emulator("dial=no_carrier");
    let mut host = Host::new(&emulator, &NCM);
    assert!(host.at("AT^NDISDUP=1,1").contains("\r\nOK\r\n"));
    assert!(host.at("AT^NDISSTATQRY?").contains("^NDISSTATQRY: 1,"));
    host.ping(1);
    assert!(host.at("AT").contains("\r\nOK\r\n"));
    assert_eq!(host.notification(Duration::ZERO), None);
    assert_eq!(emulator.report().counters.datagrams_out, 0);
}

#[test]
fn the_modem_resolves_addresses_as_the_knob_says() {
    let dialled = |knobs: &str| {
        let emulator = emulator(knobs);
        let host = Host::new(&emulator, &ECM);
        host.at("AT^NDISDUP=1,1");
        (emulator, host)
    };
    let (_emulator, mut silent) = dialled("arp=silent");
    silent.arp_request();
    assert_eq!(silent.answered(1, PATIENCE), Some(ROUTER));

    let (_emulator, mut own) = dialled("arp=own");
    own.arp_request();
    assert_eq!(own.frame(PATIENCE).unwrap()[22..28], HOST);
    assert_eq!(own.answered(1, PATIENCE), Some(HOST));

    let (_emulator, mut asks) = dialled("arp=asks");
    asks.ping(1);
    let request = asks.frame(PATIENCE).unwrap();
    assert_eq!(request[20..22], [0, 1]);
    assert_eq!(request[38..42], [10, 169, 198, 77]);
    let mut reply = vec![0, 1, 8, 0, 6, 4, 0, 2];
    reply.extend(HOST);
    reply.extend([10, 169, 198, 77]);
    reply.extend(ROUTER);
    reply.extend([10, 169, 198, 78]);
    asks.send_frame(&framed(0x0806, &reply));
    assert_eq!(asks.answered(2, PATIENCE), Some(ROUTER));
}

#[test]
fn ntb32_alone_is_what_such_a_modem_speaks() {
    let emulator = emulator("ntb_formats=2");
    let mut host = Host::new(&emulator, &NCM);
    host.at("AT^NDISDUP=1,1");
    let framing = host.builder.as_ref().unwrap().framing();
    assert_eq!(framing.format, uwwan_ncm::Format::Ntb32);
    assert_eq!(host.answered(1, PATIENCE), Some(ROUTER));
    assert_eq!(emulator.report().violations, []);
}

#[test]
fn a_stick_is_a_storage_device_until_it_is_told_to_switch() {
    let emulator = emulator("storage_first=0x1f01,absent_ms=0");
    let backend = emulator.backend();
    let found = backend.devices().unwrap();
    let ids = |descriptors: &Descriptors| (descriptors.vendor(), descriptors.product());
    assert_eq!(ids(&found[0].descriptors), (0x12d1, 0x1f01));
    let device = backend.open(&found[0]).unwrap();
    device.claim(0).unwrap();
    let mut wrapper = b"USBC\x12\x34\x56\x78".to_vec();
    wrapper.extend([0, 0, 0, 0, 0, 0, 0, 0x11, 0x06, 0x20, 0, 0, 1, 1, 0, 1]);
    wrapper.resize(31, 0);
    let mut output = device.queue(0x01).unwrap();
    send(&mut *output, &wrapper);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = backend.devices().unwrap();
        if found
            .first()
            .is_some_and(|f| ids(&f.descriptors) == (0x03f0, 0xa31d))
        {
            break;
        }
        assert!(Instant::now() < deadline, "it comes back as a modem");
        std::thread::yield_now();
    }
    assert_eq!(emulator.report().violations, []);
}
