//! The data thread, which waits for everything in one place and then serves each direction in turn.

use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use rustix::event::{EventfdFlags, eventfd};
use uwwan_ncm::Framing;
use uwwan_usb::device::{Pump, Queue};

use super::downlink::Downlink;
use super::fault::Fault;
use super::link::Link;
use super::notifications::Notifications;
use super::plan::{DataPlan, SessionAddressing, SessionPlan};
use super::raw::{RawNtbs, refused};
use super::report::{Report, Running};
use super::sessions::{SessionPath, SessionPaths};
use super::uplink::{Filled, Uplink};
use crate::counters::{Counters, Tally};
use crate::failure::FailureKind;
use crate::packet::is_ethernet;
use crate::poll::{PollSet, Readiness};
use crate::probe::Probe;
use crate::raw::Raw;

/// Call that is made once when an order is carried out. It must not block.
pub(crate) type Done = Box<dyn FnOnce() + Send>;

/// An order from the control thread.
enum Order {
    /// Listen for notifications on this queue, or on none, and answer then.
    Listen(Option<Box<dyn Queue>>, Sender<()>),
    /// Start the data path of this plan, and answer what is in use or why it cannot start.
    Start(Box<DataPlan>, Sender<Result<Running, Fault>>),
    /// Stop the data path, drain its endpoints, and answer then.
    StopData(Sender<()>),
    /// Go on with this endpoint, whose halt has been cleared.
    HaltCleared(u8),
    /// Put this session on the data path.
    AddSession(Box<SessionPlan>),
    /// Take the session of this id off the data path.
    RemoveSession(u8),
    /// Use these addresses for the session of this id.
    Readdress(u8, Box<SessionAddressing>),
    /// Send this datagram of the driver's own on the session of this id.
    Inject(u8, Vec<u8>),
    /// Send these probes on the session of this id, in an NTB of their own.
    Probe(u8, Vec<Probe>),
    /// Expect no more answers to probes on the session of this id, and from here on tell of silence
    /// early or not.
    EndProbes(u8, bool),
    /// Expect NTBs from the device of this size in bytes, and none smaller than the second from here
    /// on.
    Resize(usize, usize),
    /// Lay NTBs out in this way.
    Reframe(Box<Framing>, Option<Done>),
    /// Send these NTBs of a program as they are.
    Raw(Box<Raw>),
}

/// The control thread's handle of the reactor. Dropping it stops the thread.
pub(crate) struct Reactor {
    orders: Option<Sender<Order>>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// Longest time the reactor may take to follow an order, cancelled transfers included.
const PATIENCE: Duration = Duration::from_secs(3);

impl Reactor {
    /// Starts the thread with the nice value `nice`, or the default of `datapath/priority.rs`.
    /// `report` is called from the thread and must not block.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left for it.
    pub(crate) fn spawn(
        pump: Box<dyn Pump>,
        interrupt: Option<Box<dyn Queue>>,
        counters: Arc<Counters>,
        nice: Option<i32>,
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
            usb_ready: false,
            tally: counters.snapshot(),
            published: Tally::default(),
            counters,
            report,
        };
        let thread = std::thread::Builder::new()
            .name("uwwan-data".into())
            .spawn(move || {
                super::priority::go_first(nice);
                worker.run();
            })?;
        Ok(Self {
            orders: Some(orders),
            wake,
            thread: Some(thread),
        })
    }

