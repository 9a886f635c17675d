//! The USB device that the driver runs: its node, its port, its configuration.
//!
//! The driver gets the node of one device, the one that was named at the start. Once that is open, its
//! port identifies it, because a modem that resets itself comes back under other numbers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uwwan_modem::Selector;
use uwwan_usb::access::{Access as _, Local};
use uwwan_usb::device::{Identity, PortGuard};
use uwwan_usb::error::Holder;

use super::request::{Port, Request};
use crate::candidates;
use crate::modem_manager::{Inhibitor, Standing};
use crate::reach::EMULATOR;

/// The outcome of a request over a USB device.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DeviceReply {
    /// `errno` of the failed request.
    pub(super) errno: Option<i32>,
    /// Number of a guard.
    pub(super) guard: Option<u8>,
    /// The program that has a node open, as [`Holder::Program`] tells it.
    pub(super) holder: String,
    /// The programs that have a node open.
    pub(super) holders: Vec<String>,
    /// What ModemManager does with the device.
    pub(super) manager: Standing,
}

/// The devices that the driver may have.
#[derive(Debug)]
pub(super) struct Devices {
    /// The selector of the device; `None` when it is no USB device.
    selector: Option<Selector>,
    access: Local,
    /// Ports from which the kernel's drivers are kept.
    guards: BTreeMap<u8, PortGuard>,
    /// The node that goes with the next reply.
    opened: Option<File>,
    /// The inhibitor that keeps ModemManager away from the device.
    inhibitor: Option<Inhibitor>,
    /// Identity of the device when it was opened last.
    last: Option<Identity>,
    /// `bConfigurationValue` with which the device was first opened, where the kernel's drivers had
    /// it.
    kernels: Option<Option<u8>>,
}

impl Devices {
    pub(super) fn new(selector: Option<Selector>) -> Self {
        Self {
            selector,
            access: Local::default(),
            guards: BTreeMap::new(),
            opened: None,
            inhibitor: None,
            last: None,
            kernels: None,
        }
    }

    /// Keeps ModemManager away from the device from here on.
    pub(super) fn inhibit(&mut self) {
        if self.selector.is_some() {
            self.inhibitor = Some(Inhibitor::start());
        }
    }

    /// Gives the device back to the kernel's drivers as they had it when it was first opened, in place
    /// of a driver's process that did not get to do so. `settle` is the time for which it stays
    /// unconfigured.
    pub(super) fn give_back(&mut self, settle: Duration) {
        self.guards.clear();
        let (Some(device), Some(Some(configuration))) = (&self.last, self.kernels) else {
            return;
        };
        // A device that was enumerated anew has the kernel's drivers already.
        if self.access.device(&device.port).as_ref() != Some(device) {
            return;
        }
        let holders = candidates::holders(&candidates::node(device.bus, device.address));
        let given = match holders.first() {
            Some(holder) => Err(io::Error::other(format!("{holder} has it open"))),
            None => self.access.give_back(device, configuration, settle),
        };
        match given {
            Ok(()) => {
                tracing::warn!("{device} is the kernel's again, in configuration {configuration}")
            }
            Err(error) => {
                tracing::warn!("the kernel's drivers do not have {device} again: {error}")
            }
        }
    }

    /// Returns the place of the device: its port, or the selector that was given.
    pub(super) fn named(&self) -> String {
        let named = self.selector.as_ref().map(ToString::to_string);
        named.unwrap_or_else(|| EMULATOR.to_owned())
    }

    /// Returns vendor, product and port of the device in the form of the status.
    pub(super) fn described(&self) -> String {
        let last = self.last.as_ref().map(ToString::to_string);
        last.unwrap_or_else(|| EMULATOR.to_owned())
    }

    /// Returns the node that goes with the reply.
    pub(super) fn take_opened(&mut self) -> Option<File> {
        self.opened.take()
    }

