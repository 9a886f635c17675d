//! The boundary of a setting: the least value that works, or the largest.

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_modem::status::FramingStatus;

use super::bench::Bench;
use super::cell::{Cell, Dimension};
use super::outcome::{Outcome, Result as Trial};
use super::subject::Common;
use crate::checks::{bad, words};
use crate::failure::{Failure, FailureKind};
use crate::output::{note, say, say_json};

/// Arguments of `lab bisect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan lab bisect settle --device emulator --knob settle_ms=300
  uwwan lab bisect block-size --device emulator
  uwwan lab bisect max-datagrams --from 1 --to 200 -- --apn internet
  uwwan lab bisect max-datagrams --to 2000 --beyond     more than the modem announced

It looks for the least settle pause, or for the largest of the others, at which every trial is delivered. All
values between the boundary and the good end are taken to work.")]
pub struct BisectArguments {
    /// Setting whose boundary is looked for
    #[arg(value_name = "SETTING", value_parser = words(Boundary::VALUES))]
    boundary: Boundary,
    #[command(flatten)]
    common: Common,
    /// Least value: settle in milliseconds, sizes in bytes [default: 0, 2048 or 1]
    #[arg(long, value_name = "N")]
    from: Option<u32>,
    /// Largest value [default: 2000 ms, 65536 or 131072 bytes, 1000 datagrams]
    #[arg(long, value_name = "N")]
    to: Option<u32>,
    /// Distance of values that are told apart [default: 10 ms, 512 bytes, 1 datagram]
    #[arg(long, value_name = "N")]
    step: Option<u32>,
    /// Trials of each value, all of which have to be delivered
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    tries: u32,
    /// Let the value exceed what the modem announced
    #[arg(long)]
    beyond: bool,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

/// A boundary, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Bisected {
    /// Device with its name.
    device: String,
    /// Copy of `device`.
    #[schemars(extend("deprecated" = true))]
    modem: String,
    /// Unit of the values.
    unit: &'static str,
    /// Last value that works; null when there is none.
    boundary: Option<u32>,
    /// Whether the boundary is the least value that works, instead of the largest.
    least: bool,
    /// Values that were tried, in their order.
    tried: Vec<Tried>,
}

/// Runs the command.
///
/// # Errors
/// Fails when an option makes no sense, when there is no modem, or when a file cannot be written.
pub fn run(arguments: &BisectArguments) -> Result<(), Failure> {
    let boundary = arguments.boundary;
    let (from, to, step) = boundary.usual();
    let (mut bench, about) = arguments.common.bench(arguments.beyond)?;
    let search = Search {
        boundary,
        from: arguments.from.unwrap_or(from),
        to: arguments.to.unwrap_or(to),
        step: arguments.step.unwrap_or(step),
        tries: arguments.tries,
        beside: &[],
    };
    let unit = boundary.unit();
    let mut tried = Vec::new();
    let found = search.run(&mut bench, |value| {
        if !arguments.json {
            let detail = match value.last.detail.as_str() {
                "" => String::new(),
                detail => format!(" ({})", crate::output::plain(detail)),
            };
            let word = value.last.outcome.word();
            say(format!("{:>8} {unit}  {word}{detail}", value.value))?;
            if !value.last.capture.is_empty() {
                note(format!("captured in {}", value.last.capture));
            }
        }
        tried.push(value.clone());
        Ok(())
    })?;
    bench.stop();
    if arguments.json {
        return say_json(&Bisected {
            device: about.to_string(),
            modem: about.to_string(),
            unit,
            boundary: found,
            least: boundary.is_least(),
            tried,
        });
    }
    let which = if boundary.is_least() {
        "least"
    } else {
        "largest"
    };
    match found {
        Some(value) => say(format!("the {which} that works: {value} {unit}")),
        None => Err(Failure::new(FailureKind::NoTraffic, "there is no boundary to find")
            .because(format!(
                "the value that was taken for good does not work: {}",
                tried.last().map_or("", |value| value.last.outcome.word())
            ))
            .next("choose another range with --from and --to, or find out by uwwan lab discover what is needed")),
    }
}

/// Setting whose boundary is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// Least pause in configuration 0, in milliseconds.
    Settle,
    /// Largest NTB to the device, in bytes.
    BlockSize,
    /// Largest NTB from the device, in bytes.
    InputSize,
    /// Largest number of datagrams in an NTB.
    MaxDatagrams,
}

impl Boundary {
    /// All boundaries with their words.
    pub const VALUES: &'static [(&'static str, Self)] = &[
        ("settle", Self::Settle),
        ("block-size", Self::BlockSize),
        ("input-size", Self::InputSize),
        ("max-datagrams", Self::MaxDatagrams),
    ];

    /// Returns the dimension, and the value in the form that the dimension takes.
    fn value(self, number: u32) -> (Dimension, String) {
        match self {
            Self::Settle => (Dimension::Settle, format!("{}", f64::from(number) / 1000.0)),
            Self::BlockSize => (Dimension::BlockSize, number.to_string()),
            Self::InputSize => (Dimension::InputSize, number.to_string()),
            Self::MaxDatagrams => (Dimension::MaxDatagrams, number.to_string()),
        }
    }

    /// Returns whether the least value is looked for, rather than the largest.
    pub fn is_least(self) -> bool {
        self == Self::Settle
    }

    /// Returns the bounds and the step that apply unless others are chosen.
    pub fn usual(self) -> (u32, u32, u32) {
        match self {
            Self::Settle => (0, 2_000, 10),
            Self::BlockSize => (2_048, 65_536, 512),
            Self::InputSize => (2_048, 131_072, 512),
            Self::MaxDatagrams => (1, 1_000, 1),
        }
    }

    /// Returns the value in use, where the device may have another one than was chosen.
    fn used(self, framing: &FramingStatus) -> Option<u32> {
        match self {
            Self::Settle => None,
            Self::BlockSize => Some(framing.output_size),
            Self::InputSize => Some(framing.input_size),
            Self::MaxDatagrams => Some(framing.max_datagrams),
        }
    }

    /// Returns the unit of the values.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Settle => "ms",
            Self::BlockSize | Self::InputSize => "bytes",
            Self::MaxDatagrams => "datagrams",
        }
    }
}

