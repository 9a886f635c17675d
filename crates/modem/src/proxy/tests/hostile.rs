//! Properties of the multiplexer: whatever clients write, memory is bounded, the modem gets no more
//! commands than it takes, nothing panics, and other clients are served.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use uwwan_mbim::message::{Body, Message};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::{basic_connect as bc, proxy_control, sms};
use uwwan_mbim::session::CommandError;
use uwwan_mbim::status::{ProtocolError, Status};
use uwwan_mbim::{CommandKind, Uuid};

use super::bench::{Bench, PATH, configuration, done, open, query};
use crate::askers::Request;
use crate::share::service::{Entrance, Service};

/// Bound of the bytes held for a client: the stream, fragments, output, and commands under way.
const BOUND: usize = 1 << 20;

#[derive(Debug, Clone)]
enum Step {
    /// A client writes bytes that are no message.
    Garbage(usize, Vec<u8>),
    /// A client writes a message, cut at a size, with some of its bytes changed.
    Message(usize, Message, usize, Vec<(usize, u8)>),
    /// A client disconnects and connects again.
    Again(usize),
    /// A client reads its output.
    Read(usize),
    /// The modem answers a command, or fails to.
    Answer(u32, usize),
    Indication(u32, usize),
    Down,
    Up,
    Pass(u64),
}

