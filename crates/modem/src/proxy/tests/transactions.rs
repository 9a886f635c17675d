//! The delivery of answers to their clients, turns, sizes, and the messages that never reach the
//! modem.

use std::time::Duration;

use uwwan_mbim::CommandKind;
use uwwan_mbim::fields::Layout as _;
use uwwan_mbim::message::Body;
use uwwan_mbim::services::basic_connect::{
    self as bc, ActivationCommand, ConnectSet, RadioStateSet, RadioSwitchState,
};
use uwwan_mbim::services::ms_basic_connect_extensions::{self as ext, VersionInfo};
use uwwan_mbim::services::proxy_control;
use uwwan_mbim::session::{Command, CommandError};
use uwwan_mbim::status::{ProtocolError, Status};

use super::bench::{Bench, PATH, body, cancel, configuration, done, open, query, set};
use crate::askers::{Request, Ticket};
use crate::permissions::{Basis, Caller};
use crate::proxy::INSIST;
use crate::proxy::multiplexer::Config;
use crate::share::service::{Entrance, Service};

#[test]
fn same_ids_of_two_clients_are_kept_apart() {
    let mut bench = Bench::open(16);
    let (a, b) = (bench.mbimcli(), bench.mbimcli());
    bench.say(a, 3, query(bc::DEVICE_CAPS));
    bench.say(b, 3, query(bc::DEVICE_CAPS));
    let orders = bench.orders();
    assert_eq!(orders.len(), 2);
    // The answers come out of order.
    let (ticket, command) = &orders[1];
    bench.answer(*ticket, command, Status::NONE, b"for b");
    assert_eq!(bench.heard(a), []);
    assert_eq!(
        bench.heard(b)[0].body,
        done(bc::DEVICE_CAPS, Status::NONE, b"for b")
    );
    let (ticket, command) = &orders[0];
    bench.answer(*ticket, command, Status::BUSY, b"for a");
    let heard = bench.heard(a);
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].transaction, 3);
    assert_eq!(heard[0].body, done(bc::DEVICE_CAPS, Status::BUSY, b"for a"));
    assert_eq!(bench.heard(b), []);
    // A second answer to the same command goes to no client.
    bench.answer(*ticket, command, Status::NONE, b"again");
    assert_eq!((bench.heard(a), bench.heard(b)), (vec![], vec![]));
}

#[test]
fn open_and_close_never_reach_the_modem() {
    let mut bench = Bench::open(1);
    let client = bench.mbimcli();
    for transaction in 10..20 {
        bench.say(client, transaction, open(4096));
        bench.say(client, transaction + 100, Body::Close);
        let heard = bench.heard(client);
        assert_eq!(heard[0].transaction, transaction);
        assert_eq!(heard[0].body, Body::OpenDone(Status::NONE));
        assert_eq!(heard[1].transaction, transaction + 100);
        assert_eq!(heard[1].body, Body::CloseDone(Status::NONE));
    }
    assert_eq!(bench.requests(), []);
}

#[test]
fn the_modem_gets_no_more_than_it_takes_and_clients_take_turns() {
    for (outstanding, places) in [(1, 1), (2, 1), (3, 2)] {
        let mut bench = Bench::open(outstanding);
        let first = bench.mbimcli();
        let clients = [bench.mbimcli(), bench.mbimcli(), bench.mbimcli()];
        for transaction in 3..3 + places {
            bench.say(first, transaction as u32, query(bc::PIN));
        }
        for client in clients {
            for transaction in 3..7 {
                bench.say(client, transaction, query(bc::SIGNAL_STATE));
            }
        }
        let mut order = Vec::new();
        let busy = bench.orders();
        assert_eq!(busy.len(), places);
        for (ticket, command) in busy {
            bench.answer(ticket, &command, Status::NONE, b"");
        }
        let mut waiting = bench.orders();
        while !waiting.is_empty() {
            let (ticket, command) = waiting.remove(0);
            bench.answer(ticket, &command, Status::NONE, b"");
            let whose = clients
                .iter()
                .position(|client| !bench.heard(*client).is_empty());
            order.push(whose.unwrap());
            waiting.extend(bench.orders());
            assert!(waiting.len() <= places);
        }
        assert_eq!(order, [0, 1, 2].repeat(4));
    }
}

