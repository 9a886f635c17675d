//! The reason why a modem refuses IPv6, and the way to unlock it.
//!
//! Firmware 11.617 (HP lt4132, Huawei ME906s and ME909s) keeps a list of profiles by operator. An
//! operator in no list gets profile `"00000"`, which allows IPv4 contexts alone; adding it to
//! `"99999"` and restarting the modem allows all three kinds (T. Anderson, 2018-12). [`examine`]
//! finds out what the modem allows. [`enable`] and [`disable`] change the list, restart the modem
//! and examine it again. The caller provides a [`ModemAccess`], which carries commands to the modem
//! and waits for it after a restart.

mod access;
mod lookup;
mod modem;
mod operator;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_at::commands::context::{ContextKind, ContextKinds};
use uwwan_at::commands::profiles::{self, GENERIC, GENERIC_IPV4V6, Ipv6Capability, Profiles};
use uwwan_at::dialogue::Command;

use access::{impossible, must, no_command, query, query_with};

use crate::failure::{Failure, FailureKind};

pub use access::{ModemAccess, NoOperator};
pub use modem::{AtModem, Progress};
pub use operator::{Operator, Source, is_code};

/// Operators of profile `"99999"` as it leaves the factory (firmware 11.617.13.00.00).
pub const FACTORY: [&str; 3] = ["24491", "24001", "23820"];

/// Conclusion whether and why IPv6 works or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The modem allows IPv6.
    Works,
    /// The operator is in no profile.
    Locked,
    /// The operator has a profile of its own, and it allows IPv4 alone.
    OwnProfile,
    /// The list has been changed, and the modem has not been restarted since.
    AwaitsRestart,
    /// The modem does not report its SIM's operator.
    NoOperator,
    /// The modem has no list of profiles, so nothing can be changed.
    NoList,
    /// The modem does not report what it allows.
    Unknown,
}

/// Findings about a modem and its SIM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Findings {
    /// Answer of `AT^IPV6CAP?`: 1 stands for IPv4 alone, 2 for IPv6, 4 for both in one context, and
    /// a sum for several of them.
    pub capability: Option<u8>,
    /// Kinds of contexts that `AT+CGDCONT=?` names: `IP`, `IPV6`, `IPV4V6`.
    pub kinds: Vec<String>,
    /// Operator of the SIM.
    pub operator: Option<Operator>,
    /// Reason why the operator is not known.
    #[schemars(with = "Option<String>")]
    pub no_operator: Option<NoOperator>,
    /// Name of the profile the operator falls under.
    pub profile: Option<String>,
    /// Codes of the operators in the profile that allows IPv6.
    pub unlocked: Vec<String>,
    /// Conclusion from these findings.
    pub verdict: Verdict,
}

impl Findings {
    fn without_operator(&self) -> Failure {
        self.no_operator
            .as_ref()
            .unwrap_or(&NoOperator::Untold)
            .failure()
    }
}

/// A change to the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// Command that makes the change; `None` when only the restart is missing.
    pub command: Option<String>,
    /// Command that takes the change back.
    pub undo: String,
    /// Codes of the operators in the profile before the change.
    pub before: Vec<String>,
    /// Codes of the operators in the profile after the change.
    pub after: Vec<String>,
}

/// Plan of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// The list is to be changed and the modem to be restarted.
    Change(Change),
    /// Nothing is to be done, for this reason.
    Nothing(String),
}

