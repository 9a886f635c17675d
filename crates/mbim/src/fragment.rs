//! Reassembly of received messages from their fragments.
//!
//! The first fragment is number 0, each further one is one more, and a gap is a protocol error
//! (MBIM 1.0 section 9.1). Fragments of different transactions may interleave, so incomplete
//! messages are kept by transaction id. Host transactions and indications are kept apart, because
//! their ids are unrelated.

use std::time::{Duration, Instant};

use crate::message::{FRAGMENT_HEADER, Header, Message, MessageError, MessageType};
use crate::status::ProtocolError;

/// Longest pause between two fragments of one message (MBIM 1.0 section 9.1).
pub(crate) const FRAGMENT_TIMEOUT: Duration = Duration::from_millis(1250);

/// Bounds on what a [`Reassembler`] keeps.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest number of incomplete messages kept at a time, for host transactions and for
    /// indications each.
    pub messages: usize,
    /// Largest number of bytes in one message.
    pub message_bytes: usize,
    /// Longest pause between two fragments of a message.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages: 16,
            message_bytes: 128 * 1024,
            timeout: FRAGMENT_TIMEOUT,
        }
    }
}

/// Reason why a fragment was refused; the message it belongs to is dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// The bytes are no message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A fragment is missing, repeated or contradicts the first one.
    #[error(
        "transaction {transaction}: fragment {current} of {total} received where {expected} was due"
    )]
    OutOfSequence {
        /// Id of the transaction.
        transaction: u32,
        /// Number of the fragment received.
        current: u32,
        /// Number of fragments that the received one states.
        total: u32,
        /// Number of the fragment that was due.
        expected: u32,
    },
    /// The message grows beyond the limit.
    #[error("transaction {transaction}: fragments add up to more than {limit} bytes")]
    TooLarge {
        /// Id of the transaction.
        transaction: u32,
        /// The limit in bytes.
        limit: usize,
    },
}

impl FragmentError {
    /// Returns the id of the transaction and the error to report to the sender in a HOST_ERROR, if
    /// one is due.
    #[must_use]
    pub const fn report(&self) -> Option<(u32, ProtocolError)> {
        match self {
            Self::Message(_) => None,
            Self::OutOfSequence { transaction, .. } => {
                Some((*transaction, ProtocolError::FRAGMENT_OUT_OF_SEQUENCE))
            }
            Self::TooLarge { transaction, .. } => Some((*transaction, ProtocolError::MAX_TRANSFER)),
        }
    }
}

/// Message that was put together from its fragments, without its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// Type of the message.
    pub kind: MessageType,
    /// Id of the transaction.
    pub transaction: u32,
    /// Bytes behind the header, and behind the fragment header where the type has one.
    pub payload: Vec<u8>,
}

impl Assembled {
    /// Returns the encoded message in one piece, as a single fragment.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let length = FRAGMENT_HEADER + self.payload.len();
        let mut whole = Vec::with_capacity(length);
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        for word in [self.kind.0, length, self.transaction, 1, 0] {
            whole.extend_from_slice(&word.to_le_bytes());
        }
        whole.extend_from_slice(&self.payload);
        whole
    }
}

#[derive(Debug)]
struct Partial {
    kind: MessageType,
    transaction: u32,
    total: u32,
    next: u32,
    payload: Vec<u8>,
    touched: Instant,
}

/// Puts fragments together, within [`Limits`].
#[derive(Debug)]
pub struct Reassembler {
    limits: Limits,
    host: Vec<Partial>,
    indications: Vec<Partial>,
    dropped: u64,
}

