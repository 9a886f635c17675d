//! Discovery: finds the settings that an unknown modem needs, by few trials, each of which depends on
//! the last.
//!
//! ```text
//! format and NDP place   each place in the format that is usual, then in the other
//! alignment              as announced, else the least that works
//! padding                the three ends of an NTB that fills its last packet
//! largest NTB            as announced, else the largest that works
//! datagrams              as announced, or as many as fit, else the most that work
//! NTBs from the device   as announced, else smaller
//! settle pause           the least after which MBIM_OPEN is answered
//! ```
//!
//! The result is a row of the quirk table, with the evidence.

use uwwan_modem::status::FramingStatus;
use uwwan_ncm::NtbParameters;

use super::bench::Bench;
use super::bisect::{Boundary, Search, Tried};
use super::cell::{Cell, Dimension};
use super::found::{Chosen, Discovery, Evidence, Finding, row};
use super::outcome::{Outcome, Result as Trial};
use super::subject::Common;
use super::trial::Shape;
use crate::checks::within;
use crate::failure::{Failure, FailureKind};
use crate::output::{note, say, say_json, seconds};

/// Arguments of `lab discover`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan lab discover --device emulator
  uwwan lab discover --device emulator --knob black_hole_ndp_front=off --knob ntb_end=zlp
  uwwan lab discover --failures evidence -- --apn internet > modem.toml
      the row on standard output, the evidence on standard error, a capture of each trial that failed

It finds format and NDP place, alignment, padding, the largest NTBs, the most datagrams and the least settle pause,
and prints a row of the quirk table: put it into /etc/uwwan/quirks.d or ~/.config/uwwan/quirks.d.")]
pub struct DiscoverArguments {
    #[command(flatten)]
    common: Common,
    /// Largest settle pause that is tried, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    settle_limit: u32,
    /// Trials of each setting, all of which have to be delivered
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    tries: u32,
    /// Print what was found, with the evidence, as one line of JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Fails when an option makes no sense, when there is no modem, or when a file cannot be written.
pub fn run(arguments: &DiscoverArguments) -> Result<(), Failure> {
    within("settle-limit", arguments.settle_limit, 0, 600_000)?;
    let (mut bench, about) = arguments.common.bench(false)?;
    let discoverer = Discoverer {
        bench: &mut bench,
        tries: arguments.tries,
        settle: arguments.settle_limit,
        tell: |line: String| {
            note(crate::output::plain(&line));
            Ok(())
        },
    };
    let found = discoverer.run(about.vendor, about.product, &about.name)?;
    if arguments.json {
        return say_json(&found);
    }
    say(found.row.trim_end())
}

/// Largest NTB that the driver makes room for, in bytes.
const LARGEST: u32 = 256 * 1024;
/// Largest NTB in bytes that NTB16 can describe in whole packets of 512 bytes.
const LARGEST_16: u32 = 65_024;
/// Largest NTB to the device that the driver builds, in bytes.
const LARGEST_OUT: u32 = 65_536;
/// Largest number of datagrams that is tried where the device announces no limit.
const MOST_DATAGRAMS: u32 = 1_000;
/// Sizes of NTBs from the device that are tried where the announced one does not work, in bytes.
const SMALLER: [u32; 4] = [65_536, 32_768, 16_384, 8_192];
/// Divisors of the offsets of datagrams that are tried where the announced one does not work, in bytes. All
/// of them divide the last.
const DIVISORS: [&str; 5] = ["4", "8", "16", "32", "64"];
/// Distance of settle pauses that are told apart, in milliseconds.
const SETTLE_STEP: u32 = 25;

/// Discovery of one modem.
pub struct Discoverer<'a, T> {
    /// Bench that runs the modem.
    pub bench: &'a mut Bench,
    /// Number of trials that all have to be delivered.
    pub tries: u32,
    /// Largest settle pause that is tried, in milliseconds.
    pub settle: u32,
    /// Callback that is called with each line of the report.
    pub tell: T,
}

