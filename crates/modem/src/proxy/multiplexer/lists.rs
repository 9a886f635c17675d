//! The lists of indications that clients want, of which the modem gets the union.

use std::time::Instant;

use uwwan_mbim::services::basic_connect::DEVICE_SERVICE_SUBSCRIBE_LIST;
use uwwan_mbim::session::{CommandError, Response};
use uwwan_mbim::status::Status;

use super::{Multiplexer, Owner, Subscription};
use crate::askers::{Request, Ticket};
use crate::permissions;
use crate::proxy::peer::{Peer, answer};
use crate::proxy::subscriptions::List;

/// Number of refused lists that are kept: those that may be sent without a client that asks.
const MOST_REFUSED: usize = 2;

impl Multiplexer {
    /// Sends the modem the union of all lists if it differs from the one that the modem has, one
    /// command at a time. Where the modem has refused that, the list is the driver's own, so that at
    /// least the driver gets its indications; where it has refused this too, nothing is sent until a
    /// client asks. Returns `true` when clients were answered without a command, so that another call
    /// may find more to do.
    pub(super) fn tell(&mut self, now: Instant) -> bool {
        let telling = |owner: &Owner| matches!(owner, Owner::List(..));
        if self.owners.values().any(telling) || !self.clients.values().any(Peer::listens) {
            return false;
        }
        let mut union = List::standard();
        union.merge(&self.driver_list);
        for peer in self.clients.values().filter(|peer| peer.listens()) {
            union.merge(&peer.list);
        }
        let waiting = std::mem::take(&mut self.subscribing);
        let mut lists = [union, self.driver_list.clone()].into_iter();
        let list = lists.find(|list| !waiting.is_empty() || !self.refused.contains(list));
        let Some(list) = list else {
            return false;
        };
        if self.known.as_ref() == Some(&list) {
            let answered = !waiting.is_empty();
            let info = Vec::new();
            let id = DEVICE_SERVICE_SUBSCRIBE_LIST;
            let status = Status::NONE;
            self.told(now, waiting, Ok(Response { id, status, info }));
            return answered;
        }
        let ticket = Ticket(self.name());
        let command = list.command();
        self.known = Some(list.clone());
        self.owners.insert(ticket, Owner::List(list, waiting));
        self.asker.request(Request::Send {
            ticket,
            timeout: permissions::patience(command.id),
            command,
            judged: None,
        });
        false
    }

    /// Handles the answer to a list and answers the clients that wait for it. A refused list is not
    /// in force: each of these clients keeps its list of before.
    pub(super) fn list_answered(
        &mut self,
        now: Instant,
        list: List,
        waiting: Vec<Subscription>,
        result: Result<Response, CommandError>,
    ) {
        let taken = result.as_ref().is_ok_and(|done| done.status.is_success());
        if !taken {
            tracing::debug!("the modem did not take a list of indications: {result:?}");
            self.known = None;
            // With waiting clients the list may change; without any, the same list would be sent
            // again at once.
            if waiting.is_empty() {
                self.refused.truncate(MOST_REFUSED - 1);
                self.refused.push_front(list);
            }
            for refused in waiting.iter().rev() {
                let client = refused.client;
                let mut later = self.subscribing.iter_mut();
                if let Some(later) = later.find(|later| later.client == client) {
                    later.before.clone_from(&refused.before);
                } else if let Some(peer) = self.clients.get_mut(&client)
                    && peer.subscribing.contains(&refused.transaction)
                {
                    peer.list.clone_from(&refused.before);
                }
            }
        }
        self.told(now, waiting, result);
    }

    /// Answers the clients whose subscriptions the modem knows; each gets its own list back.
    pub(super) fn told(
        &mut self,
        now: Instant,
        waiting: Vec<Subscription>,
        result: Result<Response, CommandError>,
    ) {
        for subscription in waiting {
            let Subscription {
                client,
                transaction,
                info,
                ..
            } = subscription;
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
}
