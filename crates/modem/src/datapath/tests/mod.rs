//! The data path against scripted queues and a scripted host.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use uwwan_ncm::{Builder, Choices, DropCounters, Framing, Limits, Ntb, NtbParameters, Stream};
use uwwan_tun::checksum::Sum;
use uwwan_tun::coalesce::{Coalescer, Merge};
use uwwan_tun::headers::{Cut, Kind, VNET_HEADER, VnetHeader};
use uwwan_tun::scatter::{Layout, Place, Scatter};
use uwwan_usb::buffer::Buffer;
use uwwan_usb::device::{Completion, Pump, Queue, Rejected};
use uwwan_usb::error::{Error, TransferError};

use super::delivery::{Inspect, Outlet, Outlets, Sink};
use super::downlink::Downlink;
use super::inlet::{Inlet, Source};
use super::plan::ReceiveSizes;
use super::reactor::Reactor;
use super::uplink::{Filled, Uplink};
use super::{DataPlan, Depth, Fault, Report, SessionAddressing, SessionPlan};
use crate::counters::{Counters, SessionCounters, SessionTally, Tally};
use crate::host::{DataSlot, HostData, Large, Single};
use crate::watch::Watch;

mod downlink;
mod ethernet;
mod raw;
mod reactor;
mod uplink;

const MTU: u16 = 1500;

/// Returns the sizes for NTBs of one size, in bytes.
fn sizes(size: usize) -> ReceiveSizes {
    ReceiveSizes {
        agreed: size,
        least: size,
        most: size,
    }
}

fn addresses_of(bytes: &[u8]) -> Range<usize> {
    let range = bytes.as_ptr_range();
    range.start as usize..range.end as usize
}

/// The content of a scripted endpoint.
#[derive(Default)]
struct Endpoint {
    pending: VecDeque<Buffer>,
    completed: VecDeque<Completion>,
    /// Memory of every buffer ever submitted.
    memory: Vec<Range<usize>>,
    sent: Vec<Vec<u8>>,
    zero_packet: bool,
    refuse: Option<Error>,
    /// Bytes of memory that the kernel has for transfers, shared with other endpoints.
    budget: Option<Arc<Mutex<usize>>>,
    cancelled: u32,
}

impl Endpoint {
    /// Returns whether this memory is part of a buffer.
    fn has(&self, place: &Range<usize>) -> bool {
        let holds = |memory: &Range<usize>| memory.start <= place.start && place.end <= memory.end;
        self.memory.iter().any(holds)
    }
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
        if let Some(budget) = &state.budget {
            let mut left = budget.lock().unwrap();
            if *left < buffer.capacity() {
                let operation = "submit".into();
                let error = Error::NoMemory { operation };
                return Err(Rejected { buffer, error });
            }
            *left -= buffer.capacity();
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
        let mut state = self.lock();
        let completion = state.completed.pop_front()?;
        if let Some(budget) = &state.budget {
            *budget.lock().unwrap() += completion.buffer.capacity();
        }
        Some(completion)
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
    /// Packets of other flows than those in `outgoing`.
    others: VecDeque<Vec<u8>>,
    incoming: Vec<Vec<u8>>,
    /// Number of datagrams the host takes before it has no room.
    room: Option<usize>,
    refuses: bool,
    refuses_large: bool,
    broken: bool,
    /// Whether nothing follows the outgoing packets.
    closed: bool,
    /// Addresses of the payloads that were read and written.
    read: Vec<Range<usize>>,
    written: Vec<Range<usize>>,
    /// Number of datagrams in each write.
    writes: Vec<usize>,
}

/// The calls by which packets cross a host interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Single,
    Large,
}

impl Mode {
    const BOTH: [Self; 2] = [Self::Single, Self::Large];
}

struct FakeHost {
    mode: Mode,
    script: Mutex<Script>,
    event: OwnedFd,
}

impl FakeHost {
    fn new(mode: Mode) -> Arc<Self> {
        Arc::new(Self {
            mode,
            script: Mutex::default(),
            event: eventfd(0, EventfdFlags::NONBLOCK).unwrap(),
        })
    }

