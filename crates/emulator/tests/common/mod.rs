//! A small host, which switches the device, speaks MBIM and AT, and builds and reads NTBs.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uwwan_emulator::{Emulator, FarSide};
use uwwan_mbim::message::{Body, CommandKind, Message};
use uwwan_mbim::registry::CidId;
pub use uwwan_mbim::services::basic_connect::{self as basic, ContextIpType};
pub use uwwan_mbim::status::Status;
use uwwan_ncm::{Builder, Choices, Framing, Limits, NtbParameters, Placement, Receiver, Stream};
use uwwan_usb::buffer::Buffer;
use uwwan_usb::device::{Device, Queue, Setup};
use uwwan_usb::error::TransferError;

const SECOND: Duration = Duration::from_secs(1);

/// The message is OPEN, with transaction 1 and a MaxControlTransfer of 1024.
pub const OPEN: [u8; 16] = [1, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 4, 0, 0];
pub const QUERY: CommandKind = CommandKind::QUERY;
pub const SET: CommandKind = CommandKind::SET;

pub fn emulator(knobs: &str) -> Emulator {
    Emulator::new(knobs.parse().unwrap(), FarSide::BuiltIn).unwrap()
}

/// Returns a command message in one fragment.
pub fn command(id: u32, cid: CidId, kind: CommandKind, info: &[u8]) -> Vec<u8> {
    let body = Body::Command {
        service: cid.service,
        cid: cid.cid,
        kind,
        info: info.to_vec(),
    };
    Message {
        transaction: id,
        body,
    }
    .encode_whole()
}

/// Returns a CONNECT set that activates session 0.
pub fn connect_set(apn: &str, ip_type: ContextIpType) -> Vec<u8> {
    basic::ConnectSet {
        activation_command: basic::ActivationCommand::ACTIVATE,
        access_string: apn.to_owned(),
        ip_type,
        context_type: basic::context_type::INTERNET,
        ..basic::ConnectSet::default()
    }
    .encode()
}

/// The device in configuration 3, with its interfaces claimed.
pub struct Modem {
    pub device: Arc<dyn Device>,
}

impl Modem {
    pub fn switch(emulator: &Emulator, configurations: &[u8]) -> Self {
        Self::switch_with_pause(emulator, configurations, Duration::ZERO)
    }

    pub fn switch_with_pause(emulator: &Emulator, configurations: &[u8], pause: Duration) -> Self {
        let backend = emulator.backend();
        let found = backend.devices().unwrap();
        let device = backend.open(&found[0]).unwrap();
        for configuration in configurations {
            for interface in 0..8 {
                device.detach_kernel_driver(interface).unwrap();
            }
            device.set_configuration(*configuration).unwrap();
            if *configuration == 0 {
                std::thread::sleep(pause);
            }
        }
        for interface in 0..3 {
            device.detach_kernel_driver(interface).unwrap();
        }
        for interface in 0..3 {
            device.claim(interface).unwrap();
        }
        Self { device }
    }

    /// Prepares the data path as the kernel does: parameters, format, alternate setting 1, input
    /// size.
    pub fn prepare_data(&self) {
        self.device.set_alternate_setting(1, 0).unwrap();
        let mut parameters = [0; 28];
        assert_eq!(self.control_in(0x80, &mut parameters), 28);
        self.control_out(0x84, &[]);
        self.device.set_alternate_setting(1, 1).unwrap();
        self.control_out(0x86, &16384u32.to_le_bytes());
    }

    /// Opens the control session, connects, and prepares the data path.
    pub fn online(emulator: &Emulator) -> Self {
        let modem = Self::switch(emulator, &[0, 3]);
        modem.prepare_data();
        modem.send(&OPEN);
        assert_eq!(modem.get()[..4], [1, 0, 0, 0x80]);
        let (status, _) = modem.command(
            2,
            basic::CONNECT,
            SET,
            &connect_set("telenor.smart", ContextIpType::IPV4),
        );
        assert_eq!(status, Status::NONE);
        modem
    }

    fn control_in(&self, request: u8, data: &mut [u8]) -> usize {
        let setup = Setup {
            request_type: 0xa1,
            request,
            value: 0,
            index: 0,
        };
        self.device.control_in(setup, data, SECOND).unwrap()
    }

    fn control_out(&self, request: u8, data: &[u8]) {
        let setup = Setup {
            request_type: 0x21,
            request,
            value: 0,
            index: 0,
        };
        self.device.control_out(setup, data, SECOND).unwrap();
    }

    pub fn send(&self, message: &[u8]) {
        self.control_out(0, message);
    }

    pub fn get(&self) -> Vec<u8> {
        let mut room = [0; 1024];
        let length = self.control_in(1, &mut room);
        room[..length].to_vec()
    }

    /// Sends a command in one fragment, and returns the status and the information buffer of its
    /// answer.
    pub fn command(
        &self,
        id: u32,
        cid: CidId,
        kind: CommandKind,
        info: &[u8],
    ) -> (Status, Vec<u8>) {
        self.send(&command(id, cid, kind, info));
        loop {
            let answer = self.get();
            assert!(!answer.is_empty(), "no answer");
            if answer[..4] == [3, 0, 0, 0x80] {
                assert_eq!(answer[8..12], id.to_le_bytes());
                let status = u32::from_le_bytes(answer[40..44].try_into().unwrap());
                return (Status(status), answer[48..].to_vec());
            }
        }
    }

