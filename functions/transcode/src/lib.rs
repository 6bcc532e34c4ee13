//! Submits the `MediaConvert` job that makes the same clip as `trim` would.
//!
//! The state waits for its task token, which the job carries and `resume` returns when the job ends. If a job of this
//! version of the function already made the clip from the same sources, the task is completed at once. If such a job is
//! still queued or running, it is taken over; see [`waiting`]. Raises `SourceNotFound` when a source changed since
//! `probe`, `UnsupportedMedia` for a frame rate or length that time codes cannot count, `TooLong` for what only `trim`
//! can do, and `TooExpensive`.
//!
//! `MediaConvert` cannot write object metadata. So the job carries a mark (this function's version, the key and a
//! digest of the sources' `ETag`s), and we look for it in finished jobs of the same input. The client request token is
//! a hash of execution and task token: a new attempt waits with a new token, and an old job would return the old one. A
//! job cannot be pinned to an `ETag`, so the sources are compared right before it is created. Failed jobs are not
//! billed, so transient error codes of `MediaConvert` are retried. The price is checked right before a job is
//! submitted, even if `trim` handed the clip over.

pub mod job;

use aws::{
    sdk,
    source::S3Source,
    upload,
    waiting::{self, WaitingTask},
};
use aws_sdk_mediaconvert::types::{
    AccelerationMode, AccelerationSettings, Job, JobSettings, JobStatus, Order,
    StatusUpdateInterval,
};
use lambda::environment;
use model::{
    ClipError,
    clip_spec::ClipSpec,
    job_metadata,
    job_metadata::{ACCELERATED_SECONDS, DEPLOYMENT, EXECUTION, MADE_BY},
    outcome::{Engine, Execution, Object},
    plan::Plan,
    request::ClipRequest,
};
use mp4_cut::io::RangeRead;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

/// The longest input that jobs can be searched by, in characters (API reference, `SearchJobs`).
const MAX_SEARCHED_INPUT: usize = 300;
/// How many pages of twenty jobs, newest first, are searched for one that makes the clip.
const MAX_PAGES: usize = 5;

/// The state's input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    pub execution: Execution,
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

#[derive(Debug)]
pub struct Deps {
    pub mediaconvert: aws_sdk_mediaconvert::Client,
    pub s3: aws_sdk_s3::Client,
    pub sfn: aws_sdk_sfn::Client,
    /// The bucket that clips are written to.
    pub bucket: String,
    /// The most that a clip of this deployment may cost, in US dollars.
    pub max_cost_usd: f64,
    /// The deployment, with which jobs are marked.
    pub deployment: String,
    /// The role with which jobs read and write.
    pub role_arn: String,
    pub queue_arn: String,
    pub version: String,
}

impl Deps {
    /// # Errors
    /// `Internal`, naming the environment variable that is missing.
    pub async fn from_env() -> Result<Self, ClipError> {
        let sdk_config = sdk::sdk_config().await;
        Ok(Self {
            mediaconvert: aws_sdk_mediaconvert::Client::new(&sdk_config),
            s3: aws_sdk_s3::Client::new(&sdk_config),
            sfn: aws_sdk_sfn::Client::new(&sdk_config),
            bucket: environment::required("CLIPFLOW_BUCKET")?,
            max_cost_usd: environment::parsed("CLIPFLOW_MAX_COST_USD")?,
            deployment: environment::required("CLIPFLOW_DEPLOYMENT")?,
            role_arn: environment::required("CLIPFLOW_MEDIACONVERT_ROLE_ARN")?,
            queue_arn: environment::required("CLIPFLOW_MEDIACONVERT_QUEUE_ARN")?,
            version: environment::required("AWS_LAMBDA_FUNCTION_VERSION")?,
        })
    }
}

/// Submits the job, unless one has already made the clip or is about to.
///
/// # Errors
/// See the module; `DependencyUnavailable` if `MediaConvert`, S3 or Step Functions does not answer.
pub async fn handle(deps: &Deps, input: Input) -> Result<Output, ClipError> {
    let (request, plan) = (&input.request, &input.probe);
    let spec = ClipSpec::of(request.look(), plan)?;
    check_supported(request, &spec, &input.engine)?;
    let destination = format!("s3://{}/{}clip", deps.bucket, request.prefix);
    let settings = job::settings(request, plan, &spec, &destination)?;
    let key = request.clip_key();
    let made_by = made_by(&deps.version, &key, plan);
    if let Some(job) = find(deps, &made_by, plan).await?
        && adopt(deps, &input, &key, &job).await?
    {
        return Ok(Output { job_id: job.id });
    }
    request.check_cost(input.engine.estimate_usd, deps.max_cost_usd)?;
    // A job cannot be told which version of an object to read, so the sources are compared right before it is created.
    for object in plan.objects() {
        S3Source::pinned(deps.s3.clone(), object.clone())
            .read(0..1)
            .await?;
    }
    let is_accelerated = spec.seconds() >= ACCELERATED_SECONDS;
    let job_id = submit(deps, &input, settings, made_by, is_accelerated).await?;
    tracing::info!(job_id, key, "submitted");
    Ok(Output { job_id })
}

