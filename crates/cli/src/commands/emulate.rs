//! `uwwan emulate` offers the emulated modem as a USB device.

mod control;
mod far_offload;
mod far_side;
mod knobs;
mod set;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use uwwan_emulator::{Place, Report, usbip, usbredir};

use self::control::Control;
use self::far_side::FarSideChoice;
use crate::capture;
use crate::emulated::EmulatedModem;
use crate::failure::{Failure, FailureKind};
use crate::notify::Notifier;
use crate::output::{bytes, note, plain, say, say_json};
use crate::reach::interrupts;

/// Arguments of `emulate`.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("where").args(["attach", "listen", "redir"]).required(true),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  sudo modprobe vhci_hcd && sudo uwwan emulate --attach
      plug the emulated modem into this machine; its kernel drivers, ModemManager and
      `uwwan up` see a real HP lt4132
  uwwan emulate --listen 127.0.0.1:3240
      for `usbip attach -r 127.0.0.1 -b 1-1` on this or another machine
  uwwan emulate --redir ./modem.sock
      for a virtual machine's own USB controller:
      qemu-system-x86_64 … -device qemu-xhci -device usb-redir,chardev=modem
        -chardev socket,id=modem,path=./modem.sock,reconnect=1
  uwwan emulate --attach --far-side tun:far0 --report report.json
      kernel TCP on the far side too, and a report of every rule the host broke
  uwwan emulate --attach --descriptors em7455.txt
      another modem, as `lsusb -v`, hexadecimal text or a copy of
      /sys/bus/usb/devices/PORT/descriptors tells of it
  uwwan emulate --attach --knob silent_after_direct_switch=off --knob slow_open_ms=33000
  uwwan emulate knobs
      every knob with its default, and where its behaviour was seen
  uwwan emulate --attach --like trace.pcapng
      the modem in a capture: of `--capture`, of tcpdump -i usbmon1, or of USBPcap
  uwwan emulate --attach --rules lab.toml
      knobs and rules from a file: other answers to some commands, a reset after so many NTBs
  uwwan emulate set registration=denied
      tells the one that runs

The protocols have neither authentication nor encryption: listen on addresses you trust only."
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Plug it into this machine's virtual host controller (vhci_hcd); needs root
    #[arg(long)]
    attach: bool,
    /// Serve it to USB/IP hosts at this address, e.g. 127.0.0.1:3240
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Offer it to a virtual machine's usb-redir device: a Unix socket (with a slash), or an
    /// address
    #[arg(long, value_name = "PATH|ADDR:PORT")]
    redir: Option<Place>,
    #[command(flatten)]
    modem: EmulatedModem,
    /// Where its control socket is made, by which `uwwan emulate set` tells it something
    #[arg(long, value_name = "DIR", env = "UWWAN_RUNTIME_DIR")]
    runtime_dir: Option<PathBuf>,
    /// The network behind it: `builtin` answers ping, DNS, HTTP and more at every address;
    /// `tun:NAME` is a TUN interface of this machine with the gateway's addresses, `offload:NAME` one
    /// with segmentation and receive offload, as a server has
    #[arg(long, value_name = "WHAT", default_value = "builtin")]
    far_side: FarSideChoice,
    #[command(flatten)]
    capture: capture::Options,
    /// At the end, write what the host did wrong, and the counters, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Exit with status 1 when the host broke a rule
    #[arg(long)]
    strict: bool,
    /// Print the report at the end as JSON on standard output
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Returns whether a modem is run; a subcommand lists knobs, or turns those of a running modem.
    pub fn runs(&self) -> bool {
        self.command.is_none()
    }
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Turn knobs of an emulated modem that runs
    Set(set::Arguments),
    /// List the knobs of the emulated modem
    Knobs(knobs::Arguments),
}

