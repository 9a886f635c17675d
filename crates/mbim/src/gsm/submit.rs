//! Writing of short message PDUs, with long texts in parts (3GPP TS 23.040 sections 9.2.2.2 and
//! 9.2.3.24.1).

use std::time::Duration;

use super::address::Address;
use super::alphabet;
use super::coding::to_ucs2;

/// Largest size of the user data in octets.
const MOST_OCTETS: usize = 140;
/// Largest size of the user data in septets.
const MOST_SEPTETS: usize = 160;
/// Size in octets of the user data header of a part: its length, and the element with a reference
/// of 8 bits.
const HEADER: usize = 6;
/// Largest number of parts of a message.
pub const MOST_PARTS: usize = 255;

const SCHEME_GSM7: u8 = 0x00;
const SCHEME_UCS2: u8 = 0x08;

/// Short message to be sent.
#[derive(Debug, Clone)]
pub struct Submit<'a> {
    /// Address of the recipient.
    pub to: &'a Address,
    /// Address of the message centre; without one, that of the SIM card is used.
    pub centre: Option<&'a Address>,
    /// Text of the message.
    pub text: &'a str,
    /// Reference number, which is the same for all parts of one message and differs for the next
    /// message to the same recipient.
    pub reference: u8,
    /// Whether a status report on the delivery is asked for.
    pub report: bool,
    /// Time for which the message centre may try to deliver; without it, the message centre
    /// decides.
    pub validity: Option<Duration>,
}

/// Reason why a message cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The text takes this number of parts, which is more than [`MOST_PARTS`].
    #[error("the text takes {0} parts, at most {MOST_PARTS} are possible")]
    TooLong(usize),
}

/// Coded text of one part.
enum Coded {
    Septets(Vec<u8>),
    Octets(Vec<u8>),
}

impl Submit<'_> {
    /// Encodes the message as PDUs, one per part, each with the message centre's address in front.
    ///
    /// # Errors
    /// Returns [`SubmitError::TooLong`] when the text takes more than [`MOST_PARTS`] parts.
    pub fn encode(&self) -> Result<Vec<Vec<u8>>, SubmitError> {
        let parts = split(self.text);
        if parts.len() > MOST_PARTS {
            return Err(SubmitError::TooLong(parts.len()));
        }
        let total = parts.len() as u8;
        let place = |number: u8| (total > 1).then_some([5, 0, 3, self.reference, total, number]);
        Ok((1..=total)
            .zip(&parts)
            .map(|(number, part)| self.part(part, place(number)))
            .collect())
    }

    fn part(&self, coded: &Coded, header: Option<[u8; HEADER]>) -> Vec<u8> {
        let mut pdu = self.centre.map_or_else(|| vec![0], Address::encode_centre);
        let validity = self.validity.map(relative);
        let mut first = 0x01;
        first |= u8::from(validity.is_some()) << 4;
        first |= u8::from(self.report) << 5;
        first |= u8::from(header.is_some()) << 6;
        pdu.push(first);
        // The modem assigns the message reference itself.
        pdu.push(0);
        pdu.extend(self.to.encode());
        pdu.push(0);
        pdu.push(match coded {
            Coded::Septets(_) => SCHEME_GSM7,
            Coded::Octets(_) => SCHEME_UCS2,
        });
        pdu.extend(validity);
        let header = header.as_ref().map_or(&[][..], |header| &header[..]);
        match coded {
            Coded::Septets(septets) => {
                let skipped = (header.len() * 8).div_ceil(7);
                pdu.push((skipped + septets.len()) as u8);
                pdu.extend(header);
                pdu.extend(alphabet::pack(septets, skipped * 7 - header.len() * 8));
            }
            Coded::Octets(octets) => {
                pdu.push((header.len() + octets.len()) as u8);
                pdu.extend(header);
                pdu.extend(octets);
            }
        }
        pdu
    }
}

/// Returns the relative validity period (3GPP TS 23.040 section 9.2.3.12.1), rounded up to its next
/// step. The longest is 63 weeks.
fn relative(time: Duration) -> u8 {
    let minutes = time.as_secs().div_ceil(60).max(1);
    let up = |unit: u64| minutes.div_ceil(unit);
    match minutes {
        0..=720 => (up(5) - 1) as u8,
        721..=1440 => (143 + up(30) - 24) as u8,
        1441..=43_200 => (166 + up(1440)) as u8,
        _ => (192 + up(10_080).min(63)) as u8,
    }
}

/// Cuts a text into parts that fit, never within a character.
fn split(text: &str) -> Vec<Coded> {
    match alphabet::to_septets(text) {
        Some(septets) if septets.len() <= MOST_SEPTETS => vec![Coded::Septets(septets)],
        Some(_) => {
            let room = MOST_SEPTETS - (HEADER * 8).div_ceil(7);
            chunks(text, room, |c| {
                alphabet::septets_of(c).map_or(0, |(escape, _)| 1 + usize::from(escape.is_some()))
            })
            .map(|part| Coded::Septets(alphabet::to_septets(part).unwrap_or_default()))
            .collect()
        }
        None => {
            let octets = to_ucs2(text);
            if octets.len() <= MOST_OCTETS {
                return vec![Coded::Octets(octets)];
            }
            // A part holds whole units of 16 bits, so an odd octet stays unused.
            let room = (MOST_OCTETS - HEADER) & !1;
            chunks(text, room, |c| c.len_utf16() * 2)
                .map(|part| Coded::Octets(to_ucs2(part)))
                .collect()
        }
    }
}

/// Returns pieces of the text that take at most `room` each, where a character takes what `size`
/// returns.
fn chunks(text: &str, room: usize, size: impl Fn(char) -> usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut used = 0;
        let end = rest
            .char_indices()
            .find(|(_, c)| {
                used += size(*c);
                used > room
            })
            .map_or(rest.len(), |(at, _)| at);
        let (piece, next) = rest.split_at(end);
        rest = next;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Returns the number of PDUs a text takes, and whether it is coded in UCS-2.
#[must_use]
pub fn measure(text: &str) -> (usize, bool) {
    let parts = split(text);
    let wide = matches!(parts.first(), Some(Coded::Octets(_)));
    (parts.len(), wide)
}
