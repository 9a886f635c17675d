//! The amount of data that the modem has used: it is kept over runs, and compared with the user's
//! quota.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uwwan_modem::status::Traffic;
use uwwan_modem::{Diagnosis, DiagnosisKind, Event};

use crate::output::{bytes, plain};
use crate::usage::{Entry, Size};

/// Pause between two additions to the kept amount.
const PAUSE: Duration = Duration::from_secs(60);
/// Percentage of the quota at which an early warning is given.
const EARLY: u64 = 80;

/// Function that adds bytes to and from the network to the kept amount, and returns the month's
/// use.
pub(super) type Keep = Box<dyn FnMut((u64, u64)) -> Result<Entry, String>>;

/// The use of a month, as `status` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Month {
    /// Use of this device, in this run and in earlier ones.
    #[serde(flatten)]
    entry: Entry,
    /// The user's quota in bytes, if there is one.
    quota_bytes: Option<u64>,
    /// Whether the month's use has reached the quota.
    over_quota: bool,
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (total, month) = (bytes(self.entry.total()), plain(&self.entry.month));
        write!(f, "{total} in {month}")?;
        match self.quota_bytes {
            Some(quota) if self.over_quota => write!(f, ", over the quota of {}", bytes(quota)),
            Some(quota) => write!(f, " of {}", bytes(quota)),
            None => Ok(()),
        }
    }
}

/// The month's use, once it is known.
pub(super) type Metered = Arc<Mutex<Option<Month>>>;

/// Meter of one run.
pub(super) struct Metering {
    keep: Option<Keep>,
    quota: Option<u64>,
    /// Bytes to and from the network that have been added to the kept amount.
    kept: (u64, u64),
    due: Instant,
    month: Metered,
    /// The month for which a warning was given, and the percentage of the quota.
    told: Option<(String, u64)>,
    /// Whether it was reported that the use is not kept.
    told_failure: bool,
}

impl Metering {
    /// Returns the meter. Without `keep` there is no place where the use is kept.
    pub(super) fn new(keep: Option<Keep>, quota: Option<Size>, now: Instant) -> Self {
        Self {
            keep,
            quota: quota.map(|Size(quota)| quota),
            kept: (0, 0),
            due: now + PAUSE,
            month: Metered::default(),
            told: None,
            told_failure: false,
        }
    }

    /// Returns the shared value of the month's use.
    pub(super) fn month(&self) -> Metered {
        Arc::clone(&self.month)
    }

    /// Returns the time at which there is something to add.
    pub(super) fn next(&self) -> Option<Instant> {
        self.keep.as_ref().map(|_| self.due)
    }

