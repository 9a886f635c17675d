//! Answers of one kind, made into rules: in their order where they change, and the last one for ever.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use uwwan_emulator::rules::{Answer, Rule, Trigger};

/// Largest number of different requests.
const MOST_QUESTIONS: usize = 1024;
/// Largest number of changes of the answer to one request.
const MOST_CHANGES: usize = 64;
/// Largest number of bytes of all requests and answers.
const MOST_BYTES: usize = 8 << 20;
/// Longest time after which an answer is repeated as late as it was in the capture.
const LONGEST: Duration = Duration::from_secs(60);

/// An answer that came some times in a row.
#[derive(Debug)]
struct Run {
    answer: Answer,
    after: Duration,
    times: u64,
    /// Length of request and answer in bytes.
    length: usize,
}

/// Requests with their answers.
#[derive(Debug)]
pub(super) struct Answers<Q> {
    runs: HashMap<Q, Vec<Run>>,
    /// The requests in the order in which they came first.
    order: Vec<Q>,
    bytes: usize,
    /// Number of answers that had no room.
    left_out: u64,
}

impl<Q> Default for Answers<Q> {
    fn default() -> Self {
        Self {
            runs: HashMap::new(),
            order: Vec::new(),
            bytes: 0,
            left_out: 0,
        }
    }
}

impl<Q: Clone + Eq + Hash> Answers<Q> {
    /// Adds a request of `length` bytes with its answer, and the time between them in nanoseconds.
    pub fn push(&mut self, question: Q, answer: Answer, after: u64, length: usize) {
        // Answers faster than a millisecond are as fast as the emulated modem.
        let after = Duration::from_millis(after / 1_000_000).min(LONGEST);
        let new = !self.runs.contains_key(&question);
        let known = self.runs.get_mut(&question);
        if let Some(last) = known.and_then(|runs| runs.last_mut())
            && last.answer == answer
        {
            last.times += 1;
            return;
        }
        if self.bytes + length > MOST_BYTES || (new && self.order.len() == MOST_QUESTIONS) {
            self.left_out += 1;
            return;
        }
        let runs = self.runs.entry(question.clone()).or_default();
        // The last answer replaces the one before, because it is repeated for ever.
        if runs.len() == MOST_CHANGES
            && let Some(before) = runs.pop()
        {
            self.bytes -= before.length;
            self.left_out += 1;
        }
        runs.push(Run {
            answer,
            after,
            times: 1,
            length,
        });
        self.bytes += length;
        if new {
            self.order.push(question);
        }
    }

    /// Returns the number of different requests.
    pub fn count(&self) -> usize {
        self.order.len()
    }

    /// Returns the number of answers that had no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Returns the rules, where `on` makes the trigger from a request.
    pub fn rules(mut self, on: impl Fn(&Q) -> Trigger) -> Vec<Rule> {
        let mut rules = Vec::new();
        for question in self.order {
            let runs = self.runs.remove(&question).unwrap_or_default();
            let last = runs.len().saturating_sub(1);
            rules.extend(runs.into_iter().enumerate().map(|(number, run)| Rule {
                on: on(&question),
                answer: Some(run.answer),
                actions: Vec::new(),
                after: run.after,
                times: (number < last).then_some(run.times),
            }));
        }
        rules
    }
}
