//! Waking a thread that sleeps in `poll`: an event descriptor, written only while somebody sleeps.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// An event counter that other threads raise and one thread sleeps on.
#[derive(Debug)]
pub struct Waker {
    event: OwnedFd,
    /// The sleeper is in its poll, or about to enter it.
    sleeping: AtomicBool,
    /// The sleeper was woken since it last began to look for work.
    woken: AtomicBool,
}

impl Waker {
    /// Makes an event descriptor.
    ///
    /// Makes the system call `eventfd2`.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            sleeping: AtomicBool::new(false),
            woken: AtomicBool::new(false),
        })
    }

    /// Wakes the sleeper. A sleeper that is awake does not fall asleep before it has looked again.
    ///
    /// Makes the system call `write` when the sleeper is in its poll.
    pub fn wake(&self) {
        self.woken.store(true, Ordering::SeqCst);
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

    /// Tells that the sleeper begins to look for work: it will find what woke it until here.
    pub fn look(&self) {
        self.woken.store(false, Ordering::SeqCst);
    }

    /// Announces sleep. Returns `false` when the sleeper was woken since [`Waker::look`]: then there
    /// is work.
    pub fn prepare(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        !self.woken.load(Ordering::SeqCst)
    }

    /// Ends the sleep and empties the counter.
    ///
    /// Makes the system call `read`.
    pub fn finish(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
        self.drain();
    }

    /// Ends an announced sleep that did not take place, or from which another descriptor woke.
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

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
