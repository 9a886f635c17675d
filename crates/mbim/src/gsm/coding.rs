//! Data coding schemes, which say how the octets of a text are read (3GPP TS 23.038 sections 4 and
//! 5).

use super::alphabet;

/// Coding of the octets of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// Septets of the GSM 7-bit default alphabet, packed into octets.
    Gsm7,
    /// Bytes that are no text.
    Data,
    /// UCS-2 in big-endian byte order. Surrogate pairs are accepted, since networks carry them.
    Ucs2,
}

/// Data coding scheme of USSD text in the GSM 7-bit default alphabet, with no language stated.
const USSD_GSM7: u8 = 0x0f;
/// Data coding scheme of USSD text in UCS-2.
const USSD_UCS2: u8 = 0x48;
/// Septet of the carriage return, which fills the last seven bits of a USSD text.
const RETURN: u8 = 0x0d;
/// Largest size of a USSD text in octets (3GPP TS 24.080, `ussd-DataCodingScheme`, and MBIM 1.0
/// section 10.7).
pub const USSD_MOST: usize = 160;

/// Returns the alphabet that the data coding scheme of a short message names (3GPP TS 23.038
/// section 4), and whether the text is compressed.
#[must_use]
pub(crate) const fn of_message(scheme: u8) -> (Alphabet, bool) {
    let general = match scheme >> 2 & 3 {
        1 => Alphabet::Data,
        2 => Alphabet::Ucs2,
        _ => Alphabet::Gsm7,
    };
    match scheme >> 4 {
        0..=7 => (general, scheme & 0x20 != 0),
        0xe => (Alphabet::Ucs2, false),
        0xf if scheme & 4 != 0 => (Alphabet::Data, false),
        _ => (Alphabet::Gsm7, false),
    }
}

/// Returns the display class of a short message, from 0 (shown at once) to 3, or `None` when its
/// data coding scheme has none.
#[must_use]
pub(crate) const fn class_of(scheme: u8) -> Option<u8> {
    let has = match scheme >> 4 {
        0..=7 => scheme & 0x10 != 0,
        0xf => true,
        _ => false,
    };
    if has { Some(scheme & 3) } else { None }
}

/// Returns the text of UCS-2 octets in big-endian byte order. What is no character becomes U+FFFD.
#[must_use]
pub fn from_ucs2(octets: &[u8]) -> String {
    let units = octets
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Returns the UCS-2 octets of a text in big-endian byte order.
#[must_use]
pub(crate) fn to_ucs2(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// Encodes a USSD text. Returns its data coding scheme and octets, or `None` when it takes more
/// than [`USSD_MOST`] octets.
#[must_use]
pub fn to_ussd(text: &str) -> Option<(u8, Vec<u8>)> {
    let (scheme, octets) = match alphabet::to_septets(text) {
        Some(mut septets) => {
            // Seven bits left over would read as one more character, "@" (3GPP TS 23.038 section
            // 6.1.2.3.1).
            if septets.len() % 8 == 7 {
                septets.push(RETURN);
            }
            (USSD_GSM7, alphabet::pack(&septets, 0))
        }
        None => (USSD_UCS2, to_ucs2(text)),
    };
    (octets.len() <= USSD_MOST).then_some((scheme, octets))
}

/// Returns the text of a USSD answer, or `None` when it is bytes rather than text.
#[must_use]
pub fn from_ussd(scheme: u8, octets: &[u8]) -> Option<String> {
    let gsm7 = |octets: &[u8], fill| {
        let mut septets = alphabet::unpack(octets, usize::MAX, fill);
        if septets.len().is_multiple_of(8) && septets.last() == Some(&RETURN) {
            septets.pop();
        }
        alphabet::from_septets(&septets)
    };
    match (scheme, ussd_alphabet(scheme)) {
        // Two letters of language and a line end (GSM 7-bit), or two letters (UCS-2), come first.
        (0x10, _) => Some(gsm7(octets, 0).chars().skip(3).collect()),
        (0x11, _) => Some(from_ucs2(octets.get(2..)?)),
        (_, Alphabet::Gsm7) => Some(gsm7(octets, 0)),
        (_, Alphabet::Ucs2) => Some(from_ucs2(octets)),
        (_, Alphabet::Data) => None,
    }
}

/// Returns the alphabet that the data coding scheme of a USSD text names (3GPP TS 23.038 section 5).
#[must_use]
pub const fn ussd_alphabet(scheme: u8) -> Alphabet {
    match scheme >> 4 {
        1 if scheme == 0x11 => Alphabet::Ucs2,
        4..=7 | 9 => of_message(scheme & 0x0c).0,
        0xf if scheme & 4 != 0 => Alphabet::Data,
        _ => Alphabet::Gsm7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_of_messages() {
        for (scheme, alphabet) in [
            (0x00, Alphabet::Gsm7),
            (0x04, Alphabet::Data),
            (0x08, Alphabet::Ucs2),
            (0x0c, Alphabet::Gsm7),
            (0x18, Alphabet::Ucs2),
            (0xc0, Alphabet::Gsm7),
            (0xe0, Alphabet::Ucs2),
            (0xf1, Alphabet::Gsm7),
            (0xf5, Alphabet::Data),
        ] {
            assert_eq!(of_message(scheme).0, alphabet, "{scheme:#x}");
        }
        assert!(of_message(0x20).1);
        assert_eq!(class_of(0x10), Some(0));
        assert_eq!(class_of(0xf1), Some(1));
        assert_eq!(class_of(0x00), None);
    }

    #[test]
    fn a_ussd_code_packs_as_phones_send_it() {
        // Manuals of AT+CUSD print the code in this form.
        assert_eq!(
            to_ussd("*100#").unwrap(),
            (0x0f, vec![0xaa, 0x18, 0x0c, 0x36, 0x02])
        );
        let (scheme, octets) = to_ussd("Баланс").unwrap();
        assert_eq!((scheme, octets.len()), (0x48, 12));
        assert_eq!(from_ussd(scheme, &octets).unwrap(), "Баланс");
        assert_eq!(to_ussd(&"ж".repeat(81)), None);
        assert!(to_ussd(&"x".repeat(182)).is_some());
        assert_eq!(to_ussd(&"x".repeat(183)), None);
    }

    #[test]
    fn seven_characters_do_not_grow_an_at_sign() {
        for text in ["1234567", "12345678", "123456", "x\r"] {
            let (scheme, octets) = to_ussd(text).unwrap();
            assert_eq!(from_ussd(scheme, &octets).unwrap(), text);
        }
    }

    #[test]
    fn any_octets_are_read_without_harm() {
        for scheme in 0..=255 {
            for octets in [&[][..], &[0xff], &[0xd8; 7], &[0x1b; 300]] {
                let _ = from_ussd(scheme, octets);
            }
        }
        assert_eq!(from_ussd(0xf4, b"ab"), None);
        assert_eq!(from_ucs2(&[0xd8, 0x00, 0x00]), "\u{fffd}");
    }
}
