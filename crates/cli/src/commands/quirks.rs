//! `uwwan quirks` shows the known facts about modems, and removes layouts that earlier runs have
//! kept.

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_modem::Selector;
use uwwan_modem::heal::memory::{Entry, LayoutMemory};
use uwwan_modem::options::{Format, Mode, Padding, Placement, UssdForm};
use uwwan_modem::quirks::{Quirk, all};
use uwwan_modem::state_file::StateFile;
use uwwan_usb::backend::BackendKind;

use crate::candidates;
use crate::failure::{Failure, FailureKind};
use crate::output::{plain, say, say_json, seconds};
use crate::state;

/// Arguments of `quirks`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the layouts of NTBs that were found to work, and the rows of the quirk table
    List(ListArguments),
    /// Forget the layouts that were found to work
    Forget(ForgetArguments),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan quirks list                             what was learnt, then the rows of files and the built-in ones
  uwwan quirks list --json | jq .layouts        what `up` has learnt, for a row in /etc/uwwan/quirks.d

`up` learns a layout on a device without a row, when other layouts bring nothing back (up --heal).
`uwwan list` shows which row applies to the modems present.")]
struct ListArguments {
    /// Print JSON: an object with layouts and rows
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan quirks forget 1234:5678       what was learnt of these devices, with all firmware
  uwwan quirks forget 1-4.2           of the device at this port
  uwwan quirks forget                 of all devices

A running `up` goes on with the layout it has; the next one begins as on a new device.")]
struct ForgetArguments {
    /// The device: vendor:product, port or bus/device; without one all are forgotten
    device: Option<Selector>,
}

/// Shows the known facts, or removes layouts.
///
/// # Errors
/// Fails when the file of layouts cannot be read or written, or when the device is not there.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::List(arguments) => list(arguments.json),
        Command::Forget(arguments) => forget(arguments.device.as_ref()),
    }
}

/// Returns the layouts that earlier runs have kept, if there is a place for them.
///
/// # Errors
/// [`FailureKind::Unreadable`] for a file that cannot be read.
pub(super) fn layouts() -> Result<Option<StateFile<LayoutMemory>>, Failure> {
    let Some(path) = state::layouts(false) else {
        return Ok(None);
    };
    let file = StateFile::<LayoutMemory>::open(path);
    match file.unreadable() {
        None => Ok(Some(file)),
        Some(why) => Err(Failure::new(
            FailureKind::Unreadable,
            "the layouts that worked cannot be read",
        )
        .at(file.path().display().to_string())
        .because(why)
        .next("remove the file; up learns them again")),
    }
}

/// Returns vendor and product id in their usual notation.
fn ids(vendor: Option<u16>, product: Option<u16>) -> String {
    let digits = |id: Option<u16>| id.map_or_else(|| "*".to_owned(), |id| format!("{id:04x}"));
    format!("{}:{}", digits(vendor), digits(product))
}

/// Returns a description of a layout that worked, with the device and its firmware.
pub(super) fn learnt(entry: &Entry) -> String {
    let firmware = match entry.firmware.lines().next().unwrap_or_default() {
        "" => "no firmware version".to_owned(),
        firmware => format!("firmware {firmware}"),
    };
    format!("{} ({firmware})", entry.layout)
}

fn list(as_json: bool) -> Result<(), Failure> {
    let file = layouts()?;
    let entries = file.as_ref().map_or(&[][..], |file| file.content.entries());
    if as_json {
        return say_json(&Output {
            layouts: entries,
            rows: all().map(Row::of).collect(),
        });
    }
    match &file {
        Some(file) if !entries.is_empty() => {
            say(format!("layouts that worked ({})", file.path().display()))?;
        }
        _ => say("no layout was learnt")?,
    }
    for entry in entries {
        let ids = ids(Some(entry.vendor), Some(entry.product));
        say(format!("  {ids}  {}", plain(&learnt(entry))))?;
    }
    say("rows of the quirk table, the first that fits counts")?;
    for quirk in all() {
        let ids = ids(quirk.vendor, quirk.product);
        let text = format!(
            "{} ({}): {}",
            quirk.name,
            quirk.origin,
            words(quirk).join("; ")
        );
        say(format!("  {ids}  {}", plain(&text)))?;
    }
    Ok(())
}

