//! A pump that lets a poll loop handle libusb's events beside its other descriptors.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::errors::to_error;
use super::inner::Inner;
use crate::device::Pump;
use crate::error::Error;

/// The pump of a device driven through libusb.
pub(super) struct LibusbPump {
    inner: Arc<Inner>,
    descriptors: Vec<(RawFd, bool)>,
}

impl LibusbPump {
    /// Takes over event handling. Returns `None` when another pump has done so already.
    pub(super) fn new(inner: Arc<Inner>) -> Option<Self> {
        let wake = inner.handle.wake();
        if !wake.begin_pump() {
            return None;
        }
        wake.take_descriptors_changed();
        // From here on, the thread that handles events leaves them to the pump.
        inner.handle.interrupt();
        let mut pump = Self {
            inner,
            descriptors: Vec::new(),
        };
        pump.refresh();
        Some(pump)
    }

    /// Asks libusb which descriptors it wants polled.
    fn refresh(&mut self) {
        self.descriptors.clear();
        self.descriptors
            .push((self.inner.handle.wake().event(), false));
        self.descriptors.extend(self.inner.handle.descriptors());
    }
}

impl Pump for LibusbPump {
    fn descriptors(&self) -> &[(RawFd, bool)] {
        &self.descriptors
    }

    fn process(&mut self) -> Result<(), Error> {
        let handle = &self.inner.handle;
        let wake = handle.wake();
        let result = wake.as_pump(|| handle.handle_events(Duration::ZERO, None));
        if wake.take_descriptors_changed() {
            self.refresh();
        }
        let operation = || format!("handle USB events of {}", self.inner.identity);
        if self.inner.handle.wake().is_gone() {
            return Err(Error::Gone {
                operation: operation(),
            });
        }
        result.map_err(|error| to_error(error, operation()))
    }

    fn timeout(&self) -> Option<Duration> {
        self.inner.handle.next_timeout()
    }
}

impl Drop for LibusbPump {
    fn drop(&mut self) {
        self.inner.handle.wake().end_pump();
    }
}
