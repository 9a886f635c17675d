//! A plain NCM function in software, behind the trait that every USB backend implements, with the
//! test as its far side. It checks the order of the host's requests (NCM 1.0, 7) and its NTBs by
//! the strictest reading of the rules, and records every fault that it finds.

use std::collections::{BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use uwwan_ncm::strict::{self, Rules};
use uwwan_ncm::{
    Builder, Choices, DropCounters, Format, Framing, Function, Limits, Ntb, NtbParameters, Stream,
};
use uwwan_usb::buffer::Buffer;
use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::device::{
    Backend, Completion, Device, Found, Identity, Pump, Queue, Rejected, Setup, Speed,
};
use uwwan_usb::error::{Error, Holder, TransferError};

/// Ethernet address that it gives to the host.
pub const ADDRESS: [u8; 6] = [0x02, 0x99, 0x00, 0x00, 0x00, 0x01];
pub const FRAME: usize = 1514;
const CONTROL: u8 = 4;
const DATA: u8 = 5;
const INTERRUPT: u8 = 0x83;
const IN: u8 = 0x82;
const OUT: u8 = 0x02;

const DEVICE: [u8; 18] = [
    0x12, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x40, 0x25, 0x05, 0xa1, 0xa4, 0x00, 0x01, 0x01, 0x02,
    0x00, 0x01,
];

/// The descriptors of the kernel's `f_ncm`, with other interface numbers and more capabilities:
/// packet filter, datagram size, CRC mode, 8-byte input size.
#[rustfmt::skip]
const CONFIGURATION: [u8; 94] = [
    0x09, 0x02, 0x5e, 0x00, 0x02, 0x01, 0x00, 0xc0, 0x01,
    0x08, 0x0b, CONTROL, 0x02, 0x02, 0x0d, 0x00, 0x00,
    0x09, 0x04, CONTROL, 0x00, 0x01, 0x02, 0x0d, 0x00, 0x00,
    0x05, 0x24, 0x00, 0x10, 0x01,
    0x05, 0x24, 0x06, CONTROL, DATA,
    0x0d, 0x24, 0x0f, 0x05, 0x00, 0x00, 0x00, 0x00, 0xea, 0x05, 0x00, 0x00, 0x00,
    0x06, 0x24, 0x1a, 0x00, 0x01, 0x39,
    0x07, 0x05, INTERRUPT, 0x03, 0x10, 0x00, 0x09,
    0x09, 0x04, DATA, 0x00, 0x00, 0x0a, 0x00, 0x01, 0x00,
    0x09, 0x04, DATA, 0x01, 0x02, 0x0a, 0x00, 0x01, 0x00,
    0x07, 0x05, IN, 0x02, 0x00, 0x02, 0x00,
    0x07, 0x05, OUT, 0x02, 0x00, 0x02, 0x00,
];
/// Offset of `wMaxSegmentSize` in the configuration (CDC ECM 1.2, table 3).
const SEGMENT_SIZE: usize = 44;

/// The parameters of `f_ncm`, except for a larger NTB towards the host and an odd payload
/// remainder.
pub const PARAMETERS: NtbParameters = NtbParameters {
    formats: 3,
    in_max: 32_768,
    in_divisor: 4,
    in_remainder: 0,
    in_alignment: 4,
    out_max: 16_384,
    out_divisor: 32,
    out_remainder: 6,
    out_alignment: 4,
    out_max_datagrams: 0,
};

#[derive(Default)]
struct State {
    present: bool,
    generation: u8,
    configuration: u8,
    alternate: u8,
    /// Whether the kernel's driver is bound.
    bound: bool,
    claims: BTreeSet<u8>,
    format: Option<Format>,
    /// Length in bytes of the longest frame where it is not [`FRAME`].
    longest: Option<u16>,
    /// Whether every class request is refused.
    stubborn: bool,
    requests: Vec<String>,
    faults: Vec<String>,
    pending: Vec<(u8, Buffer)>,
    zero_packet: bool,
    done: Vec<(u8, Completion)>,
    ntbs: VecDeque<Vec<u8>>,
    notifications: VecDeque<Vec<u8>>,
    frames: Vec<Vec<u8>>,
}

impl State {
    fn complete(&mut self, index: usize, result: Result<usize, TransferError>) {
        let (endpoint, buffer) = self.pending.remove(index);
        self.done.push((endpoint, Completion { buffer, result }));
    }

    /// Moves all transfers that can be moved.
    fn run(&mut self) {
        let mut index = 0;
        while index < self.pending.len() {
            let endpoint = self.pending[index].0;
            if endpoint == OUT {
                let ntb = self.pending[index].1.filled().to_vec();
                self.take(&ntb);
                self.complete(index, Ok(ntb.len()));
                continue;
            }
            let source = if endpoint == IN {
                &mut self.ntbs
            } else {
                &mut self.notifications
            };
            let Some(bytes) = source.pop_front() else {
                index += 1;
                continue;
            };
            let buffer = &mut self.pending[index].1;
            if bytes.len() > buffer.capacity() {
                self.complete(index, Err(TransferError::Overflow));
                continue;
            }
            buffer.bytes_mut()[..bytes.len()].copy_from_slice(&bytes);
            buffer.set_len(bytes.len());
            self.complete(index, Ok(bytes.len()));
        }
    }

    /// Takes an NTB from the host.
    fn take(&mut self, ntb: &[u8]) {
        let rules = Rules {
            format: self.format,
            function: Function::Ncm,
            max_datagram_size: self.longest.map_or(FRAME, usize::from),
            max_packet_size: Some(512),
            ..Rules::default()
        };
        if let Err(violation) = strict::check(ntb, self.zero_packet, &PARAMETERS, &rules) {
            self.faults.push(violation.to_string());
            return;
        }
        let mut drops = DropCounters::default();
        let parsed = Ntb::parse(ntb, &Limits::default()).expect("checked before");
        for datagram in parsed.datagrams(&mut drops) {
            if datagram.stream != (Stream::Ethernet { crc: false }) {
                self.faults.push(format!("{} in an NTB", datagram.stream));
            }
            self.frames.push(ntb[datagram.range].to_vec());
        }
    }
}

/// The device with its bus.
pub struct Gadget {
    state: Mutex<State>,
    changed: Condvar,
    /// Socket that makes the pump's descriptor readable.
    waker: UnixStream,
    woken: UnixStream,
}

impl Gadget {
    /// Makes a device that is plugged in, with the kernel's driver bound.
    pub fn new() -> Arc<Self> {
        let (waker, woken) = UnixStream::pair().unwrap();
        waker.set_nonblocking(true).unwrap();
        woken.set_nonblocking(true).unwrap();
        let gadget = Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            waker,
            woken,
        };
        gadget.plug();
        Arc::new(gadget)
    }

    /// Makes such a device with another `wMaxSegmentSize`.
    pub fn with_frames_of(longest: u16) -> Arc<Self> {
        let gadget = Self::new();
        gadget.lock().longest = Some(longest);
        gadget
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn ring(&self) {
        let _ = (&self.waker).write(&[1]);
        self.changed.notify_all();
    }

    /// Refuses every class request from the next bring-up on.
    pub fn be_stubborn(&self) {
        self.lock().stubborn = true;
    }

    pub fn plug(&self) {
        let mut state = self.lock();
        *state = State {
            present: true,
            generation: state.generation + 1,
            configuration: 1,
            bound: true,
            faults: std::mem::take(&mut state.faults),
            ..State::default()
        };
    }

    /// Unplugs the device with all transfers that are in flight.
    pub fn unplug(&self) {
        let mut state = self.lock();
        state.present = false;
        while !state.pending.is_empty() {
            state.complete(0, Err(TransferError::Gone));
        }
        drop(state);
        self.ring();
    }

    /// Sends NETWORK_CONNECTION, and CONNECTION_SPEED_CHANGE in one packet behind it.
    pub fn set_link(&self, up: bool) {
        let mut state = self.lock();
        let connection = vec![0xa1, 0x00, u8::from(up), 0, CONTROL, 0, 0, 0];
        let mut speed = vec![0xa1, 0x2a, 0, 0, CONTROL, 0, 8, 0];
        speed.extend(100_000_000u32.to_le_bytes());
        speed.extend(40_000_000u32.to_le_bytes());
        state.notifications.extend([connection, speed]);
        state.run();
        drop(state);
        self.ring();
    }

    /// Sends frames to the host, in as many NTBs as needed.
    pub fn send(&self, frames: &[Vec<u8>]) {
        let mut state = self.lock();
        let choices = Choices {
            format: state.format.unwrap_or_default(),
            function: Function::Ncm,
            block_size: 16_384,
            ..Choices::default()
        };
        let mut builder = Builder::new(Framing {
            // A device may send short frames.
            min_datagram_size: 0,
            ..Framing::negotiate(&PARAMETERS, &choices)
        });
        let mut ntb = vec![0; 16_384];
        let mut rest = frames.iter().peekable();
        while let Some(frame) = rest.peek() {
            match builder.place(Stream::Ethernet { crc: false }, frame.len()) {
                Ok(slot) => {
                    ntb[slot.offset..slot.offset + frame.len()].copy_from_slice(frame);
                    builder.commit(slot, frame.len());
                    rest.next();
                }
                Err(_) => {
                    let length = builder.finish(&mut ntb).length;
                    state.ntbs.push_back(ntb[..length].to_vec());
                }
            }
        }
        let length = builder.finish(&mut ntb).length;
        state.ntbs.push_back(ntb[..length].to_vec());
        state.run();
        drop(state);
        self.ring();
    }

    /// Sends bytes that are no NTB.
    pub fn send_raw(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.ntbs.push_back(bytes.to_vec());
        state.run();
        drop(state);
        self.ring();
    }

    /// Waits for that many frames from the host, and returns them.
    pub fn frames(&self, count: usize, patience: Duration) -> Vec<Vec<u8>> {
        let state = self.lock();
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, patience, |state| state.frames.len() < count)
            .unwrap();
        std::mem::take(&mut state.frames)
    }

    /// Returns the class requests and alternate settings, in order.
    pub fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    /// Returns the faults of the host.
    pub fn faults(&self) -> Vec<String> {
        self.lock().faults.clone()
    }

    /// Returns whether no program has claimed it and its data interface is idle.
    pub fn is_idle(&self) -> bool {
        let state = self.lock();
        state.claims.is_empty() && state.alternate == 0
    }
}

