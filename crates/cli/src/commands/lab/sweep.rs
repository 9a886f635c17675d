//! The sweep: every cell several times, in random order.
//!
//! Each round visits every cell once. Cells that need no session of their own share one; the sessions and
//! the cells within each are visited in an order of chance, another in each round, so that what else
//! changes meanwhile meets all of them.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::bench::Bench;
use super::cell::Cell;
use super::journal::{Entry, Journal};
use super::outcome::Result as Trial;
use crate::failure::Failure;
use crate::output::{note, seconds};

/// Time between two lines of progress where there is no terminal.
const LINE: Duration = Duration::from_secs(15);

/// A sweep with what is over of it.
pub struct Sweep<'a> {
    /// Cells.
    pub cells: &'a [Cell],
    /// Number of trials of each cell.
    pub tries: u32,
    /// Seed of the order.
    pub seed: u64,
    /// Trials that are over.
    pub entries: Vec<Entry>,
    /// File to which each trial is added.
    pub journal: Option<Journal>,
}

impl Sweep<'_> {
    /// Makes every trial that is not over.
    ///
    /// # Errors
    /// [`FailureKind::Cancelled`](crate::failure::FailureKind::Cancelled) after a signal; what is over
    /// stays in [`Sweep::entries`].
    pub fn run(&mut self, bench: &mut Bench) -> Result<(), Failure> {
        // A value that makes no sense is told before the first trial.
        for cell in self.cells {
            bench.setting(cell)?;
        }
        // Nothing that is over runs twice.
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

    /// Returns the cells by the session that they share, everything in an order of chance.
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

    /// Returns the number of trials that are not over.
    pub fn left(&self) -> usize {
        (self.cells.len() * self.tries as usize).saturating_sub(self.entries.len())
    }
}

/// What is told while a sweep runs, on standard error.
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
