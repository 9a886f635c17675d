//! The functions that fuzz targets (`fuzz/fuzz_targets`) reach beside this crate's API. They are
//! built for the fuzz targets alone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use uwwan_mbim::session::{Command, CommandError, Response};
use uwwan_mbim::status::Status;

use crate::askers::{Asker, Askers, Message, Request, Ticket};
use crate::at_port::{Answer, Line};
use crate::permissions::{Basis, Caller};
use crate::proxy::multiplexer::{Config, Multiplexer};
use crate::share::at::JsonLines;
use crate::share::at::line_discipline::LineDiscipline;
use crate::share::service::{ClientId, Entrance, Service};
use crate::share::{Reply, Responder};

/// Most bytes that a service may hold for one client.
const MOST_OUTPUT: usize = 8 << 20;
/// Most clients that are kept at a time.
const MOST_CLIENTS: usize = 64;
/// Path that names the modem at the proxy's public entrance.
pub const PATH: &str = "/run/uwwan/1-4/mbim";

/// A service with scripted clients.
pub struct Served {
    service: Box<dyn Service>,
    now: Instant,
    clients: Vec<ClientId>,
}

struct Modem;

impl Responder for Modem {
    fn status(&self) -> serde_json::Value {
        serde_json::json!({"online": true})
    }

    fn stop(&self) {}
}

impl Served {
    fn new(service: Box<dyn Service>) -> Self {
        Self {
            service,
            now: Instant::now(),
            clients: Vec::new(),
        }
    }

    /// Returns the service of the control socket.
    #[must_use]
    pub fn control() -> Self {
        Self::new(crate::share::control_service(Box::new(Modem)))
    }

    /// Connects a client.
    pub fn connect(&mut self, entrance: u8, caller: u8) {
        let entrance =
            [Entrance::Public, Entrance::Private, Entrance::Terminal][usize::from(entrance % 3)];
        let callers = [
            Caller::Everyone,
            Caller::Guest,
            Caller::Operator,
            Caller::Owner,
        ];
        let caller = callers[usize::from(caller % 4)];
        if self.clients.len() < MOST_CLIENTS {
            self.clients
                .extend(self.service.connect(self.now, entrance, caller));
        }
    }

    fn client(&self, number: u8) -> Option<ClientId> {
        let count = self.clients.len().max(1);
        self.clients.get(usize::from(number) % count).copied()
    }

    /// Lets a client send bytes, as many of them as the service has room for.
    pub fn send(&mut self, client: u8, bytes: &[u8]) {
        let Some(client) = self.client(client) else {
            return;
        };
        let room = self.service.room(client).min(bytes.len());
        self.service.receive(self.now, client, &bytes[..room]);
        assert!(self.service.output(client).len() <= MOST_OUTPUT);
    }

    /// Lets a client read some of its output.
    pub fn read(&mut self, client: u8, count: u16) {
        if let Some(client) = self.client(client) {
            let count = self.service.output(client).len().min(count.into());
            self.service.wrote(self.now, client, count);
        }
    }

    /// Lets a client close its sending half.
    pub fn end(&mut self, client: u8) {
        if let Some(client) = self.client(client) {
            self.service.input_ended(self.now, client, 0);
        }
    }

    /// Disconnects a client.
    pub fn leave(&mut self, client: u8) {
        if let Some(client) = self.client(client) {
            self.service.disconnect(self.now, client);
            self.clients.retain(|other| *other != client);
        }
    }

    /// Lets time pass, and the service do what is due.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        while self.service.work(self.now) {}
        while let Some(client) = self.service.take_finished(self.now) {
            self.clients.retain(|other| *other != client);
        }
        self.service.work(self.now);
    }

    /// Stops the service.
    pub fn stop(&mut self) {
        self.service.stop(self.now);
        self.pass(Duration::ZERO);
    }
}

/// The multiplexer of the control session with scripted clients and a scripted modem.
pub struct Proxy {
    /// Clients and service.
    pub served: Served,
    inbox: Receiver<Message>,
    askers: Askers,
    under_way: VecDeque<(u64, Ticket, Command)>,
}

impl Default for Proxy {
    fn default() -> Self {
        let (outbox, inbox) = unbounded();
        let asker = Asker::attached(outbox, None);
        let ours = Box::new(|path: &str| path == PATH);
        let multiplexer = Multiplexer::new(
            Config::default(),
            ours,
            Box::new(|| Basis {
                held: vec![0],
                age: 0,
            }),
            asker,
            Arc::default(),
        );
        Self {
            served: Served::new(Box::new(multiplexer)),
            inbox,
            askers: Askers::default(),
            under_way: VecDeque::new(),
        }
    }
}

