//! `uwwan pin` shows and changes the state of the SIM's PIN and PUK. No code ever stands on the
//! command line. The last attempt before a lock, and a PIN that was refused before, are sent only
//! with `--force`.

mod memory;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::Receiver;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::services::basic_connect::{
    PIN, PIN_LIST, PinDesc, PinInfo, PinList, PinMode, PinOperation, PinSet, PinState, PinType,
};
use uwwan_mbim::session::Command as MbimCommand;
use uwwan_mbim::status::Status;
use uwwan_modem::client::{Client, QUERY_TIMEOUT};
use uwwan_modem::pin_memory::{not_tried, pin_state};
use zeroize::Zeroizing;

use self::memory::Memory;
use crate::failure::{Failure, FailureKind};
use crate::output::note;
use crate::output::say_json;
use crate::page::Page;
use crate::prompt;
use crate::reach::Reach;
use crate::sandbox;
use crate::secrets;

/// Longest time for an operation on the card.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `pin`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what is locked, by what, and how many attempts remain
    Status(StatusArguments),
    /// Enter the PIN the SIM waits for
    Enter(CodeArguments),
    /// Replace the PIN by another one
    Change(ChangeArguments),
    /// Have the SIM ask for its PIN at each start
    Enable(CodeArguments),
    /// Have the SIM ask for its PIN no more
    Disable(CodeArguments),
    /// Enter the PUK after too many wrong PINs, with a new PIN
    Unblock(UnblockArguments),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan pin status
  uwwan pin status --json | jq .remaining_attempts")]
