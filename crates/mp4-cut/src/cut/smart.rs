//! Smart cuts: only the frames before the first keyframe of an interval, and those at its end that cannot be decoded
//! without later ones, are encoded. Everything between is copied.
//!
//! The copy begins with an IDR picture, so nothing after it refers to anything before it. Encoded and copied frames
//! share one track and one sample entry; each part refers to its own parameter sets by id. Every part begins with an
//! IDR picture, so several intervals can follow each other in any order. The file has only what is shown, in one edit.
//!
//! An interval has three parts. The head is encoded. It reaches to the first IDR picture that splits the frames alike
//! in display order and in decoding order. The body is copied. The tail is encoded. It has the frames that cannot be
//! decoded without later ones, at most one mini-GOP.
//!
//! The head has no B-frames. Its delay between decoding and display is that of the body's first keyframe, so decode
//! times continue evenly. The tail's delay is never longer than that. Players that find keyframes by decode time
//! (`FFmpeg`, Chromium) assume the first delay for all of them, and would otherwise start after the frame that they
//! look for.
//!
//! Every interval's media lasts exactly as long as it is shown, because the last sample's duration makes up for
//! rounding. All intervals share the longest delay. Encoders get the same options for all parts, so there is one set of
//! their parameters; access unit delimiters separate the IDR pictures of two adjacent parts of one picture each. An
//! interval in which no copy can begin is all head. What an encoder made is checked before it is joined: size, chroma,
//! depth, ids and number of frames.

