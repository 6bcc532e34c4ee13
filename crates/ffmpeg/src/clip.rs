//! Makes a clip out of the cuts of its sources. A copy encodes nothing. An exact clip is a smart cut where the sources
//! are made for one, and otherwise encoded whole.

use crate::{
    encode, pixels,
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
    outcome::{Cutting, Interval},
    plan::Plan,
    request::{Cut, Format, Look},
};
use mp4_cut::{Join, SmartCutFacts, Window, io::RangeRead};
use std::{fmt, path::PathBuf};

/// Ranged reads of a source that are under way at once.
const CONNECTIONS: usize = 4;
/// No picture is shown for so short a time, in seconds.
const SHORTEST_SECONDS: f64 = 1e-6;
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
        /// When the encoded pictures are shown, in seconds of the clip.
        encoded: Vec<Interval>,
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
            content: Content::Stream(copy(plan, ranges)?),
            method: Method::Copy,
        }),
        Cut::Exact => encode(look, plan, ranges, watermark, remuxer).await,
    }
}

fn copy<'a, O, S: RangeRead>(
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
    let read_from = ranges.iter().map(|range| &range.samples).collect();
    Ok(Join::of(&intervals)?.stream(read_from, CONNECTIONS).boxed())
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
                let encoded = encoded(smart_cut.cuts.iter().map(|cut| {
                    let SmartCutFacts {
                        encoded_seconds,
                        copied_seconds,
                    } = cut.facts;
                    (
                        cut.head_seconds,
                        copied_seconds,
                        encoded_seconds - cut.head_seconds,
                    )
                }));
                return Ok(Clip {
                    content: Content::Stream(clip.stream().boxed()),
                    method: Method::SmartCut {
                        facts,
                        encoded,
                        dropped,
                    },
                });
            }
            Err(error) => why_encoded_whole(error)?,
        }
    };
    if look.format == Format::Source {
        why.push_str(", so the clip is H.264");
    }
    if pixels::has_hdr10_plus(&scratch.file(&names[0])).await? {
        why.push_str("; the metadata of HDR10+ is dropped");
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

/// When the encoded pictures of cuts are shown, one cut after the other. Of each, how long its encoded head, its copy and
/// its encoded tail are, in seconds.
fn encoded(cuts: impl Iterator<Item = (f64, f64, f64)>) -> Vec<Interval> {
    let (mut encoded, mut time) = (Vec::<Interval>::new(), 0.0);
    for (head, copy, tail) in cuts {
        let copied = time + head..time + head + copy;
        let end = copied.end + tail;
        for (start_seconds, end_seconds) in [(time, copied.start), (copied.end, end)] {
            if end_seconds - start_seconds < SHORTEST_SECONDS {
                continue;
            }
            // A tail that a head follows is one interval with it.
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
    /// What a clip's outcome says of it.
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
