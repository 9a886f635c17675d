//! `uwwan demo` shows everything at work on the emulated modem, without hardware or privilege.
//!
//! The process moves into a network namespace of its own, so nothing it does touches the machine's
//! network. There the real driver brings up the emulated modem over the USB backend trait and a
//! real TUN interface; pings, TCP and HTTP are the kernel's own. Where namespaces or TUN interfaces
//! are forbidden, the built-in network stack takes the kernel's place.

pub(super) mod outcome;
mod traffic;

use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use indicatif::{ProgressBar, ProgressStyle};
use uwwan_emulator::{Emulator, FarSide};
use uwwan_figures::Spread;
use uwwan_modem::event::SessionChange;
use uwwan_modem::host::{HostProvider, TunProvider, Userspace};
use uwwan_modem::options::{Format, IpType, Mode, Padding, Placement, Routes, Table, TunMode};
use uwwan_modem::status::Addresses;
use uwwan_modem::{Event, Handle, Modem, Options, Rung, Selector};
use uwwan_netstack::server::{DEFAULT_V4, DEFAULT_V6};

use self::outcome::{Outcome, Ping, RungTime, Switch, Transfer};
use self::traffic::TransferError;
use super::network::{Kernel, Network};
use super::progress::{self, Waiting};
use crate::capture;
use crate::checks::{size, words};
use crate::emulated::EmulatedModem;
use crate::failure::{Failure, FailureKind};
use crate::output::{bytes, count, note, rounded, say, say_json, seconds};
use crate::reach::interrupts;
use crate::session_settings::SessionSettings;
use crate::settings::Settings;
use crate::userspace::options::Net;

/// Longest time for a bring-up.
const ONLINE_TIME: Duration = Duration::from_secs(90);
/// Time after which a modem that does not answer OPEN gets a hint.
const PATIENCE: Duration = Duration::from_secs(5);
/// Symptom of a modem that does not answer OPEN.
const MUTE: &str = "no answer to MBIM_OPEN, as after too short a pause in configuration 0";
/// Remedy for a modem that does not answer OPEN.
const LONGER: &str = "--settle SECONDS makes it longer (emulate knobs settle_ms)";
/// Number of echo requests.
const PINGS: u16 = 10;
/// Longest time to wait for an echo reply.
const PING_TIME: Duration = Duration::from_secs(1);
/// Number of requests without any reply after which no more are sent.
const PINGS_LOST: u32 = 3;
/// Longest time that the driver may take to find out why nothing comes back.
const DIAGNOSIS_TIME: Duration = Duration::from_secs(10);

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan demo                             everything, in a few seconds
  uwwan demo --json | tail -n 1 | jq .download.mbit_s
  uwwan demo --bytes 1G                  larger transfers
  uwwan demo --tun-mode plain            one packet a call instead of many
  uwwan demo --mode ecm                  the modem's plain Ethernet, dialled by AT commands
  uwwan demo --ndp front                 the black hole: connected, and nothing comes back
  uwwan demo --ip-type ipv6              IPv6 refused by the firmware, and why
  uwwan demo --ip-type ipv6 --knob ipv6=on
  uwwan demo --knob settle_ms=5000       firmware that needs more settling than it gets
  uwwan demo --knob settle_ms=5000 --settle 6
  uwwan emulate knobs                    all the knobs

