//! Parts of the modem that the data path works with.

use std::time::Instant;

use super::routes::Routes;
use crate::far_side::Network;
use crate::knobs::Knobs;
use crate::report::{Counters, Recorder};

/// The network and what surrounds the data path, while a transfer is handled.
pub(crate) struct DataContext<'a> {
    /// The network behind the modem.
    pub network: &'a mut dyn Network,
    /// The data sessions that are up.
    pub routes: &'a Routes,
    /// The knobs as they stand.
    pub knobs: &'a Knobs,
    /// Numbers of things that happened.
    pub counters: &'a mut Counters,
    /// The time of the transfer.
    pub now: Instant,
    /// Recorder of violations.
    pub recorder: &'a Recorder,
}
