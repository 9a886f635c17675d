//! Wakes the owner of a queue and the pump when a transfer has completed.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::thread::Thread;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

thread_local! {
    /// Address of the [`QueueWaker`] on whose endpoint this thread is submitting a transfer; 0 when
    /// it is submitting none.
    static SUBMITTING: Cell<usize> = const { Cell::new(0) };
}

/// Notifies the pump of a device that something happened. All flags use sequentially consistent
/// order.
#[derive(Debug)]
pub(super) struct PumpSignal {
    /// Whether a pump exists.
    pump: AtomicBool,
    /// Eventfd that is readable while something has happened that the pump has not seen.
    event: OwnedFd,
    /// Whether `event` was written and not read.
    signalled: AtomicBool,
    /// Whether the kernel has said that the device is gone.
    gone: AtomicBool,
    /// Node of the device, opened for reading only. It becomes ready for polling only when the
    /// device is gone.
    node: File,
}

impl PumpSignal {
    /// Makes the signal of a device whose node is `node`, opened for reading only.
    ///
    /// # Errors
    /// Returns the error of the kernel when it makes no eventfd.
    pub(super) fn new(node: File) -> std::io::Result<Self> {
        Ok(Self {
            pump: AtomicBool::new(false),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            signalled: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            node,
        })
    }

    /// Notes that a pump exists. Returns `false` when there is one already.
    pub(super) fn begin_pump(&self) -> bool {
        let begun = !self.pump.swap(true, Ordering::SeqCst);
        if begun {
            // Transfers that completed before are left for the pump to find.
            self.notify();
        }
        begun
    }

    /// Notes that the pump is gone.
    pub(super) fn end_pump(&self) {
        self.pump.store(false, Ordering::SeqCst);
    }

    /// Makes the pump's descriptor readable if there is a pump.
    pub(super) fn notify(&self) {
        if self.pump.load(Ordering::SeqCst) && !self.signalled.swap(true, Ordering::SeqCst) {
            // The write fails only when the counter is full, and then the descriptor is readable as
            // it should be.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }

    /// Returns whether the pump was notified since the last call.
    pub(super) fn take(&self) -> bool {
        let signalled = self.signalled.load(Ordering::SeqCst);
        if signalled {
            // The descriptor is read before the flag is cleared. A notification in between leaves
            // it unwritten, but the pump's owner finds the completion when it looks at its queues
            // next.
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
            self.signalled.store(false, Ordering::SeqCst);
        }
        signalled
    }

    /// Returns whether the device is known to be gone.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Asks the kernel whether the device is gone, and returns the answer.
    pub(super) fn check_gone(&self) -> bool {
        let mut polled = [PollFd::new(&self.node, PollFlags::empty())];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        if poll(&mut polled, Some(&at_once)).is_ok() && !polled[0].revents().is_empty() {
            self.gone.store(true, Ordering::SeqCst);
        }
        self.is_gone()
    }

    /// Returns the pump's own descriptor and the one that tells that the device is gone, both to be
    /// polled for reading.
    pub(super) fn descriptors(&self) -> [RawFd; 2] {
        [self.event.as_raw_fd(), self.node.as_raw_fd()]
    }
}

/// The waker of one queue. nusb wakes it with the first completion after each poll, once.
#[derive(Debug)]
pub(super) struct QueueWaker {
    signal: Arc<PumpSignal>,
    /// Whether nusb may have the waker: set before a poll, cleared by the wake.
    armed: AtomicBool,
    /// Whether the owner of the queue is draining it, so that a wake is of no use.
    muted: AtomicBool,
    /// Whether the owner of the queue sleeps until the wake.
    awaited: AtomicBool,
    /// Whether the owner may no longer wait.
    interrupted: AtomicBool,
    /// Thread that sleeps, or slept last.
    sleeper: Mutex<Option<Thread>>,
}

impl QueueWaker {
    /// Makes the waker of a queue of the device that `signal` belongs to.
    pub(super) fn new(signal: Arc<PumpSignal>) -> Arc<Self> {
        Arc::new(Self {
            signal,
            armed: AtomicBool::new(false),
            muted: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            sleeper: Mutex::new(None),
        })
    }

    /// Notes that nusb is about to get the waker.
    pub(super) fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Returns whether nusb may have the waker.
    pub(super) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::SeqCst)
    }

    /// Keeps wakes from the pump, or lets them through again. When they are let through again, the
    /// endpoint must be polled, because an earlier wake reached nobody.
    pub(super) fn mute(&self, muted: bool) {
        self.muted.store(muted, Ordering::SeqCst);
    }

    /// Returns whether wakes are kept from the pump.
    pub(super) fn is_muted(&self) -> bool {
        self.muted.load(Ordering::SeqCst)
    }

