//! The capture that a command makes of the modem it opens (`--capture`).
//!
//! A process has one set of captures. [`Options::prepare`] opens the file, [`Prepared::start`] begins,
//! [`observed`] has a backend report to the observer, and [`finish`] ends the capture with the
//! process and reports its outcome.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use uwwan_modem::capture::{self, Capture, Captures, Destination, Files, Ring};
use uwwan_usb::device::Backend;
use uwwan_usb::observed::Observer;

use crate::checks::within;
use crate::failure::{Failure, FailureKind};
use crate::output::note;

/// Time within which queued events are written at the end of the process.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// Largest number of files in a ring.
const MOST_FILES: usize = 10_000;

/// The captures of this process, once there may be any.
static CAPTURES: OnceLock<Arc<Captures>> = OnceLock::new();
/// The capture that the command line asks for.
static ASKED: Mutex<Option<(Capture, String)>> = Mutex::new(None);

/// Standard output, where [`Options::keep_standard_output`] has kept it for a capture.
static KEPT: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// The choice of the content of a capture, and of its destination.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Write what passes between driver and modem into a pcapng file, which Wireshark dissects (- for
    /// standard output: `… --capture - | wireshark -k -i -`). Text goes to standard error then
    #[arg(long, value_name = "FILE.pcapng", help_heading = "Capture")]
    pub capture: Option<PathBuf>,
    #[command(flatten)]
    pub content: Content,
    /// Begin another file after so many bytes, and keep the last ones only: 64M, or 64M:5 for five files
    /// [default: 10 files]
    #[arg(long, value_name = "SIZE[:FILES]", requires = "capture", value_parser = ring, help_heading = "Capture")]
    pub capture_ring: Option<Ring>,
    /// Replace the file if it exists
    #[arg(long, requires = "capture", help_heading = "Capture")]
    pub capture_force: bool,
}

/// Content of a capture.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Content {
    /// Let the datagrams stand in the capture as IP packets too
    #[arg(long, help_heading = "Capture")]
    pub capture_ip: bool,
    /// Keep the first so many bytes of each datagram, and put zeros for the rest. Headers and NDPs of NTBs,
    /// and control and interrupt transfers, stay whole. The zeros take no room and no time in a file named
    /// FILE.pcapng.zst, which Wireshark reads too
    #[arg(long, value_name = "BYTES", help_heading = "Capture")]
    pub snap: Option<usize>,
    /// Keep PINs, PUKs and passwords in the capture, which are blanked otherwise
    #[arg(long, help_heading = "Capture")]
    pub capture_secrets: bool,
}

impl Content {
    /// Returns the options in the library's form, for a capture that is written to `file`.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] for a number of bytes that makes no sense.
    pub fn options(&self, file: Option<&Path>) -> Result<capture::Options, Failure> {
        if let Some(snap) = self.snap {
            within("snap", snap, 0, 65_535)?;
        }
        Ok(capture::Options {
            snap: self.snap,
            ip: self.capture_ip,
            secrets: self.capture_secrets,
            packed: file.is_some_and(capture::is_packed),
        })
    }

    fn is_chosen(&self) -> bool {
        self.capture_ip || self.snap.is_some() || self.capture_secrets
    }
}

/// A capture whose file is open.
pub struct Prepared {
    options: capture::Options,
    destination: Option<Destination>,
    /// Folder in which further files are made.
    pub folder: Option<PathBuf>,
}

