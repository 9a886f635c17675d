//! Captures of the trials that fail, each in a file of its own.
//!
//! A trial is captured into memory, from the state that the device is in. Only the capture of a
//! trial that failed becomes a file: a pcapng file of whole blocks, of [`LONGEST`] bytes at most,
//! with the first bytes of each datagram. After [`MOST`] files no more are written.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uwwan_modem::capture::{Capture, Destination, Options};

use super::cell::Cell;
use crate::capture;
use crate::failure::{Failure, FailureKind};
use crate::output::note;

/// Size in bytes of the longest file. The rest of a longer capture is left out.
const LONGEST: usize = 4 << 20;
/// Largest number of files of one run.
const MOST: usize = 100;
/// Largest number of characters of a cell in a file's name.
const LONGEST_NAME: usize = 100;
/// Number of bytes that are kept of each datagram.
const SNAP: usize = 128;
/// Time within which queued events are written at the end of a trial.
const PATIENCE: Duration = Duration::from_secs(2);

/// The directory of the captures.
#[derive(Debug)]
pub struct Failures {
    folder: PathBuf,
    /// Number of the next file.
    next: usize,
    /// Number of files that were written.
    written: usize,
}

/// The capture of a trial that is under way.
pub struct Recording {
    capture: Capture,
    bytes: Arc<Mutex<Vec<u8>>>,
}

/// The part of a capture that is kept in memory.
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = LONGEST.saturating_sub(bytes.len());
        bytes.extend_from_slice(data.get(..room).unwrap_or(data));
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Failures {
    /// Makes the directory, for its owner alone, unless it exists. From here on the backends of this
    /// process can be observed.
    ///
    /// # Errors
    /// [`FailureKind::Host`] when it cannot be made.
    pub fn new(folder: &Path) -> Result<Self, Failure> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| cannot_write(folder, &error))?;
        let _ = capture::captures();
        // The files of an earlier run stay, and the numbers continue behind them.
        let there = std::fs::read_dir(folder).map_err(|error| cannot_write(folder, &error))?;
        let numbers = there.flatten().filter_map(|entry| {
            let name = entry.file_name();
            let (number, _) = name.to_str()?.split_once('-')?;
            number.parse::<usize>().ok()
        });
        Ok(Self {
            folder: folder.to_owned(),
            next: numbers.max().unwrap_or(0).saturating_add(1),
            written: 0,
        })
    }

    /// Begins the capture of a trial; returns `None` when there are enough files.
    ///
    /// # Errors
    /// Those of [`uwwan_modem::capture::Captures::start`].
    pub fn begin(&self) -> Result<Option<Recording>, Failure> {
        if self.written >= MOST {
            return Ok(None);
        }
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let memory = Box::new(Memory(Arc::clone(&bytes)));
        let options = Options {
            snap: Some(SNAP),
            ..Options::default()
        };
        let destination = Destination::stream(memory, "memory");
        let capture = capture::captures().start(options, destination)?;
        Ok(Some(Recording { capture, bytes }))
    }

    /// Writes the capture of a trial of this cell, which has failed, and returns its path. No
    /// existing file is replaced.
    ///
    /// # Errors
    /// [`FailureKind::Host`] when the file cannot be written.
    pub fn keep(&mut self, recording: Recording, cell: &Cell) -> Result<PathBuf, Failure> {
        let _ = recording.capture.finish(PATIENCE);
        let bytes = recording.bytes.lock();
        let bytes = bytes.unwrap_or_else(PoisonError::into_inner);
        let name = name(cell);
        loop {
            let path = self.folder.join(format!("{:03}-{name}.pcapng", self.next));
            self.next = self.next.saturating_add(1);
            let mut open = OpenOptions::new();
            let mut file = match open.write(true).create_new(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                opened => opened.map_err(|error| cannot_write(&path, &error))?,
            };
            file.write_all(whole_blocks(&bytes))
                .map_err(|error| cannot_write(&path, &error))?;
            self.written += 1;
            if self.written == MOST {
                note(format!(
                    "{MOST} captures of what failed are enough; of further failures none is kept"
                ));
            }
            return Ok(path);
        }
    }
}

impl Recording {
    /// Ends the capture of a trial that has not failed.
    pub fn drop_it(self) {
        self.capture.end();
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(FailureKind::Host, "cannot keep the capture of a failure")
        .at(path.display().to_string())
        .because(error)
        .next("name another directory with --failures, or leave the option out")
}

/// Returns a cell as a part of a file's name.
fn name(cell: &Cell) -> String {
    let mut name = String::new();
    for letter in cell.to_string().chars().take(LONGEST_NAME) {
        match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' => name.push(letter),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    name
}

/// Returns the whole blocks at the beginning of a pcapng file (draft-ietf-opsawg-pcapng, 3.1): a last
/// block that was cut is left out.
fn whole_blocks(bytes: &[u8]) -> &[u8] {
    let mut end = 0;
    while let Some(rest) = bytes.get(end..)
        && let Some(length) = rest.get(4..8).and_then(|length| length.first_chunk())
        && let length = u32::from_le_bytes(*length) as usize
        && length > 0
        && length <= rest.len()
    {
        end += length;
    }
    &bytes[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::lab::cell::Dimension;

    #[test]
    fn a_cell_becomes_a_name_without_separators() {
        let cell = Cell::of(&[(Dimension::Ntb, "16"), (Dimension::Settle, "0.2/../x")]);
        assert_eq!(name(&cell), "ntb-16-settle-0.2-..-x");
    }

    #[test]
    fn a_file_that_was_cut_ends_with_a_whole_block() {
        let block = |length: u32| {
            let mut block = vec![0; length as usize];
            block[4..8].copy_from_slice(&length.to_le_bytes());
            block
        };
        let whole = [block(28), block(12)].concat();
        let cut = [&whole[..], &block(64)[..40]].concat();
        assert_eq!(whole_blocks(&cut), whole);
        assert_eq!(whole_blocks(&whole), whole);
        assert_eq!(whole_blocks(&cut[..45]), whole);
        assert!(whole_blocks(&[0; 40]).is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let mut memory = Memory(Arc::clone(&bytes));
        for _ in 0..10 {
            memory.write_all(&vec![7; 1 << 20]).unwrap();
        }
        assert_eq!(bytes.lock().unwrap().len(), LONGEST);
    }
}
