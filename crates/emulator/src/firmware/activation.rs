//! Activation and deactivation of data sessions and calls, by the module and the network.

use std::time::{Duration, Instant};

use uwwan_mbim::services::basic_connect::ContextIpType;
use uwwan_mbim::status::{NwError, Status};

use super::sessions::{CallChange, CallState, Dialled, Refused, Session};
use super::{Change, Firmware, Lock, Registered};
use crate::knobs::{DialOutcome, Knobs, SimState};

impl Firmware {
    /// Returns the data session with that id, if it is active.
    #[must_use]
    pub fn session(&self, id: u32) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// Notes that the network has other addresses or another MTU for every data session.
    pub fn addresses_changed(&mut self) {
        let sessions: Vec<u32> = self.sessions.keys().copied().collect();
        for session in sessions {
            self.note(Change::Addresses(session));
        }
    }

    /// Returns a number that changes with every activation and deactivation of a data session.
    #[must_use]
    pub fn sessions_version(&self) -> u64 {
        self.sessions_version
    }

    /// Returns whether any data session or call is up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        !self.sessions.is_empty() || self.call().is_some()
    }

    /// Returns whether any data session was active since the start.
    #[must_use]
    pub fn activated_once(&self) -> bool {
        self.activated_once
    }

    /// Checks whether the network can be asked for something.
    ///
    /// # Errors
    /// Returns the status that says what is missing.
    pub(super) fn usable(&self) -> Result<(), Refused> {
        let refused = match (self.sim(), self.lock()) {
            (SimState::Absent, _) => Some(Status::SIM_NOT_INSERTED),
            (SimState::Bad, _) => Some(Status::BAD_SIM),
            (SimState::NotInitialized, _) => Some(Status::NOT_INITIALIZED),
            (SimState::Ready, Lock::Open) => None,
            (SimState::Ready, Lock::Dead) => Some(Status::BAD_SIM),
            (SimState::Ready, _) => Some(Status::PIN_REQUIRED),
        };
        if let Some(status) = refused {
            return Err(Refused::by_module(status));
        }
        if !(self.radio_on && self.hardware_radio_on) {
            return Err(Refused::by_module(Status::RADIO_POWER_OFF));
        }
        if !self.registered.is_on() {
            return Err(Refused {
                status: Status::NOT_REGISTERED,
                cause: if self.registered == Registered::Denied {
                    NwError::PLMN_NOT_ALLOWED
                } else {
                    NwError::NONE
                },
            });
        }
        Ok(())
    }

    /// Activates the data session with that id.
    ///
    /// # Errors
    /// Returns the statuses seen on real units: NO_DEVICE_SUPPORT for IPv6 on an IPv4-only profile,
    /// FAILURE with the network's cause for what the network refuses, and those that the knobs ask
    /// for.
    pub fn connect(
        &mut self,
        id: u32,
        apn: &str,
        wanted: ContextIpType,
        knobs: &Knobs,
    ) -> Result<&Session, Refused> {
        self.usable()?;
        if !self.attached {
            return Err(Refused::by_module(Status::PACKET_SERVICE_DETACHED));
        }
        if id >= u32::from(knobs.max_sessions) {
            return Err(Refused::by_module(Status::MAX_ACTIVATED_CONTEXTS));
        }
        if self.sessions.contains_key(&id) {
            return Ok(&self.sessions[&id]);
        }
        if knobs.crash_at_connect != 0 && !self.persistent.crashed {
            self.persistent.crashed = true;
            self.crashing = true;
            return Err(Refused::by_module(Status::FAILURE));
        }
        let session = self.admit(apn, wanted, knobs)?;
        self.activated_once = true;
        self.sessions_version += 1;
        self.note(Change::Connect(id));
        Ok(self.sessions.entry(id).or_insert(session))
    }

    /// Deactivates the data session with that id. Returns `false` when it was not active.
    pub fn disconnect(&mut self, id: u32) -> bool {
        let was = self.sessions.remove(&id).is_some();
        self.sessions_version += 1;
        if was {
            self.note(Change::Connect(id));
        }
        was
    }

    /// Deactivates all data sessions without noting changes, because the control session is closed.
    pub fn disconnect_all(&mut self) {
        self.sessions_version += 1;
        self.sessions.clear();
    }

    /// Returns the data session that results from an activation.
    ///
    /// # Errors
    /// Returns the status of a refusal by the network or the module.
    fn admit(&self, apn: &str, wanted: ContextIpType, knobs: &Knobs) -> Result<Session, Refused> {
        if knobs.connect_status != 0 {
            return Err(Refused {
                status: Status(knobs.connect_status),
                cause: NwError(knobs.connect_cause),
            });
        }
        if !knobs.apn.is_empty() && !knobs.apn.eq_ignore_ascii_case(apn) {
            return Err(Refused {
                status: Status::FAILURE,
                cause: NwError::MISSING_OR_UNKNOWN_APN,
            });
        }
        let (v4, v6) = match wanted {
            ContextIpType::DEFAULT | ContextIpType::IPV4 => (true, false),
            ContextIpType::IPV6 => (false, true),
            ContextIpType::IPV4V6 | ContextIpType::IPV4_AND_IPV6 => (true, true),
            _ => return Err(Refused::by_module(Status::INVALID_PARAMETERS)),
        };
        let mut session = Session {
            apn: apn.to_owned(),
            v4,
            v6: v6 && self.ipv6_capable,
            cause: NwError::NONE,
        };
        if !session.v4 && !session.v6 {
            return Err(Refused::by_module(Status::NO_DEVICE_SUPPORT));
        }
        if session.v6 && !knobs.network_ipv6 {
            session.v6 = false;
            session.cause = NwError::PDP_TYPE_IPV4_ONLY_ALLOWED;
            if !session.v4 {
                return Err(Refused {
                    status: Status::FAILURE,
                    cause: session.cause,
                });
            }
        }
        Ok(session)
    }

    /// Dials the call of `^NDISDUP` over an Ethernet function. A call that the network refuses
    /// fails later, with a change.
    ///
    /// # Errors
    /// Returns the status of a refusal by the module itself.
    pub fn dial(
        &mut self,
        apn: &str,
        wanted: ContextIpType,
        knobs: &Knobs,
        now: Instant,
    ) -> Result<(), Refused> {
        self.usable()?;
        if !self.attached {
            return Err(Refused::by_module(Status::PACKET_SERVICE_DETACHED));
        }
        if self.dialled != Dialled::Down || knobs.dial == DialOutcome::Nothing {
            return Ok(());
        }
        let outcome = match self.admit(apn, wanted, knobs) {
            Err(refused) if refused.cause == NwError::NONE => return Err(refused),
            outcome => outcome,
        };
        self.dialled = Dialled::Dialling {
            due: now + Duration::from_millis(knobs.connect_ms),
            outcome,
        };
        self.advance_call(now);
        Ok(())
    }

    /// Ends the call of `^NDISDUP`. Returns `false` when there is none.
    pub fn hang_up(&mut self) -> bool {
        let (was, v4, v6) = match std::mem::take(&mut self.dialled) {
            Dialled::Down => return false,
            Dialled::Dialling { .. } => (false, true, false),
            Dialled::Up(session) => (true, session.v4, session.v6),
        };
        self.sessions_version += u64::from(was);
        self.note(Change::Call(CallChange {
            up: false,
            v4,
            v6,
            cause: NwError::NONE,
        }));
        true
    }

    /// Lets a dialled call come up, or fail, when its time has come.
    pub(super) fn advance_call(&mut self, now: Instant) {
        let due = self.dialled.deadline().is_some_and(|due| due <= now);
        if !due {
            return;
        }
        let Dialled::Dialling { outcome, .. } = std::mem::take(&mut self.dialled) else {
            return;
        };
        self.note(Change::Call(match &outcome {
            Ok(session) => CallChange {
                up: true,
                v4: session.v4,
                v6: session.v6,
                cause: session.cause,
            },
            Err(refused) => CallChange {
                up: false,
                v4: true,
                v6: false,
                cause: refused.cause,
            },
        }));
        if let Ok(session) = outcome {
            self.activated_once = true;
            self.sessions_version += 1;
            self.dialled = Dialled::Up(session);
        }
    }

    /// Returns the call of `^NDISDUP`, if it is up.
    #[must_use]
    pub fn call(&self) -> Option<&Session> {
        match &self.dialled {
            Dialled::Up(session) => Some(session),
            _ => None,
        }
    }

    /// Returns the state of the call of `^NDISDUP`, for IPv4 and IPv6.
    #[must_use]
    pub fn call_states(&self) -> (CallState, CallState) {
        let state = |carried: bool| match &self.dialled {
            Dialled::Dialling { .. } => CallState::Connecting,
            Dialled::Up(_) if carried => CallState::Connected,
            _ => CallState::Down,
        };
        let session = self.call();
        (
            state(session.is_some_and(|session| session.v4)),
            state(session.is_some_and(|session| session.v6)),
        )
    }
}
