//! USSD over AT (3GPP TS 27.007, 7.15).
//!
//! Texts stand in `+CUSD` as 3GPP says (`^USSDMODE=0`), or all of them as the octets of their coding in
//! hexadecimal digits, GSM 7-bit packed (`^USSDMODE=1`), which is how Huawei's modems start. A text that is
//! not such octets is refused with +CME ERROR: 304 then, as by an E3372.

use std::time::Duration;

use uwwan_mbim::gsm::coding::{Alphabet, from_ussd, to_ussd, ussd_alphabet};
use uwwan_mbim::services::ussd::{UssdAction, UssdResponse};

use super::answers::{EquipmentError, Final, sim_error};
use super::command::{Answer, Op, hex, line, number, ok, unhex};
use super::port::Port;
use super::state::AtContext;
use crate::knobs::UssdForm;

/// Returns whether a command is one of this file's.
pub(super) fn has(name: &str) -> bool {
    matches!(name, "+CUSD" | "^USSDMODE")
}

/// Executes a command.
pub(super) fn execute(
    port: &mut Port,
    name: &str,
    op: &Op<'_>,
    context: &mut AtContext<'_>,
) -> Answer {
    let state = &mut *context.state;
    match (name, op) {
        ("+CUSD", Op::Read) => line(format!("+CUSD: {}", u8::from(state.ussd_told))),
        ("+CUSD", Op::Test) => line("+CUSD: (0-2)"),
        ("+CUSD", Op::Set(arguments)) => say(port, arguments, context),
        ("^USSDMODE", _) if context.knobs.ussd_form == UssdForm::TextAlways => {
            Err(Final::NotSupported)
        }
        ("^USSDMODE", Op::Read) => line(format!("^USSDMODE: {}", u8::from(state.ussd_packed))),
        ("^USSDMODE", Op::Test) => line("^USSDMODE: (0,1)"),
        ("^USSDMODE", Op::Set(arguments)) => {
            state.ussd_packed = match number(arguments.first())? {
                0 => false,
                1 => true,
                _ => return Err(EquipmentError::WrongParameters.into()),
            };
            ok()
        }
        _ => Err(Final::Error),
    }
}

/// Executes `AT+CUSD=<0, 1 or 2>[,<text>[,<coding>]]`. The network's answer comes later, by itself.
fn say(port: &mut Port, arguments: &[&str], context: &mut AtContext<'_>) -> Answer {
    let action = match number(arguments.first())? {
        presentation @ 0..=1 => {
            context.state.ussd_told = presentation == 1;
            match context.firmware.ussd_asked() {
                true => UssdAction::CONTINUE,
                false => UssdAction::INITIATE,
            }
        }
        2 => UssdAction::CANCEL,
        _ => return Err(EquipmentError::WrongParameters.into()),
    };
    let told = arguments.get(1).copied().unwrap_or("");
    if told.is_empty() && action != UssdAction::CANCEL {
        return ok();
    }
    if let Some(error) = sim_error(context.firmware) {
        return Err(error.into());
    }
    let scheme = match arguments.get(2) {
        None | Some(&"") => 0,
        scheme => number(scheme)?,
    };
    let octets = context.state.ussd_packed || ussd_alphabet(scheme) == Alphabet::Ucs2;
    let text = match octets {
        true => unhex(told.as_bytes())
            .and_then(|octets| from_ussd(scheme, &octets))
            .ok_or(EquipmentError::WrongPdu)?,
        false => told.to_owned(),
    };
    let said = context
        .firmware
        .ussd(action, &text)
        .map_err(|_| EquipmentError::NoNetwork)?;
    if action == UssdAction::CANCEL || !context.state.ussd_told {
        return ok();
    }
    let packed = context.state.ussd_packed;
    let wait = Duration::from_millis(context.knobs.ussd_ms);
    port.say_at(
        context.now + wait,
        told_line(said.response, said.text, packed),
    );
    if let Some(question) = said.asks_later {
        context.firmware.ussd_asks();
        let asks = told_line(UssdResponse::ACTION_REQUIRED, question, packed);
        port.say_at(context.now + 2 * wait, asks);
    }
    ok()
}

/// Returns `+CUSD` as the modem sends it by itself.
fn told_line(response: UssdResponse, text: &str, packed: bool) -> String {
    let response = response.0;
    let (scheme, octets) = to_ussd(text).unwrap_or_default();
    let said = match packed || ussd_alphabet(scheme) == Alphabet::Ucs2 {
        true => hex(&octets),
        false => text.to_owned(),
    };
    match text {
        "" => format!("\r\n+CUSD: {response}\r\n"),
        _ => format!("\r\n+CUSD: {response},\"{said}\",{scheme}\r\n"),
    }
}
