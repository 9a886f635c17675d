//! Transfers of one endpoint.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ::nusb::Endpoint;
use ::nusb::transfer::{
    Buffer as Transferred, BulkOrInterrupt, Completion as Ended, EndpointDirection,
    TransferError as Fault,
};

use super::errors::{is_no_memory, to_refusal, to_transfer_error};
use super::inner::Inner;
use super::memory::{self, Area, Mark};
use super::parking::{self, Closed, Parked, Parking};
use super::wake::{Bell, deadline};
use crate::buffer::{Buffer, Memory};
use crate::descriptors;
use crate::device::{Completion, Queue, Rejected};
use crate::error::{Error, TransferError};

/// Room made in advance; queues may be kept deeper.
const DEPTH: usize = 32;
/// How long to wait for cancelled transfers before they are left to nusb.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// No transfer is longer, in bytes: the kernel counts them in a signed integer.
const LONGEST: usize = i32::MAX as usize;

/// A transfer that nusb has.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Block(Block),
    /// The zero-length packet after the block before it.
    ZeroPacket,
}

/// A transfer as submitted.
#[derive(Debug, Clone, Copy)]
struct Block {
    mark: Mark,
    /// Whether a zero-length packet follows.
    zero_packet: bool,
    /// Whether it was refused before.
    again: bool,
    /// Whether its owner has cancelled it.
    cancelled: bool,
}

/// Transfers of one endpoint.
pub(super) struct NusbQueue<K: BulkOrInterrupt, D: EndpointDirection> {
    /// Here while transfers are pending, else in `parking`.
    endpoint: Option<Endpoint<K, D>>,
    parking: Arc<Parking<K, D>>,
    interface: u8,
    described: descriptors::Endpoint,
    /// What receive transfers are multiples of.
    packet: usize,
    bell: Arc<Bell>,
    waker: Waker,
    zero_packet: bool,
    /// What nusb has, the oldest first.
    slots: VecDeque<Slot>,
    /// What ended and was found too early.
    ended: VecDeque<Completion>,
    /// A block whose zero-length packet has not ended.
    half: Option<Completion>,
    /// Submitted, and not taken from here.
    pending: usize,
    /// The most slots there were at once.
    deepest: usize,
    /// Whether the kernel refused the last of the slots.
    refused: bool,
    inner: Arc<Inner>,
}

impl<K: BulkOrInterrupt + 'static, D: EndpointDirection + 'static> NusbQueue<K, D> {
    pub(super) fn new(
        inner: Arc<Inner>,
        interface: u8,
        described: descriptors::Endpoint,
        endpoint: Endpoint<K, D>,
    ) -> Self {
        let packet = endpoint.max_packet_size().max(1);
        let parking = Arc::new(Parking::new(interface, endpoint));
        let weak: Weak<dyn parking::Place> = Arc::downgrade(&parking) as _;
        inner.add_parking(weak);
        let bell = Bell::new(Arc::clone(&inner.signal));
        Self {
            endpoint: None,
            parking,
            interface,
            described,
            packet,
            waker: Arc::clone(&bell).into(),
            bell,
            zero_packet: false,
            slots: VecDeque::with_capacity(DEPTH),
            ended: VecDeque::with_capacity(DEPTH),
            half: None,
            pending: 0,
            deepest: 0,
            refused: false,
            inner,
        }
    }
}

impl<K: BulkOrInterrupt, D: EndpointDirection> NusbQueue<K, D> {
    fn operation(&self) -> String {
        let (endpoint, device) = (self.described.address, &self.inner.place.identity);
        format!("submit a transfer on endpoint {endpoint:02x} of {device}")
    }

    /// What a receive transfer of `capacity` bytes asks for.
    fn asked(&self, capacity: usize) -> usize {
        capacity.max(1).next_multiple_of(self.packet)
    }

