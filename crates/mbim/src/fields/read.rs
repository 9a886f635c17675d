//! Reading of layouts from untrusted bytes.
//!
//! Every offset and size is added in 64 bits and checked against the bytes present. Counts are
//! bounded by the room there is for their elements, and the sum of everything read by a multiple of
//! the buffer's size, so that references which overlap or nest cost no more than honest ones.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use byteorder::{ByteOrder, LittleEndian};

use super::schema::{Field, Kind, Schema};
use super::value::{Record, Tlv, TlvType, Value, utf8, utf16};
use crate::uuid::Uuid;

/// Largest number of problems recorded for one buffer; a last entry says that more follow.
const MOST_ERRORS: usize = 32;

/// Largest number of personal values noted for one buffer.
const MOST_PARTS: usize = 4096;

/// Problem found in a buffer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("offset {offset}: {what}")]
pub struct FieldError {
    /// Offset in bytes from the start of the buffer.
    pub offset: usize,
    /// Description of the problem.
    pub what: String,
    /// Whether the problem costs a value; otherwise the value is unusual but could be read.
    #[serde(skip)]
    pub lost: bool,
}

/// Reader of structures in one information buffer.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    limit: usize,
    budget: usize,
    errors: Vec<FieldError>,
    lost: Option<FieldError>,
    /// Predicate that chooses the fields whose values are noted.
    noted: fn(&Field) -> bool,
    /// Name of the noted field that is being read.
    personal: Option<&'static str>,
    parts: Vec<PersonalPart>,
    /// Ranges of the bytes that were read, where the caller asked for them.
    covered: Option<Vec<Range<usize>>>,
}

/// Place of a personal value in a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalPart {
    /// Name of the field.
    pub field: &'static str,
    /// Encoding of the value.
    pub encoding: Encoding,
    /// Offsets of the value in bytes. A reference is no part of it.
    pub range: Range<usize>,
}

/// Encoding of a value whose place is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-16LE text.
    Utf16,
    /// UTF-8 text.
    Utf8,
    /// Bytes of any meaning.
    Bytes,
    /// Little-endian number of any size.
    Number,
    /// IPv4 address in network byte order.
    Ipv4,
    /// IPv6 address in network byte order.
    Ipv6,
}

impl Encoding {
    /// Returns the encoding of the values of a kind, behind a reference or in place.
    const fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Text | Kind::TlvText | Kind::Refs { .. } => Self::Utf16,
            Kind::Utf8 => Self::Utf8,
            Kind::Ipv4 => Self::Ipv4,
            Kind::Ipv6 => Self::Ipv6,
            Kind::U16 | Kind::U32 | Kind::U64 | Kind::I32 | Kind::Bool | Kind::Named { .. } => {
                Self::Number
            }
            _ => Self::Bytes,
        }
    }
}

/// Error for a structure that ends before the field; the problem is already recorded.
struct Ended;

impl<'a> Reader<'a> {
    /// Makes a reader of an information buffer.
    #[must_use]
    pub fn new(info: &'a [u8]) -> Self {
        Self::with_limit(info, info.len())
    }

    /// Makes a reader of a buffer whose stated length is `limit` bytes, although `bytes` may hold
    /// more. Variable data past the stated end is read and recorded as odd, because some firmware
    /// states lengths that are too short for what it sends.
    #[must_use]
    pub(crate) fn with_limit(bytes: &'a [u8], limit: usize) -> Self {
        Self {
            bytes,
            limit: limit.min(bytes.len()),
            budget: bytes.len().saturating_mul(4).saturating_add(1024),
            errors: Vec::new(),
            lost: None,
            noted: |field| field.personal,
            personal: None,
            parts: Vec::new(),
            covered: None,
        }
    }

