//! From the device to the host: datagrams are written straight from the receive buffer.
//!
//! All receive transfers stay queued. A completed one is parsed in place and each datagram is
//! written to the host from where it lies; then the buffer goes back into the queue. When the host
//! takes no more, the block is held, further completions wait in the queue, and after
//! [`Downlink::PATIENCE`] what is left of the block is dropped.

use std::io;
use std::time::{Duration, Instant};

use uwwan_ncm::{DropCounters, Limits, Receiver, Stream};
use uwwan_usb::buffer::Buffer;
use uwwan_usb::device::Queue;
use uwwan_usb::error::{Error, TransferError};

use super::{Fault, Faults};
use crate::counters::Tally;
use crate::host::HostEnd;

/// The receive side of one bring-up.
pub(super) struct Downlink {
    queue: Box<dyn Queue>,
    receiver: Receiver,
    /// The receiver's counters as last seen, and what was counted before it.
    refused: DropCounters,
    refused_before: DropCounters,
    /// Buffers not in a transfer.
    idle: Vec<Buffer>,
    size: usize,
    /// The largest block the device can send at all.
    size_max: usize,
    held: Option<Held>,
    /// Datagrams of the block in hand: session, offset and length.
    ranges: Vec<(u8, usize, usize)>,
    paused_until: Option<Instant>,
    faults: Faults,
    pub(super) halted: bool,
}

/// A block of which the host has not taken everything.
struct Held {
    buffer: Buffer,
    /// The next of the ranges to deliver.
    next: usize,
    /// That one has been inspected.
    inspected: bool,
    until: Instant,
}

/// What the reactor does with a datagram besides handing it to the host.
pub(super) trait Inspect {
    /// Sees a datagram before the host; `false` keeps it from the host.
    fn inspect(&mut self, datagram: &[u8], tally: &mut Tally) -> bool;

    /// The host has taken one of so many bytes.
    fn delivered(&mut self, bytes: usize);
}

/// Where datagrams go.
pub(super) trait Outlets {
    /// The host's end of a session, and who looks on; `None` when there is no such session.
    fn outlet(&mut self, session: u8) -> Option<(&dyn HostEnd, &mut dyn Inspect)>;
}

impl Downlink {
    /// How long the host may take no datagram before some are dropped.
    pub(super) const PATIENCE: Duration = Duration::from_millis(200);
    /// Pause after a burst of transfer errors (as in Linux usbnet.c).
    const THROTTLE: Duration = Duration::from_millis(125);
    /// Blocks handled in one round before the other direction gets its turn.
    const BLOCKS_PER_ROUND: usize = 8;

    /// `size` and `size_max` are the block sizes agreed on and announced, in bytes;
    /// `refused_before` is what earlier bring-ups have counted.
    pub(super) fn new(
        mut queue: Box<dyn Queue>,
        limits: Limits,
        size: usize,
        size_max: usize,
        depth: usize,
        refused_before: DropCounters,
    ) -> Self {
        let packet = usize::from(queue.max_packet_size()).max(1);
        // A whole number of packets, or the last packet would be too long for the buffer.
        let size = size.max(packet).next_multiple_of(packet);
        let size_max = size_max.max(size).next_multiple_of(packet);
        let idle = (0..depth.max(1)).map(|_| queue.allocate(size)).collect();
        Self {
            queue,
            receiver: Receiver::new(limits),
            refused: DropCounters::default(),
            refused_before,
            idle,
            size,
            size_max,
            held: None,
            ranges: Vec::with_capacity(limits.max_datagrams),
            paused_until: None,
            faults: Faults::default(),
            halted: false,
        }
    }

    pub(super) fn endpoint(&self) -> u8 {
        self.queue.endpoint()
    }

    pub(super) fn is_mapped(&self) -> bool {
        self.idle.first().is_some_and(Buffer::is_mapped)
    }

    pub(super) fn pending(&self) -> usize {
        self.queue.pending()
    }

    /// The session whose host's readiness to take datagrams is waited for.
    pub(super) fn waits_for(&self) -> Option<u8> {
        let held = self.held.as_ref()?;
        self.ranges.get(held.next).map(|(session, ..)| *session)
    }

