//! The socket of a remote host: the messages that it sends, the answers that wait for it, and the
//! buffers of its transfers. The buffers come from a pool and return to it, so that nothing is
//! allocated in steady state.
//!
//! Everything that a host can fill is bounded. While a host does not read its answers, its messages
//! are not read either, and a host with too much pending is cut off.
//!
//! The socket makes the system calls `read` and `writev`, which do not block.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use uwwan_usb::buffer::Buffer;

use crate::report::{Recorder, Rule};
use crate::upstream::{HostGone, MAX_REQUESTS, Request};

/// Number of queued answers from which the host's messages are not read any more.
pub(crate) const MAX_ANSWERS: usize = 512;
/// Largest number of bytes of memory for transfers in the hands of the device; beyond, the host is
/// cut off.
pub(crate) const MAX_HELD: usize = 64 << 20;
/// Number of bytes read at once.
const CHUNK: usize = 256 << 10;
/// Largest number of buffers kept to be used again.
const POOL: usize = 128;
/// Largest number of answers written at once.
const AT_ONCE: usize = 16;

struct Answer<H> {
    head: H,
    data: Option<Buffer>,
}

impl<H: AsRef<[u8]>> Answer<H> {
    fn parts(&self) -> [&[u8]; 2] {
        let data = self.data.as_ref().map_or(&[][..], Buffer::filled);
        [self.head.as_ref(), data]
    }

    fn length(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }
}

/// A socket with the state of its input and output. `H` is the head of an answer, before its data.
pub(crate) struct HostSocket<H> {
    socket: OwnedFd,
    input: Vec<u8>,
    /// Number of bytes of `input` that hold data.
    filled: usize,
    /// Number of bytes of `input` that were handled.
    read: usize,
    /// Whether messages may be waiting in `input`.
    unread: bool,
    answers: VecDeque<Answer<H>>,
    /// Number of bytes of the first answer that were written.
    written: usize,
    pool: Vec<Buffer>,
    held: usize,
}

/// Outcome of handling the input once. Lengths are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A message of that length was complete and has been handled.
    Handled(usize),
    /// The same as `Handled`, and the requests so far must be executed before the next message is
    /// read.
    Pause(usize),
    /// No message is complete.
    Incomplete,
}

/// A protocol that a remote host speaks.
pub(crate) trait Protocol {
    /// Head of an answer, before its data.
    type Head: AsRef<[u8]>;

    /// Returns the host's socket.
    fn socket(&mut self) -> &mut HostSocket<Self::Head>;

    /// Handles the first message in `input`, if it is complete, and appends its requests to
    /// `requests`.
    ///
    /// # Errors
    /// Returns a description of a message that is invalid. Nothing after it can be understood.
    /// When the message makes no sense, in words. Nothing after it can be understood.
    fn next(&mut self, input: &[u8], requests: &mut Vec<Request>) -> Result<Step, String>;
}

/// Reads bytes from the host and handles its messages, until none is left, enough requests were
/// made, or too many answers wait.
///
/// # Errors
/// Fails when the host is gone, or sends bytes that cannot be understood; the latter is recorded.
/// When the host is gone, or sends what cannot be understood; the latter is recorded.
pub(crate) fn receive<P: Protocol>(
    host: &mut P,
    recorder: &Recorder,
    requests: &mut Vec<Request>,
) -> Result<(), HostGone> {
    // A read that leaves room has emptied the socket, so a second one is not needed to learn that.
    let mut drained = false;
    loop {
        host.socket().unread = true;
        loop {
            if requests.len() >= MAX_REQUESTS || host.socket().is_full() {
                return Ok(());
            }
            // The input is moved out while a message in it is handled.
            let input = std::mem::take(&mut host.socket().input);
            let socket = host.socket();
            let (read, filled) = (socket.read, socket.filled);
            let step = host.next(&input[read..filled], requests);
            let socket = host.socket();
            socket.input = input;
            match step {
                Ok(Step::Handled(length)) => socket.read += length,
                Ok(Step::Pause(length)) => {
                    socket.read += length;
                    return Ok(());
                }
                Ok(Step::Incomplete) => break,
                Err(why) => {
                    recorder.violation(Rule::Usb, || why);
                    return Err(HostGone);
                }
            }
        }
        let socket = host.socket();
        socket.unread = false;
        if drained {
            return Ok(());
        }
        match socket.fill()? {
            0 => return Ok(()),
            _ => drained = socket.filled < socket.input.len(),
        }
    }
}

