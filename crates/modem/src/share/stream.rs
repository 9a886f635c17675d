//! The bytes of a capture on their way to a local client: a thread of the capture writes them and the
//! server's loop takes them.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::poll::Waker;

/// Most bytes that may wait for the server's loop.
const MOST_WAITING: usize = 1 << 20;

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// The writer has been dropped.
    ended: bool,
    /// The reader has been dropped.
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writing end. A write waits until there is room.
pub(super) struct Writer {
    shared: Arc<Shared>,
    waker: Waker,
}

/// The reading end. Dropping it makes writes fail.
pub(super) struct Reader(Arc<Shared>);

/// Makes both ends. `waker` wakes the server's loop when there is something to read.
pub(super) fn pair(waker: Waker) -> (Writer, Reader) {
    let shared = Arc::<Shared>::default();
    let writer = Writer {
        shared: Arc::clone(&shared),
        waker,
    };
    (writer, Reader(shared))
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.shared.state();
        while state.bytes.len() >= MOST_WAITING && !state.closed {
            state = self
                .shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.bytes.extend_from_slice(bytes);
        drop(state);
        self.waker.wake();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.waker.wake();
    }
}

impl Reader {
    /// Moves the waiting bytes to `output`. Returns `false` when nothing more will come.
    pub fn take(&self, output: &mut Vec<u8>) -> bool {
        let mut state = self.0.state();
        let more = !state.ended || !state.bytes.is_empty();
        output.append(&mut state.bytes);
        self.0.changed.notify_all();
        more
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.changed.notify_all();
    }
}
