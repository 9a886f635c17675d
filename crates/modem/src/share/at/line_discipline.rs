//! Line discipline of a modem port, one for each program that opens the port's terminal.
//!
//! Echo, verbosity and quietness (`E`, `V`, `Q`) belong to the opener and never reach the modem:
//! what one program chooses changes nothing for another. All other commands are passed on a line at
//! a time and answered as a whole, so that answers never mix. Commands that ask for text (`+CMGS`,
//! `+CMGW`, `+CMGC`) get their `> ` prompt from the discipline, and the modem gets line and text
//! together, so that a user who pauses over a message does not keep the port from others.

use std::collections::VecDeque;

use uwwan_at::commands::PASSWORD_COMMANDS;
use uwwan_at::dialogue::Command;
use uwwan_at::failure::Failure as Refusal;
use uwwan_at::line::{Action, Command as Part, split};

use super::output::Output;
use super::protocol::final_text;
use crate::at_port::{Answer, Line};
use crate::failure::Failure;

/// Length of the longest command line, in bytes.
const LONGEST_LINE: usize = 2048;
/// Length of the longest text for a prompt, in bytes.
const LONGEST_TEXT: usize = 4096;
/// Largest number of bytes that are held while a command runs.
const MOST_AHEAD: usize = 16 * 1024;
/// Largest number of bytes that wait for a program that does not read.
const MOST_OUTPUT: usize = 64 * 1024;
/// Number of waiting bytes above which unsolicited result codes are dropped.
const MOST_OUTPUT_UNASKED: usize = 16 * 1024;

const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;
const CTRL_Z: u8 = 0x1a;
const ESCAPE: u8 = 0x1b;

#[derive(Debug)]
enum Mode {
    Line,
    /// The text for the prompt of this command line is collected.
    Text(String),
    /// A command runs; bytes that come meanwhile wait.
    Busy,
}

/// State of the port for one opener.
#[derive(Debug)]
pub(crate) struct LineDiscipline {
    mode: Mode,
    echo: bool,
    verbose: bool,
    quiet: bool,
    buffer: Vec<u8>,
    too_long: bool,
    last: String,
    /// Input that has not been looked at.
    ahead: VecDeque<u8>,
    output: Output,
    /// Whether the program has sent at least one command line, and so does more than listen.
    has_spoken: bool,
}

impl Default for LineDiscipline {
    /// Returns the state after power-up: `E1 V1 Q0`.
    fn default() -> Self {
        Self {
            mode: Mode::Line,
            echo: true,
            verbose: true,
            quiet: false,
            buffer: Vec::new(),
            too_long: false,
            last: String::new(),
            ahead: VecDeque::new(),
            output: Output::default(),
            has_spoken: false,
        }
    }
}

