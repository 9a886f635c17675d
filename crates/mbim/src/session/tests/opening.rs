//! Tests of opening, closing and losing the control session.

use super::*;

#[test]
fn open_command_close() {
    let mut bench = Bench::opened(sixteen());
    bench.query(bc::DEVICE_CAPS);
    assert_eq!(bench.sent(), ["2 query 1"]);
    bench.done(2, bc::DEVICE_CAPS, Status::NONE);
    assert_eq!(bench.events(), [ok(2, bc::DEVICE_CAPS, Status::NONE)]);
    bench.session.close(bench.now);
    assert_eq!(bench.sent(), ["3 close"]);
    bench.answer(3, Body::CloseDone(Status::NONE));
    assert_eq!(bench.events(), [Event::Closed { confirmed: true }]);
    assert_eq!(bench.session.state(), State::Closed);
    let refused = bench
        .session
        .command(bench.now, Command::query(bc::PIN), SECOND);
    assert_eq!(refused, Err(CommandError::NotOpen));
}

#[test]
fn slow_start_is_waited_for_with_new_ids() {
    let mut bench = Bench::new(sixteen());
    bench.session.open(bench.now);
    let mut sent = bench.sent();
    for _ in 0..40 {
        bench.wait(SECOND);
        sent.extend(bench.sent());
    }
    assert_eq!(sent[..4], ["1 open", "2 open", "3 open", "4 open"]);
    let last = u32::try_from(sent.len()).unwrap();
    bench.answer(last, Body::OpenDone(Status::NONE));
    assert_eq!(bench.events(), [Event::Opened]);
}

#[test]
fn a_mute_modem_fails_to_open_in_the_end() {
    let mut bench = Bench::new(sixteen());
    bench.session.open(bench.now);
    for _ in 0..200 {
        bench.sent();
        bench.wait(SECOND);
    }
    let events = bench.events();
    assert!(
        matches!(
            events[..],
            [Event::OpenFailed(OpenError::Silent { tries: 11..=13, .. })]
        ),
        "{events:?}"
    );
    assert_eq!(bench.session.state(), State::Closed);
    assert_eq!(bench.session.poll_timeout(), None);
}

#[test]
fn lasting_refusals_end_opening_early_and_passing_ones_do_not() {
    let mut bench = Bench::new(sixteen());
    bench.session.open(bench.now);
    for id in 1..=3 {
        bench.sent();
        bench.answer(id, Body::OpenDone(Status::FAILURE));
        bench.wait(SECOND);
    }
    assert_eq!(
        bench.events(),
        [Event::OpenFailed(OpenError::Refused(Status::FAILURE))]
    );

    let mut bench = Bench::new(sixteen());
    bench.session.open(bench.now);
    for id in 1..=10 {
        assert_eq!(bench.sent(), [format!("{id} open")]);
        bench.answer(id, Body::OpenDone(Status::BUSY));
        bench.wait(SECOND);
    }
    bench.sent();
    bench.answer(11, Body::OpenDone(Status::NONE));
    assert_eq!(bench.events(), [Event::Opened]);
}

/// Some functions announce a larger control transfer than they take (DWM-156, EM7345, LN930, L850).
/// The host offers 512 bytes at first, then half of it each time, down to the 64 that MBIM 1.0
/// demands of every function.
#[test]
fn open_refused_as_too_large_is_repeated_with_a_smaller_size() {
    for (announced, sizes) in [
        (4096, &[512, 256, 128, 64][..]),
        (1024, &[512][..]),
        (512, &[256, 128][..]),
        (100, &[64][..]),
    ] {
        let mut bench = Bench::new(Config {
            max_control_message: announced,
            ..sixteen()
        });
        bench.session.open(bench.now);
        let mut id = 1;
        for size in sizes {
            assert_eq!(bench.sent(), [format!("{id} open")]);
            bench.answer(id, Body::FunctionError(ProtocolError::MAX_TRANSFER));
            assert_eq!(bench.session.config().max_control_message, *size);
            id += 1;
        }
        assert_eq!(bench.sent(), [format!("{id} open")]);
        bench.answer(id, Body::OpenDone(Status::NONE));
        assert_eq!(bench.events(), [Event::Opened]);
    }

    let mut bench = Bench::new(Config {
        max_control_message: 64,
        ..sixteen()
    });
    bench.session.open(bench.now);
    for id in 1..=3 {
        bench.sent();
        bench.answer(id, Body::FunctionError(ProtocolError::MAX_TRANSFER));
        bench.wait(SECOND);
    }
    assert_eq!(
        bench.events(),
        [Event::OpenFailed(OpenError::MaxTransfer(64))]
    );
}

#[test]
fn a_session_left_over_is_closed_first() {
    let mut bench = Bench::new(sixteen());
    bench.session.open(bench.now);
    assert_eq!(bench.sent(), ["1 open"]);
    bench.answer(77, Body::CloseDone(Status::NONE));
    assert_eq!(bench.sent(), ["2 close"]);
    bench.answer(2, Body::CloseDone(Status::NONE));
    assert_eq!(bench.sent(), ["3 open"]);
    bench.answer(3, Body::OpenDone(Status::NONE));
    assert_eq!(bench.events(), [Event::Opened]);
}

#[test]
fn closing_first_does_not_wait_for_ever() {
    let mut bench = Bench::new(sixteen());
    bench.session.open(bench.now);
    bench.sent();
    bench.answer(77, Body::CloseDone(Status::NONE));
    assert_eq!(bench.sent(), ["2 close"]);
    bench.wait(SECOND);
    bench.sent();
    bench.wait(SECOND + SECOND);
    assert_eq!(bench.sent(), ["3 open"]);
}

#[test]
fn closing_without_an_answer_ends_too() {
    let mut bench = Bench::opened(sixteen());
    bench.query(bc::PIN);
    bench.session.close(bench.now);
    assert_eq!(bench.sent(), ["3 close"]);
    for _ in 0..6 {
        bench.wait(SECOND);
        bench.sent();
    }
    assert_eq!(
        bench.events(),
        [
            response(2, Err(CommandError::Closed)),
            Event::Closed { confirmed: false }
        ]
    );
}

#[test]
fn losing_the_modem_answers_everything() {
    let mut bench = Bench::opened(Config::default());
    bench.query(bc::PIN);
    bench.query(bc::CONNECT);
    bench.session.handle_lost("unplugged");
    let lost = |id| response(id, Err(CommandError::Lost("unplugged".to_owned())));
    assert_eq!(
        bench.events(),
        [
            lost(2),
            lost(3),
            Event::Lost {
                why: "unplugged".to_owned()
            }
        ]
    );
    bench.session.handle_lost("unplugged");
    assert_eq!(bench.events(), []);
    bench.session.open(bench.now);
    assert_eq!(bench.sent(), ["4 open"]);
}
