//! `uwwan ussd` sends codes such as `*100#`, and answers the menus behind them.

use std::io::IsTerminal;
use std::time::Duration;

use crossbeam_channel::Receiver;
use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::gsm::coding::{from_ussd, to_ussd};
use uwwan_mbim::print::hex;
use uwwan_mbim::services::ussd::{USSD, Ussd, UssdAction, UssdResponse, UssdSet};
use uwwan_mbim::session::Command as MbimCommand;
use uwwan_mbim::status::Status;
use uwwan_modem::Code;
use uwwan_modem::client::Client;

use crate::failure::{Failure, FailureKind};
use crate::output::say_json;
use crate::page::Page;
use crate::prompt;
use crate::reach::Reach;
use crate::spinner;

/// Longest time for the network's answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time that the modem has to end a dialogue that is left.
const LEAVE_TIME: Duration = Duration::from_secs(5);
/// What to do where another dialogue is in the way.
const CANCEL: &str = "uwwan ussd --cancel ends one that is under way";
/// Greatest number of turns of a dialogue. A network that asks on and on is left then.
const MOST_TURNS: usize = 50;

/// Arguments of `ussd`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan ussd '*100#'                    asks the network; its questions are answered on the terminal
  uwwan ussd '*100#' --reply 2 --reply 1
      answers given beforehand, for scripts; what comes after them is left
  uwwan ussd --cancel                   ends a dialogue that another program has begun
  uwwan ussd '*100#' --json | jq -r '.[0].text'")]
pub struct Arguments {
    /// The code
    #[arg(
        value_name = "CODE",
        required_unless_present = "cancel",
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    code: Option<String>,
    /// Answer to the network's question; may be repeated
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    reply: Vec<String>,
    /// End the dialogue
    #[arg(long, conflicts_with_all = ["code", "reply"])]
    cancel: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON: every answer of the network in one list
    #[arg(long)]
    json: bool,
}

/// Holds a dialogue with the network, and shows its answers. A dialogue that is left is ended, so that
/// neither the network nor another program waits for it.
///
/// # Errors
/// Fails when the modem cannot be reached, or when it or the network refuses.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let reached = arguments.reach.modem()?;
    let (mut modem, interrupts) = (reached.client, reached.interrupts);
    let Some(code) = &arguments.code else {
        let _ = turn(&mut modem, UssdAction::CANCEL, "")?;
        return modem.close();
    };
    let (mut answers, mut open) = (Vec::new(), false);
    let answer = dialogue(
        arguments,
        code,
        &mut modem,
        &interrupts,
        &mut answers,
        &mut open,
    );
    if open {
        leave(&mut modem);
    }
    let answer = answer?;
    if arguments.json {
        say_json(&answers)?;
    }
    verdict(&answer)?;
    modem.close()
}

/// Holds a dialogue up to its last answer, which it returns. `open` says whether the network waits
/// for more, or is waited for, however the dialogue ends.
fn dialogue(
    arguments: &Arguments,
    code: &str,
    modem: &mut Client,
    interrupts: &Receiver<i32>,
    answers: &mut Vec<Shown>,
    open: &mut bool,
) -> Result<Ussd, Failure> {
    let mut replies = arguments.reply.iter();
    let (mut action, mut said) = (UssdAction::INITIATE, code.to_owned());
    let mut turns = 0;
    loop {
        turns += 1;
        let answer = turn(modem, action, &said).inspect_err(|failure| {
            // A dialogue that is refused at its beginning is another program's.
            *open |= matches!(failure.kind, FailureKind::Cancelled | FailureKind::Timeout);
        })?;
        *open = answer.response == UssdResponse::ACTION_REQUIRED;
        if arguments.json {
            answers.push(Shown::of(&answer));
        } else {
            show(&answer)?;
        }
        if !*open || turns >= MOST_TURNS {
            return Ok(answer);
        }
        said = match replies.next() {
            Some(reply) => reply.clone(),
            None if !arguments.json && std::io::stdin().is_terminal() && prompt::possible() => {
                prompt::line("> ", interrupts)?
            }
            None => String::new(),
        };
        if said.is_empty() {
            return Ok(answer);
        }
        action = UssdAction::CONTINUE;
    }
}

/// Ends the dialogue. A modem that does not is left as it is.
fn leave(modem: &mut Client) {
    // Ctrl-C has ended the wait for the network, and would end this one, too.
    modem.interrupt_by(|| false);
    let set = UssdSet {
        action: UssdAction::CANCEL,
        ..UssdSet::default()
    };
    if let Err(failure) = modem.command(MbimCommand::set(USSD, &set), LEAVE_TIME) {
        tracing::debug!("the dialogue is not ended: {}", failure.one_line());
    }
}

fn turn(modem: &mut Client, action: UssdAction, text: &str) -> Result<Ussd, Failure> {
    let (data_coding_scheme, payload) = to_ussd(text).ok_or_else(|| {
        Failure::new(FailureKind::Usage, "the text is too long")
            .because("USSD takes 182 characters of the GSM alphabet, 80 of others")
    })?;
    let set = UssdSet {
        action,
        data_coding_scheme: data_coding_scheme.into(),
        payload,
    };
    let answer = spinner::command(
        modem,
        "asking the network",
        MbimCommand::set(USSD, &set),
        PATIENCE,
    )?;
    modem
        .content(&answer)
        .map_err(|failure| match failure.code {
            Some(Code::Status(Status::BUSY)) => failure.next(CANCEL),
            _ => failure,
        })
}

fn text(answer: &Ussd) -> Option<String> {
    let scheme = u8::try_from(answer.data_coding_scheme).ok()?;
    from_ussd(scheme, &answer.payload)
}

fn show(answer: &Ussd) -> Result<(), Failure> {
    let mut page = Page::default();
    match text(answer) {
        Some(text) => text
            .lines()
            .map(|line| line.trim_end_matches('\r'))
            .for_each(|line| page.line(line)),
        None if answer.payload.is_empty() => {}
        None => page.line(format!("(data) {}", hex(&answer.payload))),
    }
    page.print()
}

/// An answer of the network, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    /// Next step that the network expects.
    response: String,
    /// Whether the dialogue is new.
    session: String,
    /// Text; null when the answer has none.
    text: Option<String>,
    /// Coding of the text (3GPP TS 23.038, 5).
    coding: u32,
}

impl Shown {
    fn of(answer: &Ussd) -> Self {
        Self {
            response: answer.response.to_string(),
            session: answer.session_state.to_string(),
            text: text(answer),
            coding: answer.data_coding_scheme,
        }
    }
}

fn verdict(answer: &Ussd) -> Result<(), Failure> {
    let why = match answer.response {
        UssdResponse::NO_ACTION_REQUIRED
        | UssdResponse::ACTION_REQUIRED
        | UssdResponse::TERMINATED_BY_NETWORK => return Ok(()),
        UssdResponse::OTHER_LOCAL_CLIENT => "another program's dialogue is under way",
        UssdResponse::OPERATION_NOT_SUPPORTED => "the network does not know this",
        UssdResponse::NETWORK_TIMEOUT => "the network did not answer",
        _ => "an answer this program does not know",
    };
    Err(Failure::new(FailureKind::Refused, "the dialogue failed")
        .because(format!("{}: {why}", answer.response))
        .next(CANCEL))
}
