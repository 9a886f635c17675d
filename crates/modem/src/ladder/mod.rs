//! The bring-up ladder: a state machine without I/O.
//!
//! [`Input`]s come in with the time (results of USB steps, answers and indications of the MBIM
//! session, results of the host's end, timeouts); [`Action`]s go out. Each rung has its own
//! timeout, its own retries and its own words for failure. Loss at any rung leads back to the
//! earlier rung that can cure it; the one who drives the ladder decides when.
//!
//! ```text
//! found → configuration → claim → data function → open → capabilities → sim → pin → radio
//!   → registration → packet service → signal → connect → ip configuration → host → online
//! ```
//!
//! A plain network device has no control session: after the data function comes the host.
//!
//! Commands are asked one at a time, except those the way up does not depend on: they are asked
//! in the background with a short timeout, and firmware that never answers them delays nothing.

pub(crate) mod ask;
mod changes;
mod climb;
pub(crate) mod connect;
mod pin;
mod rungs;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::ContextIpType;
use uwwan_mbim::session::Command;
use uwwan_mbim::status::Status;

use crate::addresses::{Given, Sizes};
use crate::event::Event;
use crate::failure::{Failure, Rung};
use crate::host::{Ethernet, HostConfig, HostError};
use crate::options::Options;
use crate::pin_memory::PinMemory;
use crate::quirks::Quirk;
use crate::status::{Addresses, DeviceIdentity, Interface, Network, Signal};

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
    /// Open the MBIM session, repeating OPEN for as long as `patience`; answer with
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
    /// Set the host's end up, or change it; answer with [`Input::Host`].
    Host(HostConfig),
    /// Move datagrams, or go on with new addresses; answer with [`Input::Data`].
    StartData(Addresses),
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
    /// With [`UsbStep::DataFunction`]: what bears on the MTU.
    pub sizes: Option<Sizes>,
    /// With [`UsbStep::DataFunction`]: it carries Ethernet frames, and there is no control session.
    pub ethernet: Option<Ethernet>,
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
    /// The MBIM session is open.
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
    /// The host's end is configured, or not.
    Host(Result<Interface, HostError>),
    /// Datagrams are being moved, or not, in words.
    Data(Result<String, String>),
    /// Nothing has come back for long: look whether the session is still active.
    Suspicion,
    /// What the ladder stands on is gone.
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
    /// Addresses in use.
    pub addresses: Option<Addresses>,
    /// The host's interface.
    pub interface: Option<Interface>,
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
    sizes: Sizes,
    /// The device is a plain network device.
    ethernet: Option<Ethernet>,
    actions: VecDeque<Action>,

    /// The rung being tried; reached rungs are those below.
    rung: Rung,
    /// The rung to stay on.
    top: Rung,
    active: bool,
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
    family: ContextIpType,
    families: VecDeque<ContextIpType>,
    refusal: Option<Failure>,
    given: Given,
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
            sizes: Sizes::default(),
            ethernet: None,
            actions: VecDeque::new(),
            rung: Rung::Found,
            top: Rung::Online,
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
            family: ContextIpType::DEFAULT,
            families: VecDeque::new(),
            refusal: None,
            given: Given::default(),
            detours: 0,
            unanswered: 0,
        }
    }

    /// Knows from now on what an earlier process remembered.
    pub fn recall(&mut self, pins: PinMemory) {
        self.pins = pins;
    }

    /// Climbs to this rung and no further, for a control session alone.
    pub fn up_to(&mut self, top: Rung) {
        self.top = top;
    }

    /// Whether the climb is for a control session alone.
    #[must_use]
    pub fn is_control_only(&self) -> bool {
        self.top < Rung::Connect
    }

    /// Begins to climb from a rung. What is below it must be standing.
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
            self.facts = Facts {
                interface: self.facts.interface.take(),
                addresses: self.facts.addresses.take(),
                ..Facts::default()
            };
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

    /// Whether a rung is one for this device.
    fn has(&self, rung: Rung) -> bool {
        self.ethernet.is_none() || !(Rung::Open..=Rung::IpConfiguration).contains(&rung)
    }

    /// The rung being tried, or [`Rung::Online`] when the top is reached.
    #[must_use]
    pub fn rung(&self) -> Rung {
        self.rung
    }

    /// Whether the top is reached.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.online
    }

    /// What was learnt.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The command that ends the data session.
    #[must_use]
    pub fn disconnect() -> Command {
        ask::deactivate(0)
    }
}

/// `3.2 s` and the like.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}
