//! Standard output, standard error and the journal behind bounded queues, each written by a thread of its own.
//!
//! A command that runs a modem must not wait for the reader of its lines: a terminal stopped by
//! Ctrl-S, a pipe that is not read and a full disk would hold up the data sessions otherwise. Lines
//! beyond what a queue takes, and lines that the system refuses (`EPIPE`, `ENOSPC`), are dropped
//! and counted. So are lines that cannot be written at once where there is no queue ([`never_wait`]):
//! those of a process before it may have threads, and those of the monitor, which has none.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use log::Level;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::journal::{self, About, Entry, Journal};

/// Largest number of lines that wait in one queue.
const MOST_LINES: usize = 1024;
/// Time for the lines still waiting at the end of the process.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// Queue in front of standard output, once [`start`] has put it there.
static OUT: OnceLock<Queue<Vec<u8>>> = OnceLock::new();
/// Queue in front of standard error, once [`start`] has put it there.
static ERR: OnceLock<Queue<Vec<u8>>> = OnceLock::new();
/// Queue in front of the journal, once [`start`] has put it there. It takes the lines of those of
/// the two other streams that lead to the journal.
static JOURNAL: OnceLock<Queue<Entry>> = OnceLock::new();

/// Whether a line without a queue is dropped where it cannot be written.
static NEVER_WAIT: AtomicBool = AtomicBool::new(false);
/// Number of bytes that a pipe takes without a wait when it is ready to be written to (`PIPE_BUF`,
/// pipe(7)).
const AT_ONCE: usize = 4096;

enum Message<T> {
    Line(T),
    /// Asks for a message on the channel when all lines before this one have been written or given
    /// up.
    Flushed(Sender<()>),
}

/// A queue of lines and the number of lines lost behind it.
struct Queue<T> {
    sender: Sender<Message<T>>,
    dropped: &'static AtomicU64,
}

/// Number of lines lost of either stream since [`take_dropped`] was last called.
static DROPPED: AtomicU64 = AtomicU64::new(0);

impl<T: Send + 'static> Queue<T> {
    fn start(
        name: &str,
        write: impl FnMut(&T) -> io::Result<()> + Send + 'static,
        dropped: &'static AtomicU64,
    ) -> io::Result<Self> {
        let (sender, receiver) = bounded(MOST_LINES);
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || write_all(&receiver, write, dropped))?;
        Ok(Self { sender, dropped })
    }

    fn push(&self, line: T) {
        if self.sender.try_send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until every queued line is written: at most `patience` for a place in the queue, and
    /// at most `patience` for the writer.
    fn flush(&self, patience: Duration) {
        let (done, flushed) = bounded(1);
        if self
            .sender
            .send_timeout(Message::Flushed(done), patience)
            .is_ok()
        {
            let _ = flushed.recv_timeout(patience);
        }
    }
}

