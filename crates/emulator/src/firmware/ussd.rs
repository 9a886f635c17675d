//! USSD (3GPP TS 22.090): a network with a few codes.
//!
//! `*100#` tells a balance, `*101#` asks back, `*102#` answers in UCS-2, `*103#` never answers, and after
//! `*104#` the network asks a question by itself, where the host is told of such by AT; the network knows
//! no other.

use uwwan_mbim::services::ussd::{UssdAction, UssdResponse};
use uwwan_mbim::status::Status;

use super::Firmware;

/// Menu behind `*101#`.
const MENU: &str = "1 Balance\r\n2 Data left\r\n3 More";

/// What the network says in a dialogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UssdSaid {
    /// Result of the turn.
    pub response: UssdResponse,
    /// Text; it may be empty.
    pub text: &'static str,
    /// Whether the dialogue was there before.
    pub existed: bool,
    /// The network asks that by itself, later.
    pub asks_later: Option<&'static str>,
}

impl Firmware {
    /// Carries out a turn of the USSD dialogue: the host says something, and the network answers.
    ///
    /// # Errors
    /// NOT_REGISTERED without a network; OPERATION_NOT_ALLOWED for an answer to no question;
    /// INVALID_PARAMETERS for an action that there is not.
    pub fn ussd(&mut self, action: UssdAction, text: &str) -> Result<UssdSaid, Status> {
        if !self.registered().is_on() {
            return Err(Status::NOT_REGISTERED);
        }
        let existed = self.ussd_asked;
        let (response, answer) = match (action, existed) {
            (UssdAction::CANCEL, _) => (UssdResponse::TERMINATED_BY_NETWORK, ""),
            (UssdAction::INITIATE, true) => (UssdResponse::OTHER_LOCAL_CLIENT, ""),
            (UssdAction::INITIATE, false) => open(text),
            (UssdAction::CONTINUE, true) => reply(text),
            (UssdAction::CONTINUE, false) => return Err(Status::OPERATION_NOT_ALLOWED),
            _ => return Err(Status::INVALID_PARAMETERS),
        };
        self.ussd_asked = match response {
            UssdResponse::ACTION_REQUIRED => true,
            UssdResponse::OTHER_LOCAL_CLIENT => existed,
            _ => false,
        };
        let calls_back = action == UssdAction::INITIATE && !existed && text == "*104#";
        Ok(UssdSaid {
            response,
            text: answer,
            existed,
            asks_later: calls_back.then_some(MENU),
        })
    }

    /// Returns whether the network has asked and waits for the answer.
    #[must_use]
    pub fn ussd_asked(&self) -> bool {
        self.ussd_asked
    }

    /// Notes that the network asks by itself.
    pub fn ussd_asks(&mut self) {
        self.ussd_asked = true;
    }
}

/// Answers a code that begins a dialogue.
fn open(code: &str) -> (UssdResponse, &'static str) {
    match code {
        "*100#" => (
            UssdResponse::NO_ACTION_REQUIRED,
            "Your balance is 99,00 kr.\r\nValid until 31.12.",
        ),
        "*101#" => (UssdResponse::ACTION_REQUIRED, MENU),
        "*102#" => (UssdResponse::NO_ACTION_REQUIRED, "Ваш баланс: 99,00"),
        "*103#" => (UssdResponse::NETWORK_TIMEOUT, ""),
        "*104#" => (UssdResponse::NO_ACTION_REQUIRED, "You will be asked."),
        _ => (UssdResponse::OPERATION_NOT_SUPPORTED, ""),
    }
}

/// Answers what the user chose.
fn reply(text: &str) -> (UssdResponse, &'static str) {
    match text {
        "1" => (
            UssdResponse::NO_ACTION_REQUIRED,
            "Your balance is 99,00 kr.",
        ),
        "2" => (UssdResponse::NO_ACTION_REQUIRED, "1024 MB left"),
        "3" => (UssdResponse::ACTION_REQUIRED, "1 Balance\r\n0 Back"),
        "0" => (UssdResponse::ACTION_REQUIRED, MENU),
        _ => (UssdResponse::TERMINATED_BY_NETWORK, "No such choice"),
    }
}
