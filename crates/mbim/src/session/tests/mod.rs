//! Tests of the state machine by transcripts of its input and the output it must give.

mod channel;
mod commands;
mod opening;

use std::time::{Duration, Instant};

use super::*;
use crate::message::{Body, CommandKind, Message};
use crate::registry::CidId;
use crate::services::{Empty, basic_connect as bc, sms};
use crate::status::{ProtocolError, Status};

const NOTIFIED: [u8; 8] = [0xa1, 1, 0, 0, 0, 0, 0, 0];
const SECOND: Duration = Duration::from_secs(1);

/// A control session with a clock, and shorthands for both sides.
struct Bench {
    session: ControlSession,
    now: Instant,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self {
            session: ControlSession::new(config),
            now: Instant::now(),
        }
    }

    /// Makes a control session that is open; its OPEN had transaction id 1.
    fn opened(config: Config) -> Self {
        let mut bench = Self::new(config);
        bench.session.open(bench.now);
        assert_eq!(bench.sent(), ["1 open"]);
        bench.answer(1, Body::OpenDone(Status::NONE));
        assert_eq!(bench.events(), [Event::Opened]);
        bench
    }

    /// Returns everything that the control session wants to send, each as "id kind". A read is
    /// returned as "read" and left without a result.
    fn transmits(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        while let Some(transmit) = self.session.poll_transmit(self.now) {
            out.push(match transmit {
                Transmit::GetEncapsulated => "read".to_owned(),
                Transmit::SendEncapsulated(bytes) => match Message::decode(&bytes) {
                    Ok(message) => format!("{} {}", message.transaction, describe(&message.body)),
                    Err(error) => error.to_string(),
                },
            });
        }
        out
    }

    /// Returns what [`Bench::transmits`] returns, without the reads, which bring nothing.
    fn sent(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        loop {
            let now = self.transmits();
            if now.iter().any(|what| what == "read") {
                self.session.handle_response(self.now, &[]);
            }
            if now.is_empty() {
                return out;
            }
            out.extend(now.into_iter().filter(|what| what != "read"));
        }
    }

    fn answer(&mut self, transaction: u32, body: Body) {
        for part in
            (Message { transaction, body }).encode(self.session.config().max_control_message)
        {
            self.session.handle_notification(self.now, &NOTIFIED);
            assert_eq!(self.transmits(), ["read"]);
            self.session.handle_response(self.now, &part);
        }
    }

    fn done(&mut self, transaction: u32, id: CidId, status: Status) {
        let info = Vec::new();
        self.answer(
            transaction,
            Body::CommandDone {
                service: id.service,
                cid: id.cid,
                status,
                info,
            },
        );
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.session.poll_timeout().filter(|&due| due <= until) {
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            if self
                .session
                .poll_timeout()
                .is_some_and(|next| next <= self.now)
            {
                return; // There is something to transmit first.
            }
        }
        self.now = until;
        self.session.handle_timeout(until);
    }

    fn query(&mut self, id: CidId) -> TransactionId {
        self.session
            .command(self.now, Command::query(id), 10 * SECOND)
            .unwrap()
    }
}

fn describe(body: &Body) -> String {
    match body {
        Body::Open { .. } => "open".to_owned(),
        Body::Close => "close".to_owned(),
        Body::Command { cid, kind, .. } if *kind == CommandKind::SET => format!("set {cid}"),
        Body::Command { cid, .. } => format!("query {cid}"),
        Body::HostError(error) => format!("error {error}"),
        other => format!("{other:?}"),
    }
}

fn response(id: u32, result: Result<Response, CommandError>) -> Event {
    Event::Response {
        id: TransactionId(id),
        result,
    }
}

fn ok(id: u32, command: CidId, status: Status) -> Event {
    response(
        id,
        Ok(Response {
            id: command,
            status,
            info: Vec::new(),
        }),
    )
}

fn sixteen() -> Config {
    Config {
        max_outstanding: 16,
        ..Config::default()
    }
}
