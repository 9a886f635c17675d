//! The host's side of an AT port: one command after another, each with its answer.
//!
//! A modem's AT port is a stream of lines in which everything is mixed: the echo of what was sent,
//! the lines of the answer, the final result code, unsolicited result codes (URCs), and on a GPS
//! port NMEA sentences. The name of a line tells what it belongs to: a line `+NAME: …` is part of
//! the answer to `AT+NAME…`, and unsolicited while any other extended command runs; lines without a
//! name are part of the answer. A URC with the name of the running command cannot be told from the
//! answer and becomes part of it.
//!
//! The text of a USSD dialogue may have several lines, which come as they are: `+CUSD` goes on until its
//! quotation mark is closed, and is then one line with line ends in it.
//!
//! A command that gets no final result in time fails, and the port is left alone for a moment so
//! that a late answer is not taken for the next command's.
//!
//! ```
//! use std::time::Instant;
//! use uwwan_at::dialogue::{Command, Dialogue, Event};
//!
//! let now = Instant::now();
//! let mut dialogue = Dialogue::default();
//! let id = dialogue.command(now, Command::new("AT+CSQ")?)?;
//! assert_eq!(dialogue.poll_transmit().unwrap(), b"AT+CSQ\r");
//! dialogue.receive(now, b"AT+CSQ\r\r\n^RSSI: 13\r\n\r\n+CSQ: 21,99\r\n\r\nOK\r\n");
//! assert_eq!(dialogue.poll_event(), Some(Event::Unsolicited("^RSSI: 13".to_owned())));
//! let Some(Event::Done(done)) = dialogue.poll_event() else { panic!() };
//! assert_eq!((done.id, &done.lines[..]), (id, &["+CSQ: 21,99".to_owned()][..]));
//! assert_eq!(done.result, Ok(()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::failure::{Cme, Cms, Code, Failure};
use crate::line::{self, Action};
use crate::nmea;
use crate::timeouts::timeout;
use crate::values;

/// Length of the longest command line in bytes.
const LONGEST_COMMAND: usize = 2048;
/// Length of the longest line from the modem in bytes; the rest of a longer one is thrown away.
const LONGEST_LINE: usize = 8192;
/// Length of the longest answer in bytes; what comes behind it is thrown away.
const LONGEST_ANSWER: usize = 256 * 1024;
/// Largest number of lines in an answer; what comes behind them is thrown away.
const MOST_LINES: usize = 4096;
/// Longest `+CUSD` in bytes, over all its lines.
const LONGEST_TEXT: usize = 2048;
/// Most commands waiting to be sent.
const MOST_COMMANDS: usize = 64;
/// Number of waiting events at which further unsolicited result codes are thrown away.
const MOST_EVENTS: usize = 1024;
/// Time for which the port is left alone after a command that got no answer.
const SETTLE: Duration = Duration::from_secs(2);

/// URCs without a name.
const BARE_UNSOLICITED: [&str; 4] = ["RING", "^SYSSTART", "NO CARRIER", "^STIN"];
/// Names of URCs that are told from an answer even while a basic command such as `ATI`, whose answer may contain
/// any name, is running.
const UNSOLICITED_NAMES: [&str; 24] = [
    "^RSSI",
    "^HCSQ",
    "^CERSSI",
    "^MODE",
    "^SRVST",
    "^SIMST",
    "^NWTIME",
    "^NWNAME",
    "^ECCLIST",
    "^ANLEVEL",
    "^LCACELLURC",
    "^CSCHANNELINFO",
    "^EONS",
    "^NDISSTAT",
    "^BOOT",
    "^STIN",
    "^POSITION",
    "^POSEND",
    "^SYSSTART",
    "+CREG",
    "+CGREG",
    "+CEREG",
    "+CMTI",
    "+CUSD",
];

/// Id of a command, from [`Dialogue::command`] to its [`Done`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(u64);

/// A command to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    line: String,
    text: Option<String>,
    timeout: Duration,
    /// Names that lines of the command's answer may start with.
    names: Vec<String>,
    dials: bool,
    wants_text: bool,
}

