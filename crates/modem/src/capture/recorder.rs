//! One capture, as the threads whose transfers it records see it.

use std::borrow::Cow;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use uwwan_capture::transfer::{Phase, Transfer};
use uwwan_usb::descriptors::TransferKind;
use uwwan_usb::observed::{Moment, Seen};

use super::Options;
use super::content::Content;
use super::destination::Destination;
use super::devices::DeviceState;
use super::encoder::{Encoder, Event, nanoseconds};
use super::file_writer::{FileWriter, Shared};
use super::secrets::Blanker;

/// Time within which the queued events of a capture that is dropped are written.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Outcome of a capture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Number of events that were written.
    pub written: u64,
    /// Number of events that were lost, because they came faster than they could be written, or after a
    /// write had failed.
    pub dropped: u64,
    /// Reason why the capture could not be written to its end, if so.
    pub failure: Option<String>,
}

/// A capture.
pub(super) struct Recorder {
    ended: Receiver<()>,
    /// Blanks secrets, unless they are kept.
    blanker: Option<Mutex<Blanker>>,
    shared: Arc<Shared>,
}

impl Recorder {
    /// Starts the thread that writes. `devices` are the devices that are open already.
    ///
    /// # Errors
    /// The system's error when it refuses a thread.
    pub fn start(
        options: Options,
        destination: Destination,
        devices: Vec<DeviceState>,
    ) -> io::Result<Self> {
        let (ending, ended) = bounded(0);
        let encoder = Encoder::new(options, destination.limit(), devices);
        let shared = Arc::new(Shared::new(encoder));
        let writer = FileWriter {
            shared: Arc::clone(&shared),
            destination,
            packed: options.packed,
        };
        std::thread::Builder::new()
            .name("uwwan-capture".into())
            .spawn(move || {
                writer.run();
                drop(ending);
            })?;
        Ok(Self {
            ended,
            blanker: (!options.secrets).then(Mutex::default),
            shared,
        })
    }

    /// Records that a device was opened.
    pub fn device(&self, state: DeviceState) {
        if !self.has_ended() {
            self.shared.queue.add_with(|encoder| encoder.device(state));
        }
    }

    /// Takes over the state of a device that a request has changed. `selected` is whether a configuration
    /// was selected.
    pub fn changed(&self, state: DeviceState, selected: bool) {
        if !self.has_ended() {
            self.shared.queue.add_with(|encoder| {
                if selected {
                    encoder.selected(&state);
                }
                encoder.changed(state);
            });
        }
    }

    /// Records an event, unless there is no room for it.
    pub fn transfer(&self, seen: &Seen<'_>) {
        let shared = &self.shared;
        let (phase, status) = match seen.moment {
            Moment::Submitted => (Phase::Submit, Transfer::IN_PROGRESS),
            Moment::Rejected(status) => (Phase::Error, status),
            Moment::Completed(status) => (Phase::Complete, status),
        };
        let content = Content::of(seen.kind, seen.data);
        let event = Event {
            time: nanoseconds(),
            seen,
            phase,
            status,
            content: &content,
            data: &self.without_secrets(seen, &content),
            dropped: shared.dropped.load(Ordering::Relaxed),
        };
        let ended = self.has_ended();
        if ended || !shared.queue.add(&event) {
            let before = shared.dropped.fetch_add(1, Ordering::Relaxed);
            if before == 0 && !ended {
                tracing::warn!("the capture is written too slowly; transfers are missing in it");
            }
        }
    }

    /// Returns the bytes of a transfer, with secrets blanked. NTBs and frames have none.
    fn without_secrets<'a>(&self, seen: &Seen<'a>, content: &Content<'_>) -> Cow<'a, [u8]> {
        let data = seen.data;
        let (Some(blanker), Content::Other, TransferKind::Control | TransferKind::Bulk, [_, ..]) =
            (&self.blanker, content, seen.kind, data)
        else {
            return Cow::Borrowed(data);
        };
        let mut data = data.to_vec();
        let mut blanker = blanker.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.kind == TransferKind::Control {
            blanker.message(&mut data);
        } else {
            blanker.serial((seen.bus.into(), seen.address), seen.endpoint, &mut data);
        }
        Cow::Owned(data)
    }

    /// Returns whether the thread has ended because it cannot write any more.
    pub fn has_ended(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Lets the thread write the queued events and end.
    pub fn end(&self) {
        let shared = &self.shared;
        let dropped = shared.dropped.load(Ordering::Relaxed);
        shared.queue.finish(|encoder| encoder.end(dropped));
    }

    /// Lets the thread write the queued events and end, and waits for that as long as `patience`.
    pub fn finish(&self, patience: Duration) -> Outcome {
        self.end();
        let late = matches!(
            self.ended.recv_timeout(patience),
            Err(crossbeam_channel::RecvTimeoutError::Timeout)
        );
        let shared = &self.shared;
        let failure = shared.failure.lock();
        let failure = failure.unwrap_or_else(PoisonError::into_inner).clone();
        let late = late.then(|| "what was captured last could not be written in time".to_owned());
        Outcome {
            written: shared.written.load(Ordering::Relaxed),
            dropped: shared.dropped.load(Ordering::Relaxed),
            failure: failure.or(late),
        }
    }
}
