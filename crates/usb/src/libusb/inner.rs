//! What an open device, its queues and its pump share, and how they wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ffi::done::DoneFlag;
use super::ffi::handle::Handle;
use crate::device::Identity;

/// How long a waiter sleeps before it looks whether the pump leaves events lying, at first and at
/// most.
const LOOK_FIRST: Duration = Duration::from_millis(20);
const LOOK_LAST: Duration = Duration::from_millis(250);
/// A thread that handles events looks at least this often whether a pump has taken over.
const HANDLE_MAX: Duration = Duration::from_millis(500);

/// What [`Device::queue`] and [`Device::pump`] share with the device.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) handle: Arc<Handle>,
    pub(super) identity: Identity,
    /// Claimed interfaces, each with its active alternate setting.
    claims: Mutex<BTreeMap<u8, u8>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Buffers may keep the node open; the claims end here all the same.
        for &interface in self.claims().keys() {
            let _ = self.handle.usb().release_interface(interface);
        }
    }
}

impl Inner {
    pub(super) fn new(handle: Arc<Handle>, identity: Identity) -> Self {
        Self {
            handle,
            identity,
            claims: Mutex::default(),
        }
    }

    pub(super) fn claims(&self) -> MutexGuard<'_, BTreeMap<u8, u8>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `done` is set, or until `deadline`. Returns whether it is set.
    pub(super) fn wait(&self, done: &DoneFlag, deadline: Instant) -> bool {
        let wake = self.handle.wake();
        let mut look = LOOK_FIRST;
        loop {
            if done.is_done() {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if !wake.has_pump() || wake.drives_pump() {
                self.handle_events(left.min(HANDLE_MAX), done);
                continue;
            }
            wake.sleep(done, look.min(left));
            if done.is_done() {
                return true;
            }
            // The pump's owner may be busy elsewhere, perhaps waiting for this very thread.
            self.handle_events(Duration::ZERO, done);
            look = if done.is_done() {
                LOOK_FIRST
            } else {
                (look * 2).min(LOOK_LAST)
            };
        }
    }

    /// Handles events that are there, unless that is the pump's business.
    pub(super) fn collect(&self, done: &DoneFlag) {
        if !self.handle.wake().has_pump() {
            self.handle_events(Duration::ZERO, done);
        }
    }

    fn handle_events(&self, limit: Duration, done: &DoneFlag) {
        if let Err(error) = self.handle.handle_events(limit, Some(done)) {
            tracing::warn!(device = %self.identity, %error, "USB event handling failed");
            // Whatever ails it, not at full speed.
            std::thread::sleep(Duration::from_millis(1).min(limit));
        }
    }
}
