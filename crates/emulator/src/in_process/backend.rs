//! The backend, and the devices opened with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use uwwan_usb::codes::{self, standard};
use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::device::{Backend, Device, Found, Identity, Pump, Queue, Setup};
use uwwan_usb::error::{Error, Holder};
use uwwan_usb::observed::{Observation, Observer, Opened};

use super::bus::{Bus, HOST_REQUEST};
use super::host::Owner;
use super::queue::{EndpointQueue, EventPump};
use crate::upstream::Request;
use crate::urb::{Completed, SetupPacket, UrbStatus};

/// Backend whose only device is the emulated modem.
pub(super) struct InProcess {
    bus: Arc<Bus>,
    observer: OnceLock<Arc<dyn Observer>>,
}

impl InProcess {
    /// Makes a backend that opens devices on `bus`.
    pub fn new(bus: Arc<Bus>) -> Self {
        Self {
            bus,
            observer: OnceLock::new(),
        }
    }
}

impl Backend for InProcess {
    fn name(&self) -> &'static str {
        "emulator"
    }

    fn devices(&self) -> Result<Vec<Found>, Error> {
        let Some(generation) = self.bus.generation() else {
            return Ok(Vec::new());
        };
        self.bus.enumerate(generation);
        Ok(vec![Found {
            identity: self.bus.identity(generation),
            descriptors: self.bus.descriptors(),
            active_configuration: Some(self.bus.host.configuration()),
            kernel_drivers: self.bus.host.drivers(Instant::now()),
        }])
    }

    fn open(&self, found: &Found) -> Result<Arc<dyn Device>, Error> {
        let gone = || Error::Gone {
            operation: format!("open {}", found.identity),
        };
        let generation = self.bus.generation().ok_or_else(gone)?;
        if self.bus.identity(generation) != found.identity {
            return Err(gone());
        }
        self.bus.enumerate(generation);
        let mut open = Open {
            owner: self.bus.host.open(),
            identity: found.identity.clone(),
            descriptors: self.bus.descriptors(),
            generation,
            bus: Arc::clone(&self.bus),
            pumped: Arc::default(),
            observation: Observation::default(),
        };
        if let Some(observer) = self.observer.get() {
            let opened = Opened {
                identity: &open.identity,
                descriptors: &open.descriptors,
                active_configuration: open.active_configuration().unwrap_or(0),
            };
            open.observation = Observation::begin(observer, &opened);
        }
        Ok(Arc::new(open))
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        let _ = self.observer.set(observer);
    }
}

/// An open device. Requests on it fail once the enumeration in which it was opened has ended.
struct Open {
    bus: Arc<Bus>,
    owner: Owner,
    identity: Identity,
    descriptors: Descriptors,
    generation: u64,
    pumped: Arc<AtomicBool>,
    observation: Observation,
}

impl Open {
    fn what(&self, what: std::fmt::Arguments<'_>) -> String {
        format!("{what} of {}", self.identity)
    }

    fn present(&self, what: std::fmt::Arguments<'_>) -> Result<(), Error> {
        if self.bus.generation() == Some(self.generation) {
            Ok(())
        } else {
            Err(Error::Gone {
                operation: self.what(what),
            })
        }
    }

    /// Makes a control request and translates its outcome. `what` names the request in errors.
    fn request(
        &self,
        setup: SetupPacket,
        data: &[u8],
        timeout: Duration,
        what: std::fmt::Arguments<'_>,
    ) -> Result<Completed, Error> {
        self.present(what)?;
        let done = self.bus.channel.control(setup, data, timeout);
        let operation = || self.what(what);
        match done {
            Err(()) => Err(Error::Timeout {
                operation: operation(),
            }),
            Ok(done) => match done.status {
                UrbStatus::Done => Ok(done),
                UrbStatus::Stall => Err(Error::Stall {
                    operation: operation(),
                }),
                UrbStatus::Gone => Err(Error::Gone {
                    operation: operation(),
                }),
                status => Err(Error::Other {
                    operation: operation(),
                    reason: format!("the transfer ended as {status:?}"),
                }),
            },
        }
    }

    /// Makes a control request of the program with a data stage of `length` bytes, which `data` fills
    /// if it goes to the device.
    fn control(
        &self,
        setup: Setup,
        length: usize,
        data: &[u8],
        timeout: Duration,
    ) -> Result<Completed, Error> {
        self.allowed(setup)?;
        let what = format_args!("control request {:#04x}", setup.request);
        self.request(packet(setup, length), data, timeout, what)
    }

