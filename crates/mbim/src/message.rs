//! MBIM control messages (MBIM 1.0 section 9): the header and the body, in both directions.
//!
//! Everything is little-endian; UUIDs are in textual order. A message longer than the negotiated
//! control transfer size travels as fragments (MBIM 1.0 section 9.1).

use std::fmt;

use byteorder::{ByteOrder, LittleEndian};

use crate::fields::values;
use crate::registry::{CidId, Part};
use crate::status::{ProtocolError, Status};
use crate::uuid::Uuid;

/// Length in bytes of the header that every message has: type, length, transaction id.
pub const HEADER: usize = 12;
/// Length in bytes of the header of a fragment: the common header, total and current fragment
/// number.
pub const FRAGMENT_HEADER: usize = 20;
/// Number of bytes in front of the information buffer of COMMAND and COMMAND_DONE.
pub const COMMAND_HEADER: usize = 48;
/// Number of bytes in front of the information buffer of INDICATE_STATUS.
pub const INDICATION_HEADER: usize = 44;
/// Bit that turns the type of a request into the type of its answer.
pub const DONE: u32 = 0x8000_0000;

values! {
    /// Type of a message, the first word of its header.
    MessageType: u32 {
        OPEN = 1,
        CLOSE = 2,
        COMMAND = 3,
        HOST_ERROR = 4,
        OPEN_DONE = 0x8000_0001,
        CLOSE_DONE = 0x8000_0002,
        COMMAND_DONE = 0x8000_0003,
        FUNCTION_ERROR = 0x8000_0004,
        INDICATE_STATUS = 0x8000_0007,
    }
}

impl MessageType {
    /// Returns whether messages of this type carry the fragment header.
    #[must_use]
    pub const fn is_fragmented(self) -> bool {
        matches!(
            self,
            Self::COMMAND | Self::COMMAND_DONE | Self::INDICATE_STATUS
        )
    }

    /// Returns whether this is a type of MBIM 1.0.
    #[must_use]
    pub const fn is_known(self) -> bool {
        matches!(self.0, 1..=4 | 0x8000_0001..=0x8000_0004 | 0x8000_0007)
    }

    /// Returns the smallest length in bytes a message of this type can state.
    #[must_use]
    pub(crate) const fn minimum_length(self) -> usize {
        match self {
            Self::CLOSE => HEADER,
            Self::COMMAND | Self::COMMAND_DONE | Self::INDICATE_STATUS => FRAGMENT_HEADER,
            _ => 16,
        }
    }
}

values! {
    /// Type of a command: it queries or it sets.
    CommandKind: u32 { QUERY = 0, SET = 1 }
}

/// One complete control message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Id of the transaction, chosen by the host and repeated in the answer; 0 for indications.
    pub transaction: u32,
    /// Content of the message.
    pub body: Body,
}

/// Content of a message.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// The host starts the control session (MBIM_OPEN_MSG).
    Open {
        /// Largest control transfer the host will use or accept, in bytes.
        max_control_transfer: u32,
    },
    /// The host ends the control session (MBIM_CLOSE_MSG).
    Close,
    /// The host queries or sets something (MBIM_COMMAND_MSG).
    Command {
        /// Identifier of the service.
        service: Uuid,
        /// Number of the command within the service (CID).
        cid: u32,
        /// Type of the command, query or set.
        kind: CommandKind,
        /// Content of the information buffer, little endian.
        info: Vec<u8>,
    },
    /// The host reports a protocol error, or wishes to cancel the transaction (MBIM_HOST_ERROR_MSG).
    HostError(ProtocolError),
    /// The function answers [`Body::Open`] (MBIM_OPEN_DONE).
    OpenDone(Status),
    /// The function answers [`Body::Close`] (MBIM_CLOSE_DONE).
    CloseDone(Status),
    /// The function answers [`Body::Command`] (MBIM_COMMAND_DONE).
    CommandDone {
        /// Identifier of the service.
        service: Uuid,
        /// Number of the command within the service (CID).
        cid: u32,
        /// Status of the command. A failure may still carry an information buffer.
        status: Status,
        /// Content of the information buffer, little endian.
        info: Vec<u8>,
    },
    /// The function reports a protocol error about the transaction (MBIM_FUNCTION_ERROR_MSG).
    FunctionError(ProtocolError),
    /// The function reports an event by itself (MBIM_INDICATE_STATUS_MSG).
    Indication {
        /// Identifier of the service.
        service: Uuid,
        /// Number of the command within the service (CID).
        cid: u32,
        /// Content of the information buffer, little endian.
        info: Vec<u8>,
    },
}

