//! Parameter sets (ITU-T H.264, 7.3.2.1.1 and 7.3.2.2) with video usability information (annex E).

use crate::nal::{
    VideoSignal,
    bits::{BitReader, unescape},
};
use std::ops::Range;

/// A sequence parameter set (7.3.2.1.1).
#[derive(Debug, Clone)]
pub(crate) struct Sps {
    /// The NAL unit without emulation prevention.
    pub rbsp: Vec<u8>,
    pub id: u32,
    pub shape: Shape,
    /// Bits of `frame_num` in a slice header.
    pub frame_num_bits: u32,
    pub max_num_ref_frames: u32,
    /// The bit position of the shape's `may_be_lossless`, if present.
    pub lossless_at: Option<usize>,
    /// The bit range of the cropping fields; `vui_parameters_present_flag` follows.
    pub cropping: Range<usize>,
    pub vui: Vui,
}

/// The properties that all pictures of a stream must share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub chroma_format: u32,
    pub separate_planes: bool,
    pub luma_depth: u32,
    pub chroma_depth: u32,
    /// `qpprime_y_zero_transform_bypass_flag`.
    pub may_be_lossless: bool,
    pub width_mbs: u32,
    pub height_map_units: u32,
    pub frame_mbs_only: bool,
}

/// Pixel aspect ratios by `aspect_ratio_idc`, from 1 on (table E-1).
const PIXEL_ASPECTS: [(u32, u32); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

/// Video usability information (annex E).
#[derive(Debug, Clone, Default)]
pub(crate) struct Vui {
    /// The pixel aspect ratio (width, height).
    pub pixel_aspect: Option<(u32, u32)>,
    /// The bit range of aspect ratio, overscan, video signal type, chroma location and timing.
    pub common: Option<Range<usize>>,
    /// `max_num_reorder_frames` and `max_dec_frame_buffering`.
    pub bounds: Option<(u32, u32)>,
    pub signal: VideoSignal,
}

impl Sps {
    pub fn read(nal: &[u8]) -> Option<Self> {
        let rbsp = unescape(nal);
        let mut bits = BitReader::of_beginning(&rbsp);
        bits.skip(8)?;
        let profile = bits.byte(8)?;
        bits.skip(16)?;
        let id = bits.ue()?;
        let mut shape = Shape::default();
        let mut lossless_at = None;
        shape.read_chroma(&mut bits, profile, &mut lossless_at)?;
        let frame_num_bits = bits.ue()?.min(12) + 4;
        skip_picture_order(&mut bits)?;
        let max_num_ref_frames = bits.ue()?;
        bits.flag()?;
        shape.read_size(&mut bits)?;
        let cropping_at = bits.position();
        skip_cropping(&mut bits)?;
        let cropping = cropping_at..bits.position();
        let vui = if bits.flag()? {
            Vui::read(&mut bits)?
        } else {
            Vui::default()
        };
        Some(Self {
            rbsp,
            id,
            shape,
            frame_num_bits,
            max_num_ref_frames,
            lossless_at,
            cropping,
            vui,
        })
    }

    pub fn profile(&self) -> u8 {
        self.rbsp[1]
    }

    pub fn constraints(&self) -> u8 {
        self.rbsp[2]
    }

    pub fn level(&self) -> u8 {
        self.rbsp[3]
    }

    /// `MaxDpbFrames` (A.3.1, table A-1): how many frames a decoder of the level buffers if the stream does not say.
    pub fn max_dpb_frames(&self) -> u32 {
        let macroblocks = match self.level() {
            ..=10 => 396,
            11 => 900,
            12..=20 => 2376,
            21 => 4752,
            22..=30 => 8100,
            31 => 18_000,
            32 => 20_480,
            40 | 41 => 32_768,
            42 => 34_816,
            50 => 110_400,
            51 | 52 => 184_320,
            _ => 696_320,
        };
        let frame =
            u64::from(self.shape.width_mbs + 1) * u64::from(self.shape.height_map_units + 1);
        u32::try_from(macroblocks / frame).unwrap_or(16).min(16)
    }
}

impl Shape {
    /// Reads the fields that only some profiles have, and the position of `may_be_lossless`. Other profiles default to
    /// 8-bit 4:2:0.
    fn read_chroma(
        &mut self,
        bits: &mut BitReader,
        profile: u8,
        lossless_at: &mut Option<usize>,
    ) -> Option<()> {
        const WITH_CHROMA_FORMAT: [u8; 13] =
            [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
        self.chroma_format = 1;
        if !WITH_CHROMA_FORMAT.contains(&profile) {
            return Some(());
        }
        self.chroma_format = bits.ue()?;
        self.separate_planes = self.chroma_format == 3 && bits.flag()?;
        self.luma_depth = bits.ue()?;
        self.chroma_depth = bits.ue()?;
        *lossless_at = Some(bits.position());
        self.may_be_lossless = bits.flag()?;
        if bits.flag()? {
            for list in 0..if self.chroma_format == 3 { 12 } else { 8 } {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
        Some(())
    }

    fn read_size(&mut self, bits: &mut BitReader) -> Option<()> {
        self.width_mbs = bits.ue()?;
        self.height_map_units = bits.ue()?;
        self.frame_mbs_only = bits.flag()?;
        if !self.frame_mbs_only {
            bits.flag()?;
        }
        bits.flag()?;
        Some(())
    }
}

/// Skips the cropping fields.
fn skip_cropping(bits: &mut BitReader) -> Option<()> {
    if bits.flag()? {
        for _ in 0..4 {
            bits.ue()?;
        }
    }
    Some(())
}

/// Skips `pic_order_cnt_type` and the fields that depend on it.
fn skip_picture_order(bits: &mut BitReader) -> Option<()> {
    match bits.ue()? {
        0 => _ = bits.ue()?,
        1 => {
            bits.flag()?;
            bits.ue()?;
            bits.ue()?;
            for _ in 0..bits.ue()?.min(255) {
                bits.ue()?;
            }
        }
        _ => {}
    }
    Some(())
}

/// Skips a list of `length` scaling factors (7.3.2.1.1.1), if present.
fn skip_scaling_list(bits: &mut BitReader, length: u32) -> Option<()> {
    if !bits.flag()? {
        return Some(());
    }
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..length {
        if next != 0 {
            let coded = i64::from(bits.ue()?);
            let delta = if coded % 2 == 0 {
                -(coded / 2)
            } else {
                coded / 2 + 1
            };
            next = (last + delta).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

/// Skips HRD parameters (E.1.2) and returns whether they are present.
fn skip_hrd(bits: &mut BitReader) -> Option<bool> {
    if !bits.flag()? {
        return Some(false);
    }
    let count = bits.ue()?;
    if count >= 32 {
        return None;
    }
    bits.skip(8)?;
    for _ in 0..=count {
        bits.ue()?;
        bits.ue()?;
        bits.flag()?;
    }
    bits.skip(20)?;
    Some(true)
}

impl Vui {
    fn read(bits: &mut BitReader) -> Option<Self> {
        const EXTENDED_SAR: u32 = 255;
        let start = bits.position();
        let pixel_aspect = match bits.flag()?.then(|| bits.number(8)) {
            None => None,
            Some(index) => match index? {
                EXTENDED_SAR => Some((bits.number(16)?, bits.number(16)?)),
                index => PIXEL_ASPECTS.get((index as usize).wrapping_sub(1)).copied(),
            },
        };
        let signal = VideoSignal::read(bits)?;
        if bits.flag()? {
            bits.skip(65)?;
        }
        let common = Some(start..bits.position());
        let hrd = [skip_hrd(bits)?, skip_hrd(bits)?];
        if hrd.contains(&true) {
            bits.flag()?;
        }
        bits.flag()?;
        let mut bounds = None;
        if bits.flag()? {
            bits.flag()?;
            for _ in 0..4 {
                bits.ue()?;
            }
            bounds = Some((bits.ue()?, bits.ue()?));
        }
        Some(Self {
            pixel_aspect,
            common,
            bounds,
            signal,
        })
    }
}

/// The id of a picture parameter set (7.3.2.2).
pub(crate) fn pps_id(nal: &[u8]) -> Option<u32> {
    let rbsp = unescape(nal);
    let mut bits = BitReader::of_beginning(&rbsp);
    bits.skip(8)?;
    bits.ue()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// x264's parameters of 640x360, High, level 3.0, with colours, pixel aspect 1:1 and timing.
    const X264: &[u8] = &[
        0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03,
        0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96,
    ];

    #[test]
    fn parameters_are_those_that_the_encoder_wrote() {
        let sps = Sps::read(X264).expect("parameters");
        assert_eq!(
            (sps.id, sps.profile(), sps.level(), sps.max_num_ref_frames),
            (0, 100, 30, 4)
        );
        assert_eq!(
            (
                sps.shape.width_mbs,
                sps.shape.height_map_units,
                sps.cropping.len()
            ),
            // A flag, three zeros and four rows of chroma.
            (39, 22, 1 + 3 + 5)
        );
        assert_eq!(
            (sps.vui.bounds, sps.vui.pixel_aspect),
            (Some((2, 4)), Some((1, 1)))
        );
        assert_eq!(sps.max_dpb_frames(), 8);
    }

    #[test]
    fn parameters_cut_short_are_refused() {
        assert!((0..X264.len() - 1).all(|length| Sps::read(&X264[..length]).is_none()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parameters_or_not(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = (Sps::read(&bytes), pps_id(&bytes));
        }
    }
}
