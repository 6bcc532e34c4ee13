//! Joins several intervals, of one or several sources, in one file without encoding.
//!
//! All intervals share one composition offset: `FFmpeg` times an edit by the first picture that it decodes in it,
//! corrected by what it found in the first edit. If sound begins late in an interval, the edit before it is extended
//! instead, because `FFmpeg` reads empty edits only at the start. Bit rates in sample descriptions differ from file to
//! file and do not make formats different.

use crate::{
    boxes::table::Run,
    cut::window::{BegunSample, Chosen, Preamble, Window, in_order_of_source},
    error::{Error, Result},
    h264, hevc,
    io::{RangeRead, fetch},
    mux::{Edit, Layout, OutputTrack, layout},
    nal::LengthSize,
    read::movie::Movie,
    read::sample_entry::decoding_parameters,
    read::samples::ChunkRun,
    read::track::Track,
    time::rescale,
    vvc,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use std::ops::{Deref, Range};

/// Bytes read of a part's first picture: more than its parameter sets and SEI messages need.
const HEAD_BYTES: u64 = 16 << 10;

/// Intervals of sources of the same format, laid out as one MP4 whose edit lists show them one after the other.
#[derive(Debug, Clone)]
pub struct Join {
    /// Length of the file that [`Join::stream`] yields, in bytes.
    pub bytes: u64,
    header: Bytes,
    windows: Vec<Window>,
    joints: Vec<Joint>,
}

/// The first picture of a later interval, for codecs where it must be an IDR picture.
#[derive(Debug, Clone)]
struct Joint {
    /// The number of its interval.
    index: usize,
    head: Range<u64>,
    size: LengthSize,
    is_idr: fn(&[u8], LengthSize) -> bool,
}

impl Join {
    /// Joins intervals: each is a movie, a start (inclusive) and an end (exclusive) in seconds. Each gets at most one
    /// audio track.
    ///
    /// # Errors
    /// As [`Movie::window`], and [`Error::Unlike`] if the formats differ, saying how.
    pub fn of(cuts: &[(&Movie, f64, f64)]) -> Result<Self> {
        let [(first, ..), ..] = cuts else {
            return Err(Error::internal("there is nothing to join"));
        };
        let mut chosen = choose_alike(cuts)?;
        let timescale = chosen[0].timescale;
        let mut parts: Vec<Vec<OutputTrack>> = chosen
            .iter_mut()
            .map(|chosen| std::mem::take(&mut chosen.tracks))
            .collect();
        let begun: Vec<_> = parts
            .iter_mut()
            .enumerate()
            .map(begin_amid_stream)
            .collect();
        // Delay first: a part must then last until the end of what it shows.
        align_composition_offsets(&mut parts, timescale);
        align(&mut parts, timescale);
        let joints = parts.iter().enumerate().skip(1).filter_map(joint).collect();
        let preambles = parts.iter().map(|part| part.first().and_then(Preamble::of));
        let preambles: Vec<_> = preambles.collect();
        let Layout {
            header,
            copies,
            bytes,
        } = layout(first, timescale, &parts)?;
        let windows = chosen
            .into_iter()
            .zip(copies)
            .zip(begun.into_iter().zip(preambles))
            .map(|((chosen, copies), (begun, preamble))| {
                let mut part = Window::part(chosen.facts, copies);
                part.begun = begun;
                part.preamble = preamble;
                part
            });
        Ok(Self {
            bytes,
            header,
            windows: windows.collect(),
            joints,
        })
    }

    /// Checks that decoders can continue with each interval: for H.264 and VVC, each begins with an IDR picture. After
    /// any other picture, decoders would order pictures by counts that are unrelated to the previous interval's.
    ///
    /// # Errors
    /// [`Error::Unlike`] if one does not, and any error from a source.
    pub async fn check_joints<S>(&self, sources: &[S]) -> Result<()>
    where
        S: Deref<Target: RangeRead + Sized>,
    {
        for Joint {
            index,
            head,
            size,
            is_idr,
        } in &self.joints
        {
            let index = *index;
            let head = fetch::read_exact(&*sources[index], head.clone()).await?;
            if !is_idr(&head, *size) {
                return Err(Error::Unlike {
                    index,
                    difference: "its first keyframe is no IDR picture, and decoders cannot go on with another"
                        .to_owned(),
                });
            }
        }
        Ok(())
    }

    /// The file's bytes in order, read from the `sources` (references or `Arc`s) of the intervals, in their order, with
    /// `connections` requests in flight.
    ///
    /// # Errors
    /// The stream ends with the first error from a source.
    pub fn stream<S>(
        &self,
        sources: Vec<S>,
        connections: usize,
    ) -> impl Stream<Item = Result<Bytes>> + Send + use<S>
    where
        S: Deref<Target: RangeRead + Sized> + Clone + Send + Sync,
    {
        let windows = self.windows.clone().into_iter().zip(sources);
        let samples = stream::iter(windows)
            .flat_map(move |(window, source)| window.samples(source, connections));
        stream::iter([Ok(self.header.clone())]).chain(samples)
    }
}

/// What intervals hold, each with at most one audio track, where all have the same format.
fn choose_alike<'a>(cuts: &[(&'a Movie, f64, f64)]) -> Result<Vec<Chosen<'a>>> {
    let mut all = Vec::new();
    for (movie, start, end) in cuts {
        let mut chosen = movie.choose(&movie.snap(*start, *end)?)?;
        let kept = 1 + usize::from(chosen.facts.has_audio);
        chosen.tracks.truncate(kept);
        all.push(chosen);
    }
    for (index, part) in all.iter().enumerate().skip(1) {
        if let Some(difference) = differences(&all[0], part)? {
            return Err(Error::Unlike { index, difference });
        }
    }
    Ok(all)
}

