//! The one error of this crate and of the program. It says what failed, of what kind, where, why,
//! and what to do next.
//!
//! A program acts on [`Failure::kind`] and [`Failure::code`]. The texts are for people, and nothing
//! is decided by them. A failure crosses processes as JSON in one form (see [`Failure`]), and a
//! kind that this version does not know arrives as [`FailureKind::Other`].

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use uwwan_mbim::status::{NwError, ProtocolError, Status};

/// Step of the bring-up, in order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// The device is on the bus and open.
    Found,
    /// Kernel drivers are detached and the MBIM configuration is active.
    Configuration,
    /// The function's interfaces are claimed.
    Claim,
    /// NTBs are negotiated and the data endpoints are on.
    DataFunction,
    /// The control session is open.
    Open,
    /// The device has reported its capabilities.
    Capabilities,
    /// The SIM is there and ready, or waits for its PIN.
    Sim,
    /// The SIM is unlocked.
    Pin,
    /// The radio is on.
    Radio,
    /// The modem is registered with a network.
    Registration,
    /// The modem is attached to the packet service.
    PacketService,
    /// Signal reports are on.
    Signal,
    /// The data session is active.
    Connect,
    /// Addresses are known.
    IpConfiguration,
    /// The host interface is configured.
    Host,
    /// Packets flow.
    Online,
}

impl Rung {
    /// All rungs, in order.
    pub const ALL: [Self; 16] = [
        Self::Found,
        Self::Configuration,
        Self::Claim,
        Self::DataFunction,
        Self::Open,
        Self::Capabilities,
        Self::Sim,
        Self::Pin,
        Self::Radio,
        Self::Registration,
        Self::PacketService,
        Self::Signal,
        Self::Connect,
        Self::IpConfiguration,
        Self::Host,
        Self::Online,
    ];

    /// Returns the name of the rung, as printed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Configuration => "configuration",
            Self::Claim => "claim",
            Self::DataFunction => "data function",
            Self::Open => "open",
            Self::Capabilities => "capabilities",
            Self::Sim => "sim",
            Self::Pin => "pin",
            Self::Radio => "radio",
            Self::Registration => "registration",
            Self::PacketService => "packet service",
            Self::Signal => "signal",
            Self::Connect => "connect",
            Self::IpConfiguration => "ip configuration",
            Self::Host => "host",
            Self::Online => "online",
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Next step of a failure that is tried again without the user. It is given only where the rung is
/// tried again.
pub(crate) const TRIED_AGAIN: &str = "nothing: it is tried again";

/// Kind of a failure, by which a program chooses its exit status or another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The command line, a configuration file or a file it names is wrong.
    Usage,
    /// There is no such modem.
    Missing,
    /// No `uwwan up` answers.
    NotRunning,
    /// The modem, or the running `uwwan up`, was there and went away.
    Gone,
    /// More than one modem fits.
    Several,
    /// This user lacks the permission.
    Permission,
    /// A program or a kernel driver holds the device.
    Busy,
    /// The modem, the SIM or the network refused, or did not answer during the bring-up.
    Refused,
    /// The running `uwwan up` has no open control session with the modem.
    NotOpen,
    /// A command was not answered in time and has been withdrawn.
    Timeout,
    /// An answer cannot be decoded.
    Unreadable,
    /// The data session is up and carries no traffic.
    NoTraffic,
    /// The host, its USB stack or this program failed.
    Host,
    /// Ctrl-C or SIGTERM came, or the caller withdrew the command.
    Cancelled,
    /// The reader of standard output closed it.
    Closed,
    /// Any other failure, and any kind that this version does not know.
    #[serde(other)]
    Other,
}

impl FailureKind {
    /// Returns the kind of a failure on this rung unless more is known. The rungs up to the data
    /// function and the rung of the host interface fail because of the host, those between because
    /// of the modem.
    #[must_use]
    pub const fn usual(rung: Rung) -> Self {
        match rung {
            Rung::Found => Self::Missing,
            Rung::Configuration | Rung::Claim | Rung::DataFunction | Rung::Host | Rung::Online => {
                Self::Host
            }
            _ => Self::Refused,
        }
    }
}