struct StatusArguments {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan pin enter                               asks for it, without echo
  uwwan pin enter --pin-file /etc/uwwan/pin     from a file only you can read
  uwwan pin enable --pin-file /dev/stdin        from a pipe
  uwwan pin disable --force                     even with the last attempt before the PUK
  uwwan pin enter --type network_pin            the code of a network lock

A wrong PIN uses up an attempt; after the last one the SIM wants its PUK.")]
struct CodeArguments {
    #[command(flatten)]
    code: CodeOptions,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan pin change                              asks for both, the new one twice
  uwwan pin change --pin-file old --new-pin-file new
  uwwan pin change --type pin2

The PIN must be enabled to be changed.")]
struct ChangeArguments {
    #[command(flatten)]
    code: CodeOptions,
    /// File whose first line is the new PIN [default: ask on the terminal]
    #[arg(long, value_name = "FILE")]
    new_pin_file: Option<PathBuf>,
}

/// Options of every command that sends a PIN to the card.
#[derive(Debug, clap::Args)]
struct CodeOptions {
    /// File whose first line is the PIN [default: ask on the terminal]
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// Which PIN, as in MBIM: pin1, pin2, network_pin, service_provider_pin… [default: the one
    /// asked for, else pin1]
    #[arg(long = "type", value_name = "TYPE")]
    pin_type: Option<PinType>,
    /// Try even when a single attempt remains, or when this PIN was refused before
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan pin unblock                             asks for the PUK and a new PIN
  uwwan pin unblock --puk-file puk --new-pin-file pin

The PUK stands on the card's holder or in the operator's account. After the last wrong PUK the card
is dead for good.")]
struct UnblockArguments {
    /// File whose first line is the PUK [default: ask on the terminal]
    #[arg(long, value_name = "FILE")]
    puk_file: Option<PathBuf>,
    /// File whose first line is the new PIN [default: ask on the terminal]
    #[arg(long, value_name = "FILE")]
    new_pin_file: Option<PathBuf>,
    /// Which PUK, as in MBIM: puk1, puk2, network_puk… [default: the one asked for, else puk1]
    #[arg(long = "type", value_name = "TYPE")]
    puk_type: Option<PinType>,
    /// Try even when a single attempt remains
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An operation whose codes have not been read.
struct Operation<'a> {
    operation: PinOperation,
    reach: &'a Reach,
    kind: Option<PinType>,
    code_file: Option<&'a Path>,
    /// `Some` when the operation takes another code, with the file that holds it, if any.
    new: Option<Option<&'a Path>>,
    puk: bool,
    force: bool,
    json: bool,
}

/// Shows the state of the PIN, or carries out an operation on it.
///
/// # Errors
/// Fails when the modem cannot be reached, or when the SIM refuses or would be locked by one more
/// wrong code.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let with_code = |code: &CodeOptions, operation, new| {
        carry_out(&Operation {
            operation,
            reach: &code.reach,
            kind: code.pin_type,
            code_file: code.pin_file.as_deref(),
            new,
            puk: false,
            force: code.force,
            json: code.json,
        })
    };
    match &arguments.command {
        Command::Status(arguments) => status(arguments),
        Command::Enter(arguments) => with_code(&arguments.code, PinOperation::ENTER, None),
        Command::Enable(arguments) => with_code(&arguments.code, PinOperation::ENABLE, None),
        Command::Disable(arguments) => with_code(&arguments.code, PinOperation::DISABLE, None),
        Command::Change(ChangeArguments { code, new_pin_file }) => {
            with_code(code, PinOperation::CHANGE, Some(new_pin_file.as_deref()))
        }
        Command::Unblock(arguments) => carry_out(&Operation {
            operation: PinOperation::ENTER,
            reach: &arguments.reach,
            kind: arguments.puk_type,
            code_file: arguments.puk_file.as_deref(),
            new: Some(arguments.new_pin_file.as_deref()),
            puk: true,
            force: arguments.force,
            json: arguments.json,
        }),
    }
}

fn status(arguments: &StatusArguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    let pin = query(&mut modem)?;
    let list = modem.optional::<PinList>(MbimCommand::query(PIN_LIST))?;
    modem.close()?;
    if arguments.json {
        let described = list.as_ref().ok().map(described);
        let pins = described.map(|list| {
            let pins = list.into_iter();
            pins.map(|(name, pin)| (name, Lock::of(pin))).collect()
        });
        return say_json(&Output {
            pin: Shown::of(&pin),
            pins,
        });
    }
    let mut page = Page::default();
    page.row("PIN", words(&pin));
    if let Ok(list) = &list {
        for (name, pin) in described(list) {
            if pin.pin_mode != PinMode::NOT_SUPPORTED {
                page.row(name, pin.pin_mode.to_string());
            }
        }
    }
    page.print()
}

/// Queries the state of the PIN. Some firmware answers "PIN required", with or without content.
fn query(modem: &mut Client) -> Result<PinInfo, Failure> {
    let answer = modem.command(MbimCommand::query(PIN), QUERY_TIMEOUT)?;
    match pin_state(answer.status, &answer.info) {
        Some(Ok(pin)) => Ok(pin),
        _ => modem.content(&answer),
    }
}

/// Returns every lock that the modem may have, with its name.
fn described(list: &PinList) -> [(&'static str, &PinDesc); 10] {
    [
        ("pin1", &list.pin_desc_pin1),
        ("pin2", &list.pin_desc_pin2),
        ("device_sim_pin", &list.pin_desc_device_sim_pin),
        ("device_first_sim_pin", &list.pin_desc_device_first_sim_pin),
        ("network_pin", &list.pin_desc_network_pin),
        ("network_subset_pin", &list.pin_desc_network_subset_pin),
        ("service_provider_pin", &list.pin_desc_service_provider_pin),
        ("corporate_pin", &list.pin_desc_corporate_pin),
        ("subsidy_lock", &list.pin_desc_subsidy_lock),
        ("custom", &list.pin_desc_custom),
    ]
}

/// State of the PIN, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// PIN or PUK that the state is about.
    #[serde(rename = "type")]
    kind: String,
    /// Whether the SIM asks for it.
    locked: bool,
    /// Attempts remaining; null when the modem does not report them.
    remaining_attempts: Option<u32>,
}

impl Shown {
    /// Returns the form of a state.
    pub fn of(pin: &PinInfo) -> Self {
        Self {
            kind: pin.pin_type.to_string(),
            locked: pin.pin_state == PinState::LOCKED,
            remaining_attempts: attempts(pin),
        }
    }
}

/// State of the PIN and of every lock, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    #[serde(flatten)]
    pin: Shown,
    /// Locks by name. The field is absent when the modem does not report them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pins: Option<BTreeMap<&'static str, Lock>>,
}

