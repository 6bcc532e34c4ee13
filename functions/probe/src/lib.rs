//! Finds the sources, reads their indexes by byte range, plans the cut on their frames and estimates its time, space
//! and cost. If a source has no such index, [`remux`](ffmpeg::remux) remuxes what the cut needs.
//!
//! Raises `SourceNotFound`, `SourceNotReady`, `UnsupportedMedia`, `OutOfRange`, `InvalidRequest`, `TooLong`,
//! `IncompleteCoverage` and `TooExpensive`, each naming the field or object at fault. Pins what it saw: every later step
//! reads that version or notices that it changed.

pub mod engine;
pub mod estimate;
mod opener;
pub mod recordings;

use aws::{sdk, source::S3Source};
use bytes::Buf;
use engine::{TrimLimits, Work};
use estimate::Estimates;
use ffmpeg::{process::Ffmpeg, scratch};
use futures::{StreamExt, TryStreamExt, stream};
use lambda::environment;
use model::{
    ClipError, ErrorKind,
    clip_spec::ClipSpec,
    edits::Watermark,
    outcome::{Engine, EngineName, Execution},
    plan::{PinnedObject, Plan, PlannedSegment, ProbedPicture, ProbedSource},
    recordings::CameraWindow,
    request::{ClipRequest, Format, Source},
    timestamp::Timestamp,
};
use mp4_cut::io::RangeRead;
use opener::{Opened, Opener, SOURCES_AT_ONCE, check_pieces};
use recordings::Recordings;
use serde::{Deserialize, Serialize};

/// The longest watermark, in bytes.
const MAX_WATERMARK_BYTES: u64 = 8 * 1024 * 1024;
/// The widest and the highest watermark, in pixels.
const MAX_WATERMARK_SIDE: u32 = 4096;
/// Excerpts that are made concurrently.
const EXCERPTS_AT_ONCE: usize = 4;

/// The state's input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    pub execution: Execution,
    pub request: ClipRequest,
    /// Whether the execution has waited for missing recordings until the retries ran out.
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
    /// How much of that is encoded.
    pub encoded_seconds: f64,
    /// The field of the request that only `trim` can handle, if there is one.
    #[serde(rename = "onlyTrim", skip_serializing_if = "Option::is_none")]
    pub trim_only_field: Option<&'static str>,
    /// What making it takes.
    pub estimates: Estimates,
    /// What makes it.
    pub engine: Engine,
}

#[derive(Debug)]
pub struct Deps {
    pub s3: aws_sdk_s3::Client,
    /// The longest clip of this deployment, in seconds.
    pub max_clip_seconds: f64,
    /// The most that a clip of this deployment may cost, in US dollars.
    pub max_cost_usd: f64,
    /// The memory of `trim`, in MB.
    pub trim_memory_mb: u32,
    /// How much of a clip `trim` encodes at most, in seconds of the clip.
    pub max_trim_seconds: f64,
    /// How long `trim` may run.
    pub trim_timeout_seconds: f64,
    /// Whether exact HEVC clips are smart-cut if possible.
    pub hevc_smart_cuts: bool,
    /// Cameras' recordings; `None` if this deployment has none.
    pub recordings: Option<Recordings>,
    /// What remuxes sources.
    pub ffmpeg: Ffmpeg,
    /// The function's space in `/tmp`, in bytes: the same as `trim`'s, which remuxes the same sources.
    pub scratch_bytes: u64,
    /// The largest source, in bytes, that is read from its start because it has no index.
    pub max_whole_source_bytes: u64,
}

impl Deps {
    /// # Errors
    /// `Internal`, naming the environment variable that is missing.
    pub async fn from_env() -> Result<Self, ClipError> {
        scratch::clean();
        Ok(Self {
            max_clip_seconds: environment::parsed("CLIPFLOW_MAX_CLIP_SECONDS")?,
            max_cost_usd: environment::parsed("CLIPFLOW_MAX_COST_USD")?,
            trim_memory_mb: environment::parsed("CLIPFLOW_TRIM_MEMORY_MB")?,
            max_trim_seconds: environment::parsed("CLIPFLOW_MAX_TRIM_SECONDS")?,
            trim_timeout_seconds: environment::parsed("CLIPFLOW_TRIM_TIMEOUT_SECONDS")?,
            hevc_smart_cuts: environment::parsed("CLIPFLOW_HEVC_SMART_CUTS")?,
            recordings: Recordings::from_env()?,
            ffmpeg: Ffmpeg::find()?,
            scratch_bytes: environment::parsed("CLIPFLOW_SCRATCH_BYTES")?,
            max_whole_source_bytes: environment::parsed("CLIPFLOW_MAX_WHOLE_SOURCE_BYTES")?,
            s3: aws_sdk_s3::Client::new(&sdk::sdk_config().await),
        })
    }
}

