//! Records and announces that an execution failed, timed out or was aborted, and cancels its `MediaConvert` job.
//!
//! A job that is still queued stays there for a rerun to take over, unless somebody stopped the execution. A job that
//! another execution has taken over belongs to that execution. A function that was submitting a job when its execution
//! ended keeps running, so `report` looks for its job until that function must have ended.
//!
//! Events arrive late and more than once, so `report` reads the execution's history for its present state. It ignores
//! an execution that has been redriven since. It does not overwrite the document of a newer execution, or of a clip
//! that this execution delivered after all.
//!
//! The newest events of the history are read in one call. The last one shows the execution's state: a late event about
//! an execution that has been redriven is dropped, and one that is ahead of the history is retried. The state that
//! failed is the last one that was entered, unless it was exited; a redrive does not enter it again. The document is
//! written before the message is sent. Every failure is announced, even if a newer execution's document is kept. This
//! function looks for jobs only after a failure in `Transcode`, because `MediaConvert` allows few searches per second,
//! and if `MongoDB` is down, all clips fail in `Store` at once.

pub mod history;

use aws::{announcements::Topic, sdk, waiting};
use aws_sdk_mediaconvert::{
    operation::cancel_job::CancelJobError,
    types::{Job, JobStatus},
};
use clip_store::{LazyClipStore, Saved};
use history::{Ending, Now};
use lambda::environment;
use model::{
    ClipError, console,
    execution::ExecutionName,
    job_metadata::{EXECUTION, MADE_BY},
    outcome::{Execution, Failure, FailureClass, Outcome, Status},
    text::{MAX_MESSAGE, shorten},
};
use serde::Deserialize;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The most events of a history that one call returns (API reference, `GetExecutionHistory`); a state with all of its
/// retries has fewer than a hundred.
const MAX_EVENTS: i32 = 1000;
/// How long `transcode` can keep running after its execution ended, in milliseconds: twice its timeout.
const SUBMISSION: i64 = 60_000;
/// The state whose job continues after its execution has ended.
pub const TRANSCODE: &str = "Transcode";

/// An event about an execution. The rule selects failed ones of this deployment's state machine.
#[derive(Debug, Deserialize)]
pub struct Input {
    /// What happened.
    pub detail: Detail,
}

/// How an execution ended (Step Functions developer guide, "Step Functions Execution Status Change").
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    pub execution_arn: String,
    /// When it was first started, in milliseconds since 1970.
    pub start_date: i64,
    /// When it ended, in milliseconds since 1970.
    pub stop_date: i64,
    /// Its input as JSON; omitted if it is too large for an event (248 KiB).
    pub input: Option<String>,
}

#[derive(Debug)]
pub struct Deps {
    pub clip_store: LazyClipStore,
    /// Where outcomes are announced.
    pub topic: Topic,
    pub sfn: aws_sdk_sfn::Client,
    pub mediaconvert: aws_sdk_mediaconvert::Client,
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// The bucket that clips are written to.
    pub bucket: String,
    pub queue_arn: String,
}

impl Deps {
    /// # Errors
    /// `Internal`, naming the environment variable that is missing.
    pub async fn from_env() -> Result<Self, ClipError> {
        let sdk_config = sdk::sdk_config().await;
        Ok(Self {
            clip_store: LazyClipStore::new(
                &sdk_config,
                environment::required("CLIPFLOW_MONGODB_URI_SECRET")?,
                environment::required("CLIPFLOW_MONGODB_DATABASE")?,
                environment::optional("CLIPFLOW_MONGODB_CA_FILE").map(Into::into),
            ),
            topic: Topic::new(&sdk_config, environment::required("CLIPFLOW_TOPIC_ARN")?),
            sfn: aws_sdk_sfn::Client::new(&sdk_config),
            mediaconvert: aws_sdk_mediaconvert::Client::new(&sdk_config),
            s3: aws_sdk_s3::Client::new(&sdk_config),
            bucket: environment::required("CLIPFLOW_BUCKET")?,
            queue_arn: environment::required("CLIPFLOW_MEDIACONVERT_QUEUE_ARN")?,
        })
    }
}

