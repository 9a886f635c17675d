//! Service that gives `uwwan status` and `uwwan down` the status of a running `uwwan up` and takes
//! their orders.
//!
//! Each line is one JSON object, in both directions. A request is `{"command":"status"}`,
//! `{"command":"watch"}` or `{"command":"stop"}`; the reply is `{"ok":true,…}` or
//! `{"ok":false,"error":"…"}`. `watch` is answered with one status after another until either side
//! closes: at each change, ten times a second at most and once a second at least. `stop` is
//! answered with one line at once and a second one when everything is down.
//!
//! `{"command":"capture","snap":128}` (fields of [`capture::Options`](crate::capture::Options)) is answered
//! with one line, after which the connection carries the bytes of a pcapng file. It ends when the client
//! closes its sending half, and with `{"command":"end_captures"}` of another client.
//!
//! `{"command":"emulate","set":["signal=9"]}` turns knobs of an emulated modem, and is answered
//! with the turned knobs and the values of all.
//!
//! `{"command":"send","to":"control","lengths":[16,20],"wait_ms":2000}` (fields of
//! [`Sending`](super::sending::Sending)) is followed by as many bytes as the lengths add up to. It
//! is answered with one line, and then with one for each [`RawEvent`](crate::raw::RawEvent), until the
//! time to wait is over, or the client has closed its sending half.
//!
//! `{"command":"ask","session":0,"wait_ms":5000,"what":{"addresses":{"name":"example.com"}}}` (fields of
//! [`Question`](crate::asking::Question)) is answered with one line when the network has answered.
//!
//! `{"command":"join","carries":"packet"}` (fields of [`JoinOptions`](crate::join::JoinOptions))
//! comes with the descriptors of a TUN interface (`SCM_RIGHTS`). It is answered with one line, and
//! then with one for each [`JoinNews`](crate::join::JoinNews), until the client closes its sending
//! half, which ends the data session.
//!
//! A request has to come within [`client::REQUEST_TIME`], and a reply has to be read within
//! [`client::REPLY_TIME`]. At most [`MOST_WATCHERS`] clients may watch or wait for the end, so that
//! some places are left for clients that ask once. A client that has sent no request makes room for
//! another.

mod client;
mod messages;
mod orders;
mod responder;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use client::{Client, Phase};
pub use messages::{Reply, Request};
pub use responder::Responder;

use super::listener::Listener;
use super::server::{Builder, too_many};
use super::service::{ClientId, Entrance, Service};
use crate::failure::Failure;
use crate::permissions::{self, Caller, Order};
use crate::poll::Waker;

/// Length of the longest request line in bytes, its line end included.
const LONGEST_REQUEST: usize = 4096;
/// Largest number of clients at a time.
const MOST_CLIENTS: usize = 16;
/// Largest number of clients among them that watch or wait for the end.
const MOST_WATCHERS: usize = 12;

/// Handle by which the program tells the watchers that the status has changed.
#[derive(Debug, Clone)]
pub struct Changes {
    count: Arc<AtomicU64>,
    waker: Waker,
}

impl Changes {
    /// Tells the watchers that the status has changed.
    pub fn announce(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.waker.wake();
    }
}

impl Builder {
    /// Offers status and orders at a socket. Every user may ask for the status if the policy
    /// permits it, and the owner alone may stop the modem. `device` is the name of the device in
    /// each reply.
    ///
    /// # Errors
    /// The system's error, when the socket cannot be made.
    pub fn status(
        &mut self,
        socket: &Path,
        device: &str,
        responder: Box<dyn Responder>,
    ) -> io::Result<Changes> {
        let listener = Listener::at(socket, self.mode(Caller::Everyone))?;
        let changes = Changes {
            count: Arc::default(),
            waker: self.waker(),
        };
        let service = self.service(Box::new(StatusService {
            device: device.to_owned(),
            owners: self.policy().who(Caller::Owner),
            operators: self.policy().who(Caller::Operator),
            responder,
            changes: Arc::clone(&changes.count),
            waker: self.waker(),
            clients: BTreeMap::new(),
            next: 0,
        }));
        self.socket(service, listener, Entrance::Private, Caller::Everyone);
        Ok(changes)
    }
}

