//! `uwwan list` lists the modems and USB network devices that are present.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_modem::client::StatusClient;
use uwwan_modem::composition::way_to_mbim;
use uwwan_modem::event::BoundDriver;
use uwwan_modem::heal::memory::Entry;
use uwwan_modem::options::{FccUnlock, Mode, Padding, Placement, UssdForm};
use uwwan_modem::quirks::Quirk;
use uwwan_modem::status::State;
use uwwan_usb::backend::BackendKind;
use uwwan_usb::device::Backend;
use uwwan_usb::functions;

use super::quirks;
use super::usb::descriptors::form::{OtherFunction, Way};
use super::usb::descriptors::is_among;
use crate::candidates::{self, Candidate, mode};
use crate::emulated::Wanted;
use crate::failure::Failure;
use crate::output::{note, plain, say, say_json};
use crate::running::{Running, SocketChoice};

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan list                                      modems and USB network devices, and what would stop `uwwan up`
  uwwan list --json | jq -r '.[].port'            their ports, for scripts
  uwwan list --emulator                           what the emulated modem looks like

No modem is no failure: the exit status is 0 and the list empty.")]
pub struct Arguments {
    /// Print a JSON array, one object a device
    #[arg(long)]
    pub json: bool,
    /// List the built-in emulated modem instead of this machine's USB
    #[arg(long)]
    pub emulator: bool,
    /// Where running modems keep their sockets
    #[arg(long, value_name = "DIR", env = "UWWAN_RUNTIME_DIR")]
    pub runtime_dir: Option<PathBuf>,
}

/// A running `up` that drives a device.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Driven {
    /// Id of the process; null where this user may not ask it.
    pid: Option<u32>,
    /// Whether packets flow on session 0; null where this user may not ask it.
    online: Option<bool>,
    /// State of the modem; null where this user may not ask it.
    state: Option<State>,
    /// Reason for the state in words; empty where this user may not ask it.
    why: String,
}

impl Driven {
    /// Returns the running `up` that drives the device at a port, if there is one.
    fn at(base: Option<&Path>, port: &str) -> Option<Self> {
        let running = Running::look(base, Some(port), SocketChoice::Any);
        let entry = running.alive.first()?;
        let client = StatusClient::connect(&entry.socket);
        let reply = client.and_then(|mut client| client.status()).ok();
        let status = reply.as_ref().and_then(|reply| reply.decode().ok());
        Some(Self {
            pid: reply.as_ref().map(|reply| reply.pid),
            online: status.as_ref().map(|status| status.online),
            state: status.as_ref().map(|status| status.state),
            why: status.map(|status| status.why).unwrap_or_default(),
        })
    }

    /// Returns a description in words.
    fn words(&self) -> String {
        let process = self
            .pid
            .map_or(String::new(), |pid| format!(" (process {pid})"));
        let state = match (self.online, &*self.why) {
            (Some(true), _) => "online",
            (_, "") => "its state is not for this user",
            (_, why) => why,
        };
        format!("a running uwwan up{process}: {state}")
    }
}

/// Lists the modems present.
///
/// # Errors
/// Fails when the bus cannot be listed.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let backend = if arguments.emulator {
        Wanted::default().start_in_process()?.backend
    } else {
        // Both backends list the same devices.
        BackendKind::default().start()
    };
    // Modems come before plain network devices.
    let mut devices = candidates::all(backend.as_ref())?;
    devices.sort_by_key(Candidate::is_ethernet);
    let driven = |modem: &Candidate| match arguments.emulator {
        true => None,
        false => Driven::at(arguments.runtime_dir.as_deref(), &modem.found.identity.port),
    };
    if arguments.json {
        let list: Vec<Shown> = devices
            .iter()
            .map(|modem| shown(modem, backend.as_ref(), driven(modem)))
            .collect();
        return say_json(&list);
    }
    for device in &devices {
        for line in describe(device, backend.as_ref(), driven(device).as_ref()) {
            say(line)?;
        }
    }
    let modems = devices
        .iter()
        .filter(|device| !device.is_ethernet())
        .count();
    if modems == 0 {
        say("no modem is present")?;
        note("  no USB device here has an MBIM function, and none is in the table of known modems");
        note(
            "  lsusb tells whether the kernel sees the device at all; if not: power, slot, rfkill, BIOS whitelist",
        );
        note("  uwwan demo needs no modem");
    } else if modems > 1 {
        say(format!(
            "{modems} modems: choose with uwwan up --device PORT"
        ))?;
    }
    Ok(())
}