impl Options {
    /// Opens the file, if a capture is asked for. No thread is started.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when an option makes no sense or the file exists; [`FailureKind::Host`]
    /// when it cannot be made.
    pub fn prepare(&self) -> Result<Prepared, Failure> {
        let options = self.content.options(self.capture.as_deref())?;
        let Some(path) = &self.capture else {
            if self.content.is_chosen() {
                let what = "an option makes no sense";
                return Err(Failure::new(FailureKind::Usage, what)
                    .at("--snap, --capture-ip or --capture-secrets")
                    .because("nothing is captured")
                    .next("name a file with --capture FILE.pcapng"));
            }
            return Ok(Prepared {
                options,
                destination: None,
                folder: None,
            });
        };
        let failed = |error: std::io::Error| cannot_write(path, &error, "--capture-force");
        let destination = match self.capture_ring {
            None if self.is_to_standard_output() => standard_output().map_err(failed)?,
            None => Destination::file(path, self.capture_force).map_err(failed)?,
            Some(_) if self.is_to_standard_output() => {
                return Err(Failure::new(FailureKind::Usage, "an option makes no sense")
                    .at("--capture-ring")
                    .because("standard output is one file"));
            }
            Some(ring) => Destination::ring(path, ring, self.capture_force).map_err(failed)?,
        };
        let folder = self.capture_ring.map(|_| match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        });
        Ok(Prepared {
            options,
            destination: Some(destination),
            folder,
        })
    }

    /// Returns whether the capture is written to standard output.
    pub fn is_to_standard_output(&self) -> bool {
        self.capture.as_deref() == Some(Path::new("-"))
    }

    /// Keeps standard output for the capture if it is written there, and redirects all other output to
    /// standard error. A command calls this before it starts a process that captures in its place.
    ///
    /// # Errors
    /// [`FailureKind::Host`] when descriptors have run out.
    pub fn keep_standard_output(&self) -> Result<(), Failure> {
        if self.is_to_standard_output() {
            let kept = take_standard_output()
                .map_err(|error| cannot_write(Path::new("-"), &error, "--capture-force"))?;
            *KEPT.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        }
        Ok(())
    }

    /// Begins the capture, if one is asked for, and returns `backend`, which reports to the observer.
    ///
    /// # Errors
    /// Those of [`Options::prepare`] and [`Prepared::start`].
    pub fn around(&self, backend: Arc<dyn Backend>) -> Result<Arc<dyn Backend>, Failure> {
        // A command may find its modem more than once.
        if CAPTURES.get().is_none() {
            self.prepare()?.start()?;
        }
        Ok(observed(backend))
    }
}

impl Prepared {
    /// Returns the files that are still to be made, if there are several.
    pub fn files(&self) -> Option<&Files> {
        self.destination.as_ref()?.files()
    }

    /// Lets another process open further files. This process then makes none in their folder.
    pub fn opened_by(&mut self, open: impl FnMut(usize) -> io::Result<File> + Send + 'static) {
        self.folder = None;
        if let Some(destination) = &mut self.destination {
            destination.opened_by(open);
        }
    }

    /// Begins the capture, if one is asked for. It lasts until [`finish`].
    ///
    /// # Errors
    /// [`FailureKind::Host`] when its thread cannot be started.
    pub fn start(self) -> Result<(), Failure> {
        let begun = self.begin()?;
        if begun.is_some() {
            *asked() = begun;
        }
        Ok(())
    }

    /// Begins the capture, if one is asked for, and returns it with the name of the place that it is
    /// written to.
    ///
    /// # Errors
    /// [`FailureKind::Host`] when its thread cannot be started.
    pub fn begin(self) -> Result<Option<(Capture, String)>, Failure> {
        let Some(destination) = self.destination else {
            return Ok(None);
        };
        let name = destination.name().to_owned();
        let capture = captures().start(self.options, destination)?;
        Ok(Some((capture, name)))
    }
}

/// Returns the captures of this process. From the first call on, backends are observed.
pub fn captures() -> Arc<Captures> {
    Arc::clone(CAPTURES.get_or_init(Arc::default))
}

/// Returns the observer, if there may be captures.
pub fn observer() -> Option<Arc<dyn Observer>> {
    let captures = CAPTURES.get()?;
    Some(Arc::clone(captures) as Arc<dyn Observer>)
}

/// Returns the backend, which reports to the observer from now on if there may be captures.
pub fn observed(backend: Arc<dyn Backend>) -> Arc<dyn Backend> {
    if let Some(observer) = observer() {
        backend.observe(observer);
    }
    backend
}

