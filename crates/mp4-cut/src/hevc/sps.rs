//! Sequence parameter sets (H.265, 7.3.2.2) and their usability information (annex E).
//!
//! Only what smart cuts need is kept: what all pictures of a stream have in common, and where the
//! fields are that an encoded sequence takes over from its source.

use crate::nal::{
    VideoSignal,
    bits::{BitReader, BitWriter, unescape},
};
use std::ops::Range;

/// The highest ids that parameter sets may have.
pub const MAX_VPS_ID: u8 = 15;
pub const MAX_SPS_ID: u8 = 15;

/// General profile, tier, compatibility, constraints and level, 12 bytes of `profile_tier_level`.
pub type General = [u8; 12];

/// Bits of [`General`] without the level: what each sub-layer may have as well.
const PROFILE_BITS: usize = 88;
const LEVEL_BITS: usize = 8;

/// What all pictures of a stream have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// 1 is 4:2:0, 2 is 4:2:2, 3 is 4:4:4; 0 has no chroma.
    pub chroma_format_idc: u8,
    /// Bits of a luma sample.
    pub luma_depth: u8,
    /// Bits of a chroma sample.
    pub chroma_depth: u8,
    /// Pixels in a row as coded, before the conformance window crops them.
    pub coded_width: u32,
    /// Rows as coded, before the conformance window crops them.
    pub coded_height: u32,
}

/// The conformance window: left, right, top, bottom, in chroma samples.
pub type Window = [u32; 4];

/// How many pictures a decoder must hold back and keep, over all sub-layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// `sps_max_dec_pic_buffering_minus1`.
    pub buffering: u8,
    /// `sps_max_num_reorder_pics`.
    pub reordering: u8,
    /// `sps_max_latency_increase_plus1`: zero says nothing.
    pub latency: u32,
}

impl Bounds {
    /// Bounds that suffice for both.
    pub fn both(self, other: Self) -> Self {
        Self {
            buffering: self.buffering.max(other.buffering),
            reordering: self.reordering.max(other.reordering),
            latency: match [self.latency, other.latency] {
                [0, _] | [_, 0] => 0,
                [one, other] => one.max(other),
            },
        }
    }

    /// The bounds as VPS and SPS hold them, for one sub-layer.
    pub fn write(self, bits: &mut BitWriter) {
        bits.flag(true);
        bits.ue(self.buffering.into());
        bits.ue(self.reordering.into());
        bits.ue(self.latency);
    }
}

/// A sequence parameter set.
#[derive(Debug, Clone)]
pub struct Sps {
    pub id: u8,
    pub general: General,
    /// Temporal sub-layers, at least one.
    pub sub_layers: u8,
    pub temporal_id_nesting: bool,
    pub format: Format,
    pub window: Window,
    pub bounds: Bounds,
    pub vui: Option<Vui>,
    places: Places,
    rbsp: Vec<u8>,
}

/// Bit positions of the fields that are replaced.
#[derive(Debug, Clone)]
struct Places {
    id: Range<usize>,
    window: Range<usize>,
    bounds: Range<usize>,
    /// From `vui_parameters_present_flag` on. `None` if the end was not needed.
    vui: Option<Range<usize>>,
    end: usize,
}

/// Video usability information, as far as it concerns display.
#[derive(Debug, Clone)]
pub struct Vui {
    /// Whether pictures are fields (`field_seq_flag`).
    pub is_field_coded: bool,
    pub signal: VideoSignal,
    /// Aspect ratio, overscan, video signal type, chroma location and
    /// `neutral_chroma_indication_flag`.
    signal_at: Range<usize>,
    display_window: Range<usize>,
    /// `vui_num_units_in_tick` and `vui_time_scale`, after the flag that says that they are
    /// present.
    timing: Option<Range<usize>>,
}

