//! The multiplexer: many clients on one control session. No I/O: bytes and time in, bytes and
//! orders out.
//!
//! Every client believes it has a modem of its own. What makes that true:
//! - **Transactions.** Clients count theirs from 1, all of them. A command gets a [`Ticket`]; the
//!   session gives it a transaction id of the modem's; the answer finds its way back by the ticket
//!   and carries the id the client chose. Nobody else ever sees it.
//! - **Turns.** The modem takes so many commands at a time. Clients with commands take turns, one
//!   command each, and one place is left for the driver where there are several.
//! - **OPEN and CLOSE** are answered here and never reach the modem. An OPEN waits for a modem that
//!   is just starting.
//! - **Indications** go to the clients whose list has them. The modem is told the union of all
//!   lists, whenever it changes; a client's own list comes back to it as it sent it.
//! - **The driver's session** is not for clients to end: see [`guard`].
//! - **Loss.** Whoever waits for an answer gets one at once: FUNCTION_ERROR "not opened". libmbim
//!   would wait for its timeout if the socket were just closed; it is closed a little later.
//! - **Bounds.** Commands, fragments, bytes each way and clients are bounded; a client that sends
//!   faster than it is answered is read no further, one that does not read loses its indications
//!   and, after a minute, its place.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use uwwan_mbim::CommandKind;
use uwwan_mbim::fragment::FragmentError;
use uwwan_mbim::message::{Body, HEADER, Message, MessageError};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::DEVICE_SERVICE_SUBSCRIBE_LIST;
use uwwan_mbim::services::proxy_control::{self, ConfigurationSet};
use uwwan_mbim::session::{Command, CommandError, Response};
use uwwan_mbim::status::{ProtocolError, Status};

use super::INSIST;
use super::guard::{self, Verdict};
use super::peer::{Peer, Queued};
use super::subscriptions::List;

/// Names a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u64);

/// Names a command on its way to the modem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Where a client came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// The abstract socket of mbim-proxy: the client says first which modem it means.
    Public,
    /// The socket in the runtime directory.
    Private,
    /// A terminal: whoever types into it by mistake is borne with.
    Terminal,
}

/// How the multiplexer behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Data sessions of the driver.
    pub held: Vec<u32>,
    /// Refuse what would end the driver's session.
    pub guard: bool,
    /// The indications the driver itself needs, as the set it sends to the modem.
    pub driver_list: Vec<u8>,
    /// How long an OPEN waits for a modem that is not reachable, at most.
    pub open_patience: Duration,
    /// Clients at once.
    pub most_clients: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            held: vec![0],
            guard: true,
            driver_list: crate::ladder::subscription(),
            open_patience: Duration::from_secs(25),
            most_clients: 32,
        }
    }
}

/// What the multiplexer wants of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Send this command; [`Multiplexer::answer`] brings what came of it.
    Send {
        /// The name for it.
        ticket: Ticket,
        /// The command.
        command: Command,
        /// How long the modem may take.
        timeout: Duration,
    },
    /// Nobody waits for this one any more: cancel it.
    Withdraw(Ticket),
}

/// Whose command is under way.
#[derive(Debug)]
enum Owner {
    Client {
        client: ClientId,
        transaction: u32,
        id: CidId,
        kind: CommandKind,
        version: bool,
    },
    /// The one who asked has gone.
    Nobody,
    /// The union of all lists, and who waits for it to be known: client, transaction id, and the
    /// set it sent.
    Lists(Vec<(ClientId, u32, Vec<u8>)>),
}

/// After the modem was lost: time for clients to take leave.
const LEAVE: Duration = Duration::from_secs(2);

