//! The data path: one thread that moves datagrams between the device and the host, and carries
//! the control session's notifications.
//!
//! # Theory of operation
//!
//! One reactor thread holds the device's [`Pump`] from the claim of the interfaces to their
//! release. It sleeps in a single `ppoll` over the backend's descriptors, the host's end and an
//! event descriptor for orders from the control thread. One reactor for both directions, because
//! every hand-off between threads costs a wake-up per block, more than the work itself: at full
//! rate a block is two system calls on the USB side, and a fraction of one on the host's with large
//! packets, or one per datagram without.
//!
//! ```text
//! host end --receive--> places in the open blocks --tables appended--> bulk OUT
//! bulk IN --parsed in place--> runs of ranges in the receive buffers --send--> host end
//! interrupt IN --> notification --> control thread
//! ```
//!
//! **Large packets.** A host's end carries one datagram a call ([`Packets::Single`]: plain TUN
//! interfaces, sockets), or up to 64 KiB of one flow behind a virtio header ([`Packets::Large`]: TUN
//! interfaces with offload). The driver then does the kernel's segmentation and receive offload:
//!
//! * A read is scattered over the places its datagrams are expected to have in the open block and
//!   in those behind it (`open`, [`Scatter`]); then headers are written in front of each payload.
//!   The host is read only while there are buffers enough for a packet of 64 KiB, if one may come.
//! * Runs of segments in order, within a block and across the blocks that have completed, leave as
//!   one gathered write (`delivery`, [`Coalescer`]). Nothing waits for segments that are not there:
//!   every round ends with all runs written.
//!
//! **Zero copy.** Towards the device the host is read to the datagram's final offset in a USB
//! buffer; the pointer table follows when the block closes. Towards the host it is written from
//! the receive buffers, which go back into the queue afterwards. Buffers are allocated once; steady
//! state makes no allocation and takes no lock. The one copy there can be is of a large packet that
//! was not expected or not of the expected shape: it is moved to its places once, and counted.
//!
//! **Sessions.** Each data session has its own host's end (`sessions`); all share queues, buffers and
//! blocks. They are read in turn, and a block that can carry one session only leaves when the next
//! one has something to send.
//!
//! **Ethernet.** A plain network device has one session that carries frames instead of IP datagrams.
//! They are moved as they are; nothing in them is judged but their length.
//!
//! **Send when idle, batch while busy.** The open block leaves when the host has nothing more to
//! send and nothing is in flight, or one transfer and the block is half full; otherwise it keeps
//! filling until it is full, or until the transfer ahead of it completes. A lone packet is never
//! delayed, and the busier the bus, the fuller the blocks.
//!
//! **Rests.** Where a block takes less time on the bus than the wake-ups around it, the reactor
//! would handle one block, or one packet, at a time. So what the host has within a quarter of a
//! millisecond after a block has left is read at its end (`pace`), and after a large block from the
//! device the next is asked for half a millisecond later at the earliest (`downlink`), in which a
//! high-speed bus carries one or two of 16 KiB.
//!
//! **Backpressure, not queues.** With all send buffers in flight the host's end is not polled for
//! reading: packets wait in the interface's queues (`txqueuelen` each), and what these have no room
//! for the kernel drops. With offload there is a queue for every few flows, and they are read in
//! turn, so that what a large upload has in its own does not keep others waiting (`queues` in
//! [`uwwan_tun`]). When the host takes no more, the received blocks are held and the transfers behind
//! them wait, up to a bounded time; then what is left of the blocks is dropped and counted. Neither
//! ever blocks the thread.
//!
//! **Scarce memory.** The kernel has one budget for the transfers of all programs. A transfer that it
//! refuses while others are in flight is given up, and the queue is shallower from then on. Where one
//! direction has taken all there is, it makes way for the other.
//!
//! **Priority.** Where it may, the thread goes before those that wait for what it delivers
//! (`datapath/priority.rs`).
//!
//! **Errors.** A halted endpoint is left to drain and cleared by the control thread, since that is
//! a control request; blocks it did not take are sent again. A burst of transfer errors pauses the direction for a moment; blocks longer
//! than agreed on lead to larger buffers; more errors than a healthy link has end the data path,
//! and the control thread climbs the ladder again.
//!
//! System calls in steady state: `ppoll`, those of the backend's [`Pump::process`] and
//! [`Queue::submit`], and those of [`Single`] or [`Large`].
//!
//! [`Packets::Single`]: crate::host::Packets::Single
//! [`Packets::Large`]: crate::host::Packets::Large
//! [`Single`]: crate::host::Single
//! [`Large`]: crate::host::Large
//! [`Scatter`]: uwwan_tun::scatter::Scatter
//! [`Coalescer`]: uwwan_tun::coalesce::Coalescer
//! [`Pump`]: uwwan_usb::device::Pump
//! [`Pump::process`]: uwwan_usb::device::Pump::process