/// The bus on which the device is.
pub struct Bus(pub Arc<Gadget>);

impl Backend for Bus {
    fn name(&self) -> &'static str {
        "test"
    }

    fn devices(&self) -> Result<Vec<Found>, Error> {
        let state = self.0.lock();
        if !state.present {
            return Ok(Vec::new());
        }
        let mut configuration = CONFIGURATION;
        if let Some(longest) = state.longest {
            configuration[SEGMENT_SIZE..][..2].copy_from_slice(&longest.to_le_bytes());
        }
        Ok(vec![Found {
            identity: Identity {
                vendor: 0x0525,
                product: 0xa4a1,
                bus: 1,
                address: state.generation,
                port: "1-1".to_owned(),
                speed: Speed::High,
                ..Identity::default()
            },
            descriptors: Descriptors::parse(&DEVICE, &[&configuration]),
            active_configuration: Some(state.configuration),
            kernel_drivers: Vec::new(),
        }])
    }

    fn open(&self, found: &Found) -> Result<Arc<dyn Device>, Error> {
        Ok(Arc::new(Open {
            gadget: Arc::clone(&self.0),
            identity: found.identity.clone(),
            descriptors: found.descriptors.clone(),
        }))
    }
}

struct Open {
    gadget: Arc<Gadget>,
    identity: Identity,
    descriptors: Descriptors,
}

