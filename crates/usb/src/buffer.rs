//! Memory for queued transfers.

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

/// Where the bytes are.
#[derive(Debug)]
pub(crate) enum Memory {
    /// Ordinary memory: the kernel copies at submission or completion.
    Heap(Box<[u8]>),
    /// Memory the kernel shares with the controller: no copy.
    Mapped(Mapped),
    /// Memory of nusb's: either of these, rounded up to whole packets.
    Nusb(Area),
}

impl Memory {
    /// All of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Mapped(mapped) => mapped.bytes(),
            Self::Nusb(area) => area.bytes(),
        }
    }
}

impl Buffer {
    /// Zeroed heap memory.
    #[must_use]
    pub fn heap(capacity: usize) -> Self {
        Self::from_memory(Memory::Heap(vec![0; capacity].into_boxed_slice()), 0)
    }

    /// Around memory that has at least `len` bytes.
    pub(crate) fn from_memory(memory: Memory, len: usize) -> Self {
        Self { memory, len }
    }

    /// Apart again.
    pub(crate) fn into_memory(self) -> (Memory, usize) {
        (self.memory, self.len)
    }

    /// Bytes that fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes().len()
    }

    /// The whole memory.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.memory.bytes()
    }

    /// The whole memory, for filling in place.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Heap(bytes) => bytes,
            Memory::Mapped(mapped) => mapped.bytes_mut(),
            Memory::Nusb(area) => area.bytes_mut(),
        }
    }

    /// The payload: what an OUT transfer sends, what an IN transfer brought.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        &self.bytes()[..self.len]
    }

    /// Sets the payload's length, at most the capacity.
    ///
    /// # Panics
    /// When `len` passes the capacity.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity(), "payload longer than its buffer");
        self.len = len;
    }

    /// Whether the memory is mapped from the kernel (no copy at submission).
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        match &self.memory {
            Memory::Heap(_) => false,
            Memory::Mapped(_) => true,
            Memory::Nusb(area) => area.is_mapped(),
        }
    }
}
