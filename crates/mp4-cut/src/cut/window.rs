//! Cuts one interval of a source into its own file.
//!
//! `FFmpeg` drops as much sound as an edit hides, even if it decoded less than that. A gap in that part, which MP4
//! writes as one long sample, would make it drop as much of the sound that is shown. So hidden sound is written without
//! gaps. `FFmpeg` decodes FLAC and ALAC several packets at a time and drops packets other than the hidden ones, so only
//! part of the first packet is hidden.
//!
//! Negative composition offsets with B-frames at the cut defeat `FFmpeg`'s correction, so they are
//! raised to 0 and above.

use crate::{
    cut::audio_decoder::{Decoder, StartsAt},
    error::{Bound, Error, Result},
    hevc,
    io::RangeRead,
    io::fetch,
    mux::{Edit, FileSpan, Layout, OutputTrack, PlacedChunk, layout},
    nal::LengthSize,
    read::movie::{Movie, VideoExtent},
    read::samples::{ChunkRun, SampleList},
    read::selection::{Held, Selected, Selection},
    read::track::Track,
    time::{Time, rescale},
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use std::{
    iter,
    ops::{Deref, Range},
};

const NANOSECONDS: u32 = 1_000_000_000;

/// Gaps between samples up to this many bytes are fetched and discarded rather than skipped with another request.
const MAX_GAP_BYTES: u64 = 256 << 10;

/// The samples that an interval needs, laid out as a small MP4 whose edit lists show exactly the interval.
///
/// Before the interval it has the frames from the last keyframe on, hidden by the edit list, which are needed to decode
/// the first frame. After the interval it has the frames that the last ones refer to.
#[derive(Debug, Clone)]
pub struct Window {
    /// What the window holds.
    pub facts: WindowFacts,
    /// When its frames are shown.
    pub timing: FrameTiming,
    header: Bytes,
    copies: Vec<Range<u64>>,
    spans: Vec<Range<u64>>,
    /// The sample that is changed so that a stream can continue with it.
    pub(crate) begun: Option<BegunSample>,
    pub(crate) preamble: Option<Preamble>,
}

/// What an encoder needs to time a window's frames like the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameTiming {
    /// When the first frame is shown if the edit list is ignored, in the video's timescale.
    pub media_start: i64,
    /// When the last frame is shown, from the start, in the video's timescale.
    pub last_frame: i64,
    /// How long the last frame is shown, in the video's timescale.
    pub last_frame_duration: i64,
    /// Whether all frames have the same duration, including the last.
    pub even: bool,
}

/// An H.265 sample at which a copy begins within a stream.
#[derive(Debug, Clone)]
pub(crate) struct BegunSample {
    /// Its place in the source, in bytes.
    pub range: Range<u64>,
    pub size: LengthSize,
}

/// Bytes inserted before a sample.
#[derive(Debug, Clone)]
pub(crate) struct Preamble {
    /// Where the sample begins in the source.
    sample_at: u64,
    bytes: Bytes,
}

impl Preamble {
    /// What is inserted before the first sample of a track's part.
    pub fn of(track: &OutputTrack) -> Option<Self> {
        let bytes = track.samples.preamble.clone();
        let first = track.chunks.first()?;
        (!bytes.is_empty()).then_some(Self {
            sample_at: first.run.offset,
            bytes,
        })
    }
}

/// What a window holds. Times are in seconds from the first video or audio of the source that a player presents.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
pub struct WindowFacts {
    /// When the first frame is shown: the frame nearest to what was asked.
    pub start_seconds: f64,
    /// When the last frame ends: the frame boundary nearest to what was asked.
    pub end_seconds: f64,
    /// From the first frame to the end of the last, in seconds.
    pub duration_seconds: f64,
    /// Frames from start to end.
    pub frames: u64,
    /// Frames that come before the start and are hidden.
    pub preroll_frames: u64,
    /// When the keyframe that decoding starts with is shown.
    pub keyframe_seconds: f64,
    /// When the first keyframe after the start is shown; `None` if the interval has none.
    pub next_keyframe_seconds: Option<f64>,
    /// Whether the window has audio.
    pub has_audio: bool,
    /// Units per second of the video's times.
    pub timescale: u32,
    /// Length of the file that [`Window::stream`] yields, in bytes.
    pub output_bytes: u64,
    /// Bytes of the source that are read for it.
    pub source_bytes: u64,
    /// Where these bytes are in the source, if they are one range.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub source_span: Option<Range<u64>>,
}

