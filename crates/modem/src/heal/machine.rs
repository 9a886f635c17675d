//! The state machine of the healing, without I/O. The [module](super) describes its steps and their
//! times.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{HealEvent, HealStep, Layout};
use crate::layout::{Format, Padding, Placement};

/// Time for which the present layout is probed before others are tried.
const DOUBT: Duration = Duration::from_secs(2);
/// Time for which an NDP place is probed.
const NDP_TRIAL: Duration = Duration::from_millis(3500);
/// Time for which a padding is probed.
const PADDING_TRIAL: Duration = Duration::from_millis(2500);
/// Time for which a layout of the other format is probed.
const FORMAT_TRIAL: Duration = Duration::from_millis(3500);
/// Pause between the probes of one layout.
const PAUSE: Duration = Duration::from_millis(400);
/// Bounds of the time for which the first layout is probed once more after another was answered. The
/// time is three times that of the answer.
const CHECK: (Duration, Duration) = (Duration::from_millis(1200), Duration::from_millis(2500));
/// Time after [`HealStep::Noticed`] within which the healing ends, up to a new session in the first
/// format.
const MOST: Duration = Duration::from_secs(30);
/// First identity of the probes, above the ports that the kernel gives out by itself (Linux
/// `ip_local_port_range`).
const IDENTITIES: u16 = 61_000;

/// Parts of the layout that may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) ndp: bool,
    pub(crate) padding: bool,
    pub(crate) ntb: bool,
}

/// Step that the healing wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Lays NTBs out in this way from the next one on.
    Use(Layout),
    /// Ends the session and begins another in this layout; [`Healer::online`] reports that it is up.
    Renew(Layout),
    /// Sends a probe to every gateway and name server.
    Probe { identity: u16, fills: Fills },
    /// Keeps the layout over runs.
    Keep(Layout),
    /// Passes an event to the observer.
    Tell(HealEvent),
    /// Expects no more answers to probes.
    EndProbes,
}

/// The part of an NTB that a probe fills without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fills {
    /// The probe fills nothing: the last packet of its NTB is short.
    Nothing,
    /// The probe fills the last packet of its NTB.
    Packet,
    /// The probe fills nearly the longest NTB, so that the padding fills it up where it does so
    /// with long NTBs.
    Ntb,
}

/// Layout to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trial {
    layout: Layout,
    /// The part of an NTB that a second probe fills: the padding has no effect on short NTBs.
    fills: Fills,
    patience: Duration,
}

impl Trial {
    fn fills(self) -> bool {
        self.fills != Fills::Nothing
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// The first layout is probed, because nothing comes back.
    Doubt,
    /// A layout is probed.
    Trial(Trial),
    /// The first layout is probed once more, because this one was answered.
    Check(Trial),
    /// This layout is in use, and has to be answered again: checking the first one may have stopped
    /// the device.
    Settle(Trial),
    /// A new session in this layout is awaited.
    Renewing(Trial),
    /// A new session in the first format is awaited, in which the first layout is probed once more.
    RenewingToCheck(Trial),
    /// A new session in this layout is awaited, after the first layout was not answered again.
    RenewingToSettle(Trial),
}

/// Healing of one device; see the [module](super).
#[derive(Debug)]
pub(crate) struct Healer {
    state: State,
    steps: VecDeque<Step>,
    /// Layout in use when the healing began.
    first: Layout,
    /// Format of the present session.
    format: Format,
    /// Whether the padding alone may be at fault, because the link has worked.
    paddings_alone: bool,
    /// Layouts that are still to be tried.
    trials: VecDeque<Trial>,
    /// Layouts that were probed, each with the first identity of its probes.
    probed: Vec<(u16, Layout)>,
    /// Identity of the next short probe, an even number; the filling probe has the odd number
    /// behind it.
    identity: u16,
    /// Whether a probe of this trial that fills no packet was answered.
    alive: bool,
    /// Time of [`HealStep::Noticed`].
    noticed: Instant,
    /// Time at which a new session was asked for, and the time that the last one took.
    renewed: Instant,
    renewal: Duration,
    /// Time for which the first layout is probed once more.
    check: Duration,
    /// Time at which the probing of this layout began.
    began: Instant,
    next_probe: Option<Instant>,
    /// Time at which the state ends.
    until: Option<Instant>,
}

impl Healer {
    pub(crate) fn new(now: Instant) -> Self {
        let first = Layout {
            ndp: Placement::Front,
            padding: Padding::ZeroPacket,
            ntb: Format::Ntb16,
        };
        Self {
            state: State::Idle,
            steps: VecDeque::new(),
            first,
            format: first.ntb,
            paddings_alone: false,
            trials: VecDeque::new(),
            probed: Vec::new(),
            identity: IDENTITIES,
            alive: false,
            noticed: now,
            renewed: now,
            renewal: Duration::ZERO,
            check: CHECK.1,
            began: now,
            next_probe: None,
            until: None,
        }
    }

