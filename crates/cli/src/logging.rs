//! The log: on standard error, quiet unless asked.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::output_queue::Errors;

/// Starts logging: warnings only, `-v` adds information, `-vv` debugging, `-vvv` everything.
/// `UWWAN_LOG` (`uwwan_modem=debug,uwwan_usb=trace`) wins over both.
pub fn start(verbose: u8) {
    let level = match verbose {
        // What the driver warns of is told as an event too, and events are printed.
        0 => "warn,uwwan_modem=error",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("UWWAN_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // Fails only when a log is there already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Errors)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(verbose > 1)
        .try_init();
}
