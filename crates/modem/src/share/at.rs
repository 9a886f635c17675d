//! Service that gives other programs the AT port: a terminal for each opener, with a line discipline
//! of its own, and JSON lines. The state machines of both do no I/O: bytes go in and come out.
//!
//! A client has one command under way at a time, so no client can keep the port from others. A
//! client that does not read loses unsolicited result codes first and answers last. Commands of a
//! client that leaves are withdrawn if they have not been sent.

pub(crate) mod line_discipline;
mod output;
pub(crate) mod protocol;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use uwwan_at::codes::cme;
use uwwan_at::dialogue::Command;
use uwwan_at::failure::{Cme, Code, Failure as Refusal};

use super::listener::Listener;
use super::server::{Builder, too_many};
use super::service::{ClientId, Entrance, Service};
use super::terminals::Terminals;
use crate::at_port::{self, Answer, AtPort, Line, Ticket};
use crate::failure::{Failure, FailureKind};
use crate::permissions::{self, Caller, CallerState, Decision};
use crate::poll::Waker;
use line_discipline::LineDiscipline;
use output::Output;
use protocol::{LONGEST_REQUEST, Message, Request, final_text};

/// Largest number of clients at a time, of either kind.
const MOST_CLIENTS: usize = 32;
/// MBIM session ids for the rules on AT commands, which only ask whether there are any: the driver
/// always has session 0.
const HELD: &[u32] = &[0];
/// Number of messages of the port's thread that may wait before unsolicited result codes are
/// dropped.
const MOST_NEWS: usize = 1024;

/// Number of bytes that may wait for a client before it is dropped.
const MOST_OUTPUT: usize = 2 << 20;
/// Number of bytes that may wait for a client before unsolicited result codes are dropped.
const MOST_OUTPUT_UNASKED: usize = 256 * 1024;
/// Number of bytes that may wait for a client before its next request is put off.
const MUCH_OUTPUT: usize = 64 * 1024;

/// Entrances of the AT port and their rules.
#[derive(Debug, Clone)]
pub struct AtOptions {
    /// Path of the Unix socket.
    pub socket: Option<PathBuf>,
    /// Path of the symbolic link to a terminal.
    pub terminal: Option<PathBuf>,
    /// Whether the owner's clients have to force the commands for which the table of permissions
    /// asks that.
    pub guard: bool,
}

impl Default for AtOptions {
    fn default() -> Self {
        Self {
            socket: None,
            terminal: None,
            guard: true,
        }
    }
}

impl Builder {
    /// Offers the AT port.
    ///
    /// # Errors
    /// The system's error, with the path of the entrance that could not be made.
    pub fn at(&mut self, port: AtPort, options: &AtOptions) -> io::Result<()> {
        let at = |path: &PathBuf, error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        };
        let terminals = options.terminal.as_ref().map(|path| {
            let terminals = Terminals::new(path);
            terminals.map_err(|error| at(path, error))
        });
        let socket = options.socket.as_ref().map(|path| {
            let listener = Listener::at(path, self.mode(Caller::Operator));
            listener.map_err(|error| at(path, error))
        });
        let (terminals, socket) = (terminals.transpose()?, socket.transpose()?);
        let service = At {
            owners: self.policy().who(Caller::Owner),
            guard: options.guard,
            ..At::new(port, self.waker())
        };
        let service = self.service(Box::new(service));
        if let Some(terminals) = terminals {
            self.terminals(service, terminals);
        }
        if let Some(socket) = socket {
            self.socket(service, socket, Entrance::Private, Caller::Operator);
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
    Terminal(Box<LineDiscipline>),
    Json(JsonLines),
}

/// State of a client that uses the port by JSON lines: `uwwan at`. It sends [`Request`]s and gets a
/// [`Message`] for each, in order. A client that listens gets unsolicited result codes between them.
#[derive(Debug, Default)]
pub(crate) struct JsonLines {
    input: Vec<u8>,
    output: Output,
    listens: bool,
    has_asked: bool,
    /// Whether the client broke the protocol or does not read: nothing more is taken from it.
    done: bool,
}

impl JsonLines {
    /// Returns the number of bytes that the server takes from the client at present.
    pub(crate) fn room(&self) -> usize {
        if self.done {
            return 0;
        }
        (LONGEST_REQUEST + 1).saturating_sub(self.input.len())
    }

