//! Logging to standard error, or to the journal with the weight of each message.

use std::io::{self, IsTerminal};

use log::Level;
use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::journal;
use crate::output_queue::Errors;

/// Starts logging: warnings by default, `-v` adds information, `-vv` debugging, `-vvv` everything.
/// The environment variable `UWWAN_LOG` (`uwwan_modem=debug,uwwan_usb=trace`) wins over these.
pub fn start(verbose: u8) {
    let level = match verbose {
        // The driver's warnings are also events, and events are printed.
        0 => "warn,uwwan_modem=error",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("UWWAN_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_target(verbose > 1)
        // The library would tell of a line that cannot be written by one more, and end the process when
        // that cannot be written either.
        .log_internal_errors(false)
        .with_writer(LevelWriters);
    // This fails only when a subscriber is already installed.
    let _ = match journal::is_reached() {
        // The journal has time and weight beside each message.
        true => subscriber.without_time().with_level(false).try_init(),
        false => subscriber.try_init(),
    };
}

/// Maker of writers that know the level of their messages.
struct LevelWriters;

impl MakeWriter<'_> for LevelWriters {
    type Writer = Errors;

    fn make_writer(&self) -> Errors {
        Errors(Level::Info)
    }

    fn make_writer_for(&self, metadata: &Metadata<'_>) -> Errors {
        Errors(match *metadata.level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::TRACE => Level::Trace,
        })
    }
}