The exit status is 0 only if everything worked: bring-up, every ping, every byte, a clean stop, and
not one rule of USB, NCM or MBIM broken as far as the emulated modem can tell.")]
pub struct Arguments {
    /// Payload of the download and of the upload, each; k, M, G and Ki, Mi, Gi are understood
    #[arg(long, value_name = "SIZE", default_value = "100M", value_parser = size)]
    bytes: u64,
    /// End with one line of JSON; everything else goes to standard error
    #[arg(long)]
    json: bool,
    /// Address families to ask the network for
    #[arg(long, value_name = "TYPE", default_value = "ipv4v6", value_parser = words(IpType::VALUES))]
    ip_type: IpType,
    /// The modem's way to take: MBIM, or NCM or ECM dialled by AT commands [default: MBIM]
    #[arg(long, value_name = "MODE", value_parser = words(Mode::VALUES))]
    mode: Option<Mode>,
    /// Where the NDP stands in NTBs to the modem [default: what the modem needs]
    #[arg(long, value_name = "PLACE", value_parser = words(Placement::VALUES))]
    ndp: Option<Placement>,
    /// NTB format to the modem, in bits [default: what the modem needs]
    #[arg(long, value_name = "BITS", value_parser = words(Format::VALUES))]
    ntb: Option<Format>,
    /// NDP as long as needed, or of the kernel driver's fixed size [default: minimal]
    #[arg(long, value_name = "SIZE", value_parser = words(Table::VALUES))]
    table: Option<Table>,
    /// How an NTB ends that fills its last packet [default: what the modem needs]
    #[arg(long, value_name = "HOW", value_parser = words(Padding::VALUES))]
    pad: Option<Padding>,
    /// How packets cross the TUN interface [default: offload]
    #[arg(long, value_name = "MODE", value_parser = words(TunMode::VALUES))]
    tun_mode: Option<TunMode>,
    /// Largest NTB to the modem in bytes [default: 16384]
    #[arg(long, value_name = "BYTES")]
    block_size: Option<u32>,
    /// Largest NTB from the modem in bytes [default: 65536]
    #[arg(long, value_name = "BYTES")]
    input_size: Option<u32>,
    /// Most datagrams in an NTB to the modem [default: 40]
    #[arg(long, value_name = "N")]
    max_datagrams: Option<u16>,
    /// Transfers kept in flight in each direction [default: 16 from the modem and 8 to it; with ECM 64
    /// and 32]
    #[arg(long, value_name = "N")]
    in_flight: Option<usize>,
    /// Pause between USB configuration 0 and the MBIM configuration [default: what the modem needs]
    #[arg(long, value_name = "SECONDS")]
    settle: Option<f64>,
    #[command(flatten)]
    modem: EmulatedModem,
    #[command(flatten)]
    capture: capture::Options,
    /// Where the data session ends: in a TUN interface of a private network namespace (kernel), or in the
    /// built-in network stack (userspace), which is taken too where no namespace can be had
    #[arg(long, value_name = "WHERE", default_value = "kernel", hide_default_value = true, value_parser = words(Net::VALUES))]
    net: Net,
}

impl Arguments {
    fn options(&self) -> Result<Options, Failure> {
        let settings = Settings {
            session_0: SessionSettings {
                ip_type: Some(self.ip_type),
                tun_mode: self.tun_mode,
                ..SessionSettings::default()
            },
            mode: self.mode,
            settle: self.settle,
            ndp: self.ndp,
            ntb: self.ntb,
            table: self.table,
            pad: self.pad,
            block_size: self.block_size,
            input_size: self.input_size,
            max_datagrams: self.max_datagrams,
            in_flight: self.in_flight,
            ..Settings::default()
        };
        let mut options = settings.options()?;
        for session in &mut options.sessions {
            session.routes = Routes::Default;
        }
        Ok(options)
    }
}

/// The network stack from which the traffic comes.
enum Host {
    /// The kernel's stack, in a private network namespace.
    Kernel,
    /// The built-in stack, with the reason why it is used.
    Userspace(String),
}

/// Runs the demo and prints its outcome.
///
/// This function must be called while the process has a single thread: a user namespace can be
/// entered only then.
///
/// # Errors
/// Fails when anything in the demo did not work.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let begun = Instant::now();
    let modem = arguments.modem.wanted()?;
    if modem.is_ethernet() {
        return Err(Failure::new(FailureKind::Usage, "an option makes no sense")
            .at("--descriptors")
            .because("they are of a plain network device, and the demo shows a modem")
            .next("uwwan up --device emulator takes them as well"));
    }
    let options = arguments.options()?;
    let capture = arguments.capture.prepare()?;
    let host = choose_host(arguments.net);
    capture.start()?;
    let interrupts = interrupts()?;
    let mut demo = Demo {
        json: arguments.json,
        interrupts,
        outcome: Outcome::default(),
        diagnosis: None,
        failed: None,
        trying: None,
        hinted: false,
        addresses: Addresses::default(),
        interface: String::new(),
        waiting: Waiting::default(),
        bar: None,
    };
    match &host {
        Host::Kernel => demo.tell(&format!(
            "an emulated {}, the real driver, a real TUN interface in a private network namespace",
            modem.name()
        ))?,
        Host::Userspace(why) => {
            demo.tell(&format!(
                "{why}; the built-in network stack takes the kernel's place"
            ))?;
            demo.tell(&format!(
                "an emulated {}, the real driver, the built-in network stack",
                modem.name()
            ))?;
        }
    }
    let emulator = modem.start(FarSide::BuiltIn)?;
    let worked = demo.drive(arguments, options, &host, &emulator);
    demo.outcome.seconds = rounded(begun.elapsed().as_secs_f64(), 3);
    let worked = worked.and_then(|()| demo.check(&emulator));
    if let Err(failure) = &worked {
        demo.outcome.error = Some(failure.one_line());
    }
    if arguments.json {
        say_json(&demo.outcome)?;
    } else {
        let host = match host {
            Host::Kernel => format!("kernel TCP over {}", demo.interface),
            Host::Userspace(_) => "the built-in stack".to_owned(),
        };
        if demo.outcome.ping.is_some() {
            say("")?;
            for line in demo.outcome.summary(&host) {
                say(line)?;
            }
        }
        if worked.is_ok() {
            say("everything worked")?;
        }
    }
    worked
}

