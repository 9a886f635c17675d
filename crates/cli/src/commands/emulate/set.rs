//! `uwwan emulate set` turns knobs of an emulated modem while it runs.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use uwwan_modem::share::Request;

use crate::failure::{Failure, FailureKind};
use crate::output::{plain, say, say_value};
use crate::reach::EMULATOR;
use crate::running;

/// Time within which the answer has to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `emulate set`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan emulate set registration=denied          the network refuses the modem from now on
  uwwan emulate set signal=3 drop_in_ppm=20000   several at once
  uwwan emulate set                              how the knobs stand, where not as by default
  uwwan emulate set stall_out_after=1 --device emulator

It tells the emulated modem of a running `uwwan emulate` or `uwwan up --device emulator` of this
user's. Knobs of the NTB parameters and of identity have their effect later, which is told.")]
pub struct Arguments {
    /// The knobs to turn; all of them, or none where one makes no sense
    #[arg(value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Which, when several run: emulate-PID, or `emulator` for that of `up`
    #[arg(long, short, value_name = "NAME")]
    device: Option<String>,
    /// Where running modems keep their control sockets
    #[arg(long, value_name = "DIR", env = "UWWAN_RUNTIME_DIR")]
    runtime_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Turns the knobs, and prints the values of all.
///
/// # Errors
/// Fails when no emulated modem runs, and when a knob makes no sense or is for the start alone.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut client = running::emulated(
        arguments.runtime_dir.as_deref(),
        arguments.device.as_deref(),
        EMULATOR,
    )?;
    let set = arguments.set.clone();
    client.ask(Request::Emulate { set })?;
    let told = client.reply(PATIENCE)?.and_then(|reply| reply.status);
    let told = told.ok_or_else(|| {
        Failure::new(
            FailureKind::Gone,
            "the emulated modem ended while it was told",
        )
    })?;
    if arguments.json {
        return say_value(told);
    }
    let word = |value: &Value| plain(value.as_str().unwrap_or_default());
    if arguments.set.is_empty() {
        let knobs = told["knobs"].as_object();
        for (name, value) in knobs.into_iter().flatten() {
            say(format!("{}={}", plain(name), word(value)))?;
        }
        if knobs.is_none_or(serde_json::Map::is_empty) {
            say("every knob has its default")?;
        }
    }
    for one in told["set"].as_array().into_iter().flatten() {
        say(format!(
            "{}={}: {}",
            word(&one["name"]),
            word(&one["value"]),
            word(&one["from"])
        ))?;
    }
    Ok(())
}
