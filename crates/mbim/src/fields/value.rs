//! Values that were read from the wire or are meant for it, with the schema they belong to.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::schema::{Field, Kind, Schema};
use crate::names::{named_number, parse_number};
use crate::uuid::Uuid;

named_number! {
    /// Type of a TLV (MBIMEx 3.0).
    TlvType: u16, false,
    UE_POLICIES = 1,
    SINGLE_NSSAI = 2,
    ALLOWED_NSSAI = 3,
    CONFIGURED_NSSAI = 4,
    DEFAULT_CONFIGURED_NSSAI = 5,
    REJECTED_NSSAI = 6,
    LADN = 7,
    TAI = 8,
    WCHAR_STR = 10,
    UINT16_TBL = 11,
    EAP_PACKET = 12,
    PCO = 13,
    ROUTE_SELECTION_DESCRIPTORS = 14,
    TRAFFIC_PARAMETERS = 15,
    WAKE_COMMAND = 16,
    WAKE_PACKET = 17,
    OSID = 18,
    _3GPP_REL_VERSION = 19,
}

/// Self-describing element of MBIMEx 3.0, made of type, length and value (TLV).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tlv {
    /// Type of the content.
    pub kind: TlvType,
    /// Content without padding.
    pub data: Vec<u8>,
}

impl Tlv {
    /// Makes a TLV that holds text in UTF-16LE.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self {
            kind: TlvType::WCHAR_STR,
            data: text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        }
    }

    /// Returns the content as text, or `None` when the TLV is of another type.
    #[must_use]
    pub fn as_text(&self) -> Option<String> {
        (self.kind == TlvType::WCHAR_STR).then(|| utf16(&self.data))
    }
}

/// Reads UTF-16LE text as devices send it: an odd last byte is dropped, a NUL ends the text, and
/// invalid sequences become U+FFFD.
pub(crate) fn utf16(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|&unit| unit != 0);
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Reads UTF-8 text as devices send it: a NUL ends the text, and invalid sequences become U+FFFD.
pub(crate) fn utf8(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Value of one field.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Optional element that is absent, or field whose condition is unmet.
    Absent,
    /// Unsigned number, enumeration, bit set, truth value or count.
    Unsigned(u64),
    /// Signed 32-bit number.
    Signed(i32),
    /// UUID of a service, context type or firmware.
    Uuid(Uuid),
    /// IPv4 address of a field.
    Ipv4(Ipv4Addr),
    /// IPv6 address of a field.
    Ipv6(Ipv6Addr),
    /// Text of a field, without a terminating NUL.
    Text(String),
    /// Bytes of a field, without padding.
    Bytes(Vec<u8>),
    /// Elements of a list.
    List(Vec<Value>),
    /// Values of a structure.
    Struct(Record),
    /// Element of type, length and value.
    Tlv(Tlv),
}

impl Value {
    /// Returns the number, or `None` when the value is not an unsigned number.
    #[must_use]
    pub const fn unsigned(&self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the number of elements or bytes, or `None` for values that have neither.
    #[must_use]
    pub const fn len(&self) -> Option<usize> {
        match self {
            Self::List(list) => Some(list.len()),
            Self::Bytes(bytes) => Some(bytes.len()),
            _ => None,
        }
    }

    /// Returns whether the value is a list without elements, or no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        matches!(self.len(), Some(0))
    }
}

/// Values of a structure, one for each field of its schema; `None` where nothing could be read.
#[derive(Clone)]
pub struct Record {
    /// Layout of the structure.
    pub schema: &'static Schema,
    /// Values in the order of the schema's fields.
    pub values: Vec<Option<Value>>,
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.schema, other.schema) && self.values == other.values
    }
}

/// Reason why a field cannot be set from a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// The structure has no such field.
    #[error("there is no field \"{name}\" here; fields: {known}")]
    UnknownField {
        /// Name that was asked for.
        name: String,
        /// Names of the fields of the structure, separated by commas.
        known: String,
    },
    /// The text is not a value of the field's kind.
    #[error("\"{text}\" is no value for field \"{name}\": expected {expected}")]
    BadValue {
        /// Name of the field.
        name: &'static str,
        /// Text that was given.
        text: String,
        /// Description of a text that would be accepted.
        expected: String,
    },
    /// The value is longer than the specification allows.
    #[error("the value for field \"{name}\" takes {size} bytes, at most {limit} are allowed")]
    TooLong {
        /// Name of the field.
        name: &'static str,
        /// Size of the encoded value in bytes.
        size: usize,
        /// Largest size in bytes that is allowed.
        limit: usize,
    },
}

impl Record {
    /// Makes a structure without values; it is written as zeros, empty texts and empty lists.
    #[must_use]
    pub fn empty(schema: &'static Schema) -> Self {
        Self {
            schema,
            values: vec![None; schema.fields.len()],
        }
    }

