//! One capture, as the threads whose transfers it records see it.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use uwwan_capture::transfer::{Kind, Phase, Transfer};
use uwwan_usb::descriptors::TransferKind;
use uwwan_usb::observed::{Moment, Seen};

use super::Options;
use super::destination::Destination;
use super::devices::DeviceState;
use super::file_writer::{FileWriter, Shared, nanoseconds};
use super::queue::Event;

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
    options: Options,
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
        let shared = Arc::<Shared>::default();
        let writer = FileWriter::new(Arc::clone(&shared), options, destination, devices);
        std::thread::Builder::new()
            .name("uwwan-capture".into())
            .spawn(move || {
                writer.run();
                drop(ending);
            })?;
        Ok(Self {
            ended,
            options,
            shared,
        })
    }

    /// Records that a device was opened.
    pub fn device(&self, state: DeviceState) {
        if !self.has_ended() {
            self.shared.queue.add_device(state);
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
        let time = nanoseconds();
        let snap = self
            .options
            .snap
            .filter(|_| seen.kind == TransferKind::Bulk);
        let event = |data| Event {
            time,
            id: seen.id,
            phase,
            kind: match seen.kind {
                TransferKind::Control => Kind::Control,
                TransferKind::Isochronous => Kind::Isochronous,
                TransferKind::Bulk => Kind::Bulk,
                TransferKind::Interrupt => Kind::Interrupt,
            },
            endpoint: seen.endpoint,
            bus: seen.bus,
            address: seen.address,
            setup: seen.setup,
            status,
            length: u32::try_from(seen.length).unwrap_or(u32::MAX),
            data,
        };
        let ended = self.has_ended();
        if ended || !shared.queue.add(seen, snap, event) {
            let before = shared.dropped.fetch_add(1, Ordering::Relaxed);
            if before == 0 && !ended {
                tracing::warn!("the capture is written too slowly; transfers are missing in it");
            }
        }
    }

    /// Returns whether the thread has ended because it cannot write any more.
    pub fn has_ended(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Lets the thread write the queued events and end.
    pub fn end(&self) {
        self.shared.queue.finish();
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
