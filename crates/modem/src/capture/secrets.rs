//! Blanks PINs, PUKs and passwords in transfers that are captured.
//!
//! In MBIM they are fields of commands and answers, found by their layouts; in AT they are the
//! arguments of a few commands, in the command line and in its echo. Lengths stay as they are.

use std::collections::VecDeque;

use uwwan_at::commands::PASSWORD_COMMANDS;
use uwwan_mbim::decode::personal_content;
use uwwan_mbim::message::{FRAGMENT_HEADER, HEADER};
use uwwan_mbim::registry::Version;

/// Character that stands for each one that is blanked.
const BLANK: u8 = b'*';
/// Largest number of fragmented messages in each direction whose later fragments are blanked.
const MOST_MESSAGES: usize = 16;
/// Length of the part of an AT line in which a command's name is looked for, in bytes.
const LONGEST_NAME: usize = 32;
/// Command that dials, and the number of its arguments in front of user and password.
const DIAL: (&str, usize) = ("^NDISDUP", 3);
/// Largest number of endpoints that are followed.
const MOST_ENDPOINTS: usize = 64;

/// Blanks the secrets of one capture.
#[derive(Debug, Default)]
pub(super) struct Blanker {
    /// Types and transaction ids of the messages whose further fragments may hold a secret.
    messages: VecDeque<(u32, u32)>,
    lines: VecDeque<Line>,
}

/// The AT line under way on an endpoint.
#[derive(Debug)]
struct Line {
    device: (u16, u8),
    endpoint: u8,
    /// The last bytes of the line, in upper case.
    tail: VecDeque<u8>,
    /// Whether the arguments that follow are secret.
    secret: bool,
    /// Number of arguments that are still to come in front of the secret ones.
    open: usize,
}

