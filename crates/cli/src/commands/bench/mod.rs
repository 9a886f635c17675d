//! `uwwan bench` measures throughput, latency and cost of several settings, side by side.
//!
//! Every contender is visited in every round (A B A B), so that other load of the machine affects
//! all of them. A visit brings a link up, measures, and takes it down. There are three kinds of
//! links:
//!
//! * [`emulated`]: the driver and the emulated modem in this process, between the TCP of two
//!   private network namespaces, with real TUN interfaces; beside it [`ceiling`]: a cable in the
//!   modem's place, and the same bytes merely copied.
//! * [`loopback`]: NTBs that one thread builds and another parses.
//! * [`modem`]: a real modem, through a running `uwwan up` or one started for it, and an iperf3
//!   server.

mod ceiling;
mod compare;
mod contenders;
mod cost;
mod emulated;
mod far;
mod iperf3;
mod link;
mod loopback;
mod modem;
mod near;
pub(super) mod outcome;
mod profile;
mod report;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use crossbeam_channel::Receiver;
use uwwan_figures::{Figures, table};
use uwwan_modem::options::{Format, Mode, Padding, Placement, Table, TunMode};
use uwwan_usb::backend::BackendKind;

use self::contenders::Contender;
use self::iperf3::Server;
use self::link::{Link, Test};
use self::profile::Profile;
use self::report::Files;
use super::info::framing_words;
use crate::capture;
use crate::checks::{bad, within, words};
use crate::failure::{Failure, FailureKind};
use crate::output::{note, plain, say, say_json, seconds};
use crate::reach::interrupts;
use crate::settings::Device;
use crate::userspace::options::Net;

/// Greatest number of contenders.
const MOST_CONTENDERS: usize = 24;

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan bench                                 the emulated modem: no hardware, no root
  uwwan bench --block-size 4096,16384 --in-flight 1,4
      every combination, visited in turn
  uwwan bench --tun-mode offload,plain        many packets a call of the TUN beside one
  uwwan bench --test up --ack-filter true,false
  uwwan bench --mode mbim,ncm,ecm             the three ways of one modem
  uwwan bench --profile lte --test down,ping-down    at the rate and delay of LTE
  uwwan bench --net kernel,userspace          the kernel's stack beside the built-in one
  uwwan bench --device loopback --ntb 16,32   NTBs alone: built, taken apart
  uwwan bench --server iperf.example.net      a real modem, through the `uwwan up` that runs
  uwwan bench --device 1-4.2 --server 192.0.2.9:5201 --usb libusb,nusb -- --apn internet
      a real modem, with an `uwwan up` of its own for each visit
  uwwan bench --capture t.pcapng --snap 128 --capture-compare
      what a capture costs: without, with, in turn
  uwwan bench --rounds 5 --report bench.html --csv bench.csv --json > bench.json
  uwwan bench compare bench.json later.json   runs that were saved, side by side

Without hardware, all of it runs in two private network namespaces: the host's TCP, a TUN interface,
the driver, the emulated modem, a second TUN interface, the far machine's TCP. They share this
machine's processors, so compare rates with each other and with veth (a cable between the same two
machines, which the kernel never makes packets of the link's size for) and memcpy. --tun-mode is the
driver's; the far machine's interface is plain.

A real modem needs `iperf3` and `ping` here and `iperf3 --server` on a machine that it reaches. Each
second of a test moves as much as the network carries, and somebody pays for it.

