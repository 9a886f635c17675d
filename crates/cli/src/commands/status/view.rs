//! The picture of `status --watch` on a terminal: the most important facts in twelve lines, then curves
//! that grow with the terminal and as many further lines as have room.
//!
//! Text from the device and the network is escaped before it gets here, as in all output.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline};
use uwwan_modem::Status;
use uwwan_modem::status::Counter;

use super::history::{History, KEPT, Sample};

/// Columns of the labels.
const LABEL: u16 = 11;
/// Columns of the figure beside a curve.
const FIGURE: u16 = 15;
/// Rows of a curve on a high terminal.
const HIGH: u16 = 4;
/// Rows that the picture needs with curves of one row, without sessions and further lines.
const LEAST: u16 = 11;
/// Strengths in dBm that the curve spans.
const STRENGTHS: (f64, f64) = (-113.0, -51.0);

/// The content of the view.
pub struct View<'a> {
    /// The state.
    pub status: &'a Status,
    /// The head line: device, model and process.
    pub head: &'a str,
    /// Lines of the plain form, as label and text.
    pub fields: &'a [(String, String)],
    /// The last minutes.
    pub history: &'a History,
    /// Whether colours are wanted.
    pub colours: bool,
}

/// Labels of the lines that are shown first or as a curve.
const FIRST: [&str; 10] = [
    "state",
    "failed",
    "next",
    "address",
    "interface",
    "network",
    "signal",
    "up",
    "down",
    "dropped",
];

