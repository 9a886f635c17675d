//! The content of the message store, in the form in which people read it.

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::gsm::coding::from_ucs2;
use uwwan_mbim::gsm::joined::{Joined, join};
use uwwan_mbim::gsm::{Body, Message, MessageKind};
use uwwan_mbim::print::{escape, hex};
use uwwan_mbim::services::sms::{ReadInfo, SmsCdmaEncoding, SmsCdmaReadRecord, SmsStatus};

use crate::page::{Page, trimmed};

/// Number of characters of a text that `list` shows.
const PREVIEW: usize = 60;

/// A message with its indexes in the store.
#[derive(Debug, Clone, PartialEq)]
pub enum Stored {
    /// A message in the GSM form, with the index and the status of each part.
    Gsm(Joined<(u32, SmsStatus)>),
    /// A message in the CDMA form.
    Cdma(SmsCdmaReadRecord),
    /// A message that cannot be read.
    Broken {
        /// Index of the message in the store.
        index: u32,
        /// Status of the message.
        status: SmsStatus,
        /// Reason why the message cannot be read.
        why: String,
        /// Bytes of the message.
        bytes: Vec<u8>,
    },
}

/// Returns the messages of an answer, with the parts of long ones put together, in the order of
/// their lowest indexes.
pub fn messages(read: &ReadInfo) -> Vec<Stored> {
    let mut whole = Vec::new();
    let mut stored: Vec<Stored> = read
        .cdma_messages
        .iter()
        .cloned()
        .map(Stored::Cdma)
        .collect();
    for record in &read.pdu_messages {
        match Message::decode(&record.pdu_data) {
            Ok(message) => whole.push(((record.message_index, record.message_status), message)),
            Err(error) => stored.push(Stored::Broken {
                index: record.message_index,
                status: record.message_status,
                why: error.to_string(),
                bytes: record.pdu_data.clone(),
            }),
        }
    }
    stored.extend(join(whole).into_iter().map(Stored::Gsm));
    stored.sort_by_key(|message| message.indexes().into_iter().min());
    stored
}

impl Stored {
    /// Returns the indexes of the message's parts.
    pub fn indexes(&self) -> Vec<u32> {
        match self {
            Self::Gsm(joined) => joined.keys.iter().map(|(index, _)| *index).collect(),
            Self::Cdma(record) => vec![record.message_index],
            Self::Broken { index, .. } => vec![*index],
        }
    }

    fn status(&self) -> SmsStatus {
        match self {
            Self::Gsm(joined) => joined.keys[0].1,
            Self::Cdma(record) => record.message_status,
            Self::Broken { status, .. } => *status,
        }
    }

    fn peer(&self) -> &str {
        match self {
            Self::Gsm(joined) => joined.first.peer.text(),
            Self::Cdma(record) => trimmed(&record.address),
            Self::Broken { .. } => "",
        }
    }

    fn time(&self) -> Option<String> {
        match self {
            Self::Gsm(joined) => joined.first.time.map(|time| time.to_string()),
            Self::Cdma(record) => Some(trimmed(&record.timestamp).to_owned()),
            Self::Broken { .. } => None,
        }
        .filter(|time| !time.is_empty())
    }

    fn text(&self) -> Option<String> {
        match self {
            Self::Gsm(joined) => joined.text.clone(),
            Self::Cdma(record) => cdma_text(record),
            Self::Broken { .. } => None,
        }
    }

    /// Returns the bytes of a message that is no text.
    fn data(&self) -> Option<&[u8]> {
        match self {
            Self::Gsm(joined) => match &joined.first.body {
                Body::Text(_) => None,
                Body::Data(data) | Body::Compressed(data) => Some(data),
            },
            Self::Cdma(record) if cdma_text(record).is_none() => Some(&record.encoded_message),
            Self::Cdma(_) => None,
            Self::Broken { bytes, .. } => Some(bytes),
        }
    }

