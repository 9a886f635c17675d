//! Entering and leaving of rungs, and the handling of answers and timeouts.

use std::time::{Duration, Instant};

use uwwan_mbim::session::Command;

use super::{
    Action, Ask, Input, KEEPALIVE, Ladder, Lock, MOST_DETOURS, MOST_UNANSWERED, Outcome, PATIENCE,
    PAUSE, REGISTRATION_PATIENCE, STARTING, UsbStep, ask, passes, seconds,
};
use crate::event::Event;
use crate::explain;
use crate::failure::{Failure, Rung};
use crate::options::Order;

impl Ladder {
    pub(super) fn enter(&mut self, now: Instant, rung: Rung) {
        if !self.has(rung) {
            return self.climbed(rung.max(self.session_rung()));
        }
        self.rung = rung;
        self.entered = now;
        self.expects = None;
        self.poll_at = None;
        self.deadline = None;
        self.tries = 0;
        self.missing = 0;
        self.radio_refusal = None;
        self.unlocking = None;
        self.actions
            .push_back(Action::Tell(Event::RungStarted { rung }));
        let usb = |step| Action::Usb(step);
        match rung {
            Rung::Found => self.actions.push_back(usb(UsbStep::Find)),
            Rung::Configuration => {
                let settle = self.options.settle.unwrap_or(self.quirk.settle);
                // A function that did not answer OPEN gets a longer pause.
                let step = UsbStep::Switch {
                    settle: settle + Duration::from_secs(self.open_stage.into()),
                    always: self.quirk.recycle || self.open_stage > 0,
                };
                self.actions.push_back(usb(step));
            }
            Rung::Claim => self.actions.push_back(usb(UsbStep::Listen)),
            Rung::DataFunction => self.actions.push_back(usb(UsbStep::DataFunction)),
            Rung::Open => self.open(),
            Rung::Capabilities => self.ask(Ask::Capabilities),
            Rung::Sim => {
                self.sim_locked = false;
                self.lock = Lock::Unknown;
                self.ask(Ask::Subscriber);
            }
            Rung::Pin => {
                self.pin_sent = None;
                if self.sim_locked {
                    self.ask(Ask::PinState);
                } else {
                    self.done(now, "not asked for".into());
                }
            }
            Rung::Radio => {
                self.lock = Lock::Unknown;
                self.ask(Ask::RadioState);
            }
            Rung::Registration => {
                self.deadline = Some(now + REGISTRATION_PATIENCE);
                let command = ask::subscribe();
                self.push_command(Ask::Subscribe, command);
                self.ask(Ask::RegisterState);
            }
            Rung::PacketService => {
                self.deadline = Some(now + PATIENCE);
                self.ask(Ask::PacketService);
            }
            Rung::Signal => self.send(Ask::SignalReports, ask::signal_reports()),
            Rung::Connect | Rung::IpConfiguration | Rung::Host | Rung::Online => {}
        }
    }

    /// Hands the bring-up over to session 0, from this rung.
    fn climbed(&mut self, from: Rung) {
        self.rung = from;
        self.expects = None;
        self.poll_at = None;
        self.deadline = None;
        self.actions.push_back(Action::Climbed(from));
    }

    /// Returns the time OPEN may stay unanswered in this stage: two thirds of the budget at first,
    /// one third after the configuration was entered anew, and the whole budget after a reset of
    /// the port.
    fn open_patience(&self) -> Duration {
        let budget = self.options.open_budget.unwrap_or(self.quirk.open_budget);
        match self.open_stage {
            0 => budget * 2 / 3,
            1 => budget / 3,
            _ => budget,
        }
    }

    fn open(&mut self) {
        let patience = self.open_patience();
        self.actions.push_back(Action::OpenSession { patience });
    }

    /// Waits a moment for a condition that may pass by itself, and reports the wait; then the
    /// rung's query is repeated. A rung that has taken longer than `patience` fails instead.
    pub(super) fn wait(
        &mut self,
        now: Instant,
        patience: Duration,
        text: &str,
        failure: Failure,
        from: Rung,
    ) {
        let waited = now.duration_since(self.entered);
        if waited + PAUSE > patience {
            return self.fail(now, failure, from);
        }
        self.tell_waiting(now, patience, text.to_owned());
        self.poll_at = Some(now + PAUSE);
    }

