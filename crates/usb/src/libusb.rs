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

use crate::access::Access;
use crate::device::{Device, Found};
use crate::error::Error;
use crate::linux::sysfs::Sysfs;

/// Opens a device that `sysfs` lists.
///
/// # Errors
/// Those of [`Backend::open`](crate::device::Backend::open).
pub(crate) fn open(
    sysfs: &Sysfs,
    access: &Arc<dyn Access>,
    found: &Found,
) -> Result<Arc<dyn Device>, Error> {
    Ok(Arc::new(device::LibusbDevice::open(sysfs, access, found)?))
}
