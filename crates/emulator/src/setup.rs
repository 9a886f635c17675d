//! The parts that an emulated modem is made of.

use std::collections::BTreeMap;

use uwwan_usb::descriptors::Descriptors;

use crate::knobs::Knobs;
use crate::rules::Rule;

/// The parts that an emulated modem is made of. Where nothing else is set, it is a well-behaved
/// lt4132.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Behaviour of the firmware.
    pub knobs: Knobs,
    /// Descriptors that the modem presents, if not those of the lt4132: its ids, configurations,
    /// interfaces and endpoints. Its MBIM or NCM function and its AT port are found in them.
    /// [`Knobs::like`] returns the knobs for such a device.
    pub descriptors: Option<Descriptors>,
    /// Strings of the modem by their index, where they are not those of the lt4132 or invented.
    pub strings: BTreeMap<u8, String>,
    /// Rules for what the modem does when something happens.
    pub rules: Vec<Rule>,
}
