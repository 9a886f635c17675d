//! SMS (MBIM 1.0 section 10.6): the card's message store, and a network that delivers at once.
//!
//! A message to the card's own number arrives as a new one, and one that asks for a report gets it.

use uwwan_mbim::message::CommandKind;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::sms::{
    self, Configuration, ConfigurationSet, DeleteSet, ReadInfo, ReadQuery, SendInfo, SendSet,
    SmsFlag, SmsFormat, SmsPduReadRecord, SmsStatus, SmsStorageState,
};
use uwwan_mbim::status::Status;

use super::context::MbimContext;
use super::outcome::{Outcome, decode, sim_open};
use super::state::store_status;
use crate::firmware::card::MESSAGES;

/// Executes a command of the service.
pub(super) fn answer(
    id: CidId,
    kind: CommandKind,
    info: &[u8],
    context: &mut MbimContext<'_>,
) -> Result<Outcome, Status> {
    sim_open(context)?;
    Ok(match (id, kind) {
        (sms::CONFIGURATION, CommandKind::QUERY) => Outcome::of(&configuration(context)),
        (sms::CONFIGURATION, CommandKind::SET) => {
            let wanted: ConfigurationSet = decode(info)?;
            if wanted.format != SmsFormat::PDU {
                return Err(Status::SMS_FORMAT_NOT_SUPPORTED);
            }
            if !wanted.sc_address.is_empty() {
                context.firmware.persistent.card.centre = wanted.sc_address;
            }
            Outcome::of(&configuration(context))
        }
        (sms::READ, CommandKind::QUERY) => Outcome::of(&read(&decode(info)?, context)?),
        (sms::SEND, CommandKind::SET) => Outcome::of(&send(&decode(info)?, context)?),
        (sms::DELETE, CommandKind::SET) => {
            delete(&decode(info)?, context)?;
            Outcome::default()
        }
        (sms::MESSAGE_STORE_STATUS, CommandKind::QUERY) => {
            Outcome::of(&store_status(None, context))
        }
        _ => return Err(Status::NO_DEVICE_SUPPORT),
    })
}

fn configuration(context: &MbimContext<'_>) -> Configuration {
    Configuration {
        sms_storage_state: SmsStorageState::INITIALIZED,
        format: SmsFormat::PDU,
        max_messages: MESSAGES,
        cdma_short_message_size: 0,
        sc_address: context.firmware.persistent.card.centre.clone(),
    }
}

/// Executes a SEND set.
fn send(wanted: &SendSet, context: &mut MbimContext<'_>) -> Result<SendInfo, Status> {
    let pdu = match (&wanted.format, &wanted.pdu_message) {
        (&SmsFormat::PDU, Some(message)) => &message.pdu_data,
        _ => return Err(Status::SMS_FORMAT_NOT_SUPPORTED),
    };
    let reference = context.firmware.send_message(pdu)?;
    Ok(SendInfo {
        message_reference: reference.into(),
    })
}

/// Returns whether a flag of READ or DELETE selects the message in that place.
fn meant(flag: SmsFlag, index: u32, place: u32, status: SmsStatus) -> bool {
    match flag {
        SmsFlag::ALL => true,
        SmsFlag::INDEX => index == place,
        SmsFlag::NEW => status == SmsStatus::NEW,
        SmsFlag::OLD => status == SmsStatus::OLD,
        SmsFlag::SENT => status == SmsStatus::SENT,
        SmsFlag::DRAFT => status == SmsStatus::DRAFT,
        _ => false,
    }
}

/// Checks that the flag is one of the service, and that an index selects a message.
fn check(flag: SmsFlag, index: u32, context: &MbimContext<'_>) -> Result<(), Status> {
    match flag {
        SmsFlag::INDEX
            if !context
                .firmware
                .persistent
                .card
                .messages
                .contains_key(&index) =>
        {
            Err(Status::INVALID_MEMORY_INDEX)
        }
        SmsFlag::ALL
        | SmsFlag::INDEX
        | SmsFlag::NEW
        | SmsFlag::OLD
        | SmsFlag::SENT
        | SmsFlag::DRAFT => Ok(()),
        _ => Err(Status::INVALID_PARAMETERS),
    }
}

/// Answers a READ query.
fn read(wanted: &ReadQuery, context: &mut MbimContext<'_>) -> Result<ReadInfo, Status> {
    if wanted.format != SmsFormat::PDU {
        return Err(Status::SMS_FORMAT_NOT_SUPPORTED);
    }
    check(wanted.flag, wanted.message_index, context)?;
    let card = &mut context.firmware.persistent.card;
    let places: Vec<u32> = card
        .messages
        .iter()
        .filter(|(place, (status, _))| meant(wanted.flag, wanted.message_index, **place, *status))
        .map(|(place, _)| *place)
        .collect();
    let mut info = ReadInfo::default();
    for place in places {
        if let Some((message_status, pdu_data)) = card.read(place) {
            info.pdu_messages.push(SmsPduReadRecord {
                message_index: place,
                message_status,
                pdu_data,
            });
        }
    }
    Ok(info)
}

/// Executes a DELETE set.
fn delete(wanted: &DeleteSet, context: &mut MbimContext<'_>) -> Result<(), Status> {
    check(wanted.flag, wanted.message_index, context)?;
    let card = &mut context.firmware.persistent.card;
    card.delete(|place, status| meant(wanted.flag, wanted.message_index, place, status));
    Ok(())
}
