//! The data sessions on one data path, each with a host interface of its own.
//!
//! NTBs carry datagrams of all sessions; an NDP in each NTB names the session. With the NDP at the
//! end an NTB carries one session, so the uplink closes an NTB when another session's turn comes.
//! Each session has its own watch for silence, its own probes, and its own answers to neighbour
//! solicitations.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use uwwan_ncm::Stream;
use uwwan_tun::coalesce::Coalescer;
use uwwan_tun::scatter::Scatter;

use super::delivery::{Inspect, Outlet, Outlets, Sink};
use super::fault::Fault;
use super::inlet::{Inlet, Source};
use super::monitor::{Monitor, Probes};
use super::plan::{SessionAddressing, SessionPlan};
use crate::counters::{SessionCounters, SessionTally, Tally};
use crate::host::{HostData, Large, TakenData};
use crate::packet::is_ethernet;
use crate::watch::Watch;

/// Segmentation and receive offload of one host interface.
struct Offload {
    /// Cuts large packets from the host into datagrams.
    scatter: Scatter,
    /// Merges datagrams to the host into large packets.
    coalescer: Coalescer,
}

impl Offload {
    /// Returns the offload in `place`, which is made at the first call.
    fn of<'a>(
        place: &'a mut Option<Box<Self>>,
        host: &dyn Large,
        mtu: usize,
        ack_filter: bool,
    ) -> &'a mut Self {
        place.get_or_insert_with(|| {
            let mut coalescer = Coalescer::new(host.merge());
            coalescer.filter_acks(ack_filter);
            Box::new(Self {
                scatter: Scatter::new(mtu),
                coalescer,
            })
        })
    }
}

/// One data session on the data path.
pub(super) struct SessionPath {
    /// MBIM session id.
    pub(super) id: u8,
    /// Kind of the session's datagrams, which determines the signature of its NDPs.
    pub(super) stream: Stream,
    /// Host interface of the session.
    pub(super) host: TakenData,
    /// Length of the longest datagram, in bytes.
    mtu: usize,
    /// The host's IPv4 address and the gateway's, for ARP.
    pub(super) ipv4: Option<(Ipv4Addr, Option<Ipv4Addr>)>,
    /// Whether superseded acknowledgements to the host are left out.
    ack_filter: bool,
    /// Offload, where the host interface carries large packets.
    offload: Option<Box<Offload>>,
    /// Watch for a session on which nothing comes back.
    pub(super) watch: Watch,
    /// Inspector of the datagrams on their way to the host.
    pub(super) monitor: Monitor,
    /// Schedule of the session's probes.
    pub(super) probes: Probes,
    /// Counters that the session's counts are published in.
    counters: Arc<SessionCounters>,
    /// Counts as last published.
    published: SessionTally,
    /// Indices of the host interface among the polled descriptors: for reading, and for writing.
    pub(super) places: [Option<usize>; 2],
    /// Whether the last wait found that the host has packets to send.
    pub(super) readable: bool,
    /// Whether the last wait found that the host has room.
    pub(super) writable: bool,
}

impl SessionPath {
    /// Takes a session and its host interface into use.
    ///
    /// # Errors
    /// [`Fault::Host`] while another data path has the host interface.
    fn new(plan: SessionPlan, now: Instant) -> Result<Self, Fault> {
        let Some(host) = plan.host.take() else {
            return Err(Fault::Host("another data path still has it".into()));
        };
        let carried = plan.counters.snapshot();
        let mut path = Self {
            id: plan.id,
            stream: plan.stream,
            host,
            mtu: 0,
            ipv4: None,
            ack_filter: plan.ack_filter,
            offload: None,
            watch: Watch::new(now),
            monitor: Monitor {
                ethernet: is_ethernet(plan.stream),
                carried,
                ..Monitor::default()
            },
            probes: Probes::default(),
            counters: plan.counters,
            published: carried,
            places: [None; 2],
            readable: false,
            writable: false,
        };
        path.set_addressing(plan.addressing, now);
        if let HostData::Large(host) = &*path.host {
            Offload::of(&mut path.offload, &**host, path.mtu, path.ack_filter);
        }
        Ok(path)
    }

