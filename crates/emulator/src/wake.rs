//! Waking the device's thread: an event descriptor written only while somebody sleeps on it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// An event counter others raise and one thread sleeps on.
#[derive(Debug)]
pub struct Wake {
    event: OwnedFd,
    /// The sleeper is in, or about to enter, its poll.
    sleeping: AtomicBool,
    /// Raised since the sleeper last began to look for work.
    raised: AtomicBool,
}

impl Wake {
    /// A new event descriptor.
    ///
    /// Makes the system call `eventfd2`.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let event = rustix::event::eventfd(
            0,
            rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK,
        )?;
        Ok(Self {
            event,
            sleeping: AtomicBool::new(false),
            raised: AtomicBool::new(false),
        })
    }

    /// Wakes the sleeper; one that is awake will not fall asleep before it has looked again.
    ///
    /// Makes the system call `write`.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
        if self.sleeping.swap(false, Ordering::SeqCst) {
            self.signal();
        }
    }

    /// Makes the descriptor readable, whoever polls it.
    ///
    /// Makes the system call `write`.
    pub fn signal(&self) {
        // The counter cannot overflow in practice; a full one is readable all the same.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// The sleeper begins to look for work: what was raised until here it will find.
    pub fn look(&self) {
        self.raised.store(false, Ordering::SeqCst);
    }

    /// Announces sleep. `false` when something was raised since [`Wake::look`]: then there is work.
    pub fn prepare(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        !self.raised.load(Ordering::SeqCst)
    }

    /// Ends the sleep and empties the counter.
    ///
    /// Makes the system call `read`.
    pub fn finish(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
        self.drain();
    }

    /// Ends an announced sleep that did not take place.
    pub fn forget(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }

    /// Empties the counter.
    ///
    /// Makes the system call `read`.
    pub fn drain(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.event, &mut count);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