/// Writes information buffers by their length only, because they may hold personal content.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |service: &Uuid, cid: u32| CidId {
            service: *service,
            cid,
        };
        match self {
            Self::Open {
                max_control_transfer,
            } => write!(f, "Open({max_control_transfer})"),
            Self::Close => f.write_str("Close"),
            Self::Command {
                service,
                cid,
                kind,
                info,
            } => {
                write!(
                    f,
                    "Command({} {kind}, {} bytes)",
                    name(service, *cid),
                    info.len()
                )
            }
            Self::HostError(error) => write!(f, "HostError({error})"),
            Self::OpenDone(status) => write!(f, "OpenDone({status})"),
            Self::CloseDone(status) => write!(f, "CloseDone({status})"),
            Self::CommandDone {
                service,
                cid,
                status,
                info,
            } => {
                write!(
                    f,
                    "CommandDone({} {status}, {} bytes)",
                    name(service, *cid),
                    info.len()
                )
            }
            Self::FunctionError(error) => write!(f, "FunctionError({error})"),
            Self::Indication { service, cid, info } => {
                write!(
                    f,
                    "Indication({}, {} bytes)",
                    name(service, *cid),
                    info.len()
                )
            }
        }
    }
}

/// Reason why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// More bytes are needed. On a byte stream this is no error.
    #[error("message incomplete: {have} bytes there, at least {need} needed")]
    Incomplete {
        /// Number of bytes there.
        have: usize,
        /// Smallest number of bytes needed.
        need: usize,
    },
    /// The type is not one of MBIM 1.0.
    #[error("unknown message type {0:#010x} at offset 0")]
    UnknownType(u32),
    /// The stated length cannot hold the headers of this type.
    #[error("message length {length} at offset 4 is too short for its type: at least {need} bytes")]
    TooShort {
        /// Stated length in bytes.
        length: usize,
        /// Number of bytes that the headers of the type need.
        need: usize,
    },
    /// The number of fragments is zero.
    #[error("total number of fragments at offset 12 is 0")]
    NoFragments,
    /// The fragment's number is not below the total.
    #[error("fragment number {current} at offset 16 is not below the total of {total}")]
    FragmentNumber {
        /// Number of the fragment, from 0.
        current: u32,
        /// Stated number of fragments.
        total: u32,
    },
    /// The bytes are one fragment of several, which a reassembler must put together.
    #[error("fragment {current} of {total}: reassemble first")]
    Fragment {
        /// Number of the fragment, from 0.
        current: u32,
        /// Stated number of fragments.
        total: u32,
    },
    /// The information buffer is longer than the message.
    #[error("information buffer of {info} bytes does not fit a message of {length} bytes")]
    InfoTooLong {
        /// Stated length of the information buffer in bytes.
        info: u32,
        /// Length of the message in bytes.
        length: usize,
    },
}

/// Header of a message or fragment that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Type of the message.
    pub kind: MessageType,
    /// Stated length of this message or fragment in bytes, header included.
    pub length: usize,
    /// Id of the transaction.
    pub transaction: u32,
    /// Number of fragments of the message; 1 for types without fragments.
    pub total: u32,
    /// Number of this fragment, from 0.
    pub current: u32,
}

impl Header {
    /// Reads and checks the header at the start of `bytes`; bytes past the stated length are ignored.
    ///
    /// Returns [`MessageError::Incomplete`] when fewer bytes than the stated length are there, and
    /// the other errors when the header contradicts itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        let incomplete = |need| MessageError::Incomplete {
            have: bytes.len(),
            need,
        };
        if bytes.len() < HEADER {
            return Err(incomplete(HEADER));
        }
        let kind = MessageType(LittleEndian::read_u32(bytes));
        if !kind.is_known() {
            return Err(MessageError::UnknownType(kind.0));
        }
        let length = LittleEndian::read_u32(&bytes[4..]) as usize;
        if length < kind.minimum_length() {
            return Err(MessageError::TooShort {
                length,
                need: kind.minimum_length(),
            });
        }
        if bytes.len() < length {
            return Err(incomplete(length));
        }
        let transaction = LittleEndian::read_u32(&bytes[8..]);
        let (mut total, mut current) = (1, 0);
        if kind.is_fragmented() {
            total = LittleEndian::read_u32(&bytes[12..]);
            current = LittleEndian::read_u32(&bytes[16..]);
            if total == 0 {
                return Err(MessageError::NoFragments);
            }
            if current >= total {
                return Err(MessageError::FragmentNumber { current, total });
            }
        }
        Ok(Self {
            kind,
            length,
            transaction,
            total,
            current,
        })
    }
}