impl Open {
    fn enter(&self, operation: &str) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.gadget.lock();
        if state.present && state.generation == self.identity.address {
            Ok(state)
        } else {
            Err(Error::Gone {
                operation: operation.to_owned(),
            })
        }
    }

    /// Checks what holds for every class request. Returns `None` for other requests.
    fn class(&self, state: &mut State, setup: Setup) -> Result<Option<()>, Error> {
        if setup.request_type & 0x60 != 0x20 {
            return Ok(None);
        }
        if setup.request_type & 0x1f != 1 || setup.index != u16::from(CONTROL) {
            let fault = format!("request {:02x} to interface {}", setup.request, setup.index);
            state.faults.push(fault);
        }
        if state.bound || !state.claims.contains(&CONTROL) {
            state
                .faults
                .push(format!("request {:02x} unclaimed", setup.request));
        }
        // SET_NTB_FORMAT and SET_CRC_MODE are allowed in alternate setting 0 only (NCM 1.0, 6.2).
        if matches!(setup.request, 0x84 | 0x8a) && state.alternate != 0 {
            let fault = format!("request {:02x} with the data on", setup.request);
            state.faults.push(fault);
        }
        if state.stubborn {
            return Err(stall(setup.request));
        }
        Ok(Some(()))
    }
}

