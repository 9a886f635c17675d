//! The facts about a modem from a capture.

use std::collections::BTreeMap;

use uwwan_emulator::rules::Rule;
use uwwan_usb::descriptors::Descriptors;

/// A modem as a capture shows it.
#[derive(Debug, Clone, Default)]
pub struct Like {
    /// Descriptors of the modem, if they were captured.
    pub descriptors: Option<Descriptors>,
    /// Strings of the modem by their index.
    pub strings: BTreeMap<u8, String>,
    /// Knobs as `name=value`.
    pub knobs: Vec<String>,
    /// The rules for the modem's answers and actions.
    pub rules: Vec<Rule>,
    /// Notes in words about the findings and the gaps of the capture.
    pub notes: Vec<String>,
}