/// Runs the emulated modem until a signal, lists its knobs, or turns those of a running one.
///
/// # Errors
/// Fails when the modem cannot be attached or offered, when the report cannot be written, or, with
/// `--strict`, when the host broke a rule.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Some(Command::Set(arguments)) => return set::run(arguments),
        Some(Command::Knobs(arguments)) => return knobs::run(arguments),
        None => {}
    }
    let modem = arguments.modem.wanted()?;
    // The report is opened first, so that a file that cannot be written is reported before the
    // work.
    let report_file = arguments
        .report
        .as_deref()
        .map(|path| File::create(path).map_err(|error| cannot_report(path, &error)))
        .transpose()?;
    let interrupts = interrupts()?;
    let (far_side, far_interface) = arguments.far_side.open()?;
    arguments.capture.prepare()?.start()?;
    let emulator = modem.start(far_side)?;
    if let Some(observer) = capture::observer() {
        emulator.observe(observer);
    }
    emulator.on_violation(Box::new(|violation| {
        note(format!(
            "the host broke a rule: {}",
            plain(&violation.to_string())
        ));
    }));
    let tell = |line: String| {
        if arguments.json {
            note(line);
            Ok(())
        } else {
            say(line)
        }
    };
    for line in far_interface
        .iter()
        .flat_map(|interface| interface.changes())
    {
        tell(format!("far side: {line}"))?;
    }
    let (order, ordered) = crossbeam_channel::unbounded();
    let stop = move || {
        let _ = order.send(());
    };
    let control = Control::open(arguments.runtime_dir.as_deref(), emulator.controls(), stop);
    let control = match control {
        Ok(control) => {
            let path = control.path();
            tell(format!(
                "control socket {}: uwwan emulate set",
                path.display()
            ))?;
            Some(control)
        }
        Err(failure) => {
            note(format!(
                "it cannot be told anything while it runs: {failure}"
            ));
            None
        }
    };
    let attached = if arguments.attach {
        let attached = usbip::attach(&emulator).map_err(|error| attach_failure(&error))?;
        tell(format!(
            "plugged into port {} of the virtual host controller; lsusb shows it",
            attached
                .port()
                .map_or("?".to_owned(), |port| port.to_string())
        ))?;
        Some(attached)
    } else {
        None
    };
    let server = match &arguments.listen {
        Some(address) => {
            let server = usbip::listen(&emulator, address.as_str()).map_err(|error| {
                Failure::new(FailureKind::Host, "cannot listen for USB/IP hosts")
                    .at(format!("--listen {}", plain(address)))
                    .because(error)
                    .next("give an address and a port, e.g. 127.0.0.1:3240")
            })?;
            if let Some(address) = server.address() {
                tell(format!(
                    "listening on {address}; attach with: usbip --tcp-port {} attach -r {} -b 1-1",
                    address.port(),
                    address.ip()
                ))?;
            }
            Some(server)
        }
        None => None,
    };
    let redirected = match &arguments.redir {
        Some(place) => {
            let server = usbredir::listen(&emulator, place).map_err(|error| {
                Failure::new(FailureKind::Host, "cannot listen for virtual machines")
                    .at(format!("--redir {}", plain(&place.to_string())))
                    .because(error)
                    .next("give an address and a port, or a path in a directory of yours")
            })?;
            tell(format!(
                "listening on {} for the usb-redir device of a virtual machine",
                plain(&server.place().to_string())
            ))?;
            Some(server)
        }
        None => None,
    };
    let notifier = Notifier::from_environment();
    notifier.ready("the emulated modem is switched on");
    tell("stop with Ctrl-C".to_owned())?;
    // The channels live as long as the process, so this ends only with a signal or an order.
    crossbeam_channel::select! {
        recv(interrupts) -> _ => {}
        recv(ordered) -> _ => {}
    }
    notifier.stopping();
    drop(control);
    drop(redirected);
    drop(server);
    drop(attached);
    let report = emulator.report();
    drop(emulator);
    drop(far_interface);
    if let (Some(mut file), Some(path)) = (report_file, arguments.report.as_deref()) {
        let mut text = serde_json::to_vec_pretty(&report).unwrap_or_default();
        text.push(b'\n');
        file.write_all(&text)
            .map_err(|error| cannot_report(path, &error))?;
    }
    if arguments.json {
        say_json(&report)?;
    } else {
        summarise(&report)?;
    }
    match report.total_violations() {
        count if arguments.strict && count > 0 => Err(Failure::new(
            FailureKind::Other,
            format!("the host broke {count} rules"),
        )),
        _ => Ok(()),
    }
}

fn cannot_report(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(FailureKind::Host, "cannot write the report")
        .at(format!("{} (--report)", path.display()))
        .because(error)
}

fn attach_failure(error: &usbip::AttachError) -> Failure {
    let exit = match error {
        usbip::AttachError::File { source, .. }
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            FailureKind::Permission
        }
        usbip::AttachError::NoPort | usbip::AttachError::NotFree => FailureKind::Busy,
        usbip::AttachError::NoController => FailureKind::Missing,
        _ => FailureKind::Host,
    };
    Failure::new(exit, "cannot plug the emulated modem into this machine")
        .at("virtual host controller (vhci_hcd)")
        .because(error)
        .next("uwwan demo and uwwan up --device emulator need no host controller")
}

fn summarise(report: &Report) -> Result<(), Failure> {
    let counters = &report.counters;
    say(format!(
        "from the host: {} in {} datagrams, {} NTBs; to the host: {} in {} datagrams, {} NTBs",
        bytes(counters.bytes_out),
        counters.datagrams_out,
        counters.blocks_out,
        bytes(counters.bytes_in),
        counters.datagrams_in,
        counters.blocks_in
    ))?;
    if counters.black_holed > 0 {
        say(format!(
            "{} datagrams vanished because the NDP stood before them",
            counters.black_holed
        ))?;
    }
    match report.total_violations() {
        0 => say("the host broke no rule"),
        total => {
            let kinds: Vec<String> = report
                .violations_by_rule
                .iter()
                .map(|(rule, count)| format!("{rule} {count}"))
                .collect();
            say(format!(
                "the host broke {total} rules: {}",
                kinds.join(", ")
            ))
        }
    }
}
