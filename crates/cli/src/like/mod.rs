//! Reads a modem from a capture, so that the emulated modem can be like it (`--like`).
//!
//! One pass over the capture sorts its entries by device, each part into a file of this folder:
//! `enumeration` has descriptors and strings, `mbim` commands with their answers and indications, `at`
//! lines with their answers, `requests` class and vendor requests, `ntbs` the layout of NTBs.
//! `answers` makes rules of answers, in their order where they change. Everything held is bounded,
//! however long the capture is.
//!
//! Queries whose answer follows from the state of the emulated modem (whether a data session is up, how
//! many packets passed) are left to its firmware.

mod answers;
mod at;
mod device;
mod enumeration;
mod mbim;
mod modem;
mod ntbs;
mod requests;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::failure::{Failure, FailureKind};
use crate::story::Story;
use device::Observed;
pub use modem::Like;

/// Largest number of devices of a capture that are told apart.
const MOST_DEVICES: usize = 32;
/// Largest number of transfers and messages that are read, so that a pipe without end has a limit.
const MOST_ENTRIES: usize = 4_000_000;

/// Reads the modem in the capture `file`.
///
/// # Errors
/// [`FailureKind::Usage`] for a file that cannot be read, is no capture, or has no modem in it. A capture
/// that is broken in the middle is used up to that place, and a note says so.
pub fn read(file: &Path) -> Result<Like, Failure> {
    let name = file.display().to_string();
    let input = File::open(file).map_err(|error| {
        Failure::new(FailureKind::Usage, "the capture cannot be read")
            .at(name.clone())
            .because(error)
    })?;
    from(input, &name)
}

/// Reads the modem in the capture that comes from `input`.
///
/// # Errors
/// Those of [`read`].
pub fn from(input: impl Read + Send, name: &str) -> Result<Like, Failure> {
    let mut story = Story::new(input, name)?;
    let mut devices: Vec<((u16, u8), Observed)> = Vec::new();
    let mut entries = 0;
    let broken = loop {
        if entries == MOST_ENTRIES {
            let what = "the capture is long";
            break Some(
                Failure::new(FailureKind::Usage, what)
                    .because(format!("{MOST_ENTRIES} transfers are enough")),
            );
        }
        match story.next_entry() {
            Ok(Some(entry)) => {
                entries += 1;
                let known = devices.iter().position(|(key, _)| *key == entry.device);
                let at = match known {
                    Some(at) => at,
                    None if devices.len() < MOST_DEVICES => {
                        devices.push((entry.device, Observed::default()));
                        devices.len() - 1
                    }
                    None => continue,
                };
                devices[at].1.take(entry);
            }
            Ok(None) => break None,
            Err(failure) => break Some(failure),
        }
    };
    let best = devices
        .into_iter()
        .map(|(_, observed)| observed)
        .max_by_key(Observed::weight)
        .filter(|observed| observed.weight() > 0);
    let Some(observed) = best else {
        return Err(broken.unwrap_or_else(|| {
            Failure::new(FailureKind::Usage, "there is no modem in the capture")
                .at(name.to_owned())
                .because("no device in it speaks MBIM or NCM, or says what it is")
                .next("uwwan capture show tells what it holds")
        }));
    };
    let mut like = observed.finish();
    if let Some(failure) = broken {
        let why = failure.why.join("; ");
        like.notes
            .push(format!("{name} is not used to its end: {why}"));
    }
    Ok(like)
}

#[cfg(test)]
mod tests;
