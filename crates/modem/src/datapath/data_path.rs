//! A running data path: both directions of the data function and sessions, served in rounds.

use std::time::Instant;

use uwwan_ncm::Framing;

use super::downlink::Downlink;
use super::fault::Fault;
use super::link::Link;
use super::plan::{DataPlan, SessionAddressing};
use super::raw::{RawNtbs, refused};
use super::report::{Report, Running};
use super::sessions::{SessionPath, SessionPaths};
use super::uplink::{Filled, Uplink};
use crate::counters::Tally;
use crate::failure::FailureKind;
use crate::packet::is_ethernet;
use crate::probe::Probe;
use crate::raw::Raw;

/// Callback that is called once when an order is carried out. It must not block.
pub(crate) type Done = Box<dyn FnOnce() + Send>;

/// A running data path.
pub(super) struct DataPath {
    pub(super) uplink: Uplink,
    pub(super) downlink: Downlink,
    pub(super) paths: SessionPaths,
    /// Ethernet beneath session 0, where its host interface carries IP.
    link: Option<Link>,
    /// Datagrams of the driver's own that are not sent yet, with the ids of their sessions.
    pub(super) own: Vec<(u8, Vec<u8>)>,
    /// Probes of the control thread that are not sent yet, with the ids of their sessions.
    pub(super) probes: Vec<(u8, Vec<Probe>)>,
    /// Layout that NTBs are to have from the next one on.
    pub(super) reframe: Option<(Framing, Option<Done>)>,
    /// NTBs that a program sends, with the report of the answers.
    raw: Option<RawNtbs>,
    /// Index of the session whose host is read first.
    turn: usize,
    /// Endpoints whose halt is reported and not yet cleared.
    reported: [Option<u8>; 2],
    /// Resources in use, as last reported.
    running: Running,
    /// Whether NTBs with empty headers have been reported.
    empty_headers_said: bool,
    /// Whether completions or host packets are left from the last round.
    pub(super) more: bool,
}

impl DataPath {
    /// Starts the data path of a plan, and returns it with the resources in use.
    ///
    /// # Errors
    /// [`Fault`] that keeps the data path from starting.
    pub(super) fn start(plan: DataPlan, tally: &mut Tally) -> Result<(Self, Running), Fault> {
        let now = Instant::now();
        let ethernet = plan.sessions.iter().any(|plan| is_ethernet(plan.stream));
        let mut paths = SessionPaths::default();
        for plan in plan.sessions {
            paths.add(plan, now)?;
        }
        let mut uplink = Uplink::new(plan.bulk_out, plan.framing, plan.depth.send);
        let mut downlink = Downlink::new(
            plan.bulk_in,
            plan.limits,
            plan.receive,
            plan.depth.receive,
            tally.refused,
        );
        let mut link = plan.framing.link.map(Link::new);
        if let Some(link) = &mut link {
            link.resolve(now);
        }
        if link.is_some() {
            downlink.strip_frames(plan.framing.bare);
        } else if ethernet {
            downlink.carry_frames(plan.framing.bare);
        }
        let mapped = uplink.is_mapped() && downlink.is_mapped();
        // Idle buffers of either direction may have the memory.
        loop {
            match downlink.submit_idle(now, tally) {
                Ok(()) if downlink.is_starved() && uplink.make_way() => {}
                Ok(()) => break,
                Err(Fault::Memory(_)) if uplink.make_way() | downlink.halve() => {}
                Err(fault) => return Err(fault),
            }
        }
        downlink.fit(now, tally);
        let running = Running {
            receive_transfers: downlink.transfers(),
            send_transfers: uplink.buffers(),
            mapped,
        };
        let data = Self {
            running,
            uplink,
            downlink,
            paths,
            link,
            own: Vec::new(),
            probes: Vec::new(),
            reframe: None,
            raw: None,
            turn: 0,
            reported: [None; 2],
            empty_headers_said: false,
            more: true,
        };
        Ok((data, running))
    }

    /// Uses new addresses for the session of this id.
    pub(super) fn set_addressing(&mut self, session: u8, addressing: SessionAddressing) {
        let now = Instant::now();
        if let Some(path) = self.paths.get(session) {
            path.set_addressing(addressing, now);
            if let Some(link) = &mut self.link {
                link.resolve(now);
            }
            self.more = true;
        }
    }