fn stall(request: u8) -> Error {
    Error::Stall {
        operation: format!("request {request:02x}"),
    }
}

impl Device for Open {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    fn active_configuration(&self) -> Result<u8, Error> {
        Ok(self.enter("read the configuration")?.configuration)
    }

    fn set_configuration(&self, value: u8) -> Result<(), Error> {
        let mut state = self.enter("select a configuration")?;
        state.configuration = value;
        state.faults.push(format!("configuration {value} selected"));
        Ok(())
    }

    fn holder(&self, interface: u8) -> Result<Option<Holder>, Error> {
        let state = self.enter("look up a driver")?;
        let bound = state.bound && [CONTROL, DATA].contains(&interface);
        Ok(bound.then(|| Holder::Driver("cdc_ncm".to_owned())))
    }

    fn detach_kernel_driver(&self, _: u8) -> Result<(), Error> {
        self.enter("detach a driver")?.bound = false;
        Ok(())
    }

    fn attach_kernel_driver(&self, _: u8) -> Result<(), Error> {
        self.enter("attach a driver").map(drop)
    }

    fn claim(&self, interface: u8) -> Result<(), Error> {
        let mut state = self.enter("claim")?;
        if state.bound {
            return Err(Error::Busy {
                operation: "claim".to_owned(),
                holder: Some(Holder::Driver("cdc_ncm".to_owned())),
            });
        }
        state.claims.insert(interface);
        Ok(())
    }

    fn release(&self, interface: u8) -> Result<(), Error> {
        self.enter("release")?.claims.remove(&interface);
        Ok(())
    }

    fn set_alternate_setting(&self, interface: u8, alternate: u8) -> Result<(), Error> {
        let mut state = self.enter("select an alternate setting")?;
        state
            .requests
            .push(format!("alternate {interface}.{alternate}"));
        if !state.claims.contains(&interface) || interface != DATA || alternate > 1 {
            state
                .faults
                .push(format!("alternate setting {interface}.{alternate}"));
        }
        if state
            .pending
            .iter()
            .any(|(endpoint, _)| *endpoint != INTERRUPT)
        {
            state
                .faults
                .push("alternate setting under transfers".to_owned());
        }
        state.alternate = alternate;
        if alternate == 0 {
            state.format = None;
        }
        Ok(())
    }

    fn control_in(&self, setup: Setup, data: &mut [u8], _: Duration) -> Result<usize, Error> {
        let mut state = self.enter("ask")?;
        let answer: Vec<u8> = match self.class(&mut state, setup)? {
            None if setup.value == 0x0300 => vec![4, 3, 0x09, 0x04],
            None if (setup.value, setup.index) == (0x0305, 0x0409) => {
                let text = ADDRESS.map(|byte| format!("{byte:02X}")).concat();
                let units = text.encode_utf16().flat_map(u16::to_le_bytes);
                [26, 3].into_iter().chain(units).collect()
            }
            None => return Err(stall(setup.request)),
            Some(()) => {
                state.requests.push(format!("get {:02x}", setup.request));
                match setup.request {
                    0x80 => PARAMETERS.encode().to_vec(),
                    0x83 => state
                        .format
                        .unwrap_or_default()
                        .wire()
                        .to_le_bytes()
                        .to_vec(),
                    0x87 => 2048u16.to_le_bytes().to_vec(),
                    _ => return Err(stall(setup.request)),
                }
            }
        };
        let length = answer.len().min(data.len());
        data[..length].copy_from_slice(&answer[..length]);
        Ok(length)
    }

    fn control_out(&self, setup: Setup, data: &[u8], _: Duration) -> Result<(), Error> {
        let mut state = self.enter("tell")?;
        self.class(&mut state, setup)?
            .ok_or_else(|| stall(setup.request))?;
        let number = data
            .iter()
            .rev()
            .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let argument = if data.is_empty() {
            setup.value.into()
        } else {
            number
        };
        state
            .requests
            .push(format!("set {:02x} {argument}", setup.request));
        match setup.request {
            0x84 => state.format = Format::from_wire(setup.value),
            0x43 | 0x86 | 0x88 | 0x8a => {}
            _ => return Err(stall(setup.request)),
        }
        Ok(())
    }

