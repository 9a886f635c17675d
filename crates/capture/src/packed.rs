//! Content in which runs of zeros take almost no room, as a Zstandard frame (RFC 8878).
//!
//! Only two kinds of the format's blocks are used: those that hold their bytes as they are, and
//! those that hold one byte and its number of repetitions. Nothing is searched, coded or
//! checksummed, so that the cost of writing is that of the bytes that are not zero. Wireshark and
//! `zstd -d` read the files like any other with the ending `.zst`. A file is one frame, because
//! Wireshark 4.0 does not read beyond the first frame that reaches past 128 KiB. The frame ends with
//! [`Blocks::end`]; a file that is still being written, or whose writer was killed, can be read up to
//! its last block.

use std::io::{self, IoSlice, Read, Write};
use std::sync::{Arc, OnceLock};

/// First bytes of a frame (RFC 8878, 3.1.1).
pub(crate) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Frame header: no length of the content, no checksum, no dictionary, and a window as long as the
/// longest block (RFC 8878, 3.1.1.1).
const HEADER: [u8; 2] = [0x00, 7 << 3];
/// Length of the longest block in bytes (RFC 8878, 3.1.1.2.3).
const LONGEST_BLOCK: usize = 128 << 10;
/// Length of a block's header in bytes.
const BLOCK_HEADER: usize = 3;
/// Length in bytes of the shortest run of zeros that becomes a block of its own.
const SHORTEST_RUN: usize = 16;

/// Kinds of blocks (RFC 8878, 3.1.1.2.2).
const AS_IS: u32 = 0;
const RUN: u32 = 1;

/// Returns a block's header, of which the highest byte is not part.
fn block_word(last: bool, kind: u32, length: usize) -> u32 {
    u32::from(last) | kind << 1 | (length as u32) << 3
}

fn block_header(last: bool, kind: u32, length: usize) -> [u8; BLOCK_HEADER] {
    let [low, middle, high, _] = block_word(last, kind, length).to_le_bytes();
    [low, middle, high]
}

/// Blocks in memory, of one frame or of several.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    held: Vec<u8>,
    /// Whether a frame is open.
    open: bool,
    /// Offset in `held` of the open block's header.
    block: Option<usize>,
    /// Number of bytes of content in all blocks but the open one.
    content: u64,
}

/// Place in [`Blocks`] behind which everything can be taken back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    length: usize,
    open: bool,
    block: Option<usize>,
    content: u64,
}

