//! Reading of pcapng and pcap files, packet by packet.
//!
//! One block is in memory at a time, of [`LONGEST_BLOCK`] bytes at most, so that a file may be
//! longer than memory, or a pipe without end.

use std::io::{Cursor, Read};

use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{Block, LegacyPcapReader, PcapBlockOwned, PcapError, PcapHeader, PcapNGReader};

use crate::LinkType;
use crate::packed::{self, Unpacker, Why};
use crate::transfer::Transfer;
use crate::{usbmon, usbpcap};

/// Length of the longest block that is read, in bytes.
pub const LONGEST_BLOCK: usize = 16 << 20;
/// Length of the buffer in bytes, until a longer block comes.
const BUFFER: usize = 256 << 10;
/// Length of the longest section header in bytes.
const LONGEST_HEADER: usize = 64 << 10;
/// Largest number of interfaces in a section.
const MOST_INTERFACES: usize = 1024;
/// Length of a pcap file's header in bytes.
const PCAP_HEADER: usize = 24;
/// First bytes of a pcapng file.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Reason why a capture cannot be read any further.
#[derive(Debug, thiserror::Error)]
#[error("at byte {offset}, after {packets} packets: {what}")]
pub struct ReadError {
    /// Offset in bytes of the block that cannot be read.
    pub offset: u64,
    /// Number of packets that were read before it.
    pub packets: u64,
    /// Description of the problem.
    pub what: String,
}

impl ReadError {
    /// Replaces the description by the reason that unpacking has given, if there is one.
    fn or(mut self, why: &Why) -> Self {
        if let Some(why) = why.get() {
            self.what.clone_from(why);
        }
        self
    }
}

/// A packet of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Number of the packet in the file, counted from 1, as Wireshark shows it.
    pub number: u64,
    /// Link type of the interface on which the packet was captured.
    pub link: LinkType,
    /// Time in nanoseconds since 1970, or 0 where the file does not state it.
    pub time: u64,
    /// Bytes that were captured.
    pub data: Vec<u8>,
    /// Length of the packet in bytes before it was cut.
    pub original: u32,
    /// Whether the machine that captured is big endian.
    big_endian: bool,
}

impl Packet {
    /// Returns the event of a USB transfer that the packet records. `None` is returned for packets of
    /// other link types and for broken records.
    #[must_use]
    pub fn transfer(&self) -> Option<Transfer<'_>> {
        match self.link {
            LinkType::USBMON => usbmon::parse(&self.data, usbmon::HEADER, self.big_endian),
            LinkType::USBMON_MMAPPED => {
                usbmon::parse(&self.data, usbmon::HEADER_MMAPPED, self.big_endian)
            }
            LinkType::USBPCAP => usbpcap::parse(&self.data),
            _ => None,
        }
    }

    /// Returns where the data of the transfer lies in the captured bytes, behind the header of the
    /// record. `None` is returned where [`Packet::transfer`] returns `None`.
    #[must_use]
    pub fn transfer_data(&self) -> Option<std::ops::Range<usize>> {
        let data = self.transfer()?.data;
        let start = (data.as_ptr() as usize).checked_sub(self.data.as_ptr() as usize)?;
        // An empty part of a record may lie anywhere.
        let start = start.min(self.data.len() - data.len());
        Some(start..start + data.len())
    }

    /// Returns whether the machine that captured is big endian, which is then the byte order of
    /// usbmon's headers.
    #[must_use]
    pub const fn is_big_endian(&self) -> bool {
        self.big_endian
    }
}

/// Returns whether a file that begins with these bytes is a capture, of either format.
#[must_use]
pub fn is_capture(head: &[u8]) -> bool {
    let Some(magic) = head.first_chunk::<4>() else {
        return false;
    };
    let either = |number: u32| *magic == number.to_le_bytes() || *magic == number.to_be_bytes();
    *magic == PCAPNG
        || *magic == packed::MAGIC
        || either(0xa1b2_c3d4)
        || either(0xa1b2_3c4d)
        || either(0xa1b2_cd34)
}

#[derive(Debug, Clone, Copy)]
struct InterfaceInfo {
    link: LinkType,
    /// Number of units of the timestamps in a second.
    units: u128,
    /// Number of seconds added to the timestamps.
    offset: i64,
}

/// A reader of a capture.
pub struct Reader<'a> {
    blocks: Box<dyn PcapReaderIterator + Send + 'a>,
    interfaces: Vec<InterfaceInfo>,
    big_endian: bool,
    /// Length of the buffer in bytes.
    capacity: usize,
    packets: u64,
    ended: bool,
    /// Reason why a packed file cannot be read any further.
    why: Why,
}

