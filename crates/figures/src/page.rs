//! Figures as a page of HTML, with charts drawn in SVG and its styles inside, so that nothing is
//! fetched.

use std::fmt::Write;

use crate::table::number;
use crate::{Better, Figures, Metric, Spread};

const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1c2024; --faint: #7a828a; --line: #d8dde2; --paper: #fff;
  --first: #9aa4ae; --bar: #2f6fb3; --dot: #10365c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --faint: #98a1aa; --line: #3a4148;
  --paper: #16191c; --first: #69737d; --bar: #4d8fd6; --dot: #cfe4fb; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
h3 { font-size: .95rem; font-weight: 600; margin: 1.2rem 0 .2rem; }
dl { display: grid; grid-template-columns: fit-content(18rem) 1fr; gap: .1rem 1rem; }
dt, .note, .way { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; } p.note { margin: .3rem 0; }
.way { font-weight: 400; } svg { width: 100%; height: auto; display: block; }
.narrow { display: none; }
@media screen and (max-width: 44rem) { .wide { display: none; } .narrow { display: block; }
  dl { grid-template-columns: 1fr; } dd { margin: 0 0 .3rem 1rem; } }
svg text { font: 13px system-ui, sans-serif; fill: var(--ink); } svg .ratio { fill: var(--faint); }
.bar { fill: var(--bar); } .bar.first { fill: var(--first); }
.grid { stroke: var(--line); } svg .tick { fill: var(--faint); font-size: 12px; }
@media print { body { margin: 0; max-width: none; } h3, svg { break-inside: avoid; } h3 { break-after: avoid; } }
.dot { fill: var(--dot); fill-opacity: .75; } .span { stroke: var(--dot); }
";

// These are lengths in the chart, in its own units.
/// Length of the axis.
const BARS: f64 = 560.0;
/// Length of the axis on a screen on which letters of the other chart would be too small to read.
const NARROW: f64 = 110.0;
/// Space between the axis and the numbers behind it.
const GAP: f64 = 12.0;
const ROW: f64 = 26.0;
/// Height of a name that has a line of its own.
const LINE: f64 = 18.0;
/// Height of the axis.
const AXIS: f64 = 24.0;
/// Upper bound of the average width of a letter.
const LETTER: f64 = 7.6;
/// Largest number of letters of a name that stands beside its bar; a longer one has a line of its
/// own.
const SHORT: usize = 28;
/// Ratio of the greatest and the least value from which on the axis is logarithmic.
const DECADES: f64 = 30.0;

/// Returns the figures as a page of HTML.
#[must_use]
pub fn of(figures: &Figures) -> String {
    let title = escape(&figures.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n<h1>{title}</h1>\n<dl>\n"
    );
    for (name, value) in &figures.facts {
        let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    }
    page.push_str(
        "</dl>\n<p class=\"note\">Bars are medians, dots single measurements, lines lead from the \
         lowest to the highest. ± is half of what lies between these, in per cent of the median. The ratio \
         is to the first row; ≈ says that the measurements of both lie among each other, so that it may be \
         chance. What was measured once has no ±, and nothing says how far its ratio is chance.</p>\n",
    );
    for group in figures.groups() {
        let _ = writeln!(page, "<h2>{}</h2>", escape(group));
        for note in figures.notes_on(group) {
            let _ = writeln!(page, "<p class=\"note\">{}</p>", escape(note));
        }
        for metric in figures.of_group(group) {
            chart(&mut page, metric);
        }
    }
    page.push_str("</html>\n");
    page
}

/// Returns all charts as one SVG image, one below the other.
#[must_use]
pub fn svg(figures: &Figures) -> String {
    let mut body = String::new();
    let (mut top, mut width) = (10.0, BARS);
    for metric in figures.metrics() {
        let chart = Chart::of(metric, BARS);
        let _ = writeln!(
            body,
            "<text x=\"0\" y=\"{:.1}\" font-weight=\"bold\">{}</text>\n\
             <svg y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\">\n{}</svg>",
            top + 13.0,
            escape(&format!(
                "{}, {}: {}",
                metric.kind.group,
                metric.kind.name,
                way(metric)
            )),
            top + 22.0,
            chart.width,
            chart.height,
            chart.body
        );
        top += 22.0 + chart.height + 18.0;
        width = chart.width.max(width);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.1} {top:.1}\">\n\
         <style>\n{STYLE}</style>\n<title>{}</title>\n{body}</svg>\n",
        escape(&figures.title)
    )
}

/// Returns the unit and the better direction as text.
fn way(metric: &Metric) -> String {
    let way = match metric.kind.better {
        Better::Higher => "more is better",
        Better::Lower => "less is better",
    };
    format!("{}, {way}", metric.kind.unit)
}

