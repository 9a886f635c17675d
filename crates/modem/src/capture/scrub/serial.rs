//! AT dialogues: lines are put together from the transfers they come in, and each line is scrubbed by the
//! meaning of its command ([`super::rules`]).

use std::collections::HashMap;

use super::identities::Identities;
use super::line::{NUMBER, Scrub};
use super::report::Report;
use super::rules;
use super::syntax::{LONGEST, blanked, command_start, is_known_command, last_number, named};

/// Largest number of endpoints that are followed.
const MOST_ENDPOINTS: usize = 256;

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

/// Origin of a byte of a line: the number of the packet, and the offset in its data.
type Place = (u64, usize);

/// The dialogues of a capture.
#[derive(Debug, Default)]
pub struct Dialogues {
    lines: HashMap<Endpoint, Line>,
    /// Commands sent last to each device.
    sent: HashMap<(u16, u8), Vec<String>>,
}

/// The line under way on an endpoint.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// Commands that the echo has repeated.
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

/// Scrubs a piece of an AT dialogue that a tunnelled command carries.
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
    // Text that begins with AT is a command, and is understood in either direction.
    dialogues.push((0, 0, 0x80), 0, bytes, (identities, report), &mut change);
    dialogues.finish(identities, report, &mut change);
    bytes.copy_from_slice(&text);
}

/// Returns whether all bytes are characters of an AT dialogue.
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
            // The line is the prompt with the echo of the text that is entered.
            scrub.body(&mut bytes[2..], self.announced);
            return;
        }
        let echo = if self.state != State::Body {
            scrub.command_at(bytes)
        } else if is_known_command(bytes) {
            command_start(bytes)
        } else {
            // The text of a message may begin with these letters, too.
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
                // Lines from here on answer none of the earlier commands.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes text in pieces of `size` bytes, and returns the scrubbed text with the report.
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
        // The PDU is entered and read back. Number and text are those of an example of 3GPP TS
        // 23.040.
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
        // The message is in text mode.
        let (sent, heard) = both(
            "AT+CMGS=\"+4790002100\"\rSee you at 9\x1a",
            "+CMT: \"+4790002100\",,\"26/11/30,12:00:00+04\"\r\nSee you at 9\r\n+CSQ: 21,99\r\n",
        );
        assert_eq!(sent, "AT+CMGS=\"+9990000001\"\rxxx xxx xx 0\x1a");
        assert_eq!(
            heard,
            "+CMT: \"+9990000001\",,\"00/00/00,00:00:00+00\"\r\nxxx xxx xx 0\r\n+CSQ: 21,99\r\n"
        );
        // The message is in UCS-2.
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