fn write_all<T>(
    receiver: &Receiver<Message<T>>,
    mut write: impl FnMut(&T) -> io::Result<()>,
    dropped: &AtomicU64,
) {
    for message in receiver {
        match message {
            Message::Line(line) => {
                if write(&line).is_err() {
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            Message::Flushed(done) => {
                let _ = done.send(());
            }
        }
    }
}

/// Returns a writer of whole lines.
fn lines_to(mut sink: impl Write) -> impl FnMut(&Vec<u8>) -> io::Result<()> {
    move |line| sink.write_all(line).and_then(|()| sink.flush())
}

/// Guard of the queues that were started. Dropping it gives them one second to empty.
#[must_use]
pub struct Queues;

impl Drop for Queues {
    fn drop(&mut self) {
        for queue in [&OUT, &ERR].into_iter().filter_map(OnceLock::get) {
            queue.flush(LAST_PATIENCE);
        }
        if let Some(journal) = JOURNAL.get() {
            journal.flush(LAST_PATIENCE);
        }
    }
}

/// Puts queues in front of standard output and standard error for the rest of the process, and one in
/// front of the journal in place of those that lead there. Where a descriptor cannot be duplicated or
/// a thread cannot be started, the stream is written directly.
pub fn start() {
    if let Some(journal) = Journal::from_environment() {
        let write = move |entry: &Entry| journal.write(entry);
        if let Ok(started) = Queue::start("journal", write, &DROPPED) {
            let _ = JOURNAL.set(started);
        }
    }
    // The writers get duplicates of the descriptors: the standard library's streams hold a lock
    // while a write blocks.
    let (out, err) = (io::stdout(), io::stderr());
    let (out, err) = (out.as_fd(), err.as_fd());
    let to_journal = JOURNAL.get().is_some();
    for (queue, name, descriptor, wanted) in [
        (&OUT, "output", out, !(to_journal && same_file(out, err))),
        (&ERR, "errors", err, !to_journal),
    ] {
        if !wanted {
            continue;
        }
        let started = descriptor
            .try_clone_to_owned()
            .and_then(|descriptor| Queue::start(name, lines_to(File::from(descriptor)), &DROPPED));
        if let Ok(started) = started {
            let _ = queue.set(started);
        }
    }
}

/// Has lines for which there is no queue dropped, and counted, where they cannot be written at once. A
/// failure is waited for, as long as the queues are at the end of the process.
pub fn never_wait() {
    NEVER_WAIT.store(true, Ordering::Relaxed);
}

/// Writes a line to a stream that has no queue.
///
/// # Errors
/// Those of the system, unless such lines are dropped.
fn directly(mut stream: impl Write + AsFd, line: &[u8], patience: Duration) -> io::Result<()> {
    if !NEVER_WAIT.load(Ordering::Relaxed) {
        return stream.write_all(line).and_then(|()| stream.flush());
    }
    let time = Timespec::try_from(patience).ok();
    // More than the first piece of a longer line might be waited for.
    let line = &line[..line.len().min(AT_ONCE)];
    let ready = poll(&mut [PollFd::new(&stream, PollFlags::OUT)], time.as_ref());
    let written = match ready {
        Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
        _ => stream.write_all(line).and_then(|()| stream.flush()),
    };
    if written.is_err() {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Returns whether two descriptors lead to the same.
fn same_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let of = |descriptor| rustix::fs::fstat(descriptor).map(|about| (about.st_dev, about.st_ino));
    matches!((of(one), of(other)), (Ok(one), Ok(other)) if one == other)
}

/// Returns the number of lines dropped since the last call.
pub fn take_dropped() -> u64 {
    DROPPED.swap(0, Ordering::Relaxed)
}

/// Writes lines to standard output or, with weight and subject, to the journal; through the queue
/// where there is one.
///
/// # Errors
/// The system's error when there is no queue. A queue returns no errors.
pub fn out(text: &str, about: About) -> io::Result<()> {
    match (OUT.get(), JOURNAL.get()) {
        (Some(queue), _) => {
            queue.push(text.into());
            Ok(())
        }
        (None, Some(journal)) => enter(journal, text, about),
        (None, None) => directly(io::stdout().lock(), text.as_bytes(), Duration::ZERO),
    }
}

fn enter(journal: &Queue<Entry>, text: &str, about: About) -> io::Result<()> {
    let text = text.trim_end().to_owned();
    journal.push(Entry { text, about });
    Ok(())
}

/// Writer of lines of this level to standard error or the journal, through the queue where there is
/// one. Each call of `write` is one line.
pub struct Errors(pub Level);

impl Write for Errors {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(journal) = JOURNAL.get() {
            let text = String::from_utf8_lossy(bytes);
            enter(journal, &text, About::program(self.0))?;
            return Ok(bytes.len());
        }
        let patience = match self.0 {
            Level::Error => LAST_PATIENCE,
            _ => Duration::ZERO,
        };
        match ERR.get() {
            Some(queue) => queue.push(bytes.to_vec()),
            None if journal::is_reached() => {
                let text = journal::marked(&String::from_utf8_lossy(bytes), self.0);
                directly(io::stderr().lock(), text.as_bytes(), patience)?;
            }
            None => directly(io::stderr().lock(), bytes, patience)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_nobody_reads_is_dropped_and_counted() {
        static LOST: AtomicU64 = AtomicU64::new(0);
        let (mut reader, writer) = io::pipe().unwrap();
        let queue = Queue::start("test", lines_to(writer), &LOST).unwrap();
        let line = [b'x'; 4096];
        // A pipe holds 64 KiB, which are 16 lines, and the writer holds one more.
        let more = 100;
        for _ in 0..MOST_LINES + 17 + more {
            queue.push(line.to_vec());
        }
        assert!(LOST.load(Ordering::Relaxed) >= more as u64);
        queue.flush(Duration::from_millis(10));
        let (done, read) = bounded(1);
        std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            done.send(all.len()).unwrap();
        });
        queue.flush(Duration::from_secs(30));
        drop(queue);
        let read = read.recv_timeout(Duration::from_secs(30)).unwrap();
        let lost = usize::try_from(LOST.load(Ordering::Relaxed)).unwrap();
        assert_eq!(read, (MOST_LINES + 17 + more - lost) * line.len());
    }

    #[test]
    fn a_reader_that_left_ends_the_output_alone() {
        static LOST: AtomicU64 = AtomicU64::new(0);
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let queue = Queue::start("test", lines_to(writer), &LOST).unwrap();
        queue.push(b"one\n".to_vec());
        queue.push(b"two\n".to_vec());
        queue.flush(Duration::from_secs(30));
        assert_eq!(LOST.load(Ordering::Relaxed), 2);
    }
}
