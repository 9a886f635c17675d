//! The place of each field of a finished NTB, for tests and experiments that overwrite a field with
//! a wrong value.

use std::ops::Range;

use crate::layout::{BLOCK_LENGTH, Format, HEADER_LENGTH, NDP_LENGTH, SEQUENCE};

/// Field of an NTB (NCM 1.0, tables 3-1 to 3-4). `at` is the offset of the NDP that has the field,
/// in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// Signature of the NTH.
    Signature,
    /// `wHeaderLength`.
    HeaderLength,
    /// `wSequence`.
    Sequence,
    /// `wBlockLength`, or `dwBlockLength`.
    BlockLength,
    /// `wNdpIndex`, or `dwNdpIndex`.
    NdpIndex,
    /// Signature of an NDP.
    NdpSignature {
        /// Offset of the NDP.
        at: usize,
    },
    /// `wLength` of an NDP.
    NdpLength {
        /// Offset of the NDP.
        at: usize,
    },
    /// `wNextNdpIndex`, or `dwNextNdpIndex`.
    NextNdp {
        /// Offset of the NDP.
        at: usize,
    },
    /// `wDatagramIndex`, or `dwDatagramIndex`.
    DatagramIndex {
        /// Offset of the NDP.
        at: usize,
        /// Number of the entry in the NDP, from 0.
        entry: usize,
    },
    /// `wDatagramLength`, or `dwDatagramLength`.
    DatagramLength {
        /// Offset of the NDP.
        at: usize,
        /// Number of the entry in the NDP, from 0.
        entry: usize,
    },
}

impl Field {
    /// Returns the range of bytes that the field occupies in an NTB, even where the NTB is too
    /// short for it. The field is little endian unless it is a signature. `None` is returned when
    /// the offset overflows `usize`.
    #[must_use]
    pub fn range(self, format: Format) -> Option<Range<usize>> {
        let layout = format.layout();
        let word = layout.entry / 2;
        let (start, length) = match self {
            Self::Signature => (0, 4),
            Self::HeaderLength => (HEADER_LENGTH, 2),
            Self::Sequence => (SEQUENCE, 2),
            Self::BlockLength => (BLOCK_LENGTH, word),
            Self::NdpIndex => (layout.ndp_index(), word),
            Self::NdpSignature { at } => (at, 4),
            Self::NdpLength { at } => (at.checked_add(NDP_LENGTH)?, 2),
            Self::NextNdp { at } => (at.checked_add(layout.next_ndp)?, word),
            Self::DatagramIndex { at, entry } => {
                let inside = entry.checked_mul(layout.entry)?.checked_add(layout.ndp)?;
                (at.checked_add(inside)?, word)
            }
            Self::DatagramLength { at, entry } => {
                let inside = entry.checked_mul(layout.entry)?.checked_add(layout.ndp)?;
                (at.checked_add(inside)?.checked_add(word)?, word)
            }
        };
        Some(start..start.checked_add(length)?)
    }

    /// Returns the value of the field in `ntb`; `None` when it does not lie inside. A signature is
    /// read as a little-endian number.
    #[must_use]
    pub fn read(self, format: Format, ntb: &[u8]) -> Option<u32> {
        let bytes = ntb.get(self.range(format)?)?;
        let folded = bytes.iter().rev();
        Some(folded.fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    /// Writes a value into the field. Returns whether the field lies inside `ntb` and can hold the
    /// value; otherwise nothing is written.
    #[must_use]
    pub fn write(self, format: Format, ntb: &mut [u8], value: u32) -> bool {
        let bytes = self.range(format).and_then(|range| ntb.get_mut(range));
        let Some(bytes) = bytes else { return false };
        let value = value.to_le_bytes();
        let (low, high) = value.split_at(bytes.len());
        let fits = high.iter().all(|byte| *byte == 0);
        if fits {
            bytes.copy_from_slice(low);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An NTB of each format with one datagram at 0x14, its NDP in front (NCM 1.0, 3.2 and 3.3).
    #[test]
    fn fields_lie_where_the_specification_has_them() {
        let mut ntb16 = [0_u8; 28];
        let mut ntb32 = [0_u8; 48];
        for (format, ntb, at, fields) in [
            (
                Format::Ntb16,
                &mut ntb16[..],
                12,
                [
                    (4, 2),
                    (6, 2),
                    (8, 2),
                    (10, 2),
                    (16, 2),
                    (18, 2),
                    (24, 2),
                    (26, 2),
                ],
            ),
            (
                Format::Ntb32,
                &mut ntb32[..],
                16,
                [
                    (4, 2),
                    (6, 2),
                    (8, 4),
                    (12, 4),
                    (20, 2),
                    (24, 4),
                    (40, 4),
                    (44, 4),
                ],
            ),
        ] {
            let names = [
                Field::HeaderLength,
                Field::Sequence,
                Field::BlockLength,
                Field::NdpIndex,
                Field::NdpLength { at },
                Field::NextNdp { at },
                Field::DatagramIndex { at, entry: 1 },
                Field::DatagramLength { at, entry: 1 },
            ];
            for (number, (name, (start, length))) in names.into_iter().zip(fields).enumerate() {
                assert_eq!(name.range(format), Some(start..start + length), "{name:?}");
                let value = number as u32 + 0x1234;
                assert!(name.write(format, ntb, value));
                assert_eq!(name.read(format, ntb), Some(value));
                assert_eq!(name.write(format, ntb, 0x1_0000), length == 4, "{name:?}");
            }
            let outside = Field::DatagramIndex { at, entry: 2 };
            assert_eq!(outside.read(format, ntb), None);
            assert!(!outside.write(format, ntb, 0));
        }
        for entry in [usize::MAX, usize::MAX / 4] {
            let beyond = Field::DatagramLength {
                at: usize::MAX,
                entry,
            };
            assert_eq!(beyond.range(Format::Ntb32), None);
        }
    }
}
