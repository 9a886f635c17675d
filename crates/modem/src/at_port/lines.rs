//! Server side of the JSON lines in which `uwwan at` uses the AT port of a running `uwwan up`.
//!
//! The state machine does no I/O: bytes go in and come out. A client sends [`Request`]s and gets a
//! [`Message`] for each, in order. A client that listens gets unsolicited result codes between
//! them.

use std::collections::VecDeque;
use std::time::Duration;

use uwwan_at::dialogue::Command;

use super::protocol::{LONGEST_REQUEST, Message, Request, final_text};
use super::{Answer, Line, command};
use crate::failure::Failure;

/// Number of bytes that may wait for a client before it is dropped.
const MOST_OUTPUT: usize = 2 << 20;
/// Number of bytes that may wait for a client before unsolicited result codes are dropped.
const MOST_OUTPUT_UNASKED: usize = 256 * 1024;
/// Number of bytes that may wait for a client before its next request is put off.
const MUCH_OUTPUT: usize = 64 * 1024;

/// State of one client.
#[derive(Debug, Default)]
pub(crate) struct JsonLines {
    input: Vec<u8>,
    output: VecDeque<u8>,
    listens: bool,
    has_asked: bool,
    /// Whether the client broke the protocol or does not read: nothing more is taken from it.
    done: bool,
}

impl JsonLines {
    /// Returns the number of bytes that the server takes from the client at present.
    pub(crate) fn room(&self) -> usize {
        if self.done {
            return 0;
        }
        (LONGEST_REQUEST + 1).saturating_sub(self.input.len())
    }

    /// Takes bytes of the client, at most [`JsonLines::room`].
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Returns the next command for the port, and answers requests that need none. The command's
    /// answer has to be given to [`JsonLines::answered`] before there is another. `port` returns a
    /// description of the interface that answers. The second value says whether the client forces
    /// the command.
    pub(crate) fn next(&mut self, port: impl Fn() -> Option<String>) -> Option<(Command, bool)> {
        // A loop, not recursion: many requests may come at once.
        while !self.done && self.output.len() <= MUCH_OUTPUT {
            let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else {
                if self.input.len() > LONGEST_REQUEST {
                    self.refuse(super::system("a request is too long"));
                }
                return None;
            };
            // A request may hold a PIN, so nothing of it stays here.
            let rest = self.input.split_off(end + 1);
            let line = std::mem::replace(&mut self.input, rest);
            let request = serde_json::from_slice(&line[..end]);
            match request {
                Ok(Request::Listen {}) => {
                    self.listens = true;
                    self.send(&Message::State { port: port() });
                }
                Ok(Request::State {}) => self.send(&Message::State { port: port() }),
                Ok(Request::Command {
                    line,
                    text,
                    timeout_ms,
                    force,
                }) => match command(
                    &line,
                    text.as_deref(),
                    timeout_ms.map(Duration::from_millis),
                ) {
                    Ok(command) => {
                        self.has_asked = true;
                        return Some((command, force));
                    }
                    Err(error) => self.send(&Message::Error(error)),
                },
                Err(error) => self.refuse(super::system(format_args!("not a request: {error}"))),
            }
            self.has_asked = true;
        }
        None
    }

    /// Sends the answer to the command, or the reason why there is none.
    pub(crate) fn answered(&mut self, result: &Result<Answer, Failure>) {
        self.send(&match result {
            Ok(answer) => Message::Answer {
                command: answer.command.clone(),
                lines: answer.lines.clone(),
                truncated: answer.truncated,
                result: final_text(&answer.result),
            },
            Err(error) => Message::Error(error.clone()),
        });
    }

    /// Sends an unsolicited result code or an NMEA sentence, if the client listens and too much
    /// does not wait already.
    pub(crate) fn tell(&mut self, line: &Line) {
        if self.listens && self.output.len() <= MOST_OUTPUT_UNASKED {
            self.send(&match line {
                Line::Unsolicited(text) => Message::Unsolicited(text.clone()),
                Line::Nmea(text) => Message::Nmea(text.clone()),
            });
        }
    }

