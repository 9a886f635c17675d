//! `uwwan signal` shows how well the network is received.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::services::basic_connect::{SIGNAL_STATE, SignalState, SignalStateSet};
use uwwan_modem::client::Client;

use crate::failure::{Failure, FailureKind};
use crate::output::say_json;
use crate::page::Page;
use crate::reach::Reach;

/// Arguments of `signal`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan signal                            strength in dBm and bars, and when the modem reports changes
  uwwan signal --watch                    again at each report, until Ctrl-C
  uwwan signal --watch --json | jq .rssi_dbm   for programs
  uwwan signal --interval 10 --rssi-threshold 2
      have the modem report every 10 s, and at a change of 2 steps (4 dB)

Bars: 5 from -70 dBm, 4 from -80, 3 from -90, 2 from -100, 1 from -110. Some modems do not tell the
strength over MBIM at all; uwwan at 'AT^HCSQ?' then may.")]
pub struct Arguments {
    #[command(flatten)]
    reach: Reach,
    /// Go on showing it
    #[arg(long, short)]
    watch: bool,
    /// Have the modem report at least this often; 0 is its own choice
    #[arg(long, value_name = "SECONDS")]
    interval: Option<u32>,
    /// Have the modem report when the coded strength (0 to 31, 2 dB each) changes by as much; 0 is
    /// its own choice
    #[arg(long, value_name = "STEPS")]
    rssi_threshold: Option<u32>,
    /// Have the modem report when the coded error rate (0 to 7) changes by as much; 0 is its own
    /// choice
    #[arg(long, value_name = "STEPS")]
    error_rate_threshold: Option<u32>,
    /// Print JSON, one line a report
    #[arg(long)]
    json: bool,
}

/// Shows the signal, and sets when the modem reports it.
///
/// # Errors
/// Fails when the modem cannot be reached or refuses.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    let mut state: SignalState = modem.query(SIGNAL_STATE)?;
    let wanted = [
        arguments.interval,
        arguments.rssi_threshold,
        arguments.error_rate_threshold,
    ];
    if wanted.iter().any(Option::is_some) {
        let set = SignalStateSet {
            signal_strength_interval: arguments.interval.unwrap_or(state.signal_strength_interval),
            rssi_threshold: arguments.rssi_threshold.unwrap_or(state.rssi_threshold),
            error_rate_threshold: arguments
                .error_rate_threshold
                .unwrap_or(state.error_rate_threshold),
        };
        state = modem.set(SIGNAL_STATE, &set)?;
    }
    show(&state, arguments.json, arguments.watch)?;
    if arguments.watch {
        watch(&mut modem, &state, arguments.json)?;
    }
    modem.close()
}

/// Shows every report until Ctrl-C, and queries the signal when the modem sends none.
fn watch(modem: &mut Client, first: &SignalState, json: bool) -> Result<(), Failure> {
    modem.subscribe(&[SIGNAL_STATE])?;
    let pace = Duration::from_secs(match first.signal_strength_interval {
        0 => 5,
        seconds => u64::from(seconds).clamp(1, 60),
    }) + Duration::from_secs(1);
    loop {
        let state = match modem.next_indication(pace) {
            Ok(Some(indication)) if indication.id == SIGNAL_STATE => indication.decode().ok(),
            Ok(Some(_)) => None,
            Ok(None) => match modem.query(SIGNAL_STATE) {
                Ok(state) => Some(state),
                Err(failure) if failure.kind == FailureKind::Cancelled => return Ok(()),
                Err(failure) => return Err(failure),
            },
            Err(failure) if failure.kind == FailureKind::Cancelled => return Ok(()),
            Err(failure) => return Err(failure),
        };
        if let Some(state) = state {
            show(&state, json, true)?;
        }
    }
}

fn show(state: &SignalState, json: bool, short: bool) -> Result<(), Failure> {
    if json {
        return say_json(&Shown::of(state));
    }
    let mut page = Page::default();
    if short {
        page.line(words(state));
        return page.print();
    }
    page.row("signal", words(state));
    page.row(
        "error rate",
        error_rate(state.error_rate).unwrap_or("not known"),
    );
    page.row(
        "reports",
        match state.signal_strength_interval {
            0 => "at the modem's own pace".to_owned(),
            u32::MAX => "never by time".to_owned(),
            seconds => format!("every {seconds} s"),
        },
    );
    let threshold = |steps: u32, unit: &str| match steps {
        0 => "when the modem sees fit".to_owned(),
        u32::MAX => "never".to_owned(),
        steps => format!("by {steps} {unit}"),
    };
    page.row(
        "at a change",
        threshold(state.rssi_threshold, "steps of 2 dB"),
    );
    page.row(
        "of errors",
        threshold(state.error_rate_threshold, "steps of the error rate"),
    );
    page.print()
}

