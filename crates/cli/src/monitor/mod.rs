//! Two processes: the driver, which reads hostile bytes, and the monitor, which has the privileges.
//!
//! `up` that may configure interfaces (CAP_NET_ADMIN) splits in two before it reads anything of a device and before it
//! starts a thread. The child is the driver: it becomes another user's process if root has started it, gives up every
//! capability and confines itself ([`crate::sandbox`]). The parent is the monitor: it opens the USB device's node,
//! opens and configures the interfaces, runs the programs that take name servers and the user's hooks, keeps
//! ModemManager away, makes the runtime directory, hands over PIN and passwords, keeps the memory of PINs and the data
//! use, and talks with the service manager. The driver asks for these by requests of a fixed size ([`request`]), each
//! of which is checked against the command line ([`check`], [`files`]).
//!
//! When the driver ends in any way, the monitor undoes the changes of the host and ends as the
//! driver did. The device of a driver that was killed is given back to the kernel's drivers. When
//! the monitor ends, the kernel sends the driver SIGTERM. What both leave on the host when both are killed is noted,
//! and the monitor of the next run takes it back ([`left`]).
//!
//! The rights that each still has, as `/proc/PID/status` shows them after a start by root, and as
//! `status` prints them:
//!
//! | | driver | monitor |
//! | --- | --- | --- |
//! | user | `uwwan`, else one that nobody has (65520 to 65533) | root |
//! | further groups | none | root's |
//! | capabilities | none; SYS_NICE where `RLIMIT_NICE` cannot be raised | CHOWN, DAC_OVERRIDE, FOWNER, KILL, NET_ADMIN, SETGID, SETUID, SYS_PTRACE |
//! | bounding set | empty | the same |
//! | `no_new_privs` | yes | yes |
//! | seccomp | list of what is allowed; no program, no tracing, no socket once it runs | list of what is refused; programs only with `--dns resolvconf` and for `[hooks]` |
//! | Landlock | the runtime directory's base, `/sys`, `/proc` and terminals | not used |
//! | core dumps, `/proc/PID/mem` | none, root only | none, root only |
//!
//! Under the packaged unit, which raises the limit, both are `uwwan`, the driver has no capability and the
//! monitor NET_ADMIN alone. Where root has no other user to become, as in a container with one user, or
//! where no other user can reach the runtime directory, the driver stays root's without capabilities; a
//! warning and `status` say so.

mod channel;
mod check;
mod devices;
mod driver;
mod ends;
mod ffi;
mod files;
mod left;
mod namespace;
mod reply;
mod request;
mod serve;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use uwwan_modem::capture;
use uwwan_modem::heal::memory::LayoutMemory;
use uwwan_modem::host::HostConfig;
use uwwan_modem::options::{Dns, Secret};
use uwwan_modem::pin_memory::PinMemory;
use uwwan_modem::state_file::{StateFile, StatePlace};
use uwwan_modem::{Options, Selector};

pub use driver::{Monitor, Provider};
pub use ffi::fork;
pub use files::not_the_driver;
pub use namespace::{Interfaces, interfaces};

use crate::failure::{self, Failure, FailureKind};
use crate::hooks::{AfterDown, Facts, Hooks};
use crate::notify::Notifier;
use crate::runtime;
use crate::sandbox::{self, Identity};
use crate::signals;
use crate::usage::Usage;
use channel::Channel;
use devices::Devices;
use driver::RemoteFile;
use ends::Ends;
use files::Files;
use left::{Dead, Notes};
use request::Wanted;

/// Number that is added to that of the signal that ended a process, as shells report it.
const SIGNALLED: i32 = 128;
/// Longest time that a driver without a monitor may take to end.
const LAST_WAIT: Duration = Duration::from_secs(20);
/// Pause between two checks whether the driver has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Time for which a device stays unconfigured on the way to another configuration, where the command
/// line gives none. Most rows of the quirk table have no longer one.
const SETTLE: Duration = Duration::from_secs(1);

/// The arguments with which the monitor is started.
pub struct Start<'a> {
    /// The device; `None` when it is no USB device.
    pub device: Option<&'a Selector>,
    /// Directory in which runtime directories are made.
    pub base: &'a Path,
    /// The user as whom the driver will run, if it is another than this process's.
    pub driver: Option<Identity>,
    /// The service manager.
    pub notifier: Notifier,
    /// Files of the capture that the command line asks for.
    pub capture: Option<capture::Files>,
    /// Programs that run before and after up and down.
    pub hooks: Arc<Hooks>,
    /// The file of data use, if there is a place for it.
    pub usage: Option<StateFile<Usage>>,
    /// The socket at which the driver serves metrics.
    pub metrics: Option<&'a Path>,
}

