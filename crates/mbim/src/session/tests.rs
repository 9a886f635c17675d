//! Transcripts: what goes in, what must come out.

use super::*;
use crate::message::CommandKind;
use crate::services::{Empty, basic_connect as bc, sms};

const NOTIFIED: [u8; 8] = [0xa1, 1, 0, 0, 0, 0, 0, 0];
const SECOND: Duration = Duration::from_secs(1);

/// A session with a clock, and a shorthand for both sides.
struct Bench {
    session: Session,
    now: Instant,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self {
            session: Session::new(config),
            now: Instant::now(),
        }
    }

    /// A session that is open; its OPEN had id 1.
    fn opened(config: Config) -> Self {
        let mut bench = Self::new(config);
        bench.session.open(bench.now);
        assert_eq!(bench.sent(), ["1 open"]);
        bench.answer(1, Body::OpenDone(Status::NONE));
        assert_eq!(bench.events(), [Event::Opened]);
        bench
    }

    /// Everything the session wants to send, as "id kind". Reads are counted as "read" and left open.
    fn transmits(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        while let Some(transmit) = self.session.poll_transmit(self.now) {
            out.push(match transmit {
                Transmit::GetEncapsulated => "read".to_owned(),
                Transmit::SendEncapsulated(bytes) => match Message::decode(&bytes) {
                    Ok(message) => format!("{} {}", message.transaction, describe(&message.body)),
                    Err(error) => error.to_string(),
                },
            });
        }
        out
    }

    /// As [`Bench::transmits`], with reads answered by nothing.
    fn sent(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        loop {
            let now = self.transmits();
            if now.iter().any(|what| what == "read") {
                self.session.handle_response(self.now, &[]);
            }
            if now.is_empty() {
                return out;
            }
            out.extend(now.into_iter().filter(|what| what != "read"));
        }
    }

    fn answer(&mut self, transaction: u32, body: Body) {
        for part in
            (Message { transaction, body }).encode(self.session.config().max_control_message)
        {
            self.session.handle_notification(self.now, &NOTIFIED);
            assert_eq!(self.transmits(), ["read"]);
            self.session.handle_response(self.now, &part);
        }
    }

    fn done(&mut self, transaction: u32, id: CidId, status: Status) {
        let info = Vec::new();
        self.answer(
            transaction,
            Body::CommandDone {
                service: id.service,
                cid: id.cid,
                status,
                info,
            },
        );
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.session.poll_timeout().filter(|&due| due <= until) {
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            if self
                .session
                .poll_timeout()
                .is_some_and(|next| next <= self.now)
            {
                return; // something to transmit first
            }
        }
        self.now = until;
        self.session.handle_timeout(until);
    }

    fn query(&mut self, id: CidId) -> TransactionId {
        self.session
            .command(self.now, Command::query(id), 10 * SECOND)
            .unwrap()
    }
}

fn describe(body: &Body) -> String {
    match body {
        Body::Open { .. } => "open".to_owned(),
        Body::Close => "close".to_owned(),
        Body::Command { cid, kind, .. } if *kind == CommandKind::SET => format!("set {cid}"),
        Body::Command { cid, .. } => format!("query {cid}"),
        Body::HostError(error) => format!("error {error}"),
        other => format!("{other:?}"),
    }
}

fn response(id: u32, result: Result<Response, CommandError>) -> Event {
    Event::Response {
        id: TransactionId(id),
        result,
    }
}

fn ok(id: u32, command: CidId, status: Status) -> Event {
    response(
        id,
        Ok(Response {
            id: command,
            status,
            info: Vec::new(),
        }),
    )
}

fn sixteen() -> Config {
    Config {
        max_outstanding: 16,
        ..Config::default()
    }
}

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
    bench.done(2, bc::PIN, Status::NONE); // id of one, command of the other
    bench.done(9, bc::PIN, Status::NONE);
    bench.done(3, bc::PIN, Status::PIN_REQUIRED);
    bench.done(2, bc::DEVICE_CAPS, Status::NONE);
    bench.done(2, bc::DEVICE_CAPS, Status::NONE); // repeated
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

#[test]
fn a_missing_fragment_ends_the_command_and_is_reported() {
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
    let parts = Message {
        transaction: 2,
        body,
    }
    .encode(64);
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
    bench.session.handle_response(
        bench.now,
        &Message {
            transaction: 2,
            body,
        }
        .encode(64)[0],
    );
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
fn ids_wrap_around_zero_and_skip_those_in_use() {
    let mut bench = Bench::opened(sixteen());
    bench.query(bc::PIN); // 2, stays open
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
