//! libusb in Rust, so that Miri can run the code that uses the real one. Transfers that are
//! submitted end in whichever thread handles events, and their memory is written to until then. The
//! functions have the names of the real ones, which Miri cannot call.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::VecDeque;
use std::ffi::{c_int, c_uchar, c_void};
use std::sync::{Mutex, PoisonError};

use libusb1_sys as sys;
use libusb1_sys::constants::{
    LIBUSB_ERROR_IO, LIBUSB_ERROR_NOT_FOUND, LIBUSB_TRANSFER_CANCELLED, LIBUSB_TRANSFER_COMPLETED,
};

/// Address of an endpoint on which the kernel refuses every transfer.
pub(super) const REFUSED: u8 = 0x8f;
/// Address of an endpoint whose transfers end when they are cancelled, and not before.
pub(super) const SILENT: u8 = 0x8e;
/// Byte that fills the memory of receive transfers.
pub(super) const BROUGHT: u8 = 0xa5;

/// A transfer in the hands of the kernel.
struct Urb {
    transfer: *mut sys::libusb_transfer,
    cancelled: bool,
}

// SAFETY: the kernel passes a transfer from thread to thread.
unsafe impl Send for Urb {}

/// The object that `libusb_context` and `libusb_device_handle` point to.
#[derive(Default)]
struct Kernel {
    urbs: Mutex<VecDeque<Urb>>,
}

/// # Safety
/// The pointer is from `libusb_init_context` and was not passed to `libusb_exit`.
unsafe fn kernel<'a, T>(pointer: *mut T) -> &'a Kernel {
    // SAFETY: the caller vouches that the pointer is valid.
    unsafe { &*pointer.cast::<Kernel>() }
}

#[unsafe(no_mangle)]
extern "system" fn libusb_init_context(
    context: *mut *mut sys::libusb_context,
    _: *const c_void,
    _: c_int,
) -> c_int {
    // SAFETY: the caller passes a valid place for the result.
    unsafe { *context = Box::into_raw(Box::<Kernel>::default()).cast() };
    0
}

#[unsafe(no_mangle)]
extern "system" fn libusb_exit(context: *mut sys::libusb_context) {
    // SAFETY: the pointer is from `libusb_init_context`, and this is its last use.
    drop(unsafe { Box::from_raw(context.cast::<Kernel>()) });
}

#[unsafe(no_mangle)]
extern "system" fn libusb_wrap_sys_device(
    context: *mut sys::libusb_context,
    _: *mut c_int,
    handle: *mut *mut sys::libusb_device_handle,
) -> c_int {
    // SAFETY: the caller passes a valid place for the result.
    unsafe { *handle = context.cast() };
    0
}

#[unsafe(no_mangle)]
extern "system" fn libusb_close(_: *mut sys::libusb_device_handle) {}

#[unsafe(no_mangle)]
extern "system" fn libusb_set_pollfd_notifiers(
    _: *mut sys::libusb_context,
    added: Option<extern "system" fn(c_int, i16, *mut c_void)>,
    removed: Option<extern "system" fn(c_int, *mut c_void)>,
    data: *mut c_void,
) {
    // The real libusb calls this function when the kernel says that the device is gone, which does
    // not happen here.
    let _ = removed;
    added.expect("a function")(0, 1, data);
}

#[unsafe(no_mangle)]
extern "system" fn libusb_get_pollfds(
    _: *mut sys::libusb_context,
) -> *const *mut sys::libusb_pollfd {
    let one = Box::into_raw(Box::new(sys::libusb_pollfd { fd: 0, events: 4 }));
    Box::into_raw(Box::new([one, std::ptr::null_mut()])).cast()
}

#[unsafe(no_mangle)]
extern "system" fn libusb_free_pollfds(list: *const *mut sys::libusb_pollfd) {
    // SAFETY: the pointer is from `libusb_get_pollfds`.
    let list = unsafe { Box::from_raw(list.cast::<[*mut sys::libusb_pollfd; 2]>().cast_mut()) };
    // SAFETY: the entry is from `libusb_get_pollfds` as well.
    drop(unsafe { Box::from_raw(list[0]) });
}

