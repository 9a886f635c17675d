//! Events of a modem, for the program to print.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diagnosis::Diagnosis;
use crate::failure::{Failure, Rung};
use crate::heal::HealEvent;
use crate::status::Addresses;

/// Event of a modem. No event carries personal data except the addresses of [`Event::Session`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A rung is being tried.
    RungStarted {
        /// Rung that is tried.
        rung: Rung,
    },
    /// A rung is reached.
    RungDone {
        /// Rung that is reached.
        rung: Rung,
        /// Duration of the rung in seconds.
        seconds: f64,
        /// Result of the rung in a few words; it may be empty.
        detail: String,
    },
    /// A rung was not reached.
    RungFailed {
        /// Failure of the rung.
        failure: Failure,
        /// Time since the rung was begun, in seconds.
        seconds: f64,
        /// Time until it is tried again, in seconds; `None` when it is not.
        retry_seconds: Option<f64>,
    },
    /// A rung waits for something: an answer of the modem, or the end of a condition that may pass
    /// by itself. The event comes when the wait begins, however short it is, and again and again
    /// while the condition lasts.
    Waiting {
        /// Rung that waits.
        rung: Rung,
        /// Object of the wait, in a few words.
        text: String,
        /// Time since the rung was begun, in seconds.
        seconds: f64,
        /// Time at which the rung gives up, in seconds since it was begun.
        limit_seconds: f64,
    },
    /// The USB configuration was switched, or found to be the right one.
    Configuration {
        /// `bConfigurationValue` at the start, 0 when unconfigured.
        before: u8,
        /// `bConfigurationValue` after the switch.
        after: u8,
    },
    /// The kernel's drivers have the modem again, as they had it before the start.
    GivenBack {
        /// `bConfigurationValue` of the active configuration.
        configuration: u8,
        /// Drivers that are bound to its interfaces.
        drivers: Vec<BoundDriver>,
    },
    /// A remark that changes nothing.
    Notice {
        /// Text of the remark.
        text: String,
    },
    /// Something is wrong, and the text tells the likely reason.
    Diagnosis(Diagnosis),
    /// The layout of NTBs is being healed, or a layout of an earlier run is used.
    Heal(HealEvent),
    /// The modem, its network or session 0 was lost and will be brought up again.
    Lost {
        /// Rung from which the bring-up starts again.
        rung: Rung,
        /// Reason in words.
        why: String,
    },
    /// The modem has ended, after a stop or a failure.
    Stopped {
        /// Failure that ended it; `None` after a stop.
        failure: Option<Failure>,
    },
    /// A data session has changed.
    #[serde(untagged)]
    Session(SessionEvent),
}

/// A kernel driver that is bound to an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BoundDriver {
    /// `bInterfaceNumber`.
    pub interface: u8,
    /// Name of the driver.
    pub driver: String,
}

impl Event {
    /// Returns whether the modem is online with this event, which means that session 0 is.
    #[must_use]
    pub fn is_online(&self) -> bool {
        matches!(
            self,
            Self::Session(SessionEvent {
                session: 0,
                change: SessionChange::Online { .. },
            })
        )
    }
}

/// Change of a data session.
///
/// As JSON, addresses are `"event": "addresses"` with their fields, and session 0 is
/// `"event": "online"`; another session is `"event": "session"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "Form", from = "Form")]
pub struct SessionEvent {
    /// MBIM session id.
    pub session: u8,
    /// Change of the session.
    pub change: SessionChange,
}

/// Kinds of change of a data session.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionChange {
    /// The network has handed out addresses; with a plain network device they are those the user
    /// chose. This is reported for session 0; the addresses of another session come with
    /// [`SessionChange::Online`].
    Addresses(Addresses),
    /// Packets flow.
    Online {
        /// Name of the host interface, or a description where it has none.
        interface: String,
        /// Addresses in a few words.
        text: String,
        /// Time since the start of the bring-up, in seconds.
        seconds: f64,
    },
    /// No packets flow. This is reported for the sessions beside session 0; for session 0 it is
    /// [`Event::RungFailed`] or [`Event::Lost`].
    Offline {
        /// Reason in words.
        why: String,
        /// Time until it is tried again, in seconds; `None` when that depends on session 0.
        retry_seconds: Option<f64>,
    },
}

/// A [`SessionEvent`] as JSON.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[schemars(rename = "SessionChange")]
enum Form {
    Addresses(Addresses),
    Online {
        interface: String,
        seconds: f64,
    },
    Session {
        session: u8,
        online: bool,
        interface: String,
        text: String,
        retry_seconds: Option<f64>,
    },
}

impl From<SessionEvent> for Form {
    fn from(SessionEvent { session, change }: SessionEvent) -> Self {
        match change {
            SessionChange::Addresses(addresses) => Self::Addresses(addresses),
            SessionChange::Online {
                interface, seconds, ..
            } if session == 0 => Self::Online { interface, seconds },
            SessionChange::Online {
                interface, text, ..
            } => Self::Session {
                session,
                online: true,
                interface,
                text,
                retry_seconds: None,
            },
            SessionChange::Offline { why, retry_seconds } => Self::Session {
                session,
                online: false,
                interface: String::new(),
                text: why,
                retry_seconds,
            },
        }
    }
}

impl From<Form> for SessionEvent {
    fn from(form: Form) -> Self {
        let (session, change) = match form {
            Form::Addresses(addresses) => (0, SessionChange::Addresses(addresses)),
            Form::Online { interface, seconds } => (
                0,
                SessionChange::Online {
                    interface,
                    text: String::new(),
                    seconds,
                },
            ),
            Form::Session {
                session,
                online: true,
                interface,
                text,
                ..
            } => (
                session,
                SessionChange::Online {
                    interface,
                    text,
                    seconds: 0.0,
                },
            ),
            Form::Session {
                session,
                text,
                retry_seconds,
                ..
            } => (
                session,
                SessionChange::Offline {
                    why: text,
                    retry_seconds,
                },
            ),
        };
        Self { session, change }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_events_as_json() {
        let json = |session, change| {
            let event = Event::Session(SessionEvent { session, change });
            let text = serde_json::to_string(&event).unwrap();
            let back: Event = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&back).unwrap(), text);
            text
        };
        let online = || SessionChange::Online {
            interface: "wwan0".into(),
            text: "192.0.2.7/32, MTU 1500".into(),
            seconds: 1.5,
        };
        assert_eq!(
            json(0, online()),
            r#"{"event":"online","interface":"wwan0","seconds":1.5}"#
        );
        assert_eq!(
            json(3, online()),
            r#"{"event":"session","session":3,"online":true,"interface":"wwan0","text":"192.0.2.7/32, MTU 1500","retry_seconds":null}"#
        );
        let offline = SessionChange::Offline {
            why: "refused".into(),
            retry_seconds: Some(5.0),
        };
        assert_eq!(
            json(3, offline),
            r#"{"event":"session","session":3,"online":false,"interface":"","text":"refused","retry_seconds":5.0}"#
        );
        let addresses = json(0, SessionChange::Addresses(Addresses::default()));
        assert!(
            addresses.starts_with(r#"{"event":"addresses","ipv4":null,"#),
            "{addresses}"
        );
        let notice = r#"{"event":"notice","text":"x"}"#;
        let event: Event = serde_json::from_str(notice).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), notice);
    }
}
