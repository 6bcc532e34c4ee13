//! H.264 parameter sets: whether encoded pictures can stand in one stream with a source's, and making them do so.
//!
//! Names and layout are those of ITU-T H.264: 7.3.2.1.1 (SPS), 7.3.2.2 (PPS), 7.4.1.1 (emulation prevention), annex E
//! (VUI), table A-1 (levels). The `avcC` box is that of ISO/IEC 14496-15.

use crate::{
    Error, Result,
    boxes::{Child, VISUAL_ENTRY_BYTES, children, damaged, find},
};
use bytes::Bytes;
use mp4_atom::{Atom, Avcc, Encode};

/// Bytes in front of each NAL unit of a sample, which say how long it is.
const LENGTH_BYTES: u8 = 4;
/// The highest id of a sequence parameter set.
const MAX_SPS_ID: u32 = 31;

/// The sample description of a source whose pictures may be joined with encoded ones.
#[derive(Debug, Clone)]
pub(crate) struct Avc {
    config: Avcc,
    /// The first, which the others are like.
    sps: Sps,
    /// An id that neither a sequence nor a picture parameter set of the source has.
    free_id: u32,
}

impl Avc {
    /// Reads an `stsd` box.
    ///
    /// # Errors
    /// Why pictures of this source cannot be joined with encoded ones.
    pub fn read(stsd: &Bytes) -> Result<Self, String> {
        let entry = only_entry(stsd).ok_or("the source has several sample descriptions")?;
        match &entry.kind {
            b"avc1" => {}
            b"avc3" => return Err("the source's parameter sets lie among its pictures".to_owned()),
            _ => return Err("the source is not H.264".to_owned()),
        }
        let config =
            config(&entry).ok_or("the source's H.264 configuration (avcC) cannot be read")?;
        if config.length_size != LENGTH_BYTES {
            return Err(format!(
                "the source's NAL units have lengths of {} bytes",
                config.length_size
            ));
        }
        let all: Option<Vec<Sps>> = config
            .sequence_parameter_sets
            .iter()
            .map(|nal| Sps::read(nal))
            .collect();
        let all = all.ok_or("the source's H.264 parameters (SPS) cannot be read")?;
        let Some(sps) = all.first().cloned() else {
            return Err("the source's parameter sets lie among its pictures".to_owned());
        };
        if all
            .iter()
            .any(|other| other.shape != sps.shape || other.profile() != sps.profile())
        {
            return Err("the source has H.264 parameters (SPS) of several kinds".to_owned());
        }
        if !sps.shape.frame_mbs_only {
            return Err("the source may be interlaced".to_owned());
        }
        // The encoder takes them as luma and chroma.
        if sps.vui.is_rgb {
            return Err("the source's pictures are RGB".to_owned());
        }
        let pps_ids = config.picture_parameter_sets.iter().map(|nal| pps_id(nal));
        let taken: Option<Vec<u32>> = all.iter().map(|sps| Some(sps.id)).chain(pps_ids).collect();
        let taken = taken.ok_or("the source's H.264 parameters (PPS) cannot be read")?;
        let free_id = (0..=MAX_SPS_ID).rev().find(|id| !taken.contains(id));
        let avc = Self {
            free_id: free_id.ok_or("the source uses every id of parameter sets")?,
            config,
            sps,
        };
        avc.profile_name().map(|_| ()).ok_or_else(|| {
            format!(
                "the source's H.264 profile is {}, which is not encoded",
                avc.sps.profile()
            )
        })?;
        Ok(avc)
    }