/// A lock that the modem may have.
#[derive(Debug, Serialize, JsonSchema)]
struct Lock {
    /// Whether it is supported and in use.
    mode: String,
    /// Characters of its code.
    format: String,
    /// Least length of its code.
    least: u32,
    /// Greatest length of its code.
    most: u32,
}

impl Lock {
    fn of(pin: &PinDesc) -> Self {
        Self {
            mode: pin.pin_mode.to_string(),
            format: pin.pin_format.to_string(),
            least: pin.pin_length_min,
            most: pin.pin_length_max,
        }
    }
}

/// Returns a description of the state of the PIN.
pub fn words(pin: &PinInfo) -> String {
    let remaining = match attempts(pin) {
        Some(1) => "1 attempt remaining".to_owned(),
        Some(count) => format!("{count} attempts remaining"),
        None => "attempts remaining not told".to_owned(),
    };
    match pin.pin_state {
        PinState::LOCKED => format!("{} needed, {remaining}", pin.pin_type),
        _ => format!("nothing locked, {remaining}"),
    }
}

/// Returns the PIN or PUK attempts remaining, or `None` when the modem does not report them.
fn attempts(pin: &PinInfo) -> Option<u32> {
    (pin.remaining_attempts != u32::MAX).then_some(pin.remaining_attempts)
}

const fn is_puk(kind: PinType) -> bool {
    matches!(
        kind,
        PinType::PUK1
            | PinType::PUK2
            | PinType::DEVICE_FIRST_SIM_PUK
            | PinType::NETWORK_PUK
            | PinType::NETWORK_SUBSET_PUK
            | PinType::SERVICE_PROVIDER_PUK
            | PinType::CORPORATE_PUK
    )
}

/// Returns how many digits a code of this kind may have (3GPP TS 31.101 section 9.5; MBIM allows 16
/// in all).
const fn lengths(kind: PinType) -> RangeInclusive<usize> {
    match kind {
        PinType::PIN1 | PinType::PIN2 => 4..=8,
        PinType::PUK1 | PinType::PUK2 => 8..=8,
        _ => 1..=16,
    }
}

/// Returns the kind of the code that the operation is about, or fails when it must not be tried.
fn decide(pin: &PinInfo, wanted: &Operation<'_>) -> Result<PinType, Failure> {
    let locked = pin.pin_state == PinState::LOCKED;
    let usual = if wanted.puk {
        PinType::PUK1
    } else {
        PinType::PIN1
    };
    let kind = wanted.kind.unwrap_or(
        if locked && is_puk(pin.pin_type) == wanted.puk && pin.pin_type != PinType::UNKNOWN {
            pin.pin_type
        } else {
            usual
        },
    );
    if is_puk(kind) != wanted.puk {
        return Err(Failure::new(FailureKind::Usage, "an option makes no sense")
            .at(format!("--type {kind}"))
            .because(if wanted.puk {
                "unblock takes a PUK"
            } else {
                "a PUK is entered with uwwan pin unblock"
            }));
    }
    if locked && !wanted.puk && is_puk(pin.pin_type) && wanted.kind.is_none() {
        return Err(
            Failure::new(FailureKind::Refused, "the SIM wants its PUK, not its PIN")
                .because(words(pin))
                .next("uwwan pin unblock, with the PUK from the card's holder"),
        );
    }
    // Attempts of another lock say nothing about this one.
    let told = (pin.pin_type == kind || pin.pin_type == PinType::UNKNOWN)
        .then(|| attempts(pin))
        .flatten();
    let after = if wanted.puk {
        "the card is dead for good"
    } else {
        "the SIM wants its PUK"
    };
    match told {
        Some(0) => Err(Failure::new(FailureKind::Refused, "no attempt remains")
            .because(words(pin))
            .next("ask the operator")),
        Some(1) if !wanted.force => Err(Failure::new(
            FailureKind::Refused,
            "a single attempt remains",
        )
        .because(format!("if the code is wrong, {after}"))
        .next("make sure of the code, then run the same with --force; nothing was sent yet")),
        _ => Ok(kind),
    }
}

