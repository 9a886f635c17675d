//! The thread that writes a capture.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uwwan_capture::write::Form;

use super::destination::Destination;
use super::encoder::{Encoded, Encoder};
use super::queue::Queue;

/// Longest time for which the thread rests between two rounds of writing while events come. The threads
/// that add events need not wake it meanwhile: waking would cost more than all else, and a round costs the
/// same for few events as for many. A program that reads the file sees an event after this time at the
/// latest.
const REST: Duration = Duration::from_millis(100);

/// The state that the recorder shares with the thread that writes.
pub(super) struct Shared {
    pub queue: Queue,
    pub written: AtomicU64,
    pub dropped: AtomicU64,
    pub failed: AtomicBool,
    pub failure: Mutex<Option<String>>,
}

impl Shared {
    pub fn new(encoder: Encoder) -> Self {
        Self {
            queue: Queue::new(encoder),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
        }
    }
}

/// The thread that writes.
pub(super) struct FileWriter {
    pub shared: Arc<Shared>,
    pub destination: Destination,
    /// Whether the files are packed ones.
    pub packed: bool,
}

impl FileWriter {
    /// Writes until the capture is finished, or until a write fails.
    pub fn run(mut self) {
        let mut encoded = Encoded::default();
        if let Err(error) = self.write(&mut encoded) {
            // The program that reads from a pipe may have closed it because it has seen enough.
            let closed = error.kind() == io::ErrorKind::BrokenPipe;
            let why = (!closed).then(|| error.to_string());
            if let Some(why) = &why {
                tracing::warn!("the capture ends: {why}");
            }
            let failure = self.shared.failure.lock();
            *failure.unwrap_or_else(PoisonError::into_inner) = why;
            // The recorder counts every event from here on as dropped. Those that were handed over
            // with what could not be written are counted here.
            self.shared.failed.store(true, Ordering::Relaxed);
            let mut lost = encoded.events;
            self.shared.queue.take(&mut encoded);
            lost += encoded.events;
            self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
        }
    }

    fn write(&mut self, encoded: &mut Encoded) -> io::Result<()> {
        let mut out = self.destination.open_next()?;
        let mut form = Form::new(self.packed);
        loop {
            let finished = self.shared.queue.take(encoded);
            let mut from = 0;
            for end in &encoded.ends {
                let bytes = encoded.bytes.get(from..*end).unwrap_or_default();
                form.write(bytes, &mut out)?;
                out.flush()?;
                out = self.destination.open_next()?;
                form = Form::new(self.packed);
                from = *end;
            }
            let bytes = encoded.bytes.get(from..).unwrap_or_default();
            form.write(bytes, &mut out)?;
            // A program that reads the file meanwhile sees all events so far.
            out.flush()?;
            let events = std::mem::take(&mut encoded.events);
            self.shared.written.fetch_add(events, Ordering::Relaxed);
            if finished {
                return Ok(());
            }
            if encoded.bytes.is_empty() {
                self.shared.queue.wait();
            } else {
                self.shared.queue.rest(REST);
            }
        }
    }
}
