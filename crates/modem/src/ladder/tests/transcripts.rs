//! The bring-up, and each way it can fail.

use super::*;
use crate::failure::FailureKind;

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
session 0 from connect";
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
        assert_eq!(bench.failure().rung(), Some(rung));
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
    bench.opens = [MUTE].into();
    let bench = bench.climb();
    assert!(bench.ladder.is_online());
    assert!(
        bench.said("usb Switch { settle: 2s, always: true }"),
        "{:#?}",
        bench.log
    );
    assert!(!bench.said("ResetPort") && !bench.said("--settle"));

    let mut bench = Bench::new(Options {
        settle: Some(Duration::ZERO),
        ..Options::default()
    });
    bench.opens = [MUTE].into();
    let bench = bench.climb();
    assert!(
        bench.said("--settle 0 may be too short, its firmware is usually left 1 s"),
        "{:#?}",
        bench.log
    );

    let mut bench = Bench::new(Options::default());
    bench.opens = [MUTE, MUTE].into();
    let bench = bench.climb();
    assert!(bench.ladder.is_online());
    let reset = bench
        .log
        .iter()
        .position(|line| line == "usb ResetPort")
        .unwrap();
    assert_eq!(bench.log[reset + 1], "usb Find");

    let mut bench = Bench::new(Options::default());
    bench.opens = [MUTE, MUTE, MUTE].into();
    let bench = bench.climb();
    let failure = bench.failure();
    assert_eq!(failure.rung(), Some(Rung::Open));
    assert!(
        !failure.fatal && failure.why[0].contains("mute"),
        "{failure}"
    );
    // The three stages wait 40 s, 20 s and 60 s.
    assert_eq!((bench.now - bench.start).as_secs(), 120);
}

#[test]
fn a_dialled_modem_without_an_at_port_is_told_as_such() {
    let mut bench = Bench::new(Options::default());
    let silent = || Input::OpenMute { dialled: true };
    bench.opens = [silent(), silent(), silent()].into();
    let bench = bench.climb();
    assert!(bench.said("no answer to AT in 40 s"), "{:#?}", bench.log);
    let failure = bench.failure();
    assert_eq!(failure.rung(), Some(Rung::Open));
    let told = failure.to_string();
    assert!(
        !failure.fatal && told.starts_with("AT: no answer"),
        "{told}"
    );
    assert!(
        told.contains("--mode mbim") && !told.contains("MBIM_OPEN"),
        "{told}"
    );
}

#[test]
fn a_refused_open_says_the_status() {
    let mut bench = Bench::new(Options::default());
    bench.opens = [Input::OpenRefused(Status::FAILURE)].into();
    let bench = bench.climb();
    assert!(
        bench.failure().what.contains("failure"),
        "{}",
        bench.failure()
    );
    let mut bench = Bench::new(Options::default());
    bench.opens = vec![Input::OpenRefused(Status::BUSY); 20].into();
    let bench = bench.climb();
    assert!(bench.ladder.is_online());
    assert_eq!(bench.waited(Rung::Open), 20);
    let mut bench = Bench::new(Options::default());
    bench.opens = vec![Input::OpenRefused(Status::BUSY); 100].into();
    let bench = bench.climb();
    assert!(bench.failure().what.contains("busy"), "{}", bench.failure());
    assert_eq!((bench.now - bench.start).as_secs(), 60);
}

