//! `uwwan up` runs the driver in the foreground until it is stopped.

mod answers;
mod attendant;
mod chosen;
mod hooked;
mod metering;
mod metrics;
mod telling;
mod told;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::unbounded;
use uwwan_emulator::Controls;
use uwwan_modem::host::{HostConfig, HostProvider, Userspace};
use uwwan_modem::options::{Dns, Heal, Options};
use uwwan_modem::share::{AtOptions, Builder, Changes};
use uwwan_modem::state_file::{StateFile, StatePlace};
use uwwan_modem::{Handle, Modem, Selector};

use answers::Answers;
use attendant::Attendant;
use chosen::choose;
use hooked::AfterUp;
pub use metering::Month;
use metering::{Keep, Metered, Metering};
use metrics::Metrics;
use telling::Telling;
pub use told::Told;

use super::status::prometheus;
use crate::capture;
use crate::choices::Over;
use crate::configurations;
use crate::emulated::{EmulatedModem, Wanted};
use crate::entrances::Entrances;
use crate::failure::{Failure, FailureKind};
use crate::hooks::{self, AfterDown, Facts, Hook};
use crate::journal;
use crate::modem_manager::{Inhibitor, Manager, Standing};
use crate::monitor::{self, Monitor};
use crate::notify::Notifier;
use crate::output::{self, say};
use crate::output_queue;
use crate::prepared;
use crate::reach::EMULATOR;
use crate::runtime::{self, RuntimeDir};
use crate::sandbox::{self, Confinement, Identity, State};
use crate::settings::{Device, Settings};
use crate::sharing;
use crate::signals;
use crate::state;
use crate::usage::{self, Usage};
use crate::userspace::{Places, Servers};
use crate::watchdog::Watchdog;

/// Arguments of `up`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan up --apn internet --route default
      online, with everything going through the modem
  uwwan up home
      with the configuration /etc/uwwan/home.toml or ~/.config/uwwan/home.toml
  uwwan up --device 1-4.2 --apn internet --pin-file /etc/uwwan/pin --route 192.0.2.0/24
      one of several modems, SIM unlocked, one prefix through it
  uwwan up --apn internet --session 3:apn=mms,ip-type=ipv4,route=192.0.2.0/24
      a second data session with an interface of its own
  uwwan up --config /etc/uwwan/modem.toml --wait --persist
      as a service: waits for the modem and never gives up
  uwwan up --ndp front
      what happens when Huawei firmware gets the NDP in front: the NTBs are taken and nothing comes back
  uwwan up --heal always
      when nothing comes back, other layouts are tried even where the quirk table has one for the modem
  uwwan up --device 0525:a4a1 --address 192.0.2.7/24
      a USB network device or gadget (CDC-NCM) instead of a modem: a TAP interface. It must be named
  uwwan up --apn internet --capture trace.pcapng.zst --snap 128
      with everything that passes on USB in a file for Wireshark
  uwwan up --device emulator
      the real driver and a real TUN, but an emulated modem
  uwwan up --device emulator --like trace.pcapng
      the emulated modem as the one in a capture, as people attach to a bug report
  uwwan up --device emulator --descriptors lsusb-of-a-modem.txt
      the emulated modem as another one, whose lsusb -v is in that file

Needs: read and write access to the USB device (udev rule), and CAP_NET_ADMIN or a TUN prepared with
  ip tuntap add mode tun multi_queue name wwan0 user $USER   and then   uwwan up --tun-name wwan0

Stops cleanly at Ctrl-C, SIGTERM, SIGHUP, SIGQUIT or `uwwan down`; a second signal ends it at once.
What it prints never holds it up: lines that nobody takes are dropped, and their number is told.
A configuration file has the same names:   apn = \"internet\"   route = \"default\"")]
pub struct Arguments {
    /// Name of a configuration: /etc/uwwan/NAME.toml or ~/.config/uwwan/NAME.toml, of which your own
    /// comes first
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// TOML file with any of these options, without dashes; flags win over it
    #[arg(long, short, value_name = "FILE", conflicts_with = "name")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten, next_help_heading = "Modem")]
    pub emulated: EmulatedModem,
    /// Print what happens as JSON, one event a line
    #[arg(long)]
    pub json: bool,
    /// Begin each line with the time, in UTC; with --json it is the field `time`
    #[arg(long)]
    pub timestamps: bool,
    #[command(flatten)]
    pub capture: capture::Options,
    /// Where to keep the control socket [default: /run/uwwan for root, else $XDG_RUNTIME_DIR/uwwan]
    #[arg(long, value_name = "DIR", env = "UWWAN_RUNTIME_DIR")]
    pub runtime_dir: Option<PathBuf>,
}

