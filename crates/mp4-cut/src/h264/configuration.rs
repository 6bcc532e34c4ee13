//! The decoder configuration record (`avcC`, ISO/IEC 14496-15, 5.3.3.1) of copied and encoded frames in one track.

use crate::{
    boxes::parse::{Child, FourCC, children, find},
    boxes::stsd::{VISUAL_ENTRY_BYTES, entry_boxes, only_video_entry, with_entry},
    encode_target::EncodeTarget,
    error::{Error, Result},
    h264::{
        parameter_sets::ParameterSets,
        sps::{Sps, pps_id},
    },
    nal::{LengthSize, VideoSignal, bits::BitWriter},
};
use bytes::Bytes;
use mp4_atom::{Atom, Avcc, Encode};

/// The highest id of a sequence parameter set.
const MAX_SPS_ID: u32 = 31;
/// Sample entries of H.264: with all parameter sets in the entry (`avc1`), or some of them in samples (`avc3`).
const KINDS: [FourCC; 2] = [*b"avc1", *b"avc3"];

/// The sample entry of a source whose frames may be joined with encoded ones.
#[derive(Debug, Clone)]
pub(crate) struct Avc {
    config: Avcc,
    size: LengthSize,
    /// The first sequence parameter set; the others match it.
    sps: Sps,
    /// An id that no sequence or picture parameter set of the source uses.
    free_id: u32,
}

impl Avc {
    /// Reads an `stsd` box. `samples` are the beginnings of samples that will be copied; they may carry further
    /// parameter sets.
    ///
    /// # Errors
    /// Why frames of this source cannot be joined with encoded ones.
    pub fn read(stsd: &Bytes, samples: &[Bytes]) -> Result<Self, String> {
        let entry = only_video_entry(stsd).ok_or("the source has several sample descriptions")?;
        if !KINDS.contains(&entry.kind) {
            return Err("the source is not H.264".to_owned());
        }
        let (config, size) = config(&entry)
            .and_then(|config| {
                let size = LengthSize::of_bytes(config.length_size)?;
                Some((config, size))
            })
            .ok_or("the source's H.264 configuration (avcC) cannot be read")?;
        let config = ParameterSets::of(&config, size, samples)?
            .written(&config)
            .ok_or("the source's H.264 parameters (SPS) cannot be read")?;
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
        // The encoder would treat the planes as luma and chroma.
        if sps.vui.signal.is_rgb() {
            return Err("the source's pictures are RGB".to_owned());
        }
        let pps_ids = config.picture_parameter_sets.iter().map(|nal| pps_id(nal));
        let taken: Option<Vec<u32>> = all.iter().map(|sps| Some(sps.id)).chain(pps_ids).collect();
        let taken = taken.ok_or("the source's H.264 parameters (PPS) cannot be read")?;
        let free_id = (0..=MAX_SPS_ID).rev().find(|id| !taken.contains(id));
        Ok(Self {
            free_id: free_id.ok_or("the source uses every id of parameter sets")?,
            config,
            size,
            sps,
        })
    }

    /// The size of NAL unit lengths in the source's samples.
    pub fn length_size(&self) -> LengthSize {
        self.size
    }

    pub fn encode_target(&self) -> EncodeTarget {
        let (profile, level) = (self.sps.profile(), self.sps.level());
        EncodeTarget::H264 {
            profile,
            level,
            // Constraint set 3 says so in these profiles (annex A.3.1 and A.3.2).
            is_level_1b: level == 11 && profile < 100 && self.sps.constraints() & 0x10 != 0,
            may_be_lossless: self.sps.shape.may_be_lossless,
            parameter_set_id: self.free_id,
            bits: u8::try_from(8 + self.sps.shape.luma_depth).unwrap_or(u8::MAX),
        }
    }

    /// The `stsd` box of a track that holds frames of the source and of `encoded`, the `stsd` boxes of encoded parts.
    /// The source reorders frames by up to `reorder_frames`, unless its own parameters say otherwise.
    ///
    /// # Errors
    /// Why the parts cannot be joined.
    pub fn join<'a>(
        &self,
        stsd: &Bytes,
        encoded: impl Iterator<Item = &'a Bytes>,
        reorder_frames: u32,
    ) -> Result<Bytes, String> {
        if self.size != LengthSize::Four {
            let bytes = self.config.length_size;
            return Err(format!(
                "the source's NAL units have lengths of {bytes} bytes"
            ));
        }
        let mut joined = self.config.clone();
        for part in encoded {
            let part = only_video_entry(part)
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
        // All parts of a clip come from the same encoder with the same options, so their sets must be equal.
        if joined.sequence_parameter_sets.len() > self.config.sequence_parameter_sets.len() + 1 {
            return Err("the encoder used different parameters for start and end".to_owned());
        }
        let entry = only_video_entry(stsd).ok_or("the source has several sample descriptions")?;
        with_config(stsd, &entry, *b"avc1", &joined).map_err(|error| error.to_string())
    }

    /// The encoder's sequence parameters with the source's cropping and video usability information (colours, pixel
    /// aspect, timing), and with the source's bounds on reordering and buffering. So decoders need not flush their
    /// buffers between parts (C.4.4) and know from the first picture on how many to hold back. If the source's pictures
    /// may be lossless, so may the encoder's: `FFmpeg` orders the coefficients of lossless pictures by the first
    /// parameters that it sees.
    fn like_source(&self, encoded: &[u8], reorder_frames: u32) -> Result<Vec<u8>, String> {
        let mut encoded =
            Sps::read(encoded).ok_or("the encoder's H.264 parameters (SPS) cannot be read")?;
        if let (Some(at), true) = (encoded.lossless_at, self.sps.shape.may_be_lossless) {
            encoded.shape.may_be_lossless = true;
            encoded.rbsp[at / 8] |= 0x80 >> (at % 8);
            // Only this profile may set the flag (annex A.2); it has no constraints that the encoder's pictures could
            // violate.
            (encoded.rbsp[1], encoded.rbsp[2]) = (self.sps.profile(), 0);
        }
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
        let mut bits = BitWriter::default();
        bits.copy(&encoded.rbsp, 0..24);
        bits.number(self.sps.level().into(), 8);
        bits.copy(&encoded.rbsp, 32..encoded.cropping.start);
        bits.copy(&self.sps.rbsp, self.sps.cropping.clone());
        bits.flag(true);
        match self.sps.vui.common.clone() {
            Some(common) => bits.copy(&self.sps.rbsp, common),
            None => bits.number(0, 5),
        }
        // No HRD parameters for NAL units or VCL NAL units, no pic_struct; then the bitstream restriction: vectors may
        // point over the edges, no bound on bytes or bits, vectors as long as the level allows.
        bits.number(0b11, 5);
        for value in [
            0,
            0,
            15,
            15,
            reorder_frames,
            buffered_frames.max(encoded.max_num_ref_frames),
        ] {
            bits.ue(value);
        }
        Ok(bits.into_nal())
    }
}

