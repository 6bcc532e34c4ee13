//! Reads executions from Step Functions.

pub use crate::execution::{Execution, Listed, Status, message_in};
use crate::{deployment::Deployment, failure::Failure};
use aws_sdk_sfn::{operation::describe_execution::DescribeExecutionError, types::ExecutionStatus};
use futures::{StreamExt, TryStreamExt, stream};
use model::{
    execution::{ExecutionName, execution_arn},
    identity::is_clip_id,
};
use time::OffsetDateTime;

/// How many calls are made concurrently: few enough for the quotas of Step Functions; the SDK retries refused calls.
pub const CONCURRENCY: usize = 8;
/// How many executions a call lists: from what one page of clips needs up to the API's maximum.
const MIN_PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

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
            Ok(described) => {
                let execution: Execution = described.into();
                self.kept.keep(&execution);
                Ok(Some(execution))
            }
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

    /// These executions, in the same order. Cached ones are not read again.
    pub async fn describe_all(&self, listed: &[Listed]) -> Result<Vec<Execution>, Failure> {
        let read = |one: Listed| async move {
            match self.kept.with(&one, Execution::clone) {
                Some(kept) => Ok(Some(kept)),
                None => self.describe(&one.arn).await,
            }
        };
        let described = stream::iter(listed.to_vec())
            .map(read)
            .buffered(CONCURRENCY);
        Ok(described
            .try_collect::<Vec<_>>()
            .await?
            .into_iter()
            .flatten()
            .collect())
    }

    /// The execution given by an ARN, an execution's name or a `clipId`, which means the clip's newest one.
    ///
    /// # Errors
    /// Not found if there is none.
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
            self.scan(None, None, MAX_PAGE, |page| {
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
            "{clip}: no execution has this clipId, name or ARN; Step Functions keeps executions for 90 days"
        )))
    }

    /// Passes the executions started since a moment to `see`, page by page, until it returns false. A page is newest
    /// first, and nothing in later pages is newer than its last execution's [`Listed::position`].
    pub async fn scan(
        &self,
        status: Option<&ExecutionStatus>,
        since: Option<OffsetDateTime>,
        page_size: usize,
        mut see: impl FnMut(&[Listed]) -> bool,
    ) -> Result<(), Failure> {
        let list = self
            .sfn
            .list_executions()
            .state_machine_arn(&self.outputs.state_machine_arn);
        let mut pages = list
            .set_status_filter(status.cloned())
            .max_results(i32::try_from(page_size).unwrap_or(i32::MAX))
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

    /// The executions with these statuses (all, if the list is empty) started since a moment, newest first; at least
    /// the newest `enough` of those that pass.
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
        // Executions may have ended in a different order than they started.
        let page_size = enough.saturating_mul(2).clamp(MIN_PAGE, MAX_PAGE);
        let mut found: Vec<Listed> = Vec::new();
        for filter in filters {
            self.scan(filter, since, page_size, |page| {
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

/// A deployment without queues and buckets, with this Step Functions client.
#[cfg(test)]
pub fn deployment_with(sfn: aws_sdk_sfn::Client) -> Deployment {
    let cloudwatch = aws_sdk_cloudwatch::Config::builder().behavior_version_latest();
    let sqs = aws_sdk_sqs::Config::builder().behavior_version_latest();
    let s3 = aws_sdk_s3::Config::builder().behavior_version_latest();
    Deployment {
        outputs: serde_json::from_value(serde_json::json!({"state_machine_arn": "arn"}))
            .expect("outputs"),
        is_local: false,
        sfn,
        cloudwatch: aws_sdk_cloudwatch::Client::from_conf(cloudwatch.build()),
        sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
        s3: aws_sdk_s3::Client::from_conf(s3.build()),
        kept: crate::execution::Kept::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sfn::{
        operation::{
            describe_execution::DescribeExecutionOutput, list_executions::ListExecutionsOutput,
        },
        primitives::DateTime,
        types::ExecutionListItem,
    };
    use aws_smithy_mocks::{mock, mock_client};
    use serde_json::{Value, json};

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

    /// A page of executions that started at these seconds, newest first, and ended 5 s later.
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
        // The SDK treats a repeated token as the end.
        page.next_token(format!("behind {starts:?}"))
            .build()
            .expect("complete")
    }

    /// The seconds at which the listed executions started, and how many pages were read.
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
        let deployment = deployment_with(mock_client!(aws_sdk_sfn, [&rule]));
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
        // An execution that ended at 104 may be followed by one that started at 103.
        assert_eq!(listed(None, 1).await.1, 2);
        assert_eq!(listed(None, 4).await, (vec![100, 99, 98, 97, 90, 80], 2));
        assert_eq!(
            listed(Some(95), usize::MAX).await,
            (vec![100, 99, 98, 97], 2)
        );
    }

    #[tokio::test]
    async fn execution_is_read_again_only_when_it_went_on() {
        let described = |stopped: Option<i64>| {
            let status = stopped.map_or(ExecutionStatus::Running, |_| ExecutionStatus::Failed);
            let described = DescribeExecutionOutput::builder()
                .execution_arn("arn")
                .state_machine_arn("arn")
                .status(status);
            described
                .start_date(DateTime::from_secs(0))
                .set_stop_date(stopped.map(DateTime::from_secs))
                .build()
                .expect("complete")
        };
        let rule = mock!(aws_sdk_sfn::Client::describe_execution)
            .sequence()
            .output(move || described(Some(5)))
            .output(move || described(None))
            .output(move || described(Some(9)))
            .build();
        let deployment = deployment_with(mock_client!(aws_sdk_sfn, [&rule]));
        let listed = |stopped: Option<i64>| {
            let item = ExecutionListItem::builder()
                .execution_arn("arn")
                .state_machine_arn("arn")
                .name("a-0123456789ab")
                .status(ExecutionStatus::Failed);
            let item = item
                .start_date(DateTime::from_secs(0))
                .set_stop_date(stopped.map(DateTime::from_secs));
            [Listed::from(&item.build().expect("complete"))]
        };
        for (stopped, calls) in [
            (Some(5), 1),
            (Some(5), 1),
            (None, 2),
            (Some(9), 3),
            (Some(9), 3),
        ] {
            let read = deployment.describe_all(&listed(stopped)).await;
            assert_eq!(read.expect("an execution").len(), 1);
            assert_eq!(rule.num_calls(), calls, "{stopped:?}");
        }
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
