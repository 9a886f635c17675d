//! The only module with `unsafe` code: libusb's asynchronous API and the memory it is lent.
//!
//! # Why this is sound
//!
//! **The handle.** A [`Handle`] owns a libusb context, one open device in it and the descriptor it
//! was opened from, in that order of destruction. It is shared as `Arc<Handle>`; everything that
//! libusb must not outlive holds one: each [`Transfer`], each [`Mapped`] memory. libusb's events
//! are handled by methods of `Handle` only, so while a callback runs, the thread it runs in
//! borrows the handle, and with it the [`Wake`] that callbacks refer to.
//!
//! **A transfer** consists of a `libusb_transfer` and a [`Slot`], both on the heap at fixed
//! addresses and both freed by `Transfer::drop` only. From submission to completion ("in flight")
//! libusb and the kernel own the `libusb_transfer`, the lent memory and the URB in the kernel.
//! `done` is the hand-over: the callback, libusb's last use of the transfer
//! (`usbi_handle_transfer_completion` in `io.c`), sets it as its last use of the slot (no reference
//! to it is used afterwards); the owner
//! touches `libusb_transfer` and memory only after having seen it set (acquire after release). The
//! only call made in flight is `libusb_cancel_transfer`, which libusb allows from any thread, also
//! when the transfer completes meanwhile.
//!
//! **Lent memory** is held as a raw pointer while in flight: no reference to it exists, and moving
//! the `Transfer` does not move it. It turns back into a [`Buffer`] after `done`.
//!
//! **Dropping in flight** frees nothing: slot, `libusb_transfer`, memory and one reference to the
//! handle are leaked on purpose, because the kernel may still write to the memory. Owners cancel
//! and wait before they drop; this is for a kernel that does not answer.
//!
//! **Mapped memory** comes from `mmap` of the device (`libusb_dev_mem_alloc`). The kernel keeps it
//! for as long as it is mapped, also after the device is gone; `libusb_dev_mem_free` is `munmap`.
//! It is unmapped in `Mapped::drop`, and a `Mapped` cannot be dropped while a transfer has it.
//!
//! **Callbacks never unwind** into C: they are `extern "system"` functions, in which a panic
//! aborts, and what they call does not panic.

use std::ffi::{c_int, c_short, c_uchar, c_uint, c_void};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use libusb1_sys as sys;
use libusb1_sys::constants::{
    LIBUSB_ERROR_INTERRUPTED, LIBUSB_OPTION_NO_DEVICE_DISCOVERY, LIBUSB_TRANSFER_ADD_ZERO_PACKET,
    LIBUSB_TRANSFER_CANCELLED, LIBUSB_TRANSFER_COMPLETED, LIBUSB_TRANSFER_NO_DEVICE,
    LIBUSB_TRANSFER_OVERFLOW, LIBUSB_TRANSFER_STALL, LIBUSB_TRANSFER_TIMED_OUT,
    LIBUSB_TRANSFER_TYPE_BULK, LIBUSB_TRANSFER_TYPE_CONTROL, LIBUSB_TRANSFER_TYPE_INTERRUPT,
};
use rusb::UsbContext;

use super::wake::{DONE, IN_FLIGHT, Wake};
use crate::buffer::{Buffer, Memory};
use crate::error::TransferError;

/// `struct libusb_init_option` with the integer arm of its union; the other arm is a function
/// pointer, which gives it its size and alignment.
#[repr(C)]
struct InitOption {
    option: c_uint,
    value: InitValue,
}

#[repr(C)]
union InitValue {
    integer: c_int,
    _callback: *const c_void,
}

// In libusb 1.0.27, but not in its bindings.
unsafe extern "system" {
    fn libusb_init_context(
        context: *mut *mut sys::libusb_context,
        options: *const InitOption,
        count: c_int,
    ) -> c_int;
    fn libusb_dev_mem_alloc(handle: *mut sys::libusb_device_handle, length: usize) -> *mut c_uchar;
    fn libusb_dev_mem_free(
        handle: *mut sys::libusb_device_handle,
        memory: *mut c_uchar,
        length: usize,
    ) -> c_int;
}

/// An open device in a libusb context of its own.
#[derive(Debug)]
pub(super) struct Handle {
    // Fields are dropped in this order: the device is closed, then the context ends, then what
    // callbacks refer to goes, then the node is closed.
    usb: rusb::DeviceHandle<rusb::Context>,
    wake: Arc<Wake>,
    _node: OwnedFd,
}

