//! `uwwan exec` runs a program in a network namespace whose only network is the modem.
//!
//! Four processes take part, so that each runs where its work is:
//!
//! * The **front** is the process that was started. It moves into the private namespaces, starts the
//!   program there, passes signals on to it, stops when it stops, and ends as it ends ([`program`]).
//!   The program is in the front's process group: the terminal's signals reach it by themselves.
//! * The **driver** is `up` with another maker of host interfaces, beside which there may be a monitor.
//!   It stays in the machine's namespaces as the caller's user, because the device, its uevents,
//!   ModemManager and the runtime directory are there.
//! * The **interfaces'** process has the capabilities in the private namespaces that TUN interfaces,
//!   addresses and routes need, and writes the name servers there. The driver sends it requests as it
//!   would send them to a monitor, and gets the interfaces' descriptors ([`monitor::interfaces`]).
//! * The **program** is the one that the user wants to run.
//!
//! Where an `up` runs the modem, the driver is a client of that `up` instead: it hands over the interface's
//! descriptors for a data session, and passes on the addresses ([`through`]).
//!
//! When the program has ended, the front waits a moment until the peers have what it has written
//! ([`unsent`]).
//!
//! Driver and interfaces' process are in terminal sessions of their own, so that neither Ctrl-C nor
//! Ctrl-Z reaches them. The driver ends when the front ends for any reason, and the interfaces'
//! process ends when the driver does.

mod ffi;
mod program;
mod through;
mod unsent;
mod waiting;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;

use rustix::process::setsid;
use uwwan_modem::Selector;
use uwwan_modem::host::HostConfig;
use uwwan_modem::options::Dns;
use uwwan_tun::namespace;
use uwwan_tun::resolver::PrivateResolver;

use self::program::Program;
use self::waiting::Signals;
use super::beside::{GO, begin, leave_streams};
use super::up::{self, Around};
use crate::checks::bad;
use crate::choices::Over as _;
use crate::failure::{Failure, FailureKind};
use crate::monitor::{self, Interfaces};
use crate::notify::Notifier;
use crate::output::note;
use crate::reach::EMULATOR;
use crate::running::{Entry, Running, SocketChoice};
use crate::sandbox;
use crate::settings::{Device, Settings};

/// Arguments of `exec`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan exec --apn internet -- curl https://example.com/
      one program over the modem, everything else as before
  uwwan exec --apn internet -- bash
      a shell, and what is started from it
  uwwan exec --device 1-4.2 --config modem.toml -- iperf3 -c 192.0.2.1
  uwwan exec --route 192.0.2.0/24 -- ssh 192.0.2.7
      nothing but this prefix can be reached
  uwwan -v exec -- ping -c 3 192.0.2.1
      with what happens to the modem on standard error
  uwwan exec --device emulator --settle 0.2 -- ip route
      the real driver and a real TUN, but an emulated modem

The program sees a loopback interface, the modem's TUN interface, and an /etc/resolv.conf with the
network's name servers; neither the machine's interfaces nor its resolver services. It starts when the
modem is online, and [hooks] of a configuration file are not run. When it ends, what its TCP connections
still have to send is sent, for 2 s at most, and the modem is put back as `up` puts it back.

An ordinary user needs access to the USB device (udev rule) and user namespaces, no capability: the
program runs as the same user. Sockets in the file system still lead to the machine's services.

Where an uwwan up runs the modem, the program gets a data session of that one, with its access point
unless --apn names another. That takes a modem with several sessions, and a user who may use it
(uwwan up --operator; before Linux 6.4 its owner alone). Options of the modem itself are refused then;
those of a configuration file are left aside.

The exit status is the program's; 127 when there is no such program, 126 when it cannot be run, and
that of `uwwan up` when the modem does not come online. A program that a signal ends ends uwwan by the
same one. `uwwan status` shows the modem meanwhile; `uwwan down` takes it from the program.")]
#[group(skip)]
pub struct Arguments {
    #[command(flatten)]
    up: up::Arguments,
    /// Program to run, and its arguments
    #[arg(value_name = "COMMAND", last = true, required = true, num_args = 1..)]
    command: Vec<OsString>,
}