/// Name of the runtime directory when neither a configuration nor a known port names it, which is
/// so while `up` waits for a modem to be plugged in.
const UNNAMED: &str = "modem";

/// Brings the modem online and keeps it online until a signal or `uwwan down`.
///
/// # Errors
/// Fails when options contradict each other, when the modem cannot be brought online, or when it is
/// lost for good.
pub fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let file = arguments.file()?;
    let around = Around {
        host: None,
        notifier: Notifier::from_environment(),
    };
    run_in(arguments, file, around)
}

/// What differs between a run of `uwwan up` and one that another command starts.
pub struct Around {
    /// Creates the network interfaces of the data sessions. With `None` they are created in the
    /// network namespace of this process.
    pub host: Option<Box<dyn HostProvider>>,
    /// The service manager, which is notified when the modem is online.
    pub notifier: Notifier,
}

impl Arguments {
    /// Reads the configuration file, if one is named. Afterwards `self.config` holds its path, and
    /// `self.name` is `None`.
    ///
    /// # Errors
    /// The failures of [`configurations::chosen`] and [`Settings::from_file`].
    pub fn file(&mut self) -> Result<Settings, Failure> {
        let name = self.name.take();
        self.config = configurations::chosen(name.as_deref(), self.config.as_deref())?;
        match &self.config {
            Some(path) => Settings::from_file(path),
            None => Ok(Settings::default()),
        }
    }
}

