//! `uwwan lab`: experiments with a modem's firmware, in which settings are varied.
//!
//! * [`sweep`]: every combination of values, several times in random order.
//! * [`bisect`]: the boundary of one value.
//! * [`discover`]: the settings that an unknown modem needs, as a row of the quirk table.
//!
//! A [`cell`] is one combination of values. The [bench](mod@bench) brings the modem online with it ([`link`]),
//! whose host interface ([`host`]) sends [marked datagrams](echo) for each [`trial`]. Results go into a
//! [`journal`] and a [`report`].

mod bench;
pub(super) mod bisect;
mod cell;
mod discover;
mod echo;
mod failures;
pub(super) mod found;
mod frames;
mod host;
mod journal;
pub mod link;
mod outcome;
pub(super) mod report;
mod subject;
mod sweep;
mod trial;

#[cfg(fuzzing)]
pub use journal::parse as results;

use self::bisect::BisectArguments;
use self::discover::DiscoverArguments;
use self::sweep::SweepArguments;
use crate::failure::Failure;

/// Arguments of `lab`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Command of the laboratory.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Try every combination of settings, several times in random order
    Sweep(Box<SweepArguments>),
    /// Find the boundary of a setting: the least settle pause, the largest NTB
    Bisect(Box<BisectArguments>),
    /// Find out what a modem that nobody knows needs, and print its row of the quirk table
    Discover(Box<DiscoverArguments>),
}

/// Runs the command.
///
/// # Errors
/// Fails when an option makes no sense, when there is no modem, or when a file cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Sweep(arguments) => sweep::run(arguments),
        Command::Bisect(arguments) => bisect::run(arguments),
        Command::Discover(arguments) => discover::run(arguments),
    }
}
