//! An interval cut exactly with little encoding: only the frames in front of its first keyframe, and those at its end
//! that cannot be decoded without later ones, are encoded; everything between is copied.
//!
//! The copy must begin with an IDR picture, behind which nothing refers to anything in front of it. Encoded and copied
//! pictures share one track and one sample description; each part refers to its own parameter sets by id.

use super::{
    avc::{self, Avc},
    boxes::Run,
    fetch,
    movie::{Movie, read_track},
    samples::{Frame, Piece, SampleList, SampleTable},
    time::{Time, rescale},
    track::Track,
    window::{Window, movie_timescale},
    write::{Edit, FileSpan, Layout, Placed, TrackOut, layout},
};
use crate::{ErrorKind, error::ClipError, range::RangeRead};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use mp4_atom::Matrix;
use serde::{Deserialize, Serialize};
use std::{iter::repeat_n, ops::Range, sync::Arc};

/// Bytes of a keyframe that are read to tell what it is: more than the parameters and messages in front of its picture.
const KEYFRAME_HEAD_BYTES: u64 = 16 << 10;
/// The most frames of a clip, which are looked at several times: more than two hours at 60 a second.
const MAX_FRAMES: usize = 500_000;
/// How many keyframes are looked at in search of one that a copy can begin with.
const MAX_KEYFRAMES: usize = 8;
/// Pictures that precede another in decoding and follow it when shown (H.264 allows 16 in all).
const MAX_REORDER_FRAMES: usize = 16;
/// Encoded samples are stored in chunks of this many a second, so that sound lies beside its pictures.
const CHUNKS_PER_SECOND: u32 = 2;

/// Which frames of an interval are copied, and which are encoded.
#[derive(Debug, Clone)]
pub struct Splice {
    /// How much is encoded.
    pub facts: SpliceFacts,
    /// In media time, as all times below.
    interval: Range<i64>,
    /// When the frames in front of the copy are shown.
    head: Vec<i64>,
    /// The samples that are copied.
    body: Range<u32>,
    /// When those are shown.
    copied: Range<i64>,
    /// When the frames behind the copy are shown.
    tail: Vec<i64>,
    avc: Avc,
    reorder_frames: u32,
}

/// How much of an interval is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpliceFacts {
    /// How long the pictures that are encoded are shown, in seconds.
    pub encoded_seconds: f64,
    /// How long the pictures that are copied are shown, in seconds.
    pub copied_seconds: f64,
}

/// Why an interval is not spliced.
#[derive(Debug)]
pub enum Unspliced {
    /// The source is not made for it: this is why. Encoding all of it works.
    Unfit(String),
    /// Something else went wrong.
    Failed(ClipError),
}

impl From<ClipError> for Unspliced {
    fn from(error: ClipError) -> Self {
        Self::Failed(error)
    }
}

impl From<String> for Unspliced {
    fn from(why: String) -> Self {
        Self::Unfit(why)
    }
}

/// The parts that were encoded, as MP4 files of one track each.
#[derive(Debug)]
pub struct Encoded<R> {
    /// What [`Splice::head`] gave.
    pub head: Option<R>,
    /// What [`Splice::tail`] gave.
    pub tail: Option<R>,
    /// The sound of the whole interval.
    pub sound: Option<R>,
}

/// A clip of copied and encoded parts.
#[derive(Debug)]
pub struct Spliced<R> {
    /// Length of the file that the clip is written as.
    pub output_bytes: u64,
    header: Bytes,
    copies: Vec<FileSpan>,
    files: Arc<[R]>,
}

impl Movie {
    /// Chooses which frames of the interval from `start_seconds` up to, not including, `end_seconds` are copied.
    ///
    /// # Errors
    /// `Unfit` when none can be, saying why; otherwise as [`Movie::window`], and whatever the source raises.
    pub async fn splice(
        &self,
        source: &impl RangeRead,
        start_seconds: f64,
        end_seconds: f64,
    ) -> Result<Splice, Unspliced> {
        let interval = self.snap(start_seconds, end_seconds)?;
        self.splice_of(source, interval).await
    }

    /// As [`Movie::splice`], of everything that is shown.
    ///
    /// # Errors
    /// As [`Movie::splice`].
    pub async fn splice_all(&self, source: &impl RangeRead) -> Result<Splice, Unspliced> {
        self.splice_of(source, self.pictures.start..self.pictures.end).await
    }

