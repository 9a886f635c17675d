//! Transcripts of the ladder's commands and events with modems that behave in different ways.

use std::collections::HashMap;

use uwwan_mbim::services::basic_connect::{
    self as bc, DataClass, DeviceCaps, PacketServiceInfo, PacketServiceState, PinInfo, PinState,
    PinType, RadioState, RadioSwitchState, RegisterState, RegistrationState, SignalState,
    SubscriberReadyState, SubscriberReadyStatus,
};
use uwwan_mbim::status::NwError;

use super::*;
use crate::options::Secret;
use crate::quirks;

mod ethernet;
mod lock;
mod losses;
mod transcripts;

/// Input that OPEN of an MBIM function was not answered.
const MUTE: Input = Input::OpenMute { dialled: false };

fn good(info: Vec<u8>) -> Outcome {
    Outcome::Done {
        status: Status::NONE,
        info,
    }
}

fn status(status: Status, info: Vec<u8>) -> Outcome {
    Outcome::Done { status, info }
}

fn subscriber(state: SubscriberReadyState) -> Vec<u8> {
    SubscriberReadyStatus {
        ready_state: state,
        sim_icc_id: "8947000000000000001".into(),
        ..SubscriberReadyStatus::default()
    }
    .encode()
}

fn missing() -> Outcome {
    let info = SubscriberReadyStatus {
        ready_state: SubscriberReadyState::SIM_NOT_INSERTED,
        ..SubscriberReadyStatus::default()
    };
    good(info.encode())
}

fn pin(state: PinState, kind: PinType, remaining: u32) -> Vec<u8> {
    PinInfo {
        pin_type: kind,
        pin_state: state,
        remaining_attempts: remaining,
    }
    .encode()
}

fn radio(hardware: RadioSwitchState, software: RadioSwitchState) -> Vec<u8> {
    RadioState {
        hw_radio_state: hardware,
        sw_radio_state: software,
    }
    .encode()
}

fn registered(state: RegisterState, cause: NwError) -> Vec<u8> {
    RegistrationState {
        nw_error: cause,
        register_state: state,
        provider_id: "24201".into(),
        provider_name: "Telenor".into(),
        available_data_classes: DataClass::LTE,
        ..RegistrationState::default()
    }
    .encode()
}

fn packet(state: PacketServiceState) -> Vec<u8> {
    PacketServiceInfo {
        packet_service_state: state,
        highest_available_data_class: DataClass::LTE,
        uplink_speed: 50_000_000,
        downlink_speed: 150_000_000,
        ..PacketServiceInfo::default()
    }
    .encode()
}

/// Modem that answers as the script says, and with success to all other commands.
struct Bench {
    ladder: Ladder,
    now: Instant,
    start: Instant,
    script: HashMap<Ask, VecDeque<Outcome>>,
    /// Results of OPEN, one for each try; OPEN succeeds when there are none.
    opens: VecDeque<Input>,
    /// USB step that fails.
    broken: Option<UsbStep>,
    quirk: &'static Quirk,
    /// Whether the device is a plain network device.
    ethernet: bool,
    log: Vec<String>,
    asked: Vec<Ask>,
    /// Whether session 0 comes online as soon as the ladder is climbed.
    session_succeeds: bool,
    failed: Option<(Failure, Rung)>,
    lost: Option<(Rung, String)>,
    /// Memory of PINs that the next process would read.
    remembered: Option<PinMemory>,
    /// Whether the memory of PINs cannot be stored.
    forgetful: bool,
}

impl Bench {
    fn new(options: Options) -> Self {
        let now = Instant::now();
        Self {
            ladder: Ladder::new(options, "1-4".into(), now),
            now,
            start: now,
            script: HashMap::new(),
            opens: VecDeque::new(),
            broken: None,
            quirk: quirks::find(0x03f0, 0xa31d),
            ethernet: false,
            log: Vec::new(),
            asked: Vec::new(),
            session_succeeds: true,
            failed: None,
            lost: None,
            remembered: None,
            forgetful: false,
        }
    }

    fn answers(mut self, ask: Ask, outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        self.script.insert(ask, outcomes.into_iter().collect());
        self
    }

