//! The state of a running `up` in Prometheus's text exposition format, version 0.0.4.
//!
//! Names end with their unit, counters with `_total`; counters begin anew with each `up`.

use std::fmt::Write as _;

use uwwan_modem::Status;
use uwwan_modem::status::{Counter, Direction};

/// An exposition that is being written.
struct Page<'a> {
    text: String,
    /// Value of the label `device`, which every sample has.
    device: &'a str,
}

/// Returns the exposition. `device` is the name by which the modem is chosen (`--device`).
pub fn exposition(status: &Status, device: &str) -> String {
    let mut page = Page {
        text: String::new(),
        device,
    };
    page.info(status);
    page.gauge(
        "uwwan_online",
        "Whether session 0 is online.",
        [("", "", flag(status.online))],
    );
    page.gauge(
        "uwwan_state_seconds",
        "Time since the last change of the state.",
        [("", "", status.since_seconds)],
    );
    page.counter(
        "uwwan_bring_ups_total",
        "Bring-ups that were begun.",
        [("", "", f64::from(status.attempts))],
    );
    let numbers: Vec<String> = status
        .sessions
        .iter()
        .map(|one| one.session.to_string())
        .collect();
    let of_each = |value: fn(&uwwan_modem::status::SessionStatus) -> f64| {
        let pairs = numbers.iter().zip(&status.sessions);
        pairs
            .map(|(number, session)| ("session", number.as_str(), value(session)))
            .collect::<Vec<_>>()
    };
    page.gauge(
        "uwwan_session_online",
        "Whether a data session is online.",
        of_each(|session| flag(session.online)),
    );
    if let Some(dbm) = status.signal.as_ref().and_then(|signal| signal.rssi_dbm) {
        page.gauge(
            "uwwan_signal_rssi_dbm",
            "Received signal strength.",
            [("", "", f64::from(dbm))],
        );
    }
    if let Some(network) = &status.network {
        let rates = [
            ("direction", "up", network.uplink_bits as f64 / 8.0),
            ("direction", "down", network.downlink_bits as f64 / 8.0),
        ];
        page.gauge(
            "uwwan_network_bytes_per_second",
            "Rates that the network announces.",
            rates,
        );
    }
    let traffic = &status.traffic;
    let both = |value: fn(&Direction) -> u64| {
        [
            ("direction", "up", value(&traffic.uplink) as f64),
            ("direction", "down", value(&traffic.downlink) as f64),
        ]
    };
    page.counter(
        "uwwan_packets_total",
        "IP packets or Ethernet frames.",
        both(|one| one.packets),
    );
    page.counter(
        "uwwan_bytes_total",
        "Bytes in these packets.",
        both(|one| one.bytes),
    );
    page.counter(
        "uwwan_ntbs_total",
        "NCM transfer blocks.",
        both(|one| one.blocks),
    );
    page.counter(
        "uwwan_ntb_bytes_total",
        "Bytes in NCM transfer blocks, framing included.",
        both(|one| one.block_bytes),
    );
    page.counters(
        "uwwan_ntbs_closed_total",
        "NTBs to the modem by what closed them.",
        "reason",
        &traffic.closed,
    );
    page.counters(
        "uwwan_dropped_total",
        "Datagrams and NTBs that were dropped.",
        "reason",
        &traffic.dropped,
    );
    page.counters(
        "uwwan_transfer_errors_total",
        "Errors of transfers and recoveries.",
        "kind",
        &traffic.errors,
    );
    let host = &traffic.host;
    let calls = [
        ("call", "read", host.reads as f64),
        ("call", "write", host.writes as f64),
    ];
    page.counter(
        "uwwan_host_packets_total",
        "Packets that uwwan read from the host interface, and that it wrote there.",
        calls,
    );
    page.text
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

impl Page<'_> {
    fn info(&mut self, status: &Status) {
        self.head("uwwan_info", "The modem.", "gauge");
        let labels = [
            ("device", self.device),
            ("port", status.port.as_str()),
            ("model", status.model.as_str()),
        ];
        self.sample("uwwan_info", &labels, 1.0);
    }

    fn gauge<'b>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (&'b str, &'b str, f64)>,
    ) {
        self.family(name, help, "gauge", samples);
    }

    fn counter<'b>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (&'b str, &'b str, f64)>,
    ) {
        self.family(name, help, "counter", samples);
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, counters: &[Counter]) {
        let samples = counters
            .iter()
            .map(|one| (label, one.name.as_str(), one.count as f64));
        self.family(name, help, "counter", samples);
    }

    /// Adds a family of samples. Each sample has a label, which may be empty, with its value, and
    /// the sample's value.
    fn family<'b>(
        &mut self,
        name: &str,
        help: &str,
        kind: &str,
        samples: impl IntoIterator<Item = (&'b str, &'b str, f64)>,
    ) {
        self.head(name, help, kind);
        let device = self.device;
        for (label, value, number) in samples {
            let labels = [("device", device), (label, value)];
            let count = if label.is_empty() { 1 } else { 2 };
            self.sample(name, &labels[..count], number);
        }
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let _ = writeln!(self.text, "{name}{{{}}} {value}", labels.join(","));
    }
}

/// Returns the value of a label in the form in which it stands between quotes.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    use uwwan_modem::status::{SessionStatus, Signal, Traffic};

    fn status() -> Status {
        Status {
            online: true,
            model: "a \"quoted\" \\ modem\nof two lines".into(),
            attempts: 2,
            signal: Some(Signal {
                rssi_dbm: Some(-71),
                ..Signal::default()
            }),
            sessions: vec![SessionStatus {
                online: true,
                ..SessionStatus::default()
            }],
            traffic: Traffic {
                downlink: Direction {
                    packets: 3,
                    bytes: 4_500_000_000,
                    ..Direction::default()
                },
                dropped: vec![Counter {
                    name: "no_session".into(),
                    count: 7,
                }],
                ..Traffic::default()
            },
            ..Status::default()
        }
    }

    #[test]
    fn each_family_has_its_help_and_type_once_and_samples_behind_them() {
        let text = exposition(&status(), "modem");
        let mut seen = BTreeSet::new();
        let mut family = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().unwrap();
                assert!(seen.insert(family), "{family} twice");
                continue;
            }
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, family);
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
                continue;
            }
            let (name, rest) = line.split_once('{').expect(line);
            assert_eq!(name, family);
            let (labels, value) = rest.rsplit_once("} ").expect(line);
            assert!(labels.starts_with("device=\"modem\""), "{labels}");
            value.parse::<f64>().expect(line);
        }
        for line in [
            r#"uwwan_bytes_total{device="modem",direction="down"} 4500000000"#,
            r#"uwwan_dropped_total{device="modem",reason="no_session"} 7"#,
            r#"uwwan_session_online{device="modem",session="0"} 1"#,
            r#"uwwan_signal_rssi_dbm{device="modem"} -71"#,
            r#"uwwan_info{device="modem",port="",model="a \"quoted\" \\ modem\nof two lines"} 1"#,
        ] {
            assert!(
                text.lines().any(|one| one == line),
                "{line} is not in:\n{text}"
            );
        }
    }

    /// `promtool` is Prometheus's own linter.
    #[test]
    fn promtool_has_nothing_against_it() {
        let mut child = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool runs (tools/setup)");
        let text = exposition(&status(), "modem");
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}
