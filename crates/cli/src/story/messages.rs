//! MBIM messages of a capture: fragments are reassembled, and answers are matched to requests.

use std::collections::VecDeque;
use std::time::Instant;

use uwwan_capture::exchange::Exchange;
use uwwan_mbim::fragment::Reassembler;
use uwwan_mbim::message::{Header, MessageType};

use super::entry::{Entry, What};

/// Largest number of devices and directions whose fragments are reassembled.
const MOST_STREAMS: usize = 16;
/// Largest number of requests that wait for their answer.
const MOST_REQUESTS: usize = 1024;
/// Largest number of fragments whose first packet is remembered.
const MOST_FRAGMENTS: usize = 64;

/// Bus, device and whether the direction is to the device.
type Stream = (u16, u8, bool);

/// The requests and fragments so far.
#[derive(Debug, Default)]
pub(super) struct Messages {
    streams: VecDeque<(Stream, Fragments)>,
    /// Bus, device and transaction id of requests, with their packet and time.
    requests: VecDeque<((u16, u8, u32), u64, u64)>,
}

#[derive(Debug, Default)]
struct Fragments {
    reassembler: Reassembler,
    /// The fragments that wait for others: transaction id, and the entry.
    waiting: VecDeque<(u32, Entry)>,
}

impl Messages {
    /// Takes the bytes that one request sent or fetched, and returns the messages that are complete
    /// with them.
    pub fn push(&mut self, exchange: &Exchange) -> Vec<Entry> {
        let out = !exchange.is_in();
        let device = (exchange.bus, exchange.device);
        let mut found = self.joined(exchange, out);
        for entry in &mut found {
            let What::Message { bytes, answers, .. } = &mut entry.what else {
                continue;
            };
            let Ok(header) = Header::parse(bytes) else {
                continue;
            };
            let key = (device.0, device.1, header.transaction);
            if out {
                if self.requests.len() == MOST_REQUESTS {
                    self.requests.pop_front();
                }
                self.requests.push_back((key, entry.packet, entry.time));
            } else if header.kind != MessageType::INDICATE_STATUS
                && let Some(at) = self.requests.iter().position(|(known, ..)| *known == key)
                && let Some((_, packet, time)) = self.requests.remove(at)
            {
                *answers = Some((packet, entry.time.saturating_sub(time)));
            }
        }
        found
    }

    fn joined(&mut self, exchange: &Exchange, out: bool) -> Vec<Entry> {
        let entry = |packet, bytes, fragments| Entry {
            packet,
            time: exchange.time(),
            device: (exchange.bus, exchange.device),
            out,
            what: What::Message {
                bytes,
                fragments,
                answers: None,
            },
        };
        let single = || entry(exchange.packet, exchange.data.clone(), 1);
        let header = match Header::parse(&exchange.data) {
            Ok(header) if header.total > 1 => header,
            _ => return vec![single()],
        };
        let key = (exchange.bus, exchange.device, out);
        let at = self.streams.iter().position(|(known, _)| *known == key);
        let at = at.unwrap_or_else(|| {
            if self.streams.len() == MOST_STREAMS {
                self.streams.pop_front();
            }
            self.streams.push_back((key, Fragments::default()));
            self.streams.len() - 1
        });
        let Some((_, stream)) = self.streams.get_mut(at) else {
            return vec![single()];
        };
        // The times of a capture may be anything, so incomplete messages are bounded by number
        // instead of by time.
        let now = Instant::now();
        let part = &exchange.data[..header.length.min(exchange.data.len())];
        match stream.reassembler.push_raw(now, part) {
            Ok(Some(whole)) => {
                let mine = |waiting: &&(u32, Entry)| waiting.0 == whole.transaction;
                let first = stream.waiting.iter().find(mine);
                let packet = first.map_or(exchange.packet, |(_, entry)| entry.packet);
                stream
                    .waiting
                    .retain(|(transaction, _)| *transaction != whole.transaction);
                vec![entry(packet, whole.message(), header.total)]
            }
            Ok(None) => {
                stream.waiting.push_back((header.transaction, single()));
                if stream.waiting.len() > MOST_FRAGMENTS {
                    return stream
                        .waiting
                        .pop_front()
                        .map(|(_, one)| one)
                        .into_iter()
                        .collect();
                }
                Vec::new()
            }
            // The fragment is out of order, or the first ones of its message were not captured.
            Err(_) => {
                stream.reassembler.clear();
                let waiting = std::mem::take(&mut stream.waiting);
                let mut alone: Vec<Entry> = waiting.into_iter().map(|(_, one)| one).collect();
                alone.push(single());
                alone
            }
        }
    }

    /// Returns the fragments whose others never came.
    pub fn finish(&mut self) -> Vec<Entry> {
        let streams = std::mem::take(&mut self.streams);
        let waiting = streams.into_iter().flat_map(|(_, stream)| stream.waiting);
        waiting.map(|(_, entry)| entry).collect()
    }
}