#[test]
fn nothing_passes_before_configuration_on_the_public_socket() {
    let mut bench = Bench::open(1);
    let client = bench.connect(Entrance::Public);
    bench.say(client, 1, open(4096));
    bench.say(client, 2, query(bc::DEVICE_CAPS));
    bench.mux.indication(bench.now, bc::SIGNAL_STATE, &[0; 20]);
    let heard = bench.heard(client);
    assert_eq!(heard.len(), 2);
    assert_eq!(heard[0].body, Body::OpenDone(Status::FAILURE));
    assert_eq!(
        heard[1].body,
        Body::FunctionError(ProtocolError::NOT_OPENED)
    );
    assert_eq!(bench.requests(), []);
}

#[test]
fn configuration_is_answered_as_a_proxy_does() {
    let mut bench = Bench::open(1);
    let client = bench.connect(Entrance::Public);
    let id = proxy_control::CONFIGURATION;
    bench.say(client, 1, query(id));
    bench.say(client, 2, set(id, &[1, 2, 3]));
    bench.say(client, 3, configuration(PATH));
    bench.say(client, 4, configuration(PATH));
    bench.say(client, 5, configuration("/dev/cdc-wdm0"));
    bench.say(client, 6, query(proxy_control::VERSION));
    let answers: Vec<_> = bench
        .heard(client)
        .into_iter()
        .map(|message| match message.body {
            Body::CommandDone { status, info, .. } => (message.transaction, status, info.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        answers,
        [
            (1, Status::INVALID_PARAMETERS, 0),
            (2, Status::INVALID_PARAMETERS, 0),
            (3, Status::NONE, 0),
            (4, Status::NONE, 0),
            (5, Status::FAILURE, 0),
            (6, Status::NO_DEVICE_SUPPORT, 0)
        ]
    );
    // The client sends a command without an OPEN, as `mbimcli --no-open` does.
    bench.say(client, 77, query(bc::DEVICE_CAPS));
    let orders = bench.orders();
    assert!(
        orders
            .iter()
            .any(|(_, command)| command.id == bc::DEVICE_CAPS)
            || orders.len() == 1
    );
}

#[test]
fn the_bytes_mbimcli_sends_are_understood() {
    // The bytes are the CONFIGURATION of `mbimcli -p -d /dev/null` (libmbim 1.28.2).
    let bytes = [
        "0300000050000000010000000100000000000000838cf7fb8d0d4d7f871ed71dbefbb39b01000000",
        "01000000200000000c000000120000001e0000002f006400650076002f006e0075006c006c000000",
    ]
    .concat();
    let bytes: Vec<u8> = (0..bytes.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&bytes[at..at + 2], 16).unwrap())
        .collect();
    let mut bench = Bench::of_modem(Config::default(), "/dev/null");
    let client = bench.connect(Entrance::Public);
    for part in bytes.chunks(7) {
        bench.write(client, part);
    }
    assert_eq!(
        bench.heard(client)[0].body,
        done(proxy_control::CONFIGURATION, Status::NONE, b"")
    );
}

#[test]
fn a_client_that_means_another_modem_is_hung_up_on() {
    let mut bench = Bench::open(1);
    let client = bench.connect(Entrance::Public);
    bench.say(client, 1, configuration("/dev/cdc-wdm0"));
    assert_eq!(bench.heard(client), []);
    assert_eq!(bench.finished(), [client]);
}

#[test]
fn long_messages_are_cut_at_the_clients_size_both_ways() {
    let mut bench = Bench::open(1);
    let client = bench.connect(Entrance::Private);
    bench.say(client, 1, open(128));
    bench.settle();
    bench.heard(client);
    let info = vec![7; 9000];
    // The message comes in three fragments of 4096 bytes, as libmbim cuts.
    bench.say(client, 2, set(bc::PROVISIONED_CONTEXTS, &info));
    let (ticket, command) = bench.order();
    assert_eq!(command.info, info);
    bench.answer(ticket, &command, Status::NONE, &info[..1000]);
    let parts = bench.parts(client);
    assert_eq!(parts.len(), 1028_usize.div_ceil(108));
    assert!(parts.iter().all(|part| part.len() <= 128));
    let mut reassembler = uwwan_mbim::fragment::Reassembler::default();
    let whole = parts
        .iter()
        .find_map(|part| reassembler.push(bench.now, part).unwrap())
        .unwrap();
    assert_eq!(
        whole.body,
        done(bc::PROVISIONED_CONTEXTS, Status::NONE, &info[..1000])
    );
}

#[test]
fn fragments_out_of_sequence_are_refused_and_cost_nothing_else() {
    let mut bench = Bench::open(1);
    let client = bench.private();
    let message = uwwan_mbim::Message {
        transaction: 5,
        body: set(bc::PROVISIONED_CONTEXTS, &[1; 9000]),
    };
    let parts = message.encode(4096);
    bench.write(client, &parts[0]);
    bench.write(client, &parts[2]);
    let heard = bench.heard(client);
    assert_eq!(heard[0].transaction, 5);
    assert_eq!(
        heard[0].body,
        Body::FunctionError(ProtocolError::FRAGMENT_OUT_OF_SEQUENCE)
    );
    bench.say(client, 6, query(bc::DEVICE_CAPS));
    assert_eq!(bench.order().1.id, bc::DEVICE_CAPS);
}

#[test]
fn an_id_still_in_use_is_refused() {
    let mut bench = Bench::open(1);
    let client = bench.private();
    bench.say(client, 5, query(bc::DEVICE_CAPS));
    bench.say(client, 5, query(bc::PIN));
    assert_eq!(
        bench.heard(client)[0].body,
        Body::FunctionError(ProtocolError::DUPLICATED_TID)
    );
    let (ticket, command) = bench.order();
    bench.answer(ticket, &command, Status::NONE, b"");
    assert_eq!(
        bench.heard(client)[0].body,
        done(bc::DEVICE_CAPS, Status::NONE, b"")
    );
}

#[test]
fn a_cancelled_command_frees_its_place_when_the_modem_lets_go() {
    let mut bench = Bench::open(1);
    let client = bench.private();
    bench.say(client, 5, query(bc::VISIBLE_PROVIDERS));
    bench.say(client, 6, query(bc::DEVICE_CAPS));
    bench.say(client, 7, query(bc::PIN));
    let (scan, _) = bench.order();
    // A command that waits for its turn is dropped without a message to the modem.
    bench.say(client, 7, cancel());
    bench.say(client, 5, cancel());
    assert_eq!(bench.requests(), [Request::Withdraw(scan)]);
    bench
        .mux
        .answer(bench.now, scan, Err(CommandError::Cancelled));
    let (ticket, command) = bench.order();
    assert_eq!(command.id, bc::DEVICE_CAPS);
    bench.answer(ticket, &command, Status::NONE, b"");
    assert_eq!(bench.requests(), []);
    let heard = bench.heard(client);
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(heard[0].transaction, 6);
}

#[test]
fn a_killed_client_leaves_questions_withdrawn_and_changes_running() {
    let mut bench = Bench::open(3);
    let (dead, alive) = (bench.private(), bench.private());
    bench.say(dead, 5, query(bc::VISIBLE_PROVIDERS));
    let content = ConnectSet {
        session_id: 3,
        activation_command: ActivationCommand::ACTIVATE,
        ..ConnectSet::default()
    };
    bench.say(dead, 6, body(Command::set(bc::CONNECT, &content)));
    bench.say(dead, 7, query(bc::PIN));
    let orders = bench.orders();
    assert_eq!(orders.len(), 2);
    bench.mux.disconnect(bench.now, dead);
    assert_eq!(bench.requests(), [Request::Withdraw(orders[0].0)]);
    bench
        .mux
        .answer(bench.now, orders[0].0, Err(CommandError::Cancelled));
    bench.say(alive, 2, query(bc::DEVICE_CAPS));
    let (ticket, command) = bench.order();
    assert_eq!(command.id, bc::DEVICE_CAPS, "what only waited is forgotten");
    bench.answer(orders[1].0, &orders[1].1, Status::NONE, b"private");
    bench.answer(ticket, &command, Status::NONE, b"caps");
    let heard = bench.heard(alive);
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].body, done(bc::DEVICE_CAPS, Status::NONE, b"caps"));
}

