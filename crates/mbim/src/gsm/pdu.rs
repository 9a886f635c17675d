//! Reading of short message PDUs (3GPP TS 23.040 section 9.2.2) with the message centre's address
//! in front, as MBIM and 3GPP TS 27.005 carry them.

use super::address::Address;
use super::alphabet;
use super::coding::{self, Alphabet};
use super::timestamp::Timestamp;

/// Id of the user data header element that gives the place of a part, with a reference of 8 bits
/// (3GPP TS 23.040 section 9.2.3.24).
const CONCATENATED_8: u8 = 0x00;
/// Id of the user data header element that gives the place of a part, with a reference of 16 bits.
const CONCATENATED_16: u8 = 0x08;
/// Id of the user data header element that asks for a national language table after an escape.
const SINGLE_SHIFT: u8 = 0x24;
/// Id of the user data header element that replaces the default alphabet by a national table.
const LOCKING_SHIFT: u8 = 0x25;

/// Reason why a PDU cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PduError {
    /// The PDU ends too early, within the part that is named.
    #[error("the message ends within its {0}")]
    Short(&'static str),
    /// The type of the message is 3, which is reserved.
    #[error("a message of the reserved type 3")]
    Reserved,
}

/// Type of a short message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Message that was received (SMS-DELIVER).
    Deliver,
    /// Message that was sent or is to be sent (SMS-SUBMIT).
    Submit,
    /// Report of the network on a message that was sent (SMS-STATUS-REPORT).
    StatusReport,
}

impl MessageKind {
    /// Returns the name of the type in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deliver => "received",
            Self::Submit => "sent",
            Self::StatusReport => "status report",
        }
    }
}

/// Content of a message.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// Text of the message.
    Text(String),
    /// Bytes for an application.
    Data(Vec<u8>),
    /// Compressed text, which is not decoded.
    Compressed(Vec<u8>),
}

/// Writes the kind and the size only, because the content is personal.
impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Data(data) => write!(f, "Data({} bytes)", data.len()),
            Self::Compressed(data) => write!(f, "Compressed({} bytes)", data.len()),
        }
    }
}

/// Place of a message among the parts of a long message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Part {
    /// Reference number, which is the same for all parts of one message.
    pub reference: u16,
    /// Number of parts the message consists of.
    pub total: u8,
    /// Number of this part, counted from 1.
    pub number: u8,
}

/// Short message, or one part of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Type of the message.
    pub kind: MessageKind,
    /// Address of the message centre, if the PDU states it.
    pub centre: Option<Address>,
    /// Sender of a received message, or recipient of a message that was sent or reported on.
    pub peer: Address,
    /// Time at which the message centre received the message.
    pub time: Option<Timestamp>,
    /// Time at which a message reported on was delivered or given up.
    pub discharged: Option<Timestamp>,
    /// Status of a message reported on (3GPP TS 23.040 section 9.2.3.15): below 32 it was
    /// delivered, below 64 delivery is still tried, otherwise it failed.
    pub status: Option<u8>,
    /// Reference number of a message that was sent or reported on.
    pub reference: Option<u8>,
    /// Display class of the message; one of class 0 is shown at once and not stored.
    pub class: Option<u8>,
    /// Place among the parts of a long message; `None` for a message of one part.
    pub part: Option<Part>,
    /// Whether the text asks for a national language table; such tables are not supported.
    pub foreign_table: bool,
    /// Content of a message.
    pub body: Body,
}

impl Message {
    /// Reads a PDU with the message centre's address in front.
    ///
    /// # Errors
    /// Returns a [`PduError`] when the PDU ends too early or is of the reserved type. Bytes after
    /// its end are ignored.
    pub fn decode(pdu: &[u8]) -> Result<Self, PduError> {
        let mut rest = Octets(pdu);
        let centre = rest.centre()?;
        let first = rest.octet("type")?;
        let kind = match first & 3 {
            0 => MessageKind::Deliver,
            1 => MessageKind::Submit,
            2 => MessageKind::StatusReport,
            _ => return Err(PduError::Reserved),
        };
        let mut message = Self {
            kind,
            centre,
            peer: Address::default(),
            time: None,
            discharged: None,
            status: None,
            reference: None,
            class: None,
            part: None,
            foreign_table: false,
            body: Body::Text(String::new()),
        };
        if kind != MessageKind::Deliver {
            message.reference = Some(rest.octet("reference")?);
        }
        message.peer = rest.address()?;
        if kind == MessageKind::StatusReport {
            message.time = rest.time()?;
            message.discharged = rest.time()?;
            message.status = Some(rest.octet("status")?);
            return Ok(message);
        }
        rest.octet("protocol identifier")?;
        let scheme = rest.octet("data coding scheme")?;
        match kind {
            MessageKind::Deliver => message.time = rest.time()?,
            // The validity period takes no octet, one for a relative time, or seven otherwise.
            _ => {
                let validity = match first >> 3 & 3 {
                    0 => 0,
                    2 => 1,
                    _ => 7,
                };
                rest.take(validity, "validity period")?;
            }
        }
        message.class = coding::class_of(scheme);
        message.user_data(&mut rest, scheme, first & 0x40 != 0)?;
        Ok(message)
    }

