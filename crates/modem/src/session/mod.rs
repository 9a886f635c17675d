//! Data sessions. Each is brought up, watched, tried again and ended by a state machine without
//! I/O.
//!
//! The [ladder](crate::ladder) leads the modem to the packet service. From there each data session,
//! session 0 included, has rungs of its own:
//!
//! ```text
//! connect (is it active already? then end it; activate) → ip configuration → host → online
//! ```
//!
//! Inputs come with the time: answers and indications of the control session, results of the host
//! interface and the data path, timeouts. [`Step`]s go out. When the network refuses both address
//! families together, each is tried alone. A refusal is explained in the same words for every
//! session.
//!
//! Session 0 differs by its [`LossPolicy`]. Its rungs are reported as the last ones of the
//! bring-up, and its failures and losses lead the modem back to a rung. Every other session begins
//! when session 0 is online. A session that fails rests and tries again by itself, and leaves the
//! other sessions alone. While session 0 is down, the others rest, and their interfaces are kept.

mod command;
mod connect;
mod host;
mod link;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{
    self as bc, ActivationState, ConnectInfo, ContextIpType, IpConfiguration,
};
use uwwan_mbim::session::Command;
use uwwan_ncm::Framing;

use crate::addresses::{Given, Sizes};
use crate::diagnosis::{Diagnosis, DiagnosisKind};
use crate::event::{Event, SessionChange, SessionEvent};
use crate::explain;
use crate::failure::{Failure, Rung, TRIED_AGAIN};
use crate::host::{Ethernet, HostConfig};
use crate::ladder::{Input, Outcome};
use crate::options::SessionOptions;
use crate::quirks::Quirk;
use crate::status::{self, Addresses, Interface, SessionStatus};
use crate::watch::Verdict;

pub(crate) use command::SessionAsk;
use link::Link;
pub(crate) use link::LinkFamilies;

/// First pause of a resting session; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Longest pause of a resting session, and the pause after a failure that repetition alone will not
/// cure.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Time within which an activation has to end, from the command to the indication.
const ACTIVATION_PATIENCE: Duration = Duration::from_secs(190);
/// Pause before addresses are queried again.
const ADDRESS_PAUSE: Duration = Duration::from_secs(2);
/// Pause before the modem is queried again while the link is asked for addresses.
const ASK_PAUSE: Duration = Duration::from_secs(4);
/// Time within which the network has to give an address.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(25);
/// Time for which an activation that the modem is too busy for is repeated.
const BUSY_PATIENCE: Duration = Duration::from_secs(60);
/// Pause before such an activation is repeated.
const BUSY_PAUSE: Duration = Duration::from_secs(2);
/// Number of answers without addresses after which the link is asked for them: some firmware answers
/// before the network has given any.
const MOST_EMPTY: u32 = 3;
/// Number of times an unanswered query is sent.
const MOST_TRIES: u32 = 2;

/// Consequence of the failure or the loss of a data session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LossPolicy {
    /// The modem goes back to the rung that can cure it; its supervisor decides when.
    BackToRung,
    /// The session rests, longer with each failure, and tries again by itself.
    Rest,
}

/// State of the modem on which a data session depends.
#[derive(Debug, Clone)]
pub(crate) struct ModemFacts {
    /// Row of the quirk table for this modem.
    pub(crate) quirk: &'static Quirk,
    /// Sizes that bear on the MTU, in bytes.
    pub(crate) sizes: Sizes,
    /// Number of data sessions the modem has; 0 when it does not report that.
    pub(crate) max_sessions: u32,
    /// Settings of the host interface, where that carries Ethernet frames.
    pub(crate) ethernet: Option<Ethernet>,
    /// Whether the device is a plain network device, which has no connection to make and no
    /// addresses to give.
    pub(crate) plain: bool,
    /// Time at which the bring-up was begun.
    pub(crate) begun: Instant,
}

