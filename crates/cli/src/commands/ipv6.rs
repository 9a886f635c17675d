//! `uwwan ipv6` reports why IPv6 is refused, and unlocks it or locks it again.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::services::basic_connect::{self as bc, Provider};
use uwwan_modem::Status;
use uwwan_modem::client::{Client as MbimClient, StatusClient};
use uwwan_modem::ipv6::{
    self, AtModem, Change, Findings, NoOperator, Operator, Plan, Progress, Source, Verdict, is_code,
};

use crate::failure::{Failure, FailureKind};
use crate::output::{note, plain, say, say_json};
use crate::prompt;
use crate::reach::{Reach, Target, interrupts};
use crate::running::Entry;

/// Longest time until a running `up` is online again after the restart.
const ONLINE: Duration = Duration::from_secs(240);

/// Arguments of `ipv6`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Tell whether IPv6 can work with this SIM, and why not
    Status(StatusArguments),
    /// Add the SIM's operator to the modem's list of those that get IPv6, and restart the modem
    Enable(ChangeArguments),
    /// Take the SIM's operator out of that list again, and restart the modem
    Disable(ChangeArguments),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan ipv6 status                       in plain words
  uwwan ipv6 status --json | jq -r .verdict
  uwwan ipv6 status --device emulator     on the emulated modem, which is locked as delivered")]
struct StatusArguments {
    #[command(flatten)]
    reach: Reach,
    /// The SIM's operator, where the modem cannot tell: country and network code, as in 24201
    #[arg(long, value_name = "CODE", value_parser = operator_code)]
    operator: Option<String>,
    /// Print what was found out as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan ipv6 enable --show      what would be changed, and nothing more
  uwwan ipv6 enable             asks before it changes anything
  uwwan ipv6 enable --yes       in a script
  uwwan ipv6 disable            the way back

The list is kept in the modem, for this and any other computer. The modem restarts, which takes half
a minute; a running `uwwan up` brings it back, and its interface stays.")]
struct ChangeArguments {
    #[command(flatten)]
    reach: Reach,
    /// The SIM's operator, where the modem cannot tell: country and network code, as in 24201
    #[arg(long, value_name = "CODE", value_parser = operator_code)]
    operator: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Only show what would be changed
    #[arg(long, conflicts_with = "yes")]
    show: bool,
    /// Also touch entries from the factory and operators with a profile of their own
    #[arg(long)]
    force: bool,
    /// Print the outcome as one line of JSON
    #[arg(long)]
    json: bool,
}

fn operator_code(text: &str) -> Result<String, String> {
    if is_code(text) {
        Ok(text.to_owned())
    } else {
        Err("an operator's code has five or six digits, as in 24201".to_owned())
    }
}

/// Reports whether IPv6 can work, or adds or removes the SIM's operator in the modem's list.
///
/// # Errors
/// Fails when there is no modem, or when the change does not have its effect.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Status(arguments) => status(arguments),
        Command::Enable(arguments) => change(arguments, true),
        Command::Disable(arguments) => change(arguments, false),
    }
}

/// The modem in question, with the `up` that runs it, if one does.
struct Case {
    modem: AtModem,
    entry: Option<Entry>,
    /// Name of the modem in messages.
    name: String,
}

impl Case {
    fn open(reach: &Reach, chosen: Option<&String>, told: Progress) -> Result<Self, Failure> {
        let chosen = chosen.map(|code| Operator {
            code: code.clone(),
            source: Source::Chosen,
        });
        let target = reach.target()?;
        let name = target.name()?;
        let mut client = target.at(None)?;
        // The plan with its restart is shown and agreed to before anything is changed.
        client.insist();
        let (entry, socket) = match target {
            Target::Running(entry) => {
                let socket = entry.mbim_socket();
                (Some(entry), Some(socket))
            }
            // MBIM cannot be queried, because the modem may be in another configuration.
            Target::Device { .. } => (None, None),
        };
        let operator = move || chosen.clone().or_else(|| home_provider(socket.as_deref()?));
        Ok(Self {
            modem: AtModem::new(client, operator, told),
            entry,
            name,
        })
    }

    fn examine(&mut self) -> Result<Findings, Failure> {
        ipv6::examine(&mut self.modem)
    }

    /// Returns the status of the `up` that runs the modem, if one does and reports it.
    fn state(&self) -> Option<Status> {
        let mut client = StatusClient::connect(&self.entry.as_ref()?.socket).ok()?;
        client.status().ok()?.decode().ok()
    }
}