    fn clear_halt(&self, _: u8) -> Result<(), Error> {
        Ok(())
    }

    fn reset(&self) -> Result<(), Error> {
        Ok(())
    }

    fn queue(&self, endpoint: u8) -> Result<Box<dyn Queue>, Error> {
        let state = self.enter("open a queue")?;
        let known =
            endpoint == INTERRUPT || ([IN, OUT].contains(&endpoint) && state.alternate == 1);
        if !known {
            return Err(Error::NoSuchEndpoint {
                operation: format!("queue {endpoint:02x}"),
            });
        }
        Ok(Box::new(EndpointQueue {
            gadget: Arc::clone(&self.gadget),
            generation: state.generation,
            endpoint,
        }))
    }

    fn pump(&self) -> Result<Box<dyn Pump>, Error> {
        Ok(Box::new(Handler {
            descriptors: [(self.gadget.woken.as_raw_fd(), false)],
            gadget: Arc::clone(&self.gadget),
            generation: self.identity.address,
        }))
    }
}

/// The queue of an endpoint. There is one at a time, so completions need no owner.
struct EndpointQueue {
    gadget: Arc<Gadget>,
    generation: u8,
    endpoint: u8,
}

impl Queue for EndpointQueue {
    fn endpoint(&self) -> u8 {
        self.endpoint
    }

    fn max_packet_size(&self) -> u16 {
        if self.endpoint == INTERRUPT { 16 } else { 512 }
    }

    fn allocate(&mut self, capacity: usize) -> Buffer {
        Buffer::heap(capacity)
    }

    fn submit(&mut self, buffer: Buffer) -> Result<(), Rejected> {
        let mut state = self.gadget.lock();
        if !state.present || state.generation != self.generation {
            let operation = "submit".to_owned();
            return Err(Rejected {
                buffer,
                error: Error::Gone { operation },
            });
        }
        state.pending.push((self.endpoint, buffer));
        state.run();
        drop(state);
        self.gadget.ring();
        Ok(())
    }

    fn set_zero_packet(&mut self, enabled: bool) {
        self.gadget.lock().zero_packet = enabled;
    }

    fn pending(&self) -> usize {
        let state = self.gadget.lock();
        let waiting = state.pending.iter().map(|(endpoint, _)| endpoint);
        let done = state.done.iter().map(|(endpoint, _)| endpoint);
        waiting
            .chain(done)
            .filter(|at| **at == self.endpoint)
            .count()
    }

    fn try_next(&mut self) -> Option<Completion> {
        let mut state = self.gadget.lock();
        let index = state.done.iter().position(|(at, _)| *at == self.endpoint)?;
        Some(state.done.remove(index).1)
    }

    fn next(&mut self, timeout: Duration) -> Option<Completion> {
        let deadline = Instant::now() + timeout;
        loop {
            let found = self.try_next();
            if found.is_some() || Instant::now() >= deadline {
                return found;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn cancel_all(&mut self) {
        let mut state = self.gadget.lock();
        while let Some(index) = state
            .pending
            .iter()
            .position(|(at, _)| *at == self.endpoint)
        {
            state.complete(index, Err(TransferError::Cancelled));
        }
        drop(state);
        self.gadget.ring();
    }
}

impl Drop for EndpointQueue {
    fn drop(&mut self) {
        self.cancel_all();
        while self.try_next().is_some() {}
    }
}

struct Handler {
    descriptors: [(RawFd, bool); 1],
    gadget: Arc<Gadget>,
    generation: u8,
}

impl Pump for Handler {
    fn descriptors(&self) -> &[(RawFd, bool)] {
        &self.descriptors
    }

    fn process(&mut self) -> Result<(), Error> {
        while (&self.gadget.woken)
            .read(&mut [0; 64])
            .is_ok_and(|length| length == 64)
        {}
        let state = self.gadget.lock();
        if state.present && state.generation == self.generation {
            Ok(())
        } else {
            let operation = "handle events".to_owned();
            Err(Error::Gone { operation })
        }
    }

    fn timeout(&self) -> Option<Duration> {
        None
    }
}