use crate::{
    boxes::parse::damaged,
    boxes::table::Run,
    cut::concat,
    cut::media::{Media, MovedSamples},
    cut::pictures::Pictures,
    cut::window::{Window, movie_timescale},
    encode_target::EncodeTarget,
    error::{Error, Result},
    hevc,
    io::RangeRead,
    io::fetch,
    mux::{Edit, FileSpan, Layout, OutputTrack, PlacedChunk, layout},
    read::movie::{Movie, read_track},
    read::parameter_sets,
    read::samples::{ChunkRun, Frame, SampleList, SampleTable},
    read::selection::Held,
    read::track::Track,
    time::{Time, rescale},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use mp4_atom::Matrix;
use std::{ops::Range, sync::Arc};

/// Bytes of a keyframe that are read to classify it: more than its parameter sets and SEI messages need.
const KEYFRAME_HEAD_BYTES: u64 = 16 << 10;
/// The most frames of a clip: more than two hours at 60 frames per second.
const MAX_FRAMES: usize = 500_000;
/// How many keyframes are inspected to find one that a copy can begin with.
const MAX_KEYFRAMES: usize = 8;
/// For how many cuts keyframes are inspected concurrently.
const KEYFRAMES_AT_ONCE: usize = 8;
/// The most frames that precede another in decoding order and follow it in output order (`max_num_reorder_frames` of
/// ITU-T H.264, E.2.1, is at most `MaxDpbFrames`, which is at most 16).
const MAX_REORDER_FRAMES: usize = 16;
/// Encoded samples are stored in this many chunks per second, so that audio is interleaved with its video.
const CHUNKS_PER_SECOND: u32 = 2;

/// Which frames of a clip are copied, and which are encoded. The clip is one interval, or several, one after the other.
#[derive(Debug, Clone)]
pub struct SmartCut {
    /// The intervals, in order; at least one.
    pub cuts: Vec<SmartCutInterval>,
    pictures: Pictures,
}

/// Which frames of an interval are copied, and which are encoded. If none can be copied, all of them are the head.
#[derive(Debug, Clone)]
pub struct SmartCutInterval {
    /// How much is encoded.
    pub facts: SmartCutFacts,
    /// How much of that comes before the copy, in seconds.
    pub head_seconds: f64,
    /// In media time, as all times below.
    interval: Range<i64>,
    /// When the frames before the copy are shown.
    head: Vec<i64>,
    /// The samples to copy, including those that are left out.
    body: Range<u32>,
    /// How many after the first are left out: they are shown before it, so they are part of the head.
    left_out: u32,
    /// When the copied samples are shown.
    copied: Range<i64>,
    /// When the frames after the copy are shown.
    tail: Vec<i64>,
    reorder_frames: u32,
}

/// How much of an interval, or of several, is encoded.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
pub struct SmartCutFacts {
    /// How long the encoded frames are shown, in seconds.
    pub encoded_seconds: f64,
    /// How long the copied frames are shown, in seconds.
    pub copied_seconds: f64,
}

/// Why an interval is not smart-cut.
#[derive(Debug, thiserror::Error)]
pub enum SmartCutError {
    /// The source does not allow it, for this reason. Encoding the whole interval works.
    #[error("{0}")]
    Ineligible(String),
    /// Something else went wrong.
    #[error(transparent)]
    Failed(Error),
}

impl From<Error> for SmartCutError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<String> for SmartCutError {
    fn from(why: String) -> Self {
        Self::Ineligible(why)
    }
}

/// The encoded frames of an interval, as MP4 files of one track each.
#[derive(Debug)]
pub struct Encoded<R> {
    /// What [`SmartCutInterval::head`] gave.
    pub head: Option<R>,
    /// What [`SmartCutInterval::tail`] gave.
    pub tail: Option<R>,
}

/// A clip of copied and encoded parts.
#[derive(Debug)]
pub struct SmartClip<R> {
    /// Length of the file that [`SmartClip::stream`] yields, in bytes.
    pub output_bytes: u64,
    pub(super) header: Bytes,
    pub(super) copies: Vec<FileSpan>,
    pub(super) files: Arc<[Media<R>]>,
}

impl SmartCut {
    /// Chooses which frames of the intervals are copied. Each interval is a movie, the source that it was read from, a
    /// start (inclusive) and an end (exclusive) in seconds.
    ///
    /// # Errors
    /// [`SmartCutError::Ineligible`] if none can be, saying why; otherwise as [`Movie::window`], and any error from a
    /// source.
    pub async fn of<R: RangeRead>(cuts: &[(&Movie, &R, f64, f64)]) -> Result<Self, SmartCutError> {
        let snapped = cuts
            .iter()
            .map(|(movie, source, start, end)| Ok((*movie, *source, movie.snap(*start, *end)?)));
        Self::of_intervals(snapped.collect::<Result<_>>()?, false).await
    }

    /// As [`SmartCut::of`], for everything that the files show, inspecting all of their keyframes.
    ///
    /// # Errors
    /// As [`SmartCut::of`].
    pub async fn of_all<R: RangeRead>(files: &[(Movie, R)]) -> Result<Self, SmartCutError> {
        let shown = files.iter().map(|(movie, file)| {
            (
                movie,
                file,
                movie.video_extent.start..movie.video_extent.end,
            )
        });
        Self::of_intervals(shown.collect(), true).await
    }

    async fn of_intervals<R: RangeRead>(
        intervals: Vec<(&Movie, &R, Range<i64>)>,
        looks_at_all: bool,
    ) -> Result<Self, SmartCutError> {
        let Some((first, ..)) = intervals.first() else {
            return Err(Error::internal("there is nothing to cut").into());
        };
        for (index, (movie, ..)) in intervals.iter().enumerate().skip(1) {
            if let Some(difference) = concat::difference(&first.video, &movie.video, false)? {
                return Err(Error::Unlike { index, difference }.into());
            }
        }
        let mut pictures = Pictures::read(&first.video, &[])?;
        if looks_at_all {
            let mut heads = Vec::new();
            for (movie, source, _) in &intervals {
                heads.extend(keyframe_heads(movie, *source).await?);
            }
            pictures = Pictures::read(&first.video, &heads)?;
        }
        // Decoders mis-decode pictures of old x264 versions that follow those of another version.
        let version = |movie: &Movie| movie.video.samples.preamble.clone();
        if intervals
            .iter()
            .map(|(movie, ..)| version(movie))
            .any(|version| {
                !version.is_empty() && !crate::h264::picture::is_as_standardized(&version)
            })
        {
            return Err(SmartCutError::Ineligible(
                "how its pictures decode depends on the version of x264".to_owned(),
            ));
        }
        let chosen = intervals
            .into_iter()
            .map(|(movie, source, interval)| movie.smart_cut(&pictures, source, interval));
        let chosen: Vec<_> = stream::iter(chosen)
            .buffered(KEYFRAMES_AT_ONCE)
            .try_collect()
            .await?;
        let (cuts, whys): (Vec<SmartCutInterval>, Vec<_>) = chosen.into_iter().unzip();
        match whys.into_iter().flatten().next() {
            Some(why) if cuts.iter().all(|cut| cut.body.is_empty()) => {
                Err(SmartCutError::Ineligible(why.to_owned()))
            }
            _ => Ok(Self { cuts, pictures }),
        }
    }
}

impl Movie {
    /// Chooses which frames of an interval are copied, or says why none can be.
    async fn smart_cut(
        &self,
        pictures: &Pictures,
        source: &impl RangeRead,
        interval: Range<i64>,
    ) -> Result<(SmartCutInterval, Option<&'static str>), SmartCutError> {
        let table = &self.video.samples;
        let (window, begun) = self.samples_of(&interval)?;
        if window.len() > MAX_FRAMES {
            return Err(SmartCutError::Ineligible(format!(
                "the clip has more than {MAX_FRAMES} frames"
            )));
        }
        let mut frames: Vec<Frame> = table
            .frames()?
            .filter(|frame| window.contains(&frame.index))
            .collect();
        if let Some(Held { index, shown_for }) = begun {
            frames[(index - window.start) as usize].time += shown_for;
        }
        let keyframes = dividing_keyframes(&frames, &interval, pictures.leave_out_leading());
        let mut why = "the clip has no keyframe that a copy can begin with";
        for (first, left_out) in keyframes.into_iter().take(MAX_KEYFRAMES) {
            let head = keyframe_head(source, table, frames[first].index).await?;
            if let Some(unfit) = pictures.cannot_begin_with(&head) {
                why = unfit;
                continue;
            }
            let kept = [&frames[first..=first], &frames[first + 1 + left_out..]].concat();
            let Some((count, end)) = closed_run(&kept, &interval) else {
                continue;
            };
            let left_out = if count > 1 { left_out } else { 0 };
            let copied = frames[first].time..end;
            let body = first..first + left_out + count;
            let cut = self.cut_at(&frames, body, left_out, copied, interval);
            return Ok((cut, None));
        }
        let none = interval.end..interval.end;
        Ok((self.cut_at(&frames, 0..0, 0, none, interval), Some(why)))
    }

    fn cut_at(
        &self,
        frames: &[Frame],
        body: Range<usize>,
        left_out: usize,
        copied: Range<i64>,
        interval: Range<i64>,
    ) -> SmartCutInterval {
        let shown_in = |range: Range<i64>| {
            let mut times: Vec<i64> = frames
                .iter()
                .map(|frame| frame.time)
                .filter(|time| range.contains(time))
                .collect();
            times.sort_unstable();
            times
        };
        let seconds = |ticks: i64| {
            Time {
                ticks,
                timescale: self.video.edit_segment.timescale,
            }
            .seconds()
        };
        let copied_ticks = copied.end - copied.start;
        let first = frames.get(body.start).map_or(0, |frame| frame.index);
        SmartCutInterval {
            facts: SmartCutFacts {
                encoded_seconds: seconds(interval.end - interval.start - copied_ticks),
                copied_seconds: seconds(copied_ticks),
            },
            head_seconds: seconds(copied.start - interval.start),
            head: shown_in(interval.start..copied.start),
            tail: shown_in(copied.end..interval.end),
            body: first..first + u32::try_from(body.len()).unwrap_or(u32::MAX),
            left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
            reorder_frames: reorder_frames(&frames[body]),
            copied,
            interval,
        }
    }
}

/// The keyframes that divide the interval: what is shown before one is decoded before it, and the reverse. If leading
/// frames may be left out, those directly after the keyframe are exempt; their number is given beside its place.
fn dividing_keyframes(
    frames: &[Frame],
    interval: &Range<i64>,
    leaves_out_leading: bool,
) -> Vec<(usize, usize)> {
    let mut following = vec![i64::MAX; frames.len() + 1];
    for (index, frame) in frames.iter().enumerate().rev() {
        following[index] = following[index + 1].min(frame.time);
    }
    let mut shown_before = i64::MIN;
    let mut dividing = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        if frame.sync && interval.contains(&frame.time) && shown_before < frame.time {
            let leads = |other: &&Frame| leaves_out_leading && other.time < frame.time;
            let left_out = frames[index + 1..].iter().take_while(leads).count();
            if frame.time < following[index + 1 + left_out] {
                dividing.push((index, left_out));
            }
        }
        if interval.contains(&frame.time) {
            shown_before = shown_before.max(frame.time);
        }
    }
    dividing
}