/// Returns the SIM's operator as MBIM names it, asked through the socket of a running `up`.
fn home_provider(socket: &std::path::Path) -> Option<Operator> {
    let mut client = MbimClient::through(socket).ok()?;
    let provider: Provider = client.query(bc::HOME_PROVIDER).ok()?;
    let _ = client.close();
    Some(Operator {
        code: provider.provider_id,
        source: Source::HomeProvider,
    })
}

/// Findings and changes, as JSON. A field that does not concern the command is absent.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    /// Device with its name.
    device: String,
    /// Copy of `device`.
    #[schemars(extend("deprecated" = true))]
    modem: String,
    /// Whether anything was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
    /// Reason in words why there is nothing to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Change that is made, or would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<Change>,
    /// Findings in the modem's own terms.
    findings: Findings,
    /// Meaning of the findings in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<String>,
    /// Families that the network gives, in words; null where they are not known.
    network: Option<String>,
}

impl Shown {
    fn new(device: &str, findings: Findings) -> Self {
        Self {
            device: device.to_owned(),
            modem: device.to_owned(),
            changed: None,
            why: None,
            change: None,
            findings,
            explanation: None,
            network: None,
        }
    }
}

fn status(arguments: &StatusArguments) -> Result<(), Failure> {
    let mut case = Case::open(
        &arguments.reach,
        arguments.operator.as_ref(),
        Box::new(|_| {}),
    )?;
    let findings = case.examine()?;
    let state = case.state();
    if arguments.json {
        return say_json(&Shown {
            explanation: Some(explanation(&findings)),
            network: network(&findings, state.as_ref()),
            ..Shown::new(&case.name, findings)
        });
    }
    say(format!("{}:", plain(&case.name)))?;
    for line in facts(&findings) {
        say(format!("  {}", plain(&line)))?;
    }
    say(format!("\n{}", explanation(&findings)))?;
    if let Some(text) = network(&findings, state.as_ref()) {
        say(plain(&text))?;
    }
    Ok(())
}

/// Returns the findings in the modem's own terms, one line each.
fn facts(findings: &Findings) -> Vec<String> {
    let mut lines = Vec::new();
    let mut field = |name: &str, text: String| lines.push(format!("{name:<14} {text}"));
    field(
        "capability",
        match findings.capability {
            Some(bits) => {
                let names = [(1, "IPv4"), (2, "IPv6"), (4, "both in one context")];
                let allowed: Vec<&str> = names
                    .iter()
                    .filter(|(bit, _)| bits & bit != 0)
                    .map(|(_, name)| *name)
                    .collect();
                format!("{bits}: {} (AT^IPV6CAP?)", allowed.join(", "))
            }
            None => "not told (AT^IPV6CAP?)".to_owned(),
        },
    );
    field(
        "context kinds",
        format!("{} (AT+CGDCONT=?)", findings.kinds.join(", ")),
    );
    field(
        "SIM's operator",
        match (&findings.operator, &findings.no_operator) {
            (Some(operator), _) => {
                format!("{} ({})", operator.code, source(operator.source))
            }
            (None, why) => format!(
                "not known: {}",
                why.as_ref()
                    .map_or("not told".to_owned(), NoOperator::to_string)
            ),
        },
    );
    if let Some(profile) = &findings.profile {
        field("its profile", format!("\"{profile}\" (AT^PLMNLIST?)"));
    }
    lines
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Chosen => "as you say",
        Source::HomeProvider => "from MBIM's home provider",
        Source::SimFile => "from the SIM's file EF-AD",
        Source::List => "from the IMSI; the modem's list has it",
        Source::Country => {
            "from the IMSI; the length of its network code is a guess: check it, or use --operator"
        }
    }
}