    /// Returns the host interface for a data path.
    fn data(self: &Arc<Self>) -> Arc<DataSlot> {
        let host = Box::new(Arc::clone(self));
        DataSlot::new(match self.mode {
            Mode::Single => HostData::Single(host),
            Mode::Large => HostData::Large(host),
        })
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    fn sends(&self, packets: impl IntoIterator<Item = Vec<u8>>) {
        let plain = |packet: Vec<u8>| match self.mode {
            Mode::Single => packet,
            Mode::Large => [vec![0; VNET_HEADER], packet].concat(),
        };
        self.sends_as_they_are(packets.into_iter().map(plain));
    }

    /// Sends packets as they are; in the large mode they begin with their virtio headers.
    fn sends_as_they_are(&self, packets: impl IntoIterator<Item = Vec<u8>>) {
        self.script().outgoing.extend(packets);
        rustix::io::write(&self.event, &1u64.to_ne_bytes()).unwrap();
    }
}

impl AsFd for FakeHost {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl FakeHost {
    fn next(&self, script: &mut Script) -> io::Result<Vec<u8>> {
        if script.broken {
            return Err(io::Error::from_raw_os_error(77));
        }
        if script.closed && script.outgoing.is_empty() {
            return Ok(Vec::new());
        }
        script.outgoing.pop_front().ok_or_else(|| {
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
            io::ErrorKind::WouldBlock.into()
        })
    }
}

impl Script {
    /// Returns whether the host takes a packet of so many datagrams.
    fn takes(&mut self, datagrams: usize) -> io::Result<()> {
        if self.refuses || self.refuses_large && datagrams > 1 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match self.room.as_mut() {
            Some(room) if *room < datagrams => return Err(io::ErrorKind::WouldBlock.into()),
            Some(room) => *room -= datagrams,
            None => {}
        }
        self.writes.push(datagrams);
        Ok(())
    }
}

impl Single for Arc<FakeHost> {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut script = self.script();
        let packet = self.next(&mut script)?;
        let length = packet.len().min(buffer.len());
        buffer[..length].copy_from_slice(&packet[..length]);
        script.read.push(addresses_of(&buffer[..length]));
        Ok(length)
    }

    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        let mut script = self.script();
        script.takes(1)?;
        script.written.push(addresses_of(datagram));
        script.incoming.push(datagram.to_vec());
        Ok(datagram.len())
    }
}

impl FakeHost {
    /// Reads `packet`, which begins with its virtio header.
    fn read_large(script: &mut Script, packet: &[u8], buffers: &mut [IoSliceMut<'_>]) -> usize {
        let mut rest = packet;
        for (index, buffer) in buffers.iter_mut().enumerate() {
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            if index > 0 && length > 0 {
                script.read.push(addresses_of(&buffer[..length]));
            }
            rest = &rest[length..];
        }
        packet.len() - rest.len()
    }
}

impl Large for Arc<FakeHost> {
    fn merge(&self) -> Merge {
        Merge {
            tcp: true,
            udp: true,
        }
    }

    fn receive(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut script = self.script();
        let packet = self.next(&mut script)?;
        Ok(FakeHost::read_large(&mut script, &packet, buffers))
    }

    fn receive_other(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut script = self.script();
        let packet = script.others.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        Ok(FakeHost::read_large(&mut script, &packet, buffers))
    }

