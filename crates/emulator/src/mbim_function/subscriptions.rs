//! Indications: those that the host wants, and their content.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uwwan_mbim::fields::Layout;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect as basic;
use uwwan_mbim::services::basic_connect::DeviceServiceSubscribeList;
use uwwan_mbim::services::sms;

use super::context::MbimContext;
use super::state;
use crate::firmware::Change;
use crate::knobs::Knobs;

/// Subscriptions of the host and the timers of periodic indications.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    /// Numbers of commands by the UUID of their service; an empty list means all of the service.
    wanted: BTreeMap<[u8; 16], Vec<u32>>,
    /// Time between signal indications, as the host set it.
    pub interval: Duration,
    /// Thresholds of signal strength and error rate, as the host set them.
    pub thresholds: (u32, u32),
    next_signal: Instant,
    next_storm: Instant,
    storming: bool,
}

impl Subscriptions {
    /// Returns the state after OPEN, with the standard subscriptions.
    pub fn new(knobs: &Knobs, now: Instant) -> Self {
        Self {
            wanted: BTreeMap::from([(basic::UUID.0, Vec::new()), (sms::UUID.0, Vec::new())]),
            interval: Duration::from_millis(knobs.signal_interval_ms),
            thresholds: (0, 0),
            next_signal: now + Duration::from_millis(knobs.signal_interval_ms),
            next_storm: now,
            storming: knobs.indication_storm_hz != 0,
        }
    }

    /// Replaces the list of subscriptions.
    pub fn replace(&mut self, list: &DeviceServiceSubscribeList) {
        self.wanted = list
            .events
            .iter()
            .map(|event| (event.device_service_id.0, event.cids.clone()))
            .collect();
    }

    /// Returns whether the host wants indications of that command.
    pub fn wants(&self, id: CidId) -> bool {
        self.wanted
            .get(&id.service.0)
            .is_some_and(|cids| cids.is_empty() || cids.contains(&id.cid))
    }

    fn wants_signal(&self) -> bool {
        !self.interval.is_zero() && self.wants(basic::SIGNAL_STATE)
    }

    /// Returns when the next periodic indication is due.
    pub fn deadline(&self) -> Option<Instant> {
        let signal = self.wants_signal().then_some(self.next_signal);
        let storm = self.storming.then_some(self.next_storm);
        [signal, storm].into_iter().flatten().min()
    }

    /// Returns the periodic indications that are due, each with its command and information buffer.
    pub fn periodic(&mut self, context: &MbimContext<'_>) -> Vec<(CidId, Vec<u8>)> {
        let now = context.now;
        let mut due = Vec::new();
        let signal = || {
            (
                basic::SIGNAL_STATE,
                state::signal_state(context).encode_info(),
            )
        };
        if self.wants_signal() && self.next_signal <= now {
            self.next_signal = now + self.interval;
            if context.firmware.registered().is_on() {
                due.push(signal());
            }
        }
        self.storming = context.knobs.indication_storm_hz != 0;
        if self.storming {
            let period = Duration::from_secs(1) / u32::from(context.knobs.indication_storm_hz);
            let mut count = 0;
            while self.next_storm <= now && count < 256 {
                self.next_storm += period;
                count += 1;
                due.push(signal());
            }
            if self.next_storm <= now {
                self.next_storm = now + period;
            }
        }
        due
    }
}

/// Returns the indication of a change, with its command and information buffer. Returns `None` when
/// MBIM has none.
pub(super) fn of(change: Change, context: &MbimContext<'_>) -> Option<(CidId, Vec<u8>)> {
    Some(match change {
        Change::Ready => (
            basic::SUBSCRIBER_READY_STATUS,
            state::ready_status(context).encode_info(),
        ),
        Change::Radio => (
            basic::RADIO_STATE,
            state::radio_state(context).encode_info(),
        ),
        Change::Register => (
            basic::REGISTER_STATE,
            state::registration(context).encode_info(),
        ),
        Change::Packet => (
            basic::PACKET_SERVICE,
            state::packet_service(context).encode_info(),
        ),
        Change::Connect(session) => (
            basic::CONNECT,
            state::connection(session, context).encode_info(),
        ),
        Change::Addresses(session) => (
            basic::IP_CONFIGURATION,
            state::ip_configuration(session, context)
                .ok()?
                .encode_info(),
        ),
        Change::Message(place) => (
            sms::MESSAGE_STORE_STATUS,
            state::store_status(Some(place), context).encode_info(),
        ),
        Change::Call(_) => return None,
    })
}
