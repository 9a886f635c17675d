//! The cost of a measurement in processor time and memory, as the kernel accounts for them.

use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Processor time that was used. `None` stands for a time that is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Time {
    /// Time of the driver's threads, including that of a capture.
    pub driver: Option<Duration>,
    /// Time of the thread that writes a capture, where there is one.
    pub capture: Option<Duration>,
    /// Time of everything that takes part in the measurement.
    pub all: Option<Duration>,
}

impl Time {
    /// Returns the time that was used between `before` and `self`.
    pub fn since(&self, before: &Time) -> Time {
        let between = |now: Option<Duration>, then: Option<Duration>| now?.checked_sub(then?);
        Time {
            driver: between(self.driver, before.driver),
            capture: between(self.capture, before.capture),
            all: between(self.all, before.all),
        }
    }
}

/// Returns the processor time of this process with all its threads, those that have ended included.
pub fn own() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or(0),
        time.tv_nsec.try_into().unwrap_or(0),
    )
}

/// Returns the processor time of the threads of a process whose names `counts` accepts, or `None`
/// when the kernel does not account for it. A name is that in `comm` of the thread, which has at
/// most 15 bytes.
pub fn of_threads(pid: u32, counts: impl Fn(&str) -> bool) -> Option<Duration> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut sum = Duration::ZERO;
    for task in tasks.flatten() {
        // A thread may end meanwhile.
        let Ok(name) = std::fs::read_to_string(task.path().join("comm")) else {
            continue;
        };
        if counts(name.trim_end()) {
            sum += running(&task.path())?;
        }
    }
    Some(sum)
}

/// Returns how long a thread has run. `schedstat` gives the time on a processor and the time
/// waiting for one, both in nanoseconds, and the number of turns
/// (`Documentation/scheduler/sched-stats.rst` of the kernel).
fn running(task: &Path) -> Option<Duration> {
    let text = std::fs::read_to_string(task.join("schedstat")).ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// Returns the resident memory of a process in bytes. `field` names a line of `/proc/PID/status`:
/// `VmRSS` is the present memory, `VmHWM` the largest so far.
pub fn memory(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    kibibytes(&status, field).map(|count| count * 1024)
}

fn kibibytes(status: &str, field: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_memory() {
        let (before, pid) = (own(), std::process::id());
        let me = std::thread::current();
        // Names are cut off after 15 bytes.
        let name: String = me.name().unwrap_or_default().chars().take(15).collect();
        let mine = |named: &str| name.starts_with(named) || named == name;
        let threads = of_threads(pid, mine);
        let mut sum = 0u64;
        while own() - before < Duration::from_millis(20) {
            sum = std::hint::black_box(sum + 1);
        }
        if let (Some(before), Some(now)) = (threads, of_threads(pid, |_| true)) {
            assert!(now >= before);
        }
        assert!(memory(pid, "VmRSS").unwrap() > 100_000);
        assert!(memory(pid, "VmHWM").unwrap() >= memory(pid, "VmRSS").unwrap() / 2);
    }

    #[test]
    fn what_is_not_there_is_not_known() {
        assert_eq!(memory(u32::MAX, "VmRSS"), None);
        assert_eq!(of_threads(u32::MAX, |_| true), None);
        assert_eq!(kibibytes("VmRSS:\t 12 kB\n", "VmRSS"), Some(12));
        assert_eq!(kibibytes("VmRSS:\t 12 kB\n", "VmHWM"), None);
        assert_eq!(kibibytes("VmRSS: much\n", "VmRSS"), None);
    }

    #[test]
    fn differences_need_both_ends() {
        let time = |driver| Time {
            driver,
            all: Some(Duration::from_secs(3)),
            ..Time::default()
        };
        let now = time(Some(Duration::from_secs(2)));
        let since = now.since(&time(Some(Duration::from_secs(1))));
        assert_eq!(since.driver, Some(Duration::from_secs(1)));
        assert_eq!(since.all, Some(Duration::ZERO));
        assert_eq!(now.since(&time(None)).driver, None);
    }
}
