//! What can go wrong with a modem: on which rung, of what kind, why, and what to do next.

use serde::{Deserialize, Serialize};

/// A step of the bring-up, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// The device is on the bus and open.
    Found,
    /// Kernel drivers are off and the MBIM configuration is active.
    Configuration,
    /// The function's interfaces are ours.
    Claim,
    /// Transfer blocks are negotiated and the data endpoints are on.
    DataFunction,
    /// The MBIM session is open.
    Open,
    /// The device has said what it is.
    Capabilities,
    /// The SIM is there and ready, or waits for its PIN.
    Sim,
    /// The SIM is unlocked.
    Pin,
    /// The radio is on.
    Radio,
    /// Registered with a network.
    Registration,
    /// Attached to the packet service.
    PacketService,
    /// Signal reports are on.
    Signal,
    /// The data session is active.
    Connect,
    /// Addresses are known.
    IpConfiguration,
    /// The host's end is configured.
    Host,
    /// Packets flow.
    Online,
}

impl Rung {
    /// All, in order.
    pub const ALL: [Self; 16] = [
        Self::Found,
        Self::Configuration,
        Self::Claim,
        Self::DataFunction,
        Self::Open,
        Self::Capabilities,
        Self::Sim,
        Self::Pin,
        Self::Radio,
        Self::Registration,
        Self::PacketService,
        Self::Signal,
        Self::Connect,
        Self::IpConfiguration,
        Self::Host,
        Self::Online,
    ];

    /// The name as printed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Configuration => "configuration",
            Self::Claim => "claim",
            Self::DataFunction => "data function",
            Self::Open => "open",
            Self::Capabilities => "capabilities",
            Self::Sim => "sim",
            Self::Pin => "pin",
            Self::Radio => "radio",
            Self::Registration => "registration",
            Self::PacketService => "packet service",
            Self::Signal => "signal",
            Self::Connect => "connect",
            Self::IpConfiguration => "ip configuration",
            Self::Host => "host",
            Self::Online => "online",
        }
    }
}

impl std::fmt::Display for Rung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Of what kind a failure is, for programs that choose an exit status or another way by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// There is no such modem, or it is gone.
    Missing,
    /// More than one modem fits.
    Several,
    /// This user may not do that.
    Permission,
    /// A program or a kernel driver holds the device.
    Busy,
    /// The modem, the SIM or the network refused, or did not answer.
    Refused,
    /// The host, its USB stack or this program failed.
    Host,
}

impl FailureKind {
    /// What a failure on this rung is unless more is known: the steps up to the data function and
    /// the host's end are the host's business, those between are the modem's.
    #[must_use]
    pub const fn usual(rung: Rung) -> Self {
        match rung {
            Rung::Found => Self::Missing,
            Rung::Configuration | Rung::Claim | Rung::DataFunction | Rung::Host | Rung::Online => {
                Self::Host
            }
            _ => Self::Refused,
        }
    }
}

/// Why a rung was not reached: what, why, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{rung}: {what}\n  likely cause: {cause}\n  next step: {next}")]
pub struct Failure {
    /// The rung that failed.
    pub rung: Rung,
    /// Of what kind the failure is.
    pub kind: FailureKind,
    /// What was tried and how it ended, status codes by name.
    pub what: String,
    /// The likely cause.
    pub cause: String,
    /// What the user can do.
    pub next: String,
    /// Whether repeating the same will not help.
    pub fatal: bool,
}

impl Failure {
    /// The same with its kind, where that is not the usual one of its rung.
    #[must_use]
    pub fn of(mut self, kind: FailureKind) -> Self {
        self.kind = kind;
        self
    }
}
