//! Figures that were saved as JSON, read again and compared.
//!
//! The JSON is an object: `version` ([`VERSION`]), `title`, `facts` and `notes` (arrays of pairs of
//! strings), and `metrics`, an array of objects with `group`, `name`, `unit`, `better` (`higher` or
//! `lower`) and `rows`. A row has `contender`, `values` in the order of measurement (`null` where
//! there was no number), and `median`, `low` and `high` of these. Unknown members are ignored.

use serde::Deserialize;

pub use crate::metric::VERSION;
use crate::{Better, Figures, Kind};

#[derive(Deserialize)]
struct Saved {
    /// Version of the form. JSON without a version has the form of the first.
    #[serde(default = "first")]
    version: u32,
    title: String,
    #[serde(default)]
    facts: Vec<(String, String)>,
    #[serde(default)]
    notes: Vec<(String, String)>,
    metrics: Vec<SavedMetric>,
}

fn first() -> u32 {
    VERSION
}

#[derive(Deserialize)]
struct SavedMetric {
    group: String,
    name: String,
    unit: String,
    better: Better,
    rows: Vec<SavedRow>,
}

#[derive(Deserialize)]
struct SavedRow {
    contender: String,
    values: Vec<Option<f64>>,
}

impl<'de> Deserialize<'de> for Figures {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let saved = Saved::deserialize(deserializer)?;
        if saved.version != VERSION {
            return Err(serde::de::Error::custom(format!(
                "version {} of the figures is not known; this program knows {VERSION}",
                saved.version
            )));
        }
        let mut figures = Figures::new(&saved.title);
        figures.facts = saved.facts;
        figures.notes = saved.notes;
        for metric in saved.metrics {
            let kind = Kind::new(&metric.group, &metric.name, &metric.unit, metric.better);
            for row in metric.rows {
                for value in row.values {
                    figures.record(&kind, &row.contender, value.unwrap_or(f64::NAN));
                }
            }
        }
        Ok(figures)
    }
}

/// Combines runs, each under a name. The name of the run tells contenders apart, and facts that
/// differ are given for each run. The contenders of the first run come first, so that others are
/// compared with them.
#[must_use]
pub fn compare(runs: &[(String, Figures)]) -> Figures {
    let mut title = runs.iter().map(|(_, run)| run.title.as_str());
    let first = title.next().unwrap_or_default();
    let mut all = Figures::new(if title.all(|title| title == first) {
        first
    } else {
        "Several runs"
    });
    for (name, run) in runs {
        for fact in &run.facts {
            let everywhere = runs.iter().all(|(_, run)| run.facts.contains(fact));
            if !everywhere {
                all.fact(&format!("{name}: {}", fact.0), fact.1.as_str());
            } else if !all.facts.contains(fact) {
                all.fact(&fact.0, fact.1.as_str());
            }
        }
        for (group, sentence) in &run.notes {
            if !all.notes_on(group).any(|note| note == sentence) {
                all.note(group, sentence);
            }
        }
        for metric in run.metrics() {
            for row in metric.rows() {
                let contender = format!("{name}: {}", row.contender);
                for value in &row.values {
                    all.record(&metric.kind, &contender, *value);
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(machine: &str, value: f64) -> Figures {
        let mut figures = Figures::new("Rates");
        figures.fact("program", "uwwan 1");
        figures.fact("machine", machine);
        figures.note("Throughput", "payload");
        let kind = Kind::new("Throughput", "down", "Mbit/s", Better::Higher);
        for value in [value, value + 2.0, f64::NAN] {
            figures.record(&kind, "uwwan", value);
        }
        figures
    }

    #[test]
    fn what_was_saved_is_read_again() {
        let figures = run("a", 10.0);
        let text = serde_json::to_string(&figures).unwrap();
        assert!(text.contains("\"version\":1"), "{text}");
        let again: Figures = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
        let newer = text.replace("\"version\":1", "\"version\":2");
        let error = serde_json::from_str::<Figures>(&newer).unwrap_err();
        assert!(error.to_string().contains("version 2"), "{error}");
        let older = text.replace("\"version\":1,", "");
        assert!(serde_json::from_str::<Figures>(&older).is_ok());
    }

    #[test]
    fn runs_stand_side_by_side() {
        let all = compare(&[
            ("one".into(), run("a", 10.0)),
            ("two".into(), run("b", 20.0)),
        ]);
        let rows = all.metrics()[0].rows();
        assert_eq!(all.metrics().len(), 1);
        let names: Vec<_> = rows.iter().map(|row| row.contender.as_str()).collect();
        assert_eq!(names, ["one: uwwan", "two: uwwan"]);
        assert_eq!(all.metrics()[0].ratio(&rows[1]), Some(21.0 / 11.0));
        let facts: Vec<_> = all.facts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(facts, ["program", "one: machine", "two: machine"]);
        assert_eq!(all.notes.len(), 1);
    }
}