/// Plans the cut.
///
/// # Errors
/// See the module.
pub async fn handle(deps: &Deps, input: Input) -> Result<Output, ClipError> {
    Box::pin(plan(deps, input))
        .await
        .map_err(|error| match error.kind {
            // What this function cannot read within its limits, `trim` cannot either, and MediaConvert needs a plan.
            ErrorKind::TrimBudgetExceeded => ClipError::unsupported_media(error.message),
            _ => error,
        })
}

async fn plan(deps: &Deps, input: Input) -> Result<Output, ClipError> {
    let (request, look) = (&input.request, input.request.look());
    let opener = Opener::new(
        &deps.s3,
        request,
        &deps.ffmpeg,
        deps.scratch_bytes,
        deps.max_whole_source_bytes,
    )?;
    let mut plan = plan_cuts(deps, &opener, &input).await?;
    let spec = ClipSpec::of(look, &plan)?;
    if look.may_keep_pictures() && spec.why_no_copies().is_none() && !plan.encodes_hevc_whole {
        opener.smart_cut(&mut plan).await?;
    }
    let clip_seconds = spec.seconds();
    let field = if request.segments.len() > 1 {
        "segments"
    } else {
        "end"
    };
    check_length(deps, field, clip_seconds)?;
    let estimates = Estimates::of(request, &plan, &spec, deps.trim_memory_mb);
    // With the more expensive engine, it may still cost too much: `transcode` checks that before it submits its job.
    request.check_cost(estimates.min_usd(), deps.max_cost_usd)?;
    let encoded_seconds = clip_seconds * estimate::encoded_share(request, &plan);
    let trim_only_field = spec.unsupported_by_mediaconvert(look);
    let work = Work {
        cut: request.cut,
        clip_seconds,
        encoded_seconds,
        is_trim_only: trim_only_field.is_some(),
        estimates,
    };
    Ok(Output {
        plan,
        clip_seconds,
        encoded_seconds,
        trim_only_field,
        estimates,
        engine: choose_engine(deps, &work, request.format),
    })
}

/// The sources and the cuts of them, and how the request's edits and the deployment's settings apply to these.
async fn plan_cuts(deps: &Deps, opener: &Opener<'_>, input: &Input) -> Result<Plan, ClipError> {
    let request = &input.request;
    let mut plan = match &request.camera {
        Some(camera) => plan_camera(deps, opener, camera, input).await?,
        None => plan_segments(opener, request).await?,
    };
    if let (Some(watermark), Some(first)) = (&request.edits.watermark, plan.sources.first()) {
        plan.watermark = Some(measure(deps, watermark, &first.object.bucket).await?);
    }
    let is_hevc = plan
        .first_video()
        .is_some_and(|video| video.codec == "hevc");
    let may_stay_hevc = is_hevc && matches!(request.format, Format::Hevc | Format::Source);
    plan.encodes_hevc_whole = may_stay_hevc && !deps.hevc_smart_cuts;
    Ok(plan)
}

fn choose_engine(deps: &Deps, work: &Work, format: Format) -> Engine {
    let mut engine = work.engine(TrimLimits {
        encoded_seconds: deps.max_trim_seconds,
        timeout_seconds: deps.trim_timeout_seconds,
        scratch_bytes: deps.scratch_bytes,
    });
    if engine.name == EngineName::Transcode && format == Format::Source {
        engine
            .why
            .push_str("; MediaConvert re-encodes all pictures, so the clip is H.264");
    }
    engine
}

