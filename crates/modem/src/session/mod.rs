//! Data sessions: each is brought up, watched, tried again and ended by a state machine without I/O.
//!
//! The [ladder](crate::ladder) leads the modem to the packet service. From there each data session,
//! session 0 included, has rungs of its own:
//!
//! ```text
//! connect (is it active already? then end it; activate) → ip configuration → host → online
//! ```
//!
//! What comes in has the time with it: answers and indications of the control session, results of the
//! host's end and the data path, timeouts. [`Step`]s go out. When the network refuses both address
//! families together, each is tried alone; what a refusal means is told in the same words for every
//! session.
//!
//! What sets session 0 apart is its [`LossPolicy`]. The modem stands and falls with it: its rungs are
//! told as the last ones of the bring-up, and failures and losses lead the modem back to a rung. Every
//! other session begins when session 0 is online. One that fails rests and tries again by itself, and
//! takes nothing else down; while session 0 is away it rests, with its interface kept.

mod command;
mod connect;
mod host;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{
    self as bc, ActivationState, ConnectInfo, ContextIpType, IpConfiguration,
};
use uwwan_mbim::session::Command;

use crate::addresses::Sizes;
use crate::event::{Event, SessionChange, SessionEvent};
use crate::explain;
use crate::failure::{Failure, Rung};
use crate::host::{Ethernet, HostConfig};
use crate::ladder::{Input, Outcome};
use crate::options::SessionOptions;
use crate::quirks::Quirk;
use crate::status::{Addresses, Interface, SessionStatus};
use crate::watch::Verdict;

pub(crate) use command::SessionAsk;

/// First pause of a resting session; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Longest pause of a resting session, and the pause after a failure that repetition alone will not
/// cure.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How long an activation may take, from the command to the indication that ends it.
const ACTIVATION_PATIENCE: Duration = Duration::from_secs(190);
/// Pause before addresses are asked for again.
const ADDRESS_PAUSE: Duration = Duration::from_secs(2);
/// How long the network may take to give an address.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(25);
/// How often a question is asked that is not answered.
const MOST_TRIES: u32 = 2;

/// What the failure or the loss of a data session means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LossPolicy {
    /// The modem goes back to the rung that can cure it; its supervisor says when.
    BackToRung,
    /// The session rests, longer with each failure, and tries again by itself.
    Rest,
}

/// What a data session stands on.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// What is known of this modem.
    pub(crate) quirk: &'static Quirk,
    /// What bears on the MTU.
    pub(crate) sizes: Sizes,
    /// Data sessions the modem has; 0 when it does not tell.
    pub(crate) max_sessions: u32,
    /// With a plain network device: what the host's end is to look like.
    pub(crate) ethernet: Option<Ethernet>,
    /// When the bring-up was begun.
    pub(crate) begun: Instant,
}

/// What a data session wants done.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Send a command and answer with [`DataSession::answer`].
    Command {
        ask: SessionAsk,
        command: Command,
        timeout: Duration,
    },
    /// Set the host's end up, or change it; answer with [`DataSession::host`].
    Host(HostConfig),
    /// Put the session on the data path, or tell the data path its new addresses; answer with
    /// [`DataSession::data`].
    Data(Addresses),
    /// Take the session off the data path.
    Off,
    /// Tell the program.
    Tell(Event),
    /// Lead the modem back to a rung: an input for the ladder.
    Back(Input),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is wanted.
    Down,
    /// The answer to a question is waited for.
    Asking(SessionAsk),
    /// "Activating" was answered; an indication will say more.
    Activating,
    /// There is no address yet; it is asked for again.
    Unaddressed,
    /// The host's end is being set up.
    Host,
    /// The session is being put on the data path.
    Data,
    /// Packets flow.
    Up,
    /// The session has failed, and is tried again at the deadline.
    Resting,
}

