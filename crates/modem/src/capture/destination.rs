//! The destination that a capture is written to.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A ring of files. The oldest file is removed when there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// Number of bytes after which the next file begins. The last packet of a file may go beyond.
    pub bytes: u64,
    /// Largest number of files.
    pub files: usize,
}

/// Function that opens the file of a ring that has the given number.
type Opener = dyn FnMut(usize) -> io::Result<File> + Send;

/// The files of a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    path: PathBuf,
    ring: Ring,
    force: bool,
}

impl Files {
    /// Opens the file with a number, and removes the oldest file when there are too many.
    ///
    /// # Errors
    /// The system's error when the file cannot be opened.
    pub fn open(&self, number: usize) -> io::Result<File> {
        let file = create(&numbered(&self.path, number), self.force)?;
        if let Some(old) = number.checked_sub(self.ring.files).filter(|old| *old > 0) {
            let _ = std::fs::remove_file(numbered(&self.path, old));
        }
        Ok(file)
    }
}

/// Place that a capture is written to.
pub struct Destination {
    first: Option<Box<dyn Write + Send>>,
    files: Option<Files>,
    /// Function that opens further files in place of this process.
    opener: Option<Box<Opener>>,
    /// Number of the file that is being written.
    number: usize,
    named: String,
}

impl Destination {
    /// Makes a file for its owner alone (mode 0600). An existing file is replaced with `force` only.
    ///
    /// # Errors
    /// The system's error when the file cannot be made; [`io::ErrorKind::AlreadyExists`] without
    /// `force`.
    pub fn file(path: &Path, force: bool) -> io::Result<Self> {
        let file = create(path, force)?;
        Ok(Self {
            first: Some(Box::new(file)),
            files: None,
            opener: None,
            number: 0,
            named: path.display().to_string(),
        })
    }

    /// Makes a ring of files, each for its owner alone (mode 0600). The files' names are that of
    /// `path` with a number: `trace_00001.pcapng`. Existing files are replaced with `force` only.
    ///
    /// # Errors
    /// The system's error when the first file cannot be made; [`io::ErrorKind::AlreadyExists`]
    /// without `force`, for any file with such a name.
    pub fn ring(path: &Path, ring: Ring, force: bool) -> io::Result<Self> {
        if !force {
            let folder = match path.parent() {
                Some(folder) if folder != Path::new("") => folder,
                _ => Path::new("."),
            };
            let taken = std::fs::read_dir(folder)?
                .flatten()
                .find(|entry| is_numbered(path, &entry.path()));
            if let Some(taken) = taken {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    format!("{} exists", taken.path().display()),
                ));
            }
        }
        let files = Files {
            path: path.to_path_buf(),
            ring,
            force,
        };
        Ok(Self {
            first: Some(Box::new(files.open(1)?)),
            files: Some(files),
            opener: None,
            number: 1,
            named: path.display().to_string(),
        })
    }

    /// Writes to `stream`. Messages call it `named`.
    #[must_use]
    pub fn stream(stream: Box<dyn Write + Send>, named: &str) -> Self {
        Self {
            first: Some(stream),
            files: None,
            opener: None,
            number: 0,
            named: named.to_owned(),
        }
    }

    /// Returns the name for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.named
    }

    /// Returns the number of bytes after which the next file begins, if there are several.
    pub(super) fn limit(&self) -> Option<u64> {
        self.files.as_ref().map(|files| files.ring.bytes)
    }

    /// Opens the first or the next file, and removes the oldest file when there are too many.
    ///
    /// # Errors
    /// The system's error when the file cannot be opened.
    pub fn open_next(&mut self) -> io::Result<Box<dyn Write + Send>> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let Some(files) = &self.files else {
            return Err(io::Error::other("there is no further file"));
        };
        self.number += 1;
        let file = match &mut self.opener {
            Some(open) => open(self.number)?,
            None => files.open(self.number)?,
        };
        Ok(Box::new(file))
    }

    /// Returns the files of a ring, from which another process opens them.
    #[must_use]
    pub fn files(&self) -> Option<&Files> {
        self.files.as_ref()
    }

    /// Has further files opened by `open`, which is given their numbers.
    pub fn opened_by(&mut self, open: impl FnMut(usize) -> io::Result<File> + Send + 'static) {
        self.opener = Some(Box::new(open));
    }
}

