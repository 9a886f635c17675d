//! The modem: firmware and functions behind the endpoints, routed by configuration.

mod link;
mod requests;
mod storage;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uwwan_mbim::registry::CidId;
use uwwan_usb::descriptors::Descriptors;

use crate::at_port::{self, AtContext, AtState, Port};
use crate::behaviour::{Behaviour, InVerdict, OutVerdict};
use crate::descriptors::{self, DataFunction, Functions, NetworkKind, Presented};
use crate::device::UsbDevice;
use crate::far_side::Network;
use crate::firmware::{Change, Firmware, Persistent};
use crate::knobs::{DialOutcome, Knobs};
use crate::mbim_function::{MbimContext, MbimFunction};
use crate::ncm_function::{DataContext, NcmFunction, Routes, TransferFault};
use crate::random::Random;
use crate::report::{Counters, Recorder};
use crate::rules::{Action, Answer, ModemHistory, Running};
use crate::setup::Setup;
use crate::urb::SetupPacket;

use storage::Storage;

/// Way in which the device leaves the bus by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// The firmware starts anew, and the device comes back.
    Reset,
    /// The device is unplugged, and plugged in again.
    Replug,
    /// The device is unplugged for good.
    Unplug,
}

/// Firmware, functions and the network behind them.
pub(crate) struct Modem {
    knobs: Knobs,
    /// Descriptors of another device, if they are presented in place of the lt4132's.
    descriptors: Option<Descriptors>,
    presented: Arc<Presented>,
    recorder: Recorder,
    counters: Counters,
    network: Box<dyn Network>,
    network_timeout: Option<Duration>,
    firmware: Firmware,
    at: AtState,
    ports: Vec<Port>,
    configuration: u8,
    /// The functions of the active configuration.
    functions: Functions,
    /// Time at which configuration 0 was entered from another one; `None` if it has not been since
    /// power-on.
    unconfigured: Option<Instant>,
    mbim: MbimFunction,
    ncm: NcmFunction,
    routes: Routes,
    /// Value of [`Firmware::sessions_version`] when `routes` was last brought up to date.
    routed: u64,
    /// Drive that the stick is until it is told to switch, if it is a storage device first.
    storage: Option<Storage>,
    /// Whether the stick has been told to switch, and leaves the bus to come back as a modem.
    switching: bool,
    departure: Option<Departure>,
    /// IN endpoints that have sent their garbage, one bit for each endpoint number.
    garbage_sent: u32,
    random: Random,
    rules: Running,
    /// Strings of another device, by their index.
    strings: BTreeMap<u8, String>,
}

impl Modem {
    /// Switches a modem on, with `network` behind it.
    pub fn new(setup: Setup, recorder: Recorder, network: Box<dyn Network>) -> Self {
        let Setup {
            knobs,
            descriptors,
            strings,
            rules,
        } = setup;
        let now = Instant::now();
        let persistent = Persistent::new(&knobs);
        let presented = match knobs.storage_first {
            0 => Presented::new(&knobs, descriptors.as_ref(), &strings),
            product => Presented::storage(product, &knobs),
        };
        Self {
            firmware: Firmware::boot(persistent, &knobs, now),
            at: AtState::new(&knobs, now),
            ports: Vec::new(),
            configuration: 0,
            functions: Functions::default(),
            unconfigured: None,
            mbim: MbimFunction::new(0, false, &knobs, now),
            ncm: NcmFunction::new(DataFunction::default(), &knobs),
            routes: Routes::default(),
            routed: 0,
            departure: None,
            garbage_sent: 0,
            random: Random::new(knobs.seed ^ 3),
            counters: Counters::default(),
            network_timeout: None,
            presented: Arc::new(presented),
            storage: (knobs.storage_first != 0).then(Storage::default),
            switching: false,
            rules: Running::new(rules, now),
            strings,
            descriptors,
            knobs,
            recorder,
            network,
        }
    }

    /// Returns the descriptors that the device presents.
    pub fn presented(&self) -> Arc<Presented> {
        Arc::clone(&self.presented)
    }

