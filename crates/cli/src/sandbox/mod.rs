//! Restricts what a process that reads hostile bytes may do.
//!
//! `up` reads bytes of devices, the network and local programs. Before it starts a thread, it gives
//! up the rights that it does not need: core dumps and access to its memory
//! ([`Confinement::enter`]), new privileges (`no_new_privs`), files that it does not use (Landlock),
//! and system calls that it never makes (seccomp). Where the kernel lacks one of them the others
//! hold all the same, and `status` reports it.
//!
//! A process that may not configure interfaces runs without a monitor. It gives up its capabilities and
//! keeps its user; it may read its PIN and password files again, as long as they are not replaced by
//! other files, and it cannot name the programs that hold a device, because Landlock hides their
//! descriptors.
//!
//! With `--dns resolvconf` or with `[hooks]` in one process the restrictions are weaker: the
//! programs that take the name servers inherit every restriction, and the needs of a `resolvconf`
//! script are not known in advance. Then files are left open, and only system calls that no such
//! program makes are forbidden.

mod calls;
mod capabilities;
mod identity;
mod paths;
mod state;

use std::path::PathBuf;

use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};

pub use identity::{Identity, acting_in};
pub use state::State;

/// The rights that this process needs from here on.
#[derive(Debug, Default)]
pub struct Confinement {
    /// Files and folders that it changes: the runtime directory, the state directory.
    pub writable: Vec<PathBuf>,
    /// Files that it reads once more: those of PIN and passwords, without a monitor that hands them over.
    pub readable: Vec<PathBuf>,
    /// Folder in which it removes files.
    pub removable: Option<PathBuf>,
    /// Whether it runs programs, which take the name servers.
    pub programs: bool,
    /// Whether a monitor ([`crate::monitor`]) does the work that takes privileges.
    pub monitored: bool,
    /// The user as whom it continues.
    pub identity: Option<Identity>,
}

impl Confinement {
    /// Gives up the other rights. The calling thread must be the only one: threads that it starts
    /// inherit the restrictions, others would not have them.
    ///
    /// A restriction that the kernel lacks is reported in [`State`]; the process continues, because
    /// it is no less safe than without the attempt.
    ///
    /// Makes the system calls `prctl`, `prlimit64`, `landlock_*` and `seccomp`.
    pub fn enter(&self) -> State {
        hide_memory();
        if let Err(error) = rustix::thread::set_no_new_privs(true) {
            tracing::info!("no_new_privs: {error}");
        }
        capabilities::give_up(self.identity);
        if self.monitored {
            // The change of the user id has reset the setting.
            let end = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
            if let Err(error) = end {
                tracing::warn!("the monitor's end is noticed late: {error}");
            }
        }
        let landlock = if self.programs {
            Err("left open for the programs that it starts".to_owned())
        } else {
            paths::restrict(
                &self.writable,
                &self.readable,
                self.removable.as_deref(),
                self.monitored,
            )
        };
        let calls = calls::restrict(self.programs, self.monitored)
            .unwrap_or_else(|error| error.to_string());
        let name = if self.monitored { "driver" } else { "uwwan" };
        State::own(name, landlock, calls)
    }
}

/// Gives up the rights that the monitor does not need. The calling thread must be the only one. With
/// `programs` it may start programs that take name servers.
///
/// The monitor reads only the driver's requests and the kernel's reports about its interfaces. It
/// keeps the capabilities that its work takes and loses the system calls that it never makes; files
/// are left open, because it opens those that the command line names.
pub fn enter_as_monitor(programs: bool) -> State {
    hide_memory();
    if let Err(error) = rustix::thread::set_no_new_privs(true) {
        tracing::info!("no_new_privs: {error}");
    }
    capabilities::keep_for_monitor();
    let calls = calls::restrict_monitor(programs).unwrap_or_else(|error| error.to_string());
    let landlock = Err("not used: it opens what the command line names".to_owned());
    State::own("monitor", landlock, calls)
}

/// Keeps the memory of this process, in which there may be a PIN, from core dumps and from debuggers
/// of the same user. Programs that it starts have none of its memory and are not concerned.
pub fn hide_memory() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    for (what, result) in [
        (
            "no core dumps",
            rustix::process::setrlimit(Resource::Core, none),
        ),
        (
            "not dumpable",
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable),
        ),
    ] {
        if let Err(error) = result {
            tracing::info!("{what}: {error}");
        }
    }
}

/// Takes the rights from all threads of this process that only its start needs: sockets can no
/// longer be made, bound or connected.
pub fn settle() {
    if let Err(error) = calls::settle() {
        tracing::warn!("sockets can be made: {error}");
    }
}
