//! The strictest reading of the rules for NTBs towards a device: everything that a firmware may
//! insist on.
//!
//! Everything the Linux gadget `f_ncm` insists on (`ncm_unwrap_ntb`), the signatures of MBIM, and
//! what the specification demands though few check it: alignment of NDPs and datagrams,
//! terminators, reserved fields, no overlaps, NDP placement, the short packet at the end. The
//! emulated modem measures its host with this; the builder's tests do too.

use std::ops::Range;

use thiserror::Error;

use crate::crc::crc32;
use crate::framing::{Function, Placement};
use crate::layout::{
    BLOCK_LENGTH, Format, HEADER_LENGTH, Layout, NDP_LENGTH, SEQUENCE, Stream, signature_at, u16_at,
};
use crate::parameters::NtbParameters;

/// Demands that a device makes beside its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Format that was set; `None` takes either.
    pub format: Option<Format>,
    /// Place where the NDP must be; `None` takes either.
    pub placement: Option<Placement>,
    /// Kind of what NTBs carry.
    pub function: Function,
    /// Whether a CRC-32 follows each Ethernet frame.
    pub crc: bool,
    /// Length of the longest datagram in bytes.
    pub max_datagram_size: usize,
    /// `wMaxPacketSize` of the bulk OUT endpoint; `None` leaves the short packet unchecked.
    pub max_packet_size: Option<usize>,
    /// Whether every byte that is neither header, NDP nor datagram must be zero. The specification
    /// does not ask for it, but anything else is memory that leaks to the device.
    pub zero_padding: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            format: None,
            placement: None,
            function: Function::Mbim,
            crc: false,
            max_datagram_size: 8192,
            max_packet_size: None,
            zero_padding: true,
        }
    }
}

/// Content of a transfer without fault, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Number of NTBs in the transfer.
    pub ntbs: usize,
    /// Number of datagrams in the transfer.
    pub datagrams: usize,
    /// Number of bytes of datagrams in the transfer.
    pub payload: usize,
    /// `wSequence` of the first NTB; further ones count on from it.
    pub sequence: u16,
}