/// The beginning of the first picture of a part of H.264 or VVC.
fn joint((index, part): (usize, &Vec<OutputTrack>)) -> Option<Joint> {
    let table = &part.first()?.source.samples;
    let is_idr = match part.first()?.source.codec.as_str() {
        "vvc" => vvc::is_idr,
        _ => h264::is_idr,
    };
    let size =
        h264::length_size(&table.descriptions).or_else(|| vvc::length_size(&table.descriptions))?;
    let first = part.first()?.samples.range.start;
    let ChunkRun { offset, bytes, .. } = table.chunk_runs(first..first + 1).next()?;
    Some(Joint {
        index,
        head: offset..offset + bytes.min(HEAD_BYTES),
        size,
        is_idr,
    })
}

/// Makes an H.265 part one that a stream can continue with. Leading pictures of the first picture may refer to missing
/// ones, and none of them is shown, so they are left out. After another part, the first picture begins a new coded
/// sequence (the part's stream applies [`hevc::begin_copy`]).
fn begin_amid_stream((index, part): (usize, &mut Vec<OutputTrack>)) -> Option<BegunSample> {
    let video = part.first_mut()?;
    if video.source.codec != "hevc" || shows_leading(video) {
        return None;
    }
    let table = &video.source.samples;
    let size = hevc::length_size(&table.descriptions)?;
    let range = video.samples.range.clone();
    let first = range.start..range.start + 1;
    let ChunkRun { offset, bytes, .. } = table.chunk_runs(first.clone()).next()?;
    let left_out = video.samples.leave_out_leading();
    if left_out > 0 {
        let runs = table
            .chunk_runs(first)
            .chain(table.chunk_runs(range.start + 1 + left_out..range.end));
        video.chunks = in_order_of_source(runs).collect();
    }
    let begun = BegunSample {
        range: offset..offset + bytes,
        size,
    };
    (index > 0).then_some(begun)
}

/// Whether pictures shown before the first keyframe are part of the clip, as at the beginning of a source.
fn shows_leading(video: &OutputTrack) -> bool {
    let first = Run::values(&video.samples.composition).next().unwrap_or(0);
    first > video.edit.media_time.cast_signed()
}

/// How the formats of two parts differ.
fn differences(one: &Chosen, other: &Chosen) -> Result<Option<String>> {
    if one.tracks.len() != other.tracks.len() {
        let which = if one.tracks.len() > other.tracks.len() {
            "it has no sound"
        } else {
            "only it has sound"
        };
        return Ok(Some(which.to_owned()));
    }
    for (is_audio, (one, other)) in [false, true]
        .into_iter()
        .zip(one.tracks.iter().zip(&other.tracks))
    {
        if let Some(difference) = difference(one.source, other.source, is_audio)? {
            return Ok(Some(difference));
        }
    }
    Ok(None)
}

