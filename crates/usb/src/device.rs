//! The traits through which a USB device is driven, and the types that they use.
//!
//! Three backends implement them: `libusb`, `nusb`, and the in-process emulator. Code that uses the
//! traits cannot tell them apart.
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
//! Completions are collected by the thread that waits in [`Queue::next`] or in a control request. A
//! reactor that polls other descriptors too (a TUN, say) takes the device's [`Pump`] instead:
//! while it exists, the reactor polls [`Pump::descriptors`], calls [`Pump::process`] when any is
//! ready, and then drains its queues with [`Queue::try_next`] without ever blocking. Processing
//! also wakes the threads that wait for a completion.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use crate::buffer::Buffer;
use crate::descriptors::Descriptors;
use crate::error::{Error, Holder, TransferError};
use crate::observer::Observer;

pub use crate::identity::{Identity, Speed};

/// A way to find and open devices.
pub trait Backend: Send + Sync {
    /// Returns the name as on the command line: `libusb`, `nusb` or `emulator`.
    fn name(&self) -> &'static str;

    /// Returns why no device at all can be listed or opened here, or `None` when one could be.
    fn unavailable(&self) -> Option<String> {
        None
    }

    /// Lists every device present that can be described, modem or not, without opening any.
    ///
    /// # Errors
    /// [`Error::Other`] when the bus itself cannot be listed. A device that cannot be described is
    /// left out.
    fn devices(&self) -> Result<Vec<Found>, Error>;

    /// Opens a device that was listed. Opening detaches and claims nothing.
    ///
    /// # Errors
    /// [`Error::NoPermission`], [`Error::Gone`], or what the backend said.
    fn open(&self, found: &Found) -> Result<Arc<dyn Device>, Error>;

    /// Has the devices that are opened from now on, and their transfers, reported to the first
    /// observer that is given. A backend without a method of its own reports nothing.
    fn observe(&self, observer: Arc<dyn Observer>) {
        drop(observer);
    }
}

/// A device as listed, before it is opened.
#[derive(Debug, Clone)]
pub struct Found {
    /// Place where the device is plugged in, and what it says it is.
    pub identity: Identity,
    /// Descriptors of the device, as far as they could be read without opening it.
    pub descriptors: Descriptors,
    /// `bConfigurationValue` of the active configuration, 0 when unconfigured; `None` when it could
    /// not be read.
    pub active_configuration: Option<u8>,
    /// Numbers of interfaces of the active configuration, each with the name of the kernel driver
    /// that is bound to it.
    pub kernel_drivers: Vec<(u8, String)>,
}

/// An open device. Dropping the last reference to it releases all claims.
pub trait Device: Send + Sync {
    /// Returns where the device is plugged in and what it says it is.
    fn identity(&self) -> &Identity;

    /// Returns the descriptors of all configurations.
    fn descriptors(&self) -> &Descriptors;

    /// Returns `bConfigurationValue` of the active configuration, 0 when unconfigured.
    ///
    /// # Errors
    /// [`Error::Gone`] or what the backend said.
    fn active_configuration(&self) -> Result<u8, Error>;

    /// Selects the configuration with `bConfigurationValue` `value`; 0 unconfigures the device.
    ///
    /// # Errors
    /// [`Error::Busy`] while any interface of the active configuration is claimed or bound to a
    /// kernel driver, [`Error::Gone`], or what the backend said.
    fn set_configuration(&self, value: u8) -> Result<(), Error>;

    /// Selects a configuration even while kernel drivers are bound, by unbinding them all, where
    /// the process has the privilege. Does the same as [`Device::set_configuration`] where it has
    /// not.
    ///
    /// # Errors
    /// As [`Device::set_configuration`].
    fn force_configuration(&self, value: u8) -> Result<(), Error> {
        self.set_configuration(value)
    }

    /// Keeps kernel drivers from binding to any interface of this device, whatever configuration
    /// is selected, for as long as the returned value lives. Drivers that are bound stay bound.
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

    /// Returns the kernel driver that is bound to `interface` of the active configuration, or the
    /// program that has claimed it, if there is one. A claim through this device shows as `None`.
    ///
    /// # Errors
    /// [`Error::Gone`] or what the backend said.
    fn holder(&self, interface: u8) -> Result<Option<Holder>, Error>;

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

    /// Releases `interface`; no error when it is not claimed. Queues on its endpoints must have been
    /// dropped.
    ///
    /// # Errors
    /// [`Error::Gone`] or what the backend said.
    fn release(&self, interface: u8) -> Result<(), Error>;

    /// Selects an alternate setting of a claimed interface (SET_INTERFACE, USB 2.0, 9.4.10). No
    /// transfer may be pending on its endpoints.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::Stall`] or what the backend said.
    fn set_alternate_setting(&self, interface: u8, alternate: u8) -> Result<(), Error>;

    /// Carries out a control request whose data stage comes from the device, or which has none if
    /// `data` is empty. Returns how many bytes were received. `data` takes 4096 bytes at most.
    ///
    /// # Errors
    /// [`Error::Stall`] when the device refuses, [`Error::Timeout`], [`Error::Gone`], or what the
    /// backend said.
    fn control_in(&self, setup: Setup, data: &mut [u8], timeout: Duration) -> Result<usize, Error>;

    /// Carries out a control request whose data stage goes to the device, or which has none if
    /// `data` is empty. `data` has 4096 bytes at most.
    ///
    /// # Errors
    /// As [`Device::control_in`].
    fn control_out(&self, setup: Setup, data: &[u8], timeout: Duration) -> Result<(), Error>;

