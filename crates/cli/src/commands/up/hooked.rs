//! The hook that runs when the modem has come online, and the report of its failure.

use std::io::{self, PipeReader, Read as _};
use std::sync::Arc;

use uwwan_modem::{Diagnosis, DiagnosisKind, Event, Status};

use crate::failure::{Failure, FailureKind};
use crate::hooks::Facts;

/// Function that starts the hook; the pipe reports how it ended, as with
/// [`crate::hooks::Hooks::start`].
pub(super) type Start = Box<dyn Fn(Facts) -> io::Result<PipeReader>>;

/// Length of the longest failure that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

/// The hook `after-up`.
pub(super) struct AfterUp {
    device: String,
    start: Start,
    tell: Arc<dyn Fn(Event) + Send + Sync>,
}

impl AfterUp {
    /// Returns the hook of a device. `tell` is called with the event that reports a failure, from any
    /// thread.
    pub(super) fn new(
        device: String,
        start: Start,
        tell: impl Fn(Event) + Send + Sync + 'static,
    ) -> Self {
        let tell = Arc::new(tell);
        Self {
            device,
            start,
            tell,
        }
    }

    /// Starts the hook, and does not wait for it.
    pub(super) fn run(&self, status: &Status) {
        let facts = Facts {
            device: match status.port.is_empty() {
                true => self.device.clone(),
                false => status.port.clone(),
            },
            interface: status.interface().map(|interface| interface.name.clone()),
            addresses: status.addresses().cloned(),
        };
        let tell = Arc::clone(&self.tell);
        let heard = (self.start)(facts).and_then(|pipe| {
            std::thread::Builder::new()
                .name("hook".into())
                .stack_size(256 * 1024)
                .spawn(move || {
                    if let Some(failure) = outcome(pipe) {
                        tell(diagnosis(&failure));
                    }
                })
        });
        if let Err(error) = heard {
            let failure = Failure::new(FailureKind::Host, "the hook after-up did not run");
            (self.tell)(diagnosis(&failure.because(error)));
        }
    }
}

/// Waits for the end of a hook, and returns how it failed.
fn outcome(pipe: PipeReader) -> Option<Failure> {
    let mut text = Vec::new();
    pipe.take(LONGEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn diagnosis(failure: &Failure) -> Event {
    Event::Diagnosis(Diagnosis::new(DiagnosisKind::Hook, failure.one_line()))
}
