//! Reading the NTBs a device sent, in place and without trust.
//!
//! # What is refused
//! Everything Linux `cdc_ncm`/`cdc_mbim` and the `f_ncm` gadget refuse for the sake of memory
//! safety, and what they let through at the price of loops and amplification: chains that do not
//! go forward or overlap, datagrams outside the NTB they came in, the same bytes delivered over
//! and over. Each reason has its counter; the unit of refusal is as small as it can be, so that
//! one odd packet does not cost its neighbours.
//!
//! # What is tolerated
//! - NTB32 when NTB16 was agreed on, and the other way round: the signature decides. Some firmware
//!   falls back at SET_INTERFACE.
//! - An NTB length of 0 ("until the short packet"), several NTBs in one transfer, zeros behind
//!   the last NTB (the pad byte of Windows, padding to the maximum).
//! - NDPs that are not 4-aligned: OpenBSD's rounding makes such NDPs, so does firmware.
//! - Chains of NDPs that go backwards, as long as no byte is part of two NDPs.
//! - A `wLength` that is no whole number of entries: it is rounded down, as in Linux.
//! - A last NDP entry that is not zero: like Linux, it is never read as a datagram.
//! - Gaps in the sequence: counted by [`Receiver`], never acted on.

use std::ops::Range;
use std::slice::Chunks;

use thiserror::Error;

use crate::counters::DropCounters;
use crate::crc::crc32;
use crate::layout::{
    BLOCK_LENGTH, Format, HEADER_LENGTH, Layout, NDP_LENGTH, SEQUENCE, Stream, signature_at, u16_at,
};

/// Length of an IPv4 header without options.
const IPV4_HEADER: usize = 20;
/// Length of an IPv6 header.
const IPV6_HEADER: usize = 40;
/// Length of an Ethernet header.
const ETHERNET_HEADER: usize = 14;

/// Bounds on what the receiver accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Length of the longest NTB in bytes. Devices exist that ignore SET_NTB_INPUT_SIZE, so this is
    /// better the size they announced than the size they were asked for.
    pub max_ntb: usize,
    /// Number of datagrams delivered from one NTB at most.
    pub max_datagrams: usize,
    /// Length of the longest datagram in bytes.
    pub max_datagram_size: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_ntb: 1 << 20,
            max_datagrams: 4096,
            max_datagram_size: 0xffff,
        }
    }
}

/// Datagram in the bytes that were received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Kind of the datagram.
    pub stream: Stream,
    /// Bytes of the datagram, relative to what was handed to [`Ntb::parse`] or
    /// [`Receiver::receive`]; without the CRC if there is one.
    pub range: Range<usize>,
}

/// Reason why an NTB cannot be read at all. Lengths are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Fewer bytes came than a header and the shortest NDP have.
    #[error("{received} bytes are too short for an NTB")]
    Runt {
        /// Number of bytes received.
        received: usize,
    },
    /// Data lies under a header of zeros: the device cannot do the format it was set to.
    #[error("the NTB's header is all zeros: the device may need the other NTB format")]
    Zero,
    /// The bytes start with the signature of no format.
    #[error("signature {0:02x?} is not that of an NTB")]
    Signature([u8; 4]),
    /// `wHeaderLength` is not that of the format.
    #[error("header length {found} instead of {expected}")]
    HeaderLength {
        /// Value as sent.
        found: u16,
        /// Value of the format.
        expected: u16,
    },
    /// The NTB length is less than a header and the shortest NDP have.
    #[error("NTB length {0} is too short for a header and an NDP")]
    BlockShort(usize),
    /// The NTB length is more than what was received.
    #[error("NTB length {length} is more than the {received} bytes received")]
    BlockBeyond {
        /// Value as sent.
        length: usize,
        /// Number of bytes received.
        received: usize,
    },
    /// The NTB length is more than [`Limits::max_ntb`].
    #[error("NTB length {length} is more than the {limit} agreed on")]
    BlockLimit {
        /// Value as sent.
        length: usize,
        /// [`Limits::max_ntb`].
        limit: usize,
    },
}

