//! `uwwan usb` shows descriptors, switches configurations without a bring-up, and makes requests and
//! transfers of any kind.

mod claim;
pub(super) mod descriptors;
mod names;
pub(super) mod request;
mod target;
pub(super) mod transfer;

use std::time::Duration;

use uwwan_modem::quirks;
use uwwan_usb::configuration::{self, SwitchPlan, ViaZero};
use uwwan_usb::descriptors::TransferKind;
use uwwan_usb::functions;

use crate::failure::{Failure, FailureKind};
use crate::output::{say, say_json, seconds};
use target::{Target, usb_failure};

/// Arguments of `usb`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the descriptors of all configurations, and the functions found in them
    Descriptors(descriptors::Arguments),
    /// Show the active configuration, or switch to another one
    Config(ConfigArguments),
    /// Make any control request
    Control(request::Arguments),
    /// Send and read bulk transfers, of any endpoint that nobody holds
    Bulk(transfer::Arguments),
    /// Send and read interrupt transfers, of any endpoint that nobody holds
    Interrupt(transfer::Arguments),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan usb config                    which is active, which has MBIM
  uwwan usb config mbim               the one with the MBIM function, through 0 as the firmware needs it
  uwwan usb config 2                  back to Ethernet and serial ports
  uwwan usb config 0                  unconfigured
  uwwan usb config 3 --direct         the switch that leaves lt4132 firmware mute, for experiments

Kernel drivers bind again afterwards; uwwan up does all of this by itself.")]
struct ConfigArguments {
    /// bConfigurationValue to select, or `mbim`
    #[arg(value_name = "VALUE")]
    value: Option<String>,
    #[command(flatten)]
    target: Target,
    /// Do not pass through configuration 0
    #[arg(long, conflicts_with = "settle")]
    direct: bool,
    /// Pause in configuration 0 [default: what the modem needs]
    #[arg(long, value_name = "SECONDS")]
    settle: Option<f64>,
    /// Print the outcome as one line of JSON
    #[arg(long)]
    json: bool,
}

/// Shows the descriptors, or shows or switches the configuration.
///
/// # Errors
/// Fails when the device cannot be opened or refuses.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Descriptors(arguments) => descriptors::run(arguments),
        Command::Config(arguments) => config(arguments),
        Command::Control(arguments) => request::run(arguments),
        Command::Bulk(arguments) => transfer::run(arguments, TransferKind::Bulk),
        Command::Interrupt(arguments) => transfer::run(arguments, TransferKind::Interrupt),
    }
}

/// Configuration of a device, as JSON; numbers are `bConfigurationValue`.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
#[serde(untagged)]
pub(super) enum Configured {
    /// Configurations of the device, where the command names no value.
    Is {
        /// Vendor id, product id and port of the device.
        device: String,
        /// Active configuration; 0 when unconfigured.
        active: u8,
        /// Configurations that the device has.
        present: Vec<u8>,
        /// First configuration that has an MBIM function; null when none has one.
        mbim: Option<u8>,
    },
    /// Switch that was made, where the command names a value.
    Switched {
        /// Vendor id, product id and port of the device.
        device: String,
        /// Configuration before the switch.
        before: u8,
        /// Configuration after the switch.
        after: u8,
        /// Whether the switch went through configuration 0.
        via_zero: bool,
        /// Duration of the switch in seconds.
        seconds: f64,
    },
}

fn config(arguments: &ConfigArguments) -> Result<(), Failure> {
    let (_backend, device) = arguments.target.open()?;
    let identity = device.identity();
    let mbim = functions::mbim(device.descriptors())
        .first()
        .map(|function| function.configuration);
    let Some(value) = &arguments.value else {
        let active = device
            .active_configuration()
            .map_err(|error| usb_failure("cannot read the configuration", &error))?;
        let all: Vec<u8> = device
            .descriptors()
            .configurations
            .iter()
            .map(|configuration| configuration.value)
            .collect();
        if arguments.json {
            return say_json(&Configured::Is {
                device: identity.to_string(),
                active,
                present: all,
                mbim,
            });
        }
        return say(format!(
            "{identity}: configuration {active} of {}{}",
            all.iter().map(u8::to_string).collect::<Vec<_>>().join(", "),
            mbim.map_or(String::new(), |m| format!("; MBIM is in {m}"))
        ));
    };
    let target = match value.as_str() {
        "mbim" => mbim.ok_or_else(|| {
            Failure::new(
                FailureKind::Other,
                "there is no configuration with an MBIM function",
            )
            .at(identity.to_string())
            .next("uwwan usb descriptors shows what there is")
        })?,
        number => number.parse::<u8>().map_err(|_| {
            Failure::new(FailureKind::Usage, "an argument makes no sense")
                .at("VALUE")
                .because(format!(
                    "{number:?} is neither a number from 0 to 255 nor mbim"
                ))
        })?,
    };
    let known = device
        .descriptors()
        .configurations
        .iter()
        .any(|configuration| configuration.value == target);
    if target != 0 && !known {
        return Err(Failure::new(
            FailureKind::Usage,
            format!("there is no configuration {target}"),
        )
        .at(identity.to_string())
        .next("uwwan usb config without a value shows which there are"));
    }
    let settle = match arguments.settle {
        Some(seconds) if (0.0..=600.0).contains(&seconds) => Duration::from_secs_f64(seconds),
        Some(seconds) => {
            return Err(Failure::new(FailureKind::Usage, "an option makes no sense")
                .at("--settle")
                .because(format!("{seconds} is not between 0 and 600")));
        }
        None => quirks::find(identity.vendor, identity.product).settle,
    };
    let plan = SwitchPlan {
        settle,
        via_zero: if arguments.direct || target == 0 {
            ViaZero::Never
        } else {
            ViaZero::Always
        },
        // The switch lets kernel drivers bind to the device afterwards.
        guard: false,
        ..SwitchPlan::new(target, [])
    };
    let begun = std::time::Instant::now();
    let mut told = Ok(());
    let switched = configuration::switch(device.as_ref(), &plan, &mut |step| {
        if !arguments.json && told.is_ok() {
            told = say(format!("  {step}"));
        }
    })
    .map_err(|error| usb_failure("the configuration was not switched", &error))?;
    told?;
    let time = begun.elapsed().as_secs_f64();
    if arguments.json {
        return say_json(&Configured::Switched {
            device: identity.to_string(),
            before: switched.before,
            after: switched.after,
            via_zero: switched.via_zero,
            seconds: crate::output::rounded(time, 3),
        });
    }
    say(format!(
        "{identity}: configuration {} -> {} in {}",
        switched.before,
        switched.after,
        seconds(time)
    ))
}
