//! `uwwan capture` captures what passes between a running `up` and its modem.

mod start;

use std::path::PathBuf;
use std::time::Duration;

use uwwan_modem::share::Request;

use crate::failure::Failure;
use crate::output::say;
use crate::running;

/// Arguments of `capture`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Capture what passes between a running `up` and its modem, until Ctrl-C or `capture stop`
    Start(start::Arguments),
    /// End the captures of a running `up`
    Stop(Stop),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan capture stop                  the `uwwan capture start` that runs ends with a whole file
  uwwan capture stop --device 1-4.2   of one of several modems

A capture that `uwwan up --capture` writes goes on.")]
struct Stop {
    #[command(flatten)]
    place: Place,
}

/// Which running `up`.
#[derive(Debug, clap::Args)]
struct Place {
    /// Which, when several run: its port as `uwwan list` shows it, or `emulator`
    #[arg(long, short, value_name = "PORT")]
    device: Option<String>,
    /// Where running modems keep their control sockets
    #[arg(long, value_name = "DIR", env = "UWWAN_RUNTIME_DIR")]
    runtime_dir: Option<PathBuf>,
}

impl Place {
    fn connect(&self) -> Result<uwwan_modem::client::StatusClient, Failure> {
        running::status(self.runtime_dir.as_deref(), self.device.as_deref())
    }
}

/// Runs a subcommand of `capture`.
///
/// # Errors
/// Fails when no `up` runs, or when a file cannot be read or written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Start(arguments) => start::run(arguments),
        Command::Stop(stop) => {
            let mut client = stop.place.connect()?;
            client.ask(Request::EndCaptures {})?;
            client.reply(Duration::from_secs(10))?;
            say("the captures end")
        }
    }
}
