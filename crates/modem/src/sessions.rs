//! Data sessions beside session 0: each a small state machine without I/O.
//!
//! Session 0 is the ladder's. When that is online, every further session is brought up beside it,
//! on the same data path: CONNECT, addresses, its own host's end. A further session that fails is
//! tried again after a while and takes nothing else down; when the modem goes, all rest until
//! session 0 is online again, with their interfaces kept.
//!
//! ```text
//! down → looking (is it active already?) → ending → activating → configuring → host → up
//!                                   any failure → resting → looking
//! ```

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{
    self as bc, ActivationState, ConnectInfo, ContextIpType, IpConfiguration,
};
use uwwan_mbim::session::Command;
use uwwan_mbim::status::{NwError, Status};

use crate::addresses::{self, Given, Sizes};
use crate::event::Event;
use crate::explain;
use crate::failure::{Failure, Rung};
use crate::host::{HostConfig, HostError};
use crate::ladder::connect::{family_name, is_about_family, singles, wanted_family};
use crate::ladder::{Outcome, ask};
use crate::options::SessionOptions;
use crate::quirks::Quirk;
use crate::status::{Addresses, Interface, SessionStatus};

/// First pause after a failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Longest pause after a failure, and the pause after one that repetition alone will not cure.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Pause before addresses are asked for again.
const ADDRESS_PAUSE: Duration = Duration::from_secs(2);
/// Patience for addresses.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(25);
/// Patience for an activation that was answered with "activating".
const ACTIVATION_PATIENCE: Duration = Duration::from_secs(60);

/// What a further session asks; ties an answer to the state that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Whether it is active.
    State,
    /// To end it.
    End,
    /// To begin it.
    Begin,
    /// Its addresses.
    Addresses,
}

impl Asked {
    fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::State => 10,
            Self::End | Self::Addresses => 60,
            Self::Begin => 180,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::State => "CONNECT query",
            Self::End => "CONNECT deactivate",
            Self::Begin => "CONNECT activate",
            Self::Addresses => "IP_CONFIGURATION query",
        }
    }
}

/// What is to be done for a further session.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Send a command and answer with [`Further::answer`].
    Command {
        asked: Asked,
        command: Command,
        timeout: Duration,
    },
    /// Set its host's end up, or change it; answer with [`Further::host`].
    Host(HostConfig),
    /// Put it on the data path, or tell the data path its new addresses.
    Data(Addresses),
    /// Take it off the data path.
    Off,
    /// Tell the program.
    Tell(Event),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not wanted: the modem is not online.
    Down,
    /// The answer to a question is waited for.
    Asking(Asked),
    /// "Activating" was answered; an indication will say more.
    Awaiting,
    /// Its host's end is being set up.
    Host,
    /// Packets flow.
    Up,
    /// It has failed, and is tried again at the deadline.
    Resting,
}

/// One data session beside session 0.
#[derive(Debug)]
pub(crate) struct Further {
    options: SessionOptions,
    quirk: &'static Quirk,
    sizes: Sizes,
    state: State,
    steps: VecDeque<Step>,
    family: ContextIpType,
    families: VecDeque<ContextIpType>,
    /// The first of several refusals: it is about what the user asked for.
    refusal: Option<Failure>,
    /// Ask for addresses again then.
    poll_at: Option<Instant>,
    /// The state fails then, or is left when resting.
    deadline: Option<Instant>,
    failures: u32,
    why: String,
    addresses: Option<Addresses>,
    interface: Option<Interface>,
}

impl Further {
    pub(crate) fn new(options: SessionOptions) -> Self {
        Self {
            options,
            quirk: &crate::quirks::DEFAULT,
            sizes: Sizes::default(),
            state: State::Down,
            steps: VecDeque::new(),
            family: ContextIpType::DEFAULT,
            families: VecDeque::new(),
            refusal: None,
            poll_at: None,
            deadline: None,
            failures: 0,
            why: "session 0 is not online yet".into(),
            addresses: None,
            interface: None,
        }
    }

