//! The multiplexer as a service: the bytes of its clients become messages, and their commands pass
//! the permissions and go to the control thread in their turn.

use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::time::Instant;

use uwwan_mbim::CommandKind;
use uwwan_mbim::fragment::FragmentError;
use uwwan_mbim::message::{Body, HEADER, Message, MessageError};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{DEVICE_SERVICE_SUBSCRIBE_LIST, PIN};
use uwwan_mbim::services::proxy_control;
use uwwan_mbim::session::Command;
use uwwan_mbim::status::{ProtocolError, Status};

use super::{Multiplexer, Owner, Subscription};
use crate::askers::{Request, Ticket};
use crate::permissions::{self, Caller, Decision, Order};
use crate::proxy::INSIST;
use crate::proxy::peer::{Peer, Queued};
use crate::proxy::subscriptions::List;
use crate::share::service::{ClientId, Entrance, Service};

impl Service for Multiplexer {
    fn connect(&mut self, now: Instant, entrance: Entrance, caller: Caller) -> Option<ClientId> {
        if self.gone {
            return None;
        }
        if self.clients.len() >= self.config.most_clients && !self.make_room(now, &|_| true) {
            return None;
        }
        let id = ClientId(self.name());
        let patience = self.config.open_patience;
        let peer = Peer::new(now, entrance, caller, patience);
        self.clients.insert(id, peer);
        self.count.store(self.clients.len(), Ordering::Relaxed);
        Some(id)
    }

    fn make_room(&mut self, now: Instant, may_go: &dyn Fn(ClientId) -> bool) -> bool {
        let mut peers = self.clients.iter_mut();
        let idle = peers.find(|(id, peer)| peer.end.is_none() && peer.is_idle() && may_go(**id));
        idle.map(|(_, peer)| peer.end = Some(now)).is_some()
    }

    fn room(&self, client: ClientId) -> usize {
        match self.clients.get(&client) {
            Some(peer) if peer.keeps_up() => peer.stream.room(),
            _ => 0,
        }
    }

    fn receive(&mut self, now: Instant, client: ClientId, bytes: &[u8]) {
        if let Some(peer) = self.clients.get_mut(&client) {
            peer.stream.push(bytes);
            self.advance(now, client);
            self.schedule(now);
        }
    }

    fn input_ended(&mut self, now: Instant, client: ClientId, _: u64) {
        self.disconnect(now, client);
        self.left.push(client);
    }

    fn output(&self, client: ClientId) -> &[u8] {
        self.clients.get(&client).map_or(&[], Peer::output)
    }

    fn wrote(&mut self, now: Instant, client: ClientId, count: usize) {
        if let Some(peer) = self.clients.get_mut(&client) {
            peer.wrote(now, count);
            self.advance(now, client);
            self.schedule(now);
        }
    }

    /// Removes a client. Its queries are withdrawn; its set commands run to their end, so that the
    /// modem's state is not in doubt.
    fn disconnect(&mut self, now: Instant, client: ClientId) {
        let Some(peer) = self.clients.remove(&client) else {
            return;
        };
        self.count.store(self.clients.len(), Ordering::Relaxed);
        for (ticket, _) in peer.under_way {
            self.abandon(ticket, false);
        }
        self.subscribing.retain(|waiting| waiting.client != client);
        self.schedule(now);
    }

    fn take_finished(&mut self, now: Instant) -> Option<ClientId> {
        if let Some(client) = self.left.pop() {
            return Some(client);
        }
        let done = |peer: &Peer| peer.end.is_some_and(|end| end <= now);
        let client = *self.clients.iter().find(|(_, peer)| done(peer))?.0;
        self.disconnect(now, client);
        Some(client)
    }

    fn work(&mut self, now: Instant) -> bool {
        let more = !self.gone && self.news(now);
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.timeout(now);
        }
        more
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.clients.values().filter_map(Peer::due).min()
    }

    fn stop(&mut self, now: Instant) {
        self.modem_down(now, "uwwan is stopping");
    }
}