#[unsafe(no_mangle)]
extern "system" fn libusb_interrupt_event_handler(_: *mut sys::libusb_context) {}

#[unsafe(no_mangle)]
extern "system" fn libusb_alloc_transfer(_: c_int) -> *mut sys::libusb_transfer {
    // SAFETY: the layout has a size.
    unsafe { alloc_zeroed(Layout::new::<sys::libusb_transfer>()).cast() }
}

#[unsafe(no_mangle)]
extern "system" fn libusb_free_transfer(transfer: *mut sys::libusb_transfer) {
    // SAFETY: the pointer is from `libusb_alloc_transfer`.
    unsafe { dealloc(transfer.cast(), Layout::new::<sys::libusb_transfer>()) };
}

#[unsafe(no_mangle)]
extern "system" fn libusb_submit_transfer(transfer: *mut sys::libusb_transfer) -> c_int {
    // SAFETY: the caller has filled the structure, and owns it until this function returns.
    let (kernel, endpoint) = unsafe { (kernel((*transfer).dev_handle), (*transfer).endpoint) };
    if endpoint == REFUSED {
        return LIBUSB_ERROR_IO;
    }
    let mut urbs = kernel.urbs.lock().unwrap_or_else(PoisonError::into_inner);
    urbs.push_back(Urb {
        transfer,
        cancelled: false,
    });
    0
}

#[unsafe(no_mangle)]
extern "system" fn libusb_cancel_transfer(transfer: *mut sys::libusb_transfer) -> c_int {
    // SAFETY: the owner of the transfer has not freed it, and nobody writes this field while it is
    // in flight.
    let kernel = unsafe { kernel((*transfer).dev_handle) };
    let mut urbs = kernel.urbs.lock().unwrap_or_else(PoisonError::into_inner);
    match urbs.iter_mut().find(|urb| urb.transfer == transfer) {
        Some(urb) => urb.cancelled = true,
        None => return LIBUSB_ERROR_NOT_FOUND,
    }
    0
}

#[unsafe(no_mangle)]
extern "system" fn libusb_handle_events_timeout_completed(
    context: *mut sys::libusb_context,
    _: *const libc::timeval,
    _: *mut c_int,
) -> c_int {
    // SAFETY: the caller's context is open.
    let kernel = unsafe { kernel(context) };
    loop {
        let mut urbs = kernel.urbs.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the transfer is in flight, so the structure is the kernel's.
        let ends = |urb: &Urb| urb.cancelled || unsafe { (*urb.transfer).endpoint } != SILENT;
        let Some(urb) = urbs.iter().position(ends).and_then(|at| urbs.remove(at)) else {
            return 0;
        };
        drop(urbs);
        let raw = urb.transfer;
        // SAFETY: the transfer is in flight, and the buffer has `length` bytes.
        unsafe {
            (*raw).status = LIBUSB_TRANSFER_CANCELLED;
            (*raw).actual_length = 0;
            if !urb.cancelled {
                (*raw).status = LIBUSB_TRANSFER_COMPLETED;
                (*raw).actual_length = (*raw).length;
                let length = usize::try_from((*raw).length).unwrap();
                if (*raw).endpoint & 0x80 != 0 {
                    (*raw).buffer.write_bytes(BROUGHT, length);
                } else {
                    let sent = std::slice::from_raw_parts((*raw).buffer, length);
                    assert!(sent.iter().all(|byte| *byte == BROUGHT));
                }
            }
            // The callback is the last use of the transfer.
            ((*raw).callback)(raw);
        }
    }
}

#[unsafe(no_mangle)]
extern "system" fn libusb_dev_mem_alloc(
    _: *mut sys::libusb_device_handle,
    length: usize,
) -> *mut c_uchar {
    Box::into_raw(vec![0_u8; length].into_boxed_slice()).cast()
}

#[unsafe(no_mangle)]
extern "system" fn libusb_dev_mem_free(
    _: *mut sys::libusb_device_handle,
    memory: *mut c_uchar,
    length: usize,
) -> c_int {
    // SAFETY: the memory is from `libusb_dev_mem_alloc` with this length.
    drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(memory, length)) });
    0
}
