//! A TUN interface with segmentation offload, whose system calls carry up to 64 KiB of one flow
//! behind a virtio header.
//!
//! The kernel leaves cutting large packets and summing checksums to the reader
//! ([`crate::scatter`]), and accepts runs of segments as one packet from the writer
//! ([`crate::coalesce`]). Offloads that a kernel does not have are given up one after the other.
//! Without any, every packet comes whole and complete, still behind a header.
//!
//! The ioctls are made here and not through tun-rs, whose offload always asks for the same set and
//! copies every segment into a buffer of its own.
//!
//! ```no_run
//! use uwwan_tun::coalesce::{Coalescer, Merge};
//! use uwwan_tun::scatter::{Layout, Place, Scatter};
//! use uwwan_tun::{Offload, Offloads};
//!
//! /// Datagrams in one area of memory, by offset and length.
//! #[derive(Default)]
//! struct Row(Vec<(usize, usize)>);
//!
//! impl Layout for Row {
//!     fn place(&mut self, length: usize) -> Option<Place> {
//!         let offset = self.0.last().map_or(0, |(at, length)| at + length);
//!         self.0.push((offset, length));
//!         (offset + length <= 65_536).then_some(Place { area: 0, offset })
//!     }
//!     fn keep(&mut self, count: usize) {
//!         self.0.truncate(count);
//!     }
//! }
//!
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let mut tun = Offload::open(None, Offloads::TCP | Offloads::UDP)?;
//! // From the kernel: one packet becomes datagrams in place.
//! let (mut memory, mut row) = (vec![0; 65_536], Row::default());
//! let mut scatter = Scatter::new(1500);
//! let received = scatter.receive(|to| tun.receive(to), &mut [&mut memory], &mut row)?;
//! // To the kernel: datagrams become as few packets as can be.
//! let mut coalescer = Coalescer::new(Merge::accepted_with(tun.offloads()));
//! let mut batch = coalescer.batch(|packet| {
//!     if let Err(error) = tun.send(packet.slices) {
//!         eprintln!("{} datagrams are lost: {error}", packet.datagrams);
//!     }
//! });
//! for (at, length) in &row.0[..received.datagrams] {
//!     batch.push(&memory[*at..at + length]);
//! }
//! batch.finish();
//! # Ok(()) }
//! ```
//!
//! The system calls are openat, ioctl (TUNGETFEATURES, TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ,
//! TUNSETQUEUE), epoll_create, epoll_ctl, epoll_wait, read, readv, write, writev, preadv2, pwritev2,
//! close, and those of netlink.rs.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use crate::device::{
    DEFAULT_NAME, DRIVER, Interface, check_name, check_owner, driver_error, index_of,
    interface_error, queues_in_use, several_readers,
};
use crate::error::{Error, ErrorKind};
use crate::ffi::{self, InterfaceRequest};
use crate::headers::VNET_HEADER;
use crate::netlink::Netlink;
use crate::queues::{QUEUES, Queues};
use crate::waiting::NoWait;

/// Flags of TUNSETIFF (`linux/if_tun.h`).
const IFF_TUN: u16 = 0x0001;
const IFF_MULTI_QUEUE: u16 = 0x0100;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;
const IFF_TUN_EXCL: u16 = 0x8000;

bitflags::bitflags! {
    /// Work that the kernel leaves to the reader (`TUN_F_*` of `linux/if_tun.h`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Offloads: u32 {
        /// Summing checksums.
        const CHECKSUM = 0x01;
        /// Cutting TCP over IPv4.
        const TSO4 = 0x02;
        /// Cutting TCP over IPv6.
        const TSO6 = 0x04;
        /// Cutting TCP also where congestion is signalled (RFC 3168).
        const TSO_ECN = 0x08;
        /// Cutting UDP over IPv4 (Linux 6.2).
        const USO4 = 0x20;
        /// Cutting UDP over IPv6 (Linux 6.2).
        const USO6 = 0x40;
    }
}

impl Offloads {
    /// Cutting TCP, and the checksums it needs.
    pub const TCP: Offloads = Offloads::CHECKSUM
        .union(Offloads::TSO4)
        .union(Offloads::TSO6)
        .union(Offloads::TSO_ECN);
    /// Cutting UDP over IPv4 and IPv6; the kernel has both or none.
    pub const UDP: Offloads = Offloads::USO4.union(Offloads::USO6);

