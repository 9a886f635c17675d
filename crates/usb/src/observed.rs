//! A backend that reports every transfer to an observer, as usbmon would.
//!
//! [`Observed`] wraps another backend. A transfer that is not observed costs nothing more, because
//! the choice is made when the backend is made. Requests that the kernel makes for its caller, such
//! as SET_CONFIGURATION, are reported as the control transfers that they are on the bus.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::buffer::Buffer;
use crate::codes::{self, standard};
use crate::descriptors::{Descriptors, TransferKind};
use crate::device::{Backend, Completion, Device, Found, Identity, Queue, Rejected, Setup};
use crate::error::{Error, TransferError};

/// Number of low bits of an id that count the transfers of one queue.
const COUNT_BITS: u32 = 40;

/// `bmRequestType` of standard requests without data, by their recipient (USB 2.0, table 9-2).
const TO_DEVICE: u8 = 0x00;
const TO_INTERFACE: u8 = 0x01;
const TO_ENDPOINT: u8 = 0x02;

/// Somebody who watches transfers. The calls come from the threads that make the transfers, and must
/// not block.
pub trait Observer: Send + Sync {
    /// Returns whether bulk and interrupt transfers are to be reported at the moment. Control
    /// transfers always are, so that an observer that begins late knows the device's state.
    fn is_active(&self) -> bool;

    /// Reports that a device was opened.
    fn opened(&self, opened: &Opened<'_>);

    /// Reports an event of a transfer.
    fn transfer(&self, seen: &Seen<'_>);
}

/// Facts about a device that was opened.
#[derive(Debug, Clone, Copy)]
pub struct Opened<'a> {
    /// Place where the device is plugged in, and what it says it is.
    pub identity: &'a Identity,
    /// Descriptors of the device.
    pub descriptors: &'a Descriptors,
    /// `bConfigurationValue` of the active configuration, 0 when unconfigured.
    pub active_configuration: u8,
}

/// Event in the life of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The transfer was submitted.
    Submitted,
    /// The transfer could not be submitted. The value is the error as a negative `errno` of Linux.
    Rejected(i32),
    /// The transfer ended. The value is 0, or the error as a negative `errno` of Linux.
    Completed(i32),
}

/// An event of a transfer, with the facts that usbmon shows.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Number of the bus.
    pub bus: u8,
    /// Number of the device on its bus.
    pub address: u8,
    /// Number that all events of a transfer share.
    pub id: u64,
    /// Event that this is: the submission, its rejection or the end of the transfer.
    pub moment: Moment,
    /// Kind of the transfer.
    pub kind: TransferKind,
    /// Address of the endpoint, direction bit included.
    pub endpoint: u8,
    /// Setup stage as it is on the bus; present at the submission of a control transfer only.
    pub setup: Option<[u8; 8]>,
    /// Number of bytes asked for or to be sent; at the end, the number of bytes moved.
    pub length: usize,
    /// Bytes that are sent, at the submission, or that were received, at the end.
    pub data: &'a [u8],
}

/// A backend whose transfers are observed.
pub struct Observed {
    inner: Arc<dyn Backend>,
    observer: Arc<dyn Observer>,
}

impl Observed {
    /// Makes a backend that works as `inner` does and reports to `observer`.
    #[must_use]
    pub fn new(inner: Arc<dyn Backend>, observer: Arc<dyn Observer>) -> Self {
        Self { inner, observer }
    }
}

impl Backend for Observed {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn unavailable(&self) -> Option<String> {
        self.inner.unavailable()
    }

    fn devices(&self) -> Result<Vec<Found>, Error> {
        self.inner.devices()
    }

    fn open(&self, found: &Found) -> Result<Arc<dyn Device>, Error> {
        let inner = self.inner.open(found)?;
        self.observer.opened(&Opened {
            identity: inner.identity(),
            descriptors: inner.descriptors(),
            active_configuration: inner.active_configuration().unwrap_or(0),
        });
        Ok(Arc::new(ObservedDevice {
            inner,
            observer: Arc::clone(&self.observer),
            controls: Numbers::new(),
        }))
    }
}

