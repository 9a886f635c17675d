//! `uwwan mbim` decodes control messages, and sends any command.

mod carried;
pub(super) mod raw;
mod send;

use uwwan_mbim::decode::{Decoded, decode_all};
use uwwan_mbim::print::Personal;

use crate::failure::{Failure, FailureKind};
use crate::input::{self, Input};
use crate::output::{say, say_value};
use crate::story::filter::MessageFilter;
use crate::story::tell::Teller;
use crate::story::{Story, What};

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
    Send(Box<send::Arguments>),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan mbim decode 01000000 10000000 01000000 00040000       an OPEN message
  uwwan mbim decode message.bin                               messages one after another
  xxd -p message.bin | uwwan mbim decode - --json             one line of JSON a message
  uwwan mbim decode trace.pcapng --cid connect                of a capture: of uwwan, usbmon or USBPcap
  uwwan mbim decode --show-personal message.bin               IMEI, numbers and texts too

The exit status is 1 when anything in the input makes no sense.")]
struct Decode {
    /// A capture (pcapng or pcap), a file of bytes or hexadecimal text, - for standard input, or hexadecimal digits
    #[arg(value_name = "INPUT", required = true)]
    input: Vec<String>,
    /// Print JSON, one message a line
    #[arg(long)]
    json: bool,
    /// Print what identifies or belongs to a person too
    #[arg(long = "show-personal", alias = "personal")]
    personal: bool,
    #[command(flatten)]
    filter: MessageFilter,
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
        Command::Send(arguments) if !arguments.raw.is_empty() => return raw::run(arguments),
        Command::Send(arguments) => return send::run(arguments),
        Command::Decode(decode) => decode,
    };
    let bytes = match &decode.input[..] {
        [one] => match input::open(one)? {
            Input::Bytes(bytes) => bytes,
            Input::Capture(story) => return of_capture(*story, decode),
        },
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
            say_value(message.json(personal))?;
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

/// Decodes the messages of a capture.
fn of_capture(mut story: Story<'static>, decode: &Decode) -> Result<(), Failure> {
    let teller = Teller {
        json: decode.json,
        version: send::version(decode.mbimex),
        personal: if decode.personal {
            Personal::Show
        } else {
            Personal::Hide
        },
    };
    let (mut told, mut faulty) = (0, 0);
    let mut start = None;
    while let Some(entry) = story.next_entry()? {
        let start = *start.get_or_insert(entry.time);
        let What::Message { bytes, .. } = &entry.what else {
            continue;
        };
        let message = uwwan_mbim::decode::decode(bytes, teller.version);
        if !decode.filter.allows(&message) {
            continue;
        }
        if told > 0 && !decode.json {
            say("")?;
        }
        told += 1;
        faulty += usize::from(!message.errors.is_empty());
        teller.message(&entry, &message, start)?;
    }
    match (told, faulty) {
        (0, _) => Err(
            Failure::new(FailureKind::Other, "no such message was captured")
                .at(decode.input.join(" "))
                .next("uwwan capture show tells what else is in the capture"),
        ),
        (_, 0) => Ok(()),
        _ => Err(
            Failure::new(FailureKind::Other, "this is not all well-formed MBIM")
                .at(decode.input.join(" "))
                .because(format!("{faulty} of {told} messages make no sense")),
        ),
    }
}

fn faults(message: &Decoded) -> Vec<String> {
    message
        .errors
        .iter()
        .map(|error| format!("at byte {}: {}", error.offset, error.what))
        .collect()
}