/// How many of `frames`, in decode order, are shown without a gap and within the interval, and when the last of them
/// ends; `None` if not even the first is.
fn closed_run(frames: &[Frame], interval: &Range<i64>) -> Option<(usize, i64)> {
    let mut following = vec![interval.end; frames.len() + 1];
    for (index, frame) in frames.iter().enumerate().rev() {
        let time = if interval.contains(&frame.time) {
            frame.time
        } else {
            interval.end
        };
        following[index] = following[index + 1].min(time);
    }
    let mut last = i64::MIN;
    let mut run = None;
    for (index, frame) in frames
        .iter()
        .enumerate()
        .take_while(|(_, frame)| frame.time < interval.end)
    {
        last = last.max(frame.time);
        if last < following[index + 1] {
            run = Some((index + 1, following[index + 1]));
        }
    }
    run
}

/// The most frames that precede a frame in decode order and follow it in display order.
fn reorder_frames(frames: &[Frame]) -> u32 {
    let deepest = frames.iter().enumerate().map(|(index, frame)| {
        let before = &frames[index.saturating_sub(2 * MAX_REORDER_FRAMES)..index];
        before
            .iter()
            .filter(|earlier| earlier.time > frame.time)
            .count()
    });
    u32::try_from(deepest.max().unwrap_or(0).min(MAX_REORDER_FRAMES)).unwrap_or(0)
}

/// The beginning of a sample.
async fn keyframe_head(source: &impl RangeRead, table: &SampleTable, sample: u32) -> Result<Bytes> {
    let run = table.chunk_runs(sample..sample + 1).next();
    let ChunkRun { offset, bytes, .. } =
        run.ok_or_else(|| damaged("a keyframe lies in no chunk"))?;
    fetch::read_exact(source, offset..offset + bytes.min(KEYFRAME_HEAD_BYTES)).await
}

