//! The serial ports: which interface is which, the line discipline of those that speak AT, NMEA.
//!
//! A port takes bytes from its bulk OUT endpoint, echoes them, and executes a line at each carriage
//! return; answers, unsolicited lines and NMEA sentences leave through its bulk IN endpoint in the
//! order they came about. Ports 13 (diagnosis) and 1b swallow everything and stay silent.

mod answers;
mod commands;
mod nmea;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::descriptors::Layout;
use crate::device::InVerdict;
use crate::firmware::{Change, Firmware, Registered};
use crate::knobs::Knobs;

pub(crate) use answers::signal_report;

/// Bytes of a command line; what is longer is an error.
const MAX_LINE: usize = 1024;
/// Bytes waiting for the host before unsolicited lines are dropped.
const MAX_UNSOLICITED: usize = 16 << 10;
/// Bytes waiting for the host before answers are dropped: nobody reads them.
const MAX_OUTPUT: usize = 64 << 10;
/// wMaxPacketSize of the bulk endpoints at high speed.
const PACKET: usize = 512;
/// Time between the answer to AT^RESET and the reset.
const RESET_DELAY: Duration = Duration::from_millis(200);
/// Time between unsolicited signal reports.
const SIGNAL_PERIOD: Duration = Duration::from_secs(5);
/// Time between NMEA groups.
const NMEA_PERIOD: Duration = Duration::from_secs(1);

/// What a vendor serial interface is, by `bInterfaceProtocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 0x10: AT and dial-up.
    Modem,
    /// 0x12: AT.
    PcUi,
    /// 0x14: NMEA and AT.
    Gps,
    /// 0x13, 0x1b: silent.
    Silent,
}

/// A serial port.
#[derive(Debug)]
pub(crate) struct Port {
    pub kind: Kind,
    pub interface: u8,
    pub bulk_in: u8,
    pub bulk_out: u8,
    pub interrupt: Option<u8>,
    line: Vec<u8>,
    too_long: bool,
    last: Vec<u8>,
    output: VecDeque<u8>,
    echo: bool,
    quiet: bool,
    verbose: bool,
    line_coding: [u8; 7],
    notifications: VecDeque<[u8; 10]>,
}

impl Port {
    /// The serial ports of a configuration.
    pub fn of(layout: &Layout) -> Vec<Self> {
        layout
            .alternates
            .iter()
            .filter_map(|place| {
                let kind = match place.class {
                    [0xff, 0x06, 0x10] => Kind::Modem,
                    [0xff, 0x06, 0x12] => Kind::PcUi,
                    [0xff, 0x06, 0x14] => Kind::Gps,
                    [0xff, 0x06, 0x13 | 0x1b] => Kind::Silent,
                    _ => return None,
                };
                let own = || {
                    layout
                        .endpoints
                        .iter()
                        .filter(|end| end.interface == place.interface)
                };
                Some(Self {
                    kind,
                    interface: place.interface,
                    bulk_in: own()
                        .find(|e| !e.interrupt && e.address & 0x80 != 0)?
                        .address,
                    bulk_out: own().find(|e| e.address & 0x80 == 0)?.address,
                    interrupt: own().find(|e| e.interrupt).map(|e| e.address),
                    line: Vec::new(),
                    too_long: false,
                    last: Vec::new(),
                    output: VecDeque::new(),
                    echo: true,
                    quiet: false,
                    verbose: true,
                    // 115200 8N1.
                    line_coding: [0x00, 0xc2, 0x01, 0x00, 0, 0, 8],
                    notifications: VecDeque::new(),
                })
            })
            .collect()
    }

    /// A class request for data (CDC PSTN 1.2, 6.3). `None` is a STALL.
    pub fn control_in(&self, request: u8, room: &mut [u8]) -> Option<usize> {
        const GET_LINE_CODING: u8 = 0x21;
        if request != GET_LINE_CODING {
            return None;
        }
        let length = room.len().min(7);
        room[..length].copy_from_slice(&self.line_coding[..length]);
        Some(length)
    }

