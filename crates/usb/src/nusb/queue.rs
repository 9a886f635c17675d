//! The queue of transfers of one endpoint.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ::nusb::Endpoint;
use ::nusb::transfer::{
    Buffer as Transferred, BulkOrInterrupt, EndpointDirection, TransferError as Fault,
};

use super::errors::{is_no_memory, to_refusal, to_transfer_error};
use super::inner::Inner;
use super::memory::{Area, Ended, Lender, Lent};
use super::parking::{AnyParking, Closed, Parked, Parking};
use super::wake::QueueWaker;
use crate::buffer::{Buffer, Memory};
use crate::deadline::deadline;
use crate::descriptors;
use crate::device::{Completion, Interrupter, Queue, Rejected};
use crate::error::{Error, TransferError};
use crate::observed::ObservedQueue;

/// Number of transfers for which memory is reserved in advance; a queue may be kept deeper.
const DEPTH: usize = 32;
/// Longest wait for cancelled transfers before they are left to nusb.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// Length of the longest transfer in bytes: the kernel counts them in a signed integer.
const LONGEST: usize = i32::MAX as usize;

/// A transfer that was handed to nusb.
#[derive(Debug, Clone, Copy)]
enum Slot {
    /// A transfer that the queue's owner submitted.
    Submitted(Submitted),
    /// The ZLP after the transfer before it.
    ZeroPacket,
}

/// A transfer that the queue's owner submitted.
#[derive(Debug, Clone, Copy)]
struct Submitted {
    /// Whether a ZLP follows the transfer.
    zero_packet: bool,
    /// Whether the kernel has refused the transfer and it was submitted again.
    again: bool,
    /// Whether the queue's owner has cancelled the transfer.
    cancelled: bool,
}

/// The queue of transfers of one endpoint.
pub(super) struct NusbQueue<K: BulkOrInterrupt, D: EndpointDirection> {
    /// Endpoint while transfers are pending; otherwise it is in `parking`.
    endpoint: Option<Lender<K, D>>,
    parking: Arc<Parking<K, D>>,
    interface: u8,
    described: descriptors::Endpoint,
    /// Packet size of the endpoint in bytes. Receive transfers are multiples of it.
    packet: usize,
    queue_waker: Arc<QueueWaker>,
    waker: Waker,
    zero_packet: bool,
    /// Transfers that nusb has, the oldest at the front.
    slots: VecDeque<Slot>,
    /// Completions that were found before the queue's owner asked for them, the oldest at the front.
    ended: VecDeque<Completion>,
    /// Completion of a transfer whose ZLP has not ended.
    half: Option<Completion>,
    /// Number of transfers that were submitted and whose completion was not taken.
    pending: usize,
    /// Largest number of slots that there were at once.
    deepest: usize,
    /// Whether the kernel refused the transfer in the newest slot.
    refused: bool,
    inner: Arc<Inner>,
    observed: ObservedQueue,
}

impl<K: BulkOrInterrupt + 'static, D: EndpointDirection + 'static> NusbQueue<K, D> {
    /// Makes the queue of an endpoint that was just opened and is described by `described`.
    pub(super) fn new(
        inner: Arc<Inner>,
        interface: u8,
        described: descriptors::Endpoint,
        endpoint: Endpoint<K, D>,
    ) -> Self {
        let endpoint = Lender::new(endpoint);
        let packet = endpoint.packet_size();
        let parking = Arc::new(Parking::new(interface, endpoint));
        let weak: Weak<dyn AnyParking> = Arc::downgrade(&parking) as _;
        inner.add_parking(weak);
        let queue_waker = QueueWaker::new(Arc::clone(&inner.signal));
        Self {
            endpoint: None,
            parking,
            interface,
            described,
            packet,
            waker: Arc::clone(&queue_waker).into(),
            queue_waker,
            zero_packet: false,
            slots: VecDeque::with_capacity(DEPTH),
            ended: VecDeque::with_capacity(DEPTH),
            half: None,
            pending: 0,
            deepest: 0,
            refused: false,
            observed: inner
                .place
                .observation
                .queue(described.address, described.kind),
            inner,
        }
    }
}