    /// Returns whether it is time to call [`Metering::measure`].
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.keep.is_some() && now >= self.due
    }

    /// Adds the traffic since the last call, and returns the event to report.
    pub(super) fn measure(&mut self, now: Instant, traffic: &Traffic) -> Option<Event> {
        self.due = now + PAUSE;
        let used = (traffic.uplink.bytes, traffic.downlink.bytes);
        let more = (
            used.0.saturating_sub(self.kept.0),
            used.1.saturating_sub(self.kept.1),
        );
        // At the first call the use of earlier runs is wanted.
        let known = self.told.is_some() || self.quota.is_none();
        if more == (0, 0) && known {
            return None;
        }
        match self.keep.as_mut()?(more) {
            Ok(entry) => {
                self.kept = used;
                self.told_failure = false;
                self.hold_against_quota(entry)
            }
            Err(why) => {
                tracing::debug!("the data use is not kept: {why}");
                let told = std::mem::replace(&mut self.told_failure, true);
                (!told).then(|| Event::Notice {
                    text: format!("data use is not kept: {why}; it is tried again each minute"),
                })
            }
        }
    }

    fn hold_against_quota(&mut self, entry: Entry) -> Option<Event> {
        let total = entry.total();
        let quota = self.quota;
        *self.month.lock().unwrap_or_else(PoisonError::into_inner) = Some(Month {
            quota_bytes: quota,
            over_quota: quota.is_some_and(|quota| total >= quota),
            entry: entry.clone(),
        });
        let quota = quota?;
        let reached = match u128::from(total) * 100 / u128::from(quota) {
            100.. => 100,
            share if share >= u128::from(EARLY) => EARLY,
            _ => 0,
        };
        let before = self.told.replace((entry.month.clone(), reached));
        let before = before.filter(|(month, _)| *month == entry.month);
        let before = before.map_or(0, |(_, reached)| reached);
        if reached <= before {
            self.told = Some((entry.month, before));
            return None;
        }
        let (total, quota) = (bytes(total), bytes(quota));
        Some(match reached {
            100 => Event::Diagnosis(Diagnosis::new(
                DiagnosisKind::Quota,
                format!(
                    "data use: {total} in {}, and --quota is {quota}",
                    entry.month
                ),
            )),
            _ => Event::Notice {
                text: format!("data use: {total} of {quota} (--quota) in {}", entry.month),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Usage;

    fn traffic(up: u64, down: u64) -> Traffic {
        let mut traffic = Traffic::default();
        traffic.uplink.bytes = up;
        traffic.downlink.bytes = down;
        traffic
    }

    #[test]
    fn the_quota_is_told_early_and_when_it_is_reached_once_a_month() {
        let month = Arc::new(Mutex::new("2026-11".to_owned()));
        let of_keep = Arc::clone(&month);
        let mut usage = Usage::default();
        usage.add("2026-11", "a", 0, 700);
        let keep: Keep =
            Box::new(move |(up, down)| Ok(usage.add(&of_keep.lock().unwrap(), "a", up, down)));
        let now = Instant::now();
        let mut metering = Metering::new(Some(keep), Some(Size(1000)), now);
        assert!(!metering.is_due(now) && metering.is_due(now + PAUSE));
        assert_eq!(metering.measure(now, &traffic(0, 0)), None);
        assert_eq!(metering.measure(now, &traffic(50, 49)), None);
        let told = metering.measure(now, &traffic(60, 50));
        assert!(matches!(told, Some(Event::Notice { .. })), "{told:?}");
        assert_eq!(metering.measure(now, &traffic(70, 50)), None);
        let told = metering.measure(now, &traffic(70, 300));
        assert!(matches!(told, Some(Event::Diagnosis(_))), "{told:?}");
        assert_eq!(metering.measure(now, &traffic(70, 5000)), None);
        let stands = metering.month().lock().unwrap().clone().unwrap();
        assert!(stands.over_quota);
        assert_eq!(
            stands.to_string(),
            "5.8 kB in 2026-11, over the quota of 1.0 kB"
        );
        assert_eq!(stands.entry.total(), 5770);
        *month.lock().unwrap() = "2026-12".into();
        let told = metering.measure(now, &traffic(70, 6000));
        assert!(matches!(told, Some(Event::Diagnosis(_))), "{told:?}");
    }

    #[test]
    fn what_cannot_be_kept_is_told_once_and_kept_later() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let of_keep = Arc::clone(&kept);
        let keep: Keep = Box::new(move |more| {
            let mut all = of_keep.lock().unwrap();
            all.push(more);
            match all.len() {
                1 | 2 => Err("disk full".into()),
                _ => Ok(Entry::default()),
            }
        });
        let now = Instant::now();
        let mut metering = Metering::new(Some(keep), None, now);
        assert_eq!(metering.measure(now, &traffic(0, 0)), None);
        let told = metering.measure(now, &traffic(1, 2));
        assert!(matches!(told, Some(Event::Notice { .. })), "{told:?}");
        assert_eq!(metering.measure(now, &traffic(2, 2)), None);
        assert_eq!(metering.measure(now, &traffic(3, 2)), None);
        assert_eq!(metering.measure(now, &traffic(3, 3)), None);
        assert_eq!(*kept.lock().unwrap(), [(1, 2), (2, 2), (3, 2), (0, 1)]);
    }
}
