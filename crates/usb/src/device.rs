//! The one trait a USB device is driven through, and the types that cross it.
//!
//! Three things stand behind it: `libusb`, `nusb`, and the in-process emulator. Nothing above this
//! file can tell them apart.
//!
//! # Streaming
//!
//! A [`Queue`] keeps many transfers of one endpoint in flight. Buffers are allocated once, move
//! into a transfer with [`Queue::submit`] and come back with its [`Completion`]:
//!
//! ```no_run
//! # fn run(queue: &mut dyn uwwan_usb::device::Queue) -> Result<(), Box<dyn std::error::Error>> {
//! for _ in 0..8 {
//!     let buffer = queue.allocate(16 * 1024);
//!     queue.submit(buffer).map_err(|rejected| rejected.error)?;
//! }
//! while let Some(done) = queue.next(std::time::Duration::from_secs(1)) {
//!     // … read done.buffer.filled() …
//!     queue.submit(done.buffer).map_err(|rejected| rejected.error)?;
//! }
//! # Ok(()) }
//! ```
//!
//! # Who handles events
//!
//! Completions are collected by whoever waits in [`Queue::next`] or in a control request. A
//! reactor that polls other descriptors too (a TUN, say) takes the device's [`Pump`] instead:
//! while it exists, the reactor polls [`Pump::descriptors`], calls [`Pump::process`] when any is
//! ready, and then drains its queues with [`Queue::try_next`] without ever blocking; waits on
//! other threads are woken by it.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use crate::buffer::Buffer;
use crate::descriptors::Descriptors;
use crate::error::{Error, TransferError};

/// How devices are found and opened.
pub trait Backend: Send + Sync {
    /// The name as on the command line: `libusb`, `nusb`, `emulator`.
    fn name(&self) -> &'static str;

    /// Why no device can be listed or opened here at all; `None` when one could.
    fn unavailable(&self) -> Option<String> {
        None
    }

    /// Every device present that can be described, modems or not, without opening any.
    ///
    /// # Errors
    /// Only when the bus itself cannot be listed; a device that cannot be described is left out.
    fn devices(&self) -> Result<Vec<Found>, Error>;

    /// Opens a device found before. Detaches and claims nothing.
    ///
    /// # Errors
    /// [`Error::NoPermission`], [`Error::Gone`], or what the backend said.
    fn open(&self, found: &Found) -> Result<Arc<dyn Device>, Error>;
}

/// A device as listed, before it is opened.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where it is plugged in and what it says it is.
    pub identity: Identity,
    /// Its descriptors, as far as they could be read without opening it.
    pub descriptors: Descriptors,
    /// `bConfigurationValue` of the active configuration, 0 when unconfigured.
    pub active_configuration: Option<u8>,
    /// Kernel drivers bound to interfaces of the active configuration: (interface, driver).
    pub kernel_drivers: Vec<(u8, String)>,
}

/// Where a device is plugged in and what it says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `idVendor`.
    pub vendor: u16,
    /// `idProduct`.
    pub product: u16,
    /// Bus number as in `/dev/bus/usb/BBB`.
    pub bus: u8,
    /// Device number as in `/dev/bus/usb/BBB/DDD`; changes at each enumeration.
    pub address: u8,
    /// Port path as the kernel names it (`1-4.2`); stays over re-enumeration.
    pub port: String,
    /// Signalling rate.
    pub speed: Speed,
    /// iManufacturer, if it could be read.
    pub manufacturer: Option<String>,
    /// iProduct, if it could be read.
    pub product_name: Option<String>,
    /// iSerialNumber, if it could be read. The lt4132's is a dummy shared by all units.
    pub serial: Option<String>,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:04x}:{:04x} at {}",
            self.vendor, self.product, self.port
        )
    }
}

/// Signalling rate of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Speed {
    Unknown,
    Low,
    Full,
    High,
    Super,
    SuperPlus,
}

/// An open device. Dropping the last handle releases all claims.
pub trait Device: Send + Sync {
    /// Where it is and what it says it is.
    fn identity(&self) -> &Identity;