impl Movie {
    /// Chooses the samples that the interval from `start_seconds` up to, not including, `end_seconds` needs.
    ///
    /// Both are snapped to the nearest frame boundary; the earlier of two that are equally near. An end that is beyond
    /// the last frame by less than a frame, or not beyond the longest track, is taken as the end of the last frame.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a time beyond the source; [`Error::Interval`] for an invalid interval or one that
    /// holds no frame; [`Error::Unsupported`] for a source whose samples overlap in the file, and for a first keyframe
    /// of no bytes.
    pub fn window(&self, start_seconds: f64, end_seconds: f64) -> Result<Window> {
        self.window_of(&self.snap(start_seconds, end_seconds)?)
    }

    /// Chooses the samples of every frame that is shown between `start_seconds` (inclusive) and `end_seconds`
    /// (exclusive): at least the frame shown at `start_seconds`. Times before the first frame or after the last are
    /// clamped to them.
    ///
    /// # Errors
    /// [`Error::Interval`] for a time that is negative or not finite; [`Error::Unsupported`] for a source whose samples
    /// overlap in the file.
    pub fn window_shown(&self, start_seconds: f64, end_seconds: f64) -> Result<Window> {
        let end_seconds = end_seconds.max(start_seconds.next_up());
        Self::check_interval(start_seconds, end_seconds)?;
        let extent = self.video_extent;
        let precise = |media_time: i64| i128::from(media_time) * self.precision();
        let [wanted_start, wanted_end] =
            [start_seconds, end_seconds].map(|seconds| self.precise_media_time(seconds));
        let (mut start, mut last, mut end) = (extent.start, extent.start, extent.end);
        for frame in self.video.samples.frames()? {
            if !self.video.edit_segment.shows(frame.time) {
                continue;
            }
            last = last.max(frame.time);
            if precise(frame.time) <= wanted_start {
                start = start.max(frame.time);
            } else if precise(frame.time) >= wanted_end {
                end = end.min(frame.time);
            }
        }
        self.window_of(&(start.min(last)..end))
    }

    /// Checks that two times, in seconds, form an interval.
    ///
    /// # Errors
    /// [`Error::Interval`] for a time that is negative or not finite, and for times that are not in order.
    pub fn check_interval(start_seconds: f64, end_seconds: f64) -> Result<()> {
        for (bound, seconds) in [(Bound::Start, start_seconds), (Bound::End, end_seconds)] {
            if !seconds.is_finite() || seconds < 0.0 {
                return Err(Error::interval(bound, format!("{seconds} is not a time")));
            }
        }
        if end_seconds <= start_seconds {
            return Err(Error::interval(
                Bound::End,
                format!("{end_seconds} s is not after start, {start_seconds} s"),
            ));
        }
        Ok(())
    }

    /// The window of an interval between frame boundaries, in media time of the video.
    pub(crate) fn window_of(&self, interval: &Range<i64>) -> Result<Window> {
        let Chosen {
            facts,
            tracks,
            timescale,
            last_frame,
            last_frame_duration,
        } = self.choose(interval)?;
        let preamble = tracks.first().and_then(Preamble::of);
        let media_start = tracks
            .first()
            .map_or(0, |video| video.edit.media_time.cast_signed());
        let Layout {
            header,
            copies,
            bytes,
        } = layout(self, timescale, std::slice::from_ref(&tracks))?;
        let facts = WindowFacts {
            output_bytes: bytes,
            ..facts
        };
        let part = Window::part(facts, copies.into_iter().flatten().collect());
        let last_seconds = Time {
            ticks: last_frame_duration,
            timescale: part.facts.timescale,
        }
        .seconds();
        let even = self.facts.video.constant_frame_rate
            && last_seconds * self.facts.video.frame_rate < 1.5;
        Ok(Window {
            header,
            timing: FrameTiming {
                media_start,
                last_frame,
                last_frame_duration,
                even,
            },
            preamble,
            ..part
        })
    }