    /// The buffer as nusb takes it.
    fn lend(&self, buffer: Buffer) -> (Transferred, Mark) {
        let (memory, length) = buffer.into_memory();
        if self.described.is_in() {
            let asked = self.asked(memory.bytes().len());
            let area = match memory {
                Memory::Nusb(area) if area.room() >= asked => area,
                // Too small to be filled up to a whole packet. It comes back as this one.
                other => Area::new(Transferred::new(asked), other.bytes().len()),
            };
            area.lend(asked)
        } else {
            let bytes = match memory {
                Memory::Heap(bytes) => bytes,
                other => other.bytes().into(),
            };
            memory::lend_heap(bytes, length)
        }
    }

    /// The buffer as its owner knows it, with `length` bytes of payload.
    fn back(&self, buffer: Transferred, mark: Mark, length: usize) -> Buffer {
        let memory = if self.described.is_in() {
            Memory::Nusb(Area::back(buffer, mark))
        } else {
            Memory::Heap(memory::from_heap(buffer, mark))
        };
        Buffer::from_memory(memory, length.min(mark.capacity()))
    }

    /// Fetches the endpoint for a transfer.
    fn unpark(&mut self) -> Result<(), Error> {
        if self.endpoint.is_some() {
            return Ok(());
        }
        let endpoint = match self.parking.leave() {
            Ok(endpoint) => Ok(endpoint),
            Err(Closed) => self
                .inner
                .open_endpoint(self.interface, self.described.address, || self.operation()),
        };
        match endpoint {
            Ok(endpoint) => {
                self.endpoint = Some(endpoint);
                Ok(())
            }
            Err(error) => {
                self.parking.enter(None);
                self.inner.place.gone_if_absent("submit a transfer")?;
                Err(match error {
                    Error::NoSuchEndpoint { operation } => to_refusal(Fault::Cancelled, operation),
                    error => error,
                })
            }
        }
    }

    /// Leaves the endpoint where others can get at it, when no transfer is pending.
    fn park(&mut self) {
        if self.slots.is_empty() {
            self.refused = false;
            if let Some(endpoint) = self.endpoint.take() {
                self.parking.enter(Some(endpoint));
            }
        }
    }

    /// Hands a transfer to nusb, and its zero-length packet.
    fn launch(&mut self, buffer: Transferred, block: Block) {
        let refused = self.hand_over(buffer, Slot::Block(block));
        if block.zero_packet && !refused {
            self.hand_over(Transferred::new(0), Slot::ZeroPacket);
        }
    }

    /// Hands it one thing. Whether the kernel is known to have refused it.
    fn hand_over(&mut self, buffer: Transferred, slot: Slot) -> bool {
        let Some(endpoint) = self.endpoint.as_mut() else {
            return true;
        };
        let alone = self.slots.is_empty();
        let refused = self.bell.refuses(|| endpoint.submit(buffer));
        self.slots.push_back(slot);
        self.deepest = self.deepest.max(self.slots.len());
        // Alone, it says itself why.
        self.refused |= refused && !alone;
        if refused && !alone {
            // The bell has rung for that; the others may need it.
            self.find_ended();
        }
        refused
    }

