//! Losses, and the rungs from which the bring-up begins again.

use super::*;
use crate::explain;

#[test]
fn losses_lead_to_the_right_rung() {
    let lost = |id, info| {
        let mut bench = Bench::new(Options::default()).climb();
        bench.indicate(id, info);
        bench.lost.take()
    };
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
    let abroad = lost(
        bc::REGISTER_STATE,
        registered(RegisterState::ROAMING, NwError::NONE),
    );
    assert_eq!(abroad.unwrap().0, Rung::Registration);
    assert_eq!(
        lost(
            bc::REGISTER_STATE,
            registered(RegisterState::SEARCHING, NwError::NONE)
        ),
        None
    );
    assert_eq!(lost(bc::RADIO_STATE, vec![1, 2, 3]), None);
}

#[test]
fn unplugged_at_any_rung() {
    // A successful run gives the number of actions; the device is then lost after each of them.
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
fn session_0_leads_back_and_not_for_ever() {
    let mut bench = Bench::new(Options::default());
    bench.session_succeeds = false;
    bench.ladder.start(bench.now, Rung::Found);
    let failure = explain::failure(Rung::Connect, false, "CONNECT: detached".into(), "", "");
    let mut rungs = Vec::new();
    while bench.failed.is_none() {
        while let Some(action) = bench.ladder.next_action() {
            bench.perform(action);
        }
        rungs.push(bench.ladder.rung);
        let detour = Input::Detour {
            rung: Rung::PacketService,
            failure: failure.clone(),
            after: Duration::from_secs(7),
        };
        bench.ladder.handle(bench.now, detour);
        let action = bench.ladder.next_action().unwrap();
        if let Action::Failed { after, .. } = &action {
            assert_eq!(*after, Duration::from_secs(7));
        }
        bench.perform(action);
    }
    assert_eq!(rungs, [Rung::Connect; 4]);
    assert_eq!(bench.count(Ask::PacketService), 4);
    assert_eq!(bench.count(Ask::RegisterState), 1);
    assert!(bench.said("! CONNECT: detached; back to packet service"));
    assert_eq!(bench.failed, Some((failure, Rung::PacketService)));
    // The ladder climbs no rung of its own when it starts from a rung of session 0.
    bench.log.clear();
    bench.session_succeeds = true;
    bench.ladder.start(bench.now, Rung::IpConfiguration);
    bench.run();
    assert_eq!(bench.log, ["session 0 from ip configuration"]);
    assert!(bench.ladder.is_online());
}

#[test]
fn changes_are_losses_only_while_session_0_is_online() {
    let off = radio(RadioSwitchState::OFF, RadioSwitchState::ON);
    let mut bench = Bench::new(Options::default());
    bench.session_succeeds = false;
    bench.ladder.start(bench.now, Rung::Found);
    while let Some(action) = bench.ladder.next_action() {
        bench.perform(action);
    }
    bench.indicate(bc::RADIO_STATE, off.clone());
    assert_eq!((bench.ladder.poll_timeout(), &bench.lost), (None, &None));
    bench.ladder.handle(bench.now, Input::Online);
    bench.indicate(bc::RADIO_STATE, off);
    assert!(bench.lost.is_some());
}

proptest::proptest! {
    /// Any inputs in any order cause no panic, and the ladder always waits for something or is
    /// suspended.
    #[test]
    fn anything_may_happen(inputs in proptest::collection::vec((0u8..10, 0u8..13, proptest::prelude::any::<u8>(), 0usize..80), 0..60)) {
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
                Ask::SignalReports, Ask::Signal,
            ][usize::from(which)];
            let input = match kind {
                0 => Input::Opened,
                1 => MUTE,
                2 => Input::Answer(ask, good(info)),
                3 => Input::Answer(ask, status(Status(u32::from(byte)), info)),
                4 => Input::Answer(ask, Outcome::NoAnswer),
                5 => Input::Indication { id: CidId { service: bc::UUID, cid: u32::from(which) }, info },
                6 => Input::Online,
                8 => Input::Detour {
                    rung: Rung::ALL[usize::from(which)],
                    failure: explain::no_answer(Rung::Connect, "", 0),
                    after: Duration::ZERO,
                },
                7 => Input::Lost { from: Rung::ALL[usize::from(which) % 16], why: String::new() },
                _ => Input::OpenRefused(Status(u32::from(byte))),
            };
            bench.ladder.handle(bench.now, input);
            bench.now += Duration::from_secs(u64::from(byte));
            bench.ladder.timeout(bench.now);
        }
    }
}
