//! The AT port for other programs: a terminal for each opener, and JSON lines.
//!
//! A client has one command on its way at a time, so nobody can keep the port from others; one that
//! does not read loses unsolicited result codes first and answers last; one that leaves takes back
//! what was not sent yet.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use uwwan_at::dialogue::Command;

use super::credentials::Allow;
use super::listener::Listener;
use super::server::Builder;
use super::service::{ClientId, Entrance, Service};
use super::terminals::Terminals;
use crate::at_port::discipline::Discipline;
use crate::at_port::lines::JsonLines;
use crate::at_port::{Answer, AtPort, Line, Ticket};
use crate::failure::Failure;
use crate::poll::Waker;

/// Clients at once, of either kind.
const MOST_CLIENTS: usize = 32;
/// Pieces of news of the port that may wait before unsolicited result codes are dropped.
const MOST_NEWS: usize = 1024;

/// Where the AT port's entrances are.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The Unix socket.
    pub socket: Option<PathBuf>,
    /// The symbolic link to a terminal.
    pub terminal: Option<PathBuf>,
}

impl Builder {
    /// Offers the AT port.
    ///
    /// # Errors
    /// With the path that could not be made.
    pub fn at(&mut self, port: AtPort, places: &Places) -> io::Result<()> {
        let at = |path: &PathBuf, error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        };
        let terminals = places.terminal.as_ref().map(|path| {
            let terminals = Terminals::new(path);
            terminals.map_err(|error| at(path, error))
        });
        let socket = places.socket.as_ref().map(|path| {
            let listener = Listener::at(path, 0o600);
            listener.map_err(|error| at(path, error))
        });
        let (terminals, socket) = (terminals.transpose()?, socket.transpose()?);
        let service = self.service(Box::new(At::new(port, self.waker())));
        if let Some(terminals) = terminals {
            self.terminals(service, terminals);
        }
        if let Some(socket) = socket {
            self.socket(service, socket, Entrance::Private, Allow::default());
        }
        Ok(())
    }
}

/// What the port's thread hands over.
enum News {
    Answer(ClientId, Result<Answer, Failure>),
    Line(Line),
}

/// How a client speaks.
enum Dialect {
    Terminal(Box<Discipline>),
    Json(JsonLines),
}

struct Client {
    dialect: Dialect,
    /// The client's command on its way.
    ticket: Option<Ticket>,
    /// The last answer given to a terminal.
    last: Option<Answer>,
    /// Nothing more will come from the client.
    input_ended: bool,
}

struct At {
    port: AtPort,
    sender: Sender<News>,
    news: Receiver<News>,
    waker: Waker,
    clients: BTreeMap<ClientId, Client>,
    next: u64,
}

impl At {
    fn new(port: AtPort, waker: Waker) -> Self {
        let (sender, news) = unbounded();
        // Lines are for whoever is there: without listeners they cost nothing but a look.
        let (lines, woken) = (sender.clone(), waker.clone());
        port.listen(Box::new(move |line| {
            if lines.len() >= MOST_NEWS {
                return true;
            }
            let heard = lines.send(News::Line(line.clone())).is_ok();
            woken.wake();
            heard
        }));
        Self {
            port,
            sender,
            news,
            waker,
            clients: BTreeMap::new(),
            next: 0,
        }
    }

    /// Sends a client's next command, if it has none on its way.
    fn advance(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if client.ticket.is_some() {
            return;
        }
        let command = match &mut client.dialect {
            Dialect::Terminal(discipline) => discipline.next(),
            Dialect::Json(lines) => lines.next(|| self.port.port().map(|port| port.to_string())),
        };
        if let Some(command) = command {
            client.ticket = Some(submit(&self.port, command, &self.sender, &self.waker, id));
        }
    }

    fn answered(&mut self, id: ClientId, result: &Result<Answer, Failure>) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        client.ticket = None;
        match &mut client.dialect {
            Dialect::Terminal(discipline) => {
                discipline.answered(result);
                client.last = result.as_ref().ok().cloned();
                if client.input_ended {
                    self.leave_behind(id, 0);
                }
            }
            Dialect::Json(lines) => lines.answered(result),
        }
        self.advance(id);
    }

    /// What an opener that has gone has not read, those hear who only listen. What is written to a
    /// terminal stays in it until it is opened again: `unread` is the number of those bytes.
    fn leave_behind(&mut self, id: ClientId, unread: u64) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let Dialect::Terminal(discipline) = &mut client.dialect else {
            return;
        };
        let unread = unread > 0 || !discipline.output().is_empty();
        discipline.forget_output();
        let Some(answer) = client.last.take().filter(|_| unread) else {
            return;
        };
        for client in self.clients.values_mut() {
            if let Dialect::Terminal(discipline) = &mut client.dialect
                && !discipline.has_spoken()
                && !client.input_ended
            {
                discipline.overhear(&answer);
            }
        }
    }
}

