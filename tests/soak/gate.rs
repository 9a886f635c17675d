//! A gate that the workers of a run pass before each piece of work, so that all of them can rest at
//! once.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A gate that lets workers through, makes them rest, or ends them.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    open: bool,
    ended: bool,
    /// Number of workers that have passed and have not finished their work.
    busy: usize,
}

/// Permission for one piece of work, which ends when the value is dropped.
pub struct Busy<'a>(&'a Gate);

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until work is wanted. Returns `None` once no more is wanted.
    pub fn pass(&self) -> Option<Busy<'_>> {
        let closed = |state: &mut State| !state.open && !state.ended;
        let waited = self.changed.wait_while(self.state(), closed);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            return None;
        }
        state.busy += 1;
        Some(Busy(self))
    }

    /// Lets workers through.
    pub fn open(&self) {
        self.state().open = true;
        self.changed.notify_all();
    }

    /// Lets no worker through any more and waits, for at most `patience`, until all have finished.
    /// Returns the number of those that have not.
    pub fn close(&self, patience: Duration) -> usize {
        let mut state = self.state();
        state.open = false;
        let busy = |state: &mut State| state.busy > 0;
        let waited = self.changed.wait_timeout_while(state, patience, busy);
        waited.unwrap_or_else(PoisonError::into_inner).0.busy
    }

    /// Ends all workers.
    pub fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// Rests for `time`, or until work is no longer wanted.
    pub fn rest(&self, time: Duration) {
        let open = |state: &mut State| state.open && !state.ended;
        drop(self.changed.wait_timeout_while(self.state(), time, open));
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.state().busy -= 1;
        self.0.changed.notify_all();
    }
}
