//! `uwwan operator` shows the networks in reach, and registers with one.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::services::basic_connect::{
    DataClass, HOME_PROVIDER, HomeProvider, PREFERRED_PROVIDERS, PreferredProviders, Provider,
    ProviderState, REGISTER_STATE, RegisterAction, RegisterState, RegisterStateSet,
    RegistrationState, VISIBLE_PROVIDERS, VisibleProviders, VisibleProvidersAction,
    VisibleProvidersQuery,
};
use uwwan_mbim::session::Command as MbimCommand;
use uwwan_mbim::status::Status;

use super::signal::dbm;

use crate::failure::{Failure, FailureKind};
use crate::forms::{self, bits, data_classes, network_cause};
use crate::output::say_json;
use crate::page::{Page, trimmed};
use crate::reach::Reach;
use crate::spinner;

/// Longest time for a full scan, which takes up to some minutes (ModemManager waits as long).
const SCAN: Duration = Duration::from_secs(300);
/// Longest time for the answer to a registration.
const REGISTER: Duration = Duration::from_secs(60);
/// Longest time for the network to accept the registration, after the modem's answer.
const SEARCH: Duration = Duration::from_secs(120);

/// Arguments of `operator`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the SIM's operator
    Home(HomeArguments),
    /// List the operators the SIM prefers abroad
    Preferred(PreferredArguments),
    /// Look which networks are in reach; takes up to some minutes
    Scan(ScanArguments),
    /// Register with the best network, or with a chosen one
    Register(RegisterArguments),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan operator home
  uwwan operator home --json | jq -r .plmn")]
struct HomeArguments {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan operator preferred
  uwwan operator preferred --json")]
struct PreferredArguments {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan operator scan                     Ctrl-C ends it early
  uwwan operator scan --restricted        only what the modem thinks worth it, faster
  uwwan operator scan --json | jq -r '.[] | [.plmn, .name] | @tsv'

Data pauses on many modems while they look around.")]
struct ScanArguments {
    /// Only a restricted scan
    #[arg(long)]
    restricted: bool,
    /// Seconds to wait for the end
    #[arg(long, value_name = "SECONDS", default_value_t = SCAN.as_secs(), value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan operator register                 with the best network
  uwwan operator register 24201           with this one only
  uwwan operator register --data-class lte
      with the best one, over this technology only
  uwwan operator register 24202 --force   also while uwwan up is online through another")]
struct RegisterArguments {
    /// Number of the network (MCC and MNC), as scan shows it; without it the modem chooses
    #[arg(value_name = "PLMN", value_parser = plmn)]
    plmn: Option<String>,
    /// Technologies to use, as in MBIM, joined by commas: lte, umts, hsdpa… [default: any]
    #[arg(long, value_name = "CLASSES")]
    data_class: Option<DataClass>,
    /// Do it even though `uwwan up` may lose its session by that
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn plmn(text: &str) -> Result<String, String> {
    if matches!(text.len(), 5 | 6) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("a network's number has 5 or 6 digits: 3 of the country (MCC), 2 or 3 of the network (MNC)".into())
    }
}

/// Shows the operators, scans for networks, or registers with one.
///
/// # Errors
/// Fails when the modem cannot be reached, or when it or the network refuses.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Home(arguments) => {
            let mut modem = arguments.reach.open()?;
            let home: HomeProvider = modem.query(HOME_PROVIDER)?;
            modem.close()?;
            if arguments.json {
                return say_json(&Shown::of(&home.provider));
            }
            list(&[home.provider], "")
        }
        Command::Preferred(arguments) => {
            let mut modem = arguments.reach.open()?;
            let preferred: PreferredProviders = modem.query(PREFERRED_PROVIDERS)?;
            modem.close()?;
            show(&preferred.providers, arguments.json, "the SIM prefers none")
        }
        Command::Scan(arguments) => scan(arguments),
        Command::Register(arguments) => register(arguments),
    }
}

fn scan(arguments: &ScanArguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    let action = if arguments.restricted {
        VisibleProvidersAction::RESTRICTED_SCAN
    } else {
        VisibleProvidersAction::FULL_SCAN
    };
    let command = MbimCommand::query_with(VISIBLE_PROVIDERS, &VisibleProvidersQuery { action });
    let patience = Duration::from_secs(arguments.timeout);
    let answer = spinner::command(&mut modem, "looking for networks", command, patience)?;
    let found = if answer.status == Status::PROVIDERS_NOT_FOUND {
        Vec::new()
    } else {
        modem.content::<VisibleProviders>(&answer)?.providers
    };
    modem.close()?;
    show(&found, arguments.json, "no network is in reach")
}

fn register(arguments: &RegisterArguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    if arguments.force {
        modem.insist()?;
    }
    modem.subscribe(&[REGISTER_STATE])?;
    let set = RegisterStateSet {
        provider_id: arguments.plmn.clone().unwrap_or_default(),
        register_action: if arguments.plmn.is_some() {
            RegisterAction::MANUAL
        } else {
            RegisterAction::AUTOMATIC
        },
        data_class: arguments.data_class.unwrap_or(DataClass::NONE),
    };
    let command = MbimCommand::set(REGISTER_STATE, &set);
    let answer = spinner::command(&mut modem, "registering", command, REGISTER)?;
    let state: Option<RegistrationState> = answer.decode().ok();
    if !answer.status.is_success() {
        let cause = state.map(|state| state.nw_error);
        return Err(modem.refusal("the registration was refused", answer.status, cause));
    }
    let state = spinner::settled(
        &mut modem,
        state.unwrap_or_default(),
        REGISTER_STATE,
        SEARCH,
        |_| true,
        |modem| modem.query(REGISTER_STATE),
        |state: &RegistrationState| {
            matches!(
                state.register_state,
                RegisterState::UNKNOWN | RegisterState::DEREGISTERED | RegisterState::SEARCHING
            )
        },
    )?;
    modem.close()?;
    if arguments.json {
        say_json(&Registration::of(&state))?;
    } else {
        let mut page = Page::default();
        page.line(registration_words(&state));
        page.print()?;
    }
    match state.register_state {
        RegisterState::HOME | RegisterState::ROAMING | RegisterState::PARTNER => Ok(()),
        _ => {
            let mut failure = Failure::new(FailureKind::Refused, "not registered with a network");
            if state.nw_error.0 != 0 {
                failure = failure.because(format!(
                    "the network says {}: {}",
                    state.nw_error,
                    state.nw_error.explanation()
                ));
            }
            Err(failure.next("uwwan operator scan shows which networks are in reach"))
        }
    }
}

