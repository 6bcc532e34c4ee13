//! Makes a clip from cuts of its sources. A copy encodes nothing. An exact clip is a smart cut if the sources allow it,
//! and otherwise encoded whole.

use crate::{
    encode, pixels,
    process::{Input, Limits},
    remux::{RemuxedRange, Remuxer},
    scratch::Scratch,
    smart::{self, Made},
    survey,
};
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use model::{
    ClipError, ErrorKind,
    clip_spec::ClipSpec,
    damage::Damaged,
    error::why_encoded_whole,
    outcome::{Cutting, Interval},
    plan::Plan,
    request::{Cut, Format, Look},
};
use mp4_cut::{
    Join, Movie, SmartCutError, SmartCutFacts, Window,
    io::{LocalFile, RangeRead},
};
use std::{ffi::OsString, fmt, ops::Range, path::PathBuf, time::Instant};

/// Concurrent ranged reads of a source.
const CONNECTIONS: usize = 4;
/// Shorter than any picture is shown, in seconds.
const SHORTEST_SECONDS: f64 = 1e-6;
/// Windows that are fetched concurrently.
const WINDOWS_AT_ONCE: usize = 4;

/// Options that encode whatever decodes, however little it is.
const PLAY_ON: [&str; 3] = ["-noxerror", "-max_error_rate", "1"];

/// A finished clip that is not yet at its destination.
pub struct Clip<'a> {
    /// The file.
    pub content: Content<'a>,
    /// How it was made.
    pub method: Method,
    /// Damage that was found in the sources. What is copied is not examined, except for the pictures that others are
    /// decoded from.
    pub damaged: Option<Damaged>,
}

/// A clip's file.
pub enum Content<'a> {
    /// Its bytes, in order.
    Stream(BoxStream<'a, mp4_cut::Result<Bytes>>),
    /// A file of the working folder.
    File(PathBuf),
}

/// How a clip was made.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// Nothing was encoded.
    Copy,
    /// Most pictures were copied.
    SmartCut {
        /// How much was encoded and how much copied.
        facts: SmartCutFacts,
        /// When the encoded pictures are shown, in seconds of the clip.
        encoded: Vec<Interval>,
        /// When the copied pictures are shown that the clip's encoded end was decoded from, in seconds.
        decoded: Option<Range<f64>>,
        /// What the source has and the clip does not.
        dropped: Option<&'static str>,
    },
    /// All pictures were encoded.
    EncodedWhole {
        /// Why none could be copied.
        why: String,
    },
}

impl Method {
    /// Whether the clip has unchanged pictures of the source.
    #[must_use]
    pub fn copies(&self) -> bool {
        !matches!(self, Self::EncodedWhole { .. })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy => f.write_str("copied"),
            Self::SmartCut {
                facts:
                    SmartCutFacts {
                        encoded_seconds,
                        copied_seconds,
                    },
                dropped,
                ..
            } => {
                let all = encoded_seconds + copied_seconds;
                write!(
                    f,
                    "smart cut: {encoded_seconds:.2} s of {all:.2} s are encoded"
                )?;
                match dropped {
                    Some(dropped) => write!(f, ", without {dropped}"),
                    None => Ok(()),
                }
            }
            Self::EncodedWhole { why } => write!(f, "encoded whole: {why}"),
        }
    }
}

/// Makes the clip of `plan`, with the picture settings `look`. `ranges` are what the plan's segments are cut from, in
/// order. `watermark` puts the watermark into the working folder, and is awaited only if it is needed.
///
/// # Errors
/// `InvalidRequest` if copies cannot be joined, any error from a source, and what
/// [`Ffmpeg::run`](crate::process::Ffmpeg::run) raises.
pub async fn make<'a, O, S: RangeRead + 'static>(
    look: Look<'_>,
    plan: &Plan<O>,
    ranges: &'a [RemuxedRange<S>],
    watermark: Option<BoxFuture<'_, Result<Input, ClipError>>>,
    remuxer: Remuxer<'_>,
) -> Result<Clip<'a>, ClipError> {
    match look.cut {
        Cut::Copy => Ok(Clip {
            content: Content::Stream(copy(plan, ranges).await?),
            method: Method::Copy,
            damaged: None,
        }),
        Cut::Exact => encode(look, plan, ranges, watermark, remuxer).await,
    }
}

