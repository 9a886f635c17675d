//! `uwwan doctor` checks what may keep this user from bringing a modem online.

mod finding;
mod machine;
mod packets;

use uwwan_usb::backend::BackendKind;

pub use self::finding::Finding;
use self::finding::{Kind, Verdict};
use self::machine::Machine;
use crate::candidates;
use crate::failure::{Failure, FailureKind};
use crate::output::{plain, say, say_json};
use crate::prepared;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan doctor                                      what stands in the way, and what to do about it
  uwwan doctor --json | jq '.[] | select(.verdict == \"bad\").kind'

It looks and changes nothing: modems, permissions, the udev rule, groups, the TUN device, capabilities, kernel
modules, other programs, rfkill, memory for USB transfers, name servers, firewall marks and filters of the
kernel. Run it as the user who is to run `uwwan up`; what only root may see is told to be so.

The exit status is 0 when nothing stands in the way, and 1 otherwise.")]
pub struct Arguments {
    /// Print JSON: an array with an object for each finding
    #[arg(long)]
    json: bool,
}

/// Makes all checks, and prints the findings.
///
/// # Errors
/// [`FailureKind::Other`] when a finding is bad.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let findings = findings();
    if arguments.json {
        say_json(&findings)?;
    } else {
        for finding in &findings {
            for line in lines(finding) {
                say(line)?;
            }
        }
    }
    let bad = findings.iter().filter(|one| one.verdict == Verdict::Bad);
    match bad.count() {
        0 => Ok(()),
        count => Err(Failure::new(
            FailureKind::Other,
            format!("{count} of {} findings stand in the way", findings.len()),
        )),
    }
}

/// Makes all checks, and returns the findings.
pub(super) fn findings() -> Vec<Finding> {
    let mut findings = modems();
    let machine = Machine::here();
    findings.extend(machine.findings(prepared::may_configure()));
    findings
}

/// Returns the lines in which a finding is printed.
pub(super) fn lines(finding: &Finding) -> Vec<String> {
    let verdict = match finding.verdict {
        Verdict::Good => "good",
        Verdict::Note => "note",
        Verdict::Bad => "BAD",
    };
    let mut lines = vec![format!(
        "{verdict:<5} {:<14} {}",
        finding.check,
        plain(&finding.found)
    )];
    for next in &finding.next {
        lines.push(format!("{:20} next: {}", "", plain(next)));
    }
    lines
}

/// Checks the modems present, with the obstacles that `uwwan list` shows.
fn modems() -> Vec<Finding> {
    let all = match candidates::all(BackendKind::default().start().as_ref()) {
        Ok(all) => all,
        Err(failure) => return vec![of_failure(Kind::ModemUnreachable, &failure)],
    };
    let mut findings: Vec<Finding> = Vec::new();
    for modem in all.iter().filter(|modem| !modem.is_ethernet()) {
        let present = Finding::new("modem", Kind::ModemPresent, Verdict::Good, modem.name());
        findings.push(present);
        findings.extend(modem.obstacles().iter().map(of_obstacle));
    }
    if findings.is_empty() {
        findings.push(of_failure(Kind::ModemMissing, &candidates::none_present()));
    }
    findings
}

fn of_obstacle(failure: &Failure) -> Finding {
    let kind = match failure.kind {
        FailureKind::Permission => Kind::ModemForbidden,
        FailureKind::Busy => Kind::ModemBusy,
        FailureKind::Host => Kind::ModemUnreachable,
        _ => Kind::ModemUnsupported,
    };
    of_failure(kind, failure)
}

fn of_failure(kind: Kind, failure: &Failure) -> Finding {
    let verdict = if failure.fatal {
        Verdict::Bad
    } else {
        Verdict::Note
    };
    let mut found = failure.what.clone();
    if !failure.why.is_empty() {
        found.push_str(&format!(": {}", failure.why.join("; ")));
    }
    Finding {
        next: failure.next.clone(),
        ..Finding::new("modem", kind, verdict, found)
    }
}