/// Sends a command to the port; its end comes as news for the client.
fn submit(
    port: &AtPort,
    command: Command,
    sender: &Sender<News>,
    waker: &Waker,
    id: ClientId,
) -> Ticket {
    let (sender, waker) = (sender.clone(), waker.clone());
    let reply = move |result| {
        let _ = sender.send(News::Answer(id, result));
        waker.wake();
    };
    port.submit(command, Box::new(reply))
}

impl Client {
    /// Returns whether nothing more is to be done for the client.
    fn is_finished(&self) -> bool {
        let idle = self.input_ended && self.ticket.is_none();
        match &self.dialect {
            // A terminal's last command runs to its end: others may be listening for the answer.
            Dialect::Terminal(_) => idle,
            Dialect::Json(lines) => (lines.is_done() || idle) && lines.output().is_empty(),
        }
    }

    /// Returns whether the client has asked for nothing yet.
    fn is_idle(&self) -> bool {
        matches!(&self.dialect, Dialect::Json(lines) if !lines.has_asked() && !lines.is_done())
    }
}

impl Service for At {
    fn connect(&mut self, _: Instant, entrance: Entrance) -> Option<ClientId> {
        if !self.has_room() {
            // Whoever has asked for nothing makes room, the first to come before others.
            let idle = self.clients.values_mut().find(|client| client.is_idle())?;
            if let Dialect::Json(lines) = &mut idle.dialect {
                lines.refuse("too many clients");
            }
        }
        self.next += 1;
        let id = ClientId(self.next);
        let dialect = match entrance {
            Entrance::Terminal => Dialect::Terminal(Box::default()),
            _ => Dialect::Json(JsonLines::default()),
        };
        let client = Client {
            dialect,
            ticket: None,
            last: None,
            input_ended: false,
        };
        self.clients.insert(id, client);
        Some(id)
    }

    fn has_room(&self) -> bool {
        self.clients.len() < MOST_CLIENTS
    }

    fn turned_away(&self, why: &str) -> Vec<u8> {
        let mut lines = JsonLines::default();
        lines.refuse(why);
        lines.output().to_vec()
    }

    fn room(&self, client: ClientId) -> usize {
        self.clients
            .get(&client)
            .map_or(0, |client| match &client.dialect {
                Dialect::Terminal(discipline) => discipline.room(),
                Dialect::Json(lines) => lines.room(),
            })
    }

    fn receive(&mut self, _: Instant, client: ClientId, bytes: &[u8]) {
        match self
            .clients
            .get_mut(&client)
            .map(|client| &mut client.dialect)
        {
            Some(Dialect::Terminal(discipline)) => discipline.receive(bytes),
            Some(Dialect::Json(lines)) => lines.receive(bytes),
            None => return,
        }
        self.advance(client);
    }

    fn input_ended(&mut self, _: Instant, client: ClientId, unread: u64) {
        if let Some(ended) = self.clients.get_mut(&client) {
            ended.input_ended = true;
            self.leave_behind(client, unread);
        }
    }

    fn output(&self, client: ClientId) -> &[u8] {
        match self.clients.get(&client) {
            // A terminal nobody has open takes bytes for nobody.
            Some(client) => match &client.dialect {
                Dialect::Terminal(_) if client.input_ended => &[],
                Dialect::Terminal(discipline) => discipline.output(),
                Dialect::Json(lines) => lines.output(),
            },
            None => &[],
        }
    }

    fn wrote(&mut self, _: Instant, client: ClientId, count: usize) {
        match self
            .clients
            .get_mut(&client)
            .map(|client| &mut client.dialect)
        {
            Some(Dialect::Terminal(discipline)) => discipline.wrote(count),
            Some(Dialect::Json(lines)) => lines.wrote(count),
            None => return,
        }
        self.advance(client);
    }

    fn disconnect(&mut self, _: Instant, client: ClientId) {
        self.clients.remove(&client);
    }

    fn take_finished(&mut self, _: Instant) -> Option<ClientId> {
        let mut clients = self.clients.iter();
        let id = *clients.find(|(_, client)| client.is_finished())?.0;
        self.clients.remove(&id);
        Some(id)
    }

    fn work(&mut self, _: Instant) -> bool {
        for _ in 0..MOST_NEWS {
            match self.news.try_recv() {
                Ok(News::Answer(client, result)) => self.answered(client, &result),
                Ok(News::Line(line)) => {
                    for client in self.clients.values_mut() {
                        match &mut client.dialect {
                            Dialect::Terminal(discipline) => discipline.tell(&line),
                            Dialect::Json(lines) => lines.tell(&line),
                        }
                    }
                }
                Err(_) => return false,
            }
        }
        true
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn stop(&mut self, _: Instant) {
        for client in self.clients.values_mut() {
            client.ticket = None;
            client.input_ended = true;
        }
    }
}
