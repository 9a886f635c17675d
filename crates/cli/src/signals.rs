//! SIGINT and SIGTERM: the first asks for a clean stop, the second ends the process at once.

use std::io;

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

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
            for (count, signal) in signals.forever().enumerate() {
                if count > 0 {
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
                let _ = sender.try_send(signal);
            }
        })?;
    Ok(receiver)
}
