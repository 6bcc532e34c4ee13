//! Exact arithmetic between timescales.

/// Converts `value` from units of 1/`from` second to units of 1/`to` second, rounding to nearest, halves up.
///
/// Saturates on overflow.
pub(crate) fn rescale(value: i64, from: u32, to: u32) -> i64 {
    let (value, from, to) = (i128::from(value), i128::from(from.max(1)), i128::from(to));
    let rescaled = (2 * value * to + from).div_euclid(2 * from);
    i64::try_from(rescaled).unwrap_or(if rescaled < 0 { i64::MIN } else { i64::MAX })
}

/// The nearest whole number, at least 0. Saturates on overflow.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "such a cast saturates"
)]
pub(crate) fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// An instant, or a length of time, in units of 1/`timescale` second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time {
    pub ticks: i64,
    pub timescale: u32,
}

impl Time {
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds are for people and for JSON"
    )]
    pub fn seconds(self) -> f64 {
        self.ticks as f64 / f64::from(self.timescale)
    }

    /// The nearest instant in `timescale` to `seconds`, which must be finite.
    #[expect(clippy::cast_possible_truncation, reason = "such a cast saturates")]
    pub fn from_seconds(seconds: f64, timescale: u32) -> Self {
        Self {
            ticks: (seconds * f64::from(timescale)).round() as i64,
            timescale,
        }
    }

    /// `self` minus `other`, in seconds, exact up to the last division.
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds are for people and for JSON"
    )]
    pub fn seconds_since(self, other: Self) -> f64 {
        let difference = self.common(other) - other.common(self);
        difference as f64 / (f64::from(self.timescale) * f64::from(other.timescale))
    }

    pub fn is_before(self, other: Self) -> bool {
        self.common(other) < other.common(self)
    }

    fn common(self, other: Self) -> i128 {
        i128::from(self.ticks) * i128::from(other.timescale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rescale_rounds_to_the_nearest() {
        assert_eq!(rescale(1, 3, 10), 3);
        assert_eq!(rescale(2, 3, 10), 7);
        assert_eq!(rescale(-1, 2, 1), 0);
        assert_eq!(rescale(i64::MAX, 1, u32::MAX), i64::MAX);
    }

    proptest! {
        #[test]
        fn rescale_to_a_finer_timescale_and_back_is_the_same(value in -1_000_000_000_000_i64..1_000_000_000_000, from in 1_u32..100_000, factor in 1_u32..1000) {
            prop_assert_eq!(rescale(rescale(value, from, from * factor), from * factor, from), value);
        }
    }
}
