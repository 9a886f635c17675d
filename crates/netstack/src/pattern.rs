//! The generated body of downloads, which is endless, always the same, and verifiable at any
//! offset.
//!
//! It is a sequence of 64-bit words in little-endian byte order. Word number `n`, from 0, is
//! `(n + 1) × 0x9E3779B97F4A7C15` modulo 2⁶⁴. No word repeats, so lost, doubled or reordered data is
//! noticed at once.

/// 2⁶⁴ divided by the golden ratio, made odd.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// Returns the bytes of word number `number`.
fn word(number: u64) -> [u8; 8] {
    number.wrapping_add(1).wrapping_mul(FACTOR).to_le_bytes()
}

/// Writes the pattern from byte `offset` on over all of `buffer`.
pub fn fill(offset: u64, buffer: &mut [u8]) {
    let inside = (offset % 8) as usize;
    let mut number = offset / 8;
    let mut rest = buffer;
    if inside != 0 {
        let bytes = &word(number)[inside..];
        let length = bytes.len().min(rest.len());
        let (head, tail) = rest.split_at_mut(length);
        head.copy_from_slice(&bytes[..length]);
        rest = tail;
        number = number.wrapping_add(1);
    }
    let (words, tail) = rest.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = word(number);
        number = number.wrapping_add(1);
    }
    let length = tail.len();
    tail.copy_from_slice(&word(number)[..length]);
}

/// Compares `data` with the pattern from byte `offset` on. Returns the offset within `data` of the
/// first byte that differs.
#[must_use]
pub fn mismatch(offset: u64, data: &[u8]) -> Option<usize> {
    let mut expected = [0; 4096];
    let mut start = 0;
    for chunk in data.chunks(expected.len()) {
        let expected = &mut expected[..chunk.len()];
        fill(offset.wrapping_add(start as u64), expected);
        if expected != chunk {
            let within = chunk
                .iter()
                .zip(expected.iter())
                .position(|(got, want)| got != want);
            return within.map(|within| start + within);
        }
        start += chunk.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_words_are_as_documented() {
        let mut bytes = [0; 20];
        fill(0, &mut bytes);
        assert_eq!(bytes[..8], [0x15, 0x7c, 0x4a, 0x7f, 0xb9, 0x79, 0x37, 0x9e]);
        assert_eq!(bytes[8..16], 0x3C6E_F372_FE94_F82A_u64.to_le_bytes());
    }

    proptest! {
        #[test]
        fn any_piece_is_a_piece_of_the_whole(offset in 0..5000_u64, length in 0..5000_usize) {
            let mut whole = vec![0; 10_000];
            fill(0, &mut whole);
            let mut piece = vec![0; length];
            fill(offset, &mut piece);
            prop_assert_eq!(&whole[offset as usize..offset as usize + length], &piece[..]);
            prop_assert_eq!(mismatch(offset, &piece), None);
        }

        #[test]
        fn a_changed_byte_is_found(at in 0..9000_usize, bit in 0..8_u8) {
            let mut bytes = vec![0; 9000];
            fill(77, &mut bytes);
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(mismatch(77, &bytes), Some(at));
        }
    }
}
