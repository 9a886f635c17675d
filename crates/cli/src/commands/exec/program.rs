//! The program: started when the modem is online, waited for, and followed in how it stops and ends.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

use libc::{SIGCHLD, SIGCONT};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus};

use super::super::beside::GO;
use super::waiting::{Came, Event, Signals};
use crate::failure::{self, Failure, FailureKind};
use crate::monitor;

/// Exit status for a program that is there and cannot be run (POSIX, env).
const CANNOT_RUN: i32 = 126;
/// Exit status for a program that is not there.
const NOT_FOUND: i32 = 127;
/// Exit status of a process that a signal has ended, less the signal's number, as shells tell it.
const SIGNALLED: i32 = 128;

/// A program that is to run, and the processes around it.
pub(super) struct Program {
    /// Its name or path, and its arguments.
    pub(super) command: Vec<OsString>,
    pub(super) signals: Signals,
    /// The process that drives the modem.
    pub(super) driver: Pid,
    /// The process that has the interfaces.
    pub(super) interfaces: Pid,
    /// The way to the driver, by which it is let begin and tells that the modem is online.
    pub(super) way: UnixStream,
}

/// The end of the front's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With an exit status.
    Status(i32),
    /// By a signal.
    Signal(i32),
}

impl From<WaitStatus> for End {
    fn from(status: WaitStatus) -> Self {
        match status.terminating_signal() {
            Some(signal) => Self::Signal(signal),
            None => Self::Status(status.exit_status().unwrap_or(1)),
        }
    }
}

impl Program {
    /// Has the modem brought up, runs the program, has the modem put back, and ends this process as the
    /// program ended.
    ///
    /// # Errors
    /// [`FailureKind::Host`] when this process cannot go on. What becomes of the modem and of the
    /// program is no error of this function, which does not return then.
    pub(super) fn run(self) -> Result<(), Failure> {
        let broken = |error: io::Error| {
            Failure::new(FailureKind::Host, "the program cannot be looked after").because(error)
        };
        (&self.way).write_all(&[GO]).map_err(broken)?;
        let end = match self.online().map_err(broken)? {
            Some(end) => end,
            None => self.program().map_err(broken)?,
        };
        self.put_back().map_err(broken)?;
        end_as(end)
    }

    /// Waits until the modem is online. Returns how this process is to end if that does not happen.
    fn online(&self) -> io::Result<Option<End>> {
        let mut asked = None;
        loop {
            match self.signals.wait(Some(self.way.as_fd()))? {
                Event::Ready => {
                    let mut byte = [0];
                    if (&self.way).read(&mut byte)? == 1 && asked.is_none() {
                        return Ok(None);
                    }
                    // It has told why, or was asked to end.
                    let status = monitor::end_of(self.driver, WaitOptions::empty());
                    let status = status.map_or(End::Status(1), End::from);
                    return Ok(Some(asked.map_or(status, End::Signal)));
                }
                Event::Signal(Came { number, .. }) => match Signal::from_named_raw(number) {
                    Some(signal @ (Signal::INT | Signal::TERM | Signal::HUP | Signal::QUIT)) => {
                        asked = Some(number);
                        let _ = rustix::process::kill_process(self.driver, signal);
                    }
                    Some(Signal::TSTP) => stop(),
                    _ => {}
                },
            }
        }
    }

    /// Runs the program and returns how it ended.
    fn program(&self) -> io::Result<End> {
        let (name, arguments) = self
            .command
            .split_first()
            .ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(name);
        command.args(arguments);
        self.signals.leave(&mut command);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let _ = failure::report(
                    &Failure::new(FailureKind::Host, "cannot run the program")
                        .at(name.to_string_lossy().into_owned())
                        .because(&error),
                );
                return Ok(End::Status(match error.kind() {
                    io::ErrorKind::NotFound => NOT_FOUND,
                    _ => CANNOT_RUN,
                }));
            }
        };
        let child = Pid::from_child(&child);
        loop {
            let Event::Signal(came) = self.signals.wait(None)? else {
                continue;
            };
            if came.number == SIGCHLD {
                if let Some(end) = follow(child)? {
                    return Ok(end);
                }
            } else if !came.by_kernel
                && came.number != SIGCONT
                && let Some(signal) = Signal::from_named_raw(came.number)
            {
                // It may have ended.
                let _ = rustix::process::kill_process(child, signal);
            } else if came.number == SIGCONT {
                let _ = rustix::process::kill_process(child, Signal::CONT);
            }
        }
    }

    /// Has the modem put back, and waits for that. A signal that comes meanwhile is the driver's.
    fn put_back(&self) -> io::Result<()> {
        let _ = rustix::process::kill_process(self.driver, Signal::TERM);
        // The second of two requests ends a driver at once.
        while !ended(self.driver) {
            if let Event::Signal(came) = self.signals.wait(None)?
                && let Some(signal @ (Signal::INT | Signal::TERM | Signal::HUP | Signal::QUIT)) =
                    Signal::from_named_raw(came.number)
            {
                let _ = rustix::process::kill_process(self.driver, signal);
            }
        }
        // It ends with the driver.
        let _ = monitor::end_of(self.interfaces, WaitOptions::empty());
        Ok(())
    }
}

/// Returns whether a child has ended.
fn ended(child: Pid) -> bool {
    !matches!(
        rustix::process::waitpid(Some(child), WaitOptions::NOHANG),
        Ok(None)
    )
}

/// Stops this process with the program, so that the shell which waits for this one takes the terminal
/// back, and lets the program go on when this process does. Returns how the program has ended, if it
/// has.
fn follow(child: Pid) -> io::Result<Option<End>> {
    let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
    while let Some((_, status)) = rustix::process::waitpid(Some(child), options)? {
        if !status.stopped() {
            return Ok(Some(status.into()));
        }
        stop();
        let _ = rustix::process::kill_process(child, Signal::CONT);
    }
    Ok(None)
}

/// Stops this process until it is continued.
fn stop() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
}

/// Ends this process.
fn end_as(end: End) -> ! {
    let signal = match end {
        End::Status(status) => std::process::exit(status),
        End::Signal(signal) => signal,
    };
    // The core of interest is the program's.
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = rustix::process::setrlimit(Resource::Core, none);
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    std::process::exit(SIGNALLED + signal)
}
