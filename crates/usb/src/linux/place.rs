//! A device at its port as the kernel shows it, whatever backend drives it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::node;
use super::sysfs::{self, Sysfs, USBFS};
use crate::access::Access;
use crate::descriptors::{Descriptors, Endpoint};
use crate::device::{Found, Identity, PortGuard};
use crate::error::{Error, Holder};
use crate::observed::{Observation, Observer, Opened};

/// A device at its port as the kernel shows it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) sysfs: Sysfs,
    pub(crate) access: Arc<dyn Access>,
    pub(crate) identity: Identity,
    pub(crate) descriptors: Descriptors,
    pub(crate) observation: Observation,
}

impl Place {
    /// Returns the place of a device that was listed.
    ///
    /// # Errors
    /// [`Error::Gone`] when the device is not there any more, [`Error::Other`] when no device can be
    /// opened here at all.
    pub(crate) fn of(
        sysfs: &Sysfs,
        access: &Arc<dyn Access>,
        found: &Found,
    ) -> Result<Self, Error> {
        let operation = format!("open {}", found.identity);
        if let Some(reason) = sysfs.unavailable() {
            return Err(Error::Other { operation, reason });
        }
        if !sysfs.is_present(&found.identity) {
            return Err(Error::Gone { operation });
        }
        Ok(Self {
            sysfs: sysfs.clone(),
            access: Arc::clone(access),
            identity: found.identity.clone(),
            descriptors: found.descriptors.clone(),
            observation: Observation::default(),
        })
    }

    /// Lets an observer see the device, which has just been opened.
    pub(crate) fn observed(mut self, observer: Option<&Arc<dyn Observer>>) -> Self {
        if let Some(observer) = observer {
            let opened = Opened {
                identity: &self.identity,
                descriptors: &self.descriptors,
                active_configuration: self.active_configuration().unwrap_or(0),
            };
            self.observation = Observation::begin(observer, &opened);
        }
        self
    }

    /// Returns `what` followed by the device, as [`Error`] names operations.
    pub(crate) fn operation(&self, what: &str) -> String {
        format!("{what} of {}", self.identity)
    }

    /// Opens the device's node for the operation `what`.
    ///
    /// # Errors
    /// As [`node::open_error`].
    pub(crate) fn open_node(&self, operation: &str) -> Result<File, Error> {
        self.access
            .open(&self.identity)
            .map_err(|error| node::open_error(&error, operation, &self.node()))
    }

    /// Returns the path of the device's node.
    pub(crate) fn node(&self) -> PathBuf {
        self.sysfs.node(self.identity.bus, self.identity.address)
    }

    /// Checks that the device is still at its port.
    ///
    /// # Errors
    /// [`Error::Gone`] for the operation `what` when another device, or none, is at the port.
    pub(crate) fn gone_if_absent(&self, what: &str) -> Result<(), Error> {
        if self.sysfs.is_present(&self.identity) {
            return Ok(());
        }
        Err(Error::Gone {
            operation: self.operation(what),
        })
    }