    async fn splice_of(&self, source: &impl RangeRead, interval: Range<i64>) -> Result<Splice, Unspliced> {
        if self.facts.video.codec != "h264" {
            return Err(Unspliced::Unfit(format!("the source is {}, not H.264", self.facts.video.codec)));
        }
        let table = &self.video.samples;
        let avc = Avc::read(&table.descriptions)?;
        let window = self.samples_of(&interval)?;
        if window.len() > MAX_FRAMES {
            return Err(Unspliced::Unfit(format!("the clip has more than {MAX_FRAMES} frames")));
        }
        let frames: Vec<Frame> = table.frames()?.skip(window.start as usize).take(window.len()).collect();
        let keyframes = clean_keyframes(&frames, &interval);
        if keyframes.is_empty() {
            return Err(Unspliced::Unfit("the clip has no keyframe that a copy can begin with".to_owned()));
        }
        for first in keyframes.into_iter().take(MAX_KEYFRAMES) {
            if !begins_with_idr(source, table, frames[first].index).await? {
                continue;
            }
            let Some((count, end)) = closed_run(&frames[first..], &interval) else { continue };
            return Ok(self.splice_at(&frames, first..first + count, end, interval, avc));
        }
        Err(Unspliced::Unfit("the clip's keyframes are no IDR pictures".to_owned()))
    }

    fn splice_at(
        &self,
        frames: &[Frame],
        copied: Range<usize>,
        copied_end: i64,
        interval: Range<i64>,
        avc: Avc,
    ) -> Splice {
        let first = frames[copied.start];
        let shown_in = |range: Range<i64>| {
            let mut times: Vec<i64> =
                frames.iter().map(|frame| frame.time).filter(|time| range.contains(time)).collect();
            times.sort_unstable();
            times
        };
        let seconds = |ticks: i64| Time { ticks, timescale: self.video.timeline.timescale }.seconds();
        let copied_ticks = copied_end - first.time;
        Splice {
            facts: SpliceFacts {
                encoded_seconds: seconds(interval.end - interval.start - copied_ticks),
                copied_seconds: seconds(copied_ticks),
            },
            head: shown_in(interval.start..first.time),
            tail: shown_in(copied_end..interval.end),
            body: first.index..first.index + u32::try_from(copied.len()).unwrap_or(u32::MAX),
            reorder_frames: reorder_frames(&frames[copied]),
            copied: first.time..copied_end,
            interval,
            avc,
        }
    }
}

/// The keyframes of the interval that divide it: everything shown before is decoded before, and the reverse.
fn clean_keyframes(frames: &[Frame], interval: &Range<i64>) -> Vec<usize> {
    let mut following = vec![i64::MAX; frames.len() + 1];
    for (index, frame) in frames.iter().enumerate().rev() {
        following[index] = following[index + 1].min(frame.time);
    }
    let mut shown_before = i64::MIN;
    let mut clean = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        if frame.sync
            && interval.contains(&frame.time)
            && shown_before < frame.time
            && frame.time < following[index + 1]
        {
            clean.push(index);
        }
        if interval.contains(&frame.time) {
            shown_before = shown_before.max(frame.time);
        }
    }
    clean
}

/// How many of `frames`, counted in decode order, are shown without a gap and within the interval, and when the last of
/// them ends; `None` when not even the first.
fn closed_run(frames: &[Frame], interval: &Range<i64>) -> Option<(usize, i64)> {
    let mut following = vec![interval.end; frames.len() + 1];
    for (index, frame) in frames.iter().enumerate().rev() {
        let time = if interval.contains(&frame.time) { frame.time } else { interval.end };
        following[index] = following[index + 1].min(time);
    }
    let mut last = i64::MIN;
    let mut run = None;
    for (index, frame) in frames.iter().enumerate().take_while(|(_, frame)| frame.time < interval.end) {
        last = last.max(frame.time);
        if last < following[index + 1] {
            run = Some((index + 1, following[index + 1]));
        }
    }
    run
}

/// How many frames precede any frame when decoding and follow it when shown.
fn reorder_frames(frames: &[Frame]) -> u32 {
    let deepest = frames.iter().enumerate().map(|(index, frame)| {
        let before = &frames[index.saturating_sub(2 * MAX_REORDER_FRAMES)..index];
        before.iter().filter(|earlier| earlier.time > frame.time).count()
    });
    u32::try_from(deepest.max().unwrap_or(0).min(MAX_REORDER_FRAMES)).unwrap_or(0)
}