/// Returns descriptions of what `up` does specially for this modem.
pub(super) fn words(quirk: &Quirk) -> Vec<String> {
    let mut words = Vec::new();
    if quirk.via_zero {
        words.push(format!(
            "configuration through 0, {} of settling",
            seconds(quirk.settle.as_secs_f64())
        ));
    }
    words.push(format!("NDP {}", quirk.ndp));
    words.push(format!("padding {}", quirk.padding));
    if let Some(format) = quirk.ntb {
        words.push(format!("NTB{format}"));
    }
    if let Some(size) = quirk.block_size {
        words.push(format!("NTBs of at most {size} bytes to it"));
    }
    if let Some(count) = quirk.max_datagrams {
        words.push(format!("at most {count} datagrams in an NTB to it"));
    }
    if let Some(divisor) = quirk.divisor {
        words.push(format!(
            "datagrams to it at multiples of {divisor} bytes and {}",
            quirk.remainder.unwrap_or(0)
        ));
    }
    if quirk.disconnect_suspend {
        words.push("re-enumerates after suspend".to_owned());
    }
    if let Some(mode) = quirk.mode {
        words.push(format!(
            "carries packets by {mode}, unless --mode names another mode"
        ));
    }
    if let Some(form) = quirk.ussd {
        words.push(format!("USSD by AT as {form}"));
    }
    if let Some(interface) = quirk.at_port {
        words.push(format!("AT port at interface {interface}"));
    }
    if let Some(way) = quirk.fcc_unlock {
        words.push(format!("FCC lock may be lifted by {way}, if asked"));
    }
    if quirk.ipv6_by_plmn {
        words.push("IPv6 only for operators in its PLMN list".to_owned());
    }
    words
}

/// Facts about modems, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output<'a> {
    /// Layouts of NTBs that worked.
    layouts: &'a [Entry],
    /// Rows of the quirk table. The first that matches a device applies.
    rows: Vec<Row>,
}

/// A row of the quirk table.
#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    /// `idVendor`; null in the last row, which matches every device.
    vendor: Option<u16>,
    /// `idProduct`; null for all products of the vendor.
    product: Option<u16>,
    /// Name of the modem.
    name: &'static str,
    /// Place of the NDP in NTBs to the device.
    ndp: Placement,
    /// End of NTBs whose length is a multiple of the packet size.
    padding: Padding,
    /// Format of NTBs to the device; null for NTB16 where the device offers it.
    ntb: Option<Format>,
    /// Size of the largest NTB to the device in bytes; null for the announced size.
    block_size: Option<u32>,
    /// Largest number of datagrams in an NTB to the device; null for the announced number.
    max_datagrams: Option<u16>,
    /// Divisor of the offsets of datagrams in bytes; null for the announced one.
    divisor: Option<u16>,
    /// Remainder of the offsets of datagrams in bytes; null for the announced one.
    remainder: Option<u16>,
    /// Mode in which the modem carries packets where none is chosen; null where the row names none.
    mode: Option<Mode>,
    /// Form of USSD texts by AT; null where it is found.
    ussd: Option<UssdForm>,
    /// Place of the row.
    origin: String,
    /// Source of the row.
    source: &'static str,
}

impl Row {
    fn of(quirk: &'static Quirk) -> Self {
        Self {
            vendor: quirk.vendor,
            product: quirk.product,
            name: quirk.name,
            ndp: quirk.ndp,
            padding: quirk.padding,
            ntb: quirk.ntb,
            block_size: quirk.block_size,
            max_datagrams: quirk.max_datagrams,
            divisor: quirk.divisor,
            remainder: quirk.remainder,
            mode: quirk.mode,
            ussd: quirk.ussd,
            origin: quirk.origin.to_string(),
            source: quirk.source,
        }
    }
}

fn forget(device: Option<&Selector>) -> Result<(), Failure> {
    let ids = match device {
        None | Some(Selector::Any) => None,
        Some(Selector::Id(vendor, product)) => Some((*vendor, *product)),
        Some(other) => {
            let backend = BackendKind::default().start();
            let identity = candidates::select(&*backend, other)?.found.identity;
            Some((identity.vendor, identity.product))
        }
    };
    let count = match layouts()? {
        None => 0,
        Some(mut file) => {
            let count = file.content.forget(ids);
            if count > 0 {
                file.save().map_err(|why| {
                    Failure::new(
                        FailureKind::Host,
                        "the layouts that worked cannot be written",
                    )
                    .at(file.path().display().to_string())
                    .because(why)
                })?;
            }
            count
        }
    };
    say(match count {
        0 => "nothing was known".to_owned(),
        1 => "1 layout forgotten".to_owned(),
        count => format!("{count} layouts forgotten"),
    })
}