#[test]
fn optional_commands_never_hold_the_way_up() {
    let bench = Bench::new(Options::default())
        .answers(Ask::Subscribe, [Outcome::NoAnswer])
        .answers(Ask::SignalReports, [Outcome::NoAnswer])
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
    assert_eq!(bench.failure().rung(), Some(Rung::Sim));
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
            .contains("did not become ready in 60 s")
    );
    let bench = Bench::new(Options::default())
        .answers(Ask::Subscriber, vec![missing(); 100])
        .climb();
    assert!(
        bench.failure().fatal && bench.failure().what.contains("sim_not_inserted"),
        "{}",
        bench.failure()
    );
    // The SIM is queried as often as ModemManager does: 7 times, 2 s apart.
    assert_eq!(bench.count(Ask::Subscriber), 7);
    assert_eq!((bench.now - bench.start).as_secs(), 12);
    assert_eq!(bench.waited(Rung::Sim), 6);
    // This SIM is still being read.
    let known = Bench::new(Options::default())
        .answers(
            Ask::Subscriber,
            vec![good(subscriber(SubscriberReadyState::SIM_NOT_INSERTED)); 29],
        )
        .climb();
    assert!(
        known.ladder.is_online(),
        "a SIM that tells its number is there"
    );
    for missing in [missing(), status(Status::SIM_NOT_INSERTED, Vec::new())] {
        let bench = Bench::new(Options::default())
            .answers(Ask::Subscriber, vec![missing; 6])
            .climb();
        assert!(bench.ladder.is_online());
    }
    for state in [
        SubscriberReadyState::BAD_SIM,
        SubscriberReadyState::NOT_ACTIVATED,
    ] {
        let bench = Bench::new(Options::default())
            .answers(Ask::Subscriber, [good(subscriber(state))])
            .climb();
        assert_eq!(
            (bench.failure().rung(), bench.failure().fatal),
            (Some(Rung::Sim), true)
        );
    }
}

