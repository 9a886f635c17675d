//! The Internet checksum (RFC 1071), a sum of 16-bit words in one's complement.
//!
//! Such a sum does not depend on byte order as long as words are read and written in the same one
//! (RFC 1071 section 2B), so everything here uses the machine's. Wide words add up to the same
//! remainder as their halves. Therefore 64 bits are summed at once, and every carry is added where
//! it occurs: that takes one instruction for eight bytes, as in Linux
//! arch/x86/lib/csum-partial_64.c. Vectors of narrower lanes take more, because they have no carry
//! and words must be widened.

use std::ops::{Add, AddAssign};

/// A one's complement sum, not yet folded.
///
/// Parts of a message may be summed separately and added if each but the last has an even length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Returns the sum of `bytes`; an odd last byte counts as the first of a word.
    #[inline]
    #[must_use]
    pub fn of(bytes: &[u8]) -> Sum {
        let (blocks, rest) = bytes.as_chunks::<256>();
        let sum = blocks.iter().fold(0, add_all);
        let (sum, rest) = add_first::<128>(sum, rest);
        let (sum, rest) = add_first::<64>(sum, rest);
        let (sum, rest) = add_first::<32>(sum, rest);
        let (sum, rest) = add_first::<16>(sum, rest);
        let (sum, rest) = add_first::<8>(sum, rest);
        let (sum, rest) = match rest.split_first_chunk::<4>() {
            Some((half, rest)) => (add(sum, u64::from(u32::from_ne_bytes(*half))), rest),
            None => (sum, rest),
        };
        let last = match *rest {
            [a] => [a, 0, 0, 0],
            [a, b] => [a, b, 0, 0],
            [a, b, c] => [a, b, c, 0],
            _ => [0; 4],
        };
        Sum(add(sum, u64::from(u32::from_ne_bytes(last))))
    }

    /// Returns the same sum as [`Sum::of`], faster for a few bytes.
    #[inline]
    #[must_use]
    pub(crate) fn of_array<const N: usize>(bytes: &[u8; N]) -> Sum {
        let (words, rest) = bytes.as_chunks::<4>();
        let words = words
            .iter()
            .map(|word| u64::from(u32::from_ne_bytes(*word)));
        Sum(add(words.sum(), Sum::of(rest).0))
    }

    /// Returns the sum of one number as it is written in a header, big-endian.
    #[inline]
    #[must_use]
    pub fn of_u16(value: u16) -> Sum {
        Sum(u64::from(value.to_be()))
    }

    /// Returns the sum of one number as it is written in a header, big-endian.
    #[inline]
    #[must_use]
    pub(crate) fn of_u32(value: u32) -> Sum {
        Sum(u64::from(value.to_be()))
    }

    /// Returns the sum folded to sixteen bits. It is 0 only for a sum of zeros.
    #[inline]
    #[must_use]
    pub fn fold(self) -> [u8; 2] {
        let mut sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        sum = (sum & 0xffff_ffff) + (sum >> 32);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        // At most one carry remains.
        sum = (sum & 0xffff) + (sum >> 16);
        (sum as u16).to_ne_bytes()
    }

    /// Returns the value of the checksum field, in the byte order of the header.
    #[inline]
    #[must_use]
    pub fn checksum(self) -> [u8; 2] {
        let [first, second] = self.fold();
        [!first, !second]
    }

    /// Returns the value of [`Sum::checksum`] with 0 written as 0xffff, which means the same and is
    /// not UDP's "no checksum" (RFC 768).
    #[inline]
    #[must_use]
    pub fn checksum_not_zero(self) -> [u8; 2] {
        match self.checksum() {
            [0, 0] => [0xff, 0xff],
            checksum => checksum,
        }
    }

    /// Returns whether a message whose sum includes its checksum is intact.
    #[inline]
    #[must_use]
    pub(crate) fn is_intact(self) -> bool {
        self.fold() == [0xff, 0xff]
    }
}

