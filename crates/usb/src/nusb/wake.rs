//! Who wants to know that something completed, and how they are told.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

thread_local! {
    /// The [`Bell`] on whose endpoint this thread is submitting a transfer, by address; 0 for none.
    static SUBMITTING: Cell<usize> = const { Cell::new(0) };
}

/// The pump's side of a device. All flags use sequentially consistent order.
#[derive(Debug)]
pub(super) struct Signal {
    /// Whether a pump exists.
    pump: AtomicBool,
    /// Readable while there is something for the pump to know.
    event: OwnedFd,
    /// Whether `event` was written since it was read.
    signalled: AtomicBool,
    /// Whether the kernel said that the device is gone.
    gone: AtomicBool,
    /// The device's node. Opened for reading only, it stays silent until the device is gone.
    node: File,
}

impl Signal {
    pub(super) fn new(node: File) -> std::io::Result<Self> {
        Ok(Self {
            pump: AtomicBool::new(false),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            signalled: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            node,
        })
    }

    /// Takes the pump's place; false when it is taken.
    pub(super) fn begin_pump(&self) -> bool {
        let begun = !self.pump.swap(true, Ordering::SeqCst);
        if begun {
            // What completed before is for the pump to find.
            self.ring();
        }
        begun
    }

    pub(super) fn end_pump(&self) {
        self.pump.store(false, Ordering::SeqCst);
    }

    /// Tells the pump, if there is one.
    pub(super) fn ring(&self) {
        if self.pump.load(Ordering::SeqCst) && !self.signalled.swap(true, Ordering::SeqCst) {
            // Fails only when the counter is full, and then it is readable as it should be.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }

    /// Whether the pump was told something since the last call.
    pub(super) fn take(&self) -> bool {
        let signalled = self.signalled.load(Ordering::SeqCst);
        if signalled {
            // Read before the flag falls: a signal in between leaves the descriptor unwritten, but
            // whatever it stands for is seen by the pump's owner, who looks at its queues next.
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
            self.signalled.store(false, Ordering::SeqCst);
        }
        signalled
    }

    /// Whether the device is known to be gone.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Asks the kernel whether the device is gone.
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

    /// The pump's own descriptor, and the one that tells that the device is gone, both to be
    /// polled for reading.
    pub(super) fn descriptors(&self) -> [RawFd; 2] {
        [self.event.as_raw_fd(), self.node.as_raw_fd()]
    }
}

/// One queue's waker. nusb uses it up with the first completion after each poll.
#[derive(Debug)]
pub(super) struct Bell {
    signal: Arc<Signal>,
    /// Whether it was handed to nusb and not rung since, as far as is known here.
    armed: AtomicBool,
    /// Whether the queue's owner looks by itself until it finds nothing, so that nobody needs to be
    /// told before.
    muted: AtomicBool,
    /// Whether the queue's owner sleeps until it rings.
    awaited: AtomicBool,
    sleeper: Mutex<Option<Thread>>,
}

impl Bell {
    pub(super) fn new(signal: Arc<Signal>) -> Arc<Self> {
        Arc::new(Self {
            signal,
            armed: AtomicBool::new(false),
            muted: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            sleeper: Mutex::new(None),
        })
    }

    /// Before it is handed to nusb.
    pub(super) fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::SeqCst)
    }

    /// From here on it tells nobody, or does again. After the latter the endpoint must be polled:
    /// what rang before told nobody.
    pub(super) fn mute(&self, muted: bool) {
        self.muted.store(muted, Ordering::SeqCst);
    }

    pub(super) fn is_muted(&self) -> bool {
        self.muted.load(Ordering::SeqCst)
    }

