//! Texts of the answers that an AT port gives.

use crate::firmware::{Firmware, Lock, Registered};
use crate::knobs::{Knobs, SimState};

use super::port::Port;

/// Final result of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Final {
    /// `OK`.
    Ok,
    /// `ERROR`.
    Error,
    /// `COMMAND NOT SUPPORT`, which Huawei's firmware answers to an unknown command.
    NotSupported,
    /// `NO CARRIER`.
    NoCarrier,
    /// `+CME ERROR`.
    Equipment(EquipmentError),
    /// `+CMS ERROR`.
    Message(MessageError),
    /// The prompt for the PDU of a short message, in place of a result.
    Prompt,
}

/// Error of the equipment, with its number in `+CME ERROR` (3GPP TS 27.007, 9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EquipmentError {
    /// The operation is not allowed.
    NotAllowed = 3,
    /// The operation is not supported.
    NotSupported = 4,
    /// The slot is empty.
    NoSim = 10,
    /// PIN1 is needed.
    PinRequired = 11,
    /// PUK1 is needed.
    PukRequired = 12,
    /// The card does not answer, or is dead.
    SimFailure = 13,
    /// The card is still being read.
    SimBusy = 14,
    /// The PIN or PUK is wrong.
    WrongPassword = 16,
    /// There is no network, or it refuses.
    NoNetwork = 30,
    /// A parameter is invalid.
    WrongParameters = 50,
    /// The octets of a text make no sense; a number of Huawei's own.
    WrongPdu = 304,
}

impl EquipmentError {
    /// Returns the text that is shown with `AT+CMEE=2`.
    fn text(self) -> &'static str {
        match self {
            Self::NotAllowed => "operation not allowed",
            Self::NotSupported => "operation not supported",
            Self::NoSim => "SIM not inserted",
            Self::PinRequired => "SIM PIN required",
            Self::PukRequired => "SIM PUK required",
            Self::SimFailure => "SIM failure",
            Self::SimBusy => "SIM busy",
            Self::WrongPassword => "incorrect password",
            Self::NoNetwork => "no network service",
            Self::WrongParameters => "Incorrect parameters",
            Self::WrongPdu => "invalid PDU mode parameter",
        }
    }
}

/// Error of the message service, with its number in `+CMS ERROR` (3GPP TS 27.005, 3.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageError {
    /// The operation is not allowed.
    NotAllowed = 302,
    /// A parameter or the PDU is invalid.
    WrongPdu = 304,
    /// The place holds no message.
    NoSuchPlace = 321,
    /// There is no network.
    NoNetwork = 331,
}

impl From<MessageError> for Final {
    fn from(error: MessageError) -> Self {
        Self::Message(error)
    }
}

impl From<EquipmentError> for Final {
    fn from(error: EquipmentError) -> Self {
        Self::Equipment(error)
    }
}

/// Returns the number of a registration in `+CREG` (3GPP TS 27.007, 7.2).
fn registration_number(registered: Registered) -> u8 {
    match registered {
        Registered::Off => 0,
        Registered::Home => 1,
        Registered::Searching => 2,
        Registered::Denied => 3,
        Registered::Roaming | Registered::Partner => 5,
    }
}

/// Queues information lines, as one text.
pub(super) fn inform(port: &mut Port, lines: &[String]) {
    if !lines.is_empty() {
        port.put(format!("\r\n{}\r\n", lines.join("\r\n")).as_bytes());
    }
}

/// Queues a final result. `errors` is the mode that `AT+CMEE` has set.
pub(super) fn finish(port: &mut Port, errors: u8, result: &Final) {
    if port.quiet && *result != Final::Prompt {
        return;
    }
    let (text, number) = match result {
        Final::Ok => ("OK".to_owned(), 0),
        Final::NoCarrier => ("NO CARRIER".to_owned(), 3),
        Final::NotSupported => ("COMMAND NOT SUPPORT".to_owned(), 4),
        Final::Error => ("ERROR".to_owned(), 4),
        Final::Prompt => {
            port.put(b"\r\n> ");
            return;
        }
        Final::Message(error) => (format!("+CMS ERROR: {}", *error as u16), 4),
        Final::Equipment(error) => (
            match errors {
                0 => "ERROR".to_owned(),
                1 => format!("+CME ERROR: {}", *error as u16),
                _ => format!("+CME ERROR: {}", error.text()),
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

/// Returns the line of `+CREG`, `+CGREG` or `+CEREG`. `mode` is `None` for the URC, which has no
/// mode.
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

/// Returns the line of `^HCSQ`: the signal in the fields of LTE, or no service.
pub(super) fn signal_report(firmware: &Firmware, knobs: &Knobs) -> String {
    if !firmware.registered().is_on() || knobs.signal > 31 {
        return "^HCSQ: \"NOSERVICE\"".to_owned();
    }
    // `+CSQ` counts steps of 2 dB from -113 dBm, `^HCSQ` steps of 1 dB from -121 dBm.
    let rssi = 2 * u32::from(knobs.signal) + 8;
    let rsrp = rssi.saturating_sub(8).min(97);
    format!("^HCSQ: \"LTE\",{rssi},{rsrp},150,26")
}

/// Returns why the SIM and the network cannot be used, if they cannot.
pub(super) fn sim_error(firmware: &Firmware) -> Option<EquipmentError> {
    Some(match (firmware.sim(), firmware.lock()) {
        (SimState::Absent, _) => EquipmentError::NoSim,
        (SimState::Bad, _) | (_, Lock::Dead) => EquipmentError::SimFailure,
        (SimState::NotInitialized, _) => EquipmentError::SimBusy,
        (_, Lock::Pin) => EquipmentError::PinRequired,
        (_, Lock::Puk) => EquipmentError::PukRequired,
        (SimState::Ready, Lock::Open) => return None,
    })
}
