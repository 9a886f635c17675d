//! The findings of a look at the machine.

use schemars::JsonSchema;
use serde::Serialize;

/// The weight of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// To be known; `up` works all the same, at least with some options.
    Note,
    /// It stands in the way.
    Bad,
}

/// The finding of a look at one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// The thing that was looked at, in a word or two.
    pub(super) check: &'static str,
    /// The weight of the finding.
    pub(super) verdict: Verdict,
    /// State in which the thing was found.
    pub(super) found: String,
    /// The steps to take about it.
    pub(super) next: Vec<String>,
}

impl Finding {
    /// Returns a finding without advice.
    pub(super) fn new(check: &'static str, verdict: Verdict, found: impl Into<String>) -> Self {
        Self {
            check,
            verdict,
            found: found.into(),
            next: Vec::new(),
        }
    }

    /// Returns the finding with advice.
    pub(super) fn next(mut self, advice: impl Into<String>) -> Self {
        self.next.push(advice.into());
        self
    }
}
