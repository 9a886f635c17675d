//! The firmware's state: SIM, radio, registration and data sessions. It is sans-IO, and MBIM and AT
//! are two views of it.
//!
//! Registration follows from the SIM, the radio and time. Changes are noted in
//! [`Firmware::take_changes`], from which the functions make their indications.

mod activation;
pub mod card;
mod sessions;
mod ussd;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use uwwan_mbim::gsm::{Message, MessageKind};
use uwwan_mbim::services::sms::SmsStatus;
use uwwan_mbim::status::Status;

use crate::knobs::{Knobs, Registration, SimState};
use crate::plmn::{GENERIC_V4V6, Profiles};

use card::{Card, OWN_NUMBER};
use sessions::Dialled;
pub use sessions::{CallChange, Refused, Session};

/// PLMN of the SIM's operator, Telenor Norway.
pub const HOME_PLMN: &str = "24201";
/// Name of the SIM's operator.
pub const HOME_NAME: &str = "Telenor";
/// PLMN of the operator that the module finds abroad.
pub const ROAMING_PLMN: &str = "24001";
/// Name of the operator that the module finds abroad.
pub const ROAMING_NAME: &str = "Telia";
/// IMSI of the SIM's subscriber.
pub const IMSI: &str = "242010000000001";
/// ICCID of the SIM.
pub const ICCID: &str = "89470000000000000014";
/// IMEI of the module: the test TAC 00100000, and a valid check digit.
pub const IMEI: &str = "001000000000016";
/// Hardware version that an ME906s-158 reports.
pub const HARDWARE: &str = "ML1ME906SM";

/// Largest number of changes kept; then the oldest is forgotten.
const MAX_CHANGES: usize = 256;

/// State that survives a reset of the firmware.
#[derive(Debug, Clone)]
pub struct Persistent {
    /// The list of PLMN profiles.
    pub profiles: Profiles,
    /// PIN1; empty when the SIM never had a PIN set.
    pub pin: String,
    /// Whether the SIM asks for PIN1.
    pub pin_enabled: bool,
    /// PIN1 attempts remaining.
    pub pin_attempts: u8,
    /// PUK1 of the SIM.
    pub puk: String,
    /// PUK1 attempts remaining.
    pub puk_attempts: u8,
    /// Content of the card and of the module's storage.
    pub card: Card,
    /// Whether the firmware has crashed at an activation.
    pub crashed: bool,
}

impl Persistent {
    /// Returns the state of a module as it is delivered.
    #[must_use]
    pub fn new(knobs: &Knobs) -> Self {
        let mut profiles = Profiles::default();
        if knobs.ipv6 {
            profiles.add(GENERIC_V4V6, HOME_PLMN);
        }
        Self {
            profiles,
            pin: knobs.pin.clone(),
            pin_enabled: !knobs.pin.is_empty(),
            pin_attempts: knobs.pin_attempts.min(3),
            puk: knobs.puk.clone(),
            puk_attempts: knobs.puk_attempts.min(10),
            card: Card::new(knobs.card_used),
            crashed: false,
        }
    }
}

/// A change that MBIM or AT may have to report to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The state of the SIM changed.
    Ready,
    /// The radio was switched.
    Radio,
    /// The registration changed.
    Register,
    /// Packet service was attached or detached.
    Packet,
    /// The data session with that id was activated or deactivated.
    Connect(u32),
    /// The data session with that id has other addresses or another MTU.
    Addresses(u32),
    /// A short message arrived and is in that place.
    Message(u32),
    /// The call of `^NDISDUP` came up, ended or failed.
    Call(CallChange),
}

/// Code that the SIM asks for before the module can use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// The SIM asks for none, or it has been entered.
    Open,
    /// The SIM waits for PIN1.
    Pin,
    /// The SIM waits for PUK1 and a new PIN1.
    Puk,
    /// No PUK1 attempt remains, so the card is unusable.
    Dead,
}

/// Registration with the network, as the module sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// The radio is off, or the SIM cannot be used.
    Off,
    /// The network has not answered yet.
    Searching,
    /// Registered with the home network.
    Home,
    /// Registered with a network abroad.
    Roaming,
    /// Registered with a network of a partner.
    Partner,
    /// The network has refused.
    Denied,
}

impl Registered {
    /// Returns whether the module is registered with any network.
    #[must_use]
    pub fn is_on(self) -> bool {
        matches!(self, Self::Home | Self::Roaming | Self::Partner)
    }
}

