//! Writing of pcapng files (draft-ietf-opsawg-pcapng).

use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Range;

use pcap_parser::{
    EPB_MAGIC, InterfaceDescriptionBlock, InterfaceStatisticsBlock, Linktype, OptionCode,
    PcapNGOption, SectionHeaderBlock, ToVec,
};

use crate::LinkType;
use crate::packed::{self, Blocks, Mark};

/// Value of `if_tsresol` for times in nanoseconds.
const NANOSECONDS: u8 = 9;

/// Length of an enhanced packet block in front of the packet, in bytes.
const PACKET_HEADER: usize = 28;
/// Length of a block's end in bytes.
const TRAILER: usize = 4;

/// Number of bytes that a packed file's [`Writer`] holds back at most.
const HELD_BACK: usize = 256 << 10;

/// Number of an interface in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface(u32);

/// Data of a packet, of which pieces are kept. Zeros stand in the file for the bytes between them.
#[derive(Debug)]
pub struct Kept<'a> {
    blocks: &'a mut Blocks,
    data: &'a [u8],
    /// Number of the data's bytes that have been added.
    at: usize,
    /// Place in front of the data.
    front: Mark,
}

impl Kept<'_> {
    /// Keeps a piece of the data, which lies behind those before it. Bytes beyond the data are left out.
    #[inline(always)]
    pub fn keep(&mut self, piece: Range<usize>) {
        let end = piece.end.min(self.data.len());
        let Some(bytes) = self.data.get(piece.start..end) else {
            return;
        };
        self.blocks
            .behind_zeros(piece.start.saturating_sub(self.at), bytes);
        self.at = end;
    }

    /// Forgets the pieces so far.
    pub fn restart(&mut self) {
        self.blocks.back_to(self.front);
        self.at = 0;
    }
}

/// A section in memory, in which runs of zeros take almost no room. Times are in nanoseconds since
/// 1970.
///
/// It is what a packed file holds: the content of a pcapng file in a Zstandard frame (RFC 8878), for
/// which a file name has the ending `.zst`. [`Form`] writes it as such a file or as a plain one.
#[derive(Debug)]
pub struct Section {
    blocks: Blocks,
    interfaces: u32,
    /// Number of bytes that were taken, less that of the bytes that were there at the beginning.
    taken: u64,
}

impl Section {
    /// Begins a section. `application` is the name of the program that captures.
    #[must_use]
    pub fn new(application: &str) -> Self {
        let mut section = Self {
            blocks: Blocks::default(),
            interfaces: 0,
            taken: 0,
        };
        section.begin(application);
        section
    }

    fn begin(&mut self, application: &str) {
        self.block(&mut SectionHeaderBlock {
            block_type: 0,
            block_len1: 0,
            bom: 0,
            major_version: 1,
            minor_version: 0,
            section_len: -1,
            options: vec![text(OptionCode::ShbUserAppl, application)],
            block_len2: 0,
        });
    }