impl Proxy {
    /// Takes the requests of the multiplexer to the control thread.
    fn take(&mut self) {
        while let Ok(message) = self.inbox.try_recv() {
            match message {
                Message::Attach(sender) => self.askers.attach(sender),
                Message::Ask { asker, request } => match request {
                    Request::Send {
                        ticket, command, ..
                    } => self.under_way.push_back((asker, ticket, command)),
                    Request::Withdraw(ticket) => {
                        let known = |(_, other, _): &(u64, Ticket, Command)| *other == ticket;
                        if let Some(at) = self.under_way.iter().position(known) {
                            self.under_way.remove(at);
                            let result = Err(CommandError::Cancelled);
                            self.askers.answer(asker, ticket, result);
                        }
                    }
                },
                _ => {}
            }
        }
        assert!(
            self.under_way.len() <= 64,
            "the modem is sent no more than it takes"
        );
    }

    /// Lets the modem open its control session, or lose it.
    pub fn modem(&mut self, outstanding: u8) {
        self.take();
        if outstanding == 0 {
            for (asker, ticket, _) in self.under_way.drain(..) {
                self.askers.answer(asker, ticket, Err(CommandError::Closed));
            }
            self.askers.down("unplugged");
        } else {
            self.askers.opened(outstanding.into());
        }
        self.served.pass(Duration::ZERO);
    }

    /// Lets the modem answer its oldest command.
    pub fn answer(&mut self, status: u32, info: &[u8]) {
        self.take();
        if let Some((asker, ticket, command)) = self.under_way.pop_front() {
            let response = Response {
                id: command.id,
                status: Status(status),
                info: info.to_vec(),
            };
            self.askers.answer(asker, ticket, Ok(response));
        }
        self.served.pass(Duration::ZERO);
        self.take();
    }

    /// Lets the modem indicate the CID of its oldest command.
    pub fn indicate(&mut self, info: &[u8]) {
        self.take();
        if let Some((_, _, command)) = self.under_way.front() {
            self.askers.indication(command.id, info);
        }
        self.served.pass(Duration::ZERO);
    }
}

/// One client of the AT port, at the socket or at the terminal.
pub enum AtClient {
    /// The client speaks in JSON lines.
    Socket(JsonTalk),
    /// The client types.
    Terminal(TypedTalk),
}

/// State of a client at the socket.
#[derive(Default)]
pub struct JsonTalk(JsonLines);
/// State of a client at the terminal.
#[derive(Default)]
pub struct TypedTalk(LineDiscipline);

impl AtClient {
    /// Returns a client that has just connected.
    #[must_use]
    pub fn new(types: bool) -> Self {
        match types {
            true => Self::Terminal(TypedTalk::default()),
            false => Self::Socket(JsonTalk::default()),
        }
    }

    /// Takes bytes of the client, and answers each of its commands with these lines.
    pub fn send(&mut self, mut bytes: &[u8], lines: &[String]) {
        loop {
            let room = match self {
                Self::Socket(talk) => talk.0.room(),
                Self::Terminal(talk) => talk.0.room(),
            };
            let (taken, rest) = bytes.split_at(room.min(bytes.len()));
            bytes = rest;
            match self {
                Self::Socket(talk) => talk.0.receive(taken),
                Self::Terminal(talk) => talk.0.receive(taken),
            }
            let mut answered = 0;
            while let Some(command) = match self {
                Self::Socket(talk) => talk.0.next(|| None).map(|(command, _)| command),
                Self::Terminal(talk) => talk.0.next(),
            } {
                let answer = Ok(Answer {
                    command: command.line().to_owned(),
                    lines: lines.to_vec(),
                    truncated: false,
                    result: Ok(()),
                });
                match self {
                    Self::Socket(talk) => talk.0.answered(&answer),
                    Self::Terminal(talk) => talk.0.answered(&answer),
                }
                answered += 1;
            }
            self.check();
            if bytes.is_empty() || (taken.is_empty() && answered == 0) {
                return;
            }
        }
    }

    /// Lets the modem send an unsolicited result code.
    pub fn tell(&mut self, text: &str) {
        let line = Line::Unsolicited(text.to_owned());
        match self {
            Self::Socket(talk) => talk.0.tell(&line),
            Self::Terminal(talk) => talk.0.tell(&line),
        }
        self.check();
    }

    /// Lets the client read.
    pub fn read(&mut self, count: u16) {
        match self {
            Self::Socket(talk) => talk.0.wrote(count.into()),
            Self::Terminal(talk) => talk.0.wrote(count.into()),
        }
    }

    fn check(&self) {
        let output = match self {
            Self::Socket(talk) => talk.0.output(),
            Self::Terminal(talk) => talk.0.output(),
        };
        assert!(output.len() <= MOST_OUTPUT);
    }
}

/// Reads a reply of a running `up` as the program does.
pub fn reply(line: &[u8]) {
    if let Ok(reply) = serde_json::from_slice::<Reply>(line) {
        let _ = reply.decode();
    }
    let _ = serde_json::from_slice::<crate::share::at::protocol::Message>(line);
}

/// Reads a quirk file.
pub fn quirk_file(text: &str) {
    let _ = crate::quirks::parse(std::path::Path::new("quirks.toml"), text);
}
