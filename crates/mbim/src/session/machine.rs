//! State machine of a control session: opening, commands and closing, with their timeouts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::reads::{ReadReason, Reads};
use super::types::*;
use crate::fragment::{Limits, Reassembler};
use crate::message::{Body, Header, Message};
use crate::registry::CidId;
use crate::status::ProtocolError;

/// Number of OPENs answered with a lasting failure after which opening is given up early.
pub(super) const MOST_REFUSALS: u32 = 3;
/// Largest number of unmatched CLOSE_DONEs in one attempt to open that are answered by CLOSE.
pub(super) const MOST_RECLOSES: u32 = 3;
/// Number of failed reads in a row after which the modem counts as lost.
const MOST_READ_FAILURES: u32 = 16;
/// Code of the RESPONSE_AVAILABLE notification (CDC 1.2 section 6.3).
const RESPONSE_AVAILABLE: u8 = 0x01;

#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) id: TransactionId,
    pub(super) command: CidId,
    pub(super) deadline: Instant,
    pub(super) timeout: Duration,
}

#[derive(Debug)]
pub(super) struct Queued {
    pub(super) id: TransactionId,
    pub(super) command: Command,
    pub(super) timeout: Duration,
}

#[derive(Debug)]
pub(super) struct Opening {
    pub(super) started: Instant,
    /// Answer or pause that is waited for.
    pub(super) awaited: Awaited,
    pub(super) tries: u32,
    pub(super) refusals: u32,
    pub(super) recloses: u32,
    pub(super) last: Option<OpenError>,
}

#[derive(Debug)]
pub(super) enum Awaited {
    Open { id: u32, until: Instant },
    Close { id: u32, until: Instant },
    Pause { until: Instant },
}

impl Awaited {
    const fn until(&self) -> Instant {
        match self {
            Self::Open { until, .. } | Self::Close { until, .. } | Self::Pause { until } => *until,
        }
    }
}

#[derive(Debug)]
pub(super) enum Phase {
    Closed,
    Opening(Opening),
    Open,
    Closing { id: u32, until: Instant },
}

/// Control session; the documentation of its module describes its use.
#[derive(Debug)]
pub struct ControlSession {
    pub(super) config: Config,
    pub(super) phase: Phase,
    pub(super) next_id: u32,
    pub(super) queue: VecDeque<Queued>,
    pub(super) outstanding: Vec<Outstanding>,
    /// Control transfers to make, each with the id of the transaction it belongs to.
    pub(super) transmit: VecDeque<(u32, Vec<u8>)>,
    pub(super) reads: Reads,
    pub(super) read_failures: u32,
    pub(super) reassembler: Reassembler,
    pub(super) events: VecDeque<Event>,
    pub(super) counters: Counters,
    /// Transaction ids of messages that the caller sends itself.
    pub(super) foreign: Vec<u32>,
    /// Id of the transaction whose transfer was handed out last, which
    /// [`ControlSession::handle_send_error`] is about.
    pub(super) sending: Option<u32>,
}