async fn begins_with_idr(source: &impl RangeRead, table: &SampleTable, sample: u32) -> Result<bool, ClipError> {
    let Some(Piece { offset, bytes, .. }) = table.pieces(sample..sample + 1).next() else { return Ok(false) };
    let head = fetch::read_exact(source, offset..offset + bytes.min(KEYFRAME_HEAD_BYTES)).await?;
    Ok(avc::is_idr(&head))
}

impl Splice {
    /// What has to be encoded in front of the copy, with [`Splice::encode_arguments`]; `None` when nothing has.
    ///
    /// # Errors
    /// As [`Movie::window`].
    pub fn head(&self, movie: &Movie) -> Result<Option<Window>, ClipError> {
        part(movie, self.interval.start..self.copied.start)
    }

    /// What has to be encoded behind the copy, with [`Splice::encode_arguments`]; `None` when nothing has.
    ///
    /// # Errors
    /// As [`Movie::window`].
    pub fn tail(&self, movie: &Movie) -> Result<Option<Window>, ClipError> {
        part(movie, self.copied.end..self.interval.end)
    }

    /// The output options with which `FFmpeg` encodes the pictures of a part, besides those of its window.
    #[must_use]
    pub fn encode_arguments(&self) -> Vec<String> {
        let pictures = ["-map", "0:v:0"].map(str::to_owned);
        pictures.into_iter().chain(self.avc.encode_arguments()).collect()
    }

    /// Joins the copied samples of `file`, which `movie` was read from, with the encoded parts.
    ///
    /// # Errors
    /// `Unfit` when the encoder's pictures cannot stand beside the source's, saying why.
    pub async fn join<R: RangeRead>(
        &self,
        movie: &Movie,
        file: R,
        encoded: Encoded<R>,
    ) -> Result<Spliced<R>, Unspliced> {
        let Encoded { head, tail, sound } = encoded;
        let mut files = vec![file];
        let head = Part::read(&mut files, head).await?;
        let tail = Part::read(&mut files, tail).await?;
        let sound = Part::read(&mut files, sound).await?;

        let timescale = movie_timescale(movie.video.timeline.timescale, sound.as_ref().map_or(1, Part::timescale));
        let mut tracks = vec![self.pictures(movie, head.as_ref(), tail.as_ref(), timescale)?];
        if let (Some(source), Some(sound)) = (&movie.audio, &sound) {
            tracks.push(sound.sound(source, timescale));
        }
        let Layout { header, copies, bytes } =
            layout(movie, timescale, &[tracks]).map_err(|error| match error.kind {
                ErrorKind::UnsupportedMedia => Unspliced::Unfit(error.message),
                _ => Unspliced::Failed(error),
            })?;
        Ok(Spliced { output_bytes: bytes, header, copies: copies.into_iter().flatten().collect(), files: files.into() })
    }

    /// The track of pictures. Its media begins with the first frame, and shows each as long after being decoded as the
    /// copy shows its keyframe, so that decode times go on evenly from part to part.
    fn pictures<'a>(
        &self,
        movie: &'a Movie,
        head: Option<&Part>,
        tail: Option<&Part>,
        movie_timescale: u32,
    ) -> Result<TrackOut<'a>, Unspliced> {
        let source = &movie.video;
        let table = &source.samples;
        let mut body = table.select(self.body.clone());
        let lift = body.lift_composition();
        let delay = self.copied.start - table.decode_time(self.body.start) + lift;
        let tail_delay = self.copied.end - table.decode_time(self.body.end) + lift;
        let mut body_duration = i64::try_from(body.duration()).unwrap_or(i64::MAX);
        if tail.is_some() {
            // Players that look for keyframes by decode times (FFmpeg, and so Chromium) take the delay of the first for
            // that of all, and would begin too late with one that is delayed longer.
            body_duration += (tail_delay - delay).max(0);
            body.extend_to(body_duration);
        }
        let body_start = self.copied.start - self.interval.start;

        let mut parts = Vec::new();
        parts.extend(encoded_part(head, &self.head, self.copied.start, delay, 0, source)?);
        parts.push(copied_part(body, table.pieces(self.body.clone()), body_start, source));
        let tail_start = body_start + body_duration;
        parts.extend(encoded_part(tail, &self.tail, self.interval.end, tail_delay.min(delay), tail_start, source)?);
        let mut samples = SampleList::joined(parts.iter().map(|(samples, _)| samples))?;
        let pieces = parts.into_iter().flat_map(|(_, pieces)| pieces).collect();
        samples.groups.clear();
        if samples.composition.iter().all(|run| run.value == 0) {
            samples.composition.clear();
        }
        samples.extend_to(self.interval.end - self.interval.start);

        let encoded = [head, tail].into_iter().flatten().map(|part| &part.track.samples.descriptions);
        let shown = rescale(self.interval.end - self.interval.start, source.timeline.timescale, movie_timescale);
        Ok(TrackOut {
            source,
            timescale: source.timeline.timescale,
            descriptions: self.avc.join(&table.descriptions, encoded, self.reorder_frames)?,
            group_descriptions: &[],
            samples,
            pieces,
            edit: Edit { empty: 0, media_time: delay.max(0).cast_unsigned(), duration: shown.max(0).cast_unsigned() },
        })
    }
}

