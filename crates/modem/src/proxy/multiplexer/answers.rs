//! Delivery of the modem's answers and indications to the clients.

use std::time::{Duration, Instant};

use uwwan_mbim::CommandKind;
use uwwan_mbim::message::Body;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::PIN;
use uwwan_mbim::session::{Command, CommandError, Response};
use uwwan_mbim::status::{ProtocolError, Status};

use super::{Multiplexer, Owner};
use crate::askers::{AskerEvent, Ticket};
use crate::permissions::{self, Decision};
use crate::proxy::peer::Queued;

/// Number of events of the control thread taken in one round.
const MOST_NEWS: usize = 1024;
/// Time within which clients have to disconnect after the loss of the modem.
const LEAVE: Duration = Duration::from_secs(2);

impl Multiplexer {
    /// Takes events of the control thread. Returns `true` when there may be more.
    pub(super) fn news(&mut self, now: Instant) -> bool {
        for _ in 0..MOST_NEWS {
            match self.asker.next() {
                Ok(Some(AskerEvent::Opened { outstanding })) => self.modem_opened(now, outstanding),
                Ok(Some(AskerEvent::Down { why })) => self.modem_down(now, &why),
                Ok(Some(AskerEvent::Subscribed)) => self.modem_subscribed(now),
                Ok(Some(AskerEvent::Answer { ticket, result })) => self.answer(now, ticket, result),
                Ok(Some(AskerEvent::Overtaken { ticket, command })) => {
                    self.overtaken(now, ticket, command);
                }
                Ok(Some(AskerEvent::Indication { id, info })) => self.indication(now, id, &info),
                Ok(None) => return false,
                Err(_) => {
                    self.gone = true;
                    self.modem_down(now, "the driver has ended");
                    return false;
                }
            }
        }
        true
    }

    /// Records that the control session is open and takes `outstanding` commands at a time.
    pub(in crate::proxy) fn modem_opened(&mut self, now: Instant, outstanding: usize) {
        self.modem = Some(outstanding.max(1));
        self.known = None;
        self.refused.clear();
        for peer in self.clients.values_mut() {
            if let Some((transaction, _)) = peer.opening.take() {
                peer.open = true;
                peer.send(now, transaction, Body::OpenDone(Status::NONE));
            }
        }
        self.schedule(now);
    }

    /// Records that the control session is no longer open, for the reason `why`.
    pub(in crate::proxy) fn modem_down(&mut self, now: Instant, why: &str) {
        self.modem = None;
        self.known = None;
        self.owners.clear();
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

    /// Records that the driver has sent the modem its own list, which replaced the one before.
    pub(in crate::proxy) fn modem_subscribed(&mut self, now: Instant) {
        self.known = Some(self.driver_list.clone());
        self.refused.clear();
        self.schedule(now);
    }

    /// Takes the answer to a command and sends it to the client.
    pub(in crate::proxy) fn answer(
        &mut self,
        now: Instant,
        ticket: Ticket,
        result: Result<Response, CommandError>,
    ) {
        match self.owners.remove(&ticket) {
            None => return,
            Some(Owner::Nobody) => {}
            Some(Owner::List(list, waiting)) => self.list_answered(now, list, waiting, result),
            Some(Owner::Client {
                client,
                transaction,
                id,
                kind,
                then,
                judged,
            }) => {
                if id == PIN && kind != CommandKind::QUERY {
                    let succeeded = result
                        .as_ref()
                        .is_ok_and(|answer| answer.status.is_success());
                    self.pin_refused = !succeeded;
                }
                if let Some(peer) = self.clients.get_mut(&client)
                    && let Some(place) = peer.under_way.iter().position(|(of, _)| *of == ticket)
                {
                    peer.under_way.swap_remove(place);
                    match then {
                        Some(command) => {
                            let refused = self.pin_refused;
                            peer.pin_asked(now, transaction, command, result, refused, judged);
                        }
                        None => peer.answer(now, transaction, id, result),
                    }
                    self.advance(now, client);
                }
            }
        }
        self.schedule(now);
    }

    /// Takes back a command whose basis has changed since it was judged. It is the client's next one, so
    /// that it is judged once more. A PIN set is preceded by another query of the PIN.
    pub(in crate::proxy) fn overtaken(
        &mut self,
        now: Instant,
        ticket: Ticket,
        mut command: Command,
    ) {
        if let Some(Owner::Client {
            client,
            transaction,
            then,
            ..
        }) = self.owners.remove(&ticket)
            && let Some(peer) = self.clients.get_mut(&client)
            && let Some(place) = peer.under_way.iter().position(|(of, _)| *of == ticket)
        {
            peer.under_way.swap_remove(place);
            let basis = (self.basis)();
            let standing = peer.standing(self.config.guard, &basis.held);
            let (command, then) = match permissions::judge_mbim(&standing, &mut command) {
                Decision::UnlessLastAttempt(_) => (Command::query(command.id), Some(command)),
                // It is refused, if so, when it is its turn.
                _ => (command, then),
            };
            peer.queue.push_front(Queued {
                transaction,
                command,
                then,
                judged: None,
            });
        }
        self.schedule(now);
    }

    /// Takes an indication of the modem and sends it to the clients that want it.
    pub(in crate::proxy) fn indication(&mut self, now: Instant, id: CidId, info: &[u8]) {
        for peer in self.clients.values_mut() {
            if peer.listens()
                && peer.list.wants(id)
                && let Some(info) = permissions::told(peer.caller, id, info)
            {
                let body = Body::Indication {
                    service: id.service,
                    cid: id.cid,
                    info,
                };
                peer.indicate(now, body);
            }
        }
    }
}
