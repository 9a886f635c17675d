//! AT dialogues: lines are put together from the transfers they come in, and each is scrubbed by what its
//! command means ([`super::rules`]).

use std::collections::HashMap;
use std::ops::Range;

use super::identities::{Identities, Kind};
use super::pdu;
use super::report::Report;
use super::rules::{self, Argument, Rule};

/// Length of the longest line in bytes. A longer one is blanked in pieces.
const LONGEST: usize = 8192;
/// Largest number of endpoints that are followed.
const MOST_ENDPOINTS: usize = 256;
/// Largest number of commands of a line that are remembered until they are answered.
const MOST_COMMANDS: usize = 16;
/// Least number of digits that are taken for somebody's number wherever they stand.
const NUMBER: usize = 11;
/// Least number of digits that are taken for an IMEI in what tells a version.
const LONG_NUMBER: usize = 14;

/// States of messages in text mode (3GPP TS 27.005, 3.1).
const STATES: [&str; 5] = ["REC UNREAD", "REC READ", "STO UNSENT", "STO SENT", "ALL"];
/// Final results and indications without a name.
const RESULTS: [&str; 12] = [
    "OK",
    "ERROR",
    "CONNECT",
    "RING",
    "NO CARRIER",
    "NO ANSWER",
    "NO DIALTONE",
    "BUSY",
    "ABORTED",
    "COMMAND NOT SUPPORT",
    "TOO MANY PARAMETERS",
    "PROCEEDING",
];

/// Device and endpoint.
pub type Endpoint = (u16, u8, u8);

/// Where a byte of a line came from.
type Place = (u64, usize);

/// The dialogues of a capture.
#[derive(Debug, Default)]
pub struct Dialogues {
    lines: HashMap<Endpoint, Line>,
    /// Commands sent last to each device.
    sent: HashMap<(u16, u8), Vec<String>>,
}

/// The line that passes an endpoint.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// Commands that the echo tells of.
    echoed: Vec<String>,
    state: State,
    /// Length in octets of the PDU that is due, without the message centre's address.
    announced: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Lines,
    /// A message is entered, up to Ctrl-Z or Escape.
    Entry,
    /// Lines without a name are a message.
    Body,
}

/// Bytes of packets that change, by packet and offset.
pub type Changes<'a> = &'a mut dyn FnMut(u64, usize, u8);

impl Dialogues {
    /// Takes the text that a transfer carries, which packet number `packet` holds, and calls `change` for
    /// each byte of a whole line.
    pub fn push(
        &mut self,
        endpoint: Endpoint,
        packet: u64,
        bytes: &[u8],
        context: (&mut Identities, &mut Report),
        change: Changes<'_>,
    ) {
        if self.lines.len() >= MOST_ENDPOINTS && !self.lines.contains_key(&endpoint) {
            for (offset, byte) in bytes.iter().enumerate() {
                change(packet, offset, blanked(*byte));
            }
            context.1.blanked("text of too many endpoints", 1);
            return;
        }
        let (identities, report) = context;
        let line = self.lines.entry(endpoint).or_default();
        let sent = self.sent.entry((endpoint.0, endpoint.1)).or_default();
        let out = endpoint.2 & 0x80 == 0;
        for (offset, byte) in bytes.iter().enumerate() {
            let ends = matches!(byte, b'\r' | b'\n' | 0x1a | 0x1b);
            if ends {
                line.end(out, sent, identities, report, change);
                if matches!(byte, 0x1a | 0x1b) && line.state == State::Entry {
                    line.state = State::Lines;
                }
                continue;
            }
            line.bytes.push(*byte);
            line.places.push((packet, offset));
            if line.bytes.len() >= LONGEST {
                report.blanked("lines that are too long", 1);
                for (byte, (packet, offset)) in line.bytes.drain(..).zip(line.places.drain(..)) {
                    change(packet, offset, blanked(byte));
                }
            }
        }
    }

    /// Scrubs the lines that have no end.
    pub fn finish(
        &mut self,
        identities: &mut Identities,
        report: &mut Report,
        change: Changes<'_>,
    ) {
        let mut left: Vec<_> = std::mem::take(&mut self.lines).into_iter().collect();
        left.sort_unstable_by_key(|(endpoint, _)| *endpoint);
        for (endpoint, mut line) in left {
            let sent = self.sent.entry((endpoint.0, endpoint.1)).or_default();
            line.end(endpoint.2 & 0x80 == 0, sent, identities, report, change);
        }
    }
}

