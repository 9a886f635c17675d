//! PINs that a SIM has refused, so that none is ever sent twice.
//!
//! A PIN is noted before it is sent and struck out when the SIM has taken it. What is noted in
//! between is in doubt after a crash: then the attempts left tell whether the SIM has counted it.
//!
//! Kept in a file the memory outlives this process, and a service that is restarted over and over
//! costs the SIM one attempt, not all. The file holds keyed hashes (SipHash-2-4 of 128 bits, the key
//! beside them), for its owner's eyes only: who can read it can find out a refused PIN by trying all
//! of them, but neither the SIM's number nor the PIN stand there.

use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher24};
use uwwan_mbim::status::Status;

/// Entries kept; of more, the oldest are forgotten.
const MOST: usize = 64;
/// A file of [`MOST`] entries is much shorter, in bytes.
const LONGEST_FILE: u64 = 64 * 1024;

/// What is remembered of PINs. See the [module](self).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinMemory {
    key: [u8; 16],
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Hash of SIM and PIN, hexadecimal.
    pin: String,
    /// Attempts left when it was sent, if the device told; `None` too once it was refused.
    sent_with: Option<u32>,
    /// Refused for sure.
    refused: bool,
    /// Sent by this process.
    #[serde(skip)]
    here: bool,
}

/// Answers to a PIN by which no attempt was used up.
#[must_use]
pub const fn not_tried(status: Status) -> bool {
    matches!(
        status,
        Status::BUSY
            | Status::NOT_INITIALIZED
            | Status::SIM_NOT_INSERTED
            | Status::PIN_DISABLED
            | Status::NO_DEVICE_SUPPORT
    )
}

/// What is known of a PIN before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// Nothing against it.
    Clean,
    /// An earlier process sent it, and it was refused or the end is not known.
    RefusedBefore,
    /// This process sent it, and it was refused or the end is not known.
    RefusedHere,
}

impl Default for PinMemory {
    /// An empty memory with a key of its own.
    fn default() -> Self {
        let mut key = [0; 16];
        for half in key.chunks_mut(8) {
            // Each state has keys of its own, from the system's random numbers.
            let number = RandomState::new().hash_one(0);
            half.copy_from_slice(&number.to_le_bytes());
        }
        Self {
            key,
            entries: Vec::new(),
        }
    }
}

impl PinMemory {
    fn hash(&self, sim: &str, pin: &str) -> String {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(&(sim.len() as u64).to_le_bytes());
        hasher.write(sim.as_bytes());
        hasher.write(pin.as_bytes());
        let hash = hasher.finish128();
        format!("{:016x}{:016x}", hash.h1, hash.h2)
    }

    fn entry(&self, sim: &str, pin: &str) -> Option<&Entry> {
        let hash = self.hash(sim, pin);
        self.entries.iter().find(|entry| entry.pin == hash)
    }

    /// What is known of this PIN, while the SIM has `left` attempts, if it is told.
    #[must_use]
    pub fn past(&self, sim: &str, pin: &str, left: Option<u32>) -> Past {
        let Some(entry) = self.entry(sim, pin) else {
            return Past::Clean;
        };
        // An attempt that the SIM has not counted did not reach it, or was the right PIN.
        let not_counted = match (entry.sent_with, left) {
            (Some(before), Some(left)) => left >= before,
            _ => false,
        };
        if !entry.refused && not_counted {
            Past::Clean
        } else if entry.here {
            Past::RefusedHere
        } else {
            Past::RefusedBefore
        }
    }

    fn put(&mut self, sim: &str, pin: &str, sent_with: Option<u32>, refused: bool) {
        let pin = self.hash(sim, pin);
        self.entries.retain(|entry| entry.pin != pin);
        if self.entries.len() >= MOST {
            self.entries.remove(0);
        }
        self.entries.push(Entry {
            pin,
            sent_with,
            refused,
            here: true,
        });
    }

    /// This PIN is about to be sent, while the SIM has `left` attempts, if it is told.
    pub fn sending(&mut self, sim: &str, pin: &str, left: Option<u32>) {
        self.put(sim, pin, left, false);
    }

    /// This SIM has refused this PIN.
    pub fn refused(&mut self, sim: &str, pin: &str) {
        self.put(sim, pin, None, true);
    }

    /// The SIM has taken this PIN, or has not looked at it.
    pub fn forget(&mut self, sim: &str, pin: &str) {
        let pin = self.hash(sim, pin);
        self.entries.retain(|entry| entry.pin != pin);
    }

