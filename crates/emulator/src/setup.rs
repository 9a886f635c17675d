//! The parts that an emulated modem is made of.

use std::collections::BTreeMap;

use uwwan_usb::descriptors::Descriptors;

use crate::knobs::Knobs;
use crate::rules::Rule;

/// The parts that an emulated modem is made of: a well-behaved lt4132, where nothing else is said.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The behaviour of its firmware.
    pub knobs: Knobs,
    /// The descriptors that it presents, if not those of the lt4132: its ids, configurations,
    /// interfaces and endpoints. Its MBIM or NCM function and its AT port are where they say.
    /// [`Knobs::like`] are the knobs of such a device.
    pub descriptors: Option<Descriptors>,
    /// Its strings by their index, where they are not those of the lt4132 or invented.
    pub strings: BTreeMap<u8, String>,
    /// The rules for what it does when something happens.
    pub rules: Vec<Rule>,
}
