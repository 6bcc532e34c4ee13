//! A source in any container, from which intervals can be cut.
//!
//! An MP4 or MOV with an index is cut as it is, by [`mp4`](mp4_cut). From any other container, `FFmpeg` remuxes what an
//! interval needs into an MP4, the excerpt, and reads the source through [`RangeServer`]. The excerpt is cut like any
//! other MP4, and its times are those of the source.
//!
//! - *Timestamps* are kept (`-copyts`). Second 0 is the first picture or sound or, if a source begins between
//!   keyframes, its first keyframe. `FFmpeg`'s own second 0 is the start of the earliest stream. An empty edit at the
//!   start holds the excerpt's start. The movie timescale is microseconds, so that edit is exact in any timescale. A
//!   transport stream that starts less than a minute before its clock wraps has a negative start, which an MP4 cannot
//!   hold. Its excerpts count from its start (`-itsoffset`).
//! - *Streams* are described from one second of the source, or from three, and mapped by their numbers. Sound that an
//!   MP4 cannot hold, or that has not begun by then, is dropped, and its name is reported.
//! - *Where to begin.* Matroska's cues lead to a keyframe. Seeking a transport stream by timestamp
//!   may not land on one, so we start 2.5 s early and double that until a keyframe precedes the
//!   interval. The plan keeps the lead that sufficed.
//! - *Budgets.* Each run has a byte budget; exceeding it rejects the source. What was read last is
//!   kept for the next run.
//! - *A source without an index by time*, such as Matroska without cues, AVI, FLV and MPEG-PS, is remuxed whole, if it
//!   is not too large.
//! - *An interval too long for the scratch space* is planned by the frame rate alone, and the other
//!   engine makes the clip.
//!
//! `-xerror` would end a remux at the first damaged packet. Transport streams often begin with one, so remuxes run
//! without it.

use crate::{
    check, damage,
    decoded::Picture,
    encrypted,
    pixels::PixelNames,
    process::{Ffmpeg, Input, Limits},
    range_server::RangeServer,
    scratch::Scratch,
};
use bytes::Bytes;
use model::{
    ClipError, ErrorKind, clip_spec,
    error::REMUX,
    number,
    plan::{Remuxed, SourceFacts},
};
use mp4_cut::{
    AudioFacts, Container, EditedMovie, Error, Facts, FragmentedMovie, Movie, Opened, VideoFacts,
    WindowFacts,
    io::{CachedSource, LocalFile, RangeRead},
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    ops::Range,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

/// How long a part of a source `FFmpeg` looks at to find out what is in it, in microseconds: the second when the first
/// does not tell everything.
const ANALYZE_DURATIONS: [u32; 2] = [1_000_000, 3_000_000];
/// The most bytes that it looks at.
const PROBE_BYTES: &str = "2000000";
/// What is read beyond the end of an interval, in seconds: enough to see where its last frame ends.
const TAIL_SECONDS: f64 = 0.5;
/// The most that is read behind it in search of the picture that follows one that is held.
const MAX_TAIL_SECONDS: f64 = 60.0;
/// The most that is read in front of an interval in search of a keyframe, in seconds.
const MAX_LEAD_SECONDS: f64 = 40.0;
/// How far before what is looked at decoding begins, in seconds: further than the index may ask for.
const LOOK_LEAD_SECONDS: f64 = 5.0;
/// Bytes at its beginning that tell whether it is encrypted.
const HEAD_BYTES: u64 = 256 << 10;
/// The packets at a source's start among which its first keyframe is looked for.
const FIRST_PACKETS: u32 = 64;
/// The same for a source that goes on without one, as a recording that was begun between two keyframes.
const LATE_KEYFRAME_PACKETS: u32 = 1000;
/// What describing a source may read, in bytes. It takes 1 to 3 MB; of a transport stream that ends without time stamps
/// up to 16 MB more.
const DESCRIPTION_BYTES: u64 = 24 << 20;
/// What finding an interval may read besides it and what lies between it and a keyframe, in bytes. It takes up to 3 MB;
/// a source whose index leads nowhere would be read from its start.
const SEARCH_BYTES: u64 = 8 << 20;
/// No interlaced frames are shown at a higher rate, in Hz.
const MAX_INTERLACED_RATE: f64 = 40.0;
/// How many times more than on average a second of an interval may have, in bytes.
const MAX_UNEVEN: u64 = 8;

/// Leaves out packets of which a part was lost.
const DISCARD_CORRUPT: [&str; 2] = ["-fflags", "+discardcorrupt"];

/// The codecs that `FFmpeg` puts into an MP4, by its names.
const PICTURES: &str =
    "av1 dirac evc ffv1 h264 hevc jpeg2000 mjpeg mpeg1video mpeg2video mpeg4 png vc1 vp9 vvc";
const SOUND: &str = "aac ac3 alac dts eac3 flac mp1 mp2 mp3 opus vorbis pcm_s16be pcm_s16le pcm_s24be pcm_s24le \
                     pcm_s32be pcm_s32le pcm_f32be pcm_f32le pcm_f64le";

/// What reading other containers takes.
#[derive(Debug, Clone, Copy)]
pub struct Remuxer<'a> {
    /// The program.
    pub ffmpeg: &'a Ffmpeg,
    /// Where excerpts are written.
    pub scratch: &'a Scratch,
    /// What each run may use.
    pub limits: Limits,
    /// The largest source, in bytes, that is read from its start because nothing in it leads to an interval.
    pub max_whole_bytes: u64,
}

