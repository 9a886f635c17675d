//! What the reactor looks at on the way to the host: neighbour solicitations and answers to probes.

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use crate::counters::{SessionTally, Tally};
use crate::neighbour;
use crate::packet::ICMPV6;
use crate::watch::Probe;
#[cfg(doc)]
use crate::watch::Watch;

/// Sees what comes in on one session: neighbour solicitations and answers to probes.
#[derive(Default)]
pub(super) struct Monitor {
    pub(super) ours: Vec<Ipv6Addr>,
    pub(super) probe: Option<Probe>,
    pub(super) probe_out: bool,
    pub(super) replies: VecDeque<[u8; neighbour::ADVERTISEMENT]>,
    /// Whether something came in since this was last looked at.
    pub(super) heard: bool,
    /// What the session has carried.
    pub(super) carried: SessionTally,
}

impl Monitor {
    /// Number of solicitations answered per round; a flood of them is not worth more.
    const REPLIES: usize = 4;

    /// Sees a datagram before the host does. Returns `false` to keep it from the host.
    pub(super) fn see(&mut self, datagram: &[u8], tally: &mut Tally) -> bool {
        self.heard = true;
        if self.probe_out
            && let Some(probe) = &self.probe
            && probe.is_answer(datagram)
        {
            tally.probe_answers += 1;
            return false;
        }
        // Next header ICMPv6, type 135.
        if datagram.len() >= 64
            && datagram[6] == ICMPV6
            && datagram[40] == 135
            && self.replies.len() < Self::REPLIES
            && let Some(reply) = neighbour::answer(datagram, &self.ours)
        {
            self.replies.push_back(reply);
        }
        true
    }
}

/// When to send the probe: a few times, until something comes in.
#[derive(Debug, Default)]
pub(super) struct Probes {
    pub(super) next: Option<Instant>,
    left: u32,
}

impl Probes {
    /// Number of probes: as many as a [`Watch`] wants to see unanswered.
    const COUNT: u32 = 4;
    const INTERVAL: Duration = Duration::from_millis(1500);

    pub(super) fn new(wanted: bool, now: Instant) -> Self {
        Self {
            next: wanted.then_some(now),
            left: Self::COUNT,
        }
    }

    pub(super) fn due(&mut self, now: Instant) -> bool {
        if self.next.is_none_or(|next| now < next) {
            return false;
        }
        self.left -= 1;
        self.next = (self.left > 0).then_some(now + Self::INTERVAL);
        true
    }
}
