//! Takes measurements and records them as figures.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use uwwan_figures::{Better, Figures, Kind, Spread};

use super::link::{Direction, Link, Test};
use crate::failure::{Failure, FailureKind};

const THROUGHPUT: &str = "Throughput";
const SMALL: &str = "Small packets";
const PING: &str = "Round trip";
const DRIVER: &str = "Processor time of the driver";
const CAPTURE: &str = "Processor time of the capture's writer";
const ALL: &str = "Processor time of everything";
const MEMORY: &str = "Resident memory";
const NTBS: &str = "NTBs";
const CAPTURED: &str = "Captured";

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

const NOTES: [(&str, &str); 6] = [
    (THROUGHPUT, "payload at the receiver"),
    (
        SMALL,
        "64 bytes of payload in UDP, sent as fast as it goes; those that arrived",
    ),
    (
        DRIVER,
        "its threads; what the kernel does in them counts too: with a TUN, receiving a packet with all of TCP",
    ),
    (
        CAPTURE,
        "the part of the driver's time that is its own thread's; the copies are made in the others",
    ),
    (ALL, "both ends, and what is between them in this process"),
    (NTBS, "over a whole visit"),
];

/// Adds notes for the reader to each group of figures that there is.
pub fn notes(figures: &mut Figures) {
    for (group, sentence) in NOTES {
        if figures.of_group(group).next().is_some() {
            figures.note(group, sentence);
        }
    }
}

/// Describes the run and the machine on which the figures were measured, as names and values.
pub fn machine() -> Vec<(&'static str, String)> {
    let first = |path: &str, field: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut values = text.lines().filter_map(|line| line.split_once(':'));
        values
            .find(|(name, _)| name.trim() == field)
            .map(|(_, value)| value.trim().to_owned())
    };
    let system = rustix::system::uname();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let model = first("/proc/cpuinfo", "model name").unwrap_or_else(|| "processor".to_owned());
    vec![
        ("begun", now()),
        ("command", command_line(std::env::args_os())),
        ("program", format!("uwwan {}", env!("CARGO_PKG_VERSION"))),
        ("kernel", system.release().to_string_lossy().into_owned()),
        ("processors", format!("{processors} × {model}")),
    ]
}

