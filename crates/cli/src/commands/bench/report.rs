//! Writes the page with charts of `uwwan bench --report`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use uwwan_figures::{Figures, page};

use crate::failure::{Failure, FailureKind};

/// A file to which the page will be written. It is opened before the work, so that a wrong path is
/// reported at once, and left as it was when the work fails.
pub struct Report {
    path: PathBuf,
    file: File,
    /// Whether the file was not there before.
    fresh: bool,
    written: bool,
}

impl Report {
    /// Opens the file at `path`, or creates it.
    ///
    /// # Errors
    /// Fails with [`FailureKind::Usage`] when the file cannot be opened for writing.
    pub fn open(path: &Path) -> Result<Report, Failure> {
        let fresh = !path.exists();
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| cannot(path, &error))?;
        Ok(Report {
            path: path.to_owned(),
            file,
            fresh,
            written: false,
        })
    }

    /// Writes the page in place of what the file held.
    ///
    /// # Errors
    /// Fails with [`FailureKind::Usage`] when the file cannot be written.
    pub fn write(mut self, figures: &Figures) -> Result<(), Failure> {
        // What is no regular file (a pipe) has no length to set.
        let _ = self.file.set_len(0);
        self.file
            .write_all(page::of(figures).as_bytes())
            .map_err(|error| cannot(&self.path, &error))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if self.fresh && !self.written {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(FailureKind::Usage, "cannot write the report")
        .at(format!("{} (--report)", path.display()))
        .because(error)
        .next("name a file in a directory that is there and yours")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_or_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("report.html");
        drop(Report::open(&path).unwrap());
        assert!(!path.exists(), "nothing was measured");
        std::fs::write(&path, "x".repeat(100_000)).unwrap();
        drop(Report::open(&path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 100_000);
        Report::open(&path)
            .unwrap()
            .write(&Figures::new("T"))
            .unwrap();
        let page = std::fs::read_to_string(&path).unwrap();
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    }

    #[test]
    fn a_wrong_path_is_told() {
        let Err(failure) = Report::open(Path::new("/nowhere/at/all.html")) else {
            panic!("there is no such directory");
        };
        assert_eq!(failure.kind, FailureKind::Usage);
        assert!(failure.to_string().contains("--report"), "{failure}");
    }
}
