//! `uwwan lab`: what a modem's firmware does with settings that are varied.
//!
//! * [`sweep`]: every combination of values, several times in random order.
//! * [`bisect`]: the boundary of one value.
//! * [`discover`]: what a modem that nobody knows needs, as a row of the quirk table.
//!
//! A [`cell`] is one combination of values. The [bench](mod@bench) brings the modem online with it ([`link`]),
//! whose host's end ([`host`]) sends [marked datagrams](echo) for each [`trial`]. Results go into a
//! [`journal`] and a [`report`].

mod bench;
mod bisect;
mod cell;
pub(super) mod discover;
mod echo;
mod failures;
mod host;
mod journal;
mod link;
mod outcome;
pub(super) mod report;
mod sweep;
mod trial;

#[cfg(fuzzing)]
pub use journal::parse as results;

use std::fs::OpenOptions;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_modem::Selector;
use uwwan_usb::backend::BackendKind;

use self::bench::Bench;
use self::bisect::{Boundary, Search};
use self::cell::{Dimension, Matrix};
use self::discover::Discoverer;
use self::failures::Failures;
use self::journal::{Journal, Plan};
use self::link::Subject;
use self::report::Report;
use self::sweep::Sweep;
use self::trial::Prober;
use crate::candidates;
use crate::capture;
use crate::checks::{bad, within, words};
use crate::emulated::EmulatedModem;
use crate::failure::{Failure, FailureKind};
use crate::modem_manager::{Inhibitor, Kept};
use crate::output::{note, say, say_json};
use crate::settings::{Device, Settings};
use crate::signals;

/// Arguments of `lab`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Command of the laboratory.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Try every combination of settings, several times in random order
    Sweep(Box<SweepArguments>),
    /// Find the boundary of a setting: the least settle pause, the largest NTB
    Bisect(Box<BisectArguments>),
    /// Find out what a modem that nobody knows needs, and print its row of the quirk table
    Discover(Box<DiscoverArguments>),
}

/// Modem to try, and how.
#[derive(Debug, clap::Args)]
struct Common {
    /// The modem: vendor:product (03f0:a31d), port (1-4.2), bus/device (3/12), or `emulator`. Needed only
    /// when several are present
    #[arg(long, short, value_name = "DEVICE")]
    device: Option<Device>,
    /// What drives the USB device [default: libusb]
    #[arg(long, value_name = "BACKEND", value_parser = words(BackendKind::VALUES))]
    usb: Option<BackendKind>,
    #[command(flatten)]
    emulated: EmulatedModem,
    /// Address that answers echo requests [default: whichever gateway or name server answers]
    #[arg(long, value_name = "ADDRESS")]
    target: Option<IpAddr>,
    /// Time for which an answer is waited for
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    wait: f64,
    /// Time for which MBIM_OPEN may stay unanswered
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
    open_wait: f64,
    /// Time within which the modem must be online, and be back after a trial that it did not survive
    #[arg(long, value_name = "SECONDS", default_value_t = 180.0)]
    online_wait: f64,
    #[command(flatten)]
    capture: capture::Options,
    /// Leave a capture of each trial that fails in this directory, up to 100 of them
    #[arg(long, value_name = "DIR", help_heading = "Capture")]
    failures: Option<PathBuf>,
    /// Further options of `uwwan up`, such as --apn and --pin-file
    #[arg(last = true, value_name = "OPTION OF UP")]
    up: Vec<String>,
}

/// Arguments of `lab sweep`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan lab sweep --device emulator --ndp end,front --pad short,zlp,full
  uwwan lab sweep --ntb 16,32 --block-size 2048,4096,16384 --tries 5 --results sweep.jsonl -- --apn internet
  uwwan lab sweep --resume sweep.jsonl --report sweep.html    go on after an interruption
  uwwan lab sweep --divisor 1,4,32 --remainder 0,2            alignments the modem did not announce
  uwwan lab sweep --max-datagrams 10,100,1000 --beyond        more than it announced
  uwwan lab sweep --sequence rising,constant,random --empty 0,1
  uwwan lab sweep --order usual,size-first,alternate-first,open-first --ntb 16,32

