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
//! `{"command":"emulate","set":["signal=9"]}` turns knobs of an emulated modem, and is answered with what
//! was turned and how the knobs stand.
//!
//! `{"command":"send","to":"control","lengths":[16,20],"wait_ms":2000}` (fields of
//! [`Sending`](super::sending::Sending)) is followed by as many bytes as the lengths say together. It is answered with one line,
//! and then with one for each [`Heard`](crate::raw::Heard), until the time to wait is over, or the client
//! has closed its sending side.
//!
//! `{"command":"ask","session":0,"wait_ms":5000,"what":{"addresses":{"name":"example.com"}}}` (fields of
//! [`Question`]) is answered with one line when the network has answered.
//!
//! `{"command":"join","carries":"packet"}` (fields of [`JoinOptions`]) comes with the descriptors of a TUN
//! interface (`SCM_RIGHTS`). It is answered with one line, and then with one for each [`JoinNews`](crate::join::JoinNews), until
//! the client closes its sending half, which ends the data session.
//!
//! A request has to come within [`client::REQUEST_TIME`], and a reply has to be read within [`client::REPLY_TIME`].
//! At most [`MOST_WATCHERS`] clients may watch or wait for the end, so that some places are left
//! for clients that ask once. A client that has not asked makes room for one that comes.

mod client;
mod messages;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::{Client, Phase, Running};
use messages::request;
pub use messages::{Reply, Request};

use super::listener::Listener;
use crossbeam_channel::Receiver;

use super::server::{Builder, too_many};
use super::service::{ClientId, Entrance, Service};
use super::stream;
use crate::asking::{Answer, Question};
use crate::capture::{self, Capture, Destination};
use crate::failure::{Failure, FailureKind};
use crate::join::{JoinOptions, Joined};
use crate::permissions::{self, Caller, Order};
use crate::poll::Waker;
use crate::raw::{self, To};

/// Length of the longest request line in bytes, its line end included.
const LONGEST_REQUEST: usize = 4096;
/// Largest number of clients at a time.
const MOST_CLIENTS: usize = 16;
/// Largest number of clients among them that watch or wait for the end.
const MOST_WATCHERS: usize = 12;

/// Callbacks of the service into the running modem. They are called on the server's thread and must
/// not block.
pub trait Responder: Send {
    /// Returns the status as JSON.
    fn status(&self) -> serde_json::Value;
    /// Begins a clean stop.
    fn stop(&self);
    /// Begins a capture.
    ///
    /// # Errors
    /// The reason why there is none.
    fn capture(
        &self,
        options: capture::Options,
        destination: Destination,
    ) -> Result<Capture, Failure> {
        let _ = (options, destination);
        Err(refused(FailureKind::Missing, "it captures nothing"))
    }
    /// Turns knobs of the emulated modem, each given as `name=value`, and returns as JSON what was
    /// turned and how all stand.
    ///
    /// # Errors
    /// The error says what is wrong with a knob, or that there is no emulated modem.
    fn emulate(&self, set: &[String]) -> Result<serde_json::Value, Failure> {
        let _ = set;
        Err(refused(
            FailureKind::Usage,
            "it runs a real modem, which has no knobs",
        ))
    }

    /// Adds a data session for the TUN interface with these descriptors, which come from a program that
    /// may stop this one if it is `trusted`. `waker` is to be woken whenever there is news of it.
    ///
    /// # Errors
    /// The reason why there is none.
    fn join(
        &self,
        options: JoinOptions,
        descriptors: Vec<OwnedFd>,
        trusted: bool,
        waker: Waker,
    ) -> Result<Joined, Failure> {
        let _ = (options, descriptors, trusted, waker);
        Err(refused(FailureKind::Missing, "it has no data sessions"))
    }

    /// Asks the network behind the modem. The answer comes over the channel, after which `waker` is to be
    /// woken; no answer ever comes when the channel is closed.
    ///
    /// # Errors
    /// The error says why it is not asked.
    fn ask(
        &self,
        question: Question,
        waker: Waker,
    ) -> Result<Receiver<Result<Answer, Failure>>, Failure> {
        let _ = (question, waker);
        Err(refused(FailureKind::Missing, "it has no network"))
    }