Ctrl-C ends it after the measurement at work; what was measured by then is shown, and kept as asked.
The exit status is 0 only if every measurement succeeded.")]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to measure: `emulator`, `loopback`, or a modem as in `uwwan up`
    /// [default: emulator; with --server the modem that runs]
    #[arg(long, short, value_name = "DEVICE")]
    device: Option<Subject>,
    /// With a real modem: the iperf3 server to measure against [default port: 5201]
    #[arg(long, value_name = "HOST[:PORT]")]
    server: Option<Server>,
    /// What to measure [default: all; with a real modem not the small packets]
    #[arg(long = "test", value_name = "TEST", value_delimiter = ',', value_parser = words(Test::VALUES))]
    tests: Vec<Test>,
    /// Length of a measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    seconds: f64,
    /// Visits of each contender
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Leave out what has no modem in it: veth and memcpy
    #[arg(long)]
    no_ceiling: bool,
    /// Print the figures as one line of JSON; everything else goes to standard error
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    files: report::FileOptions,
    /// With the emulated modem: its link. `wire` has no bound, `bus` is a high-speed bus (426 Mbit/s),
    /// `lte` and `lte-a` are LTE of category 4 and 6 behind one, with delay and jitter
    #[arg(long, value_name = "LINK", value_parser = words(Profile::VALUES))]
    profile: Option<Profile>,
    /// With the emulated modem: what its firmware does, as name=value; may be repeated
    #[arg(long = "knob", value_name = "NAME=VALUE")]
    knobs: Vec<String>,
    #[command(flatten)]
    capture: capture::Options,
    /// With the emulated modem: visit each contender without and with the capture, which is made anew in
    /// each visit
    #[arg(long, requires = "capture", help_heading = "Capture")]
    capture_compare: bool,
    /// Where running modems keep their control sockets
    #[arg(long, value_name = "DIR", env = "UWWAN_RUNTIME_DIR")]
    runtime_dir: Option<PathBuf>,

    /// NDP at the end or in front of the datagrams; several, by commas, are compared
    #[arg(long, value_name = "PLACE", value_delimiter = ',', value_parser = words(Placement::VALUES), help_heading = "To compare")]
    ndp: Vec<Placement>,
    /// NTB format to the modem, in bits
    #[arg(long, value_name = "BITS", value_delimiter = ',', value_parser = words(Format::VALUES), help_heading = "To compare")]
    ntb: Vec<Format>,
    /// NDP as long as needed or of the kernel driver's fixed size
    #[arg(long, value_name = "SIZE", value_delimiter = ',', value_parser = words(Table::VALUES), help_heading = "To compare")]
    table: Vec<Table>,
    /// How an NTB ends that fills its last packet
    #[arg(long, value_name = "HOW", value_delimiter = ',', value_parser = words(Padding::VALUES), help_heading = "To compare")]
    pad: Vec<Padding>,
    /// Largest NTB to the modem in bytes
    #[arg(
        long,
        value_name = "BYTES",
        value_delimiter = ',',
        help_heading = "To compare"
    )]
    block_size: Vec<u32>,
    /// Largest NTB from the modem in bytes
    #[arg(
        long,
        value_name = "BYTES",
        value_delimiter = ',',
        help_heading = "To compare"
    )]
    input_size: Vec<u32>,
    /// Transfers kept in flight in each direction
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        help_heading = "To compare"
    )]
    in_flight: Vec<usize>,
    /// What drives the USB device; for a real modem
    #[arg(long, value_name = "BACKEND", value_delimiter = ',', value_parser = words(BackendKind::VALUES), help_heading = "To compare")]
    usb: Vec<BackendKind>,
    /// How packets cross the TUN interface: many a call (offload) or one (plain) [default: offload,
    /// or plain from a kernel without]
    #[arg(long, value_name = "MODE", value_delimiter = ',', value_parser = words(TunMode::VALUES), help_heading = "To compare")]
    tun_mode: Vec<TunMode>,
    /// How the modem carries packets; for the emulated modem and modems that have several ways
    #[arg(long, value_name = "MODE", value_delimiter = ',', value_parser = words(Mode::VALUES), help_heading = "To compare")]
    mode: Vec<Mode>,
    /// With the emulated modem: where the data session ends, in a TUN interface (kernel) or in the built-in
    /// stack (userspace), whose TCP is measured then
    #[arg(long, value_name = "WHERE", value_delimiter = ',', value_parser = words(Net::VALUES), help_heading = "To compare")]
    net: Vec<Net>,
    /// Whether superseded acknowledgements to this host are left out
    #[arg(
        long,
        value_name = "BOOL",
        value_delimiter = ',',
        help_heading = "To compare"
    )]
    ack_filter: Vec<bool>,

    /// Further options of the `uwwan up` that is started for a real modem
    #[arg(last = true, value_name = "OPTION OF UP")]
    up: Vec<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Set saved runs side by side
    Compare(compare::Arguments),
}

