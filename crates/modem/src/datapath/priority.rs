//! Priority of the data thread over the programs it serves.
//!
//! A packet written to a TUN interface wakes the program that waits for it, and the scheduler lets
//! a thread that has slept run before one that has worked. With one processor for both, the program
//! then takes every packet, or the few that came together, by itself, and acknowledges them: a
//! switch of threads and a call of the TUN each. A driver in the kernel does not meet that, because
//! interrupts and softirqs run before any thread. With a lower nice value the data thread first
//! hands over all packets that have arrived, as a kernel driver does.

use rustix::io::Errno;
use rustix::process::{getpriority_process, setpriority_process};

/// Nice value of the data thread unless the user chooses one: the value of other services that must
/// not wait. Threads with real-time priority still run first.
pub const NICE: i32 = -11;

/// Gives the calling thread the nice value `wanted` (setpriority(2); -20 to 19), or else [`NICE`]
/// unless the program was started with a nice value of its own. Without `CAP_SYS_NICE` or a
/// `RLIMIT_NICE` that allows it, the thread keeps the value it has.
pub(super) fn go_first(wanted: Option<i32>) {
    let now = getpriority_process(None);
    let nice = match wanted {
        Some(nice) => nice,
        None if now == Ok(0) => NICE,
        None => return,
    };
    match setpriority_process(None, nice) {
        Ok(()) => tracing::debug!(nice, "data thread"),
        Err(error @ (Errno::ACCESS | Errno::PERM)) if wanted.is_some() => tracing::warn!(
            "the data thread's nice value stays {}: {error}; it takes CAP_SYS_NICE to go below",
            now.unwrap_or(0)
        ),
        Err(error) => tracing::debug!("the data thread's nice value is not {nice}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the nice value of a fresh thread after these calls.
    fn after<const N: usize>(wanted: [Option<i32>; N]) -> i32 {
        let thread = std::thread::spawn(move || {
            wanted.into_iter().for_each(go_first);
            getpriority_process(None).unwrap()
        });
        thread.join().unwrap()
    }

    #[test]
    fn the_thread_alone_gets_it() {
        let before = getpriority_process(None).unwrap();
        assert_eq!(after([Some(15)]), 15);
        assert_eq!(getpriority_process(None).unwrap(), before);
    }

    #[test]
    fn a_value_chosen_outside_stays() {
        assert_eq!(after([Some(17), None]), 17);
    }
}
