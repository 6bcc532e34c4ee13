//! Lays out and writes a small MP4: `ftyp`, `moov` in front, one `mdat` whose samples are copied from a source.

use super::{
    boxes::{Child, Run},
    samples::{Packet, SampleList, SampleSizes},
    track::Track,
};
use crate::error::ClipError;
use bytes::Bytes;
use mp4_atom::{
    BufMut, Co64, Ctts, CttsEntry, Elst, ElstEntry, Encode, FixedPoint, Mvhd, Stco, Stsc, StscEntry, Stss, Stsz,
    StszSamples, Stts, SttsEntry,
};
use std::ops::Range;

/// The `ftyp` of a file whose source has none, which only old `QuickTime` files do.
const QUICKTIME_FTYP: &[u8] = b"\0\0\0\x14ftypqt  \0\0\0\0qt  ";

/// A track to be written.
#[derive(Debug)]
pub(crate) struct TrackOut<'a> {
    /// Whose headers, sample descriptions and matrix it gets.
    pub source: &'a Track,
    pub samples: SampleList,
    pub edit: Edit,
}

/// What a player shows of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edit {
    /// How long nothing is shown first, in the movie's timescale.
    pub empty: u64,
    /// The media time that is shown then, in the track's timescale.
    pub media_time: u64,
    /// How long, in the movie's timescale.
    pub duration: u64,
}

/// A file to be written: its first bytes, and the spans of the source that follow them.
#[derive(Debug)]
pub(crate) struct Layout {
    pub header: Bytes,
    /// In the order of the file, which is the order of the source.
    pub copies: Vec<Range<u64>>,
    pub bytes: u64,
}

/// Lays out a file with `tracks`, whose samples stay in the order that they have in the source.
///
/// # Errors
/// `UnsupportedMedia` when samples of the source overlap.
pub(crate) fn layout(ftyp: Option<&Child>, mvhd: &Mvhd, tracks: &[TrackOut]) -> Result<Layout, ClipError> {
    let placement = place(tracks)?;
    let media_bytes: u64 = placement.copies.iter().map(|copy| copy.end - copy.start).sum();
    let ftyp = ftyp.map_or(QUICKTIME_FTYP, |ftyp| &ftyp.whole);
    let mut header = Vec::new();
    // The length of `moov` does not depend on the offsets in it, once the width of an offset is settled.
    let long = media_bytes > u64::from(u32::MAX) - MAX_HEADER_BYTES;
    let mut base = 0;
    for _ in 0..2 {
        header.clear();
        header.extend_from_slice(ftyp);
        encode_moov(&mut header, mvhd, tracks, &placement.chunk_offsets, base, long)
            .map_err(|error| ClipError::internal(format!("writing the clip's index: {error}")))?;
        encode_mdat_header(&mut header, media_bytes);
        base = header.len() as u64;
    }
    Ok(Layout { bytes: base + media_bytes, header: header.into(), copies: placement.copies })
}

/// No index of a clip is longer, as no source's is.
const MAX_HEADER_BYTES: u64 = 2 * super::MAX_INDEX_BYTES;

struct Placement {
    /// Of each track's chunks, relative to the first sample.
    chunk_offsets: Vec<Vec<u64>>,
    copies: Vec<Range<u64>>,
}

fn place(tracks: &[TrackOut]) -> Result<Placement, ClipError> {
    let mut order: Vec<(u64, u32, u32)> = tracks
        .iter()
        .zip(0_u32..)
        .flat_map(|(track, number)| {
            track.samples.pieces.iter().zip(0_u32..).map(move |(piece, chunk)| (piece.offset, number, chunk))
        })
        .collect();
    order.sort_unstable();
    let mut chunk_offsets: Vec<Vec<u64>> = tracks.iter().map(|track| vec![0; track.samples.pieces.len()]).collect();
    let mut copies: Vec<Range<u64>> = Vec::new();
    let mut at = 0;
    for (offset, number, chunk) in order {
        let (number, chunk) = (number as usize, chunk as usize);
        let bytes = tracks[number].samples.pieces[chunk].bytes;
        chunk_offsets[number][chunk] = at;
        if bytes == 0 {
            continue;
        }
        match copies.last_mut() {
            Some(last) if offset < last.end => {
                return Err(ClipError::unsupported_media("the source's samples overlap, which is not supported"));
            }
            Some(last) if offset == last.end => last.end += bytes,
            _ => copies.push(offset..offset + bytes),
        }
        at += bytes;
    }
    Ok(Placement { chunk_offsets, copies })
}

fn encode_mdat_header(buffer: &mut Vec<u8>, media_bytes: u64) {
    if let Ok(bytes) = u32::try_from(media_bytes + 8) {
        buffer.extend_from_slice(&bytes.to_be_bytes());
        buffer.extend_from_slice(b"mdat");
    } else {
        buffer.extend_from_slice(b"\0\0\0\x01mdat");
        buffer.extend_from_slice(&(media_bytes + 16).to_be_bytes());
    }
}

fn encode_moov(
    buffer: &mut Vec<u8>,
    mvhd: &Mvhd,
    tracks: &[TrackOut],
    chunk_offsets: &[Vec<u64>],
    base: u64,
    long: bool,
) -> mp4_atom::Result<()> {
    buffer.encode_atom(b"moov", |buffer| {
        mvhd.encode(buffer)?;
        tracks.iter().zip(chunk_offsets).try_for_each(|(track, offsets)| {
            buffer.encode_atom(b"trak", |buffer| encode_trak(buffer, track, offsets, base, long))
        })
    })
}

