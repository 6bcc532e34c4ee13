//! Clips as clipflow makes them.

use crate::{
    common::{
        ffmpeg::{Folder, load},
        property::runtime,
        source::LIMITS,
    },
    report::Report,
};
use bytes::Bytes;
use ffmpeg::{
    clip::{self, Content},
    process::Ffmpeg,
    remux::{Media, RemuxedRange, Remuxer},
    scratch::Scratch,
};
use futures::TryStreamExt;
use model::{
    ClipError,
    damage::OnDamage,
    edits::Edits,
    plan::{Plan, PlannedSegment, ProbedSource},
    quality::Quality,
    request::{Cut, Look},
};
use std::path::PathBuf;

/// Cuts like `clipflow cut` and the workflow's functions. Returns the clip and how it was made, or why there is none.
pub fn clipflow(
    report: &Report,
    sources: &[PathBuf],
    folder: &Folder,
) -> Result<(PathBuf, String), String> {
    let made = runtime().block_on(cut(report, sources, folder));
    made.map_err(|error| error.to_string())
}

async fn cut(
    report: &Report,
    sources: &[PathBuf],
    folder: &Folder,
) -> Result<(PathBuf, String), ClipError> {
    let ffmpeg = Ffmpeg::find()?;
    let scratch = Scratch::new(0, 0)?;
    let remuxer = Remuxer {
        ffmpeg: &ffmpeg,
        scratch: &scratch,
        limits: LIMITS,
        max_whole_bytes: 1 << 26,
    };
    let mut media = Vec::new();
    for source in sources {
        media.push(Media::open(load(source), remuxer).await?);
    }
    let (plan, ranges) = planned(report, media, remuxer).await?;
    let look = Look {
        cut: Cut::Exact,
        edits: &Edits::default(),
        format: report.format,
        quality: Quality::default(),
        frame_rate: None,
        damage: OnDamage::Accept,
    };
    let made = clip::make(look, &plan, &ranges, None, remuxer).await?;
    let bytes = match made.content {
        Content::File(file) => load(&file).to_vec(),
        Content::Stream(stream) => {
            let parts: Vec<Bytes> = stream.try_collect().await?;
            parts.concat()
        }
    };
    let clip = folder.path("clipflow.mp4");
    std::fs::write(&clip, bytes).expect("room for a clip");
    Ok((clip, made.method.to_string()))
}

async fn planned(
    report: &Report,
    media: Vec<Media<Bytes>>,
    remuxer: Remuxer<'_>,
) -> Result<(Plan<()>, Vec<RemuxedRange<Bytes>>), ClipError> {
    let (mut segments, mut ranges) = (Vec::new(), Vec::new());
    for (index, segment) in report.segments.iter().enumerate() {
        let interval = (segment.start, segment.end);
        let name = format!("excerpt-{index}.mp4");
        let range = media[segment.source]
            .remuxed_range(interval, None, &name, remuxer)
            .await?;
        segments.push(PlannedSegment {
            source: segment.source,
            window: range.movie.window(interval.0, interval.1)?.facts,
            smart_cut: None,
            lead_seconds: range.lead_seconds,
        });
        ranges.push(range);
    }
    let sources = media.into_iter().map(|media| ProbedSource {
        object: (),
        facts: media.facts,
    });
    let plan = Plan {
        sources: sources.collect(),
        segments,
        coverage: None,
        watermark: None,
        encodes_hevc_whole: false,
    };
    Ok((plan, ranges))
}
