//! The MBIM control function: messages come in, and messages and notifications go out. It is
//! sans-IO.
//!
//! # Theory of operation
//!
//! Each SEND_ENCAPSULATED_COMMAND brings one message or fragment. Commands are executed at once.
//! Their answers may be delayed by knobs; they wait in `due` and then move, cut into fragments, to
//! the outbox, from which GET_ENCAPSULATED_RESPONSE takes one at a time. Every entry of the outbox
//! is announced by a RESPONSE_AVAILABLE of its own.

mod commands;
mod context;
mod contexts;
mod fcc;
mod messages;
mod outcome;
mod phonebook;
mod pin;
mod state;
mod subscriptions;
mod ussd;

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use uwwan_mbim::fragment::{FragmentError, Limits, Reassembler};
use uwwan_mbim::message::{Body, CommandKind, HEADER, Header, Message, MessageError, MessageType};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect;
use uwwan_mbim::status::{ProtocolError, Status};

use crate::firmware::{Change, Firmware};
use crate::knobs::Knobs;
use crate::random::Random;
use crate::report::Rule;
use crate::rules::Answer;

use commands::Commands;
pub(crate) use context::MbimContext;
use outcome::Outcome;

/// Returns wMaxControlMessage of the functional descriptor, in bytes: 64 is the least that MBIM
/// allows, and no module has more than 4096.
fn max_control(knobs: &Knobs) -> usize {
    usize::from(knobs.max_control_message).clamp(64, 4096)
}

/// Value of bMaxOutstandingCommandMessages in the extended functional descriptor.
const MAX_OUTSTANDING: usize = 16;
/// Number of commands under way from which further ones are refused as busy. The firmware tolerates
/// a host that exceeds `MAX_OUTSTANDING` up to this number.
const MOST_OUTSTANDING: usize = 4 * MAX_OUTSTANDING;
/// Number of fragments waiting for the host from which indications are dropped; at twice that,
/// answers are dropped, too.
const MAX_OUTBOX: usize = 1024;
/// Number of notifications waiting for the host from which further ones are dropped.
const MAX_NOTIFICATIONS: usize = 4096;

/// State of the MBIM function.
#[derive(Debug)]
pub(crate) struct MbimFunction {
    control_interface: u8,
    /// Whether nothing is ever answered, because the switch came directly from another
    /// configuration.
    silent: bool,
    /// Time at which the configuration was selected.
    selected: Instant,
    /// Whether a control session is open.
    open: bool,
    /// An OPEN that is answered later: the time, its transaction id, and the fragment size in
    /// bytes.
    opening: Option<(Instant, u32, usize)>,
    /// Length in bytes of the longest fragment that the host takes.
    max_fragment: usize,
    /// Whether an earlier host has left the control session open.
    left_open: bool,
    /// Time at which the control session was opened.
    opened: Option<Instant>,
    reassembler: Reassembler,
    /// Transaction ids of commands under way.
    outstanding: BTreeSet<u32>,
    /// Answers, each with the time at which it is due.
    due: Vec<(Instant, Message)>,
    /// Fragments that wait for the host.
    outbox: VecDeque<Vec<u8>>,
    /// Number of notifications owed.
    notifications: usize,
    /// Number of fragments announced, for the knob that loses notifications.
    notified: u64,
    /// Number of messages sent, for the knob that sends garbage.
    sent: u64,
    commands: Commands,
    random: Random,
}

impl MbimFunction {
    /// Makes a function whose configuration has just been selected.
    pub fn new(control_interface: u8, silent: bool, knobs: &Knobs, now: Instant) -> Self {
        Self {
            control_interface,
            silent,
            selected: now,
            open: false,
            opening: None,
            max_fragment: max_control(knobs),
            left_open: knobs.left_open,
            opened: None,
            reassembler: Reassembler::new(Limits {
                messages: 4,
                message_bytes: 16 << 10,
                ..Limits::default()
            }),
            outstanding: BTreeSet::new(),
            due: Vec::new(),
            outbox: VecDeque::new(),
            notifications: 0,
            notified: 0,
            sent: 0,
            commands: Commands::new(knobs, now),
            random: Random::new(knobs.seed ^ 2),
        }
    }

    /// Closes the function, as RESET_FUNCTION and alternate setting 0 of the data interface do.
    pub fn reset(&mut self, firmware: &mut Firmware, knobs: &Knobs, now: Instant) {
        if self.open {
            firmware.disconnect_all();
        }
        let (silent, selected, left_open) = (self.silent, self.selected, self.left_open);
        *self = Self::new(self.control_interface, silent, knobs, now);
        self.selected = selected;
        self.left_open = left_open;
    }

