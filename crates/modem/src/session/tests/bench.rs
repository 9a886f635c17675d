//! Modem with packet service for a session 0, whose answers the test gives.

use std::collections::HashMap;

use super::*;

pub(super) fn good(info: Vec<u8>) -> Outcome {
    Outcome::Done {
        status: Status::NONE,
        info,
    }
}

pub(super) fn status(status: Status, info: Vec<u8>) -> Outcome {
    Outcome::Done { status, info }
}

pub(super) fn connect(state: ActivationState, cause: NwError) -> Vec<u8> {
    super::connect(0, state, cause)
}

pub(super) fn ip(v4: bool, v6: bool) -> Vec<u8> {
    IpConfiguration {
        ipv4_address: v4
            .then(|| Ipv4Element {
                on_link_prefix_length: 30,
                ipv4_address: [10, 169, 198, 77].into(),
            })
            .into_iter()
            .collect(),
        ipv4_gateway: v4.then(|| [10, 169, 198, 78].into()),
        ipv6_address: v6
            .then(|| Ipv6Element {
                on_link_prefix_length: 64,
                ipv6_address: "2001:db8::77".parse().unwrap(),
            })
            .into_iter()
            .collect(),
        ipv4_mtu: 1500,
        ..IpConfiguration::default()
    }
    .encode()
}

/// Modem with packet service that answers as the script says, and with success to all other
/// commands.
pub(super) struct Bench {
    pub(super) session: DataSession,
    pub(super) now: Instant,
    pub(super) facts: ModemFacts,
    pub(super) script: HashMap<SessionAsk, VecDeque<Outcome>>,
    /// Failure of the next attempt to set the host interface up; without one it succeeds.
    pub(super) host: Option<Failure>,
    pub(super) log: Vec<String>,
    pub(super) asked: Vec<SessionAsk>,
    pub(super) families: Vec<ContextIpType>,
    pub(super) addresses: Option<Addresses>,
    /// Number of datagrams of the driver's own.
    pub(super) injected: usize,
    pub(super) online: bool,
    /// Input that leads the modem back to a rung.
    pub(super) back: Option<Input>,
}

impl Bench {
    pub(super) fn new(options: SessionOptions) -> Self {
        let now = Instant::now();
        Self {
            session: DataSession::new(options, LossPolicy::BackToRung, now),
            now,
            facts: facts(now),
            script: HashMap::new(),
            host: None,
            log: Vec::new(),
            asked: Vec::new(),
            families: Vec::new(),
            addresses: None,
            injected: 0,
            online: false,
            back: None,
        }
    }

    pub(super) fn answers(
        mut self,
        ask: SessionAsk,
        outcomes: impl IntoIterator<Item = Outcome>,
    ) -> Self {
        self.script.insert(ask, outcomes.into_iter().collect());
        self
    }

    fn usual(ask: SessionAsk) -> Outcome {
        good(match ask {
            SessionAsk::State | SessionAsk::Deactivate => {
                connect(ActivationState::UNKNOWN, NwError::NONE)
            }
            SessionAsk::Activate => connect(ActivationState::ACTIVATED, NwError::NONE),
            SessionAsk::Addresses => ip(true, true),
        })
    }

    pub(super) fn climb(mut self) -> Self {
        self.start(Rung::Connect);
        self.run();
        self
    }

    pub(super) fn start(&mut self, from: Rung) {
        self.session.start(self.now, from, self.facts.clone());
    }

    /// Runs until the session is online or leads back.
    pub(super) fn run(&mut self) {
        self.back = None;
        self.online = false;
        for _ in 0..2000 {
            self.work();
            if self.back.is_some() || self.online {
                return;
            }
            self.pass();
        }
        panic!("climbs for ever: {:#?}", self.log);
    }

    /// Lets the time pass until the session's next timeout.
    pub(super) fn pass(&mut self) {
        let at = self.session.poll_timeout().expect("waits for nothing");
        self.now = self.now.max(at);
        self.session.timeout(self.now);
    }

    pub(super) fn work(&mut self) {
        while let Some(step) = self.session.next_step() {
            self.perform(step);
        }
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Command {
                ask,
                command,
                timeout,
            } => {
                self.asked.push(ask);
                self.log.push(ask.name().into());
                if ask == SessionAsk::Activate {
                    self.families
                        .push(ConnectSet::decode(&command.info).unwrap().ip_type);
                }
                let scripted = self.script.get_mut(&ask).and_then(VecDeque::pop_front);
                let outcome = scripted.unwrap_or_else(|| Self::usual(ask));
                if outcome == Outcome::NoAnswer {
                    self.now += timeout;
                }
                self.session.answer(self.now, ask, outcome);
            }
            Step::Host(config) => {
                self.log
                    .push(format!("host {}", config.addresses.list().join(" ")));
                let interface = Interface {
                    name: "wwan0".into(),
                    ..Interface::default()
                };
                let result = self.host.take().map_or(Ok(interface), Err);
                self.session.host(self.now, result);
            }
            Step::Data(_) => {
                self.log.push("data".into());
                self.session.data(self.now, Ok(String::new()));
            }
            Step::Tell(Event::RungDone { rung, detail, .. }) => {
                self.log.push(format!("* {rung}: {detail}"));
            }
            Step::Tell(Event::Notice { text }) => self.log.push(format!("! {text}")),
            Step::Tell(Event::Session(SessionEvent { session, change })) => {
                assert_eq!(session, 0);
                match change {
                    SessionChange::Addresses(addresses) => self.addresses = Some(addresses),
                    SessionChange::Online { .. } => self.online = true,
                    SessionChange::Offline { .. } => panic!("it leads the modem back"),
                }
            }
            Step::Inject(_) => self.injected += 1,
            Step::Tell(_) => {}
            Step::Back(input) => self.back = Some(input),
            Step::Off => panic!("the data path is its"),
        }
    }

    /// Returns the failure and the rung to try again from.
    pub(super) fn failed(&self) -> (&Failure, Rung) {
        match &self.back {
            Some(Input::Failed { failure, from, .. }) => (failure, *from),
            other => panic!("no failure but {other:?}: {:#?}", self.log),
        }
    }

    pub(super) fn failure(&self) -> &Failure {
        self.failed().0
    }

    pub(super) fn count(&self, ask: SessionAsk) -> usize {
        self.asked.iter().filter(|asked| **asked == ask).count()
    }

    pub(super) fn indicate(&mut self, id: CidId, info: &[u8]) {
        self.session.indication(self.now, id, info);
        self.work();
    }

    /// Lets a router advertise the prefix 2001:db8:1:2::/64.
    pub(super) fn advertise(&mut self) {
        let datagram = crate::session::link::advertisement("2001:db8:1:2::");
        self.session.link_answer(self.now, &datagram);
        self.work();
    }

    pub(super) fn said(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.contains(text))
    }
}
