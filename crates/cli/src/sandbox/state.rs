//! The rights that a process still has, as the kernel reports them (`/proc/PID/status`,
//! proc_pid_status(5)).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rights that one process of a running `up` still has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct State {
    /// The task of the process: `driver`, `monitor`, or `uwwan` where one does both.
    pub name: String,
    /// Process id.
    pub pid: u32,
    /// Effective user id.
    pub uid: u32,
    /// Effective capabilities, a bit each, in hexadecimal.
    pub capabilities: String,
    /// Whether programs that it starts can gain no privileges; `None` where the kernel does not report
    /// it.
    pub no_new_privs: Option<bool>,
    /// Whether system calls are filtered; `None` where the kernel does not report it.
    pub seccomp: Option<bool>,
    /// The calls that the filter refuses, or the reason why there is none, for people.
    pub calls: String,
    /// Version of Landlock's interface that restricts the files it may open; `None` when nothing does.
    pub landlock_version: Option<u32>,
    /// The same for people, or the reason why nothing restricts them.
    pub landlock: String,
}

/// What Landlock does for a process.
pub(super) struct Landlock {
    /// Version of its interface.
    pub(super) version: u32,
    /// Device nodes that are not there, nor a folder in which they may appear.
    pub(super) missing: Vec<&'static str>,
}

impl fmt::Display for Landlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.version)?;
        match &self.missing[..] {
            [] => Ok(()),
            missing => write!(f, ", without {}", missing.join(", ")),
        }
    }
}

impl State {
    /// Reads the state of the calling thread. `landlock` and `calls` say what became of the two that
    /// the kernel does not tell.
    pub(super) fn own(name: &str, landlock: Result<Landlock, String>, calls: String) -> Self {
        let mut state = Self {
            name: name.to_owned(),
            pid: std::process::id(),
            landlock_version: landlock.as_ref().ok().map(|landlock| landlock.version),
            landlock: landlock.map_or_else(|why| why, |landlock| landlock.to_string()),
            calls,
            ..Self::default()
        };
        state.read(&std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default());
        state
    }

    fn read(&mut self, status: &str) {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.strip_prefix(':')?.trim())
        };
        let number = |text: &str| text.parse::<u32>().ok();
        // The numbers are the real, effective, saved and file system user id.
        let effective = field("Uid").and_then(|ids| ids.split_whitespace().nth(1));
        self.uid = effective.and_then(number).unwrap_or_default();
        self.capabilities = field("CapEff").unwrap_or_default().to_owned();
        self.no_new_privs = field("NoNewPrivs").and_then(number).map(|on| on == 1);
        // 2 stands for a filter (`SECCOMP_MODE_FILTER`).
        self.seccomp = field("Seccomp").and_then(number).map(|mode| mode == 2);
    }
}

/// Writes the state as text: `driver (process 42): user 0, capabilities 0000000000000000, …`.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |what: Option<bool>| match what {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not in this kernel",
        };
        write!(
            f,
            "{} (process {}): user {}, capabilities {}, no_new_privs {}, seccomp {} ({}), Landlock {}",
            self.name,
            self.pid,
            self.uid,
            self.capabilities,
            told(self.no_new_privs),
            told(self.seccomp),
            self.calls,
            self.landlock
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let mut state = State::default();
        state.read(
            "Name:\tuwwan\nUid:\t1000\t1001\t1000\t1000\nCapEff:\t0000000000001000\n\
             NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\n",
        );
        assert_eq!(state.uid, 1001);
        assert_eq!(state.capabilities, "0000000000001000");
        assert_eq!(
            (state.no_new_privs, state.seccomp),
            (Some(true), Some(true))
        );
        // A kernel without seccomp has no such line.
        state.read("Uid:\t1\t1\t1\t1\nNoNewPrivs:\t0\n");
        assert_eq!((state.no_new_privs, state.seccomp), (Some(false), None));
        assert!(state.to_string().contains("seccomp not in this kernel"));
    }
}
