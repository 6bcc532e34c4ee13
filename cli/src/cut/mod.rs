//! `clipflow cut`: the workflow's cuts on this machine, without AWS.
//!
//! Until the clip is complete, everything is written to a folder next to it; then the clip is renamed to its final
//! path. The folder is removed however the command ends.

mod http;
mod progress;
mod source;

use crate::{deployment::Target, failure::Failure, render};
use ffmpeg::{
    check::{self, Clip},
    clip::{self, Content, Method},
    damage,
    process::{self, Ffmpeg, Limits},
    remux::{Media, RemuxedRange, Remuxer},
    scratch::Scratch,
};
use lambda::environment;
use model::{
    ClipError,
    damage::{Damaged, OnDamage},
    edits::Edits,
    plan::{Plan, PlannedSegment, ProbedSource},
    quality::Quality,
    request::{Cut, Format, Look},
    time::Time,
};
use mp4_cut::{
    Movie, SmartCutFacts,
    io::{CachedSource, LocalFile},
};
use progress::Progress;
use serde::Serialize;
use source::Source;
use std::{
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempPath;
use tokio::signal::unix::{SignalKind, signal};

/// The variable that names the program.
const FFMPEG: &str = "CLIPFLOW_FFMPEG";
/// File extensions of containers that clips are never in.
const OTHER_CONTAINERS: [&str; 6] = ["avi", "gif", "mkv", "mpg", "ts", "webm"];
/// On the user's own machine, `FFmpeg` is not limited.
const LIMITS: Limits = Limits {
    time: Duration::MAX,
    file_bytes: u64::MAX,
};

/// Cut a clip on this machine, without AWS
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  clipflow cut surf.mp4 --start 1:12.5 --end 1:30 -o clip.mp4
  clipflow cut https://example.com/surf.mp4 --start 25% --end 50% -o clip.mp4
  clipflow cut s3://surf-archive/2018-08-02.mp4 --start 72.5 --end 90 --copy -o clip.mp4
  clipflow cut phone.mov --start 3 --end 9 --format source -o clip.mp4

The clip is an MP4. Only the index and the clip's own bytes are read from a server. Both ends snap to the nearest frame. \
An exact clip of H.264 re-encodes only the frames before its first keyframe, and the sound; with --format hevc or source, \
so does one of HEVC. Other sources are re-encoded whole, and HDR becomes SDR where the clip is H.264. Players that ignore \
edit lists show up to a group of pictures before the start of a --copy.

FFmpeg 7.0 or newer, on the PATH or named by CLIPFLOW_FFMPEG, is needed to encode and to read MPEG-TS, MPEG-PS, \
Matroska, WebM, AVI and FLV. S3 objects are read with the credentials and region of the AWS CLI, or with --profile and \
--region.")]
pub struct Args {
    #[arg(help = "A file, an http(s) URL, or s3://BUCKET/KEY")]
    source: String,
    /// Where the clip starts: 72.5, 1:12.5, 00:01:12.500 or 25%
    #[arg(long, value_name = "TIME")]
    start: Time,
    /// Where it ends (exclusive)
    #[arg(long, value_name = "TIME")]
    end: Time,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Copy without encoding; starts at a keyframe, hidden by an edit list
    #[arg(long)]
    copy: bool,
    /// The codec of an exact clip
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        conflicts_with = "copy"
    )]
    format: ClipFormat,
    /// Overwrite FILE
    #[arg(long, short)]
    force: bool,
}

/// What an exact clip is in: formats of requests whose clips are MP4s.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum ClipFormat {
    /// H.264, which plays everywhere
    #[default]
    Mp4,
    /// HEVC
    Hevc,
    /// The source's codec if it is H.264 or HEVC and its frames can be kept; otherwise H.264
    Source,
}

impl From<ClipFormat> for Format {
    fn from(format: ClipFormat) -> Self {
        match format {
            ClipFormat::Mp4 => Self::Mp4,
            ClipFormat::Hevc => Self::Hevc,
            ClipFormat::Source => Self::Source,
        }
    }
}

