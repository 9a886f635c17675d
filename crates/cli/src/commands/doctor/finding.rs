//! The findings of a check of the machine.

use schemars::JsonSchema;
use serde::Serialize;

/// The weight of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The thing is as it should be.
    Good,
    /// The thing is worth knowing; `up` works all the same, at least with some options.
    Note,
    /// The thing keeps `up` from working.
    Bad,
}

/// The kind of a finding, as a program compares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A modem is present.
    ModemPresent,
    /// No modem is present.
    ModemMissing,
    /// The device has no function that `up` drives.
    ModemUnsupported,
    /// This user may not open the device.
    ModemForbidden,
    /// A device or its node cannot be examined.
    ModemUnreachable,
    /// Another program has the device open.
    ModemBusy,
    /// The udev rule is installed.
    RuleInstalled,
    /// The udev rule is missing.
    RuleMissing,
    /// This user is root, or a member of the groups that the packaged rule and service know.
    GroupsEnough,
    /// This user lacks a group, or the group is missing.
    GroupsLacking,
    /// The TUN device can be opened.
    TunReady,
    /// The TUN device is missing.
    TunMissing,
    /// This user may not open the TUN device.
    TunForbidden,
    /// This user may configure interfaces.
    InterfacesAllowed,
    /// This user may not configure interfaces.
    InterfacesForbidden,
    /// Kernel drivers that take modems are loaded.
    DriversLoaded,
    /// No kernel driver that takes modems is loaded.
    DriversAbsent,
    /// USB transfers may have memory enough.
    MemoryEnough,
    /// USB transfers may have too little memory.
    MemoryScarce,
    /// The kernel does not tell how much memory USB transfers may have.
    MemoryUnknown,
    /// systemd-resolved takes name servers.
    ResolvedRuns,
    /// resolvconf takes name servers.
    ResolvconfInstalled,
    /// Nothing takes name servers.
    ResolverMissing,
    /// A program that may use a modem as well runs.
    OtherProgram,
    /// The radio is not blocked.
    RadioFree,
    /// The radio is blocked by a program.
    RadioBlocked,
    /// The radio is blocked by its switch.
    RadioOff,
    /// Idle USB devices may be suspended.
    AutosuspendOn,
    /// The kernel drops packets whose way back leads through another interface.
    ReversePathStrict,
    /// The kernel has IPv6 switched off.
    Ipv6Off,
    /// Firewall marks decide before the routes of the main table.
    MarksDecide,
    /// The firewall marks that decide about routes cannot be read.
    MarksUnknown,
}

/// The finding of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// The thing that was checked, in a word or two.
    pub(super) check: &'static str,
    /// The kind of the finding.
    pub(super) kind: Kind,
    /// The weight of the finding.
    pub(super) verdict: Verdict,
    /// The state in which the thing was found.
    pub(super) found: String,
    /// Steps that the user can take.
    pub(super) next: Vec<String>,
}

impl Finding {
    /// Returns a finding without advice.
    pub(super) fn new(
        check: &'static str,
        kind: Kind,
        verdict: Verdict,
        found: impl Into<String>,
    ) -> Self {
        Self {
            check,
            kind,
            verdict,
            found: found.into(),
            next: Vec::new(),
        }
    }

    /// Returns the finding with advice.
    pub(super) fn next(mut self, advice: impl Into<String>) -> Self {
        self.next.push(advice.into());
        self
    }
}
