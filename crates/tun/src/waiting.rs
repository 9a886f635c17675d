//! Non-blocking calls on descriptors whose open file another process has as well.
//!
//! `O_NONBLOCK` belongs to the open file, not to a process: another process that has the same TUN
//! interface open may clear it, and the next call would block for as long as that process likes.
//! RWF_NOWAIT belongs to the call. Linux has it for TUN interfaces since 6.4 (`tun_chr_open` in
//! drivers/net/tun.c).

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;

use rustix::io::{Errno, ReadWriteFlags};

/// Means by which calls on a descriptor are kept from blocking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NoWait {
    /// The flag `O_NONBLOCK` of the open file, which no other process changes.
    #[default]
    File,
    /// The flag RWF_NOWAIT of each call (preadv2(2) and pwritev2(2)).
    Call,
}

impl NoWait {
    /// Returns whether the kernel has calls on this TUN interface that are non-blocking by
    /// themselves.
    ///
    /// The function writes one byte, which is no packet and never becomes one.
    pub(crate) fn has_calls(tun: impl AsFd) -> bool {
        let one = [IoSlice::new(&[0])];
        !matches!(
            rustix::io::pwritev2(tun, &one, 0, ReadWriteFlags::NOWAIT),
            Err(Errno::OPNOTSUPP | Errno::NOSYS)
        )
    }

    /// Reads as readv(2) does.
    #[inline]
    pub(crate) fn readv(
        self,
        descriptor: impl AsFd,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Result<usize, Errno> {
        match self {
            Self::File => rustix::io::readv(descriptor, buffers),
            Self::Call => rustix::io::preadv2(descriptor, buffers, 0, ReadWriteFlags::NOWAIT),
        }
    }

    /// Writes as writev(2) does.
    #[inline]
    pub(crate) fn writev(
        self,
        descriptor: impl AsFd,
        buffers: &[IoSlice<'_>],
    ) -> Result<usize, Errno> {
        match self {
            Self::File => rustix::io::writev(descriptor, buffers),
            Self::Call => rustix::io::pwritev2(descriptor, buffers, 0, ReadWriteFlags::NOWAIT),
        }
    }
}
