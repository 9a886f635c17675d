//! An open device driven through nusb.

use std::sync::Arc;
use std::time::Duration;

use ::nusb::transfer::{Bulk, BulkOrInterrupt, EndpointDirection, In, Interrupt, Out};
use ::nusb::{ErrorKind, MaybeFuture};

use super::errors::{code, to_error};
use super::inner::{Inner, open_node};
use super::pump::NusbPump;
use super::queue::NusbQueue;
use super::wake::PumpSignal;
use crate::descriptors::{Descriptors, Endpoint, TransferKind};
use crate::device::{Device, Identity, PortGuard, Pump, Queue, Setup};
use crate::error::{Error, Holder};
use crate::linux::place::Place;
use crate::observed::Observer;

/// An open device driven through nusb.
pub(super) struct NusbDevice {
    inner: Arc<Inner>,
}

impl NusbDevice {
    /// Opens the device at a place.
    ///
    /// # Errors
    /// As [`Backend::open`](crate::device::Backend::open).
    pub(super) fn open(place: Place, observer: Option<&Arc<dyn Observer>>) -> Result<Self, Error> {
        let operation = format!("open {}", place.identity);
        let signal =
            PumpSignal::new(place.open_node(&operation)?).map_err(|error| Error::Other {
                operation,
                reason: error.to_string(),
            })?;
        let usb = open_node(&place)?;
        let place = place.observed(observer);
        Ok(Self {
            inner: Arc::new(Inner::new(usb, place, Arc::new(signal))),
        })
    }

    fn place(&self) -> &Place {
        &self.inner.place
    }

    fn gone_if_absent(&self, what: &str) -> Result<(), Error> {
        if self.inner.signal.is_gone() {
            return Err(Error::Gone {
                operation: self.place().operation(what),
            });
        }
        self.place().gone_if_absent(what)
    }

    fn find_endpoint(&self, address: u8, what: &str) -> Result<(u8, Endpoint), Error> {
        self.place()
            .find_endpoint(address, |interface| self.inner.alternate(interface))?
            .ok_or_else(|| Error::NoSuchEndpoint {
                operation: self.place().operation(what),
            })
    }

    /// Unconfigures a device that has a configuration with the value 0.
    fn unconfigure(&self, operation: String) -> Result<(), Error> {
        let busy = self.place().busy(operation, None);
        let Error::Busy {
            operation,
            holder: None,
        } = busy
        else {
            return Err(busy);
        };
        self.place()
            .access
            .force_configuration(&self.place().identity.port, 0)
            .map_err(|error| Error::Other {
                operation,
                reason: error.to_string(),
            })?;
        self.inner.reopen()
    }

    /// Opens a queue on an endpoint of this type and direction.
    fn queue_of<K: BulkOrInterrupt + 'static, D: EndpointDirection + 'static>(
        &self,
        interface: u8,
        endpoint: Endpoint,
        what: &str,
    ) -> Result<Box<dyn Queue>, Error> {
        let opened = self
            .inner
            .open_endpoint::<K, D>(interface, endpoint.address, || self.place().operation(what))?;
        let queue = NusbQueue::new(Arc::clone(&self.inner), interface, endpoint, opened);
        Ok(Box::new(queue))
    }

    /// Clears the halt of an endpoint of this type and direction that has no queue.
    fn clear_halt_of<K: BulkOrInterrupt, D: EndpointDirection>(
        &self,
        interface: u8,
        address: u8,
        what: &str,
    ) -> Result<Result<(), ::nusb::Error>, Error> {
        let mut endpoint = self
            .inner
            .open_endpoint::<K, D>(interface, address, || self.place().operation(what))?;
        Ok(endpoint.clear_halt().wait())
    }

