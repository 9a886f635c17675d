//! Finds where the personal content of a control message lies in its bytes.

use std::ops::Range;

use byteorder::{ByteOrder, LittleEndian};

use crate::fields::{Field, Kind, PersonalPart, Reader};
use crate::message::{COMMAND_HEADER, CommandKind, INDICATION_HEADER, MessageType};
use crate::registry::{self, Part, Version};
use crate::uuid::Uuid;

/// Names of the fields that are secrets, which only the SIM or the network may learn.
const CREDENTIALS: [&str; 4] = ["pin", "new_pin", "password", "local_pin"];

/// Names of the fields that carry a message of another protocol or an APDU, which may hold a
/// secret.
const TUNNELS: [&str; 4] = ["command", "command_req", "qmi_msg", "qmux"];

/// Returns whether a field of this name is a PIN, a PUK or a password.
#[must_use]
pub fn is_credential(field: &str) -> bool {
    CREDENTIALS.contains(&field)
}

fn is_secret(field: &str) -> bool {
    is_credential(field) || TUNNELS.contains(&field)
}

/// Names of fields that are not personal, but that say where somebody is or who answers, or whose
/// content cannot be judged: places in the network, challenges, and bytes that only a vendor or
/// another protocol defines.
const IDENTIFYING: [&str; 27] = [
    "location_area_code",
    "tracking_area_code",
    "lac",
    "tac",
    "cell_id",
    "physical_cell_id",
    "cell_parameter_id",
    "base_station_id",
    "base_latitude",
    "base_longitude",
    "timing_advance",
    "rand",
    "autn",
    "auts",
    "rand1",
    "rand2",
    "rand3",
    "pco_data_buffer",
    "unnamed_ies",
    "packet_filter",
    "packet_mask",
    "buffer",
    "data_buffer",
    "data",
    "timestamp",
    "terminal_capability_data",
    "network_name",
];

/// The personal content of one message, or of the first fragment of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalContent {
    /// Range of each personal value, in bytes from the start of the message.
    pub parts: Vec<PersonalPart>,
    /// Offset in bytes behind the fixed fields, where texts and other values of any length begin.
    pub variable: usize,
    /// Whether some field of the layout is a secret, even one that the message does not have.
    pub has_secrets: bool,
    /// Whether the whole message could be read, so that no value was missed.
    pub complete: bool,
    /// Ranges that belong to fields, in ascending order. Bytes between them are padding, or bytes
    /// that no layout accounts for. It is empty unless [`identifying_content`] was called.
    pub covered: Vec<Range<usize>>,
}

impl PersonalPart {
    /// Returns whether the value is a secret, or may hold one: a PIN, a PUK or a password.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        is_secret(self.field)
    }
}

/// Returns where the personal content of a message lies, or `None` when its layout is unknown.
#[must_use]
pub fn personal_content(message: &[u8], version: Version) -> Option<PersonalContent> {
    content(message, version, None)
}

/// Returns where everything lies that leads to a person: the personal content, addresses, places in
/// the network, and bytes whose meaning is not known. Returns `None` when the layout of the message
/// is unknown.
#[must_use]
pub fn identifying_content(message: &[u8], version: Version) -> Option<PersonalContent> {
    content(message, version, Some(identifies))
}

fn identifies(field: &Field) -> bool {
    let address = match &field.kind {
        Kind::Ipv4 | Kind::Ipv6 => true,
        Kind::At(of) | Kind::Packed { of, .. } => matches!(of, Kind::Ipv4 | Kind::Ipv6),
        _ => false,
    };
    field.personal || address || IDENTIFYING.contains(&field.name)
}

