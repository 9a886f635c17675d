//! Entries of a capture as text and as JSON.

use serde_json::Value;
use uwwan_mbim::decode::{Decoded, decode};
use uwwan_mbim::message::MessageType;
use uwwan_mbim::print::{HIDDEN, Personal, hex};
use uwwan_mbim::registry::Version;
use uwwan_ncm::{DropCounters, Limits, Ntb};
use uwwan_usb::notifications::{self, Notification};

use super::entry::{Entry, What};
use super::form;
use crate::commands::at::shown;
use crate::failure::Failure;
use crate::output::{plain, rounded, say, say_json};

/// Number of bytes shown of content that is not understood.
const SHOWN: usize = 32;

/// The form in which entries are printed.
#[derive(Debug, Clone, Copy)]
pub struct Teller {
    /// Whether they are printed as JSON, one object a line.
    pub json: bool,
    /// Version of the Microsoft extensions in force.
    pub version: Version,
    /// Whether identities of persons are shown.
    pub personal: Personal,
}

/// Returns seconds since `start`, both in nanoseconds.
fn seconds(time: u64, start: u64) -> f64 {
    rounded((time as f64 - start as f64) / 1e9, 6)
}

impl Teller {
    /// Prints a message field by field.
    ///
    /// # Errors
    /// Those of standard output.
    pub fn message(&self, entry: &Entry, message: &Decoded, start: u64) -> Result<(), Failure> {
        if self.json {
            return say_json(&self.shown(entry, start));
        }
        say(format!("{} {}", place(entry, start), after(entry)).trim_end())?;
        say(message.text(self.personal).trim_end())
    }

    /// Prints a message field by field, and anything else on one line.
    ///
    /// # Errors
    /// Those of standard output.
    pub fn message_or_line(&self, entry: &Entry, start: u64) -> Result<(), Failure> {
        match &entry.what {
            What::Message { bytes, .. } => self.message(entry, &decode(bytes, self.version), start),
            _ => self.line(entry, start),
        }
    }

    /// Prints an entry on one line.
    ///
    /// # Errors
    /// Those of standard output.
    pub fn line(&self, entry: &Entry, start: u64) -> Result<(), Failure> {
        if self.json {
            return say_json(&self.shown(entry, start));
        }
        let text = format!(
            "{}  {} {}",
            place(entry, start),
            self.summary(entry),
            after(entry)
        );
        say(text.trim_end())
    }

    /// Returns the content of an entry on one line, without its time.
    pub fn summary(&self, entry: &Entry) -> String {
        match &entry.what {
            What::Message { bytes, .. } => {
                let message = decode(bytes, self.version);
                let told = message.json(self.personal);
                let mut text = format!("mbim     {}", word(&told["type"]));
                for field in ["service", "cid", "command_type", "status"] {
                    if !told[field].is_null() {
                        text.push(' ');
                        text.push_str(&word(&told[field]));
                    }
                }
                if message.kind != Some(MessageType::INDICATE_STATUS)
                    && let Some(id) = message.transaction_id
                {
                    text.push_str(&format!(" #{id}"));
                }
                if !message.errors.is_empty() {
                    text.push_str(&format!(", {} faults", message.errors.len()));
                }
                plain(&text)
            }
            What::Ntb { bytes, length } => match ntb(bytes) {
                Ok((format, sequence, datagrams, dropped)) => format!(
                    "ntb      NTB{format}, sequence {sequence}, {length} bytes, {datagrams} datagrams{}",
                    if dropped > 0 {
                        format!(", {dropped} faulty")
                    } else {
                        String::new()
                    }
                ),
                Err(why) => format!("ntb      {length} bytes: {why}"),
            },
            What::Serial { endpoint, bytes } => match text(bytes) {
                Some(text) => format!("at       {:02x} {}", endpoint, plain(&self.spoken(&text))),
                None => format!(
                    "bulk     {:02x} {} bytes {}",
                    endpoint,
                    bytes.len(),
                    start_of(bytes)
                ),
            },
            What::Control {
                setup,
                bytes,
                status,
            } => {
                let ended = match status {
                    Some(0) => String::new(),
                    Some(status) => format!(", error {status}"),
                    None => ", no end".to_owned(),
                };
                format!("control  {} {}{ended}", request(*setup), start_of(bytes))
            }
            What::Notification { bytes } => {
                match notifications::Reader::default().push(bytes).first() {
                    Some(Notification::ResponseAvailable) => {
                        "interrupt an answer is ready".to_owned()
                    }
                    Some(other) => format!("interrupt {other:?}"),
                    None => format!("interrupt {}", start_of(bytes)),
                }
            }
        }
    }

    /// Returns AT text in the form in which it may be shown.
    fn spoken(&self, text: &str) -> String {
        match self.personal {
            Personal::Show => text.to_owned(),
            Personal::Hide => shown(text),
        }
    }

    /// Returns the JSON of an entry.
    pub fn shown(&self, entry: &Entry, start: u64) -> form::Shown {
        form::Shown {
            packet: entry.packet,
            time: seconds(entry.time, start),
            direction: if entry.out { "out" } else { "in" },
            content: self.content(entry),
        }
    }