/// Does the same as [`run`], with a configuration file that is already read, and with the given
/// interfaces and service manager.
///
/// # Errors
/// The failures of [`run`].
pub fn run_in(arguments: Arguments, file: Settings, around: Around) -> Result<(), Failure> {
    let usb_flag = arguments.settings.usb;
    let device_flag = arguments.settings.device.is_some();
    let mut settings = arguments.settings.over(file);
    let mut options = settings.options()?;
    let mut stack = None;
    let wanted = settings.userspace()?;
    let policy = sharing::policy(&settings)?;
    let serves_others = policy.serves_others();
    let device = settings
        .device
        .clone()
        .unwrap_or(Device::Usb(Selector::Any));
    // Files have to be read before the sandbox is entered.
    let emulated = match device {
        Device::Emulator => arguments.emulated.wanted()?,
        Device::Usb(_) => {
            arguments.emulated.refuse()?;
            Wanted::default()
        }
    };
    if device == Device::Emulator && settings.reattach.is_none() {
        // The emulated modem ends with this process, so that no kernel driver can have it back.
        options.reattach_drivers = false;
    }
    if device == Device::Emulator && usb_flag.is_some() {
        return Err(Failure::new(FailureKind::Usage, "an option makes no sense")
            .at("--usb")
            .because("the emulated modem is not reached through this machine's USB")
            .next("uwwan emulate --attach plugs it in there"));
    }
    remember(&mut options, &device)?;
    if arguments.timestamps {
        output::stamp_lines();
    }
    let mut usage = state::usage(device == Device::Emulator).map(StateFile::<Usage>::open);
    let keeps_usage = usage.is_some();
    let base = runtime::own_base(arguments.runtime_dir.as_deref())?;
    let mut capture = arguments.capture.prepare()?;
    let mut notifier = around.notifier;
    let mut host = around.host;
    let mut monitor = None;
    // The process id that the service manager knows. After a split, the driver runs in another
    // process than this one.
    let process = std::process::id();
    let split = prepared::may_configure();
    let driver = if split { driver_user(&base)? } else { None };
    sandbox::acting_in(&base, driver, || {
        runtime::make_base(&base)?;
        runtime::sweep(&base);
        Ok::<(), Failure>(())
    })
    .map_err(|errno| monitor::not_the_driver(&base, errno))??;
    let hooks = Arc::new(settings.hooks.clone().unwrap_or_default());
    let facts = Facts {
        device: match &device {
            Device::Usb(selector) => selector.to_string(),
            Device::Emulator => EMULATOR.to_owned(),
        },
        ..Facts::default()
    };
    hooks.run(Hook::BeforeUp, &facts)?;
    // If the run is split into two processes, the monitor runs this hook.
    let _after_down = (!split).then(|| AfterDown {
        hooks: Arc::clone(&hooks),
        facts: facts.clone(),
    });
    if split {
        let heard = notifier.is_heard();
        let usb = match &device {
            Device::Usb(selector) => Some(selector),
            Device::Emulator => None,
        };
        let start = monitor::Start {
            device: usb,
            base: &base,
            driver,
            notifier,
            capture: capture.files().cloned(),
            hooks: Arc::clone(&hooks),
            usage: usage.take(),
            metrics: settings.metrics.as_ref().and_then(|target| target.socket()),
        };
        let started = monitor::split(&mut options, start)?;
        let passing = started.clone();
        notifier = match heard {
            true => Notifier::through(move |text| passing.notify(text)),
            false => Notifier::none(),
        };
        let opening = started.clone();
        capture.opened_by(move |number| opening.capture_file(number));
        host = host.or_else(|| Some(Box::new(monitor::Provider(started.clone()))));
        monitor = Some(started);
    }
    let mut host = host.unwrap_or_else(|| Box::new(prepared::Provider::default()));
    if let Some(wanted) = &wanted {
        // The servers' sockets are opened now, because the sandbox forbids it later.
        let servers = Servers::bind(wanted)?;
        let own = Userspace::telling(servers.told());
        host = Box::new(own.clone());
        stack = Some((servers, own));
    }
    if let (None, Some(first)) = (&monitor, options.sessions.first())
        && !hooks.is_empty()
    {
        host = Box::new(hooks::Provider {
            inner: host,
            hooks: Arc::clone(&hooks),
            first: HostConfig::for_session(first),
            device: facts.device.clone(),
        });
    }
    let notifier = Arc::new(notifier);
    let confinement = match &monitor {
        Some(_) => Confinement {
            writable: vec![base.clone()],
            monitored: true,
            identity: driver,
            ..Confinement::default()
        },
        None => alone(
            &base,
            &settings,
            &options,
            usage.as_ref().map(StateFile::path),
            capture.folder.clone(),
        ),
    };
    // The sandbox forbids sockets of the Internet, so this one is opened before.
    let metrics = match &settings.metrics {
        Some(target) => Some(Metrics::open(target, serves_others)?),
        None => None,
    };
    let mut processes = vec![confinement.enter()];
    if let Some(monitor) = &monitor {
        processes.push(monitor.state()?);
    }
    // Threads may start only from here on, so that each inherits the sandbox of this one.
    output_queue::start();
    capture.start()?;
    // The capture is set up now even if none is asked for yet, because a client may ask for one
    // later.
    let _ = capture::captures();
    // Signals are caught before anything is started, so that every stop from here on is a clean
    // one.
    let mut builder = Builder::new(policy).map_err(|error| {
        Failure::new(FailureKind::Host, "cannot serve other programs").because(error)
    })?;
    let waker = builder.waker();
    let signals = signals::first_waking(move || waker.wake()).map_err(|error| {
        Failure::new(FailureKind::Host, "cannot wait for signals").because(error)
    })?;
    let inhibitor = match (&monitor, &device) {
        (None, Device::Usb(_)) => Some(Inhibitor::start()),
        _ => None,
    };
    let manager = manager(monitor.as_ref(), inhibitor.as_ref());
    let chosen = choose(
        &device,
        &emulated,
        settings.usb.unwrap_or_default(),
        monitor,
        inhibitor,
        &options,
    )?;
    if let Some(ethernet) = chosen.ethernet {
        settings.check_kind(ethernet)?;
        if ethernet {
            // A plain network device has neither a control session nor an AT port to share.
            settings.proxy = Some(Entrances::Off);
            options.at_port = false;
        }
    }
    // If the command line names another modem than the configuration file, the name of the file
    // does not fit, and the directory is not named after it.
    let configured = arguments.config.as_deref().filter(|_| !device_flag);
    let name = match (configured.and_then(Path::file_stem), &chosen.port) {
        (Some(stem), _) => stem.to_string_lossy().into_owned(),
        (None, Some(port)) => port.clone(),
        (None, None) => UNNAMED.to_owned(),
    };
    let mut directory = match &chosen.monitor {
        Some(monitor) => monitor.directory(&base, &name)?,
        None => RuntimeDir::create(&base, &name)?,
    };
    if let Some(port) = &chosen.port {
        directory.link(port);
        journal::name_device(port);
    }
    if serves_others {
        directory.let_others_through()?;
    }
    let (sender, events) = unbounded();
    let waker = builder.waker();
    let after_up = hooks.has(Hook::AfterUp).then(|| {
        let (sender, waker) = (sender.clone(), builder.waker());
        let start: hooked::Start = match chosen.monitor.clone() {
            Some(monitor) => Box::new(move |_| monitor.online()),
            None => Box::new(move |facts| hooks.start(Hook::AfterUp, facts)),
        };
        let tell = move |event| {
            let _ = sender.send(event);
            waker.wake();
        };
        AfterUp::new(facts.device.clone(), start, tell)
    });
    let asked = stack.as_ref().map(|(_, own)| own.clone());
    let handle = Modem::start(
        Arc::clone(&chosen.backend),
        chosen.selector.clone(),
        options,
        host,
        Box::new(move |event| {
            let _ = sender.send(event);
            waker.wake();
        }),
    )
    .map_err(|failure| chosen.with_holders(failure))?;
    if let Some((servers, own)) = stack {
        servers.start(&own).map_err(|error| {
            Failure::new(FailureKind::Host, "the proxies cannot be started").because(error)
        })?;
    }
    let keep = keep(
        chosen.monitor.as_ref().filter(|_| keeps_usage),
        usage,
        &handle,
    );
    let metering = Metering::new(keep, settings.quota, Instant::now());
    if let Some(metrics) = metrics {
        let (handle, device) = (handle.clone(), name.clone());
        let exposition = move || prometheus::exposition(&handle.status(), &device);
        if let Err(error) = metrics.serve(exposition) {
            tracing::warn!("metrics are not served: {error}");
        }
    }
    let json = arguments.json;
    let shared = share(
        &mut builder,
        &handle,
        &directory,
        &name,
        &settings,
        (
            processes,
            Arc::clone(&manager),
            chosen.controls.clone(),
            metering.month(),
            asked,
        ),
        json,
    );
    let changes = match shared {
        // Everything that opens sockets has done so, so that the sandbox can be tightened.
        Ok(changes) => {
            if split {
                sandbox::settle();
            }
            changes
        }
        Err(failure) => {
            handle.stop();
            let _ = handle.wait();
            return Err(failure);
        }
    };
    let watchdog = Watchdog::wanted(&notifier, process);
    let mut attendant = Attendant {
        handle: handle.clone(),
        directory,
        has_port: device != Device::Emulator,
        events,
        signals,
        notifier,
        watchdog,
        changes,
        manager,
        told_of_manager: Standing::default(),
        telling: Telling::new(json),
        metering,
        after_up,
        outcome: Ok(()),
    };
    builder.serve_here(|| attendant.attend());
    let end = handle.wait();
    attendant.measure(Instant::now());
    drop(attendant.directory);
    // If there is a monitor, it removes the socket.
    if chosen.monitor.is_none()
        && let Some(socket) = settings.metrics.as_ref().and_then(|target| target.socket())
        && let Err(error) = std::fs::remove_file(socket)
    {
        tracing::debug!("the socket of metrics stays: {error}");
    }
    attendant.outcome?;
    if end.is_ok() && !arguments.json {
        say("stopped")?;
    }
    end.map_err(|failure| chosen.with_holders(failure))
}

