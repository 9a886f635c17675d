//! Options and commands of the command line.

use clap::{Parser, Subcommand};

use crate::commands::{
    ask, at, bench, capture, completions, config, demo, doctor, down, emulate, exec, ipv6, lab,
    list, manual, mbim, modem, ntb, quirks, record, report, schema, status, up, usage, usb,
};

const EXIT_STATUS: &str = "\
Exit status:
  0  it worked        3  no modem, or not running      6  busy
  1  it failed        4  several modems: choose one    7  refused by modem, SIM or network
  2  wrong usage      5  not permitted                 8  online, but nothing comes through
                                                     130  interrupted
  What goes on until Ctrl-C (up, emulate, --watch on a terminal) ends by it with 0.
  With --json an error is one line of JSON on standard error (uwwan schema error).

Environment:
  UWWAN_LOG          what to log, e.g. uwwan_modem=debug,uwwan_usb=trace
  UWWAN_RUNTIME_DIR  where running modems keep their control sockets
  UWWAN_STATE_DIR    where refused PINs, layouts that worked and data use are remembered
  NO_COLOR           no colours

Without hardware:  uwwan demo
With a modem:      uwwan list, then uwwan up --apn internet --route default";

/// Runs an LTE modem from user space: USB, MBIM and NCM without kernel modem drivers.
#[derive(Debug, Parser)]
#[command(name = "uwwan", version, after_help = EXIT_STATUS, max_term_width = 100, infer_subcommands = false)]
pub struct Arguments {
    /// Log more: -v information, -vv debugging, -vvv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    #[command(subcommand)]
    pub command: Command,
}

/// Command to run: the modem in use, one question to it, or a bench.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show everything working on an emulated modem: no hardware, no root
    Demo(demo::Arguments),
    /// List the modems present and what would stop `up`
    List(list::Arguments),
    /// Bring a modem online and keep it online until stopped
    Up(Box<up::Arguments>),
    /// Run a program whose only network is the modem, without touching the machine's
    Exec(Box<exec::Arguments>),
    /// Send echo requests over the modem, without an interface of this machine
    Ping(Box<ask::PingArguments>),
    /// Look a name up by the name servers of the modem's network
    Resolve(Box<ask::ResolveArguments>),
    /// Stop a running `up` cleanly
    Down(down::Arguments),
    /// Show the state of a running `up`
    Status(status::Arguments),
    /// Show how much data each modem has used in each month
    Usage(usage::Arguments),
    /// What is known of modems: rows of the quirk table, and layouts of NTBs that worked
    Quirks(quirks::Arguments),
    #[command(flatten)]
    Modem(modem::Command),
    /// Capture what passes on USB
    Capture(capture::Arguments),
    /// Ask a modem all that is safe to ask, and leave a scrubbed capture of it for a bug report
    Record(record::Arguments),
    /// Put doctor, versions, state, log and a scrubbed recording into one file for a bug report
    Report(report::Arguments),
    /// Send AT commands, or talk with the modem in a console
    At(at::Arguments),
    /// Find out why IPv6 is refused, and unlock it
    Ipv6(ipv6::Arguments),
    /// Measure throughput, latency and cost, several settings side by side
    Bench(Box<bench::Arguments>),
    /// Find out what a modem's firmware does: sweeps, boundaries, discovery
    Lab(lab::Arguments),
    /// Run the emulated modem as a USB device for this or another machine
    Emulate(emulate::Arguments),
    /// USB on its own: descriptors and configurations
    Usb(usb::Arguments),
    /// Look into an NCM Transfer Block (NTB)
    Ntb(ntb::Arguments),
    /// Look into MBIM control messages
    Mbim(mbim::Arguments),
    /// Look at what stands between this user and a modem that is online
    Doctor(doctor::Arguments),
    /// Check configuration files
    Config(config::Arguments),
    /// Print the JSON schema of what a command prints with --json
    Schema(schema::Arguments),
    /// Print the script that lets a shell complete the command line
    Completions(completions::Arguments),
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Manual(manual::Arguments),
}

