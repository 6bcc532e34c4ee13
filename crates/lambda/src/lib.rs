//! Connects a Lambda invocation to a function's `handle`.
//!
//! `lambda_runtime` names a boxed error after its Rust type, which a state machine cannot match, so errors are
//! converted into `Diagnostic` here.

pub mod environment;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use model::{
    ClipError, parse,
    text::{MAX_MESSAGE, elide},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::time::SystemTime;
use tracing::{Instrument, info_span, level_filters::LevelFilter};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// A failed invocation, as Lambda reports it. Its message is bounded: Step Functions truncates a longer cause, and
/// truncated JSON cannot be parsed.
#[derive(Debug)]
struct Failure(ClipError);

impl From<Failure> for Diagnostic {
    fn from(Failure(error): Failure) -> Self {
        Self {
            error_type: error.kind.name().into(),
            error_message: elide(&error.message, MAX_MESSAGE).into_owned(),
        }
    }
}

/// Serves invocations with `handle` until Lambda stops the process.
///
/// The event is deserialized here, so that a malformed one is `InvalidRequest` with the field's path. Every invocation
/// has one span with `clip_id`, `execution` and `state`; a failure is logged once, here.
///
/// # Errors
/// If the Runtime API cannot be reached.
pub async fn run<D, I, O>(
    deps: D,
    handle: impl AsyncFn(&D, I) -> Result<O, ClipError>,
) -> Result<(), lambda_runtime::Error>
where
    I: DeserializeOwned,
    O: Serialize,
{
    run_until(deps, without_deadline(handle)).await
}

/// Adapts a function that does not need the invocation's deadline to one that gets it.
fn without_deadline<D, I, O>(
    handle: impl AsyncFn(&D, I) -> Result<O, ClipError>,
) -> impl AsyncFn(&D, I, SystemTime) -> Result<O, ClipError> {
    async move |deps: &D, input: I, _: SystemTime| handle(deps, input).await
}

/// As [`run`], for a function that gets `EventBridge` events from a queue, one per invocation: a failed one stays on
/// the queue and is delivered again.
///
/// # Errors
/// If the Runtime API cannot be reached.
pub async fn run_queued<D, I, O>(
    deps: D,
    handle: impl AsyncFn(&D, I) -> Result<O, ClipError>,
) -> Result<(), lambda_runtime::Error>
where
    I: DeserializeOwned,
    O: Serialize,
{
    serve(deps, queued, without_deadline(handle)).await
}

/// As [`run`], for a function that needs the invocation's deadline.
///
/// # Errors
/// If the Runtime API cannot be reached.
pub async fn run_until<D, I, O>(
    deps: D,
    handle: impl AsyncFn(&D, I, SystemTime) -> Result<O, ClipError>,
) -> Result<(), lambda_runtime::Error>
where
    I: DeserializeOwned,
    O: Serialize,
{
    serve(deps, Ok, handle).await
}

async fn serve<D, I, O>(
    deps: D,
    payload: fn(Value) -> Result<Value, ClipError>,
    handle: impl AsyncFn(&D, I, SystemTime) -> Result<O, ClipError>,
) -> Result<(), lambda_runtime::Error>
where
    I: DeserializeOwned,
    O: Serialize,
{
    let (deps, handle) = (&deps, &handle);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        if is_self_check(&event.payload) {
            return Ok(Answer::Started { started: true });
        }
        let payload = payload(event.payload);
        let span = span(payload.as_ref().unwrap_or(&Value::Null));
        async {
            let deadline = event.context.deadline();
            let result = match payload.and_then(parse) {
                // Boxed: otherwise, the MongoDB driver's futures are nested too deeply for the compiler.
                Ok(input) => Box::pin(handle(deps, input, deadline)).await,
                Err(error) => Err(error),
            };
            if let Err(error) = &result {
                tracing::error!(error = error.kind.name(), "{}", error.message);
            }
            result.map(Answer::Output).map_err(Failure)
        }
        .instrument(span)
        .await
    }))
    .await
}

/// What an invocation returns.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer<O> {
    /// For a self-check.
    Started { started: bool },
    /// What the function returned.
    Output(O),
}

/// Whether this is a deployment's check that this version starts, before it goes live (`terraform/functions.tf`). To
/// Step Functions, a function that does not start has the same error as one that was killed.
fn is_self_check(payload: &Value) -> bool {
    *payload == json!({"selfCheck": true})
}