/// The beginnings of all keyframes.
async fn keyframe_heads(movie: &Movie, source: &impl RangeRead) -> Result<Vec<Bytes>> {
    let table = &movie.video.samples;
    let keyframes = table.frames()?.filter(|frame| frame.sync);
    let keyframes = keyframes.map(|frame| frame.index).collect();
    parameter_sets::heads(table, source, keyframes).await
}

impl SmartCutInterval {
    /// What must be encoded before the copy, as [`SmartCut::encode_target`] says; `None` if nothing.
    ///
    /// # Errors
    /// As [`Movie::window`].
    pub fn head(&self, movie: &Movie) -> Result<Option<Window>> {
        part(movie, self.interval.start..self.copied.start)
    }

    /// What must be encoded after the copy, as [`SmartCut::encode_target`] says; `None` if nothing.
    ///
    /// # Errors
    /// As [`Movie::window`].
    pub fn tail(&self, movie: &Movie) -> Result<Option<Window>> {
        part(movie, self.copied.end..self.interval.end)
    }

    fn duration(&self) -> i64 {
        self.interval.end - self.interval.start
    }

    /// Where the copied samples are.
    fn copied_runs(&self, table: &SampleTable) -> impl Iterator<Item = ChunkRun> {
        let Range { start, end } = self.body;
        let first_end = end.min(start + 1);
        let behind = (first_end + self.left_out).min(end);
        table
            .chunk_runs(start..first_end)
            .chain(table.chunk_runs(behind..end))
    }

    /// The copied samples, given which of them are [`SmartCut::open_keyframes`]; `None` if nothing is copied.
    fn copy(&self, video: &Track, open: &[u32]) -> Option<Copied> {
        let table = &video.samples;
        if self.body.is_empty() {
            return None;
        }
        let mut samples = table.select(self.body.clone());
        let offset = samples.composition.first().map_or(0, |run| run.value);
        let shown_for = self.copied.start - table.decode_time(self.body.start) - offset;
        if shown_for > 0 {
            samples.show_later(0, shown_for);
        }
        // Samples that are left out take no decode time.
        let begin = self.body.start + self.left_out;
        if self.left_out > 0 {
            samples.leave_out_leading();
            samples
                .decode_first_later(table.decode_time(begin) - table.decode_time(self.body.start));
        }
        samples.open = open.iter().map(|index| index - begin).collect();
        let shift = samples.make_composition_offsets_nonnegative();
        let delay = |shown: i64, index: u32| shown - table.decode_time(index) + shift;
        Some(Copied {
            samples,
            delay: delay(self.copied.start, begin),
            end_delay: delay(self.copied.end, self.body.end),
        })
    }
}

/// Samples that are copied.
struct Copied {
    samples: SampleList,
    /// The time between decoding and showing the first sample.
    delay: i64,
    /// The same for a sample after the last.
    end_delay: i64,
}

impl Copied {
    /// Shows all samples `delay` after they are decoded; it must not be less than the current delay.
    fn delay_to(&mut self, delay: i64) {
        let missing = delay - self.delay;
        self.samples.delay(missing.max(0));
        self.delay += missing;
        self.end_delay += missing;
    }
}

impl SmartCut {
    /// How much of the whole clip is encoded.
    #[must_use]
    pub fn facts(&self) -> SmartCutFacts {
        let sum = |seconds: fn(&SmartCutFacts) -> f64| {
            self.cuts.iter().map(|cut| seconds(&cut.facts)).sum()
        };
        SmartCutFacts {
            encoded_seconds: sum(|facts| facts.encoded_seconds),
            copied_seconds: sum(|facts| facts.copied_seconds),
        }
    }

    /// The number of audio tracks in a clip of `files`: for a single file all of them, in `FFmpeg`'s order; for
    /// several, one.
    #[must_use]
    pub fn audio_tracks<R>(files: &[(Movie, R)]) -> usize {
        audio_headers(files).len()
    }

    /// What the encoder of a part has to produce.
    #[must_use]
    pub fn encode_target(&self) -> EncodeTarget {
        self.pictures.encode_target()
    }

