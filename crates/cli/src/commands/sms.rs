//! `uwwan sms` lists, shows, sends and deletes short messages. Texts and numbers are shown because
//! the user asks for them; none is ever logged.

pub(super) mod store;

use std::io::Read;
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::gsm::{Address, Submit};
use uwwan_mbim::services::Empty;
use uwwan_mbim::services::sms::{
    CONFIGURATION, Configuration, DELETE, DeleteSet, READ, ReadInfo, ReadQuery, SEND, SendInfo,
    SendSet, SmsFlag, SmsFormat, SmsPduSendRecord,
};
use uwwan_mbim::session::Command as MbimCommand;
use uwwan_modem::client::Client;

use crate::failure::{Failure, FailureKind};
use crate::output::say;
use crate::output::say_json;
use crate::page::Page;
use crate::reach::Reach;
use crate::spinner;
use store::{Shown, Stored};

/// Longest time for the network to take a part of a message.
const SEND_PATIENCE: Duration = Duration::from_secs(60);
/// Longest time for reading a full store.
const READ_PATIENCE: Duration = Duration::from_secs(60);
/// Greatest length of a text in bytes: 255 parts hold less.
const LONGEST_TEXT: u64 = 64 * 1024;

/// Arguments of `sms`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the stored messages
    List(ListArguments),
    /// Show messages in full
    Read(ReadArguments),
    /// Send a message
    Send(SendArguments),
    /// Delete stored messages
    Delete(DeleteArguments),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan sms list                       all, one line each; long ones put together
  uwwan sms list --new                 what has not been read
  uwwan sms list --json | jq -r '.[] | [.peer, .text] | @tsv'")]
struct ListArguments {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Choice of the stored messages a command is for: all of them, or those of one state.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(multiple = false)]
struct Which {
    /// Only messages received and not read yet
    #[arg(long)]
    new: bool,
    /// Only messages received and read
    #[arg(long)]
    old: bool,
    /// Only messages that have been sent
    #[arg(long)]
    sent: bool,
    /// Only messages written and not sent
    #[arg(long)]
    drafts: bool,
}

impl Which {
    fn flag(self) -> SmsFlag {
        match self {
            Self { new: true, .. } => SmsFlag::NEW,
            Self { old: true, .. } => SmsFlag::OLD,
            Self { sent: true, .. } => SmsFlag::SENT,
            Self { drafts: true, .. } => SmsFlag::DRAFT,
            _ => SmsFlag::ALL,
        }
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan sms read 1 4           the messages that list shows with these numbers
  uwwan sms read 1 --json")]
struct ReadArguments {
    /// Numbers of the messages, as list shows them; any part of a long one will do
    #[arg(value_name = "INDEX", required = true)]
    index: Vec<u32>,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan sms send +4790002100 'See you at 8'
  uwwan sms send +4790002100 < letter.txt      long texts go in parts
  uwwan sms send +4790002100 hello --report --valid-hours 24
      with a report of the delivery, which arrives as a message of its own

Texts in the GSM alphabet have 160 characters a message, others 70.")]
struct SendArguments {
    /// Telephone number
    #[arg(value_name = "NUMBER", allow_hyphen_values = true)]
    number: String,
    /// The text; without it, standard input
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// Number of the message centre [default: the SIM's]
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    centre: Option<String>,
    /// Ask for a report of the delivery
    #[arg(long)]
    report: bool,
    /// How long the message centre may try [default: its own choice]
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u64).range(1..=10_584))]
    valid_hours: Option<u64>,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan sms delete 1 4         these messages, with all their parts
  uwwan sms delete --old       everything received and read
  uwwan sms delete --all")]
struct DeleteArguments {
    /// Numbers of the messages, as list shows them
    #[arg(value_name = "INDEX", required_unless_present_any = ["all", "new", "old", "sent", "drafts"])]
    index: Vec<u32>,
    /// Every message
    #[arg(long, conflicts_with_all = ["index", "new", "old", "sent", "drafts"])]
    all: bool,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Lists, shows, sends or deletes messages.
///
/// # Errors
/// Fails when the modem cannot be reached, or when it or the network refuses.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::List(arguments) => list(arguments),
        Command::Read(arguments) => read(arguments),
        Command::Send(arguments) => send(arguments),
        Command::Delete(arguments) => delete(arguments),
    }
}

/// Reads every stored message of a kind, with the parts of long ones put together.
fn stored(modem: &mut Client, flag: SmsFlag) -> Result<Vec<Stored>, Failure> {
    let configuration: Configuration = modem.query(CONFIGURATION)?;
    let query = ReadQuery {
        format: configuration.format,
        flag,
        message_index: 0,
    };
    let command = MbimCommand::query_with(READ, &query);
    let answer = spinner::command(modem, "reading messages", command, READ_PATIENCE)?;
    let read: ReadInfo = modem.content(&answer)?;
    Ok(store::messages(&read))
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    let messages = stored(&mut modem, arguments.which.flag())?;
    modem.close()?;
    if arguments.json {
        let list: Vec<Shown> = messages.iter().map(Stored::shown).collect();
        return say_json(&list);
    }
    let mut page = Page::default();
    for message in &messages {
        page.row(&message.number(), message.line());
    }
    if page.is_empty() {
        page.line("no message");
    }
    page.print()
}