/// Fault of a transfer. Offsets and lengths are in bytes, and offsets are relative to the NTB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Violation {
    /// The transfer is too short for an NTB.
    #[error("{0} bytes are too short for an NTB")]
    Runt(usize),
    /// The NTB starts with no signature, or with that of the other format.
    #[error("NTB signature {0:02x?}")]
    Signature([u8; 4]),
    /// `wHeaderLength` is not that of the format.
    #[error("wHeaderLength is {0}")]
    HeaderLength(u16),
    /// The sequence number does not count on within the transfer.
    #[error("wSequence is {found} instead of {expected}")]
    Sequence {
        /// Value as sent.
        found: u16,
        /// Value expected: one more than that of the NTB before.
        expected: u16,
    },
    /// The NTB length is too short, more than what was received, or more than `dwNtbOutMaxSize`.
    #[error("NTB length is {length}, of {received} received and {limit} allowed")]
    BlockLength {
        /// Value as sent.
        length: usize,
        /// Number of bytes received.
        received: usize,
        /// `dwNtbOutMaxSize`.
        limit: usize,
    },
    /// The transfer is longer than `dwNtbOutMaxSize`.
    #[error("transfer of {length} bytes, {limit} allowed")]
    TransferLength {
        /// Number of bytes received.
        length: usize,
        /// `dwNtbOutMaxSize`.
        limit: usize,
    },
    /// No short packet tells where the transfer ends.
    #[error("transfer of {0} bytes ends without a short packet")]
    NoShortPacket(usize),
    /// An NDP index lies inside the header or too close to the end.
    #[error("NDP at {0} is inside the header or does not fit")]
    NdpIndex(usize),
    /// An NDP is not aligned.
    #[error("NDP at {at} is no multiple of {alignment}")]
    NdpAlignment {
        /// Offset in the NTB.
        at: usize,
        /// `wNdpOutAlignment`.
        alignment: usize,
    },
    /// A signature is none of this function and format.
    #[error("NDP at {at} has signature {signature:02x?}")]
    NdpSignature {
        /// Offset in the NTB.
        at: usize,
        /// Value as sent.
        signature: [u8; 4],
    },
    /// `wLength` is too small, is no whole number of entries, or reaches beyond the NTB.
    #[error("NDP at {at} has wLength {length}")]
    NdpLength {
        /// Offset in the NTB.
        at: usize,
        /// Value as sent.
        length: usize,
    },
    /// A reserved field is not zero.
    #[error("NDP at {at} has a reserved field that is not zero")]
    NdpReserved {
        /// Offset in the NTB.
        at: usize,
    },
    /// An NDP has no zero entry at its end.
    #[error("NDP at {at} has no terminator")]
    NdpTerminator {
        /// Offset in the NTB.
        at: usize,
    },
    /// A chain of NDPs does not go forward.
    #[error("NDP at {from} is followed by one at {to}")]
    NdpOrder {
        /// Offset of an NDP.
        from: usize,
        /// Offset of the next NDP.
        to: usize,
    },
    /// An NDP lies on the wrong side of its datagrams, or there is more than one at the end.
    #[error("NDP at {at} is not placed at the {wanted}")]
    NdpPlacement {
        /// Offset in the NTB.
        at: usize,
        /// Place where the NDP must be.
        wanted: Placement,
    },
    /// A datagram lies inside the header or reaches beyond the NTB.
    #[error("datagram at {at} with {length} bytes is not inside the NTB")]
    DatagramBounds {
        /// Offset in the NTB.
        at: usize,
        /// Length in bytes.
        length: usize,
    },
    /// A datagram is not aligned.
    #[error("datagram at {at}: modulo {divisor} it should be {remainder}")]
    DatagramAlignment {
        /// Offset in the NTB.
        at: usize,
        /// `wNdpOutDivisor`.
        divisor: usize,
        /// `wNdpOutPayloadRemainder`, with the Ethernet header taken off for NCM.
        remainder: usize,
    },
    /// A datagram is shorter than its header or longer than agreed on.
    #[error("datagram at {at} has {length} bytes")]
    DatagramLength {
        /// Offset in the NTB.
        at: usize,
        /// Length in bytes.
        length: usize,
    },
    /// A datagram of an IP session is neither IPv4 nor IPv6.
    #[error("datagram at {at} is no IP packet: it starts with {first:#04x}")]
    DatagramVersion {
        /// Offset in the NTB.
        at: usize,
        /// First byte of the datagram.
        first: u8,
    },
    /// The CRC behind a frame is wrong.
    #[error("datagram at {at} has a wrong CRC")]
    DatagramCrc {
        /// Offset in the NTB.
        at: usize,
    },
    /// The NTB has more datagrams than `wNtbOutMaxDatagrams`.
    #[error("more than {limit} datagrams in an NTB")]
    DatagramCount {
        /// `wNtbOutMaxDatagrams`.
        limit: usize,
    },
    /// Header, NDPs or datagrams overlap.
    #[error("bytes at {at} are used twice")]
    Overlap {
        /// Offset of the first such byte.
        at: usize,
    },
    /// A byte of padding is not zero.
    #[error("padding at {at} is not zero")]
    Padding {
        /// Offset of the first such byte.
        at: usize,
    },
}

/// Checks a whole OUT transfer against the device's parameters (taken
/// [sanitised](NtbParameters::sanitised)) and `rules`. `zero_packet` tells whether the transfer
/// ended with a zero-length packet.
///
/// # Errors
/// The first violation found.
pub fn check(
    transfer: &[u8],
    zero_packet: bool,
    parameters: &NtbParameters,
    rules: &Rules,
) -> Result<Checked, Violation> {
    let announced = parameters.out_max as usize;
    let parameters = parameters.sanitised();
    let limit = parameters.out_max as usize;
    let length = transfer.len();
    if length > limit {
        return Err(Violation::TransferLength { length, limit });
    }
    if let Some(packet) = rules.max_packet_size
        && length.is_multiple_of(packet.max(1))
        && length != announced
        && !zero_packet
    {
        return Err(Violation::NoShortPacket(length));
    }
    let mut checked = Checked::default();
    let mut rest = transfer;
    loop {
        let ntb = Strict::open(rest, limit, &parameters, rules)?;
        let expected = checked.sequence.wrapping_add(checked.ntbs as u16);
        if checked.ntbs == 0 {
            checked.sequence = ntb.sequence;
        } else if ntb.sequence != expected {
            return Err(Violation::Sequence {
                found: ntb.sequence,
                expected,
            });
        }
        ntb.check(&mut checked)?;
        checked.ntbs += 1;
        rest = &rest[ntb.bytes.len()..];
        // Windows ends NTBs with one zero byte behind them instead of a zero-length packet.
        if matches!(rest, [] | [0]) {
            return Ok(checked);
        }
    }
}

