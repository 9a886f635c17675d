//! Choice of the modem's next command: the union of the subscriptions first, then the clients'
//! commands in turn.

use std::ops::Bound;
use std::time::Instant;

use uwwan_mbim::services::basic_connect::DEVICE_SERVICE_SUBSCRIBE_LIST;
use uwwan_mbim::session::{CommandError, Response};
use uwwan_mbim::status::Status;

use super::{Multiplexer, Owner, answer};
use crate::askers::{Request, Ticket};
use crate::proxy::guard;
use crate::proxy::peer::Peer;
use crate::proxy::subscriptions::List;
use crate::share::service::ClientId;

impl Multiplexer {
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

    /// Sends the modem the union of all lists if it differs from what the modem knows, one command
    /// at a time. Returns `true` when clients were answered without a command, so that another call
    /// may find more to do.
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

    /// Answers the clients whose subscriptions the modem knows; each gets its own list back.
    pub(super) fn told(
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
}
