//! A serial port: its endpoints, its line discipline, and the bytes that wait for the host.

use std::collections::VecDeque;
use std::time::Instant;

use uwwan_usb::codes::cdc;
use uwwan_usb::functions::{AtLikelihood, SerialFunction, SerialRole};

use crate::behaviour::InVerdict;

/// Number of bytes waiting for the host from which URCs are dropped.
pub(super) const MAX_UNSOLICITED: usize = 16 << 10;
/// Number of bytes waiting for the host from which answers are dropped, because the host does not
/// read them.
const MAX_OUTPUT: usize = 64 << 10;
/// Number of notifications waiting for the host from which further ones are dropped.
const MAX_NOTIFICATIONS: usize = 4;

/// Number of delayed answers of rules from which further ones are dropped.
const MAX_LATER: usize = 64;

/// The bit of SET_CONTROL_LINE_STATE that says the terminal is ready (DTR).
const DATA_TERMINAL_READY: u16 = 1;
/// Bit of SERIAL_STATE that says that the modem is ready (DSR).
const DATA_SET_READY: u8 = 2;

/// Role of a serial port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The port answers AT commands and dials up.
    Modem,
    /// The port answers AT commands.
    PcUi,
    /// The port has NMEA sentences and answers AT commands.
    Gps,
    /// The port takes every byte and sends none.
    Silent,
    /// The encapsulated commands of an Ethernet function carry AT commands.
    Pipe,
}

/// A serial port of the active configuration.
#[derive(Debug)]
pub(crate) struct Port {
    /// Role of the port.
    pub kind: Kind,
    /// `bInterfaceNumber`.
    pub interface: u8,
    /// Address of the bulk IN endpoint; 0 for encapsulated commands, which have none.
    pub bulk_in: u8,
    /// Address of the bulk OUT endpoint; 0 for encapsulated commands.
    pub bulk_out: u8,
    /// `wMaxPacketSize` of the bulk endpoints, in bytes.
    packet: usize,
    /// Address of the interrupt endpoint, if the port has one.
    pub interrupt: Option<u8>,
    /// Command line as far as it was received.
    pub(super) line: Vec<u8>,
    /// Whether the command line is longer than the interpreter takes.
    pub(super) too_long: bool,
    /// Length in bytes, without the message centre's address, of the PDU of a short message that
    /// the host is entering.
    pub(super) entry: Option<usize>,
    /// Last command line, for `A/`.
    pub(super) last: Vec<u8>,
    /// Bytes that wait for the host.
    pub(super) output: VecDeque<u8>,
    /// Delayed answers of rules with the time at which each is sent, in order.
    later: VecDeque<(Instant, String)>,
    /// Whether input is echoed (ATE).
    pub(super) echo: bool,
    /// Whether final results are left out (ATQ).
    pub(super) quiet: bool,
    /// Whether final results are words (ATV).
    pub(super) verbose: bool,
    line_coding: [u8; 7],
    notifications: VecDeque<[u8; 10]>,
    /// Whether RESPONSE_AVAILABLE has been sent for the bytes that wait as encapsulated response.
    announced: bool,
}

impl Port {
    /// Returns the serial ports of a configuration. A port whose codes do not tell its role answers
    /// AT commands only where no other does.
    pub fn of(functions: &[SerialFunction]) -> Vec<Self> {
        let told = functions.iter().any(|f| f.at < AtLikelihood::Possible);
        functions
            .iter()
            .map(|function| {
                let kind = match (function.role, function.at) {
                    (_, AtLikelihood::Never) => Kind::Silent,
                    (SerialRole::Modem, _) => Kind::Modem,
                    (SerialRole::Gps, _) => Kind::Gps,
                    (_, AtLikelihood::Possible) if told => Kind::Silent,
                    _ => Kind::PcUi,
                };
                Self {
                    bulk_in: function.bulk_in.address,
                    bulk_out: function.bulk_out.address,
                    packet: function.bulk_in.max_packet_size.into(),
                    interrupt: function.interrupt_in.map(|end| end.address),
                    ..Self::new(kind, function.interface)
                }
            })
            .collect()
    }

    /// Returns the port of the encapsulated commands to that interface.
    pub fn pipe(interface: u8) -> Self {
        Self::new(Kind::Pipe, interface)
    }

    /// Makes a port without endpoints.
    fn new(kind: Kind, interface: u8) -> Self {
        Self {
            kind,
            interface,
            bulk_in: 0,
            bulk_out: 0,
            packet: 1,
            interrupt: None,
            line: Vec::new(),
            too_long: false,
            entry: None,
            last: Vec::new(),
            output: VecDeque::new(),
            later: VecDeque::new(),
            echo: true,
            quiet: false,
            verbose: true,
            // The line coding is 115200 baud, 8N1.
            line_coding: [0x00, 0xc2, 0x01, 0x00, 0, 0, 8],
            notifications: VecDeque::new(),
            announced: false,
        }
    }

