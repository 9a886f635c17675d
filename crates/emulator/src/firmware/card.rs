//! Memory of the card and of the module that survives a restart: short messages, phonebook,
//! preferred operators, provisioned contexts.

use std::collections::BTreeMap;

use uwwan_mbim::gsm::{Address, Submit, Timestamp};
use uwwan_mbim::services::basic_connect::{
    AuthProtocol, Compression, ProvisionedContextElement, context_type,
};
use uwwan_mbim::services::sms::SmsStatus;

/// Number of messages that the store holds (MaxMessages of CONFIGURATION).
pub const MESSAGES: u32 = 255;
/// Number of entries that the phonebook holds.
pub const ENTRIES: u32 = 250;
/// Telephone number of the card.
pub const OWN_NUMBER: &str = "+4790000001";
/// Number of the message centre.
const CENTRE: &str = "+4790002100";

/// Content of the card and of the module's storage.
#[derive(Debug, Clone, Default)]
pub struct Card {
    /// Status and PDU of each short message, by its place, counted from 1.
    pub messages: BTreeMap<u32, (SmsStatus, Vec<u8>)>,
    /// Whether a message was lost for want of room and none has been deleted since.
    pub full: bool,
    /// Number of the message centre.
    pub centre: String,
    /// Number and name of each phonebook entry, by its place, counted from 1.
    pub phonebook: BTreeMap<u32, (String, String)>,
    /// PLMN and name of the operators preferred abroad, the most preferred one first.
    pub preferred: Vec<(String, String)>,
    /// Provisioned contexts by their number.
    pub contexts: BTreeMap<u32, ProvisionedContextElement>,
}

impl Card {
    /// Makes a card as its operator delivers it, or, when `used`, one that has been in use.
    #[must_use]
    pub fn new(used: bool) -> Self {
        let mut card = Self {
            centre: CENTRE.to_owned(),
            preferred: [
                ("24001", "Telia"),
                ("23801", "TDC"),
                ("26201", "Telekom.de"),
            ]
            .map(|(plmn, name)| (plmn.to_owned(), name.to_owned()))
            .into(),
            ..Self::default()
        };
        card.contexts.insert(
            1,
            ProvisionedContextElement {
                context_id: 1,
                context_type: context_type::INTERNET,
                access_string: "telenor.smart".to_owned(),
                compression: Compression::NONE,
                auth_protocol: AuthProtocol::NONE,
                ..ProvisionedContextElement::default()
            },
        );
        if used {
            card.fill();
        }
        card
    }

    /// Adds messages and phonebook entries to the card.
    fn fill(&mut self) {
        let entries = [
            ("+4790002100", "Message centre"),
            ("1300", "Førstelinje"),
            ("+4722334455", "Ola"),
        ];
        for (place, (number, name)) in (1..).zip(entries) {
            self.phonebook
                .insert(place, (number.to_owned(), name.to_owned()));
        }
        let long = "Welcome to Telenor. This text is longer than one message may be, so it comes in parts: \
                    each has a number, and the receiver puts them together in that order, whatever order they \
                    came in.";
        for (from, text, status) in [
            ("+4722334455", "See you at 8? {bring €5}", SmsStatus::OLD),
            ("+4722334455", "Привет, 世界 😀", SmsStatus::OLD),
            ("1300", long, SmsStatus::NEW),
        ] {
            for pdu in delivered(from, text) {
                self.store(status, pdu);
            }
        }
    }

    /// Returns a message by its place, and marks it as read.
    pub fn read(&mut self, place: u32) -> Option<(SmsStatus, Vec<u8>)> {
        let (status, pdu) = self.messages.get_mut(&place)?;
        let read = (*status, pdu.clone());
        if *status == SmsStatus::NEW {
            *status = SmsStatus::OLD;
        }
        Some(read)
    }

    /// Deletes the messages for which `meant`, given place and status, returns true.
    pub fn delete(&mut self, meant: impl Fn(u32, SmsStatus) -> bool) {
        self.messages
            .retain(|place, (status, _)| !meant(*place, *status));
        self.full = false;
    }

    /// Puts a message into the first free place and returns the place. Returns `None` when the
    /// store is full.
    pub fn store(&mut self, status: SmsStatus, pdu: Vec<u8>) -> Option<u32> {
        let place = (1..=MESSAGES).find(|place| !self.messages.contains_key(place));
        self.full = place.is_none();
        let place = place?;
        self.messages.insert(place, (status, pdu));
        Some(place)
    }
}

