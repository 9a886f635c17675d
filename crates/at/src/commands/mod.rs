//! Answers of known commands as types, one file for each group of commands.
//!
//! ```
//! use uwwan_at::commands::{Query, signal::SignalQuality};
//!
//! assert_eq!(SignalQuality::COMMAND, "AT+CSQ");
//! let signal = SignalQuality::parse(&["+CSQ: 21,99".to_owned()])?;
//! assert_eq!(signal.dbm(), Some(-71));
//! # Ok::<(), uwwan_at::commands::AnswerError>(())
//! ```

use std::fmt;

use thiserror::Error;

use crate::dialogue::{Command, InvalidCommand};
use crate::values::{Values, after};

pub mod context;
pub mod gps;
pub mod identity;
pub mod known;
pub mod ports;
pub mod profiles;
pub mod registration;
pub mod signal;
pub mod sim;

/// Names of the commands whose arguments hold a PIN, a PUK or a password, without their `AT`.
pub const PASSWORD_COMMANDS: [&str; 22] = [
    "+CPIN",
    "^CPIN",
    "+CPIN2",
    "^CPIN2",
    "+EPIN",
    "+CPUK",
    "+CLCK",
    "+CPWD",
    // These commands carry codes that unlock the modem.
    "^CARDLOCK",
    "^SIMLOCKUNLOCK",
    "^DATALOCK",
    "+QSIMLOCK",
    // These are raw commands to the SIM, of which VERIFY carries the PIN.
    "+CSIM",
    "^CSIM",
    "+CGLA",
    "+CRLA",
    "+CRSM",
    "+CCHO",
    "^AUTHDATA",
    "+CGAUTH",
    "$QCPDPP",
    "+QICSGP",
];

/// A command without parameters whose answer has a type.
pub trait Query: Sized {
    /// Command line that is sent.
    const COMMAND: &'static str;

    /// Reads the lines of the answer ([`crate::dialogue::Done::lines`]).
    ///
    /// # Errors
    /// The answer is not of the form that the command answers with.
    fn parse(lines: &[String]) -> Result<Self, AnswerError>;

    /// Returns the command, ready to be sent.
    ///
    /// # Errors
    /// None occur for the commands in this crate, whose lines are checked by its tests.
    fn command() -> Result<Command, InvalidCommand> {
        Command::new(Self::COMMAND)
    }
}

/// Reason why an answer cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// No line of the answer starts with this name.
    #[error("the answer has no line with {0}")]
    Missing(&'static str),
    /// A line of the answer with this name cannot be read. The line itself may name a person and is
    /// left out.
    #[error("the answer's {0} cannot be read")]
    Unreadable(&'static str),
}

/// Text that names a person or a device. `Debug` does not show it; [`Personal::reveal`] does.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Personal(String);

impl Personal {
    /// Wraps text that names a person or a device.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for a caller whose user asked to see it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Personal(…)")
    }
}

/// Returns the values behind `name:` in the first line that starts with it.
pub(crate) fn first<'a>(
    lines: &'a [String],
    name: &'static str,
) -> Result<Values<'a>, AnswerError> {
    all(lines, name).next().ok_or(AnswerError::Missing(name))
}

/// Returns the values behind `name:` in every line that starts with it.
pub(crate) fn all<'a>(
    lines: &'a [String],
    name: &'static str,
) -> impl Iterator<Item = Values<'a>> + use<'a> {
    lines
        .iter()
        .filter_map(move |line| after(line, name).map(Values::new))
}

/// Largest number of items that are read of an answer that lists things.
pub(crate) const MOST_ITEMS: usize = 1024;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns the lines of an answer, as the dialogue leaves them.
    pub(crate) fn lines(text: &str) -> Vec<String> {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && *line != "OK")
            .map(str::to_owned)
            .collect()
    }

    /// Reads an answer that must be readable.
    pub(crate) fn parse<T: Query>(text: &str) -> T {
        assert!(T::command().is_ok(), "{}", T::COMMAND);
        T::parse(&lines(text)).unwrap_or_else(|error| panic!("{}: {error}", T::COMMAND))
    }

    /// Checks that no answer can be read from the text.
    pub(crate) fn refuses<T: Query>(text: &str) {
        assert!(T::parse(&lines(text)).is_err(), "{}: {text}", T::COMMAND);
    }

    #[test]
    fn personal_text_stays_out_of_logs() {
        let number = Personal::new("864172044791624");
        assert_eq!(format!("{number:?}"), "Personal(…)");
        assert_eq!(number.reveal().len(), 15);
    }
}
