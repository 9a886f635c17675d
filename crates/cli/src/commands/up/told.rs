//! The facts that a running `up` reports about itself.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_modem::Status;
use uwwan_modem::share::MbimStatus;

use super::metering::Month;
use crate::modem_manager::Standing;
use crate::sandbox;

/// Facts that a running `up` reports about itself, as `status --json` prints them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Told {
    #[serde(flatten)]
    pub(super) status: Status,
    /// Entrances to the control session. The field is absent when none are offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) proxy: Option<MbimStatus>,
    /// Rights that each process still has.
    pub(super) processes: Vec<sandbox::State>,
    /// ModemManager's dealings with the modem.
    pub(super) modem_manager: Standing,
    /// Use of data in this month; null until it is known.
    pub(super) usage: Option<Month>,
    /// AT port. The field is absent when `up` has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at_port: Option<AtPort>,
}

/// AT port of a running `up`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AtPort {
    /// Path of the terminal that leads to the port.
    pub(super) terminal: PathBuf,
    /// `bInterfaceNumber` of the interface that answers; null until one does.
    pub(super) interface: Option<u8>,
    /// The same for people, with what the interface is known for.
    pub(super) port: Option<String>,
}