impl<'a> Reader<'a> {
    /// Makes a reader of `input`, which may also be a packed file
    /// ([`Writer::packed`](crate::write::Writer::packed)); offsets in errors are then those of the
    /// content.
    ///
    /// # Errors
    /// [`ReadError`] for input that does not begin as a capture does.
    pub fn new(mut input: impl Read + Send + 'a) -> Result<Self, ReadError> {
        let mut head = Vec::new();
        let taken = input
            .by_ref()
            .take(PCAP_HEADER as u64)
            .read_to_end(&mut head);
        let why = Why::default();
        let whole = Cursor::new(head.clone()).chain(input);
        let input: Box<dyn Read + Send + 'a> = if head.starts_with(&packed::MAGIC) {
            Box::new(Unpacker::new(whole, Why::clone(&why)))
        } else {
            Box::new(whole)
        };
        let read = match taken {
            Ok(_) => Self::of(input, Why::clone(&why)),
            Err(error) => Err(ReadError {
                offset: 0,
                packets: 0,
                what: error.to_string(),
            }),
        };
        read.map_err(|error| error.or(&why))
    }

    /// Makes a reader of content that is not packed.
    fn of(mut input: impl Read + Send + 'a, why: Why) -> Result<Self, ReadError> {
        let fail = |what: String| ReadError {
            offset: 0,
            packets: 0,
            what,
        };
        let mut head = Vec::new();
        let mut take = |head: &mut Vec<u8>, upto: usize| {
            let more = upto.saturating_sub(head.len()) as u64;
            (&mut input)
                .take(more)
                .read_to_end(head)
                .map_err(|error| fail(error.to_string()))
        };
        take(&mut head, PCAP_HEADER)?;
        if !is_capture(&head) {
            return Err(fail("this is neither a pcapng nor a pcap file".to_owned()));
        }
        let blocks: Box<dyn PcapReaderIterator + Send> = if head.starts_with(&PCAPNG) {
            let stated = section_header_length(&head)
                .ok_or_else(|| fail("the section header cannot be read".to_owned()))?;
            take(&mut head, stated)?;
            let input = Cursor::new(head).chain(input);
            Box::new(PcapNGReader::new(BUFFER, input).map_err(|error| fail(describe(&error)))?)
        } else {
            let input = Cursor::new(head).chain(input);
            Box::new(LegacyPcapReader::new(BUFFER, input).map_err(|error| fail(describe(&error)))?)
        };
        Ok(Self {
            blocks,
            interfaces: Vec::new(),
            big_endian: false,
            capacity: BUFFER,
            packets: 0,
            ended: false,
            why,
        })
    }

    /// Returns the next packet, or `None` at the end.
    ///
    /// # Errors
    /// [`ReadError`] for a block that is broken, too long, or cut off by the end of the file. No
    /// packet is returned after it.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, ReadError> {
        while !self.ended {
            match self.step() {
                Ok(Some(packet)) => return Ok(Some(packet)),
                Ok(None) => {}
                Err(what) => {
                    self.ended = true;
                    let error = ReadError {
                        offset: self.blocks.consumed() as u64,
                        packets: self.packets,
                        what,
                    };
                    return Err(error.or(&self.why));
                }
            }
        }
        Ok(None)
    }

    /// Reads one block, or more of the file when the block is not complete.
    fn step(&mut self) -> Result<Option<Packet>, String> {
        let before = self.blocks.data().len();
        match self.blocks.next() {
            Ok((length, block)) => {
                let packet = take_block(
                    block,
                    &mut self.interfaces,
                    &mut self.big_endian,
                    self.packets + 1,
                )?;
                self.blocks.consume(length);
                self.packets += u64::from(packet.is_some());
                Ok(packet)
            }
            Err(PcapError::Eof) => {
                self.ended = true;
                Ok(None)
            }
            Err(PcapError::Incomplete(_)) => {
                self.blocks.refill().map_err(|error| describe(&error))?;
                if self.blocks.data().len() == before {
                    if !self.blocks.reader_exhausted() {
                        return self.grow();
                    }
                    if before == 0 {
                        self.ended = true;
                        return Ok(None);
                    }
                    return Err("the file ends inside a block".to_owned());
                }
                Ok(None)
            }
            Err(PcapError::BufferTooSmall) => self.grow(),
            Err(error) => Err(describe(&error)),
        }
    }

    fn grow(&mut self) -> Result<Option<Packet>, String> {
        let next = (self.capacity * 2).min(LONGEST_BLOCK);
        if next == self.capacity || !self.blocks.grow(next) {
            return Err(format!("a block is longer than {LONGEST_BLOCK} bytes"));
        }
        self.capacity = next;
        Ok(None)
    }
}