    /// The oldest slot's end, if nusb has it. Arms the bell otherwise.
    fn poll(&mut self) -> Option<Ended> {
        if self.slots.is_empty() {
            return None;
        }
        self.bell.arm();
        let mut context = Context::from_waker(&self.waker);
        match self.endpoint.as_mut()?.poll_next_complete(&mut context) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending => None,
        }
    }

    /// Puts everything that has ended aside, and so arms the bell, which will not ring for that.
    fn find_ended(&mut self) {
        while let Some(ended) = self.poll() {
            let completion = self.settle(ended);
            self.ended.extend(completion);
        }
        if !self.ended.is_empty() && !self.bell.is_muted() {
            self.inner.signal.ring();
        }
    }

    /// Takes the oldest slot, which has ended so. `None` when that is not all there is to it.
    fn settle(&mut self, ended: Ended) -> Option<Completion> {
        let slot = self.slots.pop_front()?;
        if ended.status == Err(Fault::Disconnected) {
            // A reset ends transfers in this way as well.
            self.inner.signal.check_gone();
        }
        let block = match slot {
            Slot::ZeroPacket => {
                let mut completion = self.half.take()?;
                if let (Ok(_), Err(fault)) = (completion.result, ended.status) {
                    completion.result = Err(to_transfer_error(fault, false));
                }
                return Some(completion);
            }
            Slot::Block(block) => block,
        };
        let never_began = ended.status.is_err_and(is_no_memory);
        if never_began && !block.again && !block.cancelled {
            // What was ahead of it has ended and given its memory back.
            self.refused &= !self.slots.is_empty();
            let again = Block {
                again: true,
                ..block
            };
            self.launch(ended.buffer, again);
            return None;
        }
        let completion = self.completion(ended, block, never_began);
        if block.zero_packet && matches!(self.slots.front(), Some(Slot::ZeroPacket)) {
            self.half = Some(completion);
            return None;
        }
        Some(completion)
    }

    fn completion(&self, ended: Ended, block: Block, never_began: bool) -> Completion {
        let (moved, capacity) = (ended.actual_len, block.mark.capacity());
        let inward = self.described.is_in();
        let result = match ended.status {
            Ok(()) if inward && moved > capacity => Err(TransferError::Overflow),
            Ok(()) => Ok(moved),
            Err(_) if never_began && block.cancelled => Err(TransferError::Cancelled),
            Err(fault) => {
                let full = inward && moved >= self.asked(capacity);
                Err(to_transfer_error(fault, full))
            }
        };
        let length = if inward { moved } else { ended.buffer.len() };
        Completion {
            buffer: self.back(ended.buffer, block.mark, length),
            result,
        }
    }

    /// The oldest completion. Without one the bell is armed and tells.
    fn take(&mut self) -> Option<Completion> {
        let mut taken = self.ended.pop_front();
        while taken.is_none() {
            if let Some(ended) = self.poll() {
                taken = self.settle(ended);
            } else if self.bell.is_muted() {
                self.bell.mute(false);
            } else {
                break;
            }
        }
        self.park();
        self.pending -= usize::from(taken.is_some());
        taken
    }

    /// Waits for the oldest completion until `deadline`.
    fn wait(&mut self, deadline: Instant) -> Option<Completion> {
        self.bell.begin_wait();
        let taken = loop {
            let taken = self.take();
            let left = deadline.saturating_duration_since(Instant::now());
            if taken.is_some() || self.slots.is_empty() || left.is_zero() {
                break taken;
            }
            std::thread::park_timeout(left);
        };
        self.bell.end_wait();
        // Looking once more arms the bell for the pump.
        taken.or_else(|| self.take())
    }

    /// What a lone transfer that the kernel refused says.
    fn refusal(&mut self) -> Option<(Buffer, Error)> {
        let ended = self.poll()?;
        let refused = match ended.status {
            Ok(()) | Err(Fault::Stall | Fault::Fault) => None,
            // A transfer that was in flight is not cancelled by anybody yet.
            Err(fault) => Some(fault),
        };
        let Some(Slot::Block(block)) = self.slots.front().copied() else {
            return None;
        };
        let Some(fault) = refused else {
            // It has ended already. The bell may not have been armed.
            let completion = self.settle(ended);
            if block.zero_packet && completion.as_ref().is_some_and(|c| c.result.is_ok()) {
                self.half = completion;
            } else {
                self.ended.extend(completion);
                self.inner.signal.ring();
            }
            return None;
        };
        self.slots.clear();
        if fault == Fault::Disconnected {
            self.inner.signal.check_gone();
        }
        let length = ended.buffer.len();
        let buffer = self.back(ended.buffer, block.mark, length);
        Some((buffer, to_refusal(fault, self.operation())))
    }

    fn cancel(&mut self) {
        for slot in &mut self.slots {
            if let Slot::Block(block) = slot {
                block.cancelled = true;
            }
        }
        if let Some(endpoint) = &mut self.endpoint {
            endpoint.cancel_all();
        }
    }

    fn rejected(&self, buffer: Buffer, error: impl FnOnce(String) -> Error) -> Rejected {
        Rejected {
            buffer,
            error: error(self.operation()),
        }
    }
}

