//! Lays out and writes a small MP4: `ftyp`, `moov` first, one `mdat` whose samples are copied from files.

use crate::{
    boxes::parse::{FourCC, MAX_INDEX_BYTES, damaged},
    boxes::table::Run,
    error::{Error, Result},
    read::movie::Movie,
    read::samples::{ChunkRun, SampleList, SampleSizes},
    read::track::Track,
};
use bytes::Bytes;
use mp4_atom::{BufMut, Elst, ElstEntry, Encode, FixedPoint, Mvhd};
use std::ops::Range;

/// The `ftyp` of a file whose source has none; only old `QuickTime` files lack it.
const QUICKTIME_FTYP: &[u8] = b"\0\0\0\x14ftypqt  \0\0\0\0qt  ";

/// A track to write, or one part of it.
#[derive(Debug)]
pub(crate) struct OutputTrack<'a> {
    /// The track whose headers and matrix it gets.
    pub source: &'a Track,
    pub timescale: u32,
    /// The `stsd` box.
    pub descriptions: Bytes,
    /// The `sgpd` boxes.
    pub group_descriptions: &'a [Bytes],
    pub samples: SampleList,
    pub chunks: Vec<PlacedChunk>,
    pub edit: Edit,
}

/// Consecutive samples of a track in one of the files that samples are copied from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlacedChunk {
    /// Index of the file.
    pub file: usize,
    /// Sort key for the order in the written file.
    pub order: u64,
    pub run: ChunkRun,
}

/// A span of one of the files that samples are copied from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSpan {
    /// Index of the file.
    pub file: usize,
    pub range: Range<u64>,
}

/// What a player shows of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The length of the initial gap in which nothing is shown, in the movie's timescale.
    pub empty: u64,
    /// The media time at which the edit starts, in the track's timescale.
    pub media_time: u64,
    /// The edit's duration, in the movie's timescale.
    pub duration: u64,
}

/// A file to write: its first bytes, and the spans of other files that follow them.
#[derive(Debug)]
pub(crate) struct Layout {
    pub header: Bytes,
    /// For each part, in the order of the written file.
    pub copies: Vec<Vec<FileSpan>>,
    pub bytes: u64,
}

/// Lays out a file of `parts`, one after the other, each with the same tracks. File-wide headers come from `movie`.
///
/// # Errors
/// [`Error::Unsupported`] if samples of a file overlap, or are not copied in file order.
pub(crate) fn layout(movie: &Movie, timescale: u32, parts: &[Vec<OutputTrack>]) -> Result<Layout> {
    let count = parts.first().map_or(0, Vec::len);
    let mut tracks: Vec<JoinedTrack> = (0..count)
        .map(|number| JoinedTrack::of(parts.iter().map(|part| &part[number]).collect()))
        .collect::<Result<_, _>>()?;
    for track in &tracks {
        check_composition_offsets(&track.samples)?;
    }
    let mut copies = Vec::with_capacity(parts.len());
    let mut media_bytes = 0;
    for part in parts {
        let placement = place(part, media_bytes)?;
        media_bytes = placement.end;
        copies.push(placement.copies);
        for (track, offsets) in tracks.iter_mut().zip(placement.chunk_offsets) {
            track.chunk_offsets.extend(offsets);
        }
    }
    let mut mvhd = movie.mvhd.clone();
    mvhd.timescale = timescale;
    mvhd.duration = tracks.iter().map(JoinedTrack::duration).max().unwrap_or(0);
    let ftyp = movie
        .index
        .ftyp
        .as_ref()
        .map_or(QUICKTIME_FTYP, |ftyp| &ftyp.whole);
    let mut header = Vec::new();
    // Once the width of an offset is chosen, the length of `moov` does not depend on the offsets in it.
    let long = media_bytes > u64::from(u32::MAX) - MAX_HEADER_BYTES;
    let mut base = 0;
    for _ in 0..2 {
        header.clear();
        header.extend_from_slice(ftyp);
        encode_moov(&mut header, &mvhd, &tracks, base, long)
            .map_err(|error| Error::internal(format!("writing the clip's index: {error}")))?;
        encode_mdat_header(&mut header, media_bytes);
        base = header.len() as u64;
    }
    Ok(Layout {
        bytes: base + media_bytes,
        header: header.into(),
        copies,
    })
}

