//! Bytes that a program sends as they are, past the driver's rules for messages and NTBs, and the
//! transfers that the device sends then.
//!
//! A `Raw` goes to the control thread, with the sending end of a channel whose other end is a
//! [`Listener`]. Transfers are reported until the time to wait is over, the session ends, or the
//! listener is dropped. The sending end never waits: transfers that have no room are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, FailureKind};
use crate::poll::Waker;

/// Largest number of transfers that are sent in one go.
const MOST_TRANSFERS: usize = 256;
/// Largest number of bytes that are sent in one go.
pub const MOST_BYTES: usize = 4 << 20;
/// Longest time to wait for transfers of the device.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// Number of bytes that may wait for the listener.
const MOST_WAITING: usize = 4 << 20;
/// Number of bytes that an event counts beside its content.
const EVENT: usize = 64;

/// Place to which bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum To {
    /// The control session: each transfer is a SEND_ENCAPSULATED_COMMAND.
    Control,
    /// The bulk OUT endpoint of the data path.
    Data,
}

/// Event after bytes were sent as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RawEvent {
    /// A transfer ended.
    Sent {
        /// Number of the transfer, from 0.
        transfer: usize,
        /// Number of bytes that were to be sent.
        length: usize,
        /// Reason in words why the device did not take them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A transfer came from the device.
    Came {
        /// The bytes.
        bytes: Vec<u8>,
        /// Number of microseconds since the first byte was sent.
        after: u64,
        /// Whether the transfer is a control message with a transaction id of those that were sent.
        /// Otherwise it answers no command of any program.
        #[serde(default)]
        answers: bool,
    },
    /// Transfers came for which there was no room.
    Missed {
        /// Number of the transfers.
        transfers: u64,
    },
    /// Nothing was sent, or nothing more can come; this is the last event.
    Failed {
        /// The reason.
        failure: Failure,
    },
}

/// Bytes to send as they are.
pub(crate) struct Raw {
    pub(crate) to: To,
    pub(crate) transfers: Vec<Vec<u8>>,
    pub(crate) wait: Duration,
    pub(crate) teller: RawEventSender,
}

impl Raw {
    /// Returns the order, and the end of the channel that brings the events. `waker` is woken
    /// whenever one waits.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when there is nothing or too much to send.
    pub(crate) fn new(
        to: To,
        transfers: Vec<Vec<u8>>,
        wait: Duration,
        waker: Option<Waker>,
    ) -> Result<(Self, Listener), Failure> {
        check(transfers.iter().map(Vec::len), wait)?;
        let (sender, events) = unbounded();
        let waiting = Arc::<AtomicUsize>::default();
        let teller = RawEventSender {
            events: Some(sender),
            waiting: Arc::clone(&waiting),
            missed: 0,
            begun: Instant::now(),
            until: Instant::now() + wait,
            waker,
        };
        let raw = Self {
            to,
            transfers,
            wait,
            teller,
        };
        Ok((raw, Listener { events, waiting }))
    }
}

/// Checks the lengths of the transfers and the time to wait.
///
/// # Errors
/// [`FailureKind::Usage`] when there is nothing or too much to send.
pub(crate) fn check(lengths: impl Iterator<Item = usize>, wait: Duration) -> Result<(), Failure> {
    let (mut transfers, mut bytes) = (0, 0_usize);
    for length in lengths {
        transfers += 1;
        bytes = bytes.saturating_add(length);
        if transfers > MOST_TRANSFERS {
            break;
        }
    }
    let wrong = |why: String| {
        Err(Failure::new(FailureKind::Usage, "the bytes cannot be sent").because(why))
    };
    match () {
        () if transfers == 0 => wrong("there are none".to_owned()),
        () if transfers > MOST_TRANSFERS => wrong(format!("more than {MOST_TRANSFERS} transfers")),
        () if bytes > MOST_BYTES => wrong(format!("more than {MOST_BYTES} bytes")),
        () if wait > LONGEST_WAIT => {
            wrong(format!("more than {} s to wait", LONGEST_WAIT.as_secs()))
        }
        () => Ok(()),
    }
}

/// Sending end of the channel of events. Dropping it closes the channel.
pub(crate) struct RawEventSender {
    events: Option<Sender<RawEvent>>,
    waiting: Arc<AtomicUsize>,
    missed: u64,
    begun: Instant,
    /// Time until which transfers are reported.
    until: Instant,
    waker: Option<Waker>,
}

impl RawEventSender {
    /// Starts the time to wait.
    pub(crate) fn begin(&mut self, now: Instant, wait: Duration) {
        self.begun = now;
        self.until = now + wait;
    }

    /// Returns the time until which transfers are reported.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// Returns whether the listener still exists.
    pub(crate) fn is_heard(&self) -> bool {
        // The listener has the other reference.
        Arc::strong_count(&self.waiting) > 1
    }

    /// Reports that a transfer ended. Returns `false` when the listener is gone.
    pub(crate) fn sent(&mut self, transfer: usize, length: usize, error: Option<String>) -> bool {
        self.tell(
            0,
            RawEvent::Sent {
                transfer,
                length,
                error,
            },
        )
    }

