//! A program joins between the judgement on another program's command and its sending.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use uwwan_emulator::Emulator;
use uwwan_mbim::CommandKind;
use uwwan_mbim::message::{Body, Message as MbimMessage};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{CONNECT, DEVICE_CAPS, DeviceCaps};
use uwwan_mbim::status::Status;

use super::every_command::{PATIENCE, online, sink};
use super::service::{ClientId, Entrance, Service};
use crate::Handle;
use crate::askers::Message;
use crate::client::Client;
use crate::host::Carries;
use crate::join::{JoinNews, JoinOptions, Joined, Joining};
use crate::permissions::Caller;
use crate::proxy::multiplexer::{Config, Multiplexer};

/// A driver online on an emulated modem, and a client of its control session. The test is the sharing
/// thread.
struct Bench {
    _emulator: Emulator,
    handle: Handle,
    multiplexer: Multiplexer,
    client: ClientId,
}

impl Bench {
    fn start(caller: Caller) -> Self {
        let (emulator, handle) = online();
        let modem = handle.clone();
        let mut multiplexer = Multiplexer::new(
            Config::default(),
            Box::new(|_| true),
            Box::new(move || modem.basis()),
            handle.asker(None),
            Arc::default(),
        );
        let now = Instant::now();
        let client = multiplexer.connect(now, Entrance::Private, caller).unwrap();
        let mut bench = Self {
            _emulator: emulator,
            handle,
            multiplexer,
            client,
        };
        bench.say(Body::Open {
            max_control_transfer: 4096,
        });
        assert_eq!(bench.heard(), Body::OpenDone(Status::NONE));
        bench
    }

    /// Writes a message. A command is judged, and a request to send it is with the control thread, when
    /// this returns.
    fn say(&mut self, body: Body) {
        let message = MbimMessage {
            transaction: 1,
            body,
        };
        for part in message.encode(4096) {
            self.multiplexer.receive(Instant::now(), self.client, &part);
        }
    }

    fn command(&mut self, id: CidId, info: Vec<u8>) {
        self.say(Body::Command {
            service: id.service,
            cid: id.cid,
            kind: CommandKind::SET,
            info,
        });
    }

    /// Waits for the next message for the client.
    fn heard(&mut self) -> Body {
        let until = Instant::now() + PATIENCE;
        loop {
            self.multiplexer.work(Instant::now());
            let part = self.multiplexer.output(self.client).to_vec();
            if !part.is_empty() {
                self.multiplexer
                    .wrote(Instant::now(), self.client, part.len());
                let body = MbimMessage::decode(&part).unwrap().body;
                if !matches!(body, Body::Indication { .. }) {
                    return body;
                }
            }
            assert!(Instant::now() < until, "the client is never answered");
            std::thread::yield_now();
        }
    }

    /// Waits for the status of the answer to a command.
    fn status(&mut self) -> Status {
        match self.heard() {
            Body::CommandDone { status, .. } => status,
            other => panic!("{other:?}"),
        }
    }

    /// Holds the control thread up until the returned end is dropped.
    fn hold_up(&self) -> Sender<()> {
        let (release, released): (Sender<()>, Receiver<()>) = channel();
        let (stopped, stops) = channel();
        self.handle.call(move || {
            stopped.send(()).unwrap();
            let _ = released.recv();
        });
        stops.recv().unwrap();
        release
    }

    fn join(&self) -> Joined {
        let options = JoinOptions {
            carries: Carries::Packet,
            apn: None,
            ip_type: None,
            mtu: None,
        };
        let outbox = self.handle.clone();
        let leave = Box::new(move |guest| outbox.post(Message::Leave(guest)));
        let (order, joined) = Joining::of(options, "sink".into(), sink(), None, leave);
        self.handle.post(Message::Join(Box::new(order)));
        joined
    }

    /// Returns the id that the next program's session gets: the modem's last.
    fn next_id(&self) -> u8 {
        let mut client = Client::beside(&self.handle).unwrap();
        let caps: DeviceCaps = client.query(DEVICE_CAPS).unwrap();
        u8::try_from(caps.max_sessions - 1).unwrap()
    }
}

/// Waits for the next news of a session.
fn next(joined: &Joined) -> Option<JoinNews> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(news) = joined.try_next().unwrap() {
            return Some(news);
        }
        std::thread::yield_now();
    }
    None
}

/// Set command for a session without anything else, as CONNECT has it at its longest: with it a session
/// ends, and has no filters.
fn nothing_for(session: u8) -> Vec<u8> {
    let mut words = [0_u32; 15];
    words[0] = session.into();
    words.map(u32::to_le_bytes).concat()
}

#[test]
fn a_session_that_begins_after_the_judgement_is_not_reached() {
    for (caller, command) in [
        (Caller::Guest, CONNECT),
        (Caller::Operator, CONNECT),
        (Caller::Owner, CONNECT),
    ] {
        let mut bench = Bench::start(caller);
        let id = bench.next_id();
        let release = bench.hold_up();
        let joined = bench.join();
        // The command is judged while session 0 alone is held, and the program is before it.
        assert_eq!(bench.handle.sessions(), [0]);
        bench.command(command, nothing_for(id));
        drop(release);
        let refused = Status::OPERATION_NOT_ALLOWED;
        assert_eq!(bench.status(), refused, "{caller:?} {command}");
        loop {
            match next(&joined).expect("the session comes online") {
                JoinNews::Session(of) => assert_eq!(of, id),
                JoinNews::Online => break,
                JoinNews::Addresses(_) => {}
                other => panic!("{caller:?} {command}: {other:?}"),
            }
        }
        // Another session than those that are held is still the client's.
        bench.command(CONNECT, nothing_for(1));
        assert_ne!(bench.status(), refused, "{caller:?}");
        drop(joined);
        bench.handle.stop();
        bench.handle.wait().unwrap();
    }
}

#[test]
fn a_pin_of_the_driver_has_commands_judged_once_more() {
    let bench = Bench::start(Caller::Owner);
    // The driver has entered the PIN once, and no program has joined.
    assert_eq!(bench.handle.basis().age, 1);
    let joined = bench.join();
    next(&joined).unwrap();
    // The control thread takes its messages in turn.
    drop(bench.hold_up());
    assert_eq!(bench.handle.basis().age, 2);
    drop(joined);
    bench.handle.stop();
    bench.handle.wait().unwrap();
}