    /// The options with which libx264 encodes pictures that can stand in front of the source's: the source's profile
    /// and level, an id that the source does not use, and no picture that is shown in another order than it is decoded.
    /// Every picture begins with a delimiter: where one encoded part follows another, nothing else may tell their IDR
    /// pictures apart (7.4.1.2.4).
    pub fn encode_arguments(&self) -> [String; 6] {
        let profile = self.profile_name().unwrap_or("high");
        // Constraint set 3 makes level 11 what x264 calls 1b in these profiles (annex A.3.1 and A.3.2).
        let is_1b = self.sps.level() == 11
            && self.sps.constraints() & 0x10 != 0
            && self.sps.profile() < 100;
        let level = if is_1b {
            "1b".to_owned()
        } else {
            self.sps.level().to_string()
        };
        let parameters = format!(
            "sps-id={}:level={level}:bframes=0:ref=1:aud=1",
            self.free_id
        );
        [
            "-profile:v".into(),
            profile.into(),
            "-x264-params".into(),
            parameters,
            "-c:v".into(),
            "libx264".into(),
        ]
    }

    fn profile_name(&self) -> Option<&'static str> {
        Some(match self.sps.profile() {
            66 => "baseline",
            77 => "main",
            100 => "high",
            110 => "high10",
            122 => "high422",
            244 => "high444",
            _ => return None,
        })
    }

    /// The `stsd` box of a track that holds pictures of the source and of `encoded`, the `stsd` boxes of encoded
    /// parts. The source reorders pictures by up to `reorder_frames`, if its own parameters do not say.
    ///
    /// # Errors
    /// Why the parts cannot be joined.
    pub fn join<'a>(
        &self,
        stsd: &Bytes,
        encoded: impl Iterator<Item = &'a Bytes>,
        reorder_frames: u32,
    ) -> Result<Bytes, String> {
        let mut joined = self.config.clone();
        for part in encoded {
            let part = only_entry(part)
                .as_ref()
                .and_then(config)
                .ok_or("the encoder wrote no avcC")?;
            // What all parameter sets promise (ISO/IEC 14496-15, 5.3.3.1.2).
            joined.profile_compatibility &= part.profile_compatibility;
            let ([sps], [pps]) = (
                &part.sequence_parameter_sets[..],
                &part.picture_parameter_sets[..],
            ) else {
                return Err("the encoder used several parameter sets".to_owned());
            };
            let sps = self.like_source(sps, reorder_frames)?;
            if pps_id(pps) != Some(self.free_id) {
                return Err("the encoder did not use the id that it was given".to_owned());
            }
            for (sets, set) in [
                (&mut joined.sequence_parameter_sets, &sps),
                (&mut joined.picture_parameter_sets, pps),
            ] {
                if sets.last() != Some(set) {
                    sets.push(set.clone());
                }
            }
        }
        // Both parts of a clip have the same encoder and options, so that their sets are the same.
        if joined.sequence_parameter_sets.len() > self.config.sequence_parameter_sets.len() + 1 {
            return Err("the encoder used different parameters for start and end".to_owned());
        }
        let entry = only_entry(stsd).ok_or("the source has several sample descriptions")?;
        rewritten(stsd, &entry, &joined).map_err(|error| error.to_string())
    }

    /// The encoder's sequence parameters with the source's video usability information (colours, pixel aspect,
    /// timing), and with the source's bounds on reordering and buffering, so that decoders need not empty their buffers
    /// between the parts (C.4.4) and know from the first picture on how many to hold back.
    fn like_source(&self, encoded: &[u8], reorder_frames: u32) -> Result<Vec<u8>, String> {
        let encoded =
            Sps::read(encoded).ok_or("the encoder's H.264 parameters (SPS) cannot be read")?;
        if encoded.id != self.free_id {
            return Err("the encoder did not use the id that it was given".to_owned());
        }
        if encoded.shape != self.sps.shape {
            return Err(
                "the encoder's pictures differ in size, chroma, bit depth or losslessness"
                    .to_owned(),
            );
        }
        if encoded.profile() > self.sps.profile() {
            return Err("the encoder used a higher profile than the source".to_owned());
        }
        let (reorder_frames, buffered_frames) = self.sps.vui.bounds.unwrap_or((
            reorder_frames,
            self.sps.max_dpb_frames().max(reorder_frames),
        ));
        let mut bits = encoded.bits[..encoded.vui_at].to_vec();
        bits.push(true);
        match self.sps.vui.common.clone() {
            Some(common) => bits.extend_from_slice(&self.sps.bits[common]),
            None => bits.extend_from_slice(&[false; 5]),
        }
        // No HRD parameters for NAL units or VCL NAL units, no pic_struct; then the bitstream restriction: vectors may
        // point over the edges, no bound on bytes or bits, vectors as long as the level allows.
        bits.extend_from_slice(&[false, false, false, true, true]);
        for value in [
            0,
            0,
            15,
            15,
            reorder_frames,
            buffered_frames.max(encoded.max_num_ref_frames),
        ] {
            write_ue(&mut bits, value);
        }
        let mut nal = pack(bits);
        nal[3] = self.sps.level();
        Ok(escape(&nal))
    }
}

