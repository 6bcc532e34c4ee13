//! Reads the delivered clip back, compares it with the request, and decodes a little of it.
//!
//! Raises `DeliveryMismatch`, saying what differs or does not decode, and `UnsupportedMedia` if the clip's first
//! picture does not decode in the source either, or if the request refuses damaged sources. No clip is announced as
//! available before this step has checked it.

mod decoding;
mod found;
mod task;
mod webm;

use aws::source::S3Source;
use decoding::Decoding;
use ffmpeg::{remux::Samples, scratch::Scratch};
use found::Found;
use model::{
    ClipError,
    damage::Damaged,
    expected::Expected,
    outcome::{Delivered, DeliveredSegment, EngineName},
    plan::{Plan, ProbedSource},
    request::{Cut, Format, Source},
};
use mp4_cut::{Movie, PixelFormat};
pub use task::{Deps, Input};

/// Reads the clip's index, compares, and decodes a little of the clip.
///
/// # Errors
/// See the module; `DependencyUnavailable` if S3 does not answer.
pub async fn handle(deps: &Deps, input: Input) -> Result<Delivered, ClipError> {
    let at = Source {
        bucket: deps.bucket.clone(),
        key: input.clip.object.key.clone(),
    };
    let source = S3Source::pin(deps.s3.clone(), &at)
        .await
        .map_err(unreadable)?;
    let (object, made) = (source.object().clone(), &input.clip.object);
    if (object.bytes, object.etag.trim_matches('"')) != (made.bytes, &made.etag) {
        return Err(ClipError::delivery_mismatch(format!(
            "the clip had {} bytes when it was made and has {}",
            made.bytes, object.bytes
        )));
    }
    let scratch = Scratch::new(0, deps.scratch_bytes)?;
    let read = read(deps, source, input.request.format, &scratch).await;
    let (found, file) = read.map_err(unreadable)?;
    let expected = Expected::of(&input.request, &input.probe, input.engine.name)?;
    let expected = match &input.clip.damaged {
        Some(damaged) => expected.of_damaged(damaged),
        None => expected,
    };
    found.compare(&expected)?;
    let decoding = Decoding {
        deps,
        input: &input,
        found: &found,
        scratch: &scratch,
    };
    let (damaged, undecoded) = Box::pin(decoding.check(file)).await?;
    input.request.damage.check(&damaged)?;
    Ok(delivered(&input, found, expected, damaged, undecoded))
}

/// What the sources have and the clip does not, for people.
fn dropped(input: &Input, kept_audio_tracks: usize) -> Vec<String> {
    let mut dropped = input.probe.dropped(kept_audio_tracks);
    let is_copy = input.engine.name == EngineName::Trim && input.request.cut == Cut::Copy;
    let mut sources = input.probe.sources.iter();
    let has_metadata = |source: &ProbedSource| {
        let pixels = source.facts.video.pixels.as_ref();
        pixels.is_some_and(|pixels| pixels.dolby_vision)
    };
    if !is_copy && sources.any(has_metadata) {
        dropped.push("metadata of Dolby Vision".to_owned());
    }
    dropped
}

/// What the clip is, and where its bytes are.
async fn read(
    deps: &Deps,
    source: S3Source,
    format: Format,
    scratch: &Scratch,
) -> Result<(Found, Samples<S3Source>), ClipError> {
    Ok(match format {
        Format::Webm => {
            let (found, file) = webm::read(&source, scratch, deps.scratch_bytes).await?;
            (found, Samples::File(file))
        }
        Format::Mp4 | Format::Hevc | Format::Source => {
            let found = Found::of(&Movie::read_edits(&source).await?)?;
            (found, Samples::Source(source))
        }
    })
}

/// A clip that cannot be read is not what was requested, whatever the reader's own error is.
fn unreadable(error: ClipError) -> ClipError {
    if error.kind.is_rejection() {
        ClipError::delivery_mismatch(error.message)
    } else {
        error
    }
}

