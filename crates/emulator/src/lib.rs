//! The HP lt4132 (Huawei ME906s-158) in software.
//!
//! The emulator has the device's descriptors byte for byte, a firmware with the misbehaviours that
//! owners have reported (one knob for each, see [`knobs`]), MBIM, NCM and AT functions, and a
//! network behind it. A host reaches it in process as a `uwwan_usb` backend
//! ([`Emulator::backend`]), on this machine's virtual USB host controller ([`usbip::attach`]), over
//! TCP as a USB/IP host ([`usbip::listen`]), or as a virtual machine ([`usbredir::listen`]). The
//! emulator checks the host strictly and reports every violation ([`Emulator::report`]).
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
//! Everything from the device inwards is sans-IO. The device core is chapter 9 of USB 2.0 and the
//! queues of the endpoints. It drives the modem, which routes requests and data to its functions.
//! One thread, the engine, moves transfers between the upstream, the device and the network behind
//! it. The upstream is the host that has the device: the driver in this process, a USB/IP host or a
//! virtual machine. All three make their requests through one interface.
#![forbid(unsafe_code)]

mod air;
mod at_port;
mod behaviour;
mod controls;
mod descriptors;
mod device;
mod emulator;
mod engine;
pub mod far_side;
mod firmware;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod handle;
mod host_socket;
mod in_process;
pub mod knobs;
mod mbim_function;
mod modem;
mod ncm_function;
mod plmn;
mod presence;
mod random;
mod report;
pub mod rules;
mod server;
mod setup;
mod upstream;
mod urb;
pub mod usbip;
pub mod usbredir;
mod waker;
mod watched;
mod wire;

pub use controls::Controls;
pub use emulator::Emulator;
pub use far_side::{FarSide, Network};
pub use knobs::{Effect, KnobError, KnobInfo, Knobs};
pub use report::{Counters, Listener, Report, Rule, Violation};
pub use server::{Place, Server};
pub use setup::Setup;
