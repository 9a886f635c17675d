//! Writes the files of `uwwan bench`: the page with charts, the charts alone, and the values.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use uwwan_figures::{Figures, csv, page};

use crate::failure::{Failure, FailureKind};

/// The files to which figures are written.
#[derive(Debug, clap::Args)]
pub struct FileOptions {
    /// Write a page with charts
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Write the charts alone, as an image
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    /// Write every value, a line each
    #[arg(long, value_name = "FILE.csv")]
    csv: Option<PathBuf>,
}

/// The function that makes a file's text.
type Render = fn(&Figures) -> String;

/// The open files.
pub struct Files(Vec<(Report, Render)>);

impl Files {
    /// Opens the files that are asked for.
    ///
    /// # Errors
    /// Those of [`Report::open`].
    pub fn open(options: &FileOptions) -> Result<Files, Failure> {
        let wanted: [(&str, &Option<PathBuf>, Render); 3] = [
            ("report", &options.report, page::of),
            ("svg", &options.svg, page::svg),
            ("csv", &options.csv, csv::of),
        ];
        let mut files = Vec::new();
        for (option, path, render) in wanted {
            if let Some(path) = path {
                files.push((Report::open(option, path)?, render));
            }
        }
        Ok(Files(files))
    }

    /// Writes all files.
    ///
    /// # Errors
    /// Those of [`Report::write`].
    pub fn write(self, figures: &Figures) -> Result<(), Failure> {
        for (report, render) in self.0 {
            report.write(&render(figures))?;
        }
        Ok(())
    }
}

/// A file to which figures will be written. It is opened before the work, so that a wrong path is
/// reported at once, and left as it was when the work fails.
struct Report {
    /// The option that names the file.
    option: &'static str,
    path: PathBuf,
    file: File,
    /// Whether the file did not exist before.
    fresh: bool,
    written: bool,
}

impl Report {
    /// Opens the file at `path`, which the option `option` names, or creates it.
    ///
    /// # Errors
    /// Fails with [`FailureKind::Usage`] when the file cannot be opened for writing.
    fn open(option: &'static str, path: &Path) -> Result<Report, Failure> {
        let mut options = OpenOptions::new();
        options.write(true);
        let (fresh, file) = match options.clone().create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (false, options.create(true).truncate(false).open(path))
            }
            made => (true, made),
        };
        let file = file.map_err(|error| cannot(option, path, &error))?;
        Ok(Report {
            option,
            path: path.to_owned(),
            file,
            fresh,
            written: false,
        })
    }

    /// Writes a text in place of what the file held.
    ///
    /// # Errors
    /// Fails with [`FailureKind::Usage`] when the file cannot be written.
    fn write(mut self, text: &str) -> Result<(), Failure> {
        // Anything but a regular file, such as a pipe, has no length to set.
        let _ = self.file.set_len(0);
        self.file
            .write_all(text.as_bytes())
            .map_err(|error| cannot(self.option, &self.path, &error))?;
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

fn cannot(option: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(FailureKind::Usage, "cannot write the report")
        .at(format!("{} (--{option})", path.display()))
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
        drop(Report::open("report", &path).unwrap());
        assert!(!path.exists(), "nothing was measured");
        std::fs::write(&path, "x".repeat(100_000)).unwrap();
        drop(Report::open("report", &path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 100_000);
        Report::open("report", &path)
            .unwrap()
            .write("short")
            .unwrap();
        let page = std::fs::read_to_string(&path).unwrap();
        assert_eq!(page, "short");
    }

    #[test]
    fn a_wrong_path_is_told() {
        let Err(failure) = Report::open("csv", Path::new("/nowhere/at/all.csv")) else {
            panic!("there is no such directory");
        };
        assert_eq!(failure.kind, FailureKind::Usage);
        assert!(failure.to_string().contains("--csv"), "{failure}");
    }
}
