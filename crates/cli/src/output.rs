//! Lines on standard output and standard error, and figures with units that people read.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uwwan_mbim::print::json_line;
use uwwan_modem::{Failure, FailureKind};

use log::Level;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use crate::journal::About;
use crate::json;
use crate::output_queue::{self, Errors};

pub use uwwan_modem::failure::plain;

/// Writes one line to standard output.
///
/// # Errors
/// [`FailureKind::Closed`] when the reader of standard output went away, so that `uwwan … | head`
/// ends quietly. There is no error where the output is queued, as it is for a command that keeps
/// running.
pub fn say(line: impl AsRef<str>) -> Result<(), Failure> {
    say_about(line, About::program(Level::Info))
}

/// Does as [`say`]; where lines go to the journal, the entry has this weight and subject.
///
/// # Errors
/// Those of [`say`].
pub fn say_about(line: impl AsRef<str>, about: About) -> Result<(), Failure> {
    let clear = if COUNTING.swap(false, Ordering::Relaxed) {
        CLEAR
    } else {
        ""
    };
    write(&format!("{clear}{}{}\n", stamp(), line.as_ref()), about)
}

fn write(text: &str, about: About) -> Result<(), Failure> {
    output_queue::out(text, about).map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::new(FailureKind::Closed, "standard output was closed")
        } else {
            Failure::new(FailureKind::Host, "cannot write to standard output").because(error)
        }
    })
}

/// Whether lines on standard output begin with the time.
static STAMPED: AtomicBool = AtomicBool::new(false);

/// Makes every line on standard output begin with the time from here on, and every JSON object carry
/// it as `time` (RFC 3339, UTC, microseconds).
pub fn stamp_lines() {
    STAMPED.store(true, Ordering::Relaxed);
}

/// Returns the time and a space, if lines begin with it.
fn stamp() -> String {
    let stamped = STAMPED.load(Ordering::Relaxed);
    match stamped {
        true => now() + " ",
        false => String::new(),
    }
}

/// Returns the time in the form of RFC 3339, in UTC, with microseconds.
pub fn now() -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// Whether standard output ends with a line that the next one replaces.
static COUNTING: AtomicBool = AtomicBool::new(false);

/// Writes a line to a terminal on standard output that the next line replaces.
///
/// # Errors
/// Those of [`say`].
pub fn count(line: impl AsRef<str>) -> Result<(), Failure> {
    COUNTING.store(false, Ordering::Relaxed);
    let text = format!("{CLEAR}{}{}", stamp(), line.as_ref());
    write(&text, About::program(Level::Debug))?;
    COUNTING.store(true, Ordering::Relaxed);
    Ok(())
}

/// Sequence that moves to the begin of a terminal's line and clears the line (ECMA-48 CR and EL).
const CLEAR: &str = "\r\x1b[K";

/// Writes one line to standard error. A closed standard error is no failure.
pub fn note(line: impl AsRef<str>) {
    let _ = Errors(Level::Info).write_all(format!("{}\n", line.as_ref()).as_bytes());
}

/// Writes a value to standard output as one line of JSON, with the version of the forms.
///
/// # Errors
/// Those of [`say`].
pub fn say_json<T: Serialize + JsonSchema + ?Sized>(value: &T) -> Result<(), Failure> {
    say_json_about(value, About::program(Level::Info))
}

/// Does as [`say_json`]; where lines go to the journal, the entry has this weight and subject.
///
/// # Errors
/// Those of [`say`].
pub fn say_json_about<T: Serialize + JsonSchema + ?Sized>(
    value: &T,
    about: About,
) -> Result<(), Failure> {
    let value = serde_json::to_value(value).map_err(|error| {
        Failure::new(FailureKind::Host, "cannot write the answer as JSON").because(error)
    })?;
    write_value(value, about)
}

/// Does as [`say_json`] with a value whose form the caller knows: that of another process, or of a
/// library.
///
/// # Errors
/// Those of [`say`].
pub fn say_value(value: Value) -> Result<(), Failure> {
    write_value(value, About::program(Level::Info))
}

fn write_value(mut value: Value, about: About) -> Result<(), Failure> {
    json::versioned(&mut value);
    if STAMPED.load(Ordering::Relaxed)
        && let Some(fields) = value.as_object_mut()
    {
        fields.insert("time".into(), now().into());
    }
    write(&format!("{}\n", json_line(&value)), about)
}

/// Returns JSON in which those control characters are escaped that RFC 8259 permits in a string: DEL
/// and those of ECMA-48's C1 set, by which text from outside could steer a terminal.
pub fn harmless(json: String) -> String {
    if !json.contains(char::is_control) {
        return json;
    }
    let escaped = json.chars().map(|character| match character {
        control if control.is_control() => format!("\\u{:04x}", u32::from(control)),
        other => other.to_string(),
    });
    escaped.collect()
}

/// Returns a number of bytes with a decimal unit: `16.8 MB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1_000, "kB"),
    ];
    for (size, unit) in UNITS {
        if count >= size {
            return format!("{:.1} {unit}", count as f64 / size as f64);
        }
    }
    format!("{count} B")
}

/// Returns a time, given in seconds, with up to three significant digits and a unit: `3.1 ms`,
/// `1.20 s`, `2 min 5 s`.
pub fn seconds(value: f64) -> String {
    if value < 0.001 {
        format!("{:.0} µs", value * 1e6)
    } else if value < 1.0 {
        format!("{:.1} ms", value * 1e3)
    } else if value < 60.0 {
        format!("{value:.2} s")
    } else {
        let whole = value as u64;
        match whole {
            0..3_600 => format!("{} min {} s", whole / 60, whole % 60),
            3_600..86_400 => format!("{} h {} min", whole / 3_600, whole / 60 % 60),
            _ => format!("{} d {} h", whole / 86_400, whole / 3_600 % 24),
        }
    }
}

/// Returns the throughput in Mbit/s (10⁶ bits per second) of `count` bytes moved in `time`; 0 when
/// no time passed.
pub fn mbit_s(count: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 {
        count as f64 * 8.0 / 1e6 / seconds
    } else {
        0.0
    }
}

/// Returns a value rounded to `digits` decimals, for figures in JSON.
pub fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_change_where_they_should() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_000), "1.0 kB");
        assert_eq!(bytes(16_777_216), "16.8 MB");
        assert_eq!(seconds(0.000_25), "250 µs");
        assert_eq!(seconds(0.003_14), "3.1 ms");
        assert_eq!(seconds(1.2), "1.20 s");
        assert_eq!(seconds(125.0), "2 min 5 s");
        assert_eq!(seconds(7_260.0), "2 h 1 min");
        assert_eq!(seconds(90_000.0), "1 d 1 h");
    }

    #[test]
    fn no_string_in_json_steers_a_terminal() {
        let text = "a\u{1b}[2J\u{7f}\u{9b}é";
        let json = harmless(serde_json::to_string(text).unwrap());
        assert_eq!(json, r#""a\u001b[2J\u007f\u009bé""#);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn throughput_is_in_bits() {
        assert!((mbit_s(1_000_000, Duration::from_secs(1)) - 8.0).abs() < 1e-9);
        assert_eq!(mbit_s(5, Duration::ZERO), 0.0);
    }
}
