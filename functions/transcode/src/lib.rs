//! Submits the `MediaConvert` job that gives the clip that `trim` would give.
//!
//! The state waits for its task token, which the job carries and `resume` hands back when the job ends. A clip that a
//! finished job of this version of the function has made out of the same sources is found, and the task completed at
//! once. Raises `SourceNotFound` when a source changed since `probe`, `UnsupportedMedia` for a frame rate or length that time
//! codes cannot count, and `TooExpensive`.

pub mod job;

use aws_sdk_mediaconvert::types::{
    AccelerationMode, AccelerationSettings, Job, JobStatus, Order, StatusUpdateInterval,
};
use clipflow_core::{
    ClipError, aws, config,
    mediaconvert::{self, ACCELERATED_SECONDS, DEPLOYMENT, EXECUTION, MADE_BY},
    outcome::{Engine, Execution, Object},
    plan::Plan,
    range::RangeRead,
    request::ClipRequest,
    source::S3Source,
    upload,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

/// The longest input that jobs can be searched by, in characters (API reference, `SearchJobs`).
const MAX_SEARCHED_INPUT: usize = 300;
/// Pages of twenty finished jobs that are looked through for one that made the clip.
const MAX_PAGES: usize = 5;

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
    /// Why this function makes the clip, and what that is estimated to cost.
    pub engine: Engine,
    /// Completes the state's task; at most 1,024 characters.
    pub task_token: String,
}

/// The job that makes the clip, or has made it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The job's id.
    pub job_id: String,
}

/// What the function works with.
#[derive(Debug)]
pub struct Deps {
    /// `MediaConvert`.
    pub mediaconvert: aws_sdk_mediaconvert::Client,
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// Step Functions.
    pub sfn: aws_sdk_sfn::Client,
    /// The bucket that clips are written to.
    pub bucket: String,
    /// The most that a clip of this deployment may cost, in US dollars.
    pub max_cost_usd: f64,
    /// The deployment, which jobs are marked with.
    pub deployment: String,
    /// The role that jobs read and write with.
    pub role_arn: String,
    /// The queue of jobs.
    pub queue_arn: String,
    /// The function's published version.
    pub version: String,
}

impl Deps {
    /// Builds the clients and reads the configuration.
    ///
    /// # Errors
    /// `Internal`, naming the variable that is missing.
    pub async fn from_env() -> Result<Self, ClipError> {
        let sdk_config = aws::sdk_config().await;
        Ok(Self {
            mediaconvert: aws_sdk_mediaconvert::Client::new(&sdk_config),
            s3: aws_sdk_s3::Client::new(&sdk_config),
            sfn: aws_sdk_sfn::Client::new(&sdk_config),
            bucket: config::required("CLIPFLOW_BUCKET")?,
            max_cost_usd: config::parsed("CLIPFLOW_MAX_COST_USD")?,
            deployment: config::required("CLIPFLOW_DEPLOYMENT")?,
            role_arn: config::required("CLIPFLOW_MEDIACONVERT_ROLE_ARN")?,
            queue_arn: config::required("CLIPFLOW_MEDIACONVERT_QUEUE_ARN")?,
            version: config::required("AWS_LAMBDA_FUNCTION_VERSION")?,
        })
    }
}

