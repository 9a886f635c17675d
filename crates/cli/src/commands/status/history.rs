//! Strength and rates of the last minutes, from the states that a running `up` reports.

use std::collections::VecDeque;
use std::time::Duration;

use uwwan_modem::Status;
use uwwan_modem::status::{Direction, Traffic};

/// Length of the time that is kept.
pub const KEPT: Duration = Duration::from_secs(180);
/// Least time between two samples: states that come closer together count as one.
const PAUSE: Duration = Duration::from_millis(900);

/// Measurement between two states.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Time of the later state since the first.
    at: Duration,
    /// Rate from host to network in bit/s.
    pub uplink: f64,
    /// Rate from network to host in bit/s.
    pub downlink: f64,
    /// Received signal strength in dBm.
    pub rssi_dbm: Option<i32>,
    /// Share of the largest NTB to the device that was filled, 0 to 1; `None` when none was sent.
    pub filled: Option<f64>,
}

/// Samples of the last minutes.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
    before: Option<(Duration, Traffic)>,
}

impl History {
    /// Adds a state that came at `at` since the first.
    pub fn add(&mut self, at: Duration, status: &Status) {
        let Some((then, before)) = &self.before else {
            self.before = Some((at, status.traffic.clone()));
            return;
        };
        let time = at.saturating_sub(*then);
        if time < PAUSE {
            return;
        }
        let (up, down) = (&status.traffic.uplink, &status.traffic.downlink);
        let bits = |now: &Direction, then: &Direction| {
            now.bytes.saturating_sub(then.bytes) as f64 * 8.0 / time.as_secs_f64()
        };
        let blocks = up.blocks.saturating_sub(before.uplink.blocks);
        let size = status
            .framing
            .as_ref()
            .map_or(0, |framing| framing.output_size);
        let room = blocks as f64 * f64::from(size);
        let filled = up.block_bytes.saturating_sub(before.uplink.block_bytes) as f64 / room;
        self.samples.push_back(Sample {
            at,
            uplink: bits(up, &before.uplink),
            downlink: bits(down, &before.downlink),
            rssi_dbm: status.signal.and_then(|signal| signal.rssi_dbm),
            filled: filled.is_finite().then_some(filled),
        });
        self.before = Some((at, status.traffic.clone()));
        while self
            .samples
            .front()
            .is_some_and(|first| at.saturating_sub(first.at) > KEPT)
        {
            self.samples.pop_front();
        }
    }

    /// Returns the last sample.
    pub fn last(&self) -> Option<&Sample> {
        self.samples.back()
    }

    /// Returns the largest value in each of `cells` equal parts of the kept time, the latest last; `None`
    /// for a part without a value.
    pub fn curve(&self, cells: usize, value: impl Fn(&Sample) -> Option<f64>) -> Vec<Option<f64>> {
        let mut curve = vec![None; cells];
        let Some(last) = self.samples.back() else {
            return curve;
        };
        // A part is no shorter than the pause between two states, so that no part in between is empty.
        let part = (KEPT.as_secs_f64() / cells.max(1) as f64).max(1.5);
        for sample in &self.samples {
            let age = last.at.saturating_sub(sample.at).as_secs_f64();
            let back = (age / part) as usize;
            if let (Some(value), Some(cell)) = (value(sample), curve.iter_mut().rev().nth(back)) {
                *cell = Some(cell.map_or(value, |most: f64| most.max(value)));
            }
        }
        curve
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(bytes: u64) -> Status {
        let mut status = Status::default();
        status.traffic.downlink.bytes = bytes;
        status
    }

    #[test]
    fn rates_come_from_two_states_and_old_ones_go() {
        let mut history = History::default();
        history.add(Duration::ZERO, &status(0));
        assert_eq!(history.last(), None);
        history.add(Duration::from_millis(100), &status(9));
        assert_eq!(history.last(), None, "too close together");
        history.add(Duration::from_secs(2), &status(1_000_000));
        let last = *history.last().unwrap();
        assert!((last.downlink - 4_000_000.0).abs() < 1e-6, "{last:?}");
        assert_eq!((last.filled, last.rssi_dbm), (None, None));
        // Counters that begin anew with another process are not counted as traffic.
        history.add(Duration::from_secs(4), &status(0));
        assert_eq!(history.last().unwrap().downlink, 0.0);
        let curve = history.curve(60, |sample| Some(sample.downlink));
        assert_eq!(
            curve[59],
            Some(4_000_000.0),
            "the largest of the last three seconds"
        );
        assert_eq!(curve[..59], [None; 59]);
        for second in 5..1000 {
            history.add(Duration::from_secs(second), &status(0));
        }
        assert!(history.samples.len() <= 182, "{}", history.samples.len());
        let curve = history.curve(20, |sample| Some(sample.downlink));
        assert!(curve.iter().all(Option::is_some), "{curve:?}");
        assert_eq!(history.curve(0, |_| Some(1.0)), []);
    }
}