#[test]
fn failures_on_the_way_are_told_as_a_modem_would() {
    let mut bench = Bench::open(1);
    let client = bench.private();
    let id = bc::DEVICE_CAPS;
    let cases = [
        (
            CommandError::Function(ProtocolError::MAX_TRANSFER),
            Body::FunctionError(ProtocolError::MAX_TRANSFER),
        ),
        (
            CommandError::Timeout(Duration::from_secs(60)),
            done(id, Status::FAILURE, b""),
        ),
        (CommandError::QueueFull(64), done(id, Status::BUSY, b"")),
        (
            CommandError::NotOpen,
            Body::FunctionError(ProtocolError::NOT_OPENED),
        ),
    ];
    for (error, expected) in cases {
        bench.say(client, 9, query(id));
        let (ticket, _) = bench.order();
        bench.mux.answer(bench.now, ticket, Err(error));
        assert_eq!(bench.heard(client)[0].body, expected);
    }
}

#[test]
fn a_guest_has_no_attempts_at_the_pin_whatever_the_guard() {
    for guard in [true, false] {
        let mut bench = Bench::new(Config {
            guard,
            ..Config::default()
        });
        bench.mux.modem_opened(bench.now, 2);
        let guest = bench.connect_as(Entrance::Private, Caller::Guest);
        bench.say(guest, 1, open(4096));
        bench.settle();
        bench.heard(guest);
        let attempt = Command {
            kind: CommandKind::SET,
            ..Command::query(bc::PIN)
        };
        bench.say(guest, 2, body(attempt));
        assert_eq!(bench.orders(), []);
        let heard = bench.heard(guest);
        assert_eq!(
            heard[0].body,
            done(bc::PIN, Status::OPERATION_NOT_ALLOWED, b"")
        );
        bench.say(guest, 3, query(bc::PIN));
        assert_eq!(bench.order().1.id, bc::PIN);
    }
}

