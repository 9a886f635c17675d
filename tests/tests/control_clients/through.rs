//! The program's own client through a running driver.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use uwwan_mbim::services::basic_connect::{
    self as bc, ActivationCommand, ActivationState, ConnectInfo, ConnectSet, DeviceCaps,
    RadioState, RadioStateSet, RadioSwitchState,
};
use uwwan_mbim::session::Command;
use uwwan_mbim::status::Status;
use uwwan_modem::FailureKind;
use uwwan_modem::client::Client;

use crate::shared::Shared;
use uwwan_tests::bench::{PATIENCE, quick};

fn connect(session_id: u32, activation_command: ActivationCommand) -> ConnectSet {
    ConnectSet {
        session_id,
        activation_command,
        access_string: "internet".into(),
        ip_type: bc::ContextIpType::IPV4,
        ..ConnectSet::default()
    }
}

#[test]
fn many_ask_at_once_and_each_gets_its_answer() {
    let shared = Shared::start("", |_| {});
    let socket = shared.socket();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::through(&socket).unwrap();
                for round in 0..20 {
                    let caps: DeviceCaps = client.query(bc::DEVICE_CAPS).unwrap();
                    assert!(caps.firmware_info.starts_with("11.617."));
                    let ask = ConnectInfo {
                        session_id: round % 8,
                        ..ConnectInfo::default()
                    };
                    let answer: ConnectInfo = client.query_with(bc::CONNECT, &ask).unwrap();
                    assert_eq!(answer.session_id, round % 8, "somebody else's answer");
                }
                client.close().unwrap();
            });
        }
    });
    shared.stop();
}

#[test]
fn a_second_session_comes_and_goes_beside_the_drivers() {
    let shared = Shared::start("", |_| {});
    let mut one = shared.client();
    let up: ConnectInfo = one
        .set(bc::CONNECT, &connect(3, ActivationCommand::ACTIVATE))
        .unwrap();
    assert_eq!(up.activation_state, ActivationState::ACTIVATED);
    let down: ConnectInfo = one
        .set(bc::CONNECT, &connect(3, ActivationCommand::DEACTIVATE))
        .unwrap();
    assert_eq!(down.activation_state, ActivationState::DEACTIVATED);
    drop(one);
    shared.stop();
}

#[test]
fn indications_reach_those_who_want_them() {
    let shared = Shared::start("indication_storm_hz=50", |_| {});
    let (mut standard, mut chosen) = (shared.client(), shared.client());
    chosen.subscribe(&[bc::RADIO_STATE]).unwrap();
    while chosen.next_indication(Duration::ZERO).unwrap().is_some() {}
    let deadline = Instant::now() + PATIENCE;
    for _ in 0..5 {
        let news = standard.next_indication(PATIENCE).unwrap().unwrap();
        assert_eq!(news.id, bc::SIGNAL_STATE);
        news.decode::<bc::SignalState>().unwrap();
        assert!(Instant::now() < deadline);
    }
    assert_eq!(chosen.next_indication(Duration::ZERO).unwrap(), None);
    drop((standard, chosen));
    shared.stop();
}

#[test]
fn what_the_driver_holds_stays_unless_one_insists() {
    let mut shared = Shared::start("", |_| {});
    let mut client = shared.client();
    let off = RadioStateSet {
        radio_state: RadioSwitchState::OFF,
    };
    for command in [
        Command::set(bc::RADIO_STATE, &off),
        Command::set(bc::CONNECT, &connect(0, ActivationCommand::DEACTIVATE)),
    ] {
        let answer = client.command(command, PATIENCE).unwrap();
        assert_eq!(answer.status, Status::OPERATION_NOT_ALLOWED);
    }
    assert!(shared.bench.handle.status().online);
    client.insist().unwrap();
    let state: RadioState = client.set(bc::RADIO_STATE, &off).unwrap();
    assert_eq!(state.sw_radio_state, RadioSwitchState::OFF);
    // The driver notices the loss, and brings the session up again.
    shared.bench.until("the loss", |event| {
        matches!(event, uwwan_modem::Event::Lost { .. })
    });
    shared.bench.online();
    // The modem sends no indication of this, so the driver learns of it from the answer.
    let down: ConnectInfo = client
        .set(bc::CONNECT, &connect(0, ActivationCommand::DEACTIVATE))
        .unwrap();
    assert_eq!(down.activation_state, ActivationState::DEACTIVATED);
    shared.bench.until("the loss", |event| {
        matches!(event, uwwan_modem::Event::Lost { .. })
    });
    shared.bench.online();
    drop(client);
    shared.stop();
}

#[test]
fn the_modem_unplugged_is_told_to_all_who_wait() {
    let mut shared = Shared::start("", |_| {});
    shared
        .bench
        .emulator
        .adjust(|knobs| knobs.connect_ms = 120_000);
    let mut clients = [shared.client(), shared.client()];
    let waiting: Vec<_> = clients
        .iter_mut()
        .zip([3, 4])
        .map(|(client, session)| {
            let content = connect(session, ActivationCommand::ACTIVATE);
            client
                .start(Command::set(bc::CONNECT, &content), PATIENCE)
                .unwrap()
        })
        .collect();
    // Both are under way, or in the queue.
    for (client, pending) in clients.iter_mut().zip(&waiting) {
        assert_eq!(
            client.poll(*pending, Duration::from_millis(200)).unwrap(),
            None
        );
    }
    let unplugged = Instant::now();
    shared.bench.emulator.unplug();
    for (client, pending) in clients.iter_mut().zip(waiting) {
        let error = client.poll(pending, PATIENCE).unwrap_err();
        assert_eq!(error.kind, FailureKind::Gone, "{error:?}");
    }
    assert!(
        unplugged.elapsed() < Duration::from_secs(30),
        "not a timeout of the command"
    );
    shared.bench.until("the loss", |event| {
        matches!(event, uwwan_modem::Event::Lost { .. })
    });
    // New clients are served as soon as the modem is back.
    shared.bench.emulator.adjust(|knobs| knobs.connect_ms = 0);
    shared.bench.emulator.plug();
    let mut client = shared.client();
    let _: DeviceCaps = client.query(bc::DEVICE_CAPS).unwrap();
    shared.bench.online();
    drop((client, clients));
    shared.stop();
}

#[test]
fn nobody_there_is_told_apart() {
    let folder = std::env::temp_dir();
    let error = Client::through(&folder.join("uwwan-nobody")).unwrap_err();
    assert_eq!(error.kind, FailureKind::NotRunning);
    assert!(error.next[0].contains("uwwan up"));
}

#[test]
fn a_modem_that_starts_is_waited_for() {
    let shared = Shared::starting("slow_open_ms=1500", quick(), |_| {});
    let mut client = shared.client();
    let _: DeviceCaps = client.query(bc::DEVICE_CAPS).unwrap();
    client.close().unwrap();
    let mut shared = shared;
    shared.bench.online();
    shared.stop();
}

#[test]
fn rubbish_on_the_socket_harms_nobody() {
    let shared = Shared::start("", |_| {});
    let mut client = shared.client();
    for rubbish in [&[0xff; 4096][..], b"GET / HTTP/1.1\r\n\r\n", &[0; 64], b""] {
        let mut socket = UnixStream::connect(shared.socket()).unwrap();
        let _ = socket.write_all(rubbish);
        let _: DeviceCaps = client.query(bc::DEVICE_CAPS).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        let _ = socket.read(&mut [0; 64]);
    }
    client.close().unwrap();
    shared.stop();
}
