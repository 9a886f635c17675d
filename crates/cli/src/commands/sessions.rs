//! `uwwan connect`, `uwwan disconnect` and `uwwan sessions` activate, end and list data sessions as
//! the modem has them.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::services::basic_connect::{
    ActivationCommand, ActivationState, AuthProtocol, CONNECT, Compression, ConnectInfo,
    ConnectSet, ContextIpType, DEVICE_CAPS, DeviceCaps, IP_CONFIGURATION, IpConfiguration,
    context_type, context_type_named,
};
use uwwan_mbim::session::Command as MbimCommand;
use uwwan_mbim::status::Status;
use uwwan_mbim::uuid::Uuid;
use zeroize::Zeroizing;

use super::contexts::purpose;
use uwwan_modem::client::{Client, QUERY_TIMEOUT};

use uwwan_modem::status::{Addresses, Prefix4, Prefix6};

use crate::failure::{Failure, FailureKind};
use crate::forms::network_cause;
use crate::output::note;
use crate::output::say_json;
use crate::page::Page;
use crate::reach::Reach;
use crate::sandbox;
use crate::secrets;
use crate::spinner;

/// Longest time for an activation (ModemManager waits as long).
const ACTIVATE: Duration = Duration::from_secs(180);
/// Longest time for a deactivation, for which some firmware takes half a minute.
const DEACTIVATE: Duration = Duration::from_secs(120);
/// Longest time for an activation that was answered with "activating".
const SETTLE: Duration = Duration::from_secs(60);
/// Longest time for the addresses of a data session.
const ADDRESSES: Duration = Duration::from_secs(60);
/// Number of data sessions to which a datagram can belong (MBIM 1.0 section 7). A larger number
/// from a modem is not used.
const MOST_SESSIONS: u32 = 256;

/// Arguments of `connect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan connect --apn internet --ip-type ipv6
      whether the network would give such a session, and its addresses
  uwwan connect --session 3 --apn mms --context-type mms
      a further session beside the one of a running uwwan up
  uwwan connect --apn internet --auth chap --user me --password-file password
  uwwan connect --apn internet --hold
      keep it until Ctrl-C

No packets flow through it: uwwan up --session 3:apn=mms gives a session its interface. Without a
running uwwan up the session ends with this command.")]
pub struct ConnectArguments {
    /// Number of the session
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..256))]
    session: u32,
    /// Access point name; without it the modem or the operator chooses
    #[arg(long, value_name = "NAME", default_value = "")]
    apn: String,
    /// Address families, as in MBIM: default, ipv4, ipv6, ipv4v6, ipv4_and_ipv6
    #[arg(long, value_name = "TYPE", default_value = "default")]
    ip_type: ContextIpType,
    /// Authentication towards the access point, as in MBIM: none, pap, chap, mschapv2
    #[arg(long, value_name = "HOW", default_value = "none")]
    auth: AuthProtocol,
    /// User name for --auth
    #[arg(long, value_name = "NAME", default_value = "")]
    user: String,
    /// File whose first line is the password for --auth
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// What it is for, as in MBIM: internet, mms, ims, vpn… or a UUID
    #[arg(long, value_name = "TYPE", default_value = "internet", value_parser = context)]
    context_type: Uuid,
    /// Compress headers
    #[arg(long)]
    compression: bool,
    /// Keep it until Ctrl-C, then end it
    #[arg(long)]
    hold: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn context(text: &str) -> Result<Uuid, String> {
    context_type_named(text).ok_or_else(|| "neither a known context type nor a UUID".to_owned())
}

/// Arguments of `disconnect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan disconnect 3             end session 3
  uwwan disconnect --force       end session 0, also while uwwan up is online through it")]
