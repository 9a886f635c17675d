//! `uwwan ntb send` puts NTBs on the bulk OUT endpoint of a modem that is online.

use std::time::Duration;

use crossbeam_channel::Receiver;
use schemars::JsonSchema;
use serde::Serialize;
use uwwan_modem::client::StatusClient;
use uwwan_modem::raw::{Listener, RawEvent, To};
use uwwan_modem::status::Addresses;

use super::decode::{Direction, Seen, Shown};
use crate::checks::within;
use crate::commands::lab::link::{Link, NotUp, Subject, interrupted};
use crate::failure::{Failure, FailureKind};
use crate::hex;
use crate::input;
use crate::output::{note, rounded, say, say_json, seconds};
use crate::reach::{Reach, Target, interrupts};
use crate::settings::Settings;
use crate::spinner::Spinner;

/// Longest time for which MBIM_OPEN may stay unanswered at the first attempt.
const OPEN_TIME: Duration = Duration::from_secs(20);
/// Longest time until Ctrl-C is noticed.
const POLL: Duration = Duration::from_millis(100);

/// Arguments of `ntb send`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan ntb build --ping 10.0.0.2,10.0.0.1 --ndp front --file front.ntb
  uwwan ntb send front.ntb                    and two seconds of what comes back
  uwwan ntb send a.ntb b.ntb --wait 5 --hex   one after another
  uwwan ntb build --from trace.pcapng | uwwan ntb send - --json

  uwwan ntb send front.ntb -- --apn internet  where no uwwan up runs

The running uwwan up sends them, one transfer each, whatever they hold; only who owns it may have it do so. It
pauses its own sending for that moment, and goes on whatever becomes of the NTBs. What comes is shown and delivered
to the host as well; traffic of others is among it.

Where no up runs, the modem is brought online for it, with the options of up that follow --, and left as it was
found. The host has no interface then: nothing is sent but the NTBs, and what comes is only shown.

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
    #[command(flatten)]
    reach: Reach,
    /// Seconds within which the modem must be online, where no uwwan up runs
    #[arg(long, value_name = "SECONDS", default_value_t = 180.0)]
    online_wait: f64,
    /// Options of `uwwan up` with which the modem is brought online, such as --apn and --pin-file
    #[arg(last = true, value_name = "OPTION OF UP")]
    up: Vec<String>,
}

/// Event after NTBs were sent as they are, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Told {
    /// The modem was brought online.
    Online {
        /// Addresses that the network gave.
        addresses: Addresses,
    },
    /// A transfer ended.
    Sent {
        /// Number of the transfer, from 0.
        transfer: usize,
        /// Copy of `transfer`.
        #[schemars(extend("deprecated" = true))]
        ntb: usize,
        /// Bytes that were sent.
        length: usize,
        /// The failure; null for none.
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
        /// Content of the NTB; null when the transfer is no NTB.
        ntb: Option<Box<Shown>>,
        /// Reason in words why it is no NTB.
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

/// Sends the NTBs and shows the transfers that follow.
///
/// # Errors
/// Fails when this user may not order the running `up`, when none runs and the modem cannot be brought
/// online, and when the device does not take an NTB.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    within("wait", arguments.wait, 0.0, 600.0)?;
    let ntbs: Vec<Vec<u8>> = arguments
        .ntbs
        .iter()
        .map(|ntb| input::read(ntb))
        .collect::<Result<_, _>>()?;
    let wait = Duration::from_secs_f64(arguments.wait);
    match arguments.access()? {
        Access::Through(client) => show(
            arguments,
            ntbs.len(),
            client.send_raw(To::Data, &ntbs, wait)?,
        ),
        Access::Online(link, interrupted) => {
            tell_online(arguments, &link.host().addresses())?;
            let count = ntbs.len();
            let result = link.send_raw(ntbs, wait).and_then(|listener| {
                show(
                    arguments,
                    count,
                    NtbEvents {
                        listener,
                        interrupted,
                    },
                )
            });
            link.stop();
            result
        }
    }
}

/// Connection to the modem that takes the NTBs.
enum Access {
    /// A running `up` takes them.
    Through(StatusClient),
    /// This process has brought the modem online. The channel receives Ctrl-C.
    Online(Link, Receiver<i32>),
}

/// Events of the NTBs, until Ctrl-C.
struct NtbEvents {
    listener: Listener,
    interrupted: Receiver<i32>,
}

