//! The observer of the USB devices, and the captures that run.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use uwwan_usb::observed::{Moment, Observer, Opened, Seen};

use super::destination::Destination;
use super::devices::DeviceState;
use super::recorder::{Outcome, Recorder};
use super::{Options, recorder};
use crate::failure::{Failure, FailureKind};

/// Largest number of devices whose state is kept. Beyond it, the state of the device that was
/// opened first is dropped.
const MOST_DEVICES: usize = 8;
/// Largest number of captures at a time.
const MOST_CAPTURES: usize = 4;
/// Largest number of requests under way that change a device's state.
const MOST_ORDERS: usize = 16;

/// The captures of this process. It is the [`Observer`] of the backend that opens the modem
/// ([`uwwan_usb::device::Backend::observe`]), and captures begin and end while the modem runs.
#[derive(Default)]
pub struct Captures {
    running: RwLock<Vec<Arc<Recorder>>>,
    /// Number of captures that run.
    count: AtomicUsize,
    devices: Mutex<Devices>,
}

#[derive(Default)]
struct Devices {
    known: Vec<DeviceState>,
    /// Requests that change a device's state, with their numbers.
    orders: Vec<(u64, [u8; 8])>,
}

/// A capture that runs until it is ended, finished or dropped. Dropping a capture that has not ended
/// writes its queued events first, as [`Capture::finish`] does.
pub struct Capture {
    captures: Arc<Captures>,
    recorder: Arc<Recorder>,
    ended: AtomicBool,
}

impl Captures {
    /// Begins a capture.
    ///
    /// # Errors
    /// [`FailureKind::Busy`] when too many run; [`FailureKind::Host`] when its thread cannot be
    /// started.
    pub fn start(
        self: &Arc<Self>,
        options: Options,
        destination: Destination,
    ) -> Result<Capture, Failure> {
        let failed = |kind| Failure::new(kind, "cannot begin a capture");
        // No device may change its state until the capture is among those that are told of changes.
        let devices = self.devices();
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        if running.len() >= MOST_CAPTURES {
            return Err(failed(FailureKind::Busy)
                .because(format!("{MOST_CAPTURES} are running"))
                .next("uwwan capture stop ends those of a running up"));
        }
        let recorder = Recorder::start(options, destination, devices.known.clone())
            .map_err(|error| failed(FailureKind::Host).because(error))?;
        let recorder = Arc::new(recorder);
        running.push(Arc::clone(&recorder));
        self.count.store(running.len(), Ordering::Relaxed);
        Ok(Capture {
            captures: Arc::clone(self),
            recorder,
            ended: AtomicBool::new(false),
        })
    }

    fn devices(&self) -> MutexGuard<'_, Devices> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn each(&self, tell: impl Fn(&Recorder)) {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        running.iter().for_each(|recorder| tell(recorder));
    }
}

impl Observer for Captures {
    fn is_active(&self) -> bool {
        self.count.load(Ordering::Relaxed) != 0
    }

    fn opened(&self, opened: &Opened<'_>) {
        let mut state = DeviceState::new(opened);
        let mut devices = self.devices();
        let same = |known: &DeviceState| (known.bus, known.address) == (state.bus, state.address);
        match devices.known.iter().position(same) {
            Some(at) => {
                state.keep_settings(&devices.known[at]);
                if state == devices.known[at] {
                    // Another part of the driver opened the device, and its state is unchanged.
                    return;
                }
                devices.known[at] = state.clone();
            }
            None => {
                if devices.known.len() == MOST_DEVICES {
                    devices.known.remove(0);
                }
                devices.known.push(state.clone());
            }
        }
        self.each(|recorder| recorder.device(state.clone()));
    }

    fn transfer(&self, seen: &Seen<'_>) {
        let mut changed = None;
        if let Some(setup) = seen.setup.filter(|setup| DeviceState::is_order(*setup)) {
            let mut devices = self.devices();
            if devices.orders.len() == MOST_ORDERS {
                devices.orders.remove(0);
            }
            devices.orders.push((seen.id, setup));
        } else if seen.endpoint & 0x7f == 0 && seen.moment != Moment::Submitted {
            let mut devices = self.devices();
            if let Some(at) = devices.orders.iter().position(|(id, _)| *id == seen.id) {
                let (_, setup) = devices.orders.swap_remove(at);
                let meant = |known: &&mut DeviceState| {
                    (known.bus, known.address) == (seen.bus, seen.address)
                };
                if seen.moment == Moment::Completed(0)
                    && let Some(device) = devices.known.iter_mut().find(meant)
                {
                    device.obey(setup);
                    changed = Some((device.clone(), DeviceState::is_selection(setup)));
                }
            }
        }
        if self.is_active() {
            self.each(|recorder| {
                recorder.transfer(seen);
                if let Some((state, selected)) = &changed {
                    recorder.changed(state.clone(), *selected);
                }
            });
        }
    }
}

impl Capture {
    /// Returns whether the capture has ended by itself, because it cannot be written any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.recorder.has_ended()
    }

    /// Lets the capture end by itself once its queued events are written. The caller does not wait
    /// for that.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.leave();
        self.recorder.end();
    }

    /// Ends the capture and returns its outcome. Queued events are written first, for which
    /// `patience` is given.
    #[must_use]
    pub fn finish(self, patience: Duration) -> Outcome {
        self.leave();
        self.ended.store(true, Ordering::Relaxed);
        self.recorder.finish(patience)
    }

    /// Takes the capture from the list of those that are told of events.
    fn leave(&self) {
        let captures = &self.captures;
        let mut running = captures
            .running
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        running.retain(|running| !Arc::ptr_eq(running, &self.recorder));
        captures.count.store(running.len(), Ordering::Relaxed);
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if *self.ended.get_mut() {
            return;
        }
        self.leave();
        let _ = self.recorder.finish(recorder::PATIENCE);
    }
}