impl<H: AsRef<[u8]>> HostSocket<H> {
    /// Takes over a connected socket.
    ///
    /// # Errors
    /// Fails when the socket cannot be made non-blocking.
    pub(crate) fn new(socket: OwnedFd) -> std::io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket,
            input: vec![0; CHUNK],
            filled: 0,
            read: 0,
            unread: false,
            answers: VecDeque::new(),
            written: 0,
            pool: Vec::new(),
            held: 0,
        })
    }

    /// Returns the socket, and the events for which it must be polled.
    pub(crate) fn descriptor(&self) -> (BorrowedFd<'_>, PollFlags) {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, !self.is_full());
        flags.set(PollFlags::OUT, !self.answers.is_empty());
        (self.socket.as_fd(), flags)
    }

    /// Returns whether so many answers wait that the host's messages are not read.
    fn is_full(&self) -> bool {
        self.answers.len() >= MAX_ANSWERS
    }

    /// Returns whether messages may wait that can be handled without reading the socket.
    pub(crate) fn has_more(&self) -> bool {
        self.unread && !self.is_full()
    }

    /// Reads the socket once, into room made for it, and returns the number of bytes read. It is 0
    /// when nothing has arrived.
    fn fill(&mut self) -> Result<usize, HostGone> {
        // The rest of the last message moves to the front.
        self.input.copy_within(self.read..self.filled, 0);
        self.filled -= self.read;
        self.read = 0;
        if self.filled == self.input.len() {
            // The length of the longest message of a protocol bounds this.
            let longer = self.input.len() * 2;
            self.input.resize(longer, 0);
        }
        match rustix::io::read(&self.socket, &mut self.input[self.filled..]) {
            Ok(0) => Err(HostGone),
            Ok(length) => {
                self.filled += length;
                Ok(length)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(_) => Err(HostGone),
        }
    }

    /// Queues an answer.
    pub(crate) fn push(&mut self, head: H, data: Option<Buffer>) {
        self.answers.push_back(Answer { head, data });
    }

    /// Returns an empty buffer of at least `length` bytes, from the pool if one fits.
    ///
    /// Fails with a description when the host has too much pending.
    pub(crate) fn buffer(&mut self, length: usize) -> Result<Buffer, String> {
        let found = self.pool.iter().position(|buffer| {
            buffer.capacity() >= length && buffer.capacity() <= length.max(512) * 4
        });
        let mut buffer = match found {
            Some(at) => self.pool.swap_remove(at),
            None => Buffer::heap(length.next_power_of_two().max(512)),
        };
        buffer.set_len(0);
        self.held += buffer.capacity();
        if self.held > MAX_HELD {
            return Err(format!("more than {MAX_HELD} bytes of transfers pending"));
        }
        Ok(buffer)
    }

    /// Takes a buffer back.
    pub(crate) fn recycle(&mut self, buffer: Buffer) {
        self.held = self.held.saturating_sub(buffer.capacity());
        if self.pool.len() < POOL {
            self.pool.push(buffer);
        }
    }

    /// Writes answers, as many as the socket takes.
    ///
    /// # Errors
    /// Fails when the host is gone.
    pub(crate) fn flush(&mut self) -> Result<(), HostGone> {
        while !self.answers.is_empty() {
            let result = {
                let mut slices: [IoSlice<'_>; 2 * AT_ONCE] =
                    std::array::from_fn(|_| IoSlice::new(&[]));
                let mut count = 0;
                let mut skip = self.written;
                for part in self.answers.iter().take(AT_ONCE).flat_map(Answer::parts) {
                    let passed = skip.min(part.len());
                    skip -= passed;
                    if passed < part.len() {
                        slices[count] = IoSlice::new(&part[passed..]);
                        count += 1;
                    }
                }
                rustix::io::writev(&self.socket, &slices[..count])
            };
            match result {
                Ok(length) => self.written += length,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(_) => return Err(HostGone),
            }
            while let Some(first) = self.answers.front() {
                let length = first.length();
                if self.written < length {
                    break;
                }
                self.written -= length;
                let sent = self.answers.pop_front();
                if let Some(buffer) = sent.and_then(|answer| answer.data) {
                    self.recycle(buffer);
                }
            }
        }
        Ok(())
    }

    /// Returns the number of answers that wait.
    #[cfg(test)]
    pub(crate) fn answers(&self) -> usize {
        self.answers.len()
    }

    /// Returns the number of bytes of the buffers in use.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held
    }
}
