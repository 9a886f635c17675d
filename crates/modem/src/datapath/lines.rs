//! The data sessions on one data path, each with its own host's end.
//!
//! Blocks carry datagrams of all sessions; a table in each block names the session. With the table
//! at the end a block carries one session, so the uplink closes a block when another session's
//! turn comes. Everything that judges a link (silence, probes, neighbour solicitations) is kept a
//! session.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use uwwan_ncm::Stream;
use uwwan_tun::coalesce::Coalescer;
use uwwan_tun::scatter::Scatter;

use super::Link;
use super::delivery::{Inspect, Outlet, Outlets, Sink};
use super::monitor::{Monitor, Probes};
use super::uplink::{Inlet, Source};
use crate::counters::Tally;
use crate::host::{HostEnd, Large, Packets};
use crate::status::Direction;
use crate::watch::Watch;

/// What one session has carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flow {
    /// Datagrams put into blocks.
    pub(crate) sent_packets: u64,
    /// Their bytes.
    pub(crate) sent_bytes: u64,
    /// Datagrams handed to the host.
    pub(crate) received_packets: u64,
    /// Their bytes.
    pub(crate) received_bytes: u64,
}

/// The published copy of a session's [`Flow`]; it outlives bring-ups. One writer.
#[derive(Debug, Default)]
pub(crate) struct FlowCounters {
    sent_packets: AtomicU64,
    sent_bytes: AtomicU64,
    received_packets: AtomicU64,
    received_bytes: AtomicU64,
}

impl FlowCounters {
    fn publish(&self, flow: &Flow) {
        self.sent_packets
            .store(flow.sent_packets, Ordering::Relaxed);
        self.sent_bytes.store(flow.sent_bytes, Ordering::Relaxed);
        self.received_packets
            .store(flow.received_packets, Ordering::Relaxed);
        self.received_bytes
            .store(flow.received_bytes, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Flow {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Flow {
            sent_packets: load(&self.sent_packets),
            sent_bytes: load(&self.sent_bytes),
            received_packets: load(&self.received_packets),
            received_bytes: load(&self.received_bytes),
        }
    }

    /// Both directions as `status` prints them: blocks are the data path's, not a session's.
    pub(crate) fn directions(&self) -> (Direction, Direction) {
        let flow = self.snapshot();
        let direction = |packets, bytes| Direction {
            packets,
            bytes,
            ..Direction::default()
        };
        (
            direction(flow.sent_packets, flow.sent_bytes),
            direction(flow.received_packets, flow.received_bytes),
        )
    }
}

/// What a session is put on the data path with.
pub(crate) struct LinePlan {
    /// Its number.
    pub(crate) session: u8,
    /// What its datagrams are.
    pub(crate) stream: Stream,
    /// Where its datagrams come from and go to.
    pub(crate) host: Arc<dyn HostEnd>,
    /// What depends on its addresses.
    pub(crate) link: Link,
    /// Its counters.
    pub(crate) counters: Arc<FlowCounters>,
}

/// What cuts and merges the large packets of one host.
struct Offload {
    scatter: Scatter,
    coalescer: Coalescer,
}

impl Offload {
    /// Made when it is first asked for.
    fn of<'a>(place: &'a mut Option<Box<Self>>, host: &dyn Large, mtu: usize) -> &'a mut Self {
        place.get_or_insert_with(|| {
            Box::new(Self {
                scatter: Scatter::new(mtu),
                coalescer: Coalescer::new(host.merge()),
            })
        })
    }
}

/// One session on the data path.
pub(super) struct Line {
    pub(super) session: u8,
    pub(super) stream: Stream,
    pub(super) host: Arc<dyn HostEnd>,
    mtu: usize,
    /// Where its host has large packets.
    offload: Option<Box<Offload>>,
    pub(super) watch: Watch,
    pub(super) monitor: Monitor,
    pub(super) probes: Probes,
    counters: Arc<FlowCounters>,
    published: Flow,
    /// Its places among the descriptors waited for, to read and to write.
    pub(super) places: [Option<usize>; 2],
    pub(super) readable: bool,
    pub(super) writable: bool,
}

