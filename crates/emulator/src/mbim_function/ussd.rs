//! USSD (MBIM 1.0 section 10.7): a network with a few codes.
//!
//! `*100#` tells a balance, `*101#` asks back, `*102#` answers in UCS-2, `*103#` never answers; the
//! network knows no other.

use uwwan_mbim::gsm::coding::{from_ussd, to_ussd};
use uwwan_mbim::services::ussd::{Ussd, UssdAction, UssdResponse, UssdSessionState, UssdSet};
use uwwan_mbim::status::Status;

use super::context::MbimContext;
use super::outcome::{Outcome, decode, sim_open};

/// A dialogue with the network.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    /// The network has asked and waits for the answer.
    asked: bool,
}

impl Dialogue {
    /// Executes USSD set: the host says something, and the network answers.
    pub(super) fn turn(
        &mut self,
        info: &[u8],
        context: &mut MbimContext<'_>,
    ) -> Result<Outcome, Status> {
        let wanted: UssdSet = decode(info)?;
        sim_open(context)?;
        if !context.firmware.registered().is_on() {
            return Err(Status::NOT_REGISTERED);
        }
        let scheme =
            u8::try_from(wanted.data_coding_scheme).map_err(|_| Status::INVALID_PARAMETERS)?;
        let text = from_ussd(scheme, &wanted.payload).unwrap_or_default();
        let (response, answer) = match (wanted.action, self.asked) {
            (UssdAction::CANCEL, _) => (UssdResponse::TERMINATED_BY_NETWORK, ""),
            (UssdAction::INITIATE, true) => (UssdResponse::OTHER_LOCAL_CLIENT, ""),
            (UssdAction::INITIATE, false) => open(&text),
            (UssdAction::CONTINUE, true) => reply(&text),
            (UssdAction::CONTINUE, false) => return Err(Status::OPERATION_NOT_ALLOWED),
            _ => return Err(Status::INVALID_PARAMETERS),
        };
        let began = self.asked;
        self.asked = match response {
            UssdResponse::ACTION_REQUIRED => true,
            UssdResponse::OTHER_LOCAL_CLIENT => self.asked,
            _ => false,
        };
        let (data_coding_scheme, payload) = to_ussd(answer).unwrap_or_default();
        Ok(Outcome::of(&Ussd {
            response,
            session_state: if began {
                UssdSessionState::EXISTING_SESSION
            } else {
                UssdSessionState::NEW_SESSION
            },
            data_coding_scheme: data_coding_scheme.into(),
            payload,
        }))
    }
}

/// Answers a code that begins a dialogue.
fn open(code: &str) -> (UssdResponse, &'static str) {
    match code {
        "*100#" => (
            UssdResponse::NO_ACTION_REQUIRED,
            "Your balance is 99,00 kr.\r\nValid until 31.12.",
        ),
        "*101#" => (
            UssdResponse::ACTION_REQUIRED,
            "1 Balance\r\n2 Data left\r\n3 More",
        ),
        "*102#" => (UssdResponse::NO_ACTION_REQUIRED, "Ваш баланс: 99,00"),
        "*103#" => (UssdResponse::NETWORK_TIMEOUT, ""),
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
        "0" => (
            UssdResponse::ACTION_REQUIRED,
            "1 Balance\r\n2 Data left\r\n3 More",
        ),
        _ => (UssdResponse::TERMINATED_BY_NETWORK, "No such choice"),
    }
}