/// How a clip was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum How {
    Copy,
    SmartCut,
    EncodedWhole,
}

/// A report of what was made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    source: String,
    source_bytes: u64,
    read_bytes: u64,
    file: PathBuf,
    bytes: u64,
    method: How,
    /// Why it was encoded whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    start_seconds: f64,
    end_seconds: f64,
    duration_seconds: f64,
    frames: u64,
    /// Frames before the start that a copy contains, hidden from players that honour edit lists.
    hidden_frames: u64,
    copied_seconds: f64,
    encoded_seconds: f64,
    /// What the source has and the clip does not, for people.
    dropped_tracks: Vec<String>,
    /// Its damage in the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<Damaged>,
    elapsed_seconds: f64,
}

/// Cuts the clip, unless a signal arrives first.
pub async fn run(target: &Target, args: Args, json: bool) -> Result<(), Failure> {
    let progress = Progress::new();
    let report = tokio::select! {
        report = cut(target, args, &progress) => report?,
        signal = first_signal() => return Err(signal?),
        never = progress.show() => match never {},
    };
    progress.clear();
    if json {
        render::json(&report);
    } else {
        render::say(text(&report));
    }
    Ok(())
}

/// Waits for a signal that interrupts commands.
async fn first_signal() -> Result<Failure, Failure> {
    let listen =
        |kind| signal(kind).map_err(|error| Failure::new(format!("listening to signals: {error}")));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    let kind = tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt(),
        _ = terminate.recv() => SignalKind::terminate(),
        _ = hang_up.recv() => SignalKind::hangup(),
    };
    Ok(Failure::interrupted(
        u8::try_from(kind.as_raw_value()).unwrap_or(0),
    ))
}

async fn cut(target: &Target, args: Args, progress: &Progress) -> Result<Report, Failure> {
    let begun = Instant::now();
    check_output(&args)?;
    let ffmpeg = match find_ffmpeg().await {
        Err(why) if args.copy => Ffmpeg::missing(why),
        found => found?,
    };
    let folder = args
        .output
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let scratch = Scratch::within(folder.unwrap_or(Path::new(".")))?;
    let remuxer = Remuxer {
        ffmpeg: &ffmpeg,
        scratch: &scratch,
        limits: LIMITS,
        max_whole_bytes: u64::MAX,
    };
    let source = Source::open(&args.source, target, progress.read_bytes.clone()).await?;
    let name = source.name.clone();
    let media = Media::open(source, remuxer).await?;
    let (ranges, segments) = find_windows(&media, &args, remuxer, progress).await?;
    let plan = Plan {
        sources: vec![ProbedSource {
            object: name,
            facts: media.facts,
        }],
        segments,
        coverage: None,
        watermark: None,
        encodes_hevc_whole: false,
    };
    let watched = ffmpeg
        .clone()
        .watched(progress.encoded_microseconds.clone());
    let encoder = Remuxer {
        ffmpeg: &watched,
        ..remuxer
    };
    let (file, method, damaged) = make(&args, &plan, &ranges, encoder).await?;
    let bytes = put(file, &args)?;
    let report = Report::of(&plan, method, args.output, bytes);
    Ok(Report {
        damaged,
        read_bytes: progress.read_bytes(),
        elapsed_seconds: begun.elapsed().as_secs_f64(),
        ..report
    })
}