/// One data session. See the [module](self).
#[derive(Debug)]
pub(crate) struct DataSession {
    options: SessionOptions,
    policy: LossPolicy,
    ground: Ground,
    state: State,
    steps: VecDeque<Step>,
    /// When the rung being tried was begun.
    entered: Instant,
    /// Questions of this rung without an answer.
    tries: u32,
    /// The address family asked for, and those to try when it is refused.
    family: ContextIpType,
    families: VecDeque<ContextIpType>,
    /// The first of several refusals: it is about what the user asked for.
    refusal: Option<Failure>,
    /// Ask for addresses again then.
    poll_at: Option<Instant>,
    /// The rung fails then, or the rest is over.
    deadline: Option<Instant>,
    /// Failures since it was last up.
    failures: u32,
    /// It was activated, and has not been seen to end.
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
            ground: Ground {
                quirk: &crate::quirks::DEFAULT,
                sizes: Sizes::default(),
                max_sessions: 0,
                ethernet: None,
                begun: now,
            },
            state: State::Down,
            steps: VecDeque::new(),
            entered: now,
            tries: 0,
            family: ContextIpType::DEFAULT,
            families: VecDeque::new(),
            refusal: None,
            poll_at: None,
            deadline: None,
            failures: 0,
            active: false,
            why: "the modem is not online yet".into(),
            addresses: None,
            interface: None,
        }
    }

    /// Number of the session.
    pub(crate) fn id(&self) -> u8 {
        self.options.id
    }

    /// Whether the modem stands and falls with this session.
    pub(crate) fn leads_back(&self) -> bool {
        self.policy == LossPolicy::BackToRung
    }

    /// Begins to bring the session up, from one of its rungs. What is below it must be standing. A
    /// session that is up stays up, and is put on the data path again.
    pub(crate) fn start(&mut self, now: Instant, from: Rung, ground: Ground) {
        self.ground = ground;
        match (self.state, &self.addresses) {
            (State::Up, Some(addresses)) => {
                return self.steps.push_back(Step::Data(addresses.clone()));
            }
            (State::Down | State::Resting | State::Up, _) => {}
            _ => return,
        }
        self.failures = 0;
        let most = self.ground.max_sessions;
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
        if self.ground.ethernet.is_some() {
            self.static_addresses();
        }
        self.enter(now, from);
    }

    /// The modem, its network or its control session is gone: nothing is wanted until
    /// [`DataSession::start`].
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
        self.deadline = None;
        why.clone_into(&mut self.why);
    }

    /// The host's end failed.
    pub(crate) fn host_lost(&mut self, now: Instant, why: &str) {
        self.interface = None;
        if matches!(self.state, State::Host | State::Data | State::Up) {
            let failure = explain::failure(
                Rung::Host,
                false,
                why.to_owned(),
                "its interface was taken away",
                "nothing: it is made anew",
            );
            self.lose(now, failure, Rung::Host);
        }
    }

    pub(crate) fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// When [`DataSession::timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.poll_at.into_iter().chain(self.deadline).min()
    }

    /// The time of [`DataSession::poll_timeout`] has come.
    pub(crate) fn timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|at| now >= at) {
            self.deadline = None;
            return match self.state {
                State::Resting => self.enter(now, Rung::Connect),
                _ => self.overdue(now),
            };
        }
        if self.poll_at.is_some_and(|at| now >= at) {
            self.poll_at = None;
            self.ask(SessionAsk::Addresses);
        }
    }

    /// The rung being tried takes too long.
    fn overdue(&mut self, now: Instant) {
        let waited = now.duration_since(self.entered).as_secs();
        let failure = match self.rung() {
            Rung::Connect => explain::failure(
                Rung::Connect,
                false,
                format!("CONNECT: not activated in {waited} s"),
                "the network does not answer",
                "nothing: it is tried again",
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

    /// Whether the session may be active in the modem.
    pub(crate) fn may_be_active(&self) -> bool {
        self.active
    }

    /// The command that ends the session.
    pub(crate) fn deactivation(&self) -> Command {
        SessionAsk::Deactivate.command(&self.options, self.family)
    }

    /// The session as `status` tells it, but for what it has carried.
    pub(crate) fn status(&self) -> SessionStatus {
        SessionStatus {
            session: self.options.id,
            apn: self.options.apn.clone(),
            online: self.state == State::Up,
            why: self.why.clone(),
            addresses: self.addresses.clone(),
            interface: self.interface.clone(),
            ..SessionStatus::default()
        }
    }

    /// The rung being tried.
    fn rung(&self) -> Rung {
        match self.state {
            State::Asking(SessionAsk::Addresses) | State::Unaddressed => Rung::IpConfiguration,
            State::Host => Rung::Host,
            State::Data | State::Up => Rung::Online,
            _ => Rung::Connect,
        }
    }

    fn enter(&mut self, now: Instant, rung: Rung) {
        self.entered = now;
        self.tries = 0;
        self.poll_at = None;
        self.deadline = None;
        if self.leads_back() {
            self.tell(Event::RungStarted { rung });
        }
        match rung {
            Rung::IpConfiguration => {
                self.deadline = Some(now + ADDRESS_PATIENCE);
                self.ask(SessionAsk::Addresses);
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
            _ => self.ask(SessionAsk::State),
        }
    }

    /// The rung being tried is reached.
    fn done(&mut self, now: Instant, detail: String) {
        if self.leads_back() {
            self.tell(Event::RungDone {
                rung: self.rung(),
                seconds: now.duration_since(self.entered).as_secs_f64(),
                detail,
            });
        }
    }

    fn ask(&mut self, ask: SessionAsk) {
        self.state = State::Asking(ask);
        self.why = ask.name().to_owned();
        self.push_command(ask);
    }

    fn push_command(&mut self, ask: SessionAsk) {
        self.steps.push_back(Step::Command {
            ask,
            command: ask.command(&self.options, self.family),
            timeout: ask.timeout(),
        });
    }

    /// A command ended.
    pub(crate) fn answer(&mut self, now: Instant, ask: SessionAsk, outcome: Outcome) {
        if self.state == State::Up
            && ask == SessionAsk::State
            && let Outcome::Done { info, .. } = &outcome
        {
            return self.may_have_ended(now, info);
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

    /// An indication came.
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
                State::Up | State::Unaddressed | State::Asking(SessionAsk::Addresses)
            )
            && let Ok(configuration) = IpConfiguration::decode(info)
            && configuration.session_id == ours
        {
            self.poll_at = None;
            self.given(now, &configuration);
        }
    }

    /// The data path has judged whether anything comes back. `front` and `ntb32` are the layout of the
    /// NTBs to the device: NDP in front, 32-bit format.
    pub(crate) fn judged(&mut self, verdict: Verdict, front: bool, ntb32: bool) {
        let (asked, ever) = match verdict {
            Verdict::NeverAnswered { asked } => (asked, false),
            Verdict::FellSilent { asked } => (asked, true),
            Verdict::Recovered => return self.tell_notice("packets come back".into()),
        };
        let apn = &self.options.apn;
        let text = explain::black_hole(asked, ever, front, self.ground.quirk, ntb32, apn);
        let text = self.named(text);
        self.tell(Event::Diagnosis { text });
        if self.state == State::Up && self.ground.ethernet.is_none() {
            // It may have ended without a word.
            self.push_command(SessionAsk::State);
        }
    }

    /// A rung failed; `from` is where it can be tried again.
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

    /// A rung of the ladder does not hold any more: it is climbed again.
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

    /// The session was up and is no more; `from` is where it can be brought up again.
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
        self.deadline = None;
        self.why = why;
    }

    /// Rests after a failure, longer each time.
    fn rest_after(&mut self, now: Instant, failure: &Failure) {
        self.state = State::Resting;
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
        for more in failure.why.iter().chain(&failure.next) {
            text.push_str(&format!("; {more}"));
        }
        self.tell_offline(text, Some(pause));
    }

    /// Takes the session off the data path. That is session 0's as a whole: it goes on, and stands
    /// still with it.
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

    /// The text with the session it is about; of session 0 nobody needs to be told that.
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
            seconds: now.duration_since(self.ground.begun).as_secs_f64(),
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

/// The addresses in a few words.
fn words(addresses: &Addresses) -> String {
    format!("{}, MTU {}", addresses.list().join(", "), addresses.mtu)
}
