//! The outcome of a trial.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The outcome of a trial, the worst last.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every datagram was answered unchanged.
    Delivered,
    /// Every datagram was answered, and an endpoint was halted meanwhile.
    Halted,
    /// Some datagrams were not answered.
    Lost,
    /// Some answers had other bytes than were sent.
    Corrupted,
    /// The device or its session was lost.
    Gone,
    /// The modem did not come online.
    NotOnline,
}

impl Outcome {
    /// All outcomes with their words.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Delivered, "delivered"),
        (Self::Halted, "halted"),
        (Self::Lost, "lost"),
        (Self::Corrupted, "corrupted"),
        (Self::Gone, "gone"),
        (Self::NotOnline, "not online"),
    ];

    /// Returns the word of the outcome.
    pub fn word(self) -> &'static str {
        let found = Self::ALL.iter().find(|(outcome, _)| *outcome == self);
        found.map_or("", |(_, word)| word)
    }
}

/// Result of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Result {
    /// Outcome.
    pub outcome: Outcome,
    /// Number of datagrams that were sent.
    pub sent: u32,
    /// Number of datagrams that were answered as they were sent.
    pub answered: u32,
    /// Number of answers with other bytes.
    pub corrupted: u32,
    /// Number of endpoint halts.
    pub halts: u64,
    /// Round trip of the datagram that was sent alone, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// Rate of the long datagrams, to the far side and back, in Mbit/s.
    pub rate_mbit_s: Option<f64>,
    /// Duration in seconds.
    pub seconds: f64,
    /// A remark in words; empty for none.
    pub detail: String,
    /// Path of the capture of a trial that failed; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub capture: String,
}

impl Result {
    /// Returns the result of a modem that did not come online.
    pub fn not_online(detail: String, seconds: f64) -> Self {
        Self {
            outcome: Outcome::NotOnline,
            sent: 0,
            answered: 0,
            corrupted: 0,
            halts: 0,
            rtt_ms: None,
            rate_mbit_s: None,
            seconds,
            detail,
            capture: String::new(),
        }
    }
}
