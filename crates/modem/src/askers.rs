//! Askers: the parts of the program that send MBIM commands on the control session beside the
//! ladder; and the inbox of the control thread, by which they reach it.
//!
//! An [`Asker`] sends [`Request`]s to the control thread. Answers, indications and the opening and
//! end of the control session come back as [`AskerEvent`]s on a channel of its own; a [`Waker`]
//! wakes an asker that sleeps in a poll loop. Every request gets exactly one answer, or its command
//! back if it has to be judged once more. Indications are dropped when too many wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::session::{Command, CommandError, Response};

use crate::datapath::Report;
use crate::failure::Failure;
use crate::join::Joining;
use crate::options::Options;
use crate::poll::Waker;
use crate::raw::Raw;

/// Number of events that may wait for an asker before indications are dropped.
const MOST_WAITING: usize = 1024;

/// Id of a request among those of one asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Request of an asker to the control session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Sends a command. One answer with the same ticket follows.
    Send {
        /// Id of the request.
        ticket: Ticket,
        /// Command to send.
        command: Command,
        /// Time the modem has for the answer, from the sending of the command.
        timeout: Duration,
        /// Age of the basis on which the command was judged, if it was (`Basis::age`). The control
        /// thread does not send a command whose basis has changed since: [`AskerEvent::Overtaken`]
        /// follows in place of the answer.
        judged: Option<u64>,
    },
    /// Cancels a command, towards the modem too. It is answered with [`CommandError::Cancelled`]
    /// unless it has been answered before.
    Withdraw(Ticket),
}

/// Event for an asker.
#[derive(Debug)]
pub(crate) enum AskerEvent {
    /// The control session is open.
    Opened {
        /// Number of commands that the function takes at a time.
        outstanding: usize,
    },
    /// The control session is no longer open. Every request has been answered before.
    Down {
        /// Reason in words.
        why: String,
    },
    /// The ladder has sent the modem the list of indications that the driver wants, which replaced
    /// any other.
    Subscribed,
    /// Answer to a request.
    Answer {
        /// Id of the request.
        ticket: Ticket,
        /// Answer, or the reason why there is none.
        result: Result<Response, CommandError>,
    },
    /// A command was not sent, because the basis on which it was judged has changed.
    Overtaken {
        /// Id of the request.
        ticket: Ticket,
        /// The command, to be judged once more.
        command: Command,
    },
    /// Indication of the modem.
    Indication {
        /// Service and CID.
        id: CidId,
        /// Information buffer, as MBIM encodes it (little-endian).
        info: Vec<u8>,
    },
}

/// Message in the inbox of the control thread.
pub(crate) enum Message {
    /// Report of the data thread.
    Report(Report),
    /// The configuration of the host may have been changed by others.
    HostChanged,
    /// Fragment of a message of the function that is dialled by AT commands.
    Dialled(Vec<u8>),
    /// Order of the program to stop.
    Stop,
    /// Order of the program to call this function once on the control thread.
    Call(Box<dyn FnOnce() + Send>),
    /// Order of the program to change the layout of NTBs to the one that these options choose, and to
    /// report whether that is done.
    Choose(Box<Options>, Sender<Result<(), Failure>>),
    /// Order to add a data session for a program.
    Join(Box<Joining>),
    /// Order to end the data session of the program whose handle has this number.
    Leave(u64),
    /// Order of the program to add an asker.
    Attach(AskerSender),
    /// Bytes to send as they are.
    Raw(Raw),
    /// Request of an asker.
    Ask {
        /// Id of the asker.
        asker: u64,
        /// Request to carry out.
        request: Request,
    },
}

/// Asker's end of its channel to the control thread.
pub(crate) struct Asker {
    id: u64,
    outbox: Sender<Message>,
    events: Receiver<AskerEvent>,
}

impl Asker {
    /// Returns an asker that is attached to the control thread with this inbox. `waker` is woken
    /// whenever an event waits.
    pub(crate) fn attached(outbox: Sender<Message>, waker: Option<Waker>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (sender, events) = unbounded();
        let sender = AskerSender {
            id,
            events: sender,
            waker,
        };
        // When the control thread has ended, the dropped sender closes the asker's channel.
        let _ = outbox.send(Message::Attach(sender));
        Self { id, outbox, events }
    }

    /// Sends a request. Returns `false` when the control thread has ended.
    pub(crate) fn request(&self, request: Request) -> bool {
        let asker = self.id;
        self.outbox.send(Message::Ask { asker, request }).is_ok()
    }

    /// Returns the next event, if one waits.
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

    /// Returns the next event, if one comes within `patience`.
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

/// Error that the control thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// The control thread's end of an asker's channel.
pub(crate) struct AskerSender {
    id: u64,
    events: Sender<AskerEvent>,
    waker: Option<Waker>,
}

impl AskerSender {
    /// Sends an event. Returns `false` when the asker has gone.
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

/// Closes the channel and wakes the asker, which then finds it closed.
impl Drop for AskerSender {
    fn drop(&mut self) {
        // Fields are dropped after this function, so the sender is replaced to close the channel
        // before the asker is woken.
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
    /// Number of commands that the function takes at a time, while the control session is open.
    open: Option<usize>,
}

impl Askers {
    /// Adds an asker, and sends it an event at once if the control session is open.
    pub(crate) fn attach(&mut self, sender: AskerSender) {
        if let Some(outstanding) = self.open {
            sender.send(AskerEvent::Opened { outstanding });
        }
        self.senders.push(sender);
    }

    /// Tells all askers that the control session is open and takes `outstanding` commands at a
    /// time.
    pub(crate) fn opened(&mut self, outstanding: usize) {
        self.open = Some(outstanding);
        self.tell(|| AskerEvent::Opened { outstanding });
    }

    /// Tells all askers that the control session is no longer open, if it was.
    pub(crate) fn down(&mut self, why: &str) {
        if self.open.take().is_some() {
            self.tell(|| AskerEvent::Down {
                why: why.to_owned(),
            });
        }
    }

    /// Tells all askers that the modem knows the driver's own list of indications and no other.
    pub(crate) fn subscribed(&mut self) {
        self.tell(|| AskerEvent::Subscribed);
    }

    /// Passes an indication to all askers.
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
        self.send(asker, AskerEvent::Answer { ticket, result });
    }

    /// Gives a command back to the asker with this id, which has to judge it once more.
    pub(crate) fn overtaken(&self, asker: u64, ticket: Ticket, command: Command) {
        self.send(asker, AskerEvent::Overtaken { ticket, command });
    }

    fn send(&self, asker: u64, event: AskerEvent) {
        if let Some(sender) = self.senders.iter().find(|sender| sender.id == asker) {
            sender.send(event);
        }
    }

    fn tell(&mut self, event: impl Fn() -> AskerEvent) {
        self.senders.retain(|sender| sender.send(event()));
    }
}
