//! Properties of all layouts, and of arbitrary bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use uwwan_mbim::decode::{decode, decode_all};
use uwwan_mbim::fields::{Kind, Reader, Record, Schema, Tlv, TlvType, Value, write};
use uwwan_mbim::fragment::Reassembler;
use uwwan_mbim::message::{Body, CommandKind, Message};
use uwwan_mbim::print::{self, Personal};
use uwwan_mbim::registry::{self, Part, Version};
use uwwan_mbim::{Status, Uuid};

const VERSIONS: [Version; 3] = [Version::V1, Version::V2, Version::V3];
const PARTS: [Part; 4] = [Part::Query, Part::Set, Part::Done, Part::Notify];

/// Returns every layout of every command.
fn schemas() -> Vec<&'static Schema> {
    let cids = registry::services().iter().flat_map(|service| service.cids);
    cids.flat_map(|cid| VERSIONS.map(|version| PARTS.map(|part| cid.layout(part, version))))
        .flatten()
        .flatten()
        .collect()
}

/// A source of random choices made from random bytes; it gives zeros when they run out.
struct Source<'a>(std::slice::Iter<'a, u8>);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    fn number(&mut self, bytes: usize) -> u64 {
        (0..bytes).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }

    fn text(&mut self) -> String {
        let length = self.below(6);
        let alphabet: Vec<char> = "aZ09 é€😀\u{1b}\"\\".chars().collect();
        (0..length)
            .map(|_| alphabet[self.below(alphabet.len())])
            .collect()
    }

    fn tlv(&mut self) -> Tlv {
        let length = self.below(9);
        Tlv {
            kind: TlvType(u16::from(self.byte())),
            data: self.bytes(length),
        }
    }

    fn list(&mut self, mut element: impl FnMut(&mut Self) -> Value) -> Value {
        let length = self.below(4);
        Value::List((0..length).map(|_| element(self)).collect())
    }

    fn value(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::U16 => Value::Unsigned(self.number(2)),
            Kind::U32 => Value::Unsigned(self.number(4)),
            Kind::U64 => Value::Unsigned(self.number(8)),
            Kind::I32 => Value::Signed(self.number(4) as u32 as i32),
            Kind::Bool => Value::Unsigned(self.number(1) & 1),
            Kind::Named { names, bytes } => match self.byte() {
                0..64 => Value::Unsigned(self.number(*bytes)),
                choice => {
                    Value::Unsigned(names.values[usize::from(choice) % names.values.len()].value)
                }
            },
            Kind::Uuid => Value::Uuid(Uuid(self.bytes(16).try_into().unwrap())),
            Kind::Ipv4 => Value::Ipv4(Ipv4Addr::from(self.number(4) as u32)),
            Kind::Ipv6 => Value::Ipv6(Ipv6Addr::from(u128::from(self.number(8)))),
            Kind::Array(size) => Value::Bytes(self.bytes(*size)),
            Kind::Text | Kind::Utf8 | Kind::TlvText => Value::Text(self.text()),
            Kind::Sized
            | Kind::SizedReversed
            | Kind::Prefixed
            | Kind::Counted { .. }
            | Kind::Rest => {
                let length = self.below(9);
                Value::Bytes(self.bytes(length))
            }
            Kind::Inline(schema) => Value::Struct(self.record(schema)),
            Kind::SizedStruct(schema) if self.byte() & 1 == 1 => Value::Struct(self.record(schema)),
            Kind::At(of) if self.byte() & 1 == 1 => self.value(of),
            Kind::SizedStruct(_) | Kind::At(_) => Value::Absent,
            Kind::Refs { of, .. } | Kind::Packed { of, .. } | Kind::Listed { of, .. } => {
                self.list(|source| source.value(of))
            }
            Kind::SizedArray(schema) => self.list(|source| Value::Struct(source.record(schema))),
            Kind::TlvNumbers => self.list(|source| Value::Unsigned(source.number(2))),
            Kind::Tlv => Value::Tlv(self.tlv()),
            Kind::Tlvs => self.list(|source| Value::Tlv(source.tlv())),
            Kind::Count { .. } | Kind::Pointed { .. } => unreachable!("depends on other fields"),
        }
    }

    /// Makes a record in the form in which reading returns it: counts are filled in, and fields
    /// whose condition is unmet are absent.
    fn record(&mut self, schema: &'static Schema) -> Record {
        let mut record = Record::empty(schema);
        let shared = self.below(9);
        for (index, field) in schema.fields.iter().enumerate() {
            let met = field.condition.is_none_or(|condition| {
                record.get(condition.field) == Some(&Value::Unsigned(condition.equals))
            });
            record.values[index] = match field.kind {
                _ if !met => Some(Value::Absent),
                Kind::Count { .. } => None,
                // Filters and masks of one structure share their length.
                Kind::Pointed { .. } => Some(Value::Bytes(self.bytes(shared))),
                ref kind => Some(self.value(kind)),
            };
        }
        for (index, field) in schema.fields.iter().enumerate() {
            if let Kind::Count { of } = field.kind {
                let length = of
                    .iter()
                    .filter_map(|name| record.get(name)?.len())
                    .max()
                    .unwrap_or(0);
                record.values[index] = Some(Value::Unsigned(length as u64));
            }
        }
        record
    }
}

