//! A libusb transfer and the memory it is lent.

use std::ffi::c_int;
use std::ptr::NonNull;
use std::sync::Arc;

use libusb1_sys as sys;
use libusb1_sys::constants::{
    LIBUSB_TRANSFER_ADD_ZERO_PACKET, LIBUSB_TRANSFER_CANCELLED, LIBUSB_TRANSFER_COMPLETED,
    LIBUSB_TRANSFER_NO_DEVICE, LIBUSB_TRANSFER_OVERFLOW, LIBUSB_TRANSFER_STALL,
    LIBUSB_TRANSFER_TIMED_OUT, LIBUSB_TRANSFER_TYPE_BULK, LIBUSB_TRANSFER_TYPE_CONTROL,
    LIBUSB_TRANSFER_TYPE_INTERRUPT,
};

use super::done::DoneFlag;
use super::handle::{Handle, Mapped, check};
use crate::buffer::{Buffer, Memory};
use crate::descriptors::TransferKind;
use crate::error::TransferError;
use crate::libusb::wake::Wake;

/// A transfer to be made.
#[derive(Debug, Clone, Copy)]
pub(in crate::libusb) struct TransferRequest {
    /// The transfer's type, which is not isochronous.
    pub(in crate::libusb) kind: TransferKind,
    /// The endpoint's address, direction bit included.
    pub(in crate::libusb) endpoint: u8,
    /// Number of bytes of the buffer to send or to fill; for control transfers the 8 bytes of the
    /// setup stage are among them.
    pub(in crate::libusb) length: usize,
    /// Whether a ZLP follows a transfer that ends with a full packet.
    pub(in crate::libusb) zero_packet: bool,
    /// Time after which the kernel cancels the transfer, in milliseconds; 0 for never.
    pub(in crate::libusb) timeout: u32,
}

/// Part of a transfer that the completion callback sees.
struct Slot {
    /// The flag is set from completion to the next submission.
    done: DoneFlag,
    /// State to which the callback reports the completion.
    wake: *const Wake,
}

/// Memory that a transfer owns while it is in flight.
enum Lent {
    Heap(*mut [u8]),
    Mapped(Mapped),
}

impl Lent {
    /// Takes memory for a transfer; memory of the nusb backend is copied.
    fn from(memory: Memory) -> Self {
        match memory {
            Memory::Heap(bytes) => Self::Heap(Box::into_raw(bytes)),
            Memory::Mapped(mapped) => Self::Mapped(mapped),
            Memory::Nusb(area) => Self::Heap(Box::into_raw(area.bytes().into())),
        }
    }

    /// Returns the address of the memory and its length in bytes.
    fn pointer(&self) -> (*mut u8, usize) {
        match self {
            Self::Heap(bytes) => (bytes.cast::<u8>(), bytes.len()),
            Self::Mapped(mapped) => mapped.pointer(),
        }
    }

    /// Turns the memory back into the form in which it can be accessed.
    ///
    /// # Safety
    /// No transfer has the memory.
    unsafe fn back(self) -> Memory {
        match self {
            // SAFETY: the pointer is from `Box::into_raw`, and the caller vouches that no transfer
            // has the memory.
            Self::Heap(bytes) => Memory::Heap(unsafe { Box::from_raw(bytes) }),
            Self::Mapped(mapped) => Memory::Mapped(mapped),
        }
    }
}

/// A libusb transfer, which can be submitted again after it has ended.
pub(in crate::libusb) struct Transfer {
    raw: NonNull<sys::libusb_transfer>,
    slot: NonNull<Slot>,
    /// Memory that is in flight, and the length in bytes of the payload it was submitted with.
    lent: Option<(Lent, usize)>,
    handle: Arc<Handle>,
}

// SAFETY: libusb's transfers may be submitted, cancelled and freed from any thread. The pointers
// belong to this value alone, except that the callback uses them, and it shares only atomic state.
unsafe impl Send for Transfer {}

impl Transfer {
    /// Makes a transfer that is not in flight. Returns `None` when there is no memory for it.
    pub(in crate::libusb) fn new(handle: &Arc<Handle>) -> Option<Self> {
        // SAFETY: the call is valid for any number of isochronous packets, here 0.
        let raw = NonNull::new(unsafe { sys::libusb_alloc_transfer(0) })?;
        let slot = Box::new(Slot {
            done: DoneFlag::new(),
            wake: std::ptr::from_ref(handle.wake()),
        });
        let slot = NonNull::from(Box::leak(slot));
        Some(Self {
            raw,
            slot,
            lent: None,
            handle: Arc::clone(handle),
        })
    }

