//! Results of a sweep as a table, CSV, JSON, and a page with a heat map.
//!
//! The page needs nothing but a browser. Each cell of the map states its result in words; shades of
//! grey and hatching only repeat it, so that the page can be read in print and by people who see no
//! colours.

use std::collections::BTreeMap;
use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::cell::{Cell, Matrix};
use super::journal::Entry;
use super::outcome::Outcome;
use crate::output::{plain, rounded};

/// Figures of one cell.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Row {
    /// Values of the cell, by dimension.
    #[serde(rename = "settings")]
    values: BTreeMap<String, String>,
    /// Number of trials.
    trials: usize,
    /// Number of trials by outcome.
    outcomes: BTreeMap<&'static str, usize>,
    /// Worst outcome; `None` without a trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    worst: Option<Outcome>,
    /// Number of datagrams that were sent.
    sent: u64,
    /// Number of datagrams that were answered as they were sent.
    answered: u64,
    /// Number of answers with other bytes.
    corrupted: u64,
    /// Number of endpoint halts.
    halts: u64,
    /// Median of the round trips, in milliseconds.
    rtt_ms: Option<f64>,
    /// Median of the rates, in Mbit/s.
    rate_mbit_s: Option<f64>,
    /// The remark of the first trial that was not delivered.
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    /// Paths of the captures of the trials that failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    captures: Vec<String>,
}

/// Results of a sweep, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Swept<'a> {
    /// Facts for the reader, by name.
    facts: BTreeMap<&'a str, &'a str>,
    /// Figures of the cells.
    cells: &'a [Row],
}

/// Results of a sweep.
pub struct Report<'a> {
    matrix: &'a Matrix,
    rows: Vec<Row>,
    /// Facts for the reader, each as name and value.
    facts: Vec<(String, String)>,
}

impl<'a> Report<'a> {
    /// Collects the trials of each cell.
    pub fn new(
        matrix: &'a Matrix,
        cells: &[Cell],
        entries: &[Entry],
        facts: Vec<(String, String)>,
    ) -> Self {
        let mut of: Vec<Vec<&Entry>> = vec![Vec::new(); cells.len()];
        for entry in entries {
            if let Some(list) = of.get_mut(entry.cell) {
                list.push(entry);
            }
        }
        let rows = cells.iter().zip(of);
        Self {
            matrix,
            rows: rows
                .map(|(cell, entries)| row(matrix, cell, &entries))
                .collect(),
            facts,
        }
    }

