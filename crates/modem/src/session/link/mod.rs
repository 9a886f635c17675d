//! Addresses over the link of a data session whose modem reports none, or none of one family:
//! [DHCP](dhcp) for IPv4, and [router advertisements](router) for IPv6, as ModemManager and OpenWrt do
//! it. A session whose modem reports one family does not wait for the other.

mod dhcp;
mod repeat;
mod router;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::advertised as advertisement;

use std::hash::RandomState;
use std::time::{Duration, Instant};

use uwwan_mbim::services::basic_connect::ContextIpType;

use crate::addresses::Given;
use dhcp::Dhcp;
use router::Router;

/// Time for which the session waits for a second family once the first has come.
const GRACE: Duration = Duration::from_secs(3);

/// Address families whose addresses the driver gets over the link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LinkFamilies {
    /// Whether DHCP answers go to the driver instead of the host.
    pub(crate) v4: bool,
    /// Whether router advertisements go to the driver instead of the host.
    pub(crate) v6: bool,
}

impl LinkFamilies {
    /// Returns the families of a session that was activated with `family`.
    fn of(family: ContextIpType) -> Self {
        Self {
            v4: family != ContextIpType::IPV6,
            v6: family != ContextIpType::IPV4,
        }
    }

    /// Returns whether a datagram from the network is about the configuration of the link in one of
    /// these families: an answer of a DHCP server, or a router advertisement.
    pub(crate) fn take(self, datagram: &[u8]) -> bool {
        match datagram.first().map(|byte| byte >> 4) {
            Some(4) => self.v4 && dhcp::is_answer(datagram),
            Some(6) => self.v6 && router::is_advertisement(datagram),
            _ => false,
        }
    }
}

/// Configuration of one link; see the [module](self).
#[derive(Debug)]
pub(crate) struct Link {
    /// DHCP client, if IPv4 is wanted.
    dhcp: Option<Dhcp>,
    /// Router advertisements, if IPv6 is wanted.
    router: Option<Router>,
    /// Time at which the first address has come.
    first_given: Option<Instant>,
    /// Whether the session has addresses of the modem, and does not wait for those of the link.
    additional: bool,
}

/// Change that an answer has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing has changed.
    Nothing,
    /// Addresses have come or changed.
    Addresses,
    /// The address is no longer leased.
    Lost,
}

impl Link {
    /// Begins to configure a link of a session that was activated with `family`; `number` and
    /// `secret` are random.
    pub(crate) fn new(
        now: Instant,
        family: ContextIpType,
        number: u64,
        secret: RandomState,
    ) -> Self {
        let families = LinkFamilies::of(family);
        Self {
            dhcp: families.v4.then(|| Dhcp::new(now, number, secret)),
            router: families.v6.then(|| Router::new(now, number)),
            first_given: None,
            additional: false,
        }
    }

    /// Leaves the other families to the modem, which has reported their addresses. Returns `None` if
    /// the link is not asked for this family.
    pub(crate) fn beside_modem(self, family: ContextIpType) -> Option<Self> {
        let wanted = LinkFamilies::of(family);
        let link = Self {
            dhcp: self.dhcp.filter(|_| wanted.v4),
            router: self.router.filter(|_| wanted.v6),
            additional: true,
            ..self
        };
        (link.families() == wanted).then_some(link)
    }

    /// Returns whether the session has addresses of the modem, and does not wait for those of the
    /// link.
    pub(crate) fn is_additional(&self) -> bool {
        self.additional
    }

    /// Returns the families that the link is asked for.
    pub(crate) fn families(&self) -> LinkFamilies {
        LinkFamilies {
            v4: self.dhcp.is_some(),
            v6: self.router.is_some(),
        }
    }

    /// Adds the configuration from the link to the modem's.
    pub(crate) fn give(&self, given: &mut Given) {
        if let Some(dhcp) = &self.dhcp {
            dhcp.give(given);
        }
        if let Some(router) = &self.router {
            router.give(given);
        }
    }

    /// Returns the configuration that the link has given so far.
    fn given(&self) -> Given {
        let mut given = Given::default();
        self.give(&mut given);
        given
    }

    /// Returns whether the session need not wait: everything asked for has come, or one family has
    /// and the time for the other is over.
    pub(crate) fn is_settled(&self, now: Instant) -> bool {
        let v4 = self.dhcp.as_ref().is_none_or(Dhcp::is_settled);
        let v6 = self.router.as_ref().is_none_or(Router::is_settled);
        self.additional || (v4 && v6) || self.grace().is_some_and(|at| now >= at)
    }

    fn grace(&self) -> Option<Instant> {
        self.first_given.map(|at| at + GRACE)
    }

    /// Returns the time at which [`Link::timeout`] is to be called.
    pub(crate) fn poll_timeout(&self, settled: bool) -> Option<Instant> {
        let dhcp = self.dhcp.as_ref().and_then(Dhcp::poll_timeout);
        let router = self.router.as_ref().and_then(Router::poll_timeout);
        let grace = self.grace().filter(|_| !settled);
        [dhcp, router, grace].into_iter().flatten().min()
    }

    /// Returns the datagrams due, and whether the lease has run out.
    pub(crate) fn timeout(&mut self, now: Instant) -> (Vec<Vec<u8>>, Change) {
        let settled = self.is_settled(now);
        let mut out = Vec::new();
        let mut change = Change::Nothing;
        let dhcp = self.dhcp.as_mut();
        if let Some((message, lost)) = dhcp.and_then(|dhcp| dhcp.timeout(now, settled)) {
            out.push(message);
            if lost {
                change = Change::Lost;
                self.date(now);
            }
        }
        let router = self.router.as_mut();
        out.extend(router.and_then(|router| router.timeout(now, settled)));
        (out, change)
    }

    /// Handles a datagram for which [`LinkFamilies::take`] holds.
    pub(crate) fn handle(&mut self, now: Instant, datagram: &[u8]) -> Change {
        let before = self.given();
        let v4 = datagram.first().is_some_and(|byte| byte >> 4 == 4);
        let mut lost = false;
        match (&mut self.dhcp, &mut self.router) {
            (Some(dhcp), _) if v4 => lost = dhcp.handle(now, datagram),
            (_, Some(router)) if !v4 => router.handle(datagram),
            _ => {}
        }
        self.date(now);
        if lost {
            Change::Lost
        } else if self.given() == before {
            Change::Nothing
        } else {
            Change::Addresses
        }
    }

    /// Records that there are addresses since `now` unless there were before, or that there are
    /// none.
    fn date(&mut self, now: Instant) {
        let v4 = self.dhcp.as_ref().is_some_and(Dhcp::is_settled);
        let v6 = self.router.as_ref().is_some_and(Router::is_settled);
        self.first_given = (v4 || v6).then(|| self.first_given.unwrap_or(now));
    }
}