    /// Sends bytes as they are. `waker` is to be woken whenever there is something to hear.
    ///
    /// # Errors
    /// The reason why nothing is sent.
    fn send(
        &self,
        to: To,
        transfers: Vec<Vec<u8>>,
        wait: Duration,
        waker: Waker,
    ) -> Result<raw::Listener, Failure> {
        let _ = (to, transfers, wait, waker);
        Err(refused(FailureKind::Missing, "it sends nothing"))
    }
}

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
    /// Offers status and orders at a socket, of which everyone may ask for the status if the policy
    /// says so, and the owner alone may stop the modem. `device` is the name of the device in each
    /// reply.
    ///
    /// # Errors
    /// Those of the system, when the socket cannot be made.
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

    fn refuse(&mut self, now: Instant, client: ClientId, failure: Failure) {
        let refusal = self.refusal(failure);
        if let Some(client) = self.clients.get_mut(&client) {
            client.send(now, &refusal);
            client.phase = Phase::Done;
        }
    }

    /// Answers the requests of a client, as far as it has read its replies.
    fn advance(&mut self, now: Instant, id: ClientId) {
        while let Some(client) = self.clients.get_mut(&id)
            && client.phase == Phase::Asking
            && client.output().is_empty()
        {
            let Some(end) = client.input.iter().position(|byte| *byte == b'\n') else {
                if client.input.len() >= LONGEST_REQUEST {
                    let why = format!("a request has at most {LONGEST_REQUEST} bytes");
                    self.refuse(now, id, refused(FailureKind::Other, why));
                } else if client.input_ended {
                    client.phase = Phase::Done;
                }
                return;
            };
            let request = request(&client.input[..end]);
            client.input.drain(..=end);
            match request {
                Ok(request) => self.answer(now, id, request),
                Err(why) => self.refuse(now, id, refused(FailureKind::Other, why)),
            }
        }
        self.gather(now, id);
    }

    /// Sends the bytes of a client's order once they are there.
    fn gather(&mut self, now: Instant, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let Some(sending) = client
            .sending
            .take_if(|sending| sending.is_whole(&client.input))
        else {
            if client.phase == Phase::Sending && client.input_ended {
                client.phase = Phase::Done;
            }
            return;
        };
        let transfers = sending.split(&std::mem::take(&mut client.input));
        let waker = self.waker.clone();
        match self
            .responder
            .send(sending.to, transfers, sending.wait(), waker)
        {
            Ok(listener) => {
                let reply = self.reply();
                if let Some(client) = self.clients.get_mut(&id) {
                    client.send(now, &reply);
                    client.listener = Some(listener);
                    client.phase = Phase::Hearing;
                }
            }
            Err(failure) => self.refuse(now, id, failure),
        }
    }

    fn answer(&mut self, now: Instant, id: ClientId, request: Request) {
        let waiting = |client: &&Client| {
            matches!(
                client.phase,
                Phase::Watching { .. }
                    | Phase::Stopping
                    | Phase::Capturing
                    | Phase::Sending
                    | Phase::Hearing
                    | Phase::Joined
                    | Phase::Answering
            )
        };
        let full = self.clients.values().filter(waiting).count() >= MOST_WATCHERS;
        let order = match &request {
            Request::Status {} | Request::Watch {} => Order::Look,
            Request::Emulate { .. } => Order::Emulate,
            Request::Stop {} => Order::Stop,
            Request::Capture(_) | Request::EndCaptures {} => Order::Capture,
            Request::Send(_) => Order::Raw,
            Request::Ask(_) => Order::Ask,
            Request::Join(_) => Order::Join,
        };
        let caller = self.clients.get(&id).map(|client| client.caller);
        if !caller.is_some_and(|caller| permissions::may_order(caller, order)) {
            let who = match permissions::may_order(Caller::Operator, order) {
                true => &self.operators,
                false => &self.owners,
            };
            let refusal = refused(FailureKind::Permission, "it is not for this user to order")
                .next(format!("those who may are {who}"));
            return self.refuse(now, id, refusal);
        }
        let (reply, phase) = match request {
            Request::Status {} => {
                let looks = caller.is_some_and(|caller| caller < Caller::Operator);
                let reply = Reply {
                    operators: looks.then(|| self.operators.clone()),
                    ..self.state()
                };
                (reply, Phase::Asking)
            }
            Request::Watch {}
            | Request::Capture(_)
            | Request::Send(_)
            | Request::Ask(_)
            | Request::Join(_)
                if full =>
            {
                return self.refuse(now, id, too_many());
            }
            Request::Watch {} => {
                let seen = self.changes();
                (self.state(), Phase::Watching { sent: now, seen })
            }
            Request::Capture(options) => {
                let (writer, bytes) = stream::pair(self.waker.clone());
                let destination = Destination::stream(Box::new(writer), "a local client");
                let capture = match self.responder.capture(options, destination) {
                    Ok(capture) => capture,
                    Err(failure) => return self.refuse(now, id, failure),
                };
                if let Some(client) = self.clients.get_mut(&id) {
                    client.capture = Some(Running { bytes, capture });
                }
                (self.reply(), Phase::Capturing)
            }
            Request::EndCaptures {} => {
                let captures = self
                    .clients
                    .values()
                    .filter_map(|client| client.capture.as_ref());
                captures.for_each(|running| running.capture.end());
                (self.reply(), Phase::Asking)
            }
            Request::Emulate { set } => match self.responder.emulate(&set) {
                Ok(told) => {
                    let reply = Reply {
                        status: Some(told),
                        ..self.reply()
                    };
                    (reply, Phase::Asking)
                }
                Err(failure) => return self.refuse(now, id, failure),
            },
            Request::Ask(question) => {
                let answer = match self.responder.ask(question, self.waker.clone()) {
                    Ok(answer) => answer,
                    Err(failure) => return self.refuse(now, id, failure),
                };
                if let Some(client) = self.clients.get_mut(&id) {
                    client.answer = Some(answer);
                    client.phase = Phase::Answering;
                }
                return;
            }
            Request::Join(options) => {
                let Some(client) = self.clients.get_mut(&id) else {
                    return;
                };
                let descriptors = std::mem::take(&mut client.descriptors);
                let waker = self.waker.clone();
                // Who may stop it need not hold it up.
                let trusted = permissions::may_order(client.caller, Order::Stop);
                match self.responder.join(options, descriptors, trusted, waker) {
                    Ok(joined) => client.joined = Some(joined),
                    Err(failure) => return self.refuse(now, id, failure),
                }
                (self.reply(), Phase::Joined)
            }
            Request::Send(sending) => {
                if let Err(failure) = sending.check() {
                    return self.refuse(now, id, failure);
                }
                if let Some(client) = self.clients.get_mut(&id) {
                    client.sending = Some(sending);
                    client.phase = Phase::Sending;
                    client.since = now;
                }
                return;
            }
            Request::Stop {} => {
                self.responder.stop();
                (self.reply(), Phase::Stopping)
            }
        };
        if let Some(client) = self.clients.get_mut(&id) {
            client.send(now, &reply);
            client.phase = phase;
        }
    }
}

