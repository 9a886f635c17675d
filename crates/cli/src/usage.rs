//! Data use by device and month, kept over runs in the state directory: LTE costs money.
//!
//! Bytes are those of datagrams, as the network counts them (its own overhead may come on top). A month
//! is one in UTC.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::str::FromStr;

use rustix::fs::FlockOperation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uwwan_modem::state_file::StateFile;

use crate::output;

/// Largest number of entries; beyond it those of the oldest months are dropped.
const MOST: usize = 300;
/// Largest number of bytes of a device's name that are kept.
const LONGEST_NAME: usize = 64;

/// Data use, the oldest entry first. It is kept in a [`StateFile`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Use of each device in each month.
    pub entries: Vec<Entry>,
}

/// Data use of a device in a month.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Month in UTC, as `2026-11`.
    pub month: String,
    /// Vendor id, product id and port of the device, as `03f0:a31d at 1-4`.
    pub device: String,
    /// Bytes in datagrams to the network.
    pub uplink_bytes: u64,
    /// Bytes in datagrams from the network.
    pub downlink_bytes: u64,
}

impl Entry {
    /// Returns the bytes in both directions.
    pub const fn total(&self) -> u64 {
        self.uplink_bytes.saturating_add(self.downlink_bytes)
    }
}

impl Usage {
    /// Adds the traffic of a device in a month, and returns the entry.
    pub fn add(&mut self, month: &str, device: &str, uplink: u64, downlink: u64) -> Entry {
        let device = &device[..device.floor_char_boundary(LONGEST_NAME)];
        let known = |entry: &Entry| entry.month == month && entry.device == device;
        let mut entry = match self.entries.iter().position(known) {
            Some(at) => self.entries.remove(at),
            None => Entry {
                month: month.to_owned(),
                device: device.to_owned(),
                ..Entry::default()
            },
        };
        entry.uplink_bytes = entry.uplink_bytes.saturating_add(uplink);
        entry.downlink_bytes = entry.downlink_bytes.saturating_add(downlink);
        self.entries.push(entry.clone());
        self.entries
            .sort_by(|a, b| (&a.month, &a.device).cmp(&(&b.month, &b.device)));
        let beyond = self.entries.len().saturating_sub(MOST);
        self.entries.drain(..beyond);
        entry
    }
}

/// Adds the traffic of a device to the file, and returns its use in this month.
///
/// # Errors
/// The reason in words why it is not kept; nothing has been added then. One reason is that another
/// run writes the file at this moment.
pub fn keep(
    file: &mut StateFile<Usage>,
    device: &str,
    (uplink, downlink): (u64, u64),
) -> Result<Entry, String> {
    let folder = file.path().parent().unwrap_or(Path::new("."));
    let lock = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .and_then(|()| File::open(folder))
        .map_err(|error| error.to_string())?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| "another run writes the file at this moment".to_owned())?;
    // Other processes may have changed the file since.
    file.reopen();
    let month = output::now();
    let month = month.get(..7).unwrap_or_default();
    let entry = file.content.add(month, device, uplink, downlink);
    file.save()?;
    Ok(entry)
}

/// A number of bytes as people write it: `10G`, `1.5G`, `500 MB`, with decimal units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no size such as 10G, 1.5G or 500M");
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = unit.trim().to_ascii_uppercase();
        let factor = match unit.strip_suffix('B').unwrap_or(&unit) {
            "" => 1e0,
            "K" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            "T" => 1e12,
            _ => return Err(wrong()),
        };
        let bytes = number.parse::<f64>().map_err(|_| wrong())? * factor;
        match (1.0..=1e18).contains(&bytes) {
            true => Ok(Self(bytes as u64)),
            false => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(Size(bytes): Size) -> Self {
        bytes.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_adds_up_by_device_and_month_and_is_bounded() {
        let mut usage = Usage::default();
        usage.add("2026-11", "a", 1, 10);
        usage.add("2026-10", "a", 2, 20);
        usage.add("2026-11", "b", 3, 30);
        let entry = usage.add("2026-11", "a", u64::MAX, 5);
        assert_eq!((entry.uplink_bytes, entry.downlink_bytes), (u64::MAX, 15));
        assert_eq!(entry.total(), u64::MAX);
        let order: Vec<(&str, &str)> = usage
            .entries
            .iter()
            .map(|entry| (entry.month.as_str(), entry.device.as_str()))
            .collect();
        assert_eq!(
            order,
            [("2026-10", "a"), ("2026-11", "a"), ("2026-11", "b")]
        );
        for year in 2027..2127 {
            for device in ["a", "b", "c", "d"] {
                usage.add(&format!("{year}-01"), device, 1, 1);
            }
        }
        assert_eq!(usage.entries.len(), MOST);
        assert_eq!(usage.entries.last().unwrap().month, "2126-01");
        usage.add("2126-02", &"é".repeat(1000), 1, 1);
        let longest = usage.entries.last().unwrap();
        assert_eq!(longest.device.len(), LONGEST_NAME);
        // The longest file that is written can be read again.
        let length = serde_json::to_string(&usage).unwrap().len() as u64;
        assert!(length < uwwan_modem::state_file::LONGEST_FILE);
    }

    #[test]
    fn two_runs_keep_their_use_in_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/usage.json");
        let mut one = StateFile::<Usage>::open(path.clone());
        let mut other = StateFile::<Usage>::open(path.clone());
        keep(&mut one, "a", (1, 2)).unwrap();
        keep(&mut other, "b", (3, 4)).unwrap();
        let entry = keep(&mut one, "a", (1, 2)).unwrap();
        assert_eq!(entry.total(), 6);
        let kept = StateFile::<Usage>::open(path.clone()).content;
        assert_eq!(kept.entries.len(), 2);
        let lock = File::open(path.parent().unwrap()).unwrap();
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
        let told = keep(&mut other, "b", (3, 4)).unwrap_err();
        assert!(told.contains("another run"), "{told}");
        drop(lock);
        std::fs::write(&path, "{").unwrap();
        assert!(keep(&mut other, "b", (3, 4)).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{");
    }

    #[test]
    fn sizes_have_decimal_units() {
        for (text, bytes) in [
            ("10G", 10_000_000_000),
            ("1.5 GB", 1_500_000_000),
            ("500m", 500_000_000),
            ("2T", 2_000_000_000_000),
            ("7", 7),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for wrong in [
            "",
            "G",
            "-1G",
            "0",
            "10X",
            "1e9",
            "99999999T",
            "1.2.3G",
            "10GiB",
        ] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
