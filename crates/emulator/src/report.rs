//! Report of what the device has seen the host do: violations of rules for framing and protocols,
//! and counters.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;

/// Number of violations whose text is kept; further ones are only counted.
const KEPT: usize = 256;

/// Kind of a rule that the host broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// USB 2.0 chapter 9, and the form of class requests.
    Usb,
    /// NCM 1.0 and MBIM 1.0: the requests that prepare the data path, and their order.
    Setup,
    /// NCM 1.0: the layout of an NTB.
    #[serde(rename = "block")]
    Ntb,
    /// The IP packets inside the NTBs.
    Datagram,
    /// MBIM 1.0: the control messages.
    Control,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Usb => "usb",
            Self::Setup => "setup",
            Self::Ntb => "ntb",
            Self::Datagram => "datagram",
            Self::Control => "control",
        })
    }
}

/// One violation of a rule by the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Violation {
    /// Kind of the rule that was broken.
    pub rule: Rule,
    /// Description of what the host did, and of what it should have done.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// Counters of events. Every field counts from the emulator's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counters {
    /// Number of NTBs received from the host.
    pub blocks_out: u64,
    /// Number of NTBs that never came from the host, by the gaps in the sequence numbers: the host
    /// lost them.
    pub blocks_missing: u64,
    /// Number of NTBs sent to the host.
    pub blocks_in: u64,
    /// Number of datagrams received from the host and passed on.
    pub datagrams_out: u64,
    /// Number of datagrams sent to the host.
    pub datagrams_in: u64,
    /// Number of bytes of the datagrams passed on.
    pub bytes_out: u64,
    /// Number of bytes of the datagrams sent to the host.
    pub bytes_in: u64,
    /// Number of bytes of bulk transfers on the data endpoints in both directions, framing and
    /// padding included.
    pub bus_bytes: u64,
    /// Number of datagrams that vanished because the NDP stood before them.
    pub black_holed: u64,
    /// Number of datagrams from the host that were dropped for any other reason.
    pub dropped_out: u64,
    /// Number of datagrams towards the host that a knob dropped or corrupted.
    pub dropped_in: u64,
    /// Number of datagrams towards the host in NTBs that a knob garbled or cut short.
    pub spoiled_in: u64,
    /// Number of halts of the bulk data endpoints.
    pub stalls: u64,
    /// Number of transfers on the bulk data endpoints that a knob let fail.
    pub failed_transfers: u64,
    /// Number of MBIM messages received, fragments joined.
    pub messages_out: u64,
    /// Number of MBIM messages sent, fragments joined.
    pub messages_in: u64,
    /// Number of AT command lines answered.
    pub at_commands: u64,
    /// Number of configurations selected.
    pub configurations: u64,
    /// Number of firmware resets.
    pub resets: u64,
}

/// Report of the device at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// The first 256 violations, in order.
    pub violations: Vec<Violation>,
    /// Number of all violations, by kind of rule.
    pub violations_by_rule: BTreeMap<Rule, u64>,
    /// Counters of events.
    pub counters: Counters,
}

impl Report {
    /// Returns the number of all violations, including those whose text is not kept.
    #[must_use]
    pub fn total_violations(&self) -> u64 {
        self.violations_by_rule.values().sum()
    }
}

/// Function that is called with each violation as it is recorded.
pub type Listener = Box<dyn FnMut(&Violation) + Send>;

/// State that the clones of a recorder share.
#[derive(Default)]
struct Recorded {
    report: Report,
    listener: Option<Listener>,
}

/// Recorder of violations. Its clones record to the same place.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Recorded>>);

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

impl Recorder {
    /// Records a violation. `what` is called for the first 256 only; beyond them, only the count
    /// grows.
    pub fn violation(&self, rule: Rule, what: impl FnOnce() -> String) {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *recorded.report.violations_by_rule.entry(rule).or_default() += 1;
        if recorded.report.violations.len() < KEPT {
            let violation = Violation { rule, what: what() };
            tracing::warn!(%violation, "the host broke a rule");
            if let Some(listener) = &mut recorded.listener {
                listener(&violation);
            }
            recorded.report.violations.push(violation);
        }
    }

    /// Calls `listener` with each violation that is recorded from here on.
    pub fn listen(&self, listener: Listener) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .listener = Some(listener);
    }

    /// Makes the device's counters part of the report.
    pub(crate) fn publish(&self, counters: &Counters) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .report
            .counters = *counters;
    }

    /// Returns everything that was recorded.
    #[must_use]
    pub fn report(&self) -> Report {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .report
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_the_count_is_not() {
        let recorder = Recorder::default();
        for n in 0..1000 {
            recorder.violation(Rule::Ntb, || format!("number {n}"));
        }
        let report = recorder.report();
        assert_eq!(report.violations.len(), KEPT);
        assert_eq!(report.violations[0].to_string(), "ntb: number 0");
        assert_eq!(report.total_violations(), 1000);
    }
}