struct StatusService {
    device: String,
    /// The users who may stop the modem, in words.
    owners: String,
    operators: String,
    responder: Box<dyn Responder>,
    changes: Arc<AtomicU64>,
    waker: Waker,
    clients: BTreeMap<ClientId, Client>,
    next: u64,
}

/// Returns the service of the control socket, without a server.
#[cfg(fuzzing)]
pub(crate) fn control_service(responder: Box<dyn Responder>) -> Box<dyn Service> {
    Box::new(StatusService {
        device: "1-4".to_owned(),
        owners: String::new(),
        operators: String::new(),
        responder,
        changes: Arc::default(),
        waker: Waker::new().expect("an eventfd"),
        clients: BTreeMap::new(),
        next: 0,
    })
}

impl StatusService {
    fn reply(&self) -> Reply {
        Reply {
            ok: true,
            pid: std::process::id(),
            device: self.device.clone(),
            ..Reply::default()
        }
    }

    fn refusal(&self, failure: Failure) -> Reply {
        Reply {
            ok: false,
            error: Some(failure.why.join("; ")),
            failure: Some(failure),
            ..self.reply()
        }
    }

    fn state(&self) -> Reply {
        Reply {
            status: Some(self.responder.status()),
            ..self.reply()
        }
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Passes the bytes of captures on to clients that have read their earlier output.
    fn pass_on(&mut self, now: Instant) {
        let reply = self.reply();
        for client in self.clients.values_mut() {
            client.pass_on_heard(now, &reply);
            client.pass_on_joined(now, &reply);
            client.pass_on_answer(now, &reply);
            let Some(running) = &client.capture else {
                continue;
            };
            if !client.output().is_empty() {
                continue;
            }
            client.output.clear();
            client.written = 0;
            client.since = now;
            if !running.bytes.take(&mut client.output) {
                client.capture = None;
                client.phase = Phase::Done;
            }
        }
    }
}

impl Service for StatusService {
    fn connect(&mut self, now: Instant, _: Entrance, caller: Caller) -> Option<ClientId> {
        let served = |client: &Client| client.phase != Phase::Done;
        if self
            .clients
            .values()
            .filter(|client| served(client))
            .count()
            >= MOST_CLIENTS
            && !self.make_room(now, &|_| true)
        {
            return None;
        }
        self.next += 1;
        let id = ClientId(self.next);
        let client = Client {
            caller,
            phase: Phase::Asking,
            input: Vec::new(),
            input_ended: false,
            output: Vec::new(),
            written: 0,
            since: now,
            capture: None,
            sending: None,
            listener: None,
            answer: None,
            descriptors: Vec::new(),
            joined: None,
        };
        self.clients.insert(id, client);
        Some(id)
    }

    fn make_room(&mut self, now: Instant, may_go: &dyn Fn(ClientId) -> bool) -> bool {
        let idle = |client: &Client| client.phase == Phase::Asking && client.output().is_empty();
        let mut clients = self.clients.iter();
        let found = clients.find(|(id, client)| idle(client) && may_go(**id));
        let Some((id, _)) = found else {
            return false;
        };
        self.refuse(now, *id, too_many());
        true
    }

    fn turned_away(&self, failure: Failure) -> Vec<u8> {
        let mut line = serde_json::to_vec(&self.refusal(failure)).unwrap_or_default();
        line.push(b'\n');
        line
    }

    fn room(&self, client: ClientId) -> usize {
        match self.clients.get(&client) {
            Some(client) if client.phase == Phase::Asking => {
                LONGEST_REQUEST.saturating_sub(client.input.len())
            }
            Some(Client {
                sending: Some(sending),
                input,
                ..
            }) => sending.total().saturating_sub(input.len()),
            // Further input is discarded; it is read so that its end is noticed.
            Some(client)
                if matches!(
                    client.phase,
                    Phase::Capturing | Phase::Hearing | Phase::Joined | Phase::Stopping
                ) =>
            {
                LONGEST_REQUEST
            }
            _ => 0,
        }
    }

