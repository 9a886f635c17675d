//! Short messages over AT (3GPP TS 27.005), in PDU mode, which is the only one here.

use uwwan_mbim::services::sms::SmsStatus;
use uwwan_mbim::status::Status;

use super::answers::{Final, MessageError, finish, inform, sim_error};
use super::command::{Answer, Op, hex, line, number, ok, unhex};
use super::port::Port;
use super::state::AtContext;
use crate::firmware::card::{Card, MESSAGES};

/// Status that means all messages.
const ALL: u8 = 4;

/// Returns whether a command is about short messages.
pub(super) fn has(name: &str) -> bool {
    matches!(
        name,
        "+CMGF" | "+CPMS" | "+CMGL" | "+CMGR" | "+CMGD" | "+CMGS" | "+CNMI" | "+CSCA" | "+CSMS"
    )
}

/// Executes a command about short messages.
pub(super) fn execute(
    port: &mut Port,
    name: &str,
    op: &Op<'_>,
    context: &mut AtContext<'_>,
) -> Answer {
    match (name, op) {
        ("+CMGF", Op::Read) => return line("+CMGF: 0"),
        ("+CMGF", Op::Test) => return line("+CMGF: (0)"),
        ("+CMGF", Op::Set(arguments)) => {
            return match number(arguments.first())? {
                0 => ok(),
                _ => Err(MessageError::NotAllowed.into()),
            };
        }
        ("+CSMS", Op::Read) => return line("+CSMS: 0,1,1,0"),
        ("+CSMS", Op::Test) => return line("+CSMS: (0)"),
        ("+CSMS", Op::Set(_)) => return line("+CSMS: 1,1,0"),
        ("+CPMS", Op::Test) => return line("+CPMS: (\"SM\"),(\"SM\"),(\"SM\")"),
        ("+CMGL", Op::Test) => return line("+CMGL: (0-4)"),
        ("+CMGR" | "+CMGS" | "+CSCA", Op::Test) => return ok(),
        ("+CNMI", Op::Test) => return line("+CNMI: (0-2),(0,1),(0),(0),(0,1)"),
        _ => {}
    }
    if let Some(error) = sim_error(context.firmware) {
        return Err(error.into());
    }
    let card = &mut context.firmware.persistent.card;
    match (name, op) {
        ("+CPMS", Op::Read) => {
            let one = format!("\"SM\",{},{MESSAGES}", card.messages.len());
            line(format!("+CPMS: {one},{one},{one}"))
        }
        ("+CPMS", Op::Set(arguments)) => {
            if arguments.iter().any(|store| *store != "SM") {
                return Err(MessageError::NotAllowed.into());
            }
            let one = format!("{},{MESSAGES}", card.messages.len());
            line(format!("+CPMS: {one},{one},{one}"))
        }
        ("+CMGL", Op::Run) => list(card, SmsStatus::NEW.0 as u8),
        ("+CMGL", Op::Set(arguments)) => list(card, number(arguments.first())?),
        ("+CMGR", Op::Set(arguments)) => {
            let place = number(arguments.first())?;
            let (status, pdu) = card.read(place.into()).ok_or(MessageError::NoSuchPlace)?;
            Ok(vec![
                format!("+CMGR: {},,{}", status.0, length(&pdu)),
                hex(&pdu),
            ])
        }
        ("+CMGD", Op::Test) => {
            let places: Vec<String> = card.messages.keys().map(u32::to_string).collect();
            line(format!("+CMGD: ({}),(0-4)", places.join(",")))
        }
        ("+CMGD", Op::Set(arguments)) => delete(card, arguments),
        ("+CMGS", Op::Set(arguments)) => {
            port.entry = Some(number(arguments.first())?.into());
            Err(Final::Prompt)
        }
        ("+CSCA", Op::Read) => line(format!("+CSCA: \"{}\",145", card.centre)),
        ("+CSCA", Op::Set(arguments)) => {
            let centre = arguments.first().copied().unwrap_or("");
            if centre.is_empty() || centre.len() > 20 {
                return Err(MessageError::NotAllowed.into());
            }
            card.centre = centre.to_owned();
            ok()
        }
        ("+CNMI", Op::Read) => {
            let arrivals = u8::from(context.state.message_arrivals);
            line(format!("+CNMI: 0,{arrivals},0,0,0"))
        }
        ("+CNMI", Op::Set(arguments)) => {
            context.state.message_arrivals = arguments.get(1) == Some(&"1");
            ok()
        }
        _ => Err(Final::Error),
    }
}

/// Takes the PDU that the host has entered behind the prompt of `+CMGS`.
pub(super) fn enter(port: &mut Port, expected: usize, context: &mut AtContext<'_>) {
    let text = std::mem::take(&mut port.line);
    let cut = std::mem::take(&mut port.too_long);
    let sent = match unhex(&text) {
        Some(pdu) if !cut && length(&pdu) == expected => context
            .firmware
            .send_message(&pdu)
            .map_err(|status| match status {
                Status::NOT_REGISTERED => MessageError::NoNetwork,
                _ => MessageError::WrongPdu,
            }),
        _ => Err(MessageError::WrongPdu),
    };
    match sent {
        Ok(reference) => {
            inform(port, &[format!("+CMGS: {reference}")]);
            finish(port, context.state.errors, &Final::Ok);
        }
        Err(error) => finish(port, context.state.errors, &error.into()),
    }
}

/// Lists the messages with a status, and marks them as read.
fn list(card: &mut Card, wanted: u8) -> Answer {
    if wanted > ALL {
        return Err(MessageError::NotAllowed.into());
    }
    let places: Vec<u32> = card
        .messages
        .iter()
        .filter(|(_, (status, _))| wanted == ALL || status.0 == u32::from(wanted))
        .map(|(place, _)| *place)
        .collect();
    let mut lines = Vec::new();
    for place in places {
        if let Some((status, pdu)) = card.read(place) {
            lines.push(format!("+CMGL: {place},{},,{}", status.0, length(&pdu)));
            lines.push(hex(&pdu));
        }
    }
    Ok(lines)
}

/// Executes `+CMGD`, which deletes one message, or those that its flag means (3GPP TS 27.005,
/// 3.5.4).
fn delete(card: &mut Card, arguments: &[&str]) -> Answer {
    let place = number(arguments.first())?;
    let flag = match arguments.get(1) {
        Some(_) => number(arguments.get(1))?,
        None => 0,
    };
    match flag {
        0 if !card.messages.contains_key(&place.into()) => {
            return Err(MessageError::NoSuchPlace.into());
        }
        0 => card.delete(|one, _| one == u32::from(place)),
        1 => card.delete(|_, status| status == SmsStatus::OLD),
        2 => card.delete(|_, status| matches!(status, SmsStatus::OLD | SmsStatus::SENT)),
        3 => card.delete(|_, status| status != SmsStatus::NEW),
        4 => card.delete(|_, _| true),
        _ => return Err(MessageError::NotAllowed.into()),
    }
    ok()
}

/// Returns the length of a PDU without the message centre's address, in bytes.
fn length(pdu: &[u8]) -> usize {
    let centre = pdu.first().map_or(0, |length| 1 + usize::from(*length));
    pdu.len().saturating_sub(centre)
}