/// Scrubs a piece of an AT dialogue that stands alone, of a tunnel.
pub fn alone(bytes: &mut [u8], identities: &mut Identities, report: &mut Report) {
    if !is_text(bytes) {
        if !bytes.is_empty() {
            bytes.fill(0);
            report.blanked("tunnelled bytes that are no text", 1);
        }
        return;
    }
    let mut text = bytes.to_vec();
    let mut dialogues = Dialogues::default();
    let mut change = |_: u64, offset: usize, byte: u8| text[offset] = byte;
    // What is sent begins with AT and is understood in either direction.
    dialogues.push((0, 0, 0x80), 0, bytes, (identities, report), &mut change);
    dialogues.finish(identities, report, &mut change);
    bytes.copy_from_slice(&text);
}

/// Returns whether all bytes are text as AT speaks it.
pub fn is_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t' | 0x1a | 0x1b | 0))
}

impl Line {
    fn end(
        &mut self,
        out: bool,
        sent: &mut Vec<String>,
        identities: &mut Identities,
        report: &mut Report,
        change: Changes<'_>,
    ) {
        if self.bytes.is_empty() {
            return;
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut scrub = Scrub { identities, report };
        if out {
            self.sent(&mut bytes, sent, &mut scrub);
        } else {
            self.heard(&mut bytes, sent, &mut scrub);
        }
        for (byte, (packet, offset)) in bytes.into_iter().zip(self.places.drain(..)) {
            change(packet, offset, byte);
        }
    }

    fn sent(&mut self, bytes: &mut [u8], sent: &mut Vec<String>, scrub: &mut Scrub<'_>) {
        // After a refusal no message is entered, and commands go on.
        if self.state == State::Entry && !is_known_command(bytes) {
            scrub.body(bytes, self.announced);
            return;
        }
        match scrub.command_at(bytes) {
            Some(start) => {
                self.announced = last_number(bytes);
                *sent = scrub.commands(&mut bytes[start..]);
                self.state = if enters(sent) {
                    State::Entry
                } else {
                    State::Lines
                };
            }
            None => scrub.unknown(bytes, "lines sent that are no AT command"),
        }
    }

    fn heard(&mut self, bytes: &mut [u8], sent: &mut Vec<String>, scrub: &mut Scrub<'_>) {
        if bytes.starts_with(b"> ") {
            // The prompt, and the echo of what is entered.
            scrub.body(&mut bytes[2..], self.announced);
            return;
        }
        let echo = if self.state != State::Body {
            scrub.command_at(bytes)
        } else if is_known_command(bytes) {
            command_start(bytes)
        } else {
            // A message may begin with these letters, too.
            None
        };
        if let Some(start) = echo {
            self.announced = last_number(bytes);
            self.echoed = scrub.commands(&mut bytes[start..]);
            self.state = State::Lines;
            return;
        }
        let text = String::from_utf8_lossy(bytes).trim().to_ascii_uppercase();
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_result = RESULTS.contains(&&text[..])
            || text
                .strip_prefix("CONNECT ")
                .is_some_and(|rate| rate.len() < NUMBER && number(rate))
            // Final results in numbers (ATV0).
            || text.len() <= 2 && number(&text);
        if is_result && self.state != State::Body || matches!(&text[..], "OK" | "ERROR") {
            self.state = State::Lines;
            if text != "RING" {
                // What comes now answers nothing that was asked before.
                self.echoed.clear();
                sent.clear();
            }
            return;
        }
        if let Some((name, arguments)) = named(bytes) {
            let rule = rules::of(&name);
            let is_answer = name.starts_with(|first: char| first.is_ascii_punctuation());
            if rule.is_some() || is_answer && self.state != State::Body {
                self.state = match rule {
                    Some(rule) if rule.has_body => State::Body,
                    _ => State::Lines,
                };
                self.announced = last_number(bytes);
                match rule {
                    Some(rule) => scrub.arguments(&mut bytes[arguments], rule.answered),
                    None => {
                        let what = format!("AT answers of {name}");
                        scrub.unknown(&mut bytes[arguments], &what);
                    }
                }
                return;
            }
        }
        if self.state == State::Body {
            scrub.body(bytes, self.announced);
            return;
        }
        let asked = if self.echoed.is_empty() {
            sent
        } else {
            &self.echoed
        };
        scrub.bare(bytes, asked);
    }
}

/// Returns whether commands ask for a message to be entered.
fn enters(commands: &[String]) -> bool {
    let entering = |name: &String| matches!(&name[..], "+CMGS=" | "+CMGW=" | "+CMGC=");
    commands.iter().any(entering)
}

/// Returns where what follows AT begins, at the start of a line. Spaces count for nothing (V.250, 5.2.2).
fn command_start(bytes: &[u8]) -> Option<usize> {
    let solid = |byte: &(usize, &u8)| !matches!(byte.1, b' ' | 0);
    let mut letters = bytes.iter().enumerate().filter(solid);
    let (_, first) = letters.next()?;
    let (at, second) = letters.next()?;
    (first.eq_ignore_ascii_case(&b'a') && second.eq_ignore_ascii_case(&b't')).then_some(at + 1)
}

/// Returns where an AT begins that something else stands in front of, which modems skip.
fn later_command(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(3)
        .position(|three| three[..2].eq_ignore_ascii_case(b"at") && is_prefix(three[2]))
}

/// Returns whether the name of an extended command may begin so.
fn is_prefix(byte: u8) -> bool {
    matches!(byte, b'+' | b'^' | b'$' | b'%' | b'*' | b'#' | b'!' | b'@')
}

/// Returns the name that an answer begins with, in capitals, and where its arguments are.
fn named(bytes: &[u8]) -> Option<(String, Range<usize>)> {
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&bytes[..colon]).ok()?.trim();
    let well_formed = (1..=24).contains(&name.len())
        && name.bytes().enumerate().all(|(place, byte)| {
            byte.is_ascii_alphanumeric()
                || byte == b' '
                || byte == b'_'
                || place == 0 && byte.is_ascii_punctuation() && byte != b'>' && byte != b'"'
        });
    well_formed.then(|| (name.to_ascii_uppercase(), colon + 1..bytes.len()))
}

