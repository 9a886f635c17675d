//! Memory of the PINs that a SIM has refused, so that none is ever sent twice.
//!
//! A PIN is recorded before it is sent, and removed when the SIM has taken it. A PIN that is still
//! recorded after a crash is in doubt; the attempts remaining then tell whether the SIM has counted
//! it.
//!
//! The memory is kept in a file and outlives this process, so that a service that is restarted over
//! and over costs the SIM one attempt, not all. The file holds keyed hashes (SipHash-2-4 of 128
//! bits, the key beside them) and is readable by its owner alone. A reader of the file can find out
//! a refused PIN by trying all of them, but neither the SIM's number nor the PIN stand there.

use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher24};
use uwwan_mbim::fields::DecodeError;
use uwwan_mbim::services::basic_connect::{PinInfo, PinState, PinType};
use uwwan_mbim::status::Status;

use crate::secret::scrub_stack;

/// Largest number of entries; beyond it the oldest are forgotten.
const MOST: usize = 64;
/// Size of an entry in [`PinMemory::to_bytes`], in bytes.
const ENTRY: usize = 16 + 4 + 1;
/// Flags of an entry there: the attempts remaining are known, and the SIM has refused the PIN.
const SENT_WITH: u8 = 1;
const REFUSED: u8 = 2;
/// Size of the longest file that is read, in bytes. A file of [`MOST`] entries is much shorter.
const LONGEST_FILE: u64 = 64 * 1024;

/// Memory of PINs; see the [module](self).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinMemory {
    key: [u8; 16],
    entries: Vec<Entry>,
}

/// What stands for a PIN of a SIM in one memory: the PIN itself is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(String);

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Hash of SIM and PIN, in hexadecimal digits.
    pin: String,
    /// Attempts remaining when the PIN was sent, if the device reported them; `None` once it was
    /// refused.
    sent_with: Option<u32>,
    /// Whether the SIM is known to have refused the PIN.
    refused: bool,
    /// Whether this process sent the PIN.
    #[serde(skip)]
    here: bool,
}

impl Entry {
    /// Returns the entry in bytes, unless its hash is none, as a file may have it.
    fn to_bytes(&self) -> Option<[u8; ENTRY]> {
        let hash = u128::from_str_radix(&self.pin, 16).ok()?;
        let mut bytes = [0; ENTRY];
        bytes[..16].copy_from_slice(&hash.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.sent_with.unwrap_or(0).to_be_bytes());
        bytes[20] =
            u8::from(self.sent_with.is_some()) * SENT_WITH + u8::from(self.refused) * REFUSED;
        Some(bytes)
    }

    fn from_bytes(bytes: &[u8; ENTRY]) -> Option<Self> {
        let hash = u128::from_be_bytes(*bytes.first_chunk()?);
        let left = u32::from_be_bytes(*bytes[16..].first_chunk()?);
        let flags = bytes[20];
        let told = flags & SENT_WITH != 0;
        (flags & !(SENT_WITH | REFUSED) == 0 && (told || left == 0)).then(|| Self {
            pin: format!("{hash:032x}"),
            sent_with: told.then_some(left),
            refused: flags & REFUSED != 0,
            here: false,
        })
    }
}

/// Returns whether an answer to a PIN means that no attempt was used up.
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

/// Number of attempts in [`PinInfo`] when the device does not know it (MBIM 1.0 section 10.5.4).
pub const UNKNOWN_ATTEMPTS: u32 = u32::MAX;

/// Returns the state of the PIN from the answer to a PIN query: its status and its information
/// buffer; `None` when the status refuses the query, whatever the content. The status `pin_required`
/// whose content names no lock says that the SIM waits for PIN1; the VZ20M answers so without content
/// (ModemManager `pin_query_ready`).
///
/// # Errors
/// Those of decoding the content of a success.
pub fn pin_state(status: Status, info: &[u8]) -> Option<Result<PinInfo, DecodeError>> {
    let decoded = PinInfo::decode(info);
    if status.is_success() {
        return Some(decoded);
    }
    let names_a_lock =
        |pin: &PinInfo| pin.pin_state == PinState::LOCKED && pin.pin_type != PinType::UNKNOWN;
    (status == Status::PIN_REQUIRED).then(|| {
        Ok(decoded.ok().filter(names_a_lock).unwrap_or(PinInfo {
            pin_type: PinType::PIN1,
            pin_state: PinState::LOCKED,
            remaining_attempts: UNKNOWN_ATTEMPTS,
        }))
    })
}