fn read(schema: &'static Schema, info: &[u8]) -> (Record, bool) {
    let mut reader = Reader::new(info);
    let record = reader.read(schema);
    (record, reader.finish().1.is_none())
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for schema in schemas() {
            let record = Source(bytes.iter()).record(schema);
            let info = write(&record);
            let (again, whole) = read(schema, &info);
            prop_assert!(whole, "{} lost something of {record:?} in {}", schema.name, print::hex(&info));
            prop_assert_eq!(again, record);
        }
    }

    #[test]
    fn what_can_be_read_is_stable(bytes in prop::collection::vec(prop_oneof![0u8..24, any::<u8>()], 0..200)) {
        for schema in schemas() {
            let (record, whole) = read(schema, &bytes);
            if whole {
                let (again, whole) = read(schema, &write(&record));
                prop_assert!(whole, "{}", schema.name);
                prop_assert_eq!(again, record, "{}", print::hex(&bytes));
            }
        }
    }

    #[test]
    fn random_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for version in VERSIONS {
            let decoded = decode(&bytes, version);
            prop_assert!(decoded.json(Personal::Show).is_object());
            prop_assert!(!decoded.text(Personal::Hide).is_empty());
        }
        prop_assert!(!decode_all(&bytes, Version::V1).is_empty());
        let _ = Message::decode(&bytes);
        let _ = Reassembler::default().push(std::time::Instant::now(), &bytes);
    }

    #[test]
    fn any_buffer_of_any_command_decodes_within_bounds(
        info in prop::collection::vec(prop_oneof![0u8..64, any::<u8>()], 0..300),
        set in any::<bool>(),
    ) {
        let kind = if set { CommandKind::SET } else { CommandKind::QUERY };
        for service in registry::services() {
            for cid in service.cids {
                let (service, cid, info) = (service.uuid, cid.number, info.clone());
                let bodies = [
                    Body::Command { service, cid, kind, info: info.clone() },
                    Body::CommandDone { service, cid, status: Status::NONE, info: info.clone() },
                    Body::Indication { service, cid, info },
                ];
                for body in bodies {
                    let bytes = Message { transaction: 1, body }.encode_whole();
                    let decoded = decode(&bytes, Version::V3);
                    let size = decoded.text(Personal::Show).len();
                    prop_assert!(size < 200 * bytes.len() + 8192, "{size} characters from {} bytes", bytes.len());
                    prop_assert!(decoded.errors.iter().all(|error| error.offset <= bytes.len()));
                }
            }
        }
    }

    #[test]
    fn fragments_come_together_at_any_size(
        info in prop::collection::vec(any::<u8>(), 0..2000),
        max in 64usize..512,
    ) {
        let service = registry::services()[0].uuid;
        let message = Message { transaction: 3, body: Body::Indication { service, cid: 9, info } };
        let mut reassembler = Reassembler::default();
        let mut done = Vec::new();
        for part in message.encode(max) {
            prop_assert!(part.len() <= max);
            done.extend(reassembler.push(std::time::Instant::now(), &part).unwrap());
        }
        prop_assert_eq!(done, vec![message]);
    }

    #[test]
    fn escaped_text_cannot_steer_a_terminal(text in any::<String>()) {
        prop_assert!(print::escape(&text).chars().all(|c| !c.is_control()));
        let line = print::json_line(&serde_json::json!({ "text": text }));
        prop_assert!(line.chars().all(|c| !c.is_control()));
        let back: serde_json::Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(&back["text"], &serde_json::json!(text));
    }
}
