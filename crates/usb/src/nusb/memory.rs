//! The whole memory behind nusb's buffers: the only module of this backend with `unsafe` code.
//!
//! nusb shows of a buffer only its first `len` bytes, which it sets to what a transfer moved, and
//! extends that only by writing. A [`Buffer`](crate::buffer::Buffer) of this crate always shows its
//! whole memory, so it is looked at through a pointer kept beside nusb's buffer: the [`Mark`].
//!
//! # Why this is sound
//!
//! **The memory** of a [`Transferred`] buffer is one allocation or mapping that it owns from its
//! making to its drop, at an address that never changes, also while it is in a transfer. All of it
//! is written once before it is shown (`Vec`'s elements, or [`Transferred::extend_fill`] over the
//! whole capacity), so all of it stays initialised. The pointer in a mark is derived from that whole
//! range.
//!
//! **Buffer and mark stay together.** A mark is never copied and never leaves this module by itself:
//! [`Area`] and [`Lent`] hold it with its buffer, and a [`Lender`] holds the marks of the buffers
//! that are in transfers of its endpoint. nusb ends the transfers of an endpoint in the order of
//! submission and returns each with the buffer it was submitted with, so the oldest mark is that of
//! the buffer that returns; the lender checks that address and size fit and panics if they do not. A
//! buffer that nusb keeps, because its endpoint is dropped, leaves behind a mark that is dropped
//! with its lender.
//!
//! **Access.** Borrowing an area borrows the memory, which is then used through the mark only, never
//! through the buffer. A lent buffer and its mark give no access to the bytes.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use ::nusb::transfer::{Buffer as Transferred, BulkOrInterrupt, EndpointDirection, TransferError};
use ::nusb::{Endpoint, MaybeFuture};

/// Number of transfers for whose marks memory is reserved in advance.
const DEPTH: usize = 32;

/// Address of a buffer's memory, and the number of its bytes that are shown.
#[derive(Debug)]
struct Mark {
    start: NonNull<u8>,
    /// Number of initialised bytes that are shown.
    capacity: usize,
}

// SAFETY: a mark allows no access to the memory by itself.
unsafe impl Send for Mark {}
// SAFETY: a mark allows no access to the memory by itself.
unsafe impl Sync for Mark {}

impl Mark {
    fn is_of(&self, buffer: &Transferred) -> bool {
        std::ptr::eq(self.start.as_ptr(), buffer.as_ptr()) && self.capacity <= buffer.capacity()
    }
}

/// A buffer of nusb's, mapped or on the heap, with the first `capacity` bytes of it shown.
#[derive(Debug)]
pub(crate) struct Area {
    buffer: Transferred,
    mark: Mark,
}

impl Area {
    /// Zeroes a buffer and shows its first `capacity` bytes.
    ///
    /// # Panics
    /// When the buffer has less than `capacity` bytes.
    pub(super) fn new(mut buffer: Transferred, capacity: usize) -> Self {
        assert!(capacity <= buffer.capacity());
        buffer.clear();
        let all = buffer.extend_fill(buffer.capacity(), 0);
        let mark = Mark {
            start: NonNull::from(all).cast(),
            capacity,
        };
        Self { buffer, mark }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the memory is initialised, and borrowed with the area that owns it.
        unsafe { std::slice::from_raw_parts(self.mark.start.as_ptr(), self.mark.capacity) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the memory is initialised as above, and borrowed for writing.
        unsafe { std::slice::from_raw_parts_mut(self.mark.start.as_ptr(), self.mark.capacity) }
    }

    pub(crate) fn is_mapped(&self) -> bool {
        self.buffer.is_zero_copy()
    }

    /// Returns how many bytes the buffer has, shown or not.
    pub(super) fn room(&self) -> usize {
        self.buffer.capacity()
    }

    /// Lends the buffer for a receive transfer of `length` bytes.
    ///
    /// # Panics
    /// When the buffer has less than `length` bytes.
    pub(super) fn lend(mut self, length: usize) -> Lent {
        self.buffer.set_requested_len(length);
        Lent {
            buffer: self.buffer,
            mark: self.mark,
        }
    }
}

/// A buffer on its way into a transfer or back from it.
#[derive(Debug)]
pub(super) struct Lent {
    buffer: Transferred,
    mark: Mark,
}

impl Lent {
    /// Lends heap memory for a send transfer of its first `length` bytes, or of all of it when it
    /// has less.
    pub(super) fn heap(bytes: Box<[u8]>, length: usize) -> Self {
        let mut bytes = bytes.into_vec();
        let mark = Mark {
            start: NonNull::from(&mut bytes[..]).cast(),
            capacity: bytes.len(),
        };
        bytes.truncate(length);
        Self {
            buffer: Transferred::from(bytes),
            mark,
        }
    }

    /// Makes the empty memory from which a ZLP is sent.
    pub(super) fn empty() -> Self {
        Self::heap(Box::default(), 0)
    }

    /// Returns how many bytes the memory shows outside of transfers.
    pub(super) fn capacity(&self) -> usize {
        self.mark.capacity
    }

    /// Returns how many bytes the transfer sent or, after a receive transfer, received.
    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Returns the memory of a buffer that was lent as an area.
    pub(super) fn into_area(self) -> Area {
        Area {
            buffer: self.buffer,
            mark: self.mark,
        }
    }