    /// Reports a transfer of the device. Returns `false` when the listener is gone.
    pub(crate) fn came(&mut self, now: Instant, bytes: &[u8], answers: bool) -> bool {
        if self.waiting.load(Ordering::Relaxed) + bytes.len() > MOST_WAITING {
            self.missed += 1;
            return true;
        }
        if self.missed > 0 {
            let transfers = std::mem::take(&mut self.missed);
            self.tell(0, RawEvent::Missed { transfers });
        }
        let after = now.saturating_duration_since(self.begun).as_micros();
        self.tell(
            bytes.len(),
            RawEvent::Came {
                bytes: bytes.to_vec(),
                after: u64::try_from(after).unwrap_or(u64::MAX),
                answers,
            },
        )
    }

    /// Reports a failure as the last event.
    pub(crate) fn fail(mut self, failure: Failure) {
        self.tell(0, RawEvent::Failed { failure });
    }

    fn tell(&mut self, bytes: usize, event: RawEvent) -> bool {
        self.waiting.fetch_add(bytes + EVENT, Ordering::Relaxed);
        let told = self
            .events
            .as_ref()
            .is_some_and(|events| events.send(event).is_ok());
        if let Some(waker) = &self.waker {
            waker.wake();
        }
        told
    }
}

impl Drop for RawEventSender {
    fn drop(&mut self) {
        if self.missed > 0 {
            let transfers = self.missed;
            self.tell(0, RawEvent::Missed { transfers });
        }
        // The channel is closed before the other end is woken.
        self.events = None;
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }
}

/// Receiving end of the channel of events. As an iterator it waits for each event, and ends with the
/// time to wait.
pub struct Listener {
    events: Receiver<RawEvent>,
    waiting: Arc<AtomicUsize>,
}

impl Listener {
    /// Returns the next event if there is one.
    ///
    /// # Errors
    /// [`Ended`] when nothing more will come.
    pub(crate) fn try_next(&mut self) -> Result<Option<RawEvent>, Ended> {
        match self.events.try_recv() {
            Ok(event) => Ok(Some(self.taken(event))),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Ended),
        }
    }

    /// Returns the next event if one comes within `patience`.
    ///
    /// # Errors
    /// [`Ended`] when nothing more will come.
    pub fn wait(&mut self, patience: Duration) -> Result<Option<RawEvent>, Ended> {
        match self.events.recv_timeout(patience) {
            Ok(event) => Ok(Some(self.taken(event))),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Ended),
        }
    }

    fn taken(&self, event: RawEvent) -> RawEvent {
        let bytes = match &event {
            RawEvent::Came { bytes, .. } => bytes.len(),
            _ => 0,
        };
        self.waiting.fetch_sub(bytes + EVENT, Ordering::Relaxed);
        event
    }
}

impl Iterator for Listener {
    type Item = RawEvent;

    fn next(&mut self) -> Option<RawEvent> {
        let event = self.events.recv().ok()?;
        Some(self.taken(event))
    }
}

/// Error that nothing more will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let (raw, mut listener) =
            Raw::new(To::Control, vec![vec![1]], Duration::from_secs(1), None).unwrap();
        let mut teller = raw.teller;
        let now = Instant::now();
        for _ in 0..5 {
            assert!(teller.came(now, &vec![0; 1 << 20], false));
        }
        let came = |event: Option<RawEvent>| matches!(event, Some(RawEvent::Came { .. }));
        assert!(came(listener.next()));
        assert!(came(listener.next()));
        assert!(teller.came(now, &[1], true));
        drop(teller);
        let rest: Vec<RawEvent> = listener.collect();
        assert_eq!(rest.len(), 3, "one more, what was missed, the last");
        assert_eq!(rest[1], RawEvent::Missed { transfers: 2 });
    }

    #[test]
    fn nobody_listens_when_the_listener_is_gone() {
        let (raw, listener) = Raw::new(To::Data, vec![vec![1]], Duration::ZERO, None).unwrap();
        drop(listener);
        let mut teller = raw.teller;
        assert!(!teller.came(Instant::now(), &[1], true));
        assert!(!teller.sent(0, 1, None));
    }

    #[test]
    fn too_much_and_nothing_are_refused() {
        let refused = |transfers: Vec<Vec<u8>>, wait| {
            let Err(failure) = Raw::new(To::Data, transfers, wait, None) else {
                return String::new();
            };
            assert_eq!(failure.kind, FailureKind::Usage);
            failure.to_string()
        };
        let second = Duration::from_secs(1);
        assert!(refused(vec![], second).contains("none"));
        assert!(refused(vec![vec![0]; MOST_TRANSFERS + 1], second).contains("transfers"));
        assert!(refused(vec![vec![0; MOST_BYTES + 1]], second).contains("bytes"));
        assert!(refused(vec![vec![0]], LONGEST_WAIT + second).contains("wait"));
        assert_eq!(refused(vec![vec![0]; MOST_TRANSFERS], LONGEST_WAIT), "");
    }
}