    /// Returns the reader set up to note the values of the fields that `noted` chooses, instead of
    /// the personal ones, and to note every range that it reads.
    #[must_use]
    pub(crate) fn noting(mut self, noted: fn(&Field) -> bool) -> Self {
        self.noted = noted;
        self.covered = Some(Vec::new());
        self
    }

    /// Returns the ranges that were read so far, if they are noted, in the order of reading.
    #[must_use]
    pub(crate) fn covered(&self) -> &[Range<usize>] {
        self.covered.as_deref().unwrap_or_default()
    }

    fn cover(&mut self, start: usize, stop: usize) {
        if start < stop
            && let Some(covered) = &mut self.covered
        {
            covered.push(start..stop);
        }
    }

    /// Reads the whole buffer as one structure.
    pub fn read(&mut self, schema: &'static Schema) -> Record {
        self.structure(schema, 0, self.limit).0
    }

    /// Returns where the personal values lie that have been read.
    #[must_use]
    pub(crate) fn personal_parts(&self) -> &[PersonalPart] {
        &self.parts
    }

    /// Notes where a value lies, if it is a personal one.
    fn note(&mut self, start: usize, stop: usize, kind: &Kind) {
        if let Some(field) = self.personal
            && start < stop
            && self.parts.len() < MOST_PARTS
        {
            self.parts.push(PersonalPart {
                field,
                encoding: Encoding::of(kind),
                range: start..stop,
            });
        }
    }

    /// Returns the problems that were recorded, and the first problem that cost a value.
    #[must_use]
    pub fn finish(self) -> (Vec<FieldError>, Option<FieldError>) {
        (self.errors, self.lost)
    }

    fn record(&mut self, offset: usize, what: String, lost: bool) {
        let error = FieldError { offset, what, lost };
        if lost && self.lost.is_none() {
            self.lost = Some(error.clone());
        }
        match self.errors.len() {
            n if n < MOST_ERRORS => self.errors.push(error),
            n if n == MOST_ERRORS => {
                let what = "more problems follow".to_owned();
                self.errors.push(FieldError { what, ..error });
            }
            _ => {}
        }
    }

    fn charge(&mut self, size: usize) -> bool {
        match self.budget.checked_sub(size) {
            Some(rest) => {
                self.budget = rest;
                true
            }
            None => false,
        }
    }

