//! The facts about a modem from a capture.

use std::collections::BTreeMap;

use uwwan_emulator::rules::Rule;
use uwwan_usb::descriptors::Descriptors;

/// A modem as a capture shows it.
#[derive(Debug, Clone, Default)]
pub struct Like {
    /// Its descriptors, if they were captured.
    pub descriptors: Option<Descriptors>,
    /// Its strings by their index.
    pub strings: BTreeMap<u8, String>,
    /// Knobs as `name=value`.
    pub knobs: Vec<String>,
    /// The rules for what it answers and does.
    pub rules: Vec<Rule>,
    /// Notes for people about what was found and what the capture does not hold.
    pub notes: Vec<String>,
}
