//! The events that wait to be written, between the threads that drive the modem and the one that writes.
//!
//! There are two heaps of events. The threads that drive the modem add to one; the thread that writes
//! takes it as a whole and leaves its empty one in its place, so that nobody waits for a write, and
//! memory is used again.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uwwan_capture::transfer::{Kind, Phase};
use uwwan_usb::observed::Seen;

use super::devices::DeviceState;
use super::snap::{Kept, Store};

/// Most bytes that may wait to be written. The thread that writes may hold as many again.
const MOST_QUEUED: usize = 8 << 20;
/// Capacity in bytes that an empty heap keeps for each kind of content. It is several times [`ENOUGH`],
/// so that a steady stream of transfers asks the system for no memory.
const SPARE: usize = 1 << 20;
/// Number of waiting bytes at which the thread that writes is woken from its rest. So many bytes are
/// still in the processor's cache then.
const ENOUGH: usize = 256 << 10;

/// An event.
pub(super) struct Event {
    pub time: u64,
    pub id: u64,
    pub phase: Phase,
    pub kind: Kind,
    pub endpoint: u8,
    pub bus: u8,
    pub address: u8,
    pub setup: Option<[u8; 8]>,
    pub status: i32,
    pub length: u32,
    /// Position of the event's data in the heap's store.
    pub data: Kept,
}

/// Entry of a heap.
pub(super) enum Entry {
    Device(Box<DeviceState>),
    Event(Event),
}

/// Entries with their data.
#[derive(Default)]
pub(super) struct Heap {
    pub entries: Vec<Entry>,
    pub store: Store,
}

impl Heap {
    fn size(&self) -> usize {
        self.store.size() + size_of_val(self.entries.as_slice())
    }

    /// Removes the entries, and keeps some of the memory for others.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.entries.shrink_to(SPARE / size_of::<Entry>());
        self.store.clear(SPARE);
    }
}

/// The heap that is added to.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Default)]
struct State {
    heap: Heap,
    /// Size of the heap in bytes at which the thread that writes is woken. `None` while it is at work.
    wake_at: Option<usize>,
    finished: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a device. There is always room, because devices are few.
    pub fn add_device(&self, device: DeviceState) {
        let mut state = self.state();
        state.heap.entries.push(Entry::Device(Box::new(device)));
        self.added(state);
    }

    /// Adds an event, which `event` makes with its data. Returns whether there was room for it.
    pub fn add(
        &self,
        seen: &Seen<'_>,
        snap: Option<usize>,
        event: impl FnOnce(Kept) -> Event,
    ) -> bool {
        let mut state = self.state();
        let heap = &mut state.heap;
        if heap.size() + seen.data.len() > MOST_QUEUED {
            return false;
        }
        let data = match snap {
            Some(snap) => heap.store.keep_snapped(seen.data, snap),
            None => heap.store.keep(seen.data),
        };
        heap.entries.push(Entry::Event(event(data)));
        self.added(state);
        true
    }

    fn added(&self, mut state: MutexGuard<'_, State>) {
        if state.wake_at.is_some_and(|size| state.heap.size() >= size) {
            state.wake_at = None;
            drop(state);
            self.woken.notify_one();
        }
    }

    /// Marks the end: nothing more will be added.
    pub fn finish(&self) {
        self.state().finished = true;
        self.woken.notify_one();
    }

    /// Takes the heap of waiting entries, and leaves `heap`, which is empty, in its place. Returns
    /// whether it was the last one.
    pub fn take(&self, heap: &mut Heap) -> bool {
        let mut state = self.state();
        std::mem::swap(&mut state.heap, heap);
        state.finished
    }

    /// Waits until an entry waits, or until nothing more will be added.
    pub fn wait(&self) {
        let mut state = self.state();
        state.wake_at = Some(1);
        while state.heap.entries.is_empty() && !state.finished {
            state = self
                .woken
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.wake_at = None;
    }

    /// Lets entries gather for a time, unless they become many or nothing more will be added.
    pub fn rest(&self, time: Duration) {
        let mut state = self.state();
        state.wake_at = Some(ENOUGH);
        let few = |state: &mut State| !state.finished && state.heap.size() < ENOUGH;
        let ended = self.woken.wait_timeout_while(state, time, few);
        let (mut state, _) = ended.unwrap_or_else(PoisonError::into_inner);
        state.wake_at = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use uwwan_usb::descriptors::TransferKind;
    use uwwan_usb::observed::Moment;

    use super::*;

    fn add(queue: &Queue, length: usize) {
        let data = vec![1; length];
        let seen = Seen {
            bus: 1,
            address: 2,
            id: 3,
            moment: Moment::Submitted,
            kind: TransferKind::Bulk,
            endpoint: 1,
            setup: None,
            length,
            data: &data,
        };
        let event = |data| Event {
            time: 0,
            id: seen.id,
            phase: Phase::Submit,
            kind: Kind::Bulk,
            endpoint: seen.endpoint,
            bus: seen.bus,
            address: seen.address,
            setup: None,
            status: 0,
            length: 0,
            data,
        };
        assert!(queue.add(&seen, None, event));
    }

    /// A rest of unlimited time ends when enough bytes wait, and not before.
    #[test]
    fn a_rest_ends_with_enough_to_write() {
        let queue = Arc::<Queue>::default();
        let (sender, ended) = channel();
        let resting = Arc::clone(&queue);
        let thread = std::thread::spawn(move || {
            resting.rest(Duration::from_secs(3_600));
            sender.send(resting.state().heap.size()).unwrap();
        });
        for _ in 0..ENOUGH / 4_096 - 8 {
            add(&queue, 4_096 - size_of::<Entry>());
        }
        assert!(ended.try_recv().is_err());
        for _ in 0..8 {
            add(&queue, 4_096 - size_of::<Entry>());
        }
        assert!(ended.recv().unwrap() >= ENOUGH);
        thread.join().unwrap();
    }

    #[test]
    fn a_wait_ends_with_the_first_event_and_with_the_end() {
        let queue = Arc::<Queue>::default();
        for last in [false, true] {
            let waiting = Arc::clone(&queue);
            let thread = std::thread::spawn(move || waiting.wait());
            if last {
                queue.finish();
            } else {
                add(&queue, 1);
            }
            thread.join().unwrap();
            assert_eq!(queue.take(&mut Heap::default()), last);
        }
    }
}