/// Returns whether a line is an extended command that is known.
fn is_known_command(bytes: &[u8]) -> bool {
    let Some(start) = command_start(bytes) else {
        return false;
    };
    bytes.get(start).is_some_and(u8::is_ascii_punctuation)
        && rules::of(&extended_name(bytes, start).0).is_some()
}

/// Returns the number that a line ends with, behind `=`, `:` or a comma.
fn last_number(bytes: &[u8]) -> Option<usize> {
    let start = bytes
        .iter()
        .rposition(|byte| matches!(byte, b'=' | b':' | b','))?;
    let text = std::str::from_utf8(&bytes[start + 1..]).ok()?;
    text.trim().parse().ok().filter(|length| *length < LONGEST)
}

struct Scrub<'a> {
    identities: &'a mut Identities,
    report: &'a mut Report,
}

impl Scrub<'_> {
    /// Returns where what follows AT begins, with what stands in front of it scrubbed.
    fn command_at(&mut self, bytes: &mut [u8]) -> Option<usize> {
        if let Some(start) = command_start(bytes) {
            return Some(start);
        }
        let at = later_command(bytes)?;
        self.unknown(&mut bytes[..at], "characters in front of AT commands");
        Some(at + 2)
    }

    /// Scrubs a command line behind its AT and returns the names of its commands, with a `=` behind
    /// those that set something.
    fn commands(&mut self, line: &mut [u8]) -> Vec<String> {
        let mut names = Vec::new();
        let mut at = 0;
        while at < line.len() {
            let first = line[at];
            if matches!(first, b' ' | b';' | 0) {
                at += 1;
                continue;
            }
            let extended = is_prefix(first);
            let (name, end) = if extended {
                extended_name(line, at)
            } else {
                basic_name(line, at)
            };
            at = end;
            let stop = match (&name[..], extended) {
                ("D", _) => line.len(),
                (_, true) => at + unquoted(&line[at..], b';').unwrap_or(line.len() - at),
                _ => {
                    at + line[at..]
                        .iter()
                        .take_while(|byte| is_basic(**byte))
                        .count()
                }
            };
            let arguments = &mut line[at..stop];
            let sets = name != "D" && arguments.first() == Some(&b'=') && arguments != b"=?";
            let rule = rules::of(&name);
            match (&name[..], rule) {
                ("D", _) => self.dial(arguments),
                (_, Some(rule)) if sets => self.arguments(&mut arguments[1..], rule.sent),
                (_, None) if arguments.iter().any(u8::is_ascii_alphanumeric) => {
                    self.unknown(arguments, &format!("arguments of AT{name}"));
                }
                _ => {}
            }
            if names.len() < MOST_COMMANDS {
                names.push(if sets { name + "=" } else { name });
            }
            at = stop;
        }
        names
    }

    fn dial(&mut self, number: &mut [u8]) {
        // *99# and its kin ask for data.
        let service = number.ends_with(b"#") && number.iter().all(|byte| b"*#T91".contains(byte));
        if !service {
            self.replace(Kind::Telephone, number);
        }
    }

    fn arguments(&mut self, bytes: &mut [u8], kinds: &[Argument]) {
        let mut at = 0;
        let mut place = 0;
        while at <= bytes.len() {
            let stop = at + separator(&bytes[at..]).unwrap_or(bytes.len() - at);
            let argument = trimmed(bytes, at..stop);
            let quoted = argument.len() >= 2
                && bytes[argument.start] == b'"'
                && bytes[argument.end - 1] == b'"';
            let inner = if quoted {
                argument.start + 1..argument.end - 1
            } else {
                argument
            };
            self.argument(&mut bytes[inner], quoted, Rule::argument(kinds, place));
            place += 1;
            at = stop + 1;
        }
    }

    fn argument(&mut self, bytes: &mut [u8], quoted: bool, kind: Argument) {
        if bytes.is_empty() {
            return;
        }
        match kind {
            Argument::Plain => self.detected(bytes, NUMBER),
            Argument::Version => self.numbers(bytes, LONG_NUMBER),
            Argument::Cell if quoted => {
                blank(bytes);
                self.report.replaced(Kind::Place);
            }
            // Cell ids of some firmware stand without quotes, and are longer than states.
            Argument::Cell if bytes.len() > 2 => {
                blank(bytes);
                self.report.replaced(Kind::Place);
            }
            Argument::Cell => {}
            Argument::Device => self.replace(Kind::Device, bytes),
            Argument::Subscriber => self.replace(Kind::Subscriber, bytes),
            Argument::Card => self.replace(Kind::Card, bytes),
            Argument::Telephone if quoted || bytes.len() > 4 => {
                self.replace(Kind::Telephone, bytes);
            }
            Argument::Telephone => {}
            Argument::Name => self.replace(Kind::Name, bytes),
            Argument::Secret => {
                bytes.fill(b'*');
                self.report.replaced(Kind::Secret);
            }
            Argument::Address => self.address(bytes),
            Argument::AddressNumber => self.address_number(bytes),
            Argument::Envelope => self.envelope(bytes, quoted),
            Argument::Message => {
                blank(bytes);
                self.report.replaced(Kind::Message);
            }
            Argument::Blank => {
                blank(bytes);
                self.report.blanked("arguments of AT commands", 1);
            }
        }
    }

    /// Replaces text, also where it stands as hexadecimal digits of UCS-2.
    fn replace(&mut self, kind: Kind, bytes: &mut [u8]) {
        let replaced = match ucs2(bytes) {
            Some(mut units) => {
                let any = self.identities.text(kind, &mut units);
                let upper = bytes.iter().any(u8::is_ascii_uppercase);
                for (four, unit) in bytes.chunks_exact_mut(4).zip(units) {
                    let text = if upper {
                        format!("{unit:04X}")
                    } else {
                        format!("{unit:04x}")
                    };
                    four.copy_from_slice(text.as_bytes());
                }
                any
            }
            None => self.identities.ascii(kind, bytes),
        };
        if replaced {
            self.report.replaced(kind);
        }
    }

    /// Replaces an address: dotted, dotted with a mask behind it, or of IPv6 in either form.
    fn address(&mut self, bytes: &mut [u8]) {
        let dots: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'.').collect();
        match dots[..] {
            [_, _, _] => self.dotted(bytes),
            [_, _, _, end, _, _, _] => self.dotted(&mut bytes[..end]),
            _ if bytes.iter().filter(|byte| **byte == b':').count() >= 2 => {
                if self.identities.ipv6_text(bytes) {
                    self.report.replaced(Kind::Address);
                }
            }
            // IPv6 in decimal numbers (3GPP TS 27.007, 10.1.1).
            _ if dots.len() >= 15 => self.replace(Kind::Address, bytes),
            _ => self.detected(bytes, NUMBER),
        }
    }

    fn dotted(&mut self, bytes: &mut [u8]) {
        if self.identities.ipv4_text(bytes) {
            self.report.replaced(Kind::Address);
        }
    }

    fn address_number(&mut self, bytes: &mut [u8]) {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        match u32::from_str_radix(text, 16) {
            Ok(number) if bytes.len() == 8 => {
                let mut address = number.to_le_bytes();
                if self.identities.ipv4(&mut address) {
                    let new = format!("{:08X}", u32::from_le_bytes(address));
                    bytes.copy_from_slice(new.as_bytes());
                    self.report.replaced(Kind::Address);
                }
            }
            _ => blank(bytes),
        }
    }

    fn envelope(&mut self, bytes: &mut [u8], quoted: bool) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let number = |text: &str| {
            let mut digits = text
                .bytes()
                .filter(|byte| !matches!(byte, b'+' | b'*' | b'#'));
            !text.is_empty() && digits.all(|byte| byte.is_ascii_digit())
        };
        match quoted {
            _ if STATES.contains(&&text[..]) => {}
            false => self.detected(bytes, NUMBER),
            true if number(&text) || ucs2(bytes).is_some() => {
                self.replace(Kind::Telephone, bytes);
            }
            true => {
                blank(bytes);
                self.report.replaced(Kind::Message);
            }
        }
    }

    /// Scrubs a line of a message: a PDU, UCS-2 in hexadecimal digits, or text.
    /// `announced` is the length of the PDU that is due, without the message centre's address.
    fn body(&mut self, bytes: &mut [u8], announced: Option<usize>) {
        let line = trimmed(bytes, 0..bytes.len());
        let bytes = &mut bytes[line];
        if bytes.is_empty() {
            return;
        }
        self.report.replaced(Kind::Message);
        if let Some(mut octets) = hexadecimal(bytes)
            && let Some(centre) = octets.first()
            && Some(octets.len()) == announced.map(|length| length + 1 + usize::from(*centre))
        {
            let upper = !bytes.iter().any(u8::is_ascii_lowercase);
            if let Some(numbers) = pdu::scrub(&mut octets, self.identities) {
                self.report.replaced_often(Kind::Telephone, numbers);
                for (pair, octet) in bytes.chunks_exact_mut(2).zip(octets) {
                    let text = if upper {
                        format!("{octet:02X}")
                    } else {
                        format!("{octet:02x}")
                    };
                    pair.copy_from_slice(text.as_bytes());
                }
                return;
            }
        }
        blank(bytes);
    }

    /// Scrubs a line without a name, which answers one of the commands.
    fn bare(&mut self, bytes: &mut [u8], asked: &[String]) {
        let line = trimmed(bytes, 0..bytes.len());
        let bytes = &mut bytes[line];
        let digits = bytes.len() >= 10 && bytes.iter().all(u8::is_ascii_hexdigit);
        let mut kinds = asked
            .iter()
            .filter_map(|name| rules::of(name.trim_end_matches('=')))
            .map(|rule| Rule::argument(rule.answered, 0));
        let identity = |kind: &Argument| {
            matches!(
                kind,
                Argument::Device | Argument::Subscriber | Argument::Card
            )
        };
        let known = if digits {
            // IMEI and IMSI look alike; an ICCID is longer.
            let card = bytes.len() > 17;
            let mut fitting = kinds.filter(identity);
            fitting.find(|kind| (*kind == Argument::Card) == card)
        } else {
            // Sentences of a satellite receiver tell where somebody is (NMEA 0183).
            let version = kinds.find(|kind| *kind == Argument::Version);
            version.filter(|_| !bytes.starts_with(b"$"))
        };
        match known {
            Some(kind) => self.argument(bytes, false, kind),
            None => self.unknown(bytes, "AT lines that answer no known command"),
        }
    }

    /// Replaces addresses and long numbers in what says nothing of anybody otherwise.
    fn detected(&mut self, bytes: &mut [u8], least: usize) {
        if bytes.iter().filter(|byte| **byte == b'.').count() == 3 {
            self.dotted(bytes);
        }
        self.numbers(bytes, least);
    }

    fn numbers(&mut self, bytes: &mut [u8], least: usize) {
        let mut at = 0;
        while at < bytes.len() {
            let length = bytes[at..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            // Masks of bands are long and hexadecimal.
            let part = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            let inside = part(at.checked_sub(1).and_then(|before| bytes.get(before)))
                || part(bytes.get(at + length));
            if length >= least && !inside {
                self.replace(Kind::Device, &mut bytes[at..at + length]);
            }
            at += length.max(1);
        }
    }

    fn unknown(&mut self, bytes: &mut [u8], what: &str) {
        if bytes.iter().any(u8::is_ascii_alphanumeric) {
            blank(bytes);
            self.report.blanked(what, 1);
        }
    }
}