/// Sets the files in which refused PINs and the layouts of NTBs that work are remembered.
///
/// # Errors
/// [`FailureKind::Usage`] when a PIN is given but there is no directory for the file.
fn remember(options: &mut Options, device: &Device) -> Result<(), Failure> {
    let emulated = *device == Device::Emulator;
    if !options.pin.is_empty() {
        options.pin_memory = state::pins(emulated).map(StatePlace::from);
        if options.pin_memory.is_none() && !emulated && !options.force_pin {
            return Err(Failure::new(
                FailureKind::Usage,
                "there is no place where a refused PIN is remembered",
            )
            .at("--pin-file")
            .because("neither HOME nor XDG_STATE_HOME names a directory, and each run could cost the SIM an attempt")
            .next("name a directory with UWWAN_STATE_DIR, or give --force-pin"));
        }
    }
    if options.heal != Heal::Off {
        options.layout_memory = state::layouts(emulated).map(StatePlace::from);
    }
    Ok(())
}

/// Returns the source of news about ModemManager's access to the modem: the monitor, or this
/// process itself.
fn manager(monitor: Option<&Monitor>, inhibitor: Option<&Inhibitor>) -> Manager {
    match (monitor, inhibitor) {
        (Some(monitor), _) => {
            let monitor = monitor.clone();
            Arc::new(move || monitor.manager())
        }
        (None, Some(inhibitor)) => {
            let inhibitor = inhibitor.clone();
            Arc::new(move || inhibitor.standing())
        }
        (None, None) => Arc::new(Standing::default),
    }
}