async fn copy<'a, O, S: RangeRead>(
    plan: &Plan<O>,
    ranges: &'a [RemuxedRange<S>],
) -> Result<BoxStream<'a, mp4_cut::Result<Bytes>>, ClipError> {
    let cuts = ranges.iter().zip(&plan.segments).map(|(range, segment)| {
        let facts = &segment.window;
        let (start, end) = (facts.start_seconds, facts.end_seconds);
        (&range.movie, &range.samples, start, end)
    });
    let cuts: Vec<_> = cuts.collect();
    let movies = Movie::described(&cuts).await?;
    let cuts: Vec<_> = movies.iter().zip(cuts).collect();
    if let [(movie, (_, samples, start, end))] = cuts.as_slice() {
        let window = movie.window(*start, *end)?;
        return Ok(window.stream(*samples, CONNECTIONS).boxed());
    }
    let intervals: Vec<_> = cuts
        .iter()
        .map(|(movie, (.., start, end))| (*movie, *start, *end))
        .collect();
    let read_from: Vec<_> = cuts.iter().map(|(_, (_, samples, ..))| *samples).collect();
    let join = Join::of(&intervals)?;
    join.check_joints(&read_from).await?;
    Ok(join.stream(read_from, CONNECTIONS).boxed())
}

fn windows<O, S>(plan: &Plan<O>, ranges: &[RemuxedRange<S>]) -> Result<Vec<Window>, ClipError> {
    let windows = ranges.iter().zip(&plan.segments).map(|(range, segment)| {
        let facts = &segment.window;
        let window = range.movie.window(facts.start_seconds, facts.end_seconds);
        Ok(window?)
    });
    windows.collect()
}

/// Encodes as little of a clip's windows as the request and the sources allow.
async fn encode<'a, O, S: RangeRead>(
    look: Look<'_>,
    plan: &Plan<O>,
    ranges: &[RemuxedRange<S>],
    watermark: Option<BoxFuture<'_, Result<Input, ClipError>>>,
    remuxer: Remuxer<'_>,
) -> Result<Clip<'a>, ClipError> {
    let begun = Instant::now();
    let spec = ClipSpec::of(look, plan)?;
    let windows = windows(plan, ranges)?;
    let names = save(&windows, ranges, remuxer.scratch).await?;
    let mut why = match why_no_smart_cut(look, &spec, plan) {
        Some(why) => why.to_owned(),
        None => match smart_cut(look, &spec, &names, remuxer).await {
            Ok(clip) => {
                look.damage
                    .check(clip.damaged.as_ref().unwrap_or(&Damaged::default()))?;
                return Ok(clip);
            }
            Err(error) => why_encoded_whole(error)?,
        },
    };
    if look.format == Format::Source {
        why.push_str(", so the clip is H.264");
    }
    if pixels::has_hdr10_plus(&remuxer.scratch.file(&names[0])).await? {
        why.push_str("; the metadata of HDR10+ is dropped");
    }
    tracing::info!(why, "encoding all of it");
    let mut files: Vec<_> = names.iter().map(Input::mp4).collect();
    if let Some(watermark) = watermark {
        files.push(watermark.await?);
    }
    let work = EncodedWhole {
        look,
        spec: &spec,
        names: &names,
        files: &files,
        arguments: encode::arguments(look, &spec, &windows[0]),
        frames: windows[0].facts.frames,
        remuxer,
        begun,
    };
    let damaged = work.run().await?;
    Ok(Clip {
        content: Content::File(remuxer.scratch.file(look.format.file_name())),
        method: Method::EncodedWhole { why },
        damaged,
    })
}

