//! Handling of SIGINT, SIGTERM, SIGHUP and SIGQUIT: the first signal requests a clean stop, the
//! second ends the process at once.

use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use rustix::process::{Pid, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

/// Time after the first signal within which another one counts as the same request: `timeout(1)`
/// and service managers signal the process and then its group.
const ECHO: Duration = Duration::from_millis(300);

/// Signals that request a stop.
pub const ASKING: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// Returns a channel that receives the number of the first signal. A second signal ends the process
/// as if it were not handled: the kernel then removes the TUN interface, but configured name
/// servers stay.
///
/// # Errors
/// The system's error, when the handlers or the thread that waits for signals cannot be set up.
pub fn first() -> io::Result<Receiver<i32>> {
    first_waking(|| ())
}

/// Does as [`first`], and calls `wake` from another thread after the signal's number was put into
/// the channel.
///
/// # Errors
/// Those of [`first`].
pub fn first_waking(wake: impl Fn() + Send + 'static) -> io::Result<Receiver<i32>> {
    let mut signals = Signals::new(asking())?;
    let (sender, receiver) = bounded(1);
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut first: Option<Instant> = None;
            for signal in signals.forever() {
                match first {
                    None => {
                        first = Some(Instant::now());
                        let _ = sender.try_send(signal);
                        wake();
                    }
                    Some(time) if time.elapsed() < ECHO => {}
                    Some(_) => {
                        let _ = signal_hook::low_level::emulate_default_handler(signal);
                    }
                }
            }
        })?;
    Ok(receiver)
}

/// Passes the same signals on to another process, from a thread of its own and without end.
///
/// # Errors
/// Those of [`first`].
pub fn forward(to: Pid) -> io::Result<()> {
    let mut signals = Signals::new(asking())?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if let Some(signal) = Signal::from_named_raw(signal) {
                    // The process may have ended.
                    let _ = rustix::process::kill_process(to, signal);
                }
            }
        })?;
    Ok(())
}

/// Returns the signals that request a stop. A signal that the process was started to ignore, as
/// nohup(1) does with SIGHUP, stays ignored.
fn asking() -> impl Iterator<Item = i32> {
    let ignored = ignored();
    ASKING
        .into_iter()
        .filter(move |signal| ignored >> (signal - 1) & 1 == 0)
}

/// Returns the set of signals this process was started to ignore: bit 0 is signal 1 (`SigIgn` in
/// proc_pid_status(5)). The set is empty where that file cannot be read.
pub fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