fn locked_sim(pin_text: &str, remaining: u32) -> Bench {
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
            [good(pin(PinState::LOCKED, PinType::PIN1, remaining))],
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
fn pin_required_means_pin1() {
    let required = || status(Status::PIN_REQUIRED, Vec::new());
    let bench = locked_sim("1234", 3)
        .answers(Ask::Subscriber, [required()])
        .answers(Ask::PinState, [required()])
        .climb();
    assert!(bench.ladder.is_online());
    assert!(bench.said("* sim: locked") && bench.said("* pin: entered"));
    assert_eq!(bench.count(Ask::PinEnter), 1);
    // Content that is all zeros leads to the same.
    let zeros = |length| status(Status::PIN_REQUIRED, vec![0; length]);
    let zeroed = SubscriberReadyStatus::default().encode().len();
    let bench = locked_sim("1234", 3)
        .answers(Ask::Subscriber, [zeros(zeroed)])
        .answers(Ask::PinState, [zeros(12)])
        .climb();
    assert!(bench.said("* sim: locked") && bench.said("* pin: entered"));
    assert_eq!(bench.now, bench.start + Duration::from_millis(500));
    // Without a PIN to enter, the failure asks the user for one.
    let bench = locked_sim("", 3)
        .answers(Ask::Subscriber, [required()])
        .answers(Ask::PinState, [required()])
        .climb();
    assert!(
        bench.failure().next[0].contains("--pin-file"),
        "{}",
        bench.failure()
    );
    // A PIN after which the modem still reports a locked SIM counts as wrong.
    let bench = locked_sim("1234", 3)
        .answers(Ask::PinState, [required(), required()])
        .answers(Ask::PinEnter, [Outcome::NoAnswer])
        .climb();
    assert!(
        bench.failure().what.contains("still locked"),
        "{}",
        bench.failure()
    );
    assert_eq!(bench.count(Ask::PinEnter), 1);
}

#[test]
fn a_wrong_pin_is_never_entered_again() {
    let refused = status(Status::FAILURE, pin(PinState::LOCKED, PinType::PIN1, 2));
    let mut bench = locked_sim("1234", 3)
        .answers(Ask::PinEnter, [refused])
        .climb();
    assert!(
        bench.failure().fatal && bench.failure().what == "wrong PIN, 2 attempts remaining",
        "{}",
        bench.failure()
    );
    for remaining in [2, 2] {
        let locked = good(subscriber(SubscriberReadyState::DEVICE_LOCKED));
        bench.script.insert(Ask::Subscriber, [locked].into());
        let state = good(pin(PinState::LOCKED, PinType::PIN1, remaining));
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

/// Returns a modem with a locked SIM in a later process, which has read the memory of the earlier
/// one.
fn next_run(earlier: &Bench, pin_text: &str, remaining: u32) -> Bench {
    let kept = serde_json::to_string(earlier.remembered.as_ref().unwrap()).unwrap();
    let mut bench = locked_sim(pin_text, remaining);
    bench.ladder.recall(serde_json::from_str(&kept).unwrap());
    bench
}

#[test]
fn a_wrong_pin_is_not_entered_by_a_later_run() {
    let refused = || status(Status::FAILURE, pin(PinState::LOCKED, PinType::PIN1, 2));
    let first = locked_sim("1234", 3)
        .answers(Ask::PinEnter, [refused()])
        .climb();
    assert_eq!(first.count(Ask::PinEnter), 1);
    let again = next_run(&first, "1234", 2).climb();
    assert_eq!(again.count(Ask::PinEnter), 0);
    let failure = again.failure();
    assert!(
        failure.what.contains("earlier run") && failure.next[0].contains("--force-pin"),
        "{failure}"
    );
    let corrected = next_run(&first, "4321", 2).climb();
    assert!(corrected.ladder.is_online());
    // With --force-pin each run enters the PIN once and not over and over.
    let mut forced = next_run(&first, "1234", 2).answers(Ask::PinEnter, [refused()]);
    forced.ladder.options.force_pin = true;
    let mut forced = forced.climb();
    let locked = good(subscriber(SubscriberReadyState::DEVICE_LOCKED));
    forced.script.insert(Ask::Subscriber, [locked].into());
    let state = good(pin(PinState::LOCKED, PinType::PIN1, 1));
    forced.script.insert(Ask::PinState, [state].into());
    forced.ladder.start(forced.now, Rung::Found);
    forced.run();
    assert_eq!(forced.count(Ask::PinEnter), 1);
}

#[test]
fn the_pin_is_noted_before_it_is_sent() {
    let mut bench = locked_sim("1234", 3);
    bench.ladder.start(bench.now, Rung::Found);
    loop {
        match bench.ladder.next_action().unwrap() {
            // The process ends before it sends the PIN.
            Action::Command {
                ask: Ask::PinEnter, ..
            } => break,
            action => bench.perform(action),
        }
    }
    assert_eq!(
        next_run(&bench, "1234", 2).climb().count(Ask::PinEnter),
        0,
        "the SIM has counted it"
    );
    let uncounted = next_run(&bench, "1234", 3).climb();
    assert_eq!(uncounted.count(Ask::PinEnter), 1);
    // A PIN that the SIM has accepted is removed from the memory.
    assert!(next_run(&uncounted, "1234", 3).climb().ladder.is_online());
}

#[test]
fn a_pin_that_cannot_be_remembered_is_not_sent() {
    let mut bench = locked_sim("1234", 3);
    bench.forgetful = true;
    let bench = bench.climb();
    assert_eq!(bench.count(Ask::PinEnter), 0);
    let failure = bench.failure();
    assert!(failure.fatal, "{failure}");
    assert_eq!(failure.kind, FailureKind::Host);
    assert!(failure.next[0].contains("--force-pin"), "{failure}");
    let mut forced = locked_sim("1234", 3);
    forced.forgetful = true;
    forced.ladder.options.force_pin = true;
    let forced = forced.climb();
    assert_eq!(forced.count(Ask::PinEnter), 1);
    assert!(forced.ladder.is_online());
}

#[test]
fn a_pin_the_sim_did_not_look_at_is_not_held_against_it() {
    let busy = status(Status::BUSY, pin(PinState::LOCKED, PinType::PIN1, 3));
    let locked = || good(pin(PinState::LOCKED, PinType::PIN1, 3));
    let bench = locked_sim("1234", 3)
        .answers(Ask::PinState, [locked(), locked()])
        .answers(Ask::PinEnter, [busy])
        .climb();
    assert!(bench.ladder.is_online());
    assert_eq!(bench.count(Ask::PinEnter), 2);
    let missing = status(Status::SIM_NOT_INSERTED, Vec::new());
    let bench = locked_sim("1234", 3)
        .answers(Ask::PinEnter, [missing])
        .climb();
    assert!(next_run(&bench, "1234", 3).climb().ladder.is_online());
}

#[test]
fn the_last_attempt_is_not_spent() {
    let bench = locked_sim("1234", 1).climb();
    assert_eq!(bench.count(Ask::PinEnter), 0);
    assert!(bench.failure().next[0].contains("--force-pin"));
    let mut bench = locked_sim("1234", 1);
    bench.ladder.options.force_pin = true;
    assert_eq!(bench.climb().count(Ask::PinEnter), 1);
    let bench = locked_sim("", 3).climb();
    assert!(bench.failure().next[0].contains("--pin-file"));
    let bench = locked_sim("1234", 0)
        .answers(
            Ask::PinState,
            [good(pin(PinState::LOCKED, PinType::PUK1, 10))],
        )
        .climb();
    assert!(
        bench.failure().next[0].contains("PUK"),
        "{}",
        bench.failure()
    );
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
    let switched = || good(radio(RadioSwitchState::OFF, RadioSwitchState::ON));
    let bench = Bench::new(Options::default())
        .answers(Ask::RadioState, vec![switched(); 80])
        .climb();
    assert!(bench.ladder.is_online());
    let bench = Bench::new(Options::default())
        .answers(Ask::RadioState, vec![switched(); 100])
        .climb();
    assert!(bench.failure().why[0].contains("wireless switch"));
    assert_eq!((bench.now - bench.start).as_secs(), 90);
    assert_eq!(bench.count(Ask::RadioOn), 0);
}

#[test]
fn what_is_busy_is_waited_for_on_every_rung() {
    let busy = || {
        let of = |code| status(code, Vec::new());
        [of(Status::BUSY), of(Status::NOT_INITIALIZED)]
            .into_iter()
            .cycle()
            .take(10)
            .collect::<Vec<_>>()
    };
    let off = || good(radio(RadioSwitchState::ON, RadioSwitchState::OFF));
    let detached = good(packet(PacketServiceState::DETACHED));
    let bench = locked_sim("1234", 3)
        .answers(Ask::Capabilities, busy())
        .answers(
            Ask::PinState,
            [
                busy(),
                vec![good(pin(PinState::LOCKED, PinType::PIN1, 3)); 11],
            ]
            .concat(),
        )
        .answers(Ask::PinEnter, busy())
        .answers(Ask::RadioState, [busy(), vec![off(); 11]].concat())
        .answers(Ask::RadioOn, busy())
        .answers(Ask::RegisterState, busy())
        .answers(Ask::PacketService, [vec![detached], busy()].concat())
        .answers(Ask::Attach, [busy()[0].clone()])
        .climb();
    assert!(bench.ladder.is_online());
    for rung in [
        Rung::Capabilities,
        Rung::Pin,
        Rung::Radio,
        Rung::Registration,
        Rung::PacketService,
    ] {
        assert!(bench.waited(rung) >= 10, "{rung}");
    }
    // The event names what the rung waits for, and no wait is endless.
    let bench = Bench::new(Options::default())
        .answers(Ask::RadioState, vec![busy()[0].clone(); 100])
        .climb();
    assert!(bench.failure().what.contains("busy"), "{}", bench.failure());
    assert_eq!((bench.now - bench.start).as_secs(), 60);
}

#[test]
fn a_modem_that_registers_and_attaches_by_itself_need_not_be_told_to() {
    let unknown = || status(Status::NO_DEVICE_SUPPORT, Vec::new());
    let bench = Bench::new(Options::default())
        .answers(
            Ask::RegisterState,
            [good(registered(RegisterState::DEREGISTERED, NwError::NONE))],
        )
        .answers(Ask::Register, [unknown()])
        .answers(
            Ask::PacketService,
            [good(packet(PacketServiceState::DETACHED))],
        )
        .answers(Ask::Attach, [unknown()])
        .climb();
    assert!(bench.ladder.is_online());
    assert_eq!(bench.count(Ask::Register), 1);
    assert!(bench.said("* registration: Telenor, home"));
    let bench = Bench::new(Options::default())
        .answers(Ask::RegisterState, [unknown()])
        .answers(Ask::PacketService, [unknown()])
        .climb();
    assert!(bench.ladder.is_online());
}

#[test]
fn a_register_command_that_was_too_early_is_repeated() {
    let state = |state| registered(state, NwError::NONE);
    for content in [Vec::new(), state(RegisterState::DEREGISTERED)] {
        let bench = Bench::new(Options::default())
            .answers(
                Ask::RegisterState,
                vec![good(state(RegisterState::DEREGISTERED)); 3],
            )
            .answers(
                Ask::Register,
                [
                    status(Status::BUSY, content.clone()),
                    status(Status::NOT_INITIALIZED, content),
                    good(state(RegisterState::HOME)),
                ],
            )
            .climb();
        assert!(bench.ladder.is_online());
        assert_eq!(
            (bench.count(Ask::Register), bench.count(Ask::RegisterState)),
            (3, 3)
        );
    }
}

#[test]
fn the_zeros_of_a_refusal_say_nothing() {
    // A RADIO_STATE of 8 zero bytes would decode as a hardware switch that is off.
    let early = || vec![status(Status::NOT_INITIALIZED, vec![0; 8]); 3];
    let bench = Bench::new(Options::default())
        .answers(Ask::RadioState, early())
        .climb();
    assert!(bench.ladder.is_online());
    assert!(!bench.said("radio switch of the machine"));
    // A PIN state of 12 zero bytes would decode as an unlocked SIM.
    let bench = locked_sim("1234", 3)
        .answers(
            Ask::PinState,
            [
                status(Status::BUSY, vec![0; 12]),
                good(pin(PinState::LOCKED, PinType::PIN1, 3)),
            ],
        )
        .climb();
    assert!(bench.said("* pin: entered"));
    // The first state of SUBSCRIBER_READY_STATUS would decode as a SIM that is starting.
    let bench = Bench::new(Options::default())
        .answers(Ask::Subscriber, [status(Status::FAILURE, vec![0; 28])])
        .climb();
    assert_eq!(bench.now, bench.start);
    assert!(
        bench.failure().what.contains("failure"),
        "{}",
        bench.failure()
    );
}

#[test]
fn registration_and_its_failures() {
    let state = |state| good(registered(state, NwError::NONE));
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

    let denied = good(registered(RegisterState::DENIED, NwError::ILLEGAL_ME));
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
    assert!(bench.failure().fatal && bench.failure().next[0].contains("--roaming"));
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
        nw_error: NwError::GPRS_NOT_ALLOWED,
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
fn garbage_answers_fail_with_words() {
    for ask in [Ask::Subscriber, Ask::RadioState] {
        let garbage = || good(vec![0xff; 7]);
        let bench = Bench::new(Options::default())
            .answers(ask, vec![garbage(); 3])
            .climb();
        assert!(!bench.failure().what.is_empty(), "{ask:?}");
    }
    for ask in [Ask::Capabilities, Ask::SignalReports] {
        let bench = Bench::new(Options::default())
            .answers(ask, [good(vec![0xff; 7])])
            .climb();
        assert!(bench.ladder.is_online(), "{ask:?}");
    }
}