    pub(crate) fn id(&self) -> u8 {
        self.options.id
    }

    /// Session 0 is online: this one is wanted, too. One that is up stays so, and is put on the
    /// data path again.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        quirk: &'static Quirk,
        sizes: Sizes,
        max_sessions: u32,
    ) {
        self.quirk = quirk;
        self.sizes = Sizes {
            chosen: self.options.mtu.or(sizes.chosen),
            ..sizes
        };
        if max_sessions != 0 && u32::from(self.options.id) >= max_sessions {
            let failure = explain::failure(
                Rung::Connect,
                true,
                format!("the modem has {max_sessions} sessions, numbered from 0"),
                "it takes no more at a time",
                "choose a lower number with --session",
            );
            return self.fail(now, &failure);
        }
        match (self.state, &self.addresses) {
            (State::Up, Some(addresses)) => self.steps.push_back(Step::Data(addresses.clone())),
            (State::Down | State::Resting | State::Up, _) => {
                self.failures = 0;
                self.look();
            }
            _ => {}
        }
    }

    /// The modem, its network or its control session is gone: nothing is wanted until
    /// [`Further::start`].
    pub(crate) fn rest(&mut self, why: &str) {
        if self.state == State::Up {
            self.tell(false, why.to_owned(), None);
        }
        self.state = State::Down;
        self.steps.retain(|step| matches!(step, Step::Tell(_)));
        self.steps.push_back(Step::Off);
        self.poll_at = None;
        self.deadline = None;
        why.clone_into(&mut self.why);
    }

    /// Its host's end failed.
    pub(crate) fn host_lost(&mut self, now: Instant, why: &str) {
        self.interface = None;
        let failure = explain::failure(
            Rung::Host,
            false,
            why.to_owned(),
            "its interface was taken away",
            "nothing: it is made anew",
        );
        self.fail(now, &failure);
    }

    pub(crate) fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.poll_at.into_iter().chain(self.deadline).min()
    }

    /// The time of [`Further::poll_timeout`] has come.
    pub(crate) fn timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|at| now >= at) {
            self.deadline = None;
            match self.state {
                State::Resting => return self.look(),
                State::Awaiting | State::Asking(Asked::Addresses) => {
                    self.poll_at = None;
                    let what = match self.state {
                        State::Awaiting => "CONNECT: not activated in time",
                        _ => "no address in time",
                    };
                    let failure = explain::failure(
                        Rung::Connect,
                        false,
                        what.into(),
                        "the network does not answer, or gives no address",
                        "nothing: it is tried again",
                    );
                    return self.fail(now, &failure);
                }
                _ => {}
            }
        }
        if self.poll_at.is_some_and(|at| now >= at) {
            self.poll_at = None;
            self.ask(Asked::Addresses);
        }
    }

    /// Whether it may be active in the modem.
    pub(crate) fn may_be_active(&self) -> bool {
        !matches!(
            self.state,
            State::Down | State::Resting | State::Asking(Asked::State)
        )
    }

    /// The command that ends it.
    pub(crate) fn end(&self) -> Command {
        ask::deactivate(self.options.id)
    }

    pub(crate) fn status(&self) -> SessionStatus {
        let up = self.state == State::Up;
        SessionStatus {
            session: self.options.id,
            apn: self.options.apn.clone(),
            online: up,
            why: self.why.clone(),
            addresses: self.addresses.clone().filter(|_| up),
            interface: self.interface.clone(),
            ..SessionStatus::default()
        }
    }

    fn ask(&mut self, asked: Asked) {
        let id = self.options.id;
        let command = match asked {
            Asked::State => ask::connect_state(id),
            Asked::End => ask::deactivate(id),
            Asked::Begin => ask::activate(&self.options, self.family),
            Asked::Addresses => ask::ip_configuration(id),
        };
        self.state = State::Asking(asked);
        self.why = asked.name().to_owned();
        self.steps.push_back(Step::Command {
            asked,
            command,
            timeout: asked.timeout(),
        });
    }

    fn look(&mut self) {
        self.deadline = None;
        self.ask(Asked::State);
    }

    fn begin(&mut self) {
        self.refusal = None;
        self.families.clear();
        self.family = wanted_family(self.options.ip_type);
        self.ask(Asked::Begin);
    }

    /// A command ended.
    pub(crate) fn answer(&mut self, now: Instant, asked: Asked, outcome: Outcome) {
        if self.state != State::Asking(asked) {
            return;
        }
        match (asked, outcome) {
            (Asked::State, Outcome::Done { info, .. }) => {
                let active = ConnectInfo::decode(&info).is_ok_and(|connect| {
                    connect.session_id == u32::from(self.options.id)
                        && matches!(
                            connect.activation_state,
                            ActivationState::ACTIVATED | ActivationState::ACTIVATING
                        )
                });
                if active {
                    // Of an earlier program: with whose APN is not known.
                    self.ask(Asked::End);
                } else {
                    self.begin();
                }
            }
            // Some firmware has no word on a session that was never active.
            (Asked::State | Asked::End, _) => self.begin(),
            (Asked::Begin, Outcome::Done { status, info }) => {
                let connect = ConnectInfo::decode(&info).ok();
                match connect {
                    Some(connect) if status.is_success() => self.connected(now, &connect),
                    connect => self.refused(now, status, connect.map(|connect| connect.nw_error)),
                }
            }
            (Asked::Addresses, Outcome::Done { status, info }) if status.is_success() => {
                match IpConfiguration::decode(&info) {
                    Ok(configuration) => self.given(now, &configuration),
                    Err(error) => {
                        let failure =
                            explain::bad_answer(Rung::IpConfiguration, asked.name(), &error);
                        self.fail(now, &failure);
                    }
                }
            }
            (Asked::Addresses, Outcome::Done { status, .. }) => {
                let failure = explain::status(Rung::IpConfiguration, asked.name(), status, None);
                self.fail(now, &failure);
            }
            (asked, Outcome::Refused(why)) => {
                let failure = explain::bad_answer(Rung::Connect, asked.name(), &why);
                self.fail(now, &failure);
            }
            (asked, Outcome::NoAnswer) => {
                let seconds = asked.timeout().as_secs();
                let failure = explain::no_answer(Rung::Connect, asked.name(), seconds);
                self.fail(now, &failure);
            }
        }
    }

    fn connected(&mut self, now: Instant, connect: &ConnectInfo) {
        match connect.activation_state {
            ActivationState::ACTIVATED => {
                self.deadline = Some(now + ADDRESS_PATIENCE);
                self.ask(Asked::Addresses);
            }
            ActivationState::ACTIVATING => {
                self.state = State::Awaiting;
                self.deadline = Some(now + ACTIVATION_PATIENCE);
            }
            _ => self.refused(now, Status::FAILURE, Some(connect.nw_error)),
        }
    }

    fn refused(&mut self, now: Instant, status: Status, network: Option<NwError>) {
        let what = format!("CONNECT ({})", family_name(self.family));
        let cause = network.map_or(0, |cause| cause.0);
        let family = is_about_family(status, cause);
        if self.family == ContextIpType::IPV4V6 && family {
            self.families = singles(cause).iter().copied().collect();
        }
        let failure = if status == Status::NO_DEVICE_SUPPORT && self.family == ContextIpType::IPV6 {
            explain::ipv6_refused(&what, self.quirk)
        } else {
            explain::status(Rung::Connect, &what, status, network)
        };
        if family && let Some(next) = self.families.pop_front() {
            self.refusal.get_or_insert(failure);
            self.family = next;
            return self.ask(Asked::Begin);
        }
        let failure = self.refusal.take().unwrap_or(failure);
        self.fail(now, &failure);
    }

    fn given(&mut self, now: Instant, configuration: &IpConfiguration) {
        let addresses = addresses::settle(&Given::from(configuration), self.sizes);
        if addresses.list().is_empty() {
            if self.state != State::Up {
                self.poll_at = Some(now + ADDRESS_PAUSE);
            }
            return;
        }
        if self.state == State::Up && self.addresses.as_ref() == Some(&addresses) {
            return;
        }
        self.poll_at = None;
        self.deadline = None;
        self.state = State::Host;
        self.why = "setting up its interface".into();
        self.steps.push_back(Step::Host(HostConfig {
            addresses: addresses.clone(),
            name: self.options.tun_name.clone(),
            tun_mode: self.options.tun_mode,
            routes: self.options.routes.clone(),
            route_metric: self.options.route_metric,
            dns: self.options.dns,
            ethernet: None,
        }));
        self.addresses = Some(addresses);
    }

    /// Its host's end is set up, or not.
    pub(crate) fn host(&mut self, now: Instant, result: Result<Interface, HostError>) {
        if self.state != State::Host {
            return;
        }
        match result {
            Ok(interface) => {
                self.state = State::Up;
                self.failures = 0;
                self.why = "online".into();
                self.interface = Some(interface);
                let addresses = self.addresses.clone().unwrap_or_default();
                let text = format!("{}, MTU {}", addresses.list().join(", "), addresses.mtu);
                self.steps.push_back(Step::Data(addresses));
                self.tell(true, text, None);
            }
            Err(error) => self.fail(now, &explain::host(&error)),
        }
    }

    /// An indication came.
    pub(crate) fn indication(&mut self, now: Instant, id: CidId, info: &[u8]) {
        let ours = u32::from(self.options.id);
        if id == bc::CONNECT
            && let Ok(connect) = ConnectInfo::decode(info)
            && connect.session_id == ours
        {
            match self.state {
                State::Awaiting => self.connected(now, &connect),
                State::Up | State::Host | State::Asking(Asked::Addresses)
                    if connect.activation_state == ActivationState::DEACTIVATED =>
                {
                    let mut what = "the network has ended the session".to_owned();
                    if connect.nw_error.0 != 0 {
                        what.push_str(&format!(
                            ": {} ({})",
                            connect.nw_error,
                            connect.nw_error.explanation()
                        ));
                    }
                    let failure = explain::failure(Rung::Connect, false, what, "", "");
                    self.fail(now, &failure);
                }
                _ => {}
            }
        } else if id == bc::IP_CONFIGURATION
            && matches!(self.state, State::Up | State::Asking(Asked::Addresses))
            && let Ok(configuration) = IpConfiguration::decode(info)
            && configuration.session_id == ours
        {
            self.given(now, &configuration);
        }
    }

    fn fail(&mut self, now: Instant, failure: &Failure) {
        self.state = State::Resting;
        self.poll_at = None;
        let pause = if failure.fatal {
            LONGEST_PAUSE
        } else {
            LONGEST_PAUSE.min(FIRST_PAUSE * (1 << self.failures.min(6)))
        };
        self.failures += 1;
        self.deadline = Some(now + pause);
        self.why.clone_from(&failure.what);
        self.steps.push_back(Step::Off);
        let mut text = failure.what.clone();
        if !failure.cause.is_empty() {
            text.push_str(&format!("; {}", failure.cause));
        }
        if !failure.next.is_empty() {
            text.push_str(&format!("; {}", failure.next));
        }
        self.tell(false, text, Some(pause));
    }

    fn tell(&mut self, online: bool, text: String, retry: Option<Duration>) {
        let interface = self.interface.as_ref().filter(|_| online);
        self.steps.push_back(Step::Tell(Event::Session {
            session: self.options.id,
            online,
            interface: interface.map(|one| one.name.clone()).unwrap_or_default(),
            text,
            retry_seconds: retry.map(|pause| pause.as_secs_f64()),
        }));
    }
}