    /// Adds an interface. `snap` is the largest number of bytes captured of a packet, 0 for no limit.
    pub fn interface(&mut self, link: LinkType, name: &str, snap: u32) -> Interface {
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
        });
        self.interfaces += 1;
        Interface(self.interfaces - 1)
    }

    /// Adds a packet of which `original` bytes passed. `head` and the pieces of `data` that `keep` keeps
    /// were captured; the packet is as long as with all of `data`.
    ///
    /// The block is put together here, because pcap-parser copies the packet several times.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a packet of 4 GiB or more. Nothing is added then.
    #[inline]
    pub fn packet<const N: usize>(
        &mut self,
        interface: Interface,
        time: u64,
        head: &[u8; N],
        data: &[u8],
        original: u32,
        keep: impl FnOnce(&mut Kept<'_>),
    ) -> io::Result<()> {
        let captured = N + data.len();
        let (front, whole) = front(interface, time, captured, original, 0)?;
        self.blocks.bytes(&front);
        self.blocks.bytes(head);
        let mut kept = Kept {
            front: self.blocks.mark(),
            blocks: &mut self.blocks,
            data,
            at: 0,
        };
        keep(&mut kept);
        let rest = data.len() - kept.at;
        self.blocks.zeros(rest);
        self.trailer(captured, &[], whole);
        Ok(())
    }

    /// Adds a packet of which `original` bytes passed and `parts`, one after the other, were captured.
    /// The parts are searched for zeros.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a packet of 4 GiB or more. Nothing is added then.
    pub fn searched_packet(
        &mut self,
        interface: Interface,
        time: u64,
        parts: &[&[u8]],
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
        let captured = parts.iter().map(|part| part.len()).sum();
        let (front, whole) = front(interface, time, captured, original, comment.len())?;
        self.blocks.bytes(&front);
        for part in parts {
            for run in part.chunk_by(|one, next| (*one == 0) == (*next == 0)) {
                match run.first() {
                    Some(0) => self.blocks.zeros(run.len()),
                    _ => self.blocks.bytes(run),
                }
            }
        }
        self.trailer(captured, &comment, whole);
        Ok(())
    }

    #[inline]
    fn trailer(&mut self, captured: usize, options: &[u8], whole: u32) {
        let padding = captured.next_multiple_of(4) - captured;
        if padding > 0 {
            self.blocks.bytes(&[0; 3][..padding]);
        }
        if !options.is_empty() {
            self.blocks.bytes(options);
        }
        self.blocks.bytes(&whole.to_le_bytes());
    }

    /// Adds how many packets an interface has seen and how many of them were lost.
    pub fn statistics(&mut self, interface: Interface, time: u64, received: u64, dropped: u64) {
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
        });
    }

    /// Ends the section and its frame. A packed file that is not ended can be read up to its last
    /// block.
    pub fn end(&mut self) {
        self.blocks.end();
    }

    /// Begins the section of another file behind this one, which must have ended. Returns the length
    /// of what is in memory, in bytes: what follows belongs to the other file.
    pub fn begin_next(&mut self, application: &str) -> usize {
        let length = self.blocks.begin_next();
        self.taken = 0u64.wrapping_sub(length as u64);
        self.interfaces = 0;
        self.begin(application);
        length
    }

    /// Returns the number of bytes that the section has as a packed file, or as a plain one.
    #[must_use]
    pub fn written(&self, packed: bool) -> u64 {
        if packed {
            self.taken.wrapping_add(self.size() as u64)
        } else {
            self.blocks.content()
        }
    }

    /// Returns the number of bytes of memory in use.
    #[must_use]
    pub fn size(&self) -> usize {
        self.blocks.len()
    }

    /// Takes what is in memory, and uses that of `bytes`, whose content is removed, from here on. The
    /// section goes on behind what is taken.
    pub fn swap(&mut self, bytes: &mut Vec<u8>) {
        self.blocks.swap(bytes);
        self.taken = self.taken.wrapping_add(bytes.len() as u64);
    }

    fn block(&mut self, block: &mut impl ToVec) {
        // Serialising fails only when its output does, and a vector takes everything.
        self.blocks.bytes(&block.to_vec().unwrap_or_default());
    }
}

/// Form of a file that the bytes taken from a [`Section`] are written to.
#[derive(Debug)]
pub struct Form {
    packed: bool,
    /// Whether a frame is open behind what was written last.
    open: bool,
}

impl Form {
    /// Begins a packed file, or a plain one.
    #[must_use]
    pub const fn new(packed: bool) -> Self {
        Self {
            packed,
            open: false,
        }
    }

    /// Writes what was taken from a section, behind everything that was taken before.
    ///
    /// # Errors
    /// Returns the errors of `out`.
    pub fn write(&mut self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        if self.packed {
            out.write_all(bytes)
        } else {
            packed::unpack(bytes, &mut self.open, out)
        }
    }
}

/// A writer of one section. Times are in nanoseconds since 1970.
#[derive(Debug)]
pub struct Writer<W> {
    section: Section,
    /// Memory that the section has left.
    spare: Vec<u8>,
    form: Form,
    out: W,
}

