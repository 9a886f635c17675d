//! The findings of a discovery: the evidence, and the row of the quirk table.

use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::cell::Dimension;
use super::outcome::{Outcome, Result as Trial};

/// One finding of a discovery.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Finding {
    /// Setting that the finding is about.
    pub what: &'static str,
    /// Value that was chosen; `None` when none works.
    pub chosen: Option<String>,
    /// Reason for the choice, in words.
    pub why: String,
    /// Evidence: each value that was tried, with its outcome.
    pub evidence: Vec<Evidence>,
}

/// A value that was tried.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Evidence {
    /// Value, in words.
    pub tried: String,
    /// The outcome of the worst trial.
    pub outcome: Outcome,
    /// A remark in words; empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Path of the capture of the worst trial, if it failed; empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub capture: String,
}

impl Evidence {
    pub fn new(tried: String, result: &Trial) -> Self {
        Self {
            tried,
            outcome: result.outcome,
            detail: result.detail.clone(),
            capture: result.capture.clone(),
        }
    }
}

/// The findings about a modem.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Discovery {
    /// Findings in the order in which they were made.
    pub findings: Vec<Finding>,
    /// Version of the firmware with which the row was found.
    pub firmware: String,
    /// Row of the quirk table, as TOML.
    pub row: String,
}

/// Values that the discovery has settled on so far.
#[derive(Debug, Clone, Default)]
pub struct Chosen {
    pub ntb: Option<&'static str>,
    pub ndp: Option<&'static str>,
    pub pad: Option<&'static str>,
    pub block_size: Option<String>,
    pub max_datagrams: Option<String>,
    pub input_size: Option<String>,
    /// Divisor of the offsets of datagrams in bytes, whose remainder is then 0.
    pub divisor: Option<&'static str>,
}

impl Chosen {
    pub fn values(&self) -> Vec<(Dimension, &str)> {
        let all = [
            (Dimension::Ntb, self.ntb),
            (Dimension::BlockSize, self.block_size.as_deref()),
            (Dimension::InputSize, self.input_size.as_deref()),
            (Dimension::Ndp, self.ndp),
            (Dimension::Pad, self.pad),
            (Dimension::MaxDatagrams, self.max_datagrams.as_deref()),
            (Dimension::Divisor, self.divisor),
            (Dimension::Remainder, self.divisor.map(|_| "0")),
        ];
        all.into_iter()
            .filter_map(|(dimension, value)| Some((dimension, value?)))
            .collect()
    }
}

/// Returns the row of the quirk table, as TOML. The settle pause is in milliseconds.
pub fn row(
    vendor: u16,
    product: u16,
    name: &str,
    chosen: &Chosen,
    settle: Option<u32>,
    firmware: &str,
) -> String {
    let mut text = String::new();
    if !firmware.is_empty() {
        let _ = writeln!(
            text,
            "# found by uwwan lab discover with firmware {firmware:?}"
        );
    }
    let _ = writeln!(text, "[[modem]]");
    let _ = writeln!(text, "vendor = {vendor:#06x}");
    let _ = writeln!(text, "product = {product:#06x}");
    let _ = writeln!(text, "name = {}", toml::Value::from(name));
    for (key, value) in [("ndp", chosen.ndp), ("padding", chosen.pad)] {
        if let Some(value) = value {
            let _ = writeln!(text, "{key} = \"{value}\"");
        }
    }
    if let Some("32") = chosen.ntb {
        let _ = writeln!(text, "ntb = \"32\"");
    }
    for (key, value) in [
        ("block-size", &chosen.block_size),
        ("max-datagrams", &chosen.max_datagrams),
        ("input-size", &chosen.input_size),
        ("divisor", &chosen.divisor.map(str::to_owned)),
        ("remainder", &chosen.divisor.map(|_| "0".to_owned())),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    if let Some(settle) = settle {
        // Twice the least pause leaves room for a slower start.
        let pause = (f64::from(settle) * 2.0 / 100.0).ceil() / 10.0;
        let _ = writeln!(
            text,
            "settle = {pause:.1}    # the least that worked is {settle} ms"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_is_one_that_a_quirk_file_may_have() {
        let chosen = Chosen {
            ntb: Some("32"),
            ndp: Some("end"),
            pad: Some("short"),
            block_size: Some("4096".into()),
            max_datagrams: Some("7".into()),
            input_size: Some("16384".into()),
            divisor: Some("16"),
        };
        let text = row(0x2c7c, 0x0801, "a \"modem\"", &chosen, Some(120), "1.0\n2");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.toml"), &text).unwrap();
        uwwan_modem::quirks::load(&[folder.path().to_owned()]).unwrap();
        let quirk = uwwan_modem::quirks::find(0x2c7c, 0x0801);
        assert_eq!(quirk.name, "a \"modem\"", "{text}");
        assert_eq!(quirk.settle.as_millis(), 300, "twice, rounded up to tenths");
        assert_eq!(quirk.block_size, Some(4096));
        assert_eq!(quirk.max_datagrams, Some(7));
        assert_eq!((quirk.divisor, quirk.remainder), (Some(16), Some(0)));
        assert_eq!(quirk.ntb, Some(uwwan_modem::options::Format::Ntb32));
    }
}
