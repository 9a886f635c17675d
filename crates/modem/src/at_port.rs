//! The AT port: one owner, many clients.
//!
//! ```text
//!  bulk IN ──> reader ──bytes──┐                       ┌──> library callers (AtPort::ask)
//!                              ├──> owner: Dialogue <──┤
//!  bulk OUT <──────────────────┘                       └──> share: terminals and a Unix socket
//! ```
//!
//! [`AtPort`] is a thread that owns the dialogue with whichever vendor interface answers. It
//! outlives the device: [`AtPort::attach`] gives it one, [`AtPort::detach`] takes it away, and what
//! is asked meanwhile fails at once with words. Commands of all clients are put into one queue;
//! each answer goes to who asked, lines nobody asked for go to everyone who listens.
//!
//! - [`AtPort`], in `owner`: the thread, probing, commands, subscriptions.
//! - `transport`: the interface: claimed, control lines raised, bulk queues.
//! - [`open`]: the port of a device that nobody else runs.
//! - `discipline`, `lines`: what other programs say and hear, on a terminal and in JSON lines; the
//!   entrances they come in by are those of [`share`](crate::share).
//!
//! No command and no answer is ever logged: they may hold a PIN, an IMSI or a message.

pub(crate) mod discipline;
pub(crate) mod lines;
pub mod open;
pub(crate) mod owner;
pub(crate) mod protocol;
mod transport;

use std::fmt;
use std::time::Duration;

use uwwan_at::dialogue::Command;
use uwwan_at::failure::Failure as Refusal;
use uwwan_at::line::{Action, split};
use uwwan_usb::error::Error as UsbError;
use uwwan_usb::functions::SerialRole;

use crate::failure::{Failure, FailureKind};

pub use owner::{AtPort, Ticket};

/// A command that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The command line.
    pub command: String,
    /// The lines of the answer, without echo, blank lines and final result.
    pub lines: Vec<String>,
    /// Whether more came than is kept.
    pub truncated: bool,
    /// `OK`, or why not.
    pub result: Result<(), Refusal>,
}

/// Something nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line of the modem.
    Unsolicited(String),
    /// An NMEA 0183 sentence.
    Nmea(String),
}

/// The interface that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The device, as `03f0:a31d at 1-4`.
    pub device: String,
    /// `bConfigurationValue` it is in.
    pub configuration: u8,
    /// The interface.
    pub interface: u8,
    /// What it is for.
    pub role: SerialRole,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            SerialRole::Pcui => "PC UI port",
            SerialRole::Modem => "modem port",
            SerialRole::Gps => "GPS port",
            SerialRole::At => "AT port",
            _ => "port",
        };
        write!(
            f,
            "{}, interface {} of configuration {} ({role})",
            self.device, self.interface, self.configuration
        )
    }
}

/// Why a command got no answer at all, or why there is no port.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AtError {
    /// There is no device, for now.
    #[error("the AT port is away: {why}")]
    Away {
        /// Why.
        why: String,
    },
    /// Interfaces are there, and none answers.
    #[error("no AT port answers: {tried}")]
    Silent {
        /// Which were tried, for how long.
        tried: String,
    },
    /// The device went away while the command ran.
    #[error("the AT port went away: {why}")]
    Lost {
        /// Why.
        why: String,
    },
    /// The command would spoil the port for everyone.
    #[error("not sent: {why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// Too many commands are waiting.
    #[error("too many AT commands are waiting")]
    Full,
    /// The device has no vendor interface that could speak AT.
    #[error("{device} has no AT port in any configuration")]
    NoPort {
        /// The device.
        device: String,
    },
    /// The device cannot be had.
    #[error(transparent)]
    Usb(#[from] uwwan_usb::error::Error),
    /// A thread, descriptor or socket failed.
    #[error("{0}")]
    System(String),
}

impl From<AtError> for Failure {
    fn from(error: AtError) -> Self {
        let new = |kind| Self::new(kind, "the AT port gives no answer").because(&error);
        let look =
            "uwwan status tells where a running uwwan is; uwwan list shows the modems present";
        match &error {
            AtError::Away { .. } => new(FailureKind::Missing).next(look),
            AtError::Lost { .. } => new(FailureKind::Gone).next(look),
            AtError::Silent { .. } => new(FailureKind::Timeout)
                .next("a modem that has just started may need half a minute: try again")
                .next("stop other programs that use its serial ports (ModemManager, minicom)"),
            AtError::Refused { why } => {
                Self::new(FailureKind::Usage, "the command was not sent").because(why)
            }
            AtError::Full => new(FailureKind::Busy).next("try again when other programs are done"),
            AtError::NoPort { .. } => new(FailureKind::Other)
                .next("uwwan usb descriptors shows what it has; MBIM commands work without AT"),
            AtError::Usb(UsbError::NoPermission { .. }) => new(FailureKind::Permission).next(
                "install the udev rule (packaging/70-uwwan.rules) and plug the modem in again, or use sudo",
            ),
            AtError::Usb(UsbError::Busy { .. }) => new(FailureKind::Busy)
                .next("stop what holds it: ModemManager or another program"),
            AtError::Usb(UsbError::Gone { .. }) => new(FailureKind::Missing),
            AtError::Usb(_) | AtError::System(_) => new(FailureKind::Host),
        }
    }
}

/// Longest time any command may take.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// A command from what a client says of it: its line, text for its prompt, and how long it may take
/// in place of what is usual for it.
pub(crate) fn command(
    line: &str,
    text: Option<&str>,
    timeout: Option<Duration>,
) -> Result<Command, AtError> {
    let command = Command::new(line).and_then(|command| match text {
        Some(text) => command.with_text(text),
        None => Ok(command),
    });
    let command = command.map_err(|error| AtError::Refused {
        why: error.to_string(),
    })?;
    Ok(match timeout {
        Some(timeout) => command.with_timeout(timeout.min(LONGEST_TIMEOUT)),
        None => command,
    })
}

/// Why a command line may not be sent to a port others use too: it would change how the port
/// answers (`V0`, `Q1`) or turn it into something that no longer answers (dial-up data).
fn spoils(command: &Command) -> Option<String> {
    let line = command.line();
    let body = line.get(2..)?;
    split(body)?.iter().find_map(|part| {
        let why = match (part.name.as_str(), &part.action) {
            ("V", Action::Run(value)) if matches!(value.as_str(), "" | "0") => {
                "V0 makes the modem answer in numbers, which other clients cannot read"
            }
            ("Q", Action::Run(value)) if value == "1" => {
                "Q1 makes the modem answer nothing, which no client could tell from silence"
            }
            ("D", Action::Run(number)) if number.contains('#') => {
                "data calls are of no use here: `uwwan up` carries the data"
            }
            ("+CGDATA", Action::Set(_)) => {
                "data calls are of no use here: `uwwan up` carries the data"
            }
            _ => return None,
        };
        Some(why.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_spoils_the_port_is_not_sent() {
        let spoils = |line: &str| spoils(&Command::new(line).unwrap()).is_some();
        for line in [
            "ATV0",
            "ATV",
            "ATE0V0",
            "ATQ1",
            "ATD*99#",
            "at v0",
            "AT+CGDATA=\"PPP\",1",
        ] {
            assert!(spoils(line), "{line}");
        }
        for line in [
            "AT",
            "ATI",
            "ATQ0 V1 E1 S0=0",
            "ATE0",
            "AT+CSQ;+COPS?",
            "ATD12345;",
            "ATZ",
        ] {
            assert!(!spoils(line), "{line}");
        }
    }
}