/// Place of a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Place {
    /// The place is not known.
    #[default]
    Unknown,
    /// Step of the bring-up.
    Rung(Rung),
    /// Name of a device, an interface, a socket, a file or an option, as a user knows it.
    Named(String),
}

impl From<Rung> for Place {
    fn from(rung: Rung) -> Self {
        Self::Rung(rung)
    }
}

impl From<String> for Place {
    fn from(name: String) -> Self {
        if name.is_empty() {
            Self::Unknown
        } else {
            Self::Named(name)
        }
    }
}

impl From<&str> for Place {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

impl From<&String> for Place {
    fn from(name: &String) -> Self {
        name.clone().into()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => Ok(()),
            Self::Rung(rung) => write!(f, "rung \"{rung}\" of the bring-up"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// Code of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Status in the modem's answer to a command (MBIM 1.0, 9.4.5).
    Status(Status),
    /// Network's cause beside a status of the modem (3GPP TS 24.008 and 24.301).
    Network(NwError),
    /// Protocol error in the answer of the modem, or of a running `uwwan up` on its behalf (MBIM
    /// 1.0, 9.3.4.2).
    Protocol(ProtocolError),
}

/// A failure: what failed, of what kind, where, why, and what to do next.
///
/// [`fmt::Display`] writes all of it with labels, one part in each line; [`Failure::one_line`]
/// writes headline and reasons on one line. Both replace control characters, so that text from a
/// device cannot steer a terminal.
///
/// The fields in JSON are `kind`, `what`, `place`, `why`, `next` and `fatal`; `rung` when the place
/// is one; and one of the numbers `status`, `network_cause` and `protocol_error` when there is a
/// code. Several reasons or steps stand on lines of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Form", from = "Form")]
pub struct Failure {
    /// Kind, for a program to act on.
    pub kind: FailureKind,
    /// Code of a refusal, for a program to act on.
    pub code: Option<Code>,
    /// The operation that failed: "cannot read the PIN file". On a rung it is the attempt and how
    /// it ended.
    pub what: String,
    /// Place of the failure.
    pub place: Place,
    /// Reasons, in the words of the part that refused, or likely ones; the nearest comes first.
    pub why: Vec<String>,
    /// Steps that the user can take.
    pub next: Vec<String>,
    /// Whether repeating the same will not help.
    pub fatal: bool,
}

impl Failure {
    /// Returns a fatal failure that says what could not be done: "cannot read the PIN file".
    #[must_use]
    pub fn new(kind: FailureKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            code: None,
            what: what.into(),
            place: Place::Unknown,
            why: Vec::new(),
            next: Vec::new(),
            fatal: true,
        }
    }

    /// Returns the failure with another kind, where that is not the usual one of its rung.
    #[must_use]
    pub fn of(mut self, kind: FailureKind) -> Self {
        self.kind = kind;
        self
    }

    /// Returns the failure with the code of the refusal.
    #[must_use]
    pub fn with(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// Returns the failure with its place; an empty name is none.
    #[must_use]
    pub fn at(mut self, place: impl Into<Place>) -> Self {
        self.place = place.into();
        self
    }

    /// Returns the failure with a further reason; an empty one is left out.
    #[must_use]
    pub fn because(mut self, why: impl fmt::Display) -> Self {
        let why = why.to_string();
        if !why.is_empty() {
            self.why.push(why);
        }
        self
    }

    /// Returns the failure with a further step that the user can take; an empty one is left out.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        let step = step.into();
        if !step.is_empty() {
            self.next.push(step);
        }
        self
    }

    /// Returns the failure with this step unless it has one.
    #[must_use]
    pub(crate) fn or_next(self, step: &str) -> Self {
        if self.next.is_empty() {
            self.next(step)
        } else {
            self
        }
    }

    /// Returns the rung that failed, if the place is one.
    #[must_use]
    pub fn rung(&self) -> Option<Rung> {
        match self.place {
            Place::Rung(rung) => Some(rung),
            _ => None,
        }
    }

    /// Returns the status of the modem's answer, if it is the code of the failure.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self.code {
            Some(Code::Status(status)) => Some(status),
            _ => None,
        }
    }

