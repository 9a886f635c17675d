//! The emulated modem, as the program that owns it uses it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::device::Backend;
use uwwan_usb::observed::Observer;

use crate::air::Air;
use crate::controls::Controls;
use crate::engine::Engine;
use crate::far_side::FarSide;
use crate::handle::{self, Handle, Order};
use crate::in_process::{self, Bus};
use crate::knobs::Knobs;
use crate::modem::Modem;
use crate::presence::Presence;
use crate::report::{Listener, Recorder, Report};
use crate::setup::Setup;
use crate::waker::Waker;
use crate::watched::Watch;

/// Longest wait for the device to leave the bus or to appear on it.
const PLUG: Duration = Duration::from_secs(5);

/// An emulated modem, which is plugged in and runs on a thread of its own until it is dropped.
#[derive(Debug)]
pub struct Emulator {
    knobs: Knobs,
    handle: Handle,
    bus: Arc<Bus>,
    recorder: Recorder,
    thread: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Switches a modem on, with `far_side` as the network behind it.
    ///
    /// # Errors
    /// Fails when the process has no descriptor left or a thread cannot be started.
    pub fn new(knobs: Knobs, far_side: FarSide) -> std::io::Result<Self> {
        let setup = Setup {
            knobs,
            ..Setup::default()
        };
        Self::start(setup, far_side)
    }

    /// Switches a modem on that presents the descriptors of another device: its ids,
    /// configurations, interfaces and endpoints. Its MBIM or NCM function and its AT port are found
    /// in them. [`Knobs::like`] returns the knobs for such a device.
    ///
    /// # Errors
    /// The same as those of [`Emulator::new`].
    pub fn presenting(
        descriptors: Descriptors,
        knobs: Knobs,
        far_side: FarSide,
    ) -> std::io::Result<Self> {
        let setup = Setup {
            knobs,
            descriptors: Some(descriptors),
            ..Setup::default()
        };
        Self::start(setup, far_side)
    }

    /// Switches a modem on that is made of `setup`, with `far_side` as the network behind it.
    ///
    /// # Errors
    /// The same as those of [`Emulator::new`].
    pub fn start(setup: Setup, far_side: FarSide) -> std::io::Result<Self> {
        let knobs = setup.knobs.clone();
        let recorder = Recorder::default();
        let waker = Arc::new(Waker::new()?);
        let network = Air::over(far_side.start(&waker)?, &knobs);
        let modem = Modem::new(setup, recorder.clone(), network);
        let presence = Arc::new(Presence::new(modem.presented()));
        let (bus, local) = in_process::new(&knobs, Arc::clone(&waker), Arc::clone(&presence))?;
        let (handle, inbox) = handle::pair(Arc::clone(&waker), Arc::clone(&presence));
        let engine = Engine::new(
            modem,
            recorder.clone(),
            Box::new(local),
            inbox,
            waker,
            presence,
        );
        let thread = std::thread::Builder::new()
            .name("emulated-modem".into())
            .spawn(move || engine.run())?;
        Ok(Self {
            knobs,
            handle,
            bus,
            recorder,
            thread: Some(thread),
        })
    }

    /// Returns the modem as a backend of the USB crate.
    #[must_use]
    pub fn backend(&self) -> Arc<dyn Backend> {
        in_process::backend(&self.bus)
    }

    /// Returns the knobs with which the modem was started.
    #[must_use]
    pub fn knobs(&self) -> &Knobs {
        &self.knobs
    }

    /// Turns knobs while the modem runs. Those of identity and SIM take effect at the next reset of
    /// the firmware.
    pub fn adjust(&self, adjust: impl FnOnce(&mut Knobs) + Send + 'static) {
        self.handle.order(Order::Adjust(Box::new(adjust)));
    }

    /// Returns the controls, which any thread may use.
    #[must_use]
    pub fn controls(&self) -> Controls {
        Controls::new(self.handle.clone())
    }

    /// Reports the transfers of remote hosts to `observer`, on the device's thread. Transfers
    /// through [`Emulator::backend`] can be observed at the backend.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        let watch = Watch {
            observer,
            identity: self.bus.identity(self.handle.presence().get().generation),
            descriptors: self.bus.descriptors(),
        };
        self.handle.order(Order::Observe(Box::new(watch)));
    }

    /// Returns what the device has seen the host do.
    #[must_use]
    pub fn report(&self) -> Report {
        self.recorder.report()
    }

    /// Calls `listener`, on the device's thread, with each violation that is recorded from here on.
    pub fn on_violation(&self, listener: Listener) {
        self.recorder.listen(listener);
    }

    /// Pulls the plug, and waits until the device is off the bus.
    pub fn unplug(&self) {
        self.handle.order(Order::Unplug);
        let presence = self.handle.presence();
        presence.wait(PLUG, |state| !state.present);
    }

    /// Plugs the device in again, and waits until it is on the bus.
    pub fn plug(&self) {
        self.handle.order(Order::Plug);
        let presence = self.handle.presence();
        presence.wait(PLUG, |state| state.present);
    }

    /// Lets the host suspend and resume while the device keeps its power: the kernel ends all transfers as
    /// those of a device that is gone (`usb_suspend_both` in drivers/usb/core/driver.c flushes the endpoints
    /// with ESHUTDOWN), and then everything is where it was, a call that is up included.
    pub fn suspend(&self) {
        self.handle.order(Order::Suspend);
    }

    /// Lets the firmware crash: the device goes off the bus, and is back after the time that the
    /// knob `absent_ms` says.
    pub fn reset_firmware(&self) {
        self.handle.order(Order::ResetFirmware);
    }

    /// Returns whether the device is on the bus.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.handle.presence().get().present
    }

    /// Waits until a remote host has the device, or no longer has it. Returns `false` when that
    /// took longer than `timeout`.
    #[must_use]
    pub fn wait_exported(&self, exported: bool, timeout: Duration) -> bool {
        let presence = self.handle.presence();
        let state = presence.wait(timeout, |state| state.exported == exported);
        state.exported == exported
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.handle.order(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
