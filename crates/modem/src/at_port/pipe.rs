//! The encapsulated commands of a network function as a stream of bytes (CDC 1.2, 6.2.1 and 6.2.2).
//!
//! Huawei's NCM takes AT commands this way, and the kernel's `huawei_cdc_ncm` offers them as
//! `/dev/cdc-wdm0`. RESPONSE_AVAILABLE says when to fetch. The data thread reads the notifications of a
//! modem that is driven, and passes this one on with [`Channel::response_available`]. Until one has come the
//! function is asked again and again, after ever longer pauses, since nobody may be listening and not
//! every firmware notifies.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use uwwan_usb::device::Device;
use uwwan_usb::error::Error;
use uwwan_usb::requests;
use zeroize::Zeroize;

use super::channel::{Channel, Incoming};
use super::claim::Claim;
use crate::failure::Failure;

/// Largest message in bytes, as in Linux `huawei_cdc_ncm.c`.
const LARGEST: usize = 4096;
/// First pause before the function is asked for an answer that it does not announce.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Longest pause before the function is asked for an answer that it does not announce.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Time after a command in which the announcement of its answer may have been lost.
const ANNOUNCED: Duration = Duration::from_secs(2);
/// Number of errors in a row before the pipe counts as lost.
const MOST_ERRORS: u32 = 3;

/// Reason for the reader to ask the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AskReason {
    /// A command was sent.
    Sent,
    /// The function has notified that a response is available.
    Available,
}

/// The pipe, with its reader.
pub(super) struct Pipe {
    device: Arc<dyn Device>,
    interface: u8,
    reasons: Option<Sender<AskReason>>,
    incoming: Receiver<Incoming>,
    reader: Option<JoinHandle<()>>,
    /// The interface, unless the device's driver has it. It is given back when the reader has ended.
    _claim: Option<Claim>,
}

impl Pipe {
    /// Starts the reader. Unless `claimed` says that the device's driver has it, the interface is detached
    /// from its kernel driver and claimed.
    ///
    /// # Errors
    /// [`Failure`] for an error of the USB backend, and when there is no thread to be had.
    pub(super) fn open(
        device: &Arc<dyn Device>,
        interface: u8,
        claimed: bool,
    ) -> Result<Self, Failure> {
        let claim = match claimed {
            true => None,
            false => Some(Claim::take(device, &[interface])?),
        };
        let (reasons, wakeups) = bounded(16);
        let (sender, incoming) = bounded(16);
        let mut pipe = Self {
            device: Arc::clone(device),
            interface,
            reasons: Some(reasons),
            incoming,
            reader: None,
            _claim: claim,
        };
        let reader = Reader {
            device: Arc::clone(device),
            interface,
            wakeups,
            sender,
        };
        pipe.reader = Some(
            std::thread::Builder::new()
                .name("uwwan-at-read".into())
                .stack_size(256 * 1024)
                .spawn(move || reader.run())
                .map_err(|error| super::system(format!("start the AT port's reader: {error}")))?,
        );
        Ok(pipe)
    }

    /// Wakes the reader. Where reasons to ask wait already, one more tells the reader nothing new.
    fn ask(&self, reason: AskReason) {
        if let Some(reasons) = &self.reasons {
            let _ = reasons.try_send(reason);
        }
    }
}

