//! The data thread, which waits for all events in one place and then serves each direction in turn.

use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use rustix::event::{EventfdFlags, eventfd};
use uwwan_ncm::Framing;
use uwwan_usb::device::{Pump, Queue};

use super::data_path::{DataPath, Done};
use super::fault::Fault;
use super::notifications::Notifications;
use super::plan::{DataPlan, SessionAddressing, SessionPlan};
use super::raw::refused;
use super::report::{Report, Running};
use super::sessions::SessionPath;
use crate::counters::{Counters, Tally};
use crate::failure::FailureKind;
use crate::poll::{PollSet, Readiness};
use crate::probe::Probe;
use crate::raw::Raw;

/// An order from the control thread.
enum Order {
    /// Read notifications from this queue, or from none, and answer once the queue before is
    /// drained.
    Listen(Option<Box<dyn Queue>>, Sender<()>),
    /// Start the data path of this plan, and answer with the resources in use or the fault.
    Start(Box<DataPlan>, Sender<Result<Running, Fault>>),
    /// Stop the data path, drain its endpoints, and answer then.
    StopData(Sender<()>),
    /// Resume this endpoint, whose halt has been cleared.
    HaltCleared(u8),
    /// Add this session to the data path.
    AddSession(Box<SessionPlan>),
    /// Take the session of this id off the data path.
    RemoveSession(u8),
    /// Use these addresses for the session of this id.
    Readdress(u8, Box<SessionAddressing>),
    /// Send this datagram of the driver's own on the session of this id.
    Inject(u8, Vec<u8>),
    /// Send these probes on the session of this id, in an NTB of their own.
    Probe(u8, Vec<Probe>),
    /// Expect no more answers to probes on the session of this id, and report its silence early
    /// from here on if the flag is set.
    EndProbes(u8, bool),
    /// Expect NTBs of the first size in bytes from the device, and none smaller than the second from
    /// here on.
    Resize(usize, usize),
    /// Change the layout of NTBs to this framing.
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

/// Longest time the reactor may take to carry out an order, cancelled transfers included.
const PATIENCE: Duration = Duration::from_secs(3);

impl Reactor {
    /// Starts the thread with the nice value `nice`, or the default of `datapath/priority.rs`.
    /// `report` is called from the thread and must not block.
    ///
    /// # Errors
    /// The system's error when it has no thread or descriptor left.
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
            // A thread that has ended has reported the fault.
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

    /// Uses another notification endpoint in place of the one before, whose transfers are over when
    /// this returns; without one no notifications are read. Returns `false` when that took too
    /// long.
    pub(crate) fn listen(&self, interrupt: Option<Box<dyn Queue>>) -> bool {
        let (answer, result) = bounded(1);
        self.order(Order::Listen(interrupt, answer));
        result.recv_timeout(PATIENCE).is_ok()
    }

    /// Starts to move datagrams.
    ///
    /// # Errors
    /// [`Fault`] that keeps the data path from starting.
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

    /// Passes the addresses of a session to the thread.
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

    /// Expects no more answers to probes on a session. Its silence is reported early from here on
    /// where `eager`.
    pub(crate) fn end_probes(&self, session: u8, eager: bool) {
        self.order(Order::EndProbes(session, eager));
    }

    /// Changes the layout of NTBs to one of the same longest length. `done` is called from the data thread
    /// once every further NTB has it.
    pub(crate) fn reframe(&self, framing: Framing, done: Option<Done>) {
        self.order(Order::Reframe(Box::new(framing), done));
    }

    /// Sends NTBs of a program as they are, while the driver's own sending pauses.
    pub(crate) fn send_raw(&self, raw: Raw) {
        self.order(Order::Raw(Box::new(raw)));
    }

    /// Expects NTBs of `size` bytes from the device, which has agreed on that, and at least `least`
    /// from here on.
    pub(crate) fn resize(&self, size: usize, least: usize) {
        self.order(Order::Resize(size, least));
    }

    /// Adds a further session to the running data path.
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

/// State of the data thread.
struct Worker {
    /// The device's pump; `None` once the device can be used no more.
    pump: Option<Box<dyn Pump>>,
    interrupt: Notifications,
    data: Option<DataPath>,
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

impl Worker {
    /// Serves the device and the hosts until the control thread has dropped its handle.
    fn run(&mut self) {
        // The kernel's default slack for timers, 50 µs, is too long beside the rests of `pace`.
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
                        DataPath::start(*plan, &mut self.tally)
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

    /// Sleeps until a descriptor is ready or a deadline has passed, and records which hosts can be
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
                if read && path.host.has_waiting() {
                    at_most(Duration::ZERO);
                }
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
            // A broken host interface is read, too: reading returns its error.
            path.readable = read.readable || read.broken || write.broken;
            path.writable = write.writable || write.broken;
        }
        Ok(())
    }

    /// Stops the data path, gives the device up and reports the fault.
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
            let DataPath {
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