/// Refuses what only `trim` can do.
fn check_supported(
    request: &ClipRequest,
    spec: &ClipSpec,
    engine: &Engine,
) -> Result<(), ClipError> {
    let Some(field) = spec.unsupported_by_mediaconvert(request.look()) else {
        return Ok(());
    };
    let what = match ClipSpec::largest_of_mediaconvert(request.format) {
        Some(largest) if field == "output.format" => format!(
            "makes at most {largest} in this format; the clip is {}",
            spec.size
        ),
        _ => "cannot do this".to_owned(),
    };
    Err(ClipError::too_long(format!(
        "{field}: the clip is too much for a Lambda ({}), and MediaConvert {what}",
        engine.why
    )))
}

/// Creates the job, marked with `made_by`. Returns its id.
async fn submit(
    deps: &Deps,
    input: &Input,
    settings: JobSettings,
    made_by: String,
    is_accelerated: bool,
) -> Result<String, ClipError> {
    let acceleration = is_accelerated.then(|| {
        AccelerationSettings::builder()
            .mode(AccelerationMode::Preferred)
            .build()
    });
    let mut create = deps
        .mediaconvert
        .create_job()
        .role(&deps.role_arn)
        .queue(&deps.queue_arn)
        .settings(settings)
        .set_acceleration_settings(acceleration)
        .status_update_interval(StatusUpdateInterval::Seconds60)
        .client_request_token(request_token(&input.execution, &input.task_token))
        .tags(DEPLOYMENT, &deps.deployment)
        .tags("clipId", &input.request.clip_id)
        .user_metadata(DEPLOYMENT, &deps.deployment)
        .user_metadata(MADE_BY, made_by)
        .user_metadata(EXECUTION, &input.execution.arn);
    for (name, part) in job_metadata::token_entries(&input.task_token) {
        create = create.user_metadata(name, part);
    }
    let created = create
        .send()
        .await
        .map_err(|error| sdk::failure("creating the MediaConvert job", &error))?;
    let job_id = created.job.and_then(|job| job.id);
    job_id.ok_or_else(|| ClipError::internal("MediaConvert created a job without an id"))
}

/// The mark of a job that makes this clip, with this version of the function, from exactly these sources.
/// `MediaConvert` cannot write object metadata, so the job carries the mark; jobs are kept for three months.
fn made_by(version: &str, key: &str, plan: &Plan) -> String {
    format!("transcode {version}: {key} from {}", plan.sources_digest())
}

/// Makes repeated calls for the same task create only one job, and another attempt create another: a job returns the
/// token that it was created with, and each attempt waits for its own. It has 64 characters, the maximum.
fn request_token(execution: &Execution, task_token: &str) -> String {
    hex::encode(Sha256::digest(format!("{} {task_token}", execution.arn)))
}

/// A job that makes exactly this clip and has not failed.
#[derive(Debug)]
struct Found {
    id: String,
    is_complete: bool,
}

impl Found {
    fn of(job: &Job) -> Option<Self> {
        let is_complete = match job.status()? {
            JobStatus::Complete => true,
            JobStatus::Submitted | JobStatus::Progressing => false,
            _ => return None,
        };
        Some(Self {
            id: job.id()?.to_owned(),
            is_complete,
        })
    }
}

