//! `uwwan attach` and `uwwan detach` attach to the packet service and detach from it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uwwan_mbim::services::basic_connect::{
    DataClass, PACKET_SERVICE, PacketServiceAction, PacketServiceInfo, PacketServiceSet,
    PacketServiceState,
};
use uwwan_mbim::session::Command as MbimCommand;

use super::operator::bits;
use uwwan_modem::client::Client;

use crate::failure::{Failure, FailureKind};
use crate::page::{Page, say_value};
use crate::reach::Reach;
use crate::spinner::{self, Spinner};

/// Longest time for the answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest time for the wanted state, after the answer.
const SETTLE: Duration = Duration::from_secs(30);

/// Arguments of `attach`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan attach                     to the packet service, which every data session needs
  uwwan attach --json | jq .state")]
pub struct AttachArguments {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `detach`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan detach                     from the packet service; every data session ends
  uwwan detach --force             also while uwwan up is online through it")]
pub struct DetachArguments {
    /// Do it even though `uwwan up` loses its session by that
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Attaches to the packet service.
///
/// # Errors
/// Fails when the modem cannot be reached, or when it or the network refuses.
pub fn attach(arguments: &AttachArguments) -> Result<(), Failure> {
    let modem = arguments.reach.open()?;
    switch(modem, PacketServiceAction::ATTACH, arguments.json)
}

/// Detaches from the packet service.
///
/// # Errors
/// Fails when the modem cannot be reached, or when it or a running `uwwan up` refuses.
pub fn detach(arguments: &DetachArguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    if arguments.force {
        modem.insist()?;
    }
    switch(modem, PacketServiceAction::DETACH, arguments.json)
}

fn switch(mut modem: Client, action: PacketServiceAction, json: bool) -> Result<(), Failure> {
    let attach = action == PacketServiceAction::ATTACH;
    let (doing, refused, goal) = if attach {
        (
            "attaching to the packet service",
            "cannot attach to the packet service",
            PacketServiceState::ATTACHED,
        )
    } else {
        (
            "detaching from the packet service",
            "cannot detach from the packet service",
            PacketServiceState::DETACHED,
        )
    };
    modem.subscribe(&[PACKET_SERVICE])?;
    let set = PacketServiceSet {
        packet_service_action: action,
    };
    let command = MbimCommand::set(PACKET_SERVICE, &set);
    let answer = spinner::command(&mut modem, doing, command, PATIENCE)?;
    let told: Option<PacketServiceInfo> = answer.decode().ok();
    if !answer.status.is_success() {
        let cause = told.map(|state| state.nw_error);
        return Err(modem.refusal(refused, answer.status, cause));
    }
    let mut state = told.unwrap_or_default();
    let spinner = Spinner::new(doing);
    let deadline = Instant::now() + SETTLE;
    while state.packet_service_state != goal && Instant::now() < deadline {
        let told = modem.next_indication(Duration::from_secs(2))?;
        let indicated = told
            .filter(|indication| indication.id == PACKET_SERVICE)
            .and_then(|indication| indication.decode().ok());
        state = match indicated {
            Some(state) => state,
            None => modem.query(PACKET_SERVICE)?,
        };
    }
    drop(spinner);
    modem.close()?;
    if json {
        say_value(&value(&state))?;
    } else {
        let mut page = Page::default();
        page.line(words(&state));
        page.print()?;
    }
    if state.packet_service_state == goal {
        Ok(())
    } else {
        Err(Failure::new(
            FailureKind::Refused,
            format!("{doing} did not come to its end"),
        )
        .because(format!(
            "still {} after {} s",
            state.packet_service_state,
            SETTLE.as_secs()
        ))
        .next("uwwan operator register, then try again"))
    }
}

/// Returns the state of the packet service as JSON. Speeds are in bits per second.
pub fn value(state: &PacketServiceInfo) -> Value {
    json!({
        "state": state.packet_service_state.to_string(),
        "data_classes": bits(DataClass::NAMES, state.highest_available_data_class.0),
        "uplink_bits": state.uplink_speed,
        "downlink_bits": state.downlink_speed,
        "network_error": (state.nw_error.0 != 0).then(|| state.nw_error.to_string()),
    })
}

/// Describes the state of the packet service in words.
pub fn words(state: &PacketServiceInfo) -> String {
    let mut words = state.packet_service_state.to_string();
    if state.highest_available_data_class != DataClass::NONE {
        words.push_str(&format!(", {}", state.highest_available_data_class));
    }
    if state.downlink_speed != 0 || state.uplink_speed != 0 {
        words.push_str(&format!(
            ", up to {} Mbit/s down and {} up",
            state.downlink_speed / 1_000_000,
            state.uplink_speed / 1_000_000
        ));
    }
    words
}
