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

use super::downlink::{Downlink, Inspect};
use super::reactor::{Reactor, Report};
use super::uplink::Uplink;
use super::{DataPlan, Fault, Link};
use crate::counters::{Counters, Tally};
use crate::host::{HostConfig, HostEnd, HostError};
use crate::status::Interface;
use crate::watch::Watch;

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
    let mut builder = Builder::new(framing());
    let mut block = vec![0; 16_384];
    for packet in packets {
        let slot = builder.place(Stream::Ips(0), packet.len()).unwrap();
        block[slot.offset..slot.offset + packet.len()].copy_from_slice(packet);
        builder.commit(slot, packet.len());
    }
    let length = builder.finish(&mut block).length;
    block.truncate(length);
    block
}

/// An uplink with its surroundings.
struct Up {
    uplink: Uplink,
    queue: Fake,
    host: Arc<FakeHost>,
    watch: Watch,
    tally: Tally,
    now: Instant,
}

impl Up {
    fn new(depth: usize) -> Self {
        let queue = Fake::new(0x01);
        let now = Instant::now();
        Self {
            uplink: Uplink::new(queue.boxed(), framing(), MTU, depth),
            queue,
            host: FakeHost::new(),
            watch: Watch::new(now),
            tally: Tally::default(),
            now,
        }
    }

    fn round(&mut self) -> Result<(), Fault> {
        self.uplink.reap(self.now, &mut self.tally)?;
        self.uplink
            .fill(&*self.host, self.now, &mut self.watch, &mut self.tally)?;
        self.uplink.flush(&mut self.tally)
    }

    fn sent(&self) -> Vec<Vec<Vec<u8>>> {
        self.queue
            .lock()
            .sent
            .iter()
            .map(|block| unpack(block))
            .collect()
    }
}

#[test]
fn a_lone_packet_leaves_at_once() {
    let mut up = Up::new(4);
    up.host.sends([packet(1, 60)]);
    up.round().unwrap();
    assert_eq!(up.sent(), [[packet(1, 60)]]);
    assert_eq!(up.tally.closed_idle, 1);
    assert_eq!(
        (
            up.tally.sent_packets,
            up.tally.sent_bytes,
            up.tally.sent_blocks
        ),
        (1, 60, 1)
    );
}

#[test]
fn packets_gather_while_the_bus_is_busy() {
    let mut up = Up::new(4);
    for number in 0..2 {
        up.host.sends([packet(number, 60)]);
        up.round().unwrap();
    }
    for number in 2..7 {
        up.host.sends([packet(number, 60)]);
        up.round().unwrap();
    }
    assert_eq!(
        up.queue.lock().sent.len(),
        2,
        "two in flight, the rest waits"
    );
    up.queue.complete(Ok(0));
    up.round().unwrap();
    let gathered: Vec<_> = (2..7).map(|number| packet(number, 60)).collect();
    assert_eq!(up.sent()[2], gathered);
}

#[test]
fn full_blocks_leave_and_the_host_waits_when_all_are_in_flight() {
    let mut up = Up::new(2);
    up.host.sends((0..100).map(|number| packet(number, 1500)));
    up.round().unwrap();
    assert_eq!(up.queue.lock().sent.len(), 2);
    assert_eq!(up.tally.closed_full, 2);
    assert!(!up.uplink.wants_input());
    let left = up.host.script().outgoing.len();
    up.round().unwrap();
    assert_eq!(
        up.host.script().outgoing.len(),
        left,
        "not read while nothing is free"
    );
    while !up.host.script().outgoing.is_empty() || up.queue.pending() > 0 {
        up.queue.complete(Ok(0));
        up.round().unwrap();
    }
    let all: Vec<_> = up.sent().into_iter().flatten().collect();
    assert_eq!(
        all,
        (0..100)
            .map(|number| packet(number, 1500))
            .collect::<Vec<_>>()
    );
    assert_eq!(up.tally.sent_packets, 100);
}

#[test]
fn packets_are_read_into_usb_memory() {
    let mut up = Up::new(4);
    up.host.sends((0..30).map(|number| packet(number, 700)));
    up.round().unwrap();
    let state = up.queue.lock();
    let script = up.host.script();
    assert_eq!(script.read.len(), 30);
    for place in &script.read[..20] {
        assert!(state.memory.iter().any(|memory| memory.contains(place)));
    }
}

