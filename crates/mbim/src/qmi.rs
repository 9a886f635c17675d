//! Messages of Qualcomm's QMI, as the [QMI service](crate::services::qmi) carries them through
//! MBIM: a QMUX header, a header of the service, and type-length-value fields.
//!
//! All numbers are little-endian. Source: libqmi `qmi-message.c`.
//!
//! ```text
//! QMUX     01, length 2 (all but the 01), flags 1 (80 from the modem), service 1, client 1
//! control  flags 1, transaction 1, message 2, length 2
//! others   flags 1, transaction 2, message 2, length 2
//! TLV      type 1, length 2, value
//! ```

/// Number of the control service (CTL), which hands out client ids.
pub const CONTROL: u8 = 0x00;
/// Number of the device management service (DMS).
pub const DMS: u8 = 0x02;
/// Control message that allocates a client. TLV 01 holds the service; in the answer it holds
/// service and client.
pub const ALLOCATE_CLIENT: u16 = 0x0022;
/// Control message that releases a client. TLV 01 holds service and client.
pub const RELEASE_CLIENT: u16 = 0x0023;
/// Device management message Set FCC Authentication, which has no fields.
pub const SET_FCC_AUTHENTICATION: u16 = 0x555f;
/// Device management message of Foxconn's Set FCC Authentication. TLV 01 holds one byte.
pub const FOXCONN_SET_FCC_AUTHENTICATION: u16 = 0x5571;
/// Type of the field in every response that holds its result: two bytes of result, then two bytes
/// of error.
const RESULT: u8 = 0x02;

/// Length in bytes of the QMUX header.
const QMUX: usize = 6;

/// A QMI message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Whether the message is a response of the modem; otherwise it is a request of the host.
    pub response: bool,
    /// Number of the service the message belongs to.
    pub service: u8,
    /// Number of the client; 0 with the control service.
    pub client: u8,
    /// Number that ties the response to its request; 8 bits with the control service.
    pub transaction: u16,
    /// Number of the message within its service.
    pub id: u16,
    /// Fields of the message, as pairs of type and value.
    pub fields: Vec<(u8, Vec<u8>)>,
}

impl Message {
    /// Returns the encoded message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        for (kind, value) in &self.fields {
            fields.push(*kind);
            fields.extend_from_slice(&length(value.len()));
            fields.extend_from_slice(value);
        }
        let mut body = Vec::new();
        let [low, high] = self.transaction.to_le_bytes();
        match self.service {
            CONTROL => body.extend_from_slice(&[u8::from(self.response), low]),
            _ => body.extend_from_slice(&[u8::from(self.response) << 1, low, high]),
        }
        body.extend_from_slice(&self.id.to_le_bytes());
        body.extend_from_slice(&length(fields.len()));
        body.extend_from_slice(&fields);
        let mut bytes = vec![0x01];
        bytes.extend_from_slice(&length(QMUX - 1 + body.len()));
        bytes.extend_from_slice(&[u8::from(self.response) << 7, self.service, self.client]);
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Reads one message from its bytes. Returns `None` for bytes that end too early or are no QMUX
    /// message, and for indications.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&marker, rest) = bytes.split_first()?;
        let length = usize::from(number(rest)?);
        let rest = rest.get(2..length)?;
        let [_, service, client, flags, low, ..] = *rest else {
            return None;
        };
        let control = service == CONTROL;
        let (transaction, rest) = if control {
            (u16::from(low), rest.get(5..)?)
        } else {
            (number(rest.get(4..)?)?, rest.get(6..)?)
        };
        let response = match flags >> u8::from(!control) {
            0 => false,
            1 => true,
            _ => return None,
        };
        let id = number(rest)?;
        let length = usize::from(number(rest.get(2..)?)?);
        let mut left = rest.get(4..4 + length)?;
        let mut fields = Vec::new();
        while let Some((&kind, tail)) = left.split_first() {
            let length = usize::from(number(tail)?);
            fields.push((kind, tail.get(2..2 + length)?.to_vec()));
            left = &tail[2 + length..];
        }
        (marker == 0x01).then_some(Self {
            response,
            service,
            client,
            transaction,
            id,
            fields,
        })
    }

    /// Returns the value of the first field of a type.
    #[must_use]
    pub fn field(&self, kind: u8) -> Option<&[u8]> {
        let mut fields = self.fields.iter();
        fields
            .find(|(other, _)| *other == kind)
            .map(|(_, value)| value.as_slice())
    }

    /// Returns the result of a response. A response without a result has the error 0xffff.
    ///
    /// # Errors
    /// Returns the number of the QMI error.
    pub fn result(&self) -> Result<(), u16> {
        match self.field(RESULT) {
            Some([0, 0, ..]) => Ok(()),
            Some([_, _, low, high, ..]) => Err(u16::from_le_bytes([*low, *high])),
            _ => Err(u16::MAX),
        }
    }

    /// Returns the response to this request with a result; `Err` holds the number of a QMI error.
    #[must_use]
    pub fn answer(&self, result: Result<(), u16>) -> Self {
        let error = result.err().unwrap_or_default();
        let [low, high] = error.to_le_bytes();
        Self {
            response: true,
            fields: vec![(RESULT, vec![u8::from(result.is_err()), 0, low, high])],
            ..self.clone()
        }
    }
}