impl Channel for Pipe {
    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        for piece in bytes.chunks(LARGEST) {
            requests::send_encapsulated(&*self.device, self.interface, piece)
                .map_err(|error| error.to_string())?;
        }
        self.ask(AskReason::Sent);
        Ok(())
    }

    fn incoming(&self) -> &Receiver<Incoming> {
        &self.incoming
    }

    fn response_available(&self) {
        self.ask(AskReason::Available);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.reasons = None;
        // A reader that waits for room in the channel ends when it finds no receiver.
        self.incoming = crossbeam_channel::never();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// The times at which the function is asked for a response.
#[derive(Debug)]
struct Schedule {
    due: Option<Instant>,
    pause: Duration,
    /// Whether the function has announced a response.
    announces: bool,
}

impl Schedule {
    fn new() -> Self {
        Self {
            due: None,
            pause: FIRST_PAUSE,
            announces: false,
        }
    }

    /// Records that a command was sent, or that a response has come without being announced.
    fn expect(&mut self, now: Instant) {
        self.pause = FIRST_PAUSE;
        self.due = Some(match self.announces {
            true => now + ANNOUNCED,
            false => now + self.pause,
        });
    }

    /// Records an announcement.
    fn announced(&mut self) {
        self.announces = true;
        self.due = None;
    }

    /// Records that the function was asked, and whether it had a response.
    fn asked(&mut self, now: Instant, had_something: bool) {
        if self.announces {
            self.due = None;
        } else if had_something {
            self.expect(now);
        } else {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            self.due = Some(now + self.pause);
        }
    }
}

struct Reader {
    device: Arc<dyn Device>,
    interface: u8,
    wakeups: Receiver<AskReason>,
    sender: Sender<Incoming>,
}

impl Reader {
    fn run(self) {
        let why = self.read();
        let _ = self.sender.send(Incoming::Lost(why));
    }

    /// Reads until the pipe is closed or fails; returns the reason in words.
    fn read(&self) -> String {
        let mut schedule = Schedule::new();
        let mut errors = 0;
        let mut answer = vec![0; LARGEST];
        loop {
            let reason = match schedule.due {
                Some(due) => self.wakeups.recv_deadline(due),
                None => self.wakeups.recv().map_err(RecvTimeoutError::from),
            };
            match reason {
                Ok(AskReason::Sent) => {
                    schedule.expect(Instant::now());
                    continue;
                }
                Ok(AskReason::Available) => schedule.announced(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return "closed".into(),
            }
            let count = match requests::get_encapsulated(&*self.device, self.interface, &mut answer)
            {
                Ok(count) => count,
                // A function without a response may halt the control endpoint or let the request
                // time out.
                Err(Error::Stall { .. } | Error::Timeout { .. }) => 0,
                Err(error @ Error::Gone { .. }) => return error.to_string(),
                Err(error) => {
                    errors += 1;
                    if errors >= MOST_ERRORS {
                        return error.to_string();
                    }
                    schedule.asked(Instant::now(), false);
                    continue;
                }
            };
            errors = 0;
            if count > 0 {
                let bytes = answer.get(..count).unwrap_or_default().to_vec();
                // An echo repeats the command, in which there may be a PIN.
                answer.zeroize();
                answer.resize(LARGEST, 0);
                if self.sender.send(Incoming::Bytes(bytes)).is_err() {
                    return "closed".into();
                }
            }
            schedule.asked(Instant::now(), count > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_announces_nothing_is_asked_ever_more_rarely() {
        let start = Instant::now();
        let mut schedule = Schedule::new();
        assert_eq!(schedule.due, None, "nothing was sent");
        schedule.expect(start);
        assert_eq!(schedule.due, Some(start + FIRST_PAUSE));
        let mut now = start;
        for _ in 0..20 {
            now = schedule.due.unwrap();
            schedule.asked(now, false);
        }
        assert_eq!(schedule.due, Some(now + LONGEST_PAUSE));
        schedule.asked(now, true);
        assert_eq!(schedule.due, Some(now + FIRST_PAUSE), "more may come");
    }

    #[test]
    fn a_function_that_announces_is_asked_then_and_once_behind_a_command() {
        let start = Instant::now();
        let mut schedule = Schedule::new();
        schedule.announced();
        assert_eq!(schedule.due, None);
        schedule.asked(start, true);
        assert_eq!(schedule.due, None);
        schedule.expect(start);
        assert_eq!(schedule.due, Some(start + ANNOUNCED));
        schedule.asked(start + ANNOUNCED, false);
        assert_eq!(schedule.due, None);
    }
}
