//! The signals of the front's process, and the wait for them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use libc::{
    SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::ffi::{self, Mask};
use crate::signals;

/// Signals that are passed on to the program.
const PASSED_ON: [i32; 9] = [
    SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGUSR1, SIGUSR2, SIGWINCH,
];

/// A signal that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Came {
    /// Number of the signal.
    pub(super) number: i32,
    /// Whether the kernel has sent it, as it does for a key of the terminal: then the program, which is
    /// in the same process group, has got it as well.
    pub(super) by_kernel: bool,
}

/// The event that has ended the front's wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A signal has come.
    Signal(Came),
    /// The descriptor that was waited for beside signals is ready.
    Ready,
    /// The time is over.
    Time,
}

/// The signals that come to this process.
pub(super) struct Signals {
    descriptor: OwnedFd,
    /// The signals that were blocked before.
    before: Mask,
}

impl Signals {
    /// Keeps the signals for [`Signals::wait`] from here on. A signal that the process was started
    /// to ignore, as nohup(1) does with SIGHUP, stays ignored.
    ///
    /// # Errors
    /// Those of signalfd(2).
    pub(super) fn catch() -> io::Result<Self> {
        let ignored = signals::ignored();
        let passed_on = PASSED_ON.into_iter();
        let wanted = passed_on.filter(|signal| ignored >> (signal - 1) & 1 == 0);
        let wanted: Vec<i32> = wanted.chain([SIGCHLD]).collect();
        let (descriptor, before) = ffi::signals(&wanted)?;
        Ok(Self { descriptor, before })
    }

    /// Lets the program start with the signals blocked that were blocked before, and no others.
    pub(super) fn leave(&self, command: &mut Command) {
        ffi::start_with(command, self.before);
    }

    /// Waits for a signal, or until `beside` is ready to be read.
    ///
    /// # Errors
    /// Those of poll(2) and read(2).
    pub(super) fn wait(&self, beside: Option<BorrowedFd<'_>>) -> io::Result<Event> {
        self.wait_for(beside, None)
    }

    /// Does as [`Signals::wait`], for that time at most, if one is given.
    ///
    /// # Errors
    /// Those of [`Signals::wait`].
    pub(super) fn wait_for(
        &self,
        beside: Option<BorrowedFd<'_>>,
        time: Option<Duration>,
    ) -> io::Result<Event> {
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        loop {
            if let Some((number, code)) = ffi::next(self.descriptor.as_fd())? {
                return Ok(Event::Signal(Came {
                    number,
                    by_kernel: code > 0,
                }));
            }
            let own = PollFd::new(&self.descriptor, PollFlags::IN);
            let other = beside
                .as_ref()
                .map(|other| PollFd::new(other, PollFlags::IN));
            let mut all: Vec<PollFd<'_>> = [own].into_iter().chain(other).collect();
            match poll(&mut all, time.as_ref()) {
                Ok(0) => return Ok(Event::Time),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if all.get(1).is_some_and(|other| !other.revents().is_empty()) {
                return Ok(Event::Ready);
            }
        }
    }
}
