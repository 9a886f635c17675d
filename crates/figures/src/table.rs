//! Figures as plain text.

use std::fmt::Write;

use crate::{Figures, Metric};

/// Returns all figures as lines of text, one for each contender: median, spread in per cent where there
/// are several values, and the ratio to the first contender, with ≈ in place of × where the ranges of the
/// values overlap.
#[must_use]
pub fn of(figures: &Figures) -> String {
    let mut text = format!("{}\n", figures.title);
    for (name, value) in &figures.facts {
        let _ = writeln!(text, "  {name}: {value}");
    }
    let width = figures
        .metrics()
        .iter()
        .flat_map(Metric::rows)
        .map(|row| row.contender.chars().count())
        .max()
        .unwrap_or(0);
    for group in figures.groups() {
        let _ = writeln!(text, "\n{group}");
        for note in figures.notes_on(group) {
            let _ = writeln!(text, "  ({note})");
        }
        for metric in figures.of_group(group) {
            let _ = writeln!(text, "  {}, {}", metric.kind.name, metric.kind.unit);
            for row in metric.rows() {
                let Some(spread) = row.spread() else {
                    continue;
                };
                let ratio = metric.ratio_words(row);
                let line = format!(
                    "    {:<width$} {:>9}{:<10} {ratio}",
                    row.contender,
                    number(spread.median),
                    spread.words()
                );
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
    }
    text
}

/// Returns a number with three significant digits, or with all digits before the point.
#[must_use]
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    let digits = match magnitude {
        m if m >= 100.0 || m == 0.0 => 0,
        m if m >= 10.0 => 1,
        m if m >= 1.0 => 2,
        m if m >= 0.1 => 3,
        _ => 4,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Better, Kind};

    #[test]
    fn numbers_have_three_digits() {
        let texts = [0.0, 0.01234, 0.5, 1.5, 12.34, 123.4, 12345.6].map(number);
        assert_eq!(
            texts,
            ["0", "0.0123", "0.500", "1.50", "12.3", "123", "12346"]
        );
    }

    #[test]
    fn a_line_a_contender() {
        let mut figures = Figures::new("Two ways");
        figures.fact("machine", "this one");
        figures.note("Latency", "lower is better");
        let kind = Kind::new("Latency", "ping", "ms", Better::Lower);
        for (contender, value) in [("kernel", 1.0), ("ours", 0.5), ("ours", 0.7)] {
            figures.record(&kind, contender, value);
        }
        assert_eq!(
            of(&figures),
            "Two ways\n  machine: this one\n\nLatency\n  (lower is better)\n  ping, ms\n    \
             kernel      1.00\n    ours       0.600 ± 16.7 %  × 0.60\n"
        );
        figures.record(&kind, "ours", 1.1);
        assert!(of(&figures).contains("≈ 0.70"), "{}", of(&figures));
    }
}