    /// Returns the data function of the active configuration, if it is MBIM.
    fn mbim_function(&self) -> Option<DataFunction> {
        let mbim = |data: &DataFunction| data.kind == NetworkKind::Mbim;
        self.functions.data.filter(mbim)
    }

    /// Returns the knobs in force.
    pub fn knobs(&self) -> &Knobs {
        &self.knobs
    }

    /// Returns the counters of the device.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns how the device is to leave the bus, if it is to. It is returned once.
    pub fn take_departure(&mut self) -> Option<Departure> {
        self.departure.take()
    }

    /// Turns knobs, and lets the firmware follow them.
    pub fn adjust(&mut self, adjust: Box<dyn FnOnce(&mut Knobs) + Send>, now: Instant) {
        let before = self.knobs.clone();
        adjust(&mut self.knobs);
        if self.knobs.registration != before.registration
            || self.knobs.hardware_radio_on != before.hardware_radio_on
            || self.knobs.sim != before.sim
        {
            self.firmware.network_changed(&self.knobs, now);
        }
        if self.knobs.mtu != before.mtu {
            self.firmware.addresses_changed();
        }
        if self.knobs.pin != before.pin {
            self.firmware.persistent.pin.clone_from(&self.knobs.pin);
            self.firmware.persistent.pin_enabled = !self.knobs.pin.is_empty();
        }
        let persistent = &mut self.firmware.persistent;
        if self.knobs.pin_attempts != before.pin_attempts {
            persistent.pin_attempts = self.knobs.pin_attempts.min(3);
        }
        if self.knobs.puk_attempts != before.puk_attempts {
            persistent.puk_attempts = self.knobs.puk_attempts.min(10);
        }
        if self.knobs.puk != before.puk {
            persistent.puk.clone_from(&self.knobs.puk);
        }
        if self.knobs.seed != before.seed {
            self.random = Random::new(self.knobs.seed ^ 3);
        }
        if self.knobs.garbage != before.garbage {
            self.garbage_sent = 0;
        }
    }

    /// Counts a reset of the firmware.
    pub fn count_reset(&mut self) {
        self.counters.resets += 1;
    }

    /// Starts the firmware anew. The content of the SIM and of the profile list survives.
    pub fn power_on(&mut self, now: Instant) {
        let persistent = self.firmware.persistent.clone();
        self.firmware = Firmware::boot(persistent, &self.knobs, now);
        let crashed = self.firmware.persistent.crashed;
        let product = Some(self.knobs.crash_at_connect).filter(|_| crashed);
        let drive = match self.knobs.storage_first {
            0 => None,
            _ if std::mem::take(&mut self.switching) => None,
            product => Some(Presented::storage(product, &self.knobs)),
        };
        self.storage = drive.is_some().then(Storage::default);
        let modem = || Presented::new(&self.knobs, self.descriptors.as_ref(), &self.strings);
        let mut presented = drive.unwrap_or_else(modem);
        if let Some(product) = product.filter(|product| *product != 0) {
            presented.rename(product);
        }
        self.presented = Arc::new(presented);
        self.at = AtState::new(&self.knobs, now);
        self.ports.clear();
        self.configuration = 0;
        self.functions = Functions::default();
        self.unconfigured = None;
        self.mbim = MbimFunction::new(0, false, &self.knobs, now);
        self.ncm = NcmFunction::new(DataFunction::default(), &self.knobs);
        self.routes.clear();
        self.departure = None;
        self.garbage_sent = 0;
    }

    /// Follows a reset of the port that the host made while the device was in use.
    pub fn port_reset(&mut self) {
        if self.knobs.reset_reenumerates {
            self.departure = Some(Departure::Reset);
        }
    }

    /// Lets the network send packets that it has collected.
    pub fn settle(&mut self) {
        self.network_timeout = self.network.advance();
    }

    /// Executes everything that is due.
    pub fn advance(&mut self, now: Instant) {
        self.settle();
        self.firmware.advance(&self.knobs, now);
        self.ncm.advance(now);
        if self.at.take_reset(now) {
            self.departure = Some(Departure::Reset);
        }
        let (ports, mut context) = self.at_context(now);
        at_port::advance(ports, &mut context);
        if self.mbim_function().is_some() {
            let (mbim, mut context) = self.mbim_context(now);
            mbim.advance(&mut context);
        }
        self.announce_changes(now);
        self.follow_rules(now);
    }

