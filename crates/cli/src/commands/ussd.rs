//! `uwwan ussd` sends codes such as `*100#`, and answers the menus behind them.

use std::io::IsTerminal;
use std::time::Duration;

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

/// Holds a dialogue with the network, and shows its answers.
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
    let mut replies = arguments.reply.iter();
    let mut answers = Vec::new();
    let mut answer = turn(&mut modem, UssdAction::INITIATE, code)?;
    for turns in 1.. {
        if arguments.json {
            answers.push(Shown::of(&answer));
        } else {
            show(&answer)?;
        }
        if answer.response != UssdResponse::ACTION_REQUIRED || turns >= MOST_TURNS {
            break;
        }
        let reply = match replies.next() {
            Some(reply) => reply.clone(),
            None if !arguments.json && std::io::stdin().is_terminal() && prompt::possible() => {
                prompt::line("> ", &interrupts)?
            }
            None => String::new(),
        };
        if reply.is_empty() {
            // The user has left the dialogue, so the network need not wait.
            let _ = turn(&mut modem, UssdAction::CANCEL, "");
            break;
        }
        answer = turn(&mut modem, UssdAction::CONTINUE, &reply)?;
    }
    if arguments.json {
        say_json(&answers)?;
    }
    verdict(&answer)?;
    modem.close()
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
