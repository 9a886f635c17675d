//! The USB device core: chapter 9 of USB 2.0 and the queues of the endpoints. It is sans-IO.
//!
//! Transfers come in with [`UsbDevice::submit`] and leave through [`UsbDevice::take_completed`].
//! The meaning of the endpoints is up to the [`Behaviour`]. This file handles configurations,
//! alternate settings and halts. An IN endpoint without data answers NAK, which means that its
//! transfer stays pending.

mod standard;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::behaviour::{Behaviour, InVerdict, OutVerdict};
use crate::descriptors::{EndpointPlace, Layout, Presented};
use crate::report::{Recorder, Rule};
use crate::urb::{Completed, SetupPacket, Token, Urb, UrbStatus};
use crate::wire::Wire;

/// Largest number of transfers pending on one endpoint; further ones fail.
const MAX_PENDING: usize = 1024;

/// A device on the bus.
#[derive(Debug)]
pub struct UsbDevice {
    presented: Arc<Presented>,
    recorder: Recorder,
    configuration: u8,
    /// Active alternate setting of each interface.
    alternates: [u8; 256],
    /// Endpoints of the active alternate settings, by [`slot`].
    active: [Option<EndpointPlace>; 32],
    /// Halted endpoints, one bit for each [`slot`].
    halted: u32,
    remote_wakeup: bool,
    queues: [VecDeque<Urb>; 32],
    /// Class and vendor requests that are delayed, with the time at which each is executed.
    waiting: Vec<(Instant, Urb)>,
    /// Transfer that is under way on a bus of bounded rate.
    wire: Wire,
    /// Slot that used the bus last.
    turn: usize,
    completed: VecDeque<Completed>,
}

/// Returns the index of an endpoint address in the tables: OUT endpoints have 0 to 15, IN endpoints
/// 16 to 31.
fn slot(address: u8) -> usize {
    usize::from(address & 0x0f) | usize::from(address & 0x80) >> 3
}

impl UsbDevice {
    /// Makes a device that was just plugged in and is unconfigured.
    #[must_use]
    pub fn new(presented: Arc<Presented>, recorder: Recorder) -> Self {
        Self {
            presented,
            recorder,
            configuration: 0,
            alternates: [0; 256],
            active: [None; 32],
            halted: 0,
            remote_wakeup: false,
            queues: std::array::from_fn(|_| VecDeque::new()),
            waiting: Vec::new(),
            wire: Wire::default(),
            turn: 0,
            completed: VecDeque::new(),
        }
    }

    /// Returns `bConfigurationValue` of the active configuration, 0 when unconfigured.
    #[must_use]
    pub fn configuration(&self) -> u8 {
        self.configuration
    }

    /// Returns the active alternate setting of an interface; 0 for an interface that does not exist.
    #[must_use]
    pub fn alternate(&self, interface: u8) -> u8 {
        self.alternates[usize::from(interface)]
    }

    /// Returns whether transfers wait on an endpoint that is not halted, and the bus is free for
    /// them.
    #[must_use]
    pub fn is_waiting(&self, endpoint: u8) -> bool {
        !self.queues[slot(endpoint)].is_empty()
            && self.halted & 1 << slot(endpoint) == 0
            && self.wire.is_free()
    }

    /// Halts an endpoint: its transfers end with a STALL until the host clears it.
    pub fn halt(&mut self, endpoint: u8) {
        self.halted |= 1 << slot(endpoint);
        self.fail_pending(slot(endpoint), UrbStatus::Stall);
    }

    /// Resets the device from the bus: it is unconfigured, and every pending transfer ends as gone.
    pub fn bus_reset(&mut self, behaviour: &mut dyn Behaviour, now: Instant) {
        self.end_transfers();
        let from = self.configuration;
        self.select(0);
        self.remote_wakeup = false;
        behaviour.configured(from, 0, now);
    }