/// The newest job of this deployment with this mark.
async fn find(deps: &Deps, made_by: &str, plan: &Plan) -> Result<Option<Found>, ClipError> {
    let first = plan
        .sources
        .first()
        .map(|source| format!("s3://{}/{}", source.object.bucket, source.object.key));
    let mut pages = deps
        .mediaconvert
        .search_jobs()
        .queue(&deps.queue_arn)
        .order(Order::Descending)
        .set_input_file(first.filter(|input| input.chars().count() <= MAX_SEARCHED_INPUT))
        .max_results(20)
        .into_paginator()
        .send();
    let is_ours = |job: &&Job| {
        let value = |key| job.user_metadata()?.get(key).map(String::as_str);
        value(MADE_BY) == Some(made_by) && value(DEPLOYMENT) == Some(deps.deployment.as_str())
    };
    for _ in 0..MAX_PAGES {
        let Some(page) = pages.next().await else {
            break;
        };
        let page = page.map_err(|error| sdk::failure("searching MediaConvert's jobs", &error))?;
        let found = page.jobs().iter().filter(is_ours).find_map(Found::of);
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Lets the job complete this task: now, if it has made the clip, or otherwise when it has. `false` if it will not.
async fn adopt(deps: &Deps, input: &Input, key: &str, job: &Found) -> Result<bool, ClipError> {
    let job_id = job.id.as_str();
    if !job.is_complete {
        let task = WaitingTask {
            task_token: input.task_token.clone(),
            execution: input.execution.arn.clone(),
        };
        waiting::take_over(&deps.s3, &deps.bucket, job_id, &task).await?;
        match look(deps, job_id).await? {
            None => return Ok(false),
            Some(job) if !job.is_complete => {
                tracing::info!(job_id, key, "taken over");
                return Ok(true);
            }
            Some(_) => {}
        }
    }
    let Some(found) = upload::find(&deps.s3, &deps.bucket, key).await? else {
        return Ok(false);
    };
    tracing::info!(job_id, key, "the clip is there already");
    complete(deps, &input.task_token, &found.object).await?;
    Ok(true)
}

/// The job's present state; `None` if it failed or was cancelled.
async fn look(deps: &Deps, job_id: &str) -> Result<Option<Found>, ClipError> {
    let got = deps.mediaconvert.get_job().id(job_id).send().await;
    let doing = format!("looking at MediaConvert job {job_id}");
    let got = got.map_err(|error| sdk::failure(&doing, &error))?;
    Ok(got.job.as_ref().and_then(Found::of))
}

async fn complete(deps: &Deps, task_token: &str, clip: &Object) -> Result<(), ClipError> {
    let output = json!({"clip": clip}).to_string();
    let sent = deps
        .sfn
        .send_task_success()
        .task_token(task_token)
        .output(output)
        .send()
        .await;
    sent.map(drop)
        .map_err(|error| sdk::failure("completing the task", &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_mediaconvert::{
        config::{
            ConfigBag, Intercept, RuntimeComponents,
            interceptors::BeforeTransmitInterceptorContextRef,
        },
        error::BoxError,
        operation::{
            create_job::CreateJobOutput, get_job::GetJobOutput, search_jobs::SearchJobsOutput,
        },
        types::{
            ColorSpace, ColorSpaceConversion, ColorSpaceUsage, H264ParControl, H264Settings,
            H265CodecProfile, InputSampleRange, ScalingBehavior,
        },
    };
    use aws_sdk_s3::{
        operation::{
            get_object::GetObjectOutput, head_object::HeadObjectOutput, put_object::PutObjectOutput,
        },
        primitives::ByteStream,
    };
    use aws_sdk_sfn::operation::send_task_success::SendTaskSuccessOutput;
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
    use expect_test::expect_file;
    use model::{ErrorKind, parse};
    use serde_json::Value;
    use std::sync::{Arc, Mutex};

    fn input(change: impl Fn(&mut Value)) -> Input {
        let window = json!({"startSeconds": 1.0, "endSeconds": 2.0, "durationSeconds": 1.0, "frames": 30,
            "prerollFrames": 0, "keyframeSeconds": 1.0, "nextKeyframeSeconds": null, "hasAudio": true,
            "timescale": 30000, "outputBytes": 1000, "sourceBytes": 900});
        let video = json!({"codec": "h264", "codedWidth": 640, "codedHeight": 360, "width": 640, "height": 360,
            "rotationDegrees": 0, "frameRate": 30.0, "constantFrameRate": true, "timescale": 30000, "frames": 300,
            "startSeconds": 0.0, "durationSeconds": 10.0, "bitRate": 1000});
        let facts = json!({"container": "isom", "bytes": 10000, "indexStart": 0, "indexBytes": 100, "durationSeconds": 10.0,
            "video": video, "droppedTracks": [],
            "audio": {"codec": "aac", "channels": 2, "sampleRate": 44100, "bitRate": 1000, "tracks": 1}});
        let object = json!({"bucket": "archive", "key": "k.mp4", "etag": "\"e\"", "bytes": 10000});
        let request = json!({"clipId": "a", "prefix": "clips/a/b/", "segments": [], "cut": "exact", "thumbnails": [],
            "metadata": {}});
        let mut input = json!({"execution": {"arn": "arn:e", "startedAt": "2026-01-01T00:00:00Z"}, "request": request,
            "probe": {"sources": [{"object": object, "facts": facts}], "segments": [{"source": 0, "window": window}]},
            "engine": {"name": "transcode", "why": "long", "estimateUsd": 0.1}, "taskToken": "t".repeat(1024)});
        change(&mut input);
        parse(input).expect("a valid input")
    }

    async fn transcode(
        input: Input,
        mediaconvert: &[&Rule],
        s3: &[&Rule],
        sfn: &[&Rule],
    ) -> Result<Output, ClipError> {
        let deps = Deps {
            mediaconvert: mock_client!(aws_sdk_mediaconvert, RuleMode::MatchAny, mediaconvert),
            s3: mock_client!(aws_sdk_s3, RuleMode::MatchAny, s3),
            sfn: mock_client!(aws_sdk_sfn, RuleMode::MatchAny, sfn),
            bucket: "clips".into(),
            max_cost_usd: 5.0,
            deployment: "surf".into(),
            role_arn: "arn:role".into(),
            queue_arn: "arn:queue".into(),
            version: "3".into(),
        };
        handle(&deps, input).await
    }

    fn no_jobs() -> Rule {
        mock!(aws_sdk_mediaconvert::Client::search_jobs)
            .match_requests(|search| search.input_file() == Some("s3://archive/k.mp4"))
            .then_output(|| SearchJobsOutput::builder().build())
    }

    fn unchanged() -> Rule {
        mock!(aws_sdk_s3::Client::get_object)
            .match_requests(|get| get.if_match() == Some("\"e\""))
            .then_output(|| {
                GetObjectOutput::builder()
                    .body(ByteStream::from_static(b"x"))
                    .build()
            })
    }

    fn created(
        expect: impl Fn(&aws_sdk_mediaconvert::operation::create_job::CreateJobInput) -> bool
        + Send
        + Sync
        + 'static,
    ) -> Rule {
        mock!(aws_sdk_mediaconvert::Client::create_job)
            .match_requests(expect)
            .then_output(|| {
                CreateJobOutput::builder()
                    .job(Job::builder().id("1-a").build())
                    .build()
            })
    }

    #[tokio::test]
    async fn job_carries_the_token_in_parts_and_is_marked() {
        let create = created(|job| {
            let metadata = job.user_metadata().expect("metadata");
            job_metadata::token(metadata) == Some("t".repeat(1024))
                && metadata.values().all(|value| value.len() <= 256)
                && metadata.len() <= 10
                && metadata[DEPLOYMENT] == "surf"
                && metadata[EXECUTION] == "arn:e"
                && job.client_request_token().map(str::len) == Some(64)
                && job.acceleration_settings().is_none()
        });
        let output = transcode(input(|_| ()), &[&no_jobs(), &create], &[&unchanged()], &[]).await;
        assert_eq!(
            output,
            Ok(Output {
                job_id: "1-a".into()
            })
        );
    }

    #[tokio::test]
    async fn clip_that_a_finished_job_made_completes_the_task() {
        let wanted = made_by("3", "clips/a/b/clip.mp4", &input(|_| ()).probe);
        let search = mock!(aws_sdk_mediaconvert::Client::search_jobs).then_output(move || {
            let complete = |id, mark| marked(id, mark, JobStatus::Complete);
            let elsewhere = Job::builder()
                .user_metadata(DEPLOYMENT, "other")
                .user_metadata(MADE_BY, &wanted);
            SearchJobsOutput::builder()
                .jobs(complete("1-other", "another"))
                .jobs(elsewhere.status(JobStatus::Complete).build())
                .jobs(marked("1-failed", &wanted, JobStatus::Error))
                .jobs(complete("1-this", &wanted))
                .build()
        });
        let head = mock!(aws_sdk_s3::Client::head_object).then_output(|| {
            HeadObjectOutput::builder()
                .content_length(7)
                .e_tag("\"c\"")
                .build()
        });
        let success = mock!(aws_sdk_sfn::Client::send_task_success)
            .match_requests(|send| {
                send.output()
                    == Some(r#"{"clip":{"key":"clips/a/b/clip.mp4","bytes":7,"etag":"c"}}"#)
            })
            .then_output(|| SendTaskSuccessOutput::builder().build());
        let output = transcode(input(|_| ()), &[&search], &[&head], &[&success]).await;
        assert_eq!(
            output,
            Ok(Output {
                job_id: "1-this".into()
            })
        );
        assert_eq!(success.num_calls(), 1);
    }

    fn marked(id: &str, mark: &str, status: JobStatus) -> Job {
        Job::builder()
            .id(id)
            .status(status)
            .user_metadata(DEPLOYMENT, "surf")
            .user_metadata(MADE_BY, mark)
            .build()
    }

    /// The result for a clip whose job is queued at first, and has the status `then` once its token has been replaced.
    async fn found_waiting(then: JobStatus) -> (Result<Output, ClipError>, [usize; 3]) {
        let wanted = made_by("3", "clips/a/b/clip.mp4", &input(|_| ()).probe);
        let mark = wanted.clone();
        let search = mock!(aws_sdk_mediaconvert::Client::search_jobs).then_output(move || {
            let job = marked("1-this", &mark, JobStatus::Submitted);
            SearchJobsOutput::builder().jobs(job).build()
        });
        let look = mock!(aws_sdk_mediaconvert::Client::get_job)
            .match_requests(|get| get.id() == Some("1-this"))
            .then_output(move || {
                let job = marked("1-this", &wanted, then.clone());
                GetJobOutput::builder().job(job).build()
            });
        let put = mock!(aws_sdk_s3::Client::put_object)
            .match_requests(|put| {
                let body = put.body().bytes().expect("it is in memory");
                let task: Value = serde_json::from_slice(body).expect("JSON");
                put.key() == Some("tasks/1-this.json")
                    && task == json!({"taskToken": "t".repeat(1024), "execution": "arn:e"})
            })
            .then_output(|| PutObjectOutput::builder().build());
        let head = mock!(aws_sdk_s3::Client::head_object)
            .then_output(|| HeadObjectOutput::builder().content_length(7).build());
        let success = mock!(aws_sdk_sfn::Client::send_task_success)
            .then_output(|| SendTaskSuccessOutput::builder().build());
        let create = created(|_| true);
        let output = transcode(
            input(|_| ()),
            &[&search, &look, &create],
            &[&put, &head, &unchanged()],
            &[&success],
        )
        .await;
        let calls = [&put, &create, &success].map(Rule::num_calls);
        (output, calls)
    }

    #[tokio::test]
    async fn job_that_waits_is_taken_over_and_not_submitted_again() {
        for then in [JobStatus::Submitted, JobStatus::Progressing] {
            let (output, calls) = found_waiting(then).await;
            let job_id = "1-this".to_owned();
            assert_eq!((output, calls), (Ok(Output { job_id }), [1, 0, 0]));
        }
    }

    #[tokio::test]
    async fn job_that_ends_while_it_is_taken_over_completes_the_task_or_is_submitted_again() {
        let (output, calls) = found_waiting(JobStatus::Complete).await;
        let job_id = "1-this".to_owned();
        assert_eq!((output, calls), (Ok(Output { job_id }), [1, 0, 1]));
        let (output, calls) = found_waiting(JobStatus::Canceled).await;
        let job_id = "1-a".to_owned();
        assert_eq!((output, calls), (Ok(Output { job_id }), [1, 1, 0]));
    }

    #[test]
    fn clip_of_another_source_or_version_is_another_clip() {
        let (key, plan) = ("clips/a/b/clip.mp4", input(|_| ()).probe);
        let changed =
            input(|input| input["probe"]["sources"][0]["object"]["etag"] = json!("\"f\"")).probe;
        assert_ne!(made_by("3", key, &plan), made_by("4", key, &plan));
        assert_ne!(made_by("3", key, &plan), made_by("3", key, &changed));
        assert!(made_by("3", &"k".repeat(200), &plan).len() <= 256);
    }

    #[tokio::test]
    async fn source_that_changed_is_source_not_found() {
        let changed = mock!(aws_sdk_s3::Client::get_object).then_http_response(|| {
            aws_sdk_s3::config::http::HttpResponse::new(
                412.try_into().expect("a status"),
                "".into(),
            )
        });
        let error = transcode(input(|_| ()), &[&no_jobs()], &[&changed], &[])
            .await
            .expect_err("it changed");
        assert_eq!(error.kind, ErrorKind::SourceNotFound);
    }

    #[tokio::test]
    async fn clip_above_its_ceiling_is_submitted_nowhere() {
        let dear = input(|input| input["engine"]["estimateUsd"] = json!(5.1));
        let error = transcode(dear, &[&no_jobs()], &[], &[])
            .await
            .expect_err("it is too expensive");
        assert_eq!(error.kind, ErrorKind::TooExpensive);
    }

    #[tokio::test]
    async fn clip_of_an_hour_is_accelerated() {
        let create = created(|job| {
            job.acceleration_settings()
                .is_some_and(|settings| settings.mode() == Some(&AccelerationMode::Preferred))
        });
        let long = input(|input| {
            let window = &mut input["probe"]["segments"][0]["window"];
            window["endSeconds"] = json!(3601.0);
            window["durationSeconds"] = json!(3600.0);
        });
        assert!(
            transcode(long, &[&no_jobs(), &create], &[&unchanged()], &[])
                .await
                .is_ok()
        );
    }

    fn settings(input: &Input) -> aws_sdk_mediaconvert::types::JobSettings {
        let spec = ClipSpec::of(input.request.look(), &input.probe).expect("a clip");
        job::settings(
            &input.request,
            &input.probe,
            &spec,
            "s3://clips/clips/a/b/clip",
        )
        .expect("a job")
    }

    #[tokio::test]
    async fn what_only_trim_can_do_is_too_long_and_named() {
        for (pointer, value, field) in [
            ("edits", json!({"speed": 0.5}), "edits.speed"),
            ("edits", json!({"fade": {"in": 0.5}}), "edits.fade"),
            ("format", json!("webm"), "output.format"),
        ] {
            let input = input(|input| input["request"][pointer] = value.clone());
            let error = transcode(input, &[], &[], &[])
                .await
                .expect_err("MediaConvert cannot");
            assert_eq!(error.kind, ErrorKind::TooLong);
            assert!(
                error.message.starts_with(&format!(
                    "{field}: the clip is too much for a Lambda (long)"
                )),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn clip_that_is_too_large_for_both_engines_names_the_format() {
        let large = input(|input| resize(input, 65535, 65535));
        let error = transcode(large, &[], &[], &[])
            .await
            .expect_err("too large");
        assert_eq!(
            error,
            ClipError::too_long(
                "output.format: the clip is too much for a Lambda (long), and MediaConvert makes at most 4096x2160 in \
                 this format; the clip is 65534x65534"
            )
        );
    }

    /// Gives the source another size.
    fn resize(input: &mut Value, width: u32, height: u32) {
        let video = &mut input["probe"]["sources"][0]["facts"]["video"];
        for (field, pixels) in [("width", width), ("height", height)] {
            video[field] = json!(pixels);
        }
        video["codedWidth"] = json!(width);
        video["codedHeight"] = json!(height);
    }

    #[test]
    fn job_always_names_the_clip_s_size_and_square_pixels() {
        let sized = |change: fn(&mut Value)| {
            let settings = settings(&input(change));
            let video = settings.output_groups()[0].outputs()[0].video_description();
            let video = video.expect("pictures").clone();
            let codec = video
                .codec_settings()
                .and_then(|codec| codec.h264_settings());
            let codec = codec.expect("H.264");
            assert_eq!(codec.par_control(), Some(&H264ParControl::Specified));
            assert_eq!(
                (codec.par_numerator(), codec.par_denominator()),
                (Some(1), Some(1))
            );
            (
                video.width(),
                video.height(),
                video.scaling_behavior().cloned(),
            )
        };
        let stretch = Some(ScalingBehavior::StretchToOutput);
        assert_eq!(sized(|_| ()), (Some(640), Some(360), stretch.clone()));
        let odd = |input: &mut Value| resize(input, 853, 481);
        assert_eq!(sized(odd), (Some(852), Some(480), stretch.clone()));
        let turned = |input: &mut Value| {
            resize(input, 360, 640);
            let video = &mut input["probe"]["sources"][0]["facts"]["video"];
            video["rotationDegrees"] = json!(90);
            video["codedWidth"] = json!(640);
            video["codedHeight"] = json!(360);
        };
        assert_eq!(sized(turned), (Some(360), Some(640), stretch.clone()));
        let anamorphic = |input: &mut Value| {
            resize(input, 1024, 576);
            input["probe"]["sources"][0]["facts"]["video"]["codedWidth"] = json!(720);
        };
        assert_eq!(sized(anamorphic), (Some(1024), Some(576), stretch));
        let contained = |input: &mut Value| {
            input["request"]["edits"] = json!({"resize": {"width": 320, "height": 320}});
        };
        let padded = (Some(320), Some(320), Some(ScalingBehavior::Default));
        assert_eq!(sized(contained), padded);
    }

    #[test]
    fn no_job_asks_for_more_bits_than_the_service_takes() {
        let huge = settings(&input(|input| resize(input, 65535, 65535)));
        let video = huge.output_groups()[0].outputs()[0].video_description();
        let codec = video.and_then(|video| video.codec_settings()?.h264_settings());
        assert_eq!(
            codec.and_then(H264Settings::max_bitrate),
            Some(1_152_000_000)
        );
    }

    /// Settings of a job whose sources have these depths and colours, in a format: the HEVC profile, the colour
    /// conversion, and the colours of each input.
    fn pixels(format: &str, sources: &[(u8, [u8; 3])]) -> [Value; 3] {
        let input = input(|input| {
            input["request"]["format"] = json!(format);
            let probe = &mut input["probe"];
            let (source, segment) = (probe["sources"][0].clone(), probe["segments"][0].clone());
            let mut lists = (Vec::new(), Vec::new());
            for (index, (depth, [primaries, transfer, matrix])) in sources.iter().enumerate() {
                let (mut source, mut segment) = (source.clone(), segment.clone());
                source["facts"]["video"]["pixels"] = json!({"bitDepth": depth, "chroma": "4:2:0", "fullRange": false,
                    "primaries": primaries, "transfer": transfer, "matrix": matrix});
                segment["source"] = json!(index);
                lists.0.push(source);
                lists.1.push(segment);
            }
            (probe["sources"], probe["segments"]) = (lists.0.into(), lists.1.into());
        });
        let settings = settings(&input);
        let output = &settings.output_groups()[0].outputs()[0];
        let video = output.video_description().expect("pictures");
        let codec = video
            .codec_settings()
            .and_then(|codec| codec.h265_settings());
        let profile = codec.and_then(|h265| h265.codec_profile());
        let corrector = video
            .video_preprocessors()
            .and_then(|all| all.color_corrector());
        let conversion = corrector.and_then(|corrector| corrector.color_space_conversion());
        let inputs = settings.inputs().iter().map(|input| {
            let selector = input.video_selector().expect("pictures");
            let forced = selector.color_space_usage() == Some(&ColorSpaceUsage::Force);
            let colours = selector.color_space().filter(|_| forced);
            assert_eq!(
                selector.sample_range(),
                Some(&InputSampleRange::LimitedRange)
            );
            colours.map(ColorSpace::as_str)
        });
        [
            json!(profile.map(H265CodecProfile::as_str)),
            json!(conversion.map(ColorSpaceConversion::as_str)),
            inputs.collect(),
        ]
    }

    #[test]
    fn job_keeps_bits_and_hdr_in_hevc_and_makes_sdr_of_hdr_in_h264() {
        let (sdr, pq, hlg) = ([1, 1, 1], [9, 16, 9], [9, 18, 9]);
        for (format, sources, wanted) in [
            ("hevc", &[(8, sdr)][..], json!([null, null, ["REC_709"]])),
            (
                "hevc",
                &[(10, sdr)],
                json!(["MAIN10_MAIN", null, ["REC_709"]]),
            ),
            ("hevc", &[(10, pq)], json!(["MAIN10_MAIN", null, ["HDR10"]])),
            (
                "hevc",
                &[(10, hlg)],
                json!(["MAIN10_MAIN", null, ["HLG_2020"]]),
            ),
            (
                "hevc",
                &[(10, hlg), (8, sdr)],
                json!(["MAIN10_MAIN", "FORCE_709", ["HLG_2020", "REC_709"]]),
            ),
            ("mp4", &[(10, pq)], json!([null, "FORCE_709", ["HDR10"]])),
            (
                "mp4",
                &[(10, hlg)],
                json!([null, "FORCE_709", ["HLG_2020"]]),
            ),
            (
                "mp4",
                &[(8, sdr), (10, hlg)],
                json!([null, "FORCE_709", ["REC_709", "HLG_2020"]]),
            ),
            ("source", &[(10, pq)], json!([null, "FORCE_709", ["HDR10"]])),
            ("mp4", &[(10, sdr)], json!([null, null, ["REC_709"]])),
            ("mp4", &[(8, [6, 6, 6])], json!([null, null, ["REC_601"]])),
            ("mp4", &[(8, [2, 2, 2])], json!([null, null, [null]])),
        ] {
            assert_eq!(
                json!(pixels(format, sources)),
                wanted,
                "{format} of {sources:?}"
            );
        }
    }

    #[test]
    fn clipping_ends_with_the_frame_before_the_end() {
        let settings = settings(&input(|_| ()));
        let clipping = &settings.inputs()[0].input_clippings()[0];
        assert_eq!(clipping.start_timecode(), Some("00:00:01:00"));
        assert_eq!(clipping.end_timecode(), Some("00:00:01:29"));
    }

    #[test]
    fn silent_source_has_no_sound_selected() {
        let silent = input(|input| {
            input["probe"]["sources"][0]["facts"]["audio"] = Value::Null;
            input["probe"]["segments"][0]["window"]["hasAudio"] = json!(false);
        });
        let settings = settings(&silent);
        assert!(settings.inputs()[0].audio_selectors().is_none());
        assert!(
            settings.output_groups()[0].outputs()[0]
                .audio_descriptions()
                .is_empty()
        );
    }

    /// The frame rate in a job's video settings.
    fn frame_rate(
        settings: &aws_sdk_mediaconvert::types::JobSettings,
    ) -> (Option<i32>, Option<i32>) {
        let video = settings.output_groups()[0].outputs()[0]
            .video_description()
            .and_then(|video| video.codec_settings());
        let h264 = video
            .and_then(|codec| codec.h264_settings())
            .expect("H.264");
        (h264.framerate_numerator(), h264.framerate_denominator())
    }

    #[test]
    fn variable_frame_rate_is_converted_to_the_rate_that_frames_are_counted_at() {
        let variable = input(|input| {
            let video = &mut input["probe"]["sources"][0]["facts"]["video"];
            video["frameRate"] = json!(27.0);
            video["constantFrameRate"] = json!(false);
        });
        let settings = settings(&variable);
        assert_eq!(frame_rate(&settings), (Some(30), Some(1)));
        assert_eq!(
            settings.inputs()[0].input_clippings()[0].end_timecode(),
            Some("00:00:01:29")
        );
    }

    #[test]
    fn frame_rate_that_is_asked_for_is_the_jobs() {
        let asked = input(|input| input["request"]["frameRate"] = json!(23.976));
        let asked = settings(&asked);
        assert_eq!(frame_rate(&asked), (Some(24_000), Some(1001)));
        let plain = settings(&input(|_| ()));
        assert_eq!(frame_rate(&plain), (None, None));
        let [asked, plain] = [&asked, &plain].map(|job| job.inputs()[0].input_clippings());
        assert_eq!(asked, plain, "source frames are counted at its own rate");
    }

    /// What a client sends.
    #[derive(Debug, Clone, Default)]
    struct Sent(Arc<Mutex<Vec<u8>>>);

    impl Intercept for Sent {
        fn name(&self) -> &'static str {
            "Sent"
        }

        fn read_before_transmit(
            &self,
            context: &BeforeTransmitInterceptorContextRef<'_>,
            _: &RuntimeComponents,
            _: &mut ConfigBag,
        ) -> Result<(), BoxError> {
            let body = context.request().body().bytes().unwrap_or_default();
            *self.0.lock().expect("nothing panics meanwhile") = body.to_vec();
            Ok(())
        }
    }

    /// The settings of a job as `MediaConvert` receives them.
    async fn sent(input: &Input) -> String {
        let sent = Sent::default();
        let answer = mock!(aws_sdk_mediaconvert::Client::create_job)
            .then_output(|| CreateJobOutput::builder().build());
        let client = mock_client!(
            aws_sdk_mediaconvert,
            RuleMode::MatchAny,
            [&answer],
            |config| { config.interceptor(sent.clone()) }
        );
        let create = client
            .create_job()
            .role("arn:role")
            .settings(settings(input));
        create.send().await.expect("an answer");
        let body = sent.0.lock().expect("nothing panics meanwhile");
        let mut job: Value = serde_json::from_slice(&body).expect("JSON");
        job.sort_all_objects();
        serde_json::to_string_pretty(&job["settings"]).expect("JSON") + "\n"
    }

    #[tokio::test]
    async fn snapshot_of_job_settings() {
        let plain = sent(&input(|_| ())).await;
        expect_file!["../tests/snapshots/plain.json"].assert_eq(&plain);
        let edited = input(|input| {
            let picture =
                json!({"bucket": "archive", "key": "logo.png", "etag": "\"l\"", "bytes": 100});
            input["probe"]["watermark"] = json!({"object": picture, "width": 200, "height": 100});
            input["request"]["format"] = json!("hevc");
            input["request"]["quality"] = json!("high");
            input["request"]["edits"] = json!({"rotate": 90, "crop": {"x": 10, "y": 20, "width": 300, "height": 400},
                "resize": {"width": 240, "height": 240, "fit": "cover"},
                "watermark": {"key": "logo.png", "opacity": 0.5}});
        });
        expect_file!["../tests/snapshots/edited.json"].assert_eq(&sent(&edited).await);
        let joined = input(|input| {
            let probe = &mut input["probe"];
            let (mut source, mut segment) =
                (probe["sources"][0].clone(), probe["segments"][0].clone());
            source["object"]["key"] = json!("silent.mp4");
            source["facts"]["audio"] = Value::Null;
            source["facts"]["video"]["frameRate"] = json!(25.0);
            segment["source"] = json!(1);
            segment["window"]["hasAudio"] = json!(false);
            probe["sources"]
                .as_array_mut()
                .expect("sources")
                .push(source);
            probe["segments"]
                .as_array_mut()
                .expect("segments")
                .push(segment);
        });
        expect_file!["../tests/snapshots/joined.json"].assert_eq(&sent(&joined).await);
    }
}