    /// The descriptors of all configurations.
    fn descriptors(&self) -> &Descriptors;

    /// `bConfigurationValue` of the active configuration; 0 when unconfigured.
    ///
    /// # Errors
    /// [`Error::Gone`] or what the backend said.
    fn active_configuration(&self) -> Result<u8, Error>;

    /// Selects a configuration; 0 unconfigures. Fails with [`Error::Busy`] while any interface of
    /// the active configuration is claimed or bound to a kernel driver.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Gone`], or what the backend said.
    fn set_configuration(&self, value: u8) -> Result<(), Error>;

    /// Selects a configuration even while kernel drivers are bound, by unbinding them all, where
    /// the backend has the privilege. The same as [`Device::set_configuration`] where it has not.
    ///
    /// # Errors
    /// As [`Device::set_configuration`].
    fn force_configuration(&self, value: u8) -> Result<(), Error> {
        self.set_configuration(value)
    }

    /// Keeps kernel drivers from binding to any interface of this device, whatever configuration
    /// is selected, for as long as the returned value lives. What is bound already stays bound.
    ///
    /// # Errors
    /// [`Error::NoPermission`], [`Error::Busy`] when another process does so already, or
    /// [`Error::Other`] where the backend has no such means.
    fn guard_port(&self) -> Result<PortGuard, Error> {
        Err(Error::Other {
            operation: format!("guard the port of {}", self.identity()),
            reason: "not offered by this backend".to_owned(),
        })
    }

    /// The kernel driver bound to `interface` of the active configuration, if any. A claim by
    /// another process shows as a name that begins with `usbfs`, with the process where it can be
    /// seen; a claim of our own as nothing.
    ///
    /// # Errors
    /// [`Error::Gone`] or what the backend said.
    fn kernel_driver(&self, interface: u8) -> Result<Option<String>, Error>;

    /// Detaches the kernel driver bound to `interface`; no error when there is none.
    ///
    /// # Errors
    /// [`Error::Gone`] or what the backend said.
    fn detach_kernel_driver(&self, interface: u8) -> Result<(), Error>;

    /// Lets kernel drivers bind to `interface` again.
    ///
    /// # Errors
    /// [`Error::Gone`] or what the backend said.
    fn attach_kernel_driver(&self, interface: u8) -> Result<(), Error>;

    /// Claims `interface` for this process.
    ///
    /// # Errors
    /// [`Error::Busy`] when a kernel driver or another process holds it.
    fn claim(&self, interface: u8) -> Result<(), Error>;

    /// Releases `interface`; no error when it is not claimed. Queues on its endpoints must be gone.
    ///
    /// # Errors
    /// [`Error::Gone`] or what the backend said.
    fn release(&self, interface: u8) -> Result<(), Error>;

    /// SET_INTERFACE on a claimed interface. No transfer may be queued on its endpoints.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::Stall`] or what the backend said.
    fn set_alternate_setting(&self, interface: u8, alternate: u8) -> Result<(), Error>;

    /// A control request with a data stage from the device, or none. Returns the length received.
    ///
    /// # Errors
    /// [`Error::Stall`] when the device refuses, [`Error::Timeout`], [`Error::Gone`], or what the
    /// backend said.
    fn control_in(&self, setup: Setup, data: &mut [u8], timeout: Duration) -> Result<usize, Error>;

    /// A control request with a data stage to the device, or none.
    ///
    /// # Errors
    /// As [`Device::control_in`].
    fn control_out(&self, setup: Setup, data: &[u8], timeout: Duration) -> Result<(), Error>;

    /// CLEAR_FEATURE(ENDPOINT_HALT) with both ends' toggles reset. No transfer may be queued on it.
    ///
    /// # Errors
    /// [`Error::Gone`] or what the backend said.
    fn clear_halt(&self, endpoint: u8) -> Result<(), Error>;

    /// Resets the port. The device may come back as another one: then [`Error::Gone`].
    ///
    /// # Errors
    /// [`Error::Gone`] or what the backend said.
    fn reset(&self) -> Result<(), Error>;

