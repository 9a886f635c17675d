//! From the host to the device: datagrams are read straight into the open block.
//!
//! One block is open at a time. [`Uplink::fill`] reads datagrams from the host to their final
//! offsets in a USB buffer; the block leaves when nothing more fits, or when the host has nothing
//! more to send and fewer than [`Uplink::SEND_BELOW`] transfers are in flight. Otherwise it stays
//! open and keeps filling, and the completion of a transfer ahead of it lets it go. No timer.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use uwwan_ncm::{Builder, Framing, Full, Stream};
use uwwan_usb::buffer::Buffer;
use uwwan_usb::device::Queue;
use uwwan_usb::error::{Error, TransferError};

use super::lines::Flow;
use super::{Fault, Faults};
use crate::counters::Tally;
use crate::host::HostEnd;
use crate::packet;
use crate::watch::Watch;

/// Where the datagrams of one session come from, and what is kept of them.
pub(super) struct Inlet<'a> {
    pub(super) host: &'a dyn HostEnd,
    pub(super) stream: Stream,
    pub(super) mtu: usize,
    pub(super) watch: &'a mut Watch,
    pub(super) flow: &'a mut Flow,
}

/// The transmit side of one bring-up.
pub(super) struct Uplink {
    queue: Box<dyn Queue>,
    builder: Builder,
    free: Vec<Buffer>,
    open: Option<Buffer>,
    /// Finished blocks that the kernel had no memory for or a halted endpoint did not take; they
    /// go first, in order.
    again: VecDeque<Buffer>,
    /// No host had anything more at the last read.
    drained: bool,
    faults: Faults,
    pub(super) halted: bool,
}

impl Uplink {
    /// Below this many transfers in flight, a block that cannot be filled further right away
    /// leaves. Two keep the bus busy while the next block fills; a lone packet finds none.
    const SEND_BELOW: usize = 2;
    /// Full blocks built in one round before the other direction gets its turn.
    const BLOCKS_PER_ROUND: usize = 4;

    pub(super) fn new(mut queue: Box<dyn Queue>, framing: Framing, depth: usize) -> Self {
        let builder = Builder::new(framing);
        let size = builder.framing().max_block;
        let free = (0..depth.max(1)).map(|_| queue.allocate(size)).collect();
        Self {
            queue,
            builder,
            free,
            open: None,
            again: VecDeque::with_capacity(depth.max(1)),
            drained: true,
            faults: Faults::default(),
            halted: false,
        }
    }

    pub(super) fn endpoint(&self) -> u8 {
        self.queue.endpoint()
    }

    pub(super) fn is_mapped(&self) -> bool {
        self.free.first().is_some_and(Buffer::is_mapped)
    }

    /// Whether there is room for a datagram: the host is only read then, so that what we cannot
    /// take waits in the host's own queues.
    pub(super) fn wants_input(&self) -> bool {
        !self.halted && self.again.is_empty() && (self.open.is_some() || !self.free.is_empty())
    }

