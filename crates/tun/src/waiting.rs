//! Calls on descriptors that are not to wait, whoever else has the same open file.
//!
//! `O_NONBLOCK` belongs to the open file, not to a process: another process that has the same TUN
//! interface open may clear it, and the next call would wait as long as that likes. RWF_NOWAIT belongs to
//! the call. Linux has it for TUN interfaces since 6.4 (`tun_chr_open` in drivers/net/tun.c).

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;

use rustix::io::{Errno, ReadWriteFlags};

/// What keeps calls on a descriptor from waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NoWait {
    /// The flag `O_NONBLOCK` of the open file, which nobody else changes.
    #[default]
    File,
    /// Each call itself (RWF_NOWAIT of preadv2(2) and pwritev2(2)).
    Call,
}

impl NoWait {
    /// Returns whether the kernel has calls on this TUN interface that do not wait by themselves.
    ///
    /// Writes a byte, which is no packet and never becomes one.
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
