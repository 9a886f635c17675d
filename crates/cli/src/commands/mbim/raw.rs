//! `uwwan mbim send --raw` sends bytes as they are.

use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::decode::decode;
use uwwan_mbim::print::Personal;
use uwwan_mbim::registry::Version;
use uwwan_modem::client::{StatusClient, interrupted};
use uwwan_modem::raw::{RawEvent, To};

use super::send::{Arguments, credential, version};
use crate::checks::within;
use crate::failure::{Failure, FailureKind};
use crate::forms::{Message, Sent};
use crate::hex;
use crate::input;
use crate::output::{note, rounded, say, say_json, seconds};
use crate::reach::{Target, interrupts};

/// Longest time until Ctrl-C is noticed.
const TURN: Duration = Duration::from_millis(100);

/// Event after bytes were sent as they are, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Told {
    /// A transfer ended.
    Sent(Sent),
    /// A message came.
    Came {
        /// Bytes of the message.
        length: usize,
        /// The message in hexadecimal.
        hex: String,
        /// Seconds since the first byte was sent.
        after_seconds: f64,
        /// `after_seconds` in milliseconds.
        #[schemars(extend("deprecated" = true))]
        after_ms: f64,
        /// Whether the message has a transaction id of those that were sent.
        answers: bool,
        /// The message, decoded.
        #[schemars(with = "Message")]
        message: serde_json::Value,
    },
    /// Messages came for which there was no room.
    Missed {
        /// Number of the messages.
        transfers: u64,
    },
}

/// Sends the bytes and shows the messages that follow.
///
/// # Errors
/// Fails when the bytes cannot be sent, when the modem takes none of them, and when it sends no
/// message.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    within("wait", arguments.wait, 0.0, 600.0)?;
    let wait = Duration::from_secs_f64(arguments.wait);
    let transfers: Vec<Vec<u8>> = arguments
        .raw
        .iter()
        .map(|content| read(content, version(arguments.mbimex)))
        .collect::<Result<_, _>>()?;
    match arguments.reach.target()? {
        Target::Running(entry) => {
            let client = StatusClient::connect(&entry.socket)?;
            show(arguments, client.send_raw(To::Control, &transfers, wait)?)
        }
        target @ Target::Device { .. } => {
            let interrupts = interrupts()?;
            let modem = target.open(interrupts.clone())?;
            let mut listener = modem.client.send_raw(transfers, wait)?;
            let heard = std::iter::from_fn(|| {
                loop {
                    match listener.wait(TURN) {
                        Ok(Some(event)) => return Some(Ok(event)),
                        Ok(None) if interrupts.try_recv().is_ok() => {
                            return Some(Err(interrupted("waiting for answers")));
                        }
                        Ok(None) => {}
                        Err(_) => return None,
                    }
                }
            });
            let shown = show(arguments, heard);
            modem.client.close()?;
            shown
        }
    }
}

/// Returns the bytes that an argument names. A PIN or a password has to come from a file.
fn read(content: &str, version: Version) -> Result<Vec<u8>, Failure> {
    let bytes = input::read(content)?;
    let given_here = content != "-" && !Path::new(content).exists();
    match credential(&bytes, version) {
        Some(field) if given_here => Err(Failure::new(
            FailureKind::Usage,
            format!("{field} holds a secret"),
        )
        .at("--raw")
        .because("every user of this machine can read a command line")
        .next("--raw FILE takes the bytes from a file, --raw - from standard input")
        .next("nothing was sent, no attempt was used up")),
        _ => Ok(bytes),
    }
}

/// Shows the events until the time is over or there were enough answers.
fn show(
    arguments: &Arguments,
    heard: impl Iterator<Item = Result<RawEvent, Failure>>,
) -> Result<(), Failure> {
    let personal = if arguments.show_personal {
        Personal::Show
    } else {
        Personal::Hide
    };
    let (mut came, mut refused) = (0, None);
    for event in heard {
        match event? {
            RawEvent::Sent {
                transfer,
                length,
                error,
            } => {
                if arguments.json {
                    say_json(&Told::Sent(Sent {
                        transfer,
                        length,
                        error: error.clone(),
                    }))?;
                } else if error.is_none() {
                    say(format!("{length} bytes sent"))?;
                }
                if let Some(error) = error {
                    note(format!("transfer {transfer}: {error}"));
                    refused = Some(error);
                }
            }
            RawEvent::Came {
                bytes,
                after,
                answers,
            } => {
                came += usize::from(answers);
                let message = decode(&bytes, version(arguments.mbimex));
                let after = after as f64 / 1e6;
                if arguments.json {
                    say_json(&Told::Came {
                        length: bytes.len(),
                        hex: hex::lines(&bytes).join(" "),
                        after_seconds: rounded(after, 6),
                        after_ms: rounded(after * 1e3, 3),
                        answers,
                        message: message.json(personal),
                    })?;
                } else {
                    let what = if answers {
                        "an answer"
                    } else {
                        "matches nothing that was sent"
                    };
                    say(format!(
                        "{} bytes after {}: {what}",
                        bytes.len(),
                        seconds(after)
                    ))?;
                    for line in hex::lines(&bytes) {
                        say(format!("  {line}"))?;
                    }
                    say(message.text(personal).trim_end())?;
                }
                if arguments.count.is_some_and(|count| came >= count) {
                    return Ok(());
                }
            }
            RawEvent::Missed { transfers } => {
                if arguments.json {
                    say_json(&Told::Missed { transfers })?;
                } else {
                    note(format!(
                        "{transfers} messages came too fast and are not shown"
                    ));
                }
            }
            RawEvent::Failed { failure } => return Err(failure),
        }
    }
    if came > 0 {
        return Ok(());
    }
    Err(match refused {
        Some(error) => {
            Failure::new(FailureKind::Refused, "the modem does not take the bytes").because(error)
        }
        None => Failure::new(FailureKind::Timeout, "the modem does not answer")
            .because(format!(
                "nothing came in {} s with a transaction id that was sent",
                arguments.wait
            ))
            .next("a malformed message may have no answer; --wait waits longer"),
    })
}
