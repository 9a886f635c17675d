//! Non-blocking calls on descriptors whose open file another process has as well.
//!
//! `O_NONBLOCK` belongs to the open file, not to a process: another process that has the same TUN
//! interface open may clear it, and the next call would block for as long as that process likes.
//! RWF_NOWAIT belongs to the call. Linux has it for TUN interfaces since 6.4 (`tun_chr_open` in
//! drivers/net/tun.c).

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;

use rustix::io::{Errno, ReadWriteFlags};

/// Number of bytes up to which two buffers are copied into one to be written.
const SHORT: usize = 256;

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

    /// Reads as readv(2) does. One buffer is read into by read(2), which takes fewer instructions
    /// because the kernel has no list of buffers to fetch and to check.
    #[inline]
    pub(crate) fn readv(
        self,
        descriptor: impl AsFd,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Result<usize, Errno> {
        match (self, buffers) {
            (Self::File, [buffer]) => rustix::io::read(descriptor, &mut **buffer),
            (Self::File, buffers) => rustix::io::readv(descriptor, buffers),
            (Self::Call, buffers) => {
                rustix::io::preadv2(descriptor, buffers, 0, ReadWriteFlags::NOWAIT)
            }
        }
    }

    /// Writes as writev(2) does. One buffer is written by write(2), for the reason told at
    /// [`NoWait::readv`], and so are two of up to [`SHORT`] bytes together, after a copy that takes
    /// less than the list does.
    #[inline]
    pub(crate) fn writev(
        self,
        descriptor: impl AsFd,
        buffers: &[IoSlice<'_>],
    ) -> Result<usize, Errno> {
        match (self, buffers) {
            (Self::File, [buffer]) => rustix::io::write(descriptor, buffer),
            (Self::File, [first, second]) if first.len() + second.len() <= SHORT => {
                let mut together = [0; SHORT];
                let length = first.len() + second.len();
                together[..first.len()].copy_from_slice(first);
                together[first.len()..length].copy_from_slice(second);
                rustix::io::write(descriptor, &together[..length])
            }
            (Self::File, buffers) => rustix::io::writev(descriptor, buffers),
            (Self::Call, buffers) => {
                rustix::io::pwritev2(descriptor, buffers, 0, ReadWriteFlags::NOWAIT)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes `parts` as one message and returns what a read into buffers of these lengths brings.
    fn through(parts: &[&[u8]], lengths: &[usize]) -> Vec<u8> {
        let (near, far) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let parts: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let written = NoWait::File.writev(&near, &parts).unwrap();
        let mut memory: Vec<Vec<u8>> = lengths.iter().map(|length| vec![0; *length]).collect();
        let mut buffers: Vec<_> = memory.iter_mut().map(|to| IoSliceMut::new(to)).collect();
        let read = NoWait::File.readv(&far, &mut buffers).unwrap();
        assert_eq!(read, written);
        let mut bytes = memory.concat();
        bytes.truncate(read);
        bytes
    }

    #[test]
    fn a_message_is_the_same_in_one_buffer_and_in_several() {
        let bytes: Vec<u8> = (0..1000_u32).map(|at| (at * 7) as u8).collect();
        for length in [1, 10, SHORT - 1, SHORT, SHORT + 1, 1000] {
            let whole = &bytes[..length];
            let at = length.min(10);
            let middle = at + (length - at) / 2;
            for parts in [
                &[whole][..],
                &[&whole[..at], &whole[at..]],
                &[&whole[..at], &whole[at..middle], &whole[middle..]],
            ] {
                assert_eq!(through(parts, &[1000]), whole);
                assert_eq!(through(parts, &[10, 500, 490]), whole);
            }
        }
    }
}
