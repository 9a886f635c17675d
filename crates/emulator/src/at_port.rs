//! The serial ports: the role of each interface, the line discipline of those that speak AT, and
//! NMEA.
//!
//! A port takes bytes from its bulk OUT endpoint, echoes them, and executes a line at each carriage
//! return. Answers, unsolicited result codes (URCs) and NMEA sentences leave through its bulk IN
//! endpoint in the order in which they came about. Encapsulated commands and their responses (CDC
//! 1.2, 6.2.1) are such a port too where they carry AT. The ports with protocol 0x13 (diagnostics)
//! and 0x1b take everything and stay silent.

mod answers;
mod command;
mod commands;
mod dialling;
mod messages;
mod nmea;
mod port;
mod state;
mod ussd;

use std::time::{Duration, Instant};

use crate::firmware::Change;
use crate::rules::Answer;

use port::MAX_UNSOLICITED;
pub(crate) use port::{Kind, Port};
use state::SIGNAL_PERIOD;
pub(crate) use state::{AtContext, AtState};

/// Length in bytes of the longest command line; a longer one is an error.
const MAX_LINE: usize = 1024;
/// The bytes that end the PDU of a short message, and that abandon it (3GPP TS 27.005, 4.3).
const CONTROL_Z: u8 = 0x1a;
const ESCAPE: u8 = 0x1b;
/// Time between NMEA groups.
const NMEA_PERIOD: Duration = Duration::from_secs(1);

/// Takes bytes that the host wrote to a port.
pub(crate) fn write(port: &mut Port, bytes: &[u8], context: &mut AtContext<'_>) {
    let booting = context
        .now
        .saturating_duration_since(context.firmware.booted())
        < Duration::from_millis(context.knobs.at_boot_ms);
    let dead = match port.kind {
        Kind::Pipe => context.knobs.at_pipe_silent,
        _ => context.knobs.at_ports_silent,
    };
    if port.kind == Kind::Silent || dead || context.knobs.at_silent || booting {
        return;
    }
    for &byte in bytes {
        if port.echo {
            port.put(&[byte]);
        }
        match byte {
            CONTROL_Z if port.entry.is_some() => {
                let expected = port.entry.take().unwrap_or(0);
                messages::enter(port, expected, context);
            }
            ESCAPE if port.entry.is_some() => {
                port.entry = None;
                port.too_long = false;
                port.line.clear();
                answers::finish(port, context.state.errors, &answers::Final::Ok);
            }
            b'\r' if port.entry.is_some() => {}
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
    let Some(reply) = context.rules.at(&text, context.now) else {
        commands::run(port, &text[2..], context);
        return;
    };
    if reply.answer.succeeds() {
        let before = port.output.len();
        commands::run(port, &text[2..], context);
        port.output.truncate(before);
    }
    if let Answer::At(said) = reply.answer {
        port.say_at(context.now + reply.after, said);
        port.advance(context.now);
    }
}

/// Returns when [`advance`] is due.
pub(crate) fn deadline(ports: &[Port], state: &AtState) -> Option<Instant> {
    let said = ports.iter().filter_map(Port::deadline).min();
    [state.deadline(), said].into_iter().flatten().min()
}

/// Sends NMEA sentences and signal reports that are due.
pub(crate) fn advance(ports: &mut [Port], context: &mut AtContext<'_>) {
    let now = context.now;
    for port in ports.iter_mut() {
        port.advance(now);
    }
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
            let report = answers::signal_report(context.firmware, context.knobs);
            tell(ports, &report);
        }
    }
}

/// Sends a URC on the ports that carry URCs: PCUI, or else GPS, or else modem; and over
/// encapsulated commands once they are in use.
pub(crate) fn tell(ports: &mut [Port], line: &str) {
    let mut kinds = [Kind::PcUi, Kind::Gps, Kind::Modem].into_iter();
    let kind = kinds.find(|kind| ports.iter().any(|port| port.kind == *kind));
    for port in ports.iter_mut().filter(|port| Some(port.kind) == kind) {
        port.tell(line);
    }
    let used = |port: &&mut Port| port.kind == Kind::Pipe && !port.last.is_empty();
    for port in ports.iter_mut().filter(used) {
        port.tell(line);
    }
}

/// Sends the URCs of a change, if the host wants them.
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
        Change::Message(place) if context.state.message_arrivals => {
            tell(ports, &format!("+CMTI: \"SM\",{place}"));
        }
        Change::Call(call) => {
            for line in dialling::announcements(call, context.knobs) {
                tell(ports, &line);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
