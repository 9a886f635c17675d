//! `uwwan sim` shows the SIM card.

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::services::basic_connect::{
    HOME_PROVIDER, HomeProvider, PIN, PinInfo, SUBSCRIBER_READY_STATUS, SubscriberReadyState,
    SubscriberReadyStatus,
};
use uwwan_mbim::session::Command;

use super::pin;
use crate::failure::Failure;
use crate::forms::Operator;
use crate::output::say_json;
use crate::page::{Page, personal, trimmed};
use crate::reach::Reach;

/// Arguments of `sim`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan sim                     whether it is there and ready, its operator, its PIN
  uwwan sim --show-personal     card number (ICCID), subscriber (IMSI) and own numbers too
  uwwan sim --json | jq .ready")]
pub struct Arguments {
    #[command(flatten)]
    reach: Reach,
    /// Show what identifies the card and its owner
    #[arg(long)]
    show_personal: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The SIM card, its operator and its PIN, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    #[serde(flatten)]
    sim: Shown,
    /// Own telephone numbers, hidden unless they are asked for.
    numbers: Vec<String>,
    /// Operator of the card; null when the modem does not report it.
    operator: Option<Operator>,
    /// State of the PIN; null when the modem does not report it.
    pin: Option<pin::Shown>,
}

/// The SIM card, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    /// State of the card.
    state: String,
    /// Whether the card permits data sessions.
    ready: bool,
    /// Number of the card, hidden unless it is asked for.
    iccid: String,
    /// Number of the subscriber, hidden unless it is asked for.
    imsi: String,
}

impl Shown {
    /// Returns the form of a state, with identities of persons if `show`.
    pub(super) fn of(sim: &SubscriberReadyStatus, show: bool) -> Self {
        Self {
            state: sim.ready_state.to_string(),
            ready: is_ready(sim),
            iccid: personal(trimmed(&sim.sim_icc_id), show),
            imsi: personal(trimmed(&sim.subscriber_id), show),
        }
    }
}

/// Shows the state of the SIM card, its operator and its PIN.
///
/// # Errors
/// Fails when the modem cannot be reached or refuses the query.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    let sim: SubscriberReadyStatus = modem.query(SUBSCRIBER_READY_STATUS)?;
    let pin = modem.optional::<PinInfo>(Command::query(PIN))?;
    let home = modem.optional::<HomeProvider>(Command::query(HOME_PROVIDER))?;
    modem.close()?;
    let show = arguments.show_personal;
    let numbers: Vec<String> = sim
        .telephone_numbers
        .iter()
        .map(|number| personal(trimmed(number), show))
        .collect();
    if arguments.json {
        return say_json(&Output {
            sim: Shown::of(&sim, show),
            numbers,
            operator: home
                .as_ref()
                .ok()
                .map(|home| Operator::from(&home.provider)),
            pin: pin.as_ref().ok().map(pin::Shown::of),
        });
    }
    let mut page = Page::default();
    page.row("SIM", state_words(sim.ready_state));
    page.row("ICCID", personal(trimmed(&sim.sim_icc_id), show));
    page.row("IMSI", personal(trimmed(&sim.subscriber_id), show));
    page.row("numbers", numbers.join(", "));
    match &home {
        Ok(home) => page.row("operator", operator(home)),
        Err(why) => page.row("operator", format!("not told ({why})")),
    }
    match &pin {
        Ok(pin) => page.row("PIN", pin::words(pin)),
        Err(why) => page.row("PIN", format!("not told ({why})")),
    }
    page.print()
}

/// Returns whether the SIM permits data sessions.
pub fn is_ready(sim: &SubscriberReadyStatus) -> bool {
    sim.ready_state == SubscriberReadyState::INITIALIZED
}

/// Returns a description of the state of the SIM.
pub fn state_words(state: SubscriberReadyState) -> String {
    match state {
        SubscriberReadyState::NOT_INITIALIZED => "being read; ask again in a few seconds".into(),
        SubscriberReadyState::INITIALIZED => "ready".into(),
        SubscriberReadyState::SIM_NOT_INSERTED => "not inserted".into(),
        SubscriberReadyState::BAD_SIM => "unusable, or blocked for good".into(),
        SubscriberReadyState::FAILURE => "does not answer".into(),
        SubscriberReadyState::NOT_ACTIVATED => "not activated by the operator".into(),
        SubscriberReadyState::DEVICE_LOCKED => "locked; uwwan pin status tells by what".into(),
        SubscriberReadyState::NO_ESIM_PROFILE => "an eSIM without a profile".into(),
        other => format!("in the unknown state {other}"),
    }
}

/// Returns the operator's name with its number (MCC and MNC).
pub fn operator(home: &HomeProvider) -> String {
    let provider = &home.provider;
    match (
        trimmed(&provider.provider_name),
        trimmed(&provider.provider_id),
    ) {
        ("", id) => id.to_owned(),
        (name, id) => format!("{name} ({id})"),
    }
}
