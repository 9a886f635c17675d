//! Subscriptions: the union of the lists for the modem, and each client's own indications.

use uwwan_mbim::message::{Body, CommandKind};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{
    self as bc, DEVICE_SERVICE_SUBSCRIBE_LIST, DeviceServiceSubscribeList, EventEntry,
};
use uwwan_mbim::services::{dss, ms_basic_connect_extensions as ext, sms};
use uwwan_mbim::session::Command;
use uwwan_mbim::status::{ProtocolError, Status};
use uwwan_mbim::uuid::Uuid;

use super::bench::{Bench, PATH, configuration, done, open, query, set};
use crate::proxy::multiplexer::Config;
use crate::proxy::subscriptions::List;
use crate::share::service::{ClientId, Entrance, Service};

const ID: CidId = DEVICE_SERVICE_SUBSCRIBE_LIST;

fn list(entries: &[(Uuid, &[u32])]) -> Vec<u8> {
    let events = entries
        .iter()
        .map(|(service, cids)| EventEntry {
            device_service_id: *service,
            cids: cids.to_vec(),
        })
        .collect();
    DeviceServiceSubscribeList { events }.encode()
}

/// Returns which of these indications the list in a command for the modem has.
fn told(command: &Command, ids: &[CidId]) -> Vec<bool> {
    assert_eq!(command.id, ID);
    let list = List::parse(&command.info).unwrap();
    ids.iter().map(|id| list.wants(*id)).collect()
}

fn indicate(bench: &mut Bench, id: CidId) {
    bench.mux.indication(bench.now, id, b"news");
}

