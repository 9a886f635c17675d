//! Writing of pcapng files (draft-ietf-opsawg-pcapng).

use std::borrow::Cow;
use std::io::{self, Write};

use pcap_parser::{
    EPB_MAGIC, InterfaceDescriptionBlock, InterfaceStatisticsBlock, Linktype, OptionCode,
    PcapNGOption, SectionHeaderBlock, ToVec,
};

use crate::LinkType;
use crate::packed::Packer;

/// Value of `if_tsresol` for times in nanoseconds.
const NANOSECONDS: u8 = 9;

/// Length of an enhanced packet block in front of the packet, in bytes.
const PACKET_HEADER: usize = 28;
/// Length of a block's end in bytes.
const TRAILER: usize = 4;

/// Number of an interface in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface(u32);

/// A piece of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The bytes themselves.
    Bytes(&'a [u8]),
    /// A run of zeros of this length in bytes.
    Zeros(usize),
}

impl Part<'_> {
    /// Returns the number of bytes in the part.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Zeros(length) => *length,
        }
    }

    /// Returns whether the part has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A writer of one section. Times are in nanoseconds since 1970.
#[derive(Debug)]
pub struct Writer<W> {
    out: Output<W>,
    interfaces: u32,
}

#[derive(Debug)]
enum Output<W> {
    /// The output, and the number of bytes written to it.
    Plain(W, u64),
    Packed(Packer<W>),
}

impl<W: Write> Output<W> {
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(out, written) => {
                *written += bytes.len() as u64;
                out.write_all(bytes)
            }
            Self::Packed(packer) => packer.bytes(bytes),
        }
    }

    fn zeros(&mut self, mut length: usize) -> io::Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        if let Self::Packed(packer) = self {
            return packer.zeros(length);
        }
        while length > 0 {
            let take = length.min(ZEROS.len());
            self.bytes(&ZEROS[..take])?;
            length -= take;
        }
        Ok(())
    }
}

impl<W: Write> Writer<W> {
    /// Begins a file. `application` is the name of the program that captures.
    ///
    /// # Errors
    /// Returns the errors of `out`.
    pub fn new(out: W, application: &str) -> io::Result<Self> {
        Self::begin(Output::Plain(out, 0), application)
    }

    /// Begins a file in which runs of zeros take almost no room. It is the same content in a
    /// Zstandard frame (RFC 8878), for which a file name has the ending `.zst`. Wireshark and
    /// [`Reader`](crate::read::Reader) read it like the plain file. The writer holds bytes back
    /// until [`Writer::flush`].
    ///
    /// # Errors
    /// Returns the errors of `out`.
    pub fn packed(out: W, application: &str) -> io::Result<Self> {
        Self::begin(Output::Packed(Packer::new(out)), application)
    }

    fn begin(out: Output<W>, application: &str) -> io::Result<Self> {
        let mut writer = Self { out, interfaces: 0 };
        writer.block(&mut SectionHeaderBlock {
            block_type: 0,
            block_len1: 0,
            bom: 0,
            major_version: 1,
            minor_version: 0,
            section_len: -1,
            options: vec![text(OptionCode::ShbUserAppl, application)],
            block_len2: 0,
        })?;
        Ok(writer)
    }

    /// Adds an interface. `snap` is the largest number of bytes captured of a packet, 0 for no limit.
    ///
    /// # Errors
    /// Returns the errors of the output.
    pub fn interface(&mut self, link: LinkType, name: &str, snap: u32) -> io::Result<Interface> {
        self.block(&mut InterfaceDescriptionBlock {
            block_type: 0,
            block_len1: 0,
            linktype: Linktype(i32::from(link.0)),
            reserved: 0,
            snaplen: snap,
            options: vec![text(OptionCode::IfName, name)],
            block_len2: 0,
            if_tsresol: NANOSECONDS,
            if_tsoffset: 0,
        })?;
        self.interfaces += 1;
        Ok(Interface(self.interfaces - 1))
    }

    /// Writes a packet of which `original` bytes passed and `parts`, one after the other, were
    /// captured. In a packed file, the parts are searched for zeros.
    ///
    /// # Errors
    /// Returns the errors of the output, and [`io::ErrorKind::InvalidInput`] for a packet of 4 GiB
    /// or more.
    pub fn packet(
        &mut self,
        interface: Interface,
        time: u64,
        parts: &[&[u8]],
        original: u32,
        comment: Option<&str>,
    ) -> io::Result<()> {
        let captured = parts.iter().map(|part| part.len()).sum();
        if matches!(self.out, Output::Plain(..)) {
            let parts = parts.iter().map(|part| Part::Bytes(part));
            return self.packet_with_gaps(interface, time, captured, parts, original, comment);
        }
        let runs = parts
            .iter()
            .flat_map(|part| part.chunk_by(|one, next| (*one == 0) == (*next == 0)));
        let parts = runs.map(|run| match run.first() {
            Some(0) => Part::Zeros(run.len()),
            _ => Part::Bytes(run),
        });
        self.packet_with_gaps(interface, time, captured, parts, original, comment)
    }