/// History of a PIN before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// Nothing speaks against the PIN.
    Clean,
    /// An earlier process sent the PIN, and it was refused or the outcome is not known.
    RefusedBefore,
    /// This process sent the PIN, and it was refused or the outcome is not known.
    RefusedHere,
}

impl Default for PinMemory {
    /// Returns an empty memory with a key of its own.
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
    /// Returns what stands for a PIN of a SIM in this memory.
    #[must_use]
    pub fn mark(&self, sim: &str, pin: &str) -> Mark {
        let mark = Mark(self.hash(sim, pin));
        // The hash function had the PIN in its state.
        scrub_stack();
        mark
    }

    #[inline(never)]
    fn hash(&self, sim: &str, pin: &str) -> String {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(&(sim.len() as u64).to_le_bytes());
        hasher.write(sim.as_bytes());
        hasher.write(pin.as_bytes());
        let hash = hasher.finish128();
        format!("{:016x}{:016x}", hash.h1, hash.h2)
    }

    /// Returns the history of a PIN, while the SIM has `remaining` attempts remaining, if that is
    /// reported.
    #[must_use]
    pub fn past(&self, pin: &Mark, remaining: Option<u32>) -> Past {
        let Some(entry) = self.entries.iter().find(|entry| entry.pin == pin.0) else {
            return Past::Clean;
        };
        // An attempt that the SIM has not counted did not reach it, or was the right PIN.
        let not_counted = match (entry.sent_with, remaining) {
            (Some(before), Some(remaining)) => remaining >= before,
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

    fn put(&mut self, pin: &Mark, sent_with: Option<u32>, refused: bool) {
        self.forget(pin);
        if self.entries.len() >= MOST {
            self.entries.remove(0);
        }
        self.entries.push(Entry {
            pin: pin.0.clone(),
            sent_with,
            refused,
            here: true,
        });
    }

    /// Records that a PIN is about to be sent, while the SIM has `remaining` attempts remaining, if that
    /// is reported.
    pub fn sending(&mut self, pin: &Mark, remaining: Option<u32>) {
        self.put(pin, remaining, false);
    }

    /// Records that a SIM has refused a PIN.
    pub fn refused(&mut self, pin: &Mark) {
        self.put(pin, None, true);
    }

    /// Removes a PIN that the SIM has taken or of which it has not counted an attempt.
    pub fn forget(&mut self, pin: &Mark) {
        self.entries.retain(|entry| entry.pin != pin.0);
    }

    /// Number of bytes that [`PinMemory::to_bytes`] returns.
    pub const SIZE: usize = 16 + 1 + MOST * ENTRY;

    /// Returns the memory in a fixed number of bytes, by which it passes from one process to another:
    /// the key, the number of entries, and for each its hash, the attempts remaining with which it was
    /// sent (big-endian) and flags. What follows is zero.
    #[must_use]
    pub fn to_bytes(&self) -> Box<[u8; Self::SIZE]> {
        let mut bytes = Box::new([0; Self::SIZE]);
        bytes[..16].copy_from_slice(&self.key);
        let known = self.entries.iter().filter_map(Entry::to_bytes);
        let mut count = 0;
        for (entry, place) in known.zip(bytes[17..].chunks_exact_mut(ENTRY)) {
            place.copy_from_slice(&entry);
            count += 1;
        }
        bytes[16] = count;
        bytes
    }

    /// Reads what [`PinMemory::to_bytes`] wrote. Returns `None` for what it cannot have written.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Option<Self> {
        let key = *bytes.first_chunk()?;
        let (entries, rest) = bytes[17..].split_at_checked(usize::from(bytes[16]) * ENTRY)?;
        let entries = entries.as_chunks().0.iter().map(Entry::from_bytes);
        let entries = entries.collect::<Option<_>>()?;
        rest.iter()
            .all(|byte| *byte == 0)
            .then_some(Self { key, entries })
    }

    /// Reads a memory from a file; without a file it is empty.
    ///
    /// # Errors
    /// Those of the system, and for a file that is no memory. A pipe or a device is refused and
    /// never waited for.
    fn load(path: &Path) -> io::Result<Self> {
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

    /// Writes the memory to a file that this user alone may read, in one piece or not at all. Its
    /// directory is made if need be.
    ///
    /// # Errors
    /// Those of the system; the old file then stays.
    fn save(&self, path: &Path) -> io::Result<()> {
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
            // The directory may be another user's, who could have put a link there.
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&draft)
            .and_then(|mut file| {
                file.write_all(serde_json::to_string(self)?.as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&draft, path))
            // The directory entry must outlive a power cut as well.
            .and_then(|()| fs::File::open(folder)?.sync_all());
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written
    }
}

/// What keeps a memory of PINs over runs in place of this process: another one, which may write the
/// file.
pub trait PinKeeper: Send + Sync {
    /// Returns the memory that earlier runs have kept.
    ///
    /// # Errors
    /// The reason why it cannot be read.
    fn load(&self) -> Result<PinMemory, String>;

    /// Keeps the memory.
    ///
    /// # Errors
    /// The reason why it is not kept.
    fn save(&self, pins: &PinMemory) -> Result<(), String>;
}

/// Place where a memory of PINs is kept over runs: a file, which this process or another one reads and
/// writes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "PathBuf", into = "PathBuf")]
pub struct PinPlace {
    /// Path of the file.
    pub path: PathBuf,
    keeper: Option<Arc<dyn PinKeeper>>,
}

impl PinPlace {
    /// Returns the place that another process keeps.
    #[must_use]
    pub fn kept_by(path: PathBuf, keeper: Arc<dyn PinKeeper>) -> Self {
        Self {
            path,
            keeper: Some(keeper),
        }
    }
}

impl From<PathBuf> for PinPlace {
    fn from(path: PathBuf) -> Self {
        Self { path, keeper: None }
    }
}

impl From<PinPlace> for PathBuf {
    fn from(place: PinPlace) -> Self {
        place.path
    }
}

/// Places are equal when the file is the same, whoever writes it.
impl PartialEq for PinPlace {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl std::fmt::Debug for PinPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.fmt(f)
    }
}

/// A memory of PINs and the place where it is kept over runs.
#[derive(Debug)]
pub struct PinStore {
    place: PinPlace,
    /// Memory as it is at present.
    pub pins: PinMemory,
    /// Reason why the file of earlier runs cannot be read, if it cannot. The file is not replaced
    /// then.
    unreadable: Option<String>,
}

impl PinStore {
    /// Reads the memory that earlier runs have kept. It is empty without a file, and when the file
    /// cannot be read.
    #[must_use]
    pub fn open(place: impl Into<PinPlace>) -> Self {
        let place = place.into();
        let loaded = match &place.keeper {
            Some(keeper) => keeper.load(),
            None => PinMemory::load(&place.path).map_err(|error| error.to_string()),
        };
        let (pins, unreadable) = match loaded {
            Ok(pins) => (pins, None),
            Err(why) => (PinMemory::default(), Some(why)),
        };
        Self {
            place,
            pins,
            unreadable,
        }
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// Returns the reason why the file of earlier runs cannot be read, if it cannot.
    #[must_use]
    pub fn unreadable(&self) -> Option<&str> {
        self.unreadable.as_deref()
    }

    /// Writes the memory to the file.
    ///
    /// # Errors
    /// The reason why the file is left as it is: it cannot be read, or not be written.
    pub fn save(&self) -> Result<(), String> {
        if let Some(why) = &self.unreadable {
            return Err(why.clone());
        }
        match &self.place.keeper {
            Some(keeper) => keeper.save(&self.pins),
            None => self
                .pins
                .save(&self.place.path)
                .map_err(|error| error.to_string()),
        }
    }
}

/// Shows the number of entries and nothing of their content.
impl std::fmt::Debug for PinMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PinMemory({} entries)", self.entries.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIM: &str = "8947000000000000001";

