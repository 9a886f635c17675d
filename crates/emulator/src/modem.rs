//! The modem: firmware and functions behind the endpoints, routed by configuration.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uwwan_mbim::registry::CidId;
use uwwan_usb::descriptors::Descriptors;

use crate::at_port::{self, AtContext, AtState, Kind, Port};
use crate::descriptors::{DataFunction, Functions, NetworkKind, Presented};
use crate::device::{Behaviour, InVerdict, OutVerdict, UsbDevice};
use crate::far_side::Network;
use crate::firmware::{Change, Firmware, Persistent};
use crate::knobs::{DialOutcome, Dialling, Knobs};
use crate::mbim_function::{MbimContext, MbimFunction};
use crate::ncm_function::{DataContext, Mishap, NcmFunction, Routes};
use crate::random::Random;
use crate::report::{Counters, Recorder, Rule};
use crate::rules::{Action, Answer, Happened, Running};
use crate::setup::Setup;
use crate::urb::SetupPacket;

/// Class requests (CDC 1.2, 6.2; MBIM 1.0, 8).
const SEND_ENCAPSULATED_COMMAND: u8 = 0x00;
const GET_ENCAPSULATED_RESPONSE: u8 = 0x01;
const RESET_FUNCTION: u8 = 0x05;

/// `bInterfaceClass` of communication and data interfaces (CDC 1.2, 4.2 and 4.5).
const CLASS_COMMUNICATION: u8 = 0x02;
const CLASS_DATA: u8 = 0x0a;

/// Way in which the device leaves the bus of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// The firmware starts afresh; the device comes back.
    Reset,
    /// The device is unplugged, and plugged in again.
    Replug,
    /// The device is unplugged for good.
    Unplug,
}

/// Function behind an interface that class requests go to. Serial ports are looked for before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recipient {
    Mbim,
    /// An NCM function, the vendor's own NCM, or an ECM function.
    Ethernet,
    /// An Ethernet function that carries nothing.
    Idle,
    Nobody,
}