struct Strict<'a> {
    bytes: &'a [u8],
    layout: &'static Layout,
    sequence: u16,
    parameters: &'a NtbParameters,
    rules: &'a Rules,
}

impl<'a> Strict<'a> {
    fn open(
        rest: &'a [u8],
        limit: usize,
        parameters: &'a NtbParameters,
        rules: &'a Rules,
    ) -> Result<Self, Violation> {
        let runt = Violation::Runt(rest.len());
        let signature = signature_at(rest, 0).ok_or(runt)?;
        let layout = match &signature {
            b"NCMH" => Format::Ntb16.layout(),
            b"ncmh" => Format::Ntb32.layout(),
            _ => return Err(Violation::Signature(signature)),
        };
        if rules.format.is_some_and(|format| format != layout.format) {
            return Err(Violation::Signature(signature));
        }
        let header_length = u16_at(rest, HEADER_LENGTH).ok_or(runt)?;
        if usize::from(header_length) != layout.header {
            return Err(Violation::HeaderLength(header_length));
        }
        let sequence = u16_at(rest, SEQUENCE).ok_or(runt)?;
        let received = rest.len();
        let length = match layout.word(rest, BLOCK_LENGTH).ok_or(runt)? {
            0 => received,
            length => length,
        };
        if length < layout.header + layout.ndp || length > received.min(limit) {
            return Err(Violation::BlockLength {
                length,
                received,
                limit,
            });
        }
        Ok(Self {
            bytes: &rest[..length],
            layout,
            sequence,
            parameters,
            rules,
        })
    }

    /// Goes through all NDPs and adds their datagrams to `checked`.
    fn check(&self, checked: &mut Checked) -> Result<(), Violation> {
        let mut used = vec![(0..self.layout.header, true)];
        let mut datagrams = 0;
        let mut at = self
            .layout
            .word(self.bytes, self.layout.ndp_index())
            .ok_or(Violation::Runt(self.bytes.len()))?;
        loop {
            let (next, found) = self.check_ndp(at, &mut used)?;
            datagrams += found;
            if next == 0 {
                break;
            }
            if self.rules.placement == Some(Placement::End) {
                return Err(Violation::NdpPlacement {
                    at: next,
                    wanted: Placement::End,
                });
            }
            if next <= at {
                return Err(Violation::NdpOrder { from: at, to: next });
            }
            at = next;
        }
        let limit = usize::from(self.parameters.out_max_datagrams);
        if limit != 0 && datagrams > limit {
            return Err(Violation::DatagramCount { limit });
        }
        checked.datagrams += datagrams;
        checked.payload += used
            .iter()
            .filter(|(_, framing)| !framing)
            .map(|(range, _)| range.len())
            .sum::<usize>();
        let mut used: Vec<Range<usize>> = used.into_iter().map(|(range, _)| range).collect();
        self.check_padding(&mut used)
    }

