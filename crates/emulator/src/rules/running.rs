//! Rules as they run: which one is taken, how often it still may be, and which actions are due.

use std::time::{Duration, Instant};

use uwwan_mbim::message::CommandKind;
use uwwan_mbim::registry::CidId;

use super::{Action, Answer, Rule, State, Trigger};
use crate::urb::SetupPacket;

/// Largest number of actions that wait for their time. Further ones are dropped.
const MOST_WAITING: usize = 1024;
/// Largest number of times that a rule for NTBs or a time is taken in one call.
const MOST_AT_ONCE: u64 = 16;

/// History of the modem.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ModemHistory {
    /// Number of NTBs from the host.
    pub ntbs_out: u64,
    /// Number of NTBs to the host.
    pub ntbs_in: u64,
    /// Whether a configuration with a network function is selected.
    pub configured: bool,
    /// Whether the MBIM control session is open.
    pub open: bool,
    /// Whether the modem is registered.
    pub registered: bool,
    /// Whether packet service is attached.
    pub attached: bool,
    /// Whether a data session is up.
    pub connected: bool,
}

impl ModemHistory {
    /// Returns the states that the modem has got into since `before`.
    fn entered(&self, before: &Self) -> Vec<State> {
        let edges = [
            (before.configured, self.configured, State::Configured),
            (before.open, self.open, State::Open),
            (before.registered, self.registered, State::Registered),
            (!before.registered, !self.registered, State::Unregistered),
            (before.attached, self.attached, State::Attached),
            (before.connected, self.connected, State::Connected),
            (!before.connected, !self.connected, State::Disconnected),
        ];
        let entered = edges.into_iter().filter(|(was, is, _)| !was && *is);
        entered.map(|(.., state)| state).collect()
    }
}

/// Answer that a rule gives in place of the firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The answer.
    pub answer: Answer,
    /// Time until the answer is sent.
    pub after: Duration,
}

#[derive(Debug)]
struct Armed {
    rule: Rule,
    /// Number of times that the rule may still be taken; `None` for no limit.
    left: Option<u64>,
    /// Number of times that the rule was taken.
    taken: u64,
}

impl Armed {
    fn has_turn(&self) -> bool {
        self.left != Some(0)
    }

    fn take(&mut self) {
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.taken += 1;
    }
}

/// Rules of a modem that runs.
#[derive(Debug)]
pub(crate) struct Running {
    /// Rules for requests, in their order.
    requests: Vec<Armed>,
    /// Rules for events, in their order.
    events: Vec<Armed>,
    started: Instant,
    /// History at the last call of [`Running::look`].
    before: ModemHistory,
    /// Actions, each with the time at which it is due.
    waiting: Vec<(Instant, Action)>,
}

/// Returns the bytes without the zeros at their end.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0);
    &bytes[..end.map_or(0, |last| last + 1)]
}

impl Running {
    /// Arms the rules of a modem that is switched on.
    pub fn new(rules: Vec<Rule>, now: Instant) -> Self {
        let armed = rules.into_iter().map(|rule| Armed {
            left: rule.times,
            taken: 0,
            rule,
        });
        let (requests, events) = armed.partition(|armed| armed.rule.on.is_request());
        Self {
            requests,
            events,
            started: now,
            before: ModemHistory::default(),
            waiting: Vec::new(),
        }
    }

    /// Returns whether no action waits and no rule waits for an event, so that nothing needs to be
    /// checked.
    pub fn is_idle(&self) -> bool {
        self.events.is_empty() && self.waiting.is_empty()
    }

    /// Takes the first rule that fits a request, and returns its answer. `None` leaves the answer
    /// to the firmware.
    fn taken(&mut self, now: Instant, fits: impl Fn(&Trigger) -> bool) -> Option<Reply> {
        let fitting = |armed: &&mut Armed| armed.has_turn() && fits(&armed.rule.on);
        let armed = self.requests.iter_mut().find(fitting)?;
        armed.take();
        let after = armed.rule.after;
        let reply = armed.rule.answer.clone();
        let actions = armed.rule.actions.clone();
        self.wait(now + after, actions);
        reply.map(|answer| Reply { answer, after })
    }

    fn wait(&mut self, due: Instant, actions: Vec<Action>) {
        for action in actions {
            if self.waiting.len() < MOST_WAITING {
                self.waiting.push((due, action));
            }
        }
    }

    /// Takes the rule for a line of an AT port.
    pub fn at(&mut self, line: &str, now: Instant) -> Option<Reply> {
        self.taken(
            now,
            |on| matches!(on, Trigger::At(wanted) if wanted.trim().eq_ignore_ascii_case(line)),
        )
    }

    /// Takes the rule for an MBIM command.
    pub fn mbim(
        &mut self,
        id: CidId,
        asked: CommandKind,
        content: &[u8],
        now: Instant,
    ) -> Option<Reply> {
        self.taken(now, |on| match on {
            Trigger::Mbim {
                service,
                cid,
                kind,
                info,
            } => {
                (*service, *cid) == (id.service, id.cid)
                    && kind.is_none_or(|kind| kind == asked)
                    && info
                        .as_ref()
                        .is_none_or(|info| trimmed(info) == trimmed(content))
            }
            _ => false,
        })
    }

    /// Takes the rule for a class or vendor request.
    pub fn request(&mut self, setup: SetupPacket, now: Instant) -> Option<Reply> {
        self.taken(now, |on| fits_request(on, setup))
    }

    /// Returns the time that a class or vendor request waits before it is taken.
    pub fn pause(&self, setup: SetupPacket) -> Duration {
        let mut rules = self.requests.iter();
        rules
            .find(|armed| armed.has_turn() && fits_request(&armed.rule.on, setup))
            .map_or(Duration::ZERO, |armed| armed.rule.after)
    }