pub struct DisconnectArguments {
    /// Number of the session
    #[arg(value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..256))]
    session: u32,
    /// End it even though `uwwan up` holds it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `sessions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan sessions                 those that are active, with their addresses
  uwwan sessions --all           every one the modem can have
  uwwan sessions --json | jq '.[].ip'")]
pub struct SessionsArguments {
    /// Show inactive ones too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Activates a data session.
///
/// # Errors
/// Fails when the session is active already, and, with the network's cause, when the modem or the
/// network refuses.
pub fn connect(arguments: &ConnectArguments) -> Result<(), Failure> {
    let has_login = !arguments.user.is_empty() || arguments.password_file.is_some();
    if arguments.auth == AuthProtocol::NONE && has_login {
        return Err(Failure::new(FailureKind::Usage, "an option makes no sense")
            .at("--auth")
            .because("a user name or password is given, but no way to send it")
            .next("add --auth chap, or --auth pap where the operator asks for it"));
    }
    let mut password = match &arguments.password_file {
        Some(path) => secrets::password(std::fs::File::open(path), path)?,
        None => Zeroizing::default(),
    };
    sandbox::hide_memory();
    let set = ConnectSet {
        session_id: arguments.session,
        activation_command: ActivationCommand::ACTIVATE,
        access_string: arguments.apn.clone(),
        user_name: arguments.user.clone(),
        password: std::mem::take(&mut *password),
        compression: if arguments.compression {
            Compression::ENABLE
        } else {
            Compression::NONE
        },
        auth_protocol: arguments.auth,
        ip_type: arguments.ip_type,
        context_type: arguments.context_type,
    };
    let reached = arguments.reach.modem()?;
    let (mut modem, through) = (reached.client, reached.through);
    let state: ConnectInfo = modem.query_with(CONNECT, &query(arguments.session))?;
    if is_active(&state) {
        return Err(Failure::new(
            FailureKind::Busy,
            format!("session {} is active already", arguments.session),
        )
        .at(modem.place())
        .because(words(&state))
        .next("choose another number with --session, or end it with uwwan disconnect"));
    }
    modem.subscribe(&[CONNECT, IP_CONFIGURATION])?;
    let activated = activate(&mut modem, &set);
    let (state, addresses) = match activated {
        Ok(result) => result,
        Err(failure) => {
            // The data session may still come up in the modem.
            let _ = deactivate(&mut modem, arguments.session, QUERY_TIMEOUT);
            return Err(failure);
        }
    };
    if arguments.json {
        say_json(&Shown::of(&state, addresses.as_ref()))?;
    } else {
        let mut page = Page::default();
        page.row(
            "session",
            format!("{}, {}", state.session_id, words(&state)),
        );
        rows(&mut page, addresses.as_ref());
        page.print()?;
    }
    if arguments.hold {
        note("held until Ctrl-C");
        hold(&mut modem)?;
        deactivate(&mut modem, arguments.session, DEACTIVATE)?;
    } else if through.is_none() {
        note("no uwwan up is running: the session ends here (--hold keeps it)");
    }
    modem.close()
}

/// Waits for Ctrl-C or the loss of the modem.
fn hold(modem: &mut Client) -> Result<(), Failure> {
    loop {
        match modem.next_indication(Duration::from_secs(3600)) {
            Ok(_) => {}
            Err(failure) if failure.kind == FailureKind::Cancelled => return Ok(()),
            Err(failure) => return Err(failure),
        }
    }
}

fn activate(
    modem: &mut Client,
    set: &ConnectSet,
) -> Result<(ConnectInfo, Option<IpConfiguration>), Failure> {
    let session = set.session_id;
    let answer = spinner::command(
        modem,
        "connecting",
        MbimCommand::set(CONNECT, set),
        ACTIVATE,
    )?;
    let told: Option<ConnectInfo> = answer.decode().ok();
    if !answer.status.is_success() {
        let cause = told.map(|state| state.nw_error);
        if answer.status == Status::NO_DEVICE_SUPPORT && set.ip_type == ContextIpType::IPV6 {
            return Err(
                Failure::new(FailureKind::Refused, "the session was refused")
                    .at(modem.place())
                    .because("the firmware, or its profile for the SIM's operator, allows no IPv6")
                    .next("uwwan ipv6 status tells why, and uwwan ipv6 enable unlocks it"),
            );
        }
        return Err(modem.refusal("the session was refused", answer.status, cause));
    }
    let state = spinner::settled(
        modem,
        told.unwrap_or_default(),
        CONNECT,
        SETTLE,
        |state: &ConnectInfo| state.session_id == session,
        |modem| modem.query_with(CONNECT, &query(session)),
        |state| state.activation_state == ActivationState::ACTIVATING,
    )?;
    if state.activation_state != ActivationState::ACTIVATED {
        let failure = modem.refusal(
            "the session did not come up",
            Status::FAILURE,
            Some(state.nw_error),
        );
        return Err(failure.because(words(&state)));
    }
    let addresses = configuration(modem, session)?;
    Ok((state, addresses))
}

fn configuration(modem: &mut Client, session: u32) -> Result<Option<IpConfiguration>, Failure> {
    let wanted = IpConfiguration {
        session_id: session,
        ..IpConfiguration::default()
    };
    let command = MbimCommand::query_with(IP_CONFIGURATION, &wanted);
    let answer = spinner::command(modem, "waiting for addresses", command, ADDRESSES)?;
    if answer.status.is_success() {
        modem.content(&answer).map(Some)
    } else {
        Ok(None)
    }
}

/// Ends a data session. Returns `false` when it was not active.
fn deactivate(modem: &mut Client, session: u32, patience: Duration) -> Result<bool, Failure> {
    let set = ConnectSet {
        session_id: session,
        activation_command: ActivationCommand::DEACTIVATE,
        context_type: context_type::INTERNET,
        ..ConnectSet::default()
    };
    let answer = spinner::command(
        modem,
        "disconnecting",
        MbimCommand::set(CONNECT, &set),
        patience,
    )?;
    match answer.status {
        Status::CONTEXT_NOT_ACTIVATED => Ok(false),
        status if status.is_success() => Ok(true),
        status => Err(modem.refusal(format!("cannot end session {session}"), status, None)),
    }
}

/// Ends a data session, and reports whether it was active.
///
/// # Errors
/// Fails when the modem, or a running `uwwan up` that holds the session, refuses.
pub fn disconnect(arguments: &DisconnectArguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    if arguments.force {
        modem.insist()?;
    }
    let was = deactivate(&mut modem, arguments.session, DEACTIVATE)?;
    modem.close()?;
    let session = arguments.session;
    if arguments.json {
        return say_json(&Ended {
            session,
            was_active: was,
        });
    }
    let mut page = Page::default();
    page.line(if was {
        format!("session {session} has ended")
    } else {
        format!("session {session} was not active")
    });
    page.print()
}

/// Lists the data sessions of the modem.
///
/// # Errors
/// Fails when the modem cannot be reached or refuses the query.
pub fn sessions(arguments: &SessionsArguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    let caps: DeviceCaps = modem.query(DEVICE_CAPS)?;
    let mut found = Vec::new();
    let mut told = false;
    for session in 0..caps.max_sessions.min(MOST_SESSIONS) {
        let command = MbimCommand::query_with(CONNECT, &query(session));
        // Some firmware refuses a query about a data session that was never active.
        let Ok(state) = modem.optional::<ConnectInfo>(command)? else {
            continue;
        };
        told = true;
        let addresses = if is_active(&state) {
            configuration(&mut modem, session)?
        } else {
            None
        };
        if is_active(&state) || arguments.all {
            found.push((session, state, addresses));
        }
    }
    // Who may not ask would take the silence for an answer.
    if !told
        && let Err(failure) = modem.query_with::<ConnectInfo>(CONNECT, &query(0))
        && failure.kind == FailureKind::Permission
    {
        return Err(failure);
    }
    modem.close()?;
    if arguments.json {
        let list: Vec<Shown> = found
            .iter()
            .map(|(_, state, addresses)| Shown::of(state, addresses.as_ref()))
            .collect();
        return say_json(&list);
    }
    let mut page = Page::default();
    for (session, state, addresses) in &found {
        page.row(&format!("session {session}"), words(state));
        rows(&mut page, addresses.as_ref());
    }
    if page.is_empty() {
        page.line("no session is active");
    }
    page.print()
}

fn query(session: u32) -> ConnectInfo {
    ConnectInfo {
        session_id: session,
        ..ConnectInfo::default()
    }
}

fn is_active(state: &ConnectInfo) -> bool {
    matches!(
        state.activation_state,
        ActivationState::ACTIVATED | ActivationState::ACTIVATING
    )
}

fn words(state: &ConnectInfo) -> String {
    let mut words = state.activation_state.to_string();
    if is_active(state) {
        words.push_str(&format!(
            ", {}, {}",
            state.ip_type,
            purpose(state.context_type)
        ));
    }
    if state.nw_error.0 != 0 {
        words.push_str(&format!(
            ", the network says {}: {}",
            state.nw_error,
            state.nw_error.explanation()
        ));
    }
    words
}

fn rows(page: &mut Page, addresses: Option<&IpConfiguration>) {
    let Some(given) = addresses else { return };
    for element in &given.ipv4_address {
        page.row(
            "  address",
            format!("{}/{}", element.ipv4_address, element.on_link_prefix_length),
        );
    }
    for element in &given.ipv6_address {
        page.row(
            "  address",
            format!("{}/{}", element.ipv6_address, element.on_link_prefix_length),
        );
    }
    if let Some(gateway) = given.ipv4_gateway {
        page.row("  gateway", gateway.to_string());
    }
    if let Some(gateway) = given.ipv6_gateway {
        page.row("  gateway", gateway.to_string());
    }
    for server in &given.ipv4_dns_server {
        page.row("  name server", server.to_string());
    }
    for server in &given.ipv6_dns_server {
        page.row("  name server", server.to_string());
    }
    let mtus = [("4", given.ipv4_mtu), ("6", given.ipv6_mtu)];
    for (family, mtu) in mtus.into_iter().filter(|(_, mtu)| *mtu != 0) {
        page.row("  MTU", format!("{mtu} (IPv{family})"));
    }
}

/// A data session that was ended, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Ended {
    /// MBIM session id.
    session: u32,
    /// Whether it was active.
    was_active: bool,
}

/// A data session, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    /// MBIM session id.
    session: u32,
    /// State of the activation.
    state: String,
    /// Families of addresses.
    ip_type: String,
    /// Purpose of the access point.
    purpose: String,
    /// Network's cause (3GPP TS 24.008 and 24.301); null for none.
    network_cause: Option<u32>,
    /// Name of `network_cause`.
    #[schemars(extend("deprecated" = true))]
    network_error: Option<String>,
    /// Addresses, the first of each family; null while the session is not active.
    ip: Option<Addresses>,
    #[serde(flatten)]
    lists: Option<Lists>,
}