mod delivery;
mod downlink;
mod monitor;
mod notifications;
mod open;
mod pace;
mod priority;
mod reactor;
mod sessions;
#[cfg(test)]
mod tests;
mod uplink;

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use uwwan_ncm::{Framing, Limits};
use uwwan_usb::device::Queue;
use uwwan_usb::error::TransferError;

use crate::watch::{Probe, Verdict};

pub use priority::NICE;
pub(crate) use reactor::{Reactor, Report};
pub(crate) use sessions::{SessionCounters, SessionPlan};

/// What the data path is started with.
pub(crate) struct DataPlan {
    /// Blocks from the device.
    pub(crate) bulk_in: Box<dyn Queue>,
    /// Blocks to the device.
    pub(crate) bulk_out: Box<dyn Queue>,
    /// Layout of blocks to the device.
    pub(crate) framing: Framing,
    /// What to accept from the device.
    pub(crate) limits: Limits,
    /// Block size agreed on from the device, in bytes.
    pub(crate) receive_size: usize,
    /// The largest block the device can send at all, in bytes.
    pub(crate) receive_max: usize,
    pub(crate) depth: Depth,
    /// The data sessions, session 0 among them.
    pub(crate) sessions: Vec<SessionPlan>,
}

/// Transfers in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Depth {
    /// From the device.
    pub(crate) receive: usize,
    /// To the device.
    pub(crate) send: usize,
}

/// What depends on a data session's addresses.
#[derive(Debug, Clone, Default)]
pub(crate) struct SessionAddressing {
    /// Longest datagram in bytes: the MTU, and with it the header of Ethernet frames.
    pub(crate) mtu: u16,
    /// Our IPv6 addresses, for neighbour solicitations.
    pub(crate) ours: Vec<Ipv6Addr>,
    /// The probe to send.
    pub(crate) probe: Option<Probe>,
}

/// What is in use once the data path runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Running {
    /// Receive transfers in flight.
    pub(crate) receive_transfers: usize,
    /// Send buffers.
    pub(crate) send_transfers: usize,
    /// Buffers are mapped from the kernel.
    pub(crate) mapped: bool,
}

/// Why the data path ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Unplugged or re-enumerated.
    #[error("the device is gone")]
    Gone,
    /// More transfer errors towards the host than a healthy link has.
    #[error("receiving keeps failing: {0}")]
    Receive(TransferError),
    /// More transfer errors towards the device than a healthy link has.
    #[error("sending keeps failing: {0}")]
    Send(TransferError),
    /// More errors on the notification endpoint than a healthy link has.
    #[error("notifications keep failing: {0}")]
    Notify(TransferError),
    /// The MTU does not fit into a block.
    #[error("a datagram of the size of the MTU does not fit into a transfer block")]
    Framing,
    /// The host's end failed.
    #[error("the host's end failed: {0}")]
    Host(String),
    /// The kernel has no memory for a single transfer.
    #[error("{0}")]
    Memory(String),
    /// The USB backend failed.
    #[error("{0}")]
    Backend(String),
}

/// Errors since the last success.
#[derive(Debug, Default)]
struct Faults {
    count: u32,
    first: Option<Instant>,
}

impl Faults {
    const MOST: u32 = 100;
    const MOST_OVER_TIME: u32 = 20;
    const TIME: Duration = Duration::from_secs(5);

    fn clear(&mut self) {
        if self.count != 0 {
            *self = Self::default();
        }
    }

    /// Counts an error; `Err` when there were too many.
    fn add(&mut self, now: Instant) -> Result<(), ()> {
        self.count += 1;
        let first = *self.first.get_or_insert(now);
        let long = now.duration_since(first) >= Self::TIME;
        if self.count >= Self::MOST || (long && self.count >= Self::MOST_OVER_TIME) {
            Err(())
        } else {
            Ok(())
        }
    }
}