/// See the [module](self).
pub struct Multiplexer {
    config: Config,
    /// Whether a path that a client names means this modem.
    ours: Box<dyn Fn(&str) -> bool + Send>,
    clients: BTreeMap<ClientId, Peer>,
    owners: BTreeMap<Ticket, Owner>,
    /// Commands the modem takes at a time, while the session is open.
    modem: Option<usize>,
    driver_list: List,
    /// What the modem has been told.
    known: Option<List>,
    /// Clients whose subscription waits for the modem to be told.
    subscribing: Vec<(ClientId, u32, Vec<u8>)>,
    requests: VecDeque<Request>,
    next: u64,
    /// The client that had the last turn.
    turn: ClientId,
}

impl Multiplexer {
    /// A multiplexer without clients, for a session that is not open. `ours` tells whether a path
    /// that a client names means this modem.
    pub fn new(config: Config, ours: Box<dyn Fn(&str) -> bool + Send>) -> Self {
        let driver_list = List::parse(&config.driver_list).unwrap_or_default();
        Self {
            config,
            ours,
            clients: BTreeMap::new(),
            owners: BTreeMap::new(),
            modem: None,
            driver_list,
            known: None,
            subscribing: Vec::new(),
            requests: VecDeque::new(),
            next: 1,
            turn: ClientId(0),
        }
    }

    fn name(&mut self) -> u64 {
        let name = self.next;
        self.next += 1;
        name
    }

    // --- clients ---

    /// A client came in. `None` when the house is full.
    pub fn connect(&mut self, now: Instant, entrance: Entrance) -> Option<ClientId> {
        if self.clients.len() >= self.config.most_clients {
            // Whoever has not begun makes room.
            let mut peers = self.clients.values_mut();
            let idle = peers.find(|peer| peer.end.is_none() && peer.is_idle());
            idle?.end = Some(now);
        }
        let id = ClientId(self.name());
        let patience = self.config.open_patience;
        self.clients.insert(id, Peer::new(now, entrance, patience));
        Some(id)
    }

    /// A client went away. What it waited for is withdrawn where that leaves no doubt about the
    /// modem's state: questions are, changes run to their end.
    pub fn disconnect(&mut self, now: Instant, client: ClientId) {
        let Some(peer) = self.clients.remove(&client) else {
            return;
        };
        for (ticket, _) in peer.under_way {
            self.abandon(ticket, false);
        }
        self.subscribing.retain(|(of, _, _)| *of != client);
        self.schedule(now);
    }

    /// Nobody waits for this one any more.
    fn abandon(&mut self, ticket: Ticket, changes_too: bool) {
        let Some(owner) = self.owners.get_mut(&ticket) else {
            return;
        };
        if let Owner::Client { kind, .. } = owner {
            if changes_too || *kind == CommandKind::QUERY {
                self.requests.push_back(Request::Withdraw(ticket));
            }
            *owner = Owner::Nobody;
        }
    }

    /// How many bytes of a client are wanted.
    pub fn room(&self, client: ClientId) -> usize {
        match self.clients.get(&client) {
            Some(peer) if peer.keeps_up() => peer.stream.room(),
            _ => 0,
        }
    }

    /// Bytes from a client, at most [`Multiplexer::room`].
    pub fn receive(&mut self, now: Instant, client: ClientId, bytes: &[u8]) {
        if let Some(peer) = self.clients.get_mut(&client) {
            peer.stream.push(bytes);
            self.advance(now, client);
            self.schedule(now);
        }
    }

    /// Bytes for a client, as many as one write takes at best; empty when there are none.
    pub fn output(&self, client: ClientId) -> &[u8] {
        self.clients.get(&client).map_or(&[], Peer::output)
    }

    /// So many of them are written.
    pub fn wrote(&mut self, now: Instant, client: ClientId, count: usize) {
        if let Some(peer) = self.clients.get_mut(&client) {
            peer.wrote(now, count);
            self.advance(now, client);
            self.schedule(now);
        }
    }

    /// A client to hang up on, which is forgotten thereby.
    pub fn take_finished(&mut self, now: Instant) -> Option<ClientId> {
        let done = |peer: &Peer| peer.end.is_some_and(|end| end <= now);
        let client = *self.clients.iter().find(|(_, peer)| done(peer))?.0;
        self.disconnect(now, client);
        Some(client)
    }

