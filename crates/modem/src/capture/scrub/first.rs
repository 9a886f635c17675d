//! The first pass over a capture: control transfers and AT dialogues, which take several packets to
//! understand.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use uwwan_capture::read::Packet;
use uwwan_capture::transfer::{Kind as TransferKind, Phase, Transfer};
use uwwan_mbim::fragment::{Limits, Reassembler};
use uwwan_mbim::message::{FRAGMENT_HEADER, Header, MessageType};
use uwwan_mbim::registry::Version;

use super::control::{self, Strings};
use super::identities::Identities;
use super::message;
use super::ntb::is_ntb;
use super::report::{Report, ScrubError};
use super::serial::{self, Dialogues};
use super::sweep::Sweep;

/// Most bytes of control and serial transfers that are held in memory.
const MOST_BYTES: usize = 256 << 20;
/// Approximate number of bytes of memory that a packet takes beside its data.
const OVERHEAD: usize = 64;
/// Largest number of control requests that have not completed and are remembered.
const MOST_REQUESTS: usize = 4096;
/// Largest number of devices and directions whose messages are reassembled.
const MOST_STREAMS: usize = 64;
/// Largest number of fragments that wait for others of their message.
const MOST_FRAGMENTS: usize = 1024;

/// The data that replaces that of a packet, by the packet's number.
pub type Changed = HashMap<u64, Vec<u8>>;

/// Bus and address of a device.
type Device = (u16, u8);

pub struct First<'a> {
    identities: &'a mut Identities,
    report: &'a mut Report,
    changed: Changed,
    held: usize,
    /// Setup stages of requests that have not ended, the oldest first.
    requests: VecDeque<((Device, u64), [u8; 8])>,
    strings: Strings,
    dialogues: Dialogues,
    /// MBIM version that each device was told.
    versions: HashMap<Device, Version>,
    streams: HashMap<(Device, bool), Stream>,
    joined: Vec<Joined>,
}

/// Message that came in several packets, so that an identity may lie across two of them.
struct Joined {
    packets: Vec<u64>,
    /// The message before it was scrubbed.
    before: Vec<u8>,
}

/// Fragments of one device in one direction.
struct Stream {
    reassembler: Reassembler,
    /// Type, transaction and packet of the fragments that wait for others.
    waiting: VecDeque<(MessageType, u32, u64)>,
}

/// Returns whether bytes are a command or status of a mass storage device (USB Mass Storage Bulk-Only
/// 1.0, 5), by which modems that begin as one are switched.
pub fn is_command_block(bytes: &[u8]) -> bool {
    bytes.len() == 31 && bytes.starts_with(b"USBC")
        || bytes.len() == 13 && bytes.starts_with(b"USBS")
}

impl<'a> First<'a> {
    pub fn new(identities: &'a mut Identities, report: &'a mut Report) -> Self {
        Self {
            identities,
            report,
            changed: HashMap::new(),
            held: 0,
            requests: VecDeque::new(),
            strings: Strings::default(),
            dialogues: Dialogues::default(),
            versions: HashMap::new(),
            streams: HashMap::new(),
            joined: Vec::new(),
        }
    }