    /// What the source has and the clip does not, such as metadata of Dolby Vision.
    #[must_use]
    pub fn dropped(&self) -> Option<&'static str> {
        self.pictures.dropped()
    }

    /// Joins the copied samples of `files` (one per cut) with each cut's encoded frames and the audio tracks of the
    /// whole clip, as many as [`SmartCut::audio_tracks`] counts.
    ///
    /// # Errors
    /// [`SmartCutError::Ineligible`] if the encoded frames cannot share a track with the source's, saying why.
    pub async fn join<R: RangeRead + Clone>(
        &self,
        files: &[(Movie, R)],
        encoded: Vec<Encoded<R>>,
        audio: Vec<R>,
    ) -> Result<SmartClip<R>, SmartCutError> {
        let mut read = Vec::new();
        let parts = self.read_parts(files, encoded, &mut read).await?;
        let mut audio_parts = Vec::new();
        for file in audio {
            audio_parts.extend(EncodedPart::read(&mut read, Some(file)).await?);
        }
        let [CutParts { movie: first, .. }, ..] = parts.as_slice() else {
            return Err(Error::internal("there is nothing to join").into());
        };
        let timescale = movie_timescale(
            first.video.edit_segment.timescale,
            audio_parts.first().map_or(1, EncodedPart::timescale),
        );
        let mut tracks = vec![self.video_track(&first.video, &parts, timescale)?];
        for (source, part) in audio_headers(files).into_iter().zip(&audio_parts) {
            tracks.push(part.audio_track(source, timescale));
        }
        let Layout {
            header,
            copies,
            bytes,
        } = layout(first, timescale, &[tracks]).map_err(|error| match error {
            Error::Unsupported(why) => SmartCutError::Ineligible(why),
            error => SmartCutError::Failed(error),
        })?;
        Ok(SmartClip {
            output_bytes: bytes,
            header,
            copies: copies.into_iter().flatten().collect(),
            files: read.into(),
        })
    }

    /// What each cut is joined of; the files that it lies in are added to `read`.
    async fn read_parts<'a, R: RangeRead + Clone>(
        &self,
        files: &'a [(Movie, R)],
        encoded: Vec<Encoded<R>>,
        read: &mut Vec<Media<R>>,
    ) -> Result<Vec<CutParts<'a>>, SmartCutError> {
        let mut parts = Vec::new();
        let cuts = self.cuts.iter().zip(files).zip(encoded);
        for ((cut, (movie, file)), Encoded { head, tail }) in cuts {
            let open = self.open_keyframes(cut, movie, file).await?;
            read.push(self.copied_media(cut, movie, file));
            parts.push(CutParts {
                movie,
                file: read.len() - 1,
                open,
                head: EncodedPart::read_video(read, head, &self.pictures).await?,
                tail: EncodedPart::read_video(read, tail, &self.pictures).await?,
            });
        }
        Ok(parts)
    }

    /// The samples after a cut's first copied one that are open-GOP keyframes of H.265: their leading pictures, which
    /// are shown before them, may refer to earlier pictures.
    async fn open_keyframes<R: RangeRead>(
        &self,
        cut: &SmartCutInterval,
        movie: &Movie,
        file: &R,
    ) -> Result<Vec<u32>> {
        let Pictures::Hevc(hevc) = &self.pictures else {
            return Ok(Vec::new());
        };
        let table = &movie.video.samples;
        let behind_first = cut.body.start + cut.left_out + 1..cut.body.end;
        let copied = table
            .frames()?
            .filter(|frame| behind_first.contains(&frame.index));
        let mut copied = copied.peekable();
        let mut open = Vec::new();
        while let Some(frame) = copied.next() {
            let is_led = copied.peek().is_some_and(|next| next.time < frame.time);
            if !frame.sync || !is_led {
                continue;
            }
            let head = keyframe_head(file, table, frame.index).await?;
            if hevc::picture(&head, hevc.length_size()) == Some(hevc::Picture::Cra) {
                open.push(frame.index);
            }
        }
        Ok(open)
    }

    /// The file that a cut's samples are copied from, with the first one changed so that a stream can continue with it.
    fn copied_media<R: RangeRead + Clone>(
        &self,
        cut: &SmartCutInterval,
        movie: &Movie,
        file: &R,
    ) -> Media<R> {
        let first = cut.copied_runs(&movie.video.samples).next();
        let (Pictures::Hevc(hevc), Some(run)) = (&self.pictures, first) else {
            return Media::of(file.clone());
        };
        let bytes = movie
            .video
            .samples
            .bytes(cut.body.start..cut.body.start + 1);
        let range = run.offset..run.offset + bytes;
        Media::begun(file.clone(), range, hevc.length_size())
    }

    /// The video track, under the headers of `source`. Its media begins with the first frame, and every cut's media
    /// lasts exactly as long as the cut is shown. All keyframes have the same delay between decoding and display, so
    /// decode times continue evenly from part to part. Players that find keyframes by decode time (`FFmpeg`, Chromium)
    /// assume the first delay for all, and would start too late at a keyframe with a longer one.
    fn video_track<'a>(
        &self,
        source: &'a Track,
        parts: &[CutParts],
        movie_timescale: u32,
    ) -> Result<OutputTrack<'a>, SmartCutError> {
        let copied = self
            .cuts
            .iter()
            .zip(parts)
            .map(|(cut, parts)| cut.copy(&parts.movie.video, &parts.open));
        let copied: Vec<Option<Copied>> = copied.collect();
        let delay = copied
            .iter()
            .flatten()
            .map(|copied| copied.delay)
            .max()
            .unwrap_or(0);
        let (mut samples, chunks) = self.lay_out_cuts(parts, copied, delay)?;
        samples.groups.clear();
        if samples.composition.iter().all(|run| run.value == 0) {
            samples.composition.clear();
        }
        let duration = self.cuts.iter().map(SmartCutInterval::duration).sum();
        let shown = rescale(duration, source.edit_segment.timescale, movie_timescale);
        Ok(OutputTrack {
            source,
            timescale: source.edit_segment.timescale,
            descriptions: self.descriptions(source, parts)?,
            group_descriptions: &[],
            samples,
            chunks,
            edit: Edit {
                empty: 0,
                media_time: delay.max(0).cast_unsigned(),
                duration: shown.max(0).cast_unsigned(),
            },
        })
    }

    /// The samples of all cuts, which are shown `delay` after they are decoded, and where they lie.
    fn lay_out_cuts(
        &self,
        parts: &[CutParts],
        copied: Vec<Option<Copied>>,
        delay: i64,
    ) -> Result<(SampleList, Vec<PlacedChunk>), SmartCutError> {
        let (mut lists, mut chunks) = (Vec::new(), Vec::new());
        let mut start = 0;
        for ((cut, parts), copied) in self.cuts.iter().zip(parts).zip(copied) {
            let (mut samples, placed) = parts.lay_out(cut, copied, delay, start)?;
            chunks.extend(placed);
            start += cut.duration();
            if lists.len() + 1 == self.cuts.len() {
                samples.extend_to(cut.duration());
            } else if !samples.fit_to(cut.duration()) {
                return Err(SmartCutError::Ineligible(
                    "the source's frames have different durations".to_owned(),
                ));
            }
            lists.push(samples);
        }
        Ok((SampleList::joined(lists.iter())?, chunks))
    }

    /// The `stsd` box for the copied frames of `source` and the encoded ones of `parts`.
    fn descriptions(&self, source: &Track, parts: &[CutParts]) -> Result<Bytes, String> {
        let mut encoded = Vec::new();
        for CutParts { head, tail, .. } in parts {
            encoded.extend([head, tail].into_iter().flatten());
        }
        let stsd = &source.samples.descriptions;
        match &self.pictures {
            Pictures::H264(avc) => {
                let encoded = encoded.iter().map(|part| &part.track.samples.descriptions);
                let reorder_frames = self.cuts.iter().map(|cut| cut.reorder_frames).max();
                avc.join(stsd, encoded, reorder_frames.unwrap_or(0))
            }
            Pictures::Hevc(hevc) => {
                let moved = encoded.iter().filter_map(|part| part.moved.as_ref());
                hevc.join(stsd, moved.map(|moved| &moved.sets))
            }
        }
    }
}

