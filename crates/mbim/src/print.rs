//! Values as JSON, with names instead of numbers, control characters escaped, and personal content
//! hidden unless asked for.

use std::fmt::Write as _;
use std::io;

use serde_json::{Map, Value as Json, json};

use crate::fields::{Field, Kind, Reader, Record, Tlv, Value};

/// Text in the place of hidden content.
pub const HIDDEN: &str = "<hidden>";

/// Choice whether printers show what identifies or belongs to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Personal {
    /// Personal content is hidden: [`HIDDEN`] is printed instead.
    #[default]
    Hide,
    /// Personal content is printed.
    Show,
}

/// Returns whether a character can change how the text around it is shown: controls, line
/// separators, and the invisible characters that steer direction.
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
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, EscapedFormatter);
    // Writing to memory cannot fail, and the value is valid JSON already.
    if serde::Serialize::serialize(value, &mut serializer).is_err() {
        return String::from("null");
    }
    String::from_utf8(out).unwrap_or_default()
}

struct EscapedFormatter;

impl serde_json::ser::Formatter for EscapedFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            // All of these characters are in the basic multilingual plane, so each becomes one
            // escape.
            write!(writer, "{}\\u{:04x}", &rest[..at], u32::from(c))?;
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Returns bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// Writes the fields with personal content hidden.
impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields = record_json(self, Personal::Hide);
        write!(f, "{} {}", self.schema.name, json_line(&fields))
    }
}

/// Returns a structure as JSON, fields in their order. Fields that could not be read are left out.
#[must_use]
pub(crate) fn record_json(record: &Record, personal: Personal) -> Json {
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
        Value::Tlv(tlv) => tlv_json(field, tlv, personal),
    }
}

/// Returns the kind of the elements of a list, by which they are printed.
pub(crate) const fn element_of(kind: &Kind) -> &Kind {
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

/// Returns a TLV as JSON, with the fields of its content where `field` states the layout.
pub(crate) fn tlv_json(field: &Field, tlv: &Tlv, personal: Personal) -> Json {
    let mut object = Map::new();
    object.insert("type".to_owned(), json!(tlv.kind.to_string()));
    let content = field.contents.iter().find(|(kind, _)| *kind == tlv.kind.0);
    if let Some(text) = tlv.as_text() {
        object.insert("text".to_owned(), json!(text));
    } else if let Some((_, schema)) = content {
        let record = Reader::new(&tlv.data).read(schema);
        object.insert("fields".to_owned(), record_json(&record, personal));
    } else {
        object.insert("data".to_owned(), json!(hex(&tlv.data)));
    }
    Json::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Layout;
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
            ..DeviceCaps::default()
        };
        let shown = record_json(&caps.to_record(), Personal::Show);
        assert_eq!(shown["device_id"], "353613048804622");
        assert_eq!(shown["data_class"], json!(["lte", "0x40000000"]));
        let hidden = record_json(&caps.to_record(), Personal::Hide);
        assert_eq!(hidden["device_id"], HIDDEN);
        assert!(!format!("{caps:?}").contains("353613048804622"));
    }
}
