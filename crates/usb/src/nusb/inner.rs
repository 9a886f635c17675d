//! The part of an open device that its queues and its pump share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use ::nusb::transfer::{BulkOrInterrupt, EndpointDirection};
use ::nusb::{Endpoint, ErrorKind, Interface, MaybeFuture};

use super::errors::{code, to_error};
use super::parking::AnyParking;
use super::wake::PumpSignal;
use crate::error::{Error, Holder};
use crate::linux::node;
use crate::linux::place::Place;

/// Longest time for which nusb's event thread is expected to hold the endpoint of a transfer it ended.
const EVENT_THREAD_MAX: Duration = Duration::from_secs(1);
/// Number of times a device is asked for its configuration before it counts as silent.
const CONFIGURATION_TRIES: usize = 20;
/// Pause between two checks whether the event thread still holds the endpoint.
const EVENT_THREAD_PAUSE: Duration = Duration::from_micros(50);

/// The part of an open device that its queues and its pump share.
pub(super) struct Inner {
    usb: Mutex<::nusb::Device>,
    pub(super) place: Place,
    pub(super) signal: Arc<PumpSignal>,
    /// The claimed interfaces by number.
    claims: Mutex<BTreeMap<u8, Claim>>,
    /// The parkings of all queues.
    parkings: Mutex<Vec<Weak<dyn AnyParking>>>,
}

/// A claimed interface.
pub(super) struct Claim {
    /// nusb's handles, the newest last. There is more than one only when transfers were pending over
    /// a reset.
    handles: Vec<Interface>,
    /// Number of the active alternate setting.
    alternate: u8,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let claims = std::mem::take(&mut *self.claims());
        for (interface, claim) in claims {
            self.give_back(interface, claim.handles);
        }
    }
}

impl Inner {
    /// Makes the shared part of an open device that has claimed nothing.
    pub(super) fn new(usb: ::nusb::Device, place: Place, signal: Arc<PumpSignal>) -> Self {
        Self {
            usb: Mutex::new(usb),
            place,
            signal,
            claims: Mutex::default(),
            parkings: Mutex::default(),
        }
    }