impl View<'_> {
    /// Draws the picture.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let top: Vec<Line<'_>> = self.top();
        let below: Vec<Line<'_>> = self.below();
        let spare = area
            .height
            .saturating_sub(LEAST + below.len().min(4) as u16);
        let rows = (1 + spare / 4).min(HIGH);
        let lines = |lines: &[Line<'_>]| Constraint::Length(lines.len() as u16);
        let curve = Constraint::Length(rows);
        let parts = Layout::vertical([
            lines(&top),
            curve,
            curve,
            curve,
            Constraint::Min(0),
            Constraint::Length(1),
        ]);
        let [head, signal, down, up, rest, foot] = parts.areas(area);
        frame.render_widget(Paragraph::new(top), head);
        let last = self.history.last();
        let strength = |sample: &Sample| sample.rssi_dbm.map(f64::from);
        let now = self.status.signal.and_then(|signal| signal.rssi_dbm);
        let told = now.map_or("not told".to_owned(), |dbm| format!("{dbm} dBm"));
        self.curve(frame, signal, "signal", &told, Some(STRENGTHS), strength);
        let rate = |value: Option<f64>| format!("{:.2} Mbit/s", value.unwrap_or(0.0) / 1e6);
        let told = rate(last.map(|sample| sample.downlink));
        self.curve(frame, down, "down", &told, None, |sample| {
            Some(sample.downlink)
        });
        let told = rate(last.map(|sample| sample.uplink));
        self.curve(frame, up, "up", &told, None, |sample| Some(sample.uplink));
        self.lines(frame, rest, below);
        let minutes = KEPT.as_secs() / 60;
        let hint = format!("q ends · curves of the last {minutes} minutes");
        frame.render_widget(Paragraph::new(hint).style(self.dim()), foot);
    }

    /// Returns the first lines.
    fn top(&self) -> Vec<Line<'static>> {
        let mut lines = vec![Line::styled(
            self.head.to_owned(),
            Style::new().add_modifier(Modifier::BOLD),
        )];
        for label in ["state", "failed", "next", "address", "interface", "network"] {
            // A second address and further reasons are shown on higher terminals.
            if let Some((_, text)) = self.fields.iter().find(|(name, _)| name == label) {
                let style = match label {
                    "state" if self.status.online => self.coloured(Color::Green),
                    "state" | "failed" => self.coloured(Color::Red),
                    _ => Style::new(),
                };
                lines.push(labelled(label, text, style));
            }
        }
        lines
    }

    /// Returns the lines below the curves, the important ones first.
    fn below(&self) -> Vec<Line<'static>> {
        let count = |counters: &[Counter]| counters.iter().map(|one| one.count).sum::<u64>();
        let traffic = &self.status.traffic;
        let (dropped, errors) = (count(&traffic.dropped), count(&traffic.errors));
        let style = match (dropped, errors) {
            (0, 0) => Style::new(),
            _ => self.coloured(Color::Yellow),
        };
        let mut lines = Vec::new();
        if let Some(framing) = &self.status.framing {
            let filled = self.history.last().and_then(|sample| sample.filled);
            let filled = filled.map_or("none sent".to_owned(), |share| {
                format!("{:.0} % filled", share * 100.0)
            });
            let text = format!(
                "{filled} of {} bytes, {:.1} packets each",
                framing.output_size,
                traffic.uplink.packets as f64 / traffic.uplink.blocks.max(1) as f64
            );
            lines.push(labelled("NTBs up", &text, Style::new()));
        }
        let losses = format!("{dropped} dropped, {errors} errors");
        lines.push(labelled("losses", &losses, style));
        let is_session = |name: &str| name.starts_with("session ");
        let sessions = self.fields.iter().filter(|(name, _)| is_session(name));
        lines.extend(sessions.map(|(name, text)| labelled(name, text, Style::new())));
        let mut seen: Vec<&str> = Vec::new();
        for (name, text) in self.fields {
            let again = seen.contains(&name.as_str());
            seen.push(name);
            let first = FIRST.contains(&name.as_str())
                && !matches!(name.as_str(), "up" | "down" | "dropped");
            // The first line with its label stands above already.
            if is_session(name) || (first && !(again && name == "address")) {
                continue;
            }
            lines.push(labelled(name, text, Style::new()));
        }
        lines
    }

    /// Draws as many of the lines as have room, and the number of those left out.
    fn lines(&self, frame: &mut Frame<'_>, area: Rect, mut lines: Vec<Line<'static>>) {
        let room = usize::from(area.height);
        if lines.len() > room && room > 0 {
            let hidden = lines.len() - room + 1;
            lines.truncate(room - 1);
            let more = format!("… {hidden} more lines: a higher terminal shows them");
            lines.push(Line::styled(more, self.dim()));
        }
        frame.render_widget(Paragraph::new(lines), area);
    }

    fn curve(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        label: &str,
        figure: &str,
        span: Option<(f64, f64)>,
        value: impl Fn(&Sample) -> Option<f64>,
    ) {
        let parts = Layout::horizontal([Constraint::Length(LABEL + FIGURE), Constraint::Min(0)]);
        let [text, picture] = parts.areas(area);
        frame.render_widget(Paragraph::new(labelled(label, figure, Style::new())), text);
        let curve = self.history.curve(picture.width.into(), value);
        let most = curve.iter().flatten().copied().fold(1.0, f64::max);
        let (low, high) = span.unwrap_or((0.0, most));
        // A thousand steps are finer than any terminal.
        let scaled = curve.iter().map(|one| {
            one.map(|value| (((value - low) / (high - low)).clamp(0.0, 1.0) * 1000.0) as u64)
        });
        let sparkline = Sparkline::default()
            .data(scaled.collect::<Vec<Option<u64>>>())
            .max(1000)
            .absent_value_symbol(" ")
            .style(self.coloured(Color::Cyan));
        frame.render_widget(sparkline, picture);
    }

    fn coloured(&self, colour: Color) -> Style {
        match self.colours {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }

    fn dim(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }
}