    /// Carries out a request about a device.
    pub(super) fn answer(&mut self, request: &Request) -> DeviceReply {
        let mut reply = DeviceReply::default();
        let result = match request {
            Request::OpenDevice { at, bus, address } => self.open(at, (*bus, *address)),
            Request::Guard { at } => self.guard(at).map(|guard| reply.guard = Some(guard)),
            Request::Unguard { guard } => {
                self.guards.remove(guard);
                Ok(())
            }
            Request::Configure { at, value } => self
                .admitted(at)
                .and_then(|port| self.access.force_configuration(port, *value)),
            Request::Manager => {
                let inhibitor = self.inhibitor.as_ref();
                reply.manager = inhibitor.map(Inhibitor::standing).unwrap_or_default();
                Ok(())
            }
            Request::Holder { bus, address } => {
                reply.holder = match self.access.holder(*bus, *address) {
                    Holder::Program(who) => who,
                    other => other.to_string(),
                };
                reply.holders = candidates::holders(&candidates::node(*bus, *address));
                Ok(())
            }
            _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        };
        // An error without a number is one of the program.
        reply.errno = result
            .err()
            .map(|error| error.raw_os_error().unwrap_or(libc::EIO));
        reply
    }

    fn open(&mut self, at: &Port, numbers: (u8, u8)) -> io::Result<()> {
        let port = self.admitted(at)?.to_owned();
        let device = self.access.device(&port);
        let device = device.filter(|device| (device.bus, device.address) == numbers);
        let gone = || io::Error::from_raw_os_error(libc::ENODEV);
        let device = device.ok_or_else(gone)?;
        if let Some(inhibitor) = &self.inhibitor {
            inhibitor.keep_away(&port);
        }
        self.opened = Some(self.access.open(&device)?);
        self.kernels
            .get_or_insert_with(|| self.access.kernels_configuration(&port));
        self.last = Some(device);
        self.selector = Some(Selector::Port(port));
        Ok(())
    }

    fn guard(&mut self, at: &Port) -> io::Result<u8> {
        let number = (0..=u8::MAX).find(|number| !self.guards.contains_key(number));
        let number = number.ok_or_else(|| io::Error::from_raw_os_error(libc::EMFILE))?;
        let guard = self.access.guard_port(self.admitted(at)?)?;
        self.guards.insert(number, guard);
        Ok(number)
    }

    /// Returns the name of a port at which the device that was named is.
    ///
    /// # Errors
    /// `EACCES` for another device, `ENODEV` for none.
    fn admitted<'a>(&self, at: &'a Port) -> io::Result<&'a str> {
        let refused = || io::Error::from_raw_os_error(libc::EACCES);
        let name = at.name().ok_or_else(refused)?;
        let selector = self.selector.as_ref().ok_or_else(refused)?;
        if matches!(selector, Selector::Port(port) if port != name) {
            return Err(refused());
        }
        let device = self.access.device(name);
        let device = device.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?;
        if selector.matches(&device) {
            Ok(name)
        } else {
            Err(refused())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errno(devices: &mut Devices, port: &str) -> Option<i32> {
        let request = Request::OpenDevice {
            at: Port::new(port).unwrap(),
            bus: 1,
            address: 1,
        };
        let reply = devices.answer(&request);
        assert!(devices.take_opened().is_none());
        reply.errno
    }

    #[test]
    fn other_devices_are_refused() {
        let mut one = Devices::new(Some(Selector::Port("1-4.2".into())));
        for other in ["1-4", "1-4.2.1", "2-1", "", "../1-4.2", "usb1"] {
            assert_eq!(errno(&mut one, other), Some(libc::EACCES), "{other}");
        }
        let mut none = Devices::new(None);
        assert_eq!(errno(&mut none, "1-4.2"), Some(libc::EACCES));
        let request = Request::Configure {
            at: Port::new("1-1").unwrap(),
            value: 0,
        };
        assert_eq!(one.answer(&request).errno, Some(libc::EACCES));
    }

    #[test]
    fn what_names_no_port_names_no_device() {
        let mut any = Devices::new(Some(Selector::Any));
        for odd in ["", "..", "../../../etc", "1-4/../..", "usb1", "1-4:1.0"] {
            assert_eq!(errno(&mut any, odd), Some(libc::ENODEV), "{odd}");
        }
    }
}
