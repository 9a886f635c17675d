//! The control thread's part in the data sessions: their commands, their host interfaces and their
//! place on the data path.

use std::sync::Arc;
use std::time::Instant;

use uwwan_mbim::registry::CidId;
use uwwan_mbim::session::TransactionId;
use uwwan_ncm::Stream;

use super::ending::DISCONNECT_PATIENCE;
use super::held::HeldSession;
use super::{CommandOrigin, Control, start};
use crate::askers::Message;
use crate::datapath::{SessionAddressing, SessionPlan};
use crate::diagnosis::{Diagnosis, DiagnosisKind};
use crate::event::Event;
use crate::failure::{Failure, Rung};
use crate::function::VLAN_TAG;
use crate::host::{Ethernet, HeldHost, HostConfig, HostNews};
use crate::kind::ETHERNET_HEADER;
use crate::ladder::Outcome;
use crate::probe::Probe;
use crate::session::{LinkFamilies, ModemFacts, SessionAsk, Step};
use crate::status::{Addresses, Interface};
use crate::watch::Verdict;

impl Control {
    /// Returns the part of a session's plan on the data path that depends on its addresses.
    fn addressing(&self, addresses: &Addresses, listen: LinkFamilies) -> SessionAddressing {
        if let Some(held) = self
            .device
            .as_ref()
            .filter(|held| held.function.gives_frames())
        {
            let frame = held
                .negotiated
                .as_ref()
                .and_then(|negotiated| negotiated.frame);
            let longest = addresses.mtu.saturating_add(ETHERNET_HEADER + VLAN_TAG);
            return SessionAddressing {
                mtu: longest.min(frame.unwrap_or(longest)),
                eager: self.heals(),
                ..SessionAddressing::default()
            };
        }
        SessionAddressing {
            mtu: addresses.mtu,
            ipv4: addresses
                .ipv4
                .map(|prefix| (prefix.address, addresses.gateway4)),
            link_layer: self.link_layer(),
            listen,
            ours: addresses.ipv6.iter().map(|prefix| prefix.address).collect(),
            probe: self
                .options
                .probe
                .then(|| Probe::for_addresses(addresses))
                .flatten(),
            eager: self.heals(),
        }
    }

    /// Returns the facts about the modem that data sessions need.
    pub(super) fn facts(&self) -> ModemFacts {
        let held = self.device.as_ref();
        let ethernet = held.filter(|held| held.function.gives_frames());
        let negotiated = held.and_then(|held| held.negotiated.as_ref());
        let identity = self.ladder.facts().identity.as_ref();
        ModemFacts {
            quirk: self.quirk,
            sizes: negotiated
                .map(|negotiated| negotiated.sizes)
                .unwrap_or_default(),
            max_sessions: identity.map_or(0, |identity| identity.max_sessions),
            ethernet: ethernet.map(|held| Ethernet {
                address: held.link.address,
                carrier: held.carrier(),
            }),
            plain: self.is_ethernet(),
            begun: self.ladder.begun(),
        }
    }

    /// Begins to bring up the sessions whose loss leads the modem back (`leading`), or the others.
    pub(super) fn start_sessions(&mut self, leading: bool, from: Rung) {
        let facts = self.facts();
        if !leading && facts.plain {
            return;
        }
        let now = Instant::now();
        for session in &mut self.sessions {
            if session.machine.leads_back() == leading {
                session.machine.start(now, from, facts.clone());
            }
        }
    }

    /// Suspends the sessions whose loss leads the modem back, and with `others` all sessions,
    /// because the rungs beneath them are lost.
    pub(super) fn rest_sessions(&mut self, others: bool, why: &str) {
        for session in &mut self.sessions {
            if others || session.machine.leads_back() {
                session.machine.rest(why);
            }
        }
    }