    /// Makes wakes unpark this thread instead of notifying the pump, until
    /// [`QueueWaker::end_wait`].
    pub(super) fn begin_wait(&self) {
        *self.sleeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current());
        self.awaited.store(true, Ordering::SeqCst);
    }

    /// Makes wakes notify the pump again. A wake before the call may have reached this thread only.
    pub(super) fn end_wait(&self) {
        self.awaited.store(false, Ordering::SeqCst);
    }

    /// Ends the owner's waits, the one in progress and every later one.
    pub(super) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        let sleeper = self.sleeper.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = &*sleeper {
            thread.unpark();
        }
    }

    /// Returns whether the owner's waits are over.
    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }

    /// Runs `submit`, which hands a transfer to nusb, and returns whether the kernel is known to have
    /// refused it. A refusal goes unnoticed when the waker is not armed, or when another transfer
    /// completes at that moment.
    pub(super) fn refuses(&self, submit: impl FnOnce()) -> bool {
        SUBMITTING.set(self.address());
        submit();
        SUBMITTING.replace(0) == 0
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl Wake for QueueWaker {
    fn wake(self: Arc<Self>) {
        self.armed.store(false, Ordering::SeqCst);
        if SUBMITTING.get() == self.address() {
            // While a thread submits, only a refusal wakes the waker in that same thread.
            SUBMITTING.set(0);
        } else if self.awaited.load(Ordering::SeqCst) {
            let sleeper = self.sleeper.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(thread) = &*sleeper {
                thread.unpark();
            }
        } else if !self.is_muted() {
            self.signal.notify();
        }
    }
}

/// A waker that unparks a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Returns a waker that unparks the calling thread.
pub(super) fn this_thread() -> Waker {
    Arc::new(Unpark(std::thread::current())).into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Returns the signal of a device that is never gone: its node is an eventfd to which nothing
    /// is written.
    fn signal() -> Arc<PumpSignal> {
        let quiet = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        Arc::new(PumpSignal::new(File::from(quiet)).unwrap())
    }

    fn is_readable(signal: &PumpSignal) -> bool {
        let mut polled = [PollFd::new(&signal.event, PollFlags::IN)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut polled, Some(&at_once)).unwrap() == 1
    }

    #[test]
    fn a_pump_is_told_once_until_it_looks() {
        let signal = signal();
        let queue_waker = QueueWaker::new(Arc::clone(&signal));
        Waker::from(Arc::clone(&queue_waker)).wake();
        assert!(!is_readable(&signal), "there is no pump");
        assert!(signal.begin_pump() && !signal.begin_pump());
        assert!(is_readable(&signal), "it looks at what came before it");
        assert!(signal.take() && !is_readable(&signal) && !signal.take());
        for _ in 0..3 {
            Waker::from(Arc::clone(&queue_waker)).wake();
        }
        let mut count = [0; 8];
        rustix::io::read(&signal.event, &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 1);
        signal.end_pump();
        assert!(signal.begin_pump());
    }

    #[test]
    fn a_waiting_owner_is_unparked_and_the_pump_left_alone() {
        let signal = signal();
        signal.begin_pump();
        signal.take();
        let queue_waker = QueueWaker::new(Arc::clone(&signal));
        queue_waker.begin_wait();
        let waker = Waker::from(Arc::clone(&queue_waker));
        let waking = std::thread::spawn(move || waker.wake());
        std::thread::park_timeout(Duration::from_secs(60));
        waking.join().unwrap();
        assert!(!is_readable(&signal));
        queue_waker.end_wait();
        Waker::from(Arc::clone(&queue_waker)).wake();
        assert!(is_readable(&signal));
    }

    #[test]
    fn a_muted_waker_tells_nobody() {
        let signal = signal();
        signal.begin_pump();
        signal.take();
        let queue_waker = QueueWaker::new(Arc::clone(&signal));
        let waker = Waker::from(Arc::clone(&queue_waker));
        queue_waker.arm();
        queue_waker.mute(true);
        waker.wake_by_ref();
        assert!(!is_readable(&signal) && !queue_waker.is_armed());
        queue_waker.mute(false);
        waker.wake_by_ref();
        assert!(is_readable(&signal));
    }

    #[test]
    fn a_wake_inside_a_submission_is_a_refusal() {
        let signal = signal();
        signal.begin_pump();
        signal.take();
        let queue_waker = QueueWaker::new(Arc::clone(&signal));
        queue_waker.arm();
        let waker = Waker::from(Arc::clone(&queue_waker));
        assert!(!queue_waker.refuses(|| {}));
        assert!(queue_waker.refuses(|| waker.wake_by_ref()));
        assert!(!queue_waker.is_armed() && !is_readable(&signal));
        // This wake is that of another transfer, in nusb's thread.
        assert!(!queue_waker.refuses(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| waker.wake_by_ref());
            });
        }));
        assert!(is_readable(&signal));
    }

    #[test]
    fn a_node_that_becomes_readable_means_gone() {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let signal = PumpSignal::new(File::from(OwnedFd::from(reader))).unwrap();
        assert!(!signal.check_gone());
        drop(writer);
        assert!(signal.check_gone() && signal.is_gone());
    }
}
