//! From the device to the host: datagrams are written straight from the receive buffers.
//!
//! All receive transfers stay queued. Completed ones are parsed in place and their datagrams handed
//! over from where they lie ([`Delivery`]); then the buffers go back into the queue. Where a host
//! takes large packets, the completed NTBs are handed over together, at most half of the transfers,
//! so that the queue does not run dry meanwhile. After a large NTB the device is left alone for
//! [`Downlink::REST`], so that a fast one has completed several by then. When a host takes no more,
//! the NTBs are held, further completions wait in the queue, and after [`Downlink::PATIENCE`] the
//! rest of these NTBs is dropped.
//!
//! When the kernel has no memory for a transfer, the control thread is asked to agree with the
//! device on smaller NTBs ([`Downlink::resize`]). Only at the least size are transfers given up, and
//! tried again later ([`Allowance`]).

use std::time::{Duration, Instant};

use uwwan_ncm::{DropCounters, Limits, Receiver};
use uwwan_usb::buffer::Buffer;
use uwwan_usb::device::Queue;
use uwwan_usb::error::{Error, TransferError};

use super::allowance::Allowance;
use super::delivery::{Delivery, Outlets};
use super::fault::{Fault, Faults};
use super::link::Seen;
use super::plan::ReceiveSizes;
use crate::counters::Tally;
use crate::failure::Failure;
use crate::raw::RawEventSender;

/// The receive side of one bring-up.
pub(super) struct Downlink {
    queue: Box<dyn Queue>,
    receiver: Receiver,
    /// The receiver's counters when they were last added to the tally.
    refused: DropCounters,
    /// Counts of earlier bring-ups.
    refused_before: DropCounters,
    /// Buffers that are not in a transfer.
    idle: Vec<Buffer>,
    /// Limit on the number of transfers.
    allowance: Allowance,
    /// Size in bytes of each buffer.
    size: usize,
    /// Size in bytes down to which a smaller size is asked for where memory is scarce.
    least: usize,
    /// Size in bytes of the largest NTB the device can send at all.
    size_max: usize,
    /// Number of transfers in flight whose buffers have the size from before the last change. They
    /// are not cancelled, so that no NTB is lost; their memory is free once they have completed.
    older: usize,
    /// The smaller size that the control thread is asked for; `None` when none is.
    wanted: Option<Wanted>,
    delivery: Delivery,
    /// Number of transfers handled in one round.
    per_round: usize,
    /// Number of buffers to keep once the cancelled transfers have completed; `None` unless the
    /// other direction needs memory.
    making_way: Option<usize>,
    /// Time until which a host without room is waited for.
    held: Option<Instant>,
    /// Time until which no transfer is submitted, after a burst of errors.
    paused_until: Option<Instant>,
    /// Time until which the device is not asked whether more transfers have completed.
    rest: Option<Instant>,
    faults: Faults,
    /// Whether the endpoint is halted.
    pub(super) halted: bool,
    /// Program that is told of received transfers.
    teller: Option<RawEventSender>,
}

/// Smaller size of buffers that was asked for and is not agreed yet.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// Whether the request has been reported to the control thread.
    said: bool,
    /// Whether the other direction waits for the memory.
    for_other: bool,
}

impl Downlink {
    /// Longest time for which the host may take no datagram before some are dropped.
    pub(super) const PATIENCE: Duration = Duration::from_millis(200);
    /// Pause after a burst of transfer errors (as in Linux usbnet.c).
    const THROTTLE: Duration = Duration::from_millis(125);
    /// Time for which the device is left alone after a large NTB, so that at rates above an NTB in
    /// that time several are handled together. A high-speed bus carries one or two of 16 KiB in it
    /// (USB 2.0 section 5.8.4), and the transfers queued hold far more.
    const REST: Duration = Duration::from_micros(500);
    /// Number of NTBs handled in one round before the other direction gets its turn.
    const NTBS_PER_ROUND: usize = 8;
    /// Number of transfers of one frame each handled in one round; they are as many bytes as a few NTBs.
    const FRAMES_PER_ROUND: usize = 32;