/// Why no smart cut is tried; `None` where one is.
fn why_no_smart_cut<O>(look: Look<'_>, spec: &ClipSpec, plan: &Plan<O>) -> Option<&'static str> {
    if !look.may_keep_pictures() {
        return Some("the request changes every picture");
    }
    let is_off = plan.encodes_hevc_whole;
    spec.why_no_copies()
        .or(is_off.then_some("smart cuts of HEVC are turned off in this deployment"))
}

/// The clip out of the windows `names`, with most of its pictures copied.
async fn smart_cut<'a>(
    look: Look<'_>,
    spec: &ClipSpec,
    names: &[String],
    remuxer: Remuxer<'_>,
) -> Result<Clip<'a>, SmartCutError> {
    let Remuxer {
        ffmpeg,
        scratch,
        limits,
        ..
    } = remuxer;
    let target = (look.format, look.quality);
    let Made {
        smart_cut,
        clip,
        leads,
    } = smart::cut(ffmpeg, scratch, names, spec.audio, target, limits).await?;
    let (mut damaged, mut decoded) = (Damaged::default(), None);
    let (mut lengths, mut end) = (Vec::new(), 0.0);
    for (cut, leads) in smart_cut.cuts.iter().zip(leads) {
        let SmartCutFacts {
            encoded_seconds,
            copied_seconds,
        } = cut.facts;
        let tail_seconds = encoded_seconds - cut.head_seconds;
        lengths.push((cut.head_seconds, copied_seconds, tail_seconds));
        let starts = [end, end + cut.head_seconds + copied_seconds];
        for (start, lead) in starts.into_iter().zip(leads) {
            if let Some(lead) = lead.filter(|lead| lead.is_damaged) {
                damaged.add(start..start + lead.picture_seconds);
            }
        }
        let [_, tail] = leads;
        decoded = tail.map(|lead| (starts[1] - lead.seconds).max(end)..starts[1]);
        end += encoded_seconds + copied_seconds;
    }
    Ok(Clip {
        content: Content::Stream(clip.stream().boxed()),
        method: Method::SmartCut {
            facts: smart_cut.facts(),
            encoded: encoded(lengths.into_iter()),
            decoded,
            dropped: smart_cut.dropped(),
        },
        damaged: Some(damaged).filter(|damaged| !damaged.is_none()),
    })
}

/// A clip whose pictures are all encoded.
struct EncodedWhole<'a> {
    look: Look<'a>,
    spec: &'a ClipSpec,
    /// The windows.
    names: &'a [String],
    /// The inputs: the windows and the overlay.
    files: &'a [Input],
    arguments: Vec<OsString>,
    /// How many pictures the first window shows.
    frames: u64,
    remuxer: Remuxer<'a>,
    begun: Instant,
}