impl Command {
    /// Returns whether the command runs a modem, or an emulated one, until it is stopped. Its
    /// output must never block the modem.
    pub fn keeps_running(&self) -> bool {
        match self {
            Self::Up(_) | Self::Exec(_) | Self::Ping(_) | Self::Resolve(_) => true,
            Self::Emulate(arguments) => arguments.runs(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let mut subcommands = command.get_subcommands().peekable();
            if subcommands.peek().is_none() {
                let after = command
                    .get_after_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(after.contains("Examples:"), "{path} has no examples");
                assert!(
                    after.contains(path.trim()),
                    "{path}: its examples do not show it"
                );
            }
            assert!(
                command.get_about().is_some(),
                "{path} says not what it does"
            );
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{path}: {} is not explained",
                    argument.get_id()
                );
            }
            for subcommand in subcommands {
                check(subcommand, &path);
            }
        }
        check(&Arguments::command(), "");
    }

    #[test]
    fn every_kind_has_the_exit_status_that_the_help_tells() {
        use crate::failure::{Exit, FailureKind as Kind};
        let (status_help, _) = EXIT_STATUS.split_once("Environment").unwrap();
        let told = [
            (Kind::Other, 1),
            (Kind::Host, 1),
            (Kind::Timeout, 1),
            (Kind::Unreadable, 1),
            (Kind::Usage, 2),
            (Kind::Missing, 3),
            (Kind::NotRunning, 3),
            (Kind::Gone, 3),
            (Kind::Several, 4),
            (Kind::Permission, 5),
            (Kind::Busy, 6),
            (Kind::Refused, 7),
            (Kind::NotOpen, 7),
            (Kind::NoTraffic, 8),
            (Kind::Cancelled, 130),
            (Kind::Closed, 141),
        ];
        for (kind, status) in told {
            assert_eq!(Exit::from(kind) as u8, status, "{kind:?}");
            let listed = status_help
                .split_whitespace()
                .any(|word| word == status.to_string());
            // After standard output is closed, no message about that can be read.
            assert!(
                listed || kind == Kind::Closed,
                "{status} is not in the help"
            );
        }
        // `Other` is the last kind.
        assert_eq!(
            told.len(),
            Kind::Other as usize + 1,
            "a kind is missing here"
        );
    }

    /// Returns the text of a page without the escapes of its dashes, quotes and backslashes.
    fn plain(text: &[u8]) -> String {
        let text = String::from_utf8(text.to_vec()).unwrap();
        let text = text.replace("\\-", "-").replace("\\*(Aq", "'");
        text.replace("\\\\", "\\")
    }

    #[test]
    fn every_command_has_a_page_with_its_options_and_examples() {
        fn check(command: &clap::Command, path: &str, pages: &[(String, Vec<u8>)]) {
            let name = format!("{path}.1");
            let (_, page) = pages.iter().find(|(one, _)| *one == name).expect(&name);
            let page = plain(page);
            for argument in command.get_arguments().filter(|one| !one.is_hide_set()) {
                if let Some(long) = argument.get_long() {
                    assert!(page.contains(&format!("--{long}")), "{name}: {long}");
                }
            }
            // A command that only groups others has no examples.
            let examples = command.get_after_help().map(ToString::to_string);
            for line in examples
                .unwrap_or_default()
                .lines()
                .filter(|line| line.starts_with("  "))
            {
                assert!(page.contains(line.trim()), "{name}: {line}");
            }
            for other in command.get_subcommands().filter(|one| !one.is_hide_set()) {
                check(other, &format!("{path}-{}", other.get_name()), pages);
            }
        }
        let mut command = Arguments::command().disable_help_subcommand(true);
        command.build();
        check(&command, "uwwan", &manual::pages(Arguments::command()));
    }

    #[test]
    fn the_options_with_values_of_the_machine_are_found() {
        use crate::completion::with_values;
        use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter};
        fn count(command: &clap::Command, found: &mut [usize; 2]) {
            for argument in command.get_arguments() {
                found[0] += usize::from(argument.get::<ArgValueCandidates>().is_some());
                found[1] += usize::from(argument.get::<ArgValueCompleter>().is_some());
            }
            command.get_subcommands().for_each(|one| count(one, found));
        }
        let mut found = [0; 2];
        count(&with_values(Arguments::command()), &mut found);
        assert!(found[0] > 30 && found[1] > 10, "{found:?}");
    }
}