fn extended_name(line: &[u8], start: usize) -> (String, usize) {
    let length = line[start + 1..]
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b' '))
        .count();
    let end = start + 1 + length;
    let name = String::from_utf8_lossy(&line[start..end]);
    (name.replace(' ', "").to_ascii_uppercase(), end)
}

/// Reads a basic command's name (V.250, 5.3.1): a letter, with `&` or `\` in front or, for registers,
/// digits behind.
fn basic_name(line: &[u8], start: usize) -> (String, usize) {
    let mut end = start + 1;
    if matches!(line[start], b'&' | b'\\') {
        end = (end + 1).min(line.len());
    } else if line[start].eq_ignore_ascii_case(&b's') {
        end += line[end..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
    }
    let name = String::from_utf8_lossy(&line[start..end]);
    (name.to_ascii_uppercase(), end)
}

fn is_basic(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'=' | b'?')
}

/// Returns where a byte stands first outside quotes.
fn unquoted(bytes: &[u8], wanted: u8) -> Option<usize> {
    let mut quoted = false;
    bytes.iter().position(|byte| {
        quoted ^= *byte == b'"';
        *byte == wanted && !quoted
    })
}

/// Returns where the first argument ends, if another one follows. Brackets make no difference: what is
/// in them are ranges.
fn separator(bytes: &[u8]) -> Option<usize> {
    unquoted(bytes, b',')
}

