//! The file of results, one JSON object in each line: first the plan of the sweep, then a line for
//! each trial.
//!
//! Each line is written as soon as its trial is over, so that an interruption loses at most the trial
//! under way. A last line that is cut is left out when the file is read.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::outcome::Result as Outcome;
use crate::failure::{Failure, FailureKind};

/// Version of the form of the file.
const VERSION: u32 = 1;
/// Size of the longest file that is read, in bytes.
const LONGEST_FILE: u64 = 256 << 20;

/// First line of the file: the plan of the sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of the form of the file.
    pub version: u32,
    /// Dimensions with their values, as on the command line.
    pub dimensions: Vec<(String, Vec<String>)>,
    /// Number of trials of each cell.
    pub tries: u32,
    /// Seed of the order.
    pub seed: u64,
    /// Whether sizes may exceed what the modem announced.
    pub beyond: bool,
}

/// Further line of the file: one trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Number of the cell, from 0.
    pub cell: usize,
    /// Number of the trial of the cell, from 0.
    pub attempt: u32,
    /// Result.
    #[serde(flatten)]
    pub result: Outcome,
}

/// A file of results that grows.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Plan {
    /// Returns a plan of the present version.
    pub fn new(
        dimensions: Vec<(String, Vec<String>)>,
        tries: u32,
        seed: u64,
        beyond: bool,
    ) -> Self {
        Self {
            version: VERSION,
            dimensions,
            tries,
            seed,
            beyond,
        }
    }

    /// Returns the number of cells.
    fn cells(&self) -> usize {
        let counts = self.dimensions.iter().map(|(_, values)| values.len());
        counts.fold(1, usize::saturating_mul)
    }
}

impl Journal {
    /// Makes a file with this plan. A file that exists is refused unless `force`.
    ///
    /// # Errors
    /// [`FailureKind::Host`] when the file cannot be written; [`FailureKind::Busy`] when another sweep
    /// writes it.
    pub fn create(path: &Path, plan: &Plan, force: bool) -> Result<Self, Failure> {
        let wrong = |error: std::io::Error| {
            let failure = Failure::new(FailureKind::Host, "cannot write the results")
                .at(path.display().to_string())
                .because(&error);
            match error.kind() {
                std::io::ErrorKind::AlreadyExists => failure
                    .of(FailureKind::Usage)
                    .next("--resume goes on with it, --force replaces it"),
                _ => failure,
            }
        };
        let mut open = OpenOptions::new();
        open.write(true).mode(0o600);
        match force {
            true => open.create(true).truncate(false),
            false => open.create_new(true),
        };
        let file = open.open(path).map_err(wrong)?;
        lock(&file, path)?;
        if file.metadata().is_ok_and(|meta| meta.is_file()) {
            file.set_len(0).map_err(wrong)?;
        }
        let mut journal = Self {
            path: path.to_owned(),
            file,
        };
        journal.write(plan)?;
        Ok(journal)
    }

    /// Opens a file to continue it, and returns its plan and the trials that are done.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when the file has another form, with the line where it is wrong;
    /// [`FailureKind::Busy`] when another sweep writes it.
    pub fn resume(path: &Path) -> Result<(Self, Plan, Vec<Entry>), Failure> {
        let mut open = OpenOptions::new();
        let file = open.read(true).append(true).open(path);
        let file = file.map_err(|error| unreadable(path, &error))?;
        lock(&file, path)?;
        let (plan, entries, whole) = read(&file, path)?;
        let wrong = |error: std::io::Error| {
            Failure::new(FailureKind::Host, "cannot go on with the results")
                .at(path.display().to_string())
                .because(error)
        };
        file.set_len(whole).map_err(wrong)?;
        let path = path.to_owned();
        Ok((Self { path, file }, plan, entries))
    }

    /// Adds a trial.
    ///
    /// # Errors
    /// [`FailureKind::Host`] when the file cannot be written.
    pub fn add(&mut self, entry: &Entry) -> Result<(), Failure> {
        self.write(entry)
    }

    fn write(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let wrong = |why: String| {
            Failure::new(FailureKind::Host, "cannot write the results")
                .at(self.path.display().to_string())
                .because(why)
                .next("what is in the file stays good: --resume goes on with it")
        };
        let mut line = serde_json::to_string(value).map_err(|error| wrong(error.to_string()))?;
        line.push('\n');
        self.file
            .write_all(line.as_bytes())
            .map_err(|error| wrong(error.to_string()))
    }
}

/// Locks a file of results as long as it is open, so that one sweep alone writes it: what two of them
/// write would overlap.
///
/// # Errors
/// [`FailureKind::Busy`] when another sweep has locked it.
fn lock(file: &File, path: &Path) -> Result<(), Failure> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let what = "another uwwan lab sweep writes the results";
            Err(Failure::new(FailureKind::Busy, what)
                .at(path.display().to_string())
                .next("wait for its end, or end it"))
        }
        // Some network file systems have no locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Usage, "cannot read the results")
        .at(path.display().to_string())
        .because(why)
        .next("name a file that uwwan lab sweep --results has written")
}