/// Returns the sum of two numbers in one's complement.
#[inline]
fn add(left: u64, right: u64) -> u64 {
    let (sum, carry) = left.overflowing_add(right);
    // A sum that overflowed is less than all ones, so the carry cannot overflow again.
    sum + u64::from(carry)
}

/// Adds all words of `N` bytes in an unrolled loop, and the last carry by itself.
#[inline]
fn add_all<const N: usize>(mut sum: u64, block: &[u8; N]) -> u64 {
    let mut carry = false;
    for word in block.as_chunks::<8>().0 {
        (sum, carry) = sum.carrying_add(u64::from_ne_bytes(*word), carry);
    }
    add(sum, u64::from(carry))
}

/// Adds the first `N` bytes if there are as many, and returns the rest.
#[inline]
fn add_first<const N: usize>(sum: u64, bytes: &[u8]) -> (u64, &[u8]) {
    match bytes.split_first_chunk::<N>() {
        Some((block, rest)) => (add_all(sum, block), rest),
        None => (sum, bytes),
    }
}

impl Add for Sum {
    type Output = Sum;

    #[inline]
    fn add(self, other: Sum) -> Sum {
        Sum(add(self.0, other.0))
    }
}

impl AddAssign for Sum {
    #[inline]
    fn add_assign(&mut self, other: Sum) {
        *self = *self + other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums word by word, as RFC 1071 section 4.1 describes it.
    fn plain(bytes: &[u8]) -> [u8; 2] {
        let mut sum = 0_u64;
        for pair in bytes.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (sum as u16).to_be_bytes()
    }

    #[test]
    fn rfc_1071_example() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(&bytes).fold(), [0xdd, 0xf2]);
    }

    #[test]
    fn every_length_sums_as_word_by_word() {
        let bytes: Vec<u8> = (0..5000_u32).map(|at| (at * 167 + at / 7) as u8).collect();
        for length in (0..200).chain([1459, 1460, 1500, 4999, 5000]) {
            assert_eq!(Sum::of(&bytes[..length]).fold(), plain(&bytes[..length]));
        }
    }

    #[test]
    fn carries_are_not_lost() {
        let bytes = vec![0xff; 1 << 16];
        assert_eq!(Sum::of(&bytes).fold(), [0xff, 0xff]);
        let all = (0..1000).fold(Sum::default(), |sum, _| sum + Sum::of(&bytes));
        assert_eq!(all.fold(), [0xff, 0xff]);
        assert_eq!(Sum(u64::MAX).fold(), [0xff, 0xff]);
        assert_eq!(Sum(u64::MAX - 1).fold(), 0xfffe_u16.to_ne_bytes());
    }

    #[test]
    fn parts_add_up() {
        let bytes: Vec<u8> = (0..101).collect();
        let parts = Sum::of(&bytes[..40]) + Sum::of(&bytes[40..]);
        assert_eq!(parts.fold(), Sum::of(&bytes).fold());
        let numbers = Sum::of_u32(0x0102_0304) + Sum::of_u16(0x0506);
        assert_eq!(numbers.fold(), Sum::of(&[1, 2, 3, 4, 5, 6]).fold());
    }

    #[test]
    fn few_bytes_sum_as_many_do() {
        let array: [u8; 38] = std::array::from_fn(|at| 0xff - 5 * at as u8);
        assert_eq!(Sum::of_array(&array).fold(), plain(&array));
        assert_eq!(Sum::of_array(&[0xff; 20]).fold(), [0xff, 0xff]);
        assert_eq!(Sum::of_array(&[]).fold(), [0, 0]);
    }

    #[test]
    fn zero_is_written_as_its_other_self() {
        let all = Sum::of(&[0xff, 0xff]);
        assert_eq!(all.checksum(), [0, 0]);
        assert_eq!(all.checksum_not_zero(), [0xff, 0xff]);
        assert!(all.is_intact());
        assert!(!Sum::default().is_intact());
    }
}