/// Source of the numbers of the transfers of one queue or of the control endpoint.
struct Numbers {
    first: u64,
    given: AtomicU64,
}

impl Numbers {
    fn new() -> Self {
        static STREAMS: AtomicU64 = AtomicU64::new(1);
        Self {
            first: STREAMS.fetch_add(1, Ordering::Relaxed) << COUNT_BITS,
            given: AtomicU64::new(0),
        }
    }

    fn next(&self) -> u64 {
        self.first + self.given.fetch_add(1, Ordering::Relaxed)
    }
}

struct ObservedDevice {
    inner: Arc<dyn Device>,
    observer: Arc<dyn Observer>,
    controls: Numbers,
}

impl ObservedDevice {
    /// Reports that a control transfer begins. Returns the facts that its end shares.
    fn begin(&self, setup: Setup, length: usize, sent: &[u8]) -> Seen<'static> {
        let identity = self.inner.identity();
        let seen = Seen {
            bus: identity.bus,
            address: identity.address,
            id: self.controls.next(),
            moment: Moment::Submitted,
            kind: TransferKind::Control,
            endpoint: setup.request_type & codes::IN,
            setup: None,
            length,
            data: &[],
        };
        self.observer.transfer(&Seen {
            setup: Some(setup.bytes(length)),
            data: sent,
            ..seen
        });
        seen
    }

    /// Reports the end of a control transfer that moved `length` bytes and received `came`.
    fn end<T>(&self, seen: Seen<'static>, result: &Result<T, Error>, length: usize, came: &[u8]) {
        let ended = Seen {
            moment: Moment::Completed(result.as_ref().err().map_or(0, errno)),
            length: 0,
            ..seen
        };
        self.observer.transfer(&match result {
            Ok(_) => Seen {
                length,
                data: came,
                ..ended
            },
            Err(_) => ended,
        });
    }

    /// Carries out a request without data with `act`, and reports it.
    fn order(
        &self,
        request_type: u8,
        request: u8,
        value: u16,
        index: u16,
        act: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let setup = Setup {
            request_type,
            request,
            value,
            index,
        };
        let seen = self.begin(setup, 0, &[]);
        let result = act();
        self.end(seen, &result, 0, &[]);
        result
    }
}

impl Setup {
    /// Returns the eight bytes of the setup stage with a data stage of `length` bytes, as they are on
    /// the bus (USB 2.0, 9.3).
    #[must_use]
    pub fn bytes(self, length: usize) -> [u8; 8] {
        let [value_low, value_high] = self.value.to_le_bytes();
        let [index_low, index_high] = self.index.to_le_bytes();
        let [low, high] = u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes();
        [
            self.request_type,
            self.request,
            value_low,
            value_high,
            index_low,
            index_high,
            low,
            high,
        ]
    }
}

impl Device for ObservedDevice {
    crate::forward!(identity descriptors active_configuration guard_port holder);
    crate::forward!(detach_kernel_driver attach_kernel_driver claim release reset pump);

    fn set_configuration(&self, value: u8) -> Result<(), Error> {
        self.order(
            TO_DEVICE,
            standard::SET_CONFIGURATION,
            value.into(),
            0,
            || self.inner.set_configuration(value),
        )
    }

    fn force_configuration(&self, value: u8) -> Result<(), Error> {
        self.order(
            TO_DEVICE,
            standard::SET_CONFIGURATION,
            value.into(),
            0,
            || self.inner.force_configuration(value),
        )
    }

    fn set_alternate_setting(&self, interface: u8, alternate: u8) -> Result<(), Error> {
        self.order(
            TO_INTERFACE,
            standard::SET_INTERFACE,
            alternate.into(),
            interface.into(),
            || self.inner.set_alternate_setting(interface, alternate),
        )
    }

