//! `uwwan status` shows the state of a running `uwwan up`.

mod history;
mod lines;
mod live;
pub mod prometheus;
mod view;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use uwwan_modem::share::{Reply, Request};
use uwwan_modem::status::Traffic;

use crate::failure::Failure;
use crate::output::{say, say_value};
use crate::running;
use lines::describe;
pub use lines::describe_addresses;

/// Longest pause between two states of a running `up`.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan status                            the one that runs
  uwwan status --watch                    live, with curves of the last minutes, until q or Ctrl-C
  uwwan status --json | jq .ip            for programs
  uwwan status --device 1-4.2             one of several
  uwwan status --prometheus               for node_exporter's textfile collector and the like")]
pub struct Arguments {
    /// Which, when several run: its port as `uwwan list` shows it, or `emulator`
    #[arg(long, short, value_name = "PORT")]
    pub device: Option<String>,
    /// Go on showing it, at each change and once a second; live on a terminal
    #[arg(long, short)]
    pub watch: bool,
    /// Print JSON, one line a state
    #[arg(long)]
    pub json: bool,
    /// Print counters and gauges in Prometheus's text format
    #[arg(long, conflicts_with_all = ["watch", "json"])]
    pub prometheus: bool,
    /// Where running modems keep their control sockets
    #[arg(long, value_name = "DIR", env = "UWWAN_RUNTIME_DIR")]
    pub runtime_dir: Option<PathBuf>,
}

/// Shows the state of a running `up`.
///
/// # Errors
/// Fails when no `up` runs, or when it does not answer.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut client = running::status_of_any_user(
        arguments.runtime_dir.as_deref(),
        arguments.device.as_deref(),
    )?;
    if arguments.prometheus {
        let reply = client.status()?;
        return say(prometheus::exposition(&reply.decode()?, &reply.device).trim_end());
    }
    if !arguments.watch {
        return show(&client.status()?, arguments.json, None);
    }
    client.ask(Request::Watch {})?;
    let terminals = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if terminals && !arguments.json {
        return live::run(client);
    }
    let mut before: Option<(std::time::Instant, Traffic)> = None;
    let mut first = true;
    while let Some(reply) = client.reply(PATIENCE)? {
        if !first && !arguments.json {
            say("")?;
        }
        first = false;
        let arrived = std::time::Instant::now();
        let rates = before
            .as_ref()
            .map(|(time, traffic)| (arrived - *time, traffic));
        show(&reply, arguments.json, rates)?;
        if let Ok(status) = reply.decode() {
            before = Some((arrived, status.traffic));
        }
    }
    if !arguments.json {
        say("uwwan has stopped")?;
    }
    Ok(())
}

fn show(reply: &Reply, json: bool, before: Option<(Duration, &Traffic)>) -> Result<(), Failure> {
    if json && let Some(value) = &reply.status {
        return say_value(value.clone());
    }
    let status = reply.decode()?;
    for line in describe(&status, reply, before) {
        say(line)?;
    }
    Ok(())
}
