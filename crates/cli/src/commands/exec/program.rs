//! The program: it is started when the modem is online, waited for, and imitated when it stops and
//! ends.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Instant;

use libc::{SIGCHLD, SIGCONT};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus};

use super::super::beside::GO;
use super::unsent;
use super::waiting::{Came, Event, Signals};
use crate::failure::{self, Failure, FailureKind};
use crate::monitor;

/// Exit status for a program that exists and cannot be run (POSIX, env).
const CANNOT_RUN: i32 = 126;
/// Exit status for a program that does not exist.
const NOT_FOUND: i32 = 127;
/// Number that is added to that of the signal that ended a process, as shells report it.
const SIGNALLED: i32 = 128;

/// A program that is to run, and the processes around it.
pub(super) struct Program {
    /// Name or path of the program, and its arguments.
    pub(super) command: Vec<OsString>,
    pub(super) signals: Signals,
    /// The process that drives the modem.
    pub(super) driver: Pid,
    /// The process that has the interfaces.
    pub(super) interfaces: Pid,
    /// Socket to the driver, by which the front lets it begin and it reports that the modem is
    /// online.
    pub(super) socket: UnixStream,
}

/// The way in which the front's process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It ends with an exit status.
    Status(i32),
    /// It ends by a signal.
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
    /// Lets the driver bring the modem up, runs the program, lets the driver release the modem, and
    /// ends this process as the program ended.
    ///
    /// # Errors
    /// [`FailureKind::Host`] when this process cannot continue. Failures of the modem and of the
    /// program are no error of this function, which does not return then.
    pub(super) fn run(self) -> Result<(), Failure> {
        let broken = |error: io::Error| {
            Failure::new(FailureKind::Host, "the program cannot be looked after").because(error)
        };
        (&self.socket).write_all(&[GO]).map_err(broken)?;
        let end = match self.online().map_err(broken)? {
            Some(end) => end,
            None => {
                let end = self.program().map_err(broken)?;
                self.last_bytes().map_err(broken)?;
                end
            }
        };
        self.put_back().map_err(broken)?;
        end_as(end)
    }

    /// Waits until the modem is online. Returns how this process has to end if the modem does not
    /// come online.
    fn online(&self) -> io::Result<Option<End>> {
        let mut asked = None;
        loop {
            match self.signals.wait(Some(self.socket.as_fd()))? {
                Event::Ready => {
                    let mut byte = [0];
                    if (&self.socket).read(&mut byte)? == 1 && asked.is_none() {
                        return Ok(None);
                    }
                    // The driver has printed the reason, or was asked to end.
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
                Event::Time => {}
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
                // The program may have ended.
                let _ = rustix::process::kill_process(child, signal);
            } else if came.number == SIGCONT {
                let _ = rustix::process::kill_process(child, Signal::CONT);
            }
        }
    }

    /// Waits until the peers have what the program has written to its TCP sockets, for
    /// [`unsent::PATIENCE`] at most, and until a signal that requests an end.
    fn last_bytes(&self) -> io::Result<()> {
        let until = Instant::now() + unsent::PATIENCE;
        while unsent::any() && Instant::now() < until {
            if let Event::Signal(came) = self.signals.wait_for(None, Some(unsent::LOOK))?
                && let Some(Signal::INT | Signal::TERM | Signal::HUP | Signal::QUIT) =
                    Signal::from_named_raw(came.number)
            {
                break;
            }
        }
        Ok(())
    }

    /// Lets the driver release the modem, and waits for that. A signal that comes meanwhile goes to
    /// the driver.
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
        // The interfaces' process ends with the driver.
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

/// Stops this process when the program stops, so that the shell which waits for this process takes
/// the terminal back, and continues the program when this process is continued. Returns how the
/// program has ended, if it has.
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
    // Only the core file of the program is of interest.
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = rustix::process::setrlimit(Resource::Core, none);
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    std::process::exit(SIGNALLED + signal)
}