/// A registration, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Registration {
    /// State of the registration: `home`, `roaming`, `searching` and so on.
    state: String,
    /// Whether the modem or the user chooses the network.
    mode: String,
    #[serde(flatten)]
    operator: forms::Operator,
    /// Text of the operator for a guest in its network.
    roaming_text: String,
    /// Names of the data classes available.
    data_class_names: Vec<String>,
    /// Copy of `data_class_names`.
    #[schemars(extend("deprecated" = true))]
    data_classes: Vec<String>,
    /// Network's cause (3GPP TS 24.008 and 24.301); null for none.
    network_cause: Option<u32>,
    /// Name of `network_cause`.
    #[schemars(extend("deprecated" = true))]
    network_error: Option<String>,
}

impl Registration {
    /// Returns the form of a state.
    pub fn of(state: &RegistrationState) -> Self {
        let classes = data_classes(state.available_data_classes);
        Self {
            state: state.register_state.to_string(),
            mode: state.register_mode.to_string(),
            operator: forms::Operator {
                plmn: trimmed(&state.provider_id).to_owned(),
                name: trimmed(&state.provider_name).to_owned(),
            },
            roaming_text: trimmed(&state.roaming_text).to_owned(),
            data_class_names: classes.clone(),
            data_classes: classes,
            network_cause: network_cause(state.nw_error),
            network_error: (state.nw_error.0 != 0).then(|| state.nw_error.to_string()),
        }
    }
}

/// Returns a description of the registration.
pub fn registration_words(state: &RegistrationState) -> String {
    let mut words = state.register_state.to_string();
    let name = match (trimmed(&state.provider_name), trimmed(&state.provider_id)) {
        ("", "") => String::new(),
        ("", id) => id.to_owned(),
        (name, "") => name.to_owned(),
        (name, id) => format!("{name} ({id})"),
    };
    for part in [name, state.register_mode.to_string()] {
        if !part.is_empty() && part != "unknown" {
            words.push_str(", ");
            words.push_str(&part);
        }
    }
    if state.available_data_classes != DataClass::NONE {
        words.push_str(&format!(", {}", state.available_data_classes));
    }
    words
}

fn show(providers: &[Provider], json: bool, none: &str) -> Result<(), Failure> {
    if json {
        let list: Vec<Shown> = providers.iter().map(Shown::of).collect();
        return say_json(&list);
    }
    list(providers, none)
}

fn list(providers: &[Provider], none: &str) -> Result<(), Failure> {
    let mut page = Page::default();
    for provider in providers {
        page.row(trimmed(&provider.provider_id), words(provider));
    }
    if page.is_empty() {
        page.line(none);
    }
    page.print()
}

fn words(provider: &Provider) -> String {
    let mut words = trimmed(&provider.provider_name).to_owned();
    if provider.provider_state != ProviderState::NONE {
        words.push_str(&format!(", {}", provider.provider_state));
    }
    if let Some(dbm) = dbm(provider.rssi) {
        words.push_str(&format!(", {dbm} dBm"));
    }
    words
}

/// A network, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    #[serde(flatten)]
    operator: forms::Operator,
    /// Relation of the network to the modem: `home`, `visible` and so on.
    state: Vec<String>,
    /// Family of the network: `gsm` or `cdma`.
    cellular_class: String,
    /// Received signal strength in dBm; null when the modem does not report it.
    rssi_dbm: Option<i32>,
    /// Copy of `rssi_dbm`.
    #[schemars(extend("deprecated" = true))]
    dbm: Option<i32>,
}

impl Shown {
    fn of(provider: &Provider) -> Self {
        Self {
            operator: provider.into(),
            state: bits(ProviderState::NAMES, provider.provider_state.0),
            cellular_class: provider.cellular_class.to_string(),
            rssi_dbm: dbm(provider.rssi),
            dbm: dbm(provider.rssi),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_number_is_five_or_six_digits() {
        for good in ["24201", "310410"] {
            assert!(plmn(good).is_ok());
        }
        for bad in ["", "2420", "3104100", "24201x", "２４２０１"] {
            assert!(plmn(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn odd_answers_are_told_as_they_are() {
        let state = RegistrationState {
            register_state: RegisterState(77),
            provider_name: "Tele\0\0".into(),
            ..RegistrationState::default()
        };
        assert_eq!(registration_words(&state), "77, Tele");
        let provider = Provider {
            provider_state: ProviderState(0x8000_0009),
            rssi: u32::MAX,
            ..Provider::default()
        };
        let shown = Shown::of(&provider);
        assert_eq!(shown.state, ["home", "visible", "0x80000000"]);
        assert_eq!(shown.rssi_dbm, None);
    }
}