impl Default for Reassembler {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Reassembler {
    /// Makes a reassembler with these bounds.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            host: Vec::new(),
            indications: Vec::new(),
            dropped: 0,
        }
    }

    /// Takes one message or fragment. Returns the message when it is complete.
    ///
    /// # Errors
    /// When the bytes are no message, or the fragment does not continue its message.
    pub fn push(&mut self, now: Instant, bytes: &[u8]) -> Result<Option<Message>, FragmentError> {
        match self.push_raw(now, bytes)? {
            Some(whole) => Ok(Some(Message::from_parts(
                whole.kind,
                whole.transaction,
                &whole.payload,
            )?)),
            None => Ok(None),
        }
    }

    /// Takes one message or fragment as [`Reassembler::push`] does, and returns a complete message
    /// without decoding its body.
    ///
    /// # Errors
    /// The same errors as those of [`Reassembler::push`].
    pub fn push_raw(
        &mut self,
        now: Instant,
        bytes: &[u8],
    ) -> Result<Option<Assembled>, FragmentError> {
        let header = Header::parse(bytes)?;
        let Header {
            kind,
            transaction,
            total,
            current,
            length,
        } = header;
        let body = if kind.is_fragmented() {
            FRAGMENT_HEADER
        } else {
            crate::message::HEADER
        };
        let payload = &bytes[body..length];
        if total == 1 {
            return Ok(Some(Assembled {
                kind,
                transaction,
                payload: payload.to_vec(),
            }));
        }
        self.expire(now);
        let limits = self.limits;
        let table = if kind == MessageType::INDICATE_STATUS {
            &mut self.indications
        } else {
            &mut self.host
        };
        let found = table
            .iter()
            .position(|partial| partial.transaction == transaction && partial.kind == kind);
        let out_of_sequence = |expected| FragmentError::OutOfSequence {
            transaction,
            current,
            total,
            expected,
        };
        let index = match found {
            // A first fragment starts over, because its sender has given up the message before.
            Some(index) if current == 0 => {
                table.swap_remove(index);
                self.dropped += 1;
                None
            }
            other => other,
        };
        let index = match index {
            Some(index) => index,
            None if current != 0 => return Err(out_of_sequence(0)),
            None => {
                if table.len() >= limits.messages {
                    let oldest = (0..table.len())
                        .min_by_key(|&i| table[i].touched)
                        .unwrap_or(0);
                    table.swap_remove(oldest);
                    self.dropped += 1;
                }
                table.push(Partial {
                    kind,
                    transaction,
                    total,
                    next: 0,
                    payload: Vec::new(),
                    touched: now,
                });
                table.len() - 1
            }
        };
        let partial = &mut table[index];
        if partial.next != current || partial.total != total {
            let expected = partial.next;
            table.swap_remove(index);
            self.dropped += 1;
            return Err(out_of_sequence(expected));
        }
        if partial.payload.len() + payload.len() > limits.message_bytes {
            table.swap_remove(index);
            self.dropped += 1;
            return Err(FragmentError::TooLarge {
                transaction,
                limit: limits.message_bytes,
            });
        }
        partial.payload.extend_from_slice(payload);
        partial.next += 1;
        partial.touched = now;
        if partial.next < total {
            return Ok(None);
        }
        let done = table.swap_remove(index);
        Ok(Some(Assembled {
            kind,
            transaction,
            payload: done.payload,
        }))
    }

    /// Drops messages whose next fragment is overdue and returns the ids of the host transactions
    /// among them (each is owed a HOST_ERROR with [`ProtocolError::TIMEOUT_FRAGMENT`]).
    pub fn expire(&mut self, now: Instant) -> Vec<u32> {
        let timeout = self.limits.timeout;
        let overdue = |partial: &Partial| now.saturating_duration_since(partial.touched) > timeout;
        let before = self.host.len() + self.indications.len();
        let expired = self
            .host
            .iter()
            .filter(|p| overdue(p))
            .map(|p| p.transaction)
            .collect();
        self.host.retain(|partial| !overdue(partial));
        self.indications.retain(|partial| !overdue(partial));
        self.dropped += (before - self.host.len() - self.indications.len()) as u64;
        expired
    }

    /// Returns when [`Reassembler::expire`] is due, or `None` when no fragments are pending.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let touched = self
            .host
            .iter()
            .chain(&self.indications)
            .map(|partial| partial.touched)
            .min()?;
        // The deadline is one step past the limit, so that `expire` at this instant does drop the
        // message.
        touched.checked_add(self.limits.timeout + Duration::from_millis(1))
    }

    /// Returns the number of incomplete messages dropped so far.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns the number of bytes held for incomplete messages.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.host
            .iter()
            .chain(&self.indications)
            .map(|partial| partial.payload.len())
            .sum()
    }

    /// Drops all incomplete messages without counting them.
    pub fn clear(&mut self) {
        self.host.clear();
        self.indications.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Body;
    use crate::status::Status;
    use crate::uuid::Uuid;

    fn message(transaction: u32, fill: u8, length: usize) -> Message {
        let service = Uuid::literal("a289cc33-bcbb-8b4f-b6b0-133ec2aae6df");
        let body = if transaction == 0 {
            Body::Indication {
                service,
                cid: 9,
                info: vec![fill; length],
            }
        } else {
            Body::CommandDone {
                service,
                cid: 16,
                status: Status::NONE,
                info: vec![fill; length],
            }
        };
        Message { transaction, body }
    }

    #[test]
    fn interleaved_messages_come_together() {
        let now = Instant::now();
        let mut reassembler = Reassembler::default();
        let (a, b, c) = (message(5, 1, 300), message(6, 2, 300), message(0, 3, 310));
        let parts: Vec<_> = [&a, &b, &c].iter().map(|m| m.encode(128)).collect();
        let mut done = Vec::new();
        for step in 0..parts[0].len() {
            for one in &parts {
                done.extend(reassembler.push(now, &one[step]).unwrap());
            }
        }
        assert_eq!(done, [a, b, c]);
        assert_eq!((reassembler.held_bytes(), reassembler.dropped()), (0, 0));
    }

    #[test]
    fn gaps_and_repeats_drop_the_message() {
        let now = Instant::now();
        for order in [[0, 2], [0, 0], [1, 2]] {
            let mut reassembler = Reassembler::default();
            let parts = message(5, 1, 300).encode(128);
            let results: Vec<_> = order
                .iter()
                .map(|&i| reassembler.push(now, &parts[i]))
                .collect();
            if order == [0, 0] {
                assert!(
                    results.iter().all(|r| r == &Ok(None)),
                    "a new start replaces the old one"
                );
                continue;
            }
            let error = results.into_iter().find_map(Result::err).unwrap();
            assert_eq!(
                error.report(),
                Some((5, ProtocolError::FRAGMENT_OUT_OF_SEQUENCE))
            );
            assert_eq!(reassembler.held_bytes(), 0);
        }
    }

    #[test]
    fn late_fragments_expire() {
        let start = Instant::now();
        let mut reassembler = Reassembler::default();
        let parts = message(5, 1, 300).encode(128);
        assert_eq!(reassembler.push(start, &parts[0]), Ok(None));
        let deadline = reassembler.deadline().unwrap();
        assert_eq!(
            reassembler.expire(start + FRAGMENT_TIMEOUT),
            Vec::<u32>::new()
        );
        assert_eq!(reassembler.expire(deadline), vec![5]);
        assert!(reassembler.push(deadline, &parts[1]).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let now = Instant::now();
        let limits = Limits {
            messages: 4,
            message_bytes: 1000,
            ..Limits::default()
        };
        let mut reassembler = Reassembler::new(limits);
        for transaction in 1..1000 {
            reassembler
                .push(now, &message(transaction, 1, 300).encode(128)[0])
                .unwrap();
        }
        assert!(reassembler.held_bytes() <= 4 * 1000);
        let endless = message(2000, 1, 5000).encode(128);
        let error = endless
            .iter()
            .find_map(|part| reassembler.push(now, part).err())
            .unwrap();
        assert_eq!(
            error,
            FragmentError::TooLarge {
                transaction: 2000,
                limit: 1000
            }
        );
    }
}
