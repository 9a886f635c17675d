//! Decoding of one control message into a tree.

use std::fmt::Write as _;

use byteorder::{ByteOrder, LittleEndian};
use serde_json::{Map, Value as Json, json};

use super::text;
use crate::fields::{FieldError, Reader, Record};
use crate::message::{
    COMMAND_HEADER, CommandKind, FRAGMENT_HEADER, HEADER, INDICATION_HEADER, MessageType,
};
use crate::print::{self, Personal};
use crate::registry::{self, Part, Service, Version};
use crate::status::{ProtocolError, Status};
use crate::uuid::Uuid;

/// Decoded message; parts that it does not have are `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Type of the message.
    pub kind: Option<MessageType>,
    /// Id of the transaction the message belongs to.
    pub transaction_id: Option<u32>,
    /// Total number of fragments and number of this one, counted from 0, for types that have them.
    pub fragment: Option<(u32, u32)>,
    /// UUID of the service.
    pub service: Option<Uuid>,
    /// CID of the command.
    pub cid: Option<u32>,
    /// Type of a command, query or set.
    pub command_type: Option<CommandKind>,
    /// Status of an answer.
    pub status: Option<Status>,
    /// Content of the message.
    pub content: Content,
    /// Problems found, with offsets in bytes from the start of the message.
    pub errors: Vec<FieldError>,
}

/// Content of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Content that is empty or cannot be read.
    Nothing,
    /// Largest control transfer in bytes, of OPEN.
    MaxControlTransfer(u32),
    /// Error code of HOST_ERROR or FUNCTION_ERROR.
    Error(ProtocolError),
    /// Information buffer of known layout.
    Fields(Record),
    /// Information buffer of unknown layout, or the bytes of a message of unknown type.
    Raw(Vec<u8>),
    /// Bytes of a later fragment, whose service stands in the first one.
    LaterFragment(Vec<u8>),
}

impl Decoded {
    const fn empty() -> Self {
        Self {
            kind: None,
            transaction_id: None,
            fragment: None,
            service: None,
            cid: None,
            command_type: None,
            status: None,
            content: Content::Nothing,
            errors: Vec::new(),
        }
    }

    pub(super) fn wrong(&mut self, offset: usize, what: impl Into<String>) {
        self.errors.push(FieldError {
            offset,
            what: what.into(),
            lost: true,
        });
    }
}

/// Decodes one message as far as possible.
///
/// `version` chooses between the layouts that MBIMEx changes. Bytes past the stated length count as
/// part of the message only where a reference inside points to them.
#[must_use]
pub fn decode(bytes: &[u8], version: Version) -> Decoded {
    let mut out = Decoded::empty();
    let word = |at: usize| bytes.get(at..at + 4).map(LittleEndian::read_u32);
    out.kind = word(0).map(MessageType);
    out.transaction_id = word(8);
    let (Some(kind), Some(length)) = (out.kind, word(4)) else {
        out.wrong(
            bytes.len(),
            format!(
                "the message ends inside its header: {} of {HEADER} bytes",
                bytes.len()
            ),
        );
        return out;
    };
    if out.transaction_id.is_none() {
        out.wrong(
            bytes.len(),
            format!(
                "the message ends inside its header: {} of {HEADER} bytes",
                bytes.len()
            ),
        );
        return out;
    }
    let stated = length as usize;
    if !kind.is_known() {
        out.wrong(0, format!("unknown message type {:#010x}", kind.0));
        out.content = Content::Raw(bytes[HEADER..].to_vec());
        return out;
    }
    let end = if stated < kind.minimum_length() {
        let need = kind.minimum_length();
        out.wrong(
            4,
            format!("message length {stated} is too short for its type: at least {need} bytes"),
        );
        bytes.len()
    } else {
        if stated > bytes.len() {
            out.wrong(
                4,
                format!(
                    "message length is {stated}, {} bytes are there",
                    bytes.len()
                ),
            );
        } else if stated < bytes.len() {
            let more = bytes.len() - stated;
            out.errors.push(FieldError {
                offset: stated,
                what: format!("{more} bytes after the end of the message"),
                lost: false,
            });
        }
        stated.min(bytes.len())
    };
    if kind.is_fragmented() {
        fragmented(&mut out, kind, bytes, end, version);
        return out;
    }
    if kind == MessageType::CLOSE {
        return out;
    }
    let Some(value) = word(HEADER) else {
        out.wrong(bytes.len(), "the message ends before its content");
        return out;
    };
    match kind {
        MessageType::OPEN => out.content = Content::MaxControlTransfer(value),
        MessageType::OPEN_DONE | MessageType::CLOSE_DONE => out.status = Some(Status(value)),
        _ => out.content = Content::Error(ProtocolError(value)),
    }
    out
}