/// The audio tracks whose headers a clip of `files` gets.
fn audio_headers<R>(files: &[(Movie, R)]) -> Vec<&Track> {
    match files {
        [(movie, _)] => movie.audio.iter().chain(&movie.more_audio).collect(),
        _ => files
            .iter()
            .find_map(|(movie, _)| movie.audio.as_ref())
            .into_iter()
            .collect(),
    }
}

/// The parts that a cut is joined from.
struct CutParts<'a> {
    movie: &'a Movie,
    /// Index of the file that `movie` was read from.
    file: usize,
    /// Samples that [`SmartCut::open_keyframes`] found.
    open: Vec<u32>,
    head: Option<EncodedPart>,
    tail: Option<EncodedPart>,
}

impl CutParts<'_> {
    /// The samples of the cut and where they are. The first is decoded at `start`, counted from the start of the clip.
    fn lay_out(
        &self,
        cut: &SmartCutInterval,
        copied: Option<Copied>,
        delay: i64,
        start: i64,
    ) -> Result<(SampleList, Vec<PlacedChunk>), SmartCutError> {
        let Self {
            movie: Movie { video, .. },
            file,
            head,
            tail,
            ..
        } = self;
        let mut parts = Vec::new();
        parts.extend(encoded_part(
            head.as_ref(),
            &cut.head,
            cut.copied.start,
            delay,
            start,
            video,
        )?);
        if let Some(mut copied) = copied {
            copied.delay_to(delay);
            let start = start + cut.copied.start - cut.interval.start;
            let mut duration = i64::try_from(copied.samples.duration()).unwrap_or(i64::MAX);
            if tail.is_some() {
                duration += (copied.end_delay - delay).max(0);
                copied.samples.extend_to(duration);
            }
            let runs = cut.copied_runs(&video.samples);
            let chunks = copied_chunks(&copied.samples, runs, *file, start, video);
            parts.push((copied.samples, chunks));
            let tail_delay = copied.end_delay.min(delay);
            parts.extend(encoded_part(
                tail.as_ref(),
                &cut.tail,
                cut.interval.end,
                tail_delay,
                start + duration,
                video,
            )?);
        }
        let samples = SampleList::joined(parts.iter().map(|(samples, _)| samples))?;
        Ok((
            samples,
            parts.into_iter().flat_map(|(_, chunks)| chunks).collect(),
        ))
    }
}

