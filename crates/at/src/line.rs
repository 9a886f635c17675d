//! The device's side: bytes from the host become command lines, command lines become commands.
//!
//! ```
//! use uwwan_at::line::{Action, Assembler, Input};
//!
//! let mut assembler = Assembler::new();
//! assembler.push(b"AT+COPS=3,0;+COPS?\r");
//! assert_eq!(assembler.take_echo(), b"AT+COPS=3,0;+COPS?\r");
//! let Some(Input::Commands(commands)) = assembler.next() else { panic!() };
//! assert_eq!(commands[0].name, "+COPS");
//! assert_eq!(commands[0].action, Action::Set("3,0".to_owned()));
//! assert_eq!(commands[1].action, Action::Read);
//! ```

use std::collections::VecDeque;

/// Longest command line in bytes.
const LONGEST_LINE: usize = 2048;
/// Longest text after a prompt in bytes: the longest PDU in hexadecimal fits several times.
const LONGEST_TEXT: usize = 4096;
/// Most inputs kept for a firmware that does not take them.
const MOST_WAITING: usize = 64;

const BACKSPACE: u8 = 0x08;
const LINE_FEED: u8 = b'\n';
const CARRIAGE_RETURN: u8 = b'\r';
/// Ends the text after a prompt (TS 27.005, 3.5.1: Ctrl-Z).
const SUBSTITUTE: u8 = 0x1a;
/// Abandons the text after a prompt.
const ESCAPE: u8 = 0x1b;

/// One command of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// In capitals: `+CGDCONT`, `^HCSQ`, `E`, `&F`, `S0`, `D`. Empty for a bare `AT`.
    pub name: String,
    /// What is asked of the command.
    pub action: Action,
}

/// What is asked of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing more, or a basic command's number (`E1`), or what follows a `D`.
    Run(String),
    /// `?`
    Read,
    /// `=?`
    Test,
    /// `=` and what follows it.
    Set(String),
}

/// What the host said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A command line.
    Commands(Vec<Command>),
    /// A line that starts with `AT` and makes no sense, or is too long: the answer is `ERROR`.
    Invalid,
    /// Text asked for with [`Assembler::expect_text`].
    Text(String),
    /// The host abandoned the text.
    TextAbandoned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Line,
    Text,
}

/// Collects bytes into command lines, echoes them, and keeps what is not yet taken.
#[derive(Debug)]
pub struct Assembler {
    mode: Mode,
    buffer: Vec<u8>,
    too_long: bool,
    echo: bool,
    echoed: Vec<u8>,
    last: Vec<u8>,
    waiting: VecDeque<Input>,
    lost: u64,
}

impl Default for Assembler {
    fn default() -> Self {
        Self::new()
    }
}

impl Assembler {
    /// Makes an assembler with echo on, as after power-up (`E1`).
    #[must_use]
    pub fn new() -> Self {
        Self {
            mode: Mode::Line,
            buffer: Vec::new(),
            too_long: false,
            echo: true,
            echoed: Vec::new(),
            last: Vec::new(),
            waiting: VecDeque::new(),
            lost: 0,
        }
    }

    /// Switches the echo (`E0`, `E1`).
    pub fn set_echo(&mut self, on: bool) {
        self.echo = on;
    }

    /// Tells whether the echo is on.
    #[must_use]
    pub fn echo(&self) -> bool {
        self.echo
    }

    /// Takes what follows as text up to Ctrl-Z or ESC, after a `> ` prompt was sent.
    pub fn expect_text(&mut self) {
        self.mode = Mode::Text;
        self.buffer.clear();
        self.too_long = false;
    }

    /// Takes bytes from the host.
    pub fn push(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().copied() {
            // The echo is bounded like everything else: a host that does not read gets less.
            if self.echo && self.echoed.len() < 2 * LONGEST_TEXT {
                self.echoed.push(byte);
            }
            match self.mode {
                Mode::Line => self.line_byte(byte),
                Mode::Text => self.text_byte(byte),
            }
        }
    }

