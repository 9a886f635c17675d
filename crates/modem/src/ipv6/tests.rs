//! The change of the profiles against a scripted modem; a test of the emulator makes it on a whole
//! modem.

use super::*;
use crate::at_port::Answer;
use std::collections::VecDeque;
use uwwan_at::failure::Failure as Refusal;

#[derive(Default)]
struct Modem {
    home: Option<String>,
    unlocked: Vec<String>,
    /// Whether the modem allows IPv6 until it is restarted.
    allows: bool,
    /// Whether the modem accepts the change and drops it.
    stubborn: bool,
    has_list: bool,
    sim: Option<&'static str>,
    steps: VecDeque<String>,
    restarts: u32,
}

impl Modem {
    fn locked() -> Self {
        Self {
            unlocked: FACTORY.iter().map(|&code| code.to_owned()).collect(),
            has_list: true,
            sim: Some("242016000000001"),
            ..Self::default()
        }
    }
}

impl ModemAccess for Modem {
    fn ask(&mut self, command: Command) -> Result<Answer, Failure> {
        let line = command.line().to_owned();
        let list = format!("^PLMNLIST: \"99999\",{}", self.unlocked.join(","));
        let answer: Result<Vec<String>, Refusal> = match line.as_str() {
            "AT^IPV6CAP?" => Ok(vec![format!(
                "^IPV6CAP: {}",
                if self.allows { 7 } else { 1 }
            )]),
            "AT+CGDCONT=?" => {
                let kinds: &[&str] = if self.allows {
                    &["IP", "IPV6", "IPV4V6"]
                } else {
                    &["IP"]
                };
                Ok(kinds
                    .iter()
                    .map(|kind| format!("+CGDCONT: (0-11),\"{kind}\",,,(0-2)"))
                    .collect())
            }
            "AT^PLMNLIST?" if self.has_list => Ok(vec![
                "^PLMNLIST: \"00000\",00000".into(),
                "^PLMNLIST: \"26201\",26201,23001".into(),
                list,
            ]),
            "AT^PLMNLIST=\"99999\"" => Ok(vec![list]),
            "AT+CIMI" => self
                .sim
                .map(|imsi| vec![imsi.to_owned()])
                .ok_or(Refusal::Error),
            "AT^RESET" => {
                self.restarts += 1;
                Ok(vec![])
            }
            other => {
                let change = |prefix: &str| {
                    other
                        .strip_prefix(prefix)
                        .map(|rest| rest.trim_end_matches('"').to_owned())
                };
                if let Some(code) = change("AT^PLMNLIST=1,\"99999\",\"") {
                    self.unlocked.push(code);
                    Ok(vec![])
                } else if let Some(code) = change("AT^PLMNLIST=0,\"99999\",\"") {
                    self.unlocked.retain(|listed| *listed != code);
                    Ok(vec![])
                } else {
                    Err(Refusal::NotSupported)
                }
            }
        };
        let (lines, result) = match answer {
            Ok(lines) => (lines, Ok(())),
            Err(failure) => (vec![], Err(failure)),
        };
        Ok(Answer {
            command: line,
            lines,
            truncated: false,
            result,
        })
    }

    fn operator(&mut self) -> Option<Operator> {
        let source = Source::HomeProvider;
        self.home.clone().map(|code| Operator { code, source })
    }

    fn come_back(&mut self) -> Result<(), Failure> {
        self.allows = !self.stubborn && self.unlocked.contains(&"24201".to_owned());
        Ok(())
    }

    fn step(&mut self, what: &str) {
        self.steps.push_back(what.to_owned());
    }
}

fn changed(plan: Result<Plan, Failure>) -> Change {
    match plan {
        Ok(Plan::Change(change)) => change,
        other => panic!("no change: {other:?}"),
    }
}

