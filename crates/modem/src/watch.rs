//! Black holes: a link that takes datagrams and brings nothing back.
//!
//! The rule is passive: when datagrams that ask for an answer (see `packet::deserves_answer`) went
//! out and nothing at all came in for [`Watch::PATIENCE`] since the first of them, the link is
//! reported as silent, once, until something comes in. So that an idle link is judged too, a
//! [probe](crate::probe) is sent after going online: to the first name server that the network
//! gave, or to the gateway where it gave none.
//!
//! When the layout of NTBs may be at fault, the rule is quicker ([`Watch::eager`]): its verdict
//! starts the [healing](crate::heal), which sends probes of its own.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Finding of a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Datagrams went out and nothing came back, ever.
    NeverAnswered {
        /// Number of datagrams sent that asked for an answer.
        asked: u32,
    },
    /// Datagrams went out and nothing comes back any more.
    FellSilent {
        /// Number of datagrams sent that asked for an answer, since the last one that came in.
        asked: u32,
        /// Whether the end of an NTB sent since then may have depended on the padding.
        filled: bool,
    },
    /// Something has come in for the first time.
    Answered,
    /// Something came in after one of the other verdicts.
    Recovered,
}

/// Watches one session of one bring-up for answers.
#[derive(Debug)]
pub struct Watch {
    asked: u32,
    first_asked: Option<Instant>,
    /// Time at which enough datagrams had asked for an answer to judge.
    enough_asked: Option<Instant>,
    heard_ever: bool,
    last_heard: Instant,
    silent: bool,
    /// Whether a verdict starts the healing, and is therefore made early.
    eager: bool,
    /// Whether the end of an NTB sent since something came in may have depended on the padding.
    filled: bool,
    /// Destinations of the last datagrams sent that asked for an answer.
    destinations: VecDeque<IpAddr>,
}

impl Watch {
    /// Time for which nothing may come back before a session that has never worked is judged.
    pub const PATIENCE: Duration = Duration::from_secs(6);
    const ASKED: u32 = 3;
    /// Like [`Self::PATIENCE`], for a session that has worked: the time of a handover or a dip in
    /// coverage.
    const PATIENCE_AFTER_WORK: Duration = Duration::from_secs(30);
    /// Like the two above, where a verdict starts the healing. The second applies to sessions whose
    /// NTBs may have ended in a way that the device does not see.
    const DOUBT: Duration = Duration::from_secs(3);
    const DOUBT_AFTER_WORK: Duration = Duration::from_secs(8);
    /// Number of destinations that are remembered.
    const DESTINATIONS: usize = 8;
    /// Age up to which received traffic shows a working link.
    const FRESH: Duration = Duration::from_secs(2);

