//! What happens to a modem, for the program to print.

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Rung};
use crate::status::Addresses;

/// What happens to a modem, in order. None of it carries personal data except
/// [`Event::Addresses`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A rung is being tried.
    RungStarted {
        /// Which.
        rung: Rung,
    },
    /// A rung is reached.
    RungDone {
        /// Which.
        rung: Rung,
        /// How long it took.
        seconds: f64,
        /// What was found, in a few words; may be empty.
        detail: String,
    },
    /// A rung was not reached.
    RungFailed {
        /// What and why.
        failure: Failure,
        /// How long it took.
        seconds: f64,
        /// When it will be tried again; `None` when it will not.
        retry_seconds: Option<f64>,
    },
    /// The active USB configuration, before and after the switch.
    Configuration {
        /// `bConfigurationValue` at the start, 0 when unconfigured.
        before: u8,
        /// `bConfigurationValue` now.
        after: u8,
    },
    /// The network has handed out addresses; with a plain network device, those the user chose.
    Addresses(Addresses),
    /// A data session beside session 0 is up, or is not.
    Session {
        /// Its number.
        session: u8,
        /// Whether its packets flow.
        online: bool,
        /// Its interface; empty when it is not up.
        interface: String,
        /// Its addresses, or why it is not up.
        text: String,
        /// When it is tried again, in seconds; `None` when it is up.
        retry_seconds: Option<f64>,
    },
    /// Packets flow.
    Online {
        /// Name of the host's interface, or what stands for it.
        interface: String,
        /// Time since the start of this bring-up.
        seconds: f64,
    },
    /// Something worth knowing that changes nothing.
    Notice {
        /// In words.
        text: String,
    },
    /// Something is wrong, and this is the likely reason.
    Diagnosis {
        /// In words.
        text: String,
    },
    /// The link was lost and will be brought up again.
    Lost {
        /// The rung to start from.
        rung: Rung,
        /// Why.
        why: String,
    },
    /// The end, after a stop or a failure.
    Stopped {
        /// The failure that ended it; `None` after a stop asked for.
        failure: Option<Failure>,
    },
}
