//! The sizes and alignments a device announces (GET_NTB_PARAMETERS).

use byteorder::{ByteOrder, LittleEndian};
use serde::{Deserialize, Serialize};

use crate::layout::Format;

/// The NTB parameter structure (NCM 1.0, table 6-3), as the device sent it. *In* is towards the
/// host, *out* towards the device; all sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NtbParameters {
    /// `bmNtbFormatsSupported`: bit 0 NTB16, bit 1 NTB32.
    pub formats: u16,
    /// `dwNtbInMaxSize`: the longest NTB the device sends unless told to stay below.
    pub in_max: u32,
    /// `wNdpInDivisor`: the number of bytes modulo which the offsets of datagrams are the
    /// remainder.
    pub in_divisor: u16,
    /// `wNdpInPayloadRemainder`: the remainder of datagrams' offsets modulo the divisor.
    pub in_remainder: u16,
    /// `wNdpInAlignment`: the number of bytes at multiples of which NDPs start.
    pub in_alignment: u16,
    /// `dwNtbOutMaxSize`: the longest NTB the device takes.
    pub out_max: u32,
    /// `wNdpOutDivisor`: the divisor of NTBs towards the device.
    pub out_divisor: u16,
    /// `wNdpOutPayloadRemainder`: the remainder of NTBs towards the device.
    pub out_remainder: u16,
    /// `wNdpOutAlignment`: the alignment of NDPs towards the device.
    pub out_alignment: u16,
    /// `wNtbOutMaxDatagrams`: the largest number of datagrams in one NTB towards the device; 0 for
    /// no limit.
    pub out_max_datagrams: u16,
}

/// Least length in bytes of the longest NTB, whatever the device says (Linux
/// `USB_CDC_NCM_NTB_MIN_IN_SIZE` and `…_OUT_SIZE`).
const SMALLEST_BLOCK: u32 = 2048;
/// Length in bytes of the longest NTB towards any device (Linux `CDC_NCM_NTB_MAX_SIZE_TX`).
const LONGEST_OUT: u32 = 65536;
/// Length in bytes of the longest NTB that a device may send. Devices announce up to 128 KiB, and
/// anything above is taken for noise.
const LONGEST_IN: u32 = 1 << 20;

impl NtbParameters {
    /// Length of the encoded structure in bytes.
    pub const LENGTH: usize = 28;

    /// Parameters of a device that does not answer: 8 KiB both ways, NTB16 only, alignment 4 (the
    /// choice of OpenBSD `if_umb`).
    pub const FALLBACK: Self = Self {
        formats: 1,
        in_max: 8192,
        in_divisor: 4,
        in_remainder: 0,
        in_alignment: 4,
        out_max: 8192,
        out_divisor: 4,
        out_remainder: 0,
        out_alignment: 4,
        out_max_datagrams: 0,
    };

    /// Reads an answer to GET_NTB_PARAMETERS of any length, little endian: what is missing is zero,
    /// and what is too much is ignored, as in Linux. [`NtbParameters::sanitised`] makes it usable.
    #[must_use]
    pub fn parse(answer: &[u8]) -> Self {
        let mut bytes = [0; Self::LENGTH];
        let length = answer.len().min(Self::LENGTH);
        bytes[..length].copy_from_slice(&answer[..length]);
        let half = |at: usize| LittleEndian::read_u16(&bytes[at..at + 2]);
        let full = |at: usize| LittleEndian::read_u32(&bytes[at..at + 4]);
        Self {
            formats: half(2),
            in_max: full(4),
            in_divisor: half(8),
            in_remainder: half(10),
            in_alignment: half(12),
            out_max: full(16),
            out_divisor: half(20),
            out_remainder: half(22),
            out_alignment: half(24),
            out_max_datagrams: half(26),
        }
    }

