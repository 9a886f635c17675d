//! Wakes a thread that sleeps in `poll`, by an event descriptor that is written only while the
//! thread sleeps.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// An event counter that other threads raise and on which one thread sleeps.
#[derive(Debug)]
pub struct Waker {
    event: OwnedFd,
    /// Whether the sleeper is in its poll, or about to enter it.
    sleeping: AtomicBool,
    /// Whether the sleeper was woken since it last began to look for work.
    woken: AtomicBool,
}

impl Waker {
    /// Makes an event descriptor, by the system call `eventfd2`.
    ///
    /// # Errors
    /// Fails when the process has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            sleeping: AtomicBool::new(false),
            woken: AtomicBool::new(false),
        })
    }

    /// Wakes the sleeper. A sleeper that is awake does not fall asleep before it has looked again.
    /// The system call `write` is made when the sleeper is in its poll.
    pub fn wake(&self) {
        self.woken.store(true, Ordering::SeqCst);
        if self.sleeping.swap(false, Ordering::SeqCst) {
            self.signal();
        }
    }

    /// Makes the descriptor readable for any thread that polls it, by the system call `write`.
    pub fn signal(&self) {
        // The counter cannot overflow in practice, and a full one is readable all the same.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// Notes that the sleeper begins to look for work, and will find what it was woken for until
    /// this call.
    pub fn look(&self) {
        self.woken.store(false, Ordering::SeqCst);
    }

    /// Announces sleep. Returns `false` when the sleeper was woken since [`Waker::look`], because
    /// there is work.
    pub fn prepare(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        !self.woken.load(Ordering::SeqCst)
    }

    /// Ends the sleep and empties the counter, by the system call `read`.
    pub fn finish(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
        self.drain();
    }

    /// Ends an announced sleep that did not take place, or that another descriptor ended.
    pub fn forget(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }

    /// Empties the counter, by the system call `read`.
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