/// What precedes the id, which is read even from parameters that are otherwise not understood.
struct Head {
    sub_layers: u8,
    temporal_id_nesting: bool,
    general: General,
    id: u8,
    /// Bits before the id.
    id_start: usize,
}

/// What an encoded sequence takes over from its source.
pub struct Replacement<'a> {
    pub vps_id: u8,
    pub id: u8,
    pub source: &'a Sps,
    pub bounds: Bounds,
}

impl Sps {
    /// Reads a NAL unit of the base layer. `None` if it is damaged or not understood.
    pub fn read(nal: &[u8]) -> Option<Self> {
        let rbsp = unescape(nal);
        let mut bits = BitReader::new(&rbsp);
        let head = Head::read(&mut bits)?;
        let (sub_layers, id_end) = (head.sub_layers, bits.position());
        let chroma_format_idc = bits.ue_to(3)?;
        if chroma_format_idc == 3 {
            bits.flag()?;
        }
        let (coded_width, coded_height) = (bits.ue()?, bits.ue()?);
        let window_at = bits.position();
        let window = read_window(&mut bits)?;
        let window_at = window_at..bits.position();
        let (luma_depth, chroma_depth) = (8 + bits.ue_to(8)?, 8 + bits.ue_to(8)?);
        let poc_lsb_bits = 4 + bits.ue_to(12)?;
        let bounds_at = bits.position();
        let bounds = read_bounds(&mut bits, sub_layers)?;
        let bounds_at = bounds_at..bits.position();
        skip_coding_tools(&mut bits, poc_lsb_bits)?;

        let vui_at = bits.position();
        let (vui, vui_end) = read_vui(&mut bits)?;
        let places = Places {
            id: head.id_start..id_end,
            window: window_at,
            bounds: bounds_at,
            vui: vui_end.map(|end| vui_at..end),
            end: bits.end(),
        };
        Some(Self {
            id: head.id,
            general: head.general,
            sub_layers,
            temporal_id_nesting: head.temporal_id_nesting,
            format: Format {
                chroma_format_idc,
                luma_depth,
                chroma_depth,
                coded_width,
                coded_height,
            },
            window,
            bounds,
            vui,
            places,
            rbsp,
        })
    }

    /// `general_profile_idc`: 1 is Main, 2 is Main 10.
    pub fn profile(&self) -> u8 {
        self.general[0] & 31
    }

    /// `general_profile_space`, which is 0 in all that H.265 specifies.
    pub fn profile_space(&self) -> u8 {
        self.general[0] >> 6
    }

    /// The NAL unit of this sequence with another's id, limits and usability information. `None` if
    /// this one has sub-layers or a hypothetical reference decoder.
    pub fn replaced(&self, with: &Replacement) -> Option<Vec<u8>> {
        let Places {
            id,
            window,
            bounds,
            vui,
            end,
        } = &self.places;
        let vui = vui.clone()?;
        if self.sub_layers != 1 {
            return None;
        }
        let mut bits = BitWriter::default();
        bits.copy(&self.rbsp, 0..16);
        bits.number(with.vps_id.into(), 4);
        bits.copy(&self.rbsp, 20..24);
        for byte in with.source.general {
            bits.number(byte.into(), 8);
        }
        bits.ue(with.id.into());
        bits.copy(&self.rbsp, id.end..window.start);
        bits.copy(&with.source.rbsp, with.source.places.window.clone());
        bits.copy(&self.rbsp, window.end..bounds.start);
        with.bounds.write(&mut bits);
        bits.copy(&self.rbsp, bounds.end..vui.start);
        with.source.write_vui(&mut bits);
        bits.copy(&self.rbsp, vui.end..*end);
        Some(bits.into_nal())
    }

