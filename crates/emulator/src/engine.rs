//! The thread the device lives on.
//!
//! Theory of operation: one loop. It takes transfers from whoever is upstream (the in-process wire
//! or a connection of a host elsewhere), lets the device and its firmware move what they can, hands back what
//! completed, and sleeps in one `poll` on the wake descriptor, the connection and the network
//! behind the modem. The network's descriptor is polled for reading only while the host has an IN
//! transfer pending, so that a host that does not read pushes back on the network.
//!
//! Makes the system call `poll`; `read` and `write` are made by the parts it drives.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::device::UsbDevice;
use crate::in_process::Wire;
use crate::knobs::Knobs;
use crate::modem::{Modem, Wish};
use crate::report::Recorder;
use crate::upstream::Upstream;
use crate::urb::{Completed, Urb, UrbStatus};
use crate::wake::Wake;

/// What others ask of the device's thread.
pub(crate) enum Order {
    /// A host elsewhere has the device.
    Connect(Upstream),
    /// Pull the plug.
    Unplug,
    /// Plug it in again.
    Plug,
    /// The firmware crashes.
    ResetFirmware,
    /// Turn knobs.
    Adjust(Box<dyn FnOnce(&mut Knobs) + Send>),
    /// End the thread.
    Stop,
}

/// Whether the device is on the bus, and which enumeration it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plugged {
    /// On the bus.
    pub present: bool,
    /// A host elsewhere has it.
    pub exported: bool,
    /// Counts enumerations.
    pub generation: u64,
    /// The thread has ended.
    pub stopped: bool,
}

/// The device's presence, watched by upstream sides.
#[derive(Debug)]
pub(crate) struct Presence {
    state: Mutex<Plugged>,
    changed: Condvar,
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            state: Mutex::new(Plugged {
                present: true,
                exported: false,
                generation: 1,
                stopped: false,
            }),
            changed: Condvar::new(),
        }
    }
}

impl Presence {
    fn lock(&self) -> MutexGuard<'_, Plugged> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it is.
    pub fn get(&self) -> Plugged {
        *self.lock()
    }

    fn change(&self, change: impl FnOnce(&mut Plugged)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until `wanted` holds or `timeout` is over; the state then.
    pub fn wait(&self, timeout: Duration, wanted: impl Fn(&Plugged) -> bool) -> Plugged {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), timeout, |state| {
                !state.stopped && !wanted(state)
            })
            .unwrap_or_else(PoisonError::into_inner);
        *state
    }
}

/// What a host asks of the device through the in-process wire.
#[derive(Debug)]
pub(crate) enum Request {
    /// Start a transfer, for that enumeration if it is not for whichever there is.
    Submit(Urb, Option<u64>),
    /// Take it back.
    Cancel(u64),
    /// Reset the port.
    ResetPort,
}

/// How to reach the thread.
#[derive(Debug, Clone)]
pub(crate) struct Reins {
    orders: Sender<Order>,
    pub wake: Arc<Wake>,
    pub presence: Arc<Presence>,
}

impl Reins {
    /// Gives an order. Nothing happens when the thread has ended.
    pub fn order(&self, order: Order) {
        if self.orders.send(order).is_ok() {
            self.wake.raise();
        }
    }
}

/// The thread's state.
pub(crate) struct Engine {
    usb: UsbDevice,
    modem: Modem,
    wire: Arc<Wire>,
    connection: Option<Upstream>,
    orders: Receiver<Order>,
    wake: Arc<Wake>,
    presence: Arc<Presence>,
    recorder: Recorder,
    /// When an absent device comes back; `None` while present, or unplugged for good.
    returns: Option<Instant>,
    requests: Vec<Request>,
    completed: Vec<Completed>,
}

/// The device as it is just plugged in.
fn new_device(modem: &Modem, recorder: &Recorder) -> UsbDevice {
    let knobs = modem.knobs();
    UsbDevice::new(knobs.brand, knobs.descriptors, recorder.clone())
}