    fn user_data(
        &mut self,
        rest: &mut Octets<'_>,
        scheme: u8,
        with_header: bool,
    ) -> Result<(), PduError> {
        let length = usize::from(rest.octet("length")?);
        let (alphabet, compressed) = coding::of_message(scheme);
        let packed = alphabet == Alphabet::Gsm7 && !compressed;
        let octets = if packed {
            (length * 7).div_ceil(8)
        } else {
            length
        };
        let data = rest.take(octets, "text")?;
        let mut header = 0;
        if with_header {
            header = usize::from(*data.first().ok_or(PduError::Short("header"))?) + 1;
            let elements = data.get(1..header).ok_or(PduError::Short("header"))?;
            self.read_header(elements);
        }
        self.body = if compressed {
            Body::Compressed(data[header..].to_vec())
        } else {
            match alphabet {
                Alphabet::Gsm7 => {
                    // The text begins at the first septet boundary after the header.
                    let skipped = (header * 8).div_ceil(7);
                    let fill = skipped * 7 - header * 8;
                    let count = length.saturating_sub(skipped);
                    let septets = alphabet::unpack(&data[header..], count, fill);
                    Body::Text(alphabet::from_septets(&septets))
                }
                Alphabet::Ucs2 => Body::Text(coding::from_ucs2(&data[header..])),
                Alphabet::Data => Body::Data(data[header..].to_vec()),
            }
        };
        Ok(())
    }

    /// Reads the elements of a user data header. Elements that are cut short, and places that make
    /// no sense, are ignored, as 3GPP TS 23.040 section 9.2.3.24.1 asks.
    fn read_header(&mut self, mut elements: &[u8]) {
        while let [id, length, rest @ ..] = elements {
            let Some((content, next)) = rest.split_at_checked(usize::from(*length)) else {
                return;
            };
            let part = match (*id, content) {
                (CONCATENATED_8, &[reference, total, number]) => {
                    Some((reference.into(), total, number))
                }
                (CONCATENATED_16, &[high, low, total, number]) => {
                    Some((u16::from_be_bytes([high, low]), total, number))
                }
                _ => None,
            };
            if let Some((reference, total, number)) = part
                && number >= 1
                && number <= total
            {
                self.part = Some(Part {
                    reference,
                    total,
                    number,
                });
            }
            self.foreign_table |= matches!(*id, SINGLE_SHIFT | LOCKING_SHIFT);
            elements = next;
        }
    }
}

struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], PduError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(PduError::Short(what))?;
        self.0 = rest;
        Ok(taken)
    }

    fn octet(&mut self, what: &'static str) -> Result<u8, PduError> {
        Ok(self.take(1, what)?[0])
    }

    fn centre(&mut self) -> Result<Option<Address>, PduError> {
        let length = usize::from(self.octet("message centre's address")?);
        let octets = self.take(length, "message centre's address")?;
        Ok(octets
            .split_first()
            .map(|(kind, digits)| Address::decode(*kind, digits, digits.len() * 2)))
    }

    fn address(&mut self) -> Result<Address, PduError> {
        let semi_octets = usize::from(self.octet("address")?);
        let kind = self.octet("address")?;
        let octets = self.take(semi_octets.div_ceil(2), "address")?;
        Ok(Address::decode(kind, octets, semi_octets))
    }

    fn time(&mut self) -> Result<Option<Timestamp>, PduError> {
        let octets = self.take(7, "time stamp")?;
        Ok(octets.try_into().ok().and_then(Timestamp::decode))
    }
}
