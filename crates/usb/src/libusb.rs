//! The backend for real devices through libusb on Linux.
//!
//! Devices are found through sysfs (see `linux`). Opening a device opens its node and hands the
//! descriptor to a libusb context of its own with device discovery turned off, so libusb starts no
//! thread and scans nothing.
//!
//! # Theory of operation
//!
//! Every transfer, control requests included, is an asynchronous libusb transfer. Its completion
//! callback does one thing: it sets the transfer's flag (`ffi::done`) and wakes the thread that
//! sleeps until it is set. The callback runs in whichever thread handles libusb's events at that
//! moment:
//!
//! - Without a [`Pump`](crate::device::Pump) every waiting thread offers itself as event handler;
//!   libusb's own locks see to it that one does it and the others wake when their flag is set.
//! - With a pump, its thread handles events and other waiters sleep on a condition variable. A
//!   waiter that sees nothing for a while handles events itself, so that a request made while the
//!   pump's owner is busy elsewhere still ends. Completions found in this way are reported to the
//!   pump through an eventfd among its descriptors.
//!
//! A queue hands out completions in the order of submission by looking at the flag of its oldest
//! transfer only: no list, no lock, no allocation between submission and completion. (libusb
//! itself allocates its URB headers at each submission.)
//!
//! All `unsafe` code is in `ffi`, with the argument why it is sound.

mod device;
mod errors;
#[allow(unsafe_code)]
pub(crate) mod ffi;
mod inner;
mod pump;
mod queue;
mod wake;

use std::sync::Arc;

use crate::device::Device;
use crate::error::Error;
use crate::linux::place::Place;
use crate::observed::Observer;

/// Opens the device at a place.
///
/// # Errors
/// Those of [`Backend::open`](crate::device::Backend::open).
pub(crate) fn open(
    place: Place,
    observer: Option<&Arc<dyn Observer>>,
) -> Result<Arc<dyn Device>, Error> {
    Ok(Arc::new(device::LibusbDevice::open(place, observer)?))
}
