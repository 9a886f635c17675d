//! nusb's completions inside somebody else's poll loop.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::inner::Inner;
use crate::device::Pump;
use crate::error::Error;

/// nusb's completions inside somebody else's poll loop.
pub(super) struct NusbPump {
    inner: Arc<Inner>,
    descriptors: Vec<(RawFd, bool)>,
}

impl NusbPump {
    /// `None` when there is one already.
    pub(super) fn new(inner: Arc<Inner>) -> Option<Self> {
        if !inner.signal.begin_pump() {
            return None;
        }
        let descriptors = inner.signal.descriptors();
        Some(Self {
            inner,
            descriptors: descriptors.map(|descriptor| (descriptor, false)).into(),
        })
    }
}

impl Pump for NusbPump {
    fn descriptors(&self) -> &[(RawFd, bool)] {
        &self.descriptors
    }

    fn process(&mut self) -> Result<(), Error> {
        let signal = &self.inner.signal;
        // What rang says what happened; only silence raises the question.
        let gone = if signal.take() {
            signal.is_gone()
        } else {
            signal.is_gone() || signal.check_gone()
        };
        if !gone {
            return Ok(());
        }
        // That one stays readable, and says no more.
        self.descriptors.truncate(1);
        Err(Error::Gone {
            operation: format!("handle USB events of {}", self.inner.place.identity),
        })
    }

    fn timeout(&self) -> Option<Duration> {
        None
    }
}

impl Drop for NusbPump {
    fn drop(&mut self) {
        self.inner.signal.end_pump();
    }
}
