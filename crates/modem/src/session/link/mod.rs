//! Addresses over the link of a data session whose modem tells none: [DHCP](dhcp) for IPv4, and
//! [router advertisements](router) for IPv6, as ModemManager and OpenWrt do it.

mod dhcp;
mod repeat;
mod router;
#[cfg(test)]
mod tests;

use std::hash::RandomState;
use std::time::{Duration, Instant};

use uwwan_mbim::services::basic_connect::ContextIpType;

use crate::addresses::Given;
use dhcp::Dhcp;
use router::Router;

/// Time for which a second family is waited for once the first has come.
const GRACE: Duration = Duration::from_secs(3);

/// Returns whether a datagram from the network is about the configuration of the link: an answer of
/// a DHCP server, or a router advertisement.
pub(crate) fn is_configuration(datagram: &[u8]) -> bool {
    match datagram.first().map(|byte| byte >> 4) {
        Some(4) => dhcp::is_answer(datagram),
        Some(6) => router::is_advertisement(datagram),
        _ => false,
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
}

/// Change that an answer has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    Nothing,
    /// Addresses have come or changed.
    Addresses,
    /// The address is leased no more.
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
        Self {
            dhcp: (family != ContextIpType::IPV6).then(|| Dhcp::new(now, number, secret)),
            router: (family != ContextIpType::IPV4).then(|| Router::new(now, number)),
            first_given: None,
        }
    }

    /// Returns what the link has given so far.
    pub(crate) fn given(&self) -> Given {
        let mut given = Given::default();
        if let Some(dhcp) = &self.dhcp {
            dhcp.give(&mut given);
        }
        if let Some(router) = &self.router {
            router.give(&mut given);
        }
        given
    }

    /// Returns whether everything asked for has come, or one family has and the other had its time.
    pub(crate) fn is_settled(&self, now: Instant) -> bool {
        let v4 = self.dhcp.as_ref().is_none_or(Dhcp::is_settled);
        let v6 = self.router.as_ref().is_none_or(Router::is_settled);
        (v4 && v6) || self.grace().is_some_and(|at| now >= at)
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

    /// Takes a datagram for which [`is_configuration`] holds.
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