    /// Ends all pending transfers as those of a device that is gone.
    pub fn end_transfers(&mut self) {
        for slot in 0..32 {
            self.fail_pending(slot, UrbStatus::Gone);
        }
        self.completed.extend(self.wire.abort(UrbStatus::Gone));
        for (_, urb) in std::mem::take(&mut self.waiting) {
            self.completed.push_back(urb.end(UrbStatus::Gone));
        }
    }

    /// Returns the oldest completion. Completions come in the order in which transfers ended.
    pub fn take_completed(&mut self) -> Option<Completed> {
        self.completed.pop_front()
    }

    /// Takes a transfer back, which completes as cancelled. Returns `false` when no such transfer
    /// is pending.
    pub fn cancel(&mut self, token: Token) -> bool {
        if self.wire.has(token) {
            self.completed.extend(self.wire.abort(UrbStatus::Cancelled));
            return true;
        }
        for queue in &mut self.queues {
            if let Some(at) = queue.iter().position(|urb| urb.token == token) {
                if let Some(urb) = queue.remove(at) {
                    self.completed.push_back(urb.end(UrbStatus::Cancelled));
                }
                return true;
            }
        }
        let waiting = self.waiting.iter();
        match waiting
            .map(|(_, urb)| urb.token)
            .position(|other| other == token)
        {
            Some(at) => {
                let (_, urb) = self.waiting.remove(at);
                self.completed.push_back(urb.end(UrbStatus::Cancelled));
                true
            }
            None => false,
        }
    }