    /// Clients at present.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    // --- the session ---

    /// What the session is to do next.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// The session is open and takes so many commands at a time.
    pub fn modem_opened(&mut self, now: Instant, outstanding: usize) {
        self.modem = Some(outstanding.max(1));
        self.known = None;
        for peer in self.clients.values_mut() {
            if let Some((transaction, _)) = peer.opening.take() {
                peer.open = true;
                peer.send(now, transaction, Body::OpenDone(Status::NONE));
            }
        }
        self.schedule(now);
    }

    /// The session is open no more.
    pub fn modem_down(&mut self, now: Instant, why: &str) {
        self.modem = None;
        self.known = None;
        self.owners.clear();
        self.requests.clear();
        self.subscribing.clear();
        for peer in self.clients.values_mut() {
            let waiting: Vec<u32> = std::mem::take(&mut peer.queue)
                .into_iter()
                .map(|queued| queued.transaction)
                .chain(peer.under_way.drain(..).map(|(_, id)| id))
                .chain(peer.subscribing.drain(..))
                .collect();
            if !waiting.is_empty() {
                tracing::debug!("{} commands of a client end: {why}", waiting.len());
            }
            for transaction in waiting {
                peer.refuse(now, transaction, ProtocolError::NOT_OPENED);
            }
            if peer.is_engaged() {
                peer.end.get_or_insert(now + LEAVE);
            }
            peer.open = false;
            peer.used = false;
            peer.since = now;
        }
    }

    /// The driver has told the modem its own list, which replaces what was there.
    pub fn modem_subscribed(&mut self, now: Instant) {
        self.known = Some(self.driver_list.clone());
        self.schedule(now);
    }

    /// The answer to a command.
    pub fn answer(&mut self, now: Instant, ticket: Ticket, result: Result<Response, CommandError>) {
        match self.owners.remove(&ticket) {
            None => return,
            Some(Owner::Nobody) => {}
            Some(Owner::Lists(waiting)) => self.told(now, waiting, result),
            Some(Owner::Client {
                client,
                transaction,
                id,
                version,
                ..
            }) => {
                if let Some(peer) = self.clients.get_mut(&client) {
                    peer.under_way.retain(|(of, _)| *of != ticket);
                    let result = result.map(|response| match version {
                        true => Response {
                            info: guard::version_answer(response.info),
                            ..response
                        },
                        false => response,
                    });
                    peer.send(now, transaction, answer(id, result));
                    self.advance(now, client);
                }
            }
        }
        self.schedule(now);
    }

    /// An indication of the modem.
    pub fn indication(&mut self, now: Instant, id: CidId, info: &[u8]) {
        for peer in self.clients.values_mut() {
            if peer.listens() && peer.list.wants(id) {
                let body = Body::Indication {
                    service: id.service,
                    cid: id.cid,
                    info: info.to_vec(),
                };
                peer.indicate(now, body);
            }
        }
    }

    // --- time ---

