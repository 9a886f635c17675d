//! Lines on the AT port, with their answers.

use std::time::Duration;

use uwwan_emulator::rules::{Action, Answer, Rule, State, Trigger};

use super::answers::Answers;
use super::modem::Like;

/// Length of the longest line and of the longest answer that are kept, in bytes.
const LONGEST_LINE: usize = 1024;
const LONGEST_ANSWER: usize = 16 << 10;

/// Largest number of unsolicited result codes that are repeated.
const MOST_UNSOLICITED: usize = 512;

/// A line whose answer is not complete.
#[derive(Debug)]
struct Asked {
    line: String,
    time: u64,
    said: String,
}

/// Lines with their answers.
#[derive(Debug, Default)]
pub(super) struct Lines {
    answers: Answers<String>,
    /// The part of a line that the host has written so far.
    written: Vec<u8>,
    asked: Option<Asked>,
    /// The part of a line outside an answer that the modem has sent so far.
    unasked: Vec<u8>,
    /// Unsolicited result codes, with their times in nanoseconds.
    unsolicited: Vec<(u64, String)>,
}

/// Returns whether a line ends an answer (V.250, 5.7.1; 3GPP TS 27.007, 9.2; 27.005, 3.2.5).
fn is_final(line: &str) -> bool {
    matches!(
        line.trim(),
        "OK" | "ERROR" | "NO CARRIER" | "COMMAND NOT SUPPORT" | "TOO MANY PARAMETERS"
    ) || ["+CME ERROR:", "+CMS ERROR:"]
        .iter()
        .any(|start| line.trim().starts_with(start))
}

/// Returns whether a line outside an answer is an unsolicited result code: a name with a sign in front
/// and a colon behind (3GPP TS 27.007, 4.1), or a call.
fn is_unsolicited(line: &str) -> bool {
    let named = line
        .strip_prefix(['+', '^', '*', '%', '$', '#'])
        .and_then(|rest| rest.split_once(':'))
        .is_some_and(|(name, _)| name.starts_with(|first: char| first.is_ascii_alphabetic()));
    named && !is_final(line) || line == "RING"
}

impl Lines {
    /// Adds bytes of a serial port.
    pub fn take(&mut self, bytes: &[u8], time: u64, out: bool) {
        if out {
            for byte in bytes {
                match byte {
                    b'\r' => self.asks(time),
                    b'\n' | 0 => {}
                    _ if self.written.len() < LONGEST_LINE => self.written.push(*byte),
                    _ => {}
                }
            }
            return;
        }
        let Some(asked) = &mut self.asked else {
            return self.says(bytes, time);
        };
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.asked = None;
            return;
        };
        if asked.said.len() + text.len() > LONGEST_ANSWER {
            self.asked = None;
            return;
        }
        asked.said.push_str(text);
        // The last line is complete where a line end follows it.
        let whole = asked.said.ends_with(['\r', '\n']);
        if whole
            && asked.said.lines().any(is_final)
            && let Some(Asked {
                line,
                time: since,
                said,
            }) = self.asked.take()
        {
            let said = said.strip_prefix(&line).map_or(said.as_str(), |rest| {
                rest.strip_prefix('\r').unwrap_or(rest)
            });
            let length = line.len() + said.len();
            let answer = Answer::At(said.to_owned());
            let after = time.saturating_sub(since);
            self.answers.push(line, answer, after, length);
        }
    }

    /// Adds bytes outside an answer: the lines among them are unsolicited result codes.
    fn says(&mut self, bytes: &[u8], time: u64) {
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => {
                    let line = std::mem::take(&mut self.unasked);
                    let line = String::from_utf8(line).unwrap_or_default();
                    let line = line.trim();
                    if is_unsolicited(line) && self.unsolicited.len() < MOST_UNSOLICITED {
                        self.unsolicited.push((time, line.to_owned()));
                    }
                }
                _ if self.unasked.len() < LONGEST_LINE => self.unasked.push(*byte),
                _ => {}
            }
        }
    }

    fn asks(&mut self, time: u64) {
        self.unasked.clear();
        let line = std::mem::take(&mut self.written);
        let line = String::from_utf8(line).unwrap_or_default();
        let line = line.trim();
        let prefix = line.get(..2).unwrap_or_default();
        // A terminal in between may echo the modem's output back to the modem.
        if prefix.eq_ignore_ascii_case("at") {
            self.asked = Some(Asked {
                line: line.to_owned(),
                time,
                said: String::new(),
            });
        }
    }

    /// Puts findings into `like` and `found`, and gaps into `missing`. Unsolicited result codes come as
    /// long after the control session is open as after `opened`, the time in nanoseconds at which it was in
    /// the capture; without one, as long after the selection of the configuration as after the first of
    /// them.
    pub fn finish(
        self,
        opened: Option<u64>,
        like: &mut Like,
        found: &mut Vec<String>,
        missing: &mut Vec<String>,
    ) {
        if !self.unsolicited.is_empty() {
            let count = self.unsolicited.len();
            found.push(format!("{count} unsolicited result codes"));
        }
        let first = self.unsolicited.first().map(|(time, _)| *time);
        let (state, since) = match opened {
            Some(opened) => (State::Open, opened),
            None => (State::Configured, first.unwrap_or(0)),
        };
        let told = self.unsolicited.into_iter().map(|(time, line)| Rule {
            on: Trigger::State(state),
            answer: None,
            actions: vec![Action::Tell(line)],
            after: Duration::from_millis(time.saturating_sub(since) / 1_000_000),
            times: None,
        });
        like.rules.extend(told);
        match self.answers.count() {
            0 => missing.push("AT answers".to_owned()),
            count => found.push(format!("answers to {count} AT lines")),
        }
        let left_out = self.answers.left_out();
        if left_out > 0 {
            like.notes.push(format!(
                "{left_out} answers on the AT port are too many and left out"
            ));
        }
        like.rules
            .extend(self.answers.rules(|line| Trigger::At(line.clone())));
    }
}