    /// Selects a configuration.
    fn configure(&self, value: u8) -> Result<(), Error> {
        let what = format!("select configuration {value}");
        let operation = self.place().operation(&what);
        if value == 0 && self.descriptors().configuration(0).is_some() {
            // With 0, usbfs would select a configuration of that value, and nusb cannot express
            // unconfiguring.
            return self.unconfigure(operation);
        }
        match self.inner.usb().set_configuration(value).wait() {
            Ok(()) => {
                self.inner.forget_claims();
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::Busy => Err(self.place().busy(operation, None)),
                ErrorKind::NotFound => Err(Error::Other {
                    operation,
                    reason: "the device has no such configuration".to_owned(),
                }),
                _ => {
                    self.gone_if_absent(&what)?;
                    Err(to_error(&error, operation))
                }
            },
        }
    }

    /// Selects a configuration although kernel drivers hold interfaces.
    fn force(&self, value: u8) -> Result<(), Error> {
        let Err(refused) = self.configure(value) else {
            return Ok(());
        };
        self.place().force_configuration(value, refused)?;
        self.inner.forget_claims();
        self.inner.reopen()
    }

    /// Selects an alternate setting.
    fn select_alternate(&self, interface: u8, alternate: u8) -> Result<(), Error> {
        self.gone_if_absent(&format!(
            "set alternate setting {alternate} of interface {interface}"
        ))?;
        self.inner.set_alternate(interface, alternate)
    }

    /// Clears the halt of an endpoint.
    fn end_halt(&self, endpoint: u8) -> Result<(), Error> {
        let what = format!("clear the halt of endpoint {endpoint:02x}");
        let parking = self.inner.parking(endpoint);
        if parking.as_ref().is_some_and(|parking| parking.is_away()) {
            return Err(Error::Busy {
                operation: self.place().operation(&what),
                holder: Some(Holder::Own("this program's own transfers")),
            });
        }
        let cleared = match parking.and_then(|parking| parking.clear_halt()) {
            Some(cleared) => cleared,
            None => {
                let (interface, found) = self.find_endpoint(endpoint, &what)?;
                match (found.kind, found.is_in()) {
                    (TransferKind::Bulk, true) => {
                        self.clear_halt_of::<Bulk, In>(interface, endpoint, &what)?
                    }
                    (TransferKind::Bulk, false) => {
                        self.clear_halt_of::<Bulk, Out>(interface, endpoint, &what)?
                    }
                    (TransferKind::Interrupt, true) => {
                        self.clear_halt_of::<Interrupt, In>(interface, endpoint, &what)?
                    }
                    (TransferKind::Interrupt, false) => {
                        self.clear_halt_of::<Interrupt, Out>(interface, endpoint, &what)?
                    }
                    (TransferKind::Control | TransferKind::Isochronous, _) => {
                        return Err(Error::NoSuchEndpoint {
                            operation: self.place().operation(&what),
                        });
                    }
                }
            }
        };
        cleared.or_else(|error| {
            self.gone_if_absent(&what)?;
            Err(to_error(&error, self.place().operation(&what)))
        })
    }
}

impl Device for NusbDevice {
    fn identity(&self) -> &Identity {
        &self.place().identity
    }

    fn descriptors(&self) -> &Descriptors {
        &self.place().descriptors
    }

    fn active_configuration(&self) -> Result<u8, Error> {
        self.gone_if_absent("read the active configuration")?;
        self.place().active_configuration()
    }

    fn set_configuration(&self, value: u8) -> Result<(), Error> {
        self.place()
            .observation
            .order(Setup::set_configuration(value), || self.configure(value))
    }

    fn force_configuration(&self, value: u8) -> Result<(), Error> {
        self.place()
            .observation
            .order(Setup::set_configuration(value), || self.force(value))
    }

    fn guard_port(&self) -> Result<PortGuard, Error> {
        self.place().guard_port()
    }

    fn holder(&self, interface: u8) -> Result<Option<Holder>, Error> {
        self.gone_if_absent("read the kernel driver")?;
        let ours = self.inner.alternate(interface).is_some();
        self.place().holder(interface, ours)
    }

