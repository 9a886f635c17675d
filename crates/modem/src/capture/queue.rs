//! The bytes that wait to be written, between the threads that drive the modem and the one that writes.
//!
//! The threads that drive the modem add events to an [`Encoder`], which puts them into the form of the
//! file at once; the thread that writes takes its bytes as a whole and leaves its empty memory in their
//! place, so that nobody waits for a write, and memory is used again.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::encoder::{Encoded, Encoder, Event};

/// Most bytes that may wait to be written. The thread that writes may hold as many again.
const MOST_QUEUED: usize = 8 << 20;
/// Number of waiting bytes at which the thread that writes is woken from its rest. So many bytes are
/// still in the processor's cache then.
const ENOUGH: usize = 256 << 10;

/// The events that wait to be written.
pub(super) struct Queue {
    state: Mutex<State>,
    woken: Condvar,
}

struct State {
    encoder: Encoder,
    /// Number of bytes at which the thread that writes is woken. `None` while it is at work.
    wake_at: Option<usize>,
    finished: bool,
}

impl Queue {
    pub fn new(encoder: Encoder) -> Self {
        Self {
            state: Mutex::new(State {
                encoder,
                wake_at: None,
                finished: false,
            }),
            woken: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds something that has always room, because it is rare, with `add`.
    pub fn add_with(&self, add: impl FnOnce(&mut Encoder)) {
        let mut state = self.state();
        add(&mut state.encoder);
        self.added(state);
    }

    /// Adds an event. Returns whether there was room for it.
    #[inline]
    pub fn add(&self, event: &Event<'_>) -> bool {
        let mut state = self.state();
        if state.encoder.size() + event.data.len() > MOST_QUEUED {
            return false;
        }
        let added = state.encoder.event(event);
        self.added(state);
        added
    }

    #[inline]
    fn added(&self, mut state: MutexGuard<'_, State>) {
        let size = state.encoder.size();
        if state.wake_at.is_some_and(|enough| size >= enough) {
            state.wake_at = None;
            drop(state);
            self.woken.notify_one();
        }
    }

    /// Marks the end: nothing more will be added. `end` is called the first time.
    pub fn finish(&self, end: impl FnOnce(&mut Encoder)) {
        let mut state = self.state();
        if !state.finished {
            end(&mut state.encoder);
            state.finished = true;
        }
        self.woken.notify_one();
    }

    /// Takes what waits in exchange for `encoded`, which has been written. Returns whether it was the
    /// last.
    pub fn take(&self, encoded: &mut Encoded) -> bool {
        encoded.clear();
        let mut state = self.state();
        state.encoder.swap(encoded);
        state.finished
    }

    /// Waits until something waits to be written, or until nothing more will be added.
    pub fn wait(&self) {
        let mut state = self.state();
        state.wake_at = Some(1);
        while state.encoder.size() == 0 && !state.finished {
            state = self
                .woken
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.wake_at = None;
    }

    /// Lets bytes gather for a time, unless they become many or nothing more will be added.
    pub fn rest(&self, time: Duration) {
        let mut state = self.state();
        state.wake_at = Some(ENOUGH);
        let few = |state: &mut State| !state.finished && state.encoder.size() < ENOUGH;
        let ended = self.woken.wait_timeout_while(state, time, few);
        let (mut state, _) = ended.unwrap_or_else(PoisonError::into_inner);
        state.wake_at = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use uwwan_capture::transfer::{Phase, Transfer};
    use uwwan_usb::descriptors::TransferKind;
    use uwwan_usb::observed::{Moment, Seen};

    use super::*;
    use crate::capture::Options;
    use crate::capture::content::Content;

    /// Returns a queue from which the beginning of the file was taken.
    fn queue() -> Arc<Queue> {
        let queue = Queue::new(Encoder::new(Options::default(), None, Vec::new()));
        assert!(!queue.take(&mut Encoded::default()));
        Arc::new(queue)
    }

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
        assert!(queue.add(&Event {
            time: 0,
            seen: &seen,
            phase: Phase::Submit,
            status: Transfer::IN_PROGRESS,
            content: &Content::Other,
            data: &data,
            dropped: 0,
        }));
    }

    /// A rest of unlimited time ends when enough bytes wait, and not before.
    #[test]
    fn a_rest_ends_with_enough_to_write() {
        let queue = queue();
        let (sender, ended) = channel();
        let resting = Arc::clone(&queue);
        let thread = std::thread::spawn(move || {
            resting.rest(Duration::from_secs(3_600));
            sender.send(resting.state().encoder.size()).unwrap();
        });
        for _ in 0..ENOUGH / 4_096 - 8 {
            add(&queue, 4_000);
        }
        assert!(ended.try_recv().is_err());
        for _ in 0..8 {
            add(&queue, 4_096);
        }
        assert!(ended.recv().unwrap() >= ENOUGH);
        thread.join().unwrap();
    }

    #[test]
    fn a_wait_ends_with_the_first_event_and_with_the_end() {
        let queue = queue();
        for last in [false, true] {
            let waiting = Arc::clone(&queue);
            let thread = std::thread::spawn(move || waiting.wait());
            if last {
                queue.finish(|_| {});
            } else {
                add(&queue, 1);
            }
            thread.join().unwrap();
            assert_eq!(queue.take(&mut Encoded::default()), last);
        }
    }
}
