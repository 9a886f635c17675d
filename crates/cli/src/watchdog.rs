//! The service manager's watchdog (`WatchdogSec=` in a unit; sd_watchdog_enabled(3)). It is fed by the
//! control loop of a running modem, so a program that hangs is restarted.
//!
//! ```text
//!  loop that serves other programs ──when due──> control loop ──WATCHDOG=1──> service manager
//! ```

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::notify::Notifier;

/// Feeder of the watchdog.
pub struct Watchdog {
    notifier: Arc<Notifier>,
    /// Pause between two notifications: half of the time that the service manager allows.
    pause: Duration,
    due: Instant,
    /// Whether the control loop was asked and has not called the function yet.
    asked: Arc<AtomicBool>,
}

impl Watchdog {
    /// Returns the feeder, if the service manager expects notifications from the process that it has
    /// `started`.
    pub fn wanted(notifier: &Arc<Notifier>, started: u32) -> Option<Self> {
        let variable = |name| std::env::var_os(name);
        let limit = limit(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), started)?;
        Some(Self::new(notifier, limit))
    }

    fn new(notifier: &Arc<Notifier>, limit: Duration) -> Self {
        Self {
            notifier: Arc::clone(notifier),
            pause: limit / 2,
            due: Instant::now(),
            asked: Arc::default(),
        }
    }

    /// Passes a function that notifies the service manager to the control loop, by `ask`, if a
    /// notification is due and the loop has called the last function.
    pub fn attend(&mut self, now: Instant, ask: impl FnOnce(Box<dyn FnOnce() + Send>)) {
        if now < self.due || self.asked.swap(true, Ordering::SeqCst) {
            return;
        }
        self.due = now + self.pause;
        let (notifier, asked) = (Arc::clone(&self.notifier), Arc::clone(&self.asked));
        ask(Box::new(move || {
            notifier.watchdog();
            asked.store(false, Ordering::SeqCst);
        }));
    }

    /// Returns the time at which [`Watchdog::attend`] has to be called again. If the loop has not
    /// called the last function yet, it is checked again after the usual pause.
    pub fn next(&self, now: Instant) -> Instant {
        match self.asked.load(Ordering::SeqCst) {
            true => now + self.pause,
            false => self.due,
        }
    }
}

/// Returns the time after which the service manager takes the process that it has started for hung, from
/// its variables `WATCHDOG_USEC` and `WATCHDOG_PID`.
fn limit(
    microseconds: Option<OsString>,
    process: Option<OsString>,
    started: u32,
) -> Option<Duration> {
    let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
    if process.is_some_and(|id| number(id) != Some(started.into())) {
        return None;
    }
    let limit = number(microseconds?).filter(|limit| *limit > 0)?;
    Some(Duration::from_micros(limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn only_a_loop_that_turns_feeds_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let heard = || {
            let mut buffer = [0; 64];
            let count = manager.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
        };
        let notifier = Arc::new(Notifier::at(Some(path.into_os_string())));
        let mut watchdog = Watchdog::new(&notifier, LIMIT);
        let mut turns = Vec::new();
        let start = Instant::now();
        watchdog.attend(start, |turn| turns.push(turn));
        assert_eq!((turns.len(), heard()), (1, None));
        assert_eq!(watchdog.next(start + LIMIT), start + LIMIT * 3 / 2);
        // A loop that hangs is not asked a second time, and the service manager is not notified.
        watchdog.attend(start + LIMIT, |turn| turns.push(turn));
        assert_eq!((turns.len(), heard()), (1, None));
        turns.pop().unwrap()();
        assert_eq!(heard().as_deref(), Some("WATCHDOG=1"));
        assert_eq!(watchdog.next(start + LIMIT), start + LIMIT / 2);
        watchdog.attend(start + LIMIT / 4, |turn| turns.push(turn));
        assert!(turns.is_empty(), "too early");
        watchdog.attend(start + LIMIT / 2, |turn| turns.push(turn));
        turns.pop().unwrap()();
        assert_eq!(heard().as_deref(), Some("WATCHDOG=1"));
        assert_eq!(heard(), None);
    }

    #[test]
    fn the_variables_are_those_of_the_process_that_was_started() {
        let own = 42;
        let of = |limit: &str, process: Option<String>| {
            super::limit(Some(limit.into()), process.map(OsString::from), own)
        };
        assert_eq!(of("60000000", None), Some(LIMIT));
        assert_eq!(of("60000000", Some(own.to_string())), Some(LIMIT));
        assert_eq!(of("60000000", Some((own + 1).to_string())), None);
        for nonsense in ["", "0", "-1", "a"] {
            assert_eq!(of(nonsense, None), None, "{nonsense}");
        }
        assert_eq!(super::limit(None, None, own), None);
    }
}
