//! `uwwan schema` prints the JSON schemas of what commands print, made from the types that are printed.

use schemars::{Schema, schema_for};

use super::{config, doctor, usage};
use crate::failure::{ErrorReport, Failure, FailureKind};
use crate::output::{say, say_json};

/// A command and the function that makes its schema.
type Described = (&'static str, fn() -> Schema);

const ALL: [Described; 4] = [
    ("config check", || schema_for!(config::Checked)),
    ("doctor", || schema_for!(Vec<doctor::Finding>)),
    ("error", || schema_for!(ErrorReport)),
    ("usage", || schema_for!(usage::Output)),
];

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan schema                       the commands whose form is described
  uwwan schema usage                 of uwwan usage --json
  uwwan schema config check          of a line of uwwan config check --json
  uwwan schema error                 of the line on standard error when a command with --json fails

The schemas are those of JSON Schema 2020-12. Fields may be added; what is there keeps its name and its
form for as long as `version` stays.")]
pub struct Arguments {
    /// The command, or `error`
    #[arg(value_name = "COMMAND", num_args = 0..)]
    command: Vec<String>,
}

/// Prints a schema, or what there are schemas of.
///
/// # Errors
/// [`FailureKind::Usage`] for a command that has none.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let names = ALL.map(|(name, _)| name);
    if arguments.command.is_empty() {
        return names.iter().try_for_each(say);
    }
    let wanted = arguments.command.join(" ");
    match ALL.iter().find(|(name, _)| *name == wanted) {
        Some((_, make)) => say_json(&make()),
        None => Err(Failure::new(FailureKind::Usage, "there is no such schema")
            .at(format!("{wanted:?}"))
            .next(format!("there are: {}", names.join(", ")))),
    }
}
