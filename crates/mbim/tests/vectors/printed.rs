//! Comparison with the lines that libmbim prints for a message.

use uwwan_mbim::fields::{Field, Kind, Record, Tlv, Value};
use uwwan_mbim::print;

/// Converts a name such as `SimIccId` to the form `sim_icc_id`.
fn snake(camel: &str) -> String {
    let chars: Vec<char> = camel
        .replace("IPv", "Ipv")
        .replace("Nedeed", "Needed")
        .chars()
        .collect();
    let mut out = String::new();
    for (index, c) in chars.iter().enumerate() {
        let after_lower = index > 0 && !chars[index - 1].is_uppercase();
        let before_lower = chars.get(index + 1).is_some_and(|c| c.is_lowercase());
        if index > 0 && c.is_uppercase() && (after_lower || before_lower) {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// Panics unless the lines state what the record holds, field for field.
pub fn compare(record: &Record, lines: &[String]) {
    let mut lines = Lines { lines, at: 0 };
    structure(record, &mut lines, &[]);
    assert_eq!(lines.at, lines.lines.len(), "lines left over");
}

struct Lines<'a> {
    lines: &'a [String],
    at: usize,
}

impl<'a> Lines<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.lines.get(self.at).map(String::as_str)
    }

    fn next(&mut self) -> &'a str {
        let line = self.peek().expect("more lines");
        self.at += 1;
        line
    }
}

/// Reads `Name = …` lines up to one of the closing lines, which is consumed.
fn structure(record: &Record, lines: &mut Lines<'_>, closing: &[&str]) {
    let mut seen = Vec::new();
    while let Some(line) = lines.peek() {
        if closing.contains(&line) {
            lines.next();
            break;
        }
        lines.next();
        let (name, rest) = line
            .split_once(" =")
            .unwrap_or_else(|| panic!("not a field: {line}"));
        let name = snake(name);
        let index = record
            .schema
            .position(&name)
            .unwrap_or_else(|| panic!("no field {name} in {record:?}"));
        let value = record.values[index]
            .as_ref()
            .unwrap_or_else(|| panic!("{name} was not read"));
        field(
            &record.schema.fields[index],
            value,
            rest.trim_start(),
            lines,
        );
        seen.push(name);
    }
    if !seen.is_empty() {
        let missing: Vec<_> = record
            .schema
            .fields
            .iter()
            .filter(|field| !seen.iter().any(|s| s == field.name))
            .collect();
        assert!(missing.is_empty(), "libmbim does not have {missing:?}");
    }
}

fn field(field: &Field, value: &Value, rest: &str, lines: &mut Lines<'_>) {
    match rest {
        "" => assert!(matches!(value, Value::Absent), "{}: {value:?}", field.name),
        "'{" if lines.peek().is_some_and(|line| line.starts_with("tlv")) => {
            tlv(field, value, lines, &["}'"]);
        }
        "{" if lines.peek().is_some_and(|line| line.starts_with("tlv")) => {
            tlv(field, value, lines, &["}"]);
        }
        "'{" => {
            let Value::List(list) = value else {
                panic!("{}: no list: {value:?}", field.name)
            };
            for (index, element) in list.iter().enumerate() {
                assert_eq!(lines.next(), format!("[{index}] = {{"), "{}", field.name);
                let Value::Struct(record) = element else {
                    panic!("{}: {element:?}", field.name)
                };
                structure(record, lines, &["},"]);
            }
            assert_eq!(lines.next(), "}'", "{}", field.name);
        }
        "{" => match value {
            Value::Absent => assert_eq!(lines.next(), "}"),
            Value::Struct(record) => structure(record, lines, &["}"]),
            other => panic!("{}: no structure: {other:?}", field.name),
        },
        "'[" | "'[ {" => {
            let Value::List(list) = value else {
                panic!("{}: no list: {value:?}", field.name)
            };
            if rest == "'[" || list.is_empty() {
                assert!(list.is_empty(), "{}: {list:?}", field.name);
            }
            for element in list {
                tlv(field, element, lines, &["},{", "},"]);
            }
            assert_eq!(lines.next(), "]'", "{}", field.name);
        }
        quoted => {
            let mut printed = quoted
                .strip_prefix('\'')
                .unwrap_or_else(|| panic!("not quoted: {quoted}"))
                .to_owned();
            while !printed.ends_with('\'') {
                printed += "\r\n";
                printed += lines.next();
            }
            printed.pop();
            leaf(field, value, &printed);
        }
    }
}

