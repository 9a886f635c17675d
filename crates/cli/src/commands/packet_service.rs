//! `uwwan attach` and `uwwan detach` attach to the packet service and detach from it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::services::basic_connect::{
    DataClass, PACKET_SERVICE, PacketServiceAction, PacketServiceInfo, PacketServiceSet,
    PacketServiceState,
};
use uwwan_mbim::session::Command as MbimCommand;

use uwwan_modem::client::Client;

use crate::failure::{Failure, FailureKind};
use crate::forms::{data_classes, network_cause};
use crate::output::say_json;
use crate::page::Page;
use crate::reach::Reach;
use crate::spinner;

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
    let state = spinner::settled(
        &mut modem,
        told.unwrap_or_default(),
        PACKET_SERVICE,
        SETTLE,
        |_| true,
        |modem| modem.query(PACKET_SERVICE),
        |state: &PacketServiceInfo| state.packet_service_state != goal,
    )?;
    modem.close()?;
    if json {
        say_json(&Shown::of(&state))?;
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

/// State of the packet service, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// State of the packet service.
    state: String,
    /// Names of the best data classes available.
    data_class_names: Vec<String>,
    /// Copy of `data_class_names`.
    #[schemars(extend("deprecated" = true))]
    data_classes: Vec<String>,
    /// Uplink rate that the network promises, in bit/s.
    uplink_bits: u64,
    /// Downlink rate that the network promises, in bit/s.
    downlink_bits: u64,
    /// Network's cause (3GPP TS 24.008 and 24.301); null for none.
    network_cause: Option<u32>,
    /// Name of `network_cause`.
    #[schemars(extend("deprecated" = true))]
    network_error: Option<String>,
}

impl Shown {
    /// Returns the form of a state.
    pub fn of(state: &PacketServiceInfo) -> Self {
        let classes = data_classes(state.highest_available_data_class);
        Self {
            state: state.packet_service_state.to_string(),
            data_class_names: classes.clone(),
            data_classes: classes,
            uplink_bits: state.uplink_speed,
            downlink_bits: state.downlink_speed,
            network_cause: network_cause(state.nw_error),
            network_error: (state.nw_error.0 != 0).then(|| state.nw_error.to_string()),
        }
    }
}

/// Returns a description of the state of the packet service.
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
