//! The queue of transfers of one endpoint.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::errors::to_error;
use super::ffi::transfer::{Transfer, TransferRequest};
use super::inner::Inner;
use crate::buffer::{Buffer, Memory};
use crate::deadline::deadline;
use crate::descriptors::{Endpoint, TransferKind};
use crate::device::{Completion, Interrupter, Queue, Rejected};
use crate::error::Error;
use crate::observed::ObservedQueue;

/// Number of transfers allocated in advance; more are made when a queue is kept deeper.
const DEPTH: usize = 16;
/// Longest wait for cancelled transfers before their memory is leaked.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The queue of transfers of one endpoint.
pub(super) struct LibusbQueue {
    inner: Arc<Inner>,
    endpoint: Endpoint,
    zero_packet: bool,
    /// Transfers that are not in flight.
    idle: Vec<Transfer>,
    /// Transfers that were submitted, the oldest at the front.
    in_flight: VecDeque<Transfer>,
    /// Whether the owner of the queue may no longer wait.
    interrupted: Arc<AtomicBool>,
    observed: ObservedQueue,
}

impl LibusbQueue {
    /// Makes the queue of an endpoint. Returns `None` for an endpoint that is neither bulk nor
    /// interrupt.
    pub(super) fn new(
        inner: Arc<Inner>,
        endpoint: Endpoint,
        observed: ObservedQueue,
    ) -> Option<Self> {
        if !matches!(endpoint.kind, TransferKind::Bulk | TransferKind::Interrupt) {
            return None;
        }
        let idle = (0..DEPTH)
            .map_while(|_| Transfer::new(&inner.handle))
            .collect();
        let in_flight = VecDeque::with_capacity(DEPTH);
        Some(Self {
            inner,
            endpoint,
            zero_packet: false,
            idle,
            in_flight,
            interrupted: Arc::default(),
            observed,
        })
    }

    /// Returns the completion of the oldest transfer if it has ended.
    fn take(&mut self) -> Option<Completion> {
        let (mut buffer, moved, result) = self.in_flight.front_mut()?.take()?;
        self.idle.extend(self.in_flight.pop_front());
        if self.endpoint.is_in() {
            buffer.set_len(moved);
        }
        let completion = Completion {
            buffer,
            result: result.map(|()| moved),
        };
        self.observed.completed(Some(&completion));
        Some(completion)
    }

    /// Submits a transfer.
    ///
    /// # Errors
    /// Those of [`Queue::submit`].
    fn begin(&mut self, buffer: Buffer) -> Result<(), Rejected> {
        let operation = || {
            let (endpoint, device) = (self.endpoint.address, &self.inner.identity);
            format!("submit a transfer on endpoint {endpoint:02x} of {device}")
        };
        if self.inner.handle.wake().is_gone() {
            return Err(Rejected {
                buffer,
                error: Error::Gone {
                    operation: operation(),
                },
            });
        }
        let Some(mut transfer) = self
            .idle
            .pop()
            .or_else(|| Transfer::new(&self.inner.handle))
        else {
            return Err(Rejected {
                buffer,
                error: Error::NoMemory {
                    operation: operation(),
                },
            });
        };
        let inward = self.endpoint.is_in();
        let request = TransferRequest {
            kind: self.endpoint.kind,
            endpoint: self.endpoint.address,
            length: if inward {
                buffer.capacity()
            } else {
                buffer.filled().len()
            },
            zero_packet: self.zero_packet && !inward,
            timeout: 0,
        };
        match transfer.submit(request, buffer) {
            Ok(()) => {
                self.in_flight.push_back(transfer);
                Ok(())
            }
            Err((buffer, error)) => {
                let error = match error {
                    // ENOENT is the usual reason, but libusb does not pass the number on.
                    rusb::Error::Io => Error::Other {
                        operation: operation(),
                        reason: "refused by the kernel: not in the active alternate setting, \
                                 or not claimed any more"
                            .to_owned(),
                    },
                    error => to_error(error, operation()),
                };
                self.idle.push(transfer);
                Err(Rejected { buffer, error })
            }
        }
    }
}

impl Queue for LibusbQueue {
    fn endpoint(&self) -> u8 {
        self.endpoint.address
    }

    fn max_packet_size(&self) -> u16 {
        self.endpoint.max_packet_size
    }

    fn allocate(&mut self, capacity: usize) -> Buffer {
        match self.inner.handle.map(capacity) {
            Some(mapped) => Buffer::from_memory(Memory::Mapped(mapped), 0),
            None => Buffer::heap(capacity),
        }
    }

    fn submit(&mut self, buffer: Buffer) -> Result<(), Rejected> {
        self.observed.submitting(&buffer);
        let result = self.begin(buffer);
        self.observed.submitted(&result);
        result
    }

    fn set_zero_packet(&mut self, enabled: bool) {
        self.zero_packet = enabled;
    }

    fn pending(&self) -> usize {
        self.in_flight.len()
    }

    fn try_next(&mut self) -> Option<Completion> {
        if let Some(completion) = self.take() {
            return Some(completion);
        }
        self.inner.collect(self.in_flight.front()?.done());
        self.take()
    }

    fn next(&mut self, timeout: Duration) -> Option<Completion> {
        if let Some(completion) = self.take() {
            return Some(completion);
        }
        let oldest = self.in_flight.front()?;
        if timeout.is_zero() {
            self.inner.collect(oldest.done());
        } else {
            let deadline = deadline(timeout);
            self.inner
                .wait_unless(oldest.done(), deadline, &self.interrupted);
        }
        self.take()
    }

    fn interrupter(&self) -> Option<Interrupter> {
        let (inner, interrupted) = (Arc::clone(&self.inner), Arc::clone(&self.interrupted));
        Some(Interrupter::new(move || {
            interrupted.store(true, Ordering::SeqCst);
            inner.interrupt();
        }))
    }

    fn cancel_all(&mut self) {
        // The newest transfer is cancelled first, so that none begins because the one before it has
        // ended.
        for transfer in self.in_flight.iter().rev() {
            transfer.cancel();
        }
    }
}

impl Drop for LibusbQueue {
    fn drop(&mut self) {
        self.cancel_all();
        let deadline = deadline(LAST_WAIT);
        for transfer in &self.in_flight {
            self.inner.wait(transfer.done(), deadline);
        }
    }
}
