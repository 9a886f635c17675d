//! Writing of layouts: the fixed part comes first, then the variable data, each piece of which is
//! padded to four bytes.

use super::schema::{Field, Kind, Schema};
use super::value::{Record, Tlv, TlvType, Value};

/// Encodes a structure as an information buffer. Fields without a value become zero or empty, and
/// each count is the number of elements or bytes in the fields that it counts.
///
/// # Panics
/// Panics when a part is 4 GiB or larger, which no MBIM size field can state.
#[must_use]
pub fn write(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    structure(&mut out, record);
    out
}

fn word(value: usize) -> u32 {
    u32::try_from(value).expect("MBIM data below 4 GiB")
}

fn pad(out: &mut Vec<u8>, base: usize) {
    while !(out.len() - base).is_multiple_of(4) {
        out.push(0);
    }
}

/// Appends a structure with its variable data; offsets count from where it starts.
fn structure(out: &mut Vec<u8>, record: &Record) {
    let base = out.len();
    let size = fixed_part(record);
    out.resize(base + size, 0);
    fill(out, record, base, base);
}

/// Returns whether a field is present, by its condition.
fn applies(field: &Field, record: &Record) -> bool {
    field
        .condition
        .is_none_or(|condition| match record.get(condition.field) {
            Some(Value::Unsigned(value)) => *value == condition.equals,
            _ => condition.equals == 0,
        })
}

fn elements(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::List(list)) => list,
        _ => &[],
    }
}

fn bytes(value: Option<&Value>) -> &[u8] {
    match value {
        Some(Value::Bytes(bytes)) => bytes,
        _ => &[],
    }
}

fn text(value: Option<&Value>) -> Vec<u8> {
    match value {
        Some(Value::Text(text)) => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        _ => Vec::new(),
    }
}

/// Returns the size in bytes of the fixed part of a record.
fn fixed_part(record: &Record) -> usize {
    record
        .iter()
        .filter(|(field, _)| applies(field, record))
        .map(|(field, value)| in_place(&field.kind, value))
        .sum()
}

fn in_place(kind: &Kind, value: Option<&Value>) -> usize {
    match kind {
        Kind::Prefixed => 4 + bytes(value).len().next_multiple_of(4),
        Kind::Counted { .. } => bytes(value).len().next_multiple_of(4),
        Kind::Rest => bytes(value).len(),
        Kind::Refs { .. } => 8 * elements(value).len(),
        Kind::Listed { of, .. } => of.fixed_size().unwrap_or(4) * elements(value).len(),
        Kind::Inline(schema) => match value {
            Some(Value::Struct(record)) => fixed_part(record),
            _ => fixed_part(&Record::empty(schema)),
        },
        Kind::TlvText | Kind::TlvNumbers | Kind::Tlv => tlv(&as_tlv(kind, value)).len(),
        Kind::Tlvs => elements(value)
            .iter()
            .map(|value| tlv(&as_tlv(&Kind::Tlv, Some(value))).len())
            .sum(),
        kind => kind.fixed_size().unwrap_or(4),
    }
}

fn as_tlv(kind: &Kind, value: Option<&Value>) -> Tlv {
    match kind {
        Kind::TlvText => Tlv {
            kind: TlvType::WCHAR_STR,
            data: text(value),
        },
        Kind::TlvNumbers => {
            let numbers = elements(value).iter().filter_map(Value::unsigned);
            let data = numbers
                .flat_map(|number| number.to_le_bytes()[..2].to_vec())
                .collect();
            Tlv {
                kind: TlvType::UINT16_TBL,
                data,
            }
        }
        _ => match value {
            Some(Value::Tlv(tlv)) => tlv.clone(),
            _ => Tlv::default(),
        },
    }
}

