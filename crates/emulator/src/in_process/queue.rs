//! Queues of transfers, and event handling by a reactor.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use uwwan_usb::buffer::Buffer;
use uwwan_usb::device::{Completion, Pump, Queue, Rejected};
use uwwan_usb::error::{Error, TransferError};

use super::host::Owner;
use super::{Bus, HOST_REQUEST};
use crate::engine::Request;
use crate::urb::{Completed, SetupPacket, Urb, UrbStatus};

/// A queue of transfers.
pub(super) struct Line {
    bus: Arc<Bus>,
    owner: Owner,
    generation: u64,
    channel: u32,
    endpoint: u8,
    max_packet_size: u16,
    zero_packet: bool,
    pending: usize,
    sequence: u32,
    first_pending: u32,
}

impl Line {
    /// A queue on an endpoint, for the enumeration `generation`.
    pub fn new(
        bus: &Arc<Bus>,
        owner: Owner,
        generation: u64,
        endpoint: u8,
        max_packet_size: u16,
    ) -> Self {
        Self {
            channel: bus.wire.open_channel(),
            bus: Arc::clone(bus),
            owner,
            generation,
            endpoint,
            max_packet_size,
            zero_packet: false,
            pending: 0,
            sequence: 0,
            first_pending: 0,
        }
    }

    fn token(&self, sequence: u32) -> u64 {
        u64::from(self.channel) << 32 | u64::from(sequence)
    }

    fn finish(&mut self, done: Completed) -> Completion {
        self.pending = self.pending.saturating_sub(1);
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
}

impl Queue for Line {
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
        let token = self.token(self.sequence);
        self.sequence = self.sequence.wrapping_add(1);
        self.pending += 1;
        let urb = Urb {
            token,
            endpoint: self.endpoint,
            setup: SetupPacket::default(),
            wanted: buffer.capacity(),
            buffer,
            zero_packet: self.zero_packet,
        };
        let request = Request::Submit(urb, Some(self.generation));
        self.bus.wire.request(request);
        Ok(())
    }

    fn set_zero_packet(&mut self, enabled: bool) {
        self.zero_packet = enabled;
    }

    fn pending(&self) -> usize {
        self.pending
    }

    fn try_next(&mut self) -> Option<Completion> {
        let done = self.bus.wire.try_take(self.channel)?;
        Some(self.finish(done))
    }

    fn next(&mut self, timeout: Duration) -> Option<Completion> {
        if self.pending == 0 {
            return None;
        }
        let done = self.bus.wire.take(self.channel, timeout)?;
        Some(self.finish(done))
    }

    fn cancel_all(&mut self) {
        let count = u32::try_from(self.pending).unwrap_or(u32::MAX);
        for offset in 0..count {
            let token = self.token(self.first_pending.wrapping_add(offset));
            self.bus.wire.request(Request::Cancel(token));
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cancel_all();
        while self.pending > 0 {
            // The device's thread answers every transfer; one that has ended has answered all.
            match self.bus.wire.take(self.channel, HOST_REQUEST) {
                Some(done) => drop(self.finish(done)),
                None => break,
            }
        }
        self.bus.wire.close_channel(self.channel);
    }
}

/// Event handling by a reactor.
pub(super) struct Handler {
    bus: Arc<Bus>,
    generation: u64,
    pumped: Arc<AtomicBool>,
    descriptors: [(RawFd, bool); 1],
}

impl Handler {
    /// Takes over; gives back, and clears `pumped`, when dropped.
    pub fn new(bus: &Arc<Bus>, generation: u64, pumped: Arc<AtomicBool>) -> Self {
        bus.wire.set_pumped(true);
        Self {
            descriptors: [(bus.wire.host_event().as_raw_fd(), false)],
            bus: Arc::clone(bus),
            generation,
            pumped,
        }
    }
}

impl Pump for Handler {
    fn descriptors(&self) -> &[(RawFd, bool)] {
        &self.descriptors
    }

    fn process(&mut self) -> Result<(), Error> {
        self.bus.wire.process();
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

impl Drop for Handler {
    fn drop(&mut self) {
        self.bus.wire.set_pumped(false);
        self.pumped.store(false, Ordering::SeqCst);
    }
}