fn chart(page: &mut String, metric: &Metric) {
    let (name, unit) = (escape(&metric.kind.name), escape(&metric.kind.unit));
    let _ = writeln!(
        page,
        "<h3>{name} <span class=\"way\">{}</span></h3>",
        escape(&way(metric))
    );
    for (class, bars) in [("wide", BARS), ("narrow", NARROW)] {
        let chart = Chart::of(metric, bars);
        let _ = writeln!(
            page,
            "<svg class=\"{class}\" viewBox=\"0 0 {:.1} {:.1}\" role=\"img\" aria-label=\"{name}, {unit}\">\n{}</svg>",
            chart.width, chart.height, chart.body
        );
    }
}

/// A drawn chart.
struct Chart {
    width: f64,
    height: f64,
    body: String,
}

impl Chart {
    /// Draws a chart whose axis has the length `bars`.
    fn of(metric: &Metric, bars: f64) -> Self {
        let rows: Vec<_> = metric
            .rows()
            .iter()
            .filter_map(|row| Some((row, row.spread()?)))
            .collect();
        let letters = |row: &crate::Row| row.contender.chars().count();
        let longest = rows.iter().map(|(row, _)| letters(row)).max().unwrap_or(0);
        let scale = Scale::of(
            rows.iter()
                .flat_map(|(_, spread)| [spread.low, spread.high]),
        );
        let ticks = scale.ticks(bars);
        // The number of a tick reaches beyond it by half of its length, and has a space around it.
        let half_of = |tick: &f64| (number(*tick).chars().count() as f64 / 2.0 + 1.0) * LETTER;
        let least_left = ticks.first().map_or(0.0, half_of);
        // A long name has a line of its own above the bar, so that no name is cut off.
        let apart = longest > SHORT;
        let (left, above) = if apart {
            (least_left, LINE)
        } else {
            ((longest as f64 * LETTER + 16.0).max(least_left), 0.0)
        };
        let numbers = |(row, spread): &(&crate::Row, Spread)| {
            let median = number(spread.median);
            (
                format!("{median}{}", spread.words()),
                metric.ratio_words(row),
            )
        };
        let unit = match scale.logarithmic {
            true => format!("{}, logarithmic", metric.kind.unit),
            false => metric.kind.unit.clone(),
        };
        let beside = rows.iter().map(numbers);
        let beside =
            beside.map(|(median, ratio)| median.chars().count() + 1 + ratio.chars().count());
        let beside = beside.max().unwrap_or(0);
        let x = |value: f64| left + scale.place(value) * bars;
        // The last tick may stand at the end of the axis.
        let unit_at = ticks.last().map_or(0.0, |last| x(*last) + half_of(last));
        let unit_at = unit_at.max(left + bars + GAP);
        // A third of the axis is enough for most, so that most charts have the same scale.
        let width = left + bars + GAP + (beside as f64 * LETTER).max(bars / 3.0);
        let width = width.max(unit_at + unit.chars().count() as f64 * LETTER);
        let width = width.max(longest as f64 * LETTER + 16.0);
        let row_height = ROW + above;
        let bottom = row_height * rows.len() as f64;
        let mut body = String::new();
        for tick in ticks {
            let at = x(tick);
            let _ = writeln!(
                body,
                "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"{bottom:.1}\"/>\
                 <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 15.0,
                number(tick)
            );
        }
        let _ = writeln!(
            body,
            "<text class=\"tick\" x=\"{unit_at:.1}\" y=\"{:.1}\">{}</text>",
            bottom + 15.0,
            escape(&unit),
        );
        for (at, told) in rows.iter().enumerate() {
            let ((row, spread), (median, ratio)) = (told, numbers(told));
            let middle = row_height * at as f64 + above + ROW / 2.0;
            let base = middle + 4.5;
            let first = if at == 0 { " first" } else { "" };
            let (name_x, name_y, anchor) = if apart {
                (left, middle - ROW / 2.0 - 4.0, "start")
            } else {
                (left - 8.0, base, "end")
            };
            let _ = writeln!(
                body,
                "<text x=\"{name_x:.1}\" y=\"{name_y:.1}\" text-anchor=\"{anchor}\">{}</text>\
                 <rect class=\"bar{first}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"14\" rx=\"2\"/>\
                 <line class=\"span\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>",
                escape(&row.contender),
                middle - 7.0,
                x(spread.median) - left,
                x(spread.low),
                x(spread.high),
            );
            // Hundreds of dots show no more than their range does.
            for value in row.values.iter().filter(|v| v.is_finite()).take(40) {
                let _ = write!(
                    body,
                    "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{middle:.1}\" r=\"2.2\"/>",
                    x(*value)
                );
            }
            let _ = writeln!(
                body,
                "<text x=\"{:.1}\" y=\"{base:.1}\">{median} <tspan class=\"ratio\">{ratio}</tspan></text>",
                left + bars + GAP,
            );
        }
        Self {
            width,
            height: bottom + AXIS,
            body,
        }
    }
}

