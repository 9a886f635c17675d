//! Multiplexer of many clients on one control session: the service behind the MBIM entrances of
//! [`share`](crate::share). It does no I/O: bytes and times go in, bytes come out, and an `Asker`
//! takes its requests to the control thread.
//!
//! Every client sees a modem of its own:
//! - **Transactions.** All clients count their transaction ids from 1. The multiplexer gives each
//!   command a `Ticket`, and the control session gives it a transaction id of the modem's. The
//!   ticket leads the answer back to its client, where it carries the id that the client chose.
//! - **Turns.** The modem takes a limited number of commands at a time. Clients with commands take
//!   turns, one command each, and one place is left for the driver where there are several.
//! - **OPEN and CLOSE** are answered by the multiplexer and never reach the modem. An OPEN waits
//!   for a modem that is just starting.
//! - **Indications** go to the clients whose list has them. The modem is sent the union of all
//!   lists whenever it changes; each client's set is answered with the list it sent. A list that the
//!   modem refuses is taken back, and the modem gets the list that it had before or the driver's own.
//! - **Permissions.** Each command is judged by the table of `permissions`, when it comes and again
//!   when it is its turn, because sessions may have begun meanwhile. One that begins after that has
//!   the control thread give the command back, to be judged once more. A PIN operation that may not
//!   cost the last attempt waits for the answer to a query of the PIN; there is one at a time. It is
//!   asked again if the driver has sent a PIN since.
//! - **Loss of the modem.** Every unanswered command is answered at once with FUNCTION_ERROR "not
//!   opened", because libmbim would wait for its timeout if the socket were just closed. The socket
//!   is closed 2 s later.
//! - **Bounds.** Commands, fragments, bytes in each direction and clients are bounded. Nothing more
//!   is read from a client that sends faster than it is answered. A client that does not read loses
//!   its indications and, after a minute, its connection.

mod answers;
mod clients;
mod configuration;
mod lists;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use uwwan_mbim::CommandKind;
use uwwan_mbim::message::Body;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::session::Command;
use uwwan_mbim::status::Status;

use super::peer::Peer;
use super::subscriptions::List;
use crate::askers::{Asker, Request, Ticket};
use crate::permissions::Basis;
use crate::share::service::ClientId;

/// Options of the multiplexer.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether the owner's clients have to force the commands for which the table of permissions
    /// asks that.
    pub guard: bool,
    /// Indications that the driver itself needs, as the information buffer of the set command it
    /// sends to the modem (MBIM 1.0 section 10.5.30).
    pub driver_list: Vec<u8>,
    /// Longest time that an OPEN waits for a modem that is not reachable.
    pub open_patience: Duration,
    /// Largest number of clients at a time.
    pub most_clients: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            guard: true,
            driver_list: crate::ladder::subscription(),
            open_patience: Duration::from_secs(25),
            most_clients: 32,
        }
    }
}

/// The client or purpose of a command under way.
#[derive(Debug)]
enum Owner {
    Client {
        client: ClientId,
        transaction: u32,
        id: CidId,
        kind: CommandKind,
        /// PIN set that waits for the answer.
        then: Option<Command>,
        /// Age of the basis on which the command was judged.
        judged: u64,
    },
    /// No client waits for the answer, because the command has been withdrawn.
    Nobody,
    /// The command sends a list of indications, for which these clients wait.
    List(List, Vec<Subscription>),
}

/// List of a client that waits for the modem.
#[derive(Debug)]
struct Subscription {
    client: ClientId,
    transaction: u32,
    /// Information buffer that the client sent.
    info: Vec<u8>,
    /// List that was in force for the client before.
    before: List,
}

/// Multiplexer of many clients on one control session; see the [module](self).
pub struct Multiplexer {
    config: Config,
    /// Returns whether a path that a client names is this modem's.
    ours: Box<dyn Fn(&str) -> bool + Send>,
    /// Returns what judgements rest on at present.
    basis: Box<dyn Fn() -> Basis + Send>,
    clients: BTreeMap<ClientId, Peer>,
    owners: BTreeMap<Ticket, Owner>,
    /// Number of commands the modem takes at a time, while the control session is open.
    modem: Option<usize>,
    driver_list: List,
    /// Whether the modem refused the last PIN operation.
    pin_refused: bool,
    /// List that the modem has been sent. After a refusal it is not known which list the modem has.
    known: Option<List>,
    /// Lists that the modem refused last, which are sent again only for a client that asks: the union
    /// of all lists, and the driver's own list in its place.
    refused: VecDeque<List>,
    /// Subscriptions that wait for the modem.
    subscribing: Vec<Subscription>,
    asker: Asker,
    /// Whether the control thread has ended.
    gone: bool,
    /// Clients that have left, whose connections are to be closed.
    left: Vec<ClientId>,
    /// Number of clients, for the status.
    count: Arc<AtomicUsize>,
    next: u64,
    /// Client that had the last turn.
    turn: ClientId,
}

impl Multiplexer {
    /// Returns a multiplexer without clients, for a control session that is not open. `ours`
    /// returns whether a path that a client names means this modem, and `basis` what judgements rest on
    /// when it is called. The number of clients is kept in `count`.
    pub(crate) fn new(
        config: Config,
        ours: Box<dyn Fn(&str) -> bool + Send>,
        basis: Box<dyn Fn() -> Basis + Send>,
        asker: Asker,
        count: Arc<AtomicUsize>,
    ) -> Self {
        let driver_list = List::parse(&config.driver_list).unwrap_or_default();
        Self {
            config,
            ours,
            basis,
            clients: BTreeMap::new(),
            owners: BTreeMap::new(),
            modem: None,
            driver_list,
            pin_refused: false,
            known: None,
            refused: VecDeque::new(),
            subscribing: Vec::new(),
            asker,
            gone: false,
            left: Vec::new(),
            count,
            next: 1,
            turn: ClientId(0),
        }
    }

    fn name(&mut self) -> u64 {
        let name = self.next;
        self.next += 1;
        name
    }

    /// Withdraws a command that no client waits for if it is a query, or any command if
    /// `changes_too`. Other commands run to their end.
    fn abandon(&mut self, ticket: Ticket, changes_too: bool) {
        let Some(owner) = self.owners.get_mut(&ticket) else {
            return;
        };
        if let Owner::Client { kind, .. } = owner
            && (changes_too || *kind == CommandKind::QUERY)
        {
            self.asker.request(Request::Withdraw(ticket));
            *owner = Owner::Nobody;
        }
    }

    /// Answers the OPENs and disconnects the clients whose time is over.
    pub(super) fn timeout(&mut self, now: Instant) {
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

    /// Returns the number of bytes held for a client.
    #[cfg(test)]
    pub(super) fn held_bytes(&self, client: ClientId) -> usize {
        self.clients.get(&client).map_or(0, Peer::held_bytes)
    }

    /// Returns the number of commands that the modem has not answered.
    #[cfg(test)]
    pub(super) fn outstanding(&self) -> usize {
        self.owners.len()
    }
}