    /// Reports that the rung waits, at most as long as `patience` since it was entered.
    pub(super) fn tell_waiting(&mut self, now: Instant, patience: Duration, text: String) {
        self.actions.push_back(Action::Tell(Event::Waiting {
            rung: self.rung,
            text,
            seconds: now.duration_since(self.entered).as_secs_f64(),
            limit_seconds: patience.as_secs_f64(),
        }));
    }

    pub(super) fn ask(&mut self, ask: Ask) {
        self.send(ask, ask.query());
    }

    pub(super) fn send(&mut self, ask: Ask, command: Command) {
        self.expects = Some(ask);
        self.push_command(ask, command);
    }

    fn push_command(&mut self, ask: Ask, command: Command) {
        self.actions.push_back(Action::Command {
            ask,
            command,
            timeout: ask.timeout(),
        });
    }

    pub(super) fn done(&mut self, now: Instant, detail: String) {
        let rung = self.rung;
        self.actions.push_back(Action::Tell(Event::RungDone {
            rung,
            seconds: now.duration_since(self.entered).as_secs_f64(),
            detail,
        }));
        if self.is_control_only() && rung == self.top {
            self.expects = None;
            self.poll_at = None;
            self.deadline = None;
            return;
        }
        self.enter(now, self.behind(rung));
    }

    /// Returns the rung that follows one that is reached.
    fn behind(&self, rung: Rung) -> Rung {
        let open_first = self.options.experiment.order == Order::OpenFirst && !self.ethernet;
        match rung {
            Rung::Claim if open_first => Rung::Open,
            Rung::Open if open_first => Rung::DataFunction,
            Rung::DataFunction if open_first => Rung::Capabilities,
            _ => {
                let next = Rung::ALL.into_iter().find(|next| *next > rung);
                next.unwrap_or(Rung::Online)
            }
        }
    }

    /// Records that session 0 is online; from here on, changes are losses.
    fn watch(&mut self, now: Instant) {
        self.online = true;
        self.unanswered = 0;
        self.poll_at = (!self.ethernet).then(|| now + KEEPALIVE);
    }

    pub(super) fn fail(&mut self, now: Instant, failure: Failure, from: Rung) {
        let after = now.duration_since(self.entered);
        self.failed(failure, from, after);
    }

    fn failed(&mut self, failure: Failure, from: Rung, after: Duration) {
        self.active = false;
        self.online = false;
        self.expects = None;
        self.poll_at = None;
        self.deadline = None;
        self.actions.push_back(Action::Failed {
            failure,
            from,
            after,
        });
    }

    /// Goes back to an earlier rung in the same bring-up, unless that has happened too often.
    pub(super) fn detour(&mut self, now: Instant, rung: Rung, failure: Failure, after: Duration) {
        self.detours += 1;
        if self.detours > MOST_DETOURS {
            return self.failed(failure, rung, after);
        }
        self.tell_notice(format!("{}; back to {rung}", failure.what));
        self.enter(now, rung);
    }

    pub(super) fn lose(&mut self, from: Rung, why: String) {
        self.active = false;
        self.online = false;
        self.expects = None;
        self.poll_at = None;
        self.deadline = None;
        self.actions.push_back(Action::Lost { from, why });
    }

    pub(super) fn tell_notice(&mut self, text: String) {
        self.actions.push_back(Action::Tell(Event::Notice { text }));
    }

