//! Several data sessions over one data path, against the emulated modem in this process.

mod bench;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bench::{Bench, PATIENCE, options, session};
use uwwan_mbim::services::basic_connect::{
    self as bc, ActivationCommand, ConnectSet, context_type,
};
use uwwan_mbim::session::Command;
use uwwan_modem::client::Client;
use uwwan_modem::event::{SessionChange, SessionEvent};
use uwwan_modem::options::{Format, IpType, Placement, SessionOptions};
use uwwan_modem::{Event, FailureKind, Options, Place};

#[test]
fn each_session_has_addresses_traffic_and_counters_of_its_own() {
    let mut bench = Bench::start("", options(vec![session(3), session(7)]));
    bench.online(&[3, 7]);
    assert_eq!(bench.host_ends(), 3);
    for id in [3, 7] {
        let status = bench.session(id);
        let address = status.addresses.unwrap().ipv4.unwrap();
        assert_eq!(address.address, uwwan_emulator::far_side::v4(id).address);
        assert_eq!(status.interface.unwrap().name, format!("s{id}"));
        assert_eq!(status.apn, format!("apn{id}"));
    }
    for (id, count) in [(3, 5), (7, 2), (0, 3)] {
        for _ in 0..count {
            let sent = bench.send_echo(id, 200);
            assert_eq!(bench.answer(id, PATIENCE), Some(sent));
        }
    }
    // Counters are published at the end of a round, after the host has received its datagrams.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (three, seven) = (bench.session(3), bench.session(7));
        let traffic = bench.handle.status().traffic;
        let packets = [
            three.uplink.packets,
            three.downlink.packets,
            seven.uplink.packets,
            seven.downlink.packets,
            traffic.uplink.packets,
            traffic.downlink.packets,
        ];
        if packets == [5, 5, 2, 2, 10, 10] {
            assert_eq!((three.uplink.bytes, seven.downlink.bytes), (1000, 400));
            break;
        }
        assert!(Instant::now() < deadline, "{packets:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    bench.stop();
}

#[test]
fn interleaved_traffic_loses_nothing_in_any_layout() {
    let layouts = [
        options(vec![session(1), session(5)]),
        Options {
            ntb: Some(Format::Ntb32),
            ..options(vec![session(1), session(5)])
        },
        Options {
            ndp: Some(Placement::Front),
            in_flight: Some(2),
            ..options(vec![session(1), session(5)])
        },
    ];
    for choices in layouts {
        let mut bench = Bench::start("black_hole_ndp_front=off", choices);
        bench.online(&[1, 5]);
        for round in 0..20 {
            let mut sent = [
                (0, HashSet::new()),
                (1, HashSet::new()),
                (5, HashSet::new()),
            ];
            for n in 0..24 {
                let (id, numbers) = &mut sent[n % 3];
                numbers.insert(bench.send_echo(*id, 28 + (round * 24 + n) * 3));
            }
            for (id, mut numbers) in sent {
                while !numbers.is_empty() {
                    let number = bench.answer(id, PATIENCE).expect("an echo was lost");
                    assert!(numbers.remove(&number), "echo {number} on session {id}");
                }
            }
        }
        bench.stop();
    }
}

#[test]
fn a_session_may_be_of_another_family() {
    let six = SessionOptions {
        ip_type: IpType::Ipv6,
        ..session(2)
    };
    let mut bench = Bench::start("ipv6=on", options(vec![six]));
    bench.online(&[2]);
    let addresses = bench.session(2).addresses.unwrap();
    assert!(addresses.ipv4.is_none());
    assert_eq!(
        addresses.ipv6.unwrap().address,
        uwwan_emulator::far_side::v6(2).address
    );
    bench.ping_through(0);
    bench.stop();
}

#[test]
fn a_session_that_is_refused_takes_nothing_else_down() {
    let mut choices = options(vec![
        session(1),
        SessionOptions {
            apn: "internet".into(),
            ..session(2)
        },
        session(9),
    ]);
    choices.sessions[0].apn = "internet".into();
    let mut bench = Bench::start("apn=internet,max_sessions=8", choices);
    bench.online(&[2]);
    let refused = |id: u8| move |event: &Event| matches!(event, Event::Session(SessionEvent { session, change: SessionChange::Offline { retry_seconds: Some(_), .. } }) if *session == id);
    bench.until("the refusal of session 9", refused(9));
    bench.until("the refusal of session 1", refused(1));
    assert!(
        bench.session(1).why.contains("missing_or_unknown_apn"),
        "{:?}",
        bench.session(1)
    );
    assert!(
        bench.session(9).why.contains("8 sessions"),
        "{:?}",
        bench.session(9)
    );
    bench.ping_through(0);
    bench.ping_through(2);
    bench.stop();
}

#[test]
fn a_session_that_is_ended_comes_back_with_its_interface() {
    let mut bench = Bench::start("", options(vec![session(3)]));
    bench.online(&[3]);
    bench.ping_through(3);
    let end = ConnectSet {
        session_id: 3,
        activation_command: ActivationCommand::DEACTIVATE,
        context_type: context_type::INTERNET,
        ..ConnectSet::default()
    };
    // The driver learns of the deactivated session by the answer alone, or by an indication.
    Client::beside(&bench.handle)
        .unwrap()
        .command(Command::set(bc::CONNECT, &end), PATIENCE)
        .unwrap();
    bench.until("its end", |event| {
        matches!(
            event,
            Event::Session(SessionEvent {
                session: 3,
                change: SessionChange::Offline { .. },
            })
        )
    });
    bench.ping_through(0);
    bench.online(&[3]);
    bench.ping_through(3);
    assert_eq!(bench.host_ends(), 2, "the interface is kept");
    bench.stop();
}

#[test]
fn a_reset_of_the_modem_brings_all_of_them_back() {
    let mut bench = Bench::start("", options(vec![session(3)]));
    bench.online(&[3]);
    bench.ping_through(3);
    bench.emulator.reset_firmware();
    bench.until("the loss", |event| matches!(event, Event::Lost { .. }));
    bench.until("its return", |event| {
        matches!(
            event,
            Event::Session(SessionEvent {
                session: 3,
                change: SessionChange::Online { .. },
            })
        )
    });
    bench.ping_through(3);
    bench.ping_through(0);
    assert_eq!(bench.host_ends(), 2, "interfaces are kept");
    bench.stop();
}

#[test]
fn senseless_sessions_are_refused_at_the_start() {
    let refused = |sessions: Vec<SessionOptions>| {
        let emulator = uwwan_emulator::Emulator::new(
            uwwan_emulator::Knobs::default(),
            uwwan_emulator::FarSide::BuiltIn,
        )
        .unwrap();
        let error = uwwan_modem::Modem::start(
            emulator.backend(),
            uwwan_modem::Selector::Any,
            options(sessions),
            Box::new(uwwan_modem::host::TunProvider::default()),
            Box::new(|_| {}),
        )
        .unwrap_err();
        let of_sessions =
            |place: &Place| matches!(place, Place::Named(name) if name.starts_with("--session"));
        error.kind == FailureKind::Usage && of_sessions(&error.place)
    };
    assert!(refused(vec![session(3), session(3)]));
    assert!(refused(vec![session(0)]));
    let long = SessionOptions {
        apn: "x".repeat(101),
        ..session(1)
    };
    assert!(refused(vec![long]));
}
