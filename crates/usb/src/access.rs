//! The operations that need rights on this machine: opening device nodes, and writing what only
//! root may write.
//!
//! A program without rights of its own gives its backend an [`Access`] that asks a process which
//! has them. [`Local`] is the one for a program that has the rights itself.

use std::fs::File;
use std::io;
use std::time::Duration;

use crate::device::{Identity, PortGuard};
use crate::error::Holder;
use crate::linux::sysfs::{self, Sysfs, USBFS};
use crate::linux::{ioctl, node};

/// Operations that need rights on this machine. Devices are identified as sysfs does it: by port,
/// bus and device number.
///
/// Errors are those of the operating system, with their numbers.
pub trait Access: std::fmt::Debug + Send + Sync {
    /// Opens the node of a device for reading and writing.
    ///
    /// # Errors
    /// Those of open(2).
    fn open(&self, device: &Identity) -> io::Result<File>;

    /// Returns whether this program may open device nodes itself.
    fn is_local(&self) -> bool {
        false
    }

    /// Keeps kernel drivers from a port, as
    /// [`Device::guard_port`](crate::device::Device::guard_port) describes.
    ///
    /// # Errors
    /// `ENODEV` when the port is gone, `EBUSY` when another program has claimed it, otherwise those of
    /// open(2) and ioctl(2).
    fn guard_port(&self, port: &str) -> io::Result<PortGuard>;

    /// Selects a configuration through sysfs, which unbinds all drivers first; 0 unconfigures.
    ///
    /// # Errors
    /// Those of open(2) and write(2).
    fn force_configuration(&self, port: &str, value: u8) -> io::Result<()>;

    /// Returns the program that has the node of a device open.
    fn holder(&self, bus: u8, address: u8) -> Holder;
}

/// Access with the rights of this program.
#[derive(Debug, Clone, Default)]
pub struct Local(Sysfs);

impl Local {
    #[cfg(test)]
    pub(crate) fn new(sysfs: Sysfs) -> Self {
        Self(sysfs)
    }

    /// Returns the device at a port as sysfs tells it, or `None` when there is none.
    #[must_use]
    pub fn device(&self, port: &str) -> Option<Identity> {
        sysfs::is_port(port)
            .then(|| self.0.identity(port))
            .flatten()
    }
}

impl Local {
    /// Returns `bConfigurationValue` of the active configuration of the device at a port, or `None`
    /// when no interface of it is bound to a driver of the kernel.
    #[must_use]
    pub fn kernels_configuration(&self, port: &str) -> Option<u8> {
        let active = self.0.active_configuration(port).ok()?;
        let mut drivers = self.0.drivers(port, active);
        drivers.any(|driver| driver != USBFS).then_some(active)
    }

    /// Lets the kernel's drivers have a device of which no program has claimed anything, in a
    /// configuration. It is unconfigured for `settle` before. Nothing is read from it.
    ///
    /// # Errors
    /// Those of open(2) and ioctl(2).
    pub fn give_back(
        &self,
        device: &Identity,
        configuration: u8,
        settle: Duration,
    ) -> io::Result<()> {
        let node = self.open(device)?;
        let select = |value| match ioctl::select_configuration(&node, value) {
            // A driver is bound to an interface that this program has not claimed.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                self.0.force_configuration(&device.port, value)
            }
            other => other,
        };
        select(0)?;
        std::thread::sleep(settle);
        select(configuration)
    }
}

impl Access for Local {
    fn open(&self, device: &Identity) -> io::Result<File> {
        node::open(&self.0.node(device.bus, device.address))
    }

    fn is_local(&self) -> bool {
        true
    }

    fn guard_port(&self, port: &str) -> io::Result<PortGuard> {
        let gone = || io::Error::from_raw_os_error(libc::ENODEV);
        let (hub, number) = self.0.hub(port).ok_or_else(gone)?;
        let hub = node::open(&hub)?;
        ioctl::claim_port(&hub, number)?;
        Ok(PortGuard::new(hub))
    }

    fn force_configuration(&self, port: &str, value: u8) -> io::Result<()> {
        self.0.force_configuration(port, value)
    }

    fn holder(&self, bus: u8, address: u8) -> Holder {
        sysfs::holder(&self.0.node(bus, address))
    }
}