/// The object that a bench measures.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    /// NTBs without a device.
    Loopback,
    /// A device that `uwwan up` could drive.
    Device(Device),
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "loopback" {
            return Ok(Self::Loopback);
        }
        text.parse()
            .map(Self::Device)
            .map_err(|why| format!("{why}, or loopback"))
    }
}

/// Visits every contender and shows the figures.
///
/// This function must be called while the process has a single thread: a user namespace can be
/// entered only then.
///
/// # Errors
/// Fails when an option makes no sense, or when a measurement did not succeed.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(Command::Compare(arguments)) = &arguments.command {
        return compare::run(arguments);
    }
    within("seconds", arguments.seconds, 0.05, 600.0)?;
    let subject = arguments.subject();
    arguments.check(&subject)?;
    let contenders = arguments.contenders()?;
    let link = arguments.profile.unwrap_or(Profile::Wire);
    let knobs = crate::emulated::turn(link.knobs(), &arguments.knobs)?;
    let files = Files::open(&arguments.files)?;
    let capture = arguments.capture.prepare()?;
    let captured = arguments.captured(&contenders);
    let mut bench = match subject {
        Subject::Device(Device::Emulator) => {
            emulated::enter()?;
            if captured.is_empty() {
                capture.start()?;
            }
            let mut bench = Bench::new(arguments, "uwwan and an emulated modem")?;
            bench.figures.fact("link", link.word());
            for (name, value) in knobs.changed() {
                bench.figures.fact("knob", format!("{name}={value}"));
            }
            bench
        }
        Subject::Loopback => Bench::new(arguments, "NTBs, built and taken apart")?,
        Subject::Device(Device::Usb(_)) => Bench::new(arguments, "uwwan and a modem")?,
    };
    match &subject {
        Subject::Device(Device::Emulator) => {
            let knobs = &knobs;
            // The file exists from the beginning; each visit writes it anew.
            let again = capture::Options {
                capture_force: true,
                ..arguments.capture.clone()
            };
            let again = &again;
            let mut visits: Vec<Visit<'_>> = Vec::new();
            if captured.is_empty() {
                visits.extend(contenders.iter().map(|contender| {
                    let start = move || emulated::Emulated::start(contender, knobs, None, true);
                    Visit::new(&contender.name, move || Ok(Box::new(start()?)))
                }));
            }
            for (contender, names) in contenders.iter().zip(&captured) {
                for (name, captures) in names.iter().zip([false, true]) {
                    visits.push(Visit::new(name, move || {
                        let capture = match captures {
                            true => again.prepare()?.begin()?.map(|(capture, _)| capture),
                            false => None,
                        };
                        let link = emulated::Emulated::start(contender, knobs, capture, captures)?;
                        Ok(Box::new(link))
                    }));
                }
            }
            if !arguments.no_ceiling {
                visits.push(Visit::new("veth, no modem", || {
                    Ok(Box::new(ceiling::Cable::lay()?))
                }));
                visits.push(Visit::new("memcpy", || {
                    Ok(Box::new(ceiling::Copying::new(false)))
                }));
            }
            bench.rounds(&mut visits)?;
        }
        Subject::Loopback => {
            let mut visits: Vec<Visit<'_>> = Vec::new();
            for contender in &contenders {
                let options = contender.options()?;
                let start = move || loopback::Loopback::new(&options);
                visits.push(Visit::new(&contender.name, move || Ok(Box::new(start()))));
            }
            if !arguments.no_ceiling {
                visits.push(Visit::new("memcpy", || {
                    Ok(Box::new(ceiling::Copying::new(true)))
                }));
            }
            bench.rounds(&mut visits)?;
        }
        Subject::Device(Device::Usb(selector)) => {
            let server = arguments.server.as_ref().ok_or_else(no_server)?;
            let place = modem::Place::choose(
                arguments.device.is_some().then_some(selector),
                arguments.runtime_dir.as_deref(),
                &contenders,
                &arguments.up,
                server,
            )?;
            let place = &place;
            let mut visits: Vec<Visit<'_>> = contenders
                .iter()
                .map(|contender| {
                    Visit::new(&contender.name, move || {
                        Ok(Box::new(place.visit(contender)?))
                    })
                })
                .collect();
            bench.rounds(&mut visits)?;
        }
    }
    bench.finish(files)
}