impl<K: BulkOrInterrupt, D: EndpointDirection> Queue for NusbQueue<K, D> {
    fn endpoint(&self) -> u8 {
        self.described.address
    }

    fn max_packet_size(&self) -> u16 {
        self.described.max_packet_size
    }

    fn allocate(&mut self, capacity: usize) -> Buffer {
        let asked = self.asked(capacity);
        if !self.described.is_in() || asked > LONGEST {
            return Buffer::heap(capacity);
        }
        let buffer = match (&self.endpoint, &*self.parking.look()) {
            (Some(endpoint), _) | (None, Parked::Here(endpoint)) => endpoint.allocate(asked),
            (None, Parked::Away | Parked::Closed) => Transferred::new(asked),
        };
        Buffer::from_memory(Memory::Nusb(Area::new(buffer, capacity)), 0)
    }

    fn submit(&mut self, buffer: Buffer) -> Result<(), Rejected> {
        if self.inner.signal.is_gone() {
            return Err(self.rejected(buffer, |operation| Error::Gone { operation }));
        }
        if self.refused {
            // Behind the one that was refused, in whose place it would go.
            let gone = self.inner.place.gone_if_absent("").is_err();
            return Err(self.rejected(buffer, |operation| match gone {
                true => Error::Gone { operation },
                false => Error::NoMemory { operation },
            }));
        }
        if self.asked(buffer.capacity()) > LONGEST {
            let reason = "longer than any transfer".to_owned();
            return Err(self.rejected(buffer, |operation| Error::Other { operation, reason }));
        }
        if let Err(error) = self.unpark() {
            return Err(Rejected { buffer, error });
        }
        if !self.slots.is_empty() && self.slots.len() >= self.deepest && !self.bell.is_armed() {
            // Deeper than ever may be too deep, and only an armed bell tells.
            self.find_ended();
        }
        let length = buffer.filled().len();
        let zero_packet = self.zero_packet
            && !self.described.is_in()
            && length > 0
            && length.is_multiple_of(self.packet);
        let (transferred, mark) = self.lend(buffer);
        let block = Block {
            mark,
            zero_packet,
            again: false,
            cancelled: false,
        };
        self.pending += 1;
        if !self.slots.is_empty() {
            self.launch(transferred, block);
            return Ok(());
        }
        self.hand_over(transferred, Slot::Block(block));
        if let Some((buffer, error)) = self.refusal() {
            self.pending -= 1;
            self.park();
            return Err(Rejected { buffer, error });
        }
        if zero_packet && (self.half.is_some() || !self.slots.is_empty()) {
            self.hand_over(Transferred::new(0), Slot::ZeroPacket);
        }
        self.park();
        Ok(())
    }

    fn set_zero_packet(&mut self, enabled: bool) {
        self.zero_packet = enabled;
    }

    fn pending(&self) -> usize {
        self.pending
    }

    fn try_next(&mut self) -> Option<Completion> {
        let taken = self.take();
        // Whoever gets one looks for more before sleeping.
        self.bell.mute(taken.is_some());
        taken
    }

    fn next(&mut self, timeout: Duration) -> Option<Completion> {
        let taken = self.take();
        if taken.is_some() || self.slots.is_empty() || timeout.is_zero() {
            return taken;
        }
        self.wait(deadline(timeout))
    }

    fn cancel_all(&mut self) {
        self.cancel();
    }
}

impl<K: BulkOrInterrupt, D: EndpointDirection> Drop for NusbQueue<K, D> {
    fn drop(&mut self) {
        self.cancel();
        let deadline = deadline(LAST_WAIT);
        while self.wait(deadline).is_some() {}
        if !self.slots.is_empty() {
            tracing::error!(
                device = %self.inner.place.identity,
                "USB transfers do not end; their memory is left to nusb"
            );
        }
    }
}
