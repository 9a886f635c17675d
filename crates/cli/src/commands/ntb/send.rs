//! `uwwan ntb send` puts NTBs on the bulk OUT endpoint of a modem that is online.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_modem::raw::{Heard, To};

use super::decode::{Direction, Seen, Shown};
use crate::checks::within;
use crate::failure::{Failure, FailureKind};
use crate::hex;
use crate::input;
use crate::output::{note, rounded, say, say_json, seconds};
use crate::running;

/// Arguments of `ntb send`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan ntb build --ping 10.0.0.2,10.0.0.1 --ndp front --file front.ntb
  uwwan ntb send front.ntb                    and two seconds of what comes back
  uwwan ntb send a.ntb b.ntb --wait 5 --hex   one after another
  uwwan ntb build --from trace.pcapng | uwwan ntb send - --json

The running uwwan up sends them, one transfer each, whatever they hold; only who owns it may have it do so. It
pauses its own sending for that moment, and goes on whatever becomes of the NTBs. What comes is shown and delivered
to the host as well; traffic of others is among it. Without a running up there is no data session to send on: start
one, with --device emulator on the emulated modem.

The exit status is 7 when the device does not take an NTB. That nothing comes back is no failure: firmware takes
NTBs and swallows them.")]
pub struct Arguments {
    /// NTBs: files of bytes or hexadecimal text, - for standard input, or hexadecimal digits
    #[arg(value_name = "FILE", required = true)]
    ntbs: Vec<String>,
    /// Seconds to show what comes back
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    wait: f64,
    /// End after so many NTBs came
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Print the bytes of what comes, too
    #[arg(long)]
    hex: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
    /// Which, when several run: its port as `uwwan list` shows it, or `emulator`
    #[arg(long, short, value_name = "PORT")]
    device: Option<String>,
    /// Where running modems keep their control sockets
    #[arg(long, value_name = "DIR", env = "UWWAN_RUNTIME_DIR")]
    runtime_dir: Option<PathBuf>,
}

/// What came of NTBs that were sent as they are, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Told {
    /// A transfer ended.
    Sent {
        /// Number of the transfer, from 0.
        transfer: usize,
        /// Copy of `transfer`.
        #[schemars(extend("deprecated" = true))]
        ntb: usize,
        /// Bytes that were sent.
        length: usize,
        /// What went wrong; null when nothing did.
        error: Option<String>,
    },
    /// An NTB came.
    Came {
        /// Bytes of the transfer.
        length: usize,
        /// Seconds since the first byte was sent.
        after_seconds: f64,
        /// `after_seconds` in milliseconds.
        #[schemars(extend("deprecated" = true))]
        after_ms: f64,
        /// The transfer in hexadecimal, if it was asked for.
        hex: Option<String>,
        /// What is in the NTB; null when it is none.
        ntb: Option<Box<Shown>>,
        /// Why it is none, for people.
        error: Option<String>,
    },
    /// NTBs came for which there was no room.
    Missed {
        /// Number of the transfers.
        transfers: u64,
        /// Copy of `transfers`.
        #[schemars(extend("deprecated" = true))]
        ntbs: u64,
    },
}

/// Has the NTBs sent and shows what comes.
///
/// # Errors
/// Fails when no `up` runs or this user may not order it, and when the device does not take an NTB.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    within("wait", arguments.wait, 0.0, 600.0)?;
    let ntbs: Vec<Vec<u8>> = arguments
        .ntbs
        .iter()
        .map(|ntb| input::read(ntb))
        .collect::<Result<_, _>>()?;
    let client = running::status(
        arguments.runtime_dir.as_deref(),
        arguments.device.as_deref(),
    )
    .map_err(|failure| match failure.kind {
        FailureKind::Missing => {
            failure.because("NTBs are carried by a data session, which a running uwwan up holds")
        }
        _ => failure,
    })?;
    let wait = Duration::from_secs_f64(arguments.wait);
    let (mut came, mut sent, mut refused) = (0, 0, None);
    for event in client.send_raw(To::Data, &ntbs, wait)? {
        match event? {
            Heard::Sent {
                transfer,
                length,
                error,
            } => {
                sent += 1;
                if arguments.json {
                    say_json(&Told::Sent {
                        transfer,
                        ntb: transfer,
                        length,
                        error: error.clone(),
                    })?;
                } else if error.is_none() {
                    say(format!("{length} bytes sent"))?;
                }
                if let Some(error) = error {
                    refused = Some((transfer, error));
                }
            }
            Heard::Came { bytes, after, .. } => {
                came += 1;
                tell(arguments, &bytes, after)?;
            }
            Heard::Missed { transfers } if arguments.json => {
                say_json(&Told::Missed {
                    transfers,
                    ntbs: transfers,
                })?;
            }
            Heard::Missed { transfers } => {
                note(format!("{transfers} NTBs came too fast and are not shown"));
            }
            Heard::Failed { failure } => return Err(failure),
        }
        // An answer may come before the end of the transfer that it answers is told, and what is not sent
        // when nobody listens any more is not sent at all.
        let all_sent = sent == ntbs.len() || refused.is_some();
        if all_sent && arguments.count.is_some_and(|count| came >= count) {
            break;
        }
    }
    if let Some((transfer, error)) = refused {
        let failure = Failure::new(FailureKind::Refused, "the device does not take an NTB")
            .at(&*arguments.ntbs[transfer.min(ntbs.len() - 1)])
            .because(error);
        return Err(match ntbs.len() - sent {
            0 => failure,
            left => failure.because(format!("{left} behind it were not sent")),
        });
    }
    if came == 0 && !arguments.json {
        note(format!("nothing came back in {} s", arguments.wait));
    }
    Ok(())
}

/// Shows an NTB that came.
fn tell(arguments: &Arguments, bytes: &[u8], after: u64) -> Result<(), Failure> {
    let seen = Seen::of(bytes, Some(Direction::In));
    let after = after as f64 / 1e6;
    if arguments.json {
        return say_json(&Told::Came {
            length: bytes.len(),
            after_seconds: rounded(after, 6),
            after_ms: rounded(after * 1e3, 3),
            hex: arguments.hex.then(|| hex::lines(bytes).join(" ")),
            ntb: seen.as_ref().ok().map(Seen::shown).map(Box::new),
            error: seen.as_ref().err().map(Failure::one_line),
        });
    }
    say(format!(
        "{} bytes came after {}",
        bytes.len(),
        seconds(after)
    ))?;
    match &seen {
        Ok(seen) => seen
            .short()
            .iter()
            .try_for_each(|line| say(format!("  {line}")))?,
        Err(failure) => say(format!("  {}", failure.one_line()))?,
    }
    if arguments.hex {
        for line in hex::lines(bytes) {
            say(format!("    {line}"))?;
        }
    }
    Ok(())
}