fn trimmed(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | 0);
    let Range { mut start, mut end } = range;
    while start < end && is_blank(&bytes[start]) {
        start += 1;
    }
    while start < end && is_blank(&bytes[end - 1]) {
        end -= 1;
    }
    start..end
}

fn hexadecimal(bytes: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let octet = |pair: &[u8; 2]| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
    pairs.iter().map(octet).collect()
}

/// Returns the units that hexadecimal digits stand for, if they are text in UCS-2.
fn ucs2(bytes: &[u8]) -> Option<Vec<u16>> {
    if bytes.len() < 8 || !bytes.len().is_multiple_of(4) {
        return None;
    }
    let octets = hexadecimal(bytes)?;
    let units: Vec<u16> = octets
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_be_bytes(*pair))
        .collect();
    let is_text = |unit: &u16| {
        char::from_u32(u32::from(*unit))
            .is_some_and(|c| c.is_alphanumeric() || matches!(c, ' '..='~'))
    };
    // Digits alone are rather a number than letters of the far east.
    let latin = units.iter().any(|unit| *unit < 0x600);
    (latin && units.iter().all(is_text)).then_some(units)
}

fn blanked(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => b'0',
        b'a'..=b'z' | b'A'..=b'Z' => b'x',
        b' '..=b'~' | b'\t' => byte,
        _ => b'.',
    }
}