    /// Returns the echo to send back before any answer.
    #[must_use]
    pub fn take_echo(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.echoed)
    }

    /// Returns the oldest input that was not taken. Named as an iterator's, but there may be more after `None`.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Input> {
        self.waiting.pop_front()
    }

    /// Returns the number of inputs thrown away because nobody took them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn line_byte(&mut self, byte: u8) {
        match byte {
            CARRIAGE_RETURN => {
                let line = std::mem::take(&mut self.buffer);
                let too_long = std::mem::take(&mut self.too_long);
                self.line(line, too_long);
            }
            LINE_FEED => {}
            BACKSPACE => {
                self.buffer.pop();
            }
            b'/' if self.buffer.eq_ignore_ascii_case(b"A") => {
                // V.250, 5.2.4: repeats the last line, without waiting for its end.
                self.buffer.clear();
                self.line(self.last.clone(), false);
            }
            _ if self.buffer.len() == LONGEST_LINE => self.too_long = true,
            _ => self.buffer.push(byte),
        }
    }

    fn text_byte(&mut self, byte: u8) {
        match byte {
            SUBSTITUTE => {
                self.mode = Mode::Line;
                let text = std::mem::take(&mut self.buffer);
                let input = if std::mem::take(&mut self.too_long) {
                    Input::Invalid
                } else {
                    Input::Text(String::from_utf8_lossy(&text).into_owned())
                };
                self.keep(input);
            }
            ESCAPE => {
                self.mode = Mode::Line;
                self.buffer.clear();
                self.too_long = false;
                self.keep(Input::TextAbandoned);
            }
            BACKSPACE => {
                self.buffer.pop();
            }
            _ if self.buffer.len() == LONGEST_TEXT => self.too_long = true,
            _ => self.buffer.push(byte),
        }
    }

    fn line(&mut self, line: Vec<u8>, too_long: bool) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        // Noise without the prefix is ignored (V.250, 5.2.1).
        let Some(body) = strip_prefix(text, "AT") else {
            return;
        };
        let input = match split(body) {
            Some(commands) if !too_long => Input::Commands(commands),
            _ => Input::Invalid,
        };
        self.last = line;
        self.keep(input);
    }

    fn keep(&mut self, input: Input) {
        if self.waiting.len() == MOST_WAITING {
            self.lost = self.lost.saturating_add(1);
        } else {
            self.waiting.push_back(input);
        }
    }
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

/// Splits what follows `AT` into commands (V.250, 5.2.2 and 5.4). `None` when it cannot be read.
///
/// Extended commands end at a semicolon outside quotes; basic commands follow each other without
/// one, with or without spaces: `Q0 V1 E1 S0=0`.
#[must_use]
pub fn split(body: &str) -> Option<Vec<Command>> {
    let mut commands = Vec::new();
    let mut rest = body.trim_start();
    while let Some(first) = rest.chars().next() {
        let (command, tail) = match first {
            ';' => {
                rest = rest[1..].trim_start();
                continue;
            }
            '+' | '^' | '*' | '%' | '$' | '#' => extended(rest)?,
            _ => basic(rest)?,
        };
        commands.push(command);
        rest = tail.trim_start();
    }
    if commands.is_empty() {
        commands.push(Command {
            name: String::new(),
            action: Action::Run(String::new()),
        });
    }
    Some(commands)
}

/// `+NAME`, `+NAME?`, `+NAME=?`, `+NAME=…`, up to a semicolon outside quotes.
fn extended(text: &str) -> Option<(Command, &str)> {
    let mut quoted = false;
    let end = text
        .char_indices()
        .find(|(_, character)| {
            quoted ^= *character == '"';
            *character == ';' && !quoted
        })
        .map_or(text.len(), |(at, _)| at);
    let (command, tail) = text.split_at(end);
    let command = command.trim_end();
    let (name, action) = match command.split_once('=') {
        Some((name, "?")) => (name, Action::Test),
        Some((name, values)) => (name, Action::Set(values.trim_start().to_owned())),
        None => match command.strip_suffix('?') {
            Some(name) => (name, Action::Read),
            None => (command, Action::Run(String::new())),
        },
    };
    let name = name.trim_end();
    let well_formed = name.len() > 1
        && name[1..]
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "!%-./:_".contains(character));
    well_formed.then(|| {
        (
            Command {
                name: name.to_ascii_uppercase(),
                action,
            },
            tail,
        )
    })
}