/// Returns the obstacles that stop or may stop `uwwan up`. The emulated modem has no device node to
/// examine.
fn obstacles(modem: &Candidate, backend: &dyn Backend) -> Vec<Failure> {
    if backend.name() == "emulator" {
        modem.without_function().into_iter().collect()
    } else {
        modem.obstacles()
    }
}

/// Returns the name of the row of the quirk table that applies, and the place of the row.
fn row(quirk: &Quirk) -> String {
    format!("{} ({}; {})", quirk.name, quirk.origin, quirk.source)
}

/// Returns the layout of NTBs that worked with a device on an earlier run.
fn learnt(modem: &Candidate) -> Option<Entry> {
    let identity = &modem.found.identity;
    let file = quirks::layouts().ok()??;
    file.content
        .latest(identity.vendor, identity.product)
        .cloned()
}

fn describe(modem: &Candidate, backend: &dyn Backend, driven: Option<&Driven>) -> Vec<String> {
    let found = &modem.found;
    let mut lines = vec![modem.name()];
    let mut field = |name: &str, text: String| lines.push(format!("  {name:<14} {}", plain(&text)));
    field(
        "usb",
        format!(
            "{} (bus {} device {})",
            speed(modem),
            found.identity.bus,
            found.identity.address
        ),
    );
    let active = match found.active_configuration {
        Some(0) => "unconfigured".to_owned(),
        Some(value) => value.to_string(),
        None => "unknown".to_owned(),
    };
    let wanted = modem
        .wanted()
        .map_or("none has MBIM".to_owned(), |(configuration, what)| {
            format!("{configuration} has {what}")
        });
    if modem.is_ethernet() {
        field(
            "kind",
            "plain network device, not a modem: up gives it a TAP interface".to_owned(),
        );
    }
    field("configuration", format!("{active}; {wanted}"));
    let all = functions::network(&found.descriptors);
    if all.len() > 1 {
        for (index, function) in all.iter().enumerate() {
            let number = index + 1;
            field(
                &format!("function {number}"),
                format!(
                    "{} in configuration {}, interface {} (--function {number})",
                    function.name(),
                    function.configuration(),
                    function.control_interface()
                ),
            );
        }
    }
    let dialled = functions::dialled(&found.descriptors);
    for way in &dialled {
        field(
            "dialled by AT",
            format!(
                "{} in configuration {}, interface {} (--mode {})",
                way.kind.name(),
                way.function.configuration,
                way.function.control_interface,
                mode(way.kind)
            ),
        );
    }
    let others = functions::other_networks(&found.descriptors).into_iter();
    for other in others.filter(|other| !is_among(other, &dialled)) {
        field(
            "beside it",
            format!(
                "{} in configuration {}, interface {}, which uwwan does not drive",
                other.name, other.configuration, other.interface
            ),
        );
    }
    let drivers = drivers(&found.kernel_drivers);
    field(
        "kernel drivers",
        if drivers.is_empty() {
            "none bound".to_owned()
        } else {
            format!("{drivers} (up detaches them)")
        },
    );
    field("up will use", quirks::words(modem.quirk).join("; "));
    field("row", row(modem.quirk));
    if let Some(entry) = learnt(modem) {
        field("learnt", quirks::learnt(&entry));
    }
    if !modem.quirk.story.is_empty() {
        field("known", modem.quirk.story.to_owned());
    }
    for fault in found.descriptors.faults.iter().take(3) {
        field("descriptors", fault.clone());
    }
    if let Some(driven) = driven {
        field("driven by", driven.words());
        field(
            "",
            "uwwan status tells more, and every command goes through it".to_owned(),
        );
        return lines;
    }
    let obstacles = obstacles(modem, backend);
    for obstacle in &obstacles {
        let label = if obstacle.fatal {
            "stops up"
        } else {
            "may stop up"
        };
        field(label, obstacle.what.clone());
        for step in &obstacle.next {
            field("", step.clone());
        }
    }
    if !obstacles.iter().any(|o| o.fatal) {
        let device = if backend.name() == "emulator" {
            "emulator"
        } else {
            &found.identity.port
        };
        field("ready", format!("uwwan up --device {device}"));
    }
    lines
}

/// Returns a description of the kernel drivers bound to interfaces: `cdc_ether on 0 1, option on 2
/// 3`.
fn drivers(bound: &[(u8, String)]) -> String {
    let mut text = String::new();
    let mut last: Option<&str> = None;
    for (interface, driver) in bound {
        if last == Some(driver) {
            text.push_str(&format!(" {interface}"));
        } else {
            let comma = if text.is_empty() { "" } else { ", " };
            text.push_str(&format!("{comma}{driver} on {interface}"));
        }
        last = Some(driver);
    }
    text
}