    /// Returns when [`UsbDevice::service`] is due by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|(at, _)| *at);
        waiting.chain(self.wire.deadline()).min()
    }

    /// Starts a transfer. It may complete at once.
    pub fn submit(&mut self, mut urb: Urb, behaviour: &mut dyn Behaviour, now: Instant) {
        urb.wanted = urb.wanted.min(urb.buffer.capacity());
        if urb.endpoint & 0x0f == 0 {
            let pause = match urb.setup.kind() {
                0 => Duration::ZERO,
                _ => behaviour.pause(urb.setup),
            };
            if pause.is_zero() || self.waiting.len() >= MAX_PENDING {
                self.control(urb, behaviour, now);
            } else {
                self.waiting.push((now + pause, urb));
            }
            return;
        }
        let urb = empty(urb);
        let slot = slot(urb.endpoint);
        if urb.endpoint & 0x70 != 0 || self.active[slot].is_none() {
            self.recorder.violation(Rule::Usb, || {
                format!(
                    "transfer on endpoint {:#04x}, which configuration {} does not have in its active alternate settings",
                    urb.endpoint, self.configuration
                )
            });
            self.completed.push_back(urb.end(UrbStatus::Fault));
            return;
        }
        if self.halted & 1 << slot != 0 {
            self.completed.push_back(urb.end(UrbStatus::Stall));
            return;
        }
        if self.queues[slot].len() >= MAX_PENDING {
            self.completed.push_back(urb.end(UrbStatus::Fault));
            return;
        }
        self.queues[slot].push_back(urb);
        self.run(slot, behaviour, now);
    }

    /// Moves the pending transfers of all endpoints as far as possible.
    pub fn service(&mut self, behaviour: &mut dyn Behaviour, now: Instant) {
        while let Some(at) = self.waiting.iter().position(|(due, _)| *due <= now) {
            let (_, urb) = self.waiting.remove(at);
            self.control(urb, behaviour, now);
        }
        loop {
            self.completed.extend(self.wire.arrived(now));
            // On a bus of bounded rate the endpoints take turns.
            let first = self.turn + 1;
            for slot in (0..32).map(|step| (first + step) % 32) {
                if !self.queues[slot].is_empty() {
                    self.run(slot, behaviour, now);
                }
            }
            if self.wire.deadline().is_none_or(|at| at > now) {
                return;
            }
        }
    }

    fn run(&mut self, slot: usize, behaviour: &mut dyn Behaviour, now: Instant) {
        let Some(place) = self.active[slot] else {
            self.fail_pending(slot, UrbStatus::Fault);
            return;
        };
        while self.wire.is_free()
            && let Some(mut urb) = self.queues[slot].pop_front()
        {
            let status = if place.address & 0x80 == 0 {
                run_out(&mut urb, place, behaviour, now)
            } else {
                run_in(&mut urb, place, behaviour, now)
            };
            match status {
                None => {
                    self.queues[slot].push_front(urb);
                    return;
                }
                Some(UrbStatus::Stall) => {
                    self.completed.push_back(urb.end(UrbStatus::Stall));
                    self.halt(place.address);
                    return;
                }
                Some(status) => {
                    let (bytes, rate) = (urb.buffer.filled().len(), behaviour.bus_rate());
                    let completed = urb.end(status);
                    if rate > 0 && status == UrbStatus::Done {
                        self.wire.carry(completed, bytes, rate, now);
                        self.turn = slot;
                    } else {
                        self.completed.push_back(completed);
                    }
                }
            }
        }
    }

    fn fail_pending(&mut self, slot: usize, status: UrbStatus) {
        while let Some(urb) = self.queues[slot].pop_front() {
            self.completed.push_back(urb.end(status));
        }
    }

    fn layout(&self) -> Option<&Layout> {
        let configuration = self.presented.configuration(self.configuration)?;
        Some(&configuration.layout)
    }

    fn select(&mut self, configuration: u8) {
        self.configuration = configuration;
        self.alternates = [0; 256];
        self.halted = 0;
        self.refresh();
    }

    /// Recomputes the active endpoints. Transfers on those that no longer exist are cancelled.
    fn refresh(&mut self) {
        let mut active = [None; 32];
        if let Some(layout) = self.layout() {
            for place in &layout.endpoints {
                if self.alternate(place.interface) == place.alternate {
                    active[slot(place.address)] = Some(*place);
                }
            }
        }
        self.active = active;
        for slot in 0..32 {
            if self.active[slot].is_none() {
                self.fail_pending(slot, UrbStatus::Cancelled);
            }
        }
    }

    fn control(&mut self, mut urb: Urb, behaviour: &mut dyn Behaviour, now: Instant) {
        let setup = urb.setup;
        let done = if setup.is_in() {
            let mut room = urb.wanted.min(usize::from(setup.length));
            let answer = if setup.kind() == 0 {
                self.standard_in(setup).map(|bytes| {
                    let length = bytes.len().min(room);
                    urb.buffer.bytes_mut()[..length].copy_from_slice(&bytes[..length]);
                    length
                })
            } else if self.addressable(setup) {
                room = room.min(urb.buffer.capacity());
                behaviour.control_in(setup, &mut urb.buffer.bytes_mut()[..room], now)
            } else {
                None
            };
            urb.buffer.set_len(answer.unwrap_or(0).min(room));
            // The status stage of the request is reported through the endpoint's direction bit.
            urb.endpoint |= 0x80;
            answer.is_some()
        } else {
            if usize::from(setup.length) != urb.buffer.filled().len() {
                self.recorder.violation(Rule::Usb, || {
                    format!(
                        "control request {:#04x} announces {} bytes and sends {}",
                        setup.request,
                        setup.length,
                        urb.buffer.filled().len()
                    )
                });
            }
            match setup.kind() {
                0 => self.standard_out(setup, behaviour, now),
                _ => {
                    self.addressable(setup)
                        && behaviour.control_out(setup, urb.buffer.filled(), now)
                }
            }
        };
        let status = if done {
            UrbStatus::Done
        } else {
            UrbStatus::Stall
        };
        self.completed.push_back(urb.end(status));
    }

    /// Returns whether a class or vendor request is addressed to the device, or to an interface or
    /// endpoint that exists.
    fn addressable(&self, setup: SetupPacket) -> bool {
        let low = setup.index.to_le_bytes()[0];
        match setup.recipient() {
            0 => true,
            1 => self
                .layout()
                .is_some_and(|layout| layout.alternates.iter().any(|place| place.interface == low)),
            2 => self.endpoint_exists(low),
            _ => false,
        }
    }

    fn endpoint_exists(&self, address: u8) -> bool {
        address & 0x7f == 0 || (address & 0x70 == 0 && self.active[slot(address)].is_some())
    }
}

