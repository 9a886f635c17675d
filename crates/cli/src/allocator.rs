//! The program's allocator: that of the C library, made to overwrite freed memory and to keep one
//! arena.
#![allow(unsafe_code)]

#[cfg(not(fuzzing))]
use std::alloc::System;

#[cfg(not(fuzzing))]
use zeroizing_alloc::ZeroAlloc;

/// Overwrites memory when it is freed. A PIN or a password passes many buffers on its way from its file
/// to the wire, in this program and in the crates it uses, and none of them keeps it.
#[cfg(not(fuzzing))]
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// Lets all threads share one arena, for a process that runs for weeks.
///
/// glibc gives each thread an arena of its own (up to eight for each processor), and an arena keeps its
/// peak size as long as a small allocation stands at its end. `up` has some ten threads, some of which
/// start again with each loss of the modem, so that its memory grew over hours to the sum of all peaks,
/// though the memory in use did not. The threads that move packets allocate nothing, so they do not
/// contend for the arena's lock.
pub fn share_one_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two numbers and changes a setting of the allocator under its lock; it
    // touches no memory of this program's. That it may fail costs memory and nothing else.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives memory that the allocator keeps unused back to the system.
///
/// Memory of a busy hour otherwise stays with the process as long as any small allocation stands
/// behind it. The call holds the arena's lock for less than a millisecond for each few MiB.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes a number, and gives back pages that hold no allocation, under the
    // allocator's locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
