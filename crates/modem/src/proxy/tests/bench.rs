//! Test bench: a multiplexer with a clock of its own, clients that send whole messages, and a modem
//! whose answers the test gives.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use uwwan_mbim::CommandKind;
use uwwan_mbim::fragment::Reassembler;
use uwwan_mbim::message::{Body, Message as MbimMessage};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::proxy_control::{self, ConfigurationSet};
use uwwan_mbim::session::{Command, Response};
use uwwan_mbim::status::{ProtocolError, Status};

use crate::askers::{Asker, Message, Request, Ticket};
use crate::permissions::{Basis, Caller};
use crate::proxy::multiplexer::{Config, Multiplexer};
use crate::share::service::{ClientId, Entrance, Service};

/// Path that names the modem.
pub const PATH: &str = "/run/uwwan/1-4/mbim";

pub struct Bench {
    pub mux: Multiplexer,
    count: Arc<AtomicUsize>,
    /// What judgements rest on.
    pub basis: Arc<Mutex<Basis>>,
    /// Inbox in the place of the control thread's.
    inbox: Receiver<Message>,
    pub now: Instant,
}

impl Bench {
    pub fn new(config: Config) -> Self {
        Self::of_modem(config, PATH)
    }

    /// Returns a bench whose modem has the path `ours`.
    pub fn of_modem(config: Config, ours: &'static str) -> Self {
        let (outbox, inbox) = unbounded();
        let asker = Asker::attached(outbox, None);
        let count = Arc::default();
        let basis = Arc::new(Mutex::new(Basis {
            held: vec![0],
            age: 0,
        }));
        let at_present = {
            let basis = Arc::clone(&basis);
            Box::new(move || basis.lock().unwrap().clone())
        };
        let ours = Box::new(move |path: &str| path == ours);
        Self {
            mux: Multiplexer::new(config, ours, at_present, asker, Arc::clone(&count)),
            basis,
            count,
            inbox,
            now: Instant::now(),
        }
    }

    /// Returns a bench with a modem that takes `outstanding` commands at a time.
    pub fn open(outstanding: usize) -> Self {
        let mut bench = Self::new(Config::default());
        bench.mux.modem_opened(bench.now, outstanding);
        bench
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        while let Some(due) = self.mux.poll_timeout().filter(|due| *due <= self.now) {
            self.mux.timeout(self.now);
            if self.finished().is_empty() {
                assert_ne!(
                    self.mux.poll_timeout(),
                    Some(due),
                    "what is due is done once"
                );
            }
        }
    }

    /// Returns the clients whose connections are to be closed.
    pub fn finished(&mut self) -> Vec<ClientId> {
        std::iter::from_fn(|| self.mux.take_finished(self.now)).collect()
    }

    /// Returns the number of clients in the status.
    pub fn clients(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub fn connect(&mut self, entrance: Entrance) -> ClientId {
        self.connect_as(entrance, Caller::Owner)
    }

    pub fn connect_as(&mut self, entrance: Entrance, caller: Caller) -> ClientId {
        self.mux.connect(self.now, entrance, caller).unwrap()
    }

    /// Returns a client of the public socket after its CONFIGURATION and OPEN, as mbimcli begins.
    pub fn mbimcli(&mut self) -> ClientId {
        let client = self.connect(Entrance::Public);
        self.say(client, 1, configuration(PATH));
        self.say(client, 2, open(4096));
        let heard = self.heard(client);
        assert!(
            matches!(
                heard[0].body,
                Body::CommandDone {
                    status: Status::NONE,
                    ..
                }
            ),
            "{heard:?}"
        );
        assert_eq!(heard[1].body, Body::OpenDone(Status::NONE));
        self.settle();
        client
    }

    /// Returns a client of the private socket after its OPEN.
    pub fn private(&mut self) -> ClientId {
        let client = self.connect(Entrance::Private);
        self.say(client, 1, open(4096));
        assert_eq!(self.heard(client)[0].body, Body::OpenDone(Status::NONE));
        self.settle();
        client
    }

    /// Answers all commands that the modem has at present with success.
    pub fn settle(&mut self) {
        for (ticket, command) in self.orders() {
            self.answer(ticket, &command, Status::NONE, b"");
        }
    }

    pub fn say(&mut self, client: ClientId, transaction: u32, body: Body) {
        let message = MbimMessage { transaction, body };
        for part in message.encode(4096) {
            self.write(client, &part);
        }
    }

    pub fn write(&mut self, client: ClientId, bytes: &[u8]) {
        let taken = bytes.len().min(self.mux.room(client));
        self.mux.receive(self.now, client, &bytes[..taken]);
    }

    /// Returns the pieces of output that wait for a client, one for each write.
    pub fn parts(&mut self, client: ClientId) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        loop {
            let part = self.mux.output(client).to_vec();
            if part.is_empty() {
                return parts;
            }
            self.mux.wrote(self.now, client, part.len());
            parts.push(part);
        }
    }

    /// Returns the messages that wait for a client.
    pub fn heard(&mut self, client: ClientId) -> Vec<MbimMessage> {
        let mut reassembler = Reassembler::default();
        let now = self.now;
        self.parts(client)
            .iter()
            .filter_map(|part| reassembler.push(now, part).unwrap())
            .collect()
    }

    pub fn requests(&mut self) -> Vec<Request> {
        let messages = self.inbox.try_iter();
        let requests = messages.filter_map(|message| match message {
            Message::Ask { request, .. } => Some(request),
            _ => None,
        });
        requests.collect()
    }

    /// Returns the commands for the modem.
    pub fn orders(&mut self) -> Vec<(Ticket, Command)> {
        self.requests()
            .into_iter()
            .filter_map(|request| match request {
                Request::Send {
                    ticket, command, ..
                } => Some((ticket, command)),
                Request::Withdraw(_) => None,
            })
            .collect()
    }

    /// Returns the only command for the modem.
    pub fn order(&mut self) -> (Ticket, Command) {
        let mut orders = self.orders();
        assert_eq!(orders.len(), 1, "{orders:?}");
        orders.remove(0)
    }

    pub fn answer(&mut self, ticket: Ticket, command: &Command, status: Status, info: &[u8]) {
        let response = Response {
            id: command.id,
            status,
            info: info.to_vec(),
        };
        self.mux.answer(self.now, ticket, Ok(response));
    }
}

pub fn open(max_control_transfer: u32) -> Body {
    Body::Open {
        max_control_transfer,
    }
}

pub fn query(id: CidId) -> Body {
    body(Command::query(id))
}

pub fn body(command: Command) -> Body {
    Body::Command {
        service: command.id.service,
        cid: command.id.cid,
        kind: command.kind,
        info: command.info,
    }
}

pub fn done(id: CidId, status: Status, info: &[u8]) -> Body {
    Body::CommandDone {
        service: id.service,
        cid: id.cid,
        status,
        info: info.to_vec(),
    }
}

pub fn configuration(path: &str) -> Body {
    let content = ConfigurationSet {
        device_path: path.into(),
        timeout: 30,
    };
    body(Command::set(proxy_control::CONFIGURATION, &content))
}

pub fn cancel() -> Body {
    Body::HostError(ProtocolError::CANCEL)
}

pub fn set(id: CidId, info: &[u8]) -> Body {
    Body::Command {
        service: id.service,
        cid: id.cid,
        kind: CommandKind::SET,
        info: info.to_vec(),
    }
}