/// Makes a file for its owner alone. With `force`, a file that exists is replaced by a fresh one and
/// never written to: another user may own it or have it open. Anything but a regular file, such as a
/// pipe, is then opened as it is.
fn create(path: &Path, force: bool) -> io::Result<File> {
    let fresh = match std::fs::symlink_metadata(path) {
        Ok(there) if force && there.is_file() => std::fs::remove_file(path).is_ok(),
        Ok(_) => !force,
        Err(_) => true,
    };
    let mut options = OpenOptions::new();
    options
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_CLOEXEC);
    if fresh {
        options.create_new(true);
    } else {
        options.create(true).truncate(true);
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        // An existing file keeps its mode at opening.
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Returns whether a file of this name is to be written as a packed file
/// ([`Options::packed`](super::Options::packed)).
#[must_use]
pub fn is_packed(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("zst"))
}

/// Returns the parts of the file name in `path` before and behind a ring's number: `trace` and
/// `.pcapng.zst`.
fn around_number(path: &Path) -> (String, String) {
    let (name, packed) = match path.extension() {
        Some(extension) if is_packed(path) => (
            path.file_stem().unwrap_or_default(),
            format!(".{}", extension.to_string_lossy()),
        ),
        _ => (path.file_name().unwrap_or_default(), String::new()),
    };
    let name = Path::new(name);
    let stem = name.file_stem().unwrap_or_default().to_string_lossy();
    let ending = match name.extension() {
        Some(extension) => format!(".{}{packed}", extension.to_string_lossy()),
        None => packed,
    };
    (stem.into_owned(), ending)
}

/// Returns the path of a ring's file.
fn numbered(path: &Path, number: usize) -> PathBuf {
    let (stem, ending) = around_number(path);
    path.with_file_name(format!("{stem}_{number:05}{ending}"))
}

/// Returns whether `other` has the name of a file of the ring at `path`.
fn is_numbered(path: &Path, other: &Path) -> bool {
    let (stem, ending) = around_number(path);
    other
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_prefix(&stem)?.strip_prefix('_'))
        .and_then(|name| name.strip_suffix(&ending))
        .is_some_and(|number| number.len() >= 5 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_private_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcapng");
        drop(Destination::file(&path, false).unwrap());
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        let again = Destination::file(&path, false).err().unwrap();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        // A program that has the old file open reads nothing of the new one.
        let old = File::open(&path).unwrap();
        let mut destination = Destination::file(&path, true).unwrap();
        assert_eq!(mode(), 0o600);
        let mut file = destination.open_next().unwrap();
        file.write_all(b"secret").unwrap();
        assert_eq!(old.metadata().unwrap().len(), 0);
        assert_eq!(std::fs::read(&path).unwrap(), b"secret");
    }

    #[test]
    fn what_is_no_file_is_written_to_with_force_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        // A symbolic link whose target does not exist is not followed.
        let refused = Destination::file(&link, false).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert!(!file.exists());
        Destination::file(&link, true).unwrap();
        assert!(file.exists() && link.is_symlink());
        assert!(Destination::file(Path::new("/dev/null"), true).is_ok());
        assert!(Destination::file(Path::new("/dev/null"), false).is_err());
    }

    #[test]
    fn a_ring_keeps_its_last_files_and_leaves_others_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcapng");
        let ring = Ring { bytes: 1, files: 2 };
        std::fs::write(folder.path().join("a_notes.pcapng"), "mine").unwrap();
        let mut destination = Destination::ring(&path, ring, false).unwrap();
        for _ in 0..4 {
            destination.open_next().unwrap().write_all(b"x").unwrap();
        }
        let mut names: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            ["a_00003.pcapng", "a_00004.pcapng", "a_notes.pcapng"]
        );
        assert!(Destination::ring(&path, ring, false).is_err());
        let packed = folder.path().join("a.pcapng.zst");
        Destination::ring(&packed, ring, false).unwrap();
        assert!(folder.path().join("a_00001.pcapng.zst").exists());
        assert!(Destination::ring(&packed, ring, false).is_err());
        assert!(Destination::ring(&path, ring, true).is_ok());
    }
}