    /// Starts the healing because nothing comes back in the layout `first`, of which `scope` may be
    /// changed. `format_first` says that the format is likely at fault. `number` is any number, from
    /// which the identities of probes begin.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        first: Layout,
        scope: Scope,
        format_first: bool,
        number: u64,
    ) {
        if self.state != State::Idle {
            return;
        }
        self.first = first;
        self.format = first.ntb;
        self.paddings_alone = !scope.ndp && !scope.ntb;
        self.trials = trials(first, scope, format_first);
        if self.trials.is_empty() {
            return;
        }
        self.identity = IDENTITIES + 2 * (number % 1500) as u16;
        self.probed.clear();
        self.noticed = now;
        self.state = State::Doubt;
        self.probe_layout(now, first, DOUBT);
    }

    /// Returns whether the healing is under way.
    pub(crate) fn is_active(&self) -> bool {
        self.state != State::Idle
    }

    /// Returns whether a new session was asked for that is not up yet.
    pub(crate) fn is_renewing(&self) -> bool {
        matches!(
            self.state,
            State::Renewing(_) | State::RenewingToCheck(_) | State::RenewingToSettle(_)
        )
    }

    pub(crate) fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Returns the time at which [`Healer::timeout`] is to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next_probe.into_iter().chain(self.until).min()
    }

    /// Takes the step that is due at the time of [`Healer::poll_timeout`].
    pub(crate) fn timeout(&mut self, now: Instant) {
        if self.until.is_some_and(|at| now >= at) {
            self.until = None;
            return match self.state {
                State::Idle => {}
                State::Doubt => {
                    self.noticed = now;
                    self.tell(
                        HealStep::Noticed,
                        self.first,
                        "the modem takes every NTB and nothing comes back; trying other layouts"
                            .into(),
                    );
                    self.next_trial(now);
                }
                // The network may not answer long probes.
                State::Trial(trial) if self.alive => self.found(now, trial),
                State::Trial(_) | State::Settle(_) => self.next_trial(now),
                State::Check(trial) if trial.layout.ntb != self.format => {
                    self.renew(now, State::RenewingToSettle(trial), trial.layout);
                }
                State::Check(trial) => {
                    self.steps.push_back(Step::Use(trial.layout));
                    if !trial.fills() {
                        return self.heal(now, trial.layout);
                    }
                    self.state = State::Settle(trial);
                    self.probe_layout(now, trial.layout, trial.patience);
                }
                State::Renewing(_) => self.put_back(),
                // The layout was answered, and there is no time to check it.
                State::RenewingToCheck(trial) | State::RenewingToSettle(trial) => {
                    if self.format != trial.layout.ntb {
                        self.steps.push_back(Step::Renew(trial.layout));
                    }
                    self.heal(now, trial.layout);
                }
            };
        }
        if self.next_probe.is_some_and(|at| now >= at) {
            self.send_probe(now);
        }
    }

    /// Records that a probe was answered.
    pub(crate) fn answered(&mut self, now: Instant, identity: u16) {
        let mut probed = self.probed.iter().rev();
        let Some(&(_, carried)) = probed.find(|(since, _)| *since <= identity) else {
            return;
        };
        let is_first = carried == self.first;
        // An answer to a probe that fills no packet says little about the padding.
        let filling = identity % 2 == 1;
        match self.state {
            State::Doubt => self.recovered(),
            State::Trial(_) if is_first => self.recovered(),
            State::Trial(trial) if carried == trial.layout => match trial.fills() && !filling {
                true => self.alive = true,
                false => self.found(now, trial),
            },
            // The answer is to a layout that was tried before; for a padding it has to be to an NTB on
            // which the padding has an effect.
            State::Trial(trial)
                if carried.ntb == self.format
                    && (filling || carried.padding == self.first.padding) =>
            {
                let fills = match filling {
                    true => trial.fills,
                    false => Fills::Nothing,
                };
                let layout = carried;
                let trial = Trial {
                    layout,
                    fills,
                    ..trial
                };
                self.found(now, trial);
            }
            State::Check(trial) if is_first && filling == trial.fills() => self.recovered(),
            State::Settle(trial) if carried == trial.layout => self.heal(now, carried),
            _ => {}
        }
    }

    /// Records that a host answered that was asked something since the layout is in use.
    pub(crate) fn host_answered(&mut self, now: Instant) {
        match self.state {
            State::Doubt => self.recovered(),
            // The network may answer no probe, so that checking would say nothing.
            State::Trial(trial) if !trial.fills() => self.heal(now, trial.layout),
            State::Trial(_) => self.alive = true,
            _ => {}
        }
    }

    /// Records that any datagram came in.
    pub(crate) fn heard(&mut self) {
        if self.state == State::Doubt {
            self.recovered();
        }
    }

    /// Records that the session is up.
    pub(crate) fn online(&mut self, now: Instant) {
        if !self.is_renewing() {
            return;
        }
        self.renewal = now.duration_since(self.renewed);
        match self.state {
            State::Renewing(trial) => self.begin(now, trial),
            State::RenewingToCheck(trial) => {
                self.state = State::Check(trial);
                self.probe_layout(now, self.first, self.check);
            }
            State::RenewingToSettle(trial) => {
                self.state = State::Settle(trial);
                self.probe_layout(now, trial.layout, trial.patience);
            }
            _ => {}
        }
    }

    /// Records that the modem, its network or its session is lost. The healing ends without a
    /// result.
    pub(crate) fn interrupted(&mut self) {
        if self.is_active() && !self.is_renewing() {
            self.end();
            self.steps.clear();
            self.steps.push_back(Step::Use(self.first));
        }
    }

    /// Begins to probe a layout.
    fn probe_layout(&mut self, now: Instant, layout: Layout, patience: Duration) {
        self.probed.push((self.identity, layout));
        self.began = now;
        self.alive = false;
        self.until = Some(now + patience);
        self.send_probe(now);
    }

    fn send_probe(&mut self, now: Instant) {
        let fills = match self.state {
            State::Trial(trial) | State::Check(trial) | State::Settle(trial) => trial.fills,
            _ => Fills::Nothing,
        };
        let identity = self.identity;
        let mut probe = |identity, fills| {
            self.steps.push_back(Step::Probe { identity, fills });
        };
        probe(identity, Fills::Nothing);
        if fills != Fills::Nothing {
            probe(identity + 1, fills);
        }
        self.identity += 2;
        self.next_probe = Some(now + PAUSE);
    }

    fn next_trial(&mut self, now: Instant) {
        let over = now + PAUSE >= self.noticed + MOST;
        let Some(trial) = self.trials.pop_front().filter(|_| !over) else {
            return self.put_back();
        };
        self.tell(
            HealStep::Try,
            trial.layout,
            match trial.layout.ntb == self.format {
                true => format!("trying {}", trial.layout),
                false => format!("trying {} in a new session", trial.layout),
            },
        );
        if trial.layout.ntb == self.format {
            self.steps.push_back(Step::Use(trial.layout));
            self.begin(now, trial);
        } else {
            self.renew(now, State::Renewing(trial), trial.layout);
        }
    }

    /// Asks for a new session in the format of a layout, which `state` awaits.
    fn renew(&mut self, now: Instant, state: State, layout: Layout) {
        self.format = layout.ntb;
        self.state = state;
        self.next_probe = None;
        self.renewed = now;
        self.until = Some(self.noticed + MOST);
        self.steps.push_back(Step::Renew(layout));
    }

    fn begin(&mut self, now: Instant, trial: Trial) {
        self.state = State::Trial(trial);
        let left = (self.noticed + MOST).saturating_duration_since(now);
        self.probe_layout(now, trial.layout, trial.patience.min(left));
    }

    /// Continues with a layout that was answered.
    fn found(&mut self, now: Instant, trial: Trial) {
        let took = now.duration_since(self.began);
        self.check = (3 * took).clamp(CHECK.0, CHECK.1);
        if trial.layout.ntb == self.first.ntb {
            self.state = State::Check(trial);
            self.steps.push_back(Step::Use(self.first));
            return self.probe_layout(now, self.first, self.check);
        }
        // The check takes a new session in the first format, and another one back.
        let most = 2 * self.renewal + self.check + trial.patience;
        match now + most < self.noticed + MOST {
            true => self.renew(now, State::RenewingToCheck(trial), self.first),
            false => self.heal(now, trial.layout),
        }
    }

    fn heal(&mut self, now: Instant, layout: Layout) {
        let took = now.duration_since(self.noticed).as_secs_f64();
        self.end();
        self.steps.push_back(Step::Keep(layout));
        let text = format!("healed after {took:.1} s: packets come back with {layout}");
        self.tell(HealStep::Healed, layout, text);
    }

    /// Ends because packets come back in the first layout.
    fn recovered(&mut self) {
        let doubt = self.state == State::Doubt;
        self.end();
        if !doubt {
            self.first_again();
            let text = format!("packets come back after all with {}", self.first);
            self.tell(HealStep::Recovered, self.first, text);
        }
    }

    /// Ends because nothing comes back in any layout.
    fn put_back(&mut self) {
        self.end();
        self.first_again();
        let likely = match self.paddings_alone {
            true => "the radio link is lost or the network has dropped the session",
            false => {
                "the access point leads nowhere, or the network answers neither echo requests nor \
                 name queries"
            }
        };
        let text = format!(
            "nothing comes back in any layout of NTBs, so nothing is concluded and it is {} again: \
             likely {likely}",
            self.first
        );
        self.tell(HealStep::PutBack, self.first, text);
    }

    fn first_again(&mut self) {
        self.steps.push_back(match self.format == self.first.ntb {
            true => Step::Use(self.first),
            false => Step::Renew(self.first),
        });
    }

    fn end(&mut self) {
        self.state = State::Idle;
        self.trials.clear();
        self.next_probe = None;
        self.until = None;
        self.steps.push_back(Step::EndProbes);
    }

    fn tell(&mut self, step: HealStep, layout: Layout, text: String) {
        self.steps
            .push_back(Step::Tell(HealEvent { step, layout, text }));
    }
}