fn carry_out(wanted: &Operation<'_>) -> Result<(), Failure> {
    let reached = wanted.reach.modem()?;
    let emulated = wanted.reach.is_emulated(&reached);
    let (mut modem, interrupts) = (reached.client, reached.interrupts);
    let pin = query(&mut modem)?;
    let locked = pin.pin_state == PinState::LOCKED;
    if !locked && wanted.operation == PinOperation::ENTER && wanted.kind.is_none() {
        modem.close()?;
        return told(wanted, &pin, "nothing is locked, so nothing was sent");
    }
    let kind = decide(&pin, wanted)?;
    if !wanted.json {
        note(words(&pin));
    }
    let mut memory = match kind {
        PinType::PIN1 => Memory::open(&mut modem, emulated)?,
        _ => None,
    };
    let mut code = code(&interrupts, wanted, kind)?;
    let mut new = match wanted.new {
        Some(file) => new_code(&interrupts, file)?,
        None => Zeroizing::default(),
    };
    sandbox::hide_memory();
    let set = PinSet {
        pin_type: kind,
        pin_operation: wanted.operation,
        pin: std::mem::take(&mut *code),
        new_pin: std::mem::take(&mut *new),
    };
    let before = (pin.pin_type == kind || !locked)
        .then(|| attempts(&pin))
        .flatten();
    if let Some(memory) = &mut memory {
        memory.sending(&set.pin, before, wanted.force)?;
    }
    if wanted.force {
        modem.insist()?;
    }
    let answer = modem.command(MbimCommand::set(PIN, &set), PATIENCE)?;
    let after: Option<PinInfo> = answer.decode().ok();
    let used_up = match (before, after.as_ref().and_then(attempts)) {
        (Some(before), Some(after)) => after < before,
        _ => false,
    };
    if let Some(memory) = &mut memory {
        // Other operations fail for other reasons, too.
        let looked_at = wanted.operation == PinOperation::ENTER && !not_tried(answer.status);
        if !answer.status.is_success() && (used_up || looked_at) {
            memory.refused(&set.pin);
        } else {
            memory.forget(&set.pin);
        }
    }
    if !answer.status.is_success() {
        let what = if wanted.puk {
            "the PUK was not accepted"
        } else {
            "the PIN was not accepted"
        };
        let mut failure = match answer.status {
            // The status alone does not say that the code is wrong.
            Status::FAILURE if used_up => Failure::new(FailureKind::Refused, what)
                .at(modem.place())
                .because("it is wrong"),
            // The SIM is still locked, and the operation needs it unlocked.
            Status::PIN_REQUIRED if wanted.operation != PinOperation::ENTER => {
                modem.refusal("the SIM is locked", answer.status, None)
            }
            status => Failure {
                next: Vec::new(),
                ..modem.refusal(what, status, None)
            },
        };
        if let Some(after) = after.filter(|_| !answer.info.is_empty()) {
            failure = failure.because(words(&after));
            if is_puk(after.pin_type) && !wanted.puk {
                failure = failure.next("uwwan pin unblock, with the PUK from the card's holder");
            }
        }
        return Err(failure);
    }
    modem.close()?;
    told(
        wanted,
        &after.unwrap_or_default(),
        match wanted.operation {
            PinOperation::ENABLE => "the SIM asks for its PIN at each start",
            PinOperation::DISABLE => "the SIM asks for its PIN no more",
            PinOperation::CHANGE => "the PIN is changed",
            _ if wanted.puk => "the SIM is unblocked, the new PIN is in force",
            _ => "accepted",
        },
    )
}

fn told(wanted: &Operation<'_>, pin: &PinInfo, text: &str) -> Result<(), Failure> {
    if wanted.json {
        return say_json(&Shown::of(pin));
    }
    let mut page = Page::default();
    page.line(text);
    page.print()
}

fn code(
    interrupts: &Receiver<i32>,
    wanted: &Operation<'_>,
    kind: PinType,
) -> Result<Zeroizing<String>, Failure> {
    let (subject, option) = if wanted.puk {
        ("PUK", "--puk-file")
    } else {
        ("PIN", "--pin-file")
    };
    read(interrupts, wanted.code_file, subject, option, lengths(kind))
}

