//! State that all threads of a run share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::gate::Gate;
use crate::traffic::Arrived;

/// Largest number of failures that are kept. The first ones tell most.
const MOST_FAILURES: usize = 20;

/// State that all threads of a run share.
pub struct Run {
    pub gate: Gate,
    pub arrived: Arrived,
    /// Directory with the sockets of the running `up`.
    pub sockets: PathBuf,
    begin: Instant,
    failures: Mutex<Vec<String>>,
    /// Number of tries and of successes of each kind of client and disturbance.
    tries: Mutex<BTreeMap<&'static str, (u64, u64)>>,
}

impl Run {
    pub fn new(sockets: PathBuf) -> Self {
        Self {
            gate: Gate::default(),
            arrived: Arrived::default(),
            sockets,
            begin: Instant::now(),
            failures: Mutex::default(),
            tries: Mutex::default(),
        }
    }

    /// Keeps a failure, which makes the run fail.
    pub fn failed(&self, why: String) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < MOST_FAILURES {
            eprintln!("{:.1} s: {why}", self.begin.elapsed().as_secs_f64());
            failures.push(why);
        }
    }

    pub fn failures(&self) -> Vec<String> {
        let failures = self.failures.lock();
        failures.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a try.
    pub fn tried(&self, what: &'static str, succeeded: bool) {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let (tried, served) = tries.entry(what).or_default();
        *tried += 1;
        *served += u64::from(succeeded);
    }

    pub fn tries(&self) -> BTreeMap<&'static str, (u64, u64)> {
        let tries = self.tries.lock();
        tries.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Repeatable random numbers (splitmix64).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}