/// How the formats of two tracks differ.
pub(crate) fn difference(one: &Track, other: &Track, is_audio: bool) -> Result<Option<String>> {
    let what = if is_audio { "sound" } else { "pictures" };
    let verb = if is_audio { "is" } else { "are" };
    if one.codec != other.codec {
        return Ok(Some(format!(
            "its {what} {verb} {}, not {}",
            other.codec, one.codec
        )));
    }
    let shape = |track: &Track| {
        (
            track.tkhd.width,
            track.tkhd.height,
            track.tkhd.matrix.clone(),
        )
    };
    let parameters = |track: &Track| decoding_parameters(&track.samples.descriptions, is_audio);
    let names_version = |track: &Track| !track.samples.preamble.is_empty();
    if parameters(one)? != parameters(other)? || names_version(one) != names_version(other) {
        return Ok(Some(format!("its {what} {verb} coded differently")));
    }
    if shape(one) != shape(other) {
        return Ok(Some(format!(
            "its {what} {verb} shown in another size or turned"
        )));
    }
    if one.edit_segment.timescale != other.edit_segment.timescale {
        let units = [other, one].map(|track| track.edit_segment.timescale);
        return Ok(Some(format!(
            "its {what} {verb} timed in units of 1/{} s, not 1/{} s",
            units[0], units[1]
        )));
    }
    Ok(None)
}

/// Makes all tracks of a part as long as its video, so that every part begins at the same time on every track: both in
/// the edit lists and in the media itself, for players that ignore edit lists.
fn align(parts: &mut [Vec<OutputTrack>], movie_timescale: u32) {
    for number in 0..parts.len() {
        let shown = parts[number].first().map_or(0, |video| video.edit.duration);
        for track in 1..parts[number].len() {
            // FFmpeg supports empty edits only at the start, so the previous edit is extended instead.
            let gap = if number == 0 {
                0
            } else {
                std::mem::take(&mut parts[number][track].edit.empty)
            };
            let edit = &mut parts[number][track].edit;
            edit.duration = shown.saturating_sub(gap + edit.empty);
            if gap > 0 {
                parts[number - 1][track].edit.duration += gap;
            }
        }
    }
    let starts: Vec<_> = parts
        .iter()
        .map(|part| part.first().map(|video| video.edit.media_time))
        .collect();
    let next_starts = starts.into_iter().skip(1).chain([None]);
    for (part, next_start) in parts.iter_mut().zip(next_starts) {
        // What is hidden after the end of a part must not be shown with the next.
        if let (Some(video), Some(start)) = (part.first_mut(), next_start)
            && let Some(latest) = video.samples.latest_time()
        {
            video.samples.extend_to(latest + 1 - start.cast_signed());
        }
        for track in part.iter_mut() {
            let timescale = track.source.edit_segment.timescale;
            let end =
                track.edit.media_time + ticks(track.edit.duration, movie_timescale, timescale);
            track.samples.extend_to(end.cast_signed());
        }
        let seconds = |track: &OutputTrack| {
            let timescale = track.source.edit_segment.timescale;
            ticks(track.samples.duration(), timescale, movie_timescale)
        };
        let longest = part.iter().map(seconds).max().unwrap_or(0);
        for track in part {
            let timescale = track.source.edit_segment.timescale;
            track
                .samples
                .extend_to(ticks(longest, movie_timescale, timescale).cast_signed());
        }
    }
}

/// Gives the video of all parts the same time between decoding the first shown frame and the start of the edit.
/// `FFmpeg` times every edit by that frame, and always corrects it by the first edit's offset.
fn align_composition_offsets(parts: &mut [Vec<OutputTrack>], movie_timescale: u32) {
    let mut delays = Vec::new();
    for part in parts.iter() {
        let video = part.first();
        delays.push(video.and_then(|video| first_delay(video, movie_timescale)));
    }
    let longest = delays.iter().copied().flatten().max().unwrap_or(0).max(0);
    for (part, delay) in parts.iter_mut().zip(delays) {
        let missing = longest - delay.unwrap_or(0);
        if missing > 0
            && let Some(video) = part.first_mut()
        {
            video.samples.delay(missing);
            video.edit.media_time += missing.cast_unsigned();
        }
    }
}

/// The time between decoding the first shown frame and the start of the edit, in the track's timescale.
fn first_delay(video: &OutputTrack, movie_timescale: u32) -> Option<i64> {
    let Edit {
        media_time,
        duration,
        ..
    } = video.edit;
    let timescale = video.source.edit_segment.timescale;
    let start = media_time.cast_signed();
    let length = ticks(duration, movie_timescale, timescale).cast_signed();
    let decoded = video.samples.first_decode_time(&(start..start + length))?;
    Some(start - decoded)
}

fn ticks(value: u64, from: u32, to: u32) -> u64 {
    rescale(value.cast_signed(), from, to)
        .max(0)
        .cast_unsigned()
}
