//! The backend for real devices through nusb on Linux.
//!
//! Devices are found through sysfs (see `linux`), so both backends list the same; nusb opens and
//! drives them.
//!
//! # Theory of operation
//!
//! nusb has one thread for the process, which waits for all its devices, takes every completed
//! transfer from the kernel and wakes the waker that polled the endpoint last. No other thread has
//! to handle events, so a [`Pump`](crate::device::Pump) only passes the wake on. Each queue polls
//! its endpoint with a waker of its own (`wake::QueueWaker`). That waker either unparks the thread
//! that waits in [`Queue::next`](crate::device::Queue::next), or writes an eventfd among the pump's
//! descriptors, once until the pump reads it. nusb wakes a waker only with the first completion
//! after a poll, and the waker is muted while the queue is being drained, so a stream costs one
//! wake a batch.
//!
//! nusb behaves in some ways that this backend makes up for:
//!
//! - *Submission never fails*; what the kernel refuses comes back as a completion in its turn. A
//!   refusal wakes the endpoint's waker inside the call, which is how `queue` notices: the refused
//!   transfer waits in its place and is tried again there, and further ones are rejected until then.
//! - *Receive transfers are whole packets.* Buffers are rounded up behind their visible capacity,
//!   and more than that capacity is reported as overflow. Otherwise nusb does not tell overflow
//!   from other faults; a fault with all the bytes asked for is taken for it.
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
    Ok(Arc::new(device::NusbDevice::open(place, observer)?))
}