    /// A queue of transfers on an endpoint of a claimed interface's active alternate setting. The
    /// transfer type (bulk or interrupt) is taken from the descriptors.
    ///
    /// # Errors
    /// [`Error::NoSuchEndpoint`], or what the backend said.
    fn queue(&self, endpoint: u8) -> Result<Box<dyn Queue>, Error>;

    /// Takes over event handling for as long as the returned value lives. One at a time.
    ///
    /// # Errors
    /// [`Error::Busy`] when taken.
    fn pump(&self) -> Result<Box<dyn Pump>, Error>;
}

/// Keeps kernel drivers away from a device; dropping it lets them bind again. See
/// [`Device::guard_port`].
#[derive(Debug)]
pub struct PortGuard {
    _held: Box<dyn std::any::Any + Send + Sync>,
}

impl PortGuard {
    /// A guard that lasts until `held` is dropped with it.
    #[must_use]
    pub fn new(held: impl std::any::Any + Send + Sync) -> Self {
        Self {
            _held: Box::new(held),
        }
    }
}

/// A control request's setup stage without its length (USB 2.0, 9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// `bmRequestType`, direction bit included.
    pub request_type: u8,
    /// `bRequest`.
    pub request: u8,
    /// `wValue`.
    pub value: u16,
    /// `wIndex`.
    pub index: u16,
}

/// Transfers of one endpoint, completed in the order submitted.
///
/// Dropping it cancels what is pending and waits until the backend has let go of the buffers.
pub trait Queue: Send {
    /// The endpoint's address, direction bit included.
    fn endpoint(&self) -> u8;

    /// `wMaxPacketSize` in bytes, never 0.
    fn max_packet_size(&self) -> u16;

    /// A buffer of `capacity` bytes, kernel-mapped where granted, heap memory otherwise.
    fn allocate(&mut self, capacity: usize) -> Buffer;

    /// Starts a transfer: OUT sends [`Buffer::filled`]; IN asks for the whole capacity.
    ///
    /// # Errors
    /// The buffer comes back with the reason: [`Error::NoMemory`] asks for a shallower queue.
    fn submit(&mut self, buffer: Buffer) -> Result<(), Rejected>;

    /// OUT only: end transfers that are a multiple of the packet size with a zero-length packet.
    fn set_zero_packet(&mut self, enabled: bool);

    /// Transfers submitted whose completion was not taken yet.
    fn pending(&self) -> usize;

    /// The oldest completion, if one is there. A pump tells of further ones only after this has
    /// returned `None`.
    fn try_next(&mut self) -> Option<Completion>;

    /// The oldest completion; waits up to `timeout`. `None` when nothing completed in time or
    /// nothing is pending.
    fn next(&mut self, timeout: Duration) -> Option<Completion>;

    /// Cancels everything pending. Each transfer still completes, with
    /// [`TransferError::Cancelled`] unless it was done already.
    fn cancel_all(&mut self);
}

/// A transfer that ended. For IN, [`Buffer::filled`] is what arrived, also on failure.
#[derive(Debug)]
pub struct Completion {
    /// The buffer, back with its owner.
    pub buffer: Buffer,
    /// Bytes moved, or why it ended.
    pub result: Result<usize, TransferError>,
}

/// A transfer that could not be started.
#[derive(Debug)]
pub struct Rejected {
    /// The buffer, back with its owner.
    pub buffer: Buffer,
    /// Why.
    pub error: Error,
}

/// Event handling, taken over by a reactor. See the module's head.
pub trait Pump: Send {
    /// Descriptors to poll and whether for reading (`false`) or writing (`true`). May change after
    /// each [`Pump::process`]; the slice is valid until then.
    fn descriptors(&self) -> &[(RawFd, bool)];

    /// Collects completions without blocking.
    ///
    /// # Errors
    /// [`Error::Gone`] or what the backend said. Pending transfers have completed then, or will on
    /// the next call.
    fn process(&mut self) -> Result<(), Error>;

    /// The longest the reactor may sleep before calling [`Pump::process`] again, if limited.
    fn timeout(&self) -> Option<Duration>;
}
