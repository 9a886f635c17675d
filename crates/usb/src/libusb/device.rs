//! An open device driven through libusb.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use zeroize::Zeroize;

use super::errors::to_error;
use super::ffi::handle::Handle;
use super::ffi::transfer::{Transfer, TransferRequest};
use super::inner::Inner;
use super::pump::LibusbPump;
use super::queue::LibusbQueue;
use super::wake::Wake;
use crate::buffer::Buffer;
use crate::codes;
use crate::deadline::deadline;
use crate::descriptors::{Descriptors, TransferKind};
use crate::device::{Device, Identity, PortGuard, Pump, Queue, Setup};
use crate::error::{Error, Holder, TransferError};
use crate::linux::place::{Place, request};
use crate::observed::Observer;

/// Length of a control request's setup stage in bytes (USB 2.0, 9.3).
const SETUP_LENGTH: usize = 8;
/// Length in bytes of the longest data stage that usbfs takes (`drivers/usb/core/devio.c`).
const CONTROL_MAX: usize = 4096;
/// Time for which a control request may still end by itself after its timeout, and the time for
/// which it may still end after it was cancelled.
const GRACE: Duration = Duration::from_secs(2);
/// Largest number of control transfers kept to be used again.
const CONTROL_KEPT: usize = 4;

/// An open device driven through libusb.
#[derive(Debug)]
pub(super) struct LibusbDevice {
    inner: Arc<Inner>,
    place: Place,
    /// Control transfers that are not in flight and can be used again.
    control: Mutex<Vec<Transfer>>,
}

impl LibusbDevice {
    /// Opens the device at a place.
    ///
    /// # Errors
    /// As [`Backend::open`](crate::device::Backend::open).
    pub(super) fn open(place: Place, observer: Option<&Arc<dyn Observer>>) -> Result<Self, Error> {
        let operation = format!("open {}", place.identity);
        let node = place.open_node(&operation)?;
        let wake = Wake::new().map_err(|error| Error::Other {
            operation: operation.clone(),
            reason: error.to_string(),
        })?;
        let handle = Handle::open(node.into(), wake).map_err(|error| to_error(error, operation))?;
        Ok(Self {
            inner: Arc::new(Inner::new(handle, place.identity.clone())),
            place: place.observed(observer),
            control: Mutex::default(),
        })
    }

    fn usb(&self) -> &rusb::DeviceHandle<rusb::Context> {
        self.inner.handle.usb()
    }

    fn operation(&self, what: &str) -> String {
        self.place.operation(what)
    }

    fn gone_if_absent(&self, what: &str) -> Result<(), Error> {
        if self.inner.handle.wake().is_gone() {
            return Err(Error::Gone {
                operation: self.operation(what),
            });
        }
        self.place.gone_if_absent(what)
    }

    /// Carries out a control request with a data stage of `length` bytes, which `data` fills if it
    /// goes to the device. Returns the setup stage with the data behind it, and how many bytes of
    /// data were moved.
    fn control(
        &self,
        setup: Setup,
        length: usize,
        data: &[u8],
        timeout: Duration,
    ) -> Result<(Buffer, usize), Error> {
        let operation = || self.operation(&request(setup));
        if length > CONTROL_MAX {
            return Err(Error::Other {
                operation: operation(),
                reason: format!("{length} bytes of data; usbfs carries {CONTROL_MAX} at most"),
            });
        }
        let mut buffer = Buffer::heap(SETUP_LENGTH + length);
        let bytes = buffer.bytes_mut();
        bytes[..SETUP_LENGTH].copy_from_slice(&setup.bytes(length));
        bytes[SETUP_LENGTH..SETUP_LENGTH + data.len()].copy_from_slice(data);

        let kept = self
            .control
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let Some(mut transfer) = kept.or_else(|| Transfer::new(&self.inner.handle)) else {
            return Err(Error::NoMemory {
                operation: operation(),
            });
        };
        let transaction = TransferRequest {
            kind: TransferKind::Control,
            endpoint: 0,
            length: SETUP_LENGTH + length,
            zero_packet: false,
            // A timeout of 0 would mean that the request never times out.
            timeout: u32::try_from(timeout.as_millis())
                .unwrap_or(u32::MAX)
                .max(1),
        };
        transfer
            .submit(transaction, buffer)
            .map_err(|(_, error)| self.submission_error(error, operation()))?;
        if !self
            .inner
            .wait(transfer.done(), deadline(timeout.saturating_add(GRACE)))
        {
            transfer.cancel();
            self.inner.wait(transfer.done(), deadline(GRACE));
        }
        let Some((mut buffer, moved, result)) = transfer.take() else {
            return Err(Error::Timeout {
                operation: operation(),
            });
        };
        if setup.request_type & codes::IN == 0 {
            // What went to the device may have been a PIN.
            buffer.bytes_mut().zeroize();
        }
        {
            let mut kept = self.control.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < CONTROL_KEPT {
                kept.push(transfer);
            }
        }
        match result {
            Ok(()) => Ok((buffer, moved)),
            Err(error) => Err(match error {
                TransferError::Stall => Error::Stall {
                    operation: operation(),
                },
                TransferError::Timeout | TransferError::Cancelled => Error::Timeout {
                    operation: operation(),
                },
                TransferError::Gone => Error::Gone {
                    operation: operation(),
                },
                TransferError::Overflow | TransferError::Fault => {
                    // A request in flight at the moment of unplugging ends with either of these
                    // errors.
                    match self.gone_if_absent("control request") {
                        Err(_) => Error::Gone {
                            operation: operation(),
                        },
                        Ok(()) => Error::Other {
                            operation: operation(),
                            reason: error.to_string(),
                        },
                    }
                }
            }),
        }
    }

