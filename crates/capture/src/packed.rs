//! Files in which runs of zeros take almost no room, as a Zstandard frame (RFC 8878).
//!
//! Only two kinds of the format's blocks are used: those that hold their bytes as they are, and
//! those that hold one byte and its number of repetitions. Nothing is searched, coded or
//! checksummed, so that the cost of writing is that of the bytes that are not zero. Wireshark and
//! `zstd -d` read the files like any other with the ending `.zst`. A file is one frame, because
//! Wireshark 4.0 does not read beyond the first frame that reaches past 128 KiB. The file ends with
//! [`Packer::end`]; one that is still being written, or whose writer was killed, can be read up to
//! its last block.

use std::io::{self, Read, Write};
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
/// Number of bytes that are written to the output at a time.
const PIECE: usize = 256 << 10;

/// Kinds of blocks (RFC 8878, 3.1.1.2.2).
const AS_IS: u32 = 0;
const RUN: u32 = 1;

fn block_header(last: bool, kind: u32, length: usize) -> [u8; BLOCK_HEADER] {
    let [low, middle, high, _] = (u32::from(last) | kind << 1 | (length as u32) << 3).to_le_bytes();
    [low, middle, high]
}

/// An output that packs runs of zeros. The bytes that it holds back are written to `out` with
/// [`Write::flush`].
#[derive(Debug)]
pub(crate) struct Packer<W> {
    out: W,
    held: Vec<u8>,
    /// Whether a frame is open.
    open: bool,
    /// Offset in `held` of the open block's header.
    block: Option<usize>,
    handed: u64,
}

impl<W: Write> Packer<W> {
    pub fn new(out: W) -> Self {
        Self {
            out,
            held: Vec::with_capacity(PIECE + LONGEST_BLOCK),
            open: false,
            block: None,
            handed: 0,
        }
    }

    /// Returns the number of bytes that the file has so far.
    pub fn written(&self) -> u64 {
        self.handed + self.held.len() as u64
    }

    pub fn into_inner(self) -> W {
        self.out
    }

    /// Writes `length` zeros.
    pub fn zeros(&mut self, mut length: usize) -> io::Result<()> {
        if length < SHORTEST_RUN {
            return self.write_all(&[0; SHORTEST_RUN][..length]);
        }
        self.close_block();
        self.begin_frame();
        while length > 0 {
            let run = length.min(LONGEST_BLOCK);
            let [low, middle, high] = block_header(false, RUN, run);
            self.held.extend_from_slice(&[low, middle, high, 0]);
            length -= run;
        }
        self.hand_on()
    }

    /// Writes the bytes as they are. The common case, in which they continue the open block, is
    /// here; every other one is in `write`.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let after = self.held.len() + bytes.len();
        let fits = |at: usize| after - at <= BLOCK_HEADER + LONGEST_BLOCK;
        if after < PIECE && self.block.is_some_and(fits) {
            self.held.extend_from_slice(bytes);
            return Ok(());
        }
        self.write_all(bytes)
    }

    fn begin_frame(&mut self) {
        if !self.open {
            self.held.extend(MAGIC);
            self.held.extend(HEADER);
            self.open = true;
        }
    }

    fn close_block(&mut self) {
        if let Some(at) = self.block.take() {
            let length = self.held.len() - at - BLOCK_HEADER;
            if let Some(header) = self.held.get_mut(at..at + BLOCK_HEADER) {
                header.copy_from_slice(&block_header(false, AS_IS, length));
            }
        }
    }

    /// Ends the file, and writes what is held to the output.
    pub fn end(&mut self) -> io::Result<()> {
        self.close_block();
        if std::mem::take(&mut self.open) {
            self.held.extend(block_header(true, AS_IS, 0));
        }
        self.flush()
    }

    /// Writes what is held to the output, once it is enough and no block is open.
    fn hand_on(&mut self) -> io::Result<()> {
        if self.held.len() < PIECE {
            return Ok(());
        }
        self.close_block();
        self.hand_all()
    }

    fn hand_all(&mut self) -> io::Result<()> {
        self.out.write_all(&self.held)?;
        self.handed += self.held.len() as u64;
        self.held.clear();
        Ok(())
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let used = self
            .block
            .map_or(0, |at| self.held.len() - at - BLOCK_HEADER);
        let length = bytes.len().min(LONGEST_BLOCK - used);
        let Some(bytes) = bytes.get(..length).filter(|bytes| !bytes.is_empty()) else {
            // The block is full.
            if !bytes.is_empty() {
                self.close_block();
                return self.write(bytes);
            }
            return Ok(0);
        };
        self.begin_frame();
        if self.block.is_none() {
            self.block = Some(self.held.len());
            self.held.extend([0; BLOCK_HEADER]);
        }
        self.held.extend_from_slice(bytes);
        self.hand_on()?;
        Ok(length)
    }

    /// Ends the block, so that what is written so far can be read, and writes it to the output.
    fn flush(&mut self) -> io::Result<()> {
        self.close_block();
        self.hand_all()?;
        self.out.flush()
    }
}

/// Reader of the content of a file that [`Packer`] has written.
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

    #[test]
    fn zeros_take_no_room() {
        let mut packer = Packer::new(Vec::new());
        let mut content = Vec::new();
        for _ in 0..4_000 {
            packer.write_all(b"header").unwrap();
            packer.zeros(1_372).unwrap();
            content.extend(b"header");
            content.extend([0; 1_372]);
        }
        packer.end().unwrap();
        let written = packer.written();
        let packed = packer.into_inner();
        assert_eq!(written, packed.len() as u64);
        assert!(packed.len() < 4_000 * 14, "{}", packed.len());
        assert!(unpacked(&packed).unwrap() == content);
    }

    /// The reference program reads what is written.
    #[test]
    fn zstd_reads_it() {
        let mut packer = Packer::new(Vec::new());
        let long: Vec<u8> = (0..400_000u32).map(|at| at as u8).collect();
        packer.write_all(&long).unwrap();
        packer.zeros(9_000_000).unwrap();
        packer.flush().unwrap();
        packer.write_all(b"more").unwrap();
        packer.end().unwrap();
        let packed = packer.into_inner();
        let content = [&long[..], &vec![0; 9_000_000], b"more"].concat();
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
        let mut packer = Packer::new(Vec::new());
        packer.write_all(b"content").unwrap();
        packer.end().unwrap();
        let whole = packer.into_inner();
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
            pieces in proptest::collection::vec((0usize..300, 0usize..140_000, any::<bool>()), 0..10)
        ) {
            let mut packer = Packer::new(Vec::new());
            let mut content = Vec::new();
            for (bytes, zeros, flushed) in pieces {
                packer.write_all(&vec![7; bytes]).unwrap();
                packer.zeros(zeros).unwrap();
                content.extend(std::iter::repeat_n(7, bytes));
                content.extend(std::iter::repeat_n(0, zeros));
                if flushed {
                    packer.flush().unwrap();
                }
            }
            // The file is whole, or as a writer leaves it that is killed after a flush.
            let whole: bool = content.len() % 2 == 0;
            if whole {
                packer.end().unwrap();
            }
            packer.flush().unwrap();
            prop_assert!(unpacked(&packer.into_inner()).unwrap() == content);
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
