//! A link between two threads of one process.
//!
//! Each direction is a pair of packet stores. Senders append to one under a lock; the receiver
//! swaps it for its own emptied one and then reads without the lock. Stores are allocated once. A
//! packet therefore costs one copy in, one copy out and no allocation, and the receiver takes the
//! lock once a batch.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::link::{PacketLink, Wait};

/// Capacity of one direction of a link, beyond which its sender must wait. The batch that the
/// receiver reads is not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Number of packets.
    pub packets: usize,
    /// Number of bytes of all packets together. An empty store takes one packet of any size.
    pub bytes: usize,
}

impl Default for Capacity {
    /// Returns 1024 packets in 2 MiB, which is more than a TCP window of 1 MiB at MTU 1500.
    fn default() -> Capacity {
        Capacity {
            packets: 1024,
            bytes: 2 << 20,
        }
    }
}

/// Makes two connected ends.
#[must_use]
pub fn pair(capacity: Capacity) -> (MemoryLink, MemoryLink) {
    let (one, other) = (
        Arc::new(Direction::default()),
        Arc::new(Direction::default()),
    );
    let (left, right) = (Arc::new(Signal::default()), Arc::new(Signal::default()));
    let end = |inward: &Arc<Direction>,
               outward: &Arc<Direction>,
               own: &Arc<Signal>,
               far: &Arc<Signal>| MemoryLink {
        capacity,
        inward: Arc::clone(inward),
        outward: Arc::clone(outward),
        own: Arc::clone(own),
        far: Arc::clone(far),
        batch: Batch::default(),
        next: 0,
        start: 0,
    };
    (
        end(&one, &other, &left, &right),
        end(&other, &one, &right, &left),
    )
}

/// End of a link made by [`pair`].
///
/// Code that is no stack can use it as well, such as a modem emulator. Dropping it closes the link.
pub struct MemoryLink {
    capacity: Capacity,
    inward: Arc<Direction>,
    outward: Arc<Direction>,
    own: Arc<Signal>,
    far: Arc<Signal>,
    /// Batch that is being read.
    batch: Batch,
    /// Index of the next packet in the batch.
    next: usize,
    /// Offset of that packet in bytes.
    start: usize,
}

impl MemoryLink {
    /// Calls `notify` whenever a [`PacketLink::wait`] on this end would end: when a packet came to
    /// an empty queue, or when there is room in a full one. `notify` runs on the thread of the
    /// other end and should only wake another thread. One call may stand for many packets.
    pub fn on_event(&self, notify: impl Fn() + Send + Sync + 'static) {
        lock(&self.own.state).notify = Some(Arc::new(notify));
    }

    /// Makes the next packet the front of the batch, and fetches another batch if this one is
    /// empty. Returns whether there is a packet.
    fn refill(&mut self) -> bool {
        if self.next < self.batch.ends.len() {
            return true;
        }
        self.batch.clear();
        self.next = 0;
        self.start = 0;
        let mut store = lock(&self.inward.store);
        if store.batch.ends.is_empty() {
            return false;
        }
        std::mem::swap(&mut store.batch, &mut self.batch);
        let starved = std::mem::take(&mut store.starved);
        drop(store);
        if starved {
            self.far.raise();
        }
        true
    }
}

impl PacketLink for MemoryLink {
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        if !self.refill() {
            return None;
        }
        let end = self.batch.ends[self.next];
        let packet = &self.batch.bytes[self.start..end];
        let taken = match buffer.get_mut(..packet.len()) {
            Some(room) => {
                room.copy_from_slice(packet);
                packet.len()
            }
            None => 0,
        };
        self.next += 1;
        self.start = end;
        Some(taken)
    }

    fn ready(&mut self) -> bool {
        let mut store = lock(&self.outward.store);
        if store.closed {
            return false;
        }
        let room = store.has_room(self.capacity, 0);
        store.starved |= !room;
        room
    }

    fn send(&mut self, packet: &[u8]) -> bool {
        let mut store = lock(&self.outward.store);
        if store.closed {
            return false;
        }
        if !store.has_room(self.capacity, packet.len()) {
            store.starved = true;
            return false;
        }
        let first = store.batch.ends.is_empty();
        store.batch.bytes.extend_from_slice(packet);
        let end = store.batch.bytes.len();
        store.batch.ends.push(end);
        drop(store);
        if first {
            self.far.raise();
        }
        true
    }

    fn closed(&self) -> bool {
        if self.next < self.batch.ends.len() {
            return false;
        }
        let store = lock(&self.inward.store);
        store.closed && store.batch.ends.is_empty()
    }

    fn waiter(&self) -> Arc<dyn Wait> {
        Arc::clone(&self.own) as Arc<dyn Wait>
    }
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        lock(&self.inward.store).closed = true;
        lock(&self.outward.store).closed = true;
        self.far.raise();
    }
}

