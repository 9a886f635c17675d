//! The data path: one thread that moves datagrams between the device and the host, and carries
//! the control session's notifications.
//!
//! # Theory of operation
//!
//! One reactor thread holds the device's [`Pump`] from the claim of the interfaces to their
//! release. It sleeps in a single `ppoll` over the backend's descriptors, the host interface and an
//! event descriptor for orders from the control thread. One reactor serves both directions, because
//! every hand-off between threads costs a wake-up per NTB, which is more than the work itself: at
//! full rate an NTB costs two system calls on the USB side; on the host's side it costs a fraction
//! of one with large packets, or one per datagram without.
//!
//! ```text
//! host interface --receive--> places in the open NTBs --NDPs appended--> bulk OUT
//! bulk IN --parsed in place--> runs of ranges in the receive buffers --send--> host interface
//! interrupt IN --> notification --> control thread
//! ```
//!
//! **Large packets.** A host interface carries one datagram a call ([`HostData::Single`]: plain TUN
//! interfaces, sockets), or up to 64 KiB of one flow behind a virtio header ([`HostData::Large`]:
//! TUN interfaces with offload). With the latter the driver does the kernel's segmentation and
//! receive offload:
//!
//! * A read is scattered over the places its datagrams are expected to have in the open NTB and in
//!   those behind it (`open`, [`Scatter`]); then headers are written in front of each payload. The
//!   host is read only while there are buffers enough for a packet of 64 KiB, if one may come.
//! * Runs of segments in order, within an NTB and across the NTBs that have completed, leave as one
//!   gathered write (`delivery`, [`Coalescer`]). Nothing waits for segments that have not arrived:
//!   every round ends with all runs written.
//!
//! **Zero copy.** Datagrams from the host are read to their final offsets in a USB buffer; the NDP
//! follows when the NTB closes. Datagrams to the host are written from the receive buffers, which
//! go back into the queue afterwards. Buffers are allocated once; the steady state makes no
//! allocation and takes no lock. A large packet that was not expected, or not in the expected shape, is
//! copied: it is moved to its places once, and counted. Packets of up to 256 bytes that follow each
//! other are copied as well, in either direction, because a copy takes fewer instructions than a read
//! or write of several buffers.
//!
//! **Sessions.** Each data session has a host interface of its own (`sessions`); all sessions share
//! queues, buffers and NTBs. The interfaces are read in turn, and an NTB that can carry one session
//! only leaves when the next session has something to send.
//!
//! **Ethernet.** A plain network device has one session that carries frames instead of IP
//! datagrams. The frames are moved as they are, and only their length is checked.
//!
//! **Send when idle, batch while busy.** The open NTB leaves when the host has nothing more to
//! send and nothing is in flight, or one transfer and the NTB is half full; otherwise it keeps
//! filling until it is full, or until the transfer ahead of it completes. A lone packet is never
//! delayed, and the busier the bus, the fuller the NTBs.
//!
//! **Rests.** Where an NTB takes less time on the bus than the wake-ups around it, the reactor would handle one
//! NTB, or one packet, at a time. So packets that reach the host interface within a quarter of a millisecond after
//! an NTB with room for more has left are read together at the end of that time (`pace`). After a large NTB from
//! the device the next is asked for half a millisecond later at the earliest (`downlink`), in which a high-speed
//! bus carries one or two of 16 KiB.
//!
//! **A bound in time.** A packet waits for everything that is in flight to the device. Behind the NTB
//! on the bus there is no more than the device takes in a millisecond, or one NTB (`backlog`); large
//! packets are read one at a time behind two NTBs where the bus takes longer for them.
//!
//! **Backpressure, not queues.** With all send buffers in flight the host interface is not polled
//! for reading: packets wait in the interface's queues (`txqueuelen` each), and the kernel drops
//! those for which the queues have no room. With offload there is a queue for every few flows, and
//! they are read in turn, so that the packets of a large upload, in its own queue, do not keep
//! others waiting (`queues` in [`uwwan_tun`]). When the host takes no more, the received NTBs are
//! held and the transfers behind them wait, up to a bounded time; then the rest of these NTBs is
//! dropped and counted. Neither ever blocks the thread.
//!
//! **Scarce memory.** The kernel has one budget for the transfers of all programs. Where it refuses
//! one, the control thread agrees with the device on NTBs of half the size, down to 16 KiB; at that
//! size transfers that are refused while others are in flight are given up, and tried again later
//! (`allowance`). Where one direction has taken all the memory, it gives some up for the other.
//!
//! **Priority.** Where the system permits it, the thread runs before the threads that wait for the
//! packets it delivers (`datapath/priority.rs`).
//!
//! **Errors.** A halted endpoint is left to drain and cleared by the control thread, since that is
//! a control request; NTBs it did not take are sent again. A burst of transfer errors pauses the
//! direction for a moment. NTBs longer than the agreed size lead to larger buffers. More errors
//! than a healthy link has end the data path, and the control thread climbs the ladder again.
//!
//! System calls in steady state: `ppoll`, those of the backend's [`Pump::process`] and
//! [`Queue::submit`], and those of [`Single`] or [`Large`].
//!
//! [`HostData::Single`]: crate::host::HostData::Single
//! [`HostData::Large`]: crate::host::HostData::Large
//! [`Single`]: crate::host::Single
//! [`Large`]: crate::host::Large
//! [`Scatter`]: uwwan_tun::scatter::Scatter
//! [`Coalescer`]: uwwan_tun::coalesce::Coalescer
//! [`Pump`]: uwwan_usb::device::Pump
//! [`Pump::process`]: uwwan_usb::device::Pump::process

mod allowance;
mod backlog;
mod data_path;
mod delivery;
mod downlink;
mod fault;
mod inlet;
mod link;
mod monitor;
mod notifications;
mod open;
mod pace;
mod plan;
mod priority;
mod raw;
mod reactor;
mod report;
mod sessions;
#[cfg(test)]
mod tests;
mod uplink;

pub(crate) use fault::Fault;
pub(crate) use plan::{DataPlan, Depth, ReceiveSizes, SessionAddressing, SessionPlan};
pub(crate) use reactor::Reactor;
pub(crate) use report::{Report, Running};