fn fragmented(out: &mut Decoded, kind: MessageType, bytes: &[u8], end: usize, version: Version) {
    let word = |at: usize| bytes.get(at..at + 4).map(LittleEndian::read_u32);
    let (Some(total), Some(current)) = (word(12), word(16)) else {
        out.wrong(bytes.len(), "the message ends inside its fragment header");
        return;
    };
    out.fragment = Some((total, current));
    if total == 0 {
        out.wrong(12, "total number of fragments is 0");
    } else if current >= total {
        out.wrong(
            16,
            format!("fragment number {current} is not below the total of {total}"),
        );
    }
    if current > 0 {
        out.content =
            Content::LaterFragment(bytes[FRAGMENT_HEADER..end.max(FRAGMENT_HEADER)].to_vec());
        return;
    }
    out.service = bytes
        .get(20..36)
        .and_then(|uuid| uuid.try_into().ok())
        .map(Uuid);
    out.cid = word(36);
    let indication = kind == MessageType::INDICATE_STATUS;
    if !indication {
        match kind {
            MessageType::COMMAND => out.command_type = word(40).map(CommandKind),
            _ => out.status = word(40).map(Status),
        }
    }
    let info_at = if indication {
        INDICATION_HEADER
    } else {
        COMMAND_HEADER
    };
    let (Some(service), Some(cid), Some(stated)) = (out.service, out.cid, word(info_at - 4)) else {
        out.wrong(
            bytes.len(),
            format!("the message ends before its information buffer at {info_at}"),
        );
        return;
    };
    let there = end.saturating_sub(info_at);
    // The first of several fragments holds only the start of the information buffer.
    if stated as usize > there && total <= 1 {
        out.wrong(
            info_at - 4,
            format!("information buffer of {stated} bytes stated, {there} there"),
        );
    }
    let info = bytes.get(info_at..).unwrap_or(&[]);
    let limit = (stated as usize).min(there);
    if limit == 0 {
        return;
    }
    let part = match kind {
        MessageType::COMMAND => out.command_type.map_or(Part::Set, Part::from),
        MessageType::COMMAND_DONE => Part::Done,
        _ => Part::Notify,
    };
    let known = registry::service(service).and_then(|service| service.cid(cid));
    let Some(schema) = known.and_then(|cid| cid.layout(part, version)) else {
        out.content = Content::Raw(info[..limit].to_vec());
        return;
    };
    let mut reader = Reader::with_limit(info, limit);
    out.content = Content::Fields(reader.read(schema));
    let (errors, _) = reader.finish();
    out.errors
        .extend(errors.into_iter().map(|error| FieldError {
            offset: error.offset + info_at,
            ..error
        }));
}

