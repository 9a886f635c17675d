//! Session 0: its rungs are reported, and its failures and losses lead the modem back.

use super::bench::{Bench, connect, good, ip, status};
use super::*;

#[test]
fn a_good_run() {
    let mut bench = Bench::new(SessionOptions::default()).climb();
    let expected = "\
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
    assert!(bench.online && bench.session.may_be_active());
    assert_eq!(bench.session.poll_timeout(), None, "nothing to wake up for");
    let status = bench.session.status();
    assert!(status.online && status.addresses == bench.addresses);
    // From a rung in between, no rung below is climbed again.
    bench.session.rest("lost");
    bench.log.clear();
    bench.start(Rung::Host);
    bench.run();
    let expected = "\
host 10.169.198.77/30 2001:db8::77/64
* host: wwan0
data
* online: ";
    assert_eq!(bench.log.join("\n"), expected);
}

#[test]
fn both_families_fall_back_to_one() {
    let refusals = [
        (
            status(Status::NO_DEVICE_SUPPORT, Vec::new()),
            ContextIpType::IPV4,
        ),
        (
            status(
                Status::FAILURE,
                connect(
                    ActivationState::DEACTIVATED,
                    NwError::PDP_TYPE_IPV4_ONLY_ALLOWED,
                ),
            ),
            ContextIpType::IPV4,
        ),
        (
            status(
                Status::FAILURE,
                connect(
                    ActivationState::DEACTIVATED,
                    NwError::PDP_TYPE_IPV6_ONLY_ALLOWED,
                ),
            ),
            ContextIpType::IPV6,
        ),
        (
            status(
                Status::FAILURE,
                connect(
                    ActivationState::DEACTIVATED,
                    NwError::UNKNOWN_PDP_ADDRESS_OR_TYPE,
                ),
            ),
            ContextIpType::IPV4,
        ),
    ];
    for (refusal, family) in refusals {
        let bench = Bench::new(SessionOptions::default())
            .answers(SessionAsk::Activate, [refusal])
            .climb();
        assert!(bench.online);
        assert_eq!(bench.families, [ContextIpType::IPV4V6, family]);
    }
    // When all families are refused, the failure is about the family that the user asked for.
    let refusal = || {
        status(
            Status::FAILURE,
            connect(
                ActivationState::DEACTIVATED,
                NwError::UNKNOWN_PDP_ADDRESS_OR_TYPE,
            ),
        )
    };
    let bench = Bench::new(SessionOptions::default())
        .answers(SessionAsk::Activate, [refusal(), refusal(), refusal()])
        .climb();
    assert_eq!(bench.families.len(), 3);
    assert!(
        bench.failure().what.contains("ipv4v6"),
        "{}",
        bench.failure()
    );
    // Another cause does not concern the address family.
    let wrong_apn = status(
        Status::FAILURE,
        connect(
            ActivationState::DEACTIVATED,
            NwError::MISSING_OR_UNKNOWN_APN,
        ),
    );
    let bench = Bench::new(SessionOptions::default())
        .answers(SessionAsk::Activate, [wrong_apn])
        .climb();
    assert_eq!(bench.families.len(), 1);
    assert!(bench.failure().fatal && bench.failure().next[0].contains("--apn"));
}

#[test]
fn ipv6_alone_is_explained() {
    let options = SessionOptions {
        ip_type: IpType::Ipv6,
        ..SessionOptions::default()
    };
    let refusal = status(Status::NO_DEVICE_SUPPORT, Vec::new());
    let bench = Bench::new(options)
        .answers(SessionAsk::Activate, [refusal])
        .climb();
    assert_eq!(bench.families, [ContextIpType::IPV6]);
    let failure = bench.failure();
    assert!(
        failure.fatal && failure.what.contains("no_device_support"),
        "{failure}"
    );
    assert!(
        failure.why[0].contains("PLMN profile list") && failure.next[0].contains("AT^PLMNLIST")
    );
}

#[test]
fn half_a_success_is_told() {
    let bench = Bench::new(SessionOptions::default())
        .answers(
            SessionAsk::Activate,
            [good(connect(
                ActivationState::ACTIVATED,
                NwError::PDP_TYPE_IPV4_ONLY_ALLOWED,
            ))],
        )
        .answers(SessionAsk::Addresses, [good(ip(true, false))])
        .climb();
    assert!(bench.online);
    assert!(
        bench.said("! no IPv6 address: the firmware allows IPv6 only for"),
        "{:#?}",
        bench.log
    );
    assert!(bench.said("* connect: asked for ipv4v6; the network says"));
}

#[test]
fn a_session_left_over_is_ended_first() {
    let bench = Bench::new(SessionOptions::default())
        .answers(
            SessionAsk::State,
            [good(connect(ActivationState::ACTIVATED, NwError::NONE))],
        )
        .answers(
            SessionAsk::Deactivate,
            [status(Status::CONTEXT_NOT_ACTIVATED, Vec::new())],
        )
        .climb();
    assert!(bench.online);
    assert_eq!(bench.count(SessionAsk::Deactivate), 1);
    assert!(bench.said("a session of an earlier program is active"));
}

