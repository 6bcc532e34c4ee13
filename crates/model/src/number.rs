//! Converts measured numbers to whole ones. A value that does not fit its type becomes the nearest bound.

/// The nearest whole number, at least 0.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "such a cast saturates"
)]
pub fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// As [`whole`], with 32 bits.
#[must_use]
pub fn whole_u32(value: f64) -> u32 {
    u32::try_from(whole(value)).unwrap_or(u32::MAX)
}

/// The nearest whole number, which may be negative.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "such a cast saturates")]
pub fn signed(value: f64) -> i64 {
    value.round() as i64
}
