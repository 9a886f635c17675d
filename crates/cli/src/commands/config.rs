//! `uwwan config` checks configuration files of `up` without a modem.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::bad;
use crate::configurations;
use crate::failure::{Failure, FailureKind};
use crate::json::JSON_VERSION;
use crate::output::{note, plain, say, say_json};
use crate::settings::Settings;
use crate::sharing;

/// Arguments of `config`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check configuration files as `uwwan up` reads them, without a modem
    Check(CheckArguments),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan config check                      every configuration in /etc/uwwan and ~/.config/uwwan
  uwwan config check home                 the one of `uwwan up home`
  uwwan config check ./modem.toml         any file
  uwwan config check --json | jq .        for programs

The exit status is 2 when a file has a mistake, or when a PIN or password file in it cannot be read by
this user.")]
struct CheckArguments {
    /// Name of a configuration, or a file; without one all are checked
    #[arg(value_name = "FILE|NAME")]
    file: Option<String>,
    /// Print JSON, one object a file
    #[arg(long)]
    json: bool,
}

/// The output of `config check --json` for a file, on a line of its own.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Checked {
    /// Version of the form.
    version: u32,
    /// The file.
    file: PathBuf,
    /// Whether `up` would take it.
    ok: bool,
    /// The failure that says what is wrong with it.
    failure: Option<Failure>,
}

/// Checks configuration files.
///
/// # Errors
/// [`FailureKind::Usage`] when a file has a mistake, and when there is none.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Command::Check(arguments) = &arguments.command;
    let files = match &arguments.file {
        Some(argument) => vec![configurations::file_or_named(argument)?],
        None => configurations::all(),
    };
    if files.is_empty() {
        return Err(
            Failure::new(FailureKind::Usage, "there is no configuration")
                .because("neither /etc/uwwan nor ~/.config/uwwan has a file NAME.toml")
                .next("write one (uwwan.toml(5) has its keys), or name a file"),
        );
    }
    let mut wrong = Vec::new();
    for file in &files {
        let checked = check(file);
        if arguments.json {
            say_json(&Checked {
                version: JSON_VERSION,
                file: file.clone(),
                ok: checked.is_ok(),
                failure: checked.as_ref().err().cloned(),
            })?;
        } else if checked.is_ok() {
            say(format!("{}: good", plain(&file.display().to_string())))?;
        }
        if let Err(failure) = checked {
            wrong.push(failure);
        }
    }
    // The caller prints the last failure.
    let last = wrong.pop();
    for failure in wrong {
        note(format!("error: {failure}"));
    }
    last.map_or(Ok(()), Err)
}

/// Does the checks of a file that `up` does before it looks for the modem.
fn check(file: &Path) -> Result<(), Failure> {
    let settings = Settings::from_file(file)?;
    let placed = |failure: Failure| {
        let place = format!("{}: {}", file.display(), failure.place);
        failure.at(place)
    };
    settings.options().map_err(placed)?;
    sharing::policy(&settings).map_err(placed)?;
    let missing = |path: &Path| !path.exists();
    match settings.pin_file.as_deref().filter(|path| missing(path)) {
        Some(path) => Err(placed(bad(
            "pin-file",
            format!("{} is not there", path.display()),
        ))),
        None => Ok(()),
    }
}