    fn control_in(&self, setup: Setup, data: &mut [u8], timeout: Duration) -> Result<usize, Error> {
        let seen = self.begin(setup, data.len(), &[]);
        let result = self.inner.control_in(setup, data, timeout);
        let length = result.as_ref().map_or(0, |length| *length).min(data.len());
        self.end(seen, &result, length, &data[..length]);
        result
    }

    fn control_out(&self, setup: Setup, data: &[u8], timeout: Duration) -> Result<(), Error> {
        let seen = self.begin(setup, data.len(), data);
        let result = self.inner.control_out(setup, data, timeout);
        self.end(seen, &result, data.len(), &[]);
        result
    }

    fn clear_halt(&self, endpoint: u8) -> Result<(), Error> {
        // The feature ENDPOINT_HALT (USB 2.0, 9.4.1) is number 0.
        self.order(
            TO_ENDPOINT,
            standard::CLEAR_FEATURE,
            0,
            endpoint.into(),
            || self.inner.clear_halt(endpoint),
        )
    }

    fn queue(&self, endpoint: u8) -> Result<Box<dyn Queue>, Error> {
        let inner = self.inner.queue(endpoint)?;
        let identity = self.inner.identity();
        let active = self.inner.active_configuration().unwrap_or(0);
        let kind = transfer_kind(self.inner.descriptors(), active, endpoint);
        Ok(Box::new(ObservedQueue {
            seen: Template {
                bus: identity.bus,
                address: identity.address,
                kind,
                endpoint,
                first: Numbers::new().first,
            },
            inner,
            observer: Arc::clone(&self.observer),
            submitted: 0,
            completed: 0,
        }))
    }
}

/// Returns the transfer type of an endpoint. An address may have different types in different
/// configurations, so that in the `active` one counts first; `active` is 0 when it is not known.
fn transfer_kind(descriptors: &Descriptors, active: u8, endpoint: u8) -> TransferKind {
    let active = descriptors.configuration(active).into_iter();
    active
        .chain(&descriptors.configurations)
        .flat_map(|configuration| &configuration.interfaces)
        .flat_map(|interface| &interface.alternates)
        .flat_map(|alternate| &alternate.endpoints)
        .find(|described| described.address == endpoint)
        .map_or(TransferKind::Bulk, |described| described.kind)
}

/// Facts that all events of a queue's transfers share.
#[derive(Clone, Copy)]
struct Template {
    bus: u8,
    address: u8,
    kind: TransferKind,
    endpoint: u8,
    first: u64,
}

impl Template {
    fn at<'a>(self, number: u64, moment: Moment, length: usize, data: &'a [u8]) -> Seen<'a> {
        Seen {
            bus: self.bus,
            address: self.address,
            id: self.first + number,
            moment,
            kind: self.kind,
            endpoint: self.endpoint,
            setup: None,
            length,
            data,
        }
    }

    fn is_in(self) -> bool {
        self.endpoint & codes::IN != 0
    }
}

struct ObservedQueue {
    inner: Box<dyn Queue>,
    observer: Arc<dyn Observer>,
    seen: Template,
    /// Number of transfers submitted so far. They complete in this order.
    submitted: u64,
    /// Number of transfers whose completion was taken.
    completed: u64,
}

impl ObservedQueue {
    fn take(&mut self, completion: Option<Completion>) -> Option<Completion> {
        let completion = completion?;
        let number = self.completed;
        self.completed += 1;
        if self.observer.is_active() {
            let status = match completion.result {
                Ok(_) => 0,
                Err(error) => transfer_errno(error),
            };
            let came = completion.buffer.filled();
            let (length, data) = match (self.seen.is_in(), completion.result) {
                (true, _) => (came.len(), came),
                (false, result) => (result.unwrap_or(0), &[][..]),
            };
            let moment = Moment::Completed(status);
            self.observer
                .transfer(&self.seen.at(number, moment, length, data));
        }
        Some(completion)
    }
}

