//! The multiplexer: many clients on one control session. No I/O: bytes and time in, bytes and
//! orders out.
//!
//! Every client believes it has a modem of its own. What makes that true:
//! - **Transactions.** Clients count theirs from 1, all of them. A command gets a `Ticket`; the
//!   session gives it a transaction id of the modem's; the answer finds its way back by the ticket
//!   and carries the id the client chose. Nobody else ever sees it.
//! - **Turns.** The modem takes so many commands at a time. Clients with commands take turns, one
//!   command each, and one place is left for the driver where there are several.
//! - **OPEN and CLOSE** are answered here and never reach the modem. An OPEN waits for a modem that
//!   is just starting.
//! - **Indications** go to the clients whose list has them. The modem is told the union of all
//!   lists, whenever it changes; a client's own list comes back to it as it sent it.
//! - **The driver's session** is not for clients to end: see `guard`.
//! - **Loss.** Whoever waits for an answer gets one at once: FUNCTION_ERROR "not opened". libmbim
//!   would wait for its timeout if the socket were just closed; it is closed a little later.
//! - **Bounds.** Commands, fragments, bytes each way and clients are bounded; a client that sends
//!   faster than it is answered is read no further, one that does not read loses its indications
//!   and, after a minute, its place.

mod messages;
mod turns;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use uwwan_mbim::CommandKind;
use uwwan_mbim::message::Body;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::session::{CommandError, Response};
use uwwan_mbim::status::{ProtocolError, Status};

use super::guard;
use super::peer::Peer;
use super::subscriptions::List;
use crate::askers::{Request, Ticket};
use crate::share::service::{ClientId, Entrance};

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
