//! The place where the process becomes two.
#![allow(unsafe_code)]

use std::io;

use rustix::process::Pid;

/// Splits the process in two. Returns the child's process id in the parent and `None` in the child.
///
/// # Errors
/// Those of fork(2), and [`io::ErrorKind::Other`] when this process has more than one thread or the
/// kernel does not tell.
pub fn fork() -> io::Result<Option<Pid>> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("threads are running"));
    }
    // SAFETY: this is the only thread, so no lock is held by one that the child would not have, and the
    // child may go on as any process does.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        child => Ok(Pid::from_raw(child)),
    }
}
