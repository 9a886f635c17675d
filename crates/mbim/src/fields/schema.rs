//! What a layout is made of, as static data.

use crate::names::Names;

/// How one field stands on the wire. All numbers are little-endian unless said otherwise.
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
    /// Enumeration or bit set.
    Named {
        /// The names.
        names: &'static Names,
        /// Bytes on the wire: 2, 4 or 8.
        bytes: usize,
    },
    /// UUID, sixteen bytes in textual order.
    Uuid,
    /// IPv4 address in network order.
    Ipv4,
    /// IPv6 address in network order.
    Ipv6,
    /// Bytes in place, of a fixed number.
    Array(usize),
    /// 32-bit number of elements (or bytes) of the named fields.
    Count {
        /// The fields counted. Several where only one of them is present at a time, or all agree.
        of: &'static [&'static str],
    },
    /// Offset and size in bytes of UTF-16LE text.
    Text,
    /// Offset and size in bytes of UTF-8 text (Microsoft's UICC service).
    Utf8,
    /// Offset and size of bytes.
    Sized,
    /// Size and offset (in this order) of bytes.
    SizedReversed,
    /// Size, then at once the bytes, padded to four.
    Prefixed,
    /// The rest of the buffer.
    Rest,
    /// Bytes in place, their number being another field, padded to four.
    Counted {
        /// The count field.
        count: &'static str,
    },
    /// Offset of bytes, their number being another field.
    Pointed {
        /// The count field.
        count: &'static str,
    },
    /// A structure in place; its offsets count from its own start.
    Inline(&'static Schema),
    /// Pairs of offset and size in place, one an element.
    Refs {
        /// The count field.
        count: &'static str,
        /// Kind of the elements: structures or text.
        of: &'static Kind,
    },
    /// One offset to elements in a row.
    Packed {
        /// The count field.
        count: &'static str,
        /// Kind of the elements, of fixed size.
        of: &'static Kind,
    },
    /// Elements in a row, in place.
    Listed {
        /// The count field.
        count: &'static str,
        /// Kind of the elements, of fixed size.
        of: &'static Kind,
    },
    /// Offset of a single element, 0 when absent.
    At(&'static Kind),
    /// Offset and size of a single structure, 0 when absent (Microsoft extensions).
    SizedStruct(&'static Schema),
    /// Offset and size of a count followed by structures in a row (Microsoft extensions).
    SizedArray(&'static Schema),
    /// A TLV in place that holds UTF-16LE text (MBIMEx 3).
    TlvText,
    /// A TLV in place that holds 16-bit numbers (MBIMEx 3).
    TlvNumbers,
    /// Any one TLV in place (MBIMEx 3).
    Tlv,
    /// TLVs up to the end of the buffer (MBIMEx 3).
    Tlvs,
}

impl Kind {
    /// Bytes an element takes in place, for kinds without variable parts in place; `None` otherwise.
    #[must_use]
    pub const fn fixed_size(&self) -> Option<usize> {
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

/// A field is there only if another one has this value.
#[derive(Debug, Clone, Copy)]
pub struct Condition {
    /// Name of the other field, earlier in the same structure.
    pub field: &'static str,
    /// Its value.
    pub equals: u64,
}

/// One field of a layout.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Name in snake case.
    pub name: &'static str,
    /// Encoding.
    pub kind: Kind,
    /// Largest size in bytes the specification allows, where it says so.
    pub limit: Option<usize>,
    /// Whether the content identifies or belongs to a person: IMEI, IMSI, ICCID, numbers, PINs,
    /// passwords, message text, place. Printers hide it unless asked.
    pub personal: bool,
    /// When the field is there, if not always.
    pub condition: Option<Condition>,
}

impl Field {
    /// A field that is always there, without limit, not personal.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            limit: None,
            personal: false,
            condition: None,
        }
    }

    /// With a largest size in bytes.
    #[must_use]
    pub const fn max(mut self, bytes: usize) -> Self {
        self.limit = Some(bytes);
        self
    }

    /// Marked as personal.
    #[must_use]
    pub const fn personal(mut self) -> Self {
        self.personal = true;
        self
    }

    /// There only when the named earlier field has this value.
    #[must_use]
    pub const fn when(mut self, field: &'static str, equals: u64) -> Self {
        self.condition = Some(Condition { field, equals });
        self
    }
}

/// A layout: the fields of a structure or information buffer in their order.
#[derive(Debug)]
pub struct Schema {
    /// Name of the Rust struct.
    pub name: &'static str,
    /// The fields.
    pub fields: &'static [Field],
}

impl Schema {
    /// Position of the named field.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// Bytes of the fixed part when no field's size in place varies.
    #[must_use]
    pub const fn fixed_size(&self) -> Option<usize> {
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
