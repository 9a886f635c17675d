//! `uwwan ping` and `uwwan resolve`: questions to the network behind the modem, over the built-in network
//! stack. They need no interface, no route and no capability of this machine.
//!
//! A running `up --net userspace` is asked over its control socket. Where none runs, `up` runs in a process
//! beside this one until the questions are answered.

use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};
use schemars::JsonSchema;
use serde::Serialize;
use uwwan_modem::Selector;
use uwwan_modem::asking::{Answer, Asked, Question};
use uwwan_modem::client::StatusClient;

use super::beside::{self, GO};
use super::up::{self, Around};
use crate::capture;
use crate::emulated::EmulatedModem;
use crate::failure::{Failure, FailureKind};
use crate::monitor;
use crate::notify::Notifier;
use crate::output::{rounded, say, say_json};
use crate::reach::EMULATOR;
use crate::running::{Entry, Running, SocketChoice};
use crate::settings::{Device, Settings};
use crate::userspace::options::Net;

/// Time within which a name server has to answer.
const LOOKUP: Duration = Duration::from_secs(10);
/// Longest time between two searches for the control socket of an `up` that is online.
const LOOK: Duration = Duration::from_millis(20);

/// The modem and the data session over which the questions are asked.
#[derive(Debug, clap::Args)]
pub struct Over {
    /// Data session that is asked over, by its MBIM number
    #[arg(
        long = "over",
        value_name = "N",
        default_value_t = 0,
        help_heading = "Session"
    )]
    over: u8,
    /// TOML file with any of the options of `up`, without dashes; flags win over it
    #[arg(long, short, value_name = "FILE", help_heading = "Modem")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten, next_help_heading = "Modem")]
    emulated: EmulatedModem,
    #[command(flatten)]
    capture: capture::Options,
    /// Where running modems keep their control sockets
    #[arg(
        long,
        value_name = "DIR",
        env = "UWWAN_RUNTIME_DIR",
        help_heading = "Modem"
    )]
    runtime_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `ping`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan ping 192.0.2.1
      three echo requests through the running uwwan up --net userspace, or through a modem that is brought
      up for that
  uwwan ping --count 10 --interval 0.2 example.com
  uwwan ping -6 example.com
  uwwan ping --apn internet --device 1-4.2 2001:db8::1
  uwwan ping --device emulator --settle 0.2 192.0.2.77
      an emulated modem

Options of the session, such as --apn, are for a modem that is brought up; a running one refuses them.
A running uwwan up with an interface answers to the machine's own ping: ping -I uwwan0 192.0.2.1.
The exit status is 8 when no reply came at all.")]
#[group(skip)]
pub struct PingArguments {
    /// Host to reach: an address, or a name, which the network's name servers are asked for
    #[arg(value_name = "HOST")]
    host: String,
    /// Number of echo requests
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Time between two requests
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    interval: f64,
    /// Time that each reply has
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = seconds)]
    deadline: f64,
    /// Payload of each request in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 56, value_parser = clap::value_parser!(u16).range(0..=1400))]
    bytes: u16,
    /// Take the IPv4 address of a name
    #[arg(short = '4', conflicts_with = "six")]
    four: bool,
    /// Take the IPv6 address of a name
    #[arg(short = '6')]
    six: bool,
    #[command(flatten)]
    over: Over,
}

/// Arguments of `resolve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan resolve example.com
      asks the name servers of the modem's network, never those of this machine
  uwwan resolve --json example.com | jq -r '.addresses[]'
  uwwan resolve --device emulator --settle 0.2 test.uwwan
      an emulated modem

It goes through the running uwwan up --net userspace, or through a modem that is brought up for that. Options
of the session, such as --apn, are for the latter; a running one refuses them.")]
#[group(skip)]
pub struct ResolveArguments {
    /// Name to look up
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    over: Over,
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected seconds".to_owned())?;
    (0.0..=60.0)
        .contains(&value)
        .then_some(value)
        .ok_or_else(|| "expected 0 to 60 seconds".to_owned())
}

/// The outcome of an echo request or of all of them, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Pinged {
    /// One echo request.
    Echo {
        /// Address to which the request was sent.
        to: IpAddr,
        /// Number of the request, from 1.
        number: u32,
        /// Time until its reply; null when none came.
        seconds: Option<f64>,
    },
    /// The outcome of all requests.
    Summary {
        /// Number of requests.
        sent: u32,
        /// Number of replies.
        received: usize,
        /// Shortest time; null without replies.
        least_seconds: Option<f64>,
        /// Mean of the times; null without replies.
        mean_seconds: Option<f64>,
        /// Longest time; null without replies.
        most_seconds: Option<f64>,
    },
}

/// Addresses of a name, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Resolved {
    /// Name that was looked up.
    name: String,
    /// Addresses of the name.
    addresses: Vec<IpAddr>,
}

