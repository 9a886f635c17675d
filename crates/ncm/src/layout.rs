//! The offsets of the fields of NTH and NDP, once for both widths.
//!
//! All fields are little endian (NCM 1.0, 3.2 and 3.3; MBIM 1.0, 7).

use std::fmt;

use byteorder::{ByteOrder, LittleEndian};

/// Width of an NTB's length and index fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// Fields of 16 bits: NTBs have up to 65535 bytes.
    #[default]
    Ntb16,
    /// Fields of 32 bits.
    Ntb32,
}

impl Format {
    /// Returns the value that SET_NTB_FORMAT takes and GET_NTB_FORMAT answers with (NCM 1.0,
    /// 6.2.5).
    #[must_use]
    pub fn wire(self) -> u16 {
        match self {
            Self::Ntb16 => 0,
            Self::Ntb32 => 1,
        }
    }

    /// Returns the width of the fields in bits, 16 or 32.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::Ntb16 => 16,
            Self::Ntb32 => 32,
        }
    }

    /// Returns the format that GET_NTB_FORMAT means by `value`; `None` for a value the
    /// specification does not know.
    #[must_use]
    pub fn from_wire(value: u16) -> Option<Self> {
        match value {
            0 => Some(Self::Ntb16),
            1 => Some(Self::Ntb32),
            _ => None,
        }
    }

    /// Returns the length in bytes of the longest NTB this format can describe.
    #[must_use]
    pub fn max_ntb(self) -> usize {
        match self {
            Self::Ntb16 => 0xffff,
            Self::Ntb32 => 0xffff_ffff,
        }
    }

    /// Returns the format that this one is not.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Ntb16 => Self::Ntb32,
            Self::Ntb32 => Self::Ntb16,
        }
    }

    pub(crate) fn layout(self) -> &'static Layout {
        match self {
            Self::Ntb16 => &NTB16,
            Self::Ntb32 => &NTB32,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ntb16 => "16",
            Self::Ntb32 => "32",
        })
    }
}

/// Kind of the datagrams an NDP lists, as its signature says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// IP packets of an MBIM session (MBIM 1.0, 7: `IPS`).
    Ips(u8),
    /// Raw data of an MBIM device service session (`DSS`).
    Dss(u8),
    /// Ethernet frames (NCM 1.0, 3.3: `NCM0`, or `NCM1` with a CRC-32 behind each).
    Ethernet {
        /// Whether a CRC-32 follows each frame, little endian.
        crc: bool,
    },
}

impl Stream {
    /// Returns the signature of an NDP as its four bytes on the wire.
    #[must_use]
    pub fn signature(self, format: Format) -> [u8; 4] {
        let wide = format == Format::Ntb32;
        match self {
            Self::Ips(session) if wide => [b'i', b'p', b's', session],
            Self::Ips(session) => [b'I', b'P', b'S', session],
            Self::Dss(session) if wide => [b'd', b's', b's', session],
            Self::Dss(session) => [b'D', b'S', b'S', session],
            Self::Ethernet { crc } => {
                let digit = if crc { b'1' } else { b'0' };
                if wide {
                    [b'n', b'c', b'm', digit]
                } else {
                    [b'N', b'C', b'M', digit]
                }
            }
        }
    }

