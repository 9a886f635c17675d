//! Wakes waiting threads and the pump when a transfer has ended.

use std::cell::Cell;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::ffi::done::DoneFlag;

thread_local! {
    /// Number of this thread; 0 until a number is needed.
    static THREAD: Cell<u64> = const { Cell::new(0) };
    /// Address of the [`Wake`] whose pump handles events in this thread at the moment; 0 for none.
    static PROCESSING: Cell<usize> = const { Cell::new(0) };
}

/// Returns a number that no other thread of the process has, and that is never 0.
fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    THREAD.with(|own| {
        if own.get() == 0 {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        own.get()
    })
}

/// State that the completion callbacks and the waiters of a device share.
///
/// All flags use sequentially consistent order. The [`DoneFlag`] of each transfer says whether a
/// thread sleeps until that transfer ends.
#[derive(Debug)]
pub(super) struct Wake {
    /// Lock of `condvar`, on which threads in [`Wake::sleep`] wait.
    lock: Mutex<()>,
    condvar: Condvar,
    /// Whether a pump exists.
    pump: AtomicBool,
    /// Number of the thread that processed the pump last.
    pump_thread: AtomicU64,
    /// Eventfd that is readable while something has happened that the pump has not seen.
    event: OwnedFd,
    /// Whether `event` was written and not read.
    signalled: AtomicBool,
    /// Whether libusb's set of descriptors has changed.
    descriptors_changed: AtomicBool,
    /// Whether the kernel has said that the device is gone.
    gone: AtomicBool,
}

impl Wake {
    /// Makes the state that a device's callbacks and waiters share.
    ///
    /// # Errors
    /// Returns the error of the kernel when it makes no eventfd.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            lock: Mutex::new(()),
            condvar: Condvar::new(),
            pump: AtomicBool::new(false),
            pump_thread: AtomicU64::new(0),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            signalled: AtomicBool::new(false),
            descriptors_changed: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        })
    }

    /// Notifies the pump and the sleeping threads that a transfer has ended; `awaited` says whether
    /// a thread sleeps until it does. The caller is whichever thread handles events.
    pub(super) fn completed(&self, awaited: bool) {
        if self.pump.load(Ordering::SeqCst) && !self.is_processing() {
            self.signal();
        }
        if awaited {
            self.wake_all();
        }
    }

    /// Notes that libusb added or removed descriptors.
    pub(super) fn descriptors_changed(&self) {
        self.descriptors_changed.store(true, Ordering::SeqCst);
        if self.pump.load(Ordering::SeqCst) && !self.is_processing() {
            self.signal();
        }
    }

    /// Returns whether libusb added or removed descriptors since the last call.
    pub(super) fn take_descriptors_changed(&self) -> bool {
        self.descriptors_changed.swap(false, Ordering::SeqCst)
    }

    /// Notes that the device is gone.
    pub(super) fn set_gone(&self) {
        self.gone.store(true, Ordering::SeqCst);
    }

    /// Returns whether the device is known to be gone.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Sleeps until the transfer of `done` ends, `interrupted` is set, `limit` has passed, or the
    /// pump is gone. It may return earlier without a reason.
    pub(super) fn sleep(&self, done: &DoneFlag, interrupted: &AtomicBool, limit: Duration) {
        if !done.begin_sleep() {
            return;
        }
        let guard = self.locked();
        if done.is_awaited() && self.has_pump() && !interrupted.load(Ordering::SeqCst) {
            let woken = self.condvar.wait_timeout(guard, limit);
            drop(woken.unwrap_or_else(PoisonError::into_inner));
        }
        done.end_sleep();
    }

    /// Notes that a pump exists. Returns `false` when there is one already.
    pub(super) fn begin_pump(&self) -> bool {
        let begun = !self.pump.swap(true, Ordering::SeqCst);
        if begun {
            self.pump_thread.store(this_thread(), Ordering::SeqCst);
            // Transfers that completed before are left for the pump to find.
            self.signal();
        }
        begun
    }

    /// Notes that the pump is gone, so that threads that sleep handle events themselves.
    pub(super) fn end_pump(&self) {
        self.pump.store(false, Ordering::SeqCst);
        self.wake_all();
    }

    /// Returns whether a pump exists.
    pub(super) fn has_pump(&self) -> bool {
        self.pump.load(Ordering::SeqCst)
    }

    /// Returns whether this thread is the one that processes the pump, so that the pump is not
    /// processed while it waits.
    pub(super) fn drives_pump(&self) -> bool {
        self.pump_thread.load(Ordering::SeqCst) == this_thread()
    }

    /// Returns the pump's own descriptor, to be polled for reading.
    pub(super) fn event(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    /// Runs `handle` as the pump: a completion in it needs no signal, because the pump's owner looks
    /// at its queues afterwards.
    pub(super) fn as_pump<T>(&self, handle: impl FnOnce() -> T) -> T {
        self.pump_thread.store(this_thread(), Ordering::SeqCst);
        if self.signalled.load(Ordering::SeqCst) {
            // The descriptor is read before the flag is cleared. A signal in between leaves it
            // unwritten, but the pump's owner finds the completion when it looks at its queues
            // after this call.
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
            self.signalled.store(false, Ordering::SeqCst);
        }
        let before = PROCESSING.replace(std::ptr::from_ref(self).addr());
        let result = handle();
        PROCESSING.set(before);
        result
    }

    /// Returns whether this thread handles events as the pump.
    fn is_processing(&self) -> bool {
        PROCESSING.get() == std::ptr::from_ref(self).addr()
    }

    /// Makes the pump's descriptor readable.
    fn signal(&self) {
        if !self.signalled.swap(true, Ordering::SeqCst) {
            // The write fails only when the counter is full, and then the descriptor is readable as
            // it should be.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }

    /// Wakes all threads in [`Wake::sleep`].
    pub(super) fn wake_all(&self) {
        drop(self.locked());
        self.condvar.notify_all();
    }

    fn locked(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
