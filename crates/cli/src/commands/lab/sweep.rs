//! The sweep: every cell several times, in random order.
//!
//! Each round visits every cell once. Cells that need no session of their own share one; the sessions and
//! the cells within each are visited in random order, another in each round, so that other changes over
//! time affect all of them.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::bench::Bench;
use super::cell::{Cell, Dimension, Matrix};
use super::journal::{Entry, Journal, Plan};
use super::outcome::Result as Trial;
use super::report::Report;
use super::subject::Common;
use crate::checks::bad;
use crate::failure::{Failure, FailureKind};
use crate::output::{note, say, say_json, seconds};

/// Arguments of `lab sweep`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan lab sweep --device emulator --ndp end,front --pad short,zlp,full
  uwwan lab sweep --ntb 16,32 --block-size 2048,4096,16384 --tries 5 --results sweep.jsonl -- --apn internet
  uwwan lab sweep --resume sweep.jsonl --report sweep.html    go on after an interruption
  uwwan lab sweep --divisor 1,4,32 --remainder 0,2            alignments the modem did not announce
  uwwan lab sweep --max-datagrams 10,100,1000 --beyond        more than it announced
  uwwan lab sweep --sequence rising,constant,random --empty 0,1
  uwwan lab sweep --order usual,size-first,alternate-first,open-first --ntb 16,32

Each trial sends marked echo requests: one short, as many short ones as an NTB may have, one that makes
its NTB fill the last packet, and as many long ones as an NTB holds. What becomes of a trial: delivered (all
answered unchanged), halted (delivered, with an endpoint halt), lost, corrupted, gone (the device or its
session), or not online. A modem that is gone is brought back, and the sweep goes on.

Cells share a session as far as they can: order, settle, ntb, block-size, input-size and in-flight take one
of their own. Ctrl-C keeps what is over. Each trial sends up to some 100 KB, and somebody pays for it.")]
pub struct SweepArguments {
    #[command(flatten)]
    common: Common,
    /// Pauses in configuration 0, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    settle: Vec<String>,
    /// Formats of NTBs: 16, 32
    #[arg(
        long,
        value_name = "BITS",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    ntb: Vec<String>,
    /// Largest NTBs to the modem, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    block_size: Vec<String>,
    /// Largest NTBs from the modem, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    input_size: Vec<String>,
    /// Numbers of transfers in flight
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    in_flight: Vec<String>,
    /// Places of the NDP: end, front
    #[arg(
        long,
        value_name = "PLACE",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    ndp: Vec<String>,
    /// Sizes of the NDP: minimal, full
    #[arg(
        long,
        value_name = "SIZE",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    table: Vec<String>,
    /// Ends of an NTB that fills its last packet: short, full, zlp
    #[arg(
        long,
        value_name = "HOW",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    pad: Vec<String>,
    /// Numbers of datagrams in an NTB to the modem
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    max_datagrams: Vec<String>,
    /// Divisors of the offsets of datagrams, in bytes, in place of what the modem announced
    #[arg(
        long,
        value_name = "BYTES",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    divisor: Vec<String>,
    /// Remainders of the offsets of datagrams, in bytes, in place of what the modem announced
    #[arg(
        long,
        value_name = "BYTES",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    remainder: Vec<String>,
    /// Alignments of NDPs, in bytes, in place of what the modem announced
    #[arg(
        long,
        value_name = "BYTES",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    ndp_alignment: Vec<String>,
    /// Pauses between NTBs, in milliseconds
    #[arg(
        long,
        value_name = "MS",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    pause: Vec<String>,
    /// Courses of wSequence: rising, constant (0), random, restart (0 after every second), skip (every
    /// other left out)
    #[arg(
        long,
        value_name = "COURSE",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    sequence: Vec<String>,
    /// Numbers of NTBs without datagrams in front of each NTB, 0 to 7
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    empty: Vec<String>,
    /// Orders of the bring-up's requests: usual (format, input size, data alternate setting, MBIM_OPEN),
    /// size-first, alternate-first, open-first
    #[arg(
        long,
        value_name = "ORDER",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    order: Vec<String>,
    /// Let --block-size and --max-datagrams exceed what the modem announced
    #[arg(long, help_heading = "To vary")]
    beyond: bool,

    /// Trials of each cell
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    tries: u32,
    /// Seed of the order [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Write each trial into this file as soon as it is over
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    results: Option<PathBuf>,
    /// Go on with what this file has not yet; the values to vary are those in it
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Print the results as one line of JSON
    #[arg(long)]
    json: bool,
    /// Write the results as CSV
    #[arg(long, value_name = "FILE.csv")]
    csv: Option<PathBuf>,
    /// Write a page with a heat map
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
}

