//! The ways in which a command ends without `OK`.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::codes::{cme, cms};

/// The number or the text behind `+CME ERROR:` and `+CMS ERROR:`; which of both depends on
/// `AT+CMEE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// Number, as `AT+CMEE=1` asks for.
    Number(u16),
    /// Text, as `AT+CMEE=2` asks for.
    Text(String),
}

impl Code {
    pub(crate) fn parse(text: &str) -> Self {
        let text = text.trim();
        text.parse()
            .map_or_else(|_| Self::Text(text.to_owned()), Self::Number)
    }

    fn describe(
        &self,
        f: &mut fmt::Formatter<'_>,
        words: fn(u16) -> Option<&'static str>,
    ) -> fmt::Result {
        match self {
            Self::Number(number) => match words(*number) {
                Some(words) => write!(f, "{words} ({number})"),
                None => write!(f, "error {number}"),
            },
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// An error of the mobile equipment, `+CME ERROR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cme(pub Code);

/// An error of the message service, `+CMS ERROR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cms(pub Code);

impl fmt::Display for Cme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe(f, cme::words)
    }
}

impl fmt::Display for Cms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe(f, cms::words)
    }
}

/// Reason why a command did not end with `OK`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// The modem answered `ERROR`, without a reason.
    #[error("the modem answered ERROR")]
    Error,
    /// The modem answered `+CME ERROR`.
    #[error("the modem answered: {0}")]
    Cme(Cme),
    /// The modem answered `+CMS ERROR`.
    #[error("the modem's message service answered: {0}")]
    Cms(Cms),
    /// The modem answered Huawei's `COMMAND NOT SUPPORT`.
    #[error("the modem does not know this command")]
    NotSupported,
    /// The modem answered Huawei's `TOO MANY PARAMETERS`.
    #[error("the modem takes fewer parameters")]
    TooManyParameters,
    /// The modem answered `NO CARRIER` to a dial command.
    #[error("no carrier")]
    NoCarrier,
    /// The modem answered `BUSY` to a dial command.
    #[error("busy")]
    Busy,
    /// The modem answered `NO ANSWER` to a dial command.
    #[error("no answer from the other side")]
    NoAnswer,
    /// The modem answered `NO DIALTONE` to a dial command.
    #[error("no dial tone")]
    NoDialtone,
    /// No final result code came in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The command was taken back before it was sent.
    #[error("cancelled")]
    Cancelled,
    /// The port went away before the answer came.
    #[error("the port was closed")]
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_names_and_texts_stay() {
        let say = |text| Failure::Cme(Cme(Code::parse(text))).to_string();
        assert_eq!(say(" 10"), "the modem answered: SIM not inserted (10)");
        assert_eq!(
            say("SIM not inserted"),
            "the modem answered: SIM not inserted"
        );
        assert_eq!(say("999"), "the modem answered: error 999");
        assert_eq!(
            Failure::Cms(Cms(Code::parse("500"))).to_string(),
            "the modem's message service answered: unknown error (500)"
        );
    }
}
