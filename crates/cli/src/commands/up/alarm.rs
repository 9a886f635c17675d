//! An alarm that wakes the loop which serves other programs.

use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use uwwan_modem::share::Waker;

/// Alarm that can be set again and again.
pub(super) struct Alarm {
    times: Option<Sender<Instant>>,
    /// The time that was set last.
    set: Option<Instant>,
}

impl Alarm {
    /// Starts the thread that wakes by `waker`.
    pub(super) fn start(waker: Waker) -> Self {
        let (times, set) = bounded(8);
        let started = std::thread::Builder::new()
            .name("alarm".into())
            .stack_size(64 * 1024)
            .spawn(move || ring(&set, &waker));
        if let Err(error) = &started {
            tracing::warn!("what takes long is told late: {error}");
        }
        Self {
            times: started.is_ok().then_some(times),
            set: None,
        }
    }

    /// Sets the time at which it wakes, in place of the one that was set last.
    pub(super) fn set(&mut self, at: Instant) {
        if self.set != Some(at)
            && let Some(times) = &self.times
            && times.try_send(at).is_ok()
        {
            self.set = Some(at);
        }
    }
}

/// Wakes at the times that come, of which the last one counts.
fn ring(times: &Receiver<Instant>, waker: &Waker) {
    while let Ok(mut at) = times.recv() {
        while let Ok(later) = times.recv_deadline(at) {
            at = later;
        }
        waker.wake();
    }
}
