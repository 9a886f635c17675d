//! libusb's asynchronous API and the memory it is lent: the only module of this backend with
//! `unsafe` code.
//!
//! # Why this is sound
//!
//! **The handle.** A [`Handle`](handle::Handle) owns a libusb context, one open device in it and
//! the descriptor it was opened from, in that order of destruction. It is shared as `Arc<Handle>`;
//! everything that libusb must not outlive holds one: each [`Transfer`](transfer::Transfer), each
//! [`Mapped`](handle::Mapped) memory. libusb's events are handled by methods of `Handle` only, so
//! while a callback runs, the thread it runs in borrows the handle, and with it the `Wake` that
//! callbacks refer to.
//!
//! **A transfer** consists of a `libusb_transfer` and a `Slot`, both on the heap at fixed addresses
//! and both freed by `Transfer::drop` only. From submission to completion ("in flight") libusb and
//! the kernel own the `libusb_transfer`, the lent memory and the URB in the kernel. The
//! [`DoneFlag`](done::DoneFlag) in the slot is the hand-over: the callback, libusb's last use of the
//! transfer (`usbi_handle_transfer_completion` in `io.c`), sets it as its last use of the slot (no
//! reference to it is used afterwards); the owner touches `libusb_transfer` and memory only after
//! having seen it set (acquire after release). Setting it is an `unsafe` operation, and only the
//! callback does it: whoever else sees the flag can look at it, or note that a thread sleeps until
//! it is set, and can therefore not end a transfer that libusb still has. The only call made in
//! flight is `libusb_cancel_transfer`, which libusb allows from any thread, also when the transfer
//! completes meanwhile.
//!
//! **Lent memory** is held as a raw pointer while in flight: no reference to it exists, and moving
//! the `Transfer` does not move it. It turns back into a [`Buffer`](crate::buffer::Buffer) after
//! the flag was seen set.
//!
//! **Dropping in flight** frees nothing: slot, `libusb_transfer`, memory and one reference to the
//! handle are leaked on purpose, because the kernel may still write to the memory. Owners cancel
//! and wait before they drop; the leak is for a kernel that does not end a transfer.
//!
//! **Mapped memory** comes from `mmap` of the device (`libusb_dev_mem_alloc`). The kernel keeps it
//! for as long as it is mapped, also after the device is gone; `libusb_dev_mem_free` is `munmap`.
//! It is unmapped in `Mapped::drop`, and a `Mapped` cannot be dropped while a transfer has it.
//!
//! **Callbacks never unwind** into C: they are `extern "system"` functions, in which a panic
//! aborts, and what they call does not panic.

pub(super) mod done;
pub(crate) mod handle;
pub(super) mod transfer;

#[cfg(all(test, miri))]
mod fake;
#[cfg(all(test, miri))]
mod miri;