    /// Returns the memory as the next process reads it.
    fn next_process(memory: &PinMemory) -> PinMemory {
        serde_json::from_str(&serde_json::to_string(memory).unwrap()).unwrap()
    }

    #[test]
    fn the_status_of_an_answer_counts_before_its_content() {
        let content = |pin_type, pin_state, remaining_attempts| PinInfo {
            pin_type,
            pin_state,
            remaining_attempts,
        };
        let pin1 = content(PinType::PIN1, PinState::LOCKED, UNKNOWN_ATTEMPTS);
        for zeros in [0, 12] {
            let told = pin_state(Status::PIN_REQUIRED, &vec![0; zeros]);
            assert_eq!(told.unwrap().unwrap(), pin1);
        }
        let puk = content(PinType::PUK1, PinState::LOCKED, 10);
        for status in [Status::PIN_REQUIRED, Status::NONE] {
            assert_eq!(pin_state(status, &puk.encode()).unwrap().unwrap(), puk);
        }
        let unlocked = content(PinType::UNKNOWN, PinState::UNLOCKED, 0);
        assert_eq!(
            pin_state(Status::NONE, &[0; 12]).unwrap().unwrap(),
            unlocked
        );
        assert!(pin_state(Status::NONE, &[]).unwrap().is_err());
        for status in [Status::BUSY, Status::NOT_INITIALIZED, Status::FAILURE] {
            assert_eq!(pin_state(status, &[0; 12]), None);
        }
    }

