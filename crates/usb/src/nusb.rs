//! The backend for real devices through nusb on Linux.
//!
//! Devices are found through sysfs (see `linux`), so both backends list the same; nusb opens and
//! drives them.
//!
//! # Theory of operation
//!
//! nusb has one thread for the process, which waits for all its devices, takes every completed
//! transfer from the kernel and wakes the waker that polled the endpoint last. So nobody else has
//! to handle events here, and a [`Pump`](crate::device::Pump) only passes the wake on: each queue
//! polls its endpoint with a waker of its own (`wake::QueueWaker`), and that either unparks the
//! thread that waits in [`Queue::next`](crate::device::Queue::next) or writes an eventfd among the
//! pump's descriptors, once until the pump reads it. nusb wakes a waker with the first completion
//! after a poll only, and the waker stays mute while the queue is being drained, so a stream costs
//! one wake a batch.
//!
//! What nusb does its own way, and what is done about it:
//!
//! - *Submission never fails*; what the kernel refuses comes back as a completion in its turn. A
//!   refusal wakes the endpoint's waker inside the call, which is how `queue` notices: the refused
//!   transfer waits in its place and is tried again there, and further ones are rejected until then.
//! - *Receive transfers are whole packets.* Buffers are rounded up behind their visible capacity,
//!   and more than that capacity is reported as overflow. Beyond that nusb does not tell overflow
//!   from other faults; one with all the bytes asked for is taken for it.
//! - *A buffer's length can only grow by writing to it*, so a mapped buffer cannot be filled in
//!   place and then sent: receive buffers are mapped, send buffers are ordinary memory.
//! - *An endpoint belongs to one owner*, and interfaces, halts and alternate settings can only be
//!   changed around it. A queue therefore leaves its endpoint in the device (`parking`) while no
//!   transfer is pending.
//! - *The event thread may hold the last reference* to an endpoint whose last transfer it just
//!   completed. Releasing an interface waits until the kernel says that it is released.
//! - *A ZLP* is a transfer of its own, queued behind the transfer that it ends.
//!
//! All `unsafe` code is in `memory`, with the argument why it is sound.

mod control;
mod device;
mod errors;
mod inner;
#[allow(unsafe_code)]
pub(crate) mod memory;
mod parking;
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

/// The backend for real devices through nusb.
#[derive(Debug, Clone)]
pub struct Nusb {
    sysfs: Sysfs,
    access: Arc<dyn Access>,
}

impl Nusb {
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
    /// `/sys/bus/usb/devices`, with their nodes in `nodes` instead of `/dev/bus/usb`. nusb can open
    /// devices of this machine only.
    #[cfg(test)]
    pub(crate) fn with_roots(devices: impl Into<PathBuf>, nodes: impl Into<PathBuf>) -> Self {
        let sysfs = Sysfs::new(devices.into(), nodes.into());
        Self {
            access: Arc::new(Local::new(sysfs.clone())),
            sysfs,
        }
    }
}

impl Default for Nusb {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend for Nusb {
    fn name(&self) -> &'static str {
        "nusb"
    }

    fn unavailable(&self) -> Option<String> {
        self.sysfs.unavailable()
    }

    fn devices(&self) -> Result<Vec<Found>, Error> {
        self.sysfs.devices()
    }

    fn open(&self, found: &Found) -> Result<Arc<dyn Device>, Error> {
        Ok(Arc::new(device::NusbDevice::open(
            &self.sysfs,
            &self.access,
            found,
        )?))
    }
}