    /// Chooses what [`window_of`](Self::window_of) writes, before lengths in bytes are known.
    pub(crate) fn choose(&self, interval: &Range<i64>) -> Result<Chosen<'_>> {
        let selection = self.selection(interval)?;
        let video = self.video_cut(interval, &selection);
        let audio_cut = |audio| self.audio_cut(audio, interval, &video);
        let audio = self.audio.as_ref().and_then(audio_cut);
        let more_audio: Vec<Cut> = self.more_audio.iter().filter_map(audio_cut).collect();
        let audio_timescale = match &audio {
            Some(audio) => audio.source.edit_segment.timescale,
            None => 1,
        };
        let timescale = movie_timescale(self.video.edit_segment.timescale, audio_timescale);
        let last_frame = selection.last_frame.time.max(interval.start);
        let keyframe = selection.keyframe;
        if self.video.samples.bytes(keyframe.index..keyframe.index + 1) == 0 {
            let at = self.seconds_of(keyframe.time);
            return Err(Error::unsupported(format!(
                "the keyframe at {at:.3} s, which decoding begins with, has no bytes"
            )));
        }
        let has_audio = audio.is_some() || !more_audio.is_empty();
        Ok(Chosen {
            facts: self.window_facts(interval, &selection, has_audio),
            tracks: iter::once(video)
                .chain(audio)
                .chain(more_audio)
                .map(|cut| cut.track(timescale))
                .collect(),
            timescale,
            last_frame: last_frame - interval.start,
            last_frame_duration: interval.end - last_frame,
        })
    }

    fn window_facts(
        &self,
        interval: &Range<i64>,
        selection: &Selection,
        has_audio: bool,
    ) -> WindowFacts {
        let next_keyframe = selection.next_keyframe;
        WindowFacts {
            // If a source's start is known only to the microsecond, the interval may begin a fraction of one before it.
            start_seconds: self.seconds_of(interval.start).max(0.0),
            end_seconds: self.seconds_of(interval.end),
            duration_seconds: self.ticks(interval.end - interval.start).seconds(),
            frames: selection.frames,
            preroll_frames: selection.preroll_frames,
            keyframe_seconds: self.seconds_of(selection.keyframe.time),
            next_keyframe_seconds: next_keyframe.map(|frame| self.seconds_of(frame.time)),
            has_audio,
            timescale: self.video.edit_segment.timescale,
            output_bytes: 0,
            source_bytes: 0,
            source_span: None,
        }
    }

    /// The samples needed to show an interval, in decode order; and, if it begins within a sample, that sample and how
    /// long it has been shown by then.
    pub(crate) fn samples_of(&self, interval: &Range<i64>) -> Result<(Range<u32>, Option<Held>)> {
        let selection = self.selection(interval)?;
        Ok((selection.samples, selection.held))
    }

    fn selection(&self, interval: &Range<i64>) -> Result<Selection> {
        match &self.selected {
            Some(selected) if selected.interval == *interval => Ok(selected.selection.clone()),
            _ => Selection::of(&self.video, interval),
        }
    }

    /// Remembers which samples an interval needs. The video's samples must not change afterwards.
    pub(crate) fn select(&mut self, start_seconds: f64, end_seconds: f64) -> Result<()> {
        let interval = self.snap(start_seconds, end_seconds)?;
        self.selected = Some(Selected {
            seconds: [start_seconds, end_seconds],
            selection: self.selection(&interval)?,
            interval,
        });
        Ok(())
    }

    fn ticks(&self, ticks: i64) -> Time {
        Time {
            ticks,
            timescale: self.video.edit_segment.timescale,
        }
    }

    /// The media times of the frame boundaries that an interval is snapped to.
    pub(crate) fn snap(&self, start_seconds: f64, end_seconds: f64) -> Result<Range<i64>> {
        if let Some(selected) = &self.selected
            && selected.seconds.map(f64::to_bits) == [start_seconds, end_seconds].map(f64::to_bits)
        {
            return Ok(selected.interval.clone());
        }
        Self::check_interval(start_seconds, end_seconds)?;
        let (extent, duration_seconds) = (self.video_extent, self.facts.duration_seconds);
        let precise = |media_time: i64| i128::from(media_time) * self.precision();
        let wanted @ [start, end] =
            [start_seconds, end_seconds].map(|seconds| self.precise_media_time(seconds));
        if start >= precise(extent.end) {
            let last = self.end_seconds();
            return Err(Error::out_of_range(
                Bound::Start,
                format!(
                    "{start_seconds} s is beyond the last frame of the source, which ends at {last:.3} s"
                ),
            ));
        }
        let is_near = end < precise(extent.end.saturating_add(extent.last_duration.into()));
        // Printing a duration with three decimals loses up to half a millisecond.
        if !is_near && end_seconds > duration_seconds + 0.0005 {
            return Err(Error::out_of_range(
                Bound::End,
                format!(
                    "{end_seconds} s is beyond the source, which is {duration_seconds:.3} s long"
                ),
            ));
        }
        let [start, end] = self.cut_points(wanted)?;
        if start < end {
            Ok(start..end)
        } else {
            Err(Error::interval(
                Bound::End,
                format!("no frame lies between {start_seconds} s and {end_seconds} s"),
            ))
        }
    }

    /// Where the video is cut for two requested times: at the nearest frame boundary (the earlier of two equally near
    /// ones), or within a frame that is held for longer than usual.
    fn cut_points(&self, wanted: [i128; 2]) -> Result<[i64; 2]> {
        let VideoExtent { start, end, .. } = self.video_extent;
        let mut around = [start..end, start..end];
        let media_times = wanted.map(|wanted| wanted.div_euclid(self.precision()));
        let earliest_offset = self.video.samples.earliest_offset;
        for frame in self.video.samples.frames()? {
            // Neither this frame nor any after it can be nearer.
            let may_be_shown_at = frame.decode_time + earliest_offset;
            if around.iter().all(|around| around.end <= may_be_shown_at) {
                break;
            }
            if !self.video.edit_segment.shows(frame.time) {
                continue;
            }
            for (around, wanted) in around.iter_mut().zip(media_times) {
                if i128::from(frame.time) <= wanted {
                    around.start = around.start.max(frame.time);
                } else {
                    around.end = around.end.min(frame.time);
                }
            }
        }
        let [first, second] = around;
        Ok(
            [(first, wanted[0]), (second, wanted[1])].map(|(frame, wanted)| {
                let wanted = wanted.clamp(
                    i128::from(frame.start) * self.precision(),
                    i128::from(frame.end) * self.precision(),
                );
                let distance =
                    |media_time: i64| (i128::from(media_time) * self.precision()).abs_diff(wanted);
                let nearest = if distance(frame.end) < distance(frame.start) {
                    frame.end
                } else {
                    frame.start
                };
                let usual = self.usual_duration();
                let within = i64::try_from((wanted + self.precision() / 2) / self.precision());
                match within {
                    Ok(within)
                        if frame.end - frame.start > 2 * usual
                            && 2 * (within - nearest).abs() > usual =>
                    {
                        within
                    }
                    _ => nearest,
                }
            }),
        )
    }

    /// The longest duration of a frame that is not held, in the video's timescale: the common duration if all frames
    /// have one, and otherwise at most a tenth of a second.
    fn usual_duration(&self) -> i64 {
        let usual = i64::from(self.video.samples.usual_duration());
        if self.facts.video.constant_frame_rate {
            usual
        } else {
            usual.min(i64::from(self.video.edit_segment.timescale / 10))
        }
    }

    /// The video's media time at `seconds` of presentation time, in units of 1/[`precision`](Self::precision) of the
    /// video's timescale. Exact to the nanosecond for any timescales.
    fn precise_media_time(&self, seconds: f64) -> i128 {
        // Three years are beyond any source, and keep the products in range.
        let nanoseconds = Time::from_seconds(seconds.min(1e8), NANOSECONDS).ticks;
        let edit_segment = &self.video.edit_segment;
        let origin = i128::from(self.origin.ticks) * i128::from(NANOSECONDS);
        let since_origin = i128::from(nanoseconds) * i128::from(self.origin.timescale);
        let before_media =
            i128::from(edit_segment.media_start - edit_segment.shown_at) * self.precision();
        (origin + since_origin) * i128::from(edit_segment.timescale) + before_media
    }

    fn precision(&self) -> i128 {
        i128::from(self.origin.timescale) * i128::from(NANOSECONDS)
    }

    fn video_cut(&self, interval: &Range<i64>, selection: &Selection) -> Cut<'_> {
        let mut samples = self
            .video
            .samples
            .select_behind_preamble(selection.samples.clone());
        if let Some(Held { index, shown_for }) = selection.held {
            // Players that show whole frames would lose a frame in which an edit begins.
            samples.show_later(index - selection.samples.start, shown_for);
        }
        let last = selection.last_frame;
        if last.end == selection.samples.end {
            samples.shorten_last(interval.end - last.time.max(interval.start));
        }
        // Negative offsets come from QuickTime, and not every MP4 player reads them: decode that much earlier instead.
        let shift = samples.make_composition_offsets_nonnegative();
        let media_start = selection.keyframe.decode_time - shift;
        // If frame durations vary, the sum of decode durations may fall short of the shown end. A player that measures
        // the media by them would stop early.
        samples.extend_to(interval.end - selection.earliest);
        Cut {
            source: &self.video,
            samples,
            media_start,
            gap: 0,
            shown: interval.clone(),
        }
    }

    /// The audio of an interval. It begins at the decode time of the first frame, so that players that ignore edit
    /// lists stay in sync, and at least the decoder's pre-roll early. If the [`Decoder`] allows no hidden samples, it
    /// begins with the first audible sample.
    fn audio_cut<'a>(
        &self,
        audio: &'a Track,
        interval: &Range<i64>,
        video: &Cut,
    ) -> Option<Cut<'a>> {
        let at = |media_time: i64| {
            audio
                .edit_segment
                .media_time(self.video.edit_segment.presentation(media_time))
        };
        let wanted = at(interval.start)..at(interval.end);
        let samples = &audio.samples;
        let decoder = Decoder::of(audio);
        let shown = shown_audio(audio, &wanted, decoder.starts_at)?;
        let heard = samples.sample_heard_at(shown.start);
        let first = decoder.pre_roll(audio).map_or(heard, |pre_roll| {
            let in_sync = samples.sample_nearest(at(video.media_start));
            let pre_rolled = samples.sample_at(shown.start - pre_roll);
            in_sync.min(pre_rolled).min(heard.saturating_sub(1))
        });
        let packet = samples.samples_per_packet();
        let end = (samples.sample_at(shown.end - 1) + 1)
            .checked_next_multiple_of(packet)
            .unwrap_or(samples.count);
        let range = first - first % packet..end.min(samples.count);
        if samples.bytes(range.clone()) == 0 {
            return None;
        }
        let shown = shown.start.max(samples.decode_time(heard))..shown.end;
        let (samples, media_start) = samples.select_audio(range, heard);
        if shown.is_empty() {
            return None;
        }
        Some(Cut {
            source: audio,
            samples,
            media_start,
            gap: shown.start - wanted.start,
            shown,
        })
    }
}