/// The pixel aspect ratio in the H.264 parameter sets among a sample entry's boxes.
pub(crate) fn pixel_aspect(boxes: &Bytes) -> Option<(u32, u32)> {
    match first_sps(boxes)?.vui.pixel_aspect? {
        (0, _) | (_, 0) => None,
        aspect => Some(aspect),
    }
}

/// Bit depth, `chroma_format_idc` and colours in the H.264 parameter sets among a sample entry's boxes.
pub(crate) fn pixel_format(boxes: &Bytes) -> Option<(u8, u8, VideoSignal)> {
    let Sps { shape, vui, .. } = first_sps(boxes)?;
    let narrow = |number: u32| u8::try_from(number).ok();
    Some((
        narrow(8 + shape.luma_depth)?,
        narrow(shape.chroma_format)?,
        vui.signal,
    ))
}

fn first_sps(boxes: &Bytes) -> Option<Sps> {
    let config = find(boxes, *b"avcC").ok()??;
    let config = Avcc::decode_body(&mut &config.body[..]).ok()?;
    Sps::read(config.sequence_parameter_sets.first()?)
}

/// The parameters in an `stsd` box and its size of NAL unit lengths; `None` if they cannot be read, or are only in the
/// samples.
pub(crate) fn parameters(stsd: &Bytes) -> Option<(Sps, LengthSize)> {
    let config = config(&only_video_entry(stsd)?)?;
    let sps = Sps::read(config.sequence_parameter_sets.first()?)?;
    Some((sps, LengthSize::of_bytes(config.length_size)?))
}

/// The size of a sample's NAL unit lengths.
pub(crate) fn length_size(stsd: &Bytes) -> Option<LengthSize> {
    LengthSize::of_bytes(config(&only_video_entry(stsd)?)?.length_size)
}

fn config(entry: &Child) -> Option<Avcc> {
    let boxes = entry_boxes(entry, VISUAL_ENTRY_BYTES).ok()?;
    let config = find(&boxes, *b"avcC").ok()??;
    Avcc::decode_body(&mut &config.body[..]).ok()
}

/// Whether parameter sets are in a sample of an `stsd` box that begins with `head`.
pub(crate) fn has_sets(stsd: &Bytes, head: &[u8]) -> bool {
    length_size(stsd).is_some_and(|size| ParameterSets::are_in(head, size))
}

/// An `stsd` box of an `avc1` entry that names all parameter sets, those also that lie in its samples, which begin with
/// `heads`; where sets change between samples, only those that the first is decoded with. `None` where nothing is to be
/// changed, and where they cannot be read. Sets that the samples repeat stay there.
pub(crate) fn with_sets_of_samples(stsd: &Bytes, heads: &[Bytes]) -> Option<Bytes> {
    let entry = only_video_entry(stsd).filter(|entry| KINDS.contains(&entry.kind))?;
    let config = config(&entry)?;
    let size = LengthSize::of_bytes(config.length_size)?;
    let sets = ParameterSets::of(&config, size, heads)
        .or_else(|_| ParameterSets::of(&config, size, heads.get(..1).unwrap_or(heads)))
        .ok()?;
    if !sets.are_complete() {
        return None;
    }
    let written = sets.written(&config)?;
    if entry.kind == KINDS[0] && written == config {
        return None;
    }
    with_config(stsd, &entry, KINDS[0], &written).ok()
}

/// The same `stsd` box for samples with four-byte NAL unit lengths.
pub(crate) fn with_long_lengths(stsd: &Bytes) -> Option<Bytes> {
    let entry = only_video_entry(stsd)?;
    let mut config = config(&entry)?;
    config.length_size = 4;
    with_config(stsd, &entry, entry.kind, &config).ok()
}

/// The same `stsd` box, with `entry` changed to another type and another `avcC`.
fn with_config(stsd: &Bytes, entry: &Child, kind: FourCC, config: &Avcc) -> Result<Bytes> {
    let mut body = entry.body[..VISUAL_ENTRY_BYTES].to_vec();
    for child in children(entry_boxes(entry, VISUAL_ENTRY_BYTES)?) {
        let child = child?;
        if child.kind == *b"avcC" {
            config
                .encode(&mut body)
                .map_err(|error| Error::internal(format!("writing avcC: {error}")))?;
        } else {
            body.extend_from_slice(&child.whole);
        }
    }
    with_entry(stsd, kind, &body)
}