    #[test]
    fn a_refused_pin_is_known_to_every_later_process() {
        let mut memory = PinMemory::default();
        assert_eq!(memory.past(&memory.mark(SIM, "1234"), Some(3)), Past::Clean);
        memory.sending(&memory.mark(SIM, "1234"), Some(3));
        memory.refused(&memory.mark(SIM, "1234"));
        assert_eq!(
            memory.past(&memory.mark(SIM, "1234"), Some(2)),
            Past::RefusedHere
        );
        let later = next_process(&next_process(&memory));
        // This holds even after another PIN has set the attempts back.
        for remaining in [None, Some(2), Some(3)] {
            assert_eq!(
                later.past(&later.mark(SIM, "1234"), remaining),
                Past::RefusedBefore
            );
        }
        assert_eq!(later.past(&later.mark(SIM, "4321"), Some(2)), Past::Clean);
        assert_eq!(
            later.past(&later.mark("another SIM", "1234"), Some(2)),
            Past::Clean
        );
    }

    #[test]
    fn after_a_crash_the_attempts_tell() {
        let mut memory = PinMemory::default();
        memory.sending(&memory.mark(SIM, "1234"), Some(3));
        assert_eq!(
            memory.past(&memory.mark(SIM, "1234"), Some(2)),
            Past::RefusedHere
        );
        assert_eq!(memory.past(&memory.mark(SIM, "1234"), Some(3)), Past::Clean);
        let later = next_process(&memory);
        assert_eq!(
            later.past(&later.mark(SIM, "1234"), Some(2)),
            Past::RefusedBefore
        );
        assert_eq!(
            later.past(&later.mark(SIM, "1234"), None),
            Past::RefusedBefore
        );
        assert_eq!(later.past(&later.mark(SIM, "1234"), Some(3)), Past::Clean);
        memory.sending(&memory.mark(SIM, "1234"), None);
        assert_eq!(
            next_process(&memory).past(&memory.mark(SIM, "1234"), Some(3)),
            Past::RefusedBefore
        );
    }

    #[test]
    fn a_pin_that_was_taken_leaves_nothing() {
        let mut memory = PinMemory::default();
        memory.sending(&memory.mark(SIM, "1234"), Some(3));
        memory.forget(&memory.mark(SIM, "1234"));
        assert_eq!(memory.past(&memory.mark(SIM, "1234"), Some(3)), Past::Clean);
        assert!(memory.entries.is_empty());
    }