impl Message {
    /// Decodes a complete message; bytes past the stated length are ignored.
    ///
    /// Returns the reason why the bytes are no message, and [`MessageError::Fragment`] when
    /// reassembly is needed first.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let header = Header::parse(bytes)?;
        if header.total > 1 {
            return Err(MessageError::Fragment {
                current: header.current,
                total: header.total,
            });
        }
        let body = if header.kind.is_fragmented() {
            FRAGMENT_HEADER
        } else {
            HEADER
        };
        Self::from_parts(header.kind, header.transaction, &bytes[body..header.length])
    }

    /// Makes a message from its type and the bytes behind the header and the fragment header.
    pub(crate) fn from_parts(
        kind: MessageType,
        transaction: u32,
        rest: &[u8],
    ) -> Result<Self, MessageError> {
        let command = |info_at: usize| -> Result<(Uuid, u32, u32, Vec<u8>), MessageError> {
            // `rest` starts behind the 20-byte fragment header, and so do the offsets here.
            let length = FRAGMENT_HEADER + rest.len();
            if rest.len() < info_at {
                return Err(MessageError::TooShort {
                    length,
                    need: FRAGMENT_HEADER + info_at,
                });
            }
            let mut uuid = [0; 16];
            uuid.copy_from_slice(&rest[..16]);
            let info_length = LittleEndian::read_u32(&rest[info_at - 4..]);
            let info = usize::try_from(info_length)
                .ok()
                .and_then(|n| rest[info_at..].get(..n))
                .ok_or(MessageError::InfoTooLong {
                    info: info_length,
                    length,
                })?;
            Ok((
                Uuid(uuid),
                LittleEndian::read_u32(&rest[16..]),
                LittleEndian::read_u32(&rest[20..]),
                info.to_vec(),
            ))
        };
        let word = || {
            rest.get(..4)
                .map(LittleEndian::read_u32)
                .ok_or(MessageError::TooShort {
                    length: HEADER + rest.len(),
                    need: HEADER + 4,
                })
        };
        let body = match kind {
            MessageType::OPEN => Body::Open {
                max_control_transfer: word()?,
            },
            MessageType::CLOSE => Body::Close,
            MessageType::HOST_ERROR => Body::HostError(ProtocolError(word()?)),
            MessageType::OPEN_DONE => Body::OpenDone(Status(word()?)),
            MessageType::CLOSE_DONE => Body::CloseDone(Status(word()?)),
            MessageType::FUNCTION_ERROR => Body::FunctionError(ProtocolError(word()?)),
            MessageType::COMMAND => {
                let (service, cid, kind, info) = command(28)?;
                Body::Command {
                    service,
                    cid,
                    kind: CommandKind(kind),
                    info,
                }
            }
            MessageType::COMMAND_DONE => {
                let (service, cid, status, info) = command(28)?;
                Body::CommandDone {
                    service,
                    cid,
                    status: Status(status),
                    info,
                }
            }
            MessageType::INDICATE_STATUS => {
                let (service, cid, _, info) = command(24)?;
                Body::Indication { service, cid, info }
            }
            MessageType(other) => return Err(MessageError::UnknownType(other)),
        };
        Ok(Self { transaction, body })
    }

    /// Returns the type of the message.
    #[must_use]
    pub const fn kind(&self) -> MessageType {
        match self.body {
            Body::Open { .. } => MessageType::OPEN,
            Body::Close => MessageType::CLOSE,
            Body::Command { .. } => MessageType::COMMAND,
            Body::HostError(_) => MessageType::HOST_ERROR,
            Body::OpenDone(_) => MessageType::OPEN_DONE,
            Body::CloseDone(_) => MessageType::CLOSE_DONE,
            Body::CommandDone { .. } => MessageType::COMMAND_DONE,
            Body::FunctionError(_) => MessageType::FUNCTION_ERROR,
            Body::Indication { .. } => MessageType::INDICATE_STATUS,
        }
    }

    /// Encodes the message as transfers of at most `max_fragment` bytes each. There is one transfer
    /// when the message fits. A `max_fragment` below 64, the smallest size MBIM allows, counts as
    /// 64.
    ///
    /// # Panics
    /// When the information buffer is 4 GiB or larger, which no message can state.
    #[must_use]
    pub fn encode(&self, max_fragment: usize) -> Vec<Vec<u8>> {
        split(&self.encode_whole(), max_fragment.max(64))
    }

    /// Encodes the message in one piece, whatever its length.
    ///
    /// # Panics
    /// When the information buffer is 4 GiB or larger, which no message can state.
    #[must_use]
    pub fn encode_whole(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        let word = |out: &mut Vec<u8>, value: u32| out.extend_from_slice(&value.to_le_bytes());
        word(&mut out, self.kind().0);
        word(&mut out, 0);
        word(&mut out, self.transaction);
        let command =
            |out: &mut Vec<u8>, service: &Uuid, cid: u32, extra: Option<u32>, info: &[u8]| {
                word(out, 1);
                word(out, 0);
                out.extend_from_slice(&service.0);
                word(out, cid);
                if let Some(extra) = extra {
                    word(out, extra);
                }
                word(
                    out,
                    u32::try_from(info.len()).expect("information buffer below 4 GiB"),
                );
                out.extend_from_slice(info);
            };
        match &self.body {
            Body::Open {
                max_control_transfer,
            } => word(&mut out, *max_control_transfer),
            Body::Close => {}
            Body::HostError(error) | Body::FunctionError(error) => word(&mut out, error.0),
            Body::OpenDone(status) | Body::CloseDone(status) => word(&mut out, status.0),
            Body::Command {
                service,
                cid,
                kind,
                info,
            } => command(&mut out, service, *cid, Some(kind.0), info),
            Body::CommandDone {
                service,
                cid,
                status,
                info,
            } => {
                command(&mut out, service, *cid, Some(status.0), info);
            }
            Body::Indication { service, cid, info } => command(&mut out, service, *cid, None, info),
        }
        let length = u32::try_from(out.len()).expect("message below 4 GiB");
        LittleEndian::write_u32(&mut out[4..], length);
        out
    }
}

