//! Inspection of datagrams on their way to the host: neighbour solicitations, and answers to
//! probes.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::counters::{SessionTally, Tally};
use crate::neighbour;
use crate::packet::{self, ICMPV6};
use crate::probe::Probe;
use crate::session::LinkFamilies;
#[cfg(doc)]
use crate::watch::Watch;

/// Inspector of the datagrams that come in on one session.
#[derive(Default)]
pub(super) struct Monitor {
    /// Whether the session carries Ethernet frames.
    pub(super) ethernet: bool,
    /// The host's IPv6 addresses, for which neighbour solicitations are answered.
    pub(super) ours: Vec<Ipv6Addr>,
    /// Link-layer address that the answers name.
    pub(super) link_layer: [u8; 6],
    /// Probe to send when nothing comes in.
    pub(super) probe: Option<Probe>,
    /// Whether a probe has been sent, so that an answer may come.
    pub(super) probe_out: bool,
    /// Unanswered probes of the control thread, the last ones first.
    pub(super) asked: VecDeque<Probe>,
    /// Identities of the probes that were answered since the last report.
    pub(super) answered: Vec<u16>,
    /// The hosts that sent other datagrams since the last report, as long as probes are unanswered.
    pub(super) sources: Vec<IpAddr>,
    /// Address families of which datagrams about the configuration of the link are kept for the control
    /// thread.
    pub(super) listen: LinkFamilies,
    /// Datagrams about the configuration of the link that wait for the control thread.
    pub(super) link: VecDeque<Vec<u8>>,
    /// Neighbour advertisements that wait to be sent.
    pub(super) replies: VecDeque<[u8; neighbour::ADVERTISEMENT]>,
    /// Whether a datagram came in since the last report.
    pub(super) heard: bool,
    /// Counts of the session's traffic.
    pub(super) carried: SessionTally,
}

impl Monitor {
    /// Number of solicitations answered per round. Further ones of a flood are dropped.
    const REPLIES: usize = 4;
    /// Number of datagrams about the link's configuration kept per round.
    const LINK: usize = 4;
    /// Number of unanswered probes, and of answers and sources kept per round.
    const PROBES: usize = 64;

    /// Records a probe that is sent.
    pub(super) fn probed(&mut self, probe: Probe) {
        self.asked.truncate(Self::PROBES - 1);
        self.asked.push_front(probe);
    }

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
        if !self.asked.is_empty() {
            if let Some(probe) = self.asked.iter().find(|probe| probe.is_answer(datagram)) {
                if self.answered.len() < Self::PROBES {
                    self.answered.push(probe.identity());
                }
                tally.probe_answers += 1;
                return probe.shares_answer();
            }
            if self.sources.len() < Self::PROBES {
                let ends = match self.ethernet {
                    true => packet::frame_ends(datagram),
                    false => packet::ends(datagram),
                };
                self.sources.extend(ends.map(|(source, _)| source));
            }
        }
        if self.listen.take(datagram) {
            if self.link.len() < Self::LINK {
                self.link.push_back(datagram.to_vec());
            }
            return false;
        }
        if self.ethernet {
            return true;
        }
        // A neighbour solicitation has the next header ICMPv6 and type 135 (RFC 4861 section 4.3).
        if datagram.len() >= 64
            && datagram[6] == ICMPV6
            && datagram[40] == 135
            && self.replies.len() < Self::REPLIES
            && let Some(reply) = neighbour::answer(datagram, &self.ours, self.link_layer)
        {
            self.replies.push_back(reply);
        }
        true
    }
}

/// Schedule of a session's probes: a few at a fixed interval, until a datagram comes in.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// Time of the next probe; `None` when there is no further one.
    pub(super) next: Option<Instant>,
    /// Number of probes that remain.
    left: u32,
}

impl Probes {
    /// Number of probes: as many as a [`Watch`] requires to be unanswered.
    const COUNT: u32 = 4;
    /// Time between two probes.
    const INTERVAL: Duration = Duration::from_millis(1500);

    /// Returns a schedule whose first probe is due at once, or one without probes unless they are
    /// wanted.
    pub(super) fn new(wanted: bool, now: Instant) -> Self {
        Self {
            next: wanted.then_some(now),
            left: Self::COUNT,
        }
    }

    /// Returns, once for each probe, whether it is due.
    pub(super) fn due(&mut self, now: Instant) -> bool {
        if self.next.is_none_or(|next| now < next) {
            return false;
        }
        self.left -= 1;
        self.next = (self.left > 0).then_some(now + Self::INTERVAL);
        true
    }
}