#[test]
fn what_the_driver_holds_is_not_for_clients_to_end() {
    let off = RadioStateSet {
        radio_state: RadioSwitchState::OFF,
    };
    let off = body(Command::set(bc::RADIO_STATE, &off));
    let mut bench = Bench::open(1);
    for client in [bench.mbimcli(), bench.private()] {
        bench.say(client, 5, off.clone());
        assert_eq!(
            bench.heard(client)[0].body,
            done(bc::RADIO_STATE, Status::OPERATION_NOT_ALLOWED, b"")
        );
        assert_eq!(bench.requests(), []);
    }
    // A client that asks for permission may, and only the program's own commands can ask for it.
    let (public, private) = (bench.mbimcli(), bench.private());
    bench.say(public, 5, set(INSIST, b""));
    bench.say(private, 5, set(INSIST, b""));
    assert_eq!(
        bench.heard(public)[0].body,
        done(INSIST, Status::NO_DEVICE_SUPPORT, b"")
    );
    assert_eq!(
        bench.heard(private)[0].body,
        done(INSIST, Status::NONE, b"")
    );
    assert_eq!(bench.requests(), []);
    bench.say(private, 6, off.clone());
    assert_eq!(bench.order().1.id, bc::RADIO_STATE);
    // A client of a user who is served beside the owner may not ask for permission.
    let guest = bench.connect_as(Entrance::Private, Caller::Guest);
    bench.say(guest, 1, open(4096));
    bench.heard(guest);
    bench.say(guest, 5, set(INSIST, b""));
    bench.say(guest, 6, off.clone());
    let heard: Vec<_> = bench
        .heard(guest)
        .into_iter()
        .map(|heard| heard.body)
        .collect();
    assert_eq!(
        heard,
        [
            done(INSIST, Status::OPERATION_NOT_ALLOWED, b""),
            done(bc::RADIO_STATE, Status::OPERATION_NOT_ALLOWED, b"")
        ]
    );
    assert_eq!(bench.requests(), []);

    let mut bench = Bench::new(Config {
        guard: false,
        ..Config::default()
    });
    bench.mux.modem_opened(bench.now, 1);
    let client = bench.mbimcli();
    bench.say(client, 5, off);
    assert_eq!(bench.order().1.id, bc::RADIO_STATE);
}

