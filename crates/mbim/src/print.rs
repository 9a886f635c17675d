//! Values for people and as JSON: names instead of numbers, control characters escaped, personal
//! content hidden unless asked for.

use std::fmt::Write as _;
use std::io;

use serde_json::{Map, Value as Json, json};

use crate::fields::{Field, FieldError, Kind, Layout, Reader, Record, Tlv, TlvType, Value};
use crate::registry;
use crate::services::basic_connect::context_type_name;
use crate::services::ms_basic_connect_extensions::{WakeCommand, WakePacket};
use crate::uuid::Uuid;

/// Text in the place of hidden content.
pub const HIDDEN: &str = "<hidden>";

/// Whether to print what identifies or belongs to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Personal {
    /// Personal content is hidden: [`HIDDEN`] is printed instead.
    #[default]
    Hide,
    /// Personal content is printed.
    Show,
}

/// Whether a character can change how text around it is shown: controls, line separators, and the
/// invisible characters that steer direction.
const fn is_unsafe(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Makes text from a device safe for a terminal: characters that could steer it become escapes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            c if is_unsafe(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// Returns JSON on one line with everything escaped that [`escape`] would escape.
#[must_use]
pub fn json_line(value: &Json) -> String {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Careful);
    // Writing to memory cannot fail, and the value is JSON already.
    if serde::Serialize::serialize(value, &mut serializer).is_err() {
        return String::from("null");
    }
    String::from_utf8(out).unwrap_or_default()
}

struct Careful;

impl serde_json::ser::Formatter for Careful {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            // All of them are in the basic multilingual plane: one escape each.
            write!(writer, "{}\\u{:04x}", &rest[..at], u32::from(c))?;
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// A structure as JSON, fields in their order; what could not be read is left out.
#[must_use]
pub fn record_json(record: &Record, personal: Personal) -> Json {
    let fields = record.iter().filter_map(|(field, value)| {
        let value = value?;
        (field.condition.is_none() || *value != Value::Absent).then(|| {
            (
                field.name.to_owned(),
                value_json(field, &field.kind, value, personal),
            )
        })
    });
    Json::Object(fields.collect::<Map<_, _>>())
}

fn value_json(field: &Field, kind: &Kind, value: &Value, personal: Personal) -> Json {
    let hide = field.personal && personal == Personal::Hide;
    match value {
        Value::Absent => Json::Null,
        Value::List(list) => list
            .iter()
            .map(|value| value_json(field, element_of(kind), value, personal))
            .collect(),
        Value::Text(text) if text.is_empty() => json!(text),
        Value::Bytes(bytes) if bytes.is_empty() => json!(""),
        Value::Struct(record) => record_json(record, personal),
        _ if hide => json!(HIDDEN),
        Value::Unsigned(number) => number_json(kind, *number),
        Value::Signed(number) => json!(number),
        Value::Uuid(uuid) => json!(uuid.to_string()),
        Value::Ipv4(address) => json!(address.to_string()),
        Value::Ipv6(address) => json!(address.to_string()),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => json!(hex(bytes)),
        Value::Tlv(tlv) => tlv_json(tlv, personal),
    }
}

/// The kind of the elements of a list, by which they are printed.
const fn element_of(kind: &Kind) -> &Kind {
    match kind {
        Kind::Refs { of, .. }
        | Kind::Packed { of, .. }
        | Kind::Listed { of, .. }
        | Kind::At(of) => of,
        kind => kind,
    }
}

fn number_json(kind: &Kind, number: u64) -> Json {
    match kind {
        Kind::Bool => json!(number != 0),
        Kind::Named { names, .. } if names.flags => {
            let (mut list, rest) = names.bits_of(number);
            if rest != 0 {
                list.push(format!("{rest:#x}"));
            }
            json!(list)
        }
        Kind::Named { names, .. } => names
            .name_of(number)
            .map_or(json!(number), |name| json!(name)),
        _ => json!(number),
    }
}

fn tlv_json(tlv: &Tlv, personal: Personal) -> Json {
    let mut object = Map::new();
    object.insert("type".to_owned(), json!(tlv.kind.to_string()));
    let schema = match tlv.kind {
        TlvType::WAKE_COMMAND => Some(WakeCommand::SCHEMA),
        TlvType::WAKE_PACKET => Some(WakePacket::SCHEMA),
        _ => None,
    };
    if let Some(text) = tlv.as_text() {
        object.insert("text".to_owned(), json!(text));
    } else if let Some(schema) = schema {
        let record = Reader::new(&tlv.data).read(schema);
        object.insert("fields".to_owned(), record_json(&record, personal));
    } else {
        object.insert("data".to_owned(), json!(hex(&tlv.data)));
    }
    Json::Object(object)
}

/// Returns the name of what a UUID stands for, if it is a known one.
fn uuid_meaning(uuid: Uuid) -> Option<&'static str> {
    registry::service(uuid)
        .map(|service| service.name)
        .or_else(|| context_type_name(uuid))
}

/// Appends a structure as indented lines, `name: value` each.
pub fn record_text(out: &mut String, record: &Record, personal: Personal, indent: usize) {
    for (field, value) in record.iter() {
        let Some(value) = value else { continue };
        if field.condition.is_some() && *value == Value::Absent {
            continue;
        }
        let _ = write!(out, "{:indent$}{}:", "", field.name);
        value_text(out, field, &field.kind, value, personal, indent);
    }
}

fn value_text(
    out: &mut String,
    field: &Field,
    kind: &Kind,
    value: &Value,
    personal: Personal,
    indent: usize,
) {
    match value {
        Value::Struct(record) => {
            out.push('\n');
            record_text(out, record, personal, indent + 2);
        }
        Value::List(list) if list.is_empty() => out.push_str(" (none)\n"),
        Value::List(list)
            if list
                .iter()
                .any(|value| matches!(value, Value::Struct(_) | Value::Tlv(_))) =>
        {
            out.push('\n');
            for (index, value) in list.iter().enumerate() {
                let _ = write!(out, "{:1$}[{index}]", "", indent + 2);
                value_text(out, field, element_of(kind), value, personal, indent + 2);
            }
        }
        Value::List(list) => {
            let parts: Vec<_> = list
                .iter()
                .map(|value| scalar(field, element_of(kind), value, personal))
                .collect();
            let _ = writeln!(out, " {}", parts.join(", "));
        }
        value => {
            let _ = writeln!(out, " {}", scalar(field, kind, value, personal));
        }
    }
}

fn scalar(field: &Field, kind: &Kind, value: &Value, personal: Personal) -> String {
    let empty = matches!(value, Value::Text(text) if text.is_empty()) || value.is_empty();
    if field.personal && personal == Personal::Hide && !empty && *value != Value::Absent {
        return HIDDEN.to_owned();
    }
    match value {
        Value::Absent => "(none)".to_owned(),
        Value::Unsigned(number) => match kind {
            Kind::Named { names, .. } => names.text_of(*number),
            Kind::Bool => (*number != 0).to_string(),
            _ => number.to_string(),
        },
        Value::Signed(number) => number.to_string(),
        Value::Uuid(uuid) => match uuid_meaning(*uuid) {
            Some(meaning) => format!("{uuid} ({meaning})"),
            None => uuid.to_string(),
        },
        Value::Ipv4(address) => address.to_string(),
        Value::Ipv6(address) => address.to_string(),
        Value::Text(text) => format!("\"{}\"", escape(text).replace('"', "\\\"")),
        Value::Bytes(bytes) if bytes.is_empty() => "(none)".to_owned(),
        Value::Bytes(bytes) => hex(bytes),
        Value::Tlv(tlv) => json_line(&tlv_json(tlv, personal)),
        Value::List(_) | Value::Struct(_) => String::new(),
    }
}

/// Appends problems as indented lines.
pub fn errors_text(out: &mut String, errors: &[FieldError], indent: usize) {
    for error in errors {
        let _ = writeln!(
            out,
            "{:indent$}offset {}: {}",
            "",
            error.offset,
            escape(&error.what)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::basic_connect::{DataClass, DeviceCaps, DeviceType};

    #[test]
    fn steering_characters_are_escaped() {
        assert_eq!(
            escape("a\x1b[2Jb\\\u{9b}\u{202e}é\r\n"),
            "a\\u{1b}[2Jb\\\\\\u{9b}\\u{202e}é\\r\\n"
        );
        assert_eq!(
            json_line(&json!({"a": "x\u{9b}y\u{202e}\x1b"})),
            r#"{"a":"x\u009by\u202e\u001b"}"#
        );
    }

    #[test]
    fn personal_fields_are_hidden_by_default() {
        let caps = DeviceCaps {
            device_type: DeviceType::REMOVABLE,
            data_class: DataClass::LTE | DataClass(1 << 30),
            device_id: "353613048804622".to_owned(),
            firmware_info: "1\u{1b}2".to_owned(),
            ..DeviceCaps::default()
        };
        let shown = record_json(&caps.to_record(), Personal::Show);
        assert_eq!(shown["device_id"], "353613048804622");
        assert_eq!(shown["data_class"], json!(["lte", "0x40000000"]));
        let hidden = record_json(&caps.to_record(), Personal::Hide);
        assert_eq!(hidden["device_id"], HIDDEN);
        let mut text = String::new();
        record_text(&mut text, &caps.to_record(), Personal::Hide, 0);
        assert!(
            !text.contains("353613048804622") && text.contains("firmware_info: \"1\\u{1b}2\""),
            "{text}"
        );
        assert!(!format!("{caps:?}").contains("353613048804622"));
    }
}
