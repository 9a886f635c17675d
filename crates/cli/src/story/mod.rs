//! The dialogue that a capture shows: reassembled MBIM messages, NTBs, AT lines and requests, each
//! with its time, and answers with their requests.
//!
//! Protocols are recognised by content alone (class requests, signatures), so that a capture
//! without descriptors is understood as well. Everything held has a bound.

mod entry;
pub mod filter;
pub mod form;
mod messages;
pub mod tell;

use std::io::Read;

use uwwan_capture::exchange::{Exchange, Pairing};
use uwwan_capture::read::{Packet, ReadError, Reader};
use uwwan_capture::transfer::Kind;

use crate::failure::{Failure, FailureKind};
pub use entry::{Entry, What};
use messages::Messages;

/// Largest number of entries that wait to be returned.
const MOST_WAITING: usize = 8192;

/// A capture that is read entry by entry.
pub struct Story<'a> {
    reader: Reader<'a>,
    pairing: Option<Pairing>,
    messages: Messages,
    waiting: std::collections::VecDeque<Entry>,
    /// Number of packets of a link type that carries no USB, or that cannot be read.
    pub skipped: u64,
    name: String,
}

impl<'a> Story<'a> {
    /// Begins to read a capture. Messages call it `name`.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] for anything but a capture.
    pub fn new(input: impl Read + Send + 'a, name: &str) -> Result<Self, Failure> {
        let reader = Reader::new(input).map_err(|error| unreadable(name, &error))?;
        Ok(Self {
            reader,
            pairing: Some(Pairing::default()),
            messages: Messages::default(),
            waiting: std::collections::VecDeque::new(),
            skipped: 0,
            name: name.to_owned(),
        })
    }

    /// Returns the next entry, or `None` at the end.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] where the capture is broken. The entries before that have been
    /// returned.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Failure> {
        loop {
            if let Some(entry) = self.waiting.pop_front() {
                return Ok(Some(entry));
            }
            let Some(pairing) = &mut self.pairing else {
                return Ok(None);
            };
            let packet = self.reader.next_packet();
            let packet = packet.map_err(|error| unreadable(&self.name, &error))?;
            match packet {
                Some(packet) => {
                    let ended = paired(pairing, &packet);
                    self.skipped += u64::from(ended.is_none());
                    for exchange in ended.into_iter().flatten() {
                        self.take(exchange);
                    }
                }
                None => {
                    let rest = self.pairing.take().map(Pairing::finish);
                    for exchange in rest.into_iter().flatten() {
                        self.take(exchange);
                    }
                    let left = self.messages.finish();
                    self.waiting.extend(left);
                }
            }
        }
    }

    fn take(&mut self, exchange: Exchange) {
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.pop_front();
        }
        let entry = |what| Entry {
            packet: exchange.packet,
            time: exchange.time(),
            device: (exchange.bus, exchange.device),
            out: !exchange.is_in(),
            what,
        };
        let what = match exchange.kind {
            Kind::Control => {
                let Some(setup) = exchange.setup else { return };
                // SEND_ENCAPSULATED_COMMAND and GET_ENCAPSULATED_RESPONSE (CDC 1.2, 6.2).
                if matches!(setup[..2], [0x21, 0] | [0xa1, 1]) && !exchange.data.is_empty() {
                    self.waiting.extend(self.messages.push(&exchange));
                    return;
                }
                What::Control {
                    setup,
                    bytes: exchange.data.clone(),
                    status: exchange.status,
                }
            }
            _ if exchange.data.is_empty() => return,
            Kind::Interrupt => What::Notification {
                bytes: exchange.data.clone(),
            },
            Kind::Bulk if matches!(exchange.data.get(..4), Some(b"NCMH" | b"ncmh")) => What::Ntb {
                bytes: exchange.data.clone(),
                length: exchange.length as usize,
            },
            Kind::Bulk => What::Serial {
                endpoint: exchange.endpoint,
                bytes: exchange.data.clone(),
            },
            Kind::Isochronous => return,
        };
        self.waiting.push_back(entry(what));
    }
}

/// Returns the transfers that end with a packet, or `None` for a packet that records no USB.
fn paired(pairing: &mut Pairing, packet: &Packet) -> Option<Vec<Exchange>> {
    let event = packet.transfer()?;
    Some(pairing.push(packet.number, packet.time, &event))
}

fn unreadable(name: &str, error: &ReadError) -> Failure {
    Failure::new(FailureKind::Usage, "the capture cannot be read")
        .at(name.to_owned())
        .because(error)
}
