//! The part of an open device that its queues and its pump share, and how threads wait.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ffi::done::DoneFlag;
use super::ffi::handle::Handle;
use crate::device::Identity;

/// Time for which a waiter sleeps at first before it checks whether the pump has left events
/// unhandled.
const LOOK_FIRST: Duration = Duration::from_millis(20);
/// Longest time for which a waiter sleeps before it checks again. A thread that waits for an
/// unsolicited transfer wakes this often for nothing.
const LOOK_LAST: Duration = Duration::from_secs(4);
/// Longest time after which a thread that handles events checks whether a pump has taken over.
const HANDLE_MAX: Duration = Duration::from_millis(500);

/// The part of an open device that its queues and its pump share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) handle: Arc<Handle>,
    pub(super) identity: Identity,
    /// Claimed interfaces, each with its active alternate setting.
    claims: Mutex<BTreeMap<u8, u8>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Buffers may keep the node open, but the claims end with this value.
        for &interface in self.claims().keys() {
            let _ = self.handle.usb().release_interface(interface);
        }
    }
}

impl Inner {
    /// Makes the shared part of an open device that has claimed nothing.
    pub(super) fn new(handle: Arc<Handle>, identity: Identity) -> Self {
        Self {
            handle,
            identity,
            claims: Mutex::default(),
        }
    }

    /// Returns the claimed interfaces, each with its active alternate setting.
    pub(super) fn claims(&self) -> MutexGuard<'_, BTreeMap<u8, u8>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the transfer of `done` has ended, or until `deadline`. Returns whether it has
    /// ended.
    pub(super) fn wait(&self, done: &DoneFlag, deadline: Instant) -> bool {
        self.wait_unless(done, deadline, &AtomicBool::new(false))
    }

    /// Waits as [`Inner::wait`] does, but only until `interrupted` is set, after which the thread
    /// that sets it calls [`Inner::interrupt`].
    pub(super) fn wait_unless(
        &self,
        done: &DoneFlag,
        deadline: Instant,
        interrupted: &AtomicBool,
    ) -> bool {
        let wake = self.handle.wake();
        let mut look = LOOK_FIRST;
        loop {
            if done.is_done() {
                return true;
            }
            if interrupted.load(Ordering::SeqCst) {
                return false;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if !wake.has_pump() || wake.drives_pump() {
                self.handle_events(left.min(HANDLE_MAX), done);
                continue;
            }
            wake.sleep(done, interrupted, look.min(left));
            if done.is_done() {
                return true;
            }
            // The pump's owner may be busy elsewhere, perhaps because it waits for this thread.
            self.handle_events(Duration::ZERO, done);
            look = if done.is_done() {
                LOOK_FIRST
            } else {
                (look * 2).min(LOOK_LAST)
            };
        }
    }

    /// Wakes all threads that wait, so that they check whether they are interrupted.
    pub(super) fn interrupt(&self) {
        self.handle.wake().wake_all();
        if !self.handle.wake().has_pump() {
            self.handle.interrupt();
        }
    }

    /// Handles the events that are there, unless a pump does so.
    pub(super) fn collect(&self, done: &DoneFlag) {
        if !self.handle.wake().has_pump() {
            self.handle_events(Duration::ZERO, done);
        }
    }

    fn handle_events(&self, limit: Duration, done: &DoneFlag) {
        if let Err(error) = self.handle.handle_events(limit, Some(done)) {
            tracing::warn!(device = %self.identity, %error, "USB event handling failed");
            // A failure that lasts must not make the caller's loop spin.
            std::thread::sleep(Duration::from_millis(1).min(limit));
        }
    }
}