impl Decoded {
    fn registered(&self) -> Option<&'static Service> {
        registry::service(self.service?)
    }

    /// Returns the name of the service, or its UUID when it is unknown.
    #[must_use]
    pub(crate) fn service_name(&self) -> Option<String> {
        let uuid = self.service?;
        Some(
            self.registered()
                .map_or_else(|| uuid.to_string(), |service| service.name.to_owned()),
        )
    }

    /// Returns the name of the command, if it is a known one.
    #[must_use]
    pub(crate) fn cid_name(&self) -> Option<&'static str> {
        Some(self.registered()?.cid(self.cid?)?.name)
    }

    /// Returns the tree as JSON in this form:
    ///
    /// ```text
    /// {"type", "transaction_id", "fragment": {"total", "current"}, "service", "cid",
    ///  "command_type"|"status", "fields": {…}, "errors": [{"offset", "what"}]}
    /// ```
    ///
    /// Names are in snake case; unknown services appear as UUID, unknown types, commands and codes
    /// as numbers. Parts that the message does not have are left out, but `fields` and `errors` are
    /// always present.
    #[must_use]
    pub fn json(&self, personal: Personal) -> Json {
        let mut object = Map::new();
        let mut put = |key: &str, value: Json| {
            object.insert(key.to_owned(), value);
        };
        let code = |names: &crate::names::Names, value: u32| {
            names
                .name_of(u64::from(value))
                .map_or(json!(value), |name| json!(name))
        };
        put(
            "type",
            self.kind
                .map_or(Json::Null, |kind| code(MessageType::NAMES, kind.0)),
        );
        put("transaction_id", json!(self.transaction_id));
        if let Some((total, current)) = self.fragment {
            put("fragment", json!({"total": total, "current": current}));
        }
        if let Some(service) = self.service_name() {
            put("service", json!(service));
        }
        if let Some(cid) = self.cid {
            put(
                "cid",
                self.cid_name().map_or(json!(cid), |name| json!(name)),
            );
        }
        if let Some(kind) = self.command_type {
            put("command_type", code(CommandKind::NAMES, kind.0));
        }
        if let Some(status) = self.status {
            put("status", code(Status::NAMES, status.0));
        }
        let fields = match &self.content {
            Content::Nothing => json!({}),
            Content::MaxControlTransfer(size) => json!({"max_control_transfer": size}),
            Content::Error(error) => json!({"error": code(ProtocolError::NAMES, error.0)}),
            Content::Fields(record) => print::record_json(record, personal),
            Content::Raw(bytes) => json!({"data": print::hex(bytes)}),
            Content::LaterFragment(_) if personal == Personal::Hide => {
                json!({"data": print::HIDDEN})
            }
            Content::LaterFragment(bytes) => json!({"data": print::hex(bytes)}),
        };
        put("fields", fields);
        put("errors", json!(self.errors));
        Json::Object(object)
    }

    /// Returns the tree as lines for people, with the status explained.
    #[must_use]
    pub fn text(&self, personal: Personal) -> String {
        let mut out = String::new();
        let kind = self
            .kind
            .map_or_else(|| "(no type)".to_owned(), |kind| kind.to_string());
        let _ = write!(out, "{kind}");
        if let Some(id) = self.transaction_id {
            let _ = write!(out, ", transaction {id}");
        }
        if let Some((total, current)) = self.fragment.filter(|(total, _)| *total != 1) {
            let _ = write!(out, ", fragment {current} of {total}");
        }
        out.push('\n');
        if let Some(uuid) = self.service {
            match self.registered() {
                Some(service) => {
                    let _ = writeln!(out, "  service: {} ({uuid})", service.name);
                }
                None => {
                    let _ = writeln!(out, "  service: {uuid} (unknown)");
                }
            }
        }
        if let Some(cid) = self.cid {
            let _ = writeln!(
                out,
                "  cid: {} ({cid})",
                self.cid_name().unwrap_or("unknown")
            );
        }
        if let Some(kind) = self.command_type {
            let _ = writeln!(out, "  command type: {kind}");
        }
        if let Some(status) = self.status {
            let _ = writeln!(out, "  status: {status} ({})", status.explanation());
        }
        match &self.content {
            Content::Nothing => {}
            Content::MaxControlTransfer(size) => {
                let _ = writeln!(out, "  max control transfer: {size}");
            }
            Content::Error(error) => {
                let _ = writeln!(out, "  error: {error} ({})", error.explanation());
            }
            Content::Fields(record) => {
                out.push_str("  fields:\n");
                text::record_text(&mut out, record, personal, 4);
            }
            Content::Raw(bytes) => {
                let _ = writeln!(out, "  data: {}", print::hex(bytes));
            }
            Content::LaterFragment(bytes) if personal == Personal::Hide => {
                let _ = writeln!(out, "  data: {} bytes {}", bytes.len(), print::HIDDEN);
            }
            Content::LaterFragment(bytes) => {
                let _ = writeln!(out, "  data: {}", print::hex(bytes));
            }
        }
        if !self.errors.is_empty() {
            out.push_str("  errors:\n");
            text::errors_text(&mut out, &self.errors, 4);
        }
        out
    }
}