fn part(movie: &Movie, interval: Range<i64>) -> Result<Option<Window>> {
    if interval.is_empty() {
        return Ok(None);
    }
    let mut video_only = movie.clone();
    (video_only.audio, video_only.more_audio) = (None, Vec::new());
    // The track's matrix rotates all frames, so the encoder must not rotate these.
    video_only.video.tkhd.matrix = Matrix::default();
    video_only.window_of(&interval).map(Some)
}

/// A part that was encoded.
struct EncodedPart {
    track: Track,
    /// Index of its file.
    file: usize,
    /// Its samples as written to the clip, if they differ from the encoder's output.
    moved: Option<MovedSamples>,
}

impl EncodedPart {
    async fn read<R: RangeRead>(
        files: &mut Vec<Media<R>>,
        file: Option<R>,
    ) -> Result<Option<Self>, SmartCutError> {
        let Some(file) = file else { return Ok(None) };
        let track = encoded_track(&file).await?;
        files.push(Media::of(file));
        Ok(Some(Self {
            track,
            file: files.len() - 1,
            moved: None,
        }))
    }

    async fn read_video<R: RangeRead>(
        files: &mut Vec<Media<R>>,
        file: Option<R>,
        pictures: &Pictures,
    ) -> Result<Option<Self>, SmartCutError> {
        let Pictures::Hevc(hevc) = pictures else {
            return Self::read(files, file).await;
        };
        let Some(file) = file else { return Ok(None) };
        let track = encoded_track(&file).await?;
        let moved = MovedSamples::read(&file, &track.samples, hevc).await??;
        files.push(Media::rewritten(file, moved.samples.clone()));
        Ok(Some(Self {
            track,
            file: files.len() - 1,
            moved: Some(moved),
        }))
    }

    /// Where its samples are in its file.
    fn runs(&self, range: Range<u32>) -> Vec<ChunkRun> {
        match &self.moved {
            None => self.track.samples.chunk_runs(range).collect(),
            Some(moved) => vec![moved.samples.run(range)],
        }
    }

    /// Its sample tables.
    fn samples(&self) -> SampleList {
        let table = &self.track.samples;
        let samples = table.select(0..table.count);
        match &self.moved {
            None => samples,
            Some(moved) => SampleList {
                sizes: moved.samples.sizes(),
                ..samples
            },
        }
    }

    fn timescale(&self) -> u32 {
        self.track.edit_segment.timescale
    }

    /// Its samples in chunks. The first is decoded at `start`, in `timescale`, counted from the start of the clip.
    fn chunks(&self, start: i64, timescale: u32) -> impl Iterator<Item = PlacedChunk> {
        let table = &self.track.samples;
        let chunks = table.duration.max(1)
            / i64::from(self.timescale().div_ceil(CHUNKS_PER_SECOND)).max(1)
            + 1;
        let samples = table
            .count
            .div_ceil(u32::try_from(chunks).unwrap_or(u32::MAX))
            .max(1);
        let starts = (0..table.count).step_by(samples as usize);
        starts.flat_map(move |first| {
            let range = first..table.count.min(first + samples);
            let time = microseconds(start, timescale)
                + microseconds(table.decode_time(first), self.timescale());
            let runs = self.runs(range).into_iter();
            runs.map(move |run| PlacedChunk {
                file: self.file,
                order: time,
                run,
            })
        })
    }

    /// The audio track: what was encoded, under the source's headers.
    fn audio_track<'a>(&'a self, source: &'a Track, movie_timescale: u32) -> OutputTrack<'a> {
        let Track {
            samples: table,
            edit_segment,
            ..
        } = &self.track;
        let in_movie = |ticks: i64| {
            rescale(ticks, edit_segment.timescale, movie_timescale)
                .max(0)
                .cast_unsigned()
        };
        let media_end = edit_segment.media_end.min(table.duration);
        OutputTrack {
            source,
            timescale: edit_segment.timescale,
            descriptions: table.descriptions.clone(),
            group_descriptions: &table.group_descriptions,
            samples: table.select(0..table.count),
            chunks: self
                .chunks(edit_segment.shown_at, edit_segment.timescale)
                .collect(),
            edit: Edit {
                empty: in_movie(edit_segment.shown_at),
                media_time: edit_segment.media_start.max(0).cast_unsigned(),
                duration: in_movie(media_end - edit_segment.media_start),
            },
        }
    }
}