impl Engine {
    /// Puts a device together.
    pub fn new(
        modem: Modem,
        recorder: Recorder,
        wire: Arc<Wire>,
        wake: Arc<Wake>,
        presence: Arc<Presence>,
    ) -> (Self, Reins) {
        let (sender, orders) = crossbeam_channel::unbounded();
        let engine = Self {
            usb: new_device(&modem, &recorder),
            modem,
            wire,
            connection: None,
            orders,
            wake: Arc::clone(&wake),
            presence: Arc::clone(&presence),
            recorder,
            returns: None,
            requests: Vec::new(),
            completed: Vec::new(),
        };
        let reins = Reins {
            orders: sender,
            wake,
            presence,
        };
        (engine, reins)
    }

    /// Runs until told to stop or until nobody can give orders any more.
    pub fn run(mut self) {
        while self.turn() {}
        self.disconnect(None);
        self.presence.change(|state| {
            state.present = false;
            state.stopped = true;
        });
        self.wire.end();
        self.recorder.publish(&self.modem.counters());
    }

    fn turn(&mut self) -> bool {
        self.wake.look();
        let now = Instant::now();
        loop {
            match self.orders.try_recv() {
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return false,
                Ok(order) => self.obey(order, now),
                Err(TryRecvError::Empty) => break,
            }
        }
        self.receive(now);
        self.modem.advance(now);
        self.usb.service(&mut self.modem, now);
        for address in self.modem.take_halts() {
            self.usb.halt(address);
        }
        self.deliver();
        match self.modem.take_wish() {
            Some(Wish::Reset) => {
                self.modem.count_reset();
                let absent = Duration::from_millis(self.modem.knobs().absent_ms);
                self.disconnect(Some(now + absent));
            }
            Some(Wish::Unplug) => self.disconnect(None),
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
            Order::Connect(connection) => {
                if self.connection.is_none() && self.presence.get().present {
                    self.usb.bus_reset(&mut self.modem, now);
                    self.deliver();
                    self.replug(now);
                    self.connection = Some(connection);
                    self.presence.change(|state| state.exported = true);
                    self.wire.hang_up();
                }
            }
            Order::Unplug => self.disconnect(None),
            Order::Plug => {
                if !self.presence.get().present {
                    self.connect(now);
                }
            }
            Order::ResetFirmware => {
                self.modem.count_reset();
                let absent = Duration::from_millis(self.modem.knobs().absent_ms);
                self.disconnect(Some(now + absent));
            }
            Order::Adjust(adjust) => self.modem.adjust(adjust, now),
            Order::Stop => {}
        }
    }

    /// Off the bus: everything pending is gone; back at `returns`, if ever.
    fn disconnect(&mut self, returns: Option<Instant>) {
        let now = Instant::now();
        self.usb.bus_reset(&mut self.modem, now);
        self.deliver();
        self.connection = None;
        self.presence.change(|state| {
            state.present = false;
            state.exported = false;
        });
        self.wire.hang_up();
        self.returns = returns;
    }

    /// Back on the bus with fresh firmware.
    fn connect(&mut self, now: Instant) {
        self.returns = None;
        self.replug(now);
        self.presence.change(|state| {
            state.present = true;
            state.generation += 1;
        });
        self.wire.hang_up();
    }

    /// Another plug means another power-on: the module lives on bus power.
    fn replug(&mut self, now: Instant) {
        self.modem.power_on(now);
        self.usb = new_device(&self.modem, &self.recorder);
    }

