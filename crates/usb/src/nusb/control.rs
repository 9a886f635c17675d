//! Control requests through nusb.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::nusb::MaybeFuture;
use ::nusb::transfer::{ControlIn, ControlOut, ControlType, Recipient, TransferError as Fault};

use super::errors::{is_no_memory, to_refusal};
use super::inner::Inner;
use super::wake::this_thread;
use crate::codes;
use crate::deadline::deadline;
use crate::device::Setup;
use crate::error::Error;
use crate::linux::place::request;

/// Length in bytes of the longest data stage that usbfs takes (`drivers/usb/core/devio.c`).
const LONGEST: usize = 4096;
/// Time for which a control request may still end by itself after its timeout.
const GRACE: Duration = Duration::from_secs(4);
/// Shortest timeout, because nusb's timer would never expire with 0.
const SHORTEST: Duration = Duration::from_millis(1);

impl Inner {
    /// Carries out a request with data from the device. Returns how many bytes were received.
    ///
    /// # Errors
    /// As [`Device::control_in`](crate::device::Device::control_in).
    pub(super) fn control_in(
        &self,
        setup: Setup,
        data: &mut [u8],
        timeout: Duration,
    ) -> Result<usize, Error> {
        let setup = Setup {
            request_type: setup.request_type | codes::IN,
            ..setup
        };
        let (control_type, recipient, length) = self.parts(setup, data.len())?;
        let request = ControlIn {
            control_type,
            recipient,
            request: setup.request,
            value: setup.value,
            index: setup.index,
            length,
        };
        let timeout = timeout.max(SHORTEST);
        let begun = Instant::now();
        let ended = bounded(self.usb().control_in(request, timeout), timeout);
        let came = self.outcome(setup, ended, begun.elapsed() >= timeout)?;
        let moved = came.len().min(data.len());
        data[..moved].copy_from_slice(&came[..moved]);
        Ok(moved)
    }

    /// Carries out a request with data to the device.
    ///
    /// # Errors
    /// As [`Device::control_out`](crate::device::Device::control_out).
    pub(super) fn control_out(
        &self,
        setup: Setup,
        data: &[u8],
        timeout: Duration,
    ) -> Result<(), Error> {
        let setup = Setup {
            request_type: setup.request_type & !codes::IN,
            ..setup
        };
        let (control_type, recipient, _) = self.parts(setup, data.len())?;
        let request = ControlOut {
            control_type,
            recipient,
            request: setup.request,
            value: setup.value,
            index: setup.index,
            data,
        };
        let timeout = timeout.max(SHORTEST);
        let begun = Instant::now();
        let ended = bounded(self.usb().control_out(request, timeout), timeout);
        self.outcome(setup, ended, begun.elapsed() >= timeout)
    }

    /// Returns the parts of `bmRequestType` and `wLength`.
    ///
    /// # Errors
    /// [`Error::Other`] for a reserved request type and for more data than usbfs takes.
    fn parts(&self, setup: Setup, length: usize) -> Result<(ControlType, Recipient, u16), Error> {
        let refuse = |reason: String| Error::Other {
            operation: self.place.operation(&request(setup)),
            reason,
        };
        let length = u16::try_from(length)
            .ok()
            .filter(|&length| usize::from(length) <= LONGEST)
            .ok_or_else(|| {
                refuse(format!(
                    "{length} bytes of data; usbfs carries {LONGEST} at most"
                ))
            })?;
        match (kind(setup.request_type), recipient(setup.request_type)) {
            (Some(kind), Some(recipient)) => Ok((kind, recipient, length)),
            _ => Err(refuse("a reserved request type".to_owned())),
        }
    }

    /// Turns the end of a request into the result for the caller. `late` says that its time was
    /// over, and `ended` is `None` when it did not end at all.
    fn outcome<T>(
        &self,
        setup: Setup,
        ended: Option<Result<T, Fault>>,
        late: bool,
    ) -> Result<T, Error> {
        let operation = || self.place.operation(&request(setup));
        let fault = match ended {
            Some(Ok(done)) => return Ok(done),
            Some(Err(fault)) => fault,
            None => {
                return Err(Error::Timeout {
                    operation: operation(),
                });
            }
        };
        Err(match fault {
            Fault::Stall => Error::Stall {
                operation: operation(),
            },
            Fault::Cancelled if late => Error::Timeout {
                operation: operation(),
            },
            Fault::Disconnected => Error::Gone {
                operation: operation(),
            },
            fault if is_no_memory(fault) => Error::NoMemory {
                operation: operation(),
            },
            // A request in flight at the moment of unplugging ends with either of these faults.
            fault => match self.place.gone_if_absent(&request(setup)) {
                Err(gone) => gone,
                Ok(()) if is_busy(fault) => {
                    let interface = (recipient(setup.request_type) == Some(Recipient::Interface))
                        .then_some(setup.index.to_le_bytes()[0]);
                    self.place.busy(operation(), interface)
                }
                Ok(()) if fault == Fault::Fault => Error::Other {
                    operation: operation(),
                    reason: crate::error::TransferError::Fault.to_string(),
                },
                Ok(()) => to_refusal(fault, operation()),
            },
        })
    }
}

/// Returns whether a kernel driver or another program holds the interface the request is for (EBUSY).
fn is_busy(fault: Fault) -> bool {
    matches!(fault, Fault::Unknown(code) if i32::try_from(code) == Ok(libc::EBUSY))
}

/// Returns the type in bits 5 and 6 of `bmRequestType` (USB 2.0, table 9-2), `None` if reserved.
fn kind(request_type: u8) -> Option<ControlType> {
    match (request_type >> 5) & 3 {
        0 => Some(ControlType::Standard),
        1 => Some(ControlType::Class),
        2 => Some(ControlType::Vendor),
        _ => None,
    }
}

/// Returns the recipient in bits 0 to 4 of `bmRequestType` (USB 2.0, table 9-2), `None` if reserved.
fn recipient(request_type: u8) -> Option<Recipient> {
    match request_type & 0x1f {
        0 => Some(Recipient::Device),
        1 => Some(Recipient::Interface),
        2 => Some(Recipient::Endpoint),
        3 => Some(Recipient::Other),
        _ => None,
    }
}

/// Waits for a request that has a timeout of its own. Returns `None` when it does not end soon
/// after that. nusb frees its memory when it ends later.
fn bounded<R: MaybeFuture>(request: R, timeout: Duration) -> Option<R::Output> {
    wait(
        request.into_future(),
        deadline(timeout.saturating_add(GRACE)),
    )
}

/// Polls a future in this thread until it is ready or until `until`.
fn wait<F: Future>(future: F, until: Instant) -> Option<F::Output> {
    let mut future = pin!(future);
    let waker = this_thread();
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_types_are_taken_apart() {
        // GET_NTB_PARAMETERS is a class request to an interface, with data to the host.
        assert_eq!(kind(0xa1), Some(ControlType::Class));
        assert_eq!(recipient(0xa1), Some(Recipient::Interface));
        assert_eq!(kind(0x40), Some(ControlType::Vendor));
        assert_eq!(recipient(0x02), Some(Recipient::Endpoint));
        assert_eq!((kind(0x60), recipient(0x04)), (None, None));
    }

    #[test]
    fn waiting_ends_in_time() {
        let begun = Instant::now();
        let limit = Duration::from_millis(20);
        assert_eq!(wait(std::future::pending::<()>(), deadline(limit)), None);
        assert!(begun.elapsed() >= limit);
        assert_eq!(wait(std::future::ready(5), deadline(limit)), Some(5));
    }
}