/// Firmware, functions and the network behind them.
pub(crate) struct Modem {
    knobs: Knobs,
    /// The descriptors of another device, if they are presented in place of the lt4132's.
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
    /// When configuration 0 was entered from another one, `None` if it has not been since power-on.
    unconfigured: Option<Instant>,
    mbim: MbimFunction,
    ncm: NcmFunction,
    routes: Routes,
    /// [`Firmware::sessions_version`] when `routes` was last brought up to date.
    routed: u64,
    departure: Option<Departure>,
    /// IN endpoints that have sent their garbage, a bit for each endpoint number.
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
            presented: Arc::new(Presented::new(&knobs, descriptors.as_ref(), &strings)),
            rules: Running::new(rules, now),
            strings,
            descriptors,
            knobs,
            recorder,
            network,
        }
    }

    /// Returns the descriptors the device presents.
    pub fn presented(&self) -> Arc<Presented> {
        Arc::clone(&self.presented)
    }

    /// Returns the data function of the active configuration, if it is MBIM.
    fn mbim_function(&self) -> Option<DataFunction> {
        let mbim = |data: &DataFunction| data.kind == NetworkKind::Mbim;
        self.functions.data.filter(mbim)
    }

    /// Returns the knobs as they stand.
    pub fn knobs(&self) -> &Knobs {
        &self.knobs
    }

    /// Returns the numbers of things that happened.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns how the device is to leave the bus, if it is to; the answer is given once.
    pub fn take_departure(&mut self) -> Option<Departure> {
        self.departure.take()
    }

    /// Turns knobs, and lets the firmware follow.
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

    /// Starts the firmware afresh. What the SIM and the profile list hold survives.
    pub fn power_on(&mut self, now: Instant) {
        let persistent = self.firmware.persistent.clone();
        self.firmware = Firmware::boot(persistent, &self.knobs, now);
        let crashed = self.firmware.persistent.crashed;
        let product = Some(self.knobs.crash_at_connect).filter(|_| crashed);
        let mut presented = Presented::new(&self.knobs, self.descriptors.as_ref(), &self.strings);
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

    /// Lets the network send what it has been given since it was last asked.
    pub fn settle(&mut self) {
        self.network_timeout = self.network.advance();
    }

    /// Lets time go by.
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

    /// Does what rules say about what has happened.
    fn follow_rules(&mut self, now: Instant) {
        if self.rules.is_idle() {
            return;
        }
        let happened = Happened {
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
                    // Checked when the rule was read.
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

    /// Returns the time until [`Modem::advance`] has something to do.
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

    /// Returns whether packets from the network can go anywhere, and whether packets wait for room in the
    /// network.
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

    /// Tells both views of the firmware, MBIM and AT, what changed.
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

    /// Brings `routes` up to date with the data sessions.
    fn reroute(&mut self) {
        self.routed = self.firmware.sessions_version();
        let ethernet = self.functions.data.filter(|d| d.kind.is_ethernet());
        let ethernet = ethernet.map(|_| self.link());
        for session in 0..=u8::MAX {
            let (v4, v6) = match ethernet {
                Some(up) if session == 0 => up,
                Some(_) => (false, false),
                None => self
                    .firmware
                    .session(session.into())
                    .map_or((false, false), |active| (active.v4, active.v6)),
            };
            let had = self.routes.carries(session, 4) || self.routes.carries(session, 6);
            if (
                self.routes.carries(session, 4),
                self.routes.carries(session, 6),
            ) != (v4, v6)
            {
                self.routes.set(session, v4, v6);
                if !had {
                    self.ncm.session_up(session, v6, &self.knobs);
                }
            }
        }
    }

    /// Returns whether nothing goes over the Ethernet function before a call is dialled.
    fn dials(&self) -> bool {
        match self.knobs.dialling {
            Dialling::Usual => self.functions.data.is_some_and(|data| data.dials),
            Dialling::Wanted => true,
            Dialling::Needless => false,
        }
    }

    /// Returns whether the endpoints of the data function are there.
    fn carries(&self) -> bool {
        let alternate = self.functions.data.map(|data| data.alternate);
        alternate == Some(self.ncm.alternate())
    }

    /// Returns whether the link of an Ethernet function carries IPv4, and IPv6. Where nobody dials it is up
    /// while its endpoints are there.
    fn link(&self) -> (bool, bool) {
        if !self.carries() || (self.dials() && self.knobs.dial == DialOutcome::NoCarrier) {
            return (false, false);
        }
        if !self.dials() {
            return (true, true);
        }
        let call = self.firmware.call();
        call.map_or((false, false), |session| (session.v4, session.v6))
    }

    /// Tells the host how the link stands, as the endpoints of an Ethernet function appear.
    fn announce_link(&mut self) {
        let Some(data) = self.functions.data.filter(|_| self.carries()) else {
            return;
        };
        let up = self.link() != (false, false);
        // cdc_ether takes a link for up that nothing was said about.
        if up || data.kind == NetworkKind::Ecm {
            self.ncm.announce_link(up);
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

    /// Executes what a knob does besides, and returns the verdict on the transfer.
    fn verdict(&mut self, mishap: Option<Mishap>) -> OutVerdict {
        match mishap {
            Some(Mishap::Stall) => return OutVerdict::Stall,
            Some(Mishap::Fault) => return OutVerdict::Fault,
            Some(Mishap::Reset) => self.departure = Some(Departure::Reset),
            Some(Mishap::Unplug) => self.departure = Some(Departure::Unplug),
            // What makes the device leave goes on by chance from one power-on to the next.
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

    /// Returns the place of the port that encapsulated commands go to, if there is one.
    fn pipe(&self) -> Option<usize> {
        self.ports.iter().position(|port| port.kind == Kind::Pipe)
    }

    /// Returns what is behind an interface that class requests go to.
    fn recipient(&self, interface: u8) -> Recipient {
        let functions = &self.functions;
        match functions.data {
            Some(data) if data.control == interface => match data.kind {
                NetworkKind::Mbim => Recipient::Mbim,
                NetworkKind::Ncm | NetworkKind::Ecm => Recipient::Ethernet,
            },
            _ if functions.idle.contains(&interface) => Recipient::Idle,
            _ => Recipient::Nobody,
        }
    }

    /// Records a request to an interface that does not take it. Functions that have nothing behind them,
    /// as a card reader of another device, refuse requests that its host is right to make.
    fn misdirected(&self, setup: SetupPacket) {
        let interface = setup.index.to_le_bytes()[0];
        let configuration = self.presented.configuration(self.configuration);
        let mut places = configuration.iter().flat_map(|c| &c.layout.alternates);
        let network = |class: u8| matches!(class, CLASS_COMMUNICATION | CLASS_DATA);
        if self.descriptors.is_some()
            && !places.any(|place| place.interface == interface && network(place.class[0]))
        {
            return;
        }
        self.recorder.violation(Rule::Setup, || {
            format!(
                "request {:#04x} (type {:#04x}) to interface {} of configuration {}, which does not take it",
                setup.request, setup.request_type, setup.index, self.configuration
            )
        });
    }

    /// Has the function behind an interface execute a request. `false` is a STALL.
    fn function_out(&mut self, setup: SetupPacket, data: &[u8], now: Instant) -> bool {
        if setup.request_type & 0x7f != 0x21 {
            return false;
        }
        let interface = setup.index.to_le_bytes()[0];
        let mut ports = self.ports.iter_mut();
        if let Some(port) = ports.find(|port| port.is_serial(interface)) {
            return port.control_out(setup.request, setup.value, data);
        }
        match (self.recipient(interface), setup.request) {
            (Recipient::Mbim, SEND_ENCAPSULATED_COMMAND) => {
                let (mbim, mut context) = self.mbim_context(now);
                mbim.send(data, &mut context);
                self.announce_changes(now);
                true
            }
            (Recipient::Mbim, RESET_FUNCTION) => {
                let (mbim, context) = self.mbim_context(now);
                mbim.reset(context.firmware, context.knobs, now);
                self.ncm.reset(&self.knobs);
                self.reroute();
                true
            }
            (Recipient::Ethernet, SEND_ENCAPSULATED_COMMAND) if self.pipe().is_some() => {
                let pipe = self.pipe().unwrap_or_default();
                let (ports, mut context) = self.at_context(now);
                ports[pipe].commanded();
                at_port::write(&mut ports[pipe], data, &mut context);
                self.announce_changes(now);
                true
            }
            (Recipient::Mbim | Recipient::Ethernet, _) => {
                self.ncm
                    .control_out(setup, data, &self.knobs, &self.recorder)
            }
            (Recipient::Idle, _) => true,
            _ => {
                self.misdirected(setup);
                false
            }
        }
    }

    /// Has the function behind an interface answer a request. `None` is a STALL.
    fn function_in(&mut self, setup: SetupPacket, room: &mut [u8], now: Instant) -> Option<usize> {
        if setup.request_type & 0x7f != 0x21 {
            return None;
        }
        let interface = setup.index.to_le_bytes()[0];
        let mut ports = self.ports.iter();
        if let Some(port) = ports.find(|port| port.is_serial(interface)) {
            return port.control_in(setup.request, room);
        }
        match (self.recipient(interface), setup.request) {
            (Recipient::Mbim, GET_ENCAPSULATED_RESPONSE) => {
                let (mbim, mut context) = self.mbim_context(now);
                Some(mbim.get(room, &mut context))
            }
            (Recipient::Ethernet, GET_ENCAPSULATED_RESPONSE) if self.pipe().is_some() => {
                let pipe = self.pipe().unwrap_or_default();
                Some(self.ports[pipe].respond(room))
            }
            (Recipient::Mbim | Recipient::Ethernet, _) => {
                self.ncm.control_in(setup, room, &self.knobs)
            }
            (Recipient::Idle, _) => None,
            _ => {
                self.misdirected(setup);
                None
            }
        }
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
        self.ncm = NcmFunction::new(self.functions.data.unwrap_or_default(), &self.knobs);
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
        // A data interface may have an alternate setting of another function beside this one's.
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
            // Nobody is behind any other function.
            _ => OutVerdict::Accept,
        }
    }

    fn bulk_in(&mut self, endpoint: u8, room: &mut [u8], now: Instant) -> InVerdict {
        if let Some(verdict) = self.garbage(endpoint, room) {
            return verdict;
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