    /// Returns the results as a table for a terminal, one line a cell.
    pub fn table(&self) -> String {
        let mut head: Vec<String> = self.names().map(str::to_owned).collect();
        head.extend(["result", "trials", "answered", "halts", "rtt", "rate"].map(str::to_owned));
        let mut lines = vec![head];
        for row in &self.rows {
            let mut line: Vec<String> = self.names().map(|name| row.values[name].clone()).collect();
            line.push(row.result());
            line.push(row.trials.to_string());
            line.push(format!("{}/{}", row.answered, row.sent));
            line.push(row.halts.to_string());
            line.push(unit(row.rtt_ms, "ms"));
            line.push(unit(row.rate_mbit_s, "Mbit/s"));
            lines.push(line);
        }
        let columns = lines[0].len();
        let widths: Vec<usize> = (0..columns)
            .map(|at| {
                lines
                    .iter()
                    .map(|line| line[at].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for line in lines {
            let cells = line.iter().zip(&widths);
            let cells: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            let _ = writeln!(text, "{}", cells.join("  ").trim_end());
        }
        for row in self.rows.iter().filter(|row| !row.detail.is_empty()) {
            let _ = writeln!(text, "{}: {}", row.name(self.matrix), plain(&row.detail));
        }
        for (name, capture) in self.captures() {
            let _ = writeln!(text, "{name}: captured in {}", plain(capture));
        }
        text
    }

    /// Returns the results as CSV (RFC 4180), one line a cell.
    pub fn csv(&self) -> String {
        let mut text = String::new();
        let words = Outcome::ALL.iter().map(|(_, word)| word.replace(' ', "-"));
        let head: Vec<String> = self
            .names()
            .map(str::to_owned)
            .chain(["trials".into()])
            .chain(words)
            .chain(
                [
                    "sent",
                    "answered",
                    "corrupted",
                    "halts",
                    "rtt_ms",
                    "rate_mbit_s",
                ]
                .map(str::to_owned),
            )
            .collect();
        let _ = write!(text, "{}\r\n", head.join(","));
        for row in &self.rows {
            let number = |value: Option<f64>| value.map_or(String::new(), |it| it.to_string());
            let counts = Outcome::ALL
                .iter()
                .map(|(_, word)| row.count(word).to_string());
            let line: Vec<String> = self
                .names()
                .map(|name| row.values[name].clone())
                .chain([row.trials.to_string()])
                .chain(counts)
                .chain([
                    row.sent.to_string(),
                    row.answered.to_string(),
                    row.corrupted.to_string(),
                    row.halts.to_string(),
                    number(row.rtt_ms),
                    number(row.rate_mbit_s),
                ])
                .collect();
            let _ = write!(text, "{}\r\n", line.join(","));
        }
        text
    }

    /// Returns the results as one JSON value.
    pub fn json(&self) -> Swept<'_> {
        let facts = self.facts.iter();
        Swept {
            facts: facts.map(|(name, value)| (&**name, &**value)).collect(),
            cells: &self.rows,
        }
    }

    /// Returns the results as a page with a heat map. The last dimension runs across, the others
    /// down.
    pub fn page(&self) -> String {
        let mut text = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">\
             <title>uwwan lab sweep</title>\n<style>{STYLE}</style></head><body>\n\
             <h1>Layouts of NTBs against what became of them</h1>\n<dl>\n"
        );
        for (name, value) in &self.facts {
            let _ = writeln!(text, "<dt>{}</dt><dd>{}</dd>", html(name), html(value));
        }
        text.push_str("</dl>\n<div class=\"wide\"><table class=\"map\">\n");
        let dimensions = self.matrix.dimensions();
        let across: Vec<&str> = match dimensions.last() {
            Some((_, values)) => values.iter().map(String::as_str).collect(),
            None => vec!["all"],
        };
        let down = &dimensions[..dimensions.len().saturating_sub(1)];
        text.push_str("<thead><tr>");
        for (dimension, _) in down {
            let _ = write!(text, "<th scope=\"col\">{}</th>", dimension.name());
        }
        let last = dimensions
            .last()
            .map_or("", |(dimension, _)| dimension.name());
        for value in &across {
            let _ = write!(text, "<th scope=\"col\">{last} {}</th>", html(value));
        }
        text.push_str("</tr></thead>\n<tbody>\n");
        for line in self.rows.chunks(across.len()) {
            text.push_str("<tr>");
            for (dimension, _) in down {
                let value = &line[0].values[dimension.name()];
                let _ = write!(text, "<th scope=\"row\">{}</th>", html(value));
            }
            for row in line {
                let _ = write!(
                    text,
                    "<td class=\"{}\"><b>{}</b><br>{}/{} answered",
                    row.class(),
                    html(&row.result()),
                    row.answered,
                    row.sent
                );
                for figure in [unit(row.rtt_ms, "ms"), unit(row.rate_mbit_s, "Mbit/s")] {
                    if figure != "-" {
                        let _ = write!(text, "<br>{figure}");
                    }
                }
                text.push_str("</td>");
            }
            text.push_str("</tr>\n");
        }
        text.push_str("</tbody></table></div>\n<h2>Key</h2>\n<table class=\"map\">\n");
        for (outcome, word) in Outcome::ALL {
            // One below the other, they fit onto every screen.
            let class = class(Some(outcome));
            let _ = writeln!(text, "<tr><td class=\"{class}\">{word}</td></tr>");
        }
        text.push_str(
            "</table>\n<p>A cell tells the worst that became of its trials, with their numbers; \
             rates and round trips are medians.</p>\n",
        );
        if self.captures().next().is_some() {
            text.push_str("<h2>Captures of what failed</h2>\n<dl>\n");
            for (name, capture) in self.captures() {
                let _ = writeln!(text, "<dt>{}</dt><dd>{}</dd>", html(&name), html(capture));
            }
            text.push_str("</dl>\n");
        }
        text.push_str("</body></html>\n");
        text
    }

    /// Returns the captures of the trials that failed, each with its cell.
    fn captures(&self) -> impl Iterator<Item = (String, &str)> {
        self.rows.iter().flat_map(|row| {
            let captures = row.captures.iter();
            captures.map(|capture| (row.name(self.matrix), capture.as_str()))
        })
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        let dimensions = self.matrix.dimensions().iter();
        dimensions.map(|(dimension, _)| dimension.name())
    }
}

impl Row {
    fn count(&self, word: &str) -> usize {
        self.outcomes.get(word).copied().unwrap_or(0)
    }

