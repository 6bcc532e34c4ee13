//! Executions, as Step Functions knows them.

use crate::{deployment::Deployment, failure::Failure, when};
use aws_sdk_sfn::{
    operation::describe_execution::{DescribeExecutionError, DescribeExecutionOutput},
    types::{ExecutionListItem, ExecutionRedriveStatus, ExecutionStatus},
};
use clap::ValueEnum;
use futures::{StreamExt, TryStreamExt, stream};
use model::{
    ErrorKind,
    execution::{ExecutionName, execution_arn},
    identity::is_clip_id,
};
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

/// How many calls are under way at a time: few enough for the quotas of Step Functions, whose refusals the SDK retries.
pub const CONCURRENCY: usize = 8;

/// What became of a clip, or is becoming of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Its execution is under way
    Running,
    /// There is a clip
    Available,
    /// The request, its source or a limit was at fault
    Rejected,
    /// Something else was at fault, or time ran out: rerun it when that is mended
    Failed,
    /// Somebody stopped its execution
    Aborted,
}

impl Status {
    /// The name, for people and for JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Available => "available",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }

    /// The statuses of Step Functions that may mean it.
    pub fn of_step_functions(self) -> &'static [ExecutionStatus] {
        match self {
            Self::Running => &[ExecutionStatus::Running],
            Self::Available | Self::Rejected => &[ExecutionStatus::Succeeded],
            Self::Failed => &[ExecutionStatus::Failed, ExecutionStatus::TimedOut],
            Self::Aborted => &[ExecutionStatus::Aborted],
        }
    }

    fn of(status: &ExecutionStatus, output: &Value) -> Self {
        match status {
            ExecutionStatus::Succeeded if output["status"] == "rejected" => Self::Rejected,
            ExecutionStatus::Succeeded => Self::Available,
            ExecutionStatus::Failed | ExecutionStatus::TimedOut => Self::Failed,
            ExecutionStatus::Aborted => Self::Aborted,
            _ => Self::Running,
        }
    }
}

/// An execution in a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its ARN.
    pub arn: String,
    /// Its name, taken apart; none when somebody started it by hand.
    pub name: Option<ExecutionName>,
    /// When it was started first.
    pub started_at: OffsetDateTime,
    /// Where Step Functions has it in its lists, newest first: when it ended or, while it runs, started.
    position: OffsetDateTime,
}

/// An execution with what went in and what came out.
#[derive(Debug, Clone)]
pub struct Execution {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// What became of the clip.
    pub status: Status,
    /// When it was started first.
    pub started_at: OffsetDateTime,
    /// When it ended, if it has.
    pub stopped_at: Option<OffsetDateTime>,
    /// How often it was redriven.
    pub redrive_count: i32,
    /// Whether Step Functions says that it cannot be redriven.
    pub not_redrivable: bool,
    /// The request.
    pub input: Value,
    /// The request, byte for byte.
    pub input_text: String,
    /// The outcome; null unless there is one.
    pub output: Value,
    error: Option<String>,
    cause: Option<String>,
}

impl Execution {
    /// The clip that it makes.
    pub fn clip_id(&self) -> &str {
        let sent = || {
            self.input["clipId"]
                .as_str()
                .filter(|id| self.name.starts_with(id))
        };
        self.output["clipId"]
            .as_str()
            .or_else(sent)
            .unwrap_or_else(|| clip_id_in(&self.name))
    }

    /// The name of the error, when there is no clip.
    pub fn error(&self) -> Option<&str> {
        match self.status {
            Status::Running | Status::Available => None,
            Status::Rejected => self.output["reason"].as_str(),
            Status::Failed => Some(self.error.as_deref().unwrap_or("States.Timeout")),
            Status::Aborted => self.error.as_deref(),
        }
    }

    /// What is wrong, for a person, when there is no clip.
    pub fn message(&self) -> Option<String> {
        match self.status {
            Status::Rejected => self.output["message"].as_str().map(str::to_owned),
            _ => self.cause.as_deref().map(message_in),
        }
    }

    /// How long it has taken, in seconds.
    pub fn seconds(&self) -> f64 {
        (self.stopped_at.unwrap_or_else(OffsetDateTime::now_utc) - self.started_at).as_seconds_f64()
    }

    /// Whether it can be made to go on, or started anew.
    pub fn is_rerunnable(&self) -> bool {
        matches!(self.status, Status::Failed | Status::Aborted)
    }