/// `ctts` of version 0 has unsigned offsets of 32 bits (ISO/IEC 14496-12, 8.6.1.3).
fn check_composition_offsets(samples: &SampleList) -> Result<()> {
    for run in &samples.composition {
        if u32::try_from(run.value).is_err() {
            return Err(damaged("a composition offset is impossibly long"));
        }
    }
    Ok(())
}

/// No clip's index is longer, since no source's is.
const MAX_HEADER_BYTES: u64 = 2 * MAX_INDEX_BYTES;

/// A track of the file, with all of its parts.
struct JoinedTrack<'a> {
    /// At least one.
    parts: Vec<&'a OutputTrack<'a>>,
    samples: SampleList,
    /// Chunk offsets of all parts, relative to the first sample of the file.
    chunk_offsets: Vec<u64>,
}

impl<'a> JoinedTrack<'a> {
    fn of(parts: Vec<&'a OutputTrack<'a>>) -> Result<Self> {
        let samples = match parts.as_slice() {
            [part] => part.samples.clone(),
            _ => SampleList::joined(parts.iter().map(|part| &part.samples))?,
        };
        Ok(Self {
            parts,
            samples,
            chunk_offsets: Vec::new(),
        })
    }

    /// How long it is shown, in the movie's timescale.
    fn duration(&self) -> u64 {
        self.parts
            .iter()
            .map(|part| part.edit.empty + part.edit.duration)
            .sum()
    }

    fn edits(&self) -> Elst {
        let mut entries = Vec::new();
        let mut media_start = 0;
        for part in &self.parts {
            entries.extend(part.edit.entries(media_start));
            media_start += part.samples.duration();
        }
        Elst { entries }
    }
}

struct Placement {
    /// Offsets of each track's chunks, relative to the first sample of the file.
    chunk_offsets: Vec<Vec<u64>>,
    copies: Vec<FileSpan>,
    /// Where the samples end, relative to the first sample of the file.
    end: u64,
}

/// Places the samples of a part after the `at` bytes of earlier parts.
fn place(tracks: &[OutputTrack], mut at: u64) -> Result<Placement> {
    let mut chunk_offsets: Vec<Vec<u64>> = tracks
        .iter()
        .map(|track| vec![0; track.chunks.len()])
        .collect();
    let mut order: Vec<(u64, usize, usize, u64)> = Vec::new();
    for (number, track) in tracks.iter().enumerate() {
        let chunks = track.chunks.iter().enumerate();
        order.extend(chunks.map(|(chunk, placed)| (placed.order, number, chunk, placed.run.bytes)));
    }
    order.sort_unstable();
    let mut copies: Vec<FileSpan> = Vec::new();
    let mut ends: Vec<u64> = Vec::new();
    for (_, track, chunk, bytes) in order {
        let PlacedChunk {
            file,
            run: ChunkRun { offset, .. },
            ..
        } = tracks[track].chunks[chunk];
        chunk_offsets[track][chunk] = at;
        if bytes == 0 {
            continue;
        }
        ends.resize(ends.len().max(file + 1), 0);
        if offset < ends[file] {
            return Err(Error::unsupported(
                "the source's samples overlap, which is not supported",
            ));
        }
        ends[file] = offset + bytes;
        match copies.last_mut() {
            Some(last) if last.file == file && last.range.end == offset => last.range.end += bytes,
            _ => copies.push(FileSpan {
                file,
                range: offset..offset + bytes,
            }),
        }
        if chunk == 0 {
            at += tracks[track].samples.preamble.len() as u64;
        }
        at += bytes;
    }
    Ok(Placement {
        chunk_offsets,
        copies,
        end: at,
    })
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
    tracks: &[JoinedTrack],
    base: u64,
    long: bool,
) -> mp4_atom::Result<()> {
    buffer.encode_atom(b"moov", |buffer| {
        mvhd.encode(buffer)?;
        tracks.iter().try_for_each(|track| {
            buffer.encode_atom(b"trak", |buffer| encode_trak(buffer, track, base, long))
        })
    })
}

