//! State of one client of the multiplexer: its input, its output and the commands it waits for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use uwwan_mbim::fragment::{Limits, Reassembler};
use uwwan_mbim::message::{Body, Message};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::PinInfo;
use uwwan_mbim::services::ms_basic_connect_extensions::VERSION;
use uwwan_mbim::session::{Command, CommandError, Response};
use uwwan_mbim::status::{ProtocolError, Status};

use super::subscriptions::List;
use crate::askers::Ticket;
use crate::permissions::{self, Caller, CallerState};
use crate::pin_memory::UNKNOWN_ATTEMPTS;
use crate::share::service::Entrance;
use crate::stream::Stream;

/// Number of unanswered commands that a client may have; the bytes of further ones stay in its
/// socket.
pub(super) const MOST_PENDING: usize = 16;
/// Number of bytes that may wait for a client before nothing more is read from it.
const MUCH_OUTPUT: usize = 64 * 1024;
/// Number of bytes that may wait for a client before its indications are dropped.
const TOO_MUCH_OUTPUT: usize = 32 * 1024;
/// Fragment size in bytes, as libmbim uses it, until the client names one in its OPEN.
const USUAL_FRAGMENT: usize = 4096;
/// Time after which a client that reads nothing of its waiting output is dropped.
const STALL: Duration = Duration::from_secs(60);

/// Command that waits for its turn.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) transaction: u32,
    pub(super) command: Command,
    /// PIN set that goes to the modem after this query of the PIN, if it cannot cost the last
    /// attempt.
    pub(super) then: Option<Command>,
    /// Age of the basis on which the command was judged, if that was before its turn: that of a PIN set,
    /// at the query before it.
    pub(super) judged: Option<u64>,
}

/// Time after which a client that has sent neither OPEN nor a command is dropped.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// The state of one client.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) entrance: Entrance,
    pub(super) caller: Caller,
    pub(super) stream: Stream,
    pub(super) reassembler: Reassembler,
    output: VecDeque<Vec<u8>>,
    /// Number of bytes of the first piece that have been written.
    gone: usize,
    waiting_bytes: usize,
    /// Time since which the client has read nothing of its waiting output.
    stalled: Option<Instant>,
    max_fragment: usize,
    /// Path that the client named in CONFIGURATION.
    pub(super) path: Option<String>,
    /// Time for which the client's OPEN waits for the modem.
    pub(super) patience: Duration,
    pub(super) open: bool,
    /// Whether the client has sent a command for the modem.
    pub(super) used: bool,
    /// Transaction id of an unanswered OPEN, and the time at which it is answered if the modem is
    /// not reachable by then.
    pub(super) opening: Option<(u32, Instant)>,
    pub(super) insists: bool,
    pub(super) list: List,
    pub(super) queue: VecDeque<Queued>,
    pub(super) under_way: Vec<(Ticket, u32)>,
    /// Transaction ids of the subscriptions that wait for the modem.
    pub(super) subscribing: Vec<u32>,
    pub(super) since: Instant,
    /// Time at which the client's connection is closed.
    pub(super) end: Option<Instant>,
}

impl Peer {
    pub(super) fn new(
        now: Instant,
        entrance: Entrance,
        caller: Caller,
        patience: Duration,
    ) -> Self {
        let limits = Limits {
            messages: 4,
            message_bytes: 64 * 1024,
            // The connection is local, but the machine may be busy.
            timeout: Duration::from_secs(10),
        };
        Self {
            entrance,
            caller,
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

    /// Returns the number of unanswered commands.
    pub(super) fn pending(&self) -> usize {
        self.queue.len() + self.under_way.len() + self.subscribing.len()
    }

    /// Returns the state on which the rules for the client's commands depend. `guard` is whether the
    /// owner has to force commands for which the rules ask that, and `held` are the MBIM session ids of
    /// the driver's sessions.
    pub(super) fn standing<'a>(&self, guard: bool, held: &'a [u32]) -> CallerState<'a> {
        CallerState {
            caller: self.caller,
            forced: !guard || self.insists,
            held,
        }
    }

    /// Returns whether a command with this transaction id is unanswered.
    pub(super) fn is_pending(&self, transaction: u32) -> bool {
        self.queue
            .iter()
            .any(|queued| queued.transaction == transaction)
            || self.under_way.iter().any(|(_, id)| *id == transaction)
            || self.subscribing.contains(&transaction)
    }