/// Serializes the tree as [`Decoded::json`] returns it, with personal content hidden.
impl serde::Serialize for Decoded {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json(Personal::Hide).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Body, Message};
    use crate::services::basic_connect as bc;

    fn encode(body: Body) -> Vec<u8> {
        Message {
            transaction: 7,
            body,
        }
        .encode_whole()
    }

    #[test]
    fn the_tree_has_the_documented_form() {
        let info = bc::RadioStateSet {
            radio_state: bc::RadioSwitchState::ON,
        }
        .encode();
        let bytes = encode(Body::Command {
            service: bc::UUID,
            cid: 3,
            kind: CommandKind::SET,
            info,
        });
        let expected = json!({
            "type": "command", "transaction_id": 7, "fragment": {"total": 1, "current": 0},
            "service": "basic_connect", "cid": "radio_state", "command_type": "set",
            "fields": {"radio_state": "on"}, "errors": [],
        });
        assert_eq!(
            serde_json::to_value(decode(&bytes, Version::V1)).unwrap(),
            expected
        );
    }

    #[test]
    fn unknown_services_keep_uuid_number_and_bytes() {
        let service = Uuid([0x11; 16]);
        let bytes = encode(Body::CommandDone {
            service,
            cid: 99,
            status: Status(9),
            info: vec![1, 2, 3],
        });
        let json = decode(&bytes, Version::V1).json(Personal::Hide);
        assert_eq!(json["service"], "11111111-1111-1111-1111-111111111111");
        assert_eq!(
            (&json["cid"], &json["status"]),
            (&json!(99), &json!("no_device_support"))
        );
        assert_eq!(json["fields"], json!({"data": "010203"}));
    }

    #[test]
    fn every_prefix_of_a_message_decodes_with_an_error() {
        let caps = bc::DeviceCaps {
            hardware_info: "CP1E367UM".to_owned(),
            ..bc::DeviceCaps::default()
        };
        let bytes = encode(Body::CommandDone {
            service: bc::UUID,
            cid: 1,
            status: Status::NONE,
            info: caps.encode(),
        });
        let mut seen = 0;
        for cut in 0..bytes.len() {
            let decoded = decode(&bytes[..cut], Version::V1);
            assert!(!decoded.errors.is_empty(), "cut to {cut}");
            assert!(
                decoded
                    .errors
                    .iter()
                    .all(|error| error.offset <= cut.max(48 + 56)),
                "{:?}",
                decoded.errors
            );
            let fields = match &decoded.content {
                Content::Fields(record) => record.values.iter().flatten().count(),
                _ => 0,
            };
            assert!(fields >= seen, "fewer fields from more bytes");
            seen = fields;
        }
        assert_eq!(decode(&bytes, Version::V1).errors, []);
    }

    #[test]
    fn texts_name_what_the_numbers_mean() {
        let bytes = encode(Body::CommandDone {
            service: bc::UUID,
            cid: 12,
            status: Status::NO_DEVICE_SUPPORT,
            info: bc::ConnectInfo {
                context_type: bc::context_type::INTERNET,
                ..bc::ConnectInfo::default()
            }
            .encode(),
        });
        let text = decode(&bytes, Version::V1).text(Personal::Hide);
        for part in [
            "status: no_device_support (the modem",
            "cid: connect (12)",
            "(internet)",
            "nw_error: none",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