#[test]
fn from_locked_to_unlocked_and_back() {
    let mut modem = Modem::locked();
    let findings = examine(&mut modem).unwrap();
    assert_eq!(
        (findings.verdict, findings.capability),
        (Verdict::Locked, Some(1))
    );
    assert_eq!(findings.profile.as_deref(), Some("00000"));
    let change = changed(plan_enable(&findings, false));
    assert_eq!(
        change.command.as_deref(),
        Some("AT^PLMNLIST=1,\"99999\",\"24201\"")
    );
    assert_eq!(change.undo, "AT^PLMNLIST=0,\"99999\",\"24201\"");
    assert_eq!(change.after, ["24491", "24001", "23820", "24201"]);
    let findings = enable(&mut modem, &change).unwrap();
    assert_eq!((findings.verdict, modem.restarts), (Verdict::Works, 1));
    assert_eq!(modem.steps[0], "AT^PLMNLIST=1,\"99999\",\"24201\"");
    assert!(matches!(
        plan_enable(&findings, false),
        Ok(Plan::Nothing(_))
    ));

    let change = changed(plan_disable(&findings, false));
    let findings = disable(&mut modem, &change).unwrap();
    assert_eq!((findings.verdict, modem.restarts), (Verdict::Locked, 2));
    assert_eq!(findings.unlocked, FACTORY);
    assert!(matches!(
        plan_disable(&findings, true),
        Ok(Plan::Nothing(_))
    ));
}

#[test]
fn mbims_home_provider_comes_first() {
    let mut modem = Modem {
        home: Some("242016".into()),
        ..Modem::locked()
    };
    let findings = examine(&mut modem).unwrap();
    let operator = findings.operator.unwrap();
    assert_eq!(
        (operator.code.as_str(), operator.source),
        ("242016", Source::HomeProvider)
    );
    modem.home = Some("nonsense\"".into());
    assert_eq!(examine(&mut modem).unwrap().operator.unwrap().code, "24201");
}

#[test]
fn only_the_restart_is_missing() {
    let mut modem = Modem::locked();
    modem.unlocked.push("24201".into());
    let findings = examine(&mut modem).unwrap();
    assert_eq!(findings.verdict, Verdict::AwaitsRestart);
    let change = changed(plan_enable(&findings, false));
    assert_eq!(change.command, None);
    assert_eq!(enable(&mut modem, &change).unwrap().verdict, Verdict::Works);
}

#[test]
fn factory_entries_and_profiles_of_their_own_need_insistence() {
    let mut modem = Modem {
        sim: Some("238201234567890"),
        ..Modem::locked()
    };
    let findings = examine(&mut modem).unwrap();
    assert_eq!(
        plan_disable(&findings, false).unwrap_err().kind,
        FailureKind::Usage
    );
    assert_eq!(
        changed(plan_disable(&findings, true)).after,
        ["24491", "24001"]
    );
    let mut modem = Modem {
        sim: Some("230011234567890"),
        ..Modem::locked()
    };
    let findings = examine(&mut modem).unwrap();
    assert_eq!(findings.verdict, Verdict::OwnProfile);
    assert_eq!(
        plan_enable(&findings, false).unwrap_err().kind,
        FailureKind::Usage
    );
    assert!(plan_enable(&findings, true).is_ok());
}

#[test]
fn what_cannot_be_done_is_said() {
    let mut modem = Modem {
        sim: None,
        ..Modem::locked()
    };
    let findings = examine(&mut modem).unwrap();
    assert_eq!(findings.verdict, Verdict::NoOperator);
    assert!(
        plan_enable(&findings, true)
            .unwrap_err()
            .to_string()
            .contains("no SIM")
    );
    let mut modem = Modem {
        has_list: false,
        ..Modem::locked()
    };
    let findings = examine(&mut modem).unwrap();
    assert_eq!(findings.verdict, Verdict::NoList);
    assert_eq!(
        plan_enable(&findings, true).unwrap_err().kind,
        FailureKind::Refused
    );
    let mut modem = Modem {
        stubborn: true,
        ..Modem::locked()
    };
    let findings = examine(&mut modem).unwrap();
    let change = changed(plan_enable(&findings, false));
    let error = enable(&mut modem, &change).unwrap_err();
    assert!(error.to_string().contains("^IPV6CAP: 1"), "{error}");
}
