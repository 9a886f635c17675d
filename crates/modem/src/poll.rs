//! Waiting for file descriptors.
//!
//! The USB backends identify descriptors by raw numbers, so this is the one place that passes raw
//! numbers to the kernel.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

/// Readiness of a descriptor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// Whether reading will not block.
    pub readable: bool,
    /// Whether writing will not block.
    pub writable: bool,
    /// Whether the descriptor has hung up, is in error or is not open.
    pub broken: bool,
}

/// Set of descriptors, filled anew for each wait without allocating.
#[derive(Debug, Default)]
pub(crate) struct PollSet {
    entries: Vec<libc::pollfd>,
}

impl PollSet {
    /// Empties the set.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Adds a descriptor and returns its index in the set.
    pub(crate) fn add(&mut self, descriptor: &impl AsRawFd, read: bool, write: bool) -> usize {
        self.add_raw(descriptor.as_raw_fd(), read, write)
    }

    /// Adds a descriptor by its number and returns its index in the set.
    pub(crate) fn add_raw(&mut self, fd: RawFd, read: bool, write: bool) -> usize {
        let mut events = 0;
        if read {
            events |= libc::POLLIN;
        }
        if write {
            events |= libc::POLLOUT;
        }
        self.entries.push(libc::pollfd {
            fd,
            events,
            revents: 0,
        });
        self.entries.len() - 1
    }

    /// Waits until a descriptor is ready or `timeout` has passed; `None` waits without a limit. A
    /// signal ends the wait early.
    ///
    /// Makes the system call `ppoll`.
    ///
    /// # Errors
    /// Those of the system call.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let limit = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().min(86_400) as libc::time_t,
            tv_nsec: timeout.subsec_nanos() as _,
        });
        match ppoll(&mut self.entries, limit.as_ref()) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns the readiness of the descriptor at an index in the set.
    pub(crate) fn found(&self, place: usize) -> Readiness {
        let events = self.entries.get(place).map_or(0, |entry| entry.revents);
        Readiness {
            readable: events & libc::POLLIN != 0,
            writable: events & libc::POLLOUT != 0,
            broken: events & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0,
        }
    }
}

/// Waker that ends the wait of one poll loop, from any thread. Clones wake the same loop.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Signal>);

#[derive(Debug)]
struct Signal {
    descriptor: OwnedFd,
    /// Whether the waker was used since the last [`Waker::reset`].
    woken: AtomicBool,
}

impl Waker {
    /// Returns a waker, which a loop waits for with [`PollSet::add`].
    ///
    /// # Errors
    /// The system's error when no descriptor is left.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(Arc::new(Signal {
            descriptor: eventfd(0, flags)?,
            woken: AtomicBool::new(false),
        })))
    }

    /// Wakes the loop. The first call after a reset makes a system call (`write`); further ones do
    /// not.
    pub fn wake(&self) {
        if !self.0.woken.swap(true, Ordering::SeqCst) {
            let _ = rustix::io::write(&self.0.descriptor, &1u64.to_ne_bytes());
        }
    }

    /// Makes the descriptor unreadable again. The loop calls this before it looks for the work that
    /// other threads have left.
    pub(crate) fn reset(&self) {
        let _ = rustix::io::read(&self.0.descriptor, &mut [0; 8]);
        self.0.woken.store(false, Ordering::SeqCst);
    }
}

/// Returns the descriptor that is readable from [`Waker::wake`] until the loop resets the waker.
impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.0.descriptor.as_raw_fd()
    }
}

#[allow(unsafe_code)]
fn ppoll(entries: &mut [libc::pollfd], limit: Option<&libc::timespec>) -> io::Result<()> {
    for entry in entries.iter_mut() {
        entry.revents = 0;
    }
    let limit = limit.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `entries` is an exclusive slice of initialised `pollfd` and its own length is given;
    // the kernel writes `revents` within it and nowhere else. `limit` is null or points to a
    // `timespec` that outlives the call. A descriptor number that is closed or belongs to
    // something else makes the kernel report on that, which is no matter of memory.
    let result = unsafe {
        libc::ppoll(
            entries.as_mut_ptr(),
            entries.len() as libc::nfds_t,
            limit,
            std::ptr::null(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// A ppoll(2) that reports each descriptor as ready for what it is polled for, because Miri has
/// none.
#[cfg(all(test, miri))]
#[allow(unsafe_code)]
mod miri {
    use super::*;

    /// Reads and writes all entries as the kernel would, and reads the limit.
    #[unsafe(no_mangle)]
    extern "C" fn ppoll(
        entries: *mut libc::pollfd,
        count: libc::nfds_t,
        limit: *const libc::timespec,
        mask: *const libc::sigset_t,
    ) -> libc::c_int {
        assert!(mask.is_null());
        if !limit.is_null() {
            // SAFETY: as the caller of ppoll vouches.
            assert_eq!(unsafe { *limit }.tv_nsec, 7);
        }
        for at in 0..usize::try_from(count).unwrap() {
            // SAFETY: as the caller of ppoll vouches.
            let entry = unsafe { &mut *entries.add(at) };
            assert_eq!(entry.revents, 0);
            entry.revents = entry.events;
        }
        libc::c_int::try_from(count).unwrap()
    }

    #[test]
    fn the_kernel_is_handed_all_entries_and_the_limit() {
        let mut set = PollSet::default();
        for round in 0..3 {
            set.clear();
            let places: Vec<usize> = (0..round * 5)
                .map(|fd| set.add_raw(fd, true, fd % 2 == 0))
                .collect();
            set.wait((round > 0).then_some(Duration::new(3, 7)))
                .unwrap();
            for (fd, place) in places.into_iter().enumerate() {
                assert!(set.found(place).readable);
                assert_eq!(set.found(place).writable, fd % 2 == 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_wakes_until_it_is_reset() {
        let waker = Waker::new().unwrap();
        let mut set = PollSet::default();
        let readable = |set: &mut PollSet| {
            set.clear();
            let place = set.add(&waker, true, false);
            set.wait(Some(Duration::ZERO)).unwrap();
            set.found(place).readable
        };
        assert!(!readable(&mut set));
        for _ in 0..2 {
            waker.clone().wake();
            waker.wake();
            assert!(readable(&mut set) && readable(&mut set));
            waker.reset();
            assert!(!readable(&mut set));
        }
    }

    #[test]
    fn tells_what_is_ready() {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut set = PollSet::default();
        let read = set.add(&reader, true, false);
        let write = set.add(&writer, false, true);
        set.wait(Some(Duration::ZERO)).unwrap();
        assert_eq!(set.found(read), Readiness::default());
        assert!(set.found(write).writable);
        drop(writer);
        set.clear();
        let read = set.add(&reader, true, false);
        set.wait(None).unwrap();
        assert!(set.found(read).broken);
        set.clear();
        let closed = set.add_raw(1_000_000, true, false);
        set.wait(None).unwrap();
        assert!(set.found(closed).broken);
        assert_eq!(set.found(9), Readiness::default());
    }
}