impl SweepArguments {
    fn matrix(&self) -> Matrix {
        Matrix::new(vec![
            (Dimension::Order, self.order.clone()),
            (Dimension::Settle, self.settle.clone()),
            (Dimension::Ntb, self.ntb.clone()),
            (Dimension::BlockSize, self.block_size.clone()),
            (Dimension::InputSize, self.input_size.clone()),
            (Dimension::InFlight, self.in_flight.clone()),
            (Dimension::NdpAlignment, self.ndp_alignment.clone()),
            (Dimension::Divisor, self.divisor.clone()),
            (Dimension::Remainder, self.remainder.clone()),
            (Dimension::MaxDatagrams, self.max_datagrams.clone()),
            (Dimension::Table, self.table.clone()),
            (Dimension::Pause, self.pause.clone()),
            (Dimension::Sequence, self.sequence.clone()),
            (Dimension::Empty, self.empty.clone()),
            (Dimension::Pad, self.pad.clone()),
            (Dimension::Ndp, self.ndp.clone()),
        ])
    }
}

/// Runs the command.
///
/// # Errors
/// Fails when an option makes no sense, when there is no modem, or when a file cannot be written.
pub fn run(arguments: &SweepArguments) -> Result<(), Failure> {
    let given = arguments.matrix();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let (matrix, plan, journal, entries) = match &arguments.resume {
        Some(path) => {
            if !given.dimensions().is_empty() {
                return Err(bad("resume", "the values to vary are those in the file")
                    .next("leave them out, or begin another sweep"));
            }
            let (journal, plan, entries) = Journal::resume(path)?;
            let matrix = Matrix::read(&plan.dimensions).map_err(|why| {
                Failure::new(FailureKind::Usage, "cannot go on with the results")
                    .at(path.display().to_string())
                    .because(why)
            })?;
            (matrix, plan, Some(journal), entries)
        }
        None => {
            let plan = Plan::new(given.written(), arguments.tries, seed, arguments.beyond);
            let journal = match &arguments.results {
                Some(path) => Some(Journal::create(path, &plan, arguments.force)?),
                None => None,
            };
            (given, plan, journal, Vec::new())
        }
    };
    let cells = matrix.cells()?;
    for path in [&arguments.csv, &arguments.report].into_iter().flatten() {
        if path.exists() && !arguments.force {
            return Err(exists(path));
        }
    }
    let (mut bench, about) = arguments.common.bench(plan.beyond)?;
    let mut sweep = Sweep {
        cells: &cells,
        tries: plan.tries,
        seed: plan.seed,
        entries,
        journal,
    };
    let result = sweep.run(&mut bench);
    bench.stop();
    // Results so far are shown even when the rest will not be made.
    let facts = vec![
        ("modem".to_owned(), about.to_string()),
        (
            "trials".to_owned(),
            format!(
                "{} of {}",
                sweep.entries.len(),
                cells.len() * plan.tries as usize
            ),
        ),
        ("seed".to_owned(), plan.seed.to_string()),
        (
            "program".to_owned(),
            format!("uwwan {}", env!("CARGO_PKG_VERSION")),
        ),
        ("command".to_owned(), command_line()),
    ];
    let report = Report::new(&matrix, &cells, &sweep.entries, facts);
    if arguments.json {
        say_json(&report.json())?;
    } else {
        say(report.table().trim_end())?;
    }
    if let Some(path) = &arguments.csv {
        write(path, &report.csv(), arguments.force)?;
    }
    if let Some(path) = &arguments.report {
        write(path, &report.page(), arguments.force)?;
    }
    if let Some(path) = arguments.results.as_ref().or(arguments.resume.as_ref())
        && sweep.left() > 0
    {
        let path = path.display();
        note(format!(
            "{} trials are left: uwwan lab sweep --resume {path}",
            sweep.left()
        ));
    }
    result
}

/// Time between two lines of progress where there is no terminal.
const LINE: Duration = Duration::from_secs(15);

/// A sweep with its results so far.
pub struct Sweep<'a> {
    /// Cells of the sweep.
    pub cells: &'a [Cell],
    /// Number of trials of each cell.
    pub tries: u32,
    /// Seed of the order.
    pub seed: u64,
    /// Trials that are done.
    pub entries: Vec<Entry>,
    /// File to which each trial is added.
    pub journal: Option<Journal>,
}