    /// Returns whether the client may use the modem: a client of the public socket has to name the
    /// modem first.
    pub(super) fn is_admitted(&self) -> bool {
        self.entrance != Entrance::Public || self.path.is_some()
    }

    /// Returns whether the client has begun to use the modem.
    pub(super) fn is_engaged(&self) -> bool {
        self.open || self.used
    }

    /// Returns whether the client is sent indications.
    pub(super) fn listens(&self) -> bool {
        self.end.is_none() && (self.open || self.path.is_some())
    }

    /// Returns whether another message is read from the client.
    pub(super) fn may_speak(&self) -> bool {
        self.pending() < MOST_PENDING && self.waiting_bytes < MUCH_OUTPUT
    }

    /// Returns whether the client reads its answers as fast as it asks.
    pub(super) fn keeps_up(&self) -> bool {
        self.waiting_bytes < MUCH_OUTPUT
    }

    /// Resets the client after its OPEN: its earlier subscriptions are dropped, and
    /// `max_control_transfer` becomes its fragment size in bytes.
    pub(super) fn opened(&mut self, max_control_transfer: u32) {
        let size = usize::try_from(max_control_transfer).unwrap_or(USUAL_FRAGMENT);
        self.max_fragment = size.clamp(64, crate::stream::LONGEST);
        self.list = List::standard();
        self.open = true;
    }

    /// Sends a message in fragments of the client's size.
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

    /// Sends the answer to a command, in the form that the client may see.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        transaction: u32,
        id: CidId,
        result: Result<Response, CommandError>,
    ) {
        let result = result.map(|response| {
            let info = match id {
                VERSION => permissions::version_answer(response.info),
                _ => permissions::redacted(self.caller, id, response.info),
            };
            Response { info, ..response }
        });
        self.send(now, transaction, answer(id, result));
    }

    /// Takes the answer to the query that precedes a PIN operation. The operation is next, unless it
    /// could cost the last attempt: one remains, or their number is unknown and the modem `refused`
    /// the operation before. `judged` is the age of the basis when the query was sent.
    pub(super) fn pin_asked(
        &mut self,
        now: Instant,
        transaction: u32,
        command: Command,
        result: Result<Response, CommandError>,
        refused: bool,
        judged: u64,
    ) {
        let remaining = match &result {
            Ok(response) if response.status.is_success() => PinInfo::decode(&response.info)
                .ok()
                .map(|pin| pin.remaining_attempts),
            _ => return self.answer(now, transaction, command.id, result),
        };
        let last = match remaining {
            Some(UNKNOWN_ATTEMPTS) | None => refused,
            Some(remaining) => remaining <= 1,
        };
        if last {
            tracing::info!("a client's PIN operation is refused: one attempt remains");
            let status = Status::OPERATION_NOT_ALLOWED;
            return self.done(now, transaction, &command, status, Vec::new());
        }
        self.queue.push_front(Queued {
            transaction,
            command,
            then: None,
            judged: Some(judged),
        });
    }

    /// Returns the first piece of output that waits to be written.
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

    /// Returns whether the client has neither begun to use the modem nor waits for it with an OPEN.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_engaged() && self.opening.is_none()
    }

    /// Returns the time of the client's next deadline: for closing its connection, for answering
    /// its OPEN, for its first message, or for reading some of its output.
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

    /// Returns the number of bytes held for the client.
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

/// Returns the message that answers a command, as the modem would send it.
pub(super) fn answer(id: CidId, result: Result<Response, CommandError>) -> Body {
    let CidId { service, cid } = id;
    let (status, info) = match result {
        Ok(response) => (response.status, response.info),
        Err(
            CommandError::NotOpen
            | CommandError::Closed
            | CommandError::Lost(_)
            | CommandError::Transfer(_),
        ) => {
            return Body::FunctionError(ProtocolError::NOT_OPENED);
        }
        Err(CommandError::Function(error)) => return Body::FunctionError(error),
        Err(CommandError::QueueFull(_)) => (Status::BUSY, Vec::new()),
        Err(CommandError::Timeout(_) | CommandError::Cancelled | CommandError::Fragments(_)) => {
            (Status::FAILURE, Vec::new())
        }
    };
    Body::CommandDone {
        service,
        cid,
        status,
        info,
    }
}