fn encode_trak(
    buffer: &mut Vec<u8>,
    track: &TrackOut,
    chunk_offsets: &[u64],
    base: u64,
    long: bool,
) -> mp4_atom::Result<()> {
    let TrackOut { source, samples, edit } = track;
    let mut tkhd = source.tkhd.clone();
    (tkhd.duration, tkhd.enabled) = (edit.empty + edit.duration, true);
    tkhd.encode(buffer)?;
    append(buffer, &source.trak_boxes);
    buffer.encode_atom(b"edts", |buffer| edit.list().encode(buffer))?;
    buffer.encode_atom(b"mdia", |buffer| {
        let mut mdhd = source.mdhd.clone();
        mdhd.duration = samples.duration();
        mdhd.encode(buffer)?;
        append(buffer, &source.mdia_boxes);
        buffer.encode_atom(b"minf", |buffer| {
            append(buffer, &source.minf_boxes);
            buffer.encode_atom(b"stbl", |buffer| {
                buffer.extend_from_slice(&source.samples.descriptions);
                encode_samples(buffer, samples)?;
                encode_offsets(buffer, chunk_offsets, base, long)?;
                append(buffer, &source.samples.group_descriptions);
                encode_groups(buffer, samples)
            })
        })
    })
}

fn append(buffer: &mut Vec<u8>, boxes: &[Bytes]) {
    for bytes in boxes {
        buffer.extend_from_slice(bytes);
    }
}

impl Edit {
    fn list(&self) -> Elst {
        let rate = FixedPoint::from(1);
        let empty = ElstEntry { segment_duration: self.empty, media_time: None, media_rate: rate };
        let shown = ElstEntry { segment_duration: self.duration, media_time: Some(self.media_time), media_rate: rate };
        Elst { entries: if self.empty > 0 { vec![empty, shown] } else { vec![shown] } }
    }
}

fn encode_samples(buffer: &mut Vec<u8>, samples: &SampleList) -> mp4_atom::Result<()> {
    let durations = samples.durations.iter();
    Stts { entries: durations.map(|run| SttsEntry { sample_count: run.count, sample_delta: run.value }).collect() }
        .encode(buffer)?;
    if !samples.composition.is_empty() {
        let runs = samples.composition.iter();
        Ctts { entries: runs.map(|run| CttsEntry { sample_count: run.count, sample_offset: run.offset }).collect() }
            .encode(buffer)?;
    }
    if let Some(sync) = &samples.sync {
        Stss { entries: sync.iter().map(|index| index + 1).collect() }.encode(buffer)?;
    }
    if let Some(dependencies) = &samples.dependencies {
        buffer.encode_atom(b"sdtp", |buffer| {
            buffer.extend_from_slice(&[0; 4]);
            buffer.extend_from_slice(dependencies);
            Ok(())
        })?;
    }
    let count = u32::try_from(samples.count()).map_err(|_| mp4_atom::Error::InvalidSize)?;
    let sizes = match &samples.sizes {
        // Packets of several samples are old QuickTime sound, whose sample size is by convention one.
        SampleSizes::Same(Packet { samples: 1, bytes }) => StszSamples::Identical { count, size: *bytes },
        SampleSizes::Same(_) => StszSamples::Identical { count, size: 1 },
        SampleSizes::Each(sizes) => StszSamples::Different { sizes: sizes.clone() },
    };
    Stsz { samples: sizes }.encode(buffer)?;
    chunk_runs(samples).encode(buffer)
}

fn chunk_runs(samples: &SampleList) -> Stsc {
    let mut entries: Vec<StscEntry> = Vec::new();
    for (piece, first_chunk) in samples.pieces.iter().zip(1..) {
        let same = entries.last().is_some_and(|last| {
            (last.samples_per_chunk, last.sample_description_index) == (piece.samples, piece.description)
        });
        if !same {
            entries.push(StscEntry {
                first_chunk,
                samples_per_chunk: piece.samples,
                sample_description_index: piece.description,
            });
        }
    }
    Stsc { entries }
}

fn encode_offsets(buffer: &mut Vec<u8>, offsets: &[u64], base: u64, long: bool) -> mp4_atom::Result<()> {
    let offsets = offsets.iter().map(|offset| base + offset);
    if long {
        Co64 { entries: offsets.collect() }.encode(buffer)
    } else {
        let entries = offsets.map(u32::try_from).collect::<Result<_, _>>();
        Stco { entries: entries.map_err(|_| mp4_atom::Error::InvalidSize)? }.encode(buffer)
    }
}

fn encode_groups(buffer: &mut Vec<u8>, samples: &SampleList) -> mp4_atom::Result<()> {
    samples.groups.iter().try_for_each(|(head, runs)| {
        buffer.encode_atom(b"sbgp", |buffer| {
            buffer.extend_from_slice(head);
            let count = u32::try_from(runs.len()).map_err(|_| mp4_atom::Error::InvalidSize)?;
            count.encode(buffer)?;
            runs.iter().try_for_each(|Run { count, value }| {
                count.encode(buffer)?;
                value.encode(buffer)
            })
        })
    })
}