impl Multiplexer {
    /// Handles the complete messages of a client, as long as it may have more commands under way.
    pub(super) fn advance(&mut self, now: Instant, client: ClientId) {
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
                    // The bytes on a terminal may have been typed by a person.
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
                // A client that opens again need not leave.
                peer.end = None;
                if modem {
                    peer.send(now, transaction, Body::OpenDone(Status::NONE));
                } else {
                    peer.open = false;
                    // A repeated OPEN replaces the one before, and keeps its deadline.
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

    /// Drops the commands and the list of a client, without an answer.
    fn start_over(&mut self, client: ClientId) {
        let Some(peer) = self.clients.get_mut(&client) else {
            return;
        };
        peer.queue.clear();
        peer.subscribing.clear();
        peer.list = List::standard();
        let tickets = std::mem::take(&mut peer.under_way);
        self.subscribing.retain(|waiting| waiting.client != client);
        for (ticket, _) in tickets {
            self.abandon(ticket, false);
        }
    }

    /// Returns whether a PIN operation waits or has been sent to the modem.
    fn has_pin_operation(&self) -> bool {
        let is = |id: CidId, kind: CommandKind| id == PIN && kind != CommandKind::QUERY;
        let with_modem = self.owners.values().any(|owner| match owner {
            Owner::Client { id, kind, then, .. } => then.is_some() || is(*id, *kind),
            _ => false,
        });
        let mut queued = self.clients.values().flat_map(|peer| &peer.queue);
        with_modem
            || queued
                .any(|queued| queued.then.is_some() || is(queued.command.id, queued.command.kind))
    }

    fn command(&mut self, now: Instant, client: ClientId, transaction: u32, command: Command) {
        let pin_operation = command.id == PIN && self.has_pin_operation();
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
            let status = match peer.entrance {
                Entrance::Private if command.id == INSIST => {
                    peer.insists = permissions::may_order(peer.caller, Order::Force);
                    match peer.insists {
                        true => Status::NONE,
                        false => Status::OPERATION_NOT_ALLOWED,
                    }
                }
                _ => Status::NO_DEVICE_SUPPORT,
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
        let basis = (self.basis)();
        let standing = peer.standing(self.config.guard, &basis.held);
        let mut command = command;
        let then = match permissions::judge_mbim(&standing, &mut command) {
            Decision::Allow => None,
            Decision::UnlessLastAttempt(_) if pin_operation => {
                return peer.done(now, transaction, &command, Status::BUSY, Vec::new());
            }
            Decision::UnlessLastAttempt(_) => {
                let query = Command::query(command.id);
                Some(std::mem::replace(&mut command, query))
            }
            Decision::Refuse(effect) => {
                tracing::info!("a client's {} is refused: {effect}", command.id);
                let status = Status::OPERATION_NOT_ALLOWED;
                return peer.done(now, transaction, &command, status, Vec::new());
            }
        };
        // A modem may take a command type that the specification does not have for a set.
        if command.id == DEVICE_SERVICE_SUBSCRIBE_LIST && command.kind != CommandKind::QUERY {
            let Some(list) = List::parse(&command.info) else {
                let status = Status::INVALID_PARAMETERS;
                return peer.done(now, transaction, &command, status, Vec::new());
            };
            peer.subscribing.push(transaction);
            self.subscribing.push(Subscription {
                client,
                transaction,
                info: command.info,
                before: std::mem::replace(&mut peer.list, list),
            });
            return;
        }
        peer.queue.push_back(Queued {
            transaction,
            command,
            then,
            judged: None,
        });
    }

    /// Sends the modem as many commands as it takes at a time.
    pub(super) fn schedule(&mut self, now: Instant) {
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
                .range((Bound::Excluded(self.turn), Bound::Unbounded))
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
            let Some(mut queued) = peer.queue.pop_front() else {
                return;
            };
            // The session it would end may have begun while it waited.
            let basis = (self.basis)();
            let standing = peer.standing(self.config.guard, &basis.held);
            if let Decision::Refuse(effect) =
                permissions::judge_mbim(&standing, &mut queued.command)
            {
                tracing::info!("a client's {} is refused: {effect}", queued.command.id);
                let status = Status::OPERATION_NOT_ALLOWED;
                peer.done(now, queued.transaction, &queued.command, status, Vec::new());
                self.advance(now, client);
                continue;
            }
            let judged = queued.judged.unwrap_or(basis.age);
            peer.under_way.push((ticket, queued.transaction));
            let owner = Owner::Client {
                client,
                transaction: queued.transaction,
                id: queued.command.id,
                kind: queued.command.kind,
                then: queued.then,
                judged,
            };
            self.owners.insert(ticket, owner);
            self.asker.request(Request::Send {
                ticket,
                timeout: permissions::patience(queued.command.id),
                command: queued.command,
                judged: Some(judged),
            });
        }
    }
}

/// Returns the transaction id of a message (bytes 8 to 11, little-endian), or 0 for one that is too
/// short.
fn transaction_of(bytes: &[u8]) -> u32 {
    bytes
        .get(8..HEADER)
        .and_then(|id| id.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}
