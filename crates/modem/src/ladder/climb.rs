//! Entering rungs, and what answers, indications and timeouts do on each.

use std::time::{Duration, Instant};

use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{
    self as bc, ActivationState, ConnectInfo, DeviceCaps, IpConfiguration, PacketServiceInfo,
    PacketServiceState, RadioState, RadioSwitchState, RegisterState, RegistrationState,
    SignalState, SubscriberReadyState, SubscriberReadyStatus,
};
use uwwan_mbim::session::Command;
use uwwan_mbim::status::{NwError, Status};

use super::{
    Action, Ask, Input, KEEPALIVE, Ladder, MOST_DETOURS, MOST_UNANSWERED, Outcome, UsbStep, ask,
    seconds,
};
use crate::event::{Event, Failure, Rung};
use crate::explain;
use crate::status::{DeviceIdentity, Network, Signal};

impl Ladder {
    pub(super) fn enter(&mut self, now: Instant, rung: Rung) {
        self.rung = rung;
        self.entered = now;
        self.expects = None;
        self.poll_at = None;
        self.deadline = None;
        self.tries = 0;
        self.actions
            .push_back(Action::Tell(Event::RungStarted { rung }));
        let usb = |step| Action::Usb(step);
        match rung {
            Rung::Found => self.actions.push_back(usb(UsbStep::Find)),
            Rung::Configuration => {
                let settle = self.options.settle.unwrap_or(self.quirk.settle);
                // A function that stayed mute gets a longer rest.
                let step = UsbStep::Switch {
                    settle: settle + Duration::from_secs(self.open_stage.into()),
                    always: self.quirk.recycle || self.open_stage > 0,
                };
                self.actions.push_back(usb(step));
            }
            Rung::Claim => self.actions.push_back(usb(UsbStep::Listen)),
            Rung::DataFunction => self.actions.push_back(usb(UsbStep::DataFunction)),
            Rung::Open => self.actions.push_back(Action::OpenSession {
                patience: self.open_patience(),
            }),
            Rung::Capabilities => self.ask(Ask::Capabilities),
            Rung::Sim => {
                self.sim_locked = false;
                self.deadline = Some(now + Duration::from_secs(40));
                self.ask(Ask::Subscriber);
            }
            Rung::Pin => {
                self.pin_entered = false;
                if self.sim_locked {
                    self.ask(Ask::PinState);
                } else {
                    self.done(now, "not asked for".into());
                }
            }
            Rung::Radio => {
                self.deadline = Some(now + Duration::from_secs(30));
                self.ask(Ask::RadioState);
            }
            Rung::Registration => {
                self.deadline = Some(now + Duration::from_secs(120));
                let command = ask::subscribe();
                self.push_command(Ask::Subscribe, command);
                self.ask(Ask::RegisterState);
            }
            Rung::PacketService => {
                self.deadline = Some(now + Duration::from_secs(60));
                self.ask(Ask::PacketService);
            }
            Rung::Signal => self.send(Ask::SignalReports, ask::signal_reports()),
            Rung::Connect => self.ask(Ask::ConnectState),
            Rung::IpConfiguration => {
                self.deadline = Some(now + Duration::from_secs(25));
                self.ask(Ask::IpConfiguration);
            }
            Rung::Host => {
                let addresses = self.facts.addresses.clone().unwrap_or_default();
                let config = self.host_config(&addresses);
                self.actions.push_back(Action::Host(config));
            }
            Rung::Online => {
                let addresses = self.facts.addresses.clone().unwrap_or_default();
                self.actions.push_back(Action::StartData(addresses));
            }
        }
    }

    /// How long OPEN may stay unanswered in this stage: two thirds of the budget, then, after the
    /// configuration was entered anew, one third; after a reset of the port, all of it.
    fn open_patience(&self) -> Duration {
        let budget = self.options.open_budget.unwrap_or(self.quirk.open_budget);
        match self.open_stage {
            0 => budget * 2 / 3,
            1 => budget / 3,
            _ => budget,
        }
    }

    pub(super) fn ask(&mut self, ask: Ask) {
        self.send(ask, ask.query());
    }

    pub(super) fn send(&mut self, ask: Ask, command: Command) {
        self.expects = Some(ask);
        self.push_command(ask, command);
    }

    fn push_command(&mut self, ask: Ask, command: Command) {
        self.actions.push_back(Action::Command {
            ask,
            command,
            timeout: ask.timeout(),
        });
    }

