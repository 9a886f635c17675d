//! The bus the device is on, inside this process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::device::{Identity, Speed};

use super::channel::Channel;
use super::host::Host;
use crate::descriptors::{self, Variant};
use crate::knobs::Knobs;
use crate::presence::Presence;
use crate::urb::{SetupPacket, UrbStatus, standard};

/// Longest wait for a control request made on the host's own account.
pub(super) const HOST_REQUEST: Duration = Duration::from_secs(5);
/// Port the device is plugged into.
const PORT: &str = "1-1";

/// What the backend, its open devices and their queues share.
#[derive(Debug)]
pub(crate) struct Bus {
    pub(super) channel: Arc<Channel>,
    pub(super) host: Host,
    presence: Arc<Presence>,
    variant: Variant,
    start_configuration: u8,
}

impl Bus {
    /// Makes a bus with the device on it, reached through `channel`.
    pub(super) fn new(channel: Arc<Channel>, presence: Arc<Presence>, knobs: &Knobs) -> Self {
        Self {
            channel,
            host: Host::new(knobs.host_drivers),
            presence,
            variant: Variant::from(knobs),
            start_configuration: knobs.start_configuration,
        }
    }

    /// Returns the enumeration the device is in, if it is on this bus.
    pub(super) fn generation(&self) -> Option<u64> {
        self.presence.generation_here()
    }

    /// Does what a host does with a device it has not seen: selects a configuration, binds drivers.
    pub(super) fn enumerate(&self, generation: u64) {
        if !self.host.meet(generation) {
            return;
        }
        let setup = SetupPacket {
            request: standard::SET_CONFIGURATION,
            value: self.start_configuration.into(),
            ..SetupPacket::default()
        };
        if self.start_configuration != 0
            && self
                .channel
                .control(setup, &[], HOST_REQUEST)
                .is_ok_and(|done| done.status == UrbStatus::Done)
        {
            self.host
                .configured(self.start_configuration, Instant::now());
        }
    }

    /// Returns the device as a host lists it.
    pub(super) fn identity(&self, generation: u64) -> Identity {
        let raw = descriptors::device(self.variant.brand);
        let text = |index| descriptors::string(self.variant.brand, index).map(str::to_owned);
        Identity {
            vendor: u16::from_le_bytes([raw[8], raw[9]]),
            product: u16::from_le_bytes([raw[10], raw[11]]),
            bus: 1,
            address: 1 + u8::try_from(generation % 126).unwrap_or(1),
            port: PORT.to_owned(),
            speed: Speed::High,
            manufacturer: text(1),
            product_name: text(2),
            serial: text(3),
        }
    }

    /// Returns the descriptors a host reads from the device.
    pub(super) fn descriptors(&self) -> Descriptors {
        let told = |value| descriptors::configuration_told(value, self.variant);
        let configurations: Vec<Vec<u8>> = (1..=3).filter_map(told).collect();
        let configurations: Vec<&[u8]> = configurations.iter().map(Vec::as_slice).collect();
        Descriptors::parse(descriptors::device(self.variant.brand), &configurations)
    }
}
