//! Control messages that a program sends as they are, and the modem's messages that it is told of.
//!
//! They go out between whole messages of the driver's own. No command of the driver is given one of
//! their transaction ids, and they are refused while a command has one, so that each answer belongs
//! to one side alone: answers with the id of a command are the driver's, and the program is told of
//! every other. The control session counts those as astray and drops them.

use std::time::Instant;

use uwwan_mbim::message::Header;
use uwwan_mbim::session::State;
use uwwan_usb::error::Error as UsbError;
use uwwan_usb::requests;

use super::Control;
use super::raw_senders::RawSender;
use crate::failure::{Failure, FailureKind};
use crate::kind::Kind;
use crate::raw::{Raw, To};

/// Type of an indication (MBIM 1.0, 9.1).
const INDICATE_STATUS: u32 = 0x8000_0007;

impl Control {
    /// Sends bytes as they are.
    pub(super) fn send_raw(&mut self, raw: Raw) {
        match raw.to {
            To::Control => self.send_raw_control(raw),
            To::Data => match self.device.as_ref().and_then(|held| held.reactor()) {
                Some(reactor) => reactor.send_raw(raw),
                None => {
                    let why = refused("no data session is online");
                    raw.teller.fail(why.of(FailureKind::NotOpen));
                }
            },
        }
    }

    fn send_raw_control(&mut self, raw: Raw) {
        let Raw {
            transfers,
            wait,
            mut teller,
            ..
        } = raw;
        if let Some(why) = self.refusal(&transfers) {
            return teller.fail(why);
        }
        while self.control_session.is_sending() && self.transfer() {}
        let Some(held) = &self.device else {
            return teller.fail(refused("the device is gone"));
        };
        let device = std::sync::Arc::clone(&held.device);
        let interface = held.function.control_interface;
        let mut ids: Vec<u32> = transfers.iter().map(|bytes| transaction(bytes)).collect();
        ids.sort_unstable();
        ids.dedup();
        tracing::debug!("{} control messages of a program's own", transfers.len());
        let ids_of_all = self.raw_senders.0.iter().flat_map(|other| other.ids.iter());
        let ids_of_all = ids_of_all.chain(&ids).copied().collect();
        self.control_session.set_foreign(ids_of_all);
        teller.begin(Instant::now(), wait);
        for (number, bytes) in transfers.iter().enumerate() {
            let sent = requests::send_encapsulated(&*device, interface, bytes);
            let gone = matches!(sent, Err(UsbError::Gone { .. }));
            teller.sent(
                number,
                bytes.len(),
                sent.err().map(|error| error.to_string()),
            );
            if gone {
                // The control session's own transfers find the same error.
                teller.fail(refused("the device is gone"));
                return self.attend_foreign();
            }
        }
        self.raw_senders.0.push(RawSender { teller, ids });
    }

    /// Returns the reason why messages cannot be sent at present.
    fn refusal(&self, transfers: &[Vec<u8>]) -> Option<Failure> {
        let mbim = self
            .device
            .as_ref()
            .and_then(|held| match held.function.kind {
                Kind::Mbim {
                    max_control_message,
                    ..
                } => Some(usize::from(max_control_message)),
                _ => None,
            });
        let Some(longest) = mbim else {
            return Some(refused("there is no MBIM function"));
        };
        if self.control_session.state() != State::Open {
            let why = refused("the control session is not open at present");
            return Some(why.of(FailureKind::NotOpen));
        }
        if self.raw_senders.is_full() {
            return Some(refused("too many programs send bytes at a time").of(FailureKind::Busy));
        }
        let taken = transfers.iter().map(|bytes| transaction(bytes));
        let taken = taken
            .filter(|id| *id != 0)
            .find(|id| self.control_session.is_taken(*id));
        if let Some(id) = taken {
            let why = format!("transaction {id} is a command that is still without an answer");
            return Some(
                refused(&why)
                    .of(FailureKind::Busy)
                    .next("try again, or choose another transaction id"),
            );
        }
        // No backend carries more in one control transfer.
        let most = longest.max(4096);
        let long = transfers
            .iter()
            .map(Vec::len)
            .find(|length| *length > most)?;
        Some(
            refused(&format!(
                "{length} bytes are more than {most}",
                length = long
            ))
            .of(FailureKind::Usage)
            .next("send fragments, one transfer each"),
        )
    }

    /// Passes on the message that the last read brought, of which `length` bytes are in the control
    /// buffer, unless it is the answer to a command or an indication.
    pub(super) fn pass_to_raw_senders(&mut self, length: usize) {
        let bytes = &self.control_buffer[..length];
        if self.raw_senders.0.is_empty() || bytes.is_empty() {
            return;
        }
        let id = transaction(bytes);
        let indication = word(bytes, 0) == Some(INDICATE_STATUS);
        if indication && Header::parse(bytes).is_ok()
            || id != 0 && self.control_session.is_taken(id)
        {
            return;
        }
        let now = Instant::now();
        self.raw_senders.0.retain_mut(|sender| {
            let answers = id != 0 && sender.ids.contains(&id);
            sender.teller.came(now, bytes, answers)
        });
        self.attend_foreign();
    }

    /// Removes the programs whose time to wait is over.
    pub(super) fn drop_expired_raw_senders(&mut self, now: Instant) {
        let before = self.raw_senders.0.len();
        self.raw_senders
            .0
            .retain(|sender| sender.teller.until() > now);
        if self.raw_senders.0.len() != before {
            self.attend_foreign();
        }
    }

    /// Removes all programs because the control session ends.
    pub(super) fn drop_all_raw_senders(&mut self, why: &str) {
        for sender in self.raw_senders.0.drain(..) {
            sender.teller.fail(refused(why).of(FailureKind::Gone));
        }
        self.attend_foreign();
    }

    fn attend_foreign(&mut self) {
        let ids = self
            .raw_senders
            .0
            .iter()
            .flat_map(|sender| sender.ids.iter());
        self.control_session.set_foreign(ids.copied().collect());
    }
}

/// Returns the transaction id of a message, or 0 where it is too short to have one.
fn transaction(bytes: &[u8]) -> u32 {
    word(bytes, 8).unwrap_or(0)
}

/// Returns the little-endian 32-bit word at an offset in bytes.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*field))
}

fn refused(why: &str) -> Failure {
    Failure::new(FailureKind::Other, "cannot send the bytes").because(why)
}
