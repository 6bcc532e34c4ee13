//! Makes a clip out of the cuts of its sources. A copy encodes nothing. An exact clip is a smart cut where the sources
//! are made for one, and otherwise encoded whole.

use crate::{
    encode,
    process::Input,
    remux::{RemuxedRange, Remuxer},
    scratch::Scratch,
    smart,
};
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use model::{
    ClipError,
    clip_spec::ClipSpec,
    error::why_encoded_whole,
    plan::Plan,
    request::{Cut, Format, Look},
};
use mp4_cut::{Join, SmartCutFacts, Window, io::RangeRead};
use std::{fmt, path::PathBuf};

/// Ranged reads of a source that are under way at once.
const CONNECTIONS: usize = 4;
/// Windows that are fetched at once.
const WINDOWS_AT_ONCE: usize = 4;

/// A clip that was made, and is not yet where it belongs.
pub struct Clip<'a> {
    /// The file.
    pub content: Content<'a>,
    /// How it was made.
    pub method: Method,
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
        /// How many seconds of them were not.
        facts: SmartCutFacts,
        /// What the source has and the clip does not.
        dropped: Option<&'static str>,
    },
    /// All pictures were encoded.
    EncodedWhole {
        /// Why none could be copied.
        why: String,
    },
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

/// Makes the clip of `plan` that is to look like `look`. `ranges` are what the plan's segments are cut out of, in order; `watermark`
/// puts its watermark into the working folder, and is awaited only if it is needed.
///
/// # Errors
/// `InvalidRequest` when copies cannot be joined, whatever a source raises, and what
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
        }),
        Cut::Exact => encode(look, plan, ranges, watermark, remuxer).await,
    }
}

async fn copy<'a, O, S: RangeRead>(
    plan: &Plan<O>,
    ranges: &'a [RemuxedRange<S>],
) -> Result<BoxStream<'a, mp4_cut::Result<Bytes>>, ClipError> {
    if let [range] = ranges {
        let window = windows(plan, ranges)?.remove(0);
        return Ok(window.stream(&range.samples, CONNECTIONS).boxed());
    }
    let intervals: Vec<_> = ranges
        .iter()
        .zip(&plan.segments)
        .map(|(range, segment)| {
            let facts = &segment.window;
            (&range.movie, facts.start_seconds, facts.end_seconds)
        })
        .collect();
    let read_from: Vec<_> = ranges.iter().map(|range| &range.samples).collect();
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

/// Encodes as little of the windows of a clip as what is asked for and the sources allow.
async fn encode<'a, O, S: RangeRead>(
    look: Look<'_>,
    plan: &Plan<O>,
    ranges: &[RemuxedRange<S>],
    watermark: Option<BoxFuture<'_, Result<Input, ClipError>>>,
    Remuxer {
        ffmpeg,
        scratch,
        limits,
        ..
    }: Remuxer<'_>,
) -> Result<Clip<'a>, ClipError> {
    let spec = ClipSpec::of(look, plan)?;
    let windows = windows(plan, ranges)?;
    let names = save(&windows, ranges, scratch).await?;
    let mut why = if !look.may_keep_pictures() {
        "what is asked for changes every picture".to_owned()
    } else if let Some(why) = spec.why_no_copies() {
        why.to_owned()
    } else if plan.encodes_hevc_whole {
        "this deployment makes no smart cuts of HEVC".to_owned()
    } else {
        match smart::cut(
            ffmpeg,
            scratch,
            &names,
            spec.audio,
            (look.format, look.quality),
            limits,
        )
        .await
        {
            Ok((smart_cut, clip)) => {
                let (facts, dropped) = (smart_cut.facts(), smart_cut.dropped());
                return Ok(Clip {
                    content: Content::Stream(clip.stream().boxed()),
                    method: Method::SmartCut { facts, dropped },
                });
            }
            Err(error) => why_encoded_whole(error)?,
        }
    };
    if look.format == Format::Source {
        why.push_str(", so the clip is H.264");
    }
    tracing::info!(why, "encoding all of it");
    let mut files: Vec<_> = names.into_iter().map(Input::mp4).collect();
    if let Some(watermark) = watermark {
        files.push(watermark.await?);
    }
    let arguments = encode::arguments(look, &spec, &windows[0]);
    ffmpeg
        .run(scratch.path(), &files, &arguments, limits)
        .await?;
    Ok(Clip {
        content: Content::File(scratch.file(look.format.file_name())),
        method: Method::EncodedWhole { why },
    })
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
