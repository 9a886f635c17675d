//! Ends of a command other than `OK`.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// The number or the text behind `+CME ERROR:` and `+CMS ERROR:`; which of both depends on
/// `AT+CMEE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// The number, as with `AT+CMEE=1`.
    Number(u16),
    /// The text, as with `AT+CMEE=2`.
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
        name: fn(u16) -> Option<&'static str>,
    ) -> fmt::Result {
        match self {
            Self::Number(number) => match name(*number) {
                Some(name) => write!(f, "{name} ({number})"),
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
        self.0.describe(f, cme_name)
    }
}

impl fmt::Display for Cms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe(f, cms_name)
    }
}

/// Reason why a command gave no `OK`.
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

/// Returns the name of a `+CME ERROR` number (3GPP TS 27.007, 9.2), of those a data modem gives.
fn cme_name(number: u16) -> Option<&'static str> {
    Some(match number {
        0 => "phone failure",
        1 => "no connection to phone",
        3 => "operation not allowed",
        4 => "operation not supported",
        5 => "PH-SIM PIN required",
        10 => "SIM not inserted",
        11 => "SIM PIN required",
        12 => "SIM PUK required",
        13 => "SIM failure",
        14 => "SIM busy",
        15 => "SIM wrong",
        16 => "incorrect password",
        17 => "SIM PIN2 required",
        18 => "SIM PUK2 required",
        20 => "memory full",
        21 => "invalid index",
        22 => "not found",
        23 => "memory failure",
        24 => "text string too long",
        25 => "invalid characters in text string",
        26 => "dial string too long",
        27 => "invalid characters in dial string",
        30 => "no network service",
        31 => "network timeout",
        32 => "network not allowed, emergency calls only",
        40 => "network personalisation PIN required",
        50 => "incorrect parameters",
        100 => "unknown",
        103 => "illegal MS",
        106 => "illegal ME",
        107 => "GPRS services not allowed",
        111 => "PLMN not allowed",
        112 => "location area not allowed",
        113 => "roaming not allowed in this location area",
        132 => "service option not supported",
        133 => "requested service option not subscribed",
        134 => "service option temporarily out of order",
        148 => "unspecified GPRS error",
        149 => "PDP authentication failure",
        150 => "invalid mobile class",
        _ => return None,
    })
}

/// Returns the name of a `+CMS ERROR` number (3GPP TS 27.005, 3.2.5).
fn cms_name(number: u16) -> Option<&'static str> {
    Some(match number {
        300 => "ME failure",
        301 => "SMS service of ME reserved",
        302 => "operation not allowed",
        303 => "operation not supported",
        304 => "invalid PDU mode parameter",
        305 => "invalid text mode parameter",
        310 => "SIM not inserted",
        311 => "SIM PIN required",
        312 => "PH-SIM PIN required",
        313 => "SIM failure",
        314 => "SIM busy",
        315 => "SIM wrong",
        316 => "SIM PUK required",
        320 => "memory failure",
        321 => "invalid memory index",
        322 => "memory full",
        330 => "SMSC address unknown",
        331 => "no network service",
        332 => "network timeout",
        340 => "no +CNMA acknowledgement expected",
        500 => "unknown error",
        _ => return None,
    })
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
