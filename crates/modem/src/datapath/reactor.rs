//! The thread: one wait for everything, then each direction in turn.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use rustix::event::{EventfdFlags, eventfd};
use uwwan_usb::device::{Pump, Queue};

use super::downlink::Downlink;
use super::monitor::{Monitor, Probes};
use super::notifications::Notifications;
use super::uplink::Uplink;
use super::{DataPlan, Fault, Link, Running, Verdict};
use crate::counters::{Counters, Tally};
use crate::host::HostEnd;
use crate::poll::PollSet;
use crate::watch::Watch;

/// What the reactor tells the control thread.
#[derive(Debug)]
pub(crate) enum Report {
    /// A notification from the interrupt endpoint.
    Notification(Vec<u8>),
    /// An endpoint is halted and drained: clear it and answer with [`Reactor::halt_cleared`].
    Halted(u8),
    /// The data path has ended.
    DataLost(Fault),
    /// The device can be used no more.
    Ended(Fault),
    /// Black hole found or gone.
    Verdict(Verdict),
    /// Blocks come with empty headers: the device needs the other format.
    EmptyHeaders,
}

enum Order {
    Start(Box<DataPlan>, Sender<Result<Running, Fault>>),
    StopData(Sender<()>),
    HaltCleared(u8),
    Link(Box<Link>),
}

/// The control thread's handle on the reactor. Dropping it stops the thread.
pub(crate) struct Reactor {
    orders: Option<Sender<Order>>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// How long the reactor may take to follow an order, cancelled transfers included.
const PATIENCE: Duration = Duration::from_secs(3);

impl Reactor {
    /// Starts the thread. `report` is called from it and must not block.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left.
    pub(crate) fn spawn(
        pump: Box<dyn Pump>,
        interrupt: Box<dyn Queue>,
        counters: Arc<Counters>,
        report: Box<dyn FnMut(Report) -> bool + Send>,
    ) -> std::io::Result<Self> {
        let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let (orders, inbox) = unbounded();
        let mut worker = Worker {
            pump: Some(pump),
            interrupt: Notifications::new(interrupt),
            data: None,
            inbox,
            wake: Arc::clone(&wake),
            poll: PollSet::default(),
            tally: counters.snapshot(),
            published: Tally::default(),
            counters,
            report,
        };
        let thread = std::thread::Builder::new()
            .name("uwwan-data".into())
            .spawn(move || worker.run())?;
        Ok(Self {
            orders: Some(orders),
            wake,
            thread: Some(thread),
        })
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // A thread that has ended has reported why.
            let _ = orders.send(order);
        }
        self.ring();
    }

    /// Makes the system call `write`.
    fn ring(&self) {
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }

    /// Starts to move datagrams.
    pub(crate) fn start(&self, plan: DataPlan) -> Result<Running, Fault> {
        let (answer, result) = bounded(1);
        self.order(Order::Start(Box::new(plan), answer));
        result
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| Err(Fault::Backend("the data thread does not answer".into())))
    }

    /// Stops to move datagrams and drains the endpoints. `false` when that took too long.
    pub(crate) fn stop_data(&self) -> bool {
        let (answer, result) = bounded(1);
        self.order(Order::StopData(answer));
        result.recv_timeout(PATIENCE).is_ok()
    }

    /// A halt reported was cleared.
    pub(crate) fn halt_cleared(&self, endpoint: u8) {
        self.order(Order::HaltCleared(endpoint));
    }

    /// The addresses have changed.
    pub(crate) fn link(&self, link: Link) {
        self.order(Order::Link(Box::new(link)));
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.orders = None;
        self.ring();
        let Some(thread) = self.thread.take() else {
            return;
        };
        let deadline = Instant::now() + 2 * PATIENCE;
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        if thread.is_finished() {
            let _ = thread.join();
        } else {
            tracing::warn!("the data thread does not end; leaving it behind");
        }
    }
}

struct Worker {
    /// `None` once the device can be used no more.
    pump: Option<Box<dyn Pump>>,
    interrupt: Notifications,
    data: Option<Data>,
    inbox: Receiver<Order>,
    wake: Arc<OwnedFd>,
    poll: PollSet,
    tally: Tally,
    published: Tally,
    counters: Arc<Counters>,
    /// `false` when the control thread is behind.
    report: Box<dyn FnMut(Report) -> bool + Send>,
}

