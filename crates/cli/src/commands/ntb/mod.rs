//! `uwwan ntb` shows NTBs, builds them, and sends them.

mod assemble;
pub mod build;
pub mod decode;
mod description;
mod from_capture;
pub mod send;

#[cfg(test)]
mod tests;

use crate::failure::Failure;

/// Arguments of `ntb`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show an NTB's header, datagrams and faults
    Decode(decode::Arguments),
    /// Build an NTB, a correct one or one that is wrong as you say
    Build(Box<build::Arguments>),
    /// Have a running `up` send NTBs, and show what comes back
    Send(Box<send::Arguments>),
}

/// Runs a subcommand of `ntb`.
///
/// # Errors
/// Those of the subcommand.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Decode(arguments) => decode::run(arguments),
        Command::Build(arguments) => build::run(arguments),
        Command::Send(arguments) => send::run(arguments),
    }
}

/// Returns the NTB that a description makes. `name` is that of its file.
///
/// # Errors
/// A text that says what is wrong with the description.
#[cfg(fuzzing)]
pub fn built(name: &std::path::Path, text: &str) -> Result<Vec<u8>, Failure> {
    let description = description::Description::parse(name, text)?;
    Ok(assemble::assemble(&description)?.bytes)
}
