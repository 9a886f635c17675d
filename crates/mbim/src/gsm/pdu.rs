//! Short messages as PDUs: reading (3GPP TS 23.040 section 9.2.2), with the message centre's
//! address in front as MBIM and 3GPP TS 27.005 have it.

use super::address::Address;
use super::alphabet;
use super::coding::{self, Alphabet};
use super::timestamp::Timestamp;

/// Elements of a user data header that place a message among others (section 9.2.3.24).
const CONCATENATED_8: u8 = 0x00;
const CONCATENATED_16: u8 = 0x08;
/// Elements that ask for a national language table.
const SINGLE_SHIFT: u8 = 0x24;
const LOCKING_SHIFT: u8 = 0x25;

/// Why a PDU cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PduError {
    /// It ends too early.
    #[error("the message ends within its {0}")]
    Short(&'static str),
    /// A type that is neither a message nor a report.
    #[error("a message of the reserved type 3")]
    Reserved,
}

/// What kind of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Received.
    Deliver,
    /// Sent, or to be sent.
    Submit,
    /// The network's word on one that was sent.
    StatusReport,
}

impl MessageKind {
    /// A word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deliver => "received",
            Self::Submit => "sent",
            Self::StatusReport => "status report",
        }
    }
}

/// The content.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// Text.
    Text(String),
    /// Bytes for some application.
    Data(Vec<u8>),
    /// Compressed text, which is not read.
    Compressed(Vec<u8>),
}

/// Personal: only the size is shown.
impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Data(data) => write!(f, "Data({} bytes)", data.len()),
            Self::Compressed(data) => write!(f, "Compressed({} bytes)", data.len()),
        }
    }
}

/// Place among the parts of a long message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Part {
    /// The same for all parts of one message.
    pub reference: u16,
    /// How many there are.
    pub total: u8,
    /// Which this is, from 1.
    pub number: u8,
}

/// A message, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What kind.
    pub kind: MessageKind,
    /// The message centre, if it is told.
    pub centre: Option<Address>,
    /// Sender of a received message, recipient of a sent one or of one reported on.
    pub peer: Address,
    /// When the message centre got it.
    pub time: Option<Timestamp>,
    /// When a message reported on was delivered, or given up.
    pub discharged: Option<Timestamp>,
    /// State of a message reported on (section 9.2.3.15): below 32 delivered, below 64 still being
    /// tried, else failed.
    pub status: Option<u8>,
    /// Reference of a sent message, and of one reported on.
    pub reference: Option<u8>,
    /// Display class; 0 is shown at once and stored nowhere.
    pub class: Option<u8>,
    /// Place among the parts of a long message.
    pub part: Option<Part>,
    /// The text asks for a national language table, which is not known here.
    pub foreign_table: bool,
    /// The content.
    pub body: Body,
}

impl Message {
    /// Reads a PDU with the message centre's address in front.
    ///
    /// # Errors
    /// When it ends too early or is of a reserved type. What comes after its end is ignored.
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
            // Validity: none, one octet of relative time, or seven.
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
                    // The text begins at a septet's border after the header.
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

    /// Elements cut short, and places that make no sense, are ignored, as section 9.2.3.24.1 asks.
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