fn encode_trak(
    buffer: &mut Vec<u8>,
    track: &JoinedTrack,
    base: u64,
    long: bool,
) -> mp4_atom::Result<()> {
    let (
        OutputTrack {
            source, timescale, ..
        },
        samples,
    ) = (track.parts[0], &track.samples);
    let mut tkhd = source.tkhd.clone();
    tkhd.duration = track.duration();
    tkhd.encode(buffer)?;
    append(buffer, &source.trak_boxes);
    buffer.encode_atom(b"edts", |buffer| track.edits().encode(buffer))?;
    buffer.encode_atom(b"mdia", |buffer| {
        let mut mdhd = source.mdhd.clone();
        (mdhd.timescale, mdhd.duration) = (*timescale, samples.duration());
        mdhd.encode(buffer)?;
        append(buffer, &source.mdia_boxes);
        buffer.encode_atom(b"minf", |buffer| {
            append(buffer, &source.minf_boxes);
            buffer.encode_atom(b"stbl", |buffer| {
                buffer.extend_from_slice(&track.parts[0].descriptions);
                encode_samples(buffer, track)?;
                encode_offsets(buffer, &track.chunk_offsets, base, long)?;
                append(buffer, track.parts[0].group_descriptions);
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
    /// The entries of the edit list, for media that begins at `media_start` of the track's media.
    fn entries(&self, media_start: u64) -> impl Iterator<Item = ElstEntry> {
        let rate = FixedPoint::from(1);
        let empty = ElstEntry {
            segment_duration: self.empty,
            media_time: None,
            media_rate: rate,
        };
        let media_time = Some(media_start + self.media_time);
        let shown = ElstEntry {
            segment_duration: self.duration,
            media_time,
            media_rate: rate,
        };
        [empty, shown]
            .into_iter()
            .skip(usize::from(self.empty == 0))
    }
}

fn encode_samples(buffer: &mut Vec<u8>, track: &JoinedTrack) -> mp4_atom::Result<()> {
    let samples = &track.samples;
    encode_table(
        buffer,
        *b"stts",
        &[],
        samples.durations.iter().copied().map(Run::entry),
    )?;
    if !samples.composition.is_empty() {
        encode_table(
            buffer,
            *b"ctts",
            &[],
            samples.composition.iter().map(|run| {
                // `layout` has checked them.
                let offset = u32::try_from(run.value).unwrap_or(u32::MAX);
                [run.count, offset]
            }),
        )?;
    }
    if let Some(sync) = &samples.sync {
        encode_table(buffer, *b"stss", &[], sync.iter().map(|index| [index + 1]))?;
    }
    if let Some(dependencies) = &samples.dependencies {
        buffer.encode_atom(b"sdtp", |buffer| {
            buffer.extend_from_slice(&[0; 4]);
            buffer.extend_from_slice(dependencies);
            Ok(())
        })?;
    }
    encode_sizes(buffer, samples)?;
    encode_table(
        buffer,
        *b"stsc",
        &[],
        sample_to_chunk(
            track
                .parts
                .iter()
                .flat_map(|part| part.chunks.iter().map(|placed| placed.run)),
        ),
    )
}

fn encode_sizes(buffer: &mut Vec<u8>, samples: &SampleList) -> mp4_atom::Result<()> {
    buffer.encode_atom(b"stsz", |buffer| {
        let (size, sizes) = match &samples.sizes {
            // Packets of several samples are old QuickTime audio, whose sample size is 1 by convention.
            SampleSizes::Same(packet) => {
                (if packet.samples == 1 { packet.bytes } else { 1 }, &[][..])
            }
            SampleSizes::Each(sizes) => (0, &sizes[..]),
        };
        [0, size, samples.count()]
            .map(u32::to_be_bytes)
            .as_flattened()
            .encode(buffer)?;
        buffer.extend_from_slice(sizes);
        Ok(())
    })
}

/// The entries of an `stsc` box (8.7.4): first chunk, samples in a chunk, sample entry.
fn sample_to_chunk(runs: impl Iterator<Item = ChunkRun>) -> impl Iterator<Item = [u32; 3]> {
    let mut entries: Vec<[u32; 3]> = Vec::new();
    for (run, chunk) in runs.zip(1..) {
        match entries.last() {
            Some([_, samples, entry]) if (*samples, *entry) == (run.samples, run.description) => {}
            _ => entries.push([chunk, run.samples, run.description]),
        }
    }
    entries.into_iter()
}

fn encode_offsets(
    buffer: &mut Vec<u8>,
    offsets: &[u64],
    base: u64,
    long: bool,
) -> mp4_atom::Result<()> {
    let halves = offsets
        .iter()
        .map(|offset| (base + offset).to_be_bytes())
        .map(|bytes| {
            let (halves, _) = bytes.as_chunks();
            [halves[0], halves[1]].map(u32::from_be_bytes)
        });
    if long {
        encode_table(buffer, *b"co64", &[], halves)
    } else {
        encode_table(buffer, *b"stco", &[], halves.map(|[_, low]| [low]))
    }
}

fn encode_groups(buffer: &mut Vec<u8>, samples: &SampleList) -> mp4_atom::Result<()> {
    for (head, runs) in &samples.groups {
        encode_table(buffer, *b"sbgp", head, runs.iter().copied().map(Run::entry))?;
    }
    if samples.open.is_empty() {
        return Ok(());
    }
    encode_open_groups(buffer, samples)
}

/// Says which keyframes are clean random access pictures (ISO/IEC 14496-15, "Sync sample sample group"). Players that
/// find keyframes by decode time, such as `FFmpeg`, would otherwise start after the pictures that are shown before one.
fn encode_open_groups(buffer: &mut Vec<u8>, samples: &SampleList) -> mp4_atom::Result<()> {
    const CRA_NUT: u8 = 21;
    buffer.encode_atom(b"sgpd", |buffer| {
        // Version 1: one entry of one byte.
        buffer.extend_from_slice(b"\x01\0\0\0sync\0\0\0\x01\0\0\0\x01");
        buffer.push(CRA_NUT);
        Ok(())
    })?;
    let mut runs = Vec::new();
    let mut end = 0;
    for index in &samples.open {
        runs.extend([[index - end, 0], [1, 1]]);
        end = index + 1;
    }
    runs.push([samples.count() - end, 0]);
    let runs = runs.into_iter().filter(|[count, _]| *count > 0);
    encode_table(buffer, *b"sbgp", b"\0\0\0\0sync", runs)
}

/// Writes a table box: version, flags and further fields (`head`), the number of entries, the entries.
///
/// The library's own boxes take 16 bytes an entry, and the tables of a long clip have many.
fn encode_table<const N: usize>(
    buffer: &mut Vec<u8>,
    kind: FourCC,
    head: &[u8],
    entries: impl Iterator<Item = [u32; N]>,
) -> mp4_atom::Result<()> {
    buffer.encode_atom(kind, |buffer| {
        buffer.extend_from_slice(if head.is_empty() { &[0; 4] } else { head });
        let count_at = buffer.len();
        0_u32.encode(buffer)?;
        let mut count = 0_u32;
        for entry in entries {
            entry.map(u32::to_be_bytes).as_flattened().encode(buffer)?;
            count += 1;
        }
        buffer.set_slice(count_at, &count.to_be_bytes());
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_groups_are_named_by_the_type_of_their_keyframes() {
        let samples = SampleList {
            range: 0..10,
            durations: Vec::new(),
            composition: Vec::new(),
            sync: Some(vec![0, 4, 5, 9]),
            sizes: SampleSizes::Each(Bytes::new()),
            dependencies: None,
            groups: Vec::new(),
            preamble: Bytes::new(),
            open: vec![4, 9],
        };
        let mut written = Vec::new();
        encode_groups(&mut written, &samples).expect("boxes");
        let (descriptions, groups) = written.split_at(25);
        assert_eq!(
            descriptions,
            b"\0\0\0\x19sgpd\x01\0\0\0sync\0\0\0\x01\0\0\0\x01\x15"
        );
        let runs = [[4, 0], [1, 1], [4, 0], [1, 1]];
        let runs: Vec<u8> = runs
            .as_flattened()
            .iter()
            .flat_map(|number: &u32| number.to_be_bytes())
            .collect();
        let head = b"\0\0\0\x34sbgp\0\0\0\0sync\0\0\0\x04";
        assert_eq!(groups, [&head[..], &runs].concat());
    }
}