    /// Sets of offloads to try, in this order, until the kernel takes one.
    const STEPS: [Offloads; 5] = [
        Offloads::TCP.union(Offloads::UDP),
        Offloads::TCP,
        Offloads::TCP.difference(Offloads::TSO_ECN),
        Offloads::CHECKSUM,
        Offloads::empty(),
    ];
}

impl fmt::Display for Offloads {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return formatter.write_str("none");
        }
        let mut first = true;
        for (name, _) in self.iter_names() {
            if !std::mem::take(&mut first) {
                formatter.write_str(", ")?;
            }
            formatter.write_str(&name.to_ascii_lowercase().replace('_', "-"))?;
        }
        Ok(())
    }
}

/// A TUN interface with segmentation offload, otherwise like [`crate::Tun`].
///
/// An interface that is new, or that root made with `multi_queue`, has several queues where the
/// kernel supports them. They are read in turn, so that the packets of one flow do not delay those
/// of the others. The interface's descriptor ([`AsFd`]) is readable when a queue has a packet, and
/// [`Offload::writable`] is writable when there is room for one.
#[derive(Debug)]
pub struct Offload {
    queues: Queues,
    name: String,
    index: u32,
    attached: bool,
    offloads: Offloads,
}

impl Offload {
    /// Opens a TUN interface as [`crate::Tun::open`] does, with all offloads among `wanted` that
    /// the kernel has.
    ///
    /// # Errors
    /// [`ErrorKind::NoOffload`] from a kernel without virtio headers; otherwise as
    /// [`crate::Tun::open`].
    pub fn open(name: Option<&str>, wanted: Offloads) -> Result<Offload, Error> {
        let wanted_name = name.unwrap_or(DEFAULT_NAME);
        check_name(wanted_name)?;
        let descriptor = open_driver()?;
        // Kernels that do not know a flag ignore it.
        let known = ffi::features(descriptor.as_fd()).unwrap_or(0);
        if known & u32::from(IFF_VNET_HDR) == 0 {
            return Err(Error::new(
                ErrorKind::NoOffload,
                format!("open TUN interface {wanted_name} with offload"),
                "the kernel's TUN driver has no IFF_VNET_HDR",
                "one packet a call goes without",
            ));
        }
        let before = index_of(wanted_name);
        check_owner("TUN", wanted_name)?;
        let mut flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
        // Whoever made an existing interface chose whether it has several queues. Each of several
        // readers would get only a part of the packets.
        let fair = match before {
            None => known & u32::from(IFF_MULTI_QUEUE) != 0,
            Some(_) => match queues_in_use(wanted_name) {
                Some(1..) => {
                    return Err(several_readers(format!("open TUN interface {wanted_name}")));
                }
                several => several.is_some(),
            },
        };
        if fair {
            flags |= IFF_MULTI_QUEUE;
        }
        let exclusive = if fair && before.is_none() {
            IFF_TUN_EXCL
        } else {
            0
        };
        let name = attach(&descriptor, wanted_name, flags | exclusive)
            .map_err(|source| interface_error("TUN", wanted_name, before.is_some(), source))?;
        // Another program may have changed an interface that existed before.
        ffi::set_vnet_header_length(descriptor.as_fd(), VNET_HEADER as i32).map_err(|source| {
            Error::system(
                format!("set up TUN interface {name}: header length"),
                source,
            )
        })?;
        let offloads = Offloads::STEPS
            .into_iter()
            .map(|step| step & wanted)
            .find(|step| ffi::set_offload(descriptor.as_fd(), step.bits()).is_ok())
            .unwrap_or(Offloads::empty());
        let queues = if fair {
            several(descriptor, &name, flags).map_err(|source| {
                Error::system(format!("set up TUN interface {name}: queues"), source)
            })?
        } else {
            Queues::one(descriptor)
        };
        let count = queues.count();
        tracing::debug!(interface = %name, %offloads, queues = count, "offload TUN interface");
        let index = Netlink::open()?.index(&name)?;
        Ok(Offload {
            attached: before == Some(index),
            queues,
            name,
            index,
            offloads,
        })
    }

