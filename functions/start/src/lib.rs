//! Starts one execution for each request on the queue.
//!
//! Promises: a request is started once, however often it is sent or delivered. The exception is a request that was
//! rejected before the message was sent, for a reason that may have been fixed. A request that no step could pass on is
//! replaced by one that `validate` rejects. If a message cannot be started, only that message is reported as failed, so
//! that SQS delivers it again and, in the end, moves it to the dead-letter queue.

pub mod executions;

use aws::sdk;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use executions::Executions;
use futures::future::join_all;
use lambda::environment;
use model::{ClipError, execution::ExecutionName, identity::Identity, sent};
use std::time::Duration;

/// The function's input.
pub type Input = SqsEvent;
/// The messages that failed.
pub type Output = SqsBatchResponse;

#[derive(Debug)]
pub struct Deps {
    /// The state machine's executions.
    pub executions: Executions,
    /// The minimum time that an invocation takes per message, so that executions start no faster than the deployment
    /// allows; zero if it sets no rate.
    pub interval: Duration,
}

impl Deps {
    /// # Errors
    /// `Internal`, naming the environment variable that is missing or not a number.
    pub async fn from_env() -> Result<Self, ClipError> {
        let state_machine_arn = environment::required("CLIPFLOW_STATE_MACHINE_ARN")?;
        let interval_ms = match environment::optional("CLIPFLOW_START_INTERVAL_MS") {
            Some(_) => environment::parsed("CLIPFLOW_START_INTERVAL_MS")?,
            None => 0,
        };
        Ok(Self {
            interval: Duration::from_millis(interval_ms),
            executions: Executions::new(
                aws_sdk_sfn::Client::new(&sdk::sdk_config().await),
                state_machine_arn,
                Duration::from_millis(environment::parsed("CLIPFLOW_DESCRIBE_INTERVAL_MS")?),
            ),
        })
    }
}

/// Starts an execution for each message.
///
/// # Errors
/// None: failed messages are listed in the output.
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
    let request = sent::read(body).map_err(|error| {
        ClipError::invalid_request(format!("the message's body is not JSON: {error}"))
    })?;
    let identity = Identity::of(&request);
    let first = ExecutionName::from(&identity);
    let clip_id = &identity.clip_id;
    if deps.executions.start(&first, &identity.canonical).await? {
        tracing::info!(clip_id, execution = %first, "started");
        return Ok(());
    }
    match deps.executions.next(&first, sent_at_ms(message)).await? {
        Some(next) if deps.executions.start(&next, &identity.canonical).await? => {
            tracing::info!(clip_id, execution = %next, "started anew after a rejection");
        }
        // Another message has meanwhile started the next one.
        _ => tracing::info!(clip_id, execution = %first, "already started by the same request"),
    }
    Ok(())
}