    /// The usability information, without what holds only for the source's own pictures: timing of
    /// fields and of the hypothetical reference decoder, order counts, restrictions.
    fn write_vui(&self, bits: &mut BitWriter) {
        bits.flag(self.vui.is_some());
        let Some(vui) = &self.vui else { return };
        bits.copy(&self.rbsp, vui.signal_at.clone());
        // field_seq_flag, frame_field_info_present_flag.
        bits.number(0, 2);
        bits.copy(&self.rbsp, vui.display_window.clone());
        bits.flag(vui.timing.is_some());
        if let Some(timing) = vui.timing.clone() {
            bits.copy(&self.rbsp, timing);
            // vui_poc_proportional_to_timing_flag, vui_hrd_parameters_present_flag.
            bits.number(0, 2);
        }
        // bitstream_restriction_flag.
        bits.flag(false);
    }
}

impl Head {
    fn read(bits: &mut BitReader) -> Option<Self> {
        bits.skip(20)?;
        let sub_layers = bits.byte(3)? + 1;
        if sub_layers > 7 {
            return None;
        }
        let temporal_id_nesting = bits.flag()?;
        let general = read_profile_tier_level(bits, sub_layers)?;
        let id_start = bits.position();
        Some(Self {
            sub_layers,
            temporal_id_nesting,
            general,
            id: bits.ue_to(MAX_SPS_ID)?,
            id_start,
        })
    }
}

/// The id of a NAL unit of the base layer; `None` if it is damaged.
pub fn sps_id(nal: &[u8]) -> Option<u8> {
    let rbsp = unescape(nal);
    Head::read(&mut BitReader::new(&rbsp)).map(|head| head.id)
}

/// The usability information behind the flag that says that it is there, and its end where [`Vui::read`] finds that.
fn read_vui(bits: &mut BitReader) -> Option<(Option<Vui>, Option<usize>)> {
    if !bits.flag()? {
        return Some((None, Some(bits.position())));
    }
    let (vui, end) = Vui::read(bits)?;
    Some((Some(vui), end))
}

impl Vui {
    /// Reads what follows `vui_parameters_present_flag`, and finds its end unless it contains a
    /// hypothetical reference decoder.
    fn read(bits: &mut BitReader) -> Option<(Self, Option<usize>)> {
        const EXTENDED_SAR: u32 = 255;
        let start = bits.position();
        if bits.flag()? && bits.number(8)? == EXTENDED_SAR {
            bits.skip(32)?;
        }
        let signal = VideoSignal::read(bits)?;
        // neutral_chroma_indication_flag.
        bits.flag()?;
        let signal_at = start..bits.position();
        let is_field_coded = bits.flag()?;
        // frame_field_info_present_flag.
        bits.flag()?;
        let start = bits.position();
        read_window(bits)?;
        let display_window = start..bits.position();
        let (mut timing, mut has_hrd) = (None, false);
        if bits.flag()? {
            let start = bits.position();
            bits.skip(64)?;
            timing = Some(start..bits.position());
            if bits.flag()? {
                bits.ue()?;
            }
            has_hrd = bits.flag()?;
        }
        let end = if has_hrd {
            None
        } else {
            skip_restrictions(bits)?;
            Some(bits.position())
        };
        let vui = Self {
            is_field_coded,
            signal,
            signal_at,
            display_window,
            timing,
        };
        Some((vui, end))
    }
}

fn read_profile_tier_level(bits: &mut BitReader, sub_layers: u8) -> Option<General> {
    let mut general = General::default();
    for byte in &mut general {
        *byte = bits.byte(8)?;
    }
    let mut sub_layer_bits = 0;
    // With more than one sub-layer, there are flags for eight; the last ones are unused.
    let flags = if sub_layers > 1 { 8 } else { 0 };
    for layer in 1..=flags {
        let (has_profile, has_level) = (bits.flag()?, bits.flag()?);
        if layer < sub_layers {
            sub_layer_bits += usize::from(has_profile) * PROFILE_BITS;
            sub_layer_bits += usize::from(has_level) * LEVEL_BITS;
        }
    }
    bits.skip(sub_layer_bits)?;
    Some(general)
}