fn read(arguments: &ReadArguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    let messages = stored(&mut modem, SmsFlag::ALL)?;
    modem.close()?;
    let mut found: Vec<&Stored> = Vec::new();
    for index in &arguments.index {
        let message = named(&messages, *index)?;
        if !found.iter().any(|other| std::ptr::eq(*other, message)) {
            found.push(message);
        }
    }
    if arguments.json {
        let list: Vec<Shown> = found.iter().map(|message| message.shown()).collect();
        return say_json(&list);
    }
    for (place, message) in found.iter().enumerate() {
        if place > 0 {
            say("")?;
        }
        message.page().print()?;
        for line in message.full_text() {
            say(line)?;
        }
    }
    Ok(())
}

fn named(messages: &[Stored], index: u32) -> Result<&Stored, Failure> {
    messages
        .iter()
        .find(|message| message.indexes().contains(&index))
        .ok_or_else(|| {
            Failure::new(FailureKind::Usage, format!("there is no message {index}"))
                .next("uwwan sms list shows those there are")
        })
}

fn number(text: &str) -> Result<Address, Failure> {
    text.parse().map_err(|error| {
        Failure::new(FailureKind::Usage, "this is no telephone number").because(error)
    })
}

fn text(arguments: &SendArguments) -> Result<String, Failure> {
    if let Some(text) = &arguments.text {
        return Ok(text.clone());
    }
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::new(FailureKind::Usage, "cannot read the text")
            .at("standard input")
            .because(why)
    };
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(LONGEST_TEXT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(&error))?;
    if bytes.len() as u64 > LONGEST_TEXT {
        return Err(wrong(&format_args!(
            "it is longer than {LONGEST_TEXT} bytes"
        )));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| wrong(&"it is not text (UTF-8)"))?;
    // The line end that an editor adds is no part of the message.
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

fn send(arguments: &SendArguments) -> Result<(), Failure> {
    let to = number(&arguments.number)?;
    let centre = arguments.centre.as_deref().map(number).transpose()?;
    let text = text(arguments)?;
    let message = Submit {
        to: &to,
        centre: centre.as_ref(),
        text: &text,
        reference: reference(),
        report: arguments.report,
        validity: arguments
            .valid_hours
            .map(|hours| Duration::from_secs(hours * 3600)),
    };
    let pdus = message
        .encode()
        .map_err(|error| Failure::new(FailureKind::Usage, "the text is too long").because(error))?;
    let mut modem = arguments.reach.open()?;
    let configuration: Configuration = modem.query(CONFIGURATION)?;
    if configuration.format != SmsFormat::PDU {
        return Err(
            Failure::new(FailureKind::Refused, "this modem sends CDMA messages")
                .at(modem.place())
                .because("only the GSM form is written here")
                .next("uwwan mbim send --service sms --cid send takes any content"),
        );
    }
    let total = pdus.len();
    let mut references = Vec::new();
    for (index, pdu) in pdus.into_iter().enumerate() {
        let doing = if total == 1 {
            "sending the message".to_owned()
        } else {
            format!("sending part {} of {total}", index + 1)
        };
        let set = SendSet {
            format: SmsFormat::PDU,
            pdu_message: Some(SmsPduSendRecord { pdu_data: pdu }),
            cdma_message: None,
        };
        let answer = spinner::command(
            &mut modem,
            &doing,
            MbimCommand::set(SEND, &set),
            SEND_PATIENCE,
        )
        .map_err(|failure| partly(failure, index, total))?;
        let info: SendInfo = modem
            .content(&answer)
            .map_err(|failure| partly(failure, index, total))?;
        references.push(info.message_reference);
    }
    modem.close()?;
    if arguments.json {
        return say_json(&SentMessage {
            parts: total,
            references,
        });
    }
    let mut page = Page::default();
    page.line(match total {
        1 => "sent".to_owned(),
        parts => format!("sent in {parts} parts"),
    });
    page.print()
}

/// A message that was sent, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SentMessage {
    /// Number of parts.
    parts: usize,
    /// Reference that the network has given to each part.
    references: Vec<u32>,
}

/// Messages that were deleted, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Deleted {
    /// Number of messages.
    deleted: usize,
}

fn partly(failure: Failure, sent: usize, total: usize) -> Failure {
    if sent == 0 {
        return failure;
    }
    failure.because(format!(
        "{sent} of {total} parts were sent before; the recipient will see a message with holes"
    ))
}

/// Returns a reference that ties the parts of one message together, a different one each time.
fn reference() -> u8 {
    let time = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    // Seconds and their fraction are mixed, so that neither a script nor a user repeats it.
    (time.as_secs() as u8).wrapping_mul(31) ^ (time.subsec_millis() as u8)
}

fn delete(arguments: &DeleteArguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    let mut deleted = 0;
    if arguments.index.is_empty() {
        let set = DeleteSet {
            flag: arguments.which.flag(),
            message_index: 0,
        };
        deleted = stored(&mut modem, set.flag)?.len();
        if deleted > 0 {
            let _: Empty = modem.set(DELETE, &set)?;
        }
    } else {
        let messages = stored(&mut modem, SmsFlag::ALL)?;
        let mut indexes = Vec::new();
        for index in &arguments.index {
            let parts = named(&messages, *index)?.indexes();
            if !indexes.contains(&parts[0]) {
                deleted += 1;
                indexes.extend(parts);
            }
        }
        for index in indexes {
            let set = DeleteSet {
                flag: SmsFlag::INDEX,
                message_index: index,
            };
            let _: Empty = modem.set(DELETE, &set)?;
        }
    }
    modem.close()?;
    if arguments.json {
        return say_json(&Deleted { deleted });
    }
    let mut page = Page::default();
    page.line(match deleted {
        0 => "nothing to delete".to_owned(),
        1 => "1 message deleted".to_owned(),
        count => format!("{count} messages deleted"),
    });
    page.print()
}