impl Blocks {
    /// Returns the place behind what has been added. It is valid until the blocks are taken.
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark {
            length: self.held.len(),
            open: self.open,
            block: self.block,
            content: self.content,
        }
    }

    /// Takes back everything behind a place.
    pub fn back_to(&mut self, mark: Mark) {
        // A block that was open there may have been closed. Its header is written when it is closed again.
        self.held.truncate(mark.length);
        self.open = mark.open;
        self.block = mark.block;
        self.content = mark.content;
    }

    /// Returns the number of bytes of content so far.
    pub fn content(&self) -> u64 {
        let open = self.block.map_or(0, |at| self.used(at));
        self.content + open as u64
    }

    /// Returns the number of bytes of memory in use.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Returns the number of bytes in the open block, whose header is at the offset `at`.
    #[inline]
    fn used(&self, at: usize) -> usize {
        self.held.len() - at - BLOCK_HEADER
    }

    /// Adds bytes as they are. The common case, in which they continue the open block, is here.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        match self.block {
            Some(at) if self.used(at) + bytes.len() <= LONGEST_BLOCK => {
                self.held.extend_from_slice(bytes);
            }
            _ => self.begin_with(bytes),
        }
    }

    /// Adds bytes that the open block has no room for, or that begin one.
    fn begin_with(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let used = match self.block {
                Some(at) => self.used(at),
                None => {
                    self.begin_frame();
                    self.block = Some(self.held.len());
                    self.held.extend([0; BLOCK_HEADER]);
                    0
                }
            };
            let (now, later) = bytes.split_at(bytes.len().min(LONGEST_BLOCK - used));
            self.held.extend_from_slice(now);
            if !later.is_empty() {
                self.close_block();
            }
            bytes = later;
        }
    }

    /// Adds `length` zeros.
    #[inline]
    pub fn zeros(&mut self, mut length: usize) {
        if length == 0 {
            return;
        }
        if length < SHORTEST_RUN {
            return self.bytes(&[0; SHORTEST_RUN][..length]);
        }
        self.close_block();
        self.begin_frame();
        self.content += length as u64;
        while length > 0 {
            let run = length.min(LONGEST_BLOCK);
            let [low, middle, high] = block_header(false, RUN, run);
            self.held.extend_from_slice(&[low, middle, high, 0]);
            length -= run;
        }
    }

    /// Adds `zeros` zeros and `bytes` behind them. The common case, in which both become a block of their
    /// own, is here.
    #[inline(always)]
    pub fn behind_zeros(&mut self, zeros: usize, bytes: &[u8]) {
        /// Lengths in bytes of a block of zeros and of the header of the block behind it.
        const HEADERS: usize = BLOCK_HEADER + 1 + BLOCK_HEADER;
        let short = 1..=LONGEST_BLOCK;
        if !short.contains(&zeros) || !short.contains(&bytes.len()) || !self.open {
            self.zeros(zeros);
            return self.bytes(bytes);
        }
        self.close_block();
        self.content += (zeros + bytes.len()) as u64;
        let zeros = u64::from(block_word(false, RUN, zeros));
        let stored = u64::from(block_word(false, AS_IS, bytes.len()));
        // The byte that is repeated is the highest of its block's word, 0.
        let headers = (zeros | stored << 32).to_le_bytes();
        self.held.extend_from_slice(&headers[..HEADERS]);
        self.held.extend_from_slice(bytes);
    }

    #[inline]
    fn begin_frame(&mut self) {
        if !self.open {
            self.held.extend(MAGIC);
            self.held.extend(HEADER);
            self.open = true;
        }
    }

    #[inline]
    fn close_block(&mut self) {
        if let Some(at) = self.block.take() {
            let length = self.used(at);
            self.content += length as u64;
            if let Some(header) = self.held.get_mut(at..at + BLOCK_HEADER) {
                header.copy_from_slice(&block_header(false, AS_IS, length));
            }
        }
    }

    /// Ends the frame. What is added then begins another one.
    pub fn end(&mut self) {
        self.close_block();
        if std::mem::take(&mut self.open) {
            self.held.extend(block_header(true, AS_IS, 0));
        }
    }

    /// Counts the content from here on, for another file. Returns the number of bytes of memory in use.
    pub fn begin_next(&mut self) -> usize {
        self.end();
        self.content = 0;
        self.held.len()
    }

    /// Exchanges the blocks so far for the memory of `other`, which is emptied.
    pub fn swap(&mut self, other: &mut Vec<u8>) {
        self.close_block();
        other.clear();
        std::mem::swap(&mut self.held, other);
    }
}

/// Writes the content of whole blocks to `out`. `open` is whether a frame is open, in front of the
/// blocks and behind them.
///
/// # Errors
/// The errors of `out`, and [`io::ErrorKind::InvalidData`] for anything but what [`Blocks`] makes.
pub(crate) fn unpack(mut blocks: &[u8], open: &mut bool, out: &mut impl Write) -> io::Result<()> {
    /// Largest number of pieces in one call of the system (`UIO_MAXIOV` of Linux).
    const MOST_PIECES: usize = 1_024;
    const ZEROS: [u8; 4096] = [0; 4096];
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let mut pieces = Vec::new();
    while !blocks.is_empty() {
        if !*open {
            let header = MAGIC.len() + HEADER.len();
            blocks = blocks.get(header..).ok_or_else(broken)?;
            *open = true;
            continue;
        }
        let (header, rest) = blocks.split_first_chunk().ok_or_else(broken)?;
        let [low, middle, high]: [u8; BLOCK_HEADER] = *header;
        let word = u32::from_le_bytes([low, middle, high, 0]);
        let (mut length, run) = ((word >> 3) as usize, word >> 1 & 3 == RUN);
        *open = word & 1 == 0;
        let stored = if run { 1 } else { length };
        let (bytes, rest) = rest.split_at_checked(stored).ok_or_else(broken)?;
        blocks = rest;
        while length > 0 {
            let piece = if run { &ZEROS[..] } else { bytes };
            let piece = piece.get(..length).unwrap_or(piece);
            pieces.push(IoSlice::new(piece));
            length -= piece.len();
            if pieces.len() == MOST_PIECES {
                write_pieces(&mut pieces, out)?;
            }
        }
    }
    write_pieces(&mut pieces, out)
}