/// Asks the modem which kinds of contexts it allows, and why.
///
/// # Errors
/// [`Failure`] when the port gives no answer. Facts that the modem does not report are missing in
/// the findings.
pub fn examine(modem: &mut dyn ModemAccess) -> Result<Findings, Failure> {
    let capability = query::<Ipv6Capability>(modem)?.map(|capability| capability.0);
    let kinds = query::<ContextKinds>(modem)?.map_or_else(Vec::new, |kinds| {
        kinds.0.iter().map(kind_name).map(str::to_owned).collect()
    });
    let profiles = query::<Profiles>(modem)?;
    let (operator, no_operator) = match lookup::find(modem, profiles.as_ref())? {
        Ok(operator) => (Some(operator), None),
        Err(why) => (None, Some(why)),
    };
    let profile = match (&profiles, &operator) {
        (Some(profiles), Some(operator)) => Some(profiles.of(&operator.code).to_owned()),
        _ => None,
    };
    let unlocked = profiles
        .as_ref()
        .and_then(|profiles| profiles.named(GENERIC_IPV4V6))
        .map_or_else(Vec::new, |profile| profile.operators.clone());
    let allows = match capability {
        Some(bits) => Some(bits & 6 == 6),
        None if kinds.is_empty() => None,
        None => Some(
            ["IPV6", "IPV4V6"]
                .iter()
                .all(|kind| kinds.iter().any(|k| k == kind)),
        ),
    };
    let verdict = match (allows, profile.as_deref()) {
        (Some(true), _) => Verdict::Works,
        (None, _) if profiles.is_none() => Verdict::Unknown,
        _ if profiles.is_none() => Verdict::NoList,
        (_, None) => Verdict::NoOperator,
        (_, Some(GENERIC)) => Verdict::Locked,
        (_, Some(GENERIC_IPV4V6)) => Verdict::AwaitsRestart,
        (_, Some(_)) => Verdict::OwnProfile,
    };
    Ok(Findings {
        capability,
        kinds,
        operator,
        no_operator,
        profile,
        unlocked,
        verdict,
    })
}

/// Plans the change that unlocks IPv6.
///
/// # Errors
/// [`Failure`] when no change helps, or, of the kind `Usage`, when it needs `force`.
pub fn plan_enable(findings: &Findings, force: bool) -> Result<Plan, Failure> {
    let operator = match (findings.verdict, &findings.operator) {
        (Verdict::Works, _) => {
            return Ok(Plan::Nothing("the modem allows IPv6 already".into()));
        }
        (Verdict::NoList | Verdict::Unknown, _) => {
            return Err(impossible(
                "this modem has no operator list (AT^PLMNLIST) to unlock anything with".into(),
            ));
        }
        (_, None) => return Err(findings.without_operator()),
        (_, Some(operator)) => operator,
    };
    if findings.verdict == Verdict::OwnProfile && !force {
        return Err(needs_force(format!(
            "operator {} has the profile \"{}\" of its own; which of two profiles wins is not known",
            operator.code,
            findings.profile.as_deref().unwrap_or_default()
        )));
    }
    let add = profiles::add(GENERIC_IPV4V6, &operator.code).map_err(no_command)?;
    let remove = profiles::remove(GENERIC_IPV4V6, &operator.code).map_err(no_command)?;
    let there = findings.unlocked.contains(&operator.code);
    let mut after = findings.unlocked.clone();
    if !there {
        after.push(operator.code.clone());
    }
    Ok(Plan::Change(Change {
        command: (!there).then(|| add.line().to_owned()),
        undo: remove.line().to_owned(),
        before: findings.unlocked.clone(),
        after,
    }))
}

/// Plans the change that removes the SIM's operator from the list.
///
/// # Errors
/// [`Failure`] when the operator is not known, or, of the kind `Usage`, when the operator has been in
/// the list since the factory and `force` is not given.
pub fn plan_disable(findings: &Findings, force: bool) -> Result<Plan, Failure> {
    let Some(operator) = &findings.operator else {
        return Err(findings.without_operator());
    };
    if !findings.unlocked.contains(&operator.code) {
        return Ok(Plan::Nothing(format!(
            "operator {} is not in profile \"{GENERIC_IPV4V6}\": there is nothing to undo",
            operator.code
        )));
    }
    if FACTORY.contains(&operator.code.as_str()) && !force {
        return Err(needs_force(format!(
            "operator {} is in profile \"{GENERIC_IPV4V6}\" from the factory: `uwwan ipv6 enable` has not put it there",
            operator.code
        )));
    }
    let mut after = findings.unlocked.clone();
    after.retain(|listed| *listed != operator.code);
    let add = profiles::add(GENERIC_IPV4V6, &operator.code).map_err(no_command)?;
    let remove = profiles::remove(GENERIC_IPV4V6, &operator.code).map_err(no_command)?;
    Ok(Plan::Change(Change {
        command: Some(remove.line().to_owned()),
        undo: add.line().to_owned(),
        before: findings.unlocked.clone(),
        after,
    }))
}

