//! Handling of indications: those that a rung waits for, and changes while online.

use std::time::Instant;

use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{
    self as bc, PacketServiceInfo, PacketServiceState, RadioState, RadioSwitchState, RegisterState,
    RegistrationState, SubscriberReadyState, SubscriberReadyStatus,
};
use uwwan_mbim::status::Status;

use super::{Ask, Ladder};
use crate::failure::Rung;

impl Ladder {
    pub(super) fn indication(&mut self, now: Instant, id: CidId, info: &[u8]) {
        // An indication replaces the answer to the query that a rung repeats, so the next query is
        // not needed.
        let waiting = self.expects.is_none() && !self.online;
        if id == bc::SIGNAL_STATE {
            self.signal(info);
        } else if id == bc::SUBSCRIBER_READY_STATUS {
            if waiting && matches!(self.rung, Rung::Sim | Rung::Pin) {
                self.poll_at = None;
                self.subscriber(now, Status::NONE, info);
            } else if self.online {
                self.sim_changed(info);
            }
        } else if id == bc::RADIO_STATE {
            if waiting && self.rung == Rung::Radio {
                self.poll_at = None;
                self.radio(now, Ask::RadioState, Status::NONE, info);
            } else if self.online
                && RadioState::decode(info).is_ok_and(|radio| {
                    radio.hw_radio_state == RadioSwitchState::OFF
                        || radio.sw_radio_state == RadioSwitchState::OFF
                })
            {
                self.lose(Rung::Radio, "the radio was switched off".into());
            }
        } else if id == bc::REGISTER_STATE {
            if waiting && self.rung == Rung::Registration {
                self.poll_at = None;
                self.registration(now, Ask::RegisterState, Status::NONE, info);
            } else if let Ok(state) = RegistrationState::decode(info) {
                self.registration_changed(&state);
            }
        } else if id == bc::PACKET_SERVICE {
            if waiting && self.rung == Rung::PacketService {
                self.poll_at = None;
                self.packet_service(now, Ask::PacketService, Status::NONE, info);
            } else if let Ok(packet) = PacketServiceInfo::decode(info) {
                self.packet_service_changed(&packet);
            }
        }
    }

    fn sim_changed(&mut self, info: &[u8]) {
        let Ok(subscriber) = SubscriberReadyStatus::decode(info) else {
            return;
        };
        let ready = matches!(
            subscriber.ready_state,
            SubscriberReadyState::INITIALIZED | SubscriberReadyState::NOT_ACTIVATED
        );
        if !ready {
            self.lose(
                Rung::Sim,
                format!("the SIM is in state {}", subscriber.ready_state),
            );
        }
    }

    fn registration_changed(&mut self, state: &RegistrationState) {
        let before = self
            .facts
            .network
            .as_ref()
            .map(|network| network.state.clone());
        self.note_network(state);
        let after = self.network_detail();
        if !self.online
            || before.as_deref()
                == self
                    .facts
                    .network
                    .as_ref()
                    .map(|network| network.state.as_str())
        {
            return;
        }
        if state.register_state == RegisterState::ROAMING && !self.options.roaming {
            self.lose(Rung::Registration, format!("the modem now roams: {after}"));
        } else {
            self.tell_notice(format!("registration: {after}"));
        }
    }

    fn packet_service_changed(&mut self, packet: &PacketServiceInfo) {
        let network = self.facts.network.get_or_insert_default();
        network.uplink_bits = packet.uplink_speed;
        network.downlink_bits = packet.downlink_speed;
        let detached = packet.packet_service_state == PacketServiceState::DETACHED;
        if self.online && detached {
            self.lose(
                Rung::Registration,
                "the network has detached the modem".into(),
            );
        }
    }
}