fn part(movie: &Movie, interval: Range<i64>) -> Result<Option<Window>, ClipError> {
    if interval.is_empty() {
        return Ok(None);
    }
    let mut pictures = movie.clone();
    pictures.audio = None;
    // The copied pictures are turned by the track's matrix, so the encoder must not turn these.
    pictures.video.tkhd.matrix = Matrix::default();
    pictures.window_of(&interval).map(Some)
}

/// A part that was encoded.
struct Part {
    track: Track,
    /// Its file's place in the list of files.
    file: usize,
}

impl Part {
    async fn read<R: RangeRead>(files: &mut Vec<R>, file: Option<R>) -> Result<Option<Self>, ClipError> {
        let Some(file) = file else { return Ok(None) };
        let track = read_track(&file).await?.ok_or_else(|| ClipError::internal("the encoder wrote no track"))?;
        files.push(file);
        Ok(Some(Self { track, file: files.len() - 1 }))
    }

    fn timescale(&self) -> u32 {
        self.track.timeline.timescale
    }

    /// Its samples in chunks, the first of which is decoded at `start`, in `timescale`, from the start of the clip.
    fn pieces(&self, start: i64, timescale: u32) -> impl Iterator<Item = Placed> {
        let table = &self.track.samples;
        let chunks = table.duration.max(1) / i64::from(self.timescale().div_ceil(CHUNKS_PER_SECOND)).max(1) + 1;
        let samples = table.count.div_ceil(u32::try_from(chunks).unwrap_or(u32::MAX)).max(1);
        let starts = (0..table.count).step_by(samples as usize);
        starts.flat_map(move |first| {
            let range = first..table.count.min(first + samples);
            let time = microseconds(start, timescale) + microseconds(table.decode_time(first), self.timescale());
            table.pieces(range).map(move |piece| Placed { file: self.file, order: time, piece })
        })
    }

    /// The track of sound: what was encoded, under the source's headers.
    fn sound<'a>(&'a self, source: &'a Track, movie_timescale: u32) -> TrackOut<'a> {
        let Track { samples: table, timeline, .. } = &self.track;
        let in_movie = |ticks: i64| rescale(ticks, timeline.timescale, movie_timescale).max(0).cast_unsigned();
        let media_end = timeline.media_end.min(table.duration);
        TrackOut {
            source,
            timescale: timeline.timescale,
            descriptions: table.descriptions.clone(),
            group_descriptions: &table.group_descriptions,
            samples: table.select(0..table.count),
            pieces: self.pieces(timeline.shown_at, timeline.timescale).collect(),
            edit: Edit {
                empty: in_movie(timeline.shown_at),
                media_time: timeline.media_start.max(0).cast_unsigned(),
                duration: in_movie(media_end - timeline.media_start),
            },
        }
    }
}