    /// Whether it was rejected for what may be mended without another request.
    pub fn is_mendable(&self) -> bool {
        let kind = self.error().and_then(ErrorKind::of_name);
        self.status == Status::Rejected && kind.is_some_and(ErrorKind::is_mendable)
    }

    /// Whether a new execution of the same request may follow it.
    pub fn may_be_followed(&self) -> bool {
        self.is_rerunnable() || self.is_mendable()
    }

    /// What every command says of an execution in JSON.
    pub fn json(&self) -> Value {
        let mut value = json!({
            "clipId": self.clip_id(),
            "status": self.status,
            "execution": {
                "name": self.name,
                "arn": self.arn,
                "startedAt": when::rfc3339(self.started_at),
                "redriveCount": self.redrive_count,
            },
        });
        if let Some(at) = self.stopped_at {
            value["execution"]["stoppedAt"] = when::rfc3339(at).into();
        }
        if let Some(error) = self.error() {
            value["reason"] = error.into();
        }
        if let Some(message) = self.message() {
            value["message"] = message.into();
        }
        for field in ["cameraId", "engine"] {
            let known = [&self.input[field], &self.output[field]]
                .into_iter()
                .find(|value| !value.is_null());
            if let Some(known) = known {
                value[field] = known.clone();
            }
        }
        value
    }
}

impl From<DescribeExecutionOutput> for Execution {
    fn from(described: DescribeExecutionOutput) -> Self {
        let parsed = |text: &Option<String>| {
            text.as_deref()
                .and_then(|text| serde_json::from_str(text).ok())
        };
        let output = parsed(&described.output).unwrap_or(Value::Null);
        Self {
            status: Status::of(&described.status, &output),
            name: described.name.unwrap_or_default(),
            arn: described.execution_arn,
            started_at: when::of_sdk(&described.start_date),
            stopped_at: described.stop_date.as_ref().map(when::of_sdk),
            redrive_count: described.redrive_count.unwrap_or(0),
            not_redrivable: described.redrive_status == Some(ExecutionRedriveStatus::NotRedrivable),
            input: parsed(&described.input).unwrap_or(Value::Null),
            input_text: described.input.unwrap_or_default(),
            output,
            error: described.error,
            cause: described.cause,
        }
    }
}

impl From<&ExecutionListItem> for Listed {
    fn from(item: &ExecutionListItem) -> Self {
        Self {
            arn: item.execution_arn.clone(),
            name: ExecutionName::parse(&item.name),
            started_at: when::of_sdk(&item.start_date),
            position: when::of_sdk(item.stop_date.as_ref().unwrap_or(&item.start_date)),
        }
    }
}

/// What a person reads of a cause: the message of a Lambda function's error, or the cause as it is.
pub fn message_in(cause: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(cause).ok();
    let message = parsed
        .as_ref()
        .and_then(|error| error["errorMessage"].as_str());
    message.unwrap_or(cause).to_owned()
}

fn clip_id_in(name: &str) -> &str {
    ExecutionName::parse(name).map_or(name, |parsed| &name[..parsed.clip_id.len()])
}

impl Deployment {
    /// The execution with this ARN, if there is one.
    pub async fn describe(&self, arn: &str) -> Result<Option<Execution>, Failure> {
        match self
            .sfn
            .describe_execution()
            .execution_arn(arn)
            .send()
            .await
        {
            Ok(described) => Ok(Some(described.into())),
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(
                        DescribeExecutionError::ExecutionDoesNotExist(_)
                            | DescribeExecutionError::InvalidArn(_)
                    )
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(Failure::of_call("reading an execution")(error)),
        }
    }

    /// The newest execution of a request whose first one has this name.
    pub async fn newest(&self, first: &ExecutionName) -> Result<Option<Execution>, Failure> {
        let (mut newest, mut name) = (None, Some(first.clone()));
        while let Some(one) = name {
            let arn = execution_arn(&self.outputs.state_machine_arn, &one.to_string());
            let Some(execution) = self.describe(&arn).await? else {
                break;
            };
            name = one.next().filter(|_| execution.may_be_followed());
            newest = Some(execution);
        }
        Ok(newest)
    }

