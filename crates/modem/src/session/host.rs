//! The rungs from the IP configuration to packets that flow.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use uwwan_mbim::services::basic_connect::{ContextIpType, IpConfiguration};
use uwwan_mbim::status::Status;

use super::link::{Change, Link, LinkFamilies};
use super::{
    ADDRESS_PATIENCE, ADDRESS_PAUSE, ASK_PAUSE, DataSession, MOST_EMPTY, MOST_TRIES, SessionAsk,
    State, Step, words,
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
    /// Handles the answer to the query of IP_CONFIGURATION.
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
            Outcome::Done { status, .. } if status == Status::NO_DEVICE_SUPPORT => {
                return self.unaddressed(now);
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
                return self.ask(now, SessionAsk::Addresses);
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

    /// Handles the answer to the query that is repeated while the link is asked, too: the modem may
    /// have got addresses in the meantime.
    pub(super) fn addressed_late(&mut self, now: Instant, outcome: &Outcome) {
        match outcome {
            Outcome::Done { status, info } if status.is_success() => {
                if let Ok(configuration) = IpConfiguration::decode(info) {
                    self.given(now, &configuration);
                }
            }
            Outcome::Done { status, .. } if *status == Status::NO_DEVICE_SUPPORT => {
                self.ask_at = None;
            }
            _ => {}
        }
    }

    /// Handles an IP configuration, from the answer or an indication.
    pub(super) fn given(&mut self, now: Instant, configuration: &IpConfiguration) {
        let given = self.with_static(Given::from(configuration));
        let addresses = addresses::settle(&given, self.sizes());
        let none = addresses.list().is_empty();
        if self.state == State::Up {
            if none {
                return;
            }
            let listened = self.link_families();
            self.take_told(now, given, &addresses);
            self.poll_at = self.link.as_ref().and_then(|link| link.poll_timeout(true));
            let addresses = addresses::settle(&self.merged(), self.sizes());
            if self.addresses.as_ref() != Some(&addresses) {
                self.change_addresses("the network has changed the addresses".into(), addresses);
            } else if self.link_families() != listened {
                self.steps.push_back(Step::Data(addresses));
            }
            return;
        }
        if none {
            self.empty += 1;
            if self.empty >= MOST_EMPTY || self.state == State::Configuring {
                return self.unaddressed(now);
            }
            self.state = State::Unaddressed;
            self.poll_at = Some(now + ADDRESS_PAUSE);
            return self.tell_waiting(now, ADDRESS_PATIENCE, "an address");
        }
        self.take_told(now, given, &addresses);
        let addresses = addresses::settle(&self.merged(), self.sizes());
        self.addressed_by(now, addresses);
    }

    /// Keeps the modem's configuration, which settles to `addresses`. From here on the link is asked
    /// only for the family that is missing in it.
    fn take_told(&mut self, now: Instant, given: Given, addresses: &Addresses) {
        self.told = given;
        let missing = match (&addresses.ipv4, &addresses.ipv6) {
            (None, Some(_)) => Some(ContextIpType::IPV4),
            (Some(_), None) => Some(ContextIpType::IPV6),
            _ => None,
        };
        let missing = missing.filter(|missing| {
            self.family == ContextIpType::IPV4V6
                && self.only.is_none_or(|only| only == *missing)
                // The host asks on its Ethernet link itself.
                && self.facts.ethernet.is_none()
        });
        self.link = missing.and_then(|missing| {
            let running = self.link.take();
            let kept = running.and_then(|link| link.beside_modem(missing));
            kept.or_else(|| self.new_link(now, missing).beside_modem(missing))
        });
    }

    fn new_link(&self, now: Instant, family: ContextIpType) -> Link {
        let number = RandomState::new().hash_one(self.options.id);
        Link::new(now, family, number, RandomState::new())
    }

    /// Returns the modem's configuration with the additions of the link.
    fn merged(&self) -> Given {
        let mut given = self.told.clone();
        if let Some(link) = &self.link {
            link.give(&mut given);
        }
        given
    }

    /// Gives other addresses to the host interface of a session that is up.
    fn change_addresses(&mut self, text: String, addresses: Addresses) {
        self.tell_notice(text);
        self.tell_addresses(&addresses);
        self.addresses = Some(addresses);
        let config = self.host_config();
        self.steps.push_back(Step::Host(config));
    }

    /// Continues with addresses, from the modem or over the link.
    fn addressed_by(&mut self, now: Instant, addresses: Addresses) {
        self.tell_missing_family(&addresses);
        self.tell_addresses(&addresses);
        self.done(now, words(&addresses));
        self.addresses = Some(addresses);
        self.enter(now, Rung::Host);
    }

    /// Continues without addresses from the modem: with those of the user, or by asking the link
    /// for them. The host interface and the data path are set up for that first.
    fn unaddressed(&mut self, now: Instant) {
        if self.state == State::Configuring {
            return;
        }
        self.told = self.with_static(Given::default());
        let addresses = addresses::settle(&self.told, self.sizes());
        if !addresses.list().is_empty() {
            return self.addressed_by(now, addresses);
        }
        if self.facts.ethernet.is_some() {
            self.tell_notice(
                "the modem tells no addresses; the interface carries Ethernet: a DHCP client on it gets them".into(),
            );
            return self.addressed_by(now, addresses);
        }
        self.tell_notice(
            "the modem tells no addresses; asking the network for them over the link".into(),
        );
        self.link = Some(self.new_link(now, self.family));
        self.addresses = Some(addresses);
        self.enter(now, Rung::Host);
    }

    /// Returns the network's configuration, with the user's addresses in place of its own.
    fn with_static(&self, given: Given) -> Given {
        let chosen = kind::given(&self.options.static_addresses);
        let mut given = given;
        if !chosen.ipv4.is_empty() {
            given.ipv4 = chosen.ipv4;
            given.gateway4 = chosen.gateway4;
        }
        if !chosen.ipv6.is_empty() {
            given.ipv6 = chosen.ipv6;
            given.gateway6 = chosen.gateway6;
        }
        given
    }

    /// Returns the families whose addresses the driver gets over the link.
    pub(crate) fn link_families(&self) -> LinkFamilies {
        self.link.as_ref().map(Link::families).unwrap_or_default()
    }

    pub(super) fn has_addresses(&self) -> bool {
        let addresses = self.addresses.as_ref();
        addresses.is_some_and(|addresses| !addresses.list().is_empty())
    }

    /// Begins to ask the link for addresses, once the data path runs.
    fn configure_link(&mut self, now: Instant) {
        self.state = State::Configuring;
        self.entered = now;
        self.deadline = Some(now + ADDRESS_PATIENCE);
        self.ask_at = Some(now + ASK_PAUSE);
        self.why = "asking the network for addresses".into();
        self.link_timeout(now);
    }

    /// Sends the requests of the link's configuration that are due.
    pub(super) fn link_timeout(&mut self, now: Instant) {
        let Some(link) = self.link.as_mut() else {
            return;
        };
        let (datagrams, change) = link.timeout(now);
        if self.state == State::Configuring {
            self.tell_waiting(now, ADDRESS_PATIENCE, "addresses over the link");
        }
        self.steps.extend(datagrams.into_iter().map(Step::Inject));
        self.link_changed(now, change);
    }

    /// Handles a datagram about the configuration of the link.
    pub(crate) fn link_answer(&mut self, now: Instant, datagram: &[u8]) {
        if !matches!(self.state, State::Configuring | State::Up) {
            return;
        }
        if let Some(link) = self.link.as_mut() {
            let change = link.handle(now, datagram);
            self.link_changed(now, change);
        }
    }

    fn link_changed(&mut self, now: Instant, change: Change) {
        let up = self.state == State::Up;
        let Some(link) = &self.link else {
            return;
        };
        self.poll_at = link.poll_timeout(up);
        let (additional, settled) = (link.is_additional(), link.is_settled(now));
        const LOST: &str = "the network's DHCP server leases the address no more";
        if up && change == Change::Lost && !additional {
            let failure = explain::failure(Rung::IpConfiguration, false, LOST.into(), "", "");
            return self.lose(now, failure, Rung::IpConfiguration);
        }
        let addresses = addresses::settle(&self.merged(), self.sizes());
        if addresses.list().is_empty() {
            return;
        }
        if up && change != Change::Nothing && self.addresses.as_ref() != Some(&addresses) {
            let text = match change {
                Change::Lost => LOST.into(),
                _ if additional => {
                    let list = addresses.list().join(", ");
                    format!("the network has given addresses over the link: {list} together")
                }
                _ => "the network has changed the addresses".into(),
            };
            self.change_addresses(text, addresses);
        } else if self.state == State::Configuring && settled {
            self.addressed_by(now, addresses);
        }
    }

    /// Takes the addresses that the user chose, because a plain network device hands out none.
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
            chosen: self.options.mtu.or(self.facts.sizes.chosen),
            ..self.facts.sizes
        }
    }

    fn tell_addresses(&mut self, addresses: &Addresses) {
        if self.leads_back() {
            self.tell_change(SessionChange::Addresses(addresses.clone()));
        }
    }

    /// Reports an address family that was asked for and did not come.
    fn tell_missing_family(&mut self, addresses: &Addresses) {
        if self.options.ip_type != IpType::Ipv4v6 {
            return;
        }
        let next = match self.link {
            Some(_) => "; asking the network for one over the link",
            None => "",
        };
        if addresses.ipv6.is_none() && self.facts.sizes.carry_ipv6() {
            let why = if self.facts.quirk.ipv6_by_plmn {
                format!("{}; {}", explain::PLMN_CAUSE, explain::PLMN_NEXT)
            } else if self.told.ipv4.is_empty() {
                "none has come over the link yet".into()
            } else {
                "the modem tells IPv4 only".into()
            };
            self.tell_notice(format!("no IPv6 address: {why}{next}"));
        } else if addresses::awaits_global(&self.told) {
            self.tell_notice("the IPv6 address reaches the link only; a global one comes by router advertisement".into());
        }
        if addresses.ipv4.is_none() {
            let why = match self.told.ipv6.is_empty() {
                true => "none has come over the link yet",
                false => "the modem tells IPv6 only",
            };
            self.tell_notice(format!("no IPv4 address: {why}{next}"));
        }
    }

    pub(super) fn host_config(&self) -> HostConfig {
        HostConfig {
            addresses: self.addresses.clone().unwrap_or_default(),
            ethernet: self.facts.ethernet.clone(),
            ..HostConfig::for_session(&self.options)
        }
    }

    /// Records the present state of the host interface, which other programs may have changed.
    pub(crate) fn host_changed(&mut self, interface: Interface) {
        if let Some(own) = &mut self.interface {
            *own = interface;
        }
    }

    /// Handles the result of setting up or changing the host interface.
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

    /// Handles the result of putting the session on the data path: a description, or the reason why
    /// it does not start.
    pub(crate) fn data(&mut self, now: Instant, result: Result<String, String>) {
        match (self.state, result) {
            (State::Data, Ok(_)) if self.link.is_some() && !self.has_addresses() => {
                self.configure_link(now);
            }
            (State::Data, Ok(detail)) => {
                self.done(now, detail);
                self.state = State::Up;
                self.failures = 0;
                self.why = "online".into();
                self.poll_at = self.link.as_ref().and_then(|link| link.poll_timeout(true));
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