    /// Returns the memory of [`Lent::heap`], without a copy.
    ///
    /// # Panics
    /// When the memory is mapped.
    pub(super) fn into_heap(self) -> Box<[u8]> {
        assert!(!self.buffer.is_zero_copy());
        let mut bytes = self.buffer.into_vec();
        // SAFETY: the capacity is within the allocation, whose bytes were initialised before it was
        // lent.
        unsafe { bytes.set_len(self.mark.capacity) };
        bytes.into_boxed_slice()
    }
}

/// A transfer that nusb has ended.
pub(super) struct Ended {
    /// The buffer the transfer was submitted with.
    pub(super) lent: Lent,
    /// Number of bytes the transfer moved.
    pub(super) moved: usize,
    pub(super) status: Result<(), TransferError>,
}

/// An endpoint with the marks of the buffers that are in its transfers.
pub(super) struct Lender<K: BulkOrInterrupt, D: EndpointDirection> {
    endpoint: Endpoint<K, D>,
    /// Marks of the transfers in flight, the oldest at the front.
    marks: VecDeque<Mark>,
}

impl<K: BulkOrInterrupt, D: EndpointDirection> Lender<K, D> {
    /// Takes an endpoint without transfers.
    ///
    /// # Panics
    /// When transfers are pending on the endpoint.
    pub(super) fn new(endpoint: Endpoint<K, D>) -> Self {
        assert_eq!(endpoint.pending(), 0);
        Self {
            endpoint,
            marks: VecDeque::with_capacity(DEPTH),
        }
    }

    /// Returns the endpoint's address, direction bit included.
    pub(super) fn address(&self) -> u8 {
        self.endpoint.endpoint_address()
    }

    /// Returns the endpoint's packet size in bytes, at least 1. Receive transfers are multiples of
    /// it.
    pub(super) fn packet_size(&self) -> usize {
        self.endpoint.max_packet_size().max(1)
    }

    /// Allocates a buffer of `length` bytes, mapped where the kernel grants that.
    pub(super) fn allocate(&self, length: usize) -> Transferred {
        self.endpoint.allocate(length)
    }

    /// Submits a transfer. A refusal by the kernel comes back as a transfer that has ended.
    pub(super) fn submit(&mut self, lent: Lent) {
        self.marks.push_back(lent.mark);
        self.endpoint.submit(lent.buffer);
    }

    /// Returns the oldest transfer if it has ended, and registers the waker of `context` otherwise.
    ///
    /// # Panics
    /// When no transfer is pending.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        self.endpoint.poll_next_complete(context).map(|completion| {
            let mark = self
                .marks
                .pop_front()
                .filter(|mark| mark.is_of(&completion.buffer));
            let Some(mark) = mark else {
                panic!("nusb returned a buffer that the oldest transfer was not submitted with");
            };
            Ended {
                lent: Lent {
                    buffer: completion.buffer,
                    mark,
                },
                moved: completion.actual_len,
                status: completion.status,
            }
        })
    }

    /// Cancels all transfers. Each of them still ends.
    pub(super) fn cancel_all(&mut self) {
        self.endpoint.cancel_all();
    }

    /// Clears the endpoint's halt.
    pub(super) fn clear_halt(&mut self) -> Result<(), ::nusb::Error> {
        self.endpoint.clear_halt().wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_shows_its_whole_memory_whatever_a_transfer_moved() {
        let mut area = Area::new(Transferred::new(512), 100);
        assert_eq!(area.bytes(), [0; 100]);
        area.bytes_mut().fill(7);
        let mut lent = area.lend(512);
        assert_eq!(lent.buffer.requested_len(), 512);
        // After a transfer without data, nusb shows an empty buffer.
        lent.buffer.clear();
        assert!(lent.mark.is_of(&lent.buffer));
        assert_eq!((lent.capacity(), lent.len()), (100, 0));
        let area = lent.into_area();
        assert_eq!(area.bytes(), [7; 100]);
        assert!(!area.is_mapped() && area.room() >= 512);
    }

    #[test]
    fn heap_memory_comes_back_whole_and_in_place() {
        let bytes: Box<[u8]> = (0..=255).collect();
        let address = bytes.as_ptr();
        let lent = Lent::heap(bytes, 10);
        assert_eq!(&lent.buffer[..], &(0..10).collect::<Vec<u8>>()[..]);
        assert!(lent.mark.is_of(&lent.buffer));
        let bytes = lent.into_heap();
        assert_eq!(bytes.as_ptr(), address);
        assert!(bytes.iter().copied().eq(0..=255));
    }

    #[test]
    fn nothing_is_lent_for_a_zero_length_packet() {
        let lent = Lent::empty();
        assert!(lent.mark.is_of(&lent.buffer));
        assert_eq!((lent.capacity(), lent.len()), (0, 0));
        assert!(lent.into_heap().is_empty());
    }

    /// The compiler could not infer which implementation `_` stands for if a mark could be copied
    /// or cloned, so this would not compile then.
    #[test]
    fn a_mark_cannot_outlive_its_buffer_in_a_copy() {
        trait Told<A> {
            fn told() {}
        }
        struct Copied;
        impl<T> Told<()> for T {}
        impl<T: Clone> Told<Copied> for T {}
        <Mark as Told<_>>::told();
        <Area as Told<_>>::told();
        <Lent as Told<_>>::told();
    }

    #[test]
    fn another_buffer_is_not_taken_for_it() {
        let lent = Lent::heap(vec![0; 16].into(), 16);
        assert!(!lent.mark.is_of(&Transferred::new(512)));
        // The address alone does not identify the buffer.
        let longer = Mark {
            start: lent.mark.start,
            capacity: 17,
        };
        assert!(!longer.is_of(&lent.buffer));
    }
}