Each trial sends marked echo requests: one short, as many short ones as an NTB may have, one that makes
its NTB fill the last packet, and as many long ones as an NTB holds. What becomes of a trial: delivered (all
answered unchanged), halted (delivered, with an endpoint halt), lost, corrupted, gone (the device or its
session), or not online. A modem that is gone is brought back, and the sweep goes on.

Cells share a session as far as they can: order, settle, ntb, block-size, input-size and in-flight take one
of their own. Ctrl-C keeps what is over. Each trial sends up to some 100 KB, and somebody pays for it.")]
struct SweepArguments {
    #[command(flatten)]
    common: Common,
    /// Pauses in configuration 0, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    settle: Vec<String>,
    /// Formats of NTBs: 16, 32
    #[arg(
        long,
        value_name = "BITS",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    ntb: Vec<String>,
    /// Largest NTBs to the modem, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    block_size: Vec<String>,
    /// Largest NTBs from the modem, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    input_size: Vec<String>,
    /// Numbers of transfers in flight
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    in_flight: Vec<String>,
    /// Places of the NDP: end, front
    #[arg(
        long,
        value_name = "PLACE",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    ndp: Vec<String>,
    /// Sizes of the NDP: minimal, full
    #[arg(
        long,
        value_name = "SIZE",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    table: Vec<String>,
    /// Ends of an NTB that fills its last packet: short, full, zlp
    #[arg(
        long,
        value_name = "HOW",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    pad: Vec<String>,
    /// Numbers of datagrams in an NTB to the modem
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    max_datagrams: Vec<String>,
    /// Divisors of the offsets of datagrams, in bytes, in place of what the modem announced
    #[arg(
        long,
        value_name = "BYTES",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    divisor: Vec<String>,
    /// Remainders of the offsets of datagrams, in bytes, in place of what the modem announced
    #[arg(
        long,
        value_name = "BYTES",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    remainder: Vec<String>,
    /// Alignments of NDPs, in bytes, in place of what the modem announced
    #[arg(
        long,
        value_name = "BYTES",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    ndp_alignment: Vec<String>,
    /// Pauses between NTBs, in milliseconds
    #[arg(
        long,
        value_name = "MS",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    pause: Vec<String>,
    /// Courses of wSequence: rising, constant (0), random, restart (0 after every second), skip (every
    /// other left out)
    #[arg(
        long,
        value_name = "COURSE",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    sequence: Vec<String>,
    /// Numbers of NTBs without datagrams in front of each NTB, 0 to 7
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    empty: Vec<String>,
    /// Orders of the bring-up's requests: usual (format, input size, data alternate setting, MBIM_OPEN),
    /// size-first, alternate-first, open-first
    #[arg(
        long,
        value_name = "ORDER",
        value_delimiter = ',',
        help_heading = "To vary"
    )]
    order: Vec<String>,
    /// Let --block-size and --max-datagrams exceed what the modem announced
    #[arg(long, help_heading = "To vary")]
    beyond: bool,

    /// Trials of each cell
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    tries: u32,
    /// Seed of the order [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Write each trial into this file as soon as it is over
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    results: Option<PathBuf>,
    /// Go on with what this file has not yet; the values to vary are those in it
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Print the results as one line of JSON
    #[arg(long)]
    json: bool,
    /// Write the results as CSV
    #[arg(long, value_name = "FILE.csv")]
    csv: Option<PathBuf>,
    /// Write a page with a heat map
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
}

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
struct BisectArguments {
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
struct DiscoverArguments {
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

/// Device on the bench, for people and for the quirk table.
struct About {
    vendor: u16,
    product: u16,
    name: String,
}

/// Runs the command.
///
/// # Errors
/// Fails when an option makes no sense, when there is no modem, or when a file cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Sweep(arguments) => run_sweep(arguments),
        Command::Bisect(arguments) => run_bisect(arguments),
        Command::Discover(arguments) => run_discover(arguments),
    }
}