/// Makes the clip. Returns its file in the working folder, how it was made, and what of it is damaged in the source.
async fn make(
    args: &Args,
    plan: &Plan<String>,
    ranges: &[RemuxedRange<Source>],
    remuxer: Remuxer<'_>,
) -> Result<(PathBuf, Method, Option<Damaged>), ClipError> {
    let look = Look {
        cut: if args.copy { Cut::Copy } else { Cut::Exact },
        edits: &Edits::default(),
        format: args.format.into(),
        quality: Quality::default(),
        frame_rate: None,
        damage: OnDamage::Accept,
    };
    let made = clip::make(look, plan, ranges, None, remuxer).await?;
    let file = complete(made.content, remuxer.scratch).await?;
    let mut damaged = made.damaged.unwrap_or_default();
    if made.method.copies() {
        let is_damaged = !damaged.is_none();
        let found = found_damaged(&file, &made.method, is_damaged, remuxer).await?;
        damaged = damaged.with(found);
    }
    let damaged = Some(damaged).filter(|damaged| !damaged.is_none());
    Ok((file, made.method, damaged))
}

/// The parts of the source that the clip is made from, and how each is cut.
async fn find_windows(
    media: &Media<Source>,
    args: &Args,
    remuxer: Remuxer<'_>,
    progress: &Progress,
) -> Result<(Vec<RemuxedRange<Source>>, Vec<PlannedSegment>), ClipError> {
    let duration = media.facts.duration_seconds;
    let interval = (args.start.resolve(duration), args.end.resolve(duration));
    if media.is_remuxed() {
        progress.plan(media.bytes_of(interval.1 - interval.0), 0.0);
    }
    let (ranges, segments) = plan(media, interval, remuxer).await?;
    let windows = || segments.iter().map(|segment| &segment.window);
    let to_read = if media.is_remuxed() {
        0
    } else {
        windows().map(|window| window.source_bytes).sum()
    };
    let seconds = windows().map(|window| window.duration_seconds).sum();
    progress.plan(to_read, seconds);
    Ok((ranges, segments))
}

/// The cuts for an interval of a source. For a source that consists of pieces, one for each piece that has a frame of
/// it.
async fn plan(
    media: &Media<Source>,
    interval: (f64, f64),
    remuxer: Remuxer<'_>,
) -> Result<(Vec<RemuxedRange<Source>>, Vec<PlannedSegment>), ClipError> {
    let parts = media.parts(interval);
    let (mut ranges, mut segments) = (Vec::new(), Vec::new());
    let (mut error, is_one) = (None, parts.len() == 1);
    for part in parts {
        let range = media
            .remuxed_range(part, None, "excerpt.mp4", remuxer)
            .await?;
        match range.movie.window(part.0, part.1) {
            Ok(window) => {
                segments.push(PlannedSegment {
                    source: 0,
                    window: window.facts,
                    smart_cut: None,
                    lead_seconds: range.lead_seconds,
                });
                ranges.push(range);
            }
            Err(why @ mp4_cut::Error::Interval { .. }) if !is_one => error = Some(why),
            Err(why) => return Err(why.into()),
        }
    }
    match error {
        Some(why) if segments.is_empty() => Err(why.into()),
        _ => Ok((ranges, segments)),
    }
}

/// Refuses to overwrite a file, or to write a container that contradicts the file name.
fn check_output(args: &Args) -> Result<(), Failure> {
    let file = &args.output;
    let ending = file
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    if OTHER_CONTAINERS.contains(&ending.to_ascii_lowercase().as_str()) {
        return Err(Failure::usage(format!(
            "{}: a clip is an MP4; give it a name that ends in .mp4",
            file.display()
        )));
    }
    if file.is_dir() {
        return Err(Failure::usage(format!("{} is a folder", file.display())));
    }
    if file.exists() && !args.force {
        return Err(exists(file));
    }
    Ok(())
}

fn exists(file: &Path) -> Failure {
    Failure::usage(format!("{} exists; --force overwrites it", file.display()))
}

async fn find_ffmpeg() -> Result<Ffmpeg, ClipError> {
    let named = environment::optional(FFMPEG).map(PathBuf::from);
    let program = named.or_else(process::on_path).ok_or_else(|| {
        ClipError::internal(format!(
            "this needs FFmpeg, which is not on the PATH. Install it (Debian and Ubuntu: apt install ffmpeg; macOS: \
             brew install ffmpeg; others: https://ffmpeg.org/download.html), or name the program in {FFMPEG}. Copying \
             from an MP4 or MOV with --copy does not need it"
        ))
    })?;
    // It is run in other folders.
    let program = std::path::absolute(&program).unwrap_or(program);
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ffmpeg::at(program, u32::try_from(threads).unwrap_or(1)).await
}