impl StatusService {
    /// Passes the bytes of captures on to clients that have taken what they got before.
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

fn refused(kind: FailureKind, why: impl std::fmt::Display) -> Failure {
    Failure::new(kind, "the running uwwan refused").because(why)
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
            // What is sent is discarded; the end of it has to be seen.
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
                // It has heard what it wanted, and another program may have bytes sent.
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
                // The client does not ask or does not read.
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
                // The modem is down: what was captured last is the rest of the file. It is passed on as
                // it comes.
                Some(running) => running.capture.end(),
                None => client.phase = Phase::Done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::client::REQUEST_TIME;
    use super::*;
    use crate::capture::Captures;
    use crate::raw::Heard;
    use uwwan_usb::descriptors::TransferKind;
    use uwwan_usb::observed::{Moment, Observer, Seen};

    struct Capturing(Arc<Captures>);

    impl Responder for Capturing {
        fn status(&self) -> serde_json::Value {
            serde_json::Value::Null
        }
        fn stop(&self) {}
        fn capture(
            &self,
            options: capture::Options,
            destination: Destination,
        ) -> Result<Capture, Failure> {
            self.0.start(options, destination)
        }
    }

    /// A client that does not take its capture holds up neither the end nor other clients: what was
    /// captured last comes when it comes.
    #[test]
    fn the_end_does_not_wait_for_captures() {
        let captures = Arc::<Captures>::default();
        let waker = Waker::new().unwrap();
        let mut service = StatusService {
            device: "1-4".into(),
            owners: String::new(),
            operators: String::new(),
            responder: Box::new(Capturing(Arc::clone(&captures))),
            changes: Arc::default(),
            waker: waker.clone(),
            clients: BTreeMap::new(),
            next: 0,
        };
        let now = Instant::now();
        let mut begin = || {
            let client = service.connect(now, Entrance::Private, Caller::Owner);
            let client = client.unwrap();
            service.receive(now, client, b"{\"command\":\"capture\"}\n");
            client
        };
        let (reads, leaves) = (begin(), begin());
        assert!(captures.is_active());
        // More than may wait for the loop, so that the capture's thread cannot end by itself.
        for id in 0..4 {
            captures.transfer(&Seen {
                bus: 1,
                address: 7,
                id,
                moment: Moment::Submitted,
                kind: TransferKind::Bulk,
                endpoint: 1,
                setup: None,
                length: 1 << 20,
                data: &vec![0; 1 << 20],
            });
        }
        service.disconnect(now, leaves);
        service.stop(now);
        assert!(!captures.is_active());
        assert_eq!(service.clients[&reads].phase, Phase::Capturing);
        let (mut read, mut set) = (0, crate::poll::PollSet::default());
        while service.take_finished(now).is_none() {
            let waiting = service.output(reads).len();
            read += waiting;
            service.wrote(now, reads, waiting);
            if waiting == 0 {
                set.clear();
                set.add(&waker, true, false);
                set.wait(Some(Duration::from_secs(60))).unwrap();
                waker.reset();
                service.work(now);
            }
        }
        assert!(read > 4 << 20, "{read} bytes");
    }

    /// Keeps what it is to send, and the end at which it is told what comes.
    #[derive(Default)]
    struct Sends(Arc<std::sync::Mutex<Vec<raw::Raw>>>);

    impl Responder for Sends {
        fn status(&self) -> serde_json::Value {
            serde_json::Value::Null
        }
        fn stop(&self) {}
        fn send(
            &self,
            to: To,
            transfers: Vec<Vec<u8>>,
            wait: Duration,
            waker: Waker,
        ) -> Result<raw::Listener, Failure> {
            let (order, listener) = raw::Raw::new(to, transfers, wait, Some(waker))?;
            self.0.lock().unwrap().push(order);
            Ok(listener)
        }
    }

    #[test]
    fn bytes_follow_their_order_and_what_is_heard_follows_the_answer() {
        let sends = Sends::default();
        let orders = Arc::clone(&sends.0);
        let mut service = StatusService {
            device: "1-4".into(),
            owners: "root".into(),
            operators: "root, group uwwan (--operator)".into(),
            responder: Box::new(sends),
            changes: Arc::default(),
            waker: Waker::new().unwrap(),
            clients: BTreeMap::new(),
            next: 0,
        };
        let now = Instant::now();
        let order = br#"{"command":"send","to":"control","lengths":[3,0,2],"wait_ms":50}"#;
        let reply = |service: &mut StatusService, client| {
            service.work(now);
            let output = service.output(client).to_vec();
            service.wrote(now, client, output.len());
            let line = output.split(|byte| *byte == b'\n').next().unwrap();
            serde_json::from_slice::<Reply>(line).unwrap()
        };
        // Whoever is no owner, and what is too much, is refused before a byte of it.
        for (caller, line) in [
            (Caller::Operator, &order[..]),
            (
                Caller::Owner,
                br#"{"command":"send","to":"control","lengths":[],"wait_ms":50}"#,
            ),
            (
                Caller::Owner,
                br#"{"command":"send","to":"data","lengths":[4294967295],"wait_ms":50}"#,
            ),
            (
                Caller::Owner,
                br#"{"command":"send","to":"data","lengths":[1],"wait_ms":9999999}"#,
            ),
        ] {
            let client = service.connect(now, Entrance::Private, caller).unwrap();
            service.receive(now, client, &[line, b"\n"].concat());
            assert!(!reply(&mut service, client).ok);
            assert!(service.take_finished(now).is_some());
        }
        assert!(orders.lock().unwrap().is_empty());

        let client = service
            .connect(now, Entrance::Private, Caller::Owner)
            .unwrap();
        service.receive(now, client, &[&order[..], b"\nab"].concat());
        assert_eq!(service.room(client), 3);
        service.receive(now, client, b"cde");
        let mut raw = orders.lock().unwrap().pop().unwrap();
        let expected = [b"abc".to_vec(), Vec::new(), b"de".to_vec()];
        assert_eq!((raw.to, raw.transfers), (To::Control, expected.to_vec()));
        assert!(reply(&mut service, client).ok);
        assert!(raw.teller.came(now, &[1, 2], true));
        let heard = reply(&mut service, client).heard.unwrap();
        assert!(matches!(heard, Heard::Came { bytes, answers: true, .. } if bytes == [1, 2]));
        drop(raw.teller);
        service.work(now);
        assert!(service.take_finished(now).is_some());

        // A client that leaves is told nothing more.
        let client = service
            .connect(now, Entrance::Private, Caller::Owner)
            .unwrap();
        service.receive(now, client, &[&order[..], b"\nabcde"].concat());
        let mut raw = orders.lock().unwrap().pop().unwrap();
        service.disconnect(now, client);
        assert!(!raw.teller.came(now, &[1], true));
        // Nor is one that closes its sending side, and its place is free.
        let client = service
            .connect(now, Entrance::Private, Caller::Owner)
            .unwrap();
        service.receive(now, client, &[&order[..], b"\nabcde"].concat());
        let raw = orders.lock().unwrap().pop().unwrap();
        assert!(raw.teller.is_heard());
        let taken = service.output(client).len();
        service.wrote(now, client, taken);
        service.input_ended(now, client, 0);
        assert!(!raw.teller.is_heard());
        assert_eq!(service.take_finished(now), Some(client));
        // One that announces more than it sends is dropped in time.
        let client = service
            .connect(now, Entrance::Private, Caller::Owner)
            .unwrap();
        service.receive(now, client, &[&order[..], b"\na"].concat());
        service.work(now + REQUEST_TIME);
        assert_eq!(service.take_finished(now), Some(client));
        assert!(orders.lock().unwrap().is_empty());
    }
}