fn no_server() -> Failure {
    Failure::new(FailureKind::Usage, "there is nothing to measure against")
        .at("--server")
        .because("a real modem is measured with an iperf3 server beyond it")
        .next("run `iperf3 --server` on a machine that the modem reaches, and name it: --server HOST[:PORT]")
        .next("or measure without hardware: uwwan bench --device emulator")
}

impl Arguments {
    fn subject(&self) -> Subject {
        match (&self.device, &self.server) {
            (Some(subject), _) => subject.clone(),
            (None, Some(_)) => Subject::Device(Device::Usb(uwwan_modem::Selector::Any)),
            (None, None) => Subject::Device(Device::Emulator),
        }
    }

    /// Refuses options that would be without effect.
    fn check(&self, subject: &Subject) -> Result<(), Failure> {
        let real = matches!(subject, Subject::Device(Device::Usb(_)));
        let emulated = *subject == Subject::Device(Device::Emulator);
        let loopback = *subject == Subject::Loopback;
        for (option, given, wrong, why) in [
            (
                "usb",
                !self.usb.is_empty(),
                !real,
                "only a real modem is reached through USB",
            ),
            (
                "server",
                self.server.is_some(),
                !real,
                "only a real modem reaches a server",
            ),
            (
                "capture",
                self.capture.capture.is_some(),
                !emulated,
                "only the emulated modem is opened by this process; for a real one, -- --capture FILE",
            ),
            (
                "capture-compare",
                self.capture_compare,
                !emulated,
                "only the emulated modem is visited without and with a capture",
            ),
            (
                "capture-compare",
                self.capture_compare,
                self.capture.capture.as_deref() == Some(Path::new("-")),
                "standard output is one file, and each visit makes another",
            ),
            (
                "knob",
                !self.knobs.is_empty(),
                !emulated,
                "only the emulated modem has knobs",
            ),
            (
                "profile",
                self.profile.is_some(),
                !emulated,
                "only the emulated modem has a link to choose",
            ),
            (
                "tun-mode",
                !self.tun_mode.is_empty(),
                loopback,
                "NTBs alone cross no TUN interface",
            ),
            (
                "mode",
                !self.mode.is_empty(),
                loopback,
                "a loopback has no modem",
            ),
            (
                "net",
                !self.net.is_empty(),
                !emulated,
                "only the emulated modem is driven by this process",
            ),
            (
                "ack-filter",
                !self.ack_filter.is_empty(),
                loopback,
                "NTBs alone cross no TUN interface",
            ),
            (
                "input-size",
                !self.input_size.is_empty(),
                loopback,
                "in a loopback one NTB serves both ends",
            ),
            (
                "",
                !self.up.is_empty(),
                !real,
                "options of `uwwan up` are for a real modem",
            ),
            (
                "no-ceiling",
                self.no_ceiling,
                real,
                "nothing but the modem is measured",
            ),
        ] {
            if given && wrong {
                return Err(bad(option, why));
            }
        }
        if real && self.server.is_none() {
            return Err(no_server());
        }
        let tests = self.tests(subject);
        if let Some(test) = tests.iter().find(|test| loopback && test.is_ping()) {
            return Err(bad(
                "test",
                format!("{}: NTBs alone answer no ping", test.word()),
            ));
        }
        Ok(())
    }