impl HeaderError {
    /// Adds one to the counter of this error.
    pub fn count(&self, drops: &mut DropCounters) {
        *match self {
            Self::Runt { .. } => &mut drops.block_runt,
            Self::Zero => &mut drops.header_zero,
            Self::Signature(_) => &mut drops.header_signature,
            Self::HeaderLength { .. } => &mut drops.header_length,
            Self::BlockShort(_) => &mut drops.block_length_short,
            Self::BlockBeyond { .. } => &mut drops.block_length_beyond,
            Self::BlockLimit { .. } => &mut drops.block_length_limit,
        } += 1;
    }
}

/// NTB with a good header.
#[derive(Debug, Clone, Copy)]
pub struct Ntb<'a> {
    /// Bytes of the NTB, from its header to its end.
    bytes: &'a [u8],
    /// Offset of the NTB in what was received.
    base: usize,
    layout: &'static Layout,
    sequence: u16,
    first_ndp: usize,
    limits: Limits,
}

impl<'a> Ntb<'a> {
    /// Reads the header of the NTB at the start of `bytes`.
    ///
    /// # Errors
    /// When the NTB cannot be read at all; the NDPs are checked while
    /// [`Ntb::datagrams`] goes through them.
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Result<Self, HeaderError> {
        Self::parse_at(bytes, 0, limits)
    }

    fn parse_at(transfer: &'a [u8], base: usize, limits: &Limits) -> Result<Self, HeaderError> {
        let bytes = transfer.get(base..).unwrap_or_default();
        let received = bytes.len();
        let runt = HeaderError::Runt { received };
        let signature = signature_at(bytes, 0).ok_or(runt)?;
        let format = match &signature {
            b"NCMH" => Format::Ntb16,
            b"ncmh" => Format::Ntb32,
            [0, 0, 0, 0] if bytes.iter().take(12).all(|byte| *byte == 0) => {
                return Err(HeaderError::Zero);
            }
            _ => return Err(HeaderError::Signature(signature)),
        };
        let layout = format.layout();
        let least = layout.header + layout.shortest_ndp();
        if received < least {
            return Err(runt);
        }
        let header_length = u16_at(bytes, HEADER_LENGTH).ok_or(runt)?;
        if usize::from(header_length) != layout.header {
            return Err(HeaderError::HeaderLength {
                found: header_length,
                expected: layout.header as u16,
            });
        }
        let length = match layout.word(bytes, BLOCK_LENGTH).ok_or(runt)? {
            0 => received,
            length => length,
        };
        if length < least {
            return Err(HeaderError::BlockShort(length));
        }
        if length > received {
            return Err(HeaderError::BlockBeyond { length, received });
        }
        if length > limits.max_ntb {
            return Err(HeaderError::BlockLimit {
                length,
                limit: limits.max_ntb,
            });
        }
        Ok(Self {
            bytes: &bytes[..length],
            base,
            layout,
            sequence: u16_at(bytes, SEQUENCE).ok_or(runt)?,
            first_ndp: layout.word(bytes, layout.ndp_index()).ok_or(runt)?,
            limits: *limits,
        })
    }

    /// Returns the width of the NTB's fields.
    #[must_use]
    pub fn format(&self) -> Format {
        self.layout.format
    }

    /// Returns `wSequence`.
    #[must_use]
    pub fn sequence(&self) -> u16 {
        self.sequence
    }

    /// Returns the length of the NTB in bytes, padding included.
    #[must_use]
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the offset of the first NDP from the NTB's start in bytes, as the header states it,
    /// unchecked.
    #[must_use]
    pub fn ndp_index(&self) -> usize {
        self.first_ndp
    }