/// Pins the watermark, by default in `bucket`, and reads its size from the first bytes of the PNG (PNG specification,
/// section 5.6).
async fn measure(
    deps: &Deps,
    watermark: &Watermark,
    bucket: &str,
) -> Result<ProbedPicture, ClipError> {
    let bucket = watermark
        .bucket
        .clone()
        .unwrap_or_else(|| bucket.to_owned());
    let source = Source {
        bucket,
        key: watermark.key.clone(),
    };
    let source = S3Source::pin_field(deps.s3.clone(), &source, "edits.watermark").await?;
    let object = source.object().clone();
    let invalid = |what: String| {
        let PinnedObject { bucket, key, .. } = source.object();
        ClipError::invalid_request(format!("edits.watermark.key: s3://{bucket}/{key} {what}"))
    };
    if object.bytes > MAX_WATERMARK_BYTES {
        return Err(invalid(format!(
            "has {} bytes, at most {MAX_WATERMARK_BYTES}",
            object.bytes
        )));
    }
    let head = source.read(0..object.bytes.min(24)).await?;
    let Some(mut size) = head
        .strip_prefix(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
        .filter(|size| size.len() == 8)
    else {
        return Err(invalid("is not a PNG".to_owned()));
    };
    let (width, height) = (size.get_u32(), size.get_u32());
    if ![width, height]
        .iter()
        .all(|side| (1..=MAX_WATERMARK_SIDE).contains(side))
    {
        return Err(invalid(format!(
            "is {width}x{height} pixels, at most {MAX_WATERMARK_SIDE} on a side"
        )));
    }
    Ok(ProbedPicture {
        object,
        width,
        height,
    })
}

/// Opens every source once and plans the cuts.
async fn plan_segments(opener: &Opener<'_>, request: &ClipRequest) -> Result<Plan, ClipError> {
    let segments = &request.segments;
    let mut wanted: Vec<&Source> = Vec::new();
    for segment in segments {
        if !wanted.contains(&&segment.source) {
            wanted.push(&segment.source);
        }
    }
    let reads = wanted.iter().map(|source| opener.open(source));
    let found: Vec<_> = stream::iter(reads)
        .buffered(SOURCES_AT_ONCE)
        .collect()
        .await;
    let plans = segments.iter().enumerate().map(async |(index, segment)| {
        let source = wanted
            .iter()
            .position(|source| **source == segment.source)
            .expect("every source is wanted");
        let planned = match &found[source] {
            Ok(found) => {
                let times = [segment.start, segment.end];
                let [start, end] = times.map(|time| time.resolve(found.facts.duration_seconds));
                opener.plan(found, source, (start, end), index).await
            }
            Err(error) => Err(error.clone()),
        };
        planned.map_err(|mut error| {
            if segments.len() > 1 {
                error.message = format!("segments[{index}].{}", error.message);
            }
            error
        })
    });
    let segments: Vec<Vec<PlannedSegment>> = stream::iter(plans)
        .buffered(EXCERPTS_AT_ONCE)
        .try_collect()
        .await?;
    let segments = segments.concat();
    check_pieces(segments.len())?;
    let sources = found.into_iter().flatten();
    Ok(Plan {
        sources: sources
            .map(|Opened { object, facts, .. }| ProbedSource::new(object, facts))
            .collect(),
        segments,
        coverage: None,
        watermark: None,
        encodes_hevc_whole: false,
    })
}

async fn plan_camera(
    deps: &Deps,
    opener: &Opener<'_>,
    camera: &CameraWindow,
    input: &Input,
) -> Result<Plan, ClipError> {
    let recordings = deps.recordings.as_ref().ok_or_else(|| {
        ClipError::invalid_request(
            "cameraId: this deployment has no recordings; set its Terraform variable recordings",
        )
    })?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    check_length(
        deps,
        "endTimestampInMs",
        camera.interval.duration_ms() as f64 / 1000.0,
    )?;
    let started_at = Timestamp::from_rfc3339(&input.execution.started_at)
        .map_err(|error| ClipError::internal(format!("execution.startedAt: {error}")))?;
    recordings
        .plan(opener, camera, started_at, input.waited)
        .await
}

fn check_length(deps: &Deps, field: &str, clip_seconds: f64) -> Result<(), ClipError> {
    let most = deps.max_clip_seconds;
    if clip_seconds > most {
        let message =
            format!("{field}: the clip lasts {clip_seconds:.1} s, at most {most} s are allowed");
        return Err(ClipError::too_long(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_mocks::{RuleMode, mock_client};
    use model::parse;
    use serde_json::json;

    /// The error that refuses a camera window before anything is read.
    async fn refusal(seconds: u64, recordings: Option<Recordings>) -> ClipError {
        let start = 1_533_224_400_000_u64;
        let camera = json!({"cameraId": "a", "startTimestampInMs": start, "endTimestampInMs": start + seconds * 1000,
            "coverage": "complete"});
        let request = json!({"clipId": "a", "prefix": "clips/a/b/", "segments": [], "camera": camera, "cut": "exact",
            "thumbnails": [], "metadata": {}});
        let execution = json!({"arn": "arn:e", "startedAt": "2018-08-02T15:41:00Z"});
        let input = parse(json!({"execution": execution, "request": request, "waited": false}))
            .expect("an input");
        let s3 = mock_client!(aws_sdk_s3, RuleMode::MatchAny, []);
        let deps = Deps {
            s3,
            max_clip_seconds: 60.0,
            max_cost_usd: 5.0,
            trim_memory_mb: 3538,
            max_trim_seconds: 600.0,
            trim_timeout_seconds: 900.0,
            hevc_smart_cuts: true,
            recordings,
            ffmpeg: Ffmpeg::find().expect("ffmpeg"),
            scratch_bytes: 1 << 20,
            max_whole_source_bytes: 1 << 20,
        };
        handle(&deps, input).await.expect_err("it is refused")
    }

    #[tokio::test]
    async fn camera_of_a_deployment_without_recordings_is_invalid_request() {
        let error = Box::pin(refusal(1, None)).await;
        assert_eq!(error.kind, ErrorKind::InvalidRequest);
        assert!(
            error
                .message
                .starts_with("cameraId: this deployment has no recordings"),
            "{}",
            error.message
        );
    }

    #[tokio::test]
    async fn window_above_the_limit_is_too_long() {
        let recordings = Recordings {
            bucket: "archive".into(),
            key_template: "{camera}/{start:%s}".parse().expect("a template"),
            longest_ms: 1,
            retention_ms: 86_400_000,
        };
        let error = Box::pin(refusal(61, Some(recordings))).await;
        assert_eq!(
            error,
            ClipError::too_long(
                "endTimestampInMs: the clip lasts 61.0 s, at most 60 s are allowed"
            )
        );
    }
}