#[test]
fn a_session_of_our_own_is_not_laid_to_another_program() {
    let mut bench = Bench::new(SessionOptions::default())
        .answers(
            SessionAsk::Addresses,
            vec![status(Status::FAILURE, Vec::new()); 100],
        )
        .climb();
    assert!(matches!(bench.back, Some(Input::Failed { .. })));
    bench = bench.answers(
        SessionAsk::State,
        [good(connect(ActivationState::ACTIVATED, NwError::NONE))],
    );
    bench = bench.answers(SessionAsk::Addresses, []);
    bench.start(Rung::Connect);
    bench.run();
    assert!(bench.online);
    assert!(bench.said("the session is still active after its failure"));
    assert!(!bench.said("earlier program"));
}

#[test]
fn connect_leads_back_to_what_is_missing() {
    for (refusal, missing) in [
        (Status::PACKET_SERVICE_DETACHED, Rung::PacketService),
        (Status::NOT_REGISTERED, Rung::Registration),
        (Status::RADIO_POWER_OFF, Rung::Radio),
        (Status::SIM_NOT_INSERTED, Rung::Sim),
    ] {
        let mut bench = Bench::new(SessionOptions::default())
            .answers(SessionAsk::Activate, [status(refusal, Vec::new())])
            .climb();
        assert!(
            matches!(&bench.back, Some(Input::Detour { rung, .. }) if *rung == missing),
            "{:?}",
            bench.back
        );
        bench.start(Rung::Connect);
        bench.run();
        assert!(bench.online);
    }
    let gone = status(Status::CONTEXT_NOT_ACTIVATED, Vec::new());
    let bench = Bench::new(SessionOptions::default())
        .answers(SessionAsk::Addresses, [gone])
        .climb();
    assert!(matches!(
        bench.back,
        Some(Input::Detour {
            rung: Rung::Connect,
            ..
        })
    ));
}

