//! The link of the data function: the data sessions and the call that it carries, and what is
//! reported of it to the host of an Ethernet function.

use super::Modem;
use crate::descriptors::NetworkKind;
use crate::knobs::{DialOutcome, Dialling};

impl Modem {
    /// Brings `routes` up to date with the data sessions.
    pub(super) fn reroute(&mut self) {
        self.routed = self.firmware.sessions_version();
        let ethernet = self.functions.data.filter(|d| d.kind.is_ethernet());
        let ethernet = ethernet.map(|_| self.link());
        for session in 0..=u8::MAX {
            let (v4, v6) = match ethernet {
                Some(up) if session == 0 => up,
                Some(_) => (false, false),
                None => self
                    .firmware
                    .session(session.into())
                    .map_or((false, false), |active| (active.v4, active.v6)),
            };
            let had = self.routes.carries(session, 4) || self.routes.carries(session, 6);
            if (
                self.routes.carries(session, 4),
                self.routes.carries(session, 6),
            ) != (v4, v6)
            {
                self.routes.set(session, v4, v6);
                if !had {
                    self.ncm.session_up(session, v6, &self.knobs);
                }
            }
        }
    }

    /// Returns whether the Ethernet function carries nothing before a call is dialled.
    pub(super) fn dials(&self) -> bool {
        match self.knobs.dialling {
            Dialling::Usual => self.functions.data.is_some_and(|data| data.dials),
            Dialling::Wanted => true,
            Dialling::Needless => false,
        }
    }

    /// Returns whether the endpoints of the data function exist in the active alternate setting.
    pub(super) fn carries(&self) -> bool {
        let alternate = self.functions.data.map(|data| data.alternate);
        alternate == Some(self.ncm.alternate())
    }

    /// Returns whether the link of an Ethernet function carries IPv4, and IPv6. Where no call is
    /// needed, it is up while its endpoints exist.
    pub(super) fn link(&self) -> (bool, bool) {
        if !self.carries() || (self.dials() && self.knobs.dial == DialOutcome::NoCarrier) {
            return (false, false);
        }
        if !self.dials() {
            return (true, true);
        }
        let call = self.firmware.call();
        call.map_or((false, false), |session| (session.v4, session.v6))
    }

    /// Reports the state of the link to the host, when the endpoints of an Ethernet function
    /// appear.
    pub(super) fn announce_link(&mut self) {
        let Some(data) = self.functions.data.filter(|_| self.carries()) else {
            return;
        };
        let up = self.link() != (false, false);
        // `cdc_ether` takes a link to be up of which nothing was reported.
        if up || data.kind == NetworkKind::Ecm {
            self.ncm.announce_link(up);
        }
    }
}
