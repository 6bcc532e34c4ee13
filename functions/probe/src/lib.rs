//! Finds the sources, reads their indexes by byte range, plans the cut on their frames and estimates what it takes.
//!
//! Raises `SourceNotFound`, `SourceNotReady`, `UnsupportedMedia`, `OutOfRange`, `InvalidRequest`, `TooLong`,
//! `IncompleteCoverage` and `TooExpensive`, each naming the field or object at fault. Pins what it saw: every later step reads that version or notices that it changed.

pub mod estimate;
pub mod recordings;

use clipflow_core::{
    ClipError, aws, config,
    mp4::Movie,
    outcome::Execution,
    plan::{Plan, PlannedSegment, ProbedSource},
    recordings::CameraWindow,
    request::{ClipRequest, Segment, Source},
    source::S3Source,
    timestamp::Timestamp,
};
use estimate::Estimates;
use futures::{StreamExt, stream};
use recordings::Recordings;
use serde::{Deserialize, Serialize};

/// Sources whose indexes are read at once.
pub(crate) const SOURCES_AT_ONCE: usize = 8;

/// What the state hands over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// The execution.
    pub execution: Execution,
    /// The valid request.
    pub request: ClipRequest,
    /// Whether recordings that were not there yet have been waited for, in vain.
    pub waited: bool,
}

/// The plan of the cut.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The sources, pinned, and the cuts on their frames.
    #[serde(flatten)]
    pub plan: Plan,
    /// How long the clip will play.
    pub clip_seconds: f64,
    /// What making it takes.
    pub estimates: Estimates,
}

/// What the function works with.
#[derive(Debug)]
pub struct Deps {
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// The longest clip of this deployment, in seconds.
    pub max_clip_seconds: f64,
    /// The most that a clip of this deployment may cost, in US dollars.
    pub max_cost_usd: f64,
    /// The memory of `trim`, in MB.
    pub trim_memory_mb: u32,
    /// Cameras' recordings; `None` when this deployment has none.
    pub recordings: Option<Recordings>,
}

impl Deps {
    /// Builds the client and reads the configuration.
    ///
    /// # Errors
    /// `Internal`, naming the variable that is missing.
    pub async fn from_env() -> Result<Self, ClipError> {
        Ok(Self {
            max_clip_seconds: config::parsed("CLIPFLOW_MAX_CLIP_SECONDS")?,
            max_cost_usd: config::parsed("CLIPFLOW_MAX_COST_USD")?,
            trim_memory_mb: config::parsed("CLIPFLOW_TRIM_MEMORY_MB")?,
            recordings: Recordings::from_env()?,
            s3: aws_sdk_s3::Client::new(&aws::sdk_config().await),
        })
    }
}

/// Plans the cut.
///
/// # Errors
/// See the module.
pub async fn handle(deps: &Deps, input: Input) -> Result<Output, ClipError> {
    let request = &input.request;
    let plan = match &request.camera {
        Some(camera) => plan_camera(deps, camera, &input).await?,
        None => plan_segments(deps, &request.segments).await?,
    };
    let clip_seconds = plan.segments.iter().map(|segment| segment.window.duration_seconds).sum();
    check_length(deps, "end", clip_seconds)?;
    let estimates = Estimates::of(request.cut, &plan.sources, &plan.segments, deps.trim_memory_mb);
    // With the dearer engine it may still be too expensive: `transcode` checks that before it submits its job.
    request.check_cost(estimates.least_usd(), deps.max_cost_usd)?;
    Ok(Output { plan, clip_seconds, estimates })
}

/// Reads the index of every source once and plans the cuts.
async fn plan_segments(deps: &Deps, segments: &[Segment]) -> Result<Plan, ClipError> {
    let mut wanted: Vec<&Source> = Vec::new();
    for segment in segments {
        if !wanted.contains(&&segment.source) {
            wanted.push(&segment.source);
        }
    }
    let read = wanted.iter().map(|source| pin(&deps.s3, source));
    let read: Vec<_> = stream::iter(read).buffered(SOURCES_AT_ONCE).collect().await;
    let planned = segments.iter().enumerate().map(|(index, segment)| {
        let name = |mut error: ClipError| {
            if segments.len() > 1 {
                error.message = format!("segments[{index}].{}", error.message);
            }
            error
        };
        let source = wanted.iter().position(|source| **source == segment.source).expect("every source is wanted");
        let (_, movie) = read[source].as_ref().map_err(|error| name(error.clone()))?;
        let duration = movie.facts.duration_seconds;
        let window = movie.window(segment.start.resolve(duration), segment.end.resolve(duration)).map_err(name)?;
        Ok(PlannedSegment { source, window: window.facts })
    });
    let segments = planned.collect::<Result<_, ClipError>>()?;
    let sources = read.into_iter().filter_map(Result::ok).map(|(source, _)| source).collect();
    Ok(Plan { sources, segments, coverage: None })
}

async fn plan_camera(deps: &Deps, camera: &CameraWindow, input: &Input) -> Result<Plan, ClipError> {
    let recordings = deps.recordings.as_ref().ok_or_else(|| {
        ClipError::invalid_request("cameraId: this deployment has no recordings, see its variable recordings")
    })?;
    #[expect(clippy::cast_precision_loss, reason = "of no account")]
    check_length(deps, "endTimestampInMs", camera.interval.duration_ms() as f64 / 1000.0)?;
    let started_at = Timestamp::from_rfc3339(&input.execution.started_at)
        .map_err(|error| ClipError::internal(format!("execution.startedAt: {error}")))?;
    recordings.plan(&deps.s3, camera, started_at, input.waited).await
}

fn check_length(deps: &Deps, field: &str, clip_seconds: f64) -> Result<(), ClipError> {
    let most = deps.max_clip_seconds;
    if clip_seconds > most {
        let message = format!("{field}: the clip lasts {clip_seconds:.1} s, at most {most} s are allowed");
        return Err(ClipError::too_long(message));
    }
    Ok(())
}

/// Pins an object and reads its index.
async fn pin(s3: &aws_sdk_s3::Client, at: &Source) -> Result<(ProbedSource, Movie), ClipError> {
    let object = S3Source::pin(s3.clone(), at).await?;
    let movie = Movie::read(&object).await?;
    Ok((ProbedSource { object: object.object().clone(), facts: movie.facts.clone() }, movie))
}