impl Queue for ObservedQueue {
    crate::forward!(endpoint max_packet_size allocate set_zero_packet pending cancel_all interrupter);

    fn submit(&mut self, buffer: Buffer) -> Result<(), Rejected> {
        let active = self.observer.is_active();
        let number = self.submitted;
        if active {
            let (length, data) = if self.seen.is_in() {
                (buffer.capacity(), &[][..])
            } else {
                (buffer.filled().len(), buffer.filled())
            };
            let seen = self.seen.at(number, Moment::Submitted, length, data);
            self.observer.transfer(&seen);
        }
        let result = self.inner.submit(buffer);
        match &result {
            Ok(()) => self.submitted += 1,
            Err(rejected) if active => {
                let moment = Moment::Rejected(errno(&rejected.error));
                self.observer
                    .transfer(&self.seen.at(number, moment, 0, &[]));
            }
            Err(_) => {}
        }
        result
    }

    fn try_next(&mut self) -> Option<Completion> {
        let completion = self.inner.try_next();
        self.take(completion)
    }

    fn next(&mut self, timeout: Duration) -> Option<Completion> {
        let completion = self.inner.next(timeout);
        self.take(completion)
    }
}

/// Returns the error as usbmon shows it: a negative `errno` of Linux.
fn errno(error: &Error) -> i32 {
    match error {
        Error::Gone { .. } => -libc::ENODEV,
        Error::Busy { .. } => -libc::EBUSY,
        Error::NoPermission { .. } => -libc::EACCES,
        Error::Stall { .. } => -libc::EPIPE,
        Error::Timeout { .. } => -libc::ETIMEDOUT,
        Error::NoSuchEndpoint { .. } => -libc::ENOENT,
        Error::NoMemory { .. } => -libc::ENOMEM,
        Error::Other { .. } => -libc::EIO,
    }
}

