//! Description of layouts as static data.

use crate::names::Names;

/// Encoding of one field on the wire. All numbers are little-endian, and offsets and sizes are
/// 32-bit numbers of bytes, unless stated otherwise.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Unsigned 16-bit number.
    U16,
    /// Unsigned 32-bit number.
    U32,
    /// Unsigned 64-bit number.
    U64,
    /// Signed 32-bit number.
    I32,
    /// Truth value as a 32-bit number, 0 or 1.
    Bool,
    /// Number of an enumeration or bit set.
    Named {
        /// Names of the values.
        names: &'static Names,
        /// Size on the wire in bytes: 2, 4 or 8.
        bytes: usize,
    },
    /// UUID of sixteen bytes in textual (network) byte order.
    Uuid,
    /// IPv4 address in network byte order.
    Ipv4,
    /// IPv6 address in network byte order.
    Ipv6,
    /// Fixed number of bytes in place.
    Array(usize),
    /// Number of elements or bytes of the named fields, as a 32-bit number.
    Count {
        /// Names of the fields that are counted. There are several where only one of them is
        /// present at a time, or where all have the same number.
        of: &'static [&'static str],
    },
    /// Offset and size of UTF-16LE text.
    Text,
    /// Offset and size of UTF-8 text (Microsoft's UICC service).
    Utf8,
    /// Offset and size of bytes.
    Sized,
    /// Size and offset of bytes, in this order.
    SizedReversed,
    /// Size, directly followed by the bytes, which are padded to four.
    Prefixed,
    /// Bytes up to the end of the buffer.
    Rest,
    /// Bytes in place, padded to four; another field states their number.
    Counted {
        /// Name of the field that states the number.
        count: &'static str,
    },
    /// Offset of bytes; another field states their number.
    Pointed {
        /// Name of the field that states the number.
        count: &'static str,
    },
    /// Structure in place; its offsets count from its own start.
    Inline(&'static Schema),
    /// Pairs of offset and size in place, one pair for each element.
    Refs {
        /// Name of the field that states the number.
        count: &'static str,
        /// Kind of the elements: structures or text.
        of: &'static Kind,
    },
    /// Offset of elements that stand in a row.
    Packed {
        /// Name of the field that states the number.
        count: &'static str,
        /// Kind of the elements, of fixed size.
        of: &'static Kind,
    },
    /// Elements that stand in a row, in place.
    Listed {
        /// Name of the field that states the number.
        count: &'static str,
        /// Kind of the elements, of fixed size.
        of: &'static Kind,
    },
    /// Offset of a single element; 0 when it is absent.
    At(&'static Kind),
    /// Offset and size of a single structure; 0 when it is absent (MBIMEx).
    SizedStruct(&'static Schema),
    /// Offset and size of a 32-bit count that structures in a row follow (MBIMEx).
    SizedArray(&'static Schema),
    /// TLV in place that holds UTF-16LE text (MBIMEx 3.0).
    TlvText,
    /// TLV in place that holds 16-bit numbers (MBIMEx 3.0).
    TlvNumbers,
    /// TLV of any type in place (MBIMEx 3.0).
    Tlv,
    /// TLVs of any type up to the end of the buffer (MBIMEx 3.0).
    Tlvs,
}

impl Kind {
    /// Returns the number of bytes the field takes in place, or `None` for kinds whose size in
    /// place varies.
    #[must_use]
    pub(crate) const fn fixed_size(&self) -> Option<usize> {
        Some(match self {
            Self::U16 => 2,
            Self::U32 | Self::I32 | Self::Bool | Self::Ipv4 | Self::Count { .. } => 4,
            Self::Pointed { .. } | Self::Packed { .. } | Self::At(_) => 4,
            Self::U64 | Self::Text | Self::Utf8 | Self::Sized | Self::SizedReversed => 8,
            Self::SizedStruct(_) | Self::SizedArray(_) => 8,
            Self::Named { bytes, .. } => *bytes,
            Self::Uuid | Self::Ipv6 => 16,
            Self::Array(size) => *size,
            Self::Inline(schema) => return schema.fixed_size(),
            Self::Prefixed
            | Self::Counted { .. }
            | Self::Rest
            | Self::Refs { .. }
            | Self::Listed { .. } => return None,
            Self::TlvText | Self::TlvNumbers | Self::Tlv | Self::Tlvs => return None,
        })
    }
}

/// Condition under which a field is present: another field has a certain value.
#[derive(Debug, Clone, Copy)]
pub struct Condition {
    /// Name of the other field, which stands earlier in the same structure.
    pub field: &'static str,
    /// Value the other field has when this one is present.
    pub equals: u64,
}

/// Field of a layout.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Name of the field in snake case.
    pub name: &'static str,
    /// Encoding of the field.
    pub kind: Kind,
    /// Largest size in bytes that the specification allows, where it states one.
    pub limit: Option<usize>,
    /// Whether the content identifies or belongs to a person: IMEI, IMSI, ICCID, numbers, PINs,
    /// passwords, message text, location. Printers hide it unless they are told to show it.
    pub personal: bool,
    /// Condition under which the field is present; `None` when it always is.
    pub condition: Option<Condition>,
    /// Layouts of the contents that a TLV in the field may have, by the number of its type.
    pub contents: &'static [(u16, &'static Schema)],
}

impl Field {
    /// Makes a field that is always present, has no limit and is not personal.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            limit: None,
            personal: false,
            condition: None,
            contents: &[],
        }
    }

    /// Returns the field with a largest size in bytes.
    #[must_use]
    pub const fn max(mut self, bytes: usize) -> Self {
        self.limit = Some(bytes);
        self
    }

    /// Returns the field marked as personal.
    #[must_use]
    pub const fn personal(mut self) -> Self {
        self.personal = true;
        self
    }

    /// Returns the field with layouts of a TLV's contents, by the number of its type.
    #[must_use]
    pub const fn contents(mut self, contents: &'static [(u16, &'static Schema)]) -> Self {
        self.contents = contents;
        self
    }

    /// Returns the field as present only when the named earlier field has this value.
    #[must_use]
    pub const fn when(mut self, field: &'static str, equals: u64) -> Self {
        self.condition = Some(Condition { field, equals });
        self
    }
}

/// Layout of a structure or information buffer.
#[derive(Debug)]
pub struct Schema {
    /// Name of the Rust struct.
    pub name: &'static str,
    /// Fields in the order of the wire.
    pub fields: &'static [Field],
}

impl Schema {
    /// Returns the position of the named field among the fields, if there is one.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// Returns the size of the fixed part in bytes, or `None` when the size of a field in place
    /// varies.
    #[must_use]
    pub(crate) const fn fixed_size(&self) -> Option<usize> {
        let mut total = 0;
        let mut index = 0;
        while index < self.fields.len() {
            let field = &self.fields[index];
            if field.condition.is_some() {
                return None;
            }
            match field.kind.fixed_size() {
                Some(size) => total += size,
                None => return None,
            }
            index += 1;
        }
        Some(total)
    }
}