    /// These executions, in the same order.
    pub async fn describe_all(&self, listed: &[Listed]) -> Result<Vec<Execution>, Failure> {
        let described = stream::iter(listed)
            .map(|one| self.describe(&one.arn))
            .buffered(CONCURRENCY);
        Ok(described
            .try_collect::<Vec<_>>()
            .await?
            .into_iter()
            .flatten()
            .collect())
    }

    /// The execution that a person means by an ARN, an execution's name or a `clipId`: the newest one of that clip.
    ///
    /// # Errors
    /// Not found, when there is none.
    pub async fn resolve(&self, clip: &str) -> Result<Execution, Failure> {
        let by_name = ExecutionName::parse(clip)
            .map(|_| execution_arn(&self.outputs.state_machine_arn, clip));
        let arn = if clip.starts_with("arn:") {
            Some(clip.to_owned())
        } else {
            by_name
        };
        if let Some(arn) = arn
            && let Some(found) = self.describe(&arn).await?
        {
            return Ok(found);
        }
        if is_clip_id(clip) {
            let mut newest: Option<Listed> = None;
            self.scan(None, None, |page| {
                let of_clip =
                    |one: &&Listed| one.name.as_ref().is_some_and(|name| name.clip_id == clip);
                newest = page
                    .iter()
                    .filter(of_clip)
                    .max_by_key(|one| one.started_at)
                    .cloned();
                newest.is_none()
            })
            .await?;
            if let Some(newest) = newest
                && let Some(found) = self.describe(&newest.arn).await?
            {
                return Ok(found);
            }
        }
        Err(Failure::not_found(format!(
            "{clip}: no execution of that clip, name or ARN; Step Functions knows executions for 90 days"
        )))
    }

