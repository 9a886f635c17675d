//! Handling of each type of message from the function in each phase.

use std::time::Instant;

use super::machine::{Awaited, ControlSession, MOST_RECLOSES, MOST_REFUSALS, Outstanding, Phase};
use super::types::{CommandError, Event, OpenError, Response};
use crate::fragment::FragmentError;
use crate::message::{Body, Message};
use crate::registry::CidId;
use crate::status::{ProtocolError, Status};

/// Smallest control transfer that MBIM allows, in bytes (MBIM 1.0 section 6.4).
const LEAST_CONTROL_MESSAGE: usize = 64;

impl ControlSession {
    pub(super) fn handle_garbage(&mut self, now: Instant, error: FragmentError) {
        self.counters.garbage += 1;
        let Some((transaction, code)) = error.report() else {
            return;
        };
        if transaction == 0 || !matches!(self.phase, Phase::Open) {
            return;
        }
        if self.finish(transaction, Err(CommandError::Fragments(error))) {
            self.queue_message(transaction, Body::HostError(code));
            self.start_queued(now);
        }
    }

    pub(super) fn receive(&mut self, now: Instant, message: Message) {
        let Message { transaction, body } = message;
        match body {
            Body::OpenDone(status) => self.receive_open_done(now, transaction, status),
            Body::CloseDone(_) => self.receive_close_done(now, transaction),
            Body::CommandDone {
                service,
                cid,
                status,
                info,
            } => {
                let matches =
                    |o: &Outstanding| o.id.0 == transaction && o.command == CidId { service, cid };
                if self.outstanding.iter().any(matches) {
                    let id = CidId { service, cid };
                    self.finish(transaction, Ok(Response { id, status, info }));
                    self.start_queued(now);
                } else {
                    self.counters.stray_answers += 1;
                }
            }
            Body::FunctionError(error) => self.receive_function_error(now, transaction, error),
            Body::Indication { service, cid, info } => {
                if matches!(self.phase, Phase::Open) {
                    self.counters.indications += 1;
                    self.push_indication(CidId { service, cid }, info);
                } else {
                    self.counters.early_indications += 1;
                }
            }
            Body::Open { .. } | Body::Close | Body::Command { .. } | Body::HostError(_) => {
                self.counters.unexpected += 1;
            }
        }
    }

    fn receive_open_done(&mut self, now: Instant, transaction: u32, status: Status) {
        let Phase::Opening(opening) = &mut self.phase else {
            self.counters.stray_open_done += 1;
            return;
        };
        match opening.awaited {
            Awaited::Open { id, .. } if id == transaction => {}
            _ => {
                self.counters.stray_open_done += 1;
                return;
            }
        }
        if status.is_success() {
            self.phase = Phase::Open;
            self.events.push_back(Event::Opened);
            return;
        }
        let passing = matches!(status, Status::BUSY | Status::NOT_INITIALIZED);
        self.refused(now, OpenError::Refused(status), passing);
    }

    /// Handles the refusal of an OPEN that named a larger control transfer than the function takes,
    /// whatever its descriptor says. An OPEN with a smaller size follows at once.
    fn offer_less(&mut self, now: Instant) {
        let refused = self.config.max_control_message;
        let smaller = match refused {
            0..=LEAST_CONTROL_MESSAGE => {
                return self.refused(now, OpenError::MaxTransfer(refused), false);
            }
            // Functions known to answer like this take 512 bytes (DWM-156, EM7345, LN930, L850).
            513.. => 512,
            _ => (refused / 2).max(LEAST_CONTROL_MESSAGE),
        };
        self.config.max_control_message = smaller;
        let Phase::Opening(mut opening) = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return;
        };
        opening.last = Some(OpenError::MaxTransfer(refused));
        self.send_open(now, &mut opening);
        self.phase = Phase::Opening(opening);
    }

    /// Handles the refusal of an OPEN. Another one follows after a pause, unless opening is given
    /// up.
    fn refused(&mut self, now: Instant, error: OpenError, passing: bool) {
        let Phase::Opening(opening) = &mut self.phase else {
            return;
        };
        opening.refusals += u32::from(!passing);
        opening.last = Some(error);
        if opening.refusals >= MOST_REFUSALS {
            self.phase = Phase::Closed;
            self.events.push_back(Event::OpenFailed(error));
            return;
        }
        let pause = self.config.open_try / 5;
        opening.awaited = Awaited::Pause { until: now + pause };
    }

    fn receive_close_done(&mut self, now: Instant, transaction: u32) {
        match &mut self.phase {
            Phase::Closing { id, .. } if *id == transaction => self.closed(true),
            Phase::Opening(opening) => match opening.awaited {
                Awaited::Close { id, .. } if id == transaction => {
                    let Phase::Opening(mut opening) =
                        std::mem::replace(&mut self.phase, Phase::Closed)
                    else {
                        return;
                    };
                    self.send_open(now, &mut opening);
                    self.phase = Phase::Opening(opening);
                }
                Awaited::Open { .. } if opening.recloses < MOST_RECLOSES => {
                    opening.recloses += 1;
                    self.counters.stray_close_done += 1;
                    let id = self.new_id();
                    let until = now + self.config.reclose_timeout;
                    if let Phase::Opening(opening) = &mut self.phase {
                        opening.awaited = Awaited::Close { id, until };
                    }
                    self.queue_message(id, Body::Close);
                }
                _ => self.counters.stray_close_done += 1,
            },
            _ => self.counters.stray_close_done += 1,
        }
    }

    fn receive_function_error(&mut self, now: Instant, transaction: u32, error: ProtocolError) {
        match &self.phase {
            Phase::Closing { id, .. } if *id == transaction => {
                // A function that is not open is closed, which is what was asked for.
                self.closed(error == ProtocolError::NOT_OPENED);
            }
            Phase::Opening(opening) => match opening.awaited {
                Awaited::Open { id, .. } if id == transaction => {
                    if error == ProtocolError::MAX_TRANSFER {
                        self.offer_less(now);
                    } else {
                        self.refused(now, OpenError::Protocol(error), true);
                    }
                }
                Awaited::Close { id, .. } if id == transaction => {
                    let Phase::Opening(mut opening) =
                        std::mem::replace(&mut self.phase, Phase::Closed)
                    else {
                        return;
                    };
                    self.send_open(now, &mut opening);
                    self.phase = Phase::Opening(opening);
                }
                _ => self.counters.stray_errors += 1,
            },
            Phase::Open => {
                if !self.finish(transaction, Err(CommandError::Function(error))) {
                    self.counters.stray_errors += 1;
                } else if error == ProtocolError::NOT_OPENED {
                    self.handle_lost("the modem says the control session is not open; it has restarted or was closed");
                } else {
                    self.start_queued(now);
                }
            }
            _ => self.counters.stray_errors += 1,
        }
    }

    /// Queues an indication. In a full queue it takes the place of the waiting one of its kind, or
    /// of the oldest indication. Answers are never dropped, because the number of commands bounds
    /// theirs.
    fn push_indication(&mut self, id: CidId, info: Vec<u8>) {
        if self.events.len() >= self.config.max_events {
            self.counters.indications_merged += 1;
            let of_kind = |event: &Event| matches!(event, Event::Indication { id: waiting, .. } if *waiting == id);
            let any = |event: &Event| matches!(event, Event::Indication { .. });
            let index = self
                .events
                .iter()
                .position(of_kind)
                .or_else(|| self.events.iter().position(any));
            match index {
                Some(index) => drop(self.events.remove(index)),
                None => return,
            }
        }
        self.events.push_back(Event::Indication { id, info });
    }
}