    /// Refuses class requests to an interface that a kernel driver holds, as usbfs does.
    fn allowed(&self, setup: Setup) -> Result<(), Error> {
        if setup.request_type & 0x7f == 0x21 {
            let interface = setup.index.to_le_bytes()[0];
            if let Some(driver) = self.bus.host.driver(interface, Instant::now()) {
                return Err(Error::Busy {
                    operation: self.what(format_args!("class request {:#04x}", setup.request)),
                    holder: Some(Holder::Driver(driver.to_owned())),
                });
            }
        }
        Ok(())
    }
}

fn packet(setup: Setup, length: usize) -> SetupPacket {
    SetupPacket {
        request_type: setup.request_type,
        request: setup.request,
        value: setup.value,
        index: setup.index,
        length: u16::try_from(length).unwrap_or(u16::MAX),
    }
}

impl Device for Open {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    fn active_configuration(&self) -> Result<u8, Error> {
        let setup = SetupPacket {
            request_type: 0x80,
            request: standard::GET_CONFIGURATION,
            length: 1,
            ..SetupPacket::default()
        };
        let done = self.request(
            setup,
            &[],
            HOST_REQUEST,
            format_args!("read the configuration"),
        )?;
        Ok(done.buffer.filled().first().copied().unwrap_or(0))
    }

    fn set_configuration(&self, value: u8) -> Result<(), Error> {
        self.observation
            .order(Setup::set_configuration(value), || self.configure(value))
    }

    fn holder(&self, interface: u8) -> Result<Option<Holder>, Error> {
        self.present(format_args!("look up the driver of interface {interface}"))?;
        Ok(self
            .bus
            .host
            .holder_for(self.owner, interface, Instant::now()))
    }

    fn detach_kernel_driver(&self, interface: u8) -> Result<(), Error> {
        self.present(format_args!("detach the driver of interface {interface}"))?;
        self.bus.host.detach(interface, Instant::now());
        Ok(())
    }

    fn attach_kernel_driver(&self, interface: u8) -> Result<(), Error> {
        let what = format_args!("attach a driver to interface {interface}");
        self.present(what)?;
        self.bus
            .host
            .attach(interface, Instant::now())
            .map_err(|holder| Error::Busy {
                operation: self.what(what),
                holder: Some(holder),
            })
    }

    fn claim(&self, interface: u8) -> Result<(), Error> {
        let what = format_args!("claim interface {interface}");
        self.present(what)?;
        self.bus
            .host
            .claim(self.owner, interface, Instant::now())
            .map_err(|holder| match holder {
                Some(holder) => Error::Busy {
                    operation: self.what(what),
                    holder: Some(holder),
                },
                None => Error::Other {
                    operation: self.what(what),
                    reason: "no such interface in the active configuration".into(),
                },
            })
    }

    fn release(&self, interface: u8) -> Result<(), Error> {
        let what = format_args!("release interface {interface}");
        self.present(what)?;
        if self.bus.host.release(self.owner, interface) {
            // The kernel does the same when a driver releases an interface.
            self.set_alternate(interface, 0, what)?;
        }
        Ok(())
    }

    fn set_alternate_setting(&self, interface: u8, alternate: u8) -> Result<(), Error> {
        self.observation
            .order(Setup::set_interface(interface, alternate), || {
                self.select_alternate(interface, alternate)
            })
    }

    fn control_in(&self, setup: Setup, data: &mut [u8], timeout: Duration) -> Result<usize, Error> {
        let mut setup = setup;
        setup.request_type |= codes::IN;
        let observed = self.observation.control(setup, data.len(), &[]);
        let result = self.control(setup, data.len(), &[], timeout).map(|done| {
            let received = done.buffer.filled();
            data[..received.len()].copy_from_slice(received);
            received.len()
        });
        let received = *result.as_ref().unwrap_or(&0);
        observed.ended(&result, received, &data[..received]);
        result
    }

    fn control_out(&self, setup: Setup, data: &[u8], timeout: Duration) -> Result<(), Error> {
        let mut setup = setup;
        setup.request_type &= !codes::IN;
        let observed = self.observation.control(setup, data.len(), data);
        let result = self.control(setup, data.len(), data, timeout).map(drop);
        observed.ended(&result, data.len(), &[]);
        result
    }

    fn clear_halt(&self, endpoint: u8) -> Result<(), Error> {
        self.observation
            .order(Setup::clear_halt(endpoint), || self.end_halt(endpoint))
    }

