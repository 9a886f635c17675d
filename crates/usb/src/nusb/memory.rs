//! The only module of this backend with `unsafe` code: the whole memory behind nusb's buffers.
//!
//! nusb shows of a buffer only its first `len` bytes, which it sets to what a transfer moved, and
//! extends that only by writing. Our [`Buffer`](crate::buffer::Buffer) shows its whole memory
//! always, so it is looked at through a pointer of our own.
//!
//! # Why this is sound
//!
//! **The memory** of a [`Transferred`] buffer is one allocation or mapping that it owns from its
//! making to its drop, at an address that never changes, also while it is in a transfer. All of it
//! is written once before it is shown (`Vec`'s elements, or [`Transferred::extend_fill`] over the
//! whole capacity), so all of it stays initialised. The pointer in a [`Mark`] is derived from that
//! whole range.
//!
//! **Access.** An [`Area`] has the buffer and the mark, so borrowing the area borrows the memory;
//! it is used through the mark only, never through the buffer, except to hand it over. While it is
//! in a transfer there is no `Area`, only the mark, which by itself allows nothing.
//!
//! **Coming back**, buffer and mark are joined again by [`Area::back`] or [`from_heap`], which
//! check that they belong together and abandon the program's thread (panic) if not.

use std::ptr::NonNull;

use ::nusb::transfer::Buffer as Transferred;

/// What is known of a buffer's memory while nusb has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    start: NonNull<u8>,
    /// Initialised bytes that are shown.
    capacity: usize,
}

// SAFETY: a mark allows no access to the memory by itself.
unsafe impl Send for Mark {}
// SAFETY: as above.
unsafe impl Sync for Mark {}

impl Mark {
    pub(super) fn capacity(self) -> usize {
        self.capacity
    }

    fn is_of(self, buffer: &Transferred) -> bool {
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
    /// Shows the first `capacity` bytes of a new buffer, zeroed.
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
        // SAFETY: initialised, and borrowed with the area that owns it.
        unsafe { std::slice::from_raw_parts(self.mark.start.as_ptr(), self.mark.capacity) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed for writing.
        unsafe { std::slice::from_raw_parts_mut(self.mark.start.as_ptr(), self.mark.capacity) }
    }

    pub(crate) fn is_mapped(&self) -> bool {
        self.buffer.is_zero_copy()
    }

    /// Bytes there are, shown or not.
    pub(super) fn room(&self) -> usize {
        self.buffer.capacity()
    }

    /// For nusb, to be filled with up to `length` bytes, which must not be more than there are.
    pub(super) fn lend(mut self, length: usize) -> (Transferred, Mark) {
        self.buffer.set_requested_len(length);
        (self.buffer, self.mark)
    }

    /// Back from nusb.
    pub(super) fn back(buffer: Transferred, mark: Mark) -> Self {
        assert!(mark.is_of(&buffer));
        Self { buffer, mark }
    }
}

/// Heap memory for nusb, to send its first `length` bytes, which must not be more than there are.
pub(super) fn lend_heap(bytes: Box<[u8]>, length: usize) -> (Transferred, Mark) {
    let mut bytes = bytes.into_vec();
    let mark = Mark {
        start: NonNull::from(&mut bytes[..]).cast(),
        capacity: bytes.len(),
    };
    bytes.truncate(length);
    (Transferred::from(bytes), mark)
}

/// Memory of [`lend_heap`] back from nusb.
pub(super) fn from_heap(buffer: Transferred, mark: Mark) -> Box<[u8]> {
    assert!(mark.is_of(&buffer) && !buffer.is_zero_copy());
    // The memory itself, without a copy.
    let mut bytes = buffer.into_vec();
    // SAFETY: within the allocation, and initialised before it was lent.
    unsafe { bytes.set_len(mark.capacity) };
    bytes.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_shows_its_whole_memory_whatever_a_transfer_moved() {
        let mut area = Area::new(Transferred::new(512), 100);
        assert_eq!(area.bytes(), [0; 100]);
        area.bytes_mut().fill(7);
        let (mut buffer, mark) = area.lend(512);
        assert_eq!(buffer.requested_len(), 512);
        // As after a transfer that brought nothing.
        buffer.clear();
        let area = Area::back(buffer, mark);
        assert_eq!(area.bytes(), [7; 100]);
        assert!(!area.is_mapped() && area.room() >= 512);
    }

    #[test]
    fn heap_memory_comes_back_whole_and_in_place() {
        let bytes: Box<[u8]> = (0..=255).collect();
        let address = bytes.as_ptr();
        let (buffer, mark) = lend_heap(bytes, 10);
        assert_eq!(&buffer[..], &(0..10).collect::<Vec<u8>>()[..]);
        let bytes = from_heap(buffer, mark);
        assert_eq!(bytes.as_ptr(), address);
        assert!(bytes.iter().copied().eq(0..=255));
    }

    #[test]
    #[should_panic(expected = "is_of")]
    fn another_buffer_is_not_taken_for_it() {
        let (_kept, mark) = lend_heap(vec![0; 16].into(), 16);
        let _ = Area::back(Transferred::new(512), mark);
    }
}