/// Brings the modem up, runs the program and takes the modem down again. `told` is whether the user
/// asked for a report of what happens meanwhile.
///
/// # Errors
/// Fails when the program could not be started, because of the modem or of this machine.
pub fn run(arguments: Arguments, told: bool) -> Result<(), Failure> {
    let Arguments { mut up, command } = arguments;
    let told = told || up.json;
    if up.capture.is_to_standard_output() {
        let why = "standard output is the program's";
        return Err(bad("capture", why).next("name a file, or a FIFO that Wireshark reads"));
    }
    let mut file = up.file()?;
    // Hooks are for changes of this machine's network, and there are none.
    if file.hooks.take().is_some_and(|hooks| !hooks.is_empty()) {
        note("note: [hooks] are not run: exec changes nothing of this machine's network");
    }
    let given = up.settings.clone();
    let settings = prepare(&mut up, &file)?;
    let running = running(&up, settings.device.as_ref())?;
    if running.is_some() {
        through::refuse_options(&given, &up.emulated, &up.capture)?;
    }
    let mut sessions = sessions(settings.clone())?;
    if running.is_some() {
        sessions.truncate(1);
    }
    let (interfaces, host) = monitor::interfaces(sessions.clone())?;
    let failed = |error: io::Error| {
        Failure::new(FailureKind::Host, "cannot start the driver's process").because(error)
    };
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let front = rustix::process::getpid();
    let Some(driver) = monitor::fork().map_err(failed)? else {
        drop((ours, interfaces));
        begin(front, told, &theirs);
        if let (Some(running), Some(config)) = (running, sessions.into_iter().next()) {
            return through::drive(&running.socket, &settings, host, config, &theirs);
        }
        let notifier = Notifier::through(move |text| {
            if text.starts_with("READY=1") {
                // A front that has ended ends this process.
                let _ = (&theirs).write_all(&[GO]);
            }
        });
        let host = Some(Box::new(host) as _);
        return up::run_in(up, file, Around { host, notifier });
    };
    drop((theirs, host));
    // From here on the driver ends when this process does.
    let signals = Signals::catch().map_err(failed)?;
    let resolver = enter()?;
    let Some(interfaces) = monitor::fork().map_err(failed)? else {
        drop(ours);
        serve(interfaces, &resolver);
    };
    drop(resolver);
    Program {
        command,
        signals,
        driver,
        interfaces,
        socket: ours,
    }
    .run()
}

/// Adds the choices of `exec` to the options of `up`, and returns them merged with those of the
/// file.
fn prepare(up: &mut up::Arguments, file: &Settings) -> Result<Settings, Failure> {
    let chosen = up.settings.clone().over(file.clone());
    if chosen.session_0.dns.is_some_and(|dns| dns != Dns::None) {
        let why = "the program gets a resolv.conf of its own in any case";
        return Err(bad("dns", why).next("leave it out"));
    }
    if chosen.net.is_some() {
        let why = "the program has an interface in a network namespace of its own";
        return Err(bad("net", why).next("leave it out"));
    }
    if chosen.session_0.route.is_none() {
        up.settings.session_0.route = Some(vec!["default".to_owned()]);
    }
    Ok(up.settings.clone().over(file.clone()))
}

/// Returns the configurations of the interfaces of the data sessions. No secret is read.
fn sessions(mut settings: Settings) -> Result<Vec<HostConfig>, Failure> {
    settings.pin_file = None;
    settings.session_0.password_file = None;
    for session in settings.session.iter_mut().flatten() {
        session.settings.password_file = None;
    }
    let options = settings.options()?;
    let sessions = options.sessions.iter();
    Ok(sessions.map(HostConfig::for_session).collect())
}

/// Returns the running `up` that has the modem, if there is one.
///
/// # Errors
/// [`FailureKind::Several`] when several run and none was named.
fn running(up: &up::Arguments, device: Option<&Device>) -> Result<Option<Entry>, Failure> {
    let name = match device {
        Some(Device::Emulator) => Some(EMULATOR),
        Some(Device::Usb(Selector::Port(port))) => Some(port.as_str()),
        None | Some(Device::Usb(Selector::Any)) => None,
        // The driver finds out which `up` that is.
        Some(Device::Usb(_)) => return Ok(None),
    };
    Running::look(up.runtime_dir.as_deref(), name, SocketChoice::Status).only()
}

/// Moves this process into the private namespaces.
fn enter() -> Result<PrivateResolver, Failure> {
    namespace::enter_for_programs()?;
    Ok(PrivateResolver::set_up()?)
}

/// Serves the interfaces until the driver has ended.
fn serve(interfaces: Interfaces, resolver: &PrivateResolver) -> ! {
    let _ = setsid();
    let _ = rustix::thread::set_name(c"uwwan-exec-net");
    leave_streams(false);
    // Starting programs and mounting are no longer needed.
    let _ = sandbox::enter_as_monitor(false);
    let served = interfaces.serve(&mut |servers| {
        if let Err(error) = resolver.set(servers) {
            tracing::warn!("{error}");
        }
    });
    if let Err(error) = &served {
        tracing::error!("the driver cannot be heard: {error}");
    }
    std::process::exit(i32::from(served.is_err()))
}
