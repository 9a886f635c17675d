//! From CONNECT to the host: address families with their fallbacks, and the IP configuration.

use std::time::{Duration, Instant};

use uwwan_mbim::services::basic_connect::{
    ActivationState, ConnectInfo, ContextIpType, IpConfiguration,
};
use uwwan_mbim::status::{NwError, Status};

use super::{Action, Ask, Ladder, Outcome, ask};
use crate::addresses::{self, Given};
use crate::event::Event;
use crate::explain;
use crate::failure::Rung;
use crate::host::HostConfig;
use crate::options::IpType;

impl Ladder {
    pub(super) fn connect_state(&mut self, now: Instant, outcome: &Outcome) {
        // Some firmware does not answer before the first activation, or with "unknown": only a
        // session that is active needs to be ended first.
        let active = match outcome {
            Outcome::Done { info, .. } => ConnectInfo::decode(info).is_ok_and(|connect| {
                matches!(
                    connect.activation_state,
                    ActivationState::ACTIVATED | ActivationState::ACTIVATING
                )
            }),
            _ => false,
        };
        if active {
            self.tell_notice("a session of an earlier program is active; ending it".into());
            self.send(Ask::Deactivate, ask::deactivate(0));
        } else {
            self.activate_first(now);
        }
    }

    pub(super) fn activate_first(&mut self, now: Instant) {
        self.refusal = None;
        self.families.clear();
        let first = wanted_family(self.options.ip_type);
        self.activate(now, first);
    }

    fn activate(&mut self, now: Instant, family: ContextIpType) {
        self.family = family;
        self.deadline = Some(now + Ask::Activate.timeout() + Duration::from_secs(10));
        let command = ask::activate(&self.options.session_0(), family);
        self.send(Ask::Activate, command);
    }

    /// The answer to CONNECT.
    pub(super) fn activated(&mut self, now: Instant, outcome: Outcome) {
        match outcome {
            Outcome::Done { status, info } => {
                let connect = ConnectInfo::decode(&info).ok();
                if status.is_success() {
                    match connect {
                        Some(connect) => self.connect_info(now, &connect),
                        None => {
                            let failure = explain::bad_answer(
                                Rung::Connect,
                                Ask::Activate.name(),
                                &"too short",
                            );
                            self.fail(now, failure, Rung::Connect);
                        }
                    }
                } else {
                    self.refused(now, status, connect.map(|connect| connect.nw_error));
                }
            }
            Outcome::Refused(why) => {
                let failure = explain::bad_answer(Rung::Connect, Ask::Activate.name(), &why);
                self.fail(now, failure, Rung::Found);
            }
            Outcome::NoAnswer => {
                // It may still come up in the modem: the next try ends it first.
                let failure = explain::no_answer(Rung::Connect, Ask::Activate.name(), 180);
                self.fail(now, failure, Rung::Connect);
            }
        }
    }

    /// CONNECT's information buffer, from its answer or an indication.
    pub(super) fn connect_info(&mut self, now: Instant, connect: &ConnectInfo) {
        match connect.activation_state {
            ActivationState::ACTIVATED => {
                let mut detail = format!("asked for {}", family_name(self.family));
                if connect.nw_error.0 != 0 {
                    detail.push_str(&format!(
                        "; the network says {} ({})",
                        connect.nw_error,
                        connect.nw_error.explanation()
                    ));
                }
                self.done(now, detail);
            }
            ActivationState::ACTIVATING => self.expects = None,
            _ => self.refused(now, Status::FAILURE, Some(connect.nw_error)),
        }
    }

    fn refused(&mut self, now: Instant, status: Status, network: Option<NwError>) {
        let what = format!("CONNECT ({})", family_name(self.family));
        let cause = network.map_or(0, |cause| cause.0);
        // A refusal for another reason leads back to the rung that is missing.
        let earlier = match status {
            Status::PACKET_SERVICE_DETACHED => Some(Rung::PacketService),
            Status::NOT_REGISTERED => Some(Rung::Registration),
            Status::RADIO_POWER_OFF => Some(Rung::Radio),
            Status::PIN_REQUIRED | Status::SIM_NOT_INSERTED => Some(Rung::Sim),
            _ => None,
        };
        if let Some(rung) = earlier {
            let failure = explain::status(Rung::Connect, &what, status, network);
            return self.detour(now, rung, failure);
        }
        let family = is_about_family(status, cause);
        if self.family == ContextIpType::IPV4V6 && family {
            self.families = singles(cause).iter().copied().collect();
        }
        let failure = if status == Status::NO_DEVICE_SUPPORT && self.family == ContextIpType::IPV6 {
            explain::ipv6_refused(&what, self.quirk)
        } else {
            explain::status(Rung::Connect, &what, status, network)
        };
        if family && let Some(next) = self.families.pop_front() {
            self.tell_notice(format!(
                "{}; trying {} alone",
                failure.what,
                family_name(next)
            ));
            // Of several refusals the first is about what the user asked for.
            self.refusal.get_or_insert(failure);
            return self.activate(now, next);
        }
        let failure = self.refusal.take().unwrap_or(failure);
        self.fail(now, failure, Rung::PacketService);
    }