/// Reason why a line cannot be a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidCommand {
    /// The line does not start with `AT`.
    #[error("an AT command starts with AT")]
    Prefix,
    /// The line has a control character, which would end it early or be taken as an order to the
    /// modem.
    #[error("an AT command has no control characters")]
    Control,
    /// The line is longer than 2048 bytes.
    #[error("an AT command has at most {LONGEST_COMMAND} bytes")]
    TooLong,
    /// The line does not make the modem ask for text, so that text behind it could be taken for
    /// commands.
    #[error("text goes with one AT+CMGS=…, AT+CMGW=… or AT+CMGC=… alone in its line")]
    Text,
}

/// Reason why a command is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    /// 64 commands wait already, or 1024 events.
    #[error("too many AT commands are waiting: wait for their answers first")]
    Full,
    /// The port was closed.
    #[error("the port was closed")]
    Closed,
}

impl Command {
    /// Makes a command with the usual timeout of its kind.
    ///
    /// # Errors
    /// When the line cannot be one.
    pub fn new(line: impl Into<String>) -> Result<Self, InvalidCommand> {
        let line = line.into().trim().to_owned();
        if line.len() > LONGEST_COMMAND {
            return Err(InvalidCommand::TooLong);
        }
        if line.chars().any(char::is_control) {
            return Err(InvalidCommand::Control);
        }
        let body = match line.get(..2) {
            Some(prefix) if prefix.eq_ignore_ascii_case("AT") => &line[2..],
            _ => return Err(InvalidCommand::Prefix),
        };
        // A line that cannot be split here may still be known to the modem.
        let parts = line::split(body).unwrap_or_default();
        let dials = parts
            .iter()
            .any(|part| matches!(part.name.as_str(), "D" | "A" | "O" | "+CGDATA"));
        let wants_text = matches!(&parts[..], [part] if wants_text(part));
        let timeout = parts
            .iter()
            .map(|part| timeout(&part.name, part.action == Action::Test))
            .sum::<Duration>()
            .max(timeout("", false));
        Ok(Self {
            text: None,
            timeout,
            names: parts.into_iter().map(|part| part.name).collect(),
            dials,
            wants_text,
            line,
        })
    }

    /// Adds text to send at the `> ` prompt, ended with Ctrl-Z.
    ///
    /// # Errors
    /// When the line is not one command that asks for text, or the text has Ctrl-Z or ESC in it, or
    /// more than 4096 bytes.
    pub fn with_text(mut self, text: impl Into<String>) -> Result<Self, InvalidCommand> {
        let text = text.into();
        if !self.wants_text {
            return Err(InvalidCommand::Text);
        }
        if text.len() > 2 * LONGEST_COMMAND {
            return Err(InvalidCommand::TooLong);
        }
        if text.contains([CTRL_Z as char, ESCAPE as char]) {
            return Err(InvalidCommand::Control);
        }
        self.text = Some(text);
        Ok(self)
    }

    /// Sets a timeout other than the usual one.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Returns how long the modem may take until the final result code.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the command line, without its end.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Returns whether the line is one command after which the modem asks for text, so that text goes
    /// with it.
    #[must_use]
    pub fn wants_text(&self) -> bool {
        self.wants_text
    }

    /// Returns the text for the prompt.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }
}

/// Returns whether a modem asks for text after a command: sending or storing a message, or sending a
/// command to the service centre (3GPP TS 27.005, 3.5.1, 3.5.3, 3.5.5, 4.3 and 4.4).
fn wants_text(part: &line::Command) -> bool {
    matches!(part.name.as_str(), "+CMGS" | "+CMGW" | "+CMGC")
        && matches!(part.action, Action::Set(_))
}

const CTRL_Z: u8 = 0x1a;
const ESCAPE: u8 = 0x1b;

/// A command that has ended, with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Id that [`Dialogue::command`] gave the command.
    pub id: CommandId,
    /// Command line that was sent.
    pub command: String,
    /// The lines of the answer, without echo, blank lines and final result.
    pub lines: Vec<String>,
    /// Whether the answer was longer than what is kept.
    pub truncated: bool,
    /// Text behind `CONNECT` where the port carries data from there on.
    pub connect: Option<String>,
    /// `Ok` when the final result code was `OK`, else the reason why not.
    pub result: Result<(), Failure>,
}