#[test]
fn a_session_that_begins_while_a_command_waits_is_not_ended_by_it() {
    let end = |session: u32| {
        let words = [session, 0].map(u32::to_le_bytes);
        set(bc::CONNECT, &words.concat())
    };
    let mut bench = Bench::open(1);
    let client = bench.mbimcli();
    bench.say(client, 5, query(bc::PIN));
    let (ticket, command) = bench.order();
    // The command waits for its turn, and the driver does not have the session yet.
    bench.say(client, 6, end(7));
    bench.say(client, 7, end(6));
    bench.basis.lock().unwrap().held.push(7);
    bench.answer(ticket, &command, Status::NONE, b"");
    let heard = bench.heard(client);
    assert_eq!(heard.len(), 2);
    assert_eq!(heard[1].transaction, 6);
    let refused = done(bc::CONNECT, Status::OPERATION_NOT_ALLOWED, b"");
    assert_eq!(heard[1].body, refused);
    let (ticket, command) = bench.order();
    assert_eq!(command.info[0], 6);
    bench.answer(ticket, &command, Status::NONE, b"");
    bench.heard(client);
    // A command for a session that has begun is refused at once, and allowed again when the session
    // has ended.
    bench.say(client, 8, end(7));
    assert_eq!(bench.heard(client)[0].body, refused);
    bench.basis.lock().unwrap().held.pop();
    bench.say(client, 9, end(7));
    assert_eq!(bench.order().1.info[0], 7);
}

/// Returns the only command for the modem, and the age of the basis on which it was judged.
fn judged(bench: &mut Bench) -> (Ticket, Command, u64) {
    let mut requests = bench.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    match requests.remove(0) {
        Request::Send {
            ticket,
            command,
            judged: Some(age),
            ..
        } => (ticket, command, age),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_command_that_comes_back_is_judged_once_more_in_its_place() {
    let end = set(bc::CONNECT, &[7_u32, 0].map(u32::to_le_bytes).concat());
    let mut bench = Bench::open(1);
    let client = bench.mbimcli();
    bench.basis.lock().unwrap().age = 4;
    bench.say(client, 5, end.clone());
    bench.say(client, 6, query(bc::PIN));
    let (ticket, command, age) = judged(&mut bench);
    assert_eq!((command.info[0], age), (7, 4));
    // Something else has begun, so it may be sent.
    bench.basis.lock().unwrap().age = 5;
    bench.mux.overtaken(bench.now, ticket, command);
    let (ticket, command, age) = judged(&mut bench);
    assert_eq!((command.info[0], age), (7, 5));
    // The session itself has begun, so it is refused, and the next command has its turn.
    *bench.basis.lock().unwrap() = Basis {
        held: vec![0, 7],
        age: 6,
    };
    bench.mux.overtaken(bench.now, ticket, command);
    let heard = bench.heard(client);
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].transaction, 5);
    let refused = done(bc::CONNECT, Status::OPERATION_NOT_ALLOWED, b"");
    assert_eq!(heard[0].body, refused);
    let (ticket, command, _) = judged(&mut bench);
    assert_eq!(command.id, bc::PIN);
    bench.answer(ticket, &command, Status::NONE, b"");
    bench.heard(client);
    // One whose client has left, or has withdrawn it, goes nowhere.
    bench.say(client, 7, set(bc::CONNECT, &[6, 0, 0, 0]));
    let (ticket, command, _) = judged(&mut bench);
    bench.say(client, 7, cancel());
    bench.requests();
    bench.mux.overtaken(bench.now, ticket, command);
    assert_eq!(bench.requests(), []);
    assert_eq!(bench.mux.outstanding(), 0);
    bench.say(client, 8, set(bc::CONNECT, &[6, 0, 0, 0]));
    let (ticket, command, _) = judged(&mut bench);
    bench.mux.disconnect(bench.now, client);
    bench.mux.overtaken(bench.now, ticket, command);
    assert_eq!(bench.requests(), []);
    assert_eq!(bench.mux.outstanding(), 0);
}

