//! The lists of indications that clients want, of which the modem gets the union.

use std::time::Instant;

use uwwan_mbim::services::basic_connect::DEVICE_SERVICE_SUBSCRIBE_LIST;
use uwwan_mbim::session::{CommandError, Response};
use uwwan_mbim::status::Status;

use super::{Multiplexer, Owner};
use crate::askers::{Request, Ticket};
use crate::permissions;
use crate::proxy::peer::{Peer, answer};
use crate::proxy::subscriptions::List;
use crate::share::service::ClientId;

impl Multiplexer {
    /// Sends the modem the union of all lists if it differs from what the modem knows, one command
    /// at a time. Returns `true` when clients were answered without a command, so that another call
    /// may find more to do.
    pub(super) fn tell(&mut self, now: Instant) -> bool {
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
        self.asker.request(Request::Send {
            ticket,
            timeout: permissions::patience(command.id),
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
