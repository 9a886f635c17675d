//! SIGINT, SIGTERM, SIGHUP and SIGQUIT: the first asks for a clean stop, the second ends the process
//! at once.

use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

/// `timeout(1)` and service managers signal the process and then its group: what follows the first
/// signal so closely is the same wish, not impatience.
const ECHO: Duration = Duration::from_millis(300);

/// Receives the first signal's number. A second signal ends the process as if it were not
/// handled: the kernel then removes the TUN interface, but configured name servers stay.
///
/// # Errors
/// When handlers or the thread that waits for them cannot be set up.
pub fn first() -> io::Result<Receiver<i32>> {
    first_waking(|| ())
}

/// As [`first`]; `wake` is called, from another thread, when there is one to receive.
///
/// # Errors
/// As [`first`].
pub fn first_waking(wake: impl Fn() + Send + 'static) -> io::Result<Receiver<i32>> {
    let ignored = ignored();
    let asking = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];
    // What whoever started the process had it ignore, as nohup(1) does with SIGHUP, stays ignored.
    let mut signals = Signals::new(
        asking
            .into_iter()
            .filter(|signal| ignored >> (signal - 1) & 1 == 0),
    )?;
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

/// Returns the signals this process was started to ignore: bit 0 is signal 1 (`SigIgn` in
/// proc_pid_status(5)). None where that cannot be read.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
