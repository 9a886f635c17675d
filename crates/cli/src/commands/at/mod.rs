//! `uwwan at` sends AT commands, one after another or from a console, and prints position data.

mod console;
pub mod transcript;

pub use transcript::shown;

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_at::failure::Failure as Refusal;
use uwwan_modem::at_port::{Answer, Line};

use crate::failure::{Failure, FailureKind};
use crate::output::{note, plain, say, say_json};
use crate::reach::{Reach, interrupts};
use transcript::Transcript;

/// Greatest number of lines that are read from standard input.
const LONGEST_SCRIPT: usize = 10_000;

/// Arguments of `at`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan at 'AT^IPV6CAP?' 'AT+CGDCONT=?'     one after another, until one is refused
  uwwan at                                  a console: Tab completes and explains, Ctrl-D leaves
  uwwan at --json 'AT+CSQ' | jq -r .lines[]
  uwwan at --timeout 200 'AT+COPS=?'        a scan takes minutes
  uwwan at --force 'AT^RESET'               also while uwwan up is online through it
  uwwan at --nmea > track.nmea              position data until Ctrl-C
  uwwan at --device emulator ATI            on the emulated modem

While `uwwan up` runs, its AT port is used: answers do not mix with those of other programs. Other
programs find it as a terminal: minicom -D /run/uwwan/1-4.2/at
Otherwise the first vendor interface that answers is used, and given back to the kernel afterwards.")]
pub struct Arguments {
    /// Commands; none for a console, or for one a line from standard input
    #[arg(value_name = "COMMAND")]
    pub commands: Vec<String>,
    #[command(flatten)]
    pub reach: Reach,
    /// How long each command may take [default: what is usual for it, 10 s for most]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: Option<u64>,
    /// Start GPS, print its NMEA sentences until Ctrl-C, and stop it; a fix every so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", conflicts_with = "commands", value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub nmea: Option<u16>,
    /// Also what ends the session of a running uwwan up, resets the modem, or costs attempts of PIN
    /// or PUK
    #[arg(long)]
    pub force: bool,
    /// Go on with the next command when one is refused; the exit status is the first one's
    #[arg(long)]
    pub keep_going: bool,
    /// Print each answer as one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Append all that is said to this file, without PINs, numbers and messages
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Write PINs, numbers and messages to the log, too
    #[arg(long, requires = "log")]
    pub show_personal: bool,
}

/// Sends the commands that are given, opens the console, or prints position data.
///
/// # Errors
/// Fails when no AT port can be reached, when the log or standard input cannot be used, or when a
/// command is refused or not answered.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut transcript = Transcript::open(arguments.log.as_deref(), arguments.show_personal)?;
    if let Some(seconds) = arguments.nmea {
        return nmea(arguments, seconds, &mut transcript);
    }
    if arguments
        .commands
        .iter()
        .any(|command| transcript::is_secret(command))
    {
        return Err(
            Failure::new(FailureKind::Usage, "a PIN is no argument of a command")
                .because("every user of this machine can read command lines; nothing was sent")
                .next("uwwan pin --help   has commands that ask for it")
                .next("uwwan at           is a console, and takes commands from a pipe or a file, too"),
        );
    }
    let timeout = arguments.timeout.map(Duration::from_secs);
    let console = arguments.commands.is_empty() && std::io::stdin().is_terminal();
    let script;
    let commands = if arguments.commands.is_empty() && !console {
        script = read_script()?;
        &script
    } else {
        &arguments.commands
    };
    let mut client = arguments.reach.at(None)?;
    if arguments.force {
        client.insist();
    }
    if console {
        return console::run(client, timeout, transcript);
    }
    let mut first = None;
    for command in commands {
        transcript.sent(command);
        let answer = client.ask(command, None, timeout)?;
        transcript.answered(&answer);
        show(&answer, arguments.json)?;
        if let Err(failure) = judged(&answer) {
            if !arguments.keep_going {
                return Err(failure);
            }
            if first.is_none() {
                first = Some(failure);
            }
        }
    }
    first.map_or(Ok(()), Err)
}

