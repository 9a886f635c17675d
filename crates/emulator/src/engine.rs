//! The thread on which the device runs.
//!
//! # Theory of operation
//!
//! The thread is one loop. It takes requests from the host that has the device, lets the device and
//! its firmware move what they can, hands back completions, and sleeps in one `poll` on the waker,
//! the host's socket and the network behind the modem. The host is an [`Upstream`]: the driver in
//! this process, unless a remote host has connected. The network's descriptor is polled for reading
//! only while the host has an IN transfer pending, so that a host that does not read pushes back on
//! the network.
//!
//! The thread makes the system call `poll`; `read` and `write` are made by the parts that it
//! drives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::TryRecvError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::device::UsbDevice;
use crate::handle::{Inbox, Order};
use crate::modem::{Departure, Modem};
use crate::presence::Presence;
use crate::report::Recorder;
use crate::upstream::{HostGone, Request, Upstream};
use crate::waker::Waker;
use crate::watched::{Watch, Watched};

/// State of the thread.
pub(crate) struct Engine {
    usb: UsbDevice,
    modem: Modem,
    /// Driver in this process, which has the device while no other host has it.
    local: Box<dyn Upstream>,
    /// Remote host that has the device.
    remote: Option<Box<dyn Upstream>>,
    /// Observer of the transfers of remote hosts.
    watch: Option<Box<Watch>>,
    inbox: Inbox,
    waker: Arc<Waker>,
    presence: Arc<Presence>,
    recorder: Recorder,
    /// Time at which an absent device comes back; `None` while it is present, or unplugged for
    /// good.
    returns: Option<Instant>,
    requests: Vec<Request>,
}

/// Makes the device in the state in which it is plugged in.
fn new_device(modem: &Modem, recorder: &Recorder) -> UsbDevice {
    UsbDevice::new(modem.presented(), recorder.clone())
}

impl Engine {
    /// Makes the engine of a device that `local` has until another host connects.
    pub fn new(
        modem: Modem,
        recorder: Recorder,
        local: Box<dyn Upstream>,
        inbox: Inbox,
        waker: Arc<Waker>,
        presence: Arc<Presence>,
    ) -> Self {
        Self {
            usb: new_device(&modem, &recorder),
            modem,
            local,
            remote: None,
            watch: None,
            inbox,
            waker,
            presence,
            recorder,
            returns: None,
            requests: Vec::new(),
        }
    }

    /// Runs until an order to stop comes or no thread can give orders any more.
    pub fn run(mut self) {
        while self.turn() {}
        self.disconnect(None);
        self.presence.change(|state| {
            state.present = false;
            state.stopped = true;
        });
        self.recorder.publish(&self.modem.counters());
    }

    fn turn(&mut self) -> bool {
        self.waker.look();
        let now = Instant::now();
        loop {
            match self.inbox.orders.try_recv() {
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return false,
                Ok(order) => self.obey(order, now),
                Err(TryRecvError::Empty) => break,
            }
        }
        while let Ok(host) = self.inbox.hosts.try_recv() {
            self.hand_over(host, now);
        }
        self.receive(now);
        self.modem.advance(now);
        self.usb.service(&mut self.modem, now);
        self.modem.settle();
        self.deliver();
        match self.modem.take_departure() {
            Some(Departure::Reset) => self.reset_firmware(now),
            Some(Departure::Replug) => self.disconnect(Some(now + self.absence())),
            Some(Departure::Unplug) => self.disconnect(None),
            None => {}
        }
        if self.returns.is_some_and(|at| at <= now) {
            self.connect(now);
        }
        self.sleep(now);
        true
    }

    fn obey(&mut self, order: Order, now: Instant) {
        match order {
            Order::Unplug => self.disconnect(None),
            Order::Plug => {
                if !self.presence.get().present {
                    self.connect(now);
                }
            }
            Order::Suspend => {
                self.usb.end_transfers();
                self.deliver();
            }
            Order::ResetFirmware => self.reset_firmware(now),
            Order::Adjust(adjust) => self.modem.adjust(adjust, now),
            Order::Knobs(reply) => {
                let _ = reply.send(self.modem.knobs().clone());
            }
            Order::Observe(watch) => self.watch = Some(watch),
            Order::Stop => {}
        }
    }

    /// Gives the device to a remote host, unless another one has it.
    fn hand_over(&mut self, host: Box<dyn Upstream>, now: Instant) {
        if self.remote.is_some() || !self.presence.get().present {
            return;
        }
        self.usb.bus_reset(&mut self.modem, now);
        self.deliver();
        self.replug(now);
        self.remote = Some(match &self.watch {
            Some(watch) => Box::new(Watched::new(host, Watch::clone(watch))),
            None => host,
        });
        self.presence.change(|state| state.exported = true);
        self.local.presence_changed();
    }

    /// Makes the device leave the bus and come back after the time of the knob.
    fn reset_firmware(&mut self, now: Instant) {
        self.modem.count_reset();
        self.disconnect(Some(now + self.absence()));
    }

    /// Returns the time that the device stays off the bus.
    fn absence(&self) -> Duration {
        Duration::from_millis(self.modem.knobs().absent_ms)
    }

