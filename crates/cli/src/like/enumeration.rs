//! Descriptors and strings, as the host requested them.

use std::collections::BTreeMap;

use super::modem::Like;

use uwwan_usb::codes::{descriptor, standard};
use uwwan_usb::descriptors::Descriptors;

/// Length of a device descriptor in bytes.
const DEVICE_LENGTH: usize = 18;
/// Largest number of configurations that are kept.
const MOST_CONFIGURATIONS: u8 = 16;

/// Descriptors and strings of a device.
#[derive(Debug, Default)]
pub(super) struct Enumeration {
    device: Vec<u8>,
    /// Configurations by their index, the longest answer of each.
    configurations: BTreeMap<u8, Vec<u8>>,
    strings: BTreeMap<u8, String>,
}

/// Returns `wTotalLength` of a configuration.
fn total(configuration: &[u8]) -> usize {
    match configuration {
        [_, _, low, high, ..] => u16::from_le_bytes([*low, *high]).into(),
        _ => usize::MAX,
    }
}

impl Enumeration {
    /// Adds a standard request.
    pub fn take(&mut self, setup: [u8; 8], bytes: Vec<u8>, status: Option<i32>) {
        let [0x80, standard::GET_DESCRIPTOR, index, kind, ..] = setup else {
            return;
        };
        if status != Some(0) || bytes.get(1) != Some(&kind) {
            return;
        }
        match kind {
            descriptor::DEVICE if bytes.len() >= DEVICE_LENGTH => self.device = bytes,
            descriptor::CONFIGURATION if index < MOST_CONFIGURATIONS => {
                let known = self.configurations.entry(index).or_default();
                if bytes.len() >= known.len() {
                    *known = bytes;
                }
            }
            descriptor::STRING if index != 0 && bytes.len() == usize::from(bytes[0]) => {
                let units = bytes[2..].chunks_exact(2);
                let units: Vec<u16> = units.map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
                self.strings.insert(index, String::from_utf16_lossy(&units));
            }
            _ => {}
        }
    }

    /// Returns the complete configurations, in the order of their indices.
    fn whole(&self) -> Vec<&[u8]> {
        let all = self.configurations.values().map(Vec::as_slice);
        all.filter(|raw| raw.len() >= 9 && raw.len() == total(raw))
            .collect()
    }

    /// Returns the descriptors, if there is at least one whole configuration.
    pub fn descriptors(&self) -> Option<Descriptors> {
        let whole = self.whole();
        if self.device.is_empty() || whole.is_empty() {
            return None;
        }
        let mut device = self.device.clone();
        // The number is corrected, because a host would request missing configurations.
        device[DEVICE_LENGTH - 1] = u8::try_from(whole.len()).unwrap_or(u8::MAX);
        Some(Descriptors::parse(&device, &whole))
    }

    /// Puts findings into `like`, and gaps into `missing`.
    pub fn finish(self, like: &mut Like, missing: &mut Vec<String>) {
        like.descriptors = self.descriptors();
        match self.device.get(DEVICE_LENGTH - 1) {
            None => missing.push(
                "descriptors (start the capture before the modem is plugged in, or add --descriptors FILE)"
                    .to_owned(),
            ),
            Some(announced) => {
                let whole = self.whole().len();
                if like.descriptors.is_none() {
                    missing.push("descriptors of the configurations (--descriptors FILE)".to_owned());
                } else if usize::from(*announced) > whole {
                    missing.push(format!(
                        "{} of {announced} configurations",
                        usize::from(*announced) - whole
                    ));
                }
            }
        }
        if self.strings.is_empty() {
            missing.push("strings".to_owned());
        }
        like.strings = self.strings;
    }
}