/// Returns the present time in UTC (RFC 3339).
fn now() -> String {
    let mut text = String::new();
    // A string takes whatever is written to it.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// Returns a command line that a shell reads as these arguments, without the directory of the program.
/// No secret is in it: PINs and passwords come from files.
fn command_line(mut arguments: impl Iterator<Item = OsString>) -> String {
    let program = arguments.next().map(PathBuf::from).unwrap_or_default();
    let mut line = vec![program.file_name().unwrap_or_default().to_owned()];
    line.extend(arguments);
    let words = line.iter().map(|word| {
        let word = word.to_string_lossy();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.,:=/@%+".contains(letter);
        match !word.is_empty() && word.chars().all(plain) {
            true => word.into_owned(),
            false => format!("'{}'", word.replace('\'', "'\\''")),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Takes one measurement for that many seconds, and records its figures under the contender's name.
///
/// # Errors
/// Fails when nothing gets through.
pub fn measure(
    figures: &mut Figures,
    name: &str,
    link: &mut dyn Link,
    test: Test,
    seconds: f64,
) -> Result<(), Failure> {
    let time = Duration::from_secs_f64(seconds);
    let before = link.processor();
    let label = link.label(test);
    let direction = match test {
        Test::Up | Test::SmallUp => Direction::Up,
        _ => Direction::Down,
    };
    let (amount, group, unit, scale, per, whole) = match test {
        Test::Down | Test::Up => {
            let amount = Some(link.stream(direction, time)?);
            (amount, THROUGHPUT, "Mbit/s", 8e-6, "s/GiB", GIB)
        }
        Test::SmallDown | Test::SmallUp => {
            let amount = link.small(direction, time)?;
            (amount, SMALL, "packets/s", 1.0, "µs/packet", 1e6)
        }
        Test::Ping => return ping(figures, name, "idle", link.ping(None, time)?),
        Test::PingDown => {
            let times = link.ping(Some(Direction::Down), time)?;
            return ping(figures, name, "while a stream comes down", times);
        }
        Test::PingUp => {
            let times = link.ping(Some(Direction::Up), time)?;
            return ping(figures, name, "while a stream goes up", times);
        }
    };
    let Some(amount) = amount else {
        return Ok(());
    };
    if amount.count == 0 {
        return Err(Failure::new(FailureKind::NoTraffic, "nothing arrived").at(label.to_owned()));
    }
    let kind = Kind::new(group, label, unit, Better::Higher);
    figures.record(&kind, name, amount.rate() * scale);
    let spent = link.processor().since(&before);
    for (group, spent) in [
        (DRIVER, spent.driver),
        (CAPTURE, spent.capture),
        (ALL, spent.all),
    ] {
        if let Some(spent) = spent {
            let kind = Kind::new(group, label, per, Better::Lower);
            let value = spent.as_secs_f64() / amount.count as f64 * whole;
            figures.record(&kind, name, value);
        }
    }
    Ok(())
}

fn ping(
    figures: &mut Figures,
    name: &str,
    label: &str,
    times: Option<Vec<Duration>>,
) -> Result<(), Failure> {
    let Some(times) = times else {
        return Ok(());
    };
    let mut times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    let Some(spread) = Spread::of(&times) else {
        return Err(
            Failure::new(FailureKind::NoTraffic, "not one echo request was answered")
                .at(label.to_owned()),
        );
    };
    times.sort_by(f64::total_cmp);
    let late = times[(times.len() * 19 / 20).min(times.len() - 1)];
    let median = Kind::new(PING, &format!("{label}, median"), "ms", Better::Lower);
    let slow = Kind::new(
        PING,
        &format!("{label}, 95 % are faster"),
        "ms",
        Better::Lower,
    );
    figures.record(&median, name, spread.median);
    figures.record(&slow, name, late);
    Ok(())
}

/// Returns the figure for resident memory in MiB, or `None` when it is not known. `whose` names the
/// process that the memory belongs to.
pub fn memory(whose: &str, bytes: Option<u64>) -> Option<(Kind, f64)> {
    let kind = Kind::new(MEMORY, whose, "MiB", Better::Lower);
    Some((kind, bytes? as f64 / 1024.0 / 1024.0))
}

/// Returns the figure for the mean number of datagrams in an NTB, or `None` when there were no
/// NTBs.
pub fn filling(direction: &str, datagrams: u64, ntbs: u64) -> Option<(Kind, f64)> {
    let name = format!("datagrams in an NTB {direction}");
    let name = name.trim_end();
    let kind = Kind::new(NTBS, name, "on average", Better::Higher);
    (ntbs > 0).then(|| (kind, datagrams as f64 / ntbs as f64))
}

/// Returns the figures for a capture: the events that are in it, and their share of all.
pub fn captured(written: u64, dropped: u64) -> [(Kind, f64); 2] {
    let all = (written + dropped).max(1);
    [
        (
            Kind::new(CAPTURED, "events", "events", Better::Higher),
            written as f64,
        ),
        (
            Kind::new(CAPTURED, "share of all events", "%", Better::Higher),
            written as f64 / all as f64 * 100.0,
        ),
    ]
}

/// Figures with the failures, as JSON.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Output<'a> {
    #[serde(flatten)]
    figures: &'a Figures,
    /// Contenders that failed.
    failures: Vec<Failed<'a>>,
}

/// A contender that failed.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
struct Failed<'a> {
    /// Name of the contender.
    contender: &'a str,
    /// The failure of the contender.
    failure: &'a Failure,
    /// Copy of `failure` in one line.
    #[schemars(extend("deprecated" = true))]
    error: String,
}

impl<'a> Output<'a> {
    /// Returns the form of figures with failures.
    pub fn of(figures: &'a Figures, failures: &'a [(String, Failure)]) -> Self {
        let failures = failures.iter().map(|(contender, failure)| Failed {
            contender,
            failure,
            error: failure.one_line(),
        });
        Self {
            figures,
            failures: failures.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::cost::Time;
    use crate::commands::bench::link::Amount;

    /// A link of known speed.
    struct Known(u64);

    impl Link for Known {
        fn stream(&mut self, _: Direction, time: Duration) -> Result<Amount, Failure> {
            Ok(Amount {
                count: self.0,
                time,
            })
        }
        fn small(&mut self, _: Direction, _: Duration) -> Result<Option<Amount>, Failure> {
            Ok(None)
        }
        fn ping(
            &mut self,
            _: Option<Direction>,
            _: Duration,
        ) -> Result<Option<Vec<Duration>>, Failure> {
            Ok(Some((1..=100).map(Duration::from_millis).collect()))
        }
        fn processor(&self) -> Time {
            Time::default()
        }
        fn end(self: Box<Self>) -> Result<Vec<(Kind, f64)>, Failure> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn units_are_right() {
        let mut figures = Figures::new("t");
        for test in [Test::Down, Test::SmallUp, Test::Ping] {
            measure(&mut figures, "a", &mut Known(250_000), test, 2.0).unwrap();
        }
        let values: Vec<(&str, f64)> = figures
            .metrics()
            .iter()
            .map(|metric| (metric.kind.name.as_str(), metric.rows()[0].values[0]))
            .collect();
        assert_eq!(values[0].0, "TCP down");
        assert!((values[0].1 - 1.0).abs() < 1e-9, "{values:?}");
        assert_eq!(values[1], ("idle, median", 50.5));
        assert_eq!(values[2], ("idle, 95 % are faster", 96.0));
    }

    #[test]
    fn the_command_is_told_as_a_shell_reads_it() {
        let line = |words: &[&str]| command_line(words.iter().map(OsString::from));
        assert_eq!(
            line(&["/usr/bin/uwwan", "bench", "--ntb", "16,32"]),
            "uwwan bench --ntb 16,32"
        );
        assert_eq!(
            line(&["uwwan", "", "a b", "it's", "$x"]),
            r"uwwan '' 'a b' 'it'\''s' '$x'"
        );
        assert!(now().starts_with("20") && now().ends_with('Z'));
    }

    #[test]
    fn nothing_is_an_error() {
        let mut figures = Figures::new("t");
        let failure = measure(&mut figures, "a", &mut Known(0), Test::Up, 1.0).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NoTraffic);
        assert!(figures.metrics().is_empty());
    }
}
