//! Memory of the layouts that worked, over runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::layout::{Format, Layout, Padding, Placement};

/// Largest number of entries; beyond it the oldest are dropped.
const MOST: usize = 64;
/// Largest number of characters of a firmware version that are kept.
const LONGEST_FIRMWARE: usize = 128;

/// Layouts that worked, the latest last. They are kept in a
/// [`StateFile`](crate::state_file::StateFile).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayoutMemory {
    entries: Vec<Entry>,
}

/// Layout that worked with a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `idVendor` of the device.
    pub vendor: u16,
    /// `idProduct` of the device.
    pub product: u16,
    /// Version of the device's firmware; empty where the device reports none.
    pub firmware: String,
    /// Layout.
    pub layout: Layout,
}

impl Entry {
    /// Number of bytes that [`Entry::to_bytes`] returns.
    pub const SIZE: usize = 2 + 2 + 3 + 2 + 4 * LONGEST_FIRMWARE;

    /// Returns the entry in a fixed number of bytes, in which it passes from one process to another:
    /// vendor, product, the numbers of the NDP's place, the padding and the format in the order of their
    /// values, the length of the firmware's version, and that version. Numbers are big-endian; the bytes
    /// behind are zero.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let number = |at: Option<usize>| at.unwrap_or_default() as u8;
        let layout = &self.layout;
        let firmware = kept(&self.firmware);
        let mut bytes = [0; Self::SIZE];
        bytes[0..2].copy_from_slice(&self.vendor.to_be_bytes());
        bytes[2..4].copy_from_slice(&self.product.to_be_bytes());
        bytes[4] = number(
            Placement::VALUES
                .iter()
                .position(|(_, at)| *at == layout.ndp),
        );
        bytes[5] = number(
            Padding::VALUES
                .iter()
                .position(|(_, at)| *at == layout.padding),
        );
        bytes[6] = number(Format::VALUES.iter().position(|(_, at)| *at == layout.ntb));
        bytes[7..9].copy_from_slice(&(firmware.len() as u16).to_be_bytes());
        bytes[9..9 + firmware.len()].copy_from_slice(firmware.as_bytes());
        bytes
    }

    /// Reads an entry that [`Entry::to_bytes`] has written. Returns `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Option<Self> {
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let end = 9 + usize::from(word(7));
        let firmware = std::str::from_utf8(bytes.get(9..end)?).ok()?;
        let whole = firmware == kept(firmware) && bytes[end..].iter().all(|byte| *byte == 0);
        whole.then_some(())?;
        Some(Self {
            vendor: word(0),
            product: word(2),
            firmware: firmware.to_owned(),
            layout: Layout {
                ndp: Placement::VALUES.get(usize::from(bytes[4]))?.1,
                padding: Padding::VALUES.get(usize::from(bytes[5]))?.1,
                ntb: Format::VALUES.get(usize::from(bytes[6]))?.1,
            },
        })
    }
}

/// Returns the part of a firmware version that is kept.
fn kept(firmware: &str) -> String {
    firmware.chars().take(LONGEST_FIRMWARE).collect()
}

impl LayoutMemory {
    /// Returns the entries, the latest last.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the latest entry for a device whose firmware is not known yet.
    #[must_use]
    pub fn latest(&self, vendor: u16, product: u16) -> Option<&Entry> {
        let mut entries = self.entries.iter().rev();
        entries.find(|entry| (entry.vendor, entry.product) == (vendor, product))
    }

    /// Returns the layout that worked with a device and its firmware.
    #[must_use]
    pub fn get(&self, vendor: u16, product: u16, firmware: &str) -> Option<Layout> {
        let firmware = kept(firmware);
        let mut entries = self.entries.iter().rev();
        entries
            .find(|entry| {
                (entry.vendor, entry.product) == (vendor, product) && entry.firmware == firmware
            })
            .map(|entry| entry.layout)
    }