/// What H.264's own parameters, in the boxes of a sample entry, say of a pixel's width and height.
pub(crate) fn pixel_aspect(boxes: &Bytes) -> Option<(u32, u32)> {
    let config = find(boxes, *b"avcC").ok()??;
    let config = Avcc::decode_body(&mut &config.body[..]).ok()?;
    Sps::read(config.sequence_parameter_sets.first()?)?
        .vui
        .pixel_aspect
}

/// The one sample description of an `stsd` box.
fn only_entry(stsd: &Bytes) -> Option<Child> {
    let stsd = children(stsd.clone()).next()?.ok()?;
    let mut entries = children(stsd.body.slice_ref(stsd.body.get(8..)?));
    let entry = entries.next()?.ok()?;
    (entries.next().is_none() && entry.body.len() >= VISUAL_ENTRY_BYTES).then_some(entry)
}

fn config(entry: &Child) -> Option<Avcc> {
    let boxes = children(entry.body.slice(VISUAL_ENTRY_BYTES..));
    let config = boxes
        .filter_map(Result::ok)
        .find(|child| child.kind == *b"avcC")?;
    Avcc::decode_body(&mut &config.body[..]).ok()
}

/// An `stsd` box with another `avcC`, and everything else as it was.
fn rewritten(stsd: &Bytes, entry: &Child, config: &Avcc) -> Result<Bytes> {
    let boxed = |kind: &[u8], body: &[u8]| {
        let bytes = u32::try_from(body.len() + 8)
            .unwrap_or(u32::MAX)
            .to_be_bytes();
        [&bytes, kind, body].concat()
    };
    let mut body = entry.body[..VISUAL_ENTRY_BYTES].to_vec();
    for child in children(entry.body.slice(VISUAL_ENTRY_BYTES..)) {
        let child = child?;
        if child.kind == *b"avcC" {
            config
                .encode(&mut body)
                .map_err(|error| Error::internal(format!("writing avcC: {error}")))?;
        } else {
            body.extend_from_slice(&child.whole);
        }
    }
    let head = stsd
        .get(8..16)
        .ok_or_else(|| damaged("box stsd is too short"))?;
    Ok(boxed(b"stsd", &[head, &boxed(&entry.kind, &body)].concat()).into())
}

/// Why a copy cannot begin with a sample, of which `head` is the beginning; `None` where it can: it is an IDR picture, one
/// that starts a coded video sequence, so that nothing behind it refers to anything in front of it.
pub(crate) fn cannot_begin_with(mut head: &[u8]) -> Option<&'static str> {
    while let Some((length, rest)) = head.split_first_chunk() {
        match rest.first().map(|header| header & 31) {
            Some(5) => return None,
            None | Some(1..=4) => break,
            _ => {}
        }
        let Some((unit, next)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize) else {
            break;
        };
        if unit.first().is_some_and(|header| header & 31 == 6)
            && has_message(&unit[1..], DISPLAY_ORIENTATION)
        {
            return Some("the source's pictures say how to turn them");
        }
        head = next;
    }
    Some("the clip's keyframes are no IDR pictures")
}