    /// Takes a message or fragment (SEND_ENCAPSULATED_COMMAND).
    pub fn send(&mut self, bytes: &[u8], context: &mut MbimContext<'_>) {
        if self.silent {
            return;
        }
        self.expire(context);
        let max_control = max_control(context.knobs);
        if bytes.len() > max_control {
            let transaction = transaction_of(bytes);
            self.refuse(transaction, ProtocolError::MAX_TRANSFER, context, || {
                format!(
                    "control message of {} bytes, {max_control} allowed",
                    bytes.len()
                )
            });
            return;
        }
        let assembled = match Header::parse(bytes) {
            Ok(header) if header.length != bytes.len() => Err((
                ProtocolError::LENGTH_MISMATCH,
                format!(
                    "MessageLength {} in a transfer of {}",
                    header.length,
                    bytes.len()
                ),
            )),
            Ok(header) if !self.open && header.kind == MessageType::COMMAND => Err((
                ProtocolError::NOT_OPENED,
                "command to a function that is not open".to_owned(),
            )),
            Err(error @ MessageError::UnknownType(_)) => {
                Err((ProtocolError::UNKNOWN, error.to_string()))
            }
            Err(error) => Err((ProtocolError::LENGTH_MISMATCH, error.to_string())),
            Ok(_) => match self.reassembler.push(context.now, bytes) {
                Ok(whole) => Ok(whole),
                Err(error) => {
                    let code = match &error {
                        FragmentError::OutOfSequence { .. } => {
                            ProtocolError::FRAGMENT_OUT_OF_SEQUENCE
                        }
                        FragmentError::TooLarge { .. } => ProtocolError::MAX_TRANSFER,
                        FragmentError::Message(_) => ProtocolError::LENGTH_MISMATCH,
                    };
                    Err((code, error.to_string()))
                }
            },
        };
        match assembled {
            Ok(None) => {}
            Ok(Some(message)) => self.message(message, context),
            Err((code, why)) => self.refuse(transaction_of(bytes), code, context, || why),
        }
    }

    /// Puts the oldest message or fragment into `room` (GET_ENCAPSULATED_RESPONSE) and returns its
    /// length in bytes, 0 when there is none.
    pub fn get(&mut self, room: &mut [u8], context: &mut MbimContext<'_>) -> usize {
        let Some(fragment) = self.outbox.pop_front() else {
            return 0;
        };
        if room.len() < fragment.len() {
            let max_control = max_control(context.knobs);
            context.recorder.violation(Rule::Control, || {
                format!(
                    "GET_ENCAPSULATED_RESPONSE of {} bytes for a message of {}; wMaxControlMessage is {max_control}",
                    room.len(),
                    fragment.len()
                )
            });
        }
        let length = room.len().min(fragment.len());
        room[..length].copy_from_slice(&fragment[..length]);
        length
    }

    /// Returns a RESPONSE_AVAILABLE notification for the interrupt endpoint, if one is owed.
    pub fn take_notification(&mut self) -> Option<[u8; 8]> {
        self.notifications = self.notifications.checked_sub(1)?;
        Some([0xa1, 0x01, 0, 0, self.control_interface, 0, 0, 0])
    }

    /// Sends answers and indications that are due.
    pub fn advance(&mut self, context: &mut MbimContext<'_>) {
        if self.silent {
            return;
        }
        self.expire(context);
        let now = context.now;
        if let Some((at, transaction, max_fragment)) = self.opening
            && at <= now
        {
            self.opening = None;
            self.opened(transaction, max_fragment, context);
        }
        while let Some(at) = self
            .due
            .iter()
            .enumerate()
            .filter(|(_, (at, _))| *at <= now)
            .min_by_key(|(_, (at, _))| *at)
            .map(|(index, _)| index)
        {
            let (_, message) = self.due.remove(at);
            self.answer(message, context);
        }
        if self.open {
            for (id, info) in self.commands.subscriptions.periodic(context) {
                self.indicate(id, info, context);
            }
        }
    }