impl EncodedWhole<'_> {
    /// Encodes. If `FFmpeg` gives up, finds the damage and encodes past it. Returns the damage.
    async fn run(&self) -> Result<Option<Damaged>, ClipError> {
        let (given_up, damaged) = match self.encode(&[]).await {
            Ok(()) if self.lacks_pictures().await? => (None, self.survey().await?),
            Ok(()) => match survey::survey_leads(self.names, self.spec, self.left()).await {
                // The clip is made.
                Err(error) if error.kind == ErrorKind::TrimBudgetExceeded => return Ok(None),
                damaged => (None, damaged?),
            },
            Err(error) if error.kind == ErrorKind::UnsupportedMedia => {
                (Some(error), self.survey().await?)
            }
            Err(error) => return Err(error),
        };
        self.look.damage.check(&damaged)?;
        match given_up {
            // Whatever the cause, it is not in the source.
            Some(error) if damaged.is_none() => return Err(error),
            Some(_) => self.encode(&PLAY_ON).await?,
            None if damaged.is_none() => return Ok(None),
            None => {}
        }
        tracing::warn!(%damaged, "the source is damaged");
        Ok(Some(damaged))
    }

    async fn survey(&self) -> Result<Damaged, ClipError> {
        survey::survey(self.names, self.spec, self.left()).await
    }

    async fn encode(&self, options: &[&str]) -> Result<(), ClipError> {
        let Remuxer {
            ffmpeg,
            scratch,
            limits,
            ..
        } = self.left();
        let options = options.iter().map(OsString::from);
        let arguments: Vec<_> = options.chain(self.arguments.iter().cloned()).collect();
        ffmpeg
            .run(scratch.path(), self.files, &arguments, limits)
            .await
    }

    /// The same remuxer, limited to the remaining time.
    fn left(&self) -> Remuxer<'_> {
        let limits = self.remuxer.limits;
        let time = limits.time.saturating_sub(self.begun.elapsed());
        Remuxer {
            limits: Limits { time, ..limits },
            ..self.remuxer
        }
    }

    /// Whether fewer pictures were encoded than the window shows: a decoder may drop some silently.
    async fn lacks_pictures(&self) -> Result<bool, ClipError> {
        if self.spec.frame_rate.is_some() || self.look.format == Format::Webm {
            return Ok(false);
        }
        let name = self.look.format.file_name();
        let made = LocalFile::open(self.remuxer.scratch.file(name))?;
        Ok(Movie::read(&made).await?.facts.video.frames < self.frames)
    }
}

/// When the encoded pictures of cuts are shown, one cut after the other. Each is given as the lengths of its encoded
/// head, its copy and its encoded tail, in seconds.
fn encoded(cuts: impl Iterator<Item = (f64, f64, f64)>) -> Vec<Interval> {
    let (mut encoded, mut time) = (Vec::<Interval>::new(), 0.0);
    for (head, copy, tail) in cuts {
        let copied = time + head..time + head + copy;
        let end = copied.end + tail;
        for (start_seconds, end_seconds) in [(time, copied.start), (copied.end, end)] {
            if end_seconds - start_seconds < SHORTEST_SECONDS {
                continue;
            }
            // A tail and the head that follows it form one interval.
            match encoded.last_mut() {
                Some(last) if start_seconds - last.end_seconds < SHORTEST_SECONDS => {
                    last.end_seconds = end_seconds;
                }
                _ => encoded.push(Interval {
                    start_seconds,
                    end_seconds,
                }),
            }
        }
        time = end;
    }
    encoded
}

impl Method {
    /// How a clip's outcome describes it.
    #[must_use]
    pub fn cutting(&self) -> Cutting {
        match self {
            Self::Copy => Cutting::Copy,
            Self::SmartCut { encoded, .. } => Cutting::SmartCut {
                encoded: encoded.clone(),
            },
            Self::EncodedWhole { .. } => Cutting::EncodedWhole,
        }
    }
}

/// Writes windows as files of the working folder; returns their names.
async fn save<S: RangeRead>(
    windows: &[Window],
    ranges: &[RemuxedRange<S>],
    scratch: &Scratch,
) -> Result<Vec<String>, ClipError> {
    let save = windows
        .iter()
        .zip(ranges)
        .enumerate()
        .map(async |(index, (window, range))| {
            let name = format!("window-{index}.mp4");
            scratch
                .save(&name, window.stream(&range.samples, CONNECTIONS))
                .await?;
            Ok::<_, ClipError>(name)
        });
    stream::iter(save)
        .buffered(WINDOWS_AT_ONCE)
        .try_collect()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_and_the_head_behind_it_are_one_encoded_interval() {
        let cuts = [(0.5, 2.0, 0.25), (0.25, 1.0, 0.0), (0.0, 3.0, 1.0)];
        let encoded = encoded(cuts.into_iter());
        let intervals = encoded
            .iter()
            .map(|interval| (interval.start_seconds, interval.end_seconds));
        assert_eq!(
            intervals.collect::<Vec<_>>(),
            [(0.0, 0.5), (2.5, 3.0), (7.0, 8.0)]
        );
    }
}