/// Event on the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A command came to its end.
    Done(Done),
    /// An unsolicited result code.
    Unsolicited(String),
    /// An NMEA 0183 sentence, with a correct checksum or without one.
    Nmea(String),
}

#[derive(Debug)]
struct Running {
    id: CommandId,
    command: Command,
    deadline: Instant,
    echo_due: bool,
    text_sent: bool,
    lines: Vec<String>,
    bytes: usize,
    truncated: bool,
}

#[derive(Debug)]
enum State {
    Idle,
    Running(Box<Running>),
    /// The last command got no answer; an answer that comes late, or this time, ends the state.
    Settling(Instant),
    Closed,
}

/// The dialogue with one port.
#[derive(Debug)]
pub struct Dialogue {
    state: State,
    waiting: VecDeque<(CommandId, Command)>,
    transmit: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    line: Vec<u8>,
    /// Lines of a text whose quotation mark is open.
    open_text: Option<String>,
    next_id: u64,
    unanswered: u32,
    lost: u64,
}

impl Default for Dialogue {
    fn default() -> Self {
        Self {
            state: State::Idle,
            waiting: VecDeque::new(),
            transmit: VecDeque::new(),
            events: VecDeque::new(),
            line: Vec::new(),
            open_text: None,
            next_id: 0,
            unanswered: 0,
            lost: 0,
        }
    }
}

impl Dialogue {
    /// Queues a command; it is sent when the ones before it have ended.
    ///
    /// # Errors
    /// When too much is waiting already or the port was closed.
    pub fn command(&mut self, now: Instant, command: Command) -> Result<CommandId, Refused> {
        if matches!(self.state, State::Closed) {
            return Err(Refused::Closed);
        }
        if self.waiting.len() >= MOST_COMMANDS || self.events.len() >= MOST_EVENTS {
            return Err(Refused::Full);
        }
        let id = CommandId(self.next_id);
        self.next_id += 1;
        self.waiting.push_back((id, command));
        self.start(now);
        Ok(id)
    }

