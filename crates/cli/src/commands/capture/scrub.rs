//! `uwwan capture scrub` takes identities and payload out of a capture.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use uwwan_modem::capture::scrub::{Options, Report, ScrubError, scrub_beside};
use uwwan_modem::capture::{Destination, is_packed};

use crate::capture::cannot_write;
use crate::failure::{Failure, FailureKind};
use crate::output::{say, say_json};

/// Largest number of bytes that are read from standard input.
const MOST_INPUT: u64 = 8 << 30;

/// Arguments of `capture scrub`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan capture scrub trace.pcapng clean.pcapng                  for a bug report
  uwwan capture scrub usbmon.pcap clean.pcapng --payload keep    with what the datagrams carry
  xz -dc trace.pcapng.xz | uwwan capture scrub - clean.pcapng
  uwwan capture show clean.pcapng                                the same story, of nobody

Replaced, the same everywhere by the same: IMEI, IMSI, ICCID, telephone numbers, names, user names, serial
numbers, Ethernet and IP addresses, in MBIM messages, AT lines, short messages, descriptors and datagrams.
Blanked: PINs, passwords, the text of messages, cells and places, what passes to and from the SIM, the
datagrams' payload, and whatever is not understood: vendors' services and requests, other devices of the
same bus. Lengths, framing and times stay, and so do access strings (APNs), names and numbers of operators,
versions, models, signal, states and errors. Checksums are computed anew.

Reads pcapng and pcap with usbmon's records (link types 189 and 220), USBPcap's (249) or IP packets (101).
Look through the result before you hand it over: a text may name somebody where no field says so.")]
pub struct Arguments {
    /// The capture to read, or - for standard input
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT.pcapng")]
    output: PathBuf,
    /// What becomes of the payload of datagrams. That of DNS and DHCP is zeroed in any case
    #[arg(long, value_enum, default_value = "zero")]
    payload: Payload,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// Print the account as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Payload {
    /// Zeros stand for it
    Zero,
    /// It stays
    Keep,
}

/// Scrubs a capture.
///
/// # Errors
/// Fails when the capture cannot be read, and when the file cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let options = Options {
        keep_payload: arguments.payload == Payload::Keep,
        packed: is_packed(&arguments.output),
    };
    let report = scrub_file(
        &arguments.input,
        &arguments.output,
        options,
        arguments.force,
        &mut [],
    )?;
    if arguments.json {
        say_json(&report)?;
    } else {
        tell(&report, &arguments.output.display().to_string())?;
    }
    match &report.broken {
        Some(why) => Err(cannot_read(&arguments.input, why)),
        None => Ok(()),
    }
}

/// Scrubs the capture at `input` into a file at `output`, for its owner alone, and texts beside it.
///
/// # Errors
/// Those of [`run`]. A capture that breaks in the middle is no error: the report says where it
/// breaks.
pub fn scrub_file(
    input: &Path,
    output: &Path,
    options: Options,
    force: bool,
    texts: &mut [String],
) -> Result<Report, Failure> {
    let file = match input == Path::new("-") {
        true => spooled(),
        false => File::open(input),
    };
    let file = file.map_err(|error| cannot_read(input, &error))?;
    let read = file
        .metadata()
        .map_err(|error| cannot_read(input, &error))?;
    if !read.is_file() {
        let why = "it is read twice, which only a file can be";
        return Err(cannot_read(input, &why));
    }
    let same = std::fs::metadata(output)
        .is_ok_and(|written| (written.dev(), written.ino()) == (read.dev(), read.ino()));
    if same {
        return Err(Failure::new(FailureKind::Usage, "cannot write the capture")
            .at(output.display().to_string())
            .because("it is the capture that is read")
            .next("choose another name"));
    }
    let failed = |error: std::io::Error| cannot_write(output, &error, "--force");
    let mut destination = Destination::file(output, force).map_err(failed)?;
    let out = BufWriter::new(destination.open_next().map_err(failed)?);
    let open = || {
        let mut again = file.try_clone()?;
        again.rewind()?;
        Ok(again)
    };
    scrub_beside(open, out, options, texts).map_err(|error| {
        // Anything but a regular file, such as a device, is left in place.
        if std::fs::symlink_metadata(output).is_ok_and(|written| written.is_file()) {
            let _ = std::fs::remove_file(output);
        }
        match error {
            ScrubError::Io(error) => failed(error),
            error => cannot_read(input, &error),
        }
    })
}

/// Returns standard input as a file that can be read twice: a file without a name, for this process
/// alone.
fn spooled() -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    let copied = io::copy(&mut io::stdin().lock().take(MOST_INPUT + 1), &mut file)?;
    if copied > MOST_INPUT {
        let why = format!("it is longer than {MOST_INPUT} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(file)
}

/// Prints the replacements that were made in a file that `name` names.
///
/// # Errors
/// Those of standard output.
pub fn tell(report: &Report, name: &str) -> Result<(), Failure> {
    say(format!("{name}: {} packets", report.packets))?;
    say("replaced:")?;
    if report.replaced.is_empty() {
        say("  nothing")?;
    }
    for (kind, replaced) in &report.replaced {
        let different = match replaced.different {
            0 => String::new(),
            different => format!(", {different} different"),
        };
        say(format!(
            "  {}: {} places{different}",
            kind.name(),
            replaced.places
        ))?;
    }
    if !report.blanked.is_empty() {
        say("not understood and blanked:")?;
    }
    for (what, times) in &report.blanked {
        say(format!("  {what}: {times}"))?;
    }
    if report.without_checksum > 0 {
        say(format!(
            "without a checksum, because they were captured in part: {} datagrams",
            report.without_checksum
        ))?;
    }
    if report.left_out > 0 {
        say(format!(
            "left out, because they are no USB transfers: {} packets",
            report.left_out
        ))?;
    }
    Ok(())
}

fn cannot_read(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Usage, "the capture cannot be read")
        .at(path.display().to_string())
        .because(why)
}