    /// Returns the `size` bytes in place at `at`, inside the structure that ends at `end`.
    fn place(&mut self, name: &str, at: usize, size: usize, end: usize) -> Result<&'a [u8], Ended> {
        let room = end.min(self.bytes.len()).saturating_sub(at);
        if room < size {
            self.record(
                at,
                format!("the buffer ends before `{name}`: {size} bytes needed, {room} there"),
                true,
            );
            return Err(Ended);
        }
        if !self.charge(size) {
            self.overlapping(at, name);
            return Err(Ended);
        }
        self.cover(at, at + size);
        Ok(&self.bytes[at..at + size])
    }

    fn overlapping(&mut self, at: usize, name: &str) {
        self.record(
            at,
            format!("`{name}`: references overlap, more data than the buffer holds"),
            true,
        );
    }

    /// Checks the reference at `at` to `size` bytes at `base + offset`. Returns the offsets of the
    /// start and the end of these bytes.
    fn reference(
        &mut self,
        name: &str,
        at: usize,
        base: usize,
        offset: u32,
        size: usize,
    ) -> Option<(usize, usize)> {
        let start = base as u64 + u64::from(offset);
        let stop = start + size as u64;
        if stop > self.bytes.len() as u64 {
            let have = self.bytes.len() - base;
            self.record(
                at,
                format!(
                    "`{name}`: offset {offset} and size {size} point outside the {have} bytes there"
                ),
                true,
            );
            return None;
        }
        if stop > self.limit as u64 {
            let limit = self.limit;
            self.record(
                at,
                format!("`{name}`: reaches past the stated end at {limit}"),
                false,
            );
        }
        // Both offsets are at most the length of a slice, so they fit a `usize`.
        Some((usize::try_from(start).ok()?, usize::try_from(stop).ok()?))
    }

    /// Returns the bytes behind a reference.
    fn data(
        &mut self,
        name: &str,
        at: usize,
        base: usize,
        offset: u32,
        size: u32,
        kind: &Kind,
    ) -> Option<&'a [u8]> {
        if size == 0 {
            return Some(&[]);
        }
        if offset == 0 {
            self.record(
                at,
                format!("`{name}`: {size} bytes at offset 0, taken as empty"),
                false,
            );
            return Some(&[]);
        }
        let (start, stop) = self.reference(name, at, base, offset, size as usize)?;
        if !self.charge(stop - start) {
            self.overlapping(at, name);
            return None;
        }
        self.cover(start, stop);
        self.note(start, stop, kind);
        Some(&self.bytes[start..stop])
    }

    /// Reads the structure that starts at `base` and ends at `end`. Returns it with the offset at
    /// which its fixed part ends.
    fn structure(&mut self, schema: &'static Schema, base: usize, end: usize) -> (Record, usize) {
        let mut record = Record::empty(schema);
        let mut at = base;
        for (index, field) in schema.fields.iter().enumerate() {
            if let Some(condition) = field.condition {
                let met = match record.get(condition.field) {
                    Some(Value::Unsigned(value)) => *value == condition.equals,
                    _ => false,
                };
                if !met {
                    record.values[index] = Some(Value::Absent);
                    continue;
                }
            }
            let outer = self.personal;
            self.personal = (self.noted)(field).then_some(field.name).or(outer);
            let read = self.field(field, &record, base, at, end);
            self.personal = outer;
            match read {
                Ok((value, next)) => {
                    let size = value.as_ref().and_then(encoded_size);
                    if let (Some(limit), Some(size)) = (field.limit, size)
                        && size > limit
                    {
                        let what =
                            format!("`{}`: {size} bytes, at most {limit} allowed", field.name);
                        self.record(at, what, false);
                    }
                    record.values[index] = value;
                    at = next;
                }
                Err(Ended) => break,
            }
        }
        (record, at)
    }

    /// Reads the field at `at`. Returns its value, which is `None` when it is unreadable but what
    /// follows may be read, and the offset of the next field.
    fn field(
        &mut self,
        field: &'static Field,
        record: &Record,
        base: usize,
        at: usize,
        end: usize,
    ) -> Result<(Option<Value>, usize), Ended> {
        let name = field.name;
        let count = |count: &str| match record.get(count) {
            Some(Value::Unsigned(value)) => usize::try_from(*value).unwrap_or(usize::MAX),
            _ => 0,
        };
        let word = LittleEndian::read_u32;
        let value = match &field.kind {
            Kind::Rest => {
                let stop = end.min(self.bytes.len()).max(at);
                let bytes = self.place(name, at, stop - at, stop)?.to_vec();
                self.note(at, stop, &field.kind);
                return Ok((Some(Value::Bytes(bytes)), stop));
            }
            Kind::Prefixed => {
                let size = word(self.place(name, at, 4, end)?) as usize;
                let room = end.saturating_sub(at + 4);
                if size > room {
                    let what = format!("`{name}`: {size} bytes stated, {room} there");
                    self.record(at, what, true);
                    return Err(Ended);
                }
                let bytes = self.place(name, at + 4, size, end)?.to_vec();
                self.note(at + 4, at + 4 + size, &field.kind);
                return Ok((
                    Some(Value::Bytes(bytes)),
                    (at + 4 + size.next_multiple_of(4)).min(end),
                ));
            }
            Kind::Counted { count: counted } => {
                let room = end.saturating_sub(at);
                let size = count(counted);
                if size > room {
                    self.record(
                        at,
                        format!("`{name}`: {size} bytes stated, {room} there"),
                        true,
                    );
                    return Err(Ended);
                }
                let bytes = self.place(name, at, size, end)?.to_vec();
                self.note(at, at + size, &field.kind);
                return Ok((
                    Some(Value::Bytes(bytes)),
                    (at + size.next_multiple_of(4)).min(end),
                ));
            }
            Kind::Refs { count: counted, of } => {
                let stated = count(counted);
                let room = end.saturating_sub(at) / 8;
                let number = self.bounded(name, at, stated, room);
                let list = (0..number)
                    .filter_map(|i| self.referred(name, of, base, at + 8 * i))
                    .collect();
                return Ok((Some(Value::List(list)), at + 8 * number));
            }
            Kind::Listed { count: counted, of } => {
                let size = of.fixed_size().unwrap_or(4).max(1);
                let room = end.saturating_sub(at) / size;
                let number = self.bounded(name, at, count(counted), room);
                let list = self.row(name, of, at, number, size, end)?;
                return Ok((Some(Value::List(list)), at + size * number));
            }
            Kind::Inline(schema) => {
                let (inner, next) = self.structure(schema, at, end);
                return Ok((Some(Value::Struct(inner)), next));
            }
            Kind::TlvText | Kind::TlvNumbers | Kind::Tlv => {
                let (tlv, next) = self.tlv(name, at, end)?;
                return Ok((self.tlv_value(name, &field.kind, at, tlv), next));
            }
            Kind::Tlvs => {
                let mut list = Vec::new();
                let mut next = at;
                while next < end {
                    let Ok((tlv, after)) = self.tlv(name, next, end) else {
                        break;
                    };
                    list.push(Value::Tlv(tlv));
                    next = after;
                }
                return Ok((Some(Value::List(list)), next));
            }
            Kind::Text | Kind::Utf8 | Kind::Sized => {
                let pair = self.place(name, at, 8, end)?;
                let bytes = self.data(name, at, base, word(pair), word(&pair[4..]), &field.kind);
                bytes.map(|bytes| match field.kind {
                    Kind::Text => Value::Text(utf16(bytes)),
                    Kind::Utf8 => Value::Text(utf8(bytes)),
                    _ => Value::Bytes(bytes.to_vec()),
                })
            }
            Kind::SizedReversed => {
                let pair = self.place(name, at, 8, end)?;
                let bytes = self.data(name, at, base, word(&pair[4..]), word(pair), &field.kind);
                bytes.map(|bytes| Value::Bytes(bytes.to_vec()))
            }
            Kind::Pointed { count: counted } => {
                let offset = word(self.place(name, at, 4, end)?);
                let size = u32::try_from(count(counted)).unwrap_or(u32::MAX);
                if offset == 0 && size > 0 {
                    self.record(at, format!("`{name}`: {size} bytes at offset 0"), true);
                    None
                } else {
                    let bytes = self.data(name, at, base, offset, size, &field.kind);
                    bytes.map(|bytes| Value::Bytes(bytes.to_vec()))
                }
            }
            Kind::Packed { count: counted, of } => {
                let offset = word(self.place(name, at, 4, end)?);
                self.packed(name, of, base, at, offset, count(counted))
            }
            Kind::At(of) => {
                let offset = word(self.place(name, at, 4, end)?);
                let size = of.fixed_size().unwrap_or(4);
                match offset {
                    0 => Some(Value::Absent),
                    _ => match self.reference(name, at, base, offset, size) {
                        Some((start, stop)) => Some(self.element(name, of, start, stop)?),
                        None => None,
                    },
                }
            }
            Kind::SizedStruct(schema) => {
                let pair = self.place(name, at, 8, end)?;
                let (offset, size) = (word(pair), word(&pair[4..]));
                match (offset, size) {
                    (0, _) | (_, 0) => Some(Value::Absent),
                    _ => self
                        .reference(name, at, base, offset, size as usize)
                        .map(|(start, stop)| Value::Struct(self.structure(schema, start, stop).0)),
                }
            }
            Kind::SizedArray(schema) => {
                let pair = self.place(name, at, 8, end)?;
                self.sized_array(name, schema, base, at, word(pair), word(&pair[4..]))
            }
            kind => {
                let size = kind.fixed_size().unwrap_or(4);
                let bytes = self.place(name, at, size, end)?;
                self.note(at, at + size, kind);
                return Ok((Some(plain(kind, bytes)), at + size));
            }
        };
        Ok((value, at + field.kind.fixed_size().unwrap_or(0)))
    }

    /// Returns a stated count, cut to the number of elements there is room for.
    fn bounded(&mut self, name: &str, at: usize, stated: usize, room: usize) -> usize {
        if stated > room {
            self.record(
                at,
                format!("`{name}`: {stated} elements stated, room for {room}"),
                true,
            );
        }
        stated.min(room)
    }

    /// Reads the element behind the pair of offset and size at `at`.
    fn referred(&mut self, name: &str, of: &Kind, base: usize, at: usize) -> Option<Value> {
        let pair = self.place(name, at, 8, at + 8).ok()?;
        let (offset, size) = (
            LittleEndian::read_u32(pair),
            LittleEndian::read_u32(&pair[4..]),
        );
        match of {
            Kind::Inline(schema) => {
                // Some firmware states sizes that reach too far, so only the fields must be inside
                // the buffer.
                let (start, _) = self.reference(name, at, base, offset, 0)?;
                let stop = (start as u64 + u64::from(size)).min(self.bytes.len() as u64) as usize;
                if stop - start < size as usize {
                    let there = stop - start;
                    self.record(
                        at,
                        format!("`{name}`: {size} bytes stated for an element, {there} there"),
                        false,
                    );
                }
                Some(Value::Struct(self.structure(schema, start, stop).0))
            }
            _ => self
                .data(name, at, base, offset, size, of)
                .map(|bytes| Value::Text(utf16(bytes))),
        }
    }

    fn packed(
        &mut self,
        name: &str,
        of: &Kind,
        base: usize,
        at: usize,
        offset: u32,
        stated: usize,
    ) -> Option<Value> {
        if stated == 0 {
            return Some(Value::List(Vec::new()));
        }
        if offset == 0 {
            self.record(at, format!("`{name}`: {stated} elements at offset 0"), true);
            return None;
        }
        let size = of.fixed_size().unwrap_or(4).max(1);
        let (start, _) = self.reference(name, at, base, offset, 0)?;
        let room = (self.bytes.len() - start) / size;
        let number = self.bounded(name, at, stated, room);
        if start + number * size > self.limit {
            let limit = self.limit;
            self.record(
                at,
                format!("`{name}`: reaches past the stated end at {limit}"),
                false,
            );
        }
        self.row(name, of, start, number, size, self.bytes.len())
            .ok()
            .map(Value::List)
    }

    fn row(
        &mut self,
        name: &str,
        of: &Kind,
        start: usize,
        number: usize,
        size: usize,
        end: usize,
    ) -> Result<Vec<Value>, Ended> {
        (0..number)
            .map(|i| self.element(name, of, start + i * size, end))
            .collect()
    }

    fn element(&mut self, name: &str, of: &Kind, at: usize, end: usize) -> Result<Value, Ended> {
        match of {
            Kind::Inline(schema) => Ok(Value::Struct(self.structure(schema, at, end).0)),
            kind => {
                let size = kind.fixed_size().unwrap_or(4);
                let bytes = self.place(name, at, size, end)?;
                self.note(at, at + size, kind);
                Ok(plain(kind, bytes))
            }
        }
    }

    /// Reads an array of MBIMEx: a count, then structures in a row, each with its own base for
    /// offsets.
    fn sized_array(
        &mut self,
        name: &str,
        schema: &'static Schema,
        base: usize,
        at: usize,
        offset: u32,
        size: u32,
    ) -> Option<Value> {
        if offset == 0 || size == 0 {
            return Some(Value::List(Vec::new()));
        }
        let (start, stop) = self.reference(name, at, base, offset, size as usize)?;
        let stated = LittleEndian::read_u32(self.place(name, start, 4, stop).ok()?) as usize;
        let element = schema.fixed_size().unwrap_or(4).max(1);
        let number = self.bounded(name, start, stated, (stop - start - 4) / element);
        let list = (0..number)
            .map(|i| Value::Struct(self.structure(schema, start + 4 + i * element, stop).0))
            .collect();
        Some(Value::List(list))
    }

    fn tlv(&mut self, name: &str, at: usize, end: usize) -> Result<(Tlv, usize), Ended> {
        let head = self.place(name, at, 8, end)?;
        let kind = TlvType(LittleEndian::read_u16(head));
        let padding = usize::from(head[3]);
        let size = LittleEndian::read_u32(&head[4..]) as usize;
        let room = self.bytes.len() - at - 8;
        if size > room {
            self.record(
                at,
                format!("`{name}`: TLV of {size} bytes stated, {room} there"),
                true,
            );
            return Err(Ended);
        }
        let stop = at + 8 + size;
        if stop > end {
            self.record(
                at,
                format!("`{name}`: TLV reaches past the stated end at {end}"),
                false,
            );
        }
        let data = self.place(name, at + 8, size, self.bytes.len())?.to_vec();
        self.cover(at + 8, (stop + padding).min(self.bytes.len()));
        self.note(
            at + 8,
            stop,
            match kind {
                TlvType::WCHAR_STR => &Kind::TlvText,
                _ => &Kind::Tlv,
            },
        );
        Ok((Tlv { kind, data }, stop + padding))
    }

    fn tlv_value(&mut self, name: &str, kind: &Kind, at: usize, tlv: Tlv) -> Option<Value> {
        let expected = match kind {
            Kind::TlvText => TlvType::WCHAR_STR,
            Kind::TlvNumbers => TlvType::UINT16_TBL,
            _ => return Some(Value::Tlv(tlv)),
        };
        if tlv.kind != expected {
            self.record(
                at,
                format!("`{name}`: TLV of type {}, expected {expected}", tlv.kind),
                true,
            );
            return None;
        }
        Some(match kind {
            Kind::TlvText => Value::Text(utf16(&tlv.data)),
            _ => Value::List(
                tlv.data
                    .chunks_exact(2)
                    .map(|n| Value::Unsigned(u64::from(LittleEndian::read_u16(n))))
                    .collect(),
            ),
        })
    }
}

/// Returns the size on the wire in bytes of text or bytes, to compare with the limit of a field.
fn encoded_size(value: &Value) -> Option<usize> {
    match value {
        Value::Text(text) => Some(text.encode_utf16().count() * 2),
        Value::Bytes(bytes) => Some(bytes.len()),
        _ => None,
    }
}

/// Makes the value of a kind that stands in place; `bytes` has the fixed size of the kind.
fn plain(kind: &Kind, bytes: &[u8]) -> Value {
    match kind {
        Kind::I32 => Value::Signed(LittleEndian::read_i32(bytes)),
        Kind::Uuid => Value::Uuid(Uuid(bytes.try_into().unwrap_or_default())),
        Kind::Ipv4 => Value::Ipv4(Ipv4Addr::from(
            <[u8; 4]>::try_from(bytes).unwrap_or_default(),
        )),
        Kind::Ipv6 => Value::Ipv6(Ipv6Addr::from(
            <[u8; 16]>::try_from(bytes).unwrap_or_default(),
        )),
        Kind::Array(_) => Value::Bytes(bytes.to_vec()),
        _ if bytes.is_empty() => Value::Absent,
        _ => Value::Unsigned(LittleEndian::read_uint(bytes, bytes.len().min(8))),
    }
}