/// The event in the single message of an SQS invocation.
#[expect(
    clippy::needless_pass_by_value,
    reason = "so that it can stand where the payload itself is taken"
)]
fn queued(payload: Value) -> Result<Value, ClipError> {
    let Some([message]) = payload
        .get("Records")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
    else {
        return Err(ClipError::internal(
            "the payload is not that of one message of a queue",
        ));
    };
    let body = message
        .get("body")
        .and_then(Value::as_str)
        .unwrap_or_default();
    serde_json::from_str(body)
        .map_err(|error| ClipError::invalid_request(format!("the message's body: {error}")))
}

/// A step's input contains its execution; events have it in other places.
fn span(payload: &Value) -> tracing::Span {
    let text = |pointer| payload.pointer(pointer).and_then(Value::as_str);
    let state = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    let execution = [
        "/execution/arn",
        "/detail/executionArn",
        "/detail/userMetadata/execution",
    ]
    .into_iter()
    .find_map(text);
    let execution = execution
        .and_then(|arn| arn.rsplit(':').next())
        .unwrap_or_default();
    info_span!(
        "invocation",
        clip_id = text("/request/clipId").unwrap_or_default(),
        execution,
        state
    )
}

/// Sends `tracing` events to standard output as JSON lines, filtered by `CLIPFLOW_LOG` (default `info`): a level, or
/// targets with levels.
pub fn start_tracing() {
    let filter = std::env::var("CLIPFLOW_LOG").ok();
    let filter = filter.and_then(|filter| filter.parse::<Targets>().ok());
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false);
    tracing_subscriber::registry()
        .with(lines)
        .with(filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO)))
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cause_of_any_message_is_kept_whole(
            message in prop_oneof!["\\PC{0,300}", "[\0-\x1f\"\\\\]{0,300}"], times in 0..400_usize,
        ) {
            let error = ClipError::invalid_request(format!("field: {}", message.repeat(times)));
            let Diagnostic { error_type, error_message } = Failure(error).into();
            prop_assert!(error_message.starts_with("field: "));
            let cause = json!({"errorType": error_type, "errorMessage": error_message, "stackTrace": []});
            let bytes = cause.to_string().len();
            prop_assert!(bytes <= 32_768, "{bytes}");
        }
    }

    #[test]
    fn wire_name_is_the_variant_name() {
        let diagnostic = Diagnostic::from(Failure(ClipError::too_long("9 s")));
        assert_eq!(
            (
                diagnostic.error_type.as_str(),
                diagnostic.error_message.as_str()
            ),
            ("TooLong", "9 s")
        );
    }

    #[test]
    fn self_check_is_answered_and_no_request_is_taken_for_one() {
        let deployment = include_str!("../../../terraform/functions.tf");
        assert!(deployment.contains("input         = jsonencode({ selfCheck = true })"));
        assert!(is_self_check(&json!({"selfCheck": true})));
        for payload in [
            json!({"selfCheck": true, "request": {}}),
            json!({"selfCheck": false}),
            json!({"Records": []}),
            json!(true),
        ] {
            assert!(!is_self_check(&payload), "{payload}");
        }
        let answers = [
            Answer::Started { started: true },
            Answer::Output(json!({"a": 1})),
        ];
        let answers = serde_json::to_value(answers).expect("JSON");
        assert_eq!(answers, json!([{"started": true}, {"a": 1}]));
    }

    #[test]
    fn event_is_taken_out_of_its_message() {
        let message = json!({"messageId": "m", "body": r#"{"detail": {"jobId": "1-a"}}"#});
        assert_eq!(
            queued(json!({"Records": [message]})),
            Ok(json!({"detail": {"jobId": "1-a"}}))
        );
    }

    #[test]
    fn what_is_not_one_message_with_an_event_is_an_error() {
        let message = json!({"body": "{}"});
        for payload in [
            json!({}),
            json!({"Records": []}),
            json!({"Records": [message, message]}),
        ] {
            assert_eq!(
                queued(payload).expect_err("not one message").kind,
                model::ErrorKind::Internal
            );
        }
        for body in [json!("start: 1"), json!(null)] {
            let error = queued(json!({"Records": [{"body": body}]})).expect_err("no event");
            assert_eq!(error.kind, model::ErrorKind::InvalidRequest);
        }
    }
}