fn read_script() -> Result<Vec<String>, Failure> {
    let mut commands = Vec::new();
    for line in std::io::stdin().lock().lines().take(LONGEST_SCRIPT) {
        let line = line.map_err(|error| {
            Failure::new(
                FailureKind::Usage,
                "cannot read commands from standard input",
            )
            .because(error)
        })?;
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            commands.push(line.to_owned());
        }
    }
    Ok(commands)
}

/// Turns a final result other than `OK` into a failure, whose kind decides the exit status.
fn judged(answer: &Answer) -> Result<(), Failure> {
    let Err(refusal) = &answer.result else {
        return Ok(());
    };
    let exit = match refusal {
        Refusal::Timeout(_) | Refusal::Cancelled | Refusal::Closed => FailureKind::Host,
        _ => FailureKind::Refused,
    };
    let failure = Failure::new(exit, "the command failed")
        .at(transcript::shown(&answer.command))
        .because(refusal);
    Err(match refusal {
        Refusal::Error => failure.next("uwwan at AT+CMEE=2 makes the modem give reasons"),
        Refusal::Timeout(_) => failure.next("--timeout SECONDS waits longer"),
        _ => failure,
    })
}

/// An answer, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    /// Command that was sent.
    command: String,
    /// Lines of the answer, without the final result.
    lines: Vec<String>,
    /// Whether the answer was longer than the part that is kept.
    truncated: bool,
    /// Whether the final result is `OK`.
    ok: bool,
    /// Final result if it is not `OK`, in words.
    error: Option<String>,
}

fn show(answer: &Answer, json: bool) -> Result<(), Failure> {
    if json {
        return say_json(&Shown {
            command: answer.command.clone(),
            lines: answer.lines.clone(),
            truncated: answer.truncated,
            ok: answer.result.is_ok(),
            error: answer.result.as_ref().err().map(ToString::to_string),
        });
    }
    for line in &answer.lines {
        say(plain(line))?;
    }
    if answer.truncated {
        note("(the answer is longer than what is kept)");
    }
    Ok(())
}

/// Starts GPS with a fix every `seconds` seconds, prints its NMEA sentences on standard output
/// until a signal, and stops it.
fn nmea(arguments: &Arguments, seconds: u16, transcript: &mut Transcript) -> Result<(), Failure> {
    let mut client = arguments
        .reach
        .at(Some(uwwan_usb::functions::SerialRole::Gps))?;
    let signals = interrupts()?;
    let mut lines = client.listen()?;
    let never = |error: uwwan_at::dialogue::InvalidCommand| {
        Failure::new(FailureKind::Host, "cannot start GPS").because(error)
    };
    for command in uwwan_at::commands::gps::start(seconds).map_err(never)? {
        transcript.sent(command.line());
        let answer = client.ask(command.line(), None, None)?;
        transcript.answered(&answer);
        // The modem refuses `AT^WPDST` when GPS runs already.
        if !command.line().starts_with("AT^WPDST") {
            judged(&answer)?;
        }
    }
    let outcome = loop {
        if signals.try_recv().is_ok() {
            break Ok(());
        }
        match lines.next(Duration::from_millis(200)) {
            Ok(None | Some(Line::Unsolicited(_))) => {}
            Ok(Some(Line::Nmea(sentence))) => {
                if let Err(failure) = say(plain(&sentence)) {
                    break Err(failure);
                }
            }
            Err(error) => break Err(error),
        }
    };
    let stop = uwwan_at::commands::gps::stop().map_err(never)?;
    transcript.sent(stop.line());
    let stopped = client.ask(stop.line(), None, None);
    if let Ok(answer) = &stopped {
        transcript.answered(answer);
    }
    outcome?;
    judged(&stopped?)
}