impl Handle {
    /// Hands an open device node to libusb.
    pub(super) fn open(node: OwnedFd, wake: Wake) -> Result<Arc<Self>, rusb::Error> {
        let option = InitOption {
            option: LIBUSB_OPTION_NO_DEVICE_DISCOVERY,
            value: InitValue { integer: 1 },
        };
        let mut raw = std::ptr::null_mut();
        // SAFETY: both pointers are valid for the call, and one option is passed.
        check(unsafe { libusb_init_context(&mut raw, &option, 1) })?;
        // SAFETY: libusb just made it, and nobody else has it.
        let context = unsafe { rusb::Context::from_raw(raw) };
        // SAFETY: the descriptor is owned by the result and closed after the device.
        let usb = unsafe { context.open_device_with_fd(node.as_raw_fd()) }?;
        let handle = Arc::new(Self {
            usb,
            wake: Arc::new(wake),
            _node: node,
        });
        // SAFETY: `wake` outlives the context, which is part of `handle` and ends before it.
        unsafe {
            sys::libusb_set_pollfd_notifiers(
                handle.context(),
                Some(on_descriptor_added),
                Some(on_descriptor_removed),
                Arc::as_ptr(&handle.wake).cast::<c_void>().cast_mut(),
            );
        }
        Ok(handle)
    }

    /// For what rusb offers.
    pub(super) fn usb(&self) -> &rusb::DeviceHandle<rusb::Context> {
        &self.usb
    }

    pub(super) fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Handles libusb's events, or waits while another thread does, until something happened,
    /// `done` is set or `limit` has passed.
    pub(super) fn handle_events(
        &self,
        limit: Duration,
        done: Option<&AtomicI32>,
    ) -> Result<(), rusb::Error> {
        let time = libc::timeval {
            tv_sec: limit.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_usec: limit.subsec_micros().into(),
        };
        let done = done.map_or(std::ptr::null_mut(), AtomicI32::as_ptr);
        // SAFETY: context and pointers are valid for the call. libusb reads `done` as a plain
        // integer while a callback in another thread may set it, as its API provides.
        let code =
            unsafe { sys::libusb_handle_events_timeout_completed(self.context(), &time, done) };
        match code {
            LIBUSB_ERROR_INTERRUPTED => Ok(()),
            code => check(code),
        }
    }

    /// Makes a thread that blocks in [`Handle::handle_events`] return.
    pub(super) fn interrupt(&self) {
        self.usb.context().interrupt_handle_events();
    }

    /// Descriptors libusb wants polled, and whether for writing.
    pub(super) fn descriptors(&self) -> Vec<(RawFd, bool)> {
        // SAFETY: the context is valid; the result is null or a null-terminated list of valid
        // pointers, freed below.
        let list = unsafe { sys::libusb_get_pollfds(self.context()) };
        if list.is_null() {
            return Vec::new();
        }
        let mut descriptors = Vec::new();
        for index in 0.. {
            // SAFETY: all entries up to the terminating null are within the list.
            let entry = unsafe { *list.add(index) };
            if entry.is_null() {
                break;
            }
            // SAFETY: entries point to valid structures until the list is freed.
            let (fd, events) = unsafe { ((*entry).fd, (*entry).events) };
            descriptors.push((fd, events & libc::POLLOUT != 0));
        }
        // SAFETY: from libusb_get_pollfds, and not used after this.
        unsafe { sys::libusb_free_pollfds(list) };
        descriptors
    }

    /// When timeouts must be handled at the latest, if no descriptor tells.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.usb.context().next_timeout().ok().flatten()
    }

    /// Zeroed memory shared with the kernel, where it grants that.
    pub(super) fn map(self: &Arc<Self>, length: usize) -> Option<Mapped> {
        if length == 0 {
            return None;
        }
        // SAFETY: the handle is open.
        let memory = unsafe { libusb_dev_mem_alloc(self.usb.as_raw(), length) };
        let memory = NonNull::new(memory)?;
        Some(Mapped {
            memory,
            length,
            handle: Arc::clone(self),
        })
    }

    fn context(&self) -> *mut sys::libusb_context {
        self.usb.context().as_raw()
    }
}

extern "system" fn on_descriptor_added(_: c_int, _: c_short, wake: *mut c_void) {
    // SAFETY: registered with a `Wake` that outlives the context.
    unsafe { &*wake.cast::<Wake>() }.descriptors_changed();
}

extern "system" fn on_descriptor_removed(_: c_int, wake: *mut c_void) {
    // SAFETY: registered with a `Wake` that outlives the context.
    let wake = unsafe { &*wake.cast::<Wake>() };
    // The device's is the only one libusb ever removes: when the kernel says that the device is
    // gone, and when the device is closed, after which nobody asks.
    wake.set_gone();
    wake.descriptors_changed();
}