    fn send(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = buffers
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        let datagrams = cut(&bytes);
        let mut script = self.script();
        script.takes(datagrams.len())?;
        let payloads = buffers[1..].iter().map(|payload| addresses_of(payload));
        script.written.extend(payloads);
        script.incoming.extend(datagrams);
        Ok(bytes.len())
    }
}

/// Returns the datagrams that a packet with a virtio header stands for.
fn cut(packet: &[u8]) -> Vec<Vec<u8>> {
    /// Layout that places datagrams one behind the other.
    #[derive(Default)]
    struct Row(Vec<Range<usize>>);
    impl Layout for Row {
        fn place(&mut self, length: usize) -> Option<Place> {
            let offset = self.0.last().map_or(0, |last| last.end);
            self.0.push(offset..offset + length);
            Some(Place { area: 0, offset })
        }
        fn keep(&mut self, count: usize) {
            self.0.truncate(count);
        }
    }
    let mut memory = vec![0; 1 << 20];
    let mut row = Row::default();
    let read = |buffers: &mut [IoSliceMut<'_>]| {
        let mut rest = packet;
        for buffer in buffers {
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            rest = &rest[length..];
        }
        Ok(packet.len())
    };
    let received = Scatter::new(usize::from(MTU))
        .receive(read, &mut [&mut memory], &mut row)
        .unwrap();
    assert_eq!(received.waiting, 0);
    row.0
        .into_iter()
        .map(|place| memory[place].to_vec())
        .collect()
}

/// Returns an IPv4 packet that holds a number.
fn packet(number: u32, length: usize) -> Vec<u8> {
    let mut packet = vec![0u8; length];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    packet[16..20].copy_from_slice(&number.to_be_bytes());
    packet
}

/// Returns a TCP segment of a flow, valid in every field.
fn segment(flow: u8, sequence: u32, payload: usize) -> Vec<u8> {
    let mut packet = packet(u32::from(flow), 40 + payload);
    packet[4..6].copy_from_slice(&((sequence / 1000) as u16).to_be_bytes());
    packet[6] = 0x40;
    packet[8] = 64;
    packet[9] = 6;
    packet[12..16].copy_from_slice(&[10, 0, 0, 1]);
    packet[24..28].copy_from_slice(&sequence.to_be_bytes());
    packet[32] = 0x50;
    packet[33] = 0x10;
    for (index, byte) in packet[40..].iter_mut().enumerate() {
        *byte = (index as u32 ^ sequence) as u8;
    }
    let pseudo = Sum::of(&packet[12..20]) + Sum::of_u16(6) + Sum::of_u16((20 + payload) as u16);
    let checksum = (pseudo + Sum::of(&packet[20..])).checksum();
    packet[36..38].copy_from_slice(&checksum);
    let checksum = Sum::of(&packet[..20]).checksum();
    packet[10..12].copy_from_slice(&checksum);
    packet
}

/// Returns a large packet as the kernel sends it, and the datagrams it stands for.
fn large(flow: u8, sequence: u32, payload: usize, size: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let packet = segment(flow, sequence, payload);
    let vnet = VnetHeader {
        checksum: None,
        cut: Some(Cut {
            kind: Kind::Tcp4,
            ecn: false,
            size: size as u16,
        }),
        header: 40,
    };
    let bytes = [&vnet.encode()[..], &packet].concat();
    let datagrams = cut(&bytes);
    assert_eq!(datagrams.len(), payload.div_ceil(size));
    (bytes, datagrams)
}

fn framing() -> Framing {
    Framing::negotiate(
        &NtbParameters {
            formats: 3,
            in_max: 131_072,
            out_max: 16_384,
            out_divisor: 4,
            out_alignment: 4,
            ..NtbParameters::FALLBACK
        },
        &Choices::default(),
    )
}

fn unpack(ntb: &[u8]) -> Vec<Vec<u8>> {
    let parsed = Ntb::parse(ntb, &Limits::default()).unwrap();
    let mut drops = DropCounters::default();
    let datagrams = parsed
        .datagrams(&mut drops)
        .map(|datagram| ntb[datagram.range].to_vec())
        .collect();
    assert_eq!(drops.total(), 0);
    datagrams
}

fn pack(packets: &[Vec<u8>]) -> Vec<u8> {
    pack_for(0, packets)
}

/// Returns an NTB with the datagrams of several sessions, each with an NDP of its own.
fn pack_front(datagrams: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut builder = Builder::new(Framing {
        placement: uwwan_ncm::Placement::Front,
        ..framing()
    });
    let mut ntb = vec![0; 16_384];
    for (session, packet) in datagrams {
        let slot = builder.place(Stream::Ips(*session), packet.len()).unwrap();
        ntb[slot.offset..slot.offset + packet.len()].copy_from_slice(packet);
        builder.commit(slot, packet.len());
    }
    let length = builder.finish(&mut ntb).length;
    ntb.truncate(length);
    ntb
}

fn pack_for(session: u8, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut builder = Builder::new(framing());
    let mut ntb = vec![0; 16_384];
    for packet in packets {
        let slot = builder.place(Stream::Ips(session), packet.len()).unwrap();
        ntb[slot.offset..slot.offset + packet.len()].copy_from_slice(packet);
        builder.commit(slot, packet.len());
    }
    let length = builder.finish(&mut ntb).length;
    ntb.truncate(length);
    ntb
}
