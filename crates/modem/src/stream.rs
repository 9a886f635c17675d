//! MBIM control messages on a byte stream, cut at the length that each header states (MBIM 1.0
//! section 9.1: bytes 4 to 7, little-endian).

use std::collections::VecDeque;

use byteorder::{ByteOrder, LittleEndian};
use uwwan_mbim::message::HEADER;

/// Size of the longest message or fragment taken from a stream, in bytes. libmbim cuts at 4096.
pub(crate) const LONGEST: usize = 64 * 1024;

/// Error for a header with an impossible length, which it carries in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message states a length of {0} bytes; from {HEADER} to {LONGEST} are possible")]
pub(crate) struct BadLength(pub(crate) u32);

/// Cuts a byte stream into messages. It holds at most [`LONGEST`] bytes.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    bytes: VecDeque<u8>,
}

impl Stream {
    /// Returns the number of bytes that the stream takes at present. It is never 0 after
    /// [`Stream::next`] has returned `None`.
    pub(crate) fn room(&self) -> usize {
        LONGEST - self.bytes.len()
    }

    /// Takes bytes, at most [`Stream::room`].
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(&bytes[..bytes.len().min(self.room())]);
    }

    /// Returns the next complete message or fragment, if there is one.
    ///
    /// # Errors
    /// [`BadLength`] when the boundaries of further messages are lost.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, BadLength> {
        if self.bytes.len() < HEADER {
            return Ok(None);
        }
        let mut word = [0; 4];
        for (to, from) in word.iter_mut().zip(self.bytes.range(4..8)) {
            *to = *from;
        }
        let stated = LittleEndian::read_u32(&word);
        let length = stated as usize;
        if !(HEADER..=LONGEST).contains(&length) {
            return Err(BadLength(stated));
        }
        if self.bytes.len() < length {
            return Ok(None);
        }
        // A message may hold a PIN, so none of its bytes stay here.
        let rest = self.bytes.split_off(length);
        Ok(Some(std::mem::replace(&mut self.bytes, rest).into()))
    }

    /// Drops all bytes.
    pub(crate) fn clear(&mut self) {
        self.bytes = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_mbim::message::{Body, Message};

    fn open(transaction: u32) -> Vec<u8> {
        let body = Body::Open {
            max_control_transfer: 4096,
        };
        Message { transaction, body }.encode_whole()
    }

    #[test]
    fn messages_come_whole_however_they_arrive() {
        let bytes: Vec<u8> = (1..=5).flat_map(open).collect();
        for chunk in [1, 7, 16, 17, 80] {
            let mut stream = Stream::default();
            let mut seen = Vec::new();
            for part in bytes.chunks(chunk) {
                stream.push(part);
                while let Some(message) = stream.next().unwrap() {
                    seen.push(Message::decode(&message).unwrap().transaction);
                }
            }
            assert_eq!(seen, [1, 2, 3, 4, 5], "in parts of {chunk}");
        }
    }

    #[test]
    fn impossible_lengths_end_it() {
        for stated in [0, 11, LONGEST as u32 + 1, u32::MAX] {
            let mut bytes = open(1);
            bytes[4..8].copy_from_slice(&stated.to_le_bytes());
            let mut stream = Stream::default();
            stream.push(&bytes);
            assert_eq!(stream.next(), Err(BadLength(stated)));
        }
    }

    #[test]
    fn the_longest_message_fits() {
        let mut bytes = vec![0; LONGEST];
        bytes[..16].copy_from_slice(&open(1));
        bytes[4..8].copy_from_slice(&(LONGEST as u32).to_le_bytes());
        let mut stream = Stream::default();
        stream.push(&bytes[..LONGEST - 1]);
        assert_eq!(stream.next(), Ok(None));
        assert_eq!(stream.room(), 1);
        stream.push(&bytes[LONGEST - 1..]);
        assert_eq!(stream.next().unwrap().unwrap().len(), LONGEST);
    }
}