/// Returns the error as usbmon shows it: a negative `errno` of Linux
/// (Documentation/driver-api/usb/error-codes.rst).
fn transfer_errno(error: TransferError) -> i32 {
    match error {
        TransferError::Cancelled => -libc::ENOENT,
        TransferError::Stall => -libc::EPIPE,
        TransferError::Overflow => -libc::EOVERFLOW,
        TransferError::Gone => -libc::ESHUTDOWN,
        TransferError::Timeout => -libc::ETIMEDOUT,
        TransferError::Fault => -libc::EPROTO,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::fake::FakeDevice;

    /// An observer that keeps what is reported to it as text.
    #[derive(Default)]
    struct Notes {
        lines: Mutex<Vec<String>>,
        off: bool,
    }

    impl Observer for Notes {
        fn is_active(&self) -> bool {
            !self.off
        }

        fn opened(&self, opened: &Opened<'_>) {
            let line = format!("opened in {}", opened.active_configuration);
            self.lines.lock().unwrap().push(line);
        }

        fn transfer(&self, seen: &Seen<'_>) {
            let line = format!(
                "{:?} {:02x} {:02x?} {} {:02x?}",
                seen.moment, seen.endpoint, seen.setup, seen.length, seen.data
            );
            self.lines.lock().unwrap().push(line);
        }
    }

    fn device(observer: &Arc<Notes>) -> ObservedDevice {
        ObservedDevice {
            inner: Arc::new(FakeDevice::new(0)),
            observer: Arc::clone(observer) as Arc<dyn Observer>,
            controls: Numbers::new(),
        }
    }

    #[test]
    fn requests_are_told_as_they_are_on_the_bus() {
        let notes = Arc::<Notes>::default();
        let device = device(&notes);
        device.set_configuration(3).unwrap();
        let setup = Setup {
            request_type: 0x21,
            request: 0x86,
            value: 0,
            index: 1,
        };
        let second = Duration::from_secs(1);
        device.control_out(setup, &[0, 0x40, 0, 0], second).unwrap();
        assert_eq!(
            *notes.lines.lock().unwrap(),
            [
                "Submitted 00 Some([00, 09, 03, 00, 00, 00, 00, 00]) 0 []",
                "Completed(0) 00 None 0 []",
                "Submitted 00 Some([21, 86, 00, 00, 01, 00, 04, 00]) 4 [00, 40, 00, 00]",
                "Completed(0) 00 None 4 []",
            ]
        );
    }

    #[test]
    fn an_endpoint_is_of_the_kind_it_has_in_the_active_configuration() {
        let mut descriptors = crate::descriptors::vectors::lt4132();
        let mut last = descriptors.configurations.last().unwrap().clone();
        let kinds = [TransferKind::Bulk, TransferKind::Interrupt];
        // The first configuration gets every endpoint of the last one, as the other transfer type.
        let mut first = last.clone();
        (first.value, last.value) = (1, 2);
        let endpoints = (first.interfaces.iter_mut())
            .flat_map(|interface| &mut interface.alternates)
            .flat_map(|alternate| &mut alternate.endpoints);
        for endpoint in endpoints {
            endpoint.kind = kinds[usize::from(endpoint.kind == TransferKind::Bulk)];
        }
        descriptors.configurations = vec![first, last];
        let mut seen = 0;
        for configuration in &descriptors.configurations {
            let endpoints = (configuration.interfaces.iter())
                .flat_map(|interface| &interface.alternates)
                .flat_map(|alternate| &alternate.endpoints);
            for endpoint in endpoints {
                let kind = transfer_kind(&descriptors, configuration.value, endpoint.address);
                assert_eq!(kind, endpoint.kind, "{:02x}", endpoint.address);
                seen += 1;
            }
        }
        assert!(seen >= 4, "{seen}");
    }

    /// A queue that completes each transfer at once.
    struct Echo(Vec<Buffer>);

    impl Queue for Echo {
        fn endpoint(&self) -> u8 {
            0x81
        }
        fn max_packet_size(&self) -> u16 {
            512
        }
        fn allocate(&mut self, capacity: usize) -> Buffer {
            Buffer::heap(capacity)
        }
        fn submit(&mut self, mut buffer: Buffer) -> Result<(), Rejected> {
            buffer.set_len(2);
            self.0.push(buffer);
            Ok(())
        }
        fn set_zero_packet(&mut self, _: bool) {}
        fn pending(&self) -> usize {
            self.0.len()
        }
        fn try_next(&mut self) -> Option<Completion> {
            let buffer = self.0.pop()?;
            let result = Ok(buffer.filled().len());
            Some(Completion { buffer, result })
        }
        fn next(&mut self, _: Duration) -> Option<Completion> {
            self.try_next()
        }
        fn cancel_all(&mut self) {}
    }

    #[test]
    fn queued_transfers_are_told_only_to_one_who_looks() {
        for off in [false, true] {
            let notes = Arc::new(Notes {
                off,
                ..Notes::default()
            });
            let mut queue = ObservedQueue {
                inner: Box::new(Echo(Vec::new())),
                observer: Arc::clone(&notes) as Arc<dyn Observer>,
                seen: Template {
                    bus: 1,
                    address: 2,
                    kind: TransferKind::Bulk,
                    endpoint: 0x81,
                    first: 0,
                },
                submitted: 0,
                completed: 0,
            };
            queue.submit(Buffer::heap(8)).unwrap();
            assert_eq!(queue.try_next().unwrap().result, Ok(2));
            let told = notes.lines.lock().unwrap();
            if off {
                assert!(told.is_empty(), "{told:?}");
            } else {
                let expected = ["Submitted 81 None 8 []", "Completed(0) 81 None 2 [00, 00]"];
                assert_eq!(*told, expected);
            }
        }
    }
}