/// Makes the change, restarts the modem and examines it again. The modem must then allow all kinds
/// of contexts.
///
/// # Errors
/// [`Failure`], also when the modem accepted the change and still refuses IPv6.
pub fn enable(modem: &mut dyn ModemAccess, change: &Change) -> Result<Findings, Failure> {
    let findings = apply(modem, change)?;
    let all = ["IP", "IPV6", "IPV4V6"];
    if findings.capability == Some(7)
        && all
            .iter()
            .all(|kind| findings.kinds.iter().any(|k| k == kind))
    {
        return Ok(findings);
    }
    Err(unverified(format!(
        "the operator is in the list and the modem was restarted, but it says {}{}",
        said(&findings),
        findings
            .no_operator
            .as_ref()
            .map_or_else(String::new, |why| format!(
                "; the SIM's operator is not known: {why}"
            ))
    )))
}

/// Takes the change back, restarts the modem and examines it again.
///
/// # Errors
/// [`Failure`], also when the modem accepted the change and the operator is still in the list.
pub fn disable(modem: &mut dyn ModemAccess, change: &Change) -> Result<Findings, Failure> {
    let findings = apply(modem, change)?;
    if findings.unlocked == change.after {
        return Ok(findings);
    }
    Err(unverified(format!(
        "after the restart profile \"{GENERIC_IPV4V6}\" has {}",
        findings.unlocked.join(", ")
    )))
}

/// Returns the kinds of contexts that the modem reports as allowed, as it writes them.
#[must_use]
pub fn said(findings: &Findings) -> String {
    let capability = findings
        .capability
        .map_or("nothing".to_owned(), |bits| format!("^IPV6CAP: {bits}"));
    format!(
        "{capability} and context kinds {}",
        findings.kinds.join(", ")
    )
}

fn apply(modem: &mut dyn ModemAccess, change: &Change) -> Result<Findings, Failure> {
    if let Some(line) = &change.command {
        modem.step(line);
        must(modem, Command::new(line.as_str()).map_err(no_command)?)?;
        let ask = profiles::ask(GENERIC_IPV4V6).map_err(no_command)?;
        let listed = query_with::<Profiles>(modem, ask)?;
        let listed = listed
            .as_ref()
            .and_then(|profiles| profiles.named(GENERIC_IPV4V6))
            .map(|profile| profile.operators.as_slice());
        if listed.is_some_and(|listed| listed != change.after) {
            return Err(unverified(format!(
                "{line} was taken, but profile \"{GENERIC_IPV4V6}\" has {}",
                listed.unwrap_or_default().join(", ")
            )));
        }
    }
    modem.step("AT^RESET");
    let restart = uwwan_at::commands::ports::restart().map_err(no_command)?;
    match must(modem, restart) {
        // Some modems leave the bus before they have answered.
        Err(failure) if failure.kind != FailureKind::Gone => return Err(failure),
        _ => {}
    }
    modem.step("waiting for the modem to come back");
    modem.come_back()?;
    modem.step("looking at it again");
    examine(modem)
}

fn kind_name(kind: &ContextKind) -> &str {
    match kind {
        ContextKind::Ipv4 => "IP",
        ContextKind::Ipv6 => "IPV6",
        ContextKind::Ipv4v6 => "IPV4V6",
        ContextKind::Other(name) => name,
    }
}

fn needs_force(why: String) -> Failure {
    Failure::new(FailureKind::Usage, "this needs --force")
        .because(why)
        .next("give --force to do it all the same")
}

/// Returns the failure of a change that was made without the expected effect.
fn unverified(why: String) -> Failure {
    Failure::new(FailureKind::Other, "the modem is not as it should be").because(why)
}

#[cfg(test)]
mod tests;
