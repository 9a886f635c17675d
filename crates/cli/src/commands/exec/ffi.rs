//! Signals as values that are read: they are blocked, and the kernel delivers them through a
//! descriptor (signalfd(2)). No thread and no handler is needed, and the sender of each is known.
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use libc::{c_int, c_void, signalfd_siginfo, sigset_t};

/// The signals that a thread has blocked.
#[derive(Clone, Copy)]
pub(super) struct Mask(sigset_t);

/// Lets the program start with this mask instead of that of the thread that starts it.
pub(super) fn start_with(command: &mut Command, mask: Mask) {
    // SAFETY: between fork and exec the closure makes one call that is safe there
    // (signal-safety(7)), on a valid set that it owns.
    unsafe {
        command.pre_exec(move || set_mask(&mask.0));
    }
}

fn set_mask(set: &sigset_t) -> io::Result<()> {
    // SAFETY: the set is valid, and the old mask is not requested.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Blocks signals in the calling thread, and returns the descriptor from which they are read, and the
/// mask as it was before.
///
/// # Errors
/// Those of signalfd(2), and [`io::ErrorKind::InvalidInput`] for a number that is no signal's.
pub(super) fn signals(numbers: &[c_int]) -> io::Result<(OwnedFd, Mask)> {
    let mut set = MaybeUninit::<sigset_t>::uninit();
    // SAFETY: `sigemptyset` fills in the whole set before anything reads it, `sigaddset` writes within
    // it, and both check the number.
    let set = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &number in numbers {
            if libc::sigaddset(set.as_mut_ptr(), number) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        set.assume_init()
    };
    let mut before = MaybeUninit::<sigset_t>::uninit();
    // SAFETY: the set is valid, and there is room for the old mask.
    let blocked =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, before.as_mut_ptr()) };
    if blocked != 0 {
        return Err(io::Error::from_raw_os_error(blocked));
    }
    // SAFETY: the call above has succeeded and filled it in.
    let before = Mask(unsafe { before.assume_init() });
    // SAFETY: the set is valid, and -1 asks for a new descriptor.
    let descriptor =
        unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, and no other value owns it.
    Ok((unsafe { OwnedFd::from_raw_fd(descriptor) }, before))
}

/// Reads a signal: its number, and why it was sent (`si_code`, sigaction(2)). Returns `None` when there
/// is none.
///
/// # Errors
/// Those of read(2).
pub(super) fn next(signals: BorrowedFd<'_>) -> io::Result<Option<(c_int, c_int)>> {
    let mut signal = MaybeUninit::<signalfd_siginfo>::uninit();
    let size = size_of::<signalfd_siginfo>();
    // SAFETY: the kernel writes at most `size` bytes to a place with room for them.
    let read = unsafe {
        libc::read(
            signals.as_raw_fd(),
            signal.as_mut_ptr().cast::<c_void>(),
            size,
        )
    };
    if read < 0 {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        };
    }
    if usize::try_from(read) != Ok(size) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // SAFETY: the kernel has written all of it, and any bits are valid for its integers.
    let signal = unsafe { signal.assume_init() };
    Ok(Some((signal.ssi_signo.cast_signed(), signal.ssi_code)))
}
