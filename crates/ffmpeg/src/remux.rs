//! A source in any container, from which intervals can be cut.
//!
//! An MP4 or MOV with an index is cut directly, by [`mp4`](mp4_cut). From any other container, `FFmpeg` remuxes what an
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

mod arguments;
mod description;
mod excerpt;
mod look;
mod range;
mod remuxer;

use crate::{check, process::Input};
use description::describe;
use excerpt::{Other, bytes_of, check_interval, remux_whole};
use model::{ClipError, number, plan::SourceFacts};
use mp4_cut::{
    Container, EditedMovie, Error, Facts, FragmentedMovie, Movie, Opened, VideoFacts, WindowFacts,
    io::{CachedSource, LocalFile, RangeRead},
};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

pub use look::Looked;
pub use range::{RemuxedRange, Samples};
pub use remuxer::Remuxer;

/// How far before the inspected part decoding begins, in seconds: further than the index may require.
const LOOK_LEAD_SECONDS: f64 = 5.0;

/// Opens a source; it is read whole if it has many fragments without an index.
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

impl<S: RangeRead + Clone + 'static> Media<S> {
    /// Opens a source: reads its index, or has `ffprobe` describe it.
    ///
    /// # Errors
    /// `UnsupportedMedia`, saying what the source is, and any error from the source.
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
                let form = Form::Other(Box::new(Other {
                    facts: facts.clone(),
                    remuxed: how.clone(),
                    source,
                }));
                let facts = SourceFacts {
                    facts,
                    remuxed: Some(how),
                };
                Self { facts, form }
            }
        })
    }

    /// Opens a source again, with the facts from the first time, so that it need not be described again.
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
                facts: facts.facts.clone(),
                remuxed: how,
                source: CachedSource::new(source),
            })),
            (Opened::Other(_), None) => {
                return Err(ClipError::internal("the source was described as an MP4"));
            }
        };
        Ok(Self { facts, form })
    }

    /// Remuxes a whole source to an MP4 in the working folder, to be cut there.
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
        remux_whole(source, &described, &how, &name, remuxer).await?;
        let file = LocalFile::open(remuxer.scratch.file(&name))?;
        let movie = Movie::read(&file).await.map_err(|error| match error {
            // There is a video: FFmpeg described it.
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

    /// About how many bytes of the source an interval of `seconds` has.
    #[must_use]
    pub fn bytes_of(&self, seconds: f64) -> u64 {
        bytes_of(&self.facts, seconds)
    }

    /// Whether cutting it requires an excerpt in the working folder.
    #[must_use]
    pub fn is_remuxed(&self) -> bool {
        matches!(self.form, Form::Other(_))
    }

    /// Estimates an interval from the frame rate alone, if it is too long for an excerpt.
    ///
    /// # Errors
    /// `InvalidRequest` for an invalid interval, `OutOfRange` for one that is beyond the source.
    pub fn estimate(
        &self,
        (start_seconds, end_seconds): (f64, f64),
    ) -> Result<WindowFacts, ClipError> {
        check_interval(&self.facts, start_seconds, end_seconds)?;
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

    /// The intervals into which one is split for cutting, in order: a source whose edit list shows several pieces of
    /// its media is cut piece by piece.
    #[must_use]
    pub fn parts(&self, (start_seconds, end_seconds): (f64, f64)) -> Vec<(f64, f64)> {
        match &self.form {
            Form::Edited(movie, _) => movie.parts(start_seconds, end_seconds),
            _ => vec![(start_seconds, end_seconds)],
        }
    }

    /// What the interval from `start_seconds` (inclusive) to `end_seconds` (exclusive) is cut from. An excerpt is
    /// written as the file `name`; it begins `lead_seconds` before the interval, or at a keyframe.
    ///
    /// # Errors
    /// As [`Movie::window`]; `UnsupportedMedia` if the interval cannot be found within the byte budget, or has no
    /// keyframe before it; `TrimBudgetExceeded` if it does not fit; and any error from the source.
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
                return Box::pin(other.search(interval, lead_seconds, name, remuxer)).await;
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

    /// What `FFmpeg` itself decodes between two seconds of the source, and a little before. The file `name` is written
    /// if [`remuxed_range`](Self::remuxed_range) would write one.
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
        let (start, end) = (origin + start_seconds, origin + end_seconds);
        let decoded = match range.samples {
            Samples::Source(source) => {
                let source = CachedSource::new(source);
                let place = start - LOOK_LEAD_SECONDS..end;
                check::look(&source, ("mov", &[]), place, ffmpeg, scratch.path(), limits).await?
            }
            Samples::File(_) => {
                ffmpeg
                    .look(scratch.path(), &Input::mp4(name), limits)
                    .await?
            }
        };
        Looked::of(&range.movie, (start, end), decoded.pictures)
    }
}