#[test]
fn a_busy_modem_is_asked_again() {
    let busy = || status(Status::BUSY, Vec::new());
    let bench = Bench::new(SessionOptions::default())
        .answers(SessionAsk::Activate, vec![busy(); 20])
        .answers(SessionAsk::Addresses, vec![busy(); 5])
        .climb();
    assert!(bench.online);
    let bench = Bench::new(SessionOptions::default())
        .answers(SessionAsk::Activate, vec![busy(); 40])
        .climb();
    assert_eq!(
        bench
            .asked
            .iter()
            .filter(|ask| **ask == SessionAsk::Activate)
            .count(),
        31
    );
    match bench.back {
        Some(Input::Failed { failure, after, .. }) => {
            assert!(failure.what.contains("busy"), "{failure}");
            assert_eq!(after.as_secs(), 60);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn activation_may_end_with_an_indication() {
    let mut bench = Bench::new(SessionOptions::default());
    bench.script.insert(
        SessionAsk::Activate,
        [good(connect(ActivationState::ACTIVATING, NwError::NONE))].into(),
    );
    bench.start(Rung::Connect);
    bench.work();
    assert!(!bench.online);
    bench.indicate(
        bc::CONNECT,
        &connect(ActivationState::ACTIVATED, NwError::NONE),
    );
    assert!(bench.online);

    let bench = Bench::new(SessionOptions::default())
        .answers(
            SessionAsk::Activate,
            [good(connect(ActivationState::ACTIVATING, NwError::NONE))],
        )
        .climb();
    assert!(
        bench.failure().what.contains("not activated in"),
        "{}",
        bench.failure()
    );
    let bench = Bench::new(SessionOptions::default())
        .answers(SessionAsk::Activate, [Outcome::NoAnswer])
        .climb();
    assert!(bench.failure().what.contains("no answer in 180 s"));
}

#[test]
fn garbage_answers_fail_with_words() {
    for ask in [SessionAsk::Activate, SessionAsk::Addresses] {
        let garbage = || good(vec![0xff; 7]);
        let bench = Bench::new(SessionOptions::default())
            .answers(ask, vec![garbage(); 3])
            .climb();
        assert!(!bench.failure().what.is_empty(), "{ask:?}");
    }
    let bench = Bench::new(SessionOptions::default())
        .answers(SessionAsk::State, [good(vec![0xff; 7])])
        .climb();
    assert!(bench.online);
    let bench = Bench::new(SessionOptions::default())
        .answers(
            SessionAsk::State,
            [status(Status::NO_DEVICE_SUPPORT, Vec::new())],
        )
        .climb();
    assert!(bench.online);
}

#[test]
fn failures_lead_to_the_right_rung() {
    let led = |ask, outcomes: Vec<Outcome>| {
        let bench = Bench::new(SessionOptions::default())
            .answers(ask, outcomes)
            .climb();
        let (failure, from) = bench.failed();
        (failure.rung().unwrap(), from)
    };
    let refused = || Outcome::Refused("garbage".into());
    let failure = || status(Status::FAILURE, Vec::new());
    assert_eq!(
        led(SessionAsk::Activate, vec![failure()]),
        (Rung::Connect, Rung::PacketService)
    );
    assert_eq!(
        led(SessionAsk::Activate, vec![refused()]),
        (Rung::Connect, Rung::Found)
    );
    assert_eq!(
        led(SessionAsk::Activate, vec![Outcome::NoAnswer]),
        (Rung::Connect, Rung::Connect)
    );
    assert_eq!(
        led(SessionAsk::Addresses, vec![failure()]),
        (Rung::IpConfiguration, Rung::Connect)
    );
    assert_eq!(
        led(
            SessionAsk::Addresses,
            vec![Outcome::NoAnswer, Outcome::NoAnswer]
        ),
        (Rung::IpConfiguration, Rung::Found)
    );
}

#[test]
fn losses_lead_to_the_right_rung() {
    let lost = |info: &[u8]| {
        let mut bench = Bench::new(SessionOptions::default()).climb();
        bench.indicate(bc::CONNECT, info);
        bench.back.take()
    };
    let ended = lost(&connect(
        ActivationState::DEACTIVATED,
        NwError::REGULAR_DEACTIVATION,
    ));
    assert!(
        matches!(
            ended,
            Some(Input::Lost {
                from: Rung::Registration,
                ..
            })
        ),
        "{ended:?}"
    );
    assert_eq!(
        lost(&connect(ActivationState::ACTIVATED, NwError::NONE)),
        None
    );
    assert_eq!(lost(&[1, 2, 3]), None);
    // The end of another session does not concern this one.
    let other = super::connect(
        3,
        ActivationState::DEACTIVATED,
        NwError::REGULAR_DEACTIVATION,
    );
    assert_eq!(lost(&other), None);
}

#[test]
fn an_end_on_the_way_leads_back() {
    let mut bench = Bench::new(SessionOptions::default())
        .answers(SessionAsk::Addresses, [good(ip(false, false))]);
    bench.start(Rung::Connect);
    bench.work();
    bench.indicate(
        bc::CONNECT,
        &connect(ActivationState::DEACTIVATED, NwError::REGULAR_DEACTIVATION),
    );
    assert!(
        matches!(
            bench.back,
            Some(Input::Detour {
                rung: Rung::PacketService,
                ..
            })
        ),
        "{:?}",
        bench.back
    );
    assert_eq!(bench.session.poll_timeout(), None);
}

#[test]
fn suspicion_looks_at_the_session() {
    let mut bench = Bench::new(SessionOptions::default()).climb();
    let ended = good(connect(ActivationState::DEACTIVATED, NwError::NONE));
    bench.script.insert(SessionAsk::State, [ended].into());
    bench.session.judged(
        Instant::now(),
        Verdict::FellSilent {
            asked: 3,
            filled: false,
        },
        &Framing::bare(1514, 512),
        None,
    );
    let diagnosis = bench.session.next_step();
    assert!(
        matches!(diagnosis, Some(Step::Tell(Event::Diagnosis(_)))),
        "{diagnosis:?}"
    );
    bench.work();
    assert!(
        matches!(
            bench.back,
            Some(Input::Lost {
                from: Rung::Registration,
                ..
            })
        ),
        "{:?}",
        bench.back
    );
}

proptest::proptest! {
    /// Any inputs in any order cause no panic.
    #[test]
    fn anything_may_happen(
        leads in proptest::prelude::any::<bool>(),
        inputs in proptest::collection::vec((0u8..9, 0usize..4, proptest::prelude::any::<u8>(), 0usize..80), 0..60),
    ) {
        let policy = if leads { LossPolicy::BackToRung } else { LossPolicy::Rest };
        let mut now = Instant::now();
        let mut session = DataSession::new(SessionOptions::default(), policy, now);
        for (kind, which, byte, length) in inputs {
            while session.next_step().is_some() {}
            let ask = [
                SessionAsk::State, SessionAsk::Deactivate, SessionAsk::Activate, SessionAsk::Addresses,
            ][which];
            let rung = [Rung::Connect, Rung::IpConfiguration, Rung::Host, Rung::Online][which];
            let info = vec![byte; length];
            match kind {
                0 => session.start(now, rung, facts(now)),
                1 => session.answer(now, ask, good(info)),
                2 => session.answer(now, ask, status(Status(u32::from(byte)), info)),
                3 => session.answer(now, ask, Outcome::NoAnswer),
                4 => session.indication(now, if byte & 1 == 0 { bc::CONNECT } else { bc::IP_CONFIGURATION }, &info),
                5 => session.host(now, Ok(Interface::default())),
                6 => session.data(now, Ok(String::new())),
                7 => session.host_lost(now, "gone"),
                _ => session.rest("away"),
            }
            now += Duration::from_secs(u64::from(byte));
            session.timeout(now);
        }
    }
}