impl Common {
    /// Returns the bench with the modem on it, which is not online yet.
    fn bench(&self, beyond: bool) -> Result<(Bench, About), Failure> {
        within("wait", self.wait, 0.05, 600.0)?;
        within("open-wait", self.open_wait, 0.1, 600.0)?;
        within("online-wait", self.online_wait, 1.0, 3600.0)?;
        let mut base = Settings::from_words(&self.up)?.options()?;
        base.experiment.beyond = beyond;
        let capture = self.capture.prepare()?;
        let failures = self.failures.as_deref().map(Failures::new).transpose()?;
        let (backend, selector) = match &self.device {
            Some(Device::Emulator) => {
                let wanted = self.emulated.wanted()?;
                capture.start()?;
                let backend = wanted.start_in_process()?.backend;
                (capture::observed(backend), wanted.selector())
            }
            other => {
                self.emulated.refuse()?;
                capture.start()?;
                let selector = match other {
                    Some(Device::Usb(selector)) => selector.clone(),
                    _ => Selector::Any,
                };
                let inhibitor = Inhibitor::start();
                let access = Arc::new(Kept::new(inhibitor));
                let backend = self.usb.unwrap_or_default().start_through(access);
                let backend = capture::observed(backend);
                (backend, selector)
            }
        };
        let candidate = match self.device {
            // Nothing but this process has it.
            Some(Device::Emulator) => candidates::select(backend.as_ref(), &selector)?,
            _ => candidates::usable(backend.as_ref(), &selector, false, None)?,
        };
        if candidate.is_ethernet() {
            return Err(
                Failure::new(FailureKind::Usage, "the laboratory takes MBIM modems only")
                    .at(candidate.name())
                    .because(
                        "it is a plain network device, whose network tells no addresses to send to and from",
                    )
                    .next("bring it online with uwwan up --capture FILE, and send it NTBs with uwwan ntb build and uwwan ntb send"),
            );
        }
        let identity = &candidate.found.identity;
        let about = About {
            vendor: identity.vendor,
            product: identity.product,
            name: candidate.model(),
        };
        let interrupted = signals::first().map_err(|error| {
            Failure::new(FailureKind::Host, "cannot wait for signals").because(error)
        })?;
        let subject = Subject {
            backend,
            // A modem that comes back after a crash may have another product id.
            selector: match self.device {
                Some(Device::Emulator) => selector,
                _ => Selector::Port(identity.port.clone()),
            },
            online_time: Duration::from_secs_f64(self.online_wait),
            open_time: Duration::from_secs_f64(self.open_wait),
            interrupted: interrupted.clone(),
        };
        let wait = Duration::from_secs_f64(self.wait);
        let prober = Prober::new(self.target, wait, interrupted);
        Ok((Bench::new(subject, prober, base, failures), about))
    }
}

impl SweepArguments {
    fn matrix(&self) -> Matrix {
        Matrix::new(vec![
            (Dimension::Order, self.order.clone()),
            (Dimension::Settle, self.settle.clone()),
            (Dimension::Ntb, self.ntb.clone()),
            (Dimension::BlockSize, self.block_size.clone()),
            (Dimension::InputSize, self.input_size.clone()),
            (Dimension::InFlight, self.in_flight.clone()),
            (Dimension::NdpAlignment, self.ndp_alignment.clone()),
            (Dimension::Divisor, self.divisor.clone()),
            (Dimension::Remainder, self.remainder.clone()),
            (Dimension::MaxDatagrams, self.max_datagrams.clone()),
            (Dimension::Table, self.table.clone()),
            (Dimension::Pause, self.pause.clone()),
            (Dimension::Sequence, self.sequence.clone()),
            (Dimension::Empty, self.empty.clone()),
            (Dimension::Pad, self.pad.clone()),
            (Dimension::Ndp, self.ndp.clone()),
        ])
    }
}