    /// Returns `bConfigurationValue` of the active configuration, 0 when unconfigured.
    ///
    /// # Errors
    /// [`Error::Gone`], or [`Error::Other`] when the kernel does not tell.
    pub(crate) fn active_configuration(&self) -> Result<u8, Error> {
        let what = "read the active configuration";
        self.gone_if_absent(what)?;
        self.sysfs
            .active_configuration(&self.identity.port)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Error::Gone {
                    operation: self.operation(what),
                },
                _ => Error::Other {
                    operation: self.operation(what),
                    reason: error.to_string(),
                },
            })
    }

    /// Selects a configuration through sysfs, which unbinds all drivers first, after usbfs has
    /// refused the selection.
    ///
    /// # Errors
    /// `refused`, the error of usbfs, when it is not [`Error::Busy`] or when sysfs refuses as well.
    pub(crate) fn force_configuration(&self, value: u8, refused: Error) -> Result<(), Error> {
        if !matches!(refused, Error::Busy { .. }) {
            return Err(refused);
        }
        self.access
            .force_configuration(&self.identity.port, value)
            .map_err(|error| {
                tracing::debug!(device = %self.identity, %error, "sysfs refuses as well");
                refused
            })
    }

    /// Returns the kernel driver that is bound to `interface`, or the program that has claimed it
    /// unless `ours` says that it is this one.
    ///
    /// # Errors
    /// As [`Place::active_configuration`].
    pub(crate) fn holder(&self, interface: u8, ours: bool) -> Result<Option<Holder>, Error> {
        let active = self.active_configuration()?;
        let driver = self.sysfs.driver(&self.identity.port, active, interface);
        let driver = driver.filter(|driver| !ours || driver != USBFS);
        Ok(driver.map(|driver| self.holder_of(driver)))
    }

    /// Returns the holder for the name of a bound driver.
    fn holder_of(&self, driver: String) -> Holder {
        match driver.as_str() {
            USBFS => self.access.holder(self.identity.bus, self.identity.address),
            _ => Holder::Driver(driver),
        }
    }

    /// Returns whether a program, this one or another, has claimed `interface`.
    pub(crate) fn is_claimed(&self, interface: u8) -> bool {
        let port = &self.identity.port;
        self.sysfs.active_configuration(port).is_ok_and(|active| {
            self.sysfs.driver(port, active, interface).as_deref() == Some(USBFS)
        })
    }

    /// Makes an [`Error::Busy`] that names the holder of `interface`, or of any interface when that
    /// is `None`.
    pub(crate) fn busy(&self, operation: String, interface: Option<u8>) -> Error {
        let port = &self.identity.port;
        let active = self.sysfs.active_configuration(port).unwrap_or(0);
        let interfaces: Vec<u8> = match (interface, self.descriptors.configuration(active)) {
            (Some(interface), _) => vec![interface],
            (None, Some(active)) => active.interfaces.iter().map(|i| i.number).collect(),
            (None, None) => Vec::new(),
        };
        let mut drivers = interfaces
            .iter()
            .filter_map(|&number| self.sysfs.driver(port, active, number));
        let holder = drivers.next().map(|driver| self.holder_of(driver));
        Error::Busy { operation, holder }
    }

    /// Claims the port of the hub, so that no kernel driver binds to the device.
    ///
    /// # Errors
    /// As [`Device::guard_port`](crate::device::Device::guard_port).
    pub(crate) fn guard_port(&self) -> Result<PortGuard, Error> {
        let operation = self.operation("guard the port");
        let port = &self.identity.port;
        self.access.guard_port(port).map_err(|error| {
            match (error.raw_os_error(), self.sysfs.hub(port)) {
                (Some(libc::ENODEV), _) | (_, None) => Error::Gone { operation },
                (Some(libc::EBUSY), Some((hub, _))) => Error::Busy {
                    operation,
                    holder: Some(sysfs::holder(&hub)),
                },
                (Some(libc::EACCES | libc::EPERM | libc::EROFS), Some((hub, _))) => {
                    node::open_error(&error, &operation, &hub)
                }
                _ => Error::Other {
                    operation,
                    reason: error.to_string(),
                },
            }
        })
    }

    /// Looks for an endpoint in the alternate settings that `alternate` says are active, which is
    /// none for an interface that is not claimed. Returns the interface's number and the endpoint.
    ///
    /// # Errors
    /// As [`Place::active_configuration`].
    pub(crate) fn find_endpoint(
        &self,
        address: u8,
        alternate: impl Fn(u8) -> Option<u8>,
    ) -> Result<Option<(u8, Endpoint)>, Error> {
        let active = self.active_configuration()?;
        let configuration = self.descriptors.configuration(active);
        let interfaces = configuration.iter().flat_map(|c| &c.interfaces);
        let mut endpoints = interfaces.flat_map(|interface| {
            let active = alternate(interface.number).and_then(|number| interface.alternate(number));
            let endpoints = active.into_iter().flat_map(|a| &a.endpoints);
            endpoints.map(|endpoint| (interface.number, *endpoint))
        });
        Ok(endpoints.find(|(_, e)| e.address == address && e.max_packet_size > 0))
    }
}

/// Describes a control request for error messages, in hexadecimal.
pub(crate) fn request(setup: crate::device::Setup) -> String {
    format!(
        "control request {:02x} {:02x} value {:04x} index {:04x}",
        setup.request_type, setup.request, setup.value, setup.index,
    )
}
