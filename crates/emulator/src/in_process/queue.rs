//! Queues of transfers, and event handling by a reactor.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use uwwan_usb::buffer::Buffer;
use uwwan_usb::device::{Completion, Interrupter, Pump, Queue, Rejected};
use uwwan_usb::error::{Error, TransferError};
use uwwan_usb::observed::ObservedQueue;

use super::bus::{Bus, HOST_REQUEST};
use super::host::Owner;
use crate::descriptors::EndpointPlace;
use crate::upstream::Request;
use crate::urb::{Completed, SetupPacket, Urb, UrbStatus};

/// Largest number of transfers pending on one queue; more are refused.
const MAX_PENDING: usize = 1024;

/// A queue of transfers on one endpoint.
pub(super) struct EndpointQueue {
    bus: Arc<Bus>,
    owner: Owner,
    generation: u64,
    /// Number of the queue in the channel.
    number: u32,
    endpoint: u8,
    max_packet_size: u16,
    observed: ObservedQueue,
    zero_packet: bool,
    pending: usize,
    /// Sequence numbers of the next transfer and of the oldest one pending.
    sequence: u32,
    first_pending: u32,
    /// Number of the oldest pending transfers that have been cancelled.
    cancelled: usize,
}

impl EndpointQueue {
    /// Makes a queue on an endpoint, for the enumeration `generation`.
    pub fn new(
        bus: &Arc<Bus>,
        owner: Owner,
        generation: u64,
        place: EndpointPlace,
        observed: ObservedQueue,
    ) -> Self {
        Self {
            number: bus.channel.open_queue(),
            bus: Arc::clone(bus),
            owner,
            generation,
            endpoint: place.address,
            max_packet_size: place.max_packet_size,
            observed,
            zero_packet: false,
            pending: 0,
            sequence: 0,
            first_pending: 0,
            cancelled: 0,
        }
    }

    fn token(&self, sequence: u32) -> u64 {
        u64::from(self.number) << 32 | u64::from(sequence)
    }

    fn complete(&mut self, done: Completed) -> Completion {
        let completion = self.finish(done);
        self.observed.completed(Some(&completion));
        completion
    }

    fn finish(&mut self, done: Completed) -> Completion {
        if self.pending > 0 {
            self.pending -= 1;
            self.bus
                .pending(self.endpoint)
                .fetch_sub(1, Ordering::SeqCst);
        }
        self.cancelled = self.cancelled.saturating_sub(1);
        self.first_pending = self.first_pending.wrapping_add(1);
        Completion {
            buffer: done.buffer,
            result: match done.status {
                UrbStatus::Done => Ok(done.actual),
                UrbStatus::Stall => Err(TransferError::Stall),
                UrbStatus::Overflow => Err(TransferError::Overflow),
                UrbStatus::Cancelled => Err(TransferError::Cancelled),
                UrbStatus::Gone => Err(TransferError::Gone),
                UrbStatus::Fault => Err(TransferError::Fault),
            },
        }
    }

    /// Submits a transfer.
    ///
    /// # Errors
    /// Those of [`Queue::submit`].
    fn begin(&mut self, buffer: Buffer) -> Result<(), Rejected> {
        if self.bus.generation() != Some(self.generation) {
            return Err(Rejected {
                buffer,
                error: Error::Gone {
                    operation: format!("transfer on endpoint {:#04x}", self.endpoint),
                },
            });
        }
        if self.bus.host.endpoint(self.owner, self.endpoint).is_none() {
            return Err(Rejected {
                buffer,
                error: Error::NoSuchEndpoint {
                    operation: format!("transfer on endpoint {:#04x}", self.endpoint),
                },
            });
        }
        if self.pending >= MAX_PENDING {
            return Err(Rejected {
                buffer,
                error: Error::Other {
                    operation: format!("transfer on endpoint {:#04x}", self.endpoint),
                    reason: format!("{MAX_PENDING} transfers are pending"),
                },
            });
        }
        let token = self.token(self.sequence);
        self.sequence = self.sequence.wrapping_add(1);
        self.pending += 1;
        self.bus
            .pending(self.endpoint)
            .fetch_add(1, Ordering::SeqCst);
        let urb = Urb {
            token,
            endpoint: self.endpoint,
            setup: SetupPacket::default(),
            wanted: buffer.capacity(),
            buffer,
            zero_packet: self.zero_packet,
        };
        let generation = Some(self.generation);
        self.bus.channel.ask(Request::Submit(urb), generation);
        Ok(())
    }
}

impl Queue for EndpointQueue {
    fn endpoint(&self) -> u8 {
        self.endpoint
    }

    fn max_packet_size(&self) -> u16 {
        self.max_packet_size
    }

    fn allocate(&mut self, capacity: usize) -> Buffer {
        Buffer::heap(capacity)
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
        self.pending
    }

    fn try_next(&mut self) -> Option<Completion> {
        let done = self.bus.channel.try_take(self.number)?;
        Some(self.complete(done))
    }

    fn next(&mut self, timeout: Duration) -> Option<Completion> {
        if self.pending == 0 {
            return None;
        }
        let done = self.bus.channel.take(self.number, timeout)?;
        Some(self.complete(done))
    }

    fn interrupter(&self) -> Option<Interrupter> {
        let (bus, number) = (Arc::clone(&self.bus), self.number);
        Some(Interrupter::new(move || bus.channel.interrupt(number)))
    }

    fn cancel_all(&mut self) {
        // Each transfer is cancelled once, however often this is called.
        for offset in self.cancelled..self.pending {
            let token = self.token(self.first_pending.wrapping_add(offset as u32));
            let generation = Some(self.generation);
            self.bus.channel.ask(Request::Cancel(token), generation);
        }
        self.cancelled = self.pending;
    }
}

impl Drop for EndpointQueue {
    fn drop(&mut self) {
        self.cancel_all();
        self.bus.channel.resume(self.number);
        while self.pending > 0 {
            // The device's thread answers every transfer, and has answered all when it has ended.
            match self.bus.channel.take(self.number, HOST_REQUEST) {
                Some(done) => drop(self.finish(done)),
                None => break,
            }
        }
        let pending = self.bus.pending(self.endpoint);
        pending.fetch_sub(self.pending, Ordering::SeqCst);
        self.bus.channel.close_queue(self.number);
    }
}

/// Event handling by a reactor.
pub(super) struct EventPump {
    bus: Arc<Bus>,
    generation: u64,
    pumped: Arc<AtomicBool>,
    descriptors: [(RawFd, bool); 1],
}

impl EventPump {
    /// Takes over event handling. Dropping the pump gives it back and clears `pumped`.
    pub fn new(bus: &Arc<Bus>, generation: u64, pumped: Arc<AtomicBool>) -> Self {
        bus.channel.set_pumped(true);
        Self {
            descriptors: [(bus.channel.host_event().as_raw_fd(), false)],
            bus: Arc::clone(bus),
            generation,
            pumped,
        }
    }
}

impl Pump for EventPump {
    fn descriptors(&self) -> &[(RawFd, bool)] {
        &self.descriptors
    }

    fn process(&mut self) -> Result<(), Error> {
        self.bus.channel.process();
        if self.bus.generation() == Some(self.generation) {
            Ok(())
        } else {
            Err(Error::Gone {
                operation: "handle events".into(),
            })
        }
    }

    fn timeout(&self) -> Option<Duration> {
        None
    }
}

impl Drop for EventPump {
    fn drop(&mut self) {
        self.bus.channel.set_pumped(false);
        self.pumped.store(false, Ordering::SeqCst);
    }
}
