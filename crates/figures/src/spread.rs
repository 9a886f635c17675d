//! Median and spread of a few values of one quantity.

use serde::Serialize;

/// Median of some values, and their range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Number of values.
    pub count: usize,
    /// Median; for an even number of values, the mean of the two in the middle.
    pub median: f64,
    /// Lowest value.
    pub low: f64,
    /// Highest value.
    pub high: f64,
}

impl Spread {
    /// Returns the spread of the finite values; `None` if there are none.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        Some(Spread {
            count,
            low: *sorted.first()?,
            high: *sorted.last()?,
            median: f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]),
        })
    }

    /// Returns half of the difference between the highest and the lowest value, as a fraction of
    /// the median; 0 where the median is 0.
    #[must_use]
    pub fn relative(&self) -> f64 {
        if self.median == 0.0 {
            0.0
        } else {
            ((self.high - self.low) / 2.0 / self.median).abs()
        }
    }

    /// Returns the spread in words that stand behind the median; none where there is one value.
    pub(crate) fn words(&self) -> String {
        match self.count {
            ..=1 => String::new(),
            _ => format!(" ± {:.1} %", self.relative() * 100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_even_and_none() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]).map(|s| s.median), Some(2.0));
        let even = Spread::of(&[4.0, 1.0, 2.0, 3.0]).expect("some");
        assert_eq!((even.median, even.low, even.high), (2.5, 1.0, 4.0));
        assert!((even.relative() - 0.6).abs() < 1e-9);
        assert_eq!(even.words(), " ± 60.0 %");
        assert_eq!(Spread::of(&[4.0]).map(|s| s.words()), Some(String::new()));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn what_is_no_number_does_not_count() {
        let spread = Spread::of(&[f64::NAN, 5.0, f64::INFINITY]).expect("one");
        assert_eq!((spread.count, spread.median), (1, 5.0));
        assert_eq!(Spread::of(&[f64::NAN]), None);
        assert_eq!(Spread::of(&[0.0, 0.0]).map(|s| s.relative()), Some(0.0));
    }
}