    pub(super) fn ip_configuration(&mut self, now: Instant, outcome: Outcome) {
        match outcome {
            Outcome::Done { status, info } if status.is_success() => {
                match IpConfiguration::decode(&info) {
                    Ok(configuration) => self.ip_given(now, &configuration),
                    Err(error) => {
                        let failure = explain::bad_answer(
                            Rung::IpConfiguration,
                            Ask::IpConfiguration.name(),
                            &error,
                        );
                        self.fail(now, failure, Rung::Connect);
                    }
                }
            }
            Outcome::Done { status, .. } => {
                let failure = explain::status(
                    Rung::IpConfiguration,
                    Ask::IpConfiguration.name(),
                    status,
                    None,
                );
                if status == Status::CONTEXT_NOT_ACTIVATED {
                    self.detour(now, Rung::Connect, failure);
                } else {
                    self.fail(now, failure, Rung::Connect);
                }
            }
            outcome => self.unanswered_ask(now, Ask::IpConfiguration, outcome),
        }
    }

    /// An IP configuration, from the answer or an indication.
    pub(super) fn ip_given(&mut self, now: Instant, configuration: &IpConfiguration) {
        self.given = Given::from(configuration);
        let addresses = addresses::settle(&self.given, self.sizes);
        if self.online {
            if addresses.list().is_empty() || self.facts.addresses.as_ref() == Some(&addresses) {
                return;
            }
            self.tell_notice("the network has changed the addresses".into());
            self.actions
                .push_back(Action::Tell(Event::Addresses(addresses.clone())));
            self.actions
                .push_back(Action::Host(self.host_config(&addresses)));
            self.facts.addresses = Some(addresses);
            return;
        }
        if addresses.list().is_empty() {
            self.expects = None;
            self.poll_at = Some(now + Duration::from_secs(2));
            return;
        }
        self.tell_missing_family(&addresses);
        let mut detail = addresses.list().join(", ");
        detail.push_str(&format!(", MTU {}", addresses.mtu));
        self.actions
            .push_back(Action::Tell(Event::Addresses(addresses.clone())));
        self.facts.addresses = Some(addresses);
        self.done(now, detail);
    }

    /// Both families were asked for and one came.
    fn tell_missing_family(&mut self, addresses: &crate::status::Addresses) {
        if self.options.ip_type != IpType::Ipv4v6 {
            return;
        }
        if addresses.ipv6.is_none() {
            let why = if self.quirk.ipv6_by_plmn {
                format!("{}; {}", explain::PLMN_STORY, explain::PLMN_NEXT)
            } else {
                "the network or the firmware gives IPv4 only".into()
            };
            self.tell_notice(format!("no IPv6 address: {why}"));
        } else if addresses::awaits_global(&self.given) {
            self.tell_notice("the IPv6 address reaches the link only; a global one comes by router advertisement".into());
        } else if addresses.ipv4.is_none() {
            self.tell_notice("no IPv4 address: the network gives IPv6 only".into());
        }
    }

    pub(super) fn host_config(&self, addresses: &crate::status::Addresses) -> HostConfig {
        HostConfig {
            addresses: addresses.clone(),
            name: self.options.tun_name.clone(),
            tun_mode: self.options.tun_mode,
            routes: self.options.routes.clone(),
            route_metric: self.options.route_metric,
            dns: self.options.dns,
            ethernet: self.ethernet.clone(),
        }
    }
}

/// Whether a refusal of CONNECT is about the address families asked for.
pub(crate) fn is_about_family(status: Status, cause: u32) -> bool {
    status == Status::NO_DEVICE_SUPPORT || matches!(cause, 28 | 32 | 50 | 51)
}

/// The single families to try after both were refused with this cause.
pub(crate) fn singles(cause: u32) -> &'static [ContextIpType] {
    match cause {
        51 => &[ContextIpType::IPV6],
        50 => &[ContextIpType::IPV4],
        _ => &[ContextIpType::IPV4, ContextIpType::IPV6],
    }
}

/// What to ask for first.
pub(crate) fn wanted_family(ip_type: IpType) -> ContextIpType {
    match ip_type {
        IpType::Default => ContextIpType::DEFAULT,
        IpType::Ipv4 => ContextIpType::IPV4,
        IpType::Ipv6 => ContextIpType::IPV6,
        IpType::Ipv4v6 => ContextIpType::IPV4V6,
    }
}

pub(crate) fn family_name(family: ContextIpType) -> &'static str {
    match family {
        ContextIpType::IPV4 => "ipv4",
        ContextIpType::IPV6 => "ipv6",
        ContextIpType::IPV4V6 => "ipv4v6",
        _ => "the default family",
    }
}