    /// Gives the thread an order and wakes it.
    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // A thread that has ended has reported why.
            let _ = orders.send(order);
        }
        self.wake();
    }

    /// Wakes the thread.
    ///
    /// Makes the system call `write`.
    fn wake(&self) {
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }

    /// Takes another notification endpoint in place of the one before, whose transfers are over
    /// when this returns; without one no notifications are read. Returns `false` when that took too
    /// long.
    pub(crate) fn listen(&self, interrupt: Option<Box<dyn Queue>>) -> bool {
        let (answer, result) = bounded(1);
        self.order(Order::Listen(interrupt, answer));
        result.recv_timeout(PATIENCE).is_ok()
    }

    /// Starts to move datagrams.
    ///
    /// # Errors
    /// Returns the fault that keeps the data path from starting.
    pub(crate) fn start(&self, plan: DataPlan) -> Result<Running, Fault> {
        let (answer, result) = bounded(1);
        self.order(Order::Start(Box::new(plan), answer));
        result
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| Err(Fault::Backend("the data thread does not answer".into())))
    }

    /// Stops moving datagrams and drains the endpoints. Returns `false` when that took longer than
    /// [`PATIENCE`].
    pub(crate) fn stop_data(&self) -> bool {
        let (answer, result) = bounded(1);
        self.order(Order::StopData(answer));
        result.recv_timeout(PATIENCE).is_ok()
    }

    /// Tells the thread that the halt of an endpoint has been cleared.
    pub(crate) fn halt_cleared(&self, endpoint: u8) {
        self.order(Order::HaltCleared(endpoint));
    }

    /// Tells the thread what depends on the new addresses of a session.
    pub(crate) fn set_addressing(&self, session: u8, addressing: SessionAddressing) {
        self.order(Order::Readdress(session, Box::new(addressing)));
    }

    /// Sends a datagram of the driver's own on a session.
    pub(crate) fn inject(&self, session: u8, datagram: Vec<u8>) {
        self.order(Order::Inject(session, datagram));
    }

    /// Sends probes on a session, in an NTB of their own.
    pub(crate) fn probe(&self, session: u8, probes: Vec<Probe>) {
        self.order(Order::Probe(session, probes));
    }

    /// Expects no more answers to probes on a session, whose silence is told early from here on where
    /// `eager`.
    pub(crate) fn end_probes(&self, session: u8, eager: bool) {
        self.order(Order::EndProbes(session, eager));
    }

    /// Lays NTBs out in another way of the same longest length. `done` is called from the data thread once
    /// every further NTB is laid out so.
    pub(crate) fn reframe(&self, framing: Framing, done: Option<Done>) {
        self.order(Order::Reframe(Box::new(framing), done));
    }

    /// Sends NTBs of a program as they are, while the driver's own sending pauses.
    pub(crate) fn send_raw(&self, raw: Raw) {
        self.order(Order::Raw(Box::new(raw)));
    }

    /// Expects NTBs of `size` bytes from the device, which has been told so, and at least `least` from
    /// here on.
    pub(crate) fn resize(&self, size: usize, least: usize) {
        self.order(Order::Resize(size, least));
    }

    /// Puts a further session on the running data path.
    pub(crate) fn add_session(&self, plan: SessionPlan) {
        self.order(Order::AddSession(Box::new(plan)));
    }

    /// Takes a session other than 0 off the data path.
    pub(crate) fn remove_session(&self, session: u8) {
        self.order(Order::RemoveSession(session));
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.orders = None;
        self.wake();
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

/// The thread's own state.
struct Worker {
    /// The device's pump; `None` once the device can be used no more.
    pump: Option<Box<dyn Pump>>,
    interrupt: Notifications,
    data: Option<Data>,
    inbox: Receiver<Order>,
    wake: Arc<OwnedFd>,
    poll: PollSet,
    /// Whether the last wait found something for the pump to process.
    usb_ready: bool,
    /// Counts of the thread.
    tally: Tally,
    /// Counts as last published.
    published: Tally,
    /// Counters that the counts are published in.
    counters: Arc<Counters>,
    /// Callback that reports to the control thread. It returns `false` when that thread is behind
    /// and the report is dropped.
    report: Box<dyn FnMut(Report) -> bool + Send>,
}

/// A running data path.
struct Data {
    uplink: Uplink,
    downlink: Downlink,
    paths: SessionPaths,
    /// Ethernet beneath session 0, where its host carries IP.
    link: Option<Link>,
    /// Datagrams of the driver's own that are not sent yet, with their sessions.
    own: Vec<(u8, Vec<u8>)>,
    /// Probes of the control thread that are not sent yet, with their sessions.
    probes: Vec<(u8, Vec<Probe>)>,
    /// Layout that NTBs are to have from the next one on.
    reframe: Option<(Framing, Option<Done>)>,
    /// NTBs of a program that are sent, and whose echo is told.
    raw: Option<RawNtbs>,
    /// Index of the session whose host is read first.
    turn: usize,
    /// Endpoints whose halt is reported and not yet cleared.
    reported: [Option<u8>; 2],
    /// Resources in use as reported.
    running: Running,
    /// Whether NTBs with empty headers have been reported.
    empty_headers_said: bool,
    /// Whether completions or host packets are left from the last round.
    more: bool,
}

impl Worker {
    /// Serves the device and the hosts until the control thread has dropped its handle.
    fn run(&mut self) {
        // The kernel's default slack for timers is as long as a rest.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000));
        self.interrupt.submit(&mut self.tally);
        while self.follow_orders() {
            if let Err(error) = self.wait() {
                self.end(Fault::Backend(format!("waiting for descriptors: {error}")));
                continue;
            }
            let now = Instant::now();
            if self.usb_ready
                && let Some(pump) = self.pump.as_mut()
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
                && let Err(fault) = data.round(now, &mut self.tally, &mut *self.report)
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

    /// Follows the control thread's orders. Returns `false` when that thread has dropped its
    /// handle.
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
                Ok(Order::Listen(interrupt, answer)) => {
                    self.drain_interrupt();
                    if self.pump.is_some() {
                        self.interrupt = Notifications::new(interrupt);
                        self.interrupt.submit(&mut self.tally);
                    }
                    let _ = answer.send(());
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
                Ok(Order::Inject(session, datagram)) => {
                    if let Some(data) = self.data.as_mut() {
                        data.own.push((session, datagram));
                        data.more = true;
                    }
                }
                Ok(Order::Probe(session, probes)) => {
                    if let Some(data) = self.data.as_mut() {
                        data.probes.push((session, probes));
                        data.more = true;
                    }
                }
                Ok(Order::EndProbes(session, eager)) => {
                    if let Some(path) = self.data.as_mut().and_then(|d| d.paths.get(session)) {
                        path.monitor.asked.clear();
                        path.watch.set_eager(eager);
                    }
                }
                Ok(Order::Resize(size, least)) => {
                    if let Some(data) = self.data.as_mut() {
                        data.downlink.resize(size, least);
                        data.more = true;
                    }
                }
                Ok(Order::Reframe(framing, done)) => {
                    if let Some(data) = self.data.as_mut() {
                        data.reframe = Some((*framing, done));
                        data.probes.clear();
                        data.more = true;
                    }
                }
                Ok(Order::Readdress(session, addressing)) => {
                    if let Some(data) = self.data.as_mut() {
                        data.set_addressing(session, *addressing);
                    }
                }
                Ok(Order::Raw(raw)) => match self.data.as_mut() {
                    Some(data) => {
                        if let Err(fault) = data.send_raw(*raw, &mut self.tally) {
                            self.stop_data();
                            (self.report)(Report::DataLost(fault));
                        }
                    }
                    None => raw
                        .teller
                        .fail(refused("no data session is online").of(FailureKind::NotOpen)),
                },
                Ok(Order::AddSession(plan)) => {
                    if let Some(data) = self.data.as_mut() {
                        let id = plan.id;
                        data.more = true;
                        if let Err(fault) = data.paths.add(*plan, Instant::now()) {
                            (self.report)(Report::SessionLost(id, fault));
                        }
                    }
                }
                Ok(Order::RemoveSession(session)) => {
                    if let Some(data) = self.data.as_mut() {
                        data.paths.remove(session);
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Sleeps until a descriptor is ready or a deadline has passed, and notes which hosts can be
    /// read and written.
    ///
    /// Makes the system calls `ppoll` and `read`.
    fn wait(&mut self) -> std::io::Result<()> {
        self.poll.clear();
        let mut timeout: Option<Duration> = None;
        let mut at_most = |limit: Duration| timeout = Some(timeout.map_or(limit, |t| t.min(limit)));
        let now = Instant::now();
        let mut usb = 0;
        let mut timed = false;
        let rest = self.data.as_ref().and_then(|data| data.downlink.resting());
        if let Some(until) = rest.filter(|until| now < *until) {
            at_most(until.saturating_duration_since(now));
        } else if let Some(pump) = &self.pump {
            for (fd, write) in pump.descriptors() {
                usb = self.poll.add_raw(*fd, !*write, *write) + 1;
            }
            if let Some(limit) = pump.timeout() {
                at_most(limit);
                timed = true;
            }
        }
        let wake = self.poll.add(&self.wake, true, false);
        if let Some(until) = self.interrupt.paused_until {
            at_most(until.saturating_duration_since(now));
        }
        if let Some(data) = self.data.as_mut() {
            let resting = data.uplink.pace.resting();
            if let Some(until) = resting {
                at_most(until.saturating_duration_since(now));
            }
            for path in data.paths.iter_mut() {
                let read = resting.is_none() && data.uplink.wants_input(path.expects_large());
                let write = data.downlink.waits_for(path.id);
                path.places = [
                    read.then(|| self.poll.add(&path.host.as_fd(), true, false)),
                    write.then(|| self.poll.add(&path.host.writable(), false, true)),
                ];
            }
            if let Some(deadline) = data.deadline() {
                at_most(deadline.saturating_duration_since(now));
            }
            if data.more {
                at_most(Duration::ZERO);
            }
        }
        self.poll.wait(timeout)?;
        let nothing = Readiness::default();
        let rested = rest.is_some_and(|until| Instant::now() >= until);
        self.usb_ready = timed || rested || (0..usb).any(|place| self.poll.found(place) != nothing);
        if self.poll.found(wake).readable {
            let mut count = [0; 8];
            let _ = rustix::io::read(&*self.wake, &mut count);
        }
        for path in self.data.iter_mut().flat_map(|data| data.paths.iter_mut()) {
            let [read, write] = path.places.map(|place| {
                place
                    .map(|place| self.poll.found(place))
                    .unwrap_or_default()
            });
            // A broken end is read, too: reading tells what is wrong with it.
            path.readable = read.readable || read.broken || write.broken;
            path.writable = write.writable || write.broken;
        }
        Ok(())
    }

    /// Stops the data path, gives the device up and reports why.
    fn end(&mut self, fault: Fault) {
        self.stop_data();
        self.drain_interrupt();
        if self.pump.take().is_some() {
            (self.report)(Report::Ended(fault));
        }
    }

    /// Ends the data path and drains its endpoints.
    fn stop_data(&mut self) {
        if let Some(data) = self.data.take() {
            let Data {
                uplink,
                mut downlink,
                mut paths,
                ..
            } = data;
            let ended = refused("the data path has ended").of(FailureKind::Gone);
            downlink.tell_no_more(Some(ended));
            paths.iter_mut().for_each(SessionPath::publish);
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

    /// Drains the notification endpoint.
    fn drain_interrupt(&mut self) {
        self.interrupt.paused_until = None;
        if let Some(queue) = self.interrupt.queue.take() {
            drain(self.pump.as_deref_mut(), &mut self.poll, queue);
        }
    }
}

/// Cancels the queue's transfers and collects them for at most a second, so that dropping the queue
/// waits for nothing.
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
    /// Starts the data path of a plan, and returns it with what is in use.
    ///
    /// # Errors
    /// Returns the fault that keeps it from starting.
    fn start(plan: DataPlan, tally: &mut Tally) -> Result<(Self, Running), Fault> {
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
            downlink.carry_frames();
        }
        let mapped = uplink.is_mapped() && downlink.is_mapped();
        // The memory may be in buffers that only wait, in whichever direction.
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
    fn set_addressing(&mut self, session: u8, addressing: SessionAddressing) {
        let now = Instant::now();
        if let Some(path) = self.paths.get(session) {
            path.set_addressing(addressing, now);
            if let Some(link) = &mut self.link {
                link.resolve(now);
            }
            self.more = true;
        }
    }

    /// Returns the time at which a round is due, also without a completion or a packet.
    fn deadline(&self) -> Option<Instant> {
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
    fn send_raw(&mut self, raw: Raw, tally: &mut Tally) -> Result<(), Fault> {
        // A program that has heard what it wanted leaves before its time is over.
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

    /// Returns whether the driver's own sending pauses for the NTBs of a program. What is over is
    /// forgotten.
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
        // What waited for the pause to end is sent in another round.
        self.more |= paused && !pauses;
        Ok(pauses)
    }

    /// Takes what frames have told of the Ethernet beneath session 0, and sends what ARP has due.
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

    /// Goes on with an endpoint whose halt has been cleared.
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

    /// Makes one round: handles completed transfers, delivers to the hosts, reads from them, and
    /// reports what the control thread must know.
    ///
    /// # Errors
    /// Returns the fault that ends the data path.
    fn round(
        &mut self,
        now: Instant,
        tally: &mut Tally,
        report: &mut dyn FnMut(Report) -> bool,
    ) -> Result<(), Fault> {
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
        // A session that has been taken off the data path holds nothing up.
        let writable = !self.downlink.is_held()
            || waited_for.peek().is_none()
            || waited_for.any(|path| path.writable);
        let writes = tally.host_writes;
        self.more = if writable || overdue {
            match self.downlink.run(&mut self.paths, now, tally) {
                // Buffers that only wait are freed for the device's NTBs.
                Err(Fault::Memory(_)) if self.uplink.make_way() => true,
                result => result?,
            }
        } else {
            false
        };

        let delivered = tally.host_writes != writes;

        let pauses = self.pauses(now)?;
        for path in self.paths.iter_mut() {
            let stream = path.stream;
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
        Ok(())
    }

    /// Lays NTBs out as the control thread wants them, and sends its probes.
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
    /// delivered to most often answers at once, so after a delivery every host is read unasked.
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
        let unasked = rested || delivered;
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
                // Another session's host is no reason to end session 0.
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