fn choose_host(net: Net) -> Host {
    if net == Net::Userspace {
        return Host::Userspace("as asked".to_owned());
    }
    if let Err(error) = uwwan_tun::namespace::enter() {
        return Host::Userspace(format!(
            "no private network namespace can be had ({})",
            error.why
        ));
    }
    match uwwan_tun::Tun::open(None) {
        Ok(_) => Host::Kernel,
        Err(error) => Host::Userspace(format!("no TUN interface can be had ({})", error.why)),
    }
}

struct Demo {
    json: bool,
    interrupts: Receiver<i32>,
    outcome: Outcome,
    diagnosis: Option<String>,
    /// The failure of the last bring-up, while it is tried again.
    failed: Option<Failure>,
    /// Rung that is tried, and the time since which it is.
    trying: Option<(Rung, Instant)>,
    /// Whether the remedy for a modem that does not answer OPEN was printed.
    hinted: bool,
    addresses: Addresses,
    interface: String,
    waiting: Waiting,
    bar: Option<ProgressBar>,
}

impl Demo {
    /// Prints a line for people: on standard output, or on standard error when standard output is
    /// for JSON.
    fn tell(&self, line: &str) -> Result<(), Failure> {
        let print = || {
            if self.json {
                note(line);
                Ok(())
            } else {
                say(line)
            }
        };
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Brings the modem up, sends the traffic and stops the modem, whatever happens before that.
    fn drive(
        &mut self,
        arguments: &Arguments,
        options: Options,
        host: &Host,
        emulator: &Emulator,
    ) -> Result<(), Failure> {
        let stack = Userspace::default();
        let (provider, mut network): (Box<dyn HostProvider>, Box<dyn Network>) = match host {
            Host::Kernel => (
                Box::new(TunProvider::default()),
                Box::new(Kernel::default()),
            ),
            Host::Userspace(_) => (Box::new(stack.clone()), Box::new(stack)),
        };
        let (sender, events) = unbounded();
        let handle = Modem::start(
            capture::observed(emulator.backend()),
            Selector::Any,
            options,
            provider,
            Box::new(move |event| {
                let _ = sender.send(event);
            }),
        )?;
        let worked = self
            .wait_online(&events)
            .and_then(|()| self.traffic(arguments.bytes, network.as_mut(), &handle, &events));
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let status = handle.status();
        self.outcome.host_calls = status.traffic.host;
        self.outcome.tun_mode = status.interface().cloned().unwrap_or_default().mode;
        let stopping = Instant::now();
        handle.stop();
        let stopped = handle
            .wait_timeout(Duration::from_secs(30))
            .unwrap_or(Ok(()));
        let late = stopping.elapsed() >= Duration::from_secs(30);
        self.drain(&events)?;
        worked?;
        stopped?;
        if late {
            return Err(Failure::new(
                FailureKind::Timeout,
                "the modem did not stop within 30 s",
            ));
        }
        self.tell(&format!(
            "{:<17}{:>9}",
            "stopped",
            seconds(stopping.elapsed().as_secs_f64())
        ))
    }

    fn wait_online(&mut self, events: &Receiver<Event>) -> Result<(), Failure> {
        let deadline = Instant::now() + ONLINE_TIME;
        loop {
            self.interrupted()?;
            self.wait()?;
            match events.recv_timeout(Duration::from_millis(100)) {
                Ok(event) => {
                    self.take(&event)?;
                    match event {
                        event if event.is_online() => return Ok(()),
                        Event::Stopped {
                            failure: Some(failure),
                        } => return Err(failure),
                        _ => {}
                    }
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => self.hint()?,
                Err(RecvTimeoutError::Timeout) => {
                    let mut failure =
                        Failure::new(FailureKind::Refused, "the emulated modem is not online")
                            .because(format!(
                                "{} have passed",
                                seconds(ONLINE_TIME.as_secs_f64())
                            ));
                    // The last failure has better advice.
                    if let Some(last) = self.failed.take() {
                        failure = failure.because(last.headline());
                        failure.next.extend(last.next);
                    }
                    if self.trying.is_some_and(|(rung, _)| rung == Rung::Open) {
                        failure = failure.because(MUTE).next(LONGER);
                    }
                    return Err(failure.next("uwwan -vv demo shows what it waits for"));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::new(
                        FailureKind::Host,
                        "the driver ended without a word",
                    ));
                }
            }
        }
    }

    /// Prints the remedy, once the modem has not answered OPEN for some time.
    fn hint(&mut self) -> Result<(), Failure> {
        let mute =
            |(rung, since): &(Rung, Instant)| *rung == Rung::Open && since.elapsed() > PATIENCE;
        if self.hinted || !self.trying.as_ref().is_some_and(mute) {
            return Ok(());
        }
        self.hinted = true;
        self.tell(&format!("  {:<15}{MUTE}: {LONGER}", "note"))
    }

    /// Records an event in the outcome, and prints the lines for it. A wait is printed by
    /// [`Demo::wait_online`] when it has lasted.
    fn take(&mut self, event: &Event) -> Result<(), Failure> {
        match event {
            Event::RungDone { rung, seconds, .. } => self.outcome.rungs.push(RungTime {
                rung: *rung,
                name: *rung,
                seconds: rounded(*seconds, 6),
            }),
            Event::Configuration { before, after } => {
                self.outcome.configuration = Some(Switch {
                    before: *before,
                    after: *after,
                });
            }
            Event::Session(event) => match &event.change {
                SessionChange::Addresses(addresses) => {
                    self.outcome.addresses = addresses.list();
                    self.outcome.ip = Some(addresses.clone());
                    self.addresses = addresses.clone();
                }
                SessionChange::Online { interface, .. } => self.interface.clone_from(interface),
                SessionChange::Offline { .. } => {}
            },
            Event::Diagnosis(diagnosis) => self.diagnosis = Some(diagnosis.text.clone()),
            Event::RungStarted { rung } => self.trying = Some((*rung, Instant::now())),
            Event::RungFailed { failure, .. } => self.failed = Some(failure.clone()),
            _ => {}
        }
        match self.waiting.hear(event, Instant::now()) {
            true => self.print(event),
            false => Ok(()),
        }
    }

    /// Prints the lines for an event.
    fn print(&self, event: &Event) -> Result<(), Failure> {
        progress::lines(event)
            .iter()
            .try_for_each(|line| self.tell(line))
    }

    /// Reports what the modem waits for when the wait lasts longer than a second.
    fn wait(&mut self) -> Result<(), Failure> {
        let counts = !self.json && std::io::stdout().is_terminal();
        let Some(event) = self.waiting.due(Instant::now(), counts) else {
            return Ok(());
        };
        match counts {
            true => progress::lines(&event).iter().try_for_each(count),
            false => self.print(&event),
        }
    }

    fn drain(&mut self, events: &Receiver<Event>) -> Result<(), Failure> {
        events.try_iter().try_for_each(|event| self.take(&event))
    }

    fn interrupted(&self) -> Result<(), Failure> {
        if self.interrupts.try_recv().is_ok() {
            Err(cancelled())
        } else {
            Ok(())
        }
    }

    fn traffic(
        &mut self,
        size: u64,
        network: &mut dyn Network,
        handle: &Handle,
        events: &Receiver<Event>,
    ) -> Result<(), Failure> {
        self.outcome.ndp = handle.status().framing.map(|framing| framing.ndp);
        let mut targets: Vec<IpAddr> = Vec::new();
        if self.addresses.ipv4.is_some() {
            targets.push(DEFAULT_V4.into());
        }
        if self.addresses.ipv6.is_some() {
            targets.push(DEFAULT_V6.into());
        }
        let (Some(first), Some(last)) = (targets.first().copied(), targets.last().copied()) else {
            return Err(Failure::new(
                FailureKind::Other,
                "online without any address",
            ));
        };
        self.ping(&targets, network, events)?;
        let time = self.transfer("download", first, size, events, |progress| {
            traffic::download(network, first, size, progress)
        })?;
        self.outcome.download = Some(Transfer::new(size, time));
        let time = self.transfer("upload", last, size, events, |progress| {
            traffic::upload(network, last, size, progress)
        })?;
        self.outcome.upload = Some(Transfer::new(size, time));
        self.drain(events)
    }

    fn ping(
        &mut self,
        targets: &[IpAddr],
        network: &mut dyn Network,
        events: &Receiver<Event>,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut ping = Ping::default();
        let mut times = Vec::new();
        for (sequence, target) in (1..=PINGS).zip(targets.iter().cycle()) {
            self.interrupted()?;
            self.drain(events)?;
            ping.sent += 1;
            let answer = network
                .ping(*target, sequence, PING_TIME)
                .map_err(|error| {
                    Failure::new(FailureKind::NoTraffic, "cannot send an echo request")
                        .at(target.to_string())
                        .because(error)
                })?;
            if let Some(time) = answer {
                ping.received += 1;
                times.push(time.as_secs_f64() * 1e3);
            } else if ping.received == 0 && ping.sent >= PINGS_LOST {
                break;
            }
        }
        ping.rtt_ms_median = Spread::of(&times).map(|times| rounded(times.median, 3));
        self.outcome.ping = Some(ping);
        let median = ping.rtt_ms_median.map_or(String::new(), |ms| {
            format!(", median {}", seconds(ms / 1e3))
        });
        self.tell(&row(
            "ping",
            begun.elapsed(),
            &format!("{} of {} answered{median}", ping.received, ping.sent),
        ))?;
        if ping.received == 0 {
            return Err(self.dead(events)?);
        }
        if ping.received < ping.sent {
            return Err(
                Failure::new(FailureKind::NoTraffic, "echo replies are missing").because(format!(
                    "{} of {} did not come within {}",
                    ping.sent - ping.received,
                    ping.sent,
                    seconds(PING_TIME.as_secs_f64())
                )),
            );
        }
        Ok(())
    }

    /// Gives the driver time to find out why nothing comes back, and returns that as a failure. It
    /// fails itself when it is interrupted.
    fn dead(&mut self, events: &Receiver<Event>) -> Result<Failure, Failure> {
        let deadline = Instant::now() + DIAGNOSIS_TIME;
        while self.diagnosis.is_none() && Instant::now() < deadline {
            self.interrupted()?;
            if let Ok(event) = events.recv_timeout(Duration::from_millis(100)) {
                self.take(&event)?;
            }
        }
        let failure = Failure::new(FailureKind::NoTraffic, "online, but nothing comes back");
        Ok(match self.diagnosis.take() {
            Some(text) => failure.because(text),
            None => failure.because("not one echo request was answered"),
        })
    }

    fn transfer(
        &mut self,
        name: &str,
        target: IpAddr,
        size: u64,
        events: &Receiver<Event>,
        transfer: impl FnOnce(traffic::Progress<'_>) -> Result<Duration, TransferError>,
    ) -> Result<Duration, Failure> {
        // The bar hides itself when standard error is no terminal.
        let bar = ProgressBar::new(size);
        if let Ok(style) = ProgressStyle::with_template(
            "{msg:<17}{elapsed:>9}  {bar:30} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}",
        ) {
            bar.set_style(style);
        }
        bar.set_message(name.to_owned());
        self.bar = Some(bar.clone());
        let interrupts = self.interrupts.clone();
        let result = transfer(&mut |count| {
            bar.inc(count);
            interrupts.is_empty()
        });
        bar.finish_and_clear();
        self.bar = None;
        self.drain(events)?;
        let time = result.map_err(|error| match error {
            TransferError::Interrupted => cancelled(),
            error => {
                let failure = Failure::new(FailureKind::NoTraffic, format!("the {name} failed"))
                    .at(format!("{} from or to {target}", bytes(size)))
                    .because(error);
                match self.diagnosis.take() {
                    Some(text) => failure.because(text),
                    None => failure,
                }
            }
        })?;
        self.tell(&row(
            name,
            time,
            &format!(
                "{} at {:.0} Mbit/s, every byte verified",
                bytes(size),
                crate::output::mbit_s(size, time)
            ),
        ))?;
        Ok(time)
    }

    /// Fails when the emulated modem has seen its host break a rule.
    fn check(&mut self, emulator: &Emulator) -> Result<(), Failure> {
        let report = emulator.report();
        let total = report.total_violations();
        if total == 0 {
            return Ok(());
        }
        let mut failure = Failure::new(
            FailureKind::Other,
            format!("the driver broke {total} rules of the emulated modem"),
        );
        for violation in report.violations.iter().take(5) {
            failure = failure.because(violation);
        }
        Err(failure)
    }
}

fn cancelled() -> Failure {
    Failure::new(FailureKind::Cancelled, "interrupted")
        .next("the modem was stopped cleanly; nothing is left behind")
}

fn row(name: &str, time: Duration, text: &str) -> String {
    format!("{name:<17}{:>9}  {text}", seconds(time.as_secs_f64()))
}
