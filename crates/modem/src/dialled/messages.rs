//! Short messages as PDUs (3GPP TS 27.005).

use uwwan_at::dialogue::Command;
use uwwan_at::values::{Values, after};
use uwwan_mbim::services::sms::{
    self, Configuration, DeleteSet, MessageStoreStatus, ReadInfo, ReadQuery, SendInfo, SendSet,
    SmsFlag, SmsFormat, SmsPduReadRecord, SmsStatus, SmsStatusFlag, SmsStorageState,
};
use uwwan_mbim::status::Status;

use super::function::{Function, Refused};

/// Largest number of messages that one answer has.
const MOST_MESSAGES: usize = 255;

impl Function {
    pub(super) fn sms_configuration(&mut self) -> Result<Vec<u8>, Refused> {
        self.run("AT+CMGF=0")?;
        // `+CPMS: "SM",used,total,…`
        let most = self.run("AT+CPMS?").ok().and_then(|lines| {
            lines.iter().find_map(|line| {
                let mut values = Values::new(after(line, "+CPMS")?);
                values.nth(1);
                values.number::<u32>()
            })
        });
        let centre = self.run("AT+CSCA?").ok().and_then(|lines| {
            let line = lines.iter().find_map(|line| after(line, "+CSCA"))?;
            Some(Values::new(line).text().to_owned())
        });
        Ok(Configuration {
            sms_storage_state: SmsStorageState::INITIALIZED,
            format: SmsFormat::PDU,
            max_messages: most.unwrap_or(0),
            cdma_short_message_size: 0,
            sc_address: centre.unwrap_or_default(),
        }
        .encode())
    }

    pub(super) fn read_sms(&mut self, info: &[u8]) -> Result<Vec<u8>, Refused> {
        let query = ReadQuery::decode(info).map_err(|_| Status::INVALID_PARAMETERS)?;
        if query.format != SmsFormat::PDU {
            return Err(Status::SMS_FORMAT_NOT_SUPPORTED.into());
        }
        self.run("AT+CMGF=0")?;
        let (line, name) = match query.flag {
            SmsFlag::INDEX => (format!("AT+CMGR={}", query.message_index), "+CMGR"),
            flag => {
                let state = match flag {
                    SmsFlag::NEW => 0,
                    SmsFlag::OLD => 1,
                    SmsFlag::DRAFT => 2,
                    SmsFlag::SENT => 3,
                    _ => 4,
                };
                (format!("AT+CMGL={state}"), "+CMGL")
            }
        };
        let lines = self.run(&line)?;
        let mut messages = Vec::new();
        // The answer has a line about each message, with the PDU on the line behind it.
        for pair in lines
            .windows(2)
            .filter(|pair| after(&pair[0], name).is_some())
        {
            let Some(mut values) = after(&pair[0], name).map(Values::new) else {
                continue;
            };
            let index = match name {
                "+CMGL" => values.number(),
                _ => Some(query.message_index),
            };
            let state = values.number::<u8>();
            let (Some(index), Some(pdu)) = (index, bytes(&pair[1])) else {
                continue;
            };
            if messages.len() == MOST_MESSAGES {
                break;
            }
            messages.push(SmsPduReadRecord {
                message_index: index,
                message_status: match state {
                    Some(0) => SmsStatus::NEW,
                    Some(2) => SmsStatus::DRAFT,
                    Some(3) => SmsStatus::SENT,
                    _ => SmsStatus::OLD,
                },
                pdu_data: pdu,
            });
        }
        if query.flag == SmsFlag::INDEX && messages.is_empty() {
            return Err(Status::INVALID_MEMORY_INDEX.into());
        }
        Ok(ReadInfo {
            format: SmsFormat::PDU,
            pdu_messages: messages,
            cdma_messages: Vec::new(),
        }
        .encode())
    }

    pub(super) fn send_sms(&mut self, info: &[u8]) -> Result<Vec<u8>, Refused> {
        let invalid = Status::INVALID_PARAMETERS;
        let wanted = SendSet::decode(info).map_err(|_| invalid)?;
        let pdu = wanted.pdu_message.ok_or(Status::SMS_FORMAT_NOT_SUPPORTED)?;
        // The length leaves out the number of the message centre, which comes first.
        let centre = usize::from(*pdu.pdu_data.first().ok_or(invalid)?) + 1;
        let length = pdu.pdu_data.len().checked_sub(centre).ok_or(invalid)?;
        self.run("AT+CMGF=0")?;
        let command = Command::new(format!("AT+CMGS={length}"))
            .and_then(|command| command.with_text(hexadecimal(&pdu.pdu_data)))
            .map_err(|_| invalid)?;
        let lines = self.send(command)?;
        let reference = lines
            .iter()
            .find_map(|line| Values::new(after(line, "+CMGS")?).number());
        Ok(SendInfo {
            message_reference: reference.unwrap_or(0),
        }
        .encode())
    }

    pub(super) fn delete_sms(&mut self, info: &[u8]) -> Result<Vec<u8>, Refused> {
        let wanted = DeleteSet::decode(info).map_err(|_| Status::INVALID_PARAMETERS)?;
        self.run(&match wanted.flag {
            SmsFlag::INDEX => format!("AT+CMGD={}", wanted.message_index),
            SmsFlag::ALL => "AT+CMGD=1,4".to_owned(),
            SmsFlag::OLD => "AT+CMGD=1,1".to_owned(),
            SmsFlag::SENT => "AT+CMGD=1,2".to_owned(),
            _ => return Err(Status::NO_DEVICE_SUPPORT.into()),
        })?;
        Ok(Vec::new())
    }

    /// Handles `+CMTI`: the store, and the index of a message that came.
    pub(super) fn sms_came(&mut self, line: &str) {
        let index = after(line, "+CMTI").and_then(|text| {
            let mut values = Values::new(text);
            values.next();
            values.number()
        });
        if let Some(message_index) = index {
            let info = MessageStoreStatus {
                flag: SmsStatusFlag::NEW_MESSAGE,
                message_index,
            };
            self.indications
                .push_back((sms::MESSAGE_STORE_STATUS, info.encode()));
        }
    }
}

/// Returns bytes as they stand in an AT command.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Returns the bytes that stand in an answer; `None` for text that is none.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    // A sign is none, although a number may have one.
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.is_empty() || !text.len().is_multiple_of(2) || !digits {
        return None;
    }
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
