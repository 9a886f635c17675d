//! The parts of AT lines, scrubbed by what their commands mean ([`super::rules`]).

use super::identities::{Identities, Kind};
use super::pdu;
use super::report::Report;
use super::rules::{self, Argument, Rule};
use super::syntax::{
    basic_name, blank, command_start, extended_name, hexadecimal, is_basic, is_prefix,
    later_command, separator, trimmed, ucs2, unquoted,
};

/// Largest number of commands of a line that are remembered until they are answered.
const MOST_COMMANDS: usize = 16;
/// Least number of digits that are taken for a person's number wherever they stand.
pub const NUMBER: usize = 11;
/// Least number of digits that are taken for an IMEI in the answer with a version.
const LONG_NUMBER: usize = 14;

/// States of messages in text mode (3GPP TS 27.005, 3.1).
const STATES: [&str; 5] = ["REC UNREAD", "REC READ", "STO UNSENT", "STO SENT", "ALL"];

/// Scrubs the parts of a line, and counts the replacements.
pub struct Scrub<'a> {
    pub identities: &'a mut Identities,
    pub report: &'a mut Report,
}

impl Scrub<'_> {
    /// Returns the offset of the text that follows AT, and scrubs the text in front of AT.
    pub fn command_at(&mut self, bytes: &mut [u8]) -> Option<usize> {
        if let Some(start) = command_start(bytes) {
            return Some(start);
        }
        let at = later_command(bytes)?;
        self.unknown(&mut bytes[..at], "characters in front of AT commands");
        Some(at + 2)
    }

    /// Scrubs a command line from behind its AT and returns the names of its commands, with a `=`
    /// behind those that set something.
    pub fn commands(&mut self, line: &mut [u8]) -> Vec<String> {
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
        // `*99#` and its kin ask for a data connection.
        let service = number.ends_with(b"#") && number.iter().all(|byte| b"*#T91".contains(byte));
        if !service {
            self.replace(Kind::Telephone, number);
        }
    }

    pub fn arguments(&mut self, bytes: &mut [u8], kinds: &[Argument]) {
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

    /// Replaces text, also where it is written as the hexadecimal digits of UCS-2.
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

    /// Replaces an address: dotted IPv4, dotted IPv4 with a mask behind it, or IPv6 in either form.
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

    /// Scrubs a line of a message: a PDU, UCS-2 in hexadecimal digits, or text. `announced` is the
    /// length in octets of the PDU that is due, without the message centre's address.
    pub fn body(&mut self, bytes: &mut [u8], announced: Option<usize>) {
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
    pub fn bare(&mut self, bytes: &mut [u8], asked: &[String]) {
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
            // Sentences of a satellite receiver give a position (NMEA 0183).
            let version = kinds.find(|kind| *kind == Argument::Version);
            version.filter(|_| !bytes.starts_with(b"$"))
        };
        match known {
            Some(kind) => self.argument(bytes, false, kind),
            None => self.unknown(bytes, "AT lines that answer no known command"),
        }
    }

    /// Replaces addresses and long numbers in text that identifies nobody otherwise.
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

    pub fn unknown(&mut self, bytes: &mut [u8], what: &str) {
        if bytes.iter().any(u8::is_ascii_alphanumeric) {
            blank(bytes);
            self.report.blanked(what, 1);
        }
    }
}
