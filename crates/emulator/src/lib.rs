//! The HP lt4132 (Huawei ME906s-158) in software.
//!
//! Descriptors byte for byte, a firmware with the misbehaviours owners have met (each a knob, see
//! [`knobs`]), MBIM, NCM and AT functions, and a network behind it. It can be reached in process
//! as a `uwwan_usb` backend ([`Emulator::backend`]), on this machine's virtual USB host controller
//! ([`usbip::attach`]), by USB/IP hosts over TCP ([`usbip::listen`]), and by virtual machines
//! ([`usbredir::listen`]). It checks the host strictly and reports every violation ([`Emulator::report`]).
//!
//! ```
//! use uwwan_emulator::{Emulator, FarSide, Knobs};
//!
//! let emulator = Emulator::new("settle_ms=20".parse()?, FarSide::BuiltIn)?;
//! let found = emulator.backend().devices()?;
//! assert_eq!(found[0].identity.to_string(), "03f0:a31d at 1-1");
//! assert_eq!(found[0].active_configuration, Some(2));
//! assert_eq!(emulator.report().total_violations(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layers
//!
//! Everything up to the modem is sans-IO: [`device::UsbDevice`] is chapter 9 and the endpoints'
//! queues, and drives the modem, which routes requests and data to its functions. One thread (the
//! engine) moves transfers between the upstream side, the device and the network behind it.
#![forbid(unsafe_code)]

mod answers;
mod at_port;
mod built_in;
pub mod descriptors;
pub mod device;
mod engine;
pub mod far_side;
mod firmware;
mod in_process;
pub mod knobs;
mod mbim_function;
mod modem;
mod ncm_function;
mod plmn;
mod random;
pub mod report;
mod upstream;
pub mod urb;
pub mod usbip;
pub mod usbredir;
mod wake;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use uwwan_usb::device::Backend;

pub use far_side::{FarSide, Network};
pub use knobs::{KnobError, KnobInfo, Knobs};
pub use report::{Counters, Listener, Report, Rule, Violation};

use engine::{Engine, Order, Presence, Reins};
use in_process::{Bus, InProcess, Wire};
use modem::Modem;
use report::Recorder;
use wake::Wake;

/// An emulated modem, plugged in and running on a thread of its own until dropped.
#[derive(Debug)]
pub struct Emulator {
    knobs: Knobs,
    reins: Reins,
    bus: Arc<Bus>,
    recorder: Recorder,
    thread: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Switches a modem on, with that network behind it.
    ///
    /// # Errors
    /// When a descriptor or thread cannot be had.
    pub fn new(knobs: Knobs, far_side: FarSide) -> std::io::Result<Self> {
        let recorder = Recorder::default();
        let wake = Arc::new(Wake::new()?);
        let presence = Arc::new(Presence::default());
        let wire = Arc::new(Wire::new(Arc::clone(&wake))?);
        let network = far_side.start(&wake)?;
        let modem = Modem::new(knobs.clone(), recorder.clone(), network);
        let (engine, reins) = Engine::new(
            modem,
            recorder.clone(),
            Arc::clone(&wire),
            wake,
            Arc::clone(&presence),
        );
        let bus = Bus::new(wire, presence, &knobs);
        let thread = std::thread::Builder::new()
            .name("emulated-modem".into())
            .spawn(move || engine.run())?;
        Ok(Self {
            knobs,
            reins,
            bus,
            recorder,
            thread: Some(thread),
        })
    }

    /// The modem as a backend of the USB crate.
    #[must_use]
    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(InProcess {
            bus: Arc::clone(&self.bus),
        })
    }

    /// The knobs it was started with.
    #[must_use]
    pub fn knobs(&self) -> &Knobs {
        &self.knobs
    }

    /// Turns knobs while it runs. Some take effect at the next firmware reset only: those of
    /// identity and SIM.
    pub fn adjust(&self, adjust: impl FnOnce(&mut Knobs) + Send + 'static) {
        self.reins.order(Order::Adjust(Box::new(adjust)));
    }

    /// What it saw the host do so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.recorder.report()
    }

    /// Calls `listener`, on the device's thread, with each violation recorded from here on.
    pub fn on_violation(&self, listener: Listener) {
        self.recorder.listen(listener);
    }

    /// Pulls the plug.
    pub fn unplug(&self) {
        self.reins.order(Order::Unplug);
        self.reins
            .presence
            .wait(Duration::from_secs(5), |state| !state.present);
    }

    /// Plugs it in again.
    pub fn plug(&self) {
        self.reins.order(Order::Plug);
        self.reins
            .presence
            .wait(Duration::from_secs(5), |state| state.present);
    }

    /// The firmware crashes: off the bus, and back after the time the knob says.
    pub fn reset_firmware(&self) {
        self.reins.order(Order::ResetFirmware);
    }

    /// Whether the device is on the bus.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.reins.presence.get().present
    }

    /// Waits until a host elsewhere has the device, or no longer has it; `false` when it took too long.
    #[must_use]
    pub fn wait_exported(&self, exported: bool, timeout: Duration) -> bool {
        self.reins
            .presence
            .wait(timeout, |state| state.exported == exported)
            .exported
            == exported
    }

    pub(crate) fn reins(&self) -> &Reins {
        &self.reins
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.reins.order(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
