//! `uwwan radio` shows or turns the radio switch, or lifts an FCC lock that keeps the radio off.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::services::basic_connect::{
    RADIO_STATE, RadioState, RadioStateSet, RadioSwitchState,
};
use uwwan_mbim::services::quectel::{self, QuectelRadioSwitchState};
use uwwan_mbim::session::Command as MbimCommand;
use uwwan_modem::fcc::{self, Unlocking};
use uwwan_modem::options::FccUnlock;

use crate::checks::words;
use crate::failure::{Failure, FailureKind};
use crate::output::{note, say, say_json};
use crate::page::Page;
use crate::reach::Reach;

/// Longest time for each command that lifts the lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `radio`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan radio              whether it is on, by software and by hardware
  uwwan radio off          airplane mode
  uwwan radio on
  uwwan radio off --force  also while uwwan up is online through it
  uwwan radio unlock       lifts the FCC lock with which some laptops' modems start

Unlocking uses the public ways of ModemManager's fcc-unlock scripts, and lasts until the modem starts anew.
Whether it is allowed where you are, with this modem in this machine, is your responsibility.
The hardware switch is the laptop's key or a line of the slot; no program turns it.")]
pub struct Arguments {
    /// Switch it, or lift the FCC lock
    #[arg(value_parser = ["on", "off", "unlock"])]
    switch: Option<String>,
    /// With unlock: how [default: what is known of the modem]
    #[arg(long, value_name = "WAY", value_parser = words(FccUnlock::VALUES))]
    way: Option<FccUnlock>,
    /// Switch it off even though `uwwan up` loses its session by that
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// State of the radio, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    /// Whether the radio is on.
    on: bool,
    /// Whether the hardware switch is on.
    hardware: bool,
    /// Whether the software switch is on.
    software: bool,
}

impl Shown {
    /// Returns the form of a state.
    pub(super) fn of(state: &RadioState) -> Self {
        let (hardware, software) = is_on(state);
        Self {
            on: hardware && software,
            hardware,
            software,
        }
    }
}

/// Returns whether the hardware and the software switch are on.
pub(super) fn is_on(state: &RadioState) -> (bool, bool) {
    let on = |switch| switch == RadioSwitchState::ON;
    (on(state.hw_radio_state), on(state.sw_radio_state))
}

/// An FCC lock that was lifted, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Unlocked {
    /// Whether the lock is lifted.
    unlocked: bool,
    /// Way in which it was lifted.
    way: FccUnlock,
}

/// Shows the radio switch, or turns it.
///
/// # Errors
/// Fails when the modem cannot be reached or refuses, or when the hardware switch keeps the radio
/// off.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.switch.as_deref() == Some("unlock") {
        return unlock(arguments);
    }
    let mut modem = arguments.reach.open()?;
    let wanted = arguments.switch.as_deref().map(|word| word == "on");
    let state: RadioState = match wanted {
        None => modem.query(RADIO_STATE)?,
        Some(on) => {
            if arguments.force {
                modem.insist()?;
            }
            let radio_state = if on {
                RadioSwitchState::ON
            } else {
                RadioSwitchState::OFF
            };
            modem.set(RADIO_STATE, &RadioStateSet { radio_state })?
        }
    };
    modem.close()?;
    let (hardware, software) = is_on(&state);
    if arguments.json {
        say_json(&Shown::of(&state))?;
    } else {
        let word = |on| if on { "on" } else { "off" };
        let mut page = Page::default();
        page.row("radio", word(hardware && software));
        page.row("hardware switch", word(hardware));
        page.row("software switch", word(software));
        page.print()?;
    }
    match wanted {
        Some(true) if !hardware => Err(Failure::new(FailureKind::Refused, "the radio stays off")
            .because("the hardware switch is off")
            .next("press the laptop's wireless key, or look in the firmware setup")),
        Some(wanted) if wanted != software => Err(Failure::new(
            FailureKind::Refused,
            "the modem does not follow the switch",
        )
        .because("it answered without an error and stays as it was")
        .next(
            "some modems stay off until unlocked for their laptop (FCC lock): uwwan radio unlock",
        )),
        _ => Ok(()),
    }
}

/// Lifts the FCC lock.
fn unlock(arguments: &Arguments) -> Result<(), Failure> {
    let reached = arguments.reach.modem()?;
    let status = reached.status().unwrap_or_default();
    let mut modem = reached.client;
    let state = modem.optional::<quectel::RadioState>(MbimCommand::query(quectel::RADIO_STATE))?;
    let told = state.is_ok_and(|state| state.radio_state == QuectelRadioSwitchState::FCC_LOCKED);
    let known = status.fcc_unlock.or(told.then_some(FccUnlock::Quectel));
    let Some(way) = arguments.way.or(known) else {
        modem.close()?;
        return Err(
            Failure::new(FailureKind::Refused, "no way to unlock this modem is known")
                .at(status.device)
                .because("it does not say that it is locked, and is not among those whose way is public")
                .next("uwwan radio shows whether it is off at all; --way tries one of the ways all the same"),
        );
    };
    if !arguments.json {
        note(format!("unlocking by {way}: {}", fcc::RESPONSIBILITY));
    }
    if arguments.force {
        modem.insist()?;
    }
    let mut unlocking = Unlocking::new(way);
    while let Some(command) = unlocking.next_command() {
        let answer = modem.command(command, PATIENCE)?;
        unlocking.answered(Some((answer.status, &answer.info)));
    }
    let outcome = unlocking.outcome();
    modem.close()?;
    outcome.map_err(|why| {
        Failure::new(FailureKind::Refused, "the FCC lock is not lifted")
            .because(why)
            .next("look for the modem in ModemManager's list of FCC unlock procedures")
    })?;
    if arguments.json {
        return say_json(&Unlocked {
            unlocked: true,
            way,
        });
    }
    say("the FCC lock is lifted until the modem starts anew")
}