/// A window, preceded by the flag that says that it is present.
fn read_window(bits: &mut BitReader) -> Option<Window> {
    Some(if bits.flag()? {
        [bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?]
    } else {
        Window::default()
    })
}

fn read_bounds(bits: &mut BitReader, sub_layers: u8) -> Option<Bounds> {
    let count = if bits.flag()? { sub_layers } else { 1 };
    let mut last = None;
    for _ in 0..count {
        last = Some(Bounds {
            buffering: bits.ue_to(15)?,
            reordering: bits.ue_to(15)?,
            latency: bits.ue()?,
        });
    }
    last
}

/// Skips what is between the bounds and the usability information.
fn skip_coding_tools(bits: &mut BitReader, poc_lsb_bits: u8) -> Option<()> {
    // Sizes of coding and transform blocks, depths of transform hierarchies.
    for _ in 0..6 {
        bits.ue()?;
    }
    if bits.flag()? && bits.flag()? {
        skip_scaling_lists(bits)?;
    }
    // Asymmetric partitions, sample adaptive offset.
    bits.skip(2)?;
    if bits.flag()? {
        bits.skip(8)?;
        bits.ue()?;
        bits.ue()?;
        bits.flag()?;
    }
    let mut pictures = 0;
    for set in 0..bits.ue_to(64)? {
        pictures = skip_reference_set(bits, set > 0, pictures)?;
    }
    if bits.flag()? {
        for _ in 0..bits.ue_to(32)? {
            bits.skip(usize::from(poc_lsb_bits) + 1)?;
        }
    }
    // Temporal motion vector prediction, strong smoothing.
    bits.skip(2)
}

fn skip_scaling_lists(bits: &mut BitReader) -> Option<()> {
    for size in 0..4 {
        for _ in (0..6).step_by(if size == 3 { 3 } else { 1 }) {
            if !bits.flag()? {
                bits.ue()?;
                continue;
            }
            if size > 1 {
                bits.ue()?;
            }
            for _ in 0..(16 << (2 * size)).min(64) {
                bits.ue()?;
            }
        }
    }
    Some(())
}

/// Skips a short-term reference picture set (7.3.7). Returns how many pictures it has; the next set
/// may be predicted from it.
fn skip_reference_set(bits: &mut BitReader, may_be_predicted: bool, before: u8) -> Option<u8> {
    const MAX_PICTURES: u8 = 16;
    if may_be_predicted && bits.flag()? {
        bits.flag()?;
        bits.ue()?;
        let mut pictures = 0;
        for _ in 0..=before {
            let is_used = bits.flag()?;
            if is_used || bits.flag()? {
                pictures += 1;
            }
        }
        return if pictures > MAX_PICTURES {
            None
        } else {
            Some(pictures)
        };
    }
    let pictures = bits.ue_to(MAX_PICTURES)? + bits.ue_to(MAX_PICTURES)?;
    if pictures > MAX_PICTURES {
        return None;
    }
    for _ in 0..pictures {
        bits.ue()?;
        bits.flag()?;
    }
    Some(pictures)
}

