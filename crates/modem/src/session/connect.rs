//! The rung of CONNECT: a session that is active already is ended, the address families are tried
//! one after the other, and refusals are explained.

use std::collections::VecDeque;
use std::time::Instant;

use uwwan_mbim::services::basic_connect::{ActivationState, ConnectInfo, ContextIpType};
use uwwan_mbim::status::{NwError, Status};

use super::{ACTIVATION_PATIENCE, BUSY_PATIENCE, BUSY_PAUSE, DataSession, SessionAsk, State};
use crate::explain;
use crate::failure::Rung;
use crate::ladder::{Outcome, passes};
use crate::options::IpType;

impl DataSession {
    /// Handles the answer to the query whether the session is active.
    pub(super) fn looked(&mut self, now: Instant, outcome: &Outcome) {
        // Some firmware does not answer before the first activation, or answers "unknown". Only a
        // session that is active has to be ended first.
        let ours = self.active;
        self.active = match outcome {
            Outcome::Done { info, .. } => ConnectInfo::decode(info).is_ok_and(|connect| {
                connect.session_id == u32::from(self.options.id)
                    && matches!(
                        connect.activation_state,
                        ActivationState::ACTIVATED | ActivationState::ACTIVATING
                    )
            }),
            _ => false,
        };
        if self.active {
            // The access point of that session is not known.
            let text = if ours {
                "the session is still active after its failure; ending it"
            } else {
                "a session of an earlier program is active; ending it"
            };
            self.tell_notice(text.into());
            self.ask(now, SessionAsk::Deactivate);
        } else {
            self.activate_first(now);
        }
    }

    pub(super) fn activate_first(&mut self, now: Instant) {
        self.refusal = None;
        self.families.clear();
        let first = match self.options.ip_type {
            IpType::Ipv4 => ContextIpType::IPV4,
            wanted if !self.facts.sizes.carry_ipv6() => return self.do_without_ipv6(now, wanted),
            IpType::Default => ContextIpType::DEFAULT,
            IpType::Ipv6 => ContextIpType::IPV6,
            IpType::Ipv4v6 => ContextIpType::IPV4V6,
        };
        self.activate(now, first);
    }

    /// Asks for IPv4 alone, because the device's frames are too short for IPv6, or gives up where that is
    /// not wanted.
    fn do_without_ipv6(&mut self, now: Instant, wanted: IpType) {
        let bytes = self.facts.sizes.frame.unwrap_or_default();
        let why = format!(
            "a frame of the device carries {bytes} bytes, and IPv6 needs 1280 of every link (RFC 8200, 5)"
        );
        if wanted == IpType::Ipv6 {
            let what = "no IPv6 on this link".to_owned();
            let next = "--ip-type ipv4, or another --mode";
            let failure = explain::failure(Rung::Connect, true, what, &why, next);
            return self.fail(now, failure, Rung::Connect);
        }
        self.tell_notice(format!("{why}; asking for IPv4 alone"));
        self.activate(now, ContextIpType::IPV4);
    }

    pub(super) fn activate(&mut self, now: Instant, family: ContextIpType) {
        self.family = family;
        self.active = true;
        self.deadline = Some(now + ACTIVATION_PATIENCE);
        self.ask(now, SessionAsk::Activate);
    }

    /// Handles the answer to the activation.
    pub(super) fn activated(&mut self, now: Instant, outcome: Outcome) {
        let name = SessionAsk::Activate.name();
        let (failure, from) = match outcome {
            Outcome::Done { status, info } => {
                let connect = ConnectInfo::decode(&info).ok();
                match connect {
                    Some(connect) if status.is_success() => {
                        return self.connect_info(now, &connect);
                    }
                    None if status.is_success() => {
                        let failure = explain::bad_answer(Rung::Connect, name, &"too short");
                        (failure, Rung::Connect)
                    }
                    connect => {
                        return self.refused(now, status, connect.map(|connect| connect.nw_error));
                    }
                }
            }
            Outcome::Refused(why) => (explain::bad_answer(Rung::Connect, name, &why), Rung::Found),
            // The session may still come up in the modem; the next try ends it first.
            Outcome::NoAnswer => {
                let seconds = SessionAsk::Activate.timeout().as_secs();
                (
                    explain::no_answer(Rung::Connect, name, seconds),
                    Rung::Connect,
                )
            }
        };
        self.fail(now, failure, from);
    }

    /// Handles the content of CONNECT, from the answer to the activation or a later indication.
    pub(super) fn connect_info(&mut self, now: Instant, connect: &ConnectInfo) {
        match connect.activation_state {
            ActivationState::ACTIVATED => {
                let told = only_family(connect.nw_error.normalised());
                self.only = told.or_else(|| single(connect.ip_type));
                let mut detail = format!("asked for {}", family_name(self.family));
                if connect.nw_error != NwError::NONE {
                    detail.push_str(&format!("; the network says {}", cause(connect.nw_error)));
                }
                self.done(now, detail);
                self.enter(now, Rung::IpConfiguration);
            }
            ActivationState::ACTIVATING => self.state = State::Activating,
            _ => self.refused(now, Status::FAILURE, Some(connect.nw_error)),
        }
    }