    /// Takes completed transfers back.
    pub(super) fn reap(&mut self, now: Instant, tally: &mut Tally) -> Result<(), Fault> {
        while let Some(completion) = self.queue.try_next() {
            match completion.result {
                Ok(_) => self.faults.clear(),
                Err(TransferError::Gone) => return Err(Fault::Gone),
                Err(error @ (TransferError::Stall | TransferError::Cancelled)) => {
                    if error == TransferError::Stall {
                        if !self.halted {
                            tally.send_stall += 1;
                        }
                        self.halted = true;
                        self.queue.cancel_all();
                        self.faults.add(now).map_err(|()| Fault::Send(error))?;
                    }
                    // The device has not taken it.
                    self.again.push_back(completion.buffer);
                    continue;
                }
                Err(error) => {
                    tally.lost_in_transfer += 1;
                    tally.send_fault += 1;
                    self.faults.add(now).map_err(|()| Fault::Send(error))?;
                }
            }
            self.free.push(completion.buffer);
        }
        if !self.halted {
            for _ in 0..self.again.len() {
                let Some(buffer) = self.again.pop_front() else {
                    break;
                };
                if !self.submit(buffer, tally)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether the endpoint is halted and nothing is queued on it any more, so that the halt can
    /// be cleared.
    pub(super) fn can_clear_halt(&self) -> bool {
        self.halted && self.queue.pending() == 0
    }

    pub(super) fn halt_cleared(&mut self) {
        self.halted = false;
    }

    /// Reads from a session's host until it has nothing more (`true`), no buffer is free, or the
    /// round is over. An open block of another session is closed first where it can carry only one.
    ///
    /// Makes the system calls of [`HostEnd::receive`] and of [`Queue::submit`].
    pub(super) fn fill(
        &mut self,
        inlet: Inlet<'_>,
        now: Instant,
        tally: &mut Tally,
    ) -> Result<bool, Fault> {
        let armed = inlet.watch.armed(now);
        let mut blocks = 0;
        loop {
            if !self.wants_input() || (self.open.is_none() && blocks == Self::BLOCKS_PER_ROUND) {
                return Ok(false);
            }
            if self.open.is_none() {
                self.open = self.free.pop();
            }
            let Some(buffer) = self.open.as_mut() else {
                return Ok(false);
            };
            let slot = match self.builder.place(inlet.stream, inlet.mtu) {
                Ok(slot) => slot,
                Err(Full::TooLong) => return Err(Fault::Framing),
                Err(_) => {
                    self.close(tally)?;
                    blocks += 1;
                    continue;
                }
            };
            let room = &mut buffer.bytes_mut()[slot.offset..slot.offset + slot.room];
            let length = match inlet.host.receive(room) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Fault::Host(error.to_string())),
            };
            let datagram = &room[..length];
            if !packet::is_ip(datagram) {
                tally.host_not_ip += 1;
                continue;
            }
            if length > inlet.mtu || packet::is_cut(datagram) {
                tally.host_too_long += 1;
                continue;
            }
            if armed && packet::deserves_answer(datagram) {
                inlet.watch.sent(now);
            }
            self.builder.commit(slot, length);
            inlet.flow.sent_packets += 1;
            inlet.flow.sent_bytes += length as u64;
        }
    }

    /// Puts a datagram of our own into the open block.
    pub(super) fn inject(
        &mut self,
        stream: Stream,
        datagram: &[u8],
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        for _ in 0..2 {
            if !self.wants_input() {
                break;
            }
            if self.open.is_none() {
                self.open = self.free.pop();
            }
            let Some(buffer) = self.open.as_mut() else {
                break;
            };
            match self.builder.place(stream, datagram.len()) {
                Ok(slot) => {
                    buffer.bytes_mut()[slot.offset..slot.offset + datagram.len()]
                        .copy_from_slice(datagram);
                    self.builder.commit(slot, datagram.len());
                    return Ok(());
                }
                Err(Full::TooLong) => break,
                Err(_) => self.close(tally)?,
            }
        }
        tally.own_no_room += 1;
        Ok(())
    }

    /// Whether every host is known to have nothing more to send.
    pub(super) fn set_drained(&mut self, drained: bool) {
        self.drained = drained;
    }

    /// Lets the open block go when it has nothing to wait for.
    pub(super) fn flush(&mut self, tally: &mut Tally) -> Result<(), Fault> {
        let leaves = self.drained
            && !self.halted
            && self.again.is_empty()
            && !self.builder.is_empty()
            && self.queue.pending() < Self::SEND_BELOW;
        if leaves { self.close(tally) } else { Ok(()) }
    }

    fn close(&mut self, tally: &mut Tally) -> Result<(), Fault> {
        let Some(mut buffer) = self.open.take() else {
            return Ok(());
        };
        let finished = self.builder.finish(buffer.bytes_mut());
        if finished.length == 0 {
            self.free.push(buffer);
            return Ok(());
        }
        match finished.reason {
            None => tally.closed_idle += 1,
            Some(Full::Datagrams) => tally.closed_datagrams += 1,
            Some(Full::Stream) => tally.closed_stream += 1,
            Some(Full::Room | Full::TooLong) => tally.closed_full += 1,
        }
        tally.sent_packets += finished.datagrams as u64;
        tally.sent_bytes += finished.payload as u64;
        tally.sent_blocks += 1;
        tally.sent_block_bytes += finished.length as u64;
        buffer.set_len(finished.length);
        self.queue.set_zero_packet(finished.zero_packet);
        self.submit(buffer, tally).map(drop)
    }

    /// `false` when the block has to wait.
    fn submit(&mut self, buffer: Buffer, tally: &mut Tally) -> Result<bool, Fault> {
        let Err(rejected) = self.queue.submit(buffer) else {
            return Ok(true);
        };
        match rejected.error {
            // With others in flight the block waits for one of them; its memory is then free.
            Error::NoMemory { .. } if self.queue.pending() > 0 => {
                tally.transfers_given_up += 1;
                self.free.clear();
                self.again.push_front(rejected.buffer);
                Ok(false)
            }
            Error::Gone { .. } => Err(Fault::Gone),
            error => Err(Fault::Backend(error.to_string())),
        }
    }

    /// Gives the queue back, to be drained.
    pub(super) fn into_queue(self) -> Box<dyn Queue> {
        self.queue
    }
}

impl std::fmt::Debug for Uplink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uplink")
            .field("pending", &self.queue.pending())
            .field("free", &self.free.len())
            .field("open", &self.builder.datagrams())
            .finish_non_exhaustive()
    }
}