    pub(super) fn done(&mut self, now: Instant, detail: String) {
        let rung = self.rung;
        self.actions.push_back(Action::Tell(Event::RungDone {
            rung,
            seconds: now.duration_since(self.entered).as_secs_f64(),
            detail,
        }));
        let next = Rung::ALL.iter().copied().find(|next| *next > rung);
        match next {
            Some(next) => self.enter(now, next),
            None => self.top(now),
        }
    }

    fn top(&mut self, now: Instant) {
        self.online = true;
        self.expects = None;
        self.deadline = None;
        self.unanswered = 0;
        self.poll_at = Some(now + KEEPALIVE);
        let interface = self
            .facts
            .interface
            .as_ref()
            .map(|interface| interface.name.clone());
        self.actions.push_back(Action::Tell(Event::Online {
            interface: interface.unwrap_or_default(),
            seconds: now.duration_since(self.begun).as_secs_f64(),
        }));
    }

    pub(super) fn fail(&mut self, now: Instant, failure: Failure, from: Rung) {
        let after = now.duration_since(self.entered);
        self.active = false;
        self.online = false;
        self.expects = None;
        self.poll_at = None;
        self.deadline = None;
        self.actions.push_back(Action::Failed {
            failure,
            from,
            after,
        });
    }

    /// Back to an earlier rung in the same bring-up, unless that happens too often.
    pub(super) fn detour(&mut self, now: Instant, rung: Rung, failure: Failure) {
        self.detours += 1;
        if self.detours > MOST_DETOURS {
            return self.fail(now, failure, rung);
        }
        self.tell_notice(format!("{}; back to {rung}", failure.what));
        self.enter(now, rung);
    }

    fn lose(&mut self, from: Rung, why: String) {
        self.active = false;
        self.online = false;
        self.expects = None;
        self.poll_at = None;
        self.deadline = None;
        self.actions.push_back(Action::Lost { from, why });
    }

    pub(super) fn tell_notice(&mut self, text: String) {
        self.actions.push_back(Action::Tell(Event::Notice { text }));
    }

    /// A mandatory question without a usable answer: once more, then the session is opened anew.
    pub(super) fn unanswered_ask(&mut self, now: Instant, ask: Ask, outcome: Outcome) {
        self.tries += 1;
        if self.tries < 2 {
            return self.ask(ask);
        }
        let failure = match outcome {
            Outcome::Refused(why) => explain::bad_answer(self.rung, ask.name(), &why),
            _ => explain::no_answer(self.rung, ask.name(), seconds(ask.timeout())),
        };
        self.fail(now, failure, Rung::Found);
    }

    /// Takes what has happened.
    pub fn handle(&mut self, now: Instant, input: Input) {
        if !self.active {
            return;
        }
        match input {
            Input::Usb(result) => self.usb_ended(now, result),
            Input::Opened if self.rung == Rung::Open => self.done(now, String::new()),
            Input::OpenRefused(status) if self.rung == Rung::Open => {
                let failure = explain::status(Rung::Open, "MBIM_OPEN", status, None);
                self.fail(now, failure, Rung::Found);
            }
            Input::OpenMute if self.rung == Rung::Open => self.open_mute(now),
            Input::Answer(ask, outcome) => self.answer(now, ask, outcome),
            Input::Indication { id, info } => self.indication(now, id, &info),
            Input::Host(result) => match result {
                Ok(interface) => {
                    let detail = interface.name.clone();
                    self.facts.interface = Some(interface);
                    if self.online {
                        let addresses = self.facts.addresses.clone().unwrap_or_default();
                        self.actions.push_back(Action::StartData(addresses));
                    } else if self.rung == Rung::Host {
                        self.done(now, detail);
                    }
                }
                Err(error) => {
                    let failure = explain::failure(
                        Rung::Host,
                        true,
                        format!("{}: {}", error.what, error.why),
                        "the host does not allow it or something is in the way",
                        &error.next,
                    );
                    self.fail(now, failure, Rung::IpConfiguration);
                }
            },
            Input::Data(Ok(detail)) if self.rung == Rung::Online && !self.online => {
                self.done(now, detail)
            }
            Input::Data(Err(why)) => {
                let failure = explain::failure(
                    Rung::Online,
                    false,
                    format!("the data path does not start: {why}"),
                    "the USB backend or the host refuses transfers",
                    "look at the kernel log; lower --in-flight if memory is short",
                );
                self.fail(now, failure, Rung::Found);
            }
            Input::Suspicion if self.online && self.expects.is_none() => {
                self.ask(Ask::ConnectState)
            }
            Input::Lost { from, why } => self.lose(from, why),
            _ => {}
        }
    }