/// Writes all of the pieces, and removes them.
fn write_pieces(pieces: &mut Vec<IoSlice<'_>>, out: &mut impl Write) -> io::Result<()> {
    let mut rest = &mut pieces[..];
    while !rest.is_empty() {
        match out.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => IoSlice::advance_slices(&mut rest, length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    pieces.clear();
    Ok(())
}

/// Reader of the content of a file whose blocks [`Blocks`] has made.
///
/// A block of any other kind is refused: reading it takes memory and work, and `zstd -d` serves for
/// that.
pub(crate) struct Unpacker<R> {
    input: R,
    /// Whether a frame is open.
    open: bool,
    /// Number of bytes of the block that are still to come, either stored or repeated.
    left: usize,
    run: Option<u8>,
    last: bool,
    why: Why,
}

/// Reason why the content cannot be read any further. The reader of the content gets a failed read.
pub(crate) type Why = Arc<OnceLock<String>>;

impl<R: Read> Unpacker<R> {
    pub fn new(input: R, why: Why) -> Self {
        Self {
            input,
            open: false,
            left: 0,
            run: None,
            last: false,
            why,
        }
    }

    fn fail<T>(&self, what: &str) -> io::Result<T> {
        let _ = self.why.set(what.to_owned());
        Err(io::Error::new(io::ErrorKind::InvalidData, what))
    }

    /// Reads as many bytes as `bytes` has, or fewer at the end of the file.
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut length = 0;
        while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match self.input.read(rest) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(length)
    }

    fn exactly<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        if self.fill(&mut bytes)? < N {
            return self.fail("the packed file ends inside a frame");
        }
        Ok(bytes)
    }

    /// Reads the header of the next frame. Returns `false` at the end of the file.
    fn begin(&mut self) -> io::Result<bool> {
        let mut magic = [0; 4];
        match self.fill(&mut magic)? {
            0 => return Ok(false),
            4 => {}
            _ => return self.fail("the packed file ends inside a frame"),
        }
        if magic != MAGIC {
            return self.fail("something that is no Zstandard frame follows");
        }
        if self.exactly::<2>()? != HEADER {
            return self.fail("another program has packed it: unpack it with zstd -d first");
        }
        self.open = true;
        self.last = false;
        Ok(true)
    }

    /// Reads the header of the next block. Returns `false` at the end of a file that its writer has
    /// not ended.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut header = [0; BLOCK_HEADER];
        match self.fill(&mut header)? {
            0 => return Ok(false),
            BLOCK_HEADER => {}
            _ => return self.fail("the packed file ends inside a frame"),
        }
        let [low, middle, high] = header;
        let word = u32::from_le_bytes([low, middle, high, 0]);
        let length = (word >> 3) as usize;
        self.last = word & 1 != 0;
        self.run = match word >> 1 & 3 {
            _ if length > LONGEST_BLOCK => {
                return self.fail("a packed block is longer than may be");
            }
            AS_IS => None,
            RUN => {
                let [byte] = self.exactly::<1>()?;
                Some(byte)
            }
            _ => return self.fail("another program has packed it: unpack it with zstd -d first"),
        };
        self.left = length;
        Ok(true)
    }
}

