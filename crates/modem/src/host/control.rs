//! The half of a host interface that the control thread uses: addresses, routes, name servers,
//! carrier.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uwwan_tun::{Error, ErrorKind};

use super::data::{DataSlot, HostData};
use super::plan::HostConfig;
use crate::failure::{Failure, FailureKind};
use crate::status::Interface;

/// Maker of host interfaces.
pub trait HostProvider: Send {
    /// Makes a host interface with its first configuration.
    ///
    /// # Errors
    /// [`Failure`] with a step that the user can take.
    fn bring_up(&mut self, config: &HostConfig) -> Result<HostEnd, Failure>;
}

/// A host interface, in its two halves.
pub struct HostEnd {
    /// The half that configures the host. Dropping it undoes its changes.
    pub control: Box<dyn HostControl>,
    /// The half that moves packets.
    pub data: HostData,
}

/// The half of a host interface that configures the host.
pub trait HostControl: Send {
    /// Changes addresses, routes, MTU and name servers.
    ///
    /// # Errors
    /// [`Failure`] with a step that the user can take.
    fn reconfigure(&mut self, config: &HostConfig) -> Result<(), Failure>;

    /// Tells the host that the device's link came up or went down. This concerns host interfaces
    /// for Ethernet frames only.
    fn set_carrier(&mut self, _up: bool) {}

    /// Calls `changed`, from any thread, when another program may have changed the host's
    /// configuration.
    fn watch(&mut self, _changed: Box<dyn Fn() + Send>) {}

    /// Maintains the configuration: puts back the parts that other programs have removed, a few
    /// times, and returns the news since the last call.
    fn attend(&mut self) -> Vec<HostNews> {
        Vec::new()
    }

    /// Returns the interface's name and the changes of the host that are in force.
    fn interface(&self) -> Interface;
}

/// News of the host's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostNews {
    /// Another program removed a part, which was put back.
    PutBack(String),
    /// A part could not be set up, or was removed and left so.
    Trouble(String),
}

/// A host interface as the control thread keeps it. The order of its fields is the order in which
/// they are dropped: first the configuration is undone, then the half that moves packets is closed.
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

/// Returns the failure of a host interface that carries IP datagrams for a device that carries
/// Ethernet frames, or the other way round.
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