    /// Returns the structure as a device sends it, little endian, `wLength` first.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let mut half = |at: usize, value| LittleEndian::write_u16(&mut bytes[at..at + 2], value);
        half(0, Self::LENGTH as u16);
        half(2, self.formats);
        half(8, self.in_divisor);
        half(10, self.in_remainder);
        half(12, self.in_alignment);
        half(20, self.out_divisor);
        half(22, self.out_remainder);
        half(24, self.out_alignment);
        half(26, self.out_max_datagrams);
        LittleEndian::write_u32(&mut bytes[4..8], self.in_max);
        LittleEndian::write_u32(&mut bytes[16..20], self.out_max);
        bytes
    }

    /// Returns values one can work with, whatever the device said: sizes within 2 KiB and 64 KiB
    /// out (1 MiB in), an output size of 0 read as "no limit", divisors and alignments that are
    /// below 4, no power of two, or not below the NTB size replaced by 4, remainders not below
    /// their divisor replaced by 0 (Linux `cdc_ncm_fix_modulus`, `cdc_ncm_check_tx_max`). A device
    /// that names neither format counts as one of NTB16.
    #[must_use]
    pub fn sanitised(&self) -> Self {
        let in_max = self.in_max.clamp(SMALLEST_BLOCK, LONGEST_IN);
        let out_max = match self.out_max {
            0 => LONGEST_OUT,
            size => size.clamp(SMALLEST_BLOCK, LONGEST_OUT),
        };
        let modulus = |value: u16, limit: u32| {
            if value < 4 || !value.is_power_of_two() || u32::from(value) >= limit {
                4
            } else {
                value
            }
        };
        let in_divisor = modulus(self.in_divisor, in_max);
        let out_divisor = modulus(self.out_divisor, out_max);
        let remainder = |value, divisor| if value >= divisor { 0 } else { value };
        Self {
            formats: if self.supports(Format::Ntb16) || self.supports(Format::Ntb32) {
                self.formats
            } else {
                1
            },
            in_max,
            in_divisor,
            in_remainder: remainder(self.in_remainder, in_divisor),
            in_alignment: modulus(self.in_alignment, in_max),
            out_max,
            out_divisor,
            out_remainder: remainder(self.out_remainder, out_divisor),
            out_alignment: modulus(self.out_alignment, out_max),
            out_max_datagrams: self.out_max_datagrams,
        }
    }

    /// Returns whether the device says that it knows `format`.
    #[must_use]
    pub fn supports(&self, format: Format) -> bool {
        self.formats & (1 << format.wire()) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parameter structure a Linux 6.12 `f_ncm` gadget answers with at its defaults.
    const F_NCM: [u8; 28] = [
        0x1c, 0x00, 0x03, 0x00, 0x00, 0x40, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00,
        0x00, 0x00, 0x40, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00,
    ];

    #[test]
    fn the_gadgets_structure_reads_and_writes_back() {
        let parameters = NtbParameters::parse(&F_NCM);
        assert_eq!((parameters.in_max, parameters.out_max), (16384, 16384));
        assert!(parameters.supports(Format::Ntb16) && parameters.supports(Format::Ntb32));
        assert_eq!(parameters.encode(), F_NCM);
        assert_eq!(parameters.sanitised(), parameters);
    }

    #[test]
    fn answers_of_any_length_are_usable() {
        for length in 0..40 {
            let answer = vec![0xff; length];
            let sane = NtbParameters::parse(&answer).sanitised();
            assert!((2048..=1 << 20).contains(&sane.in_max));
            assert!((2048..=65536).contains(&sane.out_max));
            assert!(sane.supports(Format::Ntb16) || sane.supports(Format::Ntb32));
            for value in [sane.in_divisor, sane.out_divisor, sane.out_alignment] {
                assert!(value.is_power_of_two() && value >= 4);
            }
            assert!(sane.out_remainder < sane.out_divisor);
        }
        assert_eq!(NtbParameters::parse(&[]).sanitised().out_max, 65536);
    }

    #[test]
    fn nonsense_alignments_become_four() {
        for value in [0, 1, 2, 3, 5, 6, 12, 0x4000, 0x8000, 0xffff] {
            let sane = NtbParameters {
                out_max: 16384,
                out_divisor: value,
                out_alignment: value,
                out_remainder: 4,
                ..NtbParameters::FALLBACK
            }
            .sanitised();
            assert_eq!((sane.out_divisor, sane.out_alignment), (4, 4), "{value}");
            assert_eq!(sane.out_remainder, 0);
        }
        let sane = NtbParameters {
            out_divisor: 32,
            out_remainder: 18,
            ..NtbParameters::FALLBACK
        }
        .sanitised();
        assert_eq!((sane.out_divisor, sane.out_remainder), (32, 18));
    }
}
