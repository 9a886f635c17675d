//! SIGINT and SIGTERM: the first asks for a clean stop, the second ends the process at once.

use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
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
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
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