    /// Takes new addresses into use. The watch and the probes begin anew.
    pub(super) fn set_addressing(&mut self, addressing: SessionAddressing, now: Instant) {
        self.mtu = usize::from(addressing.mtu);
        if let Some(offload) = &mut self.offload {
            offload.scatter.set_mtu(self.mtu);
        }
        self.watch = Watch::new(now).eager(addressing.eager);
        self.probes = Probes::new(addressing.probe.is_some(), now);
        self.monitor.probe = addressing.probe;
        self.monitor.ours = addressing.ours;
        self.monitor.link_layer = addressing.link_layer;
        self.ipv4 = addressing.ipv4;
        self.monitor.listen = addressing.listen;
    }

    /// Returns the inlet from which the session's datagrams are read.
    pub(super) fn inlet(&mut self) -> Inlet<'_> {
        let source = match &mut *self.host {
            HostData::Single(host) => Source::Single(&mut **host),
            HostData::Large(host) => {
                let offload = Offload::of(&mut self.offload, &**host, self.mtu, self.ack_filter);
                Source::Large(&mut **host, &mut offload.scatter)
            }
        };
        Inlet {
            source,
            stream: self.stream,
            mtu: self.mtu,
            watch: &mut self.watch,
            carried: &mut self.monitor.carried,
        }
    }

    /// Returns whether the host may have a packet that fills several NTBs.
    pub(super) fn expects_large(&self) -> bool {
        self.offload
            .as_ref()
            .is_some_and(|offload| offload.scatter.expects_large())
    }

    /// Returns whether datagrams of the session were taken from the kernel and wait for room.
    pub(super) fn has_waiting(&self) -> bool {
        let scattered = self.offload.as_deref().map(|offload| &offload.scatter);
        scattered.is_some_and(|scatter| scatter.waiting().is_some()) || self.host.has_waiting()
    }

    /// Publishes the session's counts if they have changed.
    pub(super) fn publish(&mut self) {
        if self.monitor.carried != self.published {
            self.published = self.monitor.carried;
            self.counters.publish(&self.published);
        }
    }
}

/// All data sessions on the data path in the order of their ids.
#[derive(Default)]
pub(super) struct SessionPaths(Vec<SessionPath>);

impl SessionPaths {
    /// Adds a session, or replaces the one of the same id.
    ///
    /// # Errors
    /// [`Fault::Host`] while another data path has the session's host interface.
    pub(super) fn add(&mut self, plan: SessionPlan, now: Instant) -> Result<(), Fault> {
        self.remove(plan.id);
        self.0.push(SessionPath::new(plan, now)?);
        self.0.sort_by_key(|path| path.id);
        Ok(())
    }

    /// Takes a session off the data path.
    pub(super) fn remove(&mut self, session: u8) {
        self.0.retain_mut(|path| {
            path.publish();
            path.id != session
        });
    }

    /// Returns the session of this id, if it is on the data path.
    pub(super) fn get(&mut self, session: u8) -> Option<&mut SessionPath> {
        self.0.iter_mut().find(|path| path.id == session)
    }

    /// Returns the sessions in the order of their ids.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, SessionPath> {
        self.0.iter()
    }

    /// Returns the sessions in the order of their ids, to be changed.
    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, SessionPath> {
        self.0.iter_mut()
    }

    /// Returns the number of sessions.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the session at an index in the order of their ids.
    pub(super) fn at(&mut self, index: usize) -> Option<&mut SessionPath> {
        self.0.get_mut(index)
    }
}

impl Outlets for SessionPaths {
    fn outlet(&mut self, session: u8) -> Option<Outlet<'_>> {
        let path = self.get(session)?;
        let sink = match &mut *path.host {
            HostData::Single(host) => Sink::Single(&mut **host),
            HostData::Large(host) => {
                let offload = Offload::of(&mut path.offload, &**host, path.mtu, path.ack_filter);
                Sink::Large(&mut **host, &mut offload.coalescer)
            }
        };
        Some(Outlet {
            sink,
            inspect: &mut path.monitor,
        })
    }

    fn merge(&self) -> bool {
        self.0.iter().any(|path| path.offload.is_some())
    }
}

impl Inspect for Monitor {
    fn inspect(&mut self, datagram: &[u8], tally: &mut Tally) -> bool {
        self.see(datagram, tally)
    }

    fn delivered(&mut self, datagrams: u64, bytes: u64) {
        self.carried.received_packets += datagrams;
        self.carried.received_bytes += bytes;
    }
}
