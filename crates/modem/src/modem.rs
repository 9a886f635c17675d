//! Starting a modem, and the handle on it.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use uwwan_usb::device::Backend;

use crate::event::{Event, Failure};
use crate::host::HostProvider;
use crate::options::Options;
use crate::selector::Selector;
use crate::status::Status;

/// A modem under this driver's care.
pub struct Modem;

/// Why a modem could not be started.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// The device cannot be had: none, several, no permission, busy.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// An option makes no sense.
    #[error("option {option}: {why}")]
    Option {
        /// Its name.
        option: &'static str,
        /// Why.
        why: String,
    },
    /// A thread or descriptor could not be made.
    #[error("cannot start: {0}")]
    System(String),
}

impl Modem {
    /// Starts to bring up the selected modem and keeps it up until [`Handle::stop`].
    ///
    /// `observer` is called from the modem's control thread, in order, and must not block.
    ///
    /// # Errors
    /// [`StartError`] when options make no sense or, unless [`Options::wait_for_device`], the
    /// device is not there. Everything later comes as [`Event`]s and from [`Handle::wait`].
    pub fn start(
        backend: Arc<dyn Backend>,
        selector: Selector,
        options: Options,
        host: Box<dyn HostProvider>,
        observer: Box<dyn FnMut(Event) + Send>,
    ) -> Result<Handle, StartError> {
        let _ = (backend, selector, options, host, observer);
        Err(StartError::System("not implemented".into()))
    }
}

/// A handle on a running modem. Clones are handles on the same one; dropping them all does not
/// stop it.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    status: Mutex<Status>,
    end: Mutex<Option<Result<(), Failure>>>,
    changed: Condvar,
}

impl Handle {
    /// The state as it is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status.lock().unwrap().clone()
    }

    /// Asks for a clean stop and returns at once; [`Handle::wait`] tells when it is done.
    pub fn stop(&self) {}

    /// Waits for the end. `Ok` after a stop asked for.
    ///
    /// # Errors
    /// The failure that ended it.
    pub fn wait(&self) -> Result<(), Failure> {
        self.wait_timeout(Duration::MAX).unwrap_or(Ok(()))
    }

    /// Waits for the end at most `timeout`; `None` when it still runs.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<(), Failure>> {
        let deadline = Instant::now().checked_add(timeout);
        let mut end = self.shared.end.lock().unwrap();
        loop {
            if let Some(end) = end.as_ref() {
                return Some(end.clone());
            }
            let left = match deadline {
                Some(deadline) => deadline.checked_duration_since(Instant::now())?,
                None => Duration::from_secs(3600),
            };
            end = self.shared.changed.wait_timeout(end, left).unwrap().0;
        }
    }
}
