//! SMS (MBIM 1.0 section 10.6): the card's store, and a network that delivers at once.
//!
//! A message to the card's own number comes back as a new one; one that asks for a report gets it.

use uwwan_mbim::fields::Layout;
use uwwan_mbim::gsm::{Address, Message, MessageKind};
use uwwan_mbim::message::CommandKind;
use uwwan_mbim::services::sms::{
    self, Configuration, ConfigurationSet, DeleteSet, MessageStoreStatus, ReadInfo, ReadQuery,
    SendInfo, SendSet, SmsFlag, SmsFormat, SmsPduReadRecord, SmsStatus, SmsStatusFlag,
    SmsStorageState,
};
use uwwan_mbim::status::Status;

use super::MbimContext;
use super::commands::{Outcome, decode, sim_open};
use crate::firmware::card::{self, CENTRE, MESSAGES, OWN_NUMBER};

/// The module's side of the service.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Set by the host; the card's otherwise.
    centre: Option<String>,
    sent: u8,
    /// Places of messages that have come in since the host was told.
    arrived: Vec<u32>,
    full: bool,
}

impl Messages {
    pub(super) fn answer(
        &mut self,
        cid: u32,
        kind: CommandKind,
        info: &[u8],
        context: &mut MbimContext<'_>,
    ) -> Result<Outcome, Status> {
        sim_open(context)?;
        Ok(match (cid, kind) {
            (1, CommandKind::QUERY) => Outcome::of(&self.configuration()),
            (1, CommandKind::SET) => {
                let wanted: ConfigurationSet = decode(info)?;
                if wanted.format != SmsFormat::PDU {
                    return Err(Status::SMS_FORMAT_NOT_SUPPORTED);
                }
                if !wanted.sc_address.is_empty() {
                    self.centre = Some(wanted.sc_address);
                }
                Outcome::of(&self.configuration())
            }
            (2, CommandKind::QUERY) => Outcome::of(&read(&decode(info)?, context)?),
            (3, CommandKind::SET) => Outcome::of(&self.send(&decode(info)?, context)?),
            (4, CommandKind::SET) => {
                delete(&decode(info)?, context)?;
                self.full = false;
                Outcome::default()
            }
            (5, CommandKind::QUERY) => Outcome::of(&self.store_status(None)),
            _ => return Err(Status::NO_DEVICE_SUPPORT),
        })
    }

    /// What the host is to be told of: (command, information buffer).
    pub(super) fn take_news(&mut self) -> Vec<(u32, Vec<u8>)> {
        let arrived = std::mem::take(&mut self.arrived);
        arrived
            .into_iter()
            .map(|place| {
                let status = self.store_status(Some(place));
                (sms::MESSAGE_STORE_STATUS.cid, status.encode_info())
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
        // The report is asked for in the first octet after the message centre's address.
        let head = pdu.get(1 + usize::from(pdu[0])).copied().unwrap_or(0);
        if head & 0x20 != 0 {
            self.arrive(report(self.sent, &message.peer), context);
        }
        Ok(SendInfo {
            message_reference: self.sent.into(),
        })
    }

    fn arrive(&mut self, pdu: Option<Vec<u8>>, context: &mut MbimContext<'_>) {
        let Some(pdu) = pdu else { return };
        let stored = context.firmware.persistent.card.store(SmsStatus::NEW, pdu);
        match stored {
            Some(place) => self.arrived.push(place),
            None => self.full = true,
        }
    }
}

fn report(reference: u8, to: &Address) -> Option<Vec<u8>> {
    card::report(reference, to)
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
        SmsFlag(0..=5) => Ok(()),
        _ => Err(Status::INVALID_PARAMETERS),
    }
}

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
        // Read is read.
        if *status == SmsStatus::NEW {
            *status = SmsStatus::OLD;
        }
    }
    Ok(info)
}

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