/// Sends echo requests and prints the outcome of each.
///
/// # Errors
/// [`FailureKind::NoTraffic`] when no reply came, otherwise the failure to reach the modem.
pub fn ping(arguments: PingArguments, told: bool) -> Result<(), Failure> {
    let PingArguments { host, over, .. } = &arguments;
    let (session, as_json) = (over.over, over.json);
    let wanted = |address: &IpAddr| match (arguments.four, arguments.six) {
        (true, _) => address.is_ipv4(),
        (_, true) => address.is_ipv6(),
        _ => true,
    };
    let host = host.clone();
    let wait_ms = (arguments.deadline * 1000.0) as u64;
    let pause = Duration::from_secs_f64(arguments.interval);
    let (count, bytes) = (arguments.count, arguments.bytes);
    arguments.over.reach(told, |client| {
        let found = addresses(client, session, &host)?;
        let to = found.iter().copied().find(wanted).ok_or_else(|| {
            Failure::new(FailureKind::Refused, "the name has no address of that family")
                .at(&host)
                .next("leave -4 and -6 out")
        })?;
        let mut replies: Vec<f64> = Vec::new();
        for number in 1..=count {
            let begun = Instant::now();
            let what = Asked::Echo { to, bytes };
            let answer = client.ask_network(Question {
                session,
                wait_ms,
                what,
            })?;
            let time = match answer {
                Answer::Echo(micros) => Some(micros as f64 / 1e6),
                Answer::Silence | Answer::Addresses(_) => None,
            };
            replies.extend(time);
            match (as_json, time) {
                (true, _) => say_json(&Pinged::Echo {
                    to,
                    number,
                    seconds: time,
                })?,
                (false, Some(time)) => say(format!("{to}  {number}  {:.3} ms", time * 1e3))?,
                (false, None) => say(format!("{to}  {number}  no reply"))?,
            }
            if number < count {
                std::thread::sleep(pause.saturating_sub(begun.elapsed()));
            }
        }
        let least = replies.iter().copied().reduce(f64::min);
        let most = replies.iter().copied().reduce(f64::max);
        let mean = replies.iter().sum::<f64>() / replies.len().max(1) as f64;
        let received = replies.len();
        if as_json {
            say_json(&Pinged::Summary {
                sent: count,
                received,
                least_seconds: least,
                mean_seconds: least.map(|_| rounded(mean, 6)),
                most_seconds: most,
            })?;
        } else if let (Some(least), Some(most)) = (least, most) {
            let [least, mean, most] = [least, mean, most].map(|time| time * 1e3);
            say(format!(
                "{received} of {count} answered, {least:.3} / {mean:.3} / {most:.3} ms (least, mean, most)"
            ))?;
        }
        match received {
            0 => Err(Failure::new(FailureKind::NoTraffic, "no reply came")
                .at(to.to_string())
                .because("the host does not answer, or nothing comes through")
                .next("try another host; uwwan status tells how the modem is")),
            _ => Ok(()),
        }
    })
}

/// Looks a name up and prints its addresses.
///
/// # Errors
/// [`FailureKind::Refused`] when there is no such name, otherwise the failure to reach the modem.
pub fn resolve(arguments: ResolveArguments, told: bool) -> Result<(), Failure> {
    let ResolveArguments { name, over } = arguments;
    let (session, as_json) = (over.over, over.json);
    over.reach(told, |client| {
        let found = addresses(client, session, &name)?;
        if as_json {
            return say_json(&Resolved {
                name: name.clone(),
                addresses: found,
            });
        }
        found
            .iter()
            .try_for_each(|address| say(address.to_string()))
    })
}

fn addresses(client: &mut StatusClient, session: u8, name: &str) -> Result<Vec<IpAddr>, Failure> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let what = Asked::Addresses {
        name: name.to_owned(),
    };
    let wait_ms = LOOKUP.as_millis() as u64;
    match client.ask_network(Question {
        session,
        wait_ms,
        what,
    })? {
        Answer::Addresses(found) => Ok(found),
        Answer::Echo(_) | Answer::Silence => Err(Failure::new(
            FailureKind::Unreadable,
            "the running uwwan does not answer properly",
        )),
    }
}

