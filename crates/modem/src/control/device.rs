//! Choice of the device, and the state of the open device.

use std::sync::Arc;

use uwwan_usb::configuration::Switched;
use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::device::{Backend, Device, Found, Identity, Queue};
use uwwan_usb::error::Error as UsbError;
use uwwan_usb::give_back;
use uwwan_usb::notifications::Reader;

use crate::at_port::AtPort;
use crate::composition::{is_storage_first, way_to_mbim};
use crate::datapath::{Reactor, Running};
use crate::dialled::Dialled;
use crate::explain;
use crate::failure::{Failure, FailureKind, Rung};
use crate::function::Negotiated;
use crate::kind::{Choice, Function};
use crate::quirks;
use crate::selector::Selector;
use crate::status::FramingStatus;

/// Open device with everything that is claimed or running on it.
pub(super) struct Held {
    pub(super) device: Arc<dyn Device>,
    pub(super) function: Function,
    /// Link state of a plain network device.
    pub(super) link: LinkState,
    pub(super) name: String,
    pub(super) claimed: Vec<u8>,
    pub(super) switched: Option<Switched>,
    pub(super) reactor: Option<Reactor>,
    /// AT port to which this device is attached.
    pub(super) at: Option<AtPort>,
    /// The function's end of the control session, of a modem that is dialled by AT commands.
    pub(super) dialled: Option<Dialled>,
    pub(super) negotiated: Option<Negotiated>,
    pub(super) data_running: bool,
    pub(super) running: Option<Running>,
}

impl Held {
    pub(super) fn reactor(&self) -> Option<&Reactor> {
        self.reactor.as_ref()
    }

    /// Opens the notification endpoint, if the function has one.
    ///
    /// # Errors
    /// The error of the backend.
    pub(super) fn notification_queue(&self) -> Result<Option<Box<dyn Queue>>, UsbError> {
        let endpoint = self.function.interrupt_in;
        endpoint
            .map(|end| self.device.queue(end.address))
            .transpose()
    }

    pub(super) fn framing(&self) -> Option<FramingStatus> {
        let mut status = self.negotiated.as_ref()?.status();
        status.frames = self.function.is_ethernet() || self.function.dialled().is_some();
        status.packet_size = self.function.bulk_out.max_packet_size;
        if let Some(running) = self.running {
            status.receive_transfers = running.receive_transfers;
            status.send_transfers = running.send_transfers;
            status.mapped_buffers = running.mapped;
        }
        Some(status)
    }

    /// Returns whether the host interface has a carrier. A device that could report its link and
    /// has not done so counts as not connected.
    pub(super) fn carrier(&self) -> bool {
        let may_tell = self.function.interrupt_in.is_some();
        self.link.connected.unwrap_or(!may_tell)
    }

    pub(super) fn stop_data(&mut self) {
        if let Some(reactor) = &self.reactor
            && self.data_running
            && !reactor.stop_data()
        {
            tracing::warn!("the data path does not stop in time");
        }
        self.data_running = false;
        self.running = None;
    }

    /// Ends the data thread, selects the idle alternate setting of the data interface and releases
    /// the interfaces.
    pub(super) fn let_go(&mut self) {
        self.dialled = None;
        // The data thread still handles the transfers of the AT port at this point.
        if let Some(at) = self.at.take() {
            at.detach();
        }
        self.stop_data();
        self.reactor = None;
        self.negotiated = None;
        if let Some(switched) = self.switched.as_mut() {
            switched.guard = None;
        }
        self.switched = None;
        if self.claimed.is_empty() {
            return;
        }
        let claimed = std::mem::take(&mut self.claimed);
        let data = Some(self.function.data_interface);
        if let Err(error) = give_back::release(&*self.device, &claimed, data) {
            tracing::debug!("{}: letting go: {error}", self.name);
        }
    }
}

/// Link state of a plain network device in one bring-up.
#[derive(Debug, Default)]
pub(super) struct LinkState {
    pub(super) reader: Reader,
    /// Ethernet address that the device gives to the host.
    pub(super) address: Option<[u8; 6]>,
    pub(super) connected: Option<bool>,
    pub(super) downlink_bits: u32,
    pub(super) uplink_bits: u32,
}