#[test]
fn a_pin_operation_that_comes_back_asks_for_the_attempts_again() {
    let remaining = |remaining_attempts| {
        bc::PinInfo {
            pin_type: bc::PinType::PIN1,
            pin_state: bc::PinState::LOCKED,
            remaining_attempts,
        }
        .encode_info()
    };
    let operation = body(Command::set(
        bc::PIN,
        &bc::PinSet {
            pin_type: bc::PinType::PIN1,
            pin_operation: bc::PinOperation::ENTER,
            pin: "0000".into(),
            new_pin: String::new(),
        },
    ));
    let mut bench = Bench::open(1);
    let client = bench.private();
    bench.say(client, 5, operation.clone());
    let (ticket, command, age) = judged(&mut bench);
    assert_eq!((command.kind, age), (CommandKind::QUERY, 0));
    // The driver sends a PIN after the modem has told how many attempts remain.
    bench.basis.lock().unwrap().age = 1;
    bench.answer(ticket, &command, Status::NONE, &remaining(2));
    let (ticket, command, age) = judged(&mut bench);
    assert_eq!((command.kind, age), (CommandKind::SET, 0));
    bench.mux.overtaken(bench.now, ticket, command);
    let (ticket, command, age) = judged(&mut bench);
    assert_eq!((command.kind, age), (CommandKind::QUERY, 1));
    bench.answer(ticket, &command, Status::NONE, &remaining(1));
    let refused = done(bc::PIN, Status::OPERATION_NOT_ALLOWED, b"");
    assert_eq!(bench.heard(client)[0].body, refused);
    // A forced one is sent as it is.
    bench.say(client, 6, set(INSIST, b""));
    bench.heard(client);
    bench.say(client, 7, operation);
    let (ticket, command, _) = judged(&mut bench);
    assert_eq!(command.kind, CommandKind::SET);
    bench.mux.overtaken(bench.now, ticket, command);
    assert_eq!(judged(&mut bench).1.kind, CommandKind::SET);
}

#[test]
fn nobody_agrees_on_extensions_for_all() {
    let mut bench = Bench::open(1);
    let client = bench.mbimcli();
    let asked = VersionInfo {
        mbim_version: 0x0100,
        mbim_extended_version: 0x0300,
    };
    bench.say(client, 5, body(Command::query_with(ext::VERSION, &asked)));
    let (ticket, command) = bench.order();
    assert_eq!(command.info, [0, 1, 0, 1]);
    bench.answer(ticket, &command, Status::NONE, &asked.encode());
    assert_eq!(
        bench.heard(client)[0].body,
        done(ext::VERSION, Status::NONE, &[0, 1, 0, 1])
    );
}

#[test]
fn the_house_has_so_many_places() {
    let mut bench = Bench::new(Config {
        most_clients: 3,
        ..Config::default()
    });
    bench.mux.modem_opened(bench.now, 1);
    let (a, b) = (bench.mbimcli(), bench.private());
    let idle = bench.connect(Entrance::Public);
    // A client that has sent nothing makes room; the others stay.
    let c = bench.mbimcli();
    assert_eq!(bench.finished(), [idle]);
    assert_eq!(
        bench
            .mux
            .connect(bench.now, Entrance::Private, Caller::Owner),
        None
    );
    for client in [a, b, c] {
        bench.say(client, 9, query(bc::PIN));
        let (ticket, command) = bench.order();
        bench.answer(ticket, &command, Status::NONE, b"");
        assert_eq!(bench.heard(client).len(), 1);
    }
    // A client that never names the modem is dropped.
    bench.mux.disconnect(bench.now, a);
    let idle = bench.connect(Entrance::Private);
    bench.now += Duration::from_secs(31);
    bench.mux.timeout(bench.now);
    assert_eq!(bench.finished(), [idle]);
    assert_eq!(bench.clients(), 2);
}
