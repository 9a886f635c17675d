//! The data sessions beside session 0, driven: commands, host's ends, the data path.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uwwan_mbim::registry::CidId;
use uwwan_ncm::Stream;

use super::{Asker, Control};
use crate::counters::SessionCounters;
use crate::datapath::{SessionAddressing, SessionPlan};
use crate::failure::Rung;
use crate::host::{HostConfig, HostEnd, HostError};
use crate::kind::ETHERNET_HEADER;
use crate::ladder::Outcome;
use crate::sessions::{Asked, Further, Step};
use crate::status::{Addresses, Interface};
use crate::watch::Probe;

/// A further session with what belongs to it.
pub(super) struct Branch {
    pub(super) further: Further,
    end: Option<Arc<dyn HostEnd>>,
    counters: Arc<SessionCounters>,
}

impl Branch {
    pub(super) fn new(further: Further, counters: Arc<SessionCounters>) -> Self {
        Self {
            further,
            end: None,
            counters,
        }
    }
}

impl Control {
    /// What depends on a session's addresses.
    pub(super) fn addressing(&self, addresses: &Addresses) -> SessionAddressing {
        if let Some(held) = self
            .device
            .as_ref()
            .filter(|held| held.function.is_ethernet())
        {
            let frame = held
                .negotiated
                .as_ref()
                .and_then(|negotiated| negotiated.frame);
            let longest = addresses.mtu.saturating_add(ETHERNET_HEADER);
            return SessionAddressing {
                mtu: longest.min(frame.unwrap_or(longest)),
                ..SessionAddressing::default()
            };
        }
        SessionAddressing {
            mtu: addresses.mtu,
            ours: addresses.ipv6.iter().map(|prefix| prefix.address).collect(),
            probe: self
                .options
                .probe
                .then(|| Probe::for_addresses(addresses))
                .flatten(),
        }
    }

    /// Session 0 is online: so shall be the others.
    pub(super) fn start_branches(&mut self) {
        if self.is_ethernet() {
            return;
        }
        let now = Instant::now();
        let sizes = self
            .device
            .as_ref()
            .and_then(|held| held.negotiated.as_ref())
            .map(|negotiated| negotiated.sizes)
            .unwrap_or_default();
        let identity = self.ladder.facts().identity.as_ref();
        let most = identity.map_or(0, |identity| identity.max_sessions);
        for branch in &mut self.branches {
            branch.further.start(now, self.quirk, sizes, most);
        }
    }

    /// What the sessions stand on is gone.
    pub(super) fn rest_branches(&mut self, why: &str) {
        for branch in &mut self.branches {
            branch.further.rest(why);
        }
    }

    /// Does one thing for one session. `false` when there is nothing to do.
    pub(super) fn work_branches(&mut self) -> bool {
        for index in 0..self.branches.len() {
            let Some(step) = self.branches[index].further.next_step() else {
                continue;
            };
            match step {
                Step::Tell(event) => self.tell(event),
                Step::Command {
                    asked,
                    command,
                    timeout,
                } => match self.session.command(Instant::now(), command, timeout) {
                    Ok(id) => {
                        self.asked.insert(id, Asker::Branch { index, asked });
                    }
                    Err(error) => {
                        self.branch_answer(index, asked, Outcome::Refused(error.to_string()));
                    }
                },
                Step::Host(config) => {
                    let result = self.branch_host(index, &config);
                    let further = &mut self.branches[index].further;
                    further.host(Instant::now(), result);
                }
                Step::Data(addresses) => self.branch_data(index, &addresses),
                Step::Off => {
                    let id = self.branches[index].further.id();
                    if let Some(reactor) = self.device.as_ref().and_then(|held| held.reactor()) {
                        reactor.remove_session(id);
                    }
                }
            }
            return true;
        }
        false
    }

    pub(super) fn branch_answer(&mut self, index: usize, asked: Asked, outcome: Outcome) {
        if let Some(branch) = self.branches.get_mut(index) {
            branch.further.answer(Instant::now(), asked, outcome);
        }
    }

    pub(super) fn branch_indication(&mut self, id: CidId, info: &[u8]) {
        let now = Instant::now();
        for branch in &mut self.branches {
            branch.further.indication(now, id, info);
        }
    }

    pub(super) fn branch_timeouts(&mut self) {
        let now = Instant::now();
        for branch in &mut self.branches {
            if branch.further.poll_timeout().is_some_and(|at| now >= at) {
                branch.further.timeout(now);
            }
        }
    }

    pub(super) fn branch_deadline(&self) -> Option<Instant> {
        self.branches
            .iter()
            .filter_map(|branch| branch.further.poll_timeout())
            .min()
    }

    /// A session's host's end failed: it is made anew.
    pub(super) fn branch_lost(&mut self, session: u8, why: &str) {
        let branch = self
            .branches
            .iter_mut()
            .find(|branch| branch.further.id() == session);
        if let Some(branch) = branch {
            branch.end = None;
            branch.further.host_lost(Instant::now(), why);
        }
    }

    fn branch_host(&mut self, index: usize, config: &HostConfig) -> Result<Interface, HostError> {
        let branch = &mut self.branches[index];
        if let Some(end) = &branch.end {
            match end.reconfigure(config) {
                Ok(()) => return Ok(end.interface()),
                Err(error) => {
                    tracing::warn!(
                        "changing the host's end of session {}: {error}; making a new one",
                        branch.further.id()
                    );
                    branch.end = None;
                }
            }
        }
        let end: Arc<dyn HostEnd> = Arc::from(self.provider.bring_up(config)?);
        let interface = end.interface();
        self.branches[index].end = Some(end);
        Ok(interface)
    }

    fn branch_data(&mut self, index: usize, addresses: &Addresses) {
        let addressing = self.addressing(addresses);
        let branch = &self.branches[index];
        let (Some(held), Some(host)) = (self.device.as_ref(), branch.end.as_ref()) else {
            return;
        };
        // While session 0 has no data path there is none; it is put on it with the next start.
        let Some(reactor) = held.reactor().filter(|_| held.data_running) else {
            return;
        };
        reactor.add_session(SessionPlan {
            stream: Stream::Ips(branch.further.id()),
            id: branch.further.id(),
            host: Arc::clone(host),
            addressing,
            counters: Arc::clone(&branch.counters),
        });
    }

    /// Ends what may be active, for a clean stop. The answers are waited for by the caller.
    pub(super) fn end_branches(
        &mut self,
        patience: Duration,
    ) -> Vec<uwwan_mbim::session::TransactionId> {
        let now = Instant::now();
        let mut asked = Vec::new();
        for (index, branch) in self.branches.iter().enumerate() {
            if !branch.further.may_be_active() {
                continue;
            }
            let command = branch.further.end();
            if let Ok(id) = self.session.command(now, command, patience) {
                let ending = Asked::End;
                self.asked.insert(
                    id,
                    Asker::Branch {
                        index,
                        asked: ending,
                    },
                );
                asked.push(id);
            }
        }
        asked
    }

    /// Lets go of every host's end.
    pub(super) fn drop_branch_ends(&mut self) {
        for branch in &mut self.branches {
            branch.end = None;
        }
    }

    /// Which of the sessions rest when the ladder goes back to this rung.
    pub(super) fn branches_stand_above(rung: Rung) -> bool {
        rung <= Rung::PacketService
    }
}
