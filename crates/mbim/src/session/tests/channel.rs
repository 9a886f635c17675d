//! Tests of the control channel: fragments, notifications, reads and floods of indications.

use super::*;

#[test]
fn long_answers_and_commands_go_in_fragments() {
    let mut bench = Bench::opened(Config {
        max_control_message: 64,
        ..Config::default()
    });
    let command = Command {
        id: sms::SEND,
        kind: CommandKind::SET,
        info: vec![7; 100],
    };
    bench
        .session
        .command(bench.now, command, 10 * SECOND)
        .unwrap();
    let sent = bench.sent();
    assert_eq!(
        sent,
        [
            "fragment 0 of 3: reassemble first",
            "fragment 1 of 3: reassemble first",
            "fragment 2 of 3: reassemble first"
        ]
    );
    let (service, cid) = (sms::SEND.service, sms::SEND.cid);
    bench.answer(
        2,
        Body::CommandDone {
            service,
            cid,
            status: Status::NONE,
            info: vec![1; 200],
        },
    );
    let expected = Response {
        id: sms::SEND,
        status: Status::NONE,
        info: vec![1; 200],
    };
    assert_eq!(bench.events(), [response(2, Ok(expected))]);
}

/// Returns a session with fragments of 64 bytes that has asked for the device's capabilities, and the
/// fragments of the answer.
fn asked() -> (Bench, Vec<Vec<u8>>) {
    let mut bench = Bench::opened(Config {
        max_control_message: 64,
        ..Config::default()
    });
    bench.query(bc::DEVICE_CAPS);
    bench.sent();
    let body = Body::CommandDone {
        service: bc::UUID,
        cid: 1,
        status: Status::NONE,
        info: vec![1; 200],
    };
    let answer = Message {
        transaction: 2,
        body,
    };
    (bench, answer.encode(64))
}

#[test]
fn a_missing_fragment_ends_the_command_and_is_reported() {
    let (mut bench, parts) = asked();
    bench.session.handle_response(bench.now, &parts[0]);
    bench.session.handle_response(bench.now, &parts[2]);
    assert_eq!(bench.sent(), ["2 error fragment_out_of_sequence"]);
    assert!(matches!(
        bench.events()[..],
        [Event::Response {
            result: Err(CommandError::Fragments(_)),
            ..
        }]
    ));
    assert_eq!(bench.session.counters().garbage, 1);
}

#[test]
fn a_fragment_overdue_is_reported() {
    let (mut bench, parts) = asked();
    bench.session.handle_response(bench.now, &parts[0]);
    let mut sent = Vec::new();
    for _ in 0..3 {
        bench.wait(SECOND);
        sent.extend(bench.sent());
    }
    assert_eq!(sent, ["2 error timeout_fragment"]);
    assert_eq!(bench.session.reassembler.dropped(), 1);
}

#[test]
fn floods_of_indications_are_bounded_and_the_newest_state_survives() {
    let mut bench = Bench::opened(Config {
        max_events: 8,
        ..sixteen()
    });
    bench.query(bc::PIN);
    bench.sent();
    let indicate = |bench: &mut Bench, id: CidId, mark: u32| {
        let (service, cid) = (id.service, id.cid);
        bench.answer(
            0,
            Body::Indication {
                service,
                cid,
                info: mark.to_le_bytes().to_vec(),
            },
        );
    };
    indicate(&mut bench, bc::CONNECT, 1);
    for mark in 0..10_000 {
        indicate(&mut bench, bc::SIGNAL_STATE, mark);
    }
    indicate(&mut bench, bc::CONNECT, 2);
    bench.done(2, bc::PIN, Status::NONE);
    let events = bench.events();
    assert!(events.len() <= 9, "{}", events.len());
    assert!(events.contains(&ok(2, bc::PIN, Status::NONE)));
    assert!(events.contains(&Event::Indication {
        id: bc::CONNECT,
        info: 2u32.to_le_bytes().to_vec()
    }));
    assert!(events.contains(&Event::Indication {
        id: bc::SIGNAL_STATE,
        info: 9_999u32.to_le_bytes().to_vec()
    }));
    assert_eq!(bench.session.counters().indications, 10_002);
}

#[test]
fn indications_outside_an_open_session_are_only_counted() {
    let mut bench = Bench::new(sixteen());
    bench.session.open(bench.now);
    bench.sent();
    bench.answer(
        0,
        Body::Indication {
            service: bc::UUID,
            cid: 9,
            info: vec![],
        },
    );
    assert_eq!(bench.events(), []);
    assert_eq!(bench.session.counters().early_indications, 1);
}