fn speed(modem: &Candidate) -> &'static str {
    use uwwan_usb::device::Speed;
    match modem.found.identity.speed {
        Speed::Low => "low speed",
        Speed::Full => "full speed, 12 Mbit/s",
        Speed::High => "high speed, 480 Mbit/s",
        Speed::Super => "SuperSpeed, 5 Gbit/s",
        Speed::SuperPlus => "SuperSpeed+",
        Speed::Unknown => "unknown speed",
    }
}

/// A device, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    /// Vendor id and product id, as `03f0:a31d`.
    id: String,
    /// Port, as `1-4`.
    port: String,
    /// Number of the bus.
    bus: u8,
    /// Number of the device on the bus.
    address: u8,
    /// Name in the quirk table.
    model: String,
    /// Layout of NTBs that worked on an earlier run.
    learnt: Option<Entry>,
    /// Manufacturer that the device reports.
    manufacturer: Option<String>,
    /// Product that the device reports.
    product: Option<String>,
    /// Configurations, by `bConfigurationValue`.
    configuration: Configurations,
    /// Network functions that `up` can drive.
    functions: Vec<Function>,
    /// Network functions that `up` does not drive.
    other_functions: Vec<OtherFunction>,
    /// Network functions that are dialled by AT commands.
    dialled: Vec<Dialled>,
    /// Known way to a composition with MBIM, where the device has none.
    way_to_mbim: Option<Way>,
    /// `modem` or `ethernet`.
    kind: &'static str,
    /// Drivers that are bound to interfaces of the device.
    kernel_drivers: Vec<BoundDriver>,
    /// Facts of the quirk table that `up` will use.
    quirks: Quirks,
    /// Running `up` that drives the device; null for none.
    driven_by: Option<Driven>,
    /// Whether no obstacle stops another `up`.
    ready: bool,
    /// Obstacles that stop or may stop `up`.
    obstacles: Vec<Failure>,
}

/// Configurations of a device, by `bConfigurationValue`.
#[derive(Debug, Serialize, JsonSchema)]
struct Configurations {
    /// Active configuration; null when it is not known.
    active: Option<u8>,
    /// Configuration that `up` selects; null when there is none.
    wanted: Option<u8>,
}

/// A network function.
#[derive(Debug, Serialize, JsonSchema)]
struct Function {
    /// `mbim` or `ncm`.
    kind: String,
    /// `bConfigurationValue` of the function's configuration.
    configuration: u8,
    /// `bInterfaceNumber` of the function's control interface.
    control: u8,
}

/// A network function that is dialled by AT commands.
#[derive(Debug, Serialize, JsonSchema)]
struct Dialled {
    /// Protocol of the function: `huawei-ncm`, `ncm` or `ecm`.
    kind: String,
    /// Value of `up --mode` that drives the function.
    mode: String,
    /// `bConfigurationValue` of the function's configuration.
    configuration: u8,
    /// `bInterfaceNumber` of the function's control interface.
    control: u8,
}

/// Facts of the quirk table that `up` uses.
#[derive(Debug, Serialize, JsonSchema)]
struct Quirks {
    /// Name of the row.
    name: &'static str,
    /// Copy of `name`.
    #[schemars(extend("deprecated" = true))]
    row: &'static str,
    /// Place of the row.
    origin: String,
    /// Copy of `origin`.
    #[schemars(extend("deprecated" = true))]
    from: String,
    /// Source of the row.
    source: &'static str,
    /// `bInterfaceNumber` of the AT port.
    at_port: Option<u8>,
    /// Mode in which the modem carries packets where none is chosen.
    mode: Option<Mode>,
    /// Form of USSD texts by AT; null where it is found.
    ussd: Option<UssdForm>,
    /// Way in which the FCC lock is lifted, if the modem may have one.
    fcc_unlock: Option<FccUnlock>,
    /// Whether the configuration is entered from configuration 0.
    via_zero: bool,
    /// Pause in configuration 0 in seconds.
    settle_seconds: f64,
    /// Place of the NDP in NTBs to the device.
    ndp: Placement,
    /// End of NTBs whose length is a multiple of the packet size.
    padding: Padding,
    /// Whether the device enumerates anew after a suspend.
    disconnect_suspend: bool,
    /// Whether IPv6 depends on the operator's entry in the firmware's list.
    ipv6_by_plmn: bool,
}