/// Quality of the signal, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// Received signal strength in dBm; null when the modem does not report it.
    rssi_dbm: Option<i32>,
    /// Copy of `rssi_dbm`.
    #[schemars(extend("deprecated" = true))]
    dbm: Option<i32>,
    /// Strength in bars, 0 to 5.
    bars: Option<u8>,
    /// Strength as the modem codes it (MBIM 1.0, 10.5.14).
    rssi: u32,
    /// Bit error rate class, 0 (best) to 7; null when the modem does not report it.
    error_rate: Option<u32>,
    /// Longest pause between two reports in seconds; 0 for the modem's own choice.
    interval_seconds: u32,
    /// Change of `rssi` that is reported; 0 for the modem's own choice.
    rssi_threshold: u32,
    /// Change of `error_rate` that is reported; 0 for the modem's own choice.
    error_rate_threshold: u32,
}

impl Shown {
    /// Returns the form of a state.
    pub fn of(state: &SignalState) -> Self {
        let dbm = dbm(state.rssi);
        Self {
            rssi_dbm: dbm,
            dbm,
            bars: dbm.map(bars),
            rssi: state.rssi,
            error_rate: (state.error_rate <= 7).then_some(state.error_rate),
            interval_seconds: state.signal_strength_interval,
            rssi_threshold: state.rssi_threshold,
            error_rate_threshold: state.error_rate_threshold,
        }
    }
}

/// Describes the strength in dBm and bars.
pub fn words(state: &SignalState) -> String {
    match dbm(state.rssi) {
        Some(dbm) => {
            let bars = bars(dbm);
            let picture: String = (1..=5)
                .map(|bar| if bar <= bars { '▮' } else { '▯' })
                .collect();
            format!("{dbm} dBm {picture}")
        }
        None => "not told by the modem".to_owned(),
    }
}

/// Returns the coded strength in dBm: 0 to 31 stand for steps of 2 dB from -113 dBm (MBIM 1.0
/// section 10.5.14). Other codes stand for an unknown strength.
pub fn dbm(coded: u32) -> Option<i32> {
    (coded <= 31).then(|| -113 + 2 * coded as i32)
}

/// Returns a strength in dBm as bars, 0 to 5.
pub fn bars(dbm: i32) -> u8 {
    [-110, -100, -90, -80, -70]
        .iter()
        .filter(|least| dbm >= **least)
        .count() as u8
}

/// Returns the range of a coded bit error rate (3GPP TS 45.008 section 8.2.4), or `None` when the
/// code is none of the eight.
pub fn error_rate(coded: u32) -> Option<&'static str> {
    const CLASSES: [&str; 8] = [
        "below 0.2 %",
        "0.2 to 0.4 %",
        "0.4 to 0.8 %",
        "0.8 to 1.6 %",
        "1.6 to 3.2 %",
        "3.2 to 6.4 %",
        "6.4 to 12.8 %",
        "above 12.8 %",
    ];
    CLASSES.get(coded as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_figures() {
        assert_eq!(dbm(0), Some(-113));
        assert_eq!(dbm(31), Some(-51));
        for unknown in [32, 99, u32::MAX] {
            assert_eq!(dbm(unknown), None);
        }
        assert_eq!([-113, -110, -85, -70, -51].map(bars), [0, 1, 3, 5, 5]);
        assert_eq!(error_rate(7), Some("above 12.8 %"));
        assert_eq!(error_rate(99), None);
        assert_eq!(error_rate(u32::MAX), None);
    }

    #[test]
    fn hostile_figures_are_shown_as_unknown() {
        let state = SignalState {
            rssi: u32::MAX,
            error_rate: u32::MAX,
            ..SignalState::default()
        };
        assert_eq!(words(&state), "not told by the modem");
        let shown = Shown::of(&state);
        assert_eq!(
            (shown.rssi_dbm, shown.bars, shown.error_rate),
            (None, None, None)
        );
    }
}