impl<T: FnMut(String) -> Result<(), Failure>> Discoverer<'_, T> {
    /// Finds out the settings that the modem with these ids needs.
    ///
    /// # Errors
    /// Those of [`Bench::trial`], and [`FailureKind::NoTraffic`] when no layout carries a datagram.
    pub fn run(mut self, vendor: u16, product: u16, name: &str) -> Result<Discovery, Failure> {
        let mut found = Discovery::default();
        let mut chosen = Chosen::default();
        let announced = self.place(&mut found, &mut chosen)?;
        self.alignment(&mut found, &mut chosen, &announced)?;
        self.padding(&mut found, &mut chosen)?;
        self.largest(&mut found, &mut chosen, &announced)?;
        self.datagrams(&mut found, &mut chosen, &announced)?;
        self.input(&mut found, &mut chosen, &announced)?;
        let settle = self.settle(&mut found, &chosen)?;
        self.bench.stop();
        found.row = row(vendor, product, name, &chosen, settle, &found.firmware);
        Ok(found)
    }

    fn say(&mut self, text: impl Into<String>) -> Result<(), Failure> {
        (self.tell)(text.into())
    }

    /// Tries a cell and reports the outcome. The worst of the trials counts.
    fn attempt(
        &mut self,
        values: &[(Dimension, &str)],
        name: &str,
        shape: Shape,
    ) -> Result<Trial, Failure> {
        let cell = Cell::of(values);
        let mut worst: Option<Trial> = None;
        for _ in 0..self.tries.max(1) {
            let result = self.bench.make(&cell, shape)?;
            let over = result.outcome != Outcome::Delivered;
            if worst
                .as_ref()
                .is_none_or(|worst| result.outcome > worst.outcome)
            {
                worst = Some(result);
            }
            if over {
                break;
            }
        }
        let result = worst.unwrap_or_else(|| Trial::not_online(String::new(), 0.0));
        self.say(format!("  {name}: {}", told(&result)))?;
        Ok(result)
    }

    /// Finds format and place of the NDP. Returns the layout with the values that the device
    /// announced.
    fn place(
        &mut self,
        found: &mut Discovery,
        chosen: &mut Chosen,
    ) -> Result<FramingStatus, Failure> {
        self.say("format and NDP place")?;
        let mut evidence = Vec::new();
        let mut announced: Option<FramingStatus> = None;
        let mut works: Vec<(&'static str, &'static str)> = Vec::new();
        let mut last = String::new();
        // Where no layout works, the announced alignment may be wrong.
        let aligned = DIVISORS.last().copied();
        let layouts = [None, aligned].into_iter();
        for (divisor, ntb) in layouts.flat_map(|divisor| ["16", "32"].map(|ntb| (divisor, ntb))) {
            chosen.divisor = divisor;
            for ndp in ["front", "end"] {
                let name = match divisor {
                    None => format!("NTB{ntb}, NDP {ndp}"),
                    Some(divisor) => format!("NTB{ntb}, NDP {ndp}, multiples of {divisor} bytes"),
                };
                // The right padding is not known yet.
                let mut values = chosen.values();
                values.extend([(Dimension::Ntb, ntb), (Dimension::Ndp, ndp)]);
                let result = self.attempt(&values, &name, Shape::Lone)?;
                if let Some(framing) = self.bench.framing() {
                    found.firmware = self.bench.firmware().unwrap_or_default();
                    let other = framing.format != ntb;
                    announced = announced.or(Some(framing));
                    if other {
                        // The device has one format alone.
                        continue;
                    }
                }
                last = result.detail.clone();
                if result.answered > 0 {
                    works.push((ntb, ndp));
                }
                evidence.push(Evidence::new(name, &result));
            }
            if !works.is_empty() || announced.is_none() && divisor.is_none() && ntb == "32" {
                break;
            }
        }
        let both = works.len() == 2;
        let Some((ntb, ndp)) = works.last().copied() else {
            let failure = Failure::new(
                FailureKind::NoTraffic,
                "no layout of NTBs carries a datagram",
            );
            return Err(match announced {
                None => failure
                    .because(format!("the modem does not come online: {last}"))
                    .next(
                        "bring it online with uwwan up first, and give the same options behind --",
                    ),
                Some(_) => failure
                    .because("nobody has answered")
                    .next("name an address that answers echo requests: --target ADDRESS"),
            });
        };
        let why = match both {
            true => "both places work; at the end the NDP is as short as it can be",
            false => "the other place loses everything",
        };
        (chosen.ntb, chosen.ndp) = (Some(ntb), Some(ndp));
        let value = format!("NTB{ntb}, NDP {ndp}");
        self.found(found, "format and NDP place", Some(value), why, evidence)?;
        Ok(announced.unwrap_or_default())
    }

    /// Finds the offsets at which datagrams may lie in an NTB.
    fn alignment(
        &mut self,
        found: &mut Discovery,
        chosen: &mut Chosen,
        announced: &FramingStatus,
    ) -> Result<(), Failure> {
        self.say("alignment of datagrams")?;
        let told = announced.announced.unwrap_or(NtbParameters::FALLBACK);
        let (divisor, remainder) = (told.out_divisor, told.out_remainder);
        let mut evidence = Vec::new();
        let attempt = |own: &mut Self, divisor, evidence: &mut Vec<Evidence>| {
            let aligned = Chosen {
                divisor,
                ..chosen.clone()
            };
            let name = match divisor {
                None => "as announced".to_owned(),
                Some("1") => "anywhere".to_owned(),
                Some(divisor) => format!("multiples of {divisor} bytes"),
            };
            let result = own.attempt(&aligned.values(), &name, Shape::Lengths)?;
            evidence.push(Evidence::new(name, &result));
            Ok::<_, Failure>(result.outcome == Outcome::Delivered)
        };
        let announced = chosen.divisor.is_none() && attempt(self, None, &mut evidence)?;
        let anywhere = attempt(self, Some("1"), &mut evidence)?;
        let mut least = None;
        if !announced && !anywhere {
            for divisor in DIVISORS {
                if attempt(self, Some(divisor), &mut evidence)? {
                    least = Some(divisor);
                    break;
                }
            }
        }
        let (value, why) = match (announced, anywhere, least) {
            (true, true, _) => (
                Some(format!("{divisor} bytes, remainder {remainder}")),
                "as announced; datagrams anywhere are taken as well",
            ),
            (true, false, _) => (
                Some(format!("{divisor} bytes, remainder {remainder}")),
                "as announced; datagrams anywhere are not taken",
            ),
            (false, true, _) => (
                Some("1 bytes, remainder 0".to_owned()),
                "what is announced does not work, and anywhere does",
            ),
            (false, false, least) => (
                least.map(|least| format!("{least} bytes, remainder 0")),
                "what is announced does not work; this is the least that does",
            ),
        };
        chosen.divisor = match (announced, anywhere) {
            (true, _) => None,
            (false, true) => Some("1"),
            (false, false) => least,
        };
        self.found(found, "alignment of datagrams", value, why, evidence)
    }

    fn padding(&mut self, found: &mut Discovery, chosen: &mut Chosen) -> Result<(), Failure> {
        self.say("end of an NTB that fills its last packet")?;
        let mut evidence = Vec::new();
        let mut works = Vec::new();
        for pad in ["zlp", "short", "full"] {
            let mut values = chosen.values();
            values.push((Dimension::Pad, pad));
            let result = self.attempt(&values, pad, Shape::Whole)?;
            if result.outcome == Outcome::Delivered {
                works.push(pad);
            }
            evidence.push(Evidence::new(pad.to_owned(), &result));
        }
        let why = match works.len() {
            0 => "none delivers everything; the driver's own is left",
            1 => "nothing else delivers everything",
            _ => "it adds least of those that deliver everything",
        };
        chosen.pad = works.first().copied();
        let value = chosen.pad.map(str::to_owned);
        self.found(found, "padding", value, why, evidence)
    }

    fn largest(
        &mut self,
        found: &mut Discovery,
        chosen: &mut Chosen,
        announced: &FramingStatus,
    ) -> Result<(), Failure> {
        self.say("largest NTB to the device")?;
        let told = announced.announced.map_or(0, |it| it.out_max);
        let limit = match chosen.ntb {
            Some("32") => LARGEST_OUT,
            _ => LARGEST_16,
        };
        let most = match told {
            0 => announced.output_size,
            told => told,
        };
        let most = most.min(limit);
        let value = self.search(
            Boundary::BlockSize,
            2_048.min(most),
            most,
            512,
            found,
            chosen,
        )?;
        if value != Some(most) || told == 0 {
            chosen.block_size = value.map(|value| value.to_string());
        }
        Ok(())
    }

    fn datagrams(
        &mut self,
        found: &mut Discovery,
        chosen: &mut Chosen,
        announced: &FramingStatus,
    ) -> Result<(), Failure> {
        self.say("most datagrams in an NTB")?;
        let told = announced.announced.map_or(0, |it| it.out_max_datagrams);
        let most = match told {
            0 => MOST_DATAGRAMS.min(announced.output_size / 64).max(1),
            told => u32::from(told),
        };
        let value = self.search(Boundary::MaxDatagrams, 1, most, 1, found, chosen)?;
        if value != Some(most) {
            chosen.max_datagrams = value.map(|value| value.to_string());
        }
        Ok(())
    }

    fn input(
        &mut self,
        found: &mut Discovery,
        chosen: &mut Chosen,
        announced: &FramingStatus,
    ) -> Result<(), Failure> {
        self.say("largest NTB from the device")?;
        let told = announced.announced.map_or(0, |it| it.in_max);
        let first = told.clamp(2_048, LARGEST);
        let sizes = SMALLER.into_iter().filter(|size| *size < first);
        let mut evidence = Vec::new();
        let mut best = None;
        for size in std::iter::once(first).chain(sizes) {
            let text = size.to_string();
            let mut values = chosen.values();
            values.push((Dimension::InputSize, &text));
            let result = self.attempt(&values, &format!("{size} bytes"), Shape::Whole)?;
            let used = self.bench.framing().map(|framing| framing.input_size);
            let works = result.outcome == Outcome::Delivered && used == Some(size);
            evidence.push(Evidence::new(text, &result));
            if works {
                best = Some(size);
                break;
            }
        }
        if best != Some(first) {
            chosen.input_size = best.map(|size| size.to_string());
        }
        let why = match best == Some(told) {
            true => "as announced",
            false => "what is larger does not work",
        };
        let value = best.map(|size| format!("{size} bytes"));
        self.found(found, "largest NTB from the device", value, why, evidence)
    }

    /// Finds the least settle pause, in milliseconds.
    fn settle(&mut self, found: &mut Discovery, chosen: &Chosen) -> Result<Option<u32>, Failure> {
        self.say("pause between configuration 0 and the MBIM configuration")?;
        let mut own = chosen.clone();
        self.search(
            Boundary::Settle,
            0,
            self.settle,
            SETTLE_STEP,
            found,
            &mut own,
        )
    }

    /// Finds a boundary and reports it.
    fn search(
        &mut self,
        boundary: Boundary,
        from: u32,
        to: u32,
        step: u32,
        found: &mut Discovery,
        chosen: &mut Chosen,
    ) -> Result<Option<u32>, Failure> {
        let mut evidence = Vec::new();
        let beside = chosen.values();
        let search = Search {
            boundary,
            from,
            to,
            step,
            tries: self.tries,
            beside: &beside,
        };
        let unit = boundary.unit();
        let tell = &mut self.tell;
        let mut note = |tried: &Tried| {
            let value = format!("{} {unit}", tried.value);
            evidence.push(Evidence::new(value, &tried.last));
            tell(format!("  {} {unit}: {}", tried.value, told(&tried.last)))
        };
        // The largest value is the likely boundary, and is tried first unless the least is looked
        // for.
        let value = if boundary.is_least() {
            search.run(self.bench, note)?
        } else {
            let whole = Search { from: to, ..search };
            match whole.run(self.bench, &mut note)? {
                Some(value) => Some(value),
                None => Search { from, ..whole }.run(self.bench, note)?,
            }
        };
        let why = match (value, boundary.is_least()) {
            (None, _) => "nothing works".to_owned(),
            (Some(value), true) if value == from => "no pause is needed".to_owned(),
            (Some(_), true) => format!("{step} ms less do not suffice"),
            (Some(value), false) if value == to => "as announced, or as much as fits".to_owned(),
            (Some(_), false) => "more does not work".to_owned(),
        };
        let what = match boundary {
            Boundary::Settle => "settle pause",
            Boundary::BlockSize => "largest NTB to the device",
            Boundary::InputSize => "largest NTB from the device",
            Boundary::MaxDatagrams => "datagrams in an NTB",
        };
        let text = value.map(|value| format!("{value} {unit}"));
        self.found(found, what, text, &why, evidence)?;
        Ok(value)
    }

    fn found(
        &mut self,
        found: &mut Discovery,
        what: &'static str,
        chosen: Option<String>,
        why: &str,
        evidence: Vec<Evidence>,
    ) -> Result<(), Failure> {
        let value = chosen.as_deref().unwrap_or("nothing works");
        self.say(format!("  → {value}: {why}"))?;
        found.findings.push(Finding {
            what,
            chosen,
            why: why.to_owned(),
            evidence,
        });
        Ok(())
    }
}

/// Returns the outcome of a trial in words.
fn told(result: &Trial) -> String {
    let word = result.outcome.word();
    let mut text = match result.outcome {
        Outcome::Delivered => match result.rtt_ms {
            Some(rtt) => format!("{word}, round trip {}", seconds(rtt / 1e3)),
            None => word.to_owned(),
        },
        Outcome::NotOnline | Outcome::Gone => word.to_owned(),
        _ => format!("{word}, {} of {} answered", result.answered, result.sent),
    };
    if !result.detail.is_empty() {
        text.push_str(&format!(" ({})", result.detail));
    }
    if !result.capture.is_empty() {
        text.push_str(&format!(", captured in {}", result.capture));
    }
    text
}
