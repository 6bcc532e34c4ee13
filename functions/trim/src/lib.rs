//! Cuts the clip and uploads it to the bucket. It reads little more of the source than the clip's own bytes.
//!
//! `copy` streams the windows of the sources straight to S3. `exact` has `FFmpeg` encode as little of those windows as
//! possible: only what cannot be copied, if the sources allow a smart cut. From sources without an index, what the clip
//! needs is remuxed first. Raises `SourceNotFound` if the source changed since `probe`, `UnsupportedMedia` if `FFmpeg`
//! cannot decode it, and `TrimBudgetExceeded` if time, memory or scratch space runs out. A clip that this version of
//! the function already made is reused.

mod watermark;

use aws::{
    sdk,
    source::S3Source,
    upload::{self, Destination, Found},
};
use ffmpeg::{
    clip::{self, Clip, Content},
    process::{Ffmpeg, Limits},
    remux::{Media, RemuxedRange, Remuxer},
    scratch::{self, Scratch},
};
use futures::{FutureExt, StreamExt, TryStreamExt, future, stream};
use lambda::environment;
use model::{
    ClipError,
    damage::Damaged,
    outcome::{Cutting, Engine, Execution, MadeClip, Object},
    plan::Plan,
    request::{ClipRequest, Cut, Format},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

/// Sources that are opened, or remuxed, concurrently.
const FILES_AT_ONCE: usize = 4;
/// The part of the function's time that is reserved for cleaning up and answering.
const RESERVE: Duration = Duration::from_secs(5);
/// The metadata key that says which version of the function made a clip from which source.
const MADE_BY: &str = "made-by";
/// The metadata key that says why a clip was made the way it was.
const WHY: &str = "why";
/// The metadata key for what was copied and what was encoded, as JSON.
const CUTTING: &str = "cutting";
/// The longest such JSON, in bytes: S3 allows 2 kB of metadata.
const MAX_CUTTING_BYTES: usize = 1000;

/// The metadata key for damage in a clip's sources, as JSON.
const DAMAGED: &str = "damaged";

/// The state's input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// The execution.
    pub execution: Execution,
    /// The valid request.
    pub request: ClipRequest,
    /// What `probe` found.
    pub probe: Plan,
    /// Why this function makes the clip.
    pub engine: Engine,
}

/// What was made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The clip.
    pub clip: MadeClip,
    /// Its `why` also says how the clip was cut, and its `cutting` says where.
    pub engine: Engine,
}

/// The function's dependencies.
#[derive(Debug)]
pub struct Deps {
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// The bucket that clips are written to.
    pub bucket: String,
    /// The function's space in `/tmp`, in bytes.
    pub scratch_bytes: u64,
    /// The encoder.
    pub ffmpeg: Ffmpeg,
    /// The function's published version.
    pub version: String,
}

impl Deps {
    /// Builds the client and reads the configuration.
    ///
    /// # Errors
    /// `Internal`, naming the variable that is missing.
    pub async fn from_env() -> Result<Self, ClipError> {
        scratch::clean();
        Ok(Self {
            bucket: environment::required("CLIPFLOW_BUCKET")?,
            scratch_bytes: environment::parsed("CLIPFLOW_SCRATCH_BYTES")?,
            ffmpeg: Ffmpeg::find()?,
            version: environment::required("AWS_LAMBDA_FUNCTION_VERSION")?,
            s3: aws_sdk_s3::Client::new(&sdk::sdk_config().await),
        })
    }
}

/// Makes the clip, unless it already exists.
///
/// # Errors
/// See the module.
pub async fn handle(deps: &Deps, input: Input, deadline: SystemTime) -> Result<Output, ClipError> {
    let (request, plan) = (&input.request, &input.probe);
    let key = request.clip_key();
    let made_by = format!("trim {} from {}", deps.version, plan.sources_digest());
    let inputs_bytes = inputs_bytes(request, plan);
    let scratch_bytes = inputs_bytes.saturating_mul(2).max(plan.remuxed_bytes());
    let scratch = Scratch::new(scratch_bytes, deps.scratch_bytes)?;
    let remuxer = Remuxer {
        ffmpeg: &deps.ffmpeg,
        scratch: &scratch,
        limits: limits(deps, inputs_bytes, deadline),
        // `probe` has decided.
        max_whole_bytes: u64::MAX,
    };
    let (found, sources) =
        future::join(made_before(deps, &key, &made_by), open(deps, plan, remuxer)).await;
    let (clip, why, cutting) = if let Some(found) = found? {
        tracing::info!(key, "the clip is there already");
        recalled(found)
    } else {
        let ranges = remuxed_ranges(&sources?, plan, remuxer).await?;
        let made = make(deps, request, plan, &ranges, remuxer).await?;
        let (why, cutting) = (printable(&made.method.to_string()), made.method.cutting());
        let mut metadata = metadata(made_by, why.clone(), &cutting);
        metadata.extend(made.damaged.as_ref().map(described));
        let clip = put(deps, made, key, request.format, metadata).await?;
        (clip, why, Some(cutting))
    };
    Ok(Output {
        clip,
        engine: Engine {
            why: format!("{}; {why}", input.engine.why),
            cutting,
            ..input.engine
        },
    })
}