    /// Compares what has happened with the rules for events, and returns the actions that are due.
    pub fn look(&mut self, happened: ModemHistory, now: Instant) -> Vec<Action> {
        let entered = happened.entered(&self.before);
        self.before = happened;
        let since = now.saturating_duration_since(self.started);
        let mut due = Vec::new();
        for armed in &mut self.events {
            let reached = match armed.rule.on {
                Trigger::NtbsOut(count) => happened.ntbs_out / count.max(1),
                Trigger::NtbsIn(count) => happened.ntbs_in / count.max(1),
                Trigger::Time(time) => {
                    u64::try_from(since.as_nanos() / time.as_nanos().max(1)).unwrap_or(u64::MAX)
                }
                Trigger::State(state) if entered.contains(&state) => armed.taken + 1,
                _ => continue,
            };
            let turns = reached.saturating_sub(armed.taken).min(MOST_AT_ONCE);
            for _ in 0..turns {
                if armed.has_turn() {
                    armed.take();
                    due.push((now + armed.rule.after, armed.rule.actions.clone()));
                }
            }
            // Numbers that were passed over are not made up for.
            armed.taken = armed.taken.max(reached);
        }
        for (at, actions) in due {
            self.wait(at, actions);
        }
        let mut ready = Vec::new();
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_by_key(|(at, _)| *at);
        for (at, action) in waiting {
            if at <= now {
                ready.push(action);
            } else {
                self.waiting.push((at, action));
            }
        }
        ready
    }

    /// Returns when [`Running::look`] is due by itself.
    pub fn deadline(&self) -> Option<Instant> {
        let due = self.waiting.iter().map(|(at, _)| *at);
        let times = self.events.iter().filter_map(|armed| match armed.rule.on {
            Trigger::Time(time) if armed.has_turn() => {
                let next = u32::try_from(armed.taken + 1).ok()?;
                self.started.checked_add(time.checked_mul(next)?)
            }
            _ => None,
        });
        due.chain(times).min()
    }
}

/// Returns whether a rule waits for a class or vendor request.
fn fits_request(on: &Trigger, setup: SetupPacket) -> bool {
    match on {
        Trigger::Request {
            kind,
            request,
            value,
            index,
        } => {
            (*kind, *request) == (setup.request_type, setup.request)
                && value.is_none_or(|value| value == setup.value)
                && index.is_none_or(|index| index == setup.index)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(on: Trigger, answer: Option<&str>, times: Option<u64>) -> Rule {
        Rule {
            on,
            answer: answer.map(|text| Answer::At(text.to_owned())),
            actions: vec![Action::Tell(answer.unwrap_or("event").to_owned())],
            after: Duration::ZERO,
            times,
        }
    }

    #[test]
    fn the_first_rule_with_a_turn_left_is_taken() {
        let now = Instant::now();
        let at = || Trigger::At("AT+CSQ".to_owned());
        let mut running = Running::new(
            vec![
                rule(at(), Some("one"), Some(1)),
                rule(at(), Some("two"), None),
            ],
            now,
        );
        let said: Vec<Option<Answer>> = (0..3)
            .map(|_| running.at("at+csq", now).map(|reply| reply.answer))
            .collect();
        let text = |text: &str| Some(Answer::At(text.to_owned()));
        assert_eq!(said, [text("one"), text("two"), text("two")]);
        assert_eq!(running.at("AT+CREG?", now), None);
        assert_eq!(running.look(ModemHistory::default(), now).len(), 3);
    }

    #[test]
    fn events_are_taken_as_often_as_they_happen_and_no_oftener_than_told() {
        let now = Instant::now();
        let mut running = Running::new(
            vec![
                rule(Trigger::NtbsOut(10), None, Some(2)),
                rule(Trigger::State(State::Connected), None, None),
                rule(Trigger::Time(Duration::from_secs(5)), None, Some(1)),
            ],
            now,
        );
        let mut happened = ModemHistory::default();
        assert!(running.look(happened, now).is_empty());
        assert_eq!(running.deadline(), Some(now + Duration::from_secs(5)));
        for (ntbs, expected) in [(9, 0), (10, 1), (11, 0), (40, 1), (90, 0)] {
            happened.ntbs_out = ntbs;
            assert_eq!(running.look(happened, now).len(), expected, "{ntbs}");
        }
        for (connected, expected) in [(true, 1), (true, 0), (false, 0), (true, 1)] {
            happened.connected = connected;
            assert_eq!(running.look(happened, now).len(), expected);
        }
        let later = now + Duration::from_secs(11);
        assert_eq!(running.look(happened, later).len(), 1);
        assert!(running.look(happened, later).is_empty());
        assert_eq!(running.deadline(), None);
    }

    #[test]
    fn zeros_at_the_end_of_a_command_do_not_count() {
        let now = Instant::now();
        let id = uwwan_mbim::services::basic_connect::IP_CONFIGURATION;
        let on = Trigger::Mbim {
            service: id.service,
            cid: id.cid,
            kind: Some(CommandKind::QUERY),
            info: Some(vec![1]),
        };
        let mut running = Running::new(vec![rule(on, Some("x"), None)], now);
        let mut asks = |kind, info: &[u8]| running.mbim(id, kind, info, now).is_some();
        assert!(asks(CommandKind::QUERY, &[1, 0, 0, 0]));
        assert!(!asks(CommandKind::QUERY, &[2, 0, 0, 0]));
        assert!(!asks(CommandKind::SET, &[1]));
    }
}