impl<K: BulkOrInterrupt, D: EndpointDirection> NusbQueue<K, D> {
    fn operation(&self) -> String {
        let (endpoint, device) = (self.described.address, &self.inner.place.identity);
        format!("submit a transfer on endpoint {endpoint:02x} of {device}")
    }

    /// Returns how many bytes a receive transfer with room for `capacity` bytes asks for.
    fn asked(&self, capacity: usize) -> usize {
        capacity.max(1).next_multiple_of(self.packet)
    }

    /// Turns a buffer into memory that nusb takes.
    fn lend(&self, buffer: Buffer) -> Lent {
        let (memory, length) = buffer.into_memory();
        if self.described.is_in() {
            let asked = self.asked(memory.bytes().len());
            let area = match memory {
                Memory::Nusb(area) if area.room() >= asked => area,
                // Other memory has no room for a whole packet, so new memory is lent and comes back
                // instead.
                other => Area::new(Transferred::new(asked), other.bytes().len()),
            };
            area.lend(asked)
        } else {
            let bytes = match memory {
                Memory::Heap(bytes) => bytes,
                other => other.bytes().into(),
            };
            Lent::heap(bytes, length)
        }
    }

    /// Turns the memory that nusb returned into a buffer with `length` bytes of payload.
    fn back(&self, lent: Lent, length: usize) -> Buffer {
        let length = length.min(lent.capacity());
        let memory = if self.described.is_in() {
            Memory::Nusb(lent.into_area())
        } else {
            Memory::Heap(lent.into_heap())
        };
        Buffer::from_memory(memory, length)
    }