    /// Takes back a command that was not sent yet, and returns whether it did. A command that runs
    /// stays, because its answer would be taken for that of the next one.
    pub fn cancel(&mut self, id: CommandId) -> bool {
        let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == id) else {
            return false;
        };
        if let Some((id, command)) = self.waiting.remove(at) {
            self.finish_unsent(id, command, Failure::Cancelled);
        }
        true
    }

    /// Takes bytes from the port.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) {
        if matches!(self.state, State::Closed) {
            return;
        }
        if !bytes.is_empty() {
            self.unanswered = 0;
        }
        for byte in bytes.iter().copied() {
            match byte {
                b'\r' | b'\n' => self.end_line(now),
                // Some firmware puts zero bytes between lines.
                0 => {}
                _ if self.line.len() == LONGEST_LINE => {}
                _ => self.line.push(byte),
            }
            // A prompt is not followed by a line end.
            if self.line == b"> " {
                self.prompt();
            }
        }
        if self.line == b">"
            && matches!(&self.state, State::Running(running) if running.command.text.is_some())
        {
            self.prompt();
        }
    }

    /// Ends the dialogue because the port went away: every waiting command fails, and none is taken
    /// any more.
    pub fn close(&mut self) {
        if let State::Running(running) = std::mem::replace(&mut self.state, State::Closed) {
            self.finish(*running, None, Err(Failure::Closed));
        }
        while let Some((id, command)) = self.waiting.pop_front() {
            self.finish_unsent(id, command, Failure::Closed);
        }
        self.transmit.clear();
    }

    /// Returns the next bytes to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.pop_front()
    }

    /// Returns the oldest event that was not taken.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`Dialogue::handle_timeout`] wants to be called; `None` when never.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Running(running) => Some(running.deadline),
            State::Settling(until) => Some(*until),
            State::Idle | State::Closed => None,
        }
    }

    /// Ends a command whose answer is overdue at `now`, and starts the next.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &self.state {
            State::Running(running) if running.deadline <= now => {
                let failure = Failure::Timeout(running.command.timeout);
                self.unanswered = self.unanswered.saturating_add(1);
                // A prompt that was missed must not swallow the next command.
                if running.command.text.is_some() {
                    self.transmit.push_back(vec![ESCAPE]);
                }
                self.end(State::Settling(now + SETTLE), None, Err(failure));
            }
            State::Settling(until) if *until <= now => self.state = State::Idle,
            _ => {}
        }
        self.start(now);
    }

    /// Returns the number of commands in a row that ended without a single byte from the port, which
    /// may be no AT port at all.
    #[must_use]
    pub fn unanswered(&self) -> u32 {
        self.unanswered
    }

    /// Returns whether a command runs or waits.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !matches!(self.state, State::Idle | State::Closed) || !self.waiting.is_empty()
    }

    /// Returns the number of unsolicited result codes and NMEA sentences thrown away because nobody
    /// took them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn start(&mut self, now: Instant) {
        if !matches!(self.state, State::Idle) {
            return;
        }
        let Some((id, command)) = self.waiting.pop_front() else {
            return;
        };
        let mut bytes = command.line.clone().into_bytes();
        bytes.push(b'\r');
        self.transmit.push_back(bytes);
        self.state = State::Running(Box::new(Running {
            id,
            deadline: now + command.timeout,
            command,
            echo_due: true,
            text_sent: false,
            lines: Vec::new(),
            bytes: 0,
            truncated: false,
        }));
    }

    fn prompt(&mut self) {
        let State::Running(running) = &mut self.state else {
            return;
        };
        self.line.clear();
        if running.text_sent {
            return;
        }
        running.text_sent = true;
        self.transmit.push_back(match &running.command.text {
            Some(text) => {
                let mut bytes = text.clone().into_bytes();
                bytes.push(CTRL_Z);
                bytes
            }
            // There is no text to send, and the modem must not wait for it.
            None => vec![ESCAPE],
        });
    }

    fn end_line(&mut self, now: Instant) {
        let mut bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim();
        if !text.is_empty() {
            self.take_line(now, text);
        }
        // The memory serves the next line, so it is overwritten: an echo repeats the command, which
        // may hold a PIN.
        bytes.fill(0);
        bytes.clear();
        self.line = bytes;
    }

    /// Takes a line, alone or as part of a text of several lines.
    fn take_line(&mut self, now: Instant, line: &str) {
        let runs = matches!(self.state, State::Running(_));
        match self.open_text.take() {
            // The text was cut off.
            Some(text) if begins_anew(line, runs) || text.len() + line.len() > LONGEST_TEXT => {
                self.sort(now, &text);
                self.sort_or_open(now, line.to_owned());
            }
            Some(text) => self.sort_or_open(now, text + "\r\n" + line),
            None => self.sort_or_open(now, line.to_owned()),
        }
    }

    /// Takes a line, or keeps it until its text ends.
    fn sort_or_open(&mut self, now: Instant, line: String) {
        let is_text = values::name(&line).is_some_and(|name| name.eq_ignore_ascii_case("+CUSD"));
        if is_text && !line.matches('"').count().is_multiple_of(2) {
            self.open_text = Some(line);
        } else {
            self.sort(now, &line);
        }
    }

    /// Finds out what a line belongs to.
    fn sort(&mut self, now: Instant, line: &str) {
        if nmea::is_sentence(line) {
            self.tell(Event::Nmea(line.to_owned()));
            return;
        }
        match &mut self.state {
            State::Running(running) => {
                if running.echo_due && line == running.command.line {
                    running.echo_due = false;
                    return;
                }
                if running.is_text_echo(line) {
                    return;
                }
                if let Some((result, connect)) = final_result(line, running.command.dials) {
                    self.end(State::Idle, connect, result);
                    self.start(now);
                } else if running.expects(line) {
                    running.keep(line);
                } else {
                    self.tell(Event::Unsolicited(line.to_owned()));
                }
            }
            State::Settling(_) => {
                if final_result(line, true).is_some() {
                    self.state = State::Idle;
                    self.start(now);
                } else {
                    self.tell(Event::Unsolicited(line.to_owned()));
                }
            }
            State::Idle | State::Closed => {
                // A final result code while nothing runs belongs to a command of another program,
                // and is ignored.
                if matches!(line, "NO CARRIER") || final_result(line, false).is_none() {
                    self.tell(Event::Unsolicited(line.to_owned()));
                }
            }
        }
    }

    /// Ends the running command and goes to `next`.
    fn end(&mut self, next: State, connect: Option<String>, result: Result<(), Failure>) {
        if let State::Running(running) = std::mem::replace(&mut self.state, next) {
            self.finish(*running, connect, result);
        }
    }

    fn finish(&mut self, running: Running, connect: Option<String>, result: Result<(), Failure>) {
        self.events.push_back(Event::Done(Done {
            id: running.id,
            command: running.command.line,
            lines: running.lines,
            truncated: running.truncated,
            connect,
            result,
        }));
    }

    fn finish_unsent(&mut self, id: CommandId, command: Command, failure: Failure) {
        self.events.push_back(Event::Done(Done {
            id,
            command: command.line,
            lines: Vec::new(),
            truncated: false,
            connect: None,
            result: Err(failure),
        }));
    }

    /// Queues an event that may be thrown away when too many wait; the end of a command may not.
    fn tell(&mut self, event: Event) {
        if self.events.len() < MOST_EVENTS {
            self.events.push_back(event);
        } else {
            self.lost = self.lost.saturating_add(1);
        }
    }
}