    fn report(&self) -> Option<(u8, &'static str)> {
        match self {
            Self::Gsm(joined) if joined.first.kind == MessageKind::StatusReport => {
                let status = joined.first.status.unwrap_or(u8::MAX);
                // The ranges are those of TP-Status (3GPP TS 23.040 section 9.2.3.15).
                Some((
                    status,
                    match status {
                        0..32 => "delivered",
                        32..64 => "not delivered yet",
                        _ => "not delivered",
                    },
                ))
            }
            _ => None,
        }
    }

    /// Returns the first index of the message, and the number of its further parts, as in `4+2`.
    pub fn number(&self) -> String {
        let indexes = self.indexes();
        match &indexes[..] {
            [one] => one.to_string(),
            [first, rest @ ..] => format!("{first}+{}", rest.len()),
            [] => String::new(),
        }
    }

    /// Returns the text of the message, or a description of its content.
    fn gist(&self) -> String {
        if let Self::Broken { why, .. } = self {
            return format!("(cannot be read: {why})");
        }
        if let Some((_, words)) = self.report() {
            return format!("(report: {words})");
        }
        self.text().unwrap_or_else(|| {
            let count = self.data().map_or(0, <[u8]>::len);
            format!("({count} bytes of data)")
        })
    }

    /// Returns the message as one line of a list.
    pub fn line(&self) -> String {
        let gist = self.gist().replace(['\r', '\n'], " ");
        let mut short: String = gist.chars().take(PREVIEW).collect();
        if short.len() < gist.len() {
            short.push('…');
        }
        let time = self.time().unwrap_or_default();
        format!(
            "{:<5} {time:<25} {:<16} {short}",
            self.status().to_string(),
            self.peer()
        )
    }

    /// Returns the header lines that stand above the text of the message.
    pub fn page(&self) -> Page {
        let mut page = Page::default();
        let indexes: Vec<String> = self.indexes().iter().map(ToString::to_string).collect();
        page.row("message", indexes.join(", "));
        page.row("status", self.status().to_string());
        let label = match self.status() {
            SmsStatus::SENT | SmsStatus::DRAFT => "to",
            _ if self.report().is_some() => "report on",
            _ => "from",
        };
        page.row(label, self.peer());
        page.row("time", self.time().unwrap_or_default());
        if let Self::Gsm(joined) = self {
            let there = joined.keys.len();
            if there < joined.total {
                page.row(
                    "parts",
                    format!("{there} of {}, the rest is missing", joined.total),
                );
            }
            if joined.first.class == Some(0) {
                page.row("class", "0, to be shown at once");
            }
            if joined.first.foreign_table {
                page.row(
                    "note",
                    "a national alphabet is asked for; some letters may be others",
                );
            }
        }
        page
    }

    /// Returns the text in its own lines, escaped. A message without text gives its bytes in
    /// hexadecimal.
    pub fn full_text(&self) -> Vec<String> {
        match (self.text(), self.data()) {
            (Some(text), _) if self.report().is_none() => text
                .lines()
                .map(|line| escape(line.trim_end_matches('\r')))
                .collect(),
            (_, Some(data)) => vec![escape(&self.gist()), hex(data)],
            _ => vec![escape(&self.gist())],
        }
    }

    /// Returns the form of the message in JSON.
    pub fn shown(&self) -> Shown {
        let (kind, parts) = match self {
            Self::Gsm(joined) => (joined.first.kind.name(), joined.total),
            Self::Cdma(_) => ("cdma", 1),
            Self::Broken { .. } => ("unreadable", 1),
        };
        let error = match self {
            Self::Broken { why, .. } => Some(why.to_string()),
            _ => None,
        };
        Shown {
            indexes: self.indexes(),
            parts,
            status: self.status().to_string(),
            kind,
            peer: self.peer().to_owned(),
            time: self.time(),
            text: self.text(),
            data: self.data().map(hex),
            report: self.report().map(|(code, meaning)| Report {
                code: code.into(),
                meaning: meaning.to_string(),
            }),
            error,
        }
    }
}

