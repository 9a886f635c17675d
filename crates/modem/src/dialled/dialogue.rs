//! State of a USSD dialogue with the network.

use std::time::Instant;

use uwwan_mbim::services::ussd::UssdSessionState;

/// State of the dialogue with the network.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    /// Form that the modem takes, once it is known.
    pub(super) form: Option<Form>,
    /// Command of the host that waits for the network.
    pub(super) waiting: Option<Waiting>,
    /// The network has asked and waits for the answer.
    pub(super) asked: bool,
}

/// Form of a text in `+CUSD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Octets in hexadecimal digits.
    Octets,
    /// Text, or with `+CSCS: "UCS2"` its UCS-2 octets in hexadecimal digits.
    Text { ucs2: bool },
}

/// Command of the host that waits for the network.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Transaction id of the command.
    pub(super) transaction: u32,
    /// Time at which it has waited long enough.
    pub(super) until: Instant,
}

/// Answer to a command that has waited.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Late {
    /// Transaction id of the command.
    pub(super) transaction: u32,
    /// Information buffer of the answer.
    pub(super) info: Vec<u8>,
}

impl Dialogue {
    /// Returns the time at which a command has waited long enough.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|waiting| waiting.until)
    }

    /// Returns whether a turn belongs to a dialogue that was there before.
    pub(super) fn existing(&self) -> UssdSessionState {
        match self.asked {
            true => UssdSessionState::EXISTING_SESSION,
            false => UssdSessionState::NEW_SESSION,
        }
    }
}