/// Blanks text: digits become 0, letters x, and of hexadecimal digits all become 0.
fn blank(bytes: &mut [u8]) {
    let hexadecimal = bytes.len() >= 4 && bytes.iter().all(u8::is_ascii_hexdigit);
    for byte in bytes {
        *byte = if hexadecimal { b'0' } else { blanked(*byte) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets text pass in pieces, and returns what becomes of it.
    fn passed(pieces: &[(u8, &str)], size: usize) -> (Vec<String>, Report) {
        let mut identities = Identities::default();
        let mut report = Report::default();
        let mut dialogues = Dialogues::default();
        let mut packets: Vec<Vec<u8>> = Vec::new();
        let mut starts = Vec::new();
        for (endpoint, text) in pieces {
            starts.push(packets.len());
            for piece in text.as_bytes().chunks(size) {
                packets.push(piece.to_vec());
                let packet = packets.len() as u64 - 1;
                dialogues.push(
                    (1, 2, *endpoint),
                    packet,
                    piece,
                    (&mut identities, &mut report),
                    &mut |packet, offset, byte| packets[packet as usize][offset] = byte,
                );
            }
        }
        dialogues.finish(&mut identities, &mut report, &mut |packet, offset, byte| {
            packets[packet as usize][offset] = byte;
        });
        starts.push(packets.len());
        let text = |pair: &[usize]| String::from_utf8(packets[pair[0]..pair[1]].concat()).unwrap();
        (starts.windows(2).map(text).collect(), report)
    }

    fn both(sent: &str, heard: &str) -> (String, String) {
        let whole = passed(&[(1, sent), (0x82, heard)], 4096);
        for size in [1, 3, 7] {
            assert_eq!(passed(&[(1, sent), (0x82, heard)], size), whole, "{size}");
        }
        let [sent, heard] = &whole.0[..] else {
            panic!()
        };
        (sent.clone(), heard.clone())
    }

    #[test]
    fn identities_go_by_what_was_asked() {
        let cases = [
            (
                "AT+CGSN\r",
                "\r\n353613048804622\r\n\r\nOK\r\n",
                "\r\n001017000000011\r\n\r\nOK\r\n",
            ),
            (
                "AT+CIMI\r",
                "AT+CIMI\r\r\n242010000000001\r\n",
                "AT+CIMI\r\r\n001010000000001\r\n",
            ),
            (
                "AT^ICCID?\r",
                "^ICCID: 89470000000000000014\r\n",
                "^ICCID: 89000000000000000012\r\n",
            ),
            (
                "ATI\r",
                "Manufacturer: HP\r\nModel: lt4132\r\nRevision: 11.617.13.00.00\r\nIMEI: 353613048804622\r\nOK\r\n",
                "Manufacturer: HP\r\nModel: lt4132\r\nRevision: 11.617.13.00.00\r\nIMEI: 001017000000011\r\nOK\r\n",
            ),
            (
                "AT+CGMR\r",
                "\r\n11.617.13.00.00\r\nOK\r\n",
                "\r\n11.617.13.00.00\r\nOK\r\n",
            ),
            (
                "AT+CNUM\r",
                "+CNUM: \"me\",\"+4790002100\",145\r\n",
                "+CNUM: \"ab\",\"+9990000001\",145\r\n",
            ),
            (
                "AT+CGPADDR=1\r",
                "+CGPADDR: 1,\"10.169.198.78\"\r\n",
                "+CGPADDR: 1,\"192.0.002.001\"\r\n",
            ),
            (
                "AT^DHCP?\r",
                "^DHCP: 4EC6A90A,FCFFFFFF,4DC6A90A,4DC6A90A,08080808,08080808,150000000,50000000\r\n",
                "^DHCP: 010200C0,FCFFFFFF,020200C0,020200C0,016433C6,016433C6,150000000,50000000\r\n",
            ),
            (
                "AT+CEREG?\r",
                "+CEREG: 2,1,\"8DA7\",\"01A2D101\",7\r\n",
                "+CEREG: 2,1,\"0000\",\"00000000\",7\r\n",
            ),
            (
                "AT+CPBR=1,99\r",
                "+CPBR: 1,\"+4790002100\",145,\"Alice\"\r\n",
                "+CPBR: 1,\"+9990000001\",145,\"Aaaab\"\r\n",
            ),
            (
                "AT^SYSCFGEX?\r",
                "^SYSCFGEX: \"00\",3FFFFFFF,1,2,7FFFFFFFFFFFFFFF\r\n",
                "^SYSCFGEX: \"00\",3FFFFFFF,1,2,7FFFFFFFFFFFFFFF\r\n",
            ),
            (
                "AT+COPS?\r",
                "+COPS: 0,0,\"Telenor\",7\r\n\r\nOK\r\n",
                "+COPS: 0,0,\"Telenor\",7\r\n\r\nOK\r\n",
            ),
            (
                "AT+NONE?\r",
                "+NONE: \"Al 5\",7\r\n",
                "+NONE: \"xx 0\",0\r\n",
            ),
            (
                "AT+CGMM\r",
                "$GPGGA,120000,5954.1,N\r\n",
                "$xxxxx,000000,0000.0,x\r\n",
            ),
        ];
        for (asked, answer, wanted) in cases {
            let (sent, heard) = both(asked, answer);
            assert_eq!((&sent[..], &heard[..]), (asked, wanted));
        }
    }

    #[test]
    fn what_is_sent_tells_nothing() {
        let cases = [
            ("AT+CPIN=\"1234\",\"5678\"\r", "AT+CPIN=\"****\",\"****\"\r"),
            ("at + cpin = 1234\r", "at + cpin = ****\r"),
            (
                "AT+CMEE=1;+CLCK=\"SC\",1,\"1234\"\r",
                "AT+CMEE=1;+CLCK=\"**\",*,\"****\"\r",
            ),
            (
                "AT+CPIN?\rATE0V1\rAT&F\rATS0=0\r",
                "AT+CPIN?\rATE0V1\rAT&F\rATS0=0\r",
            ),
            (
                "AT^NDISDUP=1,1,\"net\",\"me\",\"pass\",2\r",
                "AT^NDISDUP=1,1,\"net\",\"ab\",\"****\",2\r",
            ),
            ("ATD+4790002100;\r", "ATD+9990000001;\r"),
            ("ATD*99#\r", "ATD*99#\r"),
            ("Huaw LtdAT+CSQ\r", "xxxx xxxAT+CSQ\r"),
            ("AT+WHAT=\"me\",12\r", "AT+WHAT=\"xx\",00\r"),
        ];
        for (sent, wanted) in cases {
            assert_eq!(both(sent, "").0, wanted);
        }
    }

    #[test]
    fn messages_go_in_every_mode() {
        // PDU mode, entered and read back. Number and text of an example of 3GPP TS 23.040.
        let pdu = "07917409000099F0040A91749000120000005210203112358005C8329BFD06";
        let (sent, heard) = both(
            &format!("AT+CMGS=23\r{pdu}\x1aAT+CMGL=4\r"),
            &format!("\r\n> {pdu}\r\n+CMGS: 12\r\n\r\nOK\r\n+CMGL: 0,1,,23\r\n{pdu}\r\n\r\nOK\r\n"),
        );
        for text in [&sent, &heard] {
            assert!(
                !text.contains("749000") && !text.contains("C8329B"),
                "{text}"
            );
        }
        assert!(heard.contains("+CMGL: 0,1,,23\r\n0791"), "{heard}");
        assert!(heard.contains("+CMGS: 12\r\n\r\nOK"), "{heard}");
        // Text mode.
        let (sent, heard) = both(
            "AT+CMGS=\"+4790002100\"\rSee you at 9\x1a",
            "+CMT: \"+4790002100\",,\"26/11/30,12:00:00+04\"\r\nSee you at 9\r\n+CSQ: 21,99\r\n",
        );
        assert_eq!(sent, "AT+CMGS=\"+9990000001\"\rxxx xxx xx 0\x1a");
        assert_eq!(
            heard,
            "+CMT: \"+9990000001\",,\"00/00/00,00:00:00+00\"\r\nxxx xxx xx 0\r\n+CSQ: 21,99\r\n"
        );
        // UCS-2.
        let (_, heard) = both(
            "AT+CMGR=1\r",
            "+CMGR: \"REC READ\",\"002B0034003700390030003000300032003100300030\",,\"26/11/30\"\r\n00480065006C006C006F\r\nOK\r\n",
        );
        assert_eq!(
            heard,
            "+CMGR: \"REC READ\",\"002B0039003900390030003000300030003000300031\",,\"00/00/00\"\r\n00000000000000000000\r\nOK\r\n"
        );
    }

    #[test]
    fn a_tunnel_is_scrubbed_too() {
        let mut text = *b"AT+CPIN=1234\r";
        alone(
            &mut text,
            &mut Identities::default(),
            &mut Report::default(),
        );
        assert_eq!(&text, b"AT+CPIN=****\r");
        let mut bytes = *b"\x01\x00\x92";
        alone(
            &mut bytes,
            &mut Identities::default(),
            &mut Report::default(),
        );
        assert_eq!(bytes, [0; 3]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_taken(text in "[ -~\r\n\u{1a}]{0,200}", size in 1usize..50) {
            let (seen, _) = passed(&[(1, &text), (0x81, &text)], size);
            proptest::prop_assert_eq!(seen[0].len(), text.len());
            proptest::prop_assert_eq!(seen[1].len(), text.len());
        }
    }
}