    /// Takes bytes of the client, at most [`JsonLines::room`].
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Returns the next command for the port, and answers requests that need none. The command's
    /// answer has to be given to [`JsonLines::answered`] before there is another. `port` returns a
    /// description of the interface that answers. The second value says whether the client forces
    /// the command.
    pub(crate) fn next(&mut self, port: impl Fn() -> Option<String>) -> Option<(Command, bool)> {
        // A loop, not recursion: many requests may come at once.
        while !self.done && self.output.len() <= MUCH_OUTPUT {
            let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else {
                if self.input.len() > LONGEST_REQUEST {
                    self.refuse(at_port::system("a request is too long"));
                }
                return None;
            };
            // A request may hold a PIN, so nothing of it stays here.
            let rest = self.input.split_off(end + 1);
            let line = std::mem::replace(&mut self.input, rest);
            let request = serde_json::from_slice(&line[..end]);
            match request {
                Ok(Request::Listen {}) => {
                    self.listens = true;
                    self.send(&Message::State { port: port() });
                }
                Ok(Request::State {}) => self.send(&Message::State { port: port() }),
                Ok(Request::Command {
                    line,
                    text,
                    timeout_ms,
                    force,
                }) => match at_port::command(
                    &line,
                    text.as_deref(),
                    timeout_ms.map(Duration::from_millis),
                ) {
                    Ok(command) => {
                        self.has_asked = true;
                        return Some((command, force));
                    }
                    Err(error) => self.send(&Message::Error(error)),
                },
                Err(error) => self.refuse(at_port::system(format_args!("not a request: {error}"))),
            }
            self.has_asked = true;
        }
        None
    }

    /// Sends the answer to the command, or the reason why there is none.
    pub(crate) fn answered(&mut self, result: &Result<Answer, Failure>) {
        self.send(&match result {
            Ok(answer) => Message::Answer {
                command: answer.command.clone(),
                lines: answer.lines.clone(),
                truncated: answer.truncated,
                result: final_text(&answer.result),
            },
            Err(error) => Message::Error(error.clone()),
        });
    }

    /// Sends an unsolicited result code or an NMEA sentence, if the client listens and too much
    /// does not wait already.
    pub(crate) fn tell(&mut self, line: &Line) {
        if self.listens && self.output.len() <= MOST_OUTPUT_UNASKED {
            self.send(&match line {
                Line::Unsolicited(text) => Message::Unsolicited(text.clone()),
                Line::Nmea(text) => Message::Nmea(text.clone()),
            });
        }
    }

    /// Sends the client a failure; nothing more is taken from it.
    pub(crate) fn refuse(&mut self, failure: Failure) {
        self.send(&Message::Error(failure));
        self.done = true;
    }

    /// Returns whether nothing more is taken from the client.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Returns whether the client has sent a request.
    pub(crate) fn has_asked(&self) -> bool {
        self.has_asked
    }

    /// Returns bytes for the client, as many as one write takes at best.
    pub(crate) fn output(&self) -> &[u8] {
        self.output.first()
    }

    /// Removes `count` bytes, which have been written, from the output.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.output.wrote(count);
    }

    fn send(&mut self, message: &Message) {
        if self.done {
            return;
        }
        if self.output.len() > MOST_OUTPUT {
            self.done = true;
            self.output.clear();
            return;
        }
        if let Ok(mut line) = serde_json::to_vec(message) {
            line.push(b'\n');
            self.output.add(&line);
        }
    }
}

