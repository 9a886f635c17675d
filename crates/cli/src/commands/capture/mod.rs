//! `uwwan capture` captures what passes between a running `up` and its modem, and reads and scrubs
//! captures.

mod place;
pub(super) mod scrub;
pub(super) mod show;
mod start;

use std::time::Duration;

use uwwan_modem::share::Request;

use crate::failure::Failure;
use crate::output::say;
use place::Place;

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
    /// Show what a capture holds
    Show(show::Arguments),
    /// Take identities and payload out of a capture, so that it can be handed over
    Scrub(scrub::Arguments),
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

/// Runs a subcommand of `capture`.
///
/// # Errors
/// Fails when no `up` runs, or when a file cannot be read or written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Show(arguments) => show::run(arguments),
        Command::Scrub(arguments) => scrub::run(arguments),
        Command::Start(arguments) => start::run(arguments),
        Command::Stop(stop) => {
            let mut client = stop.place.connect()?;
            client.ask(Request::EndCaptures {})?;
            client.reply(Duration::from_secs(10))?;
            say("the captures end")
        }
    }
}