impl Line {
    fn new(plan: LinePlan, now: Instant) -> Self {
        let flow = plan.counters.snapshot();
        let mut line = Self {
            session: plan.session,
            stream: plan.stream,
            host: plan.host,
            mtu: 0,
            offload: None,
            watch: Watch::new(now),
            monitor: Monitor {
                flow,
                ..Monitor::default()
            },
            probes: Probes::default(),
            counters: plan.counters,
            published: flow,
            places: [None; 2],
            readable: false,
            writable: false,
        };
        line.set_link(plan.link, now);
        if let Packets::Large(host) = line.host.packets() {
            Offload::of(&mut line.offload, host, line.mtu);
        }
        line
    }

    pub(super) fn set_link(&mut self, link: Link, now: Instant) {
        self.mtu = usize::from(link.mtu);
        if let Some(offload) = &mut self.offload {
            offload.scatter.set_mtu(self.mtu);
        }
        self.watch = Watch::new(now);
        self.probes = Probes::new(link.probe.is_some(), now);
        self.monitor.probe = link.probe;
        self.monitor.ours = link.ours;
    }

    /// Where its datagrams come from.
    pub(super) fn inlet(&mut self) -> Inlet<'_> {
        let source = match self.host.packets() {
            Packets::Single(host) => Source::Single(host),
            Packets::Large(host) => {
                let offload = Offload::of(&mut self.offload, host, self.mtu);
                Source::Large(host, &mut offload.scatter)
            }
        };
        Inlet {
            source,
            stream: self.stream,
            mtu: self.mtu,
            watch: &mut self.watch,
            flow: &mut self.monitor.flow,
        }
    }

    /// Whether its host may have a packet for several blocks.
    pub(super) fn expects_large(&self) -> bool {
        self.offload
            .as_ref()
            .is_some_and(|offload| offload.scatter.expects_large())
    }

    /// Whether datagrams of its are read and wait for room.
    pub(super) fn has_waiting(&self) -> bool {
        self.offload
            .as_ref()
            .is_some_and(|offload| offload.scatter.waiting().is_some())
    }

    pub(super) fn publish(&mut self) {
        if self.monitor.flow != self.published {
            self.published = self.monitor.flow;
            self.counters.publish(&self.published);
        }
    }
}

/// All of them. The first is session 0's.
#[derive(Default)]
pub(super) struct Lines(Vec<Line>);

impl Lines {
    /// Adds a session, or replaces the one of the same number.
    pub(super) fn add(&mut self, plan: LinePlan, now: Instant) {
        self.remove(plan.session);
        self.0.push(Line::new(plan, now));
        self.0.sort_by_key(|line| line.session);
    }

    /// Takes a session off.
    pub(super) fn remove(&mut self, session: u8) {
        self.0.retain_mut(|line| {
            line.publish();
            line.session != session
        });
    }

    pub(super) fn get(&mut self, session: u8) -> Option<&mut Line> {
        self.0.iter_mut().find(|line| line.session == session)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Line> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Line> {
        self.0.iter_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn at(&mut self, index: usize) -> Option<&mut Line> {
        self.0.get_mut(index)
    }
}

impl Outlets for Lines {
    fn outlet(&mut self, session: u8) -> Option<Outlet<'_>> {
        let line = self.get(session)?;
        let sink = match line.host.packets() {
            Packets::Single(host) => Sink::Single(host),
            Packets::Large(host) => {
                let offload = Offload::of(&mut line.offload, host, line.mtu);
                Sink::Large(host, &mut offload.coalescer)
            }
        };
        Some(Outlet {
            sink,
            inspect: &mut line.monitor,
        })
    }

    fn merge(&self) -> bool {
        self.0.iter().any(|line| line.offload.is_some())
    }
}

impl Inspect for Monitor {
    fn inspect(&mut self, datagram: &[u8], tally: &mut Tally) -> bool {
        self.see(datagram, tally)
    }

    fn delivered(&mut self, datagrams: u64, bytes: u64) {
        self.flow.received_packets += datagrams;
        self.flow.received_bytes += bytes;
    }
}