    fn usb_ended(&mut self, now: Instant, result: Result<super::UsbDone, super::UsbFailed>) {
        match result {
            Ok(done) => {
                if let Some(quirk) = done.quirk {
                    self.quirk = quirk;
                }
                if let Some(sizes) = done.sizes {
                    self.sizes = sizes;
                }
                if self.rung == Rung::Open {
                    // After the reset of the port everything begins again.
                    self.enter(now, Rung::Found);
                } else if self.rung <= Rung::DataFunction {
                    self.done(now, done.detail);
                }
            }
            Err(failed) if self.rung == Rung::Open => {
                tracing::debug!("port reset: {}", failed.failure.what);
                self.enter(now, Rung::Found);
            }
            Err(failed) => self.fail(now, failed.failure, Rung::Found),
        }
    }

    /// OPEN was not answered: the configuration is entered anew, then the port is reset, then it
    /// has failed.
    fn open_mute(&mut self, now: Instant) {
        let waited = seconds(self.open_patience());
        self.open_stage += 1;
        match self.open_stage {
            1 => {
                self.tell_notice(format!(
                    "no answer to MBIM_OPEN in {waited} s; leaving the configuration and entering it again through \
                     configuration 0"
                ));
                self.enter(now, Rung::Configuration);
            }
            2 => {
                self.tell_notice(format!(
                    "no answer to MBIM_OPEN in another {waited} s; resetting the port"
                ));
                self.actions.push_back(Action::Usb(UsbStep::ResetPort));
            }
            _ => {
                self.open_stage = 0;
                let failure = explain::failure(
                    Rung::Open,
                    false,
                    format!(
                        "MBIM_OPEN: no answer, neither after configuration 0 nor after a port reset ({waited} s)"
                    ),
                    "the firmware's MBIM function is mute, as after a direct switch between configurations, or it \
                     hangs",
                    "unplug the modem and plug it in again; if that cures it, try a longer --settle",
                );
                self.fail(now, failure, Rung::Found);
            }
        }
    }

    fn answer(&mut self, now: Instant, ask: Ask, outcome: Outcome) {
        if ask.is_background() {
            return self.background(ask, &outcome);
        }
        if self.expects != Some(ask) {
            return;
        }
        self.expects = None;
        match ask {
            Ask::Capabilities => self.capabilities(now, outcome),
            Ask::Subscriber => match outcome {
                Outcome::Done { status, info } => self.subscriber(now, status, &info),
                outcome => self.unanswered_ask(now, ask, outcome),
            },
            Ask::PinState => self.pin_state(now, outcome),
            Ask::PinEnter => self.pin_entered(now, outcome),
            Ask::RadioState | Ask::RadioOn => match outcome {
                Outcome::Done { status, info } => self.radio(now, ask, status, &info),
                outcome => self.unanswered_ask(now, Ask::RadioState, outcome),
            },
            Ask::RegisterState | Ask::Register => match outcome {
                Outcome::Done { status, info } => self.registration(now, ask, status, &info),
                // Registering may take longer than the command's patience.
                _ if ask == Ask::Register => self.poll_at = Some(now),
                outcome => self.unanswered_ask(now, ask, outcome),
            },
            Ask::PacketService | Ask::Attach => match outcome {
                Outcome::Done { status, info } => self.packet_service(now, ask, status, &info),
                outcome => self.unanswered_ask(now, Ask::PacketService, outcome),
            },
            Ask::SignalReports => {
                if let Outcome::Done { info, .. } = &outcome {
                    self.signal(info);
                }
                let detail = match self.facts.signal.and_then(|signal| signal.rssi_dbm) {
                    Some(dbm) => format!("{dbm} dBm"),
                    None => "not known".into(),
                };
                self.done(now, detail);
            }
            Ask::ConnectState if self.online => {
                if let Outcome::Done { info, .. } = &outcome
                    && let Ok(connect) = ConnectInfo::decode(info)
                {
                    self.connection_changed(&connect);
                }
            }
            Ask::ConnectState => self.connect_state(now, &outcome),
            Ask::Deactivate => self.activate_first(now),
            Ask::Activate => self.activated(now, outcome),
            Ask::IpConfiguration => self.ip_configuration(now, outcome),
            Ask::Subscribe | Ask::Signal => {}
        }
    }

    fn background(&mut self, ask: Ask, outcome: &Outcome) {
        match (ask, outcome) {
            (Ask::Signal, Outcome::Done { info, .. }) => {
                self.unanswered = 0;
                self.signal(info);
            }
            (Ask::Signal, _) if self.online => {
                self.unanswered += 1;
                if self.unanswered >= MOST_UNANSWERED {
                    self.lose(
                        Rung::Found,
                        format!("the control session is silent: {MOST_UNANSWERED} questions unanswered in a row"),
                    );
                }
            }
            (_, Outcome::Done { status, .. }) if status.is_success() => {}
            (_, _) => tracing::debug!("{}: no success, which nothing depends on", ask.name()),
        }
    }

