//! The channel between the driver's threads and the device's thread.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uwwan_usb::buffer::Buffer;

use crate::upstream::Request;
use crate::urb::{Completed, SetupPacket, Urb, UrbStatus};
use crate::waker::Waker;

/// A request on its way to the device.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Operation that is requested.
    pub request: Request,
    /// Number of the enumeration that it is meant for; `None` for any.
    pub generation: Option<u64>,
}

/// Channel of requests to the device and of completions back. A program fills it with what it
/// submits itself, and each queue of transfers has a limit.
#[derive(Debug)]
pub(crate) struct Channel {
    waker: Arc<Waker>,
    requests: Mutex<Vec<Asked>>,
    completions: Mutex<Completions>,
    arrival: Condvar,
    /// Waker that a reactor polls, and that is signalled when a transfer has completed.
    host_event: Waker,
}

#[derive(Debug, Default)]
struct Completions {
    /// Completions that no thread that handles events has seen.
    arrived: Vec<Completed>,
    /// Completions that were sorted by the number of their queue.
    ready: HashMap<u32, VecDeque<Completed>>,
    next_queue: u32,
    /// Numbers of the queues whose owners do not wait any more.
    interrupted: BTreeSet<u32>,
    /// Whether a reactor handles events.
    pumped: bool,
    /// Whether the device's thread has ended, so that no completion will arrive.
    ended: bool,
}

impl Completions {
    fn sort_out(&mut self) {
        for done in self.arrived.drain(..) {
            let queue = (done.token >> 32) as u32;
            // A completion for a closed queue is dropped.
            if let Some(ready) = self.ready.get_mut(&queue) {
                ready.push_back(done);
            }
        }
    }

    fn open_queue(&mut self) -> u32 {
        while self.ready.contains_key(&self.next_queue) {
            self.next_queue = self.next_queue.wrapping_add(1);
        }
        let queue = self.next_queue;
        self.next_queue = self.next_queue.wrapping_add(1);
        self.ready.insert(queue, VecDeque::with_capacity(32));
        queue
    }
}

impl Channel {
    /// Makes a channel to the thread that sleeps on `waker`.
    ///
    /// # Errors
    /// Fails when the process has no descriptor left.
    pub fn new(waker: Arc<Waker>) -> std::io::Result<Self> {
        Ok(Self {
            waker,
            requests: Mutex::default(),
            completions: Mutex::default(),
            arrival: Condvar::new(),
            host_event: Waker::new()?,
        })
    }

    fn completions(&self) -> MutexGuard<'_, Completions> {
        self.completions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn requests(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // These are the methods of the driver's end.

    /// Sends a request to the device, for the enumeration `generation` if one is given.
    pub fn ask(&self, request: Request, generation: Option<u64>) {
        self.requests().push(Asked {
            request,
            generation,
        });
        self.waker.wake();
    }

    /// Opens a queue through which completions come back, and returns its number.
    pub fn open_queue(&self) -> u32 {
        self.completions().open_queue()
    }

    /// Closes a queue. Completions that still arrive for it are dropped.
    pub fn close_queue(&self, queue: u32) {
        let mut completions = self.completions();
        completions.ready.remove(&queue);
        completions.interrupted.remove(&queue);
    }

    /// Ends the waits of a queue's owner in [`Channel::take`], until [`Channel::resume`].
    pub fn interrupt(&self, queue: u32) {
        let mut completions = self.completions();
        if completions.ready.contains_key(&queue) {
            completions.interrupted.insert(queue);
        }
        drop(completions);
        self.arrival.notify_all();
    }

    /// Lets a queue's owner wait again.
    pub fn resume(&self, queue: u32) {
        self.completions().interrupted.remove(&queue);
    }

    /// Returns the descriptor that a reactor polls.
    pub fn host_event(&self) -> BorrowedFd<'_> {
        self.host_event.as_fd()
    }

    /// Lets a reactor take over event handling, or give it back.
    pub fn set_pumped(&self, pumped: bool) {
        let mut completions = self.completions();
        completions.pumped = pumped;
        if pumped && !completions.arrived.is_empty() {
            self.host_event.signal();
        }
        drop(completions);
        self.arrival.notify_all();
    }

    /// Handles events: makes all completions that arrived visible to their queues.
    pub fn process(&self) {
        self.host_event.drain();
        self.completions().sort_out();
        self.arrival.notify_all();
    }

    /// Returns the oldest completion of a queue. While a reactor handles events, only those that it
    /// has seen are returned.
    pub fn try_take(&self, queue: u32) -> Option<Completed> {
        let mut completions = self.completions();
        if !completions.pumped {
            completions.sort_out();
        }
        completions.ready.get_mut(&queue)?.pop_front()
    }

    /// Returns the oldest completion of a queue, and waits for one up to `timeout`.
    pub fn take(&self, queue: u32, timeout: Duration) -> Option<Completed> {
        let deadline = Instant::now().checked_add(timeout);
        let mut completions = self.completions();
        loop {
            completions.sort_out();
            if let Some(done) = completions.ready.get_mut(&queue)?.pop_front() {
                return Some(done);
            }
            if completions.ended || completions.interrupted.contains(&queue) {
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

    /// Makes a control transfer and waits for its end.
    ///
    /// # Errors
    /// Fails when it has not ended within `timeout`; it is cancelled then.
    pub fn control(
        &self,
        setup: SetupPacket,
        data: &[u8],
        timeout: Duration,
    ) -> Result<Completed, ()> {
        let queue = self.open_queue();
        let token = u64::from(queue) << 32;
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
        self.ask(Request::Submit(urb), None);
        let done = self.take(queue, timeout);
        if done.is_none() {
            self.ask(Request::Cancel(token), None);
        }
        self.close_queue(queue);
        done.ok_or(())
    }

    // These are the methods of the device's end.

    /// Moves all requests of the driver, in order, into `into`, which is empty.
    pub fn take_requests(&self, into: &mut Vec<Asked>) {
        std::mem::swap(&mut *self.requests(), into);
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

    /// Wakes all waiting threads, because the device came or went.
    pub fn notify(&self) {
        self.host_event.signal();
        self.arrival.notify_all();
    }

    /// Ends all requests that are left, because the device's thread ends.
    pub fn end(&self) {
        let mut waiting = std::mem::take(&mut *self.requests());
        let mut completions = self.completions();
        completions.ended = true;
        for asked in waiting.drain(..) {
            if let Request::Submit(urb) = asked.request {
                completions.arrived.push(urb.end(UrbStatus::Gone));
            }
        }
        drop(completions);
        self.notify();
    }
}