impl Remuxer<'_> {
    /// Refuses to read all of a source of so many bytes, whose container is `name`, where that is too much.
    fn check_whole(&self, name: &str, bytes: u64) -> Result<(), ClipError> {
        let max_bytes = self.max_whole_bytes;
        if bytes > max_bytes {
            return Err(ClipError::unsupported_media(format!(
                "the source is {name} without an index that leads to every interval, and has {bytes} bytes; up to \
                 {max_bytes} it is read from its start: {REMUX}"
            )));
        }
        Ok(())
    }
}

/// Opens a source, of which all is read where it has many fragments and no index of them.
async fn open(source: &impl RangeRead, remuxer: Remuxer<'_>) -> Result<Opened, ClipError> {
    match Box::pin(Movie::open(source)).await {
        Err(Error::Unindexed) => {
            remuxer.check_whole("a fragmented MP4", source.len())?;
            let movie = Box::pin(Movie::open_whole(source)).await?;
            Ok(Opened::Indexed(Box::new(movie)))
        }
        opened => Ok(opened?),
    }
}

/// A source that was opened.
#[derive(Debug)]
pub struct Media<S> {
    /// What there is to know about it.
    pub facts: SourceFacts,
    form: Form<S>,
}

#[derive(Debug)]
enum Form<S> {
    Indexed(Box<Movie>, S),
    Edited(Box<EditedMovie>, S),
    Fragmented(Box<FragmentedMovie>, S),
    Other(Box<Other<S>>),
    /// All of it, remuxed.
    Whole(Box<Movie>, LocalFile),
}

/// A source of another container.
#[derive(Debug)]
struct Other<S> {
    remuxed: Remuxed,
    source: CachedSource<S>,
}

/// What was decoded of a source itself.
#[derive(Debug)]
pub struct Looked {
    /// Times count from second 0 of the source.
    pub pictures: Vec<Picture>,
    /// Whether not each picture that the index shows decodes, at its time, or pictures are decoded in another order.
    pub is_damaged: bool,
}

/// An interval of a source, ready to be cut.
#[derive(Debug)]
pub struct RemuxedRange<S> {
    /// What the interval is cut out of, by the source's own times.
    pub movie: Movie,
    /// Where its samples are.
    pub samples: Samples<S>,
    /// How far in front of the interval reading began, in seconds; `None` where an index says where to begin.
    pub lead_seconds: Option<f64>,
}

/// Where the samples of an excerpt are: in the source itself, or in a file that was made of it.
#[derive(Debug, Clone)]
pub enum Samples<S> {
    /// The source.
    Source(S),
    /// A file in the working folder.
    File(LocalFile),
}

impl<S: RangeRead> RangeRead for Samples<S> {
    fn len(&self) -> u64 {
        match self {
            Self::Source(source) => source.len(),
            Self::File(file) => file.len(),
        }
    }

    async fn read(&self, range: Range<u64>) -> mp4_cut::Result<Bytes> {
        match self {
            Self::Source(source) => source.read(range).await,
            Self::File(file) => file.read(range).await,
        }
    }
}

