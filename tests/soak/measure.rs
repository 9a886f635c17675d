//! Resources that a process uses, read from `/proc`.

use std::fmt;
use std::fs;
use std::io;

/// Growth of a process between two measurements that is no leak, in KiB: memory that the allocator
/// keeps in its arenas, which was seen to be up to 2 MiB. A buffer that is left behind at each of
/// 32 restarts of the modem is more than that.
pub const TOLERANCE: u64 = 4096;

/// Resources that a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Resident memory that no file backs, in KiB (`RssAnon`).
    pub resident: u64,
    /// Private writable memory, resident or not, in KiB (`VmData`). Each transfer buffer is a
    /// separate mapping in it, see [`crate::up::BUFFER`].
    pub data: u64,
    /// Number of open descriptors.
    pub descriptors: usize,
    /// Number of threads.
    pub threads: usize,
}

impl Sample {
    /// Measures a process.
    ///
    /// # Errors
    /// Fails when the process has ended.
    pub fn of(pid: u64) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.ok_or_else(|| io::Error::other(format!("/proc/{pid}/status has no {name}")))
        };
        Ok(Self {
            resident: number("RssAnon:")?,
            data: number("VmData:")?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
            threads: fs::read_dir(format!("/proc/{pid}/task"))?.count(),
        })
    }

    /// Returns whether everything but the resident part of the memory equals another measurement.
    pub fn is_still(&self, other: &Self) -> bool {
        let counts = |one: &Self| (one.data, one.descriptors, one.threads);
        counts(self) == counts(other)
    }

    /// Returns what is more than in an earlier measurement of the same process, and for descriptors
    /// and threads what differs, one line for each.
    pub fn beyond(&self, before: &Self) -> Vec<String> {
        let mut beyond = Vec::new();
        for (what, now, then) in [
            ("resident memory", self.resident, before.resident),
            ("writable memory", self.data, before.data),
        ] {
            if now > then + TOLERANCE {
                beyond.push(format!("{what} went from {then} to {now} KiB"));
            }
        }
        for (what, now, then) in [
            ("descriptors", self.descriptors, before.descriptors),
            ("threads", self.threads, before.threads),
        ] {
            if now != then {
                beyond.push(format!("{what} went from {then} to {now}"));
            }
        }
        beyond
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:6} KiB resident, {:6} KiB writable, {:3} descriptors, {:2} threads",
            self.resident, self.data, self.descriptors, self.threads
        )
    }
}
