//! Structures and problems as indented lines for people.

use std::fmt::Write as _;

use crate::fields::{Field, FieldError, Kind, Record, Value};
use crate::print::{HIDDEN, Personal, element_of, escape, hex, json_line, tlv_json};
use crate::registry;
use crate::services::basic_connect::context_type_name;
use crate::uuid::Uuid;

/// Returns the name of the service or context type that a UUID stands for, if it is a known one.
fn uuid_meaning(uuid: Uuid) -> Option<&'static str> {
    registry::service(uuid)
        .map(|service| service.name)
        .or_else(|| context_type_name(uuid))
}

/// Appends a structure as indented lines, `name: value` each.
pub(super) fn record_text(out: &mut String, record: &Record, personal: Personal, indent: usize) {
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
        Value::Tlv(tlv) => json_line(&tlv_json(field, tlv, personal)),
        Value::List(_) | Value::Struct(_) => String::new(),
    }
}

/// Appends problems as indented lines.
pub(super) fn errors_text(out: &mut String, errors: &[FieldError], indent: usize) {
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
    use crate::fields::Layout;
    use crate::services::basic_connect::DeviceCaps;

    #[test]
    fn personal_fields_are_hidden_and_steering_characters_escaped() {
        let caps = DeviceCaps {
            device_id: "353613048804622".to_owned(),
            firmware_info: "1\u{1b}2".to_owned(),
            ..DeviceCaps::default()
        };
        let mut text = String::new();
        record_text(&mut text, &caps.to_record(), Personal::Hide, 0);
        assert!(
            !text.contains("353613048804622") && text.contains("firmware_info: \"1\\u{1b}2\""),
            "{text}"
        );
    }
}