#[test]
fn what_is_no_datagram_is_dropped_and_counted() {
    let mut up = Up::new(4);
    let mut cut = packet(2, 100);
    cut[3] = 200;
    up.host.sends([
        b"hello there, this is no IP".to_vec(),
        cut,
        packet(3, usize::from(MTU) + 1),
        Vec::new(),
        packet(4, 60),
    ]);
    up.round().unwrap();
    assert_eq!(up.sent(), [[packet(4, 60)]]);
    assert_eq!((up.tally.host_not_ip, up.tally.host_too_long), (2, 2));
}

#[test]
fn a_halted_way_out_drains_and_goes_on() {
    let mut up = Up::new(4);
    for number in 0..2 {
        up.host.sends([packet(number, 60)]);
        up.round().unwrap();
    }
    up.queue.complete(Err(TransferError::Stall));
    up.host.sends([packet(2, 60)]);
    up.round().unwrap();
    assert!(up.uplink.halted && !up.uplink.wants_input());
    up.round().unwrap();
    assert!(up.uplink.can_clear_halt());
    assert_eq!(
        up.queue.lock().sent.len(),
        2,
        "nothing goes to a halted endpoint"
    );
    up.uplink.halt_cleared();
    up.round().unwrap();
    while up.queue.pending() > 0 {
        up.queue.complete(Ok(0));
        up.round().unwrap();
    }
    // What the device has not taken is sent again, in order and ahead of what is new.
    let again: Vec<_> = up.sent().into_iter().skip(2).flatten().collect();
    assert_eq!(again, [packet(0, 60), packet(1, 60), packet(2, 60)]);
    assert_eq!((up.tally.send_stall, up.tally.lost_in_transfer), (1, 0));
}

#[test]
fn without_kernel_memory_the_queue_shrinks_and_nothing_is_lost() {
    let mut up = Up::new(4);
    up.host.sends([packet(0, 60)]);
    up.round().unwrap();
    up.queue.lock().refuse = Some(Error::NoMemory {
        operation: "submit".into(),
    });
    up.host.sends([packet(1, 60)]);
    up.round().unwrap();
    assert!(!up.uplink.wants_input());
    up.queue.lock().refuse = None;
    up.queue.complete(Ok(0));
    up.round().unwrap();
    assert_eq!(up.sent(), [[packet(0, 60)], [packet(1, 60)]]);
    assert_eq!(up.tally.transfers_given_up, 1);
    up.host.sends([packet(2, 60)]);
    up.queue.complete(Ok(0));
    up.round().unwrap();
    assert_eq!(up.sent()[2], [packet(2, 60)]);
}

#[test]
fn a_way_out_that_keeps_failing_ends() {
    let mut up = Up::new(4);
    let mut failed = None;
    for number in 0..200 {
        up.host.sends([packet(number, 60)]);
        if let Err(fault) = up.round() {
            failed = Some(fault);
            break;
        }
        if !up.queue.lock().pending.is_empty() {
            up.queue.complete(Err(TransferError::Fault));
        }
    }
    assert_eq!(failed, Some(Fault::Send(TransferError::Fault)));
    let mut up = Up::new(4);
    up.host.sends([packet(0, 60)]);
    up.round().unwrap();
    up.queue.complete(Err(TransferError::Gone));
    assert_eq!(up.round(), Err(Fault::Gone));
    let mut up = Up::new(4);
    up.host.script().broken = true;
    assert!(matches!(up.round(), Err(Fault::Host(_))));
}

#[test]
fn injected_datagrams_share_the_block() {
    let mut up = Up::new(1);
    up.uplink.inject(&packet(1, 72), &mut up.tally).unwrap();
    up.host.sends([packet(2, 60)]);
    up.round().unwrap();
    assert_eq!(up.sent(), [[packet(1, 72), packet(2, 60)]]);
    up.uplink.inject(&packet(3, 72), &mut up.tally).unwrap();
    assert_eq!(up.tally.own_no_room, 1, "all buffers are in flight");
}

/// A downlink with its surroundings.
struct Down {
    downlink: Downlink,
    queue: Fake,
    host: Arc<FakeHost>,
    tally: Tally,
    now: Instant,
    swallow: Option<Vec<u8>>,
}

struct Swallow(Option<Vec<u8>>, u32);

impl Inspect for Swallow {
    fn inspect(&mut self, datagram: &[u8], _tally: &mut Tally) -> bool {
        self.1 += 1;
        self.0.as_deref() != Some(datagram)
    }
}