    /// Returns the worst outcome, with its share where others are better.
    fn result(&self) -> String {
        let Some(worst) = self.worst else {
            return "not tried".to_owned();
        };
        match self.count(worst.word()) {
            count if count == self.trials => worst.word().to_owned(),
            count => format!("{} {count}/{}", worst.word(), self.trials),
        }
    }

    fn class(&self) -> &'static str {
        class(self.worst)
    }

    fn name(&self, matrix: &Matrix) -> String {
        let dimensions = matrix
            .dimensions()
            .iter()
            .map(|(dimension, _)| dimension.name());
        let parts: Vec<String> = dimensions
            .map(|name| format!("{name} {}", self.values[name]))
            .collect();
        match parts.is_empty() {
            true => "the modem's own settings".to_owned(),
            false => parts.join(", "),
        }
    }
}

fn row(matrix: &Matrix, cell: &Cell, entries: &[&Entry]) -> Row {
    let values = matrix.dimensions().iter().map(|(dimension, _)| {
        let value = cell.value(*dimension).unwrap_or_default();
        (dimension.name().to_owned(), value.to_owned())
    });
    let results = || entries.iter().map(|entry| &entry.result);
    let mut outcomes = BTreeMap::new();
    for result in results() {
        *outcomes.entry(result.outcome.word()).or_insert(0) += 1;
    }
    let bad = results().find(|result| !result.detail.is_empty());
    Row {
        values: values.collect(),
        trials: entries.len(),
        outcomes,
        worst: results().map(|result| result.outcome).max(),
        sent: results().map(|result| u64::from(result.sent)).sum(),
        answered: results().map(|result| u64::from(result.answered)).sum(),
        corrupted: results().map(|result| u64::from(result.corrupted)).sum(),
        halts: results().map(|result| result.halts).sum(),
        rtt_ms: median(results().filter_map(|result| result.rtt_ms)),
        rate_mbit_s: median(results().filter_map(|result| result.rate_mbit_s)),
        detail: bad.map_or_else(String::new, |result| result.detail.clone()),
        captures: results()
            .filter(|result| !result.capture.is_empty())
            .map(|result| result.capture.clone())
            .collect(),
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    uwwan_figures::Spread::of(&values).map(|spread| rounded(spread.median, 3))
}

fn unit(value: Option<f64>, unit: &str) -> String {
    value.map_or_else(
        || "-".to_owned(),
        |value| format!("{} {unit}", uwwan_figures::table::number(value)),
    )
}

fn class(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        None => "untried",
        Some(Outcome::Delivered) => "delivered",
        Some(Outcome::Halted) => "halted",
        Some(Outcome::Lost) => "lost",
        Some(Outcome::Corrupted) => "corrupted",
        Some(Outcome::Gone) => "gone",
        Some(Outcome::NotOnline) => "offline",
    }
}