/// What a track has of the sound that is `wanted`, from where an edit can begin; both in its media time.
fn shown_audio(audio: &Track, wanted: &Range<i64>, starts_at: StartsAt) -> Option<Range<i64>> {
    let (edit, samples) = (&audio.edit_segment, &audio.samples);
    let start = wanted.start.max(edit.media_start).max(0);
    let end = wanted.end.min(edit.media_end).min(samples.duration);
    if start >= end {
        return None;
    }
    let start = match starts_at {
        StartsAt::AnyTime => start,
        StartsAt::Sample => samples.sample_start(start),
    };
    (start < end).then_some(start..end)
}

/// What a window holds, before it is laid out.
#[derive(Debug)]
pub(crate) struct Chosen<'a> {
    pub facts: WindowFacts,
    /// The video, then the audio tracks, if any.
    pub tracks: Vec<OutputTrack<'a>>,
    /// The movie's timescale, in which all edits are exact.
    pub timescale: u32,
    pub last_frame: i64,
    pub last_frame_duration: i64,
}

/// A track's part of a window.
#[derive(Debug)]
struct Cut<'a> {
    source: &'a Track,
    samples: SampleList,
    /// The media time of the source at which the media of the window begins.
    media_start: i64,
    /// The length of the initial gap in which nothing is shown, in the track's timescale.
    gap: i64,
    /// What is shown after the gap, in media time of the source.
    shown: Range<i64>,
}