    /// A class request that sets something (CDC PSTN 1.2, 6.3). `false` is a STALL.
    pub fn control_out(&mut self, request: u8, value: u16, data: &[u8]) -> bool {
        const SET_LINE_CODING: u8 = 0x20;
        const SET_CONTROL_LINE_STATE: u8 = 0x22;
        const SEND_BREAK: u8 = 0x23;
        const DATA_TERMINAL_READY: u16 = 1;
        match request {
            SET_LINE_CODING => match data.try_into() {
                Ok(coding) => {
                    self.line_coding = coding;
                    true
                }
                Err(_) => false,
            },
            SET_CONTROL_LINE_STATE => {
                if self.interrupt.is_some() && self.notifications.len() < 4 {
                    // SERIAL_STATE: DSR follows DTR.
                    let ready = if value & DATA_TERMINAL_READY != 0 {
                        2
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
            SEND_BREAK => true,
            _ => false,
        }
    }

    /// IN tokens on the bulk endpoint.
    pub fn read(&mut self, room: &mut [u8]) -> InVerdict {
        if self.output.is_empty() {
            return InVerdict::Nak;
        }
        let length = room.len().min(self.output.len());
        for (to, from) in room.iter_mut().zip(self.output.drain(..length)) {
            *to = from;
        }
        InVerdict::Data {
            length,
            short: self.output.is_empty() || !length.is_multiple_of(PACKET),
        }
    }

    /// IN tokens on the interrupt endpoint.
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

    fn put(&mut self, bytes: &[u8]) {
        if self.output.len() + bytes.len() <= MAX_OUTPUT {
            self.output.extend(bytes);
        }
    }

    /// An unsolicited line.
    fn tell(&mut self, line: &str) {
        if self.output.len() < MAX_UNSOLICITED {
            self.put(format!("\r\n{line}\r\n").as_bytes());
        }
    }
}

/// What all ports share: the AT interpreter's settings.
#[derive(Debug)]
pub(crate) struct AtState {
    /// AT^CURC: unsolicited lines.
    unsolicited: bool,
    /// AT+CMEE: 0 ERROR, 1 numbers, 2 text.
    errors: u8,
    /// AT+CREG, +CGREG, +CEREG.
    registration: [u8; 3],
    /// AT+COPS format: 0 long, 1 short, 2 numeric.
    operator_format: u8,
    /// AT+CGDCONT: (PDP type, APN).
    contexts: BTreeMap<u8, (String, String)>,
    /// AT^SYSCFGEX, as set.
    system: String,
    /// AT^SETPORT, as set.
    ports: String,
    nmea: bool,
    next_nmea: Instant,
    next_signal: Instant,
    reset_at: Option<Instant>,
}

impl AtState {
    /// As after a start of the firmware.
    pub fn new(knobs: &Knobs, now: Instant) -> Self {
        Self {
            unsolicited: true,
            errors: 0,
            registration: [0; 3],
            operator_format: 0,
            contexts: BTreeMap::from([(0, ("IP".into(), String::new()))]),
            system: "\"00\",3FFFFFFF,1,2,7FFFFFFFFFFFFFFF".into(),
            ports: "A1,A2;12,10,16,A1,A2".into(),
            nmea: knobs.nmea,
            next_nmea: now,
            next_signal: now + SIGNAL_PERIOD,
            reset_at: None,
        }
    }

    /// Whether the reset asked for is due; tells so once.
    pub fn take_reset(&mut self, now: Instant) -> bool {
        let due = self.reset_at.is_some_and(|at| at <= now);
        if due {
            self.reset_at = None;
        }
        due
    }

    /// When something is due.
    pub fn deadline(&self) -> Option<Instant> {
        let nmea = self.nmea.then_some(self.next_nmea);
        let signal = self.unsolicited.then_some(self.next_signal);
        [self.reset_at, nmea, signal].into_iter().flatten().min()
    }
}

/// What a command can reach.
pub(crate) struct AtContext<'a> {
    pub state: &'a mut AtState,
    pub firmware: &'a mut Firmware,
    pub knobs: &'a Knobs,
    pub now: Instant,
    pub commands: &'a mut u64,
}

/// Takes what the host wrote to a port.
pub(crate) fn write(port: &mut Port, bytes: &[u8], context: &mut AtContext<'_>) {
    let booting = context
        .now
        .saturating_duration_since(context.firmware.booted())
        < Duration::from_millis(context.knobs.at_boot_ms);
    if port.kind == Kind::Silent || context.knobs.at_silent || booting {
        return;
    }
    for &byte in bytes {
        if port.echo {
            port.put(&[byte]);
        }
        match byte {
            b'\r' => {
                let line = std::mem::take(&mut port.line);
                if std::mem::take(&mut port.too_long) {
                    answers::finish(port, context.state.errors, &answers::Final::Error);
                } else {
                    execute(port, &line, context);
                }
            }
            b'\n' | 0 => {}
            0x08 | 0x7f => {
                port.line.pop();
            }
            _ if port.line.len() >= MAX_LINE => port.too_long = true,
            _ => port.line.push(byte),
        }
    }
}

/// Executes a command line.
fn execute(port: &mut Port, line: &[u8], context: &mut AtContext<'_>) {
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    // A/ repeats the last line (V.250, 5.2.4).
    let text = if text.eq_ignore_ascii_case("a/") {
        String::from_utf8_lossy(&port.last).trim().to_owned()
    } else {
        text.to_owned()
    };
    let Some(prefix) = text.get(..2) else { return };
    if !prefix.eq_ignore_ascii_case("at") {
        return;
    }
    port.last = text.clone().into_bytes();
    *context.commands += 1;
    commands::run(port, &text[2..], context);
}

/// Time goes by: NMEA and signal reports.
pub(crate) fn advance(ports: &mut [Port], context: &mut AtContext<'_>) {
    let now = context.now;
    let state = &mut *context.state;
    if state.nmea && state.next_nmea <= now {
        state.next_nmea = now + NMEA_PERIOD;
        for port in ports.iter_mut().filter(|port| port.kind == Kind::Gps) {
            if port.output.len() < MAX_UNSOLICITED {
                let group = nmea::group(now.saturating_duration_since(context.firmware.booted()));
                port.put(group.as_bytes());
            }
        }
    }
    if state.unsolicited && state.next_signal <= now {
        state.next_signal = now + SIGNAL_PERIOD;
        if context.firmware.registered().is_on() {
            let report = signal_report(context.firmware, context.knobs);
            tell(ports, &report);
        }
    }
}

/// An unsolicited line on the ports that carry them: PCUI, or GPS where there is no PCUI.
fn tell(ports: &mut [Port], line: &str) {
    let kind = if ports.iter().any(|port| port.kind == Kind::PcUi) {
        Kind::PcUi
    } else {
        Kind::Gps
    };
    for port in ports.iter_mut().filter(|port| port.kind == kind) {
        port.tell(line);
    }
}

/// Tells a change to those who listen.
pub(crate) fn announce(ports: &mut [Port], change: Change, context: &AtContext<'_>) {
    if !context.state.unsolicited {
        return;
    }
    let firmware = &context.firmware;
    match change {
        Change::Ready => tell(
            ports,
            if firmware.sim_ready() {
                "^SIMST: 1"
            } else {
                "^SIMST: 0"
            },
        ),
        Change::Register => {
            let service = u8::from(firmware.registered().is_on()) * 2;
            tell(ports, &format!("^SRVST: {service}"));
            for (index, name) in ["+CREG", "+CGREG", "+CEREG"].iter().enumerate() {
                if context.state.registration[index] > 0 {
                    let line = answers::registration(
                        name,
                        None,
                        context.state.registration[index],
                        firmware.registered(),
                    );
                    tell(ports, &line);
                }
            }
        }
        Change::Dial => tell(
            ports,
            if firmware.dialled() {
                "^NDISSTAT: 1,,,\"IPV4\""
            } else {
                "^NDISSTAT: 0,,,\"IPV4\""
            },
        ),
        _ => {}
    }
}

/// +CREG's number for a registration (3GPP TS 27.007, 7.2).
fn registration_number(registered: Registered) -> u8 {
    match registered {
        Registered::Off => 0,
        Registered::Home => 1,
        Registered::Searching => 2,
        Registered::Denied => 3,
        Registered::Roaming | Registered::Partner => 5,
    }
}

#[cfg(test)]
mod tests;
