//! Reads `samples.json` in a directory that `tools/bench-kernel` has filled, prints a table, and
//! writes `results.json` and `report.html` beside it.

use std::path::PathBuf;
use std::process::ExitCode;

use uwwan_benches::contest;
use uwwan_figures::{page, table};

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: contest-report DIRECTORY");
        return ExitCode::from(2);
    };
    match report(&directory) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("contest-report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(directory: &std::path::Path) -> Result<String, String> {
    let at = |name: &str| directory.join(name);
    let told = |name: &str, error: std::io::Error| format!("{}: {error}", at(name).display());
    let samples = std::fs::read_to_string(at("samples.json"));
    let figures = contest::figures(&samples.map_err(|error| told("samples.json", error))?)?;
    let json = serde_json::to_string_pretty(&figures).map_err(|error| error.to_string())?;
    for (name, text) in [("results.json", json), ("report.html", page::of(&figures))] {
        std::fs::write(at(name), text).map_err(|error| told(name, error))?;
    }
    Ok(table::of(&figures))
}
