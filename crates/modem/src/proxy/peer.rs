//! One client of the multiplexer: what came from it, what goes to it, and what it waits for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use uwwan_mbim::fragment::{Limits, Reassembler};
use uwwan_mbim::message::{Body, Message};
use uwwan_mbim::session::Command;
use uwwan_mbim::status::{ProtocolError, Status};

use super::subscriptions::List;
use crate::askers::Ticket;
use crate::share::service::Entrance;
use crate::stream::Stream;

/// Commands of one client that may be unanswered; of more, the bytes stay in its socket.
pub(super) const MOST_PENDING: usize = 16;
/// Bytes that may wait for a client before nothing more is read from it.
const MUCH_OUTPUT: usize = 64 * 1024;
/// Bytes that may wait for a client before its indications are dropped.
const TOO_MUCH_OUTPUT: usize = 32 * 1024;
/// Size at which messages to a client are cut until it says one, as libmbim does.
const USUAL_FRAGMENT: usize = 4096;
/// A client that takes nothing of what waits for it for so long has left.
const STALL: Duration = Duration::from_secs(60);

/// A command that waits for its turn.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) transaction: u32,
    pub(super) command: Command,
    /// Whether the answer is one to VERSION.
    pub(super) version: bool,
}

/// A client that has not said what it wants within this time gives its place back.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// The state of one client.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) entrance: Entrance,
    pub(super) stream: Stream,
    pub(super) reassembler: Reassembler,
    output: VecDeque<Vec<u8>>,
    /// Bytes of the first piece that are gone already.
    gone: usize,
    waiting_bytes: usize,
    /// Since when it takes nothing of what waits.
    stalled: Option<Instant>,
    max_fragment: usize,
    /// The path it named in CONFIGURATION.
    pub(super) path: Option<String>,
    /// How long it waits for the modem.
    pub(super) patience: Duration,
    pub(super) open: bool,
    /// It has sent a command.
    pub(super) used: bool,
    /// An OPEN to answer when the modem is reachable, or else then.
    pub(super) opening: Option<(u32, Instant)>,
    pub(super) insists: bool,
    pub(super) list: List,
    pub(super) queue: VecDeque<Queued>,
    pub(super) under_way: Vec<(Ticket, u32)>,
    /// Subscriptions that wait for the modem.
    pub(super) subscribing: Vec<u32>,
    pub(super) since: Instant,
    /// It is to be gone then.
    pub(super) end: Option<Instant>,
}

impl Peer {
    pub(super) fn new(now: Instant, entrance: Entrance, patience: Duration) -> Self {
        let limits = Limits {
            messages: 4,
            message_bytes: 64 * 1024,
            // No radio in between, but perhaps a busy machine.
            timeout: Duration::from_secs(10),
        };
        Self {
            entrance,
            stream: Stream::default(),
            reassembler: Reassembler::new(limits),
            output: VecDeque::new(),
            gone: 0,
            waiting_bytes: 0,
            stalled: None,
            max_fragment: USUAL_FRAGMENT,
            path: None,
            patience,
            open: false,
            used: false,
            opening: None,
            insists: false,
            list: List::standard(),
            queue: VecDeque::new(),
            under_way: Vec::new(),
            subscribing: Vec::new(),
            since: now,
            end: None,
        }
    }

    /// Commands not answered yet.
    pub(super) fn pending(&self) -> usize {
        self.queue.len() + self.under_way.len() + self.subscribing.len()
    }

    /// Whether a command with this transaction id is unanswered.
    pub(super) fn is_pending(&self, transaction: u32) -> bool {
        self.queue
            .iter()
            .any(|queued| queued.transaction == transaction)
            || self.under_way.iter().any(|(_, id)| *id == transaction)
            || self.subscribing.contains(&transaction)
    }