    /// Makes the receive side with `depth` buffers; `refused_before` has the counts of earlier
    /// bring-ups.
    pub(super) fn new(
        mut queue: Box<dyn Queue>,
        limits: Limits,
        sizes: ReceiveSizes,
        depth: usize,
        refused_before: DropCounters,
    ) -> Self {
        let size = whole_packets(&*queue, sizes.agreed);
        let least = whole_packets(&*queue, sizes.least);
        let size_max = whole_packets(&*queue, sizes.most.max(size));
        let mut idle: Vec<Buffer> = (0..depth.max(1)).map(|_| queue.allocate(size)).collect();
        idle.sort_by_key(Buffer::is_mapped);
        Self {
            queue,
            receiver: Receiver::new(limits),
            refused: DropCounters::default(),
            refused_before,
            idle,
            allowance: Allowance::new(depth),
            size,
            least,
            size_max,
            older: 0,
            wanted: None,
            delivery: Delivery::new(depth.clamp(1, Self::NTBS_PER_ROUND), limits.max_datagrams),
            per_round: Self::NTBS_PER_ROUND,
            making_way: None,
            held: None,
            paused_until: None,
            rest: None,
            faults: Faults::default(),
            halted: false,
            teller: None,
        }
    }

    /// Reports received transfers to a program, beside their usual handling.
    pub(super) fn tell(&mut self, teller: RawEventSender) {
        self.teller = Some(teller);
    }

    /// Returns whether a program is told of received transfers.
    pub(super) fn tells(&self) -> bool {
        self.teller.is_some()
    }

    /// Returns whether the program that is told still listens.
    pub(super) fn is_heard(&self) -> bool {
        self.teller.as_ref().is_some_and(RawEventSender::is_heard)
    }

    /// Reports to the program how a transfer of its own ended. Returns `false` when it does not listen
    /// any more.
    pub(super) fn tell_sent(
        &mut self,
        number: usize,
        length: usize,
        error: Option<String>,
    ) -> bool {
        let teller = self.teller.as_mut();
        let told = teller.is_some_and(|teller| teller.sent(number, length, error));
        self.teller.take_if(|_| !told);
        told
    }

    /// Ends the reports to the program, with a failure if there is one.
    pub(super) fn tell_no_more(&mut self, failure: Option<Failure>) {
        if let Some(teller) = self.teller.take()
            && let Some(failure) = failure
        {
            teller.fail(failure);
        }
    }

    /// Sets Ethernet frames instead of IP datagrams as the expected content.
    pub(super) fn carry_frames(&mut self, bare: bool) {
        if bare {
            self.per_round = Self::FRAMES_PER_ROUND;
        }
        self.delivery.carry_frames(bare);
    }

    /// Sets Ethernet frames for a host interface that carries IP, without NTBs where they are `bare`,
    /// as the expected content.
    pub(super) fn strip_frames(&mut self, bare: bool) {
        if bare {
            self.per_round = Self::FRAMES_PER_ROUND;
        }
        self.delivery.strip_frames(bare);
    }

    /// Returns the addresses and ARP packets found in such frames.
    pub(super) fn seen(&mut self) -> &mut Seen {
        &mut self.delivery.seen
    }

    /// Returns the address of the bulk IN endpoint.
    pub(super) fn endpoint(&self) -> u8 {
        self.queue.endpoint()
    }

    /// Returns whether the buffers are memory that the kernel shares with the program.
    pub(super) fn is_mapped(&self) -> bool {
        self.idle.first().is_some_and(Buffer::is_mapped)
    }

    /// Returns the number of transfers in use: those in flight, and those whose buffers wait for
    /// their host or to be submitted.
    pub(super) fn transfers(&self) -> usize {
        self.queue.pending() + self.idle.len() + self.delivery.ntbs()
    }