    fn refused(&mut self, now: Instant, status: Status, network: Option<NwError>) {
        self.active = false;
        let what = format!("CONNECT ({})", family_name(self.family));
        // A refusal for another reason leads back to the rung that has to be climbed again.
        let earlier = match status {
            Status::PACKET_SERVICE_DETACHED => Some(Rung::PacketService),
            Status::NOT_REGISTERED => Some(Rung::Registration),
            Status::RADIO_POWER_OFF => Some(Rung::Radio),
            Status::PIN_REQUIRED | Status::SIM_NOT_INSERTED => Some(Rung::Sim),
            _ => None,
        };
        let waited = now.duration_since(self.entered);
        if passes(status) && waited + BUSY_PAUSE <= BUSY_PATIENCE {
            self.state = State::Busy;
            self.deadline = None;
            self.poll_at = Some(now + BUSY_PAUSE);
            return self.tell_waiting(
                now,
                BUSY_PATIENCE,
                "the modem, which is too busy to connect",
            );
        }
        if let Some(rung) = earlier {
            let failure = explain::status(Rung::Connect, &what, status, network);
            return self.detour(now, failure, rung);
        }
        let network_cause = network.unwrap_or(NwError::NONE).normalised();
        let about_family = is_about_family(status, network_cause);
        if self.family == ContextIpType::IPV4V6 && about_family {
            self.families = singles(network_cause);
        }
        let failure = if status == Status::NO_DEVICE_SUPPORT && self.family == ContextIpType::IPV6 {
            explain::ipv6_refused(&what, self.facts.quirk)
        } else {
            explain::status(Rung::Connect, &what, status, network)
        };
        if about_family && let Some(next) = self.families.pop_front() {
            self.tell_notice(format!(
                "{}; trying {} alone",
                failure.what,
                family_name(next)
            ));
            // The first of several refusals is about what the user asked for.
            self.refusal.get_or_insert(failure);
            return self.activate(now, next);
        }
        let failure = self.refusal.take().unwrap_or(failure);
        self.fail(now, failure, Rung::PacketService);
    }

    /// Handles the content of CONNECT while packets flow: a session that is deactivated is lost.
    pub(super) fn may_have_ended(&mut self, now: Instant, info: &[u8]) {
        let Ok(connect) = ConnectInfo::decode(info) else {
            return;
        };
        if connect.activation_state != ActivationState::DEACTIVATED {
            return;
        }
        self.active = false;
        let mut what = "the network has ended the session".to_owned();
        if connect.nw_error != NwError::NONE {
            what.push_str(&format!(": {}", cause(connect.nw_error)));
        }
        let failure = explain::failure(Rung::Connect, false, what, "", "");
        self.lose(now, failure, Rung::Registration);
    }

    /// Handles a deactivation of the session before it was up.
    pub(super) fn ended_on_the_way(&mut self, now: Instant, network: NwError) {
        self.active = false;
        let failure = explain::status(Rung::Connect, "CONNECT", Status::FAILURE, Some(network));
        self.detour(now, failure, Rung::PacketService);
    }
}

fn cause(network: NwError) -> String {
    format!("{network} ({})", network.explanation())
}

/// Returns whether a refusal of CONNECT is about the address families asked for.
fn is_about_family(status: Status, cause: NwError) -> bool {
    status == Status::NO_DEVICE_SUPPORT
        || matches!(
            cause,
            NwError::UNKNOWN_PDP_ADDRESS_OR_TYPE
                | NwError::SERVICE_OPTION_NOT_SUPPORTED
                | NwError::PDP_TYPE_IPV4_ONLY_ALLOWED
                | NwError::PDP_TYPE_IPV6_ONLY_ALLOWED
        )
}

/// Returns the only family that the network gives, if this cause names it.
fn only_family(cause: NwError) -> Option<ContextIpType> {
    match cause {
        NwError::PDP_TYPE_IPV6_ONLY_ALLOWED => Some(ContextIpType::IPV6),
        NwError::PDP_TYPE_IPV4_ONLY_ALLOWED => Some(ContextIpType::IPV4),
        _ => None,
    }
}

/// Returns the family of a context that has been activated with one alone.
fn single(activated: ContextIpType) -> Option<ContextIpType> {
    [ContextIpType::IPV4, ContextIpType::IPV6]
        .into_iter()
        .find(|family| *family == activated)
}

/// Returns the single families to try after both were refused with this cause.
fn singles(cause: NwError) -> VecDeque<ContextIpType> {
    match only_family(cause) {
        Some(only) => [only].into(),
        None => [ContextIpType::IPV4, ContextIpType::IPV6].into(),
    }
}

fn family_name(family: ContextIpType) -> &'static str {
    match family {
        ContextIpType::IPV4 => "ipv4",
        ContextIpType::IPV6 => "ipv6",
        ContextIpType::IPV4V6 => "ipv4v6",
        _ => "the default family",
    }
}
