//! The wire between the driver's threads and the device's thread.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uwwan_usb::buffer::Buffer;

use crate::engine::Request;
use crate::urb::{Completed, SetupPacket, Urb, UrbStatus};
use crate::wake::Wake;

/// Requests towards the device, completions back.
#[derive(Debug)]
pub(crate) struct Wire {
    wake: Arc<Wake>,
    requests: Mutex<Requests>,
    completions: Mutex<Completions>,
    arrival: Condvar,
    host_event: Wake,
}

#[derive(Debug, Default)]
struct Requests {
    waiting: Vec<Request>,
}

#[derive(Debug, Default)]
struct Completions {
    /// Not yet seen by anybody who handles events.
    arrived: Vec<Completed>,
    /// Sorted out, by channel.
    ready: HashMap<u32, VecDeque<Completed>>,
    next_channel: u32,
    pumped: bool,
    /// The device's thread has ended; nothing will ever arrive.
    ended: bool,
}

impl Completions {
    fn sort_out(&mut self) {
        for done in self.arrived.drain(..) {
            let channel = (done.token >> 32) as u32;
            // A closed channel has nobody who would want it.
            if let Some(ready) = self.ready.get_mut(&channel) {
                ready.push_back(done);
            }
        }
    }

    fn open_channel(&mut self) -> u32 {
        while self.ready.contains_key(&self.next_channel) {
            self.next_channel = self.next_channel.wrapping_add(1);
        }
        let channel = self.next_channel;
        self.next_channel = self.next_channel.wrapping_add(1);
        self.ready.insert(channel, VecDeque::with_capacity(32));
        channel
    }
}

impl Wire {
    /// A wire to the thread that sleeps on `wake`.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new(wake: Arc<Wake>) -> std::io::Result<Self> {
        Ok(Self {
            wake,
            requests: Mutex::default(),
            completions: Mutex::default(),
            arrival: Condvar::new(),
            host_event: Wake::new()?,
        })
    }

    fn completions(&self) -> MutexGuard<'_, Completions> {
        self.completions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // The driver's end.

    /// Asks something of the device.
    pub fn request(&self, request: Request) {
        self.requests().waiting.push(request);
        self.wake.raise();
    }

    /// A channel completions come back through.
    pub fn open_channel(&self) -> u32 {
        self.completions().open_channel()
    }

    /// Closes a channel; what still comes for it is dropped.
    pub fn close_channel(&self, channel: u32) {
        self.completions().ready.remove(&channel);
    }

    /// The descriptor a reactor polls.
    pub fn host_event(&self) -> BorrowedFd<'_> {
        self.host_event.as_fd()
    }

    /// A reactor takes over event handling, or gives it back.
    pub fn set_pumped(&self, pumped: bool) {
        let mut completions = self.completions();
        completions.pumped = pumped;
        if pumped && !completions.arrived.is_empty() {
            self.host_event.signal();
        }
        drop(completions);
        self.arrival.notify_all();
    }

    /// Handles events: whatever arrived becomes visible.
    pub fn process(&self) {
        self.host_event.drain();
        self.completions().sort_out();
        self.arrival.notify_all();
    }

    /// The oldest completion of a channel. While a reactor handles events, only what it has seen.
    pub fn try_take(&self, channel: u32) -> Option<Completed> {
        let mut completions = self.completions();
        if !completions.pumped {
            completions.sort_out();
        }
        completions.ready.get_mut(&channel)?.pop_front()
    }

    /// The oldest completion of a channel, waiting for it.
    pub fn take(&self, channel: u32, timeout: Duration) -> Option<Completed> {
        let deadline = Instant::now().checked_add(timeout);
        let mut completions = self.completions();
        loop {
            completions.sort_out();
            if let Some(done) = completions.ready.get_mut(&channel)?.pop_front() {
                return Some(done);
            }
            if completions.ended {
                return None;
            }
            let left = deadline.map_or(timeout, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return None;
            }
            (completions, _) = self
                .arrival
                .wait_timeout(completions, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// One control transfer, waited for. `Err` when it did not end in time.
    pub fn control(
        &self,
        setup: SetupPacket,
        data: &[u8],
        timeout: Duration,
    ) -> Result<Completed, ()> {
        let channel = self.open_channel();
        let token = u64::from(channel) << 32;
        let wanted = usize::from(setup.length);
        let mut buffer = Buffer::heap(if setup.is_in() { wanted } else { data.len() });
        if !setup.is_in() {
            buffer.bytes_mut().copy_from_slice(data);
            buffer.set_len(data.len());
        }
        let urb = Urb {
            token,
            endpoint: setup.request_type & 0x80,
            setup,
            buffer,
            wanted,
            zero_packet: false,
        };
        self.request(Request::Submit(urb, None));
        let done = self.take(channel, timeout);
        if done.is_none() {
            self.request(Request::Cancel(token));
        }
        self.close_channel(channel);
        done.ok_or(())
    }

    // The device's end.

    /// Everything the driver has asked for, in order.
    pub fn take_requests(&self, into: &mut Vec<Request>) {
        std::mem::swap(&mut self.requests().waiting, into);
    }

    /// Hands completions to the driver.
    pub fn deliver(&self, done: &mut Vec<Completed>) {
        let mut completions = self.completions();
        let first = completions.arrived.is_empty();
        completions.arrived.append(done);
        let pumped = completions.pumped;
        drop(completions);
        if first && pumped {
            self.host_event.signal();
        }
        self.arrival.notify_all();
    }

    /// The device came or went: whoever sleeps should look.
    pub fn hang_up(&self) {
        self.host_event.signal();
        self.arrival.notify_all();
    }

    /// The device's thread ends: what is still asked for will never be done.
    pub fn end(&self) {
        let mut waiting = std::mem::take(&mut self.requests().waiting);
        let mut completions = self.completions();
        completions.ended = true;
        for request in waiting.drain(..) {
            if let Request::Submit(urb, _) = request {
                completions.arrived.push(urb.end(UrbStatus::Gone));
            }
        }
        drop(completions);
        self.hang_up();
    }
}
