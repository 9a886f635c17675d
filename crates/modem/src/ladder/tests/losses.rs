//! What is lost, and where the way up begins again.

use super::*;
use crate::failure::FailureKind;

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
        kind: FailureKind::Permission,
        what: "create a TUN interface".into(),
        why: "not permitted".into(),
        next: "run as root".into(),
    };
    bench.ladder.handle(bench.now, Input::Host(Err(error)));
    bench.run();
    assert_eq!(bench.failure().rung, Rung::Host);
    assert_eq!(bench.failure().kind, FailureKind::Permission);
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