    #[test]
    fn it_does_not_grow_and_does_not_tell() {
        let mut memory = PinMemory::default();
        for number in 0..10_000 {
            memory.refused(&memory.mark(SIM, &number.to_string()));
        }
        assert_eq!(memory.entries.len(), MOST);
        let text = serde_json::to_string(&memory).unwrap();
        assert!((text.len() as u64) < LONGEST_FILE / 4);
        assert!(!text.contains(SIM) && !text.contains("\"9999\""), "{text}");
        assert_ne!(memory.key, PinMemory::default().key);
    }

    #[test]
    fn the_file_is_private_and_garbage_is_refused() {
        use std::os::unix::fs::PermissionsExt;

        let folder = std::env::temp_dir().join(format!("uwwan-pins-{}", std::process::id()));
        let path = folder.join("deep").join("pins.json");
        assert!(PinMemory::load(&path).unwrap().entries.is_empty());
        let mut memory = PinMemory::default();
        memory.refused(&memory.mark(SIM, "1234"));
        memory.save(&path).unwrap();
        memory.save(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let read = PinMemory::load(&path).unwrap();
        assert_eq!(
            read.past(&read.mark(SIM, "1234"), Some(2)),
            Past::RefusedBefore
        );
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

    #[test]
    fn a_file_that_cannot_be_read_is_not_replaced() {
        let folder = std::env::temp_dir().join(format!("uwwan-store-{}", std::process::id()));
        let path = folder.join("pins.json");
        let mut store = PinStore::open(path.clone());
        store.pins.refused(&store.pins.mark(SIM, "1234"));
        assert_eq!(store.save(), Ok(()));
        let later = PinStore::open(path.clone());
        assert_eq!(later.unreadable(), None);
        assert_eq!(
            later.pins.past(&later.pins.mark(SIM, "1234"), None),
            Past::RefusedBefore
        );

        fs::write(&path, "{").unwrap();
        let mut broken = PinStore::open(path.clone());
        let why = broken.unreadable().unwrap().to_owned();
        broken.pins.refused(&broken.pins.mark(SIM, "4321"));
        assert_eq!(broken.save(), Err(why));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_memory_passes_in_bytes() {
        let mut memory = PinMemory::default();
        assert_eq!(PinMemory::from_bytes(&memory.to_bytes()).unwrap(), memory);
        for number in 0..2 * MOST as u32 {
            let mark = memory.mark(SIM, &number.to_string());
            match number % 3 {
                0 => memory.refused(&mark),
                1 => memory.sending(&mark, None),
                _ => memory.sending(&mark, Some(number)),
            }
        }
        let bytes = memory.to_bytes();
        assert_eq!(
            PinMemory::from_bytes(&bytes).unwrap(),
            next_process(&memory)
        );
        for (place, value) in [(16, 65), (16, 63), (17 + 20, 4), (17 + 20, 255)] {
            let mut bytes = bytes.clone();
            bytes[place] = value;
            assert!(PinMemory::from_bytes(&bytes).is_none(), "{place}: {value}");
        }
    }

    #[test]
    fn another_process_may_keep_it() {
        #[derive(Default)]
        struct Elsewhere(std::sync::Mutex<Option<PinMemory>>);
        impl PinKeeper for Elsewhere {
            fn load(&self) -> Result<PinMemory, String> {
                let kept = self.0.lock().unwrap().clone();
                kept.ok_or_else(|| "not there".to_owned())
            }
            fn save(&self, pins: &PinMemory) -> Result<(), String> {
                *self.0.lock().unwrap() = Some(pins.clone());
                Ok(())
            }
        }
        let elsewhere = Arc::new(Elsewhere::default());
        let place = PinPlace::kept_by("/nowhere/pins.json".into(), elsewhere.clone());
        let store = PinStore::open(place.clone());
        assert_eq!(store.unreadable(), Some("not there"));
        assert_eq!(store.save().unwrap_err(), "not there");
        elsewhere.save(&PinMemory::default()).unwrap();
        let mut store = PinStore::open(place);
        store.pins.refused(&store.pins.mark(SIM, "1234"));
        store.save().unwrap();
        assert_eq!(elsewhere.load().unwrap(), store.pins);
    }
}
