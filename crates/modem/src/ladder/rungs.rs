//! Handling of answers on the rungs from the device's capabilities to the packet service.

use std::time::{Duration, Instant};

use uwwan_mbim::services::basic_connect::{
    DeviceCaps, PacketServiceInfo, PacketServiceState, RadioState, RadioSwitchState, RegisterState,
    RegistrationState, SignalState, SubscriberReadyState, SubscriberReadyStatus,
};
use uwwan_mbim::status::{NwError, Status};

use super::{
    Ask, Ladder, Outcome, PATIENCE, PAUSE, REGISTRATION_PATIENCE, STARTING, SWITCH_PATIENCE, ask,
    passes,
};
use crate::explain;
use crate::failure::{Failure, Rung};
use crate::status::{DeviceIdentity, Network, Signal};

/// Number of times the radio is switched on before it counts as not following.
const FOLLOWS: u32 = 3;
/// Pause before the registration is queried again.
const NETWORK_PAUSE: Duration = Duration::from_secs(5);
/// Pause before the packet service is queried again.
const ATTACH_PAUSE: Duration = Duration::from_secs(3);

impl Ladder {
    pub(super) fn capabilities(&mut self, now: Instant, outcome: Outcome) {
        let caps = match outcome {
            Outcome::Done { status, info } if status.is_success() => DeviceCaps::decode(&info).ok(),
            Outcome::Done { status, .. } if status == Status::NO_DEVICE_SUPPORT => None,
            Outcome::Done { status, .. }
                if passes(status) && now.duration_since(self.entered) < PATIENCE =>
            {
                let failure = explain::status(self.rung, Ask::Capabilities.name(), status, None);
                return self.wait(now, PATIENCE + PAUSE, STARTING, failure, Rung::Found);
            }
            outcome if self.tries == 0 => {
                return self.unanswered_ask(now, Ask::Capabilities, outcome);
            }
            _ => None,
        };
        let detail = match caps {
            Some(caps) => {
                let trim = |text: &str| text.trim_end_matches(['\0', ' ']).to_owned();
                let identity = DeviceIdentity {
                    firmware: trim(&caps.firmware_info),
                    hardware: trim(&caps.hardware_info),
                    max_sessions: caps.max_sessions,
                };
                let detail = format!("{}, firmware {}", identity.hardware, identity.firmware);
                self.facts.identity = Some(identity);
                detail
            }
            None => "the device does not tell".into(),
        };
        self.done(now, detail);
    }

    pub(super) fn subscriber(&mut self, now: Instant, status: Status, info: &[u8]) {
        let decoded = SubscriberReadyStatus::decode(info).ok();
        if let Some(subscriber) = &decoded
            && !subscriber.sim_icc_id.is_empty()
        {
            self.sim_id.clone_from(&subscriber.sim_icc_id);
        }
        // Some firmware refuses the query until PIN1 is entered (VZ20M; ModemManager).
        if status == Status::PIN_REQUIRED {
            return self.subscriber_locked(now);
        }
        if status == Status::SIM_NOT_INSERTED {
            return self.sim_missing(now);
        }
        // The content of a refusal may be all zeros, which would decode as the first of the states.
        let told = |subscriber: &SubscriberReadyStatus| {
            status.is_success() || subscriber.ready_state != SubscriberReadyState::NOT_INITIALIZED
        };
        let Some(subscriber) = decoded.filter(told) else {
            let failure = explain::status(self.rung, Ask::Subscriber.name(), status, None);
            if passes(status) {
                return self.wait(now, PATIENCE, STARTING, failure, Rung::Sim);
            }
            return self.fail(now, failure, Rung::Sim);
        };
        let state = subscriber.ready_state;
        if self.rung == Rung::Pin {
            match state {
                SubscriberReadyState::INITIALIZED => return self.ready_after_pin(now),
                SubscriberReadyState::NOT_INITIALIZED | SubscriberReadyState::DEVICE_LOCKED => {
                    self.poll_at = Some(now + Duration::from_secs(1));
                    return;
                }
                _ => {}
            }
        }
        match state {
            SubscriberReadyState::INITIALIZED => self.done(now, "ready".into()),
            SubscriberReadyState::DEVICE_LOCKED => self.subscriber_locked(now),
            SubscriberReadyState::NOT_INITIALIZED => {
                let failure = self.sim_not_ready(now);
                self.wait(
                    now,
                    PATIENCE,
                    "the SIM, which is starting",
                    failure,
                    Rung::Sim,
                );
            }
            SubscriberReadyState::SIM_NOT_INSERTED => self.sim_missing(now),
            SubscriberReadyState::NOT_ACTIVATED => {
                let failure =
                    explain::status(self.rung, "the SIM", Status::SERVICE_NOT_ACTIVATED, None);
                self.fail(now, failure, Rung::Sim);
            }
            other => {
                let mut failure = explain::status(self.rung, "the SIM", Status::BAD_SIM, None);
                failure.what = format!("the SIM is in state {other}");
                self.fail(now, failure, Rung::Sim);
            }
        }
    }