impl LineDiscipline {
    /// Takes bytes that the program wrote, up to [`LineDiscipline::room`]; the rest is dropped.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        let room = MOST_AHEAD.saturating_sub(self.ahead.len());
        self.ahead.extend(&bytes[..room.min(bytes.len())]);
    }

    /// Returns whether the program has sent a command line.
    pub(crate) fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    /// Returns the next command for the modem. Its answer has to be given to
    /// [`LineDiscipline::answered`] before there is another.
    pub(crate) fn next(&mut self) -> Option<Command> {
        while !matches!(self.mode, Mode::Busy) {
            let Some(byte) = self.ahead.pop_front() else {
                self.ahead = VecDeque::new();
                return None;
            };
            if self.echo {
                self.put(&[byte]);
            }
            let command = match &self.mode {
                Mode::Text(_) => self.text_byte(byte),
                _ => self.line_byte(byte),
            };
            if let Some(command) = command {
                self.mode = Mode::Busy;
                return Some(command);
            }
        }
        None
    }

    /// Takes the answer to the command, or the reason why there is none.
    pub(crate) fn answered(&mut self, result: &Result<Answer, Failure>) {
        self.mode = Mode::Line;
        match result {
            Ok(answer) => {
                self.information(&answer.lines);
                self.finish(&result_code(&answer.result));
            }
            Err(_) => self.finish("ERROR"),
        }
    }

    /// Writes the answer to the command of an opener that has gone, for a program that only
    /// listens, as in `cat port & echo AT >port`.
    pub(crate) fn overhear(&mut self, answer: &Answer) {
        self.information(&answer.lines);
        self.finish(&result_code(&answer.result));
    }

    /// Writes an unsolicited result code or an NMEA sentence, unless too much output waits.
    pub(crate) fn tell(&mut self, line: &Line) {
        if self.output.len() > MOST_OUTPUT_UNASKED {
            return;
        }
        match line {
            Line::Unsolicited(text) => self.put(format!("\r\n{text}\r\n").as_bytes()),
            Line::Nmea(sentence) => self.put(format!("{sentence}\r\n").as_bytes()),
        }
    }

    /// Returns bytes for the program, as many as one write takes at best.
    pub(crate) fn output(&self) -> &[u8] {
        self.output.first()
    }

    /// Removes `count` bytes, which have been written, from the output.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.output.wrote(count);
    }

    /// Drops the waiting output, which nobody will read.
    pub(crate) fn forget_output(&mut self) {
        self.output.clear();
    }

    /// Returns the number of bytes that the discipline takes from the program at present.
    pub(crate) fn room(&self) -> usize {
        MOST_AHEAD.saturating_sub(self.ahead.len())
    }

    fn line_byte(&mut self, byte: u8) -> Option<Command> {
        match byte {
            // A line feed alone ends a line too: `echo AT >port`.
            b'\r' | b'\n' => {
                let bytes = std::mem::take(&mut self.buffer);
                let too_long = std::mem::take(&mut self.too_long);
                let line = String::from_utf8_lossy(&bytes);
                let line = line.trim();
                let line = if line.eq_ignore_ascii_case("a/") {
                    self.last.clone()
                } else {
                    line.to_owned()
                };
                return self.line(&line, too_long);
            }
            BACKSPACE | DELETE => {
                self.buffer.pop();
            }
            0 => {}
            _ if self.buffer.len() >= LONGEST_LINE => self.too_long = true,
            _ => self.buffer.push(byte),
        }
        None
    }

    fn line(&mut self, line: &str, too_long: bool) -> Option<Command> {
        // Noise without the prefix is ignored (V.250, 5.2.1).
        if !line
            .get(..2)
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case("at"))
        {
            return None;
        }
        self.has_spoken = true;
        let parts = if too_long { None } else { split(&line[2..]) };
        let secret = |part: &Part| {
            let name = part.name.to_ascii_uppercase();
            PASSWORD_COMMANDS.contains(&name.as_str())
        };
        // A PIN is not kept to be sent again by `A/`.
        self.last = match &parts {
            Some(parts) if parts.iter().any(secret) => String::new(),
            _ => line.to_owned(),
        };
        let Some(parts) = parts else {
            self.finish("ERROR");
            return None;
        };
        let rest = self.take_own(&parts);
        let line = if rest.len() == parts.len() {
            line.to_owned()
        } else if rest.is_empty() {
            self.finish("OK");
            return None;
        } else {
            rebuilt(&rest)
        };
        if Command::new(&*line).is_ok_and(|command| command.wants_text()) {
            self.put(b"\r\n> ");
            self.mode = Mode::Text(line);
            return None;
        }
        match Command::new(line) {
            Ok(command) => Some(command),
            Err(_) => {
                self.finish("ERROR");
                None
            }
        }
    }

    /// Carries out the commands that concern this opener alone, and returns those left for the
    /// modem.
    fn take_own<'a>(&mut self, parts: &'a [Part]) -> Vec<&'a Part> {
        parts
            .iter()
            .filter(|part| {
                let Action::Run(value) = &part.action else {
                    return true;
                };
                let on = !matches!(value.as_str(), "" | "0");
                match part.name.as_str() {
                    "E" => self.echo = on,
                    "V" => self.verbose = on,
                    "Q" => self.quiet = on,
                    // The modem gets this command too: it also resets what all clients share, as on
                    // a real port.
                    "Z" | "&F" => {
                        (self.echo, self.verbose, self.quiet) = (true, true, false);
                        return true;
                    }
                    _ => return true,
                }
                false
            })
            .collect()
    }

    fn text_byte(&mut self, byte: u8) -> Option<Command> {
        match byte {
            CTRL_Z => {
                let Mode::Text(line) = std::mem::replace(&mut self.mode, Mode::Line) else {
                    return None;
                };
                let bytes = std::mem::take(&mut self.buffer);
                let too_long = std::mem::take(&mut self.too_long);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                match Command::new(line).and_then(|command| command.with_text(text)) {
                    Ok(command) if !too_long => return Some(command),
                    _ => self.finish("ERROR"),
                }
            }
            ESCAPE => {
                self.mode = Mode::Line;
                self.buffer.clear();
                self.too_long = false;
                self.finish("OK");
            }
            BACKSPACE | DELETE => {
                self.buffer.pop();
            }
            _ if self.buffer.len() >= LONGEST_TEXT => self.too_long = true,
            _ => self.buffer.push(byte),
        }
        None
    }

    fn information(&mut self, lines: &[String]) {
        if !lines.is_empty() {
            self.put(format!("\r\n{}\r\n", lines.join("\r\n")).as_bytes());
        }
    }

    fn finish(&mut self, text: &str) {
        if self.quiet {
            return;
        }
        if self.verbose {
            self.put(format!("\r\n{text}\r\n").as_bytes());
        } else {
            let number = match text {
                "OK" => 0,
                "NO CARRIER" => 3,
                "NO DIALTONE" => 6,
                "BUSY" => 7,
                "NO ANSWER" => 8,
                _ => 4,
            };
            self.put(format!("{number}\r").as_bytes());
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.output.len() + bytes.len() <= MOST_OUTPUT {
            self.output.add(bytes);
        }
    }
}

