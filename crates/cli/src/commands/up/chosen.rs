//! Choice of the device that `up` drives.

use std::sync::Arc;

use uwwan_emulator::Controls;
use uwwan_modem::Selector;
use uwwan_modem::options::Options;
use uwwan_usb::backend::BackendKind;
use uwwan_usb::device::Backend;

use crate::candidates;
use crate::capture;
use crate::emulated::Wanted;
use crate::failure::{Failure, FailureKind};
use crate::modem_manager::{Inhibitor, Kept};
use crate::monitor::Monitor;
use crate::reach::EMULATOR;
use crate::settings::Device;

/// The device that was chosen, with the backend to reach it.
pub struct Chosen {
    pub backend: Arc<dyn Backend>,
    pub selector: Selector,
    /// Whether the device is a plain USB network device. `None` while the device is not plugged in.
    pub ethernet: Option<bool>,
    /// USB port of the device, if it is known, or `emulator`.
    pub port: Option<String>,
    /// USB bus and device number, if the device is plugged in and has them.
    pub numbers: Option<(u8, u8)>,
    /// Knobs of the emulated modem, if it is used.
    pub controls: Option<Controls>,
    /// The monitor process, if there is one. Only it may find out which programs have the device
    /// open.
    pub monitor: Option<Monitor>,
}

impl Chosen {
    /// Returns the failure. If the device is busy, the programs that have it open are added to it.
    pub fn with_holders(&self, failure: Failure) -> Failure {
        let Some((bus, address)) = self.numbers.filter(|_| failure.kind == FailureKind::Busy)
        else {
            return failure;
        };
        let node = candidates::node(bus, address);
        let holders = match &self.monitor {
            Some(monitor) => monitor.holders(bus, address),
            None => candidates::holders(&node),
        };
        holders.into_iter().fold(failure, |failure, holder| {
            failure.because(format!("{holder} has {} open", node.display()))
        })
    }
}

/// Chooses the device: the emulated modem, which is started for it, a device that is plugged in, or
/// one that has to be waited for.
///
/// # Errors
/// [`Failure`] with the reason why no device can be used.
pub fn choose(
    device: &Device,
    emulated: &Wanted,
    kind: BackendKind,
    monitor: Option<Monitor>,
    inhibitor: Option<Inhibitor>,
    options: &Options,
) -> Result<Chosen, Failure> {
    let selector = match device {
        Device::Emulator => {
            let started = emulated.start_in_process()?;
            return Ok(Chosen {
                backend: capture::observed(started.backend),
                controls: Some(started.controls),
                selector: emulated.selector(),
                ethernet: Some(options.mode.is_none() && emulated.is_ethernet()),
                port: Some(EMULATOR.to_owned()),
                numbers: None,
                monitor,
            });
        }
        Device::Usb(selector) => selector,
    };
    let backend = match (&monitor, inhibitor) {
        (Some(monitor), _) => kind.start_through(Arc::new(monitor.clone())),
        (None, Some(inhibitor)) => kind.start_through(Arc::new(Kept::new(inhibitor))),
        (None, None) => kind.start(),
    };
    let backend = capture::observed(backend);
    match candidates::usable(backend.as_ref(), selector, monitor.is_some(), options.mode) {
        Ok(candidate) => {
            let candidate = match options.function {
                Some(number) => candidate.choose(number)?,
                None => candidate,
            };
            // The modem is found again by its port, which stays the same when it re-enumerates. Its
            // ids could also match a second modem that is plugged in later.
            let port = candidate.found.identity.port.clone();
            Ok(Chosen {
                backend,
                selector: Selector::Port(port.clone()),
                ethernet: Some(candidate.is_ethernet()),
                port: Some(port),
                numbers: Some((
                    candidate.found.identity.bus,
                    candidate.found.identity.address,
                )),
                controls: None,
                monitor,
            })
        }
        Err(failure) if options.wait_for_device && failure.kind == FailureKind::Missing => {
            Ok(Chosen {
                backend,
                selector: selector.clone(),
                ethernet: None,
                port: match selector {
                    Selector::Port(port) => Some(port.clone()),
                    _ => None,
                },
                numbers: None,
                controls: None,
                monitor,
            })
        }
        Err(failure) => Err(failure),
    }
}
