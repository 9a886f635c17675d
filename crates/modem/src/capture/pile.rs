//! The events that wait to be written, between the threads that drive the modem and the one that writes.
//!
//! There are two heaps of events. Those who drive the modem add to one, and the thread that writes takes
//! it as a whole and gives its empty one for it, so that nobody waits for a write, and memory is used
//! again.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uwwan_capture::transfer::{Kind, Phase};
use uwwan_usb::observed::Seen;

use super::devices::DeviceState;
use super::snap::{Kept, Store};

/// Bytes that may wait to be written. As many may be with the thread that writes.
const MOST_QUEUED: usize = 8 << 20;
/// Bytes that an idle heap keeps for what comes next.
const SPARE: usize = 512 << 10;

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
    /// The part of its data that the heap's store has.
    pub data: Kept,
}

/// Something to write.
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

    /// Forgets the entries. Some memory stays for others.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.entries.shrink_to(SPARE / size_of::<Entry>());
        self.store.clear(SPARE);
    }
}

/// The heap that is added to.
#[derive(Default)]
pub(super) struct Pile {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Default)]
struct State {
    heap: Heap,
    /// Whether the thread that writes waits for an entry.
    waits: bool,
    finished: bool,
}

impl Pile {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a device, of which there are few.
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
        if std::mem::take(&mut state.waits) {
            drop(state);
            self.woken.notify_one();
        }
    }

    /// Tells that nothing more is to be written.
    pub fn finish(&self) {
        self.state().finished = true;
        self.woken.notify_one();
    }

    /// Takes what there is, and leaves `heap`, which is empty, in its place. Returns whether that was
    /// the last.
    pub fn take(&self, heap: &mut Heap) -> bool {
        let mut state = self.state();
        std::mem::swap(&mut state.heap, heap);
        state.finished
    }

    /// Waits until there is something, or until nothing more comes.
    pub fn wait(&self) {
        let mut state = self.state();
        while state.heap.entries.is_empty() && !state.finished {
            state.waits = true;
            state = self
                .woken
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.waits = false;
    }

    /// Lets entries gather for a time, unless nothing more comes.
    pub fn rest(&self, time: Duration) {
        let state = self.state();
        let ended = self
            .woken
            .wait_timeout_while(state, time, |state| !state.finished);
        drop(ended);
    }
}
