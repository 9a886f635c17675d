//! Two processes: the driver, which reads hostile bytes, and the monitor, which has the privileges.
//!
//! `up` that may configure interfaces (CAP_NET_ADMIN) splits in two before it reads anything of a
//! device and before it starts a thread. The child is the driver: it gives up every capability and
//! confines itself ([`crate::sandbox`]). The parent is the monitor: it opens the USB device's
//! node, opens and configures the interfaces, runs the programs that take name servers, keeps
//! ModemManager away and talks with the service manager. The driver asks for these by requests of a
//! fixed size ([`request`]), each of which is checked against what was asked for on the command line
//! ([`check`]).
//!
//! When the driver ends, however that happens, the monitor puts the host back and ends as the driver
//! did. Of a driver that was killed it lets the kernel's drivers have the device again. When the
//! monitor ends, the kernel sends the driver SIGTERM.

mod channel;
mod check;
mod devices;
mod driver;
mod ffi;
mod request;
mod serve;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use uwwan_modem::host::HostConfig;
use uwwan_modem::{Options, Selector};

pub use driver::{Monitor, Provider};

use crate::failure::{self, Failure, FailureKind};
use crate::notify::Notifier;
use crate::runtime;
use crate::signals;
use channel::Channel;
use devices::Devices;

/// Exit status of a process that a signal has ended, less the signal's number, as shells tell it.
const SIGNALLED: i32 = 128;
/// Longest time that a driver without a monitor may take to end.
const LAST_WAIT: Duration = Duration::from_secs(20);
/// Pause between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Time for which a device stays unconfigured on the way to another configuration, where the command
/// line says nothing. Most of the quirk table's rows have no more.
const SETTLE: Duration = Duration::from_secs(1);

/// Splits this process in two and returns in the driver, with the way to the monitor. The monitor never
/// returns from here; its exit status is the driver's.
///
/// # Errors
/// [`FailureKind::Host`] when there cannot be two processes.
pub fn split(
    options: &Options,
    device: Option<&Selector>,
    base: &Path,
    notifier: Notifier,
) -> Result<Monitor, Failure> {
    let failed = |error: io::Error| {
        Failure::new(FailureKind::Host, "cannot start the driver's process").because(error)
    };
    let sessions: Vec<HostConfig> = options
        .sessions
        .iter()
        .map(HostConfig::for_session)
        .collect();
    let (ours, theirs) = Channel::pair().map_err(failed)?;
    let monitor = rustix::process::getpid();
    let Some(driver) = ffi::fork().map_err(failed)? else {
        drop(ours);
        let end = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
        end.map_err(|errno| failed(errno.into()))?;
        // It may have ended before it could be told.
        if rustix::process::getppid() != Some(monitor) {
            return Err(failed(io::Error::other("the monitor has ended")));
        }
        return Ok(Monitor::new(theirs, sessions));
    };
    drop(theirs);
    let _ = rustix::thread::set_name(c"uwwan-monitor");
    if let Err(error) = signals::forward(driver) {
        // A signal would end the monitor and leave its work on the host behind. The driver, which has
        // done nothing yet, ends instead.
        let _ = rustix::process::kill_process(driver, Signal::KILL);
        let _ = end_of(driver, WaitOptions::empty());
        runtime::sweep(base);
        return Err(failed(error));
    }
    let mut devices = Devices::new(device.cloned());
    devices.inhibit();
    let mut server = serve::Server::new(sessions, devices, notifier);
    let served = server.run(&ours);
    // A driver that still asks for something is told that nobody answers.
    drop(ours);
    if served.is_err() {
        let _ = rustix::process::kill_process(driver, Signal::TERM);
    }
    let end = last_end_of(driver);
    let mut devices = server.into_devices();
    // A driver that came to its end has let the kernel's drivers in itself, and one that a second
    // Ctrl-C has ended was to end at once.
    let signal = end.and_then(WaitStatus::terminating_signal);
    if options.reattach_drivers && signal.is_some_and(|signal| !signals::ASKING.contains(&signal)) {
        devices.give_back(options.settle.unwrap_or(SETTLE));
    }
    runtime::sweep(base);
    std::process::exit(match (served, end) {
        (Err(error), _) => {
            let failure = Failure::new(FailureKind::Host, "the driver cannot be heard");
            let _ = failure::report(&failure.because(error).next("start it again"));
            failure::Exit::Failed as i32
        }
        (Ok(()), Some(status)) => end_as(status),
        (Ok(()), None) => 1,
    });
}

/// Waits until the driver has ended, for [`LAST_WAIT`] at most, and ends it then. Returns how it ended.
fn last_end_of(driver: Pid) -> Option<WaitStatus> {
    let begun = Instant::now();
    while begun.elapsed() < LAST_WAIT {
        if let Some(end) = end_of(driver, WaitOptions::NOHANG) {
            return Some(end);
        }
        std::thread::sleep(LOOK);
    }
    tracing::error!("the driver's process does not end; it is killed");
    let _ = rustix::process::kill_process(driver, Signal::KILL);
    end_of(driver, WaitOptions::empty())
}

/// Returns how the driver has ended. With `NOHANG` among the options, `None` is for one that runs.
fn end_of(driver: Pid, options: WaitOptions) -> Option<WaitStatus> {
    loop {
        match rustix::process::waitpid(Some(driver), options) {
            Ok(Some((_, status))) => return Some(status),
            Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Returns the exit status of a process that has ended so. If a signal that asks for an end did it, this
/// process ends by the same one.
fn end_as(status: WaitStatus) -> i32 {
    if let Some(status) = status.exit_status() {
        return status;
    }
    let signal = status.terminating_signal().unwrap_or(0);
    if signals::ASKING.contains(&signal) {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    } else {
        tracing::error!("the driver's process was ended by signal {signal}");
    }
    SIGNALLED + signal
}