/// Memory shared with the kernel.
#[derive(Debug)]
pub(crate) struct Mapped {
    memory: NonNull<u8>,
    length: usize,
    handle: Arc<Handle>,
}

// SAFETY: the memory belongs to this value alone, and munmap works from any thread.
unsafe impl Send for Mapped {}
// SAFETY: shared references only allow reading.
unsafe impl Sync for Mapped {}

impl Mapped {
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `length` bytes are mapped and initialised; in flight there is no `Mapped` to
        // borrow from.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.length) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed for writing.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: from libusb_dev_mem_alloc with this length, and no transfer has it.
        unsafe {
            libusb_dev_mem_free(self.handle.usb.as_raw(), self.memory.as_ptr(), self.length);
        }
    }
}

/// What kind of transfer, as far as queues and control requests need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Control,
    Bulk,
    Interrupt,
}

/// A transfer to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) endpoint: u8,
    /// Bytes of the buffer to send or fill; for control transfers with the 8 bytes of setup.
    pub(super) length: usize,
    pub(super) zero_packet: bool,
    /// In milliseconds; 0 for none.
    pub(super) timeout: u32,
}

/// What callbacks see of a transfer.
struct Slot {
    /// [`DONE`] from completion to the next submission.
    done: AtomicI32,
    wake: *const Wake,
}

/// Memory that libusb has.
enum Lent {
    Heap(*mut [u8]),
    Mapped(Mapped),
}

impl Lent {
    fn from(memory: Memory) -> Self {
        match memory {
            Memory::Heap(bytes) => Self::Heap(Box::into_raw(bytes)),
            Memory::Mapped(mapped) => Self::Mapped(mapped),
            // Of the other backend: its bytes, not its memory.
            Memory::Nusb(area) => Self::Heap(Box::into_raw(area.bytes().into())),
        }
    }

    fn pointer(&self) -> (*mut u8, usize) {
        match self {
            Self::Heap(bytes) => (bytes.cast::<u8>(), bytes.len()),
            Self::Mapped(mapped) => (mapped.memory.as_ptr(), mapped.length),
        }
    }

    /// # Safety
    /// No transfer has it.
    unsafe fn back(self) -> Memory {
        match self {
            // SAFETY: from Box::into_raw, and the caller vouches for the rest.
            Self::Heap(bytes) => Memory::Heap(unsafe { Box::from_raw(bytes) }),
            Self::Mapped(mapped) => Memory::Mapped(mapped),
        }
    }
}

/// One libusb transfer, used again and again.
pub(super) struct Transfer {
    raw: NonNull<sys::libusb_transfer>,
    slot: NonNull<Slot>,
    /// The memory and its payload's length before submission, while in flight.
    lent: Option<(Lent, usize)>,
    handle: Arc<Handle>,
}

// SAFETY: libusb's transfers may be submitted, cancelled and freed from any thread; the pointers
// are this value's alone, but for the callback, which shares only what is atomic.
unsafe impl Send for Transfer {}

impl Transfer {
    /// A transfer that is not in flight; `None` without memory for it.
    pub(super) fn new(handle: &Arc<Handle>) -> Option<Self> {
        // SAFETY: no isochronous packets.
        let raw = NonNull::new(unsafe { sys::libusb_alloc_transfer(0) })?;
        let slot = Box::new(Slot {
            done: AtomicI32::new(IN_FLIGHT),
            wake: Arc::as_ptr(&handle.wake),
        });
        let slot = NonNull::from(Box::leak(slot));
        Some(Self {
            raw,
            slot,
            lent: None,
            handle: Arc::clone(handle),
        })
    }