/// Reads a new PIN from the file, or from the terminal, where it is typed twice.
fn new_code(interrupts: &Receiver<i32>, file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    let lengths = lengths(PinType::PIN1);
    let new = read(interrupts, file, "new PIN", "--new-pin-file", lengths)?;
    if file.is_none() && prompt::secret("new PIN again: ", interrupts)? != new {
        return Err(Failure::new(FailureKind::Usage, "the new PINs differ")
            .next("nothing was sent, no attempt was used up"));
    }
    Ok(new)
}

fn read(
    interrupts: &Receiver<i32>,
    file: Option<&Path>,
    subject: &str,
    option: &str,
    lengths: RangeInclusive<usize>,
) -> Result<Zeroizing<String>, Failure> {
    if let Some(path) = file {
        return secrets::code(path, subject, option, lengths);
    }
    if !prompt::possible() {
        return Err(
            Failure::new(FailureKind::Usage, format!("there is no {subject}"))
                .because("there is no terminal to ask on, and the command line is no place for it")
                .next(format!("{option} FILE, or {option} /dev/stdin")),
        );
    }
    let text = prompt::secret(&format!("{subject}: "), interrupts)?;
    secrets::check_code(&text, subject, lengths)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(puk: bool, kind: Option<PinType>, force: bool, reach: &Reach) -> Operation<'_> {
        Operation {
            operation: PinOperation::ENTER,
            reach,
            kind,
            code_file: None,
            new: None,
            puk,
            force,
            json: false,
        }
    }

    fn info(pin_type: PinType, locked: bool, remaining_attempts: u32) -> PinInfo {
        PinInfo {
            pin_type,
            pin_state: if locked {
                PinState::LOCKED
            } else {
                PinState::UNLOCKED
            },
            remaining_attempts,
        }
    }

    #[test]
    fn the_last_attempt_needs_to_be_asked_for() {
        let reach = Reach::default();
        let last = info(PinType::PIN1, true, 1);
        let failure = decide(&last, &operation(false, None, false, &reach)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.to_string().contains("--force"), "{failure}");
        assert!(decide(&last, &operation(false, None, true, &reach)).is_ok());
        let none = info(PinType::PIN1, true, 0);
        assert!(decide(&none, &operation(false, None, true, &reach)).is_err());
        // Unlocked firmware reports PIN1's attempts without naming it.
        let unnamed = info(PinType::UNKNOWN, false, 1);
        assert!(decide(&unnamed, &operation(false, None, false, &reach)).is_err());
        // Attempts of another lock, or unknown attempts, do not stop the operation.
        let other = info(PinType::PIN1, true, 1);
        let network = operation(false, Some(PinType::NETWORK_PIN), false, &reach);
        assert_eq!(decide(&other, &network).unwrap(), PinType::NETWORK_PIN);
        let untold = info(PinType::PIN1, true, u32::MAX);
        assert!(decide(&untold, &operation(false, None, false, &reach)).is_ok());
    }

    #[test]
    fn the_code_asked_for_is_the_one_entered() {
        let reach = Reach::default();
        let decided = |pin: PinInfo, wanted: Operation<'_>| decide(&pin, &wanted);
        let locked = |kind| info(kind, true, 3);
        let plain = |puk| operation(puk, None, false, &reach);
        assert_eq!(
            decided(locked(PinType::NETWORK_PIN), plain(false)).unwrap(),
            PinType::NETWORK_PIN
        );
        assert_eq!(
            decided(locked(PinType::PUK1), plain(true)).unwrap(),
            PinType::PUK1
        );
        let failure = decided(locked(PinType::PUK1), plain(false)).unwrap_err();
        assert!(failure.to_string().contains("pin unblock"), "{failure}");
        let wrong = operation(true, Some(PinType::PIN1), false, &reach);
        assert_eq!(
            decided(locked(PinType::PUK1), wrong).unwrap_err().kind,
            FailureKind::Usage
        );
        let wrong = operation(false, Some(PinType::PUK1), false, &reach);
        assert_eq!(
            decided(locked(PinType::PIN1), wrong).unwrap_err().kind,
            FailureKind::Usage
        );
    }
}
