//! One vector: its entry in the file and everything that is checked about it.

use std::time::Instant;

use serde_json::{Map, Value as Json};
use uwwan_mbim::decode::{Content, Decoded, decode};
use uwwan_mbim::fields::{Reader, Record, Value, write};
use uwwan_mbim::fragment::Reassembler;
use uwwan_mbim::message::split;
use uwwan_mbim::message::{Body, Header, Message, MessageError, MessageType};
use uwwan_mbim::print::Personal;
use uwwan_mbim::registry::Version;

use crate::{asserts, printed};

/// An entry of the vector file.
#[derive(serde::Deserialize)]
pub struct Vector {
    pub name: String,
    kind: String,
    hex: String,
    expect: Expect,
}

/// Result that an entry expects.
#[derive(serde::Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Expect {
    header: Map<String, Json>,
    asserts: Option<Map<String, Json>>,
    byte_arrays: Option<Map<String, Json>>,
    mbimex_version: Option<String>,
    libmbim_decode: Option<Printed>,
    expect_error: Option<String>,
    max_fragment_size: Option<usize>,
}

/// Text that libmbim prints for the message.
#[derive(serde::Deserialize)]
struct Printed {
    valid: bool,
    #[serde(default)]
    fields: Vec<String>,
}

/// Returns all vectors.
pub fn all() -> Vec<Vector> {
    serde_json::from_str(include_str!("mbim-messages.json")).expect("vector file")
}

fn named(name: &str) -> Vector {
    all()
        .into_iter()
        .find(|vector| vector.name == name)
        .unwrap_or_else(|| panic!("no vector {name}"))
}

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex"))
        .collect()
}

/// Returns the bytes of the vector with this name.
pub fn bytes(name: &str) -> Vec<u8> {
    unhex(&named(name).hex)
}

/// Checks the vector with this name.
pub fn check(name: &str) {
    let vector = named(name);
    let bytes = unhex(&vector.hex);
    match vector.kind.as_str() {
        "fragment" => check_fragments(&vector, &bytes),
        "robustness" => check_robustness(&bytes),
        _ => check_message(&vector, &bytes),
    }
}

fn check_robustness(bytes: &[u8]) {
    for version in [Version::V1, Version::V2, Version::V3] {
        let decoded = decode(bytes, version);
        assert!(!decoded.errors.is_empty(), "nothing found wrong");
        assert!(
            !decoded.text(Personal::Show).is_empty() && decoded.json(Personal::Hide).is_object()
        );
    }
    let _ = Message::decode(bytes);
}

fn check_fragments(vector: &Vector, bytes: &[u8]) {
    let (stem, part) = vector.name.rsplit_once('/').expect("stem/part");
    if let Some(max) = vector.expect.max_fragment_size {
        let whole = unhex(&named(&format!("{stem}/buffer")).hex);
        let expected = unhex(&named(&format!("{stem}/expected_buffer")).hex);
        assert!(
            part == "buffer" && bytes == whole || part == "expected_buffer" && bytes == expected
        );
        let parts = split(&whole, max);
        assert!(parts.iter().all(|part| part.len() <= max));
        assert_eq!(parts.concat(), expected);
        return;
    }
    let (sent, data) = (
        unhex(&named(&format!("{stem}/buffer")).hex),
        unhex(&named(&format!("{stem}/data")).hex),
    );
    assert!(part == "buffer" && bytes == sent || part == "data" && bytes == data);
    let mut reassembler = Reassembler::default();
    let mut rest = &sent[..];
    let mut whole = None;
    while !rest.is_empty() {
        assert!(whole.is_none(), "complete too early");
        let header = Header::parse(rest).expect("header");
        whole = reassembler
            .push_raw(Instant::now(), rest)
            .expect("fragment");
        rest = &rest[header.length..];
    }
    assert_eq!(whole.expect("complete").payload, data);
}

fn version(vector: &Vector) -> Version {
    match vector.expect.mbimex_version.as_deref() {
        Some("3.0") => Version::V3,
        Some("2.0") => Version::V2,
        _ => Version::V1,
    }
}

