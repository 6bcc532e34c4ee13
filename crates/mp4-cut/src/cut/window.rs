//! An interval of a source as a file of its own.
//!
//! `FFmpeg` drops as much sound as an edit hides, however little of the hidden part it decoded. A gap in that part,
//! which MP4 writes as one long sample, would make it drop as much of the sound that is shown. So hidden sound is
//! written without gaps. `FFmpeg` decodes FLAC and ALAC several packets at a time and drops packets other than the
//! hidden ones, so only part of the first packet is hidden.
//!
//! Negative composition offsets with B-frames at the cut defeat `FFmpeg`'s correction, so they are
//! raised to 0 and above.

use crate::{
    cut::{
        audio_decoder::{Decoder, StartsAt},
        selection::{Held, Selection},
    },
    error::{Bound, Error, Result},
    hevc,
    io::RangeRead,
    io::fetch,
    mux::{Edit, FileSpan, Layout, OutputTrack, PlacedChunk, layout},
    nal::LengthSize,
    read::movie::{Movie, VideoExtent},
    read::samples::{ChunkRun, SampleList},
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

/// Bytes between samples that are fetched and thrown away rather than being skipped with a request of their own.
const MAX_GAP_BYTES: u64 = 256 << 10;

/// The samples that an interval of a source needs, laid out as a small MP4 whose edit lists show exactly the interval.
///
/// Before the interval it has the frames from the last keyframe on, hidden by the edit list, which decoding the first
/// frame takes; behind its end, the frames that its last frames refer to.
#[derive(Debug, Clone)]
pub struct Window {
    /// What the window holds.
    pub facts: WindowFacts,
    /// How its frames lie in time.
    pub timing: FrameTiming,
    header: Bytes,
    copies: Vec<Range<u64>>,
    spans: Vec<Range<u64>>,
    /// The sample that is changed so that a stream can go on with it.
    pub(crate) begun: Option<BegunSample>,
    pub(crate) preamble: Option<Preamble>,
}

/// What an encoder has to know to time a window's frames as the source does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameTiming {
    /// When the last frame is shown, from the start, in the video's timescale.
    pub last_frame: i64,
    /// How long, in the video's timescale.
    pub last_frame_duration: i64,
    /// Whether frames last equally long, the last one too.
    pub even: bool,
}

/// A sample of H.265 with which a copy begins amid a stream.
#[derive(Debug, Clone)]
pub(crate) struct BegunSample {
    /// Where it lies in the source, in bytes.
    pub range: Range<u64>,
    pub size: LengthSize,
}

/// Bytes that are put in front of a sample.
#[derive(Debug, Clone)]
pub(crate) struct Preamble {
    /// Where the sample begins in the source.
    sample_at: u64,
    bytes: Bytes,
}

impl Preamble {
    /// What stands in front of the first sample of a track's part.
    pub fn of(track: &OutputTrack) -> Option<Self> {
        let bytes = track.samples.preamble.clone();
        let first = track.chunks.first()?;
        (!bytes.is_empty()).then_some(Self {
            sample_at: first.run.offset,
            bytes,
        })
    }
}

