//! The bring-up ladder: a state machine without I/O.
//!
//! [`Input`]s come in with the time (results of USB steps, answers and indications of the control
//! session, results of session 0, timeouts); [`Action`]s go out. Each rung has its own timeout, its
//! own retries and its own texts for failures. A loss at any rung leads back to the earlier rung
//! that can cure it; the caller that drives the ladder decides when.
//!
//! ```text
//! found → configuration → claim → data function → open → capabilities → sim → pin → radio
//!   → registration → packet service → signal → (data sessions)
//! ```
//!
//! The [data sessions](crate::session) take over from there. A plain network device has no control
//! session, so with it they take over after the data function. Session 0 may lead back to a rung of
//! the ladder. While session 0 is online, the ladder watches what it needs: SIM, radio,
//! registration, packet service, and whether the control session answers.
//!
//! Commands are sent one at a time, except those the bring-up does not depend on. These are sent in
//! the background with a short timeout, and firmware that never answers them delays nothing.

pub(crate) mod ask;
mod changes;
mod climb;
mod lock;
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
use crate::fcc::Unlocking;
use crate::options::{FccUnlock, Options};
use crate::pin_memory::{PinDigest, PinMemory};
use crate::quirks::Quirk;
use crate::status::{DeviceIdentity, Network, Signal};

pub use ask::Ask;
/// Returns the indications the ladder needs, as the information buffer of the set command it sends
/// to the modem (MBIM 1.0 section 10.5.30).
pub(crate) fn subscription() -> Vec<u8> {
    ask::subscribe().info
}

/// Step on the USB side, to be done at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsbStep {
    /// Finds the device on the bus and opens it.
    Find,
    /// Switches the device to its MBIM configuration and claims the function's interfaces.
    Switch {
        /// Pause in configuration 0.
        settle: Duration,
        /// Whether configuration 0 is entered first even when the wanted one is active.
        always: bool,
    },
    /// Starts the data thread, which listens for notifications.
    Listen,
    /// Negotiates NTBs and switches the data endpoints on.
    DataFunction,
    /// Resets the USB port.
    ResetPort,
}

/// Action that the ladder wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Carries out a USB step; the result goes back as [`Input::Usb`].
    Usb(UsbStep),
    /// Opens the control session, repeating OPEN for as long as `patience`; the result goes back as
    /// [`Input::Opened`], [`Input::OpenRefused`] or [`Input::OpenMute`].
    OpenSession {
        /// Time to wait for an answer, over all repetitions.
        patience: Duration,
    },
    /// Sends a command; the outcome goes back as [`Input::Answer`].
    Command {
        /// Name of the command, which goes back with its outcome.
        ask: Ask,
        /// Command to send.
        command: Command,
        /// Time to wait for the answer.
        timeout: Duration,
    },
    /// Session 0 takes over from this rung, because the ladder is climbed. [`Input::Online`]
    /// reports that it is online; [`Input::Detour`], [`Input::Failed`] and [`Input::Lost`] report
    /// that it leads back.
    Climbed(Rung),
    /// Stores the memory of PINs where it outlives the process, before the next action is carried
    /// out.
    Remember(PinMemory),
    /// Passes an event to the observer.
    Tell(Event),
    /// A rung failed. The ladder waits for [`Ladder::start`] from `from` or lower.
    Failed {
        /// Failure of the rung.
        failure: Failure,
        /// Rung to start again from.
        from: Rung,
        /// Time since the rung was begun.
        after: Duration,
    },
    /// The modem or its network was lost while online. The ladder waits for [`Ladder::start`].
    Lost {
        /// Rung to start again from.
        from: Rung,
        /// Reason in words.
        why: String,
    },
}

/// Result of a USB step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsbDone {
    /// Description for the rung's event, in a few words.
    pub detail: String,
    /// Row of the quirk table for the device, after [`UsbStep::Find`].
    pub quirk: Option<&'static Quirk>,
    /// Whether the device carries Ethernet frames and has no control session, after
    /// [`UsbStep::DataFunction`].
    pub ethernet: bool,
}