impl Sweep<'_> {
    /// Makes every trial that is not done.
    ///
    /// # Errors
    /// [`FailureKind::Cancelled`](crate::failure::FailureKind::Cancelled) after a signal; the trials
    /// that are done stay in [`Sweep::entries`].
    pub fn run(&mut self, bench: &mut Bench) -> Result<(), Failure> {
        // A value that makes no sense is reported before the first trial.
        for cell in self.cells {
            bench.setting(cell)?;
        }
        // Trials that are done are not repeated.
        let over: HashSet<(usize, u32)> = self
            .entries
            .iter()
            .map(|entry| (entry.cell, entry.attempt))
            .collect();
        let mut progress = Progress::new(self.left(), self.entries.len());
        let mut chance = fastrand::Rng::with_seed(self.seed);
        for attempt in 0..self.tries {
            for cell in self.groups(&mut chance).concat() {
                if over.contains(&(cell, attempt)) {
                    continue;
                }
                let result = bench.trial(&self.cells[cell])?;
                progress.over(&self.cells[cell], &result);
                let entry = Entry {
                    cell,
                    attempt,
                    result,
                };
                if let Some(journal) = &mut self.journal {
                    journal.add(&entry)?;
                }
                self.entries.push(entry);
            }
        }
        Ok(())
    }

    /// Returns the cells grouped by the session that they share, all in random order.
    fn groups(&self, chance: &mut fastrand::Rng) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (number, cell) in self.cells.iter().enumerate() {
            let found = groups
                .iter_mut()
                .find(|group| self.cells[group[0]].session() == cell.session());
            match found {
                Some(group) => group.push(number),
                None => groups.push(vec![number]),
            }
        }
        for group in &mut groups {
            chance.shuffle(group);
        }
        chance.shuffle(&mut groups);
        groups
    }

    /// Returns the number of trials that are not done.
    pub fn left(&self) -> usize {
        (self.cells.len() * self.tries as usize).saturating_sub(self.entries.len())
    }
}

/// The progress that is shown on standard error while a sweep runs.
struct Progress {
    bar: ProgressBar,
    terminal: bool,
    left: usize,
    done: usize,
    begun: Instant,
    told: Instant,
}

impl Progress {
    fn new(left: usize, over: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal {
            ProgressBar::new(left as u64)
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) =
            ProgressStyle::with_template("{bar:24} {pos}/{len}, {eta} left  {wide_msg}")
        {
            bar.set_style(style);
        }
        if over > 0 {
            note(format!("{over} trials are over already, {left} are left"));
        }
        let now = Instant::now();
        Self {
            bar,
            terminal,
            left,
            done: 0,
            begun: now,
            told: now,
        }
    }

    fn over(&mut self, cell: &Cell, result: &Trial) {
        self.done += 1;
        self.bar
            .set_message(format!("{cell}: {}", result.outcome.word()));
        self.bar.inc(1);
        if !self.terminal && self.told.elapsed() >= LINE && self.done < self.left {
            self.told = Instant::now();
            let each = self.begun.elapsed().as_secs_f64() / self.done as f64;
            let left = each * (self.left - self.done) as f64;
            note(format!(
                "{} of {} trials, about {} left",
                self.done,
                self.left,
                seconds(left)
            ));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Returns the command line of this process, for the reader of a report.
fn command_line() -> String {
    let words = std::env::args_os().skip(1);
    let words: Vec<String> = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    format!("uwwan {}", words.join(" "))
}

fn exists(path: &Path) -> Failure {
    Failure::new(FailureKind::Usage, "cannot write the report")
        .at(path.display().to_string())
        .because("the file exists")
        .next("--force replaces it")
}

fn write(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let mut open = OpenOptions::new();
    open.write(true).mode(0o644);
    match force {
        true => open.create(true).truncate(true),
        // A symbolic link whose target does not exist is not followed either.
        false => open.create_new(true),
    };
    open.open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| {
            Failure::new(FailureKind::Host, "cannot write the report")
                .at(path.display().to_string())
                .because(error)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::lab::cell::{Dimension, Matrix};

    #[test]
    fn sessions_are_shared_and_the_order_is_of_chance() {
        let words = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let matrix = Matrix::new(vec![
            (Dimension::Ntb, words(&["16", "32"])),
            (Dimension::MaxDatagrams, words(&["1", "2", "3", "4", "5"])),
        ]);
        let cells = matrix.cells().unwrap();
        let sweep = Sweep {
            cells: &cells,
            tries: 2,
            seed: 1,
            entries: Vec::new(),
            journal: None,
        };
        let mut chance = fastrand::Rng::with_seed(1);
        let rounds: Vec<Vec<Vec<usize>>> = (0..4).map(|_| sweep.groups(&mut chance)).collect();
        for groups in &rounds {
            assert_eq!(groups.len(), 2);
            let mut all: Vec<usize> = groups.concat();
            all.sort_unstable();
            assert_eq!(all, (0..10).collect::<Vec<_>>());
            for group in groups {
                let session = cells[group[0]].session();
                assert!(group.iter().all(|cell| cells[*cell].session() == session));
            }
        }
        assert!(rounds.iter().any(|groups| *groups != rounds[0]));
        assert_eq!(sweep.left(), 20);
    }
}