impl<S: RangeRead + Clone + 'static> Media<S> {
    /// Opens a source: reads its index, or has `ffprobe` describe it.
    ///
    /// # Errors
    /// `UnsupportedMedia`, saying what the source is, and whatever it raises.
    pub async fn open(source: S, remuxer: Remuxer<'_>) -> Result<Self, ClipError> {
        Ok(match open(&source, remuxer).await? {
            Opened::Indexed(movie) => Self {
                facts: movie.facts.clone().into(),
                form: Form::Indexed(movie, source),
            },
            Opened::Edited(movie) => Self {
                facts: movie.facts.clone().into(),
                form: Form::Edited(movie, source),
            },
            Opened::Fragmented(movie) => Self {
                facts: movie.facts.clone().into(),
                form: Form::Fragmented(movie, source),
            },
            Opened::Other(container) if container.is_read_whole() => {
                Self::open_whole(container, source, remuxer).await?
            }
            Opened::Other(container) => {
                let source = CachedSource::new(source);
                let (facts, how) = describe(container, &source, remuxer).await?;
                let facts = SourceFacts {
                    facts,
                    remuxed: Some(how.clone()),
                };
                let form = Form::Other(Box::new(Other {
                    remuxed: how,
                    source,
                }));
                Self { facts, form }
            }
        })
    }

    /// Opens a source that was opened before, with these facts: it is not described anew.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn reopen(
        source: S,
        facts: SourceFacts,
        remuxer: Remuxer<'_>,
    ) -> Result<Self, ClipError> {
        let form = match (open(&source, remuxer).await?, facts.remuxed.clone()) {
            (Opened::Indexed(movie), _) => Form::Indexed(movie, source),
            (Opened::Edited(movie), _) => Form::Edited(movie, source),
            (Opened::Fragmented(movie), _) => Form::Fragmented(movie, source),
            (Opened::Other(container), _) if container.is_read_whole() => {
                return Self::open_whole(container, source, remuxer).await;
            }
            (Opened::Other(_), Some(how)) => Form::Other(Box::new(Other {
                remuxed: how,
                source: CachedSource::new(source),
            })),
            (Opened::Other(_), None) => {
                return Err(ClipError::internal("the source was described as an MP4"));
            }
        };
        Ok(Self { facts, form })
    }

    /// Remuxes all of a source to an MP4 in the working folder, which is then cut.
    async fn open_whole(
        container: Container,
        source: S,
        remuxer: Remuxer<'_>,
    ) -> Result<Self, ClipError> {
        static NEXT_NUMBER: AtomicU32 = AtomicU32::new(0);
        let bytes = source.len();
        remuxer.check_whole(container.name(), bytes)?;
        let source = CachedSource::new(source);
        let (described, how) = describe(container, &source, remuxer).await?;
        let name = format!("whole-{}.mp4", NEXT_NUMBER.fetch_add(1, Relaxed));
        let server =
            RangeServer::serve(source, SEARCH_BYTES.saturating_add(bytes.saturating_mul(2)))?;
        let mut options = look(how.look_microseconds);
        options.extend(["-fflags", "+genpts"].map(str::to_owned));
        let input = Input::loopback(demuxer(container), options, &server);
        let arguments = remux_arguments(&described, &how, None, &name);
        let Remuxer {
            ffmpeg,
            scratch,
            limits,
            ..
        } = remuxer;
        let run = ffmpeg
            .run(scratch.path(), &[input], &arguments, limits)
            .await;
        server
            .classify_exit(run)
            .map_err(|error| match error.kind {
                ErrorKind::TrimBudgetExceeded => ClipError::unsupported_media(format!(
                    "the source is {}, which takes too long to be read from its start: {}",
                    container.name(),
                    error.message
                )),
                _ => error,
            })?;
        let file = LocalFile::open(scratch.file(&name))?;
        let movie = Movie::read(&file).await.map_err(|error| match error {
            // There is one, as FFmpeg described it.
            Error::NoVideo { .. } => ClipError::unsupported_media(
                "no keyframe was found in the source, and decoding begins with one",
            ),
            error => error.into(),
        })?;
        let facts = Facts {
            container: described.container,
            bytes,
            index_start: 0,
            index_bytes: 0,
            dropped_tracks: described.dropped_tracks,
            ..movie.facts.clone()
        };
        Ok(Self {
            facts: SourceFacts {
                facts,
                remuxed: Some(how),
            },
            form: Form::Whole(Box::new(movie), file),
        })
    }

    /// About how many bytes of the source an interval of so many seconds is.
    #[must_use]
    pub fn bytes_of(&self, seconds: f64) -> u64 {
        let share = (seconds / self.facts.duration_seconds.max(0.001)).clamp(0.0, 1.0);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let bytes = (self.facts.bytes as f64 * share).ceil() as u64;
        bytes
    }

    /// Whether cutting it takes an excerpt, written to the working folder.
    #[must_use]
    pub fn is_remuxed(&self) -> bool {
        matches!(self.form, Form::Other(_))
    }

    /// What an interval is, by the rate of its frames alone: where it is too long for an excerpt.
    ///
    /// # Errors
    /// `InvalidRequest` for what is no interval, `OutOfRange` for one that is beyond the source.
    pub fn estimate(
        &self,
        (start_seconds, end_seconds): (f64, f64),
    ) -> Result<WindowFacts, ClipError> {
        self.check(start_seconds, end_seconds)?;
        let VideoFacts {
            frame_rate,
            start_seconds: first,
            frames,
            timescale,
            ..
        } = self.facts.video;
        let frame = |seconds: f64| number::whole_u32((seconds - first).max(0.0) * frame_rate);
        let (start, end) = (
            frame(start_seconds),
            u64::from(frame(end_seconds)).min(frames),
        );
        let time = |frame: u32| first + f64::from(frame) / frame_rate;
        let end = u32::try_from(end)
            .unwrap_or(u32::MAX)
            .max(start.saturating_add(1));
        let bytes = self.bytes_of(time(end) - time(start));
        Ok(WindowFacts {
            start_seconds: time(start),
            end_seconds: time(end),
            duration_seconds: time(end) - time(start),
            frames: u64::from(end - start),
            preroll_frames: 0,
            keyframe_seconds: time(start),
            next_keyframe_seconds: None,
            has_audio: self.facts.audio.is_some(),
            timescale,
            output_bytes: bytes,
            source_bytes: bytes,
            source_span: None,
        })
    }

    /// Refuses what is no interval, and one that is beyond the source by more than is to be seen in an excerpt.
    fn check(&self, start_seconds: f64, end_seconds: f64) -> Result<(), ClipError> {
        Movie::check_interval(start_seconds, end_seconds)?;
        let duration = self.facts.duration_seconds;
        for (name, seconds, most) in [
            ("start", start_seconds, duration),
            ("end", end_seconds, duration + TAIL_SECONDS),
        ] {
            if seconds >= most {
                return Err(ClipError::out_of_range(format!(
                    "{name}: {seconds} s is beyond the source, which is {duration:.3} s long"
                )));
            }
        }
        Ok(())
    }

    /// The intervals that one is cut as, in order: a source whose edit list shows several pieces of its media is cut piece
    /// by piece.
    #[must_use]
    pub fn parts(&self, (start_seconds, end_seconds): (f64, f64)) -> Vec<(f64, f64)> {
        match &self.form {
            Form::Edited(movie, _) => movie.parts(start_seconds, end_seconds),
            _ => vec![(start_seconds, end_seconds)],
        }
    }

    /// What the interval from `start_seconds` up to, not including, `end_seconds` is cut out of. An excerpt is written as
    /// the file `name`; it begins `lead_seconds` before the interval, or where there is a keyframe.
    ///
    /// # Errors
    /// As [`Movie::window`]; `UnsupportedMedia` when the interval cannot be found within what it may read, or has no
    /// keyframe before it; `TrimBudgetExceeded` when it does not fit; and whatever the source raises.
    pub async fn remuxed_range(
        &self,
        (start_seconds, end_seconds): (f64, f64),
        lead_seconds: Option<f64>,
        name: &str,
        remuxer: Remuxer<'_>,
    ) -> Result<RemuxedRange<S>, ClipError> {
        let (mut movie, samples) = match &self.form {
            Form::Other(other) => {
                let interval = (start_seconds, end_seconds);
                let found = self.search(other, interval, lead_seconds, name, remuxer);
                return Box::pin(found).await;
            }
            Form::Indexed(movie, source) => (Movie::clone(movie), Samples::Source(source.clone())),
            Form::Edited(movie, source) => {
                let piece = movie.piece(start_seconds, end_seconds).clone();
                (piece, Samples::Source(source.clone()))
            }
            Form::Whole(movie, file) => (Movie::clone(movie), Samples::File(file.clone())),
            Form::Fragmented(movie, source) => {
                Movie::check_interval(start_seconds, end_seconds)?;
                let part = movie.part(source, start_seconds, end_seconds).await?;
                (part, Samples::Source(source.clone()))
            }
        };
        movie
            .describe_interval(&samples, start_seconds, end_seconds)
            .await?;
        Ok(RemuxedRange {
            movie,
            samples,
            lead_seconds: None,
        })
    }

    /// As [`remuxed_range`](Self::remuxed_range), of a source that is remuxed.
    async fn search(
        &self,
        other: &Other<S>,
        (start_seconds, end_seconds): (f64, f64),
        lead_seconds: Option<f64>,
        name: &str,
        remuxer: Remuxer<'_>,
    ) -> Result<RemuxedRange<S>, ClipError> {
        self.check(start_seconds, end_seconds)?;
        let duration = self.facts.duration_seconds;
        let end = end_seconds.min(duration);
        let start = other.remuxed.remuxed_start_microseconds();
        // The first keyframe may be shown a little later than the first sound.
        let first = self.facts.video.start_seconds + 0.001;
        let mut lead = lead_seconds.unwrap_or(container_lead_seconds(other.remuxed.container));
        let mut tail = TAIL_SECONDS;
        loop {
            let from = (start_seconds - lead).max(0.0);
            self.remux(other, from..end + tail, name, remuxer).await?;
            let file = LocalFile::open(remuxer.scratch.file(name))?;
            let is_last = from <= 0.0 || lead >= MAX_LEAD_SECONDS;
            match Movie::read_remuxed(&file, start, duration).await {
                Ok(movie) if movie.first_keyframe_seconds()? <= start_seconds.max(first) => {
                    // Only the next picture tells how long the last one stays.
                    let ends = movie.end_seconds();
                    if ends < end - 0.001 && end + tail < duration && tail < MAX_TAIL_SECONDS {
                        tail = (2.0 * tail).max(1.0);
                        continue;
                    }
                    return Ok(RemuxedRange {
                        movie,
                        samples: Samples::File(file),
                        lead_seconds: Some(lead),
                    });
                }
                // FFmpeg leaves out all pictures in front of a keyframe.
                Ok(_) | Err(Error::NoVideo { .. }) if is_last => {
                    let seconds = start_seconds - from;
                    return Err(ClipError::unsupported_media(format!(
                        "no keyframe was found in the {seconds:.1} s before {start_seconds} s of the source, and decoding \
                         begins with one"
                    )));
                }
                Err(error)
                    if is_last
                        || !matches!(
                            error,
                            Error::Unsupported(_) | Error::Damaged(_) | Error::NoVideo { .. }
                        ) =>
                {
                    return Err(error.into());
                }
                _ => lead = (2.0 * lead).max(1.0),
            }
        }
    }

    /// What `FFmpeg` itself decodes of the source between two of its seconds, and some before them. The file `name` is
    /// written where [`remuxed_range`](Self::remuxed_range) would.
    ///
    /// # Errors
    /// As [`remuxed_range`](Self::remuxed_range) and [`check::look`].
    pub async fn look(
        &self,
        (start_seconds, end_seconds): (f64, f64),
        lead_seconds: Option<f64>,
        name: &str,
        remuxer: Remuxer<'_>,
    ) -> Result<Looked, ClipError> {
        let Remuxer {
            ffmpeg,
            scratch,
            limits,
            ..
        } = remuxer;
        let range = self
            .remuxed_range((start_seconds, end_seconds), lead_seconds, name, remuxer)
            .await?;
        let origin = range.movie.origin_seconds();
        let decoded = match range.samples {
            Samples::Source(source) => {
                let source = CachedSource::new(source);
                let place = origin + start_seconds - LOOK_LEAD_SECONDS..origin + end_seconds;
                check::look(&source, "mov", place, ffmpeg, scratch.path(), limits).await?
            }
            Samples::File(_) => {
                ffmpeg
                    .look(scratch.path(), &Input::mp4(name), limits)
                    .await?
            }
        };
        let shown = range.movie.shown_frames()?;
        let shown: Vec<f64> = shown.iter().map(|frame| frame.seconds).collect();
        let index = |at: f64| shown.partition_point(|seconds| *seconds < at);
        // What an index that lies shows, and decoding does not, is missing close to where decoding begins.
        let begun = decoded.pictures.first().map(|picture| picture.seconds);
        let first = begun.map_or(start_seconds + origin, |begun| {
            begun - damage::TOLERANCE_SECONDS
        });
        let looked_at = index(first)..index(origin + end_seconds);
        let flaws = damage::flaws(&shown, looked_at, &decoded.pictures);
        // FFmpeg gives up on times that are out of order after a few, which may lie before what is looked at.
        let times = decoded.pictures.iter().map(|picture| picture.seconds);
        let is_in_order = times.is_sorted_by(|one, next| one < next);
        let by_the_source = decoded.pictures.into_iter().map(|picture| Picture {
            seconds: picture.seconds - origin,
            ..picture
        });
        Ok(Looked {
            pictures: by_the_source.collect(),
            is_damaged: !flaws.is_empty() || !is_in_order,
        })
    }

    /// Writes what lies between two seconds of the source as the file `name`.
    async fn remux(
        &self,
        other: &Other<S>,
        seconds: Range<f64>,
        name: &str,
        remuxer: Remuxer<'_>,
    ) -> Result<(), ClipError> {
        match self
            .remux_with(&[], other, seconds.clone(), name, remuxer)
            .await
        {
            // Of sound that lacks packets, what is left of a frame may not be what an MP4 can hold.
            Err(error)
                if error.kind == ErrorKind::UnsupportedMedia
                    && other.remuxed.container == Container::MpegTs =>
            {
                tracing::warn!(error.message, "remuxing without damaged packets");
                self.remux_with(&DISCARD_CORRUPT, other, seconds, name, remuxer)
                    .await
            }
            done => done,
        }
    }

    async fn remux_with(
        &self,
        more_options: &[&str],
        Other { remuxed, source }: &Other<S>,
        seconds: Range<f64>,
        name: &str,
        remuxer: Remuxer<'_>,
    ) -> Result<(), ClipError> {
        let interval_bytes = MAX_UNEVEN.saturating_mul(self.bytes_of(seconds.end - seconds.start));
        let most_bytes =
            (SEARCH_BYTES + self.bytes_of(MAX_LEAD_SECONDS)).saturating_add(interval_bytes);
        let loopback = RangeServer::serve(source.clone(), most_bytes)?;
        // FFmpeg seeks to a keyframe by its decode time: to the second where the first has none.
        let mut options = if seconds.start > 0.0 {
            read_from(remuxed, seconds.start)
        } else {
            read_on(remuxed)
        };
        options.extend(more_options.iter().map(ToString::to_string));
        let input = Input::loopback(demuxer(remuxed.container), options, &loopback);
        let to = stamp(seconds.end, remuxed.remuxed_start_microseconds());
        let arguments = remux_arguments(&self.facts, remuxed, Some(&to), name);
        loopback.classify_exit(
            remuxer
                .ffmpeg
                .run(remuxer.scratch.path(), &[input], &arguments, remuxer.limits)
                .await,
        )
    }
}