/// Addresses in the form of version 0.1.
#[derive(Debug, Serialize, JsonSchema)]
struct Lists {
    /// Every address with its prefix length.
    #[schemars(extend("deprecated" = true))]
    addresses: Vec<String>,
    /// Gateways of `ip`.
    #[schemars(extend("deprecated" = true))]
    gateways: Vec<String>,
    /// Name servers of `ip`.
    #[schemars(extend("deprecated" = true))]
    name_servers: Vec<String>,
    /// MTU for IPv4 in bytes, 0 when the network did not give it.
    #[schemars(extend("deprecated" = true))]
    mtu_ipv4: u32,
    /// MTU for IPv6 in bytes, 0 when the network did not give it.
    #[schemars(extend("deprecated" = true))]
    mtu_ipv6: u32,
}

impl Shown {
    fn of(state: &ConnectInfo, given: Option<&IpConfiguration>) -> Self {
        Self {
            session: state.session_id,
            state: state.activation_state.to_string(),
            ip_type: state.ip_type.to_string(),
            purpose: purpose(state.context_type),
            network_cause: network_cause(state.nw_error),
            network_error: (state.nw_error.0 != 0).then(|| state.nw_error.to_string()),
            ip: given.map(addresses),
            lists: given.map(Lists::of),
        }
    }
}