    /// Returns the datagrams in the order of the NDPs. What is refused is counted in `drops`.
    pub fn datagrams<'c>(&self, drops: &'c mut DropCounters) -> Datagrams<'a, 'c> {
        Datagrams {
            ntb: *self,
            chain: Chain::new(self, drops),
            stream: Stream::Ips(0),
            ndp: 0..0,
            entries: [].chunks(1),
            datagrams: 0,
            budget: self.bytes.len(),
            drops,
        }
    }

    /// Returns the NDPs in the order of their chain. What is refused is counted in `drops`.
    pub fn ndps(&self, drops: &mut DropCounters) -> impl Iterator<Item = Ndp> {
        let ntb = *self;
        let mut chain = Chain::new(self, drops);
        std::iter::from_fn(move || chain.next(&ntb, drops))
    }

    /// Reads the header of the NDP at the offset `at`: its `wLength` rounded down to whole entries,
    /// and the offset of the next NDP. Returns `None` when the header does not lie inside the NTB.
    #[inline]
    fn ndp_header(&self, at: usize) -> Option<(usize, usize)> {
        let layout = self.layout;
        let entries = at.checked_add(layout.ndp)?;
        if entries > self.bytes.len() {
            return None;
        }
        let length = usize::from(u16_at(self.bytes, at + NDP_LENGTH)?);
        // An entry's length is a power of two.
        let beyond = length.saturating_sub(layout.ndp) & (layout.entry - 1);
        let next = layout.word(self.bytes, at + layout.next_ndp)?;
        Some((length - beyond, next))
    }

    /// Returns the range of the NDP at the offset `at`, or that of its header where its length is
    /// impossible.
    fn ndp_range(&self, at: usize, length: usize) -> Range<usize> {
        let possible = self.layout.shortest_ndp()..=self.bytes.len() - at;
        at..at
            + if possible.contains(&length) {
                length
            } else {
                self.layout.ndp
            }
    }
}

/// NDP in an NTB. Offsets and lengths are in bytes and relative to the NTB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ndp {
    /// Kind of the datagrams that the NDP lists.
    pub stream: Stream,
    /// Range of the NDP's bytes, the terminator included.
    pub range: Range<usize>,
    /// `wLength` as sent. It is more than the range's length where it was no whole number of
    /// entries.
    pub announced_length: usize,
    /// Whether the NDP lies in front of the one that names it.
    pub backwards: bool,
}

/// Iteration over the chain of NDPs in an NTB. It ends, because no byte may be part of two NDPs.
#[derive(Debug, Clone, Copy)]
struct Chain {
    /// Offset of the next NDP; 0 when the chain has ended.
    next: usize,
    /// Offset of the NDP before it; 0 when `next` is the first.
    last: usize,
    /// Number of NDPs walked so far.
    walked: usize,
    /// Offset of the end of the NDP that lies furthest behind.
    floor: usize,
    /// Whether some NDP did not lie behind all others before it.
    backwards: bool,
}

/// Number of NDPs up to which a chain that goes backwards is followed, because each further NDP is
/// compared with all others.
const MOST_BACKWARDS: usize = 64;

impl Chain {
    /// Begins at the first NDP, which every NTB has (NCM 1.0, 3.2.1): an index of 0 counts as an
    /// NDP refused.
    fn new(ntb: &Ntb<'_>, drops: &mut DropCounters) -> Self {
        drops.ndp_index += u64::from(ntb.first_ndp == 0);
        Self {
            next: ntb.first_ndp,
            last: 0,
            walked: 0,
            floor: ntb.layout.header,
            backwards: false,
        }
    }

    /// Goes to the next NDP that can be read.
    #[inline]
    fn next(&mut self, ntb: &Ntb<'_>, drops: &mut DropCounters) -> Option<Ndp> {
        let layout = ntb.layout;
        let bytes = ntb.bytes;
        while self.next != 0 {
            let at = std::mem::take(&mut self.next);
            let (true, Some((length, next)), Some(signature)) = (
                at >= layout.header,
                ntb.ndp_header(at),
                signature_at(bytes, at),
            ) else {
                drops.ndp_index += 1;
                return None;
            };
            let range = ntb.ndp_range(at, length);
            let backwards = at < self.last;
            self.backwards |= at < self.floor;
            if self.backwards && !self.is_apart(ntb, &range) {
                drops.ndp_order += 1;
                return None;
            }
            self.next = next;
            self.last = at;
            self.walked += 1;
            self.floor = self.floor.max(range.end);
            if length < layout.shortest_ndp() {
                drops.ndp_length += 1;
                continue;
            }
            if length > bytes.len() - at {
                drops.ndp_truncated += 1;
                continue;
            }
            let Some(stream) = Stream::from_signature(signature, layout.format) else {
                drops.ndp_signature += 1;
                continue;
            };
            return Some(Ndp {
                stream,
                range,
                announced_length: usize::from(u16_at(bytes, at + NDP_LENGTH)?),
                backwards,
            });
        }
        None
    }