impl<W: Write> Writer<W> {
    /// Begins a file. `application` is the name of the program that captures.
    ///
    /// # Errors
    /// Returns the errors of `out`.
    pub fn new(out: W, application: &str) -> io::Result<Self> {
        Self::begin(out, application, false)
    }

    /// Begins a file in which runs of zeros take almost no room. It is the same content in a
    /// Zstandard frame (RFC 8878), for which a file name has the ending `.zst`. Wireshark and
    /// [`Reader`](crate::read::Reader) read it like the plain file. The writer holds bytes back
    /// until [`Writer::flush`].
    ///
    /// # Errors
    /// Returns the errors of `out`.
    pub fn packed(out: W, application: &str) -> io::Result<Self> {
        Self::begin(out, application, true)
    }

    fn begin(out: W, application: &str, packed: bool) -> io::Result<Self> {
        let mut writer = Self {
            section: Section::new(application),
            spare: Vec::new(),
            form: Form::new(packed),
            out,
        };
        writer.hand_on()?;
        Ok(writer)
    }

    /// Adds an interface, as [`Section::interface`] does.
    ///
    /// # Errors
    /// Returns the errors of the output.
    pub fn interface(&mut self, link: LinkType, name: &str, snap: u32) -> io::Result<Interface> {
        let interface = self.section.interface(link, name, snap);
        self.hand_on()?;
        Ok(interface)
    }

    /// Writes a packet, as [`Section::searched_packet`] does.
    ///
    /// # Errors
    /// Returns the errors of the output and those of [`Section::searched_packet`].
    pub fn packet(
        &mut self,
        interface: Interface,
        time: u64,
        parts: &[&[u8]],
        original: u32,
        comment: Option<&str>,
    ) -> io::Result<()> {
        self.section
            .searched_packet(interface, time, parts, original, comment)?;
        self.hand_on()
    }

    /// Writes the numbers of packets, as [`Section::statistics`] does.
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
        self.section.statistics(interface, time, received, dropped);
        self.hand_on()
    }

    /// Returns the number of bytes that the file has so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.section.written(self.form.packed)
    }

    /// Returns the output. Bytes that are held back are not flushed.
    #[must_use]
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Writes everything to the output, and flushes it.
    ///
    /// # Errors
    /// Returns the errors of the output.
    pub fn flush(&mut self) -> io::Result<()> {
        self.hand_all_on()?;
        self.out.flush()
    }

    /// Ends the file, and flushes it. A packed file that is not ended can be read up to its last
    /// block.
    ///
    /// # Errors
    /// Returns the errors of the output.
    pub fn end(&mut self) -> io::Result<()> {
        self.section.end();
        self.flush()
    }

    /// Hands to the output what is not to be held back.
    fn hand_on(&mut self) -> io::Result<()> {
        if self.form.packed && self.section.size() < HELD_BACK {
            return Ok(());
        }
        self.hand_all_on()
    }

    fn hand_all_on(&mut self) -> io::Result<()> {
        self.section.swap(&mut self.spare);
        self.form.write(&self.spare, &mut self.out)
    }
}

/// Returns what an enhanced packet block with `captured` bytes of a packet has in front of them, and its
/// length in bytes with options of `options` bytes.
#[inline]
fn front(
    interface: Interface,
    time: u64,
    captured: usize,
    original: u32,
    options: usize,
) -> io::Result<([u8; PACKET_HEADER], u32)> {
    let whole = PACKET_HEADER + captured.next_multiple_of(4) + options + TRAILER;
    let whole = u32::try_from(whole).map_err(|_| io::ErrorKind::InvalidInput)?;
    let (high, low) = halves(time);
    let captured = captured as u32;
    let head = [EPB_MAGIC, whole, interface.0, high, low, captured, original];
    let mut front = [0; PACKET_HEADER];
    for (bytes, word) in front.as_chunks_mut().0.iter_mut().zip(head) {
        *bytes = word.to_le_bytes();
    }
    Ok((front, whole))
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