/// The options that remux what is kept of a source, with the source's own time stamps, up to that of `to`.
fn remux_arguments(
    facts: &Facts,
    remuxed: &Remuxed,
    to: Option<&str>,
    name: &str,
) -> Vec<OsString> {
    // Apple's players want the parameter sets where hvc1 says that they are.
    let tag: &[&str] = if facts.video.codec == "hevc" {
        &["-tag:v", "hvc1"]
    } else {
        &[]
    };
    // Without being told, it gives up at a packet that lacks its header.
    let unframed: &[&str] = match &facts.audio {
        Some(audio) if audio.codec == "aac" && remuxed.container == Container::MpegTs => {
            &["-bsf:a:0", "aac_adtstoasc"]
        }
        _ => &[],
    };
    let maps = remuxed
        .streams
        .iter()
        .flat_map(|stream| ["-map".to_owned(), format!("0:{stream}")])
        .map(OsString::from);
    let to = to.map_or_else(Vec::new, |to| vec!["-to", to]);
    let options = [
        &["-c", "copy"],
        tag,
        unframed,
        // A damaged packet spoils a picture, and not the whole clip.
        &["-noxerror", "-copypriorss:v", "1"],
        &to,
        // When the source was made.
        &["-map_metadata", "0", "-map_chapters", "-1"],
        // In microseconds the start of the excerpt is exact.
        &[
            "-movie_timescale",
            "1000000",
            "-strict",
            "unofficial",
            "-f",
            "mp4",
            name,
        ],
    ];
    maps.chain(options.concat().into_iter().map(OsString::from))
        .collect()
}

