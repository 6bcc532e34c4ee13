//! Starts one execution for each request on the queue.
//!
//! Promises: a request is started once however often it is sent or delivered, and a message that cannot be started is
//! reported as a failure of that message alone, so that SQS delivers it again and moves it to the dead-letter queue.

use aws::sdk;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sfn::operation::start_execution::StartExecutionError;
use futures::future::join_all;
use lambda::environment;
use model::{ClipError, identity::Identity};
use std::time::Duration;

/// The largest input of an execution, in bytes (Step Functions developer guide, "Service quotas").
const MAX_INPUT_BYTES: usize = 256 * 1024;

/// What the function is given.
pub type Input = SqsEvent;
/// The messages that failed.
pub type Output = SqsBatchResponse;

#[derive(Debug)]
pub struct Deps {
    pub sfn: aws_sdk_sfn::Client,
    /// The state machine to start.
    pub state_machine_arn: String,
    /// How long an invocation lasts at least for each of its messages, so that no more executions are started a minute
    /// than the deployment allows; zero where it sets no rate.
    pub interval: Duration,
}

impl Deps {
    /// # Errors
    /// `Internal`, naming the environment variable that is missing or no number.
    pub async fn from_env() -> Result<Self, ClipError> {
        let state_machine_arn = environment::required("CLIPFLOW_STATE_MACHINE_ARN")?;
        let interval_ms = match environment::optional("CLIPFLOW_START_INTERVAL_MS") {
            Some(_) => environment::parsed("CLIPFLOW_START_INTERVAL_MS")?,
            None => 0,
        };
        Ok(Self {
            interval: Duration::from_millis(interval_ms),
            sfn: aws_sdk_sfn::Client::new(&sdk::sdk_config().await),
            state_machine_arn,
        })
    }
}

/// Starts an execution for each message.
///
/// # Errors
/// None: what fails is named in the output, message by message.
pub async fn handle(deps: &Deps, input: Input) -> Result<Output, ClipError> {
    let started = input.records.iter().map(async |message| {
        let result = start(deps, message).await;
        if let Err(error) = &result {
            tracing::error!(
                message_id = message.message_id,
                error = error.kind.name(),
                "{}",
                error.message
            );
        }
        match result {
            Ok(()) => None,
            Err(_) => Some(message.message_id.clone().unwrap_or_default()),
        }
    });
    let messages = u32::try_from(input.records.len()).unwrap_or(u32::MAX);
    let pace = tokio::time::sleep(deps.interval * messages);
    let (failed, ()) = tokio::join!(join_all(started), pace);
    let mut output = SqsBatchResponse::default();
    for message_id in failed.into_iter().flatten() {
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = message_id;
        output.batch_item_failures.push(failure);
    }
    Ok(output)
}