/// Returns the keeper of the data volume used: the monitor, or this process, which then has the
/// file.
fn keep(
    monitor: Option<&Monitor>,
    usage: Option<StateFile<Usage>>,
    handle: &Handle,
) -> Option<Keep> {
    if let Some(monitor) = monitor.cloned() {
        return Some(Box::new(move |more| monitor.keep_usage(more)));
    }
    let (mut file, handle) = (usage?, handle.clone());
    Some(Box::new(move |more| {
        usage::keep(&mut file, &handle.status().device, more)
    }))
}

/// Returns the user under whom the driver will run, or `None` if it keeps the user of this process.
fn driver_user(base: &Path) -> Result<Option<Identity>, Failure> {
    // The directory has to exist before it can be found out which users can reach it.
    if rustix::process::geteuid().is_root() && !base.exists() {
        runtime::make_base(base)?;
    }
    Ok(Identity::for_driver(base).unwrap_or_else(|why| {
        tracing::warn!("the driver's process keeps root's user id: {why}");
        None
    }))
}

/// Returns the files and rights that this process still needs in the sandbox if there is no
/// monitor. The state directory is created first.
fn alone(
    base: &Path,
    settings: &Settings,
    options: &Options,
    usage: Option<&Path>,
    captures: Option<PathBuf>,
) -> Confinement {
    let mut writable = vec![base.to_owned()];
    writable.extend(captures);
    let pins = options.pin_memory.as_ref().map(|place| &place.path);
    let layouts = options.layout_memory.as_ref().map(|place| &place.path);
    let memory = pins.or(layouts).map(PathBuf::as_path).or(usage);
    if let Some(folder) = memory.and_then(|path| path.parent()) {
        // If the folder cannot be created, this is reported later, when a file is written there.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        writable.push(folder.to_owned());
    }
    let socket = settings.metrics.as_ref().and_then(|target| target.socket());
    let mut sessions = options.sessions.iter();
    Confinement {
        writable,
        readable: settings.secret_files(),
        removable: socket.and_then(Path::parent).map(Path::to_owned),
        programs: sessions.any(|session| session.dns == Dns::Resolvconf)
            || settings
                .hooks
                .as_ref()
                .is_some_and(|hooks| !hooks.is_empty()),
        ..Confinement::default()
    }
}

/// Opens the sockets and the terminal through which other programs use the modem.
fn share(
    builder: &mut Builder,
    handle: &Handle,
    directory: &RuntimeDir,
    device: &str,
    settings: &Settings,
    (processes, manager, controls, month, stack): (
        Vec<State>,
        Manager,
        Option<Controls>,
        Metered,
        Option<Userspace>,
    ),
    json: bool,
) -> Result<Changes, Failure> {
    let mbim = sharing::open(builder, handle, directory, settings, json)?;
    let answers = Answers {
        handle: handle.clone(),
        controls,
        processes,
        manager,
        month,
        mbim,
        stack,
        asking: Places::default(),
        terminal: directory.at_terminal(),
    };
    let socket = directory.socket();
    let changes = builder
        .status(&socket, device, Box::new(answers))
        .map_err(|error| {
            Failure::new(FailureKind::Host, "cannot open the control socket")
                .at(socket.display().to_string())
                .because(error)
                .next("name another directory with --runtime-dir DIR")
        })?;
    share_at(builder, handle, directory, settings, json);
    Ok(changes)
}

/// Shares the AT port with other programs. A failure is only logged, because the data sessions work
/// without it.
fn share_at(
    builder: &mut Builder,
    handle: &Handle,
    directory: &RuntimeDir,
    settings: &Settings,
    json: bool,
) {
    let Some(port) = handle.at_port() else {
        return;
    };
    let terminal = directory.at_terminal();
    let options = AtOptions {
        socket: Some(directory.at_socket()),
        terminal: Some(terminal.clone()),
        guard: sharing::guards(settings),
    };
    match builder.at(port, &options) {
        Ok(()) if json => {}
        Ok(()) => {
            let _ = say(format!("AT port: {} (or `uwwan at`)", terminal.display()));
        }
        Err(error) => tracing::warn!("other programs cannot reach the AT port: {error}"),
    }
}