    /// Answers GET_ENCAPSULATED_RESPONSE in `room` and returns the length in bytes, 0 when nothing
    /// waits.
    pub fn respond(&mut self, room: &mut [u8]) -> usize {
        self.announced = false;
        let length = room.len().min(self.output.len());
        for (to, from) in room.iter_mut().zip(self.output.drain(..length)) {
            *to = from;
        }
        length
    }

    /// Takes note of an encapsulated command. Its response is announced even if the host has not
    /// fetched the one before.
    pub fn commanded(&mut self) {
        self.announced = false;
    }

    /// Returns the notification RESPONSE_AVAILABLE (CDC 1.2, 6.3.2), if one is due: once for all
    /// that waits, and again for the rest that the host leaves.
    pub fn response_available(&mut self) -> Option<Vec<u8>> {
        if self.output.is_empty() || std::mem::replace(&mut self.announced, true) {
            return None;
        }
        Some(vec![0xa1, 0x01, 0, 0, self.interface, 0, 0, 0])
    }

    /// Returns whether the port is the serial function at that interface.
    pub fn is_serial(&self, interface: u8) -> bool {
        self.kind != Kind::Pipe && self.interface == interface
    }

    /// Answers a class request for data (CDC PSTN 1.2, 6.3) in `room` and returns the length in
    /// bytes; `None` is a STALL.
    pub fn control_in(&self, request: u8, room: &mut [u8]) -> Option<usize> {
        if request != cdc::GET_LINE_CODING {
            return None;
        }
        let length = room.len().min(7);
        room[..length].copy_from_slice(&self.line_coding[..length]);
        Some(length)
    }

    /// Executes a class request that sets something (CDC PSTN 1.2, 6.3). Returns `false` for a
    /// STALL.
    pub fn control_out(&mut self, request: u8, value: u16, data: &[u8]) -> bool {
        match request {
            cdc::SET_LINE_CODING => match data.try_into() {
                Ok(coding) => {
                    self.line_coding = coding;
                    true
                }
                Err(_) => false,
            },
            cdc::SET_CONTROL_LINE_STATE => {
                if self.interrupt.is_some() && self.notifications.len() < MAX_NOTIFICATIONS {
                    // In SERIAL_STATE, DSR follows DTR.
                    let ready = if value & DATA_TERMINAL_READY != 0 {
                        DATA_SET_READY
                    } else {
                        0
                    };
                    self.notifications.push_back([
                        0xa1,
                        0x20,
                        0,
                        0,
                        self.interface,
                        0,
                        2,
                        0,
                        ready,
                        0,
                    ]);
                }
                true
            }
            cdc::SEND_BREAK => true,
            _ => false,
        }
    }

    /// Answers IN tokens on the bulk endpoint.
    pub fn read(&mut self, room: &mut [u8]) -> InVerdict {
        if self.output.is_empty() {
            return InVerdict::Nak;
        }
        let length = self.respond(room);
        InVerdict::Data {
            length,
            short: self.output.is_empty() || !length.is_multiple_of(self.packet),
        }
    }

    /// Answers IN tokens on the interrupt endpoint.
    pub fn notify(&mut self, room: &mut [u8]) -> InVerdict {
        let Some(notification) = self.notifications.pop_front() else {
            return InVerdict::Nak;
        };
        if room.len() < notification.len() {
            return InVerdict::Overflow;
        }
        room[..notification.len()].copy_from_slice(&notification);
        InVerdict::Data {
            length: notification.len(),
            short: true,
        }
    }

    /// Queues an answer to be sent at a time, after the answers before it.
    pub(super) fn say_at(&mut self, at: Instant, answer: String) {
        if self.later.len() < MAX_LATER {
            self.later.push_back((at, answer));
        }
    }

    /// Sends the delayed answers that are due.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some((at, _)) = self.later.front()
            && *at <= now
            && let Some((_, answer)) = self.later.pop_front()
        {
            self.put(answer.as_bytes());
        }
    }

    /// Returns when the next delayed answer is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.later.front().map(|(at, _)| *at)
    }

    /// Queues bytes for the host, or drops them when too many wait.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        if self.output.len() + bytes.len() <= MAX_OUTPUT {
            self.output.extend(bytes);
        }
    }

    /// Queues a URC, or drops it when too much waits.
    pub(super) fn tell(&mut self, line: &str) {
        if self.output.len() < MAX_UNSOLICITED {
            self.put(format!("\r\n{line}\r\n").as_bytes());
        }
    }
}