impl Down {
    fn new() -> Self {
        let queue = Fake::new(0x81);
        let now = Instant::now();
        let mut down = Self {
            downlink: Downlink::new(
                queue.boxed(),
                Limits::default(),
                16_000,
                131_072,
                4,
                DropCounters::default(),
            ),
            queue,
            host: FakeHost::new(),
            tally: Tally::default(),
            now,
            swallow: None,
        };
        down.downlink.submit_idle(now, &mut down.tally).unwrap();
        down
    }

    fn round(&mut self) -> Result<bool, Fault> {
        let mut inspect = Swallow(self.swallow.clone(), 0);
        self.downlink
            .run(&*self.host, self.now, &mut inspect, &mut self.tally)
    }

    fn incoming(&self) -> Vec<Vec<u8>> {
        self.host.script().incoming.clone()
    }
}

#[test]
fn blocks_reach_the_host_from_usb_memory() {
    let mut down = Down::new();
    assert_eq!(down.queue.lock().pending.len(), 4);
    assert!(
        down.queue
            .lock()
            .pending
            .iter()
            .all(|buffer| buffer.capacity() == 16_384),
        "whole packets"
    );
    let packets: Vec<_> = (0..20).map(|number| packet(number, 700)).collect();
    down.queue.deliver(&pack(&packets[..10]));
    down.queue.deliver(&pack(&packets[10..]));
    down.round().unwrap();
    assert_eq!(down.incoming(), packets);
    let state = down.queue.lock();
    assert_eq!(state.pending.len(), 4, "buffers are queued again");
    for place in &down.host.script().written {
        assert!(state.memory.iter().any(|memory| memory.contains(place)));
    }
    assert_eq!(
        (down.tally.received_packets, down.tally.received_blocks),
        (20, 2)
    );
}

#[test]
fn a_host_without_room_is_waited_for() {
    let mut down = Down::new();
    let packets: Vec<_> = (0..30).map(|number| packet(number, 700)).collect();
    for part in packets.chunks(10) {
        down.queue.deliver(&pack(part));
    }
    down.host.script().room = Some(4);
    down.round().unwrap();
    assert!(down.downlink.wants_output());
    assert_eq!(down.incoming().len(), 4);
    down.now += Duration::from_millis(150);
    down.host.script().room = Some(3);
    down.round().unwrap();
    down.now += Duration::from_millis(150);
    down.round().unwrap();
    assert!(down.downlink.wants_output(), "it has moved since");
    down.host.script().room = None;
    down.round().unwrap();
    assert_eq!(
        down.incoming(),
        packets,
        "nothing lost, nothing out of order"
    );
    assert_eq!(down.tally.host_full, 0);
}

#[test]
fn patience_with_the_host_is_bounded() {
    let mut down = Down::new();
    let packets: Vec<_> = (0..20).map(|number| packet(number, 700)).collect();
    down.queue.deliver(&pack(&packets[..10]));
    down.queue.deliver(&pack(&packets[10..]));
    down.host.script().room = Some(4);
    down.round().unwrap();
    let deadline = down.downlink.deadline().unwrap();
    assert!(deadline <= down.now + Downlink::PATIENCE);
    down.now = deadline;
    down.round().unwrap();
    assert_eq!(down.tally.host_full, 6);
    assert!(down.downlink.wants_output(), "the next block is held now");
    down.host.script().room = None;
    down.round().unwrap();
    assert_eq!(down.incoming().len(), 14);
    assert_eq!(down.queue.lock().pending.len(), 4);
}

#[test]
fn refused_and_swallowed_datagrams_cost_their_neighbours_nothing() {
    let mut down = Down::new();
    let packets: Vec<_> = (0..3).map(|number| packet(number, 100)).collect();
    down.swallow = Some(packets[1].clone());
    down.queue.deliver(&pack(&packets));
    down.round().unwrap();
    assert_eq!(down.incoming(), [packets[0].clone(), packets[2].clone()]);
    down.host.script().refuses = true;
    down.queue.deliver(&pack(&packets[..1]));
    down.round().unwrap();
    assert_eq!(down.tally.host_refused, 1);
}

#[test]
fn a_datagram_held_is_inspected_once() {
    let mut down = Down::new();
    down.queue.deliver(&pack(&[packet(1, 100)]));
    down.host.script().room = Some(0);
    let mut inspect = Swallow(None, 0);
    for _ in 0..3 {
        down.downlink
            .run(&*down.host, down.now, &mut inspect, &mut down.tally)
            .unwrap();
    }
    down.host.script().room = None;
    down.downlink
        .run(&*down.host, down.now, &mut inspect, &mut down.tally)
        .unwrap();
    assert_eq!((inspect.1, down.incoming().len()), (1, 1));
}