    fn capabilities(&mut self, now: Instant, outcome: Outcome) {
        let caps = match outcome {
            Outcome::Done { status, info } if status.is_success() => DeviceCaps::decode(&info).ok(),
            Outcome::Done { status, .. } if status == Status::NO_DEVICE_SUPPORT => None,
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

    fn subscriber(&mut self, now: Instant, status: Status, info: &[u8]) {
        let Ok(subscriber) = SubscriberReadyStatus::decode(info) else {
            if matches!(status, Status::NOT_INITIALIZED | Status::BUSY) {
                self.poll_at = Some(now + Duration::from_secs(1));
                return;
            }
            let failure = explain::status(self.rung, Ask::Subscriber.name(), status, None);
            return self.fail(now, failure, Rung::Sim);
        };
        if !subscriber.sim_icc_id.is_empty() {
            self.sim_id.clone_from(&subscriber.sim_icc_id);
        }
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
            SubscriberReadyState::DEVICE_LOCKED => {
                self.sim_locked = true;
                self.done(now, "locked".into());
            }
            SubscriberReadyState::NOT_INITIALIZED => {
                self.poll_at = Some(now + Duration::from_secs(1))
            }
            SubscriberReadyState::SIM_NOT_INSERTED => {
                // Some firmware says so until it has looked.
                self.tries += 1;
                if self.tries < 4 {
                    self.poll_at = Some(now + Duration::from_secs(2));
                } else {
                    let failure =
                        explain::status(self.rung, "the SIM", Status::SIM_NOT_INSERTED, None);
                    self.fail(now, failure, Rung::Sim);
                }
            }
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

    fn radio(&mut self, now: Instant, ask: Ask, status: Status, info: &[u8]) {
        let Ok(radio) = RadioState::decode(info) else {
            let failure = explain::status(Rung::Radio, ask.name(), status, None);
            return self.fail(now, failure, Rung::Radio);
        };
        if radio.hw_radio_state == RadioSwitchState::OFF {
            let failure = explain::failure(
                Rung::Radio,
                false,
                "the radio is switched off by hardware".into(),
                "the laptop's wireless switch or airplane key is on, or the slot's W_DISABLE line is low",
                "switch it on; it is noticed by itself",
            );
            return self.fail(now, failure, Rung::Radio);
        }
        if radio.sw_radio_state == RadioSwitchState::ON {
            return self.done(now, "on".into());
        }
        if ask == Ask::RadioOn {
            if status.is_success() {
                self.poll_at = Some(now + Duration::from_secs(1));
            } else {
                let failure = explain::status(Rung::Radio, ask.name(), status, None);
                self.fail(now, failure, Rung::Radio);
            }
            return;
        }
        self.send(Ask::RadioOn, ask::radio_on());
    }

    fn registration(&mut self, now: Instant, ask: Ask, status: Status, info: &[u8]) {
        let Ok(state) = RegistrationState::decode(info) else {
            if status.is_success() || status == Status::FAILURE || status == Status::BUSY {
                self.poll_at = Some(now + Duration::from_secs(5));
                return;
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
                    .unwrap_or(NwError(11));
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
            _ => self.poll_at = Some(now + Duration::from_secs(5)),
        }
    }

    fn note_network(&mut self, state: &RegistrationState) {
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

    fn network_detail(&self) -> String {
        let network = self.facts.network.clone().unwrap_or_default();
        let name = [&network.provider, &network.provider_id]
            .into_iter()
            .find(|name| !name.is_empty());
        match name {
            Some(name) => format!("{name}, {}", network.state),
            None => network.state,
        }
    }

    fn packet_service(&mut self, now: Instant, ask: Ask, status: Status, info: &[u8]) {
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
                self.poll_at = Some(now + Duration::from_secs(3))
            }
            (_, Ask::Attach) if !status.is_success() => {
                let cause = packet.map(|packet| packet.nw_error);
                let failure = explain::status(Rung::PacketService, ask.name(), status, cause);
                if status == Status::NOT_REGISTERED {
                    self.detour(now, Rung::Registration, failure);
                } else {
                    self.fail(now, failure, Rung::Registration);
                }
            }
            (_, Ask::Attach) => self.poll_at = Some(now + Duration::from_secs(3)),
            _ if self.tries == 0 => {
                self.tries += 1;
                self.send(Ask::Attach, ask::attach());
            }
            _ => self.poll_at = Some(now + Duration::from_secs(3)),
        }
    }

    fn signal(&mut self, info: &[u8]) {
        let Ok(signal) = SignalState::decode(info) else {
            return;
        };
        // 0 to 31 in steps of 2 dB from -113 dBm; 99 when not known (MBIM 1.0 section 10.5.14).
        self.facts.signal = Some(Signal {
            rssi_dbm: (signal.rssi <= 31).then(|| -113 + 2 * signal.rssi as i32),
            error_rate: (signal.error_rate <= 7).then_some(signal.error_rate),
        });
    }

    fn indication(&mut self, now: Instant, id: CidId, info: &[u8]) {
        // An indication answers the question a rung is waiting with; the poll is then not needed.
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
        } else if id == bc::CONNECT {
            if let Ok(connect) = ConnectInfo::decode(info)
                && connect.session_id == 0
            {
                if self.online {
                    self.connection_changed(&connect);
                } else if waiting && self.rung == Rung::Connect {
                    self.connect_info(now, &connect);
                } else if self.rung > Rung::Connect
                    && connect.activation_state == ActivationState::DEACTIVATED
                {
                    let failure = explain::status(
                        Rung::Connect,
                        "CONNECT",
                        Status::FAILURE,
                        Some(connect.nw_error),
                    );
                    self.detour(now, Rung::PacketService, failure);
                }
            }
        } else if id == bc::IP_CONFIGURATION
            && let Ok(configuration) = IpConfiguration::decode(info)
            && configuration.session_id == 0
            && (self.online || (waiting && self.rung == Rung::IpConfiguration))
        {
            self.poll_at = if self.online { self.poll_at } else { None };
            self.ip_given(now, &configuration);
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

    fn connection_changed(&mut self, connect: &ConnectInfo) {
        if connect.activation_state != ActivationState::DEACTIVATED {
            return;
        }
        let mut why = String::from("the network has ended the session");
        if connect.nw_error.0 != 0 {
            why.push_str(&format!(
                ": {} ({})",
                connect.nw_error,
                connect.nw_error.explanation()
            ));
        }
        self.lose(Rung::Registration, why);
    }

    /// The time of [`Ladder::poll_timeout`] has come.
    pub fn timeout(&mut self, now: Instant) {
        if !self.active {
            return;
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            self.deadline = None;
            return self.rung_timeout(now);
        }
        if self.poll_at.is_none_or(|at| now < at) {
            return;
        }
        self.poll_at = None;
        match self.rung {
            Rung::Sim | Rung::Pin => self.ask(Ask::Subscriber),
            Rung::Radio => self.ask(Ask::RadioState),
            Rung::Registration => self.ask(Ask::RegisterState),
            Rung::PacketService => self.ask(Ask::PacketService),
            Rung::IpConfiguration => self.ask(Ask::IpConfiguration),
            Rung::Online if self.online => {
                self.poll_at = Some(now + KEEPALIVE);
                self.push_command(Ask::Signal, Ask::Signal.query());
            }
            _ => {}
        }
    }

    fn rung_timeout(&mut self, now: Instant) {
        let waited = seconds(now.duration_since(self.entered));
        let (what, cause, next, from) = match self.rung {
            Rung::Sim | Rung::Pin => (
                format!("the SIM did not become ready in {waited} s"),
                "the SIM does not answer the modem, or the modem is still starting",
                "take the SIM out and put it back; try it in a phone",
                Rung::Sim,
            ),
            Rung::Radio => (
                format!("the radio did not come on in {waited} s"),
                "the firmware does not follow; some modems stay off until unlocked for their laptop (FCC lock)",
                "look for the modem in ModemManager's list of FCC unlock procedures",
                Rung::Radio,
            ),
            Rung::Registration => (
                format!("no network in {waited} s ({})", self.network_detail()),
                "no coverage, no antenna, or no network that takes this SIM",
                "check the antenna; look around with `uwwan operator scan`",
                Rung::Radio,
            ),
            Rung::PacketService => (
                format!("not attached to the packet service in {waited} s"),
                "the network does not take the modem's data, often for want of coverage",
                "nothing: it is tried again; else ask the operator",
                Rung::Registration,
            ),
            Rung::Connect => (
                format!("CONNECT: not activated in {waited} s"),
                "the network does not answer",
                "nothing: it is tried again",
                Rung::Connect,
            ),
            Rung::IpConfiguration => (
                format!("no address in {waited} s"),
                "the network activated the session without giving an address",
                "try another --ip-type; check --apn with the operator",
                Rung::Connect,
            ),
            _ => return,
        };
        let failure = explain::failure(self.rung, false, what, cause, next);
        self.fail(now, failure, from);
    }
}