/// The axis along which values are drawn.
#[derive(Debug, Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    /// Makes an axis from 0 to the greatest value. Where the values span decades, it begins at the
    /// power of ten below the least.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (least, most) = values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        let logarithmic = least > 0.0 && most / least >= DECADES;
        let low = if logarithmic {
            10.0_f64.powf(least.log10().floor())
        } else {
            0.0
        };
        Self {
            low,
            high: most,
            logarithmic,
        }
    }

    /// Returns the place of a value as a fraction of the axis, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let place = if self.logarithmic {
            (value.max(self.low) / self.low).log10() / (self.high / self.low).log10()
        } else if self.high > 0.0 {
            value / self.high
        } else {
            0.0
        };
        place.clamp(0.0, 1.0)
    }

    /// Returns the values that are marked on an axis of the length `bars`, so few that their numbers stand
    /// apart.
    fn ticks(&self, bars: f64) -> Vec<f64> {
        if self.high <= 0.0 {
            return vec![0.0];
        }
        let all = |most: f64| -> Vec<f64> {
            if self.logarithmic {
                let decades = (self.high / self.low).log10().floor().max(0.0);
                let step = (decades / most).ceil().max(1.0);
                let count = (decades / step).floor() as i32;
                let factor = 10.0_f64.powf(step);
                return (0..=count).map(|at| self.low * factor.powi(at)).collect();
            }
            let rough = self.high / most;
            let power = 10.0_f64.powf(rough.log10().floor());
            let step = [1.0, 2.0, 5.0, 10.0]
                .into_iter()
                .map(|factor| factor * power)
                .find(|step| *step >= rough)
                .unwrap_or(rough);
            let count = (self.high / step + 1e-9).floor() as usize;
            (0..=count).map(|at| at as f64 * step).collect()
        };
        let apart = |ticks: &Vec<f64>| {
            ticks.windows(2).all(|pair| {
                let letters = pair.iter().map(|tick| number(*tick).chars().count()).max();
                let room = (self.place(pair[1]) - self.place(pair[0])) * bars;
                room >= (letters.unwrap_or(0) + 1) as f64 * LETTER
            })
        };
        let fewer = (1..=5).rev().map(|most| all(f64::from(most)));
        { fewer }.find(apart).unwrap_or_else(|| all(1.0))
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn it_is_whole_and_escapes_what_it_is_told() {
        let mut figures = Figures::new("<script>");
        figures.fact("machine", "\"a\" & b");
        let kind = Kind::new("G", "k", "ms", Better::Lower);
        figures.record(&kind, "<one>", 2.0);
        figures.record(&kind, "two", f64::NAN);
        figures.record(&kind, "three", 1.0);
        let page = of(&figures);
        assert!(!page.contains("<script>") && !page.contains("<one>"));
        assert!(page.contains("&lt;one&gt;") && page.contains("&quot;a&quot; &amp; b"));
        assert!(!page.contains("two"), "a row without a number is left out");
        assert!(page.contains("× 0.50"));
        assert!(!page.contains("NaN") && !page.contains("http"));
        assert!(page.ends_with("</html>\n"));
    }

    #[test]
    fn nothing_but_zeros_divides_nothing() {
        let mut figures = Figures::new("t");
        let kind = Kind::new("G", "k", "ms", Better::Lower);
        figures.record(&kind, "a", 0.0);
        figures.record(&kind, "b", 0.0);
        let page = of(&figures);
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }

    #[test]
    fn axes_have_round_ticks_and_are_logarithmic_where_values_span_decades() {
        let ticks = |values: &[f64]| {
            let scale = Scale::of(values.iter().copied());
            (scale.logarithmic, scale.ticks(BARS))
        };
        assert_eq!(
            ticks(&[950.0, 757.0]),
            (false, vec![0.0, 200.0, 400.0, 600.0, 800.0])
        );
        assert_eq!(ticks(&[0.0]), (false, vec![0.0]));
        assert_eq!(ticks(&[0.2, 45.0]), (true, vec![0.1, 1.0, 10.0]),);
        for values in [&[1.0, 2.0][..], &[0.01, 300.0]] {
            let scale = Scale::of(values.iter().copied());
            assert_eq!(scale.place(values[1]), 1.0);
            assert!(scale.place(values[0]) < 1.0 && scale.place(0.0) == 0.0);
        }
    }

    /// Returns the numbers that follow `what` in a text.
    fn numbers(text: &str, what: &str) -> Vec<f64> {
        let pieces = text.split(what).skip(1);
        let number = |piece: &str| piece.split('"').next()?.parse().ok();
        pieces.filter_map(number).collect()
    }

    #[test]
    fn no_name_is_cut_off_and_nothing_leaves_the_chart() {
        for length in [1, 20, 28, 29, 60, 200] {
            let mut figures = Figures::new("t");
            let kind = Kind::new("G", "k", "packets/s", Better::Lower);
            let name = "m".repeat(length);
            for value in [3.0, 1.0] {
                figures.record(&kind, &name, value);
                figures.record(&kind, "other", value * 2.0);
            }
            for chart in [BARS, NARROW].map(|bars| Chart::of(&figures.metrics()[0], bars)) {
                // A name is anchored at its end or at its beginning.
                let name_at = numbers(&chart.body, "<text x=\"")[0];
                let room = if chart.body.contains("text-anchor=\"end\"") {
                    name_at
                } else {
                    chart.width - name_at
                };
                assert!(room >= length as f64 * LETTER, "{length} letters");
                assert!(of(&figures).contains(&name));
                for (what, most) in [
                    ("x1=\"", chart.width),
                    ("x2=\"", chart.width),
                    ("cx=\"", chart.width),
                    ("y1=\"", chart.height),
                    ("y2=\"", chart.height),
                    (" y=\"", chart.height),
                ] {
                    let all = numbers(&chart.body, what);
                    assert!(
                        all.iter().all(|at| (0.0..=most).contains(at)),
                        "{what}: {all:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn numbers_behind_bars_and_below_them_have_room() {
        for values in [
            [1234567.0, 1300000.0, 0.0],
            [950.0, 757.0, 1.0],
            [0.0123, 4500.0, 0.5],
            [0.0001, 1e9, 3.0],
        ] {
            let mut figures = Figures::new("t");
            let kind = Kind::new("G", "k", "packets/s", Better::Lower);
            for (name, value) in ["a", "b", "b"].iter().zip(values) {
                figures.record(&kind, name, value);
            }
            for bars in [BARS, NARROW] {
                let chart = Chart::of(&figures.metrics()[0], bars);
                let texts = chart.body.split("<text ").skip(1);
                let mut ticks = Vec::new();
                for text in texts.filter_map(|text| text.split("</text>").next()) {
                    let (attributes, text) = text.split_once('>').unwrap();
                    let at = numbers(attributes, "x=\"")[0];
                    let letters = text
                        .replace("<tspan class=\"ratio\">", "")
                        .replace("</tspan>", "");
                    let length = letters.chars().count() as f64 * LETTER;
                    match attributes {
                        _ if attributes.contains("middle") => ticks.push((at, length)),
                        _ if attributes.contains("anchor") => {}
                        _ => assert!(at + length <= chart.width + 0.1, "{bars}: {letters}"),
                    }
                }
                assert!(ticks.len() >= 2, "{bars}, {values:?}: {ticks:?}");
                for pair in ticks.windows(2) {
                    let room = pair[1].0 - pair[0].0;
                    assert!(
                        room >= (pair[0].1 + pair[1].1) / 2.0,
                        "{bars}, {values:?}: {ticks:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_narrow_screen_has_a_chart_that_it_can_show() {
        let mut figures = Figures::new("t");
        let kind = Kind::new("G", "k", "packets/s", Better::Lower);
        for value in [12345.0, 23456.0] {
            figures.record(&kind, "cdc_mbim-64k", value);
            figures.record(&kind, "uwwan-capture-packed", value * 1.5);
        }
        let page = of(&figures);
        assert_eq!(page.matches("<svg class=\"wide\"").count(), 1);
        assert_eq!(page.matches("<svg class=\"narrow\"").count(), 1);
        // Letters of 13 units have 10 pixels at least where the page has 370.
        let chart = Chart::of(&figures.metrics()[0], NARROW);
        assert!(370.0 / chart.width * 13.0 >= 10.0, "{}", chart.width);
    }

    #[test]
    fn the_image_has_every_chart() {
        let mut figures = Figures::new("a & b");
        for name in ["one", "two"] {
            let kind = Kind::new("G", name, "ms", Better::Lower);
            figures.record(&kind, "a", 1.0);
        }
        let image = svg(&figures);
        assert!(image.starts_with("<svg ") && image.ends_with("</svg>\n"));
        assert!(image.contains("a &amp; b") && image.contains("G, two: ms, less is better"));
        assert_eq!(image.matches("<svg").count(), 3);
    }
}
