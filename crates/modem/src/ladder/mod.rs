//! The bring-up ladder: a state machine without I/O.
//!
//! [`Input`]s come in with the time (results of USB steps, answers and indications of the MBIM
//! session, results of the host's end, timeouts); [`Action`]s go out. Each rung has its own
//! timeout, its own retries and its own words for failure. Loss at any rung leads back to the
//! earlier rung that can cure it; the one who drives the ladder decides when.
//!
//! ```text
//! found → configuration → claim → data function → open → capabilities → sim → pin → radio
//!   → registration → packet service → signal → (data sessions)
//! ```
//!
//! From there the [data sessions](crate::session) go on; a plain network device has no control
//! session, so there they go on after the data function. Session 0 may lead back to a rung of the
//! ladder. While it is online, the ladder watches what it stands on: SIM, radio, registration, packet
//! service, and whether the control session answers.
//!
//! Commands are asked one at a time, except those the way up does not depend on: they are asked
//! in the background with a short timeout, and firmware that never answers them delays nothing.

pub(crate) mod ask;
mod changes;
mod climb;
mod pin;
mod rungs;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use uwwan_mbim::registry::CidId;
use uwwan_mbim::session::Command;
use uwwan_mbim::status::Status;

use crate::event::Event;
use crate::failure::{Failure, Rung};
use crate::options::Options;
use crate::pin_memory::PinMemory;
use crate::quirks::Quirk;
use crate::status::{DeviceIdentity, Network, Signal};

pub use ask::Ask;
/// The indications the ladder needs, as the set it sends to the modem.
pub(crate) fn subscription() -> Vec<u8> {
    ask::subscribe().info
}

/// Something on the USB side to be done at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsbStep {
    /// Find the device on the bus and open it.
    Find,
    /// Bring it into the MBIM configuration and claim the function's interfaces.
    Switch {
        /// Pause in configuration 0.
        settle: Duration,
        /// Go through configuration 0 even when the wanted one is active.
        always: bool,
    },
    /// Listen for notifications.
    Listen,
    /// Negotiate transfer blocks and switch the data endpoints on.
    DataFunction,
    /// Reset the port.
    ResetPort,
}

/// What the ladder wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Do it and answer with [`Input::Usb`].
    Usb(UsbStep),
    /// Open the control session, repeating OPEN for as long as `patience`; answer with
    /// [`Input::Opened`], [`Input::OpenRefused`] or [`Input::OpenMute`].
    OpenSession {
        /// How long to wait for an answer in all.
        patience: Duration,
    },
    /// Send a command and answer with [`Input::Answer`].
    Command {
        /// What the answer belongs to.
        ask: Ask,
        /// The command.
        command: Command,
        /// How long to wait for the answer.
        timeout: Duration,
    },
    /// The ladder is climbed: session 0 goes on from this rung. [`Input::Online`] tells that it is
    /// online, [`Input::Detour`], [`Input::Failed`] and [`Input::Lost`] that it leads back.
    Climbed(Rung),
    /// Keep this where it outlives the process, before the next action is performed.
    Remember(PinMemory),
    /// Tell the program.
    Tell(Event),
    /// A rung failed. The ladder rests until [`Ladder::start`] from `from` or lower.
    Failed {
        /// What and why.
        failure: Failure,
        /// Where to start again.
        from: Rung,
        /// Time since the rung was begun.
        after: Duration,
    },
    /// The link was lost while online. The ladder rests until [`Ladder::start`].
    Lost {
        /// Where to start again.
        from: Rung,
        /// Why.
        why: String,
    },
}

/// What the USB side found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsbDone {
    /// In a few words, for the rung's line.
    pub detail: String,
    /// With [`UsbStep::Find`]: what is known of the device.
    pub quirk: Option<&'static Quirk>,
    /// With [`UsbStep::DataFunction`]: it carries Ethernet frames, and there is no control session.
    pub ethernet: bool,
}

/// How a USB step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbFailed {
    /// In words.
    pub failure: Failure,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With a COMMAND_DONE.
    Done {
        /// The status.
        status: Status,
        /// The information buffer; failures may have one, too.
        info: Vec<u8>,
    },
    /// With a protocol error, in words.
    Refused(String),
    /// Not in time.
    NoAnswer,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A USB step ended.
    Usb(Result<UsbDone, UsbFailed>),
    /// The control session is open.
    Opened,
    /// OPEN_DONE with a status other than success.
    OpenRefused(Status),
    /// Nobody answered OPEN.
    OpenMute,
    /// A command ended.
    Answer(Ask, Outcome),
    /// An indication came.
    Indication {
        /// Service and number.
        id: CidId,
        /// Information buffer.
        info: Vec<u8>,
    },
    /// Session 0 is online.
    Online,
    /// Session 0 lacks what a rung of the ladder gives: it is climbed again in the same bring-up.
    Detour {
        /// The rung to climb from.
        rung: Rung,
        /// What was missing; it ends the bring-up when it goes on missing.
        failure: Failure,
        /// Time since the rung of session 0 was begun.
        after: Duration,
    },
    /// A rung of session 0 failed.
    Failed {
        /// What and why.
        failure: Failure,
        /// Where to start again.
        from: Rung,
        /// Time since the rung was begun.
        after: Duration,
    },
    /// What the ladder or session 0 stands on is gone.
    Lost {
        /// Where to start again.
        from: Rung,
        /// Why.
        why: String,
    },
}

