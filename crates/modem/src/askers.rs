//! Askers: whoever sends MBIM commands on the control session beside the driver itself.
//!
//! An [`Asker`] sends [`Request`]s to the control thread. Answers, indications and the opening and
//! the end of the session come back as [`AskerEvent`]s on a channel of its own; a [`Waker`] tells
//! one who sleeps in a poll loop. There are as many answers as requests that were sent;
//! indications are dropped when nobody fetches them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::session::{Command, CommandError, Response};

use crate::poll::Waker;

/// Events that may wait for an asker before indications are dropped.
const MOST_WAITING: usize = 1024;

/// Names a request among those of one asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What an asker wants of the control session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Send this command. One [`AskerEvent::Answer`] with the same ticket follows.
    Send {
        /// The asker's name for the request.
        ticket: Ticket,
        /// The command.
        command: Command,
        /// How long the modem may take, from sending.
        timeout: Duration,
    },
    /// Cancel a command, towards the modem too. It is answered with [`CommandError::Cancelled`]
    /// unless it has been answered before.
    Withdraw(Ticket),
}

/// What an asker is told.
#[derive(Debug)]
pub(crate) enum AskerEvent {
    /// The control session is open.
    Opened {
        /// Commands the function takes at a time.
        outstanding: usize,
    },
    /// The control session is open no more. Every request has been answered before.
    Down {
        /// The reason, in words.
        why: String,
    },
    /// The ladder has told the modem which indications the driver wants, and no others.
    Subscribed,
    /// The answer to a request.
    Answer {
        /// The asker's name for the request.
        ticket: Ticket,
        /// The answer, or why there is none.
        result: Result<Response, CommandError>,
    },
    /// An indication of the modem.
    Indication {
        /// Service and number.
        id: CidId,
        /// Information buffer.
        info: Vec<u8>,
    },
}

/// Passes a request of the asker with this id to the control thread; `false` when that has ended.
pub(crate) type Outbox = Box<dyn Fn(u64, Request) -> bool + Send>;

/// The asking program's end.
pub(crate) struct Asker {
    id: u64,
    outbox: Outbox,
    events: Receiver<AskerEvent>,
}

impl Asker {
    /// An asker, and the end of its channel that belongs to the control thread. `waker` is woken
    /// whenever an event waits.
    pub(crate) fn new(outbox: Outbox, waker: Option<Waker>) -> (Self, AskerSender) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (sender, events) = unbounded();
        let sender = AskerSender {
            id,
            events: sender,
            waker,
        };
        let asker = Self { id, outbox, events };
        (asker, sender)
    }

    /// Sends a request. `false` when the control thread has ended.
    pub(crate) fn request(&self, request: Request) -> bool {
        (self.outbox)(self.id, request)
    }

    /// The next event, if one waits.
    ///
    /// # Errors
    /// [`Gone`] when the control thread has ended.
    pub(crate) fn next(&self) -> Result<Option<AskerEvent>, Gone> {
        match self.events.try_recv() {
            Ok(event) => Ok(Some(event)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Gone),
        }
    }

    /// Waits for the next event, at most `patience`.
    ///
    /// # Errors
    /// [`Gone`] when the control thread has ended.
    pub(crate) fn wait(&self, patience: Duration) -> Result<Option<AskerEvent>, Gone> {
        match self.events.recv_timeout(patience) {
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Gone),
        }
    }
}

/// The control thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// The control thread's end of an asker's channel.
pub(crate) struct AskerSender {
    id: u64,
    events: Sender<AskerEvent>,
    waker: Option<Waker>,
}

impl AskerSender {
    /// Sends an event. `false` when the asker has gone.
    fn send(&self, event: AskerEvent) -> bool {
        if matches!(event, AskerEvent::Indication { .. }) && self.events.len() >= MOST_WAITING {
            return true;
        }
        let sent = self.events.send(event).is_ok();
        if let Some(waker) = &self.waker {
            waker.wake();
        }
        sent
    }
}

/// The asker is woken to find its channel closed.
impl Drop for AskerSender {
    fn drop(&mut self) {
        // Fields are dropped after this: another channel in its place closes this one before.
        self.events = unbounded().0;
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }
}

/// All askers of one control session.
#[derive(Default)]
pub(crate) struct Askers {
    senders: Vec<AskerSender>,
    /// Commands the function takes at a time, while the session is open.
    open: Option<usize>,
}

impl Askers {
    /// Adds an asker; it is told at once if the session is open.
    pub(crate) fn attach(&mut self, sender: AskerSender) {
        if let Some(outstanding) = self.open {
            sender.send(AskerEvent::Opened { outstanding });
        }
        self.senders.push(sender);
    }

    /// Tells that the session is open and takes `outstanding` commands at a time.
    pub(crate) fn opened(&mut self, outstanding: usize) {
        self.open = Some(outstanding);
        self.tell(|| AskerEvent::Opened { outstanding });
    }

    /// Tells that the session is open no more, if it was.
    pub(crate) fn down(&mut self, why: &str) {
        if self.open.take().is_some() {
            self.tell(|| AskerEvent::Down {
                why: why.to_owned(),
            });
        }
    }

    /// Tells that the modem knows the driver's own list of indications, and no other.
    pub(crate) fn subscribed(&mut self) {
        self.tell(|| AskerEvent::Subscribed);
    }

    /// Passes an indication on.
    pub(crate) fn indication(&mut self, id: CidId, info: &[u8]) {
        self.tell(|| AskerEvent::Indication {
            id,
            info: info.to_vec(),
        });
    }

    /// Passes an answer to the asker with this id.
    pub(crate) fn answer(
        &self,
        asker: u64,
        ticket: Ticket,
        result: Result<Response, CommandError>,
    ) {
        if let Some(sender) = self.senders.iter().find(|sender| sender.id == asker) {
            sender.send(AskerEvent::Answer { ticket, result });
        }
    }

    fn tell(&mut self, event: impl Fn() -> AskerEvent) {
        self.senders.retain(|sender| sender.send(event()));
    }
}
