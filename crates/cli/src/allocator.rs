//! The program's allocator: the C library's, which overwrites what is freed and keeps one arena.
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
/// glibc gives each thread an arena of its own (up to eight for each processor), and an arena keeps what
/// it has needed at most as long as a small allocation stands at its end. `up` has some ten threads, of
/// which a part begins anew with each loss of the modem, so that its memory grew over hours with every
/// arena that had its largest moment, though what was in use did not. The threads that move packets
/// allocate nothing, so that they do not meet at the arena's lock.
pub fn share_one_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two numbers and changes a setting of the allocator under its lock; it
    // touches no memory of this program's. That it may fail costs memory and nothing else.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives back to the system what the allocator keeps and nothing uses.
///
/// Memory that a busy hour has taken stays with the process otherwise, as long as anything small
/// stands behind it. It takes the arena's lock for less than a millisecond for each few MiB.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes a number, and gives back pages that hold no allocation, under the
    // allocator's locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
