//! Reads the delivered clip back and compares it with what was asked for.
//!
//! Raises `DeliveryMismatch`, saying what differs. Nothing is announced as available that this step has not seen.

use clipflow_core::{
    ClipError, aws, config,
    mediaconvert::FrameGrid,
    mp4::{Facts, Movie},
    outcome::{Delivered, Engine, Execution, Object},
    plan::{Plan, PlannedSegment},
    request::{ClipRequest, Source},
    source::S3Source,
};
use serde::Deserialize;

/// How far the clip's sound may end from its pictures, in seconds: two frames of AAC at 44.1 kHz.
const SOUND_TOLERANCE_SECONDS: f64 = 2.0 * 1024.0 / 44_100.0;

/// What the state hands over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// The execution.
    pub execution: Execution,
    /// The valid request.
    pub request: ClipRequest,
    /// What `probe` found.
    pub probe: Plan,
    /// The clip.
    pub clip: Object,
    /// What made it.
    pub engine: Engine,
}

/// What the function works with.
#[derive(Debug)]
pub struct Deps {
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// The bucket that clips are written to.
    pub bucket: String,
}

impl Deps {
    /// Builds the client and reads the configuration.
    ///
    /// # Errors
    /// `Internal`, naming the variable that is missing.
    pub async fn from_env() -> Result<Self, ClipError> {
        let bucket = config::required("CLIPFLOW_BUCKET")?;
        Ok(Self { bucket, s3: aws_sdk_s3::Client::new(&aws::sdk_config().await) })
    }
}

/// Reads the clip's index and compares.
///
/// # Errors
/// `DeliveryMismatch`, saying what differs; `DependencyUnavailable` when S3 does not answer.
pub async fn handle(deps: &Deps, input: Input) -> Result<Delivered, ClipError> {
    let at = Source { bucket: deps.bucket.clone(), key: input.clip.key.clone() };
    let clip = async {
        let object = S3Source::pin(deps.s3.clone(), &at).await?;
        let movie = Movie::read(&object).await?;
        Ok((object.object().clone(), movie.facts))
    };
    let (object, facts) = clip.await.map_err(unreadable)?;
    let etag = object.etag.trim_matches('"');
    if (object.bytes, etag) != (input.clip.bytes, &input.clip.etag) {
        let (made, bytes) = (input.clip.bytes, object.bytes);
        return Err(ClipError::delivery_mismatch(format!(
            "the clip had {made} bytes when it was made and has {bytes}"
        )));
    }
    compare(&input.probe, &input.engine, &facts)?;
    let (first, last) = (input.probe.segments.first(), input.probe.segments.last());
    Ok(Delivered {
        start: first.map_or(0.0, |segment| segment.window.start_seconds),
        end: last.map_or(0.0, |segment| segment.window.end_seconds),
        duration_seconds: facts.video.duration_seconds,
        frames: facts.video.frames,
        width: facts.video.width,
        height: facts.video.height,
        video_codec: facts.video.codec,
        audio_codec: facts.audio.map(|audio| audio.codec),
        coverage: input.probe.coverage,
    })
}

/// A clip that cannot be read is not what was asked for, whatever its reader calls that.
fn unreadable(error: ClipError) -> ClipError {
    if error.kind.is_rejection() { ClipError::delivery_mismatch(error.message) } else { error }
}

/// How many frames a segment has when `engine` makes it.
fn frames(plan: &Plan, engine: &Engine, segment: &PlannedSegment) -> u64 {
    if engine.name == "transcode" {
        let frames = FrameGrid::of(&plan.sources[segment.source].facts.video).frames(&segment.window);
        frames.end - frames.start
    } else {
        segment.window.frames
    }
}

fn compare(plan: &Plan, engine: &Engine, facts: &Facts) -> Result<(), ClipError> {
    let Some(first) = plan.segments.first() else {
        return Err(ClipError::internal("the plan has no segment"));
    };
    let source = &plan.sources[first.source].facts;
    let frames: u64 = plan.segments.iter().map(|segment| frames(plan, engine, segment)).sum();
    let seconds: f64 = plan.segments.iter().map(|segment| segment.window.duration_seconds).sum();
    let frame_seconds = 1.0 / source.video.frame_rate.max(1.0);
    let differs = |what: &str, asked: &dyn std::fmt::Display, got: &dyn std::fmt::Display| {
        Err(ClipError::delivery_mismatch(format!("{what}: {asked} was asked for, the clip has {got}")))
    };
    if facts.video.frames != frames {
        return differs("frames", &frames, &facts.video.frames);
    }
    if (facts.video.duration_seconds - seconds).abs() > frame_seconds {
        return differs("seconds", &seconds, &facts.video.duration_seconds);
    }
    if facts.video.start_seconds > frame_seconds {
        return differs("time of the first frame", &0, &facts.video.start_seconds);
    }
    if (facts.video.width, facts.video.height) != (source.video.width, source.video.height) {
        let size = |facts: &Facts| format!("{}x{}", facts.video.width, facts.video.height);
        return differs("size", &size(source), &size(facts));
    }
    if facts.audio.is_some() != plan.segments.iter().any(|segment| segment.window.has_audio) {
        return differs("sound", &facts.audio.is_none(), &facts.audio.is_some());
    }
    if facts.duration_seconds - facts.video.duration_seconds > frame_seconds + SOUND_TOLERANCE_SECONDS {
        return differs("seconds with sound", &facts.video.duration_seconds, &facts.duration_seconds);
    }
    Ok(())
}