    /// Checks one NDP with its datagrams and notes the bytes they use, and whether these are
    /// framing. Returns the offset of the next NDP and the number of datagrams of this one.
    fn check_ndp(
        &self,
        at: usize,
        used: &mut Vec<(Range<usize>, bool)>,
    ) -> Result<(usize, usize), Violation> {
        let Self { bytes, layout, .. } = *self;
        if at < layout.header || at > bytes.len() - layout.ndp {
            return Err(Violation::NdpIndex(at));
        }
        let alignment = usize::from(self.parameters.out_alignment).max(4);
        if !at.is_multiple_of(alignment) {
            return Err(Violation::NdpAlignment { at, alignment });
        }
        let outside = Violation::NdpIndex(at);
        let signature = signature_at(bytes, at).ok_or(outside)?;
        let stream = Stream::from_signature(signature, layout.format)
            .filter(|stream| match self.rules.function {
                Function::Mbim => !matches!(stream, Stream::Ethernet { .. }),
                Function::Ncm => {
                    *stream
                        == Stream::Ethernet {
                            crc: self.rules.crc,
                        }
                }
            })
            .ok_or(Violation::NdpSignature { at, signature })?;
        let length = usize::from(u16_at(bytes, at + NDP_LENGTH).ok_or(outside)?);
        if length < layout.shortest_ndp()
            || !length.is_multiple_of(layout.entry)
            || length > bytes.len() - at
        {
            return Err(Violation::NdpLength { at, length });
        }
        if layout.format == Format::Ntb32 {
            let reserved = [at + 6..at + 8, at + 12..at + 16];
            if reserved
                .into_iter()
                .any(|field| dirty(bytes, field).is_some())
            {
                return Err(Violation::NdpReserved { at });
            }
        }
        let next = layout.word(bytes, at + layout.next_ndp).ok_or(outside)?;

        let mut entry = at + layout.ndp;
        let mut datagrams = 0;
        loop {
            if entry + layout.entry > at + length {
                return Err(Violation::NdpTerminator { at });
            }
            match layout.entry(bytes, entry).ok_or(outside)? {
                (0, 0) => break,
                (0, _) | (_, 0) => return Err(Violation::NdpTerminator { at }),
                (index, length) => {
                    let range = self.check_datagram(stream, index, length)?;
                    let wrong_side = match self.rules.placement {
                        Some(Placement::End) => range.end > at,
                        Some(Placement::Front) => range.start < at,
                        None => false,
                    };
                    if let Some(wanted) = self.rules.placement
                        && wrong_side
                    {
                        return Err(Violation::NdpPlacement { at, wanted });
                    }
                    used.push((range, false));
                }
            }
            datagrams += 1;
            entry += layout.entry;
        }
        used.push((at..at + length, true));
        Ok((next, datagrams))
    }

    fn check_datagram(
        &self,
        stream: Stream,
        at: usize,
        length: usize,
    ) -> Result<Range<usize>, Violation> {
        let Self { bytes, layout, .. } = *self;
        let bounds = Violation::DatagramBounds { at, length };
        let end = at.checked_add(length).ok_or(bounds)?;
        let datagram = bytes.get(at..end).ok_or(bounds)?;
        if at < layout.header {
            return Err(bounds);
        }
        let divisor = usize::from(self.parameters.out_divisor);
        let remainder = self
            .rules
            .function
            .offset_remainder(divisor, usize::from(self.parameters.out_remainder));
        if at % divisor != remainder {
            return Err(Violation::DatagramAlignment {
                at,
                divisor,
                remainder,
            });
        }
        let least = match (stream, datagram[0] >> 4) {
            (Stream::Ips(_), 4) => 20,
            (Stream::Ips(_), 6) => 40,
            (Stream::Ips(_), _) => {
                return Err(Violation::DatagramVersion {
                    at,
                    first: datagram[0],
                });
            }
            (Stream::Dss(_), _) => 1,
            (Stream::Ethernet { .. }, _) => 14 + stream.trailer(),
        };
        if length < least || length > self.rules.max_datagram_size + stream.trailer() {
            return Err(Violation::DatagramLength { at, length });
        }
        if stream.trailer() > 0 {
            let (frame, crc) = datagram.split_at(length - stream.trailer());
            if crc32(frame).to_le_bytes() != crc {
                return Err(Violation::DatagramCrc { at });
            }
        }
        Ok(at..end)
    }

    /// Checks that no byte is used twice and none of the unused ones is set.
    fn check_padding(&self, used: &mut [Range<usize>]) -> Result<(), Violation> {
        used.sort_unstable_by_key(|range| range.start);
        for pair in used.windows(2) {
            if pair[1].start < pair[0].end {
                return Err(Violation::Overlap { at: pair[1].start });
            }
        }
        let mut end = 0;
        for range in used {
            self.check_zero(end..range.start)?;
            end = range.end;
        }
        self.check_zero(end..self.bytes.len())
    }

    fn check_zero(&self, range: Range<usize>) -> Result<(), Violation> {
        match dirty(self.bytes, range) {
            Some(at) if self.rules.zero_padding => Err(Violation::Padding { at }),
            _ => Ok(()),
        }
    }
}

/// Returns the offset of the first byte of `range` that is not zero.
fn dirty(bytes: &[u8], range: Range<usize>) -> Option<usize> {
    let start = range.start;
    let within = bytes.get(range)?;
    Some(start + within.iter().position(|byte| *byte != 0)?)
}