fn hears(bench: &mut Bench, client: ClientId) -> Vec<CidId> {
    bench
        .heard(client)
        .into_iter()
        .map(|message| match message.body {
            Body::Indication { service, cid, info } => {
                assert_eq!((message.transaction, &info[..]), (0, &b"news"[..]));
                CidId { service, cid }
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn the_modem_is_told_the_union_once_and_the_client_gets_its_own_list_back() {
    let mut bench = Bench::open(1);
    let client = bench.mbimcli();
    let mine = list(&[
        (ext::UUID, &[ext::PCO.cid]),
        (bc::UUID, &[bc::SIGNAL_STATE.cid]),
    ]);
    bench.say(client, 5, set(ID, &mine));
    let (ticket, command) = bench.order();
    let ids = [
        ext::PCO,
        bc::SIGNAL_STATE,
        bc::CONNECT,
        bc::IP_CONFIGURATION,
    ];
    assert_eq!(
        told(&command, &ids),
        [true; 4],
        "the driver's needs are in it"
    );
    assert_eq!(bench.heard(client), []);
    bench.answer(ticket, &command, Status::NONE, &command.info);
    assert_eq!(bench.heard(client)[0].body, done(ID, Status::NONE, &mine));
    // The same list in another order sends nothing to the modem.
    let again = list(&[
        (bc::UUID, &[bc::SIGNAL_STATE.cid]),
        (ext::UUID, &[ext::PCO.cid, ext::PCO.cid]),
    ]);
    bench.say(client, 6, set(ID, &again));
    assert_eq!(bench.requests(), []);
    assert_eq!(bench.heard(client)[0].body, done(ID, Status::NONE, &again));
}

#[test]
fn a_list_of_an_unknown_command_type_replaces_nobodys() {
    let mut bench = Bench::open(1);
    let client = bench.mbimcli();
    let mut message = set(ID, &list(&[(ext::UUID, &[ext::PCO.cid])]));
    let Body::Command { kind, .. } = &mut message else {
        panic!("a command: {message:?}");
    };
    *kind = CommandKind(2);
    bench.say(client, 5, message);
    let (_, command) = bench.order();
    assert_eq!(command.kind, CommandKind::SET);
    assert_eq!(told(&command, &[ext::PCO, bc::CONNECT]), [true; 2]);
}

#[test]
fn a_modem_that_refuses_the_list_is_quoted() {
    let mut bench = Bench::open(1);
    let client = bench.mbimcli();
    let mine = list(&[(dss::UUID, &[])]);
    bench.say(client, 5, set(ID, &mine));
    let (ticket, command) = bench.order();
    bench.answer(
        ticket,
        &command,
        Status::INVALID_DEVICE_SERVICE_OPERATION,
        b"",
    );
    assert_eq!(
        bench.heard(client)[0].body,
        done(ID, Status::INVALID_DEVICE_SERVICE_OPERATION, &mine)
    );
    // It is not known which list the modem has, so it gets the one that it had before.
    let (ticket, again) = bench.order();
    assert_eq!(
        told(&again, &[dss::CONNECT, bc::CONNECT, sms::READ]),
        [false, true, true]
    );
    bench.answer(ticket, &again, Status::NONE, b"");
    assert_eq!(bench.requests(), []);
    // The list is not in force for the client either.
    indicate(&mut bench, dss::CONNECT);
    indicate(&mut bench, bc::CONNECT);
    assert_eq!(hears(&mut bench, client), [bc::CONNECT]);
    // Nor is it taken for one that the modem knows.
    bench.say(client, 6, set(ID, &mine));
    assert_eq!(told(&bench.order().1, &[dss::CONNECT]), [true]);
}

/// The driver needs its own indications whatever lists the clients send; a modem that refuses every
/// list is asked no more.
#[test]
fn a_modem_that_refuses_every_list_is_asked_three_times() {
    let refusal = Status::FAILURE;
    let mut bench = Bench::open(1);
    let client = bench.mbimcli();
    let mine = list(&[(dss::UUID, &[])]);
    bench.say(client, 5, set(ID, &mine));
    let (ticket, command) = bench.order();
    bench.answer(ticket, &command, refusal, b"");
    let (ticket, command) = bench.order();
    assert_eq!(told(&command, &[dss::CONNECT, sms::READ]), [false, true]);
    bench.answer(ticket, &command, refusal, b"");
    let (ticket, command) = bench.order();
    assert_eq!(command.info, Config::default().driver_list);
    bench.answer(ticket, &command, refusal, b"");
    assert_eq!(bench.heard(client).len(), 1);
    for transaction in 6..9 {
        bench.say(client, transaction, query(bc::SIGNAL_STATE));
        let (ticket, command) = bench.order();
        assert_eq!(command.id, bc::SIGNAL_STATE);
        bench.answer(ticket, &command, Status::NONE, b"");
        assert_eq!(bench.heard(client).len(), 1);
        assert_eq!(bench.requests(), []);
    }
    // A client that asks has its list sent.
    bench.say(client, 9, set(ID, &list(&[(ext::UUID, &[ext::PCO.cid])])));
    let (ticket, command) = bench.order();
    assert_eq!(told(&command, &[ext::PCO]), [true]);
    bench.answer(ticket, &command, refusal, b"");
    assert_eq!(bench.heard(client).len(), 1);
    assert_eq!(bench.requests(), []);
    // Once the driver has sent its list with success, the lists of clients are sent again.
    bench.mux.modem_subscribed(bench.now);
    let (ticket, command) = bench.order();
    assert_eq!(told(&command, &[sms::READ]), [true]);
    bench.answer(ticket, &command, Status::NONE, b"");
    assert_eq!(bench.requests(), []);
}

#[test]
fn changes_while_the_modem_is_being_told_follow_in_one() {
    let mut bench = Bench::open(4);
    let (a, b, c) = (bench.mbimcli(), bench.mbimcli(), bench.mbimcli());
    bench.say(a, 5, set(ID, &list(&[(ext::UUID, &[ext::PCO.cid])])));
    let (ticket, first) = bench.order();
    bench.say(
        b,
        5,
        set(ID, &list(&[(ext::UUID, &[ext::LTE_ATTACH_INFO.cid])])),
    );
    bench.say(c, 5, set(ID, &list(&[(ext::UUID, &[])])));
    assert_eq!(bench.requests(), []);
    bench.answer(ticket, &first, Status::NONE, b"");
    assert_eq!(bench.heard(a).len(), 1);
    assert_eq!((bench.heard(b), bench.heard(c)), (vec![], vec![]));
    let (ticket, second) = bench.order();
    assert_eq!(told(&second, &[ext::LTE_ATTACH_INFO]), [true]);
    bench.answer(ticket, &second, Status::NONE, b"");
    assert_eq!((bench.heard(b).len(), bench.heard(c).len()), (1, 1));
    assert_eq!(bench.requests(), []);
}

#[test]
fn indications_go_to_those_who_want_them() {
    let mut bench = Bench::open(1);
    let (standard, narrow, wide) = (bench.mbimcli(), bench.private(), bench.mbimcli());
    bench.say(narrow, 5, set(ID, &list(&[(bc::UUID, &[bc::CONNECT.cid])])));
    bench.say(wide, 5, set(ID, &list(&[(ext::UUID, &[])])));
    bench.settle();
    bench.settle();
    for client in [narrow, wide] {
        assert_eq!(bench.heard(client).len(), 1);
    }
    let silent = bench.connect(Entrance::Public);
    for id in [bc::SIGNAL_STATE, bc::CONNECT, sms::READ, ext::PCO, bc::PIN] {
        indicate(&mut bench, id);
    }
    assert_eq!(
        hears(&mut bench, standard),
        [bc::SIGNAL_STATE, bc::CONNECT, sms::READ]
    );
    assert_eq!(hears(&mut bench, narrow), [bc::CONNECT]);
    assert_eq!(hears(&mut bench, wide), [ext::PCO]);
    assert_eq!(hears(&mut bench, silent), []);
    // After another OPEN a client has the standard list.
    bench.say(narrow, 6, open(4096));
    assert_eq!(bench.heard(narrow).len(), 1);
    indicate(&mut bench, bc::SIGNAL_STATE);
    assert_eq!(hears(&mut bench, narrow), [bc::SIGNAL_STATE]);
    // After CLOSE a function sends no indications, on the private socket as on a device.
    bench.say(narrow, 7, Body::Close);
    assert_eq!(bench.heard(narrow).len(), 1);
    indicate(&mut bench, bc::SIGNAL_STATE);
    assert_eq!(hears(&mut bench, narrow), []);
}

#[test]
fn what_the_driver_tells_the_modem_does_not_silence_clients() {
    let mut bench = Bench::open(1);
    let client = bench.mbimcli();
    assert_eq!(bench.requests(), []);
    bench.mux.modem_subscribed(bench.now);
    let (ticket, command) = bench.order();
    assert_eq!(told(&command, &[sms::READ, bc::CONNECT]), [true, true]);
    bench.answer(ticket, &command, Status::NONE, b"");
    assert_eq!(bench.heard(client), []);
    // Without clients nothing is sent to the modem.
    bench.mux.disconnect(bench.now, client);
    bench.mux.modem_subscribed(bench.now);
    assert_eq!(bench.requests(), []);
    // When the control session is opened again, the first client makes the multiplexer send the
    // list.
    bench.mux.modem_down(bench.now, "reset");
    bench.mux.modem_opened(bench.now, 1);
    let client = bench.connect(Entrance::Public);
    bench.say(client, 1, configuration(PATH));
    assert_eq!(bench.order().1.id, ID);
}

#[test]
fn nonsense_lists_are_refused_here() {
    let mut bench = Bench::open(1);
    let client = bench.mbimcli();
    for info in [&[1, 0, 0, 0][..], &[255; 40], &[]] {
        bench.say(client, 5, set(ID, info));
        let heard = bench.heard(client);
        assert_eq!(heard[0].body, done(ID, Status::INVALID_PARAMETERS, b""));
        assert_eq!(bench.requests(), []);
    }
    // A query is left to the modem to refuse.
    bench.say(client, 6, query(ID));
    assert_eq!(bench.order().1.id, ID);
}

#[test]
fn a_subscription_ends_with_the_modem() {
    let mut bench = Bench::new(Config::default());
    bench.mux.modem_opened(bench.now, 1);
    let client = bench.mbimcli();
    bench.say(client, 5, set(ID, &list(&[(ext::UUID, &[ext::PCO.cid])])));
    bench.mux.modem_down(bench.now, "unplugged");
    let heard = bench.heard(client);
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].transaction, 5);
    assert_eq!(
        heard[0].body,
        Body::FunctionError(ProtocolError::NOT_OPENED)
    );
}