impl From<CommandKind> for Part {
    fn from(kind: CommandKind) -> Self {
        if kind == CommandKind::QUERY {
            Self::Query
        } else {
            Self::Set
        }
    }
}

/// Cuts an encoded message into transfers of at most `max` bytes. The message is returned whole
/// when it fits or its type cannot be fragmented. `max` includes the 20-byte header of each
/// fragment and counts as 24 when it is less.
#[must_use]
pub fn split(message: &[u8], max: usize) -> Vec<Vec<u8>> {
    let fragmented = message.len() >= FRAGMENT_HEADER
        && MessageType(LittleEndian::read_u32(message)).is_fragmented();
    if message.len() <= max || !fragmented {
        return vec![message.to_vec()];
    }
    let payload = &message[FRAGMENT_HEADER..];
    let chunk = max.max(FRAGMENT_HEADER + 4) - FRAGMENT_HEADER;
    let total = payload.len().div_ceil(chunk);
    payload
        .chunks(chunk)
        .enumerate()
        .map(|(current, part)| {
            let mut out = Vec::with_capacity(FRAGMENT_HEADER + part.len());
            out.extend_from_slice(&message[..FRAGMENT_HEADER]);
            out.extend_from_slice(part);
            // The length of the message fits 32 bits, so those of the parts and their number do.
            #[allow(clippy::cast_possible_truncation)]
            for (at, value) in [
                (4, out.len() as u32),
                (12, total as u32),
                (16, current as u32),
            ] {
                LittleEndian::write_u32(&mut out[at..], value);
            }
            out
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Message> {
        let service = Uuid::literal("a289cc33-bcbb-8b4f-b6b0-133ec2aae6df");
        vec![
            Message {
                transaction: 1,
                body: Body::Open {
                    max_control_transfer: 1024,
                },
            },
            Message {
                transaction: 2,
                body: Body::Close,
            },
            Message {
                transaction: 3,
                body: Body::Command {
                    service,
                    cid: 1,
                    kind: CommandKind::QUERY,
                    info: vec![],
                },
            },
            Message {
                transaction: 4,
                body: Body::HostError(ProtocolError::CANCEL),
            },
            Message {
                transaction: 1,
                body: Body::OpenDone(Status::NONE),
            },
            Message {
                transaction: 2,
                body: Body::CloseDone(Status::BUSY),
            },
            Message {
                transaction: 3,
                body: Body::CommandDone {
                    service,
                    cid: 1,
                    status: Status::NONE,
                    info: vec![7; 300],
                },
            },
            Message {
                transaction: 9,
                body: Body::FunctionError(ProtocolError::NOT_OPENED),
            },
            Message {
                transaction: 0,
                body: Body::Indication {
                    service,
                    cid: 9,
                    info: vec![1, 2, 3, 4],
                },
            },
        ]
    }

    #[test]
    fn every_kind_round_trips() {
        for message in samples() {
            let bytes = message.encode(4096);
            assert_eq!(bytes.len(), 1);
            assert_eq!(Message::decode(&bytes[0]).unwrap(), message);
        }
    }

    #[test]
    fn every_prefix_is_incomplete() {
        for message in samples() {
            let bytes = message.encode_whole();
            for end in 0..bytes.len() {
                assert!(
                    matches!(Message::decode(&bytes[..end]), Err(MessageError::Incomplete { have, .. }) if have == end),
                    "{message:?} cut to {end}"
                );
            }
        }
    }

    #[test]
    fn a_fragment_alone_says_so() {
        let long = &samples()[6];
        let parts = long.encode(128);
        assert_eq!(parts.len(), 4);
        assert!(parts.iter().all(|part| part.len() <= 128));
        assert_eq!(
            Message::decode(&parts[1]),
            Err(MessageError::Fragment {
                current: 1,
                total: 4
            })
        );
    }
}