/// The samples of an encoded part, whose frames are shown at `times` of the source and end at `end`, each `delay` after
/// it is decoded; the first is decoded at `start` from the start of the clip.
fn encoded_part(
    part: Option<&Part>,
    times: &[i64],
    end: i64,
    delay: i64,
    start: i64,
    source: &Track,
) -> Result<Option<(SampleList, Vec<Placed>)>, Unspliced> {
    let part = match part {
        None if times.is_empty() => return Ok(None),
        Some(part) if part.track.samples.count as usize == times.len() => part,
        part => {
            let count = part.map_or(0, |part| part.track.samples.count);
            return Err(Unspliced::Unfit(format!("the encoder made {count} frames of {}", times.len())));
        }
    };
    let Ok(delay) = u32::try_from(delay) else {
        return Err(Unspliced::Unfit("the source shows frames before they are decoded".to_owned()));
    };
    let table = &part.track.samples;
    let ends = times.iter().skip(1).copied().chain([end]);
    let durations = times.iter().zip(ends).map(|(start, end)| u32::try_from(end - start).unwrap_or(0));
    let samples = SampleList {
        durations: durations.map(|value| Run { count: 1, value }).collect(),
        composition: vec![Run { count: table.count, value: delay }],
        ..table.select(0..table.count)
    };
    Ok(Some((samples, part.pieces(start, source.timeline.timescale).collect())))
}

/// Samples of the source, the first of which is decoded at `start` from the start of the clip.
fn copied_part(
    samples: SampleList,
    pieces: impl Iterator<Item = Piece>,
    start: i64,
    source: &Track,
) -> (SampleList, Vec<Placed>) {
    let mut durations = samples.durations.iter().flat_map(|run| repeat_n(run.value, run.count as usize));
    let mut time = start;
    let placed = pieces.map(|piece| {
        let order = microseconds(time, source.timeline.timescale);
        time += durations.by_ref().take(piece.samples as usize).map(i64::from).sum::<i64>();
        Placed { file: 0, order, piece }
    });
    let placed = placed.collect();
    (samples, placed)
}

fn microseconds(ticks: i64, timescale: u32) -> u64 {
    rescale(ticks, timescale, 1_000_000).max(0).cast_unsigned()
}

impl<R: RangeRead + 'static> Spliced<R> {
    /// The clip's bytes in order, `output_bytes` of them.
    ///
    /// # Errors
    /// The stream ends with whatever the files raise.
    pub fn stream(self) -> impl Stream<Item = Result<Bytes, ClipError>> + Send {
        let Self { header, copies, files, .. } = self;
        let parts = copies.into_iter().flat_map(|copy| {
            let parts = fetch::parts(std::slice::from_ref(&copy.range), 1);
            parts.into_iter().map(move |part| (copy.file, part))
        });
        let parts = stream::iter(parts).then(move |(file, part)| {
            let files = files.clone();
            async move { fetch::read_exact(&files[file], part).await }
        });
        stream::iter([Ok(header)]).chain(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames that are shown at `times`, given in decode order; the first is a keyframe, and those that `sync` names.
    fn frames(times: &[i64], sync: &[usize]) -> Vec<Frame> {
        let frame = |(index, time): (usize, &i64)| Frame {
            index: u32::try_from(index).expect("few frames"),
            decode_time: i64::try_from(index).expect("few frames"),
            time: *time,
            duration: 1,
            sync: index == 0 || sync.contains(&index),
        };
        times.iter().enumerate().map(frame).collect()
    }

    #[test]
    fn keyframe_with_leading_pictures_is_not_clean() {
        let closed = frames(&[0, 3, 1, 2, 4, 7, 5, 6], &[4]);
        assert_eq!(clean_keyframes(&closed, &(1..8)), [4]);
        let open = frames(&[0, 3, 1, 2, 7, 4, 5, 6], &[4]);
        assert_eq!(clean_keyframes(&open, &(1..8)), [0; 0]);
        assert_eq!(clean_keyframes(&closed, &(0..8)), [0, 4]);
    }

    #[test]
    fn copy_ends_where_nothing_later_is_needed() {
        let group = frames(&[0, 3, 1, 2, 6, 4, 5], &[]);
        for (end, run) in [(1, (1, 1)), (2, (1, 1)), (3, (1, 1)), (4, (4, 4)), (5, (4, 4)), (6, (4, 4)), (7, (7, 7))] {
            assert_eq!(closed_run(&group, &(0..end)), Some(run), "{end}");
        }
    }

    #[test]
    fn reordering_is_counted_in_frames() {
        assert_eq!(reorder_frames(&frames(&[0, 1, 2], &[])), 0);
        assert_eq!(reorder_frames(&frames(&[0, 3, 1, 2], &[])), 1);
        assert_eq!(reorder_frames(&frames(&[0, 4, 2, 1, 3], &[])), 2);
    }
}