/// Explains the verdict in plain words.
fn explanation(findings: &Findings) -> String {
    let code = findings
        .operator
        .as_ref()
        .map_or("?", |operator| operator.code.as_str());
    match findings.verdict {
        Verdict::Works => "IPv6 can work: the modem allows it for this SIM.".to_owned(),
        Verdict::Locked => format!(
            "IPv6 cannot work: the firmware allows it only for operators in its list. {code} is in \
             no profile, so it gets \"00000\" (generic), which is IPv4 alone, whatever the network \
             offers. `uwwan ipv6 enable` adds it to \"99999\" (generic, IPv4v6) and restarts the modem."
        ),
        Verdict::OwnProfile => format!(
            "IPv6 cannot work: the firmware has a profile for {code}, \"{}\", and it allows IPv4 \
             alone. `uwwan ipv6 enable --force` adds the operator to \"99999\" as well; whether \
             that wins is not known.",
            findings.profile.as_deref().unwrap_or_default()
        ),
        Verdict::AwaitsRestart => format!(
            "IPv6 will work after a restart of the modem: {code} is in the list already. \
             `uwwan ipv6 enable` restarts it."
        ),
        Verdict::NoOperator => format!(
            "IPv6 is off, and whether it can be unlocked depends on the SIM's operator, which is \
             not known: {}.",
            findings.no_operator.as_ref().unwrap_or(&NoOperator::Untold)
        ),
        Verdict::NoList => "IPv6 cannot work: the modem does not allow it, and it has no operator \
                            list (AT^PLMNLIST) to change that."
            .to_owned(),
        Verdict::Unknown => "The modem does not say whether it allows IPv6; \
                             `uwwan up --ip-type ipv6` tells."
            .to_owned(),
    }
}

/// Returns the network's answer about the families, as far as a running `up` knows it.
fn network(findings: &Findings, state: Option<&Status>) -> Option<String> {
    let state = state?;
    if let Some(failure) = &state.failure {
        return Some(format!("The network or modem refused: {}.", failure.what));
    }
    let addresses = state.addresses().filter(|_| state.online)?;
    Some(match (&addresses.ipv6, findings.verdict) {
        (Some(prefix), _) if prefix.address.is_unicast_link_local() => {
            "The network gave a link-local address; the global one, made from its router \
             advertisements, shows in `ip -6 addr`."
                .to_owned()
        }
        (Some(prefix), _) => format!(
            "The network gave the address {}/{}: IPv6 is in use.",
            prefix.address, prefix.prefix
        ),
        (None, Verdict::Works) => {
            "The network gave no IPv6 address on this connection: it was not \
                                   asked for one (--ip-type ipv4v6), or the subscription has none."
                .to_owned()
        }
        (None, _) => "The network was not asked: the modem gives IPv4 alone.".to_owned(),
    })
}

fn change(arguments: &ChangeArguments, on: bool) -> Result<(), Failure> {
    let json = arguments.json;
    if json && !arguments.yes && !arguments.show {
        return Err(Failure::new(FailureKind::Usage, "an option makes no sense")
            .at("--json")
            .because("a question would stand in the middle of it")
            .next("add --yes, or --show to change nothing"));
    }
    let told: Progress = Box::new(move |step| {
        if !json {
            note(format!("  {}", plain(step)));
        }
    });
    let mut case = Case::open(&arguments.reach, arguments.operator.as_ref(), told)?;
    // Signals are caught before anything is changed, so that the message after a Ctrl-C in the middle
    // says what it interrupted.
    let interrupts = interrupts()?;
    let before = case.examine()?;
    let planned = if on {
        ipv6::plan_enable(&before, arguments.force)?
    } else {
        ipv6::plan_disable(&before, arguments.force)?
    };
    let planned = match planned {
        Plan::Change(planned) => planned,
        Plan::Nothing(why) => {
            return if json {
                say_json(&Shown {
                    changed: Some(false),
                    why: Some(why),
                    ..Shown::new(&case.name, before)
                })
            } else {
                say(format!("nothing to do: {why}"))
            };
        }
    };
    if !json {
        for line in plan(&case.name, &before, &planned) {
            say(plain(&line))?;
        }
    }
    if arguments.show {
        return if json {
            say_json(&Shown {
                changed: Some(false),
                change: Some(planned),
                ..Shown::new(&case.name, before)
            })
        } else {
            Ok(())
        };
    }
    if !arguments.yes {
        let answer = prompt::line("Change it and restart the modem? [y/N] ", &interrupts)
            .map_err(|failure| failure.next("--yes does it without asking"))?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return say("nothing was changed");
        }
    }
    let result = if on {
        ipv6::enable(&mut case.modem, &planned)
    } else {
        ipv6::disable(&mut case.modem, &planned)
    };
    let after = result.map_err(|failure| {
        failure.next(format!(
            "undo by hand: uwwan at '{}' AT^RESET",
            planned.undo
        ))
    })?;
    let state = case.entry.is_some().then(|| back_online(&case)).flatten();
    if json {
        return say_json(&Shown {
            changed: Some(true),
            change: Some(planned),
            network: network(&after, state.as_ref()),
            ..Shown::new(&case.name, after)
        });
    }
    say(format!(
        "done: the modem says {}",
        plain(&ipv6::said(&after))
    ))?;
    if let Some(text) = network(&after, state.as_ref()) {
        say(plain(&text))?;
    }
    if on {
        say("to undo it: uwwan ipv6 disable")?;
        if case.entry.is_none() {
            say("to use it: uwwan up --ip-type ipv4v6")?;
        }
    }
    Ok(())
}