/// Completes the clip in the working folder. Returns its file.
async fn complete(content: Content<'_>, scratch: &Scratch) -> Result<PathBuf, ClipError> {
    Ok(match content {
        Content::File(file) => file,
        Content::Stream(stream) => {
            scratch.save("finished.mp4", stream).await?;
            scratch.file("finished.mp4")
        }
    })
}

/// The damage in a clip with copied pictures. Its first and its last second are checked, unless they were just encoded,
/// or decoded for that without damage.
async fn found_damaged(
    file: &Path,
    method: &Method,
    is_damaged: bool,
    Remuxer {
        ffmpeg, scratch, ..
    }: Remuxer<'_>,
) -> Result<Damaged, ClipError> {
    if ffmpeg.is_missing() {
        return Ok(Damaged::default());
    }
    let file = LocalFile::open(file)?;
    let pieces = Movie::read_edits(&file).await?;
    let (shown, leads, frames_behind) = check::pictures(&pieces)?;
    let Some((first, last)) = pieces.first().zip(pieces.last()) else {
        return Ok(Damaged::default());
    };
    let start = shown.first().map_or(0.0, |frame| frame.seconds);
    let known: Vec<_> = match method {
        Method::SmartCut {
            encoded, decoded, ..
        } if !is_damaged => encoded
            .iter()
            .map(|part| part.start_seconds..part.end_seconds)
            .chain(decoded.clone())
            .map(|part| start + part.start..start + part.end)
            .collect(),
        _ => Vec::new(),
    };
    let clip = Clip {
        file: CachedSource::new(file),
        demuxer: "mov",
        codec: &first.facts.video.codec,
        shown: &shown,
        leads: &leads,
        frames_behind,
        end_seconds: last.origin_seconds() + last.facts.duration_seconds,
        known: &known,
    };
    let checked = clip.check(&[], ffmpeg, scratch.path()).await?;
    damage::check_first(&checked.flaws, &checked.complaints)?;
    Ok(clip.damaged(&checked))
}

/// Renames the clip to its final path. Returns its length.
fn put(made: PathBuf, args: &Args) -> Result<u64, Failure> {
    let file = &args.output;
    let failed = |error: io::Error| Failure::new(format!("writing {}: {error}", file.display()));
    let bytes = made.metadata().map_err(failed)?.len();
    let made = TempPath::try_from_path(made).map_err(failed)?;
    if args.force {
        made.persist(file).map_err(|error| failed(error.error))?;
    } else {
        made.persist_noclobber(file)
            .map_err(|error| match error.error.kind() {
                io::ErrorKind::AlreadyExists => exists(file),
                _ => failed(error.error),
            })?;
    }
    Ok(bytes)
}

impl Report {
    fn of(plan: &Plan<String>, method: Method, file: PathBuf, bytes: u64) -> Self {
        let mut dropped_tracks = plan.dropped(usize::MAX);
        let (Some(source), Some(first), Some(last)) = (
            plan.sources.first(),
            plan.segments.first(),
            plan.segments.last(),
        ) else {
            unreachable!("the plan has one source and a segment of it")
        };
        let windows = || plan.segments.iter().map(|segment| &segment.window);
        let all = windows().map(|window| window.duration_seconds).sum();
        let (how, why, copied_seconds, encoded_seconds) = match method {
            Method::Copy => (How::Copy, None, all, 0.0),
            Method::SmartCut { facts, dropped, .. } => {
                dropped_tracks.extend(dropped.map(str::to_owned));
                let SmartCutFacts {
                    encoded_seconds,
                    copied_seconds,
                } = facts;
                (How::SmartCut, None, copied_seconds, encoded_seconds)
            }
            Method::EncodedWhole { why } => (How::EncodedWhole, Some(why), 0.0, all),
        };
        Self {
            source: source.object.clone(),
            source_bytes: source.facts.bytes,
            read_bytes: 0,
            file,
            bytes,
            method: how,
            why,
            start_seconds: first.window.start_seconds,
            end_seconds: last.window.end_seconds,
            duration_seconds: all,
            frames: windows().map(|window| window.frames).sum(),
            hidden_frames: if how == How::Copy {
                windows().map(|window| window.preroll_frames).sum()
            } else {
                0
            },
            copied_seconds,
            encoded_seconds,
            dropped_tracks,
            damaged: None,
            elapsed_seconds: 0.0,
        }
    }
}