/// Cancels the execution's job, marks the clip's document and announces the outcome, in this order, so that an
/// announced failure is already in `MongoDB`.
///
/// # Errors
/// `DependencyUnavailable` when Step Functions, `MediaConvert`, `MongoDB` or SNS does not answer, or the history lags.
pub async fn handle(deps: &Deps, input: Input) -> Result<Value, ClipError> {
    let Some((outcome, may_submit)) = failed(&deps.sfn, &deps.bucket, &input.detail).await? else {
        tracing::info!("the execution has been redriven since");
        return Ok(json!({}));
    };
    if let Some(failure) = &outcome.failure
        && failure.state.as_deref() == Some(TRANSCODE)
    {
        let jobs = Jobs {
            mediaconvert: &deps.mediaconvert,
            s3: &deps.s3,
            bucket: &deps.bucket,
            queue_arn: &deps.queue_arn,
        };
        let with_waiting = failure.class == FailureClass::Aborted;
        let arn = &outcome.execution.arn;
        jobs.cancel_those_of(arn, with_waiting, may_submit).await?;
    }
    if deps.clip_store.get().await?.save(&outcome).await? == Saved::Superseded {
        tracing::info!(
            "the document tells of a newer execution, or of the clip that this one delivered"
        );
    }
    deps.topic.publish(&outcome).await?;
    tracing::info!(failure = ?outcome.failure, reason = outcome.reason, "told of the failure");
    Ok(json!({}))
}

/// Whether at most `milliseconds` have passed since a moment, in milliseconds since 1970.
fn is_within(milliseconds: i64, moment: i64) -> bool {
    let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    now - i128::from(moment) <= i128::from(milliseconds)
}

/// The outcome of a failed execution, and whether a function may still submit a job for it; `None` if it has been
/// redriven since.
async fn failed(
    sfn: &aws_sdk_sfn::Client,
    bucket: &str,
    detail: &Detail,
) -> Result<Option<(Outcome, bool)>, ClipError> {
    let arn = &detail.execution_arn;
    let Some(ending) = ending(sfn, detail).await? else {
        return Ok(None);
    };
    let started_at =
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(detail.start_date) * 1_000_000);
    let started_at = started_at.ok().and_then(|at| at.format(&Rfc3339).ok());
    let started_at = started_at
        .ok_or_else(|| ClipError::invalid_request(format!("startDate: {}", detail.start_date)))?;
    let console_url = console::execution_url(arn).ok_or_else(|| {
        ClipError::invalid_request(format!("executionArn: {arn:?} is no execution's ARN"))
    })?;
    let request = request(sfn, detail).await?;
    let execution = Execution {
        arn: arn.clone(),
        started_at,
    };
    let mut outcome = Outcome::new(Status::Failed, &request, execution, bucket);
    let Ending {
        class,
        state,
        error,
        cause,
        is_at_work,
    } = ending;
    outcome.reason = Some(error);
    outcome.message = Some(shorten(&cause, MAX_MESSAGE).into_owned());
    let rerun_command = format!("clipflow rerun {arn}");
    outcome.failure = Some(Failure {
        class,
        state,
        console_url,
        rerun_command,
    });
    let may_submit = is_at_work && is_within(SUBMISSION, detail.stop_date);
    Ok(Some((outcome, may_submit)))
}

/// How an execution ended; `None` when it has been redriven since.
async fn ending(sfn: &aws_sdk_sfn::Client, detail: &Detail) -> Result<Option<Ending>, ClipError> {
    let read = sfn
        .get_execution_history()
        .execution_arn(&detail.execution_arn)
        .reverse_order(true)
        .max_results(MAX_EVENTS)
        .send()
        .await
        .map_err(|error| sdk::failure("reading the execution's history", &error))?;
    match history::now(read.events(), detail.stop_date) {
        Now::Failed(ending) => Ok(Some(ending)),
        Now::Redriven => Ok(None),
        Now::Unknown => Err(ClipError::dependency_unavailable(
            "the history does not show the end yet",
        )),
    }
}

