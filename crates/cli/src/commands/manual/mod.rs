//! `uwwan manual` writes the manual pages, for packages. Pages of commands are made from the source of
//! `--help`, that of configuration files from the options of `up`.

mod configuration;
mod page;

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, FailureKind};

/// Manual page of quirk files.
const QUIRKS: &str = include_str!("../../../man/uwwan-quirks.5");

/// Arguments of `manual`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan manual /usr/local/share/man
      man1/uwwan.1, man1/uwwan-up.1 and so on, man5/uwwan.toml.5, man5/uwwan-quirks.5")]
pub struct Arguments {
    /// Directory of manual pages; man1 and man5 below it are made
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
}

/// Writes the pages of the program's command line, `program`.
///
/// # Errors
/// [`FailureKind::Host`] when a file cannot be written.
pub fn run(arguments: &Arguments, program: clap::Command) -> Result<(), Failure> {
    for (name, text) in pages(program) {
        let section = name.rsplit('.').next().unwrap_or("1");
        write(
            &arguments.directory.join(format!("man{section}")),
            &name,
            &text,
        )?;
    }
    Ok(())
}

fn write(directory: &Path, name: &str, text: &[u8]) -> Result<(), Failure> {
    let file = directory.join(name);
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&file, text))
        .map_err(|error| {
            Failure::new(FailureKind::Host, "cannot write a manual page")
                .at(file.display().to_string())
                .because(error)
        })
}

/// Returns all pages of the program's command line: names of files and their texts.
pub fn pages(program: clap::Command) -> Vec<(String, Vec<u8>)> {
    let mut command = program.disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    page::collect(&command, None, &mut pages);
    pages.push(("uwwan.toml.5".to_owned(), configuration::page()));
    pages.push(("uwwan-quirks.5".to_owned(), QUIRKS.as_bytes().to_vec()));
    pages
}