/// A running data path.
struct Data {
    uplink: Uplink,
    downlink: Downlink,
    host: Arc<dyn HostEnd>,
    watch: Watch,
    monitor: Monitor,
    probes: Probes,
    /// Halts reported and not yet cleared.
    reported: [Option<u8>; 2],
    empty_headers_said: bool,
    /// Completions or host packets are left from the last round.
    more: bool,
}

impl Worker {
    fn run(&mut self) {
        self.interrupt.submit(&mut self.tally);
        while self.follow_orders() {
            let (host_readable, host_writable) = match self.wait() {
                Ok(ready) => ready,
                Err(error) => {
                    self.end(Fault::Backend(format!("waiting for descriptors: {error}")));
                    continue;
                }
            };
            let now = Instant::now();
            if let Some(pump) = self.pump.as_mut()
                && let Err(error) = pump.process()
            {
                let fault = match error {
                    uwwan_usb::error::Error::Gone { .. } => Fault::Gone,
                    error => Fault::Backend(error.to_string()),
                };
                self.end(fault);
                continue;
            }
            if let Err(fault) = self.interrupt.run(now, &mut self.tally, &mut *self.report) {
                self.end(fault);
                continue;
            }
            if let Some(data) = self.data.as_mut()
                && let Err(fault) = data.round(
                    now,
                    host_readable,
                    host_writable,
                    &mut self.tally,
                    &mut *self.report,
                )
            {
                if fault == Fault::Gone {
                    self.end(fault);
                } else {
                    self.stop_data();
                    (self.report)(Report::DataLost(fault));
                }
            }
            self.counters.publish(&self.tally, &mut self.published);
        }
        self.stop_data();
        self.drain_interrupt();
        self.counters.publish(&self.tally, &mut self.published);
    }