/// Ends the capture that the command line asked for, and reports its outcome.
pub fn finish() {
    if let Some((outcome, name)) = end() {
        tell(&outcome, &name);
    }
}

/// Ends the capture that the command line asked for, and returns its outcome with the name of the place
/// that it was written to.
pub fn end() -> Option<(capture::Outcome, String)> {
    let (capture, name) = asked().take()?;
    Some((capture.finish(PATIENCE), name))
}

/// Reports the outcome of a capture on standard error.
pub fn tell(outcome: &capture::Outcome, name: &str) {
    note(format!("captured {} events to {name}", outcome.written));
    tell_missing(outcome);
}

/// Reports on standard error what is missing in a capture, if anything is.
pub fn tell_missing(outcome: &capture::Outcome) {
    let missing = outcome.dropped;
    match &outcome.failure {
        Some(why) => note(format!(
            "the capture is not complete: {why}; {missing} events are missing in it"
        )),
        None if missing > 0 => note(format!(
            "{missing} events are missing in it: they came faster than they could be written"
        )),
        None => {}
    }
}

/// Returns the failure that a capture cannot be written; `force` is the option that replaces a file.
pub fn cannot_write(path: &Path, error: &std::io::Error, force: &str) -> Failure {
    let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
    let kind = match error.kind() {
        std::io::ErrorKind::AlreadyExists => FailureKind::Usage,
        std::io::ErrorKind::PermissionDenied => FailureKind::Permission,
        _ => FailureKind::Host,
    };
    let failure = Failure::new(kind, "cannot write the capture")
        .at(path.display().to_string())
        .because(error);
    if exists {
        failure.next(format!("choose another name, or replace it with {force}"))
    } else {
        failure
    }
}

/// Returns the failure that nothing is captured by this process, because a running `up` has the modem.
pub fn passes_elsewhere(path: &Path) -> Failure {
    let what = "a running uwwan has the modem, and nothing passes through this process";
    Failure::new(FailureKind::Busy, what)
        .at("--capture")
        .next(format!(
            "uwwan capture start {}   captures what passes there",
            path.display()
        ))
}

/// Returns standard output as a destination, and redirects all other output to standard error.
pub fn standard_output() -> std::io::Result<Destination> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).take();
    let kept = match kept {
        Some(kept) => kept,
        None => take_standard_output()?,
    };
    Ok(Destination::stream(
        Box::new(File::from(kept)),
        "standard output",
    ))
}

/// Returns standard output, and redirects all other output to standard error.
fn take_standard_output() -> io::Result<OwnedFd> {
    let kept = std::io::stdout().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdout(std::io::stderr())?;
    Ok(kept)
}

fn asked() -> std::sync::MutexGuard<'static, Option<(Capture, String)>> {
    ASKED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ring(text: &str) -> Result<Ring, String> {
    let (bytes, files) = match text.split_once(':') {
        Some((bytes, files)) => (
            bytes,
            usize::from_str(files).map_err(|_| "expected a number of files after :".to_owned())?,
        ),
        None => (text, 10),
    };
    let bytes = crate::checks::size(bytes)?;
    if bytes < 4_096 {
        return Err("expected a size of at least 4096 bytes".to_owned());
    }
    if !(1..=MOST_FILES).contains(&files) {
        return Err(format!("expected 1 to {MOST_FILES} files"));
    }
    Ok(Ring { bytes, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_read() {
        let expected = |bytes, files| Ok(Ring { bytes, files });
        assert_eq!(ring("64M"), expected(64_000_000, 10));
        assert_eq!(ring("1Mi:3"), expected(1 << 20, 3));
        for wrong in ["", "5", "64M:0", "64M:x", ":3", "64M:99999"] {
            assert!(ring(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_says_how_needs_what_says_where() {
        let options = Options {
            content: Content {
                capture_ip: true,
                ..Content::default()
            },
            ..Options::default()
        };
        let failure = options.prepare().err().unwrap();
        assert_eq!(failure.kind, FailureKind::Usage);
        assert!(failure.to_string().contains("--capture FILE"), "{failure}");
    }
}
