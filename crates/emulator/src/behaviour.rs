//! The answers of a device's functions to the USB device core.

use std::time::{Duration, Instant};

use crate::urb::SetupPacket;

/// Answer of a function to data from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutVerdict {
    /// The function takes the data.
    Accept,
    /// The function has no room, so the transfer stays pending.
    Nak,
    /// The endpoint halts.
    Stall,
    /// The transfer fails on the bus.
    Fault,
}

/// Answer of a function to an IN token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InVerdict {
    /// The function has nothing to send, so the transfer stays pending.
    Nak,
    /// The function has written data into the room given.
    Data {
        /// Number of bytes written from the start of the room.
        length: usize,
        /// Whether the last packet is short or empty, so that the transfer ends even with room
        /// left.
        short: bool,
    },
    /// The function has more to send than fits the room, which is no multiple of the packet size
    /// (babble).
    Overflow,
    /// The endpoint halts.
    Stall,
    /// The transfer fails on the bus.
    Fault,
}

/// The functions behind the endpoints of a [`UsbDevice`].
pub trait Behaviour {
    /// Follows the selection of a configuration, 0 for none. It may be the one selected before.
    fn configured(&mut self, from: u8, to: u8, now: Instant);

    /// Follows the selection of an alternate setting. It may be the one selected before.
    fn alternate_selected(&mut self, interface: u8, alternate: u8, now: Instant);

    /// Executes a class or vendor request with data from the host or none. Returns `false` for a
    /// STALL.
    fn control_out(&mut self, setup: SetupPacket, data: &[u8], now: Instant) -> bool;

    /// Answers a class or vendor request for data in `room` and returns the length in bytes; `None`
    /// is a STALL.
    fn control_in(&mut self, setup: SetupPacket, room: &mut [u8], now: Instant) -> Option<usize>;

    /// Returns the time that a class or vendor request waits before it is executed.
    fn pause(&self, setup: SetupPacket) -> Duration {
        let _ = setup;
        Duration::ZERO
    }

    /// Returns the number of bytes a second that the bus carries; 0 for no bound.
    fn bus_rate(&self) -> u64 {
        0
    }

    /// Takes data for a bulk OUT endpoint, as one transfer of the host. `ended` says that its last
    /// packet was short or empty, so that the device saw the end.
    fn bulk_out(&mut self, endpoint: u8, data: &[u8], ended: bool, now: Instant) -> OutVerdict;

    /// Answers IN tokens on a bulk or interrupt endpoint with `room` left in the host's buffer.
    fn bulk_in(&mut self, endpoint: u8, room: &mut [u8], now: Instant) -> InVerdict;
}
