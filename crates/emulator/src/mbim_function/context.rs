//! Parts of the modem that MBIM commands can reach.

use std::time::Instant;

use crate::firmware::Firmware;
use crate::knobs::Knobs;
use crate::report::{Counters, Recorder};
use crate::rules::Running;

/// Firmware and its surroundings while a message is handled.
pub(crate) struct MbimContext<'a> {
    /// State that MBIM and AT share.
    pub firmware: &'a mut Firmware,
    /// Knobs in force.
    pub knobs: &'a Knobs,
    /// Counters of the device.
    pub counters: &'a mut Counters,
    /// Recorder of violations.
    pub recorder: &'a Recorder,
    /// Rules that answer in place of the firmware.
    pub rules: &'a mut Running,
    /// Number of the data interface's alternate setting.
    pub data_alternate: u8,
    /// Whether SET_NTB_INPUT_SIZE has come since the configuration was selected.
    pub input_size_told: bool,
    /// Time at which the message is handled.
    pub now: Instant,
}