/// Which interval of which source the clip shows, if there are several.
fn segments(plan: &Plan) -> Vec<DeliveredSegment> {
    if plan.segments.len() < 2 {
        return Vec::new();
    }
    // A request names its own sources.
    let recording = |source: usize| {
        let is_camera = plan.coverage.is_some();
        is_camera.then(|| plan.sources[source].object.key.clone())
    };
    let segments = plan.segments.iter().map(|segment| DeliveredSegment {
        recording: recording(segment.source),
        start: segment.window.start_seconds,
        end: segment.window.end_seconds,
    });
    segments.collect()
}

fn delivered(
    input: &Input,
    found: Found,
    expected: Expected,
    damaged: Damaged,
    undecoded: Option<String>,
) -> Delivered {
    let kept_audio_tracks = if input.request.edits.mute {
        usize::MAX
    } else {
        found.audio_tracks
    };
    let (first, last) = (input.probe.segments.first(), input.probe.segments.last());
    let source_pixels = input
        .probe
        .first_video()
        .and_then(|video| video.pixels.clone());
    let mut conformed = expected.conformed;
    let is_hdr = |pixels: &Option<PixelFormat>| pixels.as_ref().is_some_and(PixelFormat::is_hdr);
    if is_hdr(&source_pixels) && !is_hdr(&found.pixels) {
        conformed.push("high dynamic range to SDR".to_owned());
    }
    Delivered {
        start: first.map_or(0.0, |segment| segment.window.start_seconds),
        end: last.map_or(0.0, |segment| segment.window.end_seconds),
        segments: segments(&input.probe),
        duration_seconds: found.seconds,
        frames: found.frames(),
        width: found.size.width,
        height: found.size.height,
        video_codec: found.video_codec,
        audio_codec: found.audio_codec,
        pixels: found.pixels,
        source_pixels,
        coverage: input.probe.coverage.clone(),
        conformed,
        damaged: Some(damaged).filter(|damaged| !damaged.is_none()),
        undecoded,
        dropped: dropped(input, kept_audio_tracks),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A plan of intervals of two sources.
    fn plan(cuts: &[(usize, f64, f64)]) -> Value {
        let video = json!({"codec": "h264", "codedWidth": 2, "codedHeight": 2, "width": 2, "height": 2,
            "rotationDegrees": 0, "frameRate": 25.0, "constantFrameRate": true, "timescale": 25, "frames": 250,
            "startSeconds": 0.0, "durationSeconds": 10.0, "bitRate": 1});
        let facts = json!({"container": "isom", "bytes": 1, "indexStart": 0, "indexBytes": 1,
            "durationSeconds": 10.0, "video": video, "audio": null, "droppedTracks": []});
        let source = |key: &str| json!({"object": {"bucket": "b", "key": key, "etag": "e", "bytes": 1}, "facts": facts});
        let segment = |(source, start, end): &(usize, f64, f64)| {
            let window = json!({"startSeconds": start, "endSeconds": end, "durationSeconds": end - start,
                "frames": 25, "prerollFrames": 0, "keyframeSeconds": 0.0, "nextKeyframeSeconds": null,
                "hasAudio": false, "timescale": 25, "outputBytes": 1, "sourceBytes": 1});
            json!({"source": source, "window": window})
        };
        let segments: Vec<_> = cuts.iter().map(segment).collect();
        json!({"sources": [source("a.mp4"), source("b.mp4")], "segments": segments})
    }

    #[test]
    fn clip_of_several_intervals_says_which() {
        let said = |plan: Value| {
            let plan = serde_json::from_value(plan).expect("a plan");
            serde_json::to_value(segments(&plan)).expect("JSON")
        };
        assert_eq!(said(plan(&[(0, 1.0, 2.0)])), json!([]));
        let mut two = plan(&[(0, 1.0, 2.0), (1, 0.0, 0.48)]);
        assert_eq!(
            said(two.clone()),
            json!([{"start": 1.0, "end": 2.0}, {"start": 0.0, "end": 0.48}])
        );
        two["coverage"] = json!({"covered": [], "missing": []});
        assert_eq!(said(two)[1]["recording"], "b.mp4");
    }
}