/// Returns whether a plain network device may be driven: only a device that was selected, since the
/// machine may be using it, and only for its data.
pub(crate) fn ethernet_acceptable(selector: &Selector, top: Rung) -> bool {
    *selector != Selector::Any && top == Rung::Online
}

/// Finds the device that `selector` selects. `port` restricts the search to the port where the
/// device was before, `choice` selects the function by which it is driven.
///
/// # Errors
/// [`Failure`] when there is no device, when there are several, or when the bus cannot be listed.
/// The `bool` is `true` when the device is merely absent.
pub(crate) fn look(
    backend: &dyn Backend,
    selector: &Selector,
    port: Option<&str>,
    choice: Choice,
) -> Result<Found, (Failure, bool)> {
    let devices = backend
        .devices()
        .map_err(|error| (explain::usb(Rung::Found, &error), false))?;
    let meant = |found: &&Found| match port {
        Some(port) => found.identity.port == port,
        None => selector.matches(&found.identity),
    };
    let mut modems: Vec<&Found> = devices
        .iter()
        .filter(meant)
        .filter(|found| Function::of(&found.descriptors, choice).is_some())
        .collect();
    match (modems.pop(), modems.is_empty()) {
        (Some(found), true) => Ok(found.clone()),
        (Some(last), false) => {
            let mut names: Vec<String> = modems
                .iter()
                .map(|found| found.identity.to_string())
                .collect();
            names.push(last.identity.to_string());
            let failure = explain::failure(
                Rung::Found,
                true,
                format!(
                    "{} modems fit `{selector}`: {}",
                    names.len(),
                    names.join(", ")
                ),
                "more than one modem is plugged in",
                "name the port of the one you mean with --device",
            )
            .of(FailureKind::Several);
            Err((failure, false))
        }
        (None, _) => {
            // Without a selection, only devices that the quirk table knows as modems, or that become one,
            // are named.
            let named = |found: &&Found| {
                let Identity {
                    vendor, product, ..
                } = found.identity;
                *selector != Selector::Any
                    || quirks::find(vendor, product).product.is_some()
                    || is_storage_first(&found.descriptors)
            };
            let other = devices.iter().filter(meant).find(named);
            let storage = other.filter(|found| is_storage_first(&found.descriptors));
            let wanted = choice.words();
            let failure = match other {
                Some(other) if storage.is_some() => explain::failure(
                    Rung::Found,
                    true,
                    format!("{} shows itself as a storage device", other.identity),
                    "it becomes a modem when it is told to switch",
                    &way_to_mbim(&other.descriptors).map_or_else(String::new, |way| way.text),
                ),
                Some(other) => explain::failure(
                    Rung::Found,
                    true,
                    match choice.number {
                        Some(number) => format!(
                            "{} has no {wanted} function number {number}",
                            other.identity
                        ),
                        None => format!(
                            "{} has no {wanted} function in any configuration ({})",
                            other.identity,
                            configurations(&other.descriptors)
                        ),
                    },
                    &match other.descriptors.faults.first() {
                        Some(fault) => format!("its descriptors are broken: {fault}"),
                        None => "it is another device, or in a mode without one (storage, boot \
                                 loader)"
                            .to_owned(),
                    },
                    "look at `uwwan list` and `uwwan usb descriptors`; plug a modem in again",
                ),
                None => explain::failure(
                    Rung::Found,
                    true,
                    match port {
                        Some(port) => format!("no modem at port {port}"),
                        None => format!("no modem fits `{selector}`"),
                    },
                    "it is not plugged in, has no power, or is just starting",
                    "look at `uwwan list` and `lsusb`; --wait waits for it",
                ),
            };
            Err((failure, other.is_none() || storage.is_some()))
        }
    }
}

/// Returns the values of a device's configurations as text.
fn configurations(descriptors: &Descriptors) -> String {
    let values: Vec<String> = descriptors
        .configurations
        .iter()
        .map(|configuration| configuration.value.to_string())
        .collect();
    match values.len() {
        0 => "it has none".to_owned(),
        1 => format!("it has configuration {}", values[0]),
        _ => format!("it has configurations {}", values.join(", ")),
    }
}