/// The type of a message that turns or mirrors pictures (D.1.27), which encoded ones would not have.
const DISPLAY_ORIENTATION: usize = 47;

/// Whether there is a message of a type among `messages`, the payload of an SEI NAL unit (7.3.2.3.1).
fn has_message(mut messages: &[u8], kind: usize) -> bool {
    while let (Some(found), Some(bytes)) = (sei_number(&mut messages), sei_number(&mut messages)) {
        if found == kind {
            return true;
        }
        messages = messages.get(bytes..).unwrap_or_default();
    }
    false
}

/// A type or length, which is the sum of its bytes up to the first that is not 255.
fn sei_number(bytes: &mut &[u8]) -> Option<usize> {
    let last = bytes.iter().position(|byte| *byte < 255)?;
    let (number, rest) = bytes.split_at(last + 1);
    *bytes = rest;
    Some(number.iter().map(|byte| usize::from(*byte)).sum())
}

/// A sequence parameter set.
#[derive(Debug, Clone)]
struct Sps {
    /// The NAL unit without emulation prevention.
    bits: Vec<bool>,
    id: u32,
    shape: Shape,
    max_num_ref_frames: u32,
    /// Where `vui_parameters_present_flag` stands.
    vui_at: usize,
    vui: Vui,
}

/// What all pictures of a stream must agree in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shape {
    chroma_format: u32,
    separate_planes: bool,
    luma_depth: u32,
    chroma_depth: u32,
    /// `qpprime_y_zero_transform_bypass_flag`: `FFmpeg` decodes garbage where it begins amid a stream.
    may_be_lossless: bool,
    width_mbs: u32,
    height_map_units: u32,
    frame_mbs_only: bool,
    /// Left, right, top, bottom.
    crop: [u32; 4],
}

/// A pixel's width and height in relation to each other, by their `aspect_ratio_idc` from 1 on (table E-1).
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

/// Video usability information.
#[derive(Debug, Clone, Default)]
struct Vui {
    /// A pixel's width and height in relation to each other.
    pixel_aspect: Option<(u32, u32)>,
    /// Where aspect ratio, overscan, video signal type, chroma location and timing stand.
    common: Option<std::ops::Range<usize>>,
    /// `max_num_reorder_frames` and `max_dec_frame_buffering`.
    bounds: Option<(u32, u32)>,
    /// Whether the planes are green, blue and red (table E-5).
    is_rgb: bool,
}