/// Step that a data session wants done.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Sends a command; the outcome goes to [`DataSession::answer`].
    Command {
        ask: SessionAsk,
        command: Command,
        timeout: Duration,
    },
    /// Sets the host interface up, or changes it; the result goes to [`DataSession::host`].
    Host(HostConfig),
    /// Puts the session on the data path, or gives the data path its addresses; the result goes to
    /// [`DataSession::data`].
    Data(Addresses),
    /// Sends a datagram of the driver's own.
    Inject(Vec<u8>),
    /// Takes the session off the data path.
    Off,
    /// Passes an event to the observer.
    Tell(Event),
    /// Leads the modem back to a rung, with an input for the ladder.
    Back(Input),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The session is down and waits for [`DataSession::start`].
    Down,
    /// The session waits for the answer to a command.
    Asking(SessionAsk),
    /// The modem has answered that it is activating; an indication follows.
    Activating,
    /// The modem was too busy to activate; it is asked again.
    Busy,
    /// There is no address yet; the query is repeated.
    Unaddressed,
    /// The host interface is being set up.
    Host,
    /// The session is being put on the data path.
    Data,
    /// The modem reports no addresses, and the link is asked for them.
    Configuring,
    /// Packets flow.
    Up,
    /// The session has failed, and is tried again at the deadline.
    Resting,
}

/// One data session; see the [module](self).
#[derive(Debug)]
pub(crate) struct DataSession {
    options: SessionOptions,
    policy: LossPolicy,
    facts: ModemFacts,
    state: State,
    steps: VecDeque<Step>,
    /// Time at which the rung being tried was begun.
    entered: Instant,
    /// Number of unanswered queries of this rung.
    tries: u32,
    /// Address family that the network is asked for.
    family: ContextIpType,
    families: VecDeque<ContextIpType>,
    /// First of several refusals, which is about what the user asked for.
    refusal: Option<Failure>,
    /// Number of answers to the query of this rung that had no addresses.
    empty: u32,
    /// The only family that the network gives, where it has reported that with the activation.
    only: Option<ContextIpType>,
    /// The modem's configuration, with the user's addresses in place of its own.
    told: Given,
    /// Configuration of the link, where the modem reports no addresses or none of one family.
    link: Option<Link>,
    /// Time at which addresses are queried again.
    poll_at: Option<Instant>,
    /// Time at which the modem is queried for addresses while the link is asked, too.
    ask_at: Option<Instant>,
    /// Time at which the rung fails or the rest is over.
    deadline: Option<Instant>,
    /// Number of failures since the session was last up.
    failures: u32,
    /// Whether the session was activated and no end of it was seen.
    active: bool,
    why: String,
    addresses: Option<Addresses>,
    interface: Option<Interface>,
}

impl DataSession {
    pub(crate) fn new(options: SessionOptions, policy: LossPolicy, now: Instant) -> Self {
        Self {
            options,
            policy,
            facts: ModemFacts {
                quirk: &crate::quirks::DEFAULT,
                sizes: Sizes::default(),
                max_sessions: 0,
                ethernet: None,
                plain: false,
                begun: now,
            },
            state: State::Down,
            steps: VecDeque::new(),
            entered: now,
            tries: 0,
            family: ContextIpType::DEFAULT,
            families: VecDeque::new(),
            refusal: None,
            empty: 0,
            only: None,
            told: Given::default(),
            link: None,
            poll_at: None,
            ask_at: None,
            deadline: None,
            failures: 0,
            active: false,
            why: "the modem is not online yet".into(),
            addresses: None,
            interface: None,
        }
    }

    /// Returns the MBIM session id.
    pub(crate) fn id(&self) -> u8 {
        self.options.id
    }

    /// Returns whether the loss of this session leads the modem back to a rung.
    pub(crate) fn leads_back(&self) -> bool {
        self.policy == LossPolicy::BackToRung
    }

    /// Begins to bring the session up, from one of its rungs. The rungs below must be reached. A
    /// session that is up stays up and is put on the data path again.
    pub(crate) fn start(&mut self, now: Instant, from: Rung, facts: ModemFacts) {
        self.facts = facts;
        match (self.state, &self.addresses) {
            (State::Up, Some(addresses)) => {
                return self.steps.push_back(Step::Data(addresses.clone()));
            }
            (State::Down | State::Resting | State::Up, _) => {}
            _ => return,
        }
        self.failures = 0;
        let most = self.facts.max_sessions;
        if most != 0 && u32::from(self.options.id) >= most {
            self.entered = now;
            let failure = explain::failure(
                Rung::Connect,
                true,
                format!("the modem has {most} sessions, numbered from 0"),
                "it takes no more at a time",
                "choose a lower number with --session",
            );
            return self.fail(now, failure, Rung::Connect);
        }
        if self.facts.plain {
            self.static_addresses();
        }
        self.enter(now, from);
    }