/// A value that was tried.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Tried {
    /// Value.
    pub value: u32,
    /// Whether every trial was delivered.
    pub works: bool,
    /// Last trial.
    pub last: Trial,
}

/// Looks for a boundary between two values, both of which may be it.
pub struct Search<'a> {
    /// Setting whose boundary is looked for.
    pub boundary: Boundary,
    /// Least value.
    pub from: u32,
    /// Largest value.
    pub to: u32,
    /// Distance of values that are told apart.
    pub step: u32,
    /// Number of trials that all have to be delivered.
    pub tries: u32,
    /// Settings of the cell beside the one whose boundary is looked for.
    pub beside: &'a [(Dimension, &'a str)],
}

impl Search<'_> {
    /// Returns the last value that works on the way from the good end to the other, or `None` when the
    /// good end does not work. `told` is called after each value.
    ///
    /// # Errors
    /// Those of [`Bench::trial`].
    pub fn run(
        &self,
        bench: &mut Bench,
        mut told: impl FnMut(&Tried) -> Result<(), Failure>,
    ) -> Result<Option<u32>, Failure> {
        if self.from > self.to || self.step == 0 {
            return Err(bad(
                "from",
                format!("{} is more than {}", self.from, self.to),
            ));
        }
        let steps = (self.to - self.from) / self.step;
        let least = self.boundary.is_least();
        let value = |steps: u32| match least {
            // The steps lead away from the end that is taken for good.
            true => self.to - steps * self.step,
            false => self.from + steps * self.step,
        };
        boundary(steps, |at| {
            let tried = self.try_value(bench, value(at))?;
            told(&tried)?;
            Ok(tried.works)
        })
        .map(|found| found.map(value))
    }

    fn try_value(&self, bench: &mut Bench, number: u32) -> Result<Tried, Failure> {
        let (dimension, value) = self.boundary.value(number);
        let mut values = self.beside.to_vec();
        values.retain(|(known, _)| *known != dimension);
        values.push((dimension, &value));
        let cell = Cell::of(&values);
        let mut last = None;
        for _ in 0..self.tries.max(1) {
            if dimension == Dimension::Settle {
                // Each trial has a bring-up of its own.
                bench.stop();
            }
            let mut result = bench.trial(&cell)?;
            if let Some(used) = bench
                .framing()
                .and_then(|framing| self.boundary.used(&framing))
                && used != number
                && result.outcome == Outcome::Delivered
            {
                // The device's own limit has applied instead.
                result.outcome = Outcome::Lost;
                result.detail = format!("the device allows {used} {}", self.boundary.unit());
            }
            let works = result.outcome == Outcome::Delivered;
            last = Some(result);
            if !works {
                break;
            }
        }
        let last = last.unwrap_or_else(|| Trial::not_online(String::new(), 0.0));
        Ok(Tried {
            value: number,
            works: last.outcome == Outcome::Delivered,
            last,
        })
    }
}

/// Returns the last number from 0 to `most` that works, if every number before one that works does,
/// too. Returns `None` when 0 does not work.
fn boundary(
    most: u32,
    mut works: impl FnMut(u32) -> Result<bool, Failure>,
) -> Result<Option<u32>, Failure> {
    if !works(0)? {
        return Ok(None);
    }
    if most == 0 || works(most)? {
        return Ok(Some(most));
    }
    let (mut good, mut bad) = (0, most);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if works(middle)? {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Ok(Some(good))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_works_is_found_with_few_trials() {
        for most in [0, 1, 2, 7, 100] {
            for last in 0..=most {
                let mut count = 0;
                let found = boundary(most, |at| {
                    count += 1;
                    Ok(at <= last)
                });
                assert_eq!(found.unwrap(), Some(last), "{most}");
                assert!(count <= 2 + most.checked_ilog2().unwrap_or(0) + 1);
            }
        }
        assert_eq!(boundary(10, |_| Ok(false)).unwrap(), None);
    }

    #[test]
    fn the_usual_bounds_are_values_that_their_option_takes() {
        for (_, boundary) in Boundary::VALUES {
            let (from, to, step) = boundary.usual();
            assert!(from < to && step > 0);
            for number in [from, to] {
                let (dimension, value) = boundary.value(number);
                let cell = Cell::of(&[(dimension, &value)]);
                let base = uwwan_modem::Options::default();
                super::super::cell::Setting::of(&cell, &base).unwrap();
            }
        }
    }
}