    /// Turns libusb's refusal of a transfer into an error for `operation`. libusb reports several
    /// errors of the kernel as the same `Io`, EBUSY among them (a kernel driver holds the interface
    /// the request is for).
    fn submission_error(&self, error: rusb::Error, operation: String) -> Error {
        if matches!(error, rusb::Error::Io) && self.gone_if_absent("").is_err() {
            return Error::Gone { operation };
        }
        to_error(error, operation)
    }

    /// Selects a configuration.
    fn configure(&self, value: u8) -> Result<(), Error> {
        let operation = self.operation(&format!("select configuration {value}"));
        let result = match value {
            0 => self.usb().unconfigure(),
            value => self.usb().set_active_configuration(value),
        };
        match result {
            Ok(()) => {
                self.inner.claims().clear();
                Ok(())
            }
            Err(rusb::Error::Busy) => Err(self.place.busy(operation, None)),
            Err(rusb::Error::NotFound) => Err(Error::Other {
                operation,
                reason: "the device has no such configuration".to_owned(),
            }),
            Err(error) => {
                self.gone_if_absent("select a configuration")?;
                Err(to_error(error, operation))
            }
        }
    }

    /// Selects a configuration although kernel drivers hold interfaces.
    fn force(&self, value: u8) -> Result<(), Error> {
        let Err(refused) = self.configure(value) else {
            return Ok(());
        };
        self.place.force_configuration(value, refused)?;
        self.inner.claims().clear();
        Ok(())
    }

    /// Selects an alternate setting.
    fn select_alternate(&self, interface: u8, alternate: u8) -> Result<(), Error> {
        let what = format!("set alternate setting {alternate} of interface {interface}");
        match self.usb().set_alternate_setting(interface, alternate) {
            Ok(()) => {
                self.inner.claims().insert(interface, alternate);
                Ok(())
            }
            Err(rusb::Error::NotFound) => Err(Error::Other {
                operation: self.operation(&what),
                reason: "not claimed, or no such alternate setting".to_owned(),
            }),
            Err(error) => {
                self.gone_if_absent(&what)?;
                Err(to_error(error, self.operation(&what)))
            }
        }
    }

    /// Clears the halt of an endpoint.
    fn end_halt(&self, endpoint: u8) -> Result<(), Error> {
        let what = format!("clear the halt of endpoint {endpoint:02x}");
        match self.usb().clear_halt(endpoint) {
            Ok(()) => Ok(()),
            Err(rusb::Error::NotFound) => Err(Error::NoSuchEndpoint {
                operation: self.operation(&what),
            }),
            Err(error) => {
                self.gone_if_absent(&what)?;
                Err(to_error(error, self.operation(&what)))
            }
        }
    }
}

impl Device for LibusbDevice {
    fn identity(&self) -> &Identity {
        &self.place.identity
    }

    fn descriptors(&self) -> &Descriptors {
        &self.place.descriptors
    }

    fn active_configuration(&self) -> Result<u8, Error> {
        // libusb would send a request to the device, because the device was opened by its
        // descriptor.
        self.gone_if_absent("read the active configuration")?;
        self.place.active_configuration()
    }

    fn set_configuration(&self, value: u8) -> Result<(), Error> {
        self.place
            .observation
            .order(Setup::set_configuration(value), || self.configure(value))
    }

    fn force_configuration(&self, value: u8) -> Result<(), Error> {
        self.place
            .observation
            .order(Setup::set_configuration(value), || self.force(value))
    }

    fn guard_port(&self) -> Result<PortGuard, Error> {
        self.place.guard_port()
    }

    fn holder(&self, interface: u8) -> Result<Option<Holder>, Error> {
        self.gone_if_absent("read the active configuration")?;
        let ours = self.inner.claims().contains_key(&interface);
        self.place.holder(interface, ours)
    }

    fn detach_kernel_driver(&self, interface: u8) -> Result<(), Error> {
        let what = format!("detach the kernel driver from interface {interface}");
        match self.usb().detach_kernel_driver(interface) {
            // NotFound means that no driver is bound, or that a program has claimed the interface,
            // which cannot be detached.
            Ok(()) | Err(rusb::Error::NotFound) => Ok(()),
            Err(error) => {
                self.gone_if_absent(&what)?;
                Err(to_error(error, self.operation(&what)))
            }
        }
    }

