//! Class requests, and the function that each goes to.

use std::time::Instant;

use uwwan_usb::codes::{cdc, class};

use super::Modem;
use super::storage::Storage;
use crate::at_port::{self, Kind};
use crate::descriptors::NetworkKind;
use crate::report::Rule;
use crate::urb::SetupPacket;

/// Function behind an interface that class requests go to. Serial ports are looked for before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recipient {
    Mbim,
    /// An NCM function of the standard class or of a vendor, or an ECM function.
    Ethernet,
    /// An Ethernet function that carries nothing.
    Idle,
    Nobody,
}

impl Modem {
    /// Returns the index of the port that encapsulated commands go to, if there is one.
    pub(super) fn pipe(&self) -> Option<usize> {
        self.ports.iter().position(|port| port.kind == Kind::Pipe)
    }

    /// Returns the function behind an interface that class requests go to.
    fn recipient(&self, interface: u8) -> Recipient {
        let functions = &self.functions;
        match functions.data {
            Some(data) if data.control == interface => match data.kind {
                NetworkKind::Mbim => Recipient::Mbim,
                NetworkKind::Ncm | NetworkKind::Ecm => Recipient::Ethernet,
            },
            _ if functions.idle.contains(&interface) => Recipient::Idle,
            _ => Recipient::Nobody,
        }
    }

    /// Records a request to an interface that does not take it. Functions that are not emulated,
    /// such as a card reader of another device, refuse requests that their host is right to make.
    fn misdirected(&self, setup: SetupPacket) {
        let interface = setup.index.to_le_bytes()[0];
        let configuration = self.presented.configuration(self.configuration);
        let mut places = configuration.iter().flat_map(|c| &c.layout.alternates);
        let network = |class: u8| matches!(class, class::COMMUNICATION | class::DATA);
        if self.descriptors.is_some()
            && !places.any(|place| place.interface == interface && network(place.class[0]))
        {
            return;
        }
        self.recorder.violation(Rule::Setup, || {
            format!(
                "request {:#04x} (type {:#04x}) to interface {} of configuration {}, which does not take it",
                setup.request, setup.request_type, setup.index, self.configuration
            )
        });
    }

    /// Has the function behind an interface execute a request. Returns `false` for a STALL.
    pub(super) fn function_out(&mut self, setup: SetupPacket, data: &[u8], now: Instant) -> bool {
        if setup.request_type & 0x7f != 0x21 {
            return false;
        }
        if let Some(storage) = &mut self.storage {
            return storage.control_out(setup.request);
        }
        let interface = setup.index.to_le_bytes()[0];
        let mut ports = self.ports.iter_mut();
        if let Some(port) = ports.find(|port| port.is_serial(interface)) {
            return port.control_out(setup.request, setup.value, data);
        }
        match (self.recipient(interface), setup.request) {
            (Recipient::Mbim, cdc::SEND_ENCAPSULATED_COMMAND) => {
                let (mbim, mut context) = self.mbim_context(now);
                mbim.send(data, &mut context);
                self.announce_changes(now);
                true
            }
            (Recipient::Mbim, cdc::RESET_FUNCTION) => {
                let (mbim, context) = self.mbim_context(now);
                mbim.reset(context.firmware, context.knobs, now);
                self.ncm.reset(&self.knobs);
                self.reroute();
                true
            }
            (Recipient::Ethernet, cdc::SEND_ENCAPSULATED_COMMAND) if self.pipe().is_some() => {
                let pipe = self.pipe().unwrap_or_default();
                let (ports, mut context) = self.at_context(now);
                ports[pipe].commanded();
                at_port::write(&mut ports[pipe], data, &mut context);
                self.announce_changes(now);
                true
            }
            (Recipient::Mbim | Recipient::Ethernet, _) => {
                self.ncm
                    .control_out(setup, data, &self.knobs, &self.recorder)
            }
            (Recipient::Idle, _) => true,
            _ => {
                self.misdirected(setup);
                false
            }
        }
    }

    /// Has the function behind an interface answer a request; `None` is a STALL.
    pub(super) fn function_in(
        &mut self,
        setup: SetupPacket,
        room: &mut [u8],
        now: Instant,
    ) -> Option<usize> {
        if setup.request_type & 0x7f != 0x21 {
            return None;
        }
        if self.storage.is_some() {
            return Storage::control_in(setup.request, room);
        }
        let interface = setup.index.to_le_bytes()[0];
        let mut ports = self.ports.iter();
        if let Some(port) = ports.find(|port| port.is_serial(interface)) {
            return port.control_in(setup.request, room);
        }
        match (self.recipient(interface), setup.request) {
            (Recipient::Mbim, cdc::GET_ENCAPSULATED_RESPONSE) => {
                let (mbim, mut context) = self.mbim_context(now);
                Some(mbim.get(room, &mut context))
            }
            (Recipient::Ethernet, cdc::GET_ENCAPSULATED_RESPONSE) if self.pipe().is_some() => {
                let pipe = self.pipe().unwrap_or_default();
                Some(self.ports[pipe].respond(room))
            }
            (Recipient::Mbim | Recipient::Ethernet, _) => {
                self.ncm.control_in(setup, room, &self.knobs)
            }
            (Recipient::Idle, _) => None,
            _ => {
                self.misdirected(setup);
                None
            }
        }
    }
}