/// Failure of a USB step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbFailed {
    /// Failure with its texts.
    pub failure: Failure,
}

/// Outcome of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The modem answered with COMMAND_DONE.
    Done {
        /// Status of the answer.
        status: Status,
        /// Information buffer; failures may have one, too.
        info: Vec<u8>,
    },
    /// The modem answered with a protocol error, or the command could not be sent, for this reason.
    Refused(String),
    /// There was no answer in time.
    NoAnswer,
}

/// Input of the ladder.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A USB step ended.
    Usb(Result<UsbDone, UsbFailed>),
    /// The control session is open.
    Opened,
    /// The modem answered OPEN with a status other than success.
    OpenRefused(Status),
    /// The modem did not answer OPEN; a modem that is dialled by AT commands answered on no AT
    /// port.
    OpenMute {
        /// Whether the modem is dialled by AT commands.
        dialled: bool,
    },
    /// A command ended.
    Answer(Ask, Outcome),
    /// An indication came.
    Indication {
        /// Service and CID.
        id: CidId,
        /// Information buffer, as MBIM encodes it (little-endian).
        info: Vec<u8>,
    },
    /// Session 0 is online.
    Online,
    /// Session 0 lacks something that a rung of the ladder provides. That rung is climbed again in
    /// the same bring-up.
    Detour {
        /// Rung to climb from.
        rung: Rung,
        /// Failure that ends the bring-up when it recurs too often.
        failure: Failure,
        /// Time since the rung of session 0 was begun.
        after: Duration,
    },
    /// A rung of session 0 failed.
    Failed {
        /// Failure of the rung.
        failure: Failure,
        /// Rung to start again from.
        from: Rung,
        /// Time since the rung was begun.
        after: Duration,
    },
    /// The modem, its network or session 0 is gone.
    Lost {
        /// Rung to start again from.
        from: Rung,
        /// Reason in words.
        why: String,
    },
}

/// Facts learnt in the bring-up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Identity that the device reported.
    pub identity: Option<DeviceIdentity>,
    /// Registration with a network.
    pub network: Option<Network>,
    /// Signal quality.
    pub signal: Option<Signal>,
}

/// State of the FCC lock, as far as this rung knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    /// The modem has not been asked yet.
    Unknown,
    /// There is no lock, as far as can be known.
    None,
    /// The modem does not report it, and `way` lifts the lock that modems of its kind may have.
    Possible { way: FccUnlock },
    /// The modem reports that it is locked; `way` lifts the lock.
    Locked { way: FccUnlock },
}

/// Ladder of one modem; see the [module](self).
#[derive(Debug)]
pub struct Ladder {
    options: Options,
    quirk: &'static Quirk,
    /// Name of the modem's place, which identifies the SIM when the SIM does not report its number.
    slot: String,
    pins: PinMemory,
    facts: Facts,
    /// Whether the device is a plain network device.
    ethernet: bool,
    actions: VecDeque<Action>,

    /// Rung being tried; the rungs below are reached.
    rung: Rung,
    /// Rung at which the climb ends.
    top: Rung,
    active: bool,
    /// Whether session 0 is online.
    online: bool,
    begun: Instant,
    entered: Instant,
    /// Command whose answer is waited for.
    expects: Option<Ask>,
    /// Time at which the query is repeated or the keepalive is sent.
    poll_at: Option<Instant>,
    /// Time at which the rung fails.
    deadline: Option<Instant>,
    tries: u32,

