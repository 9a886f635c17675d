//! An interface that a command claims for a moment, and the endpoints that a device has.

use std::sync::Arc;

use uwwan_usb::descriptors::{Endpoint, Interface, TransferKind};
use uwwan_usb::device::Device;
use uwwan_usb::error::Holder;

use super::{names, target};
use crate::failure::{Failure, FailureKind};

/// Claim of an interface, which ends when the value is dropped. A kernel driver that was detached
/// is attached again.
pub struct Claim {
    device: Arc<dyn Device>,
    interface: u8,
    /// Whether another alternate setting was selected.
    alternate: bool,
    detached: bool,
}

impl Claim {
    /// Claims an interface; with `detach`, it is taken from the kernel driver that has it.
    ///
    /// # Errors
    /// [`FailureKind::Busy`] with the name of the holder.
    pub fn take(device: &Arc<dyn Device>, interface: u8, detach: bool) -> Result<Self, Failure> {
        let failed = |error| target::usb_failure("cannot claim the interface", &error);
        let mut detached = false;
        match device.holder(interface).map_err(failed)? {
            Some(Holder::Driver(_)) if detach => {
                device.detach_kernel_driver(interface).map_err(failed)?;
                detached = true;
            }
            Some(holder) => {
                let next = match &holder {
                    Holder::Driver(_) => "take it for the moment with --detach",
                    Holder::Program(_) | Holder::Own(_) => {
                        "stop what has it: uwwan down, ModemManager, or another program"
                    }
                };
                return Err(
                    Failure::new(FailureKind::Busy, "the interface is somebody else's")
                        .at(format!("interface {interface} of {}", device.identity()))
                        .because(format!("{holder} has it"))
                        .next(next),
                );
            }
            None => {}
        }
        let claim = Self {
            device: Arc::clone(device),
            interface,
            alternate: false,
            detached,
        };
        // If this fails, dropping the claim attaches the driver again.
        device.claim(interface).map_err(failed)?;
        Ok(claim)
    }

    /// Selects an alternate setting, until the claim ends.
    ///
    /// # Errors
    /// The device's error.
    pub fn select(&mut self, alternate: u8) -> Result<(), Failure> {
        self.alternate = true;
        self.device
            .set_alternate_setting(self.interface, alternate)
            .map_err(|error| target::usb_failure("cannot select the alternate setting", &error))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.alternate {
            let _ = self.device.set_alternate_setting(self.interface, 0);
        }
        let _ = self.device.release(self.interface);
        if self.detached {
            let _ = self.device.attach_kernel_driver(self.interface);
        }
    }
}

/// Place of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of the interface.
    pub interface: u8,
    /// Alternate setting that has the endpoint.
    pub alternate: u8,
    /// `wMaxPacketSize` in bytes.
    pub packet: u16,
}

/// Returns the interfaces of the active configuration.
///
/// # Errors
/// Fails when the device is unconfigured.
pub fn interfaces(device: &dyn Device) -> Result<&[Interface], Failure> {
    let active = device
        .active_configuration()
        .map_err(|error| target::usb_failure("cannot read the configuration", &error))?;
    let configuration = device.descriptors().configuration(active);
    let configuration = configuration.ok_or_else(|| {
        Failure::new(FailureKind::Other, "the device has no interfaces now")
            .at(device.identity().to_string())
            .because(format!("configuration {active} is active"))
            .next("select one with uwwan usb config")
    })?;
    Ok(&configuration.interfaces)
}

/// Returns the place of an endpoint, which must have the kind if one is given.
///
/// # Errors
/// Fails when there is no such endpoint; the failure names those that exist.
pub fn endpoint(
    device: &dyn Device,
    address: u8,
    kind: Option<TransferKind>,
) -> Result<Place, Failure> {
    let all: Vec<(Place, &Endpoint)> = interfaces(device)?
        .iter()
        .flat_map(|interface| {
            interface
                .alternates
                .iter()
                .map(move |alternate| (interface, alternate))
        })
        .flat_map(|(interface, alternate)| {
            alternate.endpoints.iter().map(move |endpoint| {
                let place = Place {
                    interface: interface.number,
                    alternate: alternate.number,
                    packet: endpoint.max_packet_size,
                };
                (place, endpoint)
            })
        })
        .collect();
    let fits = |endpoint: &Endpoint| kind.is_none_or(|kind| endpoint.kind == kind);
    let found = all
        .iter()
        .find(|(_, endpoint)| endpoint.address == address && fits(endpoint));
    if let Some((place, _)) = found {
        return Ok(*place);
    }
    let there = all.iter().filter(|(_, endpoint)| fits(endpoint));
    let there: Vec<String> = there
        .map(|(place, endpoint)| {
            format!(
                "{} (interface {})",
                names::endpoint(endpoint),
                place.interface
            )
        })
        .collect();
    let what = match kind {
        Some(kind) => format!(
            "there is no {} endpoint {address:#04x}",
            names::transfers(kind)
        ),
        None => format!("there is no endpoint {address:#04x}"),
    };
    Err(Failure::new(FailureKind::Usage, what)
        .at(device.identity().to_string())
        .because(match there.is_empty() {
            true => "the active configuration has none of this kind".to_owned(),
            false => format!("the active configuration has {}", there.join(", ")),
        })
        .next("uwwan usb config selects another configuration"))
}
