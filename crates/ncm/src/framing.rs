//! The layout of NTBs towards the device, and how it is negotiated from the NTB parameters.

use std::fmt;

use crate::layout::Format;
use crate::link::LinkHeader;
use crate::parameters::NtbParameters;

/// Place of the NDPs in an NTB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Placement {
    /// The NDP lies behind the datagrams. There is one NDP, and so one stream, in an NTB, unless
    /// [`crate::Builder::begin_next_ndp`] asks for another. Huawei firmware swallows any other NTB.
    #[default]
    End,
    /// The NDPs lie in front of their datagrams, one for each stream, chained.
    Front,
}

/// Length of an NDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NdpSize {
    /// An NDP has its header, the used entries and the terminator, as OpenBSD does it. An NDP in
    /// front is placed before its entries are known and always takes the full size.
    #[default]
    Minimal,
    /// An NDP has as many bytes as the largest number of datagrams of an NTB needs, with unused
    /// entries zero, as Linux does it. `wLength` still counts only what is used.
    Full,
}

/// Means by which an NTB ends in a short packet, which tells the device where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Padding {
    /// Nothing is added: where a short packet is needed [`crate::Finished::zero_packet`] asks for a
    /// zero-length packet.
    Never,
    /// One zero byte is added where the length would be a multiple of the packet size.
    #[default]
    ShortPacket,
    /// NTBs longer than `min_tx_pkt` bytes are filled with zeros to the maximum, and others get one
    /// zero byte at multiples of the packet size. This is Linux' rule for devices without
    /// zero-length packets.
    Full {
        /// Length in bytes up to which an NTB is not filled to the maximum.
        min_tx_pkt: usize,
    },
}

/// Course of `wSequence` over the NTBs of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sequence {
    /// Each NTB has one more than the one before, as the specification has it (NCM 1.0, 3.2.1).
    #[default]
    Rising,
    /// Each NTB has 0.
    Constant,
    /// The numbers follow no order; each comes once in 65536 NTBs.
    Random,
    /// After every second NTB the number is 0 again.
    Restart,
    /// Every other number is left out, as if an NTB had been lost.
    Skip,
}

impl Sequence {
    /// Returns the number of the NTB behind the one with the number `last`.
    #[inline]
    #[must_use]
    pub fn next(self, last: u16) -> u16 {
        match self {
            Self::Rising => last.wrapping_add(1),
            Self::Constant => 0,
            // A linear congruence of full period (Hull and Dobell).
            Self::Random => last.wrapping_mul(25_173).wrapping_add(13_849),
            Self::Restart => last.wrapping_add(1) % 2,
            Self::Skip => last.wrapping_add(2),
        }
    }
}

/// Kind of what an NTB carries, which decides how the payload remainder is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Function {
    /// NTBs carry IP packets: the remainder applies to the datagram's start (MBIM 1.0, 7).
    #[default]
    Mbim,
    /// NTBs carry Ethernet frames: the remainder applies to what follows their 14-byte header (NCM
    /// 1.0, 3.3.4).
    Ncm,
}

impl Function {
    /// Returns what offsets of datagrams are modulo `divisor`, given the device's payload
    /// remainder. A divisor of 0 counts as 1.
    #[must_use]
    pub fn offset_remainder(self, divisor: usize, remainder: usize) -> usize {
        let divisor = divisor.max(1);
        match self {
            Self::Mbim => remainder,
            Self::Ncm => (remainder % divisor + divisor - ETHERNET_HEADER % divisor) % divisor,
        }
    }
}

/// Shortest Ethernet frame in bytes, without its CRC (IEEE 802.3, 3.2.8): some networks behind a
/// dock drop shorter ones.
const LEAST_FRAME: usize = 60;
/// Length of an Ethernet header in bytes.
const ETHERNET_HEADER: usize = 14;
/// Largest number of datagrams in an NTB unless the device says less (Linux
/// `CDC_NCM_DPT_DATAGRAMS_MAX`). No firmware has been fed more by the drivers it was tested with.
const USUAL_DATAGRAMS: usize = 40;
/// Length of the longest NTB in bytes unless the device says less: one buffer of page order 2 in
/// the kernel, and one URB in every backend.
const USUAL_BLOCK: usize = 16384;
/// Layout that the user or the quirk table asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choices {
    /// Width of the length and index fields. NTB16 is taken where the device knows no NTB32.
    pub format: Format,
    /// Place of the NDPs.
    pub placement: Placement,
    /// Length of an NDP.
    pub ndp_size: NdpSize,
    /// Means by which an NTB ends in a short packet.
    pub padding: Padding,
    /// Whether NTBs carry IP packets or Ethernet frames.
    pub function: Function,
    /// Length of the longest NTB to build, in bytes; the device's own limit stays in force.
    pub block_size: usize,
    /// Number of datagrams an NTB holds at most; the device's own limit stays in force.
    pub max_datagrams: usize,
    /// Length of the longest datagram in bytes.
    pub max_datagram_size: usize,
    /// `wMaxPacketSize` of the bulk OUT endpoint in bytes.
    pub max_packet_size: usize,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            format: Format::default(),
            placement: Placement::default(),
            ndp_size: NdpSize::default(),
            padding: Padding::default(),
            function: Function::default(),
            block_size: USUAL_BLOCK,
            max_datagrams: USUAL_DATAGRAMS,
            max_datagram_size: 8192,
            max_packet_size: 512,
        }
    }
}

