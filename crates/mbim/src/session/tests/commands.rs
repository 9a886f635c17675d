//! Tests of commands and their answers.

use super::*;

#[test]
fn stray_open_done_with_the_id_of_a_command_is_ignored() {
    let mut bench = Bench::opened(sixteen());
    bench.query(bc::DEVICE_CAPS);
    bench.sent();
    bench.answer(2, Body::OpenDone(Status::NONE));
    assert_eq!(bench.events(), []);
    bench.done(2, bc::DEVICE_CAPS, Status::NONE);
    assert_eq!(bench.events(), [ok(2, bc::DEVICE_CAPS, Status::NONE)]);
    assert_eq!(bench.session.counters().stray_open_done, 1);
}

#[test]
fn answers_match_on_id_and_command_in_any_order() {
    let mut bench = Bench::opened(sixteen());
    bench.query(bc::DEVICE_CAPS);
    bench.query(bc::PIN);
    assert_eq!(bench.sent(), ["2 query 1", "3 query 4"]);
    bench.done(2, bc::PIN, Status::NONE); // The id is of one command, the CID of the other.
    bench.done(9, bc::PIN, Status::NONE);
    bench.done(3, bc::PIN, Status::PIN_REQUIRED);
    bench.done(2, bc::DEVICE_CAPS, Status::NONE);
    bench.done(2, bc::DEVICE_CAPS, Status::NONE); // This answer is repeated.
    assert_eq!(
        bench.events(),
        [
            ok(3, bc::PIN, Status::PIN_REQUIRED),
            ok(2, bc::DEVICE_CAPS, Status::NONE)
        ]
    );
    assert_eq!(bench.session.counters().stray_answers, 3);
}

#[test]
fn the_modem_is_not_given_more_than_it_takes() {
    let mut bench = Bench::opened(Config::default());
    for _ in 0..3 {
        bench.query(bc::PIN);
    }
    assert_eq!(bench.sent(), ["2 query 4"]);
    assert_eq!(
        (bench.session.outstanding(), bench.session.queued()),
        (1, 2)
    );
    bench.done(2, bc::PIN, Status::NONE);
    assert_eq!(bench.sent(), ["3 query 4"]);
    bench.done(3, bc::PIN, Status::NONE);
    assert_eq!(bench.sent(), ["4 query 4"]);
}

#[test]
fn the_queue_is_bounded() {
    let mut bench = Bench::opened(Config::default());
    let results: Vec<_> = (0..100)
        .map(|_| {
            bench
                .session
                .command(bench.now, Command::query(bc::PIN), SECOND)
        })
        .collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 65);
    assert_eq!(results[99], Err(CommandError::QueueFull(64)));
}

#[test]
fn a_command_times_out_is_cancelled_and_its_late_answer_ignored() {
    let mut bench = Bench::opened(Config::default());
    bench.query(bc::VISIBLE_PROVIDERS);
    bench.query(bc::PIN);
    assert_eq!(bench.sent(), ["2 query 8"]);
    let mut sent = Vec::new();
    for _ in 0..11 {
        bench.wait(SECOND);
        sent.extend(bench.sent());
    }
    assert_eq!(sent, ["2 error cancel", "3 query 4"]);
    assert_eq!(
        bench.events(),
        [response(2, Err(CommandError::Timeout(10 * SECOND)))]
    );
    bench.done(2, bc::VISIBLE_PROVIDERS, Status::NONE);
    assert_eq!(bench.events(), []);
    assert_eq!(
        (
            bench.session.counters().timeouts,
            bench.session.counters().stray_answers
        ),
        (1, 1)
    );
}

#[test]
fn cancelling_tells_the_modem_only_what_it_knows_of() {
    let mut bench = Bench::opened(Config::default());
    let first = bench.query(bc::VISIBLE_PROVIDERS);
    let second = bench.query(bc::PIN);
    assert_eq!(bench.sent(), ["2 query 8"]);
    bench.session.cancel(bench.now, second);
    bench.session.cancel(bench.now, first);
    assert_eq!(bench.sent(), ["2 error cancel"]);
    let cancelled = |id| response(id, Err(CommandError::Cancelled));
    assert_eq!(bench.events(), [cancelled(3), cancelled(2)]);
    let unsent = bench.query(bc::PIN);
    bench.session.cancel(bench.now, unsent);
    assert_eq!(bench.sent(), [""; 0]);
}