    fn receive(&mut self, now: Instant, client: ClientId, bytes: &[u8]) {
        if let Some(sender) = self.clients.get_mut(&client)
            && matches!(sender.phase, Phase::Asking | Phase::Sending)
        {
            sender.input.extend_from_slice(bytes);
            self.advance(now, client);
        }
    }

    fn takes_descriptors(&self, client: ClientId) -> bool {
        let client = self.clients.get(&client);
        client.is_some_and(|client| {
            client.phase == Phase::Asking
                && client.descriptors.is_empty()
                && permissions::may_order(client.caller, Order::Join)
        })
    }

    fn receive_descriptors(&mut self, client: ClientId, descriptors: Vec<OwnedFd>) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.descriptors = descriptors;
        }
    }

    fn input_ended(&mut self, now: Instant, client: ClientId, _: u64) {
        if let Some(ended) = self.clients.get_mut(&client) {
            ended.input_ended = true;
            if let Some(running) = &ended.capture {
                running.capture.end();
            }
            if ended.phase == Phase::Joined {
                ended.joined = None;
                ended.phase = Phase::Done;
            }
            if ended.phase == Phase::Hearing {
                // The client wants no more events, and another program may have bytes sent.
                ended.listener = None;
                ended.phase = Phase::Done;
            }
            self.advance(now, client);
        }
    }

    fn output(&self, client: ClientId) -> &[u8] {
        self.clients.get(&client).map_or(&[], Client::output)
    }

    fn wrote(&mut self, now: Instant, client: ClientId, count: usize) {
        if let Some(reader) = self.clients.get_mut(&client) {
            reader.written = (reader.written + count).min(reader.output.len());
            reader.since = now;
            self.advance(now, client);
        }
        self.pass_on(now);
    }

    fn disconnect(&mut self, _: Instant, client: ClientId) {
        self.clients.remove(&client);
    }

    fn take_finished(&mut self, _: Instant) -> Option<ClientId> {
        let done = |client: &Client| client.phase == Phase::Done && client.output().is_empty();
        let id = *self.clients.iter().find(|(_, client)| done(client))?.0;
        self.clients.remove(&id);
        Some(id)
    }

    fn work(&mut self, now: Instant) -> bool {
        self.pass_on(now);
        let changes = self.changes();
        let is_due = |client: &Client| client.due(changes).is_some_and(|due| due <= now);
        if !self.clients.values().any(is_due) {
            return false;
        }
        let watched = |client: &Client| matches!(client.phase, Phase::Watching { .. });
        let told = self
            .clients
            .values()
            .any(|client| is_due(client) && watched(client));
        let state = told.then(|| self.state());
        for client in self.clients.values_mut().filter(|client| is_due(client)) {
            match &state {
                Some(state) if watched(client) && client.output().is_empty() => {
                    client.send(now, state);
                    client.phase = Phase::Watching {
                        sent: now,
                        seen: changes,
                    };
                }
                // The client sends no request or does not read its reply.
                _ => {
                    client.phase = Phase::Done;
                    client.written = client.output.len();
                }
            }
        }
        false
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let changes = self.changes();
        let clients = self.clients.values();
        clients.filter_map(|client| client.due(changes)).min()
    }

    fn stop(&mut self, now: Instant) {
        let stopped = Reply {
            stopped: Some(true),
            ..self.reply()
        };
        for client in self.clients.values_mut() {
            if client.phase == Phase::Stopping {
                client.send(now, &stopped);
            }
            match &client.capture {
                // The modem is down: the transfers captured last are the rest of the file. They are
                // passed on as they come.
                Some(running) => running.capture.end(),
                None => client.phase = Phase::Done,
            }
        }
    }
}

#[cfg(test)]
mod tests;