    /// Returns nusb's handle.
    pub(super) fn usb(&self) -> ::nusb::Device {
        self.usb
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Opens the device anew after its configuration was changed by other means than nusb. A device
    /// that was opened by descriptor keeps the configuration that nusb saw at the opening. No
    /// interface may be claimed.
    ///
    /// # Errors
    /// As [`open_node`].
    pub(super) fn reopen(&self) -> Result<(), Error> {
        if self.place.access.is_local() {
            return Ok(());
        }
        let usb = open_node(&self.place)?;
        *self.usb.lock().unwrap_or_else(PoisonError::into_inner) = usb;
        Ok(())
    }

    fn claims(&self) -> MutexGuard<'_, BTreeMap<u8, Claim>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the parkings of all queues.
    fn parkings(&self) -> Vec<Arc<dyn AnyParking>> {
        let mut parkings = self.parkings.lock().unwrap_or_else(PoisonError::into_inner);
        parkings.retain(|parking| parking.strong_count() > 0);
        parkings.iter().filter_map(Weak::upgrade).collect()
    }

    /// Adds the parking of a queue.
    pub(super) fn add_parking(&self, parking: Weak<dyn AnyParking>) {
        let mut parkings = self.parkings.lock().unwrap_or_else(PoisonError::into_inner);
        parkings.retain(|parking| parking.strong_count() > 0);
        parkings.push(parking);
    }

    /// Returns the parking of the queue on an endpoint, if there is a queue.
    pub(super) fn parking(&self, address: u8) -> Option<Arc<dyn AnyParking>> {
        self.parkings().into_iter().find(|p| p.address() == address)
    }

    /// Checks that no transfer is pending on an interface.
    ///
    /// # Errors
    /// [`Error::Busy`] for `operation`.
    fn busy_if_pending(&self, interface: u8, operation: &str) -> Result<(), Error> {
        let pending = |p: &Arc<dyn AnyParking>| p.interface() == interface && p.is_away();
        if self.parkings().iter().any(pending) {
            return Err(Error::Busy {
                operation: operation.to_owned(),
                holder: Some(Holder::Own("this program's own transfers")),
            });
        }
        Ok(())
    }

    /// Closes the endpoints of an interface whose queues have nothing pending.
    fn close_parked(&self, interface: u8) {
        for parking in self.parkings() {
            if parking.interface() == interface {
                parking.close();
            }
        }
    }

    /// Returns the number of the active alternate setting of a claimed interface.
    pub(super) fn alternate(&self, interface: u8) -> Option<u8> {
        self.claims().get(&interface).map(|claim| claim.alternate)
    }

    /// Drops all claims, which a change of the configuration has ended.
    pub(super) fn forget_claims(&self) {
        let claims = std::mem::take(&mut *self.claims());
        for &interface in claims.keys() {
            self.close_parked(interface);
        }
    }

    /// Claims an interface; no error when it is claimed.
    ///
    /// # Errors
    /// As [`Device::claim`](crate::device::Device::claim).
    pub(super) fn claim(&self, interface: u8) -> Result<(), Error> {
        let what = format!("claim interface {interface}");
        let operation = self.place.operation(&what);
        let mut claims = self.claims();
        if claims.contains_key(&interface) {
            return Ok(());
        }
        // This claim would end with the pending transfers of an earlier claim.
        self.busy_if_pending(interface, &operation)?;
        let handle = self.new_handle(interface, &what)?;
        let claim = Claim {
            handles: vec![handle],
            // The kernel set the interface to alternate setting 0 when it was released last.
            alternate: 0,
        };
        claims.insert(interface, claim);
        Ok(())
    }

    /// Claims an interface in the kernel for the operation `what`, and returns nusb's handle.
    fn new_handle(&self, interface: u8, what: &str) -> Result<Interface, Error> {
        self.usb()
            .claim_interface(interface)
            .wait()
            .map_err(|error| match error.kind() {
                ErrorKind::Busy => self.place.busy(self.place.operation(what), Some(interface)),
                ErrorKind::NotFound => match self.place.gone_if_absent(what) {
                    Err(gone) => gone,
                    Ok(()) => Error::Other {
                        operation: self.place.operation(what),
                        reason: "the active configuration has no such interface".to_owned(),
                    },
                },
                _ => to_error(&error, self.place.operation(what)),
            })
    }

    /// Releases an interface; no error when it is not claimed.
    ///
    /// # Errors
    /// [`Error::Busy`] while transfers are pending on it.
    pub(super) fn release(&self, interface: u8) -> Result<(), Error> {
        let mut claims = self.claims();
        if !claims.contains_key(&interface) {
            return Ok(());
        }
        let operation = self
            .place
            .operation(&format!("release interface {interface}"));
        self.busy_if_pending(interface, &operation)?;
        self.close_parked(interface);
        if let Some(claim) = claims.remove(&interface) {
            self.give_back(interface, claim.handles);
        }
        Ok(())
    }

    /// Releases an interface and waits until the kernel says that it is released.
    fn give_back(&self, interface: u8, handles: Vec<Interface>) {
        let mut left = false;
        for handle in handles {
            left |= handle.release().wait().is_err();
        }
        let deadline = Instant::now() + EVENT_THREAD_MAX;
        while left && self.place.is_claimed(interface) && Instant::now() < deadline {
            std::thread::sleep(EVENT_THREAD_PAUSE);
        }
    }

    /// Selects an alternate setting of a claimed interface.
    ///
    /// # Errors
    /// As [`Device::set_alternate_setting`](crate::device::Device::set_alternate_setting), and
    /// [`Error::Busy`] while transfers are pending on the interface.
    pub(super) fn set_alternate(&self, interface: u8, alternate: u8) -> Result<(), Error> {
        let what = format!("set alternate setting {alternate} of interface {interface}");
        let operation = || self.place.operation(&what);
        let mut claims = self.claims();
        let Some(claim) = claims.get_mut(&interface) else {
            return Err(Error::Other {
                operation: operation(),
                reason: "not claimed, or no such alternate setting".to_owned(),
            });
        };
        self.busy_if_pending(interface, &operation())?;
        self.close_parked(interface);
        let Some(handle) = claim.handles.last() else {
            return Ok(());
        };
        let result = when_let_go(|| handle.set_alt_setting(alternate).wait());
        match result {
            Ok(()) => {
                claim.alternate = alternate;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::Other {
                operation: operation(),
                reason: "not claimed, or no such alternate setting".to_owned(),
            }),
            Err(error) => {
                self.place.gone_if_absent(&what)?;
                Err(to_error(&error, operation()))
            }
        }
    }

    /// Resets the port with all interfaces released meanwhile and claimed again afterwards. The
    /// kernel unbinds an interface that a program has claimed, because it cannot ask a program to
    /// pause, and lets kernel drivers bind to it.
    ///
    /// # Errors
    /// [`Error::Gone`], what nusb said, or why an interface could not be claimed again.
    pub(super) fn reset(&self) -> Result<(), Error> {
        let what = "reset the port";
        let mut claims = self.claims();
        for (&interface, claim) in claims.iter_mut() {
            self.close_parked(interface);
            if self.busy_if_pending(interface, what).is_ok() {
                self.give_back(interface, std::mem::take(&mut claim.handles));
            }
        }
        let result = self.usb().reset().wait();
        let mut lost = None;
        claims.retain(|&interface, claim| {
            // A kernel driver may have bound in between. The claim of another program is left
            // alone.
            if !self.place.is_claimed(interface) {
                let _ = self.usb().detach_kernel_driver(interface);
            }
            match self.new_handle(interface, what) {
                Ok(handle) => {
                    claim.handles.push(handle);
                    claim.alternate = 0;
                    true
                }
                Err(error) => {
                    lost = Some(error);
                    false
                }
            }
        });
        match result {
            Ok(()) => lost.map_or(Ok(()), Err),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::Gone {
                operation: self.place.operation(what),
            }),
            Err(error) => Err(to_error(&error, self.place.operation(what))),
        }
    }