/// Makes the clip of `plan` out of `ranges`.
async fn make<'a>(
    deps: &Deps,
    request: &ClipRequest,
    plan: &Plan,
    ranges: &'a [RemuxedRange<S3Source>],
    remuxer: Remuxer<'_>,
) -> Result<Clip<'a>, ClipError> {
    let watermark = plan
        .watermark
        .as_ref()
        .zip(request.edits.watermark.as_ref());
    let watermark = watermark.map(|(picture, edit)| {
        let with = (remuxer.ffmpeg, remuxer.limits);
        watermark::fetch(&deps.s3, picture, edit.opacity, remuxer.scratch, with).boxed()
    });
    clip::make(request.look(), plan, ranges, watermark, remuxer).await
}

/// Uploads a clip that was made.
async fn put(
    deps: &Deps,
    made: Clip<'_>,
    key: String,
    format: Format,
    metadata: HashMap<String, String>,
) -> Result<MadeClip, ClipError> {
    let to = Destination {
        bucket: &deps.bucket,
        key: &key,
        content_type: format.content_type(),
        metadata,
    };
    let put = match made.content {
        Content::Stream(stream) => upload::put(&deps.s3, &to, stream).await?,
        Content::File(file) => upload::put_file(&deps.s3, &to, &file).await?,
    };
    let object = Object {
        key,
        url: None,
        bytes: put.bytes,
        etag: put.etag,
    };
    Ok(MadeClip {
        object,
        damaged: made.damaged,
    })
}

/// A clip that was made before, why it was made as it was, and what of it was copied.
fn recalled(Found { object, metadata }: Found) -> (MadeClip, String, Option<Cutting>) {
    let of = |name: &str| metadata.get(name).map_or("", String::as_str);
    let damaged = serde_json::from_str(of(DAMAGED)).ok();
    let cutting = serde_json::from_str(of(CUTTING)).ok();
    (MadeClip { object, damaged }, of(WHY).to_owned(), cutting)
}

/// The clip, if this version of the function has already made it from the same source.
async fn made_before(deps: &Deps, key: &str, made_by: &str) -> Result<Option<Found>, ClipError> {
    let found = upload::find(&deps.s3, &deps.bucket, key).await?;
    Ok(found.filter(|found| found.metadata.get(MADE_BY).is_some_and(|by| by == made_by)))
}

fn metadata(made_by: String, why: String, cutting: &Cutting) -> HashMap<String, String> {
    let mut metadata = HashMap::from([(MADE_BY.to_owned(), made_by), (WHY.to_owned(), why)]);
    let json = serde_json::to_string(cutting).unwrap_or_default();
    if json.len() <= MAX_CUTTING_BYTES {
        metadata.insert(CUTTING.to_owned(), json);
    }
    metadata
}

/// The metadata of a clip that is damaged.
fn described(damaged: &Damaged) -> (String, String) {
    let json = serde_json::to_string(damaged).expect("numbers are JSON");
    (DAMAGED.to_owned(), json)
}

/// The plan's sources. Short windows are read while the index is, since `probe` found out where they are.
async fn open(
    deps: &Deps,
    plan: &Plan,
    remuxer: Remuxer<'_>,
) -> Result<Vec<Media<S3Source>>, ClipError> {
    let open = plan
        .sources
        .iter()
        .enumerate()
        .map(async |(index, probed)| {
            let mut source = S3Source::pinned(deps.s3.clone(), probed.object.clone());
            if probed.facts.remuxed.is_none() {
                let windows = plan
                    .segments
                    .iter()
                    .filter(|segment| segment.source == index);
                let spans = windows.filter_map(|segment| segment.window.source_span.clone());
                source.read_ahead(probed.facts.index_reads().into_iter().chain(spans));
            }
            Media::reopen(source, probed.facts.clone(), remuxer).await
        });
    stream::iter(open)
        .buffered(FILES_AT_ONCE)
        .try_collect()
        .await
}

/// Bytes of the files that the encoder reads, and of the excerpts that they are cut from.
fn inputs_bytes(request: &ClipRequest, plan: &Plan) -> u64 {
    if request.cut == Cut::Copy {
        return 0;
    }
    let windows: u64 = plan
        .segments
        .iter()
        .map(|segment| segment.window.output_bytes)
        .sum();
    let pixels = plan.watermark.as_ref().map_or(0, |picture| {
        u64::from(picture.width) * u64::from(picture.height)
    });
    windows + plan.remuxed_bytes() + 4 * pixels
}

/// What the plan's segments are cut from.
async fn remuxed_ranges(
    sources: &[Media<S3Source>],
    plan: &Plan,
    remuxer: Remuxer<'_>,
) -> Result<Vec<RemuxedRange<S3Source>>, ClipError> {
    let ranges = plan
        .segments
        .iter()
        .enumerate()
        .map(async |(index, segment)| {
            let interval = (segment.window.start_seconds, segment.window.end_seconds);
            let name = format!("excerpt-{index}.mp4");
            sources[segment.source]
                .remuxed_range(interval, segment.lead_seconds, &name, remuxer)
                .await
        });
    stream::iter(ranges)
        .buffered(FILES_AT_ONCE)
        .try_collect()
        .await
}

/// A text in a form that fits into an object's metadata, shortened and with only the characters that S3 allows there.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|character| matches!(character, ' '..='~'))
        .take(500)
        .collect()
}

fn limits(deps: &Deps, inputs_bytes: u64, deadline: SystemTime) -> Limits {
    Limits {
        time: deadline
            .duration_since(SystemTime::now())
            .unwrap_or_default()
            .saturating_sub(RESERVE),
        file_bytes: deps.scratch_bytes - inputs_bytes,
    }
}