    fn usual(ask: Ask) -> Outcome {
        good(match ask {
            Ask::Capabilities => DeviceCaps {
                firmware_info: "11.617.13.00.00".into(),
                hardware_info: "ML1ME906SM".into(),
                max_sessions: 8,
                ..DeviceCaps::default()
            }
            .encode(),
            Ask::Subscriber => subscriber(SubscriberReadyState::INITIALIZED),
            Ask::PinState => pin(PinState::UNLOCKED, PinType::PIN1, 3),
            Ask::PinEnter => pin(PinState::UNLOCKED, PinType::PIN1, 3),
            Ask::RadioState | Ask::RadioOn => radio(RadioSwitchState::ON, RadioSwitchState::ON),
            Ask::RegisterState | Ask::Register => registered(RegisterState::HOME, NwError::NONE),
            Ask::PacketService | Ask::Attach => packet(PacketServiceState::ATTACHED),
            Ask::SignalReports | Ask::Signal => SignalState {
                rssi: 20,
                error_rate: 99,
                ..SignalState::default()
            }
            .encode(),
            Ask::Subscribe => Vec::new(),
            // The firmware does not have Quectel's service.
            Ask::LockState | Ask::Unlock => {
                return status(Status::NO_DEVICE_SUPPORT, Vec::new());
            }
        })
    }

    fn climb(mut self) -> Self {
        self.ladder.start(self.now, Rung::Found);
        self.run();
        self
    }

    /// Runs until session 0 is online, a rung fails, or a loss.
    fn run(&mut self) {
        self.failed = None;
        self.lost = None;
        for _ in 0..2000 {
            while let Some(action) = self.ladder.next_action() {
                self.perform(action);
            }
            if self.failed.is_some() || self.lost.is_some() || self.ladder.is_online() {
                return;
            }
            let at = self.ladder.poll_timeout().expect("waits for nothing");
            self.now = self.now.max(at);
            self.ladder.timeout(self.now);
        }
        panic!("climbs for ever: {:#?}", self.log);
    }

    fn perform(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::Usb(step) => {
                self.log.push(format!("usb {step:?}"));
                let result = if self.broken == Some(step) {
                    let error = uwwan_usb::error::Error::Gone {
                        operation: "test".into(),
                    };
                    Err(UsbFailed {
                        failure: crate::explain::usb(self.ladder.rung, &error),
                    })
                } else {
                    Ok(UsbDone {
                        quirk: Some(self.quirk),
                        ethernet: self.ethernet,
                        ..UsbDone::default()
                    })
                };
                self.ladder.handle(now, Input::Usb(result));
            }
            Action::OpenSession { patience } => {
                self.log.push(format!("open {} s", patience.as_secs()));
                let input = self.opens.pop_front().unwrap_or(Input::Opened);
                if input == MUTE {
                    self.now += patience;
                }
                self.ladder.handle(self.now, input);
            }
            Action::Command { ask, timeout, .. } => {
                self.asked.push(ask);
                self.log.push(ask.name().into());
                let scripted = self.script.get_mut(&ask).and_then(VecDeque::pop_front);
                let outcome = scripted.unwrap_or_else(|| Self::usual(ask));
                if outcome == Outcome::NoAnswer {
                    self.now += timeout;
                }
                self.ladder.handle(self.now, Input::Answer(ask, outcome));
            }
            Action::Climbed(from) => {
                self.log.push(format!("session 0 from {from}"));
                if self.session_succeeds {
                    self.ladder.handle(now, Input::Online);
                }
            }
            Action::Remember(_) if self.forgetful => {
                self.ladder.not_remembered(self.now, "no space left");
            }
            Action::Remember(pins) => self.remembered = Some(pins),
            Action::Tell(Event::RungDone { rung, detail, .. }) => {
                self.log.push(format!("* {rung}: {detail}"))
            }
            Action::Tell(Event::Waiting { rung, text, .. }) => {
                self.log.push(format!("~ {rung}: {text}"))
            }
            Action::Tell(Event::Notice { text }) => self.log.push(format!("! {text}")),
            Action::Tell(_) => {}
            Action::Failed { failure, from, .. } => self.failed = Some((failure, from)),
            Action::Lost { from, why } => self.lost = Some((from, why)),
        }
    }

    fn failure(&self) -> &Failure {
        &self
            .failed
            .as_ref()
            .unwrap_or_else(|| panic!("no failure: {:#?}", self.log))
            .0
    }

    fn count(&self, ask: Ask) -> usize {
        self.asked.iter().filter(|asked| **asked == ask).count()
    }

    /// Returns the number of reports that this rung waits.
    fn waited(&self, rung: Rung) -> usize {
        let label = format!("~ {rung}: ");
        self.log
            .iter()
            .filter(|line| line.starts_with(&label))
            .count()
    }

    fn indicate(&mut self, id: CidId, info: Vec<u8>) {
        self.ladder.handle(self.now, Input::Indication { id, info });
        while let Some(action) = self.ladder.next_action() {
            self.perform(action);
        }
    }

    fn said(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.contains(text))
    }
}