    /// Returns the time at which a round is due even without a completion or a packet.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let pauses = self.raw.as_ref().is_some_and(RawNtbs::pauses);
        let of_paths = self.paths.iter().flat_map(|path| {
            let probe = path.probes.next.filter(|_| !pauses);
            [path.watch.deadline(), probe]
        });
        let raw = self.raw.as_ref().map(RawNtbs::deadline);
        let link = self.link.as_ref().and_then(Link::deadline);
        let others = [self.downlink.deadline(), raw, link.filter(|_| !pauses)];
        of_paths.chain(others).flatten().min()
    }

    /// Begins to send NTBs of a program.
    pub(super) fn send_raw(&mut self, raw: Raw, tally: &mut Tally) -> Result<(), Fault> {
        // A program that no longer listens leaves before its time to wait is over.
        let listens = |raw: &RawNtbs| raw.pauses() || self.downlink.is_heard();
        if self.raw.as_ref().is_some_and(listens) {
            let busy = refused("another program does so at the moment").of(FailureKind::Busy);
            raw.teller.fail(busy);
            return Ok(());
        }
        let begun = RawNtbs::begin(raw, &mut self.uplink, &mut self.downlink, tally)?;
        self.raw = Some(begun);
        self.more = true;
        Ok(())
    }

    /// Returns whether the driver's own sending pauses for the NTBs of a program. NTBs of a program
    /// that is done are dropped.
    fn pauses(&mut self, now: Instant) -> Result<bool, Fault> {
        let Some(raw) = &mut self.raw else {
            return Ok(false);
        };
        let paused = raw.pauses();
        let goes_on = raw.turn(&mut self.uplink, &mut self.downlink, now)?;
        let pauses = goes_on && raw.pauses();
        if !goes_on {
            self.raw = None;
        }
        // Packets that waited for the end of the pause are sent in another round.
        self.more |= paused && !pauses;
        Ok(pauses)
    }

    /// Takes the addresses that frames have shown on the Ethernet beneath session 0, and sends ARP
    /// packets that are due.
    fn follow_link(&mut self, now: Instant, tally: &mut Tally) -> Result<(), Fault> {
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        let seen = self.downlink.seen();
        if let Some(header) = link.learn(seen) {
            self.uplink.set_link(header);
        }
        let Some(path) = self.paths.get(0) else {
            return Ok(());
        };
        for packet in link.arp(seen, path.ipv4, now) {
            self.uplink.inject(path.stream, &packet, tally)?;
        }
        Ok(())
    }

    /// Resumes an endpoint whose halt has been cleared.
    pub(super) fn halt_cleared(&mut self, endpoint: u8) {
        if endpoint == self.uplink.endpoint() {
            self.uplink.halt_cleared();
        }
        if endpoint == self.downlink.endpoint() {
            self.downlink.halt_cleared();
        }
        for reported in &mut self.reported {
            if *reported == Some(endpoint) {
                *reported = None;
            }
        }
        self.more = true;
    }

    /// Makes one round: handles completed transfers, delivers to the hosts, reads from them, and
    /// reports to the control thread.
    ///
    /// # Errors
    /// [`Fault`] that ends the data path.
    pub(super) fn round(
        &mut self,
        now: Instant,
        tally: &mut Tally,
        report: &mut dyn FnMut(Report) -> bool,
    ) -> Result<(), Fault> {
        let writes = tally.host_writes;
        self.serve_device(now, tally)?;
        let delivered = tally.host_writes != writes;

        let pauses = self.pauses(now)?;
        for path in self.paths.iter_mut() {
            let stream = path.stream;
            tell_heard(path, now, report);
            if pauses {
                continue;
            }
            while let Some(reply) = path.monitor.replies.pop_front() {
                tally.neighbour_answers += 1;
                self.uplink.inject(stream, &reply, tally)?;
            }
            if path.probes.due(now)
                && let Some(probe) = &path.monitor.probe
            {
                path.monitor.probe_out = true;
                self.uplink.inject(stream, probe.datagram(), tally)?;
                path.watch.sent(now);
            }
        }
        if !pauses {
            self.follow_link(now, tally)?;
            for (session, datagram) in self.own.drain(..) {
                if let Some(path) = self.paths.get(session) {
                    self.uplink.inject(path.stream, &datagram, tally)?;
                }
            }
            self.follow_control(tally)?;
        }
        self.read_hosts(now, delivered, tally, report)?;
        self.uplink.flush(tally)?;
        self.more |= self.uplink.is_stuck() && !self.downlink.is_making_way();

        let filled = self.uplink.take_filled();
        for path in self.paths.iter_mut() {
            if filled {
                path.watch.filled();
            }
            if let Some(verdict) = path.watch.check(now) {
                report(Report::Verdict(path.id, verdict));
            }
            path.publish();
        }
        self.tell_changes(report);
        Ok(())
    }

    /// Collects completed transfers of both directions, and delivers received datagrams to the
    /// hosts that have room.
    fn serve_device(&mut self, now: Instant, tally: &mut Tally) -> Result<(), Fault> {
        if self.uplink.is_short_of_memory() && self.downlink.will_free_memory() {
            self.uplink.keep_buffers();
        }
        self.uplink.reap(now, tally)?;
        if self.uplink.take_starved() && !self.downlink.make_way() {
            let what = "out of USB transfer memory: there is enough for one transfer alone";
            return Err(Fault::Memory(what.to_owned()));
        }

        let overdue = self
            .downlink
            .deadline()
            .is_some_and(|deadline| now >= deadline);
        let mut waited_for = self
            .paths
            .iter()
            .filter(|path| self.downlink.waits_for(path.id))
            .peekable();
        // A session that has been taken off the data path delays nothing.
        let writable = !self.downlink.is_held()
            || waited_for.peek().is_none()
            || waited_for.any(|path| path.writable);
        self.more = if writable || overdue {
            match self.downlink.run(&mut self.paths, now, tally) {
                // Idle send buffers are freed for the device's NTBs.
                Err(Fault::Memory(_)) if self.uplink.make_way() => true,
                result => result?,
            }
        } else {
            false
        };
        Ok(())
    }

    /// Reports changes of the transfers and endpoints since the last round.
    fn tell_changes(&mut self, report: &mut dyn FnMut(Report) -> bool) {
        if self.downlink.take_short_of_memory() {
            report(Report::ShortOfMemory);
        }
        let running = Running {
            receive_transfers: self.downlink.transfers(),
            send_transfers: self.uplink.buffers(),
            ..self.running
        };
        if running != self.running {
            self.running = running;
            report(Report::Running(running));
        }
        if self.downlink.empty_headers() >= 8 && !self.empty_headers_said {
            self.empty_headers_said = true;
            report(Report::EmptyHeaders);
        }
        let halts = [
            (self.uplink.can_clear_halt(), self.uplink.endpoint()),
            (self.downlink.can_clear_halt(), self.downlink.endpoint()),
        ];
        for (place, (halted, endpoint)) in halts.into_iter().enumerate() {
            if halted && self.reported[place].is_none() {
                self.reported[place] = Some(endpoint);
                report(Report::Halted(endpoint));
            }
        }
    }

    /// Takes the layout of NTBs that the control thread has ordered, and sends its probes.
    fn follow_control(&mut self, tally: &mut Tally) -> Result<(), Fault> {
        if let Some((framing, done)) = self.reframe.take() {
            self.uplink.reframe(framing, tally)?;
            if let Some(done) = done {
                done();
            }
            for path in self.paths.iter_mut() {
                path.watch.forget_asked();
            }
        }
        for (session, probes) in self.probes.drain(..) {
            if let Some(path) = self.paths.get(session) {
                let datagrams = probes.iter().map(Probe::datagram);
                self.uplink.inject_alone(path.stream, datagrams, tally)?;
                for probe in probes {
                    path.monitor.probed(probe);
                }
            }
        }
        Ok(())
    }

    /// Reads every host that has packets, beginning with another one each round. A host that was
    /// delivered to mostly answers at once, so after a delivery every host is read without being
    /// polled.
    fn read_hosts(
        &mut self,
        now: Instant,
        delivered: bool,
        tally: &mut Tally,
        report: &mut dyn FnMut(Report) -> bool,
    ) -> Result<(), Fault> {
        let count = self.paths.len();
        let mut left_off = Filled::Drained;
        let mut broken = None;
        let rested = self.uplink.pace.rested(now);
        // A host that was not read to its end is read on as soon as there is room.
        if self.uplink.is_drained() && !rested {
            let has_something = self.paths.iter().any(|path| path.readable);
            let resting = self.uplink.pace.resting().is_some();
            if resting || !self.uplink.pace.read_now(now, has_something) {
                return Ok(());
            }
        }
        // Packets may pass the NTBs that wait, of which a host is not polled.
        let unasked = rested || delivered || self.uplink.may_be_passed();
        self.turn = if self.turn + 1 < count {
            self.turn + 1
        } else {
            0
        };
        for step in 0..count {
            let index = (self.turn + step) % count;
            let has_some = |path: &&mut SessionPath| path.readable || path.has_waiting() || unasked;
            let Some(path) = self.paths.at(index).filter(has_some) else {
                continue;
            };
            match self.uplink.fill(path.inlet(), now, tally) {
                Ok(filled) => left_off = left_off.max(filled),
                // The failure of another session's host must not end session 0.
                Err(fault @ (Fault::Host(_) | Fault::Framing)) if path.id != 0 => {
                    broken = Some((path.id, fault));
                }
                Err(fault) => return Err(fault),
            }
        }
        self.more |= left_off == Filled::RoundOver;
        self.uplink.set_left_off(left_off);
        if let Some((session, fault)) = broken {
            self.paths.remove(session);
            report(Report::SessionLost(session, fault));
        }
        Ok(())
    }
}

/// Reports what came in on a session since the last round: the watch's verdict, answers to probes,
/// the hosts that answered, and packets of the link that are for the control thread.
fn tell_heard(path: &mut SessionPath, now: Instant, report: &mut dyn FnMut(Report) -> bool) {
    if std::mem::take(&mut path.monitor.heard) {
        if let Some(verdict) = path.watch.heard(now) {
            report(Report::Verdict(path.id, verdict));
        }
        path.probes.next = None;
        path.monitor.probe_out = false;
    }
    for identity in path.monitor.answered.drain(..) {
        report(Report::Probed(identity));
    }
    let watch = &path.watch;
    if path
        .monitor
        .sources
        .drain(..)
        .any(|source| watch.was_asked(&source))
    {
        report(Report::HostAnswered(path.id));
    }
    while let Some(datagram) = path.monitor.link.pop_front() {
        report(Report::Link(path.id, datagram));
    }
}