    /// Submits the transfer with `buffer`.
    ///
    /// # Errors
    /// Returns the buffer with what libusb said, or with `InvalidParam` when the request asks for
    /// more than the buffer has or for an isochronous transfer, or when the transfer is in flight.
    pub(in crate::libusb) fn submit(
        &mut self,
        request: TransferRequest,
        buffer: Buffer,
    ) -> Result<(), (Buffer, rusb::Error)> {
        let transfer_type = match request.kind {
            TransferKind::Control => LIBUSB_TRANSFER_TYPE_CONTROL,
            TransferKind::Bulk => LIBUSB_TRANSFER_TYPE_BULK,
            TransferKind::Interrupt => LIBUSB_TRANSFER_TYPE_INTERRUPT,
            TransferKind::Isochronous => return Err((buffer, rusb::Error::InvalidParam)),
        };
        let capacity = buffer.capacity();
        let length = match c_int::try_from(request.length) {
            Ok(length) if request.length <= capacity && self.lent.is_none() => length,
            _ => return Err((buffer, rusb::Error::InvalidParam)),
        };
        let (memory, filled) = buffer.into_memory();
        let lent = Lent::from(memory);
        self.slot().done.submit();
        // SAFETY: the transfer is not in flight, so the structure may be filled. The fields are set
        // through the pointer, because a callback that is not set yet is no valid
        // `libusb_transfer`.
        unsafe {
            let raw = self.raw.as_ptr();
            (*raw).dev_handle = self.handle.usb().as_raw();
            (*raw).flags = if request.zero_packet {
                LIBUSB_TRANSFER_ADD_ZERO_PACKET
            } else {
                0
            };
            (*raw).endpoint = request.endpoint;
            (*raw).transfer_type = transfer_type;
            (*raw).timeout = request.timeout;
            (*raw).length = length;
            (&raw mut (*raw).callback).write(on_completion);
            (*raw).user_data = self.slot.as_ptr().cast();
            (*raw).buffer = lent.pointer().0;
        }
        // SAFETY: the structure was filled above; memory, slot and handle stay until the flag is
        // seen set.
        let code = unsafe { sys::libusb_submit_transfer(self.raw.as_ptr()) };
        match check(code) {
            Ok(()) => {
                self.lent = Some((lent, filled));
                Ok(())
            }
            Err(error) => {
                // SAFETY: libusb refused the transfer, so it does not use the memory.
                let memory = unsafe { lent.back() };
                Err((Buffer::from_memory(memory, filled), error))
            }
        }
    }

    /// Returns the flag that is set from completion to the next submission.
    pub(in crate::libusb) fn done(&self) -> &DoneFlag {
        &self.slot().done
    }

    /// Returns whether the transfer has ended and its outcome was not taken yet.
    fn has_outcome(&self) -> bool {
        self.lent.is_some() && self.done().is_done()
    }

    /// Returns the outcome of a transfer that has ended, once: the buffer as submitted, the number
    /// of bytes moved, and why the transfer failed if it did.
    pub(in crate::libusb) fn take(&mut self) -> Option<(Buffer, usize, Result<(), TransferError>)> {
        if !self.has_outcome() {
            return None;
        }
        let (lent, filled) = self.lent.take()?;
        let capacity = lent.pointer().1;
        // SAFETY: the flag is set, so the callback has run and the structure may be read.
        let (status, moved) = unsafe {
            (
                (*self.raw.as_ptr()).status,
                (*self.raw.as_ptr()).actual_length,
            )
        };
        // SAFETY: the flag is set, so no transfer has the memory.
        let buffer = Buffer::from_memory(unsafe { lent.back() }, filled);
        let moved = usize::try_from(moved).unwrap_or(0).min(capacity);
        let result = match status {
            LIBUSB_TRANSFER_COMPLETED => Ok(()),
            LIBUSB_TRANSFER_TIMED_OUT => Err(TransferError::Timeout),
            LIBUSB_TRANSFER_CANCELLED => Err(TransferError::Cancelled),
            LIBUSB_TRANSFER_STALL => Err(TransferError::Stall),
            LIBUSB_TRANSFER_NO_DEVICE => Err(TransferError::Gone),
            LIBUSB_TRANSFER_OVERFLOW => Err(TransferError::Overflow),
            _ => Err(TransferError::Fault),
        };
        Some((buffer, moved, result))
    }

    /// Cancels the transfer if it is in flight. It still completes.
    pub(in crate::libusb) fn cancel(&self) {
        if self.lent.is_some() && !self.has_outcome() {
            // SAFETY: the pointer is valid until this value is dropped. libusb answers NOT_FOUND
            // when the transfer has completed meanwhile.
            unsafe { sys::libusb_cancel_transfer(self.raw.as_ptr()) };
        }
    }

    fn slot(&self) -> &Slot {
        // SAFETY: the slot is freed in `drop` only, and never borrowed for writing.
        unsafe { self.slot.as_ref() }
    }
}

impl std::fmt::Debug for Transfer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transfer").finish_non_exhaustive()
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        drop(self.take());
        if let Some(lent) = self.lent.take() {
            tracing::error!("a USB transfer does not end; its memory is given up");
            std::mem::forget((lent, Arc::clone(&self.handle)));
            return;
        }
        // SAFETY: the transfer is not in flight. Both pointers are from `new` and not used after
        // this.
        unsafe {
            sys::libusb_free_transfer(self.raw.as_ptr());
            drop(Box::from_raw(self.slot.as_ptr()));
        }
    }
}

extern "system" fn on_completion(raw: *mut sys::libusb_transfer) {
    // SAFETY: `user_data` is the slot since submission, which stays until the flag is seen set.
    let slot = unsafe { &*(*raw).user_data.cast::<Slot>() };
    // SAFETY: the thread that handles events borrows the handle, and so the wake.
    let wake = unsafe { &*slot.wake };
    // SAFETY: the callback is libusb's last use of a transfer that the kernel has given back, and
    // the slot is not used after this.
    let awaited = unsafe { slot.done.finish() };
    wake.completed(awaited);
}
