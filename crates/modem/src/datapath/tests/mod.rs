//! The data path against scripted queues and a scripted host.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use uwwan_ncm::{Builder, Choices, DropCounters, Framing, Limits, Ntb, Parameters, Stream};
use uwwan_usb::buffer::Buffer;
use uwwan_usb::device::{Completion, Pump, Queue, Rejected};
use uwwan_usb::error::{Error, TransferError};

use super::downlink::{Downlink, Inspect, Outlets};
use super::lines::Flow;
use super::reactor::{Reactor, Report};
use super::uplink::{Inlet, Uplink};
use super::{DataPlan, Fault, FlowCounters, LinePlan, Link};
use crate::counters::{Counters, Tally};
use crate::host::{HostConfig, HostEnd, HostError};
use crate::status::Interface;
use crate::watch::Watch;

mod downlink;
mod reactor;
mod uplink;

const MTU: u16 = 1500;

fn addresses_of(bytes: &[u8]) -> Range<usize> {
    let range = bytes.as_ptr_range();
    range.start as usize..range.end as usize
}

/// What a scripted endpoint holds.
#[derive(Default)]
struct Endpoint {
    pending: VecDeque<Buffer>,
    completed: VecDeque<Completion>,
    /// Memory of every buffer ever submitted.
    memory: Vec<Range<usize>>,
    sent: Vec<Vec<u8>>,
    zero_packet: bool,
    refuse: Option<Error>,
    cancelled: u32,
}

#[derive(Clone)]
struct Fake {
    address: u8,
    state: Arc<Mutex<Endpoint>>,
}

impl Fake {
    fn new(address: u8) -> Self {
        Self {
            address,
            state: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Endpoint> {
        self.state.lock().unwrap()
    }

    fn boxed(&self) -> Box<dyn Queue> {
        Box::new(self.clone())
    }

    /// Completes the oldest transfer.
    fn complete(&self, result: Result<usize, TransferError>) {
        let mut state = self.lock();
        let buffer = state.pending.pop_front().expect("nothing is pending");
        state.completed.push_back(Completion { buffer, result });
    }

    /// Completes the oldest IN transfer with these bytes.
    fn deliver(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let mut buffer = state.pending.pop_front().expect("nothing is pending");
        let length = bytes.len().min(buffer.capacity());
        buffer.bytes_mut()[..length].copy_from_slice(&bytes[..length]);
        buffer.set_len(length);
        let result = if length < bytes.len() {
            Err(TransferError::Overflow)
        } else {
            Ok(length)
        };
        state.completed.push_back(Completion { buffer, result });
    }
}

impl Queue for Fake {
    fn endpoint(&self) -> u8 {
        self.address
    }

    fn max_packet_size(&self) -> u16 {
        512
    }

    fn allocate(&mut self, capacity: usize) -> Buffer {
        Buffer::heap(capacity)
    }

    fn submit(&mut self, buffer: Buffer) -> Result<(), Rejected> {
        let mut state = self.lock();
        if let Some(error) = state.refuse.clone() {
            return Err(Rejected { buffer, error });
        }
        state.memory.push(addresses_of(buffer.bytes()));
        if self.address & 0x80 == 0 {
            state.sent.push(buffer.filled().to_vec());
        }
        state.pending.push_back(buffer);
        Ok(())
    }

    fn set_zero_packet(&mut self, enabled: bool) {
        self.lock().zero_packet = enabled;
    }

    fn pending(&self) -> usize {
        let state = self.lock();
        state.pending.len() + state.completed.len()
    }

    fn try_next(&mut self) -> Option<Completion> {
        self.lock().completed.pop_front()
    }

    fn next(&mut self, _timeout: Duration) -> Option<Completion> {
        self.try_next()
    }

    fn cancel_all(&mut self) {
        let mut state = self.lock();
        state.cancelled += 1;
        while let Some(buffer) = state.pending.pop_front() {
            state.completed.push_back(Completion {
                buffer,
                result: Err(TransferError::Cancelled),
            });
        }
    }
}

/// A host that sends and takes as scripted.
#[derive(Default)]
struct Script {
    outgoing: VecDeque<Vec<u8>>,
    incoming: Vec<Vec<u8>>,
    /// Datagrams it takes before it has no room.
    room: Option<usize>,
    refuses: bool,
    broken: bool,
    /// Where reads and writes lay.
    read: Vec<usize>,
    written: Vec<usize>,
}

struct FakeHost {
    script: Mutex<Script>,
    event: OwnedFd,
}

impl FakeHost {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::default(),
            event: eventfd(0, EventfdFlags::NONBLOCK).unwrap(),
        })
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    fn sends(&self, packets: impl IntoIterator<Item = Vec<u8>>) {
        self.script().outgoing.extend(packets);
        rustix::io::write(&self.event, &1u64.to_ne_bytes()).unwrap();
    }
}

impl AsFd for FakeHost {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl HostEnd for FakeHost {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut script = self.script();
        if script.broken {
            return Err(io::Error::from_raw_os_error(77));
        }
        let Some(packet) = script.outgoing.pop_front() else {
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
            return Err(io::ErrorKind::WouldBlock.into());
        };
        script.read.push(buffer.as_ptr() as usize);
        let length = packet.len().min(buffer.len());
        buffer[..length].copy_from_slice(&packet[..length]);
        Ok(length)
    }

    fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        let mut script = self.script();
        if script.refuses {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if script.room == Some(0) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if let Some(room) = script.room.as_mut() {
            *room -= 1;
        }
        script.written.push(datagram.as_ptr() as usize);
        script.incoming.push(datagram.to_vec());
        Ok(datagram.len())
    }

    fn reconfigure(&self, _config: &HostConfig) -> Result<(), HostError> {
        Ok(())
    }

    fn interface(&self) -> Interface {
        Interface::default()
    }
}

/// An IPv4 packet with a number in it.
fn packet(number: u32, length: usize) -> Vec<u8> {
    let mut packet = vec![0u8; length];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    packet[16..20].copy_from_slice(&number.to_be_bytes());
    packet
}

fn framing() -> Framing {
    Framing::negotiate(
        &Parameters {
            formats: 3,
            in_max: 131_072,
            out_max: 16_384,
            out_divisor: 4,
            out_alignment: 4,
            ..Parameters::FALLBACK
        },
        &Choices::default(),
    )
}

fn unpack(block: &[u8]) -> Vec<Vec<u8>> {
    let ntb = Ntb::parse(block, &Limits::default()).unwrap();
    let mut drops = DropCounters::default();
    let datagrams = ntb
        .datagrams(&mut drops)
        .map(|datagram| block[datagram.range].to_vec())
        .collect();
    assert_eq!(drops.total(), 0);
    datagrams
}

fn pack(packets: &[Vec<u8>]) -> Vec<u8> {
    pack_for(0, packets)
}

fn pack_for(session: u8, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut builder = Builder::new(framing());
    let mut block = vec![0; 16_384];
    for packet in packets {
        let slot = builder.place(Stream::Ips(session), packet.len()).unwrap();
        block[slot.offset..slot.offset + packet.len()].copy_from_slice(packet);
        builder.commit(slot, packet.len());
    }
    let length = builder.finish(&mut block).length;
    block.truncate(length);
    block
}