    /// Starts to watch when the session comes up.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            asked: 0,
            first_asked: None,
            enough_asked: None,
            heard_ever: false,
            last_heard: now,
            silent: false,
            eager: false,
            filled: false,
            destinations: VecDeque::new(),
        }
    }

    /// Makes verdicts come early where `eager`, because they start the healing.
    #[must_use]
    pub fn eager(mut self, eager: bool) -> Self {
        self.set_eager(eager);
        self
    }

    /// Makes verdicts come early or not from here on, as [`Watch::eager`] does.
    pub fn set_eager(&mut self, eager: bool) {
        self.eager = eager;
    }

    /// Returns whether verdicts come early, because they start the healing.
    #[must_use]
    pub fn is_eager(&self) -> bool {
        self.eager
    }

    /// Returns whether sent datagrams must be reported by [`Watch::sent`]; `false` while answers
    /// are fresh.
    #[must_use]
    pub fn armed(&self, now: Instant) -> bool {
        !self.heard_ever || now.duration_since(self.last_heard) >= Self::FRESH
    }

    /// Records that a datagram that asks for an answer has left.
    pub fn sent(&mut self, now: Instant) {
        self.asked = self.asked.saturating_add(1);
        self.first_asked.get_or_insert(now);
        if self.asked >= Self::ASKED {
            self.enough_asked.get_or_insert(now);
        }
    }

    /// Records the destination of such a datagram.
    pub fn asked_of(&mut self, destination: IpAddr) {
        if !self.destinations.contains(&destination) {
            self.destinations.truncate(Self::DESTINATIONS - 1);
            self.destinations.push_front(destination);
        }
    }

    /// Returns whether an address was recently sent a datagram that asks for an answer.
    #[must_use]
    pub fn was_asked(&self, address: &IpAddr) -> bool {
        self.destinations.contains(address)
    }

    /// Clears the destinations, because answers from here on show something about another layout.
    pub fn forget_asked(&mut self) {
        self.destinations.clear();
    }

    /// Records that an NTB was sent whose end may have depended on the padding.
    pub fn filled(&mut self) {
        self.filled = true;
    }

    /// Records that datagrams have come in, and returns a verdict that this changes.
    pub fn heard(&mut self, now: Instant) -> Option<Verdict> {
        let first = !std::mem::replace(&mut self.heard_ever, true);
        self.last_heard = now;
        self.filled = false;
        self.asked = 0;
        self.first_asked = None;
        self.enough_asked = None;
        match std::mem::take(&mut self.silent) {
            true => Some(Verdict::Recovered),
            false => first.then_some(Verdict::Answered),
        }
    }

    /// Judges at or after [`Watch::deadline`], and returns a new verdict.
    pub fn check(&mut self, now: Instant) -> Option<Verdict> {
        if now < self.deadline()? {
            return None;
        }
        self.silent = true;
        let asked = self.asked;
        Some(if self.heard_ever {
            let filled = self.filled;
            Verdict::FellSilent { asked, filled }
        } else {
            Verdict::NeverAnswered { asked }
        })
    }

    /// Returns the time at which to judge next, if anything is unanswered.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.silent {
            return None;
        }
        let patience = match (self.heard_ever, self.eager) {
            (true, true) if self.filled => Self::DOUBT_AFTER_WORK,
            (true, _) => Self::PATIENCE_AFTER_WORK,
            (false, true) => Self::DOUBT,
            (false, false) => Self::PATIENCE,
        };
        // The last datagram, too, gets time for its answer.
        Some((self.first_asked? + patience).max(self.enough_asked? + Self::FRESH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weeks of traffic leave no state by which a later silence would be judged.
    #[test]
    fn silence_is_noticed_after_weeks() {
        let begin = Instant::now();
        let mut watch = Watch::new(begin);
        let mut now = begin;
        for day in 0..40 {
            now = begin + Duration::from_secs(day * 86_400);
            for _ in 0..5 {
                watch.sent(now);
            }
            assert_eq!(watch.check(now + Duration::from_secs(1)), None, "day {day}");
            let first = (day == 0).then_some(Verdict::Answered);
            assert_eq!(watch.heard(now + Duration::from_secs(1)), first);
        }
        watch.asked = u32::MAX - 1;
        for _ in 0..5 {
            watch.sent(now + Duration::from_secs(3600));
        }
        let verdict = watch.check(now + Duration::from_secs(3700));
        let (asked, filled) = (u32::MAX, false);
        assert_eq!(verdict, Some(Verdict::FellSilent { asked, filled }));
        let back = watch.heard(now + Duration::from_secs(7 * 86_400));
        assert_eq!(back, Some(Verdict::Recovered));
    }

    #[test]
    fn silence_is_said_once_and_taken_back() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = Watch::new(start);
        assert!(watch.armed(start));
        assert_eq!(watch.deadline(), None);
        for second in 0..3 {
            watch.sent(at(second));
        }
        assert_eq!(watch.check(at(5)), None);
        assert_eq!(
            watch.check(at(6)),
            Some(Verdict::NeverAnswered { asked: 3 })
        );
        assert_eq!(watch.check(at(60)), None);
        assert_eq!(watch.heard(at(61)), Some(Verdict::Recovered));
        assert_eq!(watch.heard(at(62)), None);
        assert!(!watch.armed(at(63)));
        assert!(watch.armed(at(64)));
        for second in 70..80 {
            watch.sent(at(second));
        }
        assert_eq!(watch.check(at(99)), None);
        let (asked, filled) = (10, false);
        assert_eq!(
            watch.check(at(100)),
            Some(Verdict::FellSilent { asked, filled })
        );
    }

    #[test]
    fn a_doubt_comes_early() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = Watch::new(start).eager(true);
        (0..3).for_each(|_| watch.sent(start));
        assert_eq!(watch.deadline(), Some(at(3)));
        assert_eq!(watch.heard(at(1)), Some(Verdict::Answered));
        (0..3).for_each(|_| watch.sent(at(10)));
        assert_eq!(watch.deadline(), Some(at(40)), "a dip in coverage");
        watch.filled();
        assert_eq!(watch.deadline(), Some(at(18)));
        let (asked, filled) = (3, true);
        assert_eq!(
            watch.check(at(18)),
            Some(Verdict::FellSilent { asked, filled })
        );
    }

    #[test]
    fn the_last_destinations_are_known() {
        let mut watch = Watch::new(Instant::now());
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        (0..20).for_each(|last| watch.asked_of(address(last / 2)));
        assert!(watch.was_asked(&address(9)) && watch.was_asked(&address(2)));
        assert!(!watch.was_asked(&address(1)));
        watch.forget_asked();
        assert!(!watch.was_asked(&address(9)));
    }

    #[test]
    fn one_lost_question_is_no_black_hole() {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        watch.sent(start);
        assert_eq!(watch.check(start + Duration::from_secs(3600)), None);
        assert_eq!(watch.deadline(), None, "nothing to wake up for");
        // Two more datagrams an hour later get their time, too.
        let later = start + Duration::from_secs(3600);
        watch.sent(later);
        watch.sent(later);
        assert_eq!(watch.check(later), None);
        let verdict = watch.check(later + Duration::from_secs(2));
        assert_eq!(verdict, Some(Verdict::NeverAnswered { asked: 3 }));
    }
}
