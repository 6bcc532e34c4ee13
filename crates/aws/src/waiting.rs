//! Which task waits for a `MediaConvert` job.
//!
//! A job carries the token of the task that submitted it, and that cannot be changed later. The job may wait in its
//! queue for longer than the task does. A rerun does not submit it again but takes it over: it writes its own token to
//! an object named after the job's id, and `resume` sends the job's events to that token.
//!
//! We use an object because S3 returns it to every read that begins after the write, and the bucket exists anyway. A
//! tag of the job holds 256 characters, and a token has up to 1,024. It is not documented when a new tag can be read,
//! and each of a job's events would have to read it through an API with low quotas. The object is not stored beside the
//! clip, because `clips/` may be public.
//!
//! # Races
//!
//! - The job ends between the search for it and the write: its last event may have gone to the old token. So the job is
//!   read again after the write, and if it has ended by then, the rerun handles that at once.
//! - That read may be stale too. Then nobody completes the task: its heartbeat times out, and the next rerun finds the
//!   finished job.
//! - Two reruns take over the same job: the last one gets it, and the heartbeat of the other one times out.
//! - Sending to a token that no task waits for any more counts as success; see `resume`.

use crate::s3_error::Call;
use aws_sdk_s3::{Client, error::ProvideErrorMetadata, primitives::ByteStream};
use model::ClipError;
use serde::{Deserialize, Serialize};

/// The task that waits for a job, and its execution.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingTask {
    /// Completes the task.
    pub task_token: String,
    /// The ARN of the execution that waits.
    pub execution: String,
}

/// Makes `task` the one that is notified about the job.
///
/// # Errors
/// `DependencyUnavailable` if S3 does not answer or denies it.
pub async fn take_over(
    client: &Client,
    bucket: &str,
    job_id: &str,
    task: &WaitingTask,
) -> Result<(), ClipError> {
    let key = key(job_id);
    let call = Call {
        doing: "writing",
        action: "s3:PutObject",
        bucket,
        key: &key,
    };
    let json = serde_json::to_vec(task).expect("it is JSON");
    let put = client
        .put_object()
        .bucket(bucket)
        .key(&key)
        .content_type("application/json")
        .body(ByteStream::from(json));
    put.send()
        .await
        .map(drop)
        .map_err(|error| call.failure(&error))
}

/// The task that has taken over the job; `None` while it is the one whose token the job carries.
///
/// # Errors
/// `DependencyUnavailable` if S3 does not answer or denies it, `Internal` if the object is not what was written.
pub async fn taken_over_by(
    client: &Client,
    bucket: &str,
    job_id: &str,
) -> Result<Option<WaitingTask>, ClipError> {
    let key = key(job_id);
    let call = Call {
        doing: "reading",
        action: "s3:GetObject",
        bucket,
        key: &key,
    };
    let got = match client.get_object().bucket(bucket).key(&key).send().await {
        Ok(got) => got,
        Err(error) => {
            let service_error = error.as_service_error();
            return match service_error.and_then(ProvideErrorMetadata::code) {
                Some("NoSuchKey") => Ok(None),
                _ => Err(call.failure(&error)),
            };
        }
    };
    let named = |why: &dyn std::fmt::Display| format!("reading s3://{bucket}/{key}: {why}");
    let body = got.body.collect().await;
    let body = body.map_err(|error| ClipError::dependency_unavailable(named(&error)))?;
    let task = serde_json::from_slice(&body.into_bytes());
    task.map_err(|error| ClipError::internal(named(&error)))
}

fn key(job_id: &str) -> String {
    format!("tasks/{job_id}.json")
}