    /// Whether it may speak with the modem: a client of the public socket has to say first which
    /// modem it means.
    pub(super) fn is_admitted(&self) -> bool {
        !matches!(self.entrance, Entrance::Public | Entrance::PublicGuest) || self.path.is_some()
    }

    /// Whether it has begun to use the modem.
    pub(super) fn is_engaged(&self) -> bool {
        self.open || self.used
    }

    /// Whether indications are for it.
    pub(super) fn listens(&self) -> bool {
        self.end.is_none() && (self.open || self.path.is_some())
    }

    /// Whether another message is taken from it.
    pub(super) fn may_speak(&self) -> bool {
        self.pending() < MOST_PENDING && self.waiting_bytes < MUCH_OUTPUT
    }

    /// Whether it takes in answers as fast as it asks.
    pub(super) fn keeps_up(&self) -> bool {
        self.waiting_bytes < MUCH_OUTPUT
    }

    /// A new session of this client, with what it chose before forgotten.
    pub(super) fn opened(&mut self, max_control_transfer: u32) {
        let size = usize::try_from(max_control_transfer).unwrap_or(USUAL_FRAGMENT);
        self.max_fragment = size.clamp(64, crate::stream::LONGEST);
        self.list = List::standard();
        self.open = true;
    }

    /// Sends a message, in fragments of its size.
    pub(super) fn send(&mut self, now: Instant, transaction: u32, body: Body) {
        let message = Message { transaction, body };
        for part in message.encode(self.max_fragment) {
            if part.is_empty() {
                continue;
            }
            if self.output.is_empty() {
                self.stalled = Some(now);
            }
            self.waiting_bytes += part.len();
            self.output.push_back(part);
        }
    }

    /// Sends an indication if the client keeps up.
    pub(super) fn indicate(&mut self, now: Instant, body: Body) {
        if self.waiting_bytes < TOO_MUCH_OUTPUT {
            self.send(now, 0, body);
        }
    }

    pub(super) fn refuse(&mut self, now: Instant, transaction: u32, error: ProtocolError) {
        self.send(now, transaction, Body::FunctionError(error));
    }

    /// Answers a command without the modem.
    pub(super) fn done(
        &mut self,
        now: Instant,
        transaction: u32,
        command: &Command,
        status: Status,
        info: Vec<u8>,
    ) {
        let body = Body::CommandDone {
            service: command.id.service,
            cid: command.id.cid,
            status,
            info,
        };
        self.send(now, transaction, body);
    }

    /// What waits to be written to it.
    pub(super) fn output(&self) -> &[u8] {
        self.output
            .front()
            .map_or(&[], |piece| &piece[self.gone.min(piece.len())..])
    }

    pub(super) fn wrote(&mut self, now: Instant, count: usize) {
        let count = count.min(self.output().len());
        self.gone += count;
        self.waiting_bytes -= count;
        if self
            .output
            .front()
            .is_some_and(|piece| piece.len() <= self.gone)
        {
            self.output.pop_front();
            self.gone = 0;
        }
        self.stalled = (!self.output.is_empty()).then_some(now);
    }

    /// Whether it has not begun, nor waits for the modem to begin.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_engaged() && self.opening.is_none()
    }

    /// When its time is up: to be gone, to get an answer to its OPEN, to have begun, or to have
    /// taken something of what waits for it.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.end.is_some() {
            return self.end;
        }
        let handshake = (self.is_idle() && self.entrance != Entrance::Terminal)
            .then_some(self.since + HANDSHAKE);
        let opening = self.opening.map(|(_, until)| until);
        let stall = self.stalled.map(|since| since + STALL);
        [handshake, opening, stall].into_iter().flatten().min()
    }

    /// Bytes held on its behalf.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.waiting_bytes
            + (crate::stream::LONGEST - self.stream.room())
            + self.reassembler.held_bytes()
            + self
                .queue
                .iter()
                .map(|queued| queued.command.info.len())
                .sum::<usize>()
    }
}
