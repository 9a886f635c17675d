//! Figures as a page of HTML: charts drawn in SVG, styles inside, nothing fetched from anywhere.

use std::fmt::Write;

use crate::table::number;
use crate::{Better, Figures, Metric};

const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1c2024; --faint: #7a828a; --line: #d8dde2; --paper: #fff;
  --first: #9aa4ae; --bar: #2f6fb3; --dot: #10365c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --faint: #98a1aa; --line: #3a4148;
  --paper: #16191c; --first: #69737d; --bar: #4d8fd6; --dot: #cfe4fb; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
h3 { font-size: .95rem; font-weight: 600; margin: 1.2rem 0 .2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dt, .note, .way { color: var(--faint); } dd { margin: 0; } p.note { margin: .3rem 0; }
.way { font-weight: 400; } svg { width: 100%; height: auto; display: block; }
svg text { font: 13px system-ui, sans-serif; fill: var(--ink); } svg .ratio { fill: var(--faint); }
.bar { fill: var(--bar); } .bar.first { fill: var(--first); }
.dot { fill: var(--dot); fill-opacity: .75; } .span { stroke: var(--dot); }
";

// Of the chart, in its own units.
const WIDTH: f64 = 900.0;
const NAMES: f64 = 150.0;
const NUMBERS: f64 = 190.0;
const ROW: f64 = 26.0;

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
         lowest to the highest. The ratio is to the first row.</p>\n",
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

fn chart(page: &mut String, metric: &Metric) {
    let way = match metric.kind.better {
        Better::Higher => "more is better",
        Better::Lower => "less is better",
    };
    let (name, unit) = (escape(&metric.kind.name), escape(&metric.kind.unit));
    let _ = writeln!(
        page,
        "<h3>{name} <span class=\"way\">{unit}, {way}</span></h3>"
    );
    let rows: Vec<_> = metric
        .rows()
        .iter()
        .filter_map(|row| Some((row, row.spread()?)))
        .collect();
    let most = rows.iter().map(|(_, s)| s.high).fold(0.0, f64::max);
    let room = WIDTH - NAMES - NUMBERS;
    let scale = if most > 0.0 { room / most } else { 0.0 };
    let height = ROW * rows.len() as f64;
    let _ = writeln!(
        page,
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{name}, {unit}\">"
    );
    for (at, (row, spread)) in rows.iter().enumerate() {
        let middle = ROW * (at as f64 + 0.5);
        let base = middle + 4.5;
        let x = |value: f64| NAMES + value.max(0.0) * scale;
        let first = if at == 0 { " first" } else { "" };
        let _ = writeln!(
            page,
            "<text x=\"{:.1}\" y=\"{base}\" text-anchor=\"end\">{}</text>\
             <rect class=\"bar{first}\" x=\"{NAMES}\" y=\"{}\" width=\"{:.1}\" height=\"14\" rx=\"2\"/>\
             <line class=\"span\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>",
            NAMES - 8.0,
            escape(&row.contender),
            middle - 7.0,
            x(spread.median) - NAMES,
            x(spread.low),
            x(spread.high),
        );
        // Hundreds of dots say no more than their span does.
        for value in row.values.iter().filter(|v| v.is_finite()).take(40) {
            let _ = write!(
                page,
                "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{middle}\" r=\"2.2\"/>",
                x(*value)
            );
        }
        let ratio = metric.ratio(row).map_or(String::new(), |ratio| {
            format!(" <tspan class=\"ratio\">× {ratio:.2}</tspan>")
        });
        let _ = writeln!(
            page,
            "<text x=\"{:.1}\" y=\"{base}\">{} ± {:.1} %{ratio}</text>",
            WIDTH - NUMBERS + 12.0,
            number(spread.median),
            spread.relative() * 100.0
        );
    }
    page.push_str("</svg>\n");
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
}
