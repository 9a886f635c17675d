//! Opening of the AT port of a device that no `uwwan up` runs.

use std::sync::Arc;
use std::time::Duration;

use uwwan_usb::configuration::{self, Step, SwitchPlan, ViaZero};
use uwwan_usb::device::{Backend, Device, Found};
use uwwan_usb::functions::{self, SerialRole};

use super::candidates::Candidate;
use super::{AtPort, Port, Role};
use crate::failure::Failure;
use crate::quirks::{self, Quirk};

/// Options for opening a port.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Time within which one of the interfaces must answer.
    pub patience: Duration,
    /// Role of the interface that is tried first: position data comes on the GPS port alone.
    pub prefer: Option<SerialRole>,
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(20),
            prefer: None,
        }
    }
}

/// Port that answers. Dropping it releases the interface.
#[derive(Debug)]
pub struct Opened {
    /// Handle on the port's thread.
    pub at: AtPort,
    /// Interface that answers.
    pub port: Port,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.at.detach();
    }
}

/// Opens the AT port of `found` in the configuration the device is in. Only a device whose
/// configuration has no AT port is switched: into the MBIM configuration if that has one, otherwise
/// into the first configuration that has one. `observer` is called with each step of the switch.
///
/// # Errors
/// [`Failure`] when the device has no AT port, when another program holds it, or when no interface
/// answers.
pub fn open(
    backend: &dyn Backend,
    found: &Found,
    choice: &Choice,
    observer: &mut dyn FnMut(Step),
) -> Result<Opened, Failure> {
    let device = backend.open(found).map_err(super::usb)?;
    let identity = device.identity();
    let quirk = quirks::find(identity.vendor, identity.product);
    let active = device.active_configuration().map_err(super::usb)?;
    let mut candidates = super::candidates(device.descriptors(), active, quirk, None);
    if candidates.is_empty() {
        candidates = in_other_configurations(&*device, quirk)?;
        let target = candidates[0].configuration();
        switch(&*device, target, None, observer)?;
    }
    if let Some(role) = choice.prefer {
        candidates.sort_by_key(|candidate| candidate.role() != Role::Serial(role));
    }
    let at = AtPort::start().map_err(|error| super::system(error.to_string()))?;
    at.attach(Arc::clone(&device), candidates);
    match at.wait_open(choice.patience) {
        Ok(port) => Ok(Opened { at, port }),
        Err(error) => {
            at.detach();
            Err(error)
        }
    }
}

/// Switches a device to a configuration the way the quirk table says its firmware needs, with no
/// interface claimed. `settle` replaces the table's pause in configuration 0.
///
/// # Errors
/// [`Failure`] for an error of the USB backend.
pub fn switch(
    device: &dyn Device,
    target: u8,
    settle: Option<Duration>,
    observer: &mut dyn FnMut(Step),
) -> Result<(), Failure> {
    let identity = device.identity();
    let quirk = quirks::find(identity.vendor, identity.product);
    let plan = SwitchPlan {
        settle: settle.unwrap_or(quirk.settle),
        via_zero: if quirk.via_zero {
            ViaZero::IfDifferent
        } else {
            ViaZero::Never
        },
        guard: false,
        ..SwitchPlan::new(target, [])
    };
    configuration::switch(device, &plan, observer).map_err(super::usb)?;
    Ok(())
}

fn in_other_configurations(device: &dyn Device, quirk: &Quirk) -> Result<Vec<Candidate>, Failure> {
    let descriptors = device.descriptors();
    let mbim = functions::mbim(descriptors)
        .first()
        .map(|function| function.configuration);
    let others = descriptors
        .configurations
        .iter()
        .map(|configuration| configuration.value);
    mbim.into_iter()
        .chain(others)
        .map(|value| super::candidates(descriptors, value, quirk, None))
        .find(|candidates| !candidates.is_empty())
        .ok_or_else(|| super::no_port(device.identity().to_string(), descriptors))
}