    /// Makes an interface of descriptors that another process has opened and handed over, in the
    /// order of [`Offload::descriptors`]. Its settings stay as that process made them. `waiting`
    /// says how calls on the descriptors are kept from waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] without a descriptor, otherwise the errors of `epoll_create`
    /// and `epoll_ctl`.
    pub fn handed(
        mut descriptors: Vec<OwnedFd>,
        name: String,
        index: u32,
        offloads: Offloads,
        waiting: NoWait,
    ) -> io::Result<Offload> {
        let last = descriptors.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let queues = if descriptors.is_empty() {
            Queues::one(last)
        } else {
            Queues::several(descriptors, last)?
        };
        Ok(Offload {
            queues: queues.kept_by(waiting),
            name,
            index,
            attached: false,
            offloads,
        })
    }

    /// Returns the descriptors of all queues. Where there are several, the last is the one to write
    /// through.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.queues.descriptors()
    }

    /// Returns the offloads in force.
    #[must_use]
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Returns the number of queues that are read in turn.
    #[must_use]
    pub fn queues(&self) -> usize {
        self.queues.count()
    }

    /// Returns the descriptor that is writable when the kernel has room for a packet.
    #[must_use]
    pub fn writable(&self) -> BorrowedFd<'_> {
        self.queues.writable()
    }

    /// Reads one packet from the kernel, with its virtio header, into buffers one after the other,
    /// and returns the number of bytes read, header included. Bytes that the buffers have no room
    /// for are lost.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when no packet waits, or only in a queue of which the
    /// descriptor has not reported yet; `EBADFD` (77) when the interface was deleted.
    #[inline]
    pub fn receive(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.queues.read(buffers)
    }

    /// Reads one packet, as [`Offload::receive`] does, of another flow than the packet that
    /// [`Offload::receive`] returned last, and not of a flow that sends large packets.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when none is found; otherwise as [`Offload::receive`].
    pub fn receive_other(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.queues.read_other(buffers)
    }

    /// Gives one packet to the kernel, gathered from buffers of which the first begins with the
    /// virtio header, and returns the number of bytes written, header included.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for bytes that are no IP packet or do not fit their header, `EIO`
    /// (5) while the interface is down, [`io::ErrorKind::WouldBlock`] when the kernel is behind.
    #[inline]
    pub fn send(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.queues.write(buffers)
    }
}

fn open_driver() -> Result<OwnedFd, Error> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(DRIVER, flags, Mode::empty()).map_err(|errno| driver_error(errno.into()))
}

/// Attaches a descriptor of the driver to an interface, which is made if it does not exist, and
/// returns the interface's name.
fn attach(descriptor: &OwnedFd, name: &str, flags: u16) -> io::Result<String> {
    let mut request = InterfaceRequest {
        flags,
        ..InterfaceRequest::default()
    };
    // The name has at most 15 bytes, as has been checked.
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    ffi::set_interface(descriptor.as_fd(), &mut request)?;
    let end = request.name.iter().position(|byte| *byte == 0);
    Ok(String::from_utf8_lossy(&request.name[..end.unwrap_or(15)]).into_owned())
}

/// Attaches further queues to a new interface, as many as the kernel grants, and one to write
/// through.
fn several(first: OwnedFd, name: &str, flags: u16) -> io::Result<Queues> {
    let further = || {
        let descriptor = open_driver().ok()?;
        attach(&descriptor, name, flags)
            .inspect_err(|error| tracing::debug!(%error, interface = name, "no further queue"))
            .ok()?;
        Some(descriptor)
    };
    let writer = further().filter(|writer| ffi::detach_queue(writer.as_fd()).is_ok());
    let Some(writer) = writer else {
        return Ok(Queues::one(first));
    };
    let mut readers = vec![first];
    readers.extend(std::iter::from_fn(further).take(QUEUES - 1));
    Queues::several(readers, writer)
}

impl Drop for Offload {
    fn drop(&mut self) {
        // An interface that stays would otherwise send large packets to a later reader that has not
        // asked for them.
        if self.attached {
            let _ = ffi::set_offload(self.queues.writable(), 0);
        }
    }
}

impl Interface for Offload {
    fn name(&self) -> &str {
        &self.name
    }

    fn index(&self) -> u32 {
        self.index
    }

    fn attached(&self) -> bool {
        self.attached
    }
}

impl AsFd for Offload {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queues.readable()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offloads_are_named() {
        assert_eq!(Offloads::empty().to_string(), "none");
        assert_eq!(Offloads::TCP.to_string(), "checksum, tso4, tso6, tso-ecn");
    }

    #[test]
    fn every_step_is_less_than_the_one_before() {
        for pair in Offloads::STEPS.windows(2) {
            assert!(pair[0].contains(pair[1]) && pair[0] != pair[1]);
        }
    }
}
