//! Tells the execution that waits for a `MediaConvert` job about its progress and its end.
//!
//! It notifies the task that has taken the job over or, if there is none, the task whose token the job carries.
//!
//! Events arrive late, more than once and out of order, so it is no error if the task no longer waits: a job's end
//! completes its task once, and later events change nothing. This function fails only if another try may help, or if a
//! person must look.
//!
//! The task token, up to 1,024 characters, travels in the job's user metadata, 256 to a key. There
//! are no events while a job is queued, so the task's heartbeat is as long as a job may wait there.

use aws::{sdk, upload, waiting};
use aws_sdk_sfn::error::{ProvideErrorMetadata, SdkError};
use lambda::environment;
use model::{
    ClipError, ErrorKind, job_metadata,
    text::{MAX_MESSAGE, shorten},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Codes of failures unrelated to the job (user guide, "Error codes"): internal errors of the service, and timeouts and
/// server errors of S3. A failed job is not billed, so retrying is free.
const PASSING: [i64; 4] = [1999, 3408, 3450, 3999];

/// Codes of jobs whose source is at fault (ibid.): it has no video or an unsupported codec, cannot be parsed, ends too
/// early, or has audio that cannot be decoded.
const SOURCE_AT_FAULT: [i64; 5] = [1020, 1030, 1075, 1076, 1092];
/// The code of a job that cannot open its source, and the text in its message if the source itself is the reason.
const UNOPENED: (i64, &str) = (1010, "Failed probe/open");

/// An event about a job. The rule selects jobs of this deployment.
#[derive(Debug, Deserialize)]
pub struct Input {
    /// What happened.
    pub detail: Detail,
}

/// What happened to a job (user guide, "Using `EventBridge` with AWS Elemental `MediaConvert`").
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    pub job_id: String,
    /// Its present status.
    pub status: Status,
    /// The metadata that `transcode` gave it.
    #[serde(default)]
    pub user_metadata: HashMap<String, String>,
    /// Its outputs, once it is complete.
    #[serde(default)]
    pub output_group_details: Vec<OutputGroup>,
    /// Why it failed, as a number.
    pub error_code: Option<i64>,
    /// Why it failed, for people.
    pub error_message: Option<String>,
}

/// The status of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// It left the queue.
    Progressing,
    /// It is progressing.
    StatusUpdate,
    /// All of its output is written.
    Complete,
    /// It failed.
    Error,
    /// Somebody cancelled it.
    Canceled,
}

/// A group of outputs; clipflow's jobs have one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputGroup {
    /// The group's outputs; clipflow's have one.
    #[serde(default)]
    pub output_details: Vec<OutputDetail>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputDetail {
    /// URIs of the files that were written.
    #[serde(default)]
    pub output_file_paths: Vec<String>,
}

#[derive(Debug)]
pub struct Deps {
    pub s3: aws_sdk_s3::Client,
    pub sfn: aws_sdk_sfn::Client,
    /// The bucket that clips are written to.
    pub bucket: String,
}

impl Deps {
    /// # Errors
    /// `Internal`, naming the environment variable that is missing.
    pub async fn from_env() -> Result<Self, ClipError> {
        let sdk_config = sdk::sdk_config().await;
        Ok(Self {
            s3: aws_sdk_s3::Client::new(&sdk_config),
            sfn: aws_sdk_sfn::Client::new(&sdk_config),
            bucket: environment::required("CLIPFLOW_BUCKET")?,
        })
    }
}