/// Returns the layouts to try in place of `first`, in their order.
fn trials(first: Layout, scope: Scope, format_first: bool) -> VecDeque<Trial> {
    let mut trials = VecDeque::new();
    let other_place = match first.ndp {
        Placement::End => Placement::Front,
        Placement::Front => Placement::End,
    };
    let places = [Some(first.ndp), scope.ndp.then_some(other_place)];
    if !format_first {
        trials.extend(places[1].map(|ndp| Trial {
            layout: Layout { ndp, ..first },
            fills: Fills::Nothing,
            patience: NDP_TRIAL,
        }));
        let paddings = [Padding::Short, Padding::ZeroPacket, Padding::Full];
        let paddings = paddings.into_iter();
        trials.extend(
            paddings
                .filter(|padding| scope.padding && *padding != first.padding)
                .map(|padding| Trial {
                    layout: Layout { padding, ..first },
                    fills: match [padding, first.padding].contains(&Padding::Full) {
                        true => Fills::Ntb,
                        false => Fills::Packet,
                    },
                    patience: PADDING_TRIAL,
                }),
        );
    }
    if scope.ntb {
        let ntb = match first.ntb {
            Format::Ntb16 => Format::Ntb32,
            Format::Ntb32 => Format::Ntb16,
        };
        trials.extend(places.into_iter().flatten().map(|ndp| Trial {
            layout: Layout { ndp, ntb, ..first },
            fills: Fills::Nothing,
            patience: FORMAT_TRIAL,
        }));
    }
    trials
}