impl Running {
    /// Returns whether `line` can be part of the answer.
    fn expects(&self, line: &str) -> bool {
        let Some(found) = values::name(line) else {
            return !BARE_UNSOLICITED.contains(&line);
        };
        let names = &self.command.names;
        let asked = names.iter().any(|name| name.eq_ignore_ascii_case(found));
        // The answer to a basic command may carry any name, as `+GCAP` in that to `ATI`.
        let basic = names
            .iter()
            .all(|name| !name.starts_with(|first: char| first.is_ascii_punctuation()));
        asked
            || basic
                && !UNSOLICITED_NAMES
                    .iter()
                    .any(|name| name.eq_ignore_ascii_case(found))
    }

    fn is_text_echo(&self, line: &str) -> bool {
        self.text_sent
            && self
                .command
                .text
                .as_deref()
                .is_some_and(|text| line.trim_matches([CTRL_Z as char, '>', ' ']) == text.trim())
    }

    fn keep(&mut self, line: &str) {
        if self.bytes + line.len() > LONGEST_ANSWER || self.lines.len() == MOST_LINES {
            self.truncated = true;
            return;
        }
        self.bytes += line.len();
        self.lines.push(line.to_owned());
    }
}

/// Returns whether a line cannot be part of a text that has begun: a result code that is known to come by
/// itself, or the final result of a command that runs.
fn begins_anew(line: &str, runs: bool) -> bool {
    let unsolicited = |name: &str| {
        let mut known = UNSOLICITED_NAMES.iter();
        known.any(|one| one.eq_ignore_ascii_case(name))
    };
    values::name(line).is_some_and(unsolicited) || runs && final_result(line, false).is_some()
}

/// Parses a final result, with the text that followed `CONNECT`. Results of calls end a command only if
/// it makes one.
fn final_result(line: &str, dials: bool) -> Option<(Result<(), Failure>, Option<String>)> {
    let failure = match line {
        "OK" => return Some((Ok(()), None)),
        "ERROR" => Failure::Error,
        "COMMAND NOT SUPPORT" => Failure::NotSupported,
        "TOO MANY PARAMETERS" => Failure::TooManyParameters,
        "NO CARRIER" if dials => Failure::NoCarrier,
        "BUSY" if dials => Failure::Busy,
        "NO ANSWER" if dials => Failure::NoAnswer,
        "NO DIALTONE" | "NO DIAL TONE" if dials => Failure::NoDialtone,
        _ => {
            if let Some(rate) = line.strip_prefix("CONNECT")
                && dials
            {
                return Some((Ok(()), Some(rate.trim().to_owned())));
            }
            if let Some(code) = line.strip_prefix("+CME ERROR:") {
                Failure::Cme(Cme(Code::parse(code)))
            } else {
                Failure::Cms(Cms(Code::parse(line.strip_prefix("+CMS ERROR:")?)))
            }
        }
    };
    Some((Err(failure), None))
}