/// Returns the length in bytes of a section header that begins with these bytes, if it is valid.
fn section_header_length(head: &[u8]) -> Option<usize> {
    let length = head.get(4..8)?.try_into().ok()?;
    let length = match head.get(8..12)? {
        [0x1a, 0x2b, 0x3c, 0x4d] => u32::from_be_bytes(length),
        [0x4d, 0x3c, 0x2b, 0x1a] => u32::from_le_bytes(length),
        _ => return None,
    };
    let length = usize::try_from(length).ok()?;
    (28..=LONGEST_HEADER).contains(&length).then_some(length)
}

/// Takes from a block what later packets need, or the packet that it holds.
fn take_block(
    block: PcapBlockOwned<'_>,
    interfaces: &mut Vec<InterfaceInfo>,
    big_endian: &mut bool,
    number: u64,
) -> Result<Option<Packet>, String> {
    let info = |interfaces: &[InterfaceInfo], id: u32| {
        interfaces
            .get(id as usize)
            .copied()
            .ok_or_else(|| format!("packet {number} is of interface {id}, which was not described"))
    };
    let packet = |info: InterfaceInfo, big_endian, time, data: &[u8], original| Packet {
        number,
        link: info.link,
        time,
        data: data.to_vec(),
        original,
        big_endian,
    };
    Ok(match block {
        PcapBlockOwned::LegacyHeader(header) => {
            *big_endian = header.is_bigendian();
            interfaces.push(legacy(&header));
            None
        }
        PcapBlockOwned::Legacy(block) => {
            let info = info(interfaces, 0)?;
            let fraction = u128::from(block.ts_usec) * 1_000_000_000 / info.units;
            let time = u64::from(block.ts_sec) * 1_000_000_000;
            let time = time.saturating_add(u64::try_from(fraction).unwrap_or(0));
            let data = &block.data[..block.data.len().min(block.caplen as usize)];
            Some(packet(info, *big_endian, time, data, block.origlen))
        }
        PcapBlockOwned::NG(Block::SectionHeader(header)) => {
            interfaces.clear();
            *big_endian = header.big_endian();
            None
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(described)) => {
            if interfaces.len() == MOST_INTERFACES {
                return Err(format!("more than {MOST_INTERFACES} interfaces"));
            }
            interfaces.push(InterfaceInfo {
                link: LinkType(u16::try_from(described.linktype.0).unwrap_or(u16::MAX)),
                units: units(described.if_tsresol),
                offset: described.if_tsoffset,
            });
            None
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(block)) => {
            let info = info(interfaces, block.if_id)?;
            let ticks = u128::from(block.ts_high) << 32 | u128::from(block.ts_low);
            let time = time(info, ticks);
            Some(packet(
                info,
                *big_endian,
                time,
                block.packet_data(),
                block.origlen,
            ))
        }
        PcapBlockOwned::NG(Block::SimplePacket(block)) => {
            let info = info(interfaces, 0)?;
            Some(packet(
                info,
                *big_endian,
                0,
                block.packet_data(),
                block.origlen,
            ))
        }
        PcapBlockOwned::NG(_) => None,
    })
}

fn legacy(header: &PcapHeader) -> InterfaceInfo {
    InterfaceInfo {
        // The upper bits describe a frame check sequence.
        link: LinkType(header.network.0 as u16),
        units: if header.is_nanosecond_precision() {
            1_000_000_000
        } else {
            1_000_000
        },
        offset: 0,
    }
}

/// Returns the number of units in a second that `if_tsresol` states.
fn units(resolution: u8) -> u128 {
    let exponent = u32::from(resolution & 0x7f);
    match resolution & 0x80 {
        0 => 10u128.checked_pow(exponent),
        _ => 2u128.checked_pow(exponent),
    }
    .unwrap_or(1)
}

fn time(info: InterfaceInfo, ticks: u128) -> u64 {
    let seconds = ticks / info.units;
    let rest = (ticks % info.units).saturating_mul(1_000_000_000) / info.units;
    let offset = i128::from(info.offset).saturating_mul(1_000_000_000);
    let time = i128::try_from(seconds.saturating_mul(1_000_000_000) + rest).unwrap_or(i128::MAX);
    u64::try_from(time.saturating_add(offset)).unwrap_or(0)
}

/// Describes an error, without the bytes that pcap-parser's own text would print.
fn describe(error: &PcapError<&[u8]>) -> String {
    match error {
        PcapError::ReadError => "the file cannot be read".to_owned(),
        PcapError::UnexpectedEof | PcapError::Eof | PcapError::Incomplete(_) => {
            "the file ends inside a block".to_owned()
        }
        PcapError::HeaderNotRecognized => "this is neither a pcapng nor a pcap file".to_owned(),
        PcapError::BufferTooSmall => format!("a block is longer than {LONGEST_BLOCK} bytes"),
        PcapError::NomError(..) | PcapError::OwnedNomError(..) => "a block is malformed".to_owned(),
    }
}

#[cfg(test)]
mod tests;
