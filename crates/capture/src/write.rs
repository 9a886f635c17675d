//! Writing of pcapng files (draft-ietf-opsawg-pcapng).

use std::borrow::Cow;
use std::io::{self, Write};

use pcap_parser::{
    EPB_MAGIC, InterfaceDescriptionBlock, InterfaceStatisticsBlock, Linktype, OptionCode,
    PcapNGOption, SectionHeaderBlock, ToVec,
};

use crate::LinkType;

/// `if_tsresol` of times in nanoseconds.
const NANOSECONDS: u8 = 9;

/// Length of an enhanced packet block in front of the packet, in bytes.
const PACKET_HEADER: usize = 28;
/// Length of a block's end in bytes.
const TRAILER: usize = 4;

/// An interface of a file, by its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface(u32);

/// A writer of one section. Times are in nanoseconds since 1970.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    interfaces: u32,
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file. `application` names the program that captures.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W, application: &str) -> io::Result<Self> {
        let mut writer = Self {
            out,
            interfaces: 0,
            written: 0,
        };
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
    /// Those of the output.
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
    /// captured.
    ///
    /// The block is put together here, because pcap-parser copies the packet several times.
    ///
    /// # Errors
    /// Those of the output; [`io::ErrorKind::InvalidInput`] for a packet of 4 GiB or more.
    pub fn packet(
        &mut self,
        interface: Interface,
        time: u64,
        parts: &[&[u8]],
        original: u32,
        comment: Option<&str>,
    ) -> io::Result<()> {
        let captured: usize = parts.iter().map(|part| part.len()).sum();
        let comment = match comment {
            Some(comment) => {
                let mut options = text(OptionCode::Comment, comment)
                    .to_vec_raw()
                    .map_err(io::Error::other)?;
                // The end of the options.
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
        for word in head {
            self.out.write_all(&word.to_le_bytes())?;
        }
        for part in parts {
            self.out.write_all(part)?;
        }
        self.out.write_all(&[0; 3][..padded - captured])?;
        self.out.write_all(&comment)?;
        self.out.write_all(&whole.to_le_bytes())?;
        self.written += u64::from(whole);
        Ok(())
    }

    /// Writes how many packets an interface has seen and how many of them were lost.
    ///
    /// # Errors
    /// Those of the output.
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
        self.written
    }

    /// Returns the output. What it holds back is still to be flushed.
    #[must_use]
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// Those of the output.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn block(&mut self, block: &mut impl ToVec) -> io::Result<()> {
        let bytes = block.to_vec().map_err(io::Error::other)?;
        self.out.write_all(&bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
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
