//! The emulated modem as a `uwwan_usb` backend, inside the driver's own process.
//!
//! It consists of a host controller and the part of a Linux host that matters to a driver: a
//! configuration selected at enumeration, kernel drivers bound to interfaces, claims, and transfers
//! that complete later, on the device's own thread. As with libusb, completions wait in one place
//! until a thread handles events: by a wait, by `Queue::try_next`, or, while it exists, by the
//! `Pump`.

mod backend;
mod bus;
mod channel;
mod host;
mod queue;
mod upstream;

use std::sync::Arc;

use uwwan_usb::device::Backend;

use crate::knobs::Knobs;
use crate::presence::Presence;
use crate::waker::Waker;

pub(crate) use bus::Bus;
use channel::Channel;
pub(crate) use upstream::Local;

/// Makes the bus that the driver sees, and the device's end of it. `waker` wakes the device's
/// thread.
///
/// # Errors
/// Fails when the process has no descriptor left.
pub(crate) fn new(
    knobs: &Knobs,
    waker: Arc<Waker>,
    presence: Arc<Presence>,
) -> std::io::Result<(Arc<Bus>, Local)> {
    let channel = Arc::new(Channel::new(waker)?);
    let local = Local::new(Arc::clone(&channel), Arc::clone(&presence));
    Ok((Arc::new(Bus::new(channel, presence, knobs)), local))
}

/// Returns the bus as a backend of the USB crate.
pub(crate) fn backend(bus: &Arc<Bus>) -> Arc<dyn Backend> {
    Arc::new(backend::InProcess::new(Arc::clone(bus)))
}
