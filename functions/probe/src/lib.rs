//! Reads a source's index by byte range, plans the cut on the source's frames and estimates what it takes.
//!
//! Raises `SourceNotFound`, `UnsupportedMedia`, `OutOfRange`, `InvalidRequest`, `TooLong` and `TooExpensive`, each naming
//! the field or object at fault. Pins what it saw: every later step reads that version or notices that it changed.

pub mod estimate;

use clipflow_core::{
    ClipError, aws, config,
    mp4::Movie,
    outcome::Execution,
    plan::{PlannedSegment, ProbedSource},
    request::{ClipRequest, Segment, Source},
    source::{PinnedObject, S3Source},
};
use estimate::Estimates;
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};

/// Sources whose indexes are read at once.
const SOURCES_AT_ONCE: usize = 8;

/// What the state hands over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// The execution.
    pub execution: Execution,
    /// The valid request.
    pub request: ClipRequest,
}

/// The plan of the cut.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The sources, pinned.
    pub sources: Vec<ProbedSource>,
    /// The cuts, on the sources' frames.
    pub segments: Vec<PlannedSegment>,
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
    let (sources, segments) = plan(deps, &request.segments).await?;
    let clip_seconds = segments.iter().map(|segment| segment.window.duration_seconds).sum();
    if clip_seconds > deps.max_clip_seconds {
        let most = deps.max_clip_seconds;
        return Err(ClipError::too_long(format!(
            "end: the clip lasts {clip_seconds:.1} s, at most {most} s are allowed"
        )));
    }
    let estimates = Estimates::of(request.cut, &sources, &segments, deps.trim_memory_mb);
    // With the dearer engine it may still be too expensive: `transcode` checks that before it submits its job.
    request.check_cost(estimates.least_usd(), deps.max_cost_usd)?;
    Ok(Output { sources, segments, clip_seconds, estimates })
}

/// Reads the index of every source once and plans the cuts.
async fn plan(deps: &Deps, segments: &[Segment]) -> Result<(Vec<ProbedSource>, Vec<PlannedSegment>), ClipError> {
    let mut wanted: Vec<&Source> = Vec::new();
    for segment in segments {
        if !wanted.contains(&&segment.source) {
            wanted.push(&segment.source);
        }
    }
    let read = wanted.iter().map(async |source| {
        let object = S3Source::pin(deps.s3.clone(), source).await?;
        Ok::<_, ClipError>((object.object().clone(), Movie::read(&object).await?))
    });
    let read: Vec<_> = stream::iter(read).buffered(SOURCES_AT_ONCE).collect().await;
    let plan = segments.iter().enumerate().map(|(index, segment)| {
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
    let segments = plan.collect::<Result<_, ClipError>>()?;
    let probed = |(object, movie): (PinnedObject, Movie)| ProbedSource { object, facts: movie.facts };
    Ok((read.into_iter().filter_map(Result::ok).map(probed).collect(), segments))
}
