//! Counts what the data thread asks of the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    /// Whether this thread's requests are counted.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

static ASKED: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting what the data thread asks of it.
struct Counting;

fn count() {
    // A thread that is being torn down no longer has the mark.
    if COUNTED.try_with(Cell::get).unwrap_or(false) {
        ASKED.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is handed on unchanged to the system's allocator, which keeps the contract;
// counting touches an atomic and a constant-initialised thread-local without a destructor, so it
// neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// From here on, this thread is counted, or not.
pub fn count_this_thread(counted: bool) {
    COUNTED.set(counted);
}

/// Does something this thread is not counted for.
pub fn uncounted<T>(work: impl FnOnce() -> T) -> T {
    let before = COUNTED.replace(false);
    let result = work();
    COUNTED.set(before);
    result
}

/// Allocations by counted threads so far.
pub fn asked() -> usize {
    ASKED.load(Ordering::Relaxed)
}