    /// Returns whether `range` shares no byte with the NDPs walked so far. They are walked once
    /// more instead of being kept, because chains that go backwards are rare.
    #[cold]
    fn is_apart(&self, ntb: &Ntb<'_>, range: &Range<usize>) -> bool {
        let mut at = ntb.first_ndp;
        for _ in 0..self.walked {
            let Some((length, next)) = ntb.ndp_header(at) else {
                return false;
            };
            let walked = ntb.ndp_range(at, length);
            if walked.start < range.end && range.start < walked.end {
                return false;
            }
            at = next;
        }
        self.walked < MOST_BACKWARDS
    }
}

/// Iterator over the datagrams of one NTB, from [`Ntb::datagrams`].
#[derive(Debug)]
pub struct Datagrams<'a, 'c> {
    ntb: Ntb<'a>,
    chain: Chain,
    stream: Stream,
    ndp: Range<usize>,
    /// Bytes of the entries that were not looked at yet, without the terminator.
    entries: Chunks<'a, u8>,
    datagrams: usize,
    /// Number of bytes that may still be delivered.
    budget: usize,
    drops: &'c mut DropCounters,
}

impl Iterator for Datagrams<'_, '_> {
    type Item = Datagram;

    // Inlining is forced here and below: out of line, the datagram would pass through memory, which
    // doubles the cost.
    #[inline(always)]
    fn next(&mut self) -> Option<Datagram> {
        loop {
            while let Some(field) = self.entries.next() {
                let (index, length) = self.ntb.layout.entry(field, 0)?;
                if index == 0 || length == 0 {
                    self.entries = [].chunks(1);
                    break;
                }
                if let Some(datagram) = self.check(index, length) {
                    return Some(datagram);
                }
            }
            // The end of the chain is tested here, before the call, because most NTBs have one NDP.
            if self.chain.next == 0 || !self.open_ndp() {
                return None;
            }
        }
    }
}

impl Datagrams<'_, '_> {
    /// Goes to the next NDP. Returns false when there is none.
    #[inline(never)]
    fn open_ndp(&mut self) -> bool {
        let Some(ndp) = self.chain.next(&self.ntb, self.drops) else {
            return false;
        };
        let layout = self.ntb.layout;
        let entries = ndp.range.start + layout.ndp..ndp.range.end - layout.entry;
        self.entries = self.ntb.bytes[entries].chunks(layout.entry);
        self.stream = ndp.stream;
        self.ndp = ndp.range;
        true
    }

    /// Returns the datagram of an entry, neither of whose fields is 0, or counts why there is none.
    #[inline(always)]
    fn check(&mut self, index: usize, length: usize) -> Option<Datagram> {
        let bytes = self.ntb.bytes;
        let drops = &mut *self.drops;
        let Some(datagram) = index
            .checked_add(length)
            .and_then(|end| bytes.get(index..end))
        else {
            drops.datagram_outside += 1;
            return None;
        };
        if index < self.ntb.layout.header {
            drops.datagram_in_header += 1;
            return None;
        }
        if index < self.ndp.end && index + length > self.ndp.start {
            drops.datagram_in_ndp += 1;
            return None;
        }
        let payload = match self.stream {
            Stream::Ips(_) => match datagram[0] >> 4 {
                4 if length >= IPV4_HEADER => length,
                6 if length >= IPV6_HEADER => length,
                4 | 6 => {
                    drops.datagram_runt += 1;
                    return None;
                }
                _ => {
                    drops.datagram_version += 1;
                    return None;
                }
            },
            Stream::Dss(_) => length,
            Stream::Ethernet { crc } => {
                let payload = if crc {
                    length.saturating_sub(4)
                } else {
                    length
                };
                if payload < ETHERNET_HEADER {
                    drops.datagram_runt += 1;
                    return None;
                }
                let (frame, check) = datagram.split_at(payload);
                if crc && crc32(frame).to_le_bytes() != check {
                    drops.datagram_crc += 1;
                    return None;
                }
                payload
            }
        };
        if payload > self.ntb.limits.max_datagram_size {
            drops.datagram_long += 1;
            return None;
        }
        if length > self.budget {
            drops.datagram_repeated += 1;
            return None;
        }
        if self.datagrams == self.ntb.limits.max_datagrams {
            drops.datagram_limit += 1;
            self.entries = [].chunks(1);
            self.chain.next = 0;
            return None;
        }
        self.budget -= length;
        self.datagrams += 1;
        let start = self.ntb.base + index;
        Some(Datagram {
            stream: self.stream,
            range: start..start + payload,
        })
    }
}