    fn reset(&self) -> Result<(), Error> {
        let what = format_args!("reset the port");
        self.present(what)?;
        let configuration = self.bus.host.configuration();
        self.bus.channel.ask(Request::ResetPort, None);
        // The hub driver restores the configuration, without going through configuration 0.
        let setup = SetupPacket {
            request: standard::SET_CONFIGURATION,
            value: configuration.into(),
            ..SetupPacket::default()
        };
        self.request(setup, &[], HOST_REQUEST, what)?;
        Ok(())
    }

    fn queue(&self, endpoint: u8) -> Result<Box<dyn Queue>, Error> {
        let what = format_args!("queue transfers on endpoint {endpoint:#04x}");
        self.present(what)?;
        let place = self
            .bus
            .host
            .endpoint(self.owner, endpoint)
            .ok_or_else(|| Error::NoSuchEndpoint {
                operation: self.what(what),
            })?;
        Ok(Box::new(EndpointQueue::new(
            &self.bus,
            self.owner,
            self.generation,
            place,
            self.observation.queue(endpoint, place.kind()),
        )))
    }

    fn pump(&self) -> Result<Box<dyn Pump>, Error> {
        if self.pumped.swap(true, Ordering::SeqCst) {
            return Err(Error::Busy {
                operation: self.what(format_args!("take over event handling")),
                holder: None,
            });
        }
        Ok(Box::new(EventPump::new(
            &self.bus,
            self.generation,
            Arc::clone(&self.pumped),
        )))
    }
}

impl Open {
    /// Clears the halt of an endpoint.
    fn end_halt(&self, endpoint: u8) -> Result<(), Error> {
        let setup = SetupPacket {
            request_type: 0x02,
            request: standard::CLEAR_FEATURE,
            value: 0,
            index: endpoint.into(),
            length: 0,
        };
        self.request(
            setup,
            &[],
            HOST_REQUEST,
            format_args!("clear the halt of endpoint {endpoint:#04x}"),
        )?;
        Ok(())
    }

    /// Selects an alternate setting of a claimed interface without pending transfers.
    fn select_alternate(&self, interface: u8, alternate: u8) -> Result<(), Error> {
        let what = format_args!("select alternate setting {alternate} of interface {interface}");
        self.present(what)?;
        if !self.bus.host.is_claimed(self.owner, interface) {
            return Err(Error::Other {
                operation: self.what(what),
                reason: "the interface is not claimed".into(),
            });
        }
        // The kernel would end the transfers; nusb refuses.
        let endpoints = self.bus.host.endpoints_of(interface);
        let pending = |end: &u8| self.bus.pending(*end).load(Ordering::SeqCst) > 0;
        if endpoints.iter().any(pending) {
            return Err(Error::Busy {
                operation: self.what(what),
                holder: Some(Holder::Own("this program's own transfers")),
            });
        }
        self.set_alternate(interface, alternate, what)
    }

    /// Selects a configuration while no interface is held.
    fn configure(&self, value: u8) -> Result<(), Error> {
        let what = format_args!("select configuration {value}");
        self.present(what)?;
        if let Some(holder) = self.bus.host.any_holder(Instant::now()) {
            return Err(Error::Busy {
                operation: self.what(what),
                holder: Some(holder),
            });
        }
        let setup = SetupPacket {
            request: standard::SET_CONFIGURATION,
            value: value.into(),
            ..SetupPacket::default()
        };
        self.request(setup, &[], HOST_REQUEST, what)?;
        self.bus.configured(value);
        Ok(())
    }

    fn set_alternate(
        &self,
        interface: u8,
        alternate: u8,
        what: std::fmt::Arguments<'_>,
    ) -> Result<(), Error> {
        let setup = SetupPacket {
            request_type: 0x01,
            request: standard::SET_INTERFACE,
            value: alternate.into(),
            index: interface.into(),
            length: 0,
        };
        self.request(setup, &[], HOST_REQUEST, what)?;
        self.bus.host.alternate_selected(interface, alternate);
        Ok(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        for interface in self.bus.host.close(self.owner) {
            let setup = SetupPacket {
                request_type: 0x01,
                request: standard::SET_INTERFACE,
                value: 0,
                index: interface.into(),
                length: 0,
            };
            if self.bus.generation() == Some(self.generation) {
                let _ = self.bus.channel.control(setup, &[], HOST_REQUEST);
                self.bus.host.alternate_selected(interface, 0);
            }
        }
    }
}