impl Lists {
    fn of(given: &IpConfiguration) -> Self {
        let v4 = given.ipv4_address.iter();
        let v4 = v4.map(|one| format!("{}/{}", one.ipv4_address, one.on_link_prefix_length));
        let v6 = given.ipv6_address.iter();
        let v6 = v6.map(|one| format!("{}/{}", one.ipv6_address, one.on_link_prefix_length));
        let gateways4 = given.ipv4_gateway.iter().map(ToString::to_string);
        let gateways6 = given.ipv6_gateway.iter().map(ToString::to_string);
        let dns4 = given.ipv4_dns_server.iter().map(ToString::to_string);
        let dns6 = given.ipv6_dns_server.iter().map(ToString::to_string);
        Self {
            addresses: v4.chain(v6).collect(),
            gateways: gateways4.chain(gateways6).collect(),
            name_servers: dns4.chain(dns6).collect(),
            mtu_ipv4: given.ipv4_mtu,
            mtu_ipv6: given.ipv6_mtu,
        }
    }
}

/// Returns the network's configuration in the form that `status` has.
fn addresses(given: &IpConfiguration) -> Addresses {
    let prefix = |length: u32| u8::try_from(length).unwrap_or(u8::MAX);
    let mtus = [given.ipv4_mtu, given.ipv6_mtu];
    let mtu = mtus.into_iter().filter(|mtu| *mtu != 0).min();
    Addresses {
        ipv4: given.ipv4_address.first().map(|one| Prefix4 {
            address: one.ipv4_address,
            prefix: prefix(one.on_link_prefix_length),
        }),
        gateway4: given.ipv4_gateway,
        dns4: given.ipv4_dns_server.clone(),
        ipv6: given.ipv6_address.first().map(|one| Prefix6 {
            address: one.ipv6_address,
            prefix: prefix(one.on_link_prefix_length),
        }),
        gateway6: given.ipv6_gateway,
        dns6: given.ipv6_dns_server.clone(),
        mtu: mtu.map_or(0, |mtu| u16::try_from(mtu).unwrap_or(u16::MAX)),
    }
}