    /// Reaches the rung with a SIM that waits for its PIN.
    fn subscriber_locked(&mut self, now: Instant) {
        if self.rung == Rung::Pin {
            // The SIM has accepted its PIN, and the firmware has not noticed yet.
            self.poll_at = Some(now + PAUSE);
            return;
        }
        self.sim_locked = true;
        self.done(now, "locked".into());
    }

    /// Returns the failure of a SIM that does not become ready.
    pub(super) fn sim_not_ready(&self, now: Instant) -> Failure {
        let waited = now.duration_since(self.entered).as_secs();
        explain::failure(
            self.rung,
            false,
            format!("the SIM did not become ready in {waited} s"),
            "the SIM does not answer the modem, or the modem is still starting",
            "take the SIM out and put it back; try it in a phone",
        )
    }

    pub(super) fn radio(&mut self, now: Instant, ask: Ask, status: Status, info: &[u8]) {
        // The content of a refusal may be all zeros, which would decode as a switch that is off.
        let told = |radio: &RadioState| status.is_success() || *radio != RadioState::default();
        let Some(radio) = RadioState::decode(info).ok().filter(told) else {
            let failure = explain::status(Rung::Radio, ask.name(), status, None);
            if passes(status) {
                return self.wait(now, PATIENCE, STARTING, failure, Rung::Radio);
            }
            if ask == Ask::RadioOn && !status.is_success() {
                self.radio_refusal = Some(failure);
                return self.suspect_lock(now);
            }
            return self.fail(now, failure, Rung::Radio);
        };
        if radio.hw_radio_state == RadioSwitchState::OFF {
            let failure = explain::failure(
                Rung::Radio,
                false,
                "the radio is switched off by hardware".into(),
                "the laptop's wireless switch or airplane key is on, or the slot's W_DISABLE line is low",
                "switch it on",
            );
            let text = "the radio switch of the machine, which is off";
            return self.wait(now, SWITCH_PATIENCE, text, failure, Rung::Radio);
        }
        if radio.sw_radio_state == RadioSwitchState::ON {
            return self.done(now, "on".into());
        }
        if ask == Ask::RadioOn {
            self.tries += 1;
            let refusal = || explain::status(Rung::Radio, ask.name(), status, None);
            if passes(status) {
                return self.wait(now, PATIENCE, STARTING, refusal(), Rung::Radio);
            }
            if status.is_success() && self.tries < FOLLOWS {
                self.poll_at = Some(now + PAUSE);
                return;
            }
            self.radio_refusal = (!status.is_success()).then(refusal);
            return self.suspect_lock(now);
        }
        self.send(Ask::RadioOn, ask::radio_on());
    }

    pub(super) fn registration(&mut self, now: Instant, ask: Ask, status: Status, info: &[u8]) {
        if ask == Ask::Register && passes(status) {
            // The modem has not taken the command, so this is no attempt.
            self.tries = 0;
        }
        let Ok(state) = RegistrationState::decode(info) else {
            if status == Status::NO_DEVICE_SUPPORT && ask == Ask::RegisterState {
                return self.done(now, "the modem does not tell".into());
            }
            // A modem that takes no command to register does so by itself.
            if status.is_success()
                || passes(status)
                || matches!(status, Status::FAILURE | Status::NO_DEVICE_SUPPORT)
            {
                return self.wait_for_network(now);
            }
            let failure = explain::status(Rung::Registration, ask.name(), status, None);
            return self.fail(now, failure, Rung::Radio);
        };
        self.note_network(&state);
        let refused = state.nw_error.0 != 0;
        match state.register_state {
            RegisterState::HOME | RegisterState::PARTNER => {
                let detail = self.network_detail();
                self.done(now, detail);
            }
            RegisterState::ROAMING if self.options.roaming => {
                let detail = self.network_detail();
                self.done(now, detail);
            }
            RegisterState::ROAMING => {
                let failure = explain::failure(
                    Rung::Registration,
                    true,
                    format!("registered abroad: {}", self.network_detail()),
                    "roaming may cost money and is not allowed",
                    "allow it with --roaming",
                );
                self.fail(now, failure, Rung::Registration);
            }
            RegisterState::DENIED => {
                let cause = Some(state.nw_error)
                    .filter(|_| refused)
                    .unwrap_or(NwError::PLMN_NOT_ALLOWED);
                let mut failure = explain::status(
                    Rung::Registration,
                    "registration",
                    Status::FAILURE,
                    Some(cause),
                );
                failure.what = if refused {
                    format!("registration denied: {} ({})", cause, cause.explanation())
                } else {
                    "registration denied by the network".into()
                };
                self.fail(now, failure, Rung::Registration);
            }
            RegisterState::DEREGISTERED if ask == Ask::RegisterState && self.tries == 0 => {
                self.tries += 1;
                self.send(Ask::Register, ask::register());
            }
            _ => self.wait_for_network(now),
        }
    }