    /// Repeats a mandatory command without a usable answer once; after that the control session is
    /// opened anew.
    pub(super) fn unanswered_ask(&mut self, now: Instant, ask: Ask, outcome: Outcome) {
        self.tries += 1;
        if self.tries < 2 {
            return self.ask(ask);
        }
        let failure = match outcome {
            Outcome::Refused(why) => explain::bad_answer(self.rung, ask.name(), &why),
            _ => explain::no_answer(self.rung, ask.name(), seconds(ask.timeout())),
        };
        self.fail(now, failure, Rung::Found);
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Instant, input: Input) {
        if !self.active {
            return;
        }
        match input {
            Input::Usb(result) => self.usb_ended(now, result),
            Input::Opened if self.rung == Rung::Open => self.done(now, String::new()),
            Input::OpenRefused(status) if self.rung == Rung::Open => {
                let failure = explain::status(Rung::Open, "MBIM_OPEN", status, None);
                if passes(status) {
                    return self.wait(now, PATIENCE, STARTING, failure, Rung::Found);
                }
                self.fail(now, failure, Rung::Found);
            }
            Input::OpenMute { dialled } if self.rung == Rung::Open => {
                self.open_mute(now, dialled);
            }
            Input::Answer(ask, outcome) => self.answer(now, ask, outcome),
            Input::Indication { id, info } => self.indication(now, id, &info),
            Input::Online => self.watch(now),
            Input::Detour {
                rung,
                failure,
                after,
            } => self.detour(now, rung, failure, after),
            Input::Failed {
                failure,
                from,
                after,
            } => self.failed(failure, from, after),
            Input::Lost { from, why } => self.lose(from, why),
            _ => {}
        }
    }

    fn usb_ended(&mut self, now: Instant, result: Result<super::UsbDone, super::UsbFailed>) {
        match result {
            Ok(done) => {
                if let Some(quirk) = done.quirk {
                    self.quirk = quirk;
                }
                if self.rung == Rung::DataFunction {
                    self.ethernet = done.ethernet;
                }
                if self.rung == Rung::Open {
                    // After the reset of the port the bring-up begins again.
                    self.enter(now, Rung::Found);
                } else if self.rung <= Rung::DataFunction {
                    self.done(now, done.detail);
                }
            }
            Err(failed) if self.rung == Rung::Open => {
                tracing::debug!("port reset: {}", failed.failure.what);
                self.enter(now, Rung::Found);
            }
            Err(failed) => self.fail(now, failed.failure, Rung::Found),
        }
    }

    /// Returns a remark on a pause that the user has chosen too short for this modem, or nothing.
    fn short_settle(&self) -> String {
        let usual = self.quirk.settle;
        match self.options.settle {
            Some(chosen) if chosen < usual => format!(
                ": --settle {} may be too short, its firmware is usually left {} s without a configuration",
                chosen.as_secs_f64(),
                usual.as_secs_f64()
            ),
            _ => String::new(),
        }
    }

    /// Handles an OPEN that was not answered: the configuration is entered anew, then the port is
    /// reset, then the rung has failed.
    fn open_mute(&mut self, now: Instant, dialled: bool) {
        let waited = seconds(self.open_patience());
        let asked = match dialled {
            true => "AT",
            false => "MBIM_OPEN",
        };
        self.open_stage += 1;
        match self.open_stage {
            1 => {
                let short = self.short_settle();
                self.tell_notice(format!(
                    "no answer to {asked} in {waited} s{short}; leaving the configuration and entering it again \
                     through configuration 0"
                ));
                self.enter(now, Rung::Configuration);
            }
            2 => {
                self.tell_notice(format!(
                    "no answer to {asked} in another {waited} s; resetting the port"
                ));
                self.actions.push_back(Action::Usb(UsbStep::ResetPort));
            }
            _ => {
                self.open_stage = 0;
                let (why, next) = match dialled {
                    true => (
                        "the modem answers AT commands on no interface, or another program has taken it",
                        "unplug the modem and plug it in again; uwwan usb descriptors shows the interfaces that \
                         are tried, and at_port in a quirk file names one; where the modem offers MBIM, try \
                         --mode mbim",
                    ),
                    false => (
                        "the firmware's MBIM function is mute, as after a direct switch between configurations, \
                         or it hangs",
                        "unplug the modem and plug it in again; if that cures it, try a longer --settle",
                    ),
                };
                let failure = explain::failure(
                    Rung::Open,
                    false,
                    format!(
                        "{asked}: no answer, neither after configuration 0 nor after a port reset ({waited} s)"
                    ),
                    why,
                    next,
                );
                self.fail(now, failure, Rung::Found);
            }
        }
    }