    /// Starts it with `buffer`.
    pub(super) fn submit(
        &mut self,
        request: Request,
        buffer: Buffer,
    ) -> Result<(), (Buffer, rusb::Error)> {
        let capacity = buffer.capacity();
        let length = match c_int::try_from(request.length) {
            Ok(length) if request.length <= capacity && self.lent.is_none() => length,
            _ => return Err((buffer, rusb::Error::InvalidParam)),
        };
        let (memory, filled) = buffer.into_memory();
        let lent = Lent::from(memory);
        self.slot().done.store(IN_FLIGHT, Ordering::SeqCst);
        // SAFETY: not in flight, so the structure is ours to fill; the fields are set through the
        // pointer because a callback that is not set yet is no valid `libusb_transfer`.
        unsafe {
            let raw = self.raw.as_ptr();
            (*raw).dev_handle = self.handle.usb.as_raw();
            (*raw).flags = if request.zero_packet {
                LIBUSB_TRANSFER_ADD_ZERO_PACKET
            } else {
                0
            };
            (*raw).endpoint = request.endpoint;
            (*raw).transfer_type = match request.kind {
                Kind::Control => LIBUSB_TRANSFER_TYPE_CONTROL,
                Kind::Bulk => LIBUSB_TRANSFER_TYPE_BULK,
                Kind::Interrupt => LIBUSB_TRANSFER_TYPE_INTERRUPT,
            };
            (*raw).timeout = request.timeout;
            (*raw).length = length;
            (&raw mut (*raw).callback).write(on_completion);
            (*raw).user_data = self.slot.as_ptr().cast();
            (*raw).buffer = lent.pointer().0;
        }
        // SAFETY: filled above; memory, slot and handle stay until `done`.
        let code = unsafe { sys::libusb_submit_transfer(self.raw.as_ptr()) };
        match check(code) {
            Ok(()) => {
                self.lent = Some((lent, filled));
                Ok(())
            }
            Err(error) => {
                // SAFETY: libusb refused it, so it has none of it.
                let memory = unsafe { lent.back() };
                Err((Buffer::from_memory(memory, filled), error))
            }
        }
    }

    /// [`DONE`] from completion on, until the next submission.
    pub(super) fn done(&self) -> &AtomicI32 {
        &self.slot().done
    }

    /// Whether it has ended and its outcome was not taken yet.
    pub(super) fn is_done(&self) -> bool {
        self.lent.is_some() && self.done().load(Ordering::SeqCst) == DONE
    }

    /// The outcome, once, when it has ended: the buffer as submitted, bytes moved, and why it
    /// ended if not well.
    pub(super) fn take(&mut self) -> Option<(Buffer, usize, Result<(), TransferError>)> {
        if !self.is_done() {
            return None;
        }
        let (lent, filled) = self.lent.take()?;
        let capacity = lent.pointer().1;
        // SAFETY: `done` is set, so the callback has run and the structure is ours.
        let (status, moved) = unsafe {
            (
                (*self.raw.as_ptr()).status,
                (*self.raw.as_ptr()).actual_length,
            )
        };
        // SAFETY: as above, so no transfer has the memory.
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

    /// Asks for its end, if it is in flight.
    pub(super) fn cancel(&self) {
        if self.lent.is_some() && !self.is_done() {
            // SAFETY: valid until this value is dropped; libusb answers NOT_FOUND when it has
            // completed meanwhile.
            unsafe { sys::libusb_cancel_transfer(self.raw.as_ptr()) };
        }
    }

    fn slot(&self) -> &Slot {
        // SAFETY: freed in drop only, and never borrowed for writing.
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
        // SAFETY: not in flight; both are from `new` and not used after this.
        unsafe {
            sys::libusb_free_transfer(self.raw.as_ptr());
            drop(Box::from_raw(self.slot.as_ptr()));
        }
    }
}

extern "system" fn on_completion(raw: *mut sys::libusb_transfer) {
    // SAFETY: `user_data` is the slot since submission, which stays until `done` is seen set.
    let slot = unsafe { &*(*raw).user_data.cast::<Slot>() };
    // SAFETY: the thread that handles events borrows the handle, and so the wake.
    let wake = unsafe { &*slot.wake };
    // After this the owner may have freed the slot.
    wake.complete(&slot.done);
}

fn check(code: c_int) -> Result<(), rusb::Error> {
    use libusb1_sys::constants as c;
    Err(match code {
        code if code >= 0 => return Ok(()),
        c::LIBUSB_ERROR_IO => rusb::Error::Io,
        c::LIBUSB_ERROR_INVALID_PARAM => rusb::Error::InvalidParam,
        c::LIBUSB_ERROR_ACCESS => rusb::Error::Access,
        c::LIBUSB_ERROR_NO_DEVICE => rusb::Error::NoDevice,
        c::LIBUSB_ERROR_NOT_FOUND => rusb::Error::NotFound,
        c::LIBUSB_ERROR_BUSY => rusb::Error::Busy,
        c::LIBUSB_ERROR_TIMEOUT => rusb::Error::Timeout,
        c::LIBUSB_ERROR_OVERFLOW => rusb::Error::Overflow,
        c::LIBUSB_ERROR_PIPE => rusb::Error::Pipe,
        c::LIBUSB_ERROR_INTERRUPTED => rusb::Error::Interrupted,
        c::LIBUSB_ERROR_NO_MEM => rusb::Error::NoMem,
        c::LIBUSB_ERROR_NOT_SUPPORTED => rusb::Error::NotSupported,
        _ => rusb::Error::Other,
    })
}
