//! The bus on which the device is, inside this process.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use uwwan_usb::codes::standard;
use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::device::Identity;

use super::channel::Channel;
use super::host::Host;
use crate::descriptors::Presented;
use crate::knobs::Knobs;
use crate::presence::Presence;
use crate::urb::{SetupPacket, UrbStatus};

/// Longest wait for a control request that the host makes by itself.
pub(super) const HOST_REQUEST: Duration = Duration::from_secs(5);
/// Port into which the device is plugged.
const PORT: &str = "1-1";

/// State that the backend, its open devices and their queues share.
#[derive(Debug)]
pub(crate) struct Bus {
    pub(super) channel: Arc<Channel>,
    pub(super) host: Host,
    /// Number of transfers pending on each endpoint: OUT is 0 to 15, IN 16 to 31.
    pending: [AtomicUsize; 32],
    presence: Arc<Presence>,
    /// Configuration that is selected when the device appears, if not the one that Linux would
    /// select.
    start_configuration: Option<u8>,
}

impl Bus {
    /// Makes a bus with the device on it, reached through `channel`.
    pub(super) fn new(channel: Arc<Channel>, presence: Arc<Presence>, knobs: &Knobs) -> Self {
        Self {
            channel,
            host: Host::new(knobs.host_drivers),
            pending: std::array::from_fn(|_| AtomicUsize::new(0)),
            presence,
            start_configuration: (knobs.start_configuration
                != Knobs::default().start_configuration)
                .then_some(knobs.start_configuration),
        }
    }

    /// Returns the number of the enumeration that the device is in, if it is on this bus.
    pub(super) fn generation(&self) -> Option<u64> {
        self.presence.generation_here()
    }

    /// Acts as a host does with a new device: selects a configuration and binds drivers.
    pub(super) fn enumerate(&self, generation: u64) {
        if !self.host.meet(generation) {
            return;
        }
        let presented = self.presented();
        let usual = || presented.usual_configuration();
        let configuration = self.start_configuration.unwrap_or_else(usual);
        let setup = SetupPacket {
            request: standard::SET_CONFIGURATION,
            value: configuration.into(),
            ..SetupPacket::default()
        };
        if configuration != 0
            && self
                .channel
                .control(setup, &[], HOST_REQUEST)
                .is_ok_and(|done| done.status == UrbStatus::Done)
        {
            self.configured(configuration);
        }
    }

    /// Returns the number of transfers pending on an endpoint.
    pub(super) fn pending(&self, endpoint: u8) -> &AtomicUsize {
        &self.pending[usize::from(endpoint & 0x0f) | usize::from(endpoint & 0x80) >> 3]
    }

    /// Notes that the device accepted a configuration.
    pub(super) fn configured(&self, value: u8) {
        let presented = self.presented();
        let configuration = presented.configuration(value);
        self.host.configured(value, configuration, Instant::now());
    }

    /// Returns the descriptors that the device presents.
    fn presented(&self) -> Arc<Presented> {
        self.presence.presented()
    }

    /// Returns the device as a host lists it.
    pub(crate) fn identity(&self, generation: u64) -> Identity {
        let presented = self.presented();
        let (vendor, product) = presented.ids();
        let [manufacturer, product_name, serial] = presented
            .string_indices()
            .map(|index| presented.string(index));
        Identity {
            vendor,
            product,
            bus: 1,
            address: 1 + u8::try_from(generation % 126).unwrap_or(1),
            port: PORT.to_owned(),
            speed: presented.speed(),
            manufacturer,
            product_name,
            serial,
        }
    }

    /// Returns the descriptors a host reads from the device.
    pub(crate) fn descriptors(&self) -> Descriptors {
        let presented = self.presented();
        let all = presented.configurations().iter();
        let told: Vec<&[u8]> = all.map(|one| one.told.as_slice()).collect();
        Descriptors::parse(presented.device(), &told)
    }
}