impl Quirks {
    fn of(quirk: &Quirk) -> Self {
        Self {
            name: quirk.name,
            row: quirk.name,
            origin: quirk.origin.to_string(),
            from: quirk.origin.to_string(),
            source: quirk.source,
            at_port: quirk.at_port,
            mode: quirk.mode,
            ussd: quirk.ussd,
            fcc_unlock: quirk.fcc_unlock,
            via_zero: quirk.via_zero,
            settle_seconds: quirk.settle.as_secs_f64(),
            ndp: quirk.ndp,
            padding: quirk.padding,
            disconnect_suspend: quirk.disconnect_suspend,
            ipv6_by_plmn: quirk.ipv6_by_plmn,
        }
    }
}

fn shown(modem: &Candidate, backend: &dyn Backend, driven_by: Option<Driven>) -> Shown {
    let found = &modem.found;
    let identity = &found.identity;
    // A device that a running `up` holds is no obstacle for those who use that `up`.
    let obstacles = match driven_by {
        Some(_) => Vec::new(),
        None => obstacles(modem, backend),
    };
    let functions = functions::network(&found.descriptors);
    let others = functions::other_networks(&found.descriptors);
    let drivers = found.kernel_drivers.iter();
    Shown {
        id: format!("{:04x}:{:04x}", identity.vendor, identity.product),
        port: identity.port.clone(),
        bus: identity.bus,
        address: identity.address,
        model: modem.model().to_owned(),
        learnt: learnt(modem),
        manufacturer: identity.manufacturer.clone(),
        product: identity.product_name.clone(),
        configuration: Configurations {
            active: found.active_configuration,
            wanted: modem.wanted().map(|(configuration, _)| configuration),
        },
        functions: functions
            .iter()
            .map(|function| Function {
                kind: function.name().to_lowercase(),
                configuration: function.configuration(),
                control: function.control_interface(),
            })
            .collect(),
        other_functions: others.iter().map(OtherFunction::of).collect(),
        dialled: functions::dialled(&found.descriptors)
            .iter()
            .map(|way| Dialled {
                kind: way.kind.name().to_owned(),
                mode: mode(way.kind).to_string(),
                configuration: way.function.configuration,
                control: way.function.control_interface,
            })
            .collect(),
        way_to_mbim: way_to_mbim(&found.descriptors).map(Way::of),
        kind: if modem.is_ethernet() {
            "ethernet"
        } else {
            "modem"
        },
        kernel_drivers: drivers
            .map(|(interface, driver)| BoundDriver {
                interface: *interface,
                driver: driver.clone(),
            })
            .collect(),
        quirks: Quirks::of(modem.quirk),
        ready: driven_by.is_none() && !obstacles.iter().any(|o| o.fatal),
        driven_by,
        obstacles,
    }
}

#[cfg(test)]
mod tests {
    use uwwan_modem::share::{Builder, Policy, Responder};

    use super::*;

    struct Answers;

    impl Responder for Answers {
        fn status(&self) -> serde_json::Value {
            serde_json::json!({"online": true, "why": "online"})
        }
        fn stop(&self) {}
    }

    #[test]
    fn a_modem_that_runs_is_told_with_its_process() {
        let base = tempfile::tempdir().unwrap();
        assert_eq!(Driven::at(Some(base.path()), "1-4"), None);
        let folder = base.path().join("1-4");
        std::fs::create_dir_all(&folder).unwrap();
        let mut builder = Builder::new(Policy::default()).unwrap();
        let socket = folder.join(crate::runtime::SOCKET);
        builder.status(&socket, "1-4", Box::new(Answers)).unwrap();
        let server = builder.serve().unwrap();
        let driven = Driven::at(Some(base.path()), "1-4").unwrap();
        let pid = std::process::id();
        assert_eq!((driven.pid, driven.online), (Some(pid), Some(true)));
        let words = format!("a running uwwan up (process {pid}): online");
        assert_eq!(driven.words(), words);
        assert_eq!(Driven::at(Some(base.path()), "1-5"), None);
        drop(server);
        assert_eq!(Driven::at(Some(base.path()), "1-4"), None);
    }

    #[test]
    fn drivers_are_grouped() {
        let bound: Vec<(u8, String)> = [(0, "cdc_ether"), (1, "cdc_ether"), (2, "option")]
            .map(|(interface, driver)| (interface, driver.to_owned()))
            .into();
        assert_eq!(drivers(&bound), "cdc_ether on 0 1, option on 2");
        assert_eq!(drivers(&[]), "");
    }
}
