//! Rules: what the modem does when something happens, in place of its firmware or beside it.
//!
//! A rule has a [`Trigger`]: a request of the host (a line on an AT port, an MBIM command, a class
//! or vendor request), or an event (NTBs, a time, a state). A rule for a request has an [`Answer`],
//! which takes the place of the firmware's. Any rule may have [`Action`]s: a knob is turned, the
//! modem resets, something is indicated. Both come after a delay, and as often as the rule says. Of
//! several rules that fit a request, the first that may still be taken is, so that answers that
//! change are consecutive rules.
//!
//! A request that a rule answers with success is executed as well, without the firmware's own
//! answer, so that the modem's state follows. One that is refused or not answered is not executed.
//!
//! [`file`](mod@file) reads rules and knobs from TOML. The part that runs is sans-IO.

pub mod file;
mod running;

use std::time::Duration;

use uwwan_mbim::message::CommandKind;
use uwwan_mbim::status::Status;
use uwwan_mbim::uuid::Uuid;

pub(crate) use running::{ModemHistory, Running};

/// Largest number of rules of a modem.
pub const MOST_RULES: usize = 8192;

/// A rule with its trigger, its answer and its actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Event for which the rule waits.
    pub on: Trigger,
    /// Answer to the request that the rule waits for, if it is not the firmware's own.
    pub answer: Option<Answer>,
    /// Actions that the modem takes in addition.
    pub actions: Vec<Action>,
    /// Time from the trigger to the answer and the actions.
    pub after: Duration,
    /// Number of times that the rule is taken; `None` for no limit.
    pub times: Option<u64>,
}

/// Event for which a rule waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// A line on an AT port, with its `AT`; case does not matter.
    At(String),
    /// A command of the host on the MBIM control session.
    Mbim {
        /// Service of the command.
        service: Uuid,
        /// Number of the command in its service.
        cid: u32,
        /// Type of the command, query or set; `None` for either.
        kind: Option<CommandKind>,
        /// Content of the command's information buffer, without zeros at its end; `None` for any
        /// content.
        info: Option<Vec<u8>>,
    },
    /// A class or vendor request.
    Request {
        /// `bmRequestType`.
        kind: u8,
        /// `bRequest`.
        request: u8,
        /// `wValue`; `None` for any.
        value: Option<u16>,
        /// `wIndex`; `None` for any.
        index: Option<u16>,
    },
    /// This number of NTBs has come from the host since the modem was switched on. A rule that is
    /// taken several times is taken after each such number.
    NtbsOut(u64),
    /// This number of NTBs has gone to the host since the modem was switched on, counted as for
    /// those from the host.
    NtbsIn(u64),
    /// This time has passed since the modem was switched on. A rule that is taken several times is
    /// taken each time that it passes.
    Time(Duration),
    /// The modem has got into a state.
    State(State),
}

impl Trigger {
    /// Returns whether the trigger is a request of the host; otherwise it is an event.
    pub(crate) fn is_request(&self) -> bool {
        matches!(self, Self::At(_) | Self::Mbim { .. } | Self::Request { .. })
    }
}

/// A state of the modem that a rule can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A configuration with a network function is selected.
    Configured,
    /// The MBIM control session is open.
    Open,
    /// The modem is registered with a network.
    Registered,
    /// The modem is not registered any more.
    Unregistered,
    /// Packet service is attached.
    Attached,
    /// A data session is up.
    Connected,
    /// The last data session has gone down.
    Disconnected,
}

impl State {
    /// All states, each with its word in a file.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("configured", Self::Configured),
        ("open", Self::Open),
        ("registered", Self::Registered),
        ("unregistered", Self::Unregistered),
        ("attached", Self::Attached),
        ("connected", Self::Connected),
        ("disconnected", Self::Disconnected),
    ];
}

/// Answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Text that an AT port sends, with its line ends.
    At(String),
    /// COMMAND_DONE of an MBIM command.
    Mbim {
        /// Status of the command.
        status: Status,
        /// Information buffer.
        info: Vec<u8>,
    },
    /// Data of a class or vendor request towards the host.
    Bytes(Vec<u8>),
    /// A class or vendor request towards the device succeeds.
    Accept,
    /// A class or vendor request is refused with a STALL.
    Stall,
    /// The AT line or the MBIM command is never answered.
    Silence,
}

impl Answer {
    /// Returns whether the firmware executes the request as well.
    pub(crate) fn succeeds(&self) -> bool {
        match self {
            Self::At(text) => text.lines().any(|line| line.trim() == "OK"),
            Self::Mbim { status, .. } => status.is_success(),
            Self::Accept => true,
            Self::Bytes(_) | Self::Stall | Self::Silence => false,
        }
    }
}

/// Action that the modem takes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A knob is turned, from `name=value`.
    Turn(String),
    /// The firmware crashes: the device goes off the bus and comes back.
    Reset,
    /// The device is unplugged for good.
    Unplug,
    /// The device is unplugged, and plugged in again after the time of the knob `absent_ms`.
    Replug,
    /// An MBIM indication is sent, whether the host has subscribed to it or not.
    Indicate {
        /// Service of the indication.
        service: Uuid,
        /// Number of the command that it belongs to.
        cid: u32,
        /// Information buffer.
        info: Vec<u8>,
    },
    /// An unsolicited result code is sent on the AT port that carries them.
    Tell(String),
}