    /// Shows `see` the executions started since a moment, page by page, until it returns false. A page is newest first,
    /// and whatever comes in later pages is not newer than its last one's [`Listed::position`].
    pub async fn scan(
        &self,
        status: Option<&ExecutionStatus>,
        since: Option<OffsetDateTime>,
        mut see: impl FnMut(&[Listed]) -> bool,
    ) -> Result<(), Failure> {
        let list = self
            .sfn
            .list_executions()
            .state_machine_arn(&self.outputs.state_machine_arn);
        let mut pages = list
            .set_status_filter(status.cloned())
            .max_results(1000)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page: Vec<Listed> = page
                .map_err(Failure::of_call("listing executions"))?
                .executions
                .iter()
                .map(Listed::from)
                .collect();
            let is_last = page
                .last()
                .is_some_and(|last| since.is_some_and(|since| last.position < since));
            let wanted: Vec<Listed> = page
                .into_iter()
                .filter(|one| since.is_none_or(|since| one.started_at >= since))
                .collect();
            if !see(&wanted) || is_last {
                break;
            }
        }
        Ok(())
    }

    /// The executions of these statuses (all, when there are none) started since a moment, newest first; at least the
    /// newest `enough` of those that pass.
    pub async fn list(
        &self,
        statuses: &[ExecutionStatus],
        since: Option<OffsetDateTime>,
        passes: impl Fn(&Listed) -> bool,
        enough: usize,
    ) -> Result<Vec<Listed>, Failure> {
        let filters: Vec<Option<&ExecutionStatus>> = if statuses.is_empty() {
            vec![None]
        } else {
            statuses.iter().map(Some).collect()
        };
        let mut found: Vec<Listed> = Vec::new();
        for filter in filters {
            self.scan(filter, since, |page| {
                found.extend(page.iter().filter(|one| passes(one)).cloned());
                found.sort_by_key(|one| std::cmp::Reverse(one.started_at));
                let last_needed = found
                    .get(enough.saturating_sub(1))
                    .map(|one| one.started_at);
                page.last()
                    .is_none_or(|last| last_needed.is_none_or(|needed| last.position >= needed))
            })
            .await?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sfn::{operation::list_executions::ListExecutionsOutput, primitives::DateTime};
    use aws_smithy_mocks::{mock, mock_client};

    fn execution(status: ExecutionStatus, output: &Value, cause: Option<&str>) -> Execution {
        let described = DescribeExecutionOutput::builder()
            .execution_arn("arn:aws:states:eu-west-1:1:execution:clip:a-b-0123456789ab-r1")
            .state_machine_arn("arn:aws:states:eu-west-1:1:stateMachine:clip")
            .name("a-b-0123456789ab-r1")
            .status(status)
            .start_date(DateTime::from_secs(0))
            .stop_date(DateTime::from_millis(1500))
            .input(r#"{"cameraId":"pipe"}"#)
            .set_cause(cause.map(str::to_owned))
            .output(output.to_string());
        described.build().expect("complete").into()
    }

    /// A page of executions that started at these seconds, one before the other, and ended 5 s later.
    fn page(starts: &[i64]) -> ListExecutionsOutput {
        let item = |start: &i64| {
            let item = ExecutionListItem::builder()
                .execution_arn("arn")
                .state_machine_arn("arn")
                .name("a-0123456789ab");
            let item = item
                .status(ExecutionStatus::Succeeded)
                .start_date(DateTime::from_secs(*start));
            item.stop_date(DateTime::from_secs(*start + 5))
                .build()
                .expect("complete")
        };
        let page =
            ListExecutionsOutput::builder().set_executions(Some(starts.iter().map(item).collect()));
        // The SDK takes the same token twice for the end.
        page.next_token(format!("behind {starts:?}"))
            .build()
            .expect("complete")
    }

    /// The seconds at which the listed executions started, and how many pages were read for that.
    async fn listed(since: Option<i64>, enough: usize) -> (Vec<i64>, usize) {
        let rule = mock!(aws_sdk_sfn::Client::list_executions)
            .sequence()
            .output(|| page(&[100, 98, 99]))
            .output(|| page(&[97, 90, 80]))
            .output(|| page(&[70, 60]))
            .output(|| {
                ListExecutionsOutput::builder()
                    .set_executions(Some(Vec::new()))
                    .build()
                    .expect("complete")
            })
            .build();
        let deployment = Deployment {
            outputs: serde_json::from_value(json!({"state_machine_arn": "arn"})).expect("outputs"),
            is_local: false,
            sfn: mock_client!(aws_sdk_sfn, [&rule]),
            sqs: aws_sdk_sqs::Client::from_conf(
                aws_sdk_sqs::Config::builder()
                    .behavior_version_latest()
                    .build(),
            ),
        };
        let since =
            since.map(|second| OffsetDateTime::from_unix_timestamp(second).expect("a moment"));
        let found = deployment
            .list(&[], since, |_| true, enough)
            .await
            .expect("executions");
        (
            found
                .iter()
                .map(|one| one.started_at.unix_timestamp())
                .collect(),
            rule.num_calls(),
        )
    }

    #[tokio::test]
    async fn no_more_pages_are_read_than_are_needed() {
        assert_eq!(
            listed(None, usize::MAX).await,
            (vec![100, 99, 98, 97, 90, 80, 70, 60], 4)
        );
        // What ended at 104 may be followed by what started at 103.
        assert_eq!(listed(None, 1).await.1, 2);
        assert_eq!(listed(None, 4).await, (vec![100, 99, 98, 97, 90, 80], 2));
        assert_eq!(
            listed(Some(95), usize::MAX).await,
            (vec![100, 99, 98, 97], 2)
        );
    }

    #[test]
    fn rejection_is_a_success_of_its_execution() {
        let output =
            json!({"clipId": "a-b", "status": "rejected", "reason": "TooLong", "message": "9 s"});
        let found = execution(ExecutionStatus::Succeeded, &output, None);
        assert_eq!(
            (found.status, found.error(), found.message().as_deref()),
            (Status::Rejected, Some("TooLong"), Some("9 s"))
        );
        assert!(!found.is_rerunnable());
    }

    #[test]
    fn failure_has_the_message_of_its_function() {
        let cause = r#"{"errorType":"DependencyUnavailable","errorMessage":"no primary"}"#;
        let found = execution(ExecutionStatus::Failed, &Value::Null, Some(cause));
        assert_eq!(
            (found.clip_id(), found.message().as_deref()),
            ("a-b", Some("no primary"))
        );
        let json = found.json();
        assert_eq!(
            (&json["cameraId"], &json["status"]),
            (&json!("pipe"), &json!("failed"))
        );
        assert_eq!(json["execution"]["stoppedAt"], "1970-01-01T00:00:01.5Z");
    }

    #[test]
    fn execution_out_of_time_has_an_error_and_can_be_rerun() {
        let found = execution(ExecutionStatus::TimedOut, &Value::Null, None);
        assert_eq!(
            (found.error(), found.message(), found.is_rerunnable()),
            (Some("States.Timeout"), None, true)
        );
    }
}