/// Compares a TLV with what libmbim prints: its type, its data, and for some types the meaning.
fn tlv(field: &Field, value: &Value, lines: &mut Lines<'_>, closing: &[&str]) {
    let kind = lines
        .next()
        .strip_prefix("tlv type   = ")
        .expect("TLV type");
    let data = lines
        .next()
        .strip_prefix("tlv data   =")
        .expect("TLV data")
        .trim();
    let data = data.replace(':', "").to_lowercase();
    let mut meaning: Option<String> = None;
    while !closing.contains(&lines.peek().expect("end of TLV")) {
        let line = lines.next();
        meaning = Some(match meaning {
            None => line
                .split_once("=")
                .map_or(line, |(_, text)| text)
                .trim()
                .to_owned(),
            Some(text) => format!("{text}\r\n{line}"),
        });
    }
    lines.next();
    match value {
        Value::Tlv(Tlv {
            kind: found,
            data: bytes,
        }) => {
            let name = kind.split(' ').next().expect("name");
            assert_eq!(found.to_string().replace('_', "-"), name, "{}", field.name);
            assert_eq!(print::hex(bytes), data, "{}", field.name);
            if let Some(text) = value_text(value) {
                assert_eq!(Some(text), meaning, "{}", field.name);
            }
        }
        Value::Text(text) => assert_eq!(Some(text.clone()), meaning, "{}", field.name),
        Value::List(numbers) => {
            let numbers: Vec<_> = numbers
                .iter()
                .map(|n| n.unsigned().expect("number").to_string())
                .collect();
            assert_eq!(
                Some(format!("[{}]", numbers.join(","))),
                meaning,
                "{}",
                field.name
            );
        }
        other => panic!("{}: no TLV: {other:?}", field.name),
    }
}

fn value_text(value: &Value) -> Option<String> {
    match value {
        Value::Tlv(tlv) => tlv.as_text(),
        _ => None,
    }
}

fn leaf(field: &Field, value: &Value, printed: &str) {
    let candidates = spellings(&field.kind, value);
    assert!(
        candidates.iter().any(|text| text == printed),
        "{}: {candidates:?}, libmbim: {printed:?}",
        field.name
    );
}

/// Returns the ways in which libmbim may print a value.
fn spellings(kind: &Kind, value: &Value) -> Vec<String> {
    let empty = || vec![String::new(), "(null)".to_owned()];
    match value {
        Value::Absent => empty(),
        Value::Text(text) if text.is_empty() => empty(),
        Value::Text(text) => vec![text.clone()],
        Value::Bytes(bytes) => vec![
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<Vec<_>>()
                .join(":"),
        ],
        Value::Unsigned(number) => match kind {
            Kind::Named { names, .. } => {
                vec![names.text_of(*number).replace('_', "-"), number.to_string()]
            }
            Kind::Bool => vec![(*number != 0).to_string()],
            _ => vec![number.to_string()],
        },
        Value::Signed(number) => vec![number.to_string()],
        Value::Uuid(uuid) => vec![uuid.to_string()],
        Value::Ipv4(address) => vec![address.to_string()],
        Value::Ipv6(address) => vec![address.to_string()],
        Value::List(list) => {
            let of = match kind {
                Kind::Refs { of, .. } | Kind::Packed { of, .. } | Kind::Listed { of, .. } => of,
                kind => kind,
            };
            let parts: Vec<String> = list
                .iter()
                .flat_map(|value| spellings(of, value).into_iter().next())
                .collect();
            vec![parts.join(", "), parts.join(",")]
        }
        Value::Struct(_) | Value::Tlv(_) => Vec::new(),
    }
}
