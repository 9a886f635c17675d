//! Memory of the PINs that a SIM has refused, so that none is ever sent twice.
//!
//! A PIN is recorded before it is sent, and removed when the SIM has taken it. A PIN that is still
//! recorded after a crash is in doubt; the attempts remaining then tell whether the SIM has counted
//! it.
//!
//! The memory is kept in a [`StateFile`](crate::state_file::StateFile) and outlives this process, so that a service
//! that is restarted over and over costs the SIM one attempt, not all. The file holds keyed hashes (SipHash-2-4 of 128
//! bits) and the key beside them. A reader of the file can find out a refused PIN by trying all of them, but neither
//! the SIM's number nor the PIN stands there.

use std::hash::{BuildHasher, Hasher, RandomState};

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher24};
use uwwan_mbim::fields::DecodeError;
use uwwan_mbim::services::basic_connect::{PinInfo, PinState, PinType};
use uwwan_mbim::status::Status;

use crate::secret::scrub_stack;

/// Largest number of entries; beyond it the oldest are dropped.
const MOST: usize = 64;
/// Size of an entry in [`PinMemory::to_bytes`], in bytes.
const ENTRY: usize = 16 + 4 + 1;
/// Flags of an entry in [`PinMemory::to_bytes`]: the attempts remaining are known, and the SIM has
/// refused the PIN.
const SENT_WITH: u8 = 1;
const REFUSED: u8 = 2;

/// Memory of PINs; see the [module](self).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinMemory {
    key: [u8; 16],
    entries: Vec<Entry>,
}

/// The digest that stands for a PIN of a SIM in one memory: the PIN itself is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinDigest(String);

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
    /// Returns the entry in bytes, or `None` where its hash is not one, as may stand in a file.
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
pub(crate) const UNKNOWN_ATTEMPTS: u32 = u32::MAX;

/// Returns the state of the PIN from the answer to a PIN query: its status and its information
/// buffer; `None` when the status refuses the query, whatever the content. The status `pin_required`
/// whose content names no lock means that the SIM waits for PIN1; the VZ20M answers so without
/// content (ModemManager `pin_query_ready`).
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
pub enum PinHistory {
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
            // Each memory has a key of its own, from the system's random numbers.
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
    /// Returns the digest that stands for a PIN of a SIM in this memory.
    #[must_use]
    pub fn mark(&self, sim: &str, pin: &str) -> PinDigest {
        let mark = PinDigest(self.hash(sim, pin));
        // The hash function's state on the stack held the PIN.
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
    pub fn past(&self, pin: &PinDigest, remaining: Option<u32>) -> PinHistory {
        let Some(entry) = self.entries.iter().find(|entry| entry.pin == pin.0) else {
            return PinHistory::Clean;
        };
        // An attempt that the SIM has not counted did not reach it, or was made with the right PIN.
        let not_counted = match (entry.sent_with, remaining) {
            (Some(before), Some(remaining)) => remaining >= before,
            _ => false,
        };
        if !entry.refused && not_counted {
            PinHistory::Clean
        } else if entry.here {
            PinHistory::RefusedHere
        } else {
            PinHistory::RefusedBefore
        }
    }

    fn put(&mut self, pin: &PinDigest, sent_with: Option<u32>, refused: bool) {
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
    pub fn sending(&mut self, pin: &PinDigest, remaining: Option<u32>) {
        self.put(pin, remaining, false);
    }

    /// Records that a SIM has refused a PIN.
    pub fn refused(&mut self, pin: &PinDigest) {
        self.put(pin, None, true);
    }

    /// Removes a PIN that the SIM has accepted or for which it has not counted an attempt.
    pub fn forget(&mut self, pin: &PinDigest) {
        self.entries.retain(|entry| entry.pin != pin.0);
    }

    /// Number of bytes that [`PinMemory::to_bytes`] returns.
    pub const SIZE: usize = 16 + 1 + MOST * ENTRY;

    /// Returns the memory in a fixed number of bytes, in which it passes from one process to another:
    /// the key, the number of entries, and for each entry its hash, the attempts remaining when it was
    /// sent (big-endian) and flags. The bytes behind are zero.
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

    /// Reads a memory that [`PinMemory::to_bytes`] wrote. Returns `None` for bytes that it cannot
    /// have written.
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
    use crate::state_file::LONGEST_FILE;

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
        assert_eq!(
            memory.past(&memory.mark(SIM, "1234"), Some(3)),
            PinHistory::Clean
        );
        memory.sending(&memory.mark(SIM, "1234"), Some(3));
        memory.refused(&memory.mark(SIM, "1234"));
        assert_eq!(
            memory.past(&memory.mark(SIM, "1234"), Some(2)),
            PinHistory::RefusedHere
        );
        let later = next_process(&next_process(&memory));
        // This holds even after another PIN has reset the number of attempts.
        for remaining in [None, Some(2), Some(3)] {
            assert_eq!(
                later.past(&later.mark(SIM, "1234"), remaining),
                PinHistory::RefusedBefore
            );
        }
        assert_eq!(
            later.past(&later.mark(SIM, "4321"), Some(2)),
            PinHistory::Clean
        );
        assert_eq!(
            later.past(&later.mark("another SIM", "1234"), Some(2)),
            PinHistory::Clean
        );
    }

    #[test]
    fn after_a_crash_the_attempts_tell() {
        let mut memory = PinMemory::default();
        memory.sending(&memory.mark(SIM, "1234"), Some(3));
        assert_eq!(
            memory.past(&memory.mark(SIM, "1234"), Some(2)),
            PinHistory::RefusedHere
        );
        assert_eq!(
            memory.past(&memory.mark(SIM, "1234"), Some(3)),
            PinHistory::Clean
        );
        let later = next_process(&memory);
        assert_eq!(
            later.past(&later.mark(SIM, "1234"), Some(2)),
            PinHistory::RefusedBefore
        );
        assert_eq!(
            later.past(&later.mark(SIM, "1234"), None),
            PinHistory::RefusedBefore
        );
        assert_eq!(
            later.past(&later.mark(SIM, "1234"), Some(3)),
            PinHistory::Clean
        );
        memory.sending(&memory.mark(SIM, "1234"), None);
        assert_eq!(
            next_process(&memory).past(&memory.mark(SIM, "1234"), Some(3)),
            PinHistory::RefusedBefore
        );
    }

    #[test]
    fn a_pin_that_was_taken_leaves_nothing() {
        let mut memory = PinMemory::default();
        memory.sending(&memory.mark(SIM, "1234"), Some(3));
        memory.forget(&memory.mark(SIM, "1234"));
        assert_eq!(
            memory.past(&memory.mark(SIM, "1234"), Some(3)),
            PinHistory::Clean
        );
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
    fn garbage_is_no_memory() {
        for text in ["", "{", "[]", "{\"key\":[1],\"entries\":[]}", "\u{1}"] {
            assert!(serde_json::from_str::<PinMemory>(text).is_err(), "{text:?}");
        }
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
}
