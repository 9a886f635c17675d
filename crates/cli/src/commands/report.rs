//! `uwwan report` puts the material for a bug report into one file, without identities.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::NamedTempFile;
use uwwan_modem::capture::scrub::scrub_texts;
use uwwan_modem::state_file;

use super::{doctor, record};
use crate::capture::cannot_write;
use crate::failure::{Failure, FailureKind};
use crate::output::{now, say};
use crate::reach::Reach;

/// Bytes of a log that are taken, from its end.
const MOST_LOG: u64 = 1 << 20;
/// Lines of the journal that are taken.
const MOST_LINES: &str = "5000";

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan report                        of the only modem, into uwwan-report.tar
  uwwan report r.tar --device 1-4.2   of one of several
  uwwan report --log up.log           with a log that is not in the journal
  tar xf uwwan-report.tar             looks into it

The file is an archive for its owner alone: what uwwan doctor says, versions, the state of a running uwwan up, the
lines of the journal, and what uwwan record records of the modem. IP and Ethernet addresses, and the numbers of
devices, cards and people are replaced in all of them, the same by the same; names of operators and access
points stay. Look through it before you hand it over. Without a modem it says why there is no recording.")]
pub struct Arguments {
    /// The file to write
    #[arg(value_name = "FILE.tar", default_value = "uwwan-report.tar")]
    file: PathBuf,
    /// A log to take the last MiB of as well
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

/// Collects, scrubs and writes.
///
/// # Errors
/// Fails when the file exists or cannot be written, when the log cannot be read, and on Ctrl-C.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = &arguments.file;
    let failed = |error: io::Error| cannot_write(file, &error, "--force");
    if !arguments.force && file.exists() {
        return Err(failed(io::ErrorKind::AlreadyExists.into()));
    }
    // A file that is replaced, such as a device node, would be lost.
    let there = file.symlink_metadata();
    if there.is_ok_and(|about| !about.is_file() && !about.is_symlink()) {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
        return Err(failed(error));
    }
    let log = arguments.log.as_deref().map(end_of).transpose()?;
    let findings = doctor::findings();
    let findings: Vec<String> = findings.iter().flat_map(doctor::lines).collect();
    let mut names = vec!["versions.txt", "doctor.txt", "status.json", "journal.txt"];
    let mut texts = vec![
        versions(),
        findings.join("\n"),
        status(&arguments.reach),
        journal(),
    ];
    if let Some(log) = log {
        names.push("log.txt");
        texts.push(log);
    }
    let folder = tempfile::tempdir().map_err(failed)?;
    let recording = folder.path().join("modem.pcapng");
    let told = match record::record(&arguments.reach, &recording, false, &mut texts) {
        Ok(recorded) => format!(
            "modem.pcapng holds {} packets, of {} MBIM queries and {} AT commands",
            recorded.scrubbed.packets, recorded.mbim_queries, recorded.at_commands
        ),
        Err(failure) if failure.kind == FailureKind::Cancelled => return Err(failure),
        Err(failure) => {
            texts.push(format!("there is no recording: {failure}"));
            scrub_texts(&mut texts);
            texts.pop().unwrap_or_default()
        }
    };
    names.push("recording.txt");
    texts.push(told.clone());
    let beside = file.parent().filter(|parent| *parent != Path::new(""));
    // The file is for its owner alone, and is never left half written.
    let out = NamedTempFile::new_in(beside.unwrap_or(Path::new("."))).map_err(failed)?;
    let mut archive = tar::Builder::new(out);
    for (name, text) in names.iter().zip(&texts) {
        add(&mut archive, name, &mut text.as_bytes(), text.len() as u64).map_err(failed)?;
    }
    if let Ok(mut whole) = std::fs::File::open(&recording) {
        let length = whole.metadata().map_err(failed)?.len();
        add(&mut archive, "modem.pcapng", &mut whole, length).map_err(failed)?;
    }
    let out = archive.into_inner().map_err(failed)?;
    match arguments.force {
        true => out.persist(file),
        false => out.persist_noclobber(file),
    }
    .map_err(|error| failed(error.error))?;
    say(format!("{}: {}", file.display(), names.join(", ")))?;
    say(told)
}

/// Adds a file to the archive.
fn add(
    archive: &mut tar::Builder<NamedTempFile>,
    name: &str,
    content: &mut dyn io::Read,
    length: u64,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(length);
    header.set_mode(0o600);
    archive.append_data(&mut header, Path::new("uwwan-report").join(name), content)
}

/// Returns the versions of the programs that handle packets.
fn versions() -> String {
    let system = rustix::system::uname();
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let release = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or("of an unknown distribution");
    format!(
        "uwwan {}\nsystem {} {} {}, {}\nwritten {}\n",
        env!("CARGO_PKG_VERSION"),
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy(),
        system.machine().to_string_lossy(),
        release.trim_matches('"'),
        now()
    )
}

/// Returns the state of the running `up` as JSON, or the reason why there is none.
fn status(reach: &Reach) -> String {
    let status = reach.status().map(|reply| reply.status);
    match status {
        Ok(Some(value)) => serde_json::to_string_pretty(&value).unwrap_or_default(),
        Ok(None) => "{}".to_owned(),
        Err(failure) => failure.to_string(),
    }
}

/// Returns the program's last lines in the journal, or the reason why there are none.
fn journal() -> String {
    let asked = Command::new("journalctl")
        .args(["--identifier", "uwwan", "--lines", MOST_LINES])
        .args([
            "--output",
            "short-iso-precise",
            "--no-hostname",
            "--no-pager",
        ])
        .output();
    match asked {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into(),
        Ok(output) => format!("no journal: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => format!("no journal: journalctl: {error}"),
    }
}

/// Returns the end of a log.
fn end_of(path: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| {
        Failure::new(FailureKind::Usage, "cannot read the log")
            .at(path.display().to_string())
            .because(error)
    };
    let mut file = state_file::regular(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MOST_LOG)))
        .map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MOST_LOG)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes);
    // Where the log is longer, its first line is cut.
    Ok(match text.split_once('\n') {
        Some((_, rest)) if length > MOST_LOG => rest.to_owned(),
        _ => text.into_owned(),
    })
}