    /// From here to [`Bell::end_wait`], ringing unparks this thread instead of telling the pump.
    pub(super) fn begin_wait(&self) {
        *self.sleeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current());
        self.awaited.store(true, Ordering::SeqCst);
    }

    /// What rang until here may have reached nobody but this thread.
    pub(super) fn end_wait(&self) {
        self.awaited.store(false, Ordering::SeqCst);
    }

    /// Runs `submit`, which hands a transfer to nusb. Whether the kernel refused it, as far as is
    /// known: when the bell is not armed, or something else completes at that moment, a refusal
    /// goes unnoticed.
    pub(super) fn refuses(&self, submit: impl FnOnce()) -> bool {
        SUBMITTING.set(self.address());
        submit();
        SUBMITTING.replace(0) == 0
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.armed.store(false, Ordering::SeqCst);
        if SUBMITTING.get() == self.address() {
            // In the midst of submitting only a refusal rings in the same thread.
            SUBMITTING.set(0);
        } else if self.awaited.load(Ordering::SeqCst) {
            let sleeper = self.sleeper.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(thread) = &*sleeper {
                thread.unpark();
            }
        } else if !self.is_muted() {
            self.signal.ring();
        }
    }
}

/// Unparks a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker that unparks this thread.
pub(super) fn this_thread() -> Waker {
    Arc::new(Unpark(std::thread::current())).into()
}

/// Far enough for a timeout that overflows the clock.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// When `timeout` from here is over.
pub(super) fn deadline(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or_else(|| now + FOREVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node that is never gone: nothing is ever written to this eventfd.
    fn signal() -> Arc<Signal> {
        let quiet = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        Arc::new(Signal::new(File::from(quiet)).unwrap())
    }

    fn is_readable(signal: &Signal) -> bool {
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
        let bell = Bell::new(Arc::clone(&signal));
        Waker::from(Arc::clone(&bell)).wake();
        assert!(!is_readable(&signal), "there is no pump");
        assert!(signal.begin_pump() && !signal.begin_pump());
        assert!(is_readable(&signal), "it looks at what came before it");
        assert!(signal.take() && !is_readable(&signal) && !signal.take());
        for _ in 0..3 {
            Waker::from(Arc::clone(&bell)).wake();
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
        let bell = Bell::new(Arc::clone(&signal));
        bell.begin_wait();
        let waker = Waker::from(Arc::clone(&bell));
        let ringing = std::thread::spawn(move || waker.wake());
        std::thread::park_timeout(Duration::from_secs(60));
        ringing.join().unwrap();
        assert!(!is_readable(&signal));
        bell.end_wait();
        Waker::from(Arc::clone(&bell)).wake();
        assert!(is_readable(&signal));
    }

    #[test]
    fn a_muted_bell_tells_nobody() {
        let signal = signal();
        signal.begin_pump();
        signal.take();
        let bell = Bell::new(Arc::clone(&signal));
        let waker = Waker::from(Arc::clone(&bell));
        bell.arm();
        bell.mute(true);
        waker.wake_by_ref();
        assert!(!is_readable(&signal) && !bell.is_armed());
        bell.mute(false);
        waker.wake_by_ref();
        assert!(is_readable(&signal));
    }

    #[test]
    fn ringing_inside_a_submission_is_a_refusal() {
        let signal = signal();
        signal.begin_pump();
        signal.take();
        let bell = Bell::new(Arc::clone(&signal));
        bell.arm();
        let waker = Waker::from(Arc::clone(&bell));
        assert!(!bell.refuses(|| {}));
        assert!(bell.refuses(|| waker.wake_by_ref()));
        assert!(!bell.is_armed() && !is_readable(&signal));
        // Of another transfer, in nusb's thread.
        assert!(!bell.refuses(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| waker.wake_by_ref());
            });
        }));
        assert!(is_readable(&signal));
    }

    #[test]
    fn a_node_that_becomes_readable_means_gone() {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let signal = Signal::new(File::from(OwnedFd::from(reader))).unwrap();
        assert!(!signal.check_gone());
        drop(writer);
        assert!(signal.check_gone() && signal.is_gone());
    }
}