#[test]
fn garbage_is_counted_and_nothing_else() {
    let mut down = Down::new();
    for bytes in [&b"CONNECT 21600000\r\n"[..], &[], &[0; 600], &[0xff; 3000]] {
        down.queue.deliver(bytes);
    }
    down.round().unwrap();
    assert_eq!(down.incoming(), Vec::<Vec<u8>>::new());
    assert_eq!(down.tally.refused.total(), 3);
    assert_eq!(down.queue.lock().pending.len(), 4);
    let before = down.tally.refused;
    // Another bring-up goes on counting.
    let queue = Fake::new(0x81);
    let mut next = Downlink::new(queue.boxed(), Limits::default(), 16_384, 16_384, 2, before);
    next.submit_idle(down.now, &mut down.tally).unwrap();
    queue.deliver(&[0xff; 3000]);
    next.run(
        &*down.host,
        down.now,
        &mut Swallow(None, 0),
        &mut down.tally,
    )
    .unwrap();
    assert_eq!(down.tally.refused.total(), 4);
}

#[test]
fn blocks_longer_than_agreed_lead_to_larger_buffers() {
    let mut down = Down::new();
    down.queue.deliver(&vec![0; 20_000]);
    down.round().unwrap();
    assert_eq!(down.tally.receive_overflow, 1);
    down.round().unwrap();
    let state = down.queue.lock();
    assert_eq!(state.pending.len(), 4);
    assert!(
        state
            .pending
            .iter()
            .all(|buffer| buffer.capacity() == 131_072)
    );
}

#[test]
fn a_halted_way_in_drains_and_goes_on() {
    let mut down = Down::new();
    down.queue.complete(Err(TransferError::Stall));
    down.round().unwrap();
    down.round().unwrap();
    assert!(down.downlink.can_clear_halt());
    assert_eq!(down.queue.lock().pending.len(), 0);
    down.downlink.halt_cleared();
    down.round().unwrap();
    assert_eq!(down.queue.lock().pending.len(), 4);
    assert_eq!(down.tally.receive_stall, 1);
}

#[test]
fn transfer_errors_are_throttled_and_then_final() {
    let mut down = Down::new();
    down.queue.complete(Err(TransferError::Fault));
    down.round().unwrap();
    assert_eq!(down.queue.lock().pending.len(), 3, "paused");
    down.now = down.downlink.deadline().unwrap();
    down.round().unwrap();
    assert_eq!(down.queue.lock().pending.len(), 4);
    let mut failed = None;
    for _ in 0..200 {
        down.queue.complete(Err(TransferError::Fault));
        if let Err(fault) = down.round() {
            failed = Some(fault);
            break;
        }
        down.now += Duration::from_millis(130);
        down.round().unwrap();
    }
    assert_eq!(failed, Some(Fault::Receive(TransferError::Fault)));
    let mut down = Down::new();
    down.queue.complete(Err(TransferError::Gone));
    assert_eq!(down.round(), Err(Fault::Gone));
}

/// A pump that is told when something completes.
struct FakePump {
    descriptors: Vec<(RawFd, bool)>,
    event: Arc<OwnedFd>,
    gone: Arc<std::sync::atomic::AtomicBool>,
}

impl Pump for FakePump {
    fn descriptors(&self) -> &[(RawFd, bool)] {
        &self.descriptors
    }

    fn process(&mut self) -> Result<(), Error> {
        let _ = rustix::io::read(&*self.event, &mut [0; 8]);
        if self.gone.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Error::Gone {
                operation: "poll".into(),
            });
        }
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        None
    }
}

/// A reactor with its surroundings.
struct Machine {
    reactor: Reactor,
    reports: mpsc::Receiver<Report>,
    event: Arc<OwnedFd>,
    gone: Arc<std::sync::atomic::AtomicBool>,
    counters: Arc<Counters>,
    interrupt: Fake,
    bulk_in: Fake,
    bulk_out: Fake,
    host: Arc<FakeHost>,
}