impl Sps {
    fn read(nal: &[u8]) -> Option<Self> {
        const WITH_CHROMA_FORMAT: [u32; 13] =
            [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
        let mut bits = Bits {
            all: unpack(nal),
            at: 8,
        };
        let profile = bits.number(8)?;
        bits.number(16)?;
        let id = bits.ue()?;
        let (mut chroma_format, mut separate_planes, mut may_be_lossless) = (1, false, false);
        let (mut luma_depth, mut chroma_depth) = (0, 0);
        if WITH_CHROMA_FORMAT.contains(&profile) {
            chroma_format = bits.ue()?;
            separate_planes = chroma_format == 3 && bits.flag()?;
            (luma_depth, chroma_depth, may_be_lossless) = (bits.ue()?, bits.ue()?, bits.flag()?);
            if bits.flag()? {
                for list in 0..if chroma_format == 3 { 12 } else { 8 } {
                    bits.skip_scaling_list(if list < 6 { 16 } else { 64 })?;
                }
            }
        }
        bits.ue()?;
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
        let max_num_ref_frames = bits.ue()?;
        bits.flag()?;
        let (width_mbs, height_map_units, frame_mbs_only) = (bits.ue()?, bits.ue()?, bits.flag()?);
        if !frame_mbs_only {
            bits.flag()?;
        }
        bits.flag()?;
        let crop = if bits.flag()? {
            [bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?]
        } else {
            [0; 4]
        };
        let shape = Shape {
            chroma_format,
            separate_planes,
            luma_depth,
            chroma_depth,
            may_be_lossless,
            width_mbs,
            height_map_units,
            frame_mbs_only,
            crop,
        };
        let vui_at = bits.at;
        let vui = if bits.flag()? {
            Vui::read(&mut bits)?
        } else {
            Vui::default()
        };
        Some(Self {
            bits: bits.all,
            id,
            shape,
            max_num_ref_frames,
            vui_at,
            vui,
        })
    }

    fn profile(&self) -> u32 {
        number(&self.bits[8..16])
    }

    fn constraints(&self) -> u32 {
        number(&self.bits[16..24])
    }

    fn level(&self) -> u8 {
        u8::try_from(number(&self.bits[24..32])).unwrap_or(u8::MAX)
    }

    /// `MaxDpbFrames`: how many frames a decoder of the level buffers when the stream does not say.
    fn max_dpb_frames(&self) -> u32 {
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

impl Vui {
    fn read(bits: &mut Bits) -> Option<Self> {
        const EXTENDED_SAR: u32 = 255;
        let start = bits.at;
        let pixel_aspect = match bits.flag()?.then(|| bits.number(8)) {
            None => None,
            Some(index) => match index? {
                EXTENDED_SAR => Some((bits.number(16)?, bits.number(16)?)),
                index => PIXEL_ASPECTS.get((index as usize).wrapping_sub(1)).copied(),
            },
        };
        if bits.flag()? {
            bits.flag()?;
        }
        let mut is_rgb = false;
        if bits.flag()? {
            bits.number(4)?;
            if bits.flag()? {
                bits.number(16)?;
                is_rgb = bits.number(8)? == 0;
            }
        }
        if bits.flag()? {
            bits.ue()?;
            bits.ue()?;
        }
        if bits.flag()? {
            bits.number(32)?;
            bits.number(32)?;
            bits.flag()?;
        }
        let common = Some(start..bits.at);
        let hrd = [bits.skip_hrd()?, bits.skip_hrd()?];
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
            is_rgb,
        })
    }
}

/// The id of a picture parameter set.
fn pps_id(nal: &[u8]) -> Option<u32> {
    Bits {
        all: unpack(nal),
        at: 8,
    }
    .ue()
}

/// A bit string and how far it was read. `None` is its end.
struct Bits {
    all: Vec<bool>,
    at: usize,
}

impl Bits {
    fn flag(&mut self) -> Option<bool> {
        let bit = *self.all.get(self.at)?;
        self.at += 1;
        Some(bit)
    }

    /// An unsigned integer of up to 32 bits.
    fn number(&mut self, bits: usize) -> Option<u32> {
        let value = number(self.all.get(self.at..self.at + bits)?);
        self.at += bits;
        Some(value)
    }