    /// Sends an AT command line on the GPS port, and returns the answer up to the final result.
    pub fn at(&self, line: &str) -> String {
        let mut output = self.device.queue(0x02).unwrap();
        let mut input = self.device.queue(0x83).unwrap();
        for text in ["ATE0", line] {
            let bytes = format!("{text}\r").into_bytes();
            let mut buffer = output.allocate(bytes.len());
            buffer.bytes_mut().copy_from_slice(&bytes);
            buffer.set_len(bytes.len());
            output.submit(buffer).map_err(|_| "submit").unwrap();
            output.next(SECOND).unwrap().result.unwrap();
            let mut answer = String::new();
            while !answer.ends_with("OK\r\n") && !answer.ends_with("ERROR\r\n") {
                let buffer = input.allocate(512);
                input.submit(buffer).map_err(|_| "submit").unwrap();
                let done = input.next(SECOND).unwrap();
                answer += std::str::from_utf8(done.buffer.filled()).unwrap();
            }
            if text == line {
                return answer;
            }
        }
        unreachable!("the loop returns at the line itself");
    }

    pub fn data_queues(&self) -> Ends {
        let mut input = self.device.queue(0x81).unwrap();
        for _ in 0..4 {
            let buffer = input.allocate(16384);
            input.submit(buffer).map_err(|_| "submit").unwrap();
        }
        Ends {
            input,
            output: self.device.queue(0x01).unwrap(),
            builder: builder(Placement::End, 0),
            receiver: Receiver::new(Limits::default()),
            received: VecDeque::new(),
            last_session: 0,
            device: Arc::clone(&self.device),
        }
    }
}

/// Returns a builder for the default parameters.
pub fn builder(placement: Placement, sequence: u16) -> Builder {
    let parameters = NtbParameters {
        out_max: 16384,
        formats: 3,
        ..NtbParameters::FALLBACK
    };
    let mut builder = Builder::new(Framing::negotiate(
        &parameters,
        &Choices {
            placement,
            ..Choices::default()
        },
    ));
    builder.set_sequence(sequence);
    builder
}

/// Returns an NTB with one packet.
pub fn ntb(builder: &mut Builder, session: u8, packet: &[u8]) -> Buffer {
    let mut buffer = Buffer::heap(16384);
    let slot = builder.place(Stream::Ips(session), packet.len()).unwrap();
    buffer.bytes_mut()[slot.offset..slot.offset + packet.len()].copy_from_slice(packet);
    builder.commit(slot, packet.len());
    let finished = builder.finish(buffer.bytes_mut());
    buffer.set_len(finished.length);
    buffer
}

/// Returns an echo request from the session's address to 198.51.100.1.
pub fn echo_request(session: u8, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 60, 0, 0, 0, 0, 64, 1, 0, 0];
    packet.extend([10, 169, 198, 77 + 4 * session]);
    packet.extend([198, 51, 100, 1]);
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut message = vec![8, 0, 0, 0, 0x12, 0x34];
    message.extend(sequence.to_be_bytes());
    message.extend([b'u'; 32]);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    packet.extend(message);
    packet
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([
            pair[0],
            pair.get(1).copied().unwrap_or(0),
        ]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Queues of the data endpoints.
pub struct Ends {
    pub input: Box<dyn Queue>,
    pub output: Box<dyn Queue>,
    pub builder: Builder,
    receiver: Receiver,
    received: VecDeque<(u8, Vec<u8>)>,
    pub last_session: u8,
    device: Arc<dyn Device>,
}

impl Ends {
    /// Selects alternate settings 0 and 1 again, so that both directions start anew.
    pub fn restart(&mut self) {
        self.input.cancel_all();
        while self.input.next(SECOND).is_some() {}
        self.device.set_alternate_setting(1, 1).unwrap();
        self.builder = builder(Placement::End, 0);
        for _ in 0..4 {
            let buffer = self.input.allocate(16384);
            self.input.submit(buffer).map_err(|_| "submit").unwrap();
        }
    }

    pub fn ping(&mut self, placement: Placement, sequence: u16) {
        self.ping_from(0, placement, sequence);
    }

    pub fn ping_from(&mut self, session: u8, placement: Placement, sequence: u16) {
        self.send(session, placement, sequence).unwrap();
    }

    pub fn try_ping(
        &mut self,
        placement: Placement,
        sequence: u16,
    ) -> Result<usize, TransferError> {
        self.send(0, placement, sequence)
    }

    fn send(
        &mut self,
        session: u8,
        placement: Placement,
        sequence: u16,
    ) -> Result<usize, TransferError> {
        let mut builder = builder(placement, self.builder.sequence());
        let buffer = ntb(&mut builder, session, &echo_request(session, sequence));
        self.builder.set_sequence(builder.sequence());
        self.output.submit(buffer).map_err(|_| "submit").unwrap();
        self.output.next(SECOND).expect("a completion").result
    }

    /// Returns the next packet from the modem.
    pub fn receive(&mut self, timeout: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some((session, packet)) = self.received.pop_front() {
                self.last_session = session;
                return Some(packet);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let done = self.input.next(left)?;
            let bytes = done.buffer.filled();
            let received = &mut self.received;
            self.receiver.receive(bytes, |datagram| {
                if let Stream::Ips(session) = datagram.stream {
                    received.push_back((session, bytes[datagram.range].to_vec()));
                }
            });
            self.input
                .submit(done.buffer)
                .map_err(|_| "submit")
                .unwrap();
        }
    }
}