fn check_message(vector: &Vector, bytes: &[u8]) {
    let expect = &vector.expect;
    let decoded = decode(bytes, version(vector));
    let message = Message::decode(bytes);
    check_header(&expect.header, bytes, &decoded, message.as_ref().ok());

    let printed = expect.libmbim_decode.as_ref().expect("what libmbim prints");
    assert_eq!(message.is_ok(), printed.valid, "{message:?}");
    if !printed.valid {
        assert!(
            decoded.errors.iter().any(|error| error.lost),
            "nothing found wrong"
        );
        return;
    }
    if vector.name == "test_message_command_done_short" {
        for end in 0..bytes.len() {
            assert!(
                matches!(
                    Message::decode(&bytes[..end]),
                    Err(MessageError::Incomplete { .. })
                ),
                "cut to {end}"
            );
        }
    }
    let message = message.expect("message");
    let info = match &message.body {
        Body::Command { info, .. }
        | Body::CommandDone { info, .. }
        | Body::Indication { info, .. } => info.clone(),
        _ => Vec::new(),
    };
    let empty = Record::empty(<uwwan_mbim::services::Empty as uwwan_mbim::Layout>::SCHEMA);
    let record = match &decoded.content {
        Content::Fields(record) => record,
        Content::Nothing => &empty,
        other => panic!("no fields but {other:?}"),
    };
    let refused = expect
        .expect_error
        .as_deref()
        .is_some_and(|error| error.contains("parse must fail"));
    if refused {
        // In an empty buffer there is nothing wrong and nothing to read.
        assert!(
            info.is_empty() || decoded.errors.iter().any(|error| error.lost),
            "nothing found wrong"
        );
        return;
    }
    assert!(
        !decoded.errors.iter().any(|error| error.lost),
        "{:?}",
        decoded.errors
    );
    printed::compare(record, &printed.fields);
    for (key, value) in expect.asserts.iter().flatten() {
        asserts::check(key, value, &message, bytes, record);
    }
    for (key, value) in expect.byte_arrays.iter().flatten() {
        let wanted = unhex(value.as_str().expect("hex"));
        let found = info == wanted || byte_values(record).contains(&wanted);
        assert!(found, "{key} not found in {record:?}");
    }
    let encoded = write(record);
    if vector.kind == "build" {
        assert_eq!(encoded, info, "encoded information buffer");
        assert_eq!(message.encode_whole(), bytes, "encoded message");
    }
    let again = Reader::new(&encoded).read(record.schema);
    assert_eq!(&again, record, "decoded again");
}

fn check_header(
    expected: &Map<String, Json>,
    bytes: &[u8],
    decoded: &Decoded,
    message: Option<&Message>,
) {
    let json = decoded.json(Personal::Show);
    for (key, value) in expected {
        let found = match key.as_str() {
            "type" => {
                let kind = decoded.kind.expect("type");
                match value {
                    Json::String(_) => Json::from(kind.to_string().to_uppercase()),
                    _ => Json::from(kind.0),
                }
            }
            "length" => Json::from(u32::from_le_bytes(
                bytes[4..8].try_into().expect("four bytes"),
            )),
            "transaction_id" => json["transaction_id"].clone(),
            "fragment_total" => json["fragment"]["total"].clone(),
            "fragment_current" => json["fragment"]["current"].clone(),
            "service_uuid" => Json::from(
                decoded
                    .service
                    .expect("service")
                    .to_string()
                    .replace('-', ""),
            ),
            "service" => json["service"].clone(),
            "cid" => Json::from(decoded.cid),
            "status" => Json::from(decoded.status.expect("status").0),
            "command_type" => Json::from(decoded.command_type.expect("command type").0),
            "info_len" => match message.map(|message| &message.body) {
                Some(
                    Body::Command { info, .. }
                    | Body::CommandDone { info, .. }
                    | Body::Indication { info, .. },
                ) => Json::from(info.len()),
                _ => {
                    let at = if decoded.kind == Some(MessageType::INDICATE_STATUS) {
                        40
                    } else {
                        44
                    };
                    Json::from(u32::from_le_bytes(
                        bytes[at..at + 4].try_into().expect("four bytes"),
                    ))
                }
            },
            other => panic!("unknown expectation {other}"),
        };
        assert_eq!(&found, value, "{key}");
    }
}

/// Returns every run of bytes in a structure.
fn byte_values(record: &Record) -> Vec<Vec<u8>> {
    fn collect(value: &Value, out: &mut Vec<Vec<u8>>) {
        match value {
            Value::Bytes(bytes) => out.push(bytes.clone()),
            Value::Tlv(tlv) => {
                out.push(tlv.data.clone());
                // The packet of a TLV that woke the host starts behind sixteen bytes.
                out.extend(tlv.data.get(16..).map(<[u8]>::to_vec));
            }
            Value::List(list) => list.iter().for_each(|value| collect(value, out)),
            Value::Struct(record) => record
                .values
                .iter()
                .flatten()
                .for_each(|value| collect(value, out)),
            _ => {}
        }
    }
    let mut out = Vec::new();
    record
        .values
        .iter()
        .flatten()
        .for_each(|value| collect(value, &mut out));
    out
}