    /// Carries out one step of one session. Returns `false` when there is none.
    pub(super) fn work_sessions(&mut self) -> bool {
        let sessions = self.sessions.iter_mut().enumerate();
        let mut steps = sessions.map(|(index, session)| (index, session.machine.next_step()));
        let Some((index, Some(step))) = steps.find(|(_, step)| step.is_some()) else {
            return false;
        };
        match step {
            Step::Tell(event) => self.tell(event),
            Step::Back(input) => self.input(input),
            Step::Command {
                ask,
                command,
                timeout,
            } => {
                let id = self.sessions[index].machine.id();
                if self.sessions[index].machine.leads_back() {
                    self.expect(&format!("the answer to {}", ask.name()), timeout);
                }
                match start(&mut self.control_session, command, timeout) {
                    Ok(transaction) => {
                        self.asked
                            .insert(transaction, CommandOrigin::Session { id, ask });
                    }
                    Err(error) => {
                        self.session_answer(id, ask, Outcome::Refused(error.to_string()));
                    }
                }
            }
            Step::Host(mut config) => {
                if let (Some(ethernet), Some(held)) = (&mut config.ethernet, &self.device) {
                    // The link may have come up since the session began, because dialling brings it
                    // up.
                    ethernet.carrier = held.carrier();
                }
                let result = self.session_host(index, &config);
                self.sessions[index].machine.host(Instant::now(), result);
            }
            Step::Data(addresses) => {
                let result = self.session_data(index, &addresses);
                self.sessions[index].machine.data(Instant::now(), result);
            }
            Step::Inject(datagram) => {
                let id = self.sessions[index].machine.id();
                if let Some(reactor) = self.device.as_ref().and_then(|held| held.reactor()) {
                    reactor.inject(id, datagram);
                }
            }
            Step::Off => {
                let id = self.sessions[index].machine.id();
                if let Some(reactor) = self.device.as_ref().and_then(|held| held.reactor()) {
                    reactor.remove_session(id);
                }
            }
        }
        true
    }

    pub(super) fn session_answer(&mut self, id: u8, ask: SessionAsk, outcome: Outcome) {
        if let Some(session) = self.session(id) {
            session.machine.answer(Instant::now(), ask, outcome);
        }
    }

    pub(super) fn session_indication(&mut self, id: CidId, info: &[u8]) {
        let now = Instant::now();
        for session in &mut self.sessions {
            session.machine.indication(now, id, info);
        }
    }

    pub(super) fn session_timeouts(&mut self) {
        let now = Instant::now();
        for session in &mut self.sessions {
            if session.machine.poll_timeout().is_some_and(|at| now >= at) {
                session.machine.timeout(now);
            }
        }
    }

    pub(super) fn session_deadline(&self) -> Option<Instant> {
        self.sessions
            .iter()
            .filter_map(|session| session.machine.poll_timeout())
            .min()
    }

    fn session(&mut self, id: u8) -> Option<&mut HeldSession> {
        let mut sessions = self.sessions.iter_mut();
        sessions.find(|session| session.machine.id() == id)
    }

    /// Drops the failed host interface of a session; another one is made.
    pub(super) fn host_lost(&mut self, id: u8, why: &str) {
        if self.guest_lost(id, why) {
            return;
        }
        if let Some(session) = self.session(id) {
            session.host = None;
            session.machine.host_lost(Instant::now(), why);
        }
    }

    /// Passes a datagram about the configuration of a session's link on to the session.
    pub(super) fn session_link(&mut self, id: u8, datagram: &[u8]) {
        if let Some(session) = self.session(id) {
            session.machine.link_answer(Instant::now(), datagram);
        }
    }

    /// Handles the data path's verdict whether anything comes back on a session.
    pub(super) fn session_judged(&mut self, id: u8, verdict: Verdict) {
        if id == 0 && self.heal_judged(verdict) {
            return;
        }
        let Some(held) = self.device.as_ref() else {
            return;
        };
        let Some(negotiated) = held.negotiated.as_ref() else {
            return;
        };
        let framing = negotiated.framing;
        let link_up = held.function.dialled().map(|_| held.carrier());
        if let Some(session) = self.session(id) {
            session
                .machine
                .judged(Instant::now(), verdict, &framing, link_up);
            if session.machine.leads_back() && verdict == Verdict::Recovered {
                self.shared.update(|status| status.diagnosed.clear());
            }
        }
    }

