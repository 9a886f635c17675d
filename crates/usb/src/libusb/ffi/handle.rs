//! An open device in a libusb context of its own, and memory that the kernel shares.

use std::ffi::{c_int, c_short, c_uchar, c_uint, c_void};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use libusb1_sys as sys;
use libusb1_sys::constants::{LIBUSB_ERROR_INTERRUPTED, LIBUSB_OPTION_NO_DEVICE_DISCOVERY};
use rusb::UsbContext;

use super::done::DoneFlag;
use crate::libusb::wake::Wake;

/// `struct libusb_init_option` with the integer arm of its union. The other arm is a function
/// pointer, which gives the union its size and alignment.
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

// The functions are in libusb 1.0.27, but not in its Rust bindings.
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
pub(in crate::libusb) struct Handle {
    // Fields are dropped in this order: the device is closed, then the context ends, then the state
    // that callbacks refer to is freed, then the node is closed.
    usb: rusb::DeviceHandle<rusb::Context>,
    wake: Arc<Wake>,
    _node: OwnedFd,
}

impl Handle {
    /// Hands an open device node to libusb.
    ///
    /// # Errors
    /// Returns what libusb said.
    pub(in crate::libusb) fn open(node: OwnedFd, wake: Wake) -> Result<Arc<Self>, rusb::Error> {
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

    /// Returns the device as rusb knows it.
    pub(in crate::libusb) fn usb(&self) -> &rusb::DeviceHandle<rusb::Context> {
        &self.usb
    }

    /// Returns the state that callbacks and waiters share.
    pub(in crate::libusb) fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Handles libusb's events, or waits while another thread does, until something happened, the
    /// transfer of `done` has ended or `limit` has passed.
    ///
    /// # Errors
    /// Returns what libusb said.
    pub(in crate::libusb) fn handle_events(
        &self,
        limit: Duration,
        done: Option<&DoneFlag>,
    ) -> Result<(), rusb::Error> {
        let time = libc::timeval {
            tv_sec: limit.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_usec: limit.subsec_micros().into(),
        };
        let done = done.map_or(std::ptr::null_mut(), DoneFlag::as_ptr);
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
    pub(in crate::libusb) fn interrupt(&self) {
        self.usb.context().interrupt_handle_events();
    }

    /// Returns the descriptors libusb wants polled, each for writing (`true`) or reading (`false`).
    pub(in crate::libusb) fn descriptors(&self) -> Vec<(RawFd, bool)> {
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
        // SAFETY: the list is from `libusb_get_pollfds`, and is not used after this.
        unsafe { sys::libusb_free_pollfds(list) };
        descriptors
    }

    /// Returns the time after which timeouts must be handled, or `None` when a descriptor becomes
    /// ready for that.
    pub(in crate::libusb) fn next_timeout(&self) -> Option<Duration> {
        self.usb.context().next_timeout().ok().flatten()
    }

    /// Maps `length` bytes of zeroed memory that the kernel shares. Returns `None` where it grants
    /// none.
    pub(in crate::libusb) fn map(self: &Arc<Self>, length: usize) -> Option<Mapped> {
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
    // SAFETY: the callback was registered with a `Wake` that outlives the context.
    unsafe { &*wake.cast::<Wake>() }.descriptors_changed();
}

extern "system" fn on_descriptor_removed(_: c_int, wake: *mut c_void) {
    // SAFETY: the callback was registered with a `Wake` that outlives the context.
    let wake = unsafe { &*wake.cast::<Wake>() };
    // libusb removes only the descriptor of the device: when the kernel says that the device is
    // gone, and when the device is closed, after which the flag is not read.
    wake.set_gone();
    wake.descriptors_changed();
}

/// Memory that the kernel shares with the USB controller, so that transfers need no copy.
#[derive(Debug)]
pub(crate) struct Mapped {
    memory: NonNull<u8>,
    length: usize,
    handle: Arc<Handle>,
}

// SAFETY: the memory belongs to this value alone, and munmap works from any thread.
unsafe impl Send for Mapped {}
// SAFETY: shared references allow reading only.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Returns the address of the memory and its length in bytes, for a transfer that owns this
    /// value while it is in flight.
    pub(super) fn pointer(&self) -> (*mut u8, usize) {
        (self.memory.as_ptr(), self.length)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `length` bytes are mapped and initialised; in flight there is no `Mapped` to
        // borrow from.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.length) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the memory is valid as above, and borrowed for writing.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the memory is from `libusb_dev_mem_alloc` with this length, and no transfer has
        // it.
        unsafe {
            libusb_dev_mem_free(self.handle.usb.as_raw(), self.memory.as_ptr(), self.length);
        }
    }
}

/// Turns a result of libusb's, negative for an error (`enum libusb_error`), into a `Result`.
pub(super) fn check(code: c_int) -> Result<(), rusb::Error> {
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
