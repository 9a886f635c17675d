//! Decoding of several control messages in a row, with fragments put together.

use std::time::Instant;

use super::message::{Decoded, decode};
use crate::fragment::Reassembler;
use crate::message::{HEADER, Header, MessageError};
use crate::registry::Version;

/// Decodes the messages in a capture one after the other. Fragments that follow the first one of
/// their message are put together and shown as one message; other fragments are shown by
/// themselves.
///
/// Where the bytes after a message are no further message, they are reported with that message, so
/// that damaged input is never skipped.
#[must_use]
pub fn decode_all(bytes: &[u8], version: Version) -> Vec<Decoded> {
    let mut out = Vec::new();
    let mut reassembler = Reassembler::default();
    let mut pending: Vec<&[u8]> = Vec::new();
    let mut rest = bytes;
    // A capture has no times here, so one instant serves for all fragments and none expires.
    let now = Instant::now();
    while !rest.is_empty() {
        let header = match Header::parse(rest) {
            Ok(header) if rest.len() == header.length || starts_message(&rest[header.length..]) => {
                header
            }
            _ => break,
        };
        let (message, after) = rest.split_at(header.length);
        rest = after;
        if header.total == 1 {
            out.push(decode(message, version));
            continue;
        }
        pending.push(message);
        match reassembler.push_raw(now, message) {
            Ok(None) => {}
            Ok(Some(whole)) => {
                pending.retain(|part| {
                    Header::parse(part).is_ok_and(|part| part.transaction != whole.transaction)
                });
                let mut decoded = decode(&whole.message(), version);
                decoded.fragment = Some((header.total, header.current));
                out.push(decoded);
            }
            Err(error) => {
                for part in pending.drain(..) {
                    out.push(decode(part, version));
                }
                if let Some(last) = out.last_mut() {
                    last.wrong(HEADER, error.to_string());
                }
                reassembler.clear();
            }
        }
    }
    out.extend(pending.into_iter().map(|part| {
        let mut decoded = decode(part, version);
        decoded.wrong(HEADER, "the other fragments of this message are missing");
        decoded
    }));
    if !rest.is_empty() || out.is_empty() {
        out.push(decode(rest, version));
    }
    out
}

/// Returns whether another message begins here, even one that is cut short.
fn starts_message(bytes: &[u8]) -> bool {
    match Header::parse(bytes) {
        Ok(_) => true,
        Err(MessageError::Incomplete { have, .. }) => have >= HEADER,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Body, Message};
    use crate::services::basic_connect as bc;
    use crate::status::Status;

    fn done(transaction: u32, length: usize) -> Message {
        let info = vec![0; length];
        Message {
            transaction,
            body: Body::CommandDone {
                service: bc::UUID,
                cid: 1,
                status: Status::NONE,
                info,
            },
        }
    }

    #[test]
    fn messages_and_fragments_in_a_row_are_told_apart() {
        let mut bytes = done(1, 64).encode_whole();
        bytes.extend(done(2, 200).encode(64).concat());
        bytes.extend(
            Message {
                transaction: 3,
                body: Body::Close,
            }
            .encode_whole(),
        );
        let all = decode_all(&bytes, Version::V1);
        let seen: Vec<_> = all
            .iter()
            .map(|decoded| (decoded.transaction_id, decoded.fragment))
            .collect();
        assert_eq!(
            seen,
            [
                (Some(1), Some((1, 0))),
                (Some(2), Some((6, 5))),
                (Some(3), None)
            ]
        );
        assert!(
            all.iter().all(|decoded| decoded.errors.is_empty()),
            "{all:?}"
        );
    }

    #[test]
    fn missing_fragments_and_garbage_are_reported() {
        let parts = done(2, 200).encode(64);
        let mut bytes = parts[0].clone();
        bytes.extend(&parts[2]);
        bytes.extend(b"garbage");
        let all = decode_all(&bytes, Version::V1);
        assert!(all.iter().any(|decoded| !decoded.errors.is_empty()));
        assert_eq!(decode_all(&[], Version::V1).len(), 1);
    }
}