/// State of the firmware.
#[derive(Debug)]
pub struct Firmware {
    /// State that survives a reset of the firmware.
    pub persistent: Persistent,
    booted: Instant,
    ipv6_capable: bool,
    sim: SimState,
    /// Time at which the SIM appears, while it is still missing.
    sim_at: Option<Instant>,
    fcc_locked: bool,
    /// Whether the slot looks empty while the FCC lock is on.
    fcc_hides_sim: bool,
    /// Whether the firmware has crashed and the crash was not reported yet.
    crashing: bool,
    pin_entered: bool,
    radio_on: bool,
    hardware_radio_on: bool,
    registered: Registered,
    registers_at: Option<Instant>,
    automatic: bool,
    attached: bool,
    stay_detached: bool,
    sessions: BTreeMap<u32, Session>,
    sessions_version: u64,
    activated_once: bool,
    dialled: Dialled,
    /// Whether the network has asked in a USSD dialogue and waits for the answer.
    ussd_asked: bool,
    /// Reference of the short message sent last.
    sent: u8,
    changes: VecDeque<Change>,
}

impl Firmware {
    /// Starts the firmware.
    #[must_use]
    pub fn boot(persistent: Persistent, knobs: &Knobs, now: Instant) -> Self {
        let ipv6_capable = persistent.profiles.of(HOME_PLMN) == GENERIC_V4V6;
        let sim_at = (knobs.sim_ms != 0).then(|| now + Duration::from_millis(knobs.sim_ms));
        let mut firmware = Self {
            persistent,
            booted: now,
            ipv6_capable,
            sim: if sim_at.is_some() {
                SimState::Absent
            } else {
                knobs.sim
            },
            sim_at,
            fcc_locked: knobs.fcc_lock,
            fcc_hides_sim: knobs.fcc_hides_sim,
            crashing: false,
            pin_entered: false,
            radio_on: knobs.radio_on && !knobs.fcc_lock,
            hardware_radio_on: knobs.hardware_radio_on,
            registered: Registered::Off,
            registers_at: None,
            automatic: true,
            attached: false,
            stay_detached: knobs.packet_detached,
            sessions: BTreeMap::new(),
            sessions_version: 0,
            activated_once: false,
            dialled: Dialled::default(),
            ussd_asked: false,
            sent: 0,
            changes: VecDeque::new(),
        };
        firmware.advance(knobs, now);
        firmware
    }

    /// Returns the time at which the firmware was started.
    #[must_use]
    pub fn booted(&self) -> Instant {
        self.booted
    }

    /// Returns the state of the SIM slot.
    #[must_use]
    pub fn sim(&self) -> SimState {
        if self.fcc_locked && self.fcc_hides_sim {
            SimState::Absent
        } else {
            self.sim
        }
    }

    /// Returns whether the firmware has crashed since the last call.
    pub fn take_crash(&mut self) -> bool {
        std::mem::take(&mut self.crashing)
    }

    /// Returns the code that the SIM asks for, if any.
    #[must_use]
    pub fn lock(&self) -> Lock {
        let persistent = &self.persistent;
        if persistent.puk_attempts == 0 {
            Lock::Dead
        } else if persistent.pin_attempts == 0 {
            Lock::Puk
        } else if persistent.pin_enabled && !self.pin_entered {
            Lock::Pin
        } else {
            Lock::Open
        }
    }

    /// Returns whether the SIM can be used.
    #[must_use]
    pub fn sim_ready(&self) -> bool {
        self.sim() == SimState::Ready && self.lock() == Lock::Open
    }

    /// Returns whether the software switch and the hardware switch have the radio on.
    #[must_use]
    pub fn radio(&self) -> (bool, bool) {
        (self.radio_on, self.hardware_radio_on)
    }

    /// Returns the state of the registration.
    #[must_use]
    pub fn registered(&self) -> Registered {
        self.registered
    }