impl Blanker {
    /// Blanks the secrets in a control message, or in a fragment of one.
    pub fn message(&mut self, message: &mut [u8]) {
        let word = |at: usize| {
            let bytes = message.get(at..at + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let (Some(kind), Some(transaction)) = (word(0), word(8)) else {
            return;
        };
        let (total, current) = (word(HEADER).unwrap_or(1), word(HEADER + 4).unwrap_or(0));
        let key = (kind, transaction);
        if current > 0 {
            if self.messages.contains(&key) {
                blank(message.get_mut(FRAGMENT_HEADER..).unwrap_or_default());
                if current + 1 >= total {
                    self.messages.retain(|known| *known != key);
                }
            }
            return;
        }
        // The version in force is not known here: the message may be of any version that decodes it
        // whole.
        let read: Vec<_> = [Version::V1, Version::V2, Version::V3]
            .into_iter()
            .filter_map(|version| personal_content(message, version))
            .collect();
        if !read.iter().any(|content| content.has_secrets) {
            return;
        }
        if total > 1 {
            if self.messages.len() == MOST_MESSAGES {
                self.messages.pop_front();
            }
            self.messages.push_back(key);
        }
        if total > 1 || !read.iter().any(|content| content.complete) {
            // A secret may be anywhere behind the fixed fields.
            let variable = read.iter().map(|content| content.variable).min();
            let rest = variable.and_then(|variable| message.get_mut(variable..));
            blank(rest.unwrap_or_default());
            return;
        }
        let complete = read.iter().filter(|content| content.complete);
        for part in complete.flat_map(|content| &content.parts) {
            if part.is_secret() {
                blank_text(message.get_mut(part.range.clone()).unwrap_or_default());
            }
        }
    }

    /// Blanks the secrets in the transfers of a bulk endpoint that carries no NTBs.
    pub fn serial(&mut self, device: (u16, u8), endpoint: u8, bytes: &mut [u8]) {
        let found = self
            .lines
            .iter()
            .position(|line| line.device == device && line.endpoint == endpoint);
        let at = found.unwrap_or_else(|| {
            if self.lines.len() == MOST_ENDPOINTS {
                self.lines.pop_front();
            }
            self.lines.push_back(Line {
                device,
                endpoint,
                tail: VecDeque::new(),
                secret: false,
                open: 0,
            });
            self.lines.len() - 1
        });
        if let Some(line) = self.lines.get_mut(at) {
            bytes.iter_mut().for_each(|byte| line.pass(byte));
        }
    }
}

impl Line {
    fn pass(&mut self, byte: &mut u8) {
        if matches!(*byte, b'\r' | b'\n') {
            self.tail.clear();
            self.secret = false;
            return;
        }
        if self.secret {
            match *byte {
                b',' => self.open = self.open.saturating_sub(1),
                b'"' => {}
                // A semicolon ends the command's arguments, and another command may follow.
                b';' if self.open > 0 => self.open = 0,
                _ if self.open == 0 => *byte = BLANK,
                _ => {}
            }
            return;
        }
        // Spaces are ignored between a command's characters (V.250, 5.2.2).
        if *byte == b' ' {
            return;
        }
        if self.tail.len() == LONGEST_NAME {
            self.tail.pop_front();
        }
        self.tail.push_back(byte.to_ascii_uppercase());
        if *byte == b'=' {
            let line: Vec<u8> = self.tail.iter().copied().collect();
            let name = &line[..line.len() - 1];
            let (dial, open) = DIAL;
            let dials = name.ends_with(dial.as_bytes());
            self.open = if dials { open } else { 0 };
            self.secret = dials
                || PASSWORD_COMMANDS
                    .iter()
                    .any(|command| name.ends_with(command.as_bytes()));
        }
    }
}

/// Blanks UTF-16LE text.
fn blank_text(bytes: &mut [u8]) {
    for unit in bytes.chunks_mut(2) {
        unit.fill(0);
        unit[0] = BLANK;
    }
}

fn blank(bytes: &mut [u8]) {
    bytes.fill(0);
}

#[cfg(test)]
mod tests {
    use uwwan_mbim::message::{Body, CommandKind, Message};
    use uwwan_mbim::services::basic_connect as bc;

    use super::*;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    fn holds(bytes: &[u8], text: &str) -> bool {
        let wanted = utf16(text);
        bytes.windows(wanted.len()).any(|window| window == wanted)
    }

    fn connect() -> Message {
        let content = bc::ConnectSet {
            access_string: "internet".to_owned(),
            user_name: "someone".to_owned(),
            password: "open sesame".to_owned(),
            ..bc::ConnectSet::default()
        };
        Message {
            transaction: 5,
            body: Body::Command {
                service: bc::UUID,
                cid: bc::CONNECT.cid,
                kind: CommandKind::SET,
                info: content.encode(),
            },
        }
    }

    #[test]
    fn passwords_go_and_the_rest_stays() {
        let mut message = connect().encode_whole();
        let before = message.clone();
        assert!(holds(&message, "sesame"));
        Blanker::default().message(&mut message);
        assert!(!holds(&message, "sesame") && holds(&message, "***********"));
        assert!(holds(&message, "internet") && holds(&message, "someone"));
        assert_eq!(message.len(), before.len());
    }

    #[test]
    fn fragments_hide_no_password() {
        let parts = connect().encode(64);
        assert!(parts.len() > 2);
        let mut blanker = Blanker::default();
        let mut all = Vec::new();
        for mut part in parts {
            blanker.message(&mut part);
            all.extend(part);
        }
        for character in "sesame".chars() {
            let wanted = utf16(&character.to_string());
            let there = all.chunks(2).filter(|unit| *unit == wanted).count();
            assert_eq!(there, 0, "{character}");
        }
        assert!(blanker.messages.is_empty());
    }

    #[test]
    fn a_message_that_is_cut_short_hides_no_password() {
        let whole = connect().encode_whole();
        for length in 0..whole.len() {
            let mut cut = whole[..length].to_vec();
            Blanker::default().message(&mut cut);
            assert!(!holds(&cut, "open"), "{length}");
        }
    }

    #[test]
    fn at_arguments_go_however_they_are_cut() {
        let sent = b"AT+CPIN=\"1234\",\"5678\"\rAT+CGMI\rat + cpin = 1234\rAT+CMEE=1;+CLCK=\"SC\",1,\"1234\"\rAT+CPIN?\r";
        for size in [1, 3, sent.len()] {
            let mut blanker = Blanker::default();
            let mut seen = Vec::new();
            for piece in sent.chunks(size) {
                let mut piece = piece.to_vec();
                blanker.serial((1, 2), 1, &mut piece);
                seen.extend(piece);
            }
            let seen = String::from_utf8(seen).unwrap();
            assert!(!seen.contains("1234") && !seen.contains("5678"), "{seen}");
            assert!(
                seen.contains("AT+CGMI\r") && seen.contains("+CPIN?"),
                "{seen}"
            );
            assert!(
                seen.contains("AT+CMEE=1;+CLCK=\"**\",*,\"****\"\r"),
                "{seen}"
            );
        }
    }

    #[test]
    fn the_login_of_a_call_goes_and_its_access_point_stays() {
        for (sent, wanted) in [
            (
                "AT^NDISDUP=1,1,\"net\",\"me\",\"pass;word\",2\r",
                "AT^NDISDUP=1,1,\"net\",\"**\",\"*********\",*\r",
            ),
            ("AT^NDISDUP=1,1,\"net\"\r", "AT^NDISDUP=1,1,\"net\"\r"),
            ("AT^NDISDUP=1,0;+CPIN=1234\r", "AT^NDISDUP=1,0;**********\r"),
        ] {
            let mut bytes = sent.as_bytes().to_vec();
            Blanker::default().serial((1, 2), 1, &mut bytes);
            assert_eq!(String::from_utf8(bytes).unwrap(), wanted);
        }
    }
}