    /// Returns the value of the named field, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(self.schema.position(name)?)?.as_ref()
    }

    /// Returns the fields with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Field, Option<&Value>)> {
        self.schema
            .fields
            .iter()
            .zip(self.values.iter().map(Option::as_ref))
    }

    /// Sets a field from text. Numbers are decimal or `0x…`; enumerations and bit sets are names or
    /// numbers; addresses, UUIDs and texts stand as they are; bytes are hexadecimal digits, with
    /// `:` and spaces allowed; lists of these are separated by commas. `name.inner` and
    /// `name.0.inner` reach into structures and lists of structures, where the index may be one
    /// past the last to add an element.
    ///
    /// # Errors
    /// Returns a [`SetError`] when there is no such field, or when the text is not a value of its
    /// kind or is too long.
    pub fn set(&mut self, path: &str, text: &str) -> Result<(), SetError> {
        let (name, rest) = path
            .split_once('.')
            .map_or((path, None), |(name, rest)| (name, Some(rest)));
        let unknown = |schema: &Schema, name: &str| SetError::UnknownField {
            name: name.to_owned(),
            known: schema
                .fields
                .iter()
                .map(|field| field.name)
                .collect::<Vec<_>>()
                .join(", "),
        };
        let position = self
            .schema
            .position(name)
            .ok_or_else(|| unknown(self.schema, name))?;
        let field = &self.schema.fields[position];
        let slot = &mut self.values[position];
        let Some(rest) = rest else {
            *slot = Some(parse(field, &field.kind, text)?);
            return Ok(());
        };
        let inner = match &field.kind {
            Kind::Inline(schema) | Kind::SizedStruct(schema) => {
                if !matches!(slot, Some(Value::Struct(_))) {
                    *slot = Some(Value::Struct(Self::empty(schema)));
                }
                slot.as_mut().map(|value| (value, rest))
            }
            Kind::Refs {
                of: Kind::Inline(schema),
                ..
            }
            | Kind::Packed {
                of: Kind::Inline(schema),
                ..
            }
            | Kind::SizedArray(schema) => {
                if !matches!(slot, Some(Value::List(_))) {
                    *slot = Some(Value::List(Vec::new()));
                }
                let (index, rest) = rest
                    .split_once('.')
                    .ok_or_else(|| unknown(self.schema, path))?;
                let index: usize = index.parse().map_err(|_| unknown(self.schema, path))?;
                match slot {
                    Some(Value::List(list)) if index <= list.len() => {
                        if index == list.len() {
                            list.push(Value::Struct(Self::empty(schema)));
                        }
                        Some((&mut list[index], rest))
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        match inner {
            Some((Value::Struct(record), rest)) => record.set(rest, text),
            _ => Err(unknown(self.schema, path)),
        }
    }
}

fn parse(field: &'static Field, kind: &Kind, text: &str) -> Result<Value, SetError> {
    let bad = |expected: &str| SetError::BadValue {
        name: field.name,
        text: text.to_owned(),
        expected: expected.to_owned(),
    };
    let number = |max: u64| {
        parse_number(text)
            .filter(|&value| value <= max)
            .map(Value::Unsigned)
            .ok_or_else(|| bad(&format!("a number up to {max}")))
    };
    let limited = |size: usize| match field.limit {
        Some(limit) if size > limit => Err(SetError::TooLong {
            name: field.name,
            size,
            limit,
        }),
        _ => Ok(()),
    };
    let list = |of: &Kind| -> Result<Value, SetError> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        Ok(Value::List(
            parts
                .map(|part| parse(field, of, part))
                .collect::<Result<_, _>>()?,
        ))
    };
    match kind {
        Kind::U16 => number(u64::from(u16::MAX)),
        Kind::U32 | Kind::Count { .. } => number(u64::from(u32::MAX)),
        Kind::U64 => number(u64::MAX),
        Kind::I32 => text
            .trim()
            .parse()
            .map(Value::Signed)
            .map_err(|_| bad("a number")),
        Kind::Bool => match text.trim() {
            "true" | "yes" | "on" | "1" => Ok(Value::Unsigned(1)),
            "false" | "no" | "off" | "0" => Ok(Value::Unsigned(0)),
            _ => Err(bad("true or false")),
        },
        Kind::Named { names, bytes } => names
            .value_of(text)
            .filter(|&value| *bytes >= 8 || value >> (8 * bytes) == 0)
            .map(Value::Unsigned)
            .ok_or_else(|| {
                let known: Vec<String> =
                    names.values.iter().map(crate::names::Named::name).collect();
                bad(&format!("one of {}", known.join(", ")))
            }),
        Kind::Uuid => text
            .trim()
            .parse()
            .map(Value::Uuid)
            .map_err(|_| bad("a UUID")),
        Kind::Ipv4 => text
            .trim()
            .parse()
            .map(Value::Ipv4)
            .map_err(|_| bad("an IPv4 address")),
        Kind::Ipv6 => text
            .trim()
            .parse()
            .map(Value::Ipv6)
            .map_err(|_| bad("an IPv6 address")),
        Kind::At(of) => parse(field, of, text),
        Kind::Text | Kind::Utf8 | Kind::TlvText => {
            limited(text.encode_utf16().count() * 2)?;
            Ok(Value::Text(text.to_owned()))
        }
        Kind::Array(size) => {
            let bytes = hex(text).ok_or_else(|| bad("hexadecimal digits"))?;
            if bytes.len() != *size {
                return Err(bad(&format!("{size} bytes as hexadecimal digits")));
            }
            Ok(Value::Bytes(bytes))
        }
        Kind::Sized
        | Kind::SizedReversed
        | Kind::Prefixed
        | Kind::Counted { .. }
        | Kind::Rest
        | Kind::Pointed { .. } => {
            let bytes = hex(text).ok_or_else(|| bad("hexadecimal digits"))?;
            limited(bytes.len())?;
            Ok(Value::Bytes(bytes))
        }
        Kind::Refs { of, .. } | Kind::Packed { of, .. } | Kind::Listed { of, .. } => list(of),
        Kind::TlvNumbers => list(&Kind::U16),
        Kind::Inline(_) | Kind::SizedStruct(_) | Kind::SizedArray(_) => Err(bad(
            "its fields one by one, as name.field=value or name.0.field=value",
        )),
        Kind::Tlv | Kind::Tlvs => Err(bad(
            "raw bytes: send the whole buffer as hexadecimal digits instead",
        )),
    }
}

/// Reads bytes from hexadecimal digits; `:` and blanks are skipped. Returns `None` for any other
/// character and for an odd number of digits.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !matches!(byte, b':' | b' ' | b'\t' | b'\n' | b'\r'))
        .map(|byte| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect::<Option<_>>()?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use crate::fields::{Layout, write};
    use crate::services::basic_connect as bc;

    use super::*;

    #[test]
    fn fields_are_set_from_text() {
        let mut record = Record::empty(bc::ConnectSet::SCHEMA);
        for (path, text) in [
            ("session_id", "3"),
            ("activation_command", "activate"),
            ("access_string", "internet"),
            ("auth_protocol", "2"),
            ("ip_type", "IPv4v6"),
            ("context_type", "7e5e2a7e-4e6f-7272-736b-656e7e5e2a7e"),
        ] {
            record.set(path, text).unwrap();
        }
        let typed = bc::ConnectSet {
            session_id: 3,
            activation_command: bc::ActivationCommand::ACTIVATE,
            access_string: "internet".to_owned(),
            auth_protocol: bc::AuthProtocol::CHAP,
            ip_type: bc::ContextIpType::IPV4V6,
            context_type: bc::context_type::INTERNET,
            ..bc::ConnectSet::default()
        };
        assert_eq!(write(&record), typed.encode());
    }

    #[test]
    fn structures_and_lists_are_reached_by_path() {
        let mut record = Record::empty(bc::IpPacketFilters::SCHEMA);
        record
            .set("packet_filters.0.packet_filter", "01:02:03")
            .unwrap();
        record
            .set("packet_filters.0.packet_mask", "ffffff")
            .unwrap();
        record.set("packet_filters.1.packet_filter", "04").unwrap();
        let typed = bc::IpPacketFilters::decode(&write(&record)).unwrap();
        assert_eq!(typed.packet_filters[0].packet_mask, [255, 255, 255]);
        assert_eq!(typed.packet_filters[1].packet_filter, [4]);
        assert!(record.set("packet_filters.9.packet_filter", "04").is_err());

        let mut record = Record::empty(bc::HomeProvider::SCHEMA);
        record.set("provider.provider_id", "24201").unwrap();
        assert_eq!(
            bc::HomeProvider::decode(&write(&record))
                .unwrap()
                .provider
                .provider_id,
            "24201"
        );

        let mut record = Record::empty(bc::IpConfiguration::SCHEMA);
        record.set("ipv4_dns_server", "10.0.0.1, 10.0.0.2").unwrap();
        assert_eq!(
            bc::IpConfiguration::decode(&write(&record))
                .unwrap()
                .ipv4_dns_server
                .len(),
            2
        );
    }

    #[test]
    fn wrong_texts_say_what_would_be_right() {
        let mut record = Record::empty(bc::PinSet::SCHEMA);
        let error = |result: Result<(), SetError>| result.unwrap_err().to_string();
        assert!(error(record.set("pim", "1")).contains("pin_type, pin_operation, pin, new_pin"));
        assert!(
            error(record.set("pin_operation", "guess")).contains("enter, enable, disable, change")
        );
        assert!(error(record.set("pin", "12345678901234567")).contains("at most 32"));
        assert!(error(record.set("pin.x", "1")).contains("no field"));
    }
}