/// Completes, fails or keeps alive the task that waits for the job.
///
/// # Errors
/// `Internal` if the event has no task token or no output of this deployment, `DependencyUnavailable` if S3 or Step
/// Functions does not answer.
pub async fn handle(deps: &Deps, input: Input) -> Result<Value, ClipError> {
    let Detail { job_id, status, .. } = &input.detail;
    let token = job_metadata::token(&input.detail.user_metadata)
        .ok_or_else(|| ClipError::internal(format!("job {job_id} carries no task token")))?;
    let task = waiting::taken_over_by(&deps.s3, &deps.bucket, job_id).await?;
    let token = task.map_or(token, |task| task.task_token);
    let waiting = match status {
        Status::Progressing | Status::StatusUpdate => taken(
            deps.sfn
                .send_task_heartbeat()
                .task_token(token)
                .send()
                .await,
        ),
        Status::Complete => {
            let output = json!({"clip": clip(deps, &input.detail).await?}).to_string();
            taken(
                deps.sfn
                    .send_task_success()
                    .task_token(token)
                    .output(output)
                    .send()
                    .await,
            )
        }
        Status::Error | Status::Canceled => {
            let failure = failure(&input.detail);
            let send = deps
                .sfn
                .send_task_failure()
                .task_token(token)
                .error(failure.kind.name());
            // The same shape as a Lambda's failure, so that readers of causes need only one.
            let cause = json!({"errorType": failure.kind.name(), "errorMessage": failure.message})
                .to_string();
            taken(send.cause(cause).send().await)
        }
    }?;
    tracing::info!(job_id, ?status, waiting, "told the execution");
    Ok(json!({}))
}

async fn clip(deps: &Deps, detail: &Detail) -> Result<model::outcome::Object, ClipError> {
    let outputs = detail
        .output_group_details
        .iter()
        .flat_map(|group| &group.output_details);
    let path = outputs.flat_map(|output| &output.output_file_paths).next();
    let key = path.and_then(|path| path.strip_prefix(&format!("s3://{}/", deps.bucket)));
    let key = key.ok_or_else(|| {
        ClipError::internal(format!("job {}: {path:?} is no clip", detail.job_id))
    })?;
    let found = upload::find(&deps.s3, &deps.bucket, key).await?;
    found.map(|found| found.object).ok_or_else(|| {
        ClipError::internal(format!(
            "job {} completed, and {key} is not there",
            detail.job_id
        ))
    })
}

fn failure(detail: &Detail) -> ClipError {
    let kind = match detail.error_code {
        Some(code) if PASSING.contains(&code) => ErrorKind::DependencyUnavailable,
        Some(code) if is_of_source(code, detail) => ErrorKind::UnsupportedMedia,
        _ => ErrorKind::TranscodeFailed,
    };
    let job_id = &detail.job_id;
    let message = match (
        detail.status,
        detail.error_code,
        detail.error_message.as_deref(),
    ) {
        (Status::Canceled, ..) => format!("MediaConvert job {job_id} was cancelled"),
        (_, code, message) => {
            let code = code.map_or_else(String::new, |code| format!(" {code}"));
            let message = shorten(message.unwrap_or("no message"), MAX_MESSAGE);
            format!("MediaConvert job {job_id} ended with error{code}: {message}")
        }
    };
    ClipError { kind, message }
}

/// Whether a job failed with a code because of its source.
fn is_of_source(code: i64, detail: &Detail) -> bool {
    let (unopened, because) = UNOPENED;
    let message = detail.error_message.as_deref().unwrap_or_default();
    SOURCE_AT_FAULT.contains(&code) || code == unopened && message.contains(because)
}

