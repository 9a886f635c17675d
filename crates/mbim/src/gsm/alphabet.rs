//! GSM 7-bit default alphabet (3GPP TS 23.038 section 6.2.1), its extension (section 6.2.1.1), and
//! the packing of septets into octets (section 6.1.2.1).
//!
//! National language tables are not supported: a message that asks for one is read with the default
//! alphabet.

/// Septet that announces a septet of the extension table.
pub const ESCAPE: u8 = 0x1b;

/// Default alphabet in the order of its septets. [`ESCAPE`] stands as U+00A0, as a receiver that
/// does not know the extension shows it.
const DEFAULT: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å', //
    'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', '\u{a0}', 'Æ', 'æ', 'ß', 'É', //
    ' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/', //
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?', //
    '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', //
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§', //
    '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', //
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à',
];

/// Extension table, as pairs of the septet after [`ESCAPE`] and its character.
const EXTENSION: [(u8, char); 10] = [
    (0x0a, '\u{c}'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2f, '\\'),
    (0x3c, '['),
    (0x3d, '~'),
    (0x3e, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

/// Returns the septets of a character: [`ESCAPE`] in front if the character is in the extension
/// table, and its septet. Returns `None` for a character the alphabet does not have.
#[must_use]
pub(crate) fn septets_of(c: char) -> Option<(Option<u8>, u8)> {
    if let Some(at) = DEFAULT.iter().position(|known| *known == c)
        && at != usize::from(ESCAPE)
    {
        return Some((None, at as u8));
    }
    EXTENSION
        .iter()
        .find(|(_, known)| *known == c)
        .map(|(septet, _)| (Some(ESCAPE), *septet))
}

/// Returns the septets of a text, one per byte, or `None` when a character is not in the alphabet.
#[must_use]
pub(crate) fn to_septets(text: &str) -> Option<Vec<u8>> {
    let mut septets = Vec::with_capacity(text.len());
    for c in text.chars() {
        let (escape, septet) = septets_of(c)?;
        septets.extend(escape);
        septets.push(septet);
    }
    Some(septets)
}

/// Returns the text of `septets`. An unknown septet after [`ESCAPE`] is read with the default
/// alphabet, as the specification asks; an [`ESCAPE`] at the end or before another one becomes a
/// space.
#[must_use]
pub(crate) fn from_septets(septets: &[u8]) -> String {
    let mut text = String::with_capacity(septets.len());
    let mut escaped = false;
    for septet in septets.iter().map(|septet| septet & 0x7f) {
        if escaped {
            escaped = false;
            if septet == ESCAPE {
                text.push(' ');
                continue;
            }
            let extended = EXTENSION.iter().find(|(known, _)| *known == septet);
            text.push(extended.map_or(DEFAULT[usize::from(septet)], |(_, c)| *c));
        } else if septet == ESCAPE {
            escaped = true;
        } else {
            text.push(DEFAULT[usize::from(septet)]);
        }
    }
    if escaped {
        text.push(' ');
    }
    text
}

/// Packs septets into octets, the first septet in the lowest bits, after `fill` zero bits.
#[must_use]
pub fn pack(septets: &[u8], fill: usize) -> Vec<u8> {
    let mut octets = vec![0; (fill + septets.len() * 7).div_ceil(8)];
    for (index, septet) in septets.iter().enumerate() {
        let bit = fill + index * 7;
        let wide = u16::from(septet & 0x7f) << (bit % 8);
        octets[bit / 8] |= wide as u8;
        if let Some(next) = octets.get_mut(bit / 8 + 1) {
            *next |= (wide >> 8) as u8;
        }
    }
    octets
}

/// Unpacks at most `count` septets that follow `fill` bits. There are fewer when the octets end
/// earlier.
#[must_use]
pub fn unpack(octets: &[u8], count: usize, fill: usize) -> Vec<u8> {
    let there = (octets.len() * 8).saturating_sub(fill) / 7;
    (0..count.min(there))
        .map(|index| {
            let bit = fill + index * 7;
            let low = u16::from(octets[bit / 8]);
            let high = u16::from(octets.get(bit / 8 + 1).copied().unwrap_or(0));
            ((low | high << 8) >> (bit % 8)) as u8 & 0x7f
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hellohello_packs_as_everywhere() {
        let octets = [0xe8, 0x32, 0x9b, 0xfd, 0x46, 0x97, 0xd9, 0xec, 0x37];
        let septets = to_septets("hellohello").unwrap();
        assert_eq!(pack(&septets, 0), octets);
        assert_eq!(from_septets(&unpack(&octets, 10, 0)), "hellohello");
    }

    #[test]
    fn every_character_comes_back() {
        let all: String = DEFAULT
            .iter()
            .copied()
            .filter(|c| *c != '\u{a0}')
            .chain(EXTENSION.map(|(_, c)| c))
            .collect();
        let septets = to_septets(&all).unwrap();
        assert_eq!(septets.len(), 127 + 20);
        for fill in 0..7 {
            let octets = pack(&septets, fill);
            assert_eq!(unpack(&octets, septets.len(), fill), septets, "fill {fill}");
        }
        assert_eq!(from_septets(&septets), all);
        for foreign in ["ç", "`", "ё", "\u{a0}", "\u{1f600}"] {
            assert_eq!(to_septets(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn odd_escapes_are_shown_and_nothing_is_read_past_the_end() {
        assert_eq!(from_septets(&[0x1b]), " ");
        assert_eq!(from_septets(&[0x1b, 0x1b, 0x41]), " A");
        assert_eq!(from_septets(&[0x1b, 0x41]), "A");
        assert_eq!(unpack(&[0xff], 200, 0), [0x7f]);
        assert_eq!(unpack(&[], 3, 6), Vec::<u8>::new());
        assert_eq!(unpack(&[0xff], 1, 6), Vec::<u8>::new());
    }
}