/// Reads a file of results: its plan, its trials, and the number of bytes that are whole lines.
///
/// # Errors
/// [`FailureKind::Usage`] when the file has another form, with the line where it is wrong.
fn read(file: &File, path: &Path) -> Result<(Plan, Vec<Entry>, u64), Failure> {
    let wrong = |why: &dyn std::fmt::Display| unreadable(path, why);
    let meta = file.metadata().map_err(|error| wrong(&error))?;
    if !meta.is_file() {
        return Err(wrong(&"it is not a regular file"));
    }
    if meta.len() > LONGEST_FILE {
        return Err(wrong(&format_args!(
            "it is longer than {LONGEST_FILE} bytes"
        )));
    }
    parse(BufReader::new(file.take(LONGEST_FILE))).map_err(|why| wrong(&why))
}

/// Parses a file of results. Returns its plan, its trials, and the number of bytes that are whole lines.
///
/// # Errors
/// A text that says what is wrong, with the number of the line.
pub fn parse(mut lines: impl BufRead) -> Result<(Plan, Vec<Entry>, u64), String> {
    let mut plan: Option<Plan> = None;
    let mut entries: Vec<Entry> = Vec::new();
    let mut whole = 0;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let length = lines
            .read_until(b'\n', &mut line)
            .map_err(|error| format!("line {number}: {error}"))?;
        if length == 0 || line.last() != Some(&b'\n') {
            break;
        }
        let at = |error: serde_json::Error| format!("line {number}: {error}");
        match &plan {
            None => {
                let read: Plan = serde_json::from_slice(&line).map_err(at)?;
                if read.version != VERSION {
                    return Err(format!(
                        "it is of version {}, and this program knows {VERSION}",
                        read.version
                    ));
                }
                plan = Some(read);
            }
            Some(plan) => {
                let entry: Entry = serde_json::from_slice(&line).map_err(at)?;
                if entry.cell >= plan.cells() || entry.attempt >= plan.tries {
                    return Err(format!("line {number}: there is no such trial in the plan"));
                }
                entries.push(entry);
            }
        }
        whole += length as u64;
    }
    let plan = plan.ok_or("it has no plan")?;
    Ok((plan, entries, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan::new(
            vec![("ndp".into(), vec!["end".into(), "front".into()])],
            2,
            5,
            false,
        )
    }

    fn entry(cell: usize, attempt: u32) -> Entry {
        Entry {
            cell,
            attempt,
            result: Outcome::not_online("no answer".into(), 1.5),
        }
    }

    #[test]
    fn an_interrupted_file_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results");
        let mut journal = Journal::create(&path, &plan(), false).unwrap();
        journal.add(&entry(1, 0)).unwrap();
        drop(journal);
        let failure = Journal::create(&path, &plan(), false).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Usage);
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(b"{\"cell\":0,\"att").unwrap();
        let (mut journal, read_plan, entries) = Journal::resume(&path).unwrap();
        assert_eq!((read_plan, entries), (plan(), vec![entry(1, 0)]));
        journal.add(&entry(0, 1)).unwrap();
        let (_, entries, _) = read(&File::open(&path).unwrap(), &path).unwrap();
        assert_eq!(entries, [entry(1, 0), entry(0, 1)]);
        drop(journal);
        let journal = Journal::create(&path, &plan(), true).unwrap();
        drop(journal);
        let (_, _, entries) = Journal::resume(&path).unwrap();
        assert_eq!(entries, []);
    }

    #[test]
    fn what_is_no_file_of_results_is_told_with_its_line() {
        let first = serde_json::to_string(&plan()).unwrap();
        let trial = serde_json::to_string(&entry(2, 0)).unwrap();
        for (text, why) in [
            (String::new(), "no plan"),
            ("{}\n".into(), "line 1"),
            (
                first.replace("\"version\":1", "\"version\":9") + "\n",
                "version 9",
            ),
            (format!("{first}\nnonsense\n"), "line 2"),
            (
                format!("{first}\n{trial}\n"),
                "line 2: there is no such trial",
            ),
        ] {
            let told = parse(text.as_bytes()).unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
        }
        assert!(Journal::resume(Path::new("/")).is_err());
        assert!(Journal::resume(Path::new("/dev/zero")).is_err());
    }

    #[test]
    fn one_sweep_alone_writes_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results");
        let mut journal = Journal::create(&path, &plan(), false).unwrap();
        journal.add(&entry(1, 0)).unwrap();
        for second in [
            Journal::resume(&path).map(|_| ()),
            Journal::create(&path, &plan(), true).map(|_| ()),
        ] {
            assert_eq!(second.unwrap_err().kind, FailureKind::Busy);
        }
        drop(journal);
        let (_, _, entries) = Journal::resume(&path).unwrap();
        assert_eq!(entries, [entry(1, 0)]);
    }

    proptest::proptest! {
        #[test]
        fn lines_of_any_bytes_are_read_or_refused(
            parts in proptest::collection::vec((0usize..4, 0usize..400, ".{0,20}"), 0..12),
        ) {
            let lines = [
                serde_json::to_string(&plan()).unwrap() + "\n",
                serde_json::to_string(&entry(1, 0)).unwrap() + "\n",
                serde_json::to_string(&entry(7, 9)).unwrap() + "\n",
                "\n".to_owned(),
            ];
            let mut bytes = lines[0].clone().into_bytes();
            for (line, cut, noise) in parts {
                let line = lines[line].as_bytes();
                bytes.extend_from_slice(&line[..cut.min(line.len())]);
                bytes.extend_from_slice(noise.as_bytes());
            }
            if let Ok((read, entries, whole)) = parse(&bytes[..]) {
                let whole = usize::try_from(whole).unwrap();
                let again = parse(&bytes[..whole]).unwrap();
                proptest::prop_assert_eq!((again.0, again.1), (read, entries));
            }
        }
    }
}
