//! Rules and controls of a running modem, as its host sees them.

mod common;

use std::time::{Duration, Instant};

use uwwan_emulator::rules::file::parse;
use uwwan_emulator::{Effect, Emulator, FarSide, KnobError, Setup};
use uwwan_ncm::Placement;
use uwwan_usb::device as usb;

use common::{
    ContextIpType, Modem, OPEN, QUERY, SET, Status, basic, command, connect_set, emulator,
};

/// Time that is much longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(20);

/// Switches a modem on with rules.
fn with_rules(text: &str) -> Emulator {
    let content = parse(&format!("[knobs]\nsettle_ms = 0\nabsent_ms = 50\n{text}")).unwrap();
    let setup = Setup {
        knobs: content.knobs.join(",").parse().unwrap(),
        rules: content.rules,
        ..Setup::default()
    };
    Emulator::start(setup, FarSide::BuiltIn).unwrap()
}

#[test]
fn an_at_line_and_an_mbim_command_are_answered() {
    let emulator = with_rules(
        r#"
        [[rule]]
        at = "at+csq"
        answer = ["+CSQ: 3,99", "OK"]
        times = 1

        [[rule]]
        mbim = { service = "basic_connect", cid = "signal_state", kind = "query" }
        status = "busy"
        info = "0102"
        times = 1

        [[rule]]
        mbim = { service = "basic_connect", cid = "radio_state", kind = "query" }
        info = "aa000000"
        after_ms = 50

        [[rule]]
        mbim = { service = "basic_connect", cid = "connect", kind = "set" }
        info = "bb000000"
        "#,
    );
    let modem = Modem::switch(&emulator, &[0, 3]);
    modem.prepare_data();
    modem.send(&OPEN);
    assert_eq!(modem.get()[..4], [1, 0, 0, 0x80]);
    assert!(modem.at("AT+CSQ").contains("+CSQ: 3,99"));
    // The rule answers once.
    let own = modem.at("AT+CSQ");
    assert!(own.contains("+CSQ: 21,99"), "{own}");
    let refused = modem.command(2, basic::SIGNAL_STATE, QUERY, &[]);
    assert_eq!(refused, (Status::BUSY, vec![1, 2]));
    assert_eq!(
        modem.command(3, basic::SIGNAL_STATE, QUERY, &[]).0,
        Status::NONE
    );
    // A delayed answer comes after its time.
    let begun = Instant::now();
    modem.send(&command(4, basic::RADIO_STATE, QUERY, &[]));
    let late = loop {
        let answer = modem.get();
        if answer.starts_with(&[3, 0, 0, 0x80]) {
            break answer;
        }
        assert!(begun.elapsed() < PATIENCE, "no answer");
    };
    assert!(begun.elapsed() >= Duration::from_millis(50));
    assert_eq!(late[48..], [0xaa, 0, 0, 0]);
    // A request that is answered with success is executed as well, so the data session comes up.
    let connect = connect_set("internet", ContextIpType::IPV4);
    let said = modem.command(5, basic::CONNECT, SET, &connect);
    assert_eq!(said, (Status::NONE, vec![0xbb, 0, 0, 0]));
    let mut ends = modem.data_queues();
    ends.ping(Placement::End, 1);
    assert!(ends.receive(PATIENCE).is_some());
    assert_eq!(emulator.report().total_violations(), 0);
}

#[test]
fn class_requests_are_answered_refused_and_held_up() {
    let emulator = with_rules(
        r#"
        [[rule]]
        request = { kind = 0xa1, request = 0x80 }
        bytes = "1c00 0100"
        after_ms = 30
        times = 1

        [[rule]]
        request = { kind = 0x21, request = 0x86 }
        stall = true
        "#,
    );
    let modem = Modem::switch(&emulator, &[0, 3]);
    let ask = |request, room: &mut [u8]| {
        let setup = usb::Setup {
            request_type: 0xa1,
            request,
            value: 0,
            index: 0,
        };
        modem.device.control_in(setup, room, PATIENCE)
    };
    let mut room = [0; 28];
    let begun = Instant::now();
    assert_eq!(ask(0x80, &mut room).unwrap(), 4);
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert_eq!(room[..4], [0x1c, 0, 1, 0]);
    assert_eq!(ask(0x80, &mut room).unwrap(), 28);
    let setup = usb::Setup {
        request_type: 0x21,
        request: 0x86,
        value: 0,
        index: 0,
    };
    let size = 16384u32.to_le_bytes();
    assert!(modem.device.control_out(setup, &size, PATIENCE).is_err());
}

#[test]
fn events_turn_knobs_indicate_and_reset() {
    let emulator = with_rules(
        r#"
        [[rule]]
        when = { state = "connected" }
        set = { signal = 4 }
        indicate = { service = "basic_connect", cid = "signal_state", info = "cc" }

        [[rule]]
        when = { ntbs_out = 3 }
        do = "reset"
        "#,
    );
    let modem = Modem::online(&emulator);
    let begun = Instant::now();
    let indication = loop {
        let message = modem.get();
        if message.starts_with(&[7, 0, 0, 0x80]) {
            break message;
        }
        assert!(begun.elapsed() < PATIENCE, "no indication");
    };
    assert!(indication.ends_with(&[0xcc]));
    assert!(modem.at("AT+CSQ").contains("+CSQ: 4,99"));
    let mut ends = modem.data_queues();
    ends.ping(Placement::End, 1);
    ends.ping(Placement::End, 2);
    assert_eq!(emulator.report().counters.resets, 0);
    // The third NTB is the last one of this start.
    let _ = ends.try_ping(Placement::End, 3);
    while emulator.report().counters.resets == 0 {
        assert!(begun.elapsed() < PATIENCE, "no reset");
        std::thread::yield_now();
    }
}

#[test]
fn a_modem_is_told_while_it_runs() {
    let emulator = emulator("settle_ms=0");
    let controls = emulator.controls();
    let modem = Modem::switch(&emulator, &[0, 3]);
    assert!(modem.at("AT+CSQ").contains("+CSQ: 21,99"));
    let set = |text: &[&str]| {
        let all: Vec<String> = text.iter().map(|one| (*one).to_owned()).collect();
        controls.set(&all)
    };
    let turned = set(&["signal=3", "ntb-in-max=8192"]).unwrap();
    assert_eq!(
        turned,
        [("signal", Effect::Now), ("ntb_in_max", Effect::Selection)]
    );
    assert!(modem.at("AT+CSQ").contains("+CSQ: 3,99"));
    // Either all knobs are turned or none.
    let refused = set(&["signal=9", "start_configuration=1"]).unwrap_err();
    assert_eq!(refused, KnobError::Fixed("start_configuration"));
    assert_eq!(controls.knobs().unwrap().signal, 3);
    drop(emulator);
    assert_eq!(controls.knobs(), None);
}