    /// Returns whether the choice of the operator is left to the module.
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        self.automatic
    }

    /// Returns the PLMN and the name of the operator with which the module is registered.
    #[must_use]
    pub fn operator(&self) -> Option<(&'static str, &'static str)> {
        match self.registered {
            Registered::Home => Some((HOME_PLMN, HOME_NAME)),
            Registered::Roaming | Registered::Partner => Some((ROAMING_PLMN, ROAMING_NAME)),
            _ => None,
        }
    }

    /// Returns whether packet service is attached.
    #[must_use]
    pub fn attached(&self) -> bool {
        self.attached
    }

    /// Returns whether the PLMN profile of the SIM's operator allows IPv6.
    #[must_use]
    pub fn ipv6_capable(&self) -> bool {
        self.ipv6_capable
    }

    /// Returns the changes since the last call, oldest first.
    pub fn take_changes(&mut self) -> VecDeque<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Forgets a change that the host knows already from the answer to its command.
    pub fn forget_change(&mut self, change: Change) {
        self.changes.retain(|noted| *noted != change);
    }

    /// Returns when [`Firmware::advance`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        [self.registers_at, self.sim_at, self.dialled.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn note(&mut self, change: Change) {
        if self.changes.len() >= MAX_CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }

    /// Lets the registration and a dialled call proceed.
    pub fn advance(&mut self, knobs: &Knobs, now: Instant) {
        self.advance_call(now);
        if self.sim_at.is_some_and(|at| at <= now) {
            self.sim_at = None;
            self.sim = knobs.sim;
            self.note(Change::Ready);
        }
        let possible = self.sim_ready() && self.radio_on && self.hardware_radio_on;
        if !possible {
            if self.registered != Registered::Off {
                self.registered = Registered::Off;
                self.registers_at = None;
                self.note(Change::Register);
                self.detach();
            }
            return;
        }
        if self.registered == Registered::Off {
            self.registered = Registered::Searching;
            self.registers_at = Some(now + Duration::from_millis(knobs.registration_ms));
            self.note(Change::Register);
        }
        if self.registers_at.is_some_and(|at| at <= now) {
            self.registers_at = None;
            self.registered = match knobs.registration {
                Registration::Home => Registered::Home,
                Registration::Roaming => Registered::Roaming,
                Registration::Partner => Registered::Partner,
                Registration::Denied => Registered::Denied,
                Registration::Searching => Registered::Searching,
            };
            self.note(Change::Register);
            if self.registered.is_on() && !self.stay_detached {
                self.attached = true;
                self.note(Change::Packet);
            }
        }
    }

    /// Follows knobs that were turned and change the network's answer to the registration.
    pub fn network_changed(&mut self, knobs: &Knobs, now: Instant) {
        if self.registered != Registered::Off {
            self.registered = Registered::Off;
            self.detach();
        }
        if self.hardware_radio_on != knobs.hardware_radio_on {
            self.hardware_radio_on = knobs.hardware_radio_on;
            self.note(Change::Radio);
        }
        if self.sim_at.is_none() && self.sim != knobs.sim {
            self.sim = knobs.sim;
            self.pin_entered = false;
            self.note(Change::Ready);
        }
        self.advance(knobs, now);
    }

    fn detach(&mut self) {
        if self.attached {
            self.attached = false;
            self.note(Change::Packet);
        }
        self.sessions_version += 1;
        for id in std::mem::take(&mut self.sessions).into_keys() {
            self.note(Change::Connect(id));
        }
        self.hang_up();
    }

    /// Returns whether an FCC lock keeps the radio off.
    #[must_use]
    pub fn fcc_locked(&self) -> bool {
        self.fcc_locked
    }

    /// Lifts the FCC lock, until the next start.
    pub fn lift_fcc_lock(&mut self) {
        if std::mem::take(&mut self.fcc_locked) && self.fcc_hides_sim {
            self.note(Change::Ready);
        }
    }

    /// Switches the radio by software. Returns `false` when the FCC lock forbids it.
    pub fn set_radio(&mut self, on: bool, knobs: &Knobs, now: Instant) -> bool {
        if on && self.fcc_locked {
            return false;
        }
        if self.radio_on != on {
            self.radio_on = on;
            self.note(Change::Radio);
        }
        self.advance(knobs, now);
        true
    }

    /// Registers automatically, or with the operator of that PLMN. Returns `false` when that
    /// operator is not in reach.
    pub fn register(&mut self, plmn: Option<&str>, knobs: &Knobs, now: Instant) -> bool {
        self.automatic = plmn.is_none();
        self.advance(knobs, now);
        plmn.is_none_or(|plmn| self.operator().is_some_and(|(own, _)| own == plmn))
    }

    /// Attaches or detaches packet service.
    ///
    /// # Errors
    /// Fails when the module is in no state to attach.
    /// When the module is in no state to attach.
    pub fn set_attached(&mut self, attach: bool) -> Result<(), Refused> {
        if !attach {
            self.stay_detached = true;
            self.detach();
            return Ok(());
        }
        self.usable()?;
        self.stay_detached = false;
        if !self.attached {
            self.attached = true;
            self.note(Change::Packet);
        }
        Ok(())
    }

    /// Sends a short message and returns its reference. A message to the card's own number arrives
    /// at once, and so does the report of one that asks for it.
    ///
    /// # Errors
    /// Fails when the PDU is no message to be sent, or the module is not registered.
    /// When the PDU is no message to be sent, or the module is not registered.
    pub fn send_message(&mut self, pdu: &[u8]) -> Result<u8, Status> {
        // The bit is TP-SRR, in the first octet after the message centre's address (3GPP TS 23.040,
        // 9.2.3.5).
        const STATUS_REPORT_REQUEST: u8 = 0x20;
        let message = Message::decode(pdu).map_err(|_| Status::INVALID_PARAMETERS)?;
        if message.kind != MessageKind::Submit {
            return Err(Status::INVALID_PARAMETERS);
        }
        if !self.registered.is_on() {
            return Err(Status::NOT_REGISTERED);
        }
        self.sent = self.sent.wrapping_add(1);
        if message.peer.text() == OWN_NUMBER {
            self.arrive(card::deliver(pdu, &message.peer));
        }
        let head = pdu.get(1 + usize::from(pdu[0])).copied().unwrap_or(0);
        if head & STATUS_REPORT_REQUEST != 0 {
            self.arrive(card::report(self.sent, &message.peer));
        }
        Ok(self.sent)
    }

    /// Puts a message that arrived into the store, if there is one.
    fn arrive(&mut self, pdu: Option<Vec<u8>>) {
        let stored = pdu.and_then(|pdu| self.persistent.card.store(SmsStatus::NEW, pdu));
        if let Some(place) = stored {
            self.note(Change::Message(place));
        }
    }

    /// Enters PIN1, or PUK1 with a new PIN1.
    ///
    /// # Errors
    /// Fails when the code is wrong, which costs an attempt, or is not the one that the SIM asks
    /// for.
    pub fn unlock(
        &mut self,
        code: &str,
        new_pin: Option<&str>,
        knobs: &Knobs,
        now: Instant,
    ) -> Result<(), ()> {
        match (self.lock(), new_pin) {
            (Lock::Open, _) => return Ok(()),
            (Lock::Pin, None) => {
                if code != self.persistent.pin {
                    self.persistent.pin_attempts -= 1;
                    if self.persistent.pin_attempts == 0 {
                        self.note(Change::Ready);
                    }
                    return Err(());
                }
            }
            (Lock::Puk, Some(new_pin)) => {
                if code != self.persistent.puk || !valid_pin(new_pin) {
                    self.persistent.puk_attempts -= 1;
                    return Err(());
                }
                self.persistent.pin = new_pin.to_owned();
            }
            _ => return Err(()),
        }
        self.persistent.pin_attempts = 3;
        self.persistent.puk_attempts = 10;
        self.pin_entered = true;
        self.note(Change::Ready);
        self.advance(knobs, now);
        Ok(())
    }

    /// Checks PIN1 for one of the operations on it. Returns `false` when it is wrong, which costs
    /// an attempt.
    pub fn verify_pin(&mut self, code: &str) -> bool {
        if self.persistent.pin_attempts == 0 {
            return false;
        }
        if code == self.persistent.pin || self.persistent.pin.is_empty() {
            self.persistent.pin_attempts = 3;
            return true;
        }
        self.persistent.pin_attempts -= 1;
        if self.persistent.pin_attempts == 0 {
            self.pin_entered = false;
            self.note(Change::Ready);
        }
        false
    }

    /// Switches the PIN check on or off, after [`Firmware::verify_pin`].
    pub fn enable_pin(&mut self, code: &str, enabled: bool) {
        if self.persistent.pin.is_empty() {
            self.persistent.pin = code.to_owned();
        }
        self.persistent.pin_enabled = enabled;
        self.pin_entered = true;
    }

    /// Changes PIN1, after [`Firmware::verify_pin`]. Returns `false` when the new one has not the
    /// form of a PIN.
    pub fn change_pin(&mut self, new_pin: &str) -> bool {
        if !valid_pin(new_pin) {
            return false;
        }
        self.persistent.pin = new_pin.to_owned();
        true
    }
}

/// Returns whether a text has the form of a PIN: 4 to 8 digits (3GPP TS 31.101, 9.5).
fn valid_pin(text: &str) -> bool {
    (4..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
