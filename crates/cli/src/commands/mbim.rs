//! `uwwan mbim`: look into control messages.
use crate::failure::Failure;
/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {}
/// Runs.
pub fn run(_: &Arguments) -> Result<(), Failure> {
    Ok(())
}
