//! The values of several contenders, by the quantity that they measure.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::Spread;

/// Version of the JSON of [`Figures`]. It changes when a reader of the version before would be
/// misled.
pub const VERSION: u32 = 1;

/// Direction in which a value is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// The larger value is better.
    Higher,
    /// The smaller value is better.
    Lower,
}

impl Better {
    /// Returns the direction as the word that JSON has.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
        }
    }
}

/// Quantity that a value measures. Kinds with the same group and name are the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Kind {
    /// Group of kinds that are shown together.
    pub group: String,
    /// Name, which no other kind of the group has.
    pub name: String,
    /// Unit of the values.
    pub unit: String,
    /// Direction in which the values are better.
    pub better: Better,
}

impl Kind {
    /// Makes a kind from its four properties.
    #[must_use]
    pub fn new(group: &str, name: &str, unit: &str, better: Better) -> Kind {
        Kind {
            group: group.to_owned(),
            name: name.to_owned(),
            unit: unit.to_owned(),
            better,
        }
    }
}

/// The values of one contender for one kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(into = "RowForm")]
pub struct Row {
    /// Name of the contender.
    pub contender: String,
    /// Values in the order in which they were recorded.
    pub values: Vec<f64>,
}

impl Row {
    /// Returns the median and the spread of the values; `None` when none of them is finite.
    #[must_use]
    pub fn spread(&self) -> Option<Spread> {
        Spread::of(&self.values)
    }
}

/// Form in which a [`Row`] is written as JSON.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Row")]
struct RowForm {
    /// Name of the contender.
    contender: String,
    /// Median of the values; null when none of them is finite.
    median: Option<f64>,
    /// Lowest value.
    low: Option<f64>,
    /// Highest value.
    high: Option<f64>,
    /// Values in the order in which they were recorded; null for one that is not finite.
    #[schemars(with = "Vec<Option<f64>>")]
    values: Vec<f64>,
}

impl From<Row> for RowForm {
    fn from(row: Row) -> Self {
        let spread = row.spread();
        Self {
            contender: row.contender,
            median: spread.map(|spread| spread.median),
            low: spread.map(|spread| spread.low),
            high: spread.map(|spread| spread.high),
            values: row.values,
        }
    }
}

impl JsonSchema for Row {
    fn schema_name() -> Cow<'static, str> {
        RowForm::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        RowForm::json_schema(generator)
    }
}

/// A kind with the values of all contenders.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Metric {
    /// Quantity that the values measure.
    #[serde(flatten)]
    pub kind: Kind,
    rows: Vec<Row>,
}

impl Metric {
    /// Returns one row for each contender, in the order in which they were first recorded.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Returns a row's median divided by the first row's. Returns `None` for the first row itself,
    /// and where the first median is missing or 0.
    #[must_use]
    pub fn ratio(&self, row: &Row) -> Option<f64> {
        let first = self.rows.first().filter(|first| *first != row)?;
        let base = first.spread()?.median;
        (base != 0.0).then_some(row.spread()?.median / base)
    }

    /// Returns whether the ranges of a row's values and the first row's overlap, so that the ratio
    /// of their medians may be chance. Returns `false` for the first row itself.
    #[must_use]
    pub fn within_spread(&self, row: &Row) -> bool {
        let first = self.rows.first().filter(|first| *first != row);
        let spreads = first.and_then(|first| Some((first.spread()?, row.spread()?)));
        spreads.is_some_and(|(one, other)| one.low <= other.high && other.low <= one.high)
    }

    /// Returns a row's ratio in words: `× 1.31`, or `≈ 1.02` where it is within the spread; empty where
    /// there is none. One below a tenth has two digits that are not zero.
    pub(crate) fn ratio_words(&self, row: &Row) -> String {
        let sign = if self.within_spread(row) { "≈" } else { "×" };
        let Some(ratio) = self.ratio(row) else {
            return String::new();
        };
        let digits = match ratio.abs() {
            small if small > 0.0 && small < 0.1 => 1 - small.log10().floor() as i32,
            _ => 2,
        };
        let digits = digits.clamp(2, 12) as usize;
        format!("{sign} {ratio:.digits$}")
    }
}

/// The figures of one run.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Figures {
    /// Version of the JSON.
    version: u32,
    /// Title of the run.
    pub title: String,
    /// Facts that a reader must know, such as machine, versions and command, each as name and
    /// value.
    pub facts: Vec<(String, String)>,
    /// Notes without which a group of figures would be misread, each as group and sentence.
    pub notes: Vec<(String, String)>,
    metrics: Vec<Metric>,
}