/// Layout of the NTBs towards the device. All sizes are in bytes.
///
/// Made by [`Framing::negotiate`]; for experiments every field can be set by hand:
/// [`crate::Builder::new`] brings what cannot work back into range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// Width of the length and index fields.
    pub format: Format,
    /// Place of the NDPs.
    pub placement: Placement,
    /// Length of an NDP.
    pub ndp_size: NdpSize,
    /// Means by which an NTB ends in a short packet.
    pub padding: Padding,
    /// Number of bytes modulo which the offset of a datagram is `remainder`.
    pub divisor: usize,
    /// Remainder of a datagram's offset modulo `divisor`.
    pub remainder: usize,
    /// Number of bytes of which the offset of an NDP is a multiple.
    pub ndp_alignment: usize,
    /// Length of the longest NTB to build: the buffer handed to [`crate::Builder::finish`] has at
    /// least so many bytes.
    pub max_ntb: usize,
    /// `dwNtbOutMaxSize` as announced: an NTB of exactly this length needs no short packet.
    pub device_max_ntb: usize,
    /// Number of datagrams one NTB holds at most.
    pub max_datagrams: usize,
    /// Length to which shorter datagrams are padded with zeros.
    pub min_datagram_size: usize,
    /// Length of the longest datagram.
    pub max_datagram_size: usize,
    /// `wMaxPacketSize` of the bulk OUT endpoint.
    pub max_packet_size: usize,
    /// Course of `wSequence`.
    pub sequence: Sequence,
    /// Number of NTBs without datagrams that the sender puts in front of each NTB. The builder makes
    /// them on demand ([`crate::Builder::finish_empty`]).
    pub empty_before: usize,
    /// Ethernet header that the builder puts in front of each datagram, where datagrams are IP and
    /// frames are wanted, whatever stream they are placed in. [`Framing::max_datagram_size`] and
    /// [`Framing::min_datagram_size`] are then lengths of frames, and the offset of a frame obeys the
    /// remainder.
    pub link: Option<LinkHeader>,
    /// Whether there is no NTB at all: each transfer is one datagram (CDC ECM 1.2, 3.3.1).
    pub bare: bool,
}

impl Framing {
    /// Returns whether the device sees the end of an NTB of `length` bytes only by a zero-length
    /// packet: the NTB fills its last packet and is not as long as [`Framing::device_max_ntb`].
    #[inline]
    #[must_use]
    pub fn needs_zero_packet(&self, length: usize) -> bool {
        length.is_multiple_of(self.max_packet_size) && length != self.device_max_ntb
    }

    /// Tells whether the padding may decide if the device sees the end of an NTB of `length` bytes: it
    /// fills its last packet, did so before one byte was added, or is long enough to be filled up to
    /// the maximum.
    #[inline]
    #[must_use]
    pub fn depends_on_padding(&self, length: usize) -> bool {
        length % self.max_packet_size.max(1) <= 1
            || length + 3 * self.max_packet_size > self.max_ntb
    }

    /// Returns the framing of a function without NTBs (CDC ECM 1.2): one frame of at most `frame` bytes in
    /// a transfer, which ends with a zero-length packet where it fills its last packet of
    /// `max_packet_size` bytes.
    #[must_use]
    pub fn bare(frame: usize, max_packet_size: usize) -> Self {
        let choices = Choices {
            function: Function::Ncm,
            padding: Padding::Never,
            max_datagrams: 1,
            max_datagram_size: frame,
            max_packet_size,
            ..Choices::default()
        };
        Self {
            max_ntb: frame,
            device_max_ntb: 0,
            bare: true,
            ..Self::negotiate(&NtbParameters::FALLBACK, &choices)
        }
    }

