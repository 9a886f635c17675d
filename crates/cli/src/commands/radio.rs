//! `uwwan radio` shows or turns the radio switch.

use serde_json::json;
use uwwan_mbim::services::basic_connect::{
    RADIO_STATE, RadioState, RadioStateSet, RadioSwitchState,
};

use crate::failure::{Failure, FailureKind};
use crate::page::{Page, say_value};
use crate::reach::Reach;

/// Arguments of `radio`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan radio              whether it is on, by software and by hardware
  uwwan radio off          airplane mode
  uwwan radio on
  uwwan radio off --force  also while uwwan up is online through it

The hardware switch is the laptop's key or a line of the slot; no program turns it.")]
pub struct Arguments {
    /// Switch it
    #[arg(value_parser = ["on", "off"])]
    switch: Option<String>,
    /// Switch it off even though `uwwan up` loses its session by that
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Shows the radio switch, or turns it.
///
/// # Errors
/// Fails when the modem cannot be reached or refuses, or when the hardware switch keeps the radio
/// off.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    let wanted = arguments.switch.as_deref().map(|word| word == "on");
    let state: RadioState = match wanted {
        None => modem.query(RADIO_STATE)?,
        Some(on) => {
            modem.insist(arguments.force)?;
            let radio_state = if on {
                RadioSwitchState::ON
            } else {
                RadioSwitchState::OFF
            };
            modem.set(RADIO_STATE, &RadioStateSet { radio_state })?
        }
    };
    modem.close()?;
    let on = |switch| switch == RadioSwitchState::ON;
    let (hardware, software) = (on(state.hw_radio_state), on(state.sw_radio_state));
    if arguments.json {
        say_value(&json!({
            "on": hardware && software, "hardware": hardware, "software": software
        }))?;
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
        .next("some modems stay off until unlocked for their laptop (FCC lock)")),
        _ => Ok(()),
    }
}
