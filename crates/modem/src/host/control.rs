//! The half of a host's end that the control thread uses: addresses, routes, name servers, carrier.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uwwan_tun::{Error, ErrorKind};

use super::data::{DataSlot, HostData};
use super::plan::HostConfig;
use crate::failure::{Failure, FailureKind};
use crate::status::Interface;

/// Maker of hosts' ends.
pub trait HostProvider: Send {
    /// Sets up a host's end with its first configuration.
    ///
    /// # Errors
    /// Returns a [`Failure`] that says what the user can do about it.
    fn bring_up(&mut self, config: &HostConfig) -> Result<HostEnd, Failure>;
}

/// A host's end, in its two halves.
pub struct HostEnd {
    /// The half that configures the host. Dropping it undoes what it did.
    pub control: Box<dyn HostControl>,
    /// The half that moves packets.
    pub data: HostData,
}

/// The half of a host's end that configures the host.
pub trait HostControl: Send {
    /// Changes addresses, routes, MTU and name servers.
    ///
    /// # Errors
    /// Returns a [`Failure`] that says what the user can do about it.
    fn reconfigure(&mut self, config: &HostConfig) -> Result<(), Failure>;

    /// Tells the host that the device's link came up or went down. Only a host's end for Ethernet
    /// frames is told.
    fn set_carrier(&mut self, _up: bool) {}

    /// Has `changed` called, from any thread, when the host's configuration may have been changed by
    /// others.
    fn watch(&mut self, _changed: Box<dyn Fn() + Send>) {}

    /// Looks after what was set up: puts back what others took away, a few times, and returns what
    /// has happened since the last call.
    fn attend(&mut self) -> Vec<HostNews> {
        Vec::new()
    }

    /// Returns the interface's name and what was changed on the host and is so at present.
    fn interface(&self) -> Interface;
}

/// News of what was set up on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostNews {
    /// Something was taken away by others and put back.
    PutBack(String),
    /// Something could not be set up, or was taken away and left so.
    Trouble(String),
}

/// A host's end as the control thread keeps it. The order of its fields is the order in which they
/// are dropped: first the configuration is undone, then the packets' half is closed.
pub(crate) struct HeldHost {
    /// Half that configures the host.
    pub(crate) control: Box<dyn HostControl>,
    /// Slot of the half that moves packets.
    pub(crate) data: Arc<DataSlot>,
}

impl From<HostEnd> for HeldHost {
    fn from(end: HostEnd) -> Self {
        Self {
            control: end.control,
            data: DataSlot::new(end.data),
        }
    }
}

/// Returns the failure of a host's end for a device that carries Ethernet frames instead of IP
/// datagrams, or the other way round.
pub(super) fn other_kind(end: &str, device: &str) -> Failure {
    Failure::new(FailureKind::Host, format!("go on with {end}"))
        .because(format!("the device has become {device}"))
        .next("nothing: another interface is made")
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::NoPermission => FailureKind::Permission,
            ErrorKind::Busy => FailureKind::Busy,
            _ => FailureKind::Host,
        };
        Self::new(kind, error.what)
            .because(error.why)
            .next(error.next)
    }
}