async fn request(sfn: &aws_sdk_sfn::Client, detail: &Detail) -> Result<Value, ClipError> {
    let input = if let Some(input) = &detail.input {
        input.clone()
    } else {
        let described = sfn
            .describe_execution()
            .execution_arn(&detail.execution_arn)
            .send()
            .await;
        let described =
            described.map_err(|error| sdk::failure("reading the execution's input", &error))?;
        described.input.unwrap_or_default()
    };
    serde_json::from_str(&input)
        .map_err(|error| ClipError::invalid_request(format!("input: {error}")))
}

/// The jobs of the deployment.
struct Jobs<'a> {
    mediaconvert: &'a aws_sdk_mediaconvert::Client,
    s3: &'a aws_sdk_s3::Client,
    bucket: &'a str,
    queue_arn: &'a str,
}

impl Jobs<'_> {
    /// Cancels jobs that run for an execution, and those that wait. A job that ends meanwhile is left alone.
    ///
    /// # Errors
    /// `DependencyUnavailable`, also if there is no job but a function may still submit one.
    async fn cancel_those_of(
        &self,
        execution_arn: &str,
        with_waiting: bool,
        may_submit: bool,
    ) -> Result<(), ClipError> {
        let mut is_missing = may_submit;
        let statuses: &[JobStatus] = if with_waiting {
            &[JobStatus::Submitted, JobStatus::Progressing]
        } else {
            &[JobStatus::Progressing]
        };
        for status in statuses {
            let search = self
                .mediaconvert
                .search_jobs()
                .queue(self.queue_arn)
                .status(status.clone())
                .max_results(20);
            let mut pages = search.into_paginator().send();
            while let Some(page) = pages.next().await {
                let page =
                    page.map_err(|error| sdk::failure("searching MediaConvert's jobs", &error))?;
                for job in page.jobs() {
                    if self.is_for(job, execution_arn).await? {
                        cancel(self.mediaconvert, job.id().unwrap_or_default()).await?;
                        is_missing = false;
                    }
                }
            }
        }
        if is_missing {
            return Err(ClipError::dependency_unavailable(
                "transcode was submitting a job when its execution ended; the job is not there yet",
            ));
        }
        Ok(())
    }

    /// Whether the job now belongs to this execution.
    async fn is_for(&self, job: &Job, execution_arn: &str) -> Result<bool, ClipError> {
        let value = |key| job.user_metadata()?.get(key).map(String::as_str);
        let submitted = value(EXECUTION) == Some(execution_arn);
        // Only an execution of the same request can take over a job.
        let same_clip = clip_folder(execution_arn)
            .is_some_and(|folder| value(MADE_BY).is_some_and(|made_by| made_by.contains(&folder)));
        if !submitted && !same_clip {
            return Ok(false);
        }
        let job_id = job.id().unwrap_or_default();
        let task = waiting::taken_over_by(self.s3, self.bucket, job_id).await?;
        Ok(task.map_or(submitted, |task| task.execution == execution_arn))
    }
}

/// The folder of an execution's clip in the bucket.
fn clip_folder(execution_arn: &str) -> Option<String> {
    let name = ExecutionName::parse(execution_arn.rsplit(':').next()?)?;
    Some(format!(" clips/{}/{}/", name.clip_id, name.hash12))
}

