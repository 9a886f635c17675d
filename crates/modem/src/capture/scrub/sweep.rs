//! The last search of the bytes that are kept: identities that were met anywhere are replaced
//! wherever else they are written, as text or in half octets.

use aho_corasick::{AhoCorasick, MatchKind};

use super::identities::Identities;

/// Least number of digits in half octets whose match is no coincidence.
const HALF_OCTETS: usize = 10;

/// Searches for identities.
pub struct Sweep {
    search: Option<AhoCorasick>,
    replacements: Vec<Vec<u8>>,
}

impl Sweep {
    /// Prepares the search for all identities met. Without any identity, or with more than can be
    /// searched for at once, the search finds nothing.
    pub fn new(identities: &Identities) -> Self {
        let mut patterns = Vec::new();
        let mut replacements = Vec::new();
        for (before, after) in identities.sought() {
            for (pattern, replacement) in forms(before).into_iter().zip(forms(after)) {
                patterns.push(pattern);
                replacements.push(replacement);
            }
        }
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&patterns);
        Self {
            search: search.ok(),
            replacements,
        }
    }

    /// Replaces in `new` the identities that are found in `before`, except where something has been
    /// replaced already. Returns the number of places.
    pub fn pass(&self, before: &[u8], new: &mut [u8]) -> u64 {
        let Some(search) = &self.search else {
            return 0;
        };
        let mut places = 0;
        for found in search.find_iter(before) {
            let replacement = &self.replacements[found.pattern().as_usize()];
            let kept = new.get(found.range()) == before.get(found.range());
            if kept && let Some(there) = new.get_mut(found.range()) {
                there.copy_from_slice(replacement);
                places += 1;
            }
        }
        places
    }
}

/// Returns the forms in which text is written: ASCII, UTF-16 of either byte order, UCS-2 in hexadecimal
/// digits, and, for digits, half octets, also behind a half octet as in the SIM's files (3GPP TS 31.102,
/// 4.2.2), each as bytes and in hexadecimal digits. Texts of one length have as many forms.
fn forms(text: &[u16]) -> Vec<Vec<u8>> {
    let hexadecimal = |bytes: &[u8], upper: bool| -> Vec<u8> {
        bytes
            .iter()
            .flat_map(|byte| {
                let text = if upper {
                    format!("{byte:02X}")
                } else {
                    format!("{byte:02x}")
                };
                text.into_bytes()
            })
            .collect()
    };
    let little: Vec<u8> = text.iter().copied().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.iter().copied().flat_map(u16::to_be_bytes).collect();
    let mut forms = vec![hexadecimal(&big, true), hexadecimal(&big, false)];
    let ascii: Option<Vec<u8>> = text
        .iter()
        .map(|unit| u8::try_from(*unit).ok().filter(u8::is_ascii))
        .collect();
    if let Some(ascii) = ascii {
        if ascii.len() >= HALF_OCTETS && ascii.iter().all(u8::is_ascii_digit) {
            for front in ["", "9", "1"] {
                let mut digits: Vec<u8> = front.bytes().chain(ascii.iter().copied()).collect();
                digits = digits.iter().map(|digit| digit & 15).collect();
                if digits.len() % 2 == 1 {
                    digits.push(15);
                }
                let octets: Vec<u8> = digits
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|[low, high]| low | high << 4)
                    .collect();
                forms.push(hexadecimal(&octets, true));
                forms.push(hexadecimal(&octets, false));
                forms.push(octets);
            }
        }
        forms.push(ascii);
    }
    forms.push(little);
    forms.push(big);
    forms
}

#[cfg(test)]
mod tests {
    use super::super::identities::Kind;
    use super::*;

    #[test]
    fn an_identity_is_found_in_every_form() {
        let mut identities = Identities::default();
        let mut imsi = *b"242010000000001";
        identities.ascii(Kind::Subscriber, &mut imsi);
        let sweep = Sweep::new(&identities);
        let hidden: [&[u8]; 7] = [
            b"at 242010000000001!",
            b"2\x004\x002\x000\x001\x000\x000\x000\x000\x000\x000\x000\x000\x000\x001\x00",
            b"003200340032003000310030003000300030003000300030003000300031",
            // EF_IMSI: length, then the odd parity in front of the digits.
            b"\x08\x29\x24\x10\x00\x00\x00\x00\x10",
            b"0829241000000000 10",
            b"082924100000000010",
            b"\x42\x02\x01\x00\x00\x00\x00\xf1",
        ];
        for (place, text) in hidden.into_iter().enumerate() {
            let mut new = text.to_vec();
            let found = sweep.pass(text, &mut new);
            // The identity at place 4 is broken by a space.
            assert_eq!(found, u64::from(place != 4), "{place}");
            assert_eq!(new != text, place != 4);
            // Bytes that were replaced already stay.
            let mut other = vec![b'?'; text.len()];
            assert_eq!(sweep.pass(text, &mut other), 0);
        }
    }
}
