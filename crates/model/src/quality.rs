//! How good a clip looks: one setting for both engines and every codec.
//!
//! On one vCPU and at the same look (SSIM), libx265 `veryfast` takes three times as long as libx264 `veryfast` but two
//! thirds of the bytes; libvpx VP9 `realtime` 5 takes 2.2 times as long for the same bytes, and its `good` 5 seven
//! times.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How good a clip looks, and how large it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Quality {
    /// About half the size of `medium`: for previews and slow connections.
    Low,
    /// Hardly to be told from the source.
    #[default]
    Medium,
    /// For further editing; about half as large again as `medium`.
    High,
}

impl Quality {
    /// libx264's constant rate factor: 0 is lossless, 51 the worst, 18 to 28 is usual, and 6 more halve the size.
    #[must_use]
    pub const fn crf(self) -> u8 {
        match self {
            Self::Low => 26,
            Self::Medium => 20,
            Self::High => 17,
        }
    }

    /// libx265's constant rate factor for the same look: its default, 28, stands for libx264's 23 (`FFmpeg` wiki,
    /// "Encode/H.265").
    #[must_use]
    pub const fn hevc_crf(self) -> u8 {
        self.crf() + 5
    }

    /// libvpx's constant quality for the same look, 0 to 63: for VP9 at 1080p, 31 is recommended where libx264 uses 23
    /// (`FFmpeg` wiki, "Encode/VP9").
    #[must_use]
    pub const fn vp9_crf(self) -> u8 {
        self.crf() + 8
    }
}

/// The QVBR quality level of `MediaConvert` that looks like a CRF: 1 is the worst, 10 almost lossless.
///
/// AWS recommends 8 for 1080p and 7 for smaller pictures (the templates of AWS's Video on Demand solution), where
/// libx264's usual factors are 20 and 23: three steps of CRF equal one quality level.
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