    fn session_host(&mut self, index: usize, config: &HostConfig) -> Result<Interface, Failure> {
        let session = &mut self.sessions[index];
        if let Some(host) = &mut session.host {
            match host.control.reconfigure(config) {
                Ok(()) => {
                    let interface = host.control.interface();
                    let news = host.control.attend();
                    self.tell_host_news(&interface.name, news);
                    return Ok(interface);
                }
                Err(error) => {
                    tracing::warn!(
                        "changing the host interface of session {}: {error}; making a new one",
                        session.machine.id()
                    );
                    session.host = None;
                    if session.machine.leads_back() {
                        self.stop_data();
                    }
                }
            }
        }
        let end = match &mut self.sessions[index].guest {
            Some(guest) => guest.bring_up(config)?,
            None => self.provider.bring_up(config)?,
        };
        let mut host = HeldHost::from(end);
        let outbox = self.shared.outbox.clone();
        host.control.watch(Box::new(move || {
            let _ = outbox.send(Message::HostChanged);
        }));
        let interface = host.control.interface();
        let news = host.control.attend();
        self.sessions[index].host = Some(host);
        self.tell_host_news(&interface.name, news);
        Ok(interface)
    }

    /// Maintains the configuration of all host interfaces.
    pub(super) fn attend_hosts(&mut self) {
        for index in 0..self.sessions.len() {
            let session = &mut self.sessions[index];
            let Some(host) = &mut session.host else {
                continue;
            };
            let news = host.control.attend();
            let interface = host.control.interface();
            let name = interface.name.clone();
            session.machine.host_changed(interface);
            self.tell_host_news(&name, news);
        }
    }

    fn tell_host_news(&mut self, interface: &str, news: Vec<HostNews>) {
        for news in news {
            self.tell(match news {
                HostNews::PutBack(text) => Event::Notice {
                    text: format!("{interface}: {text}"),
                },
                HostNews::Trouble(text) => Event::Diagnosis(Diagnosis::new(
                    DiagnosisKind::Host,
                    format!("{interface}: {text}"),
                )),
            });
        }
    }

    /// Puts a session on the data path, which session 0 starts. While it does not run, another
    /// session waits and is put there with the next start.
    fn session_data(&mut self, index: usize, addresses: &Addresses) -> Result<String, String> {
        let session = &self.sessions[index];
        let mut addressing = self.addressing(addresses, session.machine.link_families());
        let id = session.machine.id();
        // Only the datagrams of session 0 drive the healing of the layout.
        addressing.eager &= id == 0;
        let held = self.device.as_ref().ok_or("the device is gone")?;
        let plan = SessionPlan {
            id,
            stream: match id {
                0 => held.function.stream(),
                id => Stream::Ips(id),
            },
            host: Arc::clone(
                &session
                    .host
                    .as_ref()
                    .ok_or("the host interface is gone")?
                    .data,
            ),
            addressing,
            ack_filter: self.options.ack_filter,
            counters: Arc::clone(&session.counters),
        };
        let leads = session.machine.leads_back();
        let reactor = held.reactor().ok_or("the data thread is gone")?;
        match (held.data_running, leads) {
            (false, true) => return self.start_data(plan),
            (false, false) => {}
            (true, true) => reactor.set_addressing(id, plan.addressing),
            (true, false) => reactor.add_session(plan),
        }
        Ok("going on".into())
    }

    /// Deactivates the sessions that may be active, for a clean stop. The caller waits for the
    /// answers of the returned transactions.
    pub(super) fn end_sessions(&mut self) -> Vec<TransactionId> {
        let mut asked = Vec::new();
        for session in &self.sessions {
            if !session.machine.may_be_active() {
                continue;
            }
            let command = session.machine.deactivation();
            if let Ok(id) = start(&mut self.control_session, command, DISCONNECT_PATIENCE) {
                let session = session.machine.id();
                let ask = SessionAsk::Deactivate;
                self.asked
                    .insert(id, CommandOrigin::Session { id: session, ask });
                asked.push(id);
            }
        }
        asked
    }
}
