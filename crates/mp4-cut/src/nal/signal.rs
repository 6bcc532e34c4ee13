//! How H.264 and H.265 describe their pictures' colours (annex E of both).

use super::bits::BitReader;

/// How pictures are to be shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct VideoSignal {
    /// Whether values use their full range; `None` if unspecified.
    pub full_range: Option<bool>,
    /// Primaries, transfer and matrix, by their numbers in ITU-T H.273.
    pub colours: Option<[u8; 3]>,
}

impl VideoSignal {
    /// Reads from `overscan_info_present_flag` on to the end of the location of chroma samples.
    pub fn read(bits: &mut BitReader) -> Option<Self> {
        if bits.flag()? {
            bits.flag()?;
        }
        let mut signal = Self::default();
        if bits.flag()? {
            bits.skip(3)?;
            signal.full_range = Some(bits.flag()?);
            if bits.flag()? {
                signal.colours = Some([bits.byte(8)?, bits.byte(8)?, bits.byte(8)?]);
            }
        }
        if bits.flag()? {
            bits.ue()?;
            bits.ue()?;
        }
        Some(signal)
    }

    /// Whether the planes are green, blue and red.
    pub fn is_rgb(self) -> bool {
        self.colours.is_some_and(|[.., matrix]| matrix == 0)
    }
}
