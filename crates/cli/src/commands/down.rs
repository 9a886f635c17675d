//! `uwwan down` stops a running `uwwan up`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use uwwan_modem::share::Request;

use crate::failure::{Failure, FailureKind};
use crate::output::{plain, say, say_json};
use crate::running;

/// Arguments of `down`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan down                  stop the one that runs
  uwwan down --device 1-4.2   stop the modem at that port
  sudo uwwan down --runtime-dir /run/user/1000/uwwan
                              stop the one that an ordinary user runs
  uwwan down --timeout 5 || sudo kill $(pidof uwwan)")]
pub struct Arguments {
    /// Which, when several run: its port as `uwwan list` shows it, or `emulator`
    #[arg(long, short, value_name = "PORT")]
    pub device: Option<String>,
    /// How long to wait for the clean end
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// Print the outcome as one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Where running modems keep their control sockets
    #[arg(long, value_name = "DIR", env = "UWWAN_RUNTIME_DIR")]
    pub runtime_dir: Option<PathBuf>,
}

/// A stopped `up`, as JSON.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub(super) struct Output {
    /// Port of the device.
    port: String,
    /// Copy of `port`.
    #[schemars(extend("deprecated" = true))]
    device: String,
    /// Id of the process that has ended.
    pid: u32,
    /// Whether it has ended.
    stopped: bool,
    /// Duration of the stop in seconds.
    seconds: f64,
}

/// Asks the running `up` to stop and waits until everything is down.
///
/// # Errors
/// Fails when no `up` runs, and with [`FailureKind::Timeout`] when it does not end in time.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let started = Instant::now();
    let mut client = running::status_of_any_user(
        arguments.runtime_dir.as_deref(),
        arguments.device.as_deref(),
    )?;
    client.ask(Request::Stop {})?;
    let mut stopped = None;
    let limit = Duration::from_secs(arguments.timeout);
    loop {
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            break;
        }
        match client.reply(left) {
            Ok(Some(reply)) => stopped = Some((reply.device, reply.pid)),
            // The process has ended, with or without its last line.
            Ok(None) => {
                let (device, pid) = stopped.unwrap_or_default();
                let seconds = started.elapsed().as_secs_f64();
                return if arguments.json {
                    say_json(&Output {
                        port: device.clone(),
                        device,
                        pid,
                        stopped: true,
                        seconds: crate::output::rounded(seconds, 3),
                    })
                } else {
                    say(format!(
                        "stopped the modem at {} in {}",
                        plain(&device),
                        crate::output::seconds(seconds)
                    ))
                };
            }
            Err(_) if started.elapsed() >= limit => break,
            Err(failure) => return Err(failure),
        }
    }
    let failure = Failure::new(FailureKind::Timeout, "the modem is not down yet");
    let Some((_, pid)) = stopped else {
        let why = format!("it has not answered within {} s", arguments.timeout);
        return Err(failure
            .because(why)
            .next("uwwan status   tells its process, if it answers"));
    };
    Err(failure
        .because(format!(
            "process {pid} was asked to stop and still runs after {} s",
            arguments.timeout
        ))
        .next("run uwwan down again with a longer --timeout")
        .next(format!("or end it at once: kill {pid}")))
}