    /// Takes the device off the bus; every pending transfer ends as gone. The device comes back at
    /// `returns`, if it does.
    fn disconnect(&mut self, returns: Option<Instant>) {
        let now = Instant::now();
        self.usb.bus_reset(&mut self.modem, now);
        self.deliver();
        self.remote = None;
        self.presence.change(|state| {
            state.present = false;
            state.exported = false;
        });
        self.local.presence_changed();
        self.returns = returns;
    }

    /// Puts the device back on the bus, with its firmware started anew.
    fn connect(&mut self, now: Instant) {
        self.returns = None;
        self.replug(now);
        self.presence.change(|state| {
            state.present = true;
            state.generation += 1;
        });
        self.local.presence_changed();
    }

    /// Plugs the device in again, which is another power-on, because the module is powered by the
    /// bus.
    fn replug(&mut self, now: Instant) {
        self.modem.power_on(now);
        self.presence.present(self.modem.presented());
        self.usb = new_device(&self.modem, &self.recorder);
    }

    /// Returns the host that has the device.
    fn host(&mut self) -> &mut dyn Upstream {
        match &mut self.remote {
            Some(remote) => &mut **remote,
            None => &mut *self.local,
        }
    }

    /// Executes the requests of hosts.
    fn receive(&mut self, now: Instant) {
        let mut requests = std::mem::take(&mut self.requests);
        if self.remote.is_some() {
            // The driver in this process learns that the device is gone, and asks for nothing.
            let _ = self.local.receive(&mut requests);
        }
        let received = self.host().receive(&mut requests);
        for request in requests.drain(..) {
            self.execute(request, now);
        }
        self.requests = requests;
        if received == Err(HostGone) {
            self.leave(now);
        }
    }

    fn execute(&mut self, request: Request, now: Instant) {
        match request {
            Request::Submit(urb) => self.usb.submit(urb, &mut self.modem, now),
            Request::Cancel(token) => {
                // Completions are handed back before a cancellation that is too late for them: a
                // USB/IP host takes the answer to an unlink for the end of the transfer, and hangs
                // up when a second one comes.
                self.hand_back();
                let pending = self.usb.cancel(token);
                self.host().cancelled(token, pending);
            }
            Request::ResetPort => {
                // A port is reset before every enumeration. A reset while the device is in use is
                // more than that.
                let in_use = self.usb.configuration() != 0;
                self.usb.bus_reset(&mut self.modem, now);
                if in_use {
                    self.modem.port_reset();
                }
                self.hand_back();
            }
        }
    }

    /// Queues completions for the host that has the device.
    fn hand_back(&mut self) {
        while let Some(completed) = self.usb.take_completed() {
            self.host().complete(completed);
        }
    }

    /// Frees the device for another host, because the remote one has gone.
    fn leave(&mut self, now: Instant) {
        self.remote = None;
        self.usb.bus_reset(&mut self.modem, now);
        while self.usb.take_completed().is_some() {}
        self.replug(now);
        self.presence.change(|state| {
            state.exported = false;
            state.generation += 1;
        });
        self.local.presence_changed();
    }

    /// Hands back completions, and has the hosts notified.
    fn deliver(&mut self) {
        self.hand_back();
        // The counters are published first, so that a host that sees a completion finds it counted.
        self.recorder.publish(&self.modem.counters());
        let _ = self.local.flush();
        let flushed = self.remote.as_mut().map_or(Ok(()), |remote| remote.flush());
        if flushed == Err(HostGone) {
            self.leave(Instant::now());
        }
    }

    /// Sleeps until something happens, unless there is work already.
    fn sleep(&mut self, now: Instant) {
        if !self.waker.prepare() || self.host().has_more() {
            self.waker.forget();
            return;
        }
        let mut timeout = self.modem.timeout(now);
        for returns in [self.returns, self.usb.deadline()].into_iter().flatten() {
            let left = returns.saturating_duration_since(now);
            timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
        }
        let timeout = timeout.map(|duration| Timespec {
            tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(duration.subsec_nanos()),
        });
        let (reading, writing) = self.modem.network_interest(&self.usb);
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, reading);
        flags.set(PollFlags::OUT, writing);
        let network = self
            .modem
            .network_descriptor()
            .filter(|_| !flags.is_empty());
        let network = network.map(|descriptor| (descriptor, flags));
        let host = self.remote.as_ref().and_then(|remote| remote.descriptor());
        let mut fds = [
            PollFd::new(&self.waker, PollFlags::IN),
            PollFd::new(&self.waker, PollFlags::empty()),
            PollFd::new(&self.waker, PollFlags::empty()),
        ];
        let mut count = 1;
        for (descriptor, flags) in [network, host].into_iter().flatten() {
            fds[count] = PollFd::from_borrowed_fd(descriptor, flags);
            count += 1;
        }
        // The poll was interrupted or has failed; in both cases the loop looks for work.
        let _ = poll(&mut fds[..count], timeout.as_ref());
        if fds[0].revents().is_empty() {
            self.waker.forget();
        } else {
            self.waker.finish();
        }
    }
}