/// Submits the job, unless one has made the clip already.
///
/// # Errors
/// See the module; `DependencyUnavailable` when `MediaConvert`, S3 or Step Functions does not answer.
pub async fn handle(deps: &Deps, input: Input) -> Result<Output, ClipError> {
    let settings = job::settings(&input.probe, &format!("s3://{}/{}clip", deps.bucket, input.request.prefix))?;
    let key = format!("{}clip.mp4", input.request.prefix);
    let made_by = made_by(&deps.version, &key, &input.probe);
    if let Some((job_id, clip)) = find(deps, &key, &made_by, &input.probe).await? {
        tracing::info!(job_id, key, "the clip is there already");
        complete(deps, &input.task_token, &clip).await?;
        return Ok(Output { job_id });
    }
    input.request.check_cost(input.engine.estimate_usd, deps.max_cost_usd)?;
    // A job cannot be told which version of an object to read, so the sources are compared right before.
    for source in &input.probe.sources {
        S3Source::pinned(deps.s3.clone(), source.object.clone()).read(0..1).await?;
    }
    let seconds: f64 = input.probe.segments.iter().map(|segment| segment.window.duration_seconds).sum();
    let accelerated = (seconds >= ACCELERATED_SECONDS).then_some(AccelerationMode::Preferred);
    let mut create = deps
        .mediaconvert
        .create_job()
        .role(&deps.role_arn)
        .queue(&deps.queue_arn)
        .settings(settings)
        .set_acceleration_settings(accelerated.map(|mode| AccelerationSettings::builder().mode(mode).build()))
        .status_update_interval(StatusUpdateInterval::Seconds60)
        .client_request_token(request_token(&input.execution, &input.task_token))
        .tags(DEPLOYMENT, &deps.deployment)
        .tags("clipId", &input.request.clip_id)
        .user_metadata(DEPLOYMENT, &deps.deployment)
        .user_metadata(MADE_BY, made_by)
        .user_metadata(EXECUTION, &input.execution.arn);
    for (name, part) in mediaconvert::token_entries(&input.task_token) {
        create = create.user_metadata(name, part);
    }
    let created = create.send().await.map_err(|error| aws::failure("creating the MediaConvert job", &error))?;
    let job_id = created.job.and_then(|job| job.id);
    let job_id = job_id.ok_or_else(|| ClipError::internal("MediaConvert created a job without an id"))?;
    tracing::info!(job_id, key, "submitted");
    Ok(Output { job_id })
}

/// What a job that makes this clip, with this version of the function, out of these very sources is marked with.
/// `MediaConvert` cannot write metadata to an object, so the mark is the job's, and jobs are kept for three months.
fn made_by(version: &str, key: &str, plan: &Plan) -> String {
    let mut sources = Sha256::new();
    for source in &plan.sources {
        sources.update(format!("{}/{} {}\n", source.object.bucket, source.object.key, source.object.etag));
    }
    format!("transcode {version}: {key} from {}", &hex::encode(sources.finalize())[..12])
}

/// Makes a repeated request of the same task the same job, and of another attempt another: a job hands back the token
/// that it was created with, and each attempt waits for its own. 64 characters, the most that there may be.
fn request_token(execution: &Execution, task_token: &str) -> String {
    hex::encode(Sha256::digest(format!("{} {task_token}", execution.arn)))
}

/// The clip and the finished job that made it.
async fn find(deps: &Deps, key: &str, made_by: &str, plan: &Plan) -> Result<Option<(String, Object)>, ClipError> {
    let first = plan.sources.first().map(|source| format!("s3://{}/{}", source.object.bucket, source.object.key));
    let mut pages = deps
        .mediaconvert
        .search_jobs()
        .queue(&deps.queue_arn)
        .status(JobStatus::Complete)
        .order(Order::Descending)
        .set_input_file(first.filter(|input| input.chars().count() <= MAX_SEARCHED_INPUT))
        .max_results(20)
        .into_paginator()
        .send();
    for _ in 0..MAX_PAGES {
        let Some(page) = pages.next().await else { break };
        let page = page.map_err(|error| aws::failure("searching MediaConvert's jobs", &error))?;
        let mark = |job: &Job| job.user_metadata().and_then(|metadata| metadata.get(MADE_BY)).cloned();
        if let Some(job) = page.jobs().iter().find(|job| mark(job).as_deref() == Some(made_by)) {
            let clip = upload::find(&deps.s3, &deps.bucket, key).await?;
            return Ok(clip.map(|clip| (job.id().unwrap_or_default().to_owned(), clip)));
        }
    }
    Ok(None)
}

async fn complete(deps: &Deps, task_token: &str, clip: &Object) -> Result<(), ClipError> {
    let output = json!({"clip": clip}).to_string();
    let sent = deps.sfn.send_task_success().task_token(task_token).output(output).send().await;
    sent.map(drop).map_err(|error| aws::failure("completing the task", &error))
}