impl Iterator for NtbEvents {
    type Item = Result<RawEvent, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.interrupted.try_recv().is_ok() {
                return Some(Err(interrupted()));
            }
            match self.listener.wait(POLL) {
                Ok(Some(event)) => return Some(Ok(event)),
                Ok(None) => {}
                Err(_) => return None,
            }
        }
    }
}

impl Arguments {
    fn access(&self) -> Result<Access, Failure> {
        within("online-wait", self.online_wait, 1.0, 3600.0)?;
        let mut options = Settings::from_words(&self.up)?.options()?;
        let (backend, selector, settle) = match self.reach.target()? {
            Target::Running(entry) => {
                if !self.up.is_empty() {
                    let what = "an option makes no sense";
                    return Err(Failure::new(FailureKind::Usage, what)
                        .at(self.up.join(" "))
                        .because("a running uwwan has the modem online already")
                        .next("leave out what follows --"));
                }
                return Ok(Access::Through(StatusClient::connect(&entry.socket)?));
            }
            Target::Device {
                backend,
                selector,
                settle,
            } => (backend, selector, settle),
        };
        options.settle = options.settle.or(settle);
        // From here on Ctrl-C first releases the modem.
        let interrupts = interrupts()?;
        let subject = Subject {
            backend,
            selector,
            online_time: Duration::from_secs_f64(self.online_wait),
            open_time: OPEN_TIME,
            interrupted: interrupts.clone(),
        };
        let spinner = Spinner::new("bringing the modem online");
        let link = subject.start(&options);
        drop(spinner);
        match link {
            Ok(link) => Ok(Access::Online(link, interrupts)),
            Err(NotUp::Interrupted) => Err(interrupted()),
            Err(NotUp::Failed(failure)) => Err(failure),
            Err(NotUp::Rung(rung, why)) => Err(Failure::new(
                FailureKind::Refused,
                "the modem does not come online",
            )
            .at(rung.to_string())
            .because(why)
            .next("uwwan up tells more, and tries longer; uwwan ntb send then uses it")),
        }
    }
}

/// Shows the addresses that the network gave, because it takes datagrams from these alone.
fn tell_online(arguments: &Arguments, addresses: &Addresses) -> Result<(), Failure> {
    if arguments.json {
        return say_json(&Told::Online {
            addresses: addresses.clone(),
        });
    }
    let four = addresses.ipv4.map(|own| own.address.to_string());
    let six = addresses.ipv6.map(|own| own.address.to_string());
    let gateways = [
        addresses.gateway4.map(|gateway| gateway.to_string()),
        addresses.gateway6.map(|gateway| gateway.to_string()),
    ];
    let list = |of: &[Option<String>]| {
        let known: Vec<&str> = of.iter().flatten().map(String::as_str).collect();
        match known.is_empty() {
            true => "none".to_owned(),
            false => known.join(" and "),
        }
    };
    note(format!(
        "online: address {}, gateway {}",
        list(&[four, six]),
        list(&gateways)
    ));
    Ok(())
}

/// Shows the events after so many NTBs.
fn show(
    arguments: &Arguments,
    count: usize,
    events: impl Iterator<Item = Result<RawEvent, Failure>>,
) -> Result<(), Failure> {
    let (mut came, mut sent, mut refused) = (0, 0, None);
    for event in events {
        match event? {
            RawEvent::Sent {
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
            RawEvent::Came { bytes, after, .. } => {
                came += 1;
                tell(arguments, &bytes, after)?;
            }
            RawEvent::Missed { transfers } if arguments.json => {
                say_json(&Told::Missed {
                    transfers,
                    ntbs: transfers,
                })?;
            }
            RawEvent::Missed { transfers } => {
                note(format!("{transfers} NTBs came too fast and are not shown"));
            }
            RawEvent::Failed { failure } => return Err(failure),
        }
        // An answer may be reported before the end of its own transfer, and transfers that are still to
        // come are not sent once the listener is gone.
        let all_sent = sent == count || refused.is_some();
        if all_sent && arguments.count.is_some_and(|enough| came >= enough) {
            break;
        }
    }
    if let Some((transfer, error)) = refused {
        let failure = Failure::new(FailureKind::Refused, "the device does not take an NTB")
            .at(arguments.ntbs.get(transfer).map_or("", String::as_str))
            .because(error);
        return Err(match count.saturating_sub(sent) {
            0 => failure,
            left => failure.because(format!("{left} behind it were not sent")),
        });
    }
    if came == 0 && !arguments.json {
        note(format!("nothing came back in {} s", arguments.wait));
    }
    Ok(())
}

/// Shows an NTB from the device.
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
