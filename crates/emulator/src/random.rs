//! Repeatable random numbers for the fault knobs: xorshift64* (Marsaglia 2003; Vigna 2016).

/// A generator whose numbers follow from its seed.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// Makes a generator from a seed.
    pub fn new(seed: u64) -> Self {
        // The state must not be zero.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns the next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns whether an event with this rate, in occurrences per million, happens.
    pub fn happens(&mut self, per_million: u32) -> bool {
        per_million != 0 && ((self.next() >> 32) * 1_000_000) >> 32 < u64::from(per_million)
    }

    /// Returns a number below `limit`, or 0 when `limit` is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        if limit == 0 {
            0
        } else {
            (self.next() >> 16) as usize % limit
        }
    }

    /// Fills `bytes` with noise.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let noise = self.next().to_le_bytes();
            chunk.copy_from_slice(&noise[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_about_right_and_repeat() {
        let count = |seed| {
            let mut random = Random::new(seed);
            (0..100_000).filter(|_| random.happens(10_000)).count()
        };
        assert!((800..1200).contains(&count(1)), "{}", count(1));
        assert_eq!(count(7), count(7));
        let mut random = Random::new(0);
        assert!(!random.happens(0));
        assert!((0..100).all(|_| random.happens(1_000_000)));
        assert_eq!(random.below(0), 0);
        assert!((0..100).all(|_| random.below(3) < 3));
    }
}