    fn detach_kernel_driver(&self, interface: u8) -> Result<(), Error> {
        let what = format!("detach the kernel driver from interface {interface}");
        self.gone_if_absent(&what)?;
        // nusb would end the claim of another program as well.
        if self.place().is_claimed(interface) {
            return Ok(());
        }
        match self.inner.usb().detach_kernel_driver(interface) {
            Ok(()) => Ok(()),
            Err(error) if code(&error) == Some(libc::ENODATA) => Ok(()),
            Err(error) => {
                self.gone_if_absent(&what)?;
                Err(to_error(&error, self.place().operation(&what)))
            }
        }
    }

    fn attach_kernel_driver(&self, interface: u8) -> Result<(), Error> {
        let what = format!("let kernel drivers have interface {interface}");
        match self.inner.usb().attach_kernel_driver(interface) {
            Ok(()) => Ok(()),
            // A kernel driver is bound already.
            Err(error) if error.kind() == ErrorKind::Busy => Ok(()),
            Err(error) => {
                self.gone_if_absent(&what)?;
                Err(to_error(&error, self.place().operation(&what)))
            }
        }
    }

    fn claim(&self, interface: u8) -> Result<(), Error> {
        self.inner.claim(interface)
    }

    fn release(&self, interface: u8) -> Result<(), Error> {
        self.inner.release(interface)
    }

    fn set_alternate_setting(&self, interface: u8, alternate: u8) -> Result<(), Error> {
        self.place()
            .observation
            .order(Setup::set_interface(interface, alternate), || {
                self.select_alternate(interface, alternate)
            })
    }

    fn control_in(&self, setup: Setup, data: &mut [u8], timeout: Duration) -> Result<usize, Error> {
        let observed = self.place().observation.control(setup, data.len(), &[]);
        let result = self.inner.control_in(setup, data, timeout);
        let moved = *result.as_ref().unwrap_or(&0);
        observed.ended(&result, moved, &data[..moved]);
        result
    }

    fn control_out(&self, setup: Setup, data: &[u8], timeout: Duration) -> Result<(), Error> {
        let observed = self.place().observation.control(setup, data.len(), data);
        let result = self.inner.control_out(setup, data, timeout);
        observed.ended(&result, data.len(), &[]);
        result
    }

    fn clear_halt(&self, endpoint: u8) -> Result<(), Error> {
        self.place()
            .observation
            .order(Setup::clear_halt(endpoint), || self.end_halt(endpoint))
    }

    fn reset(&self) -> Result<(), Error> {
        self.inner.reset()
    }

    fn queue(&self, endpoint: u8) -> Result<Box<dyn Queue>, Error> {
        let what = format!("queue transfers on endpoint {endpoint:02x}");
        let (interface, found) = self.find_endpoint(endpoint, &what)?;
        match (found.kind, found.is_in()) {
            (TransferKind::Bulk, true) => self.queue_of::<Bulk, In>(interface, found, &what),
            (TransferKind::Bulk, false) => self.queue_of::<Bulk, Out>(interface, found, &what),
            (TransferKind::Interrupt, true) => {
                self.queue_of::<Interrupt, In>(interface, found, &what)
            }
            (TransferKind::Interrupt, false) => {
                self.queue_of::<Interrupt, Out>(interface, found, &what)
            }
            (TransferKind::Control | TransferKind::Isochronous, _) => Err(Error::NoSuchEndpoint {
                operation: self.place().operation(&what),
            }),
        }
    }

    fn pump(&self) -> Result<Box<dyn Pump>, Error> {
        match NusbPump::new(Arc::clone(&self.inner)) {
            Some(pump) => Ok(Box::new(pump)),
            None => Err(Error::Busy {
                operation: self.place().operation("take over event handling"),
                holder: Some(Holder::Own("another part of this program")),
            }),
        }
    }
}