/// Returns a length as two bytes; a length that QMI cannot state becomes the largest it can.
fn length(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes()
}

/// Reads a number of two bytes, of which there may be fewer.
fn number(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|two| u16::from_le_bytes(*two))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_layout_of_libqmi() {
        let allocate = Message {
            transaction: 1,
            id: ALLOCATE_CLIENT,
            fields: vec![(0x01, vec![DMS])],
            ..Message::default()
        };
        let bytes = [
            0x01, 0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x22, 0x00, 0x04, 0x00, 0x01, 0x01,
            0x00, 0x02,
        ];
        assert_eq!(allocate.encode(), bytes);
        assert_eq!(Message::decode(&bytes), Some(allocate));
        let authenticate = Message {
            service: DMS,
            client: 3,
            transaction: 0x0102,
            id: SET_FCC_AUTHENTICATION,
            ..Message::default()
        };
        let bytes = [
            0x01, 0x0c, 0x00, 0x00, 0x02, 0x03, 0x00, 0x02, 0x01, 0x5f, 0x55, 0x00, 0x00,
        ];
        assert_eq!(authenticate.encode(), bytes);
        assert_eq!(Message::decode(&bytes), Some(authenticate));
    }

    #[test]
    fn responses_tell_their_result() {
        let request = Message {
            service: DMS,
            client: 3,
            transaction: 7,
            id: SET_FCC_AUTHENTICATION,
            ..Message::default()
        };
        for result in [Ok(()), Err(0x0030)] {
            let bytes = request.answer(result).encode();
            assert_eq!((bytes[3], bytes[6]), (0x80, 0x02));
            let answer = Message::decode(&bytes).unwrap();
            assert!(answer.response);
            assert_eq!((answer.client, answer.transaction), (3, 7));
            assert_eq!(answer.result(), result);
        }
        assert_eq!(request.result(), Err(u16::MAX));
    }

    #[test]
    fn what_is_cut_is_no_message() {
        let whole = Message {
            service: DMS,
            client: 1,
            fields: vec![(1, vec![1, 2, 3]), (2, Vec::new())],
            ..Message::default()
        }
        .encode();
        assert!(Message::decode(&whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(Message::decode(&whole[..end]), None, "{end}");
        }
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0xff;
            let _ = Message::decode(&broken);
        }
        for broken in [
            &[0u8; 20][..],
            &[0xff; 20],
            &[1, 0, 0, 0],
            &[1, 2, 0, 0, 0, 0],
        ] {
            assert_eq!(Message::decode(broken), None, "{broken:?}");
        }
    }
}
