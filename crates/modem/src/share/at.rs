//! Service that gives other programs the AT port: a terminal for each opener, and JSON lines.
//!
//! A client has one command on its way at a time, so no client can keep the port from others. A
//! client that does not read loses unsolicited result codes first and answers last. Commands of a
//! client that leaves are withdrawn if they have not been sent.

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

/// Largest number of clients at a time, of either kind.
const MOST_CLIENTS: usize = 32;
/// Number of messages of the port's thread that may wait before unsolicited result codes are
/// dropped.
const MOST_NEWS: usize = 1024;

/// Paths of the AT port's entrances.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Path of the Unix socket.
    pub socket: Option<PathBuf>,
    /// Path of the symbolic link to a terminal.
    pub terminal: Option<PathBuf>,
}

impl Builder {
    /// Offers the AT port.
    ///
    /// # Errors
    /// Those of the system, with the path that could not be made.
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

/// Message of the port's thread.
enum News {
    Answer(ClientId, Result<Answer, Failure>),
    Line(Line),
}

/// Form in which a client uses the port.
enum Dialect {
    Terminal(Box<Discipline>),
    Json(JsonLines),
}

struct Client {
    dialect: Dialect,
    /// Handle on the client's command that is on its way.
    ticket: Option<Ticket>,
    /// Last answer that was written to a terminal.
    last: Option<Answer>,
    /// Whether nothing more will come from the client.
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
        // The listener stays while there are no clients; lines without a client are dropped.
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

    /// Submits a client's next command, if it has none on its way.
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

    /// Writes the last answer of an opener that has gone without reading it to the openers that
    /// only listen. Bytes written to a terminal stay in it until it is opened again: `unread` is
    /// their number.
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

/// Submits a command to the port. Its answer comes as a message for the client.
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
            // A terminal's last command runs to its end, because other openers may be listening for
            // the answer.
            Dialect::Terminal(_) => idle,
            Dialect::Json(lines) => (lines.is_done() || idle) && lines.output().is_empty(),
        }
    }

    /// Returns whether the client has not sent a request yet.
    fn is_idle(&self) -> bool {
        matches!(&self.dialect, Dialect::Json(lines) if !lines.has_asked() && !lines.is_done())
    }
}

impl Service for At {
    fn connect(&mut self, _: Instant, entrance: Entrance) -> Option<ClientId> {
        if !self.has_room() {
            // A client without a request makes room, the oldest first.
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
            // A terminal that no program has open takes no bytes.
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