/// The samples of an encoded part. Its frames are shown at `times` of the source, until `end`, each `delay` after it is
/// decoded. The first is decoded at `start`, counted from the start of the clip.
fn encoded_part(
    part: Option<&EncodedPart>,
    times: &[i64],
    end: i64,
    delay: i64,
    start: i64,
    source: &Track,
) -> Result<Option<(SampleList, Vec<PlacedChunk>)>, SmartCutError> {
    let part = match part {
        None if times.is_empty() => return Ok(None),
        Some(part) if part.track.samples.count as usize == times.len() => part,
        part => {
            let count = part.map_or(0, |part| part.track.samples.count);
            return Err(SmartCutError::Ineligible(format!(
                "the encoder made {count} frames of {}",
                times.len()
            )));
        }
    };
    if u32::try_from(delay).is_err() {
        return Err(SmartCutError::Ineligible(
            "the source shows frames before they are decoded".to_owned(),
        ));
    }
    let table = &part.track.samples;
    let ends = times.iter().skip(1).copied().chain([end]);
    let durations = times
        .iter()
        .zip(ends)
        .map(|(start, end)| u32::try_from(end - start).unwrap_or(0));
    let samples = SampleList {
        durations: durations.map(|value| Run { count: 1, value }).collect(),
        composition: vec![Run {
            count: table.count,
            value: delay,
        }],
        ..part.samples()
    };
    Ok(Some((
        samples,
        part.chunks(start, source.edit_segment.timescale).collect(),
    )))
}

async fn encoded_track(file: &impl RangeRead) -> Result<Track, SmartCutError> {
    let track = read_track(file).await?;
    track.ok_or_else(|| "nothing of a part could be decoded".to_owned().into())
}

/// Where the copied samples of a file are. The first is decoded at `start`, counted from the start of the clip.
fn copied_chunks(
    samples: &SampleList,
    runs: impl Iterator<Item = ChunkRun>,
    file: usize,
    start: i64,
    source: &Track,
) -> Vec<PlacedChunk> {
    let mut durations = Run::values(&samples.durations);
    let mut time = start;
    let mut chunks = Vec::new();
    for run in runs {
        let order = microseconds(time, source.edit_segment.timescale);
        chunks.push(PlacedChunk { file, order, run });
        for duration in durations.by_ref().take(run.samples as usize) {
            time += i64::from(duration);
        }
    }
    chunks
}

fn microseconds(ticks: i64, timescale: u32) -> u64 {
    rescale(ticks, timescale, 1_000_000).max(0).cast_unsigned()
}

impl<R: RangeRead + 'static> SmartClip<R> {
    /// The clip's bytes in order, `output_bytes` of them.
    ///
    /// # Errors
    /// The stream ends with the first error from a file.
    pub fn stream(self) -> impl Stream<Item = Result<Bytes>> + Send {
        let Self {
            header,
            copies,
            files,
            ..
        } = self;
        let parts = copies.into_iter().flat_map(|copy| {
            let parts = fetch::split_ranges(std::slice::from_ref(&copy.range), 1);
            parts.into_iter().map(move |part| (copy.file, part))
        });
        let parts = stream::iter(parts).then(move |(file, part)| {
            let files = files.clone();
            async move { files[file].read(part).await }
        });
        stream::iter([Ok(header)]).chain(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames shown at `times`, given in decode order. The first is a keyframe, as are those listed in `sync`.
    fn frames(times: &[i64], sync: &[usize]) -> Vec<Frame> {
        let frame = |(index, time): (usize, &i64)| Frame {
            index: u32::try_from(index).expect("few frames"),
            end: u32::try_from(index + 1).expect("few frames"),
            decode_time: i64::try_from(index).expect("few frames"),
            time: *time,
            duration: 1,
            sync: index == 0 || sync.contains(&index),
        };
        times.iter().enumerate().map(frame).collect()
    }

    #[test]
    fn keyframe_with_leading_pictures_is_not_closed() {
        let closed = frames(&[0, 3, 1, 2, 4, 7, 5, 6], &[4]);
        assert_eq!(dividing_keyframes(&closed, &(1..8), false), [(4, 0)]);
        let open = frames(&[0, 3, 1, 2, 7, 4, 5, 6], &[4]);
        assert_eq!(dividing_keyframes(&open, &(1..8), false), [(0, 0); 0]);
        assert_eq!(
            dividing_keyframes(&closed, &(0..8), false),
            [(0, 0), (4, 0)]
        );
    }

    #[test]
    fn leading_pictures_of_a_keyframe_may_be_left_out() {
        let open = frames(&[0, 3, 1, 2, 7, 4, 5, 6, 8], &[4]);
        assert_eq!(dividing_keyframes(&open, &(1..9), true), [(4, 3)]);
        let closed = frames(&[0, 3, 1, 2, 4, 7, 5, 6], &[4]);
        assert_eq!(dividing_keyframes(&closed, &(1..8), true), [(4, 0)]);
    }

    #[test]
    fn copy_ends_where_nothing_later_is_needed() {
        let group = frames(&[0, 3, 1, 2, 6, 4, 5], &[]);
        for (end, run) in [
            (1, (1, 1)),
            (2, (1, 1)),
            (3, (1, 1)),
            (4, (4, 4)),
            (5, (4, 4)),
            (6, (4, 4)),
            (7, (7, 7)),
        ] {
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