    /// Returns the names of each contender without and with a capture, where these are compared.
    fn captured(&self, contenders: &[Contender]) -> Vec<[String; 2]> {
        let compared = contenders.iter().filter(|_| self.capture_compare);
        compared
            .map(|it| ["not captured", "captured"].map(|how| format!("{}, {how}", it.name)))
            .collect()
    }

    fn tests(&self, subject: &Subject) -> Vec<Test> {
        let all = Test::VALUES.iter().map(|(_, test)| *test);
        match subject {
            _ if !self.tests.is_empty() => self.tests.clone(),
            Subject::Device(Device::Emulator) => all.collect(),
            // A loopback has one direction.
            Subject::Loopback => vec![Test::Up, Test::SmallUp],
            Subject::Device(Device::Usb(_)) => all.filter(|test| !test.is_small()).collect(),
        }
    }

    fn contenders(&self) -> Result<Vec<Contender>, Failure> {
        fn texts<T: ToString>(values: &[T]) -> Vec<String> {
            values.iter().map(ToString::to_string).collect()
        }
        let backends = self.usb.iter().filter_map(|kind| {
            let mut named = BackendKind::VALUES.iter();
            named
                .find(|(_, value)| value == kind)
                .map(|(name, _)| (*name).to_owned())
        });
        let nets = self.net.iter().filter_map(|net| {
            let mut named = Net::VALUES.iter();
            named
                .find(|(_, value)| value == net)
                .map(|(name, _)| (*name).to_owned())
        });
        let all = contenders::combine(&[
            ("usb", backends.collect()),
            ("net", nets.collect()),
            ("tun-mode", texts(&self.tun_mode)),
            ("mode", texts(&self.mode)),
            ("ack-filter", texts(&self.ack_filter)),
            ("ntb", texts(&self.ntb)),
            ("ndp", texts(&self.ndp)),
            ("table", texts(&self.table)),
            ("pad", texts(&self.pad)),
            ("block-size", texts(&self.block_size)),
            ("input-size", texts(&self.input_size)),
            ("in-flight", texts(&self.in_flight)),
        ]);
        if all.len() > MOST_CONTENDERS {
            return Err(
                Failure::new(FailureKind::Usage, "there is too much to compare")
                    .because(format!(
                        "{} combinations are more than {MOST_CONTENDERS}",
                        all.len()
                    ))
                    .next("compare fewer options at once"),
            );
        }
        // A value out of range is reported before the first visit.
        for contender in &all {
            contender.options()?;
        }
        Ok(all)
    }
}

/// A contender, with the function that brings its link up.
struct Visit<'a> {
    name: &'a str,
    start: Box<dyn Fn() -> Result<Box<dyn Link>, Failure> + 'a>,
    failed: bool,
}

impl<'a> Visit<'a> {
    fn new(name: &'a str, start: impl Fn() -> Result<Box<dyn Link>, Failure> + 'a) -> Self {
        Self {
            name,
            start: Box::new(start),
            failed: false,
        }
    }
}

/// A bench at work, with its figures and failures so far.
struct Bench<'a> {
    arguments: &'a Arguments,
    tests: Vec<Test>,
    interrupts: Receiver<i32>,
    figures: Figures,
    failures: Vec<(String, Failure)>,
    /// Round in which the user has ended the bench.
    ended_in: Option<u32>,
}

impl<'a> Bench<'a> {
    fn new(arguments: &'a Arguments, title: &str) -> Result<Self, Failure> {
        let interrupts = interrupts()?;
        let mut figures = Figures::new(title);
        for (name, value) in outcome::machine() {
            figures.fact(name, value);
        }
        figures.fact("rounds", arguments.rounds.to_string());
        figures.fact("seconds a measurement", arguments.seconds.to_string());
        Ok(Self {
            arguments,
            tests: arguments.tests(&arguments.subject()),
            interrupts,
            figures,
            failures: Vec::new(),
            ended_in: None,
        })
    }