    /// Returns the framing that follows from what the device announces and what is asked for.
    ///
    /// Any parameters are taken, because they are [sanitised](NtbParameters::sanitised) first.
    #[must_use]
    pub fn negotiate(parameters: &NtbParameters, choices: &Choices) -> Self {
        let sane = parameters.sanitised();
        let format = if sane.supports(choices.format) {
            choices.format
        } else {
            choices.format.other()
        };
        let max_packet_size = choices.max_packet_size.max(1);
        let mut max_ntb = choices.block_size.clamp(1, sane.out_max as usize);
        if max_ntb > format.max_ntb() {
            // A whole number of packets, as every usual NTB size is.
            max_ntb = format.max_ntb() / max_packet_size * max_packet_size;
        }
        let divisor = usize::from(sane.out_divisor);
        let remainder = usize::from(sane.out_remainder);
        let remainder = choices.function.offset_remainder(divisor, remainder);
        let max_datagrams = match usize::from(sane.out_max_datagrams) {
            0 => choices.max_datagrams,
            limit => choices.max_datagrams.min(limit),
        };
        Self {
            format,
            placement: choices.placement,
            ndp_size: choices.ndp_size,
            padding: choices.padding,
            divisor,
            remainder,
            ndp_alignment: usize::from(sane.out_alignment),
            max_ntb,
            device_max_ntb: parameters.out_max as usize,
            max_datagrams: max_datagrams.max(1),
            min_datagram_size: match choices.function {
                Function::Mbim => 0,
                Function::Ncm => LEAST_FRAME,
            },
            max_datagram_size: choices.max_datagram_size,
            max_packet_size,
            sequence: Sequence::Rising,
            empty_before: 0,
            link: None,
            bare: false,
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "end",
            Self::Front => "front",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(out_max: u32) -> NtbParameters {
        NtbParameters {
            formats: 3,
            out_max,
            ..NtbParameters::FALLBACK
        }
    }

    /// Only the size the device announced ends an NTB by itself, not what that was clamped to.
    #[test]
    fn a_full_ntb_ends_short_unless_it_is_as_long_as_announced() {
        for (announced, needs) in [(65_536, false), (131_072, true), (0, true)] {
            let choices = Choices {
                format: Format::Ntb32,
                padding: Padding::Never,
                block_size: 131_072,
                ..Choices::default()
            };
            let framing = Framing::negotiate(&out(announced), &choices);
            assert_eq!(framing.max_ntb, 65_536, "{announced}");
            assert_eq!(framing.needs_zero_packet(65_536), needs, "{announced}");
            assert!(framing.needs_zero_packet(512));
            for (length, depends) in [(511, false), (512, true), (513, true), (64_001, true)] {
                assert_eq!(framing.depends_on_padding(length), depends, "{length}");
            }
            assert!(!framing.needs_zero_packet(65_535));
        }
    }

    #[test]
    fn every_course_of_the_sequence_is_what_it_says() {
        let course = |sequence: Sequence| {
            std::iter::successors(Some(0), move |last| Some(sequence.next(*last)))
        };
        let first = |sequence| course(sequence).take(6).collect::<Vec<u16>>();
        assert_eq!(first(Sequence::Rising), [0, 1, 2, 3, 4, 5]);
        assert_eq!(first(Sequence::Constant), [0; 6]);
        assert_eq!(first(Sequence::Restart), [0, 1, 0, 1, 0, 1]);
        assert_eq!(first(Sequence::Skip), [0, 2, 4, 6, 8, 10]);
        let random: std::collections::HashSet<u16> =
            course(Sequence::Random).take(65_536).collect();
        assert_eq!(random.len(), 65_536);
        let mut rising = course(Sequence::Rising).skip(65_535);
        assert_eq!((rising.next(), rising.next()), (Some(65_535), Some(0)));
    }

    /// Huawei E5785 and E5885 (Linux 0fa81b304a79).
    #[test]
    fn a_device_that_offers_ntb32_alone_gets_ntb32() {
        for (formats, wanted, format) in [
            (2, Format::Ntb16, Format::Ntb32),
            (2, Format::Ntb32, Format::Ntb32),
            (1, Format::Ntb32, Format::Ntb16),
            (0, Format::Ntb32, Format::Ntb16),
            (3, Format::Ntb16, Format::Ntb16),
        ] {
            let parameters = NtbParameters {
                formats,
                ..NtbParameters::FALLBACK
            };
            let choices = Choices {
                format: wanted,
                ..Choices::default()
            };
            assert_eq!(Framing::negotiate(&parameters, &choices).format, format);
        }
    }

    #[test]
    fn ntb16_stays_below_its_length_field() {
        let choices = Choices {
            block_size: 65536,
            ..Choices::default()
        };
        let framing = Framing::negotiate(&out(65536), &choices);
        assert_eq!(framing.max_ntb, 65024);
        let choices = Choices {
            format: Format::Ntb32,
            ..choices
        };
        assert_eq!(Framing::negotiate(&out(65536), &choices).max_ntb, 65536);
    }

    #[test]
    fn the_devices_limits_win() {
        let parameters = NtbParameters {
            formats: 1,
            out_max: 4096,
            out_max_datagrams: 7,
            ..NtbParameters::FALLBACK
        };
        let choices = Choices {
            format: Format::Ntb32,
            ..Choices::default()
        };
        let framing = Framing::negotiate(&parameters, &choices);
        assert_eq!(framing.format, Format::Ntb16);
        assert_eq!(framing.max_ntb, 4096);
        assert_eq!(framing.max_datagrams, 7);
    }

    #[test]
    fn the_remainder_of_ncm_counts_behind_the_ethernet_header() {
        let parameters = NtbParameters {
            out_divisor: 32,
            out_remainder: 0,
            ..NtbParameters::FALLBACK
        };
        let choices = Choices {
            function: Function::Ncm,
            ..Choices::default()
        };
        let framing = Framing::negotiate(&parameters, &choices);
        assert_eq!((framing.remainder + 14) % 32, 0);
    }
}