/// A stored message, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// Indexes of the message's parts in the store.
    pub indexes: Vec<u32>,
    /// Number of parts that the message has in all.
    pub parts: usize,
    /// Whether it was read, sent and so on.
    pub status: String,
    /// Kind of the message.
    pub kind: &'static str,
    /// Number of the sender or the recipient.
    pub peer: String,
    /// Time that the message gives.
    pub time: Option<String>,
    /// Text; null when the message has none.
    pub text: Option<String>,
    /// Content that is no text, in hexadecimal.
    pub data: Option<String>,
    /// State of the delivery in a report.
    pub report: Option<Report>,
    /// Reason why the message cannot be read.
    pub error: Option<String>,
}

/// Report on the delivery of a message (3GPP TS 23.040, 9.2.3.15).
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report {
    /// Code.
    pub code: u32,
    /// Meaning of the code.
    pub meaning: String,
}

/// Returns the text of a CDMA message, where its coding is plain (3GPP2 C.R1001, table 9.1-1).
fn cdma_text(record: &SmsCdmaReadRecord) -> Option<String> {
    let bytes = &record.encoded_message;
    let characters = record.encoded_message_size_in_characters as usize;
    match record.encoding {
        SmsCdmaEncoding::UNICODE => Some(from_ucs2(bytes)),
        SmsCdmaEncoding::_7BIT_ASCII | SmsCdmaEncoding::LA5 | SmsCdmaEncoding::LATIN
            if bytes.len() == characters =>
        {
            Some(bytes.iter().map(|byte| char::from(*byte)).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_mbim::services::sms::SmsPduReadRecord;

    fn record(index: u32, hex: &str) -> SmsPduReadRecord {
        SmsPduReadRecord {
            message_index: index,
            message_status: SmsStatus::OLD,
            pdu_data: crate::hex::from_hex(hex.as_bytes()).unwrap(),
        }
    }

    #[test]
    fn every_message_is_shown_whatever_it_is() {
        let read = ReadInfo {
            pdu_messages: vec![
                record(
                    9,
                    "07912143658709f1040b918100551512f20000111010214365000ae8329bfd4697d9ec37",
                ),
                record(
                    2,
                    "07912143658709f1040b918100551512f20004111010214365000ae8329bfd4697d9ec37de",
                ),
                record(
                    3,
                    "07914356060013F1065A098136397339F7219011700463802190117004638000",
                ),
                record(u32::MAX, "ff"),
                record(5, "0000"),
            ],
            cdma_messages: vec![SmsCdmaReadRecord {
                message_index: 4,
                address: "5551212\u{1b}".into(),
                encoding: SmsCdmaEncoding::UNICODE,
                encoded_message: vec![0, b'h', 0, b'i'],
                ..SmsCdmaReadRecord::default()
            }],
            ..ReadInfo::default()
        };
        let stored = messages(&read);
        let lines: Vec<String> = stored.iter().map(Stored::line).collect();
        let indexes: Vec<u32> = stored.iter().map(|message| message.indexes()[0]).collect();
        assert_eq!(indexes, [2, 3, 4, 5, 9, u32::MAX]);
        assert!(lines[0].contains("10 bytes of data"), "{}", lines[0]);
        assert!(lines[1].contains("report: delivered"), "{}", lines[1]);
        assert!(lines[2].ends_with("hi"), "{}", lines[2]);
        assert!(lines[3].contains("cannot be read"), "{}", lines[3]);
        assert!(lines[4].contains("+18005551212") && lines[4].ends_with("hellohello"));
        for message in &stored {
            assert!(!message.shown().indexes.is_empty());
            let all = [message.page().text(), message.full_text()]
                .concat()
                .join("");
            assert!(!all.contains('\u{1b}'), "{all:?}");
        }
        assert_eq!(stored[4].shown().text.as_deref(), Some("hellohello"));
        assert_eq!(stored[1].shown().report.unwrap().meaning, "delivered");
    }
}