    /// Executes the actions of rules whose events have happened.
    fn follow_rules(&mut self, now: Instant) {
        if self.rules.is_idle() {
            return;
        }
        let happened = ModemHistory {
            ntbs_out: self.counters.blocks_out,
            ntbs_in: self.counters.blocks_in,
            configured: self.functions.data.is_some(),
            open: self.mbim_function().is_some() && self.mbim.is_open(),
            registered: self.firmware.registered().is_on(),
            attached: self.firmware.attached(),
            connected: self.firmware.is_connected(),
        };
        for action in self.rules.look(happened, now) {
            self.act(action, now);
        }
    }

    fn act(&mut self, action: Action, now: Instant) {
        match action {
            Action::Turn(assignment) => self.adjust(
                Box::new(move |knobs| {
                    // The assignment was checked when the rule was read.
                    let _ = knobs.assign(&assignment);
                }),
                now,
            ),
            Action::Reset => self.departure = Some(Departure::Reset),
            Action::Unplug => self.departure = Some(Departure::Unplug),
            Action::Replug => self.departure = Some(Departure::Replug),
            Action::Indicate { service, cid, info } => {
                if self.mbim_function().is_some() {
                    let (mbim, mut context) = self.mbim_context(now);
                    mbim.indicate_anyway(CidId { service, cid }, info, &mut context);
                }
            }
            Action::Tell(line) => at_port::tell(&mut self.ports, &line),
        }
    }

    /// Returns the time until [`Modem::advance`] is due.
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        let mbim = self.mbim_function().and_then(|_| self.mbim.deadline());
        let at = if self.ports.is_empty() {
            None
        } else {
            at_port::deadline(&self.ports, &self.at)
        };
        let firmware = self.firmware.deadline();
        let due = [
            mbim,
            at,
            firmware,
            self.ncm.deadline(),
            self.rules.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|at| at.saturating_duration_since(now));
        [due, self.network_timeout].into_iter().flatten().min()
    }

    /// Returns whether packets from the network can go anywhere, and whether packets wait for room
    /// in the network.
    pub fn network_interest(&self, usb: &UsbDevice) -> (bool, bool) {
        self.functions.data.map_or((false, false), |data| {
            (
                usb.is_waiting(data.bulk_in),
                usb.is_waiting(data.bulk_out)
                    && self.ncm.is_blocked()
                    && self.network.waits_for_descriptor(),
            )
        })
    }

    /// Returns the network's descriptor, for polling.
    pub fn network_descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.network.descriptor()
    }

    /// Reports the firmware's changes through both of its views, MBIM and AT.
    fn announce_changes(&mut self, now: Instant) {
        if self.firmware.take_crash() {
            // Firmware that has crashed answers nothing.
            let (mbim, context) = self.mbim_context(now);
            mbim.reset(context.firmware, context.knobs, now);
            self.departure = Some(Departure::Reset);
        }
        let changes = self.firmware.take_changes();
        for change in &changes {
            if self.mbim_function().is_some() {
                let (mbim, mut context) = self.mbim_context(now);
                mbim.announce(*change, &mut context);
            }
            let (ports, context) = self.at_context(now);
            at_port::announce(ports, *change, &context);
            if let Change::Call(call) = change
                && self.dials()
                && self.carries()
                && self.knobs.dial != DialOutcome::NoCarrier
            {
                self.ncm.announce_link(call.up);
            }
        }
        if self.routed != self.firmware.sessions_version() {
            self.reroute();
        }
    }

    fn at_context(&mut self, now: Instant) -> (&mut [Port], AtContext<'_>) {
        (
            &mut self.ports,
            AtContext {
                state: &mut self.at,
                firmware: &mut self.firmware,
                knobs: &self.knobs,
                rules: &mut self.rules,
                now,
                commands: &mut self.counters.at_commands,
            },
        )
    }

    fn mbim_context(&mut self, now: Instant) -> (&mut MbimFunction, MbimContext<'_>) {
        (
            &mut self.mbim,
            MbimContext {
                firmware: &mut self.firmware,
                knobs: &self.knobs,
                counters: &mut self.counters,
                recorder: &self.recorder,
                rules: &mut self.rules,
                data_alternate: self.ncm.alternate(),
                input_size_told: self.ncm.input_size_told(),
                now,
            },
        )
    }

    fn data_context(&mut self, now: Instant) -> (&mut NcmFunction, DataContext<'_>) {
        (
            &mut self.ncm,
            DataContext {
                network: &mut *self.network,
                routes: &self.routes,
                knobs: &self.knobs,
                counters: &mut self.counters,
                recorder: &self.recorder,
                now,
            },
        )
    }

    /// Sends garbage on an endpoint that has not sent any, if the knob says so.
    fn garbage(&mut self, endpoint: u8, room: &mut [u8]) -> Option<InVerdict> {
        let bit = 1u32 << (endpoint & 0x0f);
        if self.knobs.garbage == 0 || self.garbage_sent & bit != 0 {
            return None;
        }
        self.garbage_sent |= bit;
        let length = usize::from(self.knobs.garbage).min(room.len());
        self.random.fill(&mut room[..length]);
        Some(InVerdict::Data {
            length,
            short: true,
        })
    }

    /// Executes the effect of a knob, and returns the verdict on the transfer.
    fn verdict(&mut self, mishap: Option<TransferFault>) -> OutVerdict {
        match mishap {
            Some(TransferFault::Stall) => return OutVerdict::Stall,
            Some(TransferFault::Fault) => return OutVerdict::Fault,
            Some(TransferFault::Reset) => self.departure = Some(Departure::Reset),
            Some(TransferFault::Unplug) => self.departure = Some(Departure::Unplug),
            // The random events that make the device leave continue from one power-on to the next.
            None if self.random.happens(self.knobs.reset_ppm) => {
                self.departure = Some(Departure::Reset);
            }
            None if self.random.happens(self.knobs.replug_ppm) => {
                self.departure = Some(Departure::Replug);
            }
            None => {}
        }
        OutVerdict::Accept
    }
}