/// A report, for people.
fn text(report: &Report) -> String {
    let how = match report.method {
        How::Copy if report.hidden_frames > 0 => format!(
            "copied; edit lists hide {} frames from before the start",
            report.hidden_frames
        ),
        How::Copy => "copied".to_owned(),
        How::SmartCut => format!(
            "{:.3} s encoded, {:.3} s copied",
            report.encoded_seconds, report.copied_seconds
        ),
        How::EncodedWhole => {
            let why = render::plain(report.why.as_deref().unwrap_or_default());
            format!("encoded whole, because {why}")
        }
    };
    let mut lines = vec![
        format!(
            "{}: {} frames, {:.3} s from {:.3} s on, {}",
            report.file.display(),
            report.frames,
            report.duration_seconds,
            report.start_seconds,
            render::bytes(report.bytes)
        ),
        how,
        format!(
            "read {} of the source's {} in {:.1} s",
            render::bytes(report.read_bytes),
            render::bytes(report.source_bytes),
            report.elapsed_seconds
        ),
    ];
    if !report.dropped_tracks.is_empty() {
        let dropped = render::plain(&report.dropped_tracks.join(", "));
        lines.push(format!("left out: {dropped}"));
    }
    if let Some(damaged) = &report.damaged {
        lines.push(format!("damaged in the source: {damaged}"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            source: "surf.mp4".into(),
            source_bytes: 734_003_200,
            read_bytes: 1_234_567,
            file: "clip.mp4".into(),
            bytes: 907_936,
            method: How::SmartCut,
            why: None,
            start_seconds: 1.2,
            end_seconds: 4.2,
            duration_seconds: 3.0,
            frames: 75,
            hidden_frames: 0,
            copied_seconds: 2.76,
            encoded_seconds: 0.24,
            dropped_tracks: Vec::new(),
            damaged: None,
            elapsed_seconds: 0.92,
        }
    }

    #[test]
    fn report_says_what_was_read_copied_and_encoded() {
        assert_eq!(
            text(&report()),
            "clip.mp4: 75 frames, 3.000 s from 1.200 s on, 907.94 kB\n\
             0.240 s encoded, 2.760 s copied\n\
             read 1.23 MB of the source's 734.00 MB in 0.9 s"
        );
    }

    #[test]
    fn report_says_what_is_hidden_left_out_and_why_all_was_encoded() {
        let copy = Report {
            method: How::Copy,
            hidden_frames: 30,
            dropped_tracks: vec!["time code".into()],
            damaged: Some(Damaged {
                audio: true,
                ..Damaged::default()
            }),
            ..report()
        };
        let said = text(&copy);
        assert!(
            said.contains("copied; edit lists hide 30 frames from before the start"),
            "{said}"
        );
        assert!(
            said.ends_with("left out: time code\ndamaged in the source: its sound"),
            "{said}"
        );
        let whole = Report {
            method: How::EncodedWhole,
            why: Some("the source is mpeg4".into()),
            ..report()
        };
        let said = text(&whole);
        assert!(
            said.contains("encoded whole, because the source is mpeg4"),
            "{said}"
        );
    }
}