/// `FFmpeg`'s name of its reader.
fn demuxer(container: Container) -> &'static str {
    match container {
        Container::MpegTs => "mpegts",
        Container::Matroska | Container::MatroskaWithoutCues => "matroska",
        Container::Avi => "avi",
        Container::Flv => "flv",
        Container::MpegPs => "mpeg",
    }
}

/// The options with which `FFmpeg` looks at so many microseconds of a source.
fn look(microseconds: u32) -> Vec<String> {
    let microseconds = microseconds.to_string();
    let options = ["-probesize", PROBE_BYTES, "-analyzeduration", &microseconds];
    options.map(str::to_owned).to_vec()
}

/// How far before an interval reading begins. Matroska's cues lead to a keyframe.
fn container_lead_seconds(container: Container) -> f64 {
    match container {
        Container::MpegTs => 2.5,
        _ => 0.0,
    }
}
/// The input options that keep the source's time stamps, but for those below zero, which an MP4 cannot hold.
fn read_on(remuxed: &Remuxed) -> Vec<String> {
    let later = format!(
        "{}us",
        remuxed.remuxed_start_microseconds() - remuxed.start_microseconds
    );
    let rest = [
        "-skip_estimate_duration_from_pts",
        "1",
        "-copyts",
        "-itsoffset",
        &later,
    ]
    .map(str::to_owned);
    look(remuxed.look_microseconds)
        .into_iter()
        .chain(rest)
        .collect()
}

