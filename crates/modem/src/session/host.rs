//! The rungs from the IP configuration to packets that flow.

use std::time::Instant;

use uwwan_mbim::services::basic_connect::IpConfiguration;
use uwwan_mbim::status::Status;

use super::{
    ADDRESS_PATIENCE, ADDRESS_PAUSE, DataSession, MOST_TRIES, SessionAsk, State, Step, words,
};
use crate::addresses::{self, Given, Sizes};
use crate::event::SessionChange;
use crate::failure::{Failure, Rung};
use crate::host::HostConfig;
use crate::ladder::{Outcome, passes};
use crate::options::IpType;
use crate::status::{Addresses, Interface};
use crate::{explain, kind};

impl DataSession {
    /// Takes the answer to the query of IP_CONFIGURATION.
    pub(super) fn addressed(&mut self, now: Instant, outcome: Outcome) {
        let name = SessionAsk::Addresses.name();
        let failure = match outcome {
            Outcome::Done { status, info } if status.is_success() => {
                match IpConfiguration::decode(&info) {
                    Ok(configuration) => return self.given(now, &configuration),
                    Err(error) => explain::bad_answer(Rung::IpConfiguration, name, &error),
                }
            }
            Outcome::Done { status, .. } if passes(status) => {
                self.state = State::Unaddressed;
                self.poll_at = Some(now + ADDRESS_PAUSE);
                return self.tell_waiting(now, ADDRESS_PATIENCE, "an address");
            }
            Outcome::Done { status, .. } => {
                let failure = explain::status(Rung::IpConfiguration, name, status, None);
                if status == Status::CONTEXT_NOT_ACTIVATED {
                    return self.detour(now, failure, Rung::Connect);
                }
                failure
            }
            Outcome::Refused(_) | Outcome::NoAnswer if self.tries + 1 < MOST_TRIES => {
                self.tries += 1;
                return self.ask(SessionAsk::Addresses);
            }
            Outcome::Refused(why) => {
                let failure = explain::bad_answer(Rung::IpConfiguration, name, &why);
                return self.fail(now, failure, Rung::Found);
            }
            Outcome::NoAnswer => {
                let seconds = SessionAsk::Addresses.timeout().as_secs();
                let failure = explain::no_answer(Rung::IpConfiguration, name, seconds);
                return self.fail(now, failure, Rung::Found);
            }
        };
        self.fail(now, failure, Rung::Connect);
    }

    /// Takes an IP configuration, from the answer or an indication.
    pub(super) fn given(&mut self, now: Instant, configuration: &IpConfiguration) {
        let given = Given::from(configuration);
        let addresses = addresses::settle(&given, self.sizes());
        let none = addresses.list().is_empty();
        if self.state == State::Up {
            if none || self.addresses.as_ref() == Some(&addresses) {
                return;
            }
            self.tell_notice("the network has changed the addresses".into());
            self.tell_addresses(&addresses);
            self.addresses = Some(addresses);
            let config = self.host_config();
            return self.steps.push_back(Step::Host(config));
        }
        if none {
            self.state = State::Unaddressed;
            self.poll_at = Some(now + ADDRESS_PAUSE);
            return self.tell_waiting(now, ADDRESS_PATIENCE, "an address");
        }
        self.tell_missing_family(&given, &addresses);
        self.tell_addresses(&addresses);
        self.done(now, words(&addresses));
        self.addresses = Some(addresses);
        self.enter(now, Rung::Host);
    }

    /// Takes the addresses the user chose, because a plain network device hands out none.
    pub(super) fn static_addresses(&mut self) {
        let given = kind::given(&self.options.static_addresses);
        let addresses = addresses::settle(&given, self.sizes());
        if !addresses.list().is_empty() {
            self.tell_addresses(&addresses);
        }
        self.addresses = Some(addresses);
    }

    /// Returns the sizes that bear on the MTU of this session.
    fn sizes(&self) -> Sizes {
        Sizes {
            chosen: self.options.mtu.or(self.ground.sizes.chosen),
            ..self.ground.sizes
        }
    }

    fn tell_addresses(&mut self, addresses: &Addresses) {
        if self.leads_back() {
            self.tell_change(SessionChange::Addresses(addresses.clone()));
        }
    }

    /// Reports a family that was asked for and did not come.
    fn tell_missing_family(&mut self, given: &Given, addresses: &Addresses) {
        if self.options.ip_type != IpType::Ipv4v6 {
            return;
        }
        if addresses.ipv6.is_none() {
            let why = if self.ground.quirk.ipv6_by_plmn {
                format!("{}; {}", explain::PLMN_STORY, explain::PLMN_NEXT)
            } else {
                "the network or the firmware gives IPv4 only".into()
            };
            self.tell_notice(format!("no IPv6 address: {why}"));
        } else if addresses::awaits_global(given) {
            self.tell_notice("the IPv6 address reaches the link only; a global one comes by router advertisement".into());
        } else if addresses.ipv4.is_none() {
            self.tell_notice("no IPv4 address: the network gives IPv6 only".into());
        }
    }

    pub(super) fn host_config(&self) -> HostConfig {
        HostConfig {
            addresses: self.addresses.clone().unwrap_or_default(),
            name: self.options.tun_name.clone(),
            tun_mode: self.options.tun_mode,
            routes: self.options.routes.clone(),
            route_metric: self.options.route_metric,
            dns: self.options.dns,
            ethernet: self.ground.ethernet.clone(),
        }
    }

    /// Takes the result of setting up or changing the host's end.
    pub(crate) fn host(&mut self, now: Instant, result: Result<Interface, Failure>) {
        match (self.state, result) {
            (State::Host, Ok(interface)) => {
                self.done(now, interface.name.clone());
                self.interface = Some(interface);
                self.enter(now, Rung::Online);
            }
            (State::Up, Ok(interface)) => {
                self.interface = Some(interface);
                let addresses = self.addresses.clone().unwrap_or_default();
                self.steps.push_back(Step::Data(addresses));
                if !self.leads_back() {
                    // The event carries the changed addresses.
                    self.tell_online(now);
                }
            }
            (State::Host | State::Up, Err(error)) => {
                self.fail(now, explain::host(error), Rung::IpConfiguration);
            }
            _ => {}
        }
    }

    /// Takes the result of putting the session on the data path: a description, or the reason why
    /// it does not start.
    pub(crate) fn data(&mut self, now: Instant, result: Result<String, String>) {
        match (self.state, result) {
            (State::Data, Ok(detail)) => {
                self.done(now, detail);
                self.state = State::Up;
                self.failures = 0;
                self.why = "online".into();
                self.tell_online(now);
            }
            (State::Data | State::Up, Err(why)) => {
                let failure = explain::failure(
                    Rung::Online,
                    false,
                    format!("the data path does not start: {why}"),
                    "the USB backend or the host refuses transfers",
                    "look at the kernel log; lower --in-flight if memory is short",
                );
                self.fail(now, failure, Rung::Found);
            }
            _ => {}
        }
    }
}