fn body() -> impl Strategy<Value = Body> {
    let service = prop_oneof![
        Just(bc::UUID),
        Just(sms::UUID),
        Just(proxy_control::UUID),
        any::<[u8; 16]>().prop_map(Uuid)
    ];
    let info = prop_oneof![
        vec(any::<u8>(), 0..64),
        (0usize..9000).prop_map(|length| vec![0; length])
    ];
    let command =
        (service, 0u32..25, 0u32..3, info).prop_map(|(service, cid, kind, info)| Body::Command {
            service,
            cid,
            kind: CommandKind(kind),
            info,
        });
    prop_oneof![
        4 => command,
        1 => any::<u32>().prop_map(open),
        1 => Just(Body::Close),
        1 => (0u32..9).prop_map(|code| Body::HostError(ProtocolError(code))),
        1 => Just(configuration(PATH)),
        1 => Just(Body::OpenDone(Status::NONE)),
        1 => Just(query(bc::DEVICE_SERVICE_SUBSCRIBE_LIST)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let message = (0u32..6, body()).prop_map(|(transaction, body)| Message { transaction, body });
    let flips = vec((0usize..60, any::<u8>()), 0..2);
    prop_oneof![
        1 => (0usize..3, vec(any::<u8>(), 0..200)).prop_map(|(n, bytes)| Step::Garbage(n, bytes)),
        8 => (0usize..3, message, 64usize..5000, flips)
            .prop_map(|(n, message, size, flips)| Step::Message(n, message, size, flips)),
        1 => (0usize..3).prop_map(Step::Again),
        1 => (0usize..3).prop_map(Step::Read),
        3 => (0u32..6, 0usize..70_000).prop_map(|(how, length)| Step::Answer(how, length)),
        1 => (0u32..25, 0usize..5000).prop_map(|(cid, length)| Step::Indication(cid, length)),
        1 => Just(Step::Down),
        2 => Just(Step::Up),
        1 => (0u64..70).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_a_client_does_harms(steps in vec(step(), 1..120)) {
        let mut bench = Bench::open(3);
        let entrances = [Entrance::Public, Entrance::Private, Entrance::Terminal];
        let mut clients = entrances.map(|entrance| bench.connect(entrance));
        let mut asked = Vec::new();
        for step in steps {
            match step {
                Step::Garbage(n, bytes) => bench.write(clients[n], &bytes),
                Step::Message(n, message, size, flips) => {
                    for mut part in message.encode(size) {
                        for (at, value) in &flips {
                            let at = at % part.len();
                            part[at] ^= value;
                        }
                        bench.write(clients[n], &part);
                    }
                }
                Step::Again(n) => {
                    bench.mux.disconnect(bench.now, clients[n]);
                    clients[n] = bench.connect(entrances[n]);
                }
                Step::Read(n) => drop(bench.parts(clients[n])),
                Step::Answer(how, length) => {
                    if let Some((ticket, id)) = asked.pop() {
                        let result = match how {
                            0 => Err(CommandError::Cancelled),
                            1 => Err(CommandError::Lost("gone".into())),
                            _ => Ok(uwwan_mbim::session::Response {
                                id,
                                status: Status(how),
                                info: vec![0; length],
                            }),
                        };
                        bench.mux.answer(bench.now, ticket, result);
                    }
                }
                Step::Indication(cid, length) => {
                    let id = CidId { service: bc::UUID, cid };
                    bench.mux.indication(bench.now, id, &vec![0; length]);
                }
                Step::Down => {
                    bench.mux.modem_down(bench.now, "gone");
                    asked.clear();
                }
                Step::Up => bench.mux.modem_opened(bench.now, 3),
                Step::Pass(seconds) => {
                    bench.now += Duration::from_secs(seconds);
                    bench.mux.timeout(bench.now);
                }
            }
            for gone in bench.finished() {
                if let Some(n) = clients.iter().position(|client| *client == gone) {
                    clients[n] = bench.connect(entrances[n]);
                }
            }
            for request in bench.requests() {
                match request {
                    Request::Send { ticket, command, .. } => asked.push((ticket, command.id)),
                    Request::Withdraw(_) => {}
                }
            }
            prop_assert!(bench.mux.outstanding() <= 3, "two places and the list");
            for client in clients {
                prop_assert!(bench.mux.held_bytes(client) <= BOUND);
            }
        }
        // A client that connects then is served as soon as the modem has answered its earlier
        // commands.
        bench.mux.modem_down(bench.now, "again");
        bench.mux.modem_opened(bench.now, 3);
        let honest = bench.private();
        bench.say(honest, 5, query(bc::DEVICE_CAPS));
        let mut rounds = 0;
        loop {
            let orders = bench.orders();
            prop_assert!(!orders.is_empty() || rounds > 0);
            for (ticket, command) in orders {
                bench.answer(ticket, &command, Status::NONE, b"caps");
            }
            let answer = done(bc::DEVICE_CAPS, Status::NONE, b"caps");
            if bench.heard(honest).iter().any(|message| message.transaction == 5 && message.body == answer) {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < 60, "never served");
        }
    }
}

#[test]
fn a_flood_of_commands_is_left_in_the_socket() {
    let mut bench = Bench::open(1);
    let (flood, other) = (bench.private(), bench.private());
    let mut taken = 0;
    for transaction in 100..u32::MAX {
        let message = Message {
            transaction,
            body: query(bc::SIGNAL_STATE),
        };
        let bytes = message.encode_whole();
        let room = bench.mux.room(flood);
        if room < bytes.len() {
            break;
        }
        bench.mux.receive(bench.now, flood, &bytes);
        taken += bytes.len();
        assert!(taken < 1 << 20, "it is taken without end");
    }
    assert!(bench.mux.held_bytes(flood) < BOUND);
    bench.say(other, 5, query(bc::PIN));
    let mut answers = 0;
    loop {
        let (ticket, command) = bench.order();
        bench.answer(ticket, &command, Status::NONE, b"");
        if !bench.heard(other).is_empty() {
            break;
        }
        answers += 1;
        assert!(answers < 3, "the flood does not delay others");
    }
    // Each command of the flood is answered in the end.
    let mut heard = 0;
    loop {
        heard += bench.heard(flood).len();
        let orders = bench.orders();
        if orders.is_empty() {
            break;
        }
        for (ticket, command) in orders {
            bench.answer(ticket, &command, Status::NONE, b"");
        }
    }
    assert_eq!(heard, taken / 48);
}
