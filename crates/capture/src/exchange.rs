//! Submissions and completions of transfers put together.

use std::collections::{BTreeMap, HashMap};

use crate::transfer::{Kind, Phase, Transfer};

/// Largest number of transfers that wait for their completion.
const MOST_PENDING: usize = 4096;
/// Largest number of bytes that these transfers hold.
const MOST_BYTES: usize = 64 << 20;

/// A transfer from its submission to its completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Number of the packet with the submission, or with the completion where there is no submission.
    pub packet: u64,
    /// Number of the bus.
    pub bus: u16,
    /// Number of the device on its bus.
    pub device: u8,
    /// Address of the endpoint, direction bit included.
    pub endpoint: u8,
    /// Kind of the transfer.
    pub kind: Kind,
    /// Setup stage of a control transfer.
    pub setup: Option<[u8; 8]>,
    /// Time of the submission in nanoseconds since 1970, if it was captured.
    pub begun: Option<u64>,
    /// Time of the completion in nanoseconds since 1970, if it was captured.
    pub ended: Option<u64>,
    /// Status of the transfer: 0, or the error as a negative `errno` of Linux. `None` when the
    /// completion was not captured.
    pub status: Option<i32>,
    /// Number of bytes moved, or to be moved where the completion was not captured.
    pub length: u32,
    /// Bytes sent or received, as far as they were captured.
    pub data: Vec<u8>,
}

impl Exchange {
    /// Returns whether the data went to the host.
    #[must_use]
    pub const fn is_in(&self) -> bool {
        self.endpoint & 0x80 != 0
    }

    /// Returns the time at which the data passed, in nanoseconds since 1970: that of the submission
    /// for data to the device, that of the completion for data from it.
    #[must_use]
    pub fn time(&self) -> u64 {
        let (first, second) = if self.is_in() {
            (self.ended, self.begun)
        } else {
            (self.begun, self.ended)
        };
        first.or(second).unwrap_or(0)
    }
}

/// Bus, device and number of a transfer.
type Key = (u16, u8, u64);

/// Transfers that wait for their completion.
#[derive(Debug, Default)]
pub struct Pairing {
    pending: HashMap<Key, Exchange>,
    /// Keys of the transfers in the order of the packets.
    order: BTreeMap<u64, Key>,
    bytes: usize,
}

impl Pairing {
    /// Takes an event that packet number `packet` records at `time`, and returns the transfers that
    /// ended with it. More than one is returned where the number of a transfer is used again
    /// without a completion, and where too many wait.
    pub fn push(&mut self, packet: u64, time: u64, event: &Transfer<'_>) -> Vec<Exchange> {
        let key = (event.bus, event.device, event.id);
        if event.phase != Phase::Submit {
            let whole = match self.take(key) {
                Some(begun) => Exchange {
                    ended: Some(time),
                    status: Some(event.status),
                    length: event.length,
                    data: if event.is_in() || begun.data.is_empty() {
                        event.data.to_vec()
                    } else {
                        begun.data
                    },
                    ..begun
                },
                None => Exchange {
                    ended: Some(time),
                    status: Some(event.status),
                    ..alone(packet, event)
                },
            };
            return vec![whole];
        }
        let mut ended = Vec::new();
        let mut begun = Exchange {
            begun: Some(time),
            ..alone(packet, event)
        };
        if let Some(earlier) = self.take(key) {
            if event.kind == Kind::Control && event.setup.is_none() {
                // Older versions of USBPcap give the data stage a record of its own.
                begun = Exchange {
                    data: event.data.to_vec(),
                    ..earlier
                };
            } else {
                ended.push(earlier);
            }
        }
        self.bytes += begun.data.len();
        self.order.insert(begun.packet, key);
        self.pending.insert(key, begun);
        while self.pending.len() > MOST_PENDING || self.bytes > MOST_BYTES {
            let Some((_, oldest)) = self.order.first_key_value() else {
                break;
            };
            let oldest = *oldest;
            ended.extend(self.take(oldest));
        }
        ended
    }

    /// Returns the transfers whose completion was not captured, in the order of the packets.
    #[must_use]
    pub fn finish(mut self) -> Vec<Exchange> {
        let keys: Vec<Key> = self.order.values().copied().collect();
        keys.into_iter().filter_map(|key| self.take(key)).collect()
    }

    fn take(&mut self, key: Key) -> Option<Exchange> {
        let exchange = self.pending.remove(&key)?;
        self.order.remove(&exchange.packet);
        self.bytes -= exchange.data.len();
        Some(exchange)
    }
}

fn alone(packet: u64, event: &Transfer<'_>) -> Exchange {
    Exchange {
        packet,
        bus: event.bus,
        device: event.device,
        endpoint: event.endpoint,
        kind: event.kind,
        setup: event.setup,
        begun: None,
        ended: None,
        status: None,
        length: event.length,
        data: event.data.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: u64, phase: Phase, endpoint: u8, data: &[u8]) -> Transfer<'_> {
        Transfer {
            id,
            phase,
            kind: Kind::Bulk,
            endpoint,
            bus: 1,
            device: 2,
            setup: None,
            status: 0,
            length: data.len() as u32,
            data,
        }
    }

    #[test]
    fn data_and_status_come_together() {
        let mut pairing = Pairing::default();
        assert!(
            pairing
                .push(1, 10, &event(5, Phase::Submit, 1, b"out"))
                .is_empty()
        );
        assert!(
            pairing
                .push(2, 11, &event(6, Phase::Submit, 0x81, b""))
                .is_empty()
        );
        let out = pairing
            .push(3, 12, &event(5, Phase::Complete, 1, b""))
            .remove(0);
        assert_eq!((out.packet, out.begun, out.ended), (1, Some(10), Some(12)));
        assert_eq!((&out.data[..], out.time()), (&b"out"[..], 10));
        let read = pairing
            .push(4, 13, &event(6, Phase::Complete, 0x81, b"in"))
            .remove(0);
        assert_eq!((&read.data[..], read.time()), (&b"in"[..], 13));
        // The submission of this completion was before the capture.
        let late = pairing
            .push(5, 14, &event(7, Phase::Complete, 0x81, b"x"))
            .remove(0);
        assert_eq!((late.packet, late.begun), (5, None));
        assert!(pairing.finish().is_empty());
    }

    #[test]
    fn what_never_ends_is_bounded_and_told() {
        let mut pairing = Pairing::default();
        let mut ended = 0;
        for id in 0..10_000u64 {
            ended += pairing
                .push(id, id, &event(id, Phase::Submit, 1, b"x"))
                .len();
        }
        assert_eq!(ended, 10_000 - MOST_PENDING);
        let rest = pairing.finish();
        assert_eq!(rest.len(), MOST_PENDING);
        assert!(rest.iter().all(|exchange| exchange.status.is_none()));
    }
}
