//! The memory of the whole process, counted, and the transfer buffers in it one by one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

/// The system's allocator, counting the bytes that are in use.
struct Counting;

/// Size of a transfer buffer in bytes: whole packets, and nothing else is likely to have it.
pub const BUFFER: u32 = 31 * 512;

static IN_USE: AtomicIsize = AtomicIsize::new(0);
static BUFFERS: AtomicIsize = AtomicIsize::new(0);

fn count(more: usize, less: usize) {
    IN_USE.fetch_add(more as isize - less as isize, Ordering::Relaxed);
    let buffers = isize::from(more == BUFFER as usize) - isize::from(less == BUFFER as usize);
    if buffers != 0 {
        BUFFERS.fetch_add(buffers, Ordering::Relaxed);
    }
}

// SAFETY: every call is handed on unchanged to the system's allocator, which keeps the contract;
// counting touches an atomic number alone, so it neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: the caller's promise, handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes in use.
pub fn in_use() -> isize {
    IN_USE.load(Ordering::Relaxed)
}

/// Transfer buffers there are.
pub fn buffers() -> isize {
    BUFFERS.load(Ordering::Relaxed)
}