    /// When to run again without a completion.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let held = self.held.as_ref().map(|held| held.until);
        held.into_iter().chain(self.paused_until).min()
    }

    pub(super) fn can_clear_halt(&self) -> bool {
        self.halted && self.queue.pending() == 0
    }

    pub(super) fn halt_cleared(&mut self) {
        self.halted = false;
    }

    /// Handles completed transfers and queues buffers again. Returns the datagrams handed over,
    /// and whether completions may be left.
    ///
    /// Makes the system calls of [`HostEnd::send`] and of [`Queue::submit`].
    pub(super) fn run(
        &mut self,
        outlets: &mut dyn Outlets,
        now: Instant,
        tally: &mut Tally,
    ) -> Result<bool, Fault> {
        let mut more = false;
        self.resume(outlets, now, tally);
        let mut blocks = 0;
        while self.held.is_none() {
            if blocks == Self::BLOCKS_PER_ROUND {
                more = true;
                break;
            }
            let Some(completion) = self.queue.try_next() else {
                break;
            };
            blocks += 1;
            let buffer = completion.buffer;
            match completion.result {
                Ok(_) => {
                    self.faults.clear();
                    self.take(buffer, outlets, now, tally);
                }
                Err(error) => {
                    self.idle.push(buffer);
                    self.failed(error, now, tally)?;
                }
            }
            self.submit_idle(now, tally)?;
        }
        self.submit_idle(now, tally)?;
        Ok(more)
    }

    /// Parses a block and delivers it, or holds it.
    fn take(&mut self, buffer: Buffer, outlets: &mut dyn Outlets, now: Instant, tally: &mut Tally) {
        let block = buffer.filled();
        if block.is_empty() {
            // A zero-length packet after a block that filled its transfer.
            self.idle.push(buffer);
            return;
        }
        tally.received_blocks += 1;
        tally.received_block_bytes += block.len() as u64;
        let ranges = &mut self.ranges;
        let other = &mut tally.no_session;
        ranges.clear();
        self.receiver
            .receive(block, |datagram| match datagram.stream {
                Stream::Ips(session) => {
                    ranges.push((session, datagram.range.start, datagram.range.len()));
                }
                _ => *other += 1,
            });
        let full = block.len() == buffer.capacity();
        if self.receiver.drops != self.refused {
            if full && self.receiver.drops.block_length_beyond > self.refused.block_length_beyond {
                // What is missing comes with the transfers behind.
                self.grow(tally);
            }
            self.refused = self.receiver.drops;
            tally.refused = self.refused_before;
            tally.refused.merge(&self.refused);
        }
        self.deliver(
            Held {
                buffer,
                next: 0,
                inspected: false,
                until: now + Self::PATIENCE,
            },
            outlets,
            tally,
        );
    }

    fn resume(&mut self, outlets: &mut dyn Outlets, now: Instant, tally: &mut Tally) {
        let Some(held) = self.held.take() else {
            return;
        };
        let (next, until) = (held.next, held.until);
        self.deliver(held, outlets, tally);
        if let Some(held) = self.held.as_mut() {
            if held.next > next {
                held.until = now + Self::PATIENCE;
            } else if now >= until {
                tally.host_full += (self.ranges.len() - next) as u64;
                if let Some(held) = self.held.take() {
                    self.idle.push(held.buffer);
                }
            }
        }
    }

    /// Writes what is left of a block to the host; holds it when the host has no room.
    fn deliver(&mut self, mut held: Held, outlets: &mut dyn Outlets, tally: &mut Tally) {
        let block = held.buffer.filled();
        while let Some(&(session, start, length)) = self.ranges.get(held.next) {
            let datagram = &block[start..start + length];
            let Some((host, inspect)) = outlets.outlet(session) else {
                tally.no_session += 1;
                held.next += 1;
                held.inspected = false;
                continue;
            };
            if !held.inspected && !inspect.inspect(datagram, tally) {
                held.next += 1;
                continue;
            }
            held.inspected = true;
            match host.send(datagram) {
                Ok(_) => {
                    inspect.delivered(length);
                    tally.received_packets += 1;
                    tally.received_bytes += length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.held = Some(held);
                    return;
                }
                Err(_) => tally.host_refused += 1,
            }
            held.next += 1;
            held.inspected = false;
        }
        self.idle.push(held.buffer);
    }

    fn failed(
        &mut self,
        error: TransferError,
        now: Instant,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        match error {
            TransferError::Gone => return Err(Fault::Gone),
            TransferError::Cancelled => return Ok(()),
            TransferError::Stall => {
                if !self.halted {
                    tally.receive_stall += 1;
                }
                self.halted = true;
                self.queue.cancel_all();
            }
            TransferError::Overflow => self.grow(tally),
            TransferError::Timeout | TransferError::Fault => {
                tally.receive_fault += 1;
                self.paused_until = Some(now + Self::THROTTLE);
            }
        }
        self.faults.add(now).map_err(|()| Fault::Receive(error))
    }

    /// Counts a block that was longer than agreed on. The device ignores what it was told: buffers
    /// for the largest it can send.
    fn grow(&mut self, tally: &mut Tally) {
        tally.receive_overflow += 1;
        if self.size < self.size_max {
            self.size = self.size_max;
            self.queue.cancel_all();
        }
    }

    /// Queues every buffer that is not in use.
    pub(super) fn submit_idle(&mut self, now: Instant, tally: &mut Tally) -> Result<(), Fault> {
        if self.paused_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        self.paused_until = None;
        if self.halted {
            return Ok(());
        }
        while let Some(mut buffer) = self.idle.pop() {
            if buffer.capacity() < self.size {
                buffer = self.queue.allocate(self.size);
            }
            let Err(rejected) = self.queue.submit(buffer) else {
                continue;
            };
            match rejected.error {
                Error::NoMemory { .. } if self.queue.pending() > 0 => tally.transfers_given_up += 1,
                Error::Gone { .. } => return Err(Fault::Gone),
                error => return Err(Fault::Backend(error.to_string())),
            }
        }
        Ok(())
    }

    /// Blocks in a row that had data under a header of zeros: the device may need the other
    /// format.
    pub(super) fn empty_headers(&self) -> u32 {
        self.receiver.zero_headers_in_a_row
    }

    /// Gives the queue back, to be drained.
    pub(super) fn into_queue(self) -> Box<dyn Queue> {
        self.queue
    }
}

impl std::fmt::Debug for Downlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Downlink")
            .field("pending", &self.queue.pending())
            .field("idle", &self.idle.len())
            .field("held", &self.held.is_some())
            .finish_non_exhaustive()
    }
}
