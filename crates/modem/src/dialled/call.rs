//! State of the connection that is dialled.

use std::time::Instant;

use uwwan_mbim::services::basic_connect::ContextIpType;

/// State of the connection that is dialled.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) state: State,
    /// Address family that was asked for.
    pub(super) family: ContextIpType,
    /// Whether the modem has reported each family to be up: IPv4 and IPv6.
    pub(super) up: [bool; 2],
    /// Time at which the modem is asked for the state.
    pub(super) poll_at: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Down,
    /// The modem has been dialling since the first time; the first family came up at the second.
    Dialling(Instant, Option<Instant>),
    Up,
}

impl Connection {
    pub(super) fn is_active(&self) -> bool {
        self.state != State::Down
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.poll_at
    }

    /// Sets the modem to be asked at once.
    pub(super) fn look(&mut self, now: Instant) {
        if self.is_active() {
            self.poll_at = Some(now);
        }
    }

    /// Records that the connection is down.
    pub(super) fn down(&mut self) {
        *self = Self {
            family: self.family,
            ..Self::default()
        };
    }

    /// Returns whether all families that were asked for are up.
    pub(super) fn is_whole(&self) -> bool {
        match self.family {
            ContextIpType::IPV6 => self.up[1],
            ContextIpType::IPV4V6 | ContextIpType::IPV4_AND_IPV6 => self.up[0] && self.up[1],
            _ => self.up[0] || self.up[1],
        }
    }

    /// Returns the families that are up, as MBIM names them.
    pub(super) fn kind(&self) -> ContextIpType {
        match self.up {
            [true, true] => ContextIpType::IPV4V6,
            [true, false] => ContextIpType::IPV4,
            [false, true] => ContextIpType::IPV6,
            [false, false] => self.family,
        }
    }
}
