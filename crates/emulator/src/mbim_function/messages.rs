//! SMS (MBIM 1.0 section 10.6): the card's store, and a network that delivers at once.
//!
//! A message to the card's own number comes back as a new one; one that asks for a report gets it.

use uwwan_mbim::fields::Layout;
use uwwan_mbim::gsm::{Message, MessageKind};
use uwwan_mbim::message::CommandKind;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::sms::{
    self, Configuration, ConfigurationSet, DeleteSet, MessageStoreStatus, ReadInfo, ReadQuery,
    SendInfo, SendSet, SmsFlag, SmsFormat, SmsPduReadRecord, SmsStatus, SmsStatusFlag,
    SmsStorageState,
};
use uwwan_mbim::status::Status;

use super::context::MbimContext;
use super::outcome::{Outcome, decode, sim_open};
use crate::firmware::card::{self, CENTRE, MESSAGES, OWN_NUMBER};
use crate::knobs::Knobs;

/// The module's side of the service.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Number of the message centre as the host set it; the card's otherwise.
    centre: Option<String>,
    /// Reference of the message sent last.
    sent: u8,
    /// Places of messages that have come in since the host was told.
    arrived: Vec<u32>,
    /// A message was lost for want of room in the store.
    full: bool,
}

impl Messages {
    /// Executes a command of the service.
    pub(super) fn answer(
        &mut self,
        id: CidId,
        kind: CommandKind,
        info: &[u8],
        context: &mut MbimContext<'_>,
    ) -> Result<Outcome, Status> {
        sim_open(context)?;
        Ok(match (id, kind) {
            (sms::CONFIGURATION, CommandKind::QUERY) => Outcome::of(&self.configuration()),
            (sms::CONFIGURATION, CommandKind::SET) => {
                let wanted: ConfigurationSet = decode(info)?;
                if wanted.format != SmsFormat::PDU {
                    return Err(Status::SMS_FORMAT_NOT_SUPPORTED);
                }
                if !wanted.sc_address.is_empty() {
                    self.centre = Some(wanted.sc_address);
                }
                Outcome::of(&self.configuration())
            }
            (sms::READ, CommandKind::QUERY) => Outcome::of(&read(&decode(info)?, context)?),
            (sms::SEND, CommandKind::SET) => Outcome::of(&self.send(&decode(info)?, context)?),
            (sms::DELETE, CommandKind::SET) => {
                delete(&decode(info)?, context)?;
                self.full = false;
                Outcome::default()
            }
            (sms::MESSAGE_STORE_STATUS, CommandKind::QUERY) => {
                Outcome::of(&self.store_status(None))
            }
            _ => return Err(Status::NO_DEVICE_SUPPORT),
        })
    }

    /// Returns the indications owed since the last call: command and information buffer.
    pub(super) fn take_news(&mut self, knobs: &Knobs) -> Vec<(CidId, Vec<u8>)> {
        let arrived = std::mem::take(&mut self.arrived);
        arrived
            .into_iter()
            .map(|place| {
                let place = if knobs.sms_index_one { 1 } else { place };
                let status = self.store_status(Some(place));
                (sms::MESSAGE_STORE_STATUS, status.encode_info())
            })
            .collect()
    }

    fn configuration(&self) -> Configuration {
        Configuration {
            sms_storage_state: SmsStorageState::INITIALIZED,
            format: SmsFormat::PDU,
            max_messages: MESSAGES,
            cdma_short_message_size: 0,
            sc_address: self.centre.clone().unwrap_or_else(|| CENTRE.to_owned()),
        }
    }

    fn store_status(&self, new: Option<u32>) -> MessageStoreStatus {
        let mut flag = SmsStatusFlag::NONE;
        if self.full {
            flag |= SmsStatusFlag::MESSAGE_STORE_FULL;
        }
        if new.is_some() {
            flag |= SmsStatusFlag::NEW_MESSAGE;
        }
        MessageStoreStatus {
            flag,
            message_index: new.unwrap_or(0),
        }
    }

    fn send(
        &mut self,
        wanted: &SendSet,
        context: &mut MbimContext<'_>,
    ) -> Result<SendInfo, Status> {
        let pdu = match (&wanted.format, &wanted.pdu_message) {
            (&SmsFormat::PDU, Some(message)) => &message.pdu_data,
            _ => return Err(Status::SMS_FORMAT_NOT_SUPPORTED),
        };
        let message = Message::decode(pdu).map_err(|_| Status::INVALID_PARAMETERS)?;
        if message.kind != MessageKind::Submit {
            return Err(Status::INVALID_PARAMETERS);
        }
        if !context.firmware.registered().is_on() {
            return Err(Status::NOT_REGISTERED);
        }
        self.sent = self.sent.wrapping_add(1);
        if message.peer.text() == OWN_NUMBER {
            let arrived = card::deliver(pdu, &message.peer);
            self.arrive(arrived, context);
        }
        // TP-SRR, in the first octet after the message centre's address (3GPP TS 23.040, 9.2.3.5).
        const STATUS_REPORT_REQUEST: u8 = 0x20;
        let head = pdu.get(1 + usize::from(pdu[0])).copied().unwrap_or(0);
        if head & STATUS_REPORT_REQUEST != 0 {
            self.arrive(card::report(self.sent, &message.peer), context);
        }
        Ok(SendInfo {
            message_reference: self.sent.into(),
        })
    }

    /// Puts a message that came in into the store, if there is one.
    fn arrive(&mut self, pdu: Option<Vec<u8>>, context: &mut MbimContext<'_>) {
        let Some(pdu) = pdu else { return };
        let stored = context.firmware.persistent.card.store(SmsStatus::NEW, pdu);
        match stored {
            Some(place) => self.arrived.push(place),
            None => self.full = true,
        }
    }
}

/// Whether a flag of READ or DELETE means the message in that place.
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

/// Checks that the flag is one of the service, and that an index means a message.
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

/// READ query.
fn read(wanted: &ReadQuery, context: &mut MbimContext<'_>) -> Result<ReadInfo, Status> {
    if wanted.format != SmsFormat::PDU {
        return Err(Status::SMS_FORMAT_NOT_SUPPORTED);
    }
    check(wanted.flag, wanted.message_index, context)?;
    let mut info = ReadInfo::default();
    for (place, (status, pdu)) in &mut context.firmware.persistent.card.messages {
        if !meant(wanted.flag, wanted.message_index, *place, *status) {
            continue;
        }
        info.pdu_messages.push(SmsPduReadRecord {
            message_index: *place,
            message_status: *status,
            pdu_data: pdu.clone(),
        });
        // A message that has been read is new no more.
        if *status == SmsStatus::NEW {
            *status = SmsStatus::OLD;
        }
    }
    Ok(info)
}

/// DELETE set.
fn delete(wanted: &DeleteSet, context: &mut MbimContext<'_>) -> Result<(), Status> {
    check(wanted.flag, wanted.message_index, context)?;
    context
        .firmware
        .persistent
        .card
        .messages
        .retain(|place, (status, _)| !meant(wanted.flag, wanted.message_index, *place, *status));
    Ok(())
}