impl std::fmt::Debug for MemoryLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryLink")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Direction {
    store: Mutex<Store>,
}

#[derive(Default)]
struct Store {
    batch: Batch,
    /// Whether the sender found the store full and waits for room.
    starved: bool,
    closed: bool,
}

impl Store {
    fn has_room(&self, capacity: Capacity, length: usize) -> bool {
        self.batch.ends.is_empty()
            || (self.batch.ends.len() < capacity.packets
                && self.batch.bytes.len() + length <= capacity.bytes)
    }
}

/// Packets, one directly behind the other.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

#[derive(Default)]
struct Signal {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Default)]
struct SignalState {
    raised: bool,
    notify: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Signal {
    fn raise(&self) {
        let mut state = lock(&self.state);
        state.raised = true;
        let notify = state.notify.clone();
        drop(state);
        self.changed.notify_one();
        if let Some(notify) = notify {
            notify();
        }
    }
}

impl Wait for Signal {
    fn wake(&self) {
        self.raise();
    }

    fn wait(&self, timeout: Option<Duration>) {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = lock(&self.state);
        while !state.raised {
            state = match deadline {
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    let (state, _) = self
                        .changed
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner);
                    state
                }
            };
        }
        state.raised = false;
    }
}

/// Locks a mutex. The stores are consistent after every statement, so that they stay usable after a
/// panic of another thread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn take(link: &mut MemoryLink) -> Option<Vec<u8>> {
        let mut buffer = [0; 64];
        link.receive(&mut buffer)
            .map(|length| buffer[..length].to_vec())
    }

    #[test]
    fn packets_keep_their_order_and_borders() {
        let (mut a, mut b) = pair(Capacity::default());
        assert!(a.send(b"one"));
        assert!(a.send(b""));
        assert!(a.send(b"three"));
        assert_eq!(take(&mut b).as_deref(), Some(&b"one"[..]));
        assert!(a.send(b"four"));
        assert_eq!(take(&mut b).as_deref(), Some(&b""[..]));
        assert_eq!(take(&mut b).as_deref(), Some(&b"three"[..]));
        assert_eq!(take(&mut b).as_deref(), Some(&b"four"[..]));
        assert_eq!(take(&mut b), None);
    }

    #[test]
    fn a_full_link_tells_its_sender_when_there_is_room() {
        let (mut a, mut b) = pair(Capacity {
            packets: 2,
            bytes: 1000,
        });
        let events = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&events);
        a.on_event(move || {
            seen.fetch_add(1, Ordering::SeqCst);
        });
        assert!(a.send(b"1") && a.send(b"2"));
        assert!(!a.ready());
        assert!(!a.send(b"3"));
        assert_eq!(events.load(Ordering::SeqCst), 0);
        assert!(take(&mut b).is_some());
        assert_eq!(events.load(Ordering::SeqCst), 1);
        assert!(a.ready());
        a.wait(None);
    }

    #[test]
    fn a_byte_limit_holds_but_never_starves_a_large_packet() {
        let (mut a, mut b) = pair(Capacity {
            packets: 10,
            bytes: 4,
        });
        assert!(a.send(&[0; 9]));
        assert!(!a.send(&[0; 1]));
        assert_eq!(take(&mut b).map(|packet| packet.len()), Some(9));
        assert!(a.send(&[0; 4]));
    }

    #[test]
    fn too_long_a_packet_is_taken_as_nothing() {
        let (mut a, mut b) = pair(Capacity::default());
        a.send(&[1; 100]);
        a.send(&[2; 2]);
        assert_eq!(take(&mut b).as_deref(), Some(&[][..]));
        assert_eq!(take(&mut b).as_deref(), Some(&[2, 2][..]));
    }

    #[test]
    fn dropping_one_end_closes_the_other_after_what_was_sent() {
        let (mut a, mut b) = pair(Capacity::default());
        a.send(b"last");
        drop(a);
        b.wait(None);
        assert!(!b.closed());
        assert!(take(&mut b).is_some());
        assert!(b.closed());
        assert!(!b.send(b"x"));
    }

    #[test]
    fn a_wake_ends_a_wait_on_another_thread() {
        let (a, _b) = pair(Capacity::default());
        let waiter = a.waiter();
        let thread = std::thread::spawn(move || a.wait(None));
        waiter.wake();
        thread.join().expect("the waiting thread ends");
    }
}
