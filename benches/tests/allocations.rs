//! Nothing is allocated on the way of a packet: counted, not claimed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use uwwan_benches::{WORKLOADS, block, fill, framing};
use uwwan_ncm::{Builder, Format, Limits, Receiver};

/// The system's allocator, counting what the current thread asks of it.
struct Counting;

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // A thread that is being torn down no longer has the counter.
    let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
}

// SAFETY: every call is handed on unchanged to the system's allocator, which keeps the contract;
// counting touches a constant-initialised thread-local without a destructor, so it neither
// allocates nor panics.
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

fn allocations(work: impl FnOnce()) -> usize {
    let before = ASKED.get();
    work();
    ASKED.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(
        allocations(|| drop(std::hint::black_box(vec![1_u8; 100]))),
        1
    );
}

#[test]
fn building_allocates_nothing() {
    for workload in &WORKLOADS {
        for (format, linux) in [
            (Format::Ntb16, false),
            (Format::Ntb32, false),
            (Format::Ntb16, true),
        ] {
            let framing = framing(format, linux, workload);
            let mut builder = Builder::new(framing);
            let mut bytes = vec![0; framing.max_block];
            let mut datagrams = 0;
            let count = allocations(|| {
                for _ in 0..3 {
                    datagrams += fill(&mut builder, &mut bytes, workload).1;
                }
            });
            assert!(datagrams >= 30);
            assert_eq!(count, 0, "{} {format} {linux}", workload.name);
        }
    }
}

#[test]
fn parsing_allocates_nothing() {
    for workload in &WORKLOADS {
        for format in [Format::Ntb16, Format::Ntb32] {
            let bytes = block(framing(format, false, workload), workload);
            let mut receiver = Receiver::new(Limits::default());
            let mut payload = 0;
            let count = allocations(|| {
                receiver.receive(&bytes, |datagram| payload += datagram.range.len());
            });
            assert!(payload > 13000);
            assert_eq!(count, 0, "{} {format}", workload.name);
        }
    }
}