    /// `false` when the control thread has let go.
    fn follow_orders(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(Order::Start(plan, answer)) => {
                    self.stop_data();
                    let result = if self.pump.is_some() {
                        Data::start(*plan, &mut self.tally)
                    } else {
                        Err(Fault::Gone)
                    };
                    let _ = answer.send(result.map(|(data, running)| {
                        self.data = Some(data);
                        running
                    }));
                }
                Ok(Order::StopData(answer)) => {
                    self.stop_data();
                    let _ = answer.send(());
                }
                Ok(Order::HaltCleared(endpoint)) => {
                    self.tally.halts_cleared += 1;
                    self.interrupt.halt_cleared(endpoint);
                    self.interrupt.submit(&mut self.tally);
                    if let Some(data) = self.data.as_mut() {
                        data.halt_cleared(endpoint);
                    }
                }
                Ok(Order::Link(link)) => {
                    if let Some(data) = self.data.as_mut() {
                        data.set_link(*link);
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Sleeps until something is to be done. Tells whether the host can be read and written.
    ///
    /// Makes the system calls `ppoll` and `read`.
    fn wait(&mut self) -> std::io::Result<(bool, bool)> {
        self.poll.clear();
        let mut timeout: Option<Duration> = None;
        let mut at_most = |limit: Duration| timeout = Some(timeout.map_or(limit, |t| t.min(limit)));
        if let Some(pump) = &self.pump {
            for (fd, write) in pump.descriptors() {
                self.poll.add_raw(*fd, !*write, *write);
            }
            if let Some(limit) = pump.timeout() {
                at_most(limit);
            }
        }
        let wake = self.poll.add(&self.wake, true, false);
        let mut host = None;
        let now = Instant::now();
        if let Some(until) = self.interrupt.paused_until {
            at_most(until.saturating_duration_since(now));
        }
        if let Some(data) = &self.data {
            let (read, write) = (data.uplink.wants_input(), data.downlink.wants_output());
            if read || write {
                host = Some(self.poll.add(&data.host.as_fd(), read, write));
            }
            if let Some(deadline) = data.deadline() {
                at_most(deadline.saturating_duration_since(now));
            }
            if data.more {
                at_most(Duration::ZERO);
            }
        }
        self.poll.wait(timeout)?;
        if self.poll.found(wake).readable {
            let mut count = [0; 8];
            let _ = rustix::io::read(&*self.wake, &mut count);
        }
        let found = host.map(|place| self.poll.found(place)).unwrap_or_default();
        // A broken end is read, too: reading tells what is wrong with it.
        Ok((
            found.readable || found.broken,
            found.writable || found.broken,
        ))
    }

    fn end(&mut self, fault: Fault) {
        self.stop_data();
        self.drain_interrupt();
        if self.pump.take().is_some() {
            (self.report)(Report::Ended(fault));
        }
    }

    fn stop_data(&mut self) {
        if let Some(data) = self.data.take() {
            let Data {
                uplink, downlink, ..
            } = data;
            drain(
                self.pump.as_deref_mut(),
                &mut self.poll,
                uplink.into_queue(),
            );
            drain(
                self.pump.as_deref_mut(),
                &mut self.poll,
                downlink.into_queue(),
            );
        }
    }

    fn drain_interrupt(&mut self) {
        self.interrupt.paused_until = None;
        if let Some(queue) = self.interrupt.queue.take() {
            drain(self.pump.as_deref_mut(), &mut self.poll, queue);
        }
    }
}

/// Cancels what is pending and collects it, so that dropping the queue waits for nothing.
fn drain(mut pump: Option<&mut (dyn Pump + '_)>, poll: &mut PollSet, mut queue: Box<dyn Queue>) {
    let deadline = Instant::now() + Duration::from_secs(1);
    queue.cancel_all();
    loop {
        while queue.try_next().is_some() {}
        let Some(pump) = pump.as_mut() else {
            return;
        };
        if queue.pending() == 0 || Instant::now() >= deadline {
            return;
        }
        poll.clear();
        for (fd, write) in pump.descriptors() {
            poll.add_raw(*fd, !*write, *write);
        }
        if poll.wait(Some(Duration::from_millis(5))).is_err() || pump.process().is_err() {
            while queue.try_next().is_some() {}
            return;
        }
    }
}

impl Data {
    fn start(plan: DataPlan, tally: &mut Tally) -> Result<(Self, Running), Fault> {
        let now = Instant::now();
        let uplink = Uplink::new(plan.bulk_out, plan.framing, plan.link.mtu, plan.depth);
        let mut downlink = Downlink::new(
            plan.bulk_in,
            plan.limits,
            plan.receive_size,
            plan.receive_max,
            plan.depth,
            tally.refused,
        );
        let mapped = uplink.is_mapped() && downlink.is_mapped();
        downlink.submit_idle(now, tally)?;
        let running = Running {
            receive_transfers: downlink.pending(),
            send_transfers: plan.depth,
            mapped,
        };
        let mut data = Self {
            uplink,
            downlink,
            host: plan.host,
            watch: Watch::new(now),
            monitor: Monitor::default(),
            probes: Probes::default(),
            reported: [None; 2],
            empty_headers_said: false,
            more: true,
        };
        data.set_link(plan.link);
        Ok((data, running))
    }

    fn set_link(&mut self, link: Link) {
        let now = Instant::now();
        self.uplink.set_mtu(link.mtu);
        self.watch = Watch::new(now);
        self.probes = Probes::new(link.probe.is_some(), now);
        self.monitor.probe = link.probe;
        self.monitor.ours = link.ours;
        self.more = true;
    }

    fn deadline(&self) -> Option<Instant> {
        [
            self.watch.deadline(),
            self.downlink.deadline(),
            self.probes.next,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn halt_cleared(&mut self, endpoint: u8) {
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

    fn round(
        &mut self,
        now: Instant,
        host_readable: bool,
        host_writable: bool,
        tally: &mut Tally,
        report: &mut dyn FnMut(Report) -> bool,
    ) -> Result<(), Fault> {
        let host = &*self.host;
        self.uplink.reap(now, tally)?;

        let before = tally.received_packets + tally.probe_answers;
        let overdue = self
            .downlink
            .deadline()
            .is_some_and(|deadline| now >= deadline);
        self.more = if !self.downlink.wants_output() || host_writable || overdue {
            self.downlink.run(host, now, &mut self.monitor, tally)?
        } else {
            false
        };
        if tally.received_packets + tally.probe_answers != before {
            if let Some(verdict) = self.watch.heard(now) {
                report(Report::Verdict(verdict));
            }
            self.probes.next = None;
            self.monitor.probe_out = false;
        }

        while let Some(reply) = self.monitor.replies.pop_front() {
            tally.neighbour_answers += 1;
            self.uplink.inject(&reply, tally)?;
        }
        if self.probes.due(now)
            && let Some(probe) = &self.monitor.probe
        {
            self.monitor.probe_out = true;
            self.uplink.inject(probe.datagram(), tally)?;
            self.watch.sent(now);
        }
        if host_readable {
            self.uplink.fill(host, now, &mut self.watch, tally)?;
        } else {
            self.uplink.host_is_idle();
        }
        self.uplink.flush(tally)?;

        if let Some(verdict) = self.watch.check(now) {
            report(Report::Verdict(verdict));
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
        Ok(())
    }
}