    fn attach_kernel_driver(&self, interface: u8) -> Result<(), Error> {
        let what = format!("let kernel drivers have interface {interface}");
        match self.usb().attach_kernel_driver(interface) {
            // NotFound means that no driver matches the interface, Busy that one is bound already.
            Ok(()) | Err(rusb::Error::NotFound | rusb::Error::Busy) => Ok(()),
            Err(error) => {
                self.gone_if_absent(&what)?;
                Err(to_error(error, self.operation(&what)))
            }
        }
    }

    fn claim(&self, interface: u8) -> Result<(), Error> {
        let operation = self.operation(&format!("claim interface {interface}"));
        if self.inner.claims().contains_key(&interface) {
            return Ok(());
        }
        match self.usb().claim_interface(interface) {
            Ok(()) => {
                // The kernel set the interface to alternate setting 0 when it was released last.
                self.inner.claims().insert(interface, 0);
                Ok(())
            }
            Err(rusb::Error::Busy) => Err(self.place.busy(operation, Some(interface))),
            Err(rusb::Error::NotFound) => {
                self.gone_if_absent("claim an interface")?;
                Err(Error::Other {
                    operation,
                    reason: "the active configuration has no such interface".to_owned(),
                })
            }
            Err(error) => Err(to_error(error, operation)),
        }
    }

    fn release(&self, interface: u8) -> Result<(), Error> {
        if self.inner.claims().remove(&interface).is_none() {
            return Ok(());
        }
        match self.usb().release_interface(interface) {
            Ok(()) | Err(rusb::Error::NotFound) => Ok(()),
            Err(error) => Err(to_error(
                error,
                self.operation(&format!("release interface {interface}")),
            )),
        }
    }

    fn set_alternate_setting(&self, interface: u8, alternate: u8) -> Result<(), Error> {
        self.place
            .observation
            .order(Setup::set_interface(interface, alternate), || {
                self.select_alternate(interface, alternate)
            })
    }

    fn control_in(&self, setup: Setup, data: &mut [u8], timeout: Duration) -> Result<usize, Error> {
        let setup = Setup {
            request_type: setup.request_type | codes::IN,
            ..setup
        };
        let observed = self.place.observation.control(setup, data.len(), &[]);
        let result = self.control(setup, data.len(), &[], timeout);
        let result = result.map(|(buffer, moved)| {
            let moved = moved.min(data.len());
            data[..moved].copy_from_slice(&buffer.bytes()[SETUP_LENGTH..SETUP_LENGTH + moved]);
            moved
        });
        let moved = *result.as_ref().unwrap_or(&0);
        observed.ended(&result, moved, &data[..moved]);
        result
    }

    fn control_out(&self, setup: Setup, data: &[u8], timeout: Duration) -> Result<(), Error> {
        let setup = Setup {
            request_type: setup.request_type & !codes::IN,
            ..setup
        };
        let observed = self.place.observation.control(setup, data.len(), data);
        let result = self.control(setup, data.len(), data, timeout).map(drop);
        observed.ended(&result, data.len(), &[]);
        result
    }

    fn clear_halt(&self, endpoint: u8) -> Result<(), Error> {
        self.place
            .observation
            .order(Setup::clear_halt(endpoint), || self.end_halt(endpoint))
    }

    fn reset(&self) -> Result<(), Error> {
        match self.usb().reset() {
            Ok(()) => {
                // libusb has released the claimed interfaces and claimed them again.
                self.inner.claims().values_mut().for_each(|a| *a = 0);
                Ok(())
            }
            Err(rusb::Error::NotFound | rusb::Error::NoDevice) => Err(Error::Gone {
                operation: self.operation("reset the port"),
            }),
            Err(error) => Err(to_error(error, self.operation("reset the port"))),
        }
    }

    fn queue(&self, endpoint: u8) -> Result<Box<dyn Queue>, Error> {
        let operation = || self.operation(&format!("queue transfers on endpoint {endpoint:02x}"));
        let claims = self.inner.claims().clone();
        let found = self
            .place
            .find_endpoint(endpoint, |number| claims.get(&number).copied())?;
        let Some((_, found)) = found else {
            return Err(Error::NoSuchEndpoint {
                operation: operation(),
            });
        };
        let observed = self.place.observation.queue(endpoint, found.kind);
        let queue =
            LibusbQueue::new(Arc::clone(&self.inner), found, observed).ok_or_else(|| {
                Error::NoSuchEndpoint {
                    operation: operation(),
                }
            })?;
        Ok(Box::new(queue))
    }

    fn pump(&self) -> Result<Box<dyn Pump>, Error> {
        match LibusbPump::new(Arc::clone(&self.inner)) {
            Some(pump) => Ok(Box::new(pump)),
            None => Err(Error::Busy {
                operation: self.operation("take over event handling"),
                holder: Some(Holder::Own("another part of this program")),
            }),
        }
    }
}
