//! Reports of every transfer of a device to an observer, as usbmon would make them.
//!
//! A backend has an [`Observation`] of each device that it opens, and calls it where a transfer
//! begins and ends. Requests that the kernel makes for its caller, such as SET_CONFIGURATION, are
//! reported as the control transfers that they are on the bus.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::buffer::Buffer;
use crate::codes::{self, standard};
use crate::descriptors::TransferKind;
use crate::device::{Completion, Rejected, Setup};
use crate::error::{Error, TransferError};

pub use crate::observer::{Moment, Observer, Opened, Seen};

/// Number of low bits of an id that count the transfers of one queue.
const COUNT_BITS: u32 = 40;

/// `bmRequestType` of standard requests without data, by their recipient (USB 2.0, table 9-2).
const TO_DEVICE: u8 = 0x00;
const TO_INTERFACE: u8 = 0x01;
const TO_ENDPOINT: u8 = 0x02;

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

    /// Returns the number that is given next.
    fn peek(&self) -> u64 {
        self.first + self.given.load(Ordering::Relaxed)
    }
}

/// Observation of one open device, which its backend calls with each request and each transfer.
/// Where nobody observes, a call costs a comparison.
#[derive(Clone, Default)]
pub struct Observation(Option<Arc<ObservedDevice>>);

struct ObservedDevice {
    observer: Arc<dyn Observer>,
    bus: u8,
    address: u8,
    controls: Numbers,
}

impl Observation {
    /// Begins the observation of a device that was opened, and reports that it was.
    #[must_use]
    pub fn begin(observer: &Arc<dyn Observer>, opened: &Opened<'_>) -> Self {
        observer.opened(opened);
        Self(Some(Arc::new(ObservedDevice {
            observer: Arc::clone(observer),
            bus: opened.identity.bus,
            address: opened.identity.address,
            controls: Numbers::new(),
        })))
    }

    /// Reports a control transfer that begins. Its data stage has `length` bytes, of which `sent` go
    /// to the device.
    #[must_use]
    pub fn control(&self, setup: Setup, length: usize, sent: &[u8]) -> ObservedControl<'_> {
        let Some(device) = &self.0 else {
            return ObservedControl(None);
        };
        let seen = Seen {
            bus: device.bus,
            address: device.address,
            id: device.controls.next(),
            moment: Moment::Submitted,
            kind: TransferKind::Control,
            endpoint: setup.request_type & codes::IN,
            setup: None,
            length,
            data: &[],
        };
        device.observer.transfer(&Seen {
            setup: Some(setup.bytes(length)),
            data: sent,
            ..seen
        });
        ObservedControl(Some((&*device.observer, seen)))
    }

    /// Carries out a request that the kernel makes for its caller, without data, and reports it.
    ///
    /// # Errors
    /// Those of `carry_out`.
    pub fn order(
        &self,
        setup: Setup,
        carry_out: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let control = self.control(setup, 0, &[]);
        let result = carry_out();
        control.ended(&result, 0, &[]);
        result
    }

    /// Returns the observation of a queue of transfers of this kind on an endpoint.
    #[must_use]
    pub fn queue(&self, endpoint: u8, kind: TransferKind) -> ObservedQueue {
        ObservedQueue {
            device: self.0.clone(),
            kind,
            endpoint,
            numbers: Numbers::new(),
            reported: false,
            completed: 0,
        }
    }
}

impl std::fmt::Debug for Observation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "observed: {}", self.0.is_some())
    }
}

/// Observation of a control transfer under way.
pub struct ObservedControl<'a>(Option<(&'a dyn Observer, Seen<'static>)>);

impl ObservedControl<'_> {
    /// Reports the end of the transfer, which moved `length` bytes and received `came`.
    pub fn ended<T>(self, result: &Result<T, Error>, length: usize, came: &[u8]) {
        let Some((observer, seen)) = self.0 else {
            return;
        };
        let (length, data) = match result {
            Ok(_) => (length, came),
            Err(_) => (0, &[][..]),
        };
        observer.transfer(&Seen {
            moment: Moment::Completed(result.as_ref().err().map_or(0, errno)),
            length,
            data,
            ..seen
        });
    }
}

/// Observation of the transfers of one queue.
pub struct ObservedQueue {
    device: Option<Arc<ObservedDevice>>,
    kind: TransferKind,
    endpoint: u8,
    /// Numbers of the transfers that were submitted. They complete in this order.
    numbers: Numbers,
    /// Whether the submission under way was reported.
    reported: bool,
    /// Number of transfers whose completion was taken.
    completed: u64,
}

impl ObservedQueue {
    /// Reports that a transfer with this buffer is about to be submitted.
    /// [`ObservedQueue::submitted`] follows.
    pub fn submitting(&mut self, buffer: &Buffer) {
        let Some(device) = self.observed() else {
            self.reported = false;
            return;
        };
        let (length, data) = match self.is_in() {
            true => (buffer.capacity(), &[][..]),
            false => (buffer.filled().len(), buffer.filled()),
        };
        self.report(device, self.numbers.peek(), Moment::Submitted, length, data);
        self.reported = true;
    }

