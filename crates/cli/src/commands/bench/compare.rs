//! `uwwan bench compare` sets saved runs side by side.

use std::path::PathBuf;

use uwwan_figures::{Figures, saved, table};

use super::report::Files;
use crate::failure::{Failure, FailureKind};
use crate::input;
use crate::output::{say, say_json};

/// Arguments of `bench compare`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan bench --json > monday.json            a run to keep
  uwwan bench compare monday.json today.json  today beside it
  uwwan bench compare a.json b.json --report both.html --csv both.csv

Contenders get the names of their files, facts that differ are told of each file. A ratio with ≈ is one
that the spread of the values does not carry.")]
pub struct Arguments {
    /// What `uwwan bench --json` printed; the others are compared with the first
    #[arg(required = true, num_args = 1.., value_name = "FILE.json")]
    runs: Vec<PathBuf>,
    /// Print the figures as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    files: super::report::FileOptions,
}

/// Reads the runs and shows them side by side.
///
/// # Errors
/// [`FailureKind::Usage`] for a file that cannot be read or has no figures, or that cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let files = Files::open(&arguments.files)?;
    let runs = arguments.runs.iter().map(|path| {
        let refuse = |why: &dyn std::fmt::Display| {
            Failure::new(FailureKind::Usage, "cannot read a run")
                .at(path.display().to_string())
                .because(why)
                .next("uwwan bench --json > FILE.json makes one")
        };
        let content = std::fs::File::open(path).and_then(input::whole);
        let content = content.map_err(|error| refuse(&error))?;
        let figures: Figures = serde_json::from_slice(&content).map_err(|error| refuse(&error))?;
        let name = path.file_stem().unwrap_or(path.as_os_str());
        Ok((name.to_string_lossy().into_owned(), figures))
    });
    let runs: Vec<(String, Figures)> = runs.collect::<Result<_, Failure>>()?;
    let figures = saved::compare(&runs);
    files.write(&figures)?;
    if arguments.json {
        return say_json(&figures);
    }
    say(table::of(&figures).trim_end())
}