impl Machine {
    fn new() -> Self {
        let event = Arc::new(eventfd(0, EventfdFlags::NONBLOCK).unwrap());
        let gone = Arc::default();
        let pump = FakePump {
            descriptors: vec![(event.as_raw_fd(), false)],
            event: Arc::clone(&event),
            gone: Arc::clone(&gone),
        };
        let (sender, reports) = mpsc::channel();
        let counters = Arc::<Counters>::default();
        let interrupt = Fake::new(0x82);
        let report = Box::new(move |report| sender.send(report).is_ok());
        let reactor = Reactor::spawn(
            Box::new(pump),
            interrupt.boxed(),
            Arc::clone(&counters),
            report,
        )
        .unwrap();
        Self {
            reactor,
            reports,
            event,
            gone,
            counters,
            interrupt,
            bulk_in: Fake::new(0x81),
            bulk_out: Fake::new(0x01),
            host: FakeHost::new(),
        }
    }

    fn start(&self) {
        let plan = DataPlan {
            bulk_in: self.bulk_in.boxed(),
            bulk_out: self.bulk_out.boxed(),
            framing: framing(),
            limits: Limits::default(),
            receive_size: 16_384,
            receive_max: 16_384,
            depth: 4,
            host: Arc::clone(&self.host) as Arc<dyn HostEnd>,
            link: Link {
                mtu: MTU,
                ..Link::default()
            },
        };
        let running = self.reactor.start(plan).unwrap();
        assert_eq!((running.receive_transfers, running.send_transfers), (4, 4));
    }

    fn ring(&self) {
        rustix::io::write(&*self.event, &1u64.to_ne_bytes()).unwrap();
    }

    fn report(&self) -> Report {
        self.reports
            .recv_timeout(Duration::from_secs(10))
            .expect("no report")
    }

    fn until(&self, what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < deadline, "{what} did not happen");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn the_reactor_moves_datagrams_both_ways() {
    let machine = Machine::new();
    machine.start();
    machine.host.sends([packet(1, 60)]);
    machine.until("sending", || !machine.bulk_out.lock().sent.is_empty());
    machine.bulk_in.deliver(&pack(&[packet(2, 60)]));
    machine.ring();
    machine.until("receiving", || !machine.host.script().incoming.is_empty());
    machine.until("counting", || {
        machine.counters.snapshot().received_packets == 1
    });
    assert!(machine.reactor.stop_data());
    assert_eq!(machine.bulk_in.pending(), 0, "drained");
    assert_eq!(machine.bulk_out.pending(), 0);
    assert_eq!(machine.counters.snapshot().sent_packets, 1);
    machine.host.sends([packet(3, 60)]);
    machine.start();
    machine.until("sending again", || machine.bulk_out.lock().sent.len() == 2);
}

#[test]
fn notifications_and_halts_are_reported() {
    let machine = Machine::new();
    machine.until("listening", || machine.interrupt.pending() == 4);
    let notification = [0xa1, 1, 0, 0, 0, 0, 0, 0];
    machine.interrupt.deliver(&notification);
    machine.ring();
    let Report::Notification(bytes) = machine.report() else {
        panic!("no notification");
    };
    assert_eq!(bytes, notification);
    machine.interrupt.complete(Err(TransferError::Stall));
    machine.ring();
    machine.until("cancelling", || machine.interrupt.lock().cancelled > 0);
    machine.ring();
    assert!(matches!(machine.report(), Report::Halted(0x82)));
    machine.reactor.halt_cleared(0x82);
    machine.until("listening again", || {
        machine.interrupt.lock().pending.len() == 4
    });
    machine.start();
    machine.bulk_in.complete(Err(TransferError::Stall));
    machine.ring();
    machine.until("cancelling", || machine.bulk_in.lock().cancelled > 0);
    machine.ring();
    assert!(matches!(machine.report(), Report::Halted(0x81)));
    machine.reactor.halt_cleared(0x81);
    machine.until("receiving again", || {
        machine.bulk_in.lock().pending.len() == 4
    });
}

#[test]
fn a_device_that_goes_ends_the_reactor_once() {
    let machine = Machine::new();
    machine.start();
    machine
        .gone
        .store(true, std::sync::atomic::Ordering::Relaxed);
    machine.ring();
    assert!(matches!(machine.report(), Report::Ended(Fault::Gone)));
    assert!(machine.reactor.stop_data(), "orders are still followed");
    drop(machine.reactor);
    assert!(machine.reports.try_iter().next().is_none());
}

#[test]
fn a_host_end_that_breaks_ends_the_data_path_alone() {
    let machine = Machine::new();
    machine.start();
    machine.host.script().broken = true;
    machine.host.sends([packet(1, 60)]);
    assert!(matches!(machine.report(), Report::DataLost(Fault::Host(_))));
    machine.host.script().broken = false;
    machine.start();
    machine.until("sending", || !machine.bulk_out.lock().sent.is_empty());
}
