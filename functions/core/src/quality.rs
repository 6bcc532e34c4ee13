//! How good a clip looks: one setting for both engines.

/// libx264's constant rate factor: 0 is lossless, 51 the worst, 18 to 28 is usual, and 6 more halve the size.
pub const CRF: u8 = 20;

/// The quality level of `MediaConvert`'s QVBR that looks as a CRF does: 1 is the worst, 10 almost lossless.
///
/// AWS recommends 8 for 1080p and 7 for smaller pictures (the templates of AWS's Video on Demand
/// solution), where libx264's usual factors are 20 and 23: three steps of the one are one of the other.
#[must_use]
pub const fn qvbr_level(crf: u8) -> u8 {
    let steps = (44_u8.saturating_sub(crf)) / 3;
    match steps {
        0 => 1,
        1..=10 => steps,
        _ => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_factor_is_no_worse_level() {
        assert_eq!([17, 20, 23, 26].map(qvbr_level), [9, 8, 7, 6]);
        assert!((0..51).all(|crf| qvbr_level(crf) >= qvbr_level(crf + 1)));
        assert!((0..=51).all(|crf| (1..=10).contains(&qvbr_level(crf))));
    }
}