fn content(
    message: &[u8],
    version: Version,
    noted: Option<fn(&Field) -> bool>,
) -> Option<PersonalContent> {
    let word = |at: usize| message.get(at..at + 4).map(LittleEndian::read_u32);
    let kind = MessageType(word(0)?);
    let part = match kind {
        MessageType::COMMAND => CommandKind(word(40)?).into(),
        MessageType::COMMAND_DONE => Part::Done,
        MessageType::INDICATE_STATUS => Part::Notify,
        _ => return None,
    };
    let service = Uuid(message.get(20..36)?.try_into().ok()?);
    let start = if kind == MessageType::INDICATE_STATUS {
        INDICATION_HEADER
    } else {
        COMMAND_HEADER
    };
    let stated = word(start - 4)? as usize;
    let info = message.get(start..)?;
    let cid = registry::service(service)?.cid(word(36)?)?;
    let schema = cid.layout(part, version)?;
    let mut reader = Reader::with_limit(info, stated);
    if let Some(noted) = noted {
        reader = reader.noting(noted);
    }
    reader.read(schema);
    let mut covered: Vec<Range<usize>> = reader
        .covered()
        .iter()
        .map(|range| range.start + start..range.end + start)
        .collect();
    covered.sort_unstable_by_key(|range| range.start);
    let parts = reader.personal_parts().to_vec();
    let (_, lost) = reader.finish();
    Some(PersonalContent {
        parts: parts
            .into_iter()
            .map(|part| PersonalPart {
                range: part.range.start + start..part.range.end + start,
                ..part
            })
            .collect(),
        variable: start + schema.fixed_size().unwrap_or(0).min(info.len()),
        has_secrets: schema.fields.iter().any(|field| is_secret(field.name)),
        complete: lost.is_none() && stated <= info.len(),
        covered,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Body, Message};
    use crate::services::basic_connect as bc;

    fn pin(code: &str) -> Vec<u8> {
        let content = bc::PinSet {
            pin: code.to_owned(),
            new_pin: String::new(),
            ..bc::PinSet::default()
        };
        Message {
            transaction: 1,
            body: Body::Command {
                service: bc::UUID,
                cid: bc::PIN.cid,
                kind: CommandKind::SET,
                info: content.encode(),
            },
        }
        .encode_whole()
    }

    #[test]
    fn a_pin_is_found_where_it_lies() {
        let message = pin("1234");
        let content = personal_content(&message, Version::V1).unwrap();
        assert!(content.complete && content.has_secrets);
        let [part] = &content.parts[..] else {
            panic!("{content:?}")
        };
        assert!(part.is_secret());
        let text: Vec<u8> = "1234".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(message[part.range.clone()], text);
        assert!(content.variable <= part.range.start);
    }

    #[test]
    fn what_tunnels_and_apdus_carry_is_secret() {
        use crate::registry::CidId;
        use crate::services::{
            compal, fibocom, intel_at_tunnel, ms_uicc_low_level_access as uicc, qmi,
        };

        let apdu = uicc::ApduSet {
            command: b"AT+CPIN=1234".to_vec(),
            ..uicc::ApduSet::default()
        };
        let at = b"AT+CPIN=1234".to_vec();
        let qmi_cids = registry::service(qmi::UUID).unwrap().cids;
        let qmi_id = |number| CidId {
            service: qmi::UUID,
            cid: number,
        };
        let mut commands = vec![
            (compal::AT_COMMAND, CommandKind::QUERY, at.clone()),
            (fibocom::AT_COMMAND, CommandKind::SET, at.clone()),
            (intel_at_tunnel::AT_COMMAND, CommandKind::SET, at.clone()),
            (uicc::APDU, CommandKind::SET, apdu.encode()),
        ];
        let reaches = qmi_cids
            .iter()
            .filter(|cid| cid.layout(Part::Set, Version::V1).is_some());
        commands.extend(reaches.map(|cid| (qmi_id(cid.number), CommandKind::SET, at.clone())));
        assert!(commands.len() > 4);
        for (id, kind, info) in commands {
            let message = Message {
                transaction: 1,
                body: Body::Command {
                    service: id.service,
                    cid: id.cid,
                    kind,
                    info,
                },
            }
            .encode_whole();
            let content = personal_content(&message, Version::V1).unwrap();
            let secret = content.parts.iter().filter(|part| part.is_secret());
            let found: Vec<_> = secret.map(|part| &message[part.range.clone()]).collect();
            assert_eq!(found, [b"AT+CPIN=1234"], "{id}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_complete_answer() {
        let message = pin("1234");
        let content = personal_content(&message[..message.len() - 4], Version::V1).unwrap();
        assert!(!content.complete);
        assert_eq!(personal_content(&message[..30], Version::V1), None);
        assert_eq!(personal_content(&[], Version::V1), None);
    }
}
