//! `uwwan reset` restarts the modem.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::services::Empty;
use uwwan_mbim::services::basic_connect::{DEVICE_SERVICES, DeviceServices};
use uwwan_mbim::services::ms_basic_connect_extensions::DEVICE_RESET;
use uwwan_mbim::session::Command as MbimCommand;
use uwwan_modem::client::AtClient;
use uwwan_usb::device::Found;

use crate::candidates;
use crate::failure::{Failure, FailureKind};
use crate::output::say_json;
use crate::page::Page;
use crate::reach::{Reach, Target, interrupts};
use crate::spinner::Spinner;

/// Longest time for the answer to a restart.
const PATIENCE: Duration = Duration::from_secs(15);

/// The way in which a modem is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum How {
    /// Over MBIM, where the modem offers it
    Mbim,
    /// By AT command
    At,
    /// A reset of the USB port, which restarts some modems and leaves others as they are
    Usb,
}

/// Arguments of `reset`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan reset                    over MBIM where the modem offers it, else by AT command
  uwwan reset --how usb          the port only, for a modem that answers nothing
  uwwan reset --force            also while uwwan up is online through it; up brings it back

The modem leaves the bus and is back some 20 seconds later, in its default configuration.")]
pub struct Arguments {
    /// Only this way
    #[arg(long, value_name = "WAY")]
    how: Option<How>,
    /// Do it even though `uwwan up` loses its session for a while
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A reset, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// Whether the modem was reset.
    reset: bool,
    /// How: `mbim`, `at` or `usb`.
    by: &'static str,
}

/// Resets the modem.
///
/// # Errors
/// Fails when the modem cannot be reached or refuses.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let target = arguments.reach.target()?;
    if matches!(target, Target::Running(_)) && !arguments.force {
        return Err(
            Failure::new(FailureKind::Refused, "a running uwwan up holds the modem")
                .because("a reset ends its session; it brings the modem back by itself")
                .next("the same with --force"),
        );
    }
    let way = match arguments.how {
        Some(How::Mbim) => {
            if !over_mbim(&target)? {
                return Err(Failure::new(FailureKind::Refused, "no reset over MBIM")
                    .because("the modem does not list ms_basic_connect_extensions/device_reset")
                    .next("uwwan reset --how at"));
            }
            "mbim"
        }
        Some(How::At) => by_at(&target)?,
        Some(How::Usb) => by_port(&target)?,
        None if over_mbim(&target)? => "mbim",
        None => by_at(&target)?,
    };
    if arguments.json {
        return say_json(&Output {
            reset: true,
            by: way,
        });
    }
    let mut page = Page::default();
    page.line(format!("reset by {way}"));
    page.print()
}

/// Resets the modem over MBIM. Returns `false` when the modem does not offer that.
fn over_mbim(target: &Target) -> Result<bool, Failure> {
    let mut modem = target.clone().open(interrupts()?)?.client;
    let services = modem.optional::<DeviceServices>(MbimCommand::query(DEVICE_SERVICES))?;
    let offered = services.is_ok_and(|services| {
        services.device_services.iter().any(|service| {
            service.device_service_id == DEVICE_RESET.service
                && service.cids.contains(&DEVICE_RESET.cid)
        })
    });
    if offered {
        modem.insist()?;
        let _: Empty = modem.set(DEVICE_RESET, &Empty::default())?;
        // The modem leaves the bus before it could answer a CLOSE.
        drop(modem);
        return Ok(true);
    }
    modem.close()?;
    Ok(false)
}

fn by_at(target: &Target) -> Result<&'static str, Failure> {
    let spinner = Spinner::new("restarting the modem");
    let result = target.at(None).map(|mut client| {
        client.insist();
        restart(&mut client)
    });
    drop(spinner);
    let hint = "uwwan reset --how usb";
    result
        .map_err(|failure| failure.next(hint))?
        .map_err(|error| {
            Failure::new(
                FailureKind::Host,
                "the modem cannot be restarted by AT command",
            )
            .because(error.why.join(": "))
            .next(hint)
        })
}

/// Restarts the modem by the vendor's command, or by the standard's where the vendor's is refused
/// (3GPP TS 27.007). Returns the command that the modem accepted.
fn restart(client: &mut AtClient) -> Result<&'static str, Failure> {
    let mut last = None;
    for line in ["AT^RESET", "AT+CFUN=1,1"] {
        match client.ask(line, None, Some(PATIENCE)) {
            Ok(answer) if answer.result.is_ok() => return Ok(line),
            Ok(answer) => last = answer.result.err().map(|why| why.to_string()),
            // Some modems leave the bus before they answer.
            Err(failure) if failure.kind == FailureKind::Gone => return Ok(line),
            Err(error) => return Err(error),
        }
    }
    Err(
        Failure::new(FailureKind::Refused, "the modem refused a command")
            .because(last.unwrap_or_default()),
    )
}

fn by_port(target: &Target) -> Result<&'static str, Failure> {
    let Target::Device { backend, .. } = target else {
        return Err(
            Failure::new(FailureKind::Busy, "a running uwwan up holds the USB device")
                .because("its port can be reset by nobody else")
                .next("uwwan down first, or uwwan reset --how at --force"),
        );
    };
    let found = find(target)?;
    let device = backend.open(&found).and_then(|device| device.reset());
    device.map_err(|error| {
        Failure::new(FailureKind::Host, "the port cannot be reset")
            .at(found.identity.to_string())
            .because(error)
    })?;
    Ok("usb")
}

fn find(target: &Target) -> Result<Found, Failure> {
    match target {
        Target::Device {
            backend, selector, ..
        } => Ok(candidates::select(Arc::clone(backend).as_ref(), selector)?.found),
        Target::Running(_) => Err(candidates::none_present()),
    }
}
