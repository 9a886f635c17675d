//! A client of the control socket: its phase, its input and its output.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};

use super::messages::Reply;
use crate::asking::Answer;
use crate::capture::Capture;
use crate::failure::{Failure, FailureKind};
use crate::join::{JoinNews, Joined};
use crate::permissions::Caller;
use crate::raw;
use crate::share::sending::Sending;
use crate::share::stream;

/// Number of bytes of events that wait for a client before further events stay in their channel.
const ENOUGH: usize = 256 << 10;
/// Pause between two statuses for a watcher when the status has changed.
const WATCH_SOON: Duration = Duration::from_millis(100);
/// Pause between two statuses for a watcher when the status has not changed.
const WATCH_LATE: Duration = Duration::from_secs(1);
/// Time after which a client that does not read its reply is dropped.
pub(super) const REPLY_TIME: Duration = Duration::from_secs(2);
/// Time within which a client has to send a request line, from its connection or its last reply.
pub(super) const REQUEST_TIME: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client may send requests.
    Asking,
    /// The client is sent each change. The last status was sent at `sent`, after `seen` changes.
    Watching { sent: Instant, seen: u64 },
    /// The client gets the bytes of a capture.
    Capturing,
    /// The client sends the bytes that its order announced.
    Sending,
    /// The client is told of the transfers that follow the bytes it has sent.
    Hearing,
    /// The client waits for the network's answer.
    Answering,
    /// The client has a data session and is told of its changes.
    Joined,
    /// The client waits for the end.
    Stopping,
    /// The client gets the output that waits for it and nothing more.
    Done,
}

pub(super) struct Client {
    pub(super) caller: Caller,
    pub(super) phase: Phase,
    pub(super) input: Vec<u8>,
    pub(super) input_ended: bool,
    pub(super) output: Vec<u8>,
    /// Number of bytes of the output that have been written.
    pub(super) written: usize,
    /// Time since which the client has been expected to send a request, or to read its reply.
    pub(super) since: Instant,
    pub(super) capture: Option<Running>,
    /// Order whose bytes are still to come.
    pub(super) sending: Option<Sending>,
    pub(super) listener: Option<raw::Listener>,
    /// The channel on which the network's answer comes.
    pub(super) answer: Option<Receiver<Result<Answer, Failure>>>,
    /// Descriptors that came with the client's request.
    pub(super) descriptors: Vec<OwnedFd>,
    pub(super) joined: Option<Joined>,
}

/// A capture for a client. The reading end is dropped first, so that the writing thread ends.
pub(super) struct Running {
    pub(super) bytes: stream::Reader,
    pub(super) capture: Capture,
}

impl Drop for Running {
    fn drop(&mut self) {
        // A capture that has been told to end is not waited for.
        self.capture.end();
    }
}

impl Client {
    pub(super) fn output(&self) -> &[u8] {
        &self.output[self.written..]
    }

    pub(super) fn send(&mut self, now: Instant, reply: &Reply) {
        if self.output().is_empty() {
            self.output.clear();
            self.written = 0;
            self.since = now;
        }
        if let Ok(line) = serde_json::to_vec(reply) {
            self.output.extend(line);
            self.output.push(b'\n');
        }
    }

    /// Puts events of sent bytes into the output of a client that has read its earlier output.
    pub(super) fn pass_on_heard(&mut self, now: Instant, reply: &Reply) {
        while self.output().len() < ENOUGH
            && let Some(listener) = &mut self.listener
        {
            match listener.try_next() {
                Ok(None) => break,
                Ok(heard) => self.send(
                    now,
                    &Reply {
                        heard,
                        ..reply.clone()
                    },
                ),
                Err(_) => {
                    self.listener = None;
                    self.phase = Phase::Done;
                }
            }
        }
    }

    /// Puts the network's answer into the output, once it has come. The client may ask again after that.
    pub(super) fn pass_on_answer(&mut self, now: Instant, reply: &Reply) {
        let Some(answer) = &self.answer else {
            return;
        };
        let answer = match answer.try_recv() {
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => Err(Failure::new(
                FailureKind::Host,
                "no answer to the question came",
            )
            .next("ask again")),
            Ok(answer) => answer,
        };
        self.answer = None;
        let reply = match answer {
            Ok(answer) => Reply {
                answer: Some(answer),
                ..reply.clone()
            },
            Err(failure) => Reply {
                ok: false,
                error: Some(failure.why.join("; ")),
                failure: Some(failure),
                ..reply.clone()
            },
        };
        self.send(now, &reply);
        self.since = now;
        self.phase = Phase::Asking;
    }

    /// Puts the changes of its data session into the output of a client that has read its earlier
    /// output.
    pub(super) fn pass_on_joined(&mut self, now: Instant, reply: &Reply) {
        while self.output().len() < ENOUGH
            && let Some(joined) = &self.joined
        {
            let news = match joined.try_next() {
                Ok(None) => break,
                Ok(Some(news)) => news,
                Err(failure) => JoinNews::Ended(failure),
            };
            let over = matches!(news, JoinNews::Ended(_));
            self.send(
                now,
                &Reply {
                    joined: Some(news),
                    ..reply.clone()
                },
            );
            if over {
                self.joined = None;
                self.phase = Phase::Done;
            }
        }
    }

    /// Returns the time at which something is due for the client: the end of its time, or the next
    /// status.
    pub(super) fn due(&self, changes: u64) -> Option<Instant> {
        if !self.output().is_empty() && self.phase != Phase::Capturing {
            return Some(self.since + REPLY_TIME);
        }
        match self.phase {
            Phase::Asking | Phase::Sending => Some(self.since + REQUEST_TIME),
            Phase::Watching { sent, seen } if seen == changes => Some(sent + WATCH_LATE),
            Phase::Watching { sent, .. } => Some(sent + WATCH_SOON),
            Phase::Capturing
            | Phase::Hearing
            | Phase::Joined
            | Phase::Answering
            | Phase::Stopping
            | Phase::Done => None,
        }
    }
}