/// Content of one transfer, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Number of NTBs with a good header.
    pub ntbs: u32,
    /// Number of datagrams delivered.
    pub datagrams: usize,
    /// Number of bytes delivered.
    pub payload: usize,
}

/// Receiver that takes transfers apart and keeps count.
#[derive(Debug, Clone, Default)]
pub struct Receiver {
    /// Bounds on what is accepted.
    pub limits: Limits,
    /// Counters of what was refused.
    pub drops: DropCounters,
    /// Number of NTBs with a good header.
    pub ntbs: u64,
    /// Number of datagrams delivered.
    pub datagrams: u64,
    /// Number of bytes delivered.
    pub payload: u64,
    /// Number of bytes received; what is not [`Receiver::payload`] is framing and padding.
    pub received: u64,
    /// Number of transfers without a byte.
    pub empty_transfers: u64,
    /// Number of NTBs whose sequence number was not the one expected.
    pub sequence_gaps: u64,
    /// Number of transfers in a row with a header of zeros. Many of them say that the format is
    /// wrong.
    pub zero_headers_in_a_row: u32,
    expected_sequence: Option<u16>,
}

impl Receiver {
    /// Makes a receiver with all counters at 0.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Hands every good datagram of a transfer to `deliver`, in order. At most as many bytes are
    /// delivered as `transfer` has.
    pub fn receive(&mut self, transfer: &[u8], mut deliver: impl FnMut(Datagram)) -> Received {
        let mut total = Received::default();
        self.received = self.received.saturating_add(transfer.len() as u64);
        if transfer.is_empty() {
            self.empty_transfers += 1;
            return total;
        }
        let mut at = 0;
        while at < transfer.len() {
            let ntb = match Ntb::parse_at(transfer, at, &self.limits) {
                Ok(ntb) => ntb,
                Err(error) => {
                    self.refuse(&transfer[at..], at == 0, error);
                    break;
                }
            };
            at += ntb.length();
            total.ntbs += 1;
            self.zero_headers_in_a_row = 0;
            if self
                .expected_sequence
                .is_some_and(|expected| expected != ntb.sequence)
            {
                self.sequence_gaps += 1;
            }
            self.expected_sequence = Some(ntb.sequence.wrapping_add(1));
            for datagram in ntb.datagrams(&mut self.drops) {
                total.datagrams += 1;
                total.payload += datagram.range.len();
                deliver(datagram);
            }
        }
        self.ntbs += u64::from(total.ntbs);
        self.datagrams += total.datagrams as u64;
        self.payload += total.payload as u64;
        total
    }

    /// Hands a transfer of a function without NTBs (CDC ECM 1.2, 3.3.1) to `deliver` as one
    /// Ethernet frame. A transfer too short or too long for a frame is counted as dropped instead.
    pub fn receive_frame(&mut self, transfer: &[u8], deliver: impl FnOnce(Datagram)) {
        let length = transfer.len();
        self.received = self.received.saturating_add(length as u64);
        if transfer.is_empty() {
            self.empty_transfers += 1;
        } else if length < ETHERNET_HEADER {
            self.drops.datagram_runt += 1;
        } else if length > self.limits.max_datagram_size {
            self.drops.datagram_long += 1;
        } else {
            self.datagrams += 1;
            self.payload += length as u64;
            deliver(Datagram {
                stream: Stream::Ethernet { crc: false },
                range: 0..length,
            });
        }
    }

    /// Counts bytes that are no NTB: at the start of a transfer by their error, and behind an NTB
    /// as trailing bytes unless they are padding or an NTB gone wrong.
    #[cold]
    fn refuse(&mut self, rest: &[u8], first: bool, error: HeaderError) {
        match error {
            HeaderError::Zero | HeaderError::Runt { .. } | HeaderError::Signature(_) if !first => {
                if rest.iter().any(|byte| *byte != 0) {
                    self.drops.trailing_bytes += 1;
                }
            }
            HeaderError::Zero => {
                self.drops.header_zero += 1;
                self.zero_headers_in_a_row = self.zero_headers_in_a_row.saturating_add(1);
            }
            error => error.count(&mut self.drops),
        }
    }

    /// Forgets the expected sequence number, because the device starts anew after a reset.
    pub fn restart(&mut self) {
        self.expected_sequence = None;
        self.zero_headers_in_a_row = 0;
    }
}