    /// Reads a memory; where there is no file it is empty.
    ///
    /// # Errors
    /// When the file cannot be read or is none of ours; a pipe or a device is refused and never
    /// waited for.
    pub fn load(path: &Path) -> io::Result<Self> {
        // A pipe without a writer would hold up an open that may block.
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is no regular file",
            ));
        }
        let mut text = String::new();
        file.take(LONGEST_FILE).read_to_string(&mut text)?;
        let memory: Self = serde_json::from_str(&text)?;
        Ok(memory)
    }

    /// Writes the memory, readable by this user alone, in one piece or not at all; its directory is
    /// made if need be.
    ///
    /// # Errors
    /// When the system refuses; then the old file stays.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let draft = path.with_extension(format!("new-{}", std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut file| {
                file.write_all(serde_json::to_string(self)?.as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&draft, path))
            // The name itself must outlive a power cut as well.
            .and_then(|()| fs::File::open(folder)?.sync_all());
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written
    }
}

/// Nothing of the content is shown.
impl std::fmt::Debug for PinMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PinMemory({} entries)", self.entries.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIM: &str = "8947000000000000001";

    /// The memory as the next process finds it.
    fn next_process(memory: &PinMemory) -> PinMemory {
        serde_json::from_str(&serde_json::to_string(memory).unwrap()).unwrap()
    }

    #[test]
    fn a_refused_pin_is_known_to_every_later_process() {
        let mut memory = PinMemory::default();
        assert_eq!(memory.past(SIM, "1234", Some(3)), Past::Clean);
        memory.sending(SIM, "1234", Some(3));
        memory.refused(SIM, "1234");
        assert_eq!(memory.past(SIM, "1234", Some(2)), Past::RefusedHere);
        let later = next_process(&next_process(&memory));
        // Also after another PIN has set the attempts back.
        for left in [None, Some(2), Some(3)] {
            assert_eq!(later.past(SIM, "1234", left), Past::RefusedBefore);
        }
        assert_eq!(later.past(SIM, "4321", Some(2)), Past::Clean);
        assert_eq!(later.past("another SIM", "1234", Some(2)), Past::Clean);
    }

    #[test]
    fn after_a_crash_the_attempts_tell() {
        let mut memory = PinMemory::default();
        memory.sending(SIM, "1234", Some(3));
        assert_eq!(memory.past(SIM, "1234", Some(2)), Past::RefusedHere);
        assert_eq!(memory.past(SIM, "1234", Some(3)), Past::Clean);
        let later = next_process(&memory);
        assert_eq!(later.past(SIM, "1234", Some(2)), Past::RefusedBefore);
        assert_eq!(later.past(SIM, "1234", None), Past::RefusedBefore);
        assert_eq!(later.past(SIM, "1234", Some(3)), Past::Clean);
        memory.sending(SIM, "1234", None);
        assert_eq!(
            next_process(&memory).past(SIM, "1234", Some(3)),
            Past::RefusedBefore
        );
    }

    #[test]
    fn a_pin_that_was_taken_leaves_nothing() {
        let mut memory = PinMemory::default();
        memory.sending(SIM, "1234", Some(3));
        memory.forget(SIM, "1234");
        assert_eq!(memory.past(SIM, "1234", Some(3)), Past::Clean);
        assert!(memory.entries.is_empty());
    }

    #[test]
    fn it_does_not_grow_and_does_not_tell() {
        let mut memory = PinMemory::default();
        for number in 0..10_000 {
            memory.refused(SIM, &number.to_string());
        }
        assert_eq!(memory.entries.len(), MOST);
        let text = serde_json::to_string(&memory).unwrap();
        assert!((text.len() as u64) < LONGEST_FILE / 4);
        assert!(!text.contains(SIM) && !text.contains("9999"), "{text}");
        assert_ne!(memory.key, PinMemory::default().key);
    }

    #[test]
    fn the_file_is_private_and_garbage_is_refused() {
        use std::os::unix::fs::PermissionsExt;

        let folder = std::env::temp_dir().join(format!("uwwan-pins-{}", std::process::id()));
        let path = folder.join("deep").join("pins.json");
        assert!(PinMemory::load(&path).unwrap().entries.is_empty());
        let mut memory = PinMemory::default();
        memory.refused(SIM, "1234");
        memory.save(&path).unwrap();
        memory.save(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let read = PinMemory::load(&path).unwrap();
        assert_eq!(read.past(SIM, "1234", Some(2)), Past::RefusedBefore);
        for garbage in ["", "{", "[]", "{\"key\":[1],\"entries\":[]}", "\u{1}"] {
            fs::write(&path, garbage).unwrap();
            assert!(PinMemory::load(&path).is_err(), "{garbage:?}");
        }
        fs::write(&path, vec![b' '; 1 << 20]).unwrap();
        assert!(PinMemory::load(&path).is_err());
        fs::remove_file(&path).unwrap();
        let here = rustix::fs::CWD;
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(here, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let refused = PinMemory::load(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        fs::remove_dir_all(&folder).unwrap();
    }
}