fn tlv(tlv: &Tlv) -> Vec<u8> {
    let padding = tlv.data.len().next_multiple_of(4) - tlv.data.len();
    let mut out = Vec::with_capacity(8 + tlv.data.len() + padding);
    out.extend_from_slice(&tlv.kind.0.to_le_bytes());
    // The padding has at most 3 bytes.
    #[allow(clippy::cast_possible_truncation)]
    out.extend_from_slice(&[0, padding as u8]);
    out.extend_from_slice(&word(tlv.data.len()).to_le_bytes());
    out.extend_from_slice(&tlv.data);
    out.resize(out.len() + padding, 0);
    out
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

fn put_word(out: &mut [u8], at: usize, value: usize) {
    put(out, at, &word(value).to_le_bytes());
}

/// Appends variable data. Returns its offset from `base`, or 0 when it is empty.
fn append(out: &mut Vec<u8>, base: usize, data: &[u8]) -> usize {
    if data.is_empty() {
        return 0;
    }
    pad(out, base);
    let offset = out.len() - base;
    out.extend_from_slice(data);
    pad(out, base);
    offset
}

/// Fills the fixed part of `record`, which starts at `at`, and appends its variable data at the end
/// of `out`. Returns the offset at which the fixed part ends.
fn fill(out: &mut Vec<u8>, record: &Record, base: usize, mut at: usize) -> usize {
    for (field, value) in record.iter() {
        if !applies(field, record) {
            continue;
        }
        at = field_at(out, field, value, record, base, at);
    }
    at
}

fn field_at(
    out: &mut Vec<u8>,
    field: &Field,
    value: Option<&Value>,
    record: &Record,
    base: usize,
    at: usize,
) -> usize {
    match &field.kind {
        Kind::Count { of } => {
            // A value given for the count itself is used only where there is nothing to count.
            let counted = of.iter().filter_map(|name| record.get(name)?.len()).max();
            let stated = value
                .and_then(Value::unsigned)
                .and_then(|value| usize::try_from(value).ok());
            put_word(out, at, counted.or(stated).unwrap_or(0));
        }
        Kind::Text | Kind::Utf8 | Kind::Sized | Kind::SizedReversed => {
            let data = match (&field.kind, value) {
                (Kind::Text, value) => text(value),
                (Kind::Utf8, Some(Value::Text(text))) => text.as_bytes().to_vec(),
                (_, value) => bytes(value).to_vec(),
            };
            let offset = append(out, base, &data);
            let reversed = matches!(field.kind, Kind::SizedReversed);
            put_word(out, at + if reversed { 4 } else { 0 }, offset);
            put_word(out, at + if reversed { 0 } else { 4 }, data.len());
        }
        Kind::Pointed { count } => {
            // Fields that share a count have the length of the longest on the wire; the others are
            // filled with zeros.
            let shares =
                |other: &Field| matches!(other.kind, Kind::Pointed { count: of } if of == *count);
            let lengths = record
                .iter()
                .filter(|(other, _)| shares(other))
                .map(|(_, value)| bytes(value).len());
            let mut data = bytes(value).to_vec();
            data.resize(lengths.max().unwrap_or(0), 0);
            let offset = append(out, base, &data);
            put_word(out, at, offset);
        }
        Kind::Prefixed => {
            put_word(out, at, bytes(value).len());
            put(out, at + 4, bytes(value));
        }
        Kind::Counted { .. } | Kind::Rest => put(out, at, bytes(value)),
        Kind::Inline(schema) => {
            // Offsets inside the structure count from its own start, while its variable data joins
            // that of the structure around it.
            let empty;
            let inner = match value {
                Some(Value::Struct(inner)) => inner,
                _ => {
                    empty = Record::empty(schema);
                    &empty
                }
            };
            return fill(out, inner, at, at);
        }
        Kind::Refs { .. } => {
            for (index, element) in elements(value).iter().enumerate() {
                pad(out, base);
                let start = out.len();
                match element {
                    Value::Struct(inner) => structure(out, inner),
                    other => out.extend_from_slice(&text(Some(other))),
                }
                let size = out.len() - start;
                pad(out, base);
                put_word(
                    out,
                    at + 8 * index,
                    if size == 0 { 0 } else { start - base },
                );
                put_word(out, at + 8 * index + 4, size);
            }
        }
        Kind::Packed { of, .. } => {
            let data: Vec<u8> = elements(value)
                .iter()
                .flat_map(|element| element_bytes(of, element))
                .collect();
            let offset = append(out, base, &data);
            put_word(out, at, offset);
        }
        Kind::Listed { of, .. } => {
            let data: Vec<u8> = elements(value)
                .iter()
                .flat_map(|element| element_bytes(of, element))
                .collect();
            put(out, at, &data);
        }
        Kind::At(of) => {
            let data = match value {
                None | Some(Value::Absent) => Vec::new(),
                Some(value) => element_bytes(of, value),
            };
            let offset = append(out, base, &data);
            put_word(out, at, offset);
        }
        Kind::SizedStruct(_) => {
            if let Some(Value::Struct(inner)) = value {
                pad(out, base);
                let start = out.len();
                structure(out, inner);
                put_word(out, at, start - base);
                let size = out.len() - start;
                put_word(out, at + 4, size);
            }
        }
        Kind::SizedArray(schema) => sized_array(out, schema, elements(value), base, at),
        Kind::TlvText | Kind::TlvNumbers | Kind::Tlv => {
            put(out, at, &tlv(&as_tlv(&field.kind, value)));
        }
        Kind::Tlvs => {
            let data: Vec<u8> = elements(value)
                .iter()
                .flat_map(|value| tlv(&as_tlv(&Kind::Tlv, Some(value))))
                .collect();
            put(out, at, &data);
        }
        kind => {
            if let Some(value) = value {
                put(out, at, &element_bytes(kind, value));
            }
        }
    }
    at + in_place(&field.kind, value)
}

fn sized_array(out: &mut Vec<u8>, schema: &'static Schema, list: &[Value], base: usize, at: usize) {
    if list.is_empty() {
        return;
    }
    pad(out, base);
    let start = out.len();
    out.extend_from_slice(&word(list.len()).to_le_bytes());
    let size = schema.fixed_size().unwrap_or(4);
    out.resize(out.len() + size * list.len(), 0);
    for (index, element) in list.iter().enumerate() {
        if let Value::Struct(inner) = element {
            let place = start + 4 + index * size;
            fill(out, inner, place, place);
        }
    }
    put_word(out, at, start - base);
    let size = out.len() - start;
    put_word(out, at + 4, size);
}

/// Returns the bytes of an element of fixed size.
fn element_bytes(kind: &Kind, value: &Value) -> Vec<u8> {
    let size = kind.fixed_size().unwrap_or(0);
    let mut bytes = match value {
        Value::Unsigned(number) => number.to_le_bytes().to_vec(),
        Value::Signed(number) => number.to_le_bytes().to_vec(),
        Value::Uuid(uuid) => uuid.0.to_vec(),
        Value::Ipv4(address) => address.octets().to_vec(),
        Value::Ipv6(address) => address.octets().to_vec(),
        Value::Bytes(bytes) => bytes.clone(),
        Value::Struct(inner) => {
            let mut out = Vec::new();
            structure(&mut out, inner);
            out
        }
        Value::Absent | Value::Text(_) | Value::List(_) | Value::Tlv(_) => Vec::new(),
    };
    bytes.resize(size, 0);
    bytes
}