    /// Returns whether datagrams wait until a host is ready to take them.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Returns whether datagrams wait for the host of this session.
    pub(super) fn waits_for(&self, session: u8) -> bool {
        self.held.is_some() && self.delivery.waits_for(session)
    }

    /// Returns the time until which the device is not asked whether more transfers have completed.
    /// It may have passed.
    pub(super) fn resting(&self) -> Option<Instant> {
        self.rest
    }

    /// Returns the time at which to run again even without a completion.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.held.into_iter().chain(self.paused_until).min()
    }

    /// Returns whether the endpoint is halted and has nothing queued, so that the halt can be
    /// cleared.
    pub(super) fn can_clear_halt(&self) -> bool {
        self.halted && self.queue.pending() == 0
    }

    /// Records that the control thread has cleared the endpoint's halt.
    pub(super) fn halt_cleared(&mut self) {
        self.halted = false;
    }

    /// Handles completed transfers and queues their buffers again. Returns whether there may be
    /// further completions.
    ///
    /// Makes the system calls of [`Delivery::deliver`] and of [`Queue::submit`].
    ///
    /// # Errors
    /// [`Fault`] when the device is gone, the backend fails, there is no memory for a single
    /// transfer, or there were more transfer errors than [`Faults`] bears.
    pub(super) fn run(
        &mut self,
        outlets: &mut dyn Outlets,
        now: Instant,
        tally: &mut Tally,
    ) -> Result<bool, Fault> {
        self.resume(outlets, now, tally);
        self.rest.take_if(|until| now >= *until);
        let mut ntbs = 0;
        let mut more = true;
        while more && self.held.is_none() && ntbs < self.per_round {
            let together = if outlets.merge() {
                (self.queue.pending() / 2).clamp(1, self.per_round - ntbs)
            } else {
                1
            };
            let mut failure = None;
            while failure.is_none() && self.delivery.ntbs() < together {
                let Some(completion) = self.queue.try_next() else {
                    more = false;
                    break;
                };
                ntbs += 1;
                self.older = self.older.saturating_sub(1);
                self.allowance.ended();
                match completion.result {
                    Ok(length) => {
                        self.faults.clear();
                        if length >= self.size / 2 {
                            self.rest = Some(now + Self::REST);
                        }
                        self.take(completion.buffer, now, tally);
                    }
                    Err(error) => {
                        self.idle.push(completion.buffer);
                        failure = Some(error);
                    }
                }
            }
            self.deliver(outlets, now, tally);
            if let Some(error) = failure {
                self.failed(error, now, tally)?;
            }
            self.submit_idle(now, tally)?;
        }
        self.submit_idle(now, tally)?;
        Ok(more && self.held.is_none())
    }

    /// Parses the NTB in a completed transfer and lists its datagrams for delivery.
    fn take(&mut self, buffer: Buffer, now: Instant, tally: &mut Tally) {
        let length = buffer.filled().len();
        if length == 0 {
            // The transfer is the zero-length packet after an NTB that filled its transfer.
            self.idle.push(buffer);
            return;
        }
        if self.teller.is_some() {
            self.tell_came(&buffer, now);
        }
        tally.received_blocks += 1;
        tally.received_block_bytes += length as u64;
        let full = length == buffer.capacity();
        self.delivery.take(buffer, &mut self.receiver, tally);
        if self.receiver.drops != self.refused {
            if full && self.receiver.drops.block_length_beyond > self.refused.block_length_beyond {
                // The rest of the NTB comes with the next transfers.
                self.grow(tally);
            }
            self.refused = self.receiver.drops;
            tally.refused = self.refused_before;
            tally.refused.merge(&self.refused);
        }
    }

    #[cold]
    fn tell_came(&mut self, buffer: &Buffer, now: Instant) {
        self.teller
            .take_if(|teller| !teller.came(now, buffer.filled(), false));
    }

    /// Hands over the datagrams in hand, and holds those a host has no room for.
    fn deliver(&mut self, outlets: &mut dyn Outlets, now: Instant, tally: &mut Tally) {
        if self.delivery.deliver(outlets, tally) {
            self.held = None;
            self.idle.extend(self.delivery.release());
        } else {
            self.held = Some(now + Self::PATIENCE);
        }
    }

    /// Tries again to hand over held datagrams, and drops them when [`Self::PATIENCE`] is over.
    fn resume(&mut self, outlets: &mut dyn Outlets, now: Instant, tally: &mut Tally) {
        let Some(until) = self.held else {
            return;
        };
        let before = self.delivery.waiting();
        self.deliver(outlets, now, tally);
        if self.held.is_some() && self.delivery.waiting() == before {
            self.held = Some(until);
            if now >= until {
                tally.host_full += self.delivery.give_up() as u64;
                self.held = None;
                self.idle.extend(self.delivery.release());
            }
        }
    }

    /// Handles a transfer that ended with an error.
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

    /// Counts an NTB that was longer than the agreed size. A device that sends one ignores the
    /// agreement, so the buffers become large enough for the longest NTB it can send.
    fn grow(&mut self, tally: &mut Tally) {
        tally.receive_overflow += 1;
        if self.size < self.size_max {
            self.size = self.size_max;
            self.least = self.size_max;
            self.queue.cancel_all();
        }
    }

    /// Asks for smaller buffers. Returns `false` when they have the least size.
    fn want_less(&mut self) -> bool {
        if self.wanted.is_none() && self.size > self.least {
            self.wanted = Some(Wanted {
                said: false,
                for_other: false,
            });
        }
        self.wanted.is_some()
    }

    /// Returns whether memory will become free without fewer transfers: transfers of a larger size
    /// will complete, or smaller buffers are asked for.
    pub(super) fn will_free_memory(&mut self) -> bool {
        self.older = self.older.min(self.queue.pending());
        self.older > 0 || self.want_less()
    }

    /// Returns whether the control thread is to agree on smaller NTBs with the device. A second call
    /// returns `false`.
    pub(super) fn take_short_of_memory(&mut self) -> bool {
        let unsaid = self.wanted.as_mut().filter(|wanted| !wanted.said);
        unsaid.is_some_and(|wanted| !std::mem::replace(&mut wanted.said, true))
    }

    /// Uses buffers for the agreed size in bytes, and none smaller than `least` from here on.
    /// Transfers in flight keep their size, unless the other direction waits for their memory.
    pub(super) fn resize(&mut self, size: usize, least: usize) {
        let before = std::mem::replace(&mut self.size, whole_packets(&*self.queue, size));
        self.least = whole_packets(&*self.queue, least);
        let for_other = self.wanted.take().is_some_and(|wanted| wanted.for_other);
        if self.size != before {
            self.older = self.queue.pending();
        }
        if for_other {
            if self.size < before {
                self.queue.cancel_all();
            } else {
                self.make_way();
            }
        }
    }

    /// Gives memory to the other direction: that of transfers of a larger size, that which smaller
    /// buffers free, or at the least size half of the buffers. Returns `false` when there is only
    /// one buffer.
    pub(super) fn make_way(&mut self) -> bool {
        if self.making_way.is_some() {
            return true;
        }
        self.older = self.older.min(self.queue.pending());
        if self.older > 0 {
            self.queue.cancel_all();
            return true;
        }
        if self.want_less() {
            self.wanted
                .iter_mut()
                .for_each(|wanted| wanted.for_other = true);
            return true;
        }
        self.halve()
    }

    /// Returns whether nothing is in flight, although there are buffers for it.
    pub(super) fn is_starved(&self) -> bool {
        self.queue.pending() == 0 && !self.idle.is_empty()
    }

    /// Keeps half of the buffers. Returns `false` when there is only one.
    pub(super) fn halve(&mut self) -> bool {
        let most = self.queue.pending() + self.idle.len();
        if most < 2 {
            return false;
        }
        self.making_way = Some(most / 2);
        self.queue.cancel_all();
        true
    }

    /// Keeps only the transfers that are in flight, if no memory will become free for others.
    pub(super) fn fit(&mut self, now: Instant, tally: &mut Tally) {
        let in_flight = self.queue.pending();
        if in_flight > 0 && !self.idle.is_empty() && !self.will_free_memory() {
            self.allowance.lower(now, in_flight);
            self.give_up(tally);
        }
    }

    /// Frees the idle buffers beyond the allowance.
    fn give_up(&mut self, tally: &mut Tally) {
        let others = self.transfers() - self.idle.len();
        let most = self.allowance.limit().saturating_sub(others);
        tally.transfers_given_up += self.idle.len().saturating_sub(most) as u64;
        self.idle.truncate(most);
    }

    /// Makes the buffers of transfers that were given up and are due to be tried again.
    fn try_more(&mut self, now: Instant) {
        if self.allowance.raise(now) {
            for _ in self.transfers()..self.allowance.limit() {
                // The buffer goes behind those that have their memory.
                let buffer = self.queue.allocate(self.size);
                self.idle.insert(0, buffer);
            }
        }
    }

    /// Returns whether the memory that the other direction needs is still waited for.
    pub(super) fn is_making_way(&self) -> bool {
        self.making_way.is_some() || self.older > 0 || self.wanted.is_some()
    }

    /// Replaces buffers of other sizes by ones of the present size. The memory of all those is freed
    /// before any is asked for. Buffers that have their memory already are the next to be submitted.
    fn replace_idle(&mut self) {
        let before = self.idle.len();
        self.idle.retain(|buffer| buffer.capacity() == self.size);
        if self.idle.len() == before {
            return;
        }
        for _ in self.idle.len()..before {
            let buffer = self.queue.allocate(self.size);
            self.idle.push(buffer);
        }
        self.idle.sort_by_key(Buffer::is_mapped);
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
        if let Some(most) = self.making_way {
            if self.queue.pending() > 0 {
                return Ok(());
            }
            self.allowance.lower(now, most);
            self.give_up(tally);
            self.making_way = None;
        }
        self.try_more(now);
        self.replace_idle();
        while let Some(buffer) = self.idle.pop() {
            let Err(rejected) = self.queue.submit(buffer) else {
                continue;
            };
            match rejected.error {
                Error::NoMemory { .. } if self.will_free_memory() => {
                    self.idle.push(rejected.buffer);
                    return Ok(());
                }
                // The next completion frees memory for the remaining buffers.
                Error::NoMemory { .. } if self.queue.pending() > 0 => {
                    self.idle.push(rejected.buffer);
                    self.allowance.refused(now, self.queue.pending());
                    self.give_up(tally);
                    return Ok(());
                }
                error @ Error::NoMemory { .. } => {
                    self.idle.push(rejected.buffer);
                    return Err(Fault::Memory(error.to_string()));
                }
                Error::Gone { .. } => return Err(Fault::Gone),
                error => return Err(Fault::Backend(error.to_string())),
            }
        }
        Ok(())
    }

    /// Returns the number of NTBs in a row that had data under a header of zeros, as a device sends
    /// them that needs the other format.
    pub(super) fn empty_headers(&self) -> u32 {
        self.receiver.zero_headers_in_a_row
    }

    /// Returns the queue, to be drained.
    pub(super) fn into_queue(self) -> Box<dyn Queue> {
        self.queue
    }
}

/// Returns the size in bytes of a buffer for NTBs of `size` bytes: a whole number of packets,
/// because the last packet would otherwise be too long for the buffer.
fn whole_packets(queue: &dyn Queue, size: usize) -> usize {
    let packet = usize::from(queue.max_packet_size()).max(1);
    size.max(packet).next_multiple_of(packet)
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