    /// Takes the next packet.
    ///
    /// # Errors
    /// [`ScrubError::TooLong`] when too much has come to be held.
    pub fn packet(&mut self, packet: &Packet) -> Result<(), ScrubError> {
        let Some(transfer) = packet.transfer() else {
            return Ok(());
        };
        let device = (transfer.bus, transfer.device);
        match transfer.kind {
            TransferKind::Control => {
                let setup = self.setup(device, &transfer);
                self.hold(packet.number, &transfer)?;
                self.control(device, setup, packet.number, transfer.is_in());
            }
            TransferKind::Bulk
                if !is_ntb(transfer.data)
                    && !is_command_block(transfer.data)
                    && serial::is_text(transfer.data) =>
            {
                self.hold(packet.number, &transfer)?;
                let changed = &mut self.changed;
                self.dialogues.push(
                    (device.0, device.1, transfer.endpoint),
                    packet.number,
                    transfer.data,
                    (self.identities, self.report),
                    &mut |packet, offset, byte| change(changed, packet, offset, byte),
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// Scrubs what is still incomplete, and returns the new data of the packets with the search for
    /// all identities met.
    pub fn finish(mut self) -> (Changed, Sweep) {
        let changed = &mut self.changed;
        self.dialogues
            .finish(self.identities, self.report, &mut |packet, offset, byte| {
                change(changed, packet, offset, byte)
            });
        for stream in std::mem::take(&mut self.streams).into_values() {
            for (_, _, packet) in stream.waiting {
                self.give_up(packet);
            }
        }
        let sweep = Sweep::new(self.identities);
        for Joined { packets, before } in std::mem::take(&mut self.joined) {
            let mut new = Vec::new();
            for packet in &packets {
                let data = self.changed.get_mut(packet).map(Vec::as_mut_slice);
                new.extend_from_slice(data.and_then(payload).unwrap_or_default());
            }
            // Where the sender began a message anew, the packets hold more bytes than the message.
            let spare = new.len().saturating_sub(before.len());
            if sweep.pass(&before, &mut new[spare..]) > 0 {
                self.spread(&packets, &new);
            }
        }
        (self.changed, sweep)
    }

    fn hold(&mut self, number: u64, transfer: &Transfer<'_>) -> Result<(), ScrubError> {
        if transfer.data.is_empty() {
            return Ok(());
        }
        self.held += transfer.data.len() + OVERHEAD;
        if self.held > MOST_BYTES {
            return Err(ScrubError::TooLong(MOST_BYTES));
        }
        self.changed.insert(number, transfer.data.to_vec());
        Ok(())
    }

    /// Returns the setup stage of the request that an event belongs to.
    fn setup(&mut self, device: Device, transfer: &Transfer<'_>) -> Option<[u8; 8]> {
        let key = (device, transfer.id);
        let known = self.requests.iter().rposition(|(known, _)| *known == key);
        match (transfer.phase, transfer.setup) {
            (Phase::Submit, Some(setup)) => {
                if let Some(known) = known {
                    self.requests.remove(known);
                }
                if self.requests.len() == MOST_REQUESTS {
                    self.requests.pop_front();
                }
                self.requests.push_back((key, setup));
                Some(setup)
            }
            // Older versions of USBPcap give the data stage a record of its own.
            (Phase::Submit, None) => Some(self.requests.get(known?)?.1),
            _ => Some(self.requests.remove(known?)?.1),
        }
    }

    fn control(&mut self, device: Device, setup: Option<[u8; 8]>, number: u64, is_in: bool) {
        let Some(data) = self
            .changed
            .get_mut(&number)
            .filter(|data| !data.is_empty())
        else {
            return;
        };
        match setup {
            // SEND_ENCAPSULATED_COMMAND and GET_ENCAPSULATED_RESPONSE (CDC 1.2, 6.2).
            Some([0x21, 0, ..] | [0xa1, 1, ..]) => self.message(device, number, is_in),
            Some(setup) => control::scrub(
                device,
                setup,
                data,
                &mut self.strings,
                (self.identities, self.report),
            ),
            None => {
                let what = "control transfers whose request was not captured";
                control::blank(data, what, self.report);
            }
        }
    }

    fn message(&mut self, device: Device, number: u64, is_in: bool) {
        let Some(data) = self.changed.get_mut(&number) else {
            return;
        };
        let header = match Header::parse(data) {
            Ok(header) if header.total > 1 => header,
            _ => {
                if data.starts_with(&MessageType::OPEN.0.to_le_bytes()) {
                    self.versions.remove(&device);
                }
                let told = message::version(data);
                let version = self.versions.get(&device).copied();
                message::scrub(data, version, self.identities, self.report);
                self.learn(device, told);
                return;
            }
        };
        let key = (device, is_in);
        if self.streams.len() >= MOST_STREAMS && !self.streams.contains_key(&key) {
            message::fragment(data, self.report);
            return;
        }
        let stream = self.streams.entry(key).or_insert_with(|| Stream {
            // The times of a capture may be anything, so incomplete messages are bounded by number
            // instead of by time.
            reassembler: Reassembler::new(Limits::default()),
            waiting: VecDeque::new(),
        });
        data[header.length..].fill(0);
        let pushed = stream
            .reassembler
            .push_raw(Instant::now(), &data[..header.length]);
        match pushed {
            Ok(None) => {
                let fragment = (header.kind, header.transaction, number);
                stream.waiting.push_back(fragment);
                if stream.waiting.len() > MOST_FRAGMENTS {
                    let oldest = stream.waiting.pop_front();
                    if let Some((_, _, packet)) = oldest {
                        self.give_up(packet);
                    }
                }
            }
            Ok(Some(whole)) => {
                let mut packets: Vec<u64> = Vec::new();
                stream.waiting.retain(|(kind, transaction, packet)| {
                    let mine = (*kind, *transaction) == (header.kind, header.transaction);
                    if mine {
                        packets.push(*packet);
                    }
                    !mine
                });
                packets.push(number);
                self.whole(device, whole.message(), &packets);
            }
            Err(_) => {
                stream.reassembler.clear();
                let waiting = std::mem::take(&mut stream.waiting);
                for (_, _, packet) in waiting {
                    self.give_up(packet);
                }
                // The fragment may be the first one of the next message.
                self.give_up(number);
            }
        }
    }

    /// Scrubs a message that came in several packets.
    fn whole(&mut self, device: Device, mut whole: Vec<u8>, packets: &[u64]) {
        let told = message::version(&whole);
        let version = self.versions.get(&device).copied();
        let before = whole.get(FRAGMENT_HEADER..).unwrap_or_default().to_vec();
        message::scrub(&mut whole, version, self.identities, self.report);
        self.learn(device, told);
        self.spread(packets, whole.get(FRAGMENT_HEADER..).unwrap_or_default());
        self.held += before.len() + OVERHEAD * packets.len();
        self.joined.push(Joined {
            packets: packets.to_vec(),
            before,
        });
    }

    /// Puts the payload of a message into the fragments that packets hold.
    fn spread(&mut self, packets: &[u64], mut rest: &[u8]) {
        // A message that was begun anew has fragments of its first try: those of the last are the ones.
        for packet in packets.iter().rev() {
            let data = self.changed.get_mut(packet).map(Vec::as_mut_slice);
            let Some(payload) = data.and_then(payload) else {
                continue;
            };
            if payload.len() <= rest.len() {
                let (before, mine) = rest.split_at(rest.len() - payload.len());
                payload.copy_from_slice(mine);
                rest = before;
            } else {
                payload.fill(0);
            }
        }
    }

    fn learn(&mut self, device: Device, told: Option<Version>) {
        if let Some(version) = told
            && self.versions.len() < MOST_STREAMS
        {
            self.versions.insert(device, version);
        }
    }

    fn give_up(&mut self, packet: u64) {
        if let Some(data) = self.changed.get_mut(&packet) {
            message::fragment(data, self.report);
        }
    }
}

/// Returns what a fragment carries.
fn payload(fragment: &mut [u8]) -> Option<&mut [u8]> {
    let length = Header::parse(fragment).ok()?.length;
    fragment.get_mut(FRAGMENT_HEADER..length)
}

fn change(changed: &mut Changed, packet: u64, offset: usize, byte: u8) {
    if let Some(there) = changed
        .get_mut(&packet)
        .and_then(|data| data.get_mut(offset))
    {
        *there = byte;
    }
}
