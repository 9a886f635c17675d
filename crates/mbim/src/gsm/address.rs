//! Telephone numbers and alphanumeric senders (3GPP TS 23.040 sections 9.1.2.3 and 9.1.2.5).

use std::fmt;
use std::str::FromStr;

use super::alphabet;

/// Largest number of digits in an address (3GPP TS 23.040 section 9.1.2.5).
pub(crate) const MOST_DIGITS: usize = 20;

/// Type of an international number in the ISDN numbering plan.
const INTERNATIONAL: u8 = 0x91;
/// Type of a number of unknown kind in the ISDN numbering plan.
const UNKNOWN: u8 = 0x81;

/// Characters that the semi-octets 0 to 14 stand for; 15 is a filler.
const DIGITS: [char; 15] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'a', 'b', 'c',
];

/// Telephone number or alphanumeric sender. Its text is personal, so [`fmt::Debug`] hides it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Address(String);

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::print::HIDDEN)
    }
}

/// Writes the address as `+` and digits, as digits alone, or as the name of a sender.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Error for a text that is no telephone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a number is an optional + and 1 to 20 digits, * or #; blanks, dashes and brackets may stand between"
)]
pub struct NotANumber;

impl FromStr for Address {
    type Err = NotANumber;

    fn from_str(text: &str) -> Result<Self, NotANumber> {
        let bare: String = text
            .chars()
            .filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '/' | '.'))
            .collect();
        let digits = bare.strip_prefix('+').unwrap_or(&bare);
        let good = (1..=MOST_DIGITS).contains(&digits.len())
            && digits.chars().all(|c| DIGITS[..12].contains(&c));
        if good {
            Ok(Self(bare))
        } else {
            Err(NotANumber)
        }
    }
}

impl Address {
    /// Returns the address as text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    fn digits(&self) -> (u8, &str) {
        match self.0.strip_prefix('+') {
            Some(digits) => (INTERNATIONAL, digits),
            None => (UNKNOWN, &self.0),
        }
    }

    fn semi_octets(digits: &str) -> Vec<u8> {
        let value = |c: char| DIGITS.iter().position(|known| *known == c).unwrap_or(15) as u8;
        let values: Vec<u8> = digits.chars().map(value).collect();
        values
            .chunks(2)
            .map(|pair| pair[0] | pair.get(1).copied().unwrap_or(15) << 4)
            .collect()
    }

    /// Encodes a destination address: the number of digits, the type, and the digits in
    /// semi-octets. The result is correct only for a number parsed from text, not for the name of a
    /// sender.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, digits) = self.digits();
        let mut out = vec![digits.len() as u8, kind];
        out.extend(Self::semi_octets(digits));
        out
    }

    /// Encodes a message centre address: the number of octets that follow, the type, and the digits
    /// in semi-octets.
    #[must_use]
    pub fn encode_centre(&self) -> Vec<u8> {
        let (kind, digits) = self.digits();
        let octets = Self::semi_octets(digits);
        let mut out = vec![octets.len() as u8 + 1, kind];
        out.extend(octets);
        out
    }

    /// Reads an address of type `kind` from its octets, of which `semi_octets` half octets are in
    /// use.
    pub(super) fn decode(kind: u8, octets: &[u8], semi_octets: usize) -> Self {
        if kind >> 4 & 7 == 5 {
            let septets = alphabet::unpack(octets, semi_octets * 4 / 7, 0);
            return Self(alphabet::from_septets(&septets));
        }
        let mut text = String::new();
        if kind >> 4 & 7 == 1 {
            text.push('+');
        }
        text.extend(
            octets
                .iter()
                .flat_map(|octet| [octet & 15, octet >> 4])
                .take(semi_octets)
                .filter_map(|value| DIGITS.get(usize::from(value))),
        );
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The vectors come from ModemManager's unit tests of its address encoder.
    #[test]
    fn numbers_encode_in_both_forms() {
        let encode = |text: &str| text.parse::<Address>().unwrap();
        let international = encode("+1 (903) 702-9920");
        assert_eq!(
            international.encode(),
            [0x0b, 0x91, 0x91, 0x30, 0x07, 0x92, 0x29, 0xf0]
        );
        assert_eq!(
            international.encode_centre(),
            [0x07, 0x91, 0x91, 0x30, 0x07, 0x92, 0x29, 0xf0]
        );
        let unknown = encode("9037029920");
        assert_eq!(unknown.encode(), [0x0a, 0x81, 0x09, 0x73, 0x20, 0x99, 0x02]);
        assert_eq!(
            unknown.encode_centre(),
            [0x06, 0x81, 0x09, 0x73, 0x20, 0x99, 0x02]
        );
    }

    #[test]
    fn numbers_come_back_and_stay_out_of_logs() {
        for text in ["+4790002100", "1800", "*100#", "1"] {
            let address: Address = text.parse().unwrap();
            let bytes = address.encode();
            let back = Address::decode(bytes[1], &bytes[2..], bytes[0].into());
            assert_eq!(back.text(), text);
            assert!(!format!("{address:?}").contains(text));
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "+", "12a", "+49x", "1+2", "٣", &"1".repeat(21)] {
            assert_eq!(text.parse::<Address>(), Err(NotANumber), "{text}");
        }
    }
}