    /// Returns the operation that failed, with the rung in front if there is one.
    #[must_use]
    pub fn headline(&self) -> String {
        match self.rung() {
            Some(rung) => format!("{rung}: {}", self.what),
            None => self.what.clone(),
        }
    }

    /// Returns the operation that failed and the reasons on one line, for a log, a JSON field or a
    /// service manager's status.
    #[must_use]
    pub fn one_line(&self) -> String {
        let mut line = self.what.clone();
        for why in &self.why {
            line.push_str(": ");
            line.push_str(why);
        }
        plain(&line)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(&self.what))?;
        if self.place != Place::Unknown {
            write_field(f, "where", &self.place.to_string())?;
        }
        for why in &self.why {
            write_field(f, "why", why)?;
        }
        for step in &self.next {
            write_field(f, "next", step)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Writes one labelled field; further lines of its text are indented under the first.
fn write_field(f: &mut fmt::Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    write!(f, "\n  {:<7}{}", format!("{label}:"), plain(first))?;
    for line in lines {
        write!(f, "\n         {}", plain(line))?;
    }
    Ok(())
}

/// Returns text from outside (device strings, network names, file names) with control characters
/// replaced, so that it cannot steer a terminal or break a line.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A failure as JSON. Unknown fields are ignored, and a missing or unknown value becomes the
/// nearest known one.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Failure")]
struct Form {
    /// Kind, for a program to act on.
    kind: FailureKind,
    /// Operation that failed.
    what: String,
    /// Device, interface, rung, file or option; empty when it is not known.
    place: String,
    /// Rung of the bring-up, when that is the place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Rung>")]
    rung: Option<serde_json::Value>,
    /// Reasons, a line each.
    why: String,
    /// Copy of `why` under its name up to version 0.1, written for readers of that version.
    #[schemars(extend("deprecated" = true))]
    cause: String,
    /// Steps that the user can take, a line each.
    next: String,
    /// Whether repeating the same will not help.
    fatal: bool,
    /// Status of the modem's answer (MBIM 1.0, 9.4.5).
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u32>,
    /// Network's cause (3GPP TS 24.008 and 24.301).
    #[serde(skip_serializing_if = "Option::is_none")]
    network_cause: Option<u32>,
    /// Protocol error (MBIM 1.0, 9.3.4.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol_error: Option<u32>,
}

impl JsonSchema for Failure {
    fn schema_name() -> Cow<'static, str> {
        Form::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        Form::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Form::json_schema(generator)
    }
}

impl Default for Form {
    fn default() -> Self {
        Failure::new(FailureKind::Other, "").into()
    }
}

impl From<Failure> for Form {
    fn from(failure: Failure) -> Self {
        let why = failure.why.join("\n");
        let mut form = Self {
            kind: failure.kind,
            place: failure.place.to_string(),
            rung: failure
                .rung()
                .and_then(|rung| serde_json::to_value(rung).ok()),
            what: failure.what,
            cause: why.clone(),
            why,
            next: failure.next.join("\n"),
            fatal: failure.fatal,
            status: None,
            network_cause: None,
            protocol_error: None,
        };
        match failure.code {
            Some(Code::Status(code)) => form.status = Some(code.0),
            Some(Code::Network(code)) => form.network_cause = Some(code.0),
            Some(Code::Protocol(code)) => form.protocol_error = Some(code.0),
            None => {}
        }
        form
    }
}

impl From<Form> for Failure {
    fn from(form: Form) -> Self {
        let rung = form.rung.and_then(|rung| serde_json::from_value(rung).ok());
        let lines = |text: &str| text.lines().map(str::to_owned).collect();
        let status = form.status.map(|code| Code::Status(Status(code)));
        let network = form.network_cause.map(|code| Code::Network(NwError(code)));
        let protocol = form
            .protocol_error
            .map(|code| Code::Protocol(ProtocolError(code)));
        Self {
            kind: form.kind,
            code: status.or(network).or(protocol),
            what: form.what,
            place: rung.map_or_else(|| form.place.into(), Place::Rung),
            why: lines(if form.why.is_empty() {
                &form.cause
            } else {
                &form.why
            }),
            next: lines(&form.next),
            fatal: form.fatal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_parts_are_told_in_order() {
        let failure = Failure::new(FailureKind::Usage, "cannot read the PIN file")
            .at("/run/pin (--pin-file)")
            .because("No such file or directory (os error 2)")
            .next("write the PIN alone into that file\nand keep it readable for you only");
        assert_eq!(
            failure.to_string(),
            "cannot read the PIN file\n\
             \x20 where: /run/pin (--pin-file)\n\
             \x20 why:   No such file or directory (os error 2)\n\
             \x20 next:  write the PIN alone into that file\n\
             \x20        and keep it readable for you only"
        );
        assert_eq!(
            failure.one_line(),
            "cannot read the PIN file: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn terminal_sequences_from_a_device_are_defused() {
        let failure =
            Failure::new(FailureKind::Host, "bad name \u{1b}[2J\u{7}").because("\r\u{9b}1m");
        let text = failure.to_string();
        assert!(
            text.chars().all(|c| c == '\n' || !c.is_control()),
            "{text:?}"
        );
        assert_eq!(plain("a\u{1b}[31mb\nc"), "a\u{fffd}[31mb\u{fffd}c");
        assert_eq!(plain("Café 一"), "Café 一");
    }

    #[test]
    fn a_failure_crosses_processes() {
        for kind in [
            FailureKind::Refused,
            FailureKind::NotRunning,
            FailureKind::Other,
        ] {
            for failure in [
                Failure::new(kind, "what").at("/run/uwwan/1-4/mbim"),
                Failure::new(kind, "what")
                    .at(Rung::DataFunction)
                    .because("one")
                    .because("two")
                    .next("do that")
                    .with(Code::Network(
                        NwError::REQUESTED_SERVICE_OPTION_NOT_SUBSCRIBED,
                    )),
                Failure::new(kind, "").with(Code::Protocol(ProtocolError::CANCEL)),
            ] {
                let text = serde_json::to_string(&failure).unwrap();
                assert_eq!(serde_json::from_str::<Failure>(&text).unwrap(), failure);
            }
        }
    }

    #[test]
    fn the_names_of_the_version_before_are_written_and_read() {
        let old = r#"{"rung":"connect","kind":"refused","what":"CONNECT","cause":"no","next":"ask","fatal":true}"#;
        let failure = Failure::new(FailureKind::Refused, "CONNECT")
            .at(Rung::Connect)
            .because("no")
            .next("ask");
        assert_eq!(serde_json::from_str::<Failure>(old).unwrap(), failure);
        let new = serde_json::to_value(&failure).unwrap();
        let old: serde_json::Value = serde_json::from_str(old).unwrap();
        for (name, value) in old.as_object().unwrap() {
            assert_eq!(&new[name], value, "{name}");
        }
        assert_eq!(new["why"], "no");
        assert_eq!(new["place"], "rung \"connect\" of the bring-up");
    }

    #[test]
    fn what_a_newer_version_says_is_understood_as_far_as_it_goes() {
        let newer = r#"{"kind":"eclipsed","rung":"orbit","place":"space","what":"x","when":[1],"status":35}"#;
        let failure: Failure = serde_json::from_str(newer).unwrap();
        assert_eq!(failure.kind, FailureKind::Other);
        assert_eq!(failure.place, Place::Named("space".into()));
        assert_eq!(failure.status(), Some(Status(35)));
        let empty: Failure = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, Failure::new(FailureKind::Other, ""));
    }
}