    /// Takes the endpoint from its parking, or opens it.
    ///
    /// Fails as [`Inner::open_endpoint`] does. An endpoint that the active alternate setting does
    /// not have is refused with the error of the kernel.
    fn unpark(&mut self) -> Result<(), Error> {
        if self.endpoint.is_some() {
            return Ok(());
        }
        let endpoint = match self.parking.leave() {
            Ok(endpoint) => Ok(endpoint),
            Err(Closed) => self
                .inner
                .open_endpoint(self.interface, self.described.address, || self.operation())
                .map(Lender::new),
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

    /// Parks the endpoint when no transfer is pending, so that others can use it.
    fn park(&mut self) {
        if self.slots.is_empty() {
            self.refused = false;
            if let Some(endpoint) = self.endpoint.take() {
                self.parking.enter(Some(endpoint));
            }
        }
    }

    /// Hands a transfer to nusb, and the ZLP after it.
    fn launch(&mut self, lent: Lent, submitted: Submitted) {
        let refused = self.hand_over(lent, Slot::Submitted(submitted));
        if submitted.zero_packet && !refused {
            self.hand_over(Lent::empty(), Slot::ZeroPacket);
        }
    }

    /// Hands one transfer to nusb. Returns whether the kernel is known to have refused it.
    fn hand_over(&mut self, lent: Lent, slot: Slot) -> bool {
        let Some(endpoint) = self.endpoint.as_mut() else {
            return true;
        };
        let alone = self.slots.is_empty();
        let refused = self.queue_waker.refuses(|| endpoint.submit(lent));
        self.slots.push_back(slot);
        self.deepest = self.deepest.max(self.slots.len());
        // A lone transfer reports by its own end why it was refused: see `refusal`.
        self.refused |= refused && !alone;
        if refused && !alone {
            // The refusal has used up the waker, which the other transfers may still need.
            self.find_ended();
        }
        refused
    }

    /// Returns the end of the oldest transfer that nusb has, or registers the waker if it has not
    /// ended.
    fn poll(&mut self) -> Option<Ended> {
        if self.slots.is_empty() {
            return None;
        }
        self.queue_waker.arm();
        let mut context = Context::from_waker(&self.waker);
        match self.endpoint.as_mut()?.poll(&mut context) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending => None,
        }
    }

    /// Sets aside the completions of all transfers that have ended, of which no wake will come, and
    /// registers the waker for the others.
    fn find_ended(&mut self) {
        while let Some(ended) = self.poll() {
            let completion = self.settle(ended);
            self.ended.extend(completion);
        }
        if !self.ended.is_empty() && !self.queue_waker.is_muted() {
            self.inner.signal.notify();
        }
    }

    /// Takes the oldest slot, whose transfer has ended. Returns its completion, or `None` when a ZLP
    /// has still to end or the transfer was submitted again.
    fn settle(&mut self, ended: Ended) -> Option<Completion> {
        let slot = self.slots.pop_front()?;
        if ended.status == Err(Fault::Disconnected) {
            // A reset ends transfers in this way as well, so the kernel is asked.
            self.inner.signal.check_gone();
        }
        let submitted = match slot {
            Slot::ZeroPacket => {
                let mut completion = self.half.take()?;
                if let (Ok(_), Err(fault)) = (completion.result, ended.status) {
                    completion.result = Err(to_transfer_error(fault, false));
                }
                return Some(completion);
            }
            Slot::Submitted(submitted) => submitted,
        };
        let never_began = ended.status.is_err_and(is_no_memory);
        if never_began && !submitted.again && !submitted.cancelled {
            // The transfers ahead of it have ended and given their memory back.
            self.refused &= !self.slots.is_empty();
            let again = Submitted {
                again: true,
                ..submitted
            };
            self.launch(ended.lent, again);
            return None;
        }
        let completion = self.completion(ended, submitted, never_began);
        if submitted.zero_packet && matches!(self.slots.front(), Some(Slot::ZeroPacket)) {
            self.half = Some(completion);
            return None;
        }
        Some(completion)
    }

    fn completion(&self, ended: Ended, submitted: Submitted, never_began: bool) -> Completion {
        let (moved, capacity) = (ended.moved, ended.lent.capacity());
        let inward = self.described.is_in();
        let result = match ended.status {
            Ok(()) if inward && moved > capacity => Err(TransferError::Overflow),
            Ok(()) => Ok(moved),
            Err(_) if never_began && submitted.cancelled => Err(TransferError::Cancelled),
            Err(fault) => {
                let full = inward && moved >= self.asked(capacity);
                Err(to_transfer_error(fault, full))
            }
        };
        let length = if inward { moved } else { ended.lent.len() };
        Completion {
            buffer: self.back(ended.lent, length),
            result,
        }
    }

    /// Returns the oldest completion, or registers the waker when there is none.
    fn take(&mut self) -> Option<Completion> {
        let mut taken = self.ended.pop_front();
        while taken.is_none() {
            if let Some(ended) = self.poll() {
                taken = self.settle(ended);
            } else if self.queue_waker.is_muted() {
                self.queue_waker.mute(false);
            } else {
                break;
            }
        }
        self.park();
        self.pending -= usize::from(taken.is_some());
        taken
    }

    /// Waits for the oldest completion until `deadline` and returns it.
    fn wait(&mut self, deadline: Instant, interruptible: bool) -> Option<Completion> {
        self.queue_waker.begin_wait();
        let taken = loop {
            let taken = self.take();
            let left = deadline.saturating_duration_since(Instant::now());
            let over = interruptible && self.queue_waker.is_interrupted();
            if taken.is_some() || self.slots.is_empty() || left.is_zero() || over {
                break taken;
            }
            std::thread::park_timeout(left);
        };
        self.queue_waker.end_wait();
        // A wake may have reached this thread only. Polling once more registers the waker anew.
        taken.or_else(|| self.take())
    }

    /// Returns the buffer of a lone transfer that the kernel refused, and why it did.
    fn refusal(&mut self) -> Option<(Buffer, Error)> {
        let ended = self.poll()?;
        let refused = match ended.status {
            Ok(()) | Err(Fault::Stall | Fault::Fault) => None,
            // A transfer that was in flight cannot have been cancelled yet.
            Err(fault) => Some(fault),
        };
        let Some(Slot::Submitted(submitted)) = self.slots.front().copied() else {
            return None;
        };
        let Some(fault) = refused else {
            // The transfer has ended already, perhaps before the waker was registered.
            let completion = self.settle(ended);
            if submitted.zero_packet && completion.as_ref().is_some_and(|c| c.result.is_ok()) {
                self.half = completion;
            } else {
                self.ended.extend(completion);
                self.inner.signal.notify();
            }
            return None;
        };
        self.slots.clear();
        if fault == Fault::Disconnected {
            self.inner.signal.check_gone();
        }
        let length = ended.lent.len();
        let buffer = self.back(ended.lent, length);
        Some((buffer, to_refusal(fault, self.operation())))
    }

    /// Cancels all transfers.
    fn cancel(&mut self) {
        for slot in &mut self.slots {
            if let Slot::Submitted(submitted) = slot {
                submitted.cancelled = true;
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

    /// Submits a transfer.
    ///
    /// # Errors
    /// Those of [`Queue::submit`].
    fn begin(&mut self, buffer: Buffer) -> Result<(), Rejected> {
        if self.inner.signal.is_gone() {
            return Err(self.rejected(buffer, |operation| Error::Gone { operation }));
        }
        if self.refused {
            // A further transfer would go behind the one that was refused, which is to be tried
            // again first.
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
        if !self.slots.is_empty()
            && self.slots.len() >= self.deepest
            && !self.queue_waker.is_armed()
        {
            // A queue deeper than before may be refused, and only an armed waker shows that.
            self.find_ended();
        }
        let length = buffer.filled().len();
        let zero_packet = self.zero_packet
            && !self.described.is_in()
            && length > 0
            && length.is_multiple_of(self.packet);
        let lent = self.lend(buffer);
        let submitted = Submitted {
            zero_packet,
            again: false,
            cancelled: false,
        };
        self.pending += 1;
        if !self.slots.is_empty() {
            self.launch(lent, submitted);
            return Ok(());
        }
        self.hand_over(lent, Slot::Submitted(submitted));
        if let Some((buffer, error)) = self.refusal() {
            self.pending -= 1;
            self.park();
            return Err(Rejected { buffer, error });
        }
        if zero_packet && (self.half.is_some() || !self.slots.is_empty()) {
            self.hand_over(Lent::empty(), Slot::ZeroPacket);
        }
        self.park();
        Ok(())
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
        let taken = self.take();
        // A caller that gets a completion looks for more before it sleeps.
        self.queue_waker.mute(taken.is_some());
        self.observed.completed(taken.as_ref());
        taken
    }

    fn next(&mut self, timeout: Duration) -> Option<Completion> {
        let mut taken = self.take();
        if taken.is_none() && !self.slots.is_empty() && !timeout.is_zero() {
            taken = self.wait(deadline(timeout), true);
        }
        self.observed.completed(taken.as_ref());
        taken
    }

    fn interrupter(&self) -> Option<Interrupter> {
        let waker = Arc::clone(&self.queue_waker);
        Some(Interrupter::new(move || waker.interrupt()))
    }

    fn cancel_all(&mut self) {
        self.cancel();
    }
}

impl<K: BulkOrInterrupt, D: EndpointDirection> Drop for NusbQueue<K, D> {
    fn drop(&mut self) {
        self.cancel();
        let deadline = deadline(LAST_WAIT);
        while self.wait(deadline, false).is_some() {}
        if !self.slots.is_empty() {
            tracing::error!(
                device = %self.inner.place.identity,
                "USB transfers do not end; their memory is left to nusb"
            );
        }
    }
}