#[test]
fn function_errors_end_their_command_and_not_opened_ends_the_session() {
    let mut bench = Bench::opened(sixteen());
    bench.query(bc::PIN);
    bench.query(bc::CONNECT);
    bench.query(bc::HOME_PROVIDER);
    bench.sent();
    bench.answer(2, Body::FunctionError(ProtocolError::LENGTH_MISMATCH));
    bench.answer(99, Body::FunctionError(ProtocolError::UNKNOWN));
    assert_eq!(
        bench.events(),
        [response(
            2,
            Err(CommandError::Function(ProtocolError::LENGTH_MISMATCH))
        )]
    );
    bench.answer(3, Body::FunctionError(ProtocolError::NOT_OPENED));
    let events = bench.events();
    assert_eq!(
        events[0],
        response(3, Err(CommandError::Function(ProtocolError::NOT_OPENED)))
    );
    assert!(matches!(
        events[1],
        Event::Response {
            id: TransactionId(4),
            result: Err(CommandError::Lost(_))
        }
    ));
    assert!(matches!(events[2], Event::Lost { .. }));
    assert_eq!(bench.session.state(), State::Closed);
}

#[test]
fn ids_wrap_around_zero_and_skip_those_in_use() {
    let mut bench = Bench::opened(sixteen());
    bench.query(bc::PIN); // This is transaction 2, which stays open.
    bench.session.next_id = u32::MAX;
    let ids: Vec<u32> = (0..3).map(|_| bench.query(bc::PIN).0).collect();
    assert_eq!(ids, [u32::MAX, 1, 3]);
}

#[test]
fn typed_commands_and_answers_fit_together() {
    let set = Command::set(
        bc::RADIO_STATE,
        &bc::RadioStateSet {
            radio_state: bc::RadioSwitchState::ON,
        },
    );
    assert_eq!(set.info, [1, 0, 0, 0]);
    let query = Command::query_with(bc::CONNECT, &bc::ConnectInfo::default());
    assert_eq!(query.info.len(), 36);
    assert!(Command::set(sms::DELETE, &Empty {}).info.is_empty());
    let answer = Response {
        id: bc::RADIO_STATE,
        status: Status::NONE,
        info: vec![1, 0, 0, 0, 0, 0, 0, 0],
    };
    let state: bc::RadioState = answer.decode().unwrap();
    assert_eq!(state.hw_radio_state, bc::RadioSwitchState::ON);
}

/// The caller sends messages of its own with the transaction ids 2 and 3.
#[test]
fn ids_of_the_callers_own_messages_are_left_to_it() {
    let mut bench = Bench::opened(sixteen());
    bench.session.set_foreign(vec![2, 3]);
    bench.query(bc::PIN);
    assert_eq!(bench.sent(), ["4 query 4"]);
    assert!(bench.session.is_taken(4) && !bench.session.is_taken(2));
    // The answers to the caller's messages match no command here.
    bench.done(2, bc::PIN, Status::NONE);
    assert_eq!(bench.events(), []);
    assert_eq!(bench.session.counters().stray_answers, 1);
    bench.done(4, bc::PIN, Status::NONE);
    assert_eq!(bench.events(), [ok(4, bc::PIN, Status::NONE)]);
    // While the caller waits for answers, a poll makes up for a lost notification.
    bench.session.poll_transmit(bench.now);
    let due = bench.session.poll_timeout().expect("a poll");
    bench.now = due;
    assert_eq!(bench.transmits(), ["read"]);
    bench.session.handle_response(bench.now, &[]);
    bench.session.set_foreign(Vec::new());
    bench.now += 100 * SECOND;
    assert_eq!(bench.transmits(), Vec::<String>::new());
}