impl<'a> Cut<'a> {
    fn track(self, movie_timescale: u32) -> OutputTrack<'a> {
        let table = &self.source.samples;
        let timescale = self.source.edit_segment.timescale;
        let in_movie = |ticks: i64| {
            rescale(ticks, timescale, movie_timescale)
                .max(0)
                .cast_unsigned()
        };
        let runs = table.chunk_runs(self.samples.range.clone());
        OutputTrack {
            source: self.source,
            timescale,
            descriptions: table.descriptions.clone(),
            group_descriptions: &table.group_descriptions,
            chunks: in_order_of_source(runs).collect(),
            samples: self.samples,
            edit: Edit {
                empty: in_movie(self.gap),
                media_time: (self.shown.start - self.media_start).max(0).cast_unsigned(),
                duration: in_movie(self.shown.end - self.shown.start),
            },
        }
    }
}

/// Samples of one source, in the source's order.
pub(crate) fn in_order_of_source(
    runs: impl Iterator<Item = ChunkRun>,
) -> impl Iterator<Item = PlacedChunk> {
    runs.map(|run| PlacedChunk {
        file: 0,
        order: run.offset,
        run,
    })
}

/// A timescale in which the edits of both tracks are exact: the least common multiple of both, or, if that is
/// excessive, a multiple of the video's that is accurate to 0.1 ms.
pub(crate) fn movie_timescale(video: u32, audio: u32) -> u32 {
    const MAX_TIMESCALE: u64 = 50_000_000;
    let (wide_video, audio) = (u64::from(video), u64::from(audio));
    let common = wide_video / greatest_common_divisor(wide_video, audio) * audio;
    let chosen = if common <= MAX_TIMESCALE {
        common
    } else {
        wide_video * 10_000_u64.div_ceil(wide_video)
    };
    u32::try_from(chosen).unwrap_or(video)
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// The spans to fetch for `copies`: small gaps are read and discarded.
fn spans(copies: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut spans: Vec<Range<u64>> = Vec::new();
    for copy in copies {
        match spans.last_mut() {
            Some(last) if copy.start - last.end <= MAX_GAP_BYTES => last.end = copy.end,
            _ => spans.push(copy.clone()),
        }
    }
    spans
}

impl Window {
    /// The window's bytes in order, `facts.output_bytes` of them, read from `source` (a reference or an `Arc`) with
    /// `connections` requests in flight. At most 2 MiB per connection is held at any time.
    ///
    /// # Errors
    /// The stream ends with the first error from the source.
    pub fn stream<S>(
        &self,
        source: S,
        connections: usize,
    ) -> impl Stream<Item = Result<Bytes>> + Send + use<S>
    where
        S: Deref<Target: RangeRead + Sized> + Clone + Send + Sync,
    {
        stream::iter([Ok(self.header.clone())]).chain(self.samples(source, connections))
    }

    /// The window's samples in order, as [`stream`](Self::stream) yields them after the header.
    pub(crate) fn samples<S>(
        &self,
        source: S,
        connections: usize,
    ) -> impl Stream<Item = Result<Bytes>> + Send + use<S>
    where
        S: Deref<Target: RangeRead + Sized> + Clone + Send + Sync,
    {
        let copies = self.copies.clone();
        let mut preamble = self.preamble.clone();
        let mut next = 0;
        let parts = fetch::read_ranges(source, &self.spans, connections);
        let parts = match self.begun.clone() {
            Some(begun) => begun.change(parts).left_stream(),
            None => parts.right_stream(),
        };
        let kept = parts.map_ok(move |(start, part)| {
            let end = start + part.len() as u64;
            let within =
                |at: u64| usize::try_from(at.clamp(start, end) - start).unwrap_or(part.len());
            let mut kept = Vec::new();
            while let Some(copy) = copies.get(next)
                && copy.start < end
            {
                let mut from = copy.start;
                let is_next = |preamble: &mut Preamble| {
                    (from.max(start)..copy.end.min(end)).contains(&preamble.sample_at)
                };
                if let Some(Preamble { sample_at, bytes }) = preamble.take_if(is_next) {
                    kept.push(Ok(part.slice(within(from)..within(sample_at))));
                    kept.push(Ok(bytes));
                    from = sample_at;
                }
                kept.push(Ok(part.slice(within(from)..within(copy.end))));
                if copy.end > end {
                    break;
                }
                next += 1;
            }
            stream::iter(kept)
        });
        kept.try_flatten()
    }

    /// A window without its own header: a part of a file.
    pub(crate) fn part(mut facts: WindowFacts, copies: Vec<FileSpan>) -> Self {
        let copies: Vec<Range<u64>> = copies.into_iter().map(|copy| copy.range).collect();
        let spans = spans(&copies);
        facts.source_bytes = spans.iter().map(|span| span.end - span.start).sum();
        facts.source_span = if let [span] = spans.as_slice() {
            Some(span.clone())
        } else {
            None
        };
        Self {
            facts,
            timing: FrameTiming {
                media_start: 0,
                last_frame: 0,
                last_frame_duration: 0,
                even: true,
            },
            header: Bytes::new(),
            copies,
            spans,
            begun: None,
            preamble: None,
        }
    }
}

impl BegunSample {
    /// Changes the sample within a stream of source bytes, which arrives in order; each part comes with its offset.
    fn change(
        self,
        parts: impl Stream<Item = Result<(u64, Bytes)>> + Send,
    ) -> impl Stream<Item = Result<(u64, Bytes)>> + Send {
        let mut held = BytesMut::new();
        parts.map_ok(move |(start, part)| {
            let end = start + part.len() as u64;
            let kept = self.range.start.max(start)..self.range.end.min(end);
            if kept.is_empty() {
                return (start, part);
            }
            let within = |at: u64| usize::try_from(at - start).unwrap_or(part.len());
            let mut whole = BytesMut::from(&part[..within(kept.start)]);
            let first = kept.start - held.len() as u64;
            held.extend_from_slice(&part[within(kept.start)..within(kept.end)]);
            let whole_start = if whole.is_empty() { first } else { start };
            if held.len() as u64 == self.range.end - self.range.start {
                let sample = std::mem::take(&mut held).freeze();
                let begun = hevc::begin_copy(&sample, self.size);
                // The flags to change come before any emulation prevention bytes.
                let begun = begun.filter(|begun| begun.len() == sample.len());
                whole.extend_from_slice(begun.as_deref().unwrap_or(&sample));
                whole.extend_from_slice(&part[within(kept.end)..]);
            }
            (whole_start, whole.freeze())
        })
    }
}