    open_stage: u32,
    sim_locked: bool,
    /// Number of times the SIM was reported missing on this rung.
    missing: u32,
    lock: Lock,
    /// Failure to report when the modem refuses to switch the radio on and is not locked.
    radio_refusal: Option<Failure>,
    /// Lifting of the FCC lock that is under way.
    unlocking: Option<Unlocking>,
    /// Whether lifting the lock was tried in this bring-up.
    unlock_tried: bool,
    sim_id: String,
    /// The PIN that was sent to the locked SIM, if one was.
    pin_sent: Option<PinDigest>,
    detours: u32,
    unanswered: u32,
}

/// Number of detours to an earlier rung within one bring-up before it counts as failed.
const MOST_DETOURS: u32 = 3;
/// Number of unanswered keepalives before the control session counts as dead.
const MOST_UNANSWERED: u32 = 3;
/// Time for which a rung waits for a condition that may pass by itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time for which the rung of the radio waits for the laptop's switch.
const SWITCH_PATIENCE: Duration = Duration::from_secs(90);
/// Time for which the ladder waits for a network.
const REGISTRATION_PATIENCE: Duration = Duration::from_secs(120);
/// Pause before the query of a rung that waits is repeated.
const PAUSE: Duration = Duration::from_secs(1);
/// The condition that a rung waits for after its command was refused as busy or not initialised.
const STARTING: &str = "the firmware, which is busy or still starting";

/// Returns whether the condition that a status reports may pass by itself.
pub(crate) fn passes(status: Status) -> bool {
    matches!(status, Status::BUSY | Status::NOT_INITIALIZED)
}

/// Pause between keepalives.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(30);

impl Ladder {
    /// Returns a ladder for one modem. `slot` names the modem's place, which distinguishes SIMs
    /// that do not report their numbers.
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
            missing: 0,
            lock: Lock::Unknown,
            radio_refusal: None,
            unlocking: None,
            unlock_tried: false,
            sim_id: String::new(),
            pin_sent: None,
            detours: 0,
            unanswered: 0,
        }
    }

    /// Takes over the memory of PINs of an earlier process.
    pub fn recall(&mut self, pins: PinMemory) {
        self.pins = pins;
    }

    /// Sets the rung at which the climb ends. A climb that ends below the last rung of the ladder
    /// serves a control session alone, without data sessions.
    pub fn up_to(&mut self, top: Rung) {
        self.top = top.min(Rung::Signal);
    }

    /// Returns whether the climb serves a control session alone.
    #[must_use]
    pub fn is_control_only(&self) -> bool {
        self.top < Rung::Signal
    }

    /// Begins to climb from a rung, which may be one of session 0. The rungs below must be reached.
    pub fn start(&mut self, now: Instant, from: Rung) {
        self.actions.clear();
        self.active = true;
        self.online = false;
        self.begun = now;
        self.detours = 0;
        self.unlock_tried = false;
        if from <= Rung::Configuration {
            self.open_stage = 0;
        }
        if from <= Rung::Open {
            self.facts = Facts::default();
        }
        self.enter(now, from);
    }

    /// Suspends the ladder: there are no actions, and inputs are ignored, until [`Ladder::start`].
    pub fn rest(&mut self) {
        self.active = false;
        self.online = false;
        self.actions.clear();
        self.unlocking = None;
        self.expects = None;
        self.poll_at = None;
        self.deadline = None;
    }

    /// Returns the next action.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Returns the time at which [`Ladder::timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.poll_at.into_iter().chain(self.deadline).min()
    }

    /// Returns the lowest rung of session 0 on this device.
    fn session_rung(&self) -> Rung {
        if self.ethernet {
            Rung::Host
        } else {
            Rung::Connect
        }
    }

    /// Returns whether the ladder has a rung with this device.
    fn has(&self, rung: Rung) -> bool {
        let last = if self.ethernet {
            Rung::DataFunction
        } else {
            Rung::Signal
        };
        rung <= last
    }

    /// Returns whether session 0 is online.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.online
    }

    /// Returns the time at which the bring-up was begun.
    #[must_use]
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Returns the facts learnt so far.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// Returns a duration in whole seconds.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}