impl<R: Read> Read for Unpacker<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        while self.left == 0 {
            let more = if self.open && !self.last {
                self.next_block()?
            } else {
                self.begin()?
            };
            if !more {
                return Ok(0);
            }
        }
        let length = bytes.len().min(self.left);
        let into = bytes.get_mut(..length).unwrap_or_default();
        let length = match self.run {
            Some(byte) => {
                into.fill(byte);
                length
            }
            None => match self.input.read(into)? {
                0 => return self.fail("the packed file ends inside a frame"),
                length => length,
            },
        };
        self.left -= length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unpacked(packed: &[u8]) -> Result<Vec<u8>, String> {
        let why = Why::default();
        let mut content = Vec::new();
        let read = Unpacker::new(packed, Arc::clone(&why)).read_to_end(&mut content);
        match read {
            Ok(_) => Ok(content),
            Err(_) => Err(why.get().cloned().unwrap_or_default()),
        }
    }

    fn taken(blocks: &mut Blocks) -> Vec<u8> {
        let mut taken = Vec::new();
        blocks.swap(&mut taken);
        taken
    }

    #[test]
    fn zeros_take_no_room() {
        let mut blocks = Blocks::default();
        let mut content = Vec::new();
        for _ in 0..4_000 {
            blocks.bytes(b"header");
            blocks.zeros(1_372);
            content.extend(b"header");
            content.extend([0; 1_372]);
        }
        blocks.end();
        assert_eq!(blocks.content(), content.len() as u64);
        let packed = taken(&mut blocks);
        assert!(packed.len() < 4_000 * 14, "{}", packed.len());
        assert!(unpacked(&packed).unwrap() == content);
    }

    /// The reference program reads what is written.
    #[test]
    fn zstd_reads_it() {
        let mut blocks = Blocks::default();
        let long: Vec<u8> = (0..400_000u32).map(|at| at as u8).collect();
        blocks.bytes(&long);
        blocks.zeros(9_000_000);
        let mut packed = taken(&mut blocks);
        blocks.bytes(b"more");
        blocks.behind_zeros(1, b"of");
        blocks.behind_zeros(LONGEST_BLOCK, b"it");
        blocks.bytes(b"!");
        blocks.end();
        packed.extend(taken(&mut blocks));
        let nothing = vec![0; 9_000_000];
        let behind = [b"more\0of", &nothing[..LONGEST_BLOCK], b"it!"].concat();
        let content = [&long[..], &nothing, &behind].concat();
        assert!(unpacked(&packed).unwrap() == content);
        let program = std::process::Command::new("zstd")
            .args(["-d", "-c", "-q"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn();
        let mut program = program.expect("zstd runs (tools/setup)");
        let mut input = program.stdin.take().unwrap();
        let writer = std::thread::spawn(move || input.write_all(&packed));
        let output = program.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success());
        assert!(output.stdout == content);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let mut blocks = Blocks::default();
        blocks.bytes(b"content");
        blocks.end();
        let whole = taken(&mut blocks);
        // Between blocks the file may end, as when its writer was killed.
        let block = MAGIC.len() + HEADER.len();
        let next = block + BLOCK_HEADER + 7;
        assert_eq!(unpacked(&whole[..block]).unwrap(), []);
        assert_eq!(unpacked(&whole[..next]).unwrap(), b"content");
        for length in (1..whole.len()).filter(|length| ![block, next].contains(length)) {
            let why = unpacked(&whole[..length]).unwrap_err();
            assert!(why.contains("ends inside"), "{length}: {why}");
        }
        let with = |at: usize, byte: u8| {
            let mut other = whole.clone();
            other[at] = byte;
            unpacked(&other).unwrap_err()
        };
        assert!(with(0, 1).contains("no Zstandard frame"));
        // The changes are a checksum, another window, and a coded block.
        for (at, byte) in [(4, 4), (5, 0xff), (6, 4)] {
            assert!(with(at, byte).contains("zstd -d"), "{at}");
        }
        assert!(with(8, 0xff).contains("longer"));
        assert_eq!(unpacked(&[]).unwrap(), []);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn whatever_is_packed_comes_back(
            pieces in proptest::collection::vec(
                (0usize..300, 0usize..140_000, 0usize..140_000, any::<bool>()), 0..10
            )
        ) {
            let mut blocks = Blocks::default();
            let (mut content, mut packed, mut plain) = (Vec::new(), Vec::new(), Vec::new());
            let mut open = false;
            let mut take = |blocks: &mut Blocks| {
                let taken = taken(blocks);
                unpack(&taken, &mut open, &mut plain).unwrap();
                packed.extend(taken);
            };
            for (bytes, zeros, behind, flushed) in pieces {
                blocks.bytes(&vec![7; bytes]);
                blocks.zeros(zeros);
                blocks.behind_zeros(behind, &vec![8; bytes]);
                content.extend(std::iter::repeat_n(7, bytes));
                content.extend(std::iter::repeat_n(0, zeros + behind));
                content.extend(std::iter::repeat_n(8, bytes));
                prop_assert_eq!(blocks.content(), content.len() as u64);
                if flushed {
                    take(&mut blocks);
                }
            }
            // The file is whole, or as a writer leaves it that is killed after a flush.
            let whole: bool = content.len() % 2 == 0;
            if whole {
                blocks.end();
            }
            take(&mut blocks);
            prop_assert!(unpacked(&packed).unwrap() == content);
            prop_assert!(plain == content);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut all = MAGIC.to_vec();
            all.extend(HEADER);
            all.extend(&bytes);
            let why = Why::default();
            let mut content = std::io::sink();
            // The length of the content is bounded only by the number of blocks.
            let _ = std::io::copy(&mut Unpacker::new(&all[..], why).take(1 << 20), &mut content);
        }
    }
}