    /// Adds an entry, and removes an earlier one for the same device and firmware.
    pub fn put(&mut self, entry: Entry) {
        let entry = Entry {
            firmware: kept(&entry.firmware),
            ..entry
        };
        self.entries.retain(|other| {
            (other.vendor, other.product, &other.firmware)
                != (entry.vendor, entry.product, &entry.firmware)
        });
        let surplus = (self.entries.len() + 1).saturating_sub(MOST);
        self.entries.drain(..surplus);
        self.entries.push(entry);
    }

    /// Removes the entries of a device, or all of them, and returns their number.
    pub fn forget(&mut self, device: Option<(u16, u16)>) -> usize {
        let before = self.entries.len();
        self.entries
            .retain(|entry| device.is_some_and(|device| device != (entry.vendor, entry.product)));
        before - self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_file::{LONGEST_FILE, StateFile};

    fn entry(product: u16, firmware: &str, ndp: Placement) -> Entry {
        Entry {
            vendor: 0x1234,
            product,
            firmware: firmware.into(),
            layout: Layout {
                ndp,
                padding: Padding::Short,
                ntb: Format::Ntb32,
            },
        }
    }

    #[test]
    fn a_device_is_known_by_its_firmware() {
        let mut memory = LayoutMemory::default();
        memory.put(entry(1, "11.617", Placement::End));
        memory.put(entry(1, "12.0", Placement::Front));
        memory.put(entry(2, "", Placement::End));
        assert_eq!(memory.latest(0x1234, 1).unwrap().firmware, "12.0");
        let old = memory.get(0x1234, 1, "11.617").unwrap();
        assert_eq!(old.ndp, Placement::End);
        assert_eq!(memory.get(0x1234, 1, "13"), None);
        assert_eq!(memory.latest(0x1234, 3), None);
        memory.put(entry(1, "11.617", Placement::Front));
        assert_eq!(memory.entries().len(), 3);
        assert_eq!(
            memory.get(0x1234, 1, "11.617").unwrap().ndp,
            Placement::Front
        );
        assert_eq!(memory.forget(Some((0x1234, 1))), 2);
        assert_eq!(memory.entries().len(), 1);
        assert_eq!(memory.forget(None), 1);
    }

    #[test]
    fn an_entry_passes_in_bytes() {
        for firmware in ["", "11.617", "a\0b", &"\u{1F4F6}".repeat(LONGEST_FIRMWARE)] {
            let entry = entry(0x5678, firmware, Placement::End);
            assert_eq!(Entry::from_bytes(&entry.to_bytes()), Some(entry));
        }
        let good = entry(0x5678, "11.617", Placement::End).to_bytes();
        for (place, value) in [(4, 2), (5, 3), (6, 2), (7, 255), (8, 5), (9, 0x80), (20, 1)] {
            let mut bytes = good;
            bytes[place] = value;
            assert_eq!(Entry::from_bytes(&bytes), None, "{place}: {value}");
        }
    }

    #[test]
    fn it_does_not_grow() {
        let mut memory = LayoutMemory::default();
        let long = "\u{1F4F6}".repeat(10_000);
        for product in 0..1000 {
            memory.put(entry(product, &long, Placement::End));
        }
        assert_eq!(memory.entries().len(), MOST);
        assert!(memory.get(0x1234, 999, &long).is_some());
        let text = serde_json::to_string(&memory).unwrap();
        assert!((text.len() as u64) < LONGEST_FILE);
    }

    #[test]
    fn a_file_keeps_it_and_a_broken_one_is_none() {
        let folder = std::env::temp_dir().join(format!("uwwan-layouts-{}", std::process::id()));
        let path = folder.join("layouts.json");
        let mut file = StateFile::<LayoutMemory>::open(path.clone());
        file.content.put(entry(1, "a", Placement::End));
        file.save().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            r#"{"entries":[{"vendor":4660,"product":1,"firmware":"a","layout":{"ndp":"end","padding":"short","ntb":"32"}}]}"#
        );
        for (good, broken) in [("\"end\"", "\"middle\""), ("4660", "65536"), ("ndp", "npd")] {
            std::fs::write(&path, text.replacen(good, broken, 1)).unwrap();
            let file = StateFile::<LayoutMemory>::open(path.clone());
            assert!(file.unreadable().is_some() && file.content.entries().is_empty());
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
