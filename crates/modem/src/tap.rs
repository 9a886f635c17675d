//! A tap on the control session: a second asker beside the ladder.
//!
//! Orders go into the control thread's inbox; answers, indications and the session's comings and
//! goings come back on a channel of the tap's own, with a descriptor that becomes readable when
//! something waits there. Answers are as many as the commands that were sent; indications are
//! dropped when nobody fetches them.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::session::{Command, CommandError, Response};

use crate::control::Message;

/// Events that may wait before indications are dropped.
const MOST_WAITING: usize = 1024;

/// What a tap is told.
#[derive(Debug)]
pub(crate) enum TapEvent {
    /// The session is open.
    Opened {
        /// Commands the function takes at a time.
        outstanding: usize,
    },
    /// The session is open no more. Commands have been answered before.
    Down {
        /// Why.
        why: String,
    },
    /// The ladder has told the modem which indications it wants, and no others.
    Subscribed,
    /// The answer to an order.
    Answer {
        /// The asker's name for it.
        ticket: u64,
        /// The answer, or why there is none.
        result: Result<Response, CommandError>,
    },
    /// An indication.
    Indication {
        /// Service and number.
        id: CidId,
        /// Information buffer.
        info: Vec<u8>,
    },
}

/// A command by way of a tap.
#[derive(Debug)]
pub(crate) struct Order {
    /// Whose.
    pub(crate) tap: u64,
    /// The asker's name for it.
    pub(crate) ticket: u64,
    pub(crate) command: Command,
    /// Counts from sending.
    pub(crate) timeout: Duration,
}

/// The asker's end.
pub(crate) struct Tap {
    id: u64,
    outbox: Sender<Message>,
    events: Receiver<TapEvent>,
    waker: UnixStream,
    signalled: Arc<AtomicBool>,
}

impl Tap {
    /// A tap and the end that belongs to the control thread.
    pub(crate) fn new(outbox: Sender<Message>) -> std::io::Result<(Self, TapEnd)> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (waker, wake) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        let (sender, events) = unbounded();
        let signalled = Arc::new(AtomicBool::new(false));
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let end = TapEnd {
            id,
            events: sender,
            wake,
            signalled: Arc::clone(&signalled),
        };
        let tap = Self {
            id,
            outbox,
            events,
            waker,
            signalled,
        };
        Ok((tap, end))
    }

    /// Sends a command; [`TapEvent::Answer`] follows. `false` when the modem's thread has ended.
    pub(crate) fn order(&self, ticket: u64, command: Command, timeout: Duration) -> bool {
        let tap = self.id;
        let order = Order {
            tap,
            ticket,
            command,
            timeout,
        };
        self.outbox.send(Message::Order(order)).is_ok()
    }

    /// Cancels a command, towards the modem too; it is answered with
    /// [`CommandError::Cancelled`] unless it has been answered before.
    pub(crate) fn withdraw(&self, ticket: u64) {
        let tap = self.id;
        let _ = self.outbox.send(Message::Withdraw { tap, ticket });
    }

    /// The next event if there is one.
    ///
    /// # Errors
    /// The modem's thread has ended.
    pub(crate) fn next(&self) -> Result<Option<TapEvent>, Gone> {
        match self.events.try_recv() {
            Ok(event) => Ok(Some(event)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Gone),
        }
    }

    /// The next event, waited for.
    ///
    /// # Errors
    /// The modem's thread has ended.
    pub(crate) fn wait(&self, patience: Duration) -> Result<Option<TapEvent>, Gone> {
        match self.events.recv_timeout(patience) {
            Ok(event) => Ok(Some(event)),
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => Ok(None),
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => Err(Gone),
        }
    }

    /// Call it when [`AsRawFd::as_raw_fd`] was readable, before fetching what waits.
    pub(crate) fn woken(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.waker).read(&mut bytes), Ok(count) if count == bytes.len()) {}
        self.signalled.store(false, Ordering::SeqCst);
    }
}

/// The control thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// The descriptor that is readable when events wait, or when the modem's thread has ended.
impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> RawFd {
        self.waker.as_raw_fd()
    }
}

/// The control thread's end of a tap.
pub(crate) struct TapEnd {
    id: u64,
    events: Sender<TapEvent>,
    wake: UnixStream,
    signalled: Arc<AtomicBool>,
}

impl TapEnd {
    /// `false` when the asker has gone.
    fn send(&self, event: TapEvent) -> bool {
        if matches!(event, TapEvent::Indication { .. }) && self.events.len() >= MOST_WAITING {
            return true;
        }
        if self.events.send(event).is_err() {
            return false;
        }
        if !self.signalled.swap(true, Ordering::SeqCst) {
            let _ = (&self.wake).write(&[0]);
        }
        true
    }
}

/// All taps on one control session.
#[derive(Default)]
pub(crate) struct Taps {
    ends: Vec<TapEnd>,
    /// What the session takes at a time, while it is open.
    open: Option<usize>,
}

impl Taps {
    pub(crate) fn attach(&mut self, end: TapEnd) {
        if let Some(outstanding) = self.open {
            end.send(TapEvent::Opened { outstanding });
        }
        self.ends.push(end);
    }

    pub(crate) fn opened(&mut self, outstanding: usize) {
        self.open = Some(outstanding);
        self.tell(|| TapEvent::Opened { outstanding });
    }

    pub(crate) fn down(&mut self, why: &str) {
        if self.open.take().is_some() {
            self.tell(|| TapEvent::Down {
                why: why.to_owned(),
            });
        }
    }

    pub(crate) fn subscribed(&mut self) {
        self.tell(|| TapEvent::Subscribed);
    }

    pub(crate) fn indication(&mut self, id: CidId, info: &[u8]) {
        self.tell(|| TapEvent::Indication {
            id,
            info: info.to_vec(),
        });
    }

    pub(crate) fn answer(&self, tap: u64, ticket: u64, result: Result<Response, CommandError>) {
        if let Some(end) = self.ends.iter().find(|end| end.id == tap) {
            end.send(TapEvent::Answer { ticket, result });
        }
    }

    fn tell(&mut self, event: impl Fn() -> TapEvent) {
        self.ends.retain(|end| end.send(event()));
    }
}