/// Whether a task was still waiting for what was sent.
fn taken<T, E: ProvideErrorMetadata + std::error::Error + 'static>(
    sent: Result<T, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>,
) -> Result<bool, ClipError> {
    match sent {
        Ok(_) => Ok(true),
        Err(error)
            if error
                .as_service_error()
                .and_then(ProvideErrorMetadata::code)
                .is_some_and(|code| {
                    // The token was used, the state has timed out, or the execution has ended.
                    ["TaskDoesNotExist", "TaskTimedOut"].contains(&code)
                }) =>
        {
            Ok(false)
        }
        Err(error) => Err(sdk::failure("telling the execution", &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::{
        operation::{
            get_object::{GetObjectError, GetObjectOutput},
            head_object::HeadObjectOutput,
        },
        primitives::ByteStream,
    };
    use aws_sdk_sfn::{
        error::ErrorMetadata,
        operation::{
            send_task_failure::SendTaskFailureOutput,
            send_task_heartbeat::SendTaskHeartbeatOutput,
            send_task_success::{SendTaskSuccessError, SendTaskSuccessOutput},
        },
        types::error::{InvalidToken, TaskDoesNotExist, TaskTimedOut},
    };
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};

    /// Longer than one entry of a job's metadata.
    fn token() -> String {
        "t".repeat(700)
    }

    async fn resume(sfn: &Rule, detail: Value) -> Result<Value, ClipError> {
        let nobody = mock!(aws_sdk_s3::Client::get_object).then_error(|| {
            GetObjectError::generic(ErrorMetadata::builder().code("NoSuchKey").build())
        });
        resume_taken_over(sfn, &nobody, detail).await
    }

    async fn resume_taken_over(sfn: &Rule, task: &Rule, detail: Value) -> Result<Value, ClipError> {
        let head = mock!(aws_sdk_s3::Client::head_object)
            .match_requests(|request| request.key() == Some("clips/a/b/clip.mp4"))
            .then_output(|| {
                HeadObjectOutput::builder()
                    .content_length(7)
                    .e_tag("\"e\"")
                    .build()
            });
        let deps = Deps {
            s3: mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&head, task]),
            sfn: mock_client!(aws_sdk_sfn, [sfn]),
            bucket: "clips".into(),
        };
        let metadata: serde_json::Map<_, _> = job_metadata::token_entries(&token())
            .into_iter()
            .map(|(key, part)| (key, part.into()))
            .collect();
        let mut event = json!({"source": "aws.mediaconvert", "detail": {"jobId": "1-a", "userMetadata": metadata}});
        event["detail"]
            .as_object_mut()
            .expect("an object")
            .extend(detail.as_object().expect("an object").clone());
        handle(&deps, model::parse(event)?).await
    }

    /// The metadata of a service's error, besides its type.
    fn code(code: &str) -> ErrorMetadata {
        ErrorMetadata::builder().code(code).build()
    }

    fn complete() -> Value {
        let output =
            json!({"outputFilePaths": ["s3://clips/clips/a/b/clip.mp4"], "durationInMs": 1000});
        json!({"status": "COMPLETE", "outputGroupDetails": [{"type": "FILE_GROUP", "outputDetails": [output]}]})
    }

    #[tokio::test]
    async fn completed_job_completes_the_task_with_the_clip() {
        let rule = mock!(aws_sdk_sfn::Client::send_task_success)
            .match_requests(|request| {
                request.task_token() == Some(&token())
                    && request.output()
                        == Some(r#"{"clip":{"key":"clips/a/b/clip.mp4","bytes":7,"etag":"e"}}"#)
            })
            .then_output(|| SendTaskSuccessOutput::builder().build());
        resume(&rule, complete())
            .await
            .expect("the task is completed");
        assert_eq!(rule.num_calls(), 1);
    }

    #[tokio::test]
    async fn task_that_has_taken_the_job_over_hears_of_it() {
        let task = mock!(aws_sdk_s3::Client::get_object)
            .match_requests(|get| get.key() == Some("tasks/1-a.json"))
            .then_output(|| {
                let task = br#"{"taskToken": "new", "execution": "arn:r1"}"#;
                let body = ByteStream::from_static(task);
                GetObjectOutput::builder().body(body).build()
            });
        let success = mock!(aws_sdk_sfn::Client::send_task_success)
            .match_requests(|send| send.task_token() == Some("new"))
            .then_output(|| SendTaskSuccessOutput::builder().build());
        let heartbeat = mock!(aws_sdk_sfn::Client::send_task_heartbeat)
            .match_requests(|send| send.task_token() == Some("new"))
            .then_output(|| SendTaskHeartbeatOutput::builder().build());
        let progress = json!({"status": "PROGRESSING"});
        for (sent, detail) in [(&success, complete()), (&heartbeat, progress)] {
            let resumed = resume_taken_over(sent, &task, detail).await;
            resumed.expect("the new task is notified");
            assert_eq!(sent.num_calls(), 1);
        }
    }

    #[tokio::test]
    async fn unreadable_token_keeps_the_event() {
        let away = mock!(aws_sdk_s3::Client::get_object).then_http_response(|| {
            aws_sdk_s3::config::http::HttpResponse::new(
                503.try_into().expect("a status"),
                "".into(),
            )
        });
        let success = mock!(aws_sdk_sfn::Client::send_task_success)
            .then_output(|| SendTaskSuccessOutput::builder().build());
        let error = resume_taken_over(&success, &away, complete()).await;
        assert_eq!(
            error.expect_err("S3 is away").kind,
            ErrorKind::DependencyUnavailable
        );
        assert_eq!(
            success.num_calls(),
            0,
            "the old token would be the wrong one"
        );
    }

    #[tokio::test]
    async fn task_that_waits_no_more_is_success() {
        let errors: [fn() -> SendTaskSuccessError; 2] = [
            || {
                SendTaskSuccessError::TaskDoesNotExist(
                    TaskDoesNotExist::builder()
                        .meta(code("TaskDoesNotExist"))
                        .build(),
                )
            },
            || {
                SendTaskSuccessError::TaskTimedOut(
                    TaskTimedOut::builder().meta(code("TaskTimedOut")).build(),
                )
            },
        ];
        for error in errors {
            let rule = mock!(aws_sdk_sfn::Client::send_task_success).then_error(error);
            resume(&rule, complete()).await.expect("nobody waits");
        }
    }

    #[tokio::test]
    async fn token_that_step_functions_never_gave_out_is_internal() {
        let rule = mock!(aws_sdk_sfn::Client::send_task_success).then_error(|| {
            SendTaskSuccessError::InvalidToken(
                InvalidToken::builder().meta(code("InvalidToken")).build(),
            )
        });
        assert_eq!(
            resume(&rule, complete()).await.expect_err("garbage").kind,
            ErrorKind::Internal
        );
    }

    #[tokio::test]
    async fn progress_keeps_the_task_alive() {
        for status in ["PROGRESSING", "STATUS_UPDATE"] {
            let rule = mock!(aws_sdk_sfn::Client::send_task_heartbeat)
                .match_requests(|request| request.task_token() == Some(&token()))
                .then_output(|| SendTaskHeartbeatOutput::builder().build());
            resume(
                &rule,
                json!({"status": status, "jobProgress": {"jobPercentComplete": 5}}),
            )
            .await
            .expect("a heartbeat");
            assert_eq!(rule.num_calls(), 1);
        }
    }

    async fn failed(detail: Value, error: &'static str, cause: &'static str) {
        let rule = mock!(aws_sdk_sfn::Client::send_task_failure)
            .match_requests(move |request| {
                request.error() == Some(error)
                    && request.cause().is_some_and(|text| text.contains(cause))
            })
            .then_output(|| SendTaskFailureOutput::builder().build());
        resume(&rule, detail).await.expect("the task is failed");
        assert_eq!(rule.num_calls(), 1);
    }

    #[tokio::test]
    async fn failed_job_fails_the_task_with_its_code_and_message() {
        let detail = json!({"status": "ERROR", "errorCode": 1040, "errorMessage": "no such codec"});
        failed(
            detail,
            "TranscodeFailed",
            "job 1-a ended with error 1040: no such codec",
        )
        .await;
        failed(
            json!({"status": "CANCELED"}),
            "TranscodeFailed",
            "job 1-a was cancelled",
        )
        .await;
    }

    #[tokio::test]
    async fn job_whose_source_is_at_fault_is_a_rejection() {
        let parse = "Demuxer: [ReadPacketData File read failed]";
        let detail = json!({"status": "ERROR", "errorCode": 1076, "errorMessage": parse});
        failed(detail, "UnsupportedMedia", "error 1076: Demuxer").await;
        let open = "Unable to open input file [s3://a/b]: [Failed probe/open: [No parser found for container]]";
        let detail = json!({"status": "ERROR", "errorCode": 1010, "errorMessage": open});
        failed(detail, "UnsupportedMedia", "error 1010: Unable to open").await;
        let detail = json!({"status": "ERROR", "errorCode": 1010, "errorMessage": "no such file"});
        failed(detail, "TranscodeFailed", "error 1010: no such file").await;
    }

    #[tokio::test]
    async fn job_that_fails_for_a_passing_reason_is_to_be_tried_again() {
        let detail = json!({"status": "ERROR", "errorCode": 1999, "errorMessage": "resubmit"});
        failed(detail, "DependencyUnavailable", "error 1999: resubmit").await;
    }
}