    /// When to call [`Multiplexer::timeout`], input aside.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.clients.values().filter_map(Peer::due).min()
    }

    /// Does what is due.
    pub fn timeout(&mut self, now: Instant) {
        for peer in self.clients.values_mut() {
            if let Some((transaction, until)) = peer.opening
                && until <= now
            {
                peer.opening = None;
                peer.since = now;
                peer.send(now, transaction, Body::OpenDone(Status::NOT_INITIALIZED));
            }
            if peer.due().is_some_and(|due| due <= now) {
                peer.end.get_or_insert(now);
            }
        }
    }

    // --- messages of clients ---

    /// Takes the complete messages of a client as far as it may have more under way.
    fn advance(&mut self, now: Instant, client: ClientId) {
        loop {
            let Some(peer) = self.clients.get_mut(&client) else {
                return;
            };
            if !peer.may_speak() {
                return;
            }
            let bytes = match peer.stream.next() {
                Ok(None) => return,
                Ok(Some(bytes)) => bytes,
                Err(error) => {
                    tracing::debug!("a client: {error}");
                    peer.stream.clear();
                    peer.refuse(now, 0, ProtocolError::LENGTH_MISMATCH);
                    // A terminal may just have been somebody's typing.
                    if peer.entrance != Entrance::Terminal {
                        peer.end = Some(now);
                    }
                    return;
                }
            };
            match peer.reassembler.push(now, &bytes) {
                Ok(None) => {}
                Ok(Some(message)) => self.message(now, client, message),
                Err(error) => {
                    let (transaction, code) = error.report().unwrap_or((
                        transaction_of(&bytes),
                        match error {
                            FragmentError::Message(MessageError::UnknownType(_)) => {
                                ProtocolError::UNKNOWN
                            }
                            _ => ProtocolError::LENGTH_MISMATCH,
                        },
                    ));
                    peer.refuse(now, transaction, code);
                }
            }
        }
    }

    fn message(&mut self, now: Instant, client: ClientId, message: Message) {
        let Message { transaction, body } = message;
        let Some(peer) = self.clients.get_mut(&client) else {
            return;
        };
        match body {
            Body::Open {
                max_control_transfer,
            } => {
                let modem = self.modem.is_some();
                if !peer.is_admitted() {
                    return peer.send(now, transaction, Body::OpenDone(Status::FAILURE));
                }
                self.start_over(client);
                let Some(peer) = self.clients.get_mut(&client) else {
                    return;
                };
                peer.opened(max_control_transfer);
                // Whoever begins anew need not leave.
                peer.end = None;
                if modem {
                    peer.send(now, transaction, Body::OpenDone(Status::NONE));
                } else {
                    peer.open = false;
                    // An OPEN sent again replaces the one before; its time goes on.
                    let until = peer.opening.map_or(now + peer.patience, |(_, until)| until);
                    peer.opening = Some((transaction, until));
                }
            }
            Body::Close => {
                peer.opening = None;
                peer.open = false;
                peer.send(now, transaction, Body::CloseDone(Status::NONE));
                self.start_over(client);
            }
            Body::HostError(ProtocolError::CANCEL) => {
                peer.queue
                    .retain(|queued| queued.transaction != transaction);
                let place = peer.under_way.iter().position(|(_, id)| *id == transaction);
                if let Some(place) = place {
                    let (ticket, _) = peer.under_way.swap_remove(place);
                    self.abandon(ticket, true);
                }
            }
            Body::HostError(_) => {}
            Body::Command {
                service,
                cid,
                kind,
                info,
            } => {
                let id = CidId { service, cid };
                self.command(now, client, transaction, Command { id, kind, info });
            }
            Body::OpenDone(_)
            | Body::CloseDone(_)
            | Body::CommandDone { .. }
            | Body::FunctionError(_)
            | Body::Indication { .. } => peer.refuse(now, transaction, ProtocolError::UNKNOWN),
        }
    }

    /// What a client had under way is forgotten, without an answer.
    fn start_over(&mut self, client: ClientId) {
        let Some(peer) = self.clients.get_mut(&client) else {
            return;
        };
        peer.queue.clear();
        peer.subscribing.clear();
        peer.list = List::standard();
        let tickets = std::mem::take(&mut peer.under_way);
        self.subscribing.retain(|(of, _, _)| *of != client);
        for (ticket, _) in tickets {
            self.abandon(ticket, false);
        }
    }

    fn command(&mut self, now: Instant, client: ClientId, transaction: u32, command: Command) {
        let Some(peer) = self.clients.get_mut(&client) else {
            return;
        };
        if command.id.service == proxy_control::UUID {
            let status = self.proxy_control(now, client, &command);
            let (Some(status), Some(peer)) = (status, self.clients.get_mut(&client)) else {
                return;
            };
            return peer.done(now, transaction, &command, status, Vec::new());
        }
        if command.id.service == INSIST.service {
            let status = if command.id == INSIST && peer.entrance == Entrance::Private {
                peer.insists = true;
                Status::NONE
            } else {
                Status::NO_DEVICE_SUPPORT
            };
            return peer.done(now, transaction, &command, status, Vec::new());
        }
        if !peer.is_admitted() || self.modem.is_none() {
            return peer.refuse(now, transaction, ProtocolError::NOT_OPENED);
        }
        peer.used = true;
        if peer.is_pending(transaction) {
            return peer.refuse(now, transaction, ProtocolError::DUPLICATED_TID);
        }
        if command.id == DEVICE_SERVICE_SUBSCRIBE_LIST && command.kind == CommandKind::SET {
            let Some(list) = List::parse(&command.info) else {
                let status = Status::INVALID_PARAMETERS;
                return peer.done(now, transaction, &command, status, Vec::new());
            };
            peer.list = list;
            peer.subscribing.push(transaction);
            self.subscribing.push((client, transaction, command.info));
            return;
        }
        let mut queued = Queued {
            transaction,
            command,
            version: false,
        };
        let guarded = self.config.guard && !peer.insists;
        match guard::judge(&queued.command, &self.config.held) {
            Verdict::Change(info) => {
                queued.command.info = info;
                queued.version = true;
            }
            Verdict::Refuse(why) if guarded => {
                let command = &queued.command;
                tracing::info!("a client's {} is refused: {why}", command.id);
                let status = Status::OPERATION_NOT_ALLOWED;
                return peer.done(now, transaction, command, status, Vec::new());
            }
            Verdict::Refuse(_) | Verdict::Pass => {}
        }
        peer.queue.push_back(queued);
    }

    /// CONFIGURATION and what else a client says to the proxy itself. Without a status the client
    /// is to be hung up on, which is how an mbim-proxy refuses: libmbim does not look at the status.
    fn proxy_control(
        &mut self,
        now: Instant,
        client: ClientId,
        command: &Command,
    ) -> Option<Status> {
        let peer = self.clients.get_mut(&client)?;
        if command.id != proxy_control::CONFIGURATION {
            return Some(Status::NO_DEVICE_SUPPORT);
        }
        if command.kind != CommandKind::SET {
            return Some(Status::INVALID_PARAMETERS);
        }
        let Ok(set) = ConfigurationSet::decode(&command.info) else {
            return Some(Status::INVALID_PARAMETERS);
        };
        if let Some(path) = &peer.path {
            return Some(if *path == set.device_path {
                Status::NONE
            } else {
                Status::FAILURE
            });
        }
        if !(self.ours)(&set.device_path) {
            tracing::info!("a client asks for {:?}, another modem", set.device_path);
            peer.end = Some(now);
            return None;
        }
        // The answer should be there before the client gives up.
        let patience = Duration::from_secs(set.timeout.saturating_sub(2).into());
        peer.patience = patience.min(self.config.open_patience);
        peer.path = Some(set.device_path);
        Some(Status::NONE)
    }

    // --- the modem's turns ---

    /// Gives the modem as many commands as it takes.
    fn schedule(&mut self, now: Instant) {
        let Some(outstanding) = self.modem else {
            return;
        };
        // One place stays free for the driver if there are several.
        let places = outstanding.saturating_sub(1).max(1);
        while self.tell(now) {}
        while self.owners.len() < places {
            let ready = |(_, peer): &(&ClientId, &Peer)| !peer.queue.is_empty() && peer.keeps_up();
            let after = self
                .clients
                .range((
                    std::ops::Bound::Excluded(self.turn),
                    std::ops::Bound::Unbounded,
                ))
                .find(ready)
                .or_else(|| self.clients.range(..=self.turn).find(ready))
                .map(|(client, _)| *client);
            let Some(client) = after else {
                return;
            };
            self.turn = client;
            let ticket = Ticket(self.name());
            let Some(peer) = self.clients.get_mut(&client) else {
                return;
            };
            let Some(queued) = peer.queue.pop_front() else {
                return;
            };
            peer.under_way.push((ticket, queued.transaction));
            let owner = Owner::Client {
                client,
                transaction: queued.transaction,
                id: queued.command.id,
                kind: queued.command.kind,
                version: queued.version,
            };
            self.owners.insert(ticket, owner);
            self.requests.push_back(Request::Send {
                ticket,
                timeout: guard::patience(queued.command.id),
                command: queued.command,
            });
        }
    }

    /// Tells the modem the union of all lists if it does not know it, one at a time. `true` when
    /// answers were given without that, so that there may be more to tell.
    fn tell(&mut self, now: Instant) -> bool {
        let telling = |owner: &Owner| matches!(owner, Owner::Lists(_));
        if self.owners.values().any(telling) || !self.clients.values().any(Peer::listens) {
            return false;
        }
        let mut union = List::standard();
        union.merge(&self.driver_list);
        for peer in self.clients.values().filter(|peer| peer.listens()) {
            union.merge(&peer.list);
        }
        let waiting = std::mem::take(&mut self.subscribing);
        if self.known.as_ref() == Some(&union) {
            let answered = !waiting.is_empty();
            let info = Vec::new();
            let id = DEVICE_SERVICE_SUBSCRIBE_LIST;
            let status = Status::NONE;
            self.told(now, waiting, Ok(Response { id, status, info }));
            return answered;
        }
        let ticket = Ticket(self.name());
        let command = union.command();
        self.known = Some(union);
        self.owners.insert(ticket, Owner::Lists(waiting));
        self.requests.push_back(Request::Send {
            ticket,
            timeout: guard::patience(command.id),
            command,
        });
        false
    }

    /// The modem knows: each client gets its own list back.
    fn told(
        &mut self,
        now: Instant,
        waiting: Vec<(ClientId, u32, Vec<u8>)>,
        result: Result<Response, CommandError>,
    ) {
        for (client, transaction, info) in waiting {
            let Some(peer) = self.clients.get_mut(&client) else {
                continue;
            };
            let before = peer.subscribing.len();
            peer.subscribing.retain(|id| *id != transaction);
            if peer.subscribing.len() < before {
                let result = result.clone().map(|response| Response { info, ..response });
                let body = answer(DEVICE_SERVICE_SUBSCRIBE_LIST, result);
                peer.send(now, transaction, body);
                self.advance(now, client);
            }
        }
    }

    /// Bytes held on behalf of a client.
    #[cfg(test)]
    pub(super) fn held_bytes(&self, client: ClientId) -> usize {
        self.clients.get(&client).map_or(0, Peer::held_bytes)
    }

    /// Commands the modem has not answered.
    #[cfg(test)]
    pub(super) fn outstanding(&self) -> usize {
        self.owners.len()
    }
}

/// The answer to a command, as the modem would give it.
fn answer(id: CidId, result: Result<Response, CommandError>) -> Body {
    let CidId { service, cid } = id;
    let (status, info) = match result {
        Ok(response) => (response.status, response.info),
        Err(
            CommandError::NotOpen
            | CommandError::Closed
            | CommandError::Lost(_)
            | CommandError::Transfer(_),
        ) => {
            return Body::FunctionError(ProtocolError::NOT_OPENED);
        }
        Err(CommandError::Function(error)) => return Body::FunctionError(error),
        Err(CommandError::QueueFull(_)) => (Status::BUSY, Vec::new()),
        Err(CommandError::Timeout(_) | CommandError::Cancelled | CommandError::Fragments(_)) => {
            (Status::FAILURE, Vec::new())
        }
    };
    Body::CommandDone {
        service,
        cid,
        status,
        info,
    }
}

/// The transaction id of a message, as far as there is one.
fn transaction_of(bytes: &[u8]) -> u32 {
    bytes
        .get(8..HEADER)
        .and_then(|id| id.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}