impl Over {
    /// Calls `ask` with the running `up`, or with one that runs meanwhile.
    fn reach(
        self,
        told: bool,
        ask: impl FnOnce(&mut StatusClient) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (device, stem) = match (&self.settings.device, &self.config) {
            (None, Some(path)) => (Settings::from_file(path)?.device, path.file_stem()),
            (device, _) => (device.clone(), None),
        };
        let name = match &device {
            Some(Device::Emulator) => Some(EMULATOR.to_owned()),
            Some(Device::Usb(Selector::Port(port))) => Some(port.clone()),
            // An `up` with this configuration file has its name.
            Some(Device::Usb(selector)) if *selector != Selector::Any => {
                stem.map(|stem| stem.to_string_lossy().into_owned())
            }
            _ => None,
        };
        let base = self.runtime_dir.clone();
        let look = || Running::look(base.as_deref(), name.as_deref(), SocketChoice::Status);
        let before = look();
        let sockets = paths(&before.alive);
        // A device that is chosen by its ids may be another than the one that runs.
        let chosen = name.is_none()
            && matches!(&device, Some(Device::Usb(selector)) if *selector != Selector::Any);
        if !chosen && let Some(entry) = before.only()? {
            self.refuse_options()?;
            return ask(&mut StatusClient::connect(&entry.socket)?);
        }
        self.run_up(told, &sockets, look, ask)
    }

    /// Refuses options for the bring-up of a modem where one is already up.
    ///
    /// # Errors
    /// [`FailureKind::Usage`].
    fn refuse_options(&self) -> Result<(), Failure> {
        let taken = Settings {
            device: self.settings.device.clone(),
            ..Settings::default()
        };
        if let Some(path) = &self.capture.capture {
            return Err(capture::passes_elsewhere(path));
        }
        if self.settings == taken && self.emulated.refuse().is_ok() {
            return Ok(());
        }
        Err(Failure::new(FailureKind::Usage, "an option makes no sense")
            .because("uwwan up runs the modem, and its options are chosen there")
            .next("leave out all but --device, --config and --over, or end it with uwwan down"))
    }

    fn run_up(
        self,
        told: bool,
        before: &[PathBuf],
        look: impl Fn() -> Running,
        ask: impl FnOnce(&mut StatusClient) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(FailureKind::Host, "cannot start the driver's process").because(error)
        };
        let mut up = up::Arguments {
            name: None,
            config: self.config,
            settings: self.settings,
            emulated: self.emulated,
            json: false,
            timestamps: false,
            capture: self.capture,
            runtime_dir: self.runtime_dir,
        };
        up.settings.net = Some(Net::Userspace);
        let mut file = up.file()?;
        up.capture.keep_standard_output()?;
        file.hooks = None;
        leave_host_aside(&mut file);
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let front = rustix::process::getpid();
        let Some(driver) = monitor::fork().map_err(failed)? else {
            drop(ours);
            beside::begin(front, told, &theirs);
            let notifier = Notifier::through(move |text| {
                if text.starts_with("READY=1") {
                    // A front that has ended ends this process.
                    let _ = (&theirs).write_all(&[GO]);
                }
            });
            let around = Around {
                host: None,
                notifier,
            };
            return up::run_in(up, file, around);
        };
        drop(theirs);
        let worked = (&ours)
            .write_all(&[GO])
            .and_then(|()| (&ours).read_exact(&mut [0]));
        if worked.is_err() {
            // The driver has printed the reason.
            let status = monitor::end_of(driver, WaitOptions::empty());
            let status = status.and_then(|status| status.exit_status());
            std::process::exit(status.unwrap_or(1));
        }
        let mut running = Driver(Some(driver));
        let socket = loop {
            let alive = look().alive;
            let mut new = paths(&alive).into_iter();
            if let Some(socket) = new.find(|socket| !before.contains(socket)) {
                break socket;
            }
            if monitor::end_of(driver, WaitOptions::NOHANG).is_some() {
                running.0 = None;
                return Err(Failure::new(FailureKind::Host, "the driver has ended"));
            }
            std::thread::sleep(LOOK);
        };
        let asked = StatusClient::connect(&socket).and_then(|mut client| ask(&mut client));
        drop(running);
        asked
    }
}

/// Removes the options of a configuration file that concern an interface of this machine, or entrances of
/// other programs: this `up` has neither.
fn leave_host_aside(file: &mut Settings) {
    let further = file.session.iter_mut().flatten();
    let further = further.map(|session| &mut session.settings);
    for session in [&mut file.session_0].into_iter().chain(further) {
        session.route = None;
        session.route_metric = None;
        session.tun_name = None;
        session.tun_mode = None;
        session.dns = None;
    }
    file.ack_filter = None;
    file.socks = None;
    file.http_proxy = None;
    file.proxy_login_file = None;
    file.forward = None;
    file.metrics = None;
}

fn paths(entries: &[Entry]) -> Vec<PathBuf> {
    entries.iter().map(|entry| entry.socket.clone()).collect()
}

/// The driver's process, which releases the modem and ends when this value is dropped.
struct Driver(Option<Pid>);

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(driver) = self.0.take() {
            let _ = rustix::process::kill_process(driver, Signal::TERM);
            let _ = monitor::end_of(driver, WaitOptions::empty());
        }
    }
}