    /// Returns what an NDP with this signature lists; `None` when it is no signature of `format`.
    #[must_use]
    pub(crate) fn from_signature(signature: [u8; 4], format: Format) -> Option<Self> {
        let [a, b, c, last] = signature;
        match ([a, b, c], format) {
            ([b'I', b'P', b'S'], Format::Ntb16) | ([b'i', b'p', b's'], Format::Ntb32) => {
                Some(Self::Ips(last))
            }
            ([b'D', b'S', b'S'], Format::Ntb16) | ([b'd', b's', b's'], Format::Ntb32) => {
                Some(Self::Dss(last))
            }
            ([b'N', b'C', b'M'], Format::Ntb16) | ([b'n', b'c', b'm'], Format::Ntb32) => match last
            {
                b'0' => Some(Self::Ethernet { crc: false }),
                b'1' => Some(Self::Ethernet { crc: true }),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the number of bytes that the framing adds behind each datagram: the CRC, if there is
    /// one.
    pub(crate) fn trailer(self) -> usize {
        match self {
            Self::Ethernet { crc: true } => 4,
            _ => 0,
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ips(session) => write!(f, "IPS {session}"),
            Self::Dss(session) => write!(f, "DSS {session}"),
            Self::Ethernet { crc: false } => f.write_str("Ethernet"),
            Self::Ethernet { crc: true } => f.write_str("Ethernet with CRC"),
        }
    }
}

/// Sizes and field positions of one format, all in bytes.
///
/// Header (NTH): signature 0, `wHeaderLength` 4, `wSequence` 6, NTB length 8, index of the first
/// NDP behind that. NDP: signature 0, `wLength` 4, index of the next NDP, entries of
/// {index, length} from `ndp` on.
#[derive(Debug)]
pub(crate) struct Layout {
    pub format: Format,
    /// First four bytes of the NTH.
    pub signature: [u8; 4],
    /// Length of the NTH in bytes.
    pub header: usize,
    /// Length in bytes of an NDP's part in front of its entries.
    pub ndp: usize,
    /// Offset in an NDP of the index of the next one.
    pub next_ndp: usize,
    /// Length in bytes of an index or length field.
    word: usize,
    /// Length in bytes of an NDP entry.
    pub entry: usize,
}

static NTB16: Layout = Layout {
    format: Format::Ntb16,
    signature: *b"NCMH",
    header: 12,
    ndp: 8,
    next_ndp: 6,
    word: 2,
    entry: 4,
};

static NTB32: Layout = Layout {
    format: Format::Ntb32,
    signature: *b"ncmh",
    header: 16,
    ndp: 16,
    next_ndp: 8,
    word: 4,
    entry: 8,
};

/// Field positions that do not depend on the format.
pub(crate) const HEADER_LENGTH: usize = 4;
pub(crate) const SEQUENCE: usize = 6;
pub(crate) const BLOCK_LENGTH: usize = 8;
pub(crate) const NDP_LENGTH: usize = 4;

impl Layout {
    /// Returns the offset in the NTH of the index of the first NDP.
    pub fn ndp_index(&self) -> usize {
        BLOCK_LENGTH + self.word
    }

    /// Returns the length in bytes of an NDP with `entries` used entries and its terminator.
    pub(crate) fn ndp_with(&self, entries: usize) -> usize {
        self.ndp + (entries + 1) * self.entry
    }

    /// Returns the length in bytes of the shortest NDP a receiver accepts: one entry and the
    /// terminator (NCM 1.0, 3.3: 0x10 for NTB16, 0x20 for NTB32).
    pub(crate) fn shortest_ndp(&self) -> usize {
        self.ndp_with(1)
    }

    /// Reads an index or length field. `None` when it does not lie inside `bytes`.
    #[inline]
    pub fn word(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let field = bytes.get(at..at.checked_add(self.word)?)?;
        let value = match self.format {
            Format::Ntb16 => u32::from(LittleEndian::read_u16(field)),
            Format::Ntb32 => LittleEndian::read_u32(field),
        };
        usize::try_from(value).ok()
    }

    /// Reads an NDP entry: (index, length).
    #[inline]
    pub fn entry(&self, bytes: &[u8], at: usize) -> Option<(usize, usize)> {
        let field = bytes.get(at..at.checked_add(self.entry)?)?;
        let (index, length) = match self.format {
            Format::Ntb16 => (
                u32::from(LittleEndian::read_u16(&field[..2])),
                u32::from(LittleEndian::read_u16(&field[2..4])),
            ),
            Format::Ntb32 => (
                LittleEndian::read_u32(&field[..4]),
                LittleEndian::read_u32(&field[4..8]),
            ),
        };
        Some((usize::try_from(index).ok()?, usize::try_from(length).ok()?))
    }

    /// Writes an index or length field.
    ///
    /// # Panics
    /// When the field does not lie inside `bytes`. The value fits: the builder limits NTBs to
    /// [`Format::max_ntb`].
    #[inline]
    pub fn put_word(&self, bytes: &mut [u8], at: usize, value: usize) {
        match self.format {
            Format::Ntb16 => LittleEndian::write_u16(&mut bytes[at..at + 2], value as u16),
            Format::Ntb32 => LittleEndian::write_u32(&mut bytes[at..at + 4], value as u32),
        }
    }

    /// Writes NDP entries (index, length) one behind the other, and zeros behind them as far as
    /// `fields` goes. Returns the number of entries written.
    #[inline]
    pub(crate) fn put_entries(
        &self,
        fields: &mut [u8],
        entries: impl Iterator<Item = (u32, u32)>,
    ) -> usize {
        match self.format {
            Format::Ntb16 => put::<4>(fields, entries, |(index, length)| {
                (u32::from(length as u16) << 16 | u32::from(index as u16)).to_le_bytes()
            }),
            Format::Ntb32 => put::<8>(fields, entries, |(index, length)| {
                (u64::from(length) << 32 | u64::from(index)).to_le_bytes()
            }),
        }
    }
}

/// Does as [`Layout::put_entries`] for entries of `N` bytes.
#[inline]
fn put<const N: usize>(
    fields: &mut [u8],
    mut entries: impl Iterator<Item = (u32, u32)>,
    encode: impl Fn((u32, u32)) -> [u8; N],
) -> usize {
    let (fields, _) = fields.as_chunks_mut::<N>();
    let mut used = 0;
    for field in fields {
        *field = match entries.next() {
            Some(entry) => {
                used += 1;
                encode(entry)
            }
            None => [0; N],
        };
    }
    used
}

/// Reads a 16-bit field that does not depend on the format.
#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(LittleEndian::read_u16(bytes.get(at..at.checked_add(2)?)?))
}

/// Reads a signature.
#[inline]
pub(crate) fn signature_at(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signatures as the 32-bit constants of Linux `include/uapi/linux/usb/cdc.h`.
    #[test]
    fn signatures_are_those_of_the_kernel_header() {
        let number = |stream: Stream, format| u32::from_le_bytes(stream.signature(format));
        assert_eq!(number(Stream::Ips(0), Format::Ntb16), 0x0053_5049);
        assert_eq!(number(Stream::Ips(0), Format::Ntb32), 0x0073_7069);
        assert_eq!(number(Stream::Dss(0), Format::Ntb16), 0x0053_5344);
        assert_eq!(number(Stream::Dss(0), Format::Ntb32), 0x0073_7364);
        let (plain, crc) = (
            Stream::Ethernet { crc: false },
            Stream::Ethernet { crc: true },
        );
        assert_eq!(number(plain, Format::Ntb16), 0x304D_434E);
        assert_eq!(number(crc, Format::Ntb16), 0x314D_434E);
        assert_eq!(number(plain, Format::Ntb32), 0x306D_636E);
        assert_eq!(number(crc, Format::Ntb32), 0x316D_636E);
        assert_eq!(u32::from_le_bytes(NTB16.signature), 0x484D_434E);
        assert_eq!(u32::from_le_bytes(NTB32.signature), 0x686D_636E);
    }

    #[test]
    fn the_session_is_the_signatures_last_byte() {
        for format in [Format::Ntb16, Format::Ntb32] {
            for session in [0, 1, b'0', 255] {
                for stream in [Stream::Ips(session), Stream::Dss(session)] {
                    let signature = stream.signature(format);
                    assert_eq!(signature[3], session);
                    assert_eq!(Stream::from_signature(signature, format), Some(stream));
                }
            }
        }
        assert_eq!(Stream::from_signature(*b"IPS0", Format::Ntb32), None);
        assert_eq!(Stream::from_signature(*b"NCM2", Format::Ntb16), None);
    }

    #[test]
    fn fields_outside_are_not_read() {
        for layout in [&NTB16, &NTB32] {
            let bytes = [0xff; 8];
            assert!(layout.word(&bytes, usize::MAX).is_none());
            assert!(layout.word(&bytes, 7).is_none());
            assert!(layout.entry(&bytes, usize::MAX - 3).is_none());
        }
    }
}