/// The input options that in addition read from a second on.
fn read_from(remuxed: &Remuxed, seconds: f64) -> Vec<String> {
    let seek = ["-seek_timestamp", "1", "-ss"].map(str::to_owned);
    read_on(remuxed)
        .into_iter()
        .chain(seek)
        .chain([stamp(seconds, remuxed.start_microseconds)])
        .collect()
}

/// The time stamp of a second of a source that starts at `start_microseconds`, as `FFmpeg` takes it.
fn stamp(seconds: f64, start_microseconds: i64) -> String {
    let microseconds = start_microseconds.saturating_add(number::signed(seconds * 1e6));
    format!("{microseconds}us")
}

/// What `ffprobe` tells.
#[derive(Debug, Deserialize)]
struct Description {
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    packets: Vec<Packet>,
    format: Format,
}

#[derive(Debug, Deserialize)]
struct Packet {
    stream_index: usize,
    pts_time: Option<String>,
    flags: String,
}

#[derive(Debug, Deserialize)]
struct Format {
    duration: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

impl Format {
    /// Whether it says where the source was recorded.
    fn names_place(&self) -> bool {
        self.tags
            .keys()
            .any(|tag| tag.eq_ignore_ascii_case("location"))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stream {
    id: Option<String>,
    codec_type: Option<String>,
    codec_name: Option<String>,
    codec_tag: Option<String>,
    field_order: Option<String>,
    width: u32,
    height: u32,
    sample_aspect_ratio: Option<String>,
    avg_frame_rate: String,
    r_frame_rate: String,
    time_base: String,
    start_time: Option<String>,
    sample_rate: Option<String>,
    channels: u32,
    channel_layout: Option<String>,
    bit_rate: Option<String>,
    disposition: Disposition,
    tags: Tags,
    side_data_list: Vec<SideData>,
    #[serde(flatten)]
    pixels: PixelNames,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Disposition {
    attached_pic: u8,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tags {
    language: Option<String>,
}

#[derive(Debug, Deserialize)]
struct SideData {
    rotation: Option<f64>,
}

const ENTRIES: &str = "format=duration:format_tags:stream=id,codec_type,codec_name,codec_tag,field_order,width,height,\
     sample_aspect_ratio,\
     avg_frame_rate,r_frame_rate,time_base,start_time,sample_rate,channels,channel_layout,bit_rate,\
     pix_fmt,color_range,color_primaries,color_transfer,color_space:stream_disposition=attached_pic:\
     stream_tags=language:stream_side_data=rotation:packet=stream_index,pts_time,flags";

async fn describe<S: RangeRead + Clone + 'static>(
    container: Container,
    source: &CachedSource<S>,
    remuxer: Remuxer<'_>,
) -> Result<(Facts, Remuxed), ClipError> {
    let look = async |microseconds, read| {
        let server = RangeServer::serve(source.clone(), DESCRIPTION_BYTES)?;
        let input = Input::loopback(demuxer(container), look(microseconds), &server);
        let time = remuxer.limits.time;
        let described = remuxer.ffmpeg.describe(&input, ENTRIES, read, time).await;
        let described = server.classify_exit(described)?;
        // It is as long as the source's texts, and has the numbers that the source has.
        serde_json::from_slice::<Description>(&described).map_err(|error| {
            ClipError::unsupported_media(format!(
                "the source cannot be described: ffprobe's answer: {error}"
            ))
        })
    };
    let [mut looked, long] = ANALYZE_DURATIONS;
    let mut described = look(looked, FIRST_PACKETS).await?;
    let head = source.read(0..source.len().min(HEAD_BYTES)).await?;
    if described.is_encrypted(container, &head) {
        return Err(ClipError::unsupported_media(
            "the source is encrypted, which is not supported",
        ));
    }
    if !described.streams.iter().all(Stream::has_codec_parameters) {
        (looked, described) = (long, look(long, FIRST_PACKETS).await?);
    }
    if described.first_keyframe_seconds().is_none() {
        described.packets = look(looked, LATE_KEYFRAME_PACKETS).await?.packets;
    }
    described.facts(container, looked, source.len())
}

impl Description {
    /// The packets of the video, in decode order.
    fn video_packets(&self) -> impl Iterator<Item = &Packet> {
        let is_video = |stream: &Stream| {
            stream.codec_type.as_deref() == Some("video") && stream.disposition.attached_pic == 0
        };
        let video = self.streams.iter().position(is_video);
        self.packets
            .iter()
            .filter(move |packet| Some(packet.stream_index) == video)
    }

    /// Whether the pictures are encrypted, or all sound is.
    fn is_encrypted(&self, container: Container, head: &[u8]) -> bool {
        let is_stream_encrypted = |stream: &Stream| match container {
            Container::MpegTs => stream.is_scrambled(head),
            Container::Matroska | Container::MatroskaWithoutCues => {
                encrypted::has_encrypted_track(head)
            }
            Container::Avi | Container::Flv | Container::MpegPs => false,
        };
        ["video", "audio"].into_iter().any(|kind| {
            let streams = self.streams.iter();
            let mut of_kind = streams
                .filter(|stream| stream.codec_type.as_deref() == Some(kind))
                .peekable();
            of_kind.peek().is_some() && of_kind.all(is_stream_encrypted)
        })
    }

    fn first_keyframe_seconds(&self) -> Option<f64> {
        let keyframe = self
            .video_packets()
            .find(|packet| packet.flags.starts_with('K'))?;
        seconds(keyframe.pts_time.as_deref())
    }

    /// When the first picture that can be decoded is shown, where others precede it: a recording that begins between
    /// keyframes, as one that was cut out of a broadcast does.
    fn late_start_seconds(&self) -> Option<f64> {
        let first = self.video_packets().next()?;
        if first.flags.starts_with('K') {
            return None;
        }
        self.first_keyframe_seconds()
    }

    fn facts(
        self,
        container: Container,
        look_microseconds: u32,
        bytes: u64,
    ) -> Result<(Facts, Remuxed), ClipError> {
        let is = |stream: &Stream, kind: &str| stream.codec_type.as_deref() == Some(kind);
        let is_video =
            |stream: &Stream| is(stream, "video") && stream.disposition.attached_pic == 0;
        let video = self.streams.iter().position(is_video);
        let video = video.ok_or_else(|| {
            let has_audio = self.streams.iter().any(|stream| is(stream, "audio"));
            Error::NoVideo { has_audio }
        })?;
        let (audio, others): (Vec<_>, Vec<_>) = self
            .streams
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != video)
            .partition(|(_, stream)| stream.is_sound());
        let starts = [
            Some(&self.streams[video]),
            audio.first().map(|(_, first)| *first),
        ]
        .into_iter()
        .flatten();
        let all_start = starts
            .filter_map(Stream::start_seconds)
            .min_by(f64::total_cmp)
            .unwrap_or(0.0);
        let start = self.late_start_seconds().unwrap_or(all_start);
        let told = seconds(self.format.duration.as_deref()).map(|told| told - (start - all_start));
        let duration = match container {
            Container::MpegTs => told,
            // Matroska counts from zero, whenever the first picture is shown.
            Container::Matroska => told.map(|end| end - all_start.max(0.0)),
            // Once it is remuxed, its own index tells.
            _ => Some(1.0),
        };
        let duration_seconds = duration.filter(|duration| *duration > 0.0).ok_or_else(|| {
            ClipError::unsupported_media("the source does not tell how long it is")
        })?;
        let start_microseconds = number::signed(start * 1e6);
        let streams = std::iter::once(video)
            .chain(audio.iter().map(|(index, _)| *index))
            .collect();
        let remuxed = Remuxed {
            container,
            look_microseconds,
            start_microseconds,
            streams,
        };
        let dropped = others.iter().map(|(_, stream)| stream.name());
        let place = self.format.names_place().then(|| "place".to_owned());
        let dropped_tracks = dropped.chain(place).collect();
        let language = |stream: &Stream| stream.tags.language.clone().unwrap_or_default();
        let languages = audio.iter().map(|(_, stream)| language(stream)).collect();
        let audio = audio.first().map(|(_, first)| first.audio(languages));
        let video = self.streams[video].video(start, duration_seconds, bytes)?;
        let facts = Facts {
            container: container.name().to_owned(),
            bytes,
            index_start: 0,
            index_bytes: 0,
            duration_seconds,
            video,
            audio,
            dropped_tracks,
            pieces: 1,
        };
        Ok((facts, remuxed))
    }
}

impl Stream {
    fn video(&self, source_start: f64, duration: f64, bytes: u64) -> Result<VideoFacts, ClipError> {
        let codec = self.codec_name.clone().unwrap_or_default();
        if !PICTURES.split(' ').any(|held| held == codec) {
            let codec = codec.to_uppercase();
            return Err(ClipError::unsupported_media(format!(
                "the source is {codec}, which cannot be put into an MP4"
            )));
        }
        let [average, lowest] =
            [&self.avg_frame_rate, &self.r_frame_rate].map(|rate| ratio(rate, '/'));
        // Where frames are fields, FFmpeg may take those for frames, on average or as the least.
        let fields = |rate: &f64| self.is_interlaced() && *rate > MAX_INTERLACED_RATE;
        let [average, lowest] = [average, lowest]
            .map(|rate| rate.map(|rate| if fields(&rate) { rate / 2.0 } else { rate }));
        let constant = average
            .zip(lowest)
            .is_some_and(|(average, lowest)| (average / lowest - 1.0).abs() < 0.002);
        let frame_rate = if constant { lowest } else { average.or(lowest) };
        let frame_rate = frame_rate
            .ok_or_else(|| ClipError::unsupported_media("the source has no frame rate"))?;
        let aspect = self
            .sample_aspect_ratio
            .as_deref()
            .and_then(|aspect| ratio(aspect, ':'))
            .unwrap_or(1.0);
        let turned = self
            .side_data_list
            .iter()
            .find_map(|data| data.rotation)
            .unwrap_or(0.0);
        // FFmpeg counts anticlockwise.
        let quarters = number::whole_u32((-turned / 90.0).rem_euclid(4.0)) % 4;
        let shown = [
            number::whole_u32((f64::from(self.width) * aspect + 1e-6).floor()),
            self.height,
        ];
        let [width, height] = if quarters.is_multiple_of(2) {
            shown
        } else {
            [shown[1], shown[0]]
        };
        let start_seconds = self
            .start_seconds()
            .map_or(0.0, |start| (start - source_start).max(0.0));
        let duration_seconds = (duration - start_seconds).max(1.0 / frame_rate);
        let all = whole_bytes(bytes) * 8.0 / duration;
        Ok(VideoFacts {
            codec,
            coded_width: self.width,
            coded_height: self.height,
            width,
            height,
            rotation_degrees: u16::try_from(quarters * 90).unwrap_or(0),
            frame_rate,
            grid_frame_rate: None,
            constant_frame_rate: constant,
            timescale: self
                .time_base
                .split_once('/')
                .and_then(|(_, units)| units.parse().ok())
                .unwrap_or(1000),
            frames: number::whole(duration_seconds * frame_rate),
            start_seconds,
            duration_seconds,
            bit_rate: self.bit_rate().unwrap_or_else(|| number::whole(all)),
            pixels: self.pixels.format(),
        })
    }

    fn is_interlaced(&self) -> bool {
        let order = self.field_order.as_deref();
        order.is_some_and(|order| !matches!(order, "progressive" | "unknown"))
    }

    /// Whether a transport stream says that it is: in its packets, or by a type of streams in which parts of every picture
    /// are encrypted (HLS's `SAMPLE-AES`).
    fn is_scrambled(&self, head: &[u8]) -> bool {
        let number = |text: &Option<String>| {
            let digits = text.as_deref()?.strip_prefix("0x")?;
            u32::from_str_radix(digits, 16).ok()
        };
        let id = number(&self.id).and_then(|id| u16::try_from(id).ok());
        matches!(number(&self.codec_tag), Some(0xdb | 0xcf | 0xc1 | 0xc2))
            || id.is_some_and(|id| encrypted::is_scrambled(head, id))
    }

    /// Whether what an MP4 needs of pictures or sound is known.
    fn has_codec_parameters(&self) -> bool {
        match self.codec_type.as_deref() {
            Some("video") => self.width > 0 && ratio(&self.avg_frame_rate, '/').is_some(),
            Some("audio") => self.sample_rate() > 0,
            _ => true,
        }
    }

    /// Whether it is sound that an MP4 can hold. That of which nothing is heard at the start of a transport stream has
    /// no sample rate.
    fn is_sound(&self) -> bool {
        let is_held = SOUND
            .split(' ')
            .any(|codec| self.codec_name.as_deref() == Some(codec));
        self.codec_type.as_deref() == Some("audio") && is_held && self.sample_rate() > 0
    }

    /// What it is, the first of as many tracks of sound as there are languages.
    fn audio(&self, languages: Vec<String>) -> AudioFacts {
        let codec = self.codec_name.as_deref().unwrap_or_default();
        AudioFacts {
            codec: if codec.starts_with("pcm") {
                "pcm"
            } else {
                codec
            }
            .to_owned(),
            channels: self.channels,
            layout: self
                .channel_layout
                .clone()
                .filter(|layout| !clip_spec::has_aac_number(layout)),
            sample_rate: self.sample_rate(),
            bit_rate: self.bit_rate().unwrap_or(0),
            tracks: languages.len(),
            languages: if languages.iter().all(String::is_empty) {
                Vec::new()
            } else {
                languages
            },
        }
    }

    fn sample_rate(&self) -> u32 {
        self.sample_rate
            .as_deref()
            .and_then(|rate| rate.parse().ok())
            .unwrap_or(0)
    }

    fn start_seconds(&self) -> Option<f64> {
        seconds(self.start_time.as_deref())
    }

    fn bit_rate(&self) -> Option<u64> {
        self.bit_rate.as_deref()?.parse().ok()
    }

    /// What people call it, as in [`Facts::dropped_tracks`].
    fn name(&self) -> String {
        let kind = match self.codec_type.as_deref() {
            Some("subtitle") => "text",
            Some("video") if self.disposition.attached_pic != 0 => "picture",
            Some(kind) => kind,
            None => "unknown",
        };
        let codec = self.codec_name.as_deref().filter(|_| kind == "audio");
        let what: Vec<&str> = self
            .tags
            .language
            .as_deref()
            .into_iter()
            .chain(codec)
            .collect();
        if what.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind} ({})", what.join(", "))
        }
    }
}

fn seconds(text: Option<&str>) -> Option<f64> {
    text?.parse().ok()
}

/// A fraction that is above zero.
fn ratio(text: &str, sign: char) -> Option<f64> {
    let (numerator, denominator) = text.split_once(sign)?;
    let ratio = numerator.parse::<f64>().ok()? / denominator.parse::<f64>().ok()?;
    (ratio.is_finite() && ratio > 0.0).then_some(ratio)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn whole_bytes(bytes: u64) -> f64 {
    bytes as f64
}