/// `E1`, `&F`, `S0=1`, `S0?`, `I`, and `D…`, which takes the rest of the line.
fn basic(text: &str) -> Option<(Command, &str)> {
    let letter_at = usize::from(text.starts_with('&'));
    let letter = text[letter_at..].chars().next()?;
    if !letter.is_ascii_alphabetic() {
        return None;
    }
    let mut name = text[..=letter_at].to_ascii_uppercase();
    let rest = &text[letter_at + 1..];
    if name == "D" {
        let action = Action::Run(rest.trim().to_owned());
        return Some((Command { name, action }, ""));
    }
    let digits = |text: &str| {
        text.find(|character: char| !character.is_ascii_digit())
            .unwrap_or(text.len())
    };
    let (number, rest) = rest.split_at(digits(rest));
    let (action, rest) = if name == "S" {
        name.push_str(number);
        match rest.strip_prefix('=') {
            Some(value) => {
                let (value, rest) = value.split_at(digits(value));
                (Action::Set(value.to_owned()), rest)
            }
            None => (Action::Read, rest.strip_prefix('?')?),
        }
    } else if let Some(rest) = rest.strip_prefix('?') {
        (Action::Read, rest)
    } else {
        (Action::Run(number.to_owned()), rest)
    };
    Some((Command { name, action }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, argument: &str) -> Command {
        Command {
            name: name.to_owned(),
            action: Action::Run(argument.to_owned()),
        }
    }

    fn set(name: &str, values: &str) -> Command {
        Command {
            name: name.to_owned(),
            action: Action::Set(values.to_owned()),
        }
    }

    fn lines(bytes: &[u8]) -> Vec<Input> {
        let mut assembler = Assembler::new();
        assembler.push(bytes);
        std::iter::from_fn(|| assembler.next()).collect()
    }

    fn commands(line: &str) -> Vec<Command> {
        match &lines(format!("{line}\r").as_bytes())[..] {
            [Input::Commands(commands)] => commands.clone(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn lines_seen_at_this_modem() {
        assert_eq!(commands("AT"), [run("", "")]);
        assert_eq!(commands("ATZ"), [run("Z", "")]);
        assert_eq!(commands("ati"), [run("I", "")]);
        assert_eq!(
            commands("ATQ0 V1 E1 S0=0"),
            [run("Q", "0"), run("V", "1"), run("E", "1"), set("S0", "0")]
        );
        assert_eq!(commands("ATE0Q0V1"), commands("ATE0 Q0 V1"));
        assert_eq!(commands("ATD*99#"), [run("D", "*99#")]);
        assert_eq!(
            commands("AT+CGDCONT=1,\"IP\",\"internet.t-mobile\""),
            [set("+CGDCONT", "1,\"IP\",\"internet.t-mobile\"")]
        );
        assert_eq!(
            commands("AT^PLMNLIST=1,\"99999\",\"24201\""),
            [set("^PLMNLIST", "1,\"99999\",\"24201\"")]
        );
        assert_eq!(commands("AT^IPV6CAP=?")[0].action, Action::Test);
        assert_eq!(commands("AT^IPV6CAP?")[0].action, Action::Read);
        let names: Vec<_> = commands("AT+COPS=3,0;+COPS?;+COPS=3,2;+COPS?")
            .into_iter()
            .map(|command| command.action)
            .collect();
        assert_eq!(
            names,
            [
                Action::Set("3,0".to_owned()),
                Action::Read,
                Action::Set("3,2".to_owned()),
                Action::Read
            ]
        );
    }

    #[test]
    fn semicolons_in_quotes_separate_nothing() {
        assert_eq!(
            commands("AT^SETPORT=\"A1,A2;12,10,16,A1,A2\";+CSQ"),
            [set("^SETPORT", "\"A1,A2;12,10,16,A1,A2\""), run("+CSQ", "")]
        );
    }

    #[test]
    fn basic_and_extended_on_one_line() {
        assert_eq!(
            commands("ATE0+CMEE=1;&F;S0?"),
            [
                run("E", "0"),
                set("+CMEE", "1"),
                run("&F", ""),
                Command {
                    name: "S0".to_owned(),
                    action: Action::Read
                }
            ]
        );
    }

    #[test]
    fn split_packets_line_feeds_and_corrections() {
        let mut assembler = Assembler::new();
        for piece in ["A", "T+C", "SX\x08Q", "\r", "\nAT\r\n"] {
            assembler.push(piece.as_bytes());
        }
        assert_eq!(
            assembler.next(),
            Some(Input::Commands(vec![run("+CSQ", "")]))
        );
        assert_eq!(assembler.next(), Some(Input::Commands(vec![run("", "")])));
        assert_eq!(assembler.next(), None);
        assert_eq!(assembler.take_echo(), b"AT+CSX\x08Q\r\nAT\r\n");
    }

    #[test]
    fn the_echo_can_be_switched() {
        let mut assembler = Assembler::new();
        assembler.push(b"ATE0\r");
        assembler.set_echo(false);
        assembler.push(b"AT+CSQ\r");
        assert_eq!(assembler.take_echo(), b"ATE0\r");
        assert_eq!(assembler.take_echo(), b"");
    }

    #[test]
    fn noise_is_ignored_and_nonsense_is_an_error() {
        assert_eq!(lines(b"\r\r\nhello\rATM\x00\r"), [Input::Invalid]);
        for line in ["AT+", "AT+\"", "AT=1", "ATS0", "AT&", "AT+A B", "AT\u{e9}"] {
            let input = lines(format!("{line}\r").as_bytes());
            assert_eq!(input, [Input::Invalid], "{line}");
        }
    }

    #[test]
    fn the_last_line_again() {
        assert_eq!(lines(b"A/"), [], "there is none");
        let twice = lines(b"AT+CSQ\ra/");
        assert_eq!(twice.len(), 2);
        assert_eq!(twice[0], twice[1]);
    }

    #[test]
    fn text_after_a_prompt() {
        let mut assembler = Assembler::new();
        assembler.push(b"AT+CMGS=23\r");
        assert!(matches!(assembler.next(), Some(Input::Commands(_))));
        assembler.expect_text();
        assembler.push(b"0001000B9");
        assembler.push(b"1\x1aAT\r");
        assert_eq!(assembler.next(), Some(Input::Text("0001000B91".to_owned())));
        assert!(matches!(assembler.next(), Some(Input::Commands(_))));
        assembler.expect_text();
        assembler.push(b"no\x1b");
        assert_eq!(assembler.next(), Some(Input::TextAbandoned));
    }

    #[test]
    fn floods_cost_bounded_memory() {
        let mut assembler = Assembler::new();
        for _ in 0..100 {
            assembler.push(&[b'A'; 1000]);
        }
        assembler.push(b"\r");
        assert_eq!(assembler.next(), None, "no AT, no answer");
        let long = format!("AT+X={}\r", "1".repeat(10_000));
        assembler.push(long.as_bytes());
        assert_eq!(assembler.next(), Some(Input::Invalid));
        for _ in 0..1000 {
            assembler.push(b"AT\r");
        }
        assert_eq!(std::iter::from_fn(|| assembler.next()).count(), 64);
        assert_eq!(assembler.lost(), 1000 - 64);
        assert!(assembler.take_echo().len() <= 2 * LONGEST_TEXT);
    }
}