    /// Writes a packet as [`Writer::packet`] does. [`Part::Zeros`] stands for bytes that were left
    /// out, and `captured` is the number of bytes of all parts.
    ///
    /// The block is put together here, because pcap-parser copies the packet several times.
    ///
    /// # Errors
    /// Returns the errors of [`Writer::packet`].
    pub fn packet_with_gaps<'p>(
        &mut self,
        interface: Interface,
        time: u64,
        captured: usize,
        parts: impl Iterator<Item = Part<'p>>,
        original: u32,
        comment: Option<&str>,
    ) -> io::Result<()> {
        let comment = match comment {
            Some(comment) => {
                let mut options = text(OptionCode::Comment, comment)
                    .to_vec_raw()
                    .map_err(io::Error::other)?;
                // Four zero bytes end the options.
                options.extend([0; 4]);
                options
            }
            None => Vec::new(),
        };
        let padded = captured.next_multiple_of(4);
        let whole = u32::try_from(PACKET_HEADER + padded + comment.len() + TRAILER)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let (high, low) = halves(time);
        let head = [
            EPB_MAGIC,
            whole,
            interface.0,
            high,
            low,
            captured as u32,
            original,
        ];
        let mut front = [0; PACKET_HEADER];
        for (field, word) in front.chunks_exact_mut(4).zip(head) {
            field.copy_from_slice(&word.to_le_bytes());
        }
        self.out.bytes(&front)?;
        let mut told = 0;
        for part in parts {
            told += part.len();
            match part {
                Part::Bytes(bytes) => self.out.bytes(bytes)?,
                Part::Zeros(length) => self.out.zeros(length)?,
            }
        }
        debug_assert_eq!(told, captured, "the parts are not as long as was said");
        self.out.bytes(&[0; 3][..padded - captured])?;
        if !comment.is_empty() {
            self.out.bytes(&comment)?;
        }
        self.out.bytes(&whole.to_le_bytes())
    }

    /// Writes how many packets an interface has seen and how many of them were lost.
    ///
    /// # Errors
    /// Returns the errors of the output.
    pub fn statistics(
        &mut self,
        interface: Interface,
        time: u64,
        received: u64,
        dropped: u64,
    ) -> io::Result<()> {
        let (ts_high, ts_low) = halves(time);
        let number = |code, value: u64| PcapNGOption {
            code,
            len: 8,
            value: Cow::Owned(value.to_le_bytes().to_vec()),
        };
        self.block(&mut InterfaceStatisticsBlock {
            block_type: 0,
            block_len1: 0,
            if_id: interface.0,
            ts_high,
            ts_low,
            options: vec![
                number(OptionCode::IsbIfRecv, received),
                number(OptionCode::IsbIfDrop, dropped),
            ],
            block_len2: 0,
        })
    }

    /// Returns the number of bytes written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        match &self.out {
            Output::Plain(_, written) => *written,
            Output::Packed(packer) => packer.written(),
        }
    }

    /// Returns the output. Bytes that it holds back are not flushed.
    #[must_use]
    pub fn into_inner(self) -> W {
        match self.out {
            Output::Plain(out, _) => out,
            Output::Packed(packer) => packer.into_inner(),
        }
    }

    /// Writes everything to the output, and flushes it.
    ///
    /// # Errors
    /// Returns the errors of the output.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.out {
            Output::Plain(out, _) => out.flush(),
            Output::Packed(packer) => packer.flush(),
        }
    }

    /// Ends the file, and flushes it. A packed file that is not ended can be read up to its last
    /// block.
    ///
    /// # Errors
    /// Returns the errors of the output.
    pub fn end(&mut self) -> io::Result<()> {
        match &mut self.out {
            Output::Plain(out, _) => out.flush(),
            Output::Packed(packer) => packer.end(),
        }
    }

    fn block(&mut self, block: &mut impl ToVec) -> io::Result<()> {
        let bytes = block.to_vec().map_err(io::Error::other)?;
        self.out.bytes(&bytes)
    }
}

fn text(code: OptionCode, text: &str) -> PcapNGOption<'_> {
    let mut end = text.len().min(usize::from(u16::MAX) - 3);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let bytes = &text.as_bytes()[..end];
    PcapNGOption {
        code,
        len: bytes.len() as u16,
        value: Cow::Borrowed(bytes),
    }
}

fn halves(time: u64) -> (u32, u32) {
    ((time >> 32) as u32, time as u32)
}
