//! `uwwan mbim` decodes control messages, and sends any command.

mod send;

use uwwan_mbim::decode::{Decoded, decode_all};
use uwwan_mbim::print::{Personal, json_line};

use crate::failure::{Failure, FailureKind};
use crate::input;
use crate::output::say;

/// Arguments of `mbim`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show messages field by field, however broken they are
    Decode(Decode),
    /// Send any command to the modem and show the answer
    Send(send::Arguments),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan mbim decode 01000000 10000000 01000000 00040000       an OPEN message
  uwwan mbim decode message.bin                               messages one after another
  xxd -p message.bin | uwwan mbim decode - --json             one line of JSON a message
  uwwan mbim decode --show-personal message.bin               IMEI, numbers and texts too

The exit status is 1 when anything in the input makes no sense.")]
struct Decode {
    /// A file (bytes or hexadecimal text), - for standard input, or hexadecimal digits
    #[arg(value_name = "INPUT", required = true)]
    input: Vec<String>,
    /// Print JSON, one message a line
    #[arg(long)]
    json: bool,
    /// Print what identifies or belongs to a person too
    #[arg(long = "show-personal", alias = "personal")]
    personal: bool,
    /// Version of the Microsoft extensions in force, which changes some layouts
    #[arg(long, value_name = "VERSION", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    mbimex: u8,
}

/// Decodes messages, or sends a command.
///
/// # Errors
/// Fails when the input cannot be read or anything in it makes no sense, or when the modem refuses
/// the command that was sent.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let decode = match &arguments.command {
        Command::Send(arguments) => return send::run(arguments),
        Command::Decode(decode) => decode,
    };
    let bytes = match &decode.input[..] {
        [one] => input::read(one)?,
        // The shell has split hexadecimal digits at their spaces.
        many => input::read(&many.join(" "))?,
    };
    let version = send::version(decode.mbimex);
    let personal = if decode.personal {
        Personal::Show
    } else {
        Personal::Hide
    };
    let messages = decode_all(&bytes, version);
    for (number, message) in messages.iter().enumerate() {
        if decode.json {
            say(json_line(&message.json(personal)))?;
        } else {
            if number > 0 {
                say("")?;
            }
            say(message.text(personal).trim_end())?;
        }
    }
    let wrong: Vec<String> = messages.iter().flat_map(faults).take(5).collect();
    if wrong.is_empty() && !messages.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::new(FailureKind::Other, "this is not all well-formed MBIM")
        .at(decode.input.join(" ").chars().take(80).collect::<String>());
    for fault in wrong {
        failure = failure.because(fault);
    }
    Err(failure)
}

fn faults(message: &Decoded) -> Vec<String> {
    message
        .errors
        .iter()
        .map(|error| format!("at byte {}: {}", error.offset, error.what))
        .collect()
}