    /// Returns when [`MbimFunction::advance`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        if self.silent {
            return None;
        }
        let opening = self.opening.map(|(at, _, _)| at);
        let due = self.due.iter().map(|(at, _)| *at).min();
        let periodic = self
            .open
            .then(|| self.commands.subscriptions.deadline())
            .flatten();
        [opening, due, periodic, self.reassembler.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Indicates a change of the firmware, if the host has subscribed to it.
    pub fn announce(&mut self, change: Change, context: &mut MbimContext<'_>) {
        if !self.open || self.silent {
            return;
        }
        if let Some((id, info)) = subscriptions::of(change, context) {
            self.indicate(id, info, context);
        }
    }

    fn indicate(&mut self, id: CidId, info: Vec<u8>, context: &mut MbimContext<'_>) {
        if self.commands.subscriptions.wants(id) && self.outbox.len() < MAX_OUTBOX {
            self.post(
                &Message {
                    transaction: 0,
                    body: Body::Indication {
                        service: id.service,
                        cid: id.cid,
                        info,
                    },
                },
                context,
            );
        }
    }

    /// Refuses messages whose fragments took too long.
    fn expire(&mut self, context: &mut MbimContext<'_>) {
        for transaction in self.reassembler.expire(context.now) {
            self.refuse(
                transaction,
                ProtocolError::TIMEOUT_FRAGMENT,
                context,
                || "more than 1250 ms between fragments".to_owned(),
            );
        }
    }

    /// Sends a FUNCTION_ERROR and records why.
    fn refuse(
        &mut self,
        transaction: u32,
        error: ProtocolError,
        context: &mut MbimContext<'_>,
        why: impl FnOnce() -> String,
    ) {
        context.recorder.violation(Rule::Control, || {
            format!("{} (transaction {transaction}: {error})", why())
        });
        self.post(
            &Message {
                transaction,
                body: Body::FunctionError(error),
            },
            context,
        );
    }

    fn message(&mut self, message: Message, context: &mut MbimContext<'_>) {
        context.counters.messages_out += 1;
        let Message { transaction, body } = message;
        if transaction == 0 && !matches!(body, Body::HostError(_)) {
            context.recorder.violation(Rule::Control, || {
                "transaction id 0, which is for indications".to_owned()
            });
        }
        match body {
            Body::Open {
                max_control_transfer,
            } => self.open(transaction, max_control_transfer, context),
            Body::Close => {
                self.close(context);
                self.post(
                    &Message {
                        transaction,
                        body: Body::CloseDone(Status::NONE),
                    },
                    context,
                );
            }
            Body::HostError(error) => {
                if error == ProtocolError::CANCEL {
                    self.outstanding.remove(&transaction);
                    self.due
                        .retain(|(_, message)| message.transaction != transaction);
                }
            }
            Body::Command {
                service,
                cid,
                kind,
                info,
            } => {
                if !self.outstanding.insert(transaction) {
                    self.refuse(transaction, ProtocolError::DUPLICATED_TID, context, || {
                        "transaction id of a command still under way".to_owned()
                    });
                    return;
                }
                if self.outstanding.len() > MAX_OUTSTANDING {
                    context.recorder.violation(Rule::Control, || {
                        format!("more than {MAX_OUTSTANDING} commands under way")
                    });
                }
                let id = CidId { service, cid };
                let patience = Duration::from_millis(context.knobs.busy_ms);
                let busy = self.opened.is_some_and(|at| context.now < at + patience);
                let outcome = if busy || self.outstanding.len() > MOST_OUTSTANDING {
                    Some(Outcome::refused(Status::BUSY))
                } else {
                    self.outcome(id, kind, &info, context)
                };
                let Some(outcome) = outcome else {
                    self.outstanding.remove(&transaction);
                    return;
                };
                let message = Message {
                    transaction,
                    body: Body::CommandDone {
                        service,
                        cid,
                        status: outcome.status,
                        info: outcome.info,
                    },
                };
                if outcome.delay.is_zero() {
                    self.answer(message, context);
                } else {
                    self.due.push((context.now + outcome.delay, message));
                }
            }
            Body::OpenDone(_)
            | Body::CloseDone(_)
            | Body::CommandDone { .. }
            | Body::FunctionError(_)
            | Body::Indication { .. } => {
                self.refuse(transaction, ProtocolError::UNKNOWN, context, || {
                    "a message only a function may send".to_owned()
                });
            }
        }
    }

    /// Returns the outcome of a command, by a rule or else by the firmware. `None` is silence.
    fn outcome(
        &mut self,
        id: CidId,
        kind: CommandKind,
        info: &[u8],
        context: &mut MbimContext<'_>,
    ) -> Option<Outcome> {
        let Some(reply) = context.rules.mbim(id, kind, info, context.now) else {
            return Some(self.commands.execute(id, kind, info, context));
        };
        if reply.answer.succeeds() {
            let own = self.commands.execute(id, kind, info, context);
            // A data session that is down has no addresses, whatever a rule says.
            if id == basic_connect::IP_CONFIGURATION && own.status == Status::CONTEXT_NOT_ACTIVATED
            {
                return Some(own);
            }
        }
        match reply.answer {
            Answer::Mbim { status, info } => Some(Outcome {
                status,
                info,
                delay: reply.after,
            }),
            _ => None,
        }
    }

    /// Returns whether a control session is open.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Sends an indication, whether the host has subscribed to it or not.
    pub fn indicate_anyway(&mut self, id: CidId, info: Vec<u8>, context: &mut MbimContext<'_>) {
        if self.open && !self.silent && self.outbox.len() < MAX_OUTBOX {
            let CidId { service, cid } = id;
            let body = Body::Indication { service, cid, info };
            let message = Message {
                transaction: 0,
                body,
            };
            self.post(&message, context);
        }
    }

    fn open(&mut self, transaction: u32, max_control_transfer: u32, context: &mut MbimContext<'_>) {
        if context.data_alternate == 0 {
            context.recorder.violation(Rule::Setup, || {
                "MBIM_OPEN before the data interface's alternate setting 1 was selected".to_owned()
            });
        }
        if max_control_transfer < 64 {
            context.recorder.violation(Rule::Control, || {
                format!("MaxControlTransfer {max_control_transfer}, at least 64 required")
            });
        }
        let max_control = max_control(context.knobs);
        let max_fragment = usize::try_from(max_control_transfer)
            .unwrap_or(max_control)
            .clamp(64, max_control);
        let ready = self.selected + Duration::from_millis(context.knobs.slow_open_ms);
        if ready > context.now {
            // The firmware is still starting, and will answer the latest OPEN only.
            self.opening = Some((ready, transaction, max_fragment));
        } else {
            self.opened(transaction, max_fragment, context);
        }
    }

    fn opened(&mut self, transaction: u32, max_fragment: usize, context: &mut MbimContext<'_>) {
        // An OPEN to an open function closes it first.
        self.close(context);
        let knobs = context.knobs;
        if knobs.input_size_first && !context.input_size_told
            || knobs.open_needs_alternate && context.data_alternate == 0
        {
            let body = Body::OpenDone(Status::FAILURE);
            self.post(&Message { transaction, body }, context);
            return;
        }
        if std::mem::take(&mut self.left_open) {
            let body = Body::CloseDone(Status::NONE);
            self.post(&Message { transaction, body }, context);
            return;
        }
        self.opened = Some(context.now);
        self.open = true;
        self.max_fragment = max_fragment;
        self.commands.opened(context);
        for extra in 0..=u32::from(context.knobs.stray_open_done) {
            self.post(
                &Message {
                    transaction: transaction.wrapping_add(extra),
                    body: Body::OpenDone(Status::NONE),
                },
                context,
            );
        }
    }

    fn close(&mut self, context: &mut MbimContext<'_>) {
        if self.open {
            context.firmware.disconnect_all();
        }
        self.open = false;
        self.opening = None;
        self.outstanding.clear();
        self.due.clear();
        self.reassembler.clear();
        self.outbox.clear();
        self.notifications = 0;
    }

    /// Queues the answer to a command.
    fn answer(&mut self, message: Message, context: &mut MbimContext<'_>) {
        self.outstanding.remove(&message.transaction);
        self.post(&message, context);
    }

    /// Puts a message into the outbox.
    fn post(&mut self, message: &Message, context: &mut MbimContext<'_>) {
        if self.silent || self.outbox.len() >= 2 * MAX_OUTBOX {
            return;
        }
        context.counters.messages_in += 1;
        self.sent += 1;
        let every = u64::from(context.knobs.garbage_response_every);
        for fragment in message.encode(self.max_fragment) {
            if every != 0 && self.sent.is_multiple_of(every) {
                let mut garbage = vec![0; fragment.len()];
                self.random.fill(&mut garbage);
                self.enqueue(garbage, context.knobs);
            }
            self.enqueue(fragment, context.knobs);
        }
    }

    fn enqueue(&mut self, fragment: Vec<u8>, knobs: &Knobs) {
        self.outbox.push_back(fragment);
        self.notified += 1;
        let every = u64::from(knobs.lose_notification_every);
        if every == 0 || !self.notified.is_multiple_of(every) {
            let owed = 1 + usize::from(knobs.notification_storm);
            self.notifications = (self.notifications + owed).min(MAX_NOTIFICATIONS);
        }
    }
}

/// Returns the transaction id of a message; 0 when it has none.
fn transaction_of(bytes: &[u8]) -> u32 {
    bytes
        .get(8..HEADER)
        .and_then(|id| id.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
mod tests;