/// Returns the final result code for a program, which knows only those that modems send.
fn result_code(result: &Result<(), Refusal>) -> String {
    match result {
        Err(Refusal::Timeout(_) | Refusal::Cancelled | Refusal::Closed) => "ERROR".into(),
        other => final_text(other),
    }
}

/// Returns the command line that has these parts.
fn rebuilt(parts: &[&Part]) -> String {
    let mut line = "AT".to_owned();
    for (index, part) in parts.iter().enumerate() {
        line.push_str(&part.name);
        match &part.action {
            Action::Run(value) => line.push_str(value),
            Action::Read => line.push('?'),
            Action::Test => line.push_str("=?"),
            Action::Set(value) => {
                line.push('=');
                line.push_str(value);
            }
        }
        let extended = part
            .name
            .starts_with(|first: char| first.is_ascii_punctuation() && first != '&');
        if extended && index + 1 < parts.len() {
            line.push(';');
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_at::failure::{Cme, Code};

    fn said(discipline: &mut LineDiscipline) -> String {
        let mut bytes = Vec::new();
        while !discipline.output().is_empty() {
            bytes.extend_from_slice(discipline.output());
            discipline.wrote(discipline.output().len());
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn answer(lines: &[&str], result: Result<(), Refusal>) -> Result<Answer, Failure> {
        Ok(Answer {
            command: String::new(),
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
            truncated: false,
            result,
        })
    }

    #[test]
    fn a_command_and_its_answer_as_a_modem_writes_them() {
        let mut port = LineDiscipline::default();
        port.receive(b"AT+CSQ\r");
        assert_eq!(port.next().unwrap().line(), "AT+CSQ");
        port.receive(b"AT+CIMI\r");
        assert!(port.next().is_none(), "one at a time");
        port.tell(&Line::Unsolicited("^RSSI: 13".into()));
        port.answered(&answer(&["+CSQ: 21,99"], Ok(())));
        assert_eq!(
            said(&mut port),
            "AT+CSQ\r\r\n^RSSI: 13\r\n\r\n+CSQ: 21,99\r\n\r\nOK\r\n"
        );
        assert_eq!(port.next().unwrap().line(), "AT+CIMI");
        port.answered(&answer(&[], Err(Refusal::Cme(Cme(Code::Number(10))))));
        assert_eq!(said(&mut port), "AT+CIMI\r\r\n+CME ERROR: 10\r\n");
    }

    #[test]
    fn echo_and_result_codes_are_the_openers_own() {
        let mut port = LineDiscipline::default();
        port.receive(b"ATE0\rAT\r");
        assert_eq!(port.next().unwrap().line(), "AT");
        assert_eq!(said(&mut port), "ATE0\r\r\nOK\r\n");
        port.answered(&answer(&[], Ok(())));
        assert_eq!(said(&mut port), "\r\nOK\r\n");
        port.receive(b"ATV0E0+CMEE=1;+CREG?\r");
        assert_eq!(port.next().unwrap().line(), "AT+CMEE=1;+CREG?");
        port.answered(&answer(&[], Err(Refusal::Error)));
        assert_eq!(said(&mut port), "4\r");
        port.receive(b"ATQ0 V1 E1 S0=0\r");
        assert_eq!(port.next().unwrap().line(), "ATS0=0");
        port.answered(&answer(&[], Ok(())));
        assert_eq!(said(&mut port), "\r\nOK\r\n");
        port.receive(b"ATQ1\rAT\r");
        assert_eq!(port.next().unwrap().line(), "AT");
        port.answered(&answer(&[], Ok(())));
        assert_eq!(said(&mut port), "ATQ1\rAT\r");
        port.receive(b"ATZ\r");
        assert_eq!(port.next().unwrap().line(), "ATZ");
        port.answered(&answer(&[], Ok(())));
        assert_eq!(said(&mut port), "ATZ\r\r\nOK\r\n");
    }

    #[test]
    fn text_is_collected_before_the_port_is_used() {
        let mut port = LineDiscipline::default();
        port.receive(b"ATE0\rAT+CMGS=\"+47\"\rhel");
        assert!(port.next().is_none());
        assert!(said(&mut port).ends_with("\r\n> "));
        port.receive(b"lo\x1a");
        let sent = port.next().unwrap();
        let wanted = Command::new("AT+CMGS=\"+47\"")
            .unwrap()
            .with_text("hello")
            .unwrap();
        assert_eq!(sent, wanted);
        port.answered(&answer(&["+CMGS: 1"], Ok(())));
        assert_eq!(said(&mut port), "\r\n+CMGS: 1\r\n\r\nOK\r\n");
        port.receive(b"AT+CMGS=23\r00\x1b");
        assert!(port.next().is_none());
        assert_eq!(said(&mut port), "\r\n> \r\nOK\r\n");
    }

    #[test]
    fn noise_long_lines_and_readers_that_do_not_read_are_bounded() {
        let mut port = LineDiscipline::default();
        port.receive(b"hello\r\n\r\n\0\xff\xfe\r");
        assert!(port.next().is_none());
        assert!(!port.has_spoken());
        port.receive(b"ATE0\rAT");
        assert!(port.next().is_none());
        for _ in 0..10 {
            port.receive(&[b'x'; 1000]);
            assert!(port.next().is_none());
        }
        port.receive(b"\r");
        assert!(port.next().is_none());
        assert!(said(&mut port).ends_with("\r\nERROR\r\n"));
        for _ in 0..100_000 {
            port.tell(&Line::Unsolicited("^RSSI: 13".into()));
            port.receive(b"AT+CSQ\r");
        }
        assert!(port.output.len() <= MOST_OUTPUT && port.ahead.len() <= MOST_AHEAD);
        assert_eq!(port.next().unwrap().line(), "AT+CSQ");
        port.answered(&Err(crate::at_port::full()));
        assert!(
            said(&mut port).ends_with("\r\nERROR\r\n"),
            "answers have room left"
        );
    }

    #[test]
    fn a_line_feed_ends_a_line_and_a_slash_repeats_it() {
        let mut port = LineDiscipline::default();
        port.receive(b"ATI\n");
        assert_eq!(port.next().unwrap().line(), "ATI");
        port.answered(&answer(&[], Ok(())));
        port.receive(b"A/\r");
        assert_eq!(port.next().unwrap().line(), "ATI");
    }
}
