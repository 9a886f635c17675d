//! The system's allocator with counters, for tests of what is allocated and when. A test program
//! that counts contains `#[global_allocator] static ALLOCATOR: Counting = Counting;`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

thread_local! {
    /// Number of requests of this thread.
    static REQUESTS: Cell<usize> = const { Cell::new(0) };
    /// Whether the requests of this thread are added to those of marked threads.
    static MARKED: Cell<bool> = const { Cell::new(false) };
}

/// Number of requests of marked threads.
static MARKED_REQUESTS: AtomicUsize = AtomicUsize::new(0);
static IN_USE: AtomicIsize = AtomicIsize::new(0);
static TRANSFER_BUFFERS: AtomicIsize = AtomicIsize::new(0);

/// Size of a transfer buffer in bytes. It is whole packets, and no other allocation is likely to
/// have it.
pub const TRANSFER_BUFFER: u32 = 31 * 512;

/// The system's allocator, with counters.
pub struct Counting;

fn count_request() {
    // A thread that is being torn down no longer has its counters.
    let _ = REQUESTS.try_with(|requests| requests.set(requests.get() + 1));
    if MARKED.try_with(Cell::get).unwrap_or(false) {
        MARKED_REQUESTS.fetch_add(1, Ordering::Relaxed);
    }
}

fn count_bytes(more: usize, less: usize) {
    let size = TRANSFER_BUFFER as usize;
    IN_USE.fetch_add(more as isize - less as isize, Ordering::Relaxed);
    let buffers = isize::from(more == size) - isize::from(less == size);
    if buffers != 0 {
        TRANSFER_BUFFERS.fetch_add(buffers, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
// Counting uses atomics and constant-initialised thread-locals without a destructor, so it neither
// allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_request();
        count_bytes(layout.size(), 0);
        // SAFETY: the caller keeps the contract of this function, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_request();
        count_bytes(layout.size(), 0);
        // SAFETY: the caller keeps the contract of this function, which is that of `System`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count_bytes(0, layout.size());
        // SAFETY: the caller keeps the contract of this function, which is that of `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_request();
        count_bytes(size, layout.size());
        // SAFETY: the caller keeps the contract of this function, which is that of `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Returns the number of requests that this thread has made.
pub fn requests() -> usize {
    REQUESTS.get()
}

/// Marks this thread, or removes its mark.
pub fn mark_this_thread(marked: bool) {
    MARKED.set(marked);
}

/// Runs `work` with this thread unmarked.
pub fn unmarked<T>(work: impl FnOnce() -> T) -> T {
    let before = MARKED.replace(false);
    let result = work();
    MARKED.set(before);
    result
}

/// Returns the number of requests that marked threads have made.
pub fn marked_requests() -> usize {
    MARKED_REQUESTS.load(Ordering::Relaxed)
}

/// Returns the number of bytes that the process has in use.
pub fn in_use() -> isize {
    IN_USE.load(Ordering::Relaxed)
}

/// Returns the number of allocations of the size [`TRANSFER_BUFFER`] in use.
pub fn transfer_buffers() -> isize {
    TRANSFER_BUFFERS.load(Ordering::Relaxed)
}
