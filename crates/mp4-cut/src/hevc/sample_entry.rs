//! Sample entries of H.265: where the parameter sets are, and what else they say about the stream.

use super::{configuration::Configuration, parameter_sets::ParameterSets};
use crate::nal::{LengthSize, VideoSignal};
use crate::{
    boxes::parse::{Child, FourCC, children, find},
    boxes::stsd::{VISUAL_ENTRY_BYTES, entry_boxes, only_video_entry, with_entry},
    error::Result,
};
use bytes::Bytes;

/// The boxes of a Dolby Vision configuration.
pub(crate) const DOLBY_VISION: [FourCC; 3] = [*b"dvcC", *b"dvvC", *b"dvwC"];

/// The only sample entry of an `stsd` box, and its configuration; `None` if there are several, or it cannot be read.
pub fn configuration(stsd: &Bytes) -> Option<(Child, Configuration)> {
    let entry = only_video_entry(stsd)?;
    let boxes = entry_boxes(&entry, VISUAL_ENTRY_BYTES).ok()?;
    let record = find(&boxes, *b"hvcC").ok()??;
    Some((entry, Configuration::read(&record.body)?))
}

/// Bit depth, `chroma_format_idc` and colours of the only sample entry of an `stsd` box.
pub fn pixel_format(stsd: &Bytes) -> Option<(u8, u8, VideoSignal)> {
    configuration(stsd).map(|(_, configuration)| configuration.pixel_format())
}

/// The size of NAL unit lengths in the samples of an `stsd` box.
pub fn length_size(stsd: &Bytes) -> Option<LengthSize> {
    configuration(stsd).map(|(_, configuration)| configuration.length_size())
}

/// What a sample entry says about Dolby Vision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DolbyVision {
    /// Whether decoders without Dolby Vision show its pictures in the right colours.
    pub is_compatible: bool,
}

/// What a sample entry says about Dolby Vision ("Dolby Vision Streams Within the ISO Base Media File Format", 3.2);
/// `None` for a stream without it.
pub fn dolby_vision(entry: &Child) -> Option<DolbyVision> {
    /// The profile whose pictures use their own colour space.
    const OWN_COLOURS: u8 = 5;
    let boxes = entry_boxes(entry, VISUAL_ENTRY_BYTES).ok()?;
    let mut records = DOLBY_VISION
        .iter()
        .filter_map(|kind| find(&boxes, *kind).ok()?);
    let record = records.next()?.body;
    // Two bytes of version, seven bits of profile, and the compatibility in the first half of the fifth.
    let (profile, compatible_with) = (record.get(2)? >> 1, record.get(4)? >> 4);
    Some(DolbyVision {
        is_compatible: profile != OWN_COLOURS && (profile < OWN_COLOURS || compatible_with > 0),
    })
}

/// An `stsd` box of an entry that names all parameter sets, those also that lie in its samples, which
/// begin with `heads`; where sets change between samples, only those that the first is decoded with.
/// `None` where nothing is to be changed, and where they cannot be read. Sets that the samples repeat
/// stay there.
pub fn with_sets_of_samples(stsd: &Bytes, heads: &[Bytes]) -> Option<Bytes> {
    let (entry, configuration) = configuration(stsd)?;
    let sets = configuration
        .sets_with(heads)
        .or_else(|_| configuration.sets_with(heads.get(..1).unwrap_or(heads)))
        .ok()?;
    let kind = match &entry.kind {
        b"dvhe" | b"dvh1" => *b"dvh1",
        b"hev1" | b"hvc1" => *b"hvc1",
        _ => return None,
    };
    if entry.kind == kind && configuration.parameter_sets().ok() == Some(sets.clone()) {
        return None;
    }
    with_record(stsd, &entry, kind, &configuration.with(&sets)?, true).ok()
}

/// The same `stsd` box for samples with four-byte NAL unit lengths.
pub fn with_long_lengths(stsd: &Bytes) -> Option<Bytes> {
    let (entry, configuration) = configuration(stsd)?;
    let record = configuration.with_long_lengths()?;
    with_record(stsd, &entry, entry.kind, &record, true).ok()
}

/// Whether parameter sets are in a sample of an `stsd` box that begins with `head`.
pub fn has_sets(stsd: &Bytes, head: &[u8]) -> bool {
    length_size(stsd).is_some_and(|size| ParameterSets::are_in(head, size))
}

/// The same `stsd` box, with its entry changed to another type and another `hvcC`, and without Dolby Vision if that is
/// not kept.
pub fn with_record(
    stsd: &Bytes,
    entry: &Child,
    kind: FourCC,
    record: &[u8],
    keeps_dolby_vision: bool,
) -> Result<Bytes> {
    let mut body = entry.body[..VISUAL_ENTRY_BYTES].to_vec();
    for child in children(entry_boxes(entry, VISUAL_ENTRY_BYTES)?) {
        let child = child?;
        if child.kind == *b"hvcC" {
            let bytes = u32::try_from(record.len() + 8).unwrap_or(u32::MAX);
            body.extend_from_slice(&bytes.to_be_bytes());
            body.extend_from_slice(b"hvcC");
            body.extend_from_slice(record);
        } else if keeps_dolby_vision || !DOLBY_VISION.contains(&child.kind) {
            body.extend_from_slice(&child.whole);
        }
    }
    with_entry(stsd, kind, &body)
}