struct Client {
    caller: Caller,
    dialect: Dialect,
    /// Handle on the client's command under way.
    ticket: Option<Ticket>,
    /// Last answer that was written to a terminal.
    last: Option<Answer>,
    /// Whether nothing more will come from the client.
    input_ended: bool,
}

struct At {
    port: AtPort,
    /// The users who may send commands that others may not, in words.
    owners: String,
    guard: bool,
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
            owners: String::new(),
            guard: true,
            sender,
            news,
            waker,
            clients: BTreeMap::new(),
            next: 0,
        }
    }

    /// Submits the next command that the client may send, unless one is under way.
    fn advance(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        // A loop is used instead of recursion, because many refused commands may come at once.
        while client.ticket.is_none() {
            let next = match &mut client.dialect {
                Dialect::Terminal(discipline) => discipline.next().map(|command| (command, false)),
                Dialect::Json(lines) => {
                    lines.next(|| self.port.port().map(|port| port.to_string()))
                }
            };
            let Some((command, force)) = next else {
                return;
            };
            let standing = CallerState {
                caller: client.caller,
                forced: force || !self.guard,
                held: HELD,
            };
            let decision = match permissions::spoils(&command) {
                // The port itself refuses the command, whoever sends it.
                Some(_) => Decision::Allow,
                None => permissions::judge_at(&standing, &command),
            };
            match decision {
                Decision::Allow => {
                    let ticket = submit(&self.port, command, &self.sender, &self.waker, id);
                    client.ticket = Some(ticket);
                }
                Decision::Refuse(effect) | Decision::UnlessLastAttempt(effect) => {
                    tracing::info!("a client's AT command is refused: {effect}");
                    client.refuse(&command, effect, &self.owners);
                }
            }
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
    /// Answers a command that the client may not send.
    fn refuse(&mut self, command: &Command, effect: &str, owners: &str) {
        match &mut self.dialect {
            // A terminal knows no other refusal.
            Dialect::Terminal(discipline) => discipline.answered(&Ok(Answer {
                command: command.line().to_owned(),
                lines: Vec::new(),
                truncated: false,
                result: Err(Refusal::Cme(Cme(Code::Number(cme::OPERATION_NOT_ALLOWED)))),
            })),
            Dialect::Json(lines) => {
                let failure = Failure::new(FailureKind::Permission, "the command was not sent")
                    .because(effect);
                lines.answered(&Err(match self.caller {
                    Caller::Owner => failure.next("the same with --force; or uwwan down first"),
                    _ => failure.next(format!("those who may send it are {owners}")),
                }));
            }
        }
    }

    /// Returns whether the server is done with the client.
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
    fn connect(&mut self, now: Instant, entrance: Entrance, caller: Caller) -> Option<ClientId> {
        if !self.has_room() && !self.make_room(now, &|_| true) {
            return None;
        }
        self.next += 1;
        let id = ClientId(self.next);
        let dialect = match entrance {
            Entrance::Terminal => Dialect::Terminal(Box::default()),
            _ => Dialect::Json(JsonLines::default()),
        };
        let client = Client {
            caller,
            dialect,
            ticket: None,
            last: None,
            input_ended: false,
        };
        self.clients.insert(id, client);
        Some(id)
    }

    fn make_room(&mut self, _: Instant, may_go: &dyn Fn(ClientId) -> bool) -> bool {
        let mut clients = self.clients.iter_mut();
        let idle = clients.find(|(id, client)| client.is_idle() && may_go(**id));
        let Some((_, idle)) = idle else {
            return false;
        };
        if let Dialect::Json(lines) = &mut idle.dialect {
            lines.refuse(too_many());
        }
        true
    }

    fn has_room(&self) -> bool {
        self.clients.len() < MOST_CLIENTS
    }

    fn turned_away(&self, failure: Failure) -> Vec<u8> {
        let mut lines = JsonLines::default();
        lines.refuse(failure);
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