    /// Suspends the session until [`DataSession::start`], because the modem, its network or its
    /// control session is lost.
    pub(crate) fn rest(&mut self, why: &str) {
        if self.policy == LossPolicy::Rest {
            if self.state == State::Up {
                self.tell_offline(why.to_owned(), None);
            }
            self.addresses = None;
        }
        self.state = State::Down;
        self.steps.retain(|step| matches!(step, Step::Tell(_)));
        self.take_off();
        self.poll_at = None;
        self.ask_at = None;
        self.deadline = None;
        why.clone_into(&mut self.why);
    }

    /// Handles the failure of the host interface.
    pub(crate) fn host_lost(&mut self, now: Instant, why: &str) {
        self.interface = None;
        if matches!(
            self.state,
            State::Host | State::Data | State::Configuring | State::Up
        ) {
            let failure = explain::failure(
                Rung::Host,
                false,
                why.to_owned(),
                "its interface was taken away",
                "",
            );
            self.lose(now, failure, Rung::Host);
        }
    }

    pub(crate) fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Returns the time at which [`DataSession::timeout`] is to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let times = [self.poll_at, self.ask_at, self.deadline];
        times.into_iter().flatten().min()
    }

    /// Takes the step that is due at the time of [`DataSession::poll_timeout`].
    pub(crate) fn timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|at| now >= at) {
            self.deadline = None;
            return match self.state {
                State::Resting => self.enter(now, Rung::Connect),
                _ => self.overdue(now),
            };
        }
        if self.ask_at.is_some_and(|at| now >= at) {
            self.ask_at = Some(now + ASK_PAUSE);
            self.push_command(now, SessionAsk::Addresses);
        }
        if self.poll_at.is_some_and(|at| now >= at) {
            self.poll_at = None;
            match self.state {
                State::Busy => self.activate(now, self.family),
                State::Configuring | State::Up => self.link_timeout(now),
                _ => self.ask(now, SessionAsk::Addresses),
            }
        }
    }

    /// Fails the rung being tried, because it takes too long.
    fn overdue(&mut self, now: Instant) {
        let waited = now.duration_since(self.entered).as_secs();
        let failure = match self.rung() {
            Rung::Connect => explain::failure(
                Rung::Connect,
                false,
                format!("CONNECT: not activated in {waited} s"),
                "the network does not answer",
                "",
            ),
            _ => explain::failure(
                Rung::IpConfiguration,
                false,
                format!("no address in {waited} s"),
                "the network activated the session without giving an address",
                "try another --ip-type; check --apn with the operator",
            ),
        };
        self.fail(now, failure, Rung::Connect);
    }

    /// Returns whether the session may be active in the modem.
    pub(crate) fn may_be_active(&self) -> bool {
        self.active
    }

    /// Returns the command that deactivates the session.
    pub(crate) fn deactivation(&self) -> Command {
        command::deactivation(self.options.id.into())
    }

    /// Returns the session's status, without the traffic.
    pub(crate) fn status(&self) -> SessionStatus {
        SessionStatus {
            session: self.options.id,
            apn: self.options.apn.clone(),
            online: self.state == State::Up,
            state: match self.state {
                State::Down => status::State::Waiting,
                State::Resting => status::State::Failed,
                State::Up => status::State::Online,
                _ => status::State::Trying,
            },
            why: self.why.clone(),
            addresses: self.addresses.clone(),
            interface: self.interface.clone(),
            ..SessionStatus::default()
        }
    }

    /// Returns the rung being tried.
    fn rung(&self) -> Rung {
        match self.state {
            State::Asking(SessionAsk::Addresses) | State::Unaddressed | State::Configuring => {
                Rung::IpConfiguration
            }
            State::Host => Rung::Host,
            State::Data | State::Up => Rung::Online,
            _ => Rung::Connect,
        }
    }

    fn enter(&mut self, now: Instant, rung: Rung) {
        self.entered = now;
        self.tries = 0;
        self.poll_at = None;
        self.ask_at = None;
        self.deadline = None;
        if self.leads_back() {
            self.tell(Event::RungStarted { rung });
        }
        match rung {
            Rung::IpConfiguration => {
                self.empty = 0;
                self.told = Given::default();
                self.link = None;
                self.deadline = Some(now + ADDRESS_PATIENCE);
                self.ask(now, SessionAsk::Addresses);
            }
            Rung::Host => {
                self.state = State::Host;
                self.why = "setting up its interface".into();
                let config = self.host_config();
                self.steps.push_back(Step::Host(config));
            }
            Rung::Online => {
                self.state = State::Data;
                let addresses = self.addresses.clone().unwrap_or_default();
                self.steps.push_back(Step::Data(addresses));
            }
            _ => self.ask(now, SessionAsk::State),
        }
    }

    /// Reports that the rung being tried is reached.
    fn done(&mut self, now: Instant, detail: String) {
        if self.leads_back() {
            self.tell(Event::RungDone {
                rung: self.rung(),
                seconds: now.duration_since(self.entered).as_secs_f64(),
                detail,
            });
        }
    }

    fn ask(&mut self, now: Instant, ask: SessionAsk) {
        self.state = State::Asking(ask);
        self.why = ask.name().to_owned();
        self.push_command(now, ask);
    }

    fn push_command(&mut self, now: Instant, ask: SessionAsk) {
        match ask.command(&self.options, self.family) {
            Ok(command) => self.steps.push_back(Step::Command {
                ask,
                command,
                timeout: ask.timeout(),
            }),
            Err(failure) => {
                // The activation is the only command with a secret, and it was not sent.
                self.active = false;
                self.fail(now, explain::secret(Rung::Connect, failure), Rung::Connect);
            }
        }
    }

    /// Handles the outcome of a command.
    pub(crate) fn answer(&mut self, now: Instant, ask: SessionAsk, outcome: Outcome) {
        if self.state == State::Up
            && ask == SessionAsk::State
            && let Outcome::Done { info, .. } = &outcome
        {
            return self.may_have_ended(now, info);
        }
        if self.state == State::Configuring && ask == SessionAsk::Addresses {
            return self.addressed_late(now, &outcome);
        }
        if self.state != State::Asking(ask) {
            return;
        }
        match ask {
            SessionAsk::State => self.looked(now, &outcome),
            SessionAsk::Deactivate => self.activate_first(now),
            SessionAsk::Activate => self.activated(now, outcome),
            SessionAsk::Addresses => self.addressed(now, outcome),
        }
    }

    /// Handles an indication of the modem.
    pub(crate) fn indication(&mut self, now: Instant, id: CidId, info: &[u8]) {
        let ours = u32::from(self.options.id);
        if id == bc::CONNECT {
            if let Ok(connect) = ConnectInfo::decode(info)
                && connect.session_id == ours
            {
                match self.state {
                    State::Activating => self.connect_info(now, &connect),
                    State::Up => self.may_have_ended(now, info),
                    State::Asking(SessionAsk::Addresses)
                    | State::Unaddressed
                    | State::Configuring
                    | State::Host
                    | State::Data
                        if connect.activation_state == ActivationState::DEACTIVATED =>
                    {
                        self.ended_on_the_way(now, connect.nw_error);
                    }
                    _ => {}
                }
            }
        } else if id == bc::IP_CONFIGURATION
            && matches!(
                self.state,
                State::Up
                    | State::Unaddressed
                    | State::Configuring
                    | State::Asking(SessionAsk::Addresses)
            )
            && let Ok(configuration) = IpConfiguration::decode(info)
            && configuration.session_id == ours
        {
            self.given(now, &configuration);
        }
    }

    /// Returns the settings of the host interface, where that carries Ethernet frames.
    pub(crate) fn ethernet(&self) -> Option<&Ethernet> {
        self.facts.ethernet.as_ref()
    }

    /// Handles the data path's verdict whether anything comes back. With a plain network device
    /// nothing is reported, because the link may have no other station. `framing` is how packets go to
    /// the device, `link_up` what a modem with an Ethernet link says of that.
    pub(crate) fn judged(
        &mut self,
        now: Instant,
        verdict: Verdict,
        framing: &Framing,
        link_up: Option<bool>,
    ) {
        if self.facts.plain {
            return;
        }
        let (asked, ever) = match verdict {
            Verdict::NeverAnswered { asked } => (asked, false),
            Verdict::FellSilent { asked, .. } => (asked, true),
            Verdict::Answered => return,
            Verdict::Recovered => return self.tell_notice("packets come back".into()),
        };
        let apn = &self.options.apn;
        let text = explain::black_hole(asked, ever, framing, link_up, self.facts.quirk, apn);
        let text = self.named(text);
        let kind = DiagnosisKind::NothingComesBack;
        self.tell(Event::Diagnosis(Diagnosis::new(kind, text)));
        self.look_again(now);
    }

    /// Queries whether a silent session is still active: it may have ended without an indication.
    pub(crate) fn look_again(&mut self, now: Instant) {
        if self.state == State::Up && !self.facts.plain {
            self.push_command(now, SessionAsk::State);
        }
    }

    /// Fails the rung being tried; `from` is the rung from which it can be tried again.
    fn fail(&mut self, now: Instant, failure: Failure, from: Rung) {
        self.leave(failure.what.clone());
        match self.policy {
            LossPolicy::BackToRung => self.steps.push_back(Step::Back(Input::Failed {
                failure,
                from,
                after: now.duration_since(self.entered),
            })),
            LossPolicy::Rest => self.rest_after(now, &failure),
        }
    }

    /// Leads back to a rung of the ladder that has to be climbed again, in the same bring-up.
    fn detour(&mut self, now: Instant, failure: Failure, rung: Rung) {
        match self.policy {
            LossPolicy::BackToRung => {
                self.leave(failure.what.clone());
                self.steps.push_back(Step::Back(Input::Detour {
                    rung,
                    failure,
                    after: now.duration_since(self.entered),
                }));
            }
            LossPolicy::Rest => self.fail(now, failure, rung),
        }
    }

    /// Reports the loss of a session that was up; `from` is the rung from which it can be brought
    /// up.
    fn lose(&mut self, now: Instant, failure: Failure, from: Rung) {
        match self.policy {
            LossPolicy::BackToRung => {
                self.leave(failure.what.clone());
                self.steps.push_back(Step::Back(Input::Lost {
                    from,
                    why: failure.what,
                }));
            }
            LossPolicy::Rest => self.fail(now, failure, from),
        }
    }

    fn leave(&mut self, why: String) {
        self.state = State::Down;
        self.poll_at = None;
        self.ask_at = None;
        self.deadline = None;
        self.why = why;
    }

    /// Rests after a failure, longer each time, and reports the failure.
    fn rest_after(&mut self, now: Instant, failure: &Failure) {
        self.state = State::Resting;
        self.ask_at = None;
        self.addresses = None;
        let pause = if failure.fatal {
            LONGEST_PAUSE
        } else {
            LONGEST_PAUSE.min(FIRST_PAUSE * (1 << self.failures.min(6)))
        };
        self.failures += 1;
        self.deadline = Some(now + pause);
        self.take_off();
        let mut text = failure.what.clone();
        let failure = failure.clone().or_next(TRIED_AGAIN);
        for more in failure.why.iter().chain(&failure.next) {
            text.push_str(&format!("; {more}"));
        }
        self.tell_offline(text, Some(pause));
    }

    /// Takes the session off the data path. Session 0 stays, because the data path stops and starts
    /// with it.
    fn take_off(&mut self) {
        if !self.leads_back() {
            self.steps.push_back(Step::Off);
        }
    }

    fn tell(&mut self, event: Event) {
        self.steps.push_back(Step::Tell(event));
    }

    fn tell_notice(&mut self, text: String) {
        let text = self.named(text);
        self.tell(Event::Notice { text });
    }

    /// Reports that session 0 waits, at most as long as `patience` since the rung was begun.
    fn tell_waiting(&mut self, now: Instant, patience: Duration, text: &str) {
        if self.leads_back() {
            self.tell(Event::Waiting {
                rung: self.rung(),
                text: text.to_owned(),
                seconds: now.duration_since(self.entered).as_secs_f64(),
                limit_seconds: patience.as_secs_f64(),
            });
        }
    }

    /// Returns the text with the session that it is about, unless that is session 0.
    fn named(&self, text: String) -> String {
        match self.options.id {
            0 => text,
            id => format!("session {id}: {text}"),
        }
    }

    fn tell_change(&mut self, change: SessionChange) {
        self.tell(Event::Session(SessionEvent {
            session: self.options.id,
            change,
        }));
    }

    fn tell_online(&mut self, now: Instant) {
        let interface = self.interface.as_ref().map(|one| one.name.clone());
        let change = SessionChange::Online {
            interface: interface.unwrap_or_default(),
            text: self.addresses.as_ref().map(words).unwrap_or_default(),
            seconds: now.duration_since(self.facts.begun).as_secs_f64(),
        };
        self.tell_change(change);
    }

    fn tell_offline(&mut self, why: String, retry: Option<Duration>) {
        self.tell_change(SessionChange::Offline {
            why,
            retry_seconds: retry.map(|pause| pause.as_secs_f64()),
        });
    }
}

/// Returns the addresses in a few words.
fn words(addresses: &Addresses) -> String {
    format!("{}, MTU {}", addresses.list().join(", "), addresses.mtu)
}