    /// An unsigned Exp-Golomb number (9.1).
    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
        }
        (zeros < 32).then_some(())?;
        let rest = self.number(zeros)?;
        Some(rest + ((1_u32 << zeros) - 1))
    }

    fn skip_scaling_list(&mut self, length: u32) -> Option<()> {
        if !self.flag()? {
            return Some(());
        }
        let (mut last, mut next) = (8_i64, 8_i64);
        for _ in 0..length {
            if next != 0 {
                let coded = i64::from(self.ue()?);
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

    /// HRD parameters (E.1.2), if they are there.
    fn skip_hrd(&mut self) -> Option<bool> {
        if !self.flag()? {
            return Some(false);
        }
        let count = self.ue()?;
        (count < 32).then_some(())?;
        self.number(8)?;
        for _ in 0..=count {
            self.ue()?;
            self.ue()?;
            self.flag()?;
        }
        self.number(20)?;
        Some(true)
    }
}

fn number(bits: &[bool]) -> u32 {
    bits.iter()
        .fold(0, |value, bit| value << 1 | u32::from(*bit))
}

fn write_ue(bits: &mut Vec<bool>, value: u32) {
    let coded = u64::from(value) + 1;
    let length = u64::BITS - coded.leading_zeros();
    bits.extend(std::iter::repeat_n(false, length as usize - 1));
    bits.extend((0..length).rev().map(|bit| coded >> bit & 1 == 1));
}

/// The bits of a NAL unit without the bytes that prevent start codes in it.
fn unpack(nal: &[u8]) -> Vec<bool> {
    let mut zeros = 0;
    let mut bits = Vec::with_capacity(nal.len() * 8);
    for byte in nal {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        bits.extend((0..8).rev().map(|bit| byte >> bit & 1 == 1));
    }
    bits
}

/// Bytes of `bits`, with the stop bit and the zeros that fill the last byte.
fn pack(mut bits: Vec<bool>) -> Vec<u8> {
    bits.push(true);
    bits.resize(bits.len().next_multiple_of(8), false);
    bits.chunks(8)
        .map(|byte| {
            byte.iter()
                .fold(0, |value, bit| value << 1 | u8::from(*bit))
        })
        .collect()
}

/// Puts in the bytes that prevent start codes.
fn escape(rbsp: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let mut nal = Vec::with_capacity(rbsp.len() + 4);
    for byte in rbsp {
        if zeros >= 2 && *byte <= 3 {
            nal.push(3);
            zeros = 0;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        nal.push(*byte);
    }
    nal
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
                sps.shape.crop
            ),
            (39, 22, [0, 0, 0, 4])
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

    #[test]
    fn first_slice_tells_an_idr_picture() {
        let sample = |types: &[u8]| {
            types
                .iter()
                .flat_map(|kind| [0, 0, 0, 2, *kind, 0xff])
                .collect::<Vec<u8>>()
        };
        assert_eq!(cannot_begin_with(&sample(&[9, 7, 8, 6, 0x65])), None);
        for other in [
            &sample(&[9, 6, 0x41, 0x65])[..],
            &sample(&[9, 6]),
            &[0, 0, 0],
        ] {
            assert_eq!(
                cannot_begin_with(other),
                Some("the clip's keyframes are no IDR pictures")
            );
        }
    }

    #[test]
    fn message_that_turns_pictures_is_found_among_others() {
        let sample = |messages: &[u8]| {
            [
                &[0, 0, 0, 1 + u8::try_from(messages.len()).expect("few"), 6],
                messages,
                &[0, 0, 0, 1, 0x65],
            ]
            .concat()
        };
        let turned = Some("the source's pictures say how to turn them");
        assert_eq!(cannot_begin_with(&sample(&[47, 1, 0x80, 0x80])), turned);
        assert_eq!(
            cannot_begin_with(&sample(&[5, 2, 47, 1, 47, 0, 0x80])),
            turned
        );
        assert_eq!(
            cannot_begin_with(&sample(&[255, 47, 0, 1, 2, 47, 47, 0x80])),
            None
        );
    }

    proptest! {
        #[test]
        fn escaped_bytes_have_no_start_code_and_come_back(bytes in prop::collection::vec(0_u8..5, 0..64)) {
            let escaped = escape(&bytes);
            prop_assert!(escaped.windows(3).all(|three| three[..2] != [0, 0] || three[2] > 2));
            let bits = unpack(&escaped);
            let back: Vec<u8> = bits.chunks(8).map(|byte| u8::try_from(number(byte)).expect("a byte")).collect();
            prop_assert_eq!(back, bytes);
        }

        #[test]
        fn golomb_numbers_come_back(values in prop::collection::vec(0..u32::MAX / 2, 0..8)) {
            let mut all = Vec::new();
            for value in &values {
                write_ue(&mut all, *value);
            }
            let mut bits = Bits { all, at: 0 };
            for value in values {
                prop_assert_eq!(bits.ue(), Some(value));
            }
        }

        #[test]
        fn any_bytes_are_parameters_or_not(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = (Sps::read(&bytes), pps_id(&bytes), cannot_begin_with(&bytes));
        }
    }
}
