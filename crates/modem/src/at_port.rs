//! The AT port: one owner, many clients.
//!
//! ```text
//!  bulk IN ──> reader ──bytes──┐                       ┌──> library callers (AtPort::ask)
//!                              ├──> owner: Dialogue <──┤
//!  bulk OUT <──────────────────┘                       └──> share: terminals and a Unix socket
//! ```
//!
//! [`AtPort`] is a handle on the thread that owns the dialogue with whichever vendor interface
//! answers. The thread outlives the device: [`AtPort::attach`] gives it one, [`AtPort::detach`]
//! takes it away, and commands that come in between fail at once with the reason. The commands of
//! all clients are put into one queue. Each answer goes to the client that asked; unsolicited
//! result codes go to every listener.
//!
//! - [`AtPort`], in `owner`: the thread, probing, commands, subscriptions.
//! - `candidates`: the functions that may take commands. `channel`: the trait of an open one. `serial`: a
//!   claimed serial interface, with its control lines raised and its bulk queues. `pipe`: the
//!   encapsulated commands of a network function.
//! - [`open`]: the port of a device that no `up` runs.
//!
//! Other programs use the port by a service of [`share`](crate::share).
//!
//! No command and no answer is ever logged: they may hold a PIN, an IMSI or a message.

mod candidates;
mod channel;
mod claim;
pub mod open;
pub(crate) mod owner;
mod pipe;
mod serial;

use std::fmt;
use std::time::Duration;

use uwwan_at::dialogue::Command;
use uwwan_at::failure::Failure as Refusal;
use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::error::Error as UsbError;
use uwwan_usb::functions::{self, SerialRole};

use crate::failure::{Failure, FailureKind};

pub use candidates::Candidate;
pub(crate) use candidates::candidates;
pub use owner::{AtPort, Ticket};

/// Answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Command line that was sent.
    pub command: String,
    /// Lines of the answer, without echo, blank lines and final result code.
    pub lines: Vec<String>,
    /// Whether lines were dropped because the answer was longer than the dialogue keeps.
    pub truncated: bool,
    /// Final result: `Ok` for `OK`, otherwise the reason.
    pub result: Result<(), Refusal>,
}

/// Line that belongs to no command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// An unsolicited result code, which may be any line outside an answer.
    Unsolicited(String),
    /// An NMEA 0183 sentence.
    Nmea(String),
}

/// Interface that answers AT commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Vendor id, product id and port of the device, as `03f0:a31d at 1-4`.
    pub device: String,
    /// `bConfigurationValue` of the configuration the interface is in.
    pub configuration: u8,
    /// `bInterfaceNumber` of the interface.
    pub interface: u8,
    /// Role of the interface.
    pub role: Role,
}

/// Role of an interface that takes AT commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Role of a serial function.
    Serial(SerialRole),
    /// A network function that takes them as encapsulated commands.
    Pipe,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Serial(SerialRole::Pcui) => "PC UI port",
            Role::Serial(SerialRole::Modem) => "modem port",
            Role::Serial(SerialRole::Gps) => "GPS port",
            Role::Serial(SerialRole::At) => "AT port",
            Role::Serial(_) => "port",
            Role::Pipe => "encapsulated commands",
        };
        write!(
            f,
            "{}, interface {} of configuration {} ({role})",
            self.device, self.interface, self.configuration
        )
    }
}

/// Returns a failure of the port with its reason.
fn no_answer(kind: FailureKind, why: String) -> Failure {
    Failure::new(kind, "the AT port gives no answer").because(why)
}

const LOOK: &str =
    "uwwan status tells where a running uwwan is; uwwan list shows the modems present";

/// Returns the failure that the port has no device at present.
pub fn away(why: impl fmt::Display) -> Failure {
    no_answer(FailureKind::Missing, format!("the AT port is away: {why}")).next(LOOK)
}

/// Returns the failure that the device went away while the command ran.
pub(crate) fn lost(why: impl fmt::Display) -> Failure {
    no_answer(FailureKind::Gone, format!("the AT port went away: {why}")).next(LOOK)
}

/// Returns the failure that no interface answers. `tried` names the interfaces and how long they
/// were tried.
pub(crate) fn silent(tried: impl fmt::Display) -> Failure {
    no_answer(FailureKind::Timeout, format!("no AT port answers: {tried}"))
        .next("a modem that has just started may need half a minute: try again")
        .next("stop other programs that use its serial ports (ModemManager, minicom)")
}

/// Returns the failure that a command was not sent, because it is malformed or would spoil the port
/// for other clients.
pub(crate) fn not_sent(why: impl fmt::Display) -> Failure {
    Failure::new(FailureKind::Usage, "the command was not sent").because(why)
}

/// Returns the failure that too many commands are waiting.
pub(crate) fn full() -> Failure {
    no_answer(
        FailureKind::Busy,
        "too many AT commands are waiting".to_owned(),
    )
    .next("try again when other programs are done")
}

/// Returns the failure that the device has no interface that could speak AT, with those that look
/// like a serial port and are something else.
pub(crate) fn no_port(device: impl fmt::Display, descriptors: &Descriptors) -> Failure {
    let failure = no_answer(
        FailureKind::Other,
        format!("{device} has no AT port in any configuration"),
    );
    let others = functions::serial(descriptors);
    let failure = others.iter().fold(failure, |failure, port| {
        failure.because(format!(
            "interface {} of configuration {} ({}) is {} and is not written to",
            port.interface,
            port.configuration,
            port.class,
            port.role.purpose()
        ))
    });
    failure.next("uwwan usb descriptors shows what it has; MBIM commands work without AT")
}

/// Returns the failure of the port for an error of the USB backend.
pub(crate) fn usb(error: UsbError) -> Failure {
    let (kind, next) = match error {
        UsbError::NoPermission { .. } => (
            FailureKind::Permission,
            "install the udev rule (packaging/70-uwwan.rules) and plug the modem in again, or use sudo",
        ),
        UsbError::Busy { .. } => (
            FailureKind::Busy,
            "stop what holds it: ModemManager or another program",
        ),
        UsbError::Gone { .. } => (FailureKind::Gone, ""),
        _ => (FailureKind::Host, ""),
    };
    no_answer(kind, error.to_string()).next(next)
}

/// Returns the failure that a thread, descriptor or socket failed.
pub(crate) fn system(why: impl fmt::Display) -> Failure {
    no_answer(FailureKind::Host, why.to_string())
}

/// Longest time that any command may take.
pub(crate) const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// Returns a command from its line, the text for its prompt and the time it may take in place of
/// the usual one, which [`LONGEST_TIMEOUT`] bounds.
///
/// # Errors
/// [`FailureKind::Usage`] when line or text cannot be sent.
pub(crate) fn command(
    line: &str,
    text: Option<&str>,
    timeout: Option<Duration>,
) -> Result<Command, Failure> {
    let command = Command::new(line).and_then(|command| match text {
        Some(text) => command.with_text(text),
        None => Ok(command),
    });
    let command = command.map_err(not_sent)?;
    Ok(match timeout {
        Some(timeout) => command.with_timeout(timeout.min(LONGEST_TIMEOUT)),
        None => command,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_port_it_is_told_what_there_is() {
        let bytes = include_bytes!("../../usb/tests/vectors/descriptors/hp_lt4132_03f0_a31d.bin");
        let failure = no_port("it", &Descriptors::from_sysfs(bytes));
        let told = failure.to_string();
        assert!(
            told.contains("interface 1 of configuration 1 (ff/06/13) is diagnostics"),
            "{told}"
        );
    }
}