    /// Opens an endpoint in the active alternate setting of its interface.
    ///
    /// # Errors
    /// [`Error::NoSuchEndpoint`], [`Error::Busy`] when another queue has it, or what nusb said.
    pub(super) fn open_endpoint<K: BulkOrInterrupt, D: EndpointDirection>(
        &self,
        interface: u8,
        address: u8,
        operation: impl Fn() -> String,
    ) -> Result<Endpoint<K, D>, Error> {
        let handle = self
            .claims()
            .get(&interface)
            .and_then(|claim| claim.handles.last().cloned())
            .ok_or_else(|| Error::NoSuchEndpoint {
                operation: operation(),
            })?;
        when_let_go(|| handle.endpoint::<K, D>(address)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::NoSuchEndpoint {
                operation: operation(),
            },
            ErrorKind::Busy => Error::Busy {
                operation: operation(),
                holder: Some(Holder::Own("another queue of this program")),
            },
            _ => to_error(&error, operation()),
        })
    }
}

/// Opens a device with nusb.
///
/// nusb asks sysfs for the configuration of a device that it has listed, whenever it needs to know.
/// It asks a device that it gets as a descriptor once, by a control request with a timeout of 50
/// ms, and guesses when there is no answer. Its idea is therefore compared with sysfs.
///
/// # Errors
/// [`Error::Gone`], the errors of [`Place::open_node`], or the error of nusb.
pub(super) fn open_node(place: &Place) -> Result<::nusb::Device, Error> {
    let operation = || format!("open {}", place.identity);
    if place.access.is_local() {
        return open_listed(place, &operation());
    }
    for _ in 0..CONFIGURATION_TRIES {
        let node = place.open_node(&operation())?;
        let usb = ::nusb::Device::from_fd(node.into())
            .wait()
            .map_err(|error| to_error(&error, operation()))?;
        let known = usb.active_configuration();
        let known = known.map_or(0, |active| active.configuration_value());
        if known == place.active_configuration()? {
            return Ok(usb);
        }
    }
    Err(Error::Other {
        operation: operation(),
        reason: "it does not tell its configuration".to_owned(),
    })
}

fn open_listed(place: &Place, operation: &str) -> Result<::nusb::Device, Error> {
    let mut listed = ::nusb::list_devices()
        .wait()
        .map_err(|error| to_error(&error, operation.to_owned()))?;
    let listed = listed
        .find(|device| {
            (device.busnum(), device.device_address())
                == (place.identity.bus, place.identity.address)
        })
        .ok_or_else(|| Error::Gone {
            operation: operation.to_owned(),
        })?;
    listed.open().wait().map_err(|error| match code(&error) {
        Some(code) => {
            let error = std::io::Error::from_raw_os_error(code);
            node::open_error(&error, operation, &place.node())
        }
        None => Error::Other {
            operation: operation.to_owned(),
            reason: error.to_string(),
        },
    })
}

/// Repeats `attempt` while nusb says that the interface is busy, which it does as long as its event
/// thread holds an endpoint of it.
fn when_let_go<T>(
    mut attempt: impl FnMut() -> Result<T, ::nusb::Error>,
) -> Result<T, ::nusb::Error> {
    let deadline = Instant::now() + EVENT_THREAD_MAX;
    loop {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::Busy && Instant::now() < deadline => {
                std::thread::sleep(EVENT_THREAD_PAUSE);
            }
            result => return result,
        }
    }
}
