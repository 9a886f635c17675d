//! `uwwan usage` shows how much data each modem has used in each month.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_modem::state_file::StateFile;

use crate::failure::{Failure, FailureKind};
use crate::json::JSON_VERSION;
use crate::output::{bytes, plain, say, say_json};
use crate::state;
use crate::usage::{Entry, Usage};

/// Arguments of `usage`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan usage                       what has gone through each modem, by month
  sudo uwwan usage                  the same for the service and for `up` by root
  uwwan usage --month 2026-11       one month
  uwwan usage --json | jq .         for programs

Bytes are those of datagrams; the network may count more. A running `up` adds to them once a minute.
`uwwan up --quota 10G` warns before a month's use comes to that.")]
pub struct Arguments {
    /// Show this month only, as 2026-11 (UTC)
    #[arg(long, value_name = "YEAR-MONTH")]
    pub month: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The output of `usage --json`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    /// Version of the form.
    version: u32,
    /// File in which the use is kept.
    file: PathBuf,
    /// Use of each device in each month, the oldest month first.
    months: Vec<Entry>,
}

/// Shows the data use that was kept.
///
/// # Errors
/// [`FailureKind::Missing`] when nothing was kept, [`FailureKind::Permission`] when it is another
/// user's, [`FailureKind::Unreadable`] when it cannot be read.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path = state::usage(false).ok_or_else(|| {
        Failure::new(FailureKind::Usage, "there is no state directory")
            .because("neither HOME nor XDG_STATE_HOME names a directory")
            .next("name one with UWWAN_STATE_DIR")
    })?;
    let failed = |kind, what| Failure::new(kind, what).at(path.display().to_string());
    match File::open(&path).map_err(|error| error.kind()) {
        Err(ErrorKind::NotFound) => {
            return Err(failed(FailureKind::Missing, "no data use has been kept")
                .because("no modem has carried data as this user")
                .next("sudo uwwan usage   shows what the service and root have used"));
        }
        Err(ErrorKind::PermissionDenied) => {
            return Err(
                failed(FailureKind::Permission, "the data use is another user's")
                    .next("sudo uwwan usage"),
            );
        }
        _ => {}
    }
    let file = StateFile::<Usage>::open(path.clone());
    if let Some(why) = file.unreadable() {
        return Err(
            failed(FailureKind::Unreadable, "the data use cannot be read")
                .because(why)
                .next("move the file away; a new one is begun"),
        );
    }
    let wanted = |entry: &&Entry| {
        let month = arguments.month.as_deref();
        month.is_none_or(|month| entry.month == month)
    };
    let entries: Vec<&Entry> = file.content.entries.iter().filter(wanted).collect();
    if arguments.json {
        return say_json(&Output {
            version: JSON_VERSION,
            file: path,
            months: entries.into_iter().cloned().collect(),
        });
    }
    lines(&entries).iter().try_for_each(say)
}

fn lines(entries: &[&Entry]) -> Vec<String> {
    let row = |month: &str, device: &str, figures: [&str; 3]| {
        let [up, down, total] = figures;
        format!("{month:<9} {device:<24} {up:>10} {down:>10} {total:>10}")
    };
    let mut lines = vec![row("month", "device", ["up", "down", "total"])];
    lines.extend(entries.iter().map(|entry| {
        let [up, down, total] =
            [entry.uplink_bytes, entry.downlink_bytes, entry.total()].map(bytes);
        row(
            &plain(&entry.month),
            &plain(&entry.device),
            [&up, &down, &total],
        )
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_a_line() {
        let mut usage = Usage::default();
        usage.add("2026-11", "03f0:a31d at 1-4", 1_200_000_000, 10_100_000_000);
        let entries: Vec<&Entry> = usage.entries.iter().collect();
        assert_eq!(
            lines(&entries)[1],
            "2026-11   03f0:a31d at 1-4             1.2 GB    10.1 GB    11.3 GB"
        );
    }
}