    /// Sends the client a failure; nothing more is taken from it.
    pub(crate) fn refuse(&mut self, failure: Failure) {
        self.send(&Message::Error(failure));
        self.done = true;
    }

    /// Returns whether nothing more is taken from the client.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Returns whether the client has sent a request.
    pub(crate) fn has_asked(&self) -> bool {
        self.has_asked
    }

    /// Returns bytes for the client, as many as one write takes at best.
    pub(crate) fn output(&self) -> &[u8] {
        self.output.as_slices().0
    }

    /// Removes `count` bytes, which have been written, from the output.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.output.drain(..count.min(self.output.len()));
        if self.output.is_empty() {
            // Answers repeat their commands, which may hold a PIN, so the buffer is freed when it
            // is empty.
            self.output = VecDeque::new();
        }
    }

    fn send(&mut self, message: &Message) {
        if self.done {
            return;
        }
        if self.output.len() > MOST_OUTPUT {
            self.done = true;
            self.output.clear();
            return;
        }
        if let Ok(line) = serde_json::to_vec(message) {
            self.output.extend(line);
            self.output.push_back(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &mut JsonLines) -> String {
        let mut said = Vec::new();
        while !lines.output().is_empty() {
            said.extend_from_slice(lines.output());
            lines.wrote(lines.output().len());
        }
        String::from_utf8(said).unwrap()
    }

    /// Gives the lines as many bytes as they take, again and again until all are taken.
    fn push(lines: &mut JsonLines, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = lines.room().min(bytes.len());
            assert!(room > 0, "{} bytes are not taken", bytes.len());
            lines.receive(&bytes[..room]);
            bytes = &bytes[room..];
            assert_eq!(lines.next(|| None), None);
        }
    }

    #[test]
    fn many_requests_at_once_are_answered_one_by_one() {
        let mut lines = JsonLines::default();
        push(&mut lines, &b"{\"state\":{}}\n".repeat(1000));
        assert_eq!(
            said(&mut lines),
            "{\"state\":{\"port\":null}}\n".repeat(1000)
        );
        // Hundreds of requests on one line are longer than the longest request.
        push(&mut lines, &b"{\"state\":{}}".repeat(400));
        push(&mut lines, b"\n");
        assert!(said(&mut lines).contains("not a request") && lines.is_done());
    }

    #[test]
    fn nesting_without_end_is_refused() {
        for open in ["[", "{\"command\":", "{\"state\":{\"a\":["] {
            let mut lines = JsonLines::default();
            let mut bytes = open.repeat(LONGEST_REQUEST / open.len() - 1).into_bytes();
            bytes.push(b'\n');
            push(&mut lines, &bytes);
            assert!(lines.is_done() && said(&mut lines).contains("not a request"));
        }
    }

    #[test]
    fn one_who_does_not_read_is_answered_no_further() {
        let mut lines = JsonLines::default();
        let request = b"{\"state\":{}}\n";
        let mut taken = 0;
        while lines.room() >= request.len() {
            assert!(taken < 1 << 20, "taken without end");
            lines.receive(request);
            taken += request.len();
            assert_eq!(lines.next(|| Some("x".repeat(1000))), None);
        }
        let waiting = lines.output.len();
        assert!(waiting < 2 * MUCH_OUTPUT, "{waiting}");
        // It goes on where it was when the client reads.
        assert!(!said(&mut lines).is_empty());
        assert_eq!(lines.next(|| None), None);
        assert!(lines.room() > request.len() && !said(&mut lines).is_empty());
        assert!(!lines.is_done());
    }

    #[test]
    fn an_endless_line_is_cut_off() {
        let mut lines = JsonLines::default();
        push(&mut lines, &vec![b'x'; LONGEST_REQUEST + 1]);
        assert!(said(&mut lines).contains("too long"));
        assert_eq!(lines.room(), 0);
    }
}