    fn answer(&mut self, now: Instant, ask: Ask, outcome: Outcome) {
        if ask.is_background() {
            return self.background(ask, &outcome);
        }
        if self.expects != Some(ask) {
            return;
        }
        self.expects = None;
        match ask {
            Ask::Capabilities => self.capabilities(now, outcome),
            Ask::Subscriber => match outcome {
                Outcome::Done { status, info } => self.subscriber(now, status, &info),
                outcome => self.unanswered_ask(now, ask, outcome),
            },
            Ask::PinState => self.pin_state(now, outcome),
            Ask::PinEnter => self.pin_entered(now, outcome),
            Ask::RadioState if self.rung == Rung::Sim => self.radio_without_sim(now, &outcome),
            Ask::LockState => self.lock_state(now, &outcome),
            Ask::Unlock => self.unlock_answered(now, &outcome),
            Ask::RadioState | Ask::RadioOn => match outcome {
                Outcome::Done { status, info } => self.radio(now, ask, status, &info),
                outcome => self.unanswered_ask(now, Ask::RadioState, outcome),
            },
            Ask::RegisterState | Ask::Register => match outcome {
                Outcome::Done { status, info } => self.registration(now, ask, status, &info),
                // Registering may take longer than the command's timeout, so the state is queried.
                _ if ask == Ask::Register => self.poll_at = Some(now),
                outcome => self.unanswered_ask(now, ask, outcome),
            },
            Ask::PacketService | Ask::Attach => match outcome {
                Outcome::Done { status, info } => self.packet_service(now, ask, status, &info),
                outcome => self.unanswered_ask(now, Ask::PacketService, outcome),
            },
            Ask::SignalReports => {
                if let Outcome::Done { info, .. } = &outcome {
                    self.signal(info);
                }
                let detail = match self.facts.signal.and_then(|signal| signal.rssi_dbm) {
                    Some(dbm) => format!("{dbm} dBm"),
                    None => "not known".into(),
                };
                self.done(now, detail);
            }
            Ask::Subscribe | Ask::Signal => {}
        }
    }

    fn background(&mut self, ask: Ask, outcome: &Outcome) {
        match (ask, outcome) {
            (Ask::Signal, Outcome::Done { info, .. }) => {
                self.unanswered = 0;
                self.signal(info);
            }
            (Ask::Signal, _) if self.online => {
                self.unanswered += 1;
                if self.unanswered >= MOST_UNANSWERED {
                    self.lose(
                        Rung::Found,
                        format!("the control session is silent: {MOST_UNANSWERED} questions unanswered in a row"),
                    );
                }
            }
            (_, Outcome::Done { status, .. }) if status.is_success() => {}
            (_, _) => tracing::debug!("{}: no success, which nothing depends on", ask.name()),
        }
    }

    /// Takes the step that is due at the time of [`Ladder::poll_timeout`].
    pub fn timeout(&mut self, now: Instant) {
        if !self.active {
            return;
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            self.deadline = None;
            return self.rung_timeout(now);
        }
        if self.poll_at.is_none_or(|at| now < at) {
            return;
        }
        self.poll_at = None;
        match self.rung {
            Rung::Open => self.open(),
            Rung::Capabilities => self.ask(Ask::Capabilities),
            Rung::Pin if self.sim_locked => self.ask(Ask::PinState),
            Rung::Sim | Rung::Pin => self.ask(Ask::Subscriber),
            Rung::Radio => self.ask(Ask::RadioState),
            Rung::Registration => self.ask(Ask::RegisterState),
            Rung::PacketService => self.ask(Ask::PacketService),
            _ if self.online => {
                self.poll_at = Some(now + KEEPALIVE);
                self.push_command(Ask::Signal, Ask::Signal.query());
            }
            _ => {}
        }
    }

    fn rung_timeout(&mut self, now: Instant) {
        let waited = seconds(now.duration_since(self.entered));
        let (what, cause, next, from) = match self.rung {
            Rung::Pin => {
                let failure = self.sim_not_ready(now);
                return self.fail(now, failure, Rung::Sim);
            }
            Rung::Registration => (
                format!("no network in {waited} s ({})", self.network_detail()),
                "no coverage, no antenna, or no network that takes this SIM",
                "check the antenna; look around with `uwwan operator scan`",
                Rung::Radio,
            ),
            Rung::PacketService => (
                format!("not attached to the packet service in {waited} s"),
                "the network does not take the modem's data, often for want of coverage",
                "ask the operator",
                Rung::Registration,
            ),
            _ => return,
        };
        let failure = explain::failure(self.rung, false, what, cause, next);
        self.fail(now, failure, from);
    }
}