async fn start(deps: &Deps, message: &SqsMessage) -> Result<(), ClipError> {
    let body = message.body.as_deref().unwrap_or_default();
    let request = serde_json::from_str(body).map_err(|error| {
        ClipError::invalid_request(format!("the message's body is not JSON: {error}"))
    })?;
    let identity = Identity::of(&request);
    if identity.canonical.len() > MAX_INPUT_BYTES {
        let bytes = identity.canonical.len();
        return Err(ClipError::invalid_request(format!(
            "the request has {bytes} bytes, at most {MAX_INPUT_BYTES}"
        )));
    }
    let execution = identity.execution_name();
    let started = deps
        .sfn
        .start_execution()
        .state_machine_arn(&deps.state_machine_arn)
        .name(&execution)
        .input(identity.canonical)
        .send()
        .await;
    match started {
        Ok(_) => tracing::info!(clip_id = identity.clip_id, execution, "started"),
        Err(error)
            if matches!(
                error.as_service_error(),
                Some(StartExecutionError::ExecutionAlreadyExists(_))
            ) =>
        {
            tracing::info!(
                clip_id = identity.clip_id,
                execution,
                "already started by the same request"
            );
        }
        Err(error) => {
            return Err(sdk::failure(
                &format!("starting execution {execution}"),
                &error,
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sfn::{
        operation::start_execution::StartExecutionOutput,
        primitives::DateTime,
        types::error::{ExecutionAlreadyExists, ExecutionLimitExceeded},
    };
    use aws_smithy_mocks::{Rule, mock, mock_client};
    use serde_json::json;

    async fn failures(rule: &Rule, bodies: &[&str]) -> Vec<String> {
        paced_failures(rule, bodies, Duration::ZERO).await
    }

    async fn paced_failures(rule: &Rule, bodies: &[&str], interval: Duration) -> Vec<String> {
        let records: Vec<_> = bodies
            .iter()
            .enumerate()
            .map(|(index, body)| json!({"messageId": format!("m{index}"), "body": body}))
            .collect();
        let input = serde_json::from_value(json!({"Records": records})).expect("an SQS event");
        let deps = Deps {
            sfn: mock_client!(aws_sdk_sfn, [rule]),
            state_machine_arn: "arn:clip".into(),
            interval,
        };
        let output = handle(&deps, input)
            .await
            .expect("it reports failures in its output");
        output
            .batch_item_failures
            .into_iter()
            .map(|failure| failure.item_identifier)
            .collect()
    }

    fn started() -> Rule {
        mock!(aws_sdk_sfn::Client::start_execution)
            .match_requests(|request| {
                request.name() == Some("a-9f3eaa787b49")
                    && request.input() == Some(r#"{"clipId":"a","start":1}"#)
            })
            .sequence()
            .output(|| {
                StartExecutionOutput::builder()
                    .execution_arn("arn:a")
                    .start_date(DateTime::from_secs(0))
                    .build()
                    .expect("complete")
            })
            .repeatedly()
            .build()
    }

    #[tokio::test]
    async fn same_request_spelled_differently_has_one_name_and_input() {
        let rule = started();
        assert!(
            failures(
                &rule,
                &[
                    r#"{"start":1.0,"clipId":"a"}"#,
                    "{ \"clipId\": \"a\", \"start\": 1 }"
                ]
            )
            .await
            .is_empty()
        );
        assert_eq!(rule.num_calls(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn invocation_lasts_as_long_as_its_messages_may_take_at_the_rate() {
        let began = tokio::time::Instant::now();
        let body = r#"{"clipId":"a","start":1}"#;
        let interval = Duration::from_millis(400);
        assert!(
            paced_failures(&started(), &[body; 3], interval)
                .await
                .is_empty()
        );
        assert!(began.elapsed() >= 3 * interval, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn redelivered_message_starts_nothing_and_is_acknowledged() {
        let rule = mock!(aws_sdk_sfn::Client::start_execution).then_error(|| {
            StartExecutionError::ExecutionAlreadyExists(
                ExecutionAlreadyExists::builder().message("exists").build(),
            )
        });
        assert!(failures(&rule, &["{}"]).await.is_empty());
    }

    #[tokio::test]
    async fn body_that_is_not_json_fails_that_message_alone() {
        let rule = started();
        assert_eq!(
            failures(
                &rule,
                &[
                    "start: 1",
                    r#"{"clipId":"a","start":1}"#,
                    "{\"start\": NaN}"
                ]
            )
            .await,
            ["m0", "m2"]
        );
        assert_eq!(rule.num_calls(), 1);
    }

    #[tokio::test]
    async fn request_above_the_input_quota_fails_that_message() {
        let body = json!({"clipId": "x".repeat(MAX_INPUT_BYTES)}).to_string();
        assert_eq!(failures(&started(), &[&body]).await, ["m0"]);
    }

    #[tokio::test]
    async fn message_is_delivered_again_when_step_functions_refuses() {
        let rule = mock!(aws_sdk_sfn::Client::start_execution).then_error(|| {
            StartExecutionError::ExecutionLimitExceeded(
                ExecutionLimitExceeded::builder()
                    .message("too many")
                    .build(),
            )
        });
        assert_eq!(failures(&rule, &["{}"]).await, ["m0"]);
    }
}