    /// Clears the halt of an endpoint and resets the data toggles of both ends (USB 2.0, 9.4.5). No
    /// transfer may be pending on the endpoint.
    ///
    /// # Errors
    /// [`Error::Gone`] or what the backend said.
    fn clear_halt(&self, endpoint: u8) -> Result<(), Error>;

    /// Resets the port.
    ///
    /// # Errors
    /// [`Error::Gone`] when the device came back as another one, or what the backend said.
    fn reset(&self) -> Result<(), Error>;

    /// Opens a queue of transfers on an endpoint of a claimed interface's active alternate setting.
    /// The transfer type (bulk or interrupt) is taken from the descriptors.
    ///
    /// # Errors
    /// [`Error::NoSuchEndpoint`], or what the backend said.
    fn queue(&self, endpoint: u8) -> Result<Box<dyn Queue>, Error>;

    /// Takes over event handling for as long as the returned value lives.
    ///
    /// # Errors
    /// [`Error::Busy`] while another pump of the device exists.
    fn pump(&self) -> Result<Box<dyn Pump>, Error>;
}

/// Keeps kernel drivers away from a device; dropping it lets them bind again. Made by
/// [`Device::guard_port`].
#[derive(Debug)]
pub struct PortGuard {
    _held: Box<dyn std::any::Any + Send + Sync>,
}

impl PortGuard {
    /// Makes a guard that lasts until `held` is dropped with it.
    #[must_use]
    pub fn new(held: impl std::any::Any + Send + Sync) -> Self {
        Self {
            _held: Box::new(held),
        }
    }
}

/// The setup stage of a control request without its length (USB 2.0, 9.3).
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

/// The transfers of one endpoint, which complete in the order of submission.
///
/// Dropping the queue cancels what is pending and waits until the backend has let go of the buffers.
pub trait Queue: Send {
    /// Returns the address of the endpoint, direction bit included.
    fn endpoint(&self) -> u8;

    /// Returns `wMaxPacketSize` in bytes, which is never 0.
    fn max_packet_size(&self) -> u16;

    /// Allocates a buffer of `capacity` bytes, mapped from the kernel where it grants that and on
    /// the heap otherwise.
    fn allocate(&mut self, capacity: usize) -> Buffer;

    /// Submits a transfer. An OUT transfer sends [`Buffer::filled`]; an IN transfer asks for the
    /// whole capacity.
    ///
    /// # Errors
    /// The buffer comes back with the reason. [`Error::NoMemory`] asks for a shallower queue.
    fn submit(&mut self, buffer: Buffer) -> Result<(), Rejected>;

    /// Makes every further OUT transfer whose length is a multiple of the packet size end with a
    /// zero-length packet (ZLP), or not. IN transfers are not affected.
    fn set_zero_packet(&mut self, enabled: bool);

    /// Returns how many transfers were submitted whose completion was not taken.
    fn pending(&self) -> usize;

    /// Returns the oldest completion if there is one. A pump tells of further ones only after this
    /// has returned `None`.
    fn try_next(&mut self) -> Option<Completion>;

    /// Returns the oldest completion and waits for it up to `timeout`. Returns `None` when nothing
    /// completed in time or nothing is pending.
    fn next(&mut self, timeout: Duration) -> Option<Completion>;

    /// Returns a value with which another thread can end the waits of [`Queue::next`]. Returns
    /// `None` where the queue has no such means, so that its owner waits for a short time again and
    /// again.
    fn interrupter(&self) -> Option<Interrupter> {
        None
    }

    /// Cancels all pending transfers. Each still completes, with [`TransferError::Cancelled`] unless
    /// it had ended.
    fn cancel_all(&mut self);
}

/// A handle that ends the waits of a queue's owner. It comes from [`Queue::interrupter`].
#[derive(Clone)]
pub struct Interrupter(Arc<dyn Fn() + Send + Sync>);

impl Interrupter {
    /// Makes an interrupter that calls `interrupt`.
    #[must_use]
    pub fn new(interrupt: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(interrupt))
    }

    /// Makes [`Queue::next`] return at once what has completed: the call in progress and every later
    /// one.
    pub fn interrupt(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupter").finish_non_exhaustive()
    }
}

/// A transfer that ended. After an IN transfer [`Buffer::filled`] is what arrived, also if it
/// failed.
#[derive(Debug)]
pub struct Completion {
    /// The buffer that was submitted.
    pub buffer: Buffer,
    /// Number of bytes that were moved, or the reason why the transfer failed.
    pub result: Result<usize, TransferError>,
}

/// A transfer that could not be started.
#[derive(Debug)]
pub struct Rejected {
    /// The buffer that was to be submitted.
    pub buffer: Buffer,
    /// Reason why the transfer was rejected.
    pub error: Error,
}

/// Event handling that a reactor has taken over, as described at the head of this [module](self).
pub trait Pump: Send {
    /// Returns the descriptors to poll, each for reading (`false`) or for writing (`true`). They may
    /// change with each [`Pump::process`].
    fn descriptors(&self) -> &[(RawFd, bool)];

    /// Collects completions without blocking.
    ///
    /// # Errors
    /// [`Error::Gone`] or what the backend said. Pending transfers have completed then, or complete
    /// with the next call.
    fn process(&mut self) -> Result<(), Error>;

    /// Returns the longest time the reactor may sleep before it calls [`Pump::process`] again, or
    /// `None` when there is no limit.
    fn timeout(&self) -> Option<Duration>;
}
