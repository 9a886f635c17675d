//! The standard requests of USB 2.0, chapter 9.4.

use std::time::Instant;

use uwwan_usb::codes::standard::{
    CLEAR_FEATURE, GET_CONFIGURATION, GET_DESCRIPTOR, GET_INTERFACE, GET_STATUS, SET_ADDRESS,
    SET_CONFIGURATION, SET_FEATURE, SET_INTERFACE,
};

use super::{UsbDevice, slot};
use crate::behaviour::Behaviour;
use crate::urb::{SetupPacket, UrbStatus};

/// Feature selectors (USB 2.0, table 9-6).
pub(super) const FEATURE_ENDPOINT_HALT: u16 = 0;
const FEATURE_REMOTE_WAKEUP: u16 = 1;

impl UsbDevice {
    /// Answers a standard request for data; `None` is a STALL.
    pub(super) fn standard_in(&self, setup: SetupPacket) -> Option<Vec<u8>> {
        let low = setup.index.to_le_bytes()[0];
        match (setup.recipient(), setup.request) {
            (0, GET_DESCRIPTOR) => self.presented.answer(setup),
            (0, GET_CONFIGURATION) => Some(vec![self.configuration]),
            (0, GET_STATUS) => Some(vec![u8::from(self.remote_wakeup) << 1, 0]),
            (1, GET_STATUS) if self.addressable(setup) => Some(vec![0, 0]),
            (1, GET_INTERFACE) if self.addressable(setup) => Some(vec![self.alternate(low)]),
            (2, GET_STATUS) if self.endpoint_exists(low) => {
                let halted = low & 0x7f != 0 && self.halted & 1 << slot(low) != 0;
                Some(vec![u8::from(halted), 0])
            }
            _ => None,
        }
    }

    /// Executes a standard request with data from the host or none. Returns `false` for a STALL.
    pub(super) fn standard_out(
        &mut self,
        setup: SetupPacket,
        behaviour: &mut dyn Behaviour,
        now: Instant,
    ) -> bool {
        let index = setup.index.to_le_bytes()[0];
        let value = setup.value.to_le_bytes()[0];
        match (setup.recipient(), setup.request) {
            (0, SET_ADDRESS) => true,
            (0, SET_CONFIGURATION) => {
                let exists = value == 0 || self.presented.configuration(value).is_some();
                if setup.value > 0xff || !exists {
                    return false;
                }
                let from = self.configuration;
                for slot in 0..32 {
                    self.fail_pending(slot, UrbStatus::Cancelled);
                }
                self.select(value);
                behaviour.configured(from, value, now);
                true
            }
            (1, SET_INTERFACE) => {
                let Some(layout) = self.layout() else {
                    return false;
                };
                if setup.value > 0xff || !layout.has(index, value) {
                    return false;
                }
                let places: Vec<u8> = layout
                    .endpoints
                    .iter()
                    .filter(|place| place.interface == index)
                    .map(|place| place.address)
                    .collect();
                for address in places {
                    self.fail_pending(slot(address), UrbStatus::Cancelled);
                    self.halted &= !(1 << slot(address));
                }
                self.alternates[usize::from(index)] = value;
                self.refresh();
                behaviour.alternate_selected(index, value, now);
                true
            }
            (0, SET_FEATURE | CLEAR_FEATURE) if setup.value == FEATURE_REMOTE_WAKEUP => {
                self.remote_wakeup = setup.request == SET_FEATURE;
                true
            }
            (2, SET_FEATURE) if setup.value == FEATURE_ENDPOINT_HALT => {
                if index & 0x7f == 0 || !self.endpoint_exists(index) {
                    return false;
                }
                self.halt(index);
                true
            }
            (2, CLEAR_FEATURE) if setup.value == FEATURE_ENDPOINT_HALT => {
                if !self.endpoint_exists(index) {
                    return false;
                }
                if index & 0x7f != 0 {
                    self.halted &= !(1 << slot(index));
                }
                true
            }
            _ => false,
        }
    }
}
