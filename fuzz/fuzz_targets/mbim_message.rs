//! Control messages of either side are decoded without panic and at bounded cost, and a message
//! that was decoded in full decodes to the same after it was encoded.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use uwwan_mbim::fields::{Reader, write};
use uwwan_mbim::fragment::Reassembler;
use uwwan_mbim::message::{Body, Message};
use uwwan_mbim::registry::{self, Part, Version};
use uwwan_mbim::{Uuid, decode};

fuzz_target!(|bytes: &[u8]| {
    for version in [Version::V1, Version::V3] {
        let decoded = decode::decode(bytes, version);
        let _ = decoded.text(uwwan_mbim::print::Personal::Hide);
        let _ = decoded.json(uwwan_mbim::print::Personal::Show);
    }

    // The bytes are a stream of fragments, and memory stays bounded whatever lengths they claim.
    let mut reassembler = Reassembler::default();
    let now = Instant::now();
    for piece in bytes.chunks(64) {
        let _ = reassembler.push(now, piece);
    }
    assert!(reassembler.held_bytes() <= bytes.len());

    let Ok(message) = Message::decode(bytes) else {
        return;
    };
    let whole = message.encode_whole();
    assert_eq!(Message::decode(&whole).as_ref(), Ok(&message));

    // In fragments of this device's size the message is reassembled to the same bytes.
    let mut reassembler = Reassembler::default();
    let mut last = None;
    for fragment in message.encode(1024) {
        assert!(fragment.len() <= 1024);
        last = reassembler.push(now, &fragment).expect("our own fragments");
    }
    assert_eq!(last.as_ref(), Some(&message));

    match &message.body {
        Body::Command {
            service,
            cid,
            kind,
            info,
        } => {
            fields(*service, *cid, (*kind).into(), info);
        }
        Body::CommandDone {
            service, cid, info, ..
        } => fields(*service, *cid, Part::Done, info),
        Body::Indication { service, cid, info } => fields(*service, *cid, Part::Notify, info),
        _ => {}
    }
});

/// Decoding, encoding and decoding again gives the same as decoding once.
fn fields(service: Uuid, cid: u32, part: Part, info: &[u8]) {
    let Some(cid) = registry::service(service).and_then(|service| service.cid(cid)) else {
        return;
    };
    for version in [Version::V1, Version::V2, Version::V3] {
        let Some(schema) = cid.layout(part, version) else {
            continue;
        };
        let mut reader = Reader::new(info);
        let record = reader.read(schema);
        let (errors, _) = reader.finish();
        if !errors.is_empty() {
            continue;
        }
        let written = write(&record);
        let mut reader = Reader::new(&written);
        let again = reader.read(schema);
        let (errors, _) = reader.finish();
        assert!(errors.is_empty(), "{}: {errors:?}", cid.name);
        assert_eq!(again, record, "{}", cid.name);
        assert_eq!(write(&again), written, "{}", cid.name);
    }
}
