//! Losses of the modem, after which no client waits in vain.

use std::time::Duration;

use uwwan_mbim::message::Body;
use uwwan_mbim::services::basic_connect as bc;
use uwwan_mbim::status::{ProtocolError, Status};

use super::bench::{Bench, PATH, configuration, open, query};
use crate::proxy::multiplexer::Config;
use crate::share::service::Entrance;

const NOT_OPENED: Body = Body::FunctionError(ProtocolError::NOT_OPENED);

#[test]
fn all_who_wait_are_answered_before_they_are_hung_up_on() {
    let mut bench = Bench::open(2);
    let (a, b, terminal) = (
        bench.mbimcli(),
        bench.private(),
        bench.connect(Entrance::Terminal),
    );
    bench.say(terminal, 1, open(4096));
    bench.heard(terminal);
    for client in [a, b, terminal] {
        for transaction in 5..8 {
            bench.say(client, transaction, query(bc::SIGNAL_STATE));
        }
    }
    let (ticket, command) = bench.order();
    bench.mux.modem_down(bench.now, "unplugged");
    for client in [a, b, terminal] {
        let heard = bench.heard(client);
        let mut ids: Vec<u32> = heard.iter().map(|message| message.transaction).collect();
        ids.sort_unstable();
        assert_eq!(ids, [5, 6, 7]);
        assert!(heard.iter().all(|message| message.body == NOT_OPENED));
    }
    // A late answer goes to no client.
    bench.answer(ticket, &command, Status::NONE, b"late");
    // Clients have time to close their connections.
    bench.say(a, 9, Body::Close);
    assert_eq!(bench.heard(a)[0].body, Body::CloseDone(Status::NONE));
    assert_eq!(bench.finished(), []);
    bench.now += Duration::from_secs(3);
    let mut finished = bench.finished();
    finished.sort_unstable();
    assert_eq!(finished, [a, b, terminal]);
}

#[test]
fn who_begins_anew_after_a_loss_stays() {
    let mut bench = Bench::open(1);
    let (stays, leaves) = (bench.private(), bench.private());
    bench.mux.modem_down(bench.now, "reset");
    bench.say(stays, 9, open(4096));
    bench.mux.modem_opened(bench.now, 1);
    assert_eq!(bench.heard(stays)[0].body, Body::OpenDone(Status::NONE));
    bench.now += Duration::from_secs(3);
    assert_eq!(bench.finished(), [leaves]);
    bench.settle();
    bench.say(stays, 10, query(bc::PIN));
    assert_eq!(bench.order().1.id, bc::PIN);
}

#[test]
fn an_open_waits_for_a_modem_that_is_starting() {
    let mut bench = Bench::new(Config::default());
    let client = bench.connect(Entrance::Public);
    bench.say(client, 1, configuration(PATH));
    bench.say(client, 2, open(4096));
    assert_eq!(bench.heard(client).len(), 1);
    // libmbim sends another OPEN every 5 s; the last one is answered.
    bench.pass(Duration::from_secs(5));
    bench.say(client, 3, open(4096));
    assert_eq!(bench.heard(client), []);
    bench.mux.modem_opened(bench.now, 1);
    let heard = bench.heard(client);
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].transaction, 3);
    assert_eq!(heard[0].body, Body::OpenDone(Status::NONE));
}

#[test]
fn an_open_does_not_wait_for_ever() {
    let mut bench = Bench::new(Config::default());
    let client = bench.connect(Entrance::Private);
    bench.say(client, 1, open(4096));
    bench.pass(Duration::from_secs(20));
    bench.say(client, 2, open(4096));
    bench.pass(Duration::from_secs(4));
    assert_eq!(bench.heard(client), []);
    bench.pass(Duration::from_secs(2));
    let heard = bench.heard(client);
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].transaction, 2);
    assert_eq!(heard[0].body, Body::OpenDone(Status::NOT_INITIALIZED));
}

#[test]
fn who_waits_for_the_modem_stays_when_it_is_lost_again() {
    let mut bench = Bench::new(Config::default());
    let client = bench.connect(Entrance::Private);
    bench.say(client, 1, open(4096));
    bench.mux.modem_down(bench.now, "no answer");
    bench.pass(Duration::from_secs(5));
    bench.mux.modem_opened(bench.now, 1);
    assert_eq!(bench.heard(client)[0].body, Body::OpenDone(Status::NONE));
}

#[test]
fn commands_without_a_modem_are_answered_at_once() {
    let mut bench = Bench::new(Config::default());
    let client = bench.connect(Entrance::Public);
    bench.say(client, 1, configuration(PATH));
    bench.heard(client);
    bench.say(client, 2, query(bc::DEVICE_CAPS));
    assert_eq!(bench.heard(client)[0].body, NOT_OPENED);
    assert_eq!(bench.requests(), []);
}

#[test]
fn a_client_that_does_not_read_loses_indications_then_its_place() {
    let mut bench = Bench::open(1);
    let (deaf, other) = (bench.mbimcli(), bench.mbimcli());
    for _ in 0..10_000 {
        bench.mux.indication(bench.now, bc::SIGNAL_STATE, &[0; 20]);
        bench.heard(other);
    }
    assert!(bench.mux.held_bytes(deaf) < 64 * 1024);
    // Its commands are still answered.
    bench.say(deaf, 5, query(bc::PIN));
    let (ticket, command) = bench.order();
    bench.answer(ticket, &command, Status::NONE, b"pin");
    bench.now += Duration::from_secs(61);
    bench.mux.timeout(bench.now);
    assert_eq!(bench.finished(), [deaf]);
    assert_eq!(bench.clients(), 1);
}
