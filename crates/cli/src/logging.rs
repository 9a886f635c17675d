//! The log, written to standard error. Without options it holds warnings only.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::output_queue::Errors;

/// Starts logging: warnings by default, `-v` adds information, `-vv` debugging, `-vvv` everything.
/// The environment variable `UWWAN_LOG` (`uwwan_modem=debug,uwwan_usb=trace`) wins over these.
pub fn start(verbose: u8) {
    let level = match verbose {
        // The driver's warnings are events as well, and events are printed.
        0 => "warn,uwwan_modem=error",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("UWWAN_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // This fails only when a subscriber is already installed.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Errors)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(verbose > 1)
        .try_init();
}
