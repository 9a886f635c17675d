//! The modem: firmware and functions behind the endpoints.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::device::{Behaviour, InVerdict, OutVerdict, UsbDevice};
use crate::far_side::Network;
use crate::knobs::Knobs;
use crate::report::{Counters, Recorder};
use crate::urb::SetupPacket;

/// What the firmware wants done to its place on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Reset,
    Unplug,
}

pub(crate) struct Modem {
    knobs: Knobs,
    network: Box<dyn Network>,
    counters: Counters,
    #[allow(dead_code)]
    recorder: Recorder,
}

impl Modem {
    pub fn new(knobs: Knobs, recorder: Recorder, network: Box<dyn Network>) -> Self {
        Self {
            knobs,
            network,
            recorder,
            counters: Counters::default(),
        }
    }
    pub fn knobs(&self) -> &Knobs {
        &self.knobs
    }
    pub fn counters(&self) -> Counters {
        self.counters
    }
    pub fn advance(&mut self, _now: Instant) {
        self.network.advance();
    }
    pub fn take_halts(&mut self) -> Vec<u8> {
        Vec::new()
    }
    pub fn take_wish(&mut self) -> Option<Wish> {
        None
    }
    pub fn adjust(&mut self, adjust: Box<dyn FnOnce(&mut Knobs) + Send>, _now: Instant) {
        adjust(&mut self.knobs);
    }
    pub fn power_on(&mut self, _now: Instant) {}
    pub fn port_reset(&mut self) {}
    pub fn timeout(&self, _now: Instant) -> Option<Duration> {
        None
    }
    pub fn network_interest(&self, _usb: &UsbDevice) -> (bool, bool) {
        (false, false)
    }
    pub fn network_descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.network.descriptor()
    }
}

impl Behaviour for Modem {
    fn configured(&mut self, _from: u8, _to: u8, _now: Instant) {}
    fn alternate_selected(&mut self, _interface: u8, _alternate: u8, _now: Instant) {}
    fn control_out(&mut self, _setup: SetupPacket, _data: &[u8], _now: Instant) -> bool {
        true
    }
    fn control_in(
        &mut self,
        _setup: SetupPacket,
        _room: &mut [u8],
        _now: Instant,
    ) -> Option<usize> {
        None
    }
    fn bulk_out(&mut self, _endpoint: u8, _data: &[u8], _ended: bool, _now: Instant) -> OutVerdict {
        OutVerdict::Accept
    }
    fn bulk_in(&mut self, _endpoint: u8, _room: &mut [u8], _now: Instant) -> InVerdict {
        InVerdict::Nak
    }
    fn halt_cleared(&mut self, _endpoint: u8) {}
}