/// Returns the PDUs of a text as they are delivered: those of a sent text, with another beginning.
fn delivered(from: &str, text: &str) -> Vec<Vec<u8>> {
    let Ok(from) = from.parse::<Address>() else {
        return Vec::new();
    };
    let submit = Submit {
        to: &from,
        centre: None,
        text,
        reference: 0x2a,
        report: false,
        validity: None,
    };
    let pdus = submit.encode().unwrap_or_default();
    pdus.iter().filter_map(|pdu| deliver(pdu, &from)).collect()
}

/// Returns the PDU that the message centre delivers for a message that was sent (3GPP TS 23.040,
/// 9.2.2.1 and 9.2.2.2): the same text, from `from`. Returns `None` when the PDU is no message to
/// be sent.
#[must_use]
pub fn deliver(submit: &[u8], from: &Address) -> Option<Vec<u8>> {
    let (head, scheme, data) = parts(submit)?;
    let centre: Address = CENTRE.parse().ok()?;
    let mut pdu = centre.encode_centre();
    // The octet says SMS-DELIVER, no more messages to send, and whether a header stands before the
    // text.
    pdu.push(0x04 | head & 0x40);
    pdu.extend(from.encode());
    pdu.extend([0, scheme]);
    pdu.extend(TIME.encode());
    pdu.extend(data);
    Some(pdu)
}

/// Returns the report that a message has been delivered (3GPP TS 23.040, 9.2.2.3).
#[must_use]
pub fn report(reference: u8, to: &Address) -> Option<Vec<u8>> {
    let centre: Address = CENTRE.parse().ok()?;
    let mut pdu = centre.encode_centre();
    pdu.extend([0x06, reference]);
    pdu.extend(to.encode());
    pdu.extend(TIME.encode());
    pdu.extend(TIME.encode());
    pdu.push(0);
    Some(pdu)
}

/// Returns the first octet, the data coding scheme, and the length with the user data of a message to
/// be sent.
fn parts(submit: &[u8]) -> Option<(u8, u8, &[u8])> {
    let rest = submit.get(1 + usize::from(*submit.first()?)..)?;
    let head = *rest.first()?;
    if head & 3 != 1 {
        return None;
    }
    let address = usize::from(*rest.get(2)?).div_ceil(2);
    let rest = rest.get(4 + address..)?;
    let validity = match head >> 3 & 3 {
        0 => 0,
        2 => 1,
        _ => 7,
    };
    Some((head, *rest.get(1)?, rest.get(2 + validity..)?))
}

/// Time at which every message is delivered, because the emulated network has no calendar.
const TIME: Timestamp = Timestamp {
    year: 2018,
    month: 12,
    day: 1,
    hour: 13,
    minute: 37,
    second: 0,
    quarters: 4,
};

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_mbim::gsm::joined::join;
    use uwwan_mbim::gsm::{Message, MessageKind};

    #[test]
    fn a_used_card_has_messages_that_read() {
        let card = Card::new(true);
        let messages = card
            .messages
            .iter()
            .map(|(place, (_, pdu))| (*place, Message::decode(pdu).unwrap()));
        let joined = join(messages);
        let texts: Vec<&str> = joined
            .iter()
            .filter_map(|one| one.text.as_deref())
            .collect();
        assert_eq!(texts[..2], ["See you at 8? {bring €5}", "Привет, 世界 😀"]);
        assert!(texts[2].ends_with("came in.") && joined[2].keys.len() == 2);
        assert!(Card::new(false).messages.is_empty());
    }

    #[test]
    fn a_report_names_its_message() {
        let to: Address = "+4722334455".parse().unwrap();
        let report = Message::decode(&report(7, &to).unwrap()).unwrap();
        assert_eq!(report.kind, MessageKind::StatusReport);
        assert_eq!((report.reference, report.status), (Some(7), Some(0)));
        assert_eq!(report.peer, to);
    }

    #[test]
    fn only_messages_to_be_sent_are_delivered() {
        let to: Address = "+4722334455".parse().unwrap();
        for bytes in [
            &[][..],
            &[0],
            &[9, 1],
            &[0, 0x04, 0, 0],
            &[0, 0x01, 0, 40, 0x91, 1],
            &[0xff; 30],
        ] {
            assert_eq!(deliver(bytes, &to), None, "{bytes:?}");
        }
    }
}
