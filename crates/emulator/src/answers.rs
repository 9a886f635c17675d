//! What goes back to a host elsewhere: answers that wait for its socket, and the buffers of its
//! transfers, which come from a pool and return to it, so that nothing is allocated in steady state.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::OwnedFd;

use rustix::event::PollFlags;
use rustix::io::Errno;
use uwwan_usb::buffer::Buffer;

/// Answers queued before the host is not read any more.
pub(crate) const MAX_ANSWERS: usize = 512;
/// Bytes of memory for transfers in the hands of the device before the host is cut off.
pub(crate) const MAX_HELD: usize = 64 << 20;
/// Buffers kept for reuse.
const POOL: usize = 128;
/// Answers written at once.
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

/// Answers, each a head and perhaps data.
pub(crate) struct Answers<H> {
    queue: VecDeque<Answer<H>>,
    /// Bytes of the first answer already written.
    written: usize,
    pool: Vec<Buffer>,
    held: usize,
}

impl<H: AsRef<[u8]>> Answers<H> {
    pub(crate) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            written: 0,
            pool: Vec::new(),
            held: 0,
        }
    }

    /// Whether so many wait that the host is not to be read.
    pub(crate) fn are_many(&self) -> bool {
        self.queue.len() >= MAX_ANSWERS
    }

    /// What to poll the host's socket for.
    pub(crate) fn interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, !self.are_many());
        flags.set(PollFlags::OUT, !self.queue.is_empty());
        flags
    }

    /// Queues an answer.
    pub(crate) fn push(&mut self, head: H, data: Option<Buffer>) {
        self.queue.push_back(Answer { head, data });
    }

    /// An empty buffer of at least `length` bytes, from the pool if one fits.
    ///
    /// # Errors
    /// When the host has too much pending; `protocol` names what it speaks.
    pub(crate) fn buffer(&mut self, length: usize, protocol: &str) -> Result<Buffer, String> {
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
            return Err(format!(
                "more than {MAX_HELD} bytes of {protocol} transfers pending"
            ));
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

    /// Writes answers, as many as the socket takes. `false` when the host is gone.
    ///
    /// Makes the system call `writev`.
    pub(crate) fn flush(&mut self, socket: &OwnedFd) -> bool {
        while !self.queue.is_empty() {
            let result = {
                let mut slices: [IoSlice<'_>; 2 * AT_ONCE] =
                    std::array::from_fn(|_| IoSlice::new(&[]));
                let mut count = 0;
                let mut skip = self.written;
                for part in self.queue.iter().take(AT_ONCE).flat_map(Answer::parts) {
                    let passed = skip.min(part.len());
                    skip -= passed;
                    if passed < part.len() {
                        slices[count] = IoSlice::new(&part[passed..]);
                        count += 1;
                    }
                }
                rustix::io::writev(socket, &slices[..count])
            };
            match result {
                Ok(length) => self.written += length,
                Err(Errno::AGAIN | Errno::INTR) => return true,
                Err(_) => return false,
            }
            while let Some(first) = self.queue.front() {
                let length = first.length();
                if self.written < length {
                    break;
                }
                self.written -= length;
                let sent = self.queue.pop_front();
                if let Some(buffer) = sent.and_then(|answer| answer.data) {
                    self.recycle(buffer);
                }
            }
        }
        true
    }

    /// Answers that wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Bytes of buffers in use.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held
    }
}