fn labelled(label: &str, text: &str, style: Style) -> Line<'static> {
    let width = usize::from(LABEL) - 1;
    Line::from(vec![
        Span::raw(format!("{label:<width$} ")),
        Span::styled(text.to_owned(), style),
    ])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;
    use uwwan_modem::status::{FramingStatus, Signal};

    use super::*;

    fn status(second: u64) -> Status {
        let mut status = Status {
            online: true,
            signal: Some(Signal {
                rssi_dbm: Some(-71),
                error_rate: None,
            }),
            framing: Some(FramingStatus {
                output_size: 16_384,
                ..FramingStatus::default()
            }),
            ..Status::default()
        };
        status.traffic.uplink.blocks = second;
        status.traffic.uplink.packets = 10 * second;
        status.traffic.uplink.block_bytes = 8_192 * second;
        status.traffic.downlink.bytes = second * 1_250_000;
        status.traffic.dropped.push(Counter {
            name: "no-room".into(),
            count: 3,
        });
        status
    }

    fn fields() -> Vec<(String, String)> {
        let mut fields: Vec<(String, String)> = [
            ("state", "online for 12.0 s"),
            ("address", "10.0.0.1/30 via 10.0.0.2, DNS 10.0.0.2"),
            ("address", "2001:db8::1/64 on-link"),
            ("interface", "wwan0, multi-queue"),
            ("network", "Telenor (24201), home, LTE"),
            ("signal", "-71 dBm"),
            ("session 1", "online through wwan1"),
            ("host", "7 reads, 9 writes"),
        ]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into();
        fields.extend((0..20).map(|n| (format!("more {n}"), "x".repeat(200))));
        fields
    }

    fn drawn(columns: u16, rows: u16, colours: bool) -> Buffer {
        let mut history = History::default();
        for second in 0..100 {
            history.add(Duration::from_secs(second), &status(second));
        }
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        let (status, fields) = (status(99), fields());
        let view = View {
            status: &status,
            head: "03f0:a31d at 1-4, HP lt4132 (process 42)",
            fields: &fields,
            history: &history,
            colours,
        };
        terminal.draw(|frame| view.draw(frame)).unwrap();
        terminal.backend().buffer().clone()
    }

    fn rows(buffer: &Buffer) -> Vec<String> {
        let width = usize::from(buffer.area.width);
        let cells: Vec<&str> = buffer.content.iter().map(|cell| cell.symbol()).collect();
        cells.chunks(width).map(|row| row.concat()).collect()
    }

    #[test]
    fn what_counts_fits_a_small_terminal() {
        let rows = rows(&drawn(60, 12, false));
        assert!(
            rows[0].starts_with("03f0:a31d at 1-4, HP lt4132"),
            "{rows:#?}"
        );
        let text = rows.join("\n");
        for part in [
            "state      online for 12.0 s",
            "address    10.0.0.1/30",
            "interface  wwan0",
            "network    Telenor",
            "signal     -71 dBm",
            "down       10.00 Mbit/s",
            "up         0.00 Mbit/s",
            "NTBs up    50 % filled of 16384 bytes, 10.0 packets each",
            "q ends",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(rows[6].contains('█'), "a curve of the rate: {}", rows[6]);
    }

    #[test]
    fn a_larger_one_shows_more_and_higher_curves() {
        let small = rows(&drawn(60, 12, false));
        let large = rows(&drawn(120, 40, false));
        let bars = |rows: &[String]| rows.iter().filter(|row| row.contains('█')).count();
        assert!(bars(&large) > bars(&small) + 3, "{large:#?}");
        let text = large.join("\n");
        for part in [
            "losses     3 dropped, 0 errors",
            "session 1  online through wwan1",
            "2001:db8::1/64",
            "host       7 reads",
            "more lines: a higher terminal shows them",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        // The picture can be drawn at any size.
        for (columns, height) in [(1, 1), (3, 2), (10, 5), (60, 3), (500, 200)] {
            drawn(columns, height, true);
        }
    }

    #[test]
    fn colours_are_there_when_they_are_wanted() {
        let coloured = |buffer: &Buffer| {
            let mut cells = buffer.content.iter();
            cells.any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
        };
        assert!(coloured(&drawn(60, 12, true)));
        assert!(!coloured(&drawn(60, 12, false)));
    }
}
