//! Parts of the modem that the data path works with.

use std::time::Instant;

use super::routes::Routes;
use crate::far_side::Network;
use crate::knobs::Knobs;
use crate::report::{Counters, Recorder};

/// Network and its surroundings while a transfer is handled.
pub(crate) struct DataContext<'a> {
    /// Network behind the modem.
    pub network: &'a mut dyn Network,
    /// Data sessions that are up.
    pub routes: &'a Routes,
    /// Knobs in force.
    pub knobs: &'a Knobs,
    /// Counters of the device.
    pub counters: &'a mut Counters,
    /// Time of the transfer.
    pub now: Instant,
    /// Recorder of violations.
    pub recorder: &'a Recorder,
}