/// Empties the buffer of an IN transfer, and returns the transfer.
fn empty(mut urb: Urb) -> Urb {
    if urb.is_in() {
        urb.buffer.set_len(0);
    }
    urb
}

/// Moves an OUT transfer. Returns `None` when it stays pending.
fn run_out(
    urb: &mut Urb,
    place: EndpointPlace,
    behaviour: &mut dyn Behaviour,
    now: Instant,
) -> Option<UrbStatus> {
    let length = urb.buffer.filled().len();
    let short = length == 0 || !length.is_multiple_of(place.max_packet_size.into());
    let ended = short || urb.zero_packet;
    match behaviour.bulk_out(urb.endpoint, urb.buffer.filled(), ended, now) {
        OutVerdict::Accept => Some(UrbStatus::Done),
        OutVerdict::Nak => None,
        OutVerdict::Stall => Some(UrbStatus::Stall),
        OutVerdict::Fault => Some(UrbStatus::Fault),
    }
}

/// Moves an IN transfer, as far as the function has data. Returns `None` when it stays pending.
fn run_in(
    urb: &mut Urb,
    place: EndpointPlace,
    behaviour: &mut dyn Behaviour,
    now: Instant,
) -> Option<UrbStatus> {
    loop {
        let filled = urb.buffer.filled().len();
        let wanted = urb.wanted;
        let room = &mut urb.buffer.bytes_mut()[filled..wanted];
        let offered = room.len();
        match behaviour.bulk_in(place.address, room, now) {
            InVerdict::Nak => return None,
            InVerdict::Stall => return Some(UrbStatus::Stall),
            InVerdict::Overflow => return Some(UrbStatus::Overflow),
            InVerdict::Fault => return Some(UrbStatus::Fault),
            InVerdict::Data { length, short } => {
                let length = length.min(offered);
                urb.buffer.set_len(filled + length);
                if short || length == offered {
                    return Some(UrbStatus::Done);
                }
                if length == 0 {
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::standard::FEATURE_ENDPOINT_HALT;
    use super::*;
    use crate::knobs::Knobs;
    use uwwan_usb::buffer::Buffer;
    use uwwan_usb::codes::standard::{
        CLEAR_FEATURE, SET_CONFIGURATION, SET_FEATURE, SET_INTERFACE,
    };

    const MBIM: u8 = 3;
    const DATA: u8 = 1;
    const IN: u8 = 0x81;
    const OUT: u8 = 0x01;

    /// Functions that answer as a test tells them to.
    #[derive(Default)]
    struct Script {
        input: VecDeque<InVerdict>,
        output: VecDeque<OutVerdict>,
        seen: Vec<(usize, bool)>,
        rate: u64,
    }

    impl Behaviour for Script {
        fn configured(&mut self, _: u8, _: u8, _: Instant) {}

        fn bus_rate(&self) -> u64 {
            self.rate
        }

        fn alternate_selected(&mut self, _: u8, _: u8, _: Instant) {}

        fn control_out(&mut self, _: SetupPacket, _: &[u8], _: Instant) -> bool {
            false
        }

        fn control_in(&mut self, _: SetupPacket, _: &mut [u8], _: Instant) -> Option<usize> {
            None
        }

        fn bulk_out(&mut self, _: u8, data: &[u8], ended: bool, _: Instant) -> OutVerdict {
            self.seen.push((data.len(), ended));
            self.output.pop_front().unwrap_or(OutVerdict::Nak)
        }

        fn bulk_in(&mut self, _: u8, _: &mut [u8], _: Instant) -> InVerdict {
            self.input.pop_front().unwrap_or(InVerdict::Nak)
        }
    }

    struct Bench {
        device: UsbDevice,
        script: Script,
        now: Instant,
        token: Token,
    }

    impl Bench {
        /// Makes a device in the alternate setting with the endpoints of the data interface.
        fn new() -> Self {
            let mut bench = Self {
                device: UsbDevice::new(
                    Arc::new(Presented::new(&Knobs::default(), None, &Default::default())),
                    Recorder::default(),
                ),
                script: Script::default(),
                now: Instant::now(),
                token: 0,
            };
            let done = bench.control(0x00, SET_CONFIGURATION, MBIM.into(), 0);
            assert_eq!(done, UrbStatus::Done);
            let done = bench.control(0x01, SET_INTERFACE, 1, DATA.into());
            assert_eq!(done, UrbStatus::Done);
            bench
        }

        fn submit(&mut self, endpoint: u8, setup: SetupPacket, length: usize, zero_packet: bool) {
            self.token += 1;
            let mut buffer = Buffer::heap(length);
            buffer.set_len(length);
            let urb = Urb {
                token: self.token,
                endpoint,
                setup,
                wanted: length,
                buffer,
                zero_packet,
            };
            self.device.submit(urb, &mut self.script, self.now);
        }

        fn bulk(&mut self, endpoint: u8, length: usize) -> Option<(UrbStatus, usize)> {
            self.submit(endpoint, SetupPacket::default(), length, false);
            self.completed()
        }

        fn completed(&mut self) -> Option<(UrbStatus, usize)> {
            let done = self.device.take_completed()?;
            Some((done.status, done.actual))
        }

        fn control(&mut self, request_type: u8, request: u8, value: u16, index: u16) -> UrbStatus {
            let setup = SetupPacket {
                request_type,
                request,
                value,
                index,
                length: 0,
            };
            self.submit(0, setup, 0, false);
            self.completed()
                .map_or(UrbStatus::Gone, |(status, _)| status)
        }

        fn service(&mut self) -> Option<(UrbStatus, usize)> {
            self.device.service(&mut self.script, self.now);
            self.completed()
        }
    }

    fn data(length: usize, short: bool) -> InVerdict {
        InVerdict::Data { length, short }
    }

    #[test]
    fn a_transfer_waits_until_the_function_has_something_to_say() {
        let mut bench = Bench::new();
        assert_eq!(bench.bulk(IN, 1024), None);
        assert!(bench.device.is_waiting(IN));
        assert_eq!(bench.service(), None);
        // A whole packet does not end the transfer; a short one does.
        bench.script.input.extend([data(512, false), data(3, true)]);
        assert_eq!(bench.service(), Some((UrbStatus::Done, 515)));
        assert!(!bench.device.is_waiting(IN));
        bench.script.input.push_back(data(1024, false));
        assert_eq!(bench.bulk(IN, 1024), Some((UrbStatus::Done, 1024)));
        bench.script.input.push_back(InVerdict::Overflow);
        assert_eq!(bench.bulk(IN, 100), Some((UrbStatus::Overflow, 0)));
    }

    #[test]
    fn the_function_sees_where_a_transfer_ends() {
        let mut bench = Bench::new();
        bench.script.output.extend([OutVerdict::Accept; 4]);
        for length in [0, 511, 512] {
            assert_eq!(bench.bulk(OUT, length), Some((UrbStatus::Done, length)));
        }
        bench.submit(OUT, SetupPacket::default(), 512, true);
        assert_eq!(bench.completed(), Some((UrbStatus::Done, 512)));
        let seen = [(0, true), (511, true), (512, false), (512, true)];
        assert_eq!(bench.script.seen, seen);
        // Data for which the function has no room is offered again.
        assert_eq!(bench.bulk(OUT, 7), None);
        bench.script.output.push_back(OutVerdict::Accept);
        assert_eq!(bench.service(), Some((UrbStatus::Done, 7)));
    }

    #[test]
    fn a_halted_endpoint_stalls_until_the_host_clears_it() {
        let mut bench = Bench::new();
        bench.script.output.push_back(OutVerdict::Stall);
        assert_eq!(bench.bulk(OUT, 7), Some((UrbStatus::Stall, 0)));
        assert_eq!(bench.bulk(OUT, 7), Some((UrbStatus::Stall, 0)));
        let cleared = bench.control(0x02, CLEAR_FEATURE, FEATURE_ENDPOINT_HALT, OUT.into());
        assert_eq!(cleared, UrbStatus::Done);
        bench.script.output.push_back(OutVerdict::Accept);
        assert_eq!(bench.bulk(OUT, 7), Some((UrbStatus::Done, 7)));
        // The host may halt the endpoint too, which ends pending transfers.
        assert_eq!(bench.bulk(IN, 64), None);
        let set = bench.control(0x02, SET_FEATURE, FEATURE_ENDPOINT_HALT, IN.into());
        // The end of the transfer comes before that of the request.
        assert_eq!(set, UrbStatus::Stall);
        assert_eq!(bench.completed(), Some((UrbStatus::Done, 0)));
        assert!(!bench.device.is_waiting(IN));
    }

    #[test]
    fn what_is_pending_goes_with_its_endpoint() {
        let mut bench = Bench::new();
        assert_eq!(bench.bulk(IN, 64), None);
        assert_eq!(
            bench.control(0x01, SET_INTERFACE, 0, DATA.into()),
            UrbStatus::Cancelled
        );
        assert_eq!(bench.completed(), Some((UrbStatus::Done, 0)));
        // Alternate setting 0 does not have the endpoint.
        assert_eq!(bench.bulk(IN, 64), Some((UrbStatus::Fault, 0)));
        let mut bench = Bench::new();
        assert_eq!(bench.bulk(IN, 64), None);
        let token = bench.token;
        assert!(bench.device.cancel(token) && !bench.device.cancel(token));
        assert_eq!(bench.completed(), Some((UrbStatus::Cancelled, 0)));
        assert_eq!(bench.bulk(IN, 64), None);
        bench.device.bus_reset(&mut bench.script, bench.now);
        assert_eq!(bench.completed(), Some((UrbStatus::Gone, 0)));
        assert_eq!(bench.device.configuration(), 0);
    }

    #[test]
    fn a_bus_of_bounded_rate_carries_one_transfer_after_the_other() {
        let mut bench = Bench::new();
        bench.script.rate = 1_000_000;
        bench.script.output.extend([OutVerdict::Accept; 3]);
        bench.script.input.push_back(data(2000, true));
        let start = bench.now;
        for length in [1000, 1000, 1000] {
            assert_eq!(bench.bulk(OUT, length), None);
        }
        assert_eq!(bench.bulk(IN, 4096), None);
        let mut ends = Vec::new();
        while let Some(at) = bench.device.deadline() {
            bench.now = at - Duration::from_nanos(1);
            assert_eq!(bench.service(), None);
            // The device is served a little late, which must not add up.
            bench.now = at + Duration::from_micros(100);
            let (status, length) = bench.service().expect("it has arrived");
            assert_eq!(status, UrbStatus::Done);
            ends.push((length, (at - start).as_micros()));
        }
        // The endpoints take turns.
        assert_eq!(
            ends,
            [(1000, 1000), (2000, 3000), (1000, 4000), (1000, 5000)]
        );
        // A transfer on the bus can be taken back, and ends with the device.
        bench.script.output.extend([OutVerdict::Accept; 2]);
        assert_eq!(bench.bulk(OUT, 1000), None);
        let token = bench.token;
        assert!(bench.device.cancel(token) && !bench.device.cancel(token));
        assert_eq!(bench.completed(), Some((UrbStatus::Cancelled, 1000)));
        assert_eq!(bench.bulk(OUT, 1000), None);
        bench.device.bus_reset(&mut bench.script, bench.now);
        assert_eq!(bench.completed(), Some((UrbStatus::Gone, 1000)));
        assert_eq!(bench.device.deadline(), None);
    }

    #[test]
    fn an_endpoint_takes_so_many_transfers_and_no_more() {
        let mut bench = Bench::new();
        for _ in 0..MAX_PENDING {
            assert_eq!(bench.bulk(IN, 0), None);
        }
        assert_eq!(bench.bulk(IN, 0), Some((UrbStatus::Fault, 0)));
    }
}