/// Escapes the characters that have a meaning in HTML.
fn html(text: &str) -> String {
    plain(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const STYLE: &str = "\
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2024; background: #fff; margin: 2rem auto; \
max-width: 75rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; }
dl { display: grid; grid-template-columns: fit-content(45%) 1fr; gap: .1rem 1rem; } dt { color: #5a626a; } dd { margin: 0; \
overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table.map { border-collapse: collapse; } table.map th, table.map td { border: 1px solid #5a626a; \
padding: .35rem .6rem; text-align: left; vertical-align: top; }
td { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
td.delivered { background: #fff; }
td.halted { background: linear-gradient(90deg, #8a8a8a 0 5px, #fff 5px); }
td.lost { background: #d0d0d0; }
td.corrupted { background: repeating-linear-gradient(90deg, #d0d0d0 0 6px, #b4b4b4 6px 8px); }
td.gone { background: #404040; color: #fff; }
td.offline { background: repeating-linear-gradient(45deg, #404040 0 8px, #555 8px 11px); color: #fff; }
td.untried { background: #fff; color: #5a626a; font-style: italic; }
@media screen and (prefers-color-scheme: dark) {
:root { color-scheme: dark; }
body, td.delivered { background: #16181b; color: #e8eaec; } dt, td.untried { color: #a4acb4; }
td.untried { background: #16181b; }
td.halted { background: linear-gradient(90deg, #8a8a8a 0 5px, #16181b 5px); }
td.lost { background: #4a4d50; }
td.corrupted { background: repeating-linear-gradient(90deg, #4a4d50 0 6px, #5c5f62 6px 8px); }
td.gone { background: #d8d8d8; color: #111; }
td.offline { background: repeating-linear-gradient(45deg, #d8d8d8 0 8px, #c0c0c0 8px 11px); color: #111; }
}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::lab::cell::Dimension;
    use crate::commands::lab::outcome::Result as Trial;

    fn sweep() -> (Matrix, Vec<Cell>, Vec<Entry>) {
        let words = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let matrix = Matrix::new(vec![
            (Dimension::Pad, words(&["short", "zlp"])),
            (Dimension::Ndp, words(&["end", "front"])),
        ]);
        let cells = matrix.cells().unwrap();
        let trial = |cell, attempt, outcome, answered| Entry {
            cell,
            attempt,
            result: Trial {
                outcome,
                sent: 50,
                answered,
                rtt_ms: (answered > 0).then_some(1.5),
                rate_mbit_s: (answered > 0).then_some(100.0),
                ..Trial::not_online(String::new(), 1.0)
            },
        };
        let entries = vec![
            trial(0, 0, Outcome::Delivered, 50),
            trial(0, 1, Outcome::Delivered, 50),
            trial(1, 0, Outcome::Lost, 0),
            trial(1, 1, Outcome::Delivered, 50),
            Entry {
                cell: 2,
                attempt: 0,
                result: Trial::not_online("open: <no answer>".into(), 2.0),
            },
        ];
        (matrix, cells, entries)
    }

    #[test]
    fn every_form_tells_the_same() {
        let (matrix, cells, entries) = sweep();
        let facts = vec![("device".to_owned(), "a <modem>".to_owned())];
        let report = Report::new(&matrix, &cells, &entries, facts);
        let table = report.table();
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[1].starts_with("short  end    delivered"), "{table}");
        assert!(
            lines[2].contains("lost 1/2") && lines[2].contains("50/100"),
            "{table}"
        );
        assert!(lines[4].contains("not tried"), "{table}");
        assert_eq!(lines[5], "pad zlp, ndp end: open: <no answer>");
        let csv = report.csv();
        let mut rows = csv.split("\r\n");
        assert_eq!(
            rows.next().unwrap(),
            "pad,ndp,trials,delivered,halted,lost,corrupted,gone,not-online,sent,answered,corrupted,halts,\
             rtt_ms,rate_mbit_s"
        );
        assert_eq!(
            rows.next().unwrap(),
            "short,end,2,2,0,0,0,0,0,100,100,0,0,1.5,100"
        );
        let json = serde_json::to_value(report.json()).unwrap();
        assert_eq!(json["cells"][1]["worst"], "lost");
        assert_eq!(json["cells"][1]["settings"]["ndp"], "front");
        assert_eq!(json["cells"][2]["outcomes"]["not online"], 1);
        let page = report.page();
        assert!(page.contains("a &lt;modem&gt;") && !page.contains("a <modem>"));
        for words in [
            "<b>delivered</b>",
            "<b>lost 1/2</b>",
            "<b>not tried</b>",
            "ndp front",
        ] {
            assert!(page.contains(words), "{words}");
        }
        // The key is as narrow as its longest word.
        let key = page.split("<h2>Key</h2>").nth(1).unwrap();
        let rows = key.split("<tr>").skip(1);
        assert!(rows.clone().all(|row| row.matches("<td").count() == 1));
        assert_eq!(rows.count(), Outcome::ALL.len());
    }

    #[test]
    fn a_sweep_without_dimensions_has_one_cell() {
        let matrix = Matrix::default();
        let cells = matrix.cells().unwrap();
        let report = Report::new(&matrix, &cells, &[], Vec::new());
        assert_eq!(report.table().lines().count(), 2);
        assert!(report.page().contains("not tried"));
    }
}