/// What a window holds. Times are seconds from the first video or audio that a player presents of the source.
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
    /// When the first keyframe behind the start is shown; `None` when the interval has none.
    pub next_keyframe_seconds: Option<f64>,
    /// Whether the window has audio.
    pub has_audio: bool,
    /// Units per second of the video's times.
    pub timescale: u32,
    /// Length of the file that [`Window::stream`] yields, in bytes.
    pub output_bytes: u64,
    /// Bytes of the source that will be read for it.
    pub source_bytes: u64,
    /// Where they are in the source, in bytes, if they are one range.
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
    /// [`Error::OutOfRange`] for a time beyond the source; [`Error::Interval`] for an interval that is not one or holds no
    /// frame; [`Error::Unsupported`] for a source whose samples overlap in the file, and for a first keyframe of no bytes.
    pub fn window(&self, start_seconds: f64, end_seconds: f64) -> Result<Window> {
        self.window_of(&self.snap(start_seconds, end_seconds)?)
    }

    /// Chooses the samples of every frame that is shown at some time from `start_seconds` up to, not including,
    /// `end_seconds`; of the frame that is shown at `start_seconds` where that is all. Times in front of the first frame
    /// and behind the last one are theirs.
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

    /// Checks that two times, in seconds, are an interval.
    ///
    /// # Errors
    /// [`Error::Interval`] for an end that is negative or not finite, and for ends that are not in order.
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
                last_frame,
                last_frame_duration,
                even,
            },
            preamble,
            ..part
        })
    }

    /// Chooses what [`window_of`](Self::window_of) writes; lengths in bytes are not known yet.
    pub(crate) fn choose(&self, interval: &Range<i64>) -> Result<Chosen<'_>> {
        let selection = Selection::of(&self.video, interval)?;
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
            // A source whose start is known to the microsecond may begin a fraction of one in front of it.
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

    /// The samples that showing an interval takes, in decode order; and the one that it begins within, and for how long
    /// that was shown by then, if it does.
    pub(crate) fn samples_of(&self, interval: &Range<i64>) -> Result<(Range<u32>, Option<Held>)> {
        Selection::of(&self.video, interval).map(|selection| (selection.samples, selection.held))
    }

    fn ticks(&self, ticks: i64) -> Time {
        Time {
            ticks,
            timescale: self.video.edit_segment.timescale,
        }
    }

    /// The media times of the frame boundaries that an interval is snapped to.
    pub(crate) fn snap(&self, start_seconds: f64, end_seconds: f64) -> Result<Range<i64>> {
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
        // Half a millisecond is what is lost when a duration is printed with three decimals.
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

    /// Where the video is cut for two wanted times: at the nearest boundary of frames, the earlier of two that are equally
    /// near, or within a frame that is held for longer than frames usually last.
    fn cut_points(&self, wanted: [i128; 2]) -> Result<[i64; 2]> {
        let VideoExtent { start, end, .. } = self.video_extent;
        let mut around = [start..end, start..end];
        for frame in self.video.samples.frames()? {
            if !self.video.edit_segment.shows(frame.time) {
                continue;
            }
            let time = i128::from(frame.time) * self.precision();
            for (around, wanted) in around.iter_mut().zip(wanted) {
                if time <= wanted {
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

    /// How long frames are taken to last that are not held, in the video's timescale: where all last equally long, as long
    /// as they do, and otherwise a tenth of a second at most.
    fn usual_duration(&self) -> i64 {
        let usual = i64::from(self.video.samples.usual_duration());
        if self.facts.video.constant_frame_rate {
            usual
        } else {
            usual.min(i64::from(self.video.edit_segment.timescale / 10))
        }
    }

    /// The media time of the video at `seconds` of what a player presents, in units of 1/[`precision`](Self::precision)
    /// of the video's timescale: exact to the nanosecond, whatever the timescales.
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
            // An edit that begins within a frame would lose it in players that show whole frames.
            samples.show_later(index - selection.samples.start, shown_for);
        }
        let last = selection.last_frame;
        if last.end == selection.samples.end {
            samples.shorten_last(interval.end - last.time.max(interval.start));
        }
        // Offsets below zero are QuickTime's, and not every player of MP4 reads them: decode that much earlier instead.
        let shift = samples.make_composition_offsets_nonnegative();
        let media_start = selection.keyframe.decode_time - shift;
        // Where frames last differently long, the durations between decoding them may not reach to the end that is
        // shown; a player that measures the media by them would stop early.
        samples.extend_to(interval.end - selection.earliest);
        Cut {
            source: &self.video,
            samples,
            media_start,
            gap: 0,
            shown: interval.clone(),
        }
    }

    /// The audio of an interval: from the decode time of the first frame, so that players that ignore edit lists stay in
    /// sync, and by at least the decoder's pre-roll earlier; or, where the [`Decoder`] takes no hidden samples, from the
    /// sample that is heard first.
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
    /// The video, the audio if there is any, and further audio.
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
    /// How long nothing is shown first, in the track's timescale.
    gap: i64,
    /// What is shown then, in media time of the source.
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

/// Samples of one source, which stay in the order that they have there.
pub(crate) fn in_order_of_source(
    runs: impl Iterator<Item = ChunkRun>,
) -> impl Iterator<Item = PlacedChunk> {
    runs.map(|run| PlacedChunk {
        file: 0,
        order: run.offset,
        run,
    })
}

/// A timescale in which the edits of both tracks are exact: the least common multiple of theirs, or, where that is
/// excessive, a multiple of the video's that is good to 0.1 ms.
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

/// The spans that are fetched for `copies`: small gaps are read and thrown away.
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
    /// `connections` requests in flight. At most 2 MiB a connection are held at any time.
    ///
    /// # Errors
    /// The stream ends with whatever the source raises.
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

    /// The window's samples in order, as [`stream`](Self::stream) yields them behind the header.
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

    /// A window whose header is another's: a part of a file.
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
    /// Changes it among the bytes of a source, which come in order, each part with its place there.
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
                // The flags that change are in front of all escapes.
                let begun = begun.filter(|begun| begun.len() == sample.len());
                whole.extend_from_slice(begun.as_deref().unwrap_or(&sample));
                whole.extend_from_slice(&part[within(kept.end)..]);
            }
            (whole_start, whole.freeze())
        })
    }
}
