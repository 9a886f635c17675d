//! State of the data sessions of MBIM and of the call of `^NDISDUP`.

use std::time::Instant;

use uwwan_mbim::services::basic_connect::ContextIpType;
use uwwan_mbim::status::{NwError, Status};

/// A data session that is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// APN that was asked for.
    pub apn: String,
    /// Whether the session carries IPv4.
    pub v4: bool,
    /// Whether the session carries IPv6.
    pub v6: bool,
    /// Network cause that is reported with the activation; [`NwError::NONE`] when there is none.
    pub cause: NwError,
}

impl Session {
    /// Returns the IP type of the session, as MBIM reports it.
    #[must_use]
    pub fn ip_type(&self) -> ContextIpType {
        match (self.v4, self.v6) {
            (true, true) => ContextIpType::IPV4V6,
            (false, true) => ContextIpType::IPV6,
            _ => ContextIpType::IPV4,
        }
    }
}

/// Reason why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Status that MBIM reports.
    pub status: Status,
    /// Cause that the network gave; [`NwError::NONE`] when it was not asked.
    pub cause: NwError,
}

impl Refused {
    pub(super) fn by_module(status: Status) -> Self {
        Self {
            status,
            cause: NwError::NONE,
        }
    }
}

/// Change of a call of `^NDISDUP`: it came up, ended or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallChange {
    /// Whether the call is up.
    pub up: bool,
    /// Whether the change concerns IPv4.
    pub v4: bool,
    /// Whether the change concerns IPv6.
    pub v6: bool,
    /// Cause that the network gave; [`NwError::NONE`] when there is none.
    pub cause: NwError,
}

/// State of a call in one address family, with its number in `^NDISSTATQRY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// There is no call.
    Down = 0,
    /// The call is up.
    Connected = 1,
    /// The call has been dialled.
    Connecting = 2,
}

/// State of the call of `^NDISDUP`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Dialled {
    /// There is no call.
    #[default]
    Down,
    /// The call has been dialled, and its outcome is known at a time.
    Dialling {
        due: Instant,
        outcome: Result<Session, Refused>,
    },
    /// The call is up.
    Up(Session),
}

impl Dialled {
    /// Returns the time at which the outcome is known, while the call is dialled.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Dialling { due, .. } => Some(*due),
            _ => None,
        }
    }
}