/// Returns the description of the change, in lines.
fn plan(name: &str, findings: &Findings, change: &Change) -> Vec<String> {
    let operator = findings
        .operator
        .as_ref()
        .map_or_else(String::new, |operator| {
            format!("{} ({})", operator.code, source(operator.source))
        });
    let mut lines = vec![
        format!("{name}: operator {operator}"),
        format!("  profile \"99999\" has     {}", change.before.join(", ")),
        format!("  and will have           {}", change.after.join(", ")),
    ];
    match &change.command {
        Some(command) => lines.push(format!(
            "  commands                {command}, then AT^RESET"
        )),
        None => lines.push("  command                 AT^RESET".to_owned()),
    }
    lines.push(format!(
        "  to undo                 {}, then AT^RESET",
        change.undo
    ));
    lines
}

/// Waits until the running `up` is online again, and returns its last status.
fn back_online(case: &Case) -> Option<Status> {
    let deadline = Instant::now() + ONLINE;
    loop {
        let state = case.state();
        if state.as_ref().is_some_and(|state| state.online) || Instant::now() >= deadline {
            return state;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_modem::status::{Addresses, Prefix6, SessionStatus};

    fn locked() -> Findings {
        Findings {
            capability: Some(1),
            kinds: vec!["IP".into()],
            operator: Some(Operator {
                code: "24201".into(),
                source: Source::SimFile,
            }),
            no_operator: None,
            profile: Some("00000".into()),
            unlocked: vec!["24491".into()],
            verdict: Verdict::Locked,
        }
    }

    #[test]
    fn a_locked_modem_in_plain_words() {
        let text = facts(&locked()).join("\n");
        assert!(text.contains("1: IPv4 (AT^IPV6CAP?)"), "{text}");
        assert!(text.contains("24201 (from the SIM's file EF-AD)"), "{text}");
        let text = explanation(&locked());
        assert!(
            text.contains("24201") && text.contains("uwwan ipv6 enable"),
            "{text}"
        );
        let every = [
            Verdict::Works,
            Verdict::Locked,
            Verdict::OwnProfile,
            Verdict::AwaitsRestart,
            Verdict::NoOperator,
            Verdict::NoList,
            Verdict::Unknown,
        ];
        for verdict in every {
            let findings = Findings {
                verdict,
                ..locked()
            };
            assert!(explanation(&findings).contains("IPv6"), "{verdict:?}");
        }
    }

    #[test]
    fn the_plan_shows_the_exact_change() {
        let Ok(Plan::Change(change)) = ipv6::plan_enable(&locked(), false) else {
            unreachable!()
        };
        let text = plan("03f0:a31d at 1-4", &locked(), &change).join("\n");
        assert!(
            text.contains("AT^PLMNLIST=1,\"99999\",\"24201\", then AT^RESET"),
            "{text}"
        );
        assert!(
            text.contains("AT^PLMNLIST=0,\"99999\",\"24201\", then AT^RESET"),
            "{text}"
        );
        assert!(text.contains("24491, 24201"), "{text}");
    }

    #[test]
    fn what_the_network_said() {
        let works = Findings {
            verdict: Verdict::Works,
            ..locked()
        };
        assert_eq!(network(&works, None), None);
        let online = |addresses| Status {
            online: true,
            sessions: vec![SessionStatus {
                addresses: Some(addresses),
                ..SessionStatus::default()
            }],
            ..Status::default()
        };
        let state = online(Addresses::default());
        assert!(
            network(&works, Some(&state))
                .unwrap()
                .contains("subscription")
        );
        assert!(
            network(&locked(), Some(&state))
                .unwrap()
                .contains("IPv4 alone")
        );
        let state = online(Addresses {
            ipv6: Some(Prefix6 {
                address: "2001:db8::1".parse().unwrap(),
                prefix: 64,
            }),
            ..Addresses::default()
        });
        assert!(
            network(&works, Some(&state))
                .unwrap()
                .contains("2001:db8::1/64")
        );
    }

    #[test]
    fn operator_codes_are_checked() {
        assert!(operator_code("24201").is_ok() && operator_code("310260").is_ok());
        for wrong in ["2420", "24201x", "\"24201", "2420123"] {
            assert!(operator_code(wrong).is_err(), "{wrong}");
        }
    }
}
