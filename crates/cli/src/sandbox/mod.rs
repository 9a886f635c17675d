//! What a process that reads hostile bytes may still do.
//!
//! `up` reads what devices, the network and local programs send. Before it starts a thread, it gives
//! away what it does not need: core dumps and its memory ([`Confinement::enter`]), new privileges
//! (`no_new_privs`), files it has nothing to do with (Landlock), and system calls it never makes
//! (seccomp). Where the kernel lacks one of them the others hold all the same, and `status` tells
//! it.
//!
//! Not all of it is had with `--dns resolved` or `--dns resolvconf` in one process: the programs that
//! take the name servers inherit every restriction, and what a `resolvconf` script does is not known
//! in advance. Then files are left open, and only system calls that no such program makes are
//! refused.

mod calls;
mod capabilities;
mod paths;
mod state;

use std::path::PathBuf;

use rustix::process::{DumpableBehavior, Resource, Rlimit};

pub use state::State;

/// What this process goes on to need.
#[derive(Debug, Default)]
pub struct Confinement {
    /// Files and folders that it changes: the runtime directory, the state directory.
    pub writable: Vec<PathBuf>,
    /// Whether it runs programs, which take the name servers.
    pub programs: bool,
    /// Whether a monitor ([`crate::monitor`]) does for it what takes a capability. Then it keeps none.
    pub monitored: bool,
}

impl Confinement {
    /// Gives up the rest. The calling thread must be the only one: threads that it starts inherit
    /// the restrictions, others would not have them.
    ///
    /// What the kernel lacks is told by [`State`]; the process goes on, because it is no less safe
    /// than without.
    ///
    /// Makes the system calls `prctl`, `prlimit64`, `landlock_*` and `seccomp`.
    pub fn enter(&self) -> State {
        // A core dump, or a debugger of the same user, would show the SIM's PIN.
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
            ("no_new_privs", rustix::thread::set_no_new_privs(true)),
        ] {
            if let Err(error) = result {
                tracing::info!("{what}: {error}");
            }
        }
        if self.monitored {
            capabilities::give_up();
        }
        let landlock = if self.programs {
            "left open for the programs that take the name servers".to_owned()
        } else {
            paths::restrict(&self.writable, self.monitored).unwrap_or_else(|why| why)
        };
        let calls = calls::restrict(self.programs, self.monitored)
            .unwrap_or_else(|error| error.to_string());
        let name = if self.monitored { "driver" } else { "uwwan" };
        State::own(name, landlock, calls)
    }
}

/// Takes from all threads of this process what only its start needs: sockets are neither made nor
/// bound nor connected any more.
pub fn settle() {
    if let Err(error) = calls::settle() {
        tracing::warn!("sockets can be made: {error}");
    }
}
