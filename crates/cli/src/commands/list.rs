//! `uwwan list` lists the modems and USB network devices that are present.

use serde_json::{Value, json};
use uwwan_modem::composition::way_to_mbim;
use uwwan_modem::heal::memory::Entry;
use uwwan_modem::options::FccUnlock;
use uwwan_modem::quirks::Quirk;
use uwwan_usb::backend::BackendKind;
use uwwan_usb::device::Backend;
use uwwan_usb::functions;

use super::quirks;
use crate::candidates::{self, Candidate};
use crate::emulated::Wanted;
use crate::failure::Failure;
use crate::output::{note, plain, say, say_json};

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
}

/// Lists the modems present.
///
/// # Errors
/// Fails when the bus cannot be listed.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let backend = if arguments.emulator {
        Wanted::default().start_in_process()?.backend
    } else {
        // Both backends list the same.
        BackendKind::default().start()
    };
    // Modems come before plain network devices.
    let mut devices = candidates::all(backend.as_ref())?;
    devices.sort_by_key(Candidate::is_ethernet);
    if arguments.json {
        let list: Vec<Value> = devices
            .iter()
            .map(|modem| as_json(modem, backend.as_ref()))
            .collect();
        return say_json(&list);
    }
    for device in &devices {
        for line in describe(device, backend.as_ref()) {
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

/// Returns what stops or may stop `uwwan up`. The emulated modem has no device node to look at.
fn obstacles(modem: &Candidate, backend: &dyn Backend) -> Vec<Failure> {
    if backend.name() == "emulator" {
        modem.without_function().into_iter().collect()
    } else {
        modem.obstacles()
    }
}

/// Names the row of the quirk table that applies, and says where it stands.
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

fn describe(modem: &Candidate, backend: &dyn Backend) -> Vec<String> {
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
    for other in functions::other_networks(&found.descriptors) {
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

/// Describes which kernel driver is bound to which interfaces: `cdc_ether on 0 1, option on 2 3`.
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

fn as_json(modem: &Candidate, backend: &dyn Backend) -> Value {
    let found = &modem.found;
    let identity = &found.identity;
    let obstacles = obstacles(modem, backend);
    json!({
        "id": format!("{:04x}:{:04x}", identity.vendor, identity.product),
        "port": identity.port,
        "bus": identity.bus,
        "address": identity.address,
        "model": modem.model(),
        "learnt": learnt(modem),
        "manufacturer": identity.manufacturer,
        "product": identity.product_name,
        "configuration": {
            "active": found.active_configuration,
            "wanted": modem.wanted().map(|(configuration, _)| configuration),
        },
        "functions": functions::network(&found.descriptors).iter().map(|function| json!({
            "kind": function.name().to_lowercase(),
            "configuration": function.configuration(),
            "control": function.control_interface(),
        })).collect::<Vec<_>>(),
        "other_functions": functions::other_networks(&found.descriptors).iter().map(|other| json!({
            "kind": other.name,
            "configuration": other.configuration,
            "interface": other.interface,
        })).collect::<Vec<_>>(),
        "way_to_mbim": way_to_mbim(&found.descriptors).map(|way| json!({
            "text": way.text, "source": way.source,
        })),
        "kind": if modem.is_ethernet() { "ethernet" } else { "modem" },
        "kernel_drivers": found.kernel_drivers.iter().map(|(interface, driver)| json!({
            "interface": interface, "driver": driver,
        })).collect::<Vec<_>>(),
        "quirks": {
            "row": modem.quirk.name,
            "from": modem.quirk.origin.to_string(),
            "source": modem.quirk.source,
            "at_port": modem.quirk.at_port,
            "fcc_unlock": modem.quirk.fcc_unlock.map(FccUnlock::word),
            "via_zero": modem.quirk.via_zero,
            "settle_seconds": modem.quirk.settle.as_secs_f64(),
            "ndp": modem.quirk.ndp.word(),
            "padding": modem.quirk.padding.word(),
            "disconnect_suspend": modem.quirk.disconnect_suspend,
            "ipv6_by_plmn": modem.quirk.ipv6_by_plmn,
        },
        "ready": !obstacles.iter().any(|o| o.fatal),
        "obstacles": obstacles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_grouped() {
        let bound: Vec<(u8, String)> = [(0, "cdc_ether"), (1, "cdc_ether"), (2, "option")]
            .map(|(interface, driver)| (interface, driver.to_owned()))
            .into();
        assert_eq!(drivers(&bound), "cdc_ether on 0 1, option on 2");
        assert_eq!(drivers(&[]), "");
    }
}