    fn content(&self, entry: &Entry) -> form::Content {
        match &entry.what {
            What::Message {
                bytes,
                fragments,
                answers,
            } => {
                let after = answers.map(|(_, after)| after as f64);
                form::Content::Mbim {
                    fragments: *fragments,
                    answers: answers.map(|(packet, _)| packet),
                    after_seconds: after.map(|after| rounded(after / 1e9, 6)),
                    after_ms: after.map(|after| rounded(after / 1e6, 3)),
                    message: decode(bytes, self.version).json(self.personal),
                }
            }
            What::Ntb { bytes, length } => {
                let (read, error) = match ntb(bytes) {
                    Ok((format, sequence, datagrams, dropped)) => (
                        Some(form::Read {
                            format,
                            sequence,
                            datagrams,
                            dropped,
                        }),
                        None,
                    ),
                    Err(why) => (None, Some(why)),
                };
                form::Content::Ntb {
                    length: *length,
                    captured: bytes.len(),
                    read,
                    error,
                }
            }
            What::Serial { endpoint, bytes } => form::Content::At {
                endpoint: *endpoint,
                text: text(bytes).map(|text| self.spoken(&text)),
                data: match self.personal {
                    Personal::Show => hex(bytes),
                    Personal::Hide => HIDDEN.to_owned(),
                },
            },
            What::Control {
                setup,
                bytes,
                status,
            } => form::Content::Control {
                request: request(*setup),
                setup: hex(setup),
                data: hex(bytes),
                status: *status,
            },
            What::Notification { bytes } => form::Content::Interrupt { data: hex(bytes) },
        }
    }
}

fn place(entry: &Entry, start: u64) -> String {
    let way = if entry.out { '>' } else { '<' };
    format!(
        "{:>6} {:>12.6} {way}",
        entry.packet,
        seconds(entry.time, start)
    )
}

fn after(entry: &Entry) -> String {
    match &entry.what {
        What::Message {
            answers: Some((packet, after)),
            ..
        } => format!("(answers {packet} after {:.3} ms)", *after as f64 / 1e6),
        _ => String::new(),
    }
}

/// Returns format, sequence number, number of datagrams and number of faulty datagrams of an NTB.
fn ntb(bytes: &[u8]) -> Result<(u8, u16, usize, u64), String> {
    let limits = Limits {
        max_ntb: bytes.len(),
        max_datagrams: usize::from(u16::MAX),
        ..Limits::default()
    };
    let ntb = Ntb::parse(bytes, &limits).map_err(|error| error.to_string())?;
    let mut drops = DropCounters::default();
    let datagrams = ntb.datagrams(&mut drops).count();
    let dropped = drops.iter().map(|(_, count)| count).sum();
    Ok((ntb.format().bits(), ntb.sequence(), datagrams, dropped))
}

/// Returns bytes as text, if they are text.
fn text(bytes: &[u8]) -> Option<String> {
    let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t' | 0x1a);
    let lines = |text: &str| {
        let lines = text.split(['\r', '\n']).map(str::trim);
        lines
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join(" | ")
    };
    bytes
        .iter()
        .all(printable)
        .then(|| lines(&String::from_utf8_lossy(bytes)))
}

fn start_of(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    format!("{}{more}", hex(&bytes[..bytes.len().min(SHOWN)]))
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns the name of a control request with its parameters (USB 2.0, table 9-4; NCM 1.0, table 6-2).
fn request(setup: [u8; 8]) -> String {
    let value = u16::from_le_bytes([setup[2], setup[3]]);
    let index = u16::from_le_bytes([setup[4], setup[5]]);
    let name = match (setup[0] & 0x7f, setup[1]) {
        (0x00..=0x1f, 0) => "GET_STATUS",
        (0x00..=0x1f, 1) => "CLEAR_FEATURE",
        (0x00..=0x1f, 3) => "SET_FEATURE",
        (0x00..=0x1f, 5) => "SET_ADDRESS",
        (0x00..=0x1f, 6) => "GET_DESCRIPTOR",
        (0x00..=0x1f, 8) => "GET_CONFIGURATION",
        (0x00..=0x1f, 9) => "SET_CONFIGURATION",
        (0x00..=0x1f, 10) => "GET_INTERFACE",
        (0x00..=0x1f, 11) => "SET_INTERFACE",
        (0x21, 0x00) => "SEND_ENCAPSULATED_COMMAND",
        (0x21, 0x01) => "GET_ENCAPSULATED_RESPONSE",
        (0x21, 0x05) => "RESET_FUNCTION",
        (0x21, 0x22) => "SET_CONTROL_LINE_STATE",
        (0x21, 0x43) => "SET_ETHERNET_PACKET_FILTER",
        (0x21, 0x80) => "GET_NTB_PARAMETERS",
        (0x21, 0x83) => "GET_NTB_FORMAT",
        (0x21, 0x84) => "SET_NTB_FORMAT",
        (0x21, 0x85) => "GET_NTB_INPUT_SIZE",
        (0x21, 0x86) => "SET_NTB_INPUT_SIZE",
        (0x21, 0x87) => "GET_MAX_DATAGRAM_SIZE",
        (0x21, 0x88) => "SET_MAX_DATAGRAM_SIZE",
        (0x21, 0x89) => "GET_CRC_MODE",
        (0x21, 0x8a) => "SET_CRC_MODE",
        (kind, number) => {
            let kind = match kind & 0x60 {
                0x00 => "standard",
                0x20 => "class",
                0x40 => "vendor",
                _ => "reserved",
            };
            return format!("{kind} request {number:#04x} value {value:#06x} index {index}");
        }
    };
    format!("{name} value {value:#06x} index {index}")
}