async fn cancel(
    mediaconvert: &aws_sdk_mediaconvert::Client,
    job_id: &str,
) -> Result<(), ClipError> {
    match mediaconvert.cancel_job().id(job_id).send().await {
        Ok(_) => tracing::info!(job_id, "cancelled"),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(CancelJobError::is_conflict_exception) =>
        {
            tracing::info!(job_id, "ended before it could be cancelled");
        }
        Err(error) => {
            return Err(sdk::failure(
                &format!("cancelling MediaConvert job {job_id}"),
                &error,
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_mediaconvert::{
        operation::{cancel_job::CancelJobOutput, search_jobs::SearchJobsOutput},
        types::error::ConflictException,
    };
    use aws_sdk_sfn::{
        operation::{
            describe_execution::DescribeExecutionOutput,
            get_execution_history::GetExecutionHistoryOutput,
        },
        primitives::DateTime,
        types::{
            ExecutionFailedEventDetails, ExecutionStatus, HistoryEvent, HistoryEventType,
            StateEnteredEventDetails,
        },
    };
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
    use expect_test::expect_file;
    use model::{ErrorKind, outcome::FailureClass, parse};
    use std::sync::{Arc, Mutex};

    const ARN: &str = "arn:aws:states:eu-west-1:123456789012:execution:surf-clip:a-0123456789ab";
    const STOP: i64 = 1_790_000_060_500;

    fn event(input: &Value) -> Detail {
        let detail = json!({"executionArn": ARN, "status": "FAILED", "startDate": 1_790_000_000_123_i64,
            "stopDate": STOP, "input": input, "redriveCount": 0, "redriveStatus": "REDRIVABLE"});
        parse::<Input>(json!({"source": "aws.states", "detail": detail}))
            .expect("an event")
            .detail
    }

    /// A history that ends with `last`.
    fn history(last: HistoryEventType) -> Rule {
        mock!(aws_sdk_sfn::Client::get_execution_history)
            .match_requests(|read| {
                read.execution_arn() == Some(ARN) && read.reverse_order() == Some(true)
            })
            .then_output(move || {
                let entered = StateEnteredEventDetails::builder()
                    .name("Thumbnail")
                    .build()
                    .expect("a name");
                let failed = ExecutionFailedEventDetails::builder()
                    .error("Internal")
                    .cause("x".repeat(5_000))
                    .build();
                let newest = HistoryEvent::builder()
                    .id(2)
                    .r#type(last.clone())
                    .timestamp(DateTime::from_millis(STOP + 1));
                let before = HistoryEvent::builder()
                    .id(1)
                    .r#type(HistoryEventType::TaskStateEntered);
                let before = before
                    .timestamp(DateTime::from_millis(STOP))
                    .state_entered_event_details(entered);
                let events = [newest.execution_failed_event_details(failed), before]
                    .map(|event| event.build().expect("complete"));
                GetExecutionHistoryOutput::builder()
                    .set_events(Some(events.into()))
                    .build()
                    .expect("a history")
            })
    }

    async fn told(detail: &Detail, rules: &[&Rule]) -> Result<Option<Outcome>, ClipError> {
        let sfn = mock_client!(aws_sdk_sfn, RuleMode::MatchAny, rules);
        let told = failed(&sfn, "clips", detail).await?;
        Ok(told.map(|(outcome, _)| outcome))
    }

    #[tokio::test]
    async fn outcome_says_what_failed_and_what_to_do() {
        let input = json!(r#"{"clipId": "a", "metadata": {"spot": "Pipeline"}}"#);
        let outcome = told(
            &event(&input),
            &[&history(HistoryEventType::ExecutionFailed)],
        )
        .await;
        let outcome = outcome.expect("it is told").expect("it has failed");
        let failure = Failure {
            class: FailureClass::Bug,
            state: Some("Thumbnail".into()),
            console_url: format!(
                "https://eu-west-1.console.aws.amazon.com/states/home?region=eu-west-1#/v2/executions/details/{ARN}"
            ),
            rerun_command: format!("clipflow rerun {ARN}"),
        };
        assert_eq!(
            (outcome.status, outcome.failure),
            (Status::Failed, Some(failure))
        );
        assert_eq!(
            (outcome.clip_id.as_str(), outcome.reason.as_deref()),
            ("a", Some("Internal"))
        );
        assert!(
            outcome
                .message
                .is_some_and(|message| message.chars().count() == MAX_MESSAGE + 1)
        );
        assert_eq!(outcome.metadata["spot"], "Pipeline");
        assert_eq!(outcome.execution.started_at, "2026-09-21T14:13:20.123Z");
    }

    #[tokio::test]
    async fn snapshot_of_a_failure() {
        let input = json!(r#"{"clipId": "a", "metadata": {"spot": "Pipeline"}}"#);
        let history = history(HistoryEventType::ExecutionFailed);
        let outcome = told(&event(&input), &[&history]).await;
        let mut outcome = outcome.expect("it is told").expect("it has failed");
        outcome.message = outcome
            .message
            .map(|message| shorten(&message, 20).into_owned());
        outcome.updated_at = "2026-09-21T14:15:00Z".into();
        let document = serde_json::to_string_pretty(&outcome).expect("an outcome is JSON") + "\n";
        expect_file!["../tests/snapshots/failed.json"].assert_eq(&document);
    }

    #[tokio::test]
    async fn execution_that_has_been_redriven_since_is_left_alone() {
        let input = json!("{}");
        for last in [
            HistoryEventType::TaskScheduled,
            HistoryEventType::ExecutionSucceeded,
        ] {
            assert_eq!(told(&event(&input), &[&history(last)]).await, Ok(None));
        }
    }

    #[tokio::test]
    async fn input_that_is_too_large_for_an_event_is_read() {
        let describe = mock!(aws_sdk_sfn::Client::describe_execution).then_output(|| {
            let described = DescribeExecutionOutput::builder()
                .execution_arn(ARN)
                .state_machine_arn("arn:m");
            let described = described
                .status(ExecutionStatus::Failed)
                .start_date(DateTime::from_millis(1));
            described
                .input(r#"{"clipId": "large"}"#)
                .build()
                .expect("complete")
        });
        let outcome = told(
            &event(&Value::Null),
            &[&history(HistoryEventType::ExecutionFailed), &describe],
        )
        .await;
        assert_eq!(
            outcome
                .expect("it is told")
                .map(|outcome| outcome.clip_id)
                .as_deref(),
            Some("large")
        );
    }

    #[tokio::test]
    async fn event_about_something_else_is_invalid() {
        let mut detail = event(&json!("{}"));
        detail.execution_arn = "arn:aws:states:eu-west-1:123456789012:express:surf-clip:a".into();
        let history = mock!(aws_sdk_sfn::Client::get_execution_history).then_output(|| {
            let newest = HistoryEvent::builder()
                .id(1)
                .r#type(HistoryEventType::ExecutionAborted);
            let newest = newest
                .timestamp(DateTime::from_millis(STOP))
                .build()
                .expect("complete");
            GetExecutionHistoryOutput::builder()
                .events(newest)
                .build()
                .expect("a history")
        });
        assert_eq!(
            told(&detail, &[&history])
                .await
                .expect_err("no execution")
                .kind,
            ErrorKind::InvalidRequest
        );
    }

    /// A waiting job of this execution, and running jobs of others: one of another clip, and one of the same clip that
    /// this execution's rerun submitted.
    fn jobs() -> Rule {
        mock!(aws_sdk_mediaconvert::Client::search_jobs)
            .match_requests(|search| search.queue() == Some("arn:queue"))
            .then_compute_output(|search| {
                let of = |id: &str, execution: &str, made_by: &str| {
                    Job::builder()
                        .id(id)
                        .user_metadata(EXECUTION, execution)
                        .user_metadata(MADE_BY, made_by)
                        .build()
                };
                let made_by = "transcode 3: clips/a/0123456789ab/clip.mp4 from d";
                let output = SearchJobsOutput::builder();
                if search.status() == Some(&JobStatus::Submitted) {
                    return output.jobs(of("1-waits", ARN, made_by)).build();
                }
                output
                    .jobs(of(
                        "1-other",
                        "arn:other",
                        "transcode 3: clips/b/0/clip.mp4 from d",
                    ))
                    .jobs(of("1-runs", ARN, made_by))
                    .jobs(of("1-first", &format!("{ARN}-r1"), made_by))
                    .build()
            })
    }

    /// Which of these jobs are cancelled for the execution, if `taken_over` names a job and the execution that has it.
    async fn cancelled_jobs(
        with_waiting: bool,
        taken_over: Option<(&'static str, String)>,
    ) -> Vec<String> {
        let ids: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = ids.clone();
        let cancel =
            mock!(aws_sdk_mediaconvert::Client::cancel_job).then_compute_output(move |cancel| {
                let id = cancel.id().unwrap_or_default().to_owned();
                seen.lock().expect("no panic").push(id);
                CancelJobOutput::builder().build()
            });
        let (taken, execution) = taken_over.unwrap_or_default();
        let task = mock!(aws_sdk_s3::Client::get_object)
            .match_requests(move |get| get.key() == Some(&format!("tasks/{taken}.json")))
            .then_output(move || {
                let task = json!({"taskToken": "t", "execution": execution}).to_string();
                let body = aws_sdk_s3::primitives::ByteStream::from(task.into_bytes());
                aws_sdk_s3::operation::get_object::GetObjectOutput::builder()
                    .body(body)
                    .build()
            });
        let mediaconvert =
            mock_client!(aws_sdk_mediaconvert, RuleMode::MatchAny, [&jobs(), &cancel]);
        let s3 = mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&task, &nobody()]);
        let jobs = Jobs {
            mediaconvert: &mediaconvert,
            s3: &s3,
            bucket: "clips",
            queue_arn: "arn:queue",
        };
        let done = jobs.cancel_those_of(ARN, with_waiting, false).await;
        done.expect("they are cancelled");
        ids.lock().expect("no panic").clone()
    }

    /// No job has been taken over.
    fn nobody() -> Rule {
        mock!(aws_sdk_s3::Client::get_object).then_http_response(|| {
            let body = "<Error><Code>NoSuchKey</Code></Error>";
            aws_sdk_s3::config::http::HttpResponse::new(
                404.try_into().expect("a status"),
                body.into(),
            )
        })
    }

    #[tokio::test]
    async fn job_that_waits_is_left_for_a_rerun_unless_somebody_stopped_the_execution() {
        assert_eq!(cancelled_jobs(false, None).await, ["1-runs"]);
        assert_eq!(cancelled_jobs(true, None).await, ["1-waits", "1-runs"]);
    }

    #[tokio::test]
    async fn job_belongs_to_the_execution_that_has_taken_it_over() {
        let rerun = format!("{ARN}-r1");
        let lost = cancelled_jobs(true, Some(("1-runs", rerun))).await;
        assert_eq!(lost, ["1-waits"]);
        let gained = cancelled_jobs(false, Some(("1-first", ARN.to_owned()))).await;
        assert_eq!(gained, ["1-runs", "1-first"]);
    }

    #[tokio::test]
    async fn job_that_is_being_submitted_is_waited_for() {
        let none = mock!(aws_sdk_mediaconvert::Client::search_jobs)
            .then_output(|| SearchJobsOutput::builder().build());
        let jobs = Jobs {
            mediaconvert: &mock_client!(aws_sdk_mediaconvert, RuleMode::MatchAny, [&none]),
            s3: &mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&nobody()]),
            bucket: "clips",
            queue_arn: "arn:queue",
        };
        let error = jobs.cancel_those_of(ARN, true, true).await;
        let kind = error.expect_err("it is not there yet").kind;
        assert_eq!(kind, ErrorKind::DependencyUnavailable);
        assert_eq!(jobs.cancel_those_of(ARN, true, false).await, Ok(()));
        assert!(!is_within(SUBMISSION, STOP), "long ago");
    }

    #[tokio::test]
    async fn job_that_has_ended_meanwhile_is_success() {
        let conflict = mock!(aws_sdk_mediaconvert::Client::cancel_job)
            .then_error(|| CancelJobError::ConflictException(ConflictException::builder().build()));
        let client = mock_client!(aws_sdk_mediaconvert, RuleMode::MatchAny, [&conflict]);
        cancel(&client, "1-a")
            .await
            .expect("nothing is left to cancel");
    }
}