/// Splits this process in two and returns in the driver, with the connection to the monitor. The
/// monitor never returns from here; its exit status is the driver's.
///
/// In the driver, the secrets of `options` and the memory of PINs come from the monitor afterwards.
///
/// # Errors
/// [`FailureKind::Host`] when the system refuses a second process.
pub fn split(options: &mut Options, start: Start<'_>) -> Result<Monitor, Failure> {
    let failed = |error: io::Error| {
        Failure::new(FailureKind::Host, "cannot start the driver's process").because(error)
    };
    let sessions: Vec<HostConfig> = options
        .sessions
        .iter()
        .map(HostConfig::for_session)
        .collect();
    let pins = options.pin_memory.clone().map(StateFile::open);
    let layouts = options.layout_memory.clone().map(StateFile::open);
    let (ours, theirs) = Channel::pair().map_err(failed)?;
    let monitor = rustix::process::getpid();
    let Some(driver) = ffi::fork().map_err(failed)? else {
        drop(ours);
        let end = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
        end.map_err(|errno| failed(errno.into()))?;
        // The monitor may have ended before the signal was set.
        if rustix::process::getppid() != Some(monitor) {
            return Err(failed(io::Error::other("the monitor has ended")));
        }
        let monitor = Monitor::new(theirs, sessions, monitor);
        leave_files(options, pins, layouts, &monitor);
        return Ok(monitor);
    };
    drop(theirs);
    let _ = rustix::thread::set_name(c"uwwan-monitor");
    let programs = options
        .sessions
        .iter()
        .any(|session| session.dns == Dns::Resolvconf)
        || !start.hooks.is_empty();
    let dead = Dead::read(start.base, start.driver);
    let programs = programs || dead.need_program();
    let state = sandbox::enter_as_monitor(programs);
    if let Err(error) = signals::forward(driver) {
        // A signal would end the monitor and leave its changes of the host behind. The driver, which
        // has done nothing yet, ends instead.
        let _ = rustix::process::kill_process(driver, Signal::KILL);
        let _ = end_of(driver, WaitOptions::empty());
        // What cannot be swept now is swept at the next start.
        let _ = sandbox::acting_in(start.base, start.driver, || runtime::sweep(start.base));
        return Err(failed(error));
    }
    dead.take_back();
    let mut devices = Devices::new(start.device.cloned());
    devices.inhibit();
    let passwords = options.sessions.iter_mut();
    let files = Files {
        pin: std::mem::take(&mut options.pin),
        passwords: passwords
            .map(|session| std::mem::take(&mut session.password))
            .collect(),
        pins,
        layouts,
        usage: start.usage,
        base: start.base.to_owned(),
        driver: start.driver,
        directory: None,
        capture: start.capture.map(|files| (files, 1)),
        opened: None,
    };
    let notes = Notes::new(start.base, start.driver);
    let ends = Ends::new(sessions, Arc::clone(&start.hooks), Some(notes));
    let mut server = serve::Server::new(ends, devices, files, start.notifier, state);
    let served = server.run(&ours);
    // A driver that still sends a request gets an error.
    drop(ours);
    if served.is_err() {
        let _ = rustix::process::kill_process(driver, Signal::TERM);
    }
    let end = last_end_of(driver);
    if let Some(socket) = start.metrics {
        // The driver may not remove the socket, and may have ended before it listened.
        let _ = runtime::remove_unanswered(socket);
    }
    let mut devices = server.into_devices();
    // A driver that ended by itself has given the device back, and one that a second Ctrl-C has
    // ended was meant to end at once.
    let signal = end.and_then(WaitStatus::terminating_signal);
    if options.reattach_drivers && signal.is_some_and(|signal| !signals::ASKING.contains(&signal)) {
        devices.give_back(options.settle.unwrap_or(SETTLE));
    }
    // `exit` drops no values.
    drop(AfterDown {
        hooks: start.hooks,
        facts: Facts {
            device: devices.named(),
            ..Facts::default()
        },
    });
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

/// Replaces values that are read from files by requests to the monitor.
fn leave_files(
    options: &mut Options,
    pins: Option<StateFile<PinMemory>>,
    layouts: Option<StateFile<LayoutMemory>>,
    monitor: &Monitor,
) {
    let asked = |wanted: Wanted| {
        let monitor = monitor.clone();
        Secret::asked_for(move || monitor.secret(wanted))
    };
    if !options.pin.is_empty() {
        options.pin = asked(Wanted::Pin);
    }
    for (session, options) in (0..=u8::MAX).zip(&mut options.sessions) {
        if !options.password.is_empty() {
            options.password = asked(Wanted::Password { session });
        }
    }
    if let Some(store) = pins {
        let path = store.path().to_owned();
        let keeper = RemoteFile::new(store, monitor);
        options.pin_memory = Some(StatePlace::kept_by(path, Arc::new(keeper)));
    }
    if let Some(file) = layouts {
        let path = file.path().to_owned();
        let keeper = RemoteFile::new(file, monitor);
        options.layout_memory = Some(StatePlace::kept_by(path, Arc::new(keeper)));
    }
}

/// Waits until the driver has ended, for [`LAST_WAIT`] at most, and kills it then. Returns how it
/// ended.
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

/// Returns how a child has ended. With `NOHANG` among the options, `None` stands for a child that
/// runs.
pub fn end_of(child: Pid, options: WaitOptions) -> Option<WaitStatus> {
    loop {
        match rustix::process::waitpid(Some(child), options) {
            Ok(Some((_, status))) => return Some(status),
            Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Returns the exit status for a process that has ended with this status. If a signal that requests an
/// end did it, this process ends by the same signal.
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
