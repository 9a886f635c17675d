//! A pump that lets a poll loop learn of nusb's completions beside its other descriptors.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::inner::Inner;
use crate::device::Pump;
use crate::error::Error;

/// The pump of a device driven through nusb.
pub(super) struct NusbPump {
    inner: Arc<Inner>,
    descriptors: Vec<(RawFd, bool)>,
}

impl NusbPump {
    /// Takes over event handling. Returns `None` when another pump has done so already.
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
        // A notification says what happened; without one, the node may have become ready.
        let gone = if signal.take() {
            signal.is_gone()
        } else {
            signal.is_gone() || signal.check_gone()
        };
        if !gone {
            return Ok(());
        }
        // The node stays ready from here on, so it is no longer polled.
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