/// When a message was sent, in milliseconds since 1970; a message without a time counts as sent before everything.
fn sent_at_ms(message: &SqsMessage) -> i64 {
    let sent = message.attributes.get("SentTimestamp");
    sent.and_then(|ms| ms.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sfn::{
        operation::{
            describe_execution::{DescribeExecutionError, DescribeExecutionOutput},
            start_execution::{StartExecutionError, StartExecutionInput, StartExecutionOutput},
        },
        primitives::DateTime,
        types::{
            ExecutionStatus,
            error::{ExecutionAlreadyExists, ExecutionDoesNotExist, ExecutionLimitExceeded},
        },
    };
    use aws_smithy_mocks::{MockResponse, Rule, RuleMode, mock, mock_client};
    use serde_json::{Value, json};
    use std::sync::{Arc, Mutex};

    async fn failures(rule: &Rule, bodies: &[&str]) -> Vec<String> {
        paced_failures(&[rule], bodies, Duration::ZERO).await
    }

    async fn paced_failures(rules: &[&Rule], bodies: &[&str], interval: Duration) -> Vec<String> {
        let records: Vec<_> = bodies
            .iter()
            .enumerate()
            .map(|(index, body)| {
                json!({"messageId": format!("m{index}"), "body": body, "attributes": {"SentTimestamp": "1000"}})
            })
            .collect();
        let input = serde_json::from_value(json!({"Records": records})).expect("an SQS event");
        let sfn = mock_client!(aws_sdk_sfn, RuleMode::MatchAny, rules);
        let deps = Deps {
            executions: Executions::new(sfn, MACHINE.into(), Duration::ZERO),
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
            paced_failures(&[&started()], &[body; 3], interval)
                .await
                .is_empty()
        );
        assert!(began.elapsed() >= 3 * interval, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn redelivered_message_starts_nothing_and_is_acknowledged() {
        let exists = ended(&[("a-9f3eaa787b49", 500, available())]);
        assert!(asked(&exists).await.is_empty());
    }

    #[tokio::test]
    async fn message_behind_a_mendable_rejection_starts_a_new_execution() {
        let first = ("a-9f3eaa787b49", 500, rejected("SourceNotFound"));
        assert_eq!(
            asked(&ended(std::slice::from_ref(&first))).await,
            ["a-9f3eaa787b49-r1"]
        );
        let second = ("a-9f3eaa787b49-r1", 999, rejected("IncompleteCoverage"));
        assert_eq!(asked(&ended(&[first, second])).await, ["a-9f3eaa787b49-r2"]);
    }

    #[tokio::test]
    async fn newest_of_many_reruns_decides() {
        for reruns in 1..40 {
            let names = (0..=reruns).map(|rerun| match rerun {
                0 => "a-9f3eaa787b49".to_owned(),
                _ => format!("a-9f3eaa787b49-r{rerun}"),
            });
            let names: Vec<_> = names.collect();
            let all = names
                .iter()
                .map(|name| (name.as_str(), 500, rejected("TooLong")));
            let next = format!("a-9f3eaa787b49-r{}", reruns + 1);
            assert_eq!(asked(&ended(&all.collect::<Vec<_>>())).await, [next]);
        }
    }

    #[tokio::test]
    async fn rejected_rerun_of_a_failure_can_be_asked_again() {
        let (first, second) = ("a-9f3eaa787b49", "a-9f3eaa787b49-r1");
        let rejection = (second, 500, rejected("SourceNotFound"));
        let both = ended(&[(first, 400, json!(null)), rejection]);
        assert_eq!(asked(&both).await, ["a-9f3eaa787b49-r2"]);
        assert!(asked(&ended(&[(first, 400, json!(null))])).await.is_empty());
    }

    #[tokio::test]
    async fn message_sent_before_the_rejection_ended_is_a_duplicate() {
        for at in [1000, 1001] {
            let rejection = ("a-9f3eaa787b49", at, rejected("SourceNotFound"));
            assert!(asked(&ended(&[rejection])).await.is_empty(), "{at}");
        }
        let (first, second) = ("a-9f3eaa787b49", "a-9f3eaa787b49-r1");
        let reasons = [
            (first, 1, rejected("TooLong")),
            (second, 1001, rejected("TooLong")),
        ];
        assert!(asked(&ended(&reasons)).await.is_empty());
    }

    #[tokio::test]
    async fn request_at_fault_is_not_asked_again() {
        let rejection = ("a-9f3eaa787b49", 1, rejected("InvalidRequest"));
        assert!(asked(&ended(&[rejection])).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_about_duplicates_keep_to_their_rate() {
        let exists = ended(&[("a-9f3eaa787b49", 500, available())]);
        let [start, describe] = &exists;
        let sfn = mock_client!(aws_sdk_sfn, RuleMode::MatchAny, [start, describe]);
        let executions = Executions::new(sfn, MACHINE.into(), Duration::from_secs(1));
        let first = ExecutionName::parse("a-9f3eaa787b49").expect("a name");
        let began = tokio::time::Instant::now();
        let asked = join_all((0..40).map(|_| executions.next(&first, 1000))).await;
        let told = asked.iter().filter(|told| told.is_ok()).count();
        // Ten at once, then one per second for as long as an invocation can wait; the others are delivered again.
        assert_eq!((told, began.elapsed()), (30, Duration::from_secs(20)));
        assert_eq!(describe.num_calls(), 30);
    }

    const MACHINE: &str = "arn:aws:states:eu-west-1:1:stateMachine:clip";

    fn available() -> Value {
        json!({"status": "available"})
    }

    fn rejected(reason: &str) -> Value {
        json!({"status": "rejected", "reason": reason})
    }

    /// Step Functions' answers if these executions have ended, each at a millisecond: with an outcome, or failed.
    fn ended(executions: &[(&str, i64, Value)]) -> [Rule; 2] {
        let all: Vec<_> = executions
            .iter()
            .map(|(name, at, output)| ((*name).to_owned(), *at, output.clone()))
            .collect();
        let names: Vec<_> = all.iter().map(|(name, ..)| name.clone()).collect();
        let exists = move |request: &StartExecutionInput| {
            names.iter().any(|name| request.name() == Some(name))
        };
        let start = mock!(aws_sdk_sfn::Client::start_execution)
            .match_requests(exists)
            .then_error(|| {
                let exists = ExecutionAlreadyExists::builder().message("exists");
                StartExecutionError::ExecutionAlreadyExists(exists.build())
            });
        let describe =
            mock!(aws_sdk_sfn::Client::describe_execution).then_compute_response(move |request| {
                let arn = request.execution_arn().unwrap_or_default().to_owned();
                let found = all
                    .iter()
                    .find(|(name, ..)| arn.ends_with(&format!(":{name}")));
                let Some((name, at, output)) = found else {
                    let unknown = ExecutionDoesNotExist::builder().message("unknown").build();
                    let unknown = DescribeExecutionError::ExecutionDoesNotExist(unknown);
                    return MockResponse::Error(unknown);
                };
                let status = match output {
                    Value::Null => ExecutionStatus::Failed,
                    _ => ExecutionStatus::Succeeded,
                };
                let described = DescribeExecutionOutput::builder()
                    .execution_arn(&arn)
                    .name(name);
                let described = described.state_machine_arn(MACHINE).status(status);
                let described = described.start_date(DateTime::from_millis(0));
                let described = described.stop_date(DateTime::from_millis(*at));
                let described = described.output(output.to_string()).build();
                MockResponse::Output(described.expect("complete"))
            });
        [start, describe]
    }

    /// The executions that a message sent at second 1 starts if these have ended.
    async fn asked([exists, describe]: &[Rule; 2]) -> Vec<String> {
        let names = Arc::new(Mutex::new(Vec::new()));
        let kept = names.clone();
        let start =
            mock!(aws_sdk_sfn::Client::start_execution).then_compute_output(move |request| {
                let name = request.name().unwrap_or_default().to_owned();
                kept.lock().expect("nobody panicked").push(name);
                let started = StartExecutionOutput::builder().execution_arn("arn:a");
                started
                    .start_date(DateTime::from_secs(0))
                    .build()
                    .expect("complete")
            });
        let body = r#"{"clipId":"a","start":1}"#;
        let failed = paced_failures(&[exists, &start, describe], &[body], Duration::ZERO).await;
        assert!(failed.is_empty());
        let names = names.lock().expect("nobody panicked");
        names.clone()
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
    async fn request_beyond_the_limits_is_started_to_be_rejected() {
        for body in [
            json!({"clipId": "a", "metadata": {"x": "x".repeat(1 << 20)}}).to_string(),
            format!(
                r#"{{"clipId":"a","x":{}{}}}"#,
                "[".repeat(127),
                "]".repeat(127)
            ),
            r#"{"clipId":"a","start":1e400}"#.to_owned(),
            r#"{"clipId":"a","start":"\ud800"}"#.to_owned(),
        ] {
            let rule = mock!(aws_sdk_sfn::Client::start_execution)
                .match_requests(|request| {
                    let input: Value =
                        serde_json::from_str(request.input().unwrap_or_default()).expect("JSON");
                    input["clipId"] == "a" && sent::why_unreadable(&input).is_some()
                })
                .then_output(|| {
                    let started = StartExecutionOutput::builder().execution_arn("arn:a");
                    started
                        .start_date(DateTime::from_secs(0))
                        .build()
                        .expect("complete")
                });
            assert!(failures(&rule, &[&body]).await.is_empty());
            assert_eq!(rule.num_calls(), 1, "{}", &body[..30]);
        }
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