impl Figures {
    /// Makes figures without values.
    #[must_use]
    pub fn new(title: &str) -> Figures {
        Figures {
            version: VERSION,
            title: title.to_owned(),
            facts: Vec::new(),
            notes: Vec::new(),
            metrics: Vec::new(),
        }
    }

    /// Adds a fact.
    pub fn fact(&mut self, name: &str, value: impl Into<String>) {
        self.facts.push((name.to_owned(), value.into()));
    }

    /// Adds a fact unless it is there.
    pub fn fact_once(&mut self, name: &str, value: String) {
        let fact = (name.to_owned(), value);
        if !self.facts.contains(&fact) {
            self.facts.push(fact);
        }
    }

    /// Adds a note about a group of figures.
    pub fn note(&mut self, group: &str, sentence: &str) {
        self.notes.push((group.to_owned(), sentence.to_owned()));
    }

    /// Adds a value of a contender.
    pub fn record(&mut self, kind: &Kind, contender: &str, value: f64) {
        let at = self
            .metrics
            .iter()
            .position(|metric| metric.kind.group == kind.group && metric.kind.name == kind.name)
            .unwrap_or_else(|| {
                self.metrics.push(Metric {
                    kind: kind.clone(),
                    rows: Vec::new(),
                });
                self.metrics.len() - 1
            });
        let rows = &mut self.metrics[at].rows;
        match rows.iter_mut().find(|row| row.contender == contender) {
            Some(row) => row.values.push(value),
            None => rows.push(Row {
                contender: contender.to_owned(),
                values: vec![value],
            }),
        }
    }

    /// Returns the values of all kinds, in the order in which these were first recorded.
    #[must_use]
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// Returns the groups, each once, in the order in which they were first recorded.
    #[must_use]
    pub fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = Vec::new();
        for metric in &self.metrics {
            if !groups.contains(&metric.kind.group.as_str()) {
                groups.push(&metric.kind.group);
            }
        }
        groups
    }

    /// Returns the values of the kinds of a group.
    pub fn of_group<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Metric> {
        self.metrics
            .iter()
            .filter(move |metric| metric.kind.group == group)
    }

    /// Returns the notes about a group.
    pub fn notes_on<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a str> {
        self.notes
            .iter()
            .filter(move |(of, _)| of == group)
            .map(|(_, sentence)| sentence.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let mut figures = Figures::new("t");
        let down = Kind::new("Throughput", "down", "Mbit/s", Better::Higher);
        let up = Kind::new("Throughput", "up", "Mbit/s", Better::Higher);
        figures.record(&down, "a", 10.0);
        figures.record(&up, "a", 0.0);
        figures.record(&down, "b", 15.0);
        figures.record(&down, "a", 20.0);
        figures.record(&up, "b", 1.0);
        figures
    }

    #[test]
    fn values_find_their_rows() {
        let figures = figures();
        assert_eq!(figures.groups(), ["Throughput"]);
        let [down, up] = figures.metrics() else {
            panic!("two kinds");
        };
        assert_eq!(down.rows()[0].values, [10.0, 20.0]);
        assert_eq!(down.ratio(&down.rows()[0]), None);
        assert_eq!(down.ratio(&down.rows()[1]), Some(1.0));
        assert_eq!(up.ratio(&up.rows()[1]), None, "nothing to divide by");
    }

    #[test]
    fn small_ratios_have_two_digits_in_words() {
        let words = |value: f64| {
            let mut figures = Figures::new("t");
            let kind = Kind::new("G", "k", "ms", Better::Lower);
            figures.record(&kind, "a", 10.0);
            figures.record(&kind, "b", value);
            figures.metrics()[0].ratio_words(&figures.metrics()[0].rows()[1])
        };
        let texts = [413.0, 13.14, 1.0, 0.98, 0.0111, 0.0].map(words);
        let expected = [
            "× 41.30",
            "× 1.31",
            "× 0.10",
            "× 0.098",
            "× 0.0011",
            "× 0.00",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn the_json_has_medians_and_values() {
        let json = serde_json::to_value(figures()).expect("plain data");
        let row = &json["metrics"][0]["rows"][0];
        assert_eq!(json["metrics"][0]["unit"], "Mbit/s");
        assert_eq!(json["metrics"][0]["better"], "higher");
        assert_eq!(
            (&row["contender"], &row["median"]),
            (&"a".into(), &15.0.into())
        );
        assert_eq!(row["values"].as_array().map(Vec::len), Some(2));
    }
}