impl Behaviour for Modem {
    fn bus_rate(&self) -> u64 {
        u64::from(self.knobs.bus_mbit) * 1_000_000 / 8
    }

    fn configured(&mut self, from: u8, to: u8, now: Instant) {
        if to == 0 {
            if from != 0 {
                self.unconfigured = Some(now);
            }
        } else {
            self.counters.configurations += 1;
        }
        if self.mbim_function().is_some() {
            let (mbim, context) = self.mbim_context(now);
            mbim.reset(context.firmware, context.knobs, now);
        }
        let configuration = self.presented.configuration(to);
        let functions = configuration.map(|c| c.functions.clone());
        self.functions = functions.unwrap_or_default();
        if let Some(data) = self.mbim_function()
            && to != from
        {
            let direct = from != 0;
            let settle = Duration::from_millis(self.knobs.settle_ms);
            let hasty = self
                .unconfigured
                .is_some_and(|since| now.saturating_duration_since(since) < settle);
            let silent = self.knobs.silent_after_direct_switch && (direct || hasty);
            self.mbim = MbimFunction::new(data.control, silent, &self.knobs, now);
        }
        self.configuration = to;
        self.ports = Port::of(&self.functions.serial);
        let pipe = self.functions.data.filter(|data| data.pipe);
        self.ports.extend(pipe.map(|data| Port::pipe(data.control)));
        let data = self.functions.data.unwrap_or_default();
        self.ncm = NcmFunction::new(data, &self.knobs);
        if let Some(address) = self.presented.string(data.mac_index) {
            self.ncm.set_address(&address);
        }
        self.garbage_sent = 0;
        if to != from {
            self.firmware.hang_up();
        }
        self.announce_changes(now);
        self.announce_link();
        self.reroute();
    }