impl ControlSession {
    /// Makes a control session that is closed.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let config = Config {
            max_outstanding: config.max_outstanding.max(1),
            ..config
        };
        let limits = Limits {
            messages: config.max_outstanding.clamp(4, 64),
            ..Limits::default()
        };
        Self {
            config,
            phase: Phase::Closed,
            next_id: 1,
            queue: VecDeque::new(),
            outstanding: Vec::new(),
            transmit: VecDeque::new(),
            reads: Reads::new(),
            read_failures: 0,
            reassembler: Reassembler::new(limits),
            events: VecDeque::new(),
            counters: Counters::default(),
            foreign: Vec::new(),
            sending: None,
        }
    }

    /// Returns the state of the control session.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Opening(_) => State::Opening,
            Phase::Open => State::Open,
            Phase::Closing { .. } => State::Closing,
        }
    }

    /// Returns the settings in force. The largest control transfer is smaller than was set after
    /// the modem has refused it.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the counters.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the number of commands sent and not yet answered.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Returns the number of commands that wait for their turn.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Returns whether messages to send were begun, so that a message of the caller's own would
    /// come between their fragments.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        !self.transmit.is_empty()
    }

    /// Returns whether a transaction id belongs to a command without an answer.
    #[must_use]
    pub fn is_taken(&self, id: u32) -> bool {
        let taken = |other: TransactionId| other.0 == id;
        self.outstanding.iter().any(|o| taken(o.id)) || self.queue.iter().any(|q| taken(q.id))
    }

    /// Sets the transaction ids of messages that the caller sends itself, beside the control
    /// session, and whose answers it looks for in what it hands to
    /// [`ControlSession::handle_response`]. No command gets one of them. While there are any, the
    /// function is polled as if a command were without an answer.
    pub fn set_foreign(&mut self, ids: Vec<u32>) {
        self.foreign = ids;
    }

    /// Opens the control session; [`Event::Opened`] or [`Event::OpenFailed`] follows. Commands of a
    /// control session that was open before end with [`CommandError::Closed`].
    pub fn open(&mut self, now: Instant) {
        self.abandon(&CommandError::Closed);
        self.transmit.clear();
        self.reassembler.clear();
        self.reads.reset();
        self.read_failures = 0;
        let mut opening = Opening {
            started: now,
            awaited: Awaited::Pause { until: now },
            tries: 0,
            refusals: 0,
            recloses: 0,
            last: None,
        };
        self.send_open(now, &mut opening);
        self.phase = Phase::Opening(opening);
    }

    /// Queues a command; [`Event::Response`] follows within `timeout` of its sending.
    ///
    /// # Errors
    /// Returns [`CommandError::NotOpen`] when the control session is not open, and
    /// [`CommandError::QueueFull`] when too many commands wait already.
    pub fn command(
        &mut self,
        now: Instant,
        command: Command,
        timeout: Duration,
    ) -> Result<TransactionId, CommandError> {
        if !matches!(self.phase, Phase::Open) {
            return Err(CommandError::NotOpen);
        }
        if self.queue.len() >= self.config.max_queued {
            return Err(CommandError::QueueFull(self.queue.len()));
        }
        let id = TransactionId(self.new_id());
        self.queue.push_back(Queued {
            id,
            command,
            timeout,
        });
        self.start_queued(now);
        Ok(id)
    }

    /// Cancels a command, which ends with [`CommandError::Cancelled`]. Nothing happens if the
    /// command has ended.
    pub fn cancel(&mut self, now: Instant, id: TransactionId) {
        if let Some(index) = self.queue.iter().position(|queued| queued.id == id) {
            self.queue.remove(index);
        } else if let Some(index) = self
            .outstanding
            .iter()
            .position(|outstanding| outstanding.id == id)
        {
            self.outstanding.remove(index);
            self.withdraw(id.0);
        } else {
            return;
        }
        self.events.push_back(Event::Response {
            id,
            result: Err(CommandError::Cancelled),
        });
        self.start_queued(now);
    }

    /// Closes the control session; [`Event::Closed`] follows. Commands without an answer end with
    /// [`CommandError::Closed`].
    pub fn close(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Closed | Phase::Closing { .. }) {
            return;
        }
        self.abandon(&CommandError::Closed);
        self.transmit.clear();
        let id = self.new_id();
        self.queue_message(id, Body::Close);
        self.phase = Phase::Closing {
            id,
            until: now + self.config.close_timeout,
        };
    }

    /// Ends the control session because the modem is gone (unplugged, reset, unreachable). Commands
    /// without an answer end with [`CommandError::Lost`]; [`Event::Lost`] follows.
    pub fn handle_lost(&mut self, why: &str) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.abandon(&CommandError::Lost(why.to_owned()));
        self.transmit.clear();
        self.reassembler.clear();
        self.reads = Reads::new();
        self.phase = Phase::Closed;
        self.events.push_back(Event::Lost {
            why: why.to_owned(),
        });
    }

    /// Takes a notification from the interrupt endpoint.
    pub fn handle_notification(&mut self, _now: Instant, bytes: &[u8]) {
        match bytes {
            [0xa1, RESPONSE_AVAILABLE, _, _, _, _, _, _, ..] => {
                self.counters.notifications += 1;
                if !self.reads.notified() {
                    self.counters.notifications_ignored += 1;
                }
            }
            [0xa1, _, _, _, _, _, _, _, ..] => self.counters.other_notifications += 1,
            _ => self.counters.malformed_notifications += 1,
        }
    }

    /// Takes note that notifications came in a storm and were not kept for
    /// [`ControlSession::handle_notification`]. The messages they announced are read all the same.
    pub fn handle_missed_notifications(&mut self) {
        self.counters.notifications_ignored += 1;
        self.reads.missed();
    }

    /// Takes the bytes that a GET_ENCAPSULATED_RESPONSE returned, possibly none. Most functions
    /// return one message a read; where a function returns several, all are taken.
    pub fn handle_response(&mut self, now: Instant, bytes: &[u8]) {
        self.read_failures = 0;
        if bytes.is_empty() {
            self.counters.empty_reads += 1;
            self.reads.empty(now);
            return;
        }
        self.reads.filled(now);
        if bytes.len() > self.config.max_control_message {
            self.counters.oversized += 1;
        }
        let mut rest = bytes;
        loop {
            let header = Header::parse(rest);
            match self.reassembler.push(now, rest) {
                Ok(Some(message)) => {
                    self.counters.messages += 1;
                    self.receive(now, message);
                }
                Ok(None) => {}
                Err(error) => self.handle_garbage(now, error),
            }
            // Bytes behind a message that do not begin with a header are padding.
            match header.map(|header| &rest[header.length..]) {
                Ok(behind) if Header::parse(behind).is_ok() => rest = behind,
                _ => return,
            }
        }
    }

    /// Takes note that a GET_ENCAPSULATED_RESPONSE failed.
    pub fn handle_read_error(&mut self, now: Instant, error: &ReadError) {
        self.reads.empty(now);
        match error {
            ReadError::Stall => self.counters.empty_reads += 1,
            ReadError::Other(why) => {
                self.counters.failed_reads += 1;
                self.read_failures += 1;
                if self.read_failures >= MOST_READ_FAILURES {
                    self.handle_lost(&format!(
                        "{MOST_READ_FAILURES} reads in a row failed, the last with: {why}"
                    ));
                }
            }
        }
    }

    /// Takes note that the transfer handed out last failed. Its command ends with
    /// [`CommandError::Transfer`]; an OPEN is sent again in its turn.
    pub fn handle_send_error(&mut self, now: Instant, why: &str) {
        let Some(id) = self.sending.take() else {
            return;
        };
        self.transmit.retain(|(of, _)| *of != id);
        self.finish(id, Err(CommandError::Transfer(why.to_owned())));
        if matches!(self.phase, Phase::Closing { id: closing, .. } if closing == id) {
            self.closed(false);
        }
        self.start_queued(now);
    }

    /// Returns the next control transfer to make, if any.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        if let Some((id, bytes)) = self.transmit.pop_front() {
            self.sending = Some(id);
            return Some(Transmit::SendEncapsulated(bytes));
        }
        let begin = self
            .reads
            .begin(now, self.awaiting(), self.config.poll_interval)?;
        self.counters.reads += 1;
        if begin == ReadReason::Polled {
            self.counters.polls += 1;
        }
        Some(Transmit::GetEncapsulated)
    }

    /// Returns the oldest event that was not taken yet, if any.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns the time at which [`ControlSession::handle_timeout`] and
    /// [`ControlSession::poll_transmit`] are due, unless input comes earlier.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Opening(opening) => Some(
                opening
                    .awaited
                    .until()
                    .min(opening.started + self.config.open_timeout),
            ),
            Phase::Closing { until, .. } => Some(*until),
            Phase::Open | Phase::Closed => None,
        };
        self.outstanding
            .iter()
            .map(|outstanding| outstanding.deadline)
            .chain(phase)
            .chain(self.reassembler.deadline())
            .chain(
                self.reads
                    .deadline(self.awaiting(), self.config.poll_interval),
            )
            .min()
    }

    /// Does what is due at `now`: ends commands whose time is up, repeats OPEN, ends closing.
    pub fn handle_timeout(&mut self, now: Instant) {
        for id in self.reassembler.expire(now) {
            if self
                .outstanding
                .iter()
                .any(|outstanding| outstanding.id.0 == id)
            {
                self.queue_message(id, Body::HostError(ProtocolError::TIMEOUT_FRAGMENT));
            }
        }
        while let Some(index) = self
            .outstanding
            .iter()
            .position(|outstanding| outstanding.deadline <= now)
        {
            let Outstanding { id, timeout, .. } = self.outstanding.remove(index);
            self.counters.timeouts += 1;
            self.withdraw(id.0);
            self.events.push_back(Event::Response {
                id,
                result: Err(CommandError::Timeout(timeout)),
            });
        }
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Opening(opening) => self.opening_timeout(now, opening),
            Phase::Closing { until, .. } if until <= now => self.closed(false),
            phase => self.phase = phase,
        }
        self.start_queued(now);
    }

    fn opening_timeout(&mut self, now: Instant, mut opening: Opening) {
        let elapsed = now.saturating_duration_since(opening.started);
        if elapsed >= self.config.open_timeout {
            let silent = OpenError::Silent {
                tries: opening.tries,
                after: elapsed,
            };
            self.transmit.clear();
            self.events
                .push_back(Event::OpenFailed(opening.last.unwrap_or(silent)));
            return;
        }
        if opening.awaited.until() <= now {
            self.send_open(now, &mut opening);
        }
        self.phase = Phase::Opening(opening);
    }

    pub(super) fn send_open(&mut self, now: Instant, opening: &mut Opening) {
        let id = self.new_id();
        // No function takes or sends more than 64 KiB in one control transfer.
        let max_control_transfer =
            u32::try_from(self.config.max_control_message).unwrap_or(u32::from(u16::MAX));
        self.queue_message(
            id,
            Body::Open {
                max_control_transfer,
            },
        );
        opening.tries += 1;
        opening.awaited = Awaited::Open {
            id,
            until: now + self.config.open_try,
        };
    }

    /// Returns whether an answer is outstanding.
    fn awaiting(&self) -> bool {
        !self.outstanding.is_empty()
            || !self.foreign.is_empty()
            || matches!(self.phase, Phase::Opening(_) | Phase::Closing { .. })
    }

    pub(super) fn new_id(&mut self) -> u32 {
        loop {
            let id = self.next_id;
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if !self.is_taken(id) && !self.foreign.contains(&id) {
                return id;
            }
        }
    }

    pub(super) fn queue_message(&mut self, transaction: u32, body: Body) {
        let message = Message { transaction, body };
        for part in message.encode(self.config.max_control_message) {
            self.transmit.push_back((transaction, part));
        }
    }

    /// Sends queued commands as far as the function takes more.
    pub(super) fn start_queued(&mut self, now: Instant) {
        while self.outstanding.len() < self.config.max_outstanding {
            let Some(Queued {
                id,
                command,
                timeout,
            }) = self.queue.pop_front()
            else {
                return;
            };
            let Command {
                id: CidId { service, cid },
                kind,
                info,
            } = command;
            self.queue_message(
                id.0,
                Body::Command {
                    service,
                    cid,
                    kind,
                    info,
                },
            );
            let command = CidId { service, cid };
            self.outstanding.push(Outstanding {
                id,
                command,
                deadline: now + timeout,
                timeout,
            });
        }
    }

    /// Tells the function that a command is cancelled, or takes it back if it was not sent yet.
    fn withdraw(&mut self, id: u32) {
        let before = self.transmit.len();
        self.transmit.retain(|(of, _)| *of != id);
        let unsent = before != self.transmit.len() && self.sending != Some(id);
        if !unsent {
            self.queue_message(id, Body::HostError(ProtocolError::CANCEL));
        }
    }

    /// Ends every command with `error`.
    fn abandon(&mut self, error: &CommandError) {
        let outstanding = self.outstanding.drain(..).map(|outstanding| outstanding.id);
        let queued = self.queue.drain(..).map(|queued| queued.id);
        for id in outstanding.chain(queued) {
            self.events.push_back(Event::Response {
                id,
                result: Err(error.clone()),
            });
        }
    }

    /// Ends the outstanding command with this transaction id. Returns whether there is one.
    pub(super) fn finish(&mut self, id: u32, result: Result<Response, CommandError>) -> bool {
        let Some(index) = self
            .outstanding
            .iter()
            .position(|outstanding| outstanding.id.0 == id)
        else {
            return false;
        };
        let id = self.outstanding.remove(index).id;
        self.events.push_back(Event::Response { id, result });
        true
    }

    pub(super) fn closed(&mut self, confirmed: bool) {
        self.phase = Phase::Closed;
        self.transmit.clear();
        self.reassembler.clear();
        self.reads.reset();
        self.events.push_back(Event::Closed { confirmed });
    }
}
