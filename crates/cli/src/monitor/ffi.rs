//! The fork that makes two processes of one.
#![allow(unsafe_code)]

use std::io;

use rustix::process::Pid;

/// Splits the process in two. Returns the child's process id in the parent and `None` in the child.
///
/// # Errors
/// Those of fork(2), and [`io::ErrorKind::Other`] when this process has more than one thread or the
/// kernel does not report the number.
pub fn fork() -> io::Result<Option<Pid>> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("threads are running"));
    }
    // SAFETY: this is the only thread, so no lock is held by a thread that the child would not have,
    // and the child may continue as any process does.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        child => Ok(Pid::from_raw(child)),
    }
}