    fn wait_for_network(&mut self, now: Instant) {
        let state = self.network_detail();
        let text = match state.as_str() {
            "" => "a network".to_owned(),
            state => format!("a network ({state})"),
        };
        self.tell_waiting(now, REGISTRATION_PATIENCE, text);
        self.poll_at = Some(now + NETWORK_PAUSE);
    }

    pub(super) fn note_network(&mut self, state: &RegistrationState) {
        let trim = |text: &str| text.trim_end_matches(['\0', ' ']).to_owned();
        let rates = self
            .facts
            .network
            .as_ref()
            .map(|network| (network.uplink_bits, network.downlink_bits));
        let (uplink_bits, downlink_bits) = rates.unwrap_or_default();
        self.facts.network = Some(Network {
            state: state.register_state.to_string(),
            provider_id: trim(&state.provider_id),
            provider: trim(&state.provider_name),
            data_classes: state.available_data_classes.to_string(),
            uplink_bits,
            downlink_bits,
        });
    }

    pub(super) fn network_detail(&self) -> String {
        let network = self.facts.network.clone().unwrap_or_default();
        let name = [&network.provider, &network.provider_id]
            .into_iter()
            .find(|name| !name.is_empty());
        match name {
            Some(name) => format!("{name}, {}", network.state),
            None => network.state,
        }
    }

    pub(super) fn packet_service(&mut self, now: Instant, ask: Ask, status: Status, info: &[u8]) {
        let packet = PacketServiceInfo::decode(info).ok();
        if let Some(packet) = &packet {
            let network = self.facts.network.get_or_insert_default();
            network.uplink_bits = packet.uplink_speed;
            network.downlink_bits = packet.downlink_speed;
        }
        let state = packet.as_ref().map(|packet| packet.packet_service_state);
        match (state, ask) {
            (Some(PacketServiceState::ATTACHED), _) => {
                let detail = packet.map(|packet| packet.highest_available_data_class.to_string());
                self.done(now, detail.unwrap_or_default());
            }
            (Some(PacketServiceState::ATTACHING), _) => {
                self.wait_for_attachment(now);
            }
            // A modem without this command attaches by itself.
            _ if status == Status::NO_DEVICE_SUPPORT => {
                self.done(now, "the modem attaches by itself".into());
            }
            _ if passes(status) => {
                self.tries = 0;
                self.wait_for_attachment(now);
            }
            (_, Ask::Attach) if !status.is_success() => {
                let cause = packet.map(|packet| packet.nw_error);
                let failure = explain::status(Rung::PacketService, ask.name(), status, cause);
                if status == Status::NOT_REGISTERED {
                    let after = now.duration_since(self.entered);
                    self.detour(now, Rung::Registration, failure, after);
                } else {
                    self.fail(now, failure, Rung::Registration);
                }
            }
            (_, Ask::Attach) => self.wait_for_attachment(now),
            _ if self.tries == 0 => {
                self.tries += 1;
                self.send(Ask::Attach, ask::attach());
            }
            _ => self.wait_for_attachment(now),
        }
    }

    fn wait_for_attachment(&mut self, now: Instant) {
        self.tell_waiting(now, PATIENCE, "the packet service".into());
        self.poll_at = Some(now + ATTACH_PAUSE);
    }

    pub(super) fn signal(&mut self, info: &[u8]) {
        let Ok(signal) = SignalState::decode(info) else {
            return;
        };
        // The signal strength is coded as 0 to 31 in steps of 2 dB from -113 dBm, and as 99 when
        // not known (MBIM 1.0 section 10.5.14).
        self.facts.signal = Some(Signal {
            rssi_dbm: (signal.rssi <= 31).then(|| -113 + 2 * signal.rssi as i32),
            error_rate: (signal.error_rate <= 7).then_some(signal.error_rate),
        });
    }
}
