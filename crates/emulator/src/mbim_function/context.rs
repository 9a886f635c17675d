//! Parts of the modem that MBIM commands can reach.

use std::time::Instant;

use crate::firmware::Firmware;
use crate::knobs::Knobs;
use crate::report::{Counters, Recorder};
use crate::rules::Running;

/// The firmware and what surrounds it, while a message is handled.
pub(crate) struct MbimContext<'a> {
    /// The state that MBIM and AT share.
    pub firmware: &'a mut Firmware,
    /// The knobs as they stand.
    pub knobs: &'a Knobs,
    /// Numbers of things that happened.
    pub counters: &'a mut Counters,
    /// Recorder of violations.
    pub recorder: &'a Recorder,
    /// The rules that answer in place of the firmware.
    pub rules: &'a mut Running,
    /// The data interface's alternate setting.
    pub data_alternate: u8,
    /// Whether SET_NTB_INPUT_SIZE has come since the configuration was selected.
    pub input_size_told: bool,
    /// The time at which the message is handled.
    pub now: Instant,
}