    /// Prints a line for people: on standard output, or on standard error when standard output is
    /// for JSON.
    fn tell(&self, line: &str) -> Result<(), Failure> {
        if self.arguments.json {
            note(line);
            Ok(())
        } else {
            say(line)
        }
    }

    fn interrupted(&self) -> Result<(), Failure> {
        if self.interrupts.is_empty() {
            Ok(())
        } else {
            Err(Failure::new(FailureKind::Cancelled, "interrupted")
                .because("what was measured by then is shown; nothing is left behind"))
        }
    }

    /// Visits every contender once in every round, until the user interrupts. A contender that has
    /// failed is not visited again.
    fn rounds(&mut self, visits: &mut [Visit<'_>]) -> Result<(), Failure> {
        let (begun, mut done) = (Instant::now(), 0);
        for round in 1..=self.arguments.rounds {
            let rounds_left = self.arguments.rounds - round;
            for at in 0..visits.len() {
                let beside = |all: &[Visit<'_>]| all.iter().filter(|it| !it.failed).count();
                let left = beside(&visits[at..]) + rounds_left as usize * beside(visits);
                let visit = &mut visits[at];
                if visit.failed {
                    continue;
                }
                if !self.interrupts.is_empty() {
                    self.ended_in = Some(round);
                    return Ok(());
                }
                let a_visit = begun.elapsed().checked_div(done);
                let time_left = a_visit.map_or_else(String::new, |time| {
                    let all = time.as_secs_f64() * left as f64;
                    format!(", about {} left", seconds(all))
                });
                self.tell(&format!(
                    "round {round} of {}: {}{time_left}",
                    self.arguments.rounds, visit.name
                ))?;
                done += 1;
                if let Err(failure) = self.visit(visit) {
                    if matches!(failure.kind, FailureKind::Closed | FailureKind::Usage) {
                        return Err(failure);
                    }
                    // The measuring programs are interrupted by the same key.
                    if !self.interrupts.is_empty() {
                        self.ended_in = Some(round);
                        return Ok(());
                    }
                    note(format!("{}: error: {failure}", plain(visit.name)));
                    visit.failed = true;
                    self.failures.push((visit.name.to_owned(), failure));
                }
            }
        }
        Ok(())
    }

    fn visit(&mut self, visit: &Visit<'_>) -> Result<(), Failure> {
        let mut link = (visit.start)()?;
        if let Some(framing) = link.framing() {
            let (name, words) = (format!("agreed, {}", visit.name), framing_words(&framing));
            self.figures.fact_once(&name, words);
        }
        let measured = self.measure(visit.name, link.as_mut());
        let ended = link.end();
        measured?;
        for (kind, value) in ended? {
            self.figures.record(&kind, visit.name, value);
        }
        Ok(())
    }

    fn measure(&mut self, name: &str, link: &mut dyn Link) -> Result<(), Failure> {
        for test in self.tests.clone() {
            self.interrupted()?;
            outcome::measure(&mut self.figures, name, link, test, self.arguments.seconds)?;
        }
        Ok(())
    }

    /// Writes the files and prints the figures. Fails with the kind of the first failure when a
    /// contender failed, and when the user interrupted.
    fn finish(mut self, files: Files) -> Result<(), Failure> {
        outcome::notes(&mut self.figures);
        if let Some(round) = self.ended_in {
            let text = format!("in round {round} of {}", self.arguments.rounds);
            self.figures.fact("interrupted", text);
        }
        for (name, failure) in &self.failures {
            self.figures
                .fact("failed", format!("{name}: {}", failure.one_line()));
        }
        files.write(&self.figures)?;
        if self.arguments.json {
            say_json(&outcome::Output::of(&self.figures, &self.failures))?;
        } else if !self.figures.metrics().is_empty() {
            say("")?;
            say(table::of(&self.figures).trim_end())?;
        }
        self.interrupted()?;
        // Each failure has been printed already.
        match self.failures.first() {
            None => Ok(()),
            Some((_, first)) => Err(Failure::new(
                first.kind,
                format!("{} of the contenders failed", self.failures.len()),
            )),
        }
    }
}
