//! The memory that queued transfers send from and receive into.

use crate::libusb::ffi::handle::Mapped;
use crate::nusb::memory::Area;

/// Memory that moves into a transfer and comes back with its completion.
///
/// `capacity` bytes are always readable and writable while it is not in a transfer; the first
/// `len` of them are the transfer's payload.
#[derive(Debug)]
pub struct Buffer {
    memory: Memory,
    len: usize,
}

/// Memory of the bytes.
#[derive(Debug)]
pub(crate) enum Memory {
    /// Heap memory. The kernel copies from it at submission or into it at completion.
    Heap(Box<[u8]>),
    /// Memory that the kernel shares with the USB controller. Nothing is copied.
    Mapped(Mapped),
    /// Memory of a buffer of nusb's, mapped or on the heap, whose size is rounded up to whole
    /// packets.
    Nusb(Area),
}

impl Memory {
    /// Returns all bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Mapped(mapped) => mapped.bytes(),
            Self::Nusb(area) => area.bytes(),
        }
    }
}

impl Buffer {
    /// Allocates `capacity` bytes of zeroed heap memory.
    #[must_use]
    pub fn heap(capacity: usize) -> Self {
        Self::from_memory(Memory::Heap(vec![0; capacity].into_boxed_slice()), 0)
    }

    /// Makes a buffer of memory whose first `len` bytes are the payload.
    pub(crate) fn from_memory(memory: Memory, len: usize) -> Self {
        Self { memory, len }
    }

    /// Returns the memory and the length of the payload in bytes.
    pub(crate) fn into_memory(self) -> (Memory, usize) {
        (self.memory, self.len)
    }

    /// Returns how many bytes the buffer holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes().len()
    }

    /// Returns the whole memory, the payload first.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.memory.bytes()
    }

    /// Returns the whole memory for filling in place.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Heap(bytes) => bytes,
            Memory::Mapped(mapped) => mapped.bytes_mut(),
            Memory::Nusb(area) => area.bytes_mut(),
        }
    }

    /// Returns the payload: the bytes that an OUT transfer sends or an IN transfer brought.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        &self.bytes()[..self.len]
    }

    /// Sets the length of the payload in bytes.
    ///
    /// # Panics
    /// When `len` passes the capacity.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity(), "payload longer than its buffer");
        self.len = len;
    }

    /// Returns whether the memory is mapped from the kernel, so that nothing is copied at submission.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        match &self.memory {
            Memory::Heap(_) => false,
            Memory::Mapped(_) => true,
            Memory::Nusb(area) => area.is_mapped(),
        }
    }
}