    /// Takes what the host asks for.
    fn receive(&mut self, now: Instant) {
        self.wire.take_requests(&mut self.requests);
        let plugged = self.presence.get();
        let here = self.connection.is_none() && plugged.present;
        for request in self.requests.drain(..) {
            match request {
                Request::Submit(urb, generation)
                    if here && generation.is_none_or(|one| one == plugged.generation) =>
                {
                    self.usb.submit(urb, &mut self.modem, now);
                }
                Request::Submit(urb, _) => self.completed.push(urb.end(UrbStatus::Gone)),
                Request::Cancel(token) => {
                    self.usb.cancel(token);
                }
                Request::ResetPort => {
                    if here {
                        self.usb.bus_reset(&mut self.modem, now);
                        self.modem.port_reset();
                    }
                }
            }
        }
        while let Some(connection) = &mut self.connection {
            let (usb, modem) = (&mut self.usb, &mut self.modem);
            if !connection.receive(|urb| usb.submit(urb, modem, now)) {
                self.leave(now);
                return;
            }
            // What has ended is answered before the unlinks that come too late for it: a host takes
            // the answer to an unlink for the transfer's end, and hangs up over a second one.
            while let Some(completed) = usb.take_completed() {
                connection.complete(completed);
            }
            connection.revoke(|token| usb.cancel(token));
            if !connection.take_reset() {
                return;
            }
            // A port is reset before every enumeration; one that is in use says more.
            let in_use = usb.configuration() != 0;
            usb.bus_reset(modem, now);
            if in_use {
                modem.port_reset();
            }
            while let Some(completed) = usb.take_completed() {
                connection.complete(completed);
            }
        }
    }

    /// The host elsewhere has gone: the device is free for another.
    fn leave(&mut self, now: Instant) {
        self.connection = None;
        self.usb.bus_reset(&mut self.modem, now);
        while self.usb.take_completed().is_some() {}
        self.replug(now);
        self.presence.change(|state| {
            state.exported = false;
            state.generation += 1;
        });
        self.wire.hang_up();
    }

    /// Hands back what completed.
    fn deliver(&mut self) {
        // A host that sees a completion finds it counted.
        self.recorder.publish(&self.modem.counters());
        let mut lost = false;
        while let Some(completed) = self.usb.take_completed() {
            match &mut self.connection {
                Some(connection) => connection.complete(completed),
                None => self.completed.push(completed),
            }
        }
        if let Some(connection) = &mut self.connection {
            let now = Instant::now();
            while let Some(urb) = connection.next_own() {
                self.usb.submit(urb, &mut self.modem, now);
            }
            lost = !connection.flush();
        }
        if !self.completed.is_empty() {
            self.wire.deliver(&mut self.completed);
        }
        if lost {
            self.leave(Instant::now());
        }
    }

    /// Sleeps until something happens. Work that is there already does not let it sleep.
    fn sleep(&mut self, now: Instant) {
        if !self.wake.prepare() {
            self.wake.forget();
            return;
        }
        let mut timeout = self.modem.timeout(now);
        if let Some(returns) = self.returns {
            let left = returns.saturating_duration_since(now);
            timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
        }
        let timeout = timeout.map(|duration| Timespec {
            tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(duration.subsec_nanos()),
        });
        let (reading, writing) = self.modem.network_interest(&self.usb);
        let network = self.modem.network_descriptor();
        let mut fds = [
            PollFd::new(&self.wake, PollFlags::IN),
            PollFd::new(&self.wake, PollFlags::empty()),
            PollFd::new(&self.wake, PollFlags::empty()),
        ];
        let mut count = 1;
        if let Some(network) = network {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, reading);
            flags.set(PollFlags::OUT, writing);
            if !flags.is_empty() {
                fds[count] = PollFd::from_borrowed_fd(network, flags);
                count += 1;
            }
        }
        if let Some(connection) = &self.connection {
            fds[count] = PollFd::from_borrowed_fd(connection.descriptor(), connection.interest());
            count += 1;
        }
        // Interrupted or failed: the loop looks for work either way.
        let _ = poll(&mut fds[..count], timeout.as_ref());
        let woken = !fds[0].revents().is_empty();
        if woken {
            self.wake.finish();
        } else {
            self.wake.forget();
        }
    }
}
