//! Transcripts: what the ladder asks and tells when a modem behaves so or so.

use std::collections::HashMap;

use uwwan_mbim::services::basic_connect::{
    self as bc, ActivationState, ConnectInfo, ConnectSet, DataClass, DeviceCaps, IpConfiguration,
    Ipv4Element, Ipv6Element, PacketServiceInfo, PacketServiceState, PinInfo, PinState, PinType,
    RadioState, RadioSwitchState, RegisterState, RegistrationState, SignalState,
    SubscriberReadyState, SubscriberReadyStatus,
};
use uwwan_mbim::status::NwError;

use super::*;
use crate::options::{IpType, Secret};
use crate::quirks;

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

fn pin(state: PinState, kind: PinType, left: u32) -> Vec<u8> {
    PinInfo {
        pin_type: kind,
        pin_state: state,
        remaining_attempts: left,
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

fn registered(state: RegisterState, cause: u32) -> Vec<u8> {
    RegistrationState {
        nw_error: NwError(cause),
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

fn connect(state: ActivationState, cause: u32) -> Vec<u8> {
    ConnectInfo {
        activation_state: state,
        nw_error: NwError(cause),
        ..ConnectInfo::default()
    }
    .encode()
}

fn ip(v4: bool, v6: bool) -> Vec<u8> {
    IpConfiguration {
        ipv4_address: v4
            .then(|| Ipv4Element {
                on_link_prefix_length: 30,
                ipv4_address: [10, 169, 198, 77].into(),
            })
            .into_iter()
            .collect(),
        ipv4_gateway: v4.then(|| [10, 169, 198, 78].into()),
        ipv6_address: v6
            .then(|| Ipv6Element {
                on_link_prefix_length: 64,
                ipv6_address: "2001:db8::77".parse().unwrap(),
            })
            .into_iter()
            .collect(),
        ipv4_mtu: 1500,
        ..IpConfiguration::default()
    }
    .encode()
}

/// A modem that answers as scripted, and well where it is not.
struct Bench {
    ladder: Ladder,
    now: Instant,
    start: Instant,
    script: HashMap<Ask, VecDeque<Outcome>>,
    /// How OPEN ends, one a try; opened when empty.
    opens: VecDeque<Input>,
    /// The USB step to fail.
    broken: Option<UsbStep>,
    quirk: &'static Quirk,
    log: Vec<String>,
    asked: Vec<Ask>,
    families: Vec<ContextIpType>,
    failed: Option<(Failure, Rung)>,
    lost: Option<(Rung, String)>,
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
            log: Vec::new(),
            asked: Vec::new(),
            families: Vec::new(),
            failed: None,
            lost: None,
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
            Ask::RegisterState | Ask::Register => registered(RegisterState::HOME, 0),
            Ask::PacketService | Ask::Attach => packet(PacketServiceState::ATTACHED),
            Ask::SignalReports | Ask::Signal => SignalState {
                rssi: 20,
                error_rate: 99,
                ..SignalState::default()
            }
            .encode(),
            Ask::ConnectState | Ask::Deactivate => connect(ActivationState::UNKNOWN, 0),
            Ask::Activate => connect(ActivationState::ACTIVATED, 0),
            Ask::IpConfiguration => ip(true, true),
            Ask::Subscribe => Vec::new(),
        })
    }

    fn climb(mut self) -> Self {
        self.ladder.start(self.now, Rung::Found);
        self.run();
        self
    }

    /// Runs until the top, a failure or a loss.
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
                        failure: crate::explain::usb(self.ladder.rung(), &error),
                    })
                } else {
                    Ok(UsbDone {
                        quirk: Some(self.quirk),
                        ..UsbDone::default()
                    })
                };
                self.ladder.handle(now, Input::Usb(result));
            }
            Action::OpenSession { patience } => {
                self.log.push(format!("open {} s", patience.as_secs()));
                let input = self.opens.pop_front().unwrap_or(Input::Opened);
                if input == Input::OpenMute {
                    self.now += patience;
                }
                self.ladder.handle(self.now, input);
            }
            Action::Command {
                ask,
                command,
                timeout,
            } => {
                self.asked.push(ask);
                self.log.push(ask.name().into());
                if ask == Ask::Activate {
                    self.families
                        .push(ConnectSet::decode(&command.info).unwrap().ip_type);
                }
                let scripted = self.script.get_mut(&ask).and_then(VecDeque::pop_front);
                let outcome = scripted.unwrap_or_else(|| Self::usual(ask));
                if outcome == Outcome::NoAnswer {
                    self.now += timeout;
                }
                self.ladder.handle(self.now, Input::Answer(ask, outcome));
            }
            Action::Host(config) => {
                self.log
                    .push(format!("host {}", config.addresses.list().join(" ")));
                let interface = Interface {
                    name: "wwan0".into(),
                    applied: Vec::new(),
                };
                self.ladder.handle(now, Input::Host(Ok(interface)));
            }
            Action::StartData(_) => {
                self.log.push("data".into());
                self.ladder.handle(now, Input::Data(Ok(String::new())));
            }
            Action::Tell(Event::RungDone { rung, detail, .. }) => {
                self.log.push(format!("* {rung}: {detail}"))
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

#[test]
fn a_good_run() {
    let bench = Bench::new(Options::default()).climb();
    let expected = "\
usb Find
* found: 
usb Switch { settle: 1s, always: true }
* configuration: 
usb Listen
* claim: 
usb DataFunction
* data function: 
open 40 s
* open: 
DEVICE_CAPS query
* capabilities: ML1ME906SM, firmware 11.617.13.00.00
SUBSCRIBER_READY_STATUS query
* sim: ready
* pin: not asked for
RADIO_STATE query
* radio: on
DEVICE_SERVICE_SUBSCRIBE_LIST set
REGISTER_STATE query
* registration: Telenor, home
PACKET_SERVICE query
* packet service: lte
SIGNAL_STATE set
* signal: -73 dBm
CONNECT query
CONNECT activate
* connect: asked for ipv4v6
IP_CONFIGURATION query
* ip configuration: 10.169.198.77/30, 2001:db8::77/64, MTU 1500
host 10.169.198.77/30 2001:db8::77/64
* host: wwan0
data
* online: ";
    assert_eq!(bench.log.join("\n"), expected);
    assert!(bench.ladder.is_online());
    let facts = bench.ladder.facts();
    assert_eq!(facts.network.as_ref().unwrap().downlink_bits, 150_000_000);
    assert_eq!(facts.signal.unwrap().error_rate, None);
}

#[test]
fn every_usb_step_may_fail() {
    let settle = Duration::from_secs(1);
    let steps = [
        (UsbStep::Find, Rung::Found),
        (
            UsbStep::Switch {
                settle,
                always: true,
            },
            Rung::Configuration,
        ),
        (UsbStep::Listen, Rung::Claim),
        (UsbStep::DataFunction, Rung::DataFunction),
    ];
    for (step, rung) in steps {
        let mut bench = Bench::new(Options::default());
        bench.broken = Some(step);
        let mut bench = bench.climb();
        assert_eq!(bench.failure().rung, rung);
        assert_eq!(bench.failed.as_ref().unwrap().1, Rung::Found);
        bench.broken = None;
        bench.ladder.start(bench.now, Rung::Found);
        bench.run();
        assert!(bench.ladder.is_online());
    }
}

#[test]
fn a_mute_function_is_switched_again_then_reset() {
    let mut bench = Bench::new(Options::default());
    bench.opens = [Input::OpenMute].into();
    let bench = bench.climb();
    assert!(bench.ladder.is_online());
    assert!(
        bench.said("usb Switch { settle: 2s, always: true }"),
        "{:#?}",
        bench.log
    );
    assert!(!bench.said("ResetPort"));

    let mut bench = Bench::new(Options::default());
    bench.opens = [Input::OpenMute, Input::OpenMute].into();
    let bench = bench.climb();
    assert!(bench.ladder.is_online());
    let reset = bench
        .log
        .iter()
        .position(|line| line == "usb ResetPort")
        .unwrap();
    assert_eq!(bench.log[reset + 1], "usb Find");

    let mut bench = Bench::new(Options::default());
    bench.opens = [Input::OpenMute, Input::OpenMute, Input::OpenMute].into();
    let bench = bench.climb();
    let failure = bench.failure();
    assert_eq!(failure.rung, Rung::Open);
    assert!(
        !failure.fatal && failure.cause.contains("mute"),
        "{failure}"
    );
    // 40 s, 20 s, 60 s.
    assert_eq!((bench.now - bench.start).as_secs(), 120);
}

#[test]
fn a_refused_open_says_the_status() {
    let mut bench = Bench::new(Options::default());
    bench.opens = [Input::OpenRefused(Status::BUSY)].into();
    let bench = bench.climb();
    assert!(bench.failure().what.contains("busy"), "{}", bench.failure());
}

#[test]
fn optional_commands_never_hold_the_way_up() {
    let bench = Bench::new(Options::default())
        .answers(Ask::Subscribe, [Outcome::NoAnswer])
        .answers(Ask::SignalReports, [Outcome::NoAnswer])
        .answers(
            Ask::ConnectState,
            [status(Status::NO_DEVICE_SUPPORT, Vec::new())],
        )
        .answers(Ask::Capabilities, [Outcome::NoAnswer, Outcome::NoAnswer])
        .climb();
    assert!(bench.ladder.is_online());
    assert!(bench.said("* capabilities: the device does not tell"));
}

#[test]
fn a_mandatory_command_is_asked_twice() {
    let bench = Bench::new(Options::default())
        .answers(Ask::Subscriber, [Outcome::NoAnswer])
        .climb();
    assert!(bench.ladder.is_online());
    let bench = Bench::new(Options::default())
        .answers(Ask::Subscriber, [Outcome::NoAnswer, Outcome::NoAnswer])
        .climb();
    assert_eq!(bench.failure().rung, Rung::Sim);
    assert!(bench.failure().what.contains("no answer in 10 s"));
}

#[test]
fn a_sim_takes_its_time_or_is_missing() {
    let waiting = subscriber(SubscriberReadyState::NOT_INITIALIZED);
    let bench = Bench::new(Options::default())
        .answers(Ask::Subscriber, vec![good(waiting.clone()); 10])
        .climb();
    assert!(bench.ladder.is_online());
    let bench = Bench::new(Options::default())
        .answers(Ask::Subscriber, vec![good(waiting); 100])
        .climb();
    assert!(
        bench
            .failure()
            .what
            .contains("did not become ready in 40 s")
    );
    let missing = subscriber(SubscriberReadyState::SIM_NOT_INSERTED);
    let bench = Bench::new(Options::default())
        .answers(Ask::Subscriber, vec![good(missing); 100])
        .climb();
    assert!(
        bench.failure().fatal && bench.failure().what.contains("sim_not_inserted"),
        "{}",
        bench.failure()
    );
    assert_eq!(bench.count(Ask::Subscriber), 4);
    for state in [
        SubscriberReadyState::BAD_SIM,
        SubscriberReadyState::NOT_ACTIVATED,
    ] {
        let bench = Bench::new(Options::default())
            .answers(Ask::Subscriber, [good(subscriber(state))])
            .climb();
        assert_eq!(
            (bench.failure().rung, bench.failure().fatal),
            (Rung::Sim, true)
        );
    }
}

fn locked_sim(pin_text: &str, left: u32) -> Bench {
    let options = Options {
        pin: Secret::new(pin_text),
        ..Options::default()
    };
    Bench::new(options)
        .answers(
            Ask::Subscriber,
            [good(subscriber(SubscriberReadyState::DEVICE_LOCKED))],
        )
        .answers(
            Ask::PinState,
            [good(pin(PinState::LOCKED, PinType::PIN1, left))],
        )
}

#[test]
fn the_pin_is_entered_once() {
    let bench = locked_sim("1234", 3).climb();
    assert!(bench.ladder.is_online());
    assert_eq!(bench.count(Ask::PinEnter), 1);
    assert!(bench.said("* pin: entered"));
    assert!(!bench.said("1234"));
}

#[test]
fn a_wrong_pin_is_never_entered_again() {
    let refused = status(Status::FAILURE, pin(PinState::LOCKED, PinType::PIN1, 2));
    let mut bench = locked_sim("1234", 3)
        .answers(Ask::PinEnter, [refused])
        .climb();
    assert!(
        bench.failure().fatal && bench.failure().what.contains("2 attempts left"),
        "{}",
        bench.failure()
    );
    for left in [2, 2] {
        let locked = good(subscriber(SubscriberReadyState::DEVICE_LOCKED));
        bench.script.insert(Ask::Subscriber, [locked].into());
        let state = good(pin(PinState::LOCKED, PinType::PIN1, left));
        bench.script.insert(Ask::PinState, [state].into());
        bench.ladder.start(bench.now, Rung::Found);
        bench.run();
        assert!(
            bench.failure().what.contains("refused before"),
            "{}",
            bench.failure()
        );
    }
    assert_eq!(bench.count(Ask::PinEnter), 1);
}

#[test]
fn an_unanswered_pin_counts_as_entered() {
    let mut bench = locked_sim("1234", 3).answers(Ask::PinEnter, [Outcome::NoAnswer]);
    let state = || good(pin(PinState::LOCKED, PinType::PIN1, 3));
    bench
        .script
        .insert(Ask::PinState, [state(), state()].into());
    let bench = bench.climb();
    assert_eq!(bench.count(Ask::PinEnter), 1);
    assert!(
        bench.failure().what.contains("still locked"),
        "{}",
        bench.failure()
    );
}

#[test]
fn the_last_attempt_is_not_spent() {
    let bench = locked_sim("1234", 1).climb();
    assert_eq!(bench.count(Ask::PinEnter), 0);
    assert!(bench.failure().next.contains("--force-pin"));
    let mut bench = locked_sim("1234", 1);
    bench.ladder.options.force_pin = true;
    assert_eq!(bench.climb().count(Ask::PinEnter), 1);
    let bench = locked_sim("", 3).climb();
    assert!(bench.failure().next.contains("--pin-file"));
    let bench = locked_sim("1234", 0)
        .answers(
            Ask::PinState,
            [good(pin(PinState::LOCKED, PinType::PUK1, 10))],
        )
        .climb();
    assert!(bench.failure().next.contains("PUK"), "{}", bench.failure());
    assert_eq!(bench.count(Ask::PinEnter), 0);
}

#[test]
fn the_radio_is_switched_on_but_not_past_the_switch() {
    let off = radio(RadioSwitchState::ON, RadioSwitchState::OFF);
    let bench = Bench::new(Options::default())
        .answers(Ask::RadioState, [good(off)])
        .climb();
    assert!(bench.ladder.is_online());
    assert_eq!(bench.count(Ask::RadioOn), 1);
    let switched = radio(RadioSwitchState::OFF, RadioSwitchState::ON);
    let bench = Bench::new(Options::default())
        .answers(Ask::RadioState, [good(switched)])
        .climb();
    assert!(bench.failure().cause.contains("wireless switch"));
    assert_eq!(bench.count(Ask::RadioOn), 0);
}

#[test]
fn registration_and_its_failures() {
    let state = |state| good(registered(state, 0));
    let bench = Bench::new(Options::default())
        .answers(Ask::RegisterState, [state(RegisterState::DEREGISTERED)])
        .answers(Ask::Register, [state(RegisterState::SEARCHING)])
        .climb();
    assert!(bench.ladder.is_online());
    assert_eq!(
        (bench.count(Ask::Register), bench.count(Ask::RegisterState)),
        (1, 2)
    );

    let searching = || vec![state(RegisterState::SEARCHING); 100];
    let bench = Bench::new(Options::default())
        .answers(Ask::RegisterState, searching())
        .climb();
    assert!(
        bench.failure().what.contains("no network in 120 s"),
        "{}",
        bench.failure()
    );

    let denied = good(registered(RegisterState::DENIED, 6));
    let bench = Bench::new(Options::default())
        .answers(Ask::RegisterState, [denied])
        .climb();
    assert!(
        bench.failure().fatal && bench.failure().what.contains("denied"),
        "{}",
        bench.failure()
    );

    let roaming = || [state(RegisterState::ROAMING)];
    let bench = Bench::new(Options::default())
        .answers(Ask::RegisterState, roaming())
        .climb();
    assert!(bench.failure().fatal && bench.failure().next.contains("--roaming"));
    let allowed = Options {
        roaming: true,
        ..Options::default()
    };
    assert!(
        Bench::new(allowed)
            .answers(Ask::RegisterState, roaming())
            .climb()
            .ladder
            .is_online()
    );
}

#[test]
fn the_packet_service_is_attached() {
    let state = |state| good(packet(state));
    let bench = Bench::new(Options::default())
        .answers(Ask::PacketService, [state(PacketServiceState::DETACHED)])
        .answers(Ask::Attach, [state(PacketServiceState::ATTACHING)])
        .climb();
    assert!(bench.ladder.is_online());
    assert_eq!(bench.count(Ask::Attach), 1);
    let refused = PacketServiceInfo {
        nw_error: NwError(7),
        packet_service_state: PacketServiceState::DETACHED,
        ..PacketServiceInfo::default()
    };
    let bench = Bench::new(Options::default())
        .answers(Ask::PacketService, [state(PacketServiceState::DETACHED)])
        .answers(Ask::Attach, [status(Status::FAILURE, refused.encode())])
        .climb();
    assert!(
        bench.failure().what.contains("the network says"),
        "{}",
        bench.failure()
    );
}

#[test]
fn both_families_fall_back_to_one() {
    let refusals = [
        (
            status(Status::NO_DEVICE_SUPPORT, Vec::new()),
            ContextIpType::IPV4,
        ),
        (
            status(Status::FAILURE, connect(ActivationState::DEACTIVATED, 50)),
            ContextIpType::IPV4,
        ),
        (
            status(Status::FAILURE, connect(ActivationState::DEACTIVATED, 51)),
            ContextIpType::IPV6,
        ),
        (
            status(Status::FAILURE, connect(ActivationState::DEACTIVATED, 28)),
            ContextIpType::IPV4,
        ),
    ];
    for (refusal, family) in refusals {
        let bench = Bench::new(Options::default())
            .answers(Ask::Activate, [refusal])
            .climb();
        assert!(bench.ladder.is_online());
        assert_eq!(bench.families, [ContextIpType::IPV4V6, family]);
    }
    // All refused: the failure is about what the user asked for.
    let refusal = || status(Status::FAILURE, connect(ActivationState::DEACTIVATED, 28));
    let bench = Bench::new(Options::default())
        .answers(Ask::Activate, [refusal(), refusal(), refusal()])
        .climb();
    assert_eq!(bench.families.len(), 3);
    assert!(
        bench.failure().what.contains("ipv4v6"),
        "{}",
        bench.failure()
    );
    // Another cause is no matter of families.
    let wrong_apn = status(Status::FAILURE, connect(ActivationState::DEACTIVATED, 27));
    let bench = Bench::new(Options::default())
        .answers(Ask::Activate, [wrong_apn])
        .climb();
    assert_eq!(bench.families.len(), 1);
    assert!(bench.failure().fatal && bench.failure().next.contains("--apn"));
}

#[test]
fn ipv6_alone_is_explained() {
    let options = Options {
        ip_type: IpType::Ipv6,
        ..Options::default()
    };
    let refusal = status(Status::NO_DEVICE_SUPPORT, Vec::new());
    let bench = Bench::new(options)
        .answers(Ask::Activate, [refusal])
        .climb();
    assert_eq!(bench.families, [ContextIpType::IPV6]);
    let failure = bench.failure();
    assert!(
        failure.fatal && failure.what.contains("no_device_support"),
        "{failure}"
    );
    assert!(
        failure.cause.contains("PLMN profile list") && failure.next.contains("uwwan ipv6 enable")
    );
}

#[test]
fn half_a_success_is_told() {
    let bench = Bench::new(Options::default())
        .answers(
            Ask::Activate,
            [good(connect(ActivationState::ACTIVATED, 50))],
        )
        .answers(Ask::IpConfiguration, [good(ip(true, false))])
        .climb();
    assert!(bench.ladder.is_online());
    assert!(
        bench.said("! no IPv6 address: the firmware allows IPv6 only for"),
        "{:#?}",
        bench.log
    );
    assert!(bench.said("* connect: asked for ipv4v6; the network says"));
}

#[test]
fn a_session_left_over_is_ended_first() {
    let bench = Bench::new(Options::default())
        .answers(
            Ask::ConnectState,
            [good(connect(ActivationState::ACTIVATED, 0))],
        )
        .answers(
            Ask::Deactivate,
            [status(Status::CONTEXT_NOT_ACTIVATED, Vec::new())],
        )
        .climb();
    assert!(bench.ladder.is_online());
    assert_eq!(bench.count(Ask::Deactivate), 1);
}

#[test]
fn connect_leads_back_to_what_is_missing() {
    let detached = || status(Status::PACKET_SERVICE_DETACHED, Vec::new());
    let bench = Bench::new(Options::default())
        .answers(Ask::Activate, [detached()])
        .climb();
    assert!(bench.ladder.is_online());
    assert_eq!(bench.count(Ask::PacketService), 2);
    let bench = Bench::new(Options::default())
        .answers(
            Ask::Activate,
            [detached(), detached(), detached(), detached()],
        )
        .climb();
    assert_eq!(
        bench.failed.as_ref().unwrap().1,
        Rung::PacketService,
        "not for ever"
    );
    let off = status(Status::RADIO_POWER_OFF, Vec::new());
    let bench = Bench::new(Options::default())
        .answers(Ask::Activate, [off])
        .climb();
    assert!(bench.ladder.is_online());
    assert_eq!(bench.count(Ask::RadioState), 2);
}

#[test]
fn activation_may_end_with_an_indication() {
    let mut bench = Bench::new(Options::default());
    bench.script.insert(
        Ask::Activate,
        [good(connect(ActivationState::ACTIVATING, 0))].into(),
    );
    bench.ladder.start(bench.now, Rung::Found);
    while bench.count(Ask::Activate) == 0 {
        let action = bench.ladder.next_action().unwrap();
        bench.perform(action);
    }
    assert!(bench.ladder.next_action().is_none());
    bench.indicate(bc::CONNECT, connect(ActivationState::ACTIVATED, 0));
    bench.run();
    assert!(bench.ladder.is_online());

    let bench = Bench::new(Options::default())
        .answers(
            Ask::Activate,
            [good(connect(ActivationState::ACTIVATING, 0))],
        )
        .climb();
    assert!(
        bench.failure().what.contains("not activated in"),
        "{}",
        bench.failure()
    );
    let bench = Bench::new(Options::default())
        .answers(Ask::Activate, [Outcome::NoAnswer])
        .climb();
    assert!(bench.failure().what.contains("no answer in 180 s"));
}

#[test]
fn an_address_may_come_late_or_never() {
    let nothing = || good(ip(false, false));
    let bench = Bench::new(Options::default())
        .answers(Ask::IpConfiguration, [nothing(), nothing()])
        .climb();
    assert!(bench.ladder.is_online());
    assert_eq!(bench.count(Ask::IpConfiguration), 3);
    let bench = Bench::new(Options::default())
        .answers(Ask::IpConfiguration, vec![nothing(); 100])
        .climb();
    assert!(
        bench.failure().what.contains("no address in 25 s"),
        "{}",
        bench.failure()
    );
}

#[test]
fn garbage_answers_fail_with_words() {
    let asks = [
        Ask::Subscriber,
        Ask::RadioState,
        Ask::Activate,
        Ask::IpConfiguration,
    ];
    for ask in asks {
        let garbage = || good(vec![0xff; 7]);
        let bench = Bench::new(Options::default())
            .answers(ask, vec![garbage(); 3])
            .climb();
        assert!(!bench.failure().what.is_empty(), "{ask:?}");
    }
    for ask in [Ask::Capabilities, Ask::SignalReports, Ask::ConnectState] {
        let bench = Bench::new(Options::default())
            .answers(ask, [good(vec![0xff; 7])])
            .climb();
        assert!(bench.ladder.is_online(), "{ask:?}");
    }
}

#[test]
fn losses_lead_to_the_right_rung() {
    let lost = |id, info| {
        let mut bench = Bench::new(Options::default()).climb();
        bench.indicate(id, info);
        bench.lost.take()
    };
    let ended = lost(bc::CONNECT, connect(ActivationState::DEACTIVATED, 36));
    assert_eq!(ended.unwrap().0, Rung::Registration);
    let off = lost(
        bc::RADIO_STATE,
        radio(RadioSwitchState::OFF, RadioSwitchState::ON),
    );
    assert_eq!(off.unwrap().0, Rung::Radio);
    let gone = lost(
        bc::SUBSCRIBER_READY_STATUS,
        subscriber(SubscriberReadyState::SIM_NOT_INSERTED),
    );
    assert_eq!(gone.unwrap().0, Rung::Sim);
    let detached = lost(bc::PACKET_SERVICE, packet(PacketServiceState::DETACHED));
    assert_eq!(detached.unwrap().0, Rung::Registration);
    let abroad = lost(bc::REGISTER_STATE, registered(RegisterState::ROAMING, 0));
    assert_eq!(abroad.unwrap().0, Rung::Registration);
    assert_eq!(
        lost(bc::CONNECT, connect(ActivationState::ACTIVATED, 0)),
        None
    );
    assert_eq!(
        lost(bc::REGISTER_STATE, registered(RegisterState::SEARCHING, 0)),
        None
    );
    assert_eq!(lost(bc::CONNECT, vec![1, 2, 3]), None);
}

#[test]
fn unplugged_at_any_rung() {
    // Count the actions of a good run, then lose the device after each.
    let whole = Bench::new(Options::default()).climb();
    let most = whole.log.len() * 3;
    for steps in 0..most {
        let mut bench = Bench::new(Options::default());
        bench.ladder.start(bench.now, Rung::Found);
        for _ in 0..steps {
            let Some(action) = bench.ladder.next_action() else {
                break;
            };
            bench.perform(action);
        }
        bench.ladder.handle(
            bench.now,
            Input::Lost {
                from: Rung::Found,
                why: "unplugged".into(),
            },
        );
        while let Some(action) = bench.ladder.next_action() {
            if let Action::Lost { from, why } = action {
                bench.lost = Some((from, why));
            }
        }
        assert_eq!(bench.lost, Some((Rung::Found, "unplugged".into())));
        bench.ladder.start(bench.now, Rung::Found);
        bench.run();
        assert!(bench.ladder.is_online(), "after {steps} actions");
    }
}

#[test]
fn new_addresses_reach_the_host() {
    let mut bench = Bench::new(Options::default())
        .answers(Ask::IpConfiguration, [good(ip(true, false))])
        .climb();
    bench.log.clear();
    bench.indicate(bc::IP_CONFIGURATION, ip(true, false));
    assert!(bench.log.is_empty(), "nothing new");
    bench.indicate(bc::IP_CONFIGURATION, ip(true, true));
    assert!(
        bench.said("host 10.169.198.77/30 2001:db8::77/64") && bench.said("data"),
        "{:#?}",
        bench.log
    );
    assert!(bench.ladder.is_online());
    bench.indicate(bc::IP_CONFIGURATION, ip(false, false));
    assert!(bench.ladder.is_online());
}

#[test]
fn a_silent_session_is_found_dead() {
    let mut bench = Bench::new(Options::default()).climb();
    bench
        .script
        .insert(Ask::Signal, vec![Outcome::NoAnswer; 3].into());
    for _ in 0..3 {
        assert!(bench.lost.is_none());
        bench.now = bench.ladder.poll_timeout().unwrap();
        bench.ladder.timeout(bench.now);
        while let Some(action) = bench.ladder.next_action() {
            bench.perform(action);
        }
    }
    let (from, why) = bench.lost.unwrap();
    assert_eq!(from, Rung::Found);
    assert!(why.contains("silent"));
}

#[test]
fn suspicion_looks_at_the_session() {
    let mut bench = Bench::new(Options::default()).climb();
    bench.ladder.handle(bench.now, Input::Suspicion);
    let action = bench.ladder.next_action().unwrap();
    bench.script.insert(
        Ask::ConnectState,
        [good(connect(ActivationState::DEACTIVATED, 0))].into(),
    );
    bench.perform(action);
    let action = bench.ladder.next_action().unwrap();
    assert!(
        matches!(
            action,
            Action::Lost {
                from: Rung::Registration,
                ..
            }
        ),
        "{action:?}"
    );
}

#[test]
fn a_host_that_refuses_is_told() {
    let mut bench = Bench::new(Options::default());
    bench.ladder.start(bench.now, Rung::Found);
    loop {
        match bench.ladder.next_action().unwrap() {
            Action::Host(_) => break,
            action => bench.perform(action),
        }
    }
    let error = HostError {
        what: "create a TUN interface".into(),
        why: "not permitted".into(),
        next: "run as root".into(),
    };
    bench.ladder.handle(bench.now, Input::Host(Err(error)));
    bench.run();
    assert_eq!(bench.failure().rung, Rung::Host);
    assert_eq!(bench.failure().next, "run as root");
}

proptest::proptest! {
    /// Whatever comes in, in whatever order: no panic, and the ladder always wants something or
    /// rests.
    #[test]
    fn anything_may_happen(inputs in proptest::collection::vec((0u8..9, 0u8..18, proptest::prelude::any::<u8>(), 0usize..80), 0..60)) {
        let mut bench = Bench::new(Options::default());
        bench.ladder.start(bench.now, Rung::Found);
        for (kind, which, byte, length) in inputs {
            while let Some(action) = bench.ladder.next_action() {
                if matches!(action, Action::Usb(_)) || byte & 1 == 0 {
                    bench.perform(action);
                }
            }
            let info = vec![byte; length];
            let ask = [
                Ask::Capabilities, Ask::Subscriber, Ask::PinState, Ask::PinEnter, Ask::RadioState, Ask::RadioOn,
                Ask::Subscribe, Ask::RegisterState, Ask::Register, Ask::PacketService, Ask::Attach,
                Ask::SignalReports, Ask::Signal, Ask::ConnectState, Ask::Deactivate, Ask::Activate,
                Ask::IpConfiguration, Ask::IpConfiguration,
            ][usize::from(which)];
            let input = match kind {
                0 => Input::Opened,
                1 => Input::OpenMute,
                2 => Input::Answer(ask, good(info)),
                3 => Input::Answer(ask, status(Status(u32::from(byte)), info)),
                4 => Input::Answer(ask, Outcome::NoAnswer),
                5 => Input::Indication { id: CidId { service: bc::UUID, cid: u32::from(which) }, info },
                6 => Input::Suspicion,
                7 => Input::Lost { from: Rung::ALL[usize::from(which) % 16], why: String::new() },
                _ => Input::OpenRefused(Status(u32::from(byte))),
            };
            bench.ladder.handle(bench.now, input);
            bench.now += Duration::from_secs(u64::from(byte));
            bench.ladder.timeout(bench.now);
        }
    }
}
