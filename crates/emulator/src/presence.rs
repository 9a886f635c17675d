//! Presence of the device: whether it is on the bus, with which descriptors, and which host has it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::descriptors::Presented;

/// State of the device's place on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plugged {
    /// Whether the device is on the bus.
    pub present: bool,
    /// Whether a remote host has the device.
    pub exported: bool,
    /// Number of the enumeration, counted from 1.
    pub generation: u64,
    /// Whether the device's thread has ended.
    pub stopped: bool,
}

/// Presence of the device, which the device's thread changes and all other threads may watch.
#[derive(Debug)]
pub(crate) struct Presence {
    state: Mutex<Plugged>,
    changed: Condvar,
    presented: Mutex<Arc<Presented>>,
}

impl Presence {
    /// Makes the presence of a device with these descriptors that has just been plugged in.
    pub fn new(presented: Arc<Presented>) -> Self {
        Self {
            presented: Mutex::new(presented),
            state: Mutex::new(Plugged {
                present: true,
                exported: false,
                generation: 1,
                stopped: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Plugged> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the current state.
    pub fn get(&self) -> Plugged {
        *self.lock()
    }

    /// Returns the number of the enumeration that the driver in this process can use; `None` while
    /// the device is off the bus or a remote host has it.
    pub fn generation_here(&self) -> Option<u64> {
        let state = self.get();
        (state.present && !state.exported && !state.stopped).then_some(state.generation)
    }

    /// Returns the descriptors of the device, or of the last one while none is on the bus.
    pub fn presented(&self) -> Arc<Presented> {
        let presented = self.presented.lock();
        Arc::clone(&presented.unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the descriptors with which the device comes back.
    pub fn present(&self, presented: Arc<Presented>) {
        let place = self.presented.lock();
        *place.unwrap_or_else(PoisonError::into_inner) = presented;
    }

    /// Changes the state and wakes all threads that wait for a change.
    pub fn change(&self, change: impl FnOnce(&mut Plugged)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until `wanted` holds, the device's thread has ended or `timeout` is over, and returns
    /// the state at that time.
    pub fn wait(&self, timeout: Duration, wanted: impl Fn(&Plugged) -> bool) -> Plugged {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), timeout, |state| {
                !state.stopped && !wanted(state)
            })
            .unwrap_or_else(PoisonError::into_inner);
        *state
    }
}