    /// Records the outcome of a submission, and reports a rejection.
    pub fn submitted(&mut self, result: &Result<(), Rejected>) {
        match result {
            Ok(()) => {
                self.numbers.next();
            }
            Err(rejected) => {
                if let Some(device) = self.device.as_ref().filter(|_| self.reported) {
                    let moment = Moment::Rejected(errno(&rejected.error));
                    self.report(device, self.numbers.peek(), moment, 0, &[]);
                }
            }
        }
    }

    /// Reports the completion of the oldest transfer, if that is what the queue's owner gets.
    pub fn completed(&mut self, completion: Option<&Completion>) {
        let Some(completion) = completion else {
            return;
        };
        let number = self.numbers.first + self.completed;
        self.completed += 1;
        let Some(device) = self.observed() else {
            return;
        };
        let status = match completion.result {
            Ok(_) => 0,
            Err(error) => transfer_errno(error),
        };
        let came = completion.buffer.filled();
        let (length, data) = match (self.is_in(), completion.result) {
            (true, _) => (came.len(), came),
            (false, result) => (result.unwrap_or(0), &[][..]),
        };
        self.report(device, number, Moment::Completed(status), length, data);
    }

    /// Returns the device, if transfers are to be reported at the moment.
    fn observed(&self) -> Option<&ObservedDevice> {
        let device = self.device.as_deref();
        device.filter(|device| device.observer.is_active())
    }

    fn is_in(&self) -> bool {
        self.endpoint & codes::IN != 0
    }

    fn report(&self, device: &ObservedDevice, id: u64, moment: Moment, length: usize, data: &[u8]) {
        device.observer.transfer(&Seen {
            bus: device.bus,
            address: device.address,
            id,
            moment,
            kind: self.kind,
            endpoint: self.endpoint,
            setup: None,
            length,
            data,
        });
    }
}

impl Setup {
    /// Returns the request that selects a configuration (USB 2.0, 9.4.7).
    #[must_use]
    pub fn set_configuration(value: u8) -> Self {
        Self {
            request_type: TO_DEVICE,
            request: standard::SET_CONFIGURATION,
            value: value.into(),
            index: 0,
        }
    }

    /// Returns the request that selects an alternate setting of an interface (USB 2.0, 9.4.10).
    #[must_use]
    pub fn set_interface(interface: u8, alternate: u8) -> Self {
        Self {
            request_type: TO_INTERFACE,
            request: standard::SET_INTERFACE,
            value: alternate.into(),
            index: interface.into(),
        }
    }

    /// Returns the request that clears the halt of an endpoint (USB 2.0, 9.4.1). The feature
    /// ENDPOINT_HALT is number 0.
    #[must_use]
    pub fn clear_halt(endpoint: u8) -> Self {
        Self {
            request_type: TO_ENDPOINT,
            request: standard::CLEAR_FEATURE,
            value: 0,
            index: endpoint.into(),
        }
    }

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
    use crate::device::Device;
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

    fn observation(notes: &Arc<Notes>) -> Observation {
        let observer = Arc::clone(notes) as Arc<dyn Observer>;
        let device = FakeDevice::new(0);
        let opened = Opened {
            identity: device.identity(),
            descriptors: device.descriptors(),
            active_configuration: 0,
        };
        let observation = Observation::begin(&observer, &opened);
        assert_eq!(notes.lines.lock().unwrap().drain(..).count(), 1);
        observation
    }

    #[test]
    fn requests_are_told_as_they_are_on_the_bus() {
        let notes = Arc::<Notes>::default();
        let observation = observation(&notes);
        let stall = || Error::Stall {
            operation: String::new(),
        };
        let order = |setup, refused: bool| {
            let carried_out = observation.order(setup, || match refused {
                true => Err(stall()),
                false => Ok(()),
            });
            assert_eq!(carried_out.is_err(), refused);
        };
        order(Setup::set_configuration(3), false);
        order(Setup::set_interface(1, 2), false);
        order(Setup::clear_halt(0x81), true);
        let setup = Setup {
            request_type: 0x21,
            request: 0x86,
            value: 0,
            index: 1,
        };
        let size = [0, 0x40, 0, 0];
        let control = observation.control(setup, size.len(), &size);
        control.ended(&Ok(()), size.len(), &[]);
        assert_eq!(
            *notes.lines.lock().unwrap(),
            [
                "Submitted 00 Some([00, 09, 03, 00, 00, 00, 00, 00]) 0 []",
                "Completed(0) 00 None 0 []",
                "Submitted 00 Some([01, 0b, 02, 00, 01, 00, 00, 00]) 0 []",
                "Completed(0) 00 None 0 []",
                "Submitted 00 Some([02, 01, 00, 00, 81, 00, 00, 00]) 0 []",
                "Completed(-32) 00 None 0 []",
                "Submitted 00 Some([21, 86, 00, 00, 01, 00, 04, 00]) 4 [00, 40, 00, 00]",
                "Completed(0) 00 None 4 []",
            ]
        );
    }

    #[test]
    fn queued_transfers_are_told_only_to_one_who_looks() {
        for off in [false, true] {
            let notes = Arc::new(Notes {
                off,
                ..Notes::default()
            });
            let mut queue = observation(&notes).queue(0x81, TransferKind::Bulk);
            let mut buffer = Buffer::heap(8);
            queue.submitting(&buffer);
            queue.submitted(&Ok(()));
            buffer.set_len(2);
            queue.completed(None);
            queue.completed(Some(&Completion {
                buffer,
                result: Ok(2),
            }));
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