#[test]
fn a_lost_notification_is_made_up_for_by_polling() {
    let mut bench = Bench::opened(sixteen());
    bench.query(bc::PIN);
    bench.query(bc::CONNECT);
    assert_eq!(bench.sent(), ["2 query 4", "3 query 12"]);
    bench.wait(2 * SECOND);
    assert_eq!(bench.transmits(), ["read"]);
    let answer = |transaction, cid| {
        let body = Body::CommandDone {
            service: bc::UUID,
            cid,
            status: Status::NONE,
            info: vec![],
        };
        Message { transaction, body }.encode_whole()
    };
    bench.session.handle_response(bench.now, &answer(2, 4));
    assert_eq!(
        bench.transmits(),
        ["read"],
        "where one notification got lost, others may have been"
    );
    bench.session.handle_response(bench.now, &answer(3, 12));
    assert_eq!(bench.events().len(), 2);
    bench.wait(10 * SECOND);
    assert_eq!(
        bench.transmits(),
        [""; 0],
        "nothing awaited, nothing polled"
    );
}

#[test]
fn notification_storms_cost_few_reads_and_no_memory() {
    let mut bench = Bench::opened(sixteen());
    let before = bench.session.counters().reads;
    for _ in 0..100_000 {
        bench.now += Duration::from_micros(100);
        bench.session.handle_notification(bench.now, &NOTIFIED);
        bench.sent();
    }
    let reads = bench.session.counters().reads - before;
    assert!(reads < 200, "{reads} reads in ten seconds");
    bench.query(bc::PIN);
    bench.now += SECOND;
    bench
        .session
        .handle_notification(bench.now, &[0xa1, 0x2a, 0, 0, 0, 0, 8, 0, 1, 2, 3]);
    bench.session.handle_notification(bench.now, &[0xa1]);
    let counters = bench.session.counters();
    assert_eq!(
        (
            counters.other_notifications,
            counters.malformed_notifications
        ),
        (1, 1)
    );
}

#[test]
fn stalls_are_harmless_and_lasting_failures_end_the_session() {
    let mut bench = Bench::opened(sixteen());
    for _ in 0..100 {
        bench.session.handle_notification(bench.now, &NOTIFIED);
        bench.now += SECOND;
        assert_eq!(bench.transmits(), ["read"]);
        bench
            .session
            .handle_read_error(bench.now, &ReadError::Stall);
    }
    assert_eq!(bench.session.state(), State::Open);
    for _ in 0..16 {
        bench
            .session
            .handle_read_error(bench.now, &ReadError::Other("timed out".to_owned()));
    }
    assert!(matches!(&bench.events()[..], [Event::Lost { why }] if why.contains("timed out")));
}

#[test]
fn garbage_and_oversized_reads_are_survived() {
    let mut bench = Bench::opened(Config {
        max_control_message: 64,
        ..Config::default()
    });
    bench.query(bc::PIN);
    bench.sent();
    for bytes in [
        &[0u8][..],
        &[0xff; 64],
        &[3, 0, 0, 0x80, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0],
        &[0; 4000],
    ] {
        bench.session.handle_response(bench.now, bytes);
    }
    let body = Body::CommandDone {
        service: bc::UUID,
        cid: 4,
        status: Status::NONE,
        info: vec![0; 500],
    };
    bench.session.handle_response(
        bench.now,
        &Message {
            transaction: 2,
            body,
        }
        .encode_whole(),
    );
    assert_eq!(bench.events().len(), 1);
    let counters = bench.session.counters();
    assert_eq!((counters.garbage, counters.oversized), (4, 2));
}

/// Two answers and an indication come in one read, with padding behind them.
#[test]
fn several_messages_in_one_read_are_all_taken() {
    let mut bench = Bench::opened(Config::default());
    bench.query(bc::PIN);
    bench.query(bc::RADIO_STATE);
    bench.sent();
    let done = |transaction, id: CidId| Message {
        transaction,
        body: Body::CommandDone {
            service: id.service,
            cid: id.cid,
            status: Status::NONE,
            info: Vec::new(),
        },
    };
    let indication = Message {
        transaction: 0,
        body: Body::Indication {
            service: bc::UUID,
            cid: bc::SIGNAL_STATE.cid,
            info: vec![0; 20],
        },
    };
    let mut bytes = Vec::new();
    for message in [done(2, bc::PIN), indication, done(3, bc::RADIO_STATE)] {
        bytes.extend(message.encode_whole());
    }
    bytes.extend([0; 16]);
    bench.session.handle_response(bench.now, &bytes);
    let events = bench.events();
    assert_eq!(events.len(), 3, "{events:?}");
    let counters = bench.session.counters();
    assert_eq!((counters.messages, counters.garbage), (4, 0));
}

#[test]
fn a_failed_transfer_ends_its_command_only() {
    let mut bench = Bench::opened(sixteen());
    bench.query(bc::PIN);
    let Some(Transmit::SendEncapsulated(_)) = bench.session.poll_transmit(bench.now) else {
        panic!("nothing sent")
    };
    bench.session.handle_send_error(bench.now, "stalled");
    assert_eq!(
        bench.events(),
        [response(
            2,
            Err(CommandError::Transfer("stalled".to_owned()))
        )]
    );
    bench.query(bc::PIN);
    assert_eq!(bench.sent(), ["3 query 4"]);
}
