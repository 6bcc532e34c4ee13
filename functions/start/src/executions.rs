//! The executions of one request: which is the newest, and whether another may follow it.

use aws::sdk;
use aws_sdk_sfn::{
    operation::{
        describe_execution::{DescribeExecutionError, DescribeExecutionOutput},
        start_execution::StartExecutionError,
    },
    types::ExecutionStatus,
};
use model::{
    ClipError, ErrorKind,
    execution::{ExecutionName, execution_arn},
};
use serde_json::Value;
use std::time::Duration;
use tokio::{sync::Mutex, time::Instant};

/// How many calls of `DescribeExecution` an idle environment may make at once. With ten environments, they fit into
/// each region's bucket of 250 calls (Step Functions developer guide, "Quotas related to API action throttling").
const BURST: u32 = 10;
/// The longest wait for such a call. `start` runs for at most 30 seconds; a message that would wait longer is delivered
/// again.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The executions of a state machine.
#[derive(Debug)]
pub struct Executions {
    sfn: aws_sdk_sfn::Client,
    state_machine_arn: String,
    /// How long one environment waits, on average, between calls of `DescribeExecution`.
    interval: Duration,
    /// When the calls made so far will have used up their share of time.
    used_until: Mutex<Instant>,
}

/// What a request's last execution means for a message.
#[derive(Debug, PartialEq, Eq)]
enum Last {
    /// It is still valid: the message is a duplicate.
    Stands,
    /// It failed: it can be rerun, and may have been.
    Failed,
    /// It was rejected before the message was sent, and the reason may have been fixed.
    Mendable,
}

impl Executions {
    /// The executions of this state machine, with calls of `DescribeExecution` at least `interval` apart on average.
    #[must_use]
    pub fn new(sfn: aws_sdk_sfn::Client, state_machine_arn: String, interval: Duration) -> Self {
        Self {
            sfn,
            state_machine_arn,
            interval,
            used_until: Mutex::new(Instant::now()),
        }
    }

    /// Starts an execution, unless one with that name exists or existed.
    ///
    /// # Errors
    /// `DependencyUnavailable` or `Internal`, depending on how Step Functions refuses.
    pub async fn start(&self, name: &ExecutionName, input: &str) -> Result<bool, ClipError> {
        let start = self
            .sfn
            .start_execution()
            .state_machine_arn(&self.state_machine_arn);
        match start.name(name.to_string()).input(input).send().await {
            Ok(_) => Ok(true),
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(StartExecutionError::ExecutionAlreadyExists(_))
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(sdk::failure(&format!("starting execution {name}"), &error)),
        }
    }

    /// The name of the execution to start for a message sent at `sent_at_ms`, given that `first` has ended; `None` if
    /// the message is a duplicate.
    ///
    /// # Errors
    /// `DependencyUnavailable` if Step Functions cannot be asked in time.
    pub async fn next(
        &self,
        first: &ExecutionName,
        sent_at_ms: i64,
    ) -> Result<Option<ExecutionName>, ClipError> {
        let Some(described) = self.describe(first).await? else {
            return Ok(None);
        };
        if last(&described, sent_at_ms) == Last::Stands {
            return Ok(None);
        }
        let (newest, described) = self.newest(first, described).await?;
        let asks_anew = last(&described, sent_at_ms) == Last::Mendable;
        Ok(if asks_anew { newest.next() } else { None })
    }

    /// The newest rerun of an execution. Reruns are numbered without gaps, so 2 log₂ n calls find the last of n.
    async fn newest(
        &self,
        first: &ExecutionName,
        mut described: DescribeExecutionOutput,
    ) -> Result<(ExecutionName, DescribeExecutionOutput), ClipError> {
        let (mut newest, mut step, mut is_growing) = (first.clone(), 1, true);
        while step > 0 {
            let rerun = newest.rerun + step;
            let candidate = ExecutionName {
                rerun,
                ..newest.clone()
            };
            if let Some(found) = self.describe(&candidate).await? {
                (newest, described) = (candidate, found);
            } else {
                is_growing = false;
            }
            step = if is_growing { step * 2 } else { step / 2 };
        }
        Ok((newest, described))
    }

    async fn describe(
        &self,
        name: &ExecutionName,
    ) -> Result<Option<DescribeExecutionOutput>, ClipError> {
        self.wait_for_turn().await?;
        let arn = execution_arn(&self.state_machine_arn, &name.to_string());
        match self
            .sfn
            .describe_execution()
            .execution_arn(arn)
            .send()
            .await
        {
            Ok(described) => Ok(Some(described)),
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(DescribeExecutionError::ExecutionDoesNotExist(_))
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(sdk::failure(&format!("reading execution {name}"), &error)),
        }
    }

    async fn wait_for_turn(&self) -> Result<(), ClipError> {
        let now = Instant::now();
        let turn = {
            let mut used_until = self.used_until.lock().await;
            let used = (*used_until).max(now) + self.interval;
            let turn = used.checked_sub(BURST * self.interval).unwrap_or(now);
            if turn > now + LONGEST_WAIT {
                return Err(ClipError::dependency_unavailable(
                    "too many requests that were sent before are asked about at once",
                ));
            }
            *used_until = used;
            turn
        };
        tokio::time::sleep_until(turn).await;
        Ok(())
    }
}

fn last(described: &DescribeExecutionOutput, sent_at_ms: i64) -> Last {
    match described.status {
        ExecutionStatus::Failed | ExecutionStatus::TimedOut | ExecutionStatus::Aborted => {
            Last::Failed
        }
        ExecutionStatus::Succeeded if is_mendable(described.output()) => {
            let ended_at = described.stop_date().and_then(|at| at.to_millis().ok());
            if ended_at.is_some_and(|ended_at| sent_at_ms > ended_at) {
                Last::Mendable
            } else {
                Last::Stands
            }
        }
        _ => Last::Stands,
    }
}

/// Whether an execution's output is a rejection that may be fixed.
fn is_mendable(output: Option<&str>) -> bool {
    let outcome: Value = output
        .and_then(|output| serde_json::from_str(output).ok())
        .unwrap_or_default();
    outcome["status"] == "rejected"
        && outcome["reason"]
            .as_str()
            .and_then(ErrorKind::of_name)
            .is_some_and(ErrorKind::is_mendable)
}
