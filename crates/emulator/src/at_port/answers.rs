//! How answers look.

use crate::far_side::v4;
use crate::firmware::{Firmware, Registered};
use crate::knobs::{Knobs, SimState};

use super::{Port, registration_number};

/// The final result of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Final {
    Ok,
    Error,
    /// Huawei's own word for an unknown command.
    NotSupported,
    NoCarrier,
    /// +CME ERROR (3GPP TS 27.007, 9.2).
    Equipment(u16),
}

/// Text of +CME ERROR with AT+CMEE=2.
fn equipment_error(number: u16) -> &'static str {
    match number {
        3 => "operation not allowed",
        4 => "operation not supported",
        10 => "SIM not inserted",
        11 => "SIM PIN required",
        12 => "SIM PUK required",
        13 => "SIM failure",
        14 => "SIM busy",
        16 => "incorrect password",
        30 => "no network service",
        50 => "Incorrect parameters",
        _ => "unknown error",
    }
}

/// Puts information lines, as one text.
pub(super) fn inform(port: &mut Port, lines: &[String]) {
    if !lines.is_empty() {
        port.put(format!("\r\n{}\r\n", lines.join("\r\n")).as_bytes());
    }
}

/// Puts a final result.
pub(super) fn finish(port: &mut Port, errors: u8, result: &Final) {
    if port.quiet {
        return;
    }
    let (text, number) = match result {
        Final::Ok => ("OK".to_owned(), 0),
        Final::NoCarrier => ("NO CARRIER".to_owned(), 3),
        Final::NotSupported => ("COMMAND NOT SUPPORT".to_owned(), 4),
        Final::Error => ("ERROR".to_owned(), 4),
        Final::Equipment(number) => (
            match errors {
                0 => "ERROR".to_owned(),
                1 => format!("+CME ERROR: {number}"),
                _ => format!("+CME ERROR: {}", equipment_error(*number)),
            },
            4,
        ),
    };
    if port.verbose {
        port.put(format!("\r\n{text}\r\n").as_bytes());
    } else {
        port.put(format!("{number}\r").as_bytes());
    }
}

/// +CREG and its sisters; `None` for the unsolicited form, which has no mode.
pub(super) fn registration(
    name: &str,
    mode: Option<u8>,
    detail: u8,
    registered: Registered,
) -> String {
    let mut line = format!("{name}: ");
    if let Some(mode) = mode {
        line += &format!("{mode},");
    }
    line += &registration_number(registered).to_string();
    if detail >= 2 && registered.is_on() {
        line += ",\"8DA7\",\"01A2D101\",7";
    }
    line
}

/// ^HCSQ: the signal in the fields of LTE, or no service.
pub(crate) fn signal_report(firmware: &Firmware, knobs: &Knobs) -> String {
    if !firmware.registered().is_on() || knobs.signal > 31 {
        return "^HCSQ: \"NOSERVICE\"".to_owned();
    }
    // +CSQ counts 2 dB from -113 dBm, ^HCSQ 1 dB from -121 dBm.
    let rssi = 2 * u32::from(knobs.signal) + 8;
    let rsrp = (rssi + 20).saturating_sub(28).min(97);
    format!("^HCSQ: \"LTE\",{rssi},{rsrp},{},{}", 150, 26)
}

/// Why SIM and network cannot be asked, if so.
pub(super) fn sim_error(firmware: &Firmware) -> Option<Final> {
    use crate::firmware::Lock;
    Some(Final::Equipment(match (firmware.sim(), firmware.lock()) {
        (SimState::Absent, _) => 10,
        (SimState::Bad, _) | (_, Lock::Dead) => 13,
        (SimState::NotInitialized, _) => 14,
        (_, Lock::Pin) => 11,
        (_, Lock::Puk) => 12,
        (SimState::Ready, Lock::Open) => return None,
    }))
}

/// ^DHCP: addresses as little-endian hexadecimal numbers.
pub(super) fn dhcp() -> String {
    let number =
        |address: std::net::Ipv4Addr| format!("{:08X}", u32::from_le_bytes(address.octets()));
    let addresses = v4(0);
    let mask = std::net::Ipv4Addr::from(u32::MAX << (32 - u32::from(addresses.prefix)));
    format!(
        "^DHCP: {},{},{},{},{},{},150000000,50000000",
        number(addresses.address),
        number(mask),
        number(addresses.gateway),
        number(addresses.gateway),
        number(addresses.dns[0]),
        number(addresses.dns[1]),
    )
}