/// What was learnt on the way up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// What the device said it is.
    pub identity: Option<DeviceIdentity>,
    /// Registration.
    pub network: Option<Network>,
    /// Signal.
    pub signal: Option<Signal>,
}

/// The ladder of one modem. See the [module](self).
#[derive(Debug)]
pub struct Ladder {
    options: Options,
    quirk: &'static Quirk,
    /// Identifies the SIM slot when the SIM does not say who it is.
    slot: String,
    pins: PinMemory,
    facts: Facts,
    /// The device is a plain network device.
    ethernet: bool,
    actions: VecDeque<Action>,

    /// The rung being tried; reached rungs are those below.
    rung: Rung,
    /// The rung to stay on.
    top: Rung,
    active: bool,
    /// Session 0 is online.
    online: bool,
    begun: Instant,
    entered: Instant,
    /// The answer waited for.
    expects: Option<Ask>,
    /// Ask again then.
    poll_at: Option<Instant>,
    /// The rung fails then.
    deadline: Option<Instant>,
    tries: u32,

    open_stage: u32,
    sim_locked: bool,
    sim_id: String,
    pin_entered: bool,
    detours: u32,
    unanswered: u32,
}

/// Detours to an earlier rung within one bring-up before it counts as failed.
const MOST_DETOURS: u32 = 3;
/// Unanswered keepalives before the session counts as dead.
const MOST_UNANSWERED: u32 = 3;
/// Pause between keepalives.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(30);

impl Ladder {
    /// A ladder for one modem; `slot` names its port, for telling SIMs apart that do not say who
    /// they are.
    #[must_use]
    pub fn new(options: Options, slot: String, now: Instant) -> Self {
        Self {
            options,
            quirk: &crate::quirks::DEFAULT,
            slot,
            pins: PinMemory::default(),
            facts: Facts::default(),
            ethernet: false,
            actions: VecDeque::new(),
            rung: Rung::Found,
            top: Rung::Signal,
            active: false,
            online: false,
            begun: now,
            entered: now,
            expects: None,
            poll_at: None,
            deadline: None,
            tries: 0,
            open_stage: 0,
            sim_locked: false,
            sim_id: String::new(),
            pin_entered: false,
            detours: 0,
            unanswered: 0,
        }
    }

    /// Knows from now on what an earlier process remembered.
    pub fn recall(&mut self, pins: PinMemory) {
        self.pins = pins;
    }

    /// Climbs to this rung and no further; below the last one of the ladder there are no data
    /// sessions, for a control session alone.
    pub fn up_to(&mut self, top: Rung) {
        self.top = top.min(Rung::Signal);
    }

    /// Whether the climb is for a control session alone.
    #[must_use]
    pub fn is_control_only(&self) -> bool {
        self.top < Rung::Signal
    }

    /// Begins to climb from a rung, which may be one of session 0. What is below it must be standing.
    pub fn start(&mut self, now: Instant, from: Rung) {
        self.actions.clear();
        self.active = true;
        self.online = false;
        self.begun = now;
        self.detours = 0;
        if from <= Rung::Configuration {
            self.open_stage = 0;
        }
        if from <= Rung::Open {
            self.facts = Facts::default();
        }
        self.enter(now, from);
    }

    /// Rests: nothing is wanted and inputs are ignored until [`Ladder::start`].
    pub fn rest(&mut self) {
        self.active = false;
        self.online = false;
        self.actions.clear();
        self.expects = None;
        self.poll_at = None;
        self.deadline = None;
    }

    /// The next thing to do.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Ladder::timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.poll_at.into_iter().chain(self.deadline).min()
    }

    /// The lowest rung of session 0 on this device.
    fn session_rung(&self) -> Rung {
        if self.ethernet {
            Rung::Host
        } else {
            Rung::Connect
        }
    }

    /// Whether a rung is one of the ladder with this device.
    fn has(&self, rung: Rung) -> bool {
        let last = if self.ethernet {
            Rung::DataFunction
        } else {
            Rung::Signal
        };
        rung <= last
    }

    /// Whether session 0 is online.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.online
    }

    /// When the bring-up was begun.
    #[must_use]
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// What was learnt.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// `3.2 s` and the like.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}