fn skip_restrictions(bits: &mut BitReader) -> Option<()> {
    if bits.flag()? {
        bits.skip(3)?;
        for _ in 0..5 {
            bits.ue()?;
        }
    }
    Some(())
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// x265's parameters of 1280x720, Main, level 3.1, with timing.
    pub const X265: &[u8] = b"\
        \x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x5d\xa0\x02\x80\x80\
        \x2d\x16\x59\x59\x64\x93\x2b\xc0\x5a\x02\x00\x00\x03\x00\x02\x00\x00\x03\x00\x32\x10";

    /// x265's parameters of 1280x720, Main 10, level 3.1, with BT.2020, HLG and timing.
    pub const X265_MAIN_10: &[u8] = b"\
        \x42\x01\x01\x02\x20\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x5d\xa0\x02\x80\x80\
        \x2d\x13\x65\x95\x9a\x49\x32\xbc\x05\xa8\x48\x90\x48\x20\x00\x00\x03\x00\x20\x00\x00\x03\
        \x03\x21";

    /// x265's parameters of 1918x1078, Main, level 4, with two sub-layers, pixels of 4:3, a window,
    /// timing and a hypothetical reference decoder.
    pub const X265_HRD: &[u8] = b"\
        \x42\x01\x02\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x78\x00\x00\xa0\x03\
        \xc0\x80\x11\x07\x53\x65\x95\x94\xac\xa9\x49\x85\xff\xe0\x00\x80\x9a\x2d\x01\x00\x00\x03\
        \x00\x01\x00\x00\x03\x00\x19\x60\x14\x96\x5e\x00\x01\x31\x2d\x00\x00\x98\x96\xb8\x00\x04\
        \xc4\xb4\x00\x02\x62\x5a\x20";

    /// kvazaar's parameters of 1280x720, Main, with timing and restrictions.
    pub const KVAZAAR: &[u8] = b"\
        \x42\x01\x02\x01\x60\x00\x00\x03\x00\x80\x00\x00\x03\x00\x00\x03\x00\xba\x00\x00\xa0\x02\
        \x80\x80\x2d\x16\xc1\x00\x86\x49\x32\xac\x04\x04\x00\x00\x03\x00\x04\x00\x00\x03\x00\x64\
        \x20";

    fn sps(nal: &[u8]) -> Sps {
        Sps::read(nal).expect("parameters")
    }

    #[test]
    fn parameters_are_those_that_the_encoder_wrote() {
        let main_10 = sps(X265_MAIN_10);
        assert_eq!(
            (main_10.profile(), main_10.general[11], main_10.sub_layers),
            (2, 93, 1)
        );
        let format = Format {
            chroma_format_idc: 1,
            luma_depth: 10,
            chroma_depth: 10,
            coded_width: 1280,
            coded_height: 720,
        };
        assert_eq!((main_10.format, main_10.window), (format, [0; 4]));
        let bounds = Bounds {
            buffering: 4,
            reordering: 2,
            latency: 5,
        };
        assert_eq!(main_10.bounds, bounds);

        let cropped = sps(X265_HRD);
        let size = (cropped.format.coded_width, cropped.format.coded_height);
        assert_eq!((size, cropped.window), ((1920, 1088), [0, 1, 0, 5]));
        assert_eq!((cropped.sub_layers, cropped.places.vui), (2, None));
        assert_eq!(
            sps(KVAZAAR).format,
            Format {
                luma_depth: 8,
                chroma_depth: 8,
                ..format
            }
        );
    }

    #[test]
    fn parameters_cut_short_are_refused() {
        for whole in [X265, X265_MAIN_10, KVAZAAR] {
            for length in 0..whole.len() {
                assert!(
                    Sps::read(&whole[..length]).is_none(),
                    "{length} of {}",
                    whole.len()
                );
            }
        }
    }

    #[test]
    fn encoded_parameters_become_the_sources() {
        for source in [X265_MAIN_10, X265_HRD, KVAZAAR] {
            let source = sps(source);
            let with = Replacement {
                vps_id: 5,
                id: 9,
                source: &source,
                bounds: source.bounds,
            };
            let encoded = sps(X265);
            let nal = encoded.replaced(&with).expect("parameters");
            assert_eq!(nal[2] >> 4, 5);
            let replaced = sps(&nal);
            assert_eq!((replaced.id, replaced.general), (9, source.general));
            assert_eq!(
                (replaced.bounds, replaced.window),
                (source.bounds, source.window)
            );
            // The coding tools remain the encoder's.
            assert_eq!((replaced.format, replaced.sub_layers), (encoded.format, 1));
            let signal = |sps: &Sps| {
                let vui = sps.vui.clone().expect("usability information");
                let mut bits = BitWriter::default();
                bits.copy(&sps.rbsp, vui.signal_at);
                bits.copy(&sps.rbsp, vui.display_window);
                bits.copy(&sps.rbsp, vui.timing.expect("timing"));
                bits.into_nal()
            };
            assert_eq!(signal(&replaced), signal(&source));
            // Replacing it again with the original values restores it.
            let back = Replacement {
                vps_id: 0,
                id: 0,
                source: &encoded,
                bounds: encoded.bounds,
            };
            assert_eq!(replaced.replaced(&back).as_deref(), Some(X265));
        }
    }

    #[test]
    fn parameters_with_sub_layers_are_not_replaced() {
        let source = sps(X265);
        let with = Replacement {
            vps_id: 1,
            id: 1,
            source: &source,
            bounds: source.bounds,
        };
        assert_eq!(sps(X265_HRD).replaced(&with), None);
        assert_eq!(sps(KVAZAAR).replaced(&with), None);
    }

    #[test]
    fn latency_without_a_bound_stays_unbounded() {
        let bounds = |buffering, reordering, latency| Bounds {
            buffering,
            reordering,
            latency,
        };
        assert_eq!(bounds(4, 0, 5).both(bounds(2, 1, 6)), bounds(4, 1, 6));
        assert_eq!(bounds(0, 0, 0).both(bounds(0, 0, 6)), bounds(0, 0, 0));
    }

    /// Parameters with every optional field present.
    #[derive(Debug, Clone, Copy)]
    pub struct Written {
        pub general: General,
        pub sub_layers: u8,
        pub format: Format,
        pub window: Option<Window>,
        pub bounds: Bounds,
        pub vui: Option<bool>,
        /// Coded values of scaling lists, pulse code modulation, predicted reference pictures and
        /// usability information.
        pub numbers: [u32; 8],
        pub flags: [bool; 8],
    }

    impl Written {
        pub fn nal(&self, id: u8) -> Vec<u8> {
            let mut bits = BitWriter::default();
            bits.number(0x4201, 16);
            bits.number(3, 4);
            bits.number(u32::from(self.sub_layers) - 1, 3);
            bits.flag(self.flags[0]);
            self.write_profile_tier_level(&mut bits);
            bits.ue(id.into());
            bits.ue(self.format.chroma_format_idc.into());
            if self.format.chroma_format_idc == 3 {
                bits.flag(false);
            }
            bits.ue(self.format.coded_width);
            bits.ue(self.format.coded_height);
            write_window(&mut bits, self.window);
            bits.ue(u32::from(self.format.luma_depth) - 8);
            bits.ue(u32::from(self.format.chroma_depth) - 8);
            bits.ue(self.numbers[0] % 13);
            self.write_bounds(&mut bits);
            self.write_coding_tools(&mut bits);
            self.write_vui(&mut bits);
            // sps_extension_present_flag.
            bits.flag(false);
            bits.into_nal()
        }

        fn write_bounds(&self, bits: &mut BitWriter) {
            let Bounds {
                buffering,
                reordering,
                latency,
            } = self.bounds;
            bits.flag(self.flags[1]);
            if self.flags[1] {
                for _ in 1..self.sub_layers {
                    for value in [0, 0, self.numbers[0]] {
                        bits.ue(value);
                    }
                }
            }
            for value in [buffering.into(), reordering.into(), latency] {
                bits.ue(value);
            }
        }

        fn write_coding_tools(&self, bits: &mut BitWriter) {
            let numbers = self.numbers;
            for value in [0, numbers[1], 0, numbers[2], 1, 2] {
                bits.ue(value);
            }
            bits.flag(self.flags[2]);
            if self.flags[2] {
                bits.flag(self.flags[3]);
                if self.flags[3] {
                    self.write_scaling_lists(bits);
                }
            }
            bits.number(numbers[3], 2);
            bits.flag(self.flags[4]);
            if self.flags[4] {
                bits.number(numbers[3], 8);
                bits.ue(numbers[4]);
                bits.ue(numbers[5]);
                bits.flag(true);
            }
            self.write_reference_sets(bits);
            bits.flag(self.flags[5]);
            if self.flags[5] {
                bits.ue(numbers[6] % 33);
                for _ in 0..numbers[6] % 33 {
                    bits.number(numbers[7], 4 + numbers[0] % 13);
                    bits.flag(true);
                }
            }
            bits.number(numbers[3], 2);
        }

        fn write_profile_tier_level(&self, bits: &mut BitWriter) {
            for byte in self.general {
                bits.number(byte.into(), 8);
            }
            if self.sub_layers == 1 {
                return;
            }
            for layer in 1..self.sub_layers {
                bits.flag(self.flags[usize::from(layer)]);
                bits.flag(self.flags[usize::from(layer) - 1]);
            }
            for _ in self.sub_layers..=8 {
                bits.number(0, 2);
            }
            for layer in 1..self.sub_layers {
                let profile = if self.flags[usize::from(layer)] {
                    88
                } else {
                    0
                };
                let level = if self.flags[usize::from(layer) - 1] {
                    8
                } else {
                    0
                };
                for _ in 0..profile + level {
                    bits.flag(true);
                }
            }
        }

        fn write_scaling_lists(&self, bits: &mut BitWriter) {
            for (size, lists, coefficients) in [(0, 6, 16), (1, 6, 64), (2, 6, 64), (3, 2, 64)] {
                for list in 0..lists {
                    bits.flag(self.flags[list]);
                    if self.flags[list] {
                        if size > 1 {
                            bits.ue(self.numbers[0]);
                        }
                        for coefficient in 0..coefficients {
                            bits.ue(self.numbers[coefficient % 8]);
                        }
                    } else {
                        bits.ue(0);
                    }
                }
            }
        }

        /// One set with explicit pictures, one predicted from it, and one predicted from that.
        fn write_reference_sets(&self, bits: &mut BitWriter) {
            bits.ue(3);
            let (negative, positive) = (self.numbers[1] % 9, self.numbers[2] % 8);
            bits.ue(negative);
            bits.ue(positive);
            for _ in 0..negative + positive {
                bits.ue(self.numbers[3]);
                bits.flag(true);
            }
            let mut pictures = negative + positive;
            for set in 1..3 {
                bits.flag(true);
                bits.flag(true);
                bits.ue(self.numbers[4]);
                let mut kept = 0;
                for picture in 0..=pictures {
                    // Used, kept for later, or dropped.
                    let choice = if picture == set {
                        0
                    } else {
                        (self.numbers[5] >> picture) % 3
                    };
                    bits.flag(choice == 1);
                    if choice != 1 {
                        bits.flag(choice == 2);
                    }
                    kept += u32::from(choice > 0);
                }
                pictures = kept;
            }
        }

        fn write_vui(&self, bits: &mut BitWriter) {
            bits.flag(self.vui.is_some());
            let Some(is_field_coded) = self.vui else {
                return;
            };
            let [a, b, c, d, ..] = self.numbers;
            bits.flag(true);
            bits.number(255, 8);
            bits.number(a, 32);
            bits.number(0b11, 2);
            bits.flag(true);
            bits.number(5, 4);
            bits.flag(true);
            bits.number(b, 24);
            bits.flag(true);
            bits.ue(c % 6);
            bits.ue(d % 6);
            bits.flag(false);
            bits.flag(is_field_coded);
            bits.flag(true);
            write_window(bits, self.window);
            bits.flag(self.flags[6]);
            if self.flags[6] {
                bits.number(c, 32);
                bits.number(d, 32);
                bits.flag(true);
                bits.ue(a);
                bits.flag(false);
            }
            bits.flag(self.flags[7]);
            if self.flags[7] {
                bits.number(c, 3);
                for value in [1, 2, 3, a, b] {
                    bits.ue(value);
                }
            }
        }
    }

    fn write_window(bits: &mut BitWriter, window: Option<Window>) {
        bits.flag(window.is_some());
        for side in window.into_iter().flatten() {
            bits.ue(side);
        }
    }

    prop_compose! {
        pub fn written()(
            general in any::<General>(),
            sub_layers in 1_u8..=7,
            chroma_format_idc in 0_u8..4,
            depths in (8_u8..=16, 8_u8..=16),
            size in (1_u32..9000, 1_u32..9000),
            window in prop::option::of(any::<[u16; 4]>()),
            bounds in (0_u8..16, 0_u8..16, any::<u16>()),
            vui in prop::option::of(any::<bool>()),
            numbers in any::<[u16; 8]>(),
            flags in any::<[bool; 8]>(),
        ) -> Written {
            Written {
                general,
                sub_layers,
                format: Format {
                    chroma_format_idc,
                    luma_depth: depths.0,
                    chroma_depth: depths.1,
                    coded_width: size.0,
                    coded_height: size.1,
                },
                window: window.map(|sides| sides.map(u32::from)),
                bounds: Bounds {
                    buffering: bounds.0,
                    reordering: bounds.1,
                    latency: bounds.2.into(),
                },
                vui,
                numbers: numbers.map(u32::from),
                flags,
            }
        }
    }

    proptest! {
        #[test]
        fn written_parameters_are_read(written in written(), id in 0..=MAX_SPS_ID) {
            prop_assert_eq!(sps_id(&written.nal(id)), Some(id));
            let read = sps(&written.nal(id));
            prop_assert_eq!(
                (read.id, read.general, read.sub_layers, read.temporal_id_nesting),
                (id, written.general, written.sub_layers, written.flags[0])
            );
            prop_assert_eq!(
                (read.format, read.window, read.bounds),
                (written.format, written.window.unwrap_or_default(), written.bounds)
            );
            prop_assert_eq!(read.vui.map(|vui| vui.is_field_coded), written.vui);
            // All but sps_extension_present_flag was read.
            let end = read.places.vui.map(|vui| vui.end);
            prop_assert_eq!(end, Some(read.places.end - 1));
        }

        #[test]
        fn replaced_parameters_are_those_of_the_source(
            encoded in written(),
            source in written(),
            ids in (0..=MAX_VPS_ID, 0..=MAX_SPS_ID),
        ) {
            let encoded = Written { sub_layers: 1, ..encoded };
            let source_sps = sps(&source.nal(0));
            let with = Replacement {
                vps_id: ids.0,
                id: ids.1,
                source: &source_sps,
                bounds: encoded.bounds,
            };
            let read = sps(&sps(&encoded.nal(7)).replaced(&with).expect("parameters"));
            prop_assert_eq!((read.id, read.general), (ids.1, source.general));
            prop_assert_eq!(read.window, source.window.unwrap_or_default());
            prop_assert_eq!((read.format, read.bounds), (encoded.format, encoded.bounds));
            prop_assert_eq!(read.vui.map(|vui| vui.is_field_coded), source.vui.map(|_| false));
            let end = read.places.vui.map(|vui| vui.end);
            prop_assert_eq!(end, Some(read.places.end - 1));
        }

        #[test]
        fn damaged_parameters_are_read_or_not(
            written in written(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut nal = written.nal(0);
            for (index, byte) in damage {
                let at = index.index(nal.len());
                nal[at] = byte;
            }
            if let Some(read) = Sps::read(&nal) {
                let source = sps(X265);
                let with = Replacement {
                    vps_id: 1,
                    id: 1,
                    source: &source,
                    bounds: source.bounds,
                };
                let _ = read.replaced(&with);
            }
        }
    }
}