fn run_sweep(arguments: &SweepArguments) -> Result<(), Failure> {
    let given = arguments.matrix();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let (matrix, plan, journal, entries) = match &arguments.resume {
        Some(path) => {
            if !given.dimensions().is_empty() {
                return Err(bad("resume", "the values to vary are those in the file")
                    .next("leave them out, or begin another sweep"));
            }
            let (journal, plan, entries) = Journal::resume(path)?;
            let matrix = Matrix::read(&plan.dimensions).map_err(|why| {
                Failure::new(FailureKind::Usage, "cannot go on with the results")
                    .at(path.display().to_string())
                    .because(why)
            })?;
            (matrix, plan, Some(journal), entries)
        }
        None => {
            let plan = Plan::new(given.written(), arguments.tries, seed, arguments.beyond);
            let journal = match &arguments.results {
                Some(path) => Some(Journal::create(path, &plan, arguments.force)?),
                None => None,
            };
            (given, plan, journal, Vec::new())
        }
    };
    let cells = matrix.cells()?;
    for path in [&arguments.csv, &arguments.report].into_iter().flatten() {
        if path.exists() && !arguments.force {
            return Err(exists(path));
        }
    }
    let (mut bench, about) = arguments.common.bench(plan.beyond)?;
    let mut sweep = Sweep {
        cells: &cells,
        tries: plan.tries,
        seed: plan.seed,
        entries,
        journal,
    };
    let result = sweep.run(&mut bench);
    bench.stop();
    // What is over is told also when the rest is not to be.
    let facts = vec![
        ("modem".to_owned(), about.to_string()),
        (
            "trials".to_owned(),
            format!(
                "{} of {}",
                sweep.entries.len(),
                cells.len() * plan.tries as usize
            ),
        ),
        ("seed".to_owned(), plan.seed.to_string()),
        (
            "program".to_owned(),
            format!("uwwan {}", env!("CARGO_PKG_VERSION")),
        ),
        ("command".to_owned(), command_line()),
    ];
    let report = Report::new(&matrix, &cells, &sweep.entries, facts);
    if let Some(path) = &arguments.csv {
        write(path, &report.csv())?;
    }
    if let Some(path) = &arguments.report {
        write(path, &report.page())?;
    }
    if arguments.json {
        say_json(&report.json())?;
    } else {
        say(report.table().trim_end())?;
    }
    if let Some(path) = arguments.results.as_ref().or(arguments.resume.as_ref())
        && sweep.left() > 0
    {
        let path = path.display();
        note(format!(
            "{} trials are left: uwwan lab sweep --resume {path}",
            sweep.left()
        ));
    }
    result
}

fn run_bisect(arguments: &BisectArguments) -> Result<(), Failure> {
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

/// A boundary, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Bisected {
    /// Device with its name.
    device: String,
    /// Copy of `device`.
    #[schemars(extend("deprecated" = true))]
    modem: String,
    /// Unit of the values.
    unit: &'static str,
    /// Last value that works; null when there is none.
    boundary: Option<u32>,
    /// Whether it is the least that works, or the largest.
    least: bool,
    /// Values that were tried, in order.
    tried: Vec<bisect::Tried>,
}

fn run_discover(arguments: &DiscoverArguments) -> Result<(), Failure> {
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

impl std::fmt::Display for About {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ({:04x}:{:04x})",
            self.name, self.vendor, self.product
        )
    }
}

/// Returns the command line of this process, for the reader of a report.
fn command_line() -> String {
    let words = std::env::args_os().skip(1);
    let words: Vec<String> = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    format!("uwwan {}", words.join(" "))
}

fn exists(path: &Path) -> Failure {
    Failure::new(FailureKind::Usage, "cannot write the report")
        .at(path.display().to_string())
        .because("the file exists")
        .next("--force replaces it")
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(0o644);
    open.open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| {
            Failure::new(FailureKind::Host, "cannot write the report")
                .at(path.display().to_string())
                .because(error)
        })
}
