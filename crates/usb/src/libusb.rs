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
//! - With a pump, its thread handles events and other waiters sleep on a condition variable. If
//!   they see nothing for a while they look for themselves, so a request made while the pump's
//!   owner is busy elsewhere still ends. Completions they find that way are reported to the pump
//!   through an eventfd among its descriptors.
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

#[cfg(test)]
use std::path::PathBuf;
use std::sync::Arc;

use crate::access::{Access, Local};
use crate::device::{Backend, Device, Found};
use crate::error::Error;
use crate::linux::sysfs::Sysfs;

/// The backend for real devices through libusb.
#[derive(Debug, Clone)]
pub struct Libusb {
    sysfs: Sysfs,
    access: Arc<dyn Access>,
}

impl Libusb {
    /// Makes a backend that lists the devices of this machine. A machine without USB has an empty
    /// list, and [`Backend::unavailable`] says why.
    #[must_use]
    pub fn new() -> Self {
        Self::through(Arc::new(Local::default()))
    }

    /// Makes a backend that opens devices through `access`.
    #[must_use]
    pub fn through(access: Arc<dyn Access>) -> Self {
        Self {
            sysfs: Sysfs::default(),
            access,
        }
    }

    /// Makes a backend that lists the devices in the folder `devices` instead of
    /// `/sys/bus/usb/devices` and opens their nodes in `nodes` instead of `/dev/bus/usb`.
    #[cfg(test)]
    pub(crate) fn with_roots(devices: impl Into<PathBuf>, nodes: impl Into<PathBuf>) -> Self {
        let sysfs = Sysfs::new(devices.into(), nodes.into());
        Self {
            access: Arc::new(Local::new(sysfs.clone())),
            sysfs,
        }
    }
}

impl Default for Libusb {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend for Libusb {
    fn name(&self) -> &'static str {
        "libusb"
    }

    fn unavailable(&self) -> Option<String> {
        self.sysfs.unavailable()
    }

    fn devices(&self) -> Result<Vec<Found>, Error> {
        self.sysfs.devices()
    }

    fn open(&self, found: &Found) -> Result<Arc<dyn Device>, Error> {
        Ok(Arc::new(device::LibusbDevice::open(
            &self.sysfs,
            &self.access,
            found,
        )?))
    }
}
