//! Execution of the requests of clients: each request is checked against the permissions, carried
//! out or refused, and answered.

use std::time::Instant;

use super::client::{Client, Phase, Running};
use super::messages::{Reply, Request, request};
use super::responder::refused;
use super::{LONGEST_REQUEST, MOST_WATCHERS, StatusService};
use crate::capture::Destination;
use crate::failure::{Failure, FailureKind};
use crate::permissions::{self, Caller, Order};
use crate::share::server::too_many;
use crate::share::service::ClientId;
use crate::share::stream;

impl StatusService {
    pub(super) fn refuse(&mut self, now: Instant, client: ClientId, failure: Failure) {
        let refusal = self.refusal(failure);
        if let Some(client) = self.clients.get_mut(&client) {
            client.send(now, &refusal);
            client.phase = Phase::Done;
        }
    }

    /// Answers the requests of a client, as far as it has read its replies.
    pub(super) fn advance(&mut self, now: Instant, id: ClientId) {
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

    /// Sends the bytes of a client's order once all of them have come.
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
                // A caller who may stop the modem gains nothing by blocking it.
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