    fn alternate_selected(&mut self, interface: u8, alternate: u8, now: Instant) {
        let Some(data) = self.functions.data.filter(|data| data.data == interface) else {
            return;
        };
        // A data interface may have an alternate setting of another function beside that of this
        // one.
        let carries = alternate == data.alternate;
        self.ncm
            .select(if carries { alternate } else { 0 }, &self.knobs);
        if !carries && data.kind == NetworkKind::Mbim {
            let (mbim, context) = self.mbim_context(now);
            mbim.reset(context.firmware, context.knobs, now);
        }
        self.announce_link();
        self.reroute();
    }

    fn pause(&self, setup: SetupPacket) -> Duration {
        self.rules.pause(setup)
    }

    fn control_out(&mut self, setup: SetupPacket, data: &[u8], now: Instant) -> bool {
        match self.rules.request(setup, now).map(|reply| reply.answer) {
            Some(Answer::Accept) => {
                self.function_out(setup, data, now);
                true
            }
            Some(_) => false,
            None => self.function_out(setup, data, now),
        }
    }

    fn control_in(&mut self, setup: SetupPacket, room: &mut [u8], now: Instant) -> Option<usize> {
        match self.rules.request(setup, now).map(|reply| reply.answer) {
            Some(Answer::Bytes(bytes)) => {
                let length = bytes.len().min(room.len());
                room[..length].copy_from_slice(&bytes[..length]);
                Some(length)
            }
            Some(_) => None,
            None => self.function_in(setup, room, now),
        }
    }

    fn bulk_out(&mut self, endpoint: u8, data: &[u8], ended: bool, now: Instant) -> OutVerdict {
        if let Some(storage) = &mut self.storage {
            if endpoint == descriptors::storage::BULK_OUT && storage.take(data) {
                self.switching = true;
                self.departure = Some(Departure::Reset);
            }
            return OutVerdict::Accept;
        }
        if let Some(index) = self.ports.iter().position(|port| port.bulk_out == endpoint) {
            let (ports, mut context) = self.at_context(now);
            at_port::write(&mut ports[index], data, &mut context);
            self.announce_changes(now);
            return OutVerdict::Accept;
        }
        match self.functions.data {
            Some(function) if function.bulk_out == endpoint => {
                let (ncm, mut context) = self.data_context(now);
                match ncm.transmit(data, ended, &mut context) {
                    (false, _) => OutVerdict::Nak,
                    (true, mishap) => {
                        self.follow_rules(now);
                        self.verdict(mishap)
                    }
                }
            }
            // Other functions take their data and do nothing.
            _ => OutVerdict::Accept,
        }
    }

    fn bulk_in(&mut self, endpoint: u8, room: &mut [u8], now: Instant) -> InVerdict {
        if let Some(verdict) = self.garbage(endpoint, room) {
            return verdict;
        }
        if let Some(storage) = &mut self.storage {
            return if endpoint == descriptors::storage::BULK_IN {
                storage.give(room)
            } else {
                InVerdict::Nak
            };
        }
        for port in &mut self.ports {
            if port.bulk_in == endpoint {
                return port.read(room);
            }
            if port.interrupt == Some(endpoint) {
                return port.notify(room);
            }
        }
        match self.functions.data {
            Some(data) if data.bulk_in == endpoint => {
                let (ncm, mut context) = self.data_context(now);
                let verdict = ncm.receive(room, &mut context);
                self.follow_rules(now);
                return verdict;
            }
            Some(data) if data.interrupt == Some(endpoint) => {
                let notification = match data.kind {
                    NetworkKind::Mbim => self.mbim.take_notification().map(Vec::from),
                    NetworkKind::Ncm | NetworkKind::Ecm => {
                        let pipe = self.pipe();
                        let response = || self.ports[pipe?].response_available();
                        self.ncm.take_notification().or_else(response)
                    }
                };
                return notification.map_or(InVerdict::Nak, |bytes| put(&bytes, room));
            }
            _ => {}
        }
        InVerdict::Nak
    }
}

/// Puts a notification into `room`, whole or not at all.
fn put(notification: &[u8], room: &mut [u8]) -> InVerdict {
    match room.get_mut(..notification.len()) {
        Some(place) => {
            place.copy_from_slice(notification);
            InVerdict::Data {
                length: notification.len(),
                short: true,
            }
        }
        None => InVerdict::Overflow,
    }
}
