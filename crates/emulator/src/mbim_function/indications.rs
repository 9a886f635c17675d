//! Indications: who wants which, and what they say.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uwwan_mbim::fields::Layout;
use uwwan_mbim::services::basic_connect as basic;
use uwwan_mbim::services::basic_connect::DeviceServiceSubscribeList;
use uwwan_mbim::services::sms;
use uwwan_mbim::uuid::Uuid;

use super::{MbimContext, commands};
use crate::firmware::Change;
use crate::knobs::Knobs;

/// The host's subscriptions and the timers of periodic indications.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    /// Commands by service; empty is all of the service.
    wanted: BTreeMap<[u8; 16], Vec<u32>>,
    /// Time between signal indications as the host set it.
    pub interval: Duration,
    /// As the host set them.
    pub thresholds: (u32, u32),
    next_signal: Instant,
    next_storm: Instant,
    storming: bool,
}

impl Subscriptions {
    /// As after OPEN: everything standard.
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

    /// Replaces the whole list.
    pub fn replace(&mut self, list: &DeviceServiceSubscribeList) {
        self.wanted = list
            .events
            .iter()
            .map(|event| (event.device_service_id.0, event.cids.clone()))
            .collect();
    }

    /// Whether the host wants to hear of it.
    pub fn wants(&self, service: Uuid, cid: u32) -> bool {
        self.wanted
            .get(&service.0)
            .is_some_and(|cids| cids.is_empty() || cids.contains(&cid))
    }

    fn wants_signal(&self) -> bool {
        !self.interval.is_zero() && self.wants(basic::UUID, basic::SIGNAL_STATE.cid)
    }

    /// When the next periodic indication is due.
    pub fn deadline(&self) -> Option<Instant> {
        let signal = self.wants_signal().then_some(self.next_signal);
        let storm = self.storming.then_some(self.next_storm);
        [signal, storm].into_iter().flatten().min()
    }

    /// Periodic indications due: (command, information buffer).
    pub fn periodic(&mut self, context: &MbimContext<'_>) -> Vec<(u32, Vec<u8>)> {
        let now = context.now;
        let mut due = Vec::new();
        let signal = || {
            (
                basic::SIGNAL_STATE.cid,
                commands::signal_state(context).encode_info(),
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

/// The indication of a change.
pub(super) fn of(change: Change, context: &MbimContext<'_>) -> Option<(u32, Vec<u8>)> {
    Some(match change {
        Change::Ready => (
            basic::SUBSCRIBER_READY_STATUS.cid,
            commands::ready_status(context).encode_info(),
        ),
        Change::Radio => (
            basic::RADIO_STATE.cid,
            commands::radio_state(context).encode_info(),
        ),
        Change::Register => (
            basic::REGISTER_STATE.cid,
            commands::registration(context).encode_info(),
        ),
        Change::Packet => (
            basic::PACKET_SERVICE.cid,
            commands::packet_service(context).encode_info(),
        ),
        Change::Connect(session) => (
            basic::CONNECT.cid,
            commands::connection(session, context).encode_info(),
        ),
        Change::Addresses(session) => (
            basic::IP_CONFIGURATION.cid,
            commands::ip_configuration(session, context)?.encode_info(),
        ),
        Change::Dial => return None,
    })
}
